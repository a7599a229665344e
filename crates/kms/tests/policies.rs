//! Key policies: what is taken, what is shown of it, and that nothing is decided by it yet.
#![allow(clippy::unwrap_used, reason = "clippy takes helpers of tests for none")]

mod common;

use common::{ACCOUNT, Service, Told, created};
use conclave_kms::{KeyId, Request};
use conclave_proto::v1;
use conclave_store::{Family, Kind, Outcome, RecordId, View};

const DENY_ALL: &str =
    r#"{"Statement": {"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*"}}"#;

/// Lets one principal do everything.
fn of(principal: &str) -> String {
    format!(
        r#"{{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow", "Action": "kms:*", "Resource": "*",
            "Principal": {{"AWS": "arn:aws:iam::{ACCOUNT}:user/{principal}"}}}}]}}"#
    )
}

fn put(key: &str, policy: &str) -> v1::PutKeyPolicyRequest {
    v1::PutKeyPolicyRequest {
        key_id: key.to_owned(),
        policy: policy.to_owned(),
        ..Default::default()
    }
}

fn bypassing(request: v1::PutKeyPolicyRequest) -> v1::PutKeyPolicyRequest {
    v1::PutKeyPolicyRequest { bypass_policy_lockout_safety_check: true, ..request }
}

fn get(service: &mut Service, key: &str) -> String {
    let request = v1::GetKeyPolicyRequest { key_id: key.to_owned(), ..Default::default() };
    let shown: v1::GetKeyPolicyResponse =
        service.call("aud", request).reply.unwrap().try_into().unwrap();
    assert_eq!(shown.policy_name, "default");
    shown.policy
}

fn record(kind: Kind, key: &str) -> RecordId {
    RecordId::new(kind, *KeyId::parse(key).unwrap().bytes())
}

/// What a caller is told of a request, parsed or not.
fn reason(service: &mut Service, request: v1::PutKeyPolicyRequest) -> String {
    match Request::try_from(request) {
        Err(refusal) => refusal.name().to_owned() + ": " + &refusal.message(),
        Ok(request) => {
            let caller = service.caller("ada");
            let told = service.call_as(&caller, &request).reply;
            told.map_or_else(|no| no.name().to_owned() + ": " + &no.message(), |_| "ok".to_owned())
        }
    }
}

#[test]
fn a_key_has_the_default_policy_until_it_has_another() {
    let mut service = Service::new();
    let key = service.key("");
    let default = get(&mut service, &key);
    assert!(default.contains(r#""Id" : "key-default-1""#));
    assert!(default.contains(&format!(r#""AWS" : "arn:aws:iam::{ACCOUNT}:root""#)));
    // What is shown can be put, and is shown as it was put.
    for policy in [default, of("ada")] {
        let told = service.call("ada", put(&key, &policy));
        assert_eq!(told.line(), "ok | PutKeyPolicy Success role:key-administrator");
        assert!(told.entry.parameters.iter().any(|it| it.name == "PolicySha256"));
        assert_eq!(get(&mut service, &key), policy);
    }
    let listed = v1::ListKeyPoliciesRequest { key_id: key.clone(), ..Default::default() };
    let listed: v1::ListKeyPoliciesResponse =
        service.call("ada", listed).reply.unwrap().try_into().unwrap();
    assert_eq!((listed.policy_names, listed.truncated), (vec!["default".to_owned()], false));
    // One record, found from its key.
    let family = Family::new(record(Kind::Key, &key), Kind::KeyPolicy);
    assert_eq!(service.store.family(&family, None, 9), [record(Kind::KeyPolicy, &key)]);
}

#[test]
fn what_is_no_policy_for_this_key_is_refused() {
    let mut service = Service::new();
    let key = service.key("");
    let named = |policy_name: &str| v1::PutKeyPolicyRequest {
        policy_name: policy_name.to_owned(),
        ..put(&key, &of("ada"))
    };
    let lockout = "MalformedPolicyDocumentException: The new key policy will not allow you to update \
                   the key policy in the future.";
    let foreign = of("ada").replace(ACCOUNT, "000000000002");
    let of_other_key = of("ada").replace(
        r#""Resource": "*""#,
        r#""Resource": "arn:aws:kms:eu:000000000001:key/01234567-89ab-4def-8123-456789abcdef""#,
    );
    for (request, expected) in [
        (put(&key, ""), "ValidationException: 1 validation error detected: Value null at 'policy'"),
        (put(&key, "{}"), "MalformedPolicyDocumentException: The policy: Statement is missing"),
        (put(&key, "no"), "MalformedPolicyDocumentException: This policy contains invalid Json"),
        (put(&key, &" ".repeat(32769)), "LimitExceededException: The policy has 32769 bytes"),
        (
            put(&key, &foreign),
            "MalformedPolicyDocumentException: Policy contains a statement with one or more invalid \
             principals. Statement[0].Principal.AWS names 'arn:aws:iam::000000000002:user/ada'",
        ),
        // Bypassing the one check is not bypassing the other.
        (bypassing(put(&key, &foreign)), "MalformedPolicyDocumentException: Policy contains"),
        (put(&key, &of("uma")), lockout),
        (put(&key, DENY_ALL), lockout),
        (put(&key, &of_other_key), lockout),
        (named("other"), "NotFoundException: No such policy exists"),
        (named(&"n".repeat(129)), "ValidationException: 1 validation error detected"),
        (put("alias/a", &of("ada")), "NotFoundException: Invalid keyId 'alias/a'"),
        (put("01234567-89ab-4def-8123-456789abcdef", &of("ada")), "NotFoundException: Key 'arn:"),
        (named("default"), "ok"),
        (bypassing(put(&key, DENY_ALL)), "ok"),
    ] {
        let told = reason(&mut service, request);
        assert!(told.starts_with(expected), "{told}\n{expected}");
    }
    let other = v1::GetKeyPolicyRequest { key_id: key, policy_name: "other".to_owned() };
    assert_eq!(Request::try_from(other).unwrap_err().name(), "NotFoundException");
}

/// The longest there is fits into a record and a txn.
#[test]
fn the_longest_policy_is_kept() {
    let mut service = Service::new();
    let key = service.key("");
    let short = of("ada");
    let long = short.replacen('{', &format!("{{{}", " ".repeat((32 << 10) - short.len())), 1);
    assert_eq!(long.len(), 32 << 10);
    assert!(service.call("ada", put(&key, &long)).reply.is_ok());
    assert_eq!(get(&mut service, &key), long);
}

#[test]
fn the_state_of_the_key_does_not_matter() {
    let mut service = Service::new();
    let key = service.key("");
    let mut states = Vec::new();
    states.push(service.call("ada", v1::DisableKeyRequest { key_id: key.clone() }));
    states.push(service.call("ada", put(&key, &of("ada"))));
    let deletion =
        v1::ScheduleKeyDeletionRequest { key_id: key.clone(), pending_window_in_days: Some(7) };
    states.push(service.call("ada", deletion));
    states.push(service.call("ada", put(&key, &of("ada"))));
    assert_eq!(
        states.iter().map(Told::line).collect::<Vec<_>>(),
        [
            "key Disabled v1 | DisableKey Success role:key-administrator",
            "ok | PutKeyPolicy Success role:key-administrator",
            "key PendingDeletion v1 | ScheduleKeyDeletion Success role:key-administrator",
            "ok | PutKeyPolicy Success role:key-administrator",
        ]
    );
    assert_eq!(get(&mut service, &key), of("ada"));
}

#[test]
fn a_key_can_be_made_with_its_policy() {
    let mut service = Service::new();
    let create = |policy: &str| v1::CreateKeyRequest {
        policy: policy.to_owned(),
        description: "with a policy".to_owned(),
        ..Default::default()
    };
    let told = service.call("ada", create(&of("uma")));
    assert_eq!(told.reply.unwrap_err().name(), "MalformedPolicyDocumentException");
    assert_eq!(service.store.list(Kind::Key, None, 9), []);
    assert_eq!(service.store.list(Kind::KeyPolicy, None, 9), []);
    let caller = service.caller("ada");
    let request = create(&of("ada")).try_into().unwrap();
    let made = created(service.call_as(&caller, &request));
    assert_eq!(get(&mut service, &made.key_id), of("ada"));
    // Its retry is this key.
    assert_eq!(created(service.call_as(&caller, &request)), made);
    let unlocked =
        v1::CreateKeyRequest { bypass_policy_lockout_safety_check: true, ..create(&of("uma")) };
    let made = created(service.call("ada", unlocked));
    assert_eq!(get(&mut service, &made.key_id), of("uma"));
}

/// Kept, and no more: whoever relies on a policy today has to know. The day it counts this test goes.
#[test]
fn roles_alone_decide() {
    let mut service = Service::new();
    let key = service.key("");
    assert!(service.call("ada", bypassing(put(&key, DENY_ALL))).reply.is_ok());
    service.encrypt(&key, b"x");
    assert!(service.call("ada", put(&key, &of("ada"))).reply.is_ok());
    let told = service.call("uma", put(&key, &of("uma")));
    assert_eq!(told.line(), "AccessDeniedException | PutKeyPolicy Denied default:deny");
}

#[test]
fn of_two_policies_at_once_one_is_decided_again() {
    let mut service = Service::new();
    let key = service.key("");
    let mut plan = |policy: &str| {
        let caller = service.caller("ada");
        service.decide(&caller, &put(&key, policy).try_into().unwrap())
    };
    let (one, other) = (plan(&of("ada")), plan(&of("ada")));
    assert!(matches!(service.store.commit(one.body, service.now_ms), Outcome::Committed(_)));
    assert!(matches!(service.store.commit(other.body, service.now_ms), Outcome::Conflict { .. }));
}

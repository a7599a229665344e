//! Grants: made, listed, retired, revoked, by whom and on what keys; nothing else is decided by them yet.
#![allow(clippy::unwrap_used, reason = "clippy takes helpers of tests for none")]

mod common;

use std::collections::BTreeSet;

use common::{ACCOUNT, Service, Told, created, encrypt, pairs};
use conclave_kms::fields::GrantOperation;
use conclave_kms::{GRANTS_MAX, KeyId, KeySpec, KeyUsage, Refusal, Request};
use conclave_proto::v1;
use conclave_store::{Family, Guarded, Kind, Outcome, RecordId, View, Write};

const NO_GRANT: &str = "0123456789abcdef0123456789abcdef";

fn arn(name: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:user/{name}")
}

fn names(operations: &[&str]) -> Vec<String> {
    operations.iter().map(|name| (*name).to_owned()).collect()
}

fn create(key: &str, grantee: &str, operations: &[&str]) -> v1::CreateGrantRequest {
    v1::CreateGrantRequest {
        key_id: key.to_owned(),
        grantee_principal: grantee.to_owned(),
        operations: names(operations),
        ..Default::default()
    }
}

fn list(key: &str) -> v1::ListGrantsRequest {
    v1::ListGrantsRequest { key_id: key.to_owned(), ..Default::default() }
}

fn retire(key: &str, grant: &str) -> v1::RetireGrantRequest {
    v1::RetireGrantRequest {
        key_id: key.to_owned(),
        grant_id: grant.to_owned(),
        ..Default::default()
    }
}

fn by_token(token: &str) -> v1::RetireGrantRequest {
    v1::RetireGrantRequest { grant_token: token.to_owned(), ..Default::default() }
}

fn revoke(key: &str, grant: &str) -> v1::RevokeGrantRequest {
    v1::RevokeGrantRequest {
        key_id: key.to_owned(),
        grant_id: grant.to_owned(),
        ..Default::default()
    }
}

fn granted(told: Told) -> v1::CreateGrantResponse {
    told.reply.unwrap().try_into().unwrap()
}

trait Grants {
    fn grant(&mut self, request: v1::CreateGrantRequest) -> v1::CreateGrantResponse;

    /// As the auditor sees it.
    fn page(&mut self, request: impl TryInto<Request, Error = Refusal>) -> v1::ListGrantsResponse;

    /// What a caller is told of a request, parsed or not.
    fn told(&mut self, who: &str, request: impl TryInto<Request, Error = Refusal>) -> String;
}

impl Grants for Service {
    fn grant(&mut self, request: v1::CreateGrantRequest) -> v1::CreateGrantResponse {
        granted(self.call("ada", request))
    }

    fn page(&mut self, request: impl TryInto<Request, Error = Refusal>) -> v1::ListGrantsResponse {
        self.call("aud", request).reply.unwrap().try_into().unwrap()
    }

    fn told(&mut self, who: &str, request: impl TryInto<Request, Error = Refusal>) -> String {
        let reply = request.try_into().and_then(|request| {
            let caller = self.caller(who);
            self.call_as(&caller, &request).reply
        });
        reply.map_or_else(|no| format!("{}: {}", no.name(), no.message()), |_| "ok".to_owned())
    }
}

fn ids(page: &v1::ListGrantsResponse) -> Vec<String> {
    page.grants.iter().map(|grant| grant.grant_id.clone()).collect()
}

#[test]
fn a_grant_is_shown_as_it_was_made() {
    let mut service = Service::new();
    let key = service.key("");
    let mut request = create(&key, "uma", &["Encrypt", "Decrypt", "Encrypt"]);
    request.retiring_principal = arn("ada");
    request.name = "a:name/of_it-1".to_owned();
    request.constraints = Some(v1::GrantConstraints {
        encryption_context_equals: pairs(&[("a", "1")]),
        encryption_context_subset: pairs(&[("b", "2"), ("c", "3")]),
        source_arn: None,
    });
    let told = service.call("ada", request.clone());
    assert_eq!(told.line(), "ok | CreateGrant Success role:key-administrator");
    let parameters: BTreeSet<_> =
        told.entry.parameters.iter().map(|it| (it.name.as_str(), it.value.as_str())).collect();
    for parameter in [("GranteePrincipal", "uma"), ("Operations", "Decrypt,Encrypt")] {
        assert!(parameters.contains(&parameter), "{parameters:?}");
    }
    let made = granted(told);
    let page = service.page(list(&key));
    assert!(!page.truncated && page.next_marker.is_none());
    let shown = v1::GrantListEntry {
        key_id: format!("arn:aws:kms:eu:{ACCOUNT}:key/{key}"),
        grant_id: made.grant_id.clone(),
        name: Some(request.name),
        creation_date_ms: common::NOW_MS,
        grantee_principal: arn("uma"),
        retiring_principal: Some(arn("ada")),
        issuing_account: format!("arn:aws:iam::{ACCOUNT}:root"),
        operations: names(&["Decrypt", "Encrypt"]),
        constraints: request.constraints,
    };
    assert_eq!(page.grants, [shown]);
    // Beneath its key, and told apart from it.
    let record = |kind, id: &[u8]| RecordId::new(kind, id.try_into().unwrap());
    let family = Family::new(record(Kind::Key, KeyId::parse(&key).unwrap().bytes()), Kind::Grant);
    let id = hex::decode(&made.grant_id).unwrap();
    assert_eq!(service.store.family(&family, None, 9), [record(Kind::Grant, &id)]);
    assert_ne!(made.grant_id, key.replace('-', ""));
}

/// The same request under the same name is the same grant; without a name each is another; a retry is
/// the one that it retries.
#[test]
fn names_and_retries_make_no_second_grant() {
    let mut service = Service::new();
    let (key, other_key) = (service.key(""), service.key(""));
    let named = |key: &str, name: &str, operations: &[&str]| v1::CreateGrantRequest {
        name: name.to_owned(),
        ..create(key, "uma", operations)
    };
    let first = service.grant(named(&key, "n", &["Encrypt", "Decrypt"]));
    let mut by_arn = named(&key, "n", &["Decrypt", "Encrypt"]);
    by_arn.grantee_principal = arn("uma");
    assert_eq!(service.grant(by_arn), first, "however it is said");
    service.set_principal("alf", "key-administrator");
    let again = granted(service.call("alf", named(&key, "n", &["Encrypt", "Decrypt"])));
    assert_eq!(again, first, "whoever says it");
    let mut all = BTreeSet::from([first.grant_id.clone()]);
    for other in [
        named(&key, "m", &["Encrypt", "Decrypt"]),
        named(&key, "n", &["Encrypt"]),
        named(&other_key, "n", &["Encrypt", "Decrypt"]),
        create(&key, "uma", &["Encrypt", "Decrypt"]),
        create(&key, "uma", &["Encrypt", "Decrypt"]),
    ] {
        assert!(all.insert(service.grant(other).grant_id), "each is another");
    }
    let caller = service.caller("ada");
    let request = create(&key, "uma", &["Sign"]).try_into().unwrap();
    let refused = service.call_as(&caller, &request).reply.unwrap_err();
    assert_eq!(service.call_as(&caller, &request).reply.unwrap_err().name(), refused.name());
    let caller = service.caller("ada");
    let request = create(&key, "uma", &["Encrypt"]).try_into().unwrap();
    let made = granted(service.call_as(&caller, &request));
    assert_eq!(granted(service.call_as(&caller, &request)), made);
    assert_eq!(service.page(list(&key)).grants.len(), 6);
    // Once it is gone, its name is free again.
    assert!(service.call("ada", revoke(&key, &first.grant_id)).reply.is_ok());
    assert_eq!(service.grant(named(&key, "n", &["Encrypt", "Decrypt"])), first);
}

/// A retry so late that its answer is forgotten finds its grant, or another request's, and says so.
#[test]
fn a_very_late_retry_makes_no_second_grant() {
    let mut service = Service::new();
    let key = service.key("");
    let caller = service.caller("ada");
    let request: Request = create(&key, "uma", &["Encrypt"]).try_into().unwrap();
    let made = granted(service.call_as(&caller, &request));
    let plan = service.decide(&caller, &request);
    assert!(plan.body.writes.is_empty());
    let again: v1::CreateGrantResponse = plan.reply.unwrap().try_into().unwrap();
    assert_eq!(again, made);
    let other = create(&key, "uma", &["Decrypt"]).try_into().unwrap();
    let refused = service.decide(&caller, &other).reply.unwrap_err();
    assert!(refused.message().contains("was already used for another request"), "{refused}");
}

/// The operations of AWS KMS against every kind of key.
#[test]
fn operation_by_kind_of_key() {
    use KeySpec::{EccNistP256, Hmac256, MlDsa44, MlKem768, Rsa2048, SymmetricDefault};
    use KeyUsage::{
        EncapsulateDecapsulate, EncryptDecrypt, GenerateVerifyMac, KeyAgreement, SignVerify,
    };
    let always = ["CreateGrant", "DescribeKey", "RetireGrant"];
    let encrypts = ["Encrypt", "Decrypt", "ReEncryptFrom", "ReEncryptTo"];
    let data_keys = [
        "GenerateDataKey",
        "GenerateDataKeyWithoutPlaintext",
        "GenerateDataKeyPair",
        "GenerateDataKeyPairWithoutPlaintext",
    ];
    let public = ["GetPublicKey"];
    let none: [&str; 0] = [];
    let signs = ["Sign", "Verify"];
    let kinds: [(KeySpec, KeyUsage, [&[&str]; 2]); 8] = [
        (SymmetricDefault, EncryptDecrypt, [&encrypts, &data_keys]),
        (Rsa2048, EncryptDecrypt, [&encrypts, &public]),
        (Rsa2048, SignVerify, [&signs, &public]),
        (EccNistP256, SignVerify, [&signs, &public]),
        (EccNistP256, KeyAgreement, [&["DeriveSharedSecret"], &public]),
        (MlDsa44, SignVerify, [&signs, &public]),
        (MlKem768, EncapsulateDecapsulate, [&["Encapsulate", "Decapsulate"], &public]),
        (Hmac256, GenerateVerifyMac, [&["GenerateMac", "VerifyMac"], &none]),
    ];
    for (spec, usage, all) in kinds {
        let expected: BTreeSet<_> = all.concat().into_iter().chain(always).collect();
        let offered = GrantOperation::ALL.iter().filter(|it| it.is_of(spec, usage));
        assert_eq!(offered.map(|it| it.name()).collect::<BTreeSet<_>>(), expected, "{spec:?}");
    }
    assert_eq!(GrantOperation::ALL.len(), 19);
    assert!(GrantOperation::ALL.is_sorted_by_key(|it| it.name()));
}

#[test]
fn what_is_wrong_is_said() {
    let mut service = Service::new();
    let key = service.key("");
    let mac = created(service.call(
        "ada",
        v1::CreateKeyRequest {
            key_spec: "HMAC_256".to_owned(),
            key_usage: "GENERATE_VERIFY_MAC".to_owned(),
            ..Default::default()
        },
    ))
    .key_id;
    let good = || create(&key, "uma", &["Encrypt"]);
    let bound = |equals: &[(&str, &str)]| {
        let equals = pairs(equals);
        Some(v1::GrantConstraints { encryption_context_equals: equals, ..Default::default() })
    };
    let nine: Vec<String> = (0..9).map(|n| n.to_string()).collect();
    let nine: Vec<_> = nine.iter().map(|name| (name.as_str(), "")).collect();
    let from_elsewhere = v1::GrantConstraints {
        source_arn: Some("arn:aws:s3:::b".to_owned()),
        ..Default::default()
    };
    let of_mac = create(&mac, "uma", &["GenerateMac"]);
    for (request, expected) in [
        (
            create(&key, "", &["Encrypt"]),
            "ValidationException: 1 validation error detected: Value null",
        ),
        (create(&key, "Uma", &["Encrypt"]), "InvalidArnException: ARN does not refer to a valid"),
        (
            create(&key, &arn("uma").replace("00001", "00002"), &["Encrypt"]),
            "InvalidArnException: ",
        ),
        (create(&key, &arn("uma").replace("user", "role"), &["Encrypt"]), "InvalidArnException: "),
        (
            v1::CreateGrantRequest { retiring_principal: "a b".to_owned(), ..good() },
            "InvalidArnException: ",
        ),
        (
            v1::CreateGrantRequest { grantee_service_principal: "s".to_owned(), ..good() },
            "UnsupportedOperationException: A service principal is not offered here",
        ),
        (
            v1::CreateGrantRequest { retiring_service_principal: "s".to_owned(), ..good() },
            "UnsupportedOperationException: A service principal is not offered here",
        ),
        (
            create(&key, "uma", &[]),
            "ValidationException: 1 validation error detected: Value at 'operations'",
        ),
        (
            create(&key, "uma", &["Foo"]),
            "ValidationException: 1 validation error detected: Value 'Foo' at",
        ),
        (
            create(&key, "uma", &["Encrypt", "Sign"]),
            "ValidationException: Grant operation Sign is not supported for a key of usage \
             ENCRYPT_DECRYPT and spec SYMMETRIC_DEFAULT.",
        ),
        (create(&mac, "uma", &["Encrypt"]), "ValidationException: Grant operation Encrypt is not"),
        (of_mac.clone(), "ok"),
        (
            v1::CreateGrantRequest { constraints: bound(&[("a", "b")]), ..of_mac },
            "ValidationException: Encryption context constraints are only valid for grants on",
        ),
        (
            v1::CreateGrantRequest { constraints: bound(&nine), ..good() },
            "ValidationException: 1 val",
        ),
        (v1::CreateGrantRequest { constraints: bound(&nine[1..]), ..good() }, "ok"),
        (
            v1::CreateGrantRequest { constraints: bound(&[("a", &"v".repeat(385))]), ..good() },
            "ValidationException: 1 validation error detected",
        ),
        (
            v1::CreateGrantRequest { constraints: bound(&[("", "")]), ..good() },
            "ValidationException: ",
        ),
        (
            v1::CreateGrantRequest { constraints: Some(from_elsewhere), ..good() },
            "UnsupportedOperationException: SourceArn is not offered here",
        ),
        (
            v1::CreateGrantRequest { name: "a b".to_owned(), ..good() },
            "ValidationException: 1 validation error detected: Value 'a b' at 'name' failed to satisfy \
             constraint: Member must satisfy regular expression pattern: ^[a-zA-Z0-9:/_-]+$",
        ),
        (v1::CreateGrantRequest { name: "n".repeat(257), ..good() }, "ValidationException: "),
        (v1::CreateGrantRequest { name: "n".repeat(256), ..good() }, "ok"),
        (
            v1::CreateGrantRequest { grant_tokens: names(&["t"]), ..good() },
            "InvalidGrantTokenException: ",
        ),
        (create("alias/a", "uma", &["Encrypt"]), "NotFoundException: Invalid keyId 'alias/a'"),
        (v1::CreateGrantRequest { dry_run: true, ..good() }, "DryRunOperationException: "),
    ] {
        let told = service.told("ada", request);
        assert!(told.starts_with(expected), "{told}\n{expected}");
    }
    assert_eq!(service.page(list(&key)).grants.len(), 2, "what was refused or tried made none");
}

/// Whoever retires, and whoever may not.
#[test]
fn who_may_retire_a_grant() {
    let mut service = Service::new();
    service.set_principal("ulf", "key-user");
    let key = service.key("");
    let with = |retiring: &str, operations: &[&str]| v1::CreateGrantRequest {
        retiring_principal: retiring.to_owned(),
        ..create(&key, "uma", operations)
    };
    let cases: [(&str, &str, &[&str], bool); 8] = [
        ("uma", "", &["Encrypt"], false),
        ("uma", "", &["Encrypt", "RetireGrant"], true),
        ("uma", "uma", &["Encrypt"], true),
        ("uma", "ulf", &["Encrypt"], false),
        ("ulf", "ulf", &["Encrypt"], true),
        ("ulf", "", &["RetireGrant"], false),
        ("ada", "", &["Encrypt"], true),
        // The roles come first.
        ("aud", "aud", &["Encrypt"], false),
    ];
    for (caller, retiring, operations, may) in cases {
        let made = service.grant(with(retiring, operations));
        let told = service.call(caller, by_token(&made.grant_token));
        match may {
            true => assert!(told.reply.is_ok(), "{caller} {retiring}"),
            false => {
                let refused = told.reply.unwrap_err();
                assert_eq!(refused.name(), "AccessDeniedException", "{caller} {retiring}");
                assert!(refused.message().contains("kms:RetireGrant on resource: arn:aws:kms:eu:"));
                assert_eq!(told.entry.outcome, conclave_proto::audit::Outcome::Denied as i32);
                assert_eq!(told.entry.decided_by, ["default:deny"]);
            }
        }
        let by_id = v1::ListGrantsRequest { grant_id: made.grant_id.clone(), ..list(&key) };
        assert_eq!(service.page(by_id).grants.is_empty(), may, "{caller} {retiring}");
    }
}

#[test]
fn retiring_and_revoking_name_one_grant() {
    let mut service = Service::new();
    let (key, other) = (service.key(""), service.key(""));
    let made = service.grant(create(&key, "uma", &["Encrypt"]));
    let id = made.grant_id.as_str();
    let both = v1::RetireGrantRequest { grant_token: made.grant_token.clone(), ..retire(&key, id) };
    let gone = "NotFoundException: Grant '";
    let tried = v1::RetireGrantRequest { dry_run: true, ..retire(&key, id) };
    for (request, expected) in [
        (both, "ValidationException: Please specify either a grant token"),
        (by_token(""), "ValidationException: Please specify either a grant token"),
        (retire(&key, ""), "ValidationException: 1 validation error"),
        (retire("", id), "ValidationException: 1 validation error"),
        (by_token("AQ=="), "InvalidGrantTokenException: "),
        (by_token("no token"), "InvalidGrantTokenException: "),
        (by_token(&made.grant_token[4..]), "InvalidGrantTokenException: "),
        (retire(&key, "0123"), "InvalidGrantIdException: Invalid grant id '0123'"),
        (retire(&key, NO_GRANT), gone),
        (retire(&other, id), gone),
        (tried, "DryRunOperationException: "),
    ] {
        let told = service.told("ada", request);
        assert!(told.starts_with(expected), "{told}\n{expected}");
    }
    for (request, expected) in [
        (revoke(&key, "0123"), "InvalidGrantIdException: Invalid grant id '0123'"),
        (revoke(&key, NO_GRANT), gone),
        (revoke(&other, id), gone),
        (
            v1::RevokeGrantRequest { dry_run: true, ..revoke(&key, id) },
            "DryRunOperationException: ",
        ),
    ] {
        let told = service.told("ada", request);
        assert!(told.starts_with(expected), "{told}\n{expected}");
    }
    assert_eq!(service.told("ada", retire(&key, id)), "ok");
    for request in [retire(&key, id), by_token(&made.grant_token)] {
        assert!(service.told("ada", request).starts_with(gone));
    }
    let made = service.grant(create(&key, "uma", &["Encrypt"]));
    assert!(service.call("uma", revoke(&key, &made.grant_id)).reply.is_err());
    assert!(service.call("ada", revoke(&key, &made.grant_id)).reply.is_ok());
    assert!(service.page(list(&key)).grants.is_empty());
}

#[test]
fn the_state_of_the_key_matters_only_to_new_grants() {
    let mut service = Service::new();
    let key = service.key("");
    let grants: Vec<_> = (0..4)
        .map(|_| service.grant(create(&key, "uma", &["Encrypt", "RetireGrant"])).grant_id)
        .collect();
    assert!(service.call("ada", v1::DisableKeyRequest { key_id: key.clone() }).reply.is_ok());
    let told = service.told("ada", create(&key, "uma", &["Encrypt"]));
    assert!(told.starts_with("DisabledException: "), "{told}");
    assert_eq!(service.told("uma", retire(&key, &grants[0])), "ok");
    assert_eq!(service.told("ada", revoke(&key, &grants[1])), "ok");
    let deletion =
        v1::ScheduleKeyDeletionRequest { key_id: key.clone(), pending_window_in_days: Some(7) };
    assert!(service.call("ada", deletion).reply.is_ok());
    let told = service.told("ada", create(&key, "uma", &["Encrypt"]));
    assert!(told.starts_with("KMSInvalidStateException: "), "{told}");
    assert_eq!(service.page(list(&key)).grants.len(), 2);
    assert_eq!(service.told("uma", retire(&key, &grants[2])), "ok");
    assert_eq!(service.told("ada", revoke(&key, &grants[3])), "ok");
}

#[test]
fn grants_are_listed_page_by_page() {
    let mut service = Service::new();
    let (key, other) = (service.key(""), service.key(""));
    let mut all = BTreeSet::new();
    for n in 0..120 {
        let mut request = create(&key, if n % 2 == 0 { "uma" } else { "ulf" }, &["Encrypt"]);
        if n % 3 == 0 {
            request.retiring_principal = "ada".to_owned();
        }
        all.insert(service.grant(request).grant_id);
    }
    let elsewhere = service.grant(v1::CreateGrantRequest {
        retiring_principal: "ada".to_owned(),
        ..create(&other, "uma", &["Encrypt"])
    });
    let page = service.page(list(&key));
    assert_eq!((page.grants.len(), page.truncated), (50, true));
    let mut listed = BTreeSet::new();
    let mut request = v1::ListGrantsRequest { limit: Some(40), ..list(&key) };
    let mut pages = 0;
    loop {
        let page = service.page(request.clone());
        listed.extend(ids(&page));
        pages += 1;
        assert_eq!(page.truncated, page.next_marker.is_some());
        let Some(next) = page.next_marker else { break };
        request.marker = next;
    }
    assert_eq!((listed, pages), (all, 3));
    let of_uma =
        v1::ListGrantsRequest { limit: Some(100), grantee_principal: arn("uma"), ..list(&key) };
    let page = service.page(of_uma);
    assert_eq!((page.grants.len(), page.truncated), (60, false));
    let one = |grant: &str| v1::ListGrantsRequest { grant_id: grant.to_owned(), ..list(&key) };
    assert_eq!(service.page(one(&elsewhere.grant_id)).grants, [], "of another key");
    assert_eq!(service.page(one(NO_GRANT)).grants, []);
    let retirable = |principal: &str| v1::ListRetirableGrantsRequest {
        retiring_principal: principal.to_owned(),
        ..Default::default()
    };
    let mut retirable_by = |principal: &str| -> v1::ListRetirableGrantsResponse {
        service.call("aud", retirable(principal)).reply.unwrap().try_into().unwrap()
    };
    let page = retirable_by("ada");
    assert_eq!((page.grants.len(), page.truncated), (41, false));
    assert!(page.grants.iter().any(|grant| grant.grant_id == elsewhere.grant_id));
    assert_eq!(retirable_by(&arn("uma")).grants, []);
    for (request, expected) in [
        (v1::ListGrantsRequest { limit: Some(101), ..list(&key) }, "ValidationException"),
        (v1::ListGrantsRequest { marker: "x".to_owned(), ..list(&key) }, "InvalidMarkerException"),
        (one("x"), "InvalidGrantIdException"),
        (
            v1::ListGrantsRequest { grantee_service_principal: "s".to_owned(), ..list(&key) },
            "UnsupportedOperationException",
        ),
    ] {
        assert!(service.told("aud", request).starts_with(expected), "{expected}");
    }
    assert!(service.told("aud", retirable("")).starts_with("ValidationException"));
    let foreign = arn("ada").replace("00001", "00002");
    assert!(service.told("aud", retirable(&foreign)).starts_with("InvalidArnException"));
}

/// A page ends before it is full where too many have to be looked at, and the next goes on from there.
#[test]
fn a_page_looks_at_so_many_and_no_more() {
    let mut service = Service::new();
    let key = service.key("");
    for _ in 0..1_100 {
        service.grant(create(&key, "ulf", &["Encrypt"]));
    }
    let one = service.grant(create(&key, "uma", &["Encrypt"]));
    let mut request = v1::ListGrantsRequest { grantee_principal: "uma".to_owned(), ..list(&key) };
    let first = service.page(request.clone());
    assert!(first.truncated && first.grants.len() <= 1);
    request.marker = first.next_marker.clone().unwrap();
    let second = service.page(request);
    assert!(!second.truncated);
    assert_eq!([ids(&first), ids(&second)].concat(), [one.grant_id]);
}

/// Apply counts: of two grants at the last place one conflicts, and is then refused.
#[test]
fn a_key_has_so_many_grants_and_no_more() {
    let mut service = Service::new();
    let key = service.key("");
    let parent = RecordId::new(Kind::Key, *KeyId::parse(&key).unwrap().bytes());
    let family = Family::new(parent, Kind::Grant);
    let filled = 1..u64::from(GRANTS_MAX);
    let put = |n| Write::put(RecordId::numbered(Kind::Grant, n), b"x".to_vec()).under(parent);
    for chunk in filled.map(put).collect::<Vec<_>>().chunks(50) {
        service.store.write(chunk.to_vec());
    }
    let request: Request = create(&key, "uma", &["Encrypt"]).try_into().unwrap();
    let decide = |service: &mut Service| {
        let caller = service.caller("ada");
        service.decide(&caller, &request)
    };
    let (one, other) = (decide(&mut service), decide(&mut service));
    assert!(one.reply.is_ok() && other.reply.is_ok());
    assert!(matches!(service.store.commit(one.body, service.now_ms), Outcome::Committed(_)));
    let outcome = service.store.commit(other.body, service.now_ms);
    assert!(
        matches!(outcome, Outcome::Conflict { on, .. } if on == Some(Guarded::Fewer(family))),
        "{outcome:?}"
    );
    let refused = decide(&mut service);
    assert_eq!(refused.reply.unwrap_err().name(), "LimitExceededException");
    // The refusal rests on who they are: with one gone it is decided again.
    service.store.write(vec![Write::delete(RecordId::numbered(Kind::Grant, 1))]);
    let outcome = service.store.commit(refused.body, service.now_ms);
    assert!(matches!(outcome, Outcome::Conflict { .. }), "{outcome:?}");
    assert!(decide(&mut service).reply.is_ok());
}

/// Two at once end it once.
#[test]
fn a_grant_ends_once() {
    let mut service = Service::new();
    let key = service.key("");
    let made = service.grant(create(&key, "uma", &["Encrypt"]));
    let mut plan = |request: Request| {
        let caller = service.caller("ada");
        service.decide(&caller, &request)
    };
    let one = plan(revoke(&key, &made.grant_id).try_into().unwrap());
    let other = plan(retire(&key, &made.grant_id).try_into().unwrap());
    assert!(one.reply.is_ok() && other.reply.is_ok());
    assert!(matches!(service.store.commit(one.body, service.now_ms), Outcome::Committed(_)));
    assert!(matches!(service.store.commit(other.body, service.now_ms), Outcome::Conflict { .. }));
}

/// Grant tokens of uses are looked at and no more: roles alone decide.
#[test]
fn a_grant_lets_nobody_in_yet() {
    let mut service = Service::new();
    service.set_principal("op", "operator");
    let key = service.key("");
    let made = service.grant(create(&key, "op", &["Encrypt"]));
    let with =
        |token: &str| v1::EncryptRequest { grant_tokens: names(&[token]), ..encrypt(&key, b"x") };
    let told = service.told("op", with(&made.grant_token));
    assert!(told.starts_with("AccessDeniedException: "), "{told}");
    assert_eq!(service.told("uma", with(&made.grant_token)), "ok");
    assert!(service.told("uma", with("t")).starts_with("InvalidGrantTokenException: "));
}

//! Aliases.

use std::collections::BTreeSet;

use conclave_kms::{ALIASES_MAX, Refusal, Request};
use conclave_proto::v1;
use conclave_store::{Guarded, Outcome, View};

use crate::common::{NOW_MS, Service, create_alias, decrypt, encrypt, update_alias};
use crate::{NO_KEY, arn, delete_alias, described, done, key_of, refusal_of, refused, to_delete};

/// All aliases, or those of one key, in pages of `limit`.
fn aliases(service: &mut Service, key: &str, limit: i32) -> Vec<v1::AliasListEntry> {
    let (mut listed, mut marker) = (Vec::new(), String::new());
    loop {
        let request = v1::ListAliasesRequest { key_id: key.to_owned(), limit: Some(limit), marker };
        let told = service.call("aud", request);
        let page = v1::ListAliasesResponse::try_from(told.reply.unwrap()).unwrap();
        assert!(page.read_index > 0 && page.aliases.len() <= usize::try_from(limit).unwrap());
        assert_eq!(page.truncated, page.next_marker.is_some());
        listed.extend(page.aliases);
        let Some(next) = page.next_marker else { return listed };
        marker = next;
    }
}

fn names(listed: &[v1::AliasListEntry]) -> BTreeSet<&str> {
    listed.iter().map(|alias| alias.alias_name.as_str()).collect()
}

/// Uses follow an alias: to its new key, to nothing, to the key that has it next.
#[test]
fn the_life_of_an_alias() {
    let mut service = Service::new();
    let (one, two) = (service.key(""), service.key(""));
    let uses = |service: &mut Service| {
        let told = service.call("uma", encrypt("alias/a", b"x"));
        told.reply.map_or_else(
            |refusal| refusal.name().to_owned(),
            |response| {
                let sealed = v1::EncryptResponse::try_from(response).unwrap();
                sealed.key_id.replace(&one, "one").replace(&two, "two").replace(&arn("key/"), "")
            },
        )
    };
    assert_eq!(uses(&mut service), "NotFoundException");
    done(&mut service, create_alias("alias/a", &one));
    assert_eq!(uses(&mut service), "one");
    let old = service.encrypt("alias/a", b"before");
    done(&mut service, update_alias("alias/a", &arn(&format!("key/{two}"))));
    assert_eq!(uses(&mut service), "two");
    let told =
        service.call("uma", v1::DecryptRequest { key_id: "alias/a".into(), ..decrypt(&old) });
    assert_eq!(told.reply.unwrap_err().name(), "IncorrectKeyException");
    done(&mut service, delete_alias("alias/a"));
    assert_eq!(uses(&mut service), "NotFoundException");
    done(&mut service, create_alias("alias/a", &one));
    assert_eq!(uses(&mut service), "one");
}

/// A use under way by an alias that moves is decided again, over its new key.
#[test]
fn a_use_by_alias_conflicts_with_its_move_and_one_by_id_does_not() {
    let mut service = Service::new();
    let (one, two) = (service.key("alias/a"), service.key(""));
    let [by_alias, by_id]: [Request; 2] =
        ["alias/a", &one].map(|key| encrypt(key, b"x").try_into().unwrap());
    let caller = service.caller("uma");
    let (slow, free) = (service.decide(&caller, &by_alias), service.decide(&caller, &by_id));
    done(&mut service, update_alias("alias/a", &two));
    let outcome = service.store.commit(slow.body, service.now_ms);
    assert!(matches!(outcome, Outcome::Conflict { .. }));
    assert!(service.commit(&caller, &by_id, free).reply.is_ok());
    // Pointing it where it points already seals nothing again.
    let slow = service.decide(&caller, &by_alias);
    done(&mut service, update_alias("alias/a", &two));
    assert!(service.commit(&caller, &by_alias, slow).reply.is_ok());
}

#[test]
fn a_moved_alias_is_found_under_its_new_key_alone() {
    let mut service = Service::new();
    let (one, two) = (service.key("alias/a"), service.key("alias/b"));
    service.now_ms += 5_000;
    done(&mut service, update_alias("alias/a", &two));
    assert!(aliases(&mut service, &one, 50).is_empty());
    assert!(described(&mut service, &one).aliases.is_empty());
    assert_eq!(described(&mut service, &two).aliases, ["alias/a", "alias/b"]);
    let listed = aliases(&mut service, &arn(&format!("key/{two}")), 50);
    assert_eq!(names(&listed), BTreeSet::from(["alias/a", "alias/b"]));
    assert_eq!(names(&aliases(&mut service, "", 50)), names(&listed));
    for alias in listed {
        let (made, moved) = (NOW_MS, u64::from(alias.alias_name == "alias/a") * 5_000);
        assert_eq!(alias.alias_arn, arn(&alias.alias_name));
        assert_eq!(alias.target_key_id, two);
        assert_eq!((alias.creation_date_ms, alias.last_updated_date_ms), (made, made + moved));
    }
    let told = done(&mut service, update_alias("alias/b", &one));
    assert_eq!(
        told.entry.resources,
        [arn("alias/b"), arn(&format!("key/{one}")), arn(&format!("key/{two}"))]
    );
    let pairs: Vec<_> =
        told.entry.parameters.iter().map(|it| (it.name.as_str(), it.value.as_str())).collect();
    let target = arn(&format!("key/{one}"));
    assert_eq!(pairs, [("AliasName", "alias/b"), ("TargetKeyId", target.as_str())]);
    let told = done(&mut service, delete_alias("alias/b"));
    assert_eq!(told.entry.resources, [arn("alias/b"), target]);
}

#[test]
fn refusals_of_aliases() {
    let mut service = Service::new();
    let (key, gone) = (service.key("alias/a"), service.key("alias/b"));
    let mac = key_of(&mut service, "HMAC_256", "GENERATE_VERIFY_MAC");
    let rsa = key_of(&mut service, "RSA_2048", "ENCRYPT_DECRYPT");
    let signing = key_of(&mut service, "ECC_NIST_P256", "SIGN_VERIFY");
    let agreeing = key_of(&mut service, "ECC_NIST_P256", "KEY_AGREEMENT");
    done(&mut service, create_alias("alias/signing", &signing));
    done(&mut service, to_delete(&gone));
    let [a, none] = ["alias/a", "alias/none"].map(arn);
    let [key_arn, gone_arn, no_key] =
        [key.as_str(), gone.as_str(), NO_KEY].map(|key| arn(&format!("key/{key}")));
    let other = |alias: &str, key: &str, new: &str, old: &str| {
        format!(
            "ValidationException: Alias {} cannot be associated with key {}, a key of type {new}: \
             the key that it names now is of type {old}. Choose a key of that type, or delete the \
             alias and create it again",
            arn(alias),
            arn(&format!("key/{key}"))
        )
    };
    let prefix = "ValidationException: Alias must start with the prefix \"alias/\". Please see \
                  https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html";
    let null = |member: &str| {
        format!(
            "ValidationException: 1 validation error detected: Value null at '{member}' failed to \
             satisfy constraint: Member must not be null"
        )
    };
    let not_found = |what: String| format!("NotFoundException: {what}");
    let pending = format!("KMSInvalidStateException: {gone_arn} is pending deletion.");
    let cases: [(Result<Request, Refusal>, String); 22] = [
        (create_alias("alias/a", &key).try_into(), format!("AlreadyExistsException: An alias with the name {a} already exists")),
        (create_alias("alias/c", NO_KEY).try_into(), not_found(format!("Key '{no_key}' does not exist"))),
        (create_alias("alias/c", "alias/a").try_into(), not_found("Invalid keyId 'alias/a'".into())),
        (create_alias("alias/c", &a).try_into(), not_found(format!("Invalid keyId '{a}'"))),
        (create_alias("alias/c", &gone).try_into(), pending.clone()),
        (create_alias("", &key).try_into(), null("aliasName")),
        (create_alias("alias/c", "").try_into(), null("targetKeyId")),
        (create_alias("c", &key).try_into(), prefix.to_owned()),
        (create_alias("alias/aws/c", &key).try_into(), "InvalidAliasNameException: Alias names beginning with alias/aws/ are reserved".to_owned()),
        (update_alias("alias/none", &key).try_into(), not_found(format!("Alias {none} is not found."))),
        (update_alias("alias/a", NO_KEY).try_into(), not_found(format!("Key '{no_key}' does not exist"))),
        (update_alias("alias/a", &gone).try_into(), pending.clone()),
        (update_alias("alias/b", &gone).try_into(), pending),
        (update_alias("alias/a", &mac).try_into(), other("alias/a", &mac, "HMAC GENERATE_VERIFY_MAC", "symmetric ENCRYPT_DECRYPT")),
        (update_alias("alias/a", &rsa).try_into(), other("alias/a", &rsa, "asymmetric ENCRYPT_DECRYPT", "symmetric ENCRYPT_DECRYPT")),
        (update_alias("alias/signing", &agreeing).try_into(), other("alias/signing", &agreeing, "asymmetric KEY_AGREEMENT", "asymmetric SIGN_VERIFY")),
        (update_alias("a", &key).try_into(), prefix.to_owned()),
        (delete_alias("alias/none").try_into(), not_found(format!("Alias {none} is not found."))),
        (delete_alias("a").try_into(), prefix.to_owned()),
        (v1::ListAliasesRequest { key_id: NO_KEY.into(), ..Default::default() }.try_into(), not_found(format!("Key '{no_key}' does not exist"))),
        (v1::ListAliasesRequest { key_id: "alias/a".into(), ..Default::default() }.try_into(), not_found("Invalid keyId 'alias/a'".into())),
        (v1::ListAliasesRequest { limit: Some(101), ..Default::default() }.try_into(), "ValidationException: 1 validation error detected: Value '101' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 100".to_owned()),
    ];
    for (request, expected) in cases {
        assert_eq!(refusal_of(&mut service, request), expected);
    }
    for marker in ["x", &key.replace('-', ""), &"0".repeat(10_000)] {
        let marker = marker.to_owned();
        let request = v1::ListAliasesRequest { marker, ..Default::default() };
        assert!(refused(&mut service, request).starts_with("InvalidMarkerException: "));
    }
    // The old key's state is nobody's hindrance, nor is the kind of key if the usage is the same.
    done(&mut service, update_alias("alias/b", &key));
    done(&mut service, update_alias("alias/b", &key));
    done(&mut service, to_delete(&key));
    done(&mut service, delete_alias("alias/b"));
    done(&mut service, delete_alias("alias/a"));
    assert_eq!(key_arn, described(&mut service, &key).arn);
    let ed25519 = key_of(&mut service, "ECC_NIST_EDWARDS25519", "SIGN_VERIFY");
    done(&mut service, update_alias("alias/signing", &ed25519));
    assert_eq!(service.id_of("alias/signing"), ed25519);
}

/// Fifty to a key; making and moving are counted alike, and the last place is taken once.
#[test]
fn a_key_has_at_most_fifty_aliases() {
    let mut service = Service::new();
    let (key, other) = (service.key("alias/0"), service.key("alias/other"));
    for number in 1..ALIASES_MAX - 1 {
        done(&mut service, create_alias(&format!("alias/{number}"), &key));
    }
    // Two at once for the last place: one conflicts over the number, and is refused when it looks again.
    let caller = service.caller("ada");
    let [first, second]: [Request; 2] =
        ["alias/first", "alias/second"].map(|alias| create_alias(alias, &key).try_into().unwrap());
    let late = service.caller("ada");
    let (plan, late_plan) = (service.decide(&caller, &first), service.decide(&late, &second));
    assert!(service.commit(&caller, &first, plan).reply.is_ok());
    let outcome = service.store.commit(late_plan.body, service.now_ms);
    let Outcome::Conflict { on: Some(Guarded::Fewer(family)), .. } = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(service.store.count(&family), ALIASES_MAX);
    let limit = format!(
        "LimitExceededException: Key {} has 50 aliases, the most that a key can have; delete one first",
        arn(&format!("key/{key}"))
    );
    assert_eq!(refusal_of(&mut service, Ok(second)), limit);
    assert_eq!(refused(&mut service, update_alias("alias/other", &key)), limit);
    done(&mut service, update_alias("alias/0", &key));

    // That there was no room is guarded too: whoever leaves makes the refusal look again.
    let request = create_alias("alias/second", &key).try_into().unwrap();
    let caller = service.caller("ada");
    let full = service.decide(&caller, &request);
    assert_eq!(full.reply.as_ref().unwrap_err().name(), "LimitExceededException");
    done(&mut service, update_alias("alias/0", &other));
    let outcome = service.store.commit(full.body, service.now_ms);
    assert!(matches!(outcome, Outcome::Conflict { on: Some(Guarded::Scan(_)), .. }));
    assert!(service.call_as(&caller, &request).reply.is_ok());
    done(&mut service, delete_alias("alias/second"));
    done(&mut service, create_alias("alias/third", &key));
    assert_eq!(described(&mut service, &key).aliases.len(), ALIASES_MAX as usize);
}

/// Aliases that are made at once for one key do not get into each other's way before it is full.
#[test]
fn aliases_made_at_once_do_not_conflict() {
    let mut service = Service::new();
    let key = service.key("");
    let requests: Vec<(_, Request)> = (0..5)
        .map(|number| {
            let request = create_alias(&format!("alias/{number}"), &key).try_into().unwrap();
            (service.caller("ada"), request)
        })
        .collect();
    let plans: Vec<_> =
        requests.iter().map(|(caller, request)| service.decide(caller, request)).collect();
    for ((caller, request), plan) in requests.iter().zip(plans) {
        assert!(service.commit(caller, request, plan).reply.is_ok());
    }
    assert_eq!(described(&mut service, &key).aliases.len(), 5);
}

#[test]
fn aliases_are_listed_page_by_page_and_guarded_only_by_who_asks() {
    let mut service = Service::new();
    let keys: Vec<_> = (0..3).map(|_| service.key("")).collect();
    let mut made = BTreeSet::new();
    for number in 0..120 {
        let name = format!("alias/many/{number}");
        done(&mut service, create_alias(&name, &keys[number % keys.len()]));
        made.insert(name);
    }
    for limit in [1, 7, 100] {
        let listed = aliases(&mut service, "", limit);
        assert_eq!(listed.len(), made.len(), "each once");
        assert_eq!(names(&listed), made.iter().map(String::as_str).collect());
    }
    for key in &keys {
        let listed = aliases(&mut service, key, 9);
        assert_eq!(listed.len(), 40);
        assert!(listed.iter().all(|alias| alias.target_key_id == *key));
        assert_eq!(names(&listed).len(), 40);
    }
    let caller = service.caller("uma");
    let request: Request = v1::ListAliasesRequest::default().try_into().unwrap();
    assert!(request.needs_read_index());
    let plan = service.decide(&caller, &request);
    let page = v1::ListAliasesResponse::try_from(plan.reply.unwrap()).unwrap();
    assert_eq!((page.aliases.len(), page.truncated), (50, true), "fifty by default");
    assert_eq!((plan.body.guards.len(), plan.body.scans.len()), (1, 0));
}

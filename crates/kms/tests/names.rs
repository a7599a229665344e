//! What keys are called and what is written on them: aliases, tags, descriptions; and what there is
//! elsewhere and not here.
#![allow(clippy::unwrap_used, reason = "clippy takes helpers of tests for none")]

mod common;

use std::collections::BTreeSet;

use common::{Service, Told, create_alias, created, decrypt, encrypt, tags, update_alias};
use conclave_kms::fields::TAGS_MAX;
use conclave_kms::{ALIASES_MAX, Refusal, Request};
use conclave_proto::{audit, v1};
use conclave_store::{Guarded, Kind, Outcome, View};

const NO_KEY: &str = "01234567-89ab-4def-8123-456789abcdef";

fn arn(resource: &str) -> String {
    format!("arn:aws:kms:eu:000000000001:{resource}")
}

fn key_of(service: &mut Service, spec: &str, usage: &str) -> String {
    let request = v1::CreateKeyRequest {
        key_spec: spec.to_owned(),
        key_usage: usage.to_owned(),
        ..Default::default()
    };
    created(service.call("ada", request)).key_id
}

fn delete_alias(alias: &str) -> v1::DeleteAliasRequest {
    v1::DeleteAliasRequest { alias_name: alias.to_owned() }
}

fn to_delete(key: &str) -> v1::ScheduleKeyDeletionRequest {
    v1::ScheduleKeyDeletionRequest { key_id: key.to_owned(), pending_window_in_days: Some(7) }
}

fn tag(key: &str, pairs: &[(&str, &str)]) -> v1::TagResourceRequest {
    v1::TagResourceRequest { key_id: key.to_owned(), tags: tags(pairs) }
}

fn untag(key: &str, tag_keys: &[&str]) -> v1::UntagResourceRequest {
    let tag_keys = tag_keys.iter().map(|key| (*key).to_owned()).collect();
    v1::UntagResourceRequest { key_id: key.to_owned(), tag_keys }
}

fn describe_as(key: &str, description: &str) -> v1::UpdateKeyDescriptionRequest {
    let (key_id, description) = (key.to_owned(), description.to_owned());
    v1::UpdateKeyDescriptionRequest { key_id, description }
}

/// Exception and message, whether the request is refused before it is decided or after.
fn refused(service: &mut Service, request: impl TryInto<Request, Error = Refusal>) -> String {
    refusal_of(service, request.try_into())
}

fn refusal_of(service: &mut Service, request: Result<Request, Refusal>) -> String {
    let refusal = request.map_or_else(
        |refusal| refusal,
        |request| {
            let caller = service.caller("ada");
            let told = service.call_as(&caller, &request);
            let refusal = told.reply.unwrap_err();
            assert_eq!(told.entry.outcome, audit::Outcome::Refused as i32);
            assert!(told.entry.reason.starts_with(refusal.name()));
            refusal
        },
    );
    format!("{}: {}", refusal.name(), refusal.message())
}

fn done(service: &mut Service, request: impl TryInto<Request, Error = Refusal>) -> Told {
    let told = service.call("ada", request);
    assert!(told.reply.is_ok(), "{:?}", told.reply);
    told
}

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

fn described(service: &mut Service, key: &str) -> v1::KeyMetadata {
    let request = v1::DescribeKeyRequest { key_id: key.to_owned(), ..Default::default() };
    let told = service.call("aud", request).reply.unwrap();
    v1::DescribeKeyResponse::try_from(told).unwrap().key_metadata.unwrap()
}

fn tag_pages(service: &mut Service, key: &str, limit: Option<i32>) -> Vec<Vec<(String, String)>> {
    let (mut pages, mut marker) = (Vec::new(), String::new());
    loop {
        let request = v1::ListResourceTagsRequest { key_id: key.to_owned(), limit, marker };
        let told = service.call("aud", request);
        let page = v1::ListResourceTagsResponse::try_from(told.reply.unwrap()).unwrap();
        assert_eq!(page.truncated, page.next_marker.is_some());
        pages.push(page.tags.into_iter().map(|tag| (tag.tag_key, tag.tag_value)).collect());
        let Some(next) = page.next_marker else { return pages };
        assert!(next.len() <= 1024);
        marker = next;
    }
}

fn pair(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
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
        let (made, moved) = (common::NOW_MS, u64::from(alias.alias_name == "alias/a") * 5_000);
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

#[test]
fn tags_are_added_changed_and_taken_off() {
    let mut service = Service::new();
    let key = service.key("");
    assert!(tag_pages(&mut service, &key, None).concat().is_empty());
    let told = done(&mut service, tag(&key, &[("b", "1"), ("a", "")]));
    let shown = |entry: &audit::Entry| -> Vec<_> {
        entry.parameters.iter().map(|it| pair(&it.name, &it.value)).collect()
    };
    assert_eq!(shown(&told.entry), [pair("Tag.a", ""), pair("Tag.b", "1")]);
    assert_eq!(told.entry.resources, [arn(&format!("key/{key}"))]);
    done(&mut service, tag(&key, &[("c", "3"), ("b", "2")]));
    let all = [pair("a", ""), pair("b", "2"), pair("c", "3")];
    assert_eq!(tag_pages(&mut service, &key, None), [all.to_vec()]);
    assert_eq!(tag_pages(&mut service, &key, Some(3)), [all.to_vec()]);
    assert_eq!(tag_pages(&mut service, &key, Some(2)), [all[..2].to_vec(), all[2..].to_vec()]);
    let told = done(&mut service, untag(&key, &["c", "a", "c", "none"]));
    assert_eq!(shown(&told.entry), [pair("Tag.a", ""), pair("Tag.c", ""), pair("Tag.none", "")]);
    assert_eq!(tag_pages(&mut service, &key, None), [[pair("b", "2")]]);
    assert_eq!(described(&mut service, &key).tags, tags(&[("b", "2")]));
    done(&mut service, tag(&key, &[]));
    done(&mut service, untag(&key, &[]));
}

/// A page goes on after its last tag even if that one is gone meanwhile; the longest marker fits.
#[test]
fn pages_of_tags_outlive_changes() {
    let mut service = Service::new();
    let key = service.key("");
    let long = "\u{10FFFF}".repeat(128);
    done(&mut service, tag(&key, &[("a", "1"), ("b", "2"), ("c", "3"), (long.as_str(), "4")]));
    let page = |service: &mut Service, marker: Option<String>, limit| {
        let (key_id, marker) = (key.clone(), marker.unwrap_or_default());
        let request = v1::ListResourceTagsRequest { key_id, limit: Some(limit), marker };
        v1::ListResourceTagsResponse::try_from(service.call("aud", request).reply.unwrap()).unwrap()
    };
    let first = page(&mut service, None, 2);
    done(&mut service, untag(&key, &["b"]));
    let second = page(&mut service, first.next_marker, 1);
    assert_eq!(second.tags, tags(&[("c", "3")]));
    assert_eq!(page(&mut service, second.next_marker, 1).tags, tags(&[(long.as_str(), "4")]));
    assert!(page(&mut service, Some(hex::encode(&long)), 1).tags.is_empty());
    for marker in ["x", "zz", &"61".repeat(129), "c3"] {
        let (key_id, marker) = (key.clone(), marker.to_owned());
        let request = v1::ListResourceTagsRequest { key_id, marker, limit: None };
        assert!(refused(&mut service, request).starts_with("InvalidMarkerException: "));
    }
}

#[test]
fn refusals_of_tags_and_descriptions() {
    let mut service = Service::new();
    let key = service.key("alias/a");
    let numbered: Vec<_> = (0..=TAGS_MAX).map(|number| format!("k{number:02}")).collect();
    let fifty: Vec<_> = numbered[1..].iter().map(|key| (key.as_str(), "v")).collect();
    done(&mut service, tag(&key, &fifty));
    let arn_of = |key: &str| arn(&format!("key/{key}"));
    let no_key = format!("NotFoundException: Key '{}' does not exist", arn_of(NO_KEY));
    let long_key = "k".repeat(129);
    let too_long = |member: &str| {
        format!(
            "ValidationException: 1 validation error detected: Value '{long_key}' at '{member}' failed \
             to satisfy constraint: Member must have length less than or equal to 128"
        )
    };
    let alias = "NotFoundException: Invalid keyId 'alias/a'";
    let (long_tag, long_untag) = (too_long("tags.1.member.tagKey"), too_long("tagKeys.2.member"));
    let all: Vec<_> = numbered.iter().map(String::as_str).collect();
    let cases: [(Result<Request, Refusal>, &str); 17] = [
        (tag(&key, &[("k00", "v")]).try_into(), "TagException: Too many tags"),
        (tag(&key, &[("a", "1"), ("a", "2")]).try_into(), "TagException: Duplicate tag keys"),
        (
            tag(&key, &[("AWS:x", "v")]).try_into(),
            "TagException: Tags beginning with aws: are reserved",
        ),
        (tag(&key, &[(&long_key, "v")]).try_into(), &long_tag),
        (tag(NO_KEY, &[("a", "1")]).try_into(), &no_key),
        (tag("alias/a", &[("a", "1")]).try_into(), alias),
        (untag(&key, &all).try_into(), "TagException: Too many tags"),
        (untag(&key, &["a", &long_key]).try_into(), &long_untag),
        (
            untag(&key, &[""]).try_into(),
            "ValidationException: 1 validation error detected: Value at 'tagKeys.1.member' failed to satisfy constraint: Member must have length greater than or equal to 1",
        ),
        (untag(NO_KEY, &["a"]).try_into(), &no_key),
        (untag("alias/a", &["a"]).try_into(), alias),
        (
            v1::ListResourceTagsRequest { key_id: NO_KEY.into(), ..Default::default() }.try_into(),
            &no_key,
        ),
        (
            v1::ListResourceTagsRequest { key_id: "alias/a".into(), ..Default::default() }
                .try_into(),
            alias,
        ),
        (
            v1::ListResourceTagsRequest {
                key_id: key.clone(),
                limit: Some(51),
                ..Default::default()
            }
            .try_into(),
            "ValidationException: 1 validation error detected: Value '51' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 50",
        ),
        (describe_as(NO_KEY, "d").try_into(), &no_key),
        (describe_as("alias/a", "d").try_into(), alias),
        (
            describe_as(&key, &"d".repeat(8193)).try_into(),
            "ValidationException: 1 validation error detected: Value at 'description' failed to satisfy constraint: Member must have length less than or equal to 8192",
        ),
    ];
    for (request, expected) in cases {
        assert_eq!(refusal_of(&mut service, request), expected);
    }
    // Forty of the longest are more than a record has room for; those it has can be changed.
    let value = "\u{10FFFF}".repeat(256);
    let long: Vec<_> = fifty[..40].iter().map(|(key, _)| (*key, value.as_str())).collect();
    assert!(refused(&mut service, tag(&key, &long)).starts_with("ValidationException: "));
    done(&mut service, tag(&key, &long[..20]));
    let request = tag(&key, &long[20..]);
    assert!(refused(&mut service, request).starts_with("ValidationException: "));
    done(&mut service, tag(&key, &fifty));

    done(&mut service, describe_as(&key, &"d".repeat(8192)));
    done(&mut service, to_delete(&key));
    let pending = format!("KMSInvalidStateException: {} is pending deletion.", arn_of(&key));
    assert_eq!(refused(&mut service, tag(&key, &[("k01", "w")])), pending);
    assert_eq!(refused(&mut service, untag(&key, &["k01"])), pending);
    assert_eq!(refused(&mut service, describe_as(&key, "")), pending);
    assert_eq!(tag_pages(&mut service, &key, None)[0].len(), 50);
}

#[test]
fn a_description_is_replaced() {
    let mut service = Service::new();
    let key = service.key("");
    for description in ["first", "Ünicode", ""] {
        let told = done(&mut service, describe_as(&key, description));
        assert_eq!(described(&mut service, &key).description, description);
        let told = &told.entry.parameters[0];
        assert_eq!((told.name.as_str(), told.value.as_str()), ("Description", description));
    }
}

/// What changes nothing writes nothing, so uses under way go on.
#[test]
fn labels_that_say_the_same_disturb_nobody() {
    let mut service = Service::new();
    let key = service.key("alias/a");
    done(&mut service, tag(&key, &[("a", "b")]));
    done(&mut service, describe_as(&key, "d"));
    let caller = service.caller("uma");
    let request: Request = encrypt("alias/a", b"x").try_into().unwrap();
    let plan = service.decide(&caller, &request);
    done(&mut service, tag(&key, &[("a", "b")]));
    done(&mut service, untag(&key, &["c"]));
    done(&mut service, describe_as(&key, "d"));
    done(&mut service, update_alias("alias/a", &key));
    done(&mut service, create_alias("alias/b", &key));
    done(&mut service, delete_alias("alias/b"));
    assert!(service.commit(&caller, &request, plan).reply.is_ok());
}

/// Every change here, retried over the state that it made, is told its first answer and does nothing.
#[test]
fn a_retry_is_told_the_same() {
    let mut service = Service::new();
    let (key, other) = (service.key(""), service.key(""));
    let changes: [Request; 8] = [
        create_alias("alias/a", &key).try_into().unwrap(),
        create_alias("alias/a", &other).try_into().unwrap(),
        update_alias("alias/a", &other).try_into().unwrap(),
        tag(&key, &[("a", "b")]).try_into().unwrap(),
        untag(&key, &["a"]).try_into().unwrap(),
        describe_as(&key, "d").try_into().unwrap(),
        delete_alias("alias/a").try_into().unwrap(),
        delete_alias("alias/a").try_into().unwrap(),
    ];
    let told: Vec<_> = changes
        .iter()
        .map(|request| {
            assert!(request.is_mutation());
            let caller = service.caller("ada");
            let shown = |told: Told| match told.reply {
                Ok(response) => format!("{response:?}"),
                Err(refusal) => format!("{}: {}", refusal.name(), refusal.message()),
            };
            let first = shown(service.call_as(&caller, request));
            service.now_ms += 1000;
            let records = service.store.list(Kind::Alias, None, 10);
            assert_eq!(shown(service.call_as(&caller, request)), first);
            assert_eq!(service.store.list(Kind::Alias, None, 10), records);
            first
        })
        .collect();
    assert_eq!(
        told,
        [
            "CreateAlias(CreateAliasResponse)".to_owned(),
            format!(
                "AlreadyExistsException: An alias with the name {} already exists",
                arn("alias/a")
            ),
            "UpdateAlias(UpdateAliasResponse)".to_owned(),
            "TagResource(TagResourceResponse)".to_owned(),
            "UntagResource(UntagResourceResponse)".to_owned(),
            "UpdateKeyDescription(UpdateKeyDescriptionResponse)".to_owned(),
            "DeleteAlias(DeleteAliasResponse)".to_owned(),
            format!("NotFoundException: Alias {} is not found.", arn("alias/a")),
        ]
    );
}

/// There is one domain, and no key store but the cluster itself.
#[test]
fn what_there_is_elsewhere() {
    let mut service = Service::new();
    let single = service.key("");
    let request = v1::CreateKeyRequest { multi_region: true, ..Default::default() };
    let multi = created(service.call("ada", request)).key_id;
    let replicate = |key: &str, region: &str| v1::ReplicateKeyRequest {
        key_id: key.to_owned(),
        replica_region: region.to_owned(),
        policy: "{}".to_owned(),
        description: "replica".to_owned(),
        tags: tags(&[("a", "b")]),
        ..Default::default()
    };
    let move_to = |key: &str, region: &str| v1::UpdatePrimaryRegionRequest {
        key_id: key.to_owned(),
        primary_region: region.to_owned(),
    };
    let no_key =
        format!("NotFoundException: Key '{}' does not exist", arn(&format!("key/{NO_KEY}")));
    let not_primary = format!(
        "UnsupportedOperationException: {} is not a multi-region primary key.",
        arn(&format!("key/{single}"))
    );
    let not_offered = |what: &str| {
        format!(
            "UnsupportedOperationException: {what} is not offered here, see docs/aws-compatibility.md"
        )
    };
    for (told, expected) in [
        (refused(&mut service, replicate(NO_KEY, "us")), no_key.clone()),
        (refused(&mut service, replicate(&single, "us")), not_primary.clone()),
        (
            refused(&mut service, replicate(&multi, "us")),
            not_offered("A replica in another domain"),
        ),
        (refused(&mut service, move_to(NO_KEY, "us")), no_key),
        (refused(&mut service, move_to(&single, "us")), not_primary),
        (
            refused(&mut service, move_to(&multi, "us")),
            not_offered("A primary key in another domain"),
        ),
        (
            refused(
                &mut service,
                v1::CreateCustomKeyStoreRequest { custom_key_store_name: "store".to_owned() },
            ),
            not_offered("A custom key store"),
        ),
    ] {
        assert_eq!(told, expected);
    }
    let long = "r".repeat(33);
    let mut policy = replicate(&multi, "us");
    policy.policy = "p".repeat(131_073);
    for refused in [
        refused(&mut service, replicate(&multi, "")),
        refused(&mut service, replicate(&multi, &long)),
        refused(&mut service, move_to(&multi, "")),
        refused(&mut service, move_to(&multi, &long)),
        refused(&mut service, policy),
        refused(&mut service, v1::CreateCustomKeyStoreRequest::default()),
        refused(&mut service, v1::ConnectCustomKeyStoreRequest::default()),
        refused(
            &mut service,
            v1::DeleteCustomKeyStoreRequest { custom_key_store_id: "c".repeat(65) },
        ),
    ] {
        assert!(refused.starts_with("ValidationException: "), "{refused}");
    }

    let told = service.call("aud", v1::DescribeCustomKeyStoresRequest::default());
    let listed = v1::DescribeCustomKeyStoresResponse::try_from(told.reply.unwrap()).unwrap();
    assert_eq!(listed, v1::DescribeCustomKeyStoresResponse::default());
    let (id, name) = ("cks-1".to_owned(), "store".to_owned());
    let marker = v1::DescribeCustomKeyStoresRequest { marker: id.clone(), ..Default::default() };
    assert!(refused(&mut service, marker).starts_with("InvalidMarkerException: "));
    let unknown = |given: &str| {
        format!(
            "CustomKeyStoreNotFoundException: Custom key store '{given}' does not exist: there are none here"
        )
    };
    let by_id = v1::DescribeCustomKeyStoresRequest {
        custom_key_store_id: id.clone(),
        ..Default::default()
    };
    let by_name = v1::DescribeCustomKeyStoresRequest {
        custom_key_store_name: name.clone(),
        ..Default::default()
    };
    assert_eq!(refused(&mut service, by_id), unknown(&id));
    assert_eq!(refused(&mut service, by_name), unknown(&name));
    macro_rules! unknown {
        ($($message:ident),*) => {$(
            let request = v1::$message { custom_key_store_id: id.clone() };
            assert_eq!(refused(&mut service, request), unknown(&id));
        )*};
    }
    unknown!(
        ConnectCustomKeyStoreRequest,
        DisconnectCustomKeyStoreRequest,
        UpdateCustomKeyStoreRequest,
        DeleteCustomKeyStoreRequest
    );
}

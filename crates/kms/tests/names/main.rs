//! What keys are called and what is written on them, and what there is elsewhere and not here.
#![allow(clippy::unwrap_used, reason = "clippy takes helpers of tests for none")]

#[path = "../common/mod.rs"]
mod common;

mod aliases;
mod elsewhere;
mod labels;

use common::{Service, Told, create_alias, created, encrypt, tags, update_alias};
use conclave_kms::{Refusal, Request};
use conclave_proto::{audit, v1};
use conclave_store::{Kind, View};

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

fn described(service: &mut Service, key: &str) -> v1::KeyMetadata {
    let request = v1::DescribeKeyRequest { key_id: key.to_owned(), ..Default::default() };
    let told = service.call("aud", request).reply.unwrap();
    v1::DescribeKeyResponse::try_from(told).unwrap().key_metadata.unwrap()
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

//! Exactly once: a retry of a mutation does nothing, and is told what its first attempt was.
#![allow(clippy::unwrap_used, reason = "clippy takes helpers of tests for none")]

mod common;

use common::{Service, caller, created};
use conclave_kms::{Caller, DecideError, Request, Response, replay};
use conclave_proto::audit::Outcome;
use conclave_proto::v1;
use conclave_seal::keyring::AnswerError;
use conclave_seal::keyring::resealing::Walk;
use conclave_seal::keyring::rotation::RETIRE_AFTER_MS;
use conclave_store::{Guarded, Kind, Outcome as Committed, RecordId, View};

fn keys(service: &Service) -> usize {
    service.store.list(Kind::Key, None, 100).len()
}

fn create(alias: &str, description: &str) -> Request {
    let message = v1::CreateKeyRequest {
        alias: alias.to_owned(),
        description: description.to_owned(),
        tags: vec![v1::Tag { tag_key: "a".to_owned(), tag_value: "b".to_owned() }],
        ..Default::default()
    };
    message.try_into().unwrap()
}

fn ada() -> Caller {
    caller("ada", "one-request")
}

#[test]
fn a_retried_creation_is_the_same_key() {
    let mut service = Service::new();
    let request = create("alias/a", "first");
    let first = created(service.call_as(&ada(), &request));
    // Meanwhile the key changed, and time went on; the answer is still the first one.
    service.now_ms += 60_000;
    service.call("ada", v1::DisableKeyRequest { key_id: first.key_id.clone() }).reply.unwrap();
    let again = created(service.call_as(&ada(), &request));
    assert_eq!(v1::KeyMetadata::encode(&first), v1::KeyMetadata::encode(&again));
    assert_eq!(
        (again.key_state.as_str(), again.aliases.len(), again.tags.len()),
        ("Enabled", 1, 1)
    );
    assert_eq!(keys(&service), 1);
}

/// The same request id of another principal is another request.
#[test]
fn request_ids_belong_to_their_principal() {
    let mut service = Service::new();
    service.set_principal("adam", "key-administrator");
    let first = created(service.call_as(&ada(), &create("", "")));
    let other = created(service.call_as(&caller("adam", "one-request"), &create("", "")));
    assert_ne!(first.key_id, other.key_id);
}

#[test]
fn another_request_under_the_same_id_is_refused() {
    let mut service = Service::new();
    let key = created(service.call_as(&ada(), &create("", "first"))).key_id;
    let others = [
        create("", "second"),
        create("alias/a", "first"),
        v1::DisableKeyRequest { key_id: key }.try_into().unwrap(),
    ];
    for other in others {
        let refusal = service.call_as(&ada(), &other).reply.unwrap_err();
        assert_eq!(refusal.name(), "ValidationException");
        assert_eq!(
            refusal.message(),
            "request id one-request was already used for another request; use a new one"
        );
    }
    assert_eq!(keys(&service), 1);
}

/// Every change, retried over the state that it made itself, is told its first answer.
#[test]
fn a_retried_change_is_told_how_the_key_stood_then() {
    let mut service = Service::new();
    let key = service.key("alias/a");
    let changes: [Request; 5] = [
        v1::RotateKeyOnDemandRequest { key_id: key.clone() }.try_into().unwrap(),
        v1::DisableKeyRequest { key_id: key.clone() }.try_into().unwrap(),
        v1::EnableKeyRequest { key_id: key.clone() }.try_into().unwrap(),
        v1::ScheduleKeyDeletionRequest { key_id: key.clone(), pending_window_in_days: Some(7) }
            .try_into()
            .unwrap(),
        v1::CancelKeyDeletionRequest { key_id: key.clone() }.try_into().unwrap(),
    ];
    for request in &changes {
        let caller = service.caller("ada");
        let first = format!("{:?}", service.call_as(&caller, request).reply);
        assert!(first.starts_with("Ok"), "{first}");
        service.now_ms += 1000;
        assert_eq!(format!("{:?}", service.call_as(&caller, request).reply), first);
    }
    let last = service.call("ada", v1::DescribeKeyRequest { key_id: key, ..Default::default() });
    assert_eq!(last.line(), "key Disabled v2 alias/a | DescribeKey Success role:key-administrator");
}

#[test]
fn retried_principals() {
    let mut service = Service::new();
    let message =
        v1::CreatePrincipalRequest { name: "new".to_owned(), roles: vec!["auditor".to_owned()] };
    let requests: [Request; 2] = [
        message.try_into().unwrap(),
        v1::DeletePrincipalRequest { name: "new".to_owned() }.try_into().unwrap(),
    ];
    for request in &requests {
        let caller = service.caller("olga");
        let first = format!("{:?}", service.call_as(&caller, request).reply);
        assert!(first.starts_with("Ok"), "{first}");
        assert_eq!(format!("{:?}", service.call_as(&caller, request).reply), first);
    }
}

/// A first attempt that its own retry overtook, and that was refused there, takes no effect later.
#[test]
fn a_refusal_is_final_for_its_request_id() {
    let mut service = Service::new();
    let key = service.key("");
    let request: Request = v1::CancelKeyDeletionRequest { key_id: key.clone() }.try_into().unwrap();
    let refused = service.call_as(&ada(), &request).reply.unwrap_err();
    service
        .call(
            "ada",
            v1::ScheduleKeyDeletionRequest { key_id: key.clone(), pending_window_in_days: Some(7) },
        )
        .reply
        .unwrap();
    let late = service.call_as(&ada(), &request).reply.unwrap_err();
    assert_eq!(late.name(), refused.name());
    assert_eq!(late.message(), refused.message());
    let told = service.call("ada", v1::DescribeKeyRequest { key_id: key, ..Default::default() });
    assert!(told.line().starts_with("key PendingDeletion"));
}

/// A refusal too long to be kept is told again in part, and still fits.
#[test]
fn a_long_refusal_is_kept_shortened() {
    let mut service = Service::new();
    let alias = format!("alias/{}", "a".repeat(250));
    service.key(&alias);
    let request = create(&alias, "");
    let first = service.call_as(&ada(), &request).reply.unwrap_err();
    let again = service.call_as(&ada(), &request).reply.unwrap_err();
    assert_eq!(again.name(), "AlreadyExistsException");
    assert!(first.message().starts_with(again.message().trim_end_matches('…')));
    assert!(again.message().len() <= 128);
}

/// However late: when the token has been forgotten, the id that derives from it has not.
#[test]
fn a_creation_whose_answer_is_forgotten_creates_nothing() {
    let mut service = Service::new();
    let request = create("alias/a", "");
    let mut plan = service.decide(&ada(), &request);
    (plan.body.token, plan.body.answer) = (None, Vec::new());
    let first = created(service.commit(&ada(), &request, plan));
    let refusal = service.call_as(&ada(), &request).reply.unwrap_err();
    assert_eq!(refusal.name(), "AlreadyExistsException");
    assert!(refusal.message().contains(&first.arn));
    assert_eq!(keys(&service), 1);
}

/// A retry that is denied meanwhile is told what its first attempt did, not that it did nothing.
#[test]
fn a_retry_after_the_principal_is_gone_is_told_the_truth() {
    let mut service = Service::new();
    let first = created(service.call_as(&ada(), &create("", "")));
    service.call("olga", v1::DeletePrincipalRequest { name: "ada".to_owned() }).reply.unwrap();
    let again = created(service.call_as(&ada(), &create("", "")));
    assert_eq!(first.key_id, again.key_id);
    let refusal = service.call("ada", v1::CreateKeyRequest::default()).reply.unwrap_err();
    assert_eq!(refusal.name(), "AccessDeniedException");
}

trait Encode {
    fn encode(&self) -> Vec<u8>;
}

impl Encode for v1::KeyMetadata {
    fn encode(&self) -> Vec<u8> {
        prost::Message::encode_to_vec(self)
    }
}

fn rotate(service: &mut Service, request_id: &str) -> u32 {
    let caller = caller("olga", request_id);
    let told = service.call_as(&caller, &Request::try_from(v1::RotateDomainKeyRequest {}).unwrap());
    refresh(service);
    match told.reply.unwrap() {
        Response::RotateDomainKey(rotated) => rotated.domain_key,
        other => panic!("{other:?}"),
    }
}

fn refresh(service: &mut Service) {
    if let Some(next) = service.keyring.refreshed(&service.store).unwrap() {
        service.keyring = next;
    }
}

/// A retry, worked out from the state that its first attempt made, does not rotate again.
#[test]
fn a_retried_rotation_is_one_rotation() {
    let mut service = Service::new();
    assert_eq!((rotate(&mut service, "one"), rotate(&mut service, "one")), (2, 2));
    assert_eq!((rotate(&mut service, "two"), rotate(&mut service, "one")), (3, 2));
    assert_eq!(service.keyring.domain_key_epoch(), 3);
}

/// Fifteen older ones at most: then the records have to catch up.
#[test]
fn a_rotation_too_many_is_refused_and_audited() {
    let mut service = Service::new();
    for number in 2..=16 {
        assert_eq!(rotate(&mut service, &number.to_string()), number);
    }
    let olga = service.caller("olga");
    let told = service.call_as(&olga, &Request::try_from(v1::RotateDomainKeyRequest {}).unwrap());
    assert_eq!(told.entry.outcome(), Outcome::Refused);
    assert_eq!(told.reply.unwrap_err().name(), "LimitExceededException");
}

/// A mutation decided with keys from before a rotation does not commit after it, a refused one
/// neither: its answer would be under the old key.
#[test]
fn a_mutation_does_not_outlive_a_rotation() {
    let mut service = Service::new();
    service.key("alias/a");
    for (id, request) in
        [("1", create("alias/b", "")), ("2", create("alias/a", "is there already"))]
    {
        let plan = service.decide(&ada(), &request);
        rotate(&mut service, id);
        let outcome = service.store.commit(plan.body, service.now_ms);
        let keys = Some(Guarded::Record(RecordId::singleton(Kind::DomainKeys)));
        assert!(matches!(outcome, Committed::Conflict { on, .. } if on == keys));
    }
    assert!(service.call_as(&ada(), &create("alias/b", "")).reply.is_ok());
}

/// The kept answer is not sealed again: it opens until its key is retired, and then nobody is told
/// something else.
#[test]
fn an_answer_outlives_a_rotation_and_no_wrong_one_takes_its_place() {
    let mut service = Service::new();
    let request = create("alias/a", "");
    let first = created(service.call_as(&ada(), &request)).key_id;
    rotate(&mut service, "rotation");
    assert_eq!(created(service.call_as(&ada(), &request)).key_id, first);

    let (mut walk, store) = (Walk::new(&service.store).unwrap().unwrap(), service.store.clone());
    let mut again = Vec::new();
    while !walk.is_over() {
        let page = walk.look(&store).unwrap();
        again.extend(service.keyring.seal_again(&page.older, &mut service.entropy).unwrap());
        walk.pass(&page);
    }
    service.store.write(again);
    refresh(&mut service);
    let mut walk = Walk::new(&service.store).unwrap().unwrap();
    while !walk.is_over() {
        walk.pass(&walk.look(&service.store).unwrap());
    }
    service.now_ms += RETIRE_AFTER_MS;
    let proof = walk.nothing_older().unwrap();
    let retired =
        service.keyring.retire_domain_keys(&service.store, service.now_ms, proof).unwrap();
    service.store.write(retired.writes);
    refresh(&mut service);

    let plan = service.decide(&ada(), &request);
    let Committed::Known { answer, .. } = service.store.commit(plan.body, service.now_ms) else {
        panic!("the token is forgotten")
    };
    let store = service.store.clone();
    let told = replay(&service.ctx(&store, &ada()), &request, &answer);
    let unknown = DecideError::Answer(AnswerError::UnknownEpoch { epoch: 1 });
    assert_eq!(told.unwrap_err().to_string(), unknown.to_string());
}

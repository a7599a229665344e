//! What clients and other nodes send.

use conclave_audit::{Head, check_step};
use conclave_crypto::HpkePrivateKey;
use conclave_kms::fields::RequestId;
use conclave_kms::{Refusal, Request};
use conclave_proto::{peer, raft, store, v1};
use conclave_seal::delivery::open_request;
use conclave_seal::exchange::{Giver, Parties, ask};
use conclave_seal::{Delivered, NodeSeal, OperatorKeyRecord, OperatorSplit, RaftId};
use conclave_store::{Family, Guarded, Kind, Outcome, RecordId, View, check_command};
use prost::Message;

use super::{choose, chosen, message};
use crate::Target;
use crate::stage::{DOMAIN, ME, NOW_MS, STAGE, enrolment, entropy};

pub(super) const KMS_REQUEST: Target =
    Target { name: "kms_request", run: kms_request, valid: kms_requests, brief: 36_000 };

pub(super) const CLUSTER_REQUEST: Target = Target {
    name: "cluster_request",
    run: cluster_request,
    valid: cluster_requests,
    brief: 36_000,
};

pub(super) const PEER_REQUEST: Target =
    Target { name: "peer_request", run: peer_request, valid: peer_requests, brief: 18_000 };

pub(super) const PEER_ANSWER: Target =
    Target { name: "peer_answer", run: peer_answer, valid: peer_answers, brief: 18_000 };

/// Whether a message of either face passes all checks; what does not is refused in few words.
pub(super) fn is_request<M>(message: M) -> bool
where
    Request: TryFrom<M, Error = Refusal>,
{
    match Request::try_from(message) {
        Ok(request) => {
            let _ = (request.action(), request.is_mutation(), request.needs_read_index());
            true
        }
        Err(refusal) => {
            assert!(refusal.to_string().len() < 4_096, "an endless refusal");
            false
        }
    }
}

/// A message of the native face to a checked request.
fn kms_request(input: &[u8]) -> bool {
    fn take<M: Message + Default + PartialEq>(bytes: &[u8]) -> bool
    where
        Request: TryFrom<M, Error = Refusal>,
    {
        let Some(sent) = message::<M>(bytes) else { return false };
        is_request(sent)
    }
    macro_rules! by_operation {
        ($($name:ident $method:ident $request:ident $response:ident;)*) => {
            &[$(take::<v1::$request>),*]
        };
    }
    let takers: &[fn(&[u8]) -> bool] = conclave_proto::operations!(by_operation);
    let (which, bytes) = choose(input);
    takers[usize::from(which) % takers.len()](bytes)
}

/// A request as the input of [`kms_request`].
fn asking(operation: &str, request: &impl Message) -> Vec<u8> {
    macro_rules! names {
        ($($name:ident $method:ident $request:ident $response:ident;)*) => {
            &[$(stringify!($name)),*]
        };
    }
    let names: &[&str] = conclave_proto::operations!(names);
    let number = names.iter().position(|name| *name == operation).expect("an operation's name");
    chosen(u8::try_from(number).expect("fewer than 256 operations"), &request.encode_to_vec())
}

fn kms_requests() -> Vec<Vec<u8>> {
    let key = "alias/demo".to_owned();
    let arn = "arn:aws:kms:eu:000000000001:key/12345678-1234-4234-9234-123456789012";
    let pairs = [("purpose", "test"), ("tenant", "a")];
    let context: std::collections::BTreeMap<_, _> =
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let tags = vec![v1::Tag { tag_key: "team".to_owned(), tag_value: "blue".to_owned() }];
    let ciphertext = super::share::ciphertext_of(&[("purpose", "test")]);
    let create = v1::CreateKeyRequest {
        alias: key.clone(),
        description: "a key".to_owned(),
        tags,
        ..Default::default()
    };
    let sign = v1::SignRequest {
        key_id: key.clone(),
        message: vec![1; 32],
        message_type: "DIGEST".to_owned(),
        signing_algorithm: "ECDSA_SHA_256".to_owned(),
        ..Default::default()
    };
    let mac = v1::VerifyMacRequest {
        key_id: key.clone(),
        message: vec![1; 32],
        mac: vec![2; 32],
        mac_algorithm: "HMAC_SHA_256".to_owned(),
        ..Default::default()
    };
    let encrypt = v1::EncryptRequest {
        key_id: arn.to_owned(),
        plaintext: vec![1; 64],
        encryption_context: context.clone(),
        ..Default::default()
    };
    let decrypt = v1::DecryptRequest {
        ciphertext_blob: ciphertext.clone(),
        encryption_context: context.clone(),
        ..Default::default()
    };
    let again = v1::ReEncryptRequest {
        ciphertext_blob: ciphertext,
        destination_key_id: key.clone(),
        ..Default::default()
    };
    let data_key = v1::GenerateDataKeyRequest {
        key_id: key.clone(),
        number_of_bytes: Some(32),
        encryption_context: context,
        ..Default::default()
    };
    let roles = vec!["key-user".to_owned(), "auditor".to_owned()];
    let grant_id = "0123456789abcdef0123456789abcdef".to_owned();
    let bound = std::collections::BTreeMap::from([("tenant".to_owned(), "a".to_owned())]);
    let grant = v1::CreateGrantRequest {
        key_id: arn.to_owned(),
        grantee_principal: "uma".to_owned(),
        retiring_principal: "arn:aws:iam::000000000001:user/ada".to_owned(),
        operations: vec!["Encrypt".to_owned(), "RetireGrant".to_owned()],
        constraints: Some(v1::GrantConstraints {
            encryption_context_subset: bound,
            ..Default::default()
        }),
        name: "a-name".to_owned(),
        ..Default::default()
    };
    let policy = v1::PutKeyPolicyRequest {
        key_id: arn.to_owned(),
        policy: super::policy::DOCUMENT.to_owned(),
        ..Default::default()
    };
    let retire = v1::RetireGrantRequest {
        key_id: arn.to_owned(),
        grant_id,
        dry_run: true,
        ..Default::default()
    };
    let alias = v1::UpdateAliasRequest { alias_name: key.clone(), target_key_id: arn.to_owned() };
    let tag = v1::TagResourceRequest { key_id: arn.to_owned(), tags: create.tags.clone() };
    let tag_keys = vec!["team".to_owned(), "tenant".to_owned()];
    let untag = v1::UntagResourceRequest { key_id: arn.to_owned(), tag_keys };
    let tags_page = v1::ListResourceTagsRequest {
        key_id: arn.to_owned(),
        limit: Some(10),
        marker: "7465616d".to_owned(),
    };
    let describe = v1::DescribeKeyRequest { key_id: arn.to_owned(), ..Default::default() };
    let list = v1::ListKeysRequest { limit: Some(10), ..Default::default() };
    let deletion =
        v1::ScheduleKeyDeletionRequest { key_id: arn.to_owned(), pending_window_in_days: Some(7) };
    let random = v1::GenerateRandomRequest { number_of_bytes: Some(32), ..Default::default() };
    let principal = v1::CreatePrincipalRequest { name: "bob".to_owned(), roles };
    vec![
        asking("PutKeyPolicy", &policy),
        asking("CreateGrant", &grant),
        asking("RetireGrant", &retire),
        asking("UpdateAlias", &alias),
        asking("TagResource", &tag),
        asking("UntagResource", &untag),
        asking("ListResourceTags", &tags_page),
        asking("CreateKey", &create),
        asking("DescribeKey", &describe),
        asking("ListKeys", &list),
        asking("ScheduleKeyDeletion", &deletion),
        asking("Encrypt", &encrypt),
        asking("Decrypt", &decrypt),
        asking("ReEncrypt", &again),
        asking("GenerateDataKey", &data_key),
        asking("GenerateRandom", &random),
        asking("Sign", &sign),
        asking("VerifyMac", &mac),
        asking("CreatePrincipal", &principal),
    ]
}

/// Ceremonies, audit listings and the headers of every call.
fn cluster_request(input: &[u8]) -> bool {
    let (which, bytes) = choose(input);
    match which % 5 {
        0 => {
            let Some(sent) = message::<v1::PrepareInitRequest>(bytes) else { return false };
            let split = OperatorSplit::new(sent.threshold, sent.shares);
            assert!(split.is_err() || (1..=16).contains(&sent.shares));
            split.is_ok() && conclave_server::fuzzing::nodes(&sent.members, 9)
        }
        1 => {
            let Some(sent) = message::<v1::AddNodesRequest>(bytes) else { return false };
            let taken = conclave_server::fuzzing::nodes(&sent.nodes, 8);
            assert!(!taken || (1..=8).contains(&sent.nodes.len()));
            taken
        }
        2 => {
            let Some(sent) = message::<v1::UnsealRequest>(bytes) else { return false };
            let mut seal = NodeSeal::new(DOMAIN, ME, "n1".to_owned(), []);
            let record = STAGE.store.blob(&RecordId::singleton(Kind::OperatorKey));
            let record =
                record.ok().flatten().and_then(|blob| OperatorKeyRecord::parse(&blob).ok());
            seal.operator_key_changed(record.expect("the stage has an operator key"));
            let mut enter = |text: &String| seal.operator_share(text, NOW_MS).is_ok();
            sent.operator_shares.iter().map(&mut enter).fold(false, |any, taken| any | taken)
        }
        3 => {
            let Some(sent) = message::<v1::ListAuditRequest>(bytes) else { return false };
            conclave_server::fuzzing::audit_filter(&sent)
        }
        _ => {
            let at = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
            let (id, age) = bytes.split_at(at);
            let age = age.get(1..).unwrap_or_default();
            let taken = conclave_server::fuzzing::call_headers(id, age);
            taken && RequestId::parse(&String::from_utf8_lossy(id)).is_ok()
        }
    }
}

fn cluster_requests() -> Vec<Vec<u8>> {
    let node = |name: &str| v1::InitMember {
        name: name.to_owned(),
        peer: format!("{name}.example.test:7401"),
    };
    let init = v1::PrepareInitRequest {
        members: vec![node("n1"), node("n2"), node("n3")],
        domain: "eu".to_owned(),
        account: "000000000001".to_owned(),
        shares: 5,
        threshold: 3,
    };
    let shares = STAGE.founding.operator_shares.iter().map(|share| share.expose().to_owned());
    let list = v1::ListAuditRequest {
        limit: 10,
        principal: "uma".to_owned(),
        outcome: "denied".to_owned(),
        ..Default::default()
    };
    vec![
        chosen(0, &init.encode_to_vec()),
        chosen(1, &v1::AddNodesRequest { nodes: init.members }.encode_to_vec()),
        chosen(2, &v1::UnsealRequest { operator_shares: shares.collect() }.encode_to_vec()),
        chosen(3, &list.encode_to_vec()),
        chosen(4, b"0c0ffee0-1234-4234-9234-123456789012\n1500"),
    ]
}

/// What a member takes from another.
fn peer_request(input: &[u8]) -> bool {
    let (which, bytes) = choose(input);
    match which % 6 {
        0 => {
            let Some(sent) = message::<raft::AppendEntriesRequest>(bytes) else { return false };
            conclave_replica::fuzzing::append_entries(sent)
        }
        1 => {
            let Some(sent) = message::<peer::ProposeRequest>(bytes) else { return false };
            use peer::propose_request::Op;
            let op = sent.op.map(|op| match op {
                Op::Batch(batch) => store::command::Op::Batch(batch),
                Op::RegisterWriter(register) => store::command::Op::RegisterWriter(register),
                Op::Checkpoint(checkpoint) => store::command::Op::Checkpoint(checkpoint),
            });
            let feature_level = sent.feature_level;
            check_command(&store::Command { feature_level, time_ms: 0, op }).is_ok()
        }
        2 => {
            let Some(sent) = message::<peer::ChangeMembersRequest>(bytes) else { return false };
            conclave_replica::fuzzing::change_members(sent)
        }
        3 => {
            let Some(sent) = message::<peer::StoreShareRequest>(bytes) else { return false };
            let opened = open_request(&sent, &enrolment(ME.0), DOMAIN, ME);
            let Ok((share, plan)) = opened else { return false };
            let Delivered::Wrapped(share) = share else { return true };
            let mut seal = NodeSeal::new(DOMAIN, ME, "n1".to_owned(), []);
            seal.store_share(share, None, &plan).is_ok()
        }
        4 => {
            let Some(sent) = message::<peer::ReleaseShareRequest>(bytes) else { return false };
            let epochs = &STAGE.epochs;
            let mut giver = Giver::new(DOMAIN, ME);
            let nonce = giver.challenge(RaftId(2), epochs, NOW_MS, &mut entropy());
            nonce.expect("a holder gets a nonce");
            giver.check(&sent, epochs, NOW_MS).is_ok()
        }
        _ => {
            let Some(sent) = message::<raft::SnapshotChunk>(bytes) else { return false };
            let Some(raft::snapshot_chunk::Part::Start(start)) = sent.part else { return false };
            let Some(meta) = start.meta else { return false };
            super::raft::snapshot_meta(&meta)
        }
    }
}

fn peer_requests() -> Vec<Vec<u8>> {
    let founding = &STAGE.founding;
    let vote = Some(raft::Vote { term: 3, leader: 1, committed: true });
    let log_id = Some(raft::LogId { term: 3, leader: 1, index: 8 });
    let append = raft::AppendEntriesRequest {
        vote,
        prev: log_id,
        entries: super::raft::entries().into_iter().map(Into::into).collect(),
        committed: log_id,
        held: Some(raft::Held { term: 3, leader: 1, committed: true, index: 8, start: 5 }),
    };
    let Some(store::command::Op::Batch(batch)) = super::raft::batch().op else { return Vec::new() };
    let propose = peer::ProposeRequest {
        feature_level: 1,
        op: Some(peer::propose_request::Op::Batch(batch)),
    };
    let change = peer::ChangeMembersRequest {
        voters: vec![1, 2, 3],
        change: Some(store::MemberChange::default()),
        guards: vec![store::Guard {
            record: vec![1; 17],
            digest: vec![1; 16],
            ..Default::default()
        }],
    };
    let delivery = founding.deliveries.iter().find(|delivery| delivery.to == ME);
    let delivered = delivery.map(|delivery| delivery.to_request(&founding.epoch));
    let share = founding.epoch.share_of(DOMAIN, &root(), RaftId(2));
    let nonce = Giver::new(DOMAIN, ME)
        .challenge(RaftId(2), &STAGE.epochs, NOW_MS, &mut entropy())
        .expect("a holder gets a nonce");
    let parties = Parties { asker: RaftId(2), giver: ME };
    let asked = share
        .ok()
        .map(|share| ask(&share, DOMAIN, founding.epoch.number, parties, &nonce, &mut entropy()).1);
    let start = raft::SnapshotStart {
        vote,
        meta: Some(super::raft::valid_snapshot_meta()),
        bytes: 1_000,
        sha256: vec![9; 32].into(),
    };
    let chunk = raft::SnapshotChunk { part: Some(raft::snapshot_chunk::Part::Start(start)) };
    vec![
        chosen(0, &append.encode_to_vec()),
        chosen(1, &propose.encode_to_vec()),
        chosen(2, &change.encode_to_vec()),
        chosen(3, &delivered.unwrap_or_default().encode_to_vec()),
        chosen(4, &asked.unwrap_or_default().encode_to_vec()),
        chosen(5, &chunk.encode_to_vec()),
    ]
}

/// What a member is answered by another.
fn peer_answer(input: &[u8]) -> bool {
    let (which, bytes) = choose(input);
    match which % 3 {
        0 => {
            let Some(sent) = message::<peer::ProposeResponse>(bytes) else { return false };
            let Some(peer::propose_response::Result::Applied(applied)) = sent.result else {
                return false;
            };
            for outcome in &applied.outcomes {
                let Ok((txn, read)) = Outcome::from_proto(outcome) else { return false };
                assert_eq!(Outcome::from_proto(&read.to_proto(txn)), Ok((txn, read)));
            }
            true
        }
        1 => {
            let Some(sent) = message::<peer::FetchStepsResponse>(bytes) else { return false };
            let mut head = Head::genesis(&DOMAIN.0);
            for step in &sent.steps {
                let checked = check_step(&head.hash, head.size, step);
                assert_eq!(checked, head.follow(step));
            }
            head.size == sent.steps.len() as u64
        }
        _ => {
            let Some(sent) = message::<peer::ReleaseShareResponse>(bytes) else { return false };
            let parties = Parties { asker: ME, giver: RaftId(2) };
            let epoch = &STAGE.founding.epoch;
            let own = epoch.share_of(DOMAIN, &root(), ME);
            let Ok(own) = own else { return false };
            let (asked, _) = ask(&own, DOMAIN, epoch.number, parties, &[0; 32], &mut entropy());
            assert!(asked.receive(&sent, epoch).is_err(), "nobody answered that request");
            true
        }
    }
}

fn peer_answers() -> Vec<Vec<u8>> {
    let key = RecordId::new(Kind::Key, [3; 16]);
    let family = Family::new(key, Kind::Grant);
    let conflict = |on| Outcome::Conflict { log_index: Default::default(), on };
    let outcomes = [
        Outcome::Committed(Default::default()),
        conflict(None),
        conflict(Some(Guarded::Record(key))),
        conflict(Some(Guarded::Scan(family))),
        conflict(Some(Guarded::Fewer(family))),
        Outcome::Known { revision: Default::default(), answer: [1; 40].as_slice().into() },
    ];
    let txn = conclave_store::TxnId { writer: 1, sequence: 2 };
    let applied = peer::Applied {
        log_index: 4,
        time_ms: NOW_MS,
        outcomes: outcomes.iter().map(|outcome| outcome.to_proto(txn)).collect(),
    };
    let proposed =
        peer::ProposeResponse { result: Some(peer::propose_response::Result::Applied(applied)) };
    let steps = peer::FetchStepsResponse { steps: STAGE.store.steps().to_vec() };
    let key = HpkePrivateKey::generate(&mut entropy());
    let encrypted = conclave_crypto::hpke_seal(&key.public(), b"", b"", &[1; 32], &mut entropy());
    let answer = peer::ReleaseShareResponse { epoch: 1, encrypted: encrypted.unwrap_or_default() };
    vec![
        chosen(0, &proposed.encode_to_vec()),
        chosen(1, &steps.encode_to_vec()),
        chosen(2, &answer.encode_to_vec()),
    ]
}

/// The root key of the stage: the first that its entropy gives.
fn root() -> conclave_crypto::Key {
    conclave_crypto::Key::generate(&mut entropy())
}

//! What targets play on: one domain, founded from a seed, with its node open and a few records.

use std::sync::LazyLock;

use conclave_crypto::{HpkePrivateKey, SeededEntropy};
use conclave_kms::fields::{PrincipalName, RequestId, Roles};
use conclave_kms::{Caller, DomainInfo, encode_principal};
use conclave_proto::{audit, record};
use conclave_seal::{
    DomainId, Founding, FoundingInput, OperatorSplit, RaftId, SealKind, ShareEpochs, found,
};
use conclave_store::{Kind, MemoryStore, RecordId, View, Write};

pub(crate) const DOMAIN: DomainId = DomainId([7; 16]);
pub(crate) const ME: RaftId = RaftId(1);
pub(crate) const NOW_MS: u64 = 1_700_000_000_000;
pub(crate) const ACCOUNT: &str = "000000000001";

pub(crate) struct Stage {
    pub(crate) founding: Founding,
    pub(crate) store: MemoryStore,
    pub(crate) domain: DomainInfo,
    pub(crate) epochs: ShareEpochs,
}

pub(crate) static STAGE: LazyLock<Stage> = LazyLock::new(|| {
    let members = (1..=3).map(|raft_id| record::Member {
        raft_id,
        name: format!("n{raft_id}"),
        peer: format!("n{raft_id}.example.test:7401"),
        api: format!("n{raft_id}.example.test:7400"),
        region: "eu".to_owned(),
        zone: "a".to_owned(),
        enrolment_key: enrolment(raft_id).public().as_bytes().to_vec(),
    });
    let input = FoundingInput {
        domain_id: DOMAIN,
        domain_name: "eu".to_owned(),
        account: ACCOUNT.to_owned(),
        cluster: "test".to_owned(),
        members: members.map(|member| (member, SealKind::Operator)).collect(),
        split: OperatorSplit::new(2, 3).expect("2 of 3 is a split"),
        now_ms: NOW_MS,
        creator: "olga".to_owned(),
    };
    let founding = found(&input, &mut entropy()).expect("the input describes a domain");
    let mut store = MemoryStore::new(DOMAIN.0);
    store.write(founding.writes.clone());
    for (name, role) in [("ada", "key-administrator"), ("uma", "key-user")] {
        let id = founding.keyring.name_id(Kind::Principal, ACCOUNT, name);
        let roles = Roles::parse(&[role.to_owned()]).expect("a role");
        let name = PrincipalName::parse(name).expect("a name");
        let encoded = encode_principal(&name, &roles, NOW_MS);
        let blob = founding.keyring.seal_record(&id, &encoded, &mut entropy());
        store.write(vec![Write::put(id, blob)]);
    }
    let domain = DomainInfo { name: "eu".to_owned(), account: ACCOUNT.to_owned() };
    let id = RecordId::singleton(Kind::ShareEpoch);
    let blob = store.blob(&id).ok().flatten().expect("it was founded");
    let epochs = ShareEpochs::parse(&blob).expect("as founded");
    Stage { founding, store, domain, epochs }
});

pub(crate) fn entropy() -> SeededEntropy {
    SeededEntropy::from_number(1)
}

pub(crate) fn enrolment(raft_id: u64) -> HpkePrivateKey {
    HpkePrivateKey::generate(&mut SeededEntropy::from_number(100 + raft_id))
}

pub(crate) fn caller(principal: &str) -> Caller {
    Caller {
        principal: principal.to_owned(),
        certificate_serial: "0a".to_owned(),
        source_address: "192.0.2.1:4711".to_owned(),
        request_id: RequestId::parse("request-1").expect("a request id"),
        retry_of: None,
    }
}

/// An entry with something in each field.
pub(crate) fn audit_entry() -> audit::Entry {
    let pair = |name: &str| audit::Pair { name: name.to_owned(), value: "value".to_owned() };
    audit::Entry {
        time_ms: NOW_MS,
        request_id: "request-1".to_owned(),
        principal: "uma".to_owned(),
        certificate_serial: "0a".to_owned(),
        source_address: "192.0.2.1:4711".to_owned(),
        node: "n1".to_owned(),
        region: "eu".to_owned(),
        action: "Encrypt".to_owned(),
        resources: vec!["arn:aws:kms:eu:000000000001:key/x".to_owned()],
        parameters: vec![pair("a"), pair("b")],
        encryption_context: vec![pair("purpose")],
        outcome: audit::Outcome::Success.into(),
        decided_by: vec!["key-user".to_owned()],
        ..Default::default()
    }
}

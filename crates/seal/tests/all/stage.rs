//! What the tests play on: a domain founded from a seed, and nodes with their enrolment keys.

use conclave_crypto::entropy::SeededEntropy;
use conclave_crypto::hpke::HpkePrivateKey;
use conclave_proto::record;
use conclave_seal::{
    DomainId, Founding, FoundingInput, NodeSeal, OperatorKeyRecord, OperatorSplit, RaftId,
    delivery, found,
};
use conclave_store::{Kind, MemoryStore, RecordId, View};

pub(crate) const DOMAIN: DomainId = DomainId([0xd0; 16]);
pub(crate) const ACCOUNT: &str = "000000000042";

pub(crate) fn enrolment(raft_id: u64) -> HpkePrivateKey {
    HpkePrivateKey::generate(&mut SeededEntropy::from_number(1_000_000 + raft_id))
}

pub(crate) fn name(raft_id: u64) -> String {
    format!("node-{raft_id}")
}

pub(crate) fn member(raft_id: u64) -> record::Member {
    record::Member {
        raft_id,
        name: name(raft_id),
        peer: format!("node-{raft_id}:7401"),
        api: format!("node-{raft_id}:7400"),
        region: "eu".to_owned(),
        zone: "a".to_owned(),
        enrolment_key: enrolment(raft_id).public().as_bytes().to_vec(),
    }
}

pub(crate) fn members(ids: impl IntoIterator<Item = u64>) -> record::Members {
    record::Members { members: ids.into_iter().map(member).collect(), former: Vec::new() }
}

pub(crate) fn input(founders: u64, k: u32, m: u32) -> FoundingInput {
    FoundingInput {
        domain_id: DOMAIN,
        domain_name: "eu-1".to_owned(),
        account: ACCOUNT.to_owned(),
        cluster: "example.org".to_owned(),
        members: members(1..=founders).members,
        split: OperatorSplit::new(k, m).unwrap(),
        now_ms: 1_000,
        creator: "alice".to_owned(),
    }
}

/// A founded domain, its records applied.
pub(crate) struct Stage {
    pub(crate) founding: Founding,
    pub(crate) store: MemoryStore,
}

impl Stage {
    pub(crate) fn new(founders: u64, k: u32, m: u32) -> Self {
        let founding =
            found(&input(founders, k, m), &mut SeededEntropy::from_number(founders)).unwrap();
        let mut store = MemoryStore::new(DOMAIN.0);
        store.write(founding.writes.clone());
        Self { founding, store }
    }

    pub(crate) fn operator_record(&self) -> OperatorKeyRecord {
        let id = RecordId::singleton(Kind::OperatorKey);
        OperatorKeyRecord::parse(&self.store.blob(&id).unwrap().unwrap()).unwrap()
    }

    /// The node as it is after it has applied the founding: sealed, its share on disk.
    pub(crate) fn node(&self, raft_id: u64) -> NodeSeal {
        let delivery = self.founding.deliveries.iter().find(|d| d.to == RaftId(raft_id)).unwrap();
        let request = delivery.to_request(&self.founding.epoch);
        let (share, plan) =
            delivery::open_request(&request, &enrolment(raft_id), DOMAIN, RaftId(raft_id)).unwrap();
        let mut node = NodeSeal::new(DOMAIN, RaftId(raft_id), name(raft_id), []);
        node.store_share(share, &plan).unwrap();
        node.operator_key_changed(self.operator_record());
        node.epoch_changed(plan);
        node
    }

    pub(crate) fn share_text(&self, operator: usize) -> &str {
        self.founding.operator_shares[operator].expose()
    }
}

//! What the tests play on: a domain founded from a seed, and nodes with their enrolment keys.

use conclave_crypto::entropy::SeededEntropy;
use conclave_crypto::hpke::HpkePrivateKey;
use conclave_proto::record;
use conclave_seal::{
    Delivered, DomainId, Founding, FoundingInput, Ground, NodeSeal, OperatorKeyRecord,
    OperatorSplit, RaftId, SealKind, ShareEpochs, WrappedShare, delivery, found,
    members::Recipient, members::recipients_with_seals,
};
use conclave_store::{Kind, MemoryStore, RecordId, View};
use prost::Message;

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

/// As a dealing takes them: all under the operators' seal.
pub(crate) fn recipients(ids: impl IntoIterator<Item = u64>) -> Vec<(Recipient, SealKind)> {
    let members: Vec<_> = ids.into_iter().map(|id| (member(id), SealKind::Operator)).collect();
    recipients_with_seals(&members).unwrap()
}

/// What an operator-sealed node gets.
pub(crate) fn wrapped(delivered: Delivered) -> WrappedShare {
    let Delivered::Wrapped(share) = delivered else { panic!("{delivered:?}") };
    share
}

pub(crate) fn public<T>(store: &MemoryStore, kind: Kind, parse: impl Fn(&[u8]) -> T) -> T {
    parse(&store.blob(&RecordId::singleton(kind)).unwrap().unwrap())
}

/// The records that a dealing rests on.
pub(crate) fn ground(store: &MemoryStore) -> Ground {
    Ground {
        epochs: public(store, Kind::ShareEpoch, |blob| ShareEpochs::parse(blob).unwrap()),
        domain_keys: public(store, Kind::DomainKeys, |blob| Message::decode(blob).unwrap()),
        operator: public(store, Kind::OperatorKey, |blob| OperatorKeyRecord::parse(blob).unwrap()),
    }
}

pub(crate) fn input(founders: u64, k: u32, m: u32) -> FoundingInput {
    FoundingInput {
        domain_id: DOMAIN,
        domain_name: "eu-1".to_owned(),
        account: ACCOUNT.to_owned(),
        cluster: "example.org".to_owned(),
        members: (1..=founders).map(|id| (member(id), SealKind::Operator)).collect(),
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
        ground(&self.store).operator
    }

    pub(crate) fn epochs(&self) -> ShareEpochs {
        ground(&self.store).epochs
    }

    /// The node as it is after it has applied the founding: sealed, its share on disk.
    pub(crate) fn node(&self, raft_id: u64) -> NodeSeal {
        let delivery = self.founding.deliveries.iter().find(|d| d.to == RaftId(raft_id)).unwrap();
        let request = delivery.to_request(&self.founding.epoch);
        let (share, plan) =
            delivery::open_request(&request, &enrolment(raft_id), DOMAIN, RaftId(raft_id)).unwrap();
        let mut node = NodeSeal::new(DOMAIN, RaftId(raft_id), name(raft_id), []);
        node.store_share(wrapped(share), None, &plan).unwrap();
        node.operator_key_changed(self.operator_record());
        node.epochs_changed(self.epochs());
        node
    }

    pub(crate) fn share_text(&self, operator: usize) -> &str {
        self.founding.operator_shares[operator].expose()
    }
}

//! The state machine against a naive model, and against itself: replayed, resent, restored midway,
//! and fed with garbage.

#![allow(clippy::unwrap_used, reason = "a test program: what is missing fails it")]

mod common;

use std::collections::BTreeMap;

use common::*;
use conclave_crypto::sha256;
use conclave_proto::store as proto;
use conclave_proto::store::command::Op;
use conclave_proto::store::snapshot_item::Item;
use conclave_store::limits::{MAX_BATCH_BYTES, MAX_DECISION_SKEW_MS};
use conclave_store::{
    BatchBuilder, BlobDigest, Kind, LogIndex, MemoryStore, Outcome, RecordId, Rejection, Restorer,
    Revision, State, TxnId, View, member_change,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message;

/// One log entry, small enough that txns collide all the time.
#[derive(Clone, Debug)]
enum Event {
    Batch(u64, Vec<T>),
    Register(u64),
    Members(T),
    Checkpoint,
}

const BLOBS: [&str; 3] = ["a", "b", "c"];

/// Two ids in the same bucket and one in another, of two kinds.
fn record(n: u8) -> RecordId {
    match n {
        0 => key(1),
        1 => RecordId::new(Kind::Key, [1, 1, 9, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        _ => RecordId::new(Kind::Alias, [1; 16]),
    }
}

fn arb_txn() -> impl Strategy<Value = T> {
    let guards = vec((0u8..3, option::of(0usize..3)), 0..2);
    let writes = vec((0u8..3, option::of(0usize..3)), 0..3);
    let skew = prop_oneof![8 => Just(0), 1 => -7_000i64..7_000];
    (0u64..4, 1u64..12, skew, guards, writes, option::of(0u8..4)).prop_map(
        |(writer, sequence, skew, guards, writes, token)| {
            let mut t = txn(sequence).by(writer).at(NOW.saturating_add_signed(skew));
            for (id, blob) in guards {
                t.body.guards.insert(record(id), blob.map(|blob| guard_of(BLOBS[blob])));
            }
            let writes: BTreeMap<_, _> = writes.into_iter().collect();
            for (id, blob) in writes {
                t.body.writes.push((record(id), blob.map(|blob| BLOBS[blob].into())));
            }
            match token {
                Some(token) => t.token(token, &format!("{writer}/{sequence}")),
                None => t,
            }
        },
    )
}

fn arb_event() -> impl Strategy<Value = Event> {
    let time = NOW - 3_000..NOW + 3_000;
    prop_oneof![
        8 => (time, vec(arb_txn(), 0..6)).prop_map(|(time, txns)| Event::Batch(time, txns)),
        1 => (1u64..3).prop_map(Event::Register),
        1 => arb_txn().prop_map(Event::Members),
        1 => Just(Event::Checkpoint),
    ]
}

fn command_of(event: &Event) -> proto::Command {
    match event {
        Event::Batch(time, txns) => command(*time, Op::Batch(batch_of(txns))),
        Event::Register(raft_id) => register(*raft_id),
        Event::Members(t) => {
            let change = member_change(t.body.writes.clone(), t.body.audit.clone()).unwrap();
            command(NOW, Op::MemberChange(change))
        }
        Event::Checkpoint => checkpoint(),
    }
}

struct Taken {
    revision: Revision,
    time: u64,
    answer: Vec<u8>,
}

/// The rules once more, in the plainest way, without windows.
#[derive(Default)]
struct Model {
    index: u64,
    time: u64,
    records: BTreeMap<RecordId, Vec<u8>>,
    writers: BTreeMap<u64, u64>,
    ended: BTreeMap<TxnId, Outcome>,
    tokens: BTreeMap<[u8; 32], Taken>,
    audited: Vec<(u64, u64)>,
}

impl Model {
    fn apply(&mut self, event: &Event) -> Vec<Outcome> {
        self.index += 1;
        match event {
            Event::Batch(time, txns) => {
                self.time = self.time.max(*time);
                (0..).zip(txns).map(|(position, t)| self.txn(position, t)).collect()
            }
            other => {
                self.time = self.time.max(NOW);
                match other {
                    Event::Register(raft_id) => {
                        self.writers.retain(|_, other| other != raft_id);
                        self.writers.insert(self.index, *raft_id);
                    }
                    Event::Members(t) => {
                        self.write(&t.body.writes);
                        self.audited.push((0, self.index));
                    }
                    _ => {}
                }
                vec![]
            }
        }
    }

    fn txn(&mut self, position: u32, t: &T) -> Outcome {
        if !self.writers.contains_key(&t.id.writer) {
            return Outcome::Rejected(Rejection::UnknownWriter);
        }
        if let Some(outcome) = self.ended.get(&t.id) {
            return outcome.clone();
        }
        let log_index = LogIndex(self.index);
        let now = |id: &RecordId| self.records.get(id).map(|blob| BlobDigest::of(blob).guard());
        let failed = t.body.guards.iter().find(|(id, digest)| now(id) != **digest);
        let known = t.body.token.and_then(|token| self.tokens.get(&token));
        let outcome = if let Some(taken) = known {
            Outcome::Known { revision: taken.revision, answer: taken.answer.as_slice().into() }
        } else if self.time.abs_diff(t.body.now_ms) > MAX_DECISION_SKEW_MS {
            Outcome::Conflict { log_index, record: None }
        } else if let Some((id, _)) = failed {
            Outcome::Conflict { log_index, record: Some(*id) }
        } else {
            let at = Revision { log_index, position };
            self.write(&t.body.writes);
            self.audited.push((t.id.writer, t.id.sequence));
            if let Some(token) = t.body.token {
                let answer = t.body.answer.clone();
                self.tokens.insert(token, Taken { revision: at, time: self.time, answer });
            }
            Outcome::Committed(at)
        };
        self.ended.insert(t.id, outcome.clone());
        outcome
    }

    fn write(&mut self, writes: &[(RecordId, Option<Vec<u8>>)]) {
        for (id, blob) in writes {
            match blob {
                Some(blob) => self.records.insert(*id, blob.clone()),
                None => self.records.remove(id),
            };
        }
    }

    /// The state digest as its definition says, from nothing.
    fn digest(&self) -> [u8; 32] {
        let mut buckets: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        for (id, blob) in &self.records {
            let bytes = id.to_bytes();
            let prefix = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) >> 4;
            let bucket = buckets.entry(prefix).or_default();
            bucket.extend([&bytes[..], &sha256(&[blob])].concat());
        }
        let hash = |bytes: &Vec<u8>| sha256(&[b"conclave/store/bucket/v1", bytes]);
        let bytes = buckets.iter().flat_map(|(n, b)| [&n.to_be_bytes()[..], &hash(b)].concat());
        sha256(&[b"conclave/store/state/v1", &bytes.collect::<Vec<_>>()])
    }
}

fn restored(store: &MemoryStore) -> (State, BTreeMap<RecordId, Vec<u8>>) {
    let mut restorer = Restorer::new(DOMAIN);
    let pushed = items(store).into_iter().filter_map(|item| restorer.push(item).unwrap());
    let blobs = pushed.collect();
    (restorer.finish().unwrap(), blobs)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Outcomes, records, steps and digest are those of the model; the state replayed is the same
    /// state, and so is one that went through a snapshot on the way.
    #[test]
    fn agrees_with_the_model_and_with_itself(events in vec(arb_event(), 1..40), cut in 0usize..40) {
        let writers = BTreeMap::from([(1, 1)]);
        let mut model = Model { index: 1, writers, ..Model::default() };
        let mut store = MemoryStore::new(DOMAIN);
        let mut replay = State::new(DOMAIN);
        replay.apply(1, &proto::Command {
            time_ms: 0,
            op: Some(Op::RegisterWriter(proto::RegisterWriter { raft_id: 1, nonce: vec![0; 16] })),
            ..register(1)
        }).unwrap();
        for (position, event) in events.iter().enumerate() {
            let command = command_of(event);
            let applied = store.apply(&command).unwrap();
            let outcomes = applied.outcomes.iter().map(|o| Outcome::from_proto(o).unwrap().1);
            prop_assert_eq!(outcomes.collect::<Vec<_>>(), model.apply(event));
            if position == cut {
                replay = restored(&store).0;
            } else {
                prop_assert_eq!(replay.apply(store.applied().0, &command).unwrap(), applied);
            }
        }
        prop_assert_eq!(store.state_mut().state_digest(), model.digest());
        let audited = store.steps().iter().map(|step| (step.writer, step.sequence));
        prop_assert_eq!(audited.collect::<Vec<_>>(), model.audited);
        let times: BTreeMap<_, _> = items(&store).into_iter().filter_map(|item| match item.item {
            Some(Item::Token(token)) => Some((token.token, token.time_ms)),
            _ => None,
        }).collect();
        let expected = model.tokens.iter().map(|(token, taken)| (token.to_vec(), taken.time));
        prop_assert_eq!(times, expected.collect());
        prop_assert_eq!(store.state().token_horizon_ms(), None);
        for n in 0..3 {
            let blob = store.blob(&record(n)).unwrap();
            prop_assert_eq!(blob.as_deref(), model.records.get(&record(n)).map(Vec::as_slice));
        }
        // A snapshot holds all of the state, so equal items are equal states.
        prop_assert_eq!(items_of(&replay, &store), items(&store));
        prop_assert_eq!(restored(&store).1, model.records);
    }

    /// Resending everything, by the same writer, changes nothing but the log index.
    #[test]
    fn resending_changes_nothing(txns in vec(arb_txn(), 1..20)) {
        let mut store = MemoryStore::new(DOMAIN);
        let first = store.apply(&batch(&txns)).unwrap();
        let (head, digest) = (store.state().head().clone(), store.state_mut().state_digest());
        let again = store.apply(&batch(&txns)).unwrap();
        for (first, again) in first.outcomes.iter().zip(&again.outcomes) {
            prop_assert_eq!(first, again);
        }
        prop_assert!(again.steps.is_empty() && again.writes.is_empty());
        prop_assert_eq!(store.state().head(), &head);
        prop_assert_eq!(store.state_mut().state_digest(), digest);
    }

    /// A txn that commits under its token never takes effect again, whoever sends it.
    #[test]
    fn a_token_takes_effect_once(txns in vec(arb_txn(), 1..20)) {
        let mut store = MemoryStore::new(DOMAIN);
        store.apply(&register(2)).unwrap();
        let mut committed = BTreeMap::new();
        for (sequence, mut t) in (1..).zip(txns) {
            t.id = TxnId { writer: 1 + sequence % 2, sequence };
            let token = t.body.token;
            let applied = store.apply(&batch(&[t])).unwrap();
            let outcome = Outcome::from_proto(&applied.outcomes[0]).unwrap().1;
            match (token, outcome) {
                (Some(token), Outcome::Committed(at)) => {
                    prop_assert_eq!(committed.insert(token, at), None);
                }
                (Some(token), Outcome::Known { revision, .. }) => {
                    prop_assert_eq!(committed.get(&token), Some(&revision));
                    prop_assert!(applied.steps.is_empty() && applied.writes.is_empty());
                }
                _ => {}
            }
        }
    }

    /// Bytes that are no command, or nearly one: refused or applied, never a panic, and a fatal
    /// one changes nothing.
    #[test]
    fn garbage_never_panics(
        events in vec(arb_event(), 1..6),
        flips in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        noise in vec(any::<u8>(), 0..64),
    ) {
        let mut store = store();
        let mut inputs: Vec<_> = events.iter().map(|e| command_of(e).encode_to_vec()).collect();
        for (index, byte) in flips {
            for input in &mut inputs {
                let at = index.index(input.len());
                input[at] = byte;
            }
        }
        inputs.push(noise);
        for input in inputs {
            let Ok(command) = proto::Command::decode(input.as_slice()) else { continue };
            let before = items(&store);
            match store.apply(&command) {
                Ok(_) => store.state().validate(),
                Err(_) => prop_assert_eq!(items(&store), before),
            }
        }
        restored(&store);
    }

    /// What the builder takes, every replica takes: its estimate of sizes is an upper bound.
    #[test]
    fn a_built_batch_is_within_its_bounds(
        sizes in vec((0usize..20_000, 0usize..20, 0usize..20_000, 0u8..200), 1..200),
    ) {
        let mut builder = BatchBuilder::new();
        for (sequence, (blob, guards, sealed, id)) in (1..).zip(sizes) {
            let mut t = txn(sequence).puts(key(id), "").token(id, "");
            t.body.writes[0].1 = Some(vec![7; blob]);
            t.body.audit.sealed = vec![7; sealed.max(1)];
            t.body.answer = vec![7; blob % 257];
            let numbers = (0..guards as u64).map(|n| n * u64::from(id));
            t.body.guards = numbers
                .map(|n| (RecordId::numbered(Kind::Key, n), Some(guard_of(&n.to_string()))))
                .collect();
            if builder.push(t.id, &t.body).is_err() {
                break;
            }
        }
        let txns = builder.len();
        let batch = builder.finish(u64::MAX, [9; 32]);
        prop_assert!(txns > 0 && batch.encoded_len() <= MAX_BATCH_BYTES);
        let guards: std::collections::BTreeSet<_> = batch.guards.iter().map(|g| &g.record).collect();
        prop_assert_eq!(guards.len(), batch.guards.len());
        let applied = MemoryStore::new(DOMAIN).apply(&command(NOW, Op::Batch(batch))).unwrap();
        for outcome in &applied.outcomes {
            let malformed = Outcome::Rejected(Rejection::Malformed);
            prop_assert_ne!(Outcome::from_proto(outcome).unwrap().1, malformed);
        }
    }
}

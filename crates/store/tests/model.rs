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
    BatchBuilder, BlobDigest, Family, GuardDigest, Guarded, Kind, LastUse, LogIndex, MemoryStore,
    Outcome, RecordId, Rejection, Restorer, Revision, State, TimeMs, Touch, TxnId, View, Write,
    WriteOp, member_change,
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
    Members(Box<T>),
    Checkpoint,
}

const BLOBS: [&str; 3] = ["a", "b", "c"];

/// How many records there may be.
const RECORDS: u8 = 5;

/// Some ids in the same bucket and some in others, of two kinds.
fn record(n: u8) -> RecordId {
    match n {
        0 => key(1),
        1 => RecordId::new(Kind::Key, [1, 1, 9, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        _ => RecordId::new(Kind::Alias, [n; 16]),
    }
}

/// What a record may be under: one that may be there, and one that never is.
fn parent(n: u8) -> RecordId {
    [key(1), RecordId::singleton(Kind::Domain)][usize::from(n % 2)]
}

fn family(n: u8) -> Family {
    Family::new(parent(n), [Kind::Alias, Kind::Key][usize::from(n / 2 % 2)])
}

/// A chain after these changes, as its definition says: 1 joined, 2 left.
fn chain(changes: &[(u8, RecordId)]) -> Option<GuardDigest> {
    let start = GuardDigest([0; 16]);
    let digest = changes.iter().fold(start, |before, (change, member)| {
        let link = [&b"conclave/store/chain/v1"[..], &before.0, &[*change], &member.to_bytes()];
        BlobDigest(sha256(&link)).guard()
    });
    (!changes.is_empty()).then_some(digest)
}

/// A chain that families here have often: one or two members joined, one left.
fn arb_chain() -> impl Strategy<Value = Option<GuardDigest>> {
    vec((1u8..3, 0..RECORDS), 0..3).prop_map(|changes| {
        let changes = changes.into_iter().map(|(change, member)| (change, record(member)));
        chain(&changes.collect::<Vec<_>>())
    })
}

/// A put's blob and parent; `None` deletes.
type ArbWrite = Option<(usize, Option<u8>)>;

fn arb_write() -> impl Strategy<Value = ArbWrite> {
    prop_oneof![1 => Just(None), 3 => (0usize..3, option::of(0u8..2)).prop_map(Some)]
}

fn arb_txn() -> impl Strategy<Value = T> {
    let guards = vec((0..RECORDS, option::of(0usize..3)), 0..2);
    let families = (
        prop_oneof![3 => Just(vec![]), 1 => vec((0u8..4, arb_chain()), 1..2)],
        vec((0u8..4, 1u32..4), 0..2),
    );
    let writes = vec((0..RECORDS, arb_write()), 0..4);
    let touches = vec((0..RECORDS, 0u32..9), 0..3);
    let skew = prop_oneof![8 => Just(0), 1 => -7_000i64..7_000];
    let name = (0u64..4, 1u64..30, skew, option::of(0u8..4));
    (name, guards, families, writes, touches).prop_map(
        |((writer, sequence, skew, token), guards, (scans, fewer), writes, touches)| {
            let mut t = txn(sequence).by(writer).at(NOW.saturating_add_signed(skew));
            for (id, blob) in guards {
                t.body.guards.insert(record(id), blob.map(|blob| guard_of(BLOBS[blob])));
            }
            t.body.scans.extend(scans.into_iter().map(|(n, chain)| (family(n), chain)));
            t.body.fewer.extend(fewer.into_iter().map(|(n, than)| (family(n), than)));
            let writes: BTreeMap<_, _> = writes.into_iter().collect();
            for (id, write) in writes {
                let id = record(id);
                t = match write {
                    None => t.deletes(id),
                    // Key 1 under itself is refused before it is sent.
                    Some((blob, Some(under))) if parent(under) != id => {
                        t.puts_under(parent(under), id, BLOBS[blob])
                    }
                    Some((blob, _)) => t.puts(id, BLOBS[blob]),
                };
            }
            for (id, operation) in touches {
                t = t.touches(record(id), operation);
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
        1 => arb_txn().prop_map(|t| Event::Members(Box::new(t))),
        1 => Just(Event::Checkpoint),
    ]
}

fn command_of(event: &Event) -> proto::Command {
    match event {
        Event::Batch(time, txns) => command(*time, Op::Batch(batch_of(txns))),
        Event::Register(raft_id) => register(*raft_id),
        Event::Members(t) => {
            let change = member_change(&t.body.writes, t.body.audit.clone()).unwrap();
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
    parents: BTreeMap<RecordId, RecordId>,
    /// Who joined and left each family since it last was empty.
    changes: BTreeMap<Family, Vec<(u8, RecordId)>>,
    uses: BTreeMap<RecordId, LastUse>,
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
                        self.write(&t.body.writes, &[]);
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
        let chain_now = |family: &Family| self.changes.get(family).and_then(|it| chain(it));
        let record = t.body.guards.iter().find(|(id, digest)| now(id) != **digest);
        let scan = t.body.scans.iter().find(|(family, chain)| chain_now(family) != **chain);
        let full = |(family, than): &(&Family, &u32)| self.members(family).len() >= **than as usize;
        let failed = record
            .map(|(id, _)| Guarded::Record(*id))
            .or(scan.map(|(family, _)| Guarded::Scan(*family)))
            .or(t.body.fewer.iter().find(full).map(|(family, _)| Guarded::Fewer(*family)));
        let known = t.body.token.and_then(|token| self.tokens.get(&token));
        let outcome = if let Some(taken) = known {
            Outcome::Known { revision: taken.revision, answer: taken.answer.as_slice().into() }
        } else if self.time.abs_diff(t.body.now_ms) > MAX_DECISION_SKEW_MS {
            Outcome::Conflict { log_index, on: None }
        } else if failed.is_some() {
            Outcome::Conflict { log_index, on: failed }
        } else {
            let at = Revision { log_index, position };
            self.write(&t.body.writes, &t.body.touches);
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

    fn members(&self, family: &Family) -> Vec<RecordId> {
        let of = |id: &RecordId, under: &RecordId| Family::new(*under, id.kind()) == *family;
        self.parents.iter().filter(|(id, under)| of(id, under)).map(|(id, _)| *id).collect()
    }

    fn write(&mut self, writes: &[Write], touches: &[Touch]) {
        for Write { record: id, op } in writes {
            let before = self.parents.get(id).copied();
            let after = match op {
                WriteOp::Put { blob, parent } => {
                    self.records.insert(*id, blob.clone());
                    parent.or(before)
                }
                WriteOp::Delete => {
                    self.records.remove(id);
                    self.uses.remove(id);
                    None
                }
            };
            if before != after {
                self.parents.remove(id);
                self.parents.extend(after.map(|after| (*id, after)));
                for (change, parent) in [(2, before), (1, after)] {
                    let Some(parent) = parent else { continue };
                    let family = Family::new(parent, id.kind());
                    self.changes.entry(family).or_default().push((change, *id));
                    if self.members(&family).is_empty() {
                        self.changes.remove(&family);
                    }
                }
            }
        }
        for Touch { record, operation } in touches {
            if self.records.contains_key(record) {
                let (time, operation) = (TimeMs(self.time), *operation);
                let audit_index = self.audited.len() as u64;
                self.uses.insert(*record, LastUse { time, operation, audit_index });
            }
        }
    }

    /// The state digest as its definition says, from nothing.
    fn digest(&self) -> [u8; 32] {
        let records = self.records.iter().map(|(id, blob)| (*id, sha256(&[blob]).to_vec()));
        let records = root("bucket", "state", records);
        if self.parents.is_empty() && self.uses.is_empty() {
            return records;
        }
        let parents = self.parents.iter().map(|(id, parent)| (*id, parent.to_bytes().to_vec()));
        let chains = self.changes.iter().map(|(family, changes)| {
            let members = self.members(family).len() as u32;
            let kind = family.kind.byte();
            let digest = chain(changes).unwrap().0;
            (family.parent, [&[kind][..], &members.to_be_bytes(), &digest].concat())
        });
        let uses = self.uses.iter().map(|(id, last)| {
            let LastUse { time, operation, audit_index } = last;
            let (time, operation) = (time.0.to_be_bytes(), operation.to_be_bytes());
            (*id, [&time[..], &operation, &audit_index.to_be_bytes()].concat())
        });
        sha256(&[
            b"conclave/store/state/v2",
            &records,
            &root("parents-bucket", "parents", parents),
            &root("chains-bucket", "chains", chains),
            &root("uses-bucket", "uses", uses),
        ])
    }
}

/// A tree of two levels over leaves that each begin with a record id, in their order.
fn root(bucket: &str, root: &str, leaves: impl Iterator<Item = (RecordId, Vec<u8>)>) -> [u8; 32] {
    let tag = |name: &str| format!("conclave/store/{name}/v1").into_bytes();
    let mut buckets: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    for (id, leaf) in leaves {
        let bytes = id.to_bytes();
        let prefix = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]) >> 4;
        buckets.entry(prefix).or_default().extend([&bytes[..], &leaf].concat());
    }
    let hash = |bytes: &Vec<u8>| sha256(&[&tag(bucket), bytes]);
    let bytes = buckets.iter().flat_map(|(n, b)| [&n.to_be_bytes()[..], &hash(b)].concat());
    sha256(&[&tag(root), &bytes.collect::<Vec<_>>()])
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
        prop_assert_eq!(&audited.collect::<Vec<_>>(), &model.audited);
        let times: BTreeMap<_, _> = items(&store).into_iter().filter_map(|item| match item.item {
            Some(Item::Token(token)) => Some((token.token, token.time_ms)),
            _ => None,
        }).collect();
        let expected = model.tokens.iter().map(|(token, taken)| (token.to_vec(), taken.time));
        prop_assert_eq!(times, expected.collect());
        prop_assert_eq!(store.state().token_horizon_ms(), None);
        for n in 0..RECORDS {
            let blob = store.blob(&record(n)).unwrap();
            prop_assert_eq!(blob.as_deref(), model.records.get(&record(n)).map(Vec::as_slice));
            prop_assert_eq!(store.last_use(&record(n)), model.uses.get(&record(n)).copied());
            let under = model.parents.get(&record(n)).copied();
            prop_assert_eq!(store.state().parent(&record(n)), under);
        }
        for family in (0..4).map(family) {
            let members = model.members(&family);
            prop_assert_eq!(store.count(&family) as usize, members.len());
            let after = members.first().and_then(|first| members.get(1..).map(|rest| (first, rest)));
            if let Some((first, rest)) = after {
                prop_assert_eq!(store.family(&family, Some(first), 9), rest);
            }
            prop_assert_eq!(store.family(&family, None, 9), members);
            let changes = model.changes.get(&family);
            prop_assert_eq!(store.scan_guard(&family), changes.and_then(|it| chain(it)));
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
        wide in any::<bool>(),
    ) {
        let mut builder = BatchBuilder::new();
        for (sequence, (blob, guards, sealed, id)) in (1..).zip(sizes) {
            let mut t = txn(sequence).puts(key(id), "").token(id, "");
            t.body.writes[0] = Write::put(key(id), vec![7; blob]).under(grant(id));
            if wide {
                // Many small things of the longest sort, where estimates are tightest.
                let more = (0u8..60).map(|n| Write::put(grant(n), vec![]).under(key(n)));
                t.body.writes.extend(more);
                t = (0..8).fold(t, |t, n| t.touches(grant(n), u32::MAX));
                let families = (0..20).map(|n| Family::new(key(n), Kind::Principal));
                t.body.fewer.extend(families.clone().map(|it| (it, u32::MAX - u32::from(id))));
                t.body.scans.extend(families.map(|it| (it, Some(guard_of("")))));
            }
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
        let guards: std::collections::BTreeSet<_> =
            batch.guards.iter().map(Message::encode_to_vec).collect();
        prop_assert_eq!(guards.len(), batch.guards.len());
        let applied = MemoryStore::new(DOMAIN).apply(&command(NOW, Op::Batch(batch))).unwrap();
        for outcome in &applied.outcomes {
            let malformed = Outcome::Rejected(Rejection::Malformed);
            prop_assert_ne!(Outcome::from_proto(outcome).unwrap().1, malformed);
        }
    }
}

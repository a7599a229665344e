//! The idempotency tokens taken lately, each with what a retry is answered.
//!
//! The table is bounded by count, so how far back it reaches depends on the load. Its *horizon* says
//! what it may have forgotten: every token that committed strictly after it is still here.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::limits::TOKEN_WINDOW;
use crate::{Revision, TimeMs};

pub(crate) type Token = [u8; 32];

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tokens {
    taken: BTreeMap<Token, Taken>,
    /// In order of commit: the first falls out first.
    order: VecDeque<Token>,
    window: usize,
    /// When the newest token that fell out committed.
    horizon: Option<TimeMs>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) revision: Revision,
    /// Cluster time at which it committed: never less than that of the token before.
    pub(crate) time: TimeMs,
    pub(crate) answer: Arc<[u8]>,
}

impl Default for Tokens {
    fn default() -> Self {
        Tokens::with_window(TOKEN_WINDOW)
    }
}

impl Tokens {
    pub(crate) fn with_window(window: usize) -> Tokens {
        Tokens { taken: BTreeMap::new(), order: VecDeque::new(), window, horizon: None }
    }

    pub(crate) fn get(&self, token: &Token) -> Option<&Taken> {
        self.taken.get(token)
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// How many are remembered at most.
    pub(crate) fn window(&self) -> usize {
        self.window
    }

    /// Every token that committed strictly after this is still known; `None`: all ever taken are.
    pub(crate) fn horizon(&self) -> Option<TimeMs> {
        self.horizon
    }

    /// Before the first token of a snapshot is taken.
    pub(crate) fn restore_horizon(&mut self, horizon: Option<TimeMs>) {
        self.horizon = horizon;
    }

    pub(crate) fn newest(&self) -> Option<&Taken> {
        self.order.back().and_then(|token| self.taken.get(token))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Token, &Taken)> {
        self.order.iter().filter_map(|token| self.taken.get_key_value(token))
    }

    /// Remembers a token that [`Tokens::get`] does not know; the oldest fall out.
    pub(crate) fn take(&mut self, token: Token, taken: Taken) {
        debug_assert!(!self.taken.contains_key(&token), "a token is taken once");
        self.taken.insert(token, taken);
        self.order.push_back(token);
        while self.order.len() > self.window {
            let Some(oldest) = self.order.pop_front() else { break };
            if let Some(forgotten) = self.taken.remove(&oldest) {
                self.horizon = Some(forgotten.time);
            }
        }
    }

    pub(crate) fn validate(&self) {
        assert_eq!(self.taken.len(), self.order.len());
        assert!(self.order.len() <= self.window);
        assert!(self.horizon.is_none() || self.order.len() == self.window);
        assert!(self.iter().is_sorted_by(|(_, a), (_, b)| a.revision < b.revision));
        let times = self.horizon.into_iter().chain(self.iter().map(|(_, taken)| taken.time));
        assert!(times.is_sorted());
    }
}

#[cfg(test)]
mod tests {
    use conclave_proto::audit::SealedEntry;
    use conclave_proto::store::command::Op;
    use conclave_proto::store::snapshot_item::Item;
    use conclave_proto::store::{Batch, Command, RegisterWriter, SnapshotItem};
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::{BatchBuilder, LogIndex, RestoreError, Restorer, State, TxnBody, TxnId};

    const DOMAIN: [u8; 16] = [0xd0; 16];
    const WINDOW: usize = 3;

    /// The table is bounded by count, forgets in order of commit, and says up to when.
    #[test]
    fn the_oldest_fall_out() {
        let mut tokens = Tokens::with_window(2);
        let mut horizons = Vec::new();
        for (index, (token, time)) in (1..).zip([(9, 10), (1, 10), (5, 20), (7, 20), (6, 30)]) {
            let revision = Revision { log_index: LogIndex(index), position: 0 };
            tokens.take([token; 32], Taken { revision, time: TimeMs(time), answer: [].into() });
            tokens.validate();
            horizons.push(tokens.horizon().map(|time| time.0));
        }
        // At first 10, when another token of time 10 is still known; strictly after 10 all are.
        assert_eq!(horizons, [None, None, Some(10), Some(10), Some(20)]);
        assert_eq!(tokens.get(&[9; 32]), None);
        assert_eq!(tokens.iter().map(|(token, _)| token[0]).collect::<Vec<_>>(), [7, 6]);
    }

    /// A state that forgets soon, with one writer.
    fn state() -> State {
        let mut state = State { tokens: Tokens::with_window(WINDOW), ..State::new(DOMAIN) };
        let register = RegisterWriter { raft_id: 1, nonce: vec![0; 16] };
        state.apply(1, &command(0, Op::RegisterWriter(register))).unwrap();
        state
    }

    fn command(time_ms: u64, op: Op) -> Command {
        Command { feature_level: 1, time_ms, op: Some(op) }
    }

    /// One txn for each token, decided in time.
    fn batch(state: &State, time_ms: u64, tokens: &[u8]) -> Batch {
        let mut batch = BatchBuilder::new();
        for (position, token) in (0..).zip(tokens) {
            let audit = SealedEntry { key: 1, commitment: vec![1; 32], sealed: vec![1] };
            let now_ms = state.time().0.max(time_ms);
            let body = TxnBody {
                token: Some([*token; 32]),
                answer: vec![*token],
                ..TxnBody::new(now_ms, audit)
            };
            let sequence = state.applied().0 * 100 + position;
            batch.push(TxnId { writer: 1, sequence }, &body).unwrap();
        }
        batch.finish(0, [0; 32])
    }

    fn apply(state: &mut State, time_ms: u64, tokens: &[u8]) {
        let op = Op::Batch(batch(state, time_ms, tokens));
        state.apply(state.applied().0 + 1, &command(time_ms, op)).unwrap();
    }

    fn items(state: &State) -> Vec<SnapshotItem> {
        let no_blob = |_: &_| Err::<Vec<u8>, _>("there are no records");
        state.snapshot_items(vec![], no_blob).collect::<Result<_, _>>().unwrap()
    }

    fn restore(items: Vec<SnapshotItem>) -> Result<State, RestoreError> {
        let mut restorer = Restorer::with_token_window(DOMAIN, WINDOW);
        items.into_iter().try_for_each(|item| restorer.push(item).map(drop))?;
        restorer.finish()
    }

    /// A horizon survives a snapshot; one that contradicts the tokens is refused.
    #[test]
    fn a_snapshot_holds_the_horizon() {
        let mut state = state();
        apply(&mut state, 10, &[1]);
        apply(&mut state, 20, &[2, 3]);
        apply(&mut state, 30, &[4]);
        assert_eq!(state.token_horizon_ms(), Some(10));
        let whole = items(&state);
        let restored = restore(whole.clone()).unwrap();
        restored.validate();
        assert_eq!(restored.token_horizon_ms(), Some(10));
        assert_eq!(restored.tokens, state.tokens);

        let with = |horizon: Option<u64>, times: [u64; WINDOW]| {
            let mut items = whole.clone();
            let mut times = times.into_iter();
            for item in &mut items {
                match item.item.as_mut().unwrap() {
                    Item::Header(header) => header.token_horizon_ms = horizon,
                    Item::Token(token) => token.time_ms = times.next().unwrap(),
                    _ => {}
                }
            }
            restore(items).map(|state| state.validate())
        };
        let wrong = Err(RestoreError::Token { what: "time" });
        assert_eq!(with(None, [20, 20, 30]), Ok(()));
        assert_eq!(with(Some(20), [20, 20, 30]), Ok(()));
        assert_eq!(with(Some(21), [20, 20, 30]), wrong, "beyond the first token");
        assert_eq!(with(Some(10), [20, 19, 30]), wrong, "decreasing");
        assert_eq!(with(Some(10), [20, 20, 31]), wrong, "later than the state's own time");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Nothing that committed after the horizon is forgotten, it is no later than it must be,
        /// and a state restored midway goes on exactly like the one it was taken of.
        #[test]
        fn the_horizon_is_exact(
            batches in vec((0u64..20, vec(0u8..12, 0..4)), 1..20),
            cut in 0usize..20,
        ) {
            let mut state = state();
            let mut replay = state.clone();
            let mut taken: Vec<(Token, TimeMs)> = Vec::new();
            for (position, (time, tokens)) in batches.into_iter().enumerate() {
                if position == cut {
                    replay = restore(items(&state)).unwrap();
                }
                apply(&mut state, time, &tokens);
                apply(&mut replay, time, &tokens);
                for token in tokens.into_iter().map(|token| [token; 32]) {
                    let known = &taken[taken.len().saturating_sub(WINDOW)..];
                    if known.iter().all(|(known, _)| *known != token) {
                        taken.push((token, state.time()));
                    }
                }
                let (forgotten, known) = taken.split_at(taken.len().saturating_sub(WINDOW));
                let horizon = forgotten.iter().map(|(_, time)| *time).max();
                prop_assert_eq!(state.tokens.horizon(), horizon);
                for (token, time) in known {
                    prop_assert_eq!(state.tokens.get(token).map(|taken| taken.time), Some(*time));
                }
                prop_assert_eq!(&replay.tokens, &state.tokens);
                prop_assert_eq!(items(&replay), items(&state));
            }
        }
    }
}

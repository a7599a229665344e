//! The idempotency tokens taken lately, each with what a retry is answered.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::Revision;
use crate::limits::TOKEN_WINDOW;

pub(crate) type Token = [u8; 32];

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tokens {
    taken: BTreeMap<Token, Taken>,
    /// In order of commit: the first falls out first.
    order: VecDeque<Token>,
    window: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) revision: Revision,
    pub(crate) answer: Arc<[u8]>,
}

impl Default for Tokens {
    fn default() -> Self {
        Tokens { taken: BTreeMap::new(), order: VecDeque::new(), window: TOKEN_WINDOW }
    }
}

impl Tokens {
    pub(crate) fn get(&self, token: &Token) -> Option<&Taken> {
        self.taken.get(token)
    }

    pub(crate) fn len(&self) -> usize {
        self.order.len()
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
            self.taken.remove(&oldest);
        }
    }

    pub(crate) fn validate(&self) {
        assert_eq!(self.taken.len(), self.order.len());
        assert!(self.order.len() <= self.window);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table is bounded by count, and forgets in order of commit.
    #[test]
    fn the_oldest_fall_out() {
        let taken = Taken { revision: Revision::default(), answer: [].into() };
        let mut tokens = Tokens { window: 2, ..Tokens::default() };
        for token in [[9; 32], [1; 32], [5; 32]] {
            tokens.take(token, taken.clone());
            tokens.validate();
        }
        assert_eq!(tokens.get(&[9; 32]), None);
        assert_eq!(tokens.iter().map(|(token, _)| token[0]).collect::<Vec<_>>(), [1, 5]);
    }
}

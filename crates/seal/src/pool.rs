//! Operator shares as they come in, until there are enough: in memory only, for ten minutes.
//!
//! What the pool refuses, it refuses by what stands in the text for all to see. Whether a share is
//! *right* shows only when k of them are combined; then either all are, or the pool is emptied and
//! nobody learns which was not.

use conclave_crypto::sharing::{self, Share};

use crate::ids::{DomainId, OperatorGeneration};
use crate::operator::{OperatorKey, OperatorKeyRecord};
use crate::operator_share::{OperatorShare, ShareTextError};

/// How long shares are kept after the first of them came in, in milliseconds: long enough for a
/// ceremony, short enough that none is forgotten there.
pub const POOL_KEPT_MS: u64 = 10 * 60 * 1000;

/// Distinct operator shares that have come in.
#[derive(Debug, Default)]
pub struct OperatorSharePool {
    held: Vec<Share>,
    first_ms: u64,
    generation: Option<OperatorGeneration>,
}

/// How far the operators are.
#[derive(Debug)]
pub enum Progress {
    /// More are needed.
    Held {
        /// How many distinct shares are here.
        held: u8,
        /// How many it takes.
        threshold: u8,
    },
    /// The operator key; the pool is empty again.
    Complete(OperatorKey),
}

impl OperatorSharePool {
    /// Takes one share. The same share again changes nothing.
    ///
    /// # Errors
    /// [`PoolError`]; the shares that were here stay, except after [`PoolError::DoNotFit`].
    pub fn add(
        &mut self,
        text: &str,
        domain: DomainId,
        record: &OperatorKeyRecord,
        now_ms: u64,
    ) -> Result<Progress, PoolError> {
        self.drop_old(now_ms);
        if self.generation.is_some_and(|held| record.each().all(|r| r.generation != held)) {
            self.clear();
        }
        let given = OperatorShare::from_text(text)?;
        if given.domain != domain {
            return Err(PoolError::OtherDomain);
        }
        // While shares of two generations count, those of the first one given are collected.
        let wanted = self.generation.unwrap_or(given.generation);
        let Some(record) =
            record.each().find(|r| r.generation == given.generation && wanted == r.generation)
        else {
            let wanted = self.generation.unwrap_or(record.generation);
            return Err(PoolError::OtherGeneration { given: given.generation, wanted });
        };
        let threshold = record.split.threshold();
        if given.threshold != threshold || given.share.x > record.split.shares() {
            return Err(PoolError::OtherSplit);
        }

        if self.held.is_empty() {
            self.first_ms = now_ms;
            self.generation = Some(record.generation);
        }
        match self.held.iter().find(|share| share.x == given.share.x) {
            Some(share) if share.y.ct_eq(&given.share.y) => {}
            Some(_) => {
                self.clear();
                return Err(PoolError::DoNotFit);
            }
            None => self.held.push(given.share),
        }
        if self.held.len() < usize::from(threshold) {
            return Ok(Progress::Held { held: self.len(), threshold });
        }

        let combined = sharing::combine(&self.held);
        self.clear();
        let key = combined.map_err(|_| PoolError::DoNotFit)?;
        let key = OperatorKey { generation: record.generation, key };
        if record.is_key(domain, &key) {
            Ok(Progress::Complete(key))
        } else {
            Err(PoolError::DoNotFit)
        }
    }

    /// Drops the shares if their ten minutes are over.
    pub fn drop_old(&mut self, now_ms: u64) {
        if !self.held.is_empty() && now_ms.saturating_sub(self.first_ms) >= POOL_KEPT_MS {
            self.clear();
        }
    }

    /// Drops all shares.
    pub fn clear(&mut self) {
        self.held.clear();
        self.generation = None;
    }

    /// How many distinct shares are here.
    pub fn len(&self) -> u8 {
        u8::try_from(self.held.len()).unwrap_or(u8::MAX)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

/// Why an operator share was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// It is none, or was mistyped.
    #[error(transparent)]
    Text(#[from] ShareTextError),
    /// It opens another domain.
    #[error("this operator share belongs to another domain; look for this domain's shares")]
    OtherDomain,
    /// It was replaced, or is newer than what this node has applied.
    #[error(
        "this operator share is of generation {given}, the domain is at {wanted}; use the shares of generation {wanted}"
    )]
    OtherGeneration {
        /// The share's.
        given: OperatorGeneration,
        /// The domain's.
        wanted: OperatorGeneration,
    },
    /// Its k or its number cannot be of the dealing that counts.
    #[error("this operator share is of another dealing; use the shares of the newest one")]
    OtherSplit,
    /// Which one is wrong, if only one is, nobody can say.
    #[error("the operator shares do not fit together; none is kept, start again")]
    DoNotFit,
}

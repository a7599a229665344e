//! Gathers txns into one batch: distinct guards are sent once, and the batch keeps its bounds.

use std::collections::BTreeMap;

use conclave_proto::store as proto;

use crate::body::{BATCH_BYTES, GUARD_BYTES};
use crate::guard::Guard;
use crate::limits::{MAX_BATCH_BYTES, MAX_TXNS_PER_BATCH};
use crate::{BodyError, Touch, TxnBody, TxnId, Write};

/// A batch being gathered.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    numbers: BTreeMap<Guard, u32>,
    guards: Vec<proto::Guard>,
    txns: Vec<proto::Txn>,
    bytes_max: usize,
}

impl BatchBuilder {
    /// An empty batch.
    pub fn new() -> BatchBuilder {
        BatchBuilder::default()
    }

    /// Adds a txn; on an error the batch is as it was before.
    pub fn push(&mut self, id: TxnId, body: &TxnBody) -> Result<(), PushError> {
        body.validate()?;
        let new = body.all_guards().filter(|guard| !self.numbers.contains_key(guard)).count();
        let bytes_max = self.bytes_max + body.bytes_max() + new * GUARD_BYTES;
        if self.txns.len() == MAX_TXNS_PER_BATCH || BATCH_BYTES + bytes_max > MAX_BATCH_BYTES {
            return Err(PushError::Full);
        }
        let guards = body.all_guards().map(|guard| self.number(guard)).collect();
        self.txns.push(proto::Txn {
            writer: id.writer,
            sequence: id.sequence,
            now_ms: body.now_ms,
            guards,
            writes: body.writes.iter().map(Write::to_proto).collect(),
            audit: Some(body.audit.clone()),
            token: body.token.map(|token| token.to_vec()).unwrap_or_default(),
            answer: body.answer.clone(),
            touches: body.touches.iter().copied().map(Touch::to_proto).collect(),
        });
        self.bytes_max = bytes_max;
        Ok(())
    }

    /// How many txns it has.
    pub fn len(&self) -> usize {
        self.txns.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.txns.is_empty()
    }

    /// The batch, with what its proposer had applied and its audit head there.
    pub fn finish(self, proposer_index: u64, proposer_head: [u8; 32]) -> proto::Batch {
        proto::Batch {
            proposer_index,
            proposer_head: proposer_head.to_vec(),
            guards: self.guards,
            txns: self.txns,
        }
    }

    fn number(&mut self, guard: Guard) -> u32 {
        let guards = &mut self.guards;
        *self.numbers.entry(guard).or_insert_with(|| {
            guards.push(guard.to_proto());
            // A batch has at most 1,024 × 64 guards.
            guards.len() as u32 - 1
        })
    }
}

/// Why a txn is not in the batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// Send this batch and put the txn into the next.
    #[error("the batch is full")]
    Full,
    /// It fits no batch.
    #[error(transparent)]
    Invalid(#[from] BodyError),
}

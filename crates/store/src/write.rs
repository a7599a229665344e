//! What a txn does to records: puts them, deletes them, notes that they were used.

use conclave_proto::store as proto;

use crate::RecordId;

/// A change of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Which.
    pub record: RecordId,
    /// What becomes of it.
    pub op: WriteOp,
}

/// What becomes of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteOp {
    /// It has this blob from now on.
    Put {
        /// Sealed, unless the record's kind is public.
        blob: Vec<u8>,
        /// What it is under from now on. `None`: what it is under already, if anything, so that
        /// whoever seals a blob again need not know.
        parent: Option<RecordId>,
    },
    /// It is gone, from its family too, and its last use is forgotten. Those under it stay.
    Delete,
}

impl Write {
    /// Gives a record a blob, and leaves it under the parent that it has.
    pub const fn put(record: RecordId, blob: Vec<u8>) -> Write {
        Write { record, op: WriteOp::Put { blob, parent: None } }
    }

    /// Deletes a record. One that is not there stays so.
    pub const fn delete(record: RecordId) -> Write {
        Write { record, op: WriteOp::Delete }
    }

    /// The same, and puts the record under `parent`. Nothing is under anything once it is deleted,
    /// so a deletion stays as it is.
    #[must_use]
    pub fn under(mut self, new: RecordId) -> Write {
        if let WriteOp::Put { parent, .. } = &mut self.op {
            *parent = Some(new);
        }
        self
    }

    /// The new blob; `None` of a deletion.
    pub fn blob(&self) -> Option<&[u8]> {
        match &self.op {
            WriteOp::Put { blob, .. } => Some(blob),
            WriteOp::Delete => None,
        }
    }

    pub(crate) fn borrowed(&self) -> WriteRef<'_> {
        let op = match &self.op {
            WriteOp::Put { blob, parent } => OpRef::Put { blob, parent: *parent },
            WriteOp::Delete => OpRef::Delete,
        };
        WriteRef { record: self.record, op }
    }

    pub(crate) fn to_proto(&self) -> proto::Write {
        let (op, parent) = match &self.op {
            WriteOp::Put { blob, parent } => (proto::write::Op::Put(blob.clone()), *parent),
            WriteOp::Delete => (proto::write::Op::Delete(true), None),
        };
        proto::Write {
            record: self.record.to_bytes().to_vec(),
            op: Some(op),
            parent: parent.map(|parent| parent.to_bytes().to_vec()).unwrap_or_default(),
        }
    }
}

/// A [`Write`] whose blob is somebody else's.
#[derive(Clone, Copy)]
pub(crate) struct WriteRef<'a> {
    pub(crate) record: RecordId,
    pub(crate) op: OpRef<'a>,
}

#[derive(Clone, Copy)]
pub(crate) enum OpRef<'a> {
    Put { blob: &'a [u8], parent: Option<RecordId> },
    Delete,
}

/// Notes that a record was used, if it is there by the time of the txn. It changes no blob and
/// nothing that anyone is guarded on, so it conflicts with nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    /// Which.
    pub record: RecordId,
    /// The service's number of what was done with it.
    pub operation: u32,
}

impl Touch {
    pub(crate) fn to_proto(self) -> proto::Touch {
        proto::Touch { record: self.record.to_bytes().to_vec(), operation: self.operation }
    }
}

//! What a decision rests on, as apply checks it.

use std::fmt;

use conclave_proto::store as proto;
use conclave_proto::store::guard::Family as Wire;

use crate::{Family, GuardDigest, Kind, RecordId, RecordIdError};

/// A condition of a txn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Guard {
    /// The record has this digest; `None`: it is absent.
    Record(RecordId, Option<GuardDigest>),
    /// The family has had exactly these changes; `None`: it has no members.
    Scan(Family, Option<GuardDigest>),
    /// The family has fewer members than this.
    Fewer(Family, u32),
}

impl Guard {
    pub(crate) fn on(&self) -> Guarded {
        match self {
            Guard::Record(record, _) => Guarded::Record(*record),
            Guard::Scan(family, _) => Guarded::Scan(*family),
            Guard::Fewer(family, _) => Guarded::Fewer(*family),
        }
    }

    pub(crate) fn to_proto(self) -> proto::Guard {
        let bytes =
            |digest: Option<GuardDigest>| digest.map(|it| it.0.to_vec()).unwrap_or_default();
        let on = |wire| proto::Guard { family: Some(wire), ..Default::default() };
        match self {
            Guard::Record(record, digest) => proto::Guard {
                record: record.to_bytes().to_vec(),
                digest: bytes(digest),
                family: None,
            },
            Guard::Scan(family, digest) => {
                let family = Some(family.to_proto());
                on(Wire::Scan(proto::Scan { family, digest: bytes(digest) }))
            }
            Guard::Fewer(family, than) => {
                on(Wire::Fewer(proto::Fewer { family: Some(family.to_proto()), than }))
            }
        }
    }
}

/// What the guard was on that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarded {
    /// This record is another by now, or absent, or there.
    Record(RecordId),
    /// This family has other members by now, or had others in between.
    Scan(Family),
    /// This family has as many members as its quota allows.
    Fewer(Family),
}

impl fmt::Display for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Guarded::Record(record) => write!(f, "record {record}"),
            Guarded::Scan(family) => write!(f, "the members of {family}"),
            Guarded::Fewer(family) => write!(f, "the number of {family}"),
        }
    }
}

impl Family {
    pub(crate) fn to_proto(self) -> proto::Family {
        proto::Family { parent: self.parent.to_bytes().to_vec(), kind: self.kind.byte().into() }
    }

    /// Reads a message of [`Family::to_proto`].
    pub(crate) fn parse(message: &proto::Family) -> Result<Family, RecordIdError> {
        let parent = RecordId::parse(&message.parent)?;
        // Kinds are bytes: what is none is as far from being known as any.
        let byte = u8::try_from(message.kind).unwrap_or(u8::MAX);
        let kind = Kind::from_byte(byte).ok_or(RecordIdError::UnknownKind { kind: byte })?;
        Ok(Family { parent, kind })
    }
}

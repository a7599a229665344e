//! Members as this crate needs them: an id, a name and the key their shares are encrypted to.

use std::collections::BTreeSet;

use conclave_crypto::hpke::HpkePublicKey;
use conclave_proto::record;

use crate::ids::RaftId;
use crate::wrapped::SealKind;

/// The most members of a domain. Far beyond any sensible number of voters, and small enough that
/// a dealing stays one small record.
pub const MEMBERS_MAX: usize = 31;

/// The longest name of a node, in bytes: what fits into a certificate's name.
pub const NODE_NAME_LEN_MAX: usize = 63;

/// A member to deal to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// Its Raft id.
    pub raft_id: RaftId,
    /// Its name, which its seal is bound to.
    pub name: String,
    /// The public half of the key pair it made for its data folder.
    pub enrolment_key: HpkePublicKey,
}

/// The members of a record or request, checked, in the order of their Raft ids.
///
/// # Errors
/// [`MembersError`] if there are none or too many, or one lacks something or is named twice.
pub fn recipients(members: &[record::Member]) -> Result<Vec<Recipient>, MembersError> {
    if members.is_empty() || members.len() > MEMBERS_MAX {
        return Err(MembersError::Count { found: members.len() });
    }
    let mut names = BTreeSet::new();
    let mut ids = BTreeSet::new();
    let mut checked = Vec::with_capacity(members.len());
    for member in members {
        let raft_id = RaftId(member.raft_id);
        if member.name.is_empty() || member.name.len() > NODE_NAME_LEN_MAX {
            return Err(MembersError::Name { raft_id });
        }
        let name = member.name.clone();
        if raft_id.0 == 0 {
            return Err(MembersError::NoRaftId { name });
        }
        if !ids.insert(raft_id) || !names.insert(name.clone()) {
            return Err(MembersError::Twice { name, raft_id });
        }
        let enrolment_key = HpkePublicKey::from_bytes(&member.enrolment_key)
            .map_err(|_| MembersError::EnrolmentKey { name: name.clone() })?;
        checked.push(Recipient { raft_id, name, enrolment_key });
    }
    checked.sort_by_key(|recipient| recipient.raft_id);
    Ok(checked)
}

/// As [`recipients`], each with what it keeps its share under.
///
/// # Errors
/// As [`recipients`].
pub fn recipients_with_seals(
    members: &[(record::Member, SealKind)],
) -> Result<Vec<(Recipient, SealKind)>, MembersError> {
    let records: Vec<record::Member> = members.iter().map(|(member, _)| member.clone()).collect();
    let seal_of = |recipient: &Recipient| {
        let found = members.iter().find(|(member, _)| member.raft_id == recipient.raft_id.0);
        found.map_or(SealKind::Operator, |(_, seal)| *seal)
    };
    let recipients = recipients(&records)?.into_iter();
    Ok(recipients.map(|recipient| (recipient.clone(), seal_of(&recipient))).collect())
}

/// Why a list of members was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembersError {
    /// None, or more than [`MEMBERS_MAX`].
    #[error("a domain has 1 to {MEMBERS_MAX} members, not {found}")]
    Count {
        /// How many there were.
        found: usize,
    },
    /// No name, or one that is too long.
    #[error("the node with Raft id {raft_id} needs a name of 1 to {NODE_NAME_LEN_MAX} bytes")]
    Name {
        /// Whose.
        raft_id: RaftId,
    },
    /// It was not given a Raft id yet.
    #[error("node {name} has no Raft id yet; admit it first")]
    NoRaftId {
        /// Which one.
        name: String,
    },
    /// The same name or Raft id again.
    #[error("node {name} or its Raft id {raft_id} is named twice; name each member once")]
    Twice {
        /// Which one.
        name: String,
        /// Its Raft id.
        raft_id: RaftId,
    },
    /// Its enrolment key is not 32 bytes.
    #[error("node {name} has no proper enrolment key; start it once with an empty data folder")]
    EnrolmentKey {
        /// Which one.
        name: String,
    },
}

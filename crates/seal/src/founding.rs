//! The beginning of a domain: all its keys, dealt to all founders in one go, so that no disk ever
//! holds the whole root key.
//!
//! The caller hands every founder its delivery, waits until all have stored theirs durably, shows
//! the operators their shares, and only then commits [`Founding::writes`] as one txn, whose guards
//! are that all these records are absent. Until that commit nothing has happened: a founding that
//! was given up leaves deliveries and operator shares that open nothing.

use std::collections::BTreeMap;

use conclave_audit::{Origin, VerifierKey};
use conclave_crypto::entropy::Entropy;
use conclave_crypto::hpke::HpkeError;
use conclave_crypto::secret::Key;
use conclave_crypto::sharing::SharingError;
use conclave_proto::record;
use conclave_store::{GuardDigest, Kind, RecordId, Write};
use prost::Message;

use crate::dealing::deliver;
use crate::delivery::Delivery;
use crate::epoch::{DealError, ShareEpoch};
use crate::epochs::ShareEpochs;
use crate::ids::{DomainId, EpochNumber, OperatorGeneration};
use crate::keyring::Keyring;
use crate::members::{MembersError, recipients_with_seals};
use crate::operator::{OperatorKey, OperatorKeyRecord};
use crate::operator_share::{self, OperatorShareText, OperatorSplit};
use crate::wrapped::SealKind;

/// The longest name of a domain, in bytes: it stands in ARNs as a region does.
pub const DOMAIN_NAME_LEN_MAX: usize = 32;

const FIRST: u64 = 1;

/// What a domain is founded with.
#[derive(Debug, Clone)]
pub struct FoundingInput {
    /// 16 random bytes that the founders were told; new ones for every attempt, for a share of an
    /// attempt that was given up has the same epoch number as this one's.
    pub domain_id: DomainId,
    /// Its name: lower-case letters, digits and hyphens.
    pub domain_name: String,
    /// 12 digits.
    pub account: String,
    /// The SPIFFE trust domain.
    pub cluster: String,
    /// The founders, each with its enrolment key, and what it keeps its share under.
    pub members: Vec<(record::Member, SealKind)>,
    /// How the operator key is split.
    pub split: OperatorSplit,
    /// Cluster time, or the node's own before there is any; milliseconds since the Unix epoch.
    pub now_ms: u64,
    /// Who becomes the first operator.
    pub creator: String,
}

/// A founding, ready to be delivered and then committed.
#[derive(Debug)]
pub struct Founding {
    /// The records of the one txn.
    pub writes: Vec<Write>,
    /// Each founder's share.
    pub deliveries: Vec<Delivery>,
    /// The dealing, which goes with every delivery.
    pub epoch: ShareEpoch,
    /// Each operator's share. Shown once.
    pub operator_shares: Vec<OperatorShareText>,
    /// The public half of the audit signing key, as a C2SP verifier key.
    pub verifier_key: String,
    /// What seals the txn's own audit entry; a founder that dealt is open with it once committed.
    pub keyring: Keyring,
}

impl Founding {
    /// The txn's guards: none of its records may be there.
    pub fn guards(&self) -> BTreeMap<RecordId, Option<GuardDigest>> {
        self.writes.iter().map(|write| (write.record, None)).collect()
    }
}

/// Founds a domain.
///
/// # Errors
/// [`FoundingError`] if the input does not describe one.
pub fn found(input: &FoundingInput, entropy: &mut dyn Entropy) -> Result<Founding, FoundingError> {
    check_names(input)?;
    let domain = input.domain_id;
    let members = recipients_with_seals(&input.members)?;
    let root = Key::generate(entropy);
    let operator =
        OperatorKey { generation: OperatorGeneration(FIRST), key: Key::generate(entropy) };
    let number = EpochNumber(FIRST);

    let ids: Vec<_> = members.iter().map(|(member, _)| member.raft_id).collect();
    let (epoch, shares) = ShareEpoch::deal(domain, number, &root, &ids)?;
    let mut operator_record = operator.record(domain, input.split);
    operator_record.wrap_root(domain, number, &root, entropy)?;
    let operator_shares = operator_share::deal(&operator, domain, input.split, entropy)?
        .iter()
        .map(operator_share::OperatorShare::to_text)
        .collect();

    let node_seal = operator.node_seal_root(domain);
    let deliveries = deliver(&node_seal, domain, number, &members, &shares, entropy)?;
    let mut keyring = Keyring::create(domain, root, number, node_seal, entropy);
    let verifier_key = verifier_key(input, &keyring)?;

    // Nothing is committed before all founders have stored their shares.
    let mut complete = epoch.clone();
    members.iter().for_each(|(member, seal)| complete.acknowledge(member.raft_id, *seal));
    let epochs = ShareEpochs { complete, pending: None, owes_rotation: false };
    let mut records = public_records(input, &epochs, &operator_record, &keyring, &verifier_key);
    let keys = keyring.records(entropy);
    keyring.note_written(&keys);
    records.extend(keys);
    records.push(first_operator(input, &keyring, entropy));
    let writes = records.into_iter().map(|(id, blob)| Write::put(id, blob)).collect();
    Ok(Founding { writes, deliveries, epoch, operator_shares, verifier_key, keyring })
}

fn public_records(
    input: &FoundingInput,
    epochs: &ShareEpochs,
    operator: &OperatorKeyRecord,
    keyring: &Keyring,
    verifier_key: &str,
) -> Vec<(RecordId, Vec<u8>)> {
    let members = input.members.iter().map(|(member, _)| member.clone());
    let mut members: Vec<record::Member> = members.collect();
    members.sort_by_key(|member| member.raft_id);
    let domain = record::Domain {
        id: input.domain_id.0.to_vec(),
        name: input.domain_name.clone(),
        account: input.account.clone(),
        cluster: input.cluster.clone(),
        created_ms: input.now_ms,
    };
    let keys = record::PublicKeys {
        intake: keyring.intake_public().as_bytes().to_vec(),
        audit_verifier: verifier_key.to_owned(),
    };
    let counter = record::ShareCounter { last_dealt: epochs.complete.number.0 };
    [
        (Kind::Domain, domain.encode_to_vec()),
        (Kind::Members, record::Members { members, former: Vec::new() }.encode_to_vec()),
        (Kind::Admissions, record::Admissions::default().encode_to_vec()),
        (Kind::ShareEpoch, epochs.encode()),
        (Kind::ShareCounter, counter.encode_to_vec()),
        (Kind::OperatorKey, operator.encode()),
        (Kind::PublicKeys, keys.encode_to_vec()),
    ]
    .into_iter()
    .map(|(kind, blob)| (RecordId::singleton(kind), blob))
    .collect()
}

fn first_operator(
    input: &FoundingInput,
    keyring: &Keyring,
    entropy: &mut dyn Entropy,
) -> (RecordId, Vec<u8>) {
    let id = keyring.name_id(Kind::Principal, &input.account, &input.creator);
    let principal = record::Principal {
        name: input.creator.clone(),
        roles: vec![record::Role::Operator.into()],
        created_ms: input.now_ms,
    };
    (id, keyring.seal_record(&id, &principal.encode_to_vec(), entropy))
}

fn check_names(input: &FoundingInput) -> Result<(), FoundingError> {
    let name = input.domain_name.as_bytes();
    let fits = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-';
    if name.is_empty() || name.len() > DOMAIN_NAME_LEN_MAX || !name.iter().all(fits) {
        return Err(FoundingError::DomainName);
    }
    if input.account.len() != 12 || !input.account.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(FoundingError::Account);
    }
    let printable = |text: &str| {
        !text.is_empty() && text.len() <= 255 && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if !printable(&input.cluster) || !printable(&input.creator) {
        return Err(FoundingError::Name);
    }
    Ok(())
}

fn verifier_key(input: &FoundingInput, keyring: &Keyring) -> Result<String, FoundingError> {
    let origin =
        Origin::new(&input.cluster, &input.domain_name).map_err(|_| FoundingError::Name)?;
    let key = keyring.audit_signing_key().verifying_key();
    let key = VerifierKey::new(origin.as_str(), key).map_err(|_| FoundingError::Name)?;
    Ok(key.to_string())
}

/// Why no domain was founded. Nothing has happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoundingError {
    /// The domain's name.
    #[error(
        "a domain's name has 1 to {DOMAIN_NAME_LEN_MAX} lower-case letters, digits and hyphens, such as eu-1"
    )]
    DomainName,
    /// The account.
    #[error("an account has 12 digits")]
    Account,
    /// Cluster or creator.
    #[error(
        "the cluster's and the first operator's names have 1 to 255 visible ASCII characters and no \"+\""
    )]
    Name,
    /// The founders.
    #[error(transparent)]
    Members(#[from] MembersError),
    /// A founder's enrolment key is a weak one.
    #[error(transparent)]
    EnrolmentKey(#[from] HpkeError),
    /// The dealing.
    #[error(transparent)]
    Deal(#[from] DealError),
    /// The splitting of the operator key.
    #[error(transparent)]
    Sharing(#[from] SharingError),
}

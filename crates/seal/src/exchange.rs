//! How one member gives another its share: asked for with a proof, answered under a fresh key.
//!
//! The asker gets a nonce from the giver ([`Giver::challenge`]), signs with the key that derives
//! from its *own* share ([`ask`]), and so shows that it has unwrapped it. The giver checks that
//! against the committed share epoch ([`Giver::check`]), commits the release as a txn guarded on the
//! membership and share-epoch records, and only then answers ([`Release::answer`]). The asker
//! checks what comes back against the giver's verification key ([`Ask::receive`]).
//!
//! That the asker's certificate names the member it says it is, is checked by the caller.

use std::collections::BTreeMap;

use conclave_crypto::ed25519::VerifyingKey;
use conclave_crypto::entropy::Entropy;
use conclave_crypto::hpke::{self, HpkePrivateKey, HpkePublicKey};
use conclave_crypto::secret::Key;
use conclave_crypto::sharing::Share;
use conclave_proto::peer::{ReleaseShareRequest, ReleaseShareResponse};

use crate::epoch::ShareEpoch;
use crate::epochs::ShareEpochs;
use crate::ids::{DomainId, EpochNumber, RaftId};
use crate::labels;

/// How long a nonce is good, in milliseconds: one round trip, with a txn's patience.
pub const NONCE_GOOD_MS: u64 = 60 * 1000;

/// How many nonces one asker can have open: a retry or two. The oldest goes first.
pub const NONCES_PER_ASKER: usize = 4;

const ROLE: &[u8] = b"asker";

/// 32 bytes, good once.
pub type Nonce = [u8; 32];

/// An asker that waits for an answer.
#[derive(Debug)]
pub struct Ask {
    domain: DomainId,
    epoch: EpochNumber,
    giver: RaftId,
    hpke: HpkePrivateKey,
    info: Vec<u8>,
}

/// Who asks whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parties {
    /// Wants a share.
    pub asker: RaftId,
    /// Has one.
    pub giver: RaftId,
}

/// Asks for the giver's share of `epoch`, proving that `own` is unwrapped.
pub fn ask(
    own: &Share,
    domain: DomainId,
    epoch: EpochNumber,
    parties: Parties,
    nonce: &Nonce,
    entropy: &mut dyn Entropy,
) -> (Ask, ReleaseShareRequest) {
    let hpke = HpkePrivateKey::generate(entropy);
    let message = ask_message(domain, epoch, parties, nonce, hpke.public().as_bytes());
    let signature = labels::share_signing_key(&own.y, domain, epoch, own.x).sign(&message);
    let request = ReleaseShareRequest {
        asker: parties.asker.0,
        epoch: epoch.0,
        nonce: nonce.to_vec(),
        hpke_key: hpke.public().as_bytes().to_vec(),
        signature: signature.to_vec(),
    };
    let info = labels::answer_info(&message);
    (Ask { domain, epoch, giver: parties.giver, hpke, info }, request)
}

impl Ask {
    /// The giver's share out of its answer.
    ///
    /// # Errors
    /// [`AnswerRefused`] if it is not the giver's share of the epoch that was asked for.
    pub fn receive(
        self,
        response: &ReleaseShareResponse,
        epoch: &ShareEpoch,
    ) -> Result<Share, AnswerRefused> {
        if response.epoch != self.epoch.0 || epoch.number != self.epoch {
            return Err(AnswerRefused::OtherEpoch);
        }
        let y = hpke::hpke_open(&self.hpke, &self.info, &[], &response.encrypted)
            .map_err(|_| AnswerRefused::NotAuthentic)?;
        let y = Key::from_slice(y.expose()).map_err(|_| AnswerRefused::NotAuthentic)?;
        let holder = epoch.holder(self.giver).ok_or(AnswerRefused::WrongShare)?;
        let share = Share { x: holder.x, y };
        epoch
            .check_share(self.domain, self.giver, &share)
            .map_err(|_| AnswerRefused::WrongShare)?;
        Ok(share)
    }
}

/// The giving side: the nonces that are open. In memory only; after a crash askers begin anew.
#[derive(Debug)]
pub struct Giver {
    domain: DomainId,
    me: RaftId,
    nonces: BTreeMap<RaftId, Vec<OpenNonce>>,
}

#[derive(Debug)]
struct OpenNonce {
    nonce: Nonce,
    made_ms: u64,
}

impl Giver {
    /// The giving side of the node `me`.
    pub fn new(domain: DomainId, me: RaftId) -> Self {
        Self { domain, me, nonces: BTreeMap::new() }
    }

    /// A nonce for `asker`, if it holds a share.
    ///
    /// # Errors
    /// [`Refusal::NotAHolder`].
    pub fn challenge(
        &mut self,
        asker: RaftId,
        epochs: &ShareEpochs,
        now_ms: u64,
        entropy: &mut dyn Entropy,
    ) -> Result<Nonce, Refusal> {
        if asker == self.me || !epochs.is_holder(asker) {
            return Err(Refusal::NotAHolder { raft_id: asker });
        }
        // Only holders have nonces, so there are never more than members times the limit.
        self.nonces.retain(|holder, _| epochs.is_holder(*holder));
        let open = self.nonces.entry(asker).or_default();
        if open.len() == NONCES_PER_ASKER {
            open.remove(0);
        }
        let mut nonce = [0; 32];
        entropy.fill(&mut nonce);
        open.push(OpenNonce { nonce, made_ms: now_ms });
        Ok(nonce)
    }

    /// Judges a request against the dealings that count. Its nonce is spent, whatever comes out.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn check(
        &mut self,
        request: &ReleaseShareRequest,
        epochs: &ShareEpochs,
        now_ms: u64,
    ) -> Result<Release, Refusal> {
        let asker = RaftId(request.asker);
        self.spend(asker, &request.nonce, now_ms)?;
        let asked = EpochNumber(request.epoch);
        let newest = epochs.newest().number;
        let epoch = epochs.get(asked).ok_or(Refusal::OtherEpoch { asked, newest })?;
        let verification_key = self.other_holder(asker, epoch)?;
        let own = epoch.holder(self.me).ok_or(Refusal::NotAHolder { raft_id: self.me })?;
        let hpke = HpkePublicKey::from_bytes(&request.hpke_key).map_err(|_| Refusal::Malformed)?;
        let nonce = request.nonce.as_slice().try_into().map_err(|_| Refusal::Malformed)?;
        let parties = Parties { asker, giver: self.me };
        let message = ask_message(self.domain, epoch.number, parties, nonce, hpke.as_bytes());
        verification_key.verify(&message, &request.signature).map_err(|_| Refusal::Proof)?;
        Ok(Release {
            domain: self.domain,
            epoch: epoch.number,
            parties,
            hpke,
            info: labels::answer_info(&message),
            own_key: own.verification_key,
        })
    }

    fn spend(&mut self, asker: RaftId, nonce: &[u8], now_ms: u64) -> Result<(), Refusal> {
        let open = self.nonces.get_mut(&asker).ok_or(Refusal::Nonce)?;
        let at = open.iter().position(|open| open.nonce == nonce).ok_or(Refusal::Nonce)?;
        let spent = open.remove(at);
        if now_ms.saturating_sub(spent.made_ms) < NONCE_GOOD_MS {
            Ok(())
        } else {
            Err(Refusal::Nonce)
        }
    }

    fn other_holder(&self, asker: RaftId, epoch: &ShareEpoch) -> Result<VerifyingKey, Refusal> {
        let holder = epoch.holder(asker).filter(|_| asker != self.me);
        Ok(holder.ok_or(Refusal::NotAHolder { raft_id: asker })?.verification_key)
    }
}

/// A request that was found good: to be committed as a txn, then answered.
#[derive(Debug)]
pub struct Release {
    domain: DomainId,
    epoch: EpochNumber,
    parties: Parties,
    hpke: HpkePublicKey,
    info: Vec<u8>,
    own_key: VerifyingKey,
}

impl Release {
    /// Who asked whom: what the audit entry names.
    pub fn parties(&self) -> Parties {
        self.parties
    }

    /// Of which epoch.
    pub fn epoch(&self) -> EpochNumber {
        self.epoch
    }

    /// The answer, with the giver's own share. Only after the release is committed.
    ///
    /// # Errors
    /// [`Refusal::OwnShare`] if `own` is not the giver's share of that epoch (the epoch has changed
    /// meanwhile), [`Refusal::Malformed`] if the asker's key is a weak one.
    pub fn answer(
        self,
        own: &Share,
        entropy: &mut dyn Entropy,
    ) -> Result<ReleaseShareResponse, Refusal> {
        let key = labels::share_signing_key(&own.y, self.domain, self.epoch, own.x);
        if key.verifying_key() != self.own_key {
            return Err(Refusal::OwnShare);
        }
        let encrypted = hpke::hpke_seal(&self.hpke, &self.info, &[], own.y.expose(), entropy)
            .map_err(|_| Refusal::Malformed)?;
        Ok(ReleaseShareResponse { epoch: self.epoch.0, encrypted })
    }
}

fn ask_message(
    domain: DomainId,
    epoch: EpochNumber,
    parties: Parties,
    nonce: &Nonce,
    hpke_key: &[u8; 32],
) -> Vec<u8> {
    let (asker, giver) = (parties.asker.bytes(), parties.giver.bytes());
    labels::ask_message([ROLE, &domain.0, &epoch.bytes(), &asker, &giver, nonce, hpke_key])
}

/// Why a share is not released.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not a member with a share, or the giver itself.
    #[error("the node with Raft id {raft_id} holds no share that another could ask with")]
    NotAHolder {
        /// Who.
        raft_id: RaftId,
    },
    /// The nonce was never given, is spent or too old.
    #[error("the nonce is spent or too old; ask for a new one")]
    Nonce,
    /// Asker and giver have not applied the same epoch yet.
    #[error(
        "asked for share epoch {asked}, which does not count here, where {newest} is the newest; wait until both nodes have caught up"
    )]
    OtherEpoch {
        /// What the asker has.
        asked: EpochNumber,
        /// The newest that is committed here.
        newest: EpochNumber,
    },
    /// A field is out of shape.
    #[error("the request for a share is malformed")]
    Malformed,
    /// Not signed with the asker's share, or over something else.
    #[error("the asker has not shown that it has unwrapped its own share")]
    Proof,
    /// The giver has no share of that epoch to give.
    #[error("this node's own share is of another epoch by now; ask again")]
    OwnShare,
}

/// Why an answer is no share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnswerRefused {
    /// The epoch changed meanwhile.
    #[error("the share that came is of another epoch; ask again")]
    OtherEpoch,
    /// Not an answer to this request.
    #[error("the answer does not belong to this request")]
    NotAuthentic,
    /// Not what was dealt to the giver.
    #[error("the share that came is not the giver's; look at that node")]
    WrongShare,
}

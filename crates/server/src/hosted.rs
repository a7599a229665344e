//! The domain a node hosts: its replica, its seal, and, while it is open, its keyring.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use conclave_kms::{Cache, DomainInfo};
use conclave_proto::record::{Admissions, Domain, Members};
use conclave_replica::Replica;
use conclave_seal::exchange::Giver;
use conclave_seal::keyring::KeyringError;
use conclave_seal::{
    DomainId, Keyring, NodeSeal, OperatorKeyRecord, RaftId, SealState, ShareEpochs,
};
use conclave_store::{Kind, RecordId, View};
use prost::Message;
use tokio::sync::Notify;

use crate::config::Config;
use crate::folder::DomainFolder;
use crate::resealing::Progress;
use crate::token::Token;

/// Unknown names that are remembered at once.
const STRANGERS_MAX: usize = 64;

/// One domain on this node.
pub(crate) struct Hosted {
    pub(crate) folder: DomainFolder,
    pub(crate) name: String,
    pub(crate) region: String,
    /// How many keys the domain may have, as far as this node makes them.
    pub(crate) keys_max: u32,
    pub(crate) replica: Replica,
    /// The node's HSM, if it is configured with one.
    pub(crate) token: Option<Token>,
    pub(crate) cache: Cache,
    /// Something has happened that members' shares may have been waiting for.
    pub(crate) news: Arc<Notify>,
    /// How far this node, while it leads, is with sealing records again.
    pub(crate) resealing: Progress,
    giver: Mutex<Giver>,
    seal: Mutex<NodeSeal>,
    keyring: RwLock<Option<Keyring>>,
    info: RwLock<Option<Arc<DomainInfo>>>,
    /// Why the node is not open, for people.
    detail: Mutex<String>,
    strangers: Mutex<BTreeMap<String, bool>>,
    barred: Option<String>,
}

impl Hosted {
    pub(crate) fn new(
        folder: DomainFolder,
        name: String,
        config: &Config,
        replica: Replica,
        seal: NodeSeal,
        token: Option<Token>,
        barred: Option<String>,
    ) -> Self {
        let giver = Giver::new(DomainId(folder.domain_id), RaftId(folder.raft_id));
        Self {
            folder,
            name,
            region: config.region.clone(),
            keys_max: config.limits.keys,
            replica,
            token,
            cache: Cache::default(),
            news: Arc::default(),
            resealing: Progress::default(),
            giver: Mutex::new(giver),
            seal: Mutex::new(seal),
            keyring: RwLock::new(None),
            info: RwLock::new(None),
            detail: Mutex::default(),
            strangers: Mutex::default(),
            barred,
        }
    }

    pub(crate) fn domain_id(&self) -> DomainId {
        DomainId(self.folder.domain_id)
    }

    pub(crate) fn raft_id(&self) -> RaftId {
        RaftId(self.folder.raft_id)
    }

    /// The node's own share and its way to the root key.
    pub(crate) fn seal(&self) -> MutexGuard<'_, NodeSeal> {
        self.seal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The nonces this node has given out.
    pub(crate) fn giver(&self) -> MutexGuard<'_, Giver> {
        self.giver.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// sealed, share-ready or open. Open only once the keyring is in place.
    pub(crate) fn state(&self) -> SealState {
        if self.is_open() {
            return SealState::Open;
        }
        match self.seal().state() {
            SealState::Open => SealState::ShareReady,
            state => state,
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.keyring.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Why this node must stay sealed whatever it is given, if it must: a self-test failed. Whoever
    /// unwraps a share or takes a key asks first.
    pub(crate) fn barred(&self) -> Option<&str> {
        self.barred.as_deref()
    }

    /// Lends the keyring, if the node is open. It cannot be kept, so sealing wipes it.
    pub(crate) fn with_keyring<T>(&self, use_it: impl FnOnce(Option<&Keyring>) -> T) -> T {
        use_it(self.keyring.read().unwrap_or_else(PoisonError::into_inner).as_ref())
    }

    /// Changes the keyring in place, if the node is open.
    pub(crate) fn with_keyring_mut<T>(&self, use_it: impl FnOnce(Option<&mut Keyring>) -> T) -> T {
        use_it(self.keyring.write().unwrap_or_else(PoisonError::into_inner).as_mut())
    }

    /// Reads the keyring anew if a record that it was read from has changed, and says whether that
    /// made another one.
    ///
    /// # Errors
    /// If those records cannot be read with the root key that this node holds.
    pub(crate) fn refresh_keyring(&self) -> Result<bool, KeyringError> {
        let next = self.with_keyring(|keyring| match keyring {
            Some(keyring) => keyring.refreshed(&self.replica.view()),
            None => Ok(None),
        })?;
        let Some(next) = next else { return Ok(false) };
        self.with_keyring_mut(|keyring| {
            if let Some(keyring) = keyring {
                *keyring = next;
            }
        });
        Ok(true)
    }

    /// Puts the keyring in place: the node is open. Unless it was sealed while it opened.
    pub(crate) fn open(&self, keyring: Keyring) -> bool {
        let seal = self.seal();
        let still = seal.state() == SealState::Open && self.barred.is_none();
        if still {
            let mut held = self.keyring.write().unwrap_or_else(PoisonError::into_inner);
            // Two root keys may come at once, and the older one last.
            if held.as_ref().is_none_or(|held| held.root_epoch() <= keyring.root_epoch()) {
                *held = Some(keyring);
            }
        }
        drop(seal);
        if still {
            self.set_detail("");
        }
        still
    }

    /// Wipes the keyring and everything opened with it.
    pub(crate) fn drop_keyring(&self) {
        *self.keyring.write().unwrap_or_else(PoisonError::into_inner) = None;
        self.cache.clear();
    }

    /// Wipes every key and the own share: the node is sealed.
    pub(crate) fn wipe(&self) {
        self.seal().seal_now();
        self.drop_keyring();
    }

    /// As [`Hosted::wipe`], until an operator ends it.
    pub(crate) fn wipe_by_order(&self) {
        self.seal().seal_by_order();
        self.drop_keyring();
    }

    /// A public singleton record as applied here.
    pub(crate) fn public<M: Message + Default>(&self, kind: Kind) -> Option<M> {
        debug_assert!(kind.is_public());
        let blob = self.replica.view().blob(&RecordId::singleton(kind)).ok()??;
        M::decode(blob.as_ref()).ok()
    }

    /// Whether the record is there, readable or not.
    fn has(&self, kind: Kind) -> bool {
        self.replica.view().digest(&RecordId::singleton(kind)).is_some()
    }

    /// The share epochs as applied here.
    pub(crate) fn share_epochs(&self) -> Option<ShareEpochs> {
        let id = RecordId::singleton(Kind::ShareEpoch);
        let blob = self.replica.view().blob(&id).ok()??;
        ShareEpochs::parse(&blob).ok()
    }

    /// The operator key's public record as applied here.
    pub(crate) fn operator_key(&self) -> Option<OperatorKeyRecord> {
        let id = RecordId::singleton(Kind::OperatorKey);
        let blob = self.replica.view().blob(&id).ok()??;
        OperatorKeyRecord::parse(&blob).ok()
    }

    /// The members as applied here; none before the domain is founded.
    pub(crate) fn members(&self) -> Option<Members> {
        self.public(Kind::Members)
    }

    /// Whether this node leads a recovered domain and has yet to become its only member.
    pub(crate) fn awaits_members(&self) -> bool {
        let is_me = |member: &conclave_proto::record::Member| member.raft_id == self.raft_id().0;
        self.folder.recovered.is_some()
            && self.members().is_some_and(|members| !members.members.iter().any(is_me))
    }

    /// Nodes admitted but not yet members.
    pub(crate) fn admissions(&self) -> Admissions {
        self.public(Kind::Admissions).unwrap_or_default()
    }

    /// The domain's name and account, once it is founded.
    pub(crate) fn info(&self) -> Option<Arc<DomainInfo>> {
        if let Some(info) = &*self.info.read().unwrap_or_else(PoisonError::into_inner) {
            return Some(Arc::clone(info));
        }
        let domain: Domain = self.public(Kind::Domain)?;
        let info = Arc::new(DomainInfo { name: domain.name, account: domain.account });
        *self.info.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&info));
        Some(info)
    }

    /// The domain's name, or empty before it is founded.
    pub(crate) fn domain_name(&self) -> String {
        self.info().map(|info| info.name.clone()).unwrap_or_default()
    }

    /// Whether the replica has applied the txn that founds the domain.
    pub(crate) fn is_founded(&self) -> bool {
        self.has(Kind::Domain)
    }

    pub(crate) fn set_detail(&self, detail: impl Into<String>) {
        *self.detail.lock().unwrap_or_else(PoisonError::into_inner) = detail.into();
    }

    pub(crate) fn detail(&self) -> String {
        if let Some(reason) = &self.barred {
            return reason.clone();
        }
        self.detail.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a node of that name is a member or admitted, as applied here. Before the first
    /// members are known here every node of the cluster may call: founding needs it, and a learner
    /// hears of the members from the leader.
    pub(crate) fn knows(&self, name: &str) -> bool {
        let Some(members) = self.members() else { return !self.has(Kind::Members) };
        members.members.iter().any(|member| member.name == name)
            || self.admissions().admissions.iter().any(|admission| {
                admission.member.as_ref().is_some_and(|member| member.name == name)
            })
    }

    /// Whether the caller of a peer call, by the name in its certificate, may speak to this domain.
    /// A node that was away does not know who joined meanwhile, and one of them may lead: such a
    /// name is noted, and the keeper asks the members it knows to vouch for it.
    pub(crate) fn may_call(&self, name: &str) -> bool {
        if self.knows(name) {
            return true;
        }
        let mut strangers = self.strangers();
        if strangers.len() >= STRANGERS_MAX && !strangers.contains_key(name) {
            return false;
        }
        *strangers.entry(name.to_owned()).or_insert(false)
    }

    /// Names that called and are not known here, and whether a majority of the members vouched.
    pub(crate) fn strangers(&self) -> MutexGuard<'_, BTreeMap<String, bool>> {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

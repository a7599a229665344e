//! One node: what it is, and the domain it hosts, if any yet.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use axum::Router;
use conclave_crypto::HpkePrivateKey;
use conclave_crypto::self_test::SelfTestFailed;
use conclave_pki::ClusterName;
use conclave_replica::log::Room;
use conclave_replica::{Replica, ReplicaConfig, Standing};
use conclave_seal::{DomainId, NodeSeal, RaftId, SealKind, WrappedShare};
use tokio::sync::{mpsc, watch};
use tonic::Status;
use tracing::{error, info, warn};

use crate::certificates::Certificates;
use crate::config::Config;
use crate::counters::{ListenerCounters, RequestCounters};
use crate::dialer::Dialer;
use crate::drain::Admission;
use crate::error::StartError;
use crate::folder::{DomainFolder, Folder};
use crate::hosted::Hosted;
use crate::listener::App;
use crate::meta::unavailable;
use crate::pending::{PendingInit, PendingOperators};
use crate::throttle::Throttle;
use crate::token::Token;

/// What a node sets going when it takes up a domain; given by whoever stands above both.
#[derive(Clone, Copy)]
pub(crate) struct Attachments {
    /// The routes of the peer listener, with and without a domain.
    pub(crate) peer_router: fn(&Arc<Node>, Option<&Arc<Hosted>>) -> Router,
    /// Starts the loop that keeps a domain.
    pub(crate) keeper: fn(&Arc<Node>, &Arc<Hosted>, watch::Receiver<bool>),
}

/// A node and everything its listeners share.
pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) name: String,
    pub(crate) cluster: ClusterName,
    pub(crate) dialer: Dialer,
    pub(crate) enrolment: HpkePrivateKey,
    pub(crate) api_counters: Arc<ListenerCounters>,
    pub(crate) peer_counters: Arc<ListenerCounters>,
    pub(crate) request_counters: RequestCounters,
    /// Whether clients are served.
    pub(crate) admission: Admission,
    /// How fast each principal may go on.
    pub(crate) throttle: Throttle,
    /// How often each may be refused an unsealing.
    pub(crate) unseals: Throttle,
    /// Shares dealt for a founding that the operators have not yet confirmed.
    pub(crate) pending_init: Mutex<Option<PendingInit>>,
    /// New operator shares that the operators have not yet confirmed.
    pub(crate) pending_operators: Mutex<Option<PendingOperators>>,
    /// Taking up or giving up a domain, one at a time.
    pub(crate) entering: tokio::sync::Mutex<()>,
    /// Founding, admission and changes of members, one at a time.
    pub(crate) changing: tokio::sync::Mutex<()>,
    pub(crate) certificates: Arc<Certificates>,
    /// Why no key may come into this process, if none may.
    pub(crate) barred: Option<String>,
    folder: Folder,
    hosted: RwLock<Option<Arc<Hosted>>>,
    peer_router: RwLock<Router>,
    attachments: Attachments,
    stop: watch::Receiver<bool>,
    failed: mpsc::Sender<String>,
}

impl Node {
    /// Opens the data folder and takes up the domain in it, if there is one.
    pub(crate) async fn start(
        config: Config,
        certificates: Arc<Certificates>,
        tested: Result<(), SelfTestFailed>,
        attachments: Attachments,
        stop: watch::Receiver<bool>,
        failed: mpsc::Sender<String>,
    ) -> Result<Arc<Self>, StartError> {
        let identity = certificates.in_force().material.identity().clone();
        let name = identity.name().to_owned();
        let cluster = identity.cluster().clone();
        let folder = Folder::open(&config.data_dir)?;
        let domain = folder.domain()?;
        let enrolment = folder.enrolment()?;
        let limits = config.limits;
        let node = Arc::new(Self {
            dialer: Dialer::new(Arc::clone(&certificates), cluster.clone()),
            config,
            name,
            cluster,
            enrolment,
            api_counters: Arc::default(),
            peer_counters: Arc::default(),
            request_counters: RequestCounters::default(),
            admission: Admission::default(),
            throttle: Throttle::new(limits.requests_per_second, limits.burst),
            unseals: Throttle::for_unsealing(),
            pending_init: Mutex::default(),
            pending_operators: Mutex::default(),
            entering: tokio::sync::Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            certificates,
            barred: tested.err().map(|failed| failed.to_string()),
            folder,
            hosted: RwLock::new(None),
            peer_router: RwLock::new(Router::new()),
            attachments,
            stop,
            failed,
        });
        node.set_peer_router(None);
        if let Some(domain) = domain {
            node.host(domain).await?;
        }
        Ok(node)
    }

    /// The domain this node hosts, if any.
    pub(crate) fn hosted(&self) -> Option<Arc<Hosted>> {
        self.hosted.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The domain this node hosts, or a status that says what to do.
    pub(crate) fn require_hosted(&self) -> Result<Arc<Hosted>, Status> {
        self.hosted().ok_or_else(|| {
            unavailable(
                "this node belongs to no domain yet: found one with `conclave operator init`, or admit the node with `conclave node add`",
            )
        })
    }

    /// Makes the folder of a domain this node was founded into or admitted to, and starts it.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        domain_id: [u8; 16],
        raft_id: u64,
    ) -> Result<Arc<Hosted>, StartError> {
        let folder = self.folder.create_domain(domain_id, raft_id, &self.name)?;
        self.host(folder).await
    }

    /// Stops and removes a domain that this node never became a member of.
    pub(crate) async fn leave_unfounded(self: &Arc<Self>) -> Result<(), StartError> {
        let hosted = self.hosted.write().unwrap_or_else(PoisonError::into_inner).take();
        self.set_peer_router(None);
        if let Some(hosted) = hosted {
            warn!(domain = %hex::encode(hosted.folder.domain_id), "giving up an unfinished founding or admission");
            hosted.replica.shutdown().await;
            self.folder.remove_domain(&hosted.folder)?;
        }
        Ok(())
    }

    async fn host(self: &Arc<Self>, folder: DomainFolder) -> Result<Arc<Hosted>, StartError> {
        folder.check_made_for(&self.name)?;
        let raft = self.config.raft;
        let mut config = ReplicaConfig::new(
            &folder.path,
            self.cluster.as_ref(),
            folder.domain_id,
            folder.raft_id,
            self.name.as_str(),
        );
        config.snapshot_every = raft.snapshot_entries;
        config.heartbeat_ms = raft.heartbeat_ms;
        config.election_min_ms = raft.election_ms_min;
        config.election_max_ms = raft.election_ms_max;
        let replica = Replica::start(config, Arc::new(self.dialer.clone())).await?;
        let mut shares = Vec::new();
        for (_, bytes) in folder.shares()? {
            shares.push(WrappedShare::parse(&bytes)?);
        }
        let seal = NodeSeal::new(
            DomainId(folder.domain_id),
            RaftId(folder.raft_id),
            self.name.clone(),
            shares,
        );
        info!(domain = %hex::encode(folder.domain_id), raft_id = folder.raft_id, "hosting a domain, sealed");
        let token = self.config.seal.pkcs11.clone().map(|settings| {
            let (domain, raft_id) = (DomainId(folder.domain_id), RaftId(folder.raft_id));
            Token::start(settings, domain, raft_id, self.name.clone())
        });
        let hosted = Arc::new(Hosted::new(
            folder,
            self.name.clone(),
            &self.config,
            replica,
            seal,
            token,
            self.barred.clone(),
        ));
        *self.hosted.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&hosted));
        self.set_peer_router(Some(&hosted));
        tokio::spawn(watch_replica(Arc::downgrade(self), Arc::clone(&hosted)));
        (self.attachments.keeper)(self, &hosted, self.stop.clone());
        Ok(hosted)
    }

    fn set_peer_router(self: &Arc<Self>, hosted: Option<&Arc<Hosted>>) {
        let router = (self.attachments.peer_router)(self, hosted);
        *self.peer_router.write().unwrap_or_else(PoisonError::into_inner) = router;
    }

    /// The routes of the peer listener as they are now.
    pub(crate) fn peer_router(&self) -> Router {
        self.peer_router.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What this node wraps shares with from now on.
    pub(crate) fn seal_kind(&self) -> SealKind {
        self.config.seal.kind
    }

    /// Why this node cannot serve clients, if it cannot.
    pub(crate) fn not_ready(&self) -> Option<String> {
        let Some(hosted) = self.hosted() else {
            return Some("not a member of any domain".to_owned());
        };
        if let Some(why) = self.admission.refuses() {
            return Some(why.to_owned());
        }
        if !hosted.is_open() {
            return Some(format!("{}: {}", hosted.state().as_str(), hosted.detail()));
        }
        let standing = hosted.replica.standing();
        if standing != Standing::Proven {
            return Some(standing.to_string());
        }
        let replica = hosted.replica.status();
        if replica.log_room == Room::Exhausted {
            return Some("the disk is full".to_owned());
        }
        if replica.leader.is_none() {
            return Some("no leader".to_owned());
        }
        None
    }

    /// Drops the keys and shares that were dealt and not committed.
    pub(crate) fn forget_prepared(&self) {
        *self.pending_init.lock().unwrap_or_else(PoisonError::into_inner) = None;
        *self.pending_operators.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Ends the replica in order, then the connection to the HSM; gives whether no call to it is
    /// under way any more.
    pub(crate) async fn shutdown(&self) -> bool {
        let hosted = self.hosted.write().unwrap_or_else(PoisonError::into_inner).take();
        let mut hsm_let_go = true;
        if let Some(hosted) = hosted {
            hosted.wipe();
            hosted.replica.shutdown().await;
            if let Some(token) = &hosted.token {
                hsm_let_go = token.stop().await;
            }
        }
        info!(requests = self.api_counters.requests_read.load(Ordering::Relaxed), "stopped");
        hsm_let_go
    }
}

/// A replica that stopped by itself, as on a disk that failed, ends the process: what went wrong
/// must not be served over.
async fn watch_replica(node: Weak<Node>, hosted: Arc<Hosted>) {
    let reason = hosted.replica.stopped().await;
    let Some(node) = node.upgrade() else { return };
    let is_current = node.hosted().is_some_and(|current| Arc::ptr_eq(&current, &hosted));
    if is_current && !*node.stop.borrow() {
        error!(reason, "the replica stopped");
        // Somebody else's failure may have been reported first.
        let _ = node.failed.try_send(reason);
    }
}

/// The api listener's routes: they never change.
pub(crate) struct ApiApp(pub(crate) Router);

impl App for ApiApp {
    fn router(&self) -> Router {
        self.0.clone()
    }
}

/// The peer listener's routes: more of them once the node hosts a domain.
pub(crate) struct PeerApp(pub(crate) Arc<Node>);

impl App for PeerApp {
    fn router(&self) -> Router {
        self.0.peer_router()
    }
}

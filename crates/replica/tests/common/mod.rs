//! A cluster in one process: real replicas over real files, and real gRPC over loopback sockets
//! whose links can be cut one by one.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test file uses its own part of the harness"
)]

pub mod links;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use conclave_proto::audit::{SealedEntry, Step};
use conclave_replica::{Decided, PeerNode, ProposeError, Replica, ReplicaConfig};
use conclave_store::{Kind, RecordId, Revision, Touch, TxnBody, Write};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use self::links::Links;

pub const DOMAIN: [u8; 16] = [0xd0; 16];
/// Generous: the machine may be busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub type Tweak = fn(&mut ReplicaConfig);

pub struct Node {
    pub replica: Replica,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
}

pub struct Cluster {
    dir: tempfile::TempDir,
    pub links: Arc<Links>,
    pub nodes: BTreeMap<u64, Node>,
    addresses: BTreeMap<u64, SocketAddr>,
    tweak: Tweak,
}

impl Cluster {
    /// Nodes 1 to `count`, all of them voters, with a leader.
    pub async fn founded(count: u64, tweak: Tweak) -> Cluster {
        let mut cluster = Cluster::empty(tweak);
        for id in 1..=count {
            cluster.start(id).await;
        }
        let members = (1..=count).map(|id| (id, cluster.peer(id))).collect();
        cluster.node(1).initialize(members).await.unwrap();
        cluster.leader().await;
        cluster
    }

    pub fn empty(tweak: Tweak) -> Cluster {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
        let dir = tempfile::tempdir().unwrap();
        let (links, nodes, addresses) = Default::default();
        Cluster { dir, links, nodes, addresses, tweak }
    }

    pub fn data_dir(&self, id: u64) -> PathBuf {
        self.dir.path().join(format!("node-{id}"))
    }

    /// Starts a node, new or as its disk has it.
    pub async fn start(&mut self, id: u64) {
        let address = self.addresses.get(&id).copied();
        let address = address.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
        let listener =
            eventually("the port is free", async || TcpListener::bind(address).await.ok()).await;
        self.addresses.insert(id, listener.local_addr().unwrap());
        let dir = self.data_dir(id);
        // A log closes a moment after its replica was shut down.
        let replica = eventually("the node starts", async || {
            let config = self.config(id, &dir);
            let dialer = self.links.dialer(id);
            Replica::start(config, dialer)
                .await
                .inspect_err(|error| tracing::info!(%error, id, "not yet"))
                .ok()
        })
        .await;
        let (stop, stopped) = oneshot::channel::<()>();
        let incoming =
            tonic::transport::server::TcpIncoming::from(listener).with_nodelay(Some(true));
        let server = tonic::transport::Server::builder()
            .add_service(replica.services())
            .serve_with_incoming_shutdown(incoming, async move { drop(stopped.await) });
        let server = tokio::spawn(async move { server.await.unwrap() });
        self.nodes.insert(id, Node { replica, stop: Some(stop), server });
    }

    pub fn config(&self, id: u64, dir: &Path) -> ReplicaConfig {
        let mut config = ReplicaConfig::new(dir, "test", DOMAIN, id, format!("node-{id}"));
        (self.tweak)(&mut config);
        config
    }

    /// Takes a node off the network, then stops it.
    pub async fn stop(&mut self, id: u64) {
        let mut node = self.nodes.remove(&id).unwrap();
        self.links.isolate(id, true);
        node.replica.shutdown().await;
        drop(node.stop.take());
        if tokio::time::timeout(Duration::from_secs(1), &mut node.server).await.is_err() {
            node.server.abort();
        }
        self.links.isolate(id, false);
    }

    pub fn node(&self, id: u64) -> &Replica {
        &self.nodes[&id].replica
    }

    pub fn peer(&self, id: u64) -> PeerNode {
        PeerNode { name: format!("node-{id}"), peer: self.addresses[&id].to_string() }
    }

    /// The leader that a majority of the running nodes agree on.
    pub async fn leader(&self) -> u64 {
        eventually("there is a leader", async || {
            let mut votes = BTreeMap::<u64, usize>::new();
            for node in self.nodes.values() {
                if let Some(leader) = node.replica.status().leader {
                    *votes.entry(leader).or_default() += 1;
                }
            }
            let (leader, count) = votes.into_iter().max_by_key(|(_, count)| *count)?;
            (count * 2 > self.nodes.len() && self.nodes.contains_key(&leader)).then_some(leader)
        })
        .await
    }

    /// Commits a txn that writes one record, through node `via`, trying again while it conflicts.
    pub async fn commit(&self, via: u64, number: u64) -> Revision {
        commit(self.node(via), number).await
    }

    /// Waits until all running nodes have applied the same, and checks that it is the same.
    pub async fn converge(&self) -> (u64, [u8; 32]) {
        eventually("all nodes have applied the same", async || {
            let statuses: Vec<_> = self.nodes.values().map(|node| node.replica.status()).collect();
            let last = statuses.iter().filter_map(|status| status.last_log_index).max()?;
            statuses.iter().all(|status| status.applied_index == last).then_some(())
        })
        .await;
        let ends: Vec<_> = self
            .nodes
            .values()
            .map(|node| {
                let status = node.replica.status();
                (status.audit_size, status.audit_head, node.replica.state_digest())
            })
            .collect();
        assert!(ends.windows(2).all(|two| two[0] == two[1]), "replicas differ: {ends:?}");
        (ends[0].0, ends[0].1)
    }
}

/// Tries until there is a value; panics when patience ends.
pub async fn eventually<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn soon() -> Instant {
    Instant::now() + PATIENCE
}

pub fn record(number: u64) -> RecordId {
    RecordId::numbered(Kind::Key, number)
}

/// An audit entry that names `number`.
pub fn sealed(number: u64) -> SealedEntry {
    let mut commitment = vec![0; 32];
    commitment[..8].copy_from_slice(&number.to_be_bytes());
    SealedEntry { key: 1, commitment, sealed: vec![0xa5; 100] }
}

pub fn body(number: u64, now_ms: u64) -> TxnBody {
    // Under one of three parents, now this and now that, and used: all of it has to survive snapshots
    // and starts, and to be the same on every node, as checkpoints will tell.
    let (record, parent) = (record(number % 500), RecordId::numbered(Kind::Alias, number % 3));
    let write = Write::put(record, number.to_be_bytes().repeat(16)).under(parent);
    let touches = vec![Touch { record, operation: number as u32 }];
    TxnBody { writes: vec![write], touches, ..TxnBody::new(now_ms, sealed(number)) }
}

pub async fn commit(node: &Replica, number: u64) -> Revision {
    loop {
        match try_commit(node, number).await {
            Ok(Decided::Committed(revision)) => return revision,
            Ok(Decided::Conflict { .. }) | Err(ProposeError::Overloaded) => {}
            other => panic!("txn {number}: {other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Once, with the time that the node knows; a first txn brings the first stamp.
pub async fn try_commit(node: &Replica, number: u64) -> Result<Decided, ProposeError> {
    let now_ms = node.now_ms().unwrap_or_else(|| node.own_clock_ms());
    node.propose(body(number, now_ms), soon()).await
}

/// All audit steps of a node, read from its disk.
pub fn all_steps(node: &Replica) -> Vec<Step> {
    let size = node.status().audit_size;
    let mut steps = Vec::new();
    while (steps.len() as u64) < size {
        steps.extend(node.steps(steps.len() as u64, size).unwrap());
    }
    let mut hash = conclave_audit::Head::genesis(&DOMAIN).hash;
    for (index, step) in (0..).zip(&steps) {
        hash = conclave_audit::check_step(&hash, index, step).unwrap();
    }
    assert_eq!(hash, node.status().audit_head);
    steps
}

/// The number that the step's entry names.
pub fn number_of(step: &Step) -> u64 {
    let commitment = &step.entry.as_ref().unwrap().commitment;
    u64::from_be_bytes(commitment[..8].try_into().unwrap())
}

//! Reaching the other members: one lazy connection per peer, and the metadata every call carries.
//!
//! How a connection is made (mutual TLS, in production) is the server's business; it hands in a
//! [`PeerDialer`]. Each call names cluster, domain and the target's Raft id, so that a node that
//! took over an address, or fell back to an older disk, refuses what was not meant for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use conclave_proto::peer::replication_client::ReplicationClient;
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::config::ReplicaConfig;
use crate::types::{PeerNode, RaftId};

/// Largest message between nodes: an AppendEntries holds at most [`crate::network::APPEND_BYTES`]
/// and one entry more.
pub const MESSAGE_BYTES_MAX: usize = 8 << 20;
/// Connections kept; a domain has fewer members, and their addresses change seldom.
const CHANNELS_MAX: usize = 256;

const CLUSTER: &str = "conclave-cluster";
const DOMAIN: &str = "conclave-domain";
const RAFT_ID: &str = "conclave-raft-id";

/// Makes connections to peers.
pub trait PeerDialer: Send + Sync + 'static {
    /// A connection to the node called `name` at `addr` (host:port) that is opened when first used
    /// and again after it broke.
    fn dial(&self, name: &str, addr: &str) -> Channel;
}

pub(crate) type PeerClient = ReplicationClient<InterceptedService<Channel, Addressed>>;

/// The connections of one replica.
pub(crate) struct Peers {
    dialer: Arc<dyn PeerDialer>,
    identity: Identity,
    /// By name and address.
    channels: Mutex<HashMap<(String, String), Channel>>,
}

impl Peers {
    pub(crate) fn new(config: &ReplicaConfig, dialer: Arc<dyn PeerDialer>) -> Self {
        Self {
            dialer,
            identity: Identity::new(&config.cluster, config.domain_id),
            channels: Mutex::default(),
        }
    }

    /// A client of `target`'s replication service.
    pub(crate) fn client(&self, target: RaftId, node: &PeerNode) -> Result<PeerClient, Status> {
        let addressed = self.identity.addressed_to(target)?;
        Ok(ReplicationClient::with_interceptor(self.channel(node), addressed)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX))
    }

    fn channel(&self, node: &PeerNode) -> Channel {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (node.name.clone(), node.peer.clone());
        if let Some(channel) = channels.get(&key) {
            return channel.clone();
        }
        if channels.len() >= CHANNELS_MAX {
            channels.clear();
        }
        let channel = self.dialer.dial(&node.name, &node.peer);
        channels.insert(key, channel.clone());
        channel
    }
}

/// What a call must say to be heard by a replica.
#[derive(Clone)]
pub struct Identity {
    cluster: String,
    domain: String,
}

impl Identity {
    /// Of a domain in a cluster.
    pub fn new(cluster: &str, domain_id: [u8; 16]) -> Self {
        let domain = domain_id.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { cluster: cluster.to_owned(), domain }
    }

    /// What puts this on each call to the node with that Raft id.
    pub fn addressed_to(&self, target: RaftId) -> Result<Addressed, Status> {
        let ascii = |text: &str| {
            MetadataValue::try_from(text)
                .map_err(|_| Status::internal("the cluster name is not printable ASCII"))
        };
        Ok(Addressed {
            cluster: ascii(&self.cluster)?,
            domain: ascii(&self.domain)?,
            raft_id: MetadataValue::from(target),
        })
    }

    /// Refuses a call that is not meant for this cluster, domain and Raft id.
    pub fn check(&self, own: RaftId, metadata: &MetadataMap) -> Result<(), Status> {
        let own = own.to_string();
        let expected = [
            ("cluster", CLUSTER, self.cluster.as_str()),
            ("a member of domain", DOMAIN, self.domain.as_str()),
            ("Raft id", RAFT_ID, own.as_str()),
        ];
        for (what, key, value) in expected {
            let got = metadata.get(key).and_then(|got| got.to_str().ok()).unwrap_or("(unnamed)");
            if got != value {
                let message = format!("this node is not {what} {got}");
                return Err(Status::failed_precondition(message));
            }
        }
        Ok(())
    }
}

/// Puts the target's identity on each call.
#[derive(Clone)]
pub struct Addressed {
    cluster: MetadataValue<Ascii>,
    domain: MetadataValue<Ascii>,
    raft_id: MetadataValue<Ascii>,
}

impl Interceptor for Addressed {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        metadata.insert(CLUSTER, self.cluster.clone());
        metadata.insert(DOMAIN, self.domain.clone());
        metadata.insert(RAFT_ID, self.raft_id.clone());
        Ok(request)
    }
}

//! One session after another, to a real replica: what one leaves behind must not be in the next one's
//! way.

use std::sync::Weak;

use futures::stream::{iter, pending};
use openraft::RaftNetworkFactory;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};

use super::*;
use crate::clock::ClusterClock;
use crate::network::Network;
use crate::peers::{PeerDialer, Peers};
use crate::standing::Standings;
use crate::types::{Leader, PeerNode, Vote};
use crate::witness::Witness;
use crate::{Durable, Replica, ReplicaConfig, SystemClock};

/// Ends a wait that would never end.
const LONG: Duration = Duration::from_secs(60);

/// One connection for all sessions, as the dialer of the server keeps one.
struct Dialer(Channel);

impl PeerDialer for Dialer {
    fn dial(&self, _: &str, _: &str) -> Channel {
        self.0.clone()
    }
}

/// Requests that are appended, and then none for ever, as while nothing is proposed. Weak: whether the
/// session still holds them.
fn idle_after(count: u64) -> (impl Stream<Item = Request> + Send + Unpin + 'static, Weak<()>) {
    let held = Arc::new(());
    let weak = Arc::downgrade(&held);
    let request = |_| AppendEntriesRequest {
        vote: Vote { leader_id: Leader { term: 3, node_id: 2 }, committed: true },
        prev_log_id: None,
        entries: Vec::new(),
        leader_commit: None,
    };
    let requests = iter(0..count).map(request).chain(pending());
    let requests = requests.inspect(move |_| drop(Arc::clone(&held)));
    (requests.boxed(), weak)
}

/// Openraft ends a session by dropping its answers: while it waits for the next, since there is nothing
/// to send. All that the session held is given up then, and the next one is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_ends_while_nothing_is_sent_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let config = ReplicaConfig::new(folder.path().join("member"), "test", [7; 16], 1, "member");
    let channel = Endpoint::from_static("http://127.0.0.1:1").connect_lazy();
    let member = Replica::start(config, Arc::new(Dialer(channel))).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder().add_service(member.services());
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));

    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let config = ReplicaConfig::new(folder.path().join("leader"), "test", [7; 16], 2, "leader");
    let mut network = Network {
        peers: Arc::new(Peers::new(&config, Arc::new(Dialer(channel)))),
        clock: Arc::new(ClusterClock::new(Arc::new(SystemClock))),
        witness: Arc::new(Witness::open(folder.path(), 1, Arc::new(Durable::default()))),
        standing: Arc::new(Standings::new()),
    };
    let node = PeerNode { name: "member".to_owned(), peer: address.to_string() };
    let network = network.new_client(1, &node).await;

    // More than may be unanswered at once: a session that held on to its place would be noticed.
    for session in 0..3 * WINDOW {
        let (requests, held) = idle_after(3);
        let mut answers = send(network.clone(), requests, RPCOption::new(LONG)).boxed();
        for number in 0..3 {
            let answer = tokio::time::timeout(LONG, answers.next()).await.unwrap().unwrap();
            assert!(matches!(answer, Ok(Ok(_))), "{session}, {number}: {answer:?}");
        }
        let more = tokio::time::timeout(Duration::from_millis(20), answers.next()).await;
        assert!(more.is_err(), "nothing was sent: {more:?}");
        assert!(held.upgrade().is_some(), "the session goes on");
        drop(answers);
        let given_up = async {
            while held.upgrade().is_some() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let given_up = tokio::time::timeout(LONG, given_up).await;
        assert!(given_up.is_ok(), "session {session} still holds its requests");
    }
    member.shutdown().await;
}

//! The stream of AppendEntries, as a member's other end sees it: order, what ends it, and that who
//! is removed is not heard any more.
#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{Cluster, DOMAIN, eventually};
use conclave_proto::peer::replication_client::ReplicationClient;
use conclave_proto::raft::append_entries_response::Result as Outcome;
use conclave_proto::raft::{AppendEntriesRequest, AppendEntriesResponse, LogId, Vote};
use conclave_replica::{Identity, Replica, Standing, StillAdmitted};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::service::InterceptorLayer;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Request, Status, Streaming};

/// A replica that nobody leads yet, and a stream to it.
struct Stream {
    replica: Replica,
    requests: mpsc::UnboundedSender<AppendEntriesRequest>,
    answers: Streaming<AppendEntriesResponse>,
    admitted: Arc<AtomicBool>,
    _cluster: Cluster,
}

impl Stream {
    async fn open() -> Self {
        let cluster = Cluster::empty(|_| {});
        let config = cluster.config(1, &cluster.data_dir(1));
        let replica = Replica::start(config, cluster.links.dialer(1)).await.unwrap();
        let returned = async || (replica.standing() != Standing::Returning).then_some(());
        eventually("its disk to be compared", returned).await;
        let admitted = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&admitted);
        let guarded = InterceptorLayer::new(move |mut request: Request<()>| {
            let asked = Arc::clone(&asked);
            let check = move || match asked.load(Ordering::Relaxed) {
                true => Ok(()),
                false => Err(Status::permission_denied("removed")),
            };
            request.extensions_mut().insert(StillAdmitted(Arc::new(check)));
            Ok(request)
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = tower::ServiceBuilder::new().layer(guarded).service(replica.services());
        let server = tonic::transport::Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));

        let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}"));
        let channel = channel.unwrap().connect().await.unwrap();
        let addressed = Identity::new("test", DOMAIN).addressed_to(1).unwrap();
        let (requests, receiver) = mpsc::unbounded_channel();
        let answers = ReplicationClient::with_interceptor(channel, addressed)
            .append_stream(UnboundedReceiverStream::new(receiver))
            .await
            .unwrap()
            .into_inner();
        Self { replica, requests, answers, admitted, _cluster: cluster }
    }

    fn send(&self, term: u64, prev: Option<LogId>) {
        let vote = Some(Vote { term, leader: 2, committed: true });
        self.requests.send(AppendEntriesRequest { vote, prev, ..Default::default() }).unwrap();
    }

    async fn next(&mut self) -> Result<Option<Outcome>, Status> {
        let answer = self.answers.message().await?;
        Ok(answer.map(|answer| answer.result.unwrap()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_come_in_order_and_the_first_that_is_no_success_ends_it() {
    let mut stream = Stream::open().await;
    for term in 3..13 {
        stream.send(term, None);
    }
    stream.send(4, None);
    stream.send(20, None);
    for _ in 3..13 {
        assert_eq!(stream.next().await.unwrap(), Some(Outcome::Success(true)));
    }
    let seen = Vote { term: 12, leader: 2, committed: true };
    assert_eq!(stream.next().await.unwrap(), Some(Outcome::HigherVote(seen)));
    assert_eq!(stream.next().await.unwrap(), None);
    stream.replica.shutdown().await;

    let mut stream = Stream::open().await;
    stream.send(3, Some(LogId { term: 2, leader: 2, index: 50 }));
    assert_eq!(stream.next().await.unwrap(), Some(Outcome::Conflict(true)));
    assert_eq!(stream.next().await.unwrap(), None);
    stream.replica.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_removed_is_not_heard_in_a_stream_opened_before() {
    let mut stream = Stream::open().await;
    stream.send(3, None);
    assert_eq!(stream.next().await.unwrap(), Some(Outcome::Success(true)));
    stream.admitted.store(false, Ordering::Relaxed);
    stream.send(9, None);
    assert_eq!(stream.next().await.unwrap_err().code(), Code::PermissionDenied);
    // The status follows the answers, not the other way round.
    let told = async || Some(stream.replica.status().term).filter(|term| *term != 0);
    assert_eq!(eventually("a term to be told", told).await, 3);
    stream.replica.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_is_refused_after_the_answers_to_what_came_before() {
    let mut stream = Stream::open().await;
    stream.send(3, None);
    stream.requests.send(AppendEntriesRequest::default()).unwrap();
    assert_eq!(stream.next().await.unwrap(), Some(Outcome::Success(true)));
    assert_eq!(stream.next().await.unwrap_err().code(), Code::InvalidArgument);
    stream.replica.shutdown().await;
}

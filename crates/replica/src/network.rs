//! What openraft says to the other members, over gRPC.
//!
//! The answering side is `service`. A peer's wall clock comes back with every answer to
//! AppendEntries and is handed to [`ClusterClock`].

use std::future::Future;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use conclave_proto::raft as proto;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{BoxStream, Stream, StreamExt};
use openraft::errors::{RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderError,
    TransferLeaderRequest, TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::{RaftNetworkFactory, RaftNetworkV2};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::append_stream::{self, Appended};
use crate::clock::{ClusterClock, HEARD_MAX};
use crate::codec;
use crate::peers::{PeerClient, Peers};
use crate::snapshot::{Snapshot, SnapshotData};
use crate::standing::Standings;
use crate::types::{LogId, PeerNode, RaftId, Types, Vote};
use crate::witness::Witness;

/// Entries are added to an AppendEntries until it has this many bytes; what remains goes next.
pub(crate) const APPEND_BYTES: usize = 2 << 20;
/// An AppendEntries with entries may take this long: the follower fsyncs before it answers.
const APPEND_TIMEOUT: Duration = Duration::from_secs(3);
/// A vote may take this long: the voter fsyncs before it answers.
const VOTE_TIMEOUT: Duration = Duration::from_millis(500);
/// Bytes of a snapshot in one message.
const SNAPSHOT_CHUNK_BYTES: usize = 256 << 10;
/// Chunks read ahead of the network.
const SNAPSHOT_CHUNKS_AHEAD: usize = 4;

/// Makes a [`PeerNetwork`] per target.
pub(crate) struct Network {
    pub(crate) peers: Arc<Peers>,
    pub(crate) clock: Arc<ClusterClock>,
    pub(crate) witness: Arc<Witness>,
    pub(crate) standing: Arc<Standings>,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = PeerNetwork;

    async fn new_client(&mut self, target: RaftId, node: &PeerNode) -> PeerNetwork {
        PeerNetwork {
            peers: self.peers.clone(),
            clock: self.clock.clone(),
            witness: self.witness.clone(),
            standing: self.standing.clone(),
            target,
            node: node.clone(),
        }
    }
}

/// What is said to one member.
#[derive(Clone)]
pub(crate) struct PeerNetwork {
    peers: Arc<Peers>,
    clock: Arc<ClusterClock>,
    witness: Arc<Witness>,
    standing: Arc<Standings>,
    target: RaftId,
    node: PeerNode,
}

impl PeerNetwork {
    pub(crate) fn client(&self) -> Result<PeerClient, Unreachable<Types>> {
        self.peers.client(self.target, &self.node).map_err(|status| Unreachable::new(&status))
    }

    /// Notes what the target said of its disk. One that went back is as good as unreachable: what
    /// it grants or acknowledges must not count.
    fn hear(&self, held: Option<&proto::Held>) -> Result<(), Unreachable<Types>> {
        self.witness.hear(self.target, held).map_err(|went_back| {
            tracing::error!(peer = self.node.name, error = %went_back, "a peer is not heard");
            Unreachable::new(&went_back)
        })
    }

    /// An AppendEntries that carries these of its entries.
    pub(crate) fn append_message(
        &self,
        rpc: &AppendEntriesRequest<Types>,
        entries: Vec<Bytes>,
    ) -> proto::AppendEntriesRequest {
        proto::AppendEntriesRequest {
            vote: Some(codec::vote_to_proto(&rpc.vote)),
            prev: rpc.prev_log_id.as_ref().map(codec::log_id_to_proto),
            entries,
            committed: rpc.leader_commit.as_ref().map(codec::log_id_to_proto),
            held: Some(self.witness.own()),
        }
    }

    /// Takes from an answer what it says of its sender, and gives back what it says of the request.
    pub(crate) fn hear_append(
        &self,
        answer: proto::AppendEntriesResponse,
    ) -> Result<AppendEntriesResponse<Types>, Unreachable<Types>> {
        self.hear(answer.held.as_ref())?;
        if answer.clock_ms != 0 {
            self.clock.hear(self.target, answer.clock_ms, Instant::now());
        }
        append_response_from_proto(answer).map_err(|error| Unreachable::new(&error))
    }

    async fn vote_or_pre_vote(
        &self,
        rpc: VoteRequest<Types>,
        pre_vote: bool,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let mut client = self.client()?;
        let request = proto::VoteRequest {
            vote: Some(codec::vote_to_proto(&rpc.vote)),
            last_log_id: rpc.last_log_id.as_ref().map(codec::log_id_to_proto),
            pre_vote,
            leader_transfer: rpc.leadership_transfer,
            held: Some(self.witness.own()),
        };
        let timeout = option.hard_ttl().max(VOTE_TIMEOUT);
        let answer = within(timeout, client.vote(request)).await?;
        self.hear(answer.held.as_ref())?;
        let vote = codec::require_vote(answer.vote.as_ref(), "VoteResponse.vote");
        let vote = vote.map_err(|error| Unreachable::new(&error))?;
        if answer.clock_ms != 0 {
            self.clock.hear(self.target, answer.clock_ms, Instant::now());
        }
        let last_log_id = answer.last_log_id.as_ref().map(codec::log_id_from_proto);
        Ok(VoteResponse::new(vote, last_log_id, answer.vote_granted))
    }
}

impl RaftNetworkV2<Types> for PeerNetwork {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let mut client = self.client()?;
        let (entries, sent_to) = encode_within(&rpc, APPEND_BYTES);
        let heartbeat = entries.is_empty();
        let timeout =
            if heartbeat { option.hard_ttl() } else { option.hard_ttl().max(APPEND_TIMEOUT) };
        let request = self.append_message(&rpc, entries);
        let (clock, target) = (self.clock.clone(), self.target);
        let call = async move {
            let answered = client.append_entries(request).await;
            if let Ok(answer) = &answered
                && answer.get_ref().clock_ms != 0
            {
                clock.hear(target, answer.get_ref().clock_ms, Instant::now());
            }
            answered
        };
        let answer = if heartbeat {
            // openraft gives a heartbeat up when the next is due, which on a long way is before it
            // is answered. The clock in the answer is wanted all the same.
            let call = tokio::spawn(tokio::time::timeout(HEARD_MAX, call));
            within(timeout, async { flat(call.await) }).await?
        } else {
            within(timeout, call).await?
        };
        Ok(match (self.hear_append(answer)?, sent_to) {
            (AppendEntriesResponse::Success, Some(sent_to)) => {
                AppendEntriesResponse::PartialSuccess(Some(sent_to))
            }
            (answer, _) => answer,
        })
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Appended>, RPCError<Types>>>
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + Send + Unpin + 'static,
    {
        let answers = append_stream::send(self.clone(), input, option).boxed();
        std::future::ready(Ok(answers)).boxed()
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.vote_or_pre_vote(rpc, false, option).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        self.vote_or_pre_vote(rpc, true, option).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        if !self.standing.is_proven() {
            let unproven = Status::unavailable("this node has yet to prove its own state");
            return Err(Unreachable::new(&unproven).into());
        }
        let mut client = self.client()?;
        let (chunks, receiver) = tokio::sync::mpsc::channel(SNAPSHOT_CHUNKS_AHEAD);
        let start = proto::SnapshotStart {
            vote: Some(codec::vote_to_proto(&vote)),
            meta: Some(codec::snapshot_meta_to_proto(&snapshot.meta)),
            bytes: snapshot.snapshot.bytes(),
            sha256: Bytes::copy_from_slice(&snapshot.snapshot.sha256()),
        };
        tokio::task::spawn_blocking(move || read_chunks(start, snapshot.snapshot, &chunks));
        let call = client.install_snapshot(ReceiverStream::new(receiver));
        let answer = tokio::select! {
            closed = cancel => return Err(closed.into()),
            answer = within(option.hard_ttl(), call) => answer?,
        };
        let vote = codec::require_vote(answer.vote.as_ref(), "SnapshotResponse.vote")
            .map_err(|error| Unreachable::new(&error))?;
        Ok(SnapshotResponse::new(vote))
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let mut client = self.client()?;
        let request = proto::TransferLeaderRequest {
            from: Some(codec::vote_to_proto(req.from_leader())),
            to: *req.to_node_id(),
            last_log_id: req.last_log_id().map(codec::log_id_to_proto),
        };
        let answer =
            within(option.hard_ttl().max(VOTE_TIMEOUT), client.transfer_leader(request)).await?;
        Ok(match answer.higher_vote {
            None => Ok(()),
            Some(actual) => Err(TransferLeaderError::VoteChanged {
                expected: *req.from_leader(),
                actual: codec::vote_from_proto(&actual),
            }),
        })
    }
}

/// What became of a call that was spawned with a time limit.
fn flat<T>(
    ended: Result<Result<Result<T, Status>, tokio::time::error::Elapsed>, tokio::task::JoinError>,
) -> Result<T, Status> {
    match ended {
        Ok(Ok(answered)) => answered,
        Ok(Err(elapsed)) => Err(Status::deadline_exceeded(elapsed.to_string())),
        Err(error) => Err(Status::internal(error.to_string())),
    }
}

/// The answer of a call, or why the peer counts as unreachable. Always so, that openraft backs off:
/// a peer that refuses us refuses the next call too.
async fn within<T>(
    timeout: Duration,
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, Unreachable<Types>> {
    match tokio::time::timeout(timeout, call).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(Unreachable::new(&status)),
        Err(elapsed) => Err(Unreachable::new(&elapsed)),
    }
}

/// The entries encoded, as far as they fit, at least one. If not all did, also the last that did.
pub(crate) fn encode_within(
    rpc: &AppendEntriesRequest<Types>,
    bytes_max: usize,
) -> (Vec<Bytes>, Option<LogId>) {
    let mut encoded = Vec::with_capacity(rpc.entries.len());
    let mut bytes = 0;
    for entry in &rpc.entries {
        if bytes >= bytes_max {
            break;
        }
        let one = Bytes::from(codec::encode_entry(entry));
        bytes += one.len();
        encoded.push(one);
    }
    let cut = encoded.len() < rpc.entries.len();
    let last = rpc.entries.get(encoded.len().wrapping_sub(1)).map(|entry| entry.log_id);
    (encoded, last.filter(|_| cut))
}

fn append_response_from_proto(
    answer: proto::AppendEntriesResponse,
) -> Result<AppendEntriesResponse<Types>, codec::CodecError> {
    use proto::append_entries_response::Result;
    match answer.result {
        Some(Result::Success(_)) => Ok(AppendEntriesResponse::Success),
        Some(Result::PartialSuccess(id)) => {
            Ok(AppendEntriesResponse::PartialSuccess(Some(codec::log_id_from_proto(&id))))
        }
        Some(Result::Conflict(_)) => Ok(AppendEntriesResponse::Conflict),
        Some(Result::HigherVote(vote)) => {
            Ok(AppendEntriesResponse::HigherVote(codec::vote_from_proto(&vote)))
        }
        None => Err(codec::CodecError::Missing { what: "AppendEntriesResponse.result" }),
    }
}

/// Sends the file until its end or until nobody listens. A file that ends early is found by its
/// receiver, which knows length and digest.
fn read_chunks(
    start: proto::SnapshotStart,
    mut data: SnapshotData,
    chunks: &tokio::sync::mpsc::Sender<proto::SnapshotChunk>,
) {
    use proto::snapshot_chunk::Part;
    let send = |part| chunks.blocking_send(proto::SnapshotChunk { part: Some(part) }).is_ok();
    if !send(Part::Start(start)) {
        return;
    }
    if let Err(error) = data.file_mut().seek(SeekFrom::Start(0)) {
        tracing::error!(%error, "the snapshot to send cannot be read");
        return;
    }
    loop {
        let mut chunk = vec![0; SNAPSHOT_CHUNK_BYTES];
        match data.file_mut().read(&mut chunk) {
            Ok(0) => return,
            Ok(read) => {
                chunk.truncate(read);
                if !send(Part::Data(chunk.into())) {
                    return;
                }
            }
            Err(error) => {
                tracing::error!(%error, "the snapshot to send cannot be read");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Command, Entry, Leader, Payload};

    #[test]
    fn a_long_append_is_cut_and_says_where() {
        let entry = |index| Entry {
            log_id: LogId::new(Leader { term: 1, node_id: 1 }, index),
            payload: Payload { command: Some(Command(vec![0; 1000].into())), membership: None },
        };
        let request = AppendEntriesRequest {
            vote: Vote { leader_id: Leader { term: 1, node_id: 1 }, committed: true },
            prev_log_id: None,
            entries: (0..5).map(entry).collect(),
            leader_commit: None,
        };
        let cut_at = |bytes_max| {
            let (encoded, last) = encode_within(&request, bytes_max);
            (encoded.len(), last.map(|id| id.index))
        };
        assert_eq!(cut_at(1), (1, Some(0)));
        assert_eq!(cut_at(2_500), (3, Some(2)));
        assert_eq!(cut_at(10_000), (5, None));
        let heartbeat = AppendEntriesRequest { entries: Vec::new(), ..request.clone() };
        assert_eq!(encode_within(&heartbeat, 10), (Vec::new(), None));
    }
}

//! The answering side of what members say to each other.
//!
//! Each call must name this cluster, domain and Raft id. Who the caller is, by its certificate, the
//! server has checked before a call gets here.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use conclave_proto::audit::Step;
use conclave_proto::peer::replication_server::{Replication, ReplicationServer};
use conclave_proto::peer::{
    AddLearnerRequest, AddLearnerResponse, AttendRequest, AttendResponse, ChangeMembersRequest,
    ChangeMembersResponse, FetchStepsRequest, FetchStepsResponse, NotedRequest, NotedResponse,
    ProposeRequest, ProposeResponse, ReadIndexRequest, ReadIndexResponse, TransferLeaderResponse,
    WitnessRequest, WitnessResponse,
};
use conclave_proto::raft as proto;
use futures::StreamExt;
use openraft::errors::RaftError;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderError, TransferLeaderRequest,
    VoteRequest,
};
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::append_stream::{self, StillAdmitted};
use crate::codec::{self, CodecError};
use crate::core::Core;
use crate::malformed::malformed;
use crate::peers::MESSAGE_BYTES_MAX;
use crate::receive;
use crate::returning;
use crate::segments::SegmentsError;
use crate::types::{Types, Vote};

/// Entries in one AppendEntries that are looked at; a leader sends far fewer.
const ENTRIES_MAX: usize = 4096;
/// Steps are put into one answer until they have this many bytes.
const STEPS_BYTES: usize = 1 << 20;
/// Answers read ahead of the network.
const ANSWERS_AHEAD: usize = 2;

/// The replication service of one replica, for the server's peer listener.
pub struct ReplicationService {
    core: Arc<Core>,
}

impl ReplicationService {
    pub(crate) fn server(core: Arc<Core>) -> ReplicationServer<ReplicationService> {
        ReplicationServer::new(ReplicationService { core })
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// The message, if it is meant for this replica.
    fn open<T>(&self, request: Request<T>) -> Result<T, Status> {
        self.core.identity.check(self.core.own_id(), request.metadata())?;
        Ok(request.into_inner())
    }
}

/// Notes what the sender, who leads or stands under this vote, said of its disk. One that went
/// back is not heard: it may lack what it had acknowledged.
fn hear(core: &Core, vote: Option<&proto::Vote>, held: Option<&proto::Held>) -> Result<(), Status> {
    let Some(vote) = vote else { return Ok(()) };
    core.witness.hear(vote.leader, held).map_err(|went_back| {
        tracing::error!(error = %went_back, "a peer is not heard");
        Status::failed_precondition(went_back.to_string())
    })
}

#[tonic::async_trait]
impl Replication for ReplicationService {
    async fn append_entries(
        &self,
        request: Request<proto::AppendEntriesRequest>,
    ) -> Result<Response<proto::AppendEntriesResponse>, Status> {
        let request = append_from_proto(&self.core, self.open(request)?)?;
        let answer = self.core.raft.append_entries(request).await.map_err(stopped)?;
        Ok(Response::new(append_to_proto(&self.core, answer)))
    }

    type AppendStreamStream =
        Pin<Box<dyn futures::Stream<Item = Result<proto::AppendEntriesResponse, Status>> + Send>>;

    async fn append_stream(
        &self,
        request: Request<Streaming<proto::AppendEntriesRequest>>,
    ) -> Result<Response<Self::AppendStreamStream>, Status> {
        let admitted = request.extensions().get::<StillAdmitted>().cloned();
        let requests = self.open(request)?;
        Ok(Response::new(append_stream::answer(self.core.clone(), admitted, requests).boxed()))
    }

    async fn vote(
        &self,
        request: Request<proto::VoteRequest>,
    ) -> Result<Response<proto::VoteResponse>, Status> {
        let request = self.open(request)?;
        self.core.standing.check_returned()?;
        hear(&self.core, request.vote.as_ref(), request.held.as_ref())?;
        let vote = vote(request.vote.as_ref(), "VoteRequest.vote")?;
        let last_log_id = request.last_log_id.as_ref().map(codec::log_id_from_proto);
        let mut rpc = VoteRequest::new(vote, last_log_id);
        rpc.leadership_transfer = request.leader_transfer;
        let raft = &self.core.raft;
        let answer = match request.pre_vote {
            true => raft.pre_vote(rpc).await,
            false => raft.vote(rpc).await,
        };
        let answer = answer.map_err(stopped)?;
        Ok(Response::new(proto::VoteResponse {
            vote: Some(codec::vote_to_proto(&answer.vote)),
            vote_granted: answer.vote_granted,
            last_log_id: answer.last_log_id.as_ref().map(codec::log_id_to_proto),
            clock_ms: self.core.clock.own_ms(),
            held: Some(self.core.witness.own()),
        }))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<proto::SnapshotChunk>>,
    ) -> Result<Response<proto::SnapshotResponse>, Status> {
        let chunks = self.open(request)?;
        self.core.standing.check_returned()?;
        receive::snapshot(&self.core, chunks).await.map(Response::new)
    }

    async fn transfer_leader(
        &self,
        request: Request<proto::TransferLeaderRequest>,
    ) -> Result<Response<TransferLeaderResponse>, Status> {
        let request = self.open(request)?;
        self.core.standing.check_returned()?;
        let from = vote(request.from.as_ref(), "TransferLeaderRequest.from")?;
        let last_log_id = request.last_log_id.as_ref().map(codec::log_id_from_proto);
        let rpc = TransferLeaderRequest::new(from, request.to, last_log_id);
        let answer = self.core.raft.handle_transfer_leader(rpc).await;
        let higher_vote = match answer.map_err(|fatal| Status::unavailable(fatal.to_string()))? {
            Ok(()) => None,
            Err(TransferLeaderError::VoteChanged { actual, .. }) => {
                Some(codec::vote_to_proto(&actual))
            }
            Err(error) => return Err(Status::failed_precondition(error.to_string())),
        };
        Ok(Response::new(TransferLeaderResponse { higher_vote }))
    }

    type AttendStream = Pin<Box<dyn futures::Stream<Item = Result<AttendResponse, Status>> + Send>>;

    async fn attend(
        &self,
        request: Request<AttendRequest>,
    ) -> Result<Response<Self::AttendStream>, Status> {
        self.open(request)?;
        let core = self.core.clone();
        if core.is_stopped() {
            return Err(Status::unavailable("this node is stopping"));
        }
        let metrics = core.metrics();
        let answer =
            AttendResponse { leads: metrics.state.is_leader(), term: metrics.current_term };
        let first = futures::stream::once(async move { Ok(answer) });
        // It yields nothing: it only ends when this node does.
        let rest = futures::stream::once(async move { core.until_stopped().await });
        let rest = rest.filter_map(|()| std::future::ready(None));
        Ok(Response::new(Box::pin(first.chain(rest))))
    }

    async fn propose(
        &self,
        request: Request<ProposeRequest>,
    ) -> Result<Response<ProposeResponse>, Status> {
        let request = self.open(request)?;
        Ok(Response::new(self.core.answer_propose(request).await))
    }

    async fn read_index(
        &self,
        request: Request<ReadIndexRequest>,
    ) -> Result<Response<ReadIndexResponse>, Status> {
        let request = self.open(request)?;
        Ok(Response::new(self.core.answer_read_index(request).await))
    }

    async fn add_learner(
        &self,
        request: Request<AddLearnerRequest>,
    ) -> Result<Response<AddLearnerResponse>, Status> {
        let request = self.open(request)?;
        Ok(Response::new(self.core.answer_add_learner(request).await))
    }

    async fn change_members(
        &self,
        request: Request<ChangeMembersRequest>,
    ) -> Result<Response<ChangeMembersResponse>, Status> {
        let request = self.open(request)?;
        Ok(Response::new(self.core.answer_change_members(request).await))
    }

    async fn witness(
        &self,
        request: Request<WitnessRequest>,
    ) -> Result<Response<WitnessResponse>, Status> {
        let WitnessRequest { raft_id, start } = self.open(request)?;
        let held = self.core.witness.before(raft_id, start).map(|held| held.to_proto(0));
        Ok(Response::new(WitnessResponse { held }))
    }

    async fn noted(
        &self,
        request: Request<NotedRequest>,
    ) -> Result<Response<NotedResponse>, Status> {
        let NotedRequest { log_index } = self.open(request)?;
        let notes = self.core.applied.checkpoints();
        let note = notes.into_iter().find(|note| note.index.0 == log_index);
        Ok(Response::new(note.map_or_else(NotedResponse::default, |note| NotedResponse {
            noted: true,
            state_digest: note.state_digest.to_vec(),
            audit_head: note.head.to_vec(),
        })))
    }

    type FetchStepsStream =
        Pin<Box<dyn futures::Stream<Item = Result<FetchStepsResponse, Status>> + Send>>;

    async fn fetch_steps(
        &self,
        request: Request<FetchStepsRequest>,
    ) -> Result<Response<Self::FetchStepsStream>, Status> {
        let FetchStepsRequest { first, end } = self.open(request)?;
        let (answers, receiver) = mpsc::channel(ANSWERS_AHEAD);
        let core = self.core.clone();
        tokio::task::spawn_blocking(move || read_steps(&core, first, end, &answers));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

/// Sends steps until the end or until nobody listens.
fn read_steps(
    core: &Arc<Core>,
    mut first: u64,
    end: u64,
    answers: &mpsc::Sender<Result<FetchStepsResponse, Status>>,
) {
    while first < end {
        let plan = core.applied.segments().plan(first, end);
        let steps = match plan.and_then(|reading| reading.run()) {
            Ok(steps) => steps,
            Err(error) => {
                let status = match error {
                    SegmentsError::Absent { .. } => Status::out_of_range(error.to_string()),
                    error => {
                        returning::found(core, &error);
                        tracing::error!(%error, "audit steps cannot be read");
                        Status::internal("this node cannot read its audit history")
                    }
                };
                let _ = answers.blocking_send(Err(status));
                return;
            }
        };
        first += steps.len() as u64;
        for steps in in_answers(steps) {
            if answers.blocking_send(Ok(FetchStepsResponse { steps })).is_err() {
                return;
            }
        }
    }
}

fn in_answers(steps: Vec<Step>) -> Vec<Vec<Step>> {
    let mut answers = vec![Vec::new()];
    let mut bytes = 0;
    for step in steps {
        bytes += step.encoded_len();
        if bytes > STEPS_BYTES && answers.last().is_some_and(|last| !last.is_empty()) {
            answers.push(Vec::new());
            bytes = step.encoded_len();
        }
        if let Some(last) = answers.last_mut() {
            last.push(step);
        }
    }
    answers
}

/// An AppendEntries that this replica may hear, from one who may lead it.
pub(crate) fn append_from_proto(
    core: &Core,
    request: proto::AppendEntriesRequest,
) -> Result<AppendEntriesRequest<Types>, Status> {
    core.standing.check_returned()?;
    hear(core, request.vote.as_ref(), request.held.as_ref())?;
    let request = parse_append(request).map_err(malformed)?;
    let leader = request.vote.leader_id;
    core.hearing.hear(leader.term, leader.node_id, Instant::now());
    Ok(request)
}

pub(crate) fn parse_append(
    request: proto::AppendEntriesRequest,
) -> Result<AppendEntriesRequest<Types>, CodecError> {
    let count = request.entries.len();
    if count > ENTRIES_MAX {
        return Err(CodecError::TooMany {
            what: "entries in one message",
            count,
            max: ENTRIES_MAX,
        });
    }
    Ok(AppendEntriesRequest {
        vote: codec::require_vote(request.vote.as_ref(), "AppendEntriesRequest.vote")?,
        prev_log_id: request.prev.as_ref().map(codec::log_id_from_proto),
        entries: request.entries.into_iter().map(codec::decode_entry).collect::<Result<_, _>>()?,
        leader_commit: request.committed.as_ref().map(codec::log_id_from_proto),
    })
}

pub(crate) fn append_to_proto(
    core: &Core,
    answer: AppendEntriesResponse<Types>,
) -> proto::AppendEntriesResponse {
    proto::AppendEntriesResponse {
        result: Some(append_result_to_proto(answer)),
        clock_ms: core.clock.own_ms(),
        held: Some(core.witness.own()),
    }
}

fn append_result_to_proto(
    answer: AppendEntriesResponse<Types>,
) -> proto::append_entries_response::Result {
    use proto::append_entries_response::Result;
    match answer {
        AppendEntriesResponse::Success | AppendEntriesResponse::PartialSuccess(None) => {
            Result::Success(true)
        }
        AppendEntriesResponse::PartialSuccess(Some(id)) => {
            Result::PartialSuccess(codec::log_id_to_proto(&id))
        }
        AppendEntriesResponse::Conflict => Result::Conflict(true),
        AppendEntriesResponse::HigherVote(vote) => Result::HigherVote(codec::vote_to_proto(&vote)),
    }
}

fn vote(vote: Option<&proto::Vote>, what: &'static str) -> Result<Vote, Status> {
    codec::require_vote(vote, what).map_err(malformed)
}

fn stopped(error: RaftError<Types>) -> Status {
    Status::unavailable(error.to_string())
}

//! AppendEntries over a stream that stays open, so that no request waits for the answer to the one
//! before: on a long way that wait would double what a commit takes, since the news of each commit
//! travels as a request of its own.
//!
//! A session of openraft's begins with a call of its own, which is all that a heartbeat or a probe
//! needs; what follows goes through one stream, in order. Answers come in the same order.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use conclave_proto::raft as proto;
use futures::stream::{BoxStream, StreamExt, once, unfold};
use futures::{Stream, TryStreamExt};
use openraft::RaftNetworkV2;
use openraft::errors::{RPCError, Unreachable};
use openraft::network::RPCOption;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, StreamAppendError, StreamAppendResult,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use tonic::{Status, Streaming};

use crate::core::Core;
use crate::network::{APPEND_BYTES, PeerNetwork, encode_within};
use crate::service::{append_from_proto, append_to_proto};
use crate::types::{LogId, Types};

/// Requests that may be unanswered at once. More would only cut what gathers into smaller pieces.
const WINDOW: usize = 4;
/// A request may take this long: the follower fsyncs before it answers.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

type Request = AppendEntriesRequest<Types>;
pub(crate) type Appended = Result<StreamAppendResult<Types>, RPCError<Types>>;

/// Sends all that `input` gives, until it ends or one is not appended.
pub(crate) fn send<S>(
    network: PeerNetwork,
    input: S,
    option: RPCOption,
) -> impl Stream<Item = Appended> + Send
where
    S: Stream<Item = Request> + Send + Unpin + 'static,
{
    unfold(Stage::First(input), move |stage| {
        let (network, option) = (network.clone(), option.clone());
        async move { stage.step(network, option).await }
    })
}

enum Stage<S> {
    First(S),
    More(S),
    Open(Box<Open>),
    Ended,
}

impl<S> Stage<S>
where
    S: Stream<Item = Request> + Send + Unpin + 'static,
{
    async fn step(self, mut network: PeerNetwork, option: RPCOption) -> Option<(Appended, Self)> {
        let mut open = match self {
            Stage::First(mut input) => {
                let request = input.next().await?;
                let (before, last) = (request.prev_log_id, last_of(&request));
                let appended = match network.append_entries(request, option).await {
                    Ok(answer) => result_of(answer, before, last),
                    Err(error) => Err(error),
                };
                // Of one that was cut, openraft sends the rest in another session.
                let goes_on = matches!(&appended, Ok(Ok(reached)) if *reached == last);
                return Some((appended, if goes_on { Stage::More(input) } else { Stage::Ended }));
            }
            Stage::More(mut input) => {
                let next = input.next().await?;
                match Open::open(network, once(async { next }).chain(input).boxed()).await {
                    Ok(open) => Box::new(open),
                    Err(error) => return Some((Err(error.into()), Stage::Ended)),
                }
            }
            Stage::Open(open) => open,
            Stage::Ended => return None,
        };
        let appended = open.next().await?;
        let goes_on = matches!(appended, Ok(Ok(_)));
        Some((appended, if goes_on { Stage::Open(open) } else { Stage::Ended }))
    }
}

/// A stream to one member, and what it has yet to answer.
struct Open {
    network: PeerNetwork,
    answers: Streaming<proto::AppendEntriesResponse>,
    unanswered: mpsc::UnboundedReceiver<Sent>,
}

/// A request on its way.
struct Sent {
    before: Option<LogId>,
    last: Option<LogId>,
    until: Instant,
    /// Makes room for another.
    _permit: OwnedSemaphorePermit,
}

impl Open {
    async fn open(
        network: PeerNetwork,
        input: BoxStream<'static, Request>,
    ) -> Result<Self, Unreachable<Types>> {
        let mut client = network.client()?;
        let (sent, unanswered) = mpsc::unbounded_channel();
        let sending = Sending {
            network: network.clone(),
            input,
            rest: None,
            window: Arc::new(Semaphore::new(WINDOW)),
            sent,
        };
        let requests = unfold(sending, |mut sending| async move {
            let request = sending.next().await?;
            Some((request, sending))
        });
        let opening = client.append_stream(requests);
        let answers = match tokio::time::timeout(ANSWER_TIMEOUT, opening).await {
            Ok(opened) => opened.map_err(|status| Unreachable::new(&status))?.into_inner(),
            Err(elapsed) => return Err(Unreachable::new(&elapsed)),
        };
        Ok(Self { network, answers, unanswered })
    }

    /// What became of the next request; `None` once all are answered and no more will come.
    async fn next(&mut self) -> Option<Appended> {
        let Some(sent) = self.unanswered.recv().await else {
            // Openraft has no more to send, or the connection broke: then that is the answer.
            let end = self.answers.try_next().await.err()?;
            return Some(Err(Unreachable::new(&end).into()));
        };
        let answer = match timeout_at(sent.until, self.answers.message()).await {
            Ok(Ok(Some(answer))) => answer,
            Ok(Ok(None)) => {
                let closed = Status::unavailable("the peer closed the stream");
                return Some(Err(Unreachable::new(&closed).into()));
            }
            Ok(Err(status)) => return Some(Err(Unreachable::new(&status).into())),
            Err(elapsed) => return Some(Err(Unreachable::new(&elapsed).into())),
        };
        let answer = self.network.hear_append(answer);
        Some(match answer {
            Ok(answer) => result_of(answer, sent.before, sent.last),
            Err(error) => Err(error.into()),
        })
    }
}

/// The sending half.
struct Sending {
    network: PeerNetwork,
    input: BoxStream<'static, Request>,
    /// What did not fit into the message before.
    rest: Option<Request>,
    window: Arc<Semaphore>,
    sent: mpsc::UnboundedSender<Sent>,
}

impl Sending {
    async fn next(&mut self) -> Option<proto::AppendEntriesRequest> {
        // The transport lets go of a request's body only when that ends, and openraft's next session
        // waits for what this one's holds.
        let (permit, request) = tokio::select! {
            () = self.sent.closed() => return None,
            next = Self::take(&self.window, &mut self.rest, &mut self.input) => next?,
        };
        let before = request.prev_log_id;
        let (request, entries, rest) = fitting(request, APPEND_BYTES);
        let last = last_of(&request);
        let message = self.network.append_message(&request, entries);
        self.rest = rest;
        let until = Instant::now() + ANSWER_TIMEOUT;
        self.sent.send(Sent { before, last, until, _permit: permit }).ok()?;
        Some(message)
    }

    /// The next request, once there is room for it.
    async fn take(
        window: &Arc<Semaphore>,
        rest: &mut Option<Request>,
        input: &mut BoxStream<'static, Request>,
    ) -> Option<(OwnedSemaphorePermit, Request)> {
        let permit = Arc::clone(window).acquire_owned().await.ok()?;
        let request = match rest.take() {
            Some(rest) => rest,
            None => input.next().await?,
        };
        Some((permit, request))
    }
}

/// A request cut to what fits into one message, its entries as they travel, and what is left over.
fn fitting(mut request: Request, bytes_max: usize) -> (Request, Vec<Bytes>, Option<Request>) {
    let (encoded, cut) = encode_within(&request, bytes_max);
    let rest = cut.map(|last| AppendEntriesRequest {
        entries: request.entries.split_off(encoded.len()),
        prev_log_id: Some(last),
        vote: request.vote,
        leader_commit: request.leader_commit,
    });
    (request, encoded, rest)
}

/// The last entry a member that has all of this holds, as far as it is known from this.
fn last_of(request: &Request) -> Option<LogId> {
    request.entries.last().map(|entry| entry.log_id).or(request.prev_log_id)
}

fn result_of(
    answer: AppendEntriesResponse<Types>,
    before: Option<LogId>,
    last: Option<LogId>,
) -> Appended {
    match (answer, before) {
        (AppendEntriesResponse::Conflict, None) => {
            let nonsense = Status::internal("a conflict with an append that follows nothing");
            Err(Unreachable::new(&nonsense).into())
        }
        (answer, before) => Ok(answer.into_stream_result(before, last)),
    }
}

/// Whether the caller of a stream may still speak. Whoever lets calls in puts it into a request's
/// extensions; who is removed from the domain must not go on in a stream that was opened before.
#[derive(Clone)]
pub struct StillAdmitted(pub Arc<dyn Fn() -> Result<(), Status> + Send + Sync>);

/// Answers a member's stream, in order, until it ends or something in it is refused.
pub(crate) fn answer(
    core: Arc<Core>,
    admitted: Option<StillAdmitted>,
    requests: Streaming<proto::AppendEntriesRequest>,
) -> impl Stream<Item = Result<proto::AppendEntriesResponse, Status>> + Send {
    let (refuse, refused) = oneshot::channel();
    let reading = Reading { core: core.clone(), admitted, requests };
    let input = unfold((reading, Some(refuse)), |(mut reading, mut refuse)| async move {
        match reading.next().await {
            Ok(request) => request.map(|request| (request, (reading, refuse))),
            Err(status) => {
                // It is told after the answers to what came before.
                let _ = refuse.take().map(|refuse| refuse.send(status));
                None
            }
        }
    });
    let results = core.raft.stream_append(input).boxed();
    unfold(Some((results, refused, core)), |state| async move {
        let (mut results, refused, core) = state?;
        let answer = match results.next().await {
            Some(Ok(Ok(_))) => AppendEntriesResponse::Success,
            Some(Ok(Err(StreamAppendError::Conflict(_)))) => AppendEntriesResponse::Conflict,
            Some(Ok(Err(StreamAppendError::HigherVote(vote)))) => {
                AppendEntriesResponse::HigherVote(vote)
            }
            Some(Err(fatal)) => return Some((Err(Status::unavailable(fatal.to_string())), None)),
            None => return refused.await.ok().map(|status| (Err(status), None)),
        };
        let goes_on = answer.is_success();
        let message = append_to_proto(&core, answer);
        Some((Ok(message), goes_on.then_some((results, refused, core))))
    })
}

/// The receiving half.
struct Reading {
    core: Arc<Core>,
    admitted: Option<StillAdmitted>,
    requests: Streaming<proto::AppendEntriesRequest>,
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Request>, Status> {
        let Some(request) = self.requests.message().await? else { return Ok(None) };
        if let Some(StillAdmitted(check)) = &self.admitted {
            check()?;
        }
        append_from_proto(&self.core, request).map(Some)
    }
}

#[cfg(test)]
mod session_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Command, Entry, Leader, Payload, Vote};

    #[test]
    fn what_does_not_fit_follows_whole_and_in_order() {
        let leader = Leader { term: 1, node_id: 1 };
        let entry = |index| Entry {
            log_id: LogId::new(leader, index),
            payload: Payload { command: Some(Command(vec![0; 1000].into())), membership: None },
        };
        let mut left = Some(AppendEntriesRequest {
            vote: Vote { leader_id: leader, committed: true },
            prev_log_id: Some(LogId::new(leader, 6)),
            entries: (7..12).map(entry).collect(),
            leader_commit: None,
        });
        let mut sent = Vec::new();
        while let Some(request) = left {
            let (cut, encoded, rest) = fitting(request, 1_500);
            assert_eq!(cut.entries.len(), encoded.len());
            let before = cut.prev_log_id.map(|id| id.index);
            sent.push((before, last_of(&cut).map(|id| id.index)));
            left = rest;
        }
        assert_eq!(sent, [(Some(6), Some(8)), (Some(8), Some(10)), (Some(10), Some(11))]);
    }
}

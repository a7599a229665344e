//! The proposer: gathers this node's txns into batches and sees each through to its outcome.
//!
//! One task, one loop, one enum of events. While batches are in flight the next one gathers, so a
//! batch is as large as the load makes it. A txn keeps its number until its outcome is known: if a
//! leader vanishes, the same txn is proposed again, and the writer's window makes it take effect
//! once. Outcomes come from the leader's answer or from this node's own apply, whichever is first.
//! A txn whose deadline passes is dropped, and its caller told that the outcome is unknown.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use conclave_proto::peer::{self, ProposeRequest, propose_request, propose_response};
use conclave_proto::store as proto;
use conclave_store::limits::WRITER_WINDOW;
use conclave_store::{BatchBuilder, Outcome, PushError, Registered, Rejection, TxnBody, TxnId};
use openraft::async_runtime::WatchReceiver;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::sleep_until;

use crate::applied::Notice;
use crate::core::{Core, Unanswered};
use crate::decided::{Decided, ProposeError};

/// Txns that may wait or be in flight; beyond it a node says that it is overloaded.
pub const QUEUE_MAX: usize = 16_384;
/// Batches on their way at once.
const BATCHES_IN_FLIGHT_MAX: usize = 4;
/// While a batch is on its way, the next one goes once it has this many txns ...
const WORTH_A_BATCH: usize = 64;
/// ... or this long after the last one went. Many small batches cost all nodes more than they save;
/// on a long way, waiting for the answer costs more than they do.
const GATHER_MAX: Duration = Duration::from_millis(10);
/// Who was answered tends to ask again: the next batch waits for as many as were there before, at most
/// this long and twice as long as the last one took.
const COMPANY_MAX: Duration = Duration::from_millis(4);
/// A batch not answered by then is proposed again; most leaders that vanish are noticed sooner.
const BATCH_TIMEOUT: Duration = Duration::from_secs(3);
/// After nobody took a batch, the next try waits this long, or until there is another leader.
const RETRY_AFTER: Duration = Duration::from_millis(25);
/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(20);

const _: () =
    assert!(QUEUE_MAX < WRITER_WINDOW, "no txn in flight falls out of the writer's window");

/// Where txns are handed in.
#[derive(Clone)]
pub(crate) struct Proposer {
    room: Arc<Semaphore>,
    submissions: mpsc::UnboundedSender<Waiting>,
    core: Arc<Core>,
}

impl Proposer {
    /// Starts the task. It ends when every handle is dropped, or when Raft stops.
    pub(crate) fn start(
        core: Arc<Core>,
        notices: mpsc::UnboundedReceiver<Notice>,
        nonce: [u8; 16],
    ) -> (Proposer, JoinHandle<()>) {
        let (submissions, submitted) = mpsc::unbounded_channel();
        let (ends, ended) = mpsc::unbounded_channel();
        let task = Task {
            core: core.clone(),
            nonce,
            writer: None,
            newest_writer: 0,
            registering: false,
            next_sequence: 1,
            waiting: VecDeque::new(),
            sent: BTreeMap::new(),
            again: BTreeSet::new(),
            in_flight: 0,
            last_sent: Instant::now(),
            company: Company::new(Instant::now()),
            not_before: Instant::now(),
            stopped: false,
            ends,
        };
        let handle = tokio::spawn(task.run(submitted, ended, notices));
        (Proposer { room: Arc::new(Semaphore::new(QUEUE_MAX)), submissions, core }, handle)
    }

    pub(crate) async fn propose(
        &self,
        body: TxnBody,
        deadline: Instant,
    ) -> Result<Decided, ProposeError> {
        body.validate()?;
        let Ok(permit) = self.room.clone().try_acquire_owned() else {
            self.core.counters.overloads.one();
            return Err(ProposeError::Overloaded);
        };
        let (reply, answer) = oneshot::channel();
        let waiting = Waiting { body, deadline, reply, _permit: permit };
        self.submissions.send(waiting).map_err(|_| ProposeError::Stopped)?;
        answer.await.unwrap_or(Err(ProposeError::OutcomeUnknown))
    }
}

/// A txn and who waits for it.
struct Waiting {
    body: TxnBody,
    deadline: Instant,
    reply: oneshot::Sender<Result<Decided, ProposeError>>,
    _permit: OwnedSemaphorePermit,
}

impl Waiting {
    fn tell(self, answer: Result<Decided, ProposeError>) {
        // Whoever asked may have gone away.
        let _ = self.reply.send(answer);
    }
}

/// A txn that was proposed, once or more.
struct Sent {
    waiting: Waiting,
    proposals: u32,
}

enum Event {
    /// Something waits that did not before.
    Submitted,
    Noticed(Notice),
    Ended(Ended),
    /// Somebody else leads now, or nobody.
    LeaderChanged,
    /// What waits has waited for company long enough.
    Gathered,
    Tick,
    Stop,
}

/// What became of something that was proposed.
enum Ended {
    Batch { txns: Vec<Number>, result: Result<peer::Applied, Retry> },
    Registration(Result<peer::Applied, Retry>),
}

/// Nothing is known of it: propose again.
enum Retry {
    Soon,
    Stopped,
}

/// Writer and sequence.
type Number = (u64, u64);

struct Task {
    core: Arc<Core>,
    /// Tells this start of this node from every other.
    nonce: [u8; 16],
    writer: Option<u64>,
    /// The newest ever adopted: an older one that is heard of late must not come back.
    newest_writer: u64,
    registering: bool,
    next_sequence: u64,
    waiting: VecDeque<Waiting>,
    sent: BTreeMap<Number, Sent>,
    /// Of the sent ones, those that are in no batch now.
    again: BTreeSet<Number>,
    in_flight: usize,
    last_sent: Instant,
    company: Company,
    not_before: Instant,
    stopped: bool,
    ends: mpsc::UnboundedSender<Ended>,
}

impl Task {
    async fn run(
        mut self,
        mut submitted: mpsc::UnboundedReceiver<Waiting>,
        mut ended: mpsc::UnboundedReceiver<Ended>,
        mut notices: mpsc::UnboundedReceiver<Notice>,
    ) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut metrics = self.core.raft.server_metrics();
        let mut leader = self.core.leader_id();
        while !self.stopped {
            let event = tokio::select! {
                Some(notice) = notices.recv() => Event::Noticed(notice),
                Some(end) = ended.recv() => Event::Ended(end),
                waiting = submitted.recv() => match waiting {
                    Some(waiting) => {
                        self.waiting.push_back(waiting);
                        Event::Submitted
                    }
                    None => Event::Stop,
                },
                changed = metrics.changed() => match (changed, self.core.leader_id()) {
                    (Err(_), _) => Event::Stop,
                    (Ok(()), now) if now == leader => continue,
                    (Ok(()), now) => {
                        leader = now;
                        Event::LeaderChanged
                    }
                },
                () = sleep_until(self.gathered_at().into()), if self.is_gathering() => Event::Gathered,
                _ = ticks.tick() => Event::Tick,
            };
            while let Ok(waiting) = submitted.try_recv() {
                self.waiting.push_back(waiting);
            }
            self.company.see(self.sent.len() + self.waiting.len());
            self.handle(event);
            self.propose();
        }
        submitted.close();
        while let Ok(waiting) = submitted.try_recv() {
            waiting.tell(Err(ProposeError::Stopped));
        }
        self.waiting.into_iter().for_each(|waiting| waiting.tell(Err(ProposeError::Stopped)));
        let unknown = |sent: Sent| sent.waiting.tell(Err(ProposeError::OutcomeUnknown));
        self.sent.into_values().for_each(unknown);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Submitted => {}
            Event::Noticed(Notice::Outcomes(outcomes)) => self.resolve_all(&outcomes),
            Event::Noticed(Notice::Registered(registered)) => self.registered(registered),
            Event::Ended(Ended::Registration(result)) => {
                self.registering = false;
                match result {
                    Ok(applied) => self.adopt(applied.log_index),
                    Err(retry) => self.retry(&retry),
                }
            }
            Event::Ended(Ended::Batch { txns, result }) => {
                self.in_flight -= 1;
                self.company.answered(self.last_sent, Instant::now());
                match result {
                    Ok(applied) => self.resolve_all(&applied.outcomes),
                    Err(retry) => {
                        self.core.counters.propose_retries.one();
                        self.retry(&retry);
                    }
                }
                let open = txns.into_iter().filter(|number| self.sent.contains_key(number));
                self.again.extend(open.collect::<Vec<_>>());
            }
            Event::LeaderChanged => self.not_before = Instant::now(),
            Event::Gathered => {}
            Event::Tick => self.expire(),
            Event::Noticed(Notice::Stop) | Event::Stop => self.stopped = true,
        }
    }

    fn retry(&mut self, retry: &Retry) {
        self.not_before = Instant::now() + RETRY_AFTER;
        self.stopped |= matches!(retry, Retry::Stopped);
    }

    /// Sends as much as may be sent now.
    fn propose(&mut self) {
        if self.stopped || Instant::now() < self.not_before {
            return;
        }
        let Some(writer) = self.writer else { return self.register() };
        while self.may_send() {
            let (batch, txns) = self.gather(writer);
            if batch.is_empty() {
                return;
            }
            self.in_flight += 1;
            self.last_sent = Instant::now();
            let (index, head) = self
                .core
                .applied
                .read(|content| (content.state.applied().0, content.state.head().hash));
            let op = propose_request::Op::Batch(batch.finish(index, head));
            self.spawn(op, |result| Ended::Batch { txns, result });
        }
    }

    fn may_send(&self) -> bool {
        let worth_it = self.waiting.len() >= WORTH_A_BATCH || !self.again.is_empty();
        match self.in_flight {
            0 => worth_it || self.company.is_there(self.waiting.len(), Instant::now()),
            BATCHES_IN_FLIGHT_MAX.. => false,
            _ => worth_it || self.gathered_at() <= Instant::now(),
        }
    }

    /// Whether what waits will go without anything else happening.
    fn is_gathering(&self) -> bool {
        self.writer.is_some() && !self.waiting.is_empty() && self.in_flight < BATCHES_IN_FLIGHT_MAX
    }

    fn gathered_at(&self) -> Instant {
        let gathered = match self.in_flight {
            0 => self.company.until,
            _ => self.last_sent + GATHER_MAX,
        };
        gathered.max(self.not_before)
    }

    /// First what was proposed before, then what waits, until the batch is full.
    fn gather(&mut self, writer: u64) -> (BatchBuilder, Vec<Number>) {
        let mut batch = BatchBuilder::new();
        let mut txns = Vec::new();
        while let Some(number) = self.again.first().copied() {
            let Some(sent) = self.sent.get_mut(&number) else {
                self.again.remove(&number);
                continue;
            };
            let id = TxnId { writer: number.0, sequence: number.1 };
            if batch.push(id, &sent.waiting.body).is_err() {
                return (batch, txns); // It was valid before, so the batch is full.
            }
            sent.proposals += 1;
            self.again.remove(&number);
            txns.push(number);
        }
        while let Some(waiting) = self.waiting.pop_front() {
            let number = (writer, self.next_sequence);
            match batch.push(TxnId { writer, sequence: number.1 }, &waiting.body) {
                Ok(()) => {
                    self.next_sequence += 1;
                    self.sent.insert(number, Sent { waiting, proposals: 1 });
                    txns.push(number);
                }
                Err(PushError::Full) => {
                    self.waiting.push_front(waiting);
                    break;
                }
                Err(PushError::Invalid(error)) => waiting.tell(Err(error.into())),
            }
        }
        (batch, txns)
    }

    fn register(&mut self) {
        if self.registering {
            return;
        }
        self.registering = true;
        let raft_id = self.core.own_id();
        let register = proto::RegisterWriter { raft_id, nonce: self.nonce.to_vec() };
        self.spawn(propose_request::Op::RegisterWriter(register), Ended::Registration);
    }

    fn spawn(
        &self,
        op: propose_request::Op,
        end: impl FnOnce(Result<peer::Applied, Retry>) -> Ended + Send + 'static,
    ) {
        let (core, ends) = (self.core.clone(), self.ends.clone());
        tokio::spawn(async move {
            // If the task has ended, nobody waits any more.
            let _ = ends.send(end(ask(&core, op).await));
        });
    }

    fn registered(&mut self, registered: Registered) {
        let ours = (registered.raft_id, registered.nonce) == (self.core.own_id(), self.nonce);
        if ours {
            self.adopt(registered.writer);
        }
    }

    /// Goes on under `writer`, if it is newer: a registration that was proposed twice counts twice,
    /// and only the newest is known to the replicas.
    fn adopt(&mut self, writer: u64) {
        if self.newest_writer < writer {
            self.newest_writer = writer;
            self.writer = Some(writer);
            self.next_sequence = 1;
            self.core.applied.set_own_writer(writer);
        }
    }

    fn resolve_all(&mut self, outcomes: &[proto::Outcome]) {
        for outcome in outcomes {
            match Outcome::from_proto(outcome) {
                Ok((id, outcome)) => self.resolve((id.writer, id.sequence), outcome),
                Err(error) => tracing::error!(%error, "an outcome cannot be read"),
            }
        }
    }

    fn resolve(&mut self, number: Number, outcome: Outcome) {
        let Some(Sent { waiting, proposals }) = self.sent.remove(&number) else { return };
        let answer = match outcome {
            Outcome::Committed(revision) => Ok(Decided::Committed(revision)),
            Outcome::Conflict { log_index, on } => Ok(Decided::Conflict { log_index, on }),
            Outcome::Known { revision, answer } => {
                Ok(Decided::Known { revision, answer: answer.to_vec() })
            }
            Outcome::Rejected(Rejection::UnknownWriter) => {
                if self.writer == Some(number.0) {
                    self.writer = None;
                }
                if proposals == 1 {
                    // It had no effect and its number is dead: it may go out under another.
                    self.waiting.push_front(waiting);
                    return;
                }
                self.unknown()
            }
            Outcome::Rejected(rejection) => {
                tracing::error!(?rejection, "a txn was rejected");
                self.unknown()
            }
        };
        waiting.tell(answer);
    }

    fn unknown(&self) -> Result<Decided, ProposeError> {
        self.core.counters.outcomes_unknown.one();
        Err(ProposeError::OutcomeUnknown)
    }

    /// Lets go of what has passed its deadline.
    fn expire(&mut self) {
        let now = Instant::now();
        if self.waiting.iter().any(|waiting| waiting.deadline <= now) {
            let (late, waiting) =
                std::mem::take(&mut self.waiting).into_iter().partition(|it| it.deadline <= now);
            self.waiting = waiting;
            let late: VecDeque<Waiting> = late;
            late.into_iter().for_each(|waiting| waiting.tell(Err(ProposeError::Unavailable)));
        }
        let is_late = |sent: &Sent| sent.waiting.deadline <= now;
        let late: Vec<Number> =
            self.sent.iter().filter(|(_, sent)| is_late(sent)).map(|(number, _)| *number).collect();
        for number in late {
            if let Some(sent) = self.sent.remove(&number) {
                sent.waiting.tell(self.unknown());
            }
        }
    }
}

/// How many txns are worth waiting for once nothing is on its way.
struct Company {
    expected: usize,
    /// The most that were open at once since the last answer.
    most: usize,
    until: Instant,
}

impl Company {
    fn new(now: Instant) -> Self {
        Self { expected: 0, most: 0, until: now }
    }

    /// So many are open now: they wait or are on their way.
    fn see(&mut self, open: usize) {
        self.most = self.most.max(open);
    }

    fn answered(&mut self, sent: Instant, now: Instant) {
        self.expected = std::mem::take(&mut self.most);
        self.until = now + COMPANY_MAX.min(now.saturating_duration_since(sent) * 2);
    }

    /// Whether those who wait are as many as may be expected, or have been waited for long enough.
    fn is_there(&self, waiting: usize, now: Instant) -> bool {
        self.expected <= waiting || self.until <= now
    }
}

/// Asks the leader once.
async fn ask(core: &Arc<Core>, op: propose_request::Op) -> Result<peer::Applied, Retry> {
    let feature_level = core.applied.read(|content| content.state.feature_level());
    let request = ProposeRequest { feature_level, op: Some(op) };
    match core.ask_leader(request, BATCH_TIMEOUT).await {
        Ok(answer) => match answer.result {
            Some(propose_response::Result::Applied(applied)) => Ok(applied),
            Some(propose_response::Result::NotLeader(_)) | None => Err(Retry::Soon),
            Some(propose_response::Result::Unavailable(why)) => {
                tracing::debug!(%why, "the leader did not take a proposal");
                Err(Retry::Soon)
            }
        },
        Err(Unanswered::Stopped) => Err(Retry::Stopped),
        Err(error) => {
            tracing::debug!(%error, "a proposal went unanswered");
            Err(Retry::Soon)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_answered_is_waited_for_but_not_long() {
        let began = Instant::now();
        let mut company = Company::new(began);
        assert!(company.is_there(1, began), "nobody is expected at first");
        let after = |micros| began + Duration::from_micros(micros);

        company.see(3);
        company.see(8);
        company.see(5);
        company.answered(began, after(500));
        assert!(!company.is_there(7, after(500)));
        assert!(company.is_there(8, after(500)), "all are back");
        assert!(company.is_there(1, after(1_500)), "twice as long as the batch took");

        company.see(1);
        company.answered(after(2_000), after(90_000));
        assert!(company.is_there(1, after(90_000)), "one by himself waits for nobody");

        company.see(9);
        company.answered(after(2_000), after(90_000));
        assert!(!company.is_there(8, after(93_000)));
        assert!(company.is_there(1, after(94_000)), "however long the batch took");
    }
}

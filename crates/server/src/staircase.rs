//! The way down and up again: a request is decided from what is applied here, ordered and made
//! durable by the quorum together with its audit entry, and only then answered.
//!
//! If what the decision read has changed meanwhile, it is taken again from fresher state. No
//! result leaves before its audit entry is committed, a denial included.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use conclave_crypto::SystemEntropy;
use conclave_kms::{
    Caller, Ctx, DecideError, Decision, Plan, Refusal, Request, Response, decide, may_ask, replay,
};
use conclave_replica::{AppliedView, Decided, ProposeError, Standing};
use conclave_seal::Keyring;
use conclave_seal::keyring::AnswerError;
use conclave_store::{RecordId, Revision};
use tonic::Status;
use tracing::error;

use crate::counters::RequestCounters;
use crate::hosted::Hosted;
use crate::listener::Connection;
use crate::meta::{CallMeta, outcome_unknown, put_revision, unavailable};
use crate::offload;
use crate::refusals::to_status;

/// How long a request may wait for the quorum. A client tries again elsewhere with the same id.
const DEADLINE: Duration = Duration::from_secs(8);
/// Decisions taken anew because another txn came first; beyond this the record is contended.
const ATTEMPTS_MAX: u32 = 64;
/// The domain keys change a few times a year; that they do again while they are read is a marvel.
const REFRESHES_MAX: u32 = 8;

/// An operation that was committed together with its audit entry.
pub(crate) struct Performed {
    pub(crate) reply: Result<Response, Refusal>,
    pub(crate) revision: Revision,
}

impl Performed {
    /// The response with its revision, or the refusal with its revision.
    pub(crate) fn into_response(self, domain: &str) -> Result<(Response, Revision), Status> {
        match self.reply {
            Ok(response) => Ok((response, self.revision)),
            Err(refusal) => {
                let mut status = to_status(&refusal);
                put_revision(status.metadata_mut(), domain, self.revision);
                Err(status)
            }
        }
    }
}

/// Who calls, as decisions and audit entries name it.
pub(crate) fn caller(who: &Connection, meta: &CallMeta) -> Caller {
    Caller {
        principal: who.identity.name().to_owned(),
        certificate_serial: who.identity.serial().to_owned(),
        source_address: who.remote.to_string(),
        request_id: meta.request_id.clone(),
        retry_of: meta.retry_of(),
    }
}

/// Takes one request down the staircase and brings its answer back.
pub(crate) async fn perform(
    hosted: &Hosted,
    counters: &RequestCounters,
    caller: &Caller,
    age: Duration,
    request: &Request,
) -> Result<Performed, Status> {
    let deadline = Instant::now() + DEADLINE;
    let performed = perform_until(hosted, counters, caller, age, request, deadline).await;
    let counter = match &performed {
        Ok(Performed { reply: Ok(_), .. }) => &counters.committed,
        Ok(Performed { reply: Err(_), .. }) => &counters.refused,
        Err(_) => &counters.unavailable,
    };
    counter.fetch_add(1, Ordering::Relaxed);
    performed
}

async fn perform_until(
    hosted: &Hosted,
    counters: &RequestCounters,
    caller: &Caller,
    age: Duration,
    request: &Request,
    deadline: Instant,
) -> Result<Performed, Status> {
    let standing = hosted.replica.standing();
    if standing != Standing::Proven {
        return Err(unavailable(format!("this node is {standing}; retry on another node")));
    }
    if request.needs_read_index() {
        let index = hosted
            .replica
            .read_index(deadline)
            .await
            .map_err(|error| unavailable(format!("no fresh reading of the domain: {error}")))?;
        wait_applied(hosted, index, deadline).await?;
    }
    for _ in 0..ATTEMPTS_MAX {
        let Plan { body, reply } = match plan(hosted, caller, age, request)? {
            Decision::Plan(plan) => plan,
            Decision::Compute(computation) => {
                offload::computed(computation).await?;
                continue;
            }
        };
        match hosted.replica.propose(body, deadline).await {
            Ok(Decided::Committed(revision)) => return Ok(Performed { reply, revision }),
            Ok(Decided::Known { revision, answer }) => {
                // Sealed under a domain key that may be news to this node.
                wait_applied(hosted, revision.log_index.0, deadline).await?;
                let reply = first_answer(hosted, caller, request, &answer)?;
                return Ok(Performed { reply, revision });
            }
            Ok(Decided::Conflict { log_index, .. }) => {
                counters.conflicts.fetch_add(1, Ordering::Relaxed);
                wait_applied(hosted, log_index.0, deadline).await?;
            }
            Err(ProposeError::OutcomeUnknown) => {
                counters.outcome_unknown.fetch_add(1, Ordering::Relaxed);
                return Err(outcome_unknown("the quorum did not answer in time"));
            }
            Err(error) => return Err(unavailable(error.to_string())),
        }
    }
    Err(unavailable(
        "other requests kept changing what this one reads; retry with the same request id",
    ))
}

/// Whether the request would be done, by what is applied here. Nothing is committed.
pub(crate) fn authorized_here(
    hosted: &Hosted,
    caller: &Caller,
    request: &Request,
) -> Result<bool, Status> {
    let decided = plan(hosted, caller, Duration::ZERO, request)?;
    Ok(matches!(decided, Decision::Plan(Plan { reply: Ok(_), .. })))
}

/// Whether the caller may ask for this at all, by what is applied here.
pub(crate) fn may_ask_here(hosted: &Hosted, caller: &Caller, request: &Request) -> bool {
    let now_ms = hosted.replica.now_ms().unwrap_or_default();
    let asked = with_ctx(hosted, caller, now_ms, |_, ctx| may_ask(ctx, request));
    matches!(asked, Some(Ok(true)))
}

/// What is to happen by a record of what is due, by what is applied here.
pub(crate) fn due_here(
    hosted: &Hosted,
    caller: &Caller,
    due: RecordId,
    passed_ms: u64,
) -> Result<Option<Request>, Status> {
    let now_ms = hosted.replica.now_ms().unwrap_or_default();
    let found = with_ctx(hosted, caller, now_ms, |_, ctx| Request::due(ctx, due, passed_ms));
    found.transpose().map(Option::flatten).map_err(internal)
}

/// Decides from one consistent reading. No lock outlives this.
fn plan(
    hosted: &Hosted,
    caller: &Caller,
    age: Duration,
    request: &Request,
) -> Result<Decision, Status> {
    let Some(now_ms) = hosted.replica.now_ms() else {
        return Err(unavailable("cluster time is not known yet; retry"));
    };
    with_ctx(hosted, caller, now_ms, |view, ctx| {
        if request.is_mutation() && !age.is_zero() && may_have_forgotten(view, now_ms, age) {
            return Err(outcome_unknown("this retry is older than what the cluster remembers"));
        }
        decide(ctx, request).map_err(internal)
    })
    .unwrap_or_else(|| {
        Err(unavailable(
            "this node is sealed; retry on an open node, or unseal it with `conclave operator unseal`",
        ))
    })
}

/// Lends what a decision works with, all from one reading, with a keyring that has the domain keys of
/// that reading; `None` if the node is not open. The keeper would refresh the keyring soon; whoever
/// needs it sooner does it. If it cannot be read anew, it still opens what it did, and what it seals
/// conflicts.
fn with_ctx<T>(
    hosted: &Hosted,
    caller: &Caller,
    now_ms: u64,
    mut work: impl FnMut(&AppliedView<'_>, &mut Ctx<'_>) -> T,
) -> Option<T> {
    let info = hosted.info()?;
    let mut lend = |keyring: Option<&Keyring>, must_be_fresh: bool| {
        let Some(keyring) = keyring else { return Lent::NotOpen };
        let view = hosted.replica.view();
        if must_be_fresh && !keyring.knows_domain_keys_of(&view) {
            return Lent::Stale;
        }
        let mut ctx = Ctx {
            view: &view,
            keyring,
            cache: &hosted.cache,
            entropy: &mut SystemEntropy,
            now_ms,
            node: &hosted.name,
            region: &hosted.region,
            domain: &info,
            keys_max: hosted.keys_max,
            caller,
        };
        Lent::Done(work(&view, &mut ctx))
    };
    for _ in 0..REFRESHES_MAX {
        match hosted.with_keyring(|keyring| lend(keyring, true)) {
            Lent::Done(done) => return Some(done),
            Lent::NotOpen => return None,
            Lent::Stale if matches!(hosted.refresh_keyring(), Ok(true)) => {}
            Lent::Stale => break,
        }
    }
    match hosted.with_keyring(|keyring| lend(keyring, false)) {
        Lent::Done(done) => Some(done),
        Lent::NotOpen | Lent::Stale => None,
    }
}

enum Lent<T> {
    Done(T),
    NotOpen,
    Stale,
}

/// Whether the first attempt's token may have fallen out of the table.
fn may_have_forgotten(view: &AppliedView<'_>, now_ms: u64, age: Duration) -> bool {
    let began = now_ms.saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    view.state().token_horizon_ms().is_some_and(|horizon| horizon >= began)
}

fn first_answer(
    hosted: &Hosted,
    caller: &Caller,
    request: &Request,
    answer: &[u8],
) -> Result<Result<Response, Refusal>, Status> {
    let now_ms = hosted.replica.now_ms().unwrap_or_default();
    let replayed = |_: &AppliedView<'_>, ctx: &mut Ctx<'_>| match replay(ctx, request, answer) {
        Err(DecideError::Answer(AnswerError::UnknownEpoch { .. })) => Err(outcome_unknown(
            "it was done before, but the domain key that its answer was kept under is retired",
        )),
        replayed => replayed.map_err(internal),
    };
    with_ctx(hosted, caller, now_ms, replayed).unwrap_or_else(|| {
        Err(outcome_unknown("it was done before, but this node was sealed meanwhile"))
    })
}

async fn wait_applied(hosted: &Hosted, index: u64, deadline: Instant) -> Result<(), Status> {
    hosted
        .replica
        .wait_applied(index, deadline)
        .await
        .map_err(|_| unavailable("this node lags behind the quorum; retry on another"))
}

/// A decision failed for a reason that is ours: it goes to the log, not to the caller.
fn internal(error: impl std::fmt::Display) -> Status {
    error!(%error, "a decision failed");
    unavailable("internal error; the node's log has the reason")
}

//! From a request to a plan: authorise, perform, audit, in that order, for every request alike.

use crate::answer::Kept;
use crate::audit_entry::Told;
use crate::authorize::{Verdict, authorize};
use crate::computation::Computation;
use crate::ctx::Ctx;
use crate::operation::{Asked, Request};
use crate::plan::{DecideError, Plan};
use crate::refusal::Refusal;
use crate::response::Response;
use crate::work::{Stop, Work};

/// What deciding came to.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is taken apart at once")]
pub enum Decision {
    /// What to commit, and what to answer then.
    Plan(Plan),
    /// This first; then the request is to be decided again.
    Compute(Computation),
}

/// Decides a request and computes whatever that takes, for where nobody waits: tests and benchmarks.
///
/// # Errors
/// [`DecideError`], as of [`decide`].
pub fn decide_whole(ctx: &mut Ctx<'_>, request: &Request) -> Result<Plan, DecideError> {
    loop {
        match decide(ctx, request)? {
            Decision::Plan(plan) => return Ok(plan),
            Decision::Compute(computation) => computation.run(),
        }
    }
}

/// Decides one request.
///
/// # Errors
/// [`DecideError`] if the node cannot decide: nothing is to be committed, and the caller is told of an
/// internal error.
pub fn decide(ctx: &mut Ctx<'_>, request: &Request) -> Result<Decision, DecideError> {
    let mut work = Work::new(ctx);
    let mut verdict = match request.0 {
        Asked::Due(_) => Verdict::Due,
        _ => {
            let principal = work.reads.principal(&work.caller.principal)?;
            authorize(principal.as_deref(), request.action())
        }
    };
    let done = match &verdict {
        Verdict::Allowed { .. } | Verdict::Due => perform(&mut work, request),
        Verdict::Denied { .. } => Err(denied(&work, request).into()),
    };
    let reply = match done {
        Ok(done) => Ok(done),
        Err(Stop::Refused(refusal)) => {
            // An operation may deny what a role allows, such as to retire others' grants.
            let is_denied = matches!(refusal, Refusal::Denied { .. });
            if is_denied && matches!(verdict, Verdict::Allowed { .. }) {
                verdict = Verdict::Denied { known: true };
            }
            Err(refusal)
        }
        Err(Stop::Failed(error)) => return Err(error),
        Err(Stop::Unfinished(computation)) => return Ok(Decision::Compute(computation)),
    };
    work.finish(request, &verdict, reply).map(Decision::Plan)
}

/// Whether the caller may ask for this, by what is known here. Nothing rests on it: the decision looks
/// again, under guards.
///
/// # Errors
/// [`DecideError`] if the node cannot tell.
pub fn may_ask(ctx: &mut Ctx<'_>, request: &Request) -> Result<bool, DecideError> {
    let mut work = Work::new(ctx);
    let principal = work.reads.principal(&work.caller.principal)?;
    Ok(matches!(authorize(principal.as_deref(), request.action()), Verdict::Allowed { .. }))
}

/// A response, and of a change what is kept of it.
pub(crate) type Performed = (Response, Option<Kept>);

fn perform(work: &mut Work<'_>, request: &Request) -> Result<Performed, Stop> {
    match &request.0 {
        Asked::Use(operation) | Asked::List(operation) | Asked::Due(operation) => {
            Ok((operation.perform(work)?, None))
        }
        Asked::Change(operation, _) => {
            let kept = operation.perform(work)?;
            Ok((operation.response(&kept, work.domain), Some(kept)))
        }
    }
}

fn denied(work: &Work<'_>, request: &Request) -> Refusal {
    let resource = Told::by(request.operation(), work.domain).resources.into_iter().next();
    Refusal::Denied {
        principal: work.caller.principal.clone(),
        action: request.action(),
        resource: resource.unwrap_or_else(|| "*".to_owned()),
    }
}

//! The answer of a retry whose first attempt has committed: nothing is decided or audited again, since
//! the first attempt's entry stands for it.

use crate::answer::Answer;
use crate::ctx::Ctx;
use crate::invalid::Invalid;
use crate::operation::{Asked, Request};
use crate::plan::DecideError;
use crate::refusal::Refusal;
use crate::response::Response;

/// What the first attempt of `request` was answered, from the sealed `answer` kept beside its token.
/// The same request id under another request is refused instead.
///
/// # Errors
/// [`DecideError::Answer`] if the answer does not open, [`DecideError::AnswerContent`] if it is none
/// that this version understands.
pub fn replay(
    ctx: &Ctx<'_>,
    request: &Request,
    answer: &[u8],
) -> Result<Result<Response, Refusal>, DecideError> {
    let request_id = ctx.caller.request_id.as_str();
    let token = ctx.keyring.token(&ctx.caller.principal, request_id);
    let answer = Answer::open(ctx.keyring, &token, answer)?;
    match &request.0 {
        Asked::Change(change, fingerprint) if answer.fingerprint == fingerprint => {
            match answer.refusal() {
                Some(refusal) => Ok(Err(refusal)),
                None => Ok(Ok(change.response(&answer.kept()?, ctx.domain))),
            }
        }
        _ => Ok(Err(Invalid::RequestIdReused { request_id: request_id.to_owned() }.into())),
    }
}

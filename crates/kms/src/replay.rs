//! The answer of a retry whose first attempt has committed: nothing is decided or audited again, since
//! the first attempt's entry stands for it.

use crate::answer::Answer;
use crate::ctx::Ctx;
use crate::invalid::Invalid;
use crate::plan::DecideError;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::response::{KeyChange, KeyMetadata, PrincipalInfo, Response};

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
    if request.fingerprint().is_none_or(|fingerprint| fingerprint[..] != answer.fingerprint) {
        return Ok(Err(Invalid::RequestIdReused { request_id: request_id.to_owned() }.into()));
    }
    match answer.refusal() {
        Some(refusal) => Ok(Err(refusal)),
        None => rebuild(ctx, request, &answer).map(Ok),
    }
}

fn rebuild(ctx: &Ctx<'_>, request: &Request, answer: &Answer) -> Result<Response, DecideError> {
    Ok(match request {
        Request::CreateKey(create) => {
            let (id, _) = answer.key()?;
            Response::KeyCreated(KeyMetadata::created(ctx.domain, id, answer.now_ms, create))
        }
        Request::ChangeKey { .. } => {
            let (id, state) = answer.key()?;
            let arn = ctx.domain.key_arn(id);
            Response::KeyChanged(KeyChange { id, arn, state, versions: answer.versions })
        }
        Request::CreatePrincipal { name, roles } => Response::PrincipalCreated(PrincipalInfo {
            name: name.as_str().to_owned(),
            roles: roles.as_slice().to_vec(),
            created_ms: answer.now_ms,
        }),
        Request::DeletePrincipal { .. } => Response::PrincipalDeleted,
        Request::RotateDomainKey => Response::DomainKeyRotated { epoch: answer.versions },
        // None of the others is a mutation, so none has a fingerprint that could have matched.
        _ => return Err(DecideError::AnswerContent),
    })
}

//! From a request to a plan: authorise, perform, audit, in that order, for every request alike.

use crate::administration::{admin, read_audit, rotate_domain_key};
use crate::audit_entry::requested_resources;
use crate::authorize::{Verdict, authorize};
use crate::ctx::Ctx;
use crate::keys::{change_key, create_key, describe_key, list_keys};
use crate::plan::{DecideError, Plan};
use crate::principals::{create_principal, delete_principal, list_principals};
use crate::refusal::Refusal;
use crate::request::Request;
use crate::response::Response;
use crate::usage::{decrypt, encrypt, generate_data_key, generate_random, re_encrypt};
use crate::work::{Stop, Work};

/// Decides one request.
///
/// # Errors
/// [`DecideError`] if the node cannot decide: nothing is to be committed, and the caller is told of an
/// internal error.
pub fn decide(ctx: &mut Ctx<'_>, request: &Request) -> Result<Plan, DecideError> {
    let mut work = Work::new(ctx);
    let principal = work.reads.principal(&work.caller.principal)?;
    let verdict = authorize(principal.as_deref(), request.action());
    let done = match &verdict {
        Verdict::Allowed { .. } => perform(&mut work, request),
        Verdict::Denied { .. } => Err(denied(&work, request).into()),
    };
    let reply = match done {
        Ok(response) => Ok(response),
        Err(Stop::Refused(refusal)) => Err(refusal),
        Err(Stop::Failed(error)) => return Err(error),
    };
    work.finish(request, &verdict, reply)
}

fn perform(work: &mut Work<'_>, request: &Request) -> Result<Response, Stop> {
    match request {
        Request::CreateKey(create) => create_key(work, create),
        Request::DescribeKey { key } => describe_key(work, key),
        Request::ListKeys { limit, after } => Ok(list_keys(work, *limit, *after)),
        Request::ChangeKey { key, change } => change_key(work, key, *change),
        Request::Encrypt { key, plaintext, context } => {
            encrypt(work, key, plaintext.secret(), context).map(Response::Encrypted)
        }
        Request::Decrypt { ciphertext, context, key } => {
            decrypt(work, ciphertext, context, key.as_ref()).map(Response::Decrypted)
        }
        Request::ReEncrypt(re) => re_encrypt(work, re),
        Request::GenerateDataKey(wanted) => generate_data_key(work, wanted).map(Response::DataKey),
        Request::GenerateDataKeyWithoutPlaintext(wanted) => {
            let made = generate_data_key(work, wanted)?;
            Ok(Response::DataKeyWithoutPlaintext(made.without_plaintext()))
        }
        Request::GenerateRandom { bytes } => Ok(generate_random(work, *bytes)),
        Request::CreatePrincipal { name, roles } => create_principal(work, name, roles),
        Request::ListPrincipals { limit, after } => list_principals(work, *limit, *after),
        Request::DeletePrincipal { name } => delete_principal(work, name),
        Request::RotateDomainKey => rotate_domain_key(work),
        Request::Admin(ceremony) => admin(work, ceremony),
        Request::ReadAudit(_) => Ok(read_audit()),
    }
}

fn denied(work: &Work<'_>, request: &Request) -> Refusal {
    let resource = requested_resources(request, work.domain).into_iter().next();
    Refusal::Denied {
        principal: work.caller.principal.clone(),
        action: request.action(),
        resource: resource.unwrap_or_else(|| "*".to_owned()),
    }
}

//! What operators and auditors ask for. Most of the work is the shell's: here it is authorised, guarded
//! and audited.

use conclave_seal::keyring::rotation::DomainKeyError;

use crate::plan::DecideError;
use crate::refusal::Refusal;
use crate::request::Admin;
use crate::response::Response;
use crate::work::{Stop, Work};

pub(crate) fn admin(work: &mut Work<'_>, ceremony: &Admin) -> Result<Response, Stop> {
    work.reads.adopt(&ceremony.guards)?;
    work.write_all(&ceremony.writes);
    Ok(Response::Done)
}

/// A new domain key. What lies under the old one is sealed again by the shell, in the background.
pub(crate) fn rotate_domain_key(work: &mut Work<'_>) -> Result<Response, Stop> {
    let change = match work.reads.rotate_domain_key(work.now_ms, work.entropy) {
        Ok(change) => change,
        Err(DomainKeyError::TooMany { older }) => {
            return Err(Refusal::TooManyDomainKeys { older }.into());
        }
        Err(DomainKeyError::Pending) => return Err(Refusal::ShareEpochPending.into()),
        Err(error) => return Err(DecideError::from(error).into()),
    };
    work.reads.adopt(&change.guards)?;
    work.write_all(&change.writes);
    let epoch = change.epochs.current;
    work.concerns(format!("domain-key/{epoch}"));
    Ok(Response::DomainKeyRotated { epoch })
}

/// The entry says that the log was read, by whom and how much of it; the shell streams it.
pub(crate) fn read_audit() -> Response {
    Response::Done
}

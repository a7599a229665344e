//! Operations whose work the shell does: here they are authorised, guarded and audited.

use crate::request::Admin;
use crate::response::Response;
use crate::work::{Stop, Work};

pub(crate) fn admin(work: &mut Work<'_>, ceremony: &Admin) -> Result<Response, Stop> {
    work.reads.adopt(&ceremony.guards)?;
    work.write_all(&ceremony.writes);
    Ok(Response::Done)
}

/// The entry says that the log was read, by whom and how much of it; the shell streams it.
pub(crate) fn read_audit() -> Response {
    Response::Done
}

//! What a member is told of a message that cannot be read.

use tonic::Status;

use crate::codec::CodecError;

/// The same message will never be read, so the status is one that nobody retries.
pub(crate) fn malformed(error: CodecError) -> Status {
    Status::invalid_argument(error.to_string())
}

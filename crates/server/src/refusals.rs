//! Refusals as gRPC statuses: the one place where the two meet.

use conclave_kms::Refusal;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

/// Header: the error's name, as AWS KMS has it.
pub(crate) const ERROR: &str = "conclave-error";

/// The status of a refusal, its AWS name in the `conclave-error` header.
pub(crate) fn to_status(refusal: &Refusal) -> Status {
    // The codes are gRPC's own numbers.
    named(Code::from_i32(refusal.grpc_code() as i32), refusal.name(), refusal.to_string())
}

/// An error with its name in the `conclave-error` header.
pub(crate) fn named(code: Code, name: &'static str, message: impl Into<String>) -> Status {
    let mut status = Status::new(code, message);
    status.metadata_mut().insert(ERROR, MetadataValue::from_static(name));
    status
}

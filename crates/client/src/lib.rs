//! The client of a Conclave cluster: it tries every endpoint and keeps its request id.
//!
//! [`Client`] has a method for each call of the native face. Every method goes through one loop
//! ([`Client::call`]) that retries what may be retried, under the *same* request id, so that the
//! cluster does a request once however often it is sent. What is never known to have been done or
//! not is said so: [`ClientError::OutcomeUnknown`].
//!
//! What it does not do: it keeps no cache, holds no keys, and follows no redirects between domains.

mod attempt;
mod call;
mod connect;
mod endpoint;
mod error;
mod limits;
mod methods;
mod request_id;
mod revision;
mod stream;
mod whole;

pub use call::{Client, ClientConfig, Effect, Reply, TIMEOUT_DEFAULT};
pub use connect::ConnectError;
pub use endpoint::{Endpoint, EndpointError};
pub use error::{ClientError, Failure, Refusal};
pub use limits::PLAINTEXT_BYTES_MAX;
pub use request_id::{RequestId, RequestIdError};
pub use revision::{Revision, RevisionError};
pub use stream::ItemStream;

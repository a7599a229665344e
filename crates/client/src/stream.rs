//! A long answer, item by item. One that breaks is reported, never resumed: its reader must know.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tonic::{Status, Streaming};

use crate::{
    attempt::{Verdict, judge},
    call::Reply,
    endpoint::Endpoint,
    error::{ClientError, Failure},
    request_id::RequestId,
};

/// The items of a streamed answer.
#[derive(Debug)]
pub struct ItemStream<T> {
    items: Streaming<T>,
    request_id: RequestId,
    endpoint: Endpoint,
    started: Instant,
    /// How long to wait for one item.
    item_limit: Duration,
}

impl<T> ItemStream<T> {
    pub(crate) fn of(reply: Reply<Streaming<T>>, item_limit: Duration) -> Reply<Self> {
        let (request_id, endpoint) = (reply.request_id.clone(), reply.endpoint.clone());
        let started = Instant::now();
        reply.map(|items| Self { items, request_id, endpoint, started, item_limit })
    }

    /// The next item, or `None` after the last.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the server ended the stream with an error,
    /// [`ClientError::Unreachable`] if it broke or stood still.
    pub async fn next(&mut self) -> Result<Option<T>, ClientError> {
        match timeout(self.item_limit, self.items.message()).await {
            Ok(Ok(item)) => Ok(item),
            Ok(Err(status)) => Err(self.failed(&status)),
            Err(_) => {
                let message = format!("no item within {:.1} s", self.item_limit.as_secs_f64());
                let endpoint = self.endpoint.clone();
                Err(self.broken(Failure { endpoint, name: None, message }))
            }
        }
    }

    fn failed(&self, status: &Status) -> ClientError {
        match judge(status, &self.endpoint, &self.request_id) {
            Verdict::Final(refusal) => ClientError::Refused(Box::new(refusal)),
            Verdict::Retry(setback) => self.broken(setback.failure),
        }
    }

    fn broken(&self, failure: Failure) -> ClientError {
        ClientError::Unreachable {
            request_id: self.request_id.clone(),
            after: self.started.elapsed(),
            failures: vec![failure],
        }
    }
}

//! The one loop behind every call: which endpoint, which id, how often, how long.
//!
//! Endpoints are tried in turn, the last good one first. After each round there is a pause of
//! 50 ms, doubling to 250 ms. All attempts of a request carry its id, and those after the first say
//! how long ago that was, so the cluster can tell a retry from a new request and a late one from
//! one that it has forgotten.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use conclave_pki::{TlsMaterial, api_client_config};
use tokio::time::{Instant, timeout};
use tonic::{Request, Response, Status, metadata::AsciiMetadataValue, transport::Channel};

use crate::{
    attempt::{ATTEMPT_AGE_MS, REQUEST_ID, Setback, Verdict, judge, revision},
    connect::{Tls, channel},
    endpoint::Endpoint,
    error::{ClientError, Failure},
    request_id::RequestId,
    revision::Revision,
};

/// How long a call may take, all attempts together, unless it is configured.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// A node that hangs must leave time for the others; a slow one, time to answer.
const ATTEMPT_MIN: Duration = Duration::from_secs(1);
const ATTEMPTS_PER_CALL: u32 = 3;

/// No attempt begins with less time than this, or than this part of the call's, left: it would hardly be
/// answered, and leave a doubt where there was none.
const LAST_ATTEMPT_MIN: Duration = Duration::from_millis(250);
const LAST_ATTEMPT_PART: u32 = 20;

/// Whom a client speaks to, and as whom.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// The API addresses of the nodes, at least one.
    pub endpoints: Vec<Endpoint>,
    /// The cluster's authority and this client's own certificate.
    pub tls: TlsMaterial,
    /// How long one call may take, all its attempts together.
    pub timeout: Duration,
}

/// A client of one cluster. Cloning is cheap, and clones share their connections.
#[derive(Clone)]
pub struct Client {
    nodes: Arc<Nodes>,
    pinned: Option<usize>,
    request_id: Option<RequestId>,
    timeout: Duration,
}

struct Nodes {
    list: Vec<(Endpoint, Channel)>,
    tls: Tls,
    /// Where to begin: the endpoint that answered last.
    good: AtomicUsize,
}

/// Whether an attempt that was not answered leaves a doubt behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The request only looks: unanswered, it is as if never sent.
    Reads,
    /// The request changes or uses something.
    Acts,
}

/// An answer, and where it came from.
#[derive(Clone, Debug)]
pub struct Reply<T> {
    /// The answer itself.
    pub value: T,
    /// Where in the domain's log the request took effect, if it did.
    pub revision: Option<Revision>,
    /// The request's id.
    pub request_id: RequestId,
    /// Who answered.
    pub endpoint: Endpoint,
}

impl<T> Reply<T> {
    /// The same reply with another value.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Reply<U> {
        Reply {
            value: change(self.value),
            revision: self.revision,
            request_id: self.request_id,
            endpoint: self.endpoint,
        }
    }
}

impl Client {
    /// A client that connects when it is first used.
    ///
    /// # Errors
    /// If there are no endpoints, or one cannot be dialled, or the TLS material is unusable.
    pub fn new(config: ClientConfig) -> Result<Self, ClientError> {
        if config.endpoints.is_empty() {
            return Err(ClientError::NoEndpoints);
        }
        let tls = Tls::new(api_client_config(&config.tls)?);
        let list = config
            .endpoints
            .into_iter()
            .map(|endpoint| channel(&endpoint, &tls).map(|channel| (endpoint, channel)))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            nodes: Arc::new(Nodes { list, tls, good: AtomicUsize::new(0) }),
            pinned: None,
            request_id: None,
            timeout: config.timeout,
        })
    }

    /// Replaces certificate and authorities, here and in every clone: what connects from now on uses
    /// the new ones, connections that are open go on.
    ///
    /// # Errors
    /// If the material is unusable; the old one then stays.
    pub fn replace_tls(&self, tls: &TlsMaterial) -> Result<(), ClientError> {
        self.nodes.tls.replace(api_client_config(tls)?);
        Ok(())
    }

    /// The endpoints, in the order given.
    pub fn endpoints(&self) -> impl ExactSizeIterator<Item = &Endpoint> {
        self.nodes.list.iter().map(|(endpoint, _)| endpoint)
    }

    /// The same client, but each call is one attempt at one endpoint.
    ///
    /// # Errors
    /// If this client has no such endpoint.
    pub fn at(&self, endpoint: &Endpoint) -> Result<Self, ClientError> {
        let found = self.endpoints().position(|known| known == endpoint);
        let pinned = Some(found.ok_or_else(|| ClientError::Endpoint(endpoint.clone()))?);
        Ok(Self { pinned, ..self.clone() })
    }

    /// [`Client::at`] the first endpoint.
    pub fn at_first(&self) -> Self {
        Self { pinned: Some(0), ..self.clone() }
    }

    /// The same client, but its calls carry this id instead of a new one each.
    pub fn with_request_id(&self, request_id: RequestId) -> Self {
        Self { request_id: Some(request_id), ..self.clone() }
    }

    /// The same client with another limit on each call.
    pub fn with_timeout(&self, timeout: Duration) -> Self {
        Self { timeout, ..self.clone() }
    }

    /// How long one call may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Sends one request until somebody decides it or the time is up. The typed methods are this
    /// with `send` filled in.
    ///
    /// # Errors
    /// [`ClientError::Refused`] if the cluster said no, [`ClientError::OutcomeUnknown`] if it may
    /// have been done, [`ClientError::Unreachable`] if it was not.
    pub async fn call<Req, Res, Send, Sent>(
        &self,
        effect: Effect,
        request: Req,
        send: Send,
    ) -> Result<Reply<Res>, ClientError>
    where
        Req: Clone,
        Send: Fn(Channel, Request<Req>) -> Sent,
        Sent: Future<Output = Result<Response<Res>, Status>>,
    {
        let request_id = self.request_id.clone().unwrap_or_else(RequestId::random);
        let mut progress = Progress::new(self, effect, request_id);
        loop {
            let node = progress.node();
            let (endpoint, channel) = &self.nodes.list[node];
            let attempt = progress.stamp(Request::new(request.clone()));
            let limit = progress.attempt_limit();
            let verdict = match timeout(limit, send(channel.clone(), attempt)).await {
                Ok(Ok(response)) => {
                    self.nodes.good.store(node, Ordering::Relaxed);
                    return Ok(progress.reply(endpoint, response));
                }
                Ok(Err(status)) => judge(&status, endpoint, &progress.request_id),
                Err(_) => Verdict::Retry(Setback {
                    failure: Failure {
                        endpoint: endpoint.clone(),
                        name: None,
                        message: format!("no answer within {:.1} s", limit.as_secs_f64()),
                    },
                    maybe_done: true,
                    hopeless: false,
                }),
            };
            match verdict {
                Verdict::Final(refusal) => {
                    self.nodes.good.store(node, Ordering::Relaxed);
                    return Err(ClientError::Refused(Box::new(refusal)));
                }
                Verdict::Retry(setback) => progress.note(setback),
            }
            let Some(pause) = progress.pause() else { return Err(progress.give_up()) };
            tokio::time::sleep(pause).await;
        }
    }
}

/// Where one call stands between its attempts.
struct Progress {
    request_id: RequestId,
    effect: Effect,
    started: Instant,
    limit: Duration,
    /// The endpoints of a round, the last good one first.
    order: Vec<usize>,
    attempts: usize,
    pause_next: Duration,
    /// When the first attempt began that may have reached a server.
    first_sent: Option<Instant>,
    attempt_began: Instant,
    maybe_done: bool,
    hopeless_in_round: usize,
    single: bool,
    /// The last failure at each endpoint.
    failures: Vec<Failure>,
}

impl Progress {
    fn new(client: &Client, effect: Effect, request_id: RequestId) -> Self {
        let count = client.nodes.list.len();
        let good = client.nodes.good.load(Ordering::Relaxed);
        let order = match client.pinned {
            Some(node) => vec![node],
            None => (0..count).map(|offset| (good + offset) % count).collect(),
        };
        let now = Instant::now();
        Self {
            request_id,
            effect,
            started: now,
            limit: client.timeout,
            order,
            attempts: 0,
            pause_next: PAUSE_MIN,
            first_sent: None,
            attempt_began: now,
            maybe_done: false,
            hopeless_in_round: 0,
            single: client.pinned.is_some(),
            failures: Vec::new(),
        }
    }

    fn node(&self) -> usize {
        self.order[self.attempts % self.order.len()]
    }

    fn stamp<T>(&mut self, mut request: Request<T>) -> Request<T> {
        self.attempt_began = Instant::now();
        let metadata = request.metadata_mut();
        let mut id: AsciiMetadataValue =
            self.request_id.as_str().parse().expect("a request id is printable ASCII");
        // Seldom the same twice, so it would only fill the table of known headers at either end.
        id.set_sensitive(true);
        metadata.insert(REQUEST_ID, id);
        if let Some(first) = self.first_sent {
            // 0 would say that this is the first attempt.
            let age_ms = u64::try_from(first.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
            metadata.insert(ATTEMPT_AGE_MS, age_ms.into());
        }
        request
    }

    fn attempt_limit(&self) -> Duration {
        let left = self.limit.saturating_sub(self.started.elapsed());
        match self.order.len() {
            1 => left,
            _ => left.min((self.limit / ATTEMPTS_PER_CALL).max(ATTEMPT_MIN)),
        }
    }

    fn reply<T>(&self, endpoint: &Endpoint, response: Response<T>) -> Reply<T> {
        Reply {
            revision: revision(response.metadata()),
            value: response.into_inner(),
            request_id: self.request_id.clone(),
            endpoint: endpoint.clone(),
        }
    }

    fn note(&mut self, setback: Setback) {
        self.attempts += 1;
        self.maybe_done |= setback.maybe_done;
        self.hopeless_in_round += usize::from(setback.hopeless);
        if setback.maybe_done || setback.failure.name.is_some() {
            self.first_sent.get_or_insert(self.attempt_began);
        }
        self.failures.retain(|known| known.endpoint != setback.failure.endpoint);
        self.failures.push(setback.failure);
    }

    /// How long to wait before the next attempt; `None` if there is none.
    fn pause(&mut self) -> Option<Duration> {
        let latest = self.limit - LAST_ATTEMPT_MIN.min(self.limit / LAST_ATTEMPT_PART);
        if self.single || self.started.elapsed() >= latest {
            return None;
        }
        if !self.attempts.is_multiple_of(self.order.len()) {
            return Some(Duration::ZERO);
        }
        if std::mem::take(&mut self.hopeless_in_round) == self.order.len() {
            return None;
        }
        let pause = self.pause_next;
        self.pause_next = (pause * 2).min(PAUSE_MAX);
        (self.started.elapsed() + pause < latest).then_some(pause)
    }

    fn give_up(self) -> ClientError {
        let after = self.started.elapsed();
        let Self { request_id, failures, .. } = self;
        if self.maybe_done && self.effect == Effect::Acts {
            return ClientError::OutcomeUnknown { request_id, after, failures };
        }
        ClientError::Unreachable { request_id, after, failures }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_attempt_begins_that_has_no_time_to_be_answered() {
        let pause = |limit_ms, ago_ms, attempts| {
            let now = Instant::now();
            let mut progress = Progress {
                request_id: RequestId::random(),
                effect: Effect::Acts,
                started: now - Duration::from_millis(ago_ms),
                limit: Duration::from_millis(limit_ms),
                order: vec![0, 1],
                attempts,
                pause_next: PAUSE_MIN,
                first_sent: None,
                attempt_began: now,
                maybe_done: false,
                hopeless_in_round: 0,
                single: false,
                failures: Vec::new(),
            };
            progress.pause()
        };
        assert_eq!(pause(30_000, 20_000, 1), Some(Duration::ZERO));
        assert_eq!(pause(30_000, 29_800, 1), None);
        assert_eq!(pause(30_000, 20_000, 2), Some(PAUSE_MIN));
        assert_eq!(pause(30_000, 29_720, 2), None, "the pause counts too");
        assert_eq!(pause(1_000, 960, 1), None, "a twentieth of a short call's time");
    }
}

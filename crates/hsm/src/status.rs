//! How the HSM is, for people; shared between the worker and its handles.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::CallClock;
use crate::connector::TokenDescription;
use crate::error::{HsmError, Remedy};

/// How the HSM is at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HsmStatus {
    /// The token, once it has been seen.
    pub token: Option<TokenDescription>,
    /// Whether it can be used.
    pub state: HsmState,
}

/// Whether the HSM can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HsmState {
    /// The first connection is being made.
    Connecting,
    /// Logged in.
    Ready,
    /// Not connected; tried again by itself.
    Waiting(HsmError),
    /// A call has not returned for so long.
    NotAnswering(Duration),
}

impl HsmState {
    /// Whether it stays so until a person does something.
    pub fn needs_person(&self) -> bool {
        matches!(self, Self::Waiting(why) if why.remedy() == Remedy::NeedsPerson)
    }
}

impl fmt::Display for HsmState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connecting => f.write_str("connecting"),
            Self::Ready => f.write_str("ready"),
            Self::Waiting(why) => write!(f, "waiting: {why}"),
            Self::NotAnswering(for_) => write!(f, "not answering for {} s", for_.as_secs()),
        }
    }
}

impl fmt::Display for HsmStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.token {
            Some(token) => write!(f, "{token}: {}", self.state),
            None => write!(f, "{}", self.state),
        }
    }
}

/// What the worker says, and the call it is in.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) clock: Arc<CallClock>,
    /// Whether the worker has ended; its session and module with it.
    pub(crate) ended: watch::Sender<bool>,
    status: Mutex<HsmStatus>,
    is_stopping: AtomicBool,
}

impl Shared {
    pub(crate) fn new() -> Self {
        let status = HsmStatus { token: None, state: HsmState::Connecting };
        Self {
            clock: Arc::default(),
            ended: watch::Sender::new(false),
            status: Mutex::new(status),
            is_stopping: AtomicBool::new(false),
        }
    }

    /// Tells the worker to end.
    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::SeqCst)
    }

    /// As it is; a call that has taken `call_limit` already counts as not answered.
    pub(crate) fn status(&self, call_limit: Duration) -> HsmStatus {
        let mut status = self.lock().clone();
        if let Some(for_) = self.not_answering(call_limit) {
            status.state = HsmState::NotAnswering(for_);
        }
        status
    }

    /// For how long the call under way has not been answered, if longer than `call_limit`.
    pub(crate) fn not_answering(&self, call_limit: Duration) -> Option<Duration> {
        self.clock.under_way().filter(|for_| *for_ >= call_limit)
    }

    pub(crate) fn ready(&self, token: TokenDescription) {
        *self.lock() = HsmStatus { token: Some(token), state: HsmState::Ready };
    }

    /// Says whether this is news.
    pub(crate) fn waiting(&self, why: HsmError) -> bool {
        let mut status = self.lock();
        let state = HsmState::Waiting(why);
        let is_news = status.state != state;
        status.state = state;
        is_news
    }

    /// Why it waits, if it does.
    pub(crate) fn why_not(&self) -> Option<HsmError> {
        match &self.lock().state {
            HsmState::Waiting(why) => Some(HsmError::NotReady { why: Arc::new(why.clone()) }),
            _ => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HsmStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

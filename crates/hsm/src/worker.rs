//! The thread that owns the connection: connects, works, probes while idle, and connects again.
//!
//! Everything that may hang hangs here and nowhere else. The thread is never joined.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::connector::Connector;
use crate::error::{HsmError, Remedy};
use crate::handle::Timing;
use crate::session::TokenSession;
use crate::status::Shared;

/// A request, whatever its answer is.
pub(crate) trait Job: Send {
    /// Whether somebody still waits for the answer.
    fn is_wanted(&self) -> bool;
    /// Does it and answers, or leaves the answer open.
    fn attempt(&mut self, session: &TokenSession) -> Result<(), HsmError>;
    /// Answers with a failure.
    fn refuse(&mut self, error: HsmError);
}

/// A [`Job`] and whom to answer.
pub(crate) struct Request<T, F> {
    pub(crate) run: F,
    pub(crate) reply: Option<oneshot::Sender<Result<T, HsmError>>>,
}

impl<T: Send, F: Fn(&TokenSession) -> Result<T, HsmError> + Send> Job for Request<T, F> {
    fn is_wanted(&self) -> bool {
        self.reply.as_ref().is_some_and(|reply| !reply.is_closed())
    }

    fn attempt(&mut self, session: &TokenSession) -> Result<(), HsmError> {
        let done = (self.run)(session)?;
        self.answer(Ok(done));
        Ok(())
    }

    fn refuse(&mut self, error: HsmError) {
        self.answer(Err(error));
    }
}

impl<T, F> Request<T, F> {
    fn answer(&mut self, answer: Result<T, HsmError>) {
        // Whoever asked may have given up.
        self.reply.take().map(|reply| reply.send(answer));
    }
}

/// Wakes the worker, so that it sees that it is to stop.
pub(crate) struct Wake;

impl Job for Wake {
    fn is_wanted(&self) -> bool {
        false
    }

    fn attempt(&mut self, _: &TokenSession) -> Result<(), HsmError> {
        Ok(())
    }

    fn refuse(&mut self, _: HsmError) {}
}

/// Why a connection was given up.
enum End {
    /// Nobody holds a handle any more, or it was told to stop.
    Unwanted,
    /// It failed, in the middle of this job if there is one, which is worth a second attempt.
    Lost(HsmError, Option<Box<dyn Job>>),
}

/// Works until the last handle is gone or it is told to stop.
pub(crate) fn run(
    mut connector: Connector,
    requests: &Receiver<Box<dyn Job>>,
    shared: &Arc<Shared>,
    timing: Timing,
) {
    let mut pause = Pause { timing, next: Duration::ZERO };
    let mut second = None;
    loop {
        match connector.connect() {
            Ok(session) => {
                let token = session.description().clone();
                info!(%token, "the HSM is ready");
                shared.ready(token);
                match serve(&session, requests, shared, second.take(), &mut pause) {
                    End::Unwanted => return,
                    End::Lost(error, job) => {
                        second = job;
                        told(shared, &error, pause.next);
                    }
                }
            }
            Err(error) => {
                if let Some(job) = &mut second {
                    job.refuse(error.clone());
                }
                second = None;
                if pause.next.is_zero() {
                    pause.lengthen();
                }
                told(shared, &error, pause.next);
            }
        }
        if !pause.wait(requests, shared) {
            return;
        }
    }
}

/// Does what is asked until the connection fails. A job that fails with it is tried once more with
/// the next one; one that fails a second time is answered.
fn serve(
    session: &TokenSession,
    requests: &Receiver<Box<dyn Job>>,
    shared: &Shared,
    mut second: Option<Box<dyn Job>>,
    pause: &mut Pause,
) -> End {
    while !shared.is_stopping() {
        let is_second = second.is_some();
        let received = match second.take() {
            Some(job) => Ok(job),
            None => requests.recv_timeout(pause.timing.probe_every),
        };
        let mut job = match received {
            Ok(job) if job.is_wanted() => job,
            Ok(_) => continue,
            Err(RecvTimeoutError::Timeout) => match session.probe() {
                Ok(()) => {
                    pause.reset();
                    continue;
                }
                Err(error) => return End::Lost(error, None),
            },
            Err(RecvTimeoutError::Disconnected) => return End::Unwanted,
        };
        let mut error = match job.attempt(session) {
            Ok(()) => {
                pause.reset();
                continue;
            }
            Err(error) => error,
        };
        // A token that was taken out shows no keys either.
        if matches!(error, HsmError::KeyAbsent { .. })
            && let Err(gone) = session.probe()
        {
            error = gone;
        }
        if error.wants_new_connection() && !is_second {
            return End::Lost(error, Some(job));
        }
        job.refuse(error.clone());
        if error.wants_new_connection() {
            pause.lengthen();
            return End::Lost(error, None);
        }
    }
    End::Unwanted
}

fn told(shared: &Shared, error: &HsmError, pause: Duration) {
    if !shared.waiting(error.clone()) {
        return;
    }
    let next_ms = pause.as_millis();
    match error.remedy() {
        Remedy::RetryLater => warn!(%error, next_ms, "the HSM is not ready; trying again"),
        Remedy::NeedsPerson => {
            warn!(%error, next_ms, "the HSM is not ready and somebody has to look; trying again");
        }
    }
}

/// How long to wait before the next connection: not at all after one that worked, then longer and
/// longer.
struct Pause {
    timing: Timing,
    next: Duration,
}

impl Pause {
    fn reset(&mut self) {
        self.next = Duration::ZERO;
    }

    fn lengthen(&mut self) {
        self.next = (self.next * 2).clamp(self.timing.backoff_min, self.timing.backoff_max);
    }

    /// Waits, answering whoever got past the handle's own look at the state; gives `false` once the
    /// last handle is gone or it is told to stop.
    fn wait(&mut self, requests: &Receiver<Box<dyn Job>>, shared: &Shared) -> bool {
        let until = Instant::now() + self.next;
        self.lengthen();
        while !shared.is_stopping() {
            match requests.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(mut job) => {
                    let why = shared.why_not().unwrap_or(HsmError::Connecting);
                    job.refuse(why);
                }
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
        false
    }
}

//! What a node holds of its HSM: asks the worker, and never waits longer than it said.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use conclave_crypto::Secret;
use tokio::sync::oneshot;
use tracing::error;

use crate::connector::Connector;
use crate::error::HsmError;
use crate::label::KeyLabel;
use crate::session::TokenSession;
use crate::settings::Settings;
use crate::status::{HsmState, HsmStatus, Shared};
use crate::worker::{self, Job, Request, Wake};

/// Requests that may wait at once. A node has a handful of shares; more than this means that
/// somebody asks again without having waited for the answer.
const QUEUE: usize = 8;
/// Between looks at whether the HSM still answers while a request waits.
const LOOK: Duration = Duration::from_millis(100);
/// How long a stop waits for the session to be closed.
const STOP_LIMIT: Duration = Duration::from_secs(3);

/// How long what may take. [`Timing::default`] is right for a node.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// A step of up to four calls into the module; longer means that it does not answer. An HSM
    /// that takes 2 s for each call is slow, not dead.
    pub call: Duration,
    /// A whole request, waiting for its turn included.
    pub request: Duration,
    /// The first pause between connections.
    pub backoff_min: Duration,
    /// The longest.
    pub backoff_max: Duration,
    /// Between looks at an idle token.
    pub probe_every: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            call: Duration::from_secs(12),
            request: Duration::from_secs(60),
            backoff_min: Duration::from_millis(500),
            backoff_max: Duration::from_secs(10),
            probe_every: Duration::from_secs(5),
        }
    }
}

/// A handle on the one thread that talks to the token. Clones share it; it ends with the last.
#[derive(Clone)]
pub struct Hsm {
    requests: SyncSender<Box<dyn Job>>,
    shared: Arc<Shared>,
    timing: Timing,
}

impl Hsm {
    /// Starts connecting, in the background and for as long as it takes.
    pub fn start(settings: Settings) -> Self {
        Self::start_with(settings, Timing::default())
    }

    /// The same with other times, for tests.
    pub fn start_with(settings: Settings, timing: Timing) -> Self {
        let (requests, received) = sync_channel(QUEUE);
        let shared = Arc::new(Shared::new());
        let theirs = Arc::clone(&shared);
        let spawned = std::thread::Builder::new().name("hsm".to_owned()).spawn(move || {
            let _ended = Ended(Arc::clone(&theirs));
            let connector = Connector::with_clock(settings, Arc::clone(&theirs.clock));
            worker::run(connector, &received, &theirs, timing);
        });
        if let Err(error) = spawned {
            // The receiver went with it, so every request is answered accordingly.
            error!(%error, "no thread for the HSM");
        }
        Self { requests, shared, timing }
    }

    /// How the HSM is. Never waits.
    pub fn status(&self) -> HsmStatus {
        self.shared.status(self.timing.call)
    }

    /// [`TokenSession::wrap`].
    ///
    /// # Errors
    /// [`HsmError`].
    pub async fn wrap(
        &self,
        label: KeyLabel,
        aad: Vec<u8>,
        plaintext: Secret,
    ) -> Result<Vec<u8>, HsmError> {
        self.ask(move |session| session.wrap(&label, &aad, plaintext.expose())).await
    }

    /// [`TokenSession::unwrap`].
    ///
    /// # Errors
    /// [`HsmError`].
    pub async fn unwrap(
        &self,
        label: KeyLabel,
        aad: Vec<u8>,
        wrapped: Vec<u8>,
    ) -> Result<Secret, HsmError> {
        self.ask(move |session| session.unwrap(&label, &aad, &wrapped)).await
    }

    /// [`TokenSession::destroy`].
    ///
    /// # Errors
    /// [`HsmError`].
    pub async fn destroy(&self, label: KeyLabel) -> Result<bool, HsmError> {
        self.ask(move |session| session.destroy(&label)).await
    }

    /// [`TokenSession::list`].
    ///
    /// # Errors
    /// [`HsmError`].
    pub async fn list(&self, prefix: String) -> Result<Vec<KeyLabel>, HsmError> {
        self.ask(move |session| session.list(&prefix)).await
    }

    /// Closes the session and finalises the module, for every clone of this handle, and waits until
    /// that is done, for 3 s at most; gives whether it is.
    ///
    /// Called before the process ends. The end of a process tears down the module's library, and
    /// while a call is under way in it that can crash, or wait for ever for a lock that the call
    /// held (seen with SoftHSM). If this gives `false`, end without it: by SIGKILL.
    pub async fn stop(&self) -> bool {
        self.shared.stop();
        // If the queue is full, the worker wakes anyway.
        let _ = self.requests.try_send(Box::new(Wake));
        let mut ended = self.shared.ended.subscribe();
        let ended = ended.wait_for(|ended| *ended);
        matches!(tokio::time::timeout(STOP_LIMIT, ended).await, Ok(Ok(_)))
    }

    /// Asks the worker. Answered at once while the HSM is known to be away or not to answer; waits
    /// for the first connection and for others' requests, within the limit.
    async fn ask<T: Send + 'static>(
        &self,
        run: impl Fn(&TokenSession) -> Result<T, HsmError> + Send + 'static,
    ) -> Result<T, HsmError> {
        self.admit()?;
        let (reply, mut answer) = oneshot::channel();
        let request = Request { run, reply: Some(reply) };
        self.requests.try_send(Box::new(request)).map_err(|refused| match refused {
            TrySendError::Full(_) => HsmError::Busy { waiting: QUEUE },
            TrySendError::Disconnected(_) => HsmError::WorkerEnded,
        })?;
        let began = Instant::now();
        // Giving up drops `answer`, and the worker leaves out what nobody waits for.
        loop {
            match tokio::time::timeout(LOOK, &mut answer).await {
                Ok(Ok(answer)) => return answer,
                Ok(Err(_)) => return Err(HsmError::WorkerEnded),
                Err(_) => {}
            }
            if let Some(for_) = self.shared.not_answering(self.timing.call) {
                return Err(HsmError::NotAnswering { for_ });
            }
            if began.elapsed() >= self.timing.request {
                return Err(HsmError::TooSlow { limit: self.timing.request });
            }
        }
    }

    fn admit(&self) -> Result<(), HsmError> {
        match self.status().state {
            HsmState::Connecting | HsmState::Ready => Ok(()),
            HsmState::Waiting(HsmError::WorkerEnded) => Err(HsmError::WorkerEnded),
            HsmState::Waiting(why) => Err(HsmError::NotReady { why: Arc::new(why) }),
            HsmState::NotAnswering(for_) => Err(HsmError::NotAnswering { for_ }),
        }
    }
}

/// Says that the worker has ended, however it did.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.waiting(HsmError::WorkerEnded);
        self.0.ended.send_replace(true);
    }
}

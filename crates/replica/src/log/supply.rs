//! The thread that makes the next segment ahead of need and removes those that are no longer needed,
//! so that the writer does neither.
//!
//! Here a full disk is met, and only here: a segment that exists takes every batch that fits. When
//! the next one cannot be made, nothing has been half-written; it is tried again until there is
//! room, and the writer waits meanwhile if it must. Any other error is for the writer to fail with.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use super::folder::{Folder, SegmentFile};
use super::segment::{Header, Owner, SegmentNumber, make};

/// Between two tries while the disk is full.
const AGAIN_MIN: Duration = Duration::from_millis(50);
const AGAIN_MAX: Duration = Duration::from_secs(1);

/// Whether the log has room to grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Room {
    /// The next segment exists or can be made.
    #[default]
    Enough,
    /// The next segment cannot be made; what is left of those that exist is still used. A leader
    /// should hand over now.
    Short,
    /// Nothing is left. Writes wait, unanswered, until there is room.
    Exhausted,
}

/// A segment ready to be filled.
pub(super) type Ready = (SegmentNumber, Arc<dyn SegmentFile>);

#[derive(Debug)]
pub(super) struct Supply {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    folder: Arc<dyn Folder>,
    owner: Owner,
    segment_bytes: u32,
    state: Mutex<State>,
    changed: Condvar,
    room: watch::Sender<Room>,
}

#[derive(Debug)]
struct State {
    ready: VecDeque<Ready>,
    /// The next one to be made.
    next: SegmentNumber,
    /// To be removed, oldest first.
    waste: VecDeque<SegmentNumber>,
    /// Why the last try found no room.
    short: Option<String>,
    is_waited_for: bool,
    failure: Option<(io::ErrorKind, String)>,
    /// The log is closing: do not wait for room.
    is_closing: bool,
    is_done: bool,
}

impl Supply {
    /// Starts with the segments found ready; `next` is the number after the last one.
    pub(super) fn start(
        folder: Arc<dyn Folder>,
        owner: Owner,
        segment_bytes: u32,
        ready: VecDeque<Ready>,
        next: SegmentNumber,
    ) -> io::Result<Self> {
        let state = State {
            ready,
            next,
            waste: VecDeque::new(),
            short: None,
            is_waited_for: false,
            failure: None,
            is_closing: false,
            is_done: false,
        };
        let shared = Arc::new(Shared {
            folder,
            owner,
            segment_bytes,
            state: Mutex::new(state),
            changed: Condvar::new(),
            room: watch::Sender::new(Room::Enough),
        });
        let thread = std::thread::Builder::new().name("raft-log-supply".to_owned());
        let runs = shared.clone();
        let thread = Mutex::new(Some(thread.spawn(move || runs.run())?));
        Ok(Self { shared, thread })
    }

    /// The next segment; waits until there is one. Fails if it can never be made, or if there is no
    /// room and the log is closing.
    pub(super) fn take(&self) -> io::Result<Ready> {
        let mut state = self.shared.state();
        loop {
            if let Some(ready) = state.ready.pop_front() {
                state.is_waited_for = false;
                self.shared.changed(&state);
                return Ok(ready);
            }
            if let Some((kind, reason)) = &state.failure {
                return Err(io::Error::new(*kind, reason.clone()));
            }
            if let Some(reason) = state.short.as_ref().filter(|_| state.is_closing) {
                let reason = format!("closed while there was no room for a segment: {reason}");
                return Err(io::Error::new(io::ErrorKind::StorageFull, reason));
            }
            state.is_waited_for = true;
            self.shared.changed(&state);
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Removes a segment, after all older ones, some time.
    pub(super) fn discard(&self, number: SegmentNumber) {
        let mut state = self.shared.state();
        state.waste.push_back(number);
        self.shared.changed(&state);
    }

    pub(super) fn room(&self) -> watch::Receiver<Room> {
        self.shared.room.subscribe()
    }

    /// From now on the writer does not wait for room.
    pub(super) fn close(&self) {
        let mut state = self.shared.state();
        state.is_closing = true;
        self.shared.changed(&state);
    }

    /// Ends the thread.
    pub(super) fn stop(&self) {
        {
            let mut state = self.shared.state();
            state.is_done = true;
            self.shared.changed(&state);
        }
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic was reported when it happened; the writer has ended already.
            drop(thread.join());
        }
    }
}

enum Task {
    Remove(SegmentNumber),
    Make(SegmentNumber),
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whoever waits, and whoever watches.
    fn changed(&self, state: &State) {
        let room = match (&state.short, state.is_waited_for) {
            (None, _) => Room::Enough,
            (Some(_), false) => Room::Short,
            (Some(_), true) => Room::Exhausted,
        };
        self.room.send_if_modified(|known| std::mem::replace(known, room) != room);
        self.changed.notify_all();
    }

    fn run(&self) {
        let mut again = AGAIN_MIN;
        // Removing comes first, as it may be what makes room, unless it has just failed.
        let mut can_remove = true;
        while let Some(task) = self.next_task(can_remove) {
            let is_done = match task {
                Task::Remove(number) => self.remove(number),
                Task::Make(number) => self.make(number),
            };
            can_remove = is_done || matches!(task, Task::Make(_));
            again = if is_done { AGAIN_MIN } else { self.pause(again) };
        }
    }

    fn next_task(&self, can_remove: bool) -> Option<Task> {
        let mut state = self.state();
        loop {
            if state.is_done {
                return None;
            }
            let is_needed = state.ready.is_empty() && state.failure.is_none();
            match state.waste.front() {
                Some(number) if can_remove || !is_needed => return Some(Task::Remove(*number)),
                _ if is_needed => return Some(Task::Make(state.next)),
                _ => {}
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Waits, but not beyond the end, nor if there is something new to remove. Answers how long to
    /// wait the next time.
    fn pause(&self, pause: Duration) -> Duration {
        let state = self.state();
        let waste = state.waste.len();
        let goes_on = |state: &mut State| !state.is_done && state.waste.len() <= waste;
        let waited = self.changed.wait_timeout_while(state, pause, goes_on);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        (pause * 2).min(AGAIN_MAX)
    }

    /// Whether it is gone.
    fn remove(&self, number: SegmentNumber) -> bool {
        // The names of older ones go first and durably: a gap would be taken for damage.
        let gone = self.folder.remove(&number.file_name()).and_then(|()| self.folder.sync());
        match gone {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, segment = number.0, "an old segment of the Raft log stays");
                false
            }
            _ => {
                self.state().waste.pop_front();
                true
            }
        }
    }

    /// False: no room.
    fn make(&self, number: SegmentNumber) -> bool {
        let header = Header { owner: self.owner, number, bytes: self.segment_bytes };
        let made = make(&*self.folder, header, &[]);
        let mut state = self.state();
        match made {
            Ok(file) => {
                if state.short.take().is_some() {
                    tracing::info!("the Raft log has room again");
                }
                state.ready.push_back((number, file));
                state.next = number.next();
            }
            Err(error) if passes(&error) => {
                if state.short.replace(error.to_string()).is_none() {
                    tracing::error!(%error, "no room for the Raft log's next segment");
                }
            }
            Err(error) => {
                tracing::error!(%error, "the Raft log's next segment cannot be made");
                state.failure = Some((error.kind(), error.to_string()));
            }
        }
        self.changed(&state);
        state.short.is_none()
    }
}

/// Whether an error may pass by itself: no room, or no file descriptor or memory to make room with.
fn passes(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, OutOfMemory, QuotaExceeded, StorageFull};
    const TOO_MANY_FILES: [i32; 2] = [23, 24];
    matches!(error.kind(), StorageFull | QuotaExceeded | OutOfMemory | Interrupted)
        || error.raw_os_error().is_some_and(|code| TOO_MANY_FILES.contains(&code))
}

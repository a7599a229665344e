//! What a process that holds secrets does for all of its memory: nobody else dumps it, traces it or
//! swaps it out, as far as the system lets it say so.

use std::fmt;

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit,
};
use rustix::thread::{CapabilitySet, capabilities};

/// What [`Confinement::enter`] got. Displayed as what an operator wants to read of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confinement {
    /// No core is written, and no process but root's traces this one or reads its memory.
    pub undumpable: bool,
    /// The limit of core files is zero, should the process become dumpable again.
    pub no_core_files: bool,
    /// All memory stays out of swap, not only what holds secrets.
    pub locked: bool,
    /// Bytes that may be locked; none: without limit.
    pub lock_limit: Option<u64>,
}

impl Confinement {
    /// Confines this process, for good. Each step that the system refuses is left out.
    ///
    /// All memory is locked only where there is no limit: under one, a later allocation would fail.
    /// What is mapped and never touched takes no memory even then.
    pub fn enter() -> Self {
        let undumpable = set_dumpable_behavior(DumpableBehavior::NotDumpable).is_ok();
        let none = Rlimit { current: Some(0), maximum: Some(0) };
        let no_core_files = setrlimit(Resource::Core, none).is_ok();

        let limit = getrlimit(Resource::Memlock);
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        let lock_limit = match setrlimit(Resource::Memlock, raised) {
            Ok(()) => limit.maximum,
            Err(_) => limit.current,
        };
        let lock_limit = lock_limit.filter(|_| !may_lock_everything());
        let all = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
        let locked = lock_limit.is_none() && mlockall(all).is_ok();
        Self { undumpable, no_core_files, locked, lock_limit }
    }
}

/// `CAP_IPC_LOCK`: the limit does not count.
fn may_lock_everything() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK))
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let yes = |is: bool| if is { "yes" } else { "NO" };
        write!(f, "no dumps: {}", yes(self.undumpable || self.no_core_files))?;
        write!(f, ", no ptrace: {}", yes(self.undumpable))?;
        write!(f, ", all memory locked: {}", yes(self.locked))?;
        match self.lock_limit {
            Some(bytes) => write!(f, " (only {} KiB may be)", bytes / 1024),
            None => Ok(()),
        }
    }
}

//! Enough file descriptors for the connections that are allowed, and some left for the disk.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::warn;

/// For the log, the index, segments, snapshots and connections to peers: a crowd of clients must
/// not keep the node from its own files.
const KEPT_BACK: u64 = 1_024;
/// The api's and the peers'.
const LISTENERS: u64 = 2;

/// Raises the process's limit as far as it may, and gives how many connections each listener can
/// have of those it was to have.
pub(crate) fn connections(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let fitting = fitting(wanted, current);
    if fitting < wanted {
        warn!(
            fitting,
            wanted, "too few file descriptors for limits.connections: raise LimitNOFILE"
        );
    }
    fitting
}

/// None: without limit.
fn fitting(wanted: usize, descriptors: Option<u64>) -> usize {
    let Some(descriptors) = descriptors else { return wanted };
    // Where even the node's own are scarce, half of what there is.
    let kept_back = KEPT_BACK.min(descriptors / 2);
    let each = (descriptors - kept_back) / LISTENERS;
    wanted.min(usize::try_from(each).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_the_disk() {
        assert_eq!(fitting(4_096, None), 4_096);
        assert_eq!(fitting(4_096, Some(65_536)), 4_096);
        assert_eq!(fitting(4_096, Some(4_096)), 1_536);
        assert_eq!(fitting(4_096, Some(1_024)), 256);
    }
}

//! The parsers of outside bytes that are nobody's interface, for `conclave-fuzz` alone. Each says
//! whether it took the bytes, and panics if it contradicts itself.

use std::path::Path;

use bytes::Bytes;
use conclave_proto::peer::ChangeMembersRequest;
use conclave_proto::raft::AppendEntriesRequest;
use conclave_proto::store::SnapshotItem;

use crate::snapshot::SnapshotFileError;

/// An AppendEntries call, as a follower takes it.
pub fn append_entries(request: AppendEntriesRequest) -> bool {
    crate::service::parse_append(request).is_ok()
}

/// A change of members, as the leader takes it.
pub fn change_members(request: ChangeMembersRequest) -> bool {
    crate::members::is_well_formed(request)
}

/// One record of the log, of a kind and with a body, under a checksum that fits.
pub fn log_record(kind: u8, body: &[u8]) -> bool {
    crate::log::fuzzing::record(kind, body)
}

/// What a batch of the log carries.
pub fn log_payload(payload: Bytes) -> bool {
    crate::log::fuzzing::payload(payload)
}

/// Gives each item of a snapshot file to `take`, until that says no.
///
/// # Errors
/// If the file is not one that was written whole.
pub fn snapshot_items(
    file: &Path,
    mut take: impl FnMut(SnapshotItem) -> bool,
) -> Result<(), SnapshotFileError> {
    let mut reader = crate::snapshot::SnapshotReader::open(file)?;
    while let Some(item) = reader.next_item()? {
        if !take(item) {
            break;
        }
    }
    Ok(())
}

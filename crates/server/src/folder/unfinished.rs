//! A domain's folder that is being made from what is left of a lost quorum. It lies in
//! `<data_dir>/recovering` until it is whole, and counts with one rename.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use conclave_proto::seal::{NodeIdentity, Recovered};
use prost::Message;

use super::{FORMAT, Folder, FolderError, io_at, make_dir, sync_dir, write};

const UNFINISHED: &str = "recovering";
const DOMAINS: &str = "domains";
/// What a folder may hold that is otherwise empty.
const LOCK: &str = "lock";
/// What a file system's own top folder holds.
const LOST: &str = "lost+found";

/// A folder that is being made.
#[derive(Debug)]
pub(crate) struct Unfinished<'a> {
    folder: &'a Folder,
    domain_id: [u8; 16],
    path: PathBuf,
}

impl Folder {
    /// Whether the making of a domain's folder was begun here and not finished.
    pub(super) fn has_unfinished(&self) -> Result<bool, FolderError> {
        let domains = self.path.join(UNFINISHED).join(DOMAINS);
        domains.try_exists().map_err(io_at(&domains))
    }

    /// Removes what an earlier attempt left.
    pub(crate) fn clear_unfinished(&self) -> Result<(), FolderError> {
        let path = self.path.join(UNFINISHED);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(io_at(&path)),
        }
    }

    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> Result<bool, FolderError> {
        for entry in fs::read_dir(&self.path).map_err(io_at(&self.path))? {
            let name = entry.map_err(io_at(&self.path))?.file_name();
            if name != LOCK && name != LOST {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Begins to make the folder of this domain.
    pub(crate) fn begin_unfinished(
        &self,
        domain_id: [u8; 16],
    ) -> Result<Unfinished<'_>, FolderError> {
        let path = self.path.join(UNFINISHED).join(DOMAINS).join(hex::encode(domain_id));
        make_dir(&path)?;
        Ok(Unfinished { folder: self, domain_id, path })
    }
}

impl Unfinished<'_> {
    /// Where to make it.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Names it and makes it count.
    pub(crate) fn finish(self, raft_id: u64, recovered: &Recovered) -> Result<(), FolderError> {
        write(&self.path.join("recovered"), &recovered.encode_to_vec())?;
        let identity = NodeIdentity {
            format: FORMAT,
            domain_id: self.domain_id.to_vec(),
            raft_id,
            name: recovered.node.clone(),
        };
        write(&self.path.join("identity"), &identity.encode_to_vec())?;
        let top = self.folder.path.join(UNFINISHED);
        let (from, to) = (top.join(DOMAINS), self.folder.path.join(DOMAINS));
        sync_dir(&from)?;
        fs::rename(&from, &to).map_err(io_at(&to))?;
        sync_dir(&self.folder.path)?;
        sync_dir(&top)?;
        fs::remove_dir(&top).map_err(io_at(&top))
    }
}

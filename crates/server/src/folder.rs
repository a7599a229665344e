//! A node's data folder: what it is, its enrolment key, and its wrapped shares.
//!
//! ```text
//! <data_dir>/lock                        held while a node runs
//! <data_dir>/enrolment                   HPKE key pair, made once for an empty folder
//! <data_dir>/domains/<hex id>/identity   which domain, and as which Raft id
//! <data_dir>/domains/<hex id>/shares/<epoch>
//! <data_dir>/domains/<hex id>/recovered  what it was made from, if the quorum was once lost
//! <data_dir>/domains/<hex id>/…          log, index, snapshots and audit segments: the replica's
//! ```
//! Every file is written whole beside its place, synced, and renamed into it. Nothing in this
//! folder is a plaintext secret but the enrolment key, which opens only wrapped shares.

mod unfinished;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use conclave_crypto::{HpkePrivateKey, SystemEntropy};
use conclave_proto::seal::{Enrolment, NodeIdentity, Recovered};
use prost::Message;
use zeroize::Zeroizing;

/// The format number of every file written here.
pub(crate) const FORMAT: u32 = 1;
/// Largest file read back, bytes.
const FILE_LEN_MAX: u64 = 64 * 1024;

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The system refused.
    #[error("{path}: {source}")]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another process runs on it.
    #[error(
        "{path} is in use by another process; end that one, or give this node a folder of its own"
    )]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// A file in it is not what was written.
    #[error(
        "{path} is damaged ({reason}); restore the file, or remove the node from the cluster, empty its folder and add it anew"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A recovery into it was begun and not finished.
    #[error(
        "{path} holds a recovery that was not finished: run `conclave recover begin` again, or empty the folder"
    )]
    Unfinished {
        /// The folder.
        path: PathBuf,
    },
    /// It was recovered for another node.
    #[error(
        "{path} was recovered for node {made_for}, and this one is {name}: start it with that node's configuration, or recover again with this one's"
    )]
    MadeForOther {
        /// The folder.
        path: PathBuf,
        /// Whose it is.
        made_for: String,
        /// Who was started on it.
        name: String,
    },
}

/// An exclusively held data folder.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Held, not read: the lock goes when it is closed.
    _lock: File,
}

impl Folder {
    /// Creates or opens the folder and locks it.
    pub(crate) fn open(path: &Path) -> Result<Self, FolderError> {
        make_dir(path)?;
        let lock_path = path.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(io_at(&lock_path))?;
        if rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(FolderError::InUse { path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The node's enrolment key, made when the folder is new.
    pub(crate) fn enrolment(&self) -> Result<HpkePrivateKey, FolderError> {
        let path = self.path.join("enrolment");
        if let Some(bytes) = read(&path)? {
            let bytes = Zeroizing::new(bytes);
            let mut file = decode::<Enrolment>(&path, &bytes)?;
            check_format(&path, file.format)?;
            let key = Zeroizing::new(std::mem::take(&mut file.private_key));
            return HpkePrivateKey::from_bytes(&key).map_err(|_| damaged(&path, "not a key"));
        }
        let key = HpkePrivateKey::generate(&mut SystemEntropy);
        let mut file = Enrolment { format: FORMAT, private_key: key.to_secret().expose().to_vec() };
        let bytes = Zeroizing::new(file.encode_to_vec());
        zeroize::Zeroize::zeroize(&mut file.private_key);
        write(&path, &bytes)?;
        Ok(key)
    }

    /// The domain this folder belongs to, if any.
    pub(crate) fn domain(&self) -> Result<Option<DomainFolder>, FolderError> {
        if self.has_unfinished()? {
            return Err(FolderError::Unfinished { path: self.path.clone() });
        }
        let (found, nameless) = domain_in(&self.path.join("domains"))?;
        for path in nameless {
            // A founding or an admission that ended before its first file: nothing lives there.
            fs::remove_dir_all(&path).map_err(io_at(&path))?;
        }
        Ok(found)
    }

    /// Makes the folder of a domain that this node was founded into or admitted to.
    pub(crate) fn create_domain(
        &self,
        domain_id: [u8; 16],
        raft_id: u64,
        name: &str,
    ) -> Result<DomainFolder, FolderError> {
        let path = self.path.join("domains").join(hex::encode(domain_id));
        // What an attempt that broke off left: nothing lives there, or this would not be called.
        while let Some(left) = self.domain()? {
            self.remove_domain(&left)?;
        }
        make_dir(&path)?;
        let identity = NodeIdentity {
            format: FORMAT,
            domain_id: domain_id.to_vec(),
            raft_id,
            name: name.to_owned(),
        };
        write(&path.join("identity"), &identity.encode_to_vec())?;
        sync_dir(&self.path.join("domains"))?;
        sync_dir(&self.path)?;
        Ok(DomainFolder { path, domain_id, raft_id, recovered: None })
    }

    /// Gives up a domain that was never founded.
    pub(crate) fn remove_domain(&self, domain: &DomainFolder) -> Result<(), FolderError> {
        // The identity goes first: without it the rest is nothing.
        let identity = domain.path.join("identity");
        fs::remove_file(&identity).map_err(io_at(&identity))?;
        sync_dir(&domain.path)?;
        fs::remove_dir_all(&domain.path).map_err(io_at(&domain.path))
    }
}

/// The domain that a node's data folder belongs to, found without changing anything, and what keeps
/// the node from starting meanwhile.
pub(crate) fn survey(path: &Path) -> Result<(Option<File>, Option<DomainFolder>), FolderError> {
    let lock_path = path.join("lock");
    let lock = match File::open(&lock_path) {
        Ok(lock) => Some(lock),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => return Err(FolderError::Io { path: lock_path, source }),
    };
    let is_free = |lock: &File| {
        rustix::fs::flock(lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok()
    };
    if !lock.as_ref().is_none_or(is_free) {
        return Err(FolderError::InUse { path: path.to_owned() });
    }
    Ok((lock, domain_in(&path.join("domains"))?.0))
}

/// The one folder among these that says whose it is, and those that do not.
fn domain_in(domains: &Path) -> Result<(Option<DomainFolder>, Vec<PathBuf>), FolderError> {
    let (mut found, mut nameless) = (None, Vec::new());
    let entries = match fs::read_dir(domains) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((None, nameless)),
        Err(source) => return Err(FolderError::Io { path: domains.to_owned(), source }),
    };
    for entry in entries {
        let path = entry.map_err(io_at(domains))?.path();
        let Some(bytes) = read(&path.join("identity"))? else {
            nameless.push(path);
            continue;
        };
        let identity = decode::<NodeIdentity>(&path, &bytes)?;
        check_format(&path, identity.format)?;
        let domain_id = identity
            .domain_id
            .as_slice()
            .try_into()
            .map_err(|_| damaged(&path, "its domain id is not 16 bytes"))?;
        if found.is_some() {
            return Err(damaged(domains, "two domains in one folder"));
        }
        let recovered = recovered(&path)?;
        found = Some(DomainFolder { path, domain_id, raft_id: identity.raft_id, recovered });
    }
    Ok((found, nameless))
}

/// The folder of one domain.
#[derive(Clone, Debug)]
pub(crate) struct DomainFolder {
    pub(crate) path: PathBuf,
    pub(crate) domain_id: [u8; 16],
    pub(crate) raft_id: u64,
    /// What it was made from, if the domain's quorum was once lost.
    pub(crate) recovered: Option<Recovered>,
}

fn recovered(domain: &Path) -> Result<Option<Recovered>, FolderError> {
    let path = domain.join("recovered");
    let Some(bytes) = read(&path)? else { return Ok(None) };
    let recovered = decode::<Recovered>(&path, &bytes)?;
    check_format(&path, recovered.format)?;
    Ok(Some(recovered))
}

impl DomainFolder {
    /// A folder that was recovered is for the node it was made for, whose name its group knows.
    pub(crate) fn check_made_for(&self, name: &str) -> Result<(), FolderError> {
        match &self.recovered {
            Some(recovered) if recovered.node != name => {
                let (path, made_for) = (self.path.clone(), recovered.node.clone());
                Err(FolderError::MadeForOther { path, made_for, name: name.to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// The wrapped shares kept here, encoded, by epoch.
    pub(crate) fn shares(&self) -> Result<Vec<(u64, Vec<u8>)>, FolderError> {
        let folder = self.path.join("shares");
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(FolderError::Io { path: folder, source }),
        };
        let mut shares = Vec::new();
        for entry in entries {
            let path = entry.map_err(io_at(&folder))?.path();
            if path.extension().is_some() {
                continue; // half-written: a rename is what makes it count
            }
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let epoch =
                name.parse().map_err(|_| damaged(&path, "its name is not a share epoch"))?;
            if let Some(bytes) = read(&path)? {
                shares.push((epoch, bytes));
            }
        }
        shares.sort_by_key(|(epoch, _)| *epoch);
        Ok(shares)
    }

    /// Keeps a wrapped share, durably.
    pub(crate) fn put_share(&self, epoch: u64, bytes: &[u8]) -> Result<(), FolderError> {
        let folder = self.path.join("shares");
        make_dir(&folder)?;
        sync_dir(&self.path)?;
        write(&folder.join(epoch.to_string()), bytes)
    }

    /// Drops the share of `epoch`.
    pub(crate) fn drop_share(&self, epoch: u64) -> Result<(), FolderError> {
        let folder = self.path.join("shares");
        let path = folder.join(epoch.to_string());
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.map_err(io_at(&path)),
        }?;
        sync_dir(&folder)
    }
}

fn make_dir(path: &Path) -> Result<(), FolderError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io_at(path))
}

fn sync_dir(path: &Path) -> Result<(), FolderError> {
    match File::open(path) {
        Ok(folder) => folder.sync_all().map_err(io_at(path)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(FolderError::Io { path: path.to_owned(), source }),
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, FolderError> {
    let length = match fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(FolderError::Io { path: path.to_owned(), source }),
    };
    if length > FILE_LEN_MAX {
        return Err(damaged(path, "it is too large"));
    }
    fs::read(path).map(Some).map_err(io_at(path))
}

/// Whole or not at all: beside its place, synced, renamed, and the folder synced.
fn write(path: &Path, bytes: &[u8]) -> Result<(), FolderError> {
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&beside)
        .map_err(io_at(&beside))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io_at(&beside))?;
    fs::rename(&beside, path).map_err(io_at(path))?;
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

fn decode<M: Message + Default>(path: &Path, bytes: &[u8]) -> Result<M, FolderError> {
    M::decode(bytes).map_err(|_| damaged(path, "it does not parse"))
}

fn check_format(path: &Path, format: u32) -> Result<(), FolderError> {
    if format == FORMAT {
        Ok(())
    } else {
        Err(damaged(path, "its format is not known to this version"))
    }
}

fn damaged(path: &Path, reason: &'static str) -> FolderError {
    FolderError::Damaged { path: path.to_owned(), reason }
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> FolderError + '_ {
    move |source| FolderError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_comes_back_as_it_was_left() {
        let dir = tempfile::tempdir().unwrap();
        let public = {
            let folder = Folder::open(dir.path()).unwrap();
            assert!(matches!(Folder::open(dir.path()), Err(FolderError::InUse { .. })));
            assert!(folder.domain().unwrap().is_none());
            let domain = folder.create_domain([7; 16], 3, "n3").unwrap();
            for epoch in 1..=3 {
                domain.put_share(epoch, b"wrapped").unwrap();
            }
            domain.drop_share(1).unwrap();
            domain.drop_share(1).unwrap();
            *folder.enrolment().unwrap().public().as_bytes()
        };
        let folder = Folder::open(dir.path()).unwrap();
        assert_eq!(folder.enrolment().unwrap().public().as_bytes(), &public);
        let domain = folder.domain().unwrap().unwrap();
        assert_eq!((domain.domain_id, domain.raft_id), ([7; 16], 3));
        let epochs: Vec<u64> = domain.shares().unwrap().iter().map(|(epoch, _)| *epoch).collect();
        assert_eq!(epochs, [2, 3]);
        folder.remove_domain(&domain).unwrap();
        assert!(folder.domain().unwrap().is_none());
    }
}

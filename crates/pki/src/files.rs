//! Certificate and key files: written once and durably, read with a limit.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use thiserror::Error;
use zeroize::Zeroizing;

/// Largest file that is read: a chain of certificates takes a few kilobytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Creates a file that its owner alone can read (mode 0600), and makes it durable.
///
/// # Errors
/// If the file exists (nothing is overwritten), or cannot be written and synced; a file that was
/// begun is removed again.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    create(path, bytes, 0o600)
}

/// Creates a file that everybody can read (mode 0644, less the umask), and makes it durable.
///
/// # Errors
/// As [`write_private`].
pub fn write_public(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    create(path, bytes, 0o644)
}

/// Why a file could not be read or written.
#[derive(Debug, Error)]
pub enum FileError {
    /// Writing never replaces a file.
    #[error("{} exists already and was left as it is; move it away or choose another path", .0.display())]
    Exists(PathBuf),
    /// The operating system refused.
    #[error("cannot {verb} {}: {source}; check the path and its permissions", path.display())]
    Io {
        /// Read or write.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Larger than any certificate or key file.
    #[error("{} is larger than {FILE_BYTES_MAX} bytes; it is not a PEM file of certificates or a key", .0.display())]
    TooLarge(PathBuf),
    /// A private key that every user of the machine can read.
    #[error("the private key {} is open to every user (mode {mode:03o}); run `chmod 600` on it", path.display())]
    OpenToAll {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

fn create(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(mode).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(FileError::Exists(path.to_owned()));
        }
        Err(error) => return Err(failed("write", path, error)),
    };
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| File::open(folder_of(path))?.sync_all());
    written.map_err(|error| {
        // Half a key is worse than none; that it could not be removed adds nothing to the error.
        let _ = std::fs::remove_file(path);
        failed("write", path, error)
    })
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

pub(crate) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let file = File::open(path).map_err(|error| failed("read", path, error))?;
    read_open(path, &file)
}

/// Reads a private key, refusing one that every user can read. The group may: that is how
/// orchestrators mount secrets.
pub(crate) fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let file = File::open(path).map_err(|error| failed("read", path, error))?;
    let metadata = file.metadata().map_err(|error| failed("read", path, error))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o007 != 0 {
        return Err(FileError::OpenToAll { path: path.to_owned(), mode });
    }
    read_open(path, &file)
}

fn read_open(path: &Path, file: &File) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let size = file.metadata().map_err(|error| failed("read", path, error))?.len();
    // Room from the start: a buffer that grows leaves copies of a key behind.
    let room = usize::try_from(size.min(FILE_BYTES_MAX) + 1).unwrap_or_default();
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| failed("read", path, error))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(FileError::TooLarge(path.to_owned()));
    }
    Ok(bytes)
}

fn failed(verb: &'static str, path: &Path, source: io::Error) -> FileError {
    FileError::Io { verb, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn keys_are_private_and_nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key.pem");
        write_private(&key, b"secret").unwrap();
        assert_eq!(mode(&key), 0o600);
        assert_eq!(read_private(&key).unwrap().as_slice(), b"secret");
        assert!(matches!(write_private(&key, b"other"), Err(FileError::Exists(_))));
        assert!(matches!(write_public(&key, b"other"), Err(FileError::Exists(_))));
        assert_eq!(read(&key).unwrap().as_slice(), b"secret");

        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = read_private(&key).unwrap_err().to_string();
        assert!(error.contains("mode 644") && error.contains("chmod 600"), "{error}");
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).unwrap();
        read_private(&key).unwrap();
    }

    #[test]
    fn reading_has_a_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large.pem");
        write_public(&path, &vec![b'x'; FILE_BYTES_MAX as usize + 1]).unwrap();
        assert!(matches!(read(&path), Err(FileError::TooLarge(_))));
        assert!(matches!(read(&folder.path().join("none")), Err(FileError::Io { .. })));
    }
}

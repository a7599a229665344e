//! Where the token's PIN comes from: a file, an environment variable or a systemd credential.
//!
//! It is read each time a session is opened and forgotten after the login, so that a corrected file
//! is noticed without a restart.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use conclave_crypto::Secret;
use zeroize::Zeroizing;

/// Longest PIN, bytes. That of a cloud HSM is `user:password`.
pub const PIN_LEN_MAX: usize = 255;

/// Where systemd puts the credentials of a service.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// Where the PIN is found. Never the PIN itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PinSource {
    /// A file that not every user may read; one line end after the PIN is left out.
    File(PathBuf),
    /// An environment variable of this process. Whoever may read `/proc/PID/environ` can read it.
    Env(String),
    /// A credential that systemd passed to the service (`LoadCredential=`, `LoadCredentialEncrypted=`).
    Credential(String),
}

/// Why there is no PIN to log in with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// The file cannot be read.
    #[error("cannot read the PIN from {path}: {reason}; check seal.pkcs11.pin_file or pin_credential, and who may read it", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// Every user of the machine can read the file.
    #[error("the PIN file {path} is open to every user (mode {mode:03o}); run `chmod 600` on it", path = path.display())]
    OpenToAll {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The variable is not set.
    #[error(
        "the environment variable {name} is not set or not text; it should hold the token's PIN (seal.pkcs11.pin_env)"
    )]
    NotInEnvironment {
        /// The variable.
        name: String,
    },
    /// This process was given no credentials.
    #[error(
        "systemd passed no credentials; add LoadCredential={name}:/path to the unit (seal.pkcs11.pin_credential)"
    )]
    NoCredentials {
        /// The credential looked for.
        name: String,
    },
    /// Too short or too long.
    #[error("a PIN has 1 to {PIN_LEN_MAX} bytes, what was found has {found}")]
    Length {
        /// How many bytes there were, or one more than are looked at.
        found: usize,
    },
    /// Not text.
    #[error("the PIN is not UTF-8 text; check that the right file was given")]
    NotText,
}

impl PinSource {
    /// Reads the PIN.
    ///
    /// # Errors
    /// If the source is absent, open to everybody, or holds no PIN.
    pub fn read(&self) -> Result<Secret, PinError> {
        match self {
            Self::File(path) => from_file(path),
            Self::Env(name) => {
                let text = std::env::var(name).map(Zeroizing::new);
                let text = text.map_err(|_| PinError::NotInEnvironment { name: name.clone() })?;
                checked(text.as_bytes())
            }
            Self::Credential(name) => match std::env::var_os(CREDENTIALS_DIRECTORY) {
                Some(folder) => from_file(&Path::new(&folder).join(name)),
                None => Err(PinError::NoCredentials { name: name.clone() }),
            },
        }
    }
}

impl std::fmt::Display for PinSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Env(name) => write!(f, "the environment variable {name}"),
            Self::Credential(name) => write!(f, "the credential {name}"),
        }
    }
}

fn from_file(path: &Path) -> Result<Secret, PinError> {
    let failed =
        |error: std::io::Error| PinError::Read { path: path.to_owned(), reason: error.to_string() };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode() & 0o777;
    if mode & 0o007 != 0 {
        return Err(PinError::OpenToAll { path: path.to_owned(), mode });
    }
    // Room from the start for the longest PIN, its line end and one byte too many: a buffer that
    // grows leaves copies behind.
    let limit = PIN_LEN_MAX + 3;
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit));
    file.take(limit as u64).read_to_end(&mut bytes).map_err(failed)?;
    let line = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    checked(line.strip_suffix(b"\r").unwrap_or(line))
}

fn checked(bytes: &[u8]) -> Result<Secret, PinError> {
    if bytes.is_empty() || bytes.len() > PIN_LEN_MAX {
        return Err(PinError::Length { found: bytes.len() });
    }
    if std::str::from_utf8(bytes).is_err() {
        return Err(PinError::NotText);
    }
    Ok(Secret::copy_from(bytes))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(bytes: &[u8], mode: u32) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    fn read(bytes: &[u8], mode: u32) -> Result<Secret, PinError> {
        PinSource::File(file(bytes, mode).path().to_owned()).read()
    }

    #[test]
    fn a_file_may_end_its_line() {
        for written in ["1234", "1234\n", "1234\r\n"] {
            assert_eq!(read(written.as_bytes(), 0o600).unwrap().expose(), b"1234");
        }
        assert_eq!(read(b" 12 34\n\n", 0o640).unwrap().expose(), b" 12 34\n");
        let longest = [b'7'; PIN_LEN_MAX];
        assert_eq!(read(&[&longest[..], b"\r\n"].concat(), 0o600).unwrap().len(), PIN_LEN_MAX);
    }

    #[test]
    fn what_is_no_pin_is_refused() {
        assert!(matches!(read(b"\n", 0o600), Err(PinError::Length { found: 0 })));
        assert!(matches!(read(&[b'7'; 9000], 0o600), Err(PinError::Length { .. })));
        assert!(matches!(read(&[b'7'; PIN_LEN_MAX + 1], 0o600), Err(PinError::Length { .. })));
        assert!(matches!(read(&[0xff; 4], 0o600), Err(PinError::NotText)));
        assert!(matches!(read(b"1234", 0o644), Err(PinError::OpenToAll { mode: 0o644, .. })));
        let absent = PinSource::File("/nonexistent/pin".into()).read();
        assert!(matches!(absent, Err(PinError::Read { .. })));
        let unset = PinSource::Env("CONCLAVE_TEST_NEVER_SET".to_owned()).read();
        assert!(matches!(unset, Err(PinError::NotInEnvironment { .. })));
    }
}

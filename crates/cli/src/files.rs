//! Input with a limit, output all at once: a reader never sees half a file.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use crate::error::CliError;

/// Mode of files that hold a secret.
pub(crate) const SECRET: u32 = 0o600;
/// Mode of files that do not, less the umask.
pub(crate) const PUBLIC: u32 = 0o644;

/// Reads a file, or standard input, of at most `bytes_max`; `hint` says what to do with more.
pub(crate) fn read_input(
    path: Option<&Path>,
    bytes_max: usize,
    hint: &'static str,
) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let shown = path.unwrap_or(Path::new("standard input"));
    let failed = |source| CliError::File { verb: "read", path: shown.to_owned(), source };
    let source: Box<dyn Read> = match path {
        Some(path) => Box::new(File::open(path).map_err(failed)?),
        None => Box::new(io::stdin().lock()),
    };
    // Room from the start: a buffer that grows leaves copies of a secret behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(bytes_max + 1));
    source.take(bytes_max as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > bytes_max {
        return Err(CliError::InputTooLarge { bytes_max, hint });
    }
    Ok(bytes)
}

/// Writes raw bytes to a file, all or nothing, or to standard output.
pub(crate) fn write_output(path: Option<&Path>, bytes: &[u8], mode: u32) -> Result<(), CliError> {
    match path {
        Some(path) => {
            let mut file = AtomicFile::create(path, mode)?;
            file.write(bytes)?;
            file.commit()
        }
        None => {
            let mut out = io::stdout().lock();
            out.write_all(bytes).and_then(|()| out.flush()).map_err(CliError::Stdout)
        }
    }
}

/// A file that takes its name only once it is whole and durable. Dropped before, it is removed.
pub(crate) struct AtomicFile {
    path: PathBuf,
    temporary: PathBuf,
    file: Option<io::BufWriter<File>>,
}

impl AtomicFile {
    pub(crate) fn create(path: &Path, mode: u32) -> Result<Self, CliError> {
        let Some(name) = path.file_name() else {
            return Err(CliError::Usage(format!("{} is no file; give a file", path.display())));
        };
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.tmp", uuid::Uuid::new_v4().simple()));
        let temporary = path.with_file_name(hidden);
        let opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary);
        let file = opened.map_err(|source| write_failed(path, source))?;
        let file = Some(io::BufWriter::new(file));
        Ok(Self { path: path.to_owned(), temporary, file })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        let file = self.file.as_mut().expect("the file is there until it is committed");
        file.write_all(bytes).map_err(|source| write_failed(&self.path, source))
    }

    pub(crate) fn commit(mut self) -> Result<(), CliError> {
        let file = self.file.take().expect("a file is committed once");
        let written = file
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&self.temporary, &self.path))
            .and_then(|()| File::open(folder_of(&self.path))?.sync_all());
        written.map_err(|source| {
            // It is of no use, and that it could not be removed adds nothing to the error.
            let _ = fs::remove_file(&self.temporary);
            write_failed(&self.path, source)
        })
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

/// Makes a folder for secrets, for its owner alone, if it is not there.
pub(crate) fn make_private_folder(path: &Path) -> Result<(), CliError> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .and_then(|()| File::open(folder_of(path))?.sync_all())
        .map_err(|source| CliError::File { verb: "make", path: path.to_owned(), source })
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn write_failed(path: &Path, source: io::Error) -> CliError {
    CliError::File { verb: "write", path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        fs::write(&path, "before").unwrap();
        let mut file = AtomicFile::create(&path, SECRET).unwrap();
        file.write(b"half").unwrap();
        drop(file);
        assert_eq!(fs::read(&path).unwrap(), b"before");

        write_output(Some(&path), b"after", SECRET).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"after");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn input_has_a_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in");
        fs::write(&path, [7; 5]).unwrap();
        assert_eq!(read_input(Some(&path), 5, "").unwrap().len(), 5);
        let error = read_input(Some(&path), 4, "cut it").unwrap_err();
        assert!(error.to_string().ends_with("larger than 4 bytes; cut it"), "{error}");
    }
}

//! SoftHSM tokens, each in a folder of its own that can be moved away and back.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where Debian and others put the module.
const MODULES: [&str; 4] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
];

/// SoftHSM's module.
///
/// # Panics
/// If SoftHSM is not installed: `scripts/test` installs it.
pub fn module() -> PathBuf {
    MODULES
        .iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
        .expect("SoftHSM 2 is needed (Debian: apt-get install softhsm2)")
}

/// A store of tokens: a configuration for `SOFTHSM2_CONF` and the folder it names.
#[derive(Debug)]
pub struct SoftHsm {
    folder: PathBuf,
}

impl SoftHsm {
    /// Makes a store without tokens in a folder that exists.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn create(folder: &Path) -> Self {
        let hsm = Self { folder: folder.to_owned() };
        std::fs::create_dir_all(hsm.tokens()).expect("the folder can be written");
        let text = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
            hsm.tokens().display()
        );
        std::fs::write(hsm.configuration(), text).expect("the folder can be written");
        hsm
    }

    /// A store that exists.
    pub fn open(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// What `SOFTHSM2_CONF` is to be for whoever uses these tokens.
    pub fn configuration(&self) -> PathBuf {
        self.folder.join("softhsm2.conf")
    }

    /// Makes a token.
    ///
    /// # Panics
    /// If `softhsm2-util` cannot.
    pub fn add_token(&self, label: &str, pin: &str) {
        let output = Command::new("softhsm2-util")
            .args([
                "--init-token",
                "--free",
                "--label",
                label,
                "--pin",
                pin,
                "--so-pin",
                "87654321",
            ])
            .env("SOFTHSM2_CONF", self.configuration())
            .output()
            .expect("SoftHSM 2 is needed (Debian: apt-get install softhsm2)");
        assert!(output.status.success(), "{output:?}");
    }

    /// Takes all tokens out; the module then knows of none.
    ///
    /// # Panics
    /// If they cannot be moved.
    pub fn take_out(&self) {
        move_all(&self.tokens(), &self.taken_out());
    }

    /// Puts them back.
    ///
    /// # Panics
    /// If they cannot be moved.
    pub fn put_back(&self) {
        move_all(&self.taken_out(), &self.tokens());
    }

    /// Takes the whole HSM away: the module cannot even be initialised.
    ///
    /// # Panics
    /// If it is away already.
    pub fn go_away(&self) {
        std::fs::rename(self.tokens(), self.folder.join("away")).expect("it is there");
    }

    /// Brings it back.
    ///
    /// # Panics
    /// If it is there.
    pub fn come_back(&self) {
        std::fs::rename(self.folder.join("away"), self.tokens()).expect("it is away");
    }

    fn tokens(&self) -> PathBuf {
        self.folder.join("tokens")
    }

    fn taken_out(&self) -> PathBuf {
        self.folder.join("tokens-taken-out")
    }
}

fn move_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("the folder can be written");
    for entry in std::fs::read_dir(from).expect("the folder can be read") {
        let entry = entry.expect("the folder can be read");
        std::fs::rename(entry.path(), to.join(entry.file_name())).expect("it can be moved");
    }
}

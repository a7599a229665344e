//! Tokens of SoftHSM for `--seal pkcs11`: one for each node, in a folder of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::ValueEnum;
use conclave_pki::{write_private, write_public};

use crate::error::CliError;

/// Where distributions put SoftHSM's module.
const MODULES: [&str; 4] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
];
const INSTALL: &str =
    "--seal pkcs11 needs SoftHSM 2; install it (Debian: apt-get install softhsm2)";

/// What the nodes wrap their shares with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum DevSeal {
    /// A key that the operators' shares make.
    Operator,
    /// A key in a token of SoftHSM, one token a node.
    Pkcs11,
}

/// SoftHSM, as it is installed here.
pub(super) struct SoftHsm {
    module: PathBuf,
}

/// One node's token.
pub(super) struct Token {
    /// What `SOFTHSM2_CONF` has to name for the node.
    pub(super) softhsm2_conf: PathBuf,
    /// What goes into its configuration.
    pub(super) section: String,
}

impl SoftHsm {
    /// Finds the module and `softhsm2-util`, before anything is written.
    pub(super) fn find() -> Result<Self, CliError> {
        let module = MODULES.iter().map(PathBuf::from).find(|path| path.exists());
        let util = Command::new("softhsm2-util").arg("--version").output();
        match (module, util) {
            (Some(module), Ok(_)) => Ok(Self { module }),
            _ => Err(CliError::Usage(INSTALL.to_owned())),
        }
    }

    /// Makes a token and everything it needs in a new folder.
    pub(super) fn make_token(&self, folder: &Path, label: &str) -> Result<Token, CliError> {
        let tokens = folder.join("tokens");
        fs::create_dir_all(&tokens).map_err(|source| CliError::File {
            verb: "create",
            path: tokens.clone(),
            source,
        })?;
        let softhsm2_conf = folder.join("softhsm2.conf");
        let text = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n",
            tokens.display()
        );
        write_public(&softhsm2_conf, text.as_bytes())?;
        let pin = uuid::Uuid::new_v4().simple().to_string();
        let pin_file = folder.join("pin");
        write_private(&pin_file, format!("{pin}\n").as_bytes())?;
        // Both PINs show in the list of processes meanwhile: of a throw-away token.
        let output = Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", label, "--pin", &pin, "--so-pin", &pin])
            .env("SOFTHSM2_CONF", &softhsm2_conf)
            .output()
            .map_err(|source| CliError::File {
                verb: "run",
                path: "softhsm2-util".into(),
                source,
            })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(CliError::NotDone(format!(
                "softhsm2-util made no token for {label}: {}",
                said.trim()
            )));
        }
        let section = format!(
            "\n[seal]\ntype = \"pkcs11\"\n\n[seal.pkcs11]\nmodule = {:?}\ntoken_label = {label:?}\npin_file = {pin_file:?}\n",
            self.module,
        );
        Ok(Token { softhsm2_conf, section })
    }
}

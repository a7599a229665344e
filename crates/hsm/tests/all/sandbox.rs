//! A process of its own with a folder of its own, and two tokens in it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use conclave_hsm::{
    Connector, Hsm, HsmStatus, IvSource, KeyLabel, PinSource, Settings, Timing, TokenSelector,
};
use conclave_hsm_faults::CONTROL_VARIABLE;
use conclave_hsm_faults::control::Control;
use conclave_hsm_faults::softhsm::{self, SoftHsm};

pub(crate) const PIN: &str = "1234-5678";
/// Generous: tests wait for conditions, this only ends a wait that would never end.
pub(crate) const LONG: Duration = Duration::from_secs(60);

const FOLDER: &str = "CONCLAVE_HSM_SANDBOX";

pub(crate) struct Sandbox {
    folder: PathBuf,
    pub(crate) tokens: SoftHsm,
    pub(crate) control: Control,
}

/// Runs `body` in a new process, in which `SOFTHSM2_CONF` names two tokens, `n1` and `n2`. `test` is
/// the full name of the test that calls this.
pub(crate) fn isolated(test: &str, body: impl FnOnce(&Sandbox)) {
    if let Some(folder) = std::env::var_os(FOLDER) {
        let folder = PathBuf::from(folder);
        let sandbox = Sandbox {
            tokens: SoftHsm::open(&folder),
            control: Control::new(&folder.join("faults")),
            folder,
        };
        body(&sandbox);
        std::fs::write(sandbox.folder.join("done"), "").unwrap();
        return;
    }
    let folder = tempfile::Builder::new().prefix("conclave-hsm-").tempdir().unwrap();
    let tokens = SoftHsm::create(folder.path());
    tokens.add_token("n1", PIN);
    tokens.add_token("n2", PIN);
    std::fs::write(folder.path().join("pin"), PIN).unwrap();
    restrict(&folder.path().join("pin"));
    run_again(test, folder.path(), &[]);
}

fn run_again(test: &str, folder: &Path, env: &[(&str, &str)]) {
    let _ = std::fs::remove_file(folder.join("done"));
    let status = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--include-ignored"])
        .env(FOLDER, folder)
        .env("SOFTHSM2_CONF", folder.join("softhsm2.conf"))
        .env(CONTROL_VARIABLE, folder.join("faults"))
        .env("CONCLAVE_HSM_PIN", PIN)
        .env("CREDENTIALS_DIRECTORY", folder)
        .envs(env.iter().copied())
        .status()
        .unwrap();
    assert!(status.success(), "{test} failed in its own process: {status}");
    assert!(folder.join("done").exists(), "{test} is not the name of the test");
}

pub(crate) fn restrict(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

impl Sandbox {
    /// Runs the same test once more, as a process after this one would, with a variable set.
    pub(crate) fn again(&self, test: &str, variable: &str) {
        run_again(test, &self.folder, &[(variable, "1")]);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The token of that label, through SoftHSM itself.
    pub(crate) fn settings(&self, token: &str) -> Settings {
        Settings {
            module: softhsm::module(),
            token: TokenSelector::Label(token.to_owned()),
            pin: PinSource::File(self.path("pin")),
            iv: IvSource::Node,
        }
    }

    /// The same through the faulty module.
    pub(crate) fn faulty(&self, token: &str) -> Settings {
        Settings { module: conclave_hsm_faults::module_path(), ..self.settings(token) }
    }

    pub(crate) fn connector(&self, token: &str) -> Connector {
        Connector::new(self.settings(token))
    }
}

/// A handle that is stopped at the end, as a node stops its own: a process that ends while a call
/// is under way in SoftHSM may never end.
pub(crate) struct Running(Hsm);

impl Running {
    pub(crate) fn start(settings: Settings, timing: Timing) -> Self {
        Self(Hsm::start_with(settings, timing))
    }
}

impl std::ops::Deref for Running {
    type Target = Hsm;

    fn deref(&self) -> &Hsm {
        &self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        block_on(self.0.stop());
    }
}

/// Times for tests: the same order, shorter.
pub(crate) fn brisk() -> Timing {
    Timing {
        call: Duration::from_secs(1),
        backoff_min: Duration::from_millis(50),
        backoff_max: Duration::from_millis(200),
        probe_every: Duration::from_millis(100),
        ..Timing::default()
    }
}

pub(crate) fn label(text: &str) -> KeyLabel {
    text.parse().unwrap()
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// Waits until the status is as wanted.
pub(crate) fn wait_status(hsm: &Hsm, what: &str, wanted: impl Fn(&HsmStatus) -> bool) -> HsmStatus {
    let began = Instant::now();
    loop {
        let status = hsm.status();
        if wanted(&status) {
            return status;
        }
        assert!(began.elapsed() < LONG, "waited for {what}, it is {status}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

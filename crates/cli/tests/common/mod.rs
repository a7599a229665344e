//! The command run as a process, against a scripted node.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "shared by several tests, which fail where this does"
)]

#[path = "../../../client/tests/common/scripted.rs"]
mod scripted;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::Arc,
    time::SystemTime,
};

use conclave_pki::{Kind, TlsFiles, TlsMaterial, api_server_config};
pub(crate) use scripted::{Answer, Call};
use scripted::{AnswerFn, serve};
use serde_json::Value;
use tokio::{net::TcpListener, runtime::Runtime};

/// A folder with a cluster's certificates, made by the command itself, and perhaps a node.
pub(crate) struct World {
    folder: tempfile::TempDir,
    pub(crate) endpoint: String,
    _runtime: Option<Runtime>,
}

impl World {
    pub(crate) fn alone() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let world = Self { folder, endpoint: "https://127.0.0.1:1".to_owned(), _runtime: None };
        let dir = world.path("pki");
        let dir = dir.to_str().unwrap();
        world.ok(&["pki", "init", "--cluster", "test", "--dir", dir]);
        world.ok(&["pki", "issue", "client", "ops", "--dir", dir]);
        world.ok(&["pki", "issue", "node", "n1", "--dir", dir, "--host", "127.0.0.1"]);
        world
    }

    pub(crate) fn with_node(answer: impl Fn(&Call) -> Answer + Send + Sync + 'static) -> Self {
        Self::with_node_at(|_| answer)
    }

    /// [`World::with_node`], whose answers need the node's `host:port`.
    pub(crate) fn with_node_at<A>(answer: impl FnOnce(String) -> A) -> Self
    where
        A: Fn(&Call) -> Answer + Send + Sync + 'static,
    {
        let mut world = Self::alone();
        let files = TlsFiles {
            ca: world.path("pki/ca.pem"),
            cert: world.path("pki/n1.pem"),
            key: world.path("pki/n1.key"),
        };
        let material = TlsMaterial::load(&files, &[Kind::Node], SystemTime::now()).unwrap();
        let tls = api_server_config(&material, &"test".parse().unwrap()).unwrap();
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        world.endpoint = format!("https://{address}");
        let answer: AnswerFn = Arc::new(answer(address));
        runtime.spawn(serve(listener, tls, answer));
        world._runtime = Some(runtime);
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_conclave"));
        command
            .args(args)
            .current_dir(self.folder.path())
            .env("CONCLAVE_ENDPOINTS", &self.endpoint)
            .env("CONCLAVE_CA_CERT", "pki/ca.pem")
            .env("CONCLAVE_CLIENT_CERT", "pki/ops.pem")
            .env("CONCLAVE_CLIENT_KEY", "pki/ops.key")
            .env_remove("CONCLAVE_AUDIT_KEY")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let done = self.run(args);
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(&[args, &["--output", "json"]].concat())).unwrap()
    }

    pub(crate) fn fails(&self, code: i32, args: &[&str]) -> String {
        let done = self.run(args);
        let stderr = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(done.stdout.is_empty(), "{args:?}");
        stderr
    }
}

pub(crate) fn mode(path: &PathBuf) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

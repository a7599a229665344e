//! The folder of a development cluster: certificates, configurations, and what clients read.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use conclave_pki::{
    Authority, ClusterName, NodeName, PrincipalName, new_authority, write_private, write_public,
};
use serde_json::json;

use super::ports::Ports;
use super::tokens::{DevSeal, SoftHsm};
use crate::error::CliError;

/// The cluster's name in its certificates.
const CLUSTER: &str = "dev";
/// How long its certificates last, days.
const DAYS: u32 = 30;
/// A client for each role, and one that holds all four.
pub(super) const ROLES: [&str; 4] = ["operator", "key-administrator", "key-user", "auditor"];
/// The client of `DIR/env`.
pub(super) const ALL_ROLES: &str = "dev";

/// One node to be started.
pub(super) struct NodePlan {
    pub(super) name: String,
    pub(super) api: String,
    pub(super) peer: String,
    pub(super) config: PathBuf,
    pub(super) log: PathBuf,
    /// What its process needs in its environment beside ours.
    pub(super) env: BTreeMap<&'static str, PathBuf>,
    data_dir: PathBuf,
}

/// Where everything is. `staging` holds what is not yet published.
pub(super) struct Layout {
    pub(super) nodes: Vec<NodePlan>,
    dir: PathBuf,
    staging: PathBuf,
    audit_key: std::sync::OnceLock<String>,
    /// The nodes' own while this lives, whether they run or not.
    _ports: Ports,
    /// Removes a temporary folder at the end.
    _temporary: Option<tempfile::TempDir>,
}

impl Layout {
    /// Lays everything out in a new or empty folder.
    pub(super) fn create(
        dir: Option<&Path>,
        nodes: u16,
        snapshot_entries: Option<u64>,
        seal: DevSeal,
    ) -> Result<Self, CliError> {
        let softhsm = match seal {
            DevSeal::Operator => None,
            DevSeal::Pkcs11 => Some(SoftHsm::find()?),
        };
        let (dir, temporary) = match dir {
            Some(dir) => (dir.to_owned(), None),
            None => {
                let temporary = tempfile::Builder::new()
                    .prefix("conclave-dev-")
                    .tempdir()
                    .map_err(|error| file("create", Path::new("a temporary folder"), error))?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        fs::create_dir_all(&dir).map_err(|error| file("create", &dir, error))?;
        let dir = fs::canonicalize(&dir).map_err(|error| file("open", &dir, error))?;
        let mut entries = fs::read_dir(&dir).map_err(|error| file("read", &dir, error))?;
        if entries.next().is_some() {
            return Err(CliError::Usage(format!(
                "{} is not empty; give --dir a new folder",
                dir.display()
            )));
        }
        let staging = dir.join(".staging");
        let pki = staging.join("pki");
        fs::create_dir_all(&pki).map_err(|error| file("create", &pki, error))?;
        fs::create_dir_all(staging.join("operator-shares"))
            .map_err(|error| file("create", &staging, error))?;

        let now = SystemTime::now();
        let cluster: ClusterName = CLUSTER.parse()?;
        let ca = new_authority(&cluster, DAYS, now)?;
        write_public(&pki.join("ca.pem"), ca.certificate_pem.as_bytes())?;
        write_private(&pki.join("ca.key"), ca.key_pem.expose().as_bytes())?;
        let authority = Authority::load(&ca.certificate_pem, ca.key_pem.expose())?;
        for name in ROLES.iter().chain([&ALL_ROLES]) {
            let client: PrincipalName = name.parse()?;
            let issued = authority.issue_client(&client, DAYS, now)?;
            write_public(&pki.join(format!("{name}.pem")), issued.certificate_pem.as_bytes())?;
            write_private(&pki.join(format!("{name}.key")), issued.key_pem.expose().as_bytes())?;
        }

        let ports = Ports::claim(usize::from(nodes) * 2).map_err(CliError::Runtime)?;
        let mut plans = Vec::new();
        for (number, pair) in (1..=nodes).zip(ports.numbers.chunks_exact(2)) {
            let name = format!("n{number}");
            let folder = dir.join(&name);
            fs::create_dir_all(&folder).map_err(|error| file("create", &folder, error))?;
            let node: NodeName = name.parse()?;
            let hosts = ["127.0.0.1".to_owned(), "localhost".to_owned()];
            let issued = authority.issue_node(&node, &hosts, DAYS, now)?;
            write_public(&folder.join("ca.pem"), ca.certificate_pem.as_bytes())?;
            write_public(&folder.join("node.pem"), issued.certificate_pem.as_bytes())?;
            write_private(&folder.join("node.key"), issued.key_pem.expose().as_bytes())?;
            let mut plan = NodePlan {
                api: format!("127.0.0.1:{}", pair[0]),
                peer: format!("127.0.0.1:{}", pair[1]),
                config: folder.join("conclave.toml"),
                log: folder.join("log"),
                data_dir: folder.join("data"),
                env: BTreeMap::new(),
                name,
            };
            let mut text = configuration(&plan, snapshot_entries);
            if let Some(softhsm) = &softhsm {
                let token = softhsm.make_token(&folder.join("hsm"), &plan.name)?;
                text.push_str(&token.section);
                plan.env.insert("SOFTHSM2_CONF", token.softhsm2_conf);
            }
            write_public(&plan.config, text.as_bytes())?;
            plans.push(plan);
        }
        Ok(Self {
            nodes: plans,
            dir,
            staging,
            audit_key: std::sync::OnceLock::new(),
            _ports: ports,
            _temporary: temporary,
        })
    }

    /// Where the certificates are while nothing is published.
    pub(super) fn staged_pki(&self) -> PathBuf {
        self.staging.join("pki")
    }

    /// Keeps the operators' shares, one a file.
    pub(super) fn keep_shares(&self, shares: &[String]) -> Result<(), CliError> {
        for (number, share) in (1..).zip(shares) {
            let path =
                self.staging.join("operator-shares").join(format!("operator-share-{number:02}"));
            write_private(&path, format!("{share}\n").as_bytes())?;
        }
        Ok(())
    }

    /// Keeps the audit verifier key for the environment.
    pub(super) fn keep_audit_key(&self, key: String) {
        let _ = self.audit_key.set(key);
    }

    /// Renames everything that clients read into place.
    pub(super) fn publish(&self, pids: &BTreeMap<String, u32>) -> Result<(), CliError> {
        let nodes: Vec<_> = self
            .nodes
            .iter()
            .map(|node| {
                json!({
                    "id": node.name,
                    "pid": pids.get(&node.name),
                    "api": node.api,
                    "peer": node.peer,
                    "data_dir": node.data_dir,
                    "config": node.config,
                    "env": node.env,
                })
            })
            .collect();
        let cluster = format!("{:#}\n", json!({ "cluster": CLUSTER, "nodes": nodes }));
        write_public(&self.staging.join("cluster.json"), cluster.as_bytes())?;
        let mut env = String::new();
        for (key, value) in self.environment() {
            let _ = writeln!(env, "{key}={value}");
        }
        write_public(&self.staging.join("env"), env.as_bytes())?;
        for name in ["pki", "operator-shares", "env", "cluster.json"] {
            let to = self.dir.join(name);
            fs::rename(self.staging.join(name), &to).map_err(|error| file("write", &to, error))?;
        }
        fs::remove_dir(&self.staging).map_err(|error| file("remove", &self.staging, error))
    }

    /// The environment of the client that holds every role.
    fn environment(&self) -> [(&'static str, String); 5] {
        let pki = self.dir.join("pki");
        let path = |name: String| pki.join(name).display().to_string();
        let endpoints: Vec<String> =
            self.nodes.iter().map(|node| format!("https://{}", node.api)).collect();
        [
            ("CONCLAVE_ENDPOINTS", endpoints.join(",")),
            ("CONCLAVE_CA_CERT", path("ca.pem".to_owned())),
            ("CONCLAVE_CLIENT_CERT", path(format!("{ALL_ROLES}.pem"))),
            ("CONCLAVE_CLIENT_KEY", path(format!("{ALL_ROLES}.key"))),
            ("CONCLAVE_AUDIT_KEY", self.audit_key.get().cloned().unwrap_or_default()),
        ]
    }

    /// A shell command with that environment and this binary on the PATH.
    pub(super) fn shell(&self, command: &str) -> tokio::process::Command {
        let mut shell = tokio::process::Command::new("sh");
        shell.arg("-c").arg(command).envs(self.environment()).env("CONCLAVE_DEV_DIR", &self.dir);
        if let Some(folder) = std::env::current_exe().ok().as_deref().and_then(Path::parent) {
            let old = std::env::var_os("PATH").unwrap_or_default();
            let paths = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&old));
            if let Ok(joined) = std::env::join_paths(paths) {
                shell.env("PATH", joined);
            }
        }
        shell
    }
}

fn configuration(plan: &NodePlan, snapshot_entries: Option<u64>) -> String {
    let mut text = format!(
        "data_dir = \"data\"\nregion = \"local\"\nzone = \"{name}\"\n\n\
         [api]\nlisten = \"{api}\"\n\n[peer]\nlisten = \"{peer}\"\n\n\
         [tls]\nca = \"ca.pem\"\ncert = \"node.pem\"\nkey = \"node.key\"\n",
        name = plan.name,
        api = plan.api,
        peer = plan.peer,
    );
    if let Some(entries) = snapshot_entries {
        let _ = write!(text, "\n[raft]\nsnapshot_entries = {entries}\n");
    }
    text
}

fn file(verb: &'static str, path: &Path, source: std::io::Error) -> CliError {
    CliError::File { verb, path: path.to_owned(), source }
}

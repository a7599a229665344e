//! The configuration file: parsed as written ([`RawConfig`]), then checked whole ([`Config`]).
//!
//! Unknown keys are refused, and nothing is opened or bound until all of it holds. The comments
//! in `docs/conclave.toml` are its reference.

mod limits;
mod memory;
mod probe;
mod seal;

use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use conclave_memory::PageKind;
use conclave_pki::TlsFiles;
use conclave_replica::{ELECTION_MAX_MS, ELECTION_MIN_MS, HEARTBEAT_MS};
use serde::Deserialize;

pub(crate) use limits::Limits;
use limits::RawLimits;
use memory::RawMemory;
pub(crate) use probe::Probe;
use probe::RawProbe;
use seal::RawSeal;
pub(crate) use seal::Seal;

/// The file as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    data_dir: PathBuf,
    #[serde(default)]
    region: String,
    #[serde(default)]
    zone: String,
    api: RawListener,
    peer: RawListener,
    tls: RawTls,
    #[serde(default)]
    log: RawLog,
    #[serde(default)]
    raft: RawRaft,
    #[serde(default)]
    limits: RawLimits,
    #[serde(default)]
    memory: RawMemory,
    probe: Option<RawProbe>,
    #[serde(default)]
    seal: RawSeal,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawListener {
    listen: String,
    advertise: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTls {
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawLog {
    format: Option<LogFormat>,
    level: Option<String>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawRaft {
    heartbeat_ms: Option<u64>,
    election_ms_min: Option<u64>,
    election_ms_max: Option<u64>,
    snapshot_entries: Option<u64>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// A listener: where it binds, and what others are told to dial.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The address bound.
    pub listen: SocketAddr,
    /// host:port told to others.
    pub advertise: String,
}

/// Raft's times and the snapshot threshold.
#[derive(Clone, Copy, Debug)]
pub struct RaftTimes {
    /// Between heartbeats, milliseconds.
    pub heartbeat_ms: u64,
    /// Shortest election time-out, milliseconds.
    pub election_ms_min: u64,
    /// Longest election time-out, milliseconds.
    pub election_ms_max: u64,
    /// Log entries between snapshots.
    pub snapshot_entries: u64,
}

/// What a node runs with: every value checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the node keeps everything.
    pub data_dir: PathBuf,
    /// Its region; empty if the operator gave none.
    pub region: String,
    /// Its zone; empty if the operator gave none.
    pub zone: String,
    /// For clients.
    pub api: Listener,
    /// For other nodes.
    pub peer: Listener,
    /// Its certificate, key and authority.
    pub tls: TlsFiles,
    /// How it logs.
    pub log_format: LogFormat,
    /// A `tracing` filter.
    pub log_level: String,
    /// Raft's times.
    pub raft: RaftTimes,
    /// What one host and one principal may take.
    pub limits: Limits,
    /// The best pages that secrets are put on.
    pub secret_pages: PageKind,
    /// A listener without TLS, if it is wanted.
    pub probe: Option<Probe>,
    /// What this node wraps its share with.
    pub seal: Seal,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}; pass its path with --config")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not TOML, or has a key that does not exist.
    #[error("the configuration {path} is not valid: {source}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A value is out of its range.
    #[error("{key} = {value}: {expected}")]
    Value {
        /// The key, as written in the file.
        key: &'static str,
        /// What stood there.
        value: String,
        /// What may stand there.
        expected: &'static str,
    },
}

/// Longest region or zone name, bytes.
const PLACE_LEN_MAX: usize = 63;

impl Config {
    /// Reads and checks a file. Relative paths in it are relative to its folder.
    ///
    /// # Errors
    /// If it cannot be read, parsed, or a value is out of range.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, path, folder)
    }

    pub(crate) fn parse(text: &str, path: &Path, folder: &Path) -> Result<Self, ConfigError> {
        let raw: RawConfig = toml::from_str(text).map_err(|source| ConfigError::Parse {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        let raft = RaftTimes {
            heartbeat_ms: ranged(
                "raft.heartbeat_ms",
                raw.raft.heartbeat_ms,
                HEARTBEAT_MS,
                10,
                10_000,
            )?,
            election_ms_min: ranged(
                "raft.election_ms_min",
                raw.raft.election_ms_min,
                ELECTION_MIN_MS,
                50,
                60_000,
            )?,
            election_ms_max: ranged(
                "raft.election_ms_max",
                raw.raft.election_ms_max,
                ELECTION_MAX_MS,
                100,
                120_000,
            )?,
            snapshot_entries: ranged(
                "raft.snapshot_entries",
                raw.raft.snapshot_entries,
                20_000,
                10,
                10_000_000,
            )?,
        };
        if raft.heartbeat_ms * 3 > raft.election_ms_min
            || raft.election_ms_min >= raft.election_ms_max
        {
            return Err(ConfigError::Value {
                key: "raft",
                value: format!("{raft:?}"),
                expected: "needs 3 × heartbeat_ms <= election_ms_min < election_ms_max",
            });
        }
        Ok(Self {
            data_dir: folder.join(raw.data_dir),
            region: place("region", raw.region)?,
            zone: place("zone", raw.zone)?,
            api: listener("api.listen", "api.advertise", raw.api)?,
            peer: listener("peer.listen", "peer.advertise", raw.peer)?,
            tls: TlsFiles {
                ca: folder.join(raw.tls.ca),
                cert: folder.join(raw.tls.cert),
                key: folder.join(raw.tls.key),
            },
            log_format: raw.log.format.unwrap_or_default(),
            log_level: log_level(raw.log.level)?,
            raft,
            limits: Limits::check(&raw.limits)?,
            secret_pages: raw.memory.best_pages(),
            probe: raw.probe.as_ref().map(Probe::check).transpose()?,
            seal: Seal::check(raw.seal, folder)?,
        })
    }
}

fn ranged(
    key: &'static str,
    value: Option<u64>,
    default: u64,
    min: u64,
    max: u64,
) -> Result<u64, ConfigError> {
    let value = value.unwrap_or(default);
    if (min..=max).contains(&value) {
        return Ok(value);
    }
    Err(ConfigError::Value {
        key,
        value: format!("{value} (allowed: {min} to {max})"),
        expected: "is out of range",
    })
}

fn log_level(level: Option<String>) -> Result<String, ConfigError> {
    // Raft's own chatter is for whoever looks for it.
    let level = level.unwrap_or_else(|| "info,openraft=warn".to_owned());
    match tracing_subscriber::EnvFilter::try_new(&level) {
        Ok(_) => Ok(level),
        Err(_) => Err(ConfigError::Value {
            key: "log.level",
            value: level,
            expected: "takes a level (error, warn, info, debug, trace) or a list such as info,openraft=warn",
        }),
    }
}

fn place(key: &'static str, value: String) -> Result<String, ConfigError> {
    let fits = value.len() <= PLACE_LEN_MAX
        && value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if fits {
        return Ok(value);
    }
    Err(ConfigError::Value { key, value, expected: "takes up to 63 of a-z, 0-9 and '-'" })
}

fn listener(
    listen_key: &'static str,
    advertise_key: &'static str,
    raw: RawListener,
) -> Result<Listener, ConfigError> {
    let Ok(listen) = raw.listen.parse::<SocketAddr>() else {
        return Err(ConfigError::Value {
            key: listen_key,
            value: raw.listen,
            expected: "takes an IP address and port, such as 0.0.0.0:7400 or [::]:7400",
        });
    };
    let advertise = raw.advertise.unwrap_or_else(|| listen.to_string());
    if listen.ip().is_unspecified() && advertise == listen.to_string() {
        return Err(ConfigError::Value {
            key: advertise_key,
            value: advertise,
            expected: "must be given when listening on all addresses: the host:port that others dial",
        });
    }
    if !is_host_port(&advertise) {
        return Err(ConfigError::Value {
            key: advertise_key,
            value: advertise,
            expected: "takes host:port",
        });
    }
    Ok(Listener { listen, advertise })
}

/// Whether `text` is host:port with a host of at most 253 bytes and a port above 0.
pub(crate) fn is_host_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let host_fits = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
            !host.is_empty() && host.len() <= 253 && host.bytes().all(plain)
        }
    };
    host_fits && port.parse::<u16>().is_ok_and(|p| p > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        data_dir = "data"
        region = "eu-west"
        api = { listen = "127.0.0.1:7400" }
        peer = { listen = "0.0.0.0:7401", advertise = "n1.example.test:7401" }
        tls = { ca = "ca.pem", cert = "/etc/n1.pem", key = "n1.key" }
    "#;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, Path::new("/etc/conclave/c.toml"), Path::new("/etc/conclave"))
    }

    #[test]
    fn relative_paths_are_relative_to_the_file() {
        let config = parse(GOOD).unwrap();
        assert_eq!(config.data_dir, Path::new("/etc/conclave/data"));
        assert_eq!(config.tls.cert, Path::new("/etc/n1.pem"));
        assert_eq!(config.peer.advertise, "n1.example.test:7401");
    }

    #[test]
    fn what_does_not_hold_is_refused_with_the_key_named() {
        for (from, to, names) in [
            ("region", "regoin", "regoin"),
            ("127.0.0.1:7400", "0.0.0.0:7400", "api.advertise"),
            ("127.0.0.1:7400", "localhost", "api.listen"),
            ("eu-west", "EU", "region"),
        ] {
            let error = parse(&GOOD.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(names), "{error}");
        }
        let slow = format!("{GOOD}\nraft = {{ heartbeat_ms = 500 }}");
        assert!(parse(&slow).unwrap_err().to_string().contains("heartbeat_ms"));
    }

    #[test]
    fn limits_are_bounded_and_fit_together() {
        let with = |limits: &str| parse(&format!("{GOOD}\nlimits = {{ {limits} }}"));
        let few = with("connections = 64").unwrap().limits;
        assert_eq!((few.connections, few.connections_per_address), (64, 64));
        for (limits, names) in [
            ("connections = 1", "limits.connections"),
            ("connections = 64, connections_per_address = 65", "connections_per_address"),
            ("requests_per_second = 0", "requests_per_second"),
            ("burst = 1_000_001", "burst"),
            ("brust = 1", "brust"),
        ] {
            let error = with(limits).unwrap_err().to_string();
            assert!(error.contains(names), "{error}");
        }
    }

    #[test]
    fn secrets_lie_on_the_best_pages_unless_told() {
        let with = |pages: &str| parse(&format!("{GOOD}\nmemory = {{ secret_pages = {pages:?} }}"));
        assert_eq!(parse(GOOD).unwrap().secret_pages, PageKind::Secret);
        assert_eq!(with("mlock").unwrap().secret_pages, PageKind::Locked);
        assert!(with("heap").unwrap_err().to_string().contains("secret_pages"));
    }

    #[test]
    fn the_probe_is_off_and_stays_at_home_unless_told() {
        let with = |probe: &str| parse(&format!("{GOOD}\nprobe = {{ {probe} }}"));
        assert_eq!(parse(GOOD).unwrap().probe, None);
        let probe = with(r#"listen = "127.0.0.1:7402""#).unwrap().probe.unwrap();
        assert!(!probe.metrics);
        for away in ["0.0.0.0:7402", "[::]:7402", "10.0.0.1:7402"] {
            let error = with(&format!("listen = {away:?}")).unwrap_err().to_string();
            assert!(error.contains("allow_remote"), "{error}");
            with(&format!("listen = {away:?}, allow_remote = true")).unwrap();
        }
        assert!(with("metrics = true").is_err());
    }
}

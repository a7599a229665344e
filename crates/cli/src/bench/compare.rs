//! What the cluster is measured against, on the same machine in the same run: a gRPC echo with the
//! same TLS, payload, connections and client code, whose server is a process of its own; and
//! appends of 4 KiB with fdatasync.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use clap::Args;
use conclave_client::{Client, ClientConfig};
use conclave_pki::{
    Authority, ClusterName, Kind, NodeName, PrincipalName, TlsFiles, TlsMaterial, new_authority,
    write_private, write_public,
};

use super::BenchArgs;
use super::load::{Load, Measured};
use crate::error::CliError;

/// Appends measured on the disk.
const APPENDS: usize = 500;
/// Bytes of each.
const APPEND_BYTES: usize = 4096;

/// What was measured beside the cluster.
pub(super) struct Compared {
    pub(super) echo: Measured,
    pub(super) fdatasync_p50_us: u32,
}

/// Flags of the hidden echo server.
#[derive(Clone, Debug, Args)]
pub(crate) struct EchoArgs {
    /// The folder with ca.pem, echo.pem and echo.key.
    #[arg(long)]
    dir: PathBuf,
}

/// Measures the echo and the disk.
pub(super) async fn run(args: &BenchArgs, duration: Duration) -> Result<Compared, CliError> {
    let fdatasync_p50_us = fdatasync_p50_us(&args.dir)?;
    let keys = tempfile::tempdir().map_err(CliError::Runtime)?;
    make_certificates(keys.path())?;
    let mut server = Command::new(std::env::current_exe().map_err(CliError::Runtime)?)
        .args(["bench-echo", "--dir"])
        .arg(keys.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(CliError::Runtime)?;
    let mut address = String::new();
    if let Some(stdout) = server.stdout.take() {
        BufReader::new(stdout).read_line(&mut address).map_err(CliError::Runtime)?;
    }
    let files = TlsFiles {
        ca: keys.path().join("ca.pem"),
        cert: keys.path().join("bench.pem"),
        key: keys.path().join("bench.key"),
    };
    let tls = TlsMaterial::load(&files, &[Kind::Client], SystemTime::now())?;
    let mut clients = Vec::new();
    for _ in 0..args.clients {
        let endpoints = vec![format!("https://{}", address.trim()).parse()?];
        let timeout = Duration::from_secs(10);
        clients.push(Client::new(ClientConfig { endpoints, tls: tls.clone(), timeout })?);
    }
    let echo = Load::of_clients(clients, usize::from(args.size)).run(duration).await;
    // Its standard input closes, and it ends.
    drop(server.stdin.take());
    let _ = server.wait();
    Ok(Compared { echo, fdatasync_p50_us })
}

/// The echo server: prints its address, and ends when its standard input does.
pub(crate) async fn serve_echo(args: &EchoArgs) -> Result<(), CliError> {
    let files = TlsFiles {
        ca: args.dir.join("ca.pem"),
        cert: args.dir.join("echo.pem"),
        key: args.dir.join("echo.key"),
    };
    let tls = TlsMaterial::load(&files, &[Kind::Node], SystemTime::now())?;
    let (address, serving) =
        conclave_server::echo(&tls).await.map_err(|error| CliError::Server(error.to_string()))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{address}").and_then(|()| out.flush()).map_err(CliError::Stdout)?;
    drop(out);
    let closed = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    tokio::select! {
        _ = closed => {}
        () = serving => {}
    }
    Ok(())
}

fn make_certificates(dir: &Path) -> Result<(), CliError> {
    let now = SystemTime::now();
    let cluster: ClusterName = "bench".parse()?;
    let ca = new_authority(&cluster, 1, now)?;
    write_public(&dir.join("ca.pem"), ca.certificate_pem.as_bytes())?;
    let authority = Authority::load(&ca.certificate_pem, ca.key_pem.expose())?;
    let node: NodeName = "echo".parse()?;
    let client: PrincipalName = "bench".parse()?;
    let issued = [
        ("echo", authority.issue_node(&node, &["127.0.0.1".to_owned()], 1, now)?),
        ("bench", authority.issue_client(&client, 1, now)?),
    ];
    for (name, issued) in issued {
        write_public(&dir.join(format!("{name}.pem")), issued.certificate_pem.as_bytes())?;
        write_private(&dir.join(format!("{name}.key")), issued.key_pem.expose().as_bytes())?;
    }
    Ok(())
}

fn fdatasync_p50_us(dir: &Path) -> Result<u32, CliError> {
    let path = dir.join(format!(".conclave-bench-{}", std::process::id()));
    let failed = |source| CliError::File { verb: "write", path: path.clone(), source };
    let file = OpenOptions::new().create_new(true).append(true).open(&path).map_err(failed)?;
    let measured = appends(&file);
    std::fs::remove_file(&path).map_err(failed)?;
    let mut latencies_us = measured.map_err(failed)?;
    latencies_us.sort_unstable();
    Ok(latencies_us[APPENDS / 2])
}

fn appends(mut file: &File) -> Result<Vec<u32>, std::io::Error> {
    let page = [0x5a; APPEND_BYTES];
    (0..APPENDS)
        .map(|_| {
            let began = Instant::now();
            file.write_all(&page)?;
            file.sync_data()?;
            Ok(u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX))
        })
        .collect()
}

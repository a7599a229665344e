//! `conclave pki`: the cluster's authority and the certificates that it issues. All offline.

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use clap::{Args, Subcommand, ValueEnum};
use conclave_pki::{
    Authority, CertificateSummary, ClusterName, DAYS_MAX, Issued, bundle_authorities, inspect,
    new_authority, write_private, write_public,
};
use serde_json::{Value, json};

use crate::{app::App, error::CliError, files, output::lines, time::utc_secs};

const CA_CERT: &str = "ca.pem";
const CA_KEY: &str = "ca.key";

/// Certificate files are a few kilobytes.
const PEM_BYTES_MAX: usize = 1024 * 1024;
const PEM_HINT: &str = "give a PEM file";

#[derive(Debug, Subcommand)]
pub(crate) enum PkiCommand {
    /// Make a cluster's certificate authority: ca.pem and ca.key.
    Init(InitArgs),
    /// Issue a certificate: NAME.pem and NAME.key.
    Issue(IssueArgs),
    /// Put several authorities of one cluster into one file, to be trusted while one replaces the other.
    Bundle(BundleArgs),
    /// Show what stands in a certificate file; nothing is verified.
    Inspect {
        /// A PEM file.
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The cluster's name; its certificates are good for this cluster alone.
    #[arg(long, value_name = "NAME")]
    cluster: ClusterName,
    /// The folder to write to; made if it is not there.
    #[arg(long)]
    dir: PathBuf,
    /// How long the authority is valid.
    #[arg(long, default_value_t = 3650, value_parser = days())]
    days: u32,
}

#[derive(Debug, Args)]
pub(crate) struct IssueArgs {
    /// For whom: a client calls the API, a node serves it.
    #[arg(value_enum)]
    kind: IssueKind,
    /// The client's or node's name.
    name: String,
    /// The folder of ca.pem and ca.key.
    #[arg(long)]
    dir: PathBuf,
    /// The folder to write to, if not that of the authority.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// A DNS name or address that clients reach the node by; repeat for several.
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    /// How long the certificate is valid.
    #[arg(long, default_value_t = 365, value_parser = days())]
    days: u32,
}

#[derive(Debug, Args)]
pub(crate) struct BundleArgs {
    /// The authorities' certificates: ca.pem of each.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The file to write or replace, whole or not at all.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum IssueKind {
    Client,
    Node,
}

pub(crate) fn run(app: &App, command: PkiCommand) -> Result<(), CliError> {
    match command {
        PkiCommand::Init(args) => init(app, &args),
        PkiCommand::Issue(args) => issue(app, args),
        PkiCommand::Bundle(args) => bundle(app, &args),
        PkiCommand::Inspect { file } => show(app, &file),
    }
}

fn init(app: &App, args: &InitArgs) -> Result<(), CliError> {
    let issued = new_authority(&args.cluster, args.days, SystemTime::now())?;
    files::make_private_folder(&args.dir)?;
    let cert = args.dir.join(CA_CERT);
    let key = args.dir.join(CA_KEY);
    write_pair(&issued, &cert, &key)?;
    let json = json!({ "cluster": args.cluster.as_ref(), "ca_cert": cert, "ca_key": key });
    app.show(&json, |out| {
        writeln!(
            out,
            "{}  the authority of {}: every node and client needs it",
            cert.display(),
            args.cluster
        )?;
        writeln!(
            out,
            "{}  its key: keep it offline, whoever has it can issue certificates",
            key.display()
        )?;
        let dir = args.dir.display();
        writeln!(out, "Next: conclave pki issue node NAME --dir {dir} --host HOST, and")?;
        writeln!(out, "      conclave pki issue client NAME --dir {dir}")
    })
}

fn issue(app: &App, args: IssueArgs) -> Result<(), CliError> {
    let ca_cert = read(&args.dir.join(CA_CERT))?;
    let ca_key = read(&args.dir.join(CA_KEY))?;
    let authority = Authority::load(text(&ca_cert)?, text(&ca_key)?)?;
    let now = SystemTime::now();
    let issued = match args.kind {
        IssueKind::Node => {
            authority.issue_node(&args.name.parse()?, &args.hosts, args.days, now)?
        }
        IssueKind::Client if !args.hosts.is_empty() => {
            let message = "a client's certificate has no hosts; leave --host out, or issue a node";
            return Err(CliError::Usage(message.to_owned()));
        }
        IssueKind::Client => authority.issue_client(&args.name.parse()?, args.days, now)?,
    };
    let folder = args.out.as_deref().unwrap_or(&args.dir);
    if args.out.is_some() {
        files::make_private_folder(folder)?;
    }
    let cert = folder.join(format!("{}.pem", args.name));
    let key = folder.join(format!("{}.key", args.name));
    write_pair(&issued, &cert, &key)?;
    let described = describe(&issued.certificate_pem, &cert)?;
    let json = json!({ "cert": cert, "key": key, "certificates": described.iter().map(summary_json).collect::<Vec<_>>() });
    app.show(&json, |out| {
        writeln!(out, "{}", cert.display())?;
        writeln!(out, "{}", key.display())?;
        described.iter().try_for_each(|summary| write!(out, "{}", summary_lines(summary)))
    })
}

fn bundle(app: &App, args: &BundleArgs) -> Result<(), CliError> {
    let mut pems = Vec::new();
    for file in &args.files {
        pems.push(text(&read(file)?)?.to_owned());
    }
    let bundle = bundle_authorities(&pems)?;
    files::write_output(Some(&args.out), bundle.as_bytes(), files::PUBLIC)?;
    let described = describe(&bundle, &args.out)?;
    let json = json!({ "ca_cert": args.out, "certificates": described.iter().map(summary_json).collect::<Vec<_>>() });
    app.show(&json, |out| {
        writeln!(out, "{}", args.out.display())?;
        described.iter().try_for_each(|summary| write!(out, "\n{}", summary_lines(summary)))
    })
}

fn show(app: &App, file: &Path) -> Result<(), CliError> {
    let described = describe(text(&read(file)?)?, file)?;
    let json = json!({ "certificates": described.iter().map(summary_json).collect::<Vec<_>>() });
    app.show(&json, |out| {
        for (number, summary) in described.iter().enumerate() {
            if number > 0 {
                writeln!(out)?;
            }
            write!(out, "{}", summary_lines(summary))?;
        }
        Ok(())
    })
}

/// The key first: a certificate without its key would stand in the way of the next try.
fn write_pair(issued: &Issued, cert: &Path, key: &Path) -> Result<(), CliError> {
    write_private(key, issued.key_pem.expose().as_bytes())?;
    write_public(cert, issued.certificate_pem.as_bytes()).inspect_err(|_| {
        // The key of no certificate is of no use to anybody.
        let _ = std::fs::remove_file(key);
    })?;
    Ok(())
}

fn read(path: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, CliError> {
    files::read_input(Some(path), PEM_BYTES_MAX, PEM_HINT)
}

fn text(bytes: &[u8]) -> Result<&str, CliError> {
    let not_text = |_| CliError::Usage("the file is no text; give a PEM file".to_owned());
    std::str::from_utf8(bytes).map_err(not_text)
}

fn describe(pem: &str, path: &Path) -> Result<Vec<CertificateSummary>, CliError> {
    inspect(pem).map_err(|source| CliError::Inspect { path: path.to_owned(), source })
}

fn summary_json(summary: &CertificateSummary) -> Value {
    json!({
        "subject": summary.subject,
        "identity": summary.identity.as_ref().map(ToString::to_string),
        "serial": summary.serial,
        "not_before": utc_secs(summary.not_before),
        "not_after": utc_secs(summary.not_after),
        "hosts": summary.hosts,
        "is_ca": summary.is_ca,
        "sha256_fingerprint": summary.sha256_fingerprint,
    })
}

fn summary_lines(summary: &CertificateSummary) -> String {
    let identity = summary.identity.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string);
    let hosts = if summary.hosts.is_empty() { "-".to_owned() } else { summary.hosts.join(", ") };
    lines([
        ("subject", summary.subject.clone()),
        ("identity", identity),
        ("serial", summary.serial.clone()),
        ("valid from", utc_secs(summary.not_before)),
        ("valid until", utc_secs(summary.not_after)),
        ("hosts", hosts),
        ("authority", if summary.is_ca { "yes" } else { "no" }.to_owned()),
        ("sha256", summary.sha256_fingerprint.clone()),
    ])
}

fn days() -> clap::builder::RangedU64ValueParser<u32> {
    clap::builder::RangedU64ValueParser::new().range(1..=u64::from(DAYS_MAX))
}

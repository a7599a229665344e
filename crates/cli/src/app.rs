//! What every command needs: a client when it calls the cluster, and a place to print.

use std::{
    future::Future,
    io::{self, Write},
    path::PathBuf,
    time::{Duration, SystemTime},
};

use conclave_audit::VerifierKey;
use conclave_client::{Client, ClientConfig, Endpoint};
use conclave_pki::{Kind, TlsFiles, TlsMaterial};
use indicatif::ProgressBar;
use serde::Serialize;

use crate::{error::CliError, global::Global, output::Format};

/// A wait shorter than this needs no words.
const SPINNER_AFTER: Duration = Duration::from_millis(400);

/// The global flags at work.
pub(crate) struct App {
    global: Global,
}

impl App {
    pub(crate) fn new(global: Global) -> Self {
        Self { global }
    }

    pub(crate) fn output(&self) -> Format {
        self.global.output
    }

    /// A client of the configured endpoints.
    pub(crate) fn client(&self) -> Result<Client, CliError> {
        let client = self.client_without_request_id()?;
        Ok(match &self.global.request_id {
            Some(id) => client.with_request_id(id.clone()),
            None => client,
        })
    }

    /// The global `--request-id`, where it says what to look for; else empty.
    pub(crate) fn filtered_request_id(&self) -> String {
        self.global.request_id.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    /// [`App::client`], but each of its calls takes a new id.
    pub(crate) fn client_without_request_id(&self) -> Result<Client, CliError> {
        let text = self.global.endpoints.as_deref().unwrap_or_default();
        let endpoints = text
            .split(',')
            .filter(|part| !part.trim().is_empty())
            .map(str::parse)
            .collect::<Result<Vec<Endpoint>, _>>()?;
        self.client_of(endpoints)
    }

    /// A client of other endpoints, with the configured certificate.
    pub(crate) fn client_of(&self, endpoints: Vec<Endpoint>) -> Result<Client, CliError> {
        let timeout = Duration::from_secs(self.global.timeout);
        Ok(Client::new(ClientConfig { endpoints, tls: self.tls()?, timeout })?)
    }

    /// The audit key that the caller keeps.
    pub(crate) fn audit_key(&self) -> Result<VerifierKey, CliError> {
        let text = self.global.audit_key.as_deref().unwrap_or_default().trim();
        if text.is_empty() {
            return Err(CliError::Usage(
                "no audit key; set CONCLAVE_AUDIT_KEY or --audit-key to the verifier key that \
                 `conclave operator init` printed"
                    .to_owned(),
            ));
        }
        text.parse().map_err(|error| CliError::Usage(format!("the audit key is unusable: {error}")))
    }

    /// Prints a result: `json` for scripts, or what `table` writes for people.
    pub(crate) fn show(
        &self,
        json: &impl Serialize,
        table: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), CliError> {
        let mut out = io::stdout().lock();
        let written = match self.global.output {
            Format::Json => serde_json::to_writer(&mut out, json)
                .map_err(io::Error::from)
                .and_then(|()| out.write_all(b"\n")),
            Format::Table => table(&mut out),
        };
        // Whoever stopped reading has what they wanted.
        match written.and_then(|()| out.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(CliError::Stdout(error)),
            _ => Ok(()),
        }
    }

    /// Awaits, with a spinner on a terminal's stderr if it takes a while.
    pub(crate) async fn wait<T>(&self, what: &'static str, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        if let Ok(done) = tokio::time::timeout(SPINNER_AFTER, &mut work).await {
            return done;
        }
        let spinner = self.spinner(what);
        let done = work.await;
        spinner.finish_and_clear();
        done
    }

    /// A spinner on stderr; indicatif hides it where that is no terminal.
    pub(crate) fn spinner(&self, what: &'static str) -> ProgressBar {
        let spinner = ProgressBar::new_spinner().with_message(what);
        spinner.enable_steady_tick(Duration::from_millis(100));
        spinner
    }

    /// Says something beside the result, on stderr.
    pub(crate) fn say(&self, text: &str) {
        // Where stderr is gone, nobody listens.
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// The configured certificate.
    pub(crate) fn tls(&self) -> Result<TlsMaterial, CliError> {
        let given = |path: &Option<PathBuf>, variable: &str, flag: &str| {
            let missing = || CliError::Usage(format!("no {flag}; set {variable} or --{flag}"));
            path.clone().filter(|path| !path.as_os_str().is_empty()).ok_or_else(missing)
        };
        let files = TlsFiles {
            ca: given(&self.global.ca_cert, "CONCLAVE_CA_CERT", "ca-cert")?,
            cert: given(&self.global.client_cert, "CONCLAVE_CLIENT_CERT", "client-cert")?,
            key: given(&self.global.client_key, "CONCLAVE_CLIENT_KEY", "client-key")?,
        };
        Ok(TlsMaterial::load(&files, &[Kind::Client], SystemTime::now())?)
    }
}

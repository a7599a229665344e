//! The closed loop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use conclave_client::{Client, ClientError, Endpoint};
use conclave_proto::v1;
use tokio::task::JoinSet;

use super::{BenchArgs, Op};
use crate::app::App;
use crate::error::CliError;

/// Before anything is counted.
const WARM_UP: Duration = Duration::from_secs(1);

/// What the clients saw.
#[derive(Default)]
pub(super) struct Measured {
    /// Latencies of what succeeded, microseconds, sorted.
    pub(super) latencies_us: Vec<u32>,
    pub(super) errors: u64,
    pub(super) first_error: Option<String>,
    pub(super) elapsed: Duration,
}

impl Measured {
    pub(super) fn ops_per_second(&self) -> f64 {
        self.latencies_us.len() as f64 / self.elapsed.as_secs_f64().max(f64::EPSILON)
    }

    /// The latency below which `share` of all operations stayed, microseconds.
    pub(super) fn quantile_us(&self, share: f64) -> u32 {
        let last = self.latencies_us.len().saturating_sub(1);
        let at = (last as f64 * share).round() as usize;
        self.latencies_us.get(at).copied().unwrap_or_default()
    }
}

/// Clients ready to go.
pub(super) struct Load {
    clients: Vec<Client>,
    work: Arc<Work>,
    /// The key made for this run.
    own_key: Option<String>,
}

/// The same request for everyone, made once.
struct Work {
    op: Op,
    key: String,
    plaintext: Vec<u8>,
    ciphertext: Vec<u8>,
}

impl Load {
    /// Makes the clients, the key and the ciphertext.
    pub(super) async fn prepare(app: &App, args: &BenchArgs) -> Result<Self, CliError> {
        let first = app.client()?;
        let (key, own_key) = match &args.key {
            Some(key) => (key.clone(), None),
            None => {
                let request = v1::CreateKeyRequest {
                    description: "conclave bench".to_owned(),
                    ..v1::CreateKeyRequest::default()
                };
                let made = first.create_key(request).await?.value.key_metadata.unwrap_or_default();
                (made.key_id.clone(), Some(made.key_id))
            }
        };
        let plaintext = vec![b'x'; usize::from(args.size)];
        let ciphertext = if args.op == Op::Decrypt {
            let request = v1::EncryptRequest {
                key_id: key.clone(),
                plaintext: plaintext.clone(),
                ..Default::default()
            };
            first.encrypt(request).await?.value.ciphertext_blob
        } else {
            Vec::new()
        };
        let endpoints: Vec<Endpoint> = first.endpoints().cloned().collect();
        let mut clients = Vec::new();
        for number in 0..usize::from(args.clients) {
            // Each begins at another node, and has connections of its own.
            let mut mine = endpoints.clone();
            let shift = number % mine.len().max(1);
            mine.rotate_left(shift);
            clients.push(app.client_of(mine)?);
        }
        let work = Arc::new(Work { op: args.op, key, plaintext, ciphertext });
        Ok(Self { clients, work, own_key })
    }

    /// The same load against an echo: clients and plaintext, no key.
    pub(super) fn of_clients(clients: Vec<Client>, size: usize) -> Self {
        let work = Work {
            op: Op::Encrypt,
            key: "echo".to_owned(),
            plaintext: vec![b'x'; size],
            ciphertext: Vec::new(),
        };
        Self { clients, work: Arc::new(work), own_key: None }
    }

    /// Runs every client for that long, after warming up.
    pub(super) async fn run(&self, duration: Duration) -> Measured {
        let begin = Instant::now() + WARM_UP;
        let end = begin + duration;
        let mut tasks = JoinSet::new();
        for client in &self.clients {
            let (client, work) = (client.clone(), Arc::clone(&self.work));
            tasks.spawn(async move { one_client(&client, &work, begin, end).await });
        }
        let mut all = Measured { elapsed: duration, ..Measured::default() };
        while let Some(done) = tasks.join_next().await {
            let Ok(one) = done else { continue };
            all.latencies_us.extend(one.latencies_us);
            all.errors += one.errors;
            all.first_error = all.first_error.or(one.first_error);
        }
        all.latencies_us.sort_unstable();
        all
    }

    /// Schedules the deletion of the key made for this run.
    pub(super) async fn finish(&self) {
        if let (Some(key), Some(client)) = (&self.own_key, self.clients.first()) {
            let request = v1::ScheduleKeyDeletionRequest {
                key_id: key.clone(),
                pending_window_in_days: Some(7),
            };
            // It is only tidying up: the measurement stands without it.
            let _ = client.schedule_key_deletion(request).await;
        }
    }
}

async fn one_client(client: &Client, work: &Work, begin: Instant, end: Instant) -> Measured {
    let mut measured = Measured::default();
    loop {
        let sent = Instant::now();
        if sent >= end {
            return measured;
        }
        let outcome = once(client, work).await;
        let done = Instant::now();
        if sent < begin || done > end {
            continue;
        }
        match outcome {
            Ok(()) => {
                let us = done.duration_since(sent).as_micros();
                measured.latencies_us.push(u32::try_from(us).unwrap_or(u32::MAX));
            }
            Err(error) => {
                measured.errors += 1;
                measured.first_error.get_or_insert_with(|| error.to_string());
                // A cluster that refuses at once must not be hammered.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

async fn once(client: &Client, work: &Work) -> Result<(), ClientError> {
    let key_id = work.key.clone();
    match work.op {
        Op::Encrypt => {
            let plaintext = work.plaintext.clone();
            client
                .encrypt(v1::EncryptRequest { key_id, plaintext, ..Default::default() })
                .await
                .map(drop)
        }
        Op::Decrypt => {
            let ciphertext_blob = work.ciphertext.clone();
            let request = v1::DecryptRequest { ciphertext_blob, key_id, ..Default::default() };
            client.decrypt(request).await.map(drop)
        }
        Op::DataKey => {
            let request = v1::GenerateDataKeyRequest {
                key_id,
                number_of_bytes: Some(32),
                ..Default::default()
            };
            client.generate_data_key(request).await.map(drop)
        }
        Op::CreateKey => client.create_key(v1::CreateKeyRequest::default()).await.map(drop),
    }
}

//! The closed loop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use conclave_client::{Client, Endpoint};
use conclave_proto::v1;
use tokio::task::JoinSet;

use super::json_face::JsonFace;
use super::work::{Caller, Op, Work};
use super::{BenchArgs, Face};
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
    callers: Vec<Caller>,
    /// The key made for this run, and who tidies it up.
    own_key: Option<(String, Client)>,
}

impl Load {
    /// Makes the clients, the key and the ciphertext.
    pub(super) async fn prepare(app: &App, args: &BenchArgs) -> Result<Self, CliError> {
        let first = app.client()?;
        let (key, own_key) = match &args.key {
            Some(key) => (key.clone(), None),
            None => {
                let made = first.create_key(args.op.key()).await?.value.key_metadata;
                let made = made.unwrap_or_default().key_id;
                (made.clone(), Some((made, first.clone())))
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
        let work = Arc::new(Work::new(args.op, key, plaintext, ciphertext));
        let endpoints: Vec<Endpoint> = first.endpoints().cloned().collect();
        let mut callers = Vec::new();
        for number in 0..usize::from(args.clients) {
            // Each begins at another node, and has connections of its own.
            let mut mine = endpoints.clone();
            let shift = number % mine.len().max(1);
            mine.rotate_left(shift);
            callers.push(match (args.face, mine.first()) {
                (Face::Aws, Some(endpoint)) => {
                    let (operation, body) = work.json()?;
                    let face = JsonFace::new(&app.tls()?, endpoint.clone(), operation, body)?;
                    Caller::Json(face)
                }
                _ => Caller::Grpc(app.client_of(mine)?, Arc::clone(&work)),
            });
        }
        Ok(Self { callers, own_key })
    }

    /// The same load against an echo: clients and plaintext, no key.
    pub(super) fn of_clients(clients: Vec<Client>, size: usize) -> Self {
        let work = Work::new(Op::Encrypt, "echo".to_owned(), vec![b'x'; size], Vec::new());
        let work = Arc::new(work);
        let caller = |client| Caller::Grpc(client, Arc::clone(&work));
        Self { callers: clients.into_iter().map(caller).collect(), own_key: None }
    }

    /// Runs every client for that long, after warming up.
    pub(super) async fn run(&mut self, duration: Duration) -> Measured {
        let begin = Instant::now() + WARM_UP;
        let end = begin + duration;
        let mut tasks = JoinSet::new();
        for caller in self.callers.drain(..) {
            tasks.spawn(one_client(caller, begin, end));
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
        if let Some((key, client)) = &self.own_key {
            let request = v1::ScheduleKeyDeletionRequest {
                key_id: key.clone(),
                pending_window_in_days: Some(7),
            };
            // It is only tidying up: the measurement stands without it.
            let _ = client.schedule_key_deletion(request).await;
        }
    }
}

async fn one_client(mut caller: Caller, begin: Instant, end: Instant) -> Measured {
    let mut measured = Measured::default();
    loop {
        let sent = Instant::now();
        if sent >= end {
            return measured;
        }
        let outcome = caller.once().await;
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
                measured.first_error.get_or_insert(error);
                // A cluster that refuses at once must not be hammered.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

//! A node of one's own making: real TLS from `conclave-pki`, answers from a closure.

#![allow(clippy::unwrap_used, reason = "a test fails where this does")]

mod scripted;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use conclave_client::{Client, ClientConfig, Endpoint};
use conclave_pki::{Authority, Issued, Kind, TlsMaterial, api_server_config, new_authority};
pub(crate) use scripted::Answer;
use scripted::{AnswerFn, Call, serve};
use tokio::net::TcpListener;

/// What a node saw of a request.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) request_id: String,
    pub(crate) attempt_age_ms: Option<u64>,
}

pub(crate) struct Cluster {
    name: &'static str,
    ca: Issued,
}

impl Cluster {
    pub(crate) fn new(name: &'static str) -> Self {
        let ca = new_authority(&name.parse().unwrap(), 30, SystemTime::now()).unwrap();
        Self { name, ca }
    }

    fn authority(&self) -> Authority {
        Authority::load(&self.ca.certificate_pem, self.ca.key_pem.expose()).unwrap()
    }

    fn material(&self, ca: &str, issued: &Issued, kind: Kind) -> TlsMaterial {
        TlsMaterial::from_pem(
            ca.as_bytes(),
            issued.certificate_pem.as_bytes(),
            issued.key_pem.expose().as_bytes(),
            &[kind],
            SystemTime::now(),
        )
        .unwrap()
    }

    /// Starts a node that answers its requests, counted from 0, with `answer`.
    pub(crate) async fn node(
        &self,
        answer: impl Fn(usize) -> Answer + Send + Sync + 'static,
    ) -> (Endpoint, Arc<Mutex<Vec<Seen>>>) {
        let hosts = ["127.0.0.1".to_owned()];
        let issued = self
            .authority()
            .issue_node(&"n1".parse().unwrap(), &hosts, 1, SystemTime::now())
            .unwrap();
        let material = self.material(&self.ca.certificate_pem, &issued, Kind::Node);
        let tls = api_server_config(&material, &self.name.parse().unwrap()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap().to_string().parse().unwrap();
        let seen = Arc::new(Mutex::new(Vec::<Seen>::new()));
        let noted = seen.clone();
        let answer: AnswerFn = Arc::new(move |call: &Call| {
            let mut noted = noted.lock().unwrap();
            noted.push(Seen {
                request_id: call.request_id.clone(),
                attempt_age_ms: call.attempt_age_ms,
            });
            answer(noted.len() - 1)
        });
        tokio::spawn(serve(listener, tls, answer));
        (endpoint, seen)
    }

    /// A client that tries `endpoints` for `timeout_ms`.
    pub(crate) fn client(&self, endpoints: &[&Endpoint], timeout_ms: u64) -> Client {
        self.client_trusting(self, endpoints, timeout_ms)
    }

    /// The same with a client that trusts another authority too.
    pub(crate) fn client_trusting(
        &self,
        other: &Cluster,
        endpoints: &[&Endpoint],
        timeout_ms: u64,
    ) -> Client {
        let ca = format!("{}{}", self.ca.certificate_pem, other.ca.certificate_pem);
        let issued =
            self.authority().issue_client(&"ops".parse().unwrap(), 1, SystemTime::now()).unwrap();
        Client::new(ClientConfig {
            endpoints: endpoints.iter().map(|endpoint| (*endpoint).clone()).collect(),
            tls: self.material(&ca, &issued, Kind::Client),
            timeout: Duration::from_millis(timeout_ms),
        })
        .unwrap()
    }
}

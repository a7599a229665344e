//! OpenBao's transit engine, JSON over HTTP/1.1, one connection kept open.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;

use crate::Failure;
use crate::system::{Op, PAYLOAD_BYTES, Reach};

/// The key that `scripts/compare` makes to encrypt with.
const KEY: &str = "compare";

pub(crate) struct Client {
    reach: Arc<Reach>,
    /// Which endpoint it is at.
    at: usize,
    connection: Option<SendRequest<Full<Bytes>>>,
    encrypt: Bytes,
}

impl Client {
    pub(crate) fn new(reach: Arc<Reach>, at: usize) -> Self {
        let plaintext = STANDARD.encode([b'x'; PAYLOAD_BYTES]);
        let encrypt = serde_json::json!({ "plaintext": plaintext }).to_string().into();
        Self { reach, at, connection: None, encrypt }
    }

    pub(crate) async fn once(&mut self, op: Op) -> Result<(), Failure> {
        let outcome = tokio::time::timeout(self.reach.attempt(), self.attempt(op)).await;
        let outcome = outcome.map_err(Failure::from).and_then(|outcome| outcome);
        if outcome.is_err() {
            // On to the next node, with a new connection.
            self.connection = None;
            self.at += 1;
        }
        outcome
    }

    async fn attempt(&mut self, op: Op) -> Result<(), Failure> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => {
                let stream = self.reach.connect(self.at).await?;
                let (sender, driver) = handshake(TokioIo::new(stream)).await?;
                tokio::spawn(driver);
                none.insert(sender)
            }
        };
        connection.ready().await?;
        let (path, body) = match op {
            Op::Encrypt => (format!("/v1/transit/encrypt/{KEY}"), self.encrypt.clone()),
            Op::Write => {
                (format!("/v1/transit/keys/{}", self.reach.name()), Bytes::from_static(b"{}"))
            }
        };
        let request = http::Request::post(path)
            .header("host", "openbao")
            .header("x-vault-token", self.reach.token())
            .header("content-type", "application/json")
            .body(Full::new(body))?;
        let response = connection.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        if !status.is_success() {
            return Err(format!("{status}: {}", String::from_utf8_lossy(&body)).into());
        }
        let expected: &[u8] = if op == Op::Encrypt { b"vault:v1:" } else { b"" };
        let found = body.windows(expected.len().max(1)).any(|window| window == expected);
        if found || expected.is_empty() { Ok(()) } else { Err("no ciphertext came back".into()) }
    }
}

//! The AWS KMS protocol as its clients speak it: HTTP/1.1, one connection each, one request at a time.

use std::sync::Arc;

use conclave_client::Endpoint;
use conclave_pki::{TlsMaterial, api_client_config};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::error::CliError;

/// A client of one endpoint.
pub(super) struct JsonFace {
    connector: TlsConnector,
    endpoint: Endpoint,
    target: String,
    body: Bytes,
    open: Option<SendRequest<Full<Bytes>>>,
}

impl JsonFace {
    pub(super) fn new(
        tls: &TlsMaterial,
        endpoint: Endpoint,
        operation: &str,
        body: Vec<u8>,
    ) -> Result<Self, CliError> {
        let config = api_client_config(tls);
        let mut config = (*config.map_err(|error| CliError::Usage(error.to_string()))?).clone();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            endpoint,
            target: format!("TrentService.{operation}"),
            body: body.into(),
            open: None,
        })
    }

    /// The request, once; over a new connection where the last has failed.
    pub(super) async fn call(&mut self) -> Result<(), String> {
        let mut sender = match self.open.take() {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let host = format!("{}:{}", self.endpoint.host(), self.endpoint.port());
        let request = Request::post("/")
            .header(header::HOST, host)
            .header(header::CONTENT_TYPE, "application/x-amz-json-1.1")
            .header("x-amz-target", &self.target)
            .body(Full::new(self.body.clone()))
            .map_err(|error| error.to_string())?;
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| error.to_string())?;
        self.open = Some(sender);
        if status == StatusCode::OK {
            return Ok(());
        }
        Err(format!("{status}: {}", String::from_utf8_lossy(&body.to_bytes())))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let (host, port) = (self.endpoint.host(), self.endpoint.port());
        let stream = TcpStream::connect((host, port)).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
        let stream = self.connector.connect(name, stream).await.map_err(|e| e.to_string())?;
        let opened = handshake(TokioIo::new(stream)).await;
        let (sender, connection) = opened.map_err(|error| error.to_string())?;
        // Its errors are those of the request under way.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }
}

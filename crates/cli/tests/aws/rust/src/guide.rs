use std::error::Error;

use aws_sdk_kms::Client;
use aws_sdk_kms::config::{BehaviorVersion, Config, Credentials, Region};
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{self, connect};
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// One for each node; clones share their connections.
pub fn kms(endpoint: &str) -> Result<Client, Box<dyn Error>> {
    let https = HttpsConnectorBuilder::new().with_tls_config(tls()?).https_only().enable_http1();
    let connector = SharedHttpConnector::new(MutualTls(
        legacy::Client::builder(TokioExecutor::new()).build(https.build()),
    ));
    let config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .endpoint_url(endpoint)
        .region(Region::new("local"))
        .credentials_provider(Credentials::new("unused", "unused", None, None, "unused"))
        .http_client(http_client_fn(move |_, _| connector.clone()))
        .build();
    Ok(Client::from_conf(config))
}

fn tls() -> Result<ClientConfig, Box<dyn Error>> {
    let mut authority = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(std::env::var("CONCLAVE_CA_CERT")?)? {
        authority.add(certificate?)?;
    }
    let chain = CertificateDer::pem_file_iter(std::env::var("CONCLAVE_CLIENT_CERT")?)?;
    let key = PrivateKeyDer::from_pem_file(std::env::var("CONCLAVE_CLIENT_KEY")?)?;
    Ok(ClientConfig::builder()
        .with_root_certificates(authority)
        .with_client_auth_cert(chain.collect::<Result<_, _>>()?, key)?)
}

#[derive(Debug)]
struct MutualTls(legacy::Client<HttpsConnector<connect::HttpConnector>, SdkBody>);

impl HttpConnector for MutualTls {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.0.clone();
        HttpConnectorFuture::new(async move {
            let user = |error| ConnectorError::user(Box::new(error));
            let request = request.try_into_http1x().map_err(user)?;
            let response = client.request(request).await;
            let response = response.map_err(|error| ConnectorError::io(error.into()))?;
            response.map(SdkBody::from_body_1_x).try_into().map_err(user)
        })
    }
}

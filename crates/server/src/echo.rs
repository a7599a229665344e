//! A bare echo on the same listener: what mutual TLS and gRPC cost by themselves. It answers
//! `Encrypt` with its plaintext and nothing else; `conclave bench --compare` measures it.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use conclave_pki::TlsMaterial;
use conclave_proto::v1::{self, kms_server::Kms, kms_server::KmsServer};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::certificates::InForce;
use crate::error::StartError;
use crate::listener::{API, Listener, Quota, serve};
use crate::node::ApiApp;

/// Connections at once, all from this machine.
const CONNECTIONS_MAX: usize = 4_096;

/// Listens on a free port of loopback; the future serves for as long as it is polled.
///
/// # Errors
/// If the certificate or the port cannot be used.
pub async fn echo(
    material: &TlsMaterial,
) -> Result<(SocketAddr, impl Future<Output = ()> + use<>), StartError> {
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let bound = |source| StartError::Bind { address, source };
    let in_force = InForce::new(material.clone(), material.identity().cluster())?;
    let listener = TcpListener::bind(address).await.map_err(bound)?;
    let address = listener.local_addr().map_err(bound)?;
    let router = Routes::new(KmsServer::new(Echo)).into_axum_router();
    let serving = async move {
        // Held here, so that nobody ever says stop.
        let (_go, stop) = watch::channel(false);
        let (_keep, tls) = watch::channel(Arc::new(in_force));
        let with = Listener {
            side: API,
            quota: Quota { connections: CONNECTIONS_MAX, per_source: CONNECTIONS_MAX },
            tls,
            app: Arc::new(ApiApp(router)),
            counters: Arc::default(),
        };
        serve(listener, with, stop).await;
    };
    Ok((address, serving))
}

struct Echo;

macro_rules! echo {
    ($($name:ident $method:ident $request:ident $response:ident;)*) => {
        #[tonic::async_trait]
        impl Kms for Echo {
            async fn encrypt(
                &self,
                request: Request<v1::EncryptRequest>,
            ) -> Result<Response<v1::EncryptResponse>, Status> {
                let v1::EncryptRequest { plaintext, key_id, .. } = request.into_inner();
                let response = v1::EncryptResponse { ciphertext_blob: plaintext, key_id, ..Default::default() };
                Ok(Response::new(response))
            }

            $(async fn $method(
                &self,
                _: Request<v1::$request>,
            ) -> Result<Response<v1::$response>, Status> {
                Err(Status::unimplemented("this is an echo"))
            })*
        }
    };
}
conclave_proto::operations!(echo but Encrypt);

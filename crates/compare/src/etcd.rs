//! etcd's `KV.Put` over gRPC, written down by hand: two messages of its v3 API are all it takes.

use std::sync::Arc;

use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic_prost::ProstCodec;
use tower::service_fn;

use crate::Failure;
use crate::system::{Op, PAYLOAD_BYTES, Reach};

#[derive(Clone, PartialEq, prost::Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct PutResponse {}

pub(crate) struct Client {
    reach: Arc<Reach>,
    /// Which endpoint it is at.
    at: usize,
    connection: Option<tonic::client::Grpc<Channel>>,
}

impl Client {
    pub(crate) fn new(reach: Arc<Reach>, at: usize) -> Self {
        Self { reach, at, connection: None }
    }

    pub(crate) async fn once(&mut self, op: Op) -> Result<(), Failure> {
        if op == Op::Encrypt {
            return Err("etcd does not encrypt".into());
        }
        let outcome = tokio::time::timeout(self.reach.attempt(), self.put()).await;
        let outcome = outcome.map_err(Failure::from).and_then(|outcome| outcome);
        if outcome.is_err() {
            // On to the next node, with a new connection.
            self.connection = None;
            self.at += 1;
        }
        outcome
    }

    async fn put(&mut self) -> Result<(), Failure> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => {
                let (reach, at) = (Arc::clone(&self.reach), self.at);
                // TLS is ours, so tonic is not told of it; requests name https all the same.
                let target =
                    Endpoint::from_static("http://etcd").origin(Uri::from_static("https://etcd"));
                let dial = service_fn(move |_: Uri| {
                    let reach = Arc::clone(&reach);
                    async move { reach.connect(at).await.map(TokioIo::new) }
                });
                let channel = target.connect_with_connector(dial).await?;
                none.insert(tonic::client::Grpc::new(channel))
            }
        };
        let key = self.reach.name().into_bytes();
        let request = PutRequest { key, value: vec![b'x'; PAYLOAD_BYTES] };
        connection.ready().await?;
        let path = PathAndQuery::from_static("/etcdserverpb.KV/Put");
        let codec = ProstCodec::<PutRequest, PutResponse>::default();
        connection.unary(tonic::Request::new(request), path, codec).await?;
        Ok(())
    }
}

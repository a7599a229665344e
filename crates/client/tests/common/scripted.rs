//! A node whose answers come from a closure; TLS and HTTP/2 are real.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "shared by several tests, which fail where this does"
)]

use std::{convert::Infallible, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::net::TcpListener;
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};
use tonic::Code;

/// A request as the node sees it.
pub(crate) struct Call {
    /// For instance `/conclave.v1.Kms/Encrypt`.
    pub(crate) path: String,
    pub(crate) request_id: String,
    pub(crate) attempt_age_ms: Option<u64>,
    /// The encoded message.
    pub(crate) message: Bytes,
}

impl Call {
    pub(crate) fn decode<M: Message + Default>(&self) -> M {
        M::decode(self.message.clone()).unwrap()
    }
}

/// What a node does with a request.
pub(crate) enum Answer {
    /// Messages, one if the call is unary, and a revision.
    Messages(Vec<Vec<u8>>, &'static str),
    /// A status with the error's name and the decision's revision.
    Error(Code, &'static str, &'static str),
    /// No answer, ever.
    Silence,
}

impl Answer {
    pub(crate) fn of(message: &impl Message) -> Self {
        Self::Messages(vec![message.encode_to_vec()], "eu:42:7")
    }

    pub(crate) fn stream<M: Message>(messages: &[M]) -> Self {
        Self::Messages(messages.iter().map(Message::encode_to_vec).collect(), "eu:42:7")
    }
}

pub(crate) type AnswerFn = Arc<dyn Fn(&Call) -> Answer + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Serves for as long as the runtime lives.
pub(crate) async fn serve(listener: TcpListener, tls: Arc<ServerConfig>, answer: AnswerFn) {
    let tls = TlsAcceptor::from(tls);
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, answer) = (tls.clone(), answer.clone());
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let service =
                hyper::service::service_fn(move |request| respond(request, answer.clone()));
            // How the connection ends is the client's affair.
            let _ = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new())
                .http2_only()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn respond(
    request: Request<Incoming>,
    answer: AnswerFn,
) -> Result<Response<Body>, Infallible> {
    let header = |name: &str| Some(request.headers().get(name)?.to_str().unwrap().to_owned());
    let mut call = Call {
        path: request.uri().path().to_owned(),
        request_id: header("conclave-request-id").unwrap(),
        attempt_age_ms: header("conclave-attempt-age-ms").map(|age| age.parse().unwrap()),
        message: Bytes::new(),
    };
    // A frame is one byte of flags, four of length, then the message.
    call.message = request.into_body().collect().await.unwrap().to_bytes().slice(5..);

    let mut response = Response::builder().header("content-type", "application/grpc");
    let mut trailers = HeaderMap::new();
    let mut frames = Vec::new();
    match answer(&call) {
        Answer::Messages(messages, revision) => {
            response = response.header("conclave-revision", revision);
            frames.extend(messages.iter().map(|message| Ok(Frame::data(framed(message)))));
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
        }
        Answer::Error(code, name, revision) => {
            trailers.insert("grpc-status", HeaderValue::from(code as i32));
            trailers.insert("grpc-message", HeaderValue::from_static("said%20so"));
            trailers.insert("conclave-error", HeaderValue::from_static(name));
            trailers.insert("conclave-revision", HeaderValue::from_static(revision));
        }
        Answer::Silence => std::future::pending().await,
    }
    frames.push(Ok(Frame::trailers(trailers)));
    let body = StreamBody::new(futures::stream::iter(frames));
    Ok(response.body(body.boxed_unsync()).unwrap())
}

fn framed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap());
    framed.put_slice(message);
    framed.freeze()
}

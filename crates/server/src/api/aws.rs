//! The AWS KMS protocol (JSON 1.1): a codec over the same messages and the same staircase as gRPC.
//!
//! `POST /` with the operation in `X-Amz-Target`. Who asks is who the client certificate names;
//! signatures are not looked at, but the region that they are scoped to names the domain.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request as HttpRequest, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response as HttpResponse};
use axum::routing::post;
use conclave_kms::{Refusal, Request, Response};
use conclave_proto::v1;
use http_body_util::BodyExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tonic::{Code, Status};

use crate::api::{REQUEST_BYTES_MAX, kms};
use crate::listener::Connection;
use crate::meta::{ATTEMPT_AGE_MAX, ATTEMPT_AGE_MS, REQUEST_ID, REVISION, invalid};
use crate::node::Node;
use crate::refusals::{ERROR, named};
use crate::throttle;

const TARGET: &str = "x-amz-target";
const SERVICE: &str = "TrentService.";
const MEDIA_TYPE: &str = "application/x-amz-json-1.1";
const AWS_REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
/// The SDKs send the same in each attempt of a call.
const INVOCATION_ID: &str = "amz-sdk-invocation-id";
/// How much of a body that is too large is read before the connection is given up.
const UNREAD_BYTES_MAX: usize = 1 << 20;
/// `attempt=2; max=3`
const ATTEMPT: &str = "amz-sdk-request";

pub(crate) fn router(node: Arc<Node>) -> Router {
    Router::new().route("/", post(answer)).with_state(node)
}

async fn answer(State(node): State<Arc<Node>>, request: HttpRequest) -> HttpResponse {
    let (head, body) = request.into_parts();
    let request_id = request_id(&head.headers);
    let who = head.extensions.get::<Connection>().cloned();
    let answered = match who {
        None => Err(Status::unauthenticated("no certificate")),
        Some(who) => operation(&node, &who, &head.headers, &request_id, body).await,
    };
    let (status, revision, body) = match answered {
        Ok(Answered { revision, body }) => (StatusCode::OK, revision, body),
        Err(status) => (http_status(&status), revision_of(&status), error_body(&status)),
    };
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        headers.insert(AWS_REQUEST_ID, id);
    }
    if let Some(revision) = revision {
        headers.insert(HeaderName::from_static(REVISION), revision);
    }
    response
}

struct Answered {
    revision: Option<HeaderValue>,
    body: Vec<u8>,
}

/// The operation's id: the client's, if it sends one that it keeps in a retry.
fn request_id(headers: &HeaderMap) -> String {
    let sent = headers.get(INVOCATION_ID).and_then(|id| id.to_str().ok());
    let is_uuid = |id: &&str| uuid::Uuid::try_parse(id).is_ok();
    sent.filter(is_uuid).map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned)
}

/// How old the first attempt may be: the SDKs only count them, so it is taken to be as old as it
/// can be.
fn age(headers: &HeaderMap) -> Duration {
    let sent = headers.get(ATTEMPT).and_then(|attempt| attempt.to_str().ok()).unwrap_or_default();
    let number = sent.split(';').find_map(|part| part.trim().strip_prefix("attempt="));
    match number.and_then(|number| number.parse::<u32>().ok()) {
        None | Some(0 | 1) => Duration::ZERO,
        Some(_) => ATTEMPT_AGE_MAX,
    }
}

/// The region that a signature is scoped to: `Credential=ID/DATE/REGION/kms/aws4_request`.
fn region(headers: &HeaderMap) -> Option<&str> {
    let sent = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let credential = sent.split([' ', ',']).find_map(|part| part.strip_prefix("Credential="))?;
    credential.split('/').nth(2)
}

async fn operation(
    node: &Node,
    who: &Connection,
    headers: &HeaderMap,
    request_id: &str,
    body: Body,
) -> Result<Answered, Status> {
    let target = headers.get(TARGET).and_then(|target| target.to_str().ok()).unwrap_or_default();
    let name = target.strip_prefix(SERVICE).unwrap_or_default();
    throttle::limit(node, &node.throttle, who.identity.name())?;
    if let Some(region) = region(headers) {
        let domain = node.require_hosted()?.domain_name();
        if region != domain {
            return Err(named(
                Code::Unauthenticated,
                "InvalidSignatureException",
                format!(
                    "Credential should be scoped to a valid region: set the client's region to \
                     '{domain}', the domain that is served here"
                ),
            ));
        }
    }
    let too_large = || {
        named(
            Code::InvalidArgument,
            "RequestEntityTooLargeException",
            format!("a request has at most {REQUEST_BYTES_MAX} bytes"),
        )
    };
    let body = whole(body).await.ok_or_else(too_large)?;
    let call = Call { node, who, request_id, age: age(headers), body: &body };
    call.dispatch(name).await
}

/// The body, if it is not too large. One that is a little too large is read to its end all the same: a
/// connection that is closed over unread bytes can take the answer with it.
async fn whole(mut body: Body) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut seen = 0;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        seen += data.len();
        if seen > UNREAD_BYTES_MAX {
            return None;
        }
        if seen <= REQUEST_BYTES_MAX {
            bytes.extend_from_slice(&data);
        }
    }
    (seen <= REQUEST_BYTES_MAX).then_some(bytes)
}

struct Call<'a> {
    node: &'a Node,
    who: &'a Connection,
    request_id: &'a str,
    age: Duration,
    body: &'a [u8],
}

macro_rules! dispatch {
    ($($name:ident $method:ident $request:ident $response:ident;)*) => {
        impl Call<'_> {
            async fn dispatch(self, name: &str) -> Result<Answered, Status> {
                match name {
                    "Encrypt" => Box::pin(
                        self.run::<v1::EncryptRequest, v1::EncryptResponse>(has_plaintext),
                    )
                    .await,
                    // Boxed, so that not all of them make up one future.
                    $(stringify!($name) => {
                        Box::pin(self.run::<v1::$request, v1::$response>(|_| Ok(()))).await
                    })*
                    _ => Err(named(
                        Code::InvalidArgument,
                        "UnknownOperationException",
                        "X-Amz-Target names no operation that is offered here",
                    )),
                }
            }
        }
    };
}
conclave_proto::aws_operations!(dispatch but Encrypt);

impl Call<'_> {
    async fn run<Q, R>(self, check: fn(&Q) -> Result<(), Status>) -> Result<Answered, Status>
    where
        Q: DeserializeOwned,
        Request: TryFrom<Q, Error = Refusal>,
        R: TryFrom<Response> + Serialize,
    {
        // What was given is not repeated: it may be a secret.
        let mut json = serde_json::Deserializer::from_slice(self.body);
        let read = <Q as serde::Deserialize>::deserialize(conclave_proto::json::Object(&mut json))
            .and_then(|message| json.end().map(|()| message));
        let message: Q = read.map_err(|error| {
            named(
                Code::InvalidArgument,
                "SerializationException",
                format!("not the operation's JSON, in line {} at {}", error.line(), error.column()),
            )
        })?;
        check(&message)?;
        let mut request = tonic::Request::new(message);
        request.extensions_mut().insert(self.who.clone());
        let metadata = request.metadata_mut();
        if let Ok(id) = self.request_id.parse() {
            metadata.insert(REQUEST_ID, id);
        }
        if !self.age.is_zero() {
            let age_ms = u64::try_from(self.age.as_millis()).unwrap_or(u64::MAX);
            metadata.insert(ATTEMPT_AGE_MS, age_ms.into());
        }
        let response: tonic::Response<R> = kms::run(self.node, request).await?;
        let revision = header_value(response.metadata());
        let body = serde_json::to_vec(response.get_ref())
            .map_err(|_| Status::internal("the answer cannot be written"))?;
        Ok(Answered { revision, body })
    }
}

/// Over gRPC nothing at all is a plaintext; here it is one that was forgotten.
fn has_plaintext(request: &v1::EncryptRequest) -> Result<(), Status> {
    if !request.plaintext.is_empty() {
        return Ok(());
    }
    Err(invalid(
        "1 validation error detected: Value at 'plaintext' failed to satisfy constraint: Member must \
         have length greater than or equal to 1",
    ))
}

fn header_value(metadata: &tonic::metadata::MetadataMap) -> Option<HeaderValue> {
    HeaderValue::from_bytes(metadata.get(REVISION)?.as_bytes()).ok()
}

fn revision_of(status: &Status) -> Option<HeaderValue> {
    header_value(status.metadata())
}

/// The SDKs retry what is 500 or more, and what is throttled.
fn http_status(status: &Status) -> StatusCode {
    match status.code() {
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Internal | Code::Unknown | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    }
}

fn error_body(status: &Status) -> Vec<u8> {
    #[derive(Serialize)]
    struct Error<'a> {
        __type: &'a str,
        message: &'a str,
    }
    let named = status.metadata().get(ERROR).and_then(|name| name.to_str().ok());
    let name = named.unwrap_or(match status.code() {
        Code::PermissionDenied => "AccessDeniedException",
        Code::Unauthenticated => "UnrecognizedClientException",
        _ => "KMSInternalException",
    });
    let error = Error { __type: name, message: status.message() };
    serde_json::to_vec(&error).unwrap_or_default()
}

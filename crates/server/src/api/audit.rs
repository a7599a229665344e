//! The `Audit` service: listing, exporting, and the public head.
//!
//! Listing and exporting are operations: authorised, and themselves audited before the first entry
//! leaves. The head is public to every client of the cluster, and a sealed node gives it too.

use std::pin::Pin;
use std::sync::Arc;

use conclave_audit::{Checkpoint, Head, Origin};
use conclave_kms::{ReadAudit, Request as KmsRequest};
use conclave_proto::audit::{Entry, Outcome, Step};
use conclave_proto::record::PublicKeys;
use conclave_proto::v1::audit_server::Audit;
use conclave_proto::v1::export_audit_response::Item;
use conclave_proto::v1::{
    AuditHeadRequest, AuditHeadResponse, ExportAuditRequest, ExportAuditResponse, ExportHeader,
    ExportedStep, ListAuditRequest, ListAuditResponse,
};
use conclave_store::Kind;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::hosted::Hosted;
use crate::listener::Connection;
use crate::meta::{CallMeta, invalid, put_revision, unavailable};
use crate::node::Node;
use crate::staircase::{caller, perform};

/// Steps read from disk at a time.
const PAGE: u64 = 256;
/// Answers that wait for a slow reader.
const WAITING_MAX: usize = 256;

/// Answers the `Audit` service.
pub(crate) struct AuditApi(pub(crate) Arc<Node>);

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl AuditApi {
    /// Authorises and audits a reading; what it may show is what was committed up to now.
    async fn admit<T>(
        &self,
        request: &Request<T>,
        export: bool,
        parameters: Vec<(String, String)>,
    ) -> Result<(Arc<Hosted>, conclave_store::Revision), Status> {
        let meta = CallMeta::parse(request.metadata())?;
        let who = Connection::of_client(request)?;
        let hosted = self.0.require_hosted()?;
        let _inside = self.0.admission.enter()?;
        let reading = KmsRequest::from(ReadAudit { export, parameters });
        let caller = caller(&who, &meta);
        let performed =
            perform(&hosted, &self.0.request_counters, &caller, meta.age, &reading).await?;
        let (_, revision) = performed.into_response(&hosted.domain_name())?;
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(8);
        hosted
            .replica
            .wait_applied(revision.log_index.0, deadline)
            .await
            .map_err(|_| unavailable("this node lags behind the quorum; retry"))?;
        Ok((hosted, revision))
    }
}

#[tonic::async_trait]
impl Audit for AuditApi {
    type ListStream = Answers<ListAuditResponse>;
    type ExportStream = Answers<ExportAuditResponse>;

    async fn list(
        &self,
        request: Request<ListAuditRequest>,
    ) -> Result<Response<Self::ListStream>, Status> {
        let filter = Filter::parse(request.get_ref())?;
        let (hosted, revision) = self.admit(&request, false, filter.parameters()).await?;
        let domain = hosted.domain_name();
        let (send, receive) = mpsc::channel(WAITING_MAX);
        tokio::spawn(async move {
            if let Err(status) = list(&hosted, &filter, &send).await {
                let _ = send.send(Err(status)).await;
            }
        });
        let mut response =
            Response::new(Box::pin(ReceiverStream::new(receive)) as Self::ListStream);
        put_revision(response.metadata_mut(), &domain, revision);
        Ok(response)
    }

    async fn export(
        &self,
        request: Request<ExportAuditRequest>,
    ) -> Result<Response<Self::ExportStream>, Status> {
        let first = request.get_ref().first;
        let parameters = vec![("first".to_owned(), first.to_string())];
        let (hosted, revision) = self.admit(&request, true, parameters).await?;
        let domain = hosted.domain_name();
        let (head, time_ms) = {
            let view = hosted.replica.view();
            (view.state().head().clone(), view.state().time().0)
        };
        if first > head.size {
            return Err(invalid(format!(
                "the log has {} entries; export from one of them",
                head.size
            )));
        }
        let cluster = self.0.cluster.to_string();
        let (send, receive) = mpsc::channel(WAITING_MAX);
        tokio::spawn(async move {
            if let Err(status) = export(&hosted, &cluster, first, &head, time_ms, &send).await {
                let _ = send.send(Err(status)).await;
            }
        });
        let mut response =
            Response::new(Box::pin(ReceiverStream::new(receive)) as Self::ExportStream);
        put_revision(response.metadata_mut(), &domain, revision);
        Ok(response)
    }

    async fn head(
        &self,
        request: Request<AuditHeadRequest>,
    ) -> Result<Response<AuditHeadResponse>, Status> {
        let hosted = self.0.require_hosted()?;
        let request = request.get_ref();
        let head = hosted.replica.view().state().head().clone();
        let keys: PublicKeys = hosted.public(Kind::PublicKeys).unwrap_or_default();
        let (size, hash) = if request.at_size && request.size < head.size {
            (request.size, hash_at(&hosted, request.size).await?)
        } else if request.at_size && request.size > head.size {
            return Err(unavailable(format!("the log has {} entries here so far", head.size)));
        } else {
            (head.size, head.hash.to_vec())
        };
        Ok(Response::new(AuditHeadResponse {
            node: self.0.name.clone(),
            size,
            hash,
            audit_verifier_key: keys.audit_verifier,
        }))
    }
}

/// The chain's hash after `size` steps.
async fn hash_at(hosted: &Arc<Hosted>, size: u64) -> Result<Vec<u8>, Status> {
    if size == 0 {
        return Ok(Head::genesis(&hosted.domain_id().0).hash.to_vec());
    }
    let steps = read(hosted, size - 1, size).await?;
    steps
        .into_iter()
        .next()
        .map(|step| step.hash)
        .ok_or_else(|| unavailable("that entry is not here"))
}

/// Reads steps off the disk, beside the async threads.
async fn read(hosted: &Arc<Hosted>, first: u64, end: u64) -> Result<Vec<Step>, Status> {
    let hosted = Arc::clone(hosted);
    tokio::task::spawn_blocking(move || hosted.replica.steps(first, end))
        .await
        .map_err(|_| unavailable("reading the audit log ended unexpectedly"))?
        .map_err(|error| {
            tracing::error!(%error, "the audit log cannot be read");
            unavailable("the audit log cannot be read here; the node's log has the reason")
        })
}

async fn export(
    hosted: &Arc<Hosted>,
    cluster: &str,
    first: u64,
    head: &Head,
    time_ms: u64,
    send: &mpsc::Sender<Result<ExportAuditResponse, Status>>,
) -> Result<(), Status> {
    let keys: PublicKeys = hosted.public(Kind::PublicKeys).unwrap_or_default();
    let origin = Origin::new(cluster, &hosted.domain_name()).map_err(internal)?;
    let header = ExportHeader {
        origin: origin.as_str().to_owned(),
        domain_id: hosted.domain_id().0.to_vec(),
        audit_verifier_key: keys.audit_verifier,
    };
    if !give(send, Item::Header(header)).await {
        return Ok(());
    }
    let mut next = first;
    while next < head.size {
        let end = head.size.min(next + PAGE);
        for step in read(hosted, next, end).await? {
            if !give(send, Item::Step(opened(hosted, &step)?)).await {
                return Ok(());
            }
        }
        next = end;
    }
    let note = hosted.with_keyring(|keyring| {
        let keyring = keyring.ok_or_else(|| unavailable("this node was sealed meanwhile"))?;
        Ok::<_, Status>(Checkpoint::of(origin, head, time_ms).sign(&keyring.audit_signing_key()))
    })?;
    give(send, Item::Checkpoint(note)).await;
    Ok(())
}

/// False: the reader has gone.
async fn give(send: &mpsc::Sender<Result<ExportAuditResponse, Status>>, item: Item) -> bool {
    send.send(Ok(ExportAuditResponse { item: Some(item) })).await.is_ok()
}

fn opened(hosted: &Hosted, step: &Step) -> Result<ExportedStep, Status> {
    let sealed = step.entry.as_ref().ok_or_else(|| internal("a step without an entry"))?;
    let opening = open(hosted, sealed)?;
    Ok(ExportedStep {
        index: step.index,
        time_ms: step.time_ms,
        writer: step.writer,
        sequence: step.sequence,
        log_index: step.log_index,
        position: step.position,
        key: sealed.key,
        salt: opening.salt.to_vec(),
        entry: conclave_audit::encode_entry(&opening.entry),
        sealed_sha256: conclave_crypto::sha256(&[&sealed.sealed]).to_vec(),
        hash: step.hash.clone(),
    })
}

fn open(
    hosted: &Hosted,
    sealed: &conclave_proto::audit::SealedEntry,
) -> Result<conclave_seal::keyring::OpenedEntry, Status> {
    hosted.with_keyring(|keyring| {
        let keyring = keyring.ok_or_else(|| unavailable("this node was sealed meanwhile"))?;
        keyring.open_entry(sealed).map_err(internal)
    })
}

async fn list(
    hosted: &Arc<Hosted>,
    filter: &Filter,
    send: &mpsc::Sender<Result<ListAuditResponse, Status>>,
) -> Result<(), Status> {
    let size = hosted.replica.view().state().head().size;
    let mut left = filter.limit;
    let (mut low, mut high) = (filter.first.min(size), size);
    while low < high && left > 0 {
        let (from, to) = if filter.newest_first {
            (low.max(high.saturating_sub(PAGE)), high)
        } else {
            (low, high.min(low + PAGE))
        };
        let mut steps = read(hosted, from, to).await?;
        if filter.newest_first {
            steps.reverse();
            high = from;
        } else {
            low = to;
        }
        for step in steps {
            let sealed = step.entry.as_ref().ok_or_else(|| internal("a step without an entry"))?;
            let entry = open(hosted, sealed)?.entry;
            if !filter.matches(step.time_ms, &entry) {
                continue;
            }
            let found = ListAuditResponse {
                index: step.index,
                time_ms: step.time_ms,
                log_index: step.log_index,
                position: step.position,
                entry: Some(entry),
            };
            if send.send(Ok(found)).await.is_err() {
                return Ok(());
            }
            left -= 1;
            if left == 0 {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// What a listing asks for, checked.
struct Filter {
    first: u64,
    limit: u64,
    principal: String,
    action: String,
    resource: String,
    request_id: String,
    outcome: Option<Outcome>,
    since_ms: u64,
    until_ms: u64,
    newest_first: bool,
}

/// Longest filter value, bytes.
const FILTER_LEN_MAX: usize = 2_048;

impl Filter {
    fn parse(request: &ListAuditRequest) -> Result<Self, Status> {
        let texts = [&request.principal, &request.action, &request.resource, &request.request_id];
        if texts.iter().any(|text| text.len() > FILTER_LEN_MAX) {
            return Err(invalid("a filter has at most 2048 bytes"));
        }
        let outcome = match request.outcome.as_str() {
            "" => None,
            "success" => Some(Outcome::Success),
            "denied" => Some(Outcome::Denied),
            "refused" => Some(Outcome::Refused),
            _ => return Err(invalid("outcome is success, denied or refused")),
        };
        Ok(Self {
            first: request.first,
            limit: if request.limit == 0 { u64::MAX } else { request.limit },
            principal: request.principal.clone(),
            action: request.action.clone(),
            resource: request.resource.clone(),
            request_id: request.request_id.clone(),
            outcome,
            since_ms: request.since_ms,
            until_ms: if request.until_ms == 0 { u64::MAX } else { request.until_ms },
            newest_first: request.newest_first,
        })
    }

    fn parameters(&self) -> Vec<(String, String)> {
        [
            ("principal", &self.principal),
            ("action", &self.action),
            ("resource", &self.resource),
            ("requestId", &self.request_id),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value.clone()))
        .collect()
    }

    fn matches(&self, time_ms: u64, entry: &Entry) -> bool {
        let is = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
        is(&self.principal, &entry.principal)
            && is(&self.action, &entry.action)
            && is(&self.request_id, &entry.request_id)
            && (self.resource.is_empty() || entry.resources.contains(&self.resource))
            && self.outcome.is_none_or(|outcome| outcome == entry.outcome())
            && (self.since_ms..=self.until_ms).contains(&time_ms)
    }
}

/// Whether a listing can be made.
pub(crate) fn is_well_formed(request: &ListAuditRequest) -> bool {
    Filter::parse(request).is_ok()
}

fn internal(error: impl std::fmt::Display) -> Status {
    tracing::error!(%error, "the audit log cannot be shown");
    unavailable("the audit log cannot be shown here; the node's log has the reason")
}

//! The parsers of outside bytes that are nobody's interface, for `conclave-fuzz` alone. Each says
//! whether it took the bytes, and panics if it contradicts itself.

use std::path::Path;

use conclave_proto::v1::{InitMember, ListAuditRequest};
use tonic::metadata::{MetadataMap, MetadataValue};

use crate::folder::Folder;

/// A configuration file's text.
pub fn config(text: &str) -> bool {
    let path = Path::new("/conclave.toml");
    match crate::config::Config::parse(text, path, Path::new("/")) {
        Ok(config) => {
            assert!(host_port(&config.api.advertise) && host_port(&config.peer.advertise));
            true
        }
        Err(refused) => {
            assert!(!refused.to_string().is_empty());
            false
        }
    }
}

/// An address as members give it.
pub fn host_port(text: &str) -> bool {
    crate::config::is_host_port(text)
}

/// The headers that each call may carry.
pub fn call_headers(request_id: &[u8], age_ms: &[u8]) -> bool {
    let mut headers = MetadataMap::new();
    for (name, value) in
        [(crate::meta::REQUEST_ID, request_id), (crate::meta::ATTEMPT_AGE_MS, age_ms)]
    {
        if let Ok(value) = MetadataValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    crate::meta::CallMeta::parse(&headers).is_ok_and(|meta| {
        assert!(meta.request_id.as_str().len() <= 128);
        true
    })
}

/// The nodes that a founding or an admission names.
pub fn nodes(nodes: &[InitMember], max: usize) -> bool {
    crate::ceremony::founding::check_nodes(nodes, max).is_ok()
}

/// What a listing of the audit log asks for.
pub fn audit_filter(request: &ListAuditRequest) -> bool {
    crate::api::audit::is_well_formed(request)
}

/// A node's data folder, as at a start: its enrolment key, its domain and the shares there.
pub fn folder(path: &Path) -> bool {
    let Ok(folder) = Folder::open(path) else { return false };
    let enrolment = folder.enrolment();
    let shares = folder.domain().and_then(|domain| {
        domain.map(|domain| domain.shares()).transpose().map(Option::unwrap_or_default)
    });
    let parse = |(_, bytes): &(u64, Vec<u8>)| conclave_seal::WrappedShare::parse(bytes).is_ok();
    enrolment.is_ok() && shares.is_ok_and(|shares| shares.iter().all(parse))
}

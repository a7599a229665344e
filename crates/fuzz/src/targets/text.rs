//! Configuration, certificates, names and addresses.

use std::time::{Duration, SystemTime};

use conclave_client::{Endpoint, RequestId, Revision};
use conclave_kms::fields::PrincipalName;
use conclave_kms::{AliasName, KeyId, KeyRef};
use conclave_pki::{ClusterName, Identity, Kind, NodeName, TlsMaterial, inspect};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::{choose, chosen};
use crate::Target;

pub(super) const CONFIG_TOML: Target =
    Target { name: "config_toml", run: config_toml, valid: configs, brief: 9_000 };

pub(super) const CERTIFICATE: Target =
    Target { name: "certificate", run: certificate, valid: certificates, brief: 12_000 };

pub(super) const NAMES_AND_ADDRESSES: Target =
    Target { name: "names_and_addresses", run: names, valid: valid_names, brief: 36_000 };

fn config_toml(input: &[u8]) -> bool {
    std::str::from_utf8(input).is_ok_and(conclave_server::fuzzing::config)
}

fn configs() -> Vec<Vec<u8>> {
    let shipped = include_str!("../../../../docs/conclave.toml");
    let short = r#"
data_dir = "data"
region = "eu-west"
api = { listen = "127.0.0.1:7400" }
peer = { listen = "0.0.0.0:7401", advertise = "n1.example.test:7401" }
tls = { ca = "ca.pem", cert = "/etc/n1.pem", key = "n1.key" }
log = { format = "json", level = "info,openraft=warn" }
raft = { heartbeat_ms = 100, election_ms_min = 500, election_ms_max = 1000 }
"#;
    vec![shipped.as_bytes().to_vec(), short.as_bytes().to_vec()]
}

/// The files that certificates are made from do not change, or no finding could be had again.
const CA: &[u8] = include_bytes!("../../certificates/ca.pem");
const NODE: &[u8] = include_bytes!("../../certificates/n1.pem");
const NODE_KEY: &[u8] = include_bytes!("../../certificates/n1.key");
const CLIENT: &[u8] = include_bytes!("../../certificates/alice.pem");

/// A certificate to whom it names, to what people are shown, and to TLS.
fn certificate(input: &[u8]) -> bool {
    let (which, bytes) = choose(input);
    match which % 4 {
        0 => {
            let Ok(identity) = Identity::from_der(&CertificateDer::from(bytes)) else {
                return false;
            };
            assert!(identity.to_string().starts_with("spiffe://"));
            assert!(identity.serial().len() <= 40 && !identity.name().is_empty());
            true
        }
        1 => {
            let text = String::from_utf8_lossy(bytes);
            let Ok(summaries) = inspect(&text) else { return false };
            for summary in summaries {
                assert!(!summary.subject.chars().any(char::is_control));
                assert!(!summary.hosts.concat().chars().any(char::is_control));
            }
            true
        }
        2 => TlsMaterial::from_pem(CA, bytes, NODE_KEY, &[Kind::Node], now()).is_ok(),
        _ => TlsMaterial::from_pem(bytes, NODE, NODE_KEY, &[Kind::Node], now()).is_ok(),
    }
}

/// Within the validity of the certificates here.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

fn certificates() -> Vec<Vec<u8>> {
    let der = |pem: &[u8]| CertificateDer::from_pem_slice(pem).expect("a certificate").to_vec();
    vec![
        chosen(0, &der(NODE)),
        chosen(0, &der(CLIENT)),
        chosen(1, NODE),
        chosen(2, NODE),
        chosen(3, CA),
    ]
}

/// Each text to each of these; what is taken is written and taken again as the same.
fn names(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let mut taken = conclave_server::fuzzing::host_port(text) | KeyRef::parse(text).is_ok();
    if let Ok(endpoint) = text.parse::<Endpoint>() {
        assert_eq!(endpoint.to_string().parse::<Endpoint>(), Ok(endpoint.clone()));
        assert!(!endpoint.host().is_empty() && endpoint.port() > 0);
        taken = true;
    }
    if let Ok(name) = text.parse::<NodeName>() {
        assert_eq!(name.to_string(), text);
        taken = true;
    }
    if let Ok(name) = text.parse::<ClusterName>() {
        assert_eq!(name.to_string(), text);
        taken = true;
    }
    if text.parse::<conclave_pki::PrincipalName>().is_ok() {
        assert!(PrincipalName::parse(text).is_ok(), "a certificate's name that no record can have");
        taken = true;
    }
    if let Ok(revision) = text.parse::<Revision>() {
        assert_eq!(revision.to_string().parse::<Revision>(), Ok(revision));
        taken = true;
    }
    if let Ok(id) = text.parse::<RequestId>() {
        assert!(conclave_kms::fields::RequestId::parse(&id.to_string()).is_ok());
        taken = true;
    }
    if let Ok(alias) = AliasName::parse(text) {
        assert!(KeyRef::parse(alias.as_str()).is_ok());
    }
    if let Some(id) = KeyId::parse(text) {
        assert_eq!(KeyId::parse(&id.to_string()), Some(id));
    }
    taken
}

/// As keys are named on the wire.
pub(super) fn key_id(bytes: &[u8; 16]) -> String {
    KeyId::new(*bytes).to_string()
}

fn valid_names() -> Vec<Vec<u8>> {
    let texts = [
        "https://kms-1.example:7443",
        "https://[::1]:7443/",
        "127.0.0.1:7401",
        "n1",
        "example.test",
        "alice",
        "eu:17:3",
        "0c0ffee0-1234-4234-9234-123456789012",
        "arn:aws:kms:eu:000000000001:key/0c0ffee0-1234-4234-9234-123456789012",
        "arn:aws:kms:eu:000000000001:alias/demo",
        "alias/demo",
    ];
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

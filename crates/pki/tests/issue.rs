//! What is issued can be loaded and inspected; what is wrong is refused with what to do next.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod common;

use std::{
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use common::{Ca, DAY, ca, cluster};
use conclave_pki::{
    Authority, CertificateSummary, DAYS_MAX, Issued, Kind, MaterialError, TlsFiles, TlsMaterial,
    inspect, new_authority, write_private, write_public,
};

const NOW_SECS: u64 = 1_772_323_200; // 2026-03-01

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW_SECS)
}

fn old_ca() -> Ca {
    let issued = new_authority(&cluster("prod"), 100, now()).unwrap();
    let authority = Authority::load(&issued.certificate_pem, issued.key_pem.expose()).unwrap();
    Ca { issued, authority }
}

fn summary(issued: &Issued) -> CertificateSummary {
    let mut summaries = inspect(&issued.certificate_pem).unwrap();
    assert_eq!(summaries.len(), 1);
    summaries.remove(0)
}

#[test]
fn issued_loaded_inspected() {
    let ca = old_ca();
    assert_eq!(ca.authority.cluster(), &cluster("prod"));
    let found = summary(&ca.issued);
    assert_eq!(found.subject, "CN=prod Conclave CA");
    assert_eq!((found.is_ca, found.identity), (true, None));
    assert_eq!(found.not_before, NOW_SECS as i64 - 300);
    assert_eq!(found.not_after, NOW_SECS as i64 + 100 * 86_400);

    let hosts = ["n1.example", "10.0.0.1", "2001:db8::1"].map(str::to_owned);
    let node = ca.authority.issue_node(&"n1".parse().unwrap(), &hosts, 30, now()).unwrap();
    let found = summary(&node);
    assert_eq!(found.subject, "CN=n1");
    assert_eq!(found.identity.unwrap().to_string(), "spiffe://prod/node/n1");
    assert_eq!(found.hosts, hosts);
    assert!(!found.is_ca);
    assert_eq!(found.not_before, NOW_SECS as i64 - 300);
    assert_eq!(found.not_after, NOW_SECS as i64 + 30 * 86_400);

    let client = ca.authority.issue_client(&"a.b_c".parse().unwrap(), 1, now()).unwrap();
    let found = summary(&client);
    let identity = found.identity.clone().unwrap();
    assert_eq!(identity.to_string(), "spiffe://prod/client/a.b_c");
    assert_eq!(identity.serial(), found.serial);
    assert_eq!((found.serial.len(), found.sha256_fingerprint.len()), (32, 64));
    assert!(found.hosts.is_empty());
    assert_ne!(found.serial, summary(&node).serial);

    let both = format!("{}{}", node.certificate_pem, client.certificate_pem);
    assert_eq!(inspect(&both).unwrap().len(), 2);
    assert!(inspect("").unwrap_err().to_string().contains("no PEM certificate"));
    assert!(inspect(client.key_pem.expose()).is_err());
}

#[test]
fn what_cannot_be_issued_says_what_to_do() {
    let ca = old_ca();
    let client = |days, now| ca.authority.issue_client(&"a".parse().unwrap(), days, now);
    let node = |hosts: &[&str]| {
        let hosts: Vec<_> = hosts.iter().map(|host| (*host).to_owned()).collect();
        ca.authority.issue_node(&"n1".parse().unwrap(), &hosts, 1, now())
    };
    let says = |result: Result<Issued, conclave_pki::IssueError>, words: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    says(client(0, now()), "choose 1 to");
    says(client(DAYS_MAX + 1, now()), "choose 1 to");
    says(client(101, now()), "ask for at most 100 days");
    says(client(100, now() + DAY), "ask for at most 99 days");
    says(client(1, now() + 101 * DAY), "the authority expired on 2026-06-09");
    says(client(1, now() - DAY), "check this machine's clock");
    says(client(1, UNIX_EPOCH - DAY), "clock");
    says(node(&[]), "1 to 64 host names");
    says(node(&["a.example"; 65]), "1 to 64 host names");
    for host in
        ["", "a.example:443", "https://a.example", "*.example", "a b", "a.example.", "[::1]"]
    {
        says(node(&[host]), "neither a DNS name nor an IP address");
    }
    client(100, now()).unwrap();
}

#[test]
fn an_authority_is_loaded_whole_or_not_at_all() {
    let (ca, other) = (old_ca(), old_ca());
    let client = ca.authority.issue_client(&"a".parse().unwrap(), 1, now()).unwrap();
    let (certificate, key) = (&ca.issued.certificate_pem, ca.issued.key_pem.expose());
    let says = |certificate: &str, key: &str, words: &str| {
        let error = Authority::load(certificate, key).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    says(certificate, other.issued.key_pem.expose(), "made together");
    says(certificate, "", "key cannot be read");
    says("", key, "exactly one PEM certificate");
    says(&certificate.repeat(2), key, "exactly one PEM certificate");
    says(&client.certificate_pem, client.key_pem.expose(), "not an authority's");
}

#[test]
fn material_from_files() {
    let ca = ca("prod");
    let (now, folder) = (SystemTime::now(), tempfile::tempdir().unwrap());
    let issued = ca.authority.issue_client(&"alice".parse().unwrap(), 1, now).unwrap();
    let path = |name: &str| folder.path().join(name);
    let files = TlsFiles { ca: path("ca.pem"), cert: path("a.pem"), key: path("a.key") };
    write_public(&files.ca, ca.issued.certificate_pem.as_bytes()).unwrap();
    write_public(&files.cert, issued.certificate_pem.as_bytes()).unwrap();
    write_private(&files.key, issued.key_pem.expose().as_bytes()).unwrap();

    let material = TlsMaterial::load(&files, &[Kind::Client], now).unwrap();
    assert_eq!(material.identity().name(), "alice");
    assert!(material.not_after() > 0);

    let says = |result: Result<TlsMaterial, MaterialError>, words: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    says(TlsMaterial::load(&files, &[Kind::Node], now), "`conclave pki issue node NAME`");
    let later = now + 2 * DAY;
    says(TlsMaterial::load(&files, &[Kind::Client], later), "conclave pki issue client alice");
    says(TlsMaterial::load(&files, &[Kind::Client], later), "expired on 2");
    let early = now - 2 * DAY;
    says(TlsMaterial::load(&files, &[Kind::Client], early), "valid only from");
    let missing = TlsFiles { ca: path("none"), ..files.clone() };
    says(TlsMaterial::load(&missing, &[Kind::Client], now), "cannot read");
    let swapped = TlsFiles { cert: path("a.key"), ..files.clone() };
    says(TlsMaterial::load(&swapped, &[Kind::Client], now), "the certificate file holds no");

    let permissions = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(Path::new(&files.key), permissions).unwrap();
    says(TlsMaterial::load(&files, &[Kind::Client], now), "chmod 600");
}

#[test]
fn material_fits_together() {
    let (ca, other) = (ca("prod"), ca("prod"));
    let now = SystemTime::now();
    let issue = |ca: &Ca| ca.authority.issue_client(&"a".parse().unwrap(), 1, now).unwrap();
    let (first, second) = (issue(&ca), issue(&ca));
    let load = |ca: &Ca, certificate: &str, key: &str| {
        let ca = ca.issued.certificate_pem.as_bytes();
        TlsMaterial::from_pem(ca, certificate.as_bytes(), key.as_bytes(), &[Kind::Client], now)
    };
    let certificate = &first.certificate_pem;
    load(&ca, certificate, first.key_pem.expose()).unwrap();
    let mismatch = load(&ca, certificate, second.key_pem.expose());
    assert!(matches!(mismatch, Err(MaterialError::KeyMismatch)));
    let foreign = load(&other, certificate, first.key_pem.expose());
    assert!(matches!(foreign, Err(MaterialError::Chain { .. })));
    assert!(matches!(load(&ca, certificate, ""), Err(MaterialError::Key)));
    // The authority's own certificate is nobody's identity.
    let root = load(&ca, &ca.issued.certificate_pem, ca.issued.key_pem.expose());
    assert!(matches!(root, Err(MaterialError::Identity(_))));
}

#[test]
fn keys_stay_out_of_debug() {
    let ca = ca("prod");
    let issued = ca.authority.issue_client(&"a".parse().unwrap(), 1, SystemTime::now()).unwrap();
    let material = ca.material(&issued, SystemTime::now());
    let secrets = [ca.issued.key_pem.expose(), issued.key_pem.expose()];
    let shown = [
        format!("{:?}", ca.issued),
        format!("{issued:?}"),
        format!("{:?}", ca.authority),
        format!("{material:?}"),
    ];
    for text in shown {
        for line in secrets.iter().flat_map(|secret| secret.lines()) {
            assert!(!text.contains(line), "{text}");
        }
        assert!(!text.contains("PRIVATE KEY"));
    }
}

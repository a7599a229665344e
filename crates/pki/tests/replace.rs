//! One set of TLS files in place of another: what tells them apart, and what may follow what.

#![allow(clippy::unwrap_used, reason = "a test fails where this does")]

mod common;

use std::time::SystemTime;

use common::{Ca, DAY, ca};
use conclave_pki::{BundleError, Kind, MaterialError, TlsMaterial, bundle_authorities};

fn node(ca: &Ca, trusted: &str, days: u32) -> TlsMaterial {
    let hosts = [common::HOST.to_owned()];
    let now = SystemTime::now();
    let issued = ca.authority.issue_node(&"n1".parse().unwrap(), &hosts, days, now).unwrap();
    TlsMaterial::from_pem(
        trusted.as_bytes(),
        issued.certificate_pem.as_bytes(),
        issued.key_pem.expose().as_bytes(),
        &[Kind::Node],
        now,
    )
    .unwrap()
}

#[test]
fn two_authorities_stand_in_one_bundle_once_each() {
    let (old, new, other) = (ca("c"), ca("c"), ca("other"));
    let [old_pem, new_pem, other_pem] =
        [&old, &new, &other].map(|ca| ca.issued.certificate_pem.clone());
    let both = bundle_authorities(&[&old_pem, &new_pem, &old_pem]).unwrap();
    assert_eq!(both.matches("BEGIN CERTIFICATE").count(), 2);
    assert_eq!(bundle_authorities(&[&both]).unwrap(), both, "a bundle can be bundled");

    for ca in [&old, &new] {
        let material = node(ca, &both, 20);
        assert_eq!(material.authorities(), 2);
        let end = node(ca, &ca.issued.certificate_pem, 20).authority_not_after();
        assert_eq!(material.authority_not_after(), end);
        assert!(material.not_after() < end);
    }
    let leaf = old.authority.issue_client(&"a".parse().unwrap(), 1, SystemTime::now()).unwrap();
    for (pems, refused) in [
        (vec![], "0 authorities"),
        (vec![old_pem.as_str(), &other_pem], "bundle those of one cluster"),
        (vec![&leaf.certificate_pem], "not an authority's"),
        (vec![&old_pem[..100]], "not intact PEM"),
    ] {
        let error: BundleError = bundle_authorities(&pems).unwrap_err();
        assert!(error.to_string().contains(refused), "{error}");
    }
}

#[test]
fn only_the_same_name_replaces_and_only_the_trusted_stay() {
    let (old, new) = (ca("c"), ca("c"));
    let n1 = old.node("n1");
    old.node("n1").check_replaces(&n1).unwrap();
    new.node("n1").check_replaces(&n1).unwrap();
    for other in [old.node("n2"), old.client("n1"), ca("d").node("n1")] {
        let refused = other.check_replaces(&n1).unwrap_err();
        assert!(matches!(refused, MaterialError::Other { .. }), "{refused}");
    }

    let (now, both) = (
        SystemTime::now(),
        bundle_authorities(&[&old.issued.certificate_pem, &new.issued.certificate_pem]).unwrap(),
    );
    let issued = old.authority.issue_client(&"a".parse().unwrap(), 2, now).unwrap();
    let chain = vec![der(&issued.certificate_pem)];
    let trusted = |material: &TlsMaterial, at| material.check_still_trusted(&chain, at).is_ok();
    assert!(trusted(&n1, now) && trusted(&node(&new, &both, 1), now));
    assert!(!trusted(&node(&new, &new.issued.certificate_pem, 1), now), "its authority went");
    assert!(trusted(&n1, now + DAY) && !trusted(&n1, now + 3 * DAY), "it expired");
    assert!(n1.check_still_trusted(&[], now).is_err());
}

fn der(pem: &str) -> rustls_pki_types::CertificateDer<'static> {
    use rustls_pki_types::pem::PemObject;
    rustls_pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

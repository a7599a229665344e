//! P9, nobody uninvited: who gets through the handshakes of the API and the peers, and who does
//! not. No sockets: two rustls connections pumped by hand.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod common;

use std::{sync::Arc, time::SystemTime};

use common::{Ca, DAY, HOST, Refused, Session, Side, ca, cluster, handshake};
use conclave_pki::{
    ConfigError, ExpectedPeer, Kind, TlsMaterial, api_client_config, api_server_config, explain,
    peer_client_config, peer_identity, peer_server_config, peer_server_name,
};
use rustls::{
    AlertDescription, ClientConfig, Error, NamedGroup, ProtocolVersion, RootCertStore,
    ServerConfig, crypto::aws_lc_rs,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};

fn api(server: &TlsMaterial, client: &TlsMaterial) -> Result<Session, Box<Refused>> {
    let server = api_server_config(server, server.identity().cluster()).unwrap();
    let client = api_client_config(client).unwrap();
    handshake(&server, &client, host(HOST))
}

fn peers(
    server: &TlsMaterial,
    client: &TlsMaterial,
    expected: ExpectedPeer,
) -> Result<Session, Box<Refused>> {
    let server = peer_server_config(server, server.identity().cluster()).unwrap();
    let client = peer_client_config(client, client.identity().cluster(), expected).unwrap();
    handshake(&server, &client, peer_server_name())
}

fn named(name: &str) -> ExpectedPeer {
    ExpectedPeer::Named(name.parse().unwrap())
}

fn host(name: &'static str) -> ServerName<'static> {
    ServerName::try_from(name).unwrap()
}

/// A refusal: by whom, with what alert for the other side, and a word of the explanation.
#[track_caller]
fn refused(result: Result<Session, Box<Refused>>, by: Side, alert: AlertDescription, words: &str) {
    let refused = result.unwrap_err();
    assert_eq!(refused.by, by, "{refused:?}");
    assert_eq!(refused.told, Some(Error::AlertReceived(alert)), "{refused:?}");
    assert!(explain(&Error::AlertReceived(alert)).contains("refused this side's certificate"));
    let explained = explain(&refused.error);
    assert!(explained.contains(words), "{explained}");
}

#[test]
fn the_invited_get_in_post_quantum() {
    let ca = ca("c");
    let (n1, n2, alice) = (ca.node("n1"), ca.node("n2"), ca.client("alice"));
    for (session, who, kind) in [
        (api(&n1, &alice), "alice", Kind::Client),
        (api(&n1, &n2), "n2", Kind::Node),
        (peers(&n1, &n2, named("n1")), "n2", Kind::Node),
        (peers(&n1, &n2, ExpectedPeer::AnyNode), "n2", Kind::Node),
    ] {
        let session = session.unwrap();
        assert_eq!(session.version, ProtocolVersion::TLSv1_3);
        assert_eq!(session.group, NamedGroup::X25519MLKEM768);
        assert_eq!(session.protocol.as_deref(), Some(b"h2".as_slice()));
        assert!(!session.resumable);
        let identity = peer_identity(&session.client_chain).unwrap();
        assert_eq!((identity.name(), identity.kind()), (who, kind));
    }
}

#[test]
fn http_1_1_is_for_the_api_alone() {
    let ca = ca("c");
    let (n1, n2) = (ca.node("n1"), ca.node("n2"));
    let mut client = ClientConfig::clone(&api_client_config(&n2).unwrap());
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    let client = Arc::new(client);

    let server = api_server_config(&n1, &cluster("c")).unwrap();
    let session = handshake(&server, &client, host(HOST)).unwrap();
    assert_eq!(session.protocol.as_deref(), Some(b"http/1.1".as_slice()));

    let server = peer_server_config(&n1, &cluster("c")).unwrap();
    let refused = handshake(&server, &client, host(HOST)).unwrap_err();
    assert_eq!(refused.error, Error::NoApplicationProtocol);
}

#[test]
fn nobody_without_a_certificate() {
    let ca = ca("c");
    let n1 = ca.node("n1");
    let client = Arc::new(
        ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots(&ca))
            .with_no_client_auth(),
    );
    for server in [
        api_server_config(&n1, &cluster("c")).unwrap(),
        peer_server_config(&n1, &cluster("c")).unwrap(),
    ] {
        let refused = handshake(&server, &client, host(HOST)).unwrap_err();
        assert_eq!(refused.error, Error::NoCertificatesPresented);
        let alert = AlertDescription::CertificateRequired;
        assert_eq!(refused.told, Some(Error::AlertReceived(alert)));
    }
}

#[test]
fn nobody_with_tls_1_2() {
    let ca = ca("c");
    let client = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots(&ca))
        .with_no_client_auth();
    let server = api_server_config(&ca.node("n1"), &cluster("c")).unwrap();
    let refused = handshake(&server, &Arc::new(client), host(HOST)).unwrap_err();
    assert!(matches!(refused.error, Error::PeerIncompatible(_)), "{refused:?}");
}

/// Another authority, also one of the same name: its certificates look right in every word.
#[test]
fn nobody_of_another_authority() {
    let ours = ca("c");
    let n1 = ours.node("n1");
    let api_server = api_server_config(&n1, &cluster("c")).unwrap();
    let peer_server = peer_server_config(&n1, &cluster("c")).unwrap();
    let (namesake, stranger) = (AlertDescription::DecryptError, AlertDescription::UnknownCA);
    for (theirs, alert) in [(ca("c"), namesake), (ca("d"), stranger)] {
        for (server, uri) in [
            (&api_server, "spiffe://c/client/alice"),
            (&api_server, "spiffe://c/node/n2"),
            (&peer_server, "spiffe://c/node/n2"),
        ] {
            let client = raw_client(&ours, &theirs.forge(&[uri]));
            let result = handshake(server, &client, host(HOST));
            refused(result, Side::Server, alert, "unknown authority");
        }
        // And the dialler refuses a listener of theirs.
        let theirs = theirs.forged_material("spiffe://c/node/n1");
        let result = api(&theirs, &ours.client("alice"));
        refused(result, Side::Client, alert, "unknown authority");
        let result = peers(&theirs, &ours.node("n2"), named("n1"));
        refused(result, Side::Client, alert, "unknown authority");
    }
}

#[test]
fn a_client_never_acts_as_a_peer() {
    let ca = ca("c");
    let (n1, alice) = (ca.node("n1"), ca.client("alice"));
    let server = peer_server_config(&n1, &cluster("c")).unwrap();
    let alert = AlertDescription::CertificateUnknown;

    let client = api_client_config(&alice).unwrap();
    let result = handshake(&server, &client, host(HOST));
    refused(result, Side::Server, alert, "spiffe://c/client/alice is not a node");

    // A client who is called like a node is still a client.
    let client = api_client_config(&ca.client("n1")).unwrap();
    let result = handshake(&server, &client, host(HOST));
    refused(result, Side::Server, alert, "spiffe://c/client/n1 is not a node");
}

/// One authority may sign for several clusters; they stay apart.
#[test]
fn clusters_of_one_authority_stay_apart() {
    let ca = ca("c");
    let (n1, n2) = (ca.node("n1"), ca.node("n2"));
    let foreign = ca.forged_material("spiffe://d/node/n2");
    let alert = AlertDescription::CertificateUnknown;
    let words = "spiffe://d/node/n2 is of another cluster than c";

    // The foreign side as the dialler: it must be the listener who refuses.
    let dialler = raw_client(&ca, &ca.forge(&["spiffe://d/node/n2"]));
    for server in [api_server_config, peer_server_config] {
        let server = server(&n1, &cluster("c")).unwrap();
        refused(handshake(&server, &dialler, host(HOST)), Side::Server, alert, words);
    }
    // The foreign side as the listener.
    refused(api(&foreign, &n2), Side::Client, alert, words);
    refused(peers(&foreign, &n1, ExpectedPeer::AnyNode), Side::Client, alert, words);
    refused(peers(&foreign, &n1, named("n2")), Side::Client, alert, words);
}

#[test]
fn certificates_end_and_begin() {
    let ca = ca("c");
    let now = SystemTime::now();
    let (n1, n2, alice) = (ca.node("n1"), ca.node("n2"), ca.client("alice"));
    let alert = AlertDescription::CertificateExpired;
    for (when, words) in [(now - 5 * DAY, "expired on"), (now + 5 * DAY, "valid only from")] {
        let (bad_node, bad_client) = (ca.node_at("n3", 1, when), ca.client_at("eve", 1, when));
        refused(api(&n1, &bad_client), Side::Server, alert, words);
        refused(api(&n1, &bad_node), Side::Server, alert, words);
        refused(peers(&n1, &bad_node, named("n1")), Side::Server, alert, words);
        refused(api(&bad_node, &alice), Side::Client, alert, words);
        refused(peers(&bad_node, &n2, named("n3")), Side::Client, alert, words);
    }
}

#[test]
fn a_server_must_be_a_node() {
    let ca = ca("c");
    let (n2, alice) = (ca.node("n2"), ca.client("alice"));
    let api_client = api_client_config(&alice).unwrap();
    let peer_client = peer_client_config(&n2, &cluster("c"), ExpectedPeer::AnyNode).unwrap();

    // An ordinary client certificate is not for servers at all.
    let issued = ca.authority.issue_client(&"eve".parse().unwrap(), 1, SystemTime::now()).unwrap();
    let server = raw_server(&issued.certificate_pem, issued.key_pem.expose());
    for (client, name) in [(&api_client, host(HOST)), (&peer_client, peer_server_name())] {
        let refused = handshake(&server, client, name).unwrap_err();
        assert_eq!(refused.by, Side::Client);
        let alert = AlertDescription::UnsupportedCertificate;
        assert_eq!(refused.told, Some(Error::AlertReceived(alert)));
    }

    // One that an own CA made for servers too, host name and all, is refused by its kind.
    let (certificate, key) = ca.forge(&["spiffe://c/client/eve"]);
    let server = raw_server(&certificate, &key);
    for (client, name) in [(&api_client, host(HOST)), (&peer_client, peer_server_name())] {
        let alert = AlertDescription::CertificateUnknown;
        refused(handshake(&server, client, name), Side::Client, alert, "is not a node");
    }

    // And so is one with two identities.
    let (certificate, key) = ca.forge(&["spiffe://c/node/n1", "spiffe://c/client/eve"]);
    let server = raw_server(&certificate, &key);
    for (client, name) in [(&api_client, host(HOST)), (&peer_client, peer_server_name())] {
        let alert = AlertDescription::CertificateUnknown;
        refused(handshake(&server, client, name), Side::Client, alert, "has 2 URI names");
    }
}

#[test]
fn peers_are_known_by_name_and_the_api_by_host() {
    let ca = ca("c");
    let (n1, n2, alice) = (ca.node("n1"), ca.node("n2"), ca.client("alice"));
    let alert = AlertDescription::CertificateUnknown;
    let result = peers(&n1, &n2, named("n3"));
    refused(result, Side::Client, alert, "answered where node n3 was expected");

    // A peer's address is no part of who it is.
    let server = peer_server_config(&n1, &cluster("c")).unwrap();
    let client = peer_client_config(&n2, &cluster("c"), named("n1")).unwrap();
    handshake(&server, &client, host("elsewhere.example")).unwrap();

    let server = api_server_config(&n1, &cluster("c")).unwrap();
    let client = api_client_config(&alice).unwrap();
    handshake(&server, &client, host("127.0.0.1")).unwrap();
    for other in ["elsewhere.example", "127.0.0.2"] {
        let result = handshake(&server, &client, host(other));
        refused(result, Side::Client, AlertDescription::BadCertificate, "dial the node by a name");
    }
}

#[test]
fn only_a_node_of_the_cluster_serves_and_peers() {
    let ca = ca("c");
    let (n1, alice) = (ca.node("n1"), ca.client("alice"));
    let any = || ExpectedPeer::AnyNode;
    let (c, d) = (cluster("c"), cluster("d"));
    assert!(matches!(api_server_config(&n1, &d), Err(ConfigError::Cluster { .. })));
    assert!(matches!(peer_server_config(&n1, &d), Err(ConfigError::Cluster { .. })));
    assert!(matches!(peer_client_config(&n1, &d, any()), Err(ConfigError::Cluster { .. })));
    assert!(matches!(api_server_config(&alice, &c), Err(ConfigError::NotNode { .. })));
    assert!(matches!(peer_server_config(&alice, &c), Err(ConfigError::NotNode { .. })));
    assert!(matches!(peer_client_config(&alice, &c, any()), Err(ConfigError::NotNode { .. })));
}

fn roots(ca: &Ca) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(chain(&ca.issued.certificate_pem).remove(0)).unwrap();
    roots
}

fn chain(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().unwrap()
}

fn private_key(pem: &str) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).unwrap()
}

/// A dialler that trusts the authority and asks no more.
fn raw_client(ca: &Ca, own: &(String, String)) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(ca))
        .with_client_auth_cert(chain(&own.0), private_key(&own.1));
    Arc::new(config.unwrap())
}

/// A listener that lets anybody in.
fn raw_server(certificate: &str, key: &str) -> Arc<ServerConfig> {
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain(certificate), private_key(key));
    Arc::new(config.unwrap())
}

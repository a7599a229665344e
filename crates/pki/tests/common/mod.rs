//! An authority, its certificates, and a handshake between two configurations in memory.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use conclave_pki::{Authority, ClusterName, Issued, Kind, TlsMaterial, new_authority};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
use rustls::{
    ClientConfig, ClientConnection, Error, NamedGroup, ProtocolVersion, ServerConfig,
    ServerConnection,
};
use rustls_pki_types::{CertificateDer, ServerName};

pub(crate) const DAY: Duration = Duration::from_secs(86_400);
pub(crate) const HOST: &str = "n1.example";

pub(crate) struct Ca {
    pub(crate) issued: Issued,
    pub(crate) authority: Authority,
}

pub(crate) fn cluster(name: &str) -> ClusterName {
    name.parse().unwrap()
}

/// An authority made ten days ago, so that certificates can be issued in its past.
pub(crate) fn ca(name: &str) -> Ca {
    let issued = new_authority(&cluster(name), 3650, SystemTime::now() - 10 * DAY).unwrap();
    let authority = Authority::load(&issued.certificate_pem, issued.key_pem.expose()).unwrap();
    Ca { issued, authority }
}

impl Ca {
    pub(crate) fn node(&self, name: &str) -> TlsMaterial {
        self.node_at(name, 1, SystemTime::now())
    }

    /// Loaded at the time it was issued, whatever the time now.
    pub(crate) fn node_at(&self, name: &str, days: u32, now: SystemTime) -> TlsMaterial {
        let hosts = [HOST.to_owned(), "127.0.0.1".to_owned()];
        let issued = self.authority.issue_node(&name.parse().unwrap(), &hosts, days, now).unwrap();
        self.material(&issued, now)
    }

    pub(crate) fn client(&self, name: &str) -> TlsMaterial {
        self.client_at(name, 1, SystemTime::now())
    }

    pub(crate) fn client_at(&self, name: &str, days: u32, now: SystemTime) -> TlsMaterial {
        let issued = self.authority.issue_client(&name.parse().unwrap(), days, now).unwrap();
        self.material(&issued, now)
    }

    pub(crate) fn material(&self, issued: &Issued, now: SystemTime) -> TlsMaterial {
        TlsMaterial::from_pem(
            self.issued.certificate_pem.as_bytes(),
            issued.certificate_pem.as_bytes(),
            issued.key_pem.expose().as_bytes(),
            &[Kind::Client, Kind::Node],
            now,
        )
        .unwrap()
    }

    /// A certificate that `Authority` would never issue: any URIs, for server and client use.
    pub(crate) fn forge(&self, uris: &[&str]) -> (String, String) {
        let ca_key = KeyPair::from_pem(self.issued.key_pem.expose()).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&self.issued.certificate_pem, ca_key).unwrap();
        let mut params = CertificateParams::new([HOST.to_owned()]).unwrap();
        for uri in uris {
            params.subject_alt_names.push(SanType::URI((*uri).try_into().unwrap()));
        }
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    pub(crate) fn forged_material(&self, uri: &str) -> TlsMaterial {
        let (certificate, key) = self.forge(&[uri]);
        TlsMaterial::from_pem(
            self.issued.certificate_pem.as_bytes(),
            certificate.as_bytes(),
            key.as_bytes(),
            &[Kind::Client, Kind::Node],
            SystemTime::now(),
        )
        .unwrap()
    }
}

/// What both sides saw of a handshake that succeeded.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) version: ProtocolVersion,
    pub(crate) group: NamedGroup,
    pub(crate) protocol: Option<Vec<u8>>,
    pub(crate) client_chain: Vec<CertificateDer<'static>>,
    pub(crate) resumable: bool,
}

/// Which side refused first, with its own error and what the other side was told.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) by: Side,
    pub(crate) error: Error,
    pub(crate) told: Option<Error>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

pub(crate) fn handshake(
    server: &Arc<ServerConfig>,
    client: &Arc<ClientConfig>,
    name: ServerName<'static>,
) -> Result<Session, Box<Refused>> {
    let mut server = ServerConnection::new(server.clone()).unwrap();
    let mut client = ClientConnection::new(client.clone(), name).unwrap();
    while client.wants_write() || server.wants_write() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        let mut wire = wire.as_slice();
        while !wire.is_empty() {
            server.read_tls(&mut wire).unwrap();
            if let Err(error) = server.process_new_packets() {
                let mut alert = Vec::new();
                server.write_tls(&mut alert).unwrap();
                client.read_tls(&mut alert.as_slice()).unwrap();
                let told = client.process_new_packets().err();
                return Err(Box::new(Refused { by: Side::Server, error, told }));
            }
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut wire = wire.as_slice();
        while !wire.is_empty() {
            client.read_tls(&mut wire).unwrap();
            if let Err(error) = client.process_new_packets() {
                let mut alert = Vec::new();
                client.write_tls(&mut alert).unwrap();
                server.read_tls(&mut alert.as_slice()).unwrap();
                let told = server.process_new_packets().err();
                return Err(Box::new(Refused { by: Side::Client, error, told }));
            }
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(Session {
        version: server.protocol_version().unwrap(),
        group: server.negotiated_key_exchange_group().unwrap().name(),
        protocol: server.alpn_protocol().map(<[u8]>::to_vec),
        client_chain: server.peer_certificates().unwrap_or_default().to_vec(),
        resumable: client.tls13_tickets_received() > 0,
    })
}

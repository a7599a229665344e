//! Who a certificate names: reading exactly one SPIFFE URI of exactly one shape.
//!
//! Reading an identity proves nothing; only a verified chain does. The verifiers do both.

use std::fmt;

use rustls_pki_types::CertificateDer;
use thiserror::Error;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer};

use crate::name::{ClusterName, NameError, NodeName, PrincipalName, shown};

/// What a certificate may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Calls the API; never acts as a peer.
    Client,
    /// Serves the API and speaks to its peers.
    Node,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Client => "client",
            Kind::Node => "node",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The client or node that a certificate names, with the certificate's serial number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    cluster: ClusterName,
    subject: Subject,
    serial: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Client(PrincipalName),
    Node(NodeName),
}

impl Identity {
    /// Reads the identity of an end-entity certificate, without verifying the certificate.
    ///
    /// # Errors
    /// If the certificate cannot be read, or has not exactly one URI SAN of exactly the shape
    /// `spiffe://<cluster>/(client|node)/<name>` (SPIFFE X.509-SVID section 2: one URI, no more).
    pub fn from_der(certificate: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        Self::of(&parse(certificate)?)
    }

    pub(crate) fn of(certificate: &X509Certificate<'_>) -> Result<Self, IdentityError> {
        let (cluster, subject) = parse_uri(only_uri(certificate)?)?;
        Ok(Self { cluster, subject, serial: serial(certificate)? })
    }

    /// The cluster that the certificate is of.
    pub fn cluster(&self) -> &ClusterName {
        &self.cluster
    }

    /// Client or node.
    pub fn kind(&self) -> Kind {
        match self.subject {
            Subject::Client(_) => Kind::Client,
            Subject::Node(_) => Kind::Node,
        }
    }

    /// The principal's or node's name.
    pub fn name(&self) -> &str {
        match &self.subject {
            Subject::Client(name) => name.as_ref(),
            Subject::Node(name) => name.as_ref(),
        }
    }

    /// The node's name, if this is a node.
    pub fn node(&self) -> Option<&NodeName> {
        match &self.subject {
            Subject::Node(name) => Some(name),
            Subject::Client(_) => None,
        }
    }

    /// The principal's name, if this is a client.
    pub fn principal(&self) -> Option<&PrincipalName> {
        match &self.subject {
            Subject::Client(name) => Some(name),
            Subject::Node(_) => None,
        }
    }

    /// The certificate's serial number in lower-case hexadecimal, without leading zero bytes.
    pub fn serial(&self) -> &str {
        &self.serial
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}/{}", self.cluster, self.kind(), self.name())
    }
}

/// The identity of a connection's other side, from the chain that the TLS session has verified.
///
/// # Errors
/// As [`Identity::from_der`], and if the other side presented no certificate.
pub fn peer_identity(certificates: &[CertificateDer<'_>]) -> Result<Identity, IdentityError> {
    Identity::from_der(certificates.first().ok_or(IdentityError::NoCertificate)?)
}

/// Why a certificate names nobody.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IdentityError {
    /// The other side of a connection presented no certificate.
    #[error("no certificate was presented; {ISSUE}")]
    NoCertificate,
    /// Not DER, trailing bytes, an extension twice or unreadable.
    #[error("the certificate cannot be read; {ISSUE}")]
    Unreadable,
    /// None or several URI SANs.
    #[error("the certificate has {0} URI names where there must be exactly one; {ISSUE}")]
    UriCount(usize),
    /// A URI of another scheme or shape.
    #[error(
        "the certificate's URI {0:?} is not spiffe://CLUSTER/client/NAME or \
         spiffe://CLUSTER/node/NAME; {ISSUE}"
    )]
    Shape(String),
    /// The URI has the right shape but a name in it breaks its rule.
    #[error("the certificate's URI has a bad name in it: {0}")]
    Name(#[from] NameError),
    /// Negative, zero or longer than 20 bytes (RFC 5280 section 4.1.2.2).
    #[error(
        "the certificate's serial number is not a positive number of at most 20 bytes; {ISSUE}"
    )]
    Serial,
}

/// The next step for whoever has no good certificate.
pub(crate) const ISSUE: &str =
    "issue one with `conclave pki issue client NAME` or `conclave pki issue node NAME`";

const SCHEME: &str = "spiffe://";

/// Longest serial number, in bytes (RFC 5280 section 4.1.2.2).
const SERIAL_BYTES_MAX: usize = 20;

pub(crate) fn parse<'a>(
    certificate: &'a CertificateDer<'_>,
) -> Result<X509Certificate<'a>, IdentityError> {
    match X509Certificate::from_der(certificate) {
        Ok(([], parsed)) => Ok(parsed),
        _ => Err(IdentityError::Unreadable),
    }
}

/// The cluster that an authority's certificate is of: `spiffe://<cluster>`, no path.
pub(crate) fn authority_cluster(
    certificate: &X509Certificate<'_>,
) -> Result<ClusterName, IdentityError> {
    let uri = only_uri(certificate)?;
    let cluster = uri.strip_prefix(SCHEME).ok_or_else(|| IdentityError::Shape(shown(uri)))?;
    Ok(cluster.parse()?)
}

pub(crate) fn authority_uri(cluster: &ClusterName) -> String {
    format!("{SCHEME}{cluster}")
}

pub(crate) fn uri(cluster: &ClusterName, kind: Kind, name: &str) -> String {
    format!("{SCHEME}{cluster}/{kind}/{name}")
}

/// Lower-case hexadecimal of the number itself: DER's sign byte is no part of it.
pub(crate) fn serial(certificate: &X509Certificate<'_>) -> Result<String, IdentityError> {
    let der = certificate.raw_serial();
    let negative = der.first().is_some_and(|byte| byte & 0x80 != 0);
    let zeros = der.iter().take_while(|byte| **byte == 0).count();
    let number = &der[zeros..];
    if negative || number.is_empty() || number.len() > SERIAL_BYTES_MAX {
        return Err(IdentityError::Serial);
    }
    Ok(hex::encode(number))
}

fn only_uri<'a>(certificate: &'a X509Certificate<'_>) -> Result<&'a str, IdentityError> {
    let names = certificate.subject_alternative_name().map_err(|_| IdentityError::Unreadable)?;
    let mut uris = Vec::new();
    for name in names.iter().flat_map(|extension| &extension.value.general_names) {
        match name {
            GeneralName::URI(uri) => uris.push(*uri),
            // A URI that is not text would otherwise go uncounted.
            GeneralName::Invalid(..) => return Err(IdentityError::Unreadable),
            _ => {}
        }
    }
    match uris.as_slice() {
        [uri] => Ok(uri),
        uris => Err(IdentityError::UriCount(uris.len())),
    }
}

/// The names' own rules refuse whatever URI syntax could still hide in a segment: ports, user
/// information, queries, fragments, percent-encoding, upper case and empty segments.
fn parse_uri(uri: &str) -> Result<(ClusterName, Subject), IdentityError> {
    let shape = || IdentityError::Shape(shown(uri));
    let mut segments = uri.strip_prefix(SCHEME).ok_or_else(shape)?.split('/');
    let (Some(cluster), Some(kind), Some(name), None) =
        (segments.next(), segments.next(), segments.next(), segments.next())
    else {
        return Err(shape());
    };
    let subject = match kind {
        "client" => Subject::Client(name.parse()?),
        "node" => Subject::Node(name.parse()?),
        _ => return Err(shape()),
    };
    Ok((cluster.parse()?, subject))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, SanType, SerialNumber};

    use super::*;

    fn certificate(uris: &[&str], serial: &[u8]) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(["a.example".to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from_slice(serial));
        for uri in uris {
            params.subject_alt_names.push(SanType::URI((*uri).try_into().unwrap()));
        }
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn read(uris: &[&str]) -> Result<Identity, IdentityError> {
        Identity::from_der(&certificate(uris, &[0x0a, 1]))
    }

    #[test]
    fn the_two_shapes_are_read() {
        let client = read(&["spiffe://prod-1/client/billing.eu_1"]).unwrap();
        assert_eq!(client.kind(), Kind::Client);
        assert_eq!(client.cluster().as_ref(), "prod-1");
        assert_eq!(client.name(), "billing.eu_1");
        assert_eq!(client.principal().map(AsRef::as_ref), Some("billing.eu_1"));
        assert_eq!(client.node(), None);
        assert_eq!(client.serial(), "0a01");
        assert_eq!(client.to_string(), "spiffe://prod-1/client/billing.eu_1");

        let node = read(&["spiffe://prod-1/node/n1"]).unwrap();
        assert_eq!(node.kind(), Kind::Node);
        assert_eq!(node.node().map(AsRef::as_ref), Some("n1"));
        assert_eq!(node.principal(), None);
    }

    #[test]
    fn everything_else_is_refused() {
        for uri in [
            "spiffe://c",
            "spiffe://c/",
            "spiffe://c/node",
            "spiffe://c/node/",
            "spiffe://c/node/n1/",
            "spiffe://c/node/n1/x",
            "spiffe://c//node/n1",
            "spiffe://c/node//n1",
            "spiffe:///node/n1",
            "spiffe://c/admin/n1",
            "spiffe://c/Node/n1",
            "spiffe://c/node/N1",
            "spiffe://C/node/n1",
            "SPIFFE://c/node/n1",
            "Spiffe://c/node/n1",
            "https://c/node/n1",
            "spiffe:c/node/n1",
            " spiffe://c/node/n1",
            "spiffe://c/node/n1 ",
            "spiffe://c/node/n%31",
            "spiffe://c/%6eode/n1",
            "spiffe://c/node/n1?x=1",
            "spiffe://c/node/n1#x",
            "spiffe://c:443/node/n1",
            "spiffe://u@c/node/n1",
            "spiffe://c/client/../node/n1",
            "spiffe://c/node/..",
            "spiffe://c/node/n1\0",
            "",
        ] {
            let found = read(&[uri]);
            assert!(
                matches!(found, Err(IdentityError::Shape(_) | IdentityError::Name(_))),
                "{uri:?}: {found:?}"
            );
        }
    }

    /// With two URIs, two readers could each take another one.
    #[test]
    fn one_uri_and_no_more() {
        let node = "spiffe://c/node/n1";
        assert_eq!(read(&[]), Err(IdentityError::UriCount(0)));
        for second in ["spiffe://c/client/a", node, "SPIFFE://c/node/n2", "https://c.example/"] {
            assert_eq!(read(&[node, second]), Err(IdentityError::UriCount(2)));
            assert_eq!(read(&[second, node]), Err(IdentityError::UriCount(2)));
        }
    }

    #[test]
    fn serials_are_positive_numbers_of_at_most_20_bytes() {
        let read = |serial: &[u8]| {
            let certificate = certificate(&["spiffe://c/node/n1"], serial);
            Identity::from_der(&certificate).map(|identity| identity.serial().to_owned())
        };
        assert_eq!(read(&[0xff, 0]), Ok("ff00".to_owned()));
        assert_eq!(read(&[0x7f; 20]), Ok("7f".repeat(20)));
        assert_eq!(read(&[0x7f; 21]), Err(IdentityError::Serial));
        assert_eq!(read(&[0]), Err(IdentityError::Serial));
    }

    #[test]
    fn bytes_that_are_no_certificate_are_refused() {
        let good = certificate(&["spiffe://c/node/n1"], &[1]);
        let trailing = [good.as_ref(), b"x"].concat();
        for bad in [b"".as_slice(), b"junk", &good[..good.len() - 1], &trailing] {
            let found = Identity::from_der(&CertificateDer::from(bad));
            assert_eq!(found, Err(IdentityError::Unreadable));
        }
        assert_eq!(peer_identity(&[]), Err(IdentityError::NoCertificate));
    }
}

//! The verifiers: rustls' own chain verification, then who the certificate names.
//!
//! Both happen inside the handshake, so a refused side gets an alert and no byte of a request is
//! read. Peers are dialled by address and known by node name, so only the API's clients compare
//! host names.

use std::sync::Arc;

use rustls::{
    AlertDescription, CertificateError, DigitallySignedStruct, DistinguishedName, Error,
    OtherError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::CryptoProvider,
    server::{
        ParsedCertificate,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::{
    dates::day,
    identity::{Identity, IdentityError, Kind},
    name::{ClusterName, NodeName},
};

/// Which node a peer connection is meant for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpectedPeer {
    /// This node and no other.
    Named(NodeName),
    /// Any node of the cluster: before its name is known.
    AnyNode,
}

/// Why a certificate whose chain is good was refused all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It names nobody.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// It is of another cluster.
    #[error(
        "{found} is of another cluster than {wanted}; \
         use a certificate issued by {wanted}'s authority, or dial the other cluster"
    )]
    Cluster {
        /// Whom it names.
        found: Identity,
        /// The cluster of this side.
        wanted: ClusterName,
    },
    /// A client where only a node may be.
    #[error(
        "{found} is not a node; clients use the API's address, \
         nodes a certificate from `conclave pki issue node NAME`"
    )]
    NotNode {
        /// Whom it names.
        found: Identity,
    },
    /// Another node than the one dialled.
    #[error("{found} answered where node {wanted} was expected; correct {wanted}'s address")]
    OtherNode {
        /// Whom it names.
        found: Identity,
        /// Who was dialled.
        wanted: NodeName,
    },
}

/// A failed handshake in words, with what to do next.
pub fn explain(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(problem) => explain_certificate(error, problem),
        Error::NoCertificatesPresented => {
            format!("the other side presented no certificate; {}", crate::identity::ISSUE)
        }
        Error::AlertReceived(
            alert @ (AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRequired
            | AlertDescription::CertificateUnknown
            | AlertDescription::DecryptError
            | AlertDescription::UnknownCA
            | AlertDescription::UnsupportedCertificate),
        ) => format!(
            "the other side refused this side's certificate ({alert:?}); \
             check it with `conclave pki inspect`, and read the reason in the other side's log"
        ),
        _ => error.to_string(),
    }
}

fn explain_certificate(error: &Error, problem: &CertificateError) -> String {
    match problem {
        CertificateError::ExpiredContext { not_after, .. } => format!(
            "the other side's certificate expired on {}; \
             issue a new one with `conclave pki issue` and reload it there",
            day(i64::try_from(not_after.as_secs()).unwrap_or(i64::MAX))
        ),
        CertificateError::NotValidYetContext { not_before, .. } => format!(
            "the other side's certificate is valid only from {}; check both machines' clocks",
            day(i64::try_from(not_before.as_secs()).unwrap_or(i64::MAX))
        ),
        // A bad signature is what another authority of the same name looks like.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the other side's certificate is from an unknown \
             authority; check that both sides use the same cluster's CA file"
                .to_owned()
        }
        CertificateError::NotValidForNameContext { .. } => format!(
            "{error}; dial the node by a name in its certificate, or issue it one with that name"
        ),
        CertificateError::Other(OtherError(other)) => match other.downcast_ref::<Refusal>() {
            Some(refusal) => refusal.to_string(),
            None => error.to_string(),
        },
        _ => error.to_string(),
    }
}

/// Who gets in, once the chain is good.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) cluster: ClusterName,
    pub(crate) who: Who,
}

#[derive(Debug)]
pub(crate) enum Who {
    ClientOrNode,
    Node(ExpectedPeer),
}

impl Rule {
    fn check(&self, certificate: &CertificateDer<'_>) -> Result<(), Error> {
        self.refusal(certificate)
            .map_err(|refusal| CertificateError::Other(OtherError(Arc::new(refusal))).into())
    }

    fn refusal(&self, certificate: &CertificateDer<'_>) -> Result<(), Refusal> {
        let found = Identity::from_der(certificate)?;
        if *found.cluster() != self.cluster {
            return Err(Refusal::Cluster { found, wanted: self.cluster.clone() });
        }
        match &self.who {
            Who::ClientOrNode => Ok(()),
            Who::Node(_) if found.kind() != Kind::Node => Err(Refusal::NotNode { found }),
            Who::Node(ExpectedPeer::AnyNode) => Ok(()),
            Who::Node(ExpectedPeer::Named(wanted)) if found.node() == Some(wanted) => Ok(()),
            Who::Node(ExpectedPeer::Named(wanted)) => {
                Err(Refusal::OtherNode { found, wanted: wanted.clone() })
            }
        }
    }
}

/// A listener's verifier.
#[derive(Debug)]
pub(crate) struct ClientVerifier {
    pub(crate) chain: Arc<dyn ClientCertVerifier>,
    pub(crate) rule: Rule,
}

impl ClientCertVerifier for ClientVerifier {
    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        self.rule.check(end_entity)?;
        Ok(verified)
    }

    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// A dialler's verifier.
#[derive(Debug)]
pub(crate) struct ServerVerifier {
    pub(crate) chain: Arc<WebPkiServerVerifier>,
    pub(crate) host: HostCheck,
    pub(crate) rule: Rule,
}

/// Whether the certificate must be for the host that was dialled.
#[derive(Debug)]
pub(crate) enum HostCheck {
    /// It must.
    Dialled,
    /// The rule names the node instead. The chain is then verified with these.
    None { roots: Arc<RootCertStore>, provider: Arc<CryptoProvider> },
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.host {
            HostCheck::Dialled => {
                self.chain.verify_server_cert(
                    end_entity,
                    intermediates,
                    server_name,
                    ocsp_response,
                    now,
                )?;
            }
            HostCheck::None { roots, provider } => verify_server_cert_signed_by_trust_anchor(
                &ParsedCertificate::try_from(end_entity)?,
                roots,
                intermediates,
                now,
                provider.signature_verification_algorithms.all,
            )?,
        }
        self.rule.check(end_entity)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

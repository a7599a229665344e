//! What stands in certificates, for people: `conclave pki inspect`.

use std::net::IpAddr;

use rustls_pki_types::{CertificateDer, pem::PemObject};
use thiserror::Error;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName};

use crate::identity::{self, Identity, IdentityError};

/// What one certificate says. Nothing of it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateSummary {
    /// The subject's distinguished name, control characters replaced.
    pub subject: String,
    /// The client or node it names; `None` for authorities and foreign certificates.
    pub identity: Option<Identity>,
    /// Serial number, in lower-case hexadecimal.
    pub serial: String,
    /// First second of validity, Unix time.
    pub not_before: i64,
    /// Last second of validity, Unix time.
    pub not_after: i64,
    /// DNS names and IP addresses.
    pub hosts: Vec<String>,
    /// Whether it may sign other certificates.
    pub is_ca: bool,
    /// SHA-256 of the DER, in lower-case hexadecimal.
    pub sha256_fingerprint: String,
}

/// Describes every certificate in a PEM text, in order.
///
/// # Errors
/// If the text holds no certificate, or one that cannot be read.
pub fn inspect(pem: &str) -> Result<Vec<CertificateSummary>, InspectError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| InspectError::Pem)?;
    if certificates.is_empty() {
        return Err(InspectError::None);
    }
    certificates
        .iter()
        .enumerate()
        .map(|(index, der)| {
            summary(der).map_err(|source| InspectError::Certificate { number: index + 1, source })
        })
        .collect()
}

/// Why certificates could not be described.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum InspectError {
    /// Damaged PEM.
    #[error("the file is not intact PEM; copy it again from where it was issued")]
    Pem,
    /// PEM, or something else, without certificates.
    #[error("the file holds no PEM certificate; give a certificate file, not a key")]
    None,
    /// One of the certificates is damaged.
    #[error("certificate {number} of the file: {source}")]
    Certificate {
        /// Its place in the file, from 1.
        number: usize,
        /// What is wrong with it.
        source: IdentityError,
    },
}

fn summary(der: &CertificateDer<'_>) -> Result<CertificateSummary, IdentityError> {
    let certificate = identity::parse(der)?;
    let fingerprint = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der);
    Ok(CertificateSummary {
        subject: printable(&certificate.subject().to_string()),
        identity: Identity::of(&certificate).ok(),
        serial: identity::serial(&certificate)?,
        not_before: certificate.validity().not_before.timestamp(),
        not_after: certificate.validity().not_after.timestamp(),
        hosts: hosts(&certificate)?,
        is_ca: certificate.is_ca(),
        sha256_fingerprint: hex::encode(fingerprint),
    })
}

fn hosts(certificate: &X509Certificate<'_>) -> Result<Vec<String>, IdentityError> {
    let names = certificate.subject_alternative_name().map_err(|_| IdentityError::Unreadable)?;
    let names = names.iter().flat_map(|extension| &extension.value.general_names);
    Ok(names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(printable(name)),
            GeneralName::IPAddress(bytes) => address(bytes).map(|address| address.to_string()),
            _ => None,
        })
        .collect())
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from).ok();
    v4.or_else(|| <[u8; 16]>::try_from(bytes).map(IpAddr::from).ok())
}

/// A foreign certificate must not drive the reader's terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

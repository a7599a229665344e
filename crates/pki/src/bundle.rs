//! Several authorities of one cluster in one file: what is trusted while one replaces the other.

use rustls_pki_types::{CertificateDer, pem::PemObject};
use thiserror::Error;

use crate::{
    identity::{self, IdentityError},
    name::ClusterName,
};

/// Authorities in one bundle: each is tried at every handshake.
const AUTHORITIES_MAX: usize = 8;

/// One PEM text of all authorities in `pems`, each once, in the order given.
///
/// # Errors
/// If a text is not PEM of certificates, one of them is not a cluster's authority, they are of
/// different clusters, or there are none or more than 8.
pub fn bundle_authorities<T: AsRef<str>>(pems: &[T]) -> Result<String, BundleError> {
    let mut authorities: Vec<CertificateDer<'static>> = Vec::new();
    let mut cluster: Option<ClusterName> = None;
    for pem in pems {
        for certificate in CertificateDer::pem_slice_iter(pem.as_ref().as_bytes()) {
            let certificate = certificate.map_err(|_| BundleError::Pem)?;
            let parsed = identity::parse(&certificate).map_err(BundleError::Certificate)?;
            if !parsed.is_ca() {
                return Err(BundleError::NotAuthority);
            }
            let of = identity::authority_cluster(&parsed).map_err(BundleError::Certificate)?;
            match &cluster {
                Some(first) if *first != of => {
                    return Err(BundleError::Clusters { one: first.clone(), other: of });
                }
                _ => cluster = Some(of),
            }
            if !authorities.contains(&certificate) {
                authorities.push(certificate);
            }
        }
    }
    if authorities.is_empty() || authorities.len() > AUTHORITIES_MAX {
        return Err(BundleError::Count(authorities.len()));
    }
    Ok(authorities.iter().map(|der| encode(der)).collect())
}

/// Why authorities cannot stand in one file.
#[derive(Debug, Error)]
pub enum BundleError {
    /// Damaged PEM.
    #[error("a file is not intact PEM; copy it again from where it was made")]
    Pem,
    /// None or too many.
    #[error("{0} authorities are not a bundle; give 1 to {AUTHORITIES_MAX} ca.pem files")]
    Count(usize),
    /// A client's or node's certificate.
    #[error("a certificate is not an authority's; give the ca.pem of each authority")]
    NotAuthority,
    /// One without a cluster's name.
    #[error("a certificate is not that of a cluster's authority: {0}")]
    Certificate(#[source] IdentityError),
    /// Trusting both would let in either's nodes.
    #[error("one authority is {one}'s and another {other}'s; bundle those of one cluster")]
    Clusters {
        /// One.
        one: ClusterName,
        /// Another.
        other: ClusterName,
    },
}

/// RFC 7468: lines of 64 characters.
fn encode(der: &[u8]) -> String {
    pem::encode_config(
        &pem::Pem::new("CERTIFICATE", der),
        pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF),
    )
}

//! Making a cluster's authority and issuing certificates from it.
//!
//! ECDSA P-256 throughout: every TLS stack takes it. The authority remembers its cluster as
//! `spiffe://<cluster>` in its own certificate, so that nobody can issue for another one by a slip
//! of the hand. Keys and serial numbers come from the operating system's randomness.

use std::{fmt, net::IpAddr, time::SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, DnsName, pem::PemObject};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    dates::{DAY_SECS, day, since_epoch, unix_secs},
    identity::{self, IdentityError, Kind},
    name::{ClusterName, NodeName, PrincipalName, shown},
};

/// Longest validity that is issued, in days: 20 years, an authority's lifetime.
pub const DAYS_MAX: u32 = 7_305;

/// Most host names and addresses in one certificate.
pub const HOSTS_MAX: usize = 64;

/// Makes a new self-signed authority for a cluster, valid for `days` from `now`.
///
/// # Errors
/// If `days` is not 1 to [`DAYS_MAX`], or the clock or the randomness is unusable.
pub fn new_authority(
    cluster: &ClusterName,
    days: u32,
    now: SystemTime,
) -> Result<Issued, IssueError> {
    let mut params = params(format!("{cluster} Conclave CA"), &Validity::new(days, now)?)?;
    params.subject_alt_names = vec![uri_name(identity::authority_uri(cluster))?];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = new_key()?;
    let certificate = params.self_signed(&*key).map_err(IssueError::Certificate)?;
    Ok(Issued { certificate_pem: certificate.pem(), key_pem: PrivateKeyPem::of(&key) })
}

/// A cluster's authority, ready to issue.
pub struct Authority {
    certificate: CertificateDer<'static>,
    cluster: ClusterName,
    not_before: i64,
    not_after: i64,
    key: Zeroizing<KeyPair>,
}

impl Authority {
    /// Loads an authority that [`new_authority`] made.
    ///
    /// # Errors
    /// If there is not exactly one certificate, it is not that of a cluster's authority, or the
    /// key is not its key.
    pub fn load(certificate_pem: &str, key_pem: &str) -> Result<Self, IssueError> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(certificate_pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| IssueError::AuthorityPem)?;
        let [certificate] = <[CertificateDer<'static>; 1]>::try_from(certificates)
            .map_err(|_| IssueError::AuthorityPem)?;
        let key = KeyPair::from_pem(key_pem).map_err(|_| IssueError::AuthorityKey)?;
        let key = Zeroizing::new(key);

        let parsed = identity::parse(&certificate).map_err(IssueError::AuthorityIdentity)?;
        let signs = matches!(parsed.key_usage(), Ok(Some(usage)) if usage.value.key_cert_sign());
        if !parsed.is_ca() || !signs {
            return Err(IssueError::NotAuthority);
        }
        let cluster =
            identity::authority_cluster(&parsed).map_err(IssueError::AuthorityIdentity)?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(IssueError::AuthorityKeyMismatch);
        }
        let not_before = parsed.validity().not_before.timestamp();
        let not_after = parsed.validity().not_after.timestamp();
        Ok(Self { certificate, cluster, not_before, not_after, key })
    }

    /// The cluster that this authority issues for.
    pub fn cluster(&self) -> &ClusterName {
        &self.cluster
    }

    /// Issues a node's certificate, for the host names and addresses that clients reach it by.
    ///
    /// # Errors
    /// If there are no hosts or more than [`HOSTS_MAX`], one is neither a DNS name nor an IP
    /// address, or the validity is not within the authority's.
    pub fn issue_node(
        &self,
        name: &NodeName,
        hosts: &[String],
        days: u32,
        now: SystemTime,
    ) -> Result<Issued, IssueError> {
        if hosts.is_empty() || hosts.len() > HOSTS_MAX {
            return Err(IssueError::HostCount(hosts.len()));
        }
        let hosts = hosts.iter().map(|host| host_name(host)).collect::<Result<Vec<_>, _>>()?;
        let usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(Kind::Node, name.as_ref(), hosts, usages, days, now)
    }

    /// Issues a client's certificate.
    ///
    /// # Errors
    /// If the validity is not within the authority's.
    pub fn issue_client(
        &self,
        name: &PrincipalName,
        days: u32,
        now: SystemTime,
    ) -> Result<Issued, IssueError> {
        let usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(Kind::Client, name.as_ref(), Vec::new(), usages, days, now)
    }

    fn issue(
        &self,
        kind: Kind,
        name: &str,
        hosts: Vec<SanType>,
        usages: Vec<ExtendedKeyUsagePurpose>,
        days: u32,
        now: SystemTime,
    ) -> Result<Issued, IssueError> {
        let mut params = params(name.to_owned(), &self.validity(days, now)?)?;
        params.subject_alt_names = vec![uri_name(identity::uri(&self.cluster, kind, name))?];
        params.subject_alt_names.extend(hosts);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages;
        params.use_authority_key_identifier_extension = true;
        let issuer = Issuer::from_ca_cert_der(&self.certificate, &*self.key)
            .map_err(IssueError::Certificate)?;
        let key = new_key()?;
        let certificate = params.signed_by(&*key, &issuer).map_err(IssueError::Certificate)?;
        Ok(Issued { certificate_pem: certificate.pem(), key_pem: PrivateKeyPem::of(&key) })
    }

    /// A certificate that outlived its authority would end without a warning on its own date.
    fn validity(&self, days: u32, now: SystemTime) -> Result<Validity, IssueError> {
        let now_secs = unix_secs(now).ok_or(IssueError::Clock)?;
        let mut validity = Validity::new(days, now)?;
        if self.not_after < now_secs {
            return Err(IssueError::AuthorityExpired { day: day(self.not_after) });
        }
        if now_secs < self.not_before {
            return Err(IssueError::AuthorityNotYetValid { day: day(self.not_before) });
        }
        if validity.not_after > self.not_after {
            let days_left = (self.not_after - now_secs) / DAY_SECS;
            return Err(IssueError::Outlives { day: day(self.not_after), days_left });
        }
        validity.not_before = validity.not_before.max(self.not_before);
        Ok(validity)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("cluster", &self.cluster)
            .field("not_after", &day(self.not_after))
            .finish_non_exhaustive()
    }
}

/// A new certificate with its private key.
#[derive(Debug)]
pub struct Issued {
    /// The certificate.
    pub certificate_pem: String,
    /// Its private key.
    pub key_pem: PrivateKeyPem,
}

/// A private key as PKCS#8 PEM: wiped when dropped, hidden from `Debug`.
pub struct PrivateKeyPem(Zeroizing<String>);

impl PrivateKeyPem {
    fn of(key: &KeyPair) -> Self {
        Self(Zeroizing::new(key.serialize_pem()))
    }

    /// The PEM text, to be written with [`write_private`](crate::write_private).
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PrivateKeyPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKeyPem(hidden)")
    }
}

/// Why nothing was issued.
#[derive(Debug, Error)]
pub enum IssueError {
    /// A validity outside the limits.
    #[error("{0} days is not a validity; choose 1 to {DAYS_MAX} days")]
    Days(u32),
    /// A clock before 1970 or after 9999.
    #[error("the clock is outside 1970 to 9999; set this machine's clock")]
    Clock,
    /// No hosts or too many.
    #[error("a node's certificate needs 1 to {HOSTS_MAX} host names or addresses, not {0}")]
    HostCount(usize),
    /// Neither a DNS name nor an IP address.
    #[error("{0:?} is neither a DNS name nor an IP address; give it without port, scheme or `*`")]
    Host(String),
    /// Not PEM, or not exactly one certificate.
    #[error("the authority's file must hold exactly one PEM certificate; give the CA's own file")]
    AuthorityPem,
    /// Not a key, or of an unknown algorithm.
    #[error("the authority's key cannot be read; give the PKCS#8 PEM file made with the CA")]
    AuthorityKey,
    /// The key belongs to another certificate.
    #[error("the key is not the authority certificate's; give the two files made together")]
    AuthorityKeyMismatch,
    /// A certificate that may sign no others.
    #[error("the certificate is not an authority's (CA with keyCertSign); give the CA's file")]
    NotAuthority,
    /// The authority's certificate does not say which cluster it is of.
    #[error("the authority's certificate has no usable spiffe://CLUSTER name: {0}")]
    AuthorityIdentity(#[source] IdentityError),
    /// The authority is too old.
    #[error("the authority expired on {day}; make a new one and issue every certificate again")]
    AuthorityExpired {
        /// Its last day.
        day: String,
    },
    /// The authority is from the future, or this machine's clock from the past.
    #[error("the authority is valid only from {day}; check this machine's clock")]
    AuthorityNotYetValid {
        /// Its first day.
        day: String,
    },
    /// The certificate would be valid longer than its authority.
    #[error("the authority expires on {day}; ask for at most {days_left} days or make a new one")]
    Outlives {
        /// The authority's last day.
        day: String,
        /// Whole days until then.
        days_left: i64,
    },
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness; nothing was issued, try again")]
    Randomness,
    /// The certificate could not be made.
    #[error("the certificate could not be made: {0}")]
    Certificate(#[source] rcgen::Error),
}

/// Clocks of a fleet differ: a certificate is valid from a little before it was made.
const BACKDATED_SECS: i64 = 5 * 60;

/// Unix seconds.
struct Validity {
    not_before: i64,
    not_after: i64,
}

impl Validity {
    fn new(days: u32, now: SystemTime) -> Result<Self, IssueError> {
        if days == 0 || days > DAYS_MAX {
            return Err(IssueError::Days(days));
        }
        let now = unix_secs(now).ok_or(IssueError::Clock)?;
        let not_after = now + i64::from(days) * DAY_SECS;
        Ok(Self { not_before: now - BACKDATED_SECS, not_after })
    }
}

fn params(common_name: String, validity: &Validity) -> Result<CertificateParams, IssueError> {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.serial_number = Some(new_serial()?);
    params.not_before = epoch + since_epoch(validity.not_before);
    params.not_after = epoch + since_epoch(validity.not_after);
    Ok(params)
}

/// 16 random bytes, of which the first two bits are fixed to 01: a positive number that is always
/// 16 bytes long (RFC 5280 section 4.1.2.2).
fn new_serial() -> Result<SerialNumber, IssueError> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| IssueError::Randomness)?;
    bytes[0] = bytes[0] & 0x3f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn new_key() -> Result<Zeroizing<KeyPair>, IssueError> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256);
    key.map(Zeroizing::new).map_err(IssueError::Certificate)
}

fn uri_name(uri: String) -> Result<SanType, IssueError> {
    uri.try_into().map(SanType::URI).map_err(IssueError::Certificate)
}

fn host_name(host: &str) -> Result<SanType, IssueError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let refused = || IssueError::Host(shown(host));
    // Verifiers refuse the trailing dot, so a certificate with one would serve nobody.
    if DnsName::try_from(host).is_err() || host.ends_with('.') {
        return Err(refused());
    }
    host.to_owned().try_into().map(SanType::DnsName).map_err(|_| refused())
}

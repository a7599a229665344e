//! One side's own TLS material: the authority it trusts, its certificate and its key.
//!
//! Loading checks all that can be checked before a port is bound: the key is the certificate's,
//! the certificate names somebody of the right kind, and it chains to the authority at this time.
//! To replace it without a restart, read the files again ([`TlsPem`]), check them whole, and build
//! new configurations.

use std::{fmt, path::PathBuf, sync::Arc, time::SystemTime};

use rustls::{
    CertificateError, RootCertStore,
    client::verify_server_cert_signed_by_trust_anchor,
    crypto::CryptoProvider,
    server::{ParsedCertificate, WebPkiClientVerifier},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{
    dates::{day, unix_secs},
    files::{self, FileError},
    identity::{Identity, IdentityError, Kind, peer_identity},
    provider::provider,
};

/// Where a side's TLS material lies, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authorities that are trusted: one, or several while one replaces the other.
    pub ca: PathBuf,
    /// This side's certificate, followed by intermediate ones if there are any.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// The files as they were read, unchecked.
pub struct TlsPem {
    ca: Zeroizing<Vec<u8>>,
    cert: Zeroizing<Vec<u8>>,
    key: Zeroizing<Vec<u8>>,
}

impl TlsPem {
    /// Reads the files.
    ///
    /// # Errors
    /// If one cannot be read, or the key is open to every user.
    pub fn read(files: &TlsFiles) -> Result<Self, FileError> {
        Ok(Self {
            ca: files::read(&files.ca)?,
            cert: files::read(&files.cert)?,
            key: files::read_private(&files.key)?,
        })
    }

    /// SHA-256 over the three: tells whether anything changed since. Not for publication, since the
    /// key is in it.
    pub fn digest(&self) -> [u8; 32] {
        let mut digest = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        for part in [&self.ca, &self.cert, &self.key] {
            digest.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            digest.update(part);
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.finish().as_ref());
        bytes
    }

    /// Checks them whole.
    ///
    /// # Errors
    /// As [`TlsMaterial::from_pem`].
    pub fn check(&self, kinds: &[Kind], now: SystemTime) -> Result<TlsMaterial, MaterialError> {
        TlsMaterial::from_pem(&self.ca, &self.cert, &self.key, kinds, now)
    }
}

impl fmt::Debug for TlsPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsPem(hidden)")
    }
}

/// TLS material that was loaded and checked.
#[derive(Clone)]
pub struct TlsMaterial {
    identity: Identity,
    not_after: i64,
    authority_not_after: i64,
    pub(crate) roots: Arc<RootCertStore>,
    pub(crate) own: Arc<CertifiedKey>,
}

impl TlsMaterial {
    /// Reads and checks the files. `kinds` is what the certificate may be of.
    ///
    /// # Errors
    /// If a file cannot be read, a key is open to every user, or as [`TlsMaterial::from_pem`].
    pub fn load(files: &TlsFiles, kinds: &[Kind], now: SystemTime) -> Result<Self, MaterialError> {
        TlsPem::read(files)?.check(kinds, now)
    }

    /// Checks material that is already in memory.
    ///
    /// # Errors
    /// If a part cannot be read, the key is not the certificate's, the certificate is not of one
    /// of `kinds`, or it does not chain to the authority at `now`.
    pub fn from_pem(
        ca: &[u8],
        cert: &[u8],
        key: &[u8],
        kinds: &[Kind],
        now: SystemTime,
    ) -> Result<Self, MaterialError> {
        let authorities = certificates(ca, Part::Ca)?;
        let roots = Arc::new(roots(&authorities)?);
        let chain = certificates(cert, Part::Certificate)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| MaterialError::Key)?;
        let identity = peer_identity(&chain)?;
        if !kinds.contains(&identity.kind()) {
            return Err(MaterialError::Kind { identity });
        }
        let provider = provider();
        check_chain(&identity, &chain, &roots, &provider, now)?;
        let not_after = crate::identity::parse(&chain[0])?.validity().not_after.timestamp();
        let authority_not_after = issuing_authority_end(&identity, &chain, &authorities, now)?;
        let own = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => MaterialError::KeyMismatch,
            _ => MaterialError::Key,
        })?;
        Ok(Self { identity, not_after, authority_not_after, roots, own: Arc::new(own) })
    }

    /// Whom this side's own certificate names.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// When this side's own certificate expires, in Unix seconds: to warn in time.
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    /// When the authority that this side's certificate rests on expires, in Unix seconds. The
    /// latest, if several of those that are trusted vouch for it.
    pub fn authority_not_after(&self) -> i64 {
        self.authority_not_after
    }

    /// How many authorities are trusted: two while one replaces the other.
    pub fn authorities(&self) -> usize {
        self.roots.len()
    }

    /// Whether this may take the place of `old`: it must name the same node or client.
    ///
    /// # Errors
    /// If it names somebody else.
    pub fn check_replaces(&self, old: &Self) -> Result<(), MaterialError> {
        let same = |name: &Identity| (name.cluster().clone(), name.kind(), name.name().to_owned());
        if same(&self.identity) == same(&old.identity) {
            return Ok(());
        }
        let (found, wanted) = (self.identity.clone(), old.identity.clone());
        Err(MaterialError::Other { found: Box::new(found), wanted: Box::new(wanted) })
    }

    /// Whether a chain that was let in before would be let in again at `now`: it has not expired,
    /// and its authority is still trusted.
    ///
    /// # Errors
    /// What the verifier said.
    pub fn check_still_trusted(
        &self,
        chain: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<(), rustls::Error> {
        let [end_entity, intermediates @ ..] = chain else {
            return Err(rustls::Error::NoCertificatesPresented);
        };
        let secs = unix_secs(now).ok_or(rustls::Error::FailedToGetCurrentTime)?.unsigned_abs();
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(secs));
        WebPkiClientVerifier::builder_with_provider(self.roots.clone(), provider())
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?
            .verify_client_cert(end_entity, intermediates, now)
            .map(drop)
    }
}

impl fmt::Debug for TlsMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsMaterial")
            .field("identity", &self.identity)
            .field("not_after", &day(self.not_after))
            .field("authority_not_after", &day(self.authority_not_after))
            .finish_non_exhaustive()
    }
}

/// Why TLS material cannot be used.
#[derive(Debug, Error)]
pub enum MaterialError {
    /// A file could not be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// A part that holds no readable certificate.
    #[error("the {0} file holds no intact PEM certificate; copy it again from where it was issued")]
    Certificates(Part),
    /// No key, or of an unknown kind.
    #[error(
        "the key file holds no usable PEM private key; give the file issued with the certificate"
    )]
    Key,
    /// The key of another certificate.
    #[error("the key is not the certificate's; give the two files issued together")]
    KeyMismatch,
    /// The certificate names nobody.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A client's certificate where a node's must be, or the other way round.
    #[error(
        "the certificate of {identity} is a {}'s, which cannot be used here; \
         issue one with `conclave pki issue {} NAME`",
        identity.kind(), other(identity.kind())
    )]
    Kind {
        /// Whom it names.
        identity: Identity,
    },
    /// Somebody else's certificate in the place of this side's.
    #[error(
        "the certificate is now of {found}, but this is {wanted}; \
         a name changes only with a restart: put {wanted}'s certificate back"
    )]
    Other {
        /// Whom it names.
        found: Box<Identity>,
        /// Whom it must name.
        wanted: Box<Identity>,
    },
    /// Too old.
    #[error("the certificate of {identity} expired on {day}; {}", reissue(identity))]
    Expired {
        /// Whom it names.
        identity: Identity,
        /// Its last day.
        day: String,
    },
    /// From the future, or this machine's clock from the past.
    #[error(
        "the certificate of {identity} is valid only from {day}; check this machine's clock, or {}",
        reissue(identity)
    )]
    NotYetValid {
        /// Whom it names.
        identity: Identity,
        /// Its first day.
        day: String,
    },
    /// A chain that does not reach the authority, or not for this use.
    #[error(
        "the certificate of {identity} does not verify against the CA file ({source}); \
         use the CA that issued it, or {}",
        reissue(identity)
    )]
    Chain {
        /// Whom it names.
        identity: Identity,
        /// What the verifier said.
        source: Box<rustls::Error>,
    },
    /// A clock before 1970 or after 9999.
    #[error("the clock is outside 1970 to 9999; set this machine's clock")]
    Clock,
}

/// Which of the files is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The authorities.
    Ca,
    /// This side's own certificate.
    Certificate,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Ca => "CA",
            Part::Certificate => "certificate",
        })
    }
}

fn other(kind: Kind) -> Kind {
    match kind {
        Kind::Client => Kind::Node,
        Kind::Node => Kind::Client,
    }
}

fn reissue(identity: &Identity) -> String {
    format!("issue a new one with `conclave pki issue {} {}`", identity.kind(), identity.name())
}

fn certificates(pem: &[u8], part: Part) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| MaterialError::Certificates(part))?;
    if certificates.is_empty() {
        return Err(MaterialError::Certificates(part));
    }
    Ok(certificates)
}

fn roots(authorities: &[CertificateDer<'static>]) -> Result<RootCertStore, MaterialError> {
    let mut roots = RootCertStore::empty();
    for certificate in authorities {
        roots.add(certificate.clone()).map_err(|_| MaterialError::Certificates(Part::Ca))?;
    }
    Ok(roots)
}

/// When the authority ends that the chain rests on: the last of those that alone vouch for it.
fn issuing_authority_end(
    identity: &Identity,
    chain: &[CertificateDer<'static>],
    authorities: &[CertificateDer<'static>],
    now: SystemTime,
) -> Result<i64, MaterialError> {
    let mut end = None;
    for authority in authorities {
        let alone = Arc::new(roots(std::slice::from_ref(authority))?);
        if check_chain(identity, chain, &alone, &provider(), now).is_ok() {
            end =
                end.max(Some(crate::identity::parse(authority)?.validity().not_after.timestamp()));
        }
    }
    end.ok_or(MaterialError::Certificates(Part::Ca))
}

/// Everybody dials, so every certificate must do for a TLS client; a node's also for a server.
fn check_chain(
    identity: &Identity,
    chain: &[CertificateDer<'static>],
    roots: &Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
    now: SystemTime,
) -> Result<(), MaterialError> {
    let secs = unix_secs(now).ok_or(MaterialError::Clock)?.unsigned_abs();
    let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(secs));
    let refused = |source| chain_error(identity.clone(), source);
    let [own, intermediates @ ..] = chain else {
        return Err(MaterialError::Certificates(Part::Certificate));
    };
    WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
        .build()
        .map_err(|_| MaterialError::Certificates(Part::Ca))?
        .verify_client_cert(own, intermediates, now)
        .map_err(refused)?;
    if identity.kind() == Kind::Node {
        let parsed = ParsedCertificate::try_from(own).map_err(refused)?;
        let algorithms = provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, algorithms)
            .map_err(refused)?;
    }
    Ok(())
}

fn chain_error(identity: Identity, source: rustls::Error) -> MaterialError {
    let secs = |time: UnixTime| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    match source {
        rustls::Error::InvalidCertificate(CertificateError::ExpiredContext {
            not_after, ..
        }) => MaterialError::Expired { identity, day: day(secs(not_after)) },
        rustls::Error::InvalidCertificate(CertificateError::NotValidYetContext {
            not_before,
            ..
        }) => MaterialError::NotYetValid { identity, day: day(secs(not_before)) },
        source => MaterialError::Chain { identity, source: Box::new(source) },
    }
}

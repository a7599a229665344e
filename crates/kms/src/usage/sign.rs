//! Sign and Verify.

use std::sync::Arc;

use conclave_crypto::rsa::{Padding, Scheme};
use conclave_crypto::{Hash, SignError, ToSign, VerifyError};
use conclave_proto::v1;

use crate::action::Action;
use crate::audit_entry::Told;
use crate::computation::Computed;
use crate::fields::{GrantTokens, SignedMessage, Tagged};
use crate::invalid::Invalid;
use crate::key_ref::KeyRef;
use crate::material::{Pair, Public};
use crate::operation::{Operation, Use};
use crate::plan::DecideError;
use crate::records::KeyRecord;
use crate::refusal::Refusal;
use crate::response::Response;
use crate::spec::{KeySpec, KeyUsage, SigningAlgorithm, named};
use crate::work::{Stop, Work};

named! {
    /// What the message of a signature is.
    MessageType {
        Raw = "RAW",
        Digest = "DIGEST",
        ExternalMu = "EXTERNAL_MU",
    }
}

/// What is signed or verified, and how.
#[derive(Debug)]
struct Signing {
    key: KeyRef,
    message: SignedMessage,
    message_type: MessageType,
    algorithm: SigningAlgorithm,
    dry_run: bool,
}

impl Signing {
    fn parse(
        key: &str,
        message: Vec<u8>,
        message_type: &str,
        algorithm: &str,
        grant_tokens: &[String],
        dry_run: bool,
    ) -> Result<Self, Refusal> {
        GrantTokens::parse(grant_tokens)?;
        let message_type = match message_type {
            "" => MessageType::Raw,
            text => MessageType::parse("messageType", text)?,
        };
        if algorithm.is_empty() {
            return Err(Invalid::Missing { member: "signingAlgorithm" }.into());
        }
        let algorithm = SigningAlgorithm::parse("signingAlgorithm", algorithm)?;
        let fits = match message_type {
            MessageType::Raw => algorithm != SigningAlgorithm::Ed25519PhSha512,
            MessageType::Digest => !matches!(
                algorithm,
                SigningAlgorithm::Ed25519Sha512 | SigningAlgorithm::MlDsaShake256
            ),
            MessageType::ExternalMu => algorithm == SigningAlgorithm::MlDsaShake256,
        };
        if !fits {
            let (message_type, algorithm) = (message_type.name(), algorithm.name());
            return Err(Invalid::MessageTypeOf { message_type, algorithm }.into());
        }
        let message = SignedMessage::parse(message)?;
        Ok(Self { key: KeyRef::parse(key)?, message, message_type, algorithm, dry_run })
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.key(&self.key);
        told.put("SigningAlgorithm", self.algorithm.name());
        told.put("MessageType", self.message_type.name());
        told.dry_run(self.dry_run);
    }

    /// The key, if it is one for this.
    fn key(&self, work: &mut Work<'_>, action: Action) -> Result<Arc<KeyRecord>, Stop> {
        let key = work.usable_key(&self.key, KeyUsage::SignVerify, action)?;
        self.check_algorithm(key.spec)?;
        Ok(key)
    }

    fn check_algorithm(&self, spec: KeySpec) -> Result<(), Refusal> {
        if spec.signing_algorithms().contains(&self.algorithm) {
            return Ok(());
        }
        let (algorithm, spec) = (self.algorithm.name(), spec.name());
        Err(Refusal::AlgorithmOfSpec { algorithm, spec })
    }

    fn over(&self) -> ToSign<'_> {
        match self.message_type {
            MessageType::Raw => ToSign::Message(self.message.bytes()),
            MessageType::Digest | MessageType::ExternalMu => ToSign::Digest(self.message.bytes()),
        }
    }

    fn digest_length(&self) -> Refusal {
        Invalid::DigestLength { algorithm: self.algorithm.name() }.into()
    }

    fn sign(&self, pair: &Pair) -> Result<Vec<u8>, SignError> {
        let over = self.over();
        match pair {
            Pair::RsaSign(key) => key.sign(rsa_scheme(self.algorithm), over),
            Pair::Ecdsa(key) => key.sign(over),
            Pair::Ed25519(key) => match self.message_type {
                MessageType::Raw => Ok(key.sign(self.message.bytes()).to_vec()),
                _ => key.sign_prehashed(over).map(Into::into),
            },
            Pair::MlDsa(key) => key.sign(over),
            Pair::RsaDecrypt(_) | Pair::Ecdh(_) | Pair::MlKem(_) => Err(SignError::Failed),
        }
    }

    fn verify(&self, public: Public<'_>, signature: &[u8]) -> Result<(), Refusal> {
        let over = self.over();
        let verified = match public {
            Public::Rsa(key) => key.verify(rsa_scheme(self.algorithm), over, signature),
            Public::Ecdsa(key) => key.verify(over, signature),
            Public::Ed25519(key) => match self.message_type {
                MessageType::Raw => key
                    .verify(self.message.bytes(), signature)
                    .map_err(|_| VerifyError::BadSignature),
                _ => key.verify_prehashed(over, signature),
            },
            Public::MlDsa(key) => key.verify(over, signature),
        };
        verified.map_err(|error| match error {
            VerifyError::Digest(_) => self.digest_length(),
            VerifyError::BadSignature => Refusal::InvalidSignature,
        })
    }
}

/// Only of the algorithms of RSA keys, which is checked before.
fn rsa_scheme(algorithm: SigningAlgorithm) -> Scheme {
    use SigningAlgorithm as Alg;
    let padding = match algorithm {
        Alg::RsassaPssSha256 | Alg::RsassaPssSha384 | Alg::RsassaPssSha512 => Padding::Pss,
        _ => Padding::Pkcs1v15,
    };
    let hash = match algorithm {
        Alg::RsassaPssSha384 | Alg::RsassaPkcs1Sha384 => Hash::Sha384,
        Alg::RsassaPssSha512 | Alg::RsassaPkcs1Sha512 => Hash::Sha512,
        _ => Hash::Sha256,
    };
    Scheme { padding, hash }
}

#[derive(Debug)]
pub(crate) struct Sign {
    signing: Arc<Signing>,
    signed: Computed<Result<Vec<u8>, SignError>>,
}

impl TryFrom<v1::SignRequest> for Sign {
    type Error = Refusal;

    fn try_from(sent: v1::SignRequest) -> Result<Self, Refusal> {
        let v1::SignRequest { key_id, message, message_type, grant_tokens, .. } = sent;
        let algorithm = &sent.signing_algorithm;
        let signing = Signing::parse(
            &key_id,
            message,
            &message_type,
            algorithm,
            &grant_tokens,
            sent.dry_run,
        )?;
        Ok(Self { signing: Arc::new(signing), signed: Computed::default() })
    }
}

impl Operation for Sign {
    fn action(&self) -> Action {
        Action::Sign
    }

    fn tell(&self, told: &mut Told<'_>) {
        self.signing.tell(told);
    }
}

impl Use for Sign {
    fn perform(&self, work: &mut Work<'_>) -> Result<Response, Stop> {
        let key = self.signing.key(work, self.action())?;
        let (version, current) = work.current(&key)?;
        let signed = match work.pair(&key, current)? {
            Pair::RsaSign(_) => {
                let (key, signing) = (Arc::clone(&key), Arc::clone(&self.signing));
                let sign = move || match key.pair(version) {
                    Some(pair) => signing.sign(pair),
                    None => Err(SignError::Failed),
                };
                (*self.signed.get(current.id, sign)?).clone()
            }
            pair => self.signing.sign(pair),
        };
        let signature = signed.map_err(|error| match error {
            SignError::Digest(_) => Stop::from(self.signing.digest_length()),
            error @ SignError::Failed => DecideError::from(error).into(),
        })?;
        work.unless_dry_run(self.signing.dry_run)?;
        Ok(v1::SignResponse {
            key_id: work.domain.key_arn(key.id),
            signature,
            signing_algorithm: self.signing.algorithm.name().to_owned(),
        }
        .into())
    }
}

#[derive(Debug)]
pub(crate) struct Verify {
    signing: Signing,
    signature: Tagged,
}

impl TryFrom<v1::VerifyRequest> for Verify {
    type Error = Refusal;

    fn try_from(sent: v1::VerifyRequest) -> Result<Self, Refusal> {
        let v1::VerifyRequest { key_id, message, message_type, signature, grant_tokens, .. } = sent;
        let algorithm = &sent.signing_algorithm;
        let signing = Signing::parse(
            &key_id,
            message,
            &message_type,
            algorithm,
            &grant_tokens,
            sent.dry_run,
        )?;
        Ok(Self { signing, signature: Tagged::parse("signature", signature)? })
    }
}

impl Operation for Verify {
    fn action(&self) -> Action {
        Action::Verify
    }

    fn tell(&self, told: &mut Told<'_>) {
        self.signing.tell(told);
    }
}

impl Use for Verify {
    fn perform(&self, work: &mut Work<'_>) -> Result<Response, Stop> {
        let key = self.signing.key(work, self.action())?;
        let (_, current) = work.current(&key)?;
        let public = work.pair(&key, current)?.public().ok_or(Refusal::InvalidSignature)?;
        self.verify(public)?;
        work.unless_dry_run(self.signing.dry_run)?;
        Ok(self.response(work.domain.key_arn(key.id)).into())
    }
}

impl Verify {
    fn verify(&self, public: Public<'_>) -> Result<(), Refusal> {
        self.signing.verify(public, self.signature.bytes())
    }

    fn response(&self, key_id: String) -> v1::VerifyResponse {
        v1::VerifyResponse {
            key_id,
            signature_valid: true,
            signing_algorithm: self.signing.algorithm.name().to_owned(),
        }
    }
}

/// What Verify answers of a key of `spec` with this public key (SubjectPublicKeyInfo, DER): for published
/// vectors, which come without the private keys that a record needs. Nothing but the finding of the
/// key is left out, and no face leads here.
///
/// # Errors
/// The operation's refusals; [`Invalid::PublicKey`] for what is no public key of `spec`.
#[doc(hidden)]
pub fn verify_published(
    sent: v1::VerifyRequest,
    spec: KeySpec,
    spki: &[u8],
) -> Result<v1::VerifyResponse, Refusal> {
    let key_id = sent.key_id.clone();
    let asked = Verify::try_from(sent)?;
    asked.signing.check_algorithm(spec)?;
    let verified = Public::with_spki(spec, spki, |public| asked.verify(public));
    verified.map_err(|_| Invalid::PublicKey)??;
    if asked.signing.dry_run {
        return Err(Refusal::DryRun);
    }
    Ok(asked.response(key_id))
}

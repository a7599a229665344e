//! ECDSA (FIPS 186-5) on the curves of [`ec`](crate::ec), by aws-lc-rs. Signatures are DER.
//!
//! aws-lc draws the keys and the nonces itself, from the operating system.

use std::fmt;

use aws_lc_rs::encoding::{AsBigEndian, AsDer};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256K1_SHA256_ASN1,
    ECDSA_P256K1_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_ASN1_SIGNING,
    ECDSA_P521_SHA512_ASN1, ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
    EcdsaVerificationAlgorithm, KeyPair, ParsedPublicKey,
};

use crate::der;
use crate::ec::Curve;
use crate::keys::{GenerateError, KeyError, PAIRWISE};
use crate::secret::Secret;
use crate::signature::{SignError, ToSign, VerifyError, digest};

/// Signs. The private key is held, and wiped, by aws-lc; keep it parsed.
pub struct SigningKey {
    curve: Curve,
    pair: EcdsaKeyPair,
    public: VerifyingKey,
}

impl SigningKey {
    /// Makes a new pair and tests it. aws-lc draws it from the operating system.
    ///
    /// # Errors
    /// [`GenerateError`] if the pair does not fit together.
    pub fn generate(curve: Curve) -> Result<Self, GenerateError> {
        let failed = GenerateError { algorithm: curve.name() };
        let pair = EcdsaKeyPair::generate(signing(curve)).map_err(|_| failed)?;
        let key = Self::of_pair(curve, pair).map_err(|_| failed)?;
        key.check_pair().map_err(|_| failed)?;
        Ok(key)
    }

    /// A key from its PKCS#8 DER. Where it carries the public point too, that must be its own.
    ///
    /// # Errors
    /// [`KeyError`]: what is wrong with it.
    pub fn from_pkcs8(curve: Curve, pkcs8: &[u8]) -> Result<Self, KeyError> {
        der::private_key(pkcs8, curve.id())?;
        let pair = EcdsaKeyPair::from_pkcs8(signing(curve), pkcs8);
        Self::of_pair(curve, pair.map_err(|_| KeyError::Inconsistent)?)
    }

    fn of_pair(curve: Curve, pair: EcdsaKeyPair) -> Result<Self, KeyError> {
        let spki = pair.public_key().as_der().map_err(|_| KeyError::Inconsistent)?;
        let public = VerifyingKey::from_spki(curve, spki.as_ref())?;
        Ok(Self { curve, pair, public })
    }

    /// Its PKCS#8 (version 1) DER, which [`Self::from_pkcs8`] takes and
    /// [`ecdh::PrivateKey`](crate::ecdh::PrivateKey) too.
    ///
    /// # Panics
    /// If memory runs out.
    pub fn to_pkcs8(&self) -> Secret {
        const WRITES: &str = "a key that was parsed or made can be written";
        // As aws-lc keeps a key it writes it: made anew of its halves it always carries its point.
        let private = self.pair.private_key().as_be_bytes().expect(WRITES);
        let whole = EcdsaKeyPair::from_private_key_and_public_key(
            signing(self.curve),
            private.as_ref(),
            self.pair.public_key().as_ref(),
        );
        let document = whole.expect(WRITES).to_pkcs8v1().expect(WRITES);
        Secret::copy_from(document.as_ref())
    }

    /// Signs. Two signatures of one message differ: aws-lc draws a nonce for each.
    ///
    /// # Errors
    /// [`SignError::Digest`] if what is given is no digest of the curve's hash function.
    pub fn sign(&self, over: ToSign<'_>) -> Result<Vec<u8>, SignError> {
        let signature = match over {
            ToSign::Message(message) => self.pair.sign(&SystemRandom::new(), message),
            ToSign::Digest(bytes) => self.pair.sign_digest(&digest(self.curve.hash(), bytes)?),
        };
        Ok(signature.map_err(|_| SignError::Failed)?.as_ref().to_vec())
    }

    /// The public half.
    pub fn public(&self) -> &VerifyingKey {
        &self.public
    }

    /// Signs and verifies once: what a new pair has passed, and an imported one should.
    ///
    /// # Errors
    /// [`KeyError::Inconsistent`] if its own signature does not verify.
    pub fn check_pair(&self) -> Result<(), KeyError> {
        let over = ToSign::Message(PAIRWISE);
        let signature = self.sign(over).map_err(|_| KeyError::Inconsistent)?;
        self.public.verify(over, &signature).map_err(|_| KeyError::Inconsistent)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ecdsa::SigningKey").field("curve", &self.curve).finish_non_exhaustive()
    }
}

/// Verifies. Keep it parsed.
pub struct VerifyingKey {
    curve: Curve,
    key: ParsedPublicKey,
}

impl VerifyingKey {
    /// A key from its SubjectPublicKeyInfo DER: a point of this curve.
    ///
    /// # Errors
    /// [`KeyError`]: what is wrong with it.
    pub fn from_spki(curve: Curve, spki: &[u8]) -> Result<Self, KeyError> {
        der::public_key(spki, curve.id())?;
        let key = ParsedPublicKey::new(verification(curve), spki);
        Ok(Self { curve, key: key.map_err(|_| KeyError::Inconsistent)? })
    }

    /// Its SubjectPublicKeyInfo DER, the point uncompressed.
    ///
    /// # Panics
    /// If memory runs out.
    pub fn to_spki(&self) -> Vec<u8> {
        self.key.as_der().expect("a key that was parsed can be written").as_ref().to_vec()
    }

    /// The curve it is a point of.
    pub fn curve(&self) -> Curve {
        self.curve
    }

    /// Checks `signature`.
    ///
    /// # Errors
    /// [`VerifyError::Digest`] if what is given is no digest of the curve's hash function;
    /// [`VerifyError::BadSignature`] if the signature is not this key's over this.
    pub fn verify(&self, over: ToSign<'_>, signature: &[u8]) -> Result<(), VerifyError> {
        let verified = match over {
            ToSign::Message(message) => self.key.verify_sig(message, signature),
            ToSign::Digest(bytes) => {
                self.key.verify_digest_sig(&digest(self.curve.hash(), bytes)?, signature)
            }
        };
        verified.map_err(|_| VerifyError::BadSignature)
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ecdsa::VerifyingKey").field("curve", &self.curve).finish_non_exhaustive()
    }
}

fn signing(curve: Curve) -> &'static EcdsaSigningAlgorithm {
    match curve {
        Curve::P256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
        Curve::P384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
        Curve::P521 => &ECDSA_P521_SHA512_ASN1_SIGNING,
        Curve::Secp256k1 => &ECDSA_P256K1_SHA256_ASN1_SIGNING,
    }
}

fn verification(curve: Curve) -> &'static EcdsaVerificationAlgorithm {
    match curve {
        Curve::P256 => &ECDSA_P256_SHA256_ASN1,
        Curve::P384 => &ECDSA_P384_SHA384_ASN1,
        Curve::P521 => &ECDSA_P521_SHA512_ASN1,
        Curve::Secp256k1 => &ECDSA_P256K1_SHA256_ASN1,
    }
}

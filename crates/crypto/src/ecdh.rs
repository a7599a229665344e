//! ECDH (NIST SP 800-56A, 5.7.1.2) on P-256, P-384 and P-521, by aws-lc-rs.
//!
//! What comes out is the raw shared secret, the x coordinate: whoever uses it derives a key from it
//! first. Keys have the form that [`ecdsa`](crate::ecdsa) keys have. aws-lc draws new ones itself.

use std::fmt;

use aws_lc_rs::agreement::{
    self, Algorithm, ECDH_P256, ECDH_P384, ECDH_P521, ParsedPublicKey, UnparsedPublicKey, agree,
};
use aws_lc_rs::encoding::{AsBigEndian, AsDer, EcPrivateKeyBin, Pkcs8V1Der, PublicKeyX509Der};

use crate::der;
use crate::ec::Curve;
use crate::keys::{GenerateError, KeyError};
use crate::secret::Secret;

/// Agrees. The private key is held, and wiped, by aws-lc; keep it parsed.
pub struct PrivateKey {
    curve: Curve,
    key: agreement::PrivateKey,
    public: PublicKey,
}

impl PrivateKey {
    /// Makes a new pair and tests it. aws-lc draws it from the operating system.
    ///
    /// # Errors
    /// [`GenerateError`] if the pair does not fit together, or the curve is not offered for this.
    pub fn generate(curve: Curve) -> Result<Self, GenerateError> {
        let failed = GenerateError { algorithm: curve.name() };
        let algorithm = algorithm(curve).map_err(|_| failed)?;
        let key = agreement::PrivateKey::generate(algorithm).map_err(|_| failed)?;
        let key = Self::of_key(curve, key).map_err(|_| failed)?;
        key.check_pair().map_err(|_| failed)?;
        Ok(key)
    }

    /// A key from its PKCS#8 DER. Where it carries the public point too, that must be its own.
    ///
    /// # Errors
    /// [`KeyError`]: what is wrong with it.
    pub fn from_pkcs8(curve: Curve, pkcs8: &[u8]) -> Result<Self, KeyError> {
        let algorithm = algorithm(curve)?;
        der::private_key(pkcs8, curve.id())?;
        let key = agreement::PrivateKey::from_private_key_der(algorithm, pkcs8);
        Self::of_key(curve, key.map_err(|_| KeyError::Inconsistent)?)
    }

    fn of_key(curve: Curve, key: agreement::PrivateKey) -> Result<Self, KeyError> {
        let public = key.compute_public_key().map_err(|_| KeyError::Inconsistent)?;
        let spki: PublicKeyX509Der<'_> = public.as_der().map_err(|_| KeyError::Inconsistent)?;
        let public = PublicKey::from_spki(curve, spki.as_ref())?;
        Ok(Self { curve, key, public })
    }

    /// Its PKCS#8 (version 1) DER, as [`ecdsa::SigningKey`](crate::ecdsa::SigningKey) has it.
    ///
    /// # Panics
    /// If memory runs out.
    pub fn to_pkcs8(&self) -> Secret {
        const WRITES: &str = "a key that was parsed or made can be written";
        // As aws-lc keeps a key it writes it: made anew of its number it always carries its point.
        let private: EcPrivateKeyBin<'_> = self.key.as_be_bytes().expect(WRITES);
        let algorithm = algorithm(self.curve).expect(WRITES);
        let whole = agreement::PrivateKey::from_private_key(algorithm, private.as_ref());
        let whole = whole.expect(WRITES);
        let der: Pkcs8V1Der<'_> = whole.as_der().expect(WRITES);
        Secret::copy_from(der.as_ref())
    }

    /// The secret that this key and `peer`'s owner share: [`Curve::field_len`] bytes.
    ///
    /// # Errors
    /// [`AgreementError`] if `peer` is on another curve.
    pub fn agree(&self, peer: &PublicKey) -> Result<Secret, AgreementError> {
        let secret = |shared: &[u8]| Ok(Secret::copy_from(shared));
        agree(&self.key, peer.key.clone(), AgreementError, secret)
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Agrees with a new pair both ways: what a new pair has passed, and an imported one should.
    ///
    /// # Errors
    /// [`KeyError::Inconsistent`] if the two sides do not get the same secret.
    pub fn check_pair(&self) -> Result<(), KeyError> {
        let other = agreement::PrivateKey::generate(algorithm(self.curve)?);
        let other = Self::of_key(self.curve, other.map_err(|_| KeyError::Inconsistent)?)?;
        let here = self.agree(&other.public).map_err(|_| KeyError::Inconsistent)?;
        let there = other.agree(&self.public).map_err(|_| KeyError::Inconsistent)?;
        if here.ct_eq(there.expose()) { Ok(()) } else { Err(KeyError::Inconsistent) }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ecdh::PrivateKey").field("curve", &self.curve).finish_non_exhaustive()
    }
}

/// What a peer shows: a point of the curve, and not the one at infinity.
pub struct PublicKey {
    curve: Curve,
    key: ParsedPublicKey,
    spki: Vec<u8>,
}

impl PublicKey {
    /// A key from its SubjectPublicKeyInfo DER: a point of this curve.
    ///
    /// # Errors
    /// [`KeyError`]: what is wrong with it.
    pub fn from_spki(curve: Curve, spki: &[u8]) -> Result<Self, KeyError> {
        let algorithm = algorithm(curve)?;
        der::public_key(spki, curve.id())?;
        let key = ParsedPublicKey::try_from(UnparsedPublicKey::new(algorithm, spki));
        let key = key.map_err(|_| KeyError::Inconsistent)?;
        Ok(Self { curve, key, spki: spki.to_vec() })
    }

    /// Its SubjectPublicKeyInfo DER, as it came.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The curve it is a point of.
    pub fn curve(&self) -> Curve {
        self.curve
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ecdh::PublicKey").field("curve", &self.curve).finish_non_exhaustive()
    }
}

/// No secret came out: the peer's key is on another curve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no shared secret with this public key")]
pub struct AgreementError;

fn algorithm(curve: Curve) -> Result<&'static Algorithm, KeyError> {
    match curve {
        Curve::P256 => Ok(&ECDH_P256),
        Curve::P384 => Ok(&ECDH_P384),
        Curve::P521 => Ok(&ECDH_P521),
        Curve::Secp256k1 => Err(KeyError::NotForAgreement { curve: curve.name() }),
    }
}

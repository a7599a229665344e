//! RSA signatures: PSS and PKCS #1 v1.5.

use std::fmt;
use std::sync::OnceLock;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::PublicEncryptingKey;
use aws_lc_rs::signature::{
    KeyPair, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384,
    RSA_PKCS1_2048_8192_SHA512, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaKeyPair, RsaParameters, RsaSignatureEncoding,
};

use super::{Size, check_private, public_size};
use crate::digest::Hash;
use crate::keys::{GenerateError, KeyError, PAIRWISE};
use crate::secret::Secret;
use crate::signature::{SignError, ToSign, VerifyError, digest};

/// How a digest is padded to the modulus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Padding {
    /// RSASSA-PSS: MGF1 with the same hash function, a salt as long as the digest.
    Pss,
    /// RSASSA-PKCS1-v1_5.
    Pkcs1v15,
}

/// A way of signing with RSA.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scheme {
    /// The padding.
    pub padding: Padding,
    /// The hash function.
    pub hash: Hash,
}

impl Scheme {
    /// All of them. A key is for all, and says in none which one was meant.
    pub const ALL: [Self; 6] = [
        Self { padding: Padding::Pss, hash: Hash::Sha256 },
        Self { padding: Padding::Pss, hash: Hash::Sha384 },
        Self { padding: Padding::Pss, hash: Hash::Sha512 },
        Self { padding: Padding::Pkcs1v15, hash: Hash::Sha256 },
        Self { padding: Padding::Pkcs1v15, hash: Hash::Sha384 },
        Self { padding: Padding::Pkcs1v15, hash: Hash::Sha512 },
    ];

    /// Its place in [`Self::ALL`].
    fn place(self) -> usize {
        let among_hashes = match self.hash {
            Hash::Sha256 => 0,
            Hash::Sha384 => 1,
            Hash::Sha512 => 2,
        };
        match self.padding {
            Padding::Pss => among_hashes,
            Padding::Pkcs1v15 => 3 + among_hashes,
        }
    }

    fn encoding(self) -> &'static RsaSignatureEncoding {
        match (self.padding, self.hash) {
            (Padding::Pss, Hash::Sha256) => &RSA_PSS_SHA256,
            (Padding::Pss, Hash::Sha384) => &RSA_PSS_SHA384,
            (Padding::Pss, Hash::Sha512) => &RSA_PSS_SHA512,
            (Padding::Pkcs1v15, Hash::Sha256) => &RSA_PKCS1_SHA256,
            (Padding::Pkcs1v15, Hash::Sha384) => &RSA_PKCS1_SHA384,
            (Padding::Pkcs1v15, Hash::Sha512) => &RSA_PKCS1_SHA512,
        }
    }

    fn parameters(self) -> &'static RsaParameters {
        match (self.padding, self.hash) {
            (Padding::Pss, Hash::Sha256) => &RSA_PSS_2048_8192_SHA256,
            (Padding::Pss, Hash::Sha384) => &RSA_PSS_2048_8192_SHA384,
            (Padding::Pss, Hash::Sha512) => &RSA_PSS_2048_8192_SHA512,
            (Padding::Pkcs1v15, Hash::Sha256) => &RSA_PKCS1_2048_8192_SHA256,
            (Padding::Pkcs1v15, Hash::Sha384) => &RSA_PKCS1_2048_8192_SHA384,
            (Padding::Pkcs1v15, Hash::Sha512) => &RSA_PKCS1_2048_8192_SHA512,
        }
    }
}

/// Signs, at the price of a private operation. The private key is held, and wiped, by aws-lc.
pub struct SigningKey {
    size: Size,
    pair: RsaKeyPair,
    public: VerifyingKey,
}

impl SigningKey {
    /// Makes a new pair and tests it: up to many seconds of one processor. aws-lc draws it from the
    /// operating system.
    ///
    /// # Errors
    /// [`GenerateError`] if the pair does not fit together.
    pub fn generate(size: Size) -> Result<Self, GenerateError> {
        let failed = GenerateError { algorithm: size.name() };
        let pair = RsaKeyPair::generate(size.key_size()).map_err(|_| failed)?;
        let key = Self::of_pair(size, pair).map_err(|_| failed)?;
        key.check_pair().map_err(|_| failed)?;
        Ok(key)
    }

    /// A key from its PKCS#8 DER: of two primes, of this size, with an odd public exponent of at
    /// least 65537, and its parts of one another.
    ///
    /// # Errors
    /// [`KeyError`]: what is wrong with it.
    pub fn from_pkcs8(size: Size, pkcs8: &[u8]) -> Result<Self, KeyError> {
        check_private(size, pkcs8)?;
        let pair = RsaKeyPair::from_pkcs8(pkcs8);
        Self::of_pair(size, pair.map_err(|_| KeyError::Inconsistent)?)
    }

    fn of_pair(size: Size, pair: RsaKeyPair) -> Result<Self, KeyError> {
        let spki: PublicKeyX509Der<'_> =
            pair.public_key().as_der().map_err(|_| KeyError::Inconsistent)?;
        let public = VerifyingKey::from_spki(spki.as_ref())?;
        Ok(Self { size, pair, public })
    }

    /// Its PKCS#8 (version 1) DER.
    ///
    /// # Panics
    /// If memory runs out.
    pub fn to_pkcs8(&self) -> Secret {
        let der: Pkcs8V1Der<'_> =
            self.pair.as_der().expect("a key that was parsed or made can be written");
        Secret::copy_from(der.as_ref())
    }

    /// Signs. aws-lc draws the salt of PSS; PKCS #1 v1.5 always gives the same signature.
    ///
    /// # Errors
    /// [`SignError::Digest`] if what is given is no digest of the scheme's hash function.
    pub fn sign(&self, scheme: Scheme, over: ToSign<'_>) -> Result<Vec<u8>, SignError> {
        let mut signature = vec![0; self.size.modulus_len()];
        let (encoding, out) = (scheme.encoding(), &mut signature[..]);
        let signed = match over {
            ToSign::Message(message) => {
                self.pair.sign(encoding, &SystemRandom::new(), message, out)
            }
            ToSign::Digest(bytes) => {
                self.pair.sign_digest(encoding, &digest(scheme.hash, bytes)?, out)
            }
        };
        signed.map_err(|_| SignError::Failed)?;
        Ok(signature)
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
        let (scheme, over) = (Scheme::ALL[0], ToSign::Message(PAIRWISE));
        let signature = self.sign(scheme, over).map_err(|_| KeyError::Inconsistent)?;
        self.public.verify(scheme, over, &signature).map_err(|_| KeyError::Inconsistent)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("rsa::SigningKey").field("size", &self.size).finish_non_exhaustive()
    }
}

/// Verifies. Keep it parsed: aws-lc computes something of each modulus once.
pub struct VerifyingKey {
    size: Size,
    spki: Vec<u8>,
    /// aws-lc-rs parses a key for one scheme, so for those that are used, each when it first is.
    parsed: [OnceLock<Option<ParsedPublicKey>>; Scheme::ALL.len()],
}

impl VerifyingKey {
    /// A key from its SubjectPublicKeyInfo DER, of any of the sizes.
    ///
    /// # Errors
    /// [`KeyError`]: what is wrong with it.
    pub fn from_spki(spki: &[u8]) -> Result<Self, KeyError> {
        let size = public_size(spki)?;
        PublicEncryptingKey::from_der(spki).map_err(|_| KeyError::Inconsistent)?;
        Ok(Self { size, spki: spki.to_vec(), parsed: Default::default() })
    }

    /// Its SubjectPublicKeyInfo DER.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The size of its modulus.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Checks `signature`.
    ///
    /// # Errors
    /// [`VerifyError::Digest`] if what is given is no digest of the scheme's hash function;
    /// [`VerifyError::BadSignature`] if the signature is not this key's over this.
    pub fn verify(
        &self,
        scheme: Scheme,
        over: ToSign<'_>,
        signature: &[u8],
    ) -> Result<(), VerifyError> {
        let parse = || ParsedPublicKey::new(scheme.parameters(), &self.spki).ok();
        let key = self.parsed[scheme.place()].get_or_init(parse).as_ref();
        let key = key.ok_or(VerifyError::BadSignature)?;
        let verified = match over {
            ToSign::Message(message) => key.verify_sig(message, signature),
            ToSign::Digest(bytes) => key.verify_digest_sig(&digest(scheme.hash, bytes)?, signature),
        };
        verified.map_err(|_| VerifyError::BadSignature)
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("rsa::VerifyingKey").field("size", &self.size).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::Scheme;

    #[test]
    fn each_scheme_has_its_place() {
        for (place, scheme) in Scheme::ALL.into_iter().enumerate() {
            assert_eq!(scheme.place(), place);
        }
    }
}

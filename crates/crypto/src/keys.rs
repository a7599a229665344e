//! What all key pairs have in common: why bytes are no key, and why no key could be made.

/// Why bytes are no key of the algorithm that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not the DER of a PKCS#8, or bytes follow it.
    #[error(
        "not a private key in PKCS#8 DER with nothing after it; export the key unencrypted, as DER, not PEM"
    )]
    NotPkcs8,
    /// Not the DER of a SubjectPublicKeyInfo, or bytes follow it.
    #[error(
        "not a public key in SubjectPublicKeyInfo DER with nothing after it; send DER, not PEM"
    )]
    NotSpki,
    /// A key of another algorithm, curve or parameter set.
    #[error("not a key of {expected}")]
    OtherAlgorithm {
        /// What it should have been for.
        expected: &'static str,
    },
    /// An RSA key of another size, or of none that is offered.
    #[error("the RSA modulus has {found} bits, where {expected} are asked for")]
    RsaSize {
        /// Bits of the modulus that are asked for; what is offered, where any of them would do.
        expected: &'static str,
        /// Bits of this modulus.
        found: usize,
    },
    /// A public exponent that is even, or below 65537 (FIPS 186-5, A.1.1).
    #[error("the RSA public exponent is even or below 65537; make a key with 65537")]
    RsaExponent,
    /// A private key without its seed: an expanded key alone can be used, not stored in one form.
    #[error("the private key is without its seed; export it in the seed form")]
    NoSeed,
    /// The parts do not make a key: out of range, not on the curve, or not of one another.
    #[error("the parts of this key do not fit together or are out of range")]
    Inconsistent,
    /// The curve signs; it is not offered for key agreement.
    #[error("{curve} is not offered for key agreement")]
    NotForAgreement {
        /// Which curve.
        curve: &'static str,
    },
}

/// No key pair came out that fits together: randomness, processor or memory are not to be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "no {algorithm} key pair could be made that passes its pairwise consistency test; look at this machine's memory and processor before making keys"
)]
pub struct GenerateError {
    /// What was to be made.
    pub algorithm: &'static str,
}

/// What the pairwise consistency tests sign, encrypt or wrap.
pub(crate) const PAIRWISE: &[u8] = b"pairwise consistency test";

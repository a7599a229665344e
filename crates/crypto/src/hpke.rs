//! HPKE (RFC 9180): encryption to a public key, for shares on their way and for the intake key.
//!
//! One suite, base mode, one message per encapsulation: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256,
//! AES-256-GCM. A sealed message is the encapsulated key (32 bytes) ‖ ciphertext ‖ tag (16 bytes).
//! Base mode says nothing about the sender; whoever needs that signs (see [`crate::ed25519`]).

use std::fmt;

use ::hpke::aead::{AeadTag, AesGcm256};
use ::hpke::kdf::HkdfSha256;
use ::hpke::kem::X25519HkdfSha256;
use ::hpke::{
    Deserializable, Kem, OpModeR, OpModeS, Serializable, single_shot_open_inout_detached,
    single_shot_seal_with_rng,
};

use crate::entropy::{Entropy, EntropyRng};
use crate::secret::{Key, Secret};

const ENCAPSULATED_LEN: usize = 32;
const TAG_LEN: usize = 16;

/// How much longer a sealed message is than its plaintext, in bytes.
pub const OVERHEAD: usize = ENCAPSULATED_LEN + TAG_LEN;

/// The private half of an X25519 key pair.
pub struct HpkePrivateKey {
    private: Key,
    public: HpkePublicKey,
}

impl HpkePrivateKey {
    /// Draws 32 bytes of entropy and derives a key pair from them (RFC 9180, DeriveKeyPair).
    pub fn generate(entropy: &mut dyn Entropy) -> Self {
        let (private, public) = X25519HkdfSha256::gen_keypair_with_rng(&mut EntropyRng(entropy));
        let mut bytes = Key::zeroed();
        private.write_exact(bytes.expose_mut());
        Self { private: bytes, public: HpkePublicKey::of(&public) }
    }

    /// A stored private key back again.
    ///
    /// # Errors
    /// [`HpkeError::KeyLength`] unless there are exactly 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, HpkeError> {
        let private =
            Key::from_slice(bytes).map_err(|error| HpkeError::KeyLength { found: error.found })?;
        let public = HpkePublicKey::of(&X25519HkdfSha256::sk_to_pk(&decode(&private)));
        Ok(Self { private, public })
    }

    /// A copy of the private bytes, to be sealed and stored.
    pub fn to_secret(&self) -> Secret {
        Secret::copy_from(self.private.expose())
    }

    /// The public half.
    pub fn public(&self) -> HpkePublicKey {
        self.public
    }
}

impl fmt::Debug for HpkePrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HpkePrivateKey").field("public", &self.public).finish_non_exhaustive()
    }
}

/// The public half of an X25519 key pair.
///
/// Any 32 bytes are one; sealing refuses those of small order.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct HpkePublicKey([u8; 32]);

impl HpkePublicKey {
    /// A public key as it came over the wire or from a record.
    ///
    /// # Errors
    /// [`HpkeError::KeyLength`] unless there are exactly 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, HpkeError> {
        bytes.try_into().map(Self).map_err(|_| HpkeError::KeyLength { found: bytes.len() })
    }

    /// The bytes to publish.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn of(public: &<X25519HkdfSha256 as Kem>::PublicKey) -> Self {
        let mut bytes = [0; 32];
        public.write_exact(&mut bytes);
        Self(bytes)
    }
}

impl fmt::Debug for HpkePublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HpkePublicKey(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// Encrypts `plaintext` to the holder of `to`'s private half, bound to `info` and `aad`.
///
/// Draws 32 bytes of entropy.
///
/// # Errors
/// [`HpkeError::WeakPublicKey`] if `to` is a point of small order.
pub fn hpke_seal(
    to: &HpkePublicKey,
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
    entropy: &mut dyn Entropy,
) -> Result<Vec<u8>, HpkeError> {
    let to = <X25519HkdfSha256 as Kem>::PublicKey::from_bytes(&to.0)
        .expect("32 bytes are a public key of X25519");
    let (encapsulated, ciphertext) =
        single_shot_seal_with_rng::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
            &OpModeS::Base,
            &to,
            info,
            plaintext,
            aad,
            &mut EntropyRng(entropy),
        )
        .map_err(|error| match error {
            ::hpke::HpkeError::EncapError => HpkeError::WeakPublicKey,
            _ => HpkeError::TooLong { found: plaintext.len() },
        })?;

    let mut sealed = Vec::with_capacity(ENCAPSULATED_LEN + ciphertext.len());
    sealed.extend_from_slice(&encapsulated.to_bytes());
    sealed.extend_from_slice(&ciphertext);
    Ok(sealed)
}

/// Decrypts what [`hpke_seal`] made for `key`'s public half with the same `info` and `aad`.
///
/// # Errors
/// [`HpkeError::TooShort`] or [`HpkeError::NotAuthentic`].
pub fn hpke_open(
    key: &HpkePrivateKey,
    info: &[u8],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Secret, HpkeError> {
    let too_short = HpkeError::TooShort { found: sealed.len() };
    let (encapsulated, rest) = sealed.split_first_chunk::<ENCAPSULATED_LEN>().ok_or(too_short)?;
    let (ciphertext, tag) = rest.split_last_chunk::<TAG_LEN>().ok_or(too_short)?;
    let encapsulated = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(encapsulated)
        .expect("32 bytes are an encapsulated key of X25519");
    let tag = AeadTag::<AesGcm256>::from_bytes(tag).expect("16 bytes are a tag of AES-GCM");

    // Decrypted in place, the plaintext is only ever in the secret.
    let mut secret = Secret::copy_from(ciphertext);
    single_shot_open_inout_detached::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &decode(&key.private),
        &encapsulated,
        info,
        secret.expose_mut().into(),
        aad,
        &tag,
    )
    .map_err(|_| HpkeError::NotAuthentic)?;
    Ok(secret)
}

/// The library's own form, wiped by the library on drop.
fn decode(private: &Key) -> <X25519HkdfSha256 as Kem>::PrivateKey {
    <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(private.expose())
        .expect("32 bytes are a private key of X25519")
}

/// Why HPKE refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HpkeError {
    /// A key of either half has 32 bytes.
    #[error("an X25519 key is 32 bytes, these are {found}")]
    KeyLength {
        /// How many bytes there were.
        found: usize,
    },
    /// The shared secret would be zero, whatever the private key: nobody makes such a key by honest
    /// means.
    #[error("the public key is a point of small order; ask its owner for a real one")]
    WeakPublicKey,
    /// The plaintext is beyond what AES-GCM takes (64 GiB).
    #[error("{found} bytes are more than one message holds")]
    TooLong {
        /// How many bytes there were.
        found: usize,
    },
    /// There is no room for an encapsulated key and a tag: this is not a sealed message.
    #[error("a sealed message has at least 48 bytes, this has {found}")]
    TooShort {
        /// How many bytes there were.
        found: usize,
    },
    /// Key, info, associated data or message are not those that were sealed.
    #[error("the message was sealed to another key or context, or was changed")]
    NotAuthentic,
}

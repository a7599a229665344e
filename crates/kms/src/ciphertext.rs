//! The ciphertext that Encrypt gives and Decrypt takes. It carries its key's id and version, so it
//! decrypts without being told its key; everything in it is authenticated, and so is the encryption
//! context beside it.
//!
//! ```text
//! magic C0 4E 56 ‖ format 01 ‖ key id, 16 ‖ version, u32 ‖ nonce, 24 ‖ ciphertext ‖ tag, 16
//! associated data: "conclave/kms/ciphertext/v1" ‖ the first 24 bytes ‖ context
//! context: pair count, u32 ‖ per pair, sorted by name: length, u32 ‖ name ‖ length, u32 ‖ value
//! ```
//! Integers are big-endian. Golden bytes: `tests/formats.rs`.

use conclave_crypto::{Entropy, Key, Secret, aead};

use crate::fields::{CIPHERTEXT_BYTES_MAX, EncryptionContext, PLAINTEXT_BYTES_MAX};
use crate::key_ref::KeyId;

const MAGIC_AND_FORMAT: [u8; 4] = [0xC0, 0x4E, 0x56, 0x01];
const HEADER_LEN: usize = 24;
const LABEL: &[u8] = b"conclave/kms/ciphertext/v1";

const _: () = assert!(HEADER_LEN + PLAINTEXT_BYTES_MAX + aead::OVERHEAD <= CIPHERTEXT_BYTES_MAX);

/// Which version of which key a ciphertext says it is under; trusted only once it has opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The key.
    pub key: KeyId,
    /// Its version, from 1.
    pub version: u32,
}

impl Header {
    fn encode(self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..4].copy_from_slice(&MAGIC_AND_FORMAT);
        bytes[4..20].copy_from_slice(self.key.bytes());
        bytes[20..].copy_from_slice(&self.version.to_be_bytes());
        bytes
    }
}

/// Encrypts under `key`, which is the version of the key that `header` names.
pub fn seal(
    header: Header,
    key: &Key,
    context: &EncryptionContext,
    plaintext: &Secret,
    entropy: &mut dyn Entropy,
) -> Vec<u8> {
    let header = header.encode();
    let sealed = aead::seal(key, entropy, &associated_data(&header, context), plaintext.expose());
    [header.as_slice(), &sealed].concat()
}

/// A ciphertext whose header has been read, and nothing more.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// What it says of itself.
    pub header: Header,
    header_bytes: &'a [u8; HEADER_LEN],
    sealed: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// `None` for bytes that are no ciphertext of ours.
    pub fn parse(ciphertext: &'a [u8]) -> Option<Self> {
        let (header_bytes, sealed) = ciphertext.split_first_chunk::<HEADER_LEN>()?;
        let (magic, rest) = header_bytes.split_first_chunk::<4>()?;
        let (key, rest) = rest.split_first_chunk::<16>()?;
        let version = u32::from_be_bytes(*rest.first_chunk::<4>()?);
        (*magic == MAGIC_AND_FORMAT).then(|| Self {
            header: Header { key: KeyId::new(*key), version },
            header_bytes,
            sealed,
        })
    }

    /// `None` unless key, context and every byte are those that were sealed.
    pub fn open(&self, key: &Key, context: &EncryptionContext) -> Option<Secret> {
        aead::open(key, &associated_data(self.header_bytes, context), self.sealed).ok()
    }
}

fn associated_data(header: &[u8; HEADER_LEN], context: &EncryptionContext) -> Vec<u8> {
    let pairs = context.pairs();
    let mut aad = [LABEL, header, &length(pairs.len())].concat();
    for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
        aad.extend_from_slice(&length(text.len()));
        aad.extend_from_slice(text.as_bytes());
    }
    aad
}

fn length(len: usize) -> [u8; 4] {
    u32::try_from(len).expect("a context is bounded by a few KiB").to_be_bytes()
}

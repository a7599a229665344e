//! RSA (RFC 8017) with moduli of 2048, 3072 and 4096 bits, by aws-lc-rs: signatures in
//! [`SigningKey`], OAEP in [`DecryptingKey`]. One key is for one of the two.
//!
//! aws-lc draws primes, salts and paddings itself, from the operating system. Making a key costs a
//! processor from a tenth of a second to many seconds, a private operation about a millisecond or
//! more: whoever runs an event loop does neither on it. Parsing a private key costs too: keep it
//! parsed.

mod oaep;
mod signing;

use aws_lc_rs::rsa::KeySize;
pub use oaep::{DecryptError, DecryptingKey, EncryptError, EncryptingKey, Oaep};
pub use signing::{Padding, Scheme, SigningKey, VerifyingKey};

use crate::der::{self, AlgorithmId, INTEGER, Reader, SEQUENCE};
use crate::keys::KeyError;

/// Bits of the modulus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Size {
    /// 2048 bits.
    Rsa2048,
    /// 3072 bits.
    Rsa3072,
    /// 4096 bits.
    Rsa4096,
}

impl Size {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Rsa2048, Self::Rsa3072, Self::Rsa4096];

    /// Bits of the modulus.
    pub const fn bits(self) -> usize {
        match self {
            Self::Rsa2048 => 2048,
            Self::Rsa3072 => 3072,
            Self::Rsa4096 => 4096,
        }
    }

    /// Length of the modulus, and so of a signature and a ciphertext, in bytes.
    pub const fn modulus_len(self) -> usize {
        self.bits() / 8
    }

    /// The name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rsa2048 => "RSA-2048",
            Self::Rsa3072 => "RSA-3072",
            Self::Rsa4096 => "RSA-4096",
        }
    }

    fn bits_text(self) -> &'static str {
        match self {
            Self::Rsa2048 => "2048",
            Self::Rsa3072 => "3072",
            Self::Rsa4096 => "4096",
        }
    }

    fn key_size(self) -> KeySize {
        match self {
            Self::Rsa2048 => KeySize::Rsa2048,
            Self::Rsa3072 => KeySize::Rsa3072,
            Self::Rsa4096 => KeySize::Rsa4096,
        }
    }
}

/// `rsaEncryption`, whose parameters are NULL.
const RSA: AlgorithmId = AlgorithmId {
    name: "RSA (rsaEncryption)",
    der: b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00",
};

/// Looks at a private key before aws-lc does, which checks that the parts fit together: the size
/// must be the one asked for, the exponent odd and above 65536.
fn check_private(size: Size, pkcs8: &[u8]) -> Result<(), KeyError> {
    let key = der::private_key(pkcs8, &RSA)?;
    let (modulus, exponent) = private_parts(key).ok_or(KeyError::Inconsistent)?;
    let found = bits(modulus);
    if found != size.bits() {
        return Err(KeyError::RsaSize { expected: size.bits_text(), found });
    }
    let odd = exponent.last().is_some_and(|last| last & 1 == 1);
    if odd && bits(exponent) > 16 { Ok(()) } else { Err(KeyError::RsaExponent) }
}

/// Modulus and public exponent of an RSAPrivateKey (RFC 8017, A.1.2) of two primes.
fn private_parts(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut parts = Reader::new(Reader::new(key).next(SEQUENCE)?);
    (parts.next(INTEGER)? == [0]).then_some(())?;
    Some((parts.next(INTEGER)?, parts.next(INTEGER)?))
}

/// The size of a public key; aws-lc checks the rest of it.
fn public_size(spki: &[u8]) -> Result<Size, KeyError> {
    let key = der::public_key(spki, &RSA)?;
    let modulus =
        Reader::new(key).next(SEQUENCE).and_then(|parts| Reader::new(parts).next(INTEGER));
    let found = bits(modulus.ok_or(KeyError::Inconsistent)?);
    let of_that_size = Size::ALL.into_iter().find(|size| size.bits() == found);
    of_that_size.ok_or(KeyError::RsaSize { expected: "2048, 3072 or 4096", found })
}

/// Bits of a positive INTEGER.
fn bits(integer: &[u8]) -> usize {
    let leading = integer.iter().take_while(|byte| **byte == 0).count();
    let digits = &integer[leading..];
    digits.first().map_or(0, |first| 8 * digits.len() - first.leading_zeros() as usize)
}

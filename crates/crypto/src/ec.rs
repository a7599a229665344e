//! The curves, and the one form that keys on them have: PKCS#8 in private, SubjectPublicKeyInfo in
//! public, the same for signing ([`ecdsa`](crate::ecdsa)) and agreeing ([`ecdh`](crate::ecdh)).

use std::fmt;

use crate::der::AlgorithmId;
use crate::digest::Hash;

/// A curve of prime order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Curve {
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// NIST P-521.
    P521,
    /// secp256k1 (SEC 2), which is offered for signatures alone.
    Secp256k1,
}

impl Curve {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::P256, Self::P384, Self::P521, Self::Secp256k1];

    /// The name in messages.
    pub const fn name(self) -> &'static str {
        self.id().name
    }

    /// The hash function that signatures on this curve are made over.
    pub const fn hash(self) -> Hash {
        match self {
            Self::P256 | Self::Secp256k1 => Hash::Sha256,
            Self::P384 => Hash::Sha384,
            Self::P521 => Hash::Sha512,
        }
    }

    /// Length of a coordinate, and so of a shared secret, in bytes.
    pub const fn field_len(self) -> usize {
        match self {
            Self::P256 | Self::Secp256k1 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// `id-ecPublicKey` with the named curve.
    pub(crate) const fn id(self) -> &'static AlgorithmId {
        match self {
            Self::P256 => &AlgorithmId {
                name: "P-256",
                der:
                    b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07",
            },
            Self::P384 => &AlgorithmId {
                name: "P-384",
                der: b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22",
            },
            Self::P521 => &AlgorithmId {
                name: "P-521",
                der: b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x23",
            },
            Self::Secp256k1 => &AlgorithmId {
                name: "secp256k1",
                der: b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x0a",
            },
        }
    }
}

impl fmt::Display for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

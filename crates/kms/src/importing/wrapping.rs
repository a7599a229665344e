//! How key material is wrapped on its way here, by the names of AWS KMS.

use conclave_crypto::rsa::{DecryptingKey, Oaep, Size};
use conclave_crypto::{Secret, rsa_aes_wrap};

use crate::invalid::Invalid;
use crate::refusal::Refusal;
use crate::spec::{KeySpec, named};

named! {
    /// What key material is wrapped by.
    WrappingAlgorithm {
        RsaesPkcs1 = "RSAES_PKCS1_V1_5",
        RsaesOaepSha1 = "RSAES_OAEP_SHA_1",
        RsaesOaepSha256 = "RSAES_OAEP_SHA_256",
        RsaAesKeyWrapSha1 = "RSA_AES_KEY_WRAP_SHA_1",
        RsaAesKeyWrapSha256 = "RSA_AES_KEY_WRAP_SHA_256",
        Sm2Pke = "SM2PKE",
    }
}

named! {
    /// What kind of key it is wrapped under.
    WrappingKeySpec {
        Rsa2048 = "RSA_2048",
        Rsa3072 = "RSA_3072",
        Rsa4096 = "RSA_4096",
        Sm2 = "SM2",
    }
}

/// An algorithm and a size of key that are offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wrapping {
    method: Method,
    oaep: Oaep,
    pub(super) size: Size,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    /// The material itself under RSA.
    Direct,
    /// An AES key under RSA, and the material under that.
    RsaAes,
}

impl Wrapping {
    const METHODS: [(WrappingAlgorithm, Method, Oaep); 4] = [
        (WrappingAlgorithm::RsaesOaepSha1, Method::Direct, Oaep::Sha1),
        (WrappingAlgorithm::RsaesOaepSha256, Method::Direct, Oaep::Sha256),
        (WrappingAlgorithm::RsaAesKeyWrapSha1, Method::RsaAes, Oaep::Sha1),
        (WrappingAlgorithm::RsaAesKeyWrapSha256, Method::RsaAes, Oaep::Sha256),
    ];

    const SIZES: [(WrappingKeySpec, Size, KeySpec); 3] = [
        (WrappingKeySpec::Rsa2048, Size::Rsa2048, KeySpec::Rsa2048),
        (WrappingKeySpec::Rsa3072, Size::Rsa3072, KeySpec::Rsa3072),
        (WrappingKeySpec::Rsa4096, Size::Rsa4096, KeySpec::Rsa4096),
    ];

    /// As requests name it. What AWS KMS has and nobody should use is refused by its name.
    pub(super) fn parse(algorithm: &str, spec: &str) -> Result<Self, Refusal> {
        if algorithm.is_empty() {
            return Err(Invalid::Missing { member: "wrappingAlgorithm" }.into());
        }
        if spec.is_empty() {
            return Err(Invalid::Missing { member: "wrappingKeySpec" }.into());
        }
        let algorithm = WrappingAlgorithm::parse("wrappingAlgorithm", algorithm)?;
        let spec = WrappingKeySpec::parse("wrappingKeySpec", spec)?;
        let not_offered = |what: &str, name: &str| Refusal::NotOffered {
            what: format!("Wrapping {what} {name}"),
        };
        let method = Self::METHODS.into_iter().find(|(known, ..)| *known == algorithm);
        let (_, method, oaep) = method.ok_or_else(|| not_offered("algorithm", algorithm.name()))?;
        let size = Self::SIZES.into_iter().find(|(known, ..)| *known == spec);
        let (_, size, _) = size.ok_or_else(|| not_offered("key spec", spec.name()))?;
        Ok(Self { method, oaep, size })
    }

    /// The algorithm and the kind of key, as AWS KMS spells them.
    pub(super) fn names(self) -> (&'static str, &'static str) {
        let [algorithm, size] = self.places();
        (Self::METHODS[algorithm].0.name(), Self::SIZES[size].0.name())
    }

    /// The wrapping key as a kind of key.
    pub(super) fn key_spec(self) -> KeySpec {
        Self::SIZES[self.places()[1]].2
    }

    /// In tokens: both numbered from 1. A stored format: what is added goes to the end.
    pub(super) fn encode(self) -> [u8; 2] {
        self.places().map(|place| u8::try_from(place + 1).expect("there are a few of each"))
    }

    pub(super) fn decode([algorithm, size]: [u8; 2]) -> Option<Self> {
        let place = |number: u8| usize::from(number).checked_sub(1);
        let (_, method, oaep) = *Self::METHODS.get(place(algorithm)?)?;
        let (_, size, _) = *Self::SIZES.get(place(size)?)?;
        Some(Self { method, oaep, size })
    }

    fn places(self) -> [usize; 2] {
        let method = |(_, method, oaep): &(_, _, _)| *method == self.method && *oaep == self.oaep;
        let size = |(_, size, _): &(_, _, _)| *size == self.size;
        let algorithm = Self::METHODS.iter().position(method);
        let size = Self::SIZES.iter().position(size);
        [algorithm.expect("all of them are listed"), size.expect("all of them are listed")]
    }

    /// Whether the material of such keys is short enough to be wrapped so.
    pub(super) fn has_room_for(self, spec: KeySpec) -> bool {
        match (self.method, spec) {
            (Method::RsaAes, _) => true,
            (Method::Direct, KeySpec::Rsa2048 | KeySpec::Rsa3072 | KeySpec::Rsa4096) => false,
            (Method::Direct, KeySpec::EccNistP521) => self.size != Size::Rsa2048,
            (Method::Direct, _) => true,
        }
    }

    /// `None` if it does not open: nothing says why.
    pub(super) fn unwrap(self, key: &DecryptingKey, wrapped: &[u8]) -> Option<Secret> {
        match self.method {
            Method::Direct => key.decrypt(self.oaep, wrapped).ok(),
            Method::RsaAes => rsa_aes_wrap::unwrap(key, self.oaep, wrapped).ok(),
        }
    }
}

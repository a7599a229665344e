//! Kinds of keys, what each is for and which algorithms it takes, by the names of AWS KMS.

use conclave_proto::record;

/// Enumerations that are spelled as AWS KMS spells them, in requests, responses and records alike.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[allow(missing_docs, unreachable_pub, reason = "the names say it; some stay in here")]
        pub enum $name {
            $($variant,)*
        }

        #[allow(unreachable_pub, reason = "as above")]
        impl $name {
            /// Every one of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// As AWS KMS spells it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }

            /// Reads it from the request's `member`.
            ///
            /// # Errors
            /// [`Invalid`](crate::Invalid) for anything that is none of them.
            pub fn parse(member: &'static str, text: &str) -> Result<Self, $crate::Refusal> {
                let found = Self::ALL.iter().copied().find(|known| known.name() == text);
                found.ok_or_else(|| {
                    let all: Vec<_> = Self::ALL.iter().map(|known| known.name()).collect();
                    let (value, all) = ($crate::key_ref::shown(text), all.join(", "));
                    $crate::invalid::Invalid::NoneOf { member, value, all }.into()
                })
            }
        }
    };
}
pub(crate) use named;

named! {
    /// What kind of key material a key has.
    KeySpec {
        SymmetricDefault = "SYMMETRIC_DEFAULT",
        Rsa2048 = "RSA_2048",
        Rsa3072 = "RSA_3072",
        Rsa4096 = "RSA_4096",
        EccNistP256 = "ECC_NIST_P256",
        EccNistP384 = "ECC_NIST_P384",
        EccNistP521 = "ECC_NIST_P521",
        EccSecgP256k1 = "ECC_SECG_P256K1",
        EccNistEdwards25519 = "ECC_NIST_EDWARDS25519",
        Hmac224 = "HMAC_224",
        Hmac256 = "HMAC_256",
        Hmac384 = "HMAC_384",
        Hmac512 = "HMAC_512",
        MlDsa44 = "ML_DSA_44",
        MlDsa65 = "ML_DSA_65",
        MlDsa87 = "ML_DSA_87",
        MlKem512 = "ML_KEM_512",
        MlKem768 = "ML_KEM_768",
        MlKem1024 = "ML_KEM_1024",
        Sm2 = "SM2",
    }
}

named! {
    /// What a key is for: one thing only, for good.
    KeyUsage {
        EncryptDecrypt = "ENCRYPT_DECRYPT",
        SignVerify = "SIGN_VERIFY",
        GenerateVerifyMac = "GENERATE_VERIFY_MAC",
        KeyAgreement = "KEY_AGREEMENT",
        EncapsulateDecapsulate = "ENCAPSULATE_DECAPSULATE",
    }
}

named! {
    /// Where key material comes from.
    Origin {
        AwsKms = "AWS_KMS",
        External = "EXTERNAL",
        AwsCloudHsm = "AWS_CLOUDHSM",
        ExternalKeyStore = "EXTERNAL_KEY_STORE",
    }
}

named! {
    /// How Encrypt and Decrypt do it.
    EncryptionAlgorithm {
        SymmetricDefault = "SYMMETRIC_DEFAULT",
        RsaesOaepSha1 = "RSAES_OAEP_SHA_1",
        RsaesOaepSha256 = "RSAES_OAEP_SHA_256",
        Sm2Pke = "SM2PKE",
    }
}

named! {
    /// How Sign and Verify do it.
    SigningAlgorithm {
        RsassaPssSha256 = "RSASSA_PSS_SHA_256",
        RsassaPssSha384 = "RSASSA_PSS_SHA_384",
        RsassaPssSha512 = "RSASSA_PSS_SHA_512",
        RsassaPkcs1Sha256 = "RSASSA_PKCS1_V1_5_SHA_256",
        RsassaPkcs1Sha384 = "RSASSA_PKCS1_V1_5_SHA_384",
        RsassaPkcs1Sha512 = "RSASSA_PKCS1_V1_5_SHA_512",
        EcdsaSha256 = "ECDSA_SHA_256",
        EcdsaSha384 = "ECDSA_SHA_384",
        EcdsaSha512 = "ECDSA_SHA_512",
        Sm2Dsa = "SM2DSA",
        MlDsaShake256 = "ML_DSA_SHAKE_256",
        Ed25519Sha512 = "ED25519_SHA_512",
        Ed25519PhSha512 = "ED25519_PH_SHA_512",
    }
}

named! {
    /// How GenerateMac and VerifyMac do it.
    MacAlgorithm {
        HmacSha224 = "HMAC_SHA_224",
        HmacSha256 = "HMAC_SHA_256",
        HmacSha384 = "HMAC_SHA_384",
        HmacSha512 = "HMAC_SHA_512",
    }
}

named! {
    /// How DeriveSharedSecret does it.
    KeyAgreementAlgorithm {
        Ecdh = "ECDH",
    }
}

named! {
    /// How Encapsulate and Decapsulate do it.
    EncapsulationAlgorithm {
        MlKem = "ML_KEM",
    }
}

impl KeySpec {
    /// What a key of this kind can be for; the first is what it is for if nothing is said.
    pub fn usages(self) -> &'static [KeyUsage] {
        use KeyUsage::{
            EncapsulateDecapsulate, EncryptDecrypt, GenerateVerifyMac, KeyAgreement, SignVerify,
        };
        match self {
            Self::SymmetricDefault => &[EncryptDecrypt],
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => &[EncryptDecrypt, SignVerify],
            Self::EccNistP256 | Self::EccNistP384 | Self::EccNistP521 => {
                &[SignVerify, KeyAgreement]
            }
            Self::EccSecgP256k1
            | Self::EccNistEdwards25519
            | Self::MlDsa44
            | Self::MlDsa65
            | Self::MlDsa87 => &[SignVerify],
            Self::Hmac224 | Self::Hmac256 | Self::Hmac384 | Self::Hmac512 => &[GenerateVerifyMac],
            Self::MlKem512 | Self::MlKem768 | Self::MlKem1024 => &[EncapsulateDecapsulate],
            Self::Sm2 => &[EncryptDecrypt, SignVerify, KeyAgreement],
        }
    }

    /// What an alias never moves between.
    pub(crate) fn kind(self) -> &'static str {
        match self {
            Self::Hmac224 | Self::Hmac256 | Self::Hmac384 | Self::Hmac512 => "HMAC",
            _ if self.is_asymmetric() => "asymmetric",
            _ => "symmetric",
        }
    }

    /// Whether there is a public half.
    pub fn is_asymmetric(self) -> bool {
        !matches!(
            self,
            Self::SymmetricDefault | Self::Hmac224 | Self::Hmac256 | Self::Hmac384 | Self::Hmac512
        )
    }

    /// Whether there are data key pairs of this kind.
    pub fn is_data_key_pair(self) -> bool {
        self.is_asymmetric() && !matches!(self, Self::MlDsa44 | Self::MlDsa65 | Self::MlDsa87)
    }

    /// Whether AWS KMS had it when it still called these CustomerMasterKeySpec.
    pub fn has_old_name(self) -> bool {
        !matches!(
            self,
            Self::EccNistEdwards25519
                | Self::MlDsa44
                | Self::MlDsa65
                | Self::MlDsa87
                | Self::MlKem512
                | Self::MlKem768
                | Self::MlKem1024
        )
    }

    /// With a key for encryption.
    pub fn encryption_algorithms(self) -> &'static [EncryptionAlgorithm] {
        use EncryptionAlgorithm::{RsaesOaepSha1, RsaesOaepSha256, Sm2Pke, SymmetricDefault};
        match self {
            Self::SymmetricDefault => &[SymmetricDefault],
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => &[RsaesOaepSha1, RsaesOaepSha256],
            Self::Sm2 => &[Sm2Pke],
            _ => &[],
        }
    }

    /// With a key for signatures.
    pub fn signing_algorithms(self) -> &'static [SigningAlgorithm] {
        use SigningAlgorithm as Alg;
        match self {
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => &[
                Alg::RsassaPkcs1Sha256,
                Alg::RsassaPkcs1Sha384,
                Alg::RsassaPkcs1Sha512,
                Alg::RsassaPssSha256,
                Alg::RsassaPssSha384,
                Alg::RsassaPssSha512,
            ],
            Self::EccNistP256 | Self::EccSecgP256k1 => &[Alg::EcdsaSha256],
            Self::EccNistP384 => &[Alg::EcdsaSha384],
            Self::EccNistP521 => &[Alg::EcdsaSha512],
            Self::EccNistEdwards25519 => &[Alg::Ed25519Sha512, Alg::Ed25519PhSha512],
            Self::MlDsa44 | Self::MlDsa65 | Self::MlDsa87 => &[Alg::MlDsaShake256],
            Self::Sm2 => &[Alg::Sm2Dsa],
            _ => &[],
        }
    }

    /// With a key for MACs.
    pub fn mac_algorithms(self) -> &'static [MacAlgorithm] {
        match self {
            Self::Hmac224 => &[MacAlgorithm::HmacSha224],
            Self::Hmac256 => &[MacAlgorithm::HmacSha256],
            Self::Hmac384 => &[MacAlgorithm::HmacSha384],
            Self::Hmac512 => &[MacAlgorithm::HmacSha512],
            _ => &[],
        }
    }

    pub(crate) fn to_proto(self) -> record::KeySpec {
        match self {
            Self::SymmetricDefault => record::KeySpec::SymmetricDefault,
            Self::Rsa2048 => record::KeySpec::Rsa2048,
            Self::Rsa3072 => record::KeySpec::Rsa3072,
            Self::Rsa4096 => record::KeySpec::Rsa4096,
            Self::EccNistP256 => record::KeySpec::EccNistP256,
            Self::EccNistP384 => record::KeySpec::EccNistP384,
            Self::EccNistP521 => record::KeySpec::EccNistP521,
            Self::EccSecgP256k1 => record::KeySpec::EccSecgP256k1,
            Self::EccNistEdwards25519 => record::KeySpec::EccNistEdwards25519,
            Self::Hmac224 => record::KeySpec::Hmac224,
            Self::Hmac256 => record::KeySpec::Hmac256,
            Self::Hmac384 => record::KeySpec::Hmac384,
            Self::Hmac512 => record::KeySpec::Hmac512,
            Self::MlDsa44 => record::KeySpec::MlDsa44,
            Self::MlDsa65 => record::KeySpec::MlDsa65,
            Self::MlDsa87 => record::KeySpec::MlDsa87,
            Self::MlKem512 => record::KeySpec::MlKem512,
            Self::MlKem768 => record::KeySpec::MlKem768,
            Self::MlKem1024 => record::KeySpec::MlKem1024,
            Self::Sm2 => record::KeySpec::Unspecified,
        }
    }

    pub(crate) fn from_proto(spec: i32) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| spec != 0 && known.to_proto() as i32 == spec)
    }
}

impl KeyUsage {
    pub(crate) fn to_proto(self) -> record::KeyUsage {
        match self {
            Self::EncryptDecrypt => record::KeyUsage::EncryptDecrypt,
            Self::SignVerify => record::KeyUsage::SignVerify,
            Self::GenerateVerifyMac => record::KeyUsage::GenerateVerifyMac,
            Self::KeyAgreement => record::KeyUsage::KeyAgreement,
            Self::EncapsulateDecapsulate => record::KeyUsage::EncapsulateDecapsulate,
        }
    }

    pub(crate) fn from_proto(usage: i32) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.to_proto() as i32 == usage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_reads_back() {
        for spec in KeySpec::ALL {
            let known = (*spec != KeySpec::Sm2).then_some(*spec);
            assert_eq!(KeySpec::from_proto(spec.to_proto() as i32), known);
            assert!(!spec.usages().is_empty());
        }
        for usage in KeyUsage::ALL {
            assert_eq!(KeyUsage::from_proto(usage.to_proto() as i32), Some(*usage));
        }
        assert_eq!(KeyUsage::from_proto(0), None);
    }

    #[test]
    fn an_unknown_name_is_refused_with_all_that_there_are() {
        let refused = KeyUsage::parse("keyUsage", "sign").unwrap_err().reason();
        assert_eq!(
            refused,
            "ValidationException: 1 validation error detected: Value 'sign' at 'keyUsage' failed to \
             satisfy constraint: Member must satisfy enum value set: [ENCRYPT_DECRYPT, SIGN_VERIFY, \
             GENERATE_VERIFY_MAC, KEY_AGREEMENT, ENCAPSULATE_DECAPSULATE]"
        );
    }
}

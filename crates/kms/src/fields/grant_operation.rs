//! What a grant can be for, by the names of AWS KMS.

use crate::fields::bounds::check_len;
use crate::invalid::Invalid;
use crate::refusal::Refusal;
use crate::spec::{KeySpec, KeyUsage, named};

named! {
    /// What a grant lets its grantee do with the key. In order of their names.
    GrantOperation {
        CreateGrant = "CreateGrant",
        Decapsulate = "Decapsulate",
        Decrypt = "Decrypt",
        DeriveSharedSecret = "DeriveSharedSecret",
        DescribeKey = "DescribeKey",
        Encapsulate = "Encapsulate",
        Encrypt = "Encrypt",
        GenerateDataKey = "GenerateDataKey",
        GenerateDataKeyPair = "GenerateDataKeyPair",
        GenerateDataKeyPairWithoutPlaintext = "GenerateDataKeyPairWithoutPlaintext",
        GenerateDataKeyWithoutPlaintext = "GenerateDataKeyWithoutPlaintext",
        GenerateMac = "GenerateMac",
        GetPublicKey = "GetPublicKey",
        ReEncryptFrom = "ReEncryptFrom",
        ReEncryptTo = "ReEncryptTo",
        RetireGrant = "RetireGrant",
        Sign = "Sign",
        Verify = "Verify",
        VerifyMac = "VerifyMac",
    }
}

impl GrantOperation {
    /// Whether keys of this kind and use have it.
    pub fn is_of(self, spec: KeySpec, usage: KeyUsage) -> bool {
        match self {
            Self::CreateGrant | Self::DescribeKey | Self::RetireGrant => true,
            Self::GetPublicKey => spec.is_asymmetric(),
            Self::Encrypt | Self::Decrypt | Self::ReEncryptFrom | Self::ReEncryptTo => {
                usage == KeyUsage::EncryptDecrypt
            }
            Self::GenerateDataKey
            | Self::GenerateDataKeyWithoutPlaintext
            | Self::GenerateDataKeyPair
            | Self::GenerateDataKeyPairWithoutPlaintext => spec == KeySpec::SymmetricDefault,
            Self::Sign | Self::Verify => usage == KeyUsage::SignVerify,
            Self::GenerateMac | Self::VerifyMac => usage == KeyUsage::GenerateVerifyMac,
            Self::DeriveSharedSecret => usage == KeyUsage::KeyAgreement,
            Self::Encapsulate | Self::Decapsulate => usage == KeyUsage::EncapsulateDecapsulate,
        }
    }
}

/// What a grant is for: sorted by name, each once, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantOperations(Vec<GrantOperation>);

impl GrantOperations {
    /// Reads the names of operations.
    ///
    /// # Errors
    /// [`Invalid`] for a name that is none, or if there is none at all.
    pub fn parse(names: &[String]) -> Result<Self, Refusal> {
        const MEMBER: &str = "operations";
        check_len(MEMBER, names.len(), 1, 10 * GrantOperation::ALL.len(), "")?;
        let read = names.iter().map(|name| GrantOperation::parse(MEMBER, name));
        Ok(Self::new(read.collect::<Result<_, _>>()?))
    }

    pub(crate) fn new(mut operations: Vec<GrantOperation>) -> Self {
        operations.sort_unstable();
        operations.dedup();
        Self(operations)
    }

    pub(crate) fn contains(&self, operation: GrantOperation) -> bool {
        self.0.contains(&operation)
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.0.iter().map(|operation| operation.name().to_owned()).collect()
    }

    /// All of them are there for a key of this kind and use.
    ///
    /// # Errors
    /// [`Invalid::GrantOperationOf`] for the first that is not.
    pub(crate) fn check_key(&self, spec: KeySpec, usage: KeyUsage) -> Result<(), Invalid> {
        match self.0.iter().find(|operation| !operation.is_of(spec, usage)) {
            None => Ok(()),
            Some(other) => Err(Invalid::GrantOperationOf {
                operation: other.name(),
                usage: usage.name(),
                spec: spec.name(),
            }),
        }
    }
}

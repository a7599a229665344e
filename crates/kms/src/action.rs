//! The names of what can be asked for; who may ask for it is said in `authorize.rs`.

macro_rules! actions {
    ($($name:ident)*) => {
        /// What authorisation and audit know a request by. The names are AWS KMS's where it has one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the names say it")]
        pub enum Action {
            $($name,)*
        }

        impl Action {
            /// Every action.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// As audit entries spell it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

actions! {
    AddNodes RemoveNode SealNode DrainNode UndrainNode RotateRoot ExcludeNode DealOperatorShares
    RotateDomainKey
    CreatePrincipal DeletePrincipal ListPrincipals
    ListAudit ExportAudit

    CreateKey DescribeKey ListKeys EnableKey DisableKey ScheduleKeyDeletion CancelKeyDeletion
    RotateKeyOnDemand GetPublicKey GetKeyLastUsage
    GetParametersForImport ImportKeyMaterial DeleteImportedKeyMaterial

    EnableKeyRotation DisableKeyRotation GetKeyRotationStatus ListKeyRotations
    RotateKey DeleteExpiredKeyMaterial DestroyKey DeleteGrantsOfDestroyedKey GetKeyTombstone

    GetKeyPolicy PutKeyPolicy ListKeyPolicies
    CreateGrant ListGrants ListRetirableGrants RetireGrant RevokeGrant

    Encrypt Decrypt ReEncrypt
    GenerateDataKey GenerateDataKeyWithoutPlaintext
    GenerateDataKeyPair GenerateDataKeyPairWithoutPlaintext
    GenerateRandom
    Sign Verify GenerateMac VerifyMac DeriveSharedSecret Encapsulate Decapsulate

    CreateAlias UpdateAlias DeleteAlias ListAliases
    TagResource UntagResource ListResourceTags UpdateKeyDescription
    ReplicateKey UpdatePrimaryRegion
    CreateCustomKeyStore DescribeCustomKeyStores ConnectCustomKeyStore DisconnectCustomKeyStore
    UpdateCustomKeyStore DeleteCustomKeyStore
}

impl Action {
    /// How a key's last use is noted, if this is one. A kept format: no number is given twice.
    pub(crate) fn use_number(self) -> Option<u32> {
        Some(match self {
            Self::Encrypt => 1,
            Self::Decrypt => 2,
            Self::ReEncrypt => 3,
            Self::GenerateDataKey => 4,
            Self::GenerateDataKeyWithoutPlaintext => 5,
            Self::GenerateDataKeyPair => 6,
            Self::GenerateDataKeyPairWithoutPlaintext => 7,
            Self::Sign => 8,
            Self::Verify => 9,
            Self::GenerateMac => 10,
            Self::VerifyMac => 11,
            Self::DeriveSharedSecret => 12,
            Self::Encapsulate => 13,
            Self::Decapsulate => 14,
            _ => return None,
        })
    }

    /// The use of that number.
    pub(crate) fn of_use(number: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|action| action.use_number() == Some(number))
    }
}

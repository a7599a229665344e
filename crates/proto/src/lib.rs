//! Generated types of everything Conclave stores, replicates or says on the wire.
//!
//! The sources are in `proto/`; this crate adds nothing but module names, a `Debug` that shows nothing
//! for each message that can hold a secret or a name that the store must not know, and to the messages
//! of the service of keys the JSON form of the AWS KMS protocol (`build.rs`).
#![allow(missing_docs, unreachable_pub, reason = "generated from proto/, where the comments stand")]
#![allow(clippy::all, reason = "generated")]

pub mod json;

// Nested as the packages are, since generated code refers to its neighbours by `super`.
mod conclave {
    pub mod audit {
        pub mod v1 {
            tonic::include_proto!("conclave.audit.v1");
        }
    }
    pub mod store {
        pub mod v1 {
            tonic::include_proto!("conclave.store.v1");
        }
    }
    pub mod record {
        pub mod v1 {
            tonic::include_proto!("conclave.record.v1");
        }
    }
    pub mod raft {
        pub mod v1 {
            tonic::include_proto!("conclave.raft.v1");
        }
    }
    pub mod seal {
        pub mod v1 {
            tonic::include_proto!("conclave.seal.v1");
        }
    }
    pub mod peer {
        pub mod v1 {
            tonic::include_proto!("conclave.peer.v1");
        }
    }
    pub mod v1 {
        tonic::include_proto!("conclave.v1");
    }
}

/// Audit entries and the chain's steps.
pub use conclave::audit::v1 as audit;
/// Between nodes.
pub use conclave::peer::v1 as peer;
/// Raft's own types.
pub use conclave::raft::v1 as raft;
/// What record blobs hold.
pub use conclave::record::v1 as record;
/// What a node keeps of its seal.
pub use conclave::seal::v1 as seal;
/// What Raft replicates and a snapshot holds.
pub use conclave::store::v1 as store;
/// The native face.
pub use conclave::v1;

include!(concat!(env!("OUT_DIR"), "/operations.rs"));

macro_rules! redacted {
    ($($message:path),* $(,)?) => {$(
        impl std::fmt::Debug for $message {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($message), " { .. }"))
            }
        }
    )*};
}
redacted!(
    record::SecretKey,
    record::Key,
    record::BackingKey,
    record::Tag,
    record::Alias,
    record::KeyPolicy,
    record::Grant,
    seal::OperatorShare,
    seal::Enrolment,
    v1::PrepareInitResponse,
    v1::UnsealRequest,
    v1::Tag,
    v1::CreateKeyRequest,
    v1::KeyMetadata,
    v1::EncryptRequest,
    v1::DecryptRequest,
    v1::DecryptResponse,
    v1::ReEncryptRequest,
    v1::GenerateDataKeyRequest,
    v1::GenerateDataKeyResponse,
    v1::GenerateDataKeyWithoutPlaintextRequest,
    v1::GenerateDataKeyPairRequest,
    v1::GenerateDataKeyPairResponse,
    v1::GenerateDataKeyPairWithoutPlaintextRequest,
    v1::GenerateRandomResponse,
    v1::SignRequest,
    v1::VerifyRequest,
    v1::GenerateMacRequest,
    v1::VerifyMacRequest,
    v1::DeriveSharedSecretResponse,
    v1::EncapsulateResponse,
    v1::DecapsulateResponse,
    v1::UpdateKeyDescriptionRequest,
    v1::GetParametersForImportResponse,
    v1::ImportKeyMaterialRequest,
    v1::UntagResourceRequest,
    v1::GrantConstraints,
    v1::ReplicateKeyRequest,
    audit::Entry,
    audit::Opening,
    audit::Pair,
);

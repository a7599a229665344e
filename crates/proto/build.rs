//! Compiles the protos with protox, so that no protoc is needed.

use std::error::Error;
use std::path::Path;

const FILES: [&str; 8] = [
    "conclave/audit/v1/audit.proto",
    "conclave/store/v1/store.proto",
    "conclave/record/v1/record.proto",
    "conclave/raft/v1/raft.proto",
    "conclave/peer/v1/peer.proto",
    "conclave/v1/kms.proto",
    "conclave/v1/cluster.proto",
    "conclave/seal/v1/seal.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let set = protox::compile(FILES, [root])?;
    tonic_prost_build::configure()
        .bytes(".conclave.raft.v1")
        .bytes(".conclave.store.v1.Command")
        .skip_debug(SECRET_BEARING)
        .compile_fds(set)?;
    Ok(())
}

/// Messages that can hold a secret get a hand-written `Debug` that shows none of it.
const SECRET_BEARING: [&str; 22] = [
    ".conclave.record.v1.SecretKey",
    ".conclave.record.v1.Key",
    ".conclave.record.v1.BackingKey",
    ".conclave.seal.v1.OperatorShare",
    ".conclave.seal.v1.Enrolment",
    ".conclave.v1.EncryptRequest",
    ".conclave.v1.DecryptResponse",
    ".conclave.v1.GenerateDataKeyResponse",
    ".conclave.v1.GenerateRandomResponse",
    ".conclave.v1.PrepareInitResponse",
    ".conclave.v1.UnsealRequest",
    ".conclave.v1.ContextPair",
    ".conclave.v1.DecryptRequest",
    ".conclave.v1.ReEncryptRequest",
    ".conclave.v1.Tag",
    ".conclave.v1.CreateKeyRequest",
    ".conclave.v1.KeyMetadata",
    ".conclave.audit.v1.Entry",
    ".conclave.audit.v1.Opening",
    ".conclave.audit.v1.Pair",
    ".conclave.record.v1.Tag",
    ".conclave.record.v1.Alias",
];

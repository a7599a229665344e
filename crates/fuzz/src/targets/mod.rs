//! The targets, by where their bytes come from.

use prost::Message;

use crate::Target;

mod disk;
mod export;
mod json;
mod policy;
mod raft;
mod records;
mod share;
mod text;
mod wire;

/// Every target.
pub const TARGETS: &[Target] = &[
    wire::KMS_REQUEST,
    json::JSON_REQUEST,
    wire::CLUSTER_REQUEST,
    wire::PEER_REQUEST,
    wire::PEER_ANSWER,
    raft::STORE_COMMAND,
    raft::RAFT_ENTRY,
    raft::LOG_RECORD,
    disk::SNAPSHOT_FILE,
    disk::AUDIT_SEGMENT,
    disk::NODE_FOLDER,
    records::SEALED_RECORD,
    records::PUBLIC_RECORD,
    export::EXPORT_FILE,
    export::CHECKPOINT_NOTE,
    export::AUDIT_ENTRY,
    share::OPERATOR_SHARE,
    share::CIPHERTEXT,
    text::CONFIG_TOML,
    text::CERTIFICATE,
    text::NAMES_AND_ADDRESSES,
    policy::KEY_POLICY,
];

/// The message, if the bytes are one; written and read again it must be the same.
fn message<M: Message + Default + PartialEq>(bytes: &[u8]) -> Option<M> {
    let message = M::decode(bytes).ok()?;
    let written = message.encode_to_vec();
    let again = M::decode(written.as_slice()).expect("what was encoded decodes");
    assert!(again == message, "a message changed when it was written");
    assert!(again.encode_to_vec() == written, "two encodings of one message");
    Some(message)
}

/// The first byte chooses, the rest is the input.
fn choose(input: &[u8]) -> (u8, &[u8]) {
    input.split_first().map_or((0, input), |(first, rest)| (*first, rest))
}

/// An input that [`choose`] takes apart.
fn chosen(which: u8, bytes: &[u8]) -> Vec<u8> {
    [&[which], bytes].concat()
}

/// A file with these bytes, in memory where the system has such a folder.
fn scratch(bytes: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new_in(scratch_folder()).expect("a scratch file");
    std::fs::write(file.path(), bytes).expect("a scratch file can be written");
    file
}

fn scratch_folder() -> std::path::PathBuf {
    let shm = std::path::Path::new("/dev/shm");
    if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() }
}

//! Every key derivation and every context that encryption or a signature is bound to: the one list
//! that `docs/formats.md` quotes. Nothing else in the crate writes a label.
//!
//! Keys derive by HKDF-Expand (RFC 5869, SHA-256) from keys that are uniform already. The info is
//! the label followed by fields of fixed length: `domain` 16 bytes, `epoch`, `generation` and Raft
//! ids 8 bytes, key numbers 4 bytes, all big-endian, `x` and `kind` 1 byte. A field of varying
//! length, written `len·field`, has its length before it as 4 bytes. No label is a prefix of another.
//!
//! | derived | from | info |
//! |---|---|---|
//! | share coefficients, 32·(t−1) bytes | root key | `conclave/share/v1` domain epoch |
//! | share verification seed (Ed25519) | the share's y | `conclave/share-verify/v1` domain epoch x |
//! | root check | root key | `conclave/root-check/v1` domain epoch |
//! | domain wrap key | root key | `conclave/domain-wrap/v1` domain epoch |
//! | operator check | operator key | `conclave/operator-check/v1` domain generation |
//! | recovery private key (X25519) | operator key | `conclave/recovery/v1` domain generation |
//! | node-seal root | operator key | `conclave/node-seal/v1` domain generation |
//! | node-seal key | node-seal root | `conclave/node-seal-key/v1` domain generation len·name |
//! | token key | index key | `conclave/token-key/v1` domain |
//!
//! | context (associated data, HPKE info or signed message) | content |
//! |---|---|
//! | record, AAD | `conclave/record/v1` domain kind id(16) format(4) |
//! | answer of a token, AAD | `conclave/answer/v1` domain domain-key-epoch(4) token(32) |
//! | import token, AAD | `conclave/import-token/v1` domain domain-key-epoch(4) key-id(16) |
//! | domain key wrap, AAD | `conclave/domain-key/v1` domain domain-key-epoch(4) epoch |
//! | root wrap, HPKE info | `conclave/root-wrap/v1` domain generation epoch |
//! | wrapped share, AAD | `conclave/wrapped-share/v1` domain epoch x generation len·seal len·name |
//! | share on its way to a node, HPKE info | `conclave/share-delivery/v1` domain epoch raft-id |
//! | asking for a share, signed | `conclave/share-ask/v1` len·role len·domain len·epoch len·asker len·giver len·nonce len·hpke-key |
//! | the answer, HPKE info | `conclave/share-answer/v1` SHA-256(signed message) |
//! | audit entry, AAD | `conclave/audit-entry/v1` domain key-number(4) |
//! | intake entry, HPKE info | `conclave/intake/v1` domain |
//!
//! | identifier | how |
//! |---|---|
//! | record id of a name | HMAC(index key, len·domain len·account len·kind len·name), first 16 bytes |
//! | token | HMAC(token key, len·principal len·request-id) |
//! | key id from a token | SHA-256(`conclave/key-id/v1` domain token), first 16 bytes, shaped as a UUID of version 4 |
//! | grant id from a token | SHA-256(`conclave/grant-id/v1` domain token), first 16 bytes |
//!
//! The name HMAC begins with four bytes 0,0,0,16, which no label does, so it shares its key with a
//! derivation safely.

use conclave_crypto::ed25519::SigningKey;
use conclave_crypto::secret::{Key, Secret};
use conclave_crypto::{hkdf, sharing};

use crate::ids::{DomainId, EpochNumber, OperatorGeneration, RaftId};

/// The coefficients of a dealing, in the layout that [`sharing::deal`] takes.
pub(crate) fn share_coefficients(
    root: &Key,
    domain: DomainId,
    epoch: EpochNumber,
    threshold: u8,
) -> Secret {
    let mut bytes = vec![0; sharing::coefficients_len(threshold)];
    hkdf::expand(root, &[b"conclave/share/v1", &domain.0, &epoch.bytes()], &mut bytes)
        .expect("a threshold of at most 255 takes 254 times 32 bytes, one digest below the most");
    Secret::from_vec(bytes)
}

/// What the holder of a share signs with, and what others check the share against.
pub(crate) fn share_signing_key(
    y: &Key,
    domain: DomainId,
    epoch: EpochNumber,
    x: u8,
) -> SigningKey {
    let info: [&[u8]; 4] = [b"conclave/share-verify/v1", &domain.0, &epoch.bytes(), &[x]];
    SigningKey::from_seed(&hkdf::derive(y, &info))
}

/// The check value of a root key, as a [`Key`] for its constant-time comparison.
pub(crate) fn root_check(root: &Key, domain: DomainId, epoch: EpochNumber) -> Key {
    hkdf::derive(root, &[b"conclave/root-check/v1", &domain.0, &epoch.bytes()])
}

pub(crate) fn domain_wrap_key(root: &Key, domain: DomainId, epoch: EpochNumber) -> Key {
    hkdf::derive(root, &[b"conclave/domain-wrap/v1", &domain.0, &epoch.bytes()])
}

pub(crate) fn operator_check(key: &Key, domain: DomainId, generation: OperatorGeneration) -> Key {
    hkdf::derive(key, &[b"conclave/operator-check/v1", &domain.0, &generation.bytes()])
}

pub(crate) fn recovery_key(key: &Key, domain: DomainId, generation: OperatorGeneration) -> Key {
    hkdf::derive(key, &[b"conclave/recovery/v1", &domain.0, &generation.bytes()])
}

pub(crate) fn node_seal_root(key: &Key, domain: DomainId, generation: OperatorGeneration) -> Key {
    hkdf::derive(key, &[b"conclave/node-seal/v1", &domain.0, &generation.bytes()])
}

pub(crate) fn node_seal_key(
    root: &Key,
    domain: DomainId,
    generation: OperatorGeneration,
    name: &str,
) -> Key {
    let label: &[u8] = b"conclave/node-seal-key/v1";
    let len = length(name.as_bytes());
    hkdf::derive(root, &[label, &domain.0, &generation.bytes(), &len, name.as_bytes()])
}

pub(crate) fn token_key(index_key: &Key, domain: DomainId) -> Key {
    hkdf::derive(index_key, &[b"conclave/token-key/v1", &domain.0])
}

pub(crate) fn record_aad(domain: DomainId, kind: u8, id: &[u8; 16], format: u32) -> Vec<u8> {
    [b"conclave/record/v1", &domain.0[..], &[kind], id, &format.to_be_bytes()].concat()
}

pub(crate) fn answer_aad(domain: DomainId, key_epoch: u32, token: &[u8; 32]) -> Vec<u8> {
    [b"conclave/answer/v1", &domain.0[..], &key_epoch.to_be_bytes(), token].concat()
}

pub(crate) fn import_token_aad(domain: DomainId, key_epoch: u32, key_id: &[u8; 16]) -> Vec<u8> {
    let label: &[u8] = b"conclave/import-token/v1";
    [label, &domain.0, &key_epoch.to_be_bytes(), key_id].concat()
}

pub(crate) fn domain_key_aad(domain: DomainId, key_epoch: u32, epoch: EpochNumber) -> Vec<u8> {
    let label: &[u8] = b"conclave/domain-key/v1";
    [label, &domain.0, &key_epoch.to_be_bytes(), &epoch.bytes()].concat()
}

pub(crate) fn root_wrap_info(
    domain: DomainId,
    operator: OperatorGeneration,
    root: EpochNumber,
) -> Vec<u8> {
    let label: &[u8] = b"conclave/root-wrap/v1";
    [label, &domain.0, &operator.bytes(), &root.bytes()].concat()
}

pub(crate) fn wrapped_share_aad(
    domain: DomainId,
    epoch: EpochNumber,
    x: u8,
    generation: OperatorGeneration,
    seal: &str,
    name: &str,
) -> Vec<u8> {
    let mut aad = b"conclave/wrapped-share/v1".to_vec();
    aad.extend_from_slice(&domain.0);
    aad.extend_from_slice(&epoch.bytes());
    aad.push(x);
    aad.extend_from_slice(&generation.bytes());
    push_field(&mut aad, seal.as_bytes());
    push_field(&mut aad, name.as_bytes());
    aad
}

pub(crate) fn delivery_info(domain: DomainId, epoch: EpochNumber, to: RaftId) -> Vec<u8> {
    let label: &[u8] = b"conclave/share-delivery/v1";
    [label, &domain.0, &epoch.bytes(), &to.bytes()].concat()
}

/// What the asker of a share signs. Every field has its length before it, the fixed ones too.
pub(crate) fn ask_message(fields: [&[u8]; 7]) -> Vec<u8> {
    let mut message = b"conclave/share-ask/v1".to_vec();
    fields.iter().for_each(|field| push_field(&mut message, field));
    message
}

pub(crate) fn answer_info(ask_message: &[u8]) -> Vec<u8> {
    let label: &[u8] = b"conclave/share-answer/v1";
    [label, &conclave_crypto::sha256(&[ask_message])].concat()
}

pub(crate) fn audit_aad(domain: DomainId, key_number: u32) -> Vec<u8> {
    let label: &[u8] = b"conclave/audit-entry/v1";
    [label, &domain.0, &key_number.to_be_bytes()].concat()
}

pub(crate) fn intake_info(domain: DomainId) -> Vec<u8> {
    [b"conclave/intake/v1", &domain.0[..]].concat()
}

pub(crate) fn name_message(domain: DomainId, account: &str, kind: u8, name: &str) -> Vec<u8> {
    let mut message = Vec::new();
    push_field(&mut message, &domain.0);
    push_field(&mut message, account.as_bytes());
    push_field(&mut message, &[kind]);
    push_field(&mut message, name.as_bytes());
    message
}

pub(crate) fn token_message(principal: &str, request_id: &str) -> Vec<u8> {
    let mut message = Vec::new();
    push_field(&mut message, principal.as_bytes());
    push_field(&mut message, request_id.as_bytes());
    message
}

pub(crate) fn key_id(domain: DomainId, token: &[u8; 32]) -> [u8; 16] {
    let digest = conclave_crypto::sha256(&[b"conclave/key-id/v1", &domain.0, token]);
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    id[6] = (id[6] & 0x0f) | 0x40;
    id[8] = (id[8] & 0x3f) | 0x80;
    id
}

pub(crate) fn grant_id(domain: DomainId, token: &[u8; 32]) -> [u8; 16] {
    let digest = conclave_crypto::sha256(&[b"conclave/grant-id/v1", &domain.0, token]);
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    id
}

fn push_field(message: &mut Vec<u8>, field: &[u8]) {
    message.extend_from_slice(&length(field));
    message.extend_from_slice(field);
}

fn length(field: &[u8]) -> [u8; 4] {
    u32::try_from(field.len()).expect("no field comes near 4 GiB").to_be_bytes()
}

//! Decrypt: also the first half of ReEncrypt.

use crate::ciphertext::Envelope;
use crate::fields::{CiphertextBlob, EncryptionContext};
use crate::key_ref::KeyRef;
use crate::keys::check_usable;
use crate::refusal::Refusal;
use crate::response::Decrypted;
use crate::work::{Stop, Work};

/// The ciphertext says which key; a key that the request names beside it must be that one.
pub(crate) fn decrypt(
    work: &mut Work<'_>,
    ciphertext: &CiphertextBlob,
    context: &EncryptionContext,
    named: Option<&KeyRef>,
) -> Result<Decrypted, Stop> {
    let envelope = Envelope::parse(ciphertext.bytes()).ok_or(Refusal::InvalidCiphertext)?;
    let id = envelope.header.key;
    if let Some(named) = named
        && work.find_key(named)?.id != id
    {
        return Err(Refusal::IncorrectKey.into());
    }
    let key = work.reads.key(id)?.ok_or(Refusal::InvalidCiphertext)?;
    work.concerns_key(id);
    let arn = work.domain.key_arn(id);
    check_usable(key.state, &arn)?;
    let material = key.version(envelope.header.version).ok_or(Refusal::InvalidCiphertext)?;
    let plaintext = envelope.open(material, context).ok_or(Refusal::InvalidCiphertext)?;
    Ok(Decrypted { plaintext, key: arn })
}

//! Encrypt: also the second half of ReEncrypt and GenerateDataKey.

use conclave_crypto::Secret;

use crate::ciphertext::{self, Header};
use crate::fields::EncryptionContext;
use crate::key_ref::KeyRef;
use crate::keys::check_usable;
use crate::response::Encrypted;
use crate::work::{Stop, Work};

pub(crate) fn encrypt(
    work: &mut Work<'_>,
    named: &KeyRef,
    plaintext: &Secret,
    context: &EncryptionContext,
) -> Result<Encrypted, Stop> {
    let key = work.find_key(named)?;
    let arn = work.domain.key_arn(key.id);
    check_usable(key.state, &arn)?;
    let (version, material) = key.current();
    let header = Header { key: key.id, version };
    let ciphertext = ciphertext::seal(header, material, context, plaintext, work.entropy);
    Ok(Encrypted { ciphertext, key: arn })
}

//! ReEncrypt: the plaintext stays inside.

use crate::request::ReEncrypt;
use crate::response::{ReEncrypted, Response};
use crate::usage::{decrypt, encrypt};
use crate::work::{Stop, Work};

pub(crate) fn re_encrypt(work: &mut Work<'_>, re: &ReEncrypt) -> Result<Response, Stop> {
    let opened = decrypt(work, &re.ciphertext, &re.source_context, re.source_key.as_ref())?;
    let sealed = encrypt(work, &re.destination_key, &opened.plaintext, &re.destination_context)?;
    Ok(Response::ReEncrypted(ReEncrypted {
        ciphertext: sealed.ciphertext,
        key: sealed.key,
        source_key: opened.key,
    }))
}

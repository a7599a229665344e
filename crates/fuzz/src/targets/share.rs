//! What people hold: operators' shares and ciphertexts.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use conclave_crypto::{Key, Secret, sha256};
use conclave_kms::KeyId;
use conclave_kms::ciphertext::{Envelope, Header, seal};
use conclave_kms::fields::EncryptionContext;
use conclave_seal::operator_share::OperatorShare;

use super::{choose, chosen};
use crate::Target;
use crate::stage::{STAGE, entropy};

pub(super) const OPERATOR_SHARE: Target =
    Target { name: "operator_share", run: operator_share, valid: operator_shares, brief: 18_000 };

pub(super) const CIPHERTEXT: Target =
    Target { name: "ciphertext", run: ciphertext, valid: ciphertexts, brief: 18_000 };

const PREFIX: &str = "conclave-operator-share-1:";

/// A line of text; or a share's body, written down here with the checksum that belongs there.
fn operator_share(input: &[u8]) -> bool {
    let (which, bytes) = choose(input);
    let text = match which % 2 {
        0 => String::from_utf8_lossy(bytes).into_owned(),
        _ => {
            let covered = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
            let sum = sha256(&[covered.as_bytes()]);
            let digits: String = sum.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
            format!("{covered}:{digits}")
        }
    };
    match OperatorShare::from_text(&text) {
        Ok(share) => {
            let written = share.to_text();
            let again = OperatorShare::from_text(written.expose()).expect("a share's own text");
            assert!(again.share.x == share.share.x && again.share.y.ct_eq(&share.share.y));
            assert_eq!(again.generation, share.generation);
            assert_eq!(again.to_text().expose(), written.expose());
            true
        }
        Err(refused) => {
            assert!(refused.to_string().len() < 300, "it repeats the text");
            false
        }
    }
}

fn operator_shares() -> Vec<Vec<u8>> {
    let text = STAGE.founding.operator_shares[0].expose();
    let body = text.strip_prefix(PREFIX).and_then(|rest| rest.split(':').next());
    let body = body.and_then(|body| URL_SAFE_NO_PAD.decode(body).ok()).unwrap_or_default();
    vec![chosen(0, text.as_bytes()), chosen(1, &body)]
}

fn key() -> Key {
    Key::generate(&mut entropy())
}

fn context(pairs: &[(&str, &str)]) -> EncryptionContext {
    let owned = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    EncryptionContext::parse(owned).expect("a context")
}

/// Of the plaintext `plaintext`.
pub(super) fn ciphertext_of(pairs: &[(&str, &str)]) -> Vec<u8> {
    let header = Header { key: KeyId::new([0x42; 16]), version: 1 };
    let plaintext = Secret::copy_from(b"plaintext");
    seal(header, &key(), &context(pairs), &plaintext, &mut entropy())
}

/// Only the very ciphertext that was made opens.
fn ciphertext(input: &[u8]) -> bool {
    let Some(envelope) = Envelope::parse(input) else { return false };
    let made = ciphertext_of(&[]);
    let opened = envelope.open(&key(), &context(&[]));
    assert_eq!(opened.is_some(), input == made, "another ciphertext opened");
    assert!(envelope.open(&key(), &context(&[("a", "b")])).is_none());
    true
}

fn ciphertexts() -> Vec<Vec<u8>> {
    vec![ciphertext_of(&[]), ciphertext_of(&[("purpose", "test")])]
}

//! Signed notes and verifier keys (C2SP `signed-note`, v1.0.0), with Ed25519 and nothing else.
//!
//! Stricter than the specification in one point: a note has exactly one signature line, so that
//! no byte of it can change unnoticed. Witnesses' cosignatures would be further lines; a reader
//! for those belongs to whoever collects them.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use conclave_crypto::{SigningKey, VerifyingKey, sha256};

/// Most bytes of a note.
pub const MAX_NOTE: usize = 4096;

/// Signature type: Ed25519 as in RFC 8032.
const ALGORITHM: u8 = 1;

/// What a signature line begins with: an em dash and a space.
const SIGNATURE_MARK: &str = "\u{2014} ";

/// Who signs notes, and the public key to check that with. Shown and parsed as
/// `<name>+<key id in hex>+<base64(0x01 ‖ public key)>`.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    key: VerifyingKey,
}

impl VerifierKey {
    /// The verifier key of `name`.
    ///
    /// # Errors
    /// [`VerifierKeyError::Name`] if no key may be named so.
    pub fn new(name: &str, key: VerifyingKey) -> Result<Self, VerifierKeyError> {
        let forbidden = |c: char| c.is_whitespace() || c.is_control() || c == '+';
        if name.is_empty() || name.len() > MAX_NOTE / 4 || name.contains(forbidden) {
            return Err(VerifierKeyError::Name);
        }
        Ok(Self { name: name.to_owned(), key })
    }

    /// Whose key this is; for a domain's audit key, the log's origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public key.
    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// The first four bytes of `SHA-256(name ‖ "\n" ‖ 0x01 ‖ public key)`: a hint at which key
    /// signed, not a proof.
    pub fn id(&self) -> [u8; 4] {
        key_id(&self.name, &self.key)
    }
}

fn key_id(name: &str, key: &VerifyingKey) -> [u8; 4] {
    let digest = sha256(&[name.as_bytes(), b"\n", &[ALGORITHM], key.as_bytes()]);
    [digest[0], digest[1], digest[2], digest[3]]
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let public = [&[ALGORITHM], self.key.as_bytes().as_slice()].concat();
        write!(f, "{}+{}+{}", self.name, hex::encode(self.id()), STANDARD.encode(public))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}

impl FromStr for VerifierKey {
    type Err = VerifierKeyError;

    fn from_str(text: &str) -> Result<Self, VerifierKeyError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(public)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(VerifierKeyError::Shape);
        };
        let public = STANDARD.decode(public).map_err(|_| VerifierKeyError::Shape)?;
        let Some((&ALGORITHM, public)) = public.split_first() else {
            return Err(VerifierKeyError::Algorithm);
        };
        let key = VerifyingKey::from_bytes(public).map_err(|_| VerifierKeyError::PublicKey)?;
        let parsed = Self::new(name, key)?;
        if id != hex::encode(parsed.id()) {
            return Err(VerifierKeyError::Id);
        }
        // Nothing but the name, the id and the key is left to differ, but one key has one string.
        if parsed.to_string() == text { Ok(parsed) } else { Err(VerifierKeyError::Shape) }
    }
}

/// The note saying `text`, signed by `name` with `key`. The text ends in a newline.
pub fn sign(text: &str, name: &str, key: &SigningKey) -> String {
    debug_assert!(text.ends_with('\n'), "a note's text is whole lines");
    let id = key_id(name, &key.verifying_key());
    let signature = [id.as_slice(), &key.sign(text.as_bytes())].concat();
    format!("{text}\n{SIGNATURE_MARK}{name} {}\n", STANDARD.encode(signature))
}

/// The text of `note`, if it is signed by `key` and by nobody else.
///
/// # Errors
/// [`NoteError`].
pub fn open<'a>(note: &'a str, key: &VerifierKey) -> Result<&'a str, NoteError> {
    if note.len() > MAX_NOTE {
        return Err(NoteError::Shape);
    }
    // The last blank line ends the text; what follows must be one signature line and no more.
    let split = note.rfind("\n\n").ok_or(NoteError::Shape)? + 1;
    let (text, signatures) = (&note[..split], &note[split + 1..]);
    let line = signatures
        .strip_suffix('\n')
        .and_then(|line| line.strip_prefix(SIGNATURE_MARK))
        .filter(|line| !line.contains('\n'))
        .ok_or(NoteError::Shape)?;
    if text.chars().any(|c| c.is_control() && c != '\n') {
        return Err(NoteError::Shape);
    }
    let (name, signature) = line.rsplit_once(' ').ok_or(NoteError::Shape)?;
    let signature = STANDARD.decode(signature).map_err(|_| NoteError::Shape)?;
    let (id, signature) = signature.split_first_chunk::<4>().ok_or(NoteError::Shape)?;
    if name != key.name || *id != key.id() {
        return Err(NoteError::OtherKey);
    }
    key.key.verify(text.as_bytes(), signature).map_err(|_| NoteError::Signature)?;
    Ok(text)
}

/// Why a text is no verifier key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifierKeyError {
    /// Not three parts, or not base64.
    #[error("a verifier key looks like NAME+0123abcd+BASE64, on one line; copy it whole")]
    Shape,
    /// A name has no spaces and no plus sign.
    #[error("the name in a verifier key is not empty and has neither spaces nor a plus sign")]
    Name,
    /// Not Ed25519.
    #[error("only Ed25519 verifier keys (type 1) are supported")]
    Algorithm,
    /// Not a public key.
    #[error("the verifier key holds no valid Ed25519 public key")]
    PublicKey,
    /// The id does not belong to name and key.
    #[error("the verifier key's id does not belong to its name and key; copy it again")]
    Id,
}

/// Why a note says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not a text, a blank line and one signature line.
    #[error("this is not a note with one signature")]
    Shape,
    /// Signed in another name, or with another key.
    #[error("the note is signed with another key than the one given")]
    OtherKey,
    /// The signature is not over this text.
    #[error("the note's signature does not match its text")]
    Signature,
    /// A signed text that is not the kind of text expected.
    #[error("the note is signed, but it is not a checkpoint of an audit log")]
    NotACheckpoint,
}

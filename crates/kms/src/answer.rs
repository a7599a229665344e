//! What is kept of a mutation's outcome, sealed, so that a retry gets the same answer on any node.

use conclave_crypto::Entropy;
use conclave_proto::record;
use conclave_seal::Keyring;
use prost::Message;

use crate::exception::Exception;
use crate::key_ref::KeyId;
use crate::plan::DecideError;
use crate::records::KeyState;
use crate::refusal::Refusal;

/// How much is kept of a refusal's message, in bytes: the whole answer has at most
/// `conclave_seal::keyring::ANSWER_LEN_MAX`.
const MESSAGE_BYTES_MAX: usize = 128;

/// What a change leaves behind for its answer: a retry's is made of the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) now_ms: u64,
    /// The key that was created or changed, as it stood then.
    pub(crate) key: Option<KeptKey>,
    /// The id of a key material or a grant, or nothing.
    pub(crate) item: Vec<u8>,
    /// The epoch of the domain key.
    pub(crate) epoch: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeptKey {
    pub(crate) id: KeyId,
    pub(crate) state: KeyState,
    pub(crate) versions: u32,
}

impl Kept {
    pub(crate) fn nothing(now_ms: u64) -> Self {
        Self { now_ms, key: None, item: Vec::new(), epoch: 0 }
    }

    pub(crate) fn key(now_ms: u64, key: KeptKey) -> Self {
        Self { key: Some(key), ..Self::nothing(now_ms) }
    }
}

/// A stored format: fields are added, never changed. Golden bytes below.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Answer {
    /// Of the request: the same request id under another request is refused.
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) fingerprint: Vec<u8>,
    #[prost(uint64, tag = "2")]
    now_ms: u64,
    /// The key that was created or changed; empty if none was.
    #[prost(bytes = "vec", tag = "3")]
    key_id: Vec<u8>,
    #[prost(enumeration = "record::KeyState", tag = "4")]
    state: i32,
    #[prost(uint64, tag = "5")]
    deletion_ms: u64,
    /// Of a key; or of the domain key, its epoch.
    #[prost(uint32, tag = "6")]
    versions: u32,
    /// Of a refusal.
    #[prost(enumeration = "Exception", tag = "7")]
    exception: i32,
    #[prost(string, tag = "8")]
    message: String,
    /// The id of a key material or a grant.
    #[prost(bytes = "vec", tag = "9")]
    item: Vec<u8>,
}

impl Answer {
    /// Of a refusal, or of what was changed.
    pub(crate) fn of(fingerprint: [u8; 16], now_ms: u64, reply: Result<&Kept, &Refusal>) -> Self {
        let mut answer = Self { fingerprint: fingerprint.to_vec(), now_ms, ..Self::default() };
        match reply {
            Ok(kept) => {
                answer.versions = kept.epoch;
                answer.item.clone_from(&kept.item);
                if let Some(key) = &kept.key {
                    answer.key_id = key.id.bytes().to_vec();
                    answer.state = key.state.to_proto() as i32;
                    answer.deletion_ms = key.state.deletion_ms();
                    answer.versions = key.versions;
                }
            }
            Err(refusal) => {
                answer.exception = refusal.exception() as i32;
                answer.message = shortened(refusal.message());
            }
        }
        answer
    }

    pub(crate) fn kept(&self) -> Result<Kept, DecideError> {
        let mut kept = Kept { item: self.item.clone(), ..Kept::nothing(self.now_ms) };
        if self.key_id.is_empty() {
            kept.epoch = self.versions;
            return Ok(kept);
        }
        let id = self.key_id.as_slice().try_into().map_err(|_| DecideError::AnswerContent)?;
        let state =
            KeyState::from_proto(self.state, self.deletion_ms).ok_or(DecideError::AnswerContent)?;
        kept.key = Some(KeptKey { id: KeyId::new(id), state, versions: self.versions });
        Ok(kept)
    }

    pub(crate) fn refusal(&self) -> Option<Refusal> {
        let message = self.message.clone();
        match self.exception() {
            Exception::Unspecified if self.exception == 0 => None,
            exception => Some(Refusal::Earlier { exception, message }),
        }
    }

    pub(crate) fn seal(
        &self,
        keyring: &Keyring,
        token: &[u8; 32],
        entropy: &mut dyn Entropy,
    ) -> Result<Vec<u8>, DecideError> {
        Ok(keyring.seal_answer(token, &self.encode_to_vec(), entropy)?)
    }

    pub(crate) fn open(
        keyring: &Keyring,
        token: &[u8; 32],
        sealed: &[u8],
    ) -> Result<Self, DecideError> {
        let opened = keyring.open_answer(token, sealed)?;
        Self::decode(opened.expose()).map_err(|_| DecideError::AnswerContent)
    }
}

fn shortened(mut message: String) -> String {
    const MARK: &str = "…";
    if message.len() > MESSAGE_BYTES_MAX {
        let mut end = MESSAGE_BYTES_MAX - MARK.len();
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        message.truncate(end);
        message += MARK;
    }
    message
}

#[cfg(test)]
mod tests {
    use conclave_seal::keyring::ANSWER_LEN_MAX;

    use super::*;

    fn changed(deletion_ms: u64, versions: u32) -> Kept {
        let state = KeyState::PendingDeletion { deletion_ms };
        Kept::key(5, KeptKey { id: KeyId::new([0x11; 16]), state, versions })
    }

    /// A kept format: other nodes, and later versions, read what this one wrote.
    #[test]
    fn golden_answers() {
        let kept = changed(1000, 2);
        let answer = Answer::of([0x33; 16], 5, Ok(&kept));
        assert_eq!(
            hex::encode(answer.encode_to_vec()),
            "0a103333333333333333333333333333333310051a10111111111111111111111111111111112003\
             28e8073002"
        );
        assert!(answer.refusal().is_none());
        assert_eq!(answer.kept().unwrap(), kept);

        let answer = Answer::of([0x22; 16], 5, Err(&Refusal::Disabled { arn: "K".to_owned() }));
        assert_eq!(
            hex::encode(answer.encode_to_vec()),
            "0a102222222222222222222222222222222210053808420e4b2069732064697361626c65642e"
        );
        assert_eq!(answer.refusal().unwrap().reason(), "DisabledException: K is disabled.");

        let kept = Kept { item: vec![0x44; 4], ..Kept::nothing(5) };
        let answer = Answer::of([0x22; 16], 5, Ok(&kept));
        assert_eq!(
            hex::encode(answer.encode_to_vec()),
            "0a102222222222222222222222222222222210054a0444444444"
        );
        assert_eq!(answer.kept().unwrap(), kept);
    }

    #[test]
    fn the_longest_answer_fits() {
        let arn = "ä".repeat(1000);
        let answer = Answer::of([0xff; 16], u64::MAX, Err(&Refusal::RotationLimit { arn }));
        assert!(answer.message.len() <= MESSAGE_BYTES_MAX && answer.message.ends_with('…'));
        assert!(answer.encoded_len() <= ANSWER_LEN_MAX);
        let kept = Kept { now_ms: u64::MAX, item: vec![0xff; 32], ..changed(u64::MAX, u32::MAX) };
        let answer = Answer::of([0xff; 16], u64::MAX, Ok(&kept));
        assert!(answer.encoded_len() <= ANSWER_LEN_MAX);
    }
}

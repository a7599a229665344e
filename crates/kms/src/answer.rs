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
use crate::response::Response;

/// How much is kept of a refusal's message, in bytes: the whole answer has at most
/// `conclave_seal::keyring::ANSWER_LEN_MAX`.
const MESSAGE_BYTES_MAX: usize = 128;

/// A stored format: fields are added, never changed. Golden bytes below.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Answer {
    /// Of the request: the same request id under another request is refused.
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) fingerprint: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub(crate) now_ms: u64,
    /// The key that was created or changed; empty if none was.
    #[prost(bytes = "vec", tag = "3")]
    key_id: Vec<u8>,
    #[prost(enumeration = "record::KeyState", tag = "4")]
    state: i32,
    #[prost(uint64, tag = "5")]
    deletion_ms: u64,
    /// Of a key; or of the domain key, its epoch.
    #[prost(uint32, tag = "6")]
    pub(crate) versions: u32,
    /// Of a refusal.
    #[prost(enumeration = "Exception", tag = "7")]
    exception: i32,
    #[prost(string, tag = "8")]
    message: String,
}

impl Answer {
    pub(crate) fn of(
        fingerprint: [u8; 16],
        now_ms: u64,
        reply: &Result<Response, Refusal>,
    ) -> Self {
        let mut answer = Self { fingerprint: fingerprint.to_vec(), now_ms, ..Self::default() };
        match reply {
            Ok(Response::KeyCreated(key)) => answer.put_key(key.id, key.state, key.versions),
            Ok(Response::KeyChanged(key)) => answer.put_key(key.id, key.state, key.versions),
            Ok(Response::DomainKeyRotated { epoch }) => answer.versions = *epoch,
            Ok(_) => {}
            Err(refusal) => {
                answer.exception = refusal.exception() as i32;
                answer.message = shortened(refusal.message());
            }
        }
        answer
    }

    fn put_key(&mut self, id: KeyId, state: KeyState, versions: u32) {
        self.key_id = id.bytes().to_vec();
        self.state = state.to_proto() as i32;
        self.deletion_ms = state.deletion_ms();
        self.versions = versions;
    }

    /// The key, if the answer is about one.
    pub(crate) fn key(&self) -> Result<(KeyId, KeyState), DecideError> {
        let id = self.key_id.as_slice().try_into().map_err(|_| DecideError::AnswerContent)?;
        let state =
            KeyState::from_proto(self.state, self.deletion_ms).ok_or(DecideError::AnswerContent)?;
        Ok((KeyId::new(id), state))
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
    use conclave_proto::v1;
    use conclave_seal::keyring::ANSWER_LEN_MAX;

    use super::*;
    use crate::request::Request;
    use crate::response::KeyChange;

    /// A kept format: other nodes, and later versions, read what this one wrote.
    #[test]
    fn golden_answers() {
        let request = v1::ScheduleKeyDeletionRequest { key: "alias/a".to_owned(), days: 7 };
        let fingerprint = Request::try_from(request).unwrap().fingerprint().unwrap();
        let changed = Response::KeyChanged(KeyChange {
            id: KeyId::new([0x11; 16]),
            arn: String::new(),
            state: KeyState::PendingDeletion { deletion_ms: 1000 },
            versions: 2,
        });
        let answer = Answer::of(fingerprint, 5, &Ok(changed));
        assert_eq!(
            hex::encode(answer.encode_to_vec()),
            "0a10e7816c88e78eeb5c51d63109b7eed29610051a10111111111111111111111111111111112003\
             28e8073002"
        );
        assert!(answer.refusal().is_none() && answer.key().is_ok());

        let answer = Answer::of([0x22; 16], 5, &Err(Refusal::Disabled { arn: "K".to_owned() }));
        assert_eq!(
            hex::encode(answer.encode_to_vec()),
            "0a102222222222222222222222222222222210053808420e4b2069732064697361626c65642e"
        );
        assert_eq!(answer.refusal().unwrap().reason(), "DisabledException: K is disabled.");
    }

    #[test]
    fn the_longest_answer_fits() {
        let arn = "ä".repeat(1000);
        let mut answer = Answer::of([0xff; 16], u64::MAX, &Err(Refusal::RotationLimit { arn }));
        assert!(answer.message.len() <= MESSAGE_BYTES_MAX && answer.message.ends_with('…'));
        assert!(answer.encoded_len() <= ANSWER_LEN_MAX);
        let pending = KeyState::PendingDeletion { deletion_ms: u64::MAX };
        (answer.exception, answer.message) = (0, String::new());
        answer.put_key(KeyId::new([0xff; 16]), pending, u32::MAX);
        assert!(answer.encoded_len() <= ANSWER_LEN_MAX);
    }
}

//! The import token: all that is known between GetParametersForImport and ImportKeyMaterial, held by
//! the caller and by nobody else. It opens only here, and only for the key that it was made for.
//!
//! ```text
//! magic C0 4E 49 ‖ format 01 ‖ domain key epoch, u32 ‖ sealed message
//! in it: algorithm, 1 ‖ wrapping key spec, 1 ‖ ends, ms u64 ‖ private key, PKCS #8
//! ```
//! Integers are big-endian. The key is bound by the sealing (`conclave_seal`, `import_token.rs`).

use conclave_crypto::Secret;
use conclave_crypto::rsa::DecryptingKey;
use conclave_seal::Keyring;
use conclave_seal::keyring::ImportTokenError;

use crate::importing::wrapping::Wrapping;
use crate::key_ref::KeyId;
use crate::refusal::Refusal;
use crate::work::Work;

const MAGIC_AND_FORMAT: [u8; 4] = [0xC0, 0x4E, 0x49, 0x01];
const HEAD_LEN: usize = 10;
/// How long a token is good for.
pub(super) const VALID_MS: u64 = 24 * 3_600_000;

#[derive(Debug)]
pub(super) struct ImportToken {
    pub(super) wrapping: Wrapping,
    /// When it ends, in milliseconds of cluster time.
    pub(super) ends_ms: u64,
    /// PKCS #8.
    pub(super) private_key: Secret,
}

impl ImportToken {
    /// For the key `id` alone.
    pub(super) fn seal(&self, id: KeyId, work: &mut Work<'_>) -> Vec<u8> {
        let sealed = work.seal_import_token(id, &self.encode());
        [&MAGIC_AND_FORMAT[..], &sealed].concat()
    }

    /// What was sealed for the key `id` and has not ended at `now_ms`.
    pub(super) fn open(
        bytes: &[u8],
        id: KeyId,
        keyring: &Keyring,
        now_ms: u64,
    ) -> Result<Self, Refusal> {
        let sealed = bytes.strip_prefix(&MAGIC_AND_FORMAT).ok_or(Refusal::InvalidImportToken)?;
        let opened =
            keyring.open_import_token(id.bytes(), sealed).map_err(|error| match error {
                ImportTokenError::NotAuthentic => Refusal::InvalidImportToken,
                ImportTokenError::Retired { .. } => Refusal::ExpiredImportToken,
            })?;
        let token = Self::decode(&opened).ok_or(Refusal::InvalidImportToken)?;
        if token.ends_ms <= now_ms { Err(Refusal::ExpiredImportToken) } else { Ok(token) }
    }

    /// What was wrapped for this token, or a refusal that does not say why there is nothing.
    pub(super) fn unwrap(&self, wrapped: &[u8]) -> Result<Secret, Refusal> {
        let key = DecryptingKey::from_pkcs8(self.wrapping.size, self.private_key.expose());
        let key = key.map_err(|_| Refusal::InvalidImportToken)?;
        self.wrapping.unwrap(&key, wrapped).ok_or(Refusal::InvalidCiphertext)
    }

    fn encode(&self) -> Secret {
        let mut content = Secret::zeroed(HEAD_LEN + self.private_key.len());
        let (head, private_key) = content.expose_mut().split_at_mut(HEAD_LEN);
        head[..2].copy_from_slice(&self.wrapping.encode());
        head[2..].copy_from_slice(&self.ends_ms.to_be_bytes());
        private_key.copy_from_slice(self.private_key.expose());
        content
    }

    fn decode(content: &Secret) -> Option<Self> {
        let (wrapping, rest) = content.expose().split_first_chunk()?;
        let (ends_ms, private_key) = rest.split_first_chunk()?;
        Some(Self {
            wrapping: Wrapping::decode(*wrapping)?,
            ends_ms: u64::from_be_bytes(*ends_ms),
            private_key: Secret::copy_from(private_key),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A format that other nodes and later versions read, for a day. Every algorithm and every size.
    #[test]
    fn golden_contents() {
        let algorithms = [
            "RSAES_OAEP_SHA_1",
            "RSAES_OAEP_SHA_256",
            "RSA_AES_KEY_WRAP_SHA_1",
            "RSA_AES_KEY_WRAP_SHA_256",
        ];
        for (algorithm, first) in algorithms.into_iter().zip(1..) {
            for (spec, second) in ["RSA_2048", "RSA_3072", "RSA_4096"].into_iter().zip(1..) {
                let token = ImportToken {
                    wrapping: Wrapping::parse(algorithm, spec).unwrap(),
                    ends_ms: 0x0102_0304_0506_0708,
                    private_key: Secret::copy_from(b"key"),
                };
                let golden = [&[first, second, 1, 2, 3, 4, 5, 6, 7, 8][..], b"key"].concat();
                assert_eq!(token.encode().expose(), golden);
                let read = ImportToken::decode(&Secret::from_vec(golden)).unwrap();
                assert_eq!(read.wrapping.names(), (algorithm, spec));
                assert_eq!(read.ends_ms, token.ends_ms);
                assert!(read.private_key.ct_eq(b"key"));
            }
        }
        for bad in [&[0, 1][..], &[5, 1], &[1, 0], &[1, 4], &[]] {
            let bytes = [bad, &[0; 8]].concat();
            assert!(ImportToken::decode(&Secret::from_vec(bytes)).is_none(), "{bad:?}");
        }
    }
}

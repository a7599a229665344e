//! A session that is logged in: wrap, unwrap, destroy, list.
//!
//! Everything here is one blocking call after another. Nothing is tried again except where a token
//! does not say whether it failed or was given the wrong bytes.

use std::sync::Arc;

use conclave_crypto::{Entropy, Secret, SystemEntropy};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::session::Session;
use cryptoki::slot::Slot;
use cryptoki::types::Ulong;

use crate::clock::CallClock;
use crate::connector::{TokenDescription, describe};
use crate::error::{HsmError, from_call};
use crate::keys::{Found, Keys};
use crate::label::KeyLabel;
use crate::module::Module;
use crate::settings::{IvSource, TokenSelector};
use crate::wrapped::{self, AAD_LEN_MAX, IV_LEN, PLAINTEXT_LEN_MAX, TAG_LEN};

/// The tag in bits, as PKCS#11 counts it.
const TAG_BITS: Ulong = Ulong::new(128);

/// A token, logged in. Dropping it closes the session and finalises the module.
pub struct TokenSession {
    /// There until this is dropped: the session goes before the module.
    session: Option<Session>,
    module: Module,
    slot: Slot,
    description: TokenDescription,
    iv: IvSource,
    clock: Arc<CallClock>,
}

impl TokenSession {
    pub(crate) fn new(
        session: Session,
        module: Module,
        slot: Slot,
        description: TokenDescription,
        iv: IvSource,
        clock: Arc<CallClock>,
    ) -> Self {
        Self { session: Some(session), module, slot, description, iv, clock }
    }

    /// The token in words.
    pub fn description(&self) -> &TokenDescription {
        &self.description
    }

    /// Encrypts `plaintext` under the token's key of that label, and binds it to `aad`. The key is
    /// made if there is none; what is returned has been seen to unwrap.
    ///
    /// # Errors
    /// [`HsmError`]; a key made before the failure stays and is used the next time.
    pub fn wrap(
        &self,
        label: &KeyLabel,
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, HsmError> {
        if plaintext.len() > PLAINTEXT_LEN_MAX || aad.len() > AAD_LEN_MAX {
            return Err(HsmError::TooLong { bytes: plaintext.len().max(aad.len()) });
        }
        let key = self.keys().find_or_make(label)?;
        let (iv, sealed) = self.encrypt(&key, aad, plaintext)?;
        let opened = self.decrypt(&key, &iv, aad, &sealed).map_err(|error| from_call(&error))?;
        if !opened.ct_eq(plaintext) {
            return Err(HsmError::Unusable {
                function: "C_Decrypt",
                what: "it does not give back what was encrypted",
            });
        }
        Ok(wrapped::join(&key.id, &iv, &sealed))
    }

    /// Decrypts what [`TokenSession::wrap`] made under the same label and `aad`.
    ///
    /// # Errors
    /// [`HsmError::KeyAbsent`] if the token does not hold the key, [`HsmError::NotAuthentic`] if
    /// label, `aad` or bytes are others; else what failed.
    pub fn unwrap(&self, label: &KeyLabel, aad: &[u8], wrapped: &[u8]) -> Result<Secret, HsmError> {
        if aad.len() > AAD_LEN_MAX {
            return Err(HsmError::TooLong { bytes: aad.len() });
        }
        let parts = wrapped::split(wrapped)?;
        let key = self.keys().find_exactly(label, parts.key_id)?;
        let open = || self.decrypt(&key, &parts.iv, aad, parts.sealed);
        let error = match open() {
            Ok(secret) => return Ok(secret),
            Err(error) => error,
        };
        let not_authentic = HsmError::NotAuthentic { label: label.clone() };
        if says_not_authentic(&error) {
            return Err(not_authentic);
        }
        if !may_mean_not_authentic(&error) {
            return Err(from_call(&error));
        }
        // SoftHSM, for one, has a single code for "wrong tag" and for "something broke". If the key
        // works for other bytes and still not for these, it is these.
        if self.check_works(&key).is_err() {
            return Err(from_call(&error));
        }
        open().map_err(|again| {
            if may_mean_not_authentic(&again) { not_authentic } else { from_call(&again) }
        })
    }

    /// Destroys every key of that label; says whether there was one.
    ///
    /// # Errors
    /// [`HsmError::NotDestroyed`] if the token still lists one afterwards, or what failed.
    pub fn destroy(&self, label: &KeyLabel) -> Result<bool, HsmError> {
        self.keys().destroy(label)
    }

    /// The labels that start with `prefix`, of keys such as [`TokenSession::wrap`] makes, in order.
    ///
    /// # Errors
    /// What failed.
    pub fn list(&self, prefix: &str) -> Result<Vec<KeyLabel>, HsmError> {
        self.keys().list(prefix)
    }

    /// Whether token and session are still there.
    ///
    /// # Errors
    /// What is not.
    pub fn probe(&self) -> Result<(), HsmError> {
        self.clock.call(|| self.session().get_session_info())?;
        let now = describe(&self.module.token_info(self.slot)?);
        if now == self.description {
            return Ok(());
        }
        let serial = self.description.serial.clone();
        Err(HsmError::TokenAbsent { selector: TokenSelector::Serial(serial) })
    }

    fn keys(&self) -> Keys<'_> {
        Keys { session: self.session(), clock: &self.clock }
    }

    fn session(&self) -> &Session {
        self.session.as_ref().expect("it is taken by drop alone")
    }

    fn encrypt(
        &self,
        key: &Found,
        aad: &[u8],
        plaintext: &[u8],
    ) -> Result<([u8; IV_LEN], Vec<u8>), HsmError> {
        let mut iv = [0; IV_LEN];
        if self.iv == IvSource::Node {
            SystemEntropy.fill(&mut iv);
        }
        let chosen = iv;
        let sealed = self.clock.call(|| {
            let params = GcmParams::new(&mut iv, aad, TAG_BITS)?;
            self.session().encrypt(&Mechanism::AesGcm(params), key.handle, plaintext)
        })?;
        let unusable = |what| Err(HsmError::Unusable { function: "C_Encrypt", what });
        match self.iv {
            IvSource::Token if iv == [0; IV_LEN] => {
                unusable("it was to choose the initialisation vector and did not")
            }
            IvSource::Node if iv != chosen => unusable(
                "it chose an initialisation vector of its own (set seal.pkcs11.iv = \"token\")",
            ),
            _ if sealed.len() != plaintext.len() + TAG_LEN => {
                unusable("the ciphertext does not have the length of AES-GCM's with a 16-byte tag")
            }
            _ => Ok((iv, sealed)),
        }
    }

    fn decrypt(
        &self,
        key: &Found,
        iv: &[u8; IV_LEN],
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<Secret, Error> {
        let mut iv = *iv;
        self.clock.watch(|| {
            let params = GcmParams::new(&mut iv, aad, TAG_BITS)?;
            let plaintext =
                self.session().decrypt(&Mechanism::AesGcm(params), key.handle, sealed)?;
            Ok(Secret::from_vec(plaintext))
        })
    }

    /// Seals and opens something of no meaning.
    fn check_works(&self, key: &Found) -> Result<(), HsmError> {
        let (iv, sealed) = self.encrypt(key, b"conclave/probe", &[0; 16])?;
        self.decrypt(key, &iv, b"conclave/probe", &sealed)
            .map(drop)
            .map_err(|error| from_call(&error))
    }
}

impl Drop for TokenSession {
    fn drop(&mut self) {
        // A call like any other: it may hang.
        let session = self.session.take();
        self.clock.watch(|| drop(session));
    }
}

/// `CKR_AEAD_DECRYPT_FAILED` of PKCS#11 3.0, which the crate does not name.
const AEAD_DECRYPT_FAILED: u64 = 0x35;

fn says_not_authentic(error: &Error) -> bool {
    matches!(
        error,
        Error::Pkcs11(
            RvError::EncryptedDataInvalid
                | RvError::EncryptedDataLenRange
                | RvError::UnknownErrorCode(AEAD_DECRYPT_FAILED),
            _
        )
    )
}

fn may_mean_not_authentic(error: &Error) -> bool {
    says_not_authentic(error)
        || matches!(
            error,
            Error::Pkcs11(
                RvError::GeneralError
                    | RvError::FunctionFailed
                    | RvError::DataInvalid
                    | RvError::DataLenRange
                    | RvError::SignatureInvalid
                    | RvError::DeviceError,
                _
            )
        )
}

//! The keys in the token: found by label, made if absent, and looked at before they are used.

use conclave_crypto::{Entropy, SystemEntropy};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use cryptoki::types::Ulong;

use crate::clock::CallClock;
use crate::error::HsmError;
use crate::label::KeyLabel;
use crate::wrapped::{KEY_ID_LEN, KeyId};

/// Length of a key, bytes.
const KEY_LEN: Ulong = Ulong::new(32);

/// A key in the token.
pub(crate) struct Found {
    pub(crate) handle: ObjectHandle,
    pub(crate) id: KeyId,
}

/// The keys of a session.
pub(crate) struct Keys<'a> {
    pub(crate) session: &'a Session,
    pub(crate) clock: &'a CallClock,
}

impl Keys<'_> {
    /// The key of that label, made if there is none, with every attribute checked.
    pub(crate) fn find_or_make(&self, label: &KeyLabel) -> Result<Found, HsmError> {
        let handles = self.find(&[Attribute::Label(label.as_str().as_bytes().to_vec())])?;
        match handles.as_slice() {
            [] => self.make(label),
            [only] => self.checked(label, *only),
            several => Err(HsmError::DuplicateKeys { label: label.clone(), found: several.len() }),
        }
    }

    /// The key of that label and id, for opening what it sealed. Its other attributes were checked
    /// when it sealed; now they would only keep a node from its share.
    pub(crate) fn find_exactly(&self, label: &KeyLabel, id: KeyId) -> Result<Found, HsmError> {
        let handles = self.find(&[
            Attribute::Label(label.as_str().as_bytes().to_vec()),
            Attribute::Id(id.0.to_vec()),
        ])?;
        match handles.as_slice() {
            [] => Err(HsmError::KeyAbsent { label: label.clone() }),
            [only] => Ok(Found { handle: *only, id }),
            several => Err(HsmError::DuplicateKeys { label: label.clone(), found: several.len() }),
        }
    }

    pub(crate) fn destroy(&self, label: &KeyLabel) -> Result<bool, HsmError> {
        let template = [Attribute::Label(label.as_str().as_bytes().to_vec())];
        let handles = self.find(&template)?;
        for handle in &handles {
            self.clock.call(|| self.session.destroy_object(*handle))?;
        }
        if !handles.is_empty() && !self.find(&template)?.is_empty() {
            return Err(HsmError::NotDestroyed { label: label.clone() });
        }
        Ok(!handles.is_empty())
    }

    pub(crate) fn list(&self, prefix: &str) -> Result<Vec<KeyLabel>, HsmError> {
        let mut labels = Vec::new();
        for handle in self.find(&[Attribute::KeyType(KeyType::AES)])? {
            let wanted = [AttributeType::Label];
            for attribute in self.clock.call(|| self.session.get_attributes(handle, &wanted))? {
                // Others' keys may have labels that ours never have.
                if let Attribute::Label(bytes) = attribute
                    && let Ok(text) = std::str::from_utf8(&bytes)
                    && text.starts_with(prefix)
                    && let Ok(label) = text.parse()
                {
                    labels.push(label);
                }
            }
        }
        labels.sort_unstable();
        labels.dedup();
        Ok(labels)
    }

    /// Secret keys that are kept in the token and have these attributes.
    fn find(&self, attributes: &[Attribute]) -> Result<Vec<ObjectHandle>, HsmError> {
        let mut template = vec![Attribute::Class(ObjectClass::SECRET_KEY), Attribute::Token(true)];
        template.extend_from_slice(attributes);
        self.clock.call(|| self.session.find_objects(&template))
    }

    fn make(&self, label: &KeyLabel) -> Result<Found, HsmError> {
        let mut id = [0; KEY_ID_LEN];
        SystemEntropy.fill(&mut id);
        let template = [
            Attribute::Class(ObjectClass::SECRET_KEY),
            Attribute::KeyType(KeyType::AES),
            Attribute::ValueLen(KEY_LEN),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Encrypt(true),
            Attribute::Decrypt(true),
            Attribute::Wrap(false),
            Attribute::Unwrap(false),
            Attribute::Label(label.as_str().as_bytes().to_vec()),
            Attribute::Id(id.to_vec()),
        ];
        let handle =
            self.clock.call(|| self.session.generate_key(&Mechanism::AesKeyGen, &template))?;
        let unfit = match self.checked(label, handle) {
            Ok(found) if found.id == KeyId(id) => return Ok(found),
            Ok(_) => {
                HsmError::KeyUnfit { label: label.clone(), why: "it was given another CKA_ID" }
            }
            Err(error) => error,
        };
        if matches!(unfit, HsmError::KeyUnfit { .. }) {
            // It must not be found by the next one. If it cannot be removed, that one refuses it.
            let _ = self.clock.call(|| self.session.destroy_object(handle));
        }
        Err(unfit)
    }

    /// The key as it describes itself, or why it must not be used.
    fn checked(&self, label: &KeyLabel, handle: ObjectHandle) -> Result<Found, HsmError> {
        let wanted = [
            AttributeType::KeyType,
            AttributeType::ValueLen,
            AttributeType::Token,
            AttributeType::Private,
            AttributeType::Sensitive,
            AttributeType::AlwaysSensitive,
            AttributeType::Extractable,
            AttributeType::NeverExtractable,
            AttributeType::Encrypt,
            AttributeType::Decrypt,
            AttributeType::Wrap,
            AttributeType::Unwrap,
            AttributeType::Id,
        ];
        let attributes = self.clock.call(|| self.session.get_attributes(handle, &wanted))?;
        let mut id = None;
        for attribute in &attributes {
            if let Attribute::Id(bytes) = attribute {
                id = <[u8; KEY_ID_LEN]>::try_from(bytes.as_slice()).ok();
            }
        }
        let unfit = |why| Err(HsmError::KeyUnfit { label: label.clone(), why });
        match (objection(&attributes), id) {
            (Some(why), _) => unfit(why),
            (None, None) => unfit("its CKA_ID is not one that was given here"),
            (None, Some(id)) => Ok(Found { handle, id: KeyId(id) }),
        }
    }
}

/// What is wrong with a key, if anything is. What a token does not report (not every one knows
/// `CKA_NEVER_EXTRACTABLE` of a secret key) is wrong only where it is decisive.
fn objection(attributes: &[Attribute]) -> Option<&'static str> {
    for attribute in attributes {
        let wrong = match attribute {
            Attribute::KeyType(kind) if *kind != KeyType::AES => "it is no AES key",
            Attribute::ValueLen(length) if *length != KEY_LEN => "it does not have 256 bits",
            Attribute::Token(false) => "it does not outlive a session",
            Attribute::Private(false) => "it can be used without the PIN",
            Attribute::Sensitive(false) => "it can be read in clear (CKA_SENSITIVE is false)",
            Attribute::AlwaysSensitive(false) => "it could be read in clear once",
            Attribute::Extractable(true) => "it can be taken out (CKA_EXTRACTABLE is true)",
            Attribute::NeverExtractable(false) => {
                "it could be taken out once, or was made outside the token"
            }
            Attribute::Encrypt(false) | Attribute::Decrypt(false) => {
                "it may not encrypt and decrypt"
            }
            Attribute::Wrap(true) | Attribute::Unwrap(true) => "it may wrap other keys",
            _ => continue,
        };
        return Some(wrong);
    }
    let says = |wanted: AttributeType| attributes.iter().any(|a| a.attribute_type() == wanted);
    let decisive = [
        AttributeType::KeyType,
        AttributeType::Token,
        AttributeType::Sensitive,
        AttributeType::Extractable,
    ];
    if decisive.into_iter().all(says) {
        return None;
    }
    Some("the token does not say whether it is an AES key that cannot be taken out")
}

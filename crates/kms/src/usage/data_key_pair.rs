//! GenerateDataKeyPair, with the private key's plaintext or without.

use conclave_crypto::Secret;
use conclave_proto::v1;

use crate::action::Action;
use crate::audit_entry::Told;
use crate::fields::{EncryptionContext, GrantTokens};
use crate::invalid::Invalid;
use crate::key_ref::KeyRef;
use crate::material::ToMake;
use crate::operation::{Operation, Use};
use crate::plan::DecideError;
use crate::refusal::Refusal;
use crate::response::Response;
use crate::spec::{KeySpec, KeyUsage};
use crate::usage::encrypt::{Encrypted, Under, encrypt};
use crate::work::{Stop, Work};

/// A data key pair to be made.
#[derive(Debug)]
struct DataKeyPair {
    spec: KeySpec,
    pair: ToMake,
    under: Under,
    dry_run: bool,
}

struct Made {
    private: Secret,
    public: Vec<u8>,
    encrypted: Encrypted,
}

impl DataKeyPair {
    fn parse(
        key: &str,
        spec: &str,
        context: impl IntoIterator<Item = (String, String)>,
        grant_tokens: &[String],
        dry_run: bool,
    ) -> Result<Self, Refusal> {
        GrantTokens::parse(grant_tokens)?;
        if spec.is_empty() {
            return Err(Invalid::Missing { member: "keyPairSpec" }.into());
        }
        let spec = KeySpec::parse("keyPairSpec", spec)?;
        if !spec.is_data_key_pair() {
            return Err(Invalid::NoDataKeyPair { spec: spec.name() }.into());
        }
        if spec == KeySpec::Sm2 {
            return Err(Refusal::NotOffered { what: "Key spec SM2".to_owned() });
        }
        let usage = spec.usages().first().copied().unwrap_or(KeyUsage::SignVerify);
        let under = Under::symmetric(KeyRef::parse(key)?, EncryptionContext::parse(context)?);
        Ok(Self { spec, pair: ToMake::new(spec, usage), under, dry_run })
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.key(&self.under.key);
        told.put("KeyPairSpec", self.spec.name());
        told.dry_run(self.dry_run);
        told.context(&self.under.context);
    }

    fn make(&self, work: &mut Work<'_>, action: Action) -> Result<Made, Stop> {
        let material = self.pair.get(work.entropy).map_err(DecideError::from)?;
        let private = Secret::copy_from(material.bytes());
        let public = material.pair().map(|pair| pair.spki()).unwrap_or_default();
        let encrypted = encrypt(work, action, &self.under, &private)?;
        work.unless_dry_run(self.dry_run)?;
        Ok(Made { private, public, encrypted })
    }
}

macro_rules! operation {
    ($name:ident) => {
        #[derive(Debug)]
        pub(crate) struct $name(DataKeyPair);

        impl Operation for $name {
            fn action(&self) -> Action {
                Action::$name
            }

            fn tell(&self, told: &mut Told<'_>) {
                self.0.tell(told);
            }

            fn slow(&self) -> Option<&ToMake> {
                Some(&self.0.pair)
            }
        }
    };
}
operation!(GenerateDataKeyPair);
operation!(GenerateDataKeyPairWithoutPlaintext);

impl TryFrom<v1::GenerateDataKeyPairRequest> for GenerateDataKeyPair {
    type Error = Refusal;

    fn try_from(sent: v1::GenerateDataKeyPairRequest) -> Result<Self, Refusal> {
        if sent.recipient.is_some() {
            return Err(Refusal::NotOffered { what: "Recipient".to_owned() });
        }
        let context = sent.encryption_context;
        DataKeyPair::parse(
            &sent.key_id,
            &sent.key_pair_spec,
            context,
            &sent.grant_tokens,
            sent.dry_run,
        )
        .map(Self)
    }
}

impl Use for GenerateDataKeyPair {
    fn perform(&self, work: &mut Work<'_>) -> Result<Response, Stop> {
        let Made { private, public, encrypted } = self.0.make(work, self.action())?;
        Ok(v1::GenerateDataKeyPairResponse {
            private_key_ciphertext_blob: encrypted.ciphertext,
            private_key_plaintext: private.expose().to_vec(),
            public_key: public,
            key_id: encrypted.key,
            key_pair_spec: self.0.spec.name().to_owned(),
            key_material_id: encrypted.material,
        }
        .into())
    }
}

impl TryFrom<v1::GenerateDataKeyPairWithoutPlaintextRequest>
    for GenerateDataKeyPairWithoutPlaintext
{
    type Error = Refusal;

    fn try_from(sent: v1::GenerateDataKeyPairWithoutPlaintextRequest) -> Result<Self, Refusal> {
        let context = sent.encryption_context;
        DataKeyPair::parse(
            &sent.key_id,
            &sent.key_pair_spec,
            context,
            &sent.grant_tokens,
            sent.dry_run,
        )
        .map(Self)
    }
}

impl Use for GenerateDataKeyPairWithoutPlaintext {
    fn perform(&self, work: &mut Work<'_>) -> Result<Response, Stop> {
        let Made { public, encrypted, .. } = self.0.make(work, self.action())?;
        Ok(v1::GenerateDataKeyPairWithoutPlaintextResponse {
            private_key_ciphertext_blob: encrypted.ciphertext,
            public_key: public,
            key_id: encrypted.key,
            key_pair_spec: self.0.spec.name().to_owned(),
            key_material_id: encrypted.material,
        }
        .into())
    }
}

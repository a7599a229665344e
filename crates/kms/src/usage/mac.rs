//! GenerateMac and VerifyMac.

use conclave_crypto::hmac::MacKey;
use conclave_proto::v1;

use crate::action::Action;
use crate::audit_entry::Told;
use crate::fields::{GrantTokens, SignedMessage, Tagged};
use crate::invalid::Invalid;
use crate::key_ref::KeyRef;
use crate::operation::{Operation, Use};
use crate::refusal::Refusal;
use crate::response::Response;
use crate::spec::{KeyUsage, MacAlgorithm};
use crate::work::{Stop, Work};

/// What a MAC is of, and how.
#[derive(Debug)]
struct Maced {
    key: KeyRef,
    message: SignedMessage,
    algorithm: MacAlgorithm,
    dry_run: bool,
}

impl Maced {
    fn parse(
        key: &str,
        message: Vec<u8>,
        algorithm: &str,
        grant_tokens: &[String],
        dry_run: bool,
    ) -> Result<Self, Refusal> {
        GrantTokens::parse(grant_tokens)?;
        if algorithm.is_empty() {
            return Err(Invalid::Missing { member: "macAlgorithm" }.into());
        }
        let algorithm = MacAlgorithm::parse("macAlgorithm", algorithm)?;
        let message = SignedMessage::parse(message)?;
        Ok(Self { key: KeyRef::parse(key)?, message, algorithm, dry_run })
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.key(&self.key);
        told.put("MacAlgorithm", self.algorithm.name());
        told.dry_run(self.dry_run);
    }

    /// Does `with` the key, and gives its ARN.
    fn with_key<T>(
        &self,
        work: &mut Work<'_>,
        action: Action,
        with: impl FnOnce(&MacKey) -> Result<T, Refusal>,
    ) -> Result<(T, String), Stop> {
        let key = work.usable_key(&self.key, KeyUsage::GenerateVerifyMac, action)?;
        let of_another =
            || Refusal::AlgorithmOfSpec { algorithm: self.algorithm.name(), spec: key.spec.name() };
        if !key.spec.mac_algorithms().contains(&self.algorithm) {
            return Err(of_another().into());
        }
        let (_, current) = work.current(&key)?;
        let mac_key = current.material.as_ref().and_then(|material| material.mac());
        let done = with(mac_key.ok_or_else(of_another)?)?;
        work.unless_dry_run(self.dry_run)?;
        Ok((done, work.domain.key_arn(key.id)))
    }
}

#[derive(Debug)]
pub(crate) struct GenerateMac(Maced);

impl TryFrom<v1::GenerateMacRequest> for GenerateMac {
    type Error = Refusal;

    fn try_from(sent: v1::GenerateMacRequest) -> Result<Self, Refusal> {
        let v1::GenerateMacRequest { message, key_id, mac_algorithm, grant_tokens, dry_run } = sent;
        Maced::parse(&key_id, message, &mac_algorithm, &grant_tokens, dry_run).map(Self)
    }
}

impl Operation for GenerateMac {
    fn action(&self) -> Action {
        Action::GenerateMac
    }

    fn tell(&self, told: &mut Told<'_>) {
        self.0.tell(told);
    }
}

impl Use for GenerateMac {
    fn perform(&self, work: &mut Work<'_>) -> Result<Response, Stop> {
        let message = self.0.message.bytes();
        let (mac, key_id) = self.0.with_key(work, self.action(), |key| Ok(key.mac(message)))?;
        let mac_algorithm = self.0.algorithm.name().to_owned();
        Ok(v1::GenerateMacResponse { mac, mac_algorithm, key_id }.into())
    }
}

#[derive(Debug)]
pub(crate) struct VerifyMac {
    maced: Maced,
    mac: Tagged,
}

impl TryFrom<v1::VerifyMacRequest> for VerifyMac {
    type Error = Refusal;

    fn try_from(sent: v1::VerifyMacRequest) -> Result<Self, Refusal> {
        let v1::VerifyMacRequest { message, key_id, mac_algorithm, mac, grant_tokens, dry_run } =
            sent;
        let maced = Maced::parse(&key_id, message, &mac_algorithm, &grant_tokens, dry_run)?;
        Ok(Self { maced, mac: Tagged::parse("mac", mac)? })
    }
}

impl Operation for VerifyMac {
    fn action(&self) -> Action {
        Action::VerifyMac
    }

    fn tell(&self, told: &mut Told<'_>) {
        self.maced.tell(told);
    }
}

impl Use for VerifyMac {
    fn perform(&self, work: &mut Work<'_>) -> Result<Response, Stop> {
        let (message, mac) = (self.maced.message.bytes(), self.mac.bytes());
        let ((), key_id) = self.maced.with_key(work, self.action(), |key| {
            key.verify(message, mac).map_err(|_| Refusal::InvalidMac)
        })?;
        let mac_algorithm = self.maced.algorithm.name().to_owned();
        Ok(v1::VerifyMacResponse { key_id, mac_valid: true, mac_algorithm }.into())
    }
}

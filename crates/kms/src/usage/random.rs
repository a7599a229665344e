//! GenerateRandom.

use conclave_crypto::Secret;
use conclave_proto::v1;

use crate::action::Action;
use crate::audit_entry::Told;
use crate::fields::RandomBytes;
use crate::operation::{Operation, Use};
use crate::refusal::Refusal;
use crate::response::Response;
use crate::work::{Stop, Work};

#[derive(Debug)]
pub(crate) struct GenerateRandom {
    bytes: RandomBytes,
}

impl TryFrom<v1::GenerateRandomRequest> for GenerateRandom {
    type Error = Refusal;

    fn try_from(sent: v1::GenerateRandomRequest) -> Result<Self, Refusal> {
        let not_offered = |what: &str| Refusal::NotOffered { what: what.to_owned() };
        if sent.recipient.is_some() {
            return Err(not_offered("Recipient"));
        }
        if !sent.custom_key_store_id.is_empty() {
            return Err(not_offered("A custom key store"));
        }
        Ok(Self { bytes: RandomBytes::parse(sent.number_of_bytes)? })
    }
}

impl Operation for GenerateRandom {
    fn action(&self) -> Action {
        Action::GenerateRandom
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.put("NumberOfBytes", &self.bytes.get().to_string());
    }
}

impl Use for GenerateRandom {
    fn perform(&self, work: &mut Work<'_>) -> Result<Response, Stop> {
        let random = draw(work, self.bytes.get());
        Ok(v1::GenerateRandomResponse { plaintext: random.expose().to_vec() }.into())
    }
}

pub(crate) fn draw(work: &mut Work<'_>, bytes: u32) -> Secret {
    let mut random = Secret::zeroed(bytes as usize);
    work.entropy.fill(random.expose_mut());
    random
}

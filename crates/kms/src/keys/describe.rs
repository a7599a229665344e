//! DescribeKey.

use conclave_proto::v1;

use crate::action::Action;
use crate::audit_entry::Told;
use crate::fields::GrantTokens;
use crate::key_ref::KeyRef;
use crate::operation::{Operation, Use};
use crate::refusal::Refusal;
use crate::response::Response;
use crate::work::{Stop, Work};

#[derive(Debug)]
pub(crate) struct DescribeKey {
    key: KeyRef,
}

impl TryFrom<v1::DescribeKeyRequest> for DescribeKey {
    type Error = Refusal;

    fn try_from(sent: v1::DescribeKeyRequest) -> Result<Self, Refusal> {
        GrantTokens::parse(&sent.grant_tokens)?;
        Ok(Self { key: KeyRef::parse(&sent.key_id)? })
    }
}

impl Operation for DescribeKey {
    fn action(&self) -> Action {
        Action::DescribeKey
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.key(&self.key);
    }
}

impl Use for DescribeKey {
    fn perform(&self, work: &mut Work<'_>) -> Result<Response, Stop> {
        let key = work.find_key(&self.key)?;
        let aliases = work.reads.aliases_of(key.id)?;
        let metadata = v1::KeyMetadata { aliases, ..key.metadata(work.domain) };
        Ok(v1::DescribeKeyResponse { key_metadata: Some(metadata) }.into())
    }
}

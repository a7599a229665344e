//! ReplicateKey, UpdatePrimaryRegion: there is one domain, so a multi-region key stays where it is. What
//! is asked for is checked and audited all the same, and refused by what is wrong with it first.

use conclave_proto::v1;

use crate::action::Action;
use crate::audit_entry::Told;
use crate::fields::{Description, RegionName, Tags, check_policy};
use crate::key_ref::KeyRef;
use crate::operation::{Operation, Use};
use crate::refusal::Refusal;
use crate::response::Response;
use crate::work::{Stop, Work};

#[derive(Debug)]
pub(crate) struct ReplicateKey {
    key: KeyRef,
    region: RegionName,
    description: Description,
    tags: Tags,
}

impl TryFrom<v1::ReplicateKeyRequest> for ReplicateKey {
    type Error = Refusal;

    fn try_from(sent: v1::ReplicateKeyRequest) -> Result<Self, Refusal> {
        // What it says is of no use before there is a replica that it could be about.
        check_policy(&sent.policy)?;
        Ok(Self {
            key: KeyRef::parse_key(&sent.key_id)?,
            region: RegionName::parse("replicaRegion", sent.replica_region)?,
            description: Description::parse(sent.description)?,
            tags: Tags::parse_proto(sent.tags)?,
        })
    }
}

impl Operation for ReplicateKey {
    fn action(&self) -> Action {
        Action::ReplicateKey
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.key(&self.key);
        told.put("ReplicaRegion", self.region.as_str());
        told.put_given("Description", self.description.as_str());
        told.put_all("Tag.", self.tags.pairs());
    }
}

impl Use for ReplicateKey {
    fn perform(&self, work: &mut Work<'_>) -> Result<Response, Stop> {
        Err(not_here(work, &self.key, "A replica in another domain"))
    }
}

#[derive(Debug)]
pub(crate) struct UpdatePrimaryRegion {
    key: KeyRef,
    region: RegionName,
}

impl TryFrom<v1::UpdatePrimaryRegionRequest> for UpdatePrimaryRegion {
    type Error = Refusal;

    fn try_from(sent: v1::UpdatePrimaryRegionRequest) -> Result<Self, Refusal> {
        let key = KeyRef::parse_key(&sent.key_id)?;
        Ok(Self { key, region: RegionName::parse("primaryRegion", sent.primary_region)? })
    }
}

impl Operation for UpdatePrimaryRegion {
    fn action(&self) -> Action {
        Action::UpdatePrimaryRegion
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.key(&self.key);
        told.put("PrimaryRegion", self.region.as_str());
    }
}

impl Use for UpdatePrimaryRegion {
    fn perform(&self, work: &mut Work<'_>) -> Result<Response, Stop> {
        Err(not_here(work, &self.key, "A primary key in another domain"))
    }
}

fn not_here(work: &mut Work<'_>, key: &KeyRef, what: &str) -> Stop {
    match work.find_key(key) {
        Err(stop) => stop,
        Ok(key) if !key.multi_region => {
            Refusal::NotPrimary { arn: work.domain.key_arn(key.id) }.into()
        }
        Ok(_) => Refusal::NotOffered { what: what.to_owned() }.into(),
    }
}

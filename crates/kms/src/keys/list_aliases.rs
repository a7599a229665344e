//! ListAliases. The names are read from the view as it is: the shell has made sure that it is fresh.

use conclave_proto::v1;
use conclave_store::{Kind, RecordId};

use crate::action::Action;
use crate::audit_entry::Told;
use crate::fields::PageLimit;
use crate::key_ref::{DomainInfo, KeyId, KeyRef};
use crate::operation::{Operation, Use};
use crate::records::AliasRecord;
use crate::refusal::Refusal;
use crate::response::Response;
use crate::work::{Stop, Work};

#[derive(Debug)]
pub(crate) struct ListAliases {
    /// Of this key alone.
    key: Option<KeyRef>,
    limit: PageLimit,
    after: Option<RecordId>,
}

impl TryFrom<v1::ListAliasesRequest> for ListAliases {
    type Error = Refusal;

    fn try_from(sent: v1::ListAliasesRequest) -> Result<Self, Refusal> {
        // The marker is a record id in the shape of a key id: aliases are listed by theirs.
        let after = match sent.marker.as_str() {
            "" => None,
            marker => {
                let id = KeyId::parse(marker).ok_or(Refusal::InvalidMarker)?;
                Some(RecordId::new(Kind::Alias, *id.bytes()))
            }
        };
        let key = match sent.key_id.as_str() {
            "" => None,
            key => Some(KeyRef::parse_key(key)?),
        };
        Ok(Self { key, limit: PageLimit::parse(sent.limit, 50, 100)?, after })
    }
}

impl Operation for ListAliases {
    fn action(&self) -> Action {
        Action::ListAliases
    }

    fn tell(&self, told: &mut Told<'_>) {
        if let Some(key) = &self.key {
            told.key(key);
        }
        told.put("Limit", &self.limit.get().to_string());
    }
}

impl Use for ListAliases {
    /// In order of record id, which is no order of names: names are not what records are found by.
    fn perform(&self, work: &mut Work<'_>) -> Result<Response, Stop> {
        let (limit, after) = (self.limit.get(), self.after.as_ref());
        let (page, truncated) = match &self.key {
            None => work.reads.page(Kind::Alias, after, limit),
            Some(key) => {
                let key = work.find_key(key)?;
                work.reads.page_of_aliases(key.id, after, limit)
            }
        };
        let mut aliases = Vec::with_capacity(page.len());
        for record in &page {
            aliases.push(entry(&*work.reads.listed_alias(*record)?, work.domain));
        }
        let last = page.last().filter(|_| truncated);
        Ok(v1::ListAliasesResponse {
            aliases,
            next_marker: last.map(|record| KeyId::new(*record.id()).to_string()),
            truncated,
            read_index: work.reads.read_index(),
        }
        .into())
    }
}

fn entry(alias: &AliasRecord, domain: &DomainInfo) -> v1::AliasListEntry {
    v1::AliasListEntry {
        alias_name: alias.name.clone(),
        alias_arn: domain.named_arn(&alias.name),
        target_key_id: alias.key.to_string(),
        creation_date_ms: alias.created_ms,
        // That it was made for its key is the first time that it was pointed at one.
        last_updated_date_ms: alias.updated_ms.max(alias.created_ms),
    }
}

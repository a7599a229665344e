//! TagResource, UntagResource, ListResourceTags: what people write on a key to sort their keys by. Tags
//! decide nothing here.

use conclave_proto::v1;

use crate::action::Action;
use crate::answer::Kept;
use crate::audit_entry::Told;
use crate::fields::{PageLimit, TAGS_MAX, TagKey, TagKeys, Tags};
use crate::key_ref::{DomainInfo, KeyRef};
use crate::keys::metadata::tags;
use crate::keys::state::check_labelled;
use crate::operation::{Change, Operation, Use};
use crate::records::{KeyRecord, stored_tags};
use crate::refusal::Refusal;
use crate::response::Response;
use crate::work::{Stop, Work};

#[derive(Debug)]
pub(crate) struct TagResource {
    key: KeyRef,
    tags: Tags,
}

impl TryFrom<v1::TagResourceRequest> for TagResource {
    type Error = Refusal;

    fn try_from(sent: v1::TagResourceRequest) -> Result<Self, Refusal> {
        let tags = Tags::parse_proto(sent.tags)?;
        Ok(Self { key: KeyRef::parse_key(&sent.key_id)?, tags })
    }
}

impl Operation for TagResource {
    fn action(&self) -> Action {
        Action::TagResource
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.key(&self.key);
        told.put_all("Tag.", self.tags.pairs());
    }
}

impl Change for TagResource {
    fn perform(&self, work: &mut Work<'_>) -> Result<Kept, Stop> {
        change_tags(work, &self.key, |key| self.tags.added_to(&key.tags))
    }

    fn response(&self, _: &Kept, _: &DomainInfo) -> Response {
        v1::TagResourceResponse {}.into()
    }
}

#[derive(Debug)]
pub(crate) struct UntagResource {
    key: KeyRef,
    tag_keys: TagKeys,
}

impl TryFrom<v1::UntagResourceRequest> for UntagResource {
    type Error = Refusal;

    fn try_from(sent: v1::UntagResourceRequest) -> Result<Self, Refusal> {
        let tag_keys = TagKeys::parse(sent.tag_keys)?;
        Ok(Self { key: KeyRef::parse_key(&sent.key_id)?, tag_keys })
    }
}

impl Operation for UntagResource {
    fn action(&self) -> Action {
        Action::UntagResource
    }

    /// Under the names that TagResource has for them, without values.
    fn tell(&self, told: &mut Told<'_>) {
        told.key(&self.key);
        for key in self.tag_keys.as_slice() {
            told.put(&format!("Tag.{key}"), "");
        }
    }
}

impl Change for UntagResource {
    /// A tag that the key does not have is as good as taken off.
    fn perform(&self, work: &mut Work<'_>) -> Result<Kept, Stop> {
        change_tags(work, &self.key, |key| Ok(Tags::without(&key.tags, &self.tag_keys)))
    }

    fn response(&self, _: &Kept, _: &DomainInfo) -> Response {
        v1::UntagResourceResponse {}.into()
    }
}

fn change_tags(
    work: &mut Work<'_>,
    key: &KeyRef,
    change: impl FnOnce(&KeyRecord) -> Result<Tags, Refusal>,
) -> Result<Kept, Stop> {
    let key = work.find_key(key)?;
    check_labelled(key.state, &work.domain.key_arn(key.id))?;
    let tags = change(&key)?;
    // Sealing the same again would change the digest, and every use under way would conflict.
    if tags.pairs() != key.tags {
        let mut stored = key.to_stored();
        stored.tags = stored_tags(tags.pairs());
        work.put_key(&stored);
    }
    Ok(Kept::nothing(work.now_ms))
}

#[derive(Debug)]
pub(crate) struct ListResourceTags {
    key: KeyRef,
    limit: PageLimit,
    after: Option<TagKey>,
}

impl TryFrom<v1::ListResourceTagsRequest> for ListResourceTags {
    type Error = Refusal;

    fn try_from(sent: v1::ListResourceTagsRequest) -> Result<Self, Refusal> {
        let after = match sent.marker.as_str() {
            "" => None,
            marker => Some(TagKey::of_marker(marker).ok_or(Refusal::InvalidMarker)?),
        };
        let limit = PageLimit::parse(sent.limit, TAGS_MAX, TAGS_MAX)?;
        Ok(Self { key: KeyRef::parse_key(&sent.key_id)?, limit, after })
    }
}

impl Operation for ListResourceTags {
    fn action(&self) -> Action {
        Action::ListResourceTags
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.key(&self.key);
        told.put("Limit", &self.limit.get().to_string());
    }
}

impl Use for ListResourceTags {
    /// Off the key's record, which is guarded: no list of records, so it needs no fresher view.
    fn perform(&self, work: &mut Work<'_>) -> Result<Response, Stop> {
        let key = work.find_key(&self.key)?;
        let start = match &self.after {
            None => 0,
            Some(after) => key.tags.partition_point(|(key, _)| key.as_str() <= after.as_str()),
        };
        let rest = key.tags.get(start..).unwrap_or_default();
        let page = &rest[..rest.len().min(self.limit.get())];
        let truncated = page.len() < rest.len();
        let last = page.last().filter(|_| truncated);
        Ok(v1::ListResourceTagsResponse {
            tags: tags(page),
            next_marker: last.map(|(key, _)| TagKey::to_marker(key)),
            truncated,
        }
        .into())
    }
}

//! ListKeys. The ids are read from the view as it is: the shell has made sure that it is fresh.

use conclave_store::Kind;

use crate::fields::PageLimit;
use crate::key_ref::KeyId;
use crate::reads::key_record_id;
use crate::response::{KeyPage, Response};
use crate::work::Work;

pub(crate) fn list_keys(work: &Work<'_>, limit: PageLimit, after: Option<KeyId>) -> Response {
    let after = after.map(key_record_id);
    let (page, truncated) = work.reads.page(Kind::Key, after.as_ref(), limit.get());
    let ids: Vec<_> = page.iter().map(|record| KeyId::new(*record.id())).collect();
    Response::Keys(KeyPage {
        next_marker: ids.last().filter(|_| truncated).map(KeyId::to_string),
        keys: ids.into_iter().map(|id| (id, work.domain.key_arn(id))).collect(),
        read_index: work.reads.read_index(),
    })
}

//! DescribeKey.

use crate::key_ref::KeyRef;
use crate::response::{KeyMetadata, Response};
use crate::work::{Stop, Work};

pub(crate) fn describe_key(work: &mut Work<'_>, named: &KeyRef) -> Result<Response, Stop> {
    let key = work.find_key(named)?;
    Ok(Response::KeyDescribed(KeyMetadata::of(work.domain, &key)))
}

//! GenerateDataKey, with its plaintext or without.

use conclave_crypto::Secret;

use crate::request::GenerateDataKey;
use crate::response::DataKey;
use crate::usage::encrypt;
use crate::usage::random::draw;
use crate::work::{Stop, Work};

pub(crate) fn generate_data_key(
    work: &mut Work<'_>,
    wanted: &GenerateDataKey,
) -> Result<DataKey, Stop> {
    let plaintext: Secret = draw(work, wanted.bytes.get());
    let encrypted = encrypt(work, &wanted.key, &plaintext, &wanted.context)?;
    Ok(DataKey { plaintext, encrypted })
}

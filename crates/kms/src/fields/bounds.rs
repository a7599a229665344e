//! The two checks that every bounded member goes through, refused in the words of AWS KMS.

use std::borrow::Cow;

use crate::invalid::Invalid;

/// `len` in whatever the member is counted in.
pub(super) fn check_len(
    member: impl Into<Cow<'static, str>>,
    len: usize,
    min: usize,
    max: usize,
    hint: &'static str,
) -> Result<(), Invalid> {
    if len > max {
        return Err(Invalid::TooLong { member: member.into(), max, hint });
    }
    if len < min {
        return Err(Invalid::TooShort { member: member.into(), min });
    }
    Ok(())
}

pub(super) fn check_number(
    member: &'static str,
    value: i32,
    min: u32,
    max: u32,
) -> Result<u32, Invalid> {
    match u32::try_from(value) {
        Ok(value) if (min..=max).contains(&value) => Ok(value),
        Ok(more) if more > max => Err(Invalid::TooLarge { member, value, max }),
        _ => Err(Invalid::TooSmall { member, value, min }),
    }
}

//! The two checks that every bounded member goes through, refused in the words of AWS KMS.

use crate::invalid::Invalid;

/// `len` in whatever the member is counted in.
pub(super) fn check_len(
    member: &'static str,
    len: usize,
    min: usize,
    max: usize,
    hint: &'static str,
) -> Result<(), Invalid> {
    if len > max {
        return Err(Invalid::TooLong { member, max, hint });
    }
    if len < min {
        return Err(Invalid::TooShort { member, min });
    }
    Ok(())
}

pub(super) fn check_number(
    member: &'static str,
    value: u32,
    min: u32,
    max: u32,
) -> Result<u32, Invalid> {
    if value > max {
        return Err(Invalid::TooLarge { member, value, max });
    }
    if value < min {
        return Err(Invalid::TooSmall { member, value, min });
    }
    Ok(value)
}

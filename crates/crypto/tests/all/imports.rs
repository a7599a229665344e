//! What every form of a key must withstand: being cut, lengthened, and changed anywhere.

use conclave_crypto::KeyError;

/// Hands every shortening of `der`, a lengthening, and every change of one byte to `parse`, which
/// uses what still is a key.
///
/// Nothing shortened or lengthened is a key. What is changed may be one, another than it was.
pub(crate) fn spoil<T>(der: &[u8], parse: impl Fn(&[u8]) -> Result<T, KeyError>) {
    assert!(parse(der).is_ok(), "what is spoilt here was whole");
    let step = der.len().div_ceil(300);
    for len in (0..der.len()).step_by(step) {
        assert!(parse(&der[..len]).is_err(), "{len} bytes of {}", der.len());
    }
    assert!(parse(&[der, &[0]].concat()).is_err());
    assert!(parse(&[der, der].concat()).is_err());
    for at in (0..der.len()).step_by(step) {
        for change in [1, 0x80, 0xff] {
            let mut changed = der.to_vec();
            changed[at] ^= change;
            drop(parse(&changed));
        }
    }
}

/// DER for tests: a tag, and content of less than 64 KiB.
pub(crate) fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
    let head = match content.len() {
        0..=0x7f => vec![tag, low],
        0x80..=0xff => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [head, content].concat()
}

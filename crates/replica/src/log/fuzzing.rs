//! The log's records, for `conclave-fuzz`: what is read must be written as it was.

use bytes::Bytes;

use super::record::{Record, decode, encode_change, encode_opening, frame};

/// A record of this kind and body, with the right checksum around them.
pub(crate) fn record(kind: u8, body: &[u8]) -> bool {
    let mut framed = Vec::new();
    frame(kind, &mut framed, |out| out.extend_from_slice(body));
    let Ok(Some((record, len))) = decode(&Bytes::from(framed)) else { return false };
    assert!(len >= body.len());
    let written = encode(&record);
    let Ok(Some((again, _))) = decode(&Bytes::from(written.clone())) else {
        panic!("what was written is not read")
    };
    assert_eq!(encode(&again), written);
    true
}

/// Records without a checksum of their own that fits.
pub(crate) fn payload(bytes: Bytes) -> bool {
    matches!(decode(&bytes), Ok(Some(_)))
}

fn encode(record: &Record) -> Vec<u8> {
    let mut written = Vec::new();
    match record {
        Record::Change(change) => encode_change(change, &mut written),
        Record::Opening(opening) => encode_opening(opening, &mut written),
    }
    written
}

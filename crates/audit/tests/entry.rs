//! An entry's canonical encoding: golden bytes, and what is refused.

mod common;

use conclave_audit::entry::{MAX_ITEMS, MAX_TEXT};
use conclave_audit::{EntryError, commitment, decode_entry, encode_entry, new_entry};
use conclave_proto::audit::{Entry, Outcome, Pair};

/// Every field, written out by hand from audit.proto: a change here changes every commitment.
#[test]
fn golden_bytes() {
    let entry = new_entry(Entry {
        time_ms: 300,
        request_id: "a".into(),
        retry_of: "b".into(),
        principal: "c".into(),
        certificate_serial: "d".into(),
        source_address: "e".into(),
        node: "f".into(),
        region: "g".into(),
        action: "h".into(),
        resources: vec!["i".into(), "j".into()],
        parameters: vec![common::pair("l", "m"), common::pair("k", "")],
        encryption_context: vec![common::pair("n", "o")],
        outcome: Outcome::Denied.into(),
        reason: "p".into(),
        decided_by: vec!["q".into()],
    })
    .unwrap();
    let golden = concat!(
        "08ac02",
        "120161",
        "1a0162",
        "220163",
        "2a0164",
        "320165",
        "3a0166",
        "420167",
        "4a0168",
        "520169",
        "52016a",
        "5a030a016b",
        "5a060a016c12016d",
        "62060a016e12016f",
        "6802",
        "720170",
        "7a0171",
    );
    assert_eq!(hex::encode(encode_entry(&entry)), golden);
    assert_eq!(decode_entry(&hex::decode(golden).unwrap()).unwrap(), entry);
    // From Python's hashlib.
    assert_eq!(
        hex::encode(commitment(&[3; 32], &encode_entry(&entry))),
        "fac61b279d0f6317c28b039cee44638546b87cdd6bd191904d382e48d6ceade0"
    );
}

#[test]
fn other_encodings_are_refused() {
    let good = encode_entry(&common::entry(1));
    assert!(decode_entry(&good).is_ok());
    let refused = |bytes: Vec<u8>| decode_entry(&bytes).unwrap_err();
    // A default written out, an unknown field, a field given twice.
    for extra in ["1200", "a00601", "6801"] {
        let bytes = [good.clone(), hex::decode(extra).unwrap()].concat();
        assert_eq!(refused(bytes), EntryError::NotCanonical, "{extra}");
    }
    // The time in more bytes than it needs.
    assert_eq!(refused(hex::decode("08ac82006802").unwrap()), EntryError::NotCanonical);
    assert_eq!(refused(b"\xff\xff".to_vec()), EntryError::NotAnEntry);
    // Text that is not UTF-8.
    assert_eq!(refused(hex::decode("1201ff6801").unwrap()), EntryError::NotAnEntry);
}

#[test]
fn bounds_order_and_outcome_are_checked() {
    let entry = |change: fn(&mut Entry)| {
        let mut entry = common::entry(1);
        change(&mut entry);
        new_entry(entry)
    };
    assert!(entry(|e| e.reason = "x".repeat(MAX_TEXT)).is_ok());
    let long = entry(|e| e.reason = "x".repeat(MAX_TEXT + 1)).unwrap_err();
    assert_eq!(long, EntryError::TooLong { field: "reason", len: MAX_TEXT + 1, max: MAX_TEXT });
    let many = entry(|e| e.resources = vec![String::new(); MAX_ITEMS + 1]).unwrap_err();
    assert_eq!(many, EntryError::TooMany { field: "resources", count: MAX_ITEMS + 1 });
    let whole = entry(|e| e.parameters[0].value = "x".repeat(64 * 1024)).unwrap_err();
    assert!(matches!(whole, EntryError::TooLong { field: "entry", .. }));
    let twice = entry(|e| e.parameters = vec![Pair::default(), Pair::default()]).unwrap_err();
    assert_eq!(twice, EntryError::Order { field: "parameters" });
    for outcome in [0, 4, -1] {
        let mut entry = common::entry(0);
        entry.outcome = outcome;
        assert_eq!(new_entry(entry).unwrap_err(), EntryError::Outcome { found: outcome });
    }
    // What is only read must be sorted already.
    let mut unsorted = common::entry(1);
    unsorted.parameters.reverse();
    let refused = decode_entry(&encode_entry(&unsorted)).unwrap_err();
    assert_eq!(refused, EntryError::Order { field: "parameters" });
}

//! What auditors are given: exports, checkpoints, entries.

use conclave_audit::export::{Header, Line, Step};
use conclave_audit::{
    Checkpoint, Expectation, Head, Origin, StepData, Verifier, VerifierKey, commitment,
    decode_entry, encode_entry, new_entry,
};
use conclave_crypto::{Key, SigningKey};
use conclave_proto::{audit, v1};

use super::{choose, chosen, message};
use crate::Target;
use crate::stage::{DOMAIN, NOW_MS, audit_entry, entropy};

pub(super) const EXPORT_FILE: Target =
    Target { name: "export_file", run: export_file, valid: export_files, brief: 3_000 };

pub(super) const CHECKPOINT_NOTE: Target =
    Target { name: "checkpoint_note", run: checkpoint_note, valid: notes, brief: 9_000 };

pub(super) const AUDIT_ENTRY: Target =
    Target { name: "audit_entry", run: audit_entries, valid: valid_entries, brief: 36_000 };

const ORIGIN: &str = "conclave/test/eu";

fn signing_key() -> SigningKey {
    SigningKey::from_seed(&Key::generate(&mut entropy()))
}

fn verifier_key() -> VerifierKey {
    VerifierKey::new(ORIGIN, signing_key().verifying_key()).expect("a name for a key")
}

/// A file: only the one export that the seed is may verify.
fn export_file(input: &[u8]) -> bool {
    for line in input.split_inclusive(|byte| *byte == b'\n') {
        if let Ok(line) = Line::parse(line) {
            let written = line.encode();
            assert!(Line::parse(&written).is_ok_and(|again| again.encode() == written));
        }
    }
    let verify = |pieces: usize| {
        let mut verifier = Verifier::new(Some(verifier_key()), Vec::new());
        for piece in input.chunks(pieces) {
            verifier.push(piece)?;
        }
        verifier.finish()
    };
    let (whole, pieces) = (verify(usize::MAX), verify(64));
    assert_eq!(whole.is_ok(), pieces.is_ok());
    assert_eq!(whole.is_ok(), input == valid_export(), "another file verified");
    whole.is_ok()
}

fn export_files() -> Vec<Vec<u8>> {
    vec![valid_export()]
}

fn valid_export() -> Vec<u8> {
    static EXPORT: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(make_export);
    EXPORT.clone()
}

fn make_export() -> Vec<u8> {
    let mut head = Head::genesis(&DOMAIN.0);
    let header = Header { audit_key: verifier_key(), domain: DOMAIN.0 };
    let mut export = Line::Header(header).encode();
    for index in 0..3 {
        let (entry, salt) = (audit_entry(), [index as u8; 32]);
        let data = StepData {
            time_ms: NOW_MS + index,
            writer: 1,
            sequence: index + 1,
            log_index: index + 2,
            position: 0,
            key: 1,
            commitment: commitment(&salt, &encode_entry(&entry)),
            sealed_sha256: [4; 32],
        };
        let hash = head.append(&data);
        let step = Step { index, data, entry, salt, hash };
        export.extend(Line::Step(Box::new(step)).encode());
    }
    let origin: Origin = ORIGIN.parse().expect("an origin");
    let note = Checkpoint::of(origin, &head, NOW_MS).sign(&signing_key());
    export.extend(Line::Checkpoint(note).encode());
    export
}

/// Notes, signed by us or not, and what an auditor types beside them.
fn checkpoint_note(input: &[u8]) -> bool {
    let (which, bytes) = choose(input);
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    match which % 4 {
        0 => {
            let Ok(checkpoint) = Checkpoint::verify(text, &verifier_key()) else { return false };
            assert!(checkpoint.sign(&signing_key()) == text, "one checkpoint, two notes");
            true
        }
        // Whatever else the key ever signs must not pass for a checkpoint.
        1 => {
            let text = format!("{text}\n");
            let note = conclave_audit::note::sign(&text, ORIGIN, &signing_key());
            let Ok(checkpoint) = Checkpoint::verify(&note, &verifier_key()) else { return false };
            assert!(checkpoint.sign(&signing_key()) == note, "one checkpoint, two notes");
            true
        }
        2 => {
            let Ok(key) = text.parse::<VerifierKey>() else { return false };
            assert_eq!(key.to_string(), text);
            true
        }
        _ => {
            let expectation = text.parse::<Expectation>();
            if let Ok(expectation) = &expectation {
                assert_eq!(expectation.to_string(), text);
            }
            expectation.is_ok() || text.parse::<Origin>().is_ok()
        }
    }
}

fn notes() -> Vec<Vec<u8>> {
    let origin: Origin = ORIGIN.parse().expect("an origin");
    let note = Checkpoint::of(origin, &Head::genesis(&DOMAIN.0), NOW_MS).sign(&signing_key());
    let text = note.split("\n\n").next().unwrap_or_default();
    let expectation = Expectation { size: 12, hash: [0xab; 32] }.to_string();
    vec![
        chosen(0, note.as_bytes()),
        chosen(1, text.as_bytes()),
        chosen(2, verifier_key().to_string().as_bytes()),
        chosen(3, expectation.as_bytes()),
        chosen(3, ORIGIN.as_bytes()),
    ]
}

/// Entries, canonical or not, and steps as nodes send them.
fn audit_entries(input: &[u8]) -> bool {
    let (which, bytes) = choose(input);
    match which % 3 {
        0 => {
            let Ok(entry) = decode_entry(bytes) else { return false };
            assert!(encode_entry(&entry) == bytes, "an entry has two encodings");
            true
        }
        1 => {
            let Some(entry) = message::<audit::Entry>(bytes) else { return false };
            let Ok(entry) = new_entry(entry) else { return false };
            assert!(decode_entry(&encode_entry(&entry)).is_ok_and(|again| again == entry));
            true
        }
        _ => {
            let Some(sent) = message::<v1::ExportedStep>(bytes) else { return false };
            let Ok(step) = Step::try_from(&sent) else { return false };
            let line = Line::Step(Box::new(step)).encode();
            assert!(Line::parse(&line).is_ok(), "a step that cannot be exported");
            true
        }
    }
}

fn valid_entries() -> Vec<Vec<u8>> {
    use prost::Message as _;
    let entry = encode_entry(&audit_entry());
    let step = v1::ExportedStep {
        index: 3,
        time_ms: NOW_MS,
        writer: 1,
        sequence: 2,
        log_index: 3,
        key: 1,
        salt: vec![1; 32],
        entry: entry.clone(),
        sealed_sha256: vec![2; 32],
        hash: vec![3; 32],
        ..Default::default()
    };
    vec![chosen(0, &entry), chosen(1, &entry), chosen(2, &step.encode_to_vec())]
}

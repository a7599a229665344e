//! A small log: four entries that between them use every field, and the key that signs it.
#![allow(dead_code, reason = "each test file uses a part of it")]

use conclave_audit::export::{Header, Line, Step as ExportStep};
use conclave_audit::{
    Checkpoint, DomainId, Head, Origin, StepData, VerifierKey, commitment, encode_entry, new_entry,
};
use conclave_crypto::{Key, SigningKey, sha256};
use conclave_proto::audit::{Entry, Outcome, Pair, SealedEntry, Step};
use conclave_proto::v1::ExportedStep;

pub(crate) const DOMAIN: DomainId = *b"sixteen byte id!";
pub(crate) const TIME: u64 = 1_767_225_600_000;

pub(crate) fn origin() -> Origin {
    Origin::new("prod", "eu-1").expect("a good origin")
}

pub(crate) fn signing_key() -> SigningKey {
    SigningKey::from_seed(&Key::from_slice(&[7; 32]).expect("32 bytes"))
}

pub(crate) fn audit_key() -> VerifierKey {
    VerifierKey::new(origin().as_str(), signing_key().verifying_key()).expect("a good name")
}

pub(crate) fn header() -> Header {
    Header { audit_key: audit_key(), domain: DOMAIN }
}

pub(crate) fn pair(name: &str, value: &str) -> Pair {
    Pair { name: name.into(), value: value.into() }
}

pub(crate) fn entry(index: u64) -> Entry {
    let entry = match index % 4 {
        0 => Entry {
            action: "Init".into(),
            node: "n1".into(),
            principal: "node/n1".into(),
            ..Entry::default()
        },
        1 => Entry {
            request_id: "01J-a".into(),
            retry_of: "01J-0".into(),
            principal: "billing".into(),
            certificate_serial: "0a1b".into(),
            source_address: "10.0.0.9:5123".into(),
            node: "n2".into(),
            region: "eu-west-1".into(),
            action: "Encrypt".into(),
            resources: vec!["arn:conclave:kms:eu-1:0:key/1".into(), "alias/pay".into()],
            // Given out of order: `new_entry` sorts them.
            parameters: vec![pair("plaintext_bytes", "19"), pair("algorithm", "XAES_256_GCM")],
            encryption_context: vec![pair("tenant", "größer \"40\" \\ \u{1f511}\n")],
            decided_by: vec!["role/user".into(), "key-policy#allow".into()],
            ..Entry::default()
        },
        2 => Entry {
            action: "Decrypt".into(),
            principal: "billing".into(),
            outcome: Outcome::Denied.into(),
            reason: "AccessDeniedException: \u{1}\u{7f}".into(),
            ..Entry::default()
        },
        _ => Entry { action: "Sign".into(), outcome: Outcome::Refused.into(), ..Entry::default() },
    };
    let outcome = if entry.outcome == 0 { Outcome::Success.into() } else { entry.outcome };
    new_entry(Entry { time_ms: TIME + index * 1000 - 3, outcome, ..entry }).expect("a good entry")
}

/// The chain's steps, as replicas keep them.
pub(crate) fn steps(count: u64) -> Vec<Step> {
    let mut head = Head::genesis(&DOMAIN);
    (0..count).map(|index| step(&mut head, index)).collect()
}

pub(crate) fn step(head: &mut Head, index: u64) -> Step {
    let entry = SealedEntry {
        key: u32::from(!index.is_multiple_of(4)),
        commitment: commitment(&salt(index), &encode_entry(&entry(index))).to_vec(),
        sealed: sealed(index),
    };
    let mut step = Step {
        index,
        time_ms: TIME + index / 2 * 1000,
        writer: 5,
        sequence: index + 9,
        log_index: 100 + index / 2,
        position: (index % 2) as u32,
        entry: Some(entry),
        hash: Vec::new(),
    };
    step.hash = head.append(&StepData::from_proto(&step).expect("a good step")).to_vec();
    step
}

pub(crate) fn salt(index: u64) -> [u8; 32] {
    sha256(&[b"salt", &index.to_be_bytes()])
}

pub(crate) fn sealed(index: u64) -> Vec<u8> {
    [sha256(&[b"sealed", &index.to_be_bytes()]), salt(index + 1000)].concat()
}

/// The same steps, as a node exports them.
pub(crate) fn exported(count: u64) -> Vec<ExportedStep> {
    let export = |step: Step| ExportedStep {
        index: step.index,
        time_ms: step.time_ms,
        writer: step.writer,
        sequence: step.sequence,
        log_index: step.log_index,
        position: step.position,
        key: step.entry.as_ref().expect("an entry").key,
        salt: salt(step.index).to_vec(),
        entry: encode_entry(&entry(step.index)),
        sealed_sha256: sha256(&[&sealed(step.index)]).to_vec(),
        hash: step.hash,
    };
    steps(count).into_iter().map(export).collect()
}

pub(crate) fn head(count: u64) -> Head {
    let mut head = Head::genesis(&DOMAIN);
    for step in steps(count) {
        head.follow(&step).expect("our own steps follow");
    }
    head
}

pub(crate) fn note(count: u64) -> String {
    Checkpoint::of(origin(), &head(count), TIME + 60_000).sign(&signing_key())
}

pub(crate) fn step_line(step: &ExportedStep) -> Vec<u8> {
    Line::Step(Box::new(ExportStep::try_from(step).expect("a good step"))).encode()
}

/// An export's lines: the header, one for each entry, the checkpoint.
pub(crate) fn lines(count: u64) -> Vec<Vec<u8>> {
    let mut lines = vec![Line::Header(header()).encode()];
    lines.extend(exported(count).iter().map(step_line));
    lines.push(Line::Checkpoint(note(count)).encode());
    lines
}

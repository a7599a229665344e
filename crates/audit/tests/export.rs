//! Exports: what the lines look like, and that nothing can be changed in one unnoticed.

mod common;

use common::{TIME, audit_key, exported, head, lines, note, origin, step_line};
use conclave_audit::export::{Header, Line, LineError, MAX_LINE};
use conclave_audit::{
    Checkpoint, Expectation, Finding, NoteError, Report, StepData, Verifier, VerifierKey,
    commitment, decode_entry, encode_entry,
};
use conclave_crypto::{Key, SigningKey};
use conclave_proto::audit::Entry;
use conclave_proto::v1::{ExportHeader, ExportedStep};

fn verify(bytes: &[u8], expected: &[Expectation]) -> Result<Report, Finding> {
    let mut verifier = Verifier::new(Some(audit_key()), expected.to_vec());
    verifier.push(bytes)?;
    verifier.finish()
}

fn finding(lines: &[Vec<u8>]) -> Finding {
    verify(&lines.concat(), &[]).expect_err("something is wrong with these lines")
}

fn expect(size: u64) -> Expectation {
    Expectation { size, hash: head(size).root() }
}

#[test]
fn golden_lines() {
    let text = String::from_utf8(lines(4).concat()).unwrap();
    assert_eq!(text, include_str!("golden/export.jsonl"));
}

#[test]
fn a_good_export_is_proven() {
    for count in 0..9 {
        let report = verify(&lines(count).concat(), &[]).unwrap();
        assert_eq!(report.checkpoint, Checkpoint::of(origin(), &head(count), TIME + 60_000));
        assert_eq!(report.first_ms, (count > 0).then_some(TIME));
        assert_eq!(report.signed_by, audit_key());
    }
    let report = verify(&lines(4).concat(), &[]).unwrap();
    assert_eq!(format!("{report}\n"), include_str!("golden/report.txt"));
}

/// However the bytes come in, the verdict is the same.
#[test]
fn pieces_do_not_matter() {
    let bytes = lines(4).concat();
    let whole = verify(&bytes, &[]).unwrap();
    for size in [1, 7, 1000] {
        let mut verifier = Verifier::new(Some(audit_key()), vec![]);
        bytes.chunks(size).for_each(|piece| verifier.push(piece).unwrap());
        assert_eq!(verifier.finish().unwrap(), whole);
    }
}

#[test]
fn a_stream_of_steps_is_proven_alike() {
    let sent = ExportHeader {
        origin: origin().to_string(),
        domain_id: common::DOMAIN.to_vec(),
        audit_verifier_key: audit_key().to_string(),
    };
    let header = Header::try_from(&sent).unwrap();
    assert_eq!(header, common::header());
    let other = ExportHeader { origin: "conclave/prod/other".into(), ..sent.clone() };
    assert_eq!(Header::try_from(&other), Err(LineError::Origin));
    let short = ExportHeader { domain_id: vec![1; 15], ..sent };
    assert_eq!(Header::try_from(&short), Err(LineError::Domain));

    let mut verifier = Verifier::new(Some(audit_key()), vec![expect(2)]);
    verifier.push_header(&header).unwrap();
    exported(4).iter().for_each(|step| verifier.push_step(step).unwrap());
    verifier.push_checkpoint(&note(4)).unwrap();
    assert_eq!(verifier.finish().unwrap().checkpoint.size, 4);

    let mut verifier = Verifier::new(Some(audit_key()), vec![]);
    verifier.push_header(&common::header()).unwrap();
    let mut steps = exported(2);
    steps[1].salt[0] ^= 1;
    verifier.push_step(&steps[0]).unwrap();
    // A stream has no commitment beside the entry, so the chain is what breaks.
    assert_eq!(verifier.push_step(&steps[1]), Err(Finding::Chain { index: 1 }));
    assert_eq!(verifier.push_checkpoint(&note(2)), Err(Finding::Chain { index: 1 }));
    assert_eq!(verifier.finish(), Err(Finding::Chain { index: 1 }));
}

/// The reason for this crate: one byte changed, dropped or slipped in, anywhere.
#[test]
fn every_changed_byte_is_found() {
    let good = lines(4).concat();
    let caught = |bytes: &[u8], at: usize, what: &str| {
        assert!(
            verify(bytes, &[]).is_err(),
            "byte {at} ({:?}) {what}",
            good.get(at).map(|b| *b as char)
        );
    };
    for at in 0..good.len() {
        for bits in [1, 2, 0x20, 0x80] {
            let mut bytes = good.clone();
            bytes[at] ^= bits;
            caught(&bytes, at, "flipped");
        }
        let mut bytes = good.clone();
        bytes.remove(at);
        caught(&bytes, at, "removed");
    }
    for at in 0..=good.len() {
        for byte in [good[at.min(good.len() - 1)], b'0', b' ', b'\n', b'\r', 0x80] {
            let mut bytes = good.clone();
            bytes.insert(at, byte);
            caught(&bytes, at, "inserted before");
        }
    }
}

/// Every cut of the file is found, and names the first entry that is missing.
#[test]
fn every_cut_is_found() {
    let lines = lines(4);
    let good = lines.concat();
    (0..good.len()).for_each(|end| assert!(verify(&good[..end], &[]).is_err(), "cut at {end}"));
    assert_eq!(finding(&lines[..3]), Finding::NoCheckpoint { size: 2 });
    assert_eq!(finding(&[]), Finding::NoHeader);
}

#[test]
fn dropped_and_swapped_entries_are_named() {
    for index in 0..4_u64 {
        let line = 1 + index as usize;
        let mut dropped = lines(4);
        dropped.remove(line);
        let found = finding(&dropped);
        assert_eq!(found.index(), Some(index), "{found}");
        let mut twice = lines(4);
        twice.insert(line, twice[line].clone());
        assert_eq!(finding(&twice), Finding::Sequence { index: index + 1, found: index });
    }
    for index in 0..3 {
        let mut swapped = lines(4);
        swapped.swap(1 + index, 2 + index);
        let index = index as u64;
        assert_eq!(finding(&swapped), Finding::Sequence { index, found: index + 1 });
    }
}

/// Every member of entry n, altered as a careful forger would (in the one right spelling), names n.
#[test]
fn altered_entries_are_named() {
    let changes: [fn(&mut Line); 13] = [
        |line| step(line).data.time_ms += 1,
        |line| step(line).data.writer += 1,
        |line| step(line).data.sequence += 1,
        |line| step(line).data.log_index += 50,
        |line| step(line).data.position += 2,
        |line| step(line).data.key += 1,
        |line| step(line).data.commitment[0] ^= 1,
        |line| step(line).data.sealed_sha256[0] ^= 1,
        |line| step(line).hash[0] ^= 1,
        |line| step(line).salt[0] ^= 1,
        |line| step(line).entry.principal.push('x'),
        |line| step(line).entry.time_ms += 1,
        |line| step(line).entry.decided_by.push("more".into()),
    ];
    for index in 0..4 {
        for (number, change) in changes.iter().enumerate() {
            let mut altered = lines(4);
            let mut line = Line::parse(&altered[1 + index]).unwrap();
            change(&mut line);
            altered[1 + index] = line.encode();
            let found = finding(&altered);
            assert_eq!(found.index(), Some(index as u64), "change {number}: {found}");
        }
    }
}

fn step(line: &mut Line) -> &mut conclave_audit::export::Step {
    match line {
        Line::Step(step) => step,
        _ => panic!("not a step"),
    }
}

/// Entry 1 altered, and everything after it hashed again: the entries agree, the signature does not.
#[test]
fn a_rehashed_log_is_found() {
    let (steps, head) = rehashed(|step| step.salt[0] ^= 1);
    let mut forged = lines(4);
    (0..4).for_each(|i| forged[1 + i] = step_line(&steps[i]));
    assert_eq!(finding(&forged), Finding::CheckpointRoot { size: 4 });
    // With a checkpoint of the forger's own, too.
    let key = SigningKey::from_seed(&Key::from_slice(&[8; 32]).unwrap());
    let checkpoint = Checkpoint::of(origin(), &head, TIME);
    forged[5] = Line::Checkpoint(checkpoint.sign(&key)).encode();
    assert_eq!(finding(&forged), Finding::CheckpointSignature { why: NoteError::OtherKey });
    // And with the forger's key in the header, which nobody asked.
    let named = VerifierKey::new(origin().as_str(), key.verifying_key()).unwrap();
    let header = Header { audit_key: named.clone(), domain: common::DOMAIN };
    forged[0] = Line::Header(header).encode();
    assert_eq!(finding(&forged), Finding::OtherKey { given: audit_key(), named });
    let mut verifier = Verifier::new(None, vec![]);
    assert_eq!(verifier.push(&forged.concat()), Err(Finding::NoKey));
    // Even signed with the right key, it is not the log that was seen before.
    forged[0] = lines(4)[0].clone();
    forged[5] = Line::Checkpoint(checkpoint.sign(&common::signing_key())).encode();
    assert!(verify(&forged.concat(), &[expect(1)]).is_ok());
    let found = verify(&forged.concat(), &[expect(2)]).unwrap_err();
    assert!(matches!(found, Finding::Expected { expected, .. } if expected.size == 2));
}

fn rehashed(change: fn(&mut ExportedStep)) -> (Vec<ExportedStep>, conclave_audit::Head) {
    let mut steps = exported(4);
    change(&mut steps[1]);
    let mut head = conclave_audit::Head::genesis(&common::DOMAIN);
    for step in &mut steps {
        let salt = step.salt.as_slice().try_into().expect("32 bytes");
        step.hash = head
            .append(&StepData {
                time_ms: step.time_ms,
                writer: step.writer,
                sequence: step.sequence,
                log_index: step.log_index,
                position: step.position,
                key: step.key,
                commitment: commitment(&salt, &step.entry),
                sealed_sha256: step.sealed_sha256.as_slice().try_into().expect("32 bytes"),
            })
            .to_vec();
    }
    (steps, head)
}

/// Even what the domain signed has to be in order.
#[test]
fn times_and_revisions_do_not_go_back() {
    let refuse = |change: fn(&mut ExportedStep)| {
        let (steps, _) = rehashed(change);
        let mut forged = lines(4);
        (0..4).for_each(|i| forged[1 + i] = step_line(&steps[i]));
        finding(&forged)
    };
    assert_eq!(refuse(|step| step.time_ms -= 1), Finding::Time { index: 1 });
    assert_eq!(refuse(|step| step.position = 0), Finding::Revision { index: 1 });
    assert_eq!(refuse(|step| step.log_index -= 1), Finding::Revision { index: 1 });
}

#[test]
fn an_older_export_is_only_found_by_what_is_expected() {
    let older = lines(3).concat();
    let report = verify(&older, &[]).unwrap();
    assert!(report.to_string().contains("Proven for the first 3 entries"));
    assert_eq!(verify(&older, &[expect(4)]), Err(Finding::Truncated { expected: 4, size: 3 }));
    // Entries cut away, the newest checkpoint left.
    let mut cut = lines(4);
    cut.remove(4);
    let found = Finding::CheckpointSize { signed: 4, size: 3 };
    assert_eq!(finding(&cut), found);
    let truncated = verify(&cut.concat(), &[expect(4)]).unwrap_err();
    assert_eq!(truncated, Finding::Truncated { expected: 4, size: 3 });
    assert_eq!(verify(&cut[..4].concat(), &[expect(4)]).unwrap_err(), truncated);
}

#[test]
fn expectations_are_roots_or_heads_at_any_size() {
    let good = lines(4).concat();
    let chain = |size| Expectation { size, hash: head(size).hash };
    let all: Vec<_> = (0..=4).flat_map(|size| [expect(size), chain(size)]).collect();
    assert_eq!(verify(&good, &all).unwrap().expectations_met, 10);
    for size in 0..=4 {
        let wrong = Expectation { size, hash: head(size + 1).root() };
        let found = verify(&good, &[wrong]).unwrap_err();
        assert_eq!(found, Finding::Expected { expected: wrong, root: head(size).root() });
    }
    let text = expect(4).to_string();
    assert_eq!(text.parse(), Ok(expect(4)));
    for bad in [
        "",
        "4",
        "4:",
        "4:00",
        &text.to_uppercase(),
        &text.replace("4:", "04:"),
        &text.replace("4:", "+4:"),
    ] {
        assert!(bad.parse::<Expectation>().is_err(), "{bad}");
    }
}

#[test]
fn a_key_must_be_given() {
    let mut verifier = Verifier::new(None, vec![]);
    let found = verifier.push(&lines(1).concat()).unwrap_err();
    assert_eq!(found, Finding::NoKey);
    assert!(found.to_string().contains("CONCLAVE_AUDIT_KEY"));
}

#[test]
fn nothing_may_follow_or_be_joined() {
    let good = lines(2);
    for more in [&b"\n"[..], b" ", &good[3], &good[0], &good.concat()] {
        assert_eq!(verify(&[&good.concat(), more].concat(), &[]), Err(Finding::Trailing));
    }
    let joined = [&good[..3], &good[..]].concat();
    assert_eq!(finding(&joined), Finding::SecondHeader { index: 2 });
}

#[test]
fn an_endless_line_is_refused_before_it_fills_memory() {
    let mut verifier = Verifier::new(Some(audit_key()), vec![]);
    let refused = (0..1000).find_map(|_| verifier.push(&[b'x'; 4096]).err());
    assert_eq!(refused, Some(Finding::Header { why: LineError::TooLong }));
}

/// The longest line there can be is within the limit: the largest entry, all of it escaped.
#[test]
fn the_largest_entry_fits_a_line() {
    let mut entry = common::entry(0);
    entry.parameters =
        vec![common::pair("a", &"\u{1}".repeat(conclave_audit::entry::MAX_ENTRY - 100))];
    let step = ExportedStep { entry: encode_entry(&entry), ..exported(1).remove(0) };
    assert!(decode_entry(&step.entry).is_ok());
    assert!(step_line(&step).len() < MAX_LINE);
}

proptest::proptest! {
    /// Any text an entry can hold survives the way through JSON, in one spelling.
    #[test]
    fn any_text_is_spelled_one_way(texts in proptest::array::uniform4(".*"), outcome in 1..4) {
        let [principal, reason, name, value] = texts;
        let parameters = vec![common::pair(&name, &value)];
        let entry = Entry { principal, reason, parameters, outcome, ..common::entry(1) };
        let step = ExportedStep { entry: encode_entry(&entry), ..exported(1).remove(0) };
        let line = step_line(&step);
        proptest::prop_assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        let mut parsed = Line::parse(&line).unwrap();
        proptest::prop_assert_eq!(&parsed.encode(), &line);
        proptest::prop_assert!(self::step(&mut parsed).entry == entry);
    }

    /// Whatever bytes come, there is a verdict.
    #[test]
    fn no_bytes_upset_the_verifier(bytes: Vec<u8>, line in 0..6_usize, at: usize) {
        let mut lines = lines(4);
        let at = at % lines[line].len();
        lines[line].splice(at..at, bytes.iter().copied());
        proptest::prop_assert_eq!(verify(&lines.concat(), &[]).is_ok(), bytes.is_empty());
        proptest::prop_assert!(verify(&bytes, &[]).is_err());
    }
}

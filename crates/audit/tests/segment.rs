//! Segment files: golden bytes, torn ends, and damage that is never taken for content.

mod common;

use conclave_audit::segment::{
    Fault, HEADER_LEN, Header, HeaderFault, MAX_PAYLOAD, Reader, Reason, encode_frame,
    encode_header, parse_header,
};
use conclave_proto::audit::{SealedEntry, Step};

const HEADER: Header = Header { number: 1, first_index: 2, domain: common::DOMAIN };

#[test]
fn golden_bytes() {
    let header = concat!(
        "434f4e434c415641",
        "01",
        "0000000000000001",
        "0000000000000002",
        "7369787465656e206279746520696421",
        "f709e1a1"
    );
    assert_eq!(hex::encode(encode_header(&HEADER)), header);
    assert_eq!(parse_header(&hex::decode(header).unwrap()).unwrap(), HEADER);

    let step = Step {
        index: 2,
        time_ms: 3,
        writer: 4,
        sequence: 5,
        log_index: 6,
        position: 7,
        entry: Some(SealedEntry { key: 1, commitment: vec![8; 32], sealed: vec![9] }),
        hash: vec![10; 32],
    };
    let frame = hex::encode(encode_frame(&step));
    let payload = format!(
        "080210031804200528063007{}{}{}4220{}",
        "3a27",
        "08011220",
        "08".repeat(32) + "1a0109",
        "0a".repeat(32)
    );
    assert_eq!(frame, format!("00000057{}{payload}", "be263124"));
}

/// The file's bytes, and the offset at which each frame ends.
fn file(first: u64, count: u64) -> (Vec<u8>, Vec<u64>) {
    let mut bytes = encode_header(&Header { first_index: first, ..HEADER }).to_vec();
    let mut ends = Vec::new();
    for step in &common::steps(first + count)[first as usize..] {
        bytes.extend_from_slice(&encode_frame(step));
        ends.push(bytes.len() as u64);
    }
    (bytes, ends)
}

fn read(bytes: &[u8]) -> Result<(Vec<Step>, Result<(), Fault>), HeaderFault> {
    let (_, mut reader) = Reader::open(bytes)?;
    let mut steps = Vec::new();
    Ok(loop {
        match reader.next_frame() {
            Ok(Some(frame)) => {
                assert_eq!(frame.end, reader.offset());
                steps.push(frame.step);
            }
            Ok(None) => break (steps, Ok(())),
            Err(fault) => break (steps, Err(fault)),
        }
    })
}

#[test]
fn reads_what_was_written_and_goes_on_as_the_file_grows() {
    let (bytes, ends) = file(2, 3);
    assert_eq!(read(&bytes).unwrap(), (common::steps(5)[2..].to_vec(), Ok(())));
    let at = ends[0] as usize;
    let mut reader = Reader::resume(&bytes[at..ends[1] as usize], ends[0], 3);
    assert_eq!(reader.next_frame().unwrap().unwrap().end, ends[1]);
    assert_eq!(reader.next_frame().unwrap(), None);
}

/// Wherever a write stops, or the file system fills with zeroes, the end is torn there.
#[test]
fn every_cut_is_torn() {
    let (bytes, ends) = file(2, 3);
    let steps = common::steps(5)[2..].to_vec();
    for cut in 0..bytes.len() {
        for zeroes in [0, 1, 7, 200] {
            let torn = [&bytes[..cut], &vec![0; zeroes]].concat();
            let whole = ends.iter().filter(|end| **end <= cut as u64).count();
            let read = match read(&torn) {
                Err(HeaderFault::Torn) => {
                    assert!(torn.len() < HEADER_LEN || cut == 0);
                    continue;
                }
                // A header that was cut and then filled up: the replica decides, as it knows what was durable.
                Err(HeaderFault::Magic | HeaderFault::Checksum) => {
                    assert!(cut < HEADER_LEN && zeroes > 0);
                    continue;
                }
                Err(other) => panic!("{other}"),
                Ok(read) => read,
            };
            let offset = if whole == 0 { HEADER_LEN as u64 } else { ends[whole - 1] };
            if zeroes == 0 && cut as u64 == offset {
                assert_eq!(read, (steps[..whole].to_vec(), Ok(())));
            } else if torn != bytes[..torn.len().min(bytes.len())] {
                let fault = Fault::Torn { offset, index: 2 + whole as u64 };
                assert_eq!(read, (steps[..whole].to_vec(), Err(fault)));
            }
        }
    }
}

/// An end in which every third byte begins what reads as a long frame: no cut write leaves that. The
/// search for readable frames takes it for damage at once, where summing each of them takes minutes.
#[test]
fn an_end_full_of_false_lengths_is_damage_and_found_in_linear_time() {
    let (mut bytes, ends) = file(2, 3);
    bytes.extend([0xff, 0, 0].iter().cycle().take(64 << 20));
    let (steps, end) = read(&bytes).unwrap();
    assert_eq!(steps.len(), 3);
    assert!(
        matches!(end, Err(Fault::Damage { offset, index: 5, .. }) if offset == ends[2]),
        "{end:?}"
    );
}

/// One bit anywhere: never other content, and damage wherever something readable follows.
#[test]
fn every_bit_flip_is_found() {
    let (bytes, ends) = file(2, 3);
    let steps = common::steps(5)[2..].to_vec();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let Ok((read, end)) = read(&flipped) else {
            assert!(bit / 8 < HEADER_LEN);
            continue;
        };
        let hit = ends.iter().filter(|end| **end <= (bit / 8) as u64).count();
        let offset = if hit == 0 { HEADER_LEN as u64 } else { ends[hit - 1] };
        assert_eq!(read, steps[..hit], "bit {bit}");
        match end {
            Err(Fault::Damage { offset: at, index, .. }) => {
                assert_eq!((at, index), (offset, 2 + hit as u64), "bit {bit}");
            }
            Err(Fault::Torn { offset: at, .. }) => assert!(hit == 2 && at == offset, "bit {bit}"),
            Ok(()) => panic!("bit {bit} went unnoticed"),
        }
    }
}

#[test]
fn whole_frames_in_the_wrong_place_are_damage() {
    let (bytes, ends) = file(2, 3);
    let (one, two) = (ends[0] as usize, ends[1] as usize);
    let dropped = [&bytes[..one], &bytes[two..]].concat();
    let damage =
        |index, found| Fault::Damage { offset: ends[0], index, reason: Reason::Index { found } };
    assert_eq!(read(&dropped).unwrap().1, Err(damage(3, 4)));
    let twice = [&bytes[..one], &bytes[HEADER_LEN..one]].concat();
    assert_eq!(read(&twice).unwrap().1, Err(damage(3, 2)));

    // A checksum is no pardon: the payload must still be a step's one encoding.
    let mut odd = encode_frame(&common::steps(4)[3]);
    odd.extend_from_slice(&[0xa0, 0x06, 0x01]);
    let payload = odd.split_off(8);
    let frame = [
        &(payload.len() as u32).to_be_bytes()[..],
        &crc32c::crc32c(&payload).to_be_bytes(),
        &payload,
    ]
    .concat();
    let fault = read(&[&bytes[..one], &frame].concat()).unwrap().1;
    assert_eq!(fault, Err(Fault::Damage { offset: ends[0], index: 3, reason: Reason::NotAStep }));
}

#[test]
fn the_largest_step_fits_a_frame() {
    let mut step = common::steps(1).remove(0);
    let most = Step {
        time_ms: u64::MAX,
        writer: u64::MAX,
        sequence: u64::MAX,
        log_index: u64::MAX,
        position: u32::MAX,
        ..step.clone()
    };
    let entry = step.entry.take().unwrap();
    let sealed = vec![1; conclave_audit::MAX_SEALED];
    let step = Step { entry: Some(SealedEntry { key: u32::MAX, sealed, ..entry }), ..most };
    let frame = encode_frame(&step);
    assert!(frame.len() <= MAX_PAYLOAD);
    let mut reader = Reader::resume(&frame, 0, 0);
    assert_eq!(reader.next_frame().unwrap().unwrap().step, step);
}

#[test]
fn other_files_are_refused() {
    let mut newer = encode_header(&HEADER);
    newer[8] = 2;
    let crc = crc32c::crc32c(&newer[..41]).to_be_bytes();
    newer[41..].copy_from_slice(&crc);
    assert_eq!(parse_header(&newer), Err(HeaderFault::Format { found: 2 }));
    assert_eq!(parse_header(&[b'x'; 100]), Err(HeaderFault::Magic));
    assert_eq!(parse_header(&[0; 100]), Err(HeaderFault::Torn));
}

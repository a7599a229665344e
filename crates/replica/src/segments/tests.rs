//! Cutting back, rolling, reading, and what must not be cut back.

use std::fs;
use std::path::Path;

use conclave_audit::{Head, StepData};
use conclave_proto::audit::SealedEntry;

use super::*;

const DOMAIN: DomainId = [7; 16];

/// `count` steps of a chain, and where it ends after each number of them.
fn chain(count: u64) -> (Vec<Step>, Vec<ChainEnd>) {
    let mut head = Head::genesis(&DOMAIN);
    let mut ends = vec![ChainEnd { size: 0, hash: head.hash }];
    let mut steps = Vec::new();
    for index in 0..count {
        let mut step = Step {
            index,
            sequence: index + 1,
            log_index: index,
            entry: Some(SealedEntry { key: 1, commitment: vec![1; 32], sealed: vec![9; 40] }),
            ..Step::default()
        };
        step.hash = head.append(&StepData::from_proto(&step).unwrap()).to_vec();
        ends.push(ChainEnd { size: head.size, hash: head.hash });
        steps.push(step);
    }
    (steps, ends)
}

/// Ten steps a segment.
fn write(segments: &mut Segments, steps: &[Step]) {
    for step in steps {
        segments.append(step.index / 10 + 1, step).unwrap();
    }
    segments.write().unwrap();
}

fn read(segments: &Segments, first: u64, end: u64) -> Vec<Step> {
    segments.plan(first, end).unwrap().run().unwrap()
}

fn written(dir: &Path, count: u64) -> (Vec<Step>, Vec<ChainEnd>) {
    let (steps, ends) = chain(count);
    let mut segments = Segments::open(dir, DOMAIN, ends[0]).unwrap();
    write(&mut segments, &steps);
    assert_eq!(read(&segments, 0, count), steps);
    (steps, ends)
}

#[test]
fn reads_any_range_across_segments() {
    let dir = tempfile::tempdir().unwrap();
    let (steps, ends) = written(dir.path(), 205);
    let segments = Segments::open(dir.path(), DOMAIN, ends[205]).unwrap();
    for (first, end) in [(0, 0), (0, 1), (9, 11), (63, 66), (100, 205), (204, 205), (205, 205)] {
        assert_eq!(read(&segments, first, end), &steps[first as usize..end as usize]);
    }
    assert!(matches!(segments.plan(0, 206), Err(SegmentsError::Absent { have: 205, .. })));
}

#[test]
fn cut_back_to_the_snapshot_and_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let (steps, ends) = written(dir.path(), 35);
    for keep in [35, 34, 30, 21, 20, 1, 0] {
        let mut segments = Segments::open(dir.path(), DOMAIN, ends[keep]).unwrap();
        assert_eq!(segments.end(), keep as u64);
        write(&mut segments, &steps[keep..]);
        assert_eq!(read(&segments, 0, 35), steps);
    }
}

#[test]
fn a_torn_end_beyond_the_snapshot_is_cut() {
    let dir = tempfile::tempdir().unwrap();
    let (_, ends) = written(dir.path(), 15);
    let file = path_of(dir.path(), 2);
    let bytes = fs::read(&file).unwrap();
    fs::write(&file, &bytes[..bytes.len() - 3]).unwrap();
    assert_eq!(Segments::open(dir.path(), DOMAIN, ends[14]).unwrap().end(), 14);
}

/// What a start and the scrubbing after it find.
fn open_and_scrub(dir: &Path, keep: ChainEnd) -> Result<Segments, SegmentsError> {
    let mut segments = Segments::open(dir, DOMAIN, keep)?;
    let mut checked = Vec::new();
    segments.scrub().run(|file| {
        checked.push(file);
        true
    })?;
    checked.into_iter().for_each(|file| segments.checked(file));
    Ok(segments)
}

#[test]
fn older_files_are_read_on_trust_and_scrubbed_after() {
    let dir = tempfile::tempdir().unwrap();
    let (steps, ends) = written(dir.path(), 205);
    let unread = Segments::open(dir.path(), DOMAIN, ends[205]).unwrap();
    assert_eq!(unread.scrub().files(), 20);
    assert_eq!(read(&unread, 37, 62), &steps[37..62]);
    let checked = open_and_scrub(dir.path(), ends[205]).unwrap();
    assert_eq!(checked.scrub().files(), 0);
    assert_eq!(read(&checked, 37, 62), &steps[37..62]);
}

#[test]
fn damage_below_the_snapshot_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (_, ends) = written(dir.path(), 35);
    for number in 1..=4 {
        let file = path_of(dir.path(), number);
        let bytes = fs::read(&file).unwrap();
        // Any byte, in any file.
        for place in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1;
            fs::write(&file, flipped).unwrap();
            let found = open_and_scrub(dir.path(), ends[35]);
            assert!(found.is_err(), "byte {place} of file {number}");
        }
        // Cut short below the snapshot, or gone.
        fs::write(&file, &bytes[..bytes.len() - 3]).unwrap();
        assert!(open_and_scrub(dir.path(), ends[35]).is_err());
        fs::remove_file(&file).unwrap();
        assert!(matches!(
            Segments::open(dir.path(), DOMAIN, ends[35]),
            Err(SegmentsError::Differs { named: 35, .. })
        ));
        fs::write(&file, &bytes).unwrap();
    }
    // Another history of the same length.
    let other = ChainEnd { hash: [0; 32], ..ends[35] };
    assert!(matches!(
        Segments::open(dir.path(), DOMAIN, other),
        Err(SegmentsError::Differs { found: 35, .. })
    ));
    assert!(open_and_scrub(dir.path(), ends[35]).is_ok());
}

#[test]
fn files_of_two_histories_do_not_join() {
    let dir = tempfile::tempdir().unwrap();
    let (_, ends) = written(dir.path(), 25);
    let first = path_of(dir.path(), 1);
    let mut other = Head::genesis(&DOMAIN);
    let mut bytes = fs::read(&first).unwrap()[..segment::HEADER_LEN].to_vec();
    for index in 0..10 {
        let mut step = Step {
            index,
            sequence: index + 1,
            log_index: index,
            entry: Some(SealedEntry { key: 1, commitment: vec![2; 32], sealed: vec![9; 40] }),
            ..Step::default()
        };
        step.hash = other.append(&StepData::from_proto(&step).unwrap()).to_vec();
        bytes.extend(segment::encode_frame(&step));
    }
    fs::write(&first, bytes).unwrap();
    assert!(matches!(
        open_and_scrub(dir.path(), ends[25]),
        Err(SegmentsError::Chain { file, .. }) if file == path_of(dir.path(), 2)
    ));
}

/// A filesystem in memory that holds so many files.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mounted(files: usize) -> Option<Self> {
        if std::env::var_os("CONCLAVE_NO_FAULTS").is_some() {
            eprintln!("!! CONCLAVE_NO_FAULTS is set: a full disk is not tested");
            return None;
        }
        let disk = Self(tempfile::tempdir().unwrap());
        disk.mount(&format!("size=1m,nr_inodes={}", files + 1));
        Some(disk)
    }

    fn grow(&self, files: usize) {
        self.mount(&format!("remount,nr_inodes={}", files + 1));
    }

    fn mount(&self, options: &str) {
        let mut mount = std::process::Command::new("mount");
        let mounted =
            mount.args(["-t", "tmpfs", "-o", options, "none"]).arg(self.0.path()).status();
        assert!(
            mounted.unwrap().success(),
            "mounting needs root; CONCLAVE_NO_FAULTS=1 leaves it out"
        );
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_segment_that_finds_no_room_to_begin_waits_for_it() {
    let Some(disk) = SmallDisk::mounted(2) else { return };
    let (steps, ends) = chain(45);
    let mut segments = Segments::open(disk.0.path(), DOMAIN, ends[0]).unwrap();
    write(&mut segments, &steps[..15]);
    write(&mut segments, &steps[15..35]);
    assert!(segments.pending_bytes() > 0, "the disk was to be full");
    assert!(segments.unsynced().is_err(), "no snapshot may name what is not on the disk");
    assert!(matches!(segments.plan(0, 35), Err(SegmentsError::Absent { have: 15, .. })));
    assert_eq!(read(&segments, 0, 15), &steps[..15]);

    disk.grow(100);
    write(&mut segments, &steps[35..]);
    assert_eq!(segments.pending_bytes(), 0);
    assert_eq!(read(&segments, 0, 45), steps);
    segments.sync().unwrap();
    drop(segments);
    let segments = Segments::open(disk.0.path(), DOMAIN, ends[45]).unwrap();
    assert_eq!(read(&segments, 0, 45), steps);
}

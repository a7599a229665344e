//! A disk that gives back something else than was written: the log refuses to open, or holds exactly
//! what was written. It never opens with something else, nor with less, but where a test says so.
#![allow(clippy::unwrap_used, reason = "a test")]

mod log_support;

use std::collections::BTreeMap;
use std::sync::Arc;

use conclave_replica::codec::encode_entry;
use conclave_replica::log::{Damage, LogStore, OpenError, Owner};
use conclave_replica::types::{Entry, Vote};
use log_support::disk::SimFolder;
use log_support::{
    OWNER, SMALL, all, append, entry, id, member_entry, open, open_small, runtime, vote,
};
use openraft::RaftLogReader;
use openraft::storage::RaftLogStorage;

type Files = BTreeMap<String, Vec<u8>>;

const ENTRIES: u64 = 16;
const SECTOR: usize = 512;

/// The files of a small log after each step of its history, as a crash would leave them: full
/// segments, one in use, maybe a blank one.
fn history() -> Vec<Files> {
    let disk = SimFolder::new(0);
    let mut log = open_small(&disk).unwrap();
    let files = || {
        let mut files = disk.files();
        files.remove("next.tmp");
        files
    };
    let mut images = Vec::new();
    runtime().block_on(async {
        for index in 1..ENTRIES {
            append(&mut log, vec![entry(index)]).await.unwrap();
            images.push(files());
        }
        append(&mut log, vec![member_entry(ENTRIES)]).await.unwrap();
        log.save_vote(&vote(9)).await.unwrap();
    });
    let blank_follows = |files: &Files| {
        files.values().all(|file| file.len() == SMALL as usize)
            && is_blank(files.values().last().unwrap())
    };
    let last = loop {
        let files = files();
        if blank_follows(&files) {
            break files;
        }
        std::thread::yield_now();
    };
    images.push(last);
    images
}

/// The last of them, with a blank segment.
fn image() -> Files {
    history().pop().unwrap()
}

/// Whether nothing follows the header.
fn is_blank(file: &[u8]) -> bool {
    file[SECTOR..].iter().all(|byte| *byte == 0)
}

/// True: refused. Panics if it opens with anything but what was written.
fn refused(files: &Files) -> bool {
    let Ok(mut log) = open_small(&SimFolder::with(0, files)) else { return true };
    runtime().block_on(async {
        let expected = (1..ENTRIES).map(entry).chain([member_entry(ENTRIES)]).collect::<Vec<_>>();
        assert_eq!(all(&mut log).await, expected);
        assert_eq!(log.read_vote().await.unwrap(), Some(vote(9)));
        assert_eq!(log.log_state().unwrap().last_log_id, Some(id(ENTRIES)));
    });
    false
}

fn changed(files: &Files, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> Files {
    let mut files = files.clone();
    change(files.get_mut(name).unwrap());
    files
}

/// The file that these bytes lie in, and where.
fn find(files: &Files, needle: &[u8]) -> (String, usize) {
    let found = files.iter().find_map(|(name, file)| {
        let at = file.windows(needle.len()).position(|window| window == needle)?;
        Some((name.clone(), at))
    });
    found.expect("these bytes are on disk")
}

// Each of them: of the first entry, one in the middle and the last one, of a vote, of a header.
#[test]
fn any_flipped_bit_of_an_entry_a_vote_or_a_header_is_refused() {
    let files = image();
    assert!(!refused(&files) && files.len() > 4);
    let of_entry = |entry| {
        let bytes = encode_entry(&entry);
        let (name, at) = find(&files, &bytes[..20]);
        (name, at..at + bytes.len())
    };
    let last = files.iter().rfind(|(_, file)| !is_blank(file)).unwrap();
    let vote_sector = last.1.iter().rposition(|byte| *byte != 0).unwrap() / SECTOR;
    let places = [
        of_entry(entry(1)),
        of_entry(entry(ENTRIES / 2)),
        of_entry(member_entry(ENTRIES)),
        (last.0.clone(), vote_sector * SECTOR..vote_sector * SECTOR + 48),
        (last.0.clone(), 0..64),
        (last.0.clone(), SECTOR - 4..SECTOR),
    ];
    for (name, range) in places {
        for bit in range.start * 8..range.end * 8 {
            let damaged = changed(&files, &name, |file| file[bit / 8] ^= 1 << (bit % 8));
            assert!(refused(&damaged), "bit {bit} of {name}");
        }
    }
}

// Anywhere in any file, what was never written included.
#[test]
fn a_flipped_bit_anywhere_is_refused() {
    let files = image();
    for (name, file) in &files {
        for byte in (0..file.len()).step_by(67) {
            let damaged = changed(&files, name, |file| file[byte] ^= 1 << (byte % 8));
            assert!(refused(&damaged), "byte {byte} of {name}");
        }
    }
}

// A sector that the disk lost reads as zeros, or as one of another segment. The last batch alone
// cannot be told from one that was never finished: only other voters can witness it.
#[test]
fn a_lost_or_exchanged_sector_is_refused() {
    let files = image();
    let written = |file: &[u8]| -> Vec<usize> {
        let sectors = file.chunks(SECTOR).enumerate();
        sectors.filter(|(_, s)| s.iter().any(|b| *b != 0)).map(|(number, _)| number).collect()
    };
    let last = files.iter().rfind(|(_, file)| !is_blank(file)).unwrap();
    let last_sector = *written(last.1).last().unwrap();
    let (other, donor) = files.iter().next().unwrap();
    for (name, file) in &files {
        for sector in written(file) {
            let place = sector * SECTOR..(sector + 1) * SECTOR;
            if (name, sector) != (last.0, last_sector) {
                let damaged = changed(&files, name, |file| file[place.clone()].fill(0));
                assert!(refused(&damaged), "sector {sector} of {name} lost");
            }
            if name != other {
                let stray = &donor[place.clone()];
                let damaged =
                    changed(&files, name, |file| file[place.clone()].copy_from_slice(stray));
                assert!(refused(&damaged), "sector {sector} of {name} taken from {other}");
            }
        }
    }
}

#[test]
fn files_cut_short_missing_renamed_or_exchanged_are_refused() {
    let files = image();
    let names: Vec<_> = files.keys().cloned().collect();
    let blank = names.last().unwrap();
    for name in &names {
        let len = files[name].len();
        for cut in [0, 1, 511, SECTOR, 4096, len / 2, len - SECTOR, len - 1, len + 4096] {
            assert!(refused(&changed(&files, name, |file| file.resize(cut, 0))), "{name} at {cut}");
        }
        let mut missing = files.clone();
        missing.remove(name);
        assert_eq!(refused(&missing), name != blank, "{name} missing");
        for other in names.iter().filter(|other| *other != name) {
            let mut exchanged = files.clone();
            exchanged.insert(name.clone(), files[other].clone());
            assert!(refused(&exchanged), "{other} in the place of {name}");
            exchanged.insert(other.clone(), files[name].clone());
            assert!(refused(&exchanged), "{name} and {other} exchanged");
        }
    }
    let mut more = files.clone();
    more.insert(format!("{:08x}.seg", names.len() + 1), files[blank].clone());
    assert!(refused(&more));
}

// An older image of a segment that others follow is a hole. Of the one in use it is a log that went
// back: a sound prefix, which only the other voters can witness.
#[test]
fn one_segment_put_back_to_an_older_image_is_refused() {
    let mut images = history();
    let files = images.pop().unwrap();
    let in_use = files.iter().rfind(|(_, file)| !is_blank(file)).unwrap().0;
    let (mut refusals, mut back) = (0, 0);
    for (name, older) in images.into_iter().flatten() {
        let mixed = changed(&files, &name, |file| *file = older.clone());
        if name != *in_use {
            refusals += u64::from(refused(&mixed));
            continue;
        }
        let Ok(mut log) = open_small(&SimFolder::with(0, &mixed)) else { continue };
        back += 1;
        let found = runtime().block_on(all(&mut log));
        assert_eq!(found, (1..).map(entry).take(found.len()).collect::<Vec<_>>());
    }
    println!("{refusals} refused, {back} went back");
    assert!(refusals >= 8 && back > 0);
}

// A segment of the same member and the same place, sound in itself, from before its disk went back.
#[test]
fn a_segment_of_another_history_is_refused() {
    let files = image();
    let other = |first: Entry, ballot: Option<Vote>| {
        let disk = SimFolder::new(0);
        let mut log = open_small(&disk).unwrap();
        runtime().block_on(async {
            append(&mut log, vec![first]).await.unwrap();
            match ballot {
                Some(ballot) => log.save_vote(&ballot).await.unwrap(),
                None => append(&mut log, vec![entry(2)]).await.unwrap(),
            }
        });
        disk.files()["00000001.seg"].clone()
    };
    assert!(!refused(&changed(&files, "00000001.seg", |file| *file = other(entry(1), None))));
    let another = Entry { log_id: id(1), ..entry(7) };
    for first in [other(another, None), other(entry(1), Some(vote(3)))] {
        assert!(refused(&changed(&files, "00000001.seg", |file| *file = first)));
    }
}

#[test]
fn the_log_of_another_member_is_refused() {
    let files = image();
    for owner in [Owner { raft_id: 2, ..OWNER }, Owner { domain: [7; 16], ..OWNER }] {
        let disk = Arc::new(SimFolder::with(0, &files));
        let error = LogStore::open_on(disk, owner, SMALL).err().unwrap();
        assert!(error.to_string().contains("rejoin under a new Raft id"), "{error}");
        let damage = OpenError::Damaged { path: "(simulated)".into(), damage: Damage::NoSegment };
        assert_eq!(std::mem::discriminant(&error), std::mem::discriminant(&damage));
    }
}

#[test]
fn a_folder_that_lost_its_segments_is_not_a_new_log() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    let path = folder.path().join("raft");
    for file in std::fs::read_dir(&path).unwrap() {
        std::fs::remove_file(file.unwrap().path()).unwrap();
    }
    let error = LogStore::open(&path, OWNER).err().unwrap();
    assert!(matches!(error, OpenError::Damaged { damage: Damage::NoSegment, .. }), "{error}");
    // A log of an earlier build beside it is not overlooked either.
    std::fs::remove_dir(&path).unwrap();
    std::fs::write(folder.path().join("raft.redb"), "").unwrap();
    assert!(matches!(LogStore::open(&path, OWNER), Err(OpenError::Earlier { .. })));
}

//! Bits that flip on disk: the log refuses to open, or holds exactly what was written. It never
//! opens with something else, and never with less.
#![allow(clippy::unwrap_used, reason = "a test")]

mod log_support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use conclave_replica::codec::encode_entry;
use conclave_replica::log::LogStore;
use log_support::{all, append, entry, id, member_entry, runtime, vote};
use openraft::RaftLogReader;
use openraft::storage::RaftLogStorage;
use redb::StorageBackend;
use redb::backends::InMemoryBackend;

const ENTRIES: u64 = 12;

/// The file of a small log: closed, or as a crash would leave it.
fn image(folder: &Path, closed: bool) -> Vec<u8> {
    let path = folder.join("log.redb");
    let mut log = LogStore::open(&path).unwrap();
    runtime().block_on(async {
        for index in 1..ENTRIES {
            append(&mut log, vec![entry(index)]).await.unwrap();
        }
        log.save_vote(&vote(9)).await.unwrap();
        append(&mut log, vec![member_entry(ENTRIES)]).await.unwrap();
    });
    if closed {
        drop(log);
        return std::fs::read(&path).unwrap();
    }
    // Everything acknowledged is in the file, and redb's mark of an unclean stop with it.
    std::fs::read(&path).unwrap()
}

/// Opens a damaged image. True: refused. Panics if it opens with anything but what was written.
fn refused(image: &[u8]) -> bool {
    let memory = InMemoryBackend::new();
    memory.set_len(image.len() as u64).unwrap();
    memory.write(0, image).unwrap();
    let Ok(mut log) = LogStore::open_on(memory) else { return true };
    runtime().block_on(async {
        let expected = (1..ENTRIES).map(entry).chain([member_entry(ENTRIES)]).collect::<Vec<_>>();
        assert_eq!(all(&mut log).await, expected);
        assert_eq!(log.read_vote().await.unwrap(), Some(vote(9)));
        assert_eq!(log.log_state().unwrap().last_log_id, Some(id(ENTRIES)));
    });
    false
}

fn find(image: &[u8], needle: &[u8]) -> Vec<usize> {
    image.windows(needle.len()).enumerate().filter(|(_, w)| *w == needle).map(|(i, _)| i).collect()
}

// Every copy of an entry at once, so that the live one is among them, one bit in each byte.
#[test]
fn a_flipped_bit_in_an_entry_is_refused() {
    for closed in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let image = image(folder.path(), closed);
        for index in [1, 5, ENTRIES - 1, ENTRIES] {
            let encoded =
                encode_entry(&if index == ENTRIES { member_entry(index) } else { entry(index) });
            let copies = find(&image, &encoded);
            assert!(!copies.is_empty());
            for byte in (0..encoded.len()).step_by(23).chain([encoded.len() - 1]) {
                let mut damaged = image.clone();
                for copy in &copies {
                    damaged[copy + byte] ^= 1 << (byte % 8);
                }
                assert!(refused(&damaged), "entry {index}, byte {byte}");
            }
        }
    }
}

/// redb's byte 9, bit 0 says which of its two commit slots is the newer one. Nothing in the file
/// vouches for it: flipped after a crash, the commit before the last one comes back, a sound but
/// older log. That is a disk that went back, which only the other voters can witness.
const SLOT_BIT: (usize, u32) = (9, 0);

// Anywhere in the file, one bit at a time: refused, or nothing lost.
#[test]
fn a_flipped_bit_anywhere_never_changes_the_log() {
    let hushed = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let mut panics = Vec::new();
    let (mut opened, mut refusals) = (0, 0);
    for closed in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let image = image(folder.path(), closed);
        let used = image.iter().rposition(|byte| *byte != 0).unwrap();
        // Each bit of redb's header with its two commit slots, then a bit of every 211th byte.
        let header = (0..320).flat_map(|byte| (0..8).map(move |bit| (byte, bit)));
        let pages = (320..used).step_by(211).map(|byte| (byte, byte as u32 % 8));
        for (byte, bit) in header.chain(pages).filter(|at| *at != SLOT_BIT) {
            let mut damaged = image.clone();
            damaged[byte] ^= 1 << bit;
            match catch_unwind(AssertUnwindSafe(|| refused(&damaged))) {
                Ok(true) => refusals += 1,
                Ok(false) => opened += 1,
                Err(_) => panics.push((closed, byte, bit)),
            }
        }
    }
    std::panic::set_hook(hushed);
    println!("{opened} opened unharmed, {refusals} refused");
    assert!(refusals > 0 && opened > 0);
    assert_eq!(panics, vec![], "opened with another content, or panicked");
}

//! The log's bytes on disk: these may never change their meaning. docs/formats.md describes them.
#![allow(clippy::unwrap_used, reason = "a test")]

mod log_support;

use bytes::Bytes;
use conclave_replica::types::Command;
use log_support::disk::SimFolder;
use log_support::{append, id, member_entry, open_small, runtime, vote};
use openraft::storage::RaftLogStorage;

const SECTOR: usize = 512;

#[test]
fn golden_segments() {
    let disk = SimFolder::new(0);
    let mut log = open_small(&disk).unwrap();
    let first = runtime().block_on(async {
        let mut golden = member_entry(3);
        golden.payload.command = Some(Command(Bytes::from_static(b"txn")));
        append(&mut log, vec![golden]).await.unwrap();
        log.save_committed(Some(id(2))).await.unwrap();
        log.save_vote(&vote(4)).await.unwrap();
        // These begin the second segment, behind what the first one says.
        log.truncate_after(Some(id(2))).await.unwrap();
        let first = disk.files()["00000001.seg"].clone();
        // Now the first one is no longer needed.
        log.purge(id(7)).await.unwrap();
        first
    });
    drop(log);
    let mut files = disk.files();
    files.insert("00000001.seg".to_owned(), first);
    let sectors: Vec<_> = ["00000001.seg", "00000002.seg"]
        .iter()
        .flat_map(|name| files[*name].chunks(SECTOR).enumerate().map(move |at| (name, at)))
        .filter(|(_, (_, sector))| sector.iter().any(|byte| *byte != 0))
        .map(|(name, (number, sector))| {
            // All but the last four bytes of a header is zeros from here on.
            let end = sector[..SECTOR - 4].iter().rposition(|byte| *byte != 0).unwrap() + 1;
            let tail = if number == 0 { hex::encode(&sector[SECTOR - 4..]) } else { String::new() };
            format!("{name} {number}: {} {tail}", hex::encode(&sector[..end])).trim_end().to_owned()
        })
        .collect();
    assert_eq!(sectors, GOLDEN, "{sectors:#?}");
}

const GOLDEN: &[&str] = &[
    "00000001.seg 0: 63636c2d7261667400000001d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0000000000000\
     000100000001000040 b9c18a9c",
    "00000001.seg 8: a949995c0000000000000001000000010600000000d51517dd",
    "00000001.seg 16: b093fe01000000000000000200000001010000007565a390230a060801100118031\
     20374786e1a640a040a0201020a050a03010203121b080112170a066e6f64652d31120d31302e302e302\
     e313a37313031121b080212170a066e6f64652d32120d31302e302e302e323a37313031121b080312170\
     a066e6f64652d33120d31302e302e302e333a373130312001",
    "00000001.seg 24: 8eff21ef000000000000000300000001040000000615f42c8908041001180105000\
     0000805cffa690a06080110011802",
    "00000002.seg 0: 63636c2d7261667400000001d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0000000000000\
     000100000002000040 9e957f0d",
    "00000002.seg 8: bf759284000000000000000400000001060000001f0176fb1110031a060801100118\
     0322060804100118012a06080110011802351d4dafb5020000000897f153520a06080110011802",
    "00000002.seg 16: 7a2aa767000000000000000500000001030000000892d27f2b0a06080110011807",
];

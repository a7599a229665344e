//! Disks that rot or go back, on a follower and on the leader: each ends in detection or repair from
//! the peers, never in a wrong answer or a shorter log.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails where this does")]

mod harness;

use std::path::PathBuf;

use harness::faults::rot::{Part, flip_near, flip_somewhere, put};
use harness::faults::{self, Dice, Started};
use harness::load::AuditLog;
use harness::steady::Load;
use harness::{Cluster, json};

const NODES: usize = 3;
/// How many of the damages below are tried; the full run takes all.
const DAMAGES: (&str, u64) = ("CONCLAVE_DAMAGES", 6);
/// How many bits of one log entry are changed, one after another; the full run takes all.
const BITS: (&str, u64) = ("CONCLAVE_ENTRY_BITS", 4);
/// Bytes of a log entry that are certain to be in it: a commitment and what follows of a sealed
/// audit entry.
const ENTRY_BYTES: u64 = 200;

/// Where a bit changes while the node is down.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Damage {
    FirstEntry,
    MiddleEntry,
    LastEntry,
    Snapshot,
    Audit,
    Index,
}

use Damage::{Audit, FirstEntry, Index, LastEntry, MiddleEntry, Snapshot};

/// With whether it is done to the leader.
const ALL: [(Damage, bool); 12] = [
    (LastEntry, true),
    (Snapshot, false),
    (Index, true),
    (FirstEntry, false),
    (Audit, true),
    (MiddleEntry, false),
    (LastEntry, false),
    (Snapshot, true),
    (Index, false),
    (FirstEntry, true),
    (Audit, false),
    (MiddleEntry, true),
];

#[test]
fn a_changed_bit_is_detected_or_repaired() {
    if !faults::ready() {
        return;
    }
    let mut dice = Dice::new();
    let mut cluster = Cluster::start_with(NODES, &["--snapshot-entries", "150"]);
    let load = Load::start(&cluster);
    let damages = usize::try_from(faults::count(DAMAGES.0, DAMAGES.1)).unwrap();
    for (damage, leads) in ALL.into_iter().take(damages) {
        let id = pick(&cluster, leads);
        wait_for_snapshot(&cluster, &id, &load);
        cluster.kill(&id);
        while !do_damage(&cluster, &id, damage, &mut dice) {
            eprintln!("no log after the snapshot of {id}: once more");
            cluster.restart(&id);
            cluster.unseal_all(&[&id]);
            load.wait_for_more();
            cluster.kill(&id);
        }
        match cluster.try_restart(&id) {
            Started::Serving => {
                eprintln!("{damage:?} of {id}, which led: {leads}: it serves");
                let may_serve = matches!(damage, Index | Audit);
                assert!(may_serve, "{id} did not see the damage to its {damage:?}");
                cluster.unseal_all(&[&id]);
            }
            Started::Refused(words) => {
                let why = refusal(&words);
                eprintln!("{damage:?} of {id}, which led: {leads}: {why}");
                assert_ne!(damage, Index, "what can be rebuilt stops nobody");
                cluster.rejoin(&id);
            }
        }
        load.wait_for_more();
    }
    load.stop_and_judge(&cluster);
}

#[test]
fn every_bit_of_a_log_entry_counts() {
    if !faults::ready() {
        return;
    }
    let mut dice = Dice::new();
    let mut cluster = Cluster::start(NODES);
    let load = Load::start(&cluster);
    let id = pick(&cluster, false);
    cluster.kill(&id);
    load.wait_for_more();
    // Each start is refused before the node hears of the others: load beside it would show nothing.
    let told = load.stop();
    let log = AuditLog::export(&cluster);
    let kept = cluster.kept_entries(&id, &log);
    let entry = kept[kept.len() / 2];
    let files = cluster.files_of(&id, Part::Log);
    let images: Vec<PathBuf> = files.iter().map(|file| file.with_extension("image")).collect();
    files.iter().zip(&images).for_each(|(file, image)| put(file, image));

    let all = ENTRY_BYTES * 8;
    let wanted = faults::count(BITS.0, BITS.1).min(all);
    let first = dice.below(all);
    for number in 0..wanted {
        let bit = (first + number * all / wanted) % all;
        let (distance, bit) = (usize::try_from(bit / 8).unwrap(), u8::try_from(bit % 8).unwrap());
        flip_near(&files, &entry, distance, bit);
        let words = cluster.try_restart(&id).refusal();
        refusal(&words);
        files.iter().zip(&images).for_each(|(file, image)| put(image, file));
        if number % 100 == 99 {
            eprintln!("{} bits refused", number + 1);
        }
    }
    eprintln!("{wanted} of {all} bits: refused each time");
    images.iter().for_each(|image| std::fs::remove_file(image).unwrap());
    assert!(matches!(cluster.try_restart(&id), Started::Serving), "as it was, it is sound");
    cluster.unseal_all(&[&id]);
    told.judge(&cluster);
}

#[test]
fn what_rots_under_a_running_node_is_never_served() {
    if !faults::ready() {
        return;
    }
    let mut dice = Dice::new();
    let mut cluster = Cluster::start_with(NODES, &["--snapshot-entries", "150"]);
    let load = Load::start(&cluster);
    for leads in [false, true] {
        let id = pick(&cluster, leads);
        wait_for_snapshot(&cluster, &id, &load);
        let from = cluster.log_of(&id).len();
        for part in [Part::Index, Part::Audit, Part::Snapshot] {
            flip_somewhere(|| cluster.files_of(&id, part), &mut dice);
        }
        load.wait_for_more();
        // Its own word on the history: none, or a log that verifies.
        let out = cluster.dir.path().join("rotten.jsonl");
        let mut export = cluster.cli_at(&id);
        let told = export.args(["--timeout", "20", "audit", "export", "--out"]).arg(&out).output();
        let told = told.unwrap();
        if told.status.success() {
            let mut verify = cluster.cli();
            verify.args(["--output", "json", "audit", "verify", "--in"]).arg(&out);
            assert_eq!(json(&mut verify).unwrap()["verified"], true);
        }
        eprintln!("{id}, which led: {leads}: {}", String::from_utf8_lossy(&told.stderr).trim());
        load.wait_for_more();
        if cluster.has_ended(&id) {
            eprintln!("it stopped: {}", refusal(&cluster.log_of(&id)[from..]));
        } else {
            cluster.kill(&id);
        }
        match cluster.try_restart(&id) {
            Started::Serving => cluster.unseal_all(&[&id]),
            Started::Refused(words) => {
                eprintln!("started again: {}", refusal(&words));
                cluster.rejoin(&id);
            }
        }
        load.wait_for_more();
    }
    load.stop_and_judge(&cluster);
}

#[test]
fn an_index_that_went_back_is_rebuilt() {
    if !faults::ready() {
        return;
    }
    let mut cluster = Cluster::start_with(NODES, &["--snapshot-entries", "150"]);
    let load = Load::start(&cluster);
    for (leads, cleanly) in [(false, true), (true, true), (true, false)] {
        let id = pick(&cluster, leads);
        let image = cluster.dir.path().join("index-image");
        // As a clean stop leaves it.
        cluster.terminate(&id);
        let folder = cluster.files_of(&id, Part::Index)[0].parent().unwrap().to_owned();
        put(&folder, &image);
        cluster.restart(&id);
        cluster.unseal_all(&[&id]);
        load.wait_for_more();
        if cleanly {
            cluster.terminate(&id);
        } else {
            cluster.kill(&id);
        }
        put(&image, &folder);
        match cluster.try_restart(&id) {
            Started::Serving => cluster.unseal_all(&[&id]),
            Started::Refused(words) => panic!("what can be rebuilt stops nobody: {words}"),
        }
        load.wait_for_more();
    }
    load.stop_and_judge(&cluster);
}

#[test]
fn a_disk_that_went_back_stops_the_node() {
    if !faults::ready() {
        return;
    }
    let mut cluster = Cluster::start_with(NODES, &["--snapshot-entries", "150"]);
    let load = Load::start(&cluster);
    for leads in [false, true] {
        let id = pick(&cluster, leads);
        let image = cluster.dir.path().join("image");
        cluster.terminate(&id);
        put(&cluster.node(&id).data_dir, &image);
        cluster.restart(&id);
        cluster.unseal_all(&[&id]);
        load.wait_for_more();
        cluster.kill(&id);
        put(&image, &cluster.node(&id).data_dir);
        // It may answer before it has asked the others; then it stops.
        let from = cluster.log_of(&id).len();
        cluster.launch(&id, &[]);
        let words = cluster.wait_ended(&id, from);
        eprintln!("{id}, which led: {leads}: {}", refusal(&words));
        cluster.rejoin(&id);
        load.wait_for_more();
    }
    load.stop_and_judge(&cluster);
}

/// The leader, or else a follower.
fn pick(cluster: &Cluster, leads: bool) -> String {
    if leads { cluster.leader() } else { cluster.follower() }
}

/// Until the node has a snapshot of its own and log after it.
fn wait_for_snapshot(cluster: &Cluster, id: &str, load: &Load) {
    let domains = cluster.node(id).data_dir.join("domains");
    harness::wait_for("a snapshot", harness::LONG, || {
        load.wait_for_more();
        let domain = std::fs::read_dir(&domains).unwrap().next()?.unwrap().path();
        let mut files = std::fs::read_dir(domain.join("snapshot")).ok()?;
        files
            .any(|file| file.unwrap().path().extension().is_some_and(|end| end == "snap"))
            .then_some(())
    });
}

/// False: there is nothing of the kind to be damaged just now.
fn do_damage(cluster: &Cluster, id: &str, damage: Damage, dice: &mut Dice) -> bool {
    let part = match damage {
        FirstEntry | MiddleEntry | LastEntry => {
            let kept = cluster.kept_entries(id, &AuditLog::export(cluster));
            if kept.is_empty() {
                return false;
            }
            let number = match damage {
                FirstEntry => 0,
                MiddleEntry => kept.len() / 2,
                _ => kept.len() - 1,
            };
            let distance = usize::try_from(dice.below(ENTRY_BYTES)).unwrap();
            eprintln!("entry {number} of the {} kept, byte {distance}", kept.len());
            flip_near(&cluster.files_of(id, Part::Log), &kept[number], distance, 3);
            return true;
        }
        Snapshot => Part::Snapshot,
        Audit => Part::Audit,
        Index => Part::Index,
    };
    // The largest: the others may hold next to nothing.
    let files = cluster.files_of(id, part);
    let largest = files.iter().max_by_key(|file| file.metadata().unwrap().len()).unwrap();
    flip_somewhere(|| vec![largest.clone()], dice);
    true
}

/// The line with which a node says what is wrong with its disk, and that tells what to do.
fn refusal(words: &str) -> &str {
    let line = words.lines().rev().find(|line| line.contains("error: ") || line.contains("ERROR"));
    let line = line.unwrap_or_else(|| panic!("it says nothing: {words}"));
    let says = ["rejoin", "rebuild this node", "add it anew", "node replace"];
    assert!(says.iter().any(|what| line.contains(what)), "it does not say what to do: {line}");
    line
}

//! Disks that fail, fill up, are slow or hang, on a follower and on the leader.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails where this does")]

mod harness;

use std::time::{Duration, Instant};

use harness::faults::trace::Tampering;
use harness::faults::{self, thread_states};
use harness::steady::Load;
use harness::{Cluster, LONG, wait_for};

const NODES: usize = 3;
/// Of each node's disk.
const MEGABYTES: u64 = 256;
/// What a slow disk takes for each fsync.
const SLOW: Duration = Duration::from_millis(300);
/// How long a disk hangs, seconds; the full run takes 20.
const HANG_SECS: (&str, u64) = ("CONCLAVE_HANG_SECS", 8);
/// How many of the failing calls below are tried; the full run takes all.
const FAILING: (&str, u64) = ("CONCLAVE_FAILING_CALLS", 4);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Role {
    Follower,
    Leader,
}

const ROLES: [Role; 2] = [Role::Follower, Role::Leader];

/// The node that has the role now.
fn node_as(cluster: &Cluster, role: Role) -> String {
    match role {
        Role::Follower => cluster.follower(),
        Role::Leader => cluster.leader(),
    }
}

/// Which call fails, and as the how manieth of its thread.
const CALLS: [(Role, &str, u64); 8] = [
    (Role::Follower, "fdatasync", 1),
    (Role::Leader, "fdatasync", 2),
    (Role::Follower, "fsync", 1),
    (Role::Leader, "fdatasync", 7),
    (Role::Leader, "fsync", 1),
    (Role::Leader, "fdatasync", 1),
    (Role::Follower, "fdatasync", 2),
    (Role::Follower, "fdatasync", 40),
];

#[test]
fn a_failed_fsync_stops_the_node_and_loses_nothing() {
    if !faults::ready() {
        return;
    }
    // Few entries between snapshots: they are what is fsynced beside the log.
    let mut cluster = Cluster::start_with(NODES, &["--snapshot-entries", "100"]);
    let load = Load::start(&cluster);
    let calls = usize::try_from(faults::count(FAILING.0, FAILING.1)).unwrap();
    for (role, call, nth) in CALLS.into_iter().take(calls) {
        let id = node_as(&cluster, role);
        let from = cluster.log_of(&id).len();
        let began = Instant::now();
        let tampering = Tampering::failing(&cluster, &id, call, nth);
        tampering.wait_acted(1);
        let words = cluster.wait_ended(&id, from);
        let why = words.lines().find(|line| line.contains("the replica stopped"));
        let why = why.unwrap_or_else(|| panic!("{id} does not say why it stopped: {words}"));
        eprintln!("{role:?} {id}, {call} {nth}: ended after {:.1?}: {why}", began.elapsed());
        assert!(why.contains("Input/output error"), "it says something else: {words}");
        drop(tampering);
        // The two others go on, and with them the one whose disk works again.
        load.wait_for_more();
        cluster.restart(&id);
        cluster.unseal_all(&[&id]);
    }
    load.stop_and_judge(&cluster);
}

#[test]
fn a_slow_disk_slows_and_stops_nothing() {
    if !faults::ready() {
        return;
    }
    let cluster = Cluster::start(NODES);
    let load = Load::start(&cluster);
    for role in ROLES {
        let id = node_as(&cluster, role);
        let term = cluster.term(&id).unwrap();
        let tampering = Tampering::slow(&cluster, &id, "fdatasync,fsync", SLOW);
        tampering.wait_acted(3);
        let took = load.wait_for_more();
        let terms = cluster.term(&id).unwrap() - term;
        eprintln!("{role:?} {id} is slow: progress after {took:.1?}, {terms} elections");
        drop(tampering);
    }
    let names = cluster.names();
    let all = names.iter().map(|id| Tampering::slow(&cluster, id, "fdatasync,fsync", SLOW));
    let all: Vec<Tampering> = all.collect();
    all.iter().for_each(|tampering| tampering.wait_acted(3));
    let (took, terms) = (load.wait_for_more(), cluster.term(&names[0]));
    eprintln!("all are slow: progress after {took:.1?}, in term {terms:?}");
    drop(all);
    assert!(names.iter().all(|id| cluster.own_status(id).unwrap()["state"] == "open"));
    load.stop_and_judge(&cluster);
}

#[test]
fn a_disk_that_hangs_comes_back_without_a_person() {
    if !faults::ready() {
        return;
    }
    let mut cluster = Cluster::start(NODES);
    let names = cluster.names();
    let ids: Vec<&str> = names.iter().map(String::as_str).collect();
    let disks = cluster.move_to_disks(&ids, MEGABYTES);
    let load = Load::start(&cluster);
    let hang = Duration::from_secs(faults::count(HANG_SECS.0, HANG_SECS.1));
    for role in ROLES {
        let id = node_as(&cluster, role);
        let disk = &disks[names.iter().position(|name| *name == id).unwrap()];
        let began = Instant::now();
        disk.freeze();
        wait_for("a thread to hang on the disk", LONG, || {
            thread_states(cluster.pid(&id)).contains(&'D').then_some(())
        });
        // The others do not wait for it.
        let took = load.wait_for_more();
        eprintln!("{role:?} {id} hangs: progress after {took:.1?}");
        assert!(began.elapsed() < hang, "everybody waited for {id}");
        std::thread::sleep(hang.saturating_sub(began.elapsed()));
        assert!(thread_states(cluster.pid(&id)).contains(&'D'), "it does not hang any more");
        disk.thaw();
        load.wait_for_more();
        // Open still, or again, and nobody came by.
        cluster.wait_state(&id, "open");
    }
    load.stop_and_judge(&cluster);
}

#[test]
fn a_full_disk_takes_up_again_when_there_is_room() {
    if !faults::ready() {
        return;
    }
    let mut cluster = Cluster::start_with(NODES, &["--snapshot-entries", "100"]);
    let names = cluster.names();
    let ids: Vec<&str> = names.iter().map(String::as_str).collect();
    let disks = cluster.move_to_disks(&ids, MEGABYTES);
    let load = Load::start(&cluster);
    for role in ROLES {
        let id = node_as(&cluster, role);
        let disk = &disks[names.iter().position(|name| *name == id).unwrap()];
        let pid = cluster.pid(&id);
        disk.fill();
        // What is left in blocks that it has already is used up first.
        wait_for("the full disk to be felt", 10 * LONG, || {
            load.wait_for_more();
            let behind = cluster.own_status(&id).is_none_or(|own| own["detail"] != "");
            behind.then_some(())
        });
        disk.assert_full();
        let took = load.wait_for_more();
        eprintln!("{role:?} {id} is full: progress after {took:.1?}");
        disk.free();
        load.wait_for_more();
        cluster.wait_state(&id, "open");
        assert_eq!(cluster.pid(&id), pid, "{id} was started again");
        assert!(!cluster.has_ended(&id), "{id} did not wait for room");
    }
    load.stop_and_judge(&cluster);
}

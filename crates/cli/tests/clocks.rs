//! Clocks that are wrong and processes that pause, on a follower and on the leader.
//!
//! Every certificate here lasts ten years, so that a node two years ahead is still let in
//! everywhere: its clock alone must not move anything.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails where this does")]

mod harness;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use harness::faults::clock::with_clocks_of_their_own;
use harness::faults::{self, process_state};
use harness::load::{AuditLog, Op};
use harness::steady::Load;
use harness::{Cluster, LONG, json, wait_for};
use serde_json::Value;

const NODES: usize = 3;
const TWO_YEARS: i64 = 2 * 365 * 86_400;
const TWO_HOURS: i64 = 2 * 3_600;
/// How far cluster time may be from the majority's clocks.
const APART: Duration = Duration::from_secs(5);
/// How long a wrong clock is under load, seconds.
const WRONG_SECS: (&str, u64) = ("CONCLAVE_CLOCK_SECS", 2);
/// How long a process pauses, seconds; the full run takes 30.
const PAUSE_SECS: (&str, u64) = ("CONCLAVE_PAUSE_SECS", 8);
/// Elections that one fault may cause: the one that it forces, and one that a busy machine adds.
const ELECTIONS_MAX: u64 = 2;

#[test]
fn one_wrong_clock_moves_nothing() {
    if !faults::ready() {
        return;
    }
    let mut cluster = Cluster::start(NODES);
    let clocks = with_clocks_of_their_own(&mut cluster);
    let watched = Watched::new(&cluster);
    let load = Load::start(&cluster);
    let wrong = Duration::from_secs(faults::count(WRONG_SECS.0, WRONG_SECS.1));
    for leads in [false, true] {
        for seconds in [TWO_YEARS, -TWO_HOURS] {
            let (id, other) = (pick(&cluster, leads), pick(&cluster, !leads));
            let (leader, term) = (cluster.leader(), cluster.term(&other).unwrap());
            clocks[number(&id)].set(seconds);
            cluster.wait_clock_off(&id, seconds);
            let began = Instant::now();
            while began.elapsed() < wrong {
                load.wait_for_more();
                watched.assert_unmoved(&cluster);
            }
            let terms = cluster.term(&other).unwrap() - term;
            let who = if leads { "leader" } else { "follower" };
            eprintln!("the clock of {who} {id} is {seconds:+} s off: {terms} elections");
            assert!(terms < ELECTIONS_MAX, "leadership flaps: {leader} led before");
            clocks[number(&id)].set(0);
            cluster.wait_clock_off(&id, 0);
        }
    }

    // It starts with it, too.
    let id = cluster.follower();
    cluster.kill(&id);
    clocks[number(&id)].set(TWO_YEARS);
    cluster.launch(&id, &clocks[number(&id)].env());
    cluster.unseal_all(&[&id]);
    cluster.wait_clock_off(&id, TWO_YEARS);
    load.wait_for_more();
    watched.assert_unmoved(&cluster);

    let began = watched.began;
    let ops = load.stop_and_judge(&cluster);
    assert_cluster_time(&AuditLog::export(&cluster), &ops, began);
}

#[test]
fn a_paused_process_takes_nothing_back() {
    if !faults::ready() {
        return;
    }
    let cluster = Cluster::start(NODES);
    let watched = Watched::new(&cluster);
    let load = Load::start(&cluster);
    let pause = Duration::from_secs(faults::count(PAUSE_SECS.0, PAUSE_SECS.1));
    for leads in [false, true] {
        let (id, other) = (pick(&cluster, leads), pick(&cluster, !leads));
        let term = cluster.term(&other).unwrap();
        let began = Instant::now();
        cluster.stop_process(&id);
        wait_for("the process to be stopped", LONG, || {
            (process_state(cluster.pid(&id)) == 'T').then_some(())
        });
        let took = load.wait_for_more();
        std::thread::sleep(pause.saturating_sub(began.elapsed()));
        assert_eq!(process_state(cluster.pid(&id)), 'T');
        cluster.continue_process(&id);
        load.wait_for_more();
        cluster.wait_state(&id, "open");
        load.wait_for_more();
        watched.assert_unmoved(&cluster);
        let terms = cluster.term(&other).unwrap() - term;
        let who = if leads { "leader" } else { "follower" };
        eprintln!("{who} {id} paused {pause:?}: progress after {took:.1?}, {terms} elections");
        assert!(terms <= ELECTIONS_MAX, "leadership flaps");
    }
    let began = watched.began;
    let ops = load.stop_and_judge(&cluster);
    assert_cluster_time(&AuditLog::export(&cluster), &ops, began);
}

/// The leader, or else a follower.
fn pick(cluster: &Cluster, leads: bool) -> String {
    if leads { cluster.leader() } else { cluster.follower() }
}

/// `n2` is 1.
fn number(id: &str) -> usize {
    id[1..].parse::<usize>().unwrap() - 1
}

/// Two keys whose state a clock could change.
struct Watched {
    began: (Instant, SystemTime),
    disabled: String,
    pending: String,
    /// As first told: when it will be deleted, too.
    deletion: Value,
}

impl Watched {
    fn new(cluster: &Cluster) -> Self {
        let key = |args: &[&str]| {
            json(cluster.cli().args(["--output", "json", "key"]).args(args)).unwrap()
        };
        let new = || key(&["create"])["key_id"].as_str().unwrap().to_owned();
        let (disabled, pending) = (new(), new());
        key(&["disable", &disabled]);
        key(&["schedule-deletion", &pending, "--days", "7"]);
        let deletion = key(&["describe", &pending]);
        assert!(deletion["deletion_ms"].as_u64().unwrap() > 0, "{deletion}");
        let began = (Instant::now(), SystemTime::now());
        Self { began, disabled, pending, deletion }
    }

    /// Neither is destroyed nor usable, and the date stands; asked at every node.
    fn assert_unmoved(&self, cluster: &Cluster) {
        for id in cluster.names() {
            let describe = |key: &str| {
                let mut command = cluster.cli_at(&id);
                json(command.args(["--output", "json", "key", "describe", key])).unwrap()
            };
            let strip = |key: &Value| (key["state"].clone(), key["deletion_ms"].clone());
            assert_eq!(strip(&describe(&self.pending)), strip(&self.deletion));
            assert_eq!(describe(&self.disabled)["state"], "Disabled");
        }
    }
}

/// Each acknowledged operation is stamped with a time at which it was under way, give or take
/// [`APART`], by the clock of this process, which is the majority's.
fn assert_cluster_time(log: &AuditLog, ops: &[Op], began: (Instant, SystemTime)) {
    let wall_ms = |at: Instant| {
        let since = began.1.duration_since(UNIX_EPOCH).unwrap();
        let now = if at > began.0 { since + (at - began.0) } else { since - (began.0 - at) };
        i64::try_from(now.as_millis()).unwrap()
    };
    let apart = i64::try_from(APART.as_millis()).unwrap();
    let (mut least, mut most) = (i64::MAX, i64::MIN);
    for op in ops {
        let Some((revision, _)) = op.acknowledged() else { continue };
        let stamp = i64::try_from(log.stamp_ms(revision).unwrap()).unwrap();
        let (early, late) = (stamp - wall_ms(op.began), stamp - wall_ms(op.ended));
        assert!(early >= -apart && late <= apart, "stamped {stamp}, {early} {late} ms off: {op:?}");
        (least, most) = (least.min(early), most.max(late));
    }
    eprintln!("stamps: at least {least} ms after the request, at most {most} ms after its answer");
}

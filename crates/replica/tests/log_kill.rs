//! A process that writes the log as fast as it can is killed at random moments: what it was told
//! is durable is there when the log opens again.
#![allow(clippy::unwrap_used, reason = "a test")]

mod log_support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use log_support::{all, begin_append, entry, id, open, runtime, vote};
use openraft::RaftLogReader;
use openraft::storage::RaftLogStorage;

const CHILD_LOG: &str = "CONCLAVE_TEST_LOG";
const ROUNDS: u64 = 20;

#[test]
fn acknowledged_entries_survive_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let (mut acked, mut voted) = (0, 0);
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_writes_until_killed", "--nocapture"])
            .env(CHILD_LOG, path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let reader = std::thread::spawn(move || {
            let (mut acked, mut voted) = (0, 0);
            for line in lines.map_while(Result::ok) {
                // The harness writes on the same stream; a line cut by the kill was not finished.
                match line.strip_suffix('.').and_then(|l| l.split_once(' ')) {
                    Some(("acked", index)) => acked = index.parse().unwrap(),
                    Some(("voted", term)) => voted = term.parse().unwrap(),
                    _ => {}
                }
            }
            (acked, voted)
        });
        std::thread::sleep(Duration::from_millis(60 + round * 97 % 400));
        child.kill().unwrap();
        child.wait().unwrap();
        let (child_acked, child_voted) = reader.join().unwrap();
        acked = acked.max(child_acked);
        voted = voted.max(child_voted);
        check(path, acked, voted);
    }
    assert!(acked > ROUNDS && voted > ROUNDS, "the child got to work: {acked}, {voted}");
}

fn check(path: &Path, acked: u64, voted: u64) {
    let mut log = open(path);
    runtime().block_on(async {
        let state = log.log_state().unwrap();
        let purged = state.last_purged_log_id.map_or(0, |purged| purged.index);
        let last = state.last_log_id.map_or(0, |last| last.index);
        assert!(last >= acked, "acknowledged {acked}, found {last}");
        assert!(purged <= last);
        assert_eq!(all(&mut log).await, (purged + 1..=last).map(entry).collect::<Vec<_>>());
        let term = log.read_vote().await.unwrap().map_or(0, |vote| vote.leader_id.term);
        assert!(term >= voted, "vote {voted} acknowledged, found {term}");
    });
}

// Not a test of its own: returns at once unless the test above started it.
#[test]
fn child_writes_until_killed() {
    let Some(path) = std::env::var_os(CHILD_LOG) else { return };
    let mut log = open(Path::new(&path));
    let say = |what: &str, number: u64| {
        writeln!(std::io::stdout().lock(), "{what} {number}.").unwrap();
    };
    runtime().block_on(async {
        let mut next = log.log_state().unwrap().last_log_id.map_or(1, |last| last.index + 1);
        let mut term = log.read_vote().await.unwrap().map_or(1, |vote| vote.leader_id.term + 1);
        loop {
            let mut waiting = Vec::new();
            for size in 1..6 {
                let entries = (next..next + size).map(entry).collect();
                next += size;
                waiting.push((next - 1, begin_append(&mut log, entries).await.unwrap()));
            }
            for (index, flushed) in waiting {
                flushed.await.unwrap();
                say("acked", index);
            }
            log.save_vote(&vote(term)).await.unwrap();
            say("voted", term);
            term += 1;
            log.save_committed(Some(id(next - 1))).await.unwrap();
            if next.is_multiple_of(64) {
                // What is truncated was never acknowledged to anyone.
                let entries = (next..next + 3).map(entry).collect();
                drop(begin_append(&mut log, entries).await.unwrap());
                log.truncate_after(Some(id(next - 1))).await.unwrap();
            }
            if next > 300 && next.is_multiple_of(16) {
                log.purge(id(next - 200)).await.unwrap();
            }
        }
    });
}

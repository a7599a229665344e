//! A node that hangs: its kernel still takes connections, and nothing answers on them.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails where this does")]

mod harness;

use std::time::{Duration, Instant};

use harness::{Cluster, LONG, json, run, wait_for};
use serde_json::Value;

/// A person looks at the status because something is wrong: it must not be long in coming. A
/// connection is given up after 2 s, a member that does not answer counts as unreachable after 1 s;
/// the rest is for a busy machine.
const STATUS_MAX: Duration = Duration::from_secs(10);

fn timed_status(cluster: &Cluster, endpoints: &[&str]) -> Value {
    let urls: Vec<String> =
        endpoints.iter().map(|id| format!("https://{}", cluster.node(id).api)).collect();
    let mut command = cluster.cli();
    command.env("CONCLAVE_ENDPOINTS", urls.join(",")).args(["--output", "json", "status"]);
    let began = Instant::now();
    let status = json(&mut command).unwrap();
    let took = began.elapsed();
    eprintln!("{endpoints:?}: {} ms", took.as_millis());
    assert!(took <= STATUS_MAX, "{endpoints:?}: {took:?}");
    status
}

fn state_of(status: &Value, id: &str) -> String {
    let nodes = status["nodes"].as_array().unwrap();
    nodes.iter().find(|node| node["id"] == id).unwrap()["state"].as_str().unwrap().to_owned()
}

/// A follower first, and then the leader: whichever endpoint is asked first, the answer comes, names
/// who does not answer, and is complete otherwise.
#[test]
fn status_comes_soon_and_shows_the_node_that_hangs_unreachable() {
    let cluster = Cluster::start(3);
    for hanging in [cluster.follower(), cluster.leader()] {
        let others: Vec<&str> =
            cluster.nodes.iter().map(|node| node.id.as_str()).filter(|id| *id != hanging).collect();
        cluster.stop_process(&hanging);
        let orders = [
            vec![hanging.as_str(), others[0], others[1]],
            vec![others[0], hanging.as_str(), others[1]],
            vec![others[1]],
        ];
        // The connections of before first: those that the hanging node has, and then new ones.
        for order in orders.iter().chain(&orders) {
            let status = timed_status(&cluster, order);
            assert_eq!(state_of(&status, &hanging), "unreachable", "{status}");
            for other in &others {
                assert_eq!(state_of(&status, other), "open", "{status}");
            }
        }
        // For people, too.
        let text = run(cluster.cli_at(others[0]).arg("status"));
        let text = String::from_utf8(text).unwrap();
        let line = text.lines().find(|line| line.contains("unreachable")).unwrap();
        assert!(line.contains(&hanging) && line.contains("does not answer"), "{text}");

        cluster.continue_process(&hanging);
        wait_for("it to be back", LONG, || {
            (state_of(&cluster.status_at(others[0])?, &hanging) == "open").then_some(())
        });
    }
}

//! The audit log of a running cluster: exported, verified, cut, changed, and searched.

#![allow(clippy::unwrap_used, reason = "a test fails where this does")]

mod harness;

use std::fs;
use std::path::Path;
use std::process::Command;

use harness::{Cluster, json, run, run_with_input};
use serde_json::Value;

/// A new key, used once.
fn key_in_use(cluster: &Cluster) -> Value {
    let key = json(cluster.cli().args(["--output", "json", "key", "create"])).unwrap();
    encrypt(cluster.cli_as("key-user"), key["key_id"].as_str().unwrap(), &[]);
    key
}

fn encrypt(mut command: Command, key: &str, flags: &[&str]) {
    let output = run_with_input(command.args(["encrypt", "--key", key]).args(flags), b"secret");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn export(cluster: &Cluster, to: &Path) -> Value {
    json(cluster.cli_as("auditor").args(["--output", "json", "audit", "export", "--out"]).arg(to))
        .unwrap()
}

fn verify(cluster: &Cluster, file: &Path, flags: &[&str]) -> Command {
    let mut command = cluster.cli();
    command.args(["--output", "json", "audit", "verify", "--in"]).arg(file).args(flags);
    command
}

/// Runs a command that must fail with this code, and gives what it said.
fn fails(command: &mut Command, code: i32) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

#[test]
fn an_export_proves_itself_and_what_was_altered_is_found() {
    let cluster = Cluster::start(3);
    key_in_use(&cluster);
    let dir = cluster.dir.path();
    let early = dir.join("early.jsonl");
    let exported = export(&cluster, &early);
    let early_verified = json(&mut verify(&cluster, &early, &[])).unwrap();
    assert_eq!(early_verified["verified"], true);
    assert_eq!(early_verified["size"], exported["size"]);
    let expect = early_verified["expect"].as_str().unwrap().to_owned();

    key_in_use(&cluster);
    let late = dir.join("late.jsonl");
    export(&cluster, &late);
    let late_verified = json(&mut verify(&cluster, &late, &["--expect", &expect])).unwrap();
    assert!(late_verified["size"].as_u64() > early_verified["size"].as_u64());
    let late_expect = late_verified["expect"].as_str().unwrap();

    // An export that ends earlier proves itself, but not against what was seen later.
    fails(&mut verify(&cluster, &early, &["--expect", late_expect]), 5);

    // Without the last entry, the checkpoint left as it was.
    let text = fs::read_to_string(&late).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines.remove(lines.len() - 2);
    let cut = dir.join("cut.jsonl");
    fs::write(&cut, lines.join("\n") + "\n").unwrap();
    fails(&mut verify(&cluster, &cut, &["--expect", &expect]), 5);

    // One byte in an entry, and the finding names it. The first line is the header.
    let changed = dir.join("changed.jsonl");
    let number = 4;
    let line = text.lines().nth(number + 1).unwrap();
    let action = line.find("\"action\":\"").unwrap() + "\"action\":\"".len();
    let mut other = line.to_owned();
    let byte = if other.as_bytes()[action] == b'X' { "Y" } else { "X" };
    other.replace_range(action..=action, byte);
    fs::write(&changed, text.replace(line, &other)).unwrap();
    let said = fails(&mut verify(&cluster, &changed, &[]), 5);
    assert!(said.contains(&format!("entry {number}")), "{said}");

    // A key of another log.
    let key = cluster.env()["CONCLAVE_AUDIT_KEY"].clone();
    let said = fails(verify(&cluster, &late, &[]).env_remove("CONCLAVE_AUDIT_KEY"), 2);
    assert!(said.contains("set CONCLAVE_AUDIT_KEY or --audit-key"), "{said}");
    let other = Cluster::start(1).env()["CONCLAVE_AUDIT_KEY"].clone();
    assert_ne!(key, other);
    fails(verify(&cluster, &late, &[]).env("CONCLAVE_AUDIT_KEY", other), 5);
}

#[test]
fn online_a_majority_of_the_voters_must_bear_witness() {
    let mut cluster = Cluster::start(3);
    key_in_use(&cluster);
    let online = |cluster: &Cluster| {
        let mut command = cluster.cli();
        command.args(["--output", "json", "audit", "verify"]);
        command
    };
    let verified = json(&mut online(&cluster)).unwrap();
    assert_eq!((&verified["voters"], &verified["voters_agreeing"]), (&3.into(), &3.into()));

    let first = cluster.follower();
    cluster.kill(&first);
    let verified = json(&mut online(&cluster)).unwrap();
    assert_eq!((&verified["verified"], &verified["voters_agreeing"]), (&true.into(), &2.into()));
    let nodes = verified["nodes"].as_array().unwrap();
    let down = nodes.iter().find(|node| node["id"] == first.as_str()).unwrap();
    assert_eq!(down["agrees"], Value::Null, "{down}");
    assert_ne!(down["detail"], "", "{down}");

    let second = cluster.nodes.iter().map(|node| node.id.clone()).find(|id| *id != first).unwrap();
    cluster.kill(&second);
    // Nothing wrong was found, but too few were there to say so. (Reading the log is audited: without
    // a majority not even the export begins.)
    fails(online(&cluster).args(["--timeout", "5"]), 3);
}

#[test]
fn a_listing_shows_what_it_was_asked_for() {
    let cluster = Cluster::start(3);
    let key = key_in_use(&cluster);
    let (arn, id) = (key["arn"].as_str().unwrap(), key["key_id"].as_str().unwrap());
    let other = key_in_use(&cluster);
    let mine = ["--request-id", "the-request-of-this-test"];
    encrypt(cluster.cli_as("key-user"), id, &mine);
    // Who may not use keys is refused, and that is an entry like any other.
    let denied = run_with_input(cluster.cli_as("auditor").args(["encrypt", "--key", id]), b"x");
    assert_eq!(denied.status.code(), Some(1));

    let list = |flags: &[&str]| -> Vec<Value> {
        let mut command = cluster.cli_as("auditor");
        command.args(["--output", "json", "audit", "list"]).args(flags);
        let entries = json(&mut command).unwrap()["entries"].as_array().unwrap().clone();
        assert!(!entries.is_empty(), "{flags:?}");
        let index = |entry: &Value| entry["index"].as_u64().unwrap();
        assert!(entries.is_sorted_by_key(index), "{flags:?}");
        entries
    };
    let all = |entries: &[Value], name: &str, value: &str| {
        assert!(entries.iter().all(|entry| entry[name] == value), "{name}: {entries:?}");
        entries.len()
    };
    assert_eq!(all(&list(&["--principal", "key-user"]), "principal", "key-user"), 3);
    assert_eq!(all(&list(&["--action", "CreateKey"]), "action", "CreateKey"), 2);
    assert_eq!(all(&list(&mine), "request_id", mine[1]), 1);
    let refused = list(&["--outcome", "denied"]);
    assert_eq!(all(&refused, "principal", "auditor"), 1);
    assert_eq!(all(&refused, "action", "Encrypt"), 1);
    let about = list(&["--resource", arn]);
    assert!(about.iter().all(|entry| entry["resources"].as_array().unwrap().contains(&arn.into())));
    assert_ne!(arn, other["arn"].as_str().unwrap());
    assert_eq!(about.len(), 4, "created, used twice, denied once: {about:?}");
    let both = list(&["--resource", arn, "--action", "Encrypt", "--outcome", "success"]);
    assert_eq!(both.len(), 2);
    assert_eq!(list(&["--limit", "3"]).len(), 3);

    // Whoever is not an auditor sees nothing.
    let mut command = cluster.cli_as("key-user");
    let said = fails(command.args(["--output", "json", "audit", "list"]), 1);
    assert!(said.contains("AccessDenied"), "{said}");
    run(cluster.cli_as("auditor").args(["audit", "list"]));
}

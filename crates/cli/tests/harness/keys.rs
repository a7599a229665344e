//! Keys by the command line, and how often the audit log says that something was done to them.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Cluster, json};

/// `conclave key` with these arguments. The patience is for what comes while a leader is elected, and for
/// the wrapping key of an import: a node makes it at a low priority, and takes long for it in an
/// unoptimised build on a machine that is busy. An attempt has a third of the time.
pub fn key(cluster: &Cluster, args: &[&str]) -> Result<Value, String> {
    json(cluster.cli().args(["--timeout", "300", "--output", "json", "key"]).args(args))
}

/// How often the audit log says that this was done to each key, by the key's id.
pub fn audited(cluster: &Cluster, action: &str) -> BTreeMap<String, usize> {
    let mut list = cluster.cli_as("auditor");
    list.args(["--output", "json", "audit", "list", "--limit", "100000"]);
    list.args(["--action", action, "--outcome", "success"]);
    let found = json(&mut list).unwrap();
    let entries = found.as_array().or_else(|| found["entries"].as_array()).unwrap();
    let mut times = BTreeMap::new();
    for entry in entries {
        let arn = entry["resources"][0].as_str().unwrap();
        *times.entry(arn.rsplit('/').next().unwrap().to_owned()).or_default() += 1;
    }
    times
}

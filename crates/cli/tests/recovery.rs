//! A quorum that is gone for good: the domain is taken out of one disk, or a snapshot, with k operator
//! shares, and grown again. Promise P10.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails where this does, and says what it saw"
)]

mod harness;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use harness::{Cluster, LONG, conclave, json, run, wait_for};
use serde_json::Value;

const ALL: [&str; 3] = ["n1", "n2", "n3"];

/// What a key encrypted, and the log entry that acknowledged the last of it.
struct Written {
    key: String,
    ciphertext: PathBuf,
    log_index: u64,
}

/// Makes keys, and encrypts with each, one after the other, until it is told to stop or fails.
struct Writing {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Written>>,
}

impl Writing {
    fn start(cluster: &Cluster) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, env) = (stop.clone(), cluster.env().clone());
        let folder = cluster.dir.path().to_owned();
        let thread = std::thread::spawn(move || {
            let mut written = Vec::new();
            while !told.load(Ordering::Relaxed) {
                let Some(one) = write_one(&env, &folder, written.len()) else { break };
                written.push(one);
            }
            written
        });
        Self { stop, thread }
    }

    /// What was acknowledged.
    fn end(self) -> Vec<Written> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn write_one(env: &BTreeMap<String, String>, folder: &Path, number: usize) -> Option<Written> {
    let cli = || {
        let mut command = conclave();
        command.envs(env).args(["--timeout", "5", "--output", "json"]);
        command
    };
    let created = json(cli().args(["key", "create"])).ok()?;
    let key = created["key_id"].as_str()?.to_owned();
    let ciphertext = folder.join(format!("ciphertext-{number}"));
    let plaintext = folder.join(format!("plaintext-{number}"));
    fs::write(&plaintext, format!("secret {number}")).ok()?;
    let mut encrypt = cli();
    encrypt.args(["encrypt", "--key", &key, "--in"]).arg(&plaintext).arg("--out").arg(&ciphertext);
    let encrypted = json(&mut encrypt).ok()?;
    let revision = encrypted["revision"].as_str()?.to_owned();
    let log_index = revision.split(':').nth(1)?.parse().ok()?;
    Some(Written { key, ciphertext, log_index })
}

/// Every byte of a folder, by name.
fn content(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(content(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

fn copy_folder(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").arg(from).arg(to));
}

fn inspect(source: &[&str]) -> Result<Value, String> {
    json(conclave().args(["--output", "json", "recover", "inspect"]).args(source))
}

fn begin(source: &[&str], config: &Path) -> Command {
    let mut command = conclave();
    command.args(["--output", "json", "recover", "begin"]).args(source);
    command.arg("--config").arg(config).arg("--yes").stdin(Stdio::null());
    command
}

/// Gives operator shares to a recovered node.
fn recover(cluster: &Cluster, id: &str, shares: &[PathBuf]) -> Result<Value, String> {
    let mut command = cluster.cli_at(id);
    command.args(["--timeout", "20", "--output", "json", "operator", "recover"]);
    shares.iter().for_each(|share| {
        command.arg("--share-file").arg(share);
    });
    json(&mut command)
}

fn shares(cluster: &Cluster, numbers: &[usize]) -> Vec<PathBuf> {
    numbers.iter().map(|number| cluster.share_file(*number)).collect()
}

/// All that was acknowledged up to that log entry is there and decrypts.
fn check_written(cluster: &Cluster, written: &[Written], up_to: u64) -> usize {
    let mut checked = 0;
    for (number, one) in written.iter().enumerate() {
        if one.log_index > up_to {
            continue;
        }
        let mut decrypt = cluster.cli();
        decrypt.args(["--timeout", "30", "decrypt", "--in"]).arg(&one.ciphertext);
        assert_eq!(run(&mut decrypt), format!("secret {number}").as_bytes(), "{}", one.key);
        checked += 1;
    }
    checked
}

/// The audit log verifies from its first entry on, and says what happened.
fn check_audit(cluster: &Cluster, stated: &Value, voters: u64) {
    let verified = json(cluster.cli().args(["--output", "json", "audit", "verify"])).unwrap();
    assert_eq!(verified["verified"], true, "{verified}");
    assert_eq!(verified["voters_agreeing"], voters, "{verified}");
    let before = format!("{}:{}", stated["audit_size"], stated["audit_head"].as_str().unwrap());
    // The old head stands in the new history.
    let mut verify = cluster.cli();
    run(verify.args(["audit", "verify", "--expect", &before]));
    let mut list = cluster.cli();
    list.args(["--output", "json", "audit", "list", "--action", "RecoverDomain"]);
    let listed = String::from_utf8(run(&mut list)).unwrap();
    let source = format!("\"{}\"", stated["last_index"]);
    assert!(listed.contains("RecoverDomain") && listed.contains(&source), "{listed}");
}

/// Three nodes are killed under load and two of their disks are gone.
fn from_the_disk_of(choose: fn(&Cluster) -> String) {
    let mut cluster = Cluster::start_with(3, &["--snapshot-entries", "100"]);
    let older: Vec<PathBuf> = shares(&cluster, &[1, 2, 3]);
    let newer = cluster.dir.path().join("newer-shares");
    let mut deal = cluster.cli();
    deal.args(["--timeout", "60", "operator", "deal", "--shares", "2-of-3", "--shares-out"]);
    deal.arg(&newer);
    older.iter().for_each(|share| {
        deal.arg("--share-file").arg(share);
    });
    run(&mut deal);
    let newer: Vec<PathBuf> =
        (1..=3).map(|number| newer.join(format!("operator-share-{number}"))).collect();
    wait_for("the older shares to count no more", LONG, || {
        cluster.status()?["pending_epoch"].is_null().then_some(())
    });

    let writing = Writing::start(&cluster);
    let traffic_key = wait_for("a key to work with", LONG, || {
        let listed = json(cluster.cli().args(["--output", "json", "key", "create"])).ok()?;
        listed["key_id"].as_str().map(str::to_owned)
    });
    harness::traffic::encrypt_often(&cluster, &traffic_key, &ALL, 300, 8);
    std::thread::sleep(Duration::from_secs(3));
    let survivor = choose(&cluster);
    let data = cluster.node(&survivor).data_dir.clone();
    let refused = inspect(&["--data-dir", data.to_str().unwrap()]).unwrap_err();
    assert!(refused.contains("in use"), "{refused}");
    for id in ALL {
        cluster.kill(id);
    }
    let written = writing.end();
    assert!(!written.is_empty());

    // What is left: one disk; and an old one of another node, kept aside to come back.
    let other = ALL.into_iter().find(|id| *id != survivor).unwrap();
    let old_disk = cluster.dir.path().join("old-disk");
    copy_folder(&cluster.node(other).data_dir, &old_disk);
    let source = cluster.dir.path().join("surviving");
    fs::rename(&data, &source).unwrap();
    for id in ALL {
        let _ = fs::remove_dir_all(&cluster.node(id).data_dir);
    }
    let as_it_was = content(&source);
    let from = ["--data-dir", source.to_str().unwrap()];
    let stated = inspect(&from).unwrap();
    eprintln!("{stated:#}");
    assert_eq!(stated["members"].as_array().unwrap().len(), 3);
    assert_eq!(
        (&stated["operator_threshold"], &stated["operator_generation"]),
        (&2.into(), &2.into())
    );
    assert!(stated["snapshot_index"].as_u64().unwrap() > 0);
    let last_index = stated["last_index"].as_u64().unwrap();
    assert!(stated["committed_index"].as_u64().unwrap() <= last_index);

    interrupted(&cluster, &survivor, &from, &source, &as_it_was);
    let made = json(&mut begin(&from, &cluster.node(&survivor).config)).unwrap();
    let raft_id = made["raft_id"].as_u64().unwrap();
    assert!(raft_id > last_index + (1 << 40), "{made}");
    assert!(content(&source) == as_it_was, "the source was changed");
    // A second one would overwrite it.
    let refused = json(&mut begin(&from, &cluster.node(&survivor).config)).unwrap_err();
    assert!(refused.contains("not empty"), "{refused}");

    cluster.restart(&survivor);
    let own = wait_for("the node to say what it is", LONG, || {
        cluster.own_status(&survivor).filter(|own| own["role"] == "recovered")
    });
    assert_eq!((&own["state"], &own["raft_id"]), (&"sealed".into(), &raft_id.into()));
    wait_for("the node to say what to do", LONG, || {
        let own = cluster.own_status(&survivor)?;
        own["detail"].as_str()?.contains("conclave operator recover").then_some(())
    });

    for (what, given) in [
        ("too few", newer[..1].to_vec()),
        ("one twice", vec![newer[0].clone(), newer[0].clone()]),
        ("older ones", older.clone()),
        ("mixed ones", vec![newer[0].clone(), older[1].clone()]),
    ] {
        let refused = wait_for("an answer about shares", LONG, || {
            let refused = recover(&cluster, &survivor, &given).unwrap_err();
            let is_answer =
                !refused.contains("ThrottlingException") && !refused.contains("caught up");
            is_answer.then_some(refused)
        });
        eprintln!("{what}: {refused}");
        assert_eq!(cluster.own_status(&survivor).unwrap()["state"], "sealed");
    }
    let opened = wait_for("the right shares to be let in", LONG, || {
        match recover(&cluster, &survivor, &newer[1..]) {
            Ok(opened) => Some(opened),
            Err(refused) => {
                assert!(refused.contains("ThrottlingException"), "{refused}");
                None
            }
        }
    });
    assert_eq!((&opened["alone"], &opened["state"]), (&true.into(), &"open".into()));
    cluster.know(&[&survivor]);
    let status = cluster.status().unwrap();
    assert_eq!(status["share_threshold"], 1, "{status:#}");
    assert_eq!(status["nodes"].as_array().unwrap().len(), 1, "{status:#}");
    assert_eq!(status["leader"], survivor.as_str());
    let checked = check_written(&cluster, &written, last_index);
    eprintln!("{checked} of {} acknowledged writes are on the disk, and there", written.len());
    assert!(checked > 0);
    check_audit(&cluster, &stated, 1);

    an_old_disk_is_refused(&mut cluster, other, &survivor, &old_disk);

    // Its own share opens it after a restart, with the operators as before.
    cluster.kill(&survivor);
    cluster.restart(&survivor);
    unseal_with(&cluster, &survivor, &newer[..2]);
    grow(&mut cluster, &survivor, &newer[..2]);
    assert_eq!(check_written(&cluster, &written, last_index), checked);
    check_audit(&cluster, &stated, 3);
}

/// `begin` killed at any time has made nothing, and has not touched the source.
fn interrupted(
    cluster: &Cluster,
    id: &str,
    from: &[&str],
    source: &Path,
    as_it_was: &BTreeMap<PathBuf, Vec<u8>>,
) {
    let data = cluster.node(id).data_dir.clone();
    let (mut halves, mut after_ms) = (0, 40);
    loop {
        let mut child = begin(from, &cluster.node(id).config)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(after_ms));
        let ended = child.try_wait().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(content(source) == *as_it_was, "the source was changed after {after_ms} ms");
        let is_made = data.join("domains").exists();
        assert!(is_made || ended.is_none(), "it ended and made nothing");
        if is_made {
            break;
        }
        if data.join("recovering/domains").exists() {
            halves += 1;
            let mut server = conclave();
            let output = server.args(["server", "--config"]).arg(&cluster.node(id).config).output();
            let said = String::from_utf8(output.unwrap().stderr).unwrap();
            assert!(said.contains("was not finished"), "{said}");
        }
        after_ms += 40;
    }
    eprintln!("killed until after {after_ms} ms, {halves} times with half a folder");
    fs::remove_dir_all(&data).unwrap();
}

/// A node of the old group, on its old disk: it is nobody here, and nothing happens to the new group.
fn an_old_disk_is_refused(cluster: &mut Cluster, other: &str, survivor: &str, disk: &Path) {
    copy_folder(disk, &cluster.node(other).data_dir.clone());
    cluster.restart(other);
    let before = cluster.own_status(survivor).unwrap();
    let mut add = cluster.cli_at(survivor);
    add.args(["--timeout", "20", "node", "add"]);
    let refused = json(add.arg(format!("{other}={}", cluster.node(other).peer))).unwrap_err();
    assert!(refused.contains("empty its data folder"), "{refused}");
    // It has had the time for several elections.
    std::thread::sleep(Duration::from_secs(5));
    let old = cluster.own_status(other).unwrap();
    assert_eq!(old["state"], "sealed", "{old}");
    let after = cluster.own_status(survivor).unwrap();
    assert_eq!((&after["state"], &after["term"]), (&"open".into(), &before["term"]), "{after}");
    let status = cluster.status_at(survivor).unwrap();
    assert_eq!(status["leader"], survivor);
    cluster.kill(other);
}

fn unseal_with(cluster: &Cluster, id: &str, shares: &[PathBuf]) {
    wait_for(&format!("{id} to take the shares"), LONG, || {
        let mut command = cluster.cli_at(id);
        command.args(["--output", "json", "operator", "unseal"]);
        shares.iter().for_each(|share| {
            command.arg("--share-file").arg(share);
        });
        json(&mut command).ok()
    });
    cluster.wait_state(id, "open");
}

/// Grows a domain of one to all three, with empty folders for the others.
fn grow(cluster: &mut Cluster, first: &str, shares: &[PathBuf]) {
    let others: Vec<&str> = ALL.into_iter().filter(|id| *id != first).collect();
    let mut add = cluster.cli_at(first);
    add.args(["--timeout", "120", "node", "add"]);
    for id in &others {
        let _ = fs::remove_dir_all(&cluster.node(id).data_dir);
        cluster.restart(id);
        add.arg(format!("{id}={}", cluster.node(id).peer));
    }
    run(&mut add);
    others.iter().for_each(|id| unseal_with(cluster, id, shares));
    cluster.know(&ALL);
    for id in ALL {
        wait_for(&format!("all to be voters at {id}"), LONG, || {
            let nodes = cluster.nodes_at(id)?;
            let serving = |node: &Value| node["role"] == "voter" && node["state"] == "open";
            (nodes.len() == 3 && nodes.iter().all(serving)).then_some(())
        });
    }
}

#[test]
fn a_domain_is_recovered_from_the_disk_of_its_leader() {
    from_the_disk_of(Cluster::leader);
}

#[test]
fn a_domain_is_recovered_from_the_disk_of_a_follower() {
    from_the_disk_of(Cluster::follower);
}

/// All HSMs are lost, and two disks with them: operator shares alone open what is left.
#[test]
fn a_domain_is_recovered_when_all_tokens_are_lost() {
    let mut cluster = Cluster::start_with_tokens(3);
    let writing = Writing::start(&cluster);
    std::thread::sleep(Duration::from_secs(3));
    let survivor = cluster.follower();
    for id in ALL {
        cluster.kill(id);
    }
    let written = writing.end();
    let source = cluster.dir.path().join("surviving");
    fs::rename(&cluster.node(&survivor).data_dir, &source).unwrap();
    for id in ALL {
        fs::remove_dir_all(cluster.dir.path().join(id).join("hsm")).unwrap();
        let _ = fs::remove_dir_all(&cluster.node(id).data_dir);
        cluster.set_seal(id, "pkcs11", "operator");
    }
    let from = ["--data-dir", source.to_str().unwrap()];
    let stated = inspect(&from).unwrap();
    json(&mut begin(&from, &cluster.node(&survivor).config)).unwrap();
    let last_index = stated["last_index"].as_u64().unwrap();
    let shares = shares(&cluster, &[2, 4, 5]);
    opened(&mut cluster, &survivor, &shares);
    assert_eq!(cluster.own_status(&survivor).unwrap()["seal"], "operator");
    assert!(check_written(&cluster, &written, last_index) > 0);
    check_audit(&cluster, &stated, 1);
    grow(&mut cluster, &survivor, &shares);
    check_audit(&cluster, &stated, 3);
}

/// No disk is left but a copy of a snapshot and of the audit history up to it.
#[test]
fn a_domain_is_recovered_from_a_snapshot() {
    let mut cluster = Cluster::start_with(3, &["--snapshot-entries", "100"]);
    let first = write_one(cluster.env(), cluster.dir.path(), 0).unwrap();
    harness::traffic::encrypt_often(&cluster, &first.key, &ALL, 600, 4);
    let domains = cluster.node("n2").data_dir.join("domains");
    let domain = fs::read_dir(&domains).unwrap().next().unwrap().unwrap().path();
    let backup = cluster.dir.path().join("backup");
    wait_for("a snapshot", LONG, || {
        fs::read_dir(domain.join("snapshot")).ok()?.find_map(|file| {
            file.ok().filter(|file| file.path().extension().is_some_and(|it| it == "snap"))
        })
    });
    for id in ALL {
        cluster.kill(id);
    }
    copy_folder(&domain, &backup);
    let mut snapshots: Vec<PathBuf> = fs::read_dir(backup.join("snapshot"))
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|file| file.extension().is_some_and(|it| it == "snap"))
        .collect();
    snapshots.sort();
    let snapshot = cluster.dir.path().join("a.snap");
    fs::copy(snapshots.last().unwrap(), &snapshot).unwrap();
    for id in ALL {
        fs::remove_dir_all(&cluster.node(id).data_dir).unwrap();
    }

    let audit = backup.join("audit");
    let from = ["--snapshot", snapshot.to_str().unwrap(), "--audit-dir", audit.to_str().unwrap()];
    let stated = inspect(&from).unwrap();
    assert_eq!(stated["last_index"], stated["snapshot_index"], "{stated}");
    assert!(first.log_index < stated["last_index"].as_u64().unwrap(), "{stated}");
    let refused = json(&mut begin(&from[..2], &cluster.node("n2").config)).unwrap_err();
    assert!(refused.contains("--audit-dir"), "{refused}");
    json(&mut begin(&from, &cluster.node("n2").config)).unwrap();
    let shares = shares(&cluster, &[1, 3, 5]);
    opened(&mut cluster, "n2", &shares);
    assert_eq!(check_written(&cluster, &[first], u64::MAX), 1);
    check_audit(&cluster, &stated, 1);
    grow(&mut cluster, "n2", &shares);
    check_audit(&cluster, &stated, 3);
}

/// Starts a recovered node and opens it.
fn opened(cluster: &mut Cluster, id: &str, shares: &[PathBuf]) {
    cluster.restart(id);
    let opened = wait_for("the shares to be let in", LONG, || recover(cluster, id, shares).ok());
    assert_eq!(opened["alone"], true, "{opened}");
    cluster.know(&[id]);
}

//! Imported key material on a cluster: it expires once, though the leader dies in the middle of it, and
//! only when a majority of the nodes' own clocks say so; what was deleted or imported stays so, whoever
//! dies.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails where this does")]

mod harness;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use harness::faults::clock::with_clocks_of_their_own;
use harness::keys::{audited, key};
use harness::{Cluster, LONG, count_from, faults, run, wait_for};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;
const TWO_YEARS: i64 = 2 * 365 * DAY;

/// A key with imported material, and what it has encrypted.
struct Imported {
    id: String,
    material: PathBuf,
    ciphertext: PathBuf,
}

impl Imported {
    /// Makes a key, gives it material made of this number, and encrypts its own id.
    fn new(cluster: &Cluster, number: u8, expires: Option<&str>) -> Self {
        let made = key(cluster, &["create", "--external"]).unwrap();
        assert_eq!(made["state"], "PendingImport");
        let id = made["key_id"].as_str().unwrap().to_owned();
        let path = |what: &str| cluster.dir.path().join(format!("{id}.{what}"));
        let new = Self { material: path("material"), ciphertext: path("ciphertext"), id };
        fs::write(&new.material, [number; 32]).unwrap();
        new.import(cluster, expires).unwrap();
        let plaintext = cluster.dir.path().join("plaintext");
        fs::write(&plaintext, &new.id).unwrap();
        let mut encrypt = cluster.cli();
        encrypt.args(["encrypt", "--key", &new.id, "--in"]).arg(plaintext);
        run(encrypt.arg("--out").arg(&new.ciphertext));
        new
    }

    fn import(&self, cluster: &Cluster, expires: Option<&str>) -> Result<(), String> {
        let mut args = vec!["import", &self.id, self.material.to_str().unwrap()];
        args.extend(expires.iter().flat_map(|expires| ["--expires", expires]));
        key(cluster, &args).map(drop)
    }

    /// Nothing but what it had opens its ciphertexts, so nothing else is taken.
    fn assert_other_material_is_refused(&self, cluster: &Cluster) {
        let other = cluster.dir.path().join("other");
        fs::write(&other, [0xAB; 32]).unwrap();
        let refused = key(cluster, &["import", &self.id, other.to_str().unwrap()]).unwrap_err();
        assert!(refused.contains("IncorrectKeyMaterialException"), "{refused}");
    }

    fn state(&self, cluster: &Cluster) -> Option<String> {
        let described = key(cluster, &["describe", &self.id]).ok()?;
        Some(described["state"].as_str().unwrap().to_owned())
    }

    fn waits(&self, cluster: &Cluster) -> bool {
        self.state(cluster).as_deref() == Some("PendingImport")
    }

    /// What became of decrypting its ciphertext.
    fn decrypt(&self, mut command: Command) -> Result<String, String> {
        let decrypted = command.args(["--timeout", "60", "decrypt", "--in"]);
        let output = decrypted.arg(&self.ciphertext).output().unwrap();
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(said(&output.stdout)) } else { Err(said(&output.stderr)) }
    }

    /// Every one of these nodes decrypts for it.
    fn assert_works(&self, cluster: &Cluster, nodes: &[String]) {
        assert_eq!(self.state(cluster).as_deref(), Some("Enabled"));
        for node in nodes {
            assert_eq!(self.decrypt(cluster.cli_at(node)).as_ref(), Ok(&self.id), "{node}");
        }
    }

    /// None of these nodes does, since its material is gone.
    fn assert_waits(&self, cluster: &Cluster, nodes: &[String]) {
        assert_eq!(self.state(cluster).as_deref(), Some("PendingImport"));
        for node in nodes {
            let refused = self.decrypt(cluster.cli_at(node)).unwrap_err();
            assert!(refused.contains("pending import"), "{node}: {refused}");
        }
    }
}

/// Where a node of that name is in the list.
fn number_of(id: &str) -> usize {
    id[1..].parse::<usize>().unwrap() - 1
}

#[test]
fn material_expires_once_though_the_leader_dies_in_the_middle() {
    if !faults::ready() {
        return;
    }
    let mut cluster = Cluster::start(3);
    let clocks = with_clocks_of_their_own(&mut cluster);
    let nodes = cluster.names();
    let keys: Vec<Imported> = (0..count_from("CONCLAVE_DUE_KEYS", 4))
        .map(|number| Imported::new(&cluster, u8::try_from(number).unwrap(), Some("30d")))
        .collect();
    let later = Imported::new(&cluster, 200, Some("300d"));
    let never = Imported::new(&cluster, 201, None);
    for (round, days) in (1_usize..).zip([31_i64, 61, 91]) {
        let leader = cluster.leader();
        clocks.iter().for_each(|clock| clock.set(days * DAY));
        // One of the first: then the leader is gone.
        wait_for("the first of them to expire", LONG, || keys[0].waits(&cluster).then_some(()));
        cluster.kill(&leader);
        let others: Vec<String> = nodes.iter().filter(|id| **id != leader).cloned().collect();
        wait_for("all of them to expire", LONG, || {
            keys.iter().all(|key| key.waits(&cluster)).then_some(())
        });
        keys.iter().for_each(|key| key.assert_waits(&cluster, &others[..1]));
        keys[0].assert_waits(&cluster, &others);
        cluster.launch(&leader, &clocks[number_of(&leader)].env());
        cluster.unseal_all(&[&leader]);
        keys[0].assert_waits(&cluster, &nodes);

        let done = audited(&cluster, "DeleteExpiredKeyMaterial");
        let expected: BTreeMap<_, _> = keys.iter().map(|key| (key.id.clone(), round)).collect();
        assert_eq!(done, expected);
        later.assert_works(&cluster, &nodes);
        never.assert_works(&cluster, &nodes);

        // The same material brings each key back, until it expires again.
        keys[0].assert_other_material_is_refused(&cluster);
        for key in &keys {
            key.import(&cluster, Some(&format!("{}d", days + 29))).unwrap();
            key.assert_works(&cluster, std::slice::from_ref(&leader));
        }
    }
    keys.iter().for_each(|key| key.assert_works(&cluster, &nodes));
    cluster.assert_whole();
}

#[test]
fn one_clock_expires_no_material_and_brings_none_back() {
    if !faults::ready() {
        return;
    }
    let mut cluster = Cluster::start(3);
    let clocks = with_clocks_of_their_own(&mut cluster);
    let nodes = cluster.names();
    let key = Imported::new(&cluster, 1, Some("30d"));
    for leads in [false, true] {
        let ahead = if leads { cluster.leader() } else { cluster.follower() };
        clocks[number_of(&ahead)].set(TWO_YEARS);
        cluster.wait_clock_off(&ahead, TWO_YEARS);
        // Many looks of the scheduler: its loop is a second, each of these a commit.
        for _ in 0..100 {
            assert_eq!(key.state(&cluster).as_deref(), Some("Enabled"));
        }
        key.assert_works(&cluster, &nodes);
        clocks[number_of(&ahead)].set(0);
        cluster.wait_clock_off(&ahead, 0);
    }
    assert_eq!(audited(&cluster, "DeleteExpiredKeyMaterial").get(&key.id), None);

    // An hour past the date all say so; then one is two hours back, before it, and starts like that too.
    let past = 30 * DAY + HOUR;
    clocks.iter().for_each(|clock| clock.set(past));
    wait_for("the material to expire", LONG, || key.waits(&cluster).then_some(()));
    for leads in [false, true] {
        let back = if leads { cluster.leader() } else { cluster.follower() };
        let clock = &clocks[number_of(&back)];
        clock.set(past - 2 * HOUR);
        cluster.wait_clock_off(&back, past - 2 * HOUR);
        for _ in 0..50 {
            assert!(key.waits(&cluster));
        }
        key.assert_waits(&cluster, &nodes);
        cluster.kill(&back);
        cluster.launch(&back, &clock.env());
        cluster.unseal_all(&[&back]);
        key.assert_waits(&cluster, &nodes);
        clock.set(past);
        cluster.wait_clock_off(&back, past);
    }
    assert_eq!(audited(&cluster, "DeleteExpiredKeyMaterial").get(&key.id), Some(&1));
    key.import(&cluster, None).unwrap();
    key.assert_works(&cluster, &nodes);
}

/// Whoever dies right after an acknowledgement: the leader, or all.
#[test]
fn deleted_material_is_gone_and_imported_material_is_there_whoever_dies() {
    let mut cluster = Cluster::start(3);
    let nodes = cluster.names();
    let (changed, kept) = (Imported::new(&cluster, 1, None), Imported::new(&cluster, 2, None));
    for all_die in [false, true] {
        for imports in [false, true] {
            let dying = if all_die { nodes.clone() } else { vec![cluster.leader()] };
            if imports {
                changed.assert_other_material_is_refused(&cluster);
                changed.import(&cluster, None).unwrap();
            } else {
                key(&cluster, &["delete-material", &changed.id]).unwrap();
            }
            for id in &dying {
                cluster.kill(id);
            }
            let left: Vec<String> =
                nodes.iter().filter(|id| !dying.contains(id)).cloned().collect();
            let assert_as_acknowledged = |cluster: &Cluster, nodes: &[String]| {
                kept.assert_works(cluster, nodes);
                if imports {
                    changed.assert_works(cluster, nodes);
                } else {
                    changed.assert_waits(cluster, nodes);
                }
            };
            if !all_die {
                assert_as_acknowledged(&cluster, &left);
            }
            dying.iter().for_each(|id| cluster.launch(id, &[]));
            cluster.unseal_all(&dying.iter().map(String::as_str).collect::<Vec<_>>());
            assert_as_acknowledged(&cluster, &nodes);
        }
    }
    let times = |action| audited(&cluster, action).remove(&changed.id);
    assert_eq!(times("DeleteImportedKeyMaterial"), Some(2));
    assert_eq!(times("ImportKeyMaterial"), Some(3));
    cluster.assert_whole();
}

//! Power loss: unsynced writes are dropped at random points under load, on one node and on all.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails where this does")]

mod harness;

use std::time::Duration;

use harness::Cluster;
use harness::faults::disk::Disk;
use harness::faults::{self, Dice};
use harness::steady::Load;

const NODES: usize = 3;
/// Of each node's disk.
const MEGABYTES: u64 = 512;
/// A cut comes within this after the load got going again.
const WITHIN: Duration = Duration::from_millis(1500);
/// How many cuts; the full run is 100, half of them of all three nodes at once.
const CUTS: (&str, u64) = ("CONCLAVE_POWER_CUTS", 6);

#[test]
fn acknowledged_writes_survive_power_loss_of_one_node_and_of_all() {
    if !faults::ready() {
        return;
    }
    let mut dice = Dice::new();
    // So few entries that snapshots, purges and rolls are cut into as well.
    let mut cluster = Cluster::start_with(NODES, &["--snapshot-entries", "200"]);
    let names = cluster.names();
    let ids: Vec<&str> = names.iter().map(String::as_str).collect();
    let disks = cluster.move_to_disks(&ids, MEGABYTES);
    let load = Load::start(&cluster);

    for cut in 0..faults::count(CUTS.0, CUTS.1) {
        dice.wait_below(WITHIN);
        let before = load.acknowledged();
        if cut % 2 == 0 {
            let hit = usize::try_from(dice.below(NODES as u64)).unwrap();
            let ends_by_itself = dice.below(2) == 0;
            one(&mut cluster, &disks[hit], ids[hit], ends_by_itself, &load);
            eprintln!("cut {cut}: {} alone", ids[hit]);
        } else {
            all(&mut cluster, &disks, &ids);
            eprintln!("cut {cut}: all at once");
        }
        let took = load.wait_for_more();
        let now = load.acknowledged();
        eprintln!("cut {cut}: {} acknowledged since, progress after {took:.1?}", now - before);
    }
    load.stop_and_judge(&cluster);
}

/// The others go on meanwhile. A node whose disk is gone must not live on, even if nobody kills it.
fn one(cluster: &mut Cluster, disk: &Disk, id: &str, ends_by_itself: bool, load: &Load) {
    let from = cluster.log_of(id).len();
    disk.cut_power();
    if ends_by_itself {
        let words = cluster.wait_ended(id, from);
        assert!(words.contains("stopped"), "{id} says nothing of it: {words}");
    } else {
        cluster.kill(id);
    }
    load.wait_for_more();
    disk.restore_power();
    cluster.restart(id);
    cluster.unseal_all(&[id]);
}

fn all(cluster: &mut Cluster, disks: &[Disk], ids: &[&str]) {
    disks.iter().for_each(Disk::cut_power);
    for id in ids {
        cluster.kill(id);
    }
    disks.iter().for_each(Disk::restore_power);
    ids.iter().for_each(|id| cluster.launch(id, &[]));
    cluster.unseal_all(ids);
}

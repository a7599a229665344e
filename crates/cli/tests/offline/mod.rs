//! Every secret of a development cluster, out of a copy of a stopped node's folder and the
//! operators' shares: what a search for them must know.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::missing_panics_doc,
    reason = "a test fails where this does"
)]

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use conclave_crypto::Key;
use conclave_crypto::sharing::combine;
use conclave_proto::record;
use conclave_replica::{PeerDialer, Replica, ReplicaConfig};
use conclave_seal::operator::OperatorKeyRecord;
use conclave_seal::operator_share::OperatorShare;
use conclave_seal::{Keyring, OperatorKey, ShareEpochs};
use conclave_store::{Kind, RecordId, View};
use prost::Message;
use serde_json::Value;
use tonic::transport::{Channel, Endpoint};

use crate::harness::{Cluster, LONG, run, wait_for};
use crate::scanner::Marker;

/// Reaches nobody: a replica that runs alone on a copy.
struct Nobody;

impl PeerDialer for Nobody {
    fn dial(&self, _: &str, _: &str) -> Channel {
        Endpoint::from_static("http://127.0.0.1:1").connect_lazy()
    }
}

/// The secrets of the domain, each by what it is, from the folder of `node`, which does not run.
pub fn every_secret(cluster: &Cluster, node: &str) -> Vec<Marker> {
    let shares: Vec<PathBuf> = (1..=5).map(|number| cluster.share_file(number)).collect();
    read_all(cluster, node, &shares, |_| {})
}

/// The same from the folder of a node that runs, under these operator shares. It is stopped while its
/// folder is copied: what is in its files then is what a `kill -9` would leave.
pub fn every_secret_now(cluster: &Cluster, node: &str, shares: &[PathBuf]) -> Vec<Marker> {
    read_all(cluster, node, shares, |stop| match stop {
        true => cluster.stop_process(node),
        false => cluster.continue_process(node),
    })
}

fn read_all(cluster: &Cluster, node: &str, shares: &[PathBuf], stop: impl Fn(bool)) -> Vec<Marker> {
    let texts: Vec<String> = shares.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let status = cluster.status().unwrap();
    let nodes = status["nodes"].as_array().unwrap();
    let raft_id = nodes.iter().find(|status| status["id"] == node).unwrap()["raft_id"].as_u64();
    let domains = cluster.node(node).data_dir.join("domains");
    let folder = fs::read_dir(&domains).unwrap().next().unwrap().unwrap().path();
    let copy = tempfile::tempdir().unwrap();
    stop(true);
    run(std::process::Command::new("cp").arg("-r").arg(&folder).arg(copy.path()));
    stop(false);
    let name = folder.file_name().unwrap();
    let domain_id: [u8; 16] = hex::decode(name.to_str().unwrap()).unwrap().try_into().unwrap();
    let copy = copy.path().join(name);
    let config = ReplicaConfig::new(&copy, "dev", domain_id, raft_id.unwrap(), node);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(read(config, &Epochs::of(&status), &texts))
}

/// What the records are to be of.
#[derive(Debug, PartialEq)]
struct Epochs {
    operators: u64,
    root: u64,
    domain_key: u64,
}

impl Epochs {
    fn of(status: &Value) -> Self {
        assert!(status["pending_epoch"].is_null(), "{status}");
        let [operators, root, domain_key] =
            ["operator_generation", "share_epoch", "domain_key"].map(|name| status[name].as_u64());
        Self { operators: operators.unwrap(), root: root.unwrap(), domain_key: domain_key.unwrap() }
    }
}

async fn read(config: ReplicaConfig, epochs: &Epochs, texts: &[String]) -> Vec<Marker> {
    let replica = Replica::start(config, Arc::new(Nobody)).await.unwrap();
    let blob = |kind| replica.view().blob(&RecordId::singleton(kind)).unwrap();
    let operator = wait_for("the records", LONG, || {
        let operator = blob(Kind::OperatorKey)?;
        let keys = record::DomainKeys::decode(blob(Kind::DomainKeys)?.as_ref()).unwrap();
        let applied = Epochs {
            operators: OperatorKeyRecord::parse(&operator).unwrap().generation.0,
            root: ShareEpochs::parse(&blob(Kind::ShareEpoch)?).unwrap().newest().number.0,
            domain_key: keys.current.into(),
        };
        (applied == *epochs).then_some(operator)
    });

    let shares: Vec<OperatorShare> =
        texts.iter().map(|text| OperatorShare::from_text(text).unwrap()).collect();
    let record = OperatorKeyRecord::parse(&operator).unwrap();
    let domain = shares[0].domain;
    let generation = record.generation;
    let mut found: Vec<(&'static str, Key)> =
        shares.iter().map(|share| ("operator share", share.share.y.duplicate())).collect();
    let few = shares.into_iter().map(|share| share.share);
    let few: Vec<_> = few.take(record.split.threshold().into()).collect();
    let key = OperatorKey { generation, key: combine(&few).unwrap() };
    let epochs = ShareEpochs::parse(&blob(Kind::ShareEpoch).unwrap()).unwrap();
    let epoch = epochs.newest();
    let root = key.unwrap_root(domain, &record, epoch.number).unwrap();

    let view = replica.view();
    let keyring = Keyring::open(&root, &view).unwrap();
    found.extend(keyring.every_key());
    for holder in &epoch.holders {
        let share = epoch.share_of(domain, &root, holder.raft_id).unwrap();
        found.push(("node share", share.y));
    }
    for id in view.list(Kind::Key, None, 1_000) {
        let opened = keyring.open_record(&id, &view.blob(&id).unwrap().unwrap()).unwrap();
        let key = record::Key::decode(opened.expose()).unwrap();
        for version in &key.backing_keys {
            found.push(("backing key", Key::from_slice(&version.material).unwrap()));
        }
    }
    drop(view);
    found.push(("operator key", key.key));
    replica.shutdown().await;
    found
        .into_iter()
        .map(|(what, key)| Marker { what, bytes: key.expose().to_vec() })
        .chain(texts.iter().map(|text| Marker {
            what: "operator share's text",
            bytes: text.trim().as_bytes().to_vec(),
        }))
        .collect()
}

//! Every secret of a development cluster, out of a copy of a stopped node's folder and the
//! operators' shares: what a search for them must know.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::missing_panics_doc,
    reason = "a test fails where this does"
)]

use std::fs;
use std::path::Path;
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
    let texts: Vec<String> =
        (1..=5).map(|number| fs::read_to_string(cluster.share_file(number)).unwrap()).collect();
    let raft_id = cluster.status().unwrap()["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .find(|status| status["id"] == node)
        .and_then(|status| status["raft_id"].as_u64())
        .unwrap();
    let domains = cluster.node(node).data_dir.join("domains");
    let folder = fs::read_dir(&domains).unwrap().next().unwrap().unwrap().path();
    let copy = tempfile::tempdir().unwrap();
    run(std::process::Command::new("cp").arg("-r").arg(&folder).arg(copy.path()));
    let name = folder.file_name().unwrap();
    let domain_id: [u8; 16] = hex::decode(name.to_str().unwrap()).unwrap().try_into().unwrap();
    let copy = copy.path().join(name);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(read(&copy, domain_id, raft_id, node, &texts))
}

async fn read(
    folder: &Path,
    domain_id: [u8; 16],
    raft_id: u64,
    name: &str,
    texts: &[String],
) -> Vec<Marker> {
    let config = ReplicaConfig::new(folder, "dev", domain_id, raft_id, name);
    let replica = Replica::start(config, Arc::new(Nobody)).await.unwrap();
    let blob = |kind| replica.view().blob(&RecordId::singleton(kind)).unwrap();
    let operator = wait_for("the records", LONG, || blob(Kind::OperatorKey));

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

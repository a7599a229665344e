//! The command itself, run as a process against a scripted node: what it prints, writes and
//! returns. Scripts rely on all three.

#![allow(clippy::unwrap_used, reason = "a test fails where this does")]

mod common;

use std::{fs, io::Write, process::Stdio};

use common::{Answer, World, mode};
use conclave_pki::Authority;
use conclave_proto::v1::{self, export_audit_response::Item};
use serde_json::Value;
use tonic::Code;

#[test]
fn pki_writes_a_working_authority_and_overwrites_nothing() {
    let world = World::alone();
    let [cert, key] = ["pki/ca.pem", "pki/ca.key"].map(|name| world.path(name));
    let pem = fs::read_to_string(&cert).unwrap();
    Authority::load(&pem, &fs::read_to_string(&key).unwrap()).unwrap();
    assert_eq!((mode(&key), mode(&world.path("pki/ops.key"))), (0o600, 0o600));

    let node = world.json(&["pki", "inspect", "pki/n1.pem"]);
    let node = &node["certificates"][0];
    assert_eq!(node["identity"], "spiffe://test/node/n1");
    assert_eq!(node["hosts"], serde_json::json!(["127.0.0.1"]));

    let error = world.fails(2, &["pki", "init", "--cluster", "other", "--dir", "pki"]);
    assert!(error.contains("exists already"), "{error}");
    assert_eq!(fs::read_to_string(&cert).unwrap(), pem);
    world.ok(&["pki", "issue", "client", "ann", "--dir", "pki", "--out", "hers"]);
    assert_eq!(mode(&world.path("hers/ann.key")), 0o600);
}

#[test]
fn each_failure_has_its_exit_code() {
    let alone = World::alone();
    alone.fails(2, &["key", "create", "--tag", "nonsense"]);
    alone.fails(2, &["pki", "inspect", "nothing.pem"]);
    let error = alone.fails(2, &["audit", "verify", "--in", "x"]);
    assert!(error.contains("CONCLAVE_AUDIT_KEY"), "{error}");
    let error = alone.fails(3, &["status", "--timeout", "1", "--output", "json"]);
    let error: Value = serde_json::from_str(&error).unwrap();
    assert_eq!(error["error"]["name"], "Unreachable");
    assert!(error["error"]["request_id"].is_string());

    let refusing =
        World::with_node(|_| Answer::Error(Code::NotFound, "NotFoundException", "eu:1:0"));
    let error = refusing
        .fails(1, &["key", "describe", "alias/a", "--request-id", "mine", "--output", "json"]);
    let error: Value = serde_json::from_str(&error).unwrap();
    assert_eq!(error["error"]["name"], "NotFoundException");
    assert_eq!(error["error"]["request_id"], "mine");

    let silent = World::with_node(|_| Answer::Silence);
    silent.fails(4, &["key", "disable", "a", "--timeout", "1"]);
    let sealed = World::with_node(|_| Answer::Error(Code::Unavailable, "KMSInternalException", ""));
    sealed.fails(3, &["key", "disable", "a", "--timeout", "1"]);
}

#[test]
fn bytes_go_in_and_out_as_they_are() {
    let world = World::with_node(|call| match call.path.as_str() {
        "/conclave.v1.Kms/Encrypt" => {
            let request: v1::EncryptRequest = call.decode();
            assert_eq!(request.encryption_context["app"], "a=b");
            let ciphertext = request.plaintext.iter().rev().copied().collect();
            Answer::of(&v1::EncryptResponse {
                ciphertext_blob: ciphertext,
                key_id: request.key_id,
                ..Default::default()
            })
        }
        _ => {
            let request: v1::DecryptRequest = call.decode();
            let plaintext = request.ciphertext_blob.iter().rev().copied().collect();
            Answer::of(&v1::DecryptResponse {
                plaintext,
                key_id: "arn".to_owned(),
                ..Default::default()
            })
        }
    });
    let mut child = world
        .command(&["encrypt", "--key", "k", "--context", "app=a=b"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"\x00\xffab").unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"ba\xff\x00");

    fs::write(world.path("plain"), b"abc").unwrap();
    let args = ["encrypt", "--key", "k", "--context", "app=a=b", "--in", "plain"];
    let json = world.json(&args);
    assert_eq!((&json["ciphertext"], &json["key_id"]), (&"Y2Jh".into(), &"k".into()));
    assert_eq!(json["revision"], "eu:42:7");
    world.ok(&[&args[..], &["--out", "sealed"]].concat());
    world.ok(&["decrypt", "--in", "sealed", "--out", "again"]);
    assert_eq!(fs::read(world.path("again")).unwrap(), b"abc");
    assert_eq!(mode(&world.path("again")), 0o600);

    fs::write(world.path("large"), [0; 4097]).unwrap();
    let error = world.fails(2, &["encrypt", "--key", "k", "--in", "large"]);
    assert!(error.contains("data-key"), "{error}");
}

#[test]
fn lists_follow_their_pages() {
    let world = World::with_node(|call| {
        let request: v1::ListKeysRequest = call.decode();
        let second = request.marker == "more";
        let keys = if second { vec!["c"] } else { vec!["a", "b"] };
        let keys = keys
            .into_iter()
            .take(usize::try_from(request.limit.unwrap()).unwrap())
            .map(str::to_owned);
        Answer::of(&v1::ListKeysResponse {
            keys: keys.map(|key_id| v1::KeyListEntry { key_arn: key_id.clone(), key_id }).collect(),
            next_marker: (!second).then(|| "more".to_owned()),
            truncated: !second,
            read_index: 9,
        })
    });
    let ids = |json: Value| -> Vec<String> {
        let keys = json["keys"].as_array().unwrap().clone();
        keys.iter().map(|key| key["key_id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(world.json(&["key", "list"])), ["a", "b", "c"]);
    assert_eq!(ids(world.json(&["key", "list", "--limit", "1"])), ["a"]);
}

/// Aliases are moved by id, listed in the order of their names, and whatever is put on a key says which.
#[test]
fn names_and_labels_go_to_the_key_that_is_meant() {
    let world = World::with_node(|call| match call.path.as_str() {
        "/conclave.v1.Kms/DescribeKey" => {
            let request: v1::DescribeKeyRequest = call.decode();
            assert_eq!(request.key_id, "alias/old");
            let key = v1::KeyMetadata { arn: "arn".to_owned(), ..Default::default() };
            Answer::of(&v1::DescribeKeyResponse { key_metadata: Some(key) })
        }
        "/conclave.v1.Kms/UpdateAlias" => {
            let request: v1::UpdateAliasRequest = call.decode();
            assert_eq!(
                (request.alias_name.as_str(), request.target_key_id.as_str()),
                ("alias/a", "arn")
            );
            Answer::of(&v1::UpdateAliasResponse {})
        }
        "/conclave.v1.Kms/ListAliases" => {
            let request: v1::ListAliasesRequest = call.decode();
            let second = request.marker == "more";
            let names = if second { vec!["alias/a"] } else { vec!["alias/c", "alias/b"] };
            let entry = |name: &str| v1::AliasListEntry {
                alias_name: name.to_owned(),
                alias_arn: format!("arn:{name}"),
                target_key_id: request.key_id.clone(),
                creation_date_ms: 1,
                last_updated_date_ms: 2,
            };
            Answer::of(&v1::ListAliasesResponse {
                aliases: names.into_iter().map(entry).collect(),
                next_marker: (!second).then(|| "more".to_owned()),
                truncated: !second,
                read_index: 9,
            })
        }
        "/conclave.v1.Kms/TagResource" => {
            let request: v1::TagResourceRequest = call.decode();
            assert_eq!(
                (request.tags[1].tag_key.as_str(), request.tags[1].tag_value.as_str()),
                ("b", "x=y")
            );
            Answer::of(&v1::TagResourceResponse {})
        }
        "/conclave.v1.Kms/UntagResource" => {
            let request: v1::UntagResourceRequest = call.decode();
            assert_eq!(request.tag_keys, ["a", "b"]);
            Answer::of(&v1::UntagResourceResponse {})
        }
        "/conclave.v1.Kms/UpdateKeyDescription" => {
            let request: v1::UpdateKeyDescriptionRequest = call.decode();
            assert_eq!(request.description, "what it is for");
            Answer::of(&v1::UpdateKeyDescriptionResponse {})
        }
        other => panic!("{other}"),
    });
    let moved = world.json(&["alias", "update", "alias/a", "--key", "alias/old"]);
    assert_eq!((&moved["alias"], &moved["key_id"]), (&"alias/a".into(), &"arn".into()));
    assert_eq!(moved["revision"], "eu:42:7");
    let listed = world.json(&["alias", "list", "--key", "k"]);
    let names: Vec<_> =
        listed["aliases"].as_array().unwrap().iter().map(|it| &it["alias"]).collect();
    assert_eq!(names, ["alias/a", "alias/b", "alias/c"]);
    assert_eq!(listed["aliases"][0]["key_id"], "k");
    let tagged = world.json(&["key", "tag", "k", "a=1", "b=x=y"]);
    assert_eq!(tagged["tags"][0], serde_json::json!({ "key": "a", "value": "1" }));
    assert_eq!(world.json(&["key", "untag", "k", "a", "b"])["removed"][1], "b");
    let described = world.json(&["key", "update-description", "k", "what it is for"]);
    assert_eq!(described["key_id"], "k");
    world.fails(2, &["key", "tag", "k"]);
    world.fails(2, &["alias", "create", "alias/a"]);
}

/// A cluster whose operators hold nothing could never be opened again.
#[test]
fn shares_are_on_disk_before_the_founding_is_committed() {
    let out = tempfile::tempdir().unwrap();
    let shares = out.path().join("shares");
    let expected = shares.clone();
    let world = World::with_node(move |call| match call.path.as_str() {
        "/conclave.v1.Cluster/PrepareInit" => {
            let request: v1::PrepareInitRequest = call.decode();
            assert_eq!((request.threshold, request.shares, request.members.len()), (2, 3, 1));
            Answer::of(&v1::PrepareInitResponse {
                init_id: vec![1; 16],
                operator_shares: vec!["one".to_owned(), "two".to_owned(), "three".to_owned()],
                audit_verifier_key: "key".to_owned(),
            })
        }
        "/conclave.v1.Cluster/CommitInit" => {
            let request: v1::CommitInitRequest = call.decode();
            assert_eq!(request.init_id, [1; 16]);
            let third = fs::read_to_string(expected.join("operator-share-3")).unwrap();
            assert_eq!(third, "three\n");
            Answer::of(&v1::CommitInitResponse {
                audit_verifier_key: "key".to_owned(),
                principal: "ops".to_owned(),
            })
        }
        _ => {
            let request: v1::UnsealRequest = call.decode();
            assert_eq!(request.operator_shares, ["one", "three"]);
            Answer::of(&v1::UnsealResponse { state: "open".to_owned(), progress: 2, threshold: 2 })
        }
    });
    let folder = shares.to_str().unwrap();
    let init = [
        "operator",
        "init",
        "--member",
        "n1=127.0.0.1:2",
        "--shares",
        "2-of-3",
        "--shares-out",
        folder,
    ];
    let said = world.ok(&init);
    assert!(said.contains("CONCLAVE_AUDIT_KEY='key'") && said.contains(folder), "{said}");
    assert_eq!(mode(&shares.join("operator-share-1")), 0o600);
    assert!(world.fails(2, &init).contains("exists already"));

    let [one, three] = [1, 3].map(|number| format!("{folder}/operator-share-{number}"));
    let unsealed =
        world.json(&["operator", "unseal", "--share-file", &one, "--share-file", &three]);
    assert_eq!(unsealed["state"], "open");
}

#[test]
fn status_names_no_leader_as_null() {
    let world = World::with_node(|_| {
        let node =
            v1::NodeStatus { id: "n1".to_owned(), state: "open".to_owned(), ..Default::default() };
        Answer::of(&v1::StatusResponse {
            nodes: vec![node],
            initialized: true,
            ..Default::default()
        })
    });
    let json = world.json(&["status"]);
    assert_eq!((&json["leader"], &json["nodes"][0]["id"]), (&Value::Null, &"n1".into()));
    assert!(world.ok(&["status"]).contains("No leader"));
}

#[test]
fn an_export_without_its_checkpoint_leaves_no_file() {
    let world = World::with_node(|_| {
        let header = v1::ExportHeader {
            origin: "o".to_owned(),
            domain_id: vec![0; 16],
            audit_verifier_key: KEY.to_owned(),
        };
        Answer::stream(&[v1::ExportAuditResponse { item: Some(Item::Header(header)) }])
    });
    let error = world.fails(1, &["audit", "export", "--out", "log.jsonl"]);
    assert!(error.contains("without a checkpoint"), "{error}");
    assert!(!world.path("log.jsonl").exists());
}

/// The verifier key in C2SP's signed-note specification.
const KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";

#[test]
fn completions_are_printed() {
    let world = World::alone();
    for shell in ["bash", "zsh", "fish"] {
        assert!(world.ok(&["completions", shell]).contains("conclave"), "{shell}");
    }
}

//! The chain's hash and the tree over it.

mod common;

use common::DOMAIN;
use conclave_audit::tree::{Frontier, leaf_hash, node_hash};
use conclave_audit::{
    Hash, Head, HeadError, MAX_SEALED, StepData, StepError, check_step, step_hash,
};
use conclave_crypto::sha256;

/// Both from Python's hashlib over bytes put together there.
#[test]
fn golden_hashes() {
    let genesis = Head::genesis(&DOMAIN).hash;
    assert_eq!(
        hex::encode(genesis),
        "d65df5b8f99e5c06a6cd0cb8598f142cdb2db0cc3b02c482878247509fc83357"
    );
    let data = StepData {
        time_ms: 0x0102030405060708,
        writer: 2,
        sequence: 3,
        log_index: 4,
        position: 5,
        key: 6,
        commitment: [7; 32],
        sealed_sha256: [8; 32],
    };
    assert_eq!(
        hex::encode(step_hash(&genesis, 1, &data)),
        "50aab98d248c44a822a18d44e1669bd82088ff73792fb9bbc60a6ea54f7b0521"
    );
}

/// Whatever a step binds, changing it changes the hash.
#[test]
fn a_step_binds_all_it_says() {
    let good = common::steps(3);
    let prev: Hash = good[1].hash.clone().try_into().unwrap();
    assert!(check_step(&prev, 2, &good[2]).is_ok());
    let changes: [fn(&mut conclave_proto::audit::Step); 9] = [
        |s| s.time_ms += 1,
        |s| s.writer += 1,
        |s| s.sequence += 1,
        |s| s.log_index += 1,
        |s| s.position += 1,
        |s| s.entry.as_mut().unwrap().key += 1,
        |s| s.entry.as_mut().unwrap().commitment[31] ^= 1,
        |s| s.entry.as_mut().unwrap().sealed[0] ^= 1,
        |s| s.hash[0] ^= 1,
    ];
    for change in changes {
        let mut step = good[2].clone();
        change(&mut step);
        assert_eq!(check_step(&prev, 2, &step), Err(StepError::Hash { index: 2 }));
    }
    assert_eq!(check_step(&[0; 32], 2, &good[2]), Err(StepError::Hash { index: 2 }));
    assert_eq!(check_step(&prev, 3, &good[2]), Err(StepError::Index { expected: 3, found: 2 }));
}

#[test]
fn malformed_steps_are_refused_and_leave_the_head_alone() {
    let mut head = common::head(2);
    let before = head.clone();
    let good = common::steps(3).remove(2);
    let mut refuse = |change: fn(&mut conclave_proto::audit::Step)| {
        let mut step = good.clone();
        change(&mut step);
        let refused = head.follow(&step).unwrap_err();
        assert_eq!(head, before);
        refused
    };
    assert_eq!(refuse(|s| s.entry = None), StepError::NoEntry { index: 2 });
    let short = refuse(|s| s.entry.as_mut().unwrap().commitment.truncate(31));
    assert_eq!(short, StepError::CommitmentLength { len: 31 });
    let empty = refuse(|s| s.entry.as_mut().unwrap().sealed.clear());
    assert_eq!(empty, StepError::SealedLength { len: 0 });
    let long = refuse(|s| s.entry.as_mut().unwrap().sealed = vec![0; MAX_SEALED + 1]);
    assert_eq!(long, StepError::SealedLength { len: MAX_SEALED + 1 });
    assert!(head.follow(&good).is_ok());
}

/// A head kept in a snapshot goes on exactly like one that was never put down.
#[test]
fn parts_round_trip_and_are_checked() {
    for size in 0..70 {
        let mut head = common::head(size);
        let frontier: Vec<Vec<u8>> = head.frontier().iter().map(|node| node.to_vec()).collect();
        let mut again = Head::from_parts(head.size, &head.hash, &frontier).unwrap();
        assert_eq!(again, head);
        let next = StepData::from_proto(&common::step(&mut head.clone(), size)).unwrap();
        assert_eq!(again.append(&next), head.append(&next));
        assert_eq!(again.root(), head.root());
    }
    let frontier = |n: usize| vec![vec![0; 32]; n];
    let refused =
        |size, hash: &[u8], nodes: &[Vec<u8>]| Head::from_parts(size, hash, nodes).unwrap_err();
    assert_eq!(refused(3, &[0; 32], &frontier(1)), HeadError::Frontier { size: 3, found: 1 });
    assert_eq!(refused(1, &[0; 31], &frontier(1)), HeadError::DigestLength { len: 31 });
    assert_eq!(refused(1, &[0; 32], &[vec![0; 33]]), HeadError::DigestLength { len: 33 });
    assert_eq!(refused(u64::MAX, &[0; 32], &frontier(64)), HeadError::Size { size: u64::MAX });
}

/// RFC 6962, section 2.1, word for word.
fn naive_root(leaves: &[Vec<u8>]) -> Hash {
    match leaves {
        [] => sha256(&[]),
        [leaf] => leaf_hash(leaf),
        _ => {
            let split = 1 << (leaves.len() - 1).ilog2();
            node_hash(&naive_root(&leaves[..split]), &naive_root(&leaves[split..]))
        }
    }
}

#[test]
fn roots_equal_the_definition() {
    let leaves: Vec<Vec<u8>> = common::steps(200).into_iter().map(|step| step.hash).collect();
    let mut frontier = Frontier::default();
    assert_eq!(frontier.root(), naive_root(&[]));
    for (size, leaf) in leaves.iter().enumerate() {
        frontier.push(size as u64, leaf);
        assert_eq!(frontier.root(), naive_root(&leaves[..=size]), "size {}", size + 1);
    }
    assert_eq!(common::head(200).root(), frontier.root());
}

/// The test tree of google/certificate-transparency (`merkletree/merkle_tree_test.cc`).
#[test]
fn certificate_transparency_roots() {
    let vectors = [
        ("", "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
        ("00", "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
        ("10", "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
        ("2021", "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
        ("3031", "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"),
        ("40414243", "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"),
        ("5051525354555657", "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"),
        (
            "606162636465666768696a6b6c6d6e6f",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ),
    ];
    let mut frontier = Frontier::default();
    for (size, (leaf, root)) in vectors.iter().enumerate() {
        frontier.push(size as u64, &hex::decode(leaf).unwrap());
        assert_eq!(hex::encode(frontier.root()), *root, "size {}", size + 1);
    }
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(hex::encode(Frontier::default().root()), empty);
}

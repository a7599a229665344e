//! Golden bytes of what is stored, replicated or written on paper. If one of these changes, nodes
//! stop opening what older ones wrote.

use conclave_crypto::entropy::SeededEntropy;
use conclave_crypto::secret::{Key, Secret};
use conclave_crypto::sharing::Share;
use conclave_seal::keyring::ImportTokenError;
use conclave_seal::operator_share::OperatorShare;
use conclave_seal::{
    DomainId, EpochNumber, OperatorGeneration, OperatorKey, OperatorKeyRecord, OperatorSplit,
    RaftId, SealKind, ShareEpoch, ShareEpochs, WrappedShare,
};
use conclave_store::{Kind, RecordId};
use proptest::prelude::*;

use crate::stage::Stage;

const DOMAIN: DomainId = DomainId(*b"conclave-domain!");

fn key(byte: u8) -> Key {
    Key::from_slice(&[byte; 32]).unwrap()
}

fn dealing(members: u64) -> (ShareEpoch, Vec<(RaftId, Share)>) {
    let members: Vec<RaftId> = (1..=members).map(|id| RaftId(10 * id)).collect();
    ShareEpoch::deal(DOMAIN, EpochNumber(7), &key(0x42), &members).unwrap()
}

#[test]
fn a_dealing_of_two_of_three() {
    let (epoch, shares) = dealing(3);
    assert_eq!(epoch.threshold, 2);
    assert_eq!(
        shares.iter().map(|(_, share)| hex::encode(share.y.expose())).collect::<Vec<_>>(),
        TWO_OF_THREE
    );
    let mut complete = epoch.clone();
    epoch.holders.iter().for_each(|h| complete.acknowledge(h.raft_id, SealKind::Operator));
    let mut epochs = ShareEpochs { complete, pending: None, owes_rotation: false };
    assert_eq!(hex::encode(epochs.encode()), EPOCH_RECORD);
    assert_eq!(ShareEpochs::parse(&hex::decode(EPOCH_RECORD).unwrap()).unwrap(), epochs);

    let members: Vec<RaftId> = (1..=2).map(RaftId).collect();
    let (mut later, _) = ShareEpoch::deal(DOMAIN, EpochNumber(8), &key(0x43), &members).unwrap();
    later.acknowledge(RaftId(2), SealKind::Pkcs11);
    epochs.pending = Some(later);
    assert_eq!(hex::encode(epochs.encode()), PENDING_RECORD);
    assert_eq!(ShareEpochs::parse(&hex::decode(PENDING_RECORD).unwrap()).unwrap(), epochs);

    // Neither order nor nesting nor a complete dealing that is not is taken.
    let swapped = ShareEpochs {
        complete: epochs.pending.clone().unwrap(),
        pending: Some(epochs.complete.clone()),
        owes_rotation: false,
    };
    assert!(ShareEpochs::parse(&swapped.encode()).is_err());
    assert!(ShareEpochs::parse(&epoch.encode()).is_err());
    assert!(ShareEpoch::parse(&epochs.encode()).is_err());
}

/// What leads back to the root key from k operator shares alone.
#[test]
fn an_operator_key_record() {
    let operator = OperatorKey { generation: OperatorGeneration(1), key: key(0x0e) };
    let split = OperatorSplit::new(3, 5).unwrap();
    let mut record = operator.record(DOMAIN, split);
    let entropy = &mut SeededEntropy::from_number(3);
    record.wrap_root(DOMAIN, EpochNumber(7), &key(0x42), entropy).unwrap();
    assert_eq!(hex::encode(record.encode()), OPERATOR_RECORD);
    let read = OperatorKeyRecord::parse(&hex::decode(OPERATOR_RECORD).unwrap()).unwrap();
    assert_eq!(read, record);
    assert!(operator.unwrap_root(DOMAIN, &read, EpochNumber(7)).unwrap().ct_eq(&key(0x42)));
    assert!(operator.unwrap_root(DOMAIN, &read, EpochNumber(8)).is_err());
    let other = OperatorKey { generation: OperatorGeneration(1), key: key(0x0f) };
    assert!(other.unwrap_root(DOMAIN, &read, EpochNumber(7)).is_err());
}

#[test]
fn a_dealing_of_three_of_five() {
    let (epoch, shares) = dealing(5);
    assert_eq!(epoch.threshold, 3);
    assert_eq!(
        shares.iter().map(|(_, share)| hex::encode(share.y.expose())).collect::<Vec<_>>(),
        THREE_OF_FIVE
    );
    for (raft_id, share) in &shares {
        let again = epoch.share_of(DOMAIN, &key(0x42), *raft_id).unwrap();
        assert!(again.x == share.x && again.y.ct_eq(&share.y));
    }
}

#[test]
fn the_text_of_an_operator_share() {
    let share = OperatorShare {
        domain: DOMAIN,
        generation: OperatorGeneration(1),
        threshold: 3,
        share: Share { x: 2, y: key(0x17) },
    };
    assert_eq!(share.to_text().expose(), OPERATOR_SHARE);
    let read = OperatorShare::from_text(OPERATOR_SHARE).unwrap();
    assert!(read.share.y.ct_eq(&share.share.y));
}

#[test]
fn a_wrapped_share() {
    let (epoch, shares) = dealing(3);
    let operator = OperatorKey { generation: OperatorGeneration(1), key: key(0x0e) };
    let node = operator.node_seal_root(DOMAIN).node_key(DOMAIN, "node-a");
    let entropy = &mut SeededEntropy::from_number(1);
    let wrapped = WrappedShare::by_operators(&node, DOMAIN, epoch.number, &shares[1].1, entropy);
    assert_eq!(hex::encode(wrapped.encode()), WRAPPED_SHARE);
    let read = WrappedShare::parse(&hex::decode(WRAPPED_SHARE).unwrap()).unwrap();
    assert!(read.unwrap(&node, &epoch, RaftId(20)).unwrap().y.ct_eq(&shares[1].1.y));

    // Neither another node's seal key nor another place opens it.
    let other = operator.node_seal_root(DOMAIN).node_key(DOMAIN, "node-b");
    assert!(read.unwrap(&other, &epoch, RaftId(20)).is_err());
    assert!(read.unwrap(&node, &epoch, RaftId(30)).is_err());
}

#[test]
fn a_sealed_record_and_the_ids_that_derive() {
    let keyring = Stage::new(1, 1, 1).founding.keyring;
    let id = RecordId::new(Kind::Key, [9; 16]);
    let blob = keyring.seal_record(&id, b"content", &mut SeededEntropy::from_number(2));
    assert_eq!(hex::encode(&blob), SEALED_BLOB);
    let opened = keyring.open_record(&id, &hex::decode(SEALED_BLOB).unwrap()).unwrap();
    assert!(opened.ct_eq(b"content"));

    let content = Secret::copy_from(b"content");
    let token = keyring.seal_import_token(&[9; 16], &content, &mut SeededEntropy::from_number(4));
    assert_eq!(hex::encode(&token), IMPORT_TOKEN);
    assert!(keyring.open_import_token(&[9; 16], &token).unwrap().ct_eq(b"content"));
    let refused = |key_id: &[u8; 16], token: &[u8]| {
        assert_eq!(
            keyring.open_import_token(key_id, token).unwrap_err(),
            ImportTokenError::NotAuthentic
        );
    };
    refused(&[8; 16], &token);
    refused(&[9; 16], &token[..3]);
    for at in 0..token.len() {
        let mut damaged = token.clone();
        damaged[at] ^= 1;
        refused(&[9; 16], &damaged);
    }

    let name = keyring.name_id(Kind::Alias, "000000000042", "alias/a");
    let token = keyring.token("alice", "request-1");
    assert_eq!(hex::encode(name.to_bytes()), NAME_ID);
    assert_eq!(hex::encode(token), TOKEN);
    assert_eq!(hex::encode(keyring.derived_key_id(&token)), KEY_ID);
    // Computed by another implementation.
    assert_eq!(hex::encode(keyring.derived_grant_id(&token)), GRANT_ID);
}

proptest! {
    /// Whatever bytes come from a disk, a peer or a person: an answer, never a panic.
    #[test]
    fn no_bytes_make_a_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0..120usize) {
        let _ = ShareEpochs::parse(&bytes);
        let _ = WrappedShare::parse(&bytes);
        let _ = OperatorKeyRecord::parse(&bytes);
        let _ = OperatorShare::from_text(&String::from_utf8_lossy(&bytes));
        let mut damaged = hex::decode(WRAPPED_SHARE).unwrap();
        let spot = at % damaged.len();
        damaged.splice(spot..=spot, bytes.iter().take(2).copied());
        let _ = WrappedShare::parse(&damaged);
        let mut damaged = hex::decode(EPOCH_RECORD).unwrap();
        damaged.splice(at..=at, bytes.iter().take(2).copied());
        let _ = ShareEpochs::parse(&damaged);
    }
}

const TWO_OF_THREE: [&str; 3] = [
    "1f33147ac93d9b863464c0752ad3f2f5f7ce51bd1d7363d8f376fbb3bbbd00d8",
    "f8a0ee324fbcebd1ae0e5d2c927b3937334164a7fc20006d3b2a2bbbaba7c66d",
    "a5d1b80ac4c33215d828df1bfaea898086cd7758a31121f78a1e924a525884f7",
];
const THREE_OF_FIVE: [&str; 5] = [
    "6e2cb65f12f7bb457bae2cf9c70a449a68a69007d8e1a44d394f67aa53a45c13",
    "270ea8d63681e0d335b5385eebc27a98116ca72e34e9e33cbc80c4af4bfe5183",
    "0b605ccb663419d40c5956e56e8a7c403b88756bae4a0533c78de1475a184fd2",
    "7cace9ffd7212a31b86718a5dd19e232f8c7e02fd1fad8258590481bfc96d84c",
    "50c21de28794d336818b761e5851e4ead223326a4b593e2afe9d6df3ed70c61d",
];
const EPOCH_RECORD: &str = "080710022232080a10011a20db73853f06ddb1043a4d6e7651d860fe9d6564f283908724bc8a3e599ea1df7920012a086f70657261746f722232081410021a20cac0a0bc272da90a7fa2762f2726497741eca1f7251b52208cc1cbd9c571bc4c20012a086f70657261746f722232081e10031a2064008838c433a0bbf29e5975be0ec5d6bf9e2ed5c570d3ed4abb26b70d8f565720012a086f70657261746f722a200ef9ff98bb7092e4a2322efed95b1127c8baa3ce7b49841d4861b34ca239970c";
const PENDING_RECORD: &str = "080710022232080a10011a20db73853f06ddb1043a4d6e7651d860fe9d6564f283908724bc8a3e599ea1df7920012a086f70657261746f722232081410021a20cac0a0bc272da90a7fa2762f2726497741eca1f7251b52208cc1cbd9c571bc4c20012a086f70657261746f722232081e10031a2064008838c433a0bbf29e5975be0ec5d6bf9e2ed5c570d3ed4abb26b70d8f565720012a086f70657261746f722a200ef9ff98bb7092e4a2322efed95b1127c8baa3ce7b49841d4861b34ca239970c328001080810022226080110011a20863dd7815780b35e5ce922035971488bc1f74a2f634a64551c50eda662e9830a2230080210021a201d9990e7923d8e165eb24929775fa003b4a4d47fe841d4891bf0ca3976e43b9e20012a06706b637331312a20a88b4259cd9db08e63f25a11fcebd9e91ac845803556f8990b403fe3c8d0dcef";
const OPERATOR_RECORD: &str = "0801100318052220fea5ea2735261d3ce9622357fbadb8d9412d6a2903fcd6e62e8db6c63b9fe7883a20fd183c4eba9fc7724e7af891460fa189f2bd14fb50a0d074be1d513c3044da42425408071250e182ceb9c24f4bb0d801007d1d389b2ccf32480f4a0682a0eda4c6c23d13701764afed5ebed3c4a02eb4e16be19d4283599a4fc5f4e3762a6025291e2065f493f036cc58b20c3f00a6fae6e8a91c3d4f";
const OPERATOR_SHARE: &str = "conclave-operator-share-1:ChBjb25jbGF2ZS1kb21haW4hEAEYAyACKiAXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFxcXFw:4d8a8b9e";
const WRAPPED_SHARE: &str = "08011210636f6e636c6176652d646f6d61696e21180720022a086f70657261746f7230013a486b340be3d3342b0dde7a1fe0b56d5c2bab9a1dacb87863191a0b59a1d65a5823edc03dda9a2a1ba2e7287ee74267e4d399646eb22a08e3d4aae87bdb4e20e8d220499b1077b656af";
const SEALED_BLOB: &str = "080110011a2f966148a039e16e440912cac711864f49c99ad4d42dc3c1c425e76eeaf8330b43318c6df71cfb15bfc7a22d40f43737";
const IMPORT_TOKEN: &str = "0000000150893928fe6399ecf9a19432c073fd339cc24627faf27efb173999cb7f8a481479757416b935e7b3d1979cb26d825d";
const NAME_ID: &str = "41fe8540dec7e26cfef9f988f8c285daa1";
const TOKEN: &str = "d9f2c2fd97c6fe6cf0d993d07ad2914e87109553dffbe69560782e8a70fed543";
const KEY_ID: &str = "2fe732a94362405181fb573f6b9c2350";
const GRANT_ID: &str = "3229add6cf351a1aa57333a6eff94431";

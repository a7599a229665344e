//! RSA-AES key wrap: whole or not at all, and against another implementation.

use conclave_crypto::key_wrap;
use conclave_crypto::rsa::{DecryptingKey, Oaep, Size};
use conclave_crypto::rsa_aes_wrap::{UnwrapError, WrapError, unwrap, wrap};
use conclave_crypto::{Key, SeededEntropy};

use crate::rsa::private;

#[test]
fn what_was_wrapped_opens_whole_and_by_its_own_padding() {
    let entropy = &mut SeededEntropy::from_number(1);
    for size in Size::ALL {
        let key = DecryptingKey::from_pkcs8(size, &private(size)).unwrap();
        for (oaep, other) in [(Oaep::Sha1, Oaep::Sha256), (Oaep::Sha256, Oaep::Sha1)] {
            for len in [1, 32, 2400] {
                let material = vec![7; len];
                let wrapped = wrap(key.public(), oaep, &material, entropy).unwrap();
                assert_eq!(wrapped.len(), size.modulus_len() + len.div_ceil(8) * 8 + 8);
                assert!(unwrap(&key, oaep, &wrapped).unwrap().ct_eq(&material));
                assert_eq!(unwrap(&key, other, &wrapped).err(), Some(UnwrapError));
            }
        }
    }
}

#[test]
fn what_was_changed_does_not_open() {
    let (entropy, oaep) = (&mut SeededEntropy::from_number(2), Oaep::Sha256);
    let key = DecryptingKey::from_pkcs8(Size::Rsa2048, &private(Size::Rsa2048)).unwrap();
    let wrapped = wrap(key.public(), oaep, &[7; 32], entropy).unwrap();
    for at in (0..wrapped.len()).step_by(5) {
        let mut changed = wrapped.clone();
        changed[at] ^= 1;
        assert_eq!(unwrap(&key, oaep, &changed).err(), Some(UnwrapError), "{at}");
    }
    for len in [0, 1, 255, 256, 257, wrapped.len() - 8, wrapped.len() - 1] {
        assert_eq!(unwrap(&key, oaep, &wrapped[..len]).err(), Some(UnwrapError), "{len}");
    }
    assert_eq!(unwrap(&key, oaep, &[&wrapped[..], &[0; 8]].concat()).err(), Some(UnwrapError));
    let empty = wrap(key.public(), oaep, &[], entropy);
    assert_eq!(empty.err(), Some(WrapError::Empty(key_wrap::WrapError)));
}

/// What takes the place of a key that did not open is known to all, and opens nothing; nor does a key
/// of another length.
#[test]
fn no_key_is_no_key_of_zeros() {
    let oaep = Oaep::Sha256;
    let key = DecryptingKey::from_pkcs8(Size::Rsa2048, &private(Size::Rsa2048)).unwrap();
    let material = key_wrap::wrap(&Key::from_slice(&[0; 32]).unwrap(), &[7; 32]).unwrap();
    let bad = [&[1; 256][..], &material].concat();
    assert_eq!(unwrap(&key, oaep, &bad).err(), Some(UnwrapError));
    for len in [0, 16, 24, 31, 33] {
        let kek = key.public().encrypt(oaep, &vec![0; len]).unwrap();
        let wrapped = [kek, material.clone()].concat();
        assert_eq!(unwrap(&key, oaep, &wrapped).err(), Some(UnwrapError), "{len}");
    }
}

/// Made by Python's cryptography (OpenSSL) for Wycheproof's key.
#[test]
fn another_implementations_wrapping_opens() {
    let key = DecryptingKey::from_pkcs8(Size::Rsa2048, &private(Size::Rsa2048)).unwrap();
    for (oaep, wrapped) in [(Oaep::Sha1, BY_SHA_1), (Oaep::Sha256, BY_SHA_256)] {
        let opened = unwrap(&key, oaep, &hex::decode(wrapped).unwrap()).unwrap();
        assert!(opened.ct_eq(b"key material of 33 bytes, padded."));
    }
}

const BY_SHA_1: &str = "8534f392aa02cf39683258a3024b2642762be0a06811a1ca98b117c2a7b350005a7c10b41578f7240d3fbf7c373db205c428ecb5c9fb76ae8eb568b44a1e80aaf2a06fe523318e7713440baba1b3961c322258e159cf36c539d6641beb990a549fc5c3a2a625fbdaf9cc33bc9dbdf0583282076fa9ece0a071ea82a2464a4c8776cb519b542248c4033c77ba1b50e2783582203c9dfdd4b22fef3f2c099ccec532e221c9af8f1c3aaa65a46df5fae6c6d7146d070b473ad71d9e0b87e18c2f5b61f11781d87525ab96792eaa6db71985b0b62ae4766b23b30236dbc471e94c51e66908f88ecf827197617d943e14488c924e3ab0f2d9bcda3a995c07c319d95cd2256e088d79ed6c09f03e3dbb4f965181bb52e6980b15996e3de4d2fbda6ac0613ce00a513d121cb62f15a85147b9b0";
const BY_SHA_256: &str = "173562ec240da5db7e1f96eafbdcee203acbecd03f3a3fe28d6cc3986504588729bcdac16804a22386edd0f547a66dbecc0d3f53e901a4dce486141d6c4d6d3d99d8288cb087c49df4b7437ed8f2d6c1de8d79f368872c496e6bdaa1bf71ca2366af0f09f2180831531194181f8a3cda05c607ecf18e3132b2a25fc0ebee7185920e00cbe695f2775bc66ec9f9ff8356a59440babe1711b7646e166ef075f0f64dcaaeb9ac29829fe3c386f4ae58c965cad9e03d3838fc89ddc0d55426e7e90cbbb6e059f98aebc44eeed905a3c2c98f641cf9cf20fff66f469f0719699e18390c6eccc20f7264b7c580dd7cdcafbf7b10d45f194c1942096fa88fd3f09786a26d1c5622fad53b642deca87b7554ec326743fd0024aa4321d321d77e08982bec8f538d87251df08e145d3df3c96e33fb";

//! The self-tests of what callers have keys of.
//!
//! What stands in `vectors/` was made once by another library (`cryptography` of PyPI, on OpenSSL):
//! keys that are nobody's, signatures of [`MESSAGE`], ciphertexts of it, and shared secrets. Where a
//! signature differs each time, the known one is verified, and one of ours made and verified.

use crate::digest::{Hash, sha256};
use crate::ec::Curve;
use crate::hmac::{MacAlgorithm, MacKey};
use crate::rsa::{DecryptingKey, Oaep, Padding, Scheme, Size};
use crate::secret::{Key, Secret};
use crate::self_test::hex;
use crate::signature::ToSign;
use crate::{ecdh, ecdsa, key_wrap, ml_dsa, ml_kem, rsa};

const MESSAGE: &[u8] = b"conclave self-test";
const SIGNED: ToSign<'_> = ToSign::Message(MESSAGE);

/// RFC 4231, test case 2, with each hash function.
pub(super) const MACS: [&[u8]; 4] = [
    &hex::<28>("a30e01098bc6dbbf45690f3a7e9e6d0f8bbea2a39e6148008fd05e44"),
    &hex::<32>("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
    &hex::<48>(concat!(
        "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e",
        "8e2240ca5e69e2c78b3239ecfab21649"
    )),
    &hex::<64>(concat!(
        "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554",
        "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"
    )),
];

pub(super) fn macs() -> Option<Vec<u8>> {
    let tag = |algorithm| {
        let key = MacKey::new(algorithm, &Secret::copy_from(b"Jefe"));
        key.mac(b"what do ya want for nothing?")
    };
    Some(MacAlgorithm::ALL.map(tag).concat())
}

const RSA_KEY: &[u8] = include_bytes!("vectors/rsa-2048.p8");
pub(super) const PKCS1_SIGNATURE: &[u8] = include_bytes!("vectors/rsa-2048.pkcs1.sig");
const PSS_SIGNATURE: &[u8] = include_bytes!("vectors/rsa-2048.pss.sig");

pub(super) fn rsa_signatures() -> Option<Vec<u8>> {
    let key = rsa::SigningKey::from_pkcs8(Size::Rsa2048, RSA_KEY).ok()?;
    let pkcs1 = Scheme { padding: Padding::Pkcs1v15, hash: Hash::Sha256 };
    let pss = Scheme { padding: Padding::Pss, hash: Hash::Sha384 };
    let (made, salted) = (key.sign(pkcs1, SIGNED).ok()?, key.sign(pss, SIGNED).ok()?);
    key.public().verify(pkcs1, SIGNED, &made).ok()?;
    for signature in [PSS_SIGNATURE, &salted] {
        key.public().verify(pss, SIGNED, signature).ok()?;
        key.public().verify(pss, ToSign::Message(b"another"), signature).err()?;
    }
    Some(made)
}

const OAEP_CIPHERTEXTS: [&[u8]; 2] = [
    include_bytes!("vectors/rsa-2048.oaep-sha1.ct"),
    include_bytes!("vectors/rsa-2048.oaep-sha256.ct"),
];
pub(super) const OAEP_PLAINTEXTS: [&[u8]; 2] = [MESSAGE; 2];

pub(super) fn rsa_oaep() -> Option<Vec<u8>> {
    let key = DecryptingKey::from_pkcs8(Size::Rsa2048, RSA_KEY).ok()?;
    key.check_pair().ok()?;
    let mut given = Vec::new();
    for (oaep, ciphertext) in Oaep::ALL.into_iter().zip(OAEP_CIPHERTEXTS) {
        given.extend_from_slice(key.decrypt(oaep, ciphertext).ok()?.expose());
        key.decrypt(oaep, &[0; 256]).err()?;
    }
    Some(given)
}

/// Private key and signature, in the order of [`Curve::ALL`].
const EC_KEYS: [(&[u8], &[u8]); 4] = [
    (include_bytes!("vectors/p256.p8"), include_bytes!("vectors/p256.sig")),
    (include_bytes!("vectors/p384.p8"), include_bytes!("vectors/p384.sig")),
    (include_bytes!("vectors/p521.p8"), include_bytes!("vectors/p521.sig")),
    (include_bytes!("vectors/secp256k1.p8"), include_bytes!("vectors/secp256k1.sig")),
];

pub(super) fn ecdsa_every_curve() -> Option<Vec<u8>> {
    for (curve, (key, known)) in Curve::ALL.into_iter().zip(EC_KEYS) {
        let key = ecdsa::SigningKey::from_pkcs8(curve, key).ok()?;
        for signature in [known, &key.sign(SIGNED).ok()?] {
            key.public().verify(SIGNED, signature).ok()?;
            key.public().verify(ToSign::Message(b"another"), signature).err()?;
        }
    }
    Some(Vec::new())
}

/// The other side's public key, in the order of [`Curve::ALL`].
const ECDH_PEERS: [&[u8]; 3] = [
    include_bytes!("vectors/p256.peer"),
    include_bytes!("vectors/p384.peer"),
    include_bytes!("vectors/p521.peer"),
];
pub(super) const ECDH_SHARED: [&[u8]; 3] = [
    include_bytes!("vectors/p256.shared"),
    include_bytes!("vectors/p384.shared"),
    include_bytes!("vectors/p521.shared"),
];

pub(super) fn ecdh_every_curve() -> Option<Vec<u8>> {
    let mut given = Vec::new();
    for ((curve, (key, _)), peer) in Curve::ALL.into_iter().zip(EC_KEYS).zip(ECDH_PEERS) {
        let key = ecdh::PrivateKey::from_pkcs8(curve, key).ok()?;
        let peer = ecdh::PublicKey::from_spki(curve, peer).ok()?;
        given.extend_from_slice(key.agree(&peer).ok()?.expose());
    }
    Some(given)
}

/// The digests of the public keys of the seed 0, 1, … 31, in the order of the parameter sets.
pub(super) const ML_DSA_KEYS: [&[u8]; 3] = [
    &hex::<32>("837832708c5236d951581f1fddf2b79991b3424a0486d16da1ddad0fd69701be"),
    &hex::<32>("b8b62131bfbe84433efb2273d7f5b87f7a22854a2cfd366fc2aead86d837c52d"),
    &hex::<32>("07e57c4f14dbad1267f621ec3777b4e2e6c4fbc4c22fbb87510ff8e0b3c6a642"),
];
const ML_DSA_44_SIGNATURE: &[u8] = include_bytes!("vectors/ml-dsa-44.sig");

pub(super) fn ml_dsa_every_set() -> Option<Vec<u8>> {
    let seed: [u8; 32] = counted();
    let mu: [u8; ml_dsa::MU_LEN] = counted();
    let mut given = Vec::new();
    for parameters in ml_dsa::Parameters::ALL {
        let key = ml_dsa::SigningKey::from_seed(parameters, Key::from_slice(&seed).ok()?).ok()?;
        for over in [SIGNED, ToSign::Digest(&mu)] {
            let signature = key.sign(over).ok()?;
            key.public().verify(over, &signature).ok()?;
            key.public().verify(ToSign::Message(b"another"), &signature).err()?;
        }
        if parameters == ml_dsa::Parameters::MlDsa44 {
            key.public().verify(SIGNED, ML_DSA_44_SIGNATURE).ok()?;
        }
        given.extend(sha256(&[&key.public().to_spki()]));
    }
    Some(given)
}

/// The digests of the public keys of the seed 0, 1, … 63, and the secret in [`ML_KEM_CIPHERTEXT`].
/// ML-KEM-512's, which that library has not, is of this crate, as Wycheproof's vectors held it to.
pub(super) const ML_KEM_KEYS: [&[u8]; 3] = [
    &hex::<32>("0e3c8b89b54202d2545f7aba2e2aaa3cffa7b6191919ad738fab35b4f313cf71"),
    &hex::<32>("c23e23dd3d485a9256cda09358a4a286e00b373db10761eadf99f710649ca31c"),
    &hex::<32>("d2b7480ae006a14b37c1e8a8e45ea39022e32a9b1a7b90d594c84d869c6ac420"),
];
pub(super) const ML_KEM_SECRET: [u8; 32] =
    hex("85de78467c22b0e155133ad4926d0dae82250f36fe59acadd14b7b0f5bd7736c");
const ML_KEM_CIPHERTEXT: &[u8] = include_bytes!("vectors/ml-kem-768.ct");

pub(super) fn ml_kem_every_set() -> Option<Vec<u8>> {
    let seed: [u8; ml_kem::SEED_LEN] = counted();
    let (mut given, mut opened) = (Vec::new(), None);
    for parameters in ml_kem::Parameters::ALL {
        let key = ml_kem::DecapsulationKey::from_seed(parameters, Secret::copy_from(&seed)).ok()?;
        key.check_pair().ok()?;
        given.extend(sha256(&[&key.public().to_spki()]));
        if parameters == ml_kem::Parameters::MlKem768 {
            opened = key.decapsulate(ML_KEM_CIPHERTEXT).ok();
        }
    }
    given.extend_from_slice(opened?.expose());
    Some(given)
}

/// 0, 1, 2, …
fn counted<const N: usize>() -> [u8; N] {
    std::array::from_fn(|at| at.to_le_bytes()[0])
}

/// Wycheproof's aes_kwp, test 164.
const WRAPPING_KEY: [u8; 32] =
    hex("07518a82cbc8da1dcec55f3763a206d277487abd03cedd0b8bef9ee2fb157121");
pub(super) const MATERIAL: [u8; 24] = hex("faa4664d79fce3c7d2fdd462f6c1c423c2f8e6b69be2e071");
pub(super) const WRAPPED: [u8; 32] =
    hex("4b1220525c537aec30ebcd562b694b4e9e2ccd819de22ef608b5d8090779d9de");

pub(super) fn key_wrap_both_ways() -> Option<Vec<u8>> {
    let key = Key::from_slice(&WRAPPING_KEY).ok()?;
    let mut wrapped = key_wrap::wrap(&key, &MATERIAL).ok()?;
    let material = key_wrap::unwrap(&key, &wrapped).ok()?;
    let given = [&wrapped, material.expose()].concat();
    *wrapped.last_mut()? ^= 1;
    key_wrap::unwrap(&key, &wrapped).is_err().then_some(given)
}

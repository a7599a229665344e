//! Power-on self-tests: a known answer for each algorithm, computed anew and compared.
//!
//! They find a build, a processor or a memory that does not compute what it should, before any key
//! comes near it. The published vectors in `tests/` are many more; these are those that run at every
//! start of a node. Whoever runs them decides what a failure means.

mod keys;

use std::fmt;
use std::panic::catch_unwind;

use crate::ed25519::SigningKey;
use crate::entropy::Entropy;
use crate::hpke::{HpkePrivateKey, hpke_open, hpke_seal};
use crate::secret::{Key, Secret};
use crate::signature::ToSign;
use crate::{aead, hkdf, hmac_sha256, sha256, sharing};

/// An algorithm that keys or ciphertexts rest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// HMAC-SHA256.
    HmacSha256,
    /// HKDF-SHA256.
    HkdfSha256,
    /// XAES-256-GCM, both ways.
    Xaes256Gcm,
    /// Ed25519 and Ed25519ph: signing and verifying.
    Ed25519,
    /// HPKE, and in it X25519 and AES-256-GCM, both ways.
    Hpke,
    /// Shamir sharing: dealing and combining.
    Sharing,
    /// HMAC with each hash function that callers have keys for.
    Hmac,
    /// RSA signatures, PSS and PKCS #1 v1.5: signing and verifying.
    RsaSignatures,
    /// RSA OAEP, both ways.
    RsaOaep,
    /// ECDSA on each curve: signing and verifying.
    Ecdsa,
    /// ECDH on each curve.
    Ecdh,
    /// ML-DSA with each parameter set: from a seed, signing and verifying, also over µ.
    MlDsa,
    /// ML-KEM with each parameter set: from a seed, encapsulating and decapsulating.
    MlKem,
    /// AES key wrap with padding, both ways.
    KeyWrap,
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha256 => "SHA-256",
            Self::HmacSha256 => "HMAC-SHA256",
            Self::HkdfSha256 => "HKDF-SHA256",
            Self::Xaes256Gcm => "XAES-256-GCM",
            Self::Ed25519 => "Ed25519",
            Self::Hpke => "HPKE (X25519, AES-256-GCM)",
            Self::Sharing => "Shamir sharing",
            Self::Hmac => "HMAC (SHA-224 to SHA-512)",
            Self::RsaSignatures => "RSA signatures",
            Self::RsaOaep => "RSA OAEP",
            Self::Ecdsa => "ECDSA",
            Self::Ecdh => "ECDH",
            Self::MlDsa => "ML-DSA",
            Self::MlKem => "ML-KEM",
            Self::KeyWrap => "AES key wrap",
        })
    }
}

/// An algorithm with what it must give.
#[derive(Debug, Clone)]
pub struct KnownAnswer {
    /// Which one.
    pub algorithm: Algorithm,
    compute: fn() -> Option<Vec<u8>>,
    expected: Vec<u8>,
}

impl KnownAnswer {
    /// The same with another answer, which nothing gives: for tests of what a failure leads to.
    #[doc(hidden)]
    pub fn spoilt(mut self) -> Self {
        self.expected.push(0);
        self
    }

    /// A panic is a wrong answer too.
    fn holds(&self) -> bool {
        catch_unwind(self.compute).ok().flatten().as_ref() == Some(&self.expected)
    }
}

/// Every algorithm's.
pub fn known_answers() -> Vec<KnownAnswer> {
    let answer = |algorithm, compute, expected: &[&[u8]]| KnownAnswer {
        algorithm,
        compute,
        expected: expected.concat(),
    };
    vec![
        answer(Algorithm::Sha256, sha256_of_abc, &[&SHA256_OF_ABC]),
        answer(Algorithm::HmacSha256, hmac_of_info, &[&OKM[..32]]),
        answer(Algorithm::HkdfSha256, hkdf_case_1, &[&PRK, &OKM]),
        answer(Algorithm::Xaes256Gcm, xaes_both_ways, &[NONCE, &SEALED, PLAINTEXT]),
        answer(Algorithm::Ed25519, ed25519_both_kinds, &[&VERIFYING_KEY, &SIGNATURE, &PREHASHED]),
        answer(
            Algorithm::Hpke,
            hpke_both_ways,
            &[&HPKE_ENCAPSULATED, &HPKE_SEALED, HPKE_PLAINTEXT],
        ),
        answer(Algorithm::Sharing, shared_and_combined, &[&SHARE_AT_2, &SHARED]),
        answer(Algorithm::Hmac, keys::macs, &keys::MACS),
        answer(Algorithm::RsaSignatures, keys::rsa_signatures, &[keys::PKCS1_SIGNATURE]),
        answer(Algorithm::RsaOaep, keys::rsa_oaep, &keys::OAEP_PLAINTEXTS),
        answer(Algorithm::Ecdsa, keys::ecdsa_every_curve, &[]),
        answer(Algorithm::Ecdh, keys::ecdh_every_curve, &keys::ECDH_SHARED),
        answer(Algorithm::MlDsa, keys::ml_dsa_every_set, &keys::ML_DSA_KEYS),
        answer(
            Algorithm::MlKem,
            keys::ml_kem_every_set,
            &[&keys::ML_KEM_KEYS.concat(), &keys::ML_KEM_SECRET],
        ),
        answer(Algorithm::KeyWrap, keys::key_wrap_both_ways, &[&keys::WRAPPED, &keys::MATERIAL]),
    ]
}

/// Computes every answer anew.
///
/// # Errors
/// [`SelfTestFailed`], with every algorithm that did not give what it must.
pub fn check(answers: &[KnownAnswer]) -> Result<(), SelfTestFailed> {
    let failed: Vec<Algorithm> =
        answers.iter().filter(|answer| !answer.holds()).map(|answer| answer.algorithm).collect();
    if failed.is_empty() { Ok(()) } else { Err(SelfTestFailed { failed }) }
}

/// Algorithms do not compute what they should: this process must not touch a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("self-test failed: {}; replace the binary or the machine", list(.failed))]
pub struct SelfTestFailed {
    /// Which ones; never none.
    pub failed: Vec<Algorithm>,
}

fn list(failed: &[Algorithm]) -> String {
    failed.iter().map(Algorithm::to_string).collect::<Vec<_>>().join(", ")
}

/// FIPS 180-4's example.
const SHA256_OF_ABC: [u8; 32] =
    hex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");

fn sha256_of_abc() -> Option<Vec<u8>> {
    Some(sha256(&[b"abc"]).to_vec())
}

/// RFC 5869, test case 1.
const SALT: [u8; 13] = hex("000102030405060708090a0b0c");
const INFO: [u8; 10] = hex("f0f1f2f3f4f5f6f7f8f9");
const PRK: [u8; 32] = hex("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5");
const OKM: [u8; 42] =
    hex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");

fn hkdf_case_1() -> Option<Vec<u8>> {
    let prk = hkdf::extract(&SALT, &[0x0b; 22]);
    let mut out = [0; OKM.len()];
    hkdf::expand(&prk, &[&INFO], &mut out).ok()?;
    Some([prk.expose().as_slice(), &out].concat())
}

/// The first block of HKDF's output is, by definition, this tag.
fn hmac_of_info() -> Option<Vec<u8>> {
    Some(hmac_sha256(&Key::from_slice(&PRK).ok()?, &[&INFO, &[1]]).to_vec())
}

/// C2SP's first vector.
const NONCE: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWX";
const PLAINTEXT: &[u8] = b"XAES-256-GCM";
const SEALED: [u8; 28] = hex("ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271");

fn xaes_both_ways() -> Option<Vec<u8>> {
    let key = Key::from_slice(&[1; 32]).ok()?;
    let mut sealed = aead::seal(&key, &mut Prescribed(NONCE), b"", PLAINTEXT);
    let opened = aead::open(&key, b"", &sealed).ok()?;
    let given = [&sealed, opened.expose()].concat();
    *sealed.last_mut()? ^= 1;
    aead::open(&key, b"", &sealed).is_err().then_some(given)
}

/// RFC 8032, section 7.1, test 2.
const SEED: [u8; 32] = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
const VERIFYING_KEY: [u8; 32] =
    hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
const SIGNATURE: [u8; 64] = hex(concat!(
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da",
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
));

/// RFC 8032, section 7.3: of "abc".
const PREHASHED_SEED: [u8; 32] =
    hex("833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42");
const PREHASHED: [u8; 64] = hex(concat!(
    "98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae41",
    "31f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406"
));

fn ed25519_both_kinds() -> Option<Vec<u8>> {
    let key = SigningKey::from_seed(&Key::from_slice(&SEED).ok()?);
    let (public, signature) = (key.verifying_key(), key.sign(&[0x72]));
    public.verify(&[0x72], &signature).ok()?;
    public.verify(&[0x73], &signature).err()?;

    let key = SigningKey::from_seed(&Key::from_slice(&PREHASHED_SEED).ok()?);
    let prehashed = key.sign_prehashed(ToSign::Message(b"abc")).ok()?;
    key.verifying_key().verify_prehashed(ToSign::Message(b"abc"), &prehashed).ok()?;
    key.verifying_key().verify_prehashed(ToSign::Message(b"abd"), &prehashed).err()?;
    Some([&public.as_bytes()[..], &signature, &prehashed].concat())
}

/// RFC 9180's vector of our suite, base mode; where it is from stands beside the one in `tests/`.
const HPKE_PRIVATE: [u8; 32] =
    hex("497b4502664cfea5d5af0b39934dac72242a74f8480451e1aee7d6a53320333d");
const HPKE_EPHEMERAL: [u8; 32] =
    hex("2cd7c601cefb3d42a62b04b7a9041494c06c7843818e0ce28a8f704ae7ab20f9");
const HPKE_INFO: &[u8] = b"Ode on a Grecian Urn";
const HPKE_AAD: &[u8] = b"Count-0";
const HPKE_PLAINTEXT: &[u8] = b"Beauty is truth, truth beauty";
const HPKE_ENCAPSULATED: [u8; 32] =
    hex("6c93e09869df3402d7bf231bf540fadd35cd56be14f97178f0954db94b7fc256");
const HPKE_SEALED: [u8; 45] = hex(concat!(
    "e5d84cd531cfb583096e7cfa9641bd3079cf3a91cda813c52deb5f512be993",
    "1980a41de125a925cdad859d5b7a"
));

fn hpke_both_ways() -> Option<Vec<u8>> {
    let key = HpkePrivateKey::from_bytes(&HPKE_PRIVATE).ok()?;
    let mut ephemeral = Prescribed(&HPKE_EPHEMERAL);
    let mut sealed =
        hpke_seal(&key.public(), HPKE_INFO, HPKE_AAD, HPKE_PLAINTEXT, &mut ephemeral).ok()?;
    let opened = hpke_open(&key, HPKE_INFO, HPKE_AAD, &sealed).ok()?;
    let given = [&sealed, opened.expose()].concat();
    *sealed.last_mut()? ^= 1;
    hpke_open(&key, HPKE_INFO, HPKE_AAD, &sealed).is_err().then_some(given)
}

/// A golden dealing of this project, which a second implementation in `tests/` agrees with: 3 of 5,
/// coefficients 7·i + 1.
const SHARED: [u8; 32] = hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
const SHARE_AT_2: [u8; 32] =
    hex("2247a89d6da8c77211d96d98b3b682f74421e34da6e38ca2c1240bd36366c9bc");

fn shared_and_combined() -> Option<Vec<u8>> {
    let mut coefficients = Secret::zeroed(sharing::coefficients_len(3));
    for (place, byte) in coefficients.expose_mut().iter_mut().zip(0_u8..) {
        *place = byte.wrapping_mul(7).wrapping_add(1);
    }
    let secret = Key::from_slice(&SHARED).ok()?;
    let mut shares = sharing::deal(&secret, 3, &[1, 2, 3, 4, 5], &coefficients).ok()?;
    let kept = shares.split_off(2);
    let combined = sharing::combine(&kept).ok()?;
    Some([&shares[1].y.expose()[..], combined.expose()].concat())
}

/// What a vector prescribes in place of randomness; zeros beyond it.
struct Prescribed(&'static [u8]);

impl Entropy for Prescribed {
    fn fill(&mut self, out: &mut [u8]) {
        let (now, later) = self.0.split_at(out.len().min(self.0.len()));
        out.fill(0);
        out[..now.len()].copy_from_slice(now);
        self.0 = later;
    }
}

const fn hex<const N: usize>(text: &str) -> [u8; N] {
    let text = text.as_bytes();
    assert!(text.len() == 2 * N, "two digits a byte");
    let mut bytes = [0; N];
    let mut at = 0;
    while at < N {
        bytes[at] = digit(text[2 * at]) << 4 | digit(text[2 * at + 1]);
        at += 1;
    }
    bytes
}

const fn digit(text: u8) -> u8 {
    match text {
        b'0'..=b'9' => text - b'0',
        b'a'..=b'f' => text - b'a' + 10,
        _ => panic!("a hex digit"),
    }
}

//! The wrapping side of an import, as a client does it, and one use of each kind of key.
#![allow(dead_code, reason = "each test file uses its own part")]

use conclave_crypto::ec::Curve;
use conclave_crypto::rsa::{EncryptingKey, Oaep, Size};
use conclave_crypto::{SystemEntropy, ecdh, ecdsa, ed25519, ml_dsa, ml_kem, rsa, rsa_aes_wrap};
use conclave_kms::{KeySpec, KeyUsage, Refusal, Request, Response};
use conclave_proto::v1;

use crate::common::{Service, created, decrypt, encrypt};

/// The way that takes everything.
pub(crate) const AES: &str = "RSA_AES_KEY_WRAP_SHA_256";

/// All that can be imported, each for each of its usages; RSA in the smallest size, since tests are not
/// optimised.
pub(crate) fn kinds() -> Vec<(KeySpec, KeyUsage)> {
    let slow = [KeySpec::Rsa3072, KeySpec::Rsa4096, KeySpec::Sm2];
    let specs = KeySpec::ALL.iter().copied().filter(|spec| !slow.contains(spec));
    specs.flat_map(|spec| spec.usages().iter().map(move |usage| (spec, *usage))).collect()
}

/// The ways to wrap the material of such a key under RSA-2048.
pub(crate) fn fitting(spec: KeySpec) -> &'static [&'static str] {
    match spec {
        KeySpec::Rsa2048 | KeySpec::EccNistP521 => &[AES, "RSA_AES_KEY_WRAP_SHA_1"],
        _ => &["RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "RSA_AES_KEY_WRAP_SHA_1", AES],
    }
}

pub(crate) fn told(refusal: &Refusal) -> String {
    format!("{}: {}", refusal.name(), refusal.message())
}

/// What an operation answered, or what it was refused with.
pub(crate) fn ask<R: TryFrom<Response>>(
    service: &mut Service,
    principal: &str,
    request: impl TryInto<Request, Error = Refusal>,
) -> Result<R, String> {
    let request = request.try_into().map_err(|refusal: Refusal| told(&refusal))?;
    let caller = service.caller(principal);
    let reply = service.call_as(&caller, &request).reply;
    reply.map(|response| R::try_from(response).ok().unwrap()).map_err(|refusal| told(&refusal))
}

/// A key that waits for its material.
pub(crate) fn make(service: &mut Service, spec: KeySpec, usage: KeyUsage) -> String {
    let request = v1::CreateKeyRequest {
        key_spec: spec.name().to_owned(),
        key_usage: usage.name().to_owned(),
        origin: "EXTERNAL".to_owned(),
        ..Default::default()
    };
    created(service.call("ada", request)).key_id
}

pub(crate) fn describe(service: &mut Service, key: &str) -> v1::KeyMetadata {
    let request = v1::DescribeKeyRequest { key_id: key.to_owned(), ..Default::default() };
    ask::<v1::DescribeKeyResponse>(service, "aud", request).unwrap().key_metadata.unwrap()
}

pub(crate) fn asking(key: &str, algorithm: &str) -> v1::GetParametersForImportRequest {
    v1::GetParametersForImportRequest {
        key_id: key.to_owned(),
        wrapping_algorithm: algorithm.to_owned(),
        wrapping_key_spec: "RSA_2048".to_owned(),
    }
}

pub(crate) fn import(
    service: &mut Service,
    request: &v1::ImportKeyMaterialRequest,
) -> Result<v1::ImportKeyMaterialResponse, String> {
    ask(service, "ada", request.clone())
}

/// What a client wraps with.
#[derive(Clone)]
pub(crate) struct Wrapped {
    pub(crate) key: String,
    pub(crate) algorithm: &'static str,
    pub(crate) parameters: v1::GetParametersForImportResponse,
}

impl Wrapped {
    pub(crate) fn new(service: &mut Service, key: &str, algorithm: &'static str) -> Self {
        let parameters = ask(service, "ada", asking(key, algorithm)).unwrap();
        Self { key: key.to_owned(), algorithm, parameters }
    }

    pub(crate) fn wrap(&self, material: &[u8]) -> Vec<u8> {
        let public = EncryptingKey::from_spki(&self.parameters.public_key).unwrap();
        let oaep = if self.algorithm.ends_with("SHA_1") { Oaep::Sha1 } else { Oaep::Sha256 };
        if self.algorithm.starts_with("RSAES") {
            public.encrypt(oaep, material).unwrap()
        } else {
            rsa_aes_wrap::wrap(&public, oaep, material, &mut SystemEntropy).unwrap()
        }
    }

    /// The import of `material`, for good.
    pub(crate) fn request(&self, material: &[u8]) -> v1::ImportKeyMaterialRequest {
        v1::ImportKeyMaterialRequest {
            key_id: self.key.clone(),
            import_token: self.parameters.import_token.clone(),
            encrypted_key_material: self.wrap(material),
            expiration_model: "KEY_MATERIAL_DOES_NOT_EXPIRE".to_owned(),
            ..Default::default()
        }
    }
}

/// New material as a caller has it, and its public half.
pub(crate) fn material(spec: KeySpec, usage: KeyUsage) -> (Vec<u8>, Option<Vec<u8>>) {
    let entropy = &mut SystemEntropy;
    let mut random = |len: usize| {
        let mut bytes = vec![0; len];
        conclave_crypto::Entropy::fill(entropy, &mut bytes);
        (bytes, None)
    };
    let pair =
        |pkcs8: conclave_crypto::Secret, spki: Vec<u8>| (pkcs8.expose().to_vec(), Some(spki));
    let curve = match spec {
        KeySpec::SymmetricDefault | KeySpec::Hmac256 => return random(32),
        KeySpec::Hmac224 => return random(28),
        KeySpec::Hmac384 => return random(48),
        KeySpec::Hmac512 => return random(64),
        KeySpec::EccNistP256 => Curve::P256,
        KeySpec::EccNistP384 => Curve::P384,
        KeySpec::EccNistP521 => Curve::P521,
        KeySpec::EccSecgP256k1 => Curve::Secp256k1,
        KeySpec::EccNistEdwards25519 => {
            let key = ed25519::SigningKey::generate(entropy).unwrap();
            return pair(key.to_pkcs8(), key.verifying_key().to_spki());
        }
        KeySpec::MlDsa44 | KeySpec::MlDsa65 | KeySpec::MlDsa87 => {
            let parameters = match spec {
                KeySpec::MlDsa44 => ml_dsa::Parameters::MlDsa44,
                KeySpec::MlDsa65 => ml_dsa::Parameters::MlDsa65,
                _ => ml_dsa::Parameters::MlDsa87,
            };
            let key = ml_dsa::SigningKey::generate(parameters, entropy).unwrap();
            return pair(key.to_pkcs8(), key.public().to_spki());
        }
        KeySpec::MlKem512 | KeySpec::MlKem768 | KeySpec::MlKem1024 => {
            let parameters = match spec {
                KeySpec::MlKem512 => ml_kem::Parameters::MlKem512,
                KeySpec::MlKem768 => ml_kem::Parameters::MlKem768,
                _ => ml_kem::Parameters::MlKem1024,
            };
            let key = ml_kem::DecapsulationKey::generate(parameters, entropy).unwrap();
            return pair(key.to_pkcs8(), key.public().to_spki());
        }
        _ => {
            let key = rsa::SigningKey::generate(Size::Rsa2048).unwrap();
            return pair(key.to_pkcs8(), key.public().spki().to_vec());
        }
    };
    if usage == KeyUsage::KeyAgreement {
        let key = ecdh::PrivateKey::generate(curve).unwrap();
        return pair(key.to_pkcs8(), key.public().spki().to_vec());
    }
    let key = ecdsa::SigningKey::generate(curve).unwrap();
    pair(key.to_pkcs8(), key.public().to_spki())
}

/// Uses a key one way and then the other, or only the other for what the first made earlier; gives
/// back what the first made, or the exception's name.
pub(crate) fn uses(
    service: &mut Service,
    spec: KeySpec,
    usage: KeyUsage,
    key: &str,
    earlier: Option<Vec<u8>>,
) -> Result<Vec<u8>, String> {
    let used = match usage {
        KeyUsage::EncryptDecrypt => encrypts(service, spec, key, earlier),
        KeyUsage::SignVerify => signs(service, spec, key, earlier),
        KeyUsage::GenerateVerifyMac => macs(service, spec, key, earlier),
        KeyUsage::KeyAgreement => agrees(service, key, earlier),
        KeyUsage::EncapsulateDecapsulate => encapsulates(service, key, earlier),
    };
    used.map_err(|refused| refused.split(':').next().unwrap().to_owned())
}

fn encrypts(
    service: &mut Service,
    spec: KeySpec,
    key: &str,
    earlier: Option<Vec<u8>>,
) -> Result<Vec<u8>, String> {
    let encryption_algorithm = spec.encryption_algorithms()[0].name().to_owned();
    let request = v1::EncryptRequest {
        encryption_algorithm: encryption_algorithm.clone(),
        ..encrypt(key, b"plaintext")
    };
    let sealed = match earlier {
        Some(earlier) => earlier,
        None => ask::<v1::EncryptResponse>(service, "uma", request)?.ciphertext_blob,
    };
    let request =
        v1::DecryptRequest { key_id: key.to_owned(), encryption_algorithm, ..decrypt(&sealed) };
    let opened: v1::DecryptResponse = ask(service, "uma", request)?;
    assert_eq!(opened.plaintext, b"plaintext");
    Ok(sealed)
}

fn signs(
    service: &mut Service,
    spec: KeySpec,
    key: &str,
    earlier: Option<Vec<u8>>,
) -> Result<Vec<u8>, String> {
    // Of Ed25519 the first is the one that takes a message.
    let signing_algorithm = spec.signing_algorithms()[0].name().to_owned();
    let request = v1::SignRequest {
        key_id: key.to_owned(),
        message: b"message".to_vec(),
        signing_algorithm: signing_algorithm.clone(),
        ..Default::default()
    };
    let signature = match earlier {
        Some(earlier) => earlier,
        None => ask::<v1::SignResponse>(service, "uma", request)?.signature,
    };
    let request = v1::VerifyRequest {
        key_id: key.to_owned(),
        message: b"message".to_vec(),
        signature: signature.clone(),
        signing_algorithm,
        ..Default::default()
    };
    assert!(ask::<v1::VerifyResponse>(service, "uma", request)?.signature_valid);
    Ok(signature)
}

fn macs(
    service: &mut Service,
    spec: KeySpec,
    key: &str,
    earlier: Option<Vec<u8>>,
) -> Result<Vec<u8>, String> {
    let mac_algorithm = spec.mac_algorithms()[0].name().to_owned();
    let request = v1::GenerateMacRequest {
        key_id: key.to_owned(),
        message: b"message".to_vec(),
        mac_algorithm: mac_algorithm.clone(),
        ..Default::default()
    };
    let mac = match earlier {
        Some(earlier) => earlier,
        None => ask::<v1::GenerateMacResponse>(service, "uma", request)?.mac,
    };
    let request = v1::VerifyMacRequest {
        key_id: key.to_owned(),
        message: b"message".to_vec(),
        mac: mac.clone(),
        mac_algorithm,
        ..Default::default()
    };
    assert!(ask::<v1::VerifyMacResponse>(service, "uma", request)?.mac_valid);
    Ok(mac)
}

/// With the key's own public half for the other end: made earlier, the secret is the same again.
fn agrees(service: &mut Service, key: &str, earlier: Option<Vec<u8>>) -> Result<Vec<u8>, String> {
    let request = v1::GetPublicKeyRequest { key_id: key.to_owned(), ..Default::default() };
    let public: v1::GetPublicKeyResponse = ask(service, "uma", request)?;
    let request = v1::DeriveSharedSecretRequest {
        key_id: key.to_owned(),
        key_agreement_algorithm: "ECDH".to_owned(),
        public_key: public.public_key,
        ..Default::default()
    };
    let derived: v1::DeriveSharedSecretResponse = ask(service, "uma", request)?;
    assert_eq!(derived.key_origin, "EXTERNAL");
    assert!(earlier.is_none_or(|earlier| earlier == derived.shared_secret));
    Ok(derived.shared_secret)
}

fn encapsulates(
    service: &mut Service,
    key: &str,
    earlier: Option<Vec<u8>>,
) -> Result<Vec<u8>, String> {
    let request = v1::EncapsulateRequest {
        key_id: key.to_owned(),
        encapsulation_algorithm: "ML_KEM".to_owned(),
        ..Default::default()
    };
    // What was made: the secret and, behind it, what it comes from.
    let made = match earlier {
        Some(earlier) => earlier,
        None => {
            let made: v1::EncapsulateResponse = ask(service, "uma", request)?;
            [made.shared_secret, made.shared_secret_ciphertext_blob].concat()
        }
    };
    let request = v1::DecapsulateRequest {
        key_id: key.to_owned(),
        encapsulation_algorithm: "ML_KEM".to_owned(),
        shared_secret_ciphertext_blob: made[32..].to_vec(),
        ..Default::default()
    };
    let opened: v1::DecapsulateResponse = ask(service, "uma", request)?;
    assert_eq!(opened.shared_secret, made[..32]);
    Ok(made)
}

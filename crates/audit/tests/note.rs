//! Signed notes and checkpoints.

mod common;

use common::{audit_key, head, origin, signing_key};
use conclave_audit::note::{self, VerifierKeyError};
use conclave_audit::{Checkpoint, NoteError, Origin, VerifierKey};
use conclave_crypto::{Key, SigningKey};

// The example of golang.org/x/mod/sumdb/note, whose format C2SP's signed-note specifies.
const GO_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const GO_SEED: &str = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const GO_TEXT: &str = "If you think cryptography is the answer to your problem,\n\
                       then you don't know what your problem is.\n";
const GO_SIGNATURE: &str =
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=";

#[test]
fn the_go_example_opens_and_is_signed_alike() {
    use base64::Engine as _;
    let go_note = format!("{GO_TEXT}\n\u{2014} PeterNeumann {GO_SIGNATURE}\n");
    let key: VerifierKey = GO_KEY.parse().unwrap();
    assert_eq!(key.to_string(), GO_KEY);
    assert_eq!(note::open(&go_note, &key), Ok(GO_TEXT));
    let seed = base64::engine::general_purpose::STANDARD.decode(GO_SEED).unwrap();
    let signer = SigningKey::from_seed(&Key::from_slice(&seed[1..]).unwrap());
    assert_eq!(note::sign(GO_TEXT, "PeterNeumann", &signer), go_note);
    // Signed, but by nobody's log and about none.
    assert_eq!(Checkpoint::verify(&go_note, &key), Err(NoteError::NotACheckpoint));
}

#[test]
fn malformed_verifier_keys_are_refused() {
    let cases = [
        ("", VerifierKeyError::Shape),
        ("PeterNeumann+c74f20a3", VerifierKeyError::Shape),
        ("PeterNeumann+c74f20a3+!!", VerifierKeyError::Shape),
        ("+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", VerifierKeyError::Name),
        (
            "Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            VerifierKeyError::Name,
        ),
        (
            "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            VerifierKeyError::Id,
        ),
        (
            "PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            VerifierKeyError::Id,
        ),
        (
            "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
            VerifierKeyError::Algorithm,
        ),
        (
            "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10==",
            VerifierKeyError::Shape,
        ),
    ];
    for (text, error) in cases {
        assert_eq!(text.parse::<VerifierKey>(), Err(error), "{text}");
    }
}

#[test]
fn origins_are_checked() {
    assert_eq!(Origin::new("prod", "eu-1").unwrap().as_str(), "conclave/prod/eu-1");
    for (cluster, domain) in
        [("", "a"), ("a", ""), ("a/b", "c"), ("a", "b\n"), ("a+b", "c"), ("a b", "c"), ("ä", "b")]
    {
        assert!(Origin::new(cluster, domain).is_err(), "{cluster} {domain}");
    }
    assert!(Origin::new(&"a".repeat(64), "b").is_err());
}

#[test]
fn golden_checkpoint() {
    let checkpoint =
        Checkpoint { origin: origin(), size: 4, root: [1; 32], head: [2; 32], time_ms: 5 };
    let note = checkpoint.sign(&signing_key());
    let text = "conclave/prod/eu-1\n4\nAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n\
                head AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\ntime 5\n";
    let signature = "q9D46eLpHS002KNIco5sknAHHkXq0NB+zceBCY9FDkENezKFseaQw8t4lUeSFgrcvM71kHrJ69WWk9N2Pavak4wm/gA=";
    assert_eq!(note, format!("{text}\n\u{2014} conclave/prod/eu-1 {signature}\n"));
    assert_eq!(Checkpoint::verify(&note, &audit_key()), Ok(checkpoint));
    assert_eq!(
        audit_key().to_string(),
        "conclave/prod/eu-1+abd0f8e9+AepKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs"
    );
}

/// A signature that is right does not make another spelling of a checkpoint a checkpoint.
#[test]
fn other_spellings_are_refused_though_signed() {
    let root = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    let good = format!("conclave/prod/eu-1\n4\n{root}\nhead {root}\ntime 5\n");
    let sign = |text: &str| note::sign(text, "conclave/prod/eu-1", &signing_key());
    assert!(Checkpoint::verify(&sign(&good), &audit_key()).is_ok());
    for (from, to) in [
        ("\n4\n", "\n04\n"),
        ("\n4\n", "\n+4\n"),
        ("\n4\n", "\n4\r\n"),
        ("prod", "other"),
        ("QE=\n", "QF=\n"),
        ("time 5\n", "time 5\nmore\n"),
        ("time 5\n", "time 5\n\n"),
        ("time 5\n", ""),
        ("head ", "head  "),
    ] {
        let changed = good.replacen(from, to, 1);
        assert_ne!(changed, good);
        assert!(Checkpoint::verify(&sign(&changed), &audit_key()).is_err(), "{to:?}");
    }
}

#[test]
fn every_changed_byte_of_a_note_is_found() {
    let note = Checkpoint::of(origin(), &head(3), 9).sign(&signing_key());
    let key = audit_key();
    assert!(Checkpoint::verify(&note, &key).is_ok());
    let refused = |bytes: Vec<u8>| match String::from_utf8(bytes) {
        Ok(text) => Checkpoint::verify(&text, &key).is_err(),
        Err(_) => true,
    };
    for at in 0..note.len() {
        for bits in 1..=255 {
            let mut bytes = note.clone().into_bytes();
            bytes[at] ^= bits;
            assert!(refused(bytes), "byte {at} xor {bits}");
        }
        let mut bytes = note.clone().into_bytes();
        bytes.remove(at);
        assert!(refused(bytes), "byte {at} removed");
    }
    // A second signature, though right, is one too many.
    let line = &note[note.rfind("\n\n").unwrap() + 2..];
    assert_eq!(Checkpoint::verify(&format!("{note}{line}"), &key), Err(NoteError::Shape));
    // Same name, other key.
    let other = SigningKey::from_seed(&Key::from_slice(&[8; 32]).unwrap());
    let forged = Checkpoint::of(origin(), &head(3), 9).sign(&other);
    assert_eq!(Checkpoint::verify(&forged, &key), Err(NoteError::OtherKey));
}

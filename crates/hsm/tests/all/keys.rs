//! What a key does, and what it cannot be made to do.

use conclave_hsm::{Connector, HsmError, OVERHEAD, Remedy, Settings, TokenSelector};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeInfo, AttributeType, KeyType, ObjectClass};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;

use crate::sandbox::{PIN, Sandbox, isolated, label};

const SHARE: &[u8; 32] = b"a share of some root key, y of x";

#[test]
fn what_was_wrapped_unwraps_and_nothing_else_does() {
    isolated("keys::what_was_wrapped_unwraps_and_nothing_else_does", |sandbox| {
        let session = sandbox.connector("n1").connect().unwrap();
        let (one, two) = (label("conclave/d/n1/1"), label("conclave/d/n1/2"));
        let wrapped = session.wrap(&one, b"domain d, epoch 1", SHARE).unwrap();
        assert_eq!(wrapped.len(), SHARE.len() + OVERHEAD);
        assert!(!wrapped.windows(SHARE.len()).any(|window| window == SHARE));
        let again = session.wrap(&one, b"domain d, epoch 1", SHARE).unwrap();
        assert_eq!(again[..17], wrapped[..17], "the same key");
        assert_ne!(again[17..29], wrapped[17..29], "another initialisation vector");
        for wrapped in [&wrapped, &again] {
            let share = session.unwrap(&one, b"domain d, epoch 1", wrapped).unwrap();
            assert_eq!(share.expose(), SHARE);
        }
        let empty = session.wrap(&one, b"", b"").unwrap();
        assert!(session.unwrap(&one, b"", &empty).unwrap().is_empty());

        // Other additional data, and any byte changed behind the key's id.
        let not_authentic = HsmError::NotAuthentic { label: one.clone() };
        let other_aad = session.unwrap(&one, b"domain d, epoch 2", &wrapped).unwrap_err();
        assert_eq!(other_aad, not_authentic);
        assert_eq!(session.unwrap(&one, b"", &wrapped).unwrap_err(), not_authentic);
        for at in 17..wrapped.len() {
            let mut altered = wrapped.clone();
            altered[at] ^= 1;
            let error = session.unwrap(&one, b"domain d, epoch 1", &altered).unwrap_err();
            assert_eq!(error, not_authentic, "byte {at}");
        }
        // Another key, another id, another format, no bytes at all.
        session.wrap(&two, b"", SHARE).unwrap();
        let error = session.unwrap(&two, b"domain d, epoch 1", &wrapped).unwrap_err();
        assert_eq!(error, HsmError::KeyAbsent { label: two });
        for at in 1..17 {
            let mut altered = wrapped.clone();
            altered[at] ^= 1;
            let error = session.unwrap(&one, b"domain d, epoch 1", &altered).unwrap_err();
            assert_eq!(error, HsmError::KeyAbsent { label: one.clone() }, "byte {at}");
        }
        let mut altered = wrapped.clone();
        altered[0] = 2;
        for bytes in [&altered[..], &wrapped[..OVERHEAD - 1], &[]] {
            let error = session.unwrap(&one, b"domain d, epoch 1", bytes).unwrap_err();
            assert_eq!(error, HsmError::Malformed { bytes: bytes.len() });
        }
        let too_long = session.wrap(&one, b"", &[0; 5000]).unwrap_err();
        assert_eq!(too_long, HsmError::TooLong { bytes: 5000 });
    });
}

#[test]
fn a_destroyed_key_opens_nothing_and_the_others_stay() {
    isolated("keys::a_destroyed_key_opens_nothing_and_the_others_stay", |sandbox| {
        let session = sandbox.connector("n1").connect().unwrap();
        let labels = ["conclave/d/n1/1", "conclave/d/n1/2", "other/1"].map(label);
        let wrapped = labels.each_ref().map(|label| session.wrap(label, b"", SHARE).unwrap());
        assert_eq!(session.list("conclave/").unwrap(), labels[..2]);
        assert_eq!(session.list("").unwrap(), labels);
        assert!(session.destroy(&labels[0]).unwrap());
        assert!(!session.destroy(&labels[0]).unwrap(), "it is gone already");
        assert_eq!(session.list("conclave/").unwrap(), labels[1..2]);
        let error = session.unwrap(&labels[0], b"", &wrapped[0]).unwrap_err();
        assert_eq!(error, HsmError::KeyAbsent { label: labels[0].clone() });
        assert_eq!(error.remedy(), Remedy::NeedsPerson);
        assert_eq!(session.unwrap(&labels[1], b"", &wrapped[1]).unwrap().expose(), SHARE);
        // A key made anew under the label is another key.
        session.wrap(&labels[0], b"", SHARE).unwrap();
        let error = session.unwrap(&labels[0], b"", &wrapped[0]).unwrap_err();
        assert_eq!(error, HsmError::KeyAbsent { label: labels[0].clone() });
    });
}

#[test]
fn a_key_outlives_the_process() {
    const NAME: &str = "keys::a_key_outlives_the_process";
    const SECOND: &str = "CONCLAVE_HSM_SECOND";
    isolated(NAME, |sandbox| {
        let file = sandbox.path("wrapped");
        let label = label("conclave/d/n1/1");
        if std::env::var_os(SECOND).is_none() {
            let session = sandbox.connector("n1").connect().unwrap();
            std::fs::write(&file, session.wrap(&label, b"aad", SHARE).unwrap()).unwrap();
            drop(session);
            sandbox.again(NAME, SECOND);
        } else {
            let wrapped = std::fs::read(&file).unwrap();
            let session = sandbox.connector("n1").connect().unwrap();
            assert_eq!(session.unwrap(&label, b"aad", &wrapped).unwrap().expose(), SHARE);
        }
    });
}

#[test]
fn one_token_does_not_open_what_another_wrapped() {
    isolated("keys::one_token_does_not_open_what_another_wrapped", |sandbox| {
        let label = label("conclave/d/n/1");
        let first = sandbox.connector("n1").connect().unwrap();
        let serial = first.description().serial.clone();
        let wrapped = first.wrap(&label, b"", SHARE).unwrap();
        // PKCS#11 has one state a process: one session at a time.
        let busy = sandbox.connector("n2").connect().err().unwrap();
        assert!(matches!(busy, HsmError::ModuleInUse { .. }), "{busy}");
        drop(first);
        let second = sandbox.connector("n2").connect().unwrap();
        assert_eq!(second.description().label, "n2");
        assert_ne!(second.description().serial, serial);
        let error = second.unwrap(&label, b"", &wrapped).unwrap_err();
        assert_eq!(error, HsmError::KeyAbsent { label: label.clone() });
        // Not even with a key of its own under that label.
        second.wrap(&label, b"", SHARE).unwrap();
        let error = second.unwrap(&label, b"", &wrapped).unwrap_err();
        assert_eq!(error, HsmError::KeyAbsent { label: label.clone() });
        drop(second);
        let by_serial = Settings { token: TokenSelector::Serial(serial), ..sandbox.settings("n1") };
        let first = Connector::new(by_serial).connect().unwrap();
        assert_eq!(first.unwrap(&label, b"", &wrapped).unwrap().expose(), SHARE);
    });
}

#[test]
fn a_key_cannot_be_taken_out() {
    isolated("keys::a_key_cannot_be_taken_out", |sandbox| {
        let label = label("conclave/d/n1/1");
        sandbox.connector("n1").connect().unwrap().wrap(&label, b"", SHARE).unwrap();

        // As somebody who has the PIN and any other program.
        let (_library, session) = logged_in("n1");
        let found = session.find_objects(&[Attribute::Label(b"conclave/d/n1/1".to_vec())]).unwrap();
        let [key] = found[..] else { panic!("{found:?}") };
        let value = session.get_attribute_info(key, &[AttributeType::Value]).unwrap();
        assert!(matches!(value[..], [AttributeInfo::Sensitive]), "{value:?}");
        assert!(session.get_attributes(key, &[AttributeType::Value]).unwrap().is_empty());
        for weaker in [Attribute::Extractable(true), Attribute::Sensitive(false)] {
            session.update_attributes(key, std::slice::from_ref(&weaker)).unwrap_err();
            session.copy_object(key, &[weaker]).unwrap_err();
        }
        let wrapper = session
            .generate_key(
                &Mechanism::AesKeyGen,
                &[Attribute::ValueLen(32.into()), Attribute::Wrap(true), Attribute::Encrypt(true)],
            )
            .unwrap();
        let out = session.wrap_key(&Mechanism::AesKeyWrap, wrapper, key).unwrap_err();
        let unextractable = matches!(out, Error::Pkcs11(RvError::KeyUnextractable, _));
        assert!(unextractable, "{out}");
        let said = session
            .get_attributes(
                key,
                &[
                    AttributeType::KeyType,
                    AttributeType::ValueLen,
                    AttributeType::Token,
                    AttributeType::Private,
                    AttributeType::Sensitive,
                    AttributeType::Extractable,
                    AttributeType::Wrap,
                    AttributeType::Unwrap,
                ],
            )
            .unwrap();
        let wanted = [
            Attribute::KeyType(KeyType::AES),
            Attribute::ValueLen(32.into()),
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Wrap(false),
            Attribute::Unwrap(false),
        ];
        assert_eq!(said, wanted);
    });
}

#[test]
fn a_key_that_somebody_else_made_is_not_used() {
    isolated("keys::a_key_that_somebody_else_made_is_not_used", |sandbox| {
        let base = |label: &str, id: &[u8]| {
            vec![
                Attribute::Token(true),
                Attribute::Private(true),
                Attribute::Encrypt(true),
                Attribute::Decrypt(true),
                Attribute::Label(label.as_bytes().to_vec()),
                Attribute::Id(id.to_vec()),
            ]
        };
        let length = |bytes: u64| Attribute::ValueLen(bytes.into());
        let hidden = [Attribute::Sensitive(true), Attribute::Extractable(false)];
        let make = |session: &Session, label: &str, id: &[u8], more: &[Attribute]| {
            let template = [base(label, id), more.to_vec()].concat();
            session.generate_key(&Mechanism::AesKeyGen, &template).unwrap();
        };
        {
            let (_library, session) = logged_in("n1");
            let [sensitive, locked] = hidden.clone();
            make(
                &session,
                "readable",
                &[1; 16],
                &[length(32), Attribute::Sensitive(false), locked.clone()],
            );
            make(
                &session,
                "extractable",
                &[2; 16],
                &[length(32), sensitive.clone(), Attribute::Extractable(true)],
            );
            make(&session, "short", &[3; 16], &[length(16), sensitive.clone(), locked.clone()]);
            let wraps = [length(32), sensitive.clone(), locked.clone(), Attribute::Wrap(true)];
            make(&session, "wraps", &[4; 16], &wraps);
            make(&session, "id", b"3", &[length(32), sensitive.clone(), locked.clone()]);
            for id in [[5; 16], [6; 16]] {
                make(&session, "twice", &id, &[length(32), sensitive.clone(), locked.clone()]);
            }
            let known = [
                base("known", &[7; 16]),
                vec![
                    Attribute::Class(ObjectClass::SECRET_KEY),
                    Attribute::KeyType(KeyType::AES),
                    Attribute::Value(vec![7; 32]),
                    sensitive,
                    locked,
                ],
            ];
            session.create_object(&known.concat()).unwrap();
        }
        let session = sandbox.connector("n1").connect().unwrap();
        for name in ["readable", "extractable", "short", "wraps", "id", "known"] {
            let error = session.wrap(&label(name), b"", SHARE).unwrap_err();
            assert!(matches!(error, HsmError::KeyUnfit { .. }), "{name}: {error}");
            assert_eq!(error.remedy(), Remedy::NeedsPerson);
        }
        let error = session.wrap(&label("twice"), b"", SHARE).unwrap_err();
        assert_eq!(error, HsmError::DuplicateKeys { label: label("twice"), found: 2 });
        // Destroying takes all of them.
        assert!(session.destroy(&label("twice")).unwrap());
        session.wrap(&label("twice"), b"", SHARE).unwrap();
    });
}

#[test]
fn a_token_that_is_not_there_is_said_so() {
    isolated("keys::a_token_that_is_not_there_is_said_so", |sandbox| {
        let with = |settings| Connector::new(settings).connect().err().unwrap();
        let absent = with(sandbox.settings("n3"));
        assert!(matches!(absent, HsmError::TokenAbsent { .. }), "{absent}");
        assert_eq!(absent.remedy(), Remedy::RetryLater);
        let slot = Settings { token: TokenSelector::Slot(99), ..sandbox.settings("n1") };
        assert!(matches!(with(slot), HsmError::TokenAbsent { .. }));
        sandbox.tokens.add_token("n1", PIN);
        let ambiguous = with(sandbox.settings("n1"));
        assert!(matches!(ambiguous, HsmError::TokenAmbiguous { found: 2, .. }), "{ambiguous}");
        let module = Settings { module: "/nonexistent.so".into(), ..sandbox.settings("n1") };
        let error = with(module);
        assert!(matches!(error, HsmError::Module { .. }), "{error}");
        assert_eq!(error.remedy(), Remedy::NeedsPerson);
        let no_module =
            Settings { module: "/lib/x86_64-linux-gnu/libm.so.6".into(), ..sandbox.settings("n1") };
        assert!(matches!(with(no_module), HsmError::Module { .. }));
    });
}

/// What a token wrapped once, every version can unwrap. Computed with Python's `cryptography`:
/// `AESGCM(bytes(range(32))).encrypt(bytes([9] * 12), b"golden share bytes", b"golden aad")`.
#[test]
fn golden_bytes_unwrap() {
    isolated("keys::golden_bytes_unwrap", |sandbox| {
        let sealed = "d477645fe2f163d7b968429c8bf4c2bb5c612d92b9b32de87de8f057c661fd056174";
        let mut golden = vec![1];
        golden.extend([7; 16]);
        golden.extend([9; 12]);
        golden.extend(
            (0..sealed.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&sealed[at..at + 2], 16).unwrap()),
        );
        {
            let (_library, session) = logged_in("n1");
            let known = [
                Attribute::Class(ObjectClass::SECRET_KEY),
                Attribute::KeyType(KeyType::AES),
                Attribute::Token(true),
                Attribute::Decrypt(true),
                Attribute::Value((0..32).collect()),
                Attribute::Label(b"golden".to_vec()),
                Attribute::Id(vec![7; 16]),
            ];
            session.create_object(&known).unwrap();
        }
        let session = sandbox.connector("n1").connect().unwrap();
        let opened = session.unwrap(&label("golden"), b"golden aad", &golden).unwrap();
        assert_eq!(opened.expose(), b"golden share bytes");
    });
}

/// A session of another program. The module is finalised when the library goes.
fn logged_in(token: &str) -> (Finalised, Session) {
    let library = Pkcs11::new(conclave_hsm_faults::softhsm::module()).unwrap();
    library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    let slots = library.get_slots_with_token().unwrap();
    let slot = slots
        .into_iter()
        .find(|slot| library.get_token_info(*slot).unwrap().label() == token)
        .unwrap();
    let session = library.open_rw_session(slot).unwrap();
    session.login(UserType::User, Some(&AuthPin::new(PIN.into()))).unwrap();
    (Finalised(library), session)
}

struct Finalised(Pkcs11);

impl Drop for Finalised {
    fn drop(&mut self) {
        self.0.clone().finalize().unwrap();
    }
}

#[test]
fn a_sandbox_is_what_it_says() {
    isolated("keys::a_sandbox_is_what_it_says", |sandbox: &Sandbox| {
        let session = sandbox.connector("n1").connect().unwrap();
        let description = session.description();
        assert_eq!(description.label, "n1");
        assert!(description.manufacturer.contains("SoftHSM"), "{description}");
        session.probe().unwrap();
    });
}

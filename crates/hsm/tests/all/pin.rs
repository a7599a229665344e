//! Where the PIN comes from, and that a wrong one is spent once.

use conclave_hsm::{Connector, HsmError, PinSource, Remedy, Settings};
use conclave_hsm_faults::control::Faults;

use crate::sandbox::{PIN, isolated, restrict};

/// `CKF_USER_PIN_COUNT_LOW`, `CKF_USER_PIN_FINAL_TRY`, `CKF_USER_PIN_LOCKED`.
const COUNT_LOW: u64 = 0x1_0000;
const FINAL_TRY: u64 = 0x2_0000;
const LOCKED: u64 = 0x4_0000;

#[test]
fn a_pin_is_found_in_a_file_a_variable_or_a_credential() {
    isolated("pin::a_pin_is_found_in_a_file_a_variable_or_a_credential", |sandbox| {
        for pin in [
            PinSource::File(sandbox.path("pin")),
            PinSource::Env("CONCLAVE_HSM_PIN".to_owned()),
            PinSource::Credential("pin".to_owned()),
        ] {
            let settings = Settings { pin, ..sandbox.settings("n1") };
            assert!(!format!("{settings:?}").contains(PIN));
            Connector::new(settings).connect().unwrap();
        }
        for pin in [
            PinSource::File(sandbox.path("nothing")),
            PinSource::Env("CONCLAVE_HSM_NOTHING".to_owned()),
            PinSource::Credential("nothing".to_owned()),
        ] {
            let settings = Settings { pin, ..sandbox.settings("n1") };
            let error = Connector::new(settings).connect().err().unwrap();
            assert!(matches!(error, HsmError::Pin(_)), "{error}");
            assert_eq!(error.remedy(), Remedy::NeedsPerson);
        }
    });
}

#[test]
fn a_wrong_pin_is_tried_once() {
    isolated("pin::a_wrong_pin_is_tried_once", |sandbox| {
        let pin = sandbox.path("pin");
        std::fs::write(&pin, "not the PIN").unwrap();
        let mut connector = Connector::new(sandbox.faulty("n1"));
        for _ in 0..5 {
            let error = connector.connect().err().unwrap();
            assert_eq!(error, HsmError::PinRefused { source_of_pin: PinSource::File(pin.clone()) });
            assert_eq!(error.remedy(), Remedy::NeedsPerson);
            assert!(!error.to_string().contains("not the PIN"));
            assert!(!format!("{error:?}").contains("not the PIN"));
        }
        assert_eq!(sandbox.control.count("C_Login"), 1);

        // Another PIN is another try; the right one ends the matter, and so does its return.
        std::fs::write(&pin, "another wrong one").unwrap();
        connector.connect().err().unwrap();
        connector.connect().err().unwrap();
        assert_eq!(sandbox.control.count("C_Login"), 2);
        std::fs::write(&pin, PIN).unwrap();
        connector.connect().unwrap();
        std::fs::write(&pin, "another wrong one").unwrap();
        connector.connect().err().unwrap();
        assert_eq!(sandbox.control.count("C_Login"), 4);
    });
}

#[test]
fn the_last_try_is_left_to_a_person() {
    isolated("pin::the_last_try_is_left_to_a_person", |sandbox| {
        let flags = |token_flags| sandbox.control.set(&Faults { token_flags, ..Faults::default() });
        let mut connector = Connector::new(sandbox.faulty("n1"));
        flags(COUNT_LOW | FINAL_TRY);
        let error = connector.connect().err().unwrap();
        assert!(matches!(error, HsmError::PinLastTry { .. }), "{error}");
        flags(COUNT_LOW | FINAL_TRY | LOCKED);
        assert_eq!(connector.connect().err().unwrap(), HsmError::PinLocked);
        assert_eq!(sandbox.control.count("C_Login"), 0);
        // Somebody else's one mistake does not keep a node sealed.
        flags(COUNT_LOW);
        connector.connect().unwrap();
    });
}

#[test]
fn an_open_file_is_refused() {
    isolated("pin::an_open_file_is_refused", |sandbox| {
        use std::os::unix::fs::PermissionsExt;
        let pin = sandbox.path("pin");
        std::fs::set_permissions(&pin, std::fs::Permissions::from_mode(0o644)).unwrap();
        let mut connector = sandbox.connector("n1");
        assert!(matches!(connector.connect(), Err(HsmError::Pin(_))));
        restrict(&pin);
        connector.connect().unwrap();
    });
}

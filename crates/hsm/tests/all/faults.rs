//! A module that is slow, fails once, fails always, hangs, and what a handle says meanwhile.

use std::time::{Duration, Instant};

use conclave_crypto::Secret;
use conclave_hsm::{Connector, HsmError, HsmState, IvSource, KeyLabel, Remedy, Settings, Timing};
use conclave_hsm_faults::control::Faults;

use crate::sandbox::{LONG, Running, Sandbox, block_on, brisk, isolated, label, wait_status};

const DEVICE_ERROR: u64 = 0x30;
const DEVICE_REMOVED: u64 = 0x32;
const GENERAL_ERROR: u64 = 0x05;
const SESSION_HANDLE_INVALID: u64 = 0xb3;
const USER_NOT_LOGGED_IN: u64 = 0x101;
const CRYPTOKI_NOT_INITIALIZED: u64 = 0x190;
const VENDOR: u64 = 0x8000_0001;

/// A handle through the faulty module, and something wrapped.
struct Rig<'a> {
    sandbox: &'a Sandbox,
    hsm: Running,
    label: KeyLabel,
    wrapped: Vec<u8>,
}

impl<'a> Rig<'a> {
    fn new(sandbox: &'a Sandbox) -> Self {
        let hsm = Running::start(sandbox.faulty("n1"), brisk());
        let label = label("conclave/d/n1/1");
        let share = Secret::copy_from(b"share");
        let wrapped = block_on(hsm.wrap(label.clone(), Vec::new(), share)).unwrap();
        Self { sandbox, hsm, label, wrapped }
    }

    fn set(&self, functions: &[&str], faults: Faults) {
        let functions = functions.iter().map(|&name| name.to_owned()).collect();
        self.sandbox.control.set(&Faults { functions, ..faults });
    }

    fn heal(&self) {
        self.sandbox.control.set(&Faults::default());
    }

    async fn try_unwrap(&self) -> Result<(), HsmError> {
        let share = self.hsm.unwrap(self.label.clone(), Vec::new(), self.wrapped.clone()).await?;
        assert_eq!(share.expose(), b"share");
        Ok(())
    }

    fn wait_ready(&self) {
        wait_status(&self.hsm, "the HSM to be ready", |s| s.state == HsmState::Ready);
    }
}

#[test]
fn an_error_once_costs_nothing_but_time() {
    isolated("faults::an_error_once_costs_nothing_but_time", |sandbox| {
        let rig = Rig::new(sandbox);
        for code in [
            DEVICE_ERROR,
            DEVICE_REMOVED,
            GENERAL_ERROR,
            SESSION_HANDLE_INVALID,
            USER_NOT_LOGGED_IN,
            CRYPTOKI_NOT_INITIALIZED,
            VENDOR,
        ] {
            for function in ["C_FindObjectsInit", "C_FindObjects", "C_DecryptInit", "C_Decrypt"] {
                rig.wait_ready();
                let fail_once = Some(code);
                rig.set(&[function], Faults { fail_once, ..Faults::default() });
                let outcome = block_on(rig.try_unwrap());
                assert_eq!(outcome, Ok(()), "{code:#x} in {function}");
            }
        }
    });
}

#[test]
fn an_error_while_connecting_is_tried_again() {
    isolated("faults::an_error_while_connecting_is_tried_again", |sandbox| {
        for function in [
            "C_Initialize",
            "C_GetSlotList",
            "C_GetTokenInfo",
            "C_GetMechanismInfo",
            "C_OpenSession",
            "C_Login",
        ] {
            let functions = vec![function.to_owned()];
            let fail_once = Some(DEVICE_ERROR);
            sandbox.control.set(&Faults { functions, fail_once, ..Faults::default() });
            let hsm = Running::start(sandbox.faulty("n1"), brisk());
            wait_status(&hsm, function, |status| status.state == HsmState::Ready);
            assert!(block_on(hsm.stop()));
        }
    });
}

#[test]
fn errors_always_are_answered_and_named_until_they_end() {
    isolated("faults::errors_always_are_answered_and_named_until_they_end", |sandbox| {
        let rig = Rig::new(sandbox);
        let fail_always = Some(DEVICE_ERROR);
        for functions in
            [&["C_Decrypt"][..], &["C_DecryptInit", "C_EncryptInit"], &["C_FindObjects"], &[]]
        {
            rig.wait_ready();
            rig.set(functions, Faults { fail_always, ..Faults::default() });
            for _ in 0..3 {
                let error = block_on(rig.try_unwrap()).unwrap_err();
                assert_eq!(error.remedy(), Remedy::RetryLater, "{functions:?}: {error}");
                assert!(error.to_string().contains("CKR_DEVICE_ERROR"), "{functions:?}: {error}");
            }
            if functions.is_empty() {
                let waiting = |s: &conclave_hsm::HsmStatus| matches!(s.state, HsmState::Waiting(_));
                let status = wait_status(&rig.hsm, "the failure to be shown", waiting);
                assert!(status.to_string().contains("CKR_DEVICE_ERROR"), "{status}");
            }
            rig.heal();
            rig.wait_ready();
            // The last connection may have been lost to the last failure in this moment.
            let began = Instant::now();
            while let Err(error) = block_on(rig.try_unwrap()) {
                assert!(began.elapsed() < LONG, "{functions:?}: {error}");
            }
        }
    });
}

#[test]
fn a_token_without_the_mechanism_is_refused() {
    isolated("faults::a_token_without_the_mechanism_is_refused", |sandbox| {
        // CKR_MECHANISM_INVALID
        let functions = vec!["C_GetMechanismInfo".to_owned()];
        sandbox.control.set(&Faults { functions, fail_always: Some(0x70), ..Faults::default() });
        let error = Connector::new(sandbox.faulty("n1")).connect().err().unwrap();
        assert_eq!(error, HsmError::MechanismMissing { mechanism: "CKM_AES_KEY_GEN" });
        assert_eq!(error.remedy(), Remedy::NeedsPerson);
        assert_eq!(sandbox.control.count("C_Login"), 0);
    });
}

#[test]
fn a_slow_hsm_is_waited_for() {
    isolated("faults::a_slow_hsm_is_waited_for", |sandbox| {
        let hsm = Running::start(sandbox.faulty("n1"), Timing::default());
        let label = label("conclave/d/n1/1");
        let wrapped =
            block_on(hsm.wrap(label.clone(), Vec::new(), Secret::copy_from(b"share"))).unwrap();
        assert!(block_on(hsm.stop()));
        // Connecting and unwrapping are some twenty calls, each of which takes its time.
        sandbox.control.set(&Faults { delay_ms: 2_000, ..Faults::default() });
        let hsm = Running::start(sandbox.faulty("n1"), Timing::default());
        let share = block_on(hsm.unwrap(label, Vec::new(), wrapped)).unwrap();
        assert_eq!(share.expose(), b"share");
        assert_eq!(hsm.status().state, HsmState::Ready);
    });
}

#[test]
fn a_call_that_hangs_holds_up_nobody() {
    isolated("faults::a_call_that_hangs_holds_up_nobody", |sandbox| {
        let rig = Rig::new(sandbox);
        for function in ["C_Decrypt", "C_GetSessionInfo", "C_CloseSession", "C_Finalize", "C_Login"]
        {
            rig.wait_ready();
            rig.set(&[function], Faults { hang: true, ..Faults::default() });
            match function {
                // Whoever asks first waits for the time limit.
                "C_Decrypt" => {
                    let error = block_on(rig.try_unwrap()).unwrap_err();
                    assert!(matches!(error, HsmError::NotAnswering { .. }), "{error}");
                }
                // The worker looks by itself.
                "C_GetSessionInfo" => {}
                // A lost session is closed, the module finalised, and then there is a login.
                _ => {
                    rig.sandbox.tokens.take_out();
                    wait_status(&rig.hsm, "the token to be missed", |s| s.state != HsmState::Ready);
                    rig.sandbox.tokens.put_back();
                }
            }
            let not_answering =
                |s: &conclave_hsm::HsmStatus| matches!(s.state, HsmState::NotAnswering(_));
            let status = wait_status(&rig.hsm, "silence to be noticed", not_answering);
            assert!(status.to_string().contains("not answering for"), "{status}");
            // Everybody after that hears so at once, however many they are.
            for _ in 0..200 {
                let error = block_on(rig.try_unwrap()).unwrap_err();
                assert!(matches!(error, HsmError::NotAnswering { .. }), "{function}: {error}");
            }
            let calls = rig.sandbox.control.calls().len();
            rig.heal();
            rig.wait_ready();
            assert_eq!(block_on(rig.try_unwrap()), Ok(()), "{function}");
            // Nothing had piled up: what follows is a connection and two requests, not two hundred.
            let more = rig.sandbox.control.calls().len() - calls;
            assert!(more < 120, "{function}: {more} calls");
        }
    });
}

#[test]
fn a_process_ends_though_a_call_hangs() {
    isolated("faults::a_process_ends_though_a_call_hangs", |sandbox| {
        let rig = Rig::new(sandbox);
        rig.wait_ready();
        rig.set(&["C_Decrypt"], Faults { hang: true, ..Faults::default() });
        let error = block_on(rig.try_unwrap()).unwrap_err();
        assert!(matches!(error, HsmError::NotAnswering { .. }), "{error}");
        assert!(!block_on(rig.hsm.stop()), "it says that the call is still under way");
        // That this process ends, and ends well, is asserted too: the call hangs before SoftHSM.
    });
}

#[test]
fn many_requests_wait_in_a_short_queue() {
    isolated("faults::many_requests_wait_in_a_short_queue", |sandbox| {
        let rig = Rig::new(sandbox);
        rig.wait_ready();
        rig.set(&["C_DecryptInit"], Faults { delay_ms: 300, ..Faults::default() });
        let outcomes = block_on(async {
            let all: Vec<_> = (0..40)
                .map(|_| {
                    let hsm = rig.hsm.clone();
                    let (label, wrapped) = (rig.label.clone(), rig.wrapped.clone());
                    async move { hsm.unwrap(label, Vec::new(), wrapped).await.map(drop) }
                })
                .map(Box::pin)
                .collect();
            join_all(all).await
        });
        let done = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert!((1..=10).contains(&done), "{done}");
        for refused in outcomes.into_iter().filter_map(Result::err) {
            assert!(matches!(refused, HsmError::Busy { .. }), "{refused}");
        }
    });
}

#[test]
fn requests_that_nobody_waits_for_are_left_out() {
    isolated("faults::requests_that_nobody_waits_for_are_left_out", |sandbox| {
        let rig = Rig::new(sandbox);
        rig.wait_ready();
        rig.set(&["C_FindObjectsInit"], Faults { delay_ms: 500, ..Faults::default() });
        block_on(async {
            for _ in 0..6 {
                let unwrapped = rig.try_unwrap();
                assert!(tokio::time::timeout(Duration::from_millis(10), unwrapped).await.is_err());
            }
        });
        let before = rig.sandbox.control.count("C_DecryptInit");
        assert_eq!(block_on(rig.try_unwrap()), Ok(()));
        let more = rig.sandbox.control.count("C_DecryptInit") - before;
        assert!(more <= 2, "{more}");
    });
}

#[test]
fn a_token_may_choose_the_initialisation_vectors() {
    isolated("faults::a_token_may_choose_the_initialisation_vectors", |sandbox| {
        let label = label("conclave/d/n1/1");
        let with = |iv| Connector::new(Settings { iv, ..sandbox.faulty("n1") });
        // SoftHSM itself leaves the zeros as they are. That must never be taken for an answer.
        let error = with(IvSource::Token).connect().unwrap().wrap(&label, b"", b"share");
        assert!(
            matches!(error, Err(HsmError::Unusable { function: "C_Encrypt", .. })),
            "{error:?}"
        );

        sandbox.control.set(&Faults { iv_by_token: true, ..Faults::default() });
        let session = with(IvSource::Token).connect().unwrap();
        let (one, two) = (
            session.wrap(&label, b"", b"share").unwrap(),
            session.wrap(&label, b"", b"share").unwrap(),
        );
        assert_ne!(one[17..29], two[17..29]);
        assert_ne!(one[17..29], [0; 12]);
        assert_eq!(session.unwrap(&label, b"", &one).unwrap().expose(), b"share");
        drop(session);
        // Whose choice it was does not matter for opening.
        let session = with(IvSource::Node).connect().unwrap();
        assert_eq!(session.unwrap(&label, b"", &two).unwrap().expose(), b"share");
        let refused = session.wrap(&label, b"", b"share").unwrap_err();
        assert!(refused.to_string().contains("CKR_MECHANISM_PARAM_INVALID"), "{refused}");
        assert_eq!(refused.remedy(), Remedy::NeedsPerson);
    });
}

/// All of them, side by side.
async fn join_all<T>(futures: Vec<std::pin::Pin<Box<impl Future<Output = T>>>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.into_iter().map(|future| (Some(future), None)).collect();
    std::future::poll_fn(|context| {
        let mut pending = false;
        for (future, output) in &mut futures {
            if let Some(running) = future {
                match running.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => {
                        *output = Some(value);
                        *future = None;
                    }
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    futures.into_iter().filter_map(|(_, output)| output).collect()
}

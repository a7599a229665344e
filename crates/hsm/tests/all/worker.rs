//! The worker against SoftHSM itself: the token goes and comes back.

use conclave_crypto::Secret;
use conclave_hsm::{Hsm, HsmError, HsmState, Remedy, Timing};

use crate::sandbox::{PIN, Running, block_on, brisk, isolated, label, wait_status};

#[test]
fn a_handle_wraps_and_unwraps() {
    isolated("worker::a_handle_wraps_and_unwraps", |sandbox| {
        // At once: the first connection is waited for.
        let hsm = Running::start(sandbox.settings("n1"), Timing::default());
        let label = label("conclave/d/n1/1");
        block_on(async {
            let share = Secret::copy_from(b"share");
            let wrapped = hsm.wrap(label.clone(), b"aad".to_vec(), share).await.unwrap();
            let share = hsm.unwrap(label.clone(), b"aad".to_vec(), wrapped.clone()).await.unwrap();
            assert_eq!(share.expose(), b"share");
            let labels = hsm.list("conclave/".to_owned()).await.unwrap();
            assert_eq!(labels, std::slice::from_ref(&label));
            let other = hsm.unwrap(label.clone(), b"other".to_vec(), wrapped).await.unwrap_err();
            assert_eq!(other, HsmError::NotAuthentic { label: label.clone() });
            assert!(hsm.destroy(label.clone()).await.unwrap());
            assert!(!hsm.destroy(label).await.unwrap());
        });
        let status = hsm.status();
        assert_eq!(status.state, HsmState::Ready);
        assert_eq!(status.token.unwrap().label, "n1");
    });
}

#[test]
fn a_stop_lets_go_of_the_module_and_the_next_start_takes_it() {
    isolated("worker::a_stop_lets_go_of_the_module_and_the_next_start_takes_it", |sandbox| {
        for _ in 0..20 {
            let hsm = Running::start(sandbox.settings("n1"), Timing::default());
            let clone: Hsm = hsm.clone();
            block_on(hsm.list(String::new())).unwrap();
            assert!(block_on(hsm.stop()));
            assert_eq!(block_on(clone.list(String::new())), Err(HsmError::WorkerEnded));
            assert_eq!(clone.status().state, HsmState::Waiting(HsmError::WorkerEnded));
            sandbox.connector("n1").connect().unwrap();
        }
        // While it waits as well.
        sandbox.tokens.take_out();
        let hsm = Running::start(sandbox.settings("n1"), Timing::default());
        wait_status(&hsm, "the token to be missed", |s| matches!(s.state, HsmState::Waiting(_)));
        assert!(block_on(hsm.stop()));
        sandbox.tokens.put_back();
        sandbox.connector("n1").connect().unwrap();
    });
}

#[test]
fn a_token_taken_out_and_put_back_is_used_again() {
    isolated("worker::a_token_taken_out_and_put_back_is_used_again", |sandbox| {
        let hsm = Running::start(sandbox.settings("n1"), brisk());
        let label = label("conclave/d/n1/1");
        let wrap = || hsm.wrap(label.clone(), Vec::new(), Secret::copy_from(b"share"));
        let wrapped = block_on(wrap()).unwrap();
        for _ in 0..2 {
            sandbox.tokens.take_out();
            let waiting = wait_status(&hsm, "the token's absence to be noticed", |status| {
                matches!(status.state, HsmState::Waiting(HsmError::TokenAbsent { .. }))
            });
            assert!(!waiting.state.needs_person());
            assert_eq!(waiting.token.unwrap().label, "n1", "the token last seen is still named");
            let error = block_on(wrap()).unwrap_err();
            assert!(matches!(error, HsmError::NotReady { .. }), "{error}");
            assert_eq!(error.remedy(), Remedy::RetryLater);
            sandbox.tokens.put_back();
            wait_status(&hsm, "the token to be used again", |s| s.state == HsmState::Ready);
            let unwrapped = hsm.unwrap(label.clone(), Vec::new(), wrapped.clone());
            assert_eq!(block_on(unwrapped).unwrap().expose(), b"share");
        }
    });
}

#[test]
fn an_hsm_that_went_away_and_came_back_is_used_again() {
    isolated("worker::an_hsm_that_went_away_and_came_back_is_used_again", |sandbox| {
        let hsm = Running::start(sandbox.settings("n1"), brisk());
        let label = label("conclave/d/n1/1");
        let wrapped = hsm.wrap(label.clone(), Vec::new(), Secret::copy_from(b"share"));
        let wrapped = block_on(wrapped).unwrap();
        for _ in 0..2 {
            sandbox.tokens.go_away();
            let status = wait_status(&hsm, "the HSM to be missed", |status| {
                matches!(status.state, HsmState::Waiting(_))
            });
            assert!(!status.state.needs_person(), "{status}");
            sandbox.tokens.come_back();
            wait_status(&hsm, "the HSM to be used again", |s| s.state == HsmState::Ready);
            let unwrapped = hsm.unwrap(label.clone(), Vec::new(), wrapped.clone());
            assert_eq!(block_on(unwrapped).unwrap().expose(), b"share");
        }
    });
}

#[test]
fn a_request_notices_the_token_s_absence_by_itself() {
    isolated("worker::a_request_notices_the_token_s_absence_by_itself", |sandbox| {
        let mut timing = brisk();
        timing.probe_every = crate::sandbox::LONG * 10;
        let hsm = Running::start(sandbox.settings("n1"), timing);
        let label = label("conclave/d/n1/1");
        let wrap = || hsm.wrap(label.clone(), Vec::new(), Secret::copy_from(b"share"));
        let wrapped = block_on(wrap()).unwrap();
        sandbox.tokens.take_out();
        // Never "the key is absent", which would have somebody enrol the node anew; and no second
        // key is made.
        let unwrapped = hsm.unwrap(label.clone(), Vec::new(), wrapped.clone());
        let error = block_on(unwrapped).unwrap_err();
        assert_eq!(error.remedy(), Remedy::RetryLater, "{error}");
        let error = block_on(wrap()).unwrap_err();
        assert_eq!(error.remedy(), Remedy::RetryLater, "{error}");
        sandbox.tokens.put_back();
        wait_status(&hsm, "the token to be used again", |s| s.state == HsmState::Ready);
        let unwrapped = hsm.unwrap(label.clone(), Vec::new(), wrapped);
        assert_eq!(block_on(unwrapped).unwrap().expose(), b"share");
        block_on(wrap()).unwrap();
    });
}

#[test]
fn a_token_absent_at_the_start_is_waited_for() {
    isolated("worker::a_token_absent_at_the_start_is_waited_for", |sandbox| {
        sandbox.tokens.take_out();
        let hsm = Running::start(sandbox.settings("n1"), brisk());
        wait_status(&hsm, "the token to be missed", |status| {
            matches!(status.state, HsmState::Waiting(_)) && !status.state.needs_person()
        });
        sandbox.tokens.put_back();
        wait_status(&hsm, "the token to be found", |status| status.state == HsmState::Ready);
    });
}

#[test]
fn a_corrected_pin_is_noticed_without_a_restart() {
    isolated("worker::a_corrected_pin_is_noticed_without_a_restart", |sandbox| {
        std::fs::write(sandbox.path("pin"), "wrong").unwrap();
        let hsm = Running::start(sandbox.faulty("n1"), brisk());
        let status = wait_status(&hsm, "the PIN to be refused", |s| s.state.needs_person());
        assert!(status.to_string().contains("refused the PIN"), "{status}");
        // Long enough for several more tries, if there were any.
        let calls = || sandbox.control.calls().len();
        let before = calls();
        std::thread::sleep(brisk().backoff_max * 3);
        assert_eq!((calls(), sandbox.control.count("C_Login")), (before, 1));
        std::fs::write(sandbox.path("pin"), PIN).unwrap();
        wait_status(&hsm, "the corrected PIN to be used", |s| s.state == HsmState::Ready);
        assert_eq!(sandbox.control.count("C_Login"), 2);
    });
}

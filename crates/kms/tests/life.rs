//! The life of a key under operations in any order, against a model that knows nothing of records.
//! Of keys whose material comes from outside: `imported_life/`.
#![allow(clippy::unwrap_used, reason = "clippy takes helpers of tests for none")]

mod common;

use common::{NOW_MS, Service, decrypt, encrypt};
use conclave_kms::{ON_DEMAND_ROTATIONS_MAX, Refusal, Request, Response};
use conclave_proto::v1;
use proptest::prelude::*;

const DAY_MS: u64 = 86_400_000;

#[derive(Debug, Clone)]
enum Step {
    Enable,
    Disable,
    Schedule {
        days: i32,
    },
    Cancel,
    Rotate,
    EnableRotation {
        days: i32,
    },
    DisableRotation,
    Encrypt,
    /// One of the ciphertexts that there are, by whatever version.
    Decrypt(prop::sample::Index),
    /// Everybody's clock goes on, and what is due happens.
    Pass {
        days: u64,
    },
    /// What is due by all clocks happens; then one node's clock goes on, and what it alone takes
    /// for due does not.
    PassAlone {
        days: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Enable),
        1 => Just(Step::Disable),
        1 => (7..=30).prop_map(|days| Step::Schedule { days }),
        2 => Just(Step::Cancel),
        2 => Just(Step::Rotate),
        1 => (90..=120).prop_map(|days| Step::EnableRotation { days }),
        1 => Just(Step::DisableRotation),
        3 => Just(Step::Encrypt),
        3 => any::<prop::sample::Index>().prop_map(Step::Decrypt),
        2 => (1..=60_u64).prop_map(|days| Step::Pass { days }),
        1 => (1..=800_u64).prop_map(|days| Step::PassAlone { days }),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Enabled,
    Disabled,
    PendingDeletion { at_ms: u64 },
    Destroyed,
}

/// What becomes of a key, said in another way than the service says it.
#[derive(Debug)]
struct Model {
    now_ms: u64,
    state: State,
    versions: u32,
    on_demand: u32,
    /// Every so many days, next at.
    rotation: Option<(u64, u64)>,
}

type Told = Result<(), &'static str>;

impl Model {
    /// Whether the key can be used, or rotated.
    fn usable(&self) -> Told {
        match self.state {
            State::Enabled => Ok(()),
            State::Disabled => Err("DisabledException"),
            State::PendingDeletion { .. } => Err("KMSInvalidStateException"),
            State::Destroyed => Err("NotFoundException"),
        }
    }

    /// Whether it is there, and not on its way out.
    fn changeable(&self) -> Told {
        match self.state {
            State::Disabled => Ok(()),
            _ => self.usable(),
        }
    }

    fn take(&mut self, step: &Step) -> Told {
        match step {
            Step::Enable => self.changeable().map(|()| self.state = State::Enabled),
            Step::Disable => self.changeable().map(|()| self.state = State::Disabled),
            Step::Schedule { days } => {
                let at_ms = self.now_ms + u64::try_from(*days).unwrap() * DAY_MS;
                self.changeable().map(|()| self.state = State::PendingDeletion { at_ms })
            }
            Step::Cancel => match self.state {
                State::PendingDeletion { .. } => {
                    self.state = State::Disabled;
                    Ok(())
                }
                State::Destroyed => Err("NotFoundException"),
                State::Enabled | State::Disabled => Err("KMSInvalidStateException"),
            },
            Step::Rotate => {
                self.usable()?;
                if self.on_demand == ON_DEMAND_ROTATIONS_MAX {
                    return Err("LimitExceededException");
                }
                self.on_demand += 1;
                self.versions += 1;
                Ok(())
            }
            Step::EnableRotation { days } => {
                self.usable()?;
                let days = u64::try_from(*days).unwrap();
                if self.rotation.is_none_or(|(every, _)| every != days) {
                    self.rotation = Some((days, self.now_ms + days * DAY_MS));
                }
                Ok(())
            }
            Step::DisableRotation => {
                self.usable()?;
                self.rotation = None;
                Ok(())
            }
            Step::Encrypt => self.usable(),
            Step::Decrypt(_) => match self.usable() {
                // Of a key that is not there nobody can tell what it once was.
                Err("NotFoundException") => Err("InvalidCiphertextException"),
                told => told,
            },
            Step::Pass { days } => {
                self.now_ms += days * DAY_MS;
                match (self.state, self.rotation) {
                    (State::PendingDeletion { at_ms }, _) if at_ms <= self.now_ms => {
                        self.state = State::Destroyed;
                    }
                    (State::Enabled, Some((days, next_ms))) if next_ms <= self.now_ms => {
                        self.versions += 1;
                        self.rotation = Some((days, self.now_ms + days * DAY_MS));
                    }
                    _ => {}
                }
                Ok(())
            }
            Step::PassAlone { .. } => self.take(&Step::Pass { days: 0 }),
        }
    }
}

/// The same, of the service.
fn take(
    service: &mut Service,
    key: &str,
    sealed: &mut Vec<Vec<u8>>,
    step: &Step,
) -> Result<(), String> {
    fn ask(
        service: &mut Service,
        principal: &str,
        request: impl TryInto<Request, Error = Refusal>,
    ) -> Result<Response, String> {
        service.call(principal, request).reply.map_err(|refusal| refusal.name().to_owned())
    }
    let key_id = key.to_owned();
    match step {
        Step::Enable => ask(service, "ada", v1::EnableKeyRequest { key_id }),
        Step::Disable => ask(service, "ada", v1::DisableKeyRequest { key_id }),
        Step::Schedule { days } => {
            let pending_window_in_days = Some(*days);
            ask(service, "ada", v1::ScheduleKeyDeletionRequest { key_id, pending_window_in_days })
        }
        Step::Cancel => ask(service, "ada", v1::CancelKeyDeletionRequest { key_id }),
        Step::Rotate => ask(service, "ada", v1::RotateKeyOnDemandRequest { key_id }),
        Step::EnableRotation { days } => {
            let rotation_period_in_days = Some(*days);
            ask(service, "ada", v1::EnableKeyRotationRequest { key_id, rotation_period_in_days })
        }
        Step::DisableRotation => ask(service, "ada", v1::DisableKeyRotationRequest { key_id }),
        Step::Encrypt => {
            let plaintext = sealed.len().to_string();
            let told = ask(service, "uma", encrypt(key, plaintext.as_bytes()));
            if let Ok(Response::Encrypt(made)) = told {
                sealed.push(made.ciphertext_blob);
                return Ok(());
            }
            told
        }
        Step::Decrypt(which) => {
            let number = which.index(sealed.len());
            let told = ask(service, "uma", decrypt(&sealed[number]));
            if let Ok(Response::Decrypt(opened)) = &told {
                assert_eq!(opened.plaintext, number.to_string().into_bytes());
            }
            told
        }
        Step::Pass { days } => {
            service.now_ms += days * DAY_MS;
            service.fall_due(service.now_ms);
            return Ok(());
        }
        Step::PassAlone { days } => {
            take(service, key, sealed, &Step::Pass { days: 0 })?;
            let others_ms = service.now_ms;
            service.now_ms += days * DAY_MS;
            let done = service.fall_due(others_ms);
            service.now_ms = others_ms;
            assert!(done.is_empty(), "one clock is not enough");
            return Ok(());
        }
    }
    .map(drop)
}

/// What can be seen of the key.
fn check(service: &mut Service, key: &str, model: &Model) {
    let describe = v1::DescribeKeyRequest { key_id: key.to_owned(), ..Default::default() };
    let told = service.call("aud", describe).reply;
    if model.state == State::Destroyed {
        assert_eq!(told.unwrap_err().name(), "NotFoundException");
        assert!(service.due().is_empty());
        let tombstone = v1::GetKeyTombstoneRequest { key_id: key.to_owned() };
        service.call("aud", tombstone).reply.unwrap();
        return;
    }
    let told = v1::DescribeKeyResponse::try_from(told.unwrap()).unwrap().key_metadata.unwrap();
    let (state, deletion_ms) = match model.state {
        State::Enabled => ("Enabled", None),
        State::Disabled => ("Disabled", None),
        State::PendingDeletion { at_ms } => ("PendingDeletion", Some(at_ms)),
        State::Destroyed => unreachable!(),
    };
    assert_eq!((told.key_state.as_str(), told.deletion_date_ms), (state, deletion_ms));
    assert_eq!((told.versions, told.enabled), (model.versions, state == "Enabled"));

    let status = v1::GetKeyRotationStatusRequest { key_id: key.to_owned() };
    let status = service.call("ada", status).reply.unwrap();
    let status = v1::GetKeyRotationStatusResponse::try_from(status).unwrap();
    let rotation = model.rotation.filter(|_| deletion_ms.is_none());
    assert_eq!(status.next_rotation_date_ms, rotation.map(|(_, next_ms)| next_ms));

    // One record of what is next to happen, or none.
    let rotates = model.rotation.filter(|_| model.state == State::Enabled);
    let next = deletion_ms.or(rotates.map(|(_, next_ms)| next_ms));
    let due: Vec<u64> = service.due().iter().map(|due| due.due_at().unwrap().0).collect();
    assert_eq!(due, next.into_iter().collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_key_does_what_the_model_does(steps in prop::collection::vec(step(), 1..60)) {
        let mut service = Service::new();
        let key = service.key("alias/life");
        let mut sealed = vec![service.encrypt(&key, b"0")];
        let mut model = Model {
            now_ms: NOW_MS,
            state: State::Enabled,
            versions: 1,
            on_demand: 0,
            rotation: None,
        };
        for step in &steps {
            let expected = model.take(step);
            let told = take(&mut service, &key, &mut sealed, step);
            prop_assert_eq!(told, expected.map_err(str::to_owned), "{:?}", step);
            check(&mut service, &key, &model);
        }
    }
}

//! What can happen to a key of imported material, and what becomes of it.

use proptest::prelude::*;

use crate::common::NOW_MS;
use crate::{DAY_MS, MATERIALS};

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Enable,
    Disable,
    Schedule {
        days: i32,
    },
    Cancel,
    Rotate,
    Import {
        material: usize,
        import_type: Option<ImportType>,
        /// None: for good.
        days: Option<u64>,
    },
    /// None: the current one, by no id.
    Delete(Option<usize>),
    Encrypt,
    /// One of the ciphertexts that there are, by whatever version.
    Decrypt(usize),
    /// Everybody's clock goes on, and what is due happens.
    Pass {
        days: u64,
    },
    /// One node's clock goes on, and what it takes for due does not happen.
    PassAlone {
        days: u64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ImportType {
    New,
    Existing,
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let import_type = prop_oneof![
        2 => Just(None),
        2 => Just(Some(ImportType::New)),
        1 => Just(Some(ImportType::Existing)),
    ];
    let days = prop_oneof![2 => Just(None), 1 => (1..=90_u64).prop_map(Some)];
    let import = (0..MATERIALS, import_type, days)
        .prop_map(|(material, import_type, days)| Step::Import { material, import_type, days });
    prop_oneof![
        2 => Just(Step::Enable),
        1 => Just(Step::Disable),
        1 => (7..=30).prop_map(|days| Step::Schedule { days }),
        2 => Just(Step::Cancel),
        3 => Just(Step::Rotate),
        9 => import,
        2 => prop::option::of(0..MATERIALS).prop_map(Step::Delete),
        3 => Just(Step::Encrypt),
        4 => any::<usize>().prop_map(Step::Decrypt),
        2 => (1..=40_u64).prop_map(|days| Step::Pass { days }),
        1 => (1..=300_u64).prop_map(|days| Step::PassAlone { days }),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Switch {
    /// What it is when it has all of its material.
    On,
    Off,
    PendingDeletion {
        at_ms: u64,
    },
    Destroyed,
}

/// A material of the key's, as its listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) material: usize,
    pub(crate) is_there: bool,
    pub(crate) valid_to_ms: Option<u64>,
}

/// What becomes of a key, said in another way than the service says it.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) now_ms: u64,
    pub(crate) switch: Switch,
    pub(crate) versions: Vec<Version>,
    pub(crate) pending: Option<Version>,
    /// By which version each ciphertext was made, the first being 0.
    pub(crate) sealed: Vec<usize>,
}

pub(crate) type Told = Result<(), &'static str>;

const STATE: Told = Err("KMSInvalidStateException");
const GONE: Told = Err("NotFoundException");
const OTHER: Told = Err("IncorrectKeyMaterialException");

impl Model {
    pub(crate) fn new() -> Self {
        let (versions, sealed) = (Vec::new(), Vec::new());
        Self { now_ms: NOW_MS, switch: Switch::On, versions, pending: None, sealed }
    }

    fn is_whole(&self) -> bool {
        !self.versions.is_empty() && self.versions.iter().all(|version| version.is_there)
    }

    pub(crate) fn state(&self) -> &'static str {
        match self.switch {
            Switch::PendingDeletion { .. } => "PendingDeletion",
            Switch::Destroyed => "gone",
            _ if !self.is_whole() => "PendingImport",
            Switch::On => "Enabled",
            Switch::Off => "Disabled",
        }
    }

    /// Whether the key can be used, or rotated.
    fn usable(&self) -> Told {
        match self.state() {
            "Enabled" => Ok(()),
            "Disabled" => Err("DisabledException"),
            "gone" => GONE,
            _ => STATE,
        }
    }

    /// Whether it is there, and not on its way out.
    fn there(&self) -> Told {
        match self.switch {
            Switch::On | Switch::Off => Ok(()),
            Switch::PendingDeletion { .. } => STATE,
            Switch::Destroyed => GONE,
        }
    }

    pub(crate) fn take(&mut self, step: &Step) -> Told {
        match step {
            Step::Enable | Step::Disable => {
                self.there()?;
                if !self.is_whole() {
                    return STATE;
                }
                let is_on = matches!(step, Step::Enable);
                self.switch = if is_on { Switch::On } else { Switch::Off };
            }
            Step::Schedule { days } => {
                self.there()?;
                let at_ms = self.now_ms + u64::try_from(*days).unwrap() * DAY_MS;
                self.switch = Switch::PendingDeletion { at_ms };
            }
            Step::Cancel => match self.switch {
                // Kept after all it is off, or on when it next has all of its material.
                Switch::PendingDeletion { .. } => {
                    self.switch = if self.is_whole() { Switch::Off } else { Switch::On };
                }
                Switch::Destroyed => return GONE,
                Switch::On | Switch::Off => return STATE,
            },
            Step::Rotate => {
                self.usable()?;
                let Some(next) = self.pending.take() else { return STATE };
                self.versions.push(next);
            }
            Step::Import { material, import_type, days } => {
                self.there()?;
                let valid_to_ms = days.map(|days| self.now_ms + days * DAY_MS);
                self.import(*material, *import_type, valid_to_ms)?;
            }
            Step::Delete(which) => {
                if self.switch == Switch::Destroyed {
                    return GONE;
                }
                let current = self.versions.last().map(|version| version.material);
                let Some(material) = which.or(current) else { return Ok(()) };
                if self.known(material).is_none() {
                    return GONE;
                }
                self.take_away(|version| version.material == material);
            }
            Step::Encrypt => {
                self.usable()?;
                self.sealed.push(self.versions.len() - 1);
            }
            Step::Decrypt(which) => {
                if self.sealed.is_empty() {
                    return Ok(());
                }
                match self.usable() {
                    // Of a key that is not there nobody can tell what it once was.
                    GONE => return Err("InvalidCiphertextException"),
                    told => told?,
                }
                let version = self.sealed[which % self.sealed.len()];
                assert!(self.versions[version].is_there, "a key in use lacks nothing");
            }
            Step::Pass { days } => {
                self.now_ms += days * DAY_MS;
                let now_ms = self.now_ms;
                match self.switch {
                    Switch::PendingDeletion { at_ms } if at_ms <= now_ms => {
                        self.switch = Switch::Destroyed;
                    }
                    _ => self.take_away(|it| it.valid_to_ms.is_some_and(|end| end <= now_ms)),
                }
            }
            Step::PassAlone { .. } => {}
        }
        Ok(())
    }

    fn known(&mut self, material: usize) -> Option<&mut Version> {
        let mut known = self.versions.iter_mut().chain(&mut self.pending);
        known.find(|version| version.material == material)
    }

    fn import(
        &mut self,
        material: usize,
        import_type: Option<ImportType>,
        valid_to_ms: Option<u64>,
    ) -> Told {
        let is_first = self.versions.is_empty();
        let import_type =
            import_type.unwrap_or(if is_first { ImportType::New } else { ImportType::Existing });
        let new = Version { material, is_there: true, valid_to_ms };
        let was_whole = self.is_whole();
        let one_waits = self.pending.is_some();
        match (import_type, self.known(material)) {
            (ImportType::Existing, Some(known)) => *known = new,
            (ImportType::Existing, None) | (ImportType::New, Some(_)) => return OTHER,
            (ImportType::New, None) if is_first => self.versions.push(new),
            (ImportType::New, None) if one_waits => return STATE,
            (ImportType::New, None) => self.pending = Some(new),
        }
        // What it waited for it need wait for no longer, whatever it was before.
        if !was_whole && self.is_whole() {
            self.switch = Switch::On;
        }
        Ok(())
    }

    fn take_away(&mut self, is_meant: impl Fn(&Version) -> bool) {
        for version in self.versions.iter_mut().filter(|version| is_meant(version)) {
            (version.is_there, version.valid_to_ms) = (false, None);
        }
        self.pending.take_if(|pending| is_meant(pending));
    }

    /// When something is next to happen to it by itself.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        let deletion_ms = match self.switch {
            Switch::PendingDeletion { at_ms } => Some(at_ms),
            Switch::Destroyed => return None,
            Switch::On | Switch::Off => None,
        };
        let expiries = self.versions.iter().chain(&self.pending).filter_map(|it| it.valid_to_ms);
        expiries.chain(deletion_ms).min()
    }
}

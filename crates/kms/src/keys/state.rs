//! What a key's state allows, and where a change leads: the whole table, and nothing else.

use crate::fields::Days;
use crate::records::KeyState;
use crate::refusal::Refusal;

/// What changes a key's state, or needs it to be one that allows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transition {
    /// Make it usable.
    Enable,
    /// Make it unusable for now.
    Disable,
    /// Give it a new version.
    Rotate,
    /// Make it unusable, and let it be destroyed when the days are over.
    ScheduleDeletion(Days),
    /// Keep it after all, disabled.
    CancelDeletion,
}

/// Whether a key in `state` encrypts, signs, and so on.
pub(crate) fn check_usable(state: KeyState, arn: &str) -> Result<(), Refusal> {
    let arn = arn.to_owned();
    match state {
        KeyState::Enabled => Ok(()),
        KeyState::Disabled => Err(Refusal::Disabled { arn }),
        KeyState::PendingDeletion { .. } => Err(Refusal::PendingDeletion { arn }),
        KeyState::PendingImport => Err(Refusal::PendingImport { arn }),
    }
}

/// Whether what people call a key in `state`, and write on it, can be changed.
pub(crate) fn check_labelled(state: KeyState, arn: &str) -> Result<(), Refusal> {
    match state {
        KeyState::Enabled | KeyState::Disabled | KeyState::PendingImport => Ok(()),
        KeyState::PendingDeletion { .. } => Err(Refusal::PendingDeletion { arn: arn.to_owned() }),
    }
}

/// The state of a key after `transition`.
pub(crate) fn after(
    transition: Transition,
    state: KeyState,
    now_ms: u64,
    arn: &str,
) -> Result<KeyState, Refusal> {
    use KeyState::{Disabled, Enabled, PendingDeletion, PendingImport};
    let arn = || arn.to_owned();
    match (transition, state) {
        (Transition::CancelDeletion, PendingDeletion { .. }) => Ok(Disabled),
        (Transition::CancelDeletion, Enabled | Disabled | PendingImport) => {
            Err(Refusal::NotPendingDeletion { arn: arn() })
        }
        (_, PendingDeletion { .. }) => Err(Refusal::PendingDeletion { arn: arn() }),
        (Transition::ScheduleDeletion(days), Enabled | Disabled | PendingImport) => {
            Ok(PendingDeletion { deletion_ms: days.after(now_ms) })
        }
        (_, PendingImport) => Err(Refusal::PendingImport { arn: arn() }),
        (Transition::Enable, Enabled | Disabled) => Ok(Enabled),
        (Transition::Disable, Enabled | Disabled) => Ok(Disabled),
        (Transition::Rotate, Enabled) => Ok(Enabled),
        (Transition::Rotate, Disabled) => Err(Refusal::Disabled { arn: arn() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every state against every operation; a new one of either does not compile without a cell.
    #[test]
    fn the_table() {
        let seven = Days::parse(Some(7)).unwrap();
        let pending = KeyState::PendingDeletion { deletion_ms: 7 * 86_400_000 };
        let states = [KeyState::Enabled, KeyState::Disabled, pending, KeyState::PendingImport];
        let transitions = [
            Transition::Enable,
            Transition::Disable,
            Transition::Rotate,
            Transition::ScheduleDeletion(seven),
            Transition::CancelDeletion,
        ];
        let mut table = String::new();
        for state in states {
            let told =
                |checked: Result<(), Refusal>| checked.err().map_or("ok".into(), |no| no.reason());
            table += &format!("{} Use: {}\n", state.name(), told(check_usable(state, "K")));
            table += &format!("{} Label: {}\n", state.name(), told(check_labelled(state, "K")));
            for transition in transitions {
                let changed = after(transition, state, 0, "K");
                let told = changed.map_or_else(|no| no.reason(), |to| to.name().to_owned());
                table += &format!("{} {transition:?}: {told}\n", state.name());
            }
        }
        assert_eq!(
            table,
            "\
Enabled Use: ok
Enabled Label: ok
Enabled Enable: Enabled
Enabled Disable: Disabled
Enabled Rotate: Enabled
Enabled ScheduleDeletion(Days(7)): PendingDeletion
Enabled CancelDeletion: KMSInvalidStateException: K is not pending deletion.
Disabled Use: DisabledException: K is disabled.
Disabled Label: ok
Disabled Enable: Enabled
Disabled Disable: Disabled
Disabled Rotate: DisabledException: K is disabled.
Disabled ScheduleDeletion(Days(7)): PendingDeletion
Disabled CancelDeletion: KMSInvalidStateException: K is not pending deletion.
PendingDeletion Use: KMSInvalidStateException: K is pending deletion.
PendingDeletion Label: KMSInvalidStateException: K is pending deletion.
PendingDeletion Enable: KMSInvalidStateException: K is pending deletion.
PendingDeletion Disable: KMSInvalidStateException: K is pending deletion.
PendingDeletion Rotate: KMSInvalidStateException: K is pending deletion.
PendingDeletion ScheduleDeletion(Days(7)): KMSInvalidStateException: K is pending deletion.
PendingDeletion CancelDeletion: Disabled
PendingImport Use: KMSInvalidStateException: K is pending import.
PendingImport Label: ok
PendingImport Enable: KMSInvalidStateException: K is pending import.
PendingImport Disable: KMSInvalidStateException: K is pending import.
PendingImport Rotate: KMSInvalidStateException: K is pending import.
PendingImport ScheduleDeletion(Days(7)): PendingDeletion
PendingImport CancelDeletion: KMSInvalidStateException: K is not pending deletion.
"
        );
    }
}

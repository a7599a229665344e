//! What a key's state allows, and where a change leads: the whole table, and nothing else.

use crate::records::KeyState;
use crate::refusal::Refusal;
use crate::request::Change;

/// Whether a key in `state` encrypts and decrypts.
pub(crate) fn check_usable(state: KeyState, arn: &str) -> Result<(), Refusal> {
    let arn = arn.to_owned();
    match state {
        KeyState::Enabled => Ok(()),
        KeyState::Disabled => Err(Refusal::Disabled { arn }),
        KeyState::PendingDeletion { .. } => Err(Refusal::PendingDeletion { arn }),
    }
}

/// The state of a key after `change`.
pub(crate) fn after(
    change: Change,
    state: KeyState,
    now_ms: u64,
    arn: &str,
) -> Result<KeyState, Refusal> {
    use KeyState::{Disabled, Enabled, PendingDeletion};
    let arn = || arn.to_owned();
    match (change, state) {
        (Change::CancelDeletion, PendingDeletion { .. }) => Ok(Disabled),
        (Change::CancelDeletion, Enabled | Disabled) => {
            Err(Refusal::NotPendingDeletion { arn: arn() })
        }
        (_, PendingDeletion { .. }) => Err(Refusal::PendingDeletion { arn: arn() }),
        (Change::Enable, Enabled | Disabled) => Ok(Enabled),
        (Change::Disable, Enabled | Disabled) => Ok(Disabled),
        (Change::Rotate, Enabled) => Ok(Enabled),
        (Change::Rotate, Disabled) => Err(Refusal::Disabled { arn: arn() }),
        (Change::ScheduleDeletion(days), Enabled | Disabled) => {
            Ok(PendingDeletion { deletion_ms: now_ms.saturating_add(days.ms()) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::Days;

    /// Every state against every operation; a new one of either does not compile without a cell.
    #[test]
    fn the_table() {
        let seven = Days::parse(7).unwrap();
        let pending = KeyState::PendingDeletion { deletion_ms: 7 * 86_400_000 };
        let states = [KeyState::Enabled, KeyState::Disabled, pending];
        let changes = [
            Change::Enable,
            Change::Disable,
            Change::Rotate,
            Change::ScheduleDeletion(seven),
            Change::CancelDeletion,
        ];
        let mut table = String::new();
        for state in states {
            let used = check_usable(state, "K");
            table += &format!(
                "{} Use: {}\n",
                state.name(),
                used.err().map_or("ok".into(), |no| no.reason())
            );
            for change in changes {
                let changed = after(change, state, 0, "K");
                let told = changed.map_or_else(|no| no.reason(), |to| to.name().to_owned());
                table += &format!("{} {change:?}: {told}\n", state.name());
            }
        }
        assert_eq!(
            table,
            "\
Enabled Use: ok
Enabled Enable: Enabled
Enabled Disable: Disabled
Enabled Rotate: Enabled
Enabled ScheduleDeletion(Days(7)): PendingDeletion
Enabled CancelDeletion: KMSInvalidStateException: K is not pending deletion.
Disabled Use: DisabledException: K is disabled.
Disabled Enable: Enabled
Disabled Disable: Disabled
Disabled Rotate: DisabledException: K is disabled.
Disabled ScheduleDeletion(Days(7)): PendingDeletion
Disabled CancelDeletion: KMSInvalidStateException: K is not pending deletion.
PendingDeletion Use: KMSInvalidStateException: K is pending deletion.
PendingDeletion Enable: KMSInvalidStateException: K is pending deletion.
PendingDeletion Disable: KMSInvalidStateException: K is pending deletion.
PendingDeletion Rotate: KMSInvalidStateException: K is pending deletion.
PendingDeletion ScheduleDeletion(Days(7)): KMSInvalidStateException: K is pending deletion.
PendingDeletion CancelDeletion: Disabled
"
        );
    }
}

//! Key material from outside: how it is wrapped on its way, taken in, and taken away again.
//!
//! A key of origin EXTERNAL is made without material and waits for it. Every version that it comes to
//! have keeps its id for good: what is imported for it again must be the same material, and while one
//! of them is without its material the key waits again. When material expires is the scheduler's to
//! see: it calls [`without_expired`].

mod delete;
mod import;
mod parameters;
mod token;
mod wrapping;

pub(crate) use delete::{DeleteImportedKeyMaterial, without_expired};
pub(crate) use import::ImportKeyMaterial;
pub(crate) use parameters::GetParametersForImport;

use crate::records::{KeyRecord, KeyState};
use crate::refusal::Refusal;

/// Only what is made for imported material takes any.
fn check_external(key: &KeyRecord, arn: &str) -> Result<(), Refusal> {
    if key.external {
        return Ok(());
    }
    Err(Refusal::Origin { arn: arn.to_owned(), origin: "AWS_KMS" })
}

/// The same, and not what is about to be destroyed.
fn check_importable(key: &KeyRecord, arn: &str) -> Result<(), Refusal> {
    check_external(key, arn)?;
    match key.state {
        KeyState::PendingDeletion { .. } => Err(Refusal::PendingDeletion { arn: arn.to_owned() }),
        KeyState::Enabled | KeyState::Disabled | KeyState::PendingImport => Ok(()),
    }
}

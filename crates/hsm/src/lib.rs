//! A node's hands on a PKCS#11 token: AES-256 keys that never leave it wrap the node's shares.
//!
//! [`Connector`] and [`TokenSession`] are the blocking core: one call after another, each answered
//! or failed with an [`HsmError`] that says whose turn it is. [`Hsm`] is what a node holds: a
//! thread of its own does the calls, because a call into a vendor's library may never return and
//! cannot be stopped; the handle answers all the same, and the thread connects again by itself when
//! the session, the token or the whole HSM went away.
//!
//! What it does not do: it knows nothing of domains, epochs or shares (labels and additional data
//! are the caller's), keeps no key or PIN, and makes no token: that is the operator's work, with
//! the vendor's tools (`docs/hsm.md`).

mod clock;
mod connector;
mod error;
mod handle;
mod keys;
mod label;
mod module;
mod pin;
mod session;
mod settings;
mod status;
mod worker;
mod wrapped;

pub use connector::{Connector, TokenDescription};
pub use error::{HsmError, Remedy};
pub use handle::{Hsm, Timing};
pub use label::{KEY_LABEL_LEN_MAX, KeyLabel, KeyLabelError};
pub use pin::{PIN_LEN_MAX, PinError, PinSource};
pub use session::TokenSession;
pub use settings::{IvSource, Settings, TokenSelector};
pub use status::{HsmState, HsmStatus};
pub use wrapped::{AAD_LEN_MAX, OVERHEAD, PLAINTEXT_LEN_MAX};

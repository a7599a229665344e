//! `[probe]`: a listener without TLS for whoever asks whether the node lives. Off unless it is there.

use std::net::SocketAddr;

use serde::Deserialize;

use super::ConfigError;

/// `[probe]` as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProbe {
    listen: String,
    #[serde(default)]
    metrics: bool,
    #[serde(default)]
    allow_remote: bool,
}

/// The probe listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The address bound.
    pub listen: SocketAddr,
    /// Whether metrics are shown there too.
    pub metrics: bool,
}

impl Probe {
    pub(super) fn check(raw: &RawProbe) -> Result<Self, ConfigError> {
        let Ok(listen) = raw.listen.parse::<SocketAddr>() else {
            return Err(ConfigError::Value {
                key: "probe.listen",
                value: raw.listen.clone(),
                expected: "takes an IP address and port, such as 127.0.0.1:7402",
            });
        };
        if !listen.ip().to_canonical().is_loopback() && !raw.allow_remote {
            return Err(ConfigError::Value {
                key: "probe.listen",
                value: raw.listen.clone(),
                expected: "has no TLS, so anyone who reaches it may ask: listen on 127.0.0.1, or say probe.allow_remote = true",
            });
        }
        Ok(Self { listen, metrics: raw.metrics })
    }
}

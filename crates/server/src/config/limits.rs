//! `[limits]`: what one host and one principal may take of a node, and what a domain may hold.

use serde::Deserialize;

use super::{ConfigError, ranged};

/// `[limits]` as it is written.
#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    connections: Option<u64>,
    connections_per_address: Option<u64>,
    requests_per_second: Option<u64>,
    burst: Option<u64>,
    keys: Option<u64>,
}

/// Limits that suit some networks and not others. Those that suit all are constants where they
/// are used.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections that have been let in, at once, on each listener.
    pub connections: usize,
    /// Of these, from one address (IPv6: one /64).
    pub connections_per_address: usize,
    /// Requests a second of one principal at this node, in the long run.
    pub requests_per_second: u32,
    /// Requests of one principal at once, after a pause.
    pub burst: u32,
    /// Keys of the domain, as far as this node makes them.
    pub keys: u32,
}

impl Limits {
    pub(super) fn check(raw: &RawLimits) -> Result<Self, ConfigError> {
        let connections = ranged("limits.connections", raw.connections, 4_096, 16, 65_536)?;
        let per_address = ranged(
            "limits.connections_per_address",
            raw.connections_per_address,
            1_024.min(connections),
            4,
            65_536,
        )?;
        let per_second =
            ranged("limits.requests_per_second", raw.requests_per_second, 50_000, 1, 1_000_000)?;
        let burst = ranged("limits.burst", raw.burst, per_second.max(100), 1, 1_000_000)?;
        let keys = ranged("limits.keys", raw.keys, 1_000_000, 1, 10_000_000)?;
        if per_address > connections {
            return Err(ConfigError::Value {
                key: "limits.connections_per_address",
                value: per_address.to_string(),
                expected: "must not be more than limits.connections",
            });
        }
        let bounded = "bounded above";
        Ok(Self {
            connections: connections.try_into().expect(bounded),
            connections_per_address: per_address.try_into().expect(bounded),
            requests_per_second: per_second.try_into().expect(bounded),
            burst: burst.try_into().expect(bounded),
            keys: keys.try_into().expect(bounded),
        })
    }
}

//! Where a node's API listens: `https://host:port`, and nothing more.

use std::{fmt, net::Ipv6Addr, str::FromStr};

use http::uri::{Authority, Uri};
use thiserror::Error;

/// The address of one node's API.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    authority: Authority,
    port: u16,
}

impl Endpoint {
    /// The host, as it stands in the node's certificate; an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        self.authority.host().trim_start_matches('[').trim_end_matches(']')
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn uri(&self, scheme: &str) -> Result<Uri, http::Error> {
        Uri::builder().scheme(scheme).authority(self.authority.clone()).path_and_query("/").build()
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    /// Reads `https://host:port`, or `host:port` as nodes list themselves.
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let refused = || EndpointError { found: text.chars().take(128).collect() };
        let bare = text.trim();
        let bare = bare.strip_prefix("https://").unwrap_or(bare);
        let bare = bare.strip_suffix('/').unwrap_or(bare);
        let authority: Authority = bare.parse().map_err(|_| refused())?;
        let port = authority.port_u16().filter(|port| *port != 0).ok_or_else(refused)?;
        let host = authority.host();
        let is_host = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(address) => address.parse::<Ipv6Addr>().is_ok(),
            None => !host.is_empty(),
        };
        if !is_host || authority.as_str().contains('@') {
            return Err(refused());
        }
        Ok(Self { authority, port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}", self.authority)
    }
}

/// A text that is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{found:?} is no endpoint; write https://HOST:PORT, the API address of a node")]
pub struct EndpointError {
    found: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_host_and_a_port_over_tls() {
        for (text, host, port) in [
            ("https://kms-1.example:7443", "kms-1.example", 7443),
            ("127.0.0.1:7443", "127.0.0.1", 7443),
            ("https://[::1]:7443/", "::1", 7443),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!((endpoint.host(), endpoint.port()), (host, port), "{text}");
        }
        for bad in [
            "",
            "https://",
            "http://a:1",
            "a",
            "a:0",
            "a:70000",
            "https://a:1/x",
            "u@a:1",
            "[]:1",
            "[a]:1",
        ] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
        }
        assert_eq!("a:1".parse::<Endpoint>().unwrap().to_string(), "https://a:1");
    }
}

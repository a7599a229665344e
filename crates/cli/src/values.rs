//! What flags hold, each parsed once: `NAME=VALUE` pairs, members, `3-of-5`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use conclave_client::Endpoint;
use conclave_pki::NodeName;
use conclave_proto::v1::{InitMember, Tag};
use thiserror::Error;

/// `NAME=VALUE`: an encryption context pair or a tag. The value may be empty or hold `=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl FromStr for Pair {
    type Err = PairError;

    fn from_str(text: &str) -> Result<Self, PairError> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                Ok(Self { name: name.to_owned(), value: value.to_owned() })
            }
            _ => Err(PairError),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("write NAME=VALUE")]
pub(crate) struct PairError;

/// The pairs as an encryption context.
pub(crate) fn context(pairs: Vec<Pair>) -> BTreeMap<String, String> {
    pairs.into_iter().map(|Pair { name, value }| (name, value)).collect()
}

/// The pairs as tags.
pub(crate) fn tags(pairs: Vec<Pair>) -> Vec<Tag> {
    pairs.into_iter().map(|Pair { name, value }| Tag { tag_key: name, tag_value: value }).collect()
}

/// `NAME=HOST:PORT`: a node and its peer listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    name: NodeName,
    peer: String,
}

impl Member {
    pub(crate) fn to_proto(&self) -> InitMember {
        InitMember { name: self.name.to_string(), peer: self.peer.clone() }
    }
}

impl FromStr for Member {
    type Err = MemberError;

    fn from_str(text: &str) -> Result<Self, MemberError> {
        let (name, peer) = text.split_once('=').ok_or(MemberError::Shape)?;
        let name = name.parse().map_err(|_| MemberError::Name)?;
        let scheme = peer.contains("//") || peer.contains('/');
        if scheme || peer.trim() != peer || peer.parse::<Endpoint>().is_err() {
            return Err(MemberError::Peer);
        }
        Ok(Self { name, peer: peer.to_owned() })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum MemberError {
    #[error("write NAME=HOST:PORT, with the address of the node's peer listener")]
    Shape,
    #[error(
        "a node name is 1 to 63 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit"
    )]
    Name,
    #[error("after NAME= comes HOST:PORT of the node's peer listener, without a scheme")]
    Peer,
}

/// Operator shares of one domain at most, as the service has it.
const OPERATOR_SHARES_MAX: u32 = 16;

/// `K-of-M` operator shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shares {
    pub(crate) threshold: u32,
    pub(crate) total: u32,
}

impl FromStr for Shares {
    type Err = SharesError;

    fn from_str(text: &str) -> Result<Self, SharesError> {
        let (threshold, total) = text.split_once("-of-").ok_or(SharesError)?;
        let number = |text: &str| text.parse::<u8>().map(u32::from).map_err(|_| SharesError);
        let (threshold, total) = (number(threshold)?, number(total)?);
        if threshold == 0 || threshold > total || total > OPERATOR_SHARES_MAX {
            return Err(SharesError);
        }
        Ok(Self { threshold, total })
    }
}

/// Whom an operator share is encrypted to: an age recipient, age1….
#[derive(Clone)]
pub(crate) struct Recipient(age::x25519::Recipient);

impl Recipient {
    /// An age file with this in it.
    pub(crate) fn encrypt(&self, secret: &[u8]) -> Result<Vec<u8>, RecipientError> {
        age::encrypt(&self.0, secret).map_err(|_| RecipientError)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_string())
    }
}

impl FromStr for Recipient {
    type Err = RecipientError;

    fn from_str(text: &str) -> Result<Self, RecipientError> {
        text.parse().map(Self).map_err(|_| RecipientError)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("this is no age recipient; one begins with age1, and age-keygen prints it")]
pub(crate) struct RecipientError;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("write K-of-M, for instance 3-of-5: any K of M people can unseal, M at most 16")]
pub(crate) struct SharesError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_parsed_once() {
        let pair =
            |name: &str, value: &str| Pair { name: name.to_owned(), value: value.to_owned() };
        assert_eq!("a=b=c".parse(), Ok(pair("a", "b=c")));
        assert_eq!("a=".parse(), Ok(pair("a", "")));
        assert_eq!("=b".parse::<Pair>(), Err(PairError));
        assert_eq!("ab".parse::<Pair>(), Err(PairError));

        let member: Member = "n1=10.0.0.1:7444".parse().unwrap();
        assert_eq!((member.name.as_ref(), member.peer.as_str()), ("n1", "10.0.0.1:7444"));
        for bad in ["n1", "n1=", "N1=a:1", "n1=https://a:1", "n1=a", "n1= a:1", "n1=a:1/x"] {
            assert!(bad.parse::<Member>().is_err(), "{bad}");
        }

        assert_eq!("3-of-5".parse(), Ok(Shares { threshold: 3, total: 5 }));
        for bad in ["", "3", "0-of-5", "6-of-5", "3-of-256", "3of5"] {
            assert_eq!(bad.parse::<Shares>(), Err(SharesError), "{bad}");
        }
    }
}

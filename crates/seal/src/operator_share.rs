//! A person's share of the operator key: how it is dealt, and the line of text it is kept as.
//!
//! ```text
//! conclave-operator-share-1:<base64url, unpadded, of conclave.seal.v1.OperatorShare>:<8 hex digits>
//! ```
//!
//! The digits are the first of the SHA-256 of all text before the last colon: they find typing
//! errors, nothing more. The coefficients are random, so the shares of two dealings never fit.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use conclave_crypto::entropy::Entropy;
use conclave_crypto::secret::{Key, Secret};
use conclave_crypto::sharing::{self, Share, SharingError};
use conclave_proto::seal;
use prost::Message;
use zeroize::{Zeroize, Zeroizing};

use crate::ids::{DomainId, OperatorGeneration};
use crate::operator::OperatorKey;
pub use crate::operator_split::{OPERATOR_SHARES_MAX, OperatorSplit, SplitError};

/// The longest text of a share, in bytes; a real one has about 115, two of them have more.
pub const TEXT_LEN_MAX: usize = 200;

const PREFIX: &str = "conclave-operator-share-1:";
const CHECKSUM_LEN: usize = 8;

/// Splits `key` with random coefficients, one share for each operator.
///
/// Draws 32·(k−1) bytes of entropy.
///
/// # Errors
/// [`SharingError`] never happens for a checked split; it says that the library is broken.
pub fn deal(
    key: &OperatorKey,
    domain: DomainId,
    split: OperatorSplit,
    entropy: &mut dyn Entropy,
) -> Result<Vec<OperatorShare>, SharingError> {
    let mut coefficients = vec![0; sharing::coefficients_len(split.threshold())];
    entropy.fill(&mut coefficients);
    let xs: Vec<u8> = (1..=split.shares()).collect();
    let shares = sharing::deal(&key.key, split.threshold(), &xs, &Secret::from_vec(coefficients))?;
    let generation = key.generation;
    let threshold = split.threshold();
    Ok(shares
        .into_iter()
        .map(|share| OperatorShare { domain, generation, threshold, share })
        .collect())
}

/// One operator's share, out of its text.
#[derive(Debug)]
pub struct OperatorShare {
    /// Of which domain.
    pub domain: DomainId,
    /// Of which operator key.
    pub generation: OperatorGeneration,
    /// How many it takes.
    pub threshold: u8,
    /// The share.
    pub share: Share,
}

impl OperatorShare {
    /// The line of text to hand to the operator.
    pub fn to_text(&self) -> OperatorShareText {
        let mut message = seal::OperatorShare {
            domain_id: self.domain.0.to_vec(),
            generation: self.generation.0,
            threshold: self.threshold.into(),
            x: self.share.x.into(),
            share: self.share.y.expose().to_vec(),
        };
        let encoded = Zeroizing::new(message.encode_to_vec());
        message.share.zeroize();

        // Reserved whole, so that growing leaves no copies behind.
        let mut text = String::with_capacity(TEXT_LEN_MAX);
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(&*encoded, &mut text);
        let checksum = checksum(&text);
        text.push(':');
        text.push_str(&checksum);
        OperatorShareText(Zeroizing::new(text))
    }

    /// A share out of its text; spaces around it do no harm.
    ///
    /// # Errors
    /// [`ShareTextError`], which never repeats the text.
    pub fn from_text(text: &str) -> Result<Self, ShareTextError> {
        let text = text.trim();
        if text.len() > TEXT_LEN_MAX {
            return Err(ShareTextError::TooLong { found: text.len() });
        }
        if !text.starts_with(PREFIX) {
            return Err(ShareTextError::NotAShare);
        }
        let (covered, given) = text.rsplit_once(':').ok_or(ShareTextError::NotAShare)?;
        let body = covered.strip_prefix(PREFIX).ok_or(ShareTextError::Incomplete)?;
        if !given.eq_ignore_ascii_case(&checksum(covered)) {
            return Err(ShareTextError::Checksum);
        }
        let decoded = URL_SAFE_NO_PAD.decode(body).map_err(|_| ShareTextError::Encoding)?;
        let decoded = Zeroizing::new(decoded);
        let mut message = seal::OperatorShare::decode(decoded.as_slice())
            .map_err(|_| ShareTextError::Encoding)?;
        let y = Key::from_slice(&message.share);
        message.share.zeroize();

        let y = y.map_err(|_| ShareTextError::Encoding)?;
        let x = u8::try_from(message.x).ok().filter(|x| (1..=OPERATOR_SHARES_MAX).contains(x));
        let threshold =
            u8::try_from(message.threshold).ok().filter(|k| (1..=OPERATOR_SHARES_MAX).contains(k));
        let generation = Some(OperatorGeneration(message.generation)).filter(|given| given.0 > 0);
        Ok(Self {
            domain: DomainId::from_slice(&message.domain_id)
                .map_err(|_| ShareTextError::Encoding)?,
            generation: generation.ok_or(ShareTextError::Encoding)?,
            threshold: threshold.ok_or(ShareTextError::Encoding)?,
            share: Share { x: x.ok_or(ShareTextError::Encoding)?, y },
        })
    }
}

fn checksum(covered: &str) -> String {
    let digest = conclave_crypto::sha256(&[covered.as_bytes()]);
    let digits: String = digest.iter().take(CHECKSUM_LEN / 2).map(|b| format!("{b:02x}")).collect();
    digits
}

/// The text of an operator share: shown once, wiped on drop, printed by nothing by itself.
pub struct OperatorShareText(Zeroizing<String>);

impl OperatorShareText {
    /// The text itself. Do not keep copies of it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for OperatorShareText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[operator share]")
    }
}

/// Why a text is no operator share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShareTextError {
    /// It does not begin as one.
    #[error("this is no operator share; one begins with \"{PREFIX}\" and is a single line")]
    NotAShare,
    /// Longer than any.
    #[error(
        "an operator share has at most {TEXT_LEN_MAX} bytes, this text has {found}; give one share at a time"
    )]
    TooLong {
        /// How many bytes there were.
        found: usize,
    },
    /// The end is missing.
    #[error("this operator share is cut off; enter the whole line")]
    Incomplete,
    /// It was mistyped.
    #[error(
        "this operator share was mistyped or cut off (its checksum does not fit); enter it again"
    )]
    Checksum,
    /// The checksum fits, but not what it covers.
    #[error("this operator share was not made by a version of Conclave that this node knows")]
    Encoding,
}

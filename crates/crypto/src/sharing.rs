//! Shamir secret sharing of a 256-bit key over GF(256), by vsss-rs.
//!
//! Dealing is a function: the polynomial's coefficients come in, so whoever knows the secret and the
//! coefficients computes any one share again, byte for byte.
//!
//! The field is AES's (polynomial 0x11b). Byte i of the share at x is
//!
//! ```text
//! y[i] = secret[i] + c(i,1)·x + c(i,2)·x² + … + c(i,t−1)·x^(t−1),   c(i,j) = coefficients[i·(t−1) + (j−1)]
//! ```
//!
//! and threshold 1, which vsss-rs refuses, is the formula's own case: the share is the secret.
//!
//! What this module cannot do: tell a wrong share from a right one. Too few shares, or a false one,
//! combine to a wrong key *without an error*; callers check shares and the result against public
//! check values. vsss-rs leaves the polynomial of the last byte in freed memory: one byte of 32.

use std::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};
use vsss_rs::{Gf256, IdentifierGf256};
use zeroize::Zeroize;

use crate::secret::{KEY_LEN, Key, Secret};

/// One point of the polynomials: `y` is as secret as what it shares.
#[derive(Debug)]
pub struct Share {
    /// Where the polynomials were evaluated: 1 to 255, no two shares at the same place.
    pub x: u8,
    /// Their values there, one byte per byte of the secret.
    pub y: Key,
}

/// How many bytes of coefficients a dealing with `threshold` takes.
pub fn coefficients_len(threshold: u8) -> usize {
    KEY_LEN * usize::from(threshold.saturating_sub(1))
}

/// Deals one share at each of `xs`; any `threshold` of them combine to `secret`.
///
/// `coefficients` must be uniform and used for this dealing alone, in the layout described above.
///
/// # Errors
/// [`SharingError`] if the threshold is 0, there are fewer places than that, a place is 0 or named
/// twice, or the coefficients have another length than [`coefficients_len`].
pub fn deal(
    secret: &Key,
    threshold: u8,
    xs: &[u8],
    coefficients: &Secret,
) -> Result<Vec<Share>, SharingError> {
    if threshold == 0 {
        return Err(SharingError::ThresholdZero);
    }
    if xs.len() < usize::from(threshold) {
        return Err(SharingError::TooFewPlaces { threshold, places: xs.len() });
    }
    check_places(xs.iter().copied())?;
    let wanted = coefficients_len(threshold);
    if coefficients.len() != wanted {
        return Err(SharingError::CoefficientsLength { wanted, found: coefficients.len() });
    }
    if threshold == 1 {
        return Ok(xs.iter().map(|&x| Share { x, y: secret.duplicate() }).collect());
    }

    let mut replay = Replay { bytes: coefficients.expose(), drawn: 0 };
    let mut points = Gf256::split_bytes_with_participant_ids_iter(
        usize::from(threshold),
        xs.len(),
        secret.expose(),
        &mut replay,
        xs.iter().map(|&x| IdentifierGf256(Gf256(x))),
    )
    .map_err(|_| SharingError::Library)?;
    let drawn = replay.drawn;

    let shares = points.iter().map(|point| share_of(point)).collect();
    points.zeroize();
    if drawn != wanted {
        return Err(SharingError::Library);
    }
    shares
}

/// The one share at `x` of the dealing that [`deal`] would make.
///
/// # Errors
/// As [`deal`], except that one place is enough.
pub fn share_at(
    secret: &Key,
    threshold: u8,
    x: u8,
    coefficients: &Secret,
) -> Result<Share, SharingError> {
    // The library wants as many places as the threshold; what is dealt to the others is dropped.
    let others = (1..=u8::MAX).filter(|&other| other != x);
    let xs: Vec<u8> = std::iter::once(x).chain(others).take(threshold.into()).collect();
    deal(secret, threshold, &xs, coefficients)?.into_iter().next().ok_or(SharingError::Library)
}

/// The secret that `shares` determine, all of them taken into account.
///
/// Exactly as many shares as the threshold is what it expects; more do no harm if all are right.
///
/// # Errors
/// [`SharingError`] if there are none, or a place is 0 or named twice. Never for too few or for
/// wrong shares: check the result.
pub fn combine(shares: &[Share]) -> Result<Key, SharingError> {
    check_places(shares.iter().map(|share| share.x))?;
    match shares {
        [] => Err(SharingError::NoShares),
        [only] => Ok(only.y.duplicate()),
        _ => {
            let mut points: Vec<Vec<u8>> = shares.iter().map(point_of).collect();
            let combined = Gf256::combine_bytes(&points);
            points.zeroize();
            let secret = Secret::from_vec(combined.map_err(|_| SharingError::Library)?);
            Key::from_slice(secret.expose()).map_err(|_| SharingError::Library)
        }
    }
}

fn check_places(xs: impl Iterator<Item = u8>) -> Result<(), SharingError> {
    let mut seen = [false; 256];
    for x in xs {
        if x == 0 {
            return Err(SharingError::PlaceZero);
        }
        if std::mem::replace(&mut seen[usize::from(x)], true) {
            return Err(SharingError::PlaceTwice { x });
        }
    }
    Ok(())
}

/// vsss-rs writes a share as x ‖ y.
fn share_of(point: &[u8]) -> Result<Share, SharingError> {
    let (&x, y) = point.split_first().ok_or(SharingError::Library)?;
    Ok(Share { x, y: Key::from_slice(y).map_err(|_| SharingError::Library)? })
}

fn point_of(share: &Share) -> Vec<u8> {
    let mut point = Vec::with_capacity(1 + KEY_LEN);
    point.push(share.x);
    point.extend_from_slice(share.y.expose());
    point
}

/// Gives vsss-rs the caller's coefficients where it asks for randomness. It draws one `u32` per
/// coefficient, byte by byte of the secret and within a byte from x upwards, and keeps the low byte.
struct Replay<'a> {
    bytes: &'a [u8],
    /// How many were drawn; [`deal`] checks that it was all of them and no more.
    drawn: usize,
}

impl Replay<'_> {
    fn next(&mut self) -> u8 {
        let byte = self.bytes.get(self.drawn).copied().unwrap_or_default();
        self.drawn += 1;
        byte
    }
}

impl TryRng for Replay<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.next().into())
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.next().into())
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        out.fill_with(|| self.next());
        Ok(())
    }
}

impl TryCryptoRng for Replay<'_> {}

/// Why shares were not dealt or not combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SharingError {
    /// A threshold of none would make the secret public.
    #[error("the threshold is at least 1")]
    ThresholdZero,
    /// Fewer shares than the threshold could never be combined.
    #[error("{places} shares never reach a threshold of {threshold}; deal more or lower it")]
    TooFewPlaces {
        /// How many shares it takes.
        threshold: u8,
        /// How many places were named.
        places: usize,
    },
    /// The value at 0 is the secret itself.
    #[error("a share's x is 1 to 255, never 0")]
    PlaceZero,
    /// The same share twice counts once.
    #[error("two shares have the same x, {x}; give each share once")]
    PlaceTwice {
        /// The place that was named twice.
        x: u8,
    },
    /// The coefficients do not fit the threshold.
    #[error("the dealing takes {wanted} bytes of coefficients, these are {found}")]
    CoefficientsLength {
        /// How many bytes the threshold takes.
        wanted: usize,
        /// How many there were.
        found: usize,
    },
    /// There is nothing to combine.
    #[error("no shares were given")]
    NoShares,
    /// The library behaved otherwise than this module relies on: a defect, not the caller's fault.
    #[error("the secret sharing library broke its contract")]
    Library,
}

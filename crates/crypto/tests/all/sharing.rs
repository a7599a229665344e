//! Shamir sharing against a second implementation that shares no code with the first, and against
//! golden bytes: stored share epochs are dealt again from the same coefficients.

use conclave_crypto::sharing::{SharingError, coefficients_len, combine, deal, share_at};
use conclave_crypto::{Key, Secret, Share};
use proptest::prelude::*;

use crate::key;

/// GF(256) as the AES standard has it, by schoolbook: multiply, reduce by 0x11b, invert by search.
mod plain {
    pub(super) fn mul(a: u8, b: u8) -> u8 {
        let mut product = 0u16;
        for bit in 0..8 {
            if b >> bit & 1 == 1 {
                product ^= u16::from(a) << bit;
            }
        }
        for bit in (8..16).rev() {
            if product >> bit & 1 == 1 {
                product ^= 0x11b << (bit - 8);
            }
        }
        product as u8
    }

    fn inverse(a: u8) -> u8 {
        (1..=255).find(|&b| mul(a, b) == 1).expect("a is not 0")
    }

    /// The share at `x`, straight from the formula in the module's documentation.
    pub(super) fn share(secret: &[u8; 32], t: u8, x: u8, coefficients: &[u8]) -> [u8; 32] {
        let degree = usize::from(t) - 1;
        std::array::from_fn(|i| {
            let mut power = 1;
            let mut value = secret[i];
            for j in 1..=degree {
                power = mul(power, x);
                value ^= mul(coefficients[i * degree + (j - 1)], power);
            }
            value
        })
    }

    /// Lagrange's interpolation at 0.
    pub(super) fn combine(points: &[(u8, [u8; 32])]) -> [u8; 32] {
        let mut secret = [0; 32];
        for (m, (x_m, y_m)) in points.iter().enumerate() {
            let mut basis = 1;
            for (n, (x_n, _)) in points.iter().enumerate() {
                if m != n {
                    basis = mul(basis, mul(*x_n, inverse(x_n ^ x_m)));
                }
            }
            for i in 0..32 {
                secret[i] ^= mul(y_m[i], basis);
            }
        }
        secret
    }
}

/// FIPS 197, section 4.2.
#[test]
fn the_second_implementation_multiplies_as_aes_does() {
    assert_eq!(plain::mul(0x57, 0x83), 0xc1);
    assert_eq!(plain::mul(0x57, 0x13), 0xfe);
}

fn counting(len: usize) -> Secret {
    Secret::from_vec((0..len).map(|i| (i * 7 + 1) as u8).collect())
}

/// Stored epochs depend on these bytes: they may never change.
#[test]
fn golden_shares() {
    let secret = Key::from_array(Box::new(std::array::from_fn(|i| i as u8)));
    let goldens = [
        (1, 9, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"),
        (2, 1, "01090d1519212d3531494d4559516d6561696d9599818db5b1a9ada5d9d1cdc5"),
        (2, 255, "ffb8705efa067759f5b67e39f4b3793eebac6442e6c8b945e9c70f48e8afb7f0"),
        (3, 2, "2247a89d6da8c77211d96d98b3b682f74421e34da6e38ca2c1240bd36366c9bc"),
        (5, 200, "3b35097871569c472c3a65932773f8fb58567ab06c35ff8fe4e2065eef6e9b98"),
    ];
    for (threshold, x, expected) in goldens {
        let share =
            share_at(&secret, threshold, x, &counting(coefficients_len(threshold))).unwrap();
        assert_eq!(hex::encode(share.y.expose()), expected, "t = {threshold}, x = {x}");
    }
}

#[test]
fn threshold_1_is_the_secret_itself() {
    let shares = deal(&key(7), 1, &[1, 200], &Secret::from_vec(vec![])).unwrap();
    for share in shares {
        assert!(share.y.ct_eq(&key(7)));
        assert!(combine(&[share]).unwrap().ct_eq(&key(7)));
    }
}

#[test]
fn impossible_dealings_are_refused() {
    let refused =
        |threshold, xs: &[u8], len| deal(&key(1), threshold, xs, &counting(len)).unwrap_err();
    assert_eq!(refused(0, &[1, 2], 0), SharingError::ThresholdZero);
    assert_eq!(refused(3, &[1, 2], 64), SharingError::TooFewPlaces { threshold: 3, places: 2 });
    assert_eq!(refused(1, &[], 0), SharingError::TooFewPlaces { threshold: 1, places: 0 });
    assert_eq!(refused(2, &[1, 0], 32), SharingError::PlaceZero);
    assert_eq!(refused(1, &[0], 0), SharingError::PlaceZero);
    assert_eq!(refused(2, &[5, 6, 5], 32), SharingError::PlaceTwice { x: 5 });
    for found in [0, 31, 33, 64] {
        let wanted = 32;
        assert_eq!(refused(2, &[1, 2], found), SharingError::CoefficientsLength { wanted, found });
    }
    let refused = share_at(&key(1), 2, 0, &counting(32)).unwrap_err();
    assert_eq!(refused, SharingError::PlaceZero);
}

#[test]
fn impossible_combinations_are_refused() {
    let share = |x| Share { x, y: key(x) };
    assert_eq!(combine(&[]).unwrap_err(), SharingError::NoShares);
    assert_eq!(combine(&[share(0)]).unwrap_err(), SharingError::PlaceZero);
    assert_eq!(combine(&[share(1), share(0)]).unwrap_err(), SharingError::PlaceZero);
    let refused = combine(&[share(1), share(2), share(1)]).unwrap_err();
    assert_eq!(refused, SharingError::PlaceTwice { x: 1 });
}

#[test]
fn all_255_places_can_be_dealt() {
    let xs: Vec<u8> = (1..=255).collect();
    let shares = deal(&key(7), 255, &xs, &counting(coefficients_len(255))).unwrap();
    assert!(combine(&shares).unwrap().ct_eq(&key(7)));
}

/// A secret, a threshold of 2 to 5, that many places or up to three more, and coefficients.
fn dealings() -> impl Strategy<Value = ([u8; 32], u8, Vec<u8>, Vec<u8>)> {
    (2..=5u8, 0..=3usize).prop_flat_map(|(threshold, spare)| {
        let places = usize::from(threshold) + spare;
        (
            any::<[u8; 32]>(),
            Just(threshold),
            prop::sample::subsequence((1..=255).collect::<Vec<u8>>(), places).prop_shuffle(),
            prop::collection::vec(any::<u8>(), coefficients_len(threshold)),
        )
    })
}

/// Every way to take `size` of `shares`, as plain points.
fn subsets(shares: &[Share], size: u32) -> Vec<Vec<(u8, [u8; 32])>> {
    (0..1u32 << shares.len())
        .filter(|set| set.count_ones() == size)
        .map(|set| {
            let taken = shares.iter().enumerate().filter(|(i, _)| set >> i & 1 == 1);
            taken.map(|(_, share)| (share.x, *share.y.expose())).collect()
        })
        .collect()
}

fn ours(points: &[(u8, [u8; 32])]) -> Vec<Share> {
    points.iter().map(|(x, y)| Share { x: *x, y: Key::from_array(Box::new(*y)) }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn agrees_with_the_second_implementation((secret, threshold, xs, coefficients) in dealings()) {
        let key = Key::from_array(Box::new(secret));
        let replayed = Secret::copy_from(&coefficients);
        let shares = deal(&key, threshold, &xs, &replayed).unwrap();

        prop_assert_eq!(shares.iter().map(|share| share.x).collect::<Vec<_>>(), xs);
        for share in &shares {
            let expected = plain::share(&secret, threshold, share.x, &coefficients);
            prop_assert_eq!(share.y.expose(), &expected);
            let alone = share_at(&key, threshold, share.x, &replayed).unwrap();
            prop_assert_eq!((alone.x, alone.y.expose()), (share.x, &expected));
        }

        // The threshold is enough, whichever shares they are; all of them are too.
        for size in [u32::from(threshold), shares.len() as u32] {
            for points in subsets(&shares, size) {
                let combined = combine(&ours(&points)).unwrap();
                prop_assert_eq!(combined.expose(), &secret);
                prop_assert_eq!(plain::combine(&points), secret);
            }
        }
    }

    /// One share less says something, but not the secret: 32 bytes agree by chance once in 2^256.
    #[test]
    fn one_share_less_is_another_key((secret, threshold, xs, coefficients) in dealings()) {
        let key = Key::from_array(Box::new(secret));
        let shares = deal(&key, threshold, &xs, &Secret::from_vec(coefficients)).unwrap();
        for points in subsets(&shares, u32::from(threshold) - 1) {
            let combined = combine(&ours(&points)).unwrap();
            prop_assert_eq!(combined.expose(), &plain::combine(&points));
            prop_assert_ne!(combined.expose(), &secret);
        }
    }
}

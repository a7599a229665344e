//! SHAKE128 and SHAKE256 (FIPS 202), which only vectors need: small, not fast, for tests.

/// SHAKE128: what C2SP's accumulated vectors are drawn from.
pub(crate) type Shake128 = Shake<168>;
/// SHAKE256: what ML-DSA hashes with.
pub(crate) type Shake256 = Shake<136>;

pub(crate) struct Shake<const RATE: usize> {
    state: [u8; 200],
    at: usize,
    squeezing: bool,
}

impl<const RATE: usize> Shake<RATE> {
    pub(crate) fn new() -> Self {
        Self { state: [0; 200], at: 0, squeezing: false }
    }

    pub(crate) fn absorb(&mut self, bytes: &[u8]) {
        assert!(!self.squeezing);
        for byte in bytes {
            self.state[self.at] ^= byte;
            self.step();
        }
    }

    pub(crate) fn squeeze(&mut self, len: usize) -> Vec<u8> {
        if !self.squeezing {
            self.state[self.at] ^= 0x1f;
            self.state[RATE - 1] ^= 0x80;
            keccak_f(&mut self.state);
            self.at = 0;
            self.squeezing = true;
        }
        let mut out = Vec::with_capacity(len);
        for _ in 0..len {
            out.push(self.state[self.at]);
            self.step();
        }
        out
    }

    fn step(&mut self) {
        self.at += 1;
        if self.at == RATE {
            keccak_f(&mut self.state);
            self.at = 0;
        }
    }
}

fn keccak_f(state: &mut [u8; 200]) {
    let mut a = [[0u64; 5]; 5];
    for (i, lane) in state.chunks_exact(8).enumerate() {
        a[i % 5][i / 5] = u64::from_le_bytes(lane.try_into().expect("a lane is 8 bytes"));
    }
    let mut lfsr = 1u8;
    for _round in 0..24 {
        // θ
        let c: [u64; 5] = std::array::from_fn(|x| a[x].iter().fold(0, |sum, lane| sum ^ lane));
        for x in 0..5 {
            let d = c[(x + 4) % 5] ^ c[(x + 1) % 5].rotate_left(1);
            a[x].iter_mut().for_each(|lane| *lane ^= d);
        }
        // ρ and π
        let (mut x, mut y) = (1, 0);
        let mut current = a[x][y];
        for t in 0..24u32 {
            (x, y) = (y, (2 * x + 3 * y) % 5);
            let moved = current.rotate_left((t + 1) * (t + 2) / 2 % 64);
            current = std::mem::replace(&mut a[x][y], moved);
        }
        // χ
        let b = a;
        for (x, sheet) in a.iter_mut().enumerate() {
            for (y, lane) in sheet.iter_mut().enumerate() {
                *lane ^= !b[(x + 1) % 5][y] & b[(x + 2) % 5][y];
            }
        }
        // ι
        for j in 0..7 {
            if lfsr & 1 == 1 {
                a[0][0] ^= 1 << ((1 << j) - 1);
            }
            lfsr = (lfsr << 1) ^ if lfsr & 0x80 == 0 { 0 } else { 0x71 };
        }
    }
    for (i, lane) in state.chunks_exact_mut(8).enumerate() {
        lane.copy_from_slice(&a[i % 5][i / 5].to_le_bytes());
    }
}

/// FIPS 202's well-known beginnings of both of nothing.
#[test]
fn begins_as_published() {
    let start = hex::encode(Shake128::new().squeeze(16));
    assert_eq!(start, "7f9c2ba4e88f827d616045507605853e");
    let start = hex::encode(Shake256::new().squeeze(16));
    assert_eq!(start, "46b9dd2b0ba88d13233b3feb743eeb24");
}

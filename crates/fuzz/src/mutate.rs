//! Changes valid inputs a little, so that most of what comes out gets past the first check. What
//! fails is made small again by proptest.

use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Longest input that growing makes.
const LENGTH_MAX: usize = 1 << 16;

#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Set(Index, u8),
    /// An interesting number, big-endian, of so many bytes.
    Number(Index, u64, usize),
    /// As protobuf writes numbers.
    Varint(Index, u64),
    Insert(Index, Vec<u8>),
    Remove(Index, Index),
    Truncate(Index),
    /// Bytes from one place over those at another, or between them.
    Copy(Index, Index, Index, bool),
    /// The end of another seed.
    Splice(Index, Index, Index),
}

/// Inputs made from `seeds`, in a fixed order.
pub fn inputs(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let first = any::<Index>();
    (first, proptest::collection::vec(change(), 0..6)).prop_map(move |(first, changes)| {
        let mut bytes = first.get(&seeds).clone();
        for change in &changes {
            apply(&mut bytes, change, &seeds);
        }
        bytes
    })
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    let number = || {
        let edges: Vec<u64> = [0, 7, 8, 15, 16, 31, 32, 63, 64]
            .into_iter()
            .map(|bits| 1_u64.checked_shl(bits).unwrap_or(0))
            .flat_map(|power| [power.wrapping_sub(1), power, power.wrapping_add(1)])
            .collect();
        select(edges)
    };
    prop_oneof![
        (at(), 0..8_u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        (at(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (at(), number(), select(vec![1, 2, 4, 8])).prop_map(|(at, n, w)| Change::Number(at, n, w)),
        (at(), number()).prop_map(|(at, n)| Change::Varint(at, n)),
        (at(), proptest::collection::vec(any::<u8>(), 1..40))
            .prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (at(), at()).prop_map(|(from, to)| Change::Remove(from, to)),
        at().prop_map(Change::Truncate),
        (at(), at(), at(), any::<bool>()).prop_map(|(a, b, to, over)| Change::Copy(a, b, to, over)),
        (at(), at(), at()).prop_map(|(seed, from, at)| Change::Splice(seed, from, at)),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change, seeds: &[Vec<u8>]) {
    let length = bytes.len();
    let place = |at: &Index| at.index(length + 1);
    let range = |a: &Index, b: &Index| place(a).min(place(b))..place(a).max(place(b));
    match change {
        Change::Flip(at, bit) => {
            let at = place(at);
            bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << bit);
        }
        Change::Set(at, value) => overwrite(bytes, place(at), &[*value]),
        Change::Number(at, number, width) => {
            overwrite(bytes, place(at), &number.to_be_bytes()[8 - width..]);
        }
        Change::Varint(at, number) => {
            let at = place(at);
            let end = bytes[at..].iter().position(|byte| byte & 0x80 == 0);
            let end = end.map_or(bytes.len(), |length| at + length + 1);
            let mut varint = Vec::new();
            prost::encoding::encode_varint(*number, &mut varint);
            bytes.splice(at..end, varint);
        }
        Change::Insert(at, inserted) => {
            let at = place(at);
            bytes.splice(at..at, inserted.iter().copied());
        }
        Change::Remove(a, b) => {
            let range = range(a, b);
            bytes.drain(range);
        }
        Change::Truncate(at) => {
            let at = place(at);
            bytes.truncate(at);
        }
        Change::Copy(a, b, to, over) => {
            let (copy, to) = (bytes[range(a, b)].to_vec(), place(to));
            if *over {
                overwrite(bytes, to, &copy);
            } else if bytes.len() + copy.len() <= LENGTH_MAX {
                bytes.splice(to..to, copy);
            }
        }
        Change::Splice(seed, from, at) => {
            let other = seed.get(seeds);
            let from = from.index(other.len() + 1);
            let at = place(at);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
    }
}

/// Puts `value` over what is there, as far as that goes.
fn overwrite(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes.iter_mut().skip(at).zip(value).for_each(|(byte, value)| *byte = *value);
}

// SPDX-License-Identifier: LGPL-2.1-or-later
//! What a map needs to know about keys: their bytes, and two fast views of them (a hash, and eight bytes as a number
//! that sorts like the text). Touches nothing but the bytes it is given.

use std::cmp::Ordering;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;

/// A key as the caller keeps it. Maps compare [`Key::bytes`] and hand [`Key::handle`] back from iterators and to
/// notifiers.
///
/// The bytes of a key must not change while it is in a map; a key that breaks this is not found again, nothing worse.
pub trait Key {
    /// What iterators and notifiers get instead of the key itself; cheap to clone.
    type Handle: Clone;
    /// The text that is compared.
    fn bytes(&self) -> &[u8];
    /// The caller's view of this key.
    fn handle(&self) -> Self::Handle;
}

impl Key for &'static str {
    type Handle = &'static str;
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
    fn handle(&self) -> &'static str {
        self
    }
}

impl Key for Rc<str> {
    type Handle = Rc<str>;
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
    fn handle(&self) -> Rc<str> {
        Rc::clone(self)
    }
}

impl Key for String {
    type Handle = String;
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
    fn handle(&self) -> String {
        self.clone()
    }
}

/// Keys up to this length are kept inside the entry, so that finding them touches no other memory.
pub(super) const SHORT: usize = 15;
/// What stands for the length of longer ones.
pub(super) const LONG: u8 = u8::MAX;

/// A key to look for. Of a short one, `raw` is the zero-padded text with the length in the highest byte, so that equal
/// numbers are equal texts; of a longer one it is a hash, its length and [`LONG`].
pub(super) struct Query<'a> {
    pub bytes: &'a [u8],
    pub raw: u128,
    pub hash: u32,
}

/// What an entry keeps of a query.
#[derive(Clone, Copy)]
pub(super) struct Digest {
    pub hash: u32,
    pub len: usize,
    pub raw: u128,
}

impl Query<'_> {
    #[inline]
    pub fn digest(&self) -> Digest {
        Digest { hash: self.hash, len: self.bytes.len(), raw: self.raw }
    }
}

/// Secret numbers of one map, so that nobody can prepare keys that collide.
pub(super) struct Seeds(u64, u64);

impl Seeds {
    pub fn new() -> Self {
        let random = RandomState::new();
        Seeds(random.hash_one(1_u8) | 1, random.hash_one(2_u8))
    }

    pub fn query<'a>(&self, bytes: &'a [u8]) -> Query<'a> {
        self.short_query(bytes).unwrap_or_else(|| self.long_query(bytes))
    }

    /// None: the text is a long one. What is done for short ones only stays in registers.
    #[inline(always)]
    pub fn short_query<'a>(&self, bytes: &'a [u8]) -> Option<Query<'a>> {
        let len = bytes.len();
        if len > SHORT {
            return None;
        }
        let [a, b] = words(bytes);
        let b = b | (len as u64) << 56;
        let hash = fold(a ^ self.0, b ^ self.1);
        Some(Query { bytes, raw: u128::from(a) | u128::from(b) << 64, hash })
    }

    #[inline(never)]
    fn long_query<'a>(&self, bytes: &'a [u8]) -> Query<'a> {
        let mut h = self.0 ^ bytes.len() as u64;
        let chunks = bytes.chunks_exact(16);
        let rest = chunks.remainder();
        for c in chunks {
            h = wide(le(c, 0) ^ h, le(c, 8) ^ self.1);
        }
        let last = words(rest);
        h = wide(last[0] ^ h, last[1] ^ self.1);
        let kind = (bytes.len() as u64) << 8 >> 8 | u64::from(LONG) << 56;
        Query { bytes, raw: u128::from(h) | u128::from(kind) << 64, hash: (h ^ (h >> 32)) as u32 }
    }
}

#[inline]
fn wide(a: u64, b: u64) -> u64 {
    let p = u128::from(a) * u128::from(b);
    (p as u64) ^ ((p >> 64) as u64)
}

#[inline]
fn fold(a: u64, b: u64) -> u32 {
    let x = wide(a, b);
    (x ^ (x >> 32)) as u32
}

/// Eight little-endian bytes at `at`, 0 beyond the end.
#[inline]
fn le(bytes: &[u8], at: usize) -> u64 {
    match bytes.get(at..at + 8).and_then(|s| <[u8; 8]>::try_from(s).ok()) {
        Some(b) => u64::from_le_bytes(b),
        None => 0,
    }
}

#[inline]
fn le4(bytes: &[u8], at: usize) -> u64 {
    match bytes.get(at..at + 4).and_then(|s| <[u8; 4]>::try_from(s).ok()) {
        Some(b) => u64::from(u32::from_le_bytes(b)),
        None => 0,
    }
}

/// At most 16 bytes as two zero-padded little-endian words, by overlapping loads.
#[inline(always)]
pub(super) fn words(b: &[u8]) -> [u64; 2] {
    let n = b.len();
    match n {
        16.. => [le(b, 0), le(b, 8)],
        9..=15 => [le(b, 0), le(b, n - 8) >> (8 * (16 - n))],
        8 => [le(b, 0), 0],
        4..=7 => [le4(b, 0) | (le4(b, n - 4) >> (8 * (8 - n))) << 32, 0],
        1..=3 => {
            // First, middle and last byte: the middle one coincides with another unless there are three.
            let (a, m, z) = (u64::from(b[0]), u64::from(b[n / 2]), u64::from(b[n - 1]));
            [a | m << (8 * (n / 2)) | z << (8 * (n - 1)), 0]
        }
        0 => [0, 0],
    }
}

/// Sorts bytes as unsigned (0) or as signed characters (0x80).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Collation(pub u8);

impl Collation {
    /// Eight bytes from `skip` on as a number that sorts like them. Equal numbers do not mean equal text.
    #[inline]
    pub fn head(self, text: &[u8], skip: usize) -> u64 {
        let rest = text.get(skip..).unwrap_or(&[]);
        let flip = u64::from(self.0) * 0x0101_0101_0101_0101;
        if let Some(b) = rest.first_chunk::<8>() {
            return u64::from_be_bytes(*b) ^ flip;
        }
        if rest.is_empty() {
            return 0;
        }
        let keep = 64 - 8 * rest.len() as u32;
        words(rest)[0].swap_bytes() ^ (flip >> keep << keep)
    }

    /// The order of two whole keys: a key comes before its extensions.
    pub fn compare(self, a: &[u8], b: &[u8]) -> Ordering {
        if self.0 == 0 {
            return a.cmp(b);
        }
        if a == b {
            return Ordering::Equal;
        }
        match a.iter().zip(b).find(|(x, y)| x != y) {
            Some((x, y)) => (x ^ self.0).cmp(&(y ^ self.0)),
            None => a.len().cmp(&b.len()),
        }
    }
}

/// Length of the common prefix.
pub(super) fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_zero_padded_bytes() {
        let text = b"abcdefghijklmnop";
        for n in 0..=16 {
            let mut raw = [0_u8; 16];
            raw[..n].copy_from_slice(&text[..n]);
            assert_eq!(words(&text[..n]), [le(&raw, 0), le(&raw, 8)], "length {n}");
        }
    }

    #[test]
    fn heads_never_contradict_the_order_of_the_texts() {
        let texts: [&[u8]; 9] =
            [b"", b"a", b"\x80", b"\x80\x80", b"\xff", b"\x7f", b"abcdefgh", b"abcdefghi", b"\x01"];
        for collation in [Collation(0), Collation(0x80)] {
            for a in texts {
                for b in texts {
                    let heads = collation.head(a, 0).cmp(&collation.head(b, 0));
                    assert!(heads == Ordering::Equal || heads == collation.compare(a, b), "{a:?} {b:?}");
                }
            }
        }
    }
}

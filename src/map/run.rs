// SPDX-License-Identifier: LGPL-2.1-or-later
//! A short sorted run of entries, the content of every tree node: slots, and eight bytes of each key as a number.
//!
//! All keys of a run share their first `skip` bytes; the numbers are taken behind those, so that a binary search over
//! them alone nearly always decides, even when every key starts with "runtime.connections.".

use super::entries::{Entries, NONE};
use super::key::{Collation, Key, common, words};
use std::cmp::Ordering;

/// How many of these, which ascend, are less. Two rounds of comparisons that do not wait for one another take less time
/// than the steps of a bisection.
#[inline(always)]
fn count_less(heads: &[u64], head: u64) -> usize {
    const BLOCK: usize = 8;
    let (blocks, _) = heads.as_chunks::<BLOCK>();
    let from = BLOCK * blocks.iter().filter(|block| block[BLOCK - 1] < head).count();
    let rest = heads.get(from..).unwrap_or(&[]);
    from + rest.iter().take(BLOCK).filter(|h| **h < head).count()
}

/// Entries per run.
pub(super) const RUN: usize = 128;

/// The texts of all slots, and how they sort.
pub(super) struct Texts<'a, K, V> {
    pub entries: &'a Entries<K, V>,
    pub collation: Collation,
}

impl<K: Key, V: Clone> Texts<'_, K, V> {
    pub fn of(&self, slot: u32) -> &[u8] {
        self.entries.text(slot)
    }

    pub fn head(&self, text: &[u8], skip: usize) -> u64 {
        self.collation.head(text, skip)
    }
}

impl<K: Key, V: Clone> Texts<'_, K, V> {
    /// Sorts slots by their texts. The numbers before them become their heads behind so many bytes, which all share.
    pub fn sort(&self, all: &mut [(u64, u32)]) -> usize {
        let Some((_, first)) = all.first() else { return 0 };
        let first = self.of(*first);
        let mut skip = first.len();
        for (_, slot) in all.iter() {
            let text = self.of(*slot);
            let same = |n: usize| text.get(..n).is_some_and(|t| Some(t) == first.get(..n));
            if !same(skip) {
                skip = common(first, text);
            }
        }
        for (head, slot) in all.iter_mut() {
            *head = self.head(self.of(*slot), skip);
        }
        // Numbers alone are sorted without a branch that nobody could predict. Few are equal; there the texts decide.
        all.sort_unstable_by_key(|(head, _)| *head);
        for equal in all.chunk_by_mut(|a, b| a.0 == b.0).filter(|equal| equal.len() > 1) {
            equal.sort_unstable_by(|a, b| self.collation.compare(self.of(a.1), self.of(b.1)));
        }
        skip
    }
}

pub(super) struct Run {
    heads: [u64; RUN],
    slots: [u32; RUN],
    len: usize,
    skip: usize,
    /// The skipped bytes themselves, when they are at most this many: nothing else is read to compare with them.
    shared: [u8; SHARED],
}

const SHARED: usize = 32;

impl Run {
    pub const fn new() -> Self {
        Run { heads: [0; RUN], slots: [NONE; RUN], len: 0, skip: 0, shared: [0; SHARED] }
    }

    /// A run of at most [`RUN`] slots that are sorted already, with their heads behind `skip` bytes that all share.
    pub fn of<K: Key, V: Clone>(
        sorted: impl Iterator<Item = (u64, u32)>,
        skip: usize,
        texts: &Texts<'_, K, V>,
    ) -> Self {
        let mut run = Self::new();
        for ((head, slot), item) in run.heads.iter_mut().zip(&mut run.slots).zip(sorted) {
            (*head, *slot) = item;
            run.len += 1;
        }
        run.share(skip, texts);
        run.adapt(texts);
        run
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_full(&self) -> bool {
        self.len >= RUN
    }

    #[inline]
    pub fn slot(&self, at: usize) -> Option<u32> {
        if at < self.len { self.slots.get(at).copied() } else { None }
    }

    /// All slots from a position on.
    #[inline]
    pub fn slots_from(&self, at: usize) -> &[u32] {
        self.slots.get(at..self.len).unwrap_or(&[])
    }

    pub fn first(&self) -> u32 {
        self.slot(0).unwrap_or(NONE)
    }

    pub fn last(&self) -> u32 {
        self.slot(self.len.wrapping_sub(1)).unwrap_or(NONE)
    }

    fn heads(&self) -> &[u64] {
        self.heads.get(..self.len).unwrap_or(&[])
    }

    /// Position of the first key that is not less than `key`, and whether it is that key.
    pub fn lower_bound<K: Key, V: Clone>(&self, key: &[u8], texts: &Texts<'_, K, V>) -> (usize, bool) {
        if self.len == 0 {
            return (0, false);
        }
        if self.skip > 0 {
            let mine = key.get(..self.skip).unwrap_or(key);
            if !self.is_shared(mine, texts) {
                let before = texts.collation.compare(mine, self.shared(texts)) == Ordering::Less;
                return (if before { 0 } else { self.len }, false);
            }
        }
        let head = texts.head(key, self.skip);
        let heads = self.heads();
        let mut low = count_less(heads, head);
        if heads.get(low) != Some(&head) {
            return (low, false);
        }
        // Equal numbers: the texts decide. Nearly always there is one candidate.
        let mut high = low + 1;
        if heads.get(high) == Some(&head) {
            high += heads[high..].partition_point(|h| *h == head);
        }
        while low < high {
            let middle = low.midpoint(high);
            match texts.collation.compare(texts.of(self.slots[middle]), key) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return (middle, true),
                Ordering::Greater => high = middle,
            }
        }
        (low, false)
    }

    /// How many of the next `most` keys from a position on start with `prefix`. None: the numbers do not tell.
    pub fn count_with_prefix<K: Key, V: Clone>(
        &self,
        at: usize,
        most: usize,
        prefix: &[u8],
        texts: &Texts<'_, K, V>,
    ) -> Option<usize> {
        let heads = self.heads().get(at..)?;
        let heads = heads.get(..most).unwrap_or(heads);
        let (skipped, own) = prefix.split_at_checked(self.skip)?;
        if own.len() > size_of::<u64>() {
            return None;
        }
        if self.skip > 0 && !self.is_shared(skipped, texts) {
            return Some(0);
        }
        let Some(shift) = u64::BITS.checked_sub(8 * own.len() as u32).filter(|s| *s < u64::BITS) else {
            return Some(heads.len());
        };
        let wanted = texts.head(own, 0);
        let limit = 1_u64 << shift;
        // A zero byte stands for the end of a text, but in a trie for the character 0x80 as well.
        let bytes = wanted | (limit - 1);
        if bytes.wrapping_sub(0x0101_0101_0101_0101) & !bytes & 0x8080_8080_8080_8080 != 0 {
            return None;
        }
        Some(heads.iter().position(|h| h ^ wanted >= limit).unwrap_or(heads.len()))
    }

    /// Whether these bytes are what all keys start with.
    #[inline]
    fn is_shared<K: Key, V: Clone>(&self, bytes: &[u8], texts: &Texts<'_, K, V>) -> bool {
        let [a, b] = words(bytes);
        match self.shared.first_chunk::<16>() {
            // Padded with zeros on both sides.
            Some(shared) if self.skip <= 16 => {
                bytes.len() == self.skip
                    && u128::from(a) | u128::from(b) << 64 == u128::from_le_bytes(*shared)
            }
            _ => bytes == self.shared(texts),
        }
    }

    /// What all keys start with.
    fn shared<'a, K: Key, V: Clone>(&'a self, texts: &'a Texts<'_, K, V>) -> &'a [u8] {
        match self.shared.get(..self.skip) {
            Some(shared) => shared,
            None => texts.of(self.first()).get(..self.skip).unwrap_or(&[]),
        }
    }

    /// Puts an entry at a position; the run is not full.
    pub fn insert<K: Key, V: Clone>(&mut self, at: usize, slot: u32, texts: &Texts<'_, K, V>) {
        if self.is_full() || at > self.len {
            return;
        }
        self.share_prefix_with(slot, texts);
        self.heads.copy_within(at..self.len, at + 1);
        self.slots.copy_within(at..self.len, at + 1);
        self.heads[at] = texts.head(texts.of(slot), self.skip);
        self.slots[at] = slot;
        self.len += 1;
        if self.len.is_power_of_two() && self.len >= 8 {
            self.adapt(texts);
        }
    }

    /// Shortens the skipped prefix to what `slot` has in common with the run.
    fn share_prefix_with<K: Key, V: Clone>(&mut self, slot: u32, texts: &Texts<'_, K, V>) {
        if self.len == 0 {
            self.skip = 0;
        }
        if self.skip == 0 {
            return;
        }
        let same = common(self.shared(texts), texts.of(slot));
        if same < self.skip {
            self.skip_to(same, texts);
        }
    }

    /// Skips the longest prefix that all keys share, that of the first and the last, if numbers do not tell all keys
    /// apart as it is.
    pub fn adapt<K: Key, V: Clone>(&mut self, texts: &Texts<'_, K, V>) {
        if self.heads().is_sorted_by(|a, b| a < b) {
            return;
        }
        let same = if self.len > 1 { common(texts.of(self.first()), texts.of(self.last())) } else { 0 };
        if same != self.skip {
            self.skip_to(same, texts);
        }
    }

    /// Notes how many bytes are skipped, and which.
    fn share<K: Key, V: Clone>(&mut self, skip: usize, texts: &Texts<'_, K, V>) {
        self.skip = skip;
        let text = texts.of(self.first());
        self.shared = [0; SHARED];
        if let (Some(place), Some(text)) = (self.shared.get_mut(..skip), text.get(..skip)) {
            place.copy_from_slice(text);
        }
    }

    fn skip_to<K: Key, V: Clone>(&mut self, skip: usize, texts: &Texts<'_, K, V>) {
        self.share(skip, texts);
        for (head, slot) in self.heads.iter_mut().zip(&self.slots).take(self.len) {
            *head = texts.head(texts.of(*slot), skip);
        }
    }

    /// Exchanges the entry at a position, keeping the order.
    pub fn set<K: Key, V: Clone>(&mut self, at: usize, slot: u32, texts: &Texts<'_, K, V>) {
        if at >= self.len {
            return;
        }
        self.slots[at] = slot;
        if self.len == 1 {
            self.skip = 0;
        }
        // A long shared prefix is read from the first entry, which may be the new one.
        let probe = if at == 0 && self.skip > SHARED { self.last() } else { slot };
        self.share_prefix_with(probe, texts);
        self.heads[at] = texts.head(texts.of(slot), self.skip);
    }

    /// Exchanges every slot for another of the same text.
    pub fn renumber(&mut self, new: impl Fn(u32) -> u32) {
        for slot in self.slots.iter_mut().take(self.len) {
            *slot = new(*slot);
        }
    }

    pub fn remove(&mut self, at: usize) {
        if at < self.len {
            self.heads.copy_within(at + 1..self.len, at);
            self.slots.copy_within(at + 1..self.len, at);
            self.len -= 1;
        }
    }

    /// Moves everything from `at` on into a new run.
    pub fn split<K: Key, V: Clone>(&mut self, at: usize, texts: &Texts<'_, K, V>) -> Run {
        let mut right = Run::new();
        let at = at.min(self.len);
        right.len = self.len - at;
        (right.skip, right.shared) = (self.skip, self.shared);
        right.heads[..right.len].copy_from_slice(&self.heads[at..self.len]);
        right.slots[..right.len].copy_from_slice(&self.slots[at..self.len]);
        self.len = at;
        self.adapt(texts);
        right.adapt(texts);
        right
    }

    /// Appends a run whose keys are all greater; both together fit.
    pub fn absorb<K: Key, V: Clone>(&mut self, right: &Run, texts: &Texts<'_, K, V>) {
        let (from, len) = (self.len, self.len + right.len);
        if len > RUN {
            return;
        }
        self.slots[from..len].copy_from_slice(&right.slots[..right.len]);
        self.len = len;
        let same = if len > 1 { common(texts.of(self.first()), texts.of(self.last())) } else { 0 };
        self.skip_to(same, texts);
    }
}

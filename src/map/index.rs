// SPDX-License-Identifier: LGPL-2.1-or-later
//! Finds an entry by the hash of its key: open addressing with linear probing over words of (hash, slot), deletion by
//! shifting back, so there are no tombstones. It knows neither keys nor entries.

use crate::{Error, Result};

/// Word 0 is an empty place; otherwise the hash is in the upper half and slot + 1 in the lower.
pub(super) struct Index {
    words: Vec<u64>,
    used: usize,
}

const SMALLEST: usize = 64;
/// Up to here growing means four times as many words.
const QUICKLY_UP_TO: usize = 4096;
const NEVER_SHRINK_BELOW: usize = 1024;

impl Index {
    pub const fn new() -> Self {
        Index { words: Vec::new(), used: 0 }
    }

    /// Room for `n` slots from the beginning.
    pub fn with_room(n: usize) -> Result<Self> {
        let mut index = Self::new();
        index.resize((n + n / 2 + 1).next_power_of_two())?;
        Ok(index)
    }

    /// What `matches` says of the first slot with this hash of which it says something, and the place of its word; or
    /// the place for it.
    #[inline(always)]
    pub fn probe<T>(&self, hash: u32, mut matches: impl FnMut(u32) -> Option<T>) -> (Option<T>, usize) {
        let words = self.words.as_slice();
        let mask = words.len().wrapping_sub(1);
        let mut at = hash as usize & mask;
        loop {
            let Some(&word) = words.get(at) else { return (None, at) };
            if word == 0 {
                return (None, at);
            }
            if (word >> 32) as u32 == hash
                && let Some(found) = matches((word as u32).wrapping_sub(1))
            {
                return (Some(found), at);
            }
            at = (at + 1) & mask;
        }
    }

    /// Makes room for one more word, so that the next [`Index::insert`] cannot fail.
    #[inline]
    pub fn reserve(&mut self) -> Result<()> {
        // At most two thirds are used: probing stays short, and an empty word always ends it.
        if (self.used + 1) * 3 <= self.words.len() * 2 { Ok(()) } else { self.enlarge() }
    }

    #[cold]
    fn enlarge(&mut self) -> Result<()> {
        let factor = if self.words.len() <= QUICKLY_UP_TO { 4 } else { 2 };
        self.resize((self.words.len() * factor).max(SMALLEST))
    }

    fn resize(&mut self, size: usize) -> Result<()> {
        let mut bigger = Vec::new();
        bigger.try_reserve_exact(size).map_err(|_| Error::NoMemory)?;
        bigger.resize(size, 0);
        for word in std::mem::replace(&mut self.words, bigger) {
            if word != 0 {
                self.place(word);
            }
        }
        Ok(())
    }

    fn place(&mut self, word: u64) {
        let mask = self.words.len() - 1;
        let mut at = (word >> 32) as usize & mask;
        while self.words[at] != 0 {
            at = (at + 1) & mask;
        }
        self.words[at] = word;
    }

    /// Adds a slot at the place that [`Index::probe`] said; nothing was changed since.
    #[inline]
    pub fn insert_at(&mut self, place: usize, hash: u32, slot: u32) {
        if let Some(word) = self.words.get_mut(place) {
            *word = u64::from(hash) << 32 | (u64::from(slot) + 1);
            self.used += 1;
        }
    }

    /// Forgets a slot; nothing happens when it is not there.
    pub fn remove(&mut self, hash: u32, slot: u32) {
        if let (Some(_), place) = self.probe(hash, |s| (s == slot).then_some(())) {
            self.remove_at(place);
        }
    }

    /// Forgets the slot at the place that [`Index::probe`] said; nothing was changed since.
    #[inline]
    pub fn remove_at(&mut self, place: usize) {
        let words = self.words.as_mut_slice();
        let mask = words.len().wrapping_sub(1);
        // Words behind the hole move into it unless that would put them before their home.
        let (mut hole, mut at) = (place, place);
        loop {
            at = (at + 1) & mask;
            let word = words.get(at).copied().unwrap_or(0);
            if word == 0 {
                break;
            }
            let home = (word >> 32) as usize & mask;
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                if let Some(free) = words.get_mut(hole) {
                    *free = word;
                }
                hole = at;
            }
        }
        if let Some(free) = words.get_mut(hole) {
            *free = 0;
            self.used -= 1;
        }
        if self.used * 8 < self.words.len() && self.words.len() > NEVER_SHRINK_BELOW {
            self.shrink();
        }
    }

    /// Exchanges every slot for another.
    pub fn renumber(&mut self, new: impl Fn(u32) -> u32) {
        for word in self.words.iter_mut().filter(|w| **w != 0) {
            *word = *word >> 32 << 32 | (u64::from(new(*word as u32 - 1)) + 1);
        }
    }

    #[cold]
    fn shrink(&mut self) {
        // Shrinking is a convenience: without memory the table stays large.
        let _ = self.resize(self.words.len() / 4);
    }
}

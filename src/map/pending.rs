// SPDX-License-Identifier: LGPL-2.1-or-later
//! Entries that are in the map but not yet in its order: a list in order of insertion, chained through the entries.

use super::entries::{Entries, Link, NONE};
use super::key::Key;

pub(super) struct Pending {
    first: u32,
    last: u32,
    len: usize,
}

impl Pending {
    pub const fn new() -> Self {
        Pending { first: NONE, last: NONE, len: 0 }
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The last one, or NONE.
    #[inline]
    pub fn last(&self) -> u32 {
        self.last
    }

    /// Appends an entry, whose link says so, behind the last one.
    #[inline]
    pub fn push(&mut self, slot: u32, last: Option<&mut Link>) {
        match last {
            Some(link) => link.next = slot,
            None => self.first = slot,
        }
        self.last = slot;
        self.len += 1;
    }

    /// Takes out one of these.
    pub fn remove<K: Key, V: Clone>(&mut self, slot: u32, entries: &mut Entries<K, V>) {
        if let Some(link) = entries.link(slot) {
            self.join((link.prev, link.next), entries);
        }
    }

    /// Takes out the one between these two.
    #[inline(always)]
    pub fn join<K: Key, V: Clone>(&mut self, (prev, next): (u32, u32), entries: &mut Entries<K, V>) {
        match entries.link_mut(prev) {
            Some(before) => before.next = next,
            None => self.first = next,
        }
        match entries.link_mut(next) {
            Some(after) => after.prev = prev,
            None => self.last = prev,
        }
        self.len -= 1;
    }

    /// Forgets all of these and returns the first; the others follow through `next`.
    pub fn take(&mut self) -> u32 {
        std::mem::replace(self, Self::new()).first
    }
}

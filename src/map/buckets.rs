// SPDX-License-Identifier: LGPL-2.1-or-later
//! The order of the hashed map: a fixed number of buckets, in each the entries in order of insertion. Programs see this
//! order when they iterate, so its hash is part of the contract; looking up does not use it.

use super::entries::{Entries, NONE, State};
use super::key::Key;
use crate::{Error, Result};

/// 2^24 buckets; a larger request gets these.
const MOST_BITS: u32 = 24;
const LEAST_BITS: u32 = 3;

pub(super) struct Buckets {
    /// First and last entry, each plus one so that zeroed memory is an empty table.
    table: Vec<(u32, u32)>,
    bits: u32,
}

impl Buckets {
    /// As many buckets as the bit length of `expected` says: 8 for up to 7 entries, 64 for 32, 512 for 256.
    pub fn new(expected: usize) -> Result<Self> {
        let bits = (usize::BITS - expected.leading_zeros()).clamp(LEAST_BITS, MOST_BITS);
        let mut table = Vec::new();
        table.try_reserve_exact(1 << bits).map_err(|_| Error::NoMemory)?;
        table.resize(1 << bits, (0, 0));
        Ok(Buckets { table, bits })
    }

    pub fn clear(&mut self) {
        self.table.fill((0, 0));
    }

    /// 32-bit FNV-1a, folded to the table's size.
    pub fn bucket_of(&self, text: &[u8]) -> u32 {
        let hash = text.iter().fold(0x811c_9dc5_u32, |h, b| (h ^ u32::from(*b)).wrapping_mul(0x0100_0193));
        ((hash >> self.bits) ^ hash) & ((1 << self.bits) - 1)
    }

    /// Appends an entry to its bucket.
    pub fn insert<K: Key, V: Clone>(&mut self, slot: u32, entries: &mut Entries<K, V>) {
        let bucket = self.bucket_of(entries.text(slot));
        let Some((first, last)) = self.table.get_mut(bucket as usize) else { return };
        let prev = last.wrapping_sub(1);
        // Without a branch, which nobody could predict: the first entry of a bucket precedes itself for a moment.
        let before = if *last == 0 { slot } else { prev };
        *first = if *first == 0 { slot + 1 } else { *first };
        *last = slot + 1;
        if let Some(link) = entries.link_mut(before) {
            link.next = slot;
        }
        if let Some(link) = entries.link_mut(slot) {
            (link.bucket, link.prev, link.next) = (bucket, prev, NONE);
        }
    }

    pub fn remove<K: Key, V: Clone>(&mut self, slot: u32, entries: &mut Entries<K, V>) {
        let Some(link) = entries.link(slot) else { return };
        let (bucket, prev, next) = (link.bucket, link.prev, link.next);
        let Some((first, last)) = self.table.get_mut(bucket as usize) else { return };
        match entries.link_mut(prev) {
            Some(before) => before.next = next,
            None => *first = next.wrapping_add(1),
        }
        match entries.link_mut(next) {
            Some(after) => after.prev = prev,
            None => *last = prev.wrapping_add(1),
        }
    }

    /// The first live entry at or after a place, and the place behind it. The place before all is (0, [`NONE`]).
    #[inline]
    pub fn next<K: Key, V: Clone>(&self, place: (u32, u32), entries: &Entries<K, V>) -> (u32, (u32, u32)) {
        let (mut bucket, mut next) = place;
        loop {
            while let Some(link) = entries.link(next) {
                if link.state == State::Live {
                    return (next, (bucket, link.next));
                }
                next = link.next;
            }
            loop {
                let Some((first, _)) = self.table.get(bucket as usize) else { return (NONE, (bucket, NONE)) };
                bucket += 1;
                if *first != 0 {
                    next = first - 1;
                    break;
                }
            }
        }
    }

    /// Copies the entries from a place on, as many as fit, and moves the place behind them; all are live. How many
    /// there were. This reads no entry, and no link of one that is alone in its bucket.
    pub fn read<K: Key, V: Clone>(
        &self,
        place: &mut (u32, u32),
        entries: &Entries<K, V>,
        out: &mut [u32],
    ) -> usize {
        let (mut bucket, next) = *place;
        let mut n = 0;
        let chain = |n: &mut usize, out: &mut [u32], mut next: u32, last: u32| {
            while let Some(free) = out.get_mut(*n) {
                *free = next;
                *n += 1;
                if next == last {
                    return NONE;
                }
                next = entries.link(next).map_or(NONE, |l| l.next);
            }
            next
        };
        if next != NONE {
            let last =
                self.table.get((bucket as usize).wrapping_sub(1)).map_or(NONE, |b| b.1.wrapping_sub(1));
            place.1 = chain(&mut n, out, next, last);
            if place.1 != NONE {
                return n;
            }
        }
        for (first, last) in self.table.get(bucket as usize..).unwrap_or(&[]) {
            let Some(free) = out.get_mut(n) else { break };
            bucket += 1;
            // Without a branch: which buckets are empty cannot be predicted.
            *free = first.wrapping_sub(1);
            n += usize::from(*first != 0);
            if first != last {
                let next = entries.link(first - 1).map_or(NONE, |l| l.next);
                let rest = chain(&mut n, out, next, last - 1);
                if rest != NONE {
                    *place = (bucket, rest);
                    return n;
                }
            }
        }
        *place = (bucket, NONE);
        n
    }

    /// Every slot in order, held ones as well.
    pub fn walk<K: Key, V: Clone>(&self, entries: &Entries<K, V>, mut visit: impl FnMut(u32)) {
        for (first, last) in self.table.iter().filter(|(first, _)| *first != 0) {
            let mut slot = first - 1;
            visit(slot);
            while slot != last - 1 {
                let Some(link) = entries.link(slot) else { break };
                slot = link.next;
                visit(slot);
            }
        }
    }

    /// Exchanges every slot for another.
    pub fn renumber(&mut self, new: impl Fn(u32) -> u32) {
        for (first, last) in self.table.iter_mut().filter(|(first, _)| *first != 0) {
            (*first, *last) = (new(*first - 1) + 1, new(*last - 1) + 1);
        }
    }

    /// As [`Buckets::read`] when some entries are not live: they are left out.
    pub fn read_live<K: Key, V: Clone>(
        &self,
        place: &mut (u32, u32),
        entries: &Entries<K, V>,
        out: &mut [u32],
    ) -> usize {
        let mut n = 0;
        for free in out {
            (*free, *place) = self.next(*place, entries);
            if *free == NONE {
                break;
            }
            n += 1;
        }
        n
    }

    /// The place behind an entry.
    pub fn behind<K: Key, V: Clone>(&self, slot: u32, entries: &Entries<K, V>) -> (u32, u32) {
        entries.link(slot).map_or((0, NONE), |e| (e.bucket + 1, e.next))
    }
}

// SPDX-License-Identifier: LGPL-2.1-or-later
//! The part of an iterator that its map knows: the entry on which it stands, and the entries that it has read ahead.
//! The map closes it at every change.

use super::entries::{Entries, Entry, NONE};
use super::key::Key;
use std::cell::{Cell, Ref, RefCell};

/// How many entries are read ahead at most.
pub(super) const MANY: usize = 56;
const CLOSED: usize = usize::MAX;

/// A part of each iterator, of which maps keep one in reserve, so that iterating a little allocates nothing.
pub(super) struct Spot<H, V> {
    /// The next of `items`; the one before it is where the iterator stands. Or [`CLOSED`].
    at: Cell<usize>,
    /// While closed: the slot on which the iterator stands, or NONE.
    stands: Cell<u32>,
    /// The slot of the first item, when the others follow it one by one; otherwise NONE, and `slots` has them all.
    base: Cell<u32>,
    slots: [Cell<u32>; MANY],
    /// What was read ahead, up to the first empty place.
    items: [Cell<Option<(H, V)>>; MANY],
    prefix: RefCell<Vec<u8>>,
}

impl<H, V> Spot<H, V> {
    pub fn new() -> Self {
        Spot {
            at: Cell::new(CLOSED),
            stands: Cell::new(NONE),
            base: Cell::new(NONE),
            slots: [const { Cell::new(NONE) }; MANY],
            items: [const { Cell::new(None) }; MANY],
            prefix: RefCell::default(),
        }
    }

    /// Steps onto the next entry that was read ahead.
    #[inline(always)]
    pub fn take(&self) -> Option<(H, V)> {
        let at = self.at.get();
        let pair = self.items.get(at)?.take()?;
        self.at.set(at + 1);
        Some(pair)
    }

    /// The slot on which the iterator stands, or NONE.
    #[inline]
    pub fn position(&self) -> u32 {
        match self.at.get() {
            CLOSED => self.stands.get(),
            at => at.checked_sub(1).map_or(NONE, |at| self.slot_of(at)),
        }
    }

    /// The slot of an item.
    #[inline]
    fn slot_of(&self, at: usize) -> u32 {
        match self.base.get() {
            NONE => self.slots.get(at).map_or(NONE, Cell::get),
            base => base + at as u32,
        }
    }

    /// What was read ahead is no longer true.
    #[inline]
    pub fn close(&self) {
        self.stand_on(self.position());
    }

    /// Nothing was closed since the last reading.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.at.get() != CLOSED
    }

    #[inline]
    pub fn stand_on(&self, slot: u32) {
        self.stands.set(slot);
        self.at.set(CLOSED);
    }

    /// Drops what was read ahead; nothing is borrowed meanwhile.
    #[inline]
    pub fn forget_ahead(&self) {
        if std::mem::needs_drop::<(H, V)>() {
            for item in &self.items {
                drop(item.take());
            }
        }
    }

    #[inline]
    pub fn set_prefix(&self, prefix: &[u8]) {
        let mut own = self.prefix.borrow_mut();
        own.clear();
        own.extend_from_slice(prefix);
    }

    #[inline]
    pub fn prefix(&self) -> Ref<'_, Vec<u8>> {
        self.prefix.borrow()
    }

    /// Begins to read at most `wanted` entries ahead; nothing is left of those before.
    #[inline]
    pub fn filling(&self, wanted: usize) -> Filling<'_, H, V> {
        self.base.set(NONE);
        Filling { spot: self, len: 0, wanted: wanted.min(MANY) }
    }
}

/// Reads ahead.
pub(super) struct Filling<'a, H, V> {
    spot: &'a Spot<H, V>,
    len: usize,
    wanted: usize,
}

impl<H: Clone, V: Clone> Filling<'_, H, V> {
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub fn room(&self) -> usize {
        self.wanted - self.len
    }

    /// The slot of the last entry so far.
    pub fn last(&self) -> Option<u32> {
        self.len.checked_sub(1).map(|at| self.spot.slot_of(at))
    }

    /// The slots are to be written down from now on.
    fn write_down(&self) {
        let base = self.spot.base.replace(NONE);
        if base != NONE {
            for (slot, number) in self.spot.slots.iter().zip(base..).take(self.len) {
                slot.set(number);
            }
        }
    }

    /// Adds the entries with these slots, all used, as many as there is room for. In an arranged map they ascend.
    #[inline]
    pub fn add<K: Key<Handle = H>>(&mut self, slots: &[u32], entries: &Entries<K, V>, arranged: bool) {
        if let (true, [first, .., last]) = (arranged, slots)
            && (last - first) as usize == slots.len() - 1
        {
            self.add_from(*first, slots.len(), entries);
            return;
        }
        self.write_down();
        let free = self.len..self.wanted;
        let items = self.spot.items.get(free.clone()).unwrap_or(&[]);
        let numbers = self.spot.slots.get(free).unwrap_or(&[]);
        for ((item, number), slot) in items.iter().zip(numbers).zip(slots) {
            number.set(*slot);
            item.set(entries.get(*slot).and_then(Entry::pair));
        }
        self.len += slots.len().min(items.len());
    }

    /// Adds entries in the order of their slots, as many as there is room for among the next `most` slots, passing
    /// over free ones. The slot to go on with.
    #[inline]
    pub fn add_from<K: Key<Handle = H>>(&mut self, from: u32, most: usize, entries: &Entries<K, V>) -> u32 {
        let (mut next, end) = (from, from.saturating_add(most as u32));
        while next < end && self.room() > 0 {
            let piece = entries.consecutive(next, self.room().min((end - next) as usize));
            if piece.is_empty() {
                break;
            }
            self.add_piece(next, piece);
            next += piece.len() as u32;
        }
        next
    }

    /// Adds the used ones of entries for all of which there is room.
    #[inline]
    fn add_piece<K: Key<Handle = H>>(&mut self, from: u32, piece: &[Entry<K, V>]) {
        let all = self.len..self.len + piece.len();
        let items = self.spot.items.get(all.clone()).unwrap_or(&[]);
        let mut used = 0;
        // Nearly always all of them are used.
        for (item, entry) in items.iter().zip(piece) {
            let Some(pair) = entry.pair() else { break };
            item.set(Some(pair));
            used += 1;
        }
        if used == piece.len() && self.len == 0 {
            self.spot.base.set(from);
        } else if used < piece.len() || self.spot.base.get().wrapping_add(self.len as u32) != from {
            self.write_down();
            let slots = self.spot.slots.get(all).unwrap_or(&[]);
            for (slot, number) in slots.iter().zip(from..).take(used) {
                slot.set(number);
            }
            // The used ones move together.
            let mut places = items.iter().zip(slots).skip(used);
            for (entry, number) in piece.iter().zip(from..).skip(used) {
                if let Some(pair) = entry.pair()
                    && let Some((place, slot)) = places.next()
                {
                    place.set(Some(pair));
                    slot.set(number);
                    used += 1;
                }
            }
        }
        self.len += used;
    }

    /// Ends reading, and steps onto the first of the entries.
    #[inline]
    pub fn done(&self) -> Option<(H, V)> {
        if let Some(behind) = self.spot.items.get(self.len) {
            behind.set(None);
        }
        if self.len == 0 {
            self.spot.stand_on(NONE);
            return None;
        }
        self.spot.at.set(0);
        self.spot.take()
    }
}

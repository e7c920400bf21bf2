// SPDX-License-Identifier: LGPL-2.1-or-later
//! The entries of a map in one growing vector; everything else names them by slot number. Slots are reused, so a number
//! is kept only by what is told when the entry goes: the index, the order, and iterators (through the map).

use super::arena::Arena;
use super::key::{Digest, Key, Query, SHORT};
use crate::{Error, Result};

/// No slot.
pub(super) const NONE: u32 = u32::MAX;
/// The bucket of an entry that is not in the order yet.
pub(super) const UNSORTED: u32 = u32::MAX;
/// Entries per piece of memory: 12 KiB when keys and values are pointers.
const PIECE: usize = 256;
/// A length that says: the text is elsewhere.
const LONG: u8 = u8::MAX;

/// Where an entry is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Free,
    Live,
    /// Removed while an iterator stands on it; announced when the last one moves on.
    Held,
    /// Removed, and its notifiers are running.
    Leaving,
}

/// One entry: 48 bytes when key and value are pointers.
pub(super) struct Entry<K, V> {
    pair: Option<(K, V)>,
    /// The text of a key of at most 16 bytes, zero-padded.
    raw: [u8; SHORT],
    /// Neighbours in the bucket or among the pending entries; `next` also chains free slots.
    pub prev: u32,
    pub next: u32,
    /// Number of the bucket, or [`UNSORTED`]. Any other number in maps without buckets.
    pub bucket: u32,
    len: u8,
    pub state: State,
}

/// All entries of one map.
pub(super) struct Entries<K, V> {
    all: Arena<Entry<K, V>, PIECE, 32>,
    /// Texts of long keys, by slot, when the map keeps copies.
    copies: Vec<Box<[u8]>>,
    copy_keys: bool,
    free: u32,
}

impl<K: Key, V: Clone> Entries<K, V> {
    pub fn new(copy_keys: bool) -> Self {
        Entries { all: Arena::new(), copies: Vec::new(), copy_keys, free: NONE }
    }

    /// Room for one more entry, so that [`Entries::add`] cannot fail.
    pub fn reserve(&mut self, text_len: usize) -> Result<()> {
        if self.free == NONE {
            // The two highest numbers mean other things.
            if self.all.len() >= NONE as usize - 1 {
                return Err(Error::NoMemory);
            }
            self.all.reserve(1)?;
        }
        if self.copy_keys && text_len > SHORT {
            let want = self.all.len() + 1;
            if self.copies.len() < want {
                self.copies.try_reserve(want - self.copies.len()).map_err(|_| Error::NoMemory)?;
            }
        }
        Ok(())
    }

    /// Stores a pair in the lowest-cost free slot.
    pub fn add(&mut self, key: K, value: V, digest: &Digest, copy: Option<Box<[u8]>>) -> u32 {
        let len = if digest.len <= SHORT { digest.len as u8 } else { LONG };
        let raw = digest.raw.to_le_bytes();
        let entry = Entry {
            pair: Some((key, value)),
            raw,
            prev: NONE,
            next: NONE,
            bucket: 0,
            len,
            state: State::Live,
        };
        let slot = self.free;
        let slot = match self.all.get_mut(slot) {
            Some(place) => {
                self.free = place.next;
                *place = entry;
                slot
            }
            None => self.all.push(entry),
        };
        if let Some(text) = copy {
            let at = slot as usize;
            if self.copies.len() <= at {
                self.copies.resize_with(at + 1, Box::default);
            }
            self.copies[at] = text;
        }
        slot
    }

    /// The copy that this map needs of a long key's text.
    pub fn copy_of(&self, key: &K, len: usize) -> Result<Option<Box<[u8]>>> {
        if !self.copy_keys || len <= SHORT {
            return Ok(None);
        }
        let text = key.bytes();
        let mut copy = Vec::new();
        copy.try_reserve_exact(text.len()).map_err(|_| Error::NoMemory)?;
        copy.extend_from_slice(text);
        Ok(Some(copy.into_boxed_slice()))
    }

    /// Frees a slot and hands back what was in it.
    pub fn release(&mut self, slot: u32) -> Option<(K, V)> {
        let free = self.free;
        let entry = self.all.get_mut(slot)?;
        if entry.state == State::Free {
            return None;
        }
        entry.state = State::Free;
        entry.next = free;
        self.free = slot;
        if let Some(copy) = self.copies.get_mut(slot as usize) {
            *copy = Box::default();
        }
        entry.pair.take()
    }

    #[inline]
    pub fn get(&self, slot: u32) -> Option<&Entry<K, V>> {
        self.all.get(slot)
    }

    #[inline]
    pub fn get_mut(&mut self, slot: u32) -> Option<&mut Entry<K, V>> {
        self.all.get_mut(slot)
    }

    pub fn state(&self, slot: u32) -> State {
        self.get(slot).map_or(State::Free, |e| e.state)
    }

    /// Whether the entry's key is the one asked for.
    #[inline]
    pub fn is(&self, slot: u32, query: &Query<'_>) -> bool {
        match self.get(slot) {
            // Both sides are padded with zeros, so the length must be compared as well.
            Some(e) if e.len != LONG => {
                u128::from_le_bytes(e.raw) == query.raw && usize::from(e.len) == query.bytes.len()
            }
            Some(_) => self.text(slot) == query.bytes,
            None => false,
        }
    }

    /// The text of an entry's key.
    #[inline]
    pub fn text(&self, slot: u32) -> &[u8] {
        match self.get(slot) {
            Some(e) if e.len != LONG => e.raw.get(..usize::from(e.len)).unwrap_or(&[]),
            Some(_) if self.copy_keys => self.copies.get(slot as usize).map_or(&[], |c| c),
            Some(Entry { pair: Some((key, _)), .. }) => key.bytes(),
            _ => &[],
        }
    }
}

impl<K: Key, V: Clone> Entry<K, V> {
    #[inline]
    pub fn value(&self) -> Option<V> {
        self.pair.as_ref().map(|(_, v)| v.clone())
    }

    #[inline]
    pub fn pair(&self) -> Option<(K::Handle, V)> {
        self.pair.as_ref().map(|(k, v)| (k.handle(), v.clone()))
    }

    /// Exchanges key and value, as replacing does.
    pub fn replace(&mut self, key: K, value: V) -> Option<(K, V)> {
        self.pair.replace((key, value))
    }
}

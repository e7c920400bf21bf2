// SPDX-License-Identifier: LGPL-2.1-or-later
//! The entries of a map in one growing vector; everything else names them by slot number. Slots are reused, so a number
//! is kept only by what is told when the entry goes: the index, the order, and iterators (through the map).

use super::arena::Arena;
use super::key::{Digest, Key, LONG, Query, SHORT, words};
use super::pending::Pending;
use crate::{Error, Result};

/// No slot.
pub(super) const NONE: u32 = u32::MAX;
/// The bucket of an entry that is not in the order yet.
pub(super) const UNSORTED: u32 = u32::MAX;
/// Entries per piece of memory: 8 KiB when keys and values are pointers.
const PIECE: usize = 256;
/// For so many there is memory at first. It doubles up to 224, nearly a piece.
const FIRST: usize = 28;

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

/// What is needed to look up: 32 bytes, in one cache line, when key and value are pointers.
#[repr(align(32))]
pub(super) struct Entry<K, V> {
    pair: Option<(K, V)>,
    /// A short key's text, or what stands for a long one: see [`Query`].
    raw: [u8; SHORT + 1],
}

/// What is needed to change the map or to iterate.
pub(super) struct Link {
    /// Neighbours in the bucket or among the pending entries; `next` also chains free slots.
    pub prev: u32,
    pub next: u32,
    /// Number of the bucket, or [`UNSORTED`]. Any other number in maps without buckets.
    pub bucket: u32,
    pub state: State,
}

/// The first bytes of a prefix as an entry has them.
pub(super) struct Head {
    bytes: u128,
    mask: u128,
}

impl Head {
    #[inline]
    pub fn of(prefix: &[u8]) -> Self {
        let start = prefix.get(..SHORT).unwrap_or(prefix);
        let [a, b] = words(start);
        Head { bytes: u128::from(a) | u128::from(b) << 64, mask: (1 << (8 * start.len())) - 1 }
    }
}

/// All entries of one map.
pub(super) struct Entries<K, V> {
    all: Arena<Entry<K, V>, PIECE, FIRST>,
    links: Arena<Link, PIECE, FIRST>,
    /// Texts of long keys, by slot, when the map keeps copies.
    copies: Vec<Box<[u8]>>,
    copy_keys: bool,
    free: u32,
    /// How many are [`State::Held`] or [`State::Leaving`].
    fading: usize,
}

impl<K: Key, V: Clone> Entries<K, V> {
    pub fn new(copy_keys: bool) -> Self {
        Entries {
            all: Arena::new(),
            links: Arena::new(),
            copies: Vec::new(),
            copy_keys,
            free: NONE,
            fading: 0,
        }
    }

    /// Room for as many entries as are expected, or one piece of memory.
    pub fn expect(&mut self, expected: usize) -> Result<()> {
        let n = expected.clamp(1, PIECE);
        self.all.reserve(n)?;
        self.links.reserve(n)
    }

    /// Room for one more entry, so that [`Entries::add`] cannot fail.
    #[inline]
    pub fn reserve(&mut self, text_len: usize) -> Result<()> {
        if self.free == NONE {
            // The two highest numbers mean other things.
            if self.all.len() >= NONE as usize - 1 {
                return Err(Error::NoMemory);
            }
            self.all.reserve(1)?;
            self.links.reserve(1)?;
        }
        if self.copy_keys && text_len > SHORT {
            self.make_room_for_copies(self.all.len() + 1)
        } else {
            Ok(())
        }
    }

    #[inline(never)]
    fn make_room_for_copies(&mut self, want: usize) -> Result<()> {
        let more = want.saturating_sub(self.copies.len());
        self.copies.try_reserve(more).map_err(|_| Error::NoMemory)
    }

    /// Before [`Entries::permute`].
    pub fn reserve_copies(&mut self, slots: usize) -> Result<()> {
        if self.copies.is_empty() { Ok(()) } else { self.make_room_for_copies(slots) }
    }

    /// Stores a pair in a free slot, and appends that to the pending ones.
    #[inline(always)]
    pub fn add(
        &mut self,
        key: K,
        value: V,
        digest: &Digest,
        copy: Option<Box<[u8]>>,
        pending: &mut Pending,
    ) -> u32 {
        let entry = Entry { pair: Some((key, value)), raw: digest.raw.to_le_bytes() };
        let prev = pending.last();
        let link = Link { prev, next: NONE, bucket: UNSORTED, state: State::Live };
        let slot = if self.free == NONE {
            self.links.push(link);
            self.all.push(entry)
        } else {
            self.refill(entry, link)
        };
        pending.push(slot, self.link_mut(prev));
        if let Some(text) = copy {
            let at = slot as usize;
            if self.copies.len() <= at {
                self.copies.resize_with(at + 1, Box::default);
            }
            self.copies[at] = text;
        }
        slot
    }

    /// Stores an entry in a slot that was used before.
    #[inline]
    fn refill(&mut self, entry: Entry<K, V>, link: Link) -> u32 {
        let slot = self.free;
        if let (Some(old), Some(old_link)) = (self.all.get_mut(slot), self.links.get_mut(slot)) {
            self.free = old_link.next;
            (*old, *old_link) = (entry, link);
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

    /// If an entry is live and not in the order yet, frees its slot; its neighbours among the pending ones. What was
    /// in it is still to be taken with [`Entries::empty`].
    #[inline(always)]
    pub fn release_pending(&mut self, slot: u32) -> Option<(u32, u32)> {
        let link = self.links.get_mut(slot)?;
        if link.state != State::Live || link.bucket != UNSORTED {
            return None;
        }
        link.state = State::Free;
        Some((link.prev, std::mem::replace(&mut link.next, std::mem::replace(&mut self.free, slot))))
    }

    /// Hands back what was in a slot that was freed.
    #[inline(always)]
    pub fn empty(&mut self, slot: u32) -> Option<(K, V)> {
        if let Some(copy) = self.copies.get_mut(slot as usize) {
            *copy = Box::default();
        }
        self.all.get_mut(slot)?.pair.take()
    }

    /// Frees a slot, if it is not free yet. What was in it is still to be taken with [`Entries::empty`].
    #[inline]
    pub fn free(&mut self, slot: u32) -> bool {
        let Some(link) = self.links.get_mut(slot).filter(|l| l.state != State::Free) else { return false };
        self.fading -= usize::from(link.state != State::Live);
        link.state = State::Free;
        link.next = std::mem::replace(&mut self.free, slot);
        true
    }

    /// Frees a slot and hands back what was in it.
    #[inline]
    pub fn release(&mut self, slot: u32) -> Option<(K, V)> {
        if self.free(slot) { self.empty(slot) } else { None }
    }

    #[inline]
    pub fn get(&self, slot: u32) -> Option<&Entry<K, V>> {
        self.all.get(slot)
    }

    #[inline]
    pub fn get_mut(&mut self, slot: u32) -> Option<&mut Entry<K, V>> {
        self.all.get_mut(slot)
    }

    #[inline]
    pub fn link(&self, slot: u32) -> Option<&Link> {
        self.links.get(slot)
    }

    #[inline]
    pub fn link_mut(&mut self, slot: u32) -> Option<&mut Link> {
        self.links.get_mut(slot)
    }

    #[inline]
    pub fn state(&self, slot: u32) -> State {
        self.link(slot).map_or(State::Free, |l| l.state)
    }

    /// Makes an entry held or leaving.
    pub fn fade(&mut self, slot: u32, state: State) {
        if let Some(link) = self.links.get_mut(slot) {
            self.fading += usize::from(link.state == State::Live);
            link.state = state;
        }
    }

    /// How many entries are still there but no longer live.
    #[inline]
    pub fn fading(&self) -> usize {
        self.fading
    }

    /// How many slots there are, used or free.
    #[inline]
    pub fn slots(&self) -> usize {
        self.all.len()
    }

    /// Entries in the order of their slots, as [`Arena::consecutive`] finds them.
    #[inline]
    pub fn consecutive(&self, slot: u32, n: usize) -> &[Entry<K, V>] {
        self.all.consecutive(slot, n)
    }

    /// Moves every entry to the slot that `rank` has for its old one. `rank` has every slot once, the `used` ones
    /// first. Afterwards it is of no use.
    pub fn permute(&mut self, rank: &mut [u32], used: u32) {
        if !self.copies.is_empty() {
            // There is room: see `reserve_copies`.
            self.copies.resize_with(rank.len(), Box::default);
        }
        for link in self.links.iter_mut() {
            let new = |slot: u32| rank.get(slot as usize).copied().unwrap_or(NONE);
            (link.prev, link.next) = (new(link.prev), new(link.next));
        }
        for at in 0..rank.len() {
            // Each turn brings one entry to its place.
            while let Some(&to) = rank.get(at).filter(|to| **to as usize != at) {
                self.all.swap(at as u32, to);
                self.links.swap(at as u32, to);
                if !self.copies.is_empty() {
                    self.copies.swap(at, to as usize);
                }
                rank.swap(at, to as usize);
            }
        }
        self.free = NONE;
        for slot in (used..rank.len() as u32).rev() {
            if let Some(link) = self.links.get_mut(slot) {
                link.next = std::mem::replace(&mut self.free, slot);
            }
        }
    }

    /// The entry, if its key is the short one asked for.
    #[inline(always)]
    pub fn short(&self, slot: u32, query: &Query<'_>) -> Option<&Entry<K, V>> {
        self.get(slot).filter(|e| u128::from_le_bytes(e.raw) == query.raw)
    }

    /// Whether the entry's key is the one asked for.
    #[inline(always)]
    pub fn is(&self, slot: u32, query: &Query<'_>) -> bool {
        match self.get(slot) {
            Some(e) if u128::from_le_bytes(e.raw) == query.raw => {
                query.bytes.len() <= SHORT || self.is_text(slot, query.bytes)
            }
            _ => false,
        }
    }

    #[inline(never)]
    fn is_text(&self, slot: u32, text: &[u8]) -> bool {
        self.text(slot) == text
    }

    /// Whether an entry's key starts with a prefix, with the [`Head`] of it.
    #[inline]
    pub fn starts_with(&self, slot: u32, prefix: &[u8], head: &Head) -> bool {
        match self.get(slot) {
            Some(e) if e.raw[SHORT] != LONG && prefix.len() <= SHORT => {
                (u128::from_le_bytes(e.raw) ^ head.bytes) & head.mask == 0
                    && prefix.len() <= usize::from(e.raw[SHORT])
            }
            _ => self.text(slot).starts_with(prefix),
        }
    }

    /// The text of an entry's key.
    #[inline]
    pub fn text(&self, slot: u32) -> &[u8] {
        match self.get(slot) {
            Some(e) if e.raw[SHORT] != LONG => e.raw.get(..usize::from(e.raw[SHORT])).unwrap_or(&[]),
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

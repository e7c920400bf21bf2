// SPDX-License-Identifier: LGPL-2.1-or-later
//! Maps from text to anything, in three kinds that differ in the order of iteration and in notifications; iterators
//! stay valid whatever happens to the map, and callbacks may use it. It touches its own allocations only.
//!
//! | kind | order of iteration | notifiers are attached to |
//! |---|---|---|
//! | [`Kind::Hashed`] | buckets of a fixed table | the map, or an entry while it exists |
//! | [`Kind::Sorted`] | bytes as unsigned numbers | the map, or an entry while it exists |
//! | [`Kind::Prefixed`] | bytes as signed numbers, a key before its extensions | the map, or any prefix of keys |
//!
//! All kinds find keys through one seeded hash `index`. The order is a separate structure (`buckets` or `tree`)
//! over the same `entries`, brought up to date when somebody iterates. A map belongs to one thread at a time.
//!
//! An entry that is removed while an iterator stands on it stays until the last such iterator moves on; only then are
//! `Deleted` and `Free` delivered. It is no longer counted, and except in sorted maps [`Map::get`] still finds it.
#![forbid(unsafe_code)]

mod arena;
mod arrange;
mod buckets;
mod entries;
mod index;
mod inner;
mod iter;
mod key;
mod notify;
mod pending;
mod run;
mod spot;
#[cfg(test)]
mod tests;
mod tree;

pub use iter::{Iter, Walk};
pub use key::Key;
pub use notify::{Event, Mask, Notifier};

use crate::{Error, Result};
use buckets::Buckets;
use entries::{Entries, NONE, State};
use index::Index;
use inner::{Inner, Order, tell};
use key::{Collation, Seeds};
use notify::{Notifiers, Target, deliver};
use pending::Pending;
use std::cell::RefCell;
use std::rc::Rc;
use tree::Tree;

/// A hashed map starts with an index for at most so many entries.
const ROOM_AT_ONCE: usize = 1 << 20;

/// What kind of map: see the table of this module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `qb_hashtable_create()`
    Hashed,
    /// `qb_skiplist_create()`
    Sorted,
    /// `qb_trie_create()`
    Prefixed,
}

/// A map, see the module's page. Values and key handles are handed out as clones: use pointers or `Rc`.
pub struct Map<K: Key, V: Clone, N: Notifier<K::Handle, V> = ()> {
    inner: Rc<RefCell<Inner<K, V, N>>>,
}

impl<K: Key, V: Clone, N: Notifier<K::Handle, V>> Map<K, V, N> {
    fn new(kind: Kind, order: Order, copy_keys: bool) -> Self {
        let inner = Inner {
            kind,
            entries: Entries::new(copy_keys),
            index: Index::new(),
            order,
            pending: Pending::new(),
            seeds: Seeds::new(),
            count: 0,
            new: 0,
            browsed: 0,
            walks: Vec::new(),
            spare: None,
            closed: false,
            anchors: Vec::new(),
            held: 0,
            notifiers: Notifiers::new(),
        };
        Map { inner: Rc::new(RefCell::new(inner)) }
    }

    /// A hashed map. `expected` entries fix the number of buckets, and so the order of iteration; any number may
    /// follow without slowing the map down.
    ///
    /// # Errors
    /// [`Error::NoMemory`].
    pub fn hashed(expected: usize) -> Result<Self> {
        let map = Self::new(Kind::Hashed, Order::Buckets(Buckets::new(expected)?), false);
        let mut inner = map.inner.borrow_mut();
        inner.index = Index::with_room(expected.clamp(8, ROOM_AT_ONCE))?;
        inner.entries.expect(expected)?;
        drop(inner);
        Ok(map)
    }

    /// A map sorted by bytes.
    #[must_use]
    pub fn sorted() -> Self {
        Self::new(Kind::Sorted, Order::Tree(Tree::new(), Collation(0)), false)
    }

    /// A map with notifiers and iterators on prefixes. It keeps copies of the texts, so what [`Key::bytes`] lends
    /// is read during [`Map::put`] only.
    #[must_use]
    pub fn prefixed() -> Self {
        Self::new(Kind::Prefixed, Order::Tree(Tree::new(), Collation(0x80)), true)
    }

    /// What was created.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.inner.borrow().kind
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.borrow().count
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a key.
    #[must_use]
    #[inline]
    pub fn get(&self, key: &[u8]) -> Option<V> {
        self.inner.borrow().value(key)
    }

    /// Stores a value. An existing entry gets the new key as well, and `Replaced` goes to its notifiers; otherwise
    /// `Inserted` is delivered: in sorted maps before the entry can be found, in the others after.
    ///
    /// # Errors
    /// [`Error::NoMemory`]; the map is unchanged.
    pub fn put(&self, key: K, value: V) -> Result<()> {
        let mut inner = self.inner.borrow_mut();
        if inner.notifiers.is_empty() {
            inner.index.reserve()?;
            if let Some(query) = inner.seeds.short_query(key.bytes()) {
                match inner.probe_short(&query) {
                    (None, place) => {
                        let digest = query.digest();
                        return inner.insert_short(key, value, &digest, place);
                    }
                    (Some(slot), _) if inner.entries.state(slot) == State::Live => {
                        return self.replace(inner, slot, key, value);
                    }
                    _ => {}
                }
            }
        }
        drop(inner);
        self.put_any(key, value)
    }

    /// As [`Map::put`], for long keys as well, and when somebody is to be told.
    #[inline(never)]
    fn put_any(&self, key: K, value: V) -> Result<()> {
        let mut inner = self.inner.borrow_mut();
        let (found, place, digest) = inner.look(&key)?;
        if let Some(slot) = found
            && inner.entries.state(slot) == State::Live
        {
            return self.replace(inner, slot, key, value);
        }
        if inner.notifiers.is_empty() {
            return inner.insert(key, value, digest, found, place).map(|_| ());
        }
        let (kind, handle) = (inner.kind, key.handle());
        if kind == Kind::Sorted {
            let notices = inner.notifiers.interested(kind, None, key.bytes(), Event::Inserted);
            drop(inner);
            deliver(&notices, kind, Event::Inserted, &handle, None, Some(&value));
            let mut inner = self.inner.borrow_mut();
            // The callback may have put the same key.
            return match inner.look(&key)? {
                (Some(slot), ..) => self.replace(inner, slot, key, value),
                (None, place, digest) => inner.insert(key, value, digest, None, place).map(|_| ()),
            };
        }
        let slot = inner.insert(key, value.clone(), digest, found, place)?;
        let notices = inner.notifiers.interested(kind, Some(slot), inner.entries.text(slot), Event::Inserted);
        drop(inner);
        deliver(&notices, kind, Event::Inserted, &handle, None, Some(&value));
        Ok(())
    }

    fn replace(
        &self,
        mut inner: std::cell::RefMut<'_, Inner<K, V, N>>,
        slot: u32,
        key: K,
        value: V,
    ) -> Result<()> {
        inner.changed();
        let new = (!inner.notifiers.is_empty()).then(|| value.clone());
        let Some((old_key, old)) = inner.entries.get_mut(slot).and_then(|e| e.replace(key, value)) else {
            return Ok(());
        };
        if new.is_none() {
            drop(inner);
            // The old pair is dropped with nothing borrowed: its destructors may use the map.
            drop((old_key, old));
            return Ok(());
        }
        let kind = inner.kind;
        let notices = inner.notifiers.interested(kind, Some(slot), inner.entries.text(slot), Event::Replaced);
        drop(inner);
        deliver(&notices, kind, Event::Replaced, &old_key.handle(), Some(&old), new.as_ref());
        Ok(())
    }

    /// Removes an entry; whether there was one. `Deleted` and `Free` are delivered before the return, or, if an
    /// iterator stands on the entry, when it moves on.
    pub fn remove(&self, key: &[u8]) -> bool {
        let mut inner = self.inner.borrow_mut();
        if inner.walks.is_empty()
            && inner.notifiers.is_empty()
            && let Some(query) = inner.seeds.short_query(key)
        {
            let (Some(slot), place) = inner.probe_short(&query) else { return false };
            let gone = inner.take(slot, place);
            drop(inner);
            return gone.is_some();
        }
        drop(inner);
        self.remove_any(key)
    }

    /// As [`Map::remove`], for long keys as well, and when somebody watches.
    #[inline(never)]
    fn remove_any(&self, key: &[u8]) -> bool {
        let mut inner = self.inner.borrow_mut();
        let query = inner.seeds.query(key);
        let (Some(slot), place) = inner.probe(&query) else { return false };
        if inner.entries.state(slot) != State::Live {
            return false;
        }
        if inner.walks.is_empty() && inner.notifiers.is_empty() {
            let gone = inner.take(slot, place);
            drop(inner);
            drop(gone);
            return true;
        }
        if inner.hold_or_unlink(slot, &query) {
            return true;
        }
        let announcement = inner.announce(slot);
        if announcement.is_none() {
            inner.count -= 1;
            let gone = inner.bury(slot, query.hash);
            drop(inner);
            drop(gone);
            return true;
        }
        let (kind, hash) = (inner.kind, query.hash);
        drop(inner);
        tell(announcement, kind);
        let mut inner = self.inner.borrow_mut();
        let gone = inner.bury(slot, hash);
        if gone.is_some() {
            inner.count = inner.count.saturating_sub(1);
        }
        drop(inner);
        drop(gone);
        true
    }

    /// An iterator over all entries. It stands before the first; what is there counts when it moves.
    #[must_use]
    #[inline]
    pub fn iter(&self) -> Iter<K, V, N> {
        Iter::new(&self.inner, None)
    }

    /// An iterator over the keys that start with `prefix`. Hashed and sorted maps ignore the prefix.
    #[must_use]
    #[inline]
    pub fn iter_prefix(&self, prefix: &[u8]) -> Iter<K, V, N> {
        Iter::new(&self.inner, Some(prefix))
    }

    /// An iterator that is at its end.
    #[must_use]
    pub fn iter_none(&self) -> Iter<K, V, N> {
        let iter = self.iter();
        iter.end();
        iter
    }

    /// Adds a notifier for the whole map (None) or a key.
    ///
    /// # Errors
    /// [`Error::Invalid`]: [`Event::Free`] with a key. [`Error::Exists`]: an equal one is there; with `Free`, one of
    /// the same mask. [`Error::NotFound`]: no such entry (prefixed maps need none). [`Error::NoMemory`].
    pub fn notify_add(&self, key: Option<&[u8]>, notifier: N, mask: Mask) -> Result<()> {
        let mut inner = self.inner.borrow_mut();
        let Some(text) = key else {
            return inner.notifiers.add(Target::Map, notifier, mask);
        };
        if mask.0 & Event::Free as u32 != 0 {
            return Err(Error::Invalid);
        }
        let target = inner.target(text).ok_or(Error::NotFound)?;
        inner.notifiers.add(target, notifier, mask)
    }

    /// Deletes all notifiers for a key (None: for the whole map) that have this mask and for which `same` holds. A
    /// notifier may delete itself or others while notifiers run; deleted ones are not called any more.
    ///
    /// # Errors
    /// [`Error::NotFound`]: there was none.
    pub fn notify_del(&self, key: Option<&[u8]>, mask: Mask, same: impl Fn(&N) -> bool) -> Result<()> {
        let mut inner = self.inner.borrow_mut();
        let target = match key {
            None => Target::Map,
            Some(text) => inner.target(text).ok_or(Error::NotFound)?,
        };
        inner.notifiers.delete(target, mask, same)
    }

    /// Removes every entry in the order of iteration, with notifications, also those that iterators hold. To notifiers, a hashed map
    /// counts the entry that is leaving and those behind it; other maps count as before until all are gone.
    pub fn clear(&self) {
        let budget = self.len() + self.inner.borrow().held;
        let mut from = 0;
        for _ in 0..budget {
            let mut inner = self.inner.borrow_mut();
            if inner.notifiers.is_empty() {
                break;
            }
            let Some(slot) = inner.any_slot(&mut from) else { break };
            let hash = inner.seeds.query(inner.entries.text(slot)).hash;
            let counted = inner.entries.state(slot) == State::Live;
            if counted {
                inner.unlink(slot);
            } else {
                inner.drop_held(slot);
            }
            inner.changed();
            for walk in inner.walks.iter().filter(|w| w.spot.position() == slot) {
                walk.spot.stand_on(NONE);
            }
            let (announcement, kind) = (inner.announce(slot), inner.kind);
            drop(inner);
            tell(announcement, kind);
            let mut inner = self.inner.borrow_mut();
            let gone = inner.bury(slot, hash);
            if counted && gone.is_some() && kind == Kind::Hashed {
                inner.count = inner.count.saturating_sub(1);
            }
            drop(inner);
            drop(gone);
        }
        // What is left nobody watches.
        let mut inner = self.inner.borrow_mut();
        let copy_keys = inner.kind == Kind::Prefixed;
        let old = std::mem::replace(&mut inner.entries, Entries::new(copy_keys));
        inner.index = Index::new();
        inner.pending = Pending::new();
        match &mut inner.order {
            Order::Buckets(buckets) => buckets.clear(),
            Order::Tree(tree, _) => *tree = Tree::new(),
        }
        (inner.count, inner.new) = (0, 0);
        inner.held = 0;
        inner.anchors.clear();
        inner.changed();
        for walk in &inner.walks {
            walk.spot.stand_on(NONE);
        }
        drop(inner);
        drop(old);
    }
}

impl<K: Key, V: Clone, N: Notifier<K::Handle, V>> Drop for Map<K, V, N> {
    /// As [`Map::clear`]. Iterators that outlive the map end.
    fn drop(&mut self) {
        self.clear();
        let mut inner = self.inner.borrow_mut();
        inner.closed = true;
        let spare = inner.spare.take();
        drop(inner);
        drop(spare);
    }
}

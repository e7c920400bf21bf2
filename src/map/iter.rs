// SPDX-License-Identifier: LGPL-2.1-or-later
//! Iterators that survive any change of their map. The map knows on which entry each one stands, and keeps a removed
//! entry until the iterators on it have moved on.

use super::entries::{NONE, State};
use super::key::Key;
use super::notify::Notifier;
use super::run::Texts;
use super::tree::Place;
use super::{Inner, Kind, Order, tell};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// A position that belongs to no iterator.
const UNUSED: u32 = NONE - 1;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Fresh,
    Running,
    Ended,
}

/// A position in a map. Entries added ahead of it are seen, removed ones are not; the current entry may be removed.
pub struct Iter<K: Key, V: Clone, N: Notifier<K::Handle, V>> {
    inner: Rc<RefCell<Inner<K, V, N>>>,
    /// Which of the map's positions is ours.
    id: usize,
    prefix: Option<Box<[u8]>>,
    stage: Cell<Stage>,
    /// Our place in the tree, as of a version of the map.
    place: Cell<Place>,
    version: Cell<u64>,
}

impl<K: Key, V: Clone, N: Notifier<K::Handle, V>> Iter<K, V, N> {
    pub(super) fn new(inner: Rc<RefCell<Inner<K, V, N>>>, prefix: Option<&[u8]>) -> Self {
        let mut map = inner.borrow_mut();
        let prefix = prefix.filter(|p| map.kind == Kind::Prefixed && !p.is_empty()).map(Box::from);
        let id = map.positions.iter().position(|p| p.get() == UNUSED);
        let id = match id.and_then(|id| map.positions.get(id).map(|p| (id, p))) {
            Some((id, position)) => {
                position.set(NONE);
                id
            }
            None => {
                map.positions.push(Cell::new(NONE));
                map.positions.len() - 1
            }
        };
        drop(map);
        let (stage, place) = (Cell::new(Stage::Fresh), Cell::new(Place::NOWHERE));
        Iter { inner, id, prefix, stage, place, version: Cell::new(0) }
    }

    /// Moves on and returns the next entry, None at the end and ever after. If the entry left behind was removed in
    /// the meantime, its `Deleted` is delivered now.
    #[inline]
    pub fn advance(&self) -> Option<(K::Handle, V)> {
        let map = self.inner.borrow();
        let position = map.positions.get(self.id)?;
        let current = position.get();
        let slot = match &map.order {
            Order::Buckets(buckets) => match self.stage.get() {
                Stage::Ended => NONE,
                Stage::Running if current == NONE => NONE,
                _ => buckets.after(current, &map.entries),
            },
            Order::Tree(tree, _) => {
                let place = if self.version.get() == map.version && self.stage.get() == Stage::Running {
                    tree.next(self.place.get())
                } else {
                    self.find_place(&map, current)
                };
                self.place.set(place);
                self.version.set(map.version);
                tree.slot(place)
            }
        };
        let slot = match &self.prefix {
            Some(prefix) if slot != NONE && !map.entries.text(slot).starts_with(prefix) => NONE,
            _ => slot,
        };
        position.set(slot);
        self.stage.set(if slot == NONE { Stage::Ended } else { Stage::Running });
        if map.held > 0 && current != NONE {
            drop(map);
            return self.leave(current);
        }
        map.entries.get(slot)?.pair()
    }

    /// The next place after the map has changed, or at the beginning.
    #[cold]
    fn find_place(&self, map: &Inner<K, V, N>, current: u32) -> Place {
        let Order::Tree(tree, collation) = &map.order else { return Place::NOWHERE };
        let texts = Texts { entries: &map.entries, collation: *collation };
        match (self.stage.get(), &self.prefix) {
            (Stage::Ended, _) => return Place::NOWHERE,
            (Stage::Fresh, Some(prefix)) => return tree.seek(prefix, false, &texts),
            (Stage::Fresh, None) => return tree.first(),
            (Stage::Running, _) => {}
        }
        let mut from = current;
        match map.entries.state(current) {
            State::Live if tree.slot(self.place.get()) == current => return tree.next(self.place.get()),
            State::Live => {}
            State::Held if map.kind == Kind::Prefixed => {}
            State::Held => match map.anchors.iter().find(|(held, _)| *held == current) {
                Some((_, NONE)) => return tree.first(),
                Some((_, anchor)) => from = *anchor,
                None => return Place::NOWHERE,
            },
            State::Free | State::Leaving => return Place::NOWHERE,
        }
        tree.seek(map.entries.text(from), true, &texts)
    }

    /// Releases the entry that was left behind, then returns the one we stand on now.
    #[cold]
    fn leave(&self, left: u32) -> Option<(K::Handle, V)> {
        self.release(left);
        let map = self.inner.borrow();
        let slot = map.positions.get(self.id)?.get();
        map.entries.get(slot)?.pair()
    }

    /// Announces and frees a removed entry on which no iterator stands any more.
    fn release(&self, slot: u32) {
        let mut map = self.inner.borrow_mut();
        if map.entries.state(slot) != State::Held || map.positions.iter().any(|p| p.get() == slot) {
            return;
        }
        let hash = map.seeds.query(map.entries.text(slot)).hash;
        map.drop_held(slot);
        let (announcement, kind) = (map.announce(slot), map.kind);
        drop(map);
        tell(announcement, kind);
        let gone = self.inner.borrow_mut().bury(slot, hash);
        drop(gone);
    }
}

impl<K: Key, V: Clone, N: Notifier<K::Handle, V>> Iterator for Iter<K, V, N> {
    type Item = (K::Handle, V);

    fn next(&mut self) -> Option<Self::Item> {
        self.advance()
    }
}

impl<K: Key, V: Clone, N: Notifier<K::Handle, V>> Drop for Iter<K, V, N> {
    /// Moves off the map: a removed entry that only this iterator held is announced and freed.
    fn drop(&mut self) {
        let map = self.inner.borrow();
        let current = map.positions.get(self.id).map_or(NONE, |p| p.replace(UNUSED));
        let held = map.held > 0 && current != NONE;
        drop(map);
        if held {
            self.release(current);
        }
        let mut map = self.inner.borrow_mut();
        while map.positions.last().is_some_and(|p| p.get() == UNUSED) {
            map.positions.pop();
        }
    }
}

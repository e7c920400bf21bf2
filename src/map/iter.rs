// SPDX-License-Identifier: LGPL-2.1-or-later
//! Iterators that survive any change of their map. The map knows on which entry each one stands, and keeps a removed
//! entry until the iterators on it have moved on.
//!
//! An iterator reads a few entries ahead. Every change of the map closes what was read ahead; as long as nothing
//! changes, moving on touches the iterator alone.

use super::Kind;
use super::entries::{Head, NONE, State};
use super::inner::{Inner, Order, tell};
use super::key::Key;
use super::notify::Notifier;
use super::run::Texts;
use super::spot::{Filling, MANY, Spot};
use super::tree::Place;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// How many entries are read ahead at first: of all, and of those with a prefix.
const FEW: usize = 28;
const FEW_WITH_PREFIX: usize = 12;
/// After so many free slots a hashed map is read bucket by bucket.
const GAP: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Fresh,
    Running,
    Ended,
}

/// Where reading goes on, in either order.
#[derive(Clone, Copy)]
enum Cursor {
    /// In an arranged map, without a prefix.
    Slot(u32),
    Bucket((u32, u32)),
    Tree(Place),
    End,
}

/// A position in a map. Entries added ahead of it are seen, removed ones are not; the current entry may be removed.
///
/// One piece of memory, which its map keeps for the next iterator.
pub struct Walk<K: Key, V, N> {
    inner: Rc<RefCell<Inner<K, V, N>>>,
    pub(super) spot: Spot<K::Handle, V>,
    /// How many entries were wanted last time.
    wanted: Cell<usize>,
    stage: Cell<Stage>,
    cursor: Cell<Cursor>,
    /// Where the last entry that was read ahead was.
    hint: Cell<Place>,
    has_prefix: Cell<bool>,
    kind: Kind,
}

impl<K: Key, V: Clone, N: Notifier<K::Handle, V>> Walk<K, V, N> {
    #[inline(never)]
    fn new(inner: &Rc<RefCell<Inner<K, V, N>>>, kind: Kind) -> Rc<Self> {
        Rc::new(Walk {
            inner: Rc::clone(inner),
            spot: Spot::new(),
            wanted: Cell::new(0),
            stage: Cell::new(Stage::Fresh),
            cursor: Cell::new(Cursor::End),
            hint: Cell::new(Place::NOWHERE),
            has_prefix: Cell::new(false),
            kind,
        })
    }

    /// The kind of the map.
    #[inline(always)]
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Moves on and returns the next entry, None at the end and ever after. If the entry left behind was removed in
    /// the meantime, its `Deleted` is delivered now.
    #[inline]
    pub fn advance(&self) -> Option<(K::Handle, V)> {
        self.advance_cached().or_else(|| self.read_ahead())
    }

    /// The quick part of [`Iter::advance`]: the next entry if it was read ahead. None says nothing about the end.
    #[inline(always)]
    pub fn advance_cached(&self) -> Option<(K::Handle, V)> {
        self.spot.take()
    }

    /// Reads the next entries, steps onto the first of them, and releases the entry left behind.
    #[inline(never)]
    fn read_ahead(&self) -> Option<(K::Handle, V)> {
        let (stage, unchanged) = (self.stage.get(), self.spot.is_open());
        // As long as nothing changes, the current entry is not removed.
        if stage == Stage::Ended || (unchanged && matches!(self.cursor.get(), Cursor::End)) {
            self.stage.set(Stage::Ended);
            self.spot.stand_on(NONE);
            return None;
        }
        self.spot.forget_ahead();
        let mut map = self.inner.borrow_mut();
        map.settle();
        if stage == Stage::Fresh {
            map.arrange_if_worthwhile();
        }
        let current = self.spot.position();
        let (cursor, wanted) = match (unchanged, stage) {
            (true, _) => (self.cursor.get(), (self.wanted.get() * 2).min(MANY)),
            (false, Stage::Fresh) => {
                (self.find(&map, current), if self.has_prefix.get() { FEW_WITH_PREFIX } else { FEW })
            }
            (false, _) => (self.find(&map, current), 1),
        };
        let mut fill = self.spot.filling(wanted);
        let cursor = self.read(&map, cursor, current, &mut fill);
        let first = fill.done();
        map.browsed += fill.len();
        self.cursor.set(cursor);
        self.wanted.set(wanted);
        self.stage.set(if first.is_none() { Stage::Ended } else { Stage::Running });
        let held = map.held > 0 && current != NONE;
        drop(map);
        if held {
            drop(first);
            return self.leave(current);
        }
        first
    }

    /// Reads from a cursor on; returns the one to go on with.
    fn read(
        &self,
        map: &Inner<K, V, N>,
        cursor: Cursor,
        current: u32,
        fill: &mut Filling<'_, K::Handle, V>,
    ) -> Cursor {
        match (&map.order, cursor) {
            (order, Cursor::Slot(from)) => {
                let behind = fill.add_from(from, fill.room() + GAP, &map.entries);
                if behind as usize >= map.entries.slots() {
                    return Cursor::End;
                }
                if fill.room() == 0 {
                    return Cursor::Slot(behind);
                }
                let last = fill.last().unwrap_or(current);
                let rest = match order {
                    Order::Buckets(_) if last == NONE => Cursor::Bucket((0, NONE)),
                    Order::Buckets(buckets) => Cursor::Bucket(buckets.behind(last, &map.entries)),
                    Order::Tree(tree, _) if last == NONE => Cursor::Tree(tree.first()),
                    Order::Tree(tree, collation) => {
                        let texts = Texts { entries: &map.entries, collation: *collation };
                        Cursor::Tree(tree.seek(map.entries.text(last), true, &texts))
                    }
                };
                self.read(map, rest, current, fill)
            }
            (Order::Buckets(buckets), Cursor::Bucket(mut from)) => {
                let mut slots = [NONE; MANY];
                let slots = slots.get_mut(..fill.room()).unwrap_or(&mut []);
                let found = if map.held == 0 {
                    buckets.read(&mut from, &map.entries, slots)
                } else {
                    buckets.read_live(&mut from, &map.entries, slots)
                };
                fill.add(slots.get(..found).unwrap_or(&[]), &map.entries, false);
                if fill.room() == 0 { Cursor::Bucket(from) } else { Cursor::End }
            }
            (Order::Tree(tree, collation), Cursor::Tree(from)) => {
                // To the end of a leaf, so that the next reading gets a whole one.
                let slots = tree.rest(from);
                let slots = slots.get(..fill.room()).unwrap_or(slots);
                let texts = Texts { entries: &map.entries, collation: *collation };
                let ours = self
                    .matching(map, slots, |prefix| tree.count_with_prefix(from, slots.len(), prefix, &texts));
                fill.add(ours, &map.entries, map.is_arranged());
                if ours.len() < slots.len() || slots.is_empty() {
                    return Cursor::End;
                }
                self.hint.set(from.plus(slots.len() - 1));
                match tree.settle(from.plus(slots.len())) {
                    Place::NOWHERE => Cursor::End,
                    place => Cursor::Tree(place),
                }
            }
            _ => Cursor::End,
        }
    }

    /// Those of consecutive slots that have our prefix: all, or the first ones. `count` may know how many.
    fn matching<'a>(
        &self,
        map: &Inner<K, V, N>,
        slots: &'a [u32],
        count: impl Fn(&[u8]) -> Option<usize>,
    ) -> &'a [u32] {
        if !self.has_prefix.get() {
            return slots;
        }
        let prefix = self.spot.prefix();
        let many = count(&prefix).unwrap_or_else(|| {
            let head = Head::of(&prefix);
            slots.partition_point(|slot| map.entries.starts_with(*slot, &prefix, &head))
        });
        slots.get(..many).unwrap_or(slots)
    }

    /// Where to read on after the map has changed, or at the beginning.
    fn find(&self, map: &Inner<K, V, N>, current: u32) -> Cursor {
        let fresh = self.stage.get() == Stage::Fresh;
        if current == NONE && !fresh {
            return Cursor::End;
        }
        // Free slots lie among the others, but nothing else.
        if !self.has_prefix.get() && map.is_arranged() && map.entries.fading() == 0 {
            return Cursor::Slot(current.wrapping_add(1));
        }
        let (tree, collation) = match &map.order {
            Order::Buckets(_) if fresh => return Cursor::Bucket((0, NONE)),
            Order::Buckets(buckets) => return Cursor::Bucket(buckets.behind(current, &map.entries)),
            Order::Tree(tree, collation) => (tree, *collation),
        };
        let texts = Texts { entries: &map.entries, collation };
        if fresh {
            return Cursor::Tree(match self.has_prefix.get() {
                true => tree.seek(&self.spot.prefix(), false, &texts),
                false => tree.first(),
            });
        }
        let mut from = current;
        match map.entries.state(current) {
            State::Live if tree.slot(self.hint.get()) == current => {
                return Cursor::Tree(tree.next(self.hint.get()));
            }
            State::Live => {}
            State::Held if map.kind == Kind::Prefixed => {}
            State::Held => match map.anchors.iter().find(|(held, _)| *held == current) {
                Some((_, NONE)) => return Cursor::Tree(tree.first()),
                Some((_, anchor)) => from = *anchor,
                None => return Cursor::End,
            },
            State::Free | State::Leaving => return Cursor::End,
        }
        Cursor::Tree(tree.seek(map.entries.text(from), true, &texts))
    }

    /// The end of an iterator. Its map keeps one of these for the next.
    #[inline(never)]
    fn finish(walk: Rc<Self>) {
        walk.spot.forget_ahead();
        let mut map = walk.inner.borrow_mut();
        let current = walk.spot.position();
        walk.spot.stand_on(NONE);
        let found = map.walks.iter().position(|w| Rc::ptr_eq(w, &walk));
        let mut registered = found.map(|at| map.walks.swap_remove(at));
        // More references than these two: it is freed by a callback of its own step, which is still to return.
        let moving = Rc::strong_count(&walk) > 2;
        if map.spare.is_none() && !map.closed && !moving {
            map.spare = registered.take();
        }
        let held = map.held > 0 && current != NONE;
        drop(map);
        if held {
            // The callbacks may use what is spare now, so this reads nothing of it but its map.
            walk.release(current);
        }
    }

    /// Releases the entry that was left behind, then returns the one we stand on now.
    #[cold]
    fn leave(&self, left: u32) -> Option<(K::Handle, V)> {
        self.release(left);
        self.inner.borrow().entries.get(self.spot.position())?.pair()
    }

    /// Announces and frees a removed entry on which no iterator stands any more.
    fn release(&self, slot: u32) {
        let mut map = self.inner.borrow_mut();
        if map.entries.state(slot) != State::Held || map.stands_on(slot) {
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

/// An iterator: whoever has one moves its [`Walk`], and nobody else.
pub struct Iter<K: Key, V: Clone, N: Notifier<K::Handle, V>> {
    /// None: somebody else keeps it, see [`Iter::into_walk`].
    walk: Option<Rc<Walk<K, V, N>>>,
}

impl<K: Key, V: Clone, N: Notifier<K::Handle, V>> Iter<K, V, N> {
    #[inline(always)]
    pub(super) fn new(inner: &Rc<RefCell<Inner<K, V, N>>>, prefix: Option<&[u8]>) -> Self {
        let mut map = inner.borrow_mut();
        let prefix = prefix.filter(|p| map.kind == Kind::Prefixed && !p.is_empty());
        let walk = map.spare.take().unwrap_or_else(|| Walk::new(inner, map.kind));
        walk.stage.set(Stage::Fresh);
        walk.has_prefix.set(prefix.is_some());
        if let Some(prefix) = prefix {
            walk.spot.set_prefix(prefix);
        }
        map.walks.push(Rc::clone(&walk));
        Iter { walk: Some(walk) }
    }

    pub(super) fn end(&self) {
        if let Some(walk) = &self.walk {
            walk.stage.set(Stage::Ended);
        }
    }

    /// See [`Walk::advance`].
    #[inline]
    pub fn advance(&self) -> Option<(K::Handle, V)> {
        self.walk.as_deref()?.advance()
    }

    /// What to keep instead of an iterator where only a pointer fits; [`Iter::from`] makes an iterator of it again.
    #[inline]
    #[must_use]
    pub fn into_walk(mut self) -> Option<Rc<Walk<K, V, N>>> {
        self.walk.take()
    }
}

impl<K: Key, V: Clone, N: Notifier<K::Handle, V>> From<Rc<Walk<K, V, N>>> for Iter<K, V, N> {
    /// Once for each [`Iter::into_walk`].
    #[inline]
    fn from(walk: Rc<Walk<K, V, N>>) -> Self {
        Iter { walk: Some(walk) }
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
    #[inline]
    fn drop(&mut self) {
        if let Some(walk) = self.walk.take() {
            Walk::finish(walk);
        }
    }
}

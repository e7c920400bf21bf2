// SPDX-License-Identifier: LGPL-2.1-or-later
//! Iterators that survive any change of their map. The map knows on which entry each one stands, and keeps a removed
//! entry until the iterators on it have moved on.
//!
//! An iterator reads a few entries ahead. Every change of the map raises its version, after which what was read ahead
//! is thrown away; as long as nothing changes, moving on touches the iterator alone.

use super::Kind;
use super::entries::{NONE, State};
use super::inner::{Inner, Order, tell};
use super::key::Key;
use super::notify::Notifier;
use super::run::Texts;
use super::tree::Place;
use std::cell::{Cell, RefCell};
use std::num::NonZeroU32;
use std::rc::Rc;

/// How many entries are read ahead at first, and at most.
const FEW: usize = 12;
const MANY: usize = 32;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Fresh,
    Running,
    Ended,
}

/// Where reading goes on, in either order.
#[derive(Clone, Copy)]
enum Cursor {
    Bucket((u32, u32)),
    Tree(Place),
    End,
}

/// An entry that was read ahead.
struct Item<H, V> {
    key: H,
    value: V,
    /// Slot + 1: an empty place needs no flag of its own.
    mark: NonZeroU32,
}

type Ahead<H, V> = Cell<Option<Item<H, V>>>;

/// The part of an iterator that its map knows. Maps keep one in reserve, so that iterating a little allocates little.
pub(super) struct Spot<H, V> {
    /// The entry on which the iterator stands, or NONE.
    pub position: Cell<u32>,
    /// The map's version.
    version: Rc<Cell<u64>>,
    ahead: [Ahead<H, V>; MANY],
    prefix: RefCell<Vec<u8>>,
}

/// A position in a map. Entries added ahead of it are seen, removed ones are not; the current entry may be removed.
pub struct Iter<K: Key, V: Clone, N: Notifier<K::Handle, V>> {
    inner: Rc<RefCell<Inner<K, V, N>>>,
    spot: Rc<Spot<K::Handle, V>>,
    /// What the version was when we read ahead.
    seen: Cell<u64>,
    /// The next of `ahead`, and how many were wanted last time.
    at: Cell<usize>,
    wanted: Cell<usize>,
    stage: Cell<Stage>,
    cursor: Cell<Cursor>,
    /// Where the last entry of `ahead` was.
    hint: Cell<Place>,
    has_prefix: bool,
}

impl<K: Key, V: Clone, N: Notifier<K::Handle, V>> Iter<K, V, N> {
    #[inline]
    pub(super) fn new(inner: &Rc<RefCell<Inner<K, V, N>>>, prefix: Option<&[u8]>) -> Self {
        let mut map = inner.borrow_mut();
        let prefix = prefix.filter(|p| map.kind == Kind::Prefixed && !p.is_empty());
        let spot = map.spare_spot.take().unwrap_or_else(|| {
            Rc::new(Spot {
                position: Cell::new(NONE),
                version: Rc::clone(&map.version),
                ahead: [const { Cell::new(None) }; MANY],
                prefix: RefCell::default(),
            })
        });
        spot.position.set(NONE);
        if let Some(prefix) = prefix {
            let mut own = spot.prefix.borrow_mut();
            own.clear();
            own.extend_from_slice(prefix);
        }
        map.spots.push(Rc::clone(&spot));
        drop(map);
        Iter {
            inner: Rc::clone(inner),
            spot,
            seen: Cell::new(0),
            at: Cell::new(0),
            wanted: Cell::new(0),
            stage: Cell::new(Stage::Fresh),
            cursor: Cell::new(Cursor::End),
            hint: Cell::new(Place::NOWHERE),
            has_prefix: prefix.is_some(),
        }
    }

    pub(super) fn end(&self) {
        self.stage.set(Stage::Ended);
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
        let (at, spot) = (self.at.get(), &*self.spot);
        if self.seen.get() != spot.version.get() {
            return None;
        }
        let item = spot.ahead.get(at)?.take()?;
        self.at.set(at + 1);
        spot.position.set(item.mark.get() - 1);
        Some((item.key, item.value))
    }

    /// Reads the next entries, steps onto the first of them, and releases the entry left behind.
    #[inline(never)]
    fn read_ahead(&self) -> Option<(K::Handle, V)> {
        self.forget_ahead();
        self.inner.borrow_mut().settle();
        let map = self.inner.borrow();
        let current = self.spot.position.get();
        let fresh = self.stage.get() == Stage::Fresh;
        let unchanged = self.seen.get() == self.spot.version.get() && !fresh;
        let mut cursor = match self.stage.get() {
            Stage::Ended => Cursor::End,
            _ if unchanged => self.cursor.get(),
            _ => self.find(&map, current),
        };
        let wanted = match (unchanged, fresh) {
            (true, _) => (self.wanted.get() * 2).min(MANY),
            (false, true) => FEW,
            (false, false) => 1,
        };
        let mut first = NONE;
        let places = self.spot.ahead.get(..wanted).unwrap_or(&[]);
        match (&map.order, &mut cursor) {
            (Order::Buckets(buckets), Cursor::Bucket(from)) if map.held == 0 => {
                let mut slots = [NONE; MANY];
                let slots = slots.get_mut(..wanted).unwrap_or(&mut []);
                let found = buckets.read(from, &map.entries, slots);
                for (place, slot) in places.iter().zip(slots.iter().take(found)) {
                    fill(&map, place, *slot);
                }
                if found > 0 {
                    first = slots.first().copied().unwrap_or(NONE);
                }
            }
            (Order::Buckets(buckets), Cursor::Bucket(from)) => {
                for place in places {
                    let (slot, behind) = buckets.next(*from, &map.entries);
                    *from = behind;
                    if !fill(&map, place, slot) {
                        break;
                    }
                    first = if first == NONE { slot } else { first };
                }
            }
            (Order::Tree(tree, _), Cursor::Tree(from)) => {
                let mut places = places.iter();
                while places.len() > 0 {
                    let slots = tree.rest(*from);
                    let slots = slots.get(..places.len()).unwrap_or(slots);
                    let ours = self.matching(&map, slots);
                    for (slot, place) in ours.iter().zip(&mut places) {
                        fill(&map, place, *slot);
                    }
                    if let (NONE, Some(slot)) = (first, ours.first()) {
                        first = *slot;
                    }
                    if ours.len() < slots.len() || slots.is_empty() {
                        cursor = Cursor::End;
                        break;
                    }
                    self.hint.set(from.plus(slots.len() - 1));
                    *from = tree.settle(from.plus(slots.len()));
                }
            }
            _ => {}
        }
        self.cursor.set(cursor);
        self.wanted.set(wanted);
        self.seen.set(self.spot.version.get());
        self.at.set(1);
        self.spot.position.set(first);
        self.stage.set(if first == NONE { Stage::Ended } else { Stage::Running });
        let held = map.held > 0 && current != NONE;
        drop(map);
        let item = self.spot.ahead.first().and_then(Cell::take);
        if held {
            drop(item);
            return self.leave(current);
        }
        item.map(|i| (i.key, i.value))
    }

    /// Drops what was read ahead, with nothing borrowed.
    fn forget_ahead(&self) {
        for unread in self.spot.ahead.get(self.at.get()..self.wanted.get()).unwrap_or(&[]) {
            drop(unread.take());
        }
    }

    /// Those of consecutive slots that have our prefix: all, or the first ones.
    fn matching<'a>(&self, map: &Inner<K, V, N>, slots: &'a [u32]) -> &'a [u32] {
        if !self.has_prefix {
            return slots;
        }
        let prefix = self.spot.prefix.borrow();
        let ours = |slot: &u32| map.entries.text(*slot).starts_with(&prefix);
        match slots.last() {
            Some(last) if !ours(last) => slots.get(..slots.partition_point(ours)).unwrap_or(slots),
            _ => slots,
        }
    }

    /// Where to read on after the map has changed, or at the beginning.
    fn find(&self, map: &Inner<K, V, N>, current: u32) -> Cursor {
        let fresh = self.stage.get() == Stage::Fresh;
        let (tree, collation) = match &map.order {
            Order::Buckets(_) if fresh => return Cursor::Bucket((0, NONE)),
            Order::Buckets(_) if current == NONE => return Cursor::End,
            Order::Buckets(buckets) => return Cursor::Bucket(buckets.behind(current, &map.entries)),
            Order::Tree(tree, collation) => (tree, *collation),
        };
        let texts = Texts { entries: &map.entries, collation };
        if fresh {
            return Cursor::Tree(match self.has_prefix {
                true => tree.seek(&self.spot.prefix.borrow(), false, &texts),
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

    /// Releases the entry that was left behind, then returns the one we stand on now.
    #[cold]
    fn leave(&self, left: u32) -> Option<(K::Handle, V)> {
        self.release(left);
        self.inner.borrow().entries.get(self.spot.position.get())?.pair()
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

/// Copies an entry into a place for reading ahead; false if there is none.
#[inline]
fn fill<K: Key, V: Clone, N>(map: &Inner<K, V, N>, place: &Ahead<K::Handle, V>, slot: u32) -> bool {
    let pair = map.entries.get(slot).and_then(|e| e.pair());
    let item = pair.zip(NonZeroU32::new(slot.wrapping_add(1)));
    let found = item.is_some();
    place.set(item.map(|((key, value), mark)| Item { key, value, mark }));
    found
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
        self.forget_ahead();
        let mut map = self.inner.borrow_mut();
        if let Some(at) = map.spots.iter().position(|s| Rc::ptr_eq(s, &self.spot)) {
            map.spare_spot = Some(map.spots.swap_remove(at));
        }
        let current = self.spot.position.get();
        let held = map.held > 0 && current != NONE;
        drop(map);
        if held {
            self.release(current);
        }
    }
}

// SPDX-License-Identifier: LGPL-2.1-or-later
//! What a map consists of, and the steps that its operations are made of. No step calls back.
//!
//! New entries wait in a list of their own until somebody asks for the order ([`Inner::settle`]): a program that puts,
//! gets and removes never pays for it, and many entries together are sorted in less time than one by one. The memory
//! for it is reserved when an entry is put, so that it cannot fail.

use super::Kind;
use super::buckets::Buckets;
use super::entries::{Entries, NONE, State, UNSORTED};
use super::index::Index;
use super::iter::Walk;
use super::key::{Collation, Digest, Key, Query, Seeds};
use super::notify::{Event, Notice, Notifier, Notifiers, Target, deliver};
use super::pending::Pending;
use super::run::Texts;
use super::tree::Tree;
use crate::Result;
use std::rc::Rc;

/// So many entries at most wait for a place in a bucket: linking them costs the same now or later, and little enough to
/// be done while they are in the processor's cache.
const PENDING_IN_BUCKETS: usize = 1 << 15;

/// The order of iteration, of all entries but those that are pending.
pub(super) enum Order {
    Buckets(Buckets),
    Tree(Tree, Collation),
}

/// Everything behind a map and its iterators. Borrowed for short steps only, never while a callback runs.
pub(super) struct Inner<K: Key, V, N> {
    pub kind: Kind,
    pub entries: Entries<K, V>,
    pub index: Index,
    pub order: Order,
    pub pending: Pending,
    pub seeds: Seeds,
    pub count: usize,
    /// How many entries came since the slots ascended in the order of iteration.
    pub new: usize,
    /// How many entries iterators have read since the last new one.
    pub browsed: usize,
    /// All iterators, and the memory of one for the next. They own this, so a map that is dropped drops the spare.
    pub walks: Vec<Rc<Walk<K, V, N>>>,
    pub spare: Option<Rc<Walk<K, V, N>>>,
    /// The map was dropped, though iterators are left: none of them becomes spare.
    pub closed: bool,
    /// Sorted maps: each held entry with the one that came before it, where its iterators go on.
    pub anchors: Vec<(u32, u32)>,
    /// Held entries in all.
    pub held: usize,
    pub notifiers: Notifiers<N>,
}

/// A removal or replacement that is still to be announced.
pub(super) struct Announcement<H, V, N> {
    notices: Vec<Rc<Notice<N>>>,
    key: H,
    old: V,
}

pub(super) fn tell<H, V, N: Notifier<H, V>>(announcement: Option<Announcement<H, V, N>>, kind: Kind) {
    if let Some(a) = announcement {
        deliver(&a.notices, kind, Event::Deleted, &a.key, Some(&a.old), None);
    }
}

impl<K: Key, V: Clone, N: Notifier<K::Handle, V>> Inner<K, V, N> {
    pub fn find(&self, query: &Query<'_>) -> Option<u32> {
        self.probe(query).0
    }

    /// Invalidates what iterators have read ahead.
    #[inline(always)]
    pub fn changed(&self) {
        self.walks.iter().for_each(|w| w.spot.close());
    }

    /// Where a notifier for a key is attached.
    pub fn target<'a>(&self, text: &'a [u8]) -> Option<Target<'a>> {
        match self.kind {
            Kind::Prefixed => Some(Target::Prefix(text)),
            Kind::Hashed | Kind::Sorted => self.find(&self.seeds.query(text)).map(Target::Slot),
        }
    }

    /// The entry with this key, in whatever state, and its place in the index, or the place for it.
    pub fn probe(&self, query: &Query<'_>) -> (Option<u32>, usize) {
        self.index.probe(query.hash, |slot| self.entries.is(slot, query).then_some(slot))
    }

    /// As [`Inner::probe`], for a short key.
    #[inline(always)]
    pub fn probe_short(&self, query: &Query<'_>) -> (Option<u32>, usize) {
        self.index.probe(query.hash, |slot| self.entries.short(slot, query).map(|_| slot))
    }

    /// The value of a key.
    #[inline(always)]
    pub fn value(&self, key: &[u8]) -> Option<V> {
        match self.seeds.short_query(key) {
            Some(query) => {
                let (found, _) = self.index.probe(query.hash, |slot| self.entries.short(slot, &query));
                found?.value()
            }
            None => self.value_of_long(key),
        }
    }

    #[inline(never)]
    fn value_of_long(&self, key: &[u8]) -> Option<V> {
        self.entries.get(self.find(&self.seeds.query(key))?)?.value()
    }

    /// As [`Inner::probe`], for a key that is to be put; there is room for it in the index.
    pub fn look(&mut self, key: &K) -> Result<(Option<u32>, usize, Digest)> {
        self.index.reserve()?;
        let query = self.seeds.query(key.bytes());
        let (found, place) = self.probe(&query);
        Ok((found, place, query.digest()))
    }

    /// Adds an entry with a short key that is not in the map. There is room for it in the index, and
    /// [`Inner::probe_short`] said `place`.
    #[inline(always)]
    pub fn insert_short(&mut self, key: K, value: V, digest: &Digest, place: usize) -> Result<()> {
        self.entries.reserve(0)?;
        if let Order::Tree(tree, _) = &mut self.order {
            tree.reserve(self.pending.len() + 1)?;
        }
        self.enter(key, value, digest, None, place);
        Ok(())
    }

    /// Adds an entry whose key is not in the map, or only as `stale`, one that is going. [`Inner::look`] came
    /// before, and said `place`.
    #[inline]
    pub fn insert(
        &mut self,
        key: K,
        value: V,
        digest: Digest,
        stale: Option<u32>,
        mut place: usize,
    ) -> Result<u32> {
        self.entries.reserve(digest.len)?;
        if let Order::Tree(tree, _) = &mut self.order {
            tree.reserve(self.pending.len() + 1)?;
        }
        let copy = self.entries.copy_of(&key, digest.len)?;
        if let Some(old) = stale {
            self.index.remove(digest.hash, old);
            place = self.index.probe(digest.hash, |_| None::<()>).1;
        }
        Ok(self.enter(key, value, &digest, copy, place))
    }

    /// The part of an insertion that cannot fail.
    #[inline(always)]
    fn enter(&mut self, key: K, value: V, digest: &Digest, copy: Option<Box<[u8]>>, place: usize) -> u32 {
        let slot = self.entries.add(key, value, digest, copy, &mut self.pending);
        self.index.insert_at(place, digest.hash, slot);
        self.count += 1;
        self.new += 1;
        self.browsed = 0;
        self.changed();
        if self.pending.len() >= PENDING_IN_BUCKETS && matches!(self.order, Order::Buckets(_)) {
            self.settle_pending();
        }
        slot
    }

    /// Gives the pending entries their places in the order. Whoever reads the order comes here first.
    #[inline(always)]
    pub fn settle(&mut self) {
        if self.pending.len() > 0 {
            self.settle_pending();
        }
    }

    #[inline(never)]
    fn settle_pending(&mut self) {
        let many = self.pending.len();
        let mut slot = self.pending.take();
        match &mut self.order {
            Order::Buckets(buckets) => {
                while let Some(entry) = self.entries.link(slot) {
                    let next = entry.next;
                    buckets.insert(slot, &mut self.entries);
                    slot = next;
                }
            }
            Order::Tree(tree, collation) => {
                let first = slot;
                while let Some(entry) = self.entries.link_mut(slot) {
                    entry.bucket = 0;
                    slot = entry.next;
                }
                let texts = Texts { entries: &self.entries, collation: *collation };
                tree.insert_all(first, many, &texts);
            }
        }
    }

    /// Whether an iterator stands on an entry.
    #[inline]
    pub fn stands_on(&self, slot: u32) -> bool {
        self.walks.iter().any(|w| w.spot.position() == slot)
    }

    /// A removal that nobody watches, while there are no iterators. None: the entry is leaving already.
    #[inline(always)]
    pub fn take(&mut self, slot: u32, place: usize) -> Option<(K, V)> {
        match self.entries.release_pending(slot) {
            Some(neighbours) => self.pending.join(neighbours, &mut self.entries),
            None if self.entries.state(slot) != State::Live => return None,
            None => {
                self.unlink_sorted(slot);
                self.entries.free(slot);
            }
        }
        self.count -= 1;
        self.index.remove_at(place);
        self.entries.empty(slot)
    }

    /// The first half of a removal. True: iterators stand on the entry, and it stays for them.
    pub fn hold_or_unlink(&mut self, slot: u32, query: &Query<'_>) -> bool {
        let held = self.stands_on(slot);
        if held || !self.anchors.is_empty() {
            self.settle();
        }
        if held
            && let Order::Tree(tree, collation) = &self.order
            && self.kind == Kind::Sorted
        {
            let texts = Texts { entries: &self.entries, collation: *collation };
            let anchor = tree.before(query.bytes, &texts);
            self.anchors.push((slot, anchor));
        }
        // Held entries of a hashed map keep their place in the bucket.
        if !(held && self.kind == Kind::Hashed) {
            self.unlink(slot);
        }
        if self.kind == Kind::Sorted {
            self.index.remove(query.hash, slot);
        }
        self.changed();
        self.entries.fade(slot, if held { State::Held } else { State::Leaving });
        if held {
            self.held += 1;
            self.count -= 1;
        }
        held
    }

    /// Takes an entry out of the order.
    pub fn unlink(&mut self, slot: u32) {
        if self.entries.link(slot).is_some_and(|l| l.bucket == UNSORTED) {
            self.pending.remove(slot, &mut self.entries);
        } else {
            self.unlink_sorted(slot);
        }
    }

    #[inline(never)]
    fn unlink_sorted(&mut self, slot: u32) {
        match &mut self.order {
            Order::Buckets(buckets) => buckets.remove(slot, &mut self.entries),
            Order::Tree(tree, collation) => {
                let texts = Texts { entries: &self.entries, collation: *collation };
                let text = self.entries.text(slot);
                if self.anchors.iter().any(|(_, anchor)| *anchor == slot) {
                    let before = tree.before(text, &texts);
                    for (_, anchor) in self.anchors.iter_mut().filter(|(_, a)| *a == slot) {
                        *anchor = before;
                    }
                }
                tree.remove(text, slot, &texts);
            }
        }
    }

    /// Marks an entry as leaving, and says who is to be told; None if nobody.
    pub fn announce(&mut self, slot: u32) -> Option<Announcement<K::Handle, V, N>> {
        self.entries.fade(slot, State::Leaving);
        if self.notifiers.is_empty() {
            return None;
        }
        let (key, old) = self.entries.get(slot)?.pair()?;
        let text = self.entries.text(slot);
        let notices = self.notifiers.interested(self.kind, Some(slot), text, Event::Deleted);
        (!notices.is_empty()).then_some(Announcement { notices, key, old })
    }

    /// The last half of a removal: frees the slot.
    pub fn bury(&mut self, slot: u32, hash: u32) -> Option<(K, V)> {
        if self.entries.state(slot) != State::Leaving {
            return None;
        }
        self.index.remove(hash, slot);
        self.notifiers.entry_gone(slot);
        self.entries.release(slot)
    }

    /// The first entry in order, or one that is held. `from` is a bucket before which there was nothing last time,
    /// 0 at first.
    pub fn any_slot(&mut self, from: &mut u32) -> Option<u32> {
        self.settle();
        let first = match &self.order {
            Order::Buckets(buckets) => {
                let mut found = buckets.next((*from, NONE), &self.entries);
                // Something may have been put into earlier ones since.
                if found.0 == NONE {
                    found = buckets.next((0, NONE), &self.entries);
                }
                *from = found.1.0.saturating_sub(1);
                found.0
            }
            Order::Tree(tree, _) => tree.slot(tree.first()),
        };
        if first != NONE {
            return Some(first);
        }
        let held = |p: &u32| self.entries.state(*p) == State::Held;
        self.walks.iter().map(|w| w.spot.position()).find(held)
    }

    /// Ends the special treatment of a held entry.
    pub fn drop_held(&mut self, slot: u32) {
        // What another iterator has read ahead may lead to this entry in its bucket.
        self.changed();
        self.held = self.held.saturating_sub(1);
        self.anchors.retain(|(held, _)| *held != slot);
        if let Order::Buckets(buckets) = &mut self.order {
            buckets.remove(slot, &mut self.entries);
        }
    }
}

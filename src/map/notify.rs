// SPDX-License-Identifier: LGPL-2.1-or-later
//! Who wants to hear of changes: notifiers on an entry, on a key prefix, or on the whole map, and the order in which
//! they are told. It holds callbacks but never calls them; the map does, with nothing borrowed.

use super::Kind;
use crate::{Error, Result};
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// What happened to an entry; the numbers are those of `QB_MAP_NOTIFY_*`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Event {
    /// The entry was removed.
    Deleted = 1,
    /// The entry got another value, and another key with the same text.
    Replaced = 2,
    /// The entry is new.
    Inserted = 4,
    /// The old key and value are out of use: follows every `Deleted` and `Replaced`.
    Free = 16,
}

/// Which events a notifier wants: the sum of [`Event`] numbers and [`Mask::RECURSIVE`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mask(pub u32);

impl Mask {
    /// In a prefixed map: also changes of entries below the key.
    pub const RECURSIVE: u32 = 8;

    fn wants(self, event: Event) -> bool {
        self.0 & event as u32 != 0
    }

    fn recursive(self) -> bool {
        self.0 & Self::RECURSIVE != 0
    }
}

/// A callback of a map's user.
pub trait Notifier<H, V>: Clone + PartialEq {
    /// Whether both call the same function, whatever their user data; equality compares both.
    fn same_function(&self, other: &Self) -> bool;
    /// Tells of one event. It may use the map: look up, iterate, put, remove, add and delete notifiers.
    fn notify(&self, event: Event, key: &H, old: Option<&V>, new: Option<&V>);
}

/// For maps that nobody watches.
impl<H, V> Notifier<H, V> for () {
    fn same_function(&self, (): &Self) -> bool {
        true
    }
    fn notify(&self, _: Event, _: &H, _: Option<&V>, _: Option<&V>) {}
}

pub(super) struct Notice<N> {
    notifier: N,
    mask: Mask,
    deleted: Cell<bool>,
}

type List<N> = Vec<Rc<Notice<N>>>;

/// Where a notifier is attached.
#[derive(Clone, Copy)]
pub(super) enum Target<'a> {
    Map,
    /// An entry, in the maps that attach notifiers to entries.
    Slot(u32),
    /// A key or prefix of keys, whether or not there is such an entry.
    Prefix(&'a [u8]),
}

pub(super) struct Notifiers<N> {
    map: List<N>,
    slots: HashMap<u32, List<N>>,
    prefixes: HashMap<Box<[u8]>, List<N>>,
    /// How many prefixes of each length there are.
    lengths: BTreeMap<usize, usize>,
}

impl<N> Notifiers<N> {
    pub fn new() -> Self {
        Notifiers {
            map: Vec::new(),
            slots: HashMap::new(),
            prefixes: HashMap::new(),
            lengths: BTreeMap::new(),
        }
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.map.is_empty() && self.slots.is_empty() && self.prefixes.is_empty()
    }

    /// Whether no notifier is attached to a slot.
    pub fn know_no_slots(&self) -> bool {
        self.slots.is_empty()
    }

    fn list_mut(&mut self, target: Target<'_>) -> Option<&mut List<N>> {
        match target {
            Target::Map => Some(&mut self.map),
            Target::Slot(slot) => self.slots.get_mut(&slot),
            Target::Prefix(text) => self.prefixes.get_mut(text),
        }
    }

    pub fn add<H, V>(&mut self, target: Target<'_>, notifier: N, mask: Mask) -> Result<()>
    where
        N: Notifier<H, V>,
    {
        let free = mask.wants(Event::Free);
        if free && !matches!(target, Target::Map) {
            return Err(Error::Invalid);
        }
        let same = |n: &Rc<Notice<N>>| n.mask == mask && (free || n.notifier == notifier);
        if self.list_mut(target).is_some_and(|list| list.iter().any(same)) {
            return Err(Error::Exists);
        }
        let list = match target {
            Target::Map => &mut self.map,
            Target::Slot(slot) => self.slots.entry(slot).or_default(),
            Target::Prefix(text) => {
                if !self.prefixes.contains_key(text) {
                    *self.lengths.entry(text.len()).or_insert(0) += 1;
                }
                self.prefixes.entry(text.into()).or_default()
            }
        };
        let last = free || (mask.recursive() && matches!(target, Target::Prefix(_)));
        list.try_reserve(1).map_err(|_| Error::NoMemory)?;
        let notice = Rc::new(Notice { notifier, mask, deleted: Cell::new(false) });
        list.insert(if last { list.len() } else { 0 }, notice);
        Ok(())
    }

    /// Removes all notifiers with this mask for which `same` holds.
    pub fn delete(&mut self, target: Target<'_>, mask: Mask, same: impl Fn(&N) -> bool) -> Result<()> {
        let list = self.list_mut(target).ok_or(Error::NotFound)?;
        let before = list.len();
        list.retain(|n| {
            let gone = n.mask == mask && same(&n.notifier);
            n.deleted.set(gone);
            !gone
        });
        let (left, removed) = (list.len(), before - list.len());
        if left == 0 {
            self.drop_list(target);
        }
        if removed > 0 { Ok(()) } else { Err(Error::NotFound) }
    }

    fn drop_list(&mut self, target: Target<'_>) {
        match target {
            Target::Map => {}
            Target::Slot(slot) => drop(self.slots.remove(&slot)),
            Target::Prefix(text) => {
                if self.prefixes.remove(text).is_some()
                    && let Some(n) = self.lengths.get_mut(&text.len())
                {
                    *n -= 1;
                    if *n == 0 {
                        self.lengths.remove(&text.len());
                    }
                }
            }
        }
    }

    /// The notifiers of an entry die with it.
    #[inline]
    pub fn entry_gone(&mut self, slot: u32) {
        if !self.slots.is_empty() {
            self.slots.remove(&slot);
        }
    }

    /// Whom to tell of an event, in order. `slot` is None for an entry that is not in the map yet.
    pub fn interested(&self, kind: Kind, slot: Option<u32>, text: &[u8], event: Event) -> Vec<Rc<Notice<N>>> {
        let mut all = Vec::new();
        if self.is_empty() {
            return all;
        }
        let ends = matches!(event, Event::Deleted | Event::Replaced);
        let plain = |n: &&Rc<Notice<N>>| n.mask.wants(event);
        let freeing = |n: &&Rc<Notice<N>>| ends && n.mask.wants(Event::Free);
        if kind != Kind::Prefixed {
            if let Some(list) = slot.and_then(|s| self.slots.get(&s)) {
                all.extend(list.iter().filter(plain).cloned());
            }
            all.extend(self.map.iter().filter(|n| plain(n) || freeing(n)).cloned());
            return all;
        }
        if let Some(list) = self.prefixes.get(text) {
            all.extend(list.iter().filter(plain).cloned());
        }
        let recursive = |n: &&Rc<Notice<N>>| n.mask.recursive() && n.mask.wants(event);
        for (&len, _) in self.lengths.range(..text.len()).rev() {
            if let Some(list) = text.get(..len).and_then(|prefix| self.prefixes.get(prefix)) {
                all.extend(list.iter().filter(recursive).cloned());
            }
        }
        all.extend(self.map.iter().filter(|n| recursive(n) || freeing(n)).cloned());
        all
    }
}

/// Calls notifiers in order, leaving out those that were deleted meanwhile. Nothing of the map is borrowed.
pub(super) fn deliver<H, V, N: Notifier<H, V>>(
    notices: &[Rc<Notice<N>>],
    kind: Kind,
    event: Event,
    key: &H,
    old: Option<&V>,
    new: Option<&V>,
) {
    for n in notices {
        let silent = kind == Kind::Prefixed && !n.mask.recursive() && n.mask.wants(Event::Free);
        if n.mask.wants(event) && !n.deleted.get() && !silent {
            n.notifier.notify(event, key, old, new);
        }
        if n.mask.wants(Event::Free) && !n.deleted.get() && event != Event::Inserted {
            n.notifier.notify(Event::Free, key, old, new);
        }
    }
}

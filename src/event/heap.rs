// SPDX-License-Identifier: LGPL-2.1-or-later
//! A min-heap of deadlines that knows where each timer's entry is, so that any of them can be removed in O(log n). Each
//! node has four children, which share a cache line.

/// One armed timer, ordered by deadline and then by age: the deadline in the upper 64 bits, then 32 bits that count
/// additions (when they wrap around, only the order of equal deadlines suffers), then the slot. One number, so that a
/// comparison is cheap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry(u128);

impl Entry {
    /// At most one entry of a heap has this `slot`.
    pub(super) const fn new(due: u64, seq: u32, slot: u32) -> Self {
        Self(((due as u128) << 64) | ((seq as u128) << 32) | slot as u128)
    }

    pub(super) const fn due(self) -> u64 {
        (self.0 >> 64) as u64
    }

    pub(super) const fn slot(self) -> u32 {
        self.0 as u32
    }
}

const CHILDREN: usize = 4;
const ABSENT: u32 = u32::MAX;

#[derive(Default)]
pub(super) struct Heap {
    entries: Vec<Entry>,
    /// By slot: index into `entries`, or ABSENT.
    places: Vec<u32>,
}

impl Heap {
    pub(super) fn first(&self) -> Option<Entry> {
        self.entries.first().copied()
    }

    /// True if the slot has an entry.
    pub(super) fn contains(&self, slot: u32) -> bool {
        self.places.get(slot as usize).is_some_and(|&place| place != ABSENT)
    }

    /// Adds an entry for a slot that has none. There are fewer than 2^31.
    pub(super) fn push(&mut self, entry: Entry) {
        let slot = entry.slot() as usize;
        if slot >= self.places.len() {
            self.places.resize(slot + 1, ABSENT);
        }
        self.entries.push(entry);
        self.up(self.entries.len() - 1, entry);
    }

    /// Takes the slot's entry out, if it has one.
    pub(super) fn remove(&mut self, slot: u32) {
        let place = match self.places.get_mut(slot as usize) {
            Some(at) if *at != ABSENT => std::mem::replace(at, ABSENT) as usize,
            _ => return,
        };
        let gone = self.entries.swap_remove(place);
        let Some(&filler) = self.entries.get(place) else {
            return; // it was the last one
        };
        if filler < gone {
            self.up(place, filler);
        } else {
            self.down(place, filler);
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn put(&mut self, place: usize, entry: Entry) {
        if let (Some(at), Some(known)) =
            (self.entries.get_mut(place), self.places.get_mut(entry.slot() as usize))
        {
            *at = entry;
            *known = place as u32;
        }
    }

    fn up(&mut self, mut place: usize, entry: Entry) {
        while place > 0 {
            let parent = (place - 1) / CHILDREN;
            match self.entries.get(parent) {
                Some(&above) if entry < above => self.put(place, above),
                _ => break,
            }
            place = parent;
        }
        self.put(place, entry);
    }

    fn down(&mut self, mut place: usize, entry: Entry) {
        while let Some((child, below)) = self.least_child(place) {
            if entry < below {
                break;
            }
            self.put(place, below);
            place = child;
        }
        self.put(place, entry);
    }

    fn least_child(&self, place: usize) -> Option<(usize, Entry)> {
        let first = CHILDREN * place + 1;
        let children = self.entries.get(first..)?;
        if let Some(&[a, b, c, d]) = children.first_chunk::<CHILDREN>() {
            let left = if b < a { (1, b) } else { (0, a) };
            let right = if d < c { (3, d) } else { (2, c) };
            let (nth, least) = if right.1 < left.1 { right } else { left };
            return Some((first + nth, least));
        }
        let (nth, &least) = children.iter().enumerate().min_by_key(|&(_, child)| child)?;
        Some((first + nth, least))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn the_heap_agrees_with_a_sorted_map_and_knows_every_place(
            ops in proptest::collection::vec((0..3u8, 0..40u64), 0..300)
        ) {
            let (mut heap, mut model) = (Heap::default(), BTreeMap::new());
            for (seq, (op, due)) in ops.into_iter().enumerate() {
                let seq = seq as u32;
                if op < 2 {
                    heap.push(Entry::new(due, seq, seq));
                    model.insert((due, seq), ());
                } else if let Some((&victim, ())) = model.iter().nth(due as usize % model.len().max(1)) {
                    heap.remove(victim.1);
                    heap.remove(victim.1);
                    prop_assert!(!heap.contains(victim.1));
                    model.remove(&victim);
                }
                prop_assert_eq!(heap.first().map(|e| (e.due(), e.slot())), model.keys().next().copied());
                prop_assert_eq!(heap.entries.len(), model.len());
                for (place, entry) in heap.entries.iter().enumerate() {
                    prop_assert!(heap.contains(entry.slot()));
                    prop_assert_eq!(heap.places[entry.slot() as usize] as usize, place);
                }
            }
        }
    }

    #[test]
    fn equal_deadlines_keep_the_order_of_addition() {
        let mut heap = Heap::default();
        for (slot, seq) in [(2, 7), (9, 8), (1, 9), (0, u32::MAX)] {
            heap.push(Entry::new(u64::MAX, seq, slot));
        }
        for slot in [2, 9, 1, 0] {
            assert_eq!(heap.first().map(Entry::slot), Some(slot));
            heap.remove(slot);
        }
        assert_eq!(heap.first(), None);
    }
}

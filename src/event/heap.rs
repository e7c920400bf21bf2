// SPDX-License-Identifier: LGPL-2.1-or-later
//! A min-heap of deadlines that knows where each timer's entry is, so that any of them can be removed in O(log n). Each
//! node has four children, which share a cache line.

use std::cmp::Ordering;

/// One armed timer: earlier `due` first, then in order of `seq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) due: u64,
    /// Counts additions; it may wrap around, and then only the order of equal deadlines suffers.
    pub(super) seq: u32,
    /// Names the timer; at most one entry has it.
    pub(super) slot: u32,
}

impl Entry {
    fn before(&self, other: &Self) -> bool {
        match self.due.cmp(&other.due) {
            Ordering::Less => true,
            Ordering::Greater => false,
            Ordering::Equal => (self.seq.wrapping_sub(other.seq) as i32) < 0,
        }
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
    pub(super) fn first(&self) -> Option<&Entry> {
        self.entries.first()
    }

    /// True if the slot has an entry.
    pub(super) fn contains(&self, slot: u32) -> bool {
        self.places.get(slot as usize).is_some_and(|&place| place != ABSENT)
    }

    /// Adds an entry for a slot that has none. There are fewer than 2^31.
    pub(super) fn push(&mut self, entry: Entry) {
        let slot = entry.slot as usize;
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
        if filler.before(&gone) {
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
            (self.entries.get_mut(place), self.places.get_mut(entry.slot as usize))
        {
            *at = entry;
            *known = place as u32;
        }
    }

    fn up(&mut self, mut place: usize, entry: Entry) {
        while place > 0 {
            let parent = (place - 1) / CHILDREN;
            match self.entries.get(parent) {
                Some(&above) if entry.before(&above) => self.put(place, above),
                _ => break,
            }
            place = parent;
        }
        self.put(place, entry);
    }

    fn down(&mut self, mut place: usize, entry: Entry) {
        loop {
            let first = CHILDREN * place + 1;
            let children = self.entries.iter().enumerate().skip(first).take(CHILDREN);
            let least = children.reduce(|a, b| if b.1.before(a.1) { b } else { a });
            match least {
                Some((child, &below)) if below.before(&entry) => {
                    self.put(place, below);
                    place = child;
                }
                _ => break,
            }
        }
        self.put(place, entry);
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
                    heap.push(Entry { due, seq, slot: seq });
                    model.insert((due, seq), ());
                } else if let Some((&victim, ())) = model.iter().nth(due as usize % model.len().max(1)) {
                    heap.remove(victim.1);
                    heap.remove(victim.1);
                    prop_assert!(!heap.contains(victim.1));
                    model.remove(&victim);
                }
                prop_assert_eq!(heap.first().map(|e| (e.due, e.seq)), model.keys().next().copied());
                prop_assert_eq!(heap.entries.len(), model.len());
                for (place, entry) in heap.entries.iter().enumerate() {
                    prop_assert!(heap.contains(entry.slot));
                    prop_assert_eq!(heap.places[entry.slot as usize] as usize, place);
                }
            }
        }
    }

    #[test]
    fn equal_deadlines_keep_their_order_across_the_wrap_around() {
        let mut heap = Heap::default();
        for (slot, seq) in [(0, u32::MAX - 1), (1, u32::MAX), (2, 0), (3, 1)] {
            heap.push(Entry { due: 9, seq, slot });
        }
        for slot in 0..4 {
            assert_eq!(heap.first().map(|e| e.slot), Some(slot));
            heap.remove(slot);
        }
    }
}

// SPDX-License-Identifier: LGPL-2.1-or-later
//! A binary min-heap of deadlines that tells its owner where each entry is, so that any entry can be removed in O(log n).

/// One armed timer: earlier `due` first, then in order of `seq`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) due: u64,
    pub(super) seq: u64,
    pub(super) slot: u32,
}

/// The heap; every move of an entry is reported as `moved(slot, place)`.
#[derive(Default)]
pub(super) struct Heap {
    entries: Vec<Entry>,
}

impl Heap {
    pub(super) fn first(&self) -> Option<&Entry> {
        self.entries.first()
    }

    pub(super) fn push(&mut self, entry: Entry, moved: &mut impl FnMut(u32, usize)) {
        self.entries.push(entry);
        self.up(self.entries.len() - 1, entry, moved);
    }

    /// Takes the entry at `place` out.
    pub(super) fn remove(&mut self, place: usize, moved: &mut impl FnMut(u32, usize)) {
        if place >= self.entries.len() {
            return;
        }
        let gone = self.entries.swap_remove(place);
        let Some(&filler) = self.entries.get(place) else {
            return; // it was the last one
        };
        if filler < gone {
            self.up(place, filler, moved);
        } else {
            self.down(place, filler, moved);
        }
    }

    pub(super) fn clear(&mut self) {
        self.entries = Vec::new();
    }

    fn put(&mut self, place: usize, entry: Entry, moved: &mut impl FnMut(u32, usize)) {
        if let Some(at) = self.entries.get_mut(place) {
            *at = entry;
            moved(entry.slot, place);
        }
    }

    fn up(&mut self, mut place: usize, entry: Entry, moved: &mut impl FnMut(u32, usize)) {
        while place > 0 {
            let parent = (place - 1) / 2;
            match self.entries.get(parent) {
                Some(&above) if entry < above => self.put(place, above, moved),
                _ => break,
            }
            place = parent;
        }
        self.put(place, entry, moved);
    }

    fn down(&mut self, mut place: usize, entry: Entry, moved: &mut impl FnMut(u32, usize)) {
        loop {
            let left = 2 * place + 1;
            let (Some(&l), r) = (self.entries.get(left), self.entries.get(left + 1)) else {
                break;
            };
            let (child, below) = match r {
                Some(&r) if r < l => (left + 1, r),
                _ => (left, l),
            };
            if entry <= below {
                break;
            }
            self.put(place, below, moved);
            place = child;
        }
        self.put(place, entry, moved);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn the_heap_agrees_with_a_sorted_map_and_knows_every_place(ops in proptest::collection::vec((0..3u8, 0..40u64), 0..300)) {
            let (mut heap, mut model) = (Heap::default(), BTreeMap::new());
            let mut places = BTreeMap::new();
            for (seq, (op, due)) in ops.into_iter().enumerate() {
                let entry = Entry { due, seq: seq as u64, slot: seq as u32 };
                if op < 2 {
                    heap.push(entry, &mut |slot, place| { places.insert(slot, place); });
                    model.insert(entry, ());
                } else if let Some((&victim, ())) = model.iter().nth(due as usize % model.len().max(1)) {
                    let place = places[&victim.slot];
                    heap.remove(place, &mut |slot, place| { places.insert(slot, place); });
                    model.remove(&victim);
                }
                prop_assert_eq!(heap.first(), model.keys().next());
                prop_assert_eq!(heap.entries.len(), model.len());
                for (place, entry) in heap.entries.iter().enumerate() {
                    prop_assert_eq!(places[&entry.slot], place);
                }
            }
        }
    }
}

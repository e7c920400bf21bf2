// SPDX-License-Identifier: LGPL-2.1-or-later
//! Moves the entries of a map into slots that ascend in the order of iteration, so that iterators read memory straight
//! on. That costs more than one iteration; so a map is arranged only if it is small and most of it is new, or if
//! iterators have read it several times since the last change of the order. The next new entry ends the arrangement,
//! removals do not: they leave free slots, which are passed over.

use super::entries::NONE;
use super::inner::{Inner, Order};
use super::key::Key;

/// Up to here, about what a processor's cache holds, most entries being new is reason enough.
const EAGERLY_UP_TO: usize = 1 << 15;
/// So many readings pay for an arrangement.
const READINGS: usize = 4;

impl<K: Key, V: Clone, N> Inner<K, V, N> {
    /// Whether slots ascend in the order of iteration.
    #[inline]
    pub fn is_arranged(&self) -> bool {
        self.new == 0
    }

    /// Before an iterator begins, when nothing is pending.
    #[inline]
    pub fn arrange_if_worthwhile(&mut self) {
        if !self.is_arranged() {
            let slots = self.entries.slots();
            let mostly_new = slots <= EAGERLY_UP_TO && self.new >= slots / READINGS;
            if mostly_new || self.browsed >= slots.saturating_mul(READINGS) {
                self.arrange();
            }
        }
    }

    #[inline(never)]
    fn arrange(&mut self) {
        // Nobody may know a slot but index and order.
        if self.entries.fading() > 0
            || !self.notifiers.know_no_slots()
            || self.walks.iter().any(|w| w.spot.position() != NONE)
        {
            return;
        }
        let slots = self.entries.slots();
        let mut rank = Vec::new();
        // A convenience: without memory everything stays where it is.
        if rank.try_reserve_exact(slots).is_err() || self.entries.reserve_copies(slots).is_err() {
            return;
        }
        rank.resize(slots, NONE);
        let (mut used, mut in_place) = (0, true);
        let visit = |slot: u32| {
            if let Some(rank) = rank.get_mut(slot as usize) {
                *rank = used;
            }
            in_place &= slot == used;
            used += 1;
        };
        match &self.order {
            Order::Buckets(buckets) => buckets.walk(&self.entries, visit),
            Order::Tree(tree, _) => tree.walk(visit),
        }
        self.new = 0;
        if in_place {
            return;
        }
        for (free, next) in rank.iter_mut().filter(|r| **r == NONE).zip(used..) {
            *free = next;
        }
        let new = |slot: u32| rank.get(slot as usize).copied().unwrap_or(slot);
        self.index.renumber(new);
        match &mut self.order {
            Order::Buckets(buckets) => buckets.renumber(new),
            Order::Tree(tree, _) => tree.renumber(new),
        }
        self.entries.permute(&mut rank, used);
    }
}

// SPDX-License-Identifier: LGPL-2.1-or-later
//! A stopwatch with intermediate times (splits). Results are whole microseconds, truncated.

use super::clock::monotonic_ns;
use crate::{Error, Result};

const NS_IN_US: u64 = 1000;

/// Measures from [`start`](Self::start) to the last [`stop`](Self::stop) and to each [`split`](Self::split).
#[derive(Debug, Default)]
pub struct Stopwatch {
    started: Option<u64>,
    stopped: Option<u64>,
    capacity: u32,
    overwrite: bool,
    /// Split number `n` is at `n % capacity`. Grows up to `capacity`, for which room is reserved.
    splits: Vec<u64>,
    count: u64,
}

impl Stopwatch {
    /// A stopwatch that has not been started and has no room for splits.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts now, and forgets stop and splits; the room for splits stays.
    pub fn start(&mut self) {
        self.start_at(monotonic_ns());
    }

    fn start_at(&mut self, now: u64) {
        self.started = Some(now);
        self.stopped = None;
        self.splits.clear();
        self.count = 0;
    }

    /// Records the time since the start, as often as it is called.
    pub fn stop(&mut self) {
        self.stopped = Some(monotonic_ns());
    }

    /// Microseconds from the start to the last stop; 0 if one of the two is missing.
    #[must_use]
    pub fn elapsed_us(&self) -> u64 {
        match (self.started, self.stopped) {
            (Some(from), Some(to)) => to.saturating_sub(from) / NS_IN_US,
            _ => 0,
        }
    }

    /// Makes room for `capacity` splits and forgets those that there are. With `overwrite` a new split replaces the
    /// oldest once the room is used up.
    ///
    /// # Errors
    /// [`Error::NoMemory`]; nothing has changed then.
    pub fn set_splits(&mut self, capacity: u32, overwrite: bool) -> Result<()> {
        let mut room = Vec::new();
        let wanted = usize::try_from(capacity).map_err(|_| Error::NoMemory)?;
        room.try_reserve_exact(wanted).map_err(|_| Error::NoMemory)?;
        self.splits = room;
        self.capacity = capacity;
        self.overwrite = overwrite;
        self.count = 0;
        Ok(())
    }

    /// Records a split, and starts the watch if it was never started. Microseconds since the previous split, or since
    /// the start for the first one; 0 if there is no room.
    pub fn split(&mut self) -> u64 {
        let capacity = u64::from(self.capacity);
        if capacity == 0 || (self.count >= capacity && !self.overwrite) {
            return 0;
        }
        let now = monotonic_ns();
        let started = match self.started {
            Some(at) => at,
            None => {
                self.start_at(now);
                now
            }
        };
        let previous = self.count.checked_sub(1).and_then(|n| self.at(n)).unwrap_or(started);
        let slot = self.slot(self.count);
        match self.splits.get_mut(slot) {
            Some(oldest) => *oldest = now,
            None => self.splits.push(now), // within what set_splits reserved
        }
        self.count += 1;
        now.saturating_sub(previous) / NS_IN_US
    }

    /// Number of the last split, counted from 0; 0 also if there is none.
    #[must_use]
    pub fn last_split(&self) -> u32 {
        // A watch with 2^32 splits is beyond what the C interface can number.
        u32::try_from(self.count.saturating_sub(1)).unwrap_or(u32::MAX)
    }

    /// Microseconds from split number `older` to split number `recent`, or from the start if both are the same. 0 if
    /// one of them does not exist (any more) or they are in the wrong order.
    #[must_use]
    pub fn between_splits(&self, recent: u32, older: u32) -> u64 {
        if recent < older {
            return 0;
        }
        let from = if recent == older { self.started } else { self.at(u64::from(older)) };
        match (from, self.at(u64::from(recent))) {
            (Some(from), Some(to)) => to.saturating_sub(from) / NS_IN_US,
            _ => 0,
        }
    }

    /// Time of split number `n`, unless it was overwritten or never made.
    fn at(&self, n: u64) -> Option<u64> {
        let oldest = self.count.saturating_sub(u64::from(self.capacity));
        if n < oldest || n >= self.count {
            return None;
        }
        self.splits.get(self.slot(n)).copied()
    }

    fn slot(&self, n: u64) -> usize {
        n.checked_rem(u64::from(self.capacity)).and_then(|at| usize::try_from(at).ok()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::sleep;
    use std::time::Duration;

    fn watch(capacity: u32, overwrite: bool) -> Stopwatch {
        let mut sw = Stopwatch::new();
        sw.set_splits(capacity, overwrite).unwrap();
        sw
    }

    fn split_after(sw: &mut Stopwatch, ms: u64) -> u64 {
        sleep(Duration::from_millis(ms));
        sw.split()
    }

    #[test]
    fn nothing_elapses_before_start_and_stop() {
        let mut sw = Stopwatch::new();
        assert_eq!(sw.elapsed_us(), 0);
        sw.stop();
        assert_eq!(sw.elapsed_us(), 0);
        sw.start();
        assert_eq!(sw.elapsed_us(), 0);
        sleep(Duration::from_millis(2));
        sw.stop();
        let first = sw.elapsed_us();
        assert!(first >= 2000);
        sleep(Duration::from_millis(1));
        sw.stop();
        assert!(sw.elapsed_us() >= first + 1000);
    }

    #[test]
    fn a_full_watch_takes_no_further_split() {
        let mut sw = watch(2, false);
        sw.start();
        assert!(split_after(&mut sw, 2) >= 2000);
        assert!(split_after(&mut sw, 2) >= 2000);
        assert_eq!(split_after(&mut sw, 2), 0);
        assert_eq!(sw.last_split(), 1);
        assert_eq!(sw.between_splits(2, 1), 0);
        assert!(sw.between_splits(1, 1) >= 4000);
    }

    #[test]
    fn the_first_split_starts_the_watch() {
        let mut sw = watch(2, false);
        sw.split();
        assert!(split_after(&mut sw, 2) >= 2000);
        assert!(sw.between_splits(1, 0) >= 2000);
        assert_eq!(sw.between_splits(0, 1), 0);
    }

    #[test]
    fn overwriting_forgets_the_oldest_only() {
        let mut sw = watch(3, true);
        for _ in 0..4 {
            split_after(&mut sw, 1);
        }
        assert_eq!(sw.last_split(), 3);
        assert_eq!(sw.between_splits(3, 0), 0);
        assert!(sw.between_splits(3, 1) >= 2000);
        assert!(sw.between_splits(1, 1) >= 1000);
    }

    #[test]
    fn a_ring_that_is_not_full_yet_knows_its_splits() {
        let mut sw = watch(5, true);
        sw.start();
        split_after(&mut sw, 1);
        split_after(&mut sw, 1);
        assert!(sw.between_splits(1, 0) >= 1000);
    }

    #[test]
    fn new_room_starts_counting_again() {
        let mut sw = watch(1, false);
        sw.split();
        sw.set_splits(2, false).unwrap();
        assert_eq!(sw.last_split(), 0);
        assert_eq!(sw.between_splits(0, 0), 0);
        assert!(split_after(&mut sw, 1) >= 1000);
    }

    #[test]
    fn no_room_means_no_split() {
        let mut sw = Stopwatch::new();
        sw.start();
        assert_eq!(split_after(&mut sw, 1), 0);
        assert_eq!(sw.last_split(), 0);
    }
}

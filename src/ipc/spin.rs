// SPDX-License-Identifier: LGPL-2.1-or-later
//! Whether a wait is better spent looking than sleeping.
//!
//! Waking a sleeper on another processor takes longer than most answers do. So a waiter looks again and again first, for no
//! longer than [`limits::spin_ns`], if waits follow each other closely and that has paid off lately. Each attempt in vain doubles
//! the number of waits that go straight to sleep: with a slow peer or on a busy machine it all but ends by itself. When the
//! peer last ran on the waiter's own processor, looking is useless and the waiter steps aside instead (`sched_yield`), under
//! the same rule; if others run before it gets the processor back, it sleeps for the next thousands of waits. With one processor
//! in the machine nobody spins.

use crate::limits;
use crate::sys::clock::monotonic_ns;
use crate::sys::process;

/// Most waits without an attempt between two attempts.
const MOST_SKIPPED: u32 = 1 << 12;
/// A peer that has much to do takes less; somebody else who wants the processor keeps it for longer. In nanoseconds.
const PATIENCE: u64 = 1_000_000;
/// Waits without an attempt after a waiter that stepped aside had to wait for others.
const AFTER_OTHERS: std::ops::Range<u32> = 1 << 11..1 << 14;
/// The same for glances, which cost little.
const MOST_GLANCES_SKIPPED: u32 = 1 << 5;
/// A wait that begins later after the one before does not belong to a busy exchange; the peer has gone to sleep.
/// In nanoseconds.
const BUSY: u64 = 300_000;
/// Looks between two looks at the clock.
const LOOKS: u32 = 32;
/// Looks before the first look at the clock, which costs as much as many of them.
const FIRST_LOOKS: u32 = 64;
/// How often a waiter steps aside in one wait.
const STEPS_ASIDE: u32 = 2;

/// Where the peer runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// On our own processor, when it last said so.
    Here,
    /// On another one.
    Elsewhere,
    /// The wire does not tell.
    Unknown,
}

/// What one waiter has learned.
#[derive(Default)]
pub(super) struct Spin {
    /// Waits that still go straight to sleep.
    skip: u32,
    /// How many will be skipped after the next attempt in vain.
    penalty: u32,
    /// When the last wait that looked at the clock began, in nanoseconds of the monotonic clock.
    last: Option<u64>,
    /// The last wait ended before anybody looked at the clock.
    quick: bool,
}

impl Spin {
    /// Looks until `there` says yes; false when that took too long or was not worth trying.
    #[inline]
    pub fn wait_for(&mut self, peer: Peer, there: impl Fn() -> bool) -> bool {
        if there() {
            return true;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if limits::spin_ns() == 0 {
            return false;
        }
        match peer {
            Peer::Here => return self.step_aside(PATIENCE, there),
            _ if process::cpus() == 1 => return false,
            // Should it be on our processor, each look keeps it from running.
            Peer::Unknown => return self.by_the_clock(there),
            Peer::Elsewhere => {}
        }
        for _ in 0..FIRST_LOOKS {
            if there() {
                self.paid_off();
                self.quick = true;
                return true;
            }
            std::hint::spin_loop();
        }
        self.by_the_clock(there)
    }

    /// Like [`Spin::wait_for`], but for about a microsecond at most: for a receiver that has something to return already.
    #[inline]
    pub fn glance(&mut self, peer: Peer, there: impl Fn() -> bool) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if peer == Peer::Here || limits::spin_ns() == 0 || process::cpus() == 1 {
            return false;
        }
        for _ in 0..FIRST_LOOKS {
            if there() {
                self.paid_off();
                return true;
            }
            std::hint::spin_loop();
        }
        self.penalty = (self.penalty * 2).clamp(1, MOST_GLANCES_SKIPPED);
        self.skip = self.penalty;
        false
    }

    #[inline(never)]
    fn by_the_clock(&mut self, there: impl Fn() -> bool) -> bool {
        let start = monotonic_ns();
        let busy = self.last.replace(start).is_some_and(|last| start.saturating_sub(last) < BUSY);
        if !(std::mem::take(&mut self.quick) || busy) {
            return false;
        }
        loop {
            for _ in 0..LOOKS {
                if there() {
                    self.paid_off();
                    return true;
                }
                std::hint::spin_loop();
            }
            if monotonic_ns().saturating_sub(start) > limits::spin_ns() {
                self.was_in_vain();
                return false;
            }
        }
    }

    /// Lets others run for no longer than `patience`, if that can be helped.
    fn step_aside(&mut self, patience: u64, there: impl Fn() -> bool) -> bool {
        let start = monotonic_ns();
        if self.last.replace(start).is_none_or(|last| start.saturating_sub(last) >= BUSY) {
            return false;
        }
        for _ in 0..STEPS_ASIDE {
            process::yield_now();
            let there = there();
            if monotonic_ns().saturating_sub(start) > patience {
                // Somebody else ran meanwhile. Whoever is woken from sleep does not have to wait for that one.
                self.was_costly();
                return there;
            }
            if there {
                self.paid_off();
                return true;
            }
        }
        self.was_in_vain();
        false
    }

    #[inline]
    fn paid_off(&mut self) {
        self.penalty /= 2;
    }

    /// Once in a while is enough to find out whether the processor is free again.
    #[cold]
    fn was_costly(&mut self) {
        self.penalty = (self.penalty * 2).clamp(AFTER_OTHERS.start, AFTER_OTHERS.end);
        self.skip = self.penalty;
    }

    fn was_in_vain(&mut self) {
        self.penalty = (self.penalty * 2).clamp(1, MOST_SKIPPED);
        self.skip = self.penalty;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wait that began just now, whenever this thread has its turn.
    const JUST_NOW: Option<u64> = Some(u64::MAX);

    #[test]
    fn attempts_in_vain_become_rare() {
        for peer in [Peer::Elsewhere, Peer::Here, Peer::Unknown] {
            let mut spin = Spin::default();
            let attempts = (0..1000)
                .filter(|_| {
                    let tried = spin.skip == 0 && spin.last.is_some();
                    spin.last = JUST_NOW;
                    assert!(!spin.wait_for(peer, || false));
                    tried
                })
                .count();
            assert!(attempts <= 11, "{attempts}");
        }
    }

    #[test]
    fn success_makes_attempts_frequent_again() {
        for peer in [Peer::Elsewhere, Peer::Here, Peer::Unknown] {
            let mut spin = Spin { penalty: 64, ..Spin::default() };
            if peer == Peer::Here || process::cpus() > 1 {
                for _ in 0..7 {
                    spin.last = JUST_NOW;
                    let came = match peer {
                        // Others may want the processor while this runs.
                        Peer::Here => spin.step_aside(u64::MAX, || true),
                        _ => spin.wait_for(peer, second_look()),
                    };
                    assert!(came);
                }
                assert_eq!(spin.penalty, 0);
            }
        }
    }

    /// What is not there at once, but soon.
    fn second_look() -> impl Fn() -> bool {
        let looks = std::cell::Cell::new(0);
        move || looks.replace(looks.get() + 1) > 0
    }

    #[test]
    fn what_is_there_already_says_nothing_about_waiting() {
        let mut spin = Spin { penalty: 64, skip: 64, ..Spin::default() };
        assert!(spin.wait_for(Peer::Unknown, || true));
        assert_eq!((spin.penalty, spin.skip), (64, 64));
    }

    #[test]
    fn a_waiter_that_steps_aside_for_others_does_not_soon_again() {
        let mut spin = Spin { last: JUST_NOW, ..Spin::default() };
        let looks = std::cell::Cell::new(0);
        let late = || {
            std::thread::sleep(std::time::Duration::from_nanos(PATIENCE) * looks.get());
            looks.replace(looks.get() + 2) > 0
        };
        assert!(spin.wait_for(Peer::Here, late), "what came meanwhile is taken");
        assert!(spin.skip >= AFTER_OTHERS.start && spin.skip <= AFTER_OTHERS.end);
        for _ in 0..AFTER_OTHERS.start {
            spin.last = JUST_NOW;
            assert!(!spin.wait_for(Peer::Here, || false));
        }
        assert_eq!(spin.penalty, AFTER_OTHERS.start, "none of these was an attempt");
    }

    #[test]
    fn a_wait_after_a_pause_goes_to_sleep() {
        for peer in [Peer::Elsewhere, Peer::Here, Peer::Unknown] {
            let long_ago = monotonic_ns().checked_sub(BUSY * 2);
            let mut spin = Spin { last: long_ago, ..Spin::default() };
            assert!(!spin.wait_for(peer, || false));
            assert_eq!(spin.penalty, 0, "that was no attempt");
        }
    }
}

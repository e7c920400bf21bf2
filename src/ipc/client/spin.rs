// SPDX-License-Identifier: LGPL-2.1-or-later
//! Whether a wait is better spent spinning than sleeping.
//!
//! Waking a sleeper on another processor takes longer than most answers do. So a waiter spins first, for no longer than
//! [`limits::spin`], if that has paid off lately. Each attempt in vain doubles the number of waits that go straight to sleep:
//! with both ends on one processor, with a slow service or on a busy machine spinning all but ends by itself. With one
//! processor to run on it never begins.

use crate::limits;
use crate::sys::process;
use std::time::Instant;

/// Most waits without an attempt between two attempts.
const MOST_SKIPPED: u32 = 1 << 12;
/// Attempts between two looks at the processors that may be used.
const RECHECK: u32 = 1 << 10;
/// Looks at the answer between two looks at the clock.
const LOOKS: u32 = 32;

/// What one waiter has learned.
#[derive(Default)]
pub(super) struct Spin {
    /// Waits that still go straight to sleep.
    skip: u32,
    /// How many will be skipped after the next attempt in vain.
    penalty: u32,
    /// Attempts until the next look at the processors we may run on.
    unchecked: u32,
}

impl Spin {
    /// Spins until `there` says yes; false when that took too long or was not worth trying.
    pub fn wait_for(&mut self, there: impl Fn() -> bool) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if self.unchecked == 0 {
            self.unchecked = RECHECK;
            if !allowed() {
                self.skip = MOST_SKIPPED;
                self.unchecked = 0;
                return false;
            }
        }
        self.unchecked -= 1;
        let start = Instant::now();
        loop {
            for _ in 0..LOOKS {
                if there() {
                    self.penalty /= 2;
                    return true;
                }
                std::hint::spin_loop();
            }
            if start.elapsed() > limits::spin() {
                self.penalty = (self.penalty * 2).clamp(1, MOST_SKIPPED);
                self.skip = self.penalty;
                return false;
            }
        }
    }
}

/// Spinning needs a second processor.
fn allowed() -> bool {
    !limits::spin().is_zero() && process::cpus() > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_in_vain_become_rare() {
        let mut spin = Spin::default();
        let attempts = (0..1000)
            .filter(|_| {
                let tried = spin.skip == 0;
                assert!(!spin.wait_for(|| false));
                tried
            })
            .count();
        assert!(attempts <= 11, "{attempts}");
    }

    #[test]
    fn success_makes_attempts_frequent_again() {
        let mut spin = Spin { penalty: 64, ..Spin::default() };
        if allowed() {
            for _ in 0..7 {
                assert!(spin.wait_for(|| true));
            }
            assert_eq!(spin.penalty, 0);
        }
    }
}

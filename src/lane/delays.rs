// SPDX-License-Identifier: LGPL-2.1-or-later
//! Delays between the steps of the protocols of this room, for threads that ask for them: so that a stress test meets orders
//! of events that a quiet machine hardly ever shows.

use std::cell::Cell;
use std::time::Duration;

thread_local! {
    /// State of the generator; 0 is for a thread without delays. And the most that a delay may be.
    static DELAYS: Cell<(u64, Longest)> = const { Cell::new((0, Longest::Yield)) };
}

/// The longest kind of delay a thread gets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Longest {
    /// Spins and steps aside.
    Yield,
    /// Now and then sleeps as well, for up to 100 us.
    Sleep,
}

/// From now on this thread is delayed at random; the seed repeats the choices, though not what the scheduler makes of them.
pub(crate) fn start(seed: u64, longest: Longest) {
    DELAYS.set((seed | 1, longest));
}

pub(crate) fn step() {
    let (state, longest) = DELAYS.get();
    if state == 0 {
        return;
    }
    // Marsaglia's xorshift.
    let mut next = state;
    next ^= next << 13;
    next ^= next >> 7;
    next ^= next << 17;
    DELAYS.set((next, longest));
    match (next >> 20) % 4096 {
        0..256 => (0..next % 400).for_each(|_| std::hint::spin_loop()),
        256..264 => std::thread::yield_now(),
        264 if longest == Longest::Sleep => std::thread::sleep(Duration::from_micros(next % 100)),
        _ => {}
    }
}

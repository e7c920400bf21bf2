// SPDX-License-Identifier: LGPL-2.1-or-later
//! The word with which a receiver says that it is about to sleep. See the room's door for the protocol.

use crate::shm::SharedWord;
use crate::sync::{Ordering, fence};

const AWAKE: u32 = 0;
const ARMED: u32 = 1;

/// What became of a receiver that wanted to sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Armed {
    /// Nothing is there, and whatever comes will be announced.
    Asleep,
    /// Something came in the meantime, and nobody will announce it.
    Awake,
    /// Something came in the meantime, and its sender has taken the bell: an announcement is under way.
    Rung,
}

/// Receiver: arms the bell and looks once more, with `ready`.
pub fn arm(bell: &SharedWord, ready: impl FnOnce() -> bool) -> Armed {
    bell.set(ARMED);
    super::step();
    // ORDER(bell): pairs with `rouse`. Either the sender sees the armed bell, or we see what it published.
    fence(Ordering::SeqCst);
    super::step();
    let ready = ready();
    super::step();
    if !ready {
        return Armed::Asleep;
    }
    if disarm(bell) { Armed::Awake } else { Armed::Rung }
}

/// Receiver: takes its own bell back; false when a sender was faster, whose announcement is under way then.
pub fn disarm(bell: &SharedWord) -> bool {
    bell.swap(AWAKE) == ARMED
}

/// Sender: to be called after publishing; true when the receiver has to be woken, once.
#[inline]
pub fn rouse(bell: &SharedWord) -> bool {
    super::step();
    // ORDER(bell): pairs with `arm`.
    fence(Ordering::SeqCst);
    super::step();
    if bell.get() == AWAKE {
        return false;
    }
    super::step();
    let armed = bell.swap(AWAKE) != AWAKE;
    super::step();
    armed
}

// SPDX-License-Identifier: LGPL-2.1-or-later
//! A fault in one of our mappings costs that mapping, never the process.
//!
//! A peer that shares a file may truncate it; the next access beyond its end raises SIGBUS. The handler installed here
//! puts a zeroed private page under the faulting address, marks the mapping dead, and lets the access go on. A fault
//! anywhere else goes to whoever was installed before us.
//!
//! | word of a slot | written by | read by | label |
//! |---|---|---|---|
//! | `turn`: odd while the slot changes or is free | the owner | the handler | `slot-range` |
//! | `base`, `end` | the owner, while `turn` is odd | the handler | `slot-range` |
//! | `dead` | the handler | everybody | none: a hint that stays |
//!
//! The handler takes no lock and allocates nothing. Slots live in chunks that are linked and never freed. A thread that
//! faults in a mapping holds a borrow of it, so that mapping's slot cannot change while the handler looks for it; slots
//! that do change meanwhile belong to others and are passed over.

use crate::sync::{AtomicBool, AtomicPtr, AtomicUsize, Mutex, Ordering, fence};
use crate::sys::mmap::{Pages, page_size, replace_page};
use crate::sys::sigbus;
use crate::{Error, Result};
use std::cell::Cell;

const SLOTS_PER_CHUNK: usize = 64;

struct Slot {
    turn: AtomicUsize,
    base: AtomicUsize,
    end: AtomicUsize,
    dead: AtomicBool,
}

impl Slot {
    fn free() -> Self {
        Self {
            turn: AtomicUsize::new(1),
            base: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            dead: AtomicBool::new(false),
        }
    }

    fn occupy(&self, base: usize, end: usize) {
        self.dead.store(false, Ordering::Relaxed);
        self.base.store(base, Ordering::Relaxed);
        self.end.store(end, Ordering::Relaxed);
        // ORDER(slot-range): pairs with `Slot::holds`. Whoever sees the even turn sees this range; published earlier, the
        // handler could take a foreign address for one of ours.
        self.turn.store(self.turn.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
    }

    fn vacate(&self) {
        self.turn.store(self.turn.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        // ORDER(slot-range): pairs with `Slot::holds`. The odd turn is visible before the next owner's range is.
        fence(Ordering::Release);
    }

    fn holds(&self, address: usize) -> bool {
        // ORDER(slot-range): pairs with `Slot::occupy`.
        let before = self.turn.load(Ordering::Acquire);
        let (base, end) = (self.base.load(Ordering::Relaxed), self.end.load(Ordering::Relaxed));
        // ORDER(slot-range): pairs with `Slot::vacate`: a range of the next owner implies a turn that moved on.
        fence(Ordering::Acquire);
        before.is_multiple_of(2)
            && self.turn.load(Ordering::Relaxed) == before
            && base <= address
            && address < end
    }
}

struct Chunk {
    slots: [Slot; SLOTS_PER_CHUNK],
    next: AtomicPtr<Chunk>,
}

static CHUNKS: AtomicPtr<Chunk> = AtomicPtr::new(std::ptr::null_mut());
static FREE: Mutex<Vec<&'static Slot>> = Mutex::new(Vec::new());

fn add_chunk(free: &mut Vec<&'static Slot>) {
    let chunk: &'static Chunk = Box::leak(Box::new(Chunk {
        slots: std::array::from_fn(|_| Slot::free()),
        next: AtomicPtr::new(CHUNKS.load(Ordering::Relaxed)),
    }));
    free.extend(chunk.slots.iter());
    // ORDER(slot-range): pairs with `on_fault`; the handler sees a whole chunk or none. Only the holder of FREE stores.
    CHUNKS.store(std::ptr::from_ref(chunk).cast_mut(), Ordering::Release);
}

/// Called by the signal handler: true when the address was ours and a page is now under it.
fn on_fault(address: usize) -> bool {
    // ORDER(slot-range): pairs with `add_chunk`.
    let mut at = CHUNKS.load(Ordering::Acquire);
    // SAFETY: chunks are leaked boxes, never freed and never mutably borrowed after publication.
    while let Some(chunk) = unsafe { at.as_ref() } {
        if let Some(slot) = chunk.slots.iter().find(|slot| slot.holds(address)) {
            slot.dead.store(true, Ordering::Relaxed);
            // SAFETY: the address lies in a live mapping of ours that just proved unusable.
            return unsafe { replace_page(address, page_size()) };
        }
        at = chunk.next.load(Ordering::Acquire);
    }
    false
}

/// Lets SIGBUS through in the calling thread, at its first call: a fault while the signal is blocked would end the process
/// whatever handler there is. A thread that blocks it again later, and only then touches shared memory, is on its own.
#[inline]
pub fn ready() {
    thread_local!(static READY: Cell<bool> = const { Cell::new(false) });
    if !READY.get() {
        sigbus::unblock();
        READY.set(true);
    }
}

/// Keeps one mapping in the handler's table.
pub struct Watch(&'static Slot);

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("dead", &self.is_dead()).finish()
    }
}

impl Watch {
    /// Enters the pages into the table and sees to it that the handler is installed. To be dropped before they are
    /// unmapped.
    pub fn start(pages: &Pages) -> Result<Self> {
        page_size(); // asked for here so that the handler finds it ready
        sigbus::guard(on_fault)?;
        ready();
        let base = pages.base().as_ptr().addr();
        let end = base.checked_add(pages.span()).ok_or(Error::Invalid)?;
        let mut free = FREE.lock();
        if free.is_empty() {
            add_chunk(&mut free);
        }
        let slot = free.pop().ok_or(Error::NoMemory)?;
        slot.occupy(base, end);
        Ok(Self(slot))
    }

    /// True once a fault was caught in the mapping.
    #[inline]
    pub fn is_dead(&self) -> bool {
        self.0.dead.load(Ordering::Relaxed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.vacate();
        FREE.lock().push(self.0);
    }
}

#[cfg(test)]
mod tests;

// SPDX-License-Identifier: LGPL-2.1-or-later
//! Signals turned into queued numbers: a handler that only touches atomics and rings an eventfd.
//!
//! Every loop that wants signals owns a [`Port`]: the set of numbers it wants, a small queue and the wake-up descriptor.
//! Ports are never freed, only used again, so that a handler interrupting anything in any thread can walk their list.
//!
//! | word          | handler                 | owner                        | label         |
//! |---------------|-------------------------|------------------------------|---------------|
//! | `wanted`      | reads                   | stores                       |               |
//! | `ring[i]`     | stores number           | takes number, stores 0       | `signal-in`   |
//! | `head`        | claims the next entry   | reads                        |               |
//! | `tail`        | reads                   | stores                       | `entry-free`  |
//! | `in_flight`   | +1 before, -1 after use | waits for 0 before closing   | `port-closed` |
//! | `wake_fd`     | reads                   | stores                       | `port-closed` |
//!
//! A forked child inherits handlers and ports. There the queue is private memory, but the wake-up descriptor is still the
//! parent's: the handler compares the process id and rings only in the process that opened it.

use super::fork;
use super::wake::ring_fd;
use crate::sync::{AtomicBool, AtomicI32, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering};
use libc::{c_int, c_void, siginfo_t};
use std::os::fd::RawFd;
use std::ptr::null_mut;

/// Highest signal number (SIGRTMAX).
pub const MAX: c_int = 64;
const QUEUE: u32 = 256;

static PORTS: AtomicPtr<PortCell> = AtomicPtr::new(null_mut());

struct PortCell {
    next: AtomicPtr<PortCell>,
    in_use: AtomicBool,
    wanted: AtomicU64,
    wake_fd: AtomicI32,
    pid: AtomicI32,
    generation: AtomicU32,
    in_flight: AtomicU32,
    head: AtomicU32,
    tail: AtomicU32,
    ring: [AtomicU8; QUEUE as usize],
    /// Numbers that found the queue full; repeated ones are merged, as the kernel does.
    overflow: AtomicU64,
}

/// A loop's share in signal delivery; released when dropped. The wake-up descriptor must stay open until then.
pub struct Port(&'static PortCell);

/// The bit of a signal number in a set; 0 for numbers that do not exist.
#[must_use]
pub const fn bit(signal: c_int) -> u64 {
    if signal >= 1 && signal <= MAX { 1 << (signal - 1) } else { 0 }
}

fn ports() -> impl Iterator<Item = &'static PortCell> {
    // SAFETY: the list holds only leaked boxes, published by the CAS in `claim` after they were filled, and never
    // unlinked; a null pointer ends it.
    let mut at = unsafe { PORTS.load(Ordering::Acquire).as_ref() };
    std::iter::from_fn(move || {
        let cell = at?;
        // SAFETY: as above; `next` was stored before the cell was published and never changes.
        at = unsafe { cell.next.load(Ordering::Acquire).as_ref() };
        Some(cell)
    })
}

impl PortCell {
    const fn new() -> Self {
        Self {
            next: AtomicPtr::new(null_mut()),
            in_use: AtomicBool::new(true),
            wanted: AtomicU64::new(0),
            wake_fd: AtomicI32::new(-1),
            pid: AtomicI32::new(0),
            generation: AtomicU32::new(0),
            in_flight: AtomicU32::new(0),
            head: AtomicU32::new(0),
            tail: AtomicU32::new(0),
            ring: [const { AtomicU8::new(0) }; QUEUE as usize],
            overflow: AtomicU64::new(0),
        }
    }

    /// Handler's side. Async-signal-safe.
    fn deliver(&self, signal: c_int) {
        if self.wanted.load(Ordering::SeqCst) & bit(signal) == 0 {
            return;
        }
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        // ORDER(port-closed): pairs with `drop`. Either the owner sees us in flight and waits, or we see -1 here; otherwise
        // we might write to a descriptor number that means another file by now.
        let fd = self.wake_fd.load(Ordering::SeqCst);
        if fd >= 0 {
            // SAFETY: takes nothing.
            let here = unsafe { libc::getpid() } == self.pid.load(Ordering::Relaxed);
            if here {
                self.push(signal);
                ring_fd(fd);
            } else if self.generation.load(Ordering::Relaxed) != fork::generation() {
                // A forked copy: the queue is our own, the descriptor is the parent's.
                self.push(signal);
            }
            // Else a vfork child, which runs on the parent's memory: leave it alone.
        }
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
    }

    fn push(&self, signal: c_int) {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            // ORDER(entry-free): pairs with `take`. Whoever sees the new tail also sees the entry's 0.
            if head.wrapping_sub(self.tail.load(Ordering::Acquire)) >= QUEUE {
                self.overflow.fetch_or(bit(signal), Ordering::Release);
                return;
            }
            match self.head.compare_exchange_weak(
                head,
                head.wrapping_add(1),
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(now) => head = now,
            }
        }
        if let Some(entry) = self.ring.get((head % QUEUE) as usize) {
            // ORDER(signal-in): pairs with `take`; the number is all there is to see.
            entry.store(signal as u8, Ordering::Release);
        }
    }

    fn take(&self) -> Option<c_int> {
        let tail = self.tail.load(Ordering::Relaxed);
        // ORDER(signal-in): pairs with `push`.
        let number = self.ring.get((tail % QUEUE) as usize).map_or(0, |e| e.swap(0, Ordering::Acquire));
        if number != 0 {
            // ORDER(entry-free): pairs with `push`.
            self.tail.store(tail.wrapping_add(1), Ordering::Release);
            return Some(c_int::from(number));
        }
        if self.head.load(Ordering::Relaxed) != tail {
            return None; // claimed and not yet stored: the handler rings after the store
        }
        let merged = self.overflow.load(Ordering::Relaxed);
        if merged == 0 {
            return None;
        }
        let lowest = merged & merged.wrapping_neg();
        self.overflow.fetch_and(!lowest, Ordering::Acquire);
        Some(merged.trailing_zeros() as c_int + 1)
    }

    fn own(&self, wake_fd: RawFd) {
        // SAFETY: takes nothing.
        self.pid.store(unsafe { libc::getpid() }, Ordering::Relaxed);
        let generation = fork::generation();
        if self.generation.swap(generation, Ordering::Relaxed) != generation {
            // Threads that were inside the handler stayed behind in the parent.
            self.in_flight.store(0, Ordering::SeqCst);
        }
        self.wake_fd.store(wake_fd, Ordering::SeqCst);
    }

    fn reset_queue(&self) {
        self.ring.iter().for_each(|e| e.store(0, Ordering::Relaxed));
        self.overflow.store(0, Ordering::Relaxed);
        self.tail.store(self.head.load(Ordering::Relaxed), Ordering::Release);
    }
}

impl Port {
    /// A port that rings `wake_fd`, an eventfd.
    #[must_use]
    pub fn claim(wake_fd: RawFd) -> Self {
        fork::watch();
        let free = ports().find(|cell| {
            cell.in_use.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
        });
        let cell = free.unwrap_or_else(|| {
            let cell: &'static PortCell = Box::leak(Box::new(PortCell::new()));
            let mut first = PORTS.load(Ordering::Relaxed);
            loop {
                cell.next.store(first, Ordering::Relaxed);
                let new = std::ptr::from_ref(cell).cast_mut();
                match PORTS.compare_exchange_weak(first, new, Ordering::Release, Ordering::Relaxed) {
                    Ok(_) => break cell,
                    Err(now) => first = now,
                }
            }
        });
        cell.own(wake_fd);
        Self(cell)
    }

    /// The set of numbers to queue from now on, see [`bit`].
    pub fn want(&self, set: u64) {
        self.0.wanted.store(set, Ordering::SeqCst);
    }

    /// The oldest queued number. For the owner only, one thread at a time.
    #[must_use]
    pub fn take(&self) -> Option<c_int> {
        self.0.take()
    }

    /// True while [`Port::take`] may find something.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.0.head.load(Ordering::Relaxed) != self.0.tail.load(Ordering::Relaxed)
            || self.0.overflow.load(Ordering::Relaxed) != 0
    }

    /// In a forked child, after the wake-up descriptor was reopened: the port belongs to this process. What was queued
    /// before stays queued (merged), except entries that a thread left behind in the parent had not finished.
    pub fn adopt(&self, wake_fd: RawFd) {
        let mut set = 0;
        for entry in &self.0.ring {
            set |= bit(c_int::from(entry.swap(0, Ordering::Relaxed)));
        }
        self.0.tail.store(self.0.head.load(Ordering::Relaxed), Ordering::Release);
        self.0.overflow.fetch_or(set, Ordering::Release);
        self.0.own(wake_fd);
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        let cell = self.0;
        cell.wanted.store(0, Ordering::SeqCst);
        // ORDER(port-closed): pairs with `deliver`.
        cell.wake_fd.store(-1, Ordering::SeqCst);
        let same_process = cell.generation.load(Ordering::Relaxed) == fork::generation();
        while same_process && cell.in_flight.load(Ordering::SeqCst) != 0 {
            std::thread::yield_now(); // another thread is inside the handler, which never blocks
        }
        cell.reset_queue();
        cell.in_use.store(false, Ordering::Release);
    }
}

extern "C" fn on_signal(signal: c_int, _info: *mut siginfo_t, _context: *mut c_void) {
    // SAFETY: errno's location is valid for this thread; it is read and put back so that the interrupted code sees no change.
    let errno = unsafe { *libc::__errno_location() };
    for port in ports() {
        port.deliver(signal);
    }
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = errno };
}

fn set_action(signal: c_int, handler: libc::sighandler_t, flags: c_int) -> bool {
    // SAFETY: all-zero is a valid sigaction (SIG_DFL, empty mask, no flags).
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler;
    action.sa_flags = flags;
    // SAFETY: `action` is filled and outlives the call; `handler` is SIG_DFL or `on_signal`, which has the signature that
    // SA_SIGINFO asks for and uses only async-signal-safe calls.
    unsafe {
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigaction(signal, &raw const action, null_mut()) == 0
    }
}

/// Routes `signal` to the ports; false if it cannot be caught. System calls are interrupted (no SA_RESTART).
pub fn catch(signal: c_int) -> bool {
    let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = on_signal;
    bit(signal) != 0 && set_action(signal, handler as libc::sighandler_t, libc::SA_SIGINFO)
}

/// Gives `signal` its default action again, unless some port still wants it.
pub fn uncatch(signal: c_int) {
    let wanted = ports().any(|p| p.wanted.load(Ordering::SeqCst) & bit(signal) != 0);
    if bit(signal) != 0 && !wanted {
        set_action(signal, libc::SIG_DFL, 0);
    }
}

/// Sends a signal to the calling thread.
#[cfg(test)]
pub(crate) fn raise(signal: c_int) {
    // SAFETY: takes no pointers.
    unsafe { libc::raise(signal) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::wake::Wake;
    use std::os::fd::AsRawFd;

    fn port() -> (Wake, Port) {
        let bell = Wake::new().unwrap();
        let port = Port::claim(bell.as_raw_fd());
        (bell, port)
    }

    #[test]
    fn numbers_come_out_in_order_and_as_often_as_they_went_in() {
        let (_bell, port) = port();
        port.want(bit(10) | bit(12));
        for n in [12, 10, 10, 5, 12] {
            port.0.deliver(n);
        }
        let got: Vec<_> = std::iter::from_fn(|| port.take()).collect();
        assert_eq!(got, [12, 10, 10, 12]);
        assert!(!port.is_pending());
    }

    #[test]
    fn a_full_queue_merges_and_loses_no_number() {
        let (_bell, port) = port();
        port.want(bit(10) | bit(64));
        for _ in 0..20_000 {
            port.0.deliver(10);
        }
        port.0.deliver(64);
        let got: Vec<_> = std::iter::from_fn(|| port.take()).collect();
        assert_eq!(got.len(), QUEUE as usize + 2);
        assert_eq!(got.last(), Some(&64));
    }

    #[test]
    fn a_released_port_is_used_again_and_starts_empty() {
        let (bell, port) = port();
        port.want(bit(10));
        port.0.deliver(10);
        drop(port);
        let again = Port::claim(bell.as_raw_fd());
        again.want(bit(10));
        assert_eq!(again.take(), None);
    }

    #[test]
    fn impossible_numbers_have_no_bit_and_cannot_be_caught() {
        for n in [-1, 0, 65, 200, c_int::MIN, c_int::MAX] {
            assert_eq!(bit(n), 0);
            assert!(!catch(n));
        }
        assert!(!catch(libc::SIGKILL));
    }
}

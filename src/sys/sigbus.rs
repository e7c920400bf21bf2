// SPDX-License-Identifier: LGPL-2.1-or-later
//! The SIGBUS handler: asks one function whether it could mend the fault, and otherwise hands the signal to whoever was
//! installed before, as if we had never been there.
//!
//! Programs may install handlers of their own after us and call ours from them. When that is found, ours goes back on top
//! as another *level*, an entry point with its own predecessor, so that a chain of handlers that call each other always
//! ends. The handler itself reads atomics, makes system calls, and nothing else.

use crate::sync::{AtomicPtr, Mutex, Ordering};
use crate::{Error, Result};
use libc::{c_int, c_void, sigaction, siginfo_t};
use std::ptr;
use std::sync::OnceLock;

/// Mends a fault at an address and says whether it did; must be async-signal-safe.
pub type Mend = fn(usize) -> bool;

type Entry = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);

const LEVELS: usize = 8;
static MEND: OnceLock<Mend> = OnceLock::new();
/// Who was installed before each level; NULL is the default disposition. Leaked, so that the handler may read any time.
static BEFORE: [AtomicPtr<sigaction>; LEVELS] = [const { AtomicPtr::new(ptr::null_mut()) }; LEVELS];
static ENTRIES: [Entry; LEVELS] =
    [entry::<0>, entry::<1>, entry::<2>, entry::<3>, entry::<4>, entry::<5>, entry::<6>, entry::<7>];
/// Levels in use so far.
static USED: Mutex<usize> = Mutex::new(0);

extern "C" fn entry<const LEVEL: usize>(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: glibc's errno location is valid for this thread; the interrupted code must not see it change.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let saved = unsafe { *errno };
    // SAFETY: installed with SA_SIGINFO, so `info` is live during the handler; `si_addr` is meaningful for a positive code,
    // which only the kernel can set.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr().addr()) };
    let mended = code > 0 && MEND.get().is_some_and(|mend| mend(address));
    // SAFETY: as above.
    unsafe { *errno = saved };
    if !mended {
        pass_on(&BEFORE[LEVEL], code > 0, signal, info, context);
    }
}

fn pass_on(
    before: &AtomicPtr<sigaction>,
    is_fault: bool,
    signal: c_int,
    info: *mut siginfo_t,
    context: *mut c_void,
) {
    // SAFETY: NULL or a leaked, initialised `sigaction` that nobody writes to any more.
    let previous = unsafe { before.load(Ordering::Acquire).as_ref() };
    let handler = previous.map_or(libc::SIG_DFL, |p| p.sa_sigaction);
    let (Some(previous), false) = (previous, handler == libc::SIG_DFL || handler == libc::SIG_IGN) else {
        if handler == libc::SIG_IGN && !is_fault {
            return;
        }
        // A fault is met again on return and then ends the process with the right core dump; a sent signal is sent again.
        // SAFETY: all-zero is the default disposition with an empty mask.
        let default: sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: async-signal-safe calls on valid arguments.
        unsafe {
            libc::sigaction(signal, &raw const default, ptr::null_mut());
            if !is_fault {
                libc::raise(signal);
            }
        }
        return;
    };
    if previous.sa_flags & libc::SA_RESETHAND != 0 {
        before.store(ptr::null_mut(), Ordering::Release);
    }
    // SAFETY: valid signal sets, async-signal-safe calls. The predecessor gets the mask it asked for, and its address is
    // that of a function of the type that its flags say.
    unsafe {
        let mut saved: libc::sigset_t = std::mem::zeroed();
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const previous.sa_mask, &raw mut saved);
        if previous.sa_flags & libc::SA_NODEFER != 0 {
            let mut own: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut own);
            libc::sigaddset(&raw mut own, signal);
            libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const own, ptr::null_mut());
        }
        if previous.sa_flags & libc::SA_SIGINFO != 0 {
            let call: Entry = std::mem::transmute(handler);
            call(signal, info, context);
        } else {
            let call: extern "C" fn(c_int) = std::mem::transmute(handler);
            call(signal);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const saved, ptr::null_mut());
    }
}

/// Sees to it that the handler is installed, on top of whatever is there; one system call when it is already.
pub fn guard(mend: Mend) -> Result<()> {
    MEND.get_or_init(|| mend);
    let mut used = USED.lock();
    // SAFETY: all-zero is a valid `sigaction`.
    let mut now: sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: `now` is writable.
    if unsafe { libc::sigaction(libc::SIGBUS, ptr::null(), &raw mut now) } < 0 {
        return Err(Error::last_os());
    }
    let handler = now.sa_sigaction;
    if ENTRIES.iter().any(|e| *e as usize == handler) {
        return Ok(());
    }
    let callable = handler != libc::SIG_DFL && handler != libc::SIG_IGN;
    let known = |level: &usize| {
        // SAFETY: NULL or a leaked, initialised `sigaction`.
        unsafe { BEFORE[*level].load(Ordering::Acquire).as_ref() }.is_some_and(|b| b.sa_sigaction == handler)
    };
    let level = match (0..*used).rev().find(known) {
        Some(level) if callable => level,
        _ if callable && *used < LEVELS => *used, // it may call the level below
        _ => used.saturating_sub(1),              // it calls nobody, or no level is left
    };
    *used = (*used).max(level + 1);
    BEFORE[level].store(Box::leak(Box::new(now)), Ordering::Release);
    // SAFETY: all-zero is a valid `sigaction`, filled in below.
    let mut ours: sigaction = unsafe { std::mem::zeroed() };
    ours.sa_sigaction = ENTRIES[level] as usize;
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    // SAFETY: `ours` is complete; its handler is async-signal-safe.
    if unsafe { libc::sigaction(libc::SIGBUS, &raw const ours, ptr::null_mut()) } < 0 {
        return Err(Error::last_os());
    }
    Ok(())
}

/// Removes SIGBUS from the calling thread's blocked signals.
#[cold]
pub fn unblock() {
    // SAFETY: a valid signal set on the stack; only this thread's mask changes.
    unsafe {
        let mut own: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut own);
        libc::sigaddset(&raw mut own, libc::SIGBUS);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const own, ptr::null_mut());
    }
}

// SPDX-License-Identifier: LGPL-2.1-or-later
//! What a log call needs of the configuration: an immutable snapshot that each thread keeps, renewed when its number is old.
//!
//! Also the per-thread flags: `EMITTING` (this thread is inside a log call, so a message logged by a target's function is
//! dropped) and `LOCKED` (this thread holds one of the locks of this room, so a signal handler on it must not wait for one).

use super::blackbox::Store;
use super::format::Format;
use super::site::SiteRef;
use crate::sys::calendar::Stamp;
use std::cell::{Cell, RefCell};
use std::ffi::CStr;
use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Arc, RwLock, RwLockWriteGuard};

/// How many targets there can be.
pub const SLOTS: usize = 32;

/// Settings that a sink may want.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who the program says it is.
    pub name: Arc<CStr>,
    /// Syslog facility, unchecked.
    pub facility: i32,
    /// Write through to the device after each line.
    pub sync: bool,
    /// Added to priorities below info.
    pub bump: i32,
    /// Speak to the journal instead of syslog.
    pub journal: bool,
}

/// One message for one target.
#[derive(Clone, Copy, Debug)]
pub struct Delivery<'a> {
    /// The target's number.
    pub slot: usize,
    /// Where it comes from.
    pub site: &'a SiteRef<'a>,
    /// When.
    pub time: Stamp,
    /// The text with a NUL at its end or, for sinks that take lines, the formatted line with [`Sink::ending`] at its end.
    pub text: &'a [u8],
    /// The target's settings.
    pub options: &'a Options,
}

/// Where messages of a target go. Called by any thread, also by several at once.
pub trait Sink: Send + Sync {
    /// True: gets lines in the target's format. False: gets the plain message.
    fn takes_lines(&self) -> bool {
        true
    }
    /// What a line ends with.
    fn ending(&self) -> u8 {
        b'\n'
    }
    /// False: a message of this priority is dropped, before it is formatted.
    fn accepts(&self, _priority: u8, _options: &Options) -> bool {
        true
    }
    /// Delivers one message.
    fn log(&self, delivery: &Delivery<'_>);
    /// The target is enabled.
    fn open(&self, _slot: usize, _options: &Options) -> crate::Result<()> {
        Ok(())
    }
    /// The target is disabled or closed.
    fn close(&self, slot: usize);
    /// Facility, identity or the way to the journal changed.
    fn reload(&self, _slot: usize, _options: &Options) {}
    /// The logger starts anew without having been finished: let go of descriptors, call nobody.
    fn abandon(&self) {}
}

/// The kinds of targets, as far as a log call cares.
#[derive(Clone)]
pub(super) enum Dest {
    Sink(Arc<dyn Sink>),
    Blackbox(Arc<Store>),
}

/// An enabled target.
#[derive(Clone)]
pub(super) struct LiveSlot {
    pub dest: Dest,
    pub threaded: bool,
    pub extended: bool,
    pub ellipsis: bool,
    /// With the NUL; 1 to 4096.
    pub max_line: usize,
    pub format: Arc<Format>,
    pub options: Options,
}

/// All enabled targets.
#[derive(Default)]
pub(super) struct Live {
    /// 0 until it is published.
    number: u64,
    pub slots: [Option<LiveSlot>; SLOTS],
    /// The bits of those that are sinks.
    pub sinks: u32,
    pub blackbox: Option<LiveBlackbox>,
}

/// The enabled blackbox.
pub(super) struct LiveBlackbox {
    pub bit: u32,
    pub store: Arc<Store>,
    /// As it was set: see [`shorter_than`](super::recipe::shorter_than).
    pub line: usize,
}

impl Live {
    pub(super) fn new(slots: [Option<LiveSlot>; SLOTS]) -> Self {
        let (mut sinks, mut blackbox) = (0, None);
        for (n, slot) in slots.iter().enumerate() {
            match slot.as_ref().map(|slot| (&slot.dest, slot.max_line)) {
                Some((Dest::Sink(_), _)) => sinks |= 1 << n,
                Some((Dest::Blackbox(store), max)) => {
                    blackbox = Some(LiveBlackbox { bit: 1 << n, store: Arc::clone(store), line: max });
                }
                None => (),
            }
        }
        Self { number: 0, slots, sinks, blackbox }
    }

    /// True until the configuration changes.
    #[inline]
    pub(super) fn is_current(&self) -> bool {
        // ORDER(live-number): pairs with `publish`.
        self.number == NUMBER.load(Acquire)
    }
}

static LIVE: RwLock<Option<Arc<Live>>> = RwLock::new(None);
/// Number of the current snapshot.
static NUMBER: AtomicU64 = AtomicU64::new(0);
/// Bit n: target n is enabled.
pub(super) static MASK: AtomicU32 = AtomicU32::new(0);

thread_local! {
    pub(super) static EMITTING: Cell<bool> = const { Cell::new(false) };
    pub(super) static LOCKED: Cell<bool> = const { Cell::new(false) };
    static KEPT: RefCell<Option<Arc<Live>>> = const { RefCell::new(None) };
}

/// Sets a thread's flag for as long as it lives.
pub(super) struct Flag(&'static std::thread::LocalKey<Cell<bool>>);

impl Flag {
    /// None if it is set already.
    #[inline]
    pub(super) fn raise(key: &'static std::thread::LocalKey<Cell<bool>>) -> Option<Self> {
        if key.replace(true) { None } else { Some(Self(key)) }
    }
}

impl Drop for Flag {
    #[inline]
    fn drop(&mut self) {
        self.0.set(false);
    }
}

/// Makes a new snapshot the current one. The caller holds the configuration's lock.
pub(super) fn publish(mut live: Live) {
    let mask = (0..SLOTS).filter(|n| live.slots[*n].is_some()).fold(0, |mask, n| mask | 1 << n);
    let mut current = LIVE.write().unwrap_or_else(std::sync::PoisonError::into_inner);
    live.number = NUMBER.load(Relaxed) + 1; // it only changes here
    *current = Some(Arc::new(live));
    // ORDER(live-number): pairs with `is_current`. Whoever observes the number finds this snapshot, or a later one, under the lock.
    NUMBER.fetch_add(1, Release);
    MASK.store(mask, Relaxed);
}

/// Keeps threads from renewing and everybody from publishing, for `fork()`.
pub(super) struct Frozen(
    #[allow(dead_code, reason = "held, not read")] RwLockWriteGuard<'static, Option<Arc<Live>>>,
);

pub(super) fn freeze() -> Frozen {
    Frozen(LIVE.write().unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// Runs `f` on the current snapshot; None if there is none, or if this thread was interrupted while it held a lock.
#[inline]
pub(super) fn with<R>(f: impl FnOnce(&Live) -> R) -> Option<R> {
    let mut f = Some(f);
    let done = KEPT.try_with(|place| {
        if let Ok(kept) = place.try_borrow()
            && let Some(live) = &*kept
            && live.is_current()
        {
            return f.take().map(|f| f(live));
        }
        let live = keep(place)?;
        f.take().map(|f| f(&live))
    });
    // On an error the thread is about to end and has nothing of its own any more.
    done.unwrap_or_else(|_| renew().and_then(|live| f.take().map(|f| f(&live))))
}

/// The current snapshot; the thread keeps it, unless it is using an older one just now.
#[cold]
fn keep(place: &RefCell<Option<Arc<Live>>>) -> Option<Arc<Live>> {
    let live = renew()?;
    let old = place.try_borrow_mut().ok().and_then(|mut kept| kept.replace(Arc::clone(&live)));
    drop(old); // not while it is borrowed: the last one to drop a target's file closes it
    Some(live)
}

#[cold]
fn renew() -> Option<Arc<Live>> {
    let _flag = Flag::raise(&LOCKED)?;
    LIVE.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
}

/// Room for one line or record, kept by the thread.
#[inline]
pub(super) fn with_line(f: impl FnOnce(&mut Vec<u8>)) {
    thread_local! {
        static LINE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    }
    let mut f = Some(f);
    let _ = LINE.try_with(|place| {
        let mut line = place.take();
        if let Some(f) = f.take() {
            f(&mut line);
        }
        place.set(line);
    });
    if let Some(f) = f {
        f(&mut Vec::new()); // the thread is about to end and has nothing of its own any more
    }
}

// SPDX-License-Identifier: LGPL-2.1-or-later
//! One message on its way: from a log call to each target that wants it, directly or through the worker.
//!
//! Whoever calls a target's function is inside the gate (`log::gate`). Closing a target and `fork()` close it.

use super::blackbox::Store;
use super::config::Config;
use super::format::{self, Line};
use super::live::{self, Delivery, Dest, EMITTING, Flag, LOCKED, Live, LiveBlackbox, LiveSlot, MASK, SLOTS};
use super::logger::Legacy;
use super::recipe::{HEADER, Recipe, shorter_than};
use super::site::{Key, SiteHead, SiteRef};
use super::worker::{self, Queue};
use super::{Level, gate, logger};
use crate::shm::Window;
use crate::sys::calendar::{self, Stamp};
use crate::{Error, Result};
use std::cell::Cell;
use std::ffi::CStr;
use std::fmt;
use std::fs::File;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, MutexGuard, RwLock, RwLockWriteGuard, TryLockError};
use std::time::Duration;

type BlackboxGuard = RwLockWriteGuard<'static, Option<Arc<Store>>>;

/// The open blackbox once more, where a signal handler finds it without the configuration.
static BLACKBOX: RwLock<Option<Arc<Store>>> = RwLock::new(None);

thread_local! {
    /// This thread may have [`BLACKBOX`] locked for reading.
    static DUMPING: Cell<bool> = const { Cell::new(false) };
}

/// The library's own messages.
pub const LIBRARY_TAG: u32 = 1 << 31;

/// A message that is not formatted yet.
pub trait Message {
    /// Formats it, into at most `size` bytes with its NUL. Called at most once.
    fn text(&mut self, size: usize) -> &mut [u8];
    /// Serializes it behind [`ROOM`] bytes of any content, into fewer than `size` bytes; more than 512 bytes mean that it did not
    /// fit. Called at most once.
    fn serial(&mut self, size: usize) -> &mut [u8];
    /// How to serialize it in place instead; None if it cannot be.
    #[inline]
    fn recipe(&self) -> Option<&'static Recipe> {
        None
    }
    /// Looks at the arguments: how many bytes they take, None if that is more than `room`. For a recipe without a fixed length; called at
    /// most once. With `last`, nobody asks for the arguments again.
    #[inline]
    fn measure(&mut self, _recipe: &Recipe, _room: usize, _last: bool) -> Option<usize> {
        None
    }
    /// Stores them, into a place of the length that they were measured to have, or that is fixed. Not called if that is 0.
    #[inline]
    fn store(&mut self, _recipe: &Recipe, _to: Window<'_>, _last: bool) {}
}

/// What a serialized message has in front of it, for the header of its record.
pub const ROOM: usize = 256;

/// True if [`log`] would do anything for a message from here.
#[inline]
#[must_use]
pub fn is_wanted(head: &SiteHead) -> bool {
    head.targets() & MASK.load(Relaxed) != 0 || (head.tags() & LIBRARY_TAG != 0 && logger::legacy().is_some())
}

/// Delivers a message to the targets that want it. A message that is logged meanwhile by this thread, that is by the function of
/// a target, is dropped.
pub fn log<M: Message>(site: &SiteRef<'static>, message: &mut M) {
    let _ = EMITTING.try_with(|emitting| {
        if !emitting.replace(true) {
            log_once(site, message);
            emitting.set(false);
        }
    });
}

fn log_once<M: Message>(site: &SiteRef<'static>, message: &mut M) {
    let wanted = site.head.targets() & MASK.load(Relaxed);
    let hook = if site.head.tags() & LIBRARY_TAG != 0 { logger::legacy() } else { None };
    live::with(|live| {
        let time = calendar::coarse_now();
        let blackbox = live.blackbox.as_ref().filter(|blackbox| wanted & blackbox.bit != 0);
        let wanted = wanted & live.sinks;
        let others = wanted != 0 || hook.is_some();
        if let Some(blackbox) = blackbox {
            let _ = record(blackbox, site, time, message, !others);
        }
        if others {
            show(live, wanted, hook, site, time, message);
        }
    });
}

/// With `last`, nobody else wants the message.
#[inline]
fn record<M: Message>(
    blackbox: &LiveBlackbox,
    site: &SiteRef<'static>,
    time: Stamp,
    message: &mut M,
    last: bool,
) -> Result<()> {
    let LiveBlackbox { store, line, .. } = blackbox;
    let Some(recipe) = message.recipe() else {
        let size = shorter_than(*line, HEADER + site.function().count_bytes() + 1);
        return store.append(site, time, message.serial(size));
    };
    let Some(room) = recipe.room(*line) else { return store.append_substitute(site, time) };
    let len = recipe.fixed().or_else(|| message.measure(recipe, room, last));
    match len.filter(|len| *len <= room) {
        Some(len) => {
            store.append_in_place(recipe, site.head, time, len, |to| message.store(recipe, to, last))
        }
        None => store.append_substitute(site, time),
    }
}

/// Formats a message for the sinks that want it, and for the old hook.
#[inline(never)]
fn show<M: Message>(
    live: &Live,
    wanted: u32,
    hook: Option<Legacy>,
    site: &SiteRef<'static>,
    time: Stamp,
    message: &mut M,
) {
    // The blackbox has its own copy, but as in the reference its length counts too.
    let blackbox = live.blackbox.as_ref().map_or(0, |blackbox| blackbox.bit & site.head.targets());
    let text = message.text(if wanted == 0 { 512 } else { longest(live, wanted | blackbox) });
    if let Some(hook) = hook {
        as_shown(text, true, |text| hook(site, text));
    }
    to_sinks(live, site, time, text);
}

fn to_sinks(live: &Live, site: &SiteRef<'static>, time: Stamp, text: &mut [u8]) {
    let _inside = gate::enter();
    let threaded = in_turn(live, u32::MAX, site, time, text, false);
    if threaded != 0 {
        worker::post(*site, time, text, threaded);
    }
}

/// Delivers to those of the sinks `left` that want messages of a site. Each is looked up when it is its turn, since a function that is
/// called before, or another thread meanwhile, may change, close or enable it. Threaded targets get the message only if it was `queued`
/// for them; the bits of those that it has to be queued for. The caller is inside the gate: whoever disabled a target before it could
/// close the gate must find nobody inside.
#[inline]
fn in_turn(live: &Live, left: u32, site: &SiteRef<'_>, time: Stamp, text: &mut [u8], queued: bool) -> u32 {
    let (left, post) = while_current(live, left, site, time, text, queued);
    if left == 0 { post } else { resume(left, site, time, text, queued) | post }
}

/// Delivers until there is a newer snapshot; also the bits that are left then, and of those to queue for.
#[inline(always)]
fn while_current(
    live: &Live,
    mut left: u32,
    site: &SiteRef<'_>,
    time: Stamp,
    text: &mut [u8],
    queued: bool,
) -> (u32, u32) {
    let mut post = 0;
    while live.is_current() {
        let wanted = left & live.sinks & site.head.targets();
        if wanted == 0 {
            return (0, post);
        }
        let n = wanted.trailing_zeros() as usize;
        left &= u32::MAX << n << 1;
        match &live.slots[n] {
            Some(slot) if queued || !slot.threaded || !worker::takes() => deliver(n, slot, site, time, text),
            Some(_) => post |= 1 << n,
            None => (),
        }
    }
    (left, post)
}

#[cold]
#[inline(never)]
fn resume(mut left: u32, site: &SiteRef<'_>, time: Stamp, text: &mut [u8], queued: bool) -> u32 {
    let mut post = 0;
    while left != 0 {
        let done = live::with(|live| while_current(live, left, site, time, text, queued));
        let (later, threaded) = done.unwrap_or_default();
        (left, post) = (later, post | threaded);
    }
    post
}

/// The longest line that one of these targets takes.
#[inline]
fn longest(live: &Live, mut wanted: u32) -> usize {
    let mut size = 0;
    while wanted != 0 {
        if let Some(Some(slot)) = live.slots.get(wanted.trailing_zeros() as usize) {
            size = size.max(slot.max_line);
        }
        wanted &= wanted - 1;
    }
    size
}

/// One plain message to one target's sink.
fn deliver(n: usize, slot: &LiveSlot, site: &SiteRef<'_>, time: Stamp, text: &mut [u8]) {
    let Dest::Sink(sink) = &slot.dest else { return };
    if !sink.accepts(site.head.priority(), &slot.options) {
        return;
    }
    as_shown(text, slot.extended, |text| {
        let delivery = Delivery { slot: n, site, time, text, options: &slot.options };
        if !sink.takes_lines() {
            return sink.log(&delivery);
        }
        live::with_line(|line| {
            let message = &text[..text.len() - 1];
            let parts = Line { site, time, message, stringify: logger::stringify() };
            slot.format.expand(&parts, slot.max_line - 1, slot.ellipsis, line);
            line.push(sink.ending());
            sink.log(&Delivery { text: line, ..delivery });
        });
    });
}

/// Calls `f` with the text as the marker rule shows it (NUL at the end), and restores it afterwards.
fn as_shown(text: &mut [u8], extended: bool, f: impl FnOnce(&[u8])) {
    let Some((_, content)) = text.split_last() else { return };
    let Some((len, mark)) = format::extended_part(content, extended) else { return };
    let cut = text[len];
    text[len] = 0;
    if let Some(at) = mark {
        text[at] = b'|';
    }
    f(&text[..=len]);
    if let Some(at) = mark {
        text[at] = format::MARK;
    }
    text[len] = cut;
}

/// Delivers a message to those of the targets it was queued for that want it now. Called by the worker, and by whoever empties its
/// queue.
pub(super) fn deliver_queued(site: &SiteRef<'static>, time: Stamp, text: &mut [u8], targets: u32) {
    let Some(_flag) = Flag::raise(&EMITTING) else { return };
    let _inside = gate::enter();
    live::with(|live| in_turn(live, targets, site, time, text, true));
}

/// Waits until no other thread is inside a target's function, at most about a second. At once when called from such a function.
pub(super) fn settle() {
    if EMITTING.get() {
        return;
    }
    drop(gate::close(1000));
}

/// All locks of this room, for `fork()`.
pub(super) struct Quiet {
    pub queue: MutexGuard<'static, Queue>,
    _blackbox: Option<BlackboxGuard>,
    _live: live::Frozen,
    _config: MutexGuard<'static, Config>,
    _gate: Option<gate::Closed>,
}

pub(super) fn quiet() -> Quiet {
    let gate = gate::close(250);
    let config = super::config::lock_bare();
    let live = live::freeze();
    let blackbox = write_blackbox(250);
    Quiet { queue: worker::queue_bare(), _blackbox: blackbox, _live: live, _config: config, _gate: gate }
}

/// The place of the blackbox, once nobody dumps; that is waited for about so many milliseconds.
fn write_blackbox(patience: u32) -> Option<BlackboxGuard> {
    if DUMPING.get() {
        return None; // this thread would wait for itself
    }
    for _ in 0..=patience {
        match BLACKBOX.try_write() {
            Ok(place) => return Some(place),
            Err(TryLockError::Poisoned(place)) => return Some(place.into_inner()),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    None
}

/// The blackbox that dumps come from.
pub(super) fn set_blackbox(store: Option<Arc<Store>>) {
    let Some(mut place) = write_blackbox(2000) else {
        // Who dumps does not go on: perhaps this very thread, if a signal handler is at work. The files go, the rest stays.
        let _ = with_blackbox(|old| {
            old.close();
            Ok(())
        });
        return;
    };
    let old = std::mem::replace(&mut *place, store);
    drop(place);
    if let Some(old) = old {
        old.close();
    }
}

/// Puts the thread's flag back.
struct Dumping(bool);

impl Drop for Dumping {
    fn drop(&mut self) {
        DUMPING.set(self.0);
    }
}

/// Runs `f` on the open blackbox; [`Error::NotFound`] if there is none. For signal handlers: no allocation, and no waiting for a lock.
fn with_blackbox<R>(f: impl FnOnce(&Store) -> Result<R>) -> Result<R> {
    let _dumping = Dumping(DUMPING.replace(true));
    for _ in 0..1000 {
        match BLACKBOX.try_read() {
            Ok(place) => return place.as_deref().ok_or(Error::NotFound).and_then(f),
            Err(TryLockError::Poisoned(place)) => {
                return place.into_inner().as_deref().ok_or(Error::NotFound).and_then(f);
            }
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    }
    Err(Error::Busy)
}

/// True if this thread was interrupted while it dumps.
pub(super) fn is_dumping() -> bool {
    DUMPING.get()
}

/// True if there is a blackbox to dump.
#[must_use]
pub fn has_blackbox() -> bool {
    with_blackbox(|_| Ok(())).is_ok()
}

/// In a forked child: nobody is writing to the blackbox.
pub(super) fn blackbox_forked() {
    let _ = with_blackbox(|store| {
        store.forked();
        Ok(())
    });
}

/// Writes the blackbox to a file that is open for writing; returns the bytes written. May be called from a handler of a fatal
/// signal, whatever the signal interrupted.
pub fn dump_blackbox(out: &File) -> Result<usize> {
    with_blackbox(|store| store.dump(out))
}

/// A message of the library itself.
pub(super) fn library(file: &str, line: u32, level: Level, args: fmt::Arguments<'_>) {
    if !logger::is_running() || EMITTING.get() || LOCKED.get() {
        return;
    }
    let mut name = [0u8; 64];
    let len = file.len().min(name.len() - 1);
    name[..len].copy_from_slice(&file.as_bytes()[..len]);
    let Ok(filename) = CStr::from_bytes_until_nul(&name) else { return };
    let key = Key { function: c"", filename, format: c"%s", message_id: None, priority: level as u8, line };
    let Some(site) = logger::site(&key, LIBRARY_TAG) else { return };
    if is_wanted(site.head()) {
        let mut text = args.to_string().into_bytes();
        text.retain(|b| *b != 0);
        if text.last() == Some(&b'\n') {
            text.pop();
        }
        log(&site.view(), &mut Ready { text, packed: Vec::new() });
    }
}

/// A text that needs no format.
struct Ready {
    text: Vec<u8>,
    packed: Vec<u8>,
}

impl Message for Ready {
    fn text(&mut self, size: usize) -> &mut [u8] {
        self.text.truncate(size.max(1) - 1);
        self.text.push(0);
        &mut self.text
    }
    fn serial(&mut self, size: usize) -> &mut [u8] {
        let len = self.text.len().min(size.saturating_sub(5));
        self.packed = [&[0; ROOM], &b"%s\0"[..], &self.text[..len], b"\0"].concat();
        &mut self.packed
    }
}

/// Formats a message for a target, as [`super::Sink`]s that take lines get it; for the program's own loggers. `out` gets at most the
/// target's line length, without a NUL.
pub fn format_for(
    slot: i32,
    site: &SiteRef<'_>,
    time: Stamp,
    message: &[u8],
    out: &mut Vec<u8>,
) -> Result<()> {
    let n = usize::try_from(slot).ok().filter(|n| *n < SLOTS).ok_or(Error::Os(libc::EBADF))?;
    let parts = Line { site, time, message, stringify: logger::stringify() };
    let done = live::with(|live| {
        live.slots[n].as_ref().map(|s| s.format.expand(&parts, s.max_line - 1, s.ellipsis, out)).is_some()
    });
    if done == Some(true) {
        return Ok(());
    }
    // Not enabled: the settings are in the configuration only.
    let (format, max, ellipsis) = {
        let config = super::config::lock()?;
        let s = &config.slots[n];
        (Arc::clone(&s.format), s.max_line() - 1, s.ellipsis)
    };
    format.expand(&parts, max, ellipsis, out);
    Ok(())
}

// SPDX-License-Identifier: LGPL-2.1-or-later
//! The life of the logger (init, fini, fork), and its callsites.

use super::config::{self, HEADS, Range, State, TABLE, Target};
use super::filter::{Kind, Rule};
use super::format::{self, Fixed, Format, Stringify};
use super::live::{EMITTING, Flag, LOCKED, SLOTS, Sink};
use super::recipe::Parse;
use super::site::{Key, Site, SiteHead};
use super::{emit, worker};
use crate::{Error, Result};
use std::cell::Cell;
use std::ffi::CStr;
use std::sync::atomic::{
    AtomicBool, AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Arc, OnceLock};

/// The old hook for the library's own messages: site, text with NUL.
pub type Legacy = fn(&super::SiteRef<'_>, &[u8]);

/// Functions through which the library calls the program's; installed once. Each is called only while its switch is on.
#[derive(Clone, Copy, Debug)]
pub struct Hooks {
    /// The program's filter function.
    pub filter: fn(&SiteHead),
    /// For `%g`.
    pub stringify: Stringify,
    /// The old hook for the library's own messages: site, text with NUL.
    pub legacy: Legacy,
    /// For the blackbox; always on.
    pub parse: Parse,
}

static HOOKS: OnceLock<Hooks> = OnceLock::new();
static INITIALISED: AtomicBool = AtomicBool::new(false);
/// Counts the inits: a callsite that was last looked up in another life starts anew.
static LIFE: AtomicU32 = AtomicU32::new(0);
static FILTER: AtomicBool = AtomicBool::new(false);
static STRINGIFY: AtomicBool = AtomicBool::new(false);
static LEGACY: AtomicBool = AtomicBool::new(false);

/// Installs the hooks; later calls change nothing.
pub fn install(hooks: Hooks) {
    let _ = HOOKS.set(hooks);
}

/// Switches the program's stringifier on or off.
pub fn use_stringify(on: bool) {
    STRINGIFY.store(on, Release);
}

/// Switches the old hook on or off.
pub fn use_legacy(on: bool) {
    LEGACY.store(on, Release);
}

pub(super) fn stringify() -> Option<Stringify> {
    if STRINGIFY.load(Acquire) { HOOKS.get().map(|h| h.stringify) } else { None }
}

#[inline]
pub(super) fn legacy() -> Option<Legacy> {
    if LEGACY.load(Acquire) && INITIALISED.load(Acquire) { HOOKS.get().map(|h| h.legacy) } else { None }
}

/// True between init and fini.
#[must_use]
#[inline]
pub fn is_running() -> bool {
    INITIALISED.load(Acquire)
}

/// The static targets.
pub struct Statics {
    /// Slot 0.
    pub syslog: Arc<dyn Sink>,
    /// Slot 1.
    pub stderr: Arc<dyn Sink>,
    /// Slot 3.
    pub stdout: Arc<dyn Sink>,
}

/// Starts the logger: all slots as new except for what an earlier life leaves behind, syslog enabled for everything up to
/// `priority`. Without a [`fini`] before, open targets are let go of, and nobody is told.
pub fn init(name: &CStr, facility: i32, priority: u8, statics: Statics) -> Result<()> {
    let mut config = config::lock()?;
    let name: Arc<CStr> = name.into();
    for slot in &mut config.slots {
        if let Target::Sink(sink) = &slot.target {
            sink.abandon();
        }
        slot.target = Target::None;
        slot.state = State::Unused;
        slot.name = Arc::clone(&name);
        slot.facility = facility;
        slot.format = default_format();
        slot.rules = super::filter::Rules::new();
        (slot.extended, slot.sync, slot.max_len) = (true, false, 512);
    }
    emit::set_blackbox(None);
    let targets = [
        Target::Sink(statics.syslog),
        Target::Sink(statics.stderr),
        Target::Blackbox(None),
        Target::Sink(statics.stdout),
    ];
    for (slot, target) in config.slots.iter_mut().zip(targets) {
        slot.target = target;
        slot.state = State::Disabled;
    }
    TABLE.for_each(|site| site.head().targets.store(0, Relaxed));
    LIFE.fetch_add(1, Relaxed);
    config.initialised = true;
    INITIALISED.store(true, Release);
    let syslog = &mut config.slots[0];
    if let Target::Sink(sink) = &syslog.target {
        sink.open(0, &syslog.options())?;
    }
    syslog.state = State::Enabled;
    syslog.rules.add(Rule::new(Kind::File, c"*", 0, priority, 0)?, false)?;
    config.each_site(|site| {
        if site.head.priority() <= priority {
            site.head.targets.fetch_or(1, Relaxed);
        }
    });
    config.publish();
    Ok(())
}

/// Ends it: queued messages are written, enabled targets closed, rules and ranges forgotten. Callsites stay where they are.
pub fn fini() {
    // With a lock held, that is in a signal handler that came at a bad moment, nothing can be ended.
    if !is_running() || LOCKED.get() {
        return;
    }
    // First the worker, while it can still say how many messages it lost.
    worker::stop();
    let Ok(mut config) = config::lock() else { return };
    if !std::mem::replace(&mut config.initialised, false) {
        return;
    }
    INITIALISED.store(false, Release);
    drop(config);
    worker::flush();
    for n in 0..SLOTS {
        let _ = super::control::disable(n);
    }
    let Ok(mut config) = config::lock() else { return };
    for slot in &mut config.slots {
        slot.rules = super::filter::Rules::new();
        slot.format = default_format();
    }
    TABLE.for_each(|site| site.head().targets.store(0, Relaxed));
    config.ranges.clear();
    config.tag_rules = super::filter::Rules::new();
    config.publish();
}

pub(super) fn default_format() -> Arc<Format> {
    Arc::new(Format::new(format::DEFAULT, Fixed { name: b"", pid: 0, host: b"" }))
}

/// The callsite of a position, made if need be. With `tags` other than 0 it gets these tags; a new one otherwise those of the tag
/// rules. Then the program's filter function sees it. None while the logger does not run.
#[inline]
pub fn site(key: &Key<'_>, tags: u32) -> Option<&'static Site> {
    if !INITIALISED.load(Acquire) {
        return None;
    }
    let hash = key.hash();
    let site = match TABLE.find(key, hash) {
        Some(site) if site.life.load(Relaxed) == LIFE.load(Relaxed) => {
            if tags != 0 && site.head().tags() != tags {
                site.head().tags.store(tags, Relaxed);
            }
            site
        }
        _ => create(key, hash, tags)?,
    };
    if FILTER.load(Relaxed) {
        run_filter(site.head());
    }
    Some(site)
}

/// True if the library made this site and its format is the one that it was made with, which never changes.
#[must_use]
pub fn owns(site: &super::SiteRef<'_>) -> bool {
    let key = Key {
        function: site.function(),
        filename: site.filename(),
        format: site.format(),
        message_id: site.message_id(),
        priority: site.head.priority(),
        line: site.head.line(),
    };
    TABLE.find(&key, key.hash()).is_some_and(|own| {
        std::ptr::eq(own.head(), site.head) && own.key().format.as_ptr() == key.format.as_ptr()
    })
}

/// A site that was found by other means, which must have compared its key: as [`site`]. False if it has to be looked up after all.
#[inline]
pub fn revisit(site: &'static Site, tags: u32) -> bool {
    if site.life.load(Relaxed) != LIFE.load(Relaxed) {
        return false;
    }
    if tags != 0 && site.head().tags() != tags {
        site.head().tags.store(tags, Relaxed);
    }
    if FILTER.load(Relaxed) {
        run_filter(site.head());
    }
    true
}

#[cold]
fn create(key: &Key<'_>, hash: u64, tags: u32) -> Option<&'static Site> {
    let config = config::lock().ok()?;
    if !config.initialised {
        return None;
    }
    let life = LIFE.load(Relaxed);
    let site = match TABLE.find(key, hash) {
        Some(site) if site.life.load(Relaxed) == life => return Some(site),
        Some(site) => site,
        None => {
            let site: &'static Site = Box::leak(Box::new(Site::new(key)));
            if !TABLE.insert(site) || !HEADS.insert(site) {
                return None;
            }
            site
        }
    };
    if config.recipes {
        make_recipe(site);
    }
    let view = site.view();
    site.head().targets.store(config.wanted_by(&view), Relaxed);
    let tags = if tags != 0 { tags } else { config.tag_rules.tags(&view).unwrap_or(0) };
    site.head().tags.store(tags, Relaxed);
    site.life.store(life, Relaxed);
    Some(site)
}

/// Makes a callsite ready for the blackbox. The configuration is locked.
pub(super) fn make_recipe(site: &'static Site) {
    if let Some(hooks) = HOOKS.get() {
        site.make_recipe(hooks.parse);
    }
}

/// The callsite with this head; None if the library did not make it.
#[must_use]
pub fn own(head: &SiteHead) -> Option<&'static Site> {
    HEADS.of(head)
}

fn run_filter(head: &SiteHead) {
    thread_local! {
        static FILTERING: Cell<bool> = const { Cell::new(false) };
    }
    // A filter function that logs would be called for its own message, and so on without end.
    if let (Some(hooks), Some(_flag)) = (HOOKS.get(), Flag::raise(&FILTERING)) {
        (hooks.filter)(head);
    }
}

/// Switches the program's filter function on (it then sees every callsite at once) or off.
pub fn use_filter(on: bool) -> Result<()> {
    config::lock()?.running()?;
    FILTER.store(on, Release);
    if on {
        each_site_unlocked(|site| {
            if site.line() > 0 {
                run_filter(site);
            }
        });
    }
    Ok(())
}

/// Visits every callsite while no lock is held.
fn each_site_unlocked(mut visit: impl FnMut(&'static SiteHead)) {
    let mut heads = Vec::new();
    if let Ok(config) = config::lock() {
        config.each_site(|site| heads.push(site.head));
    }
    heads.into_iter().for_each(&mut visit);
}

/// Adds callsites that the program owns and applies the rules to them. [`Error::Exists`] if a registered range starts or ends at the
/// same address. Works at any time.
pub fn register(range: Box<dyn Range>) -> Result<()> {
    let mut config = config::lock()?;
    let (start, stop) = range.bounds();
    if config.ranges.iter().any(|r| r.bounds().0 == start || r.bounds().1 == stop) {
        return Err(Error::Exists);
    }
    let mut heads = Vec::new();
    range.each(&mut |site| {
        if config.initialised {
            site.head.targets.fetch_or(config.wanted_by(&site), Relaxed);
            if let Some(tags) = config.tag_rules.tags(&site) {
                site.head.tags.store(tags, Relaxed);
            }
        }
        heads.push(site.head);
    });
    config.ranges.insert(0, range);
    drop(config);
    if FILTER.load(Relaxed) {
        heads.into_iter().for_each(run_filter);
    }
    Ok(())
}

/// Visits every callsite for the dump: first the ranges' bounds, then (per range) the elements, newest range first. The library's own
/// callsites count as one range, the last.
pub fn survey(mut range: impl FnMut(usize, usize), mut element: impl FnMut(&super::SiteRef<'static>)) {
    let Ok(config) = config::lock() else { return };
    if !config.initialised && config.ranges.is_empty() {
        return;
    }
    for r in &config.ranges {
        let (start, stop) = r.bounds();
        range(start, stop);
    }
    config.each_site(|site| {
        if site.head.line() > 0 {
            element(&site);
        }
    });
}

thread_local! {
    static FORKING: Cell<Option<emit::Quiet>> = const { Cell::new(None) };
}

/// Before `fork()`: waits (a moment at most) until no thread is inside a target, and keeps them out.
pub fn fork_prepare() {
    if EMITTING.get() || LOCKED.get() || emit::is_dumping() {
        return; // fork() from a target's function or a signal handler: the child has to do without
    }
    let quiet = emit::quiet();
    let _ = FORKING.try_with(|f| f.set(Some(quiet)));
}

/// After `fork()`, in the parent.
pub fn fork_parent() {
    let _ = FORKING.try_with(Cell::take);
}

/// After `fork()`, in the child: the worker and what it had queued are the parent's.
pub fn fork_child() {
    let mut quiet = FORKING.try_with(Cell::take).ok().flatten();
    worker::forked(quiet.as_mut());
    drop(quiet);
    emit::blackbox_forked();
}

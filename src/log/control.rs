// SPDX-License-Identifier: LGPL-2.1-or-later
//! Changes of targets and rules. Functions of sinks and of the program are called after the configuration is unlocked.

use super::blackbox::{MIN_SIZE, Store};
use super::config::{self, State, Target};
use super::emit;
use super::filter::{Kind, Rule};
use super::format::{Fixed, Format};
use super::live::{EMITTING, Options, SLOTS, Sink};
use super::logger::default_format;
use super::worker;
use crate::sys::host;
use crate::{Error, Result};
use std::ffi::CStr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// Where files go when `/dev/shm` cannot be used.
const RUN_DIR: &str = match option_env!("QB_SOCKETDIR") {
    Some(dir) => dir,
    None => "/var/run",
};

/// A setting of a target.
#[derive(Clone, Copy, Debug)]
pub enum Setting<'a> {
    /// On or off.
    Enabled(bool),
    /// Syslog facility.
    Facility(i32),
    /// Who the program says it is.
    Ident(&'a CStr),
    /// Write through to the device.
    Sync(bool),
    /// Change of priorities for syslog.
    Bump(i32),
    /// Blackbox size in bytes.
    Size(i32),
    /// Through the worker.
    Threaded(bool),
    /// Show what is behind the marker.
    Extended(bool),
    /// Longest line with its NUL.
    MaxLineLen(i32),
    /// Show that a line was cut.
    Ellipsis(bool),
    /// Speak to the journal (syslog only).
    Journal(bool),
}

/// What is left to do without the lock.
enum Then {
    Nothing,
    Reload(usize, Arc<dyn Sink>, Options),
    Enable(usize),
    Disable(usize),
    Restart(usize),
}

/// Changes one setting. EBADF for a slot that is not open.
pub fn set(target: i32, setting: Setting<'_>) -> Result<()> {
    if matches!(setting, Setting::Threaded(false)) {
        worker::flush(); // what is queued is written first
    }
    let then = {
        let mut config = config::lock()?;
        let then = change(config.running()?, target, setting)?;
        config.publish();
        then
    };
    match then {
        Then::Nothing => Ok(()),
        Then::Enable(n) => enable(n),
        Then::Disable(n) => disable(n),
        Then::Restart(n) => disable(n).and_then(|()| enable(n)),
        Then::Reload(n, sink, options) => {
            quietly(|| sink.reload(n, &options));
            Ok(())
        }
    }
}

fn change(config: &mut config::Config, target: i32, setting: Setting<'_>) -> Result<Then> {
    let (n, slot) = config.open_slot(target)?;
    let blackbox = matches!(slot.target, Target::Blackbox(_));
    match setting {
        Setting::Enabled(true) => return Ok(Then::Enable(n)),
        Setting::Enabled(false) => return Ok(Then::Disable(n)),
        Setting::Facility(value) => slot.facility = value,
        Setting::Ident(name) => slot.name = cut_name(name),
        Setting::Sync(on) => slot.sync = on,
        Setting::Bump(value) => slot.bump = value,
        Setting::Extended(on) => slot.extended = on,
        Setting::Ellipsis(on) => slot.ellipsis = on,
        Setting::MaxLineLen(len) if len > 4096 => return Err(Error::Invalid),
        Setting::MaxLineLen(len) => slot.max_len = len,
        Setting::Size(_) if !blackbox => return Err(Error::Os(libc::ENOSYS)),
        Setting::Size(size) if size <= 0 => return Err(Error::Invalid),
        Setting::Size(size) => {
            slot.size = size;
            return Ok(if slot.state == State::Enabled { Then::Restart(n) } else { Then::Nothing });
        }
        Setting::Threaded(on) => {
            slot.threaded = on;
            return Ok(Then::Nothing);
        }
        Setting::Journal(_) if n != 0 => return Err(Error::Invalid),
        Setting::Journal(on) => slot.journal = on,
    }
    let reloads = matches!(setting, Setting::Facility(_) | Setting::Ident(_) | Setting::Journal(_));
    match &slot.target {
        Target::Sink(sink) if reloads && n == 0 => Ok(Then::Reload(n, Arc::clone(sink), slot.options())),
        _ => Ok(Then::Nothing),
    }
}

fn cut_name(name: &CStr) -> Arc<CStr> {
    let bytes = name.to_bytes();
    let cut = std::ffi::CString::new(&bytes[..bytes.len().min(4095)]).unwrap_or_default();
    cut.into()
}

/// Runs a sink's function with this thread counted as inside a log call, so that what it logs is dropped.
fn quietly<R>(f: impl FnOnce() -> R) -> R {
    let was = EMITTING.replace(true);
    let result = f();
    EMITTING.set(was);
    result
}

/// What is to be opened for a slot that gets enabled.
enum Open {
    Sink(Arc<dyn Sink>, Options),
    Blackbox(Arc<CStr>, i32),
}

fn enable(n: usize) -> Result<()> {
    let open = {
        let mut config = config::lock()?;
        let (_, slot) = config.running()?.open_slot(n as i32)?;
        if slot.state == State::Enabled {
            return Ok(());
        }
        match &slot.target {
            Target::None => return Err(Error::Os(libc::EBADF)),
            Target::Sink(sink) => Open::Sink(Arc::clone(sink), slot.options()),
            Target::Blackbox(_) => Open::Blackbox(Arc::clone(&slot.name), slot.size),
        }
    };
    let store = match open {
        Open::Sink(sink, options) => {
            quietly(|| sink.open(n, &options))?;
            None
        }
        Open::Blackbox(_, size) if size < MIN_SIZE => return Err(Error::Invalid),
        Open::Blackbox(name, size) => {
            Some(Arc::new(Store::create(name.to_bytes(), size, Path::new(RUN_DIR))?))
        }
    };
    let mut config = config::lock()?;
    let (_, slot) = config.running()?.open_slot(n as i32)?;
    if let (Target::Blackbox(place), Some(store)) = (&mut slot.target, store) {
        *place = Some(Arc::clone(&store));
        emit::set_blackbox(Some(store));
        config.recipes = true;
        config::TABLE.for_each(super::logger::make_recipe);
    }
    config.slots[n].state = State::Enabled;
    config.publish();
    Ok(())
}

/// Disables a slot if it is enabled, whether the logger runs or not: queued messages are written, the sink is closed.
pub(super) fn disable(n: usize) -> Result<()> {
    let threaded = {
        let config = config::lock()?;
        match config.slots.get(n) {
            Some(slot) if slot.state == State::Enabled => slot.threaded,
            _ => return Ok(()),
        }
    };
    if threaded {
        worker::flush();
    }
    let sink = {
        let mut config = config::lock()?;
        let slot = &mut config.slots[n];
        slot.state = State::Disabled;
        let sink = match &mut slot.target {
            Target::Sink(sink) => Some(Arc::clone(sink)),
            Target::Blackbox(store) => {
                *store = None;
                emit::set_blackbox(None);
                None
            }
            Target::None => None,
        };
        config.publish();
        sink
    };
    emit::settle();
    if let Some(sink) = sink {
        quietly(|| sink.close(n));
    }
    Ok(())
}

/// The state of an open slot.
pub fn state(target: i32) -> Result<State> {
    let mut config = config::lock()?;
    config.running()?.open_slot(target).map(|(_, slot)| slot.state)
}

/// Takes the lowest free slot for a sink that `make` builds for its number. EMFILE when there is none.
pub fn open(make: impl FnOnce(usize) -> Result<Arc<dyn Sink>>) -> Result<i32> {
    let mut config = config::lock()?;
    let free = config.slots.iter().position(|slot| slot.state == State::Unused);
    let n = free.ok_or(Error::Os(libc::EMFILE))?;
    let slot = &mut config.slots[n];
    match make(n) {
        Ok(sink) => {
            slot.target = Target::Sink(sink);
            slot.state = State::Disabled;
            Ok(n as i32)
        }
        Err(e) => {
            slot.format = default_format();
            Err(e)
        }
    }
}

/// Closes a slot: its sink is closed whatever its state, its rules go, its format becomes the default. Other settings stay for the next
/// tenant. Nothing happens for a slot that is not open.
pub fn close(target: i32) {
    let Ok(mut config) = config::lock() else { return };
    let Ok((n, slot)) = config.running().and_then(|config| config.open_slot(target)) else { return };
    let threaded = slot.threaded && slot.state == State::Enabled;
    if threaded {
        drop(config);
        worker::flush();
        let Ok(locked) = config::lock() else { return };
        config = locked;
    }
    let slot = &mut config.slots[n];
    let tenant = std::mem::replace(&mut slot.target, Target::None);
    slot.state = State::Disabled;
    config.publish();
    drop(config);
    emit::settle();
    match tenant {
        Target::Sink(sink) => quietly(|| sink.close(n)),
        Target::Blackbox(Some(_)) => emit::set_blackbox(None),
        _ => (),
    }
    let Ok(mut config) = config::lock() else { return };
    config.clear_rules(n);
    let slot = &mut config.slots[n];
    slot.format = default_format();
    slot.state = State::Unused;
}

/// Sets the format of a slot in any state; None is the default.
pub fn set_format(target: i32, text: Option<&CStr>) -> Result<()> {
    let host = host::name();
    let mut config = config::lock()?;
    let n = usize::try_from(target).ok().filter(|n| *n < SLOTS).ok_or(Error::Os(libc::EBADF))?;
    let slot = &mut config.slots[n];
    let name = Arc::clone(&slot.name);
    let fixed = Fixed { name: name.to_bytes(), pid: std::process::id(), host: &host };
    slot.format = match text {
        Some(text) => Arc::new(Format::new(text.to_bytes(), fixed)),
        None => default_format(),
    };
    config.publish();
    Ok(())
}

/// The sink of an open slot, with the settings it would get now.
pub fn sink(target: i32) -> Result<(usize, Arc<dyn Sink>)> {
    let mut config = config::lock()?;
    let (n, slot) = config.open_slot(target)?;
    match &slot.target {
        Target::Sink(sink) => Ok((n, Arc::clone(sink))),
        _ => Err(Error::Os(libc::EBADF)),
    }
}

/// What happens to rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleOp {
    /// Store a rule.
    Add,
    /// Take one out.
    Remove,
    /// Take all out.
    Clear,
}

/// True if rules can be changed for this target: EINVAL when the logger does not run, EBADF when the slot is not open.
pub fn check_target(target: Option<i32>) -> Result<()> {
    let mut config = config::lock()?;
    let config = config.running()?;
    target.map_or(Ok(()), |target| config.open_slot(target).map(|_| ()))
}

/// Changes a target's rules, and its bit in the callsites.
pub fn filter(target: i32, op: RuleOp, kind: Kind, text: &CStr, high: u8, low: u8) -> Result<()> {
    let call = if op == RuleOp::Add { Rule::new } else { Rule::plain }(kind, text, high, low, 0);
    let mut config = config::lock()?;
    let (n, slot) = config.running()?.open_slot(target)?;
    let call = call?;
    let bit = 1u32 << n;
    match op {
        RuleOp::Add => {
            slot.rules.add(call, false)?;
            let config = &*config;
            let Some(rule) = config.slots[n].rules.0.last() else { return Ok(()) };
            config.each_site(|site| {
                if rule.matches(&site) {
                    site.head.targets.fetch_or(bit, Relaxed);
                }
            });
        }
        RuleOp::Remove => {
            let removed = slot.rules.remove(&call);
            let config = &*config;
            let left = &config.slots[n].rules;
            config.each_site(|site| {
                let was = removed.as_ref().is_some_and(|rule| rule.matches(&site));
                // A call for any text means "be silent"; another one takes only what no other rule wants.
                let keep = removed.is_some() && !call.is_any() && left.any(&site);
                if (was || call.matches(&site)) && !keep {
                    site.head.targets.fetch_and(!bit, Relaxed);
                }
            });
        }
        RuleOp::Clear => config.clear_rules(n),
    }
    Ok(())
}

/// Changes the tag rules, and the tags of the callsites.
pub fn tag(tags: u32, op: RuleOp, kind: Kind, text: &CStr, high: u8, low: u8) -> Result<()> {
    let call = if op == RuleOp::Add { Rule::new } else { Rule::plain }(kind, text, high, low, tags);
    let mut config = config::lock()?;
    let config = config.running()?;
    let call = call?;
    match op {
        RuleOp::Add => {
            config.tag_rules.add(call, true)?;
            let config = &*config;
            let Some(rule) = config.tag_rules.0.last() else { return Ok(()) };
            config.each_site(|site| {
                if rule.matches(&site) {
                    site.head.tags.store(tags, Relaxed);
                }
            });
        }
        RuleOp::Remove => {
            config.tag_rules.remove(&call);
            config.each_site(|site| {
                if call.matches(&site) {
                    site.head.tags.store(0, Relaxed);
                }
            });
        }
        RuleOp::Clear => {
            config.tag_rules = super::filter::Rules::new();
            config.each_site(|site| site.head.tags.store(0, Relaxed));
        }
    }
    Ok(())
}

// SPDX-License-Identifier: LGPL-2.1-or-later
//! The configuration: slots, rules and registered callsites, behind one lock. No program's function is called while it is held.

use super::blackbox::Store;
use super::filter::Rules;
use super::format::{self, Fixed, Format};
use super::live::{self, Dest, LOCKED, Live, LiveSlot, Options, SLOTS, Sink};
use super::site::{Site, SiteRef};
use super::table::{self, Table};
use crate::{Error, Result};
use std::ffi::CStr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

/// Life cycle of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Before the first init: not even free.
    Absent,
    /// Free.
    Unused,
    /// Open, gets no messages.
    Disabled,
    /// Gets messages.
    Enabled,
}

/// What a slot is.
#[derive(Clone)]
pub(super) enum Target {
    None,
    Sink(Arc<dyn Sink>),
    /// Its ring while it is enabled.
    Blackbox(Option<Arc<Store>>),
}

/// One target.
pub(super) struct Slot {
    pub state: State,
    pub target: Target,
    pub name: Arc<CStr>,
    pub facility: i32,
    pub format: Arc<Format>,
    pub rules: Rules,
    pub threaded: bool,
    pub extended: bool,
    pub ellipsis: bool,
    pub sync: bool,
    pub journal: bool,
    pub bump: i32,
    /// As it was given; see [`Slot::max_line`].
    pub max_len: i32,
    /// Of the blackbox, in bytes.
    pub size: i32,
}

impl Slot {
    fn new() -> Self {
        Self {
            state: State::Absent,
            target: Target::None,
            name: c"".into(),
            facility: 0,
            format: Arc::new(Format::new(format::DEFAULT, Fixed { name: b"", pid: 0, host: b"" })),
            rules: Rules::new(),
            threaded: false,
            extended: true,
            ellipsis: false,
            sync: false,
            journal: false,
            bump: 0,
            max_len: 512,
            size: 0,
        }
    }

    /// Longest line with its NUL: 1 to 4096. A negative setting means the maximum.
    pub(super) fn max_line(&self) -> usize {
        usize::try_from(self.max_len).unwrap_or(4096).clamp(1, 4096)
    }

    pub(super) fn options(&self) -> Options {
        Options {
            name: Arc::clone(&self.name),
            facility: self.facility,
            sync: self.sync,
            bump: self.bump,
            journal: self.journal,
        }
    }

    fn live(&self) -> Option<LiveSlot> {
        if self.state != State::Enabled {
            return None;
        }
        let dest = match &self.target {
            Target::None | Target::Blackbox(None) => return None,
            Target::Sink(sink) => Dest::Sink(Arc::clone(sink)),
            Target::Blackbox(Some(store)) => Dest::Blackbox(Arc::clone(store)),
        };
        Some(LiveSlot {
            // The blackbox is written by the thread that logs, always: it has to be complete when that thread crashes.
            threaded: self.threaded && matches!(dest, Dest::Sink(_)),
            dest,
            extended: self.extended,
            ellipsis: self.ellipsis,
            max_line: self.max_line(),
            format: Arc::clone(&self.format),
            options: self.options(),
        })
    }
}

/// Callsites that the program owns and registered. They live for ever.
pub trait Range: Send + Sync {
    /// Visits the elements, except the empty ones (line 0).
    fn each(&self, visit: &mut dyn FnMut(SiteRef<'static>));
    /// First address and the one behind the last: for telling ranges apart and for the dump.
    fn bounds(&self) -> (usize, usize);
}

/// Everything.
pub(super) struct Config {
    pub initialised: bool,
    pub slots: [Slot; SLOTS],
    pub tag_rules: Rules,
    /// The blackbox was enabled: callsites get recipes.
    pub recipes: bool,
    /// Newest first.
    pub ranges: Vec<Box<dyn Range>>,
}

/// Callsites that the library made, by position.
pub(super) static TABLE: Table = Table::new(Site::hash);
/// The same by the address of their heads.
pub(super) static HEADS: Table = Table::new(table::address);

static CONFIG: LazyLock<Mutex<Config>> = LazyLock::new(|| {
    Mutex::new(Config {
        initialised: false,
        slots: std::array::from_fn(|_| Slot::new()),
        tag_rules: Rules::new(),
        recipes: false,
        ranges: Vec::new(),
    })
});

/// The configuration, locked.
pub(super) struct Locked {
    config: MutexGuard<'static, Config>,
    _flag: live::Flag,
}

/// Locks the configuration. [`Error::Busy`] when this thread holds it already, that is when a signal handler interrupted it.
pub(super) fn lock() -> Result<Locked> {
    let flag = live::Flag::raise(&LOCKED).ok_or(Error::Busy)?;
    Ok(Locked { config: CONFIG.lock().unwrap_or_else(PoisonError::into_inner), _flag: flag })
}

/// Locks the configuration without the thread's flag, for `fork()`.
pub(super) fn lock_bare() -> MutexGuard<'static, Config> {
    CONFIG.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::ops::Deref for Locked {
    type Target = Config;
    fn deref(&self) -> &Config {
        &self.config
    }
}

impl std::ops::DerefMut for Locked {
    fn deref_mut(&mut self) -> &mut Config {
        &mut self.config
    }
}

impl Config {
    /// Only while the logger runs.
    pub fn running(&mut self) -> Result<&mut Self> {
        if self.initialised { Ok(self) } else { Err(Error::Invalid) }
    }

    /// The slot `n` if it is open; EBADF otherwise.
    pub fn open_slot(&mut self, n: i32) -> Result<(usize, &mut Slot)> {
        let bad = Error::Os(libc::EBADF);
        let n = usize::try_from(n).map_err(|_| bad)?;
        let slot = self.slots.get_mut(n).ok_or(bad)?;
        match slot.state {
            State::Absent | State::Unused => Err(bad),
            State::Disabled | State::Enabled => Ok((n, slot)),
        }
    }

    /// Makes what changed visible to log calls.
    pub fn publish(&self) {
        live::publish(Live::new(std::array::from_fn(|n| self.slots[n].live())));
    }

    /// Every callsite there is.
    pub fn each_site(&self, mut visit: impl FnMut(SiteRef<'static>)) {
        TABLE.for_each(|site| visit(site.view()));
        for range in &self.ranges {
            range.each(&mut visit);
        }
    }

    /// The targets whose rules want a callsite.
    pub fn wanted_by(&self, site: &SiteRef<'_>) -> u32 {
        let open = |slot: &Slot| matches!(slot.state, State::Disabled | State::Enabled);
        let wants = |n: &usize| open(&self.slots[*n]) && self.slots[*n].rules.any(site);
        (0..SLOTS).filter(wants).fold(0, |bits, n| bits | 1 << n)
    }

    /// Forgets a slot's rules and takes its bit from every callsite.
    pub fn clear_rules(&mut self, n: usize) {
        self.slots[n].rules = Rules::new();
        self.each_site(|site| {
            site.head.targets.fetch_and(!(1 << n), Relaxed);
        });
    }
}

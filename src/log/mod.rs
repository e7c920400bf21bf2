// SPDX-License-Identifier: LGPL-2.1-or-later
//! Messages of the library and of its users: callsites, rules, targets, formats, a worker, and a blackbox.
//!
//! | item | what it is |
//! |---|---|
//! | [`logger`] | init and fini, callsites by position, fork |
//! | [`control`] | settings of targets; rules |
//! | [`emit`] | one message to the targets that want it |
//! | [`filter`], [`format`](mod@format) | which callsites; what a line looks like |
//! | [`worker`] | threaded delivery |
//! | [`blackbox`], [`Recipe`] | the newest messages in a ring; what those of a callsite have in common |
//! | [`serial`], [`dump`] | a message without its format applied; a dump read back |
//!
//! This room may touch the calendar, the host's name, regular expressions, and `rb` with `shm`'s safe types. Sinks are given to it: it
//! opens and prints nothing itself. Any thread may log at any time; only what a target's own function logs is dropped. A
//! thread that is stopped in a log call stops no other, unless it was about to make a new callsite or to change a setting. Atomics and
//! locks are the standard library's, because they have to be constants and usable in a forked child.
#![forbid(unsafe_code)]

pub mod blackbox;
mod config;
pub mod control;
pub mod dump;
pub mod emit;
pub mod filter;
pub mod format;
mod gate;
mod live;
pub mod logger;
mod recipe;
pub mod serial;
mod site;
mod table;
#[cfg(test)]
mod tests;
pub mod worker;

pub use config::{Range, State};
pub use live::{Delivery, Options, SLOTS, Sink};
pub use recipe::{Parse, Parsed, Recipe, Step};
pub use site::{Key, Site, SiteHead, SiteRef};

use std::fmt;

/// Severity, with syslog's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i32)]
pub enum Level {
    /// LOG_CRIT
    Critical = 2,
    /// LOG_ERR
    Error = 3,
    /// LOG_WARNING
    Warning = 4,
    /// LOG_NOTICE
    Notice = 5,
    /// LOG_INFO
    Info = 6,
    /// LOG_DEBUG
    Debug = 7,
    /// Below LOG_DEBUG
    Trace = 8,
}

/// A message of the library itself, with tag bit 31. Nothing happens while the logger does not run, and inside a log call.
#[doc(hidden)]
pub fn emit(file: &'static str, line: u32, level: Level, text: fmt::Arguments<'_>) {
    emit::library(file.rsplit('/').next().unwrap_or(file), line, level, text);
}

/// Logs a message of the library itself: `log!(Level::Warning, "timer {} is gone", n)`.
#[macro_export]
#[doc(hidden)]
macro_rules! log {
    ($level:expr, $($arg:tt)+) => {
        $crate::log::emit(file!(), line!(), $level, format_args!($($arg)+))
    };
}

// SPDX-License-Identifier: LGPL-2.1-or-later
//! What the library says about itself. For now a facade with one replaceable sink; `event`, `rb` and `ipc` speak through
//! [`log!`](crate::log), `ring`, `shm` and `sys` never do.
#![forbid(unsafe_code)]

use std::fmt;
use std::sync::OnceLock;

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

/// Where a message of the library goes: file name without directory, line, severity, text.
pub type Sink = fn(file: &'static str, line: u32, level: Level, text: fmt::Arguments<'_>);

static SINK: OnceLock<Sink> = OnceLock::new();

/// Sets the sink once per process; later calls change nothing.
pub fn set_sink(sink: Sink) {
    let _ = SINK.set(sink);
}

#[doc(hidden)]
pub fn emit(file: &'static str, line: u32, level: Level, text: fmt::Arguments<'_>) {
    if let Some(sink) = SINK.get() {
        let name = file.rsplit('/').next().unwrap_or(file);
        sink(name, line, level, text);
    }
}

/// Logs a message of the library itself: `log!(Level::Warning, "timer {} is gone", n)`.
#[macro_export]
#[doc(hidden)]
macro_rules! log {
    ($level:expr, $($arg:tt)+) => {
        $crate::log::emit(file!(), line!(), $level, format_args!($($arg)+))
    };
}

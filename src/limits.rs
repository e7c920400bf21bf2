// SPDX-License-Identifier: LGPL-2.1-or-later
//! The caps on what a peer or a user can make the library hold, do or wait for, each with what it stops. Constants and their
//! environment variables only; the latter count for nothing in a program that has more rights than its caller.
#![forbid(unsafe_code)]

use crate::sys::process;
use std::sync::OnceLock;
use std::time::Duration;

/// Largest message a client may ask a service for, in bytes; `LIBQB_MAX_MSG_SIZE` changes it, 0 does not.
///
/// Stops: a client that names an absurd size and makes the server reserve that much shared memory three times over. A
/// service's own enforced size is not limited by it.
#[must_use]
pub fn max_msg_size() -> u32 {
    static VALUE: OnceLock<u32> = OnceLock::new();
    *VALUE.get_or_init(|| from_env("LIBQB_MAX_MSG_SIZE", 64 << 20))
}

/// Connections of one service that may be in the middle of the handshake.
///
/// Stops: peers that connect and say nothing, until the server has no descriptor left. Beyond it the oldest of the user who
/// has most of them makes room.
pub const HALF_OPEN: usize = 128;

/// [`HALF_OPEN`], or a quarter of the descriptors that the process may have if that is less.
///
/// Stops: the same in a service with a low `RLIMIT_NOFILE`.
#[must_use]
pub fn half_open(descriptors: u64) -> usize {
    usize::try_from(descriptors / 4).unwrap_or(HALF_OPEN).clamp(1, HALF_OPEN)
}

/// [`HALF_OPEN`] for one user other than root.
///
/// Stops: one user who fills [`HALF_OPEN`] alone.
pub const HALF_OPEN_PER_USER: usize = 32;

/// How long a handshake may take before its connection is closed at the next opportunity.
///
/// Stops: half-open connections that pile up slowly.
pub const HANDSHAKE: Duration = Duration::from_secs(30);

/// How long a service pauses when a client waits at the door and there is no descriptor to take or refuse it with, not even
/// the spare one. Its other clients are served between pauses.
///
/// Stops: a listening socket that stays readable from keeping the loop busy.
pub const NO_DESCRIPTOR: Duration = Duration::from_millis(10);

/// How long a client waits for the server's part of the handshake; `LIBQB_CONNECT_TIMEOUT_MS` changes it,
/// 0 does not.
///
/// Stops: a server that is stopped, or a squatter that never answers, from hanging its clients.
#[must_use]
pub fn connect_timeout() -> Duration {
    static VALUE: OnceLock<Duration> = OnceLock::new();
    *VALUE.get_or_init(|| Duration::from_millis(from_env("LIBQB_CONNECT_TIMEOUT_MS", 30_000).into()))
}

/// Doorbell bytes that may be outstanding before the connection counts as broken.
///
/// Stops: a peer that lets the counter of unread or unsent bytes run away.
pub const DOORBELLS: i64 = 1 << 24;

/// Bytes without an event that a client throws away in one receive once its time is over.
///
/// Stops: a server that floods the stream with bytes from keeping its client busy.
pub const STRAY_BYTES: u32 = 256;

/// Clients that may wait at the door of a service until it accepts them; the kernel keeps them.
///
/// Stops: clients that connect faster than they are accepted.
pub const BACKLOG: i32 = 128;

/// How old a directory of a dead server has to be before a service of the same user removes it.
///
/// Stops: a server in another pid namespace, whose pid looks dead here, from losing files that its client has not opened yet.
pub const LEFTOVER_AGE: Duration = Duration::from_secs(60);

/// Events kept for a socket client that has not made its socket yet, in messages.
///
/// Stops: a client that never does and lets events pile up in the server.
pub const PENDING_EVENTS: usize = 256;

/// How long such events are kept: making the sockets is the rest of the handshake. Who has not made them by then is
/// disconnected.
///
/// Stops: the same.
pub const PENDING_EVENT_TIME: Duration = HANDSHAKE;

/// How long a client that has a message for a ring waits for room for the byte that announces it.
///
/// Stops: a stopped server from hanging a client inside a send.
pub const DOORBELL_RETRY: Duration = Duration::from_millis(200);

/// Nanoseconds that a wait for a peer may spin before it sleeps, about as long as waking a sleeper takes; `LIBQB_SPIN_US`
/// (microseconds, at most [`SPIN_MOST_US`]) changes it, 0 turns it off.
///
/// Stops: waits from burning a processor that others need.
#[must_use]
#[inline]
pub fn spin_ns() -> u64 {
    static VALUE: OnceLock<u64> = OnceLock::new();
    *VALUE.get_or_init(|| u64::from(any_from_env("LIBQB_SPIN_US", 50).min(SPIN_MOST_US)) * 1000)
}

/// The most that `LIBQB_SPIN_US` can ask for, in microseconds.
pub const SPIN_MOST_US: u32 = 10_000;

/// Nanoseconds that a service may stay with one busy client before it goes back to its poll loop: twice [`spin_ns`], so nothing when
/// that is 0.
///
/// Stops: a client that never pauses from keeping the application's other descriptors waiting.
#[must_use]
pub fn linger_ns() -> u64 {
    spin_ns() * 2
}

fn from_env(name: &str, default: u32) -> u32 {
    match any_from_env(name, default) {
        0 => default,
        value => value,
    }
}

fn any_from_env(name: &str, default: u32) -> u32 {
    process::variable(name).and_then(|v| v.trim().parse().ok()).unwrap_or(default)
}

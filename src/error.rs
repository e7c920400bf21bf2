// SPDX-License-Identifier: LGPL-2.1-or-later
//! The one error type of the library and the one place that knows which errno a C caller sees. It touches nothing.
#![forbid(unsafe_code)]

use libc::c_int;
use std::fmt;

/// What went wrong. [`Error::errno`] is the number that C callers get, negated, by `capi`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Ring, socket or queue is full or empty for now, or flow control says stop: `EAGAIN`.
    Busy,
    /// A message of this kind is reserved or looked at already: `EBUSY`.
    InUse,
    /// The wait ended without a result: `ETIMEDOUT`.
    TimedOut,
    /// Beyond the size that was agreed: `EMSGSIZE`.
    TooBig,
    /// The caller's buffer is smaller than the message, which stays queued: `ENOBUFS`.
    BufferTooSmall,
    /// The peer closed, died, or the connection was given up: `ENOTCONN`.
    Disconnected,
    /// Bytes that no correct peer writes: `EBADMSG`.
    Corrupt,
    /// An argument is out of range or missing: `EINVAL`.
    Invalid,
    /// No such job, timer or entry: `ENOENT`.
    NotFound,
    /// The thing exists already: `EEXIST`.
    Exists,
    /// Not available in this mode or build: `ENOTSUP`.
    NotSupported,
    /// Memory could not be had: `ENOMEM`.
    NoMemory,
    /// Any other errno of the operating system.
    Os(c_int),
}

/// Result with the library's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The errno a C caller sees, positive; `capi` negates it.
    #[must_use]
    #[inline(never)]
    pub const fn errno(self) -> c_int {
        match self {
            Error::Busy => libc::EAGAIN,
            Error::InUse => libc::EBUSY,
            Error::TimedOut => libc::ETIMEDOUT,
            Error::TooBig => libc::EMSGSIZE,
            Error::BufferTooSmall => libc::ENOBUFS,
            Error::Disconnected => libc::ENOTCONN,
            Error::Corrupt => libc::EBADMSG,
            Error::Invalid => libc::EINVAL,
            Error::NotFound => libc::ENOENT,
            Error::Exists => libc::EEXIST,
            Error::NotSupported => libc::ENOTSUP,
            Error::NoMemory => libc::ENOMEM,
            Error::Os(code) => code,
        }
    }

    /// Whether a connection goes on after this error: it says something about this call only.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        match self {
            Error::Busy
            | Error::InUse
            | Error::TimedOut
            | Error::TooBig
            | Error::BufferTooSmall
            | Error::Invalid
            | Error::Os(libc::EINTR | libc::ENOMSG) => true,
            Error::Disconnected
            | Error::Corrupt
            | Error::NotFound
            | Error::Exists
            | Error::NotSupported
            | Error::NoMemory
            | Error::Os(_) => false,
        }
    }

    /// The calling thread's errno as an error, right after a failed system call.
    #[must_use]
    #[cold]
    #[inline(never)]
    pub fn last_os() -> Self {
        std::io::Error::last_os_error().into()
    }
}

impl From<std::io::Error> for Error {
    fn from(e: std::io::Error) -> Self {
        match e.raw_os_error() {
            Some(libc::EAGAIN) => Error::Busy,
            Some(code) => Error::Os(code),
            None => Error::Os(libc::EIO),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::io::Error::from_raw_os_error(self.errno()).fmt(f)
    }
}

impl std::error::Error for Error {}

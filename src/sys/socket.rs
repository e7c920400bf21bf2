// SPDX-License-Identifier: LGPL-2.1-or-later
//! Unix sockets: addresses, streams with credentials, datagrams. All descriptors are non-blocking and close-on-exec, and
//! no call raises SIGPIPE.

use crate::{Error, Result};
use libc::{c_int, c_void, sockaddr, sockaddr_un, socklen_t};
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Who sits at the other end, as the kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Process, in our pid namespace; 0 when it is not visible there.
    pub pid: i32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// A unix socket address; always passed to the kernel with the full length of `sockaddr_un`, as every libqb does: the
/// zeros behind an abstract name are part of it.
#[derive(Clone, Copy)]
pub struct Address(sockaddr_un);

const PATH_LEN: usize = 108;
const ADDRESS_LEN: socklen_t = size_of::<sockaddr_un>() as socklen_t;

impl Address {
    fn empty() -> Self {
        // SAFETY: sockaddr_un is plain data for which all zeros is a valid value.
        let mut raw: sockaddr_un = unsafe { zeroed() };
        raw.sun_family = libc::AF_UNIX as libc::sa_family_t;
        Self(raw)
    }

    fn fill(&mut self, at: usize, bytes: &[u8]) {
        for (to, from) in self.0.sun_path[at..].iter_mut().zip(bytes) {
            *to = from.cast_signed();
        }
    }

    /// The abstract address of `name`, cut to 106 bytes.
    #[must_use]
    pub fn abstract_name(name: &[u8]) -> Self {
        let mut address = Self::empty();
        address.fill(1, &name[..name.len().min(PATH_LEN - 2)]);
        address
    }

    /// A file-system address, cut to 107 bytes.
    #[must_use]
    pub fn path(path: &Path) -> Self {
        let mut address = Self::empty();
        let bytes = path.as_os_str().as_bytes();
        address.fill(0, &bytes[..bytes.len().min(PATH_LEN - 1)]);
        address
    }

    fn raw(&self) -> *const sockaddr {
        (&raw const self.0).cast()
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.0.sun_family == other.0.sun_family && self.0.sun_path[..] == other.0.sun_path[..]
    }
}

fn check(rc: c_int) -> Result<()> {
    if rc == 0 { Ok(()) } else { Err(Error::last_os()) }
}

pub(super) fn checked_len(n: isize) -> Result<usize> {
    usize::try_from(n).map_err(|_| Error::last_os())
}

fn socket(kind: c_int) -> Result<OwnedFd> {
    // SAFETY: no pointers; the result is checked before use.
    let raw = unsafe { libc::socket(libc::AF_UNIX, kind | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC, 0) };
    if raw < 0 {
        return Err(Error::last_os());
    }
    // SAFETY: `raw` was just made by the kernel for us and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

fn set_int(fd: BorrowedFd<'_>, option: c_int, value: c_int) -> Result<()> {
    // SAFETY: the option value is a live int of the length given.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const value).cast(),
            size_of::<c_int>() as socklen_t,
        )
    })
}

fn get_int(fd: BorrowedFd<'_>, option: c_int) -> Result<c_int> {
    let mut value: c_int = 0;
    let mut len = size_of::<c_int>() as socklen_t;
    // SAFETY: `value` is a writable int and `len` says so.
    check(unsafe {
        libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, option, (&raw mut value).cast(), &raw mut len)
    })?;
    Ok(value)
}

/// Binds a socket to an address.
pub fn bind(fd: BorrowedFd<'_>, address: &Address) -> Result<()> {
    // SAFETY: the address is a live sockaddr_un of the length given.
    check(unsafe { libc::bind(fd.as_raw_fd(), address.raw(), ADDRESS_LEN) })
}

/// Connects a socket to an address.
pub fn connect(fd: BorrowedFd<'_>, address: &Address) -> Result<()> {
    // SAFETY: the address is a live sockaddr_un of the length given.
    check(unsafe { libc::connect(fd.as_raw_fd(), address.raw(), ADDRESS_LEN) })
}

/// A listening stream socket. Accepted sockets inherit the wish for credentials.
pub fn listen(address: &Address, backlog: i32) -> Result<OwnedFd> {
    let fd = socket(libc::SOCK_STREAM)?;
    bind(fd.as_fd(), address)?;
    want_credentials(fd.as_fd(), true)?;
    // SAFETY: no pointers.
    check(unsafe { libc::listen(fd.as_raw_fd(), backlog) })?;
    Ok(fd)
}

/// The next waiting connection; [`Error::Busy`] when there is none.
pub fn accept(listener: BorrowedFd<'_>) -> Result<OwnedFd> {
    loop {
        // SAFETY: the peer's address is not wanted, which NULLs say.
        let raw = unsafe {
            libc::accept4(
                listener.as_raw_fd(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
            )
        };
        if raw >= 0 {
            // SAFETY: `raw` was just made by the kernel for us and nobody else owns it.
            return Ok(unsafe { OwnedFd::from_raw_fd(raw) });
        }
        match Error::last_os() {
            Error::Os(libc::EINTR) => {}
            e => return Err(e),
        }
    }
}

/// A stream socket, not yet connected.
pub fn stream() -> Result<OwnedFd> {
    socket(libc::SOCK_STREAM)
}

/// A datagram socket without a name, whose buffers hold at least `size` bytes.
pub fn datagram(size: usize) -> Result<OwnedFd> {
    let fd = socket(libc::SOCK_DGRAM)?;
    raise_buffers(fd.as_fd(), size)?;
    Ok(fd)
}

/// Raises both buffers of a socket to `size` bytes where they are not above it yet.
pub fn raise_buffers(fd: BorrowedFd<'_>, size: usize) -> Result<()> {
    let want = c_int::try_from(size).map_err(|_| Error::Invalid)?;
    for option in [libc::SO_SNDBUF, libc::SO_RCVBUF] {
        if get_int(fd, option)? <= want {
            set_int(fd, option, want)?;
        }
    }
    Ok(())
}

/// Sets the send buffer to about twice `bytes`, or to the least or most that the kernel allows.
pub fn set_send_buffer(fd: BorrowedFd<'_>, bytes: c_int) -> Result<()> {
    set_int(fd, libc::SO_SNDBUF, bytes)
}

/// The usable size of the send buffer.
pub fn send_buffer(fd: BorrowedFd<'_>) -> Result<usize> {
    Ok(usize::try_from(get_int(fd, libc::SO_SNDBUF)?).unwrap_or(0))
}

/// Bytes of the send buffer that are in use: what was sent and not received yet, with the kernel's own part of it.
pub fn unsent(fd: BorrowedFd<'_>) -> Result<usize> {
    let mut bytes: c_int = 0;
    // SAFETY: this request writes one int, which is there.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) })?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}

/// Asks the kernel to attach (or no longer attach) the sender's credentials to what arrives.
pub fn want_credentials(fd: BorrowedFd<'_>, on: bool) -> Result<()> {
    set_int(fd, libc::SO_PASSCRED, on.into())
}

/// The effective credentials of the process that connected (or, on a client's socket, that listened).
pub fn peer_credentials(fd: BorrowedFd<'_>) -> Result<Credentials> {
    let mut cred = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut len = size_of::<libc::ucred>() as socklen_t;
    // SAFETY: `cred` is a writable ucred and `len` says so.
    check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut cred).cast(),
            &raw mut len,
        )
    })?;
    Ok(Credentials { pid: cred.pid, uid: cred.uid, gid: cred.gid })
}

/// Sends bytes without waiting. A stream may take fewer than offered.
pub fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> Result<usize> {
    loop {
        // SAFETY: `bytes` is readable for its length.
        let n = unsafe {
            libc::send(
                fd.as_raw_fd(),
                bytes.as_ptr().cast(),
                bytes.len(),
                libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT,
            )
        };
        match checked_len(n) {
            Err(Error::Os(libc::EINTR)) => {}
            r => return r,
        }
    }
}

/// Largest number of parts that one datagram is gathered from without an allocation.
const INLINE_PARTS: usize = 16;

/// Sends the parts as one datagram (or one piece of a stream) without waiting.
pub fn send_parts(fd: BorrowedFd<'_>, parts: &[&[u8]]) -> Result<usize> {
    if let [one] = parts {
        return send(fd, one);
    }
    let mut inline = [const { libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 } }; INLINE_PARTS];
    let mut heap = Vec::new();
    let vectors: &mut [libc::iovec] = if parts.len() <= INLINE_PARTS {
        &mut inline[..parts.len()]
    } else {
        heap.resize(parts.len(), libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 });
        &mut heap
    };
    for (vector, part) in vectors.iter_mut().zip(parts) {
        vector.iov_base = part.as_ptr().cast_mut().cast();
        vector.iov_len = part.len();
    }
    // SAFETY: msghdr is plain data for which all zeros is a valid value.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = vectors.as_mut_ptr();
    message.msg_iovlen = vectors.len() as _;
    // SAFETY: every vector points to a live part.
    unsafe { send_message(fd, &message) }
}

/// Sends a message without waiting.
///
/// # Safety
/// What the message points to is there, for the lengths that it says.
pub(super) unsafe fn send_message(fd: BorrowedFd<'_>, message: &libc::msghdr) -> Result<usize> {
    loop {
        // SAFETY: the caller vouches for what sendmsg reads; it writes to nothing.
        let n = unsafe { libc::sendmsg(fd.as_raw_fd(), message, libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT) };
        match checked_len(n) {
            Err(Error::Os(libc::EINTR)) => {}
            r => return r,
        }
    }
}

/// Receives what is there without waiting: 0 is the end of a stream, [`Error::Busy`] nothing for now. Of a datagram
/// longer than the buffer the true length is returned.
pub fn recv(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize> {
    receive(fd, buffer, 0)
}

/// Like [`recv`], but leaves what it read in the queue.
pub fn peek(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize> {
    receive(fd, buffer, libc::MSG_PEEK)
}

fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8], flags: c_int) -> Result<usize> {
    // On a stream MSG_TRUNC would throw bytes away instead of reading them, but only beyond the buffer's length with
    // TCP; unix streams ignore it.
    let flags = flags | libc::MSG_DONTWAIT | libc::MSG_TRUNC;
    loop {
        // SAFETY: `buffer` is writable for its length, and the kernel writes no more than that.
        let n =
            unsafe { libc::recv(fd.as_raw_fd(), buffer.as_mut_ptr().cast::<c_void>(), buffer.len(), flags) };
        match checked_len(n) {
            Err(Error::Os(libc::EINTR)) => {}
            r => return r,
        }
    }
}

/// Receives one datagram and the address it came from; the true length is returned even if it did not fit.
pub fn recv_from(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<(usize, Address)> {
    let mut from = Address::empty();
    let mut len = ADDRESS_LEN;
    let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
    loop {
        // SAFETY: `buffer` and `from` are writable for the lengths given.
        let n = unsafe {
            libc::recvfrom(
                fd.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                flags,
                (&raw mut from.0).cast(),
                &raw mut len,
            )
        };
        match checked_len(n) {
            Err(Error::Os(libc::EINTR)) => {}
            r => return r.map(|n| (n, from)),
        }
    }
}

/// Ends both directions of a connection for every process that holds it.
pub fn shutdown(fd: BorrowedFd<'_>) {
    // SAFETY: no pointers. A failure means that the peer is gone already.
    let _ = unsafe { libc::shutdown(fd.as_raw_fd(), libc::SHUT_RDWR) };
}

/// A connected pair of datagram sockets.
pub fn datagram_pair() -> Result<(OwnedFd, OwnedFd)> {
    let mut raw = [-1; 2];
    let kind = libc::SOCK_DGRAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: `raw` has room for the two descriptors.
    check(unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, raw.as_mut_ptr()) })?;
    // SAFETY: both were just made by the kernel for us and nobody else owns them.
    Ok(unsafe { (OwnedFd::from_raw_fd(raw[0]), OwnedFd::from_raw_fd(raw[1])) })
}

// SPDX-License-Identifier: LGPL-2.1-or-later
//! What travels beside the bytes of a unix socket: the sender's credentials, and descriptors.

use super::socket::{Credentials, checked_len};
use crate::{Error, Result};
use libc::{c_int, c_uint};
use std::mem::{MaybeUninit, size_of, zeroed};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Room for control messages.
#[repr(C, align(8))]
struct Space<const N: usize>([u8; N]);

/// Room for the credentials and nothing else: descriptors that a peer sends along do not fit, and the kernel drops them.
const CREDENTIALS: usize = 32;
/// Room for the credentials and a descriptor.
const BOTH: usize = 64;

/// What one receive brought.
#[derive(Debug, Default)]
pub struct Received {
    /// Bytes; 0 is the end of the stream.
    pub bytes: usize,
    /// Who sent them, if the kernel attached that.
    pub credentials: Option<Credentials>,
    /// The first descriptor that came along. Others were closed.
    pub fd: Option<OwnedFd>,
    /// Something that came along found no room here, or no free descriptor.
    pub cut: bool,
}

/// Receives bytes of a stream without waiting, with the sender's credentials if the kernel attached them. Descriptors are not
/// taken.
pub fn recv_with_credentials(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<(usize, Option<Credentials>)> {
    receive::<CREDENTIALS>(fd, buffer).map(|received| (received.bytes, received.credentials))
}

/// Receives bytes of a stream without waiting, with credentials and at most one descriptor.
pub fn recv_with_descriptor(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<Received> {
    receive::<BOTH>(fd, buffer)
}

fn receive<const N: usize>(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<Received> {
    let mut space = MaybeUninit::<Space<N>>::zeroed();
    let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: msghdr is plain data for which all zeros is a valid value.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = space.as_mut_ptr().cast();
    message.msg_controllen = size_of::<Space<N>>() as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    let bytes = loop {
        // SAFETY: the vector and the control space are writable for the lengths given.
        match checked_len(unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, flags) }) {
            Err(Error::Os(libc::EINTR)) => {}
            r => break r?,
        }
    };
    let cut = message.msg_flags & libc::MSG_CTRUNC != 0;
    let mut received = Received { bytes, cut, ..Received::default() };
    // SAFETY: `message` was filled by recvmsg; the macros stay within msg_controllen.
    let mut at = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !at.is_null() {
        // SAFETY: CMSG_FIRSTHDR/CMSG_NXTHDR gave a header that lies completely inside the control space.
        let header = unsafe { at.read_unaligned() };
        // SAFETY: only computes.
        let (empty, data) = unsafe { (libc::CMSG_LEN(0) as usize, libc::CMSG_DATA(at)) };
        let len = (header.cmsg_len as usize).saturating_sub(empty);
        if header.cmsg_level == libc::SOL_SOCKET {
            if header.cmsg_type == libc::SCM_CREDENTIALS && len >= size_of::<libc::ucred>() {
                // SAFETY: the length check says that a whole ucred follows the header.
                let cred = unsafe { data.cast::<libc::ucred>().read_unaligned() };
                received.credentials = Some(Credentials { pid: cred.pid, uid: cred.uid, gid: cred.gid });
            } else if header.cmsg_type == libc::SCM_RIGHTS {
                for i in 0..len / size_of::<c_int>() {
                    // SAFETY: the length says that so many descriptors follow the header, which the kernel has just opened for
                    // us and nobody else owns.
                    let fd = unsafe { OwnedFd::from_raw_fd(data.cast::<c_int>().add(i).read_unaligned()) };
                    received.fd.get_or_insert(fd);
                }
            }
        }
        // SAFETY: as for CMSG_FIRSTHDR.
        at = unsafe { libc::CMSG_NXTHDR(&raw const message, at) };
    }
    Ok(received)
}

/// Sends bytes on a stream without waiting, and a copy of a descriptor with the first of them.
pub fn send_with_descriptor(fd: BorrowedFd<'_>, bytes: &[u8], sent: BorrowedFd<'_>) -> Result<usize> {
    // SAFETY: only computes.
    let (space_len, len) = unsafe {
        (
            libc::CMSG_SPACE(size_of::<c_int>() as c_uint) as usize,
            libc::CMSG_LEN(size_of::<c_int>() as c_uint),
        )
    };
    let mut space = Space([0_u8; BOTH]);
    let mut vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: msghdr is plain data for which all zeros is a valid value.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = &raw mut vector;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut space).cast();
    message.msg_controllen = space_len.min(BOTH) as _;
    // SAFETY: the control space is aligned and has room for a header and a descriptor (CMSG_SPACE of an int is 24 at most).
    unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = len as _;
        libc::CMSG_DATA(header).cast::<c_int>().write_unaligned(sent.as_raw_fd());
    }
    // SAFETY: the vector is readable for its length, and so is the control space.
    unsafe { super::socket::send_message(fd, &message) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_descriptor_arrives_with_the_bytes_and_only_where_it_is_wanted() {
        let (a, b) = UnixStream::pair().unwrap();
        for wanted in [true, false] {
            let (mut reader, writer) = UnixStream::pair().unwrap();
            assert_eq!(send_with_descriptor(a.as_fd(), b"hello", writer.as_fd()), Ok(5));
            drop(writer);
            let mut buffer = [0; 16];
            if wanted {
                let got = recv_with_descriptor(b.as_fd(), &mut buffer).unwrap();
                assert_eq!((got.bytes, &buffer[..5]), (5, &b"hello"[..]));
                drop(UnixStream::from(got.fd.unwrap()));
            } else {
                assert_eq!(recv_with_credentials(b.as_fd(), &mut buffer), Ok((5, None)));
            }
            // Every copy is closed, or this would wait for ever.
            assert_eq!(reader.read(&mut [0; 1]).unwrap(), 0);
        }
        assert_eq!(recv_with_descriptor(b.as_fd(), &mut [0; 1]).map(|_| ()), Err(Error::Busy));
    }
}

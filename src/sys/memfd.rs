// SPDX-License-Identifier: LGPL-2.1-or-later
//! Memory without a name that nobody can make shorter or longer: a sealed memfd. Whoever maps it cannot be hurt by the other
//! holders' `ftruncate`.

use super::mmap::page_size;
use crate::sync::{AtomicBool, Ordering::Relaxed};
use crate::{Error, Result};
use libc::{c_int, c_uint};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const SEALS: c_int = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;

/// Makes `len` bytes of zeros, sealed. Pages cost memory once somebody writes to them.
pub fn create(len: usize) -> Result<OwnedFd> {
    let fd = make()?;
    let len = libc::off_t::try_from(len).map_err(|_| Error::Invalid)?;
    // SAFETY: no pointers.
    if unsafe { libc::ftruncate(fd.as_raw_fd(), len) } != 0 {
        return Err(Error::last_os());
    }
    // SAFETY: no pointers.
    if unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, SEALS) } != 0 {
        return Err(Error::last_os());
    }
    Ok(fd)
}

fn make() -> Result<OwnedFd> {
    /// Kernels before 6.3 do not know the flag.
    static NO_EXEC_SEAL: AtomicBool = AtomicBool::new(true);
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    if NO_EXEC_SEAL.load(Relaxed) {
        match open(flags | libc::MFD_NOEXEC_SEAL) {
            Err(Error::Os(libc::EINVAL)) => NO_EXEC_SEAL.store(false, Relaxed),
            result => return result,
        }
    }
    open(flags)
}

fn open(flags: c_uint) -> Result<OwnedFd> {
    // SAFETY: the name is a C string.
    let raw = unsafe { libc::memfd_create(c"qb".as_ptr(), flags) };
    if raw < 0 {
        return Err(Error::last_os());
    }
    // SAFETY: `raw` was just made by the kernel for us and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Whether a descriptor that somebody sent is what [`create`] makes: sealed against shortening, exactly `len` bytes long, and
/// of ordinary pages.
pub fn verify(fd: BorrowedFd<'_>, len: usize) -> Result<()> {
    // SAFETY: no pointers. Fails for anything but shared memory.
    let seals = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) };
    if seals < 0 || seals & SEALS != SEALS {
        return Err(Error::Corrupt);
    }
    // SAFETY: all zeros is a valid value of the plain C struct.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` is writable.
    if unsafe { libc::fstat(fd.as_raw_fd(), &raw mut stat) } != 0 {
        return Err(Error::last_os());
    }
    // Huge pages may run out, which raises SIGBUS: their files have larger blocks.
    let ordinary = usize::try_from(stat.st_blksize).is_ok_and(|block| block <= page_size());
    if ordinary && usize::try_from(stat.st_size) == Ok(len) { Ok(()) } else { Err(Error::Corrupt) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::AsFd;

    #[test]
    fn what_was_made_is_verified_and_cannot_be_resized() {
        let fd = create(12_288).unwrap();
        assert_eq!(verify(fd.as_fd(), 12_288), Ok(()));
        for other in [0, 12_287, 12_289, usize::MAX] {
            assert_eq!(verify(fd.as_fd(), other), Err(Error::Corrupt));
        }
        let file = File::from(fd);
        for len in [0, 4096, 1 << 20] {
            assert!(file.set_len(len).is_err());
        }
    }

    #[test]
    fn other_descriptors_are_refused() {
        let plain = open(libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING).unwrap();
        let file = File::from(plain.try_clone().unwrap());
        file.set_len(4096).unwrap();
        assert_eq!(verify(plain.as_fd(), 4096), Err(Error::Corrupt), "not sealed");
        // SAFETY: no pointers.
        assert_eq!(unsafe { libc::fcntl(plain.as_raw_fd(), libc::F_ADD_SEALS, libc::F_SEAL_GROW) }, 0);
        assert_eq!(verify(plain.as_fd(), 4096), Err(Error::Corrupt), "sealed against growing only");
        let null = File::open("/dev/null").unwrap();
        assert_eq!(verify(null.as_fd(), 0), Err(Error::Corrupt));
        let (socket, _peer) = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(verify(socket.as_fd(), 0), Err(Error::Corrupt));
    }
}

// SPDX-License-Identifier: LGPL-2.1-or-later
//! Directories and files by descriptor. Names come from private memory and hold no `/`; nothing is followed, nothing is
//! unlinked before its inode was compared, and owner and mode are set through descriptors only.

use crate::{Error, Result};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Which file a name means: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    /// Device number.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
}

/// What `fstat` says of a descriptor.
#[derive(Clone, Copy, Debug)]
pub struct Stat {
    /// Device and inode.
    pub id: FileId,
    /// Owning user.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Type and permission bits (`st_mode`).
    pub mode: u32,
    /// Length in bytes.
    pub len: u64,
    /// Hard links.
    pub nlink: u64,
}

impl Stat {
    /// True for a regular file.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.mode & libc::S_IFMT == libc::S_IFREG
    }
}

#[allow(clippy::unnecessary_cast, reason = "the widths of stat's fields differ between architectures")]
fn stat_of(raw: &libc::stat) -> Stat {
    Stat {
        id: FileId { dev: raw.st_dev as u64, ino: raw.st_ino as u64 },
        uid: raw.st_uid,
        gid: raw.st_gid,
        mode: raw.st_mode as u32,
        len: u64::try_from(raw.st_size).unwrap_or(0),
        nlink: raw.st_nlink as u64,
    }
}

fn check(rc: libc::c_int) -> Result<()> {
    if rc < 0 { Err(Error::last_os()) } else { Ok(()) }
}

fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Error::Invalid)
}

/// A name inside a directory: not empty, no `/`, no NUL, not `.` or `..`.
fn c_name(name: &[u8]) -> Result<CString> {
    if name.is_empty() || name.contains(&b'/') || name == b"." || name == b".." {
        return Err(Error::Invalid);
    }
    CString::new(name).map_err(|_| Error::Invalid)
}

fn open_at(dir: libc::c_int, name: &CStr, flags: libc::c_int, mode: libc::mode_t) -> Result<OwnedFd> {
    // SAFETY: `name` is NUL-terminated; the result is a descriptor of our own or -1.
    let fd = unsafe { libc::openat(dir, name.as_ptr(), flags | libc::O_CLOEXEC, libc::c_uint::from(mode)) };
    check(fd)?;
    // SAFETY: `fd` was just opened and belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Device, inode, owner, type, length and links of an open file.
pub fn fstat(fd: BorrowedFd<'_>) -> Result<Stat> {
    // SAFETY: all-zero is a valid `stat`.
    let mut raw: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `raw` is writable for one `stat`.
    check(unsafe { libc::fstat(fd.as_raw_fd(), &raw mut raw) })?;
    Ok(stat_of(&raw))
}

/// Sets owner and group, also by a descriptor that only names the file (`O_PATH`).
pub fn fchown(fd: BorrowedFd<'_>, uid: u32, gid: u32) -> Result<()> {
    // SAFETY: the path is NUL-terminated, and empty: it is about the descriptor itself.
    check(unsafe { libc::fchownat(fd.as_raw_fd(), c"".as_ptr(), uid, gid, libc::AT_EMPTY_PATH) })
}

/// Sets the permission bits, also by a descriptor that only names the file (`O_PATH`), where `/proc` is mounted.
pub fn fchmod(fd: BorrowedFd<'_>, mode: u32) -> Result<()> {
    // SAFETY: plain numbers.
    match check(unsafe { libc::fchmod(fd.as_raw_fd(), mode) }) {
        Err(Error::Os(libc::EBADF)) => {
            let link =
                CString::new(format!("/proc/self/fd/{}", fd.as_raw_fd())).map_err(|_| Error::Invalid)?;
            // SAFETY: `link` is NUL-terminated.
            check(unsafe { libc::chmod(link.as_ptr(), mode) })
        }
        done => done,
    }
}

/// Sets the length; bytes that are new read as zeros.
pub fn truncate(fd: BorrowedFd<'_>, len: u64) -> Result<()> {
    let len = libc::off_t::try_from(len).map_err(|_| Error::Os(libc::EFBIG))?;
    loop {
        // SAFETY: plain numbers.
        match check(unsafe { libc::ftruncate(fd.as_raw_fd(), len) }) {
            Err(Error::Os(libc::EINTR)) => {}
            other => return other,
        }
    }
}

/// Reserves the first `len` bytes, so that a full file system is ENOSPC here and not a fault later.
pub fn fallocate(fd: BorrowedFd<'_>, len: u64) -> Result<()> {
    let len = libc::off_t::try_from(len).map_err(|_| Error::Os(libc::EFBIG))?;
    loop {
        // SAFETY: plain numbers. The error is the return value, not errno.
        match unsafe { libc::posix_fallocate(fd.as_raw_fd(), 0, len) } {
            0 => return Ok(()),
            libc::EINTR => {}
            code => return Err(Error::Os(code)),
        }
    }
}

/// Makes a new file by path, read-write, mode 0600 less the umask: EEXIST for any entry of that name.
pub(crate) fn create_path(path: &Path) -> Result<OwnedFd> {
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
    open_at(libc::AT_FDCWD, &c_path(path)?, flags, 0o600)
}

/// Opens a file by path; its last component is not followed if it is a symbolic link. Never blocks on a fifo.
pub(crate) fn open_path(path: &Path, write: bool) -> Result<OwnedFd> {
    let access = if write { libc::O_RDWR } else { libc::O_RDONLY };
    let flags = access | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    open_at(libc::AT_FDCWD, &c_path(path)?, flags, 0)
}

/// As [`open_path`] where neither reading nor writing is allowed: a descriptor that names the file and can do no more.
pub(crate) fn handle_path(path: &Path) -> Result<OwnedFd> {
    open_at(libc::AT_FDCWD, &c_path(path)?, libc::O_PATH | libc::O_NOFOLLOW, 0)
}

/// Unlinks `path` if it still is the file `id`; [`Error::NotFound`] otherwise.
pub(crate) fn unlink_path_same(path: &Path, id: &FileId) -> Result<()> {
    match split(path) {
        Ok((parent, name)) => unlink_at_same(parent.as_fd(), &name, id, 0),
        // No descriptor is left, so by way of the path each time.
        Err(Error::Os(libc::EMFILE | libc::ENFILE)) => {
            // SAFETY: not a descriptor, but what stands for the working directory, and so never becomes invalid.
            let here = unsafe { BorrowedFd::borrow_raw(libc::AT_FDCWD) };
            unlink_at_same(here, &c_path(path)?, id, 0)
        }
        Err(e) => Err(e),
    }
}

/// An anonymous file in memory, empty.
pub(crate) fn memory_file(name: &CStr) -> Result<OwnedFd> {
    // SAFETY: `name` is NUL-terminated.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
    check(fd)?;
    // SAFETY: `fd` was just opened and belongs to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The directory of a path, opened for looking up names, and the name in it.
fn split(path: &Path) -> Result<(OwnedFd, CString)> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Error::Invalid);
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let parent = open_at(libc::AT_FDCWD, &c_path(parent)?, libc::O_PATH | libc::O_DIRECTORY, 0)?;
    Ok((parent, CString::new(name.as_bytes()).map_err(|_| Error::Invalid)?))
}

fn stat_at(dir: BorrowedFd<'_>, name: &CStr) -> Result<Stat> {
    // SAFETY: all-zero is a valid `stat`.
    let mut raw: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `name` is NUL-terminated and `raw` is writable for one `stat`.
    let rc =
        unsafe { libc::fstatat(dir.as_raw_fd(), name.as_ptr(), &raw mut raw, libc::AT_SYMLINK_NOFOLLOW) };
    check(rc).map(|()| stat_of(&raw))
}

fn unlink_at_same(dir: BorrowedFd<'_>, name: &CStr, id: &FileId, flags: libc::c_int) -> Result<()> {
    match stat_at(dir, name) {
        Ok(stat) if stat.id == *id => {}
        Ok(_) | Err(Error::Os(libc::ENOENT)) => return Err(Error::NotFound),
        Err(e) => return Err(e),
    }
    // SAFETY: `name` is NUL-terminated.
    check(unsafe { libc::unlinkat(dir.as_raw_fd(), name.as_ptr(), flags) })
}

/// Whether an owner is among those expected; none expected means that anybody will do.
#[must_use]
pub fn acceptable(owners: &[u32], uid: u32) -> bool {
    owners.is_empty() || owners.contains(&uid)
}

/// An open directory, and the path by which it was opened, in private memory.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    path: PathBuf,
    id: FileId,
}

impl Dir {
    /// Makes a directory `parent/prefix` + six random characters, mode 0700, owned by this process's euid, and opens it.
    pub fn create_unique(parent: &Path, prefix: &[u8]) -> Result<Self> {
        if prefix.contains(&b'/') {
            return Err(Error::Invalid);
        }
        let mut template = parent.as_os_str().as_bytes().to_vec();
        template.push(b'/');
        template.extend_from_slice(prefix);
        template.extend_from_slice(b"XXXXXX");
        let raw = CString::new(template).map_err(|_| Error::Invalid)?.into_raw();
        // SAFETY: `raw` is a NUL-terminated buffer of our own; mkdtemp writes six characters inside it.
        let made = unsafe { libc::mkdtemp(raw) };
        let failure = if made.is_null() { Some(Error::last_os()) } else { None };
        // SAFETY: `raw` came from into_raw above, and its length did not change.
        let path =
            PathBuf::from(std::ffi::OsString::from_vec(unsafe { CString::from_raw(raw) }.into_bytes()));
        if let Some(e) = failure {
            return Err(e);
        }
        // SAFETY: geteuid takes nothing.
        let euid = unsafe { libc::geteuid() };
        let opened = Self::open_as(&path, libc::O_RDONLY, &[euid]);
        if opened.is_err() {
            // Ours, made a moment ago, and empty: rmdir removes nothing else.
            let _ = std::fs::remove_dir(&path);
        }
        opened
    }

    /// Opens a directory that exists, for looking up names only (search permission is enough). It must not be a symbolic
    /// link, and its owner must be [`acceptable`], else EPERM.
    pub fn open(path: &Path, owners: &[u32]) -> Result<Self> {
        Self::open_as(path, libc::O_PATH, owners)
    }

    fn open_as(path: &Path, access: libc::c_int, owners: &[u32]) -> Result<Self> {
        let flags = access | libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let fd = open_at(libc::AT_FDCWD, &c_path(path)?, flags, 0)?;
        let stat = fstat(fd.as_fd())?;
        if !acceptable(owners, stat.uid) {
            return Err(Error::Os(libc::EPERM));
        }
        Ok(Self { fd, path: path.to_owned(), id: stat.id })
    }

    /// The path it was opened by; for messages and for names given to peers, not for reaching anything.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Device and inode of the directory.
    #[must_use]
    pub fn id(&self) -> FileId {
        self.id
    }

    /// Makes a new file, read-write: EEXIST for any entry of that name, links included. The mode is reduced by the umask;
    /// [`fchmod`] sets it exactly.
    pub fn create_file(&self, name: impl AsRef<[u8]>, mode: u32) -> Result<OwnedFd> {
        let flags = libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW;
        open_at(self.fd.as_raw_fd(), &c_name(name.as_ref())?, flags, mode)
    }

    /// Opens an existing file read-write; ELOOP for a symbolic link. Never blocks on a fifo.
    pub fn open_file(&self, name: impl AsRef<[u8]>) -> Result<OwnedFd> {
        let flags = libc::O_RDWR | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
        open_at(self.fd.as_raw_fd(), &c_name(name.as_ref())?, flags, 0)
    }

    /// Device, inode and so on of an entry, without following links.
    pub fn stat(&self, name: impl AsRef<[u8]>) -> Result<Stat> {
        stat_at(self.fd.as_fd(), &c_name(name.as_ref())?)
    }

    /// Unlinks `name` if it still is the file `id`; [`Error::NotFound`] if the name is gone or means another file.
    pub fn unlink_same(&self, name: impl AsRef<[u8]>, id: &FileId) -> Result<()> {
        unlink_at_same(self.fd.as_fd(), &c_name(name.as_ref())?, id, 0)
    }

    /// Sets owner and group of the directory itself (one made by [`Dir::create_unique`]; EBADF otherwise).
    pub fn chown_self(&self, uid: u32, gid: u32) -> Result<()> {
        fchown(self.fd.as_fd(), uid, gid)
    }

    /// Sets the permission bits of the directory itself (one made by [`Dir::create_unique`]; EBADF otherwise).
    pub fn chmod_self(&self, mode: u32) -> Result<()> {
        fchmod(self.fd.as_fd(), mode)
    }

    /// Removes the directory if it is empty and its path still means it; the descriptor stays open.
    /// [`Error::NotFound`] if the path is gone or means something else.
    pub fn remove_self(&self) -> Result<()> {
        // By way of itself: opening its parent would fail when no descriptor is left, and leave the directory behind.
        let name = self.path.file_name().ok_or(Error::Invalid)?.as_bytes();
        let name = CString::new([b"../", name].concat()).map_err(|_| Error::Invalid)?;
        unlink_at_same(self.fd.as_fd(), &name, &self.id, libc::AT_REMOVEDIR)
    }
}

#[cfg(test)]
mod tests;

// SPDX-License-Identifier: LGPL-2.1-or-later
//! Functions that are exported without a public header, because the reference exports them: shared-memory files, mirrored
//! mappings, descriptor flags, unlinking, and two string functions. Nothing in this project calls them.

use crate::handle::{cstr, status};
use libc::{c_char, c_int, c_uint, c_void, size_t};
use qb::log::Level;
use qb::{Error, Result};
use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, File, OpenOptions};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::ptr;

/// What a NULL argument gives.
const BAD: i32 = -libc::EINVAL;
const PATH_MAX: usize = libc::PATH_MAX as usize;
const SHM_PREFIX: &str = "/dev/shm/qb-";
const SOCKETDIR: &str = match option_env!("QB_SOCKETDIR") {
    Some(dir) => dir,
    None => "/tmp",
};
/// How often an allocation that signals interrupt is taken up again before it counts as failed.
const ALLOCATION_TRIES: u32 = 100;

/// Opens or creates the file behind a shared-memory area, gives it the length `bytes` and allocates its pages.
///
/// `path` (room for PATH_MAX bytes) receives the path that was used: `file` itself if it contains a slash, otherwise
/// `/dev/shm/qb-FILE` or, where that directory cannot be used, `SOCKETDIR/FILE`. Returns the descriptor (close-on-exec)
/// or a negative errno. After a failure a file that this call created is removed; an older one stays.
///
/// # Safety
/// `path` is NULL or writable for PATH_MAX bytes; `file` is NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_sys_mmap_file_open(
    path: *mut c_char,
    file: *const c_char,
    bytes: size_t,
    file_flags: u32,
) -> i32 {
    // SAFETY: NULL or a C string by contract.
    let Some(file) = (unsafe { cstr(file) }) else { return BAD };
    if path.is_null() {
        return BAD;
    }
    match open_area(file.to_bytes(), bytes, file_flags) {
        Ok((fd, used)) => {
            // SAFETY: `path` has room for PATH_MAX bytes by contract; open_area makes no longer paths.
            unsafe { ptr::copy_nonoverlapping(used.as_ptr(), path, used.as_bytes_with_nul().len()) };
            fd.into_raw_fd()
        }
        Err(e) => {
            qb::log!(Level::Error, "couldn't open file {}: {e}", String::from_utf8_lossy(file.to_bytes()));
            -e.errno()
        }
    }
}

/// The open file of an area, and its path.
fn open_area(file: &[u8], bytes: usize, flags: u32) -> Result<(OwnedFd, CString)> {
    if bytes == 0 {
        return Err(Error::Invalid);
    }
    let (opened, path, created) = if file.contains(&b'/') {
        let path = bounded(file.to_vec())?;
        open_one(path, flags, 0)?
    } else {
        let first = bounded([SHM_PREFIX.as_bytes(), file].concat())?;
        match open_one(first, flags, libc::O_NOFOLLOW) {
            // Only what says that the place is no good leads to the other place. A name that exists, or is a
            // symbolic link, is an answer.
            Err(Error::Os(
                libc::ENOENT | libc::ENOTDIR | libc::EACCES | libc::EPERM | libc::EROFS | libc::ENOSPC,
            )) => {
                let second = bounded([SOCKETDIR.as_bytes(), b"/", file].concat())?;
                open_one(second, flags, libc::O_NOFOLLOW)?
            }
            other => other?,
        }
    };
    if let Err(e) = allocate(&opened, bytes) {
        if created {
            let _ = fs::remove_file(OsStr::from_bytes(path.as_bytes()));
        }
        return Err(e);
    }
    Ok((opened.into(), path))
}

fn bounded(path: Vec<u8>) -> Result<CString> {
    if path.len() >= PATH_MAX {
        return Err(Error::Os(libc::ENAMETOOLONG));
    }
    CString::new(path).map_err(|_| Error::Invalid)
}

/// Opens `path`; also tells the path (a template is filled in) and whether the file is new.
fn open_one(path: CString, flags: u32, extra: c_int) -> Result<(File, CString, bool)> {
    if path.as_bytes().windows(6).any(|w| w == b"XXXXXX") {
        let template = path.into_raw();
        // SAFETY: `template` is a writable C string of ours; only bytes before its NUL are replaced.
        let (fd, path) = unsafe { (libc::mkostemp(template, libc::O_CLOEXEC), CString::from_raw(template)) };
        if fd < 0 {
            return Err(Error::last_os());
        }
        // SAFETY: a new descriptor that nobody else owns.
        return Ok((unsafe { File::from_raw_fd(fd) }, path, true));
    }
    let flags = flags as c_int | extra;
    let open = |flags: c_int| {
        // The access mode comes from `flags`; std wants one of its own and masks it out of custom flags.
        let access = flags & libc::O_ACCMODE;
        OpenOptions::new()
            .read(access != libc::O_WRONLY)
            .write(access != libc::O_RDONLY)
            .custom_flags(flags)
            .mode(0o600)
            .open(OsStr::from_bytes(path.as_bytes()))
    };
    if flags & libc::O_CREAT == 0 || flags & libc::O_EXCL != 0 {
        let file = open(flags)?;
        return Ok((file, path, flags & libc::O_CREAT != 0));
    }
    // Learn whether the file is ours to remove again. It may come and go between the two calls; a few turns settle it.
    for _ in 0..8 {
        match open(flags | libc::O_EXCL) {
            Ok(file) => return Ok((file, path, true)),
            Err(e) if e.raw_os_error() == Some(libc::EEXIST) => {}
            Err(e) => return Err(e.into()),
        }
        match open(flags & !libc::O_CREAT) {
            Ok(file) => return Ok((file, path, false)),
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Err(Error::Exists)
}

/// Sets the length and has the pages reserved, so that a full file system is an error here and not a signal later.
fn allocate(file: &File, bytes: usize) -> Result<()> {
    file.set_len(bytes as u64)?;
    let len = libc::off_t::try_from(bytes).map_err(|_| Error::Invalid)?;
    for _ in 0..ALLOCATION_TRIES {
        // SAFETY: no memory is passed; the descriptor is open.
        match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, len) } {
            0 => return Ok(()),
            libc::EINTR => {}
            code => return Err(Error::Os(code)),
        }
    }
    Err(Error::Os(libc::EINTR))
}

/// Maps the first `bytes` of a file twice, one after the other, so that offset `i` and `i + bytes` are the same memory.
///
/// `bytes` is a multiple of the page size, and the file at least that long. Returns 0 and stores the address (the caller
/// unmaps 2 * `bytes` there), or a negative errno. `fd` is closed in any case.
///
/// # Safety
/// `buf` is NULL or writable; the caller owns `fd` and gives it up.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_sys_circular_mmap(fd: i32, buf: *mut *mut c_void, bytes: size_t) -> i32 {
    if fd < 0 {
        return -libc::EBADF;
    }
    // SAFETY: the caller gives up a descriptor that it owns.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    if buf.is_null() {
        return BAD;
    }
    match map_twice(&fd, bytes) {
        Ok(base) => {
            // SAFETY: not NULL, and writable by contract.
            unsafe { buf.write(base) };
            0
        }
        Err(e) => {
            qb::log!(Level::Error, "couldn't create circular mmap: {e}");
            -e.errno()
        }
    }
}

fn map_twice(fd: &OwnedFd, bytes: usize) -> Result<*mut c_void> {
    let both = bytes.checked_mul(2).filter(|&n| n > 0 && n <= isize::MAX as usize).ok_or(Error::Invalid)?;
    // SAFETY: a new mapping at an address that the kernel chooses; it touches no existing memory.
    let base = unsafe {
        libc::mmap(ptr::null_mut(), both, libc::PROT_NONE, libc::MAP_ANONYMOUS | libc::MAP_PRIVATE, -1, 0)
    };
    if base == libc::MAP_FAILED {
        return Err(Error::last_os());
    }
    for half in [0, bytes] {
        // SAFETY: `half + bytes <= both`, so MAP_FIXED replaces only pages of the reservation made above, which nobody
        // else knows.
        let got = unsafe {
            libc::mmap(
                base.byte_add(half),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_FIXED | libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        if got == libc::MAP_FAILED {
            let e = Error::last_os();
            // SAFETY: the reservation of this call, in which nothing is referenced yet.
            unsafe { libc::munmap(base, both) };
            return Err(e);
        }
    }
    Ok(base)
}

/// Makes a descriptor non-blocking and close-on-exec; other flags stay. 0 or a negative errno.
#[unsafe(no_mangle)]
pub extern "C" fn qb_sys_fd_nonblock_cloexec_set(fd: i32) -> i32 {
    let add = |get: c_int, set: c_int, flag: c_int| {
        // SAFETY: fcntl with integer arguments touches no memory; a bad descriptor is an error.
        let rc = unsafe {
            match libc::fcntl(fd, get) {
                -1 => -1,
                old => libc::fcntl(fd, set, old | flag),
            }
        };
        if rc == -1 { Err(Error::last_os()) } else { Ok(()) }
    };
    let result = add(libc::F_GETFD, libc::F_SETFD, libc::FD_CLOEXEC)
        .and_then(|()| add(libc::F_GETFL, libc::F_SETFL, libc::O_NONBLOCK));
    if let Err(e) = result {
        qb::log!(Level::Error, "couldn't set flags of descriptor {fd}: {e}");
    }
    status(result)
}

/// Removes a file or, if that fails for another reason than ENOENT and `truncate_fallback` is not 0, empties it. 0, or
/// the negative errno of the last attempt.
///
/// # Safety
/// `path` is NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_sys_unlink_or_truncate(path: *const c_char, truncate_fallback: i32) -> i32 {
    // SAFETY: forwards this function's own contract; AT_FDCWD is always valid.
    unsafe { qb_sys_unlink_or_truncate_at(libc::AT_FDCWD, path, truncate_fallback) }
}

/// The same for a path relative to the open directory `dirfd`.
///
/// # Safety
/// `path` is NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_sys_unlink_or_truncate_at(
    dirfd: i32,
    path: *const c_char,
    truncate_fallback: i32,
) -> i32 {
    // SAFETY: NULL or a C string by contract.
    let Some(path) = (unsafe { cstr(path) }) else { return BAD };
    let result = unlink_or_truncate(dirfd, path, truncate_fallback != 0);
    if let Err(e) = result {
        let shown = Path::new(OsStr::from_bytes(path.to_bytes()));
        qb::log!(Level::Debug, "couldn't unlink or truncate {}: {e}", shown.display());
    }
    status(result)
}

fn unlink_or_truncate(dirfd: c_int, path: &CStr, truncate_fallback: bool) -> Result<()> {
    // SAFETY: `path` is a C string; a bad directory is an error.
    if unsafe { libc::unlinkat(dirfd, path.as_ptr(), 0) } == 0 {
        return Ok(());
    }
    let e = Error::last_os();
    if e == Error::Os(libc::ENOENT) || !truncate_fallback {
        return Err(e);
    }
    let flags = libc::O_WRONLY | libc::O_TRUNC | libc::O_CLOEXEC;
    // SAFETY: as above.
    let fd = unsafe { libc::openat(dirfd, path.as_ptr(), flags) };
    if fd < 0 {
        return Err(Error::last_os());
    }
    // SAFETY: a new descriptor that nobody else owns.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    Ok(())
}

/// Does nothing: no call of this library raises SIGPIPE.
#[unsafe(no_mangle)]
pub extern "C" fn qb_sigpipe_ctl(_ctl: c_uint) {}

/// Does nothing: no call of this library raises SIGPIPE.
#[unsafe(no_mangle)]
pub extern "C" fn qb_socket_nosigpipe(_s: i32) {}

/// Copies at most `maxlen` - 1 bytes of a string and terminates them if `maxlen` > 0. Returns the length of `src`.
///
/// # Safety
/// `src` is a C string; `dest` is writable for `maxlen` bytes and does not overlap it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strlcpy(dest: *mut c_char, src: *const c_char, maxlen: size_t) -> size_t {
    // SAFETY: forwards this function's own contract.
    unsafe { copy_bounded(dest, src, maxlen) }
}

/// # Safety
/// As for [`strlcpy`], which is a symbol that another library may replace.
unsafe fn copy_bounded(dest: *mut c_char, src: *const c_char, maxlen: size_t) -> size_t {
    // SAFETY: a C string by contract; the copy and its NUL take at most `maxlen` bytes of `dest`.
    unsafe {
        let len = libc::strlen(src);
        if maxlen > 0 {
            let copied = len.min(maxlen - 1);
            ptr::copy_nonoverlapping(src, dest, copied);
            *dest.add(copied) = 0;
        }
        len
    }
}

/// Appends to a string in a buffer of `maxlen` bytes. Returns the length that the whole would have.
///
/// # Safety
/// `src` is a C string; `dest` is a C string, writable for `maxlen` bytes, that does not overlap it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strlcat(dest: *mut c_char, src: *const c_char, maxlen: size_t) -> size_t {
    // SAFETY: C strings by contract; the copy gets what is left of `dest` after its text, or no room at all.
    unsafe {
        let used = libc::strlen(dest);
        used + copy_bounded(dest.add(used), src, maxlen.saturating_sub(used))
    }
}

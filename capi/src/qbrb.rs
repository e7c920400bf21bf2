// SPDX-License-Identifier: LGPL-2.1-or-later
//! `qb/qbrb.h`: ring buffers of variable-length chunks, in memory that processes can share.

use crate::handle::{BAD_ARG, borrow, bytes, bytes_mut, count, cstr, null_errno, set_errno, status};
use libc::{c_char, c_int, c_void, gid_t, mode_t, size_t, ssize_t, uid_t};
use qb::Error;
use qb::rb::{Options, Ring, Summary};
use std::ffi::{CString, OsStr};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::ptr;
use std::time::Duration;

const CREATE: u32 = 0x01;
const OVERWRITE: u32 = 0x02;
const SHARED_PROCESS: u32 = 0x08;
const NO_SEMAPHORE: u32 = 0x10;

/// What C callers hold.
pub struct qb_ringbuffer_s(Ring);

/// Opaque to C.
pub type qb_ringbuffer_t = qb_ringbuffer_s;

/// Milliseconds as C callers give them: negative waits for ever.
fn wait(ms_timeout: i32) -> Option<Duration> {
    u64::try_from(ms_timeout).ok().map(Duration::from_millis)
}

/// Sets errno as well, which callers of the reference may look at.
fn fail(e: Error) -> ssize_t {
    set_errno(e.errno());
    -(e.errno() as ssize_t)
}

/// A descriptor to use during one call; None for a negative number.
fn lent_fd<'a>(fd: c_int) -> Option<BorrowedFd<'a>> {
    // SAFETY: not negative. The engine only duplicates it, which fails with EBADF when it is not open.
    (fd >= 0).then(|| unsafe { BorrowedFd::borrow_raw(fd) })
}

/// Prints through C's stdout, so that the order with the program's own output is kept.
fn print(summary: Summary) {
    if let Ok(text) = CString::new(summary.to_string()) {
        // SAFETY: both strings are NUL-terminated, and the format takes exactly one.
        unsafe { libc::printf(c"%s".as_ptr(), text.as_ptr()) };
    }
}

/// Opens a ring buffer, or makes one.
///
/// With QB_RB_FLAG_CREATE two files are made, and their removal is up to qb_rb_close() in this process. A name without a
/// slash means files in /dev/shm, or in the socket directory if that fails; one with a slash is a path.
///
/// @param name                  name of the ring; not NULL
/// @param size                  length of the longest chunk in bytes; the ring is a bit longer, in whole pages
/// @param flags                 QB_RB_FLAG_* or-ed together
/// @param shared_user_data_size bytes for qb_rb_shared_user_data_get()
/// @return the ring buffer, or NULL with errno set: EINVAL for a wrong name or size, ENOENT (opening) if there is no
///         such ring, EBADMSG if its files are damaged, ENOMEM, or what open(2), ftruncate(2) or mmap(2) said
///
/// # Safety
/// `name` is NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_rb_open(
    name: *const c_char,
    size: size_t,
    flags: u32,
    shared_user_data_size: size_t,
) -> *mut qb_ringbuffer_t {
    // SAFETY: NULL or NUL-terminated by this function's contract.
    let Some(name) = (unsafe { cstr(name) }) else {
        return null_errno(Error::Invalid);
    };
    let options = Options {
        overwrite: flags & OVERWRITE != 0,
        no_semaphore: flags & NO_SEMAPHORE != 0,
        shared_process: flags & SHARED_PROCESS != 0,
        user_data: shared_user_data_size,
    };
    let name = OsStr::from_bytes(name.to_bytes());
    let ring =
        if flags & CREATE != 0 { Ring::create(name, size, options) } else { Ring::open(name, size, options) };
    hand_out(ring)
}

fn hand_out(ring: qb::Result<Ring>) -> *mut qb_ringbuffer_t {
    match ring {
        Ok(ring) => Box::into_raw(Box::new(qb_ringbuffer_s(ring))),
        Err(e) => null_errno(e),
    }
}

/// Closes a ring buffer. The process that made it also removes its files.
///
/// @param rb the ring buffer; NULL does nothing
///
/// # Safety
/// `rb` is NULL or open, and not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_rb_close(rb: *mut qb_ringbuffer_t) {
    if !rb.is_null() {
        // SAFETY: it came from `hand_out`, and the caller gives it up.
        drop(unsafe { Box::from_raw(rb) });
    }
}

/// Path of the header file.
///
/// @param rb the ring buffer
/// @return the path, valid until qb_rb_close(), or NULL for NULL
///
/// # Safety
/// `rb` is NULL or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_rb_name_get(rb: *mut qb_ringbuffer_t) -> *mut c_char {
    // SAFETY: forwards this function's own contract.
    unsafe { borrow(rb) }.map_or(ptr::null_mut(), |rb| rb.0.name().as_ptr().cast_mut())
}

/// The area of shared_user_data_size bytes that all users of the ring share.
///
/// @param rb the ring buffer
/// @return its address, or NULL for NULL
///
/// # Safety
/// `rb` is NULL or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_rb_shared_user_data_get(rb: *mut qb_ringbuffer_t) -> *mut c_void {
    // SAFETY: forwards this function's own contract.
    let area = unsafe { borrow(rb) }.and_then(|rb| rb.0.user_area());
    area.map_or(ptr::null_mut(), |at| at.as_ptr().cast())
}

/// Writes one chunk.
///
/// @param rb   the ring buffer
/// @param data the bytes
/// @param len  how many
/// @return len, -EAGAIN while there is no room, -EINVAL or another negative errno
///
/// # Safety
/// `rb` is NULL or open; `data` is NULL or readable for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_rb_chunk_write(
    rb: *mut qb_ringbuffer_t,
    data: *const c_void,
    len: size_t,
) -> ssize_t {
    // SAFETY: forwards this function's own contract, one argument each.
    let (rb, data) = unsafe { (borrow(rb), bytes(data, len)) };
    let (Some(rb), Some(data)) = (rb, data) else {
        return BAD_ARG;
    };
    rb.0.write(data).map_or_else(fail, |n| count(Ok(n)))
}

/// Makes room for one chunk, to be filled in place and then handed over by qb_rb_chunk_commit().
///
/// @param rb  the ring buffer
/// @param len bytes wanted
/// @return address of that many bytes, or NULL with errno EAGAIN while there is no room, EINVAL or another
///
/// # Safety
/// `rb` is NULL or open, and nobody else writes to the ring until the commit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_rb_chunk_alloc(rb: *mut qb_ringbuffer_t, len: size_t) -> *mut c_void {
    // SAFETY: forwards this function's own contract.
    let Some(rb) = (unsafe { borrow(rb) }) else {
        return null_errno(Error::Invalid);
    };
    match rb.0.alloc(len) {
        Ok(at) => at.as_ptr().cast(),
        Err(e) => null_errno(e),
    }
}

/// Hands the chunk from qb_rb_chunk_alloc() to the reader.
///
/// @param rb  the ring buffer
/// @param len bytes that were filled, at most those asked for
/// @return 0, -EINVAL when the ring has not that much room, or another negative errno
///
/// # Safety
/// `rb` is NULL or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_rb_chunk_commit(rb: *mut qb_ringbuffer_t, len: size_t) -> i32 {
    // SAFETY: forwards this function's own contract.
    let Some(rb) = (unsafe { borrow(rb) }) else {
        return -libc::EINVAL;
    };
    status(rb.0.commit(len))
}

/// Looks at the next chunk without copying it. It stays until qb_rb_chunk_reclaim().
///
/// @param rb         the ring buffer
/// @param data_out   where the address of the chunk goes
/// @param ms_timeout how long to wait for one in milliseconds; 0 does not wait, a negative value waits for ever
/// @return bytes in the chunk, 0 when none came in time, -EBADMSG when the ring makes no sense, -EINVAL
///
/// # Safety
/// `rb` is NULL or open; `data_out` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_rb_chunk_peek(
    rb: *mut qb_ringbuffer_t,
    data_out: *mut *mut c_void,
    ms_timeout: i32,
) -> ssize_t {
    // SAFETY: forwards this function's own contract.
    let Some(rb) = (unsafe { borrow(rb) }) else {
        return BAD_ARG;
    };
    if data_out.is_null() {
        return BAD_ARG;
    }
    match rb.0.peek(wait(ms_timeout)) {
        Ok((at, len)) => {
            // SAFETY: not NULL, and writable by this function's contract.
            unsafe { *data_out = at.as_ptr().cast() };
            count(Ok(len))
        }
        Err(Error::TimedOut) => {
            set_errno(if ms_timeout == 0 { libc::EAGAIN } else { libc::ETIMEDOUT });
            0
        }
        Err(e) => count(Err(e)),
    }
}

/// Drops the next chunk, normally the one from qb_rb_chunk_peek(). Sets errno to EINVAL when there is none.
///
/// @param rb the ring buffer; NULL does nothing
///
/// # Safety
/// `rb` is NULL or open, and the chunk is no longer used.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_rb_chunk_reclaim(rb: *mut qb_ringbuffer_t) {
    // SAFETY: forwards this function's own contract.
    if let Some(Err(e)) = unsafe { borrow(rb) }.map(|rb| rb.0.reclaim()) {
        set_errno(e.errno());
    }
}

/// Copies the next chunk out and drops it.
///
/// @param rb         the ring buffer
/// @param data_out   where it goes
/// @param len        bytes that fit there
/// @param ms_timeout how long to wait for one in milliseconds; 0 does not wait, a negative value waits for ever
/// @return bytes in the chunk, -ETIMEDOUT when none came in time, -ENOBUFS when it is longer than len (then it stays),
///         -EBADMSG when the ring makes no sense, -EINVAL
///
/// # Safety
/// `rb` is NULL or open; `data_out` is NULL or writable for `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_rb_chunk_read(
    rb: *mut qb_ringbuffer_t,
    data_out: *mut c_void,
    len: size_t,
    ms_timeout: i32,
) -> ssize_t {
    // SAFETY: forwards this function's own contract.
    let Some(rb) = (unsafe { borrow(rb) }) else {
        return BAD_ARG;
    };
    // Any length means "long enough", also one that no object has.
    // SAFETY: `len` bytes are writable by this function's contract, so fewer are.
    let Some(out) = (unsafe { bytes_mut(data_out, len.min(rb.0.most())) }) else {
        return BAD_ARG;
    };
    count(rb.0.read(out, wait(ms_timeout)))
}

/// How many users have the ring open.
///
/// @param rb the ring buffer
/// @return the count, or -EINVAL for NULL
///
/// # Safety
/// `rb` is NULL or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_rb_refcount_get(rb: *mut qb_ringbuffer_t) -> i32 {
    // SAFETY: forwards this function's own contract.
    unsafe { borrow(rb) }.map_or(-libc::EINVAL, |rb| rb.0.ref_count())
}

/// Bytes that are free, the 12 bytes that a chunk needs beyond its data included.
///
/// @param rb the ring buffer
/// @return bytes, or a negative errno
///
/// # Safety
/// `rb` is NULL or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_rb_space_free(rb: *mut qb_ringbuffer_t) -> ssize_t {
    // SAFETY: forwards this function's own contract.
    unsafe { borrow(rb) }.map_or(BAD_ARG, |rb| count(rb.0.space_free()))
}

/// Bytes that chunks occupy.
///
/// @param rb the ring buffer
/// @return bytes, or a negative errno
///
/// # Safety
/// `rb` is NULL or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_rb_space_used(rb: *mut qb_ringbuffer_t) -> ssize_t {
    // SAFETY: forwards this function's own contract.
    unsafe { borrow(rb) }.map_or(BAD_ARG, |rb| count(rb.0.space_used()))
}

/// Chunks that were committed and not read.
///
/// @param rb the ring buffer
/// @return the number, -ENOTSUP with QB_RB_FLAG_NO_SEMAPHORE, or another negative errno
///
/// # Safety
/// `rb` is NULL or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_rb_chunks_used(rb: *mut qb_ringbuffer_t) -> ssize_t {
    // SAFETY: forwards this function's own contract.
    unsafe { borrow(rb) }.map_or(BAD_ARG, |rb| count(rb.0.chunks_used()))
}

/// Saves the ring to a file, and prints a short summary of it on stdout.
///
/// @param rb the ring buffer
/// @param fd the file, written from its present position
/// @return bytes written, or a negative errno
///
/// # Safety
/// `rb` is NULL or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_rb_write_to_file(rb: *mut qb_ringbuffer_t, fd: i32) -> ssize_t {
    // SAFETY: forwards this function's own contract.
    let Some(rb) = (unsafe { borrow(rb) }) else {
        return BAD_ARG;
    };
    match rb.0.summary() {
        Ok(summary) => print(summary),
        Err(e) => return fail(e),
    }
    let Some(fd) = lent_fd(fd) else {
        return fail(Error::Os(libc::EBADF));
    };
    rb.0.write_to_file(fd).map_or_else(fail, |n| count(Ok(n)))
}

/// Loads a ring that qb_rb_write_to_file() saved, and prints a short summary of it on stdout.
///
/// It has no semaphore and does not overwrite, and it is private to this process.
///
/// @param fd    the file, read from its present position
/// @param flags ignored
/// @return the ring buffer, or NULL with errno set
///
/// # Safety
/// None beyond those of C.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_rb_create_from_file(fd: i32, flags: u32) -> *mut qb_ringbuffer_t {
    let _ = flags;
    let Some(fd) = lent_fd(fd) else {
        return null_errno(Error::Os(libc::EBADF));
    };
    let ring = Ring::create_from_file(fd);
    if let Some(summary) = ring.as_ref().ok().and_then(|ring| ring.summary().ok()) {
        print(summary);
    }
    hand_out(ring)
}

/// Gives the files of the ring to a user and a group. Not being allowed to is no error.
///
/// @param rb    the ring buffer
/// @param owner user, or -1 to leave it
/// @param group group, or -1 to leave it
/// @return 0 or a negative errno
///
/// # Safety
/// `rb` is NULL or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_rb_chown(rb: *mut qb_ringbuffer_t, owner: uid_t, group: gid_t) -> i32 {
    // SAFETY: forwards this function's own contract.
    unsafe { borrow(rb) }.map_or(-libc::EINVAL, |rb| status(rb.0.chown(owner, group)))
}

/// Sets the permission bits of the files of the ring.
///
/// @param rb   the ring buffer
/// @param mode as for chmod(2)
/// @return 0 or a negative errno
///
/// # Safety
/// `rb` is NULL or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_rb_chmod(rb: *mut qb_ringbuffer_t, mode: mode_t) -> i32 {
    // SAFETY: forwards this function's own contract.
    unsafe { borrow(rb) }.map_or(-libc::EINVAL, |rb| status(rb.0.chmod(mode)))
}

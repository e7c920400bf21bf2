// SPDX-License-Identifier: LGPL-2.1-or-later
//! Conversions at the C boundary that every header shares: borrowed handles, byte ranges, return values.

use libc::{c_char, c_int, c_void, ssize_t};
use qb::{Error, Result};
use std::ffi::CStr;

/// A missing or impossible argument.
pub const BAD_ARG: ssize_t = -(libc::EINVAL as ssize_t);

/// Lends what a handle points to; None for NULL. Never `&mut`: a callback may call back with the same handle.
///
/// # Safety
/// `handle` is NULL or came from this library and is still open for the whole of `'a`.
pub unsafe fn borrow<'a, T>(handle: *const T) -> Option<&'a T> {
    // SAFETY: the caller vouches for a live object or NULL; only shared references are ever made from handles.
    unsafe { handle.as_ref() }
}

/// A caller's buffer as bytes; None for NULL unless `len` is 0.
///
/// # Safety
/// `data` is NULL or readable for `len` bytes during `'a`.
pub unsafe fn bytes<'a>(data: *const c_void, len: usize) -> Option<&'a [u8]> {
    if len == 0 {
        return Some(&[]);
    }
    if data.is_null() || len > isize::MAX as usize {
        return None;
    }
    // SAFETY: not NULL, at most isize::MAX bytes, and readable by the caller's contract.
    Some(unsafe { std::slice::from_raw_parts(data.cast(), len) })
}

/// A caller's writable buffer; None for NULL unless `len` is 0.
///
/// # Safety
/// `data` is NULL or writable for `len` bytes during `'a`, and nobody else uses it meanwhile.
pub unsafe fn bytes_mut<'a>(data: *mut c_void, len: usize) -> Option<&'a mut [u8]> {
    if len == 0 {
        return Some(&mut []);
    }
    if data.is_null() || len > isize::MAX as usize {
        return None;
    }
    // SAFETY: not NULL, at most isize::MAX bytes, and exclusively ours by the caller's contract.
    Some(unsafe { std::slice::from_raw_parts_mut(data.cast(), len) })
}

/// Longest message in bytes: its header tells the length in an `int32_t`. What claims to be longer is never looked at.
const LONGEST: usize = i32::MAX as usize;

/// A message to send. [`Error::Invalid`] for NULL with a length, [`Error::TooBig`] beyond any message's length.
///
/// # Safety
/// `data` is NULL or readable for `len` bytes during `'a`.
pub unsafe fn message<'a>(data: *const c_void, len: usize) -> Result<&'a [u8]> {
    if len > LONGEST {
        return Err(Error::TooBig);
    }
    // SAFETY: the caller's contract.
    unsafe { bytes(data, len) }.ok_or(Error::Invalid)
}

/// Room for a message; None for NULL unless `len` is 0. Any length means "long enough", also one that no object has.
///
/// # Safety
/// As for [`bytes_mut`].
pub unsafe fn room<'a>(data: *mut c_void, len: usize) -> Option<&'a mut [u8]> {
    // SAFETY: `len` bytes are writable and ours by the caller's contract, so fewer are.
    unsafe { bytes_mut(data, len.min(LONGEST)) }
}

/// A C string's bytes without the NUL; None for NULL.
///
/// # Safety
/// `text` is NULL or NUL-terminated and stays unchanged during `'a`.
pub unsafe fn cstr<'a>(text: *const c_char) -> Option<&'a CStr> {
    // SAFETY: not NULL here, NUL-terminated by the caller's contract.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) })
}

/// 0 or the negative errno.
pub fn status(result: Result<()>) -> i32 {
    match result {
        Ok(()) => 0,
        Err(e) => -e.errno(),
    }
}

/// The count or the negative errno.
pub fn count(result: Result<usize>) -> ssize_t {
    match result {
        Ok(n) => ssize_t::try_from(n).unwrap_or(ssize_t::MAX),
        Err(e) => -(e.errno() as ssize_t),
    }
}

/// The calling thread's errno.
pub fn errno() -> c_int {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// Sets the calling thread's errno.
pub fn set_errno(code: c_int) {
    // SAFETY: glibc's errno location is valid for the calling thread.
    unsafe { *libc::__errno_location() = code };
}

/// Sets errno from the error and returns NULL.
pub fn null_errno<T>(e: Error) -> *mut T {
    set_errno(e.errno());
    std::ptr::null_mut()
}

/// Number of buffers that [`gather`] takes without an allocation.
const INLINE: usize = 8;
/// Largest number of buffers in one call, as for writev(2).
const MOST: usize = 1024;

/// Buffer `i` of an array.
///
/// # Safety
/// `iov` is an array of more than `i` buffers, and buffer `i` is readable during `'a`.
unsafe fn part<'a>(iov: *const libc::iovec, i: usize) -> Result<&'a [u8]> {
    // SAFETY: inside the array, and readable by the caller's contract.
    unsafe {
        let buffer = iov.add(i).read_unaligned();
        message(buffer.iov_base, buffer.iov_len)
    }
}

/// Hands a caller's array of buffers to `with` as byte slices.
///
/// [`Error::Invalid`] for a NULL array, too many buffers, or a NULL buffer with a length; [`Error::TooBig`] for a buffer beyond any
/// message's length, so that the sum of the lengths cannot wrap around.
///
/// # Safety
/// `iov` is NULL or an array of `len` buffers that are readable during `'a`.
#[inline]
pub unsafe fn gather<'a, T>(
    iov: *const libc::iovec,
    len: usize,
    with: impl FnOnce(&[&'a [u8]]) -> Result<T>,
) -> Result<T> {
    if iov.is_null() && len > 0 {
        return Err(Error::Invalid);
    }
    let mut few: [&[u8]; INLINE] = [&[]; INLINE];
    let Some(parts) = few.get_mut(..len) else {
        // SAFETY: the caller's contract.
        return with(&unsafe { gather_many(iov, len) }?);
    };
    for (i, slot) in parts.iter_mut().enumerate() {
        // SAFETY: buffer `i` is inside the array, and readable by the caller's contract.
        *slot = unsafe { part(iov, i) }?;
    }
    with(parts)
}

/// More buffers than fit.
///
/// # Safety
/// As for [`gather`].
#[cold]
unsafe fn gather_many<'a>(iov: *const libc::iovec, len: usize) -> Result<Vec<&'a [u8]>> {
    if len > MOST {
        return Err(Error::Invalid);
    }
    // SAFETY: buffer `i` is inside the array, and readable by the caller's contract.
    (0..len).map(|i| unsafe { part(iov, i) }).collect()
}

/// The same with the buffers before the first one that [`gather`] would refuse; its error if that is the very first.
///
/// # Safety
/// As for [`gather`].
pub unsafe fn gather_leading<'a, T>(
    iov: *const libc::iovec,
    len: usize,
    with: impl FnOnce(&[&'a [u8]]) -> Result<T>,
) -> Result<T> {
    let len = len.min(MOST);
    let good = if iov.is_null() {
        len
    } else {
        // SAFETY: buffer `i` is inside the array, and readable by the caller's contract.
        (0..len).take_while(|&i| unsafe { part(iov, i) }.is_ok()).count().max(len.min(1))
    };
    // SAFETY: `good` is at most the `len` that the caller vouches for.
    unsafe { gather(iov, good, with) }
}

/// Whether there is not one byte in them.
#[inline]
pub fn all_empty(parts: &[&[u8]]) -> bool {
    parts.iter().all(|part| part.is_empty())
}

/// Sends what was gathered with `send`; where there is nothing, nothing is sent.
///
/// # Safety
/// As for [`gather`].
#[inline]
pub unsafe fn gather_and_send<'a>(
    iov: *const libc::iovec,
    len: usize,
    send: impl FnOnce(&[&'a [u8]]) -> Result<usize>,
) -> ssize_t {
    // SAFETY: the caller's contract.
    count(unsafe { gather(iov, len, |parts| if all_empty(parts) { Ok(0) } else { send(parts) }) })
}

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

/// Number of buffers that [`Parts`] holds without an allocation.
const INLINE: usize = 8;
/// Largest number of buffers in one call, as for writev(2).
const MOST: usize = 1024;

/// A caller's array of buffers as byte slices.
pub enum Parts<'a> {
    /// Few buffers: no allocation.
    Few([&'a [u8]; INLINE], usize),
    /// Any number.
    Many(Vec<&'a [u8]>),
}

impl<'a> Parts<'a> {
    /// None for a NULL array, too many buffers, or a NULL buffer with a length.
    ///
    /// # Safety
    /// `iov` is NULL or an array of `len` buffers that are readable during `'a`.
    pub unsafe fn new(iov: *const libc::iovec, len: usize) -> Option<Self> {
        if len > MOST || (iov.is_null() && len > 0) {
            return None;
        }
        // SAFETY: buffer `i` is inside the array, and readable by the caller's contract.
        let part = |i: usize| unsafe {
            let buffer = iov.add(i).read_unaligned();
            bytes(buffer.iov_base, buffer.iov_len)
        };
        if len <= INLINE {
            let mut few: [&[u8]; INLINE] = [&[]; INLINE];
            for (i, slot) in few.iter_mut().enumerate().take(len) {
                *slot = part(i)?;
            }
            return Some(Self::Few(few, len));
        }
        (0..len).map(part).collect::<Option<Vec<_>>>().map(Self::Many)
    }

    /// The slices.
    pub fn as_slice(&self) -> &[&'a [u8]] {
        match self {
            Self::Few(few, len) => &few[..*len],
            Self::Many(many) => many,
        }
    }
}

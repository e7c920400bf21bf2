// SPDX-License-Identifier: LGPL-2.1-or-later
//! `qb/qbatomic.h`: atomic operations on a caller's 32-bit integers and pointers.
//!
//! Each function is sequentially consistent, which is at least as strong as the barriers that the header promises. The
//! header also defines macros of the same names for the four reads and writes; they end up here.

use crate::handle::borrow;
use libc::c_void;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering::SeqCst, fence};

/// A C integer that several threads share; `volatile int32_t` in the header.
pub type qb_atomic_int = AtomicI32;
/// A C pointer that several threads share; `volatile void *` in the header.
pub type qb_atomic_pointer = AtomicPtr<c_void>;

/// Does nothing; kept for programs that call it before the other functions.
///
/// No function of this header needs it. It may be called any number of times.
#[unsafe(no_mangle)]
pub extern "C" fn qb_atomic_init() {}

/// Adds to an integer and returns what it was before. The sum wraps around.
///
/// @param atomic the integer
/// @param val    what to add; may be negative
/// @return the value before the addition; 0 if @a atomic is NULL
///
/// # Safety
/// `atomic` is NULL or points to an aligned integer that is only accessed atomically meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_atomic_int_exchange_and_add(atomic: *mut qb_atomic_int, val: i32) -> i32 {
    // SAFETY: NULL or a live, aligned integer by the caller's contract; AtomicI32 has its size and alignment.
    unsafe { borrow(atomic) }.map_or(0, |a| a.fetch_add(val, SeqCst))
}

/// Adds to an integer. The sum wraps around.
///
/// @param atomic the integer; nothing happens if it is NULL
/// @param val    what to add; may be negative
///
/// # Safety
/// `atomic` is NULL or points to an aligned integer that is only accessed atomically meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_atomic_int_add(atomic: *mut qb_atomic_int, val: i32) {
    // SAFETY: NULL or a live, aligned integer by the caller's contract; AtomicI32 has its size and alignment.
    if let Some(a) = unsafe { borrow(atomic) } {
        a.fetch_add(val, SeqCst);
    }
}

/// Stores a value in an integer if that has the expected value.
///
/// @param atomic the integer
/// @param oldval what it is expected to be
/// @param newval what it shall become
/// @return QB_TRUE if @a newval was stored, else QB_FALSE (also if @a atomic is NULL)
///
/// # Safety
/// `atomic` is NULL or points to an aligned integer that is only accessed atomically meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_atomic_int_compare_and_exchange(
    atomic: *mut qb_atomic_int,
    oldval: i32,
    newval: i32,
) -> i32 {
    // SAFETY: NULL or a live, aligned integer by the caller's contract; AtomicI32 has its size and alignment.
    unsafe { borrow(atomic) }
        .map_or(0, |a| i32::from(a.compare_exchange(oldval, newval, SeqCst, SeqCst).is_ok()))
}

/// Stores a value in a pointer if that has the expected value.
///
/// @param atomic address of the pointer
/// @param oldval what it is expected to be
/// @param newval what it shall become
/// @return QB_TRUE if @a newval was stored, else QB_FALSE (also if @a atomic is NULL)
///
/// # Safety
/// `atomic` is NULL or points to an aligned pointer that is only accessed atomically meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_atomic_pointer_compare_and_exchange(
    atomic: *mut qb_atomic_pointer,
    oldval: *mut c_void,
    newval: *mut c_void,
) -> i32 {
    // SAFETY: NULL or a live, aligned pointer by the caller's contract; AtomicPtr has its size and alignment.
    unsafe { borrow(atomic) }
        .map_or(0, |a| i32::from(a.compare_exchange(oldval, newval, SeqCst, SeqCst).is_ok()))
}

/// Reads an integer.
///
/// @param atomic the integer
/// @return its value; 0 if @a atomic is NULL
///
/// # Safety
/// `atomic` is NULL or points to an aligned integer that is only accessed atomically meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_atomic_int_get(atomic: *mut qb_atomic_int) -> i32 {
    fence(SeqCst);
    // SAFETY: NULL or a live, aligned integer by the caller's contract; AtomicI32 has its size and alignment.
    unsafe { borrow(atomic) }.map_or(0, |a| a.load(SeqCst))
}

/// Writes an integer.
///
/// @param atomic the integer; nothing happens if it is NULL
/// @param newval its new value
///
/// # Safety
/// `atomic` is NULL or points to an aligned integer that is only accessed atomically meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_atomic_int_set(atomic: *mut qb_atomic_int, newval: i32) {
    // SAFETY: NULL or a live, aligned integer by the caller's contract; AtomicI32 has its size and alignment.
    if let Some(a) = unsafe { borrow(atomic) } {
        a.store(newval, SeqCst);
    }
    fence(SeqCst);
}

/// Reads a pointer.
///
/// @param atomic address of the pointer
/// @return its value; NULL if @a atomic is NULL
///
/// # Safety
/// `atomic` is NULL or points to an aligned pointer that is only accessed atomically meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_atomic_pointer_get(atomic: *mut qb_atomic_pointer) -> *mut c_void {
    fence(SeqCst);
    // SAFETY: NULL or a live, aligned pointer by the caller's contract; AtomicPtr has its size and alignment.
    unsafe { borrow(atomic) }.map_or(std::ptr::null_mut(), |a| a.load(SeqCst))
}

/// Writes a pointer.
///
/// @param atomic address of the pointer; nothing happens if it is NULL
/// @param newval its new value
///
/// # Safety
/// `atomic` is NULL or points to an aligned pointer that is only accessed atomically meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_atomic_pointer_set(atomic: *mut qb_atomic_pointer, newval: *mut c_void) {
    // SAFETY: NULL or a live, aligned pointer by the caller's contract; AtomicPtr has its size and alignment.
    if let Some(a) = unsafe { borrow(atomic) } {
        a.store(newval, SeqCst);
    }
    fence(SeqCst);
}

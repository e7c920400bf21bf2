// SPDX-License-Identifier: LGPL-2.1-or-later
//! `qb/qbarray.h`: an array of the caller's elements that grows without moving them.

use crate::handle::{borrow, null_errno, status};
use libc::{c_void, size_t};
use qb::array::{Array, BIN};
use std::sync::atomic::{AtomicUsize, Ordering};

/// An array. Opaque in C.
pub struct qb_array_t {
    array: Array,
    /// The callback's address, 0 for none.
    new_bin: AtomicUsize,
}

impl qb_array_t {
    /// An array without elements, for a handle database.
    pub(crate) fn empty(element_size: usize) -> Option<Self> {
        let array = Array::new(0, element_size, 0).ok()?;
        Some(qb_array_t { array, new_bin: AtomicUsize::new(0) })
    }
}

/// `qb_array_new_bin_cb_fn` of the header.
pub type qb_array_new_bin_cb_fn = Option<unsafe extern "C" fn(a: *mut qb_array_t, bin: u32)>;

/// What the functions that return a size give for NULL.
const BAD_SIZE: size_t = (-(libc::EINVAL as isize)) as size_t;

/// Creates an array of a fixed number of elements; see qb_array_create_2().
///
/// @param max_elements at most QB_ARRAY_MAX_ELEMENTS
/// @param element_size size of one element in bytes, not 0
/// @return the array, or NULL with errno EINVAL or ENOMEM
#[unsafe(no_mangle)]
pub extern "C" fn qb_array_create(max_elements: size_t, element_size: size_t) -> *mut qb_array_t {
    qb_array_create_2(max_elements, element_size, 0)
}

/// Creates an array. Its elements are zero-filled, and exist at once.
///
/// Memory is taken in bins of 16 elements, when one of them is first asked for.
/// The address of an element never changes.
///
/// @param max_elements      at most QB_ARRAY_MAX_ELEMENTS
/// @param element_size      size of one element in bytes, not 0
/// @param autogrow_elements 0, or 1 to 16 for an array that grows to whatever
///                          index is asked for
/// @return the array, or NULL with errno EINVAL or ENOMEM
#[unsafe(no_mangle)]
pub extern "C" fn qb_array_create_2(
    max_elements: size_t,
    element_size: size_t,
    autogrow_elements: size_t,
) -> *mut qb_array_t {
    match Array::new(max_elements, element_size, autogrow_elements) {
        Ok(array) => Box::into_raw(Box::new(qb_array_t { array, new_bin: AtomicUsize::new(0) })),
        Err(e) => null_errno(e),
    }
}

/// Finds an element. Any number of threads may do so, and grow the array
/// meanwhile.
///
/// @param a           the array
/// @param idx         its number
/// @param element_out where its address goes
/// @return 0; -EINVAL: NULL argument, or growing beyond QB_ARRAY_MAX_ELEMENTS;
///         -ERANGE: negative, or not below the maximum of an array that does not
///         grow by itself; -ENOMEM
///
/// # Safety
/// `a` is NULL or an open array, `element_out` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_array_index(a: *mut qb_array_t, idx: i32, element_out: *mut *mut c_void) -> i32 {
    // SAFETY: NULL or open by the caller's contract.
    let Some(array) = (unsafe { borrow(a) }) else { return -libc::EINVAL };
    if element_out.is_null() {
        return -libc::EINVAL;
    }
    let Ok(at) = usize::try_from(idx) else { return -libc::ERANGE };
    match array.array.index(at) {
        Ok((element, new_bin)) => {
            // SAFETY: not NULL, and writable by the caller's contract. The element is made of atomic bytes, which may
            // be written through an address that was got from a shared reference.
            unsafe { *element_out = element.as_ptr().cast_mut().cast() };
            if let Some(bin) = new_bin {
                announce(a, array, bin);
            }
            0
        }
        Err(e) => -e.errno(),
    }
}

#[cold]
fn announce(a: *mut qb_array_t, array: &qb_array_t, bin: u32) {
    let address = array.new_bin.load(Ordering::Acquire);
    // SAFETY: 0 is None, anything else was a function of this type in `qb_array_new_bin_cb_set`; both have one size.
    let function = unsafe { std::mem::transmute::<usize, qb_array_new_bin_cb_fn>(address) };
    if let Some(function) = function {
        // SAFETY: a callback of the program with the arguments that the header promises; no lock is held.
        unsafe { function(a, bin) };
    }
}

/// Raises the maximum number of elements.
///
/// @param a            the array
/// @param max_elements the new maximum; nothing happens if it is not larger
/// @return 0; -EINVAL: NULL, or more than QB_ARRAY_MAX_ELEMENTS
///
/// # Safety
/// `a` is NULL or an open array.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_array_grow(a: *mut qb_array_t, max_elements: size_t) -> i32 {
    // SAFETY: NULL or open by the caller's contract.
    unsafe { borrow(a) }.map_or(-libc::EINVAL, |a| status(a.array.grow(max_elements)))
}

/// The size of the table of bins. Bins that were not used yet count as well.
///
/// @param a the array
/// @return how many bins the table has room for; (size_t)-EINVAL if @a a is NULL
///
/// # Safety
/// `a` is NULL or an open array.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_array_num_bins_get(a: *mut qb_array_t) -> size_t {
    // SAFETY: NULL or open by the caller's contract.
    unsafe { borrow(a) }.map_or(BAD_SIZE, |a| a.array.bins())
}

/// The number of elements in a bin: element i is in bin i / 16.
///
/// @param a the array
/// @return 16; (size_t)-EINVAL if @a a is NULL
///
/// # Safety
/// `a` is NULL or an open array.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_array_elems_per_bin_get(a: *mut qb_array_t) -> size_t {
    // SAFETY: NULL or open by the caller's contract.
    unsafe { borrow(a) }.map_or(BAD_SIZE, |_| BIN)
}

/// Sets the function that is told of each new bin.
///
/// It is called by the thread whose qb_array_index() made the bin, before that
/// returns, and may use the array.
///
/// @param a  the array
/// @param fn the function, NULL for none
/// @return 0; -EINVAL if @a a is NULL
///
/// # Safety
/// `a` is NULL or an open array, and `fn` keeps to the C contract.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_array_new_bin_cb_set(a: *mut qb_array_t, r#fn: qb_array_new_bin_cb_fn) -> i32 {
    // SAFETY: NULL or open by the caller's contract.
    let Some(a) = (unsafe { borrow(a) }) else { return -libc::EINVAL };
    a.new_bin.store(r#fn.map_or(0, |f| f as usize), Ordering::Release);
    0
}

/// Frees an array and its elements.
///
/// @param a the array; nothing happens if it is NULL
///
/// # Safety
/// `a` is NULL or an open array that nobody uses any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_array_free(a: *mut qb_array_t) {
    if !a.is_null() {
        // SAFETY: made by `Box::into_raw` and given back once, by the caller's contract.
        drop(unsafe { Box::from_raw(a) });
    }
}

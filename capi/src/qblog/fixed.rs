// SPDX-License-Identifier: LGPL-2.1-or-later
//! Texts that can never change: what lies in the main program's pages that are mapped read-only, and thus its string literals.
//! Libraries do not count, since they can be unloaded and others loaded in their place.

use libc::{c_int, c_void, dl_phdr_info, size_t};
use std::sync::Once;
use std::sync::atomic::{
    AtomicUsize,
    Ordering::{Acquire, Relaxed, Release},
};

/// First address, and length; the length is 0 until they are known.
static START: AtomicUsize = AtomicUsize::new(0);
static LEN: AtomicUsize = AtomicUsize::new(0);

/// True if what is at this address stays as it is until the process ends.
#[inline]
pub fn holds<T>(address: *const T) -> bool {
    // ORDER(fixed): pairs with `first`. Whoever observes the length sees the start that belongs to it.
    let len = LEN.load(Acquire);
    address.addr().wrapping_sub(START.load(Relaxed)) < len
}

/// Finds the pages, once.
pub fn find() {
    static ONCE: Once = Once::new();
    // SAFETY: the function has the type that is wanted, and needs no data.
    ONCE.call_once(|| unsafe {
        libc::dl_iterate_phdr(Some(first), std::ptr::null_mut());
    });
}

/// Called for the main program, which comes first; the result ends the iteration.
unsafe extern "C" fn first(info: *mut dl_phdr_info, _: size_t, _: *mut c_void) -> c_int {
    // SAFETY: the C library passes a valid object, whose program headers are as many as it says.
    let (base, headers) = unsafe {
        let info = &*info;
        if info.dlpi_phdr.is_null() {
            return 1;
        }
        (info.dlpi_addr, std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)))
    };
    let loaded = || headers.iter().filter(|h| h.p_type == libc::PT_LOAD);
    let writable = |flags: u32| flags & libc::PF_W != 0;
    // Linkers put literals into the last segment that is neither written nor executed.
    let Some(segment) = loaded().rfind(|h| !writable(h.p_flags) && h.p_flags & libc::PF_X == 0) else {
        return 1;
    };
    START.store((base + segment.p_vaddr) as usize, Relaxed);
    // ORDER(fixed): pairs with `holds`.
    LEN.store(segment.p_memsz as usize, Release);
    1
}

// SPDX-License-Identifier: LGPL-2.1-or-later
//! Where things lie in the header file, and how long the two files are.

use crate::ring::{CHUNK_MARGIN, MAX_WORDS, Size};
use crate::sys::mmap::page_size;
use crate::{Error, Result};
use std::mem::{align_of, offset_of};

/// Bytes of a path field, its NUL included.
pub const PATH_LEN: usize = 4096;

/// The header file as the C library lays it out. Never instantiated: only its offsets are used.
#[repr(C)]
struct SharedHeader {
    write_pt: u32,
    read_pt: u32,
    word_size: u32,
    hdr_path: [u8; PATH_LEN],
    data_path: [u8; PATH_LEN],
    ref_count: i32,
    posix_sem: libc::sem_t,
    user_data: [u32; 1],
}

pub const WRITE_PT: usize = offset_of!(SharedHeader, write_pt);
pub const READ_PT: usize = offset_of!(SharedHeader, read_pt);
pub const WORD_SIZE: usize = offset_of!(SharedHeader, word_size);
pub const HDR_PATH: usize = offset_of!(SharedHeader, hdr_path);
pub const DATA_PATH: usize = offset_of!(SharedHeader, data_path);
pub const REF_COUNT: usize = offset_of!(SharedHeader, ref_count);
pub const SEMAPHORE: usize = offset_of!(SharedHeader, posix_sem);
pub const USER_DATA: usize = offset_of!(SharedHeader, user_data);
const HEADER: usize = size_of::<SharedHeader>();

#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(WRITE_PT == 0 && READ_PT == 4 && WORD_SIZE == 8 && HDR_PATH == 12 && DATA_PATH == 4108);
    assert!(REF_COUNT == 8204 && SEMAPHORE == 8208 && USER_DATA == 8240 && HEADER == 8248);
    assert!(size_of::<libc::sem_t>() == 32 && align_of::<SharedHeader>() == 8);
};

/// Length in bytes of a header file with `user_data` bytes for the caller.
pub fn header_len(user_data: usize) -> Result<usize> {
    HEADER.checked_add(user_data).filter(|n| *n <= isize::MAX as usize).ok_or(Error::Invalid)
}

/// Length in bytes of the data file of a ring for chunks of up to `size` bytes: with margin, in whole pages.
pub fn data_len(size: usize) -> Result<usize> {
    Ok(ring_size(size)?.bytes())
}

/// The ring's length for chunks of up to `size` bytes.
pub fn ring_size(size: usize) -> Result<Size> {
    let bytes = size.checked_add(CHUNK_MARGIN + 1).ok_or(Error::Invalid)?;
    let bytes = bytes.checked_next_multiple_of(page_size()).ok_or(Error::Invalid)?;
    let words = u32::try_from(bytes / 4).map_err(|_| Error::Os(libc::EFBIG))?;
    if words > MAX_WORDS { Err(Error::Os(libc::EFBIG)) } else { Size::new(words) }
}

// SPDX-License-Identifier: LGPL-2.1-or-later
//! Exported, but in no header: the reading half of the compact serialization, that test programs import.

use libc::{c_char, size_t};
use qb::log::serial::{self, Data};
use std::ffi::CStr;

/// Arguments in memory of a caller who says that there are enough.
struct Raw(*const u8);

impl Data for Raw {
    fn fill(&mut self, out: &mut [u8]) -> Option<()> {
        // SAFETY: the caller of qb_vsnprintf_deserialize() promised a complete serialization.
        unsafe {
            std::ptr::copy_nonoverlapping(self.0, out.as_mut_ptr(), out.len());
            self.0 = self.0.add(out.len());
        }
        Some(())
    }

    fn text(&mut self, max: usize, out: &mut Vec<u8>) -> Option<()> {
        // SAFETY: as above: a NUL-terminated string comes next.
        let text = unsafe { CStr::from_ptr(self.0.cast()) }.to_bytes();
        out.extend_from_slice(&text[..text.len().min(max)]);
        // SAFETY: as above.
        self.0 = unsafe { self.0.add(text.len() + 1) };
        Some(())
    }
}

/// Shows a serialized message; the length of the text with its NUL.
///
/// # Safety
/// `string` is writable for `str_len` bytes, `buf` is a complete serialization.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_vsnprintf_deserialize(
    string: *mut c_char,
    str_len: size_t,
    buf: *const c_char,
) -> size_t {
    if string.is_null() || buf.is_null() || str_len == 0 {
        return 0;
    }
    // SAFETY: the format comes first and ends in a NUL, the arguments follow it.
    let (format, mut data) = unsafe {
        let format = CStr::from_ptr(buf).to_bytes();
        (format, Raw(buf.cast::<u8>().add(format.len() + 1)))
    };
    let mut text = serial::decode_from(format, &mut data, str_len - 1);
    text.push(0);
    // SAFETY: at most `str_len` bytes, which the caller can take.
    unsafe { std::ptr::copy_nonoverlapping(text.as_ptr().cast(), string, text.len()) };
    text.len()
}

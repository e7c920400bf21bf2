// SPDX-License-Identifier: LGPL-2.1-or-later
//! Any format serializes within its space, and what fits decodes; a format that the simple formatter accepts comes out as printf's.
#![no_main]

use libfuzzer_sys::fuzz_target;
use qb::log::serial::decode;
use std::ffi::{c_char, CString};

unsafe extern "C" {
    fn fuzz_serialize(out: *mut c_char, size: usize, format: *const c_char, text: *const c_char, len: usize) -> usize;
}

/// A format that printf survives with 32 arguments: no positions, not too many conversions, no width that takes seconds.
fn tame(bytes: &[u8]) -> Vec<u8> {
    let (mut format, mut digits, mut taken) = (Vec::new(), 0, 0);
    for byte in bytes {
        let (digit, takes) = (byte.is_ascii_digit(), matches!(byte, b'%' | b'*'));
        if *byte == 0 || *byte == b'$' || (digit && digits == 4) || (takes && taken == 12) {
            continue;
        }
        digits = if digit { digits + 1 } else { 0 };
        taken += usize::from(takes);
        format.push(*byte);
    }
    format
}

fuzz_target!(|data: &[u8]| {
    let [size_low, size_high, rest @ ..] = data else { return };
    let size = usize::from(u16::from_le_bytes([*size_low, *size_high])) % 600;
    let mut halves = rest.splitn(2, |b| *b == 0);
    let format = CString::new(tame(halves.next().unwrap_or_default())).unwrap();
    let text = halves.next().unwrap_or_default();
    let mut out = vec![0u8; size];
    // SAFETY: `out` has `size` bytes; the format ends in a NUL and the text has its length.
    let used = unsafe {
        fuzz_serialize(out.as_mut_ptr().cast(), size, format.as_ptr(), text.as_ptr().cast(), text.len())
    };
    if used < size {
        let shown = decode(&out[..used], 511);
        assert!(shown.len() <= 511);
        // Without conversions, the text is the format.
        if !format.as_bytes().contains(&b'%') && !format.as_bytes().contains(&7) {
            assert_eq!(shown, &format.as_bytes()[..shown.len()]);
            assert_eq!(shown.len(), format.as_bytes().len().min(511));
        }
    }
});

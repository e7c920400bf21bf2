// SPDX-License-Identifier: LGPL-2.1-or-later
//! Logging: blackbox files, serialized messages, and formats with their arguments.

use qb::log::dump::Dump;
use qb::log::serial::decode;
use std::ffi::{CString, c_char};

unsafe extern "C" {
    fn fuzz_serialize(
        out: *mut c_char,
        size: usize,
        format: *const c_char,
        text: *const c_char,
        len: usize,
    ) -> usize;
}

/// A blackbox file is hostile: whatever its bytes, reading it ends, and nothing is shown that is longer than a line.
pub fn log_dump(data: &[u8]) {
    // The hash would keep the fuzzer out: it is set right, for both kinds of files.
    let mut file = data.to_vec();
    for at in [0, 20] {
        if let Some(header) = file.get_mut(at..at + 20) {
            let words: Vec<u32> =
                header.chunks_exact(4).map(|c| u32::from_ne_bytes(c.try_into().unwrap())).collect();
            let sum = words[..4].iter().fold(0u32, |sum, w| sum.wrapping_add(*w));
            if at == 20 || words[0] != 0 {
                header[16..].copy_from_slice(&sum.to_ne_bytes());
            }
        }
    }
    for bytes in [data, &file] {
        if let Ok(dump) = Dump::read(bytes) {
            let _ = (dump.position(), dump.space());
            for record in dump.records() {
                match record {
                    Ok(record) => assert!(record.message.len() <= 511),
                    Err(damage) => assert!(!damage.to_string().is_empty()),
                }
            }
        }
    }
}

/// Any serialized message decodes within its limit.
pub fn log_serial(data: &[u8]) {
    for max in [0, 1, 7, 511, 4096] {
        assert!(decode(data, max).len() <= max);
    }
    // The same bytes as a format and as its arguments.
    let message = [data, b"\0", data].concat();
    assert!(decode(&message, 511).len() <= 511);
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

/// Any format serializes within its space, and what fits decodes; a format that the simple formatter accepts comes out as
/// printf's.
pub fn log_encode(data: &[u8]) {
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
}

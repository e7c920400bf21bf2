// SPDX-License-Identifier: LGPL-2.1-or-later
//! A blackbox file is hostile: whatever its bytes, reading it ends, and nothing is shown that is longer than a line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use qb::log::dump::Dump;

fuzz_target!(|data: &[u8]| {
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
});

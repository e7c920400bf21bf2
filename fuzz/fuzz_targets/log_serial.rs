// SPDX-License-Identifier: LGPL-2.1-or-later
//! Any serialized message decodes within its limit.
#![no_main]

use libfuzzer_sys::fuzz_target;
use qb::log::serial::decode;

fuzz_target!(|data: &[u8]| {
    for max in [0, 1, 7, 511, 4096] {
        assert!(decode(data, max).len() <= max);
    }
    // The same bytes as a format and as its arguments.
    let message = [data, b"\0", data].concat();
    assert!(decode(&message, 511).len() <= 511);
});

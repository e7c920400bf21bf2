// SPDX-License-Identifier: LGPL-2.1-or-later
//! The two messages of the handshake, decoded.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qb_fuzz_cases::handshake(data));

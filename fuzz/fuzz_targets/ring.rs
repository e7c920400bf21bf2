// SPDX-License-Identifier: LGPL-2.1-or-later
//! A ring whose words change at any time.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qb_fuzz_cases::ring(data));

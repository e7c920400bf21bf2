// SPDX-License-Identifier: LGPL-2.1-or-later
//! A client under answers, shared words, doorbells and messages of any kind.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qb_fuzz_cases::connect(data));

// SPDX-License-Identifier: LGPL-2.1-or-later
//! A blackbox file is hostile: whatever its bytes, reading it ends, and nothing is shown that is longer than a line.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qb_fuzz_cases::log_dump(data));

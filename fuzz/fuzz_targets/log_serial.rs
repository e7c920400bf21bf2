// SPDX-License-Identifier: LGPL-2.1-or-later
//! Any serialized message decodes within its limit.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qb_fuzz_cases::log_serial(data));

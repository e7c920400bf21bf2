// SPDX-License-Identifier: LGPL-2.1-or-later
//! Any format serializes within its space, and what fits decodes; a format that the simple formatter accepts comes out as printf's.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qb_fuzz_cases::log_encode(data));

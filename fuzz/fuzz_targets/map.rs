// SPDX-License-Identifier: LGPL-2.1-or-later
//! Operations on maps, compared with a model.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qb_fuzz_cases::map(data));

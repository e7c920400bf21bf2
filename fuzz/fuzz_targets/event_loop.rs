// SPDX-License-Identifier: LGPL-2.1-or-later
//! Operations on a loop, from outside and from its callbacks.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qb_fuzz_cases::event_loop(data));

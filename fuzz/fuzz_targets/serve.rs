// SPDX-License-Identifier: LGPL-2.1-or-later
//! A service under handshakes, shared words, doorbells and datagrams of any kind.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| qb_fuzz_cases::serve(data));

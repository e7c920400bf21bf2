// SPDX-License-Identifier: LGPL-2.1-or-later
//! What each fuzz target does with one input. The fuzzer calls these functions (`make fuzz`), and so does a test that replays
//! the seeds and changes of them (`make check-seeds`).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a panic is what the fuzzer looks for")]

mod client;
mod event;
mod handshake;
mod live;
mod log;
mod map;
mod ring;
mod server;

pub use client::connect;
pub use event::event_loop;
pub use handshake::handshake;
pub use log::{log_dump, log_encode, log_serial};
pub use map::map;
pub use ring::ring;
pub use server::serve;

/// A target by the name of its directory in `fuzz/seeds`.
pub type Case = (&'static str, fn(&[u8]));

/// All of them.
pub const CASES: [Case; 9] = [
    ("connect", connect),
    ("event_loop", event_loop),
    ("handshake", handshake),
    ("log_dump", log_dump),
    ("log_encode", log_encode),
    ("log_serial", log_serial),
    ("map", map),
    ("ring", ring),
    ("serve", serve),
];

/// An input, taken from its beginning. At its end everything is 0.
pub(crate) struct Source<'a>(pub &'a [u8]);

impl<'a> Source<'a> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    pub fn word(&mut self) -> u32 {
        let mut raw = [0; 4];
        let bytes = self.take(4);
        raw[..bytes.len()].copy_from_slice(bytes);
        u32::from_le_bytes(raw)
    }

    /// A word that often means something in a ring of so many words.
    pub fn value(&mut self, words: u32) -> u32 {
        match self.byte() {
            0 => 0,
            1 => 1,
            2 => words,
            3 => words.wrapping_sub(1),
            4 => words + 1,
            5 => 1 << 31,
            6 => u32::MAX,
            7 => i32::MAX.cast_unsigned(),
            8 => qb::ring::MAGIC_READY,
            9 => qb::ring::MAGIC_ALLOC,
            10 => qb::ring::MAGIC_DEAD,
            small @ 11..=127 => u32::from(small),
            _ => self.word(),
        }
    }

    pub fn take(&mut self, n: usize) -> &'a [u8] {
        let (head, tail) = self.0.split_at(n.min(self.0.len()));
        self.0 = tail;
        head
    }
}

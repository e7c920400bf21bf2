// SPDX-License-Identifier: LGPL-2.1-or-later
//! The bytes of the handshake and the heads of messages: byte arrays in, typed messages out. No I/O at all.
//!
//! Decoding is total: every byte sequence of the right length gives a value or [`Error::Corrupt`](crate::Error).
#![forbid(unsafe_code)]

mod handshake;
mod message;
mod names;

pub use handshake::{ConnectRequest, ConnectResponse, Features, NAME_LEN, Transport};
pub use message::{
    MSG_AUTHENTICATE, MSG_DISCONNECT, MSG_NEW_EVENT_SOCK, MSG_USER_START, MessageHead, REQUEST_HEAD_LEN,
    RESPONSE_HEAD_LEN,
};
pub use names::{DirectoryName, split_in_directory};

/// Little helpers of this room: a native-endian word at a fixed offset. Out of range reads give 0.
fn word_at(raw: &[u8], at: usize) -> [u8; 4] {
    raw.get(at..at + 4).and_then(|b| b.try_into().ok()).unwrap_or_default()
}

fn i32_at(raw: &[u8], at: usize) -> i32 {
    i32::from_ne_bytes(word_at(raw, at))
}

fn u32_at(raw: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(word_at(raw, at))
}

fn put(raw: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(to) = raw.get_mut(at..at + bytes.len()) {
        to.copy_from_slice(bytes);
    }
}

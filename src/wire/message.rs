// SPDX-License-Identifier: LGPL-2.1-or-later
//! The two words that begin every message: `id` at 0 and `size` at 8, each in a slot of 8 bytes.

use super::i32_at;

/// First id that applications use.
pub const MSG_USER_START: i32 = 0;
/// First message on a stream socket, in both directions.
pub const MSG_AUTHENTICATE: i32 = -1;
/// Reserved by the protocol, sent by nobody.
pub const MSG_NEW_EVENT_SOCK: i32 = -2;
/// A request that asks the server to close the connection.
pub const MSG_DISCONNECT: i32 = -3;

/// Size of `struct qb_ipc_request_header`.
pub const REQUEST_HEAD_LEN: usize = 16;
/// Size of `struct qb_ipc_response_header`.
pub const RESPONSE_HEAD_LEN: usize = 24;

/// What every message begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageHead {
    /// Meaning of the message; negative ids belong to the protocol.
    pub id: i32,
    /// Length of the whole message, as its sender claims.
    pub size: i32,
}

impl MessageHead {
    /// Reads the head of a message; `None` when it is shorter than a head.
    #[must_use]
    pub fn decode(message: &[u8]) -> Option<Self> {
        (message.len() >= REQUEST_HEAD_LEN).then(|| Self { id: i32_at(message, 0), size: i32_at(message, 8) })
    }

    /// Whether the claimed size is exactly the number of bytes that arrived.
    #[must_use]
    pub fn fits(&self, arrived: usize) -> bool {
        usize::try_from(self.size) == Ok(arrived)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_message_has_no_head() {
        assert_eq!(MessageHead::decode(&[0; 15]), None);
        assert!(MessageHead::decode(&[0; 16]).is_some());
    }

    #[test]
    fn a_negative_or_lying_size_does_not_fit() {
        for size in [-1, 0, 15, 17, i32::MAX, i32::MIN] {
            assert!(!MessageHead { id: 0, size }.fits(16), "{size}");
        }
        assert!(MessageHead { id: 0, size: 16 }.fits(16));
    }
}

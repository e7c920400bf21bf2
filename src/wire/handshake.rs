// SPDX-License-Identifier: LGPL-2.1-or-later
//! The one request and the one response that open a connection, on the stream socket.

use super::message::MSG_AUTHENTICATE;
use super::{i32_at, put, u32_at};
use crate::{Error, Result};

/// Room for one name in the response, with its NUL.
pub const NAME_LEN: usize = 4096;

/// How messages travel once a connection is open; the numbers are those of `enum qb_ipc_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Transport {
    /// Datagram sockets and a small shared control file.
    Socket = 0,
    /// Three rings in shared memory.
    SharedMemory = 1,
}

/// What a client sends first: 24 bytes.
///
/// | offset | field |
/// |---|---|
/// | 0 | i32 id = -1 |
/// | 8 | i32 size = 24 |
/// | 16 | u32 largest message the client wants to send or receive |
/// | 4, 12, 20 | padding, zero, ignored |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectRequest {
    /// Largest message in bytes.
    pub max_msg_size: u32,
}

impl ConnectRequest {
    /// Size on the wire.
    pub const LEN: usize = 24;

    /// The bytes to send.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut raw = [0; Self::LEN];
        put(&mut raw, 0, &MSG_AUTHENTICATE.to_ne_bytes());
        put(&mut raw, 8, &(Self::LEN as i32).to_ne_bytes());
        put(&mut raw, 16, &self.max_msg_size.to_ne_bytes());
        raw
    }

    /// Reads a request; anything that is not one is [`Error::Corrupt`].
    pub fn decode(raw: &[u8; Self::LEN]) -> Result<Self> {
        match (i32_at(raw, 0), u32_at(raw, 16)) {
            (MSG_AUTHENTICATE, max_msg_size) => Ok(Self { max_msg_size }),
            _ => Err(Error::Corrupt),
        }
    }
}

/// What the server answers: 12,328 bytes.
///
/// | offset | field |
/// |---|---|
/// | 0 | i32 id = -1 |
/// | 8 | i32 size = 12328 |
/// | 16 | i32 error, 0 or a negative errno |
/// | 24 | i32 transport |
/// | 28 | u32 agreed largest message |
/// | 32 | i64 opaque number; here a running number, never an address |
/// | 40, 4136, 8232 | names of the request, response and event channel |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectResponse {
    /// 0, or the errno (negative) with which the server refused.
    pub error: i32,
    /// How messages will travel.
    pub transport: Transport,
    /// Agreed largest message in bytes.
    pub max_msg_size: u32,
    /// Opaque to the client.
    pub token: i64,
    /// Name of the request channel (socket transport: of the control file).
    pub request: Vec<u8>,
    /// Name of the response channel (socket transport: base of the socket names).
    pub response: Vec<u8>,
    /// Name of the event channel (socket transport: empty).
    pub event: Vec<u8>,
}

impl ConnectResponse {
    /// Size on the wire; also the least message size that a client asks for.
    pub const LEN: usize = 40 + 3 * NAME_LEN;

    /// The answer to a client that is not let in.
    #[must_use]
    pub fn refusal(error: i32, transport: Transport) -> Self {
        Self { error, transport, max_msg_size: 0, token: 0, request: vec![], response: vec![], event: vec![] }
    }

    /// The bytes to send. Names are cut to [`NAME_LEN`] - 1 bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut raw = vec![0; Self::LEN];
        put(&mut raw, 0, &MSG_AUTHENTICATE.to_ne_bytes());
        put(&mut raw, 8, &(Self::LEN as i32).to_ne_bytes());
        put(&mut raw, 16, &self.error.to_ne_bytes());
        put(&mut raw, 24, &(self.transport as i32).to_ne_bytes());
        put(&mut raw, 28, &self.max_msg_size.to_ne_bytes());
        put(&mut raw, 32, &self.token.to_ne_bytes());
        for (i, name) in [&self.request, &self.response, &self.event].into_iter().enumerate() {
            put(&mut raw, 40 + i * NAME_LEN, &name[..name.len().min(NAME_LEN - 1)]);
        }
        raw
    }

    /// Reads a response; unterminated names, an unknown transport or a wrong id are [`Error::Corrupt`].
    pub fn decode(raw: &[u8]) -> Result<Self> {
        if raw.len() != Self::LEN || i32_at(raw, 0) != MSG_AUTHENTICATE {
            return Err(Error::Corrupt);
        }
        let error = i32_at(raw, 16);
        let transport = match i32_at(raw, 24) {
            0 => Transport::Socket,
            1 => Transport::SharedMemory,
            // A refusal may leave the rest of the answer empty or odd.
            _ if error != 0 => Transport::SharedMemory,
            _ => return Err(Error::Corrupt),
        };
        let name = |i: usize| -> Result<Vec<u8>> {
            let field = &raw[40 + i * NAME_LEN..40 + (i + 1) * NAME_LEN];
            let end = field.iter().position(|&b| b == 0).ok_or(Error::Corrupt)?;
            Ok(field[..end].to_vec())
        };
        Ok(Self {
            error,
            transport,
            max_msg_size: u32_at(raw, 28),
            token: i64::from_ne_bytes(raw[32..40].try_into().map_err(|_| Error::Corrupt)?),
            request: name(0)?,
            response: name(1)?,
            event: name(2)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_those_of_the_wire() {
        assert_eq!(ConnectRequest::LEN, 24);
        assert_eq!(ConnectResponse::LEN, 12328);
    }

    #[test]
    fn a_request_has_its_words_at_the_documented_offsets() {
        let raw = ConnectRequest { max_msg_size: 0x0102_0304 }.encode();
        assert_eq!(i32_at(&raw, 0), -1);
        assert_eq!(i32_at(&raw, 8), 24);
        assert_eq!(u32_at(&raw, 16), 0x0102_0304);
        assert_eq!([i32_at(&raw, 4), i32_at(&raw, 12), i32_at(&raw, 20)], [0; 3]);
        assert_eq!(ConnectRequest::decode(&raw), Ok(ConnectRequest { max_msg_size: 0x0102_0304 }));
    }

    #[test]
    fn another_id_is_refused() {
        let mut raw = ConnectRequest { max_msg_size: 1 }.encode();
        raw[0] = 0;
        assert_eq!(ConnectRequest::decode(&raw), Err(Error::Corrupt));
    }

    #[test]
    fn an_unterminated_name_is_refused() {
        let mut raw = ConnectResponse::refusal(0, Transport::Socket).encode();
        raw[40 + NAME_LEN..40 + 2 * NAME_LEN].fill(b'x');
        assert_eq!(ConnectResponse::decode(&raw), Err(Error::Corrupt));
    }

    proptest! {
        #[test]
        fn a_response_survives_the_wire(error in any::<i32>(), shm in any::<bool>(), max in any::<u32>(),
                                       token in any::<i64>(), names in prop::array::uniform3("[a-z/-]{0,4095}")) {
            let [request, response, event] = names.map(String::into_bytes);
            let transport = if shm { Transport::SharedMemory } else { Transport::Socket };
            let sent = ConnectResponse { error, transport, max_msg_size: max, token, request, response, event };
            prop_assert_eq!(ConnectResponse::decode(&sent.encode()), Ok(sent));
        }

        #[test]
        fn no_bytes_make_decoding_panic(raw in prop::collection::vec(any::<u8>(), ConnectResponse::LEN)) {
            let _ = ConnectResponse::decode(&raw);
        }
    }
}

// SPDX-License-Identifier: LGPL-2.1-or-later
//! The one request and the one response that open a connection, on the stream socket.

use super::message::MSG_AUTHENTICATE;
use super::{i32_at, put, u32_at};
use crate::{Error, Result};

/// Room for one name in the response, with its NUL.
pub const NAME_LEN: usize = 4096;
/// Bytes of a response before the names.
const HEAD_LEN: usize = 40;

/// How messages travel once a connection is open; the numbers are those of `enum qb_ipc_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Transport {
    /// Datagram sockets and a small shared control file.
    Socket = 0,
    /// Three rings in shared memory.
    SharedMemory = 1,
}

/// Names this extension of the handshake in padding that the C library fills with zeros and ignores.
const COOKIE: u32 = 0x5ea1_edb5;
/// Version of the extension. A later one keeps the meaning of what an earlier one had.
const VERSION: u32 = 1;
/// Where the cookie, the version and the features lie, in requests and in responses.
const EXTENSION: [usize; 3] = [4, 12, 20];

/// What one side can do beyond the wire of the C library: a set of feature bits. Bits that we do not know are dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features(u32);

impl Features {
    /// Nothing beyond the wire of the C library.
    pub const NONE: Self = Self(0);
    /// Messages travel in one sealed memfd, whose descriptor comes with the answer.
    pub const SEALED: Self = Self(1);

    /// Whether all of `other` are in it.
    #[must_use]
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    fn encode(self, raw: &mut [u8]) {
        if self != Self::NONE {
            for (at, word) in EXTENSION.into_iter().zip([COOKIE, VERSION, self.0]) {
                put(raw, at, &word.to_ne_bytes());
            }
        }
    }

    fn decode(raw: &[u8]) -> Self {
        match EXTENSION.map(|at| u32_at(raw, at)) {
            [COOKIE, version, features] if version >= VERSION => Self(features & Self::SEALED.0),
            _ => Self::NONE,
        }
    }
}

/// What a client sends first: 24 bytes.
///
/// | offset | field |
/// |---|---|
/// | 0 | i32 id = -1 |
/// | 8 | i32 size = 24 |
/// | 16 | u32 largest message the client wants to send or receive |
/// | 4, 12, 20 | padding: zero from the C library, which ignores it; else cookie, version and [`Features`] on offer |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectRequest {
    /// Largest message in bytes.
    pub max_msg_size: u32,
    /// What the client could do.
    pub offer: Features,
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
        self.offer.encode(&mut raw);
        raw
    }

    /// Reads a request; anything that is not one is [`Error::Corrupt`].
    pub fn decode(raw: &[u8; Self::LEN]) -> Result<Self> {
        match (i32_at(raw, 0), u32_at(raw, 16)) {
            (MSG_AUTHENTICATE, max_msg_size) => Ok(Self { max_msg_size, offer: Features::decode(raw) }),
            _ => Err(Error::Corrupt),
        }
    }
}

/// What the server answers: 12,328 bytes. An answer that accepts [`Features::SEALED`], which only a client that offered it
/// gets, ends before the names: it has 40 bytes.
///
/// | offset | field |
/// |---|---|
/// | 0 | i32 id = -1 |
/// | 8 | i32 size of the answer |
/// | 16 | i32 error, 0 or a negative errno |
/// | 24 | i32 transport |
/// | 28 | u32 agreed largest message |
/// | 32 | i64 opaque number; here a running number, never an address |
/// | 40, 4136, 8232 | names of the request, response and event channel |
/// | 4, 12, 20 | padding: zero from the C library; else cookie, version and [`Features`] accepted |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectResponse {
    /// 0, or the errno (negative) with which the server refused.
    pub error: i32,
    /// How messages will travel.
    pub transport: Transport,
    /// What the server accepts of the offer.
    pub accepted: Features,
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
    pub const LEN: usize = HEAD_LEN + 3 * NAME_LEN;

    /// The answer to a client that is not let in.
    #[must_use]
    pub fn refusal(error: i32, transport: Transport) -> Self {
        Self {
            error,
            transport,
            accepted: Features::NONE,
            max_msg_size: 0,
            token: 0,
            request: vec![],
            response: vec![],
            event: vec![],
        }
    }

    /// How long the answer is that begins with these bytes, as far as they tell: a receiver that has that many is done.
    #[must_use]
    pub fn len_of(begun: &[u8]) -> usize {
        if begun.len() >= HEAD_LEN && Features::decode(begun).has(Features::SEALED) {
            HEAD_LEN
        } else {
            Self::LEN
        }
    }

    /// The bytes to send. Names are cut to [`NAME_LEN`] - 1 bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let len = if self.accepted.has(Features::SEALED) { HEAD_LEN } else { Self::LEN };
        let mut raw = vec![0; len];
        put(&mut raw, 0, &MSG_AUTHENTICATE.to_ne_bytes());
        put(&mut raw, 8, &(len as i32).to_ne_bytes());
        put(&mut raw, 16, &self.error.to_ne_bytes());
        put(&mut raw, 24, &(self.transport as i32).to_ne_bytes());
        put(&mut raw, 28, &self.max_msg_size.to_ne_bytes());
        put(&mut raw, 32, &self.token.to_ne_bytes());
        self.accepted.encode(&mut raw);
        for (i, name) in [&self.request, &self.response, &self.event].into_iter().enumerate() {
            put(&mut raw, HEAD_LEN + i * NAME_LEN, &name[..name.len().min(NAME_LEN - 1)]);
        }
        raw
    }

    /// Reads a response; unterminated names, an unknown transport or a wrong id are [`Error::Corrupt`].
    pub fn decode(raw: &[u8]) -> Result<Self> {
        if raw.len() != Self::len_of(raw) || i32_at(raw, 0) != MSG_AUTHENTICATE {
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
            let Some(field) = raw.get(HEAD_LEN + i * NAME_LEN..HEAD_LEN + (i + 1) * NAME_LEN) else {
                return Ok(Vec::new());
            };
            let end = field.iter().position(|&b| b == 0).ok_or(Error::Corrupt)?;
            Ok(field[..end].to_vec())
        };
        Ok(Self {
            error,
            transport,
            accepted: Features::decode(raw),
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
        let request = ConnectRequest { max_msg_size: 0x0102_0304, offer: Features::NONE };
        let raw = request.encode();
        assert_eq!(i32_at(&raw, 0), -1);
        assert_eq!(i32_at(&raw, 8), 24);
        assert_eq!(u32_at(&raw, 16), 0x0102_0304);
        assert_eq!([i32_at(&raw, 4), i32_at(&raw, 12), i32_at(&raw, 20)], [0; 3]);
        assert_eq!(ConnectRequest::decode(&raw), Ok(request));
    }

    #[test]
    fn another_id_is_refused() {
        let mut raw = ConnectRequest { max_msg_size: 1, offer: Features::SEALED }.encode();
        raw[0] = 0;
        assert_eq!(ConnectRequest::decode(&raw), Err(Error::Corrupt));
    }

    #[test]
    fn an_offer_needs_its_cookie_and_loses_bits_that_nobody_knows() {
        let sent = ConnectRequest { max_msg_size: 7, offer: Features::SEALED };
        let mut raw = sent.encode();
        assert_eq!(ConnectRequest::decode(&raw), Ok(sent));
        put(&mut raw, 20, &u32::MAX.to_ne_bytes());
        assert_eq!(ConnectRequest::decode(&raw), Ok(sent), "unknown bits");
        put(&mut raw, 12, &(VERSION + 1).to_ne_bytes());
        assert_eq!(ConnectRequest::decode(&raw), Ok(sent), "a later version");
        let plain = ConnectRequest { offer: Features::NONE, ..sent };
        for (at, value) in [(12, 0), (4, 0), (4, 1), (4, u32::MAX)] {
            let mut raw = sent.encode();
            put(&mut raw, at, &value.to_ne_bytes());
            assert_eq!(ConnectRequest::decode(&raw), Ok(plain), "{value} at {at}");
        }
    }

    #[test]
    fn an_answer_that_accepts_has_no_names_and_any_other_has_them_all() {
        let mut sent = ConnectResponse::refusal(0, Transport::SharedMemory);
        assert_eq!(sent.encode().len(), ConnectResponse::LEN);
        sent.accepted = Features::SEALED;
        let raw = sent.encode();
        assert_eq!(raw.len(), HEAD_LEN);
        assert_eq!(ConnectResponse::len_of(&raw[..39]), ConnectResponse::LEN, "nothing is known yet");
        assert_eq!(ConnectResponse::len_of(&raw), HEAD_LEN);
        assert_eq!(ConnectResponse::decode(&raw), Ok(sent));
        assert_eq!(ConnectResponse::decode(&raw[..39]), Err(Error::Corrupt));
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
            let accepted = Features::NONE;
            let sent = ConnectResponse { error, transport, accepted, max_msg_size: max, token, request, response, event };
            prop_assert_eq!(ConnectResponse::decode(&sent.encode()), Ok(sent));
        }

        #[test]
        fn no_bytes_make_decoding_panic(raw in prop::collection::vec(any::<u8>(), ConnectResponse::LEN)) {
            let _ = ConnectResponse::decode(&raw);
            let _ = ConnectResponse::decode(&raw[..HEAD_LEN]);
        }
    }
}

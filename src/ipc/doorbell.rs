// SPDX-License-Identifier: LGPL-2.1-or-later
//! The bytes on the stream socket that announce messages in shared memory: one byte per message, sent after the message
//! was published and its semaphore posted.
//!
//! Bytes are hints that keep an application's poll honest; they are counted, never waited for. A receiver that handled a
//! message before its byte arrived owes that byte; a byte that announces nothing is thrown away. Invariant for an honest
//! peer: bytes received <= messages published, so whoever consumed more bytes than messages must look at the queue again
//! before sleeping (`Balance::credit`).

use crate::limits;
use crate::sys::socket;
use crate::{Error, Result};
use std::os::fd::BorrowedFd;

/// What a receiver knows about the bytes of its peer.
#[derive(Default)]
pub(super) struct Balance {
    /// Messages handled minus bytes consumed: positive is a debt of the peer, negative a credit.
    owed: i64,
}

impl Balance {
    /// A message was handled.
    pub fn handled(&mut self) {
        self.owed += 1;
    }

    /// Bytes were consumed for which no message was seen yet.
    pub fn credit(&self) -> bool {
        self.owed < 0
    }

    /// The queue is known to be empty: a credit was a stray byte.
    pub fn forgive(&mut self) {
        self.owed = self.owed.max(0);
    }

    /// Whether handled messages are still to be announced, and not many: their bytes keep the stream readable, and fit into it
    /// several times over.
    pub fn is_small_debt(&self) -> bool {
        (1..=FEW).contains(&self.owed)
    }

    /// Whether handled messages are still to be announced.
    pub fn debt(&self) -> bool {
        self.owed > 0
    }

    /// Takes the bytes of handled messages off the socket, as far as they are there. [`Error::Disconnected`] at the end
    /// of the stream.
    pub fn settle(&mut self, stream: BorrowedFd<'_>) -> Result<()> {
        if self.owed > limits::DOORBELLS {
            return Err(Error::Corrupt);
        }
        while self.owed > 0 {
            let want = usize::try_from(self.owed).unwrap_or(usize::MAX).min(CHUNK);
            let got = take(stream, want)?;
            self.owed -= got as i64;
            if got < want {
                break;
            }
        }
        Ok(())
    }

    /// Takes whatever bytes are there although nothing is queued: wakes nobody owes. Afterwards look at the queue again
    /// while [`credit`](Self::credit).
    pub fn drain(&mut self, stream: BorrowedFd<'_>) -> Result<()> {
        self.owed -= take(stream, CHUNK)? as i64;
        Ok(())
    }
}

/// Bytes taken with one system call.
const CHUNK: usize = 256;
/// Messages whose bytes one system call sends.
pub(super) const AT_ONCE: usize = CHUNK;

/// Bytes that may wait to be taken together.
const FEW: i64 = 8;

/// Takes up to `want` bytes; fewer when no more are there. [`Error::Disconnected`] at the end of the stream.
pub(super) fn take(stream: BorrowedFd<'_>, want: usize) -> Result<usize> {
    if want <= FEW as usize {
        take_into(stream, &mut [0; FEW as usize][..want])
    } else {
        take_many(stream, want)
    }
}

#[inline(never)]
fn take_many(stream: BorrowedFd<'_>, want: usize) -> Result<usize> {
    take_into(stream, &mut [0; CHUNK][..want.min(CHUNK)])
}

fn take_into(stream: BorrowedFd<'_>, bytes: &mut [u8]) -> Result<usize> {
    match socket::recv(stream, bytes) {
        Ok(0) => Err(Error::Disconnected),
        Ok(n) => Ok(n),
        Err(Error::Busy) => Ok(0),
        Err(_) => Err(Error::Disconnected),
    }
}

/// What one system call with up to [`CHUNK`] bytes takes from a socket's send buffer, at most.
const COST: usize = 1280;
/// The send buffer that a sender asks for when it has to ask for room a second time, in bytes: the larger it is, the less often that
/// happens. The kernel gives twice that, or twice `net.core.wmem_max` if that is less.
const LARGE: i32 = 256 << 10;

/// Bytes a sender still has to send because the socket was full.
#[derive(Default)]
pub(super) struct Outstanding {
    owed: u32,
    /// Times that the socket takes something for certain.
    room: u32,
    /// Bytes of the socket's send buffer, once they are known.
    buffer: usize,
    /// The buffer is as large as it gets.
    grown: bool,
}

impl Outstanding {
    /// Whether one more message can be announced at once. Asks the kernel now and then: nobody else knows. That a message was
    /// answered does not mean that its byte was taken, since servers take the bytes of many messages together, later.
    #[inline]
    pub fn has_room(&mut self, stream: BorrowedFd<'_>) -> bool {
        self.room > 0 || self.look_for_room(stream)
    }

    #[cold]
    fn look_for_room(&mut self, stream: BorrowedFd<'_>) -> bool {
        if self.buffer == 0 {
            self.buffer = socket::send_buffer(stream).unwrap_or(0);
        } else if !self.grown {
            self.grown = true;
            self.grow(stream);
        }
        self.room = match (self.buffer, socket::unsent(stream)) {
            // Nobody knows; sending tells.
            (0, _) | (_, Err(_)) => 1,
            (all, Ok(used)) if used < all => u32::try_from((all - used) / COST).unwrap_or(u32::MAX).max(1),
            (_, Ok(_)) => 0,
        };
        self.room > 0
    }

    fn grow(&mut self, stream: BorrowedFd<'_>) {
        if self.buffer < LARGE as usize && socket::set_send_buffer(stream, LARGE).is_ok() {
            self.buffer = socket::send_buffer(stream).unwrap_or(0);
        }
    }

    /// Rings once more, together with what is outstanding. Returns whether everything is sent now.
    pub fn ring(&mut self, stream: BorrowedFd<'_>) -> Result<bool> {
        if self.owed == 0 {
            self.room = self.room.saturating_sub(1);
            match socket::send(stream, &[0]) {
                Ok(_) => return Ok(true),
                failed => {
                    self.owed = 1; // outstanding for ever when the peer is gone
                    return if failed == Err(Error::Busy) { Ok(false) } else { Err(Error::Disconnected) };
                }
            }
        }
        self.ring_times(1, stream)
    }

    /// Rings for many messages at once, as [`Outstanding::ring`].
    pub fn ring_times(&mut self, times: usize, stream: BorrowedFd<'_>) -> Result<bool> {
        self.owed = self.owed.saturating_add(u32::try_from(times).unwrap_or(u32::MAX));
        self.flush(stream)
    }

    /// Sends what is outstanding, as far as there is room. Returns whether everything is sent now.
    pub fn flush(&mut self, stream: BorrowedFd<'_>) -> Result<bool> {
        const ZEROS: [u8; CHUNK] = [0; CHUNK];
        while self.owed > 0 {
            let want = (self.owed as usize).min(CHUNK);
            self.room = self.room.saturating_sub(1);
            match socket::send(stream, &ZEROS[..want]) {
                Ok(n) => self.owed -= u32::try_from(n).unwrap_or(self.owed).min(self.owed),
                Err(Error::Busy) => return Ok(false),
                Err(_) => return Err(Error::Disconnected),
            }
        }
        Ok(true)
    }

    /// Leaves the socket's buffer as it is.
    #[cfg(test)]
    pub fn keep_buffer(&mut self) {
        self.grown = true;
    }

    /// Is as sure of room as a copy of a process whose other copy uses it up.
    #[cfg(test)]
    pub fn be_wrong(&mut self) {
        self.room = u32::MAX;
    }

    /// Whether bytes wait to be sent.
    pub fn any(&self) -> bool {
        self.owed > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    fn pair() -> (UnixStream, UnixStream) {
        let (a, b) = UnixStream::pair().unwrap();
        a.set_nonblocking(true).unwrap();
        b.set_nonblocking(true).unwrap();
        (a, b)
    }

    /// Also where a process that another test forked just now holds the descriptor.
    fn hang_up(peer: UnixStream) {
        peer.shutdown(std::net::Shutdown::Both).unwrap();
    }

    #[test]
    fn a_message_before_its_byte_leaves_a_debt_that_the_byte_settles() {
        let (mut peer, own) = pair();
        let mut balance = Balance::default();
        balance.handled();
        balance.settle(own.as_fd()).unwrap();
        assert!(balance.debt());
        peer.write_all(&[0]).unwrap();
        balance.settle(own.as_fd()).unwrap();
        assert!(!balance.debt());
    }

    #[test]
    fn a_stray_byte_is_a_credit_until_the_queue_is_known_empty() {
        let (mut peer, own) = pair();
        let mut balance = Balance::default();
        peer.write_all(&[1, 2, 3]).unwrap();
        balance.drain(own.as_fd()).unwrap();
        assert!(balance.credit());
        balance.forgive();
        assert!(!balance.credit() && !balance.debt());
    }

    #[test]
    fn a_debt_is_small_as_long_as_its_bytes_keep_the_stream_readable_without_filling_it() {
        let mut balance = Balance::default();
        assert!(!balance.is_small_debt(), "nothing is owed");
        for _ in 0..FEW {
            balance.handled();
            assert!(balance.is_small_debt());
        }
        balance.handled();
        assert!(!balance.is_small_debt());
        assert!(!Balance { owed: -1 }.is_small_debt(), "a credit keeps nothing readable");
    }

    #[test]
    fn settling_takes_no_more_than_is_owed() {
        let (mut peer, own) = pair();
        let mut balance = Balance::default();
        peer.write_all(&[0; 3]).unwrap();
        balance.handled();
        balance.settle(own.as_fd()).unwrap();
        assert_eq!(socket::recv(own.as_fd(), &mut [0; 8]), Ok(2));
    }

    #[test]
    fn the_end_of_the_stream_is_a_disconnect() {
        let (peer, own) = pair();
        hang_up(peer);
        let mut balance = Balance::default();
        assert_eq!(balance.drain(own.as_fd()), Err(Error::Disconnected));
    }

    #[test]
    fn a_byte_for_a_peer_that_is_gone_stays_outstanding() {
        let (peer, own) = pair();
        hang_up(peer);
        let mut bells = Outstanding::default();
        for _ in 0..2 {
            assert_eq!(bells.ring(own.as_fd()), Err(Error::Disconnected));
            assert!(bells.any());
        }
    }

    #[test]
    fn a_byte_for_which_there_is_room_is_sent() {
        for small in [1, 10_000, 30_000, LARGE] {
            let (peer, own) = pair();
            socket::set_send_buffer(own.as_fd(), small).unwrap();
            let mut bells = Outstanding::default();
            for round in 0..3 {
                let mut rung = 0;
                while bells.has_room(own.as_fd()) {
                    assert_eq!(bells.ring(own.as_fd()), Ok(true), "byte {rung} of round {round}");
                    rung += 1;
                }
                assert!(rung > 20, "{rung}: the buffer grows when it is used up");
                assert_eq!(bells.ring(own.as_fd()), Ok(false), "no room was left out");
                while take(peer.as_fd(), CHUNK).unwrap() > 0 {}
                assert_eq!(bells.flush(own.as_fd()), Ok(true));
            }
        }
    }

    #[test]
    fn a_full_socket_keeps_bytes_outstanding_and_loses_none() {
        let (peer, own) = pair();
        let mut bells = Outstanding::default();
        let mut rung = 0_usize;
        while bells.ring(own.as_fd()).unwrap() {
            rung += 1;
        }
        rung += 1;
        assert!(bells.any());
        let mut seen = 0;
        let mut buffer = [0; 4096];
        loop {
            match socket::recv(peer.as_fd(), &mut buffer) {
                Ok(n) => seen += n,
                Err(_) if bells.any() => {
                    bells.flush(own.as_fd()).unwrap();
                }
                Err(_) => break,
            }
        }
        assert_eq!(seen, rung);
    }
}

// SPDX-License-Identifier: LGPL-2.1-or-later
//! The bytes on the stream socket that announce messages in shared memory: one byte per message, sent after the message
//! was published and its semaphore posted.
//!
//! Bytes are hints that keep an application's poll honest; they are counted, never waited for. A receiver that handled a
//! message before its byte arrived owes that byte; a byte that announces nothing is thrown away. Invariant for an honest
//! peer: bytes received <= messages published, so whoever consumed more bytes than messages must look at the queue again
//! before sleeping (`Balance::credit`).

use crate::limits;
use crate::sync::{AtomicU32, Ordering::Relaxed};
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

/// Bytes a sender still has to send because the socket was full.
#[derive(Default)]
pub(super) struct Outstanding {
    owed: u32,
    /// Times that the socket takes something for certain.
    room: u32,
    /// Answers that were seen when that was found out.
    answers: u32,
    /// Messages so far. It may wrap, as do the answers.
    sent: u32,
    /// Answers that are still to come and tell nothing: to messages whose bytes the kernel knew of when it was asked, and to all but
    /// one of those that were announced together, as only one took room.
    idle: u32,
    /// Bytes of the socket's send buffer, once they are known.
    buffer: usize,
}

impl Outstanding {
    /// Whether one more message can be announced at once. Asks the kernel now and then, unless each message is answered:
    /// `answers` counts the answers that came, and who has answered a message has taken its byte or is about to.
    #[inline]
    pub fn has_room(&mut self, stream: BorrowedFd<'_>, answers: &AtomicU32) -> bool {
        self.room > 0 || self.look_for_room(stream, answers.load(Relaxed))
    }

    #[cold]
    fn look_for_room(&mut self, stream: BorrowedFd<'_>, answers: u32) -> bool {
        let answered = answers.wrapping_sub(std::mem::replace(&mut self.answers, answers));
        let most = u32::try_from(self.buffer / COST).unwrap_or(u32::MAX);
        self.room = answered.saturating_sub(self.idle).min(most);
        self.idle = self.idle.saturating_sub(answered);
        self.room > 0 || self.ask_for_room(stream)
    }

    fn ask_for_room(&mut self, stream: BorrowedFd<'_>) -> bool {
        if self.buffer == 0 {
            self.buffer = socket::send_buffer(stream).unwrap_or(0);
        }
        self.room = match (self.buffer, socket::unsent(stream)) {
            // Nobody knows; sending tells.
            (0, _) | (_, Err(_)) => 1,
            (all, Ok(used)) if used < all => u32::try_from((all - used) / COST).unwrap_or(u32::MAX).max(1),
            (_, Ok(_)) => 0,
        };
        self.idle = self.sent.wrapping_sub(self.answers);
        self.room > 0
    }

    /// Rings once more, together with what is outstanding. Returns whether everything is sent now.
    pub fn ring(&mut self, stream: BorrowedFd<'_>) -> Result<bool> {
        if self.owed == 0 {
            self.room = self.room.saturating_sub(1);
            self.sent = self.sent.wrapping_add(1);
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
        let times = u32::try_from(times).unwrap_or(u32::MAX);
        self.owed = self.owed.saturating_add(times);
        self.sent = self.sent.wrapping_add(times);
        self.idle = self.idle.saturating_add(times.saturating_sub(1));
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
        drop(peer);
        let mut balance = Balance::default();
        assert_eq!(balance.drain(own.as_fd()), Err(Error::Disconnected));
    }

    #[test]
    fn a_byte_for_a_peer_that_is_gone_stays_outstanding() {
        let (peer, own) = pair();
        drop(peer);
        let mut bells = Outstanding::default();
        for _ in 0..2 {
            assert_eq!(bells.ring(own.as_fd()), Err(Error::Disconnected));
            assert!(bells.any());
        }
    }

    #[test]
    fn a_byte_for_which_there_is_room_is_sent() {
        let (peer, own) = pair();
        let mut bells = Outstanding::default();
        for round in 0..3 {
            let mut rung = 0;
            while bells.has_room(own.as_fd(), &AtomicU32::new(0)) {
                assert_eq!(bells.ring(own.as_fd()), Ok(true), "byte {rung} of round {round}");
                rung += 1;
            }
            assert!(rung > 20, "{rung}");
            assert_eq!(bells.ring(own.as_fd()), Ok(false), "no room was left out");
            while take(peer.as_fd(), CHUNK).unwrap() > 0 {}
            assert_eq!(bells.flush(own.as_fd()), Ok(true));
        }
    }

    #[test]
    fn answers_make_room_for_as_many_messages() {
        let (_peer, own) = pair();
        let (mut bells, answers) = (Outstanding::default(), AtomicU32::new(0));
        let ring_all = |bells: &mut Outstanding| {
            let mut rung = 0;
            while bells.has_room(own.as_fd(), &answers) {
                bells.ring(own.as_fd()).unwrap();
                rung += 1;
            }
            rung
        };
        let most = ring_all(&mut bells);
        assert_eq!(ring_all(&mut bells), 0, "the bytes are still there, and there was no answer");
        answers.store(5, Relaxed);
        assert_eq!(ring_all(&mut bells), 0, "the kernel has said so after it knew of all that these answer");
        answers.store(most, Relaxed);
        assert_eq!(ring_all(&mut bells), 0);
        // From here on the kernel has no part in it: it says that there is no room.
        bells.room = 3;
        assert_eq!(ring_all(&mut bells), 3);
        bells.idle = 0;
        answers.store(most + 3, Relaxed);
        assert_eq!(ring_all(&mut bells), 3);
        assert_eq!(ring_all(&mut bells), 0, "each answer counts once");
        bells.idle = 0;
        bells.ring_times(7, own.as_fd()).unwrap();
        answers.store(most + 3 + 6, Relaxed);
        assert_eq!(ring_all(&mut bells), 0, "seven messages took room once");
        bells.idle = 0;
        answers.store(u32::MAX, Relaxed);
        assert!(bells.has_room(own.as_fd(), &answers));
        assert!(bells.room <= most, "no more than there was once");
    }

    #[test]
    fn whoever_answers_and_takes_no_byte_leaves_bytes_outstanding() {
        let (peer, own) = pair();
        let (mut bells, answers) = (Outstanding::default(), AtomicU32::new(0));
        let (mut rung, mut sent) = (0, true);
        while sent {
            assert!(bells.has_room(own.as_fd(), &answers), "the answers say so");
            sent = bells.ring(own.as_fd()).unwrap();
            rung += 1;
            answers.fetch_add(1, Relaxed);
        }
        assert!(bells.any(), "the last one has to be sent before another message is");
        assert_eq!(bells.flush(own.as_fd()), Ok(false));
        let mut taken = 0;
        while let Ok(n @ 1..) = take(peer.as_fd(), CHUNK) {
            taken += n;
        }
        assert_eq!(taken, rung - 1);
        assert_eq!(bells.flush(own.as_fd()), Ok(true));
        assert_eq!(take(peer.as_fd(), CHUNK), Ok(1), "none is lost");
    }

    /// A server that takes bytes late, but no later than with 50 answered messages, a client that sends what it likes.
    #[test]
    fn where_there_is_said_to_be_room_a_byte_is_sent() {
        let mut seed = 1_u32;
        let mut random = |below: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 16) % below
        };
        let (peer, own) = pair();
        let (mut bells, answers) = (Outstanding::default(), AtomicU32::new(0));
        // Messages that wait, whether each wants an answer; bytes of those that were handled; answers on their way.
        let (mut queue, mut handled, mut coming) = (std::collections::VecDeque::new(), 0, 0);
        for step in 0..200_000 {
            // Now and then the server stops, and now and then the client leaves answers where they are.
            let (server, client) = (step / 500 % 4 < 2, step / 500 % 4 != 1);
            match random(6) {
                0..=2 if bells.has_room(own.as_fd(), &answers) => {
                    let times = if random(8) == 0 { 1 + random(100) } else { 1 };
                    let sent = if times == 1 {
                        bells.ring(own.as_fd())
                    } else {
                        bells.ring_times(times as usize, own.as_fd())
                    };
                    assert_eq!(sent, Ok(true), "step {step}");
                    // Phases in which all is answered, nothing, or some.
                    let asks = |r: u32| r < [0, 8, 4][step / 1000 % 3];
                    queue.extend((0..times).map(|_| asks(random(8))));
                }
                3 if server => {
                    for answer in queue.drain(..queue.len().min(random(80) as usize)) {
                        coming += u32::from(answer);
                        handled += 1;
                        if handled == 50 {
                            assert_eq!(take(peer.as_fd(), handled), Ok(50));
                            handled = 0;
                        }
                    }
                }
                4 if server && handled > 0 => {
                    assert_eq!(take(peer.as_fd(), handled), Ok(handled));
                    handled = 0;
                }
                5 if client && coming > 0 => {
                    let taken = 1 + random(coming);
                    coming -= taken;
                    answers.fetch_add(taken, Relaxed);
                }
                _ => {}
            }
        }
        assert!(answers.load(Relaxed) > 10_000);
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

// SPDX-License-Identifier: LGPL-2.1-or-later
//! The receiving end of a lane: messages, lingering, sleeping.

use super::doze::Doze;
use super::{
    CLIENT_CPU, CLOSED, EVENT_BELL, EVENTS, Lane, Lent, REQUEST_BELL, REQUESTS, RESPONSE_BELL, RESPONSES,
    Record, SERVER_CPU, Segment,
};
use crate::ipc::spin::{Peer, Spin};
use crate::lane::{self, Armed, Receiver};
use crate::shm::{SharedWord, Trusted};
use crate::sys::process;
use crate::{Error, Result};
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

/// Receives messages of one kind.
pub(in crate::ipc) struct Listener {
    pub(super) lane: Receiver<Lane>,
    bell: usize,
    peer_cpu: usize,
    spin: Spin,
    glances: Spin,
    doze: Doze,
}

impl Listener {
    fn new(segment: &Arc<Segment>, which: usize, bell: usize, peer_cpu: usize) -> Self {
        let lane = Receiver::new(segment.lane(which));
        Self { lane, bell, peer_cpu, spin: Spin::default(), glances: Spin::default(), doze: Doze::default() }
    }

    /// Server: for requests.
    pub fn requests(segment: &Arc<Segment>) -> Self {
        Self::new(segment, REQUESTS, REQUEST_BELL, CLIENT_CPU)
    }

    /// Client: for responses.
    pub fn responses(segment: &Arc<Segment>) -> Self {
        Self::new(segment, RESPONSES, RESPONSE_BELL, SERVER_CPU)
    }

    /// Client: for events.
    pub fn events(segment: &Arc<Segment>) -> Self {
        Self::new(segment, EVENTS, EVENT_BELL, SERVER_CPU)
    }

    #[inline(always)]
    fn word(&self, at: usize) -> &SharedWord {
        self.lane.cells().segment.word(at)
    }

    /// Whether a message is being handled in place: what is behind it cannot be seen meanwhile.
    pub fn is_lent(&self) -> bool {
        self.lane.holds()
    }

    /// Whether a message is there.
    #[inline]
    pub fn ready(&self) -> bool {
        self.lane.ready()
    }

    /// The next message; see [`Receiver::peek`].
    #[inline]
    pub fn peek(&mut self) -> Result<Option<Record>> {
        self.lane.peek()
    }

    /// Copies the message's first bytes.
    #[inline]
    pub fn copy(&self, record: &Record, out: &mut [u8]) -> Result<()> {
        self.lane.copy(record, 0, out)
    }

    /// The message in place.
    #[inline]
    pub fn lend(&self, record: &Record, peer: &Trusted) -> Lent {
        Lent { offset: self.lane.cells().offset + record.offset(), len: record.len(), peer: *peer }
    }

    /// The memory that messages are in.
    #[inline]
    pub fn segment(&self) -> &Arc<Segment> {
        &self.lane.cells().segment
    }

    /// Lets go of the message.
    #[inline]
    pub fn reclaim(&mut self, record: Record) {
        self.lane.reclaim(record);
    }

    /// Copies the next message into `buffer` and lets go of it. [`Error::BufferTooSmall`] when it does not fit: it stays then;
    /// [`Error::Busy`] while somebody looks at one.
    #[inline]
    pub fn receive(&mut self, buffer: &mut [u8]) -> Result<Option<usize>> {
        let Some(record) = self.lane.peek()? else {
            return if self.lane.holds() { Err(Error::Busy) } else { Ok(None) };
        };
        let len = record.len();
        if len > buffer.len() {
            self.lane.put_back(record);
            return Err(Error::BufferTooSmall);
        }
        self.lane.copy(&record, 0, &mut buffer[..len])?;
        self.lane.reclaim(record);
        Ok(Some(len))
    }

    /// Where the peer last ran, if it has said so.
    #[inline]
    fn peer(&self) -> Peer {
        match self.word(self.peer_cpu).get() {
            0 => Peer::Unknown,
            cpu if cpu == process::cpu().wrapping_add(1) => Peer::Here,
            _ => Peer::Elsewhere,
        }
    }

    /// Looks for a message for a moment, if that is worth while.
    #[inline]
    pub fn linger(&mut self) -> bool {
        let peer = self.peer();
        let lane = &self.lane;
        self.spin.wait_for(peer, || lane.ready())
    }

    /// Looks for one more message for a shorter moment.
    #[inline]
    pub fn glance(&mut self) -> bool {
        let peer = self.peer();
        let lane = &self.lane;
        lane.ready() || self.glances.glance(peer, || lane.ready())
    }

    /// Sleeps on the bell until a message comes, the server closes, or `timeout` is over; false for that. True promises
    /// nothing: a signal ends the sleep, and so does whoever wakes it without a reason.
    pub fn sleep(&mut self, timeout: Duration) -> Result<bool> {
        let (bell, closed) = (self.word(self.bell), self.word(CLOSED));
        if lane::arm(bell, || self.lane.ready() || closed.observe() != 0) != Armed::Asleep {
            return Ok(true);
        }
        let woken = bell.wait(1, timeout);
        lane::disarm(bell);
        woken
    }

    /// Whether the other side has announced something that is not all taken yet: the byte is on the stream or on its way.
    #[inline]
    pub fn is_announced(&mut self) -> bool {
        let bell = &self.lane.cells().segment.mapping.head()[self.bell];
        self.doze.is_awake(bell)
    }

    /// Waits a moment for the other side to announce something.
    pub fn linger_for_announcement(&mut self) -> bool {
        let peer = self.peer();
        let bell = &self.lane.cells().segment.mapping.head()[self.bell];
        self.spin.wait_for(peer, || bell.observe() == 0)
    }

    /// To be called when nothing is left: arms the bell and takes the bytes that announced what was taken. False when there is
    /// something again, which is announced already.
    pub fn doze_off(&mut self, stream: BorrowedFd<'_>) -> Result<bool> {
        let bell = &self.lane.cells().segment.mapping.head()[self.bell];
        let lane = &self.lane;
        self.doze.doze_off(bell, stream, || lane.ready())
    }

    /// Whether nothing was announced since the last time that all was taken, as far as this side has looked.
    pub fn is_asleep(&self) -> bool {
        self.doze.is_asleep()
    }

    /// Whether bytes that announced what was taken are still on their way.
    pub fn owes_bytes(&self) -> bool {
        self.doze.owes_bytes()
    }

    /// Takes such bytes, as far as they are there.
    pub fn take_late_bytes(&mut self, stream: BorrowedFd<'_>) -> Result<()> {
        self.doze.take_due(stream)
    }

    /// To be called when the stream is readable though nothing was announced: takes bytes that mean nothing, and notices the
    /// end. Afterwards something may be announced.
    pub fn clear(&mut self, stream: BorrowedFd<'_>) -> Result<()> {
        let bell = &self.lane.cells().segment.mapping.head()[self.bell];
        self.doze.clear(bell, stream)
    }
}

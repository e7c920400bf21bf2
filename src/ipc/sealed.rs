// SPDX-License-Identifier: LGPL-2.1-or-later
//! The sealed transport: one memfd per connection with three lanes in it, for a service of type shared memory whose client is
//! this library too. Agreed on in the handshake ([`Features::SEALED`]); a peer on the C library never hears of it.
//!
//! The memfd is sealed against shortening before it is sent, has no name, and goes with its last holder: nothing is left after
//! any death, and no access to it can fault. Both sides map it once.
//!
//! | words | written by | what |
//! |---|---|---|
//! | 0, 1, 2, 3 | server | bell for requests, flow control, closed, processor |
//! | 32, 33, 34 | client | bell for responses (a futex), bell for events, processor |
//! | 64; 96, 128 | server; client | tail of the request lane; of the response and event lanes |
//! | the next page on | sender of each | the lanes: requests, responses, events |
//!
//! Groups of words lie 128 bytes apart, so that what one side writes often is not in a cache line that the other side reads
//! often. A bell is answered with one byte on the stream socket, or by a futex for responses; see [`crate::lane`].
//!
//! A hostile peer can store anything anywhere. Lengths and places are checked by the lanes on private copies; flow control,
//! processor and `closed` are hints; bells cost it its own wake-ups.

use super::doorbell::{Outstanding, take};
use super::spin::Spin;
use crate::lane::{self, Armed, Cells, Receiver, Sender};
use crate::shm::{Mapping, SharedWord, Trusted};
use crate::sys::mmap::page_size;
use crate::sys::{memfd, process, socket};
use crate::wire::Features;
use crate::{Error, Result};
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

const REQUEST_BELL: usize = 0;
const FLOW_CONTROL: usize = 1;
const CLOSED: usize = 2;
const SERVER_CPU: usize = 3;
const RESPONSE_BELL: usize = 32;
const EVENT_BELL: usize = 33;
const CLIENT_CPU: usize = 34;
const TAILS: [usize; 3] = [64, 96, 128];

/// Bytes without a meaning that are taken in one go.
const MOST_STRAYS: usize = 64;

/// Which lane.
const REQUESTS: usize = 0;
const RESPONSES: usize = 1;
const EVENTS: usize = 2;

/// What this process offers to servers, and accepts from clients. `LIBQB_SEALED=0` turns the transport off, and so does
/// building with `QB_SEALED=no`.
pub(super) fn features() -> Features {
    static ON: OnceLock<bool> = OnceLock::new();
    let on = *ON.get_or_init(|| {
        let built = option_env!("QB_SEALED").is_none_or(|value| value != "no");
        built && std::env::var_os("LIBQB_SEALED").is_none_or(|value| value != "0")
    });
    if on { Features::SEALED } else { Features::NONE }
}

/// The mapped memory of one connection.
#[derive(Debug)]
pub(super) struct Segment {
    mapping: Mapping,
    /// Bytes of one lane, whole pages.
    lane_bytes: usize,
    /// Where the lanes begin.
    lanes_at: usize,
}

/// How long the memory for messages of that size is: lanes in whole pages behind a page of words.
fn lengths(max_msg_size: u32) -> Result<(usize, usize)> {
    let lane = lane::bytes_for(max_msg_size as usize)?.next_multiple_of(page_size());
    let whole = lane.checked_mul(TAILS.len()).and_then(|n| n.checked_add(page_size()));
    Ok((lane, whole.ok_or(Error::Os(libc::EFBIG))?))
}

impl Segment {
    /// Server: makes the memory; the descriptor is for the client.
    pub fn make(max_msg_size: u32) -> Result<(Arc<Self>, OwnedFd)> {
        let (lane_bytes, len) = lengths(max_msg_size)?;
        let fd = memfd::create(len)?;
        let mapping = Mapping::map_sealed(fd.as_fd(), len)?;
        let made = Self { mapping, lane_bytes, lanes_at: page_size() };
        // Nobody is awake yet: the first message of each kind is announced.
        made.word(REQUEST_BELL).set(1);
        made.word(EVENT_BELL).set(1);
        let made = Arc::new(made);
        #[cfg(test)]
        tests::MADE.lock().push(Arc::downgrade(&made));
        Ok((made, fd))
    }

    /// Client: maps what the server sent, if it is what a server makes.
    pub fn open(fd: BorrowedFd<'_>, max_msg_size: u32) -> Result<Arc<Self>> {
        let (lane_bytes, len) = lengths(max_msg_size)?;
        memfd::verify(fd, len)?;
        let mapping = Mapping::map_sealed(fd, len)?;
        Ok(Arc::new(Self { mapping, lane_bytes, lanes_at: page_size() }))
    }

    #[inline(always)]
    fn word(&self, at: usize) -> &SharedWord {
        &self.mapping.head()[at]
    }

    fn lane(self: &Arc<Self>, which: usize) -> Lane {
        Lane { offset: self.lanes_at + which * self.lane_bytes, tail: TAILS[which], segment: self.clone() }
    }

    /// What the server says about sending requests: 0 go on, otherwise stop.
    #[inline]
    pub fn flow_control(&self) -> u32 {
        self.word(FLOW_CONTROL).observe()
    }

    /// Server: tells the client to stop or to go on.
    pub fn set_flow_control(&self, state: u32) {
        self.word(FLOW_CONTROL).publish(state);
    }

    /// Server: nothing will come any more; wakes a client that waits for a response.
    pub fn close(&self) {
        self.word(CLOSED).publish(1);
        if lane::rouse(self.word(RESPONSE_BELL)) {
            let _ = self.word(RESPONSE_BELL).wake();
        }
    }

    /// Client: whether the server has said that nothing will come any more.
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.word(CLOSED).observe() != 0
    }
}

/// The memory of one lane.
#[derive(Debug)]
pub(super) struct Lane {
    segment: Arc<Segment>,
    offset: usize,
    tail: usize,
}

impl Cells for Lane {
    #[inline]
    fn words(&self) -> u32 {
        // Lanes have at most 2^28 words (`lane::bytes_for`).
        (self.segment.lane_bytes / 4) as u32
    }
    #[inline(always)]
    fn tail(&self) -> &SharedWord {
        self.segment.word(self.tail)
    }
    #[inline(always)]
    fn word(&self, index: u32) -> Result<&SharedWord> {
        self.segment.mapping.try_word(self.offset + index as usize * 4)
    }
    #[inline(always)]
    fn copy_in(&self, offset: usize, data: &[u8]) -> Result<()> {
        self.segment.mapping.write(self.offset + offset, data)
    }
    #[inline(always)]
    fn copy_out(&self, offset: usize, out: &mut [u8]) -> Result<()> {
        self.segment.mapping.read(self.offset + offset, out)
    }
}

/// A request in place, in the memory of a client that is vouched for.
#[derive(Debug)]
pub(super) struct Lent {
    segment: Arc<Segment>,
    offset: usize,
    len: usize,
    peer: Trusted,
}

impl Deref for Lent {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.segment.mapping.lend(self.offset, self.len, &self.peer).unwrap_or(&[])
    }
}

impl Lent {
    /// The address, for C code, which may write there.
    pub fn address(&self) -> NonNull<u8> {
        let place = self.segment.mapping.lend_address(self.offset, self.len, &self.peer);
        place.unwrap_or(NonNull::<u64>::dangling().cast())
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub bytes: usize,
    pub bell: Bell,
}

/// Whether the receiver was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bell {
    /// It is awake, or was when it last said so.
    NotNeeded,
    /// A byte was sent.
    Rung,
    /// A byte is to be sent as soon as there is room: see [`Talker::bells`].
    NoRoom,
    /// Nobody is there.
    Broken,
}

/// Sends messages of one kind.
pub(super) struct Talker {
    lane: Sender<Lane>,
    /// The receiver's bell.
    bell: usize,
    /// Where this side says on which processor it runs.
    cpu_word: usize,
    cpu: u32,
    bells: Outstanding,
}

impl Talker {
    fn new(segment: &Arc<Segment>, which: usize, bell: usize, cpu_word: usize) -> Self {
        let lane = Sender::new(segment.lane(which));
        Self { lane, bell, cpu_word, cpu: u32::MAX, bells: Outstanding::default() }
    }

    /// Client: for requests.
    pub fn requests(segment: &Arc<Segment>) -> Self {
        Self::new(segment, REQUESTS, REQUEST_BELL, CLIENT_CPU)
    }

    /// Server: for responses.
    pub fn responses(segment: &Arc<Segment>) -> Self {
        Self::new(segment, RESPONSES, RESPONSE_BELL, SERVER_CPU)
    }

    /// Server: for events.
    pub fn events(segment: &Arc<Segment>) -> Self {
        Self::new(segment, EVENTS, EVENT_BELL, SERVER_CPU)
    }

    #[inline(always)]
    fn word(&self, at: usize) -> &SharedWord {
        self.lane.cells().segment.word(at)
    }

    /// Publishes the parts as one message.
    #[inline(always)]
    fn put(&mut self, parts: &[&[u8]]) -> Result<usize> {
        let mut len = 0_usize;
        for part in parts {
            len = len.checked_add(part.len()).ok_or(Error::TooBig)?;
        }
        let claim = self.lane.claim(len)?;
        let mut at = 0;
        for part in parts {
            self.lane.fill(&claim, at, part)?;
            at += part.len();
        }
        let cpu = process::cpu();
        if cpu != self.cpu {
            self.cpu = cpu;
            self.word(self.cpu_word).set(cpu.wrapping_add(1));
        }
        self.lane.commit(claim, len)?;
        Ok(len)
    }

    /// Sends the parts as one message, and a byte when the receiver sleeps.
    #[inline]
    pub fn send(&mut self, parts: &[&[u8]], stream: BorrowedFd<'_>) -> Result<Sent> {
        let bytes = self.put(parts)?;
        let bell = if !lane::rouse(self.word(self.bell)) {
            Bell::NotNeeded
        } else {
            match self.bells.ring(stream) {
                Ok(true) => Bell::Rung,
                Ok(false) => Bell::NoRoom,
                Err(_) => Bell::Broken,
            }
        };
        Ok(Sent { bytes, bell })
    }

    /// Sends the parts as one message to a receiver that sleeps on its bell.
    #[inline]
    pub fn send_to_sleeper(&mut self, parts: &[&[u8]]) -> Result<usize> {
        let sent = self.put(parts)?;
        if lane::rouse(self.word(self.bell)) {
            self.word(self.bell).wake()?;
        }
        Ok(sent)
    }

    /// Bytes that found no room so far.
    pub fn bells(&mut self) -> &mut Outstanding {
        &mut self.bells
    }

    /// How many messages the receiver has not taken.
    pub fn queued(&self) -> u32 {
        self.lane.queued()
    }
}

/// Receives messages of one kind.
pub(super) struct Listener {
    lane: Receiver<Lane>,
    bell: usize,
    peer_cpu: usize,
    spin: Spin,
    glances: Spin,
    doze: Doze,
}

pub(super) use crate::lane::Record;

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
        let Lane { segment, offset, .. } = self.lane.cells();
        Lent { segment: segment.clone(), offset: offset + record.offset(), len: record.len(), peer: *peer }
    }

    /// Lets go of the message.
    #[inline]
    pub fn reclaim(&mut self, record: Record) {
        self.lane.reclaim(record);
    }

    /// Copies the next message into `buffer` and lets go of it. [`Error::BufferTooSmall`] when it does not fit: it stays then.
    #[inline]
    pub fn receive(&mut self, buffer: &mut [u8]) -> Result<Option<usize>> {
        let Some(record) = self.lane.peek()? else {
            return Ok(None);
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

    /// Whether the peer last ran on our processor.
    #[inline]
    fn shares_processor(&self) -> bool {
        self.word(self.peer_cpu).get() == process::cpu().wrapping_add(1)
    }

    /// Looks for a message for a moment, if that is worth while.
    #[inline]
    pub fn linger(&mut self) -> bool {
        let aside = self.shares_processor();
        let lane = &self.lane;
        self.spin.wait_for(aside, || lane.ready())
    }

    /// Looks for one more message for a shorter moment.
    #[inline]
    pub fn glance(&mut self) -> bool {
        let aside = self.shares_processor();
        let lane = &self.lane;
        lane.ready() || self.glances.glance(aside, || lane.ready())
    }

    /// Sleeps on the bell until a message comes, the server closes, or `timeout` is over; false for that.
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
        let aside = self.shares_processor();
        let bell = &self.lane.cells().segment.mapping.head()[self.bell];
        self.spin.wait_for(aside, || bell.observe() == 0)
    }

    /// To be called when nothing is left: arms the bell and takes the bytes that announced what was taken. False when there is
    /// something again, which is announced already.
    pub fn doze_off(&mut self, stream: BorrowedFd<'_>) -> Result<bool> {
        let bell = &self.lane.cells().segment.mapping.head()[self.bell];
        let lane = &self.lane;
        self.doze.doze_off(bell, stream, || lane.ready())
    }

    /// Whether bytes that announced what was taken are still on their way.
    pub fn owes_bytes(&self) -> bool {
        self.doze.asleep && self.doze.due > 0
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

/// What a receiver knows about the bytes that wake it. The stream is readable as long as it is awake, and not longer.
struct Doze {
    asleep: bool,
    /// Bytes that are on the stream or on their way: one for each time that the bell was taken.
    due: u32,
}

impl Default for Doze {
    fn default() -> Self {
        Self { asleep: true, due: 0 }
    }
}

impl Doze {
    fn is_awake(&mut self, bell: &SharedWord) -> bool {
        if self.asleep && bell.observe() == 0 {
            self.asleep = false;
            self.due = self.due.saturating_add(1);
        }
        !self.asleep
    }

    fn doze_off(
        &mut self,
        bell: &SharedWord,
        stream: BorrowedFd<'_>,
        ready: impl FnOnce() -> bool,
    ) -> Result<bool> {
        match lane::arm(bell, ready) {
            Armed::Awake => return Ok(false),
            Armed::Rung => {
                self.due = self.due.saturating_add(1);
                return Ok(false);
            }
            Armed::Asleep => self.asleep = true,
        }
        self.take_due(stream)?;
        Ok(true)
    }

    /// No more than is due: the next byte may be there already, and announces what is to come.
    fn take_due(&mut self, stream: BorrowedFd<'_>) -> Result<()> {
        if self.due > 0 {
            let taken = take(stream, self.due as usize)?;
            self.due -= u32::try_from(taken).unwrap_or(u32::MAX).min(self.due);
        }
        Ok(())
    }

    fn clear(&mut self, bell: &SharedWord, stream: BorrowedFd<'_>) -> Result<()> {
        let waiting = match socket::peek(stream, &mut [0; MOST_STRAYS]) {
            Ok(0) => return Err(Error::Disconnected),
            Ok(n) => n,
            Err(Error::Busy) => 0,
            Err(_) => return Err(Error::Disconnected),
        };
        // A bell is taken before its byte is sent. If it is still armed now, none of the bytes that were there before is its.
        if waiting > 0 && bell.observe() != 0 {
            let taken = take(stream, waiting)?;
            self.due = self.due.saturating_sub(u32::try_from(taken).unwrap_or(u32::MAX));
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    /// What servers of this process have made, for whoever wants to write to it.
    pub(in super::super) static MADE: crate::sync::Mutex<Vec<std::sync::Weak<Segment>>> =
        crate::sync::Mutex::new(Vec::new());

    impl Segment {
        /// Bytes in all.
        pub(in super::super) fn len(&self) -> usize {
            self.mapping.len()
        }

        /// Stores a word anywhere, as a hostile peer could.
        pub(in super::super) fn scribble(&self, offset: usize, value: u32) {
            self.mapping.word(offset).unwrap().set(value);
        }
    }

    struct Ends {
        talker: Talker,
        listener: Listener,
        peer: UnixStream,
        own: UnixStream,
    }

    /// Requests, over a segment that is mapped twice, as by two processes.
    fn ends(max_msg_size: u32) -> Ends {
        let (server, fd) = Segment::make(max_msg_size).unwrap();
        let client = Segment::open(fd.as_fd(), max_msg_size).unwrap();
        let (peer, own) = UnixStream::pair().unwrap();
        own.set_nonblocking(true).unwrap();
        Ends { talker: Talker::requests(&client), listener: Listener::requests(&server), peer, own }
    }

    impl Ends {
        fn send(&mut self, text: &str) {
            let sent = self.talker.send(&[text.as_bytes()], self.peer.as_fd()).unwrap();
            assert_eq!(sent.bytes, text.len());
            assert_ne!(sent.bell, Bell::NoRoom);
        }

        fn take(&mut self) -> Option<String> {
            let mut buffer = [0; 64];
            let n = self.listener.receive(&mut buffer).unwrap()?;
            Some(String::from_utf8(buffer[..n].to_vec()).unwrap())
        }

        fn bytes_waiting(&self) -> usize {
            socket::peek(self.own.as_fd(), &mut [0; 64]).unwrap_or(0)
        }

        fn doze_off(&mut self) -> bool {
            self.listener.doze_off(self.own.as_fd()).unwrap()
        }
    }

    #[test]
    fn a_burst_has_one_byte_and_dozing_off_takes_it() {
        let mut e = ends(1000);
        assert!(!e.listener.is_announced());
        for text in ["a", "b", "c"] {
            e.send(text);
        }
        assert!(e.listener.is_announced());
        assert_eq!(e.bytes_waiting(), 1);
        for text in ["a", "b", "c"] {
            assert_eq!(e.take().as_deref(), Some(text));
        }
        assert_eq!(e.bytes_waiting(), 1, "readable while awake");
        assert!(e.doze_off());
        assert_eq!(e.bytes_waiting(), 0);
        assert!(!e.listener.is_announced());
        e.send("d");
        assert_eq!(e.bytes_waiting(), 1);
    }

    #[test]
    fn dozing_off_with_something_queued_stays_awake_and_readable() {
        let mut e = ends(1000);
        e.send("a");
        assert!(e.listener.is_announced());
        assert!(!e.doze_off());
        assert_eq!(e.take().as_deref(), Some("a"));
        e.send("b");
        assert_eq!(e.bytes_waiting(), 1, "no second byte for a receiver that is awake");
        assert_eq!(e.take().as_deref(), Some("b"));
        assert!(e.doze_off());
        assert_eq!(e.bytes_waiting(), 0);
    }

    #[test]
    fn stray_bytes_are_cleared_and_announcements_are_not() {
        let mut e = ends(1000);
        e.peer.write_all(&[1, 2, 3]).unwrap();
        e.listener.clear(e.own.as_fd()).unwrap();
        assert_eq!(e.bytes_waiting(), 0);
        assert!(!e.listener.is_announced());
        e.peer.write_all(&[1]).unwrap();
        e.send("a");
        e.listener.clear(e.own.as_fd()).unwrap();
        assert_eq!(e.bytes_waiting(), 2, "one of them announces");
        assert!(e.listener.is_announced());
        assert_eq!(e.take().as_deref(), Some("a"));
        assert!(e.doze_off());
        e.listener.clear(e.own.as_fd()).unwrap();
        assert_eq!(e.bytes_waiting(), 0);
        drop(e.peer);
        assert_eq!(e.listener.clear(e.own.as_fd()), Err(Error::Disconnected));
    }

    #[test]
    fn a_byte_that_comes_late_is_owed_and_taken_when_it_is_there() {
        let mut e = ends(1000);
        // A sender that was stopped between taking the bell and sending the byte.
        e.talker.put(&[b"a"]).unwrap();
        assert!(lane::rouse(e.talker.word(REQUEST_BELL)));
        assert!(e.listener.is_announced());
        assert_eq!(e.take().as_deref(), Some("a"));
        assert!(e.doze_off());
        assert!(e.listener.owes_bytes());
        e.peer.write_all(&[0]).unwrap();
        e.send("b");
        e.listener.take_late_bytes(e.own.as_fd()).unwrap();
        assert_eq!(e.bytes_waiting(), 1, "the other one announces");
        assert!(e.listener.is_announced());
        assert!(!e.listener.owes_bytes());
    }

    #[test]
    fn a_message_too_large_for_the_buffer_stays() {
        let mut e = ends(1000);
        e.send("0123456789");
        assert_eq!(e.listener.receive(&mut [0; 9]), Err(Error::BufferTooSmall));
        assert_eq!(e.take().as_deref(), Some("0123456789"));
    }

    #[test]
    fn memory_of_another_size_is_refused() {
        let (_, fd) = Segment::make(1000).unwrap();
        assert_eq!(Segment::open(fd.as_fd(), 100_000).map(|_| ()), Err(Error::Corrupt));
        assert!(Segment::make(u32::MAX).is_err());
    }

    #[test]
    fn a_closed_segment_wakes_a_sleeper() {
        let (server, fd) = Segment::make(1000).unwrap();
        let client = Segment::open(fd.as_fd(), 1000).unwrap();
        let mut responses = Listener::responses(&client);
        let sleeper = std::thread::spawn(move || {
            while !client.is_closed() {
                responses.sleep(Duration::from_secs(30)).unwrap();
            }
        });
        std::thread::sleep(Duration::from_millis(20));
        server.close();
        sleeper.join().unwrap();
    }
}

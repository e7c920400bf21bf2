// SPDX-License-Identifier: LGPL-2.1-or-later
//! The sealed transport: one memfd per connection with three lanes in it, for a service of type shared memory whose client is
//! this library too. Agreed on in the handshake ([`Features::SEALED`]); a peer on the C library never hears of it.
//!
//! The memfd is sealed against shortening before it is sent, has no name, and goes with its last holder: nothing is left after
//! any death, and no access to it can fault. Both sides map it once.
//!
//! `talk` has the sending end of a lane, `listen` the receiving end, `doze` what it knows about the bytes that wake it,
//! `in_place` messages that are written or looked at where they lie.
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

mod doze;
mod in_place;
mod listen;
mod talk;
#[cfg(test)]
pub(in crate::ipc) mod tests;

pub(in crate::ipc) use crate::lane::Record;
pub(in crate::ipc) use in_place::Room;
pub(in crate::ipc) use listen::Listener;
pub(in crate::ipc) use talk::{Bell, Talker};

use crate::lane::{self, Cells};
use crate::rb;
use crate::shm::{Mapping, SharedWord, Trusted};
use crate::sys::memfd;
use crate::sys::mmap::page_size;
use crate::sys::process;
use crate::wire::Features;
use crate::{Error, Result};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::{Arc, OnceLock};

const REQUEST_BELL: usize = 0;
const FLOW_CONTROL: usize = 1;
const CLOSED: usize = 2;
const SERVER_CPU: usize = 3;
const RESPONSE_BELL: usize = 32;
const EVENT_BELL: usize = 33;
const CLIENT_CPU: usize = 34;
const TAILS: [usize; 3] = [64, 96, 128];

/// Which lane.
const REQUESTS: usize = 0;
const RESPONSES: usize = 1;
const EVENTS: usize = 2;

/// What this process offers to servers, and accepts from clients. `LIBQB_SEALED=0` turns the transport off, and so does
/// building with `QB_SEALED=no`.
pub(in crate::ipc) fn features() -> Features {
    static ON: OnceLock<bool> = OnceLock::new();
    let on = *ON.get_or_init(|| {
        let built = option_env!("QB_SEALED").is_none_or(|value| value != "no");
        built && process::variable("LIBQB_SEALED").is_none_or(|value| value != "0")
    });
    if on { Features::SEALED } else { Features::NONE }
}

/// The mapped memory of one connection.
#[derive(Debug)]
pub(in crate::ipc) struct Segment {
    mapping: Mapping,
    /// Bytes of one lane, whole pages.
    lane_bytes: usize,
    /// Where the lanes begin.
    lanes_at: usize,
}

/// How long the memory for messages of that size is: lanes in whole pages behind a page of words. What the C library's ring for
/// that size holds always finds room, also a response that is longer than what was agreed on: a record is padded to 8 bytes and
/// a chunk to 4, which with a header of 16 bytes in each message is a seventh more at most.
pub(in crate::ipc) fn lengths(max_msg_size: u32) -> Result<(usize, usize)> {
    let ring = rb::data_len(max_msg_size as usize)?;
    let lane = lane::bytes_for(ring + ring / 7).or_else(|_| lane::bytes_for(max_msg_size as usize))?;
    let lane = lane.next_multiple_of(page_size());
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
pub(in crate::ipc) struct Lane {
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

/// Where a message lies in a segment, where a peer that is vouched for wrote it; only until the record is reclaimed is it the
/// message.
#[derive(Clone, Copy, Debug)]
pub(in crate::ipc) struct Lent {
    offset: usize,
    len: usize,
    peer: Trusted,
}

impl Lent {
    /// The message, in the segment that it is in.
    #[inline]
    pub fn bytes<'a>(&self, segment: &'a Segment) -> &'a [u8] {
        segment.mapping.lend(self.offset, self.len, &self.peer).unwrap_or(&[])
    }

    /// Its address, for C code, which may write there.
    #[inline]
    pub fn address(&self, segment: &Segment) -> NonNull<u8> {
        let place = segment.mapping.lend_address(self.offset, self.len, &self.peer);
        place.unwrap_or(NonNull::<u64>::dangling().cast())
    }
}

// SPDX-License-Identifier: LGPL-2.1-or-later
//! The sending end of a lane: messages, the receiver's bell, and on which processor this side runs.

use super::{
    CLIENT_CPU, EVENT_BELL, EVENTS, Lane, REQUEST_BELL, REQUESTS, RESPONSE_BELL, RESPONSES, SERVER_CPU,
    Segment,
};
use crate::ipc::doorbell::Outstanding;
use crate::lane::{self, Sender};
use crate::shm::SharedWord;
use crate::sys::process;
use crate::{Error, Result};
use std::os::fd::BorrowedFd;
use std::sync::Arc;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ipc) struct Sent {
    pub bytes: usize,
    pub bell: Bell,
}

/// Whether the receiver was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ipc) enum Bell {
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
pub(in crate::ipc) struct Talker {
    pub(super) lane: Sender<Lane>,
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
    pub(super) fn word(&self, at: usize) -> &SharedWord {
        self.lane.cells().segment.word(at)
    }

    /// Publishes the parts as one message.
    #[inline(always)]
    pub(super) fn put(&mut self, parts: &[&[u8]]) -> Result<usize> {
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
        self.say_where();
        self.lane.commit(claim, len)?;
        Ok(len)
    }

    /// Tells the receiver on which processor we are.
    #[inline(always)]
    pub(super) fn say_where(&mut self) {
        let cpu = process::cpu();
        if cpu != self.cpu {
            self.cpu = cpu;
            self.word(self.cpu_word).set(cpu.wrapping_add(1));
        }
    }

    /// Sends the parts as one message, and a byte when the receiver sleeps.
    #[inline]
    pub fn send(&mut self, parts: &[&[u8]], stream: BorrowedFd<'_>) -> Result<Sent> {
        let bytes = self.put(parts)?;
        Ok(Sent { bytes, bell: self.announce(stream) })
    }

    /// Sends a byte when the receiver sleeps.
    #[inline(always)]
    pub(super) fn announce(&mut self, stream: BorrowedFd<'_>) -> Bell {
        if !lane::rouse(self.word(self.bell)) {
            return Bell::NotNeeded;
        }
        match self.bells.ring(stream) {
            Ok(true) => Bell::Rung,
            Ok(false) => Bell::NoRoom,
            Err(_) => Bell::Broken,
        }
    }

    /// Sends the parts as one message to a receiver that sleeps on its bell. [`Error::Busy`] also for what will never fit, as from a
    /// ring.
    #[inline]
    pub fn send_to_sleeper(&mut self, parts: &[&[u8]]) -> Result<usize> {
        let sent = self.put(parts).map_err(|e| if e == Error::TooBig { Error::Busy } else { e })?;
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

// SPDX-License-Identifier: LGPL-2.1-or-later
//! The bytes on the stream that wake a receiver.

use crate::ipc::doorbell::take;
use crate::lane::{self, Armed};
use crate::shm::SharedWord;
use crate::sys::socket;
use crate::{Error, Result};
use std::os::fd::BorrowedFd;

/// Bytes without a meaning that are taken in one go.
const MOST_STRAYS: usize = 64;

/// What a receiver knows about the bytes that wake it. The stream is readable as long as it is awake, and not longer.
pub(super) struct Doze {
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
    /// Whether bytes that announced what was taken are still on their way.
    pub fn owes_bytes(&self) -> bool {
        self.asleep && self.due > 0
    }

    /// Whether the receiver has not noticed any announcement since it dozed off.
    pub fn is_asleep(&self) -> bool {
        self.asleep
    }

    pub fn is_awake(&mut self, bell: &SharedWord) -> bool {
        if self.asleep && bell.observe() == 0 {
            self.asleep = false;
            self.due = self.due.saturating_add(1);
        }
        !self.asleep
    }

    pub fn doze_off(
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
        lane::step();
        self.take_due(stream)?;
        Ok(true)
    }

    /// No more than is due: the next byte may be there already, and announces what is to come.
    pub fn take_due(&mut self, stream: BorrowedFd<'_>) -> Result<()> {
        if self.due > 0 {
            let taken = take(stream, self.due as usize)?;
            self.due -= u32::try_from(taken).unwrap_or(u32::MAX).min(self.due);
        }
        Ok(())
    }

    pub fn clear(&mut self, bell: &SharedWord, stream: BorrowedFd<'_>) -> Result<()> {
        let waiting = match socket::peek(stream, &mut [0; MOST_STRAYS]) {
            Ok(0) => return Err(Error::Disconnected),
            Ok(n) => n,
            Err(Error::Busy) => 0,
            Err(_) => return Err(Error::Disconnected),
        };
        lane::step();
        // A bell is taken before its byte is sent. If it is still armed now, none of the bytes that were there before is its.
        if waiting > 0 && bell.observe() != 0 {
            let taken = take(stream, waiting)?;
            self.due = self.due.saturating_sub(u32::try_from(taken).unwrap_or(u32::MAX));
        }
        Ok(())
    }
}

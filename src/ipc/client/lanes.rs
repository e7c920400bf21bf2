// SPDX-License-Identifier: LGPL-2.1-or-later
//! Responses and events in sealed memory.

use super::receive::SLICE;
use super::{Client, lock_responses_until};
use crate::ipc::sealed::{Listener, Segment};
use crate::sync::Mutex;
use crate::sys::fd::{Deadline, poll_one};
use crate::{Error, Result};
use std::os::fd::AsFd;
use std::time::Duration;

/// How long an event that was taken waits for the byte that announced it. It is on its way; only a server that was stopped
/// between two instructions makes anybody wait that long.
pub(super) const LATE_BYTE: Duration = Duration::from_millis(1);
/// How often a receive of events looks in vain, at an announcement or at bytes on the stream, before it ends when its time is
/// over.
const VAIN_LOOKS: u32 = 16;

impl Client {
    pub(super) fn recv_from_lane(
        &self,
        segment: &Segment,
        responses: &Mutex<Listener>,
        buffer: &mut [u8],
        ms: i32,
    ) -> Result<usize> {
        // The clock is asked only when the answer is not just coming.
        let mut quick = responses.try_lock();
        if let Some(lane) = quick.as_mut()
            && (lane.ready() || (ms != 0 && lane.linger()))
            && let Some(n) = lane.receive(buffer)?
        {
            return Ok(n);
        }
        let deadline = Deadline::after_ms(ms);
        let mut lane = match quick {
            Some(lane) => lane,
            None => lock_responses_until(responses, deadline)?,
        };
        loop {
            if let Some(n) = lane.receive(buffer)? {
                return Ok(n);
            }
            if segment.is_closed() {
                // A last answer may have come before the end.
                return lane.receive(buffer)?.ok_or(Error::Disconnected);
            }
            if deadline.passed() {
                return Err(self.timed_out());
            }
            self.catch_up_bells();
            lane.sleep(deadline.slice(SLICE))?;
            // Also when it was woken for nothing: signals that come more often than a slice ends must not hide the end.
            if !lane.ready() && self.server_is_gone() {
                return lane.receive(buffer)?.ok_or(Error::Disconnected);
            }
        }
    }

    pub(super) fn event_from_lane(
        &self,
        lane: &mut Listener,
        buffer: &mut [u8],
        deadline: Deadline,
    ) -> Result<usize> {
        self.next_event(lane, deadline, |lane, _| {
            let received = lane.receive(buffer)?;
            if received.is_some() {
                self.after_event(lane, || deadline.slice(LATE_BYTE));
            }
            Ok(received)
        })
    }

    /// Waits for an event and for what `take` makes of it. Events count as there once they are announced, and the stream is
    /// readable as long as one is there. `take` also hears whether the announcement is new: its byte may still be on its way.
    #[inline]
    pub(super) fn next_event<T>(
        &self,
        lane: &mut Listener,
        deadline: Deadline,
        mut take: impl FnMut(&mut Listener, bool) -> Result<Option<T>>,
    ) -> Result<T> {
        let stream = self.stream.as_fd();
        let mut vain = 0_u32;
        loop {
            let was_asleep = lane.is_asleep();
            if lane.is_announced() {
                if let Some(event) = take(lane, was_asleep)? {
                    return Ok(event);
                }
                vain = vain.saturating_add(1);
                let over = vain >= VAIN_LOOKS && deadline.passed();
                if !lane.doze_off(stream)? && !over {
                    continue;
                }
            }
            if !deadline.passed() && lane.linger_for_announcement() {
                continue;
            }
            let readable = self.wait_for_event(deadline)?;
            if readable && !lane.is_announced() {
                lane.clear(stream)?;
            }
            vain = vain.saturating_add(readable.into());
            if deadline.passed() && (!readable || vain >= VAIN_LOOKS) {
                return Err(Error::Busy);
            }
        }
    }

    /// With the last event goes its announcement, which is waited for as long as `patience` says. What goes wrong with the
    /// stream here is for the next receive to find.
    #[inline]
    pub(super) fn after_event(&self, lane: &mut Listener, patience: impl FnOnce() -> Duration) {
        let stream = self.stream.as_fd();
        if !lane.glance() && !matches!(lane.doze_off(stream), Ok(false)) && lane.owes_bytes() {
            let _ = poll_one(stream, libc::POLLIN, Some(patience()));
            let _ = lane.take_late_bytes(stream);
        }
    }
}

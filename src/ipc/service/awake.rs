// SPDX-License-Identifier: LGPL-2.1-or-later
//! How long a service stays with a client that has requests, and requests in sealed memory.
//!
//! A batch is followed by the next as long as requests keep coming, this is the service's only busy client, and the turn has
//! not lasted longer than [`limits::linger_ns`]: between two requests of a busy exchange the service looks into memory instead of
//! going back to the poll loop. After that the stream is left readable if there is more, so that the loop comes back.

use super::connection::{Connection, Requests};
use super::dispatch::Batch;
use crate::ipc::sealed::Listener;
use crate::ipc::spin::Peer;
use crate::sync::Ordering::Relaxed;
use crate::sys::clock::monotonic_ns;
use crate::{Error, Result, limits};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// How long the service may stay with this client.
struct Turn {
    /// On the monotonic clock; None: not at all.
    until: Option<u64>,
    rounds: u32,
}

impl Turn {
    /// Whether time is left. The clock costs about as much as half a round trip: after a lone request it is not asked each time.
    fn has_time(&mut self, many: bool) -> bool {
        const LONE_ROUNDS: u32 = 4;
        self.rounds += 1;
        match self.until {
            None => false,
            Some(_) if !many && !self.rounds.is_multiple_of(LONE_ROUNDS) => true,
            Some(until) => monotonic_ns() < until,
        }
    }
}

/// What to do after a batch.
enum Then {
    /// Take another batch.
    GoOn,
    /// Back to the poll loop.
    Return,
}

impl Connection {
    /// Handles what a client has announced.
    pub(super) fn take_rung(self: &Arc<Self>) -> Result<()> {
        let (announced, lent) = self.with_sealed(|lane, stream| -> Result<(bool, bool)> {
            if !lane.is_announced() {
                lane.clear(stream)?;
            }
            Ok((lane.is_announced(), lane.is_lent()))
        })??;
        if !announced {
            return Ok(());
        }
        if lent {
            // A loop inside the application's function: the dispatch around it knows what is left.
            self.wait_for_outer();
            return Ok(());
        }
        let mut turn = self.turn();
        loop {
            let batch = self.take_batch(0)?;
            if batch.backed_off || self.service.rate().is_off() {
                // Whoever wants a pause gets it; the stream stays readable if there is more.
                return self.with_sealed(|lane, stream| after_batch(lane, stream, false).map(|_| ()))?;
            }
            let in_time = turn.has_time(batch.handled > 1);
            match self.with_sealed(|lane, stream| after_batch(lane, stream, in_time))?? {
                Then::GoOn => {}
                Then::Return => return Ok(()),
            }
        }
    }

    /// Takes a batch from a classic channel, and another one as long as requests keep coming.
    pub(super) fn stay(self: &Arc<Self>, mut take: impl FnMut(&Arc<Self>) -> Result<Batch>) -> Result<()> {
        let mut turn = self.turn();
        loop {
            let batch = take(self)?;
            let pause = batch.handled == 0 || batch.backed_off || self.service.rate().is_off();
            if pause
                || !turn.has_time(batch.handled > 1 || !batch.answered)
                || !self.linger(batch.answered)?
            {
                return Ok(());
            }
        }
    }

    /// Looks for another request in a classic channel. A client that waits for an answer will send again when it has it; where
    /// requests are not answered, only the next one of a stream is worth a glance.
    fn linger(&self, answered: bool) -> Result<bool> {
        match self.open_channels()?.requests.lock().as_mut() {
            Some(Requests::Shm { ring, spin, glances, .. }) => {
                let files = ring.files();
                let there = || files.queued() > 0;
                Ok(if answered {
                    spin.wait_for(Peer::Unknown, there)
                } else {
                    there() || glances.glance(Peer::Unknown, there)
                })
            }
            Some(Requests::Socket(requests)) => Ok(answered && requests.linger()),
            _ => Ok(false),
        }
    }

    fn turn(&self) -> Turn {
        let alone = self.service.last_active.swap(self.id, Relaxed) == self.id;
        Turn { until: alone.then(|| monotonic_ns() + limits::linger_ns()), rounds: 0 }
    }

    pub(super) fn with_sealed<R>(&self, act: impl FnOnce(&mut Listener, BorrowedFd<'_>) -> R) -> Result<R> {
        match self.open_channels()?.requests.lock().as_mut() {
            Some(Requests::Sealed { lane, stream }) => Ok(act(lane, stream.as_fd())),
            _ => Err(Error::Disconnected),
        }
    }
}

fn after_batch(lane: &mut Listener, stream: BorrowedFd<'_>, in_time: bool) -> Result<Then> {
    if in_time && (lane.ready() || lane.linger()) {
        return Ok(Then::GoOn);
    }
    if lane.ready() || lane.doze_off(stream)? || !in_time {
        return Ok(Then::Return);
    }
    Ok(Then::GoOn)
}

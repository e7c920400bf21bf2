// SPDX-License-Identifier: LGPL-2.1-or-later
//! The listening socket, half-open connections and the handshake.
//!
//! A peer that has connected owns nothing of ours but a descriptor until it has sent a whole request with credentials and
//! `accept` has said yes. Half-open connections are limited in number, per user and in time.

use super::super::poll::{Events as PollEvents, Next, READABLE, Watch};
use super::super::sealed;
use super::Service;
use super::connection::Connection;
use super::open::Answer;
use crate::log;
use crate::log::Level;
use crate::sync::{Mutex, Ordering};
use crate::sys::socket::{self, Credentials};
use crate::sys::{rlimit, scm};
use crate::wire::{ConnectRequest, ConnectResponse, Features, Transport};
use crate::{Error, Result, limits};
use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Instant;

/// A peer that has connected but not yet sent its whole request.
pub struct HalfOpen {
    service: Arc<Service>,
    fd: RawFd,
    uid: u32,
    since: Instant,
    progress: Mutex<Option<Progress>>,
}

/// What has arrived of a request.
struct Progress {
    stream: OwnedFd,
    raw: [u8; ConnectRequest::LEN],
    got: usize,
    credentials: Option<Credentials>,
}

impl Progress {
    /// Reads on; true once the request is whole. [`Error::Corrupt`] when the peer has left, and when not all bytes come from
    /// one process: somebody could begin a request and have a privileged program, given the socket as its output, end it.
    fn read(&mut self) -> Result<bool> {
        while self.got < self.raw.len() {
            match scm::recv_with_credentials(self.stream.as_fd(), &mut self.raw[self.got..]) {
                Ok((0, _)) => return Err(Error::Corrupt),
                Ok((n, credentials)) => {
                    if self.got > 0 && self.credentials != credentials {
                        return Err(Error::Corrupt);
                    }
                    self.got += n;
                    self.credentials = credentials;
                }
                Err(Error::Busy) => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }
}

/// Which of the half-open connections of these users, oldest first, makes room for others: the oldest of the user who has
/// most of them, so that one user's crowd does not push out somebody else's only one. Root's go last.
fn who_makes_room(uids: &[u32]) -> Option<usize> {
    let mut of = HashMap::<u32, usize>::new();
    uids.iter().filter(|&&uid| uid != 0).for_each(|&uid| *of.entry(uid).or_default() += 1);
    // `max_by_key` returns the last of equals; from behind that is the oldest.
    (0..uids.len()).rev().max_by_key(|&at| of.get(&uids[at]))
}

/// All half-open connections of a service, oldest first.
#[derive(Default)]
pub(super) struct HalfOpenList(VecDeque<Arc<HalfOpen>>);

impl HalfOpenList {
    /// Takes all out.
    pub fn drain(&mut self) -> VecDeque<Arc<HalfOpen>> {
        std::mem::take(&mut self.0)
    }

    fn remove(&mut self, half: &Arc<HalfOpen>) {
        self.0.retain(|other| !Arc::ptr_eq(other, half));
    }

    /// Takes one out to make room.
    fn evict(&mut self) -> Option<Arc<HalfOpen>> {
        let uids: Vec<u32> = self.0.iter().map(|h| h.uid).collect();
        self.0.remove(who_makes_room(&uids)?)
    }

    /// Takes out whoever has to go so that one more of `uid` has room.
    fn overdue(&mut self, uid: u32) -> Vec<Arc<HalfOpen>> {
        let most = limits::half_open(rlimit::open_files().unwrap_or(u64::MAX));
        let mut gone = Vec::new();
        while self.0.front().is_some_and(|oldest| oldest.since.elapsed() >= limits::HANDSHAKE) {
            gone.extend(self.0.pop_front());
        }
        while self.0.len() >= most {
            gone.extend(self.evict());
        }
        if uid != 0 && self.0.iter().filter(|h| h.uid == uid).count() >= most.min(limits::HALF_OPEN_PER_USER)
        {
            let oldest = self.0.iter().position(|h| h.uid == uid);
            gone.extend(oldest.and_then(|at| self.0.remove(at)));
        }
        gone
    }
}

impl HalfOpen {
    /// Takes the stream back from the poll loop; `None` if somebody was faster.
    fn take(&self, service: &Service) -> Option<Progress> {
        let progress = self.progress.lock().take();
        if progress.is_some() {
            service.stop_watching(self.fd);
        }
        progress
    }

    pub(super) fn close(&self, service: &Service) {
        drop(self.take(service));
    }

    #[inline(never)]
    pub(in super::super) fn dispatch(self: &Arc<Self>, revents: PollEvents) -> Next {
        let read = match self.progress.lock().as_mut() {
            None => return Next::Remove,
            // Data may come together with the hang-up of a client that has left again; then there is nobody to serve.
            Some(_) if revents & i32::from(libc::POLLNVAL) != 0 => Err(Error::Disconnected),
            Some(progress) => progress.read(),
        };
        if read == Ok(false) {
            return Next::Keep;
        }
        self.service.half_open.lock().remove(self);
        if let (Some(progress), Ok(true)) = (self.take(&self.service), read) {
            self.service.admit(progress);
        }
        Next::Remove
    }
}

impl Service {
    /// Takes one waiting connection.
    #[inline(never)]
    pub(in super::super) fn dispatch_listener(self: &Arc<Self>, _revents: PollEvents) -> Next {
        let Some(listener) = self.listener_socket() else {
            return Next::Remove;
        };
        match socket::accept(listener.as_fd()) {
            Ok(stream) => {
                self.begin(stream);
                self.take_back_spare();
            }
            Err(Error::Os(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS)) => {
                self.refuse_one(&listener);
            }
            Err(Error::Busy) => {}
            Err(e) => log!(Level::Error, "service {}: accept: {e}", self.shown()),
        }
        Next::Keep
    }

    /// No descriptor is left: makes room by closing the oldest half-open connection, or takes the waiting connection with
    /// the spare descriptor and closes it, so that the listening socket does not stay readable for ever. Whoever takes even
    /// that one (another thread, a lower limit) must not make the loop a busy one.
    fn refuse_one(self: &Arc<Self>, listener: &OwnedFd) {
        let oldest = self.half_open.lock().evict();
        if let Some(oldest) = oldest {
            oldest.close(self);
            if let Ok(stream) = socket::accept(listener.as_fd()) {
                self.begin(stream);
            }
            return;
        }
        let refused = self.give_up_spare() && socket::accept(listener.as_fd()).is_ok();
        self.take_back_spare();
        log!(Level::Error, "service {}: no descriptor left for a new connection", self.shown());
        if !refused {
            std::thread::sleep(limits::NO_DESCRIPTOR);
        }
    }

    /// A new stream: usually the request is there already.
    fn begin(self: &Arc<Self>, stream: OwnedFd) {
        let mut progress = Progress { stream, raw: [0; ConnectRequest::LEN], got: 0, credentials: None };
        match progress.read() {
            Ok(true) => self.admit(progress),
            Ok(false) => self.wait_for_request(progress),
            Err(_) => {}
        }
    }

    fn wait_for_request(self: &Arc<Self>, progress: Progress) {
        let uid = socket::peer_credentials(progress.stream.as_fd()).map_or(u32::MAX, |c| c.uid);
        let fd = progress.stream.as_raw_fd();
        let half = Arc::new(HalfOpen {
            service: self.clone(),
            fd,
            uid,
            since: Instant::now(),
            progress: Mutex::new(Some(progress)),
        });
        let overdue = {
            let mut list = self.half_open.lock();
            let overdue = list.overdue(uid);
            list.0.push_back(half.clone());
            overdue
        };
        overdue.iter().for_each(|h| h.close(self));
        let added =
            self.poller().and_then(|p| p.add(self.priority(), fd, READABLE, Watch::HalfOpen(half.clone())));
        if added.is_err() {
            self.half_open.lock().remove(&half);
            half.progress.lock().take();
        }
    }

    /// The request is whole: asks the application, makes the channels, answers.
    fn admit(self: &Arc<Self>, progress: Progress) {
        let Progress { stream, raw, credentials, .. } = progress;
        let (Ok(request), Some(peer)) = (ConnectRequest::decode(&raw), credentials) else {
            log!(Level::Warning, "service {}: a client sent no proper request", self.shown());
            return;
        };
        let sealed = request.offer.has(Features::SEALED)
            && sealed::features().has(Features::SEALED)
            && self.transport == Ok(Transport::SharedMemory);
        // Nothing but the handshake is sent with credentials on the sealed path; there is no need to tell the kernel.
        if !sealed && socket::want_credentials(stream.as_fd(), false).is_err() {
            return;
        }
        let stream = Arc::new(stream);
        let enforced = self.enforced_size.load(Ordering::Relaxed);
        let size = request.max_msg_size.max(enforced);
        if size > enforced && size > limits::max_msg_size() {
            // The application never hears of it: `destroyed` without `accept` would be new to it.
            self.refuse(&stream, -libc::EMSGSIZE);
            return;
        }
        let connection = Connection::new(self, peer, size);
        let outcome = self.handler.accept(&connection, &peer);
        let opened = outcome.and_then(|()| self.open(&connection, &stream, sealed).map_err(|e| -e.errno()));
        match opened {
            Ok(answer) => connection.answer_and_start(&stream, &answer),
            Err(error) => {
                self.refuse(&stream, error);
                connection.abandon();
            }
        }
    }

    /// Tells a client no. That is a negative errno on the wire, whatever sign the application used.
    pub(super) fn refuse(&self, stream: &OwnedFd, error: i32) {
        let transport = self.transport.unwrap_or(Transport::Socket);
        let refusal = ConnectResponse::refusal(-error.saturating_abs(), transport);
        let _ = socket::send(stream.as_fd(), &refusal.encode());
    }

    /// Makes the channels of a client that was let in. When no descriptor is left for them, half-open connections, which
    /// have not even said what they want, make room.
    fn open(&self, connection: &Arc<Connection>, stream: &Arc<OwnedFd>, sealed: bool) -> Result<Answer> {
        const AT_A_TIME: usize = 4;
        loop {
            match connection.open(stream, sealed) {
                Err(Error::Os(libc::EMFILE | libc::ENFILE)) if connection.channels.get().is_none() => {
                    let oldest: Vec<_> = {
                        let mut list = self.half_open.lock();
                        (0..AT_A_TIME).map_while(|_| list.evict()).collect()
                    };
                    if oldest.is_empty() {
                        return Err(Error::Os(libc::EMFILE));
                    }
                    oldest.iter().for_each(|half| half.close(self));
                }
                result => return result,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::who_makes_room;

    #[test]
    fn a_crowd_makes_room_before_anybody_else() {
        assert_eq!(who_makes_room(&[]), None);
        assert_eq!(who_makes_room(&[7]), Some(0));
        assert_eq!(who_makes_room(&[5, 7, 7]), Some(1));
        assert_eq!(who_makes_room(&[7, 5, 5, 7, 5]), Some(1));
        assert_eq!(who_makes_room(&[5, 7, 5, 7]), Some(0), "the oldest of equals");
        assert_eq!(who_makes_room(&[0, 0, 0, 7]), Some(3), "root's go last");
        assert_eq!(who_makes_room(&[0, 0]), Some(0));
    }
}

// SPDX-License-Identifier: LGPL-2.1-or-later
//! The handshake, as the client speaks it: in one go, or in two steps with a poll in between.

use super::Client;
use crate::ipc::{rendezvous, sealed};
use crate::sys::fd::{Deadline, poll_one};
use crate::sys::scm::{self, Received};
use crate::sys::socket::{self, Credentials};
use crate::wire::{ConnectRequest, ConnectResponse, Features};
use crate::{Error, Result, limits};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// Longest service name for which every name made from it has room.
const NAME_MAX: usize = 255 - 20;

/// A connection whose request is sent and whose answer is awaited.
pub struct Connecting {
    name: Vec<u8>,
    asked: u32,
    stream: OwnedFd,
    deadline: Deadline,
    raw: Vec<u8>,
    got: usize,
    server: Option<Credentials>,
    memory: Option<OwnedFd>,
    offer: Features,
    /// There was no descriptor left for what the server sent.
    cut: bool,
}

impl Connecting {
    /// Connects to the service's socket and sends the request. With `patient`, a service whose queue of connections is
    /// full is waited for; otherwise that is [`Error::Busy`].
    pub fn start(name: impl AsRef<[u8]>, max_msg_size: usize, patient: bool) -> Result<Self> {
        Self::start_with(name, max_msg_size, patient, sealed::features())
    }

    /// The same, with an offer of the caller's.
    pub(in super::super) fn start_with(
        name: impl AsRef<[u8]>,
        max_msg_size: usize,
        patient: bool,
        offer: Features,
    ) -> Result<Self> {
        let name = name.as_ref();
        if name.len() > NAME_MAX {
            return Err(Error::Invalid);
        }
        let asked = u32::try_from(max_msg_size).map_err(|_| Error::Invalid)?;
        Self::start_until(name.to_owned(), asked, patient, offer, Deadline::after(limits::connect_timeout()))
    }

    fn start_until(
        name: Vec<u8>,
        asked: u32,
        patient: bool,
        offer: Features,
        deadline: Deadline,
    ) -> Result<Self> {
        let address = rendezvous::stream_address(&name);
        let stream = socket::stream()?;
        while let Err(e) = socket::connect(stream.as_fd(), &address) {
            if e != Error::Busy || !patient {
                return Err(e);
            }
            if deadline.passed() {
                return Err(Error::TimedOut);
            }
            // The kernel has no event for room in a listener's queue.
            std::thread::sleep(Duration::from_millis(1));
        }
        socket::want_credentials(stream.as_fd(), true)?;
        let request = ConnectRequest { max_msg_size: asked.max(ConnectResponse::LEN as u32), offer };
        // 24 bytes always fit into a fresh socket.
        if socket::send(stream.as_fd(), &request.encode())? != ConnectRequest::LEN {
            return Err(Error::Disconnected);
        }
        Ok(Self {
            name,
            asked,
            stream,
            deadline,
            raw: vec![0; ConnectResponse::LEN],
            got: 0,
            server: None,
            memory: None,
            offer,
            cut: false,
        })
    }

    /// The descriptor that becomes readable when the answer is there.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// The number of [`Connecting::fd`].
    #[must_use]
    pub fn raw_fd(&self) -> i32 {
        self.stream.as_raw_fd()
    }

    /// Waits for the rest of the answer and opens the channels. The service's own error when it refused. A server whose
    /// user has too many descriptors under way cannot send one more; it is asked again for what does without.
    pub fn finish(mut self) -> Result<Client> {
        self.read_answer(true)?;
        self.open()
    }

    /// The same for callers that have polled: [`Error::Busy`] when nothing of the answer is there.
    pub fn finish_now(mut self) -> Result<Client> {
        self.read_answer(false)?;
        self.open()
    }

    fn open(self) -> Result<Client> {
        // An answer without credentials comes from no server of the protocol.
        let server = self.server.ok_or(Error::Corrupt)?;
        let answer = ConnectResponse::decode(&self.raw[..self.got])?;
        if answer.error.saturating_abs() == libc::ETOOMANYREFS && self.offer.has(Features::SEALED) {
            let Self { name, asked, deadline, stream, .. } = self;
            drop(stream);
            return Self::start_until(name, asked, true, Features::NONE, deadline)?.finish();
        }
        if answer.error != 0 {
            return Err(Error::Os(answer.error.saturating_abs()));
        }
        if !self.offer.has(answer.accepted) {
            return Err(Error::Corrupt);
        }
        // On the sealed path only single bytes follow, which nobody asks for their sender.
        if answer.accepted == Features::NONE {
            socket::want_credentials(self.stream.as_fd(), false)?;
        }
        if answer.accepted.has(Features::SEALED) && self.memory.is_none() && self.cut {
            return Err(Error::Os(libc::EMFILE));
        }
        Client::open(self.stream, server, &answer, self.memory)
    }

    /// Waits for the begin of the answer only if it is `patient`, for the rest of it in any case.
    fn read_answer(&mut self, patient: bool) -> Result<()> {
        while self.got < ConnectResponse::len_of(&self.raw[..self.got]) {
            match scm::recv_with_descriptor(self.stream.as_fd(), &mut self.raw[self.got..]) {
                Ok(Received { bytes: 0, .. }) | Err(Error::Os(libc::ECONNRESET)) => {
                    return Err(Error::Disconnected);
                }
                Ok(Received { bytes, credentials, fd, cut }) => {
                    // One process answers, or nobody knows who did.
                    if self.got > 0 && self.server != credentials {
                        return Err(Error::Corrupt);
                    }
                    self.got += bytes;
                    self.server = credentials;
                    self.memory = self.memory.take().or(fd);
                    self.cut |= cut;
                }
                Err(Error::Busy) => {
                    if self.got == 0 && !patient {
                        return Err(Error::Busy);
                    }
                    if self.deadline.passed() {
                        return Err(Error::TimedOut);
                    }
                    poll_one(self.stream.as_fd(), libc::POLLIN, self.deadline.left())?;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

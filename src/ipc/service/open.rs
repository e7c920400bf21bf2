// SPDX-License-Identifier: LGPL-2.1-or-later
//! A client that was let in: its channels are made, and it is told.

use super::super::dgram::ServerSockets;
use super::super::doorbell::{Balance, Outstanding};
use super::super::poll::{Events as PollEvents, Priority, READABLE, Watch};
use super::super::sealed::{Listener, Segment, Talker};
use super::super::shm::{ConnectionDir, ServerRings};
use super::super::spin::Spin;
use super::RateLimit;
use super::connection::{Channels, Common, Connection, Events, Requests, Responses, Shared};
use crate::rb::{Consumer, Producer};
use crate::sync::{Mutex, Ordering, fence};
use crate::sys::socket;
use crate::sys::{process, scm};
use crate::wire::{ConnectResponse, DirectoryName, Features, Transport};
use crate::{Error, Result};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

/// What a client that was let in is told, and the descriptor that goes with it.
pub(super) struct Answer {
    response: ConnectResponse,
    fd: Option<OwnedFd>,
    /// The limit by which the poll loop was told what to watch for.
    told: RateLimit,
}

impl Answer {
    fn send(&self, stream: BorrowedFd<'_>) -> Result<()> {
        let bytes = self.response.encode();
        let sent = match &self.fd {
            Some(fd) => scm::send_with_descriptor(stream, &bytes, fd.as_fd()),
            None => socket::send(stream, &bytes),
        };
        if sent? == bytes.len() { Ok(()) } else { Err(Error::Disconnected) }
    }
}

/// What messages travel through, once it is made.
struct Made {
    requests: Requests,
    responses: Responses,
    events: Events,
    shared: Shared,
    /// The descriptor that tells of requests where it is not the stream.
    request_fd: Option<RawFd>,
}

impl Made {
    fn into_channels(self, stream: &Arc<OwnedFd>) -> Channels {
        Channels {
            sealed: matches!(self.requests, Requests::Sealed { .. }),
            stream_fd: stream.as_raw_fd(),
            watched: Mutex::default(),
            retry: Mutex::default(),
            requests: Mutex::new(Some(self.requests)),
            responses: Mutex::new(Some(self.responses)),
            events: Mutex::new(Some(self.events)),
            common: Mutex::new(Some(Common {
                shared: self.shared,
                stream: stream.clone(),
                owner_pid: process::pid(),
            })),
            request_fd: self.request_fd,
        }
    }
}

/// The channels of a client that is this library too.
fn sealed(segment: Arc<Segment>, stream: &Arc<OwnedFd>) -> Made {
    Made {
        requests: Requests::Sealed { lane: Listener::requests(&segment), stream: stream.clone() },
        responses: Responses::Sealed(Talker::responses(&segment)),
        events: Events::Sealed { lane: Talker::events(&segment), stream: stream.clone() },
        shared: Shared::Sealed(segment),
        request_fd: None,
    }
}

impl Connection {
    /// Makes the channels, and returns the answer that names them.
    pub(super) fn open(self: &Arc<Self>, stream: &Arc<OwnedFd>, is_sealed: bool) -> Result<Answer> {
        let transport = self.service.transport?;
        // Also where no file is made: what a client sees does not depend on the kind of its memory.
        self.service.ensure_name_without_slash()?;
        let mut answer = ConnectResponse::refusal(0, transport);
        answer.max_msg_size = self.max_msg_size;
        answer.token = i64::try_from(self.id).unwrap_or(0);
        let (made, fd) = if let Some((segment, fd)) = self.memory(stream, is_sealed)? {
            answer.accepted = Features::SEALED;
            (sealed(segment, stream), Some(fd))
        } else {
            (self.classic(stream, transport, &mut answer)?, None)
        };
        self.service.counters.active.fetch_add(1, Ordering::Relaxed);
        let channels = self.channels.get_or_init(|| made.into_channels(stream));
        let told = self.service.rate();
        let (priority, interest) = (told.priority(), told.interest());
        if let Some(fd) = channels.request_fd {
            self.watch(channels, fd, (priority, interest), Watch::Requests(self.clone()))?;
            self.watch(channels, channels.stream_fd, (priority, READABLE), Watch::Stream(self.clone()))?;
        } else {
            self.watch(channels, channels.stream_fd, (priority, interest), Watch::Stream(self.clone()))?;
        }
        Ok(Answer { response: answer, fd, told })
    }

    /// Sealed memory, if that is wanted and the system gives us any: a sandbox or an administrator may forbid it. An error when
    /// descriptors have run out; the classic transport would need more of them.
    fn memory(&self, stream: &OwnedFd, wanted: bool) -> Result<Option<(Arc<Segment>, OwnedFd)>> {
        if !wanted {
            return Ok(None);
        }
        match Segment::make(self.max_msg_size) {
            Ok(made) => Ok(Some(made)),
            Err(e @ Error::Os(libc::EMFILE | libc::ENFILE)) => Err(e),
            Err(_) => socket::want_credentials(stream.as_fd(), false).map(|()| None),
        }
    }

    /// The channels that any client can use; fills in their names.
    fn classic(
        &self,
        stream: &Arc<OwnedFd>,
        transport: Transport,
        answer: &mut ConnectResponse,
    ) -> Result<Made> {
        let auth = *self.auth.lock();
        let name =
            DirectoryName { server_pid: process::pid(), client_pid: self.peer.pid, fd: stream.as_raw_fd() };
        let dir = ConnectionDir::make(&name, &self.peer, &auth)?;
        let service = self.service.name();
        Ok(match transport {
            Transport::SharedMemory => {
                let rings = ServerRings::make(&dir, service, self.max_msg_size, &auth, answer)?;
                Made {
                    requests: Requests::Shm {
                        ring: Consumer::new(rings.request.clone()),
                        bells: Balance::default(),
                        spin: Spin::default(),
                        glances: Spin::default(),
                        stream: stream.clone(),
                    },
                    responses: Responses::Shm(Producer::new(rings.response.clone())),
                    events: Events::Shm {
                        ring: Producer::new(rings.event.clone()),
                        bells: Outstanding::default(),
                        stream: stream.clone(),
                    },
                    shared: Shared::Rings(rings, dir),
                    request_fd: None,
                }
            }
            Transport::Socket => {
                let made = ServerSockets::make(&dir, service, self.max_msg_size, &auth, answer)?;
                Made {
                    request_fd: Some(made.requests.fd().as_raw_fd()),
                    requests: Requests::Socket(made.requests),
                    responses: Responses::Socket(made.responses),
                    events: Events::Socket(made.events),
                    shared: Shared::Control(made.control, dir),
                }
            }
        })
    }

    fn watch(
        &self,
        channels: &Channels,
        fd: RawFd,
        (priority, events): (Priority, PollEvents),
        watch: Watch,
    ) -> Result<()> {
        self.service.poller()?.add(priority, fd, events, watch)?;
        channels.watched.lock().push(fd);
        Ok(())
    }

    /// Tells the client, then the application.
    pub(super) fn answer_and_start(self: &Arc<Self>, stream: &OwnedFd, answer: &Answer) {
        // Whoever changes the limit from now on finds the connection.
        self.service.connections.lock().insert(self.id, self.clone());
        self.tell_flow_control();
        // A fresh socket has room for the whole answer; a client that made it otherwise is not worth waiting for.
        let sent = answer.send(stream.as_fd());
        if let Err(Error::Os(libc::ETOOMANYREFS)) = sent {
            // Descriptors of our user that nobody has received yet: this client hears why, at least.
            self.service.refuse(stream, libc::ETOOMANYREFS);
        }
        if sent.is_err() || !self.state.opened() {
            self.abandon();
            return;
        }
        // Whoever changed the limit since the poll loop was told passed over a connection that was not open: either they see by
        // now that it is, or we see theirs (`Service::set_rate_limit` has the other fence).
        fence(Ordering::SeqCst);
        if !self.service.rate().is_watched_like(answer.told) {
            self.change_interest();
        }
        self.run_created();
    }
}

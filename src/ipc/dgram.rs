// SPDX-License-Identifier: LGPL-2.1-or-later
//! The classic socket transport: one datagram per message, and a small shared file that counts datagrams in flight.
//!
//! | side | bound to | connected to |
//! |---|---|---|
//! | server, requests and responses | `BASE-request` | `BASE-response`, once the client has spoken |
//! | client, requests and responses | `BASE-response` | `BASE-request` |
//! | server, events | `BASE-event-tx` | `BASE-event`, once it exists |
//! | client, events | `BASE-event` | `BASE-event-tx` |
//!
//! The names are paths in the connection's directory, but always abstract, also where services listen on socket files.
//!
//! Control file: three records of `{i32 sent; i32 flow_control}` for request, response, event. All words are hints: a peer
//! that stores nonsense there confuses a queue length, nothing else. A datagram counts only if it comes from the address
//! above; the kernel enforces that once a socket is connected, and we compare addresses before.

use super::shm::{ConnectionDir, open_directory, owners, tolerate_eperm};
use super::spin::{Peer, Spin};
use crate::limits;
use crate::shm::Mapping;
use crate::sync::{AtomicBool, Ordering::Relaxed};
use crate::sys::dir::{self, Dir, FileId};
use crate::sys::socket::{self, Address, Credentials};
use crate::{Error, Result};
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::service::Auth;
use crate::wire::ConnectResponse;

/// Length of the control file.
const CONTROL_LEN: usize = 24;

/// Which record of the control file.
#[derive(Clone, Copy)]
pub(super) enum Record {
    Request = 0,
    Response = 8,
    Event = 16,
}

/// The control file of one connection.
pub(super) struct Control {
    pages: Mapping,
    name: Vec<u8>,
    id: FileId,
}

impl Control {
    /// Makes the file in the connection's directory.
    fn make(dir: &ConnectionDir, service: &[u8], auth: &Auth) -> Result<Self> {
        let name = [b"qb-control-", service].concat();
        let fd = dir.dir.create_file(&name, 0o600)?;
        let id = dir::fstat(fd.as_fd())?.id;
        let set_up = || -> Result<Mapping> {
            dir::truncate(fd.as_fd(), CONTROL_LEN as u64)?;
            dir::fallocate(fd.as_fd(), CONTROL_LEN as u64)?;
            tolerate_eperm(dir::fchown(fd.as_fd(), auth.uid, auth.gid))?;
            dir::fchmod(fd.as_fd(), auth.mode)?;
            Mapping::map(fd.as_fd(), CONTROL_LEN)
        };
        match set_up() {
            Ok(pages) => Ok(Self { pages, name, id }),
            Err(e) => {
                let _ = dir.dir.unlink_same(&name, &id);
                Err(e)
            }
        }
    }

    /// Opens the file that the server named, if it is one that a server makes for us.
    fn open(path: &[u8], server: &Credentials) -> Result<(Self, Dir)> {
        let (dir, name) = open_directory(path, server)?;
        let fd = dir.open_file(name)?;
        let stat = dir::fstat(fd.as_fd())?;
        if !stat.is_file()
            || stat.nlink != 1
            || stat.len != CONTROL_LEN as u64
            || !dir::acceptable(&owners(server), stat.uid)
        {
            return Err(Error::Corrupt);
        }
        let control =
            Self { pages: Mapping::map(fd.as_fd(), CONTROL_LEN)?, name: name.to_owned(), id: stat.id };
        Ok((control, dir))
    }

    /// Datagrams in flight, as the two sides say; never negative.
    pub fn queued(&self, record: Record) -> u32 {
        self.pages.word(record as usize).map_or(0, |word| word.observe().cast_signed().max(0).cast_unsigned())
    }

    fn add(&self, record: Record, n: u32) {
        if let Some(word) = self.pages.word(record as usize) {
            word.fetch_add(n);
        }
    }

    /// Flow control as the server set it.
    pub fn flow_control(&self) -> u32 {
        self.pages.word(4).map_or(0, crate::shm::SharedWord::observe)
    }

    /// Sets flow control for the client to see.
    pub fn set_flow_control(&self, state: u32) {
        if let Some(word) = self.pages.word(4) {
            word.publish(state);
        }
    }

    /// Whether the file was cut off under us.
    pub fn is_dead(&self) -> bool {
        self.pages.is_dead()
    }

    /// Removes the file, if it is still the one that was made.
    pub fn unlink(&self, dir: &ConnectionDir) {
        if dir.is_ours() {
            let _ = dir.dir.unlink_same(&self.name, &self.id);
        }
    }
}

/// Turns a failed send into what the caller of a channel may see.
fn send_error(e: Error) -> Error {
    match e {
        Error::Os(libc::ENOBUFS) => Error::Busy,
        Error::Os(libc::EMSGSIZE) => Error::TooBig,
        Error::Os(libc::ENOTCONN) => Error::Disconnected,
        e => e,
    }
}

/// A datagram socket with its control record for each direction. Reading and writing are independent of each other.
#[derive(Clone)]
pub(super) struct Channel {
    socket: Arc<OwnedFd>,
    control: Arc<Control>,
    sends: Record,
    receives: Record,
}

impl Channel {
    fn new(socket: &Arc<OwnedFd>, control: &Arc<Control>, sends: Record, receives: Record) -> Self {
        Self { socket: socket.clone(), control: control.clone(), sends, receives }
    }

    /// The socket, for polling.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The control file.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Messages on their way to us, as a hint.
    pub fn incoming(&self) -> u32 {
        self.control.queued(self.receives)
    }

    /// Sends the parts as one message.
    pub fn send(&self, parts: &[&[u8]]) -> Result<usize> {
        let sent = socket::send_parts(self.fd(), parts).map_err(send_error)?;
        self.control.add(self.sends, 1);
        Ok(sent)
    }

    /// Takes the next message; returns its true length, which may exceed the buffer's.
    pub fn recv(&self, buffer: &mut [u8]) -> Result<usize> {
        let n = socket::recv(self.fd(), buffer)?;
        self.control.add(self.receives, 1_u32.wrapping_neg());
        Ok(n)
    }
}

/// What sending to a client says that has closed its socket.
const GONE: Error = Error::Os(libc::ECONNREFUSED);

/// A socket of the server, and the socket of the client that it talks to, which the client makes in its own time.
#[derive(Clone)]
struct Line {
    channel: Channel,
    client: Address,
    connected: Arc<AtomicBool>,
    /// The client has sent something: all its sockets exist, or did.
    spoken: Arc<AtomicBool>,
}

impl Line {
    fn new(
        socket: OwnedFd,
        control: &Arc<Control>,
        sends: Record,
        receives: Record,
        client: Address,
        spoken: &Arc<AtomicBool>,
    ) -> Self {
        let channel = Channel { socket: Arc::new(socket), control: control.clone(), sends, receives };
        Self { channel, client, connected: Arc::default(), spoken: spoken.clone() }
    }

    fn is_connected(&self) -> bool {
        self.connected.load(Relaxed)
    }

    /// Connects to the client's socket; false while that does not exist, `ECONNREFUSED` when it does not any more.
    fn connect(&self) -> Result<bool> {
        if self.is_connected() {
            return Ok(true);
        }
        match socket::connect(self.channel.fd(), &self.client) {
            Ok(()) => {
                self.connected.store(true, Relaxed);
                Ok(true)
            }
            Err(Error::Os(libc::ECONNREFUSED | libc::ENOENT)) if self.spoken.load(Relaxed) => Err(GONE),
            Err(Error::Os(libc::ECONNREFUSED | libc::ENOENT)) => Ok(false),
            Err(e) => Err(send_error(e)),
        }
    }

    /// Sends the parts as one message. The kernel undoes the connection when it finds that the client's socket is closed, and then
    /// says so: to the application that is one thing.
    fn send(&self, parts: &[&[u8]]) -> Result<usize> {
        self.channel.send(parts).map_err(|e| if e == Error::Disconnected { GONE } else { e })
    }
}

/// Requests, on the server's side.
///
/// Until the socket is connected anybody may send to it, and connecting leaves in the queue what is there. So the source
/// of every datagram is looked at until the queue was seen empty once after that.
pub(super) struct ServerRequests {
    line: Line,
    /// Only the client's datagrams can be in the queue.
    clean: bool,
    spin: Spin,
}

impl ServerRequests {
    /// The socket they come in on.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.line.channel.fd()
    }

    /// Messages in flight, as a hint.
    pub fn queued(&self) -> u32 {
        self.line.channel.incoming()
    }

    /// Looks for a message for a moment, if that is worth while.
    pub fn linger(&mut self) -> bool {
        let channel = &self.line.channel;
        self.spin.wait_for(Peer::Unknown, || channel.incoming() > 0)
    }

    /// Takes the next request; [`Error::Busy`] when there is none, and for a stranger's datagram, which is dropped. The
    /// first one tells that the client has made its socket, and connects ours to it. What a client sent that has left already
    /// counts all the same.
    pub fn recv(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let Line { channel, client, .. } = &self.line;
        if self.clean {
            return channel.recv(buffer);
        }
        let (n, from) = socket::recv_from(channel.fd(), buffer)?;
        if from != *client {
            return Err(Error::Busy);
        }
        channel.control.add(Record::Request, 1_u32.wrapping_neg());
        self.line.spoken.store(true, Relaxed);
        match self.line.connect() {
            Ok(connected) => {
                self.clean = connected && socket::peek(channel.fd(), &mut [0]) == Err(Error::Busy);
            }
            Err(GONE) => {}
            Err(e) => return Err(e),
        }
        Ok(n)
    }
}

/// Responses or events, on the server's side. Until the client has made its socket they are kept, within limits.
pub(super) struct Outbox {
    line: Line,
    kept: VecDeque<Vec<u8>>,
}

/// What became of kept messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// Nothing is left.
    Nothing,
    /// Some wait for room: the client reads slowly.
    Room,
    /// Some wait for the client's socket.
    Socket,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// It is on its way.
    Out(usize),
    /// It waits for the client's socket; call [`Outbox::flush`] soon.
    Kept(usize),
}

impl Outbox {
    fn new(line: Line) -> Self {
        Self { line, kept: VecDeque::new() }
    }

    /// Sends one message, or keeps it while the client's socket does not exist.
    pub fn send(&mut self, parts: &[&[u8]]) -> Result<Sent> {
        match self.flush()? {
            Kept::Nothing => return self.line.send(parts).map(Sent::Out),
            Kept::Socket if self.kept.len() < limits::PENDING_EVENTS => {}
            _ => return Err(Error::Busy),
        }
        let whole = parts.concat();
        let len = whole.len();
        self.kept.push_back(whole);
        Ok(Sent::Kept(len))
    }

    /// Sends what was kept, as far as that is possible now.
    pub fn flush(&mut self) -> Result<Kept> {
        if !self.line.connect()? {
            return Ok(Kept::Socket);
        }
        while let Some(message) = self.kept.front() {
            match self.line.send(&[message]) {
                Ok(_) => drop(self.kept.pop_front()),
                Err(Error::Busy) => return Ok(Kept::Room),
                Err(e) => return Err(e),
            }
        }
        Ok(Kept::Nothing)
    }

    /// The same, for a timer: without kept messages nothing is tried.
    pub fn flush_kept(&mut self) -> Result<Kept> {
        if self.kept.is_empty() { Ok(Kept::Nothing) } else { self.flush() }
    }

    /// Messages that the client has not taken yet.
    pub fn queued(&self) -> u32 {
        let kept = u32::try_from(self.kept.len()).unwrap_or(u32::MAX);
        self.line.channel.control.queued(self.line.channel.sends).saturating_add(kept)
    }
}

/// Everything the server has for one connection.
pub(super) struct ServerSockets {
    pub requests: ServerRequests,
    pub responses: Outbox,
    pub events: Outbox,
    pub control: Arc<Control>,
}

impl ServerSockets {
    /// Makes control file and sockets, and fills in their names for the client.
    pub fn make(
        dir: &ConnectionDir,
        service: &[u8],
        max_msg_size: u32,
        auth: &Auth,
        answer: &mut ConnectResponse,
    ) -> Result<Self> {
        let base = dir.path_of(service);
        let address = |end: &str| Address::abstract_name(&[base.as_slice(), b"-", end.as_bytes()].concat());
        let control = Arc::new(Control::make(dir, service, auth)?);
        let set_up = || -> Result<(OwnedFd, OwnedFd)> {
            let bound = |end: &str| -> Result<OwnedFd> {
                let fd = socket::datagram(max_msg_size as usize)?;
                socket::bind(fd.as_fd(), &address(end))?;
                Ok(fd)
            };
            Ok((bound("request")?, bound("event-tx")?))
        };
        let (request, event) = match set_up() {
            Ok(pair) => pair,
            Err(e) => {
                control.unlink(dir);
                return Err(e);
            }
        };
        answer.request = dir.path_of(&[b"control-", service].concat());
        let line = |socket, sends, receives, end: &str, spoken: &Arc<AtomicBool>| {
            Line::new(socket, &control, sends, receives, address(end), spoken)
        };
        let spoken = Arc::default();
        let requests = line(request, Record::Response, Record::Request, "response", &spoken);
        let events = line(event, Record::Event, Record::Event, "event", &spoken);
        answer.response = base;
        let responses = Outbox::new(requests.clone());
        Ok(Self {
            requests: ServerRequests { line: requests, clean: false, spin: Spin::default() },
            responses,
            events: Outbox::new(events),
            control,
        })
    }
}

/// Everything the client has for one connection.
pub(super) struct ClientSockets {
    /// Requests out, responses in.
    pub requests: Channel,
    /// Events in.
    pub events: Channel,
    /// Where the control file is.
    pub dir: Dir,
}

/// Whether the server's control file is still where the server put it.
pub(super) fn control_file_is_there(channel: &Channel, dir: &Dir) -> bool {
    dir.stat(&channel.control.name).is_ok_and(|stat| stat.id == channel.control.id)
}

/// Removes what the server left behind when it died: the file that was verified when it was opened.
pub(super) fn remove_leftovers(channel: &Channel, dir: &Dir) {
    let _ = dir.unlink_same(&channel.control.name, &channel.control.id);
    let _ = dir.remove_self();
}

impl ClientSockets {
    /// Opens the control file that the server named, and makes and connects both sockets.
    pub fn open(answer: &ConnectResponse, server: &Credentials) -> Result<Self> {
        // The base of the socket names has to lie in the same directory as the control file.
        let (_, _) = crate::wire::split_in_directory(super::shm::ROOT.as_bytes(), &answer.response)?;
        let directory = |name: &[u8]| name.iter().rposition(|&b| b == b'/').map(|at| name[..at].to_vec());
        if directory(&answer.request) != directory(&answer.response) {
            return Err(Error::Corrupt);
        }
        let (control, dir) = Control::open(&answer.request, server)?;
        let control = Arc::new(control);
        let size = answer.max_msg_size as usize;
        let connected = |own: &str, peer: &str| -> Result<Arc<OwnedFd>> {
            let address = |end: &str| {
                let mut name = answer.response.clone();
                name.push(b'-');
                name.extend_from_slice(end.as_bytes());
                Address::abstract_name(&name)
            };
            // Connected before it has a name: at no time can anybody but the server send to it.
            let fd = socket::datagram(size)?;
            socket::connect(fd.as_fd(), &address(peer))?;
            socket::bind(fd.as_fd(), &address(own))?;
            Ok(Arc::new(fd))
        };
        let requests = connected("response", "request")?;
        let events = connected("event", "event-tx")?;
        Ok(Self {
            requests: Channel::new(&requests, &control, Record::Request, Record::Response),
            events: Channel::new(&events, &control, Record::Event, Record::Event),
            dir,
        })
    }
}

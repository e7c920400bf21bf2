// SPDX-License-Identifier: LGPL-2.1-or-later
//! Service and client in one process, each in its own thread, over both transports.

use super::*;
use crate::event::{Job, Loop};
use crate::wire::Features;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, OnceLock, Weak};

/// A message of `len` bytes with a head in front, filled with `fill`.
pub(super) fn message(id: i32, len: usize, fill: u8) -> Vec<u8> {
    let mut bytes = vec![fill; len];
    bytes[..24].fill(0);
    bytes[0..4].copy_from_slice(&id.to_ne_bytes());
    bytes[8..12].copy_from_slice(&i32::try_from(len).unwrap().to_ne_bytes());
    bytes
}

fn id_of(bytes: &[u8]) -> i32 {
    i32::from_ne_bytes(bytes[0..4].try_into().unwrap())
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Call {
    Accept(u32),
    Created,
    Process(i32),
    Closed,
    Destroyed,
}

/// Echoes requests; id 2 asks for three events first, id 3 for a disconnect, id 4 refuses by returning -1.
struct Echo(Mutex<Sender<Call>>);

impl Echo {
    fn note(&self, call: Call) {
        let _ = self.0.lock().unwrap().send(call);
    }
}

impl Handler for Echo {
    fn accept(&self, _: &Arc<Connection>, peer: &Credentials) -> std::result::Result<(), i32> {
        self.note(Call::Accept(peer.uid));
        Ok(())
    }
    fn created(&self, _: &Arc<Connection>) {
        self.note(Call::Created);
    }
    fn process(&self, connection: &Arc<Connection>, request: &mut Request<'_>) -> i32 {
        let id = id_of(request.bytes());
        self.note(Call::Process(id));
        if id == 2 {
            for n in 0..3 {
                connection.send_event(&[&message(100 + n, 64, 7)]).unwrap();
            }
        }
        if id == 3 {
            connection.disconnect();
            assert_eq!(connection.send_response(&[request.bytes()]), Err(Error::Disconnected));
            return 0;
        }
        let (head, body) = request.bytes().split_at(24.min(request.bytes().len()));
        // The ring is full while the client has not read earlier answers.
        while connection.send_response(&[head, body]) == Err(Error::Busy) {
            std::thread::yield_now();
        }
        if id == 4 { -1 } else { 0 }
    }
    fn closed(&self, _: &Arc<Connection>) -> i32 {
        self.note(Call::Closed);
        0
    }
    fn destroyed(&self, _: &Arc<Connection>) {
        self.note(Call::Destroyed);
    }
}

/// A loop that writes down what it was told last of each descriptor. When asked to, it has another thread turn the service off
/// while it is being told something (or on, while it is told of a new connection): what it is being told is old by the time it
/// takes effect. Or it looks who is there while it is told to stop watching one.
pub(super) struct Meddler {
    inner: Arc<Loop>,
    service: OnceLock<Weak<Service>>,
    told: Mutex<BTreeMap<RawFd, (Priority, i32)>>,
    meddle: AtomicBool,
    meddle_in_add: AtomicBool,
    modified: AtomicUsize,
    walk_in_remove: AtomicBool,
    walked: Mutex<Vec<u64>>,
}

/// The numbers of all connections, as an application walks over them.
fn walk(service: &Service) -> Vec<u64> {
    let mut ids = Vec::new();
    let mut next = service.hold_newest();
    while let Some(connection) = next {
        ids.push(connection.id());
        next = service.hold_next_older(&connection);
        connection.release();
    }
    ids
}

impl Meddler {
    fn set_elsewhere(&self, limit: RateLimit) {
        let service = self.service.get().and_then(Weak::upgrade).unwrap();
        std::thread::scope(|scope| scope.spawn(|| service.set_rate_limit(limit)).join().unwrap());
    }
}

impl Poller for Meddler {
    fn add(&self, priority: Priority, fd: RawFd, events: i32, watch: Watch) -> Result<()> {
        if matches!(watch, Watch::Stream(_) | Watch::Requests(_)) {
            if self.meddle_in_add.swap(false, Ordering::Relaxed) {
                self.set_elsewhere(RateLimit::Normal);
            }
            self.told.lock().unwrap().insert(fd, (priority, events));
        }
        self.inner.add(priority, fd, events, watch)
    }
    fn modify(&self, priority: Priority, fd: RawFd, events: i32, watch: Watch) -> Result<()> {
        self.modified.fetch_add(1, Ordering::Relaxed);
        if self.meddle.swap(false, Ordering::Relaxed) {
            self.set_elsewhere(RateLimit::Off);
        }
        self.told.lock().unwrap().insert(fd, (priority, events));
        self.inner.modify(priority, fd, events, watch)
    }
    fn remove(&self, fd: RawFd) -> Result<()> {
        if self.walk_in_remove.swap(false, Ordering::Relaxed) {
            *self.walked.lock().unwrap() = walk(&self.service.get().and_then(Weak::upgrade).unwrap());
        }
        self.inner.remove(fd)
    }
    fn job(&self, priority: Priority, connection: Arc<Connection>) -> Result<()> {
        self.inner.job(priority, connection)
    }
}

/// A running service and what it was called for.
pub(super) struct Running {
    name: String,
    offer: Features,
    event_loop: Arc<Loop>,
    pub service: Arc<Service>,
    calls: Receiver<Call>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    pub fn start(name: &str, kind: Kind) -> Self {
        Self::start_with(name, kind, |event_loop| event_loop)
    }

    fn start_with<P: Poller + 'static>(
        name: &str,
        (transport, offer): Kind,
        poller: impl FnOnce(Arc<Loop>) -> Arc<P>,
    ) -> Self {
        let name = format!("qb-unit-{}-{name}-{transport:?}-{offer:?}", std::process::id());
        let (sender, calls) = channel();
        let event_loop = Loop::new().unwrap();
        let service = Service::new(&name, 1, Ok(transport), Box::new(Echo(Mutex::new(sender)))).unwrap();
        service.set_poller(poller(event_loop.clone()));
        service.run().unwrap();
        let runner = event_loop.clone();
        let thread = Some(std::thread::spawn(move || runner.run()));
        Self { name, offer, event_loop, service, calls, thread }
    }

    fn start_meddled(name: &str, kind: Kind) -> (Self, Arc<Meddler>) {
        let mut meddler = None;
        let running = Self::start_with(name, kind, |inner| {
            let made = Arc::new(Meddler {
                inner,
                service: OnceLock::new(),
                told: Mutex::default(),
                meddle: AtomicBool::new(false),
                meddle_in_add: AtomicBool::new(false),
                modified: AtomicUsize::new(0),
                walk_in_remove: AtomicBool::new(false),
                walked: Mutex::default(),
            });
            meddler = Some(made.clone());
            made
        });
        let meddler = meddler.unwrap();
        assert!(meddler.service.set(Arc::downgrade(&running.service)).is_ok());
        (running, meddler)
    }

    pub fn connect(&self) -> Client {
        self.begin().finish().unwrap()
    }

    pub fn begin(&self) -> Connecting {
        Connecting::start_with(&self.name, 20_000, true, self.offer).unwrap()
    }

    /// The service looks at nothing until the result is dropped.
    pub fn hold(&self) -> Sender<()> {
        let (end, ended) = channel();
        let (begin, begun) = channel();
        let job = Job::new(move || {
            begin.send(()).unwrap();
            let _ = ended.recv();
        });
        self.event_loop.job_add(Priority::High, job).unwrap();
        begun.recv().unwrap();
        end
    }

    pub fn calls(&self, n: usize) -> Vec<Call> {
        (0..n).map(|_| self.calls.recv_timeout(std::time::Duration::from_secs(20)).unwrap()).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let (service, event_loop) = (self.service.clone(), self.event_loop.clone());
        let end = Job::new(move || {
            service.destroy();
            event_loop.stop();
        });
        self.event_loop.job_add(Priority::High, end).unwrap();
        self.thread.take().unwrap().join().unwrap();
        // A process that another test forked just now holds the socket a little longer.
        let start = std::time::Instant::now();
        let refused = Some(Error::Os(libc::ECONNREFUSED));
        while Client::connect(&self.name, 1).err() != refused {
            assert!(start.elapsed() < std::time::Duration::from_secs(20), "the service is destroyed");
        }
    }
}

/// A type of service, and what its clients offer.
pub(super) type Kind = (Transport, Features);

pub(super) const ALL: [Kind; 3] = [
    (Transport::SharedMemory, Features::SEALED),
    (Transport::SharedMemory, Features::NONE),
    (Transport::Socket, Features::NONE),
];

pub(super) fn echo(client: &Client, id: i32, len: usize) -> Result<Vec<u8>> {
    let mut buffer = vec![0; 20_000];
    let n = client.send_recv(&[&message(id, len, 9)], &mut buffer, 20_000)?;
    buffer.truncate(n);
    Ok(buffer)
}

#[test]
fn requests_of_every_size_come_back() {
    for transport in ALL {
        let running = Running::start("sizes", transport);
        let client = running.connect();
        assert_eq!(client.max_msg_size(), 20_000);
        assert_eq!(client.server().pid, std::process::id().cast_signed());
        for len in [24, 25, 31, 32, 63, 64, 1000, 4096, 19_999, 20_000, 24] {
            assert_eq!(echo(&client, 1, len), Ok(message(1, len, 9)), "{transport:?} {len}");
        }
        assert_eq!(client.send(&[&message(1, 20_001, 0)]), Err(Error::TooBig));
        assert!(client.is_connected());
    }
}

#[test]
fn callbacks_come_in_order() {
    for transport in ALL {
        let running = Running::start("order", transport);
        let client = running.connect();
        echo(&client, 4, 24).unwrap();
        drop(client);
        let uid = crate::sys::process::euid();
        assert_eq!(
            running.calls(5),
            [Call::Accept(uid), Call::Created, Call::Process(4), Call::Closed, Call::Destroyed]
        );
        assert_eq!(
            running.service.stats(false),
            ServiceStats { active_connections: 0, closed_connections: 1 }
        );
    }
}

#[test]
fn events_arrive_in_order_and_leave_the_descriptor_quiet() {
    for transport in ALL {
        let running = Running::start("events", transport);
        let client = running.connect();
        echo(&client, 2, 24).unwrap();
        let mut buffer = [0; 256];
        for n in 0..3 {
            assert_eq!(client.recv_event(&mut buffer, 20_000), Ok(64));
            assert_eq!(id_of(&buffer), 100 + n);
        }
        assert_eq!(client.recv_event(&mut buffer, 0), Err(Error::Busy));
        let quiet =
            crate::sys::fd::poll_one(client.event_fd(), libc::POLLIN, Some(std::time::Duration::ZERO));
        assert_eq!(quiet, Ok(0));
    }
}

#[test]
fn a_message_that_does_not_fit_stays() {
    for transport in ALL {
        let running = Running::start("fit", transport);
        let client = running.connect();
        client.send(&[&message(1, 1000, 3)]).unwrap();
        let mut small = [0; 100];
        assert_eq!(client.recv(&mut small, 20_000), Err(Error::BufferTooSmall));
        assert_eq!(client.recv(&mut small, 20_000), Err(Error::BufferTooSmall));
        let mut large = [0; 1000];
        assert_eq!(client.recv(&mut large, 0), Ok(1000));
        assert_eq!(large[24..], [3; 976]);
    }
}

#[test]
fn a_disconnect_inside_process_ends_the_client() {
    for transport in ALL {
        let running = Running::start("end", transport);
        let client = running.connect();
        assert_eq!(echo(&client, 3, 24), Err(Error::Disconnected));
        assert!(!client.is_connected());
        let calls = running.calls(5);
        assert_eq!(calls[3..], [Call::Closed, Call::Destroyed]);
    }
}

#[test]
fn many_threads_may_send_on_one_connection() {
    const EACH: usize = 2000;
    for transport in ALL {
        let running = Running::start("threads", transport);
        let client = running.connect();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..EACH {
                        while client.send(&[&message(1, 64, 5)]) == Err(Error::Busy) {
                            std::thread::yield_now();
                        }
                    }
                });
            }
            let mut buffer = [0; 128];
            for _ in 0..4 * EACH {
                assert_eq!(client.recv(&mut buffer, 20_000), Ok(64));
                assert_eq!(buffer[..64], message(1, 64, 5));
            }
        });
    }
}

#[test]
fn a_refused_name_and_a_silent_service_are_errors() {
    assert_eq!(Client::connect("qb-unit-nobody-listens", 1).err(), Some(Error::Os(libc::ECONNREFUSED)));
    assert_eq!(Client::connect("x".repeat(300), 1).err(), Some(Error::Invalid));
}

#[test]
fn the_size_a_datagram_really_has_is_found() {
    assert_eq!(probe_datagram_size(1000), Ok(1000));
    let most = probe_datagram_size(1 << 30).unwrap();
    assert!(most > 1000 && most < 1 << 30, "{most}");
}

#[test]
fn a_poll_loop_that_is_told_of_two_changes_at_once_ends_with_the_later() {
    for kind in ALL {
        let (running, meddler) = Running::start_meddled("meddler", kind);
        let client = running.connect();
        running.calls(2);
        for _ in 0..3 {
            running.service.set_rate_limit(RateLimit::Normal);
            assert_eq!(echo(&client, 1, 100).unwrap().len(), 100);
            meddler.meddle.store(true, Ordering::Relaxed);
            running.service.set_rate_limit(RateLimit::Fast);
            assert!(!meddler.meddle.load(Ordering::Relaxed));
            let told = meddler.told.lock().unwrap().clone();
            assert!(told.values().all(|&(priority, _)| priority == Priority::Low), "{kind:?}: {told:?}");
            // A request has to wait, whichever descriptor announces it.
            assert_eq!(client.send(&[&message(1, 100, 9)]), Err(Error::Busy), "{kind:?}");
        }
        running.service.set_rate_limit(RateLimit::Normal);
        assert_eq!(echo(&client, 1, 100).unwrap().len(), 100);
    }
}

#[test]
fn a_limit_that_changes_while_a_client_is_let_in_reaches_the_poll_loop() {
    for kind in ALL {
        let (running, meddler) = Running::start_meddled("let-in", kind);
        // Without a change, the poll loop is told of a client once.
        let before = running.connect();
        running.calls(2);
        assert_eq!(meddler.modified.load(Ordering::Relaxed), 0, "{kind:?}");
        drop(before);
        running.calls(2);
        running.service.set_rate_limit(RateLimit::Off);
        meddler.told.lock().unwrap().clear();
        meddler.meddle_in_add.store(true, Ordering::Relaxed);
        let client = running.connect();
        running.calls(2);
        assert!(!meddler.meddle_in_add.load(Ordering::Relaxed));
        let told = meddler.told.lock().unwrap().clone();
        let readable = i32::from(libc::POLLIN);
        let watched = |&(priority, events)| priority == Priority::Med && events & readable != 0;
        assert!(told.values().all(watched), "{kind:?}: {told:?}");
        assert_eq!(echo(&client, 1, 100).unwrap().len(), 100);
    }
}

#[test]
fn who_walks_over_the_connections_does_not_meet_one_that_is_destroyed() {
    for kind in ALL {
        let (running, meddler) = Running::start_meddled("walk", kind);
        let clients = [running.connect(), running.connect(), running.connect()];
        running.calls(6);
        let ids = walk(&running.service);
        assert_eq!(ids.len(), clients.len());
        let newest = running.service.hold_newest().unwrap();
        let middle = running.service.hold_next_older(&newest).unwrap();
        assert_eq!([newest.id(), middle.id()], ids[..2]);
        for (over, left) in [(middle, vec![ids[0], ids[2]]), (newest, vec![ids[2]])] {
            over.release();
            meddler.walk_in_remove.store(true, Ordering::Relaxed);
            // The library's own.
            over.release();
            assert_eq!(*meddler.walked.lock().unwrap(), left, "{kind:?}");
            assert_eq!(walk(&running.service), left, "{kind:?}");
            assert_eq!(running.calls(1), [Call::Destroyed]);
        }
        assert_eq!(echo(&clients[0], 1, 24), Ok(message(1, 24, 9)));
    }
}

// SPDX-License-Identifier: LGPL-2.1-or-later
//! Services in this process, one for each transport, and the wire spoken by hand: what the targets `serve` and `connect` share.

use crate::Source;
use qb::event::Loop;
use qb::ipc::{Connection, Credentials, Handler, Request, Service, Transport};
use qb::wire::ConnectResponse;
use std::fs::File;
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::FileExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::{Arc, Once, OnceLock};
use std::time::{Duration, Instant};

/// The largest message of these services.
pub const MAX_MSG: usize = 12_328;

/// Requests with this id say themselves what comes back.
pub const PUPPET: i32 = 3;

/// Echoes; 2: with events; [`PUPPET`]: the rest of the request is sent as responses and events of any length and content.
struct Echo;

impl Handler for Echo {
    fn accept(&self, _: &Arc<Connection>, _: &Credentials) -> Result<(), i32> {
        Ok(())
    }

    fn process(&self, connection: &Arc<Connection>, request: &mut Request<'_>) -> i32 {
        let bytes = request.bytes();
        // A request of this process's own user is lent: what it says may change, its length may not.
        assert!((16..=1 << 16).contains(&bytes.len()));
        let id = i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        if id == PUPPET {
            let copy = bytes.to_vec();
            let mut source = Source(&copy[16..]);
            while !source.is_empty() {
                let (event, len) = (source.byte() & 1 == 1, usize::from(source.byte()));
                let piece = source.take(len);
                let _ =
                    if event { connection.send_event(&[piece]) } else { connection.send_response(&[piece]) };
            }
        } else {
            let _ = connection.send_response(&[bytes]);
            for _ in 0..if id == 2 { 3 } else { 0 } {
                let _ = connection.send_event(&[bytes]);
            }
        }
        0
    }
}

/// A service that runs in a thread of its own until the process ends.
pub struct Live {
    pub name: String,
    service: Arc<Service>,
}

/// A thread whose panic is the process's end, so that no test goes on without it.
pub fn spawn(run: impl FnOnce() + Send + 'static) {
    std::thread::spawn(move || {
        if std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err() {
            std::process::abort();
        }
    });
}

fn settings() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the first thing that a target does, before any thread of this crate or the library exists.
        unsafe {
            // These targets speak the classic wire by hand, and stand in the middle of it.
            std::env::set_var("LIBQB_SEALED", "0");
            std::env::set_var("LIBQB_MAX_MSG_SIZE", "65536");
            std::env::set_var("LIBQB_CONNECT_TIMEOUT_MS", "2000");
        }
    });
}

/// The service for a transport.
pub fn live(transport: Transport) -> &'static Live {
    static BOTH: [OnceLock<Live>; 2] = [OnceLock::new(), OnceLock::new()];
    settings();
    BOTH[transport as usize].get_or_init(|| {
        let name = format!("qb-fuzz-{}-{transport:?}", std::process::id());
        let service = Service::new(&name, 1, Ok(transport), Box::new(Echo)).expect("a service");
        let event_loop = Loop::new().expect("a loop");
        service.set_poller(event_loop.clone());
        service.run().expect("it listens");
        spawn(move || event_loop.run());
        Live { name, service }
    })
}

impl Live {
    /// Waits until no connection is left: its end is the end of its peer. Then an honest client is served.
    pub fn settle(&self, honest: bool) {
        let start = Instant::now();
        while self.service.stats(false).active_connections != 0 {
            assert!(start.elapsed() < Duration::from_secs(15), "a connection outlives its peer");
            std::thread::sleep(Duration::from_micros(20));
        }
        if honest {
            // A connect gives up soon here, which a busy machine may well cause.
            let client = (0..10).find_map(|_| qb::ipc::Client::connect(&self.name, MAX_MSG).ok());
            let client = client.expect("an honest client comes in");
            let mut answer = [0; 64];
            assert_eq!(client.send_recv(&[&message(1, 32)], &mut answer, 10_000), Ok(32));
        }
    }
}

/// A message with its head.
pub fn message(id: i32, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len.max(16)];
    bytes[..4].copy_from_slice(&id.to_ne_bytes());
    bytes[8..12].copy_from_slice(&(len as i32).to_ne_bytes());
    bytes
}

/// An abstract address of the full length, as the wire has it.
pub fn address(name: &[u8]) -> SocketAddr {
    let mut padded = [0; 107];
    let n = name.len().min(padded.len());
    padded[..n].copy_from_slice(&name[..n]);
    SocketAddr::from_abstract_name(padded).expect("it fits")
}

/// A stream to a service; reads and writes on it end.
pub fn stream(name: &str) -> Option<UnixStream> {
    let stream = UnixStream::connect_addr(&address(name.as_bytes())).ok()?;
    bound(&stream);
    Some(stream)
}

pub fn bound(stream: &UnixStream) {
    let limit = Some(Duration::from_secs(5));
    stream.set_read_timeout(limit).expect("a time limit");
    stream.set_write_timeout(limit).expect("a time limit");
}

pub fn listener(name: &str) -> UnixListener {
    UnixListener::bind_addr(&address(name.as_bytes())).expect("the name is free")
}

/// A proper request.
pub fn request(max: u32) -> [u8; 24] {
    let mut raw = [0; 24];
    raw[..4].copy_from_slice(&(-1_i32).to_ne_bytes());
    raw[8..12].copy_from_slice(&24_i32.to_ne_bytes());
    raw[16..20].copy_from_slice(&max.to_ne_bytes());
    raw
}

/// Asks and reads the whole answer.
pub fn ask(stream: &mut UnixStream, request: &[u8]) -> Option<Vec<u8>> {
    stream.write_all(request).ok()?;
    let mut raw = vec![0; ConnectResponse::LEN];
    stream.read_exact(&mut raw).ok()?;
    Some(raw)
}

fn open(path: &str) -> Option<File> {
    File::options().read(true).write(true).open(path).ok()
}

/// The shared files of a connection, written and not mapped: these are the same pages.
pub struct Files(Vec<File>);

/// Offsets of the words of a ring's header that mean something.
const HEADER: [u64; 10] = [0, 4, 8, 12, 4108, 8204, 8208, 8212, 8216, 8240];

impl Files {
    /// Header and data in turn for each ring, or the control file.
    pub fn open(raw: &[u8]) -> Option<Self> {
        let answer = ConnectResponse::decode(raw).ok()?;
        let text = |name: &[u8]| String::from_utf8(name.to_vec()).ok();
        if answer.transport == Transport::Socket {
            return Some(Self(vec![open(&text(&answer.request)?)?]));
        }
        let mut files = Vec::new();
        for name in [&answer.request, &answer.response, &answer.event] {
            let name = text(name)?;
            files.push(open(&format!("{name}-header"))?);
            files.push(open(&format!("{name}-data"))?);
        }
        Some(Self(files))
    }

    /// One change that the input asks for.
    pub fn spoil(&self, source: &mut Source<'_>) {
        let pick = source.byte();
        let which = usize::from(pick & 7) % self.0.len();
        let file = &self.0[which];
        let is_header = which.is_multiple_of(2);
        let len = file.metadata().map_or(0, |m| m.len());
        let words = u32::try_from(len / 4).unwrap_or(0).max(2);
        let at = match pick >> 3 & 3 {
            0 | 1 if is_header => HEADER[usize::from(source.byte()) % HEADER.len()],
            3 => u64::from(source.word() % words) * 4,
            _ => u64::from(source.byte()) * 4,
        };
        if pick >= 0xf8 {
            // Cut, and perhaps grown again.
            let _ = file.set_len(u64::from(pick & 1) * 4096);
            let _ = file.set_len(if source.byte() & 3 == 0 { at } else { len });
        } else if at + 4 <= len {
            let _ = file.write_at(&source.value(words).to_ne_bytes(), at);
        }
    }

    /// A whole chunk in a ring, at a word index; the count is raised as well.
    pub fn put(&self, ring: usize, at: u64, says: u32, bytes: &[u8]) {
        let (header, data) = (&self.0[ring * 2], &self.0[ring * 2 + 1]);
        let _ = data.write_at(bytes, (at + 2) * 4);
        let _ = data.write_at(&says.to_ne_bytes(), at * 4);
        let _ = data.write_at(&qb::ring::MAGIC_READY.to_ne_bytes(), at * 4 + 4);
        let mut raw = [0; 4];
        let _ = header.read_at(&mut raw, 8208);
        let _ = header.write_at(&u32::from_ne_bytes(raw).wrapping_add(1).to_ne_bytes(), 8208);
    }
}

// SPDX-License-Identifier: LGPL-2.1-or-later
//! A service against any client: handshakes in pieces, shared words, chunks, doorbells, datagrams. Whatever it was, the
//! connection ends with the client, and an honest one is served.

use crate::Source;
use crate::live::{self, Files};
use qb::ipc::Transport;
use qb::wire::ConnectResponse;
use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::atomic::{AtomicU32, Ordering};

/// Any bytes as a handshake, in up to four pieces.
fn handshake(name: &str, source: &mut Source<'_>) {
    let Some(mut stream) = live::stream(name) else { return };
    for _ in 0..4 {
        let len = usize::from(source.byte());
        if stream.write_all(source.take(len)).is_err() {
            return;
        }
    }
    let _ = stream.set_nonblocking(true);
    let _ = stream.read(&mut [0; 64]);
}

fn rings(stream: &mut UnixStream, files: &Files, source: &mut Source<'_>) {
    let mut at = 0;
    while !source.is_empty() {
        match source.byte() % 8 {
            0..=2 => files.spoil(source),
            3 | 4 => {
                let len = usize::from(source.byte());
                let says = if source.byte() & 7 == 0 { source.word() } else { len as u32 };
                files.put(0, at, says, source.take(len));
                at = (at + 2 + (len as u64).div_ceil(4)) % 3000;
                let _ = stream.write(&[0]);
            }
            5 => {
                let mut message =
                    live::message(i32::from(source.byte() % 4), 16 + usize::from(source.byte()));
                let len = message.len();
                let tail = source.take(len - 16);
                message[16..16 + tail.len()].copy_from_slice(tail);
                files.put(0, at, len as u32, &message);
                at = (at + 2 + (len as u64).div_ceil(4)) % 3000;
                let _ = stream.write(&[0]);
            }
            6 => {
                let _ = stream.write(&[0; 256][..usize::from(source.byte())]);
            }
            _ => std::thread::yield_now(),
        }
    }
}

fn datagrams(stream: &mut UnixStream, files: &Files, answer: &ConnectResponse, source: &mut Source<'_>) {
    let name = |end: &str| live::address(&[&answer.response[..], b"-", end.as_bytes()].concat());
    let shape = source.byte();
    let (Ok(requests), Ok(events), Ok(stranger)) =
        (UnixDatagram::unbound(), UnixDatagram::unbound(), UnixDatagram::unbound())
    else {
        return;
    };
    // Some clients make only one of their sockets.
    let own = |end: &str, missing: u8| match UnixDatagram::bind_addr(&name(end)) {
        Ok(socket) if shape & missing == 0 => Some(socket),
        _ => None,
    };
    let (requests, events) = (own("response", 1).unwrap_or(requests), own("event", 2).unwrap_or(events));
    for socket in [&requests, &events, &stranger] {
        let _ = socket.set_nonblocking(true);
    }
    while !source.is_empty() {
        match source.byte() % 8 {
            0 | 1 => files.spoil(source),
            2 | 3 => {
                let len = usize::from(source.byte());
                let _ = requests.send_to_addr(source.take(len), &name("request"));
            }
            4 => {
                let message = live::message(i32::from(source.byte() % 4), 16 + usize::from(source.byte()));
                let _ = requests.send_to_addr(&message, &name("request"));
            }
            5 => {
                let (len, to_events) = (usize::from(source.byte()), source.byte() & 1 == 1);
                let to = name(if to_events { "event-tx" } else { "request" });
                let _ = (if to_events { &events } else { &stranger }).send_to_addr(source.take(len), &to);
            }
            6 => {
                let _ = stream.write(&[0; 256][..usize::from(source.byte())]);
            }
            _ => std::thread::yield_now(),
        }
    }
}

/// A whole life of a client, as the input says.
pub fn serve(data: &[u8]) {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let mut source = Source(data);
    let mode = source.byte();
    let transport = if mode & 1 == 0 { Transport::SharedMemory } else { Transport::Socket };
    let service = live::live(transport);
    if mode & 6 == 0 {
        handshake(&service.name, &mut source);
    } else if let Some(mut stream) = live::stream(&service.name) {
        let max = if mode & 8 == 0 { live::MAX_MSG as u32 } else { source.word() & 0xffff };
        if let Some(raw) = live::ask(&mut stream, &live::request(max))
            && let Ok(answer) = ConnectResponse::decode(&raw)
            && let Some(files) = Files::open(&raw)
        {
            let _ = stream.set_nonblocking(true);
            if transport == Transport::SharedMemory {
                rings(&mut stream, &files, &mut source);
            } else {
                datagrams(&mut stream, &files, &answer, &mut source);
            }
        }
    }
    service.settle(RUNS.fetch_add(1, Ordering::Relaxed).is_multiple_of(32));
}

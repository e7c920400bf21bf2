// SPDX-License-Identifier: LGPL-2.1-or-later
//! A client against any server: somebody in the middle changes the answer of a real service, its shared files and its
//! doorbells, and the service sends messages of any content. The client's calls come back, with what fits its buffers.

use crate::Source;
use crate::live::{self, Files};
use qb::ipc::{Client, Transport};
use qb::wire::ConnectResponse;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

/// What the one in the middle does to the connection that comes next.
static PLAN: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Changes of the answer: (offset, length, bytes) as often as the input says, and perhaps an early end.
fn change(answer: &mut Vec<u8>, source: &mut Source<'_>) {
    for _ in 0..source.byte() & 7 {
        let pick = source.word();
        let at = match pick & 7 {
            0..=3 => (pick >> 3) as usize % 80,
            4 => 40 + 4096 + (pick >> 3) as usize % 64,
            5 => 40 + 8192 + (pick >> 3) as usize % 64,
            _ => (pick >> 3) as usize % answer.len(),
        };
        let len = usize::from(source.byte() & 31);
        let bytes = source.take(len);
        let end = (at + bytes.len()).min(answer.len());
        answer[at..end].copy_from_slice(&bytes[..end - at]);
    }
    if source.byte() == 255 {
        answer.truncate(source.word() as usize % answer.len());
    }
}

fn in_the_middle(mut client: UnixStream, service: &str) -> Option<()> {
    let plan = std::mem::take(&mut *PLAN.lock().unwrap_or_else(PoisonError::into_inner));
    let mut source = Source(&plan);
    let mut request = [0; 24];
    live::bound(&client);
    client.read_exact(&mut request).ok()?;
    let mut server = live::stream(service)?;
    let mut answer = live::ask(&mut server, &request)?;
    let files = Files::open(&answer)?;
    for _ in 0..source.byte() & 3 {
        files.spoil(&mut source);
    }
    change(&mut answer, &mut source);
    client.write_all(&answer).ok()?;
    if answer.len() < ConnectResponse::LEN {
        return None; // otherwise it waits for the rest as long as it may
    }
    let bells = usize::from(source.byte());
    client.write_all(&[0; 256][..bells]).ok()?;
    // Doorbells go on in both directions, and the files change meanwhile.
    client.set_nonblocking(true).ok()?;
    server.set_nonblocking(true).ok()?;
    loop {
        match (pass_on(&mut server, &mut client), pass_on(&mut client, &mut server)) {
            (Some(0), Some(0)) => std::thread::sleep(Duration::from_micros(20)),
            (Some(_), Some(requests)) => {
                for _ in 0..3 * requests {
                    if !source.is_empty() {
                        files.spoil(&mut source);
                    }
                }
            }
            _ => return Some(()),
        }
    }
}

/// What is there to be read goes to the other side: how many bytes, or None at the end of either.
fn pass_on(from: &mut UnixStream, to: &mut UnixStream) -> Option<usize> {
    let mut bytes = [0; 64];
    match from.read(&mut bytes) {
        Ok(0) => None,
        Ok(n) => {
            // A side that does not read its bytes misses some of them.
            let _ = to.write(&bytes[..n]);
            Some(n)
        }
        Err(e) if e.kind() == ErrorKind::WouldBlock => Some(0),
        Err(_) => None,
    }
}

/// The name that leads to the one in the middle.
fn middle(transport: Transport) -> &'static str {
    static BOTH: [OnceLock<String>; 2] = [OnceLock::new(), OnceLock::new()];
    BOTH[transport as usize].get_or_init(|| {
        let service = live::live(transport);
        let name = format!("{}-middle", service.name);
        let listener = live::listener(&name);
        live::spawn(move || {
            for client in listener.incoming().flatten() {
                let _ = in_the_middle(client, &service.name);
            }
        });
        name
    })
}

/// A whole life of a connection. The first half of the input is for the one in the middle, the second for the messages.
pub fn connect(data: &[u8]) {
    let mut source = Source(data);
    let mode = source.byte();
    let transport = if mode & 1 == 0 { Transport::SharedMemory } else { Transport::Socket };
    let name = middle(transport);
    let split = usize::from(source.byte());
    *PLAN.lock().unwrap_or_else(PoisonError::into_inner) = source.take(split).to_vec();
    if let Ok(client) = Client::connect(name, live::MAX_MSG) {
        let (mut room, mut guard) = ([0x77; 100], 0);
        for _ in 0..3 {
            let len = 16 + usize::from(source.byte());
            let mut message = live::message(if mode & 2 == 0 { live::PUPPET } else { 2 }, len);
            let tail = source.take(len - 16);
            message[16..16 + tail.len()].copy_from_slice(tail);
            let _ = client.send(&[&message]);
            let results =
                [client.recv(&mut room, 2), client.recv_event(&mut room, 1), client.recv(&mut room[..24], 0)];
            guard += results.iter().flatten().filter(|n| **n > room.len()).count();
            let _ = (client.is_connected(), client.event_raw_fd());
        }
        assert_eq!(guard, 0, "more came than there was room for");
    }
    live::live(transport).settle(false);
}

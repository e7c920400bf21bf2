// SPDX-License-Identifier: LGPL-2.1-or-later
//! The bytes of the handshake, without sockets.

use crate::Source;
use qb::wire::{ConnectRequest, ConnectResponse, DirectoryName, Transport, split_in_directory};

fn request(data: &[u8]) {
    let mut raw = [0; ConnectRequest::LEN];
    let n = data.len().min(raw.len());
    raw[..n].copy_from_slice(&data[..n]);
    match ConnectRequest::decode(&raw) {
        Ok(request) => {
            assert_eq!(request.max_msg_size.to_ne_bytes(), raw[16..20]);
            assert_eq!(
                ConnectRequest::decode(&request.encode()).map(|r| r.max_msg_size),
                Ok(request.max_msg_size)
            );
        }
        Err(_) => assert_ne!(raw[..4], (-1_i32).to_ne_bytes()),
    }
}

fn response(raw: &[u8]) {
    let Ok(answer) = ConnectResponse::decode(raw) else { return };
    for name in [&answer.request, &answer.response, &answer.event] {
        assert!(name.len() < 4096 && !name.contains(&0));
        if let Ok((directory, file)) = split_in_directory(b"/dev/shm", name) {
            assert_eq!([b"/dev/shm", directory, file].join(&b'/'), *name);
            assert!(!file.contains(&b'/') && file.starts_with(b"qb-"));
            let shape = DirectoryName::parse(directory).expect("its directory has the shape of one");
            assert!(directory.starts_with(&shape.prefix()) || directory.contains(&b'0'));
            assert!(shape.server_pid >= 0 && shape.client_pid >= 0 && shape.fd >= 0);
        }
    }
    let again = ConnectResponse::decode(&answer.encode()).expect("what was read can be written");
    assert_eq!(
        (again.error, again.max_msg_size, again.token),
        (answer.error, answer.max_msg_size, answer.token)
    );
    assert_eq!(again.request, answer.request);
    assert_eq!(again.response, answer.response);
    assert_eq!(again.event, answer.event);
}

/// Any bytes as a request and as an answer, and changes of a proper answer: (offset, length, bytes) over and over.
pub fn handshake(data: &[u8]) {
    request(data);
    response(data);
    let mut raw = ConnectResponse::refusal(0, Transport::SharedMemory).encode();
    for (at, kind) in [(40, "request"), (40 + 4096, "response"), (40 + 8192, "event")] {
        let name = format!("/dev/shm/qb-12-345-6-aZ09xy/qb-{kind}-x");
        raw[at..at + name.len()].copy_from_slice(name.as_bytes());
    }
    response(&raw);
    let mut source = Source(data);
    while !source.is_empty() {
        // Beginnings of names matter more than their middle.
        let pick = source.word();
        let at = match pick & 3 {
            0 => (pick >> 2) as usize % 64,
            field => {
                40 + (field as usize - 1) * 4096
                    + (pick >> 2) as usize % if pick >> 31 == 0 { 64 } else { 4096 }
            }
        };
        let len = usize::from(source.byte());
        let bytes = source.take(len);
        let end = (at + bytes.len()).min(raw.len());
        raw[at..end].copy_from_slice(&bytes[..end - at]);
        response(&raw);
    }
}

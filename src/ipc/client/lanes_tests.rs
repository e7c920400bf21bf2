// SPDX-License-Identifier: LGPL-2.1-or-later
//! A client in sealed memory whose server does what it likes.

use super::*;
use crate::ipc::sealed;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;

/// A client, the memory it shares with its server, and the server's end of the stream.
fn client() -> (Client, Arc<Segment>, UnixStream) {
    let (server, fd) = sealed::Segment::make(1000).unwrap();
    let segment = sealed::Segment::open(fd.as_fd(), 1000).unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    far.set_nonblocking(true).unwrap();
    let credentials = Credentials { pid: process::pid(), uid: 0, gid: 0 };
    let client = Client {
        in_place: InPlace::new(credentials.uid),
        stream: near.into(),
        server: credentials,
        max_msg_size: 1000,
        links: Links::Sealed {
            requests: Mutex::new(Talker::requests(&segment)),
            responses: Mutex::new(Listener::responses(&segment)),
            events: Mutex::new(Listener::events(&segment)),
            segment,
        },
        connected: AtomicBool::new(true),
        patience: AtomicU32::new(1),
        seen: AtomicU64::new(0),
        owner_pid: process::pid(),
    };
    (client, server, far)
}

#[test]
fn a_receive_ends_at_its_time_out_however_many_bytes_there_are() {
    let (client, server, far) = client();
    while socket::send(far.as_fd(), &[0; 4096]).is_ok() {}
    for _ in 0..3 {
        assert_eq!(client.recv_event(&mut [0; 100], 0), Err(Error::Busy));
        assert_eq!(client.peek_event(0).map(|_| ()), Err(Error::Busy));
    }
    // Had it gone on for as long as there were any, a server that sends faster could keep it for ever.
    assert!(socket::peek(client.event_fd(), &mut [0; 1]).is_ok(), "a bounded number was taken");
    let mut events = Talker::events(&server);
    for text in [b"event", b"other"] {
        events.send(&[text], far.as_fd()).unwrap();
    }
    let mut room = [0; 100];
    assert_eq!(client.recv_event(&mut room, 0), Ok(5));
    assert_eq!(&room[..5], b"event");
    assert_eq!(&*client.peek_event(0).unwrap(), b"other");
}

/// A server that is dead while somebody who still has its memory wakes the client without end.
#[test]
fn a_wake_up_for_nothing_does_not_hide_a_dead_server() {
    for peek in [false, true] {
        let (client, server, far) = client();
        drop(far);
        let (done, result) = mpsc::channel();
        std::thread::spawn(move || {
            let received = if peek {
                client.peek_response(-1).map(|response| response.len())
            } else {
                client.recv(&mut [0; 100], -1)
            };
            done.send(received).unwrap();
        });
        // Long before a wait ends by itself, whenever it begins; the number of attempts guards against a hang.
        let received = (0..60_000).find_map(|_| {
            server.wake_for_nothing();
            result.recv_timeout(Duration::from_millis(1)).ok()
        });
        assert_eq!(received, Some(Err(Error::Disconnected)), "peek: {peek}");
    }
}

#[test]
fn a_full_lane_does_not_hide_a_dead_server() {
    const REQUEST: &[u8] = &[0; 100];
    let ways: [fn(&Client) -> Result<()>; 3] = [
        |client| client.send(&[REQUEST]).map(drop),
        |client| client.send_many(&[REQUEST]).map(drop),
        |client| client.reserve(REQUEST.len()).map(drop),
    ];
    for (way, attempt) in ways.iter().enumerate() {
        let (client, _server, far) = client();
        while client.send(&[REQUEST]).is_ok() {}
        assert_eq!(attempt(&client), Err(Error::Busy), "{way}");
        drop(far);
        // The kernel is asked once in a tick of the clock.
        let end = (0..20_000).find_map(|_| match attempt(&client) {
            Err(Error::Busy) => {
                std::thread::sleep(Duration::from_millis(1));
                None
            }
            other => Some(other),
        });
        assert_eq!(end, Some(Err(Error::Disconnected)), "{way}");
    }
}

// SPDX-License-Identifier: LGPL-2.1-or-later
//! Announcements and their bytes, over a segment that is mapped twice, as by two processes.

use super::*;
use crate::sys::socket;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// What servers of this process have made, for whoever wants to write to it.
pub(in crate::ipc) static MADE: crate::sync::Mutex<Vec<std::sync::Weak<Segment>>> =
    crate::sync::Mutex::new(Vec::new());

impl Segment {
    /// Bytes in all.
    pub(in crate::ipc) fn len(&self) -> usize {
        self.mapping.len()
    }

    /// Stores a word anywhere, as a hostile peer could.
    pub(in crate::ipc) fn scribble(&self, offset: usize, value: u32) {
        self.mapping.word(offset).unwrap().set(value);
    }

    /// Wakes a client that waits for a response, though there is none.
    pub(in crate::ipc) fn wake_for_nothing(&self) {
        if lane::rouse(self.word(RESPONSE_BELL)) {
            self.word(RESPONSE_BELL).wake().unwrap();
        }
    }
}

pub(super) struct Ends {
    pub talker: Talker,
    pub listener: Listener,
    pub peer: UnixStream,
    own: UnixStream,
}

/// Requests, over a segment that is mapped twice, as by two processes.
pub(super) fn ends(max_msg_size: u32) -> Ends {
    let (server, fd) = Segment::make(max_msg_size).unwrap();
    let client = Segment::open(fd.as_fd(), max_msg_size).unwrap();
    let (peer, own) = UnixStream::pair().unwrap();
    own.set_nonblocking(true).unwrap();
    Ends { talker: Talker::requests(&client), listener: Listener::requests(&server), peer, own }
}

impl Ends {
    pub fn send(&mut self, text: &str) {
        let sent = self.talker.send(&[text.as_bytes()], self.peer.as_fd()).unwrap();
        assert_eq!(sent.bytes, text.len());
        assert_ne!(sent.bell, Bell::NoRoom);
    }

    pub fn take(&mut self) -> Option<String> {
        let mut buffer = [0; 64];
        let n = self.listener.receive(&mut buffer).unwrap()?;
        Some(String::from_utf8(buffer[..n].to_vec()).unwrap())
    }

    pub fn bytes_waiting(&self) -> usize {
        socket::peek(self.own.as_fd(), &mut [0; 64]).unwrap_or(0)
    }

    fn doze_off(&mut self) -> bool {
        self.listener.doze_off(self.own.as_fd()).unwrap()
    }
}

#[test]
fn a_burst_has_one_byte_and_dozing_off_takes_it() {
    let mut e = ends(1000);
    assert!(!e.listener.is_announced());
    for text in ["a", "b", "c"] {
        e.send(text);
    }
    assert!(e.listener.is_announced());
    assert_eq!(e.bytes_waiting(), 1);
    for text in ["a", "b", "c"] {
        assert_eq!(e.take().as_deref(), Some(text));
    }
    assert_eq!(e.bytes_waiting(), 1, "readable while awake");
    assert!(e.doze_off());
    assert_eq!(e.bytes_waiting(), 0);
    assert!(!e.listener.is_announced());
    e.send("d");
    assert_eq!(e.bytes_waiting(), 1);
}

#[test]
fn dozing_off_with_something_queued_stays_awake_and_readable() {
    let mut e = ends(1000);
    e.send("a");
    assert!(e.listener.is_announced());
    assert!(!e.doze_off());
    assert_eq!(e.take().as_deref(), Some("a"));
    e.send("b");
    assert_eq!(e.bytes_waiting(), 1, "no second byte for a receiver that is awake");
    assert_eq!(e.take().as_deref(), Some("b"));
    assert!(e.doze_off());
    assert_eq!(e.bytes_waiting(), 0);
}

#[test]
fn stray_bytes_are_cleared_and_announcements_are_not() {
    let mut e = ends(1000);
    e.peer.write_all(&[1, 2, 3]).unwrap();
    e.listener.clear(e.own.as_fd()).unwrap();
    assert_eq!(e.bytes_waiting(), 0);
    assert!(!e.listener.is_announced());
    e.peer.write_all(&[1]).unwrap();
    e.send("a");
    e.listener.clear(e.own.as_fd()).unwrap();
    assert_eq!(e.bytes_waiting(), 2, "one of them announces");
    assert!(e.listener.is_announced());
    assert_eq!(e.take().as_deref(), Some("a"));
    assert!(e.doze_off());
    e.listener.clear(e.own.as_fd()).unwrap();
    assert_eq!(e.bytes_waiting(), 0);
    // Not dropped: a process that another test forks may hold it as well.
    e.peer.shutdown(std::net::Shutdown::Both).unwrap();
    assert_eq!(e.listener.clear(e.own.as_fd()), Err(Error::Disconnected));
}

#[test]
fn a_byte_that_comes_late_is_owed_and_taken_when_it_is_there() {
    let mut e = ends(1000);
    // A sender that was stopped between taking the bell and sending the byte.
    e.talker.put(&[b"a"]).unwrap();
    assert!(lane::rouse(e.talker.word(REQUEST_BELL)));
    assert!(e.listener.is_announced());
    assert_eq!(e.take().as_deref(), Some("a"));
    assert!(e.doze_off());
    assert!(e.listener.owes_bytes());
    e.peer.write_all(&[0]).unwrap();
    e.send("b");
    e.listener.take_late_bytes(e.own.as_fd()).unwrap();
    assert_eq!(e.bytes_waiting(), 1, "the other one announces");
    assert!(e.listener.is_announced());
    assert!(!e.listener.owes_bytes());
}

#[test]
fn a_message_too_large_for_the_buffer_stays() {
    let mut e = ends(1000);
    e.send("0123456789");
    assert_eq!(e.listener.receive(&mut [0; 9]), Err(Error::BufferTooSmall));
    assert_eq!(e.take().as_deref(), Some("0123456789"));
}

/// In the worst case a lane has half of its room: see `lane`.
#[test]
fn what_the_classic_ring_holds_finds_room_wherever_an_empty_lane_stands() {
    let ring = crate::rb::data_len(1000).unwrap();
    for before in 0..400 {
        for len in [16, 20, 33, 100, 1000, ring - 12] {
            let mut e = ends(1000);
            for _ in 0..before {
                e.send("0123456789");
                e.take().unwrap();
            }
            let message = vec![1; len];
            let chunk = 8 + len.next_multiple_of(4);
            for _ in 0..(ring - 4) / chunk {
                assert!(e.talker.send(&[&message], e.peer.as_fd()).is_ok(), "{before} {len}");
            }
        }
    }
}

#[test]
fn memory_of_another_size_is_refused() {
    let (_, fd) = Segment::make(1000).unwrap();
    assert_eq!(Segment::open(fd.as_fd(), 100_000).map(|_| ()), Err(Error::Corrupt));
    assert!(Segment::make(u32::MAX).is_err());
}

#[test]
fn a_closed_segment_wakes_a_sleeper() {
    let (server, fd) = Segment::make(1000).unwrap();
    let client = Segment::open(fd.as_fd(), 1000).unwrap();
    let mut responses = Listener::responses(&client);
    let sleeper = std::thread::spawn(move || {
        while !client.is_closed() {
            responses.sleep(Duration::from_secs(30)).unwrap();
        }
    });
    std::thread::sleep(Duration::from_millis(20));
    server.close();
    sleeper.join().unwrap();
}

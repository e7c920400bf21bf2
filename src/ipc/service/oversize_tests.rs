// SPDX-License-Identifier: LGPL-2.1-or-later
//! A server that sends more over a socket than was agreed.

use super::super::tests::{Running, message};
use super::connection::Events;
use crate::Error;
use crate::wire::{Features, Transport};

/// What the client finds that looks for an event with that much room; None looks at it in place.
#[test]
fn an_event_beyond_the_agreed_size_is_an_error_once_and_then_gone() {
    for room in [None, Some(100), Some(20_000)] {
        let running = Running::start("beyond", (Transport::Socket, Features::NONE));
        let client = running.connect();
        let connection = running.service.hold_newest().unwrap();
        let mut guard = connection.channels.get().unwrap().events.lock();
        let Some(Events::Socket(outbox)) = guard.as_mut() else { unreachable!() };
        for len in [20_001, 64] {
            outbox.send(&[&message(7, len, 1)]).unwrap();
        }
        drop(guard);
        let receive = |room| match room {
            Some(len) => client.recv_event(&mut vec![0; len], 20_000),
            None => client.peek_event(20_000).map(|event| event.len()),
        };
        assert_eq!(receive(room), Err(Error::Corrupt), "{room:?}");
        assert_eq!(receive(room), Ok(64), "{room:?}");
        assert!(!client.is_connected(), "the server does not keep to what was agreed");
        connection.release();
    }
}

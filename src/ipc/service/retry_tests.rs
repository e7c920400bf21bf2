// SPDX-License-Identifier: LGPL-2.1-or-later
//! Events for a socket client that takes its time to make its sockets.

use super::super::tests::{Call, Running, message};
use super::Connection;
use crate::ipc::Connecting;
use crate::limits::PENDING_EVENT_TIME;
use crate::wire::{Features, Transport};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A client that was let in and has no sockets yet, and an event is kept for it.
fn begin(running: &Running) -> (Connecting, Arc<Connection>) {
    let connecting = running.begin();
    assert!(matches!(running.calls(2)[..], [Call::Accept(_), Call::Created]));
    let connection = running.service.hold_newest().unwrap();
    assert_eq!(connection.send_event(&[&message(7, 100, 1)]), Ok(100));
    (connecting, connection)
}

/// As if the event had been kept for so long.
fn age(connection: &Connection, by: Duration) {
    let mut retry = connection.channels.get().unwrap().retry.lock();
    retry.as_mut().unwrap().since = Instant::now().checked_sub(by).unwrap();
}

#[test]
fn a_client_may_make_its_sockets_until_its_handshake_is_overdue() {
    let running = Running::start("late", (Transport::Socket, Features::NONE));
    let (connecting, connection) = begin(&running);
    age(&connection, Duration::from_secs(5));
    assert_eq!(connection.retry_kept(), Ok(true));
    let client = connecting.finish().unwrap();
    let mut buffer = [0; 200];
    assert_eq!(client.recv_event(&mut buffer, 20_000), Ok(100));
    assert_eq!(buffer[..100], message(7, 100, 1));
    connection.release();
}

#[test]
fn a_client_that_never_makes_its_sockets_is_disconnected() {
    let running = Running::start("too-late", (Transport::Socket, Features::NONE));
    let (connecting, connection) = begin(&running);
    age(&connection, PENDING_EVENT_TIME + Duration::from_millis(1));
    assert_eq!(running.calls(1), [Call::Closed]);
    connection.release();
    assert_eq!(running.calls(1), [Call::Destroyed]);
    assert!(connecting.finish().is_err());
}

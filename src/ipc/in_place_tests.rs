// SPDX-License-Identifier: LGPL-2.1-or-later
//! Messages in place and in batches, between a service and a client of this process, over every transport.

use super::tests::{ALL, Running, echo, message};
use super::*;
use crate::sys::fd::poll_one;
use crate::{Error, Result};
use std::sync::Arc;
use std::time::Duration;

fn readable(client: &Client) -> bool {
    poll_one(client.event_fd(), libc::POLLIN, Some(Duration::ZERO)).unwrap() & libc::POLLIN != 0
}

/// The only client, as its server sees it.
fn its_connection(running: &Running) -> Arc<Connection> {
    running.service.hold_newest().unwrap()
}

fn receive(client: &Client) -> Result<Vec<u8>> {
    client.peek_response(20_000).map(|response| response.to_vec())
}

#[test]
fn a_request_written_in_place_is_answered_and_one_that_is_dropped_was_never_there() {
    for kind in ALL {
        let running = Running::start("reserve", kind);
        let client = running.connect();
        assert_eq!(client.reserve(20_001).map(|_| ()), Err(Error::TooBig));
        drop(client.reserve(20_000).unwrap());
        let mut room = client.reserve(1000).unwrap();
        assert_eq!((room.len(), room.is_empty()), (1000, false));
        assert_eq!(client.reserve(1).map(|_| ()), Err(Error::InUse));
        assert_eq!(client.send(&[&message(1, 24, 0)]), Err(Error::Busy));
        assert_eq!(client.send_many(&[&message(1, 24, 0)]), Err(Error::Busy));
        let request = message(1, 500, 6);
        room.fill(0, &request[..100]).unwrap();
        room.fill(100, &request[100..]).unwrap();
        assert_eq!(room.fill(999, b"ab"), Err(Error::Invalid));
        assert_eq!(room.commit(1001), Err(Error::Invalid));
        assert_eq!(room.commit(500), Ok(500));
        assert_eq!((room.commit(500), room.fill(0, b"")), (Err(Error::Invalid), Err(Error::Invalid)));
        assert_eq!(room.detach(), None);
        assert_eq!(receive(&client), Ok(request), "{kind:?}");
        assert_eq!(echo(&client, 1, 24), Ok(message(1, 24, 9)));
    }
}

#[test]
fn a_request_that_was_left_open_is_found_again() {
    for kind in ALL {
        let running = Running::start("detach", kind);
        let client = running.connect();
        assert_eq!(client.commit_reserved(0), Err(Error::Invalid));
        client.cancel_reserved();
        let mut room = client.reserve(100).unwrap();
        client.cancel_reserved();
        room.fill(0, &message(1, 100, 3)).unwrap();
        let place = room.detach().unwrap();
        assert_eq!(place.as_ptr() as usize % 8, 0);
        assert_eq!(client.reserve(1).map(|_| ()), Err(Error::InUse));
        assert_eq!(client.commit_reserved(101), Err(Error::Invalid));
        assert_eq!(client.commit_reserved(100), Ok(100));
        assert_eq!(client.commit_reserved(100), Err(Error::Invalid));
        assert_eq!(receive(&client), Ok(message(1, 100, 3)));
        client.reserve(100).unwrap().detach().unwrap();
        client.cancel_reserved();
        assert_eq!(echo(&client, 1, 24), Ok(message(1, 24, 9)));
    }
}

#[test]
fn a_response_that_is_looked_at_stays_until_it_is_dropped() {
    for kind in ALL {
        let running = Running::start("look", kind);
        let client = running.connect();
        assert_eq!(client.peek_response(0).map(|_| ()), Err(Error::TimedOut));
        client.send_many(&[&message(1, 3000, 1), &message(1, 24, 2)]).unwrap();
        let first = client.peek_response(20_000).unwrap();
        assert_eq!(*first, message(1, 3000, 1));
        assert_eq!(client.peek_response(-1).map(|_| ()), Err(Error::InUse));
        assert_eq!(client.recv(&mut [0; 4000], -1), Err(Error::Busy));
        client.release_response();
        assert_eq!(client.recv(&mut [0; 4000], -1), Err(Error::Busy), "the guard has it");
        drop(first);
        let second = client.peek_response(20_000).unwrap();
        let (place, len) = second.detach().unwrap();
        assert_eq!((place.as_ptr() as usize % 8, len), (0, 24));
        assert_eq!(client.recv(&mut [0; 4000], -1), Err(Error::Busy));
        client.release_response();
        client.release_response();
        assert_eq!(client.recv(&mut [0; 4000], 0), Err(Error::TimedOut));
        assert_eq!(echo(&client, 1, 24), Ok(message(1, 24, 9)));
    }
}

#[test]
fn the_descriptor_is_readable_until_the_last_event_is_released() {
    for kind in ALL {
        let running = Running::start("look-events", kind);
        let client = running.connect();
        echo(&client, 2, 24).unwrap();
        for n in 100..103 {
            let event = client.peek_event(20_000).unwrap();
            assert_eq!(*event, message(n, 64, 7));
            assert!(readable(&client), "{kind:?}: it is still queued");
            assert_eq!(client.peek_event(-1).map(|_| ()), Err(Error::InUse));
            assert_eq!(client.recv_event(&mut [0; 100], -1), Err(Error::Busy));
            client.release_event();
            assert!(readable(&client), "{kind:?}: the guard has it");
        }
        assert!(!readable(&client), "{kind:?}");
        assert_eq!(client.peek_event(0).map(|_| ()), Err(Error::Busy));
    }
}

#[test]
fn an_event_kept_for_a_larger_buffer_can_be_looked_at() {
    for kind in ALL {
        let running = Running::start("kept", kind);
        let client = running.connect();
        echo(&client, 2, 24).unwrap();
        assert_eq!(client.recv_event(&mut [0; 8], 20_000), Err(Error::BufferTooSmall));
        for n in 100..103 {
            assert_eq!(*client.peek_event(20_000).unwrap(), message(n, 64, 7));
        }
        assert!(!readable(&client), "{kind:?}");
    }
}

#[test]
fn many_requests_are_queued_in_order_as_far_as_they_fit() {
    for kind in ALL {
        let running = Running::start("many", kind);
        let client = running.connect();
        let requests: Vec<Vec<u8>> = (0..300).map(|n| message(1, 30 + n, 8)).collect();
        let slices: Vec<&[u8]> = requests.iter().map(Vec::as_slice).collect();
        let (mut sent, mut seen) = (0, 0);
        while seen < requests.len() {
            match client.send_many(&slices[sent..]) {
                Ok(count) => sent += count,
                Err(e) => assert!(e == Error::Busy || sent == requests.len(), "{e:?}"),
            }
            while seen < sent {
                assert_eq!(receive(&client).unwrap(), requests[seen]);
                seen += 1;
            }
        }
        let huge = vec![0; 20_001];
        assert_eq!(client.send_many(&[slices[0], &huge, slices[1]]), Ok(1));
        assert_eq!(client.send_many(&[&huge]), Err(Error::TooBig));
        assert_eq!(client.send_many(&[]), Err(Error::Invalid));
        assert_eq!(receive(&client).as_ref(), Ok(&requests[0]));
    }
}

#[test]
fn events_are_written_in_place_and_many_at_once() {
    for kind in ALL {
        let running = Running::start("own-events", kind);
        let client = running.connect();
        echo(&client, 1, 24).unwrap();
        let connection = its_connection(&running);
        assert_eq!(connection.is_sealed(), client.is_sealed());
        assert_eq!(connection.commit_reserved_event(0), Err(Error::Invalid));
        connection.cancel_reserved_event();
        assert_eq!(connection.reserve_event(20_001).map(|_| ()), Err(Error::TooBig));
        drop(connection.reserve_event(20_000).unwrap());
        let mut room = connection.reserve_event(100).unwrap();
        assert_eq!(connection.reserve_event(1).map(|_| ()), Err(Error::InUse));
        assert_eq!(connection.send_event(&[b"x"]), Err(Error::Busy));
        assert_eq!(connection.send_events(&[b"x"]), Err(Error::Busy));
        room.fill(0, &message(5, 64, 1)).unwrap();
        assert_eq!(room.commit(101), Err(Error::Invalid));
        assert_eq!(room.commit(64), Ok(64));
        let many: Vec<Vec<u8>> = (0..20).map(|n| message(n, 64, 2)).collect();
        let slices: Vec<&[u8]> = many.iter().map(Vec::as_slice).collect();
        let mut sent = 0;
        let mut seen = vec![client.peek_event(20_000).unwrap().to_vec()];
        while sent < slices.len() {
            sent += connection.send_events(&slices[sent..]).unwrap();
            while seen.len() <= sent {
                seen.push(client.peek_event(20_000).unwrap().to_vec());
            }
        }
        assert_eq!(seen[0], message(5, 64, 1));
        assert_eq!(seen[1..], many);
        assert!(!readable(&client));
        assert_eq!(connection.stats(false).events, 21);
        connection.release();
    }
}

#[test]
fn an_event_outlives_the_client_for_which_it_is_written() {
    for kind in ALL {
        let running = Running::start("gone", kind);
        let client = running.connect();
        echo(&client, 1, 24).unwrap();
        let connection = its_connection(&running);
        let mut room = connection.reserve_event(100).unwrap();
        drop(client);
        while connection.reserve_event(1).map(|_| ()) != Err(Error::Disconnected) {
            std::thread::yield_now();
        }
        room.fill(0, &[1; 100]).unwrap();
        assert_eq!(room.commit(100), Err(Error::Disconnected));
        assert!(room.is_empty());
        drop(room);
        connection.release();
    }
}

#[test]
fn threads_write_in_place_and_otherwise_on_one_connection() {
    const EACH: usize = 500;
    for kind in ALL {
        let running = Running::start("place-threads", kind);
        let client = running.connect();
        std::thread::scope(|scope| {
            for in_place in [true, false, true] {
                let client = &client;
                scope.spawn(move || {
                    let request = message(1, 64, 5);
                    for _ in 0..EACH {
                        let send = || -> Result<usize> {
                            if !in_place {
                                return client.send(&[&request]);
                            }
                            let mut room = client.reserve(64)?;
                            room.fill(0, &request)?;
                            room.commit(64)
                        };
                        loop {
                            match send() {
                                Ok(64) => break,
                                Err(Error::Busy | Error::InUse) => std::thread::yield_now(),
                                other => panic!("{other:?}"),
                            }
                        }
                    }
                });
            }
            for _ in 0..3 * EACH {
                assert_eq!(receive(&client), Ok(message(1, 64, 5)));
            }
        });
    }
}

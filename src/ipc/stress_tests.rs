// SPDX-License-Identifier: LGPL-2.1-or-later
//! Sealed memory with delays between all its steps: no message is lost or out of order, no wake-up is lost, and a descriptor
//! is readable exactly as long as something is queued. `QB_STRESS_MESSAGES` says how many messages, `QB_STRESS_SEED` repeats
//! the choices of a run; both sides work in this process.

use super::sealed::{Bell, Listener, Segment, Talker};
use super::*;
use crate::event::{Job, Loop};
use crate::lane::delays::{self, Longest};
use crate::sys::fd::poll_one;
use crate::{Error, Result};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Longer than any delay of an honest machine: a wait that lasts so long was forgotten.
const WATCHDOG: Duration = Duration::from_secs(60);
const MOST: u32 = 2000;

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

fn seed() -> u64 {
    let seed = from_env("QB_STRESS_SEED", u64::from(std::process::id()) << 24 | 0x5eed);
    println!("QB_STRESS_SEED={seed}");
    seed
}

/// How long the n-th message is: mostly short, now and then as long as it may be.
fn length(n: u64) -> usize {
    let mixed = n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40;
    24 + if mixed.is_multiple_of(64) { mixed as usize % (MOST as usize - 23) } else { mixed as usize % 40 }
}

/// The n-th message, with a head that every checker of requests accepts.
fn write(n: u64, buffer: &mut [u8]) -> &[u8] {
    let message = &mut buffer[..length(n)];
    let len = i32::try_from(message.len()).unwrap();
    message.fill(n as u8);
    message[0..8].copy_from_slice(&1_u64.to_ne_bytes());
    message[8..16].copy_from_slice(&u64::from(len.cast_unsigned()).to_ne_bytes());
    message[16..24].copy_from_slice(&n.to_ne_bytes());
    message
}

fn check(n: u64, message: &[u8]) {
    assert_eq!(u64::from_ne_bytes(message[16..24].try_into().unwrap()), n, "lost or out of order");
    assert_eq!(message.len(), length(n), "message {n}");
    assert!(message[24..].iter().all(|byte| *byte == n as u8), "message {n}");
}

fn readable(fd: BorrowedFd<'_>, wait: Duration) -> bool {
    poll_one(fd, libc::POLLIN, Some(wait)).unwrap() & libc::POLLIN != 0
}

/// Now and then a pause, long enough for the other side to fall asleep.
fn pause(n: u64) {
    match n.wrapping_mul(0xD134_2543_DE82_EF95) >> 50 {
        0..8 => std::thread::sleep(Duration::from_micros(n % 300)),
        8..64 => std::thread::yield_now(),
        _ => {}
    }
}

/// A receiver as the service has it: polls its stream, takes what is there, and dozes off.
fn receive_announced(mut lane: Listener, stream: &UnixStream, messages: u64) {
    let mut buffer = [0; MOST as usize];
    let mut n = 0;
    while n < messages {
        assert!(readable(stream.as_fd(), WATCHDOG), "message {n} was never announced");
        if !lane.is_announced() {
            lane.clear(stream.as_fd()).unwrap();
            continue;
        }
        loop {
            while let Some(len) = lane.receive(&mut buffer).unwrap() {
                check(n, &buffer[..len]);
                n += 1;
            }
            if lane.doze_off(stream.as_fd()).unwrap() {
                break;
            }
        }
    }
    // At rest: nothing queued, nothing readable, as soon as the last byte has come.
    while lane.is_announced() || lane.owes_bytes() {
        assert!(readable(stream.as_fd(), WATCHDOG), "a byte that was announced never came");
        lane.doze_off(stream.as_fd()).unwrap();
    }
    assert!(!lane.ready() && !readable(stream.as_fd(), Duration::ZERO));
}

#[test]
fn delays_lose_no_message_and_no_byte() {
    let (messages, seed) = (from_env("QB_STRESS_MESSAGES", 200_000), seed());
    let (server, fd) = Segment::make(MOST).unwrap();
    let client = Segment::open(fd.as_fd(), MOST).unwrap();
    let (near, far) = UnixStream::pair().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            delays::start(seed, Longest::Sleep);
            let mut lane = Talker::requests(&client);
            let mut buffer = [0; MOST as usize];
            for n in 0..messages {
                let message = write(n, &mut buffer);
                loop {
                    match lane.send(&[message], near.as_fd()) {
                        Ok(sent) => {
                            assert_eq!((sent.bytes, sent.bell == Bell::Broken), (message.len(), false));
                            break;
                        }
                        Err(e) => assert_eq!(e, Error::Busy),
                    }
                    std::thread::yield_now();
                }
                pause(n);
            }
        });
        delays::start(seed.rotate_left(17), Longest::Sleep);
        receive_announced(Listener::requests(&server), &far, messages);
    });
}

#[test]
fn delays_lose_no_message_and_no_futex() {
    let (messages, seed) = (from_env("QB_STRESS_MESSAGES", 200_000), seed());
    let (server, fd) = Segment::make(MOST).unwrap();
    let client = Segment::open(fd.as_fd(), MOST).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            delays::start(seed, Longest::Sleep);
            let mut lane = Talker::responses(&server);
            let mut buffer = [0; MOST as usize];
            for n in 0..messages {
                let message = write(n, &mut buffer);
                while let Err(e) = lane.send_to_sleeper(&[message]) {
                    assert_eq!(e, Error::Busy);
                    std::thread::yield_now();
                }
                pause(n);
            }
        });
        delays::start(seed.rotate_left(17), Longest::Sleep);
        let mut lane = Listener::responses(&client);
        let mut buffer = [0; MOST as usize];
        for n in 0..messages {
            loop {
                if let Some(len) = lane.receive(&mut buffer).unwrap() {
                    check(n, &buffer[..len]);
                    break;
                }
                assert!(lane.sleep(WATCHDOG).unwrap(), "nobody woke the reader of message {n}");
            }
        }
        assert!(!lane.ready());
    });
}

/// Answers each request, and sends it back as an event as well.
struct Mirror;

impl Handler for Mirror {
    fn accept(&self, _: &Arc<Connection>, _: &Credentials) -> std::result::Result<(), i32> {
        Ok(())
    }
    fn created(&self, _: &Arc<Connection>) {
        delays::start(from_env("QB_STRESS_SEED", 77), Longest::Yield);
    }
    fn process(&self, connection: &Arc<Connection>, request: &mut Request<'_>) -> i32 {
        let bytes = request.bytes();
        // A client takes both before it has more than a few requests under way: there is room.
        assert_eq!(connection.send_event(&[bytes]), Ok(bytes.len()));
        assert_eq!(connection.send_response(&[bytes]), Ok(bytes.len()));
        0
    }
}

/// Requests in bursts, each with its answer and its event. The descriptor is polled before every event.
fn converse(client: &Client, first: u64, messages: u64) -> Result<u64> {
    let (mut out, mut room) = ([0; MOST as usize], [0; MOST as usize]);
    let wait = i32::try_from(WATCHDOG.as_millis()).unwrap();
    let mut n = first;
    while n < first + messages {
        let burst = (1 + n % 5).min(first + messages - n);
        for i in n..n + burst {
            assert_eq!(client.send(&[write(i, &mut out)])?, length(i));
        }
        for i in n..n + burst {
            let len = client.recv(&mut room, wait)?;
            check(i, &room[..len]);
            assert!(readable(client.event_fd(), WATCHDOG), "event {i} is queued and nothing says so");
            let len = client.recv_event(&mut room, 0)?;
            check(i, &room[..len]);
        }
        assert!(!readable(client.event_fd(), Duration::ZERO), "nothing is queued after event {n}");
        n += burst;
        pause(n);
    }
    Ok(3 * messages)
}

#[test]
fn delays_lose_nothing_between_clients_and_a_service() {
    const CLIENTS: u64 = 3;
    let (messages, seed) = (from_env("QB_STRESS_MESSAGES", 60_000) / CLIENTS / 3, seed());
    let name = format!("qb-stress-{}", std::process::id());
    let event_loop = Loop::new().unwrap();
    let service = Service::new(&name, 1, Ok(Transport::SharedMemory), Box::new(Mirror)).unwrap();
    service.set_poller(event_loop.clone());
    service.run().unwrap();
    let done = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| event_loop.run());
        std::thread::scope(|scope| {
            for c in 0..CLIENTS {
                let (name, done) = (&name, &done);
                scope.spawn(move || {
                    delays::start(seed.rotate_left(7 * u32::try_from(c).unwrap()), Longest::Sleep);
                    let offer = crate::wire::Features::SEALED;
                    let client =
                        Connecting::start_with(name, MOST as usize, true, offer).unwrap().finish().unwrap();
                    done.fetch_add(converse(&client, c << 40, messages).unwrap(), Relaxed);
                });
            }
        });
        let ended = event_loop.clone();
        let end = Job::new(move || {
            service.destroy();
            ended.stop();
        });
        event_loop.job_add(Priority::High, end).unwrap();
    });
    assert_eq!(done.load(Relaxed), messages * 3 * CLIENTS);
}

// SPDX-License-Identifier: LGPL-2.1-or-later
//! The echo service and its client with the crate `qb`, in one program: `cargo run --release --example echo`.
//!
//! The service runs on its own loop in one thread, the client in another; both could as well be two processes, or one of
//! them a C program. Prints round trips per second and latency percentiles over both transports.

use qb::event::{Job, Loop};
use qb::ipc::{Client, Connection, Credentials, Handler, Priority, Request, Service, Transport};
use qb::{Error, Result};
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Answers every request with its own bytes.
struct Echo;

impl Handler for Echo {
    fn accept(&self, _connection: &Arc<Connection>, _peer: &Credentials) -> std::result::Result<(), i32> {
        Ok(())
    }

    fn process(&self, connection: &Arc<Connection>, request: &mut Request<'_>) -> i32 {
        // A client that does not read its answers loses them; the connection goes on.
        match connection.send_response(&[request.bytes()]) {
            Ok(_) | Err(Error::Busy) => 0,
            Err(_) => -1,
        }
    }
}

/// A message of `len` bytes: the head that every message has, and zeros.
fn message(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    bytes[8..12].copy_from_slice(&(len as i32).to_ne_bytes());
    bytes
}

fn measure(client: &Client, len: usize, out: &mut impl Write) -> Result<()> {
    let request = message(len);
    let mut answer = vec![0; len];
    let mut took: Vec<Duration> = Vec::with_capacity(1 << 16);
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(300) {
        let sent = Instant::now();
        client.send_recv(&[&request], &mut answer, 5_000)?;
        took.push(sent.elapsed());
    }
    let per_second = took.len() as f64 / start.elapsed().as_secs_f64();
    took.sort_unstable();
    let percentile = |p: usize| took[(took.len() - 1) * p / 100].as_secs_f64() * 1e6;
    writeln!(
        out,
        "  {len:>7} bytes {per_second:>10.0}/s   p50 {:>7.1} us   p99 {:>7.1} us",
        percentile(50),
        percentile(99)
    )?;
    Ok(())
}

fn main() -> Result<()> {
    let mut out = std::io::stdout().lock();
    for transport in [Transport::SharedMemory, Transport::Socket] {
        writeln!(out, "{transport:?}")?;
        let name = format!("qb-echo-rs-{}", std::process::id());
        let event_loop = Loop::new()?;
        let service = Service::new(&name, 0, Ok(transport), Box::new(Echo))?;
        service.set_poller(event_loop.clone());
        service.run()?;
        let server = {
            let event_loop = event_loop.clone();
            std::thread::spawn(move || event_loop.run())
        };

        let client = Client::connect(&name, 128 << 10)?;
        for len in [64, 4 << 10, 64 << 10] {
            measure(&client, len, &mut out)?;
        }
        drop(client);

        // The service belongs to the loop's thread, so that is where it ends.
        let end = event_loop.clone();
        event_loop.job_add(
            Priority::High,
            Job::new(move || {
                service.destroy();
                end.stop();
            }),
        )?;
        let _ = server.join();
    }
    Ok(())
}

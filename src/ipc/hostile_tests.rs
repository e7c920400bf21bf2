// SPDX-License-Identifier: LGPL-2.1-or-later
//! Any value in any shared word at any time: a thread stores random values into the memory of a connection while client and
//! service use it, both in this process. `QB_PROPERTY_STEPS` says how many stores at least and `QB_PROPERTY_SECONDS` how long
//! at least, per transport (`make property`); `QB_PROPERTY_ONLY` names one of them; `QB_PROPERTY_SEED` repeats a run.

use super::*;
use crate::event::{Job, Loop};
use crate::wire::Features;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Largest message of these connections; no other test uses it.
const SIZE: usize = 22_222;

/// Marsaglia's xorshift: reproducible and without a dependency.
pub(super) struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    /// A value that may mean something, or any.
    fn value(&mut self, words: u32) -> u32 {
        const READY: u32 = 0xA1A1_A1A1;
        match self.below(16) {
            0 => 0,
            1 => 1,
            2 => words,
            3 => words - 1,
            4 => words + 1,
            5 => 1 << 31,
            6 => u32::MAX,
            7 => i32::MAX.cast_unsigned(),
            8..=10 => READY,
            11 | 12 => u32::try_from(self.below(64)).unwrap(),
            13 => u32::try_from(self.below(u64::from(words))).unwrap(),
            _ => self.next() as u32,
        }
    }
}

/// Echoes, and sends an event with every third answer, in every way. Never waits, whatever a send says.
struct Echo(AtomicU64);

impl Handler for Echo {
    fn accept(&self, _: &Arc<Connection>, _: &Credentials) -> std::result::Result<(), i32> {
        Ok(())
    }
    fn process(&self, connection: &Arc<Connection>, request: &mut Request<'_>) -> i32 {
        let n = self.0.fetch_add(1, Relaxed);
        let bytes = request.bytes();
        assert!((16..=SIZE).contains(&bytes.len()));
        let _ = connection.send_response(&[bytes]);
        let _ = match n % 9 {
            0 => connection.send_event(&[bytes]),
            3 => connection.send_events(&[bytes, bytes]),
            6 => connection.reserve_event(bytes.len()).and_then(|mut room| {
                room.fill(0, bytes)?;
                room.commit(bytes.len())
            }),
            _ => Ok(0),
        };
        0
    }
}

/// The shared files of the connections that exist now; the directories carry this process's number twice.
fn shared_files() -> Vec<PathBuf> {
    let pid = std::process::id();
    let prefix = format!("qb-{pid}-{pid}-");
    let Ok(entries) = std::fs::read_dir("/dev/shm") else {
        return Vec::new();
    };
    let ours = entries.flatten().filter(|e| e.file_name().to_string_lossy().starts_with(&prefix));
    let files = ours.filter_map(|dir| std::fs::read_dir(dir.path()).ok()).flatten().flatten();
    files.map(|f| f.path()).filter(|p| p.to_string_lossy().contains("property")).collect()
}

/// Offsets of the words of a ring's header that mean something.
const HEADER: [u64; 10] = [0, 4, 8, 12, 4108, 8204, 8208, 8212, 8216, 8240];

/// Stores into the files of the connections until told to stop. Files are written, not mapped: these are the same pages,
/// and the peer's accesses are none of ours.
fn scribble(stop: &AtomicBool, done: &AtomicU64, mut random: Random) {
    while !stop.load(Relaxed) {
        let files: Vec<(File, bool)> = shared_files()
            .into_iter()
            .filter_map(|path| {
                let header = path.to_string_lossy().ends_with("-header");
                File::options().read(true).write(true).open(path).ok().map(|file| (file, header))
            })
            .collect();
        if files.is_empty() {
            std::thread::yield_now();
            continue;
        }
        for _ in 0..1 + random.below(300) {
            let (file, header) = &files[usize::try_from(random.below(files.len() as u64)).unwrap()];
            let len = file.metadata().map_or(0, |m| m.len());
            if random.below(4000) == 0 && len > 0 {
                // Cut, and grown again.
                let _ = file.set_len(random.below(2) * 4096);
                let _ = file.set_len(len);
                continue;
            }
            let words = u32::try_from(len / 4).unwrap().max(2);
            let offset = match random.below(4) {
                _ if *header => HEADER[usize::try_from(random.below(10)).unwrap()],
                0 => random.below(u64::from(words)) * 4,
                _ => random.below(80) * 4,
            };
            if offset + 4 <= len {
                let _ = file.write_at(&random.value(words).to_ne_bytes(), offset);
            }
            done.fetch_add(1, Relaxed);
            if random.below(8) == 0 {
                std::thread::yield_now();
            }
        }
    }
}

/// The same to sealed memory: words that mean something, the first records of each lane, and anything.
fn scribble_sealed(stop: &AtomicBool, done: &AtomicU64, mut random: Random) {
    const CONTROL: [u64; 10] = [0, 1, 2, 3, 32, 33, 34, 64, 96, 128];
    while !stop.load(Relaxed) {
        let segments: Vec<_> = {
            let mut made = sealed::tests::MADE.lock();
            made.retain(|segment| segment.strong_count() > 0);
            // Those of other tests have other lengths.
            let len = sealed::lengths(SIZE as u32).unwrap().1;
            made.iter().filter_map(std::sync::Weak::upgrade).filter(|s| s.len() == len).collect()
        };
        if segments.is_empty() {
            std::thread::yield_now();
            continue;
        }
        for _ in 0..1 + random.below(300) {
            let segment = &segments[usize::try_from(random.below(segments.len() as u64)).unwrap()];
            let words = u64::try_from(segment.len() / 4).unwrap();
            let lane = (words - 1024) / 3;
            let word = match random.below(4) {
                0 => CONTROL[usize::try_from(random.below(10)).unwrap()],
                1 => random.below(words),
                _ => 1024 + lane * random.below(3) + random.below(400),
            };
            let value = random.value(u32::try_from(lane).unwrap());
            segment.scribble(usize::try_from(word * 4).unwrap(), value);
            done.fetch_add(1, Relaxed);
            if random.below(8) == 0 {
                std::thread::yield_now();
            }
        }
    }
}

fn connect(name: &str, offer: Features) -> crate::Result<Client> {
    Connecting::start_with(name, SIZE, true, offer)?.finish()
}

fn message(len: usize) -> Vec<u8> {
    let mut bytes = vec![7; len];
    bytes[..24].fill(0);
    bytes[0..4].copy_from_slice(&1_i32.to_ne_bytes());
    bytes[8..12].copy_from_slice(&i32::try_from(len).unwrap().to_ne_bytes());
    bytes
}

/// Requests, answers and events for as long as the connection lasts; errors are what it is about.
fn use_connection(client: &Client, random: &mut Random, moves: &AtomicU64) {
    let mut room = vec![0; SIZE];
    for _ in 0..200 {
        let len = 24 + usize::try_from(random.below(600)).unwrap();
        let request = message(len);
        let in_place = random.below(2) == 0;
        let results = if in_place {
            let sent = client.reserve(len).and_then(|mut room| {
                room.fill(0, &request)?;
                room.commit(len)
            });
            let more = client.send_many(&[&request, &request]);
            // What an honest server of this size could not send either may still fit the memory.
            let held = client.peek_response(1).map(|response| response.len().min(SIZE));
            [sent, more, held, client.peek_event(0).map(|event| event.len().min(SIZE))]
        } else {
            let sent = client.send(&[&request]);
            [sent, Ok(0), client.recv(&mut room, 1), client.recv_event(&mut room[..100], 0)]
        };
        for n in results.iter().flatten() {
            assert!(*n <= SIZE);
        }
        moves.fetch_add(1, Relaxed);
        if !client.is_connected() {
            return;
        }
    }
}

fn from_env(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}

/// Ends the process when nothing has moved for a minute: whatever the words say, no call may wait that long.
fn watch(stop: &AtomicBool, moves: &AtomicU64) {
    let (mut seen, mut since) = (0, Instant::now());
    while !stop.load(Relaxed) {
        std::thread::sleep(Duration::from_millis(20));
        let now = moves.load(Relaxed);
        if now != seen {
            (seen, since) = (now, Instant::now());
        } else if since.elapsed() > Duration::from_secs(60) {
            eprintln!("no call has come back for a minute");
            std::process::abort();
        }
    }
}

#[test]
fn no_value_in_a_shared_word_brings_either_side_down() {
    let steps = from_env("QB_PROPERTY_STEPS", 60_000);
    let seed = from_env("QB_PROPERTY_SEED", u64::from(std::process::id()) << 20 | 1);
    let time = Duration::from_secs(from_env("QB_PROPERTY_SECONDS", 0));
    println!("QB_PROPERTY_SEED={seed}");
    let only = std::env::var("QB_PROPERTY_ONLY").ok();
    let kinds: Vec<_> = [
        ("Sealed", Transport::SharedMemory, Features::SEALED),
        ("SharedMemory", Transport::SharedMemory, Features::NONE),
        ("Socket", Transport::Socket, Features::NONE),
    ]
    .into_iter()
    .filter(|(kind, ..)| only.as_ref().is_none_or(|only| only == kind))
    .collect();
    assert!(!kinds.is_empty(), "QB_PROPERTY_ONLY is Sealed, SharedMemory or Socket");
    for (kind, transport, offer) in kinds {
        let name = format!("qb-property-{}-{kind}", std::process::id());
        let event_loop = Loop::new().unwrap();
        let service = Service::new(&name, 1, Ok(transport), Box::new(Echo(AtomicU64::new(0)))).unwrap();
        service.set_poller(event_loop.clone());
        service.run().unwrap();
        let (stop, done) = (AtomicBool::new(false), AtomicU64::new(0));
        let (live, moves, start) = (Mutex::new(0_u64), AtomicU64::new(0), Instant::now());
        std::thread::scope(|scope| {
            scope.spawn(|| event_loop.run());
            if offer == Features::NONE {
                scope.spawn(|| scribble(&stop, &done, Random(seed)));
            } else {
                scope.spawn(|| scribble_sealed(&stop, &done, Random(seed)));
            }
            scope.spawn(|| watch(&stop, &moves));
            let mut random = Random(seed ^ 0x9E37_79B9_7F4A_7C15);
            let none_yet = || start.elapsed() < Duration::from_secs(60) && *live.lock().unwrap() == 0;
            while done.load(Relaxed) < steps || start.elapsed() < time || none_yet() {
                // The files may be spoilt between the answer and their opening.
                let client = connect(&name, offer);
                moves.fetch_add(1, Relaxed);
                if let Ok(client) = client {
                    use_connection(&client, &mut random, &moves);
                    *live.lock().unwrap() += 1;
                }
            }
            stop.store(true, Relaxed);
            // Nothing hostile any more: a client is served as ever.
            let client = (0..100)
                .find_map(|_| {
                    let client = connect(&name, offer).ok()?;
                    let answer = client.send_recv(&[&message(100)], &mut [0; 200], 20_000);
                    if answer == Ok(100) {
                        return Some(client);
                    }
                    // Only the last scribbles can have hit this one.
                    std::thread::sleep(Duration::from_millis(10));
                    None
                })
                .expect("an honest client is served");
            drop(client);
            let (service, event_loop) = (service.clone(), event_loop.clone());
            let ended = event_loop.clone();
            let end = Job::new(move || {
                service.destroy();
                ended.stop();
            });
            event_loop.job_add(Priority::High, end).unwrap();
        });
        let live = *live.lock().unwrap();
        println!("{kind}: {} stores, {live} connections, {:?}", done.load(Relaxed), start.elapsed());
        assert!(live > 0, "no connection was ever made");
        assert_eq!(shared_files().iter().filter(|p| p.to_string_lossy().contains(&name)).count(), 0);
    }
}

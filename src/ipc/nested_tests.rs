// SPDX-License-Identifier: LGPL-2.1-or-later
//! Services on a plain poll loop: main loops inside the application's function, and clients that stop half-way.

use super::*;
use crate::Result;
use crate::sync::Mutex;
use crate::sys::fd::poll_set;
use crate::wire::Features;
use std::collections::BTreeMap;
use std::os::fd::RawFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Looks at every descriptor in turn.
#[derive(Default)]
struct Plain {
    watched: Mutex<BTreeMap<RawFd, (i32, Watch)>>,
    dispatched: AtomicUsize,
}

impl Poller for Plain {
    fn add(&self, _: Priority, fd: RawFd, events: i32, watch: Watch) -> Result<()> {
        drop(self.watched.lock().insert(fd, (events, watch)));
        Ok(())
    }
    fn modify(&self, priority: Priority, fd: RawFd, events: i32, watch: Watch) -> Result<()> {
        self.add(priority, fd, events, watch)
    }
    fn remove(&self, fd: RawFd) -> Result<()> {
        let gone = self.watched.lock().remove(&fd);
        drop(gone);
        Ok(())
    }
    fn job(&self, _: Priority, _: Arc<Connection>) -> Result<()> {
        Err(crate::Error::NotSupported)
    }
}

impl Plain {
    /// One turn; how many dispatches there were, those in nested turns included.
    fn turn(&self) -> usize {
        let before = self.dispatched.load(Relaxed);
        let pollfd = |(fd, (events, _)): (&RawFd, &(i32, Watch))| libc::pollfd {
            fd: *fd,
            events: *events as i16,
            revents: 0,
        };
        let mut set: Vec<_> = self.watched.lock().iter().map(pollfd).collect();
        poll_set(&mut set, Some(Duration::from_millis(1))).unwrap();
        for ready in set.iter().filter(|ready| ready.revents != 0) {
            let Some((_, watch)) = self.watched.lock().get(&ready.fd).cloned() else { continue };
            self.dispatched.fetch_add(1, Relaxed);
            // The descriptor may be watched for something else by now.
            let over = watch.dispatch(ready.revents.into()) == Next::Remove;
            if over && self.watched.lock().get(&ready.fd).is_some_and(|(_, now)| now.is_same(&watch)) {
                self.remove(ready.fd).unwrap();
            }
        }
        self.dispatched.load(Relaxed) - before
    }

    fn turns(&self, turns: usize) -> usize {
        (0..turns).map(|_| self.turn()).sum()
    }
}

type Hook = Box<dyn Fn(i32) + Send + Sync>;

/// Writes down the numbers of requests and calls a hook with each.
#[derive(Clone, Default)]
struct Noting {
    hook: Arc<OnceLock<Hook>>,
    seen: Arc<Mutex<Vec<i32>>>,
}

impl Handler for Noting {
    fn accept(&self, _: &Arc<Connection>, _: &Credentials) -> std::result::Result<(), i32> {
        Ok(())
    }
    fn process(&self, _: &Arc<Connection>, request: &mut Request<'_>) -> i32 {
        let id = i32::from_ne_bytes(request.bytes()[..4].try_into().unwrap());
        self.seen.lock().push(id);
        if let Some(hook) = self.hook.get() {
            hook(id);
        }
        0
    }
}

struct Pair {
    name: String,
    plain: Arc<Plain>,
    client: Client,
    noting: Noting,
    service: Arc<Service>,
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.service.destroy();
    }
}

impl Pair {
    fn new(what: &str, size: usize, features: Features) -> Self {
        let name = format!("qb-rs-{what}-{}", std::process::id());
        let (plain, noting) = (Arc::new(Plain::default()), Noting::default());
        let service = Service::new(&name, 1, Ok(Transport::SharedMemory), Box::new(noting.clone())).unwrap();
        service.set_poller(plain.clone());
        service.run().unwrap();
        let client = std::thread::scope(|scope| {
            let connecting = scope
                .spawn(|| Connecting::start_with(&name, size, true, features).unwrap().finish().unwrap());
            while !connecting.is_finished() {
                plain.turn();
            }
            connecting.join().unwrap()
        });
        Self { name, plain, client, noting, service }
    }

    fn hook(&self, hook: impl Fn(i32) + Send + Sync + 'static) {
        assert!(self.noting.hook.set(Box::new(hook)).is_ok());
    }

    fn send(&self, id: i32, len: usize) -> Result<usize> {
        self.client.send(&[&super::tests::message(id, len, 0)])
    }

    /// Takes back the counts of all requests that are queued.
    fn forget_counts(&self) {
        let file = format!("qb-request-{}-header", self.name);
        let mut directories = std::fs::read_dir("/dev/shm").unwrap().flatten();
        let path = directories.find_map(|d| Some(d.path().join(&file)).filter(|path| path.exists())).unwrap();
        let header = std::fs::File::options().write(true).open(path).unwrap();
        header.write_at(&0_u32.to_ne_bytes(), 8208).unwrap();
    }
}

#[test]
fn a_client_that_stops_between_chunk_and_count_costs_nothing() {
    let pair = Arc::new(Pair::new("half-way", 20_000, Features::NONE));
    let weak = Arc::downgrade(&pair);
    pair.hook(move |id| {
        if let (1, Some(pair)) = (id, weak.upgrade()) {
            pair.send(2, 64).unwrap();
            pair.forget_counts();
        }
    });
    pair.send(1, 64).unwrap();
    pair.plain.turn();
    assert!(pair.plain.turns(100) <= 3);
    assert_eq!(*pair.noting.seen.lock(), [1]);
}

#[test]
fn a_main_loop_inside_the_applications_function_sleeps() {
    for (what, features) in [("nested-classic", Features::NONE), ("nested-sealed", Features::SEALED)] {
        for queued in [0, 3] {
            let pair = Pair::new(what, 20_000, features);
            let (plain, nested) = (Arc::downgrade(&pair.plain), Arc::new(AtomicUsize::new(0)));
            let turns = nested.clone();
            pair.hook(move |id| {
                if let (1, Some(plain)) = (id, plain.upgrade()) {
                    turns.store(plain.turns(50), Relaxed);
                }
            });
            for id in 0..=queued {
                pair.send(id + 1, 64).unwrap();
            }
            while pair.noting.seen.lock().len() <= queued as usize {
                assert!(pair.plain.turn() > 0, "a request waits unannounced");
            }
            assert!(nested.load(Relaxed) <= 2, "{what}, {queued} more");
            assert_eq!(*pair.noting.seen.lock(), (1..=queued + 1).collect::<Vec<_>>());
            // What comes later is announced as ever.
            pair.plain.turns(3);
            pair.send(99, 64).unwrap();
            assert!(pair.plain.turns(2) > 0);
            assert_eq!(pair.noting.seen.lock().last(), Some(&99));
        }
    }
}

#[test]
fn one_way_requests_arrive_once_and_in_order_whatever_the_application_does() {
    const COUNT: i32 = 20_000;
    for (size, nesting) in [(20_000, false), (100_000, false), (20_000, true), (100_000, true)] {
        let pair = Pair::new(&format!("stream-{size}-{nesting}"), size, Features::NONE);
        let plain = Arc::downgrade(&pair.plain);
        pair.hook(move |id| {
            if let (true, Some(plain)) = (nesting && id % 97 == 5, plain.upgrade()) {
                plain.turns(2);
            }
        });
        std::thread::scope(|scope| {
            let sender = scope.spawn(|| {
                let mut random = super::hostile_tests::Random(7);
                for id in 1..=COUNT {
                    let len = 24 + random.below(300) as usize;
                    while pair.send(id, len) == Err(crate::Error::Busy) {
                        std::thread::yield_now();
                    }
                    if random.below(500) == 0 {
                        std::thread::sleep(Duration::from_micros(200));
                    }
                }
            });
            while pair.noting.seen.lock().len() < COUNT as usize {
                let sent = sender.is_finished();
                assert!(pair.plain.turn() > 0 || !sent, "a request waits unannounced");
            }
        });
        assert!(pair.noting.seen.lock().iter().copied().eq(1..=COUNT));
        assert!(pair.plain.turns(20) <= 3, "nothing is left to do");
    }
}

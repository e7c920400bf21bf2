// SPDX-License-Identifier: LGPL-2.1-or-later
//! A loop under any sequence of operations, some from outside and the rest from its own callbacks: what was deleted does not
//! run, nothing runs twice, and the loop ends when told.

use crate::Source;
use qb::event::{Events, Job, Loop, Next, Priority, Task, TimerHandle};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// What became of a job or timer.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Fate {
    Waits,
    Ran,
    Deleted,
}

struct State {
    input: Vec<u8>,
    at: usize,
    /// Callbacks may still do something.
    budget: u32,
    jobs: Vec<(Priority, Fate)>,
    timers: Vec<(TimerHandle, Fate)>,
    /// For each pair: how often its first end was registered, and whether it is now.
    watched: [(u32, bool); 3],
    /// The loop has dropped everything.
    closed: bool,
}

struct World {
    event_loop: Weak<Loop>,
    pairs: [(UnixStream, UnixStream); 3],
    state: Mutex<State>,
}

const PRIORITIES: [Priority; 3] = [Priority::Low, Priority::Med, Priority::High];

impl World {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next four bytes of the input; None at its end, or when the callbacks have done enough.
    fn next(&self) -> Option<[u8; 4]> {
        let mut state = self.state();
        let mut source = Source(state.input.get(state.at..)?);
        if source.is_empty() || state.budget == 0 {
            return None;
        }
        let op = [source.byte(), source.byte(), source.byte(), source.byte()];
        state.at += 4;
        state.budget -= 1;
        Some(op)
    }
}

fn job(world: &Arc<World>, l: &Loop, priority: Priority) {
    let number = {
        let mut state = world.state();
        state.jobs.push((priority, Fate::Waits));
        state.jobs.len() - 1
    };
    let copy = Arc::clone(world);
    let task = Task::new(move || {
        {
            let fate = &mut copy.state().jobs[number].1;
            assert_eq!(*fate, Fate::Waits);
            *fate = Fate::Ran;
        }
        step(&copy);
    });
    if l.job_add(priority, Job::keyed((number, 1), task)).is_err() {
        world.state().jobs[number].1 = Fate::Deleted;
    }
}

fn timer(world: &Arc<World>, l: &Loop, priority: Priority, nanos: u64) {
    let number = world.state().timers.len();
    let copy = Arc::clone(world);
    let added = l.timer_add(priority, nanos, move || {
        {
            let fate = &mut copy.state().timers[number].1;
            assert_eq!(*fate, Fate::Waits);
            *fate = Fate::Ran;
        }
        step(&copy);
    });
    if let Ok(handle) = added {
        world.state().timers.push((handle, Fate::Waits));
    }
}

fn watch(world: &Arc<World>, l: &Loop, which: usize, priority: Priority, events: u8, replace: bool) {
    let fd = world.pairs[which].0.as_raw_fd();
    let mut state = world.state();
    let (number, before) = (state.watched[which].0 + 1, state.watched[which]);
    // The callback may only run once this is in force; nobody else runs the loop meanwhile.
    state.watched[which] = (number, true);
    drop(state);
    let copy = Arc::clone(world);
    let callback = move |_, _| {
        {
            let state = copy.state();
            assert_eq!(state.watched[which], (number, true), "a callback that was replaced or deleted");
        }
        step(&copy);
        let mut state = copy.state();
        // Otherwise a callback that nobody removes runs for ever.
        if state.watched[which] == (number, true) && (state.budget == 0 || state.at >= state.input.len()) {
            state.watched[which].1 = false;
            return Next::Remove;
        }
        Next::Keep
    };
    let events = Events::from_bits(u16::from(events));
    let done = if replace {
        l.poll_mod(priority, fd, events, callback)
    } else {
        l.poll_add(priority, fd, events, callback)
    };
    if done.is_err() {
        assert!(!replace || !before.1 || world.state().closed);
        world.state().watched[which] = before;
    }
}

/// One operation.
fn step(world: &Arc<World>) {
    let (Some([op, a, b, c]), Some(l)) = (world.next(), world.event_loop.upgrade()) else { return };
    let (priority, which) = (PRIORITIES[usize::from(a % 3)], usize::from(b % 3));
    match op % 12 {
        0 | 1 => job(world, &l, priority),
        2 | 3 => {
            timer(world, &l, priority, if c == 255 { u64::MAX } else { u64::from(b) * u64::from(c) * 10 })
        }
        4 => {
            let pick = {
                let state = world.state();
                let count = state.timers.len().max(1);
                state.timers.get(usize::from(b) % count).map(|t| (usize::from(b) % count, t.0))
            };
            if let Some((number, handle)) = pick {
                let _ = (l.timer_is_running(handle), l.timer_remaining(handle));
                let deleted = l.timer_del(handle).is_ok();
                let mut state = world.state();
                assert_eq!(deleted, state.timers[number].1 == Fate::Waits && !state.closed);
                if deleted {
                    state.timers[number].1 = Fate::Deleted;
                }
            }
        }
        5 => {
            let pick = {
                let state = world.state();
                let count = state.jobs.len().max(1);
                state.jobs.get(usize::from(b) % count).map(|j| (usize::from(b) % count, *j))
            };
            if let Some((number, (priority, fate))) = pick {
                let deleted = l.job_del(priority, (number, 1)).is_ok();
                let mut state = world.state();
                assert_eq!(deleted, fate == Fate::Waits && !state.closed);
                if deleted {
                    state.jobs[number].1 = Fate::Deleted;
                }
            }
        }
        6 | 7 => watch(world, &l, which, priority, c & 0x1f, false),
        8 => watch(world, &l, which, priority, c & 0x1f, true),
        9 => {
            let was = std::mem::replace(&mut world.state().watched[which].1, false);
            let deleted = l.poll_del(world.pairs[which].0.as_raw_fd()).is_ok();
            assert_eq!(deleted, was && !world.state().closed);
        }
        10 => {
            let _ = (&world.pairs[which].1).write(&[0]);
        }
        _ if c > 250 => {
            world.state().closed = true;
            l.close();
        }
        _ => step(world),
    }
}

/// Half of the operations at once, the others from callbacks, until a timer stops the loop; twice.
pub fn event_loop(data: &[u8]) {
    let Ok(l) = Loop::new() else { return };
    let (Ok(a), Ok(b), Ok(c)) = (UnixStream::pair(), UnixStream::pair(), UnixStream::pair()) else { return };
    for end in [&a.1, &b.1, &c.1] {
        let _ = end.set_nonblocking(true);
    }
    let state = State {
        input: data.to_vec(),
        at: 0,
        budget: 400,
        jobs: Vec::new(),
        timers: Vec::new(),
        watched: [(0, false); 3],
        closed: false,
    };
    let world =
        Arc::new(World { event_loop: Arc::downgrade(&l), pairs: [a, b, c], state: Mutex::new(state) });
    for _ in 0..2 {
        let steps = data.len() / 16 + 1;
        for _ in 0..steps {
            step(&world);
        }
        let stop = Arc::downgrade(&l);
        let stopper = move || stop.upgrade().iter().for_each(|l| l.stop());
        if l.timer_add(Priority::High, 100_000, stopper).is_ok() {
            l.run();
        }
    }
    l.close();
    drop(l);
    let state = world.state();
    assert!(state.jobs.len() + state.timers.len() <= 402);
}

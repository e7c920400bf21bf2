// SPDX-License-Identifier: LGPL-2.1-or-later
//! Threaded logging: one thread that delivers what was queued for the threaded targets, first in, first out.
//!
//! No lock is held while a target is at work, so posting never waits for a disk. Locks and the condition are the standard library's
//! (futexes without a table behind them), because they have to be usable in a forked child.

use super::Level;
use super::emit;
use super::live::{Flag, LOCKED};
use super::site::SiteRef;
use crate::sys::calendar::Stamp;
use crate::sys::host;
use crate::{Error, Result};
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What the queue may hold, in bytes as [`ENTRY`] and the texts with their NUL count.
pub const LIMIT: usize = 512_000;
/// What an entry counts besides its text.
pub const ENTRY: usize = 48;
/// How long a change of settings waits for queued messages.
const PATIENCE: Duration = Duration::from_secs(10);

struct Entry {
    site: SiteRef<'static>,
    time: Stamp,
    text: Vec<u8>,
    /// Bit n: for target n, whether it is threaded still or not.
    targets: u32,
}

/// The queue and the state of the thread.
pub(super) struct Queue {
    entries: VecDeque<Entry>,
    bytes: usize,
    dropped: u64,
    /// Entries ever queued and ever delivered: whoever waits for the queue waits for a number.
    posted: u64,
    done: u64,
    stop: bool,
    /// This process is a fork of one that had a worker, and has started none itself.
    orphan: bool,
    thread: Option<JoinHandle<()>>,
    /// Policy and priority for the thread, once somebody asked.
    scheduling: Option<(i32, i32)>,
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue {
    entries: VecDeque::new(),
    bytes: 0,
    dropped: 0,
    posted: 0,
    done: 0,
    stop: false,
    orphan: false,
    thread: None,
    scheduling: None,
});
static WORK: Condvar = Condvar::new();
static DONE: Condvar = Condvar::new();

thread_local! {
    static WORKER: Cell<bool> = const { Cell::new(false) };
}

/// The queue, locked, without the thread's flag: for `fork()`.
pub(super) fn queue_bare() -> MutexGuard<'static, Queue> {
    QUEUE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The queue, locked. A signal handler that comes now finds the thread's flag set, and does not wait for what it interrupted.
struct Locked {
    queue: MutexGuard<'static, Queue>,
    _flag: Flag,
}

/// None when a signal handler interrupted this thread while it held a lock.
fn queue() -> Option<Locked> {
    let flag = Flag::raise(&LOCKED)?;
    Some(Locked { queue: queue_bare(), _flag: flag })
}

impl Locked {
    fn wait(self) -> Self {
        Self { queue: WORK.wait(self.queue).unwrap_or_else(PoisonError::into_inner), ..self }
    }
    fn wait_a_moment(self) -> Self {
        let waited = DONE.wait_timeout(self.queue, Duration::from_millis(100));
        Self { queue: waited.unwrap_or_else(PoisonError::into_inner).0, ..self }
    }
}

impl std::ops::Deref for Locked {
    type Target = Queue;
    fn deref(&self) -> &Queue {
        &self.queue
    }
}

impl std::ops::DerefMut for Locked {
    fn deref_mut(&mut self) -> &mut Queue {
        &mut self.queue
    }
}

/// False in a forked child whose parent had a worker: it delivers by itself until it starts one.
#[inline(never)]
pub(super) fn takes() -> bool {
    queue().is_some_and(|queue| !queue.orphan)
}

/// Queues a copy of the text (with its NUL), or counts it as lost beyond the limit.
pub(super) fn post(site: SiteRef<'static>, time: Stamp, text: &[u8], targets: u32) {
    // An early NUL ends a text for everybody.
    let len = text.iter().position(|b| *b == 0).map_or(text.len(), |at| at + 1);
    // Also while memory is allocated: a handler had better not end logging then.
    let Some(flag) = Flag::raise(&LOCKED) else { return };
    let entry = Entry { site, time, text: text[..len].to_vec(), targets };
    let mut queue = Locked { queue: queue_bare(), _flag: flag };
    let cost = ENTRY + len;
    if queue.bytes + cost > LIMIT {
        queue.dropped += 1;
        return;
    }
    queue.bytes += cost;
    queue.posted += 1;
    queue.entries.push_back(entry);
    drop(queue);
    WORK.notify_one();
}

/// Takes the next entry and what has to be reported as lost before it.
fn take(queue: &mut Queue) -> Option<(Entry, u64)> {
    let entry = queue.entries.pop_front()?;
    queue.bytes -= ENTRY + entry.text.len();
    Some((entry, std::mem::take(&mut queue.dropped)))
}

fn handle(mut entry: Entry, lost: u64) {
    if lost > 0 {
        crate::log!(Level::Warning, "{lost} messages lost");
    }
    emit::deliver_queued(&entry.site, entry.time, &mut entry.text, entry.targets);
    drop(entry);
    if let Some(mut queue) = queue() {
        queue.done += 1;
    }
    DONE.notify_all();
}

fn run() {
    WORKER.set(true);
    while let Some(mut guard) = queue() {
        let next = loop {
            match take(&mut guard) {
                None if guard.stop => return,
                None => guard = guard.wait(),
                next => break next,
            }
        };
        drop(guard);
        if let Some((entry, lost)) = next {
            handle(entry, lost);
        }
    }
}

/// Starts the thread unless it runs, and applies the scheduling that was asked for; when that fails the thread is stopped again.
pub fn start() -> Result<()> {
    let mut guard = queue().ok_or(Error::Busy)?;
    if guard.thread.is_some() {
        return Ok(());
    }
    guard.stop = false;
    guard.orphan = false;
    let thread = host::without_signals(|| std::thread::Builder::new().name("qb-log".into()).spawn(run))?;
    let scheduled = match guard.scheduling {
        Some((policy, priority)) => host::set_scheduling(&thread, policy, priority),
        None => Ok(()),
    };
    guard.thread = Some(thread);
    drop(guard);
    if scheduled.is_err() {
        stop();
    }
    scheduled
}

/// Remembers how the thread shall be scheduled, and applies it if it runs.
pub fn set_scheduling(policy: i32, priority: i32) -> Result<()> {
    let plain = [libc::SCHED_OTHER, libc::SCHED_IDLE, libc::SCHED_BATCH].contains(&policy);
    let priority = if plain { 0 } else { priority };
    let mut guard = queue().ok_or(Error::Busy)?;
    guard.scheduling = Some((policy, priority));
    guard.thread.as_ref().map_or(Ok(()), |thread| host::set_scheduling(thread, policy, priority))
}

/// Writes what is queued and ends the thread, if there is one.
pub(super) fn stop() {
    let thread = {
        let Some(mut guard) = queue() else { return };
        guard.stop = true;
        if WORKER.get() {
            return; // called by a target's function on the worker itself: it ends when the queue is empty
        }
        guard.thread.take()
    };
    WORK.notify_all();
    if let Some(thread) = thread {
        let _ = thread.join();
    }
    drain_here();
    if let Some(mut queue) = queue() {
        queue.stop = false;
    }
}

/// Waits until everything that is queued now is delivered; delivers it itself if there is no worker.
pub(super) fn flush() {
    if WORKER.get() || super::live::EMITTING.get() {
        return; // inside a target's function: waiting for the worker could be waiting for this very call
    }
    let Some(mut guard) = queue() else { return };
    if guard.thread.is_none() {
        drop(guard);
        return drain_here();
    }
    let target = guard.posted;
    let start = Instant::now();
    while guard.done < target && start.elapsed() < PATIENCE {
        guard = guard.wait_a_moment();
    }
}

fn drain_here() {
    loop {
        let next = queue().and_then(|mut queue| take(&mut queue));
        let Some((entry, lost)) = next else { return };
        handle(entry, lost);
    }
}

/// In a forked child: nothing is queued and no thread runs.
pub(super) fn forked(quiet: Option<&mut emit::Quiet>) {
    fn reset(queue: &mut Queue) {
        queue.orphan |= queue.thread.is_some();
        if let Some(thread) = queue.thread.take() {
            std::mem::forget(thread); // the parent's
        }
        queue.entries.clear();
        (queue.bytes, queue.dropped, queue.done) = (0, 0, queue.posted);
    }
    WORKER.set(false);
    match quiet {
        Some(quiet) => reset(&mut quiet.queue),
        None => {
            if let Ok(mut guard) = QUEUE.try_lock() {
                reset(&mut guard);
            }
        }
    }
}

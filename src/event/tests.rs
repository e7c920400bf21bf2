// SPDX-License-Identifier: LGPL-2.1-or-later
//! Claims about the loop.

use super::*;
use crate::error::Error;
use crate::sync::Mutex;
use crate::sys::clock::{NS_IN_MSEC, NS_IN_SEC, monotonic_ns};
use crate::sys::wake::Wake;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};

type Log = Arc<Mutex<Vec<i32>>>;

/// Ends the process when a test hangs. A test has a thread, and what other tests of the process take is not its business.
fn watchdog() {
    struct Running(Arc<AtomicBool>);

    impl Drop for Running {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    thread_local! {
        static RUNNING: Running = {
            let over = Arc::new(AtomicBool::new(false));
            let copy = Arc::clone(&over);
            std::thread::spawn(move || {
                for _ in 0..6000 {
                    std::thread::sleep(std::time::Duration::from_millis(100));
                    if copy.load(Ordering::Relaxed) {
                        return;
                    }
                }
                std::process::abort();
            });
            Running(over)
        };
    }
    RUNNING.with(|_| ());
}

fn new() -> (Arc<Loop>, Log) {
    watchdog();
    (Loop::new().unwrap(), Log::default())
}

fn note(log: &Log, n: i32) -> impl FnOnce() + Send + use<> {
    let log = Arc::clone(log);
    move || log.lock().push(n)
}

fn stopper(l: &Arc<Loop>) -> impl FnOnce() + Send + use<> {
    let l = Arc::downgrade(l);
    move || l.upgrade().unwrap().stop()
}

/// Runs until a LOW job that comes after everything queued now.
fn run_once(l: &Arc<Loop>) {
    l.job_add(Priority::Low, Job::new(stopper(l))).unwrap();
    l.run();
}

/// A descriptor that is always readable.
fn ready() -> Wake {
    let fd = Wake::new().unwrap();
    fd.ring();
    fd
}

fn notes(log: &Log, n: i32, next: Next) -> impl FnMut(RawFd, Events) -> Next + Send + use<> {
    let log = Arc::clone(log);
    move |_, _| {
        log.lock().push(n);
        next
    }
}

#[test]
fn jobs_of_a_level_run_in_order_and_higher_levels_first() {
    let (l, log) = new();
    let jobs = [
        (Priority::Low, 5),
        (Priority::Med, 3),
        (Priority::Med, 4),
        (Priority::High, 1),
        (Priority::High, 2),
    ];
    for (prio, n) in jobs {
        l.job_add(prio, Job::new(note(&log, n))).unwrap();
    }
    run_once(&l);
    assert_eq!(*log.lock(), [1, 2, 3, 4, 5]);
}

#[test]
fn a_key_names_jobs_and_a_closure_without_one_is_never_found() {
    let (l, log) = new();
    l.job_add(Priority::Med, Job::new(note(&log, 1))).unwrap();
    l.job_add(Priority::Med, Job::keyed((0, 0), Task::new(note(&log, 2)))).unwrap();
    assert_eq!(l.job_del(Priority::Med, (0, 0)), Ok(()));
    assert_eq!(l.job_del(Priority::Med, (0, 0)), Err(Error::NotFound));
    run_once(&l);
    assert_eq!(*log.lock(), [1]);
}

#[test]
fn a_chain_of_jobs_is_free_at_first_and_throttled_later() {
    let (l, _) = new();
    let count = Arc::new(AtomicU32::new(0));
    fn hop(l: &Weak<Loop>, count: &Arc<AtomicU32>) {
        let l2 = l.upgrade().unwrap();
        if count.fetch_add(1, Ordering::Relaxed) == 6 {
            return l2.stop();
        }
        let (l, count) = (l.clone(), Arc::clone(count));
        l2.job_add(Priority::High, Job::new(move || hop(&l, &count))).unwrap();
    }
    let (weak, counter) = (Arc::downgrade(&l), Arc::clone(&count));
    l.job_add(Priority::High, Job::new(move || hop(&weak, &counter))).unwrap();
    let start = monotonic_ns();
    l.run();
    // Jobs 0 to 3 at once, 4 to 6 after 50 ms each.
    assert!(monotonic_ns() - start >= 3 * jobs::THROTTLE_NS);
    assert_eq!(count.load(Ordering::Relaxed), 7);
}

#[test]
fn a_job_of_another_thread_is_not_part_of_the_running_jobs_chain() {
    let (l, _) = new();
    let other = Arc::downgrade(&l);
    let run = move || {
        let l = other.upgrade().unwrap();
        std::thread::scope(|s| {
            s.spawn(|| l.job_add(Priority::High, Job::new(|| ())).unwrap());
        });
        let state = l.lock();
        let hops: Vec<_> = state.levels[2]
            .waiting
            .iter()
            .map(|item| if let state::Item::Job(job) = item { job.hops } else { 99 })
            .collect();
        assert_eq!(hops, [0]);
    };
    l.job_add(Priority::High, Job::new(run)).unwrap();
    run_once(&l);
}

#[test]
fn a_timer_can_be_far_beyond_what_milliseconds_in_an_int_hold() {
    let (l, log) = new();
    let far = l.timer_add(Priority::High, 100 * 24 * 3600 * NS_IN_SEC, note(&log, 1)).unwrap();
    let century = l.timer_add(Priority::High, i64::MAX as u64, note(&log, 2)).unwrap();
    l.timer_add(Priority::High, NS_IN_MSEC, stopper(&l)).unwrap();
    l.run();
    assert!(l.timer_is_running(far) && l.timer_is_running(century));
    assert!(l.timer_remaining(far).unwrap() > 99 * 24 * 3600 * NS_IN_SEC);
    assert_eq!(log.lock().len(), 0);
}

#[test]
fn a_stale_timer_handle_never_reaches_the_slots_next_timer() {
    let (l, _) = new();
    let first = l.timer_add(Priority::Low, NS_IN_SEC, || ()).unwrap();
    assert_eq!(l.timer_del(first), Ok(()));
    let second = l.timer_add(Priority::Low, NS_IN_SEC, || ()).unwrap();
    assert_eq!(first.raw() as u32, second.raw() as u32);
    assert_ne!(first, second);
    assert_eq!(l.timer_del(first), Err(Error::Invalid));
    assert!(l.timer_is_running(second));
    assert_eq!(l.timer_del(TimerHandle::from_raw(0)), Err(Error::Invalid));
    assert_eq!(l.timer_del(TimerHandle::from_raw(u64::MAX)), Err(Error::Os(libc::ERANGE)));
}

#[test]
fn unknown_handles_make_no_table_grow() {
    let (l, _) = new();
    for slot in [0, 5, 60_000, 0x7fff_ffff] {
        assert!(!l.timer_is_running(TimerHandle::from_raw((1 << 32) | slot)));
    }
    assert_eq!(l.lock().timers.slots(), 0);
    assert_eq!(l.poll_del(1_000_000), Err(Error::Os(libc::EBADF)));
}

#[test]
fn a_closure_may_add_delete_and_change_its_own_registration() {
    let (l, log) = new();
    let fd = ready();
    let (weak, inner) = (Arc::downgrade(&l), Arc::clone(&log));
    let callback = move |fd, _| {
        let l = weak.upgrade().unwrap();
        inner.lock().push(1);
        l.poll_mod(Priority::High, fd, Events::IN, notes(&inner, 2, Next::Keep)).unwrap();
        l.poll_del(fd).unwrap();
        l.poll_add(Priority::High, fd, Events::IN, notes(&inner, 3, Next::Remove)).unwrap();
        Next::Remove
    };
    l.poll_add(Priority::High, fd.as_raw_fd(), Events::IN, callback).unwrap();
    l.timer_add(Priority::Low, 20 * NS_IN_MSEC, stopper(&l)).unwrap();
    l.run();
    assert_eq!(*log.lock(), [1, 3]);
    assert_eq!(l.poll_del(fd.as_raw_fd()), Err(Error::Os(libc::EBADF)));
}

#[test]
fn a_callback_replaced_while_it_runs_is_not_put_back() {
    let (l, log) = new();
    let fd = ready();
    let (weak, inner) = (Arc::downgrade(&l), Arc::clone(&log));
    let callback = move |fd, _| {
        inner.lock().push(1);
        let l = weak.upgrade().unwrap();
        l.poll_mod(Priority::Med, fd, Events::IN, notes(&inner, 2, Next::Remove)).unwrap();
        Next::Keep
    };
    l.poll_add(Priority::Med, fd.as_raw_fd(), Events::IN, callback).unwrap();
    l.timer_add(Priority::Low, 20 * NS_IN_MSEC, stopper(&l)).unwrap();
    l.run();
    assert_eq!(*log.lock(), [1, 2]);
}

#[test]
fn closing_the_loop_drops_every_closure() {
    let (l, log) = new();
    let fd = ready();
    l.job_add(Priority::Low, Job::new(note(&log, 1))).unwrap();
    l.timer_add(Priority::Low, 0, note(&log, 1)).unwrap();
    l.poll_add(Priority::Low, fd.as_raw_fd(), Events::IN, notes(&log, 1, Next::Keep)).unwrap();
    let kept = Arc::clone(&log);
    let callback = Arc::new(move |_| {
        kept.lock().push(1);
        Next::Keep
    });
    l.signal_add(Priority::Low, libc::SIGURG, callback).unwrap();
    let kept = Arc::clone(&log);
    l.low_fds_event_set(Some(Arc::new(move |_, _| kept.lock().push(1))));
    assert!(Arc::strong_count(&log) > 5);
    l.close();
    assert_eq!(Arc::strong_count(&log), 1);
    assert_eq!(l.job_add(Priority::Low, Job::new(|| ())), Err(Error::Invalid));
    assert_eq!(l.timer_add(Priority::Low, 0, || ()), Err(Error::Invalid));
    assert_eq!(l.poll_add(Priority::Low, fd.as_raw_fd(), Events::IN, |_, _| Next::Keep), Err(Error::Invalid));
    assert_eq!(l.signal_add(Priority::Low, libc::SIGURG, Arc::new(|_| Next::Keep)), Err(Error::Invalid));
    l.run();
    assert!(log.lock().is_empty());
}

/// Calls the loop when it is dropped, as the destructor of a closure may.
struct Reenters(Weak<Loop>, RawFd);

impl Drop for Reenters {
    fn drop(&mut self) {
        if let Some(l) = self.0.upgrade() {
            let _ = l.poll_del(self.1);
            let _ = l.job_add(Priority::Low, Job::new(|| ()));
        }
    }
}

#[test]
fn destructors_of_closures_run_without_the_lock() {
    let (l, _) = new();
    let fds: Vec<_> = (0..4).map(|_| ready()).collect();
    let guard = |fd: &Wake| Reenters(Arc::downgrade(&l), fd.as_raw_fd());
    for fd in &fds {
        let held = guard(fd);
        let callback = move |_, _| {
            let _ = &held;
            Next::Remove
        };
        l.poll_add(Priority::High, fd.as_raw_fd(), Events::IN, callback).unwrap();
    }
    let held = guard(&fds[0]);
    assert!(
        l.poll_add(Priority::High, fds[0].as_raw_fd(), Events::IN, move |_, _| {
            let _ = &held;
            Next::Keep
        })
        .is_err()
    );
    let held = guard(&fds[1]);
    let timer = l.timer_add(Priority::High, NS_IN_SEC, move || drop(held)).unwrap();
    l.timer_del(timer).unwrap();
    let held = guard(&fds[2]);
    l.job_add(Priority::High, Job::keyed((1, 2), Task::new(move || drop(held)))).unwrap();
    l.job_del(Priority::High, (1, 2)).unwrap();
    run_once(&l);
    l.close();
}

#[test]
fn a_lasting_stray_event_makes_the_set_anew() {
    let (l, log) = new();
    let (fd, good) = (ready(), ready());
    l.poll_add(Priority::High, fd.as_raw_fd(), Events::IN, |_, _| Next::Keep).unwrap();
    l.poll_add(Priority::High, good.as_raw_fd(), Events::IN, notes(&log, 1, Next::Keep)).unwrap();
    // What a close with a duplicate left open does: the loop forgets the number, the kernel does not.
    let index = 0;
    drop(l.lock().polls.forget(index));
    assert!(l.epoll.modify(fd.as_raw_fd(), 1, 0).is_ok());
    l.timer_add(Priority::Low, 5 * NS_IN_MSEC, stopper(&l)).unwrap();
    l.run();
    assert_eq!(l.epoll.modify(fd.as_raw_fd(), 1, 0), Err(Error::Os(libc::ENOENT)));
    let before = log.lock().len();
    assert!(before > 0);
    l.timer_add(Priority::Low, 5 * NS_IN_MSEC, stopper(&l)).unwrap();
    l.run();
    assert!(log.lock().len() > before);
}

#[test]
fn threads_may_add_and_delete_everything_while_the_loop_runs() {
    let (l, _) = new();
    let runs = Arc::new(AtomicU32::new(0));
    std::thread::scope(|s| {
        let adders: Vec<_> = (0..3)
            .map(|_| {
                s.spawn(|| {
                    for i in 0..300_u64 {
                        let (a, b) = (Arc::clone(&runs), Arc::clone(&runs));
                        let job = Job::new(move || _ = a.fetch_add(1, Ordering::Relaxed));
                        l.job_add(Priority::Med, job).unwrap();
                        let timer = move || _ = b.fetch_add(1, Ordering::Relaxed);
                        l.timer_add(Priority::High, i * 1000, timer).unwrap();
                        let gone = l.timer_add(Priority::Low, NS_IN_SEC * 100, || ()).unwrap();
                        assert_eq!(l.timer_del(gone), Ok(()));
                        let fd = ready();
                        l.poll_add(Priority::Low, fd.as_raw_fd(), Events::IN, |_, _| Next::Keep).unwrap();
                        assert_eq!(l.poll_del(fd.as_raw_fd()), Ok(()));
                    }
                })
            })
            .collect();
        s.spawn(|| {
            adders.into_iter().for_each(|t| t.join().unwrap());
            while runs.load(Ordering::Relaxed) < 1800 {
                std::thread::yield_now();
            }
            l.stop();
        });
        l.run();
    });
    assert_eq!(runs.load(Ordering::Relaxed), 1800);
}

#[test]
fn a_signal_is_dispatched_by_every_loop_that_wants_it() {
    let ((a, log), (b, _)) = (new(), new());
    for (l, n) in [(&a, 1), (&b, 2)] {
        let log = Arc::clone(&log);
        let callback = Arc::new(move |number| {
            log.lock().push(number * 10 + n);
            Next::Remove
        });
        l.signal_add(Priority::High, libc::SIGWINCH, callback).unwrap();
    }
    crate::sys::signal::raise(libc::SIGWINCH);
    run_once(&a);
    run_once(&b);
    assert_eq!(*log.lock(), [libc::SIGWINCH * 10 + 1, libc::SIGWINCH * 10 + 2]);
}

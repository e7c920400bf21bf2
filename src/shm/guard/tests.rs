// SPDX-License-Identifier: LGPL-2.1-or-later
//! What changes the process's dispositions runs in a process of its own, so that the tests do not disturb each other.

use super::*;
use crate::shm::Mapping;
use crate::sys::dir;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::AtomicI32;

fn file(len: usize) -> OwnedFd {
    let fd = dir::memory_file(c"guard-test").unwrap();
    dir::truncate(fd.as_fd(), len as u64).unwrap();
    fd
}

/// Reads from a mapping. A copy that nobody looks at could be optimised away.
fn touch(map: &Mapping) {
    let mut out = [0; 8];
    map.read(0, &mut out).unwrap();
    std::hint::black_box(out);
}

/// Exit status of a child that ran its body, which 0 would not show.
const DONE: i32 = 42;

/// Runs `body` in a process of its own, which is this test once more; how that ended.
fn in_child(test: &str, body: impl FnOnce() -> i32) -> ExitStatus {
    const MARK: &str = "QB_GUARD_TEST_CHILD";
    if std::env::var(MARK).is_ok_and(|name| name == test) {
        // SAFETY: plain calls. The test harness's own runtime has a handler already; programs in C have none.
        unsafe {
            let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
            libc::alarm(20);
        }
        set_handler(libc::SIG_DFL, 0);
        std::process::exit(DONE + body());
    }
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("shm::guard::tests::{test}"), "--test-threads=1"])
        .env(MARK, test)
        .stdout(Stdio::null())
        .status()
        .unwrap()
}

fn set_handler(handler: usize, flags: i32) -> libc::sigaction {
    // SAFETY: all-zero is a valid `sigaction`; the handler below is a function of the right type.
    unsafe {
        let mut new: libc::sigaction = std::mem::zeroed();
        let mut old: libc::sigaction = std::mem::zeroed();
        new.sa_sigaction = handler;
        new.sa_flags = flags;
        assert_eq!(libc::sigaction(libc::SIGBUS, &raw const new, &raw mut old), 0);
        old
    }
}

/// A page of a file that ends before it, mapped without our knowledge: reading it raises SIGBUS.
fn foreign_fault() {
    let fd = file(0);
    let page = page_size();
    // SAFETY: a fresh mapping; the volatile read faults, which is the point.
    unsafe {
        use std::os::fd::AsRawFd;
        let at = libc::mmap(std::ptr::null_mut(), page, libc::PROT_READ, libc::MAP_SHARED, fd.as_raw_fd(), 0);
        std::ptr::read_volatile(at.cast::<u8>());
    }
}

#[test]
fn a_truncated_mapping_is_dead_and_the_others_are_not() {
    let page = page_size();
    let (fd, other_fd) = (file(4 * page), file(page));
    let (map, other) =
        (Mapping::map(fd.as_fd(), 4 * page).unwrap(), Mapping::map(other_fd.as_fd(), page).unwrap());
    map.write(0, &[7; 100]).unwrap();
    map.write(3 * page, &[7; 100]).unwrap();
    dir::truncate(fd.as_fd(), page as u64).unwrap();
    let mut out = [9; 100];
    map.read(0, &mut out).unwrap();
    assert_eq!(out, [7; 100]);
    assert!(!map.is_dead());
    map.read(3 * page, &mut out).unwrap();
    assert_eq!(out, [0; 100]);
    assert!(map.is_dead());
    map.write(2 * page, &[1; 100]).unwrap(); // again, on another page
    assert!(!other.is_dead());
    other.write(0, &[1; 100]).unwrap();
}

#[test]
fn both_halves_of_a_double_mapping_are_guarded() {
    let page = page_size();
    let fd = file(2 * page);
    let map = Mapping::map_twice(fd.as_fd(), 2 * page).unwrap();
    map.write(0, &[5; 8]).unwrap();
    let mut out = [0; 8];
    map.read(2 * page, &mut out).unwrap();
    assert_eq!(out, [5; 8]);
    assert!(map.read(4 * page - 7, &mut out).is_err());
    dir::truncate(fd.as_fd(), 0).unwrap();
    map.read(4 * page - 8, &mut out).unwrap();
    assert_eq!(out, [0; 8]);
    assert!(map.is_dead());
    assert!(Mapping::map_twice(fd.as_fd(), page + 1).is_err());
    assert!(Mapping::map(fd.as_fd(), 0).is_err());
}

#[test]
fn threads_that_fault_at_the_same_time_all_go_on() {
    let page = page_size();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            std::thread::spawn(move || {
                for _ in 0..50 {
                    let fd = file(16 * page);
                    let map = Mapping::map(fd.as_fd(), 16 * page).unwrap();
                    let cut = std::thread::spawn({
                        let fd = fd.try_clone().unwrap();
                        move || dir::truncate(fd.as_fd(), 0).unwrap()
                    });
                    while !map.is_dead() {
                        map.write(0, &[1; 64]).unwrap();
                        let mut out = [0; 64];
                        map.read(15 * page, &mut out).unwrap();
                    }
                    cut.join().unwrap();
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

#[test]
fn more_mappings_than_one_chunk_holds_are_guarded_and_slots_are_used_again() {
    let page = page_size();
    let fds: Vec<_> = (0..3 * SLOTS_PER_CHUNK).map(|_| file(page)).collect();
    for _ in 0..3 {
        let maps: Vec<_> = fds.iter().map(|fd| Mapping::map(fd.as_fd(), page).unwrap()).collect();
        assert!(maps.iter().all(|map| !map.is_dead()));
        for (i, fd) in fds.iter().enumerate() {
            dir::truncate(fd.as_fd(), 0).unwrap();
            touch(&maps[i]);
            assert!(maps[i].is_dead());
            assert!(maps.get(i + 1).is_none_or(|next| !next.is_dead()));
        }
        fds.iter().for_each(|fd| dir::truncate(fd.as_fd(), page as u64).unwrap());
    }
}

#[test]
fn a_foreign_fault_ends_the_process_as_without_us() {
    let status = in_child("a_foreign_fault_ends_the_process_as_without_us", || {
        let fd = file(page_size());
        let _map = Mapping::map(fd.as_fd(), page_size()).unwrap();
        foreign_fault();
        0
    });
    assert_eq!(status.signal(), Some(libc::SIGBUS));
}

#[test]
fn a_sent_signal_ends_the_process_as_without_us() {
    let status = in_child("a_sent_signal_ends_the_process_as_without_us", || {
        let fd = file(page_size());
        let _map = Mapping::map(fd.as_fd(), page_size()).unwrap();
        // SAFETY: plain call.
        unsafe { libc::raise(libc::SIGBUS) };
        0
    });
    assert_eq!(status.signal(), Some(libc::SIGBUS));
}

static CALLS: AtomicI32 = AtomicI32::new(0);

extern "C" fn mends_itself(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    CALLS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: a live siginfo of a fault; the page is that of `foreign_fault`.
    unsafe { replace_page((*info).si_addr().addr(), page_size()) };
}

extern "C" fn counts(_: i32) {
    CALLS.fetch_add(1, Ordering::Relaxed);
}

/// A mapping that is met by a fault; true when it survived.
fn own_fault() -> bool {
    let fd = file(page_size());
    let map = Mapping::map(fd.as_fd(), page_size()).unwrap();
    dir::truncate(fd.as_fd(), 0).unwrap();
    touch(&map);
    map.is_dead()
}

#[test]
fn a_handler_that_was_there_before_gets_foreign_faults_only() {
    let status = in_child("a_handler_that_was_there_before_gets_foreign_faults_only", || {
        set_handler(mends_itself as extern "C" fn(_, _, _) as usize, libc::SA_SIGINFO);
        let own = own_fault();
        let before = CALLS.load(Ordering::Relaxed);
        foreign_fault();
        foreign_fault();
        i32::from(!(own && before == 0 && CALLS.load(Ordering::Relaxed) == 2))
    });
    assert_eq!(status.code(), Some(DONE));
}

#[test]
fn an_ignored_or_simply_handled_sent_signal_is_so_afterwards() {
    let status = in_child("an_ignored_or_simply_handled_sent_signal_is_so_afterwards", || {
        set_handler(libc::SIG_IGN, 0);
        let own = own_fault();
        // SAFETY: plain call.
        unsafe { libc::raise(libc::SIGBUS) };
        set_handler(counts as extern "C" fn(_) as usize, 0);
        let again = own_fault();
        // SAFETY: plain call.
        unsafe { libc::raise(libc::SIGBUS) };
        i32::from(!(own && again && CALLS.load(Ordering::Relaxed) == 1))
    });
    assert_eq!(status.code(), Some(DONE));
}

static SAVED: AtomicUsize = AtomicUsize::new(0);

/// A handler of the program's that was installed after ours and calls what was there before it, which is ours.
extern "C" fn chains(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    CALLS.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the address of our entry point, as sigaction gave it.
    let before: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) =
        unsafe { std::mem::transmute(SAVED.load(Ordering::Relaxed)) };
    before(signal, info, context);
}

#[test]
fn a_chain_of_handlers_that_call_each_other_ends() {
    let status = in_child("a_chain_of_handlers_that_call_each_other_ends", || {
        let first = own_fault();
        let ours = set_handler(chains as extern "C" fn(_, _, _) as usize, libc::SA_SIGINFO);
        SAVED.store(ours.sa_sigaction, Ordering::Relaxed);
        // A new mapping puts ours on top again; its predecessor calls ours from before.
        let second = own_fault();
        let third = own_fault();
        if !(first && second && third && CALLS.load(Ordering::Relaxed) == 0) {
            return 1;
        }
        foreign_fault(); // ours, theirs, ours from before, default
        2
    });
    assert_eq!(status.signal(), Some(libc::SIGBUS));
}

#[test]
fn a_program_that_resets_the_disposition_again_and_again_changes_nothing() {
    let status = in_child("a_program_that_resets_the_disposition_again_and_again_changes_nothing", || {
        for _ in 0..50 {
            set_handler(libc::SIG_DFL, 0);
            if !own_fault() {
                return 1;
            }
            set_handler(counts as extern "C" fn(_) as usize, 0);
            if !own_fault() {
                return 1;
            }
        }
        0
    });
    assert_eq!(status.code(), Some(DONE));
}

#[test]
fn a_thread_that_blocked_every_signal_is_guarded_too() {
    let page = page_size();
    let fd = file(page);
    let map = Mapping::map(fd.as_fd(), page).unwrap();
    dir::truncate(fd.as_fd(), 0).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // SAFETY: a valid signal set; only this thread's mask changes.
            unsafe {
                let mut all: libc::sigset_t = std::mem::zeroed();
                libc::sigfillset(&raw mut all);
                libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, std::ptr::null_mut());
            }
            ready();
            touch(&map);
        });
    });
    assert!(map.is_dead());
}

// SPDX-License-Identifier: LGPL-2.1-or-later
//! Against glibc's own functions on the same memory, in both directions, between threads and between processes.

use super::*;
use crate::sys::dir;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

const AT: usize = 16;

fn mapping() -> Arc<Mapping> {
    let fd = dir::memory_file(c"semaphore-test").unwrap();
    dir::truncate(fd.as_fd(), 4096).unwrap();
    Arc::new(Mapping::map(fd.as_fd(), 4096).unwrap())
}

fn ours(mapping: &Mapping) -> Semaphore<'_> {
    Semaphore::at(mapping, AT).unwrap()
}

fn theirs(mapping: &Mapping) -> *mut libc::sem_t {
    mapping.address(AT, Semaphore::SIZE).unwrap().as_ptr().cast()
}

fn bytes(mapping: &Mapping) -> [u8; Semaphore::SIZE] {
    let mut out = [0; Semaphore::SIZE];
    mapping.read(AT, &mut out).unwrap();
    out
}

fn their_value(mapping: &Mapping) -> i32 {
    let mut value = -1;
    // SAFETY: an initialised semaphore in live memory.
    assert_eq!(unsafe { libc::sem_getvalue(theirs(mapping), &raw mut value) }, 0);
    value
}

#[test]
fn initialising_gives_the_bytes_that_glibc_gives() {
    for pshared in [false, true] {
        let (a, b) = (mapping(), mapping());
        ours(&a).init(pshared);
        // SAFETY: live memory of the right size and alignment.
        assert_eq!(unsafe { libc::sem_init(theirs(&b), i32::from(pshared), 0) }, 0);
        assert_eq!(bytes(&a), bytes(&b));
        for _ in 0..3 {
            ours(&a).post().unwrap();
            // SAFETY: initialised above.
            assert_eq!(unsafe { libc::sem_post(theirs(&b)) }, 0);
            assert_eq!(bytes(&a), bytes(&b));
        }
        assert!(ours(&a).try_wait().unwrap());
        // SAFETY: initialised above.
        assert_eq!(unsafe { libc::sem_trywait(theirs(&b)) }, 0);
        assert_eq!(bytes(&a), bytes(&b));
        assert_eq!(ours(&a).value(), 2);
        assert_eq!(their_value(&a), 2);
    }
}

#[test]
fn counts_cross_over_between_the_implementations() {
    let map = mapping();
    ours(&map).init(true);
    // SAFETY: initialised above.
    assert_eq!(unsafe { libc::sem_post(theirs(&map)) }, 0);
    assert_eq!(ours(&map).wait(None), Ok(true));
    assert_eq!(ours(&map).try_wait(), Ok(false));
    ours(&map).post().unwrap();
    // SAFETY: initialised above.
    assert_eq!(unsafe { libc::sem_wait(theirs(&map)) }, 0);
    assert_eq!(their_value(&map), 0);
}

/// Until somebody sleeps on it: the high half of the first word counts them.
fn until_somebody_sleeps(map: &Mapping) {
    if cfg!(target_pointer_width = "64") {
        while map.word(AT + if cfg!(target_endian = "big") { 0 } else { 4 }).unwrap().observe() == 0 {
            std::thread::yield_now();
        }
    }
    std::thread::sleep(Duration::from_millis(10));
}

#[test]
fn a_sleeper_of_either_kind_is_woken_by_a_post_of_either_kind() {
    for (we_sleep, we_post) in [(true, true), (true, false), (false, true)] {
        let map = mapping();
        ours(&map).init(true);
        let other = Arc::clone(&map);
        let sleeper = std::thread::spawn(move || {
            if we_sleep {
                ours(&other).wait(Some(Duration::from_secs(20))).unwrap()
            } else {
                // SAFETY: initialised above; the mapping is kept by `other`.
                unsafe { libc::sem_wait(theirs(&other)) == 0 }
            }
        });
        until_somebody_sleeps(&map);
        if we_post {
            ours(&map).post().unwrap();
        } else {
            // SAFETY: initialised above.
            assert_eq!(unsafe { libc::sem_post(theirs(&map)) }, 0);
        }
        assert!(sleeper.join().unwrap());
        let mut fresh = bytes(&mapping());
        fresh[if cfg!(target_pointer_width = "64") { 8 } else { 4 }] = SHARED as u8;
        assert_eq!(bytes(&map), fresh, "no count and no sleeper is left");
    }
}

#[test]
fn a_process_is_woken_across() {
    for child_is_glibc in [true, false] {
        let (map, back) = (mapping(), mapping());
        ours(&map).init(true);
        ours(&back).init(true);
        // SAFETY: the child calls only async-signal-safe functions (futex, atomics, _exit).
        let child = unsafe { libc::fork() };
        if child == 0 {
            for _ in 0..1000 {
                // SAFETY: shared memory initialised by the parent; _exit does not return.
                unsafe {
                    let ok = if child_is_glibc {
                        libc::sem_wait(theirs(&map)) == 0 && libc::sem_post(theirs(&back)) == 0
                    } else {
                        ours(&map).wait(None) == Ok(true) && ours(&back).post().is_ok()
                    };
                    if !ok {
                        libc::_exit(1);
                    }
                }
            }
            // SAFETY: ends the child without running anything of the parent's.
            unsafe { libc::_exit(0) };
        }
        for _ in 0..1000 {
            ours(&map).post().unwrap();
            assert_eq!(ours(&back).wait(Some(Duration::from_secs(20))), Ok(true));
        }
        let mut status = -1;
        // SAFETY: our own child.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0);
    }
}

#[test]
fn waiting_for_a_count_leaves_it() {
    let map = mapping();
    ours(&map).init(true);
    assert_eq!(ours(&map).doze(Duration::from_millis(5)), Ok(false));
    let other = Arc::clone(&map);
    let poster = std::thread::spawn(move || {
        until_somebody_sleeps(&other);
        ours(&other).post().unwrap();
    });
    assert_eq!(ours(&map).doze(Duration::from_secs(30)), Ok(true));
    poster.join().unwrap();
    assert_eq!(ours(&map).value(), 1);
    assert_eq!(ours(&map).doze(Duration::from_secs(30)), Ok(true));
    assert!(ours(&map).try_wait().unwrap());
    assert!(bytes(&map)[..8].iter().all(|b| *b == 0), "no sleeper is left");
}

#[test]
fn a_wait_lasts_as_long_as_asked() {
    let map = mapping();
    ours(&map).init(true);
    let start = Instant::now();
    assert_eq!(ours(&map).wait(Some(Duration::from_millis(40))), Ok(false));
    assert!(start.elapsed() >= Duration::from_millis(40));
    assert_eq!(ours(&map).wait(Some(Duration::ZERO)), Ok(false));
    assert!(bytes(&map)[..8].iter().all(|b| *b == 0));
}

#[test]
fn the_largest_value_overflows_and_nonsense_is_an_error_or_a_count() {
    let map = mapping();
    ours(&map).init(true);
    map.word(AT).unwrap().set(i32::MAX as u32);
    if cfg!(all(target_pointer_width = "64", target_endian = "little")) {
        assert_eq!(ours(&map).post(), Err(Error::Os(libc::EOVERFLOW)));
        assert!(ours(&map).try_wait().unwrap());
        assert_eq!(ours(&map).value(), i32::MAX as u32 - 1);
    }
    map.write(AT, &[0xff; Semaphore::SIZE]).unwrap();
    assert!(ours(&map).post().is_err());
    assert!(ours(&map).wait(None).unwrap());
    assert!(Semaphore::at(&map, 4096 - 8).is_err());
    assert!(Semaphore::at(&map, usize::MAX - 7).is_err());
    assert!(Semaphore::at(&map, 4).is_err());
}

#[test]
fn a_page_taken_away_is_an_error_even_for_who_waits_for_ever() {
    let fd = dir::memory_file(c"semaphore-test").unwrap();
    dir::truncate(fd.as_fd(), 4096).unwrap();
    let map = Mapping::map(fd.as_fd(), 4096).unwrap();
    ours(&map).init(true);
    dir::truncate(fd.as_fd(), 0).unwrap();
    assert_eq!(ours(&map).wait(None), Err(Error::Disconnected));
    assert_eq!(ours(&map).doze(Duration::from_secs(30)), Err(Error::Disconnected));
    assert!(map.is_dead());
}

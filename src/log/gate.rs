// SPDX-License-Identifier: LGPL-2.1-or-later
//! Who is inside a target's function. Going in costs one atomic exchange on a word that only this thread writes; whoever closes the gate
//! (to close a target, or for `fork()`) does the work of looking at all threads.

use super::live::{Flag, LOCKED};
use std::cell::OnceCell;
use std::sync::atomic::{
    AtomicBool,
    Ordering::{Release, SeqCst},
};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Set while somebody waits for the threads inside to leave, or has seen them leave.
static CLOSED: AtomicBool = AtomicBool::new(false);
/// A word for each thread; the words of threads that ended are used again.
static WORDS: Mutex<Words> = Mutex::new(Words { all: Vec::new(), free: Vec::new() });
/// One closes at a time.
static CLOSER: Mutex<()> = Mutex::new(());

type Word = &'static AtomicBool;

struct Words {
    all: Vec<Word>,
    free: Vec<Word>,
}

thread_local! {
    static MINE: OnceCell<Mine> = const { OnceCell::new() };
}

/// This thread's word, given back when it ends.
struct Mine(Word);

impl Drop for Mine {
    fn drop(&mut self) {
        words().free.push(self.0);
    }
}

fn words() -> MutexGuard<'static, Words> {
    WORDS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cold]
fn register() -> Mine {
    // A signal handler on this thread that got here would wait for the lock that it interrupted.
    let _flag = Flag::raise(&LOCKED);
    let mut words = words();
    Mine(words.free.pop().unwrap_or_else(|| {
        let word: Word = Box::leak(Box::new(AtomicBool::new(false)));
        words.all.push(word);
        word
    }))
}

/// This thread is inside until it is dropped.
pub(super) struct Inside(Option<Word>);

/// Goes in; waits while the gate is closed, which is a moment. A thread that is about to end has no word any more and goes in unseen.
#[inline]
pub(super) fn enter() -> Inside {
    let word = MINE.try_with(|mine| mine.get_or_init(register).0).ok();
    if let Some(word) = word {
        loop {
            // ORDER(gate): pairs with `close`. Either the closer sees this word set, or this thread sees the gate closed.
            word.swap(true, SeqCst);
            if !CLOSED.load(SeqCst) {
                break;
            }
            word.store(false, Release);
            std::thread::yield_now();
        }
    }
    Inside(word)
}

impl Drop for Inside {
    #[inline]
    fn drop(&mut self) {
        if let Some(word) = self.0 {
            word.store(false, Release);
        }
    }
}

/// The gate is closed until this is dropped.
pub(super) struct Closed {
    _closer: MutexGuard<'static, ()>,
    words: MutexGuard<'static, Words>,
    _flag: Flag,
}

impl Drop for Closed {
    fn drop(&mut self) {
        CLOSED.store(false, SeqCst);
    }
}

/// Closes the gate and waits until nobody is inside, for about so many milliseconds. None if somebody stays longer (or this thread
/// was interrupted while it held a lock); then the gate is open.
pub(super) fn close(patience: u32) -> Option<Closed> {
    let flag = Flag::raise(&LOCKED)?;
    let closer = CLOSER.lock().unwrap_or_else(PoisonError::into_inner);
    let words = words();
    CLOSED.store(true, SeqCst);
    let closed = Closed { _closer: closer, words, _flag: flag };
    let mut pauses = 0;
    // ORDER(gate): pairs with `enter`; the store above comes before these loads for everybody. Whoever is seen outside has
    // finished what it did inside.
    while closed.words.all.iter().any(|word| word.load(SeqCst)) {
        if pauses >= patience + 50 {
            return None;
        }
        if pauses < 50 {
            std::thread::yield_now()
        } else {
            std::thread::sleep(Duration::from_millis(1))
        }
        pauses += 1;
    }
    Some(closed)
}

// SPDX-License-Identifier: LGPL-2.1-or-later
//! `qb/qbutil.h`: locks, clocks, stopwatch, error texts, the log hook and the version.

use crate::handle::{borrow, status};
use libc::{c_char, c_int, c_uint, size_t, timespec};
use qb::util::{Lock, Stopwatch, clock, version};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What a NULL argument gives.
const BAD: i32 = -libc::EINVAL;
/// `QB_UTIL_SW_OVERWRITE`
const OVERWRITE: u32 = 1;
/// `QB_THREAD_LOCK_SHORT`; any other value is a long lock.
const SHORT: c_uint = 0;

pub type qb_thread_lock_type_t = c_uint;

/// Opaque in C.
pub struct qb_thread_lock_t {
    lock: Lock,
    long: bool,
}

/// Opaque in C. The mutex is never waited for by programs that keep the contract (one thread at a time).
pub struct qb_util_stopwatch_t(Mutex<Stopwatch>);

pub type qb_util_log_fn_t =
    Option<unsafe extern "C" fn(file_name: *const c_char, file_line: i32, severity: i32, msg: *const c_char)>;

/// `struct qb_version`; programs that are not position independent copy it, so the layout is fixed.
#[repr(C)]
pub struct qb_version {
    major: u8,
    minor: u8,
    micro: u8,
    rest: *const c_char,
}

// SAFETY: immutable, and `rest` points to a constant.
unsafe impl Sync for qb_version {}

/// `const char *const`: a pointer variable, not an array.
#[repr(transparent)]
pub struct ConstText(*const c_char);

// SAFETY: immutable, and it points to a constant.
unsafe impl Sync for ConstText {}

const _: () = assert!(size_of::<qb_version>() == 8 + size_of::<*const c_char>());
const _: () = assert!(size_of::<ConstText>() == size_of::<*const c_char>());

#[unsafe(no_mangle)]
pub static qb_ver: qb_version = qb_version {
    major: version::MAJOR,
    minor: version::MINOR,
    micro: version::MICRO,
    rest: version::REST.as_ptr(),
};

#[unsafe(no_mangle)]
pub static qb_ver_str: ConstText = ConstText(version::TEXT.as_ptr());

/// Makes a lock.
///
/// @param type for how long the lock is usually held
/// @return the lock, not held, and never NULL; free it with qb_thread_lock_destroy()
#[unsafe(no_mangle)]
pub extern "C" fn qb_thread_lock_create(r#type: qb_thread_lock_type_t) -> *mut qb_thread_lock_t {
    let short = r#type == SHORT;
    Box::into_raw(Box::new(qb_thread_lock_t { lock: Lock::new(short), long: !short }))
}

/// Takes a lock, and waits for it as long as another thread holds it.
///
/// A thread that takes a lock twice waits for itself, forever.
///
/// @param tl the lock
/// @return 0, or -EINVAL for NULL
///
/// # Safety
/// `tl` is NULL or a lock that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_thread_lock(tl: *mut qb_thread_lock_t) -> i32 {
    // SAFETY: this function's own contract.
    unsafe { borrow(tl) }.map_or(BAD, |tl| {
        tl.lock.lock();
        0
    })
}

/// Takes a lock if it is free.
///
/// @param tl the lock
/// @return 0, -EBUSY if it is held (by whichever thread), or -EINVAL for NULL
///
/// # Safety
/// `tl` is NULL or a lock that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_thread_trylock(tl: *mut qb_thread_lock_t) -> i32 {
    // SAFETY: this function's own contract.
    unsafe { borrow(tl) }.map_or(BAD, |tl| status(tl.lock.try_lock()))
}

/// Gives a lock back.
///
/// @param tl the lock
/// @return 0, or -EINVAL for NULL
///
/// # Safety
/// `tl` is NULL or a lock that is not destroyed meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_thread_unlock(tl: *mut qb_thread_lock_t) -> i32 {
    // SAFETY: this function's own contract.
    unsafe { borrow(tl) }.map_or(BAD, |tl| {
        tl.lock.unlock();
        0
    })
}

/// Frees a lock; nobody may use it any more, whatever the result.
///
/// @param tl the lock
/// @return 0, -EBUSY if it was a QB_THREAD_LOCK_LONG that somebody held, or -EINVAL for NULL
///
/// # Safety
/// `tl` is NULL or a lock that nobody uses, now or later.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_thread_lock_destroy(tl: *mut qb_thread_lock_t) -> i32 {
    if tl.is_null() {
        return BAD;
    }
    // SAFETY: made by Box::into_raw in qb_thread_lock_create, and the caller gives it up.
    let tl = unsafe { Box::from_raw(tl) };
    if tl.long && tl.lock.is_held() { -libc::EBUSY } else { 0 }
}

/// Sets one function that gets the messages of the library itself, besides the targets of qblog.h.
///
/// It is called in the thread that has something to say, and messages that the function itself
/// causes are dropped.
///
/// @param fn the function, or NULL for none
///
/// @deprecated use qb_log_init() and the targets of qblog.h
///
/// # Safety
/// `fn` may be called from any thread until another one is set.
#[deprecated]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_util_set_log_function(r#fn: qb_util_log_fn_t) {
    crate::qblog::glue::set_legacy(r#fn);
}

/// Adds milliseconds to a time.
///
/// @param ts the time; nothing happens if it is NULL
/// @param ms milliseconds to add; may be negative
///
/// # Safety
/// `ts` is NULL or valid and used by nobody else meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_timespec_add_ms(ts: *mut timespec, ms: i32) {
    // SAFETY: NULL or exclusively ours for this call, by contract.
    if let Some(ts) = unsafe { ts.as_mut() } {
        *ts = clock::add_ms(*ts, ms);
    }
}

/// Tells the time since an unspecified start (CLOCK_MONOTONIC). It is never set back.
///
/// @return nanoseconds
#[unsafe(no_mangle)]
pub extern "C" fn qb_util_nano_current_get() -> u64 {
    clock::monotonic_ns()
}

/// Tells the frequency of the clock behind qb_util_nano_current_get().
///
/// @return steps per second
#[unsafe(no_mangle)]
pub extern "C" fn qb_util_nano_monotonic_hz() -> u64 {
    clock::monotonic_hz()
}

/// Tells the time since the epoch (CLOCK_REALTIME). It jumps when the clock is set.
///
/// @return nanoseconds
#[unsafe(no_mangle)]
pub extern "C" fn qb_util_nano_from_epoch_get() -> u64 {
    clock::epoch_ns()
}

/// Tells the time since the epoch (CLOCK_REALTIME). It jumps when the clock is set.
///
/// @param ts (out) the time; nothing happens if it is NULL
///
/// # Safety
/// `ts` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_util_timespec_from_epoch_get(ts: *mut timespec) {
    if !ts.is_null() {
        // SAFETY: not NULL, and writable by contract.
        unsafe { ts.write(clock::epoch_timespec()) };
    }
}

#[cfg(target_env = "gnu")]
unsafe extern "C" {
    // The GNU function. The libc crate binds this name to the POSIX variant, which always copies.
    #[link_name = "strerror_r"]
    fn gnu_strerror_r(errnum: c_int, buf: *mut c_char, buflen: size_t) -> *mut c_char;
}

/// Tells what an errno means, without the shared buffer of strerror().
///
/// Use the returned pointer, not @a buf: for a known number it is a text of the C library, and
/// @a buf is not touched.
///
/// @param errnum the number, positive
/// @param buf    room for the text of an unknown number
/// @param buflen size of @a buf in bytes
/// @return the text
///
/// # Safety
/// `buf` is writable for `buflen` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_strerror_r(errnum: c_int, buf: *mut c_char, buflen: size_t) -> *mut c_char {
    // The C library writes into `buf` as soon as `buflen` allows it.
    let buflen = if buf.is_null() { 0 } else { buflen };
    #[cfg(target_env = "gnu")]
    // SAFETY: `buf` is writable for `buflen` bytes by contract, and `buflen` is 0 for NULL.
    return unsafe { gnu_strerror_r(errnum, buf, buflen) };
    #[cfg(not(target_env = "gnu"))]
    // SAFETY: as above; the terminating write happens only if there is room for it.
    unsafe {
        if libc::strerror_r(errnum, buf, buflen) != 0 && buflen > 0 {
            *buf = 0;
        }
        buf
    }
}

/// Makes a stopwatch that has not been started.
///
/// @return the stopwatch, never NULL; free it with qb_util_stopwatch_free()
#[unsafe(no_mangle)]
pub extern "C" fn qb_util_stopwatch_create() -> *mut qb_util_stopwatch_t {
    Box::into_raw(Box::new(qb_util_stopwatch_t(Mutex::new(Stopwatch::new()))))
}

/// Frees a stopwatch.
///
/// @param sw the stopwatch, or NULL
///
/// # Safety
/// `sw` is NULL or a stopwatch that nobody uses, now or later.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_util_stopwatch_free(sw: *mut qb_util_stopwatch_t) {
    if !sw.is_null() {
        // SAFETY: made by Box::into_raw in qb_util_stopwatch_create, and the caller gives it up.
        drop(unsafe { Box::from_raw(sw) });
    }
}

/// Starts a stopwatch, or starts it again: a former stop and all splits are forgotten.
///
/// @param sw the stopwatch
///
/// # Safety
/// `sw` is NULL or a stopwatch.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_util_stopwatch_start(sw: *mut qb_util_stopwatch_t) {
    // SAFETY: this function's own contract.
    if let Some(mut sw) = unsafe { watch(sw) } {
        sw.start();
    }
}

/// Records the time since the start. The watch goes on, so it can be stopped again later.
///
/// @param sw the stopwatch
///
/// # Safety
/// `sw` is NULL or a stopwatch.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_util_stopwatch_stop(sw: *mut qb_util_stopwatch_t) {
    // SAFETY: this function's own contract.
    if let Some(mut sw) = unsafe { watch(sw) } {
        sw.stop();
    }
}

/// Tells how long the watch ran from its start to its last stop.
///
/// @param sw the stopwatch
/// @return microseconds; 0 if it was not started or not stopped since
///
/// # Safety
/// `sw` is NULL or a stopwatch.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_util_stopwatch_us_elapsed_get(sw: *mut qb_util_stopwatch_t) -> u64 {
    // SAFETY: this function's own contract.
    unsafe { watch(sw) }.map_or(0, |sw| sw.elapsed_us())
}

/// Tells how long the watch ran from its start to its last stop.
///
/// @param sw the stopwatch
/// @return seconds; 0 if it was not started or not stopped since
///
/// # Safety
/// `sw` is NULL or a stopwatch.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_util_stopwatch_sec_elapsed_get(sw: *mut qb_util_stopwatch_t) -> f32 {
    // SAFETY: this function's own contract.
    let us = unsafe { watch(sw) }.map_or(0, |sw| sw.elapsed_us());
    us as f32 / 1_000_000.0
}

/// Makes room for splits; those recorded before are forgotten.
///
/// @param sw         the stopwatch
/// @param max_splits how many splits there is room for
/// @param options    0, or QB_UTIL_SW_OVERWRITE: once the room is used up, a new split replaces the oldest
/// @return 0, -ENOMEM, or -EINVAL for NULL
///
/// # Safety
/// `sw` is NULL or a stopwatch.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_util_stopwatch_split_ctl(
    sw: *mut qb_util_stopwatch_t,
    max_splits: u32,
    options: u32,
) -> i32 {
    // SAFETY: this function's own contract.
    unsafe { watch(sw) }.map_or(BAD, |mut sw| status(sw.set_splits(max_splits, options & OVERWRITE != 0)))
}

/// Records a split. A watch that was never started is started by it.
///
/// @param sw the stopwatch
/// @return microseconds since the previous split, or since the start for the first one; 0 if there is no room
///
/// # Safety
/// `sw` is NULL or a stopwatch.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_util_stopwatch_split(sw: *mut qb_util_stopwatch_t) -> u64 {
    // SAFETY: this function's own contract.
    unsafe { watch(sw) }.map_or(0, |mut sw| sw.split())
}

/// Tells the number of the last split.
///
/// @param sw the stopwatch
/// @return the number, counted from 0; 0 also if there is no split
///
/// # Safety
/// `sw` is NULL or a stopwatch.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_util_stopwatch_split_last(sw: *mut qb_util_stopwatch_t) -> u32 {
    // SAFETY: this function's own contract.
    unsafe { watch(sw) }.map_or(0, |sw| sw.last_split())
}

/// Tells the time between two splits.
///
/// If both numbers are the same, it is the time from the start to that split.
///
/// @param sw      the stopwatch
/// @param receint number of the later split
/// @param older   number of the earlier split
/// @return microseconds; 0 if one of them does not exist or was replaced
///
/// # Safety
/// `sw` is NULL or a stopwatch.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_util_stopwatch_time_split_get(
    sw: *mut qb_util_stopwatch_t,
    receint: u32,
    older: u32,
) -> u64 {
    // SAFETY: this function's own contract.
    unsafe { watch(sw) }.map_or(0, |sw| sw.between_splits(receint, older))
}

/// # Safety
/// `sw` is NULL or a stopwatch that is not freed during `'a`.
unsafe fn watch<'a>(sw: *mut qb_util_stopwatch_t) -> Option<MutexGuard<'a, Stopwatch>> {
    // SAFETY: forwards this function's own contract.
    unsafe { borrow(sw) }.map(|sw| locked(&sw.0))
}

/// A panic aborts the process, so a poisoned mutex cannot be seen; its content would be whole anyway.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

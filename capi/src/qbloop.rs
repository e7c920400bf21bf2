// SPDX-License-Identifier: LGPL-2.1-or-later
//! `qb/qbloop.h`: the main loop. A `qb_loop_t *` is a counted reference to [`qb::event::Loop`]; NULL means the default
//! loop of the process, which is known only here.

use crate::handle::{borrow, status};
use libc::{EINVAL, c_void};
use qb::event::{Events, Job, Loop, LowFdsFn, Next, Priority, SignalFn, SignalHandle, Task, TimerHandle};
use qb::log::Level;
use std::ptr::{null_mut, with_exposed_provenance_mut, without_provenance_mut};
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

pub type qb_loop = Loop;
pub type qb_loop_t = Loop;
pub type qb_loop_priority = u32;
pub type qb_loop_timer_handle = u64;
pub type qb_loop_signal_handle = *mut c_void;
pub type qb_loop_poll_dispatch_fn =
    Option<unsafe extern "C" fn(fd: i32, revents: i32, data: *mut c_void) -> i32>;
pub type qb_loop_job_dispatch_fn = Option<unsafe extern "C" fn(data: *mut c_void)>;
pub type qb_loop_timer_dispatch_fn = Option<unsafe extern "C" fn(data: *mut c_void)>;
pub type qb_loop_signal_dispatch_fn = Option<unsafe extern "C" fn(rsignal: i32, data: *mut c_void) -> i32>;
pub type qb_loop_poll_low_fds_event_fn = Option<unsafe extern "C" fn(not_enough: i32, fds_available: i32)>;

/// The first loop created while there is none.
static DEFAULT: AtomicPtr<Loop> = AtomicPtr::new(null_mut());

/// The caller's `data`, which the library only passes on.
#[derive(Clone, Copy)]
struct Data(*mut c_void);

// SAFETY: the library never looks behind the pointer; that the thread that runs the loop may use it is the caller's promise.
unsafe impl Send for Data {}
// SAFETY: as above.
unsafe impl Sync for Data {}

impl Data {
    /// A method, so that closures capture the wrapper and not the bare pointer in it.
    const fn get(self) -> *mut c_void {
        self.0
    }
}

/// The loop a caller means.
///
/// # Safety
/// `l` is NULL or a loop that lives during `'a`; so is the default loop.
unsafe fn resolve<'a>(l: *mut qb_loop_t) -> Option<&'a Loop> {
    let l = if l.is_null() { DEFAULT.load(Ordering::Acquire) } else { l };
    // SAFETY: forwards this function's contract.
    unsafe { borrow(l) }
}

/// What a job and a timer call.
type OnceFn = unsafe extern "C" fn(*mut c_void);

fn words(call: OnceFn, data: *mut c_void) -> (usize, usize) {
    (call as usize, data.expose_provenance())
}

/// The call as a task, without memory of its own.
fn once(call: OnceFn, data: *mut c_void) -> Task {
    Task::plain(call_once, words(call, data))
}

/// Only for [`once`], which made the two words.
fn call_once(call: usize, data: usize) {
    // SAFETY: `call` is an `OnceFn` that was cast to its address; function pointers are as wide as `usize` here.
    let call = unsafe { std::mem::transmute::<usize, OnceFn>(call) };
    // SAFETY: the caller registered this function with this argument for exactly this.
    unsafe { call(with_exposed_provenance_mut(data)) }
}

fn next(remove: bool) -> Next {
    if remove { Next::Remove } else { Next::Keep }
}

/// The callback as a closure; None for a NULL function.
fn poll_closure(
    data: *mut c_void,
    dispatch_fn: qb_loop_poll_dispatch_fn,
) -> Option<impl FnMut(i32, Events) -> Next + Send + 'static> {
    let (call, data) = (dispatch_fn?, Data(data));
    Some(move |fd, events: Events| {
        // SAFETY: the caller registered this function with this argument for exactly this.
        next(unsafe { call(fd, i32::from(events.bits()), data.get()) } < 0)
    })
}

fn signal_closure(data: *mut c_void, dispatch_fn: qb_loop_signal_dispatch_fn) -> Option<SignalFn> {
    let (call, data) = (dispatch_fn?, Data(data));
    Some(Arc::new(move |number| {
        // SAFETY: the caller registered this function with this argument for exactly this.
        next(unsafe { call(number, data.get()) } != 0)
    }))
}

/// Creates a main loop.
///
/// The first loop created while there is no default loop becomes the default, which is what a NULL loop means in the
/// functions below.
///
/// @return the loop, to be freed with qb_loop_destroy(), or NULL (no memory, no descriptors left; see errno)
#[unsafe(no_mangle)]
pub extern "C" fn qb_loop_create() -> *mut qb_loop_t {
    match Loop::new() {
        Ok(new) => {
            let new = Arc::into_raw(new).cast_mut();
            let _ = DEFAULT.compare_exchange(null_mut(), new, Ordering::AcqRel, Ordering::Relaxed);
            new
        }
        Err(e) => crate::handle::null_errno(e),
    }
}

/// Frees a loop and everything registered with it; no callback is called and no descriptor of the caller is closed.
///
/// Signals that the loop handled stay caught, and are ignored from now on. In a callback of the loop, the loop ends as
/// soon as the callback has returned.
///
/// @param l loop from qb_loop_create(); NULL does nothing
///
/// # Safety
/// `l` is NULL or a loop that is not destroyed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_loop_destroy(l: *mut qb_loop) {
    if l.is_null() {
        return;
    }
    let _ = DEFAULT.compare_exchange(l, null_mut(), Ordering::AcqRel, Ordering::Relaxed);
    // SAFETY: `l` came from `Arc::into_raw` in `qb_loop_create`, and this takes that one reference back. A `qb_loop_run`
    // that is under way has a reference of its own.
    let last = unsafe { Arc::from_raw(l) };
    last.close();
}

/// Makes qb_loop_run() return once the current callback has returned.
///
/// May be called from any thread and from a signal handler. A loop that is not running forgets it.
///
/// @param l loop, or NULL for the default
///
/// # Safety
/// `l` is NULL or a loop that is not destroyed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_loop_stop(l: *mut qb_loop_t) {
    // SAFETY: forwards this function's contract.
    match unsafe { resolve(l) } {
        Some(l) => l.stop(),
        None => qb::log!(Level::Critical, "there is no main loop to stop"),
    }
}

/// Runs the loop until qb_loop_stop().
///
/// May be called from a callback of the same loop; qb_loop_stop() then ends the inner call and those around it.
///
/// @param l loop, or NULL for the default; without a default it returns at once
///
/// # Safety
/// `l` is NULL or a loop that is not destroyed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_loop_run(l: *mut qb_loop_t) {
    // SAFETY: forwards this function's contract.
    let Some(found) = (unsafe { resolve(l) }) else { return };
    let raw = std::ptr::from_ref(found);
    // SAFETY: every loop in C's hands came from `Arc::into_raw`; the reference taken here keeps it alive until the run is
    // over, even if a callback destroys it.
    let own = unsafe {
        Arc::increment_strong_count(raw);
        Arc::from_raw(raw)
    };
    own.run();
}

/// Calls a function once, in one of the next iterations.
///
/// A job that runs as the last of a chain of jobs that added each other may be delayed by up to 50 ms.
///
/// @param l           loop, or NULL for the default
/// @param p           priority
/// @param data        passed to the function
/// @param dispatch_fn function to call
/// @return 0, or -EINVAL
///
/// # Safety
/// `l` is NULL or a loop that is not destroyed yet; calling `dispatch_fn` with `data` is sound in the loop's thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_loop_job_add(
    l: *mut qb_loop_t,
    p: qb_loop_priority,
    data: *mut c_void,
    dispatch_fn: qb_loop_job_dispatch_fn,
) -> i32 {
    // SAFETY: forwards this function's contract.
    let (Some(l), Ok(prio), Some(call)) = (unsafe { resolve(l) }, Priority::try_from(p), dispatch_fn) else {
        return -EINVAL;
    };
    status(l.job_add(prio, Job::keyed(words(call, data), once(call, data))))
}

/// Takes back the oldest job with the same priority, function and data that has not started.
///
/// @param l           loop, or NULL for the default
/// @param p           priority
/// @param data        as given to qb_loop_job_add()
/// @param dispatch_fn as given to qb_loop_job_add()
/// @return 0, -ENOENT if there is no such job, or -EINVAL
///
/// # Safety
/// `l` is NULL or a loop that is not destroyed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_loop_job_del(
    l: *mut qb_loop,
    p: qb_loop_priority,
    data: *mut c_void,
    dispatch_fn: qb_loop_job_dispatch_fn,
) -> i32 {
    // SAFETY: forwards this function's contract.
    let (Some(l), Ok(prio), Some(call)) = (unsafe { resolve(l) }, Priority::try_from(p), dispatch_fn) else {
        return -EINVAL;
    };
    status(l.job_del(prio, words(call, data)))
}

/// Calls a function once, after a time.
///
/// May be called from any thread.
///
/// @param l                loop, or NULL for the default
/// @param p                priority
/// @param nsec_duration    nanoseconds that pass before at least
/// @param data             passed to the function
/// @param dispatch_fn      function to call
/// @param timer_handle_out gets the handle; may be NULL
/// @return 0, -EINVAL, or -ENOMEM
///
/// # Safety
/// `l` is NULL or a loop that is not destroyed yet; calling `dispatch_fn` with `data` is sound in the loop's thread;
/// `timer_handle_out` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_loop_timer_add(
    l: *mut qb_loop_t,
    p: qb_loop_priority,
    nsec_duration: u64,
    data: *mut c_void,
    dispatch_fn: qb_loop_timer_dispatch_fn,
    timer_handle_out: *mut qb_loop_timer_handle,
) -> i32 {
    // SAFETY: forwards this function's contract.
    let (Some(l), Ok(prio), Some(call)) = (unsafe { resolve(l) }, Priority::try_from(p), dispatch_fn) else {
        return -EINVAL;
    };
    let publish = |handle: TimerHandle| {
        if !timer_handle_out.is_null() {
            // SAFETY: not NULL, so writable by this function's contract.
            unsafe { timer_handle_out.write(handle.raw()) };
        }
    };
    status(l.timer_add_with(prio, nsec_duration, once(call, data), publish).map(drop))
}

/// Takes back a timer whose function was not called yet.
///
/// @param l  loop, or NULL for the default
/// @param th handle from qb_loop_timer_add()
/// @return 0, -EINVAL if there is no such timer (any more), or -ERANGE for an impossible handle
///
/// # Safety
/// `l` is NULL or a loop that is not destroyed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_loop_timer_del(l: *mut qb_loop_t, th: qb_loop_timer_handle) -> i32 {
    // SAFETY: forwards this function's contract.
    unsafe { resolve(l) }.map_or(-EINVAL, |l| status(l.timer_del(TimerHandle::from_raw(th))))
}

/// Tells whether a timer is still to expire.
///
/// @param l  loop, or NULL for the default
/// @param th handle from qb_loop_timer_add(); anything else gives 0
/// @return 1 or 0
///
/// # Safety
/// `l` is NULL or a loop that is not destroyed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_loop_timer_is_running(l: *mut qb_loop_t, th: qb_loop_timer_handle) -> i32 {
    // SAFETY: forwards this function's contract.
    unsafe { resolve(l) }.map_or(0, |l| i32::from(l.timer_is_running(TimerHandle::from_raw(th))))
}

/// Tells when a timer expires.
///
/// @param l  loop, or NULL for the default
/// @param th handle from qb_loop_timer_add()
/// @return nanoseconds on CLOCK_MONOTONIC, or 0 if there is no such timer (any more)
///
/// # Safety
/// `l` is NULL or a loop that is not destroyed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_loop_timer_expire_time_get(l: *mut qb_loop, th: qb_loop_timer_handle) -> u64 {
    // SAFETY: forwards this function's contract.
    unsafe { resolve(l) }.and_then(|l| l.timer_expire_time(TimerHandle::from_raw(th))).unwrap_or(0)
}

/// Tells how long it is until a timer expires.
///
/// @param l  loop, or NULL for the default
/// @param th handle from qb_loop_timer_add()
/// @return nanoseconds, or 0 if it is due or there is no such timer (any more)
///
/// # Safety
/// `l` is NULL or a loop that is not destroyed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_loop_timer_expire_time_remaining(
    l: *mut qb_loop,
    th: qb_loop_timer_handle,
) -> u64 {
    // SAFETY: forwards this function's contract.
    unsafe { resolve(l) }.and_then(|l| l.timer_remaining(TimerHandle::from_raw(th))).unwrap_or(0)
}

/// Sets the function that is told when the descriptors registered with the loop come close to RLIMIT_NOFILE, and when
/// there are enough again.
///
/// @param l  loop; NULL does not mean the default here
/// @param fn function to call, or NULL for none
/// @return 0, or -EINVAL
///
/// # Safety
/// `l` is NULL or a loop that is not destroyed yet; calling `fn` is sound in the loop's thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_loop_poll_low_fds_event_set(
    l: *mut qb_loop_t,
    r#fn: qb_loop_poll_low_fds_event_fn,
) -> i32 {
    // SAFETY: forwards this function's contract.
    let Some(l) = (unsafe { borrow(l) }) else { return -EINVAL };
    let callback = r#fn.map(|call| -> LowFdsFn {
        Arc::new(move |low, available| {
            // SAFETY: the caller registered this function for exactly this.
            unsafe { call(i32::from(low), i32::try_from(available).unwrap_or(i32::MAX)) }
        })
    });
    l.low_fds_event_set(callback);
    0
}

/// Watches a descriptor.
///
/// A negative return value of the function ends the registration.
///
/// @param l           loop, or NULL for the default
/// @param p           priority
/// @param fd          descriptor; take it back with qb_loop_poll_del() before closing it
/// @param events      bits of poll(2): POLLIN, POLLPRI, POLLOUT; POLLERR and POLLHUP are always reported
/// @param data        passed to the function
/// @param dispatch_fn function to call
/// @return 0, -EINVAL, or what epoll_ctl(2) said: -EEXIST, -EPERM (regular files), -EBADF, -ENOSPC, -ENOMEM
///
/// # Safety
/// `l` is NULL or a loop that is not destroyed yet; calling `dispatch_fn` with `data` is sound in the loop's thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_loop_poll_add(
    l: *mut qb_loop_t,
    p: qb_loop_priority,
    fd: i32,
    events: i32,
    data: *mut c_void,
    dispatch_fn: qb_loop_poll_dispatch_fn,
) -> i32 {
    // SAFETY: forwards this function's contract.
    let (Some(l), Ok(prio)) = (unsafe { resolve(l) }, Priority::try_from(p)) else { return -EINVAL };
    let Some(callback) = poll_closure(data, dispatch_fn) else { return -EINVAL };
    status(l.poll_add(prio, fd, Events::from_bits(events as u16), callback))
}

/// Changes priority, events, data and function of a watched descriptor.
///
/// @param l           loop, or NULL for the default
/// @param p           priority
/// @param fd          descriptor
/// @param events      as for qb_loop_poll_add()
/// @param data        passed to the function
/// @param dispatch_fn function to call
/// @return 0, -EINVAL, -EBADF if the descriptor is not watched, or what epoll_ctl(2) said
///
/// # Safety
/// As for qb_loop_poll_add().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_loop_poll_mod(
    l: *mut qb_loop_t,
    p: qb_loop_priority,
    fd: i32,
    events: i32,
    data: *mut c_void,
    dispatch_fn: qb_loop_poll_dispatch_fn,
) -> i32 {
    // SAFETY: forwards this function's contract.
    let (Some(l), Ok(prio)) = (unsafe { resolve(l) }, Priority::try_from(p)) else { return -EINVAL };
    let Some(callback) = poll_closure(data, dispatch_fn) else { return -EINVAL };
    status(l.poll_mod(prio, fd, Events::from_bits(events as u16), callback))
}

/// Stops watching a descriptor.
///
/// @param l  loop, or NULL for the default
/// @param fd descriptor
/// @return 0, -EINVAL, -EBADF if the descriptor is not watched, or what epoll_ctl(2) said about one closed before
///
/// # Safety
/// `l` is NULL or a loop that is not destroyed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_loop_poll_del(l: *mut qb_loop_t, fd: i32) -> i32 {
    // SAFETY: forwards this function's contract.
    unsafe { resolve(l) }.map_or(-EINVAL, |l| status(l.poll_del(fd)))
}

/// Calls a function from the loop when a signal arrives.
///
/// A return value other than 0 ends the registration. Several registrations for the same signal are all called.
///
/// @param l           loop, or NULL for the default
/// @param p           priority
/// @param sig         signal number
/// @param data        passed to the function
/// @param dispatch_fn function to call
/// @param handle      gets the handle; may be NULL
/// @return 0, or -EINVAL
///
/// # Safety
/// `l` is NULL or a loop that is not destroyed yet; calling `dispatch_fn` with `data` is sound in the loop's thread;
/// `handle` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_loop_signal_add(
    l: *mut qb_loop_t,
    p: qb_loop_priority,
    sig: i32,
    data: *mut c_void,
    dispatch_fn: qb_loop_signal_dispatch_fn,
    handle: *mut qb_loop_signal_handle,
) -> i32 {
    // SAFETY: forwards this function's contract.
    let (Some(l), Ok(prio)) = (unsafe { resolve(l) }, Priority::try_from(p)) else { return -EINVAL };
    let Some(callback) = signal_closure(data, dispatch_fn) else { return -EINVAL };
    status(l.signal_add(prio, sig, callback).map(|new| {
        if !handle.is_null() {
            // SAFETY: not NULL, so writable by this function's contract.
            unsafe { handle.write(without_provenance_mut(new.raw())) };
        }
    }))
}

/// Changes number, priority, data and function of a signal registration.
///
/// @param l           loop, or NULL for the default
/// @param p           priority
/// @param sig         signal number
/// @param data        passed to the function
/// @param dispatch_fn function to call
/// @param handle      handle from qb_loop_signal_add()
/// @return 0, or -EINVAL
///
/// # Safety
/// As for qb_loop_signal_add(); `handle` is never dereferenced.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_loop_signal_mod(
    l: *mut qb_loop_t,
    p: qb_loop_priority,
    sig: i32,
    data: *mut c_void,
    dispatch_fn: qb_loop_signal_dispatch_fn,
    handle: qb_loop_signal_handle,
) -> i32 {
    // SAFETY: forwards this function's contract.
    let (Some(l), Ok(prio)) = (unsafe { resolve(l) }, Priority::try_from(p)) else { return -EINVAL };
    let Some(callback) = signal_closure(data, dispatch_fn) else { return -EINVAL };
    status(l.signal_mod(SignalHandle::from_raw(handle.addr()), prio, sig, callback))
}

/// Ends a signal registration; without another one the signal gets its default action.
///
/// @param l      loop, or NULL for the default
/// @param handle handle from qb_loop_signal_add()
/// @return 0, or -EINVAL
///
/// # Safety
/// `l` is NULL or a loop that is not destroyed yet; `handle` is never dereferenced.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_loop_signal_del(l: *mut qb_loop_t, handle: qb_loop_signal_handle) -> i32 {
    // SAFETY: forwards this function's contract.
    unsafe { resolve(l) }.map_or(-EINVAL, |l| status(l.signal_del(SignalHandle::from_raw(handle.addr()))))
}

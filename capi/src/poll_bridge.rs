// SPDX-License-Identifier: LGPL-2.1-or-later
//! A C application's poll functions as the engine's [`Poller`].
//!
//! The engine's watches live in one table per process, indexed by descriptor. What C code gets as `data` is the
//! registration's number, not an address: a dispatch that comes late, after the descriptor was removed or given to
//! something else, finds another number and does nothing.

use crate::ipcs_bridge::{qb_ipcs_dispatch_fn_t, qb_ipcs_poll_handlers};
use crate::qbloop::qb_loop_job_dispatch_fn;
use libc::{c_int, c_void};
use qb::ipc::{Connection, Next, Poller, Priority, Watch};
use qb::{Error, Result};
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// The application's functions.
pub struct CPoller(pub qb_ipcs_poll_handlers);

/// One registration: its number, and what it watches.
type Slot = Option<(usize, Watch)>;

static TABLE: RwLock<Vec<Slot>> = RwLock::new(Vec::new());
static NEXT: AtomicUsize = AtomicUsize::new(1);

fn set(fd: RawFd, slot: Slot) -> Result<Slot> {
    let index = usize::try_from(fd).map_err(|_| Error::Invalid)?;
    let mut table = TABLE.write().unwrap_or_else(PoisonError::into_inner);
    if index >= table.len() {
        table.resize_with(index + 1, || None);
    }
    Ok(std::mem::replace(&mut table[index], slot))
}

fn get(fd: RawFd) -> Slot {
    let table = TABLE.read().unwrap_or_else(PoisonError::into_inner);
    usize::try_from(fd).ok().and_then(|index| table.get(index)?.clone())
}

/// What C poll loops call: looks up the registration and dispatches it.
unsafe extern "C" fn dispatch(fd: i32, revents: i32, data: *mut c_void) -> i32 {
    match get(fd) {
        Some((number, watch)) if number == data as usize => match watch.dispatch(revents) {
            Next::Keep => 0,
            Next::Remove => -libc::ESHUTDOWN,
        },
        _ => -libc::ENOENT,
    }
}

/// What C job queues call: `data` is a connection's reference, made by [`CPoller::job`].
unsafe extern "C" fn rerun(data: *mut c_void) {
    // SAFETY: `data` came from Arc::into_raw in `job`, and a job is called once.
    let connection = unsafe { Arc::from_raw(data.cast_const().cast::<Connection>()) };
    connection.rerun_closed();
}

fn checked(rc: c_int) -> Result<()> {
    if rc < 0 { Err(Error::Os(-rc)) } else { Ok(()) }
}

type Register = unsafe extern "C" fn(c_int, i32, i32, *mut c_void, qb_ipcs_dispatch_fn_t) -> i32;

fn register(
    function: Option<Register>,
    priority: Priority,
    fd: RawFd,
    events: i32,
    number: usize,
) -> Result<()> {
    let function = function.ok_or(Error::Invalid)?;
    // SAFETY: the application gave this function for this purpose; `data` is a number that only `dispatch` looks at.
    checked(unsafe { function(priority as c_int, fd, events, number as *mut c_void, Some(dispatch)) })
}

impl Poller for CPoller {
    fn add(&self, priority: Priority, fd: RawFd, events: i32, watch: Watch) -> Result<()> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // What stood there was removed from the loop without our hearing of it.
        drop(set(fd, Some((number, watch)))?);
        register(self.0.dispatch_add, priority, fd, events, number).inspect_err(|_| drop(set(fd, None)))
    }

    fn modify(&self, priority: Priority, fd: RawFd, events: i32, watch: Watch) -> Result<()> {
        // Another thread may have ended the connection meanwhile, and the descriptor's number may be somebody else's by now.
        match get(fd) {
            Some((number, registered)) if registered.is_same(&watch) => {
                register(self.0.dispatch_mod, priority, fd, events, number)
            }
            _ => Err(Error::Invalid),
        }
    }

    fn remove(&self, fd: RawFd) -> Result<()> {
        // The watch is dropped after the table's lock is gone: it may be the last reference to its connection.
        let gone = set(fd, None);
        let function = self.0.dispatch_del.ok_or(Error::Invalid)?;
        // SAFETY: the application gave this function for this purpose.
        let result = checked(unsafe { function(fd) });
        drop(gone);
        result
    }

    fn job(&self, priority: Priority, connection: Arc<Connection>) -> Result<()> {
        let function = self.0.job_add.ok_or(Error::NotSupported)?;
        let data = Arc::into_raw(connection);
        let job: qb_loop_job_dispatch_fn = Some(rerun);
        // SAFETY: the application gave this function for this purpose; `rerun` takes the reference back.
        let result = checked(unsafe { function(priority as c_int, data.cast_mut().cast(), job) });
        if result.is_err() {
            // SAFETY: the job was not taken, so the reference is still ours.
            drop(unsafe { Arc::from_raw(data) });
        }
        result
    }
}

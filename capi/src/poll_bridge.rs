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

#[cfg(test)]
mod tests {
    use super::*;
    use qb::ipc::{Credentials, Handler, Request, Service, Transport};
    use std::sync::Mutex;

    struct Nobody;

    impl Handler for Nobody {
        fn accept(&self, _: &Arc<Connection>, _: &Credentials) -> std::result::Result<(), i32> {
            Err(libc::EACCES)
        }
        fn process(&self, _: &Arc<Connection>, _: &mut Request<'_>) -> i32 {
            0
        }
    }

    /// What the loop was told: the function, and the number that it got as `data`.
    static TOLD: Mutex<Vec<(&str, usize)>> = Mutex::new(Vec::new());

    unsafe extern "C" fn add(_: c_int, _: i32, _: i32, data: *mut c_void, _: qb_ipcs_dispatch_fn_t) -> i32 {
        TOLD.lock().unwrap().push(("add", data as usize));
        0
    }

    unsafe extern "C" fn modify(
        _: c_int,
        _: i32,
        _: i32,
        data: *mut c_void,
        _: qb_ipcs_dispatch_fn_t,
    ) -> i32 {
        TOLD.lock().unwrap().push(("mod", data as usize));
        0
    }

    unsafe extern "C" fn delete(_: i32) -> i32 {
        TOLD.lock().unwrap().push(("del", 0));
        0
    }

    fn service() -> Arc<Service> {
        Service::new("never run", 0, Ok(Transport::SharedMemory), Box::new(Nobody)).unwrap()
    }

    /// As when a thread tells the loop something about a connection that ended meanwhile.
    #[test]
    fn a_change_of_interest_does_not_reach_the_next_owner_of_a_number() {
        const FD: RawFd = 900;
        let functions = qb_ipcs_poll_handlers {
            job_add: None,
            dispatch_add: Some(add),
            dispatch_mod: Some(modify),
            dispatch_del: Some(delete),
        };
        let poller = CPoller(functions);
        let (older, newer) = (service(), service());
        let watch = |service: &Arc<Service>| Watch::Listener(service.clone());

        poller.add(Priority::Med, FD, 1, watch(&older)).unwrap();
        poller.modify(Priority::Low, FD, 1, watch(&older)).unwrap();
        poller.remove(FD).unwrap();
        assert_eq!(poller.modify(Priority::Low, FD, 1, watch(&older)), Err(Error::Invalid));
        assert!(get(FD).is_none());

        poller.add(Priority::Med, FD, 1, watch(&newer)).unwrap();
        assert_eq!(poller.modify(Priority::Low, FD, 1, watch(&older)), Err(Error::Invalid));
        let (number, registered) = get(FD).unwrap();
        assert!(registered.is_same(&watch(&newer)));
        poller.modify(Priority::Low, FD, 1, watch(&newer)).unwrap();

        let told = TOLD.lock().unwrap().clone();
        let first = told[0].1;
        assert_ne!(first, number);
        assert_eq!(told, [("add", first), ("mod", first), ("del", 0), ("add", number), ("mod", number)]);
        // A dispatch of the registration that is gone finds another number.
        // SAFETY: `data` is only compared.
        assert_eq!(unsafe { dispatch(FD, 1, first as *mut c_void) }, -libc::ENOENT);
        poller.remove(FD).unwrap();
        older.destroy();
        newer.destroy();
    }
}

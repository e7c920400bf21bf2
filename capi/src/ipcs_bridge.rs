// SPDX-License-Identifier: LGPL-2.1-or-later
//! What `qbipcs` stands on: its C types with their layouts, the application's functions as the engine's [`Handler`], and
//! owning pointers from handles.

use crate::qbloop::qb_loop_job_dispatch_fn;
use libc::{c_int, c_void, gid_t, size_t, uid_t};
use qb::ipc::{Connection, ConnectionStats, Credentials, Handler, Request, Service};
use std::mem::ManuallyDrop;
use std::sync::Arc;

/// The C names.
pub type qb_ipcs_service_t = Service;
pub type qb_ipcs_connection_t = Connection;
pub type qb_ipc_type = u32;
pub type qb_ipcs_rate_limit = u32;

pub type qb_ipcs_dispatch_fn_t =
    Option<unsafe extern "C" fn(fd: i32, revents: i32, data: *mut c_void) -> i32>;
type Register = Option<unsafe extern "C" fn(c_int, i32, i32, *mut c_void, qb_ipcs_dispatch_fn_t) -> i32>;

/// `struct qb_ipcs_poll_handlers`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct qb_ipcs_poll_handlers {
    pub job_add: Option<unsafe extern "C" fn(c_int, *mut c_void, qb_loop_job_dispatch_fn) -> i32>,
    pub dispatch_add: Register,
    pub dispatch_mod: Register,
    pub dispatch_del: Option<unsafe extern "C" fn(i32) -> i32>,
}

/// `struct qb_ipcs_service_handlers`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct qb_ipcs_service_handlers {
    pub connection_accept: Option<unsafe extern "C" fn(*mut qb_ipcs_connection_t, uid_t, gid_t) -> i32>,
    pub connection_created: Option<unsafe extern "C" fn(*mut qb_ipcs_connection_t)>,
    pub msg_process: Option<unsafe extern "C" fn(*mut qb_ipcs_connection_t, *mut c_void, size_t) -> i32>,
    pub connection_closed: Option<unsafe extern "C" fn(*mut qb_ipcs_connection_t) -> i32>,
    pub connection_destroyed: Option<unsafe extern "C" fn(*mut qb_ipcs_connection_t)>,
}

/// `struct qb_ipcs_stats`.
#[repr(C)]
pub struct qb_ipcs_stats {
    pub active_connections: u32,
    pub closed_connections: u32,
}

/// `struct qb_ipcs_connection_stats`.
#[repr(C)]
pub struct qb_ipcs_connection_stats {
    pub client_pid: i32,
    pub requests: u64,
    pub responses: u64,
    pub events: u64,
    pub send_retries: u64,
    pub recv_retries: u64,
    pub flow_control_state: i32,
    pub flow_control_count: u64,
}

/// `struct qb_ipcs_connection_stats_2`.
#[repr(C)]
pub struct qb_ipcs_connection_stats_2 {
    pub first: qb_ipcs_connection_stats,
    pub event_q_length: u32,
}

const _: () = {
    assert!(size_of::<qb_ipcs_connection_stats>() == 64);
    assert!(size_of::<qb_ipcs_connection_stats_2>() == 72);
    assert!(std::mem::offset_of!(qb_ipcs_connection_stats_2, event_q_length) == 64);
};

impl From<ConnectionStats> for qb_ipcs_connection_stats {
    fn from(s: ConnectionStats) -> Self {
        Self {
            client_pid: s.client_pid,
            requests: s.requests,
            responses: s.responses,
            events: s.events,
            send_retries: s.send_retries,
            recv_retries: s.recv_retries,
            flow_control_state: s.flow_control_state,
            flow_control_count: s.flow_control_count,
        }
    }
}

/// The application's functions as the engine's [`Handler`]. A connection's handle is its address, which stays valid until
/// `connection_destroyed` has returned.
pub struct CHandler(pub qb_ipcs_service_handlers);

/// The C handle of a connection.
pub fn handle(connection: &Arc<Connection>) -> *mut qb_ipcs_connection_t {
    Arc::as_ptr(connection).cast_mut()
}

impl Handler for CHandler {
    fn accept(&self, connection: &Arc<Connection>, peer: &Credentials) -> Result<(), i32> {
        // SAFETY: the application gave this function for this purpose; the handle is alive during the call.
        match self.0.connection_accept.map_or(0, |f| unsafe { f(handle(connection), peer.uid, peer.gid) }) {
            0 => Ok(()),
            error => Err(error),
        }
    }

    fn created(&self, connection: &Arc<Connection>) {
        if let Some(f) = self.0.connection_created {
            // SAFETY: as above.
            unsafe { f(handle(connection)) };
        }
    }

    fn process(&self, connection: &Arc<Connection>, request: &mut Request<'_>) -> i32 {
        let len = request.size();
        let address = request.address().cast();
        // SAFETY: as above; the request's memory is valid for `len` bytes during the call.
        self.0.msg_process.map_or(0, |f| unsafe { f(handle(connection), address, len) })
    }

    fn closed(&self, connection: &Arc<Connection>) -> i32 {
        // SAFETY: as above.
        self.0.connection_closed.map_or(0, |f| unsafe { f(handle(connection)) })
    }

    fn destroyed(&self, connection: &Arc<Connection>) {
        if let Some(f) = self.0.connection_destroyed {
            // SAFETY: as above; the connection is freed only after this returns.
            unsafe { f(handle(connection)) };
        }
    }
}

/// What a handle points to, without a count: the caller's own reference outlives the call, and the engine takes one of its own
/// where it calls back into the application.
///
/// # Safety
/// `handle` is NULL or came from this library, and the caller has a reference for the whole call.
pub unsafe fn lend<T>(handle: *mut T) -> Option<ManuallyDrop<Arc<T>>> {
    // SAFETY: handles are addresses inside an Arc, whose count stays what it is: this one is never dropped.
    (!handle.is_null()).then(|| ManuallyDrop::new(unsafe { Arc::from_raw(handle) }))
}

/// An owning pointer beside the handle, so that the object outlives the call whatever callbacks do to it.
///
/// # Safety
/// `handle` is NULL or came from this library and is not destroyed yet.
pub unsafe fn arc<T>(handle: *mut T) -> Option<Arc<T>> {
    if handle.is_null() {
        return None;
    }
    // SAFETY: handles are addresses inside an Arc that the library holds until the object's last reference goes.
    unsafe {
        Arc::increment_strong_count(handle);
        Some(Arc::from_raw(handle))
    }
}

// SPDX-License-Identifier: LGPL-2.1-or-later
//! `qb/qbipcs.h`: IPC services. The C types, and the application's functions as the engine's handler, are in
//! `ipcs_bridge`.

use crate::handle::{BAD_ARG, borrow, count, cstr, gather_and_send, message, null_errno, status};
use crate::ipcs_bridge::{
    CHandler, arc, handle, lend, qb_ipc_type, qb_ipcs_connection_stats, qb_ipcs_connection_stats_2,
    qb_ipcs_connection_t, qb_ipcs_poll_handlers, qb_ipcs_rate_limit, qb_ipcs_service_handlers,
    qb_ipcs_service_t, qb_ipcs_stats,
};
use crate::poll_bridge::CPoller;
use libc::{c_char, c_void, gid_t, iovec, mode_t, size_t, ssize_t, uid_t};
use qb::Error;
use qb::ipc::{Auth, Connection, RateLimit, Service, Transport};
use std::sync::Arc;

/// Makes a service, which does not listen before qb_ipcs_run().
///
/// @param name       name that clients connect to: no '/', at most 235 bytes (qb_ipcc_connect() takes no more), of which an
///                   abstract address carries 106
/// @param service_id a number of the application's, see qb_ipcs_service_id_get()
/// @param type       transport; the message-queue types are not available here, qb_ipcs_run() says so
/// @param handlers   functions of the application, copied; msg_process and connection_accept are needed
/// @return service with one reference, given up by qb_ipcs_destroy(); NULL with errno set otherwise
///
/// # Safety
/// `name` is NULL or NUL-terminated; `handlers` is NULL or readable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcs_create(
    name: *const c_char,
    service_id: i32,
    r#type: qb_ipc_type,
    handlers: *mut qb_ipcs_service_handlers,
) -> *mut qb_ipcs_service_t {
    let transport = match r#type {
        0 => Ok(Transport::Socket),
        1 | 4 => Ok(Transport::SharedMemory),
        2 | 3 => Err(Error::NotSupported),
        _ => Err(Error::Invalid),
    };
    // SAFETY: the caller's contract.
    let (name, handlers) = unsafe { (cstr(name), handlers.as_ref()) };
    let (Some(name), Some(handlers)) = (name, handlers) else {
        return null_errno(Error::Invalid);
    };
    match Service::new(name.to_bytes(), service_id, transport, Box::new(CHandler(*handlers))) {
        // The service keeps itself until its last reference goes; the handle is its address.
        Ok(service) => Arc::as_ptr(&service).cast_mut(),
        Err(e) => null_errno(e),
    }
}

/// Takes a reference to a service.
///
/// @param s service
///
/// # Safety
/// `s` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcs_ref(s: *mut qb_ipcs_service_t) {
    // SAFETY: the caller's contract.
    if let Some(service) = unsafe { borrow(s) } {
        service.hold();
    }
}

/// Drops a reference to a service; the last one frees it.
///
/// @param s service
///
/// # Safety
/// `s` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcs_unref(s: *mut qb_ipcs_service_t) {
    // SAFETY: the caller's contract.
    if let Some(service) = unsafe { arc(s) } {
        service.release();
    }
}

/// Sets the poll loop that the service shall use; to be called before qb_ipcs_run().
///
/// @param s        service
/// @param handlers functions of the poll loop, copied. job_add may be NULL: a connection_closed that returns non-zero is
///                 then not called again
///
/// # Safety
/// `s` is NULL or alive; `handlers` is NULL or readable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcs_poll_handlers_set(
    s: *mut qb_ipcs_service_t,
    handlers: *mut qb_ipcs_poll_handlers,
) {
    // SAFETY: the caller's contract.
    if let (Some(service), Some(handlers)) = unsafe { (borrow(s), handlers.as_ref()) } {
        service.set_poller(Arc::new(CPoller(*handlers)));
    }
}

/// Associates a pointer of the application's with a service.
///
/// @param s       service
/// @param context any pointer
///
/// # Safety
/// `s` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcs_service_context_set(s: *mut qb_ipcs_service_t, context: *mut c_void) {
    // SAFETY: the caller's contract.
    if let Some(service) = unsafe { borrow(s) } {
        service.set_user_data(context as usize);
    }
}

/// The pointer that qb_ipcs_service_context_set() stored.
///
/// @param s service
/// @return the pointer, NULL if none was set
///
/// # Safety
/// `s` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcs_service_context_get(s: *mut qb_ipcs_service_t) -> *mut c_void {
    // SAFETY: the caller's contract.
    unsafe { borrow(s) }.map_or(std::ptr::null_mut(), |service| service.user_data() as *mut c_void)
}

/// Starts to listen.
///
/// @param s service; a failure drops its first reference, as qb_ipcs_destroy() does, and so frees it unless there are more
/// @return 0; -EINVAL without poll functions, -ENOTSUP for a transport that is not available, -EADDRINUSE when the name is
///         taken, or what else binding gave
///
/// # Safety
/// `s` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcs_run(s: *mut qb_ipcs_service_t) -> i32 {
    // SAFETY: the caller's contract.
    let Some(service) = (unsafe { arc(s) }) else {
        return -libc::EINVAL;
    };
    let result = service.run();
    if result.is_err() {
        service.release();
    }
    status(result)
}

/// Disconnects every client, stops listening and drops the service's first reference.
///
/// @param s service; NULL is fine
///
/// # Safety
/// `s` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcs_destroy(s: *mut qb_ipcs_service_t) {
    // SAFETY: the caller's contract.
    if let Some(service) = unsafe { arc(s) } {
        service.destroy();
    }
}

/// Sets how eagerly requests are taken from clients, and whether clients are told to stop sending.
///
/// @param s  service
/// @param rl FAST: up to 50 requests of a client in a row, high priority; NORMAL (the default): up to 5, medium; SLOW:
///           one, low; OFF, OFF_2: none, what is queued stays queued. With OFF clients get -EAGAIN from their sends, with
///           OFF_2 those that allow it by qb_ipcc_fc_enable_max_set(); others may send until the queue is full
///
/// # Safety
/// `s` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcs_request_rate_limit(s: *mut qb_ipcs_service_t, rl: qb_ipcs_rate_limit) {
    let limit = match rl {
        0 => RateLimit::Fast,
        1 => RateLimit::Normal,
        2 => RateLimit::Slow,
        3 => RateLimit::Off,
        4 => RateLimit::OffUrgent,
        _ => return,
    };
    // SAFETY: the caller's contract.
    if let Some(service) = unsafe { arc(s) } {
        service.set_rate_limit(limit);
    }
}

/// Sends a response to a client.
///
/// @param c    connection
/// @param data response, starting with a struct qb_ipc_response_header
/// @param size whole length of the response in bytes
/// @return bytes sent, or -EINVAL, -EMSGSIZE (longer than a message can be, or than the socket carries), -EAGAIN (no
///         room now; in shared memory also when it is longer than the queue), -ENOTCONN;
///         -ECONNREFUSED when the client has left and that was not handled yet
///
/// # Safety
/// `c` is NULL or alive; `data` is NULL or readable for `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcs_response_send(
    c: *mut qb_ipcs_connection_t,
    data: *const c_void,
    size: size_t,
) -> ssize_t {
    // SAFETY: the caller's contract.
    match unsafe { (lend(c), message(data, size)) } {
        (Some(connection), message) => {
            count(message.and_then(|message| connection.send_response(&[message])))
        }
        _ => BAD_ARG,
    }
}

/// Sends a response that is gathered from several buffers, as qb_ipcs_response_send().
///
/// @param c       connection
/// @param iov     buffers
/// @param iov_len number of buffers, at most 1024
/// @return bytes sent, or a negative errno as for qb_ipcs_response_send()
///
/// # Safety
/// `c` is NULL or alive; `iov` is NULL or an array of `iov_len` readable buffers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcs_response_sendv(
    c: *mut qb_ipcs_connection_t,
    iov: *const iovec,
    iov_len: size_t,
) -> ssize_t {
    // SAFETY: the caller's contract.
    match unsafe { lend(c) } {
        // SAFETY: the caller's contract.
        Some(connection) => unsafe { gather_and_send(iov, iov_len, |parts| connection.send_response(parts)) },
        None => BAD_ARG,
    }
}

/// Sends an event to a client. Any thread may.
///
/// @param c    connection
/// @param data event, starting with a struct qb_ipc_response_header
/// @param size whole length of the event in bytes
/// @return bytes sent, or -EINVAL, -EMSGSIZE, -EAGAIN (no room now), -ENOTCONN; -EPIPE or -ECONNREFUSED when the client has left
///         and that was not handled yet
///
/// # Safety
/// `c` is NULL or alive; `data` is NULL or readable for `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcs_event_send(
    c: *mut qb_ipcs_connection_t,
    data: *const c_void,
    size: size_t,
) -> ssize_t {
    // SAFETY: the caller's contract.
    match unsafe { (lend(c), message(data, size)) } {
        (Some(connection), message) => count(message.and_then(|message| connection.send_event(&[message]))),
        _ => BAD_ARG,
    }
}

/// Sends an event that is gathered from several buffers, as qb_ipcs_event_send().
///
/// @param c       connection
/// @param iov     buffers
/// @param iov_len number of buffers, at most 1024
/// @return bytes sent, or a negative errno as for qb_ipcs_event_send()
///
/// # Safety
/// `c` is NULL or alive; `iov` is NULL or an array of `iov_len` readable buffers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcs_event_sendv(
    c: *mut qb_ipcs_connection_t,
    iov: *const iovec,
    iov_len: size_t,
) -> ssize_t {
    // SAFETY: the caller's contract.
    match unsafe { lend(c) } {
        // SAFETY: the caller's contract.
        Some(connection) => unsafe { gather_and_send(iov, iov_len, |parts| connection.send_event(parts)) },
        None => BAD_ARG,
    }
}

/// Takes a reference to a connection: connection_destroyed waits until it is dropped.
///
/// @param c connection; NULL is fine
///
/// # Safety
/// `c` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcs_connection_ref(c: *mut qb_ipcs_connection_t) {
    // SAFETY: the caller's contract.
    if let Some(connection) = unsafe { borrow(c) } {
        connection.hold();
    }
}

/// Drops a reference to a connection; with the last one connection_destroyed is called and the connection freed.
///
/// @param c connection; NULL is fine
///
/// # Safety
/// `c` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcs_connection_unref(c: *mut qb_ipcs_connection_t) {
    // SAFETY: the caller's contract.
    if let Some(connection) = unsafe { arc(c) } {
        connection.release();
    }
}

/// Ends a connection; from any callback too. connection_closed is called before this returns. From
/// connection_created it is not called at all, and connection_destroyed follows once that has returned.
///
/// @param c connection; NULL is fine
///
/// # Safety
/// `c` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcs_disconnect(c: *mut qb_ipcs_connection_t) {
    // SAFETY: the caller's contract.
    if let Some(connection) = unsafe { arc(c) } {
        connection.disconnect();
    }
}

/// The service_id given to qb_ipcs_create().
///
/// @param c connection
/// @return the number, or -EINVAL
///
/// # Safety
/// `c` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcs_service_id_get(c: *mut qb_ipcs_connection_t) -> i32 {
    // SAFETY: the caller's contract.
    unsafe { borrow(c) }.map_or(-libc::EINVAL, |connection| connection.service().id())
}

/// Associates a pointer of the application's with a connection.
///
/// @param c       connection
/// @param context any pointer
///
/// # Safety
/// `c` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcs_context_set(c: *mut qb_ipcs_connection_t, context: *mut c_void) {
    // SAFETY: the caller's contract.
    if let Some(connection) = unsafe { borrow(c) } {
        connection.set_user_data(context as usize);
    }
}

/// The pointer that qb_ipcs_context_set() stored.
///
/// @param c connection
/// @return the pointer, NULL if none was set
///
/// # Safety
/// `c` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcs_context_get(c: *mut qb_ipcs_connection_t) -> *mut c_void {
    // SAFETY: the caller's contract.
    unsafe { borrow(c) }.map_or(std::ptr::null_mut(), |connection| connection.user_data() as *mut c_void)
}

/// The pointer that qb_ipcs_service_context_set() stored with the connection's service.
///
/// @param c connection
/// @return the pointer, NULL if none was set
///
/// # Safety
/// `c` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcs_connection_service_context_get(c: *mut qb_ipcs_connection_t) -> *mut c_void {
    // SAFETY: the caller's contract.
    unsafe { borrow(c) }
        .map_or(std::ptr::null_mut(), |connection| connection.service().user_data() as *mut c_void)
}

/// Counters of a connection.
///
/// @param c                connection
/// @param stats            filled in
/// @param clear_after_read non-zero resets the counters; client_pid stays
/// @return 0, or -EINVAL
///
/// # Safety
/// `c` is NULL or alive; `stats` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcs_connection_stats_get(
    c: *mut qb_ipcs_connection_t,
    stats: *mut qb_ipcs_connection_stats,
    clear_after_read: i32,
) -> i32 {
    // SAFETY: the caller's contract.
    match unsafe { (borrow(c), stats.is_null()) } {
        (Some(connection), false) => {
            // SAFETY: not NULL, writable by the caller's contract.
            unsafe { stats.write(connection.stats(clear_after_read != 0).into()) };
            0
        }
        _ => -libc::EINVAL,
    }
}

/// Counters of a connection, with the length of its event queue.
///
/// @param c                connection
/// @param clear_after_read non-zero resets the counters; client_pid stays
/// @return counters for the caller to free(); NULL with errno set otherwise
///
/// # Safety
/// `c` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcs_connection_stats_get_2(
    c: *mut qb_ipcs_connection_t,
    clear_after_read: i32,
) -> *mut qb_ipcs_connection_stats_2 {
    // SAFETY: the caller's contract.
    let Some(connection) = (unsafe { borrow(c) }) else {
        return null_errno(Error::Invalid);
    };
    // SAFETY: malloc is asked for the size that is written below, and its result is checked.
    let room = unsafe { libc::calloc(1, size_of::<qb_ipcs_connection_stats_2>()) }
        .cast::<qb_ipcs_connection_stats_2>();
    if room.is_null() {
        return null_errno(Error::NoMemory);
    }
    let stats = connection.stats(clear_after_read != 0);
    let event_q_length = stats.event_queue_length;
    // SAFETY: `room` is fresh memory of that size; malloc's alignment suits it.
    unsafe { room.write(qb_ipcs_connection_stats_2 { first: stats.into(), event_q_length }) };
    room
}

/// Counters of a service.
///
/// @param pt               service
/// @param stats            filled in
/// @param clear_after_read non-zero resets the counters
/// @return 0, or -EINVAL
///
/// # Safety
/// `pt` is NULL or alive; `stats` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcs_stats_get(
    pt: *mut qb_ipcs_service_t,
    stats: *mut qb_ipcs_stats,
    clear_after_read: i32,
) -> i32 {
    // SAFETY: the caller's contract.
    match unsafe { (borrow(pt), stats.as_mut()) } {
        (Some(service), Some(out)) => {
            let stats = service.stats(clear_after_read != 0);
            out.active_connections = stats.active_connections;
            out.closed_connections = stats.closed_connections;
            0
        }
        _ => -libc::EINVAL,
    }
}

/// The connection that was made last.
///
/// @param pt service
/// @return connection with a reference for the caller to drop with qb_ipcs_connection_unref(); NULL when there is none
///
/// # Safety
/// `pt` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcs_connection_first_get(
    pt: *mut qb_ipcs_service_t,
) -> *mut qb_ipcs_connection_t {
    // SAFETY: the caller's contract.
    handle_or_null(unsafe { borrow(pt) }.and_then(Service::hold_newest))
}

/// The connection that was made before another.
///
/// @param pt      service
/// @param current connection of that service; its reference stays the caller's
/// @return connection with a reference for the caller to drop with qb_ipcs_connection_unref(); NULL when there is none
///
/// # Safety
/// `pt` and `current` are NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcs_connection_next_get(
    pt: *mut qb_ipcs_service_t,
    current: *mut qb_ipcs_connection_t,
) -> *mut qb_ipcs_connection_t {
    // SAFETY: the caller's contract.
    match unsafe { (borrow(pt), borrow(current)) } {
        (Some(service), Some(current)) => handle_or_null(service.hold_next_older(current)),
        _ => std::ptr::null_mut(),
    }
}

fn handle_or_null(connection: Option<Arc<Connection>>) -> *mut qb_ipcs_connection_t {
    connection.map_or(std::ptr::null_mut(), |connection| handle(&connection))
}

/// Sets owner and mode of the shared-memory files that the client gets to open. Takes effect within connection_accept
/// only; without it the client's own user and group and mode 0600 are used.
///
/// @param conn connection
/// @param uid  owner; (uid_t) -1 keeps the server's
/// @param gid  group; (gid_t) -1 keeps the server's
/// @param mode permission bits
///
/// # Safety
/// `conn` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcs_connection_auth_set(
    conn: *mut qb_ipcs_connection_t,
    uid: uid_t,
    gid: gid_t,
    mode: mode_t,
) {
    // SAFETY: the caller's contract.
    if let Some(connection) = unsafe { borrow(conn) } {
        connection.set_auth(Auth { uid, gid, mode });
    }
}

/// The largest message in bytes that was agreed with a client.
///
/// @param connection connection
/// @return bytes, or -EINVAL
///
/// # Safety
/// `connection` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcs_connection_get_buffer_size(connection: *mut qb_ipcs_connection_t) -> i32 {
    // SAFETY: the caller's contract.
    unsafe { borrow(connection) }
        .map_or(-libc::EINVAL, |connection| i32::try_from(connection.max_msg_size()).unwrap_or(i32::MAX))
}

/// Sets a lower bound for the message size of every client to come.
///
/// @param s             service
/// @param max_buf_size bytes
///
/// # Safety
/// `s` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcs_enforce_buffer_size(s: *mut qb_ipcs_service_t, max_buf_size: u32) {
    // SAFETY: the caller's contract.
    if let Some(service) = unsafe { borrow(s) } {
        service.enforce_buffer_size(max_buf_size);
    }
}

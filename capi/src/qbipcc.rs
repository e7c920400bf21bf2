// SPDX-License-Identifier: LGPL-2.1-or-later
//! `qb/qbipcc.h`: IPC clients.

use crate::handle::{
    BAD_ARG, all_empty, borrow, count, cstr, gather, gather_and_send, message, null_errno, room, status,
};
use libc::{c_char, c_int, c_void, gid_t, iovec, pid_t, size_t, ssize_t, uid_t};
use qb::Error;
use qb::ipc::{Client, Connecting, probe_datagram_size};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// A client's connection: being made, or made.
pub struct qb_ipcc_connection {
    pending: Mutex<Option<Connecting>>,
    client: OnceLock<Client>,
    context: AtomicPtr<c_void>,
}

/// The C name.
pub type qb_ipcc_connection_t = qb_ipcc_connection;

impl qb_ipcc_connection {
    fn boxed(pending: Option<Connecting>, client: Option<Client>) -> *mut Self {
        Box::into_raw(Box::new(Self {
            pending: Mutex::new(pending),
            client: client.map_or_else(OnceLock::new, OnceLock::from),
            context: AtomicPtr::default(),
        }))
    }
}

/// The open connection behind a handle; None for NULL and before an asynchronous connect is through.
///
/// # Safety
/// `c` is NULL or an open handle.
pub(crate) unsafe fn open<'a>(c: *mut qb_ipcc_connection_t) -> Option<&'a Client> {
    // SAFETY: the caller's contract.
    unsafe { borrow(c) }.and_then(|c| c.client.get())
}

/// Connects to a service and waits until it has let us in (30 s at most; the environment variable
/// LIBQB_CONNECT_TIMEOUT_MS changes that).
///
/// @param name         name of the service
/// @param max_msg_size largest message in bytes that this client wants to send or receive; at least 12328 is agreed
/// @return connection, to be closed with qb_ipcc_disconnect(); NULL with errno set otherwise: ECONNREFUSED when nobody
///         listens, ETIMEDOUT when the service does not answer, EINVAL for a name of more than 235 bytes (names of files
///         are made from it, which have 255), or the error with which the service refused
///
/// # Safety
/// `name` is NULL or NUL-terminated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcc_connect(
    name: *const c_char,
    max_msg_size: size_t,
) -> *mut qb_ipcc_connection_t {
    // SAFETY: the caller's contract.
    let Some(name) = (unsafe { cstr(name) }) else {
        return null_errno(Error::Invalid);
    };
    match Client::connect(name.to_bytes(), max_msg_size) {
        Ok(client) => qb_ipcc_connection::boxed(None, Some(client)),
        Err(e) => null_errno(e),
    }
}

/// Begins to connect to a service without waiting for its answer.
///
/// @param name         name of the service
/// @param max_msg_size as for qb_ipcc_connect()
/// @param connect_fd   set to the descriptor to poll for POLLIN; then call qb_ipcc_connect_continue()
/// @return unfinished connection, or NULL with errno set
///
/// # Safety
/// `name` is NULL or NUL-terminated; `connect_fd` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcc_connect_async(
    name: *const c_char,
    max_msg_size: size_t,
    connect_fd: *mut c_int,
) -> *mut qb_ipcc_connection_t {
    // SAFETY: the caller's contract.
    let name = unsafe { cstr(name) };
    let (Some(name), false) = (name, connect_fd.is_null()) else {
        return null_errno(Error::Invalid);
    };
    match Connecting::start(name.to_bytes(), max_msg_size, false) {
        Ok(pending) => {
            // SAFETY: not NULL, and writable by the caller's contract.
            unsafe { *connect_fd = pending.raw_fd() };
            qb_ipcc_connection::boxed(Some(pending), None)
        }
        Err(e) => null_errno(e),
    }
}

/// Finishes what qb_ipcc_connect_async() began. To be called only once the descriptor that it gave is readable.
///
/// A connection that shall not be finished is given to qb_ipcc_disconnect() instead.
///
/// @param c connection from qb_ipcc_connect_async(); freed by a negative result of the first call, -EAGAIN too
/// @return 0; -EAGAIN when it is called before the service has answered, or the negative errno as for qb_ipcc_connect().
///         A second call, after 0, is -EINVAL and changes nothing
///
/// # Safety
/// `c` is NULL or open, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcc_connect_continue(c: *mut qb_ipcc_connection_t) -> c_int {
    // SAFETY: the caller's contract.
    let Some(connection) = (unsafe { borrow(c) }) else {
        return -libc::EINVAL;
    };
    let pending = connection.pending.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(pending) = pending else {
        return -libc::EINVAL;
    };
    match pending.finish_now() {
        Ok(client) => {
            let _ = connection.client.set(client);
            0
        }
        Err(e) => {
            // SAFETY: the caller's contract; the handle is not used any more after a failure.
            drop(unsafe { Box::from_raw(c) });
            -e.errno()
        }
    }
}

/// Closes a connection and frees it, with whatever was not received.
///
/// The server's connection_closed callback follows. In a child that inherited the
/// connection from its parent this frees memory only; the parent's connection stays.
///
/// @param c connection, finished or not; NULL is fine
///
/// # Safety
/// `c` is NULL or open, and used by no other thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcc_disconnect(c: *mut qb_ipcc_connection_t) {
    if !c.is_null() {
        // SAFETY: the handle came from Box::into_raw and the caller gives it up.
        drop(unsafe { Box::from_raw(c) });
    }
}

/// The descriptor that is readable (POLLIN) as long as an event is queued, for the application's own poll loop.
///
/// @param c  connection
/// @param fd set to the descriptor, which stays the connection's
/// @return 0, or -EINVAL
///
/// # Safety
/// `c` is NULL or open; `fd` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcc_fd_get(c: *mut qb_ipcc_connection_t, fd: *mut i32) -> i32 {
    // SAFETY: the caller's contract.
    match unsafe { (open(c), fd.as_mut()) } {
        (Some(client), Some(fd)) => {
            *fd = client.event_raw_fd();
            0
        }
        _ => -libc::EINVAL,
    }
}

/// The server's process, user and group, as the kernel attached them to its answer.
///
/// @param c   connection
/// @param pid set when not NULL; 0 for a process that is not visible here
/// @param uid set when not NULL
/// @param gid set when not NULL
/// @return 0, or -EINVAL
///
/// # Safety
/// `c` is NULL or open; the others are NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcc_auth_get(
    c: *mut qb_ipcc_connection_t,
    pid: *mut pid_t,
    uid: *mut uid_t,
    gid: *mut gid_t,
) -> i32 {
    // SAFETY: the caller's contract.
    let Some(client) = (unsafe { open(c) }) else {
        return -libc::EINVAL;
    };
    let server = client.server();
    // SAFETY: each is NULL or writable by the caller's contract.
    unsafe {
        if let Some(pid) = pid.as_mut() {
            *pid = server.pid;
        }
        if let Some(uid) = uid.as_mut() {
            *uid = server.uid;
        }
        if let Some(gid) = gid.as_mut() {
            *gid = server.gid;
        }
    }
    0
}

/// Up to which flow-control state of the server sends are refused with -EAGAIN.
///
/// @param c   connection
/// @param max 0: never refuse; 1 (the default): refuse in state 1 (QB_IPCS_RATE_OFF); 2: refuse in state 2 too
///            (QB_IPCS_RATE_OFF_2)
/// @return 0, or -EINVAL
///
/// # Safety
/// `c` is NULL or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcc_fc_enable_max_set(c: *mut qb_ipcc_connection_t, max: u32) -> i32 {
    // SAFETY: the caller's contract.
    match unsafe { open(c) } {
        Some(client) => status(client.set_flow_control_patience(max)),
        None => -libc::EINVAL,
    }
}

/// Queues one request for the server; does not wait for room in the queue.
///
/// The request is copied: the buffer may be used again at once. Requests of one
/// connection arrive in the order of their sending. That this returns says nothing
/// of the server's having seen the request; qb_ipcc_recv() waits for its response.
/// Where the server has stopped, it may take up to 600 ms to find out that it would
/// not notice another request (-EAGAIN).
///
/// @param c       connection
/// @param msg_ptr request, starting with a struct qb_ipc_request_header
/// @param msg_len whole length of the request in bytes, as in its header
/// @return bytes sent, or -EINVAL, -EMSGSIZE (more than qb_ipcc_get_buffer_size() says), -EAGAIN (the queue is full, or
///         the server has asked to wait: see qb_ipcc_fc_enable_max_set(); nothing was sent), -ENOTCONN
///
/// # Safety
/// `c` is NULL or open; `msg_ptr` is NULL or readable for `msg_len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcc_send(
    c: *mut qb_ipcc_connection_t,
    msg_ptr: *const c_void,
    msg_len: size_t,
) -> ssize_t {
    // SAFETY: the caller's contract.
    match unsafe { (open(c), message(msg_ptr, msg_len)) } {
        (Some(client), message) => count(message.and_then(|message| client.send(&[message]))),
        _ => BAD_ARG,
    }
}

/// Queues one request that is gathered from several buffers, as qb_ipcc_send().
///
/// @param c       connection
/// @param iov     buffers; the first begins with a struct qb_ipc_request_header
/// @param iov_len number of buffers, at most 1024
/// @return bytes sent, or -EINVAL, -EMSGSIZE (more than qb_ipcc_get_buffer_size() says), -EAGAIN (the queue is full, or
///         the server has asked to wait; nothing was sent), -ENOTCONN
///
/// # Safety
/// `c` is NULL or open; `iov` is NULL or an array of `iov_len` readable buffers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcc_sendv(
    c: *mut qb_ipcc_connection_t,
    iov: *const iovec,
    iov_len: size_t,
) -> ssize_t {
    // SAFETY: the caller's contract.
    match unsafe { open(c) } {
        // SAFETY: the caller's contract.
        Some(client) => unsafe { gather_and_send(iov, iov_len, |parts| client.send(parts)) },
        None => BAD_ARG,
    }
}

/// Waits for the next response and copies it.
///
/// @param c          connection
/// @param msg_ptr    buffer for the response
/// @param msg_len    size of the buffer in bytes
/// @param ms_timeout milliseconds to wait; negative waits for ever, 0 not at all
/// @return size of the response; -ETIMEDOUT when none came in time, -ENOBUFS when it does not fit (it stays
///         queued), -ENOTCONN when the server is gone, -EINVAL
///
/// # Safety
/// `c` is NULL or open; `msg_ptr` is NULL or writable for `msg_len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcc_recv(
    c: *mut qb_ipcc_connection_t,
    msg_ptr: *mut c_void,
    msg_len: size_t,
    ms_timeout: i32,
) -> ssize_t {
    // SAFETY: the caller's contract.
    match unsafe { (open(c), room(msg_ptr, msg_len)) } {
        (Some(client), Some(buffer)) => count(client.recv(buffer, ms_timeout)),
        _ => BAD_ARG,
    }
}

/// Sends a request and waits for a response: qb_ipcc_sendv() and qb_ipcc_recv() in one call.
///
/// When no response comes in time, it may come later, and is then the next one that
/// is received.
///
/// @param c          connection
/// @param iov        buffers of the request
/// @param iov_len    number of buffers, at most 1024
/// @param msg_ptr    buffer for the response
/// @param msg_len    size of the buffer in bytes
/// @param ms_timeout milliseconds to wait for the response; negative waits for ever
/// @return size of the response, or a negative errno of either call: -EAGAIN and -EMSGSIZE for the request as from
///         qb_ipcc_sendv(), -ETIMEDOUT and -ENOBUFS for the response as from qb_ipcc_recv(), -ENOTCONN, -EINVAL
///
/// # Safety
/// As for qb_ipcc_sendv() and qb_ipcc_recv().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcc_sendv_recv(
    c: *mut qb_ipcc_connection_t,
    iov: *const iovec,
    iov_len: u32,
    msg_ptr: *mut c_void,
    msg_len: size_t,
    ms_timeout: i32,
) -> ssize_t {
    // SAFETY: the caller's contract.
    let (Some(client), Some(buffer)) = (unsafe { (open(c), room(msg_ptr, msg_len)) }) else {
        return BAD_ARG;
    };
    let exchange = |parts: &[&[u8]]| {
        if all_empty(parts) {
            client.recv(buffer, ms_timeout)
        } else {
            client.send_recv(parts, buffer, ms_timeout)
        }
    };
    // SAFETY: the caller's contract.
    count(unsafe { gather(iov, iov_len as usize, exchange) })
}

/// Waits for the next event and copies it.
///
/// @param c          connection
/// @param msg_ptr    buffer for the event
/// @param msg_len    size of the buffer in bytes
/// @param ms_timeout milliseconds to wait; negative waits for ever, 0 not at all
/// @return size of the event; -EAGAIN when none came in time or a signal handler ran meanwhile, -ENOBUFS when it does
///         not fit (it stays queued), -ENOTCONN when the server is gone, -EINVAL
///
/// # Safety
/// `c` is NULL or open; `msg_ptr` is NULL or writable for `msg_len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcc_event_recv(
    c: *mut qb_ipcc_connection_t,
    msg_ptr: *mut c_void,
    msg_len: size_t,
    ms_timeout: i32,
) -> ssize_t {
    // SAFETY: the caller's contract.
    match unsafe { (open(c), room(msg_ptr, msg_len)) } {
        (Some(client), Some(buffer)) => count(client.recv_event(buffer, ms_timeout)),
        _ => BAD_ARG,
    }
}

/// Associates a pointer of the application's with a connection.
///
/// @param c       connection
/// @param context any pointer
///
/// # Safety
/// `c` is NULL or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcc_context_set(c: *mut qb_ipcc_connection_t, context: *mut c_void) {
    // SAFETY: the caller's contract.
    if let Some(c) = unsafe { borrow(c) } {
        c.context.store(context, Ordering::Release);
    }
}

/// The pointer that qb_ipcc_context_set() stored.
///
/// @param c connection
/// @return the pointer, NULL if none was set
///
/// # Safety
/// `c` is NULL or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcc_context_get(c: *mut qb_ipcc_connection_t) -> *mut c_void {
    // SAFETY: the caller's contract.
    unsafe { borrow(c) }.map_or(std::ptr::null_mut(), |c| c.context.load(Ordering::Acquire))
}

/// Whether the server still holds its end.
///
/// It may go at any time, so this is a hint only; sending and receiving tell.
///
/// @param c connection
/// @return QB_TRUE or QB_FALSE; QB_FALSE if @a c is NULL
///
/// # Safety
/// `c` is NULL or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcc_is_connected(c: *mut qb_ipcc_connection_t) -> i32 {
    // SAFETY: the caller's contract.
    unsafe { open(c) }.is_some_and(Client::is_connected).into()
}

/// The largest message in bytes that was agreed with the server.
///
/// @param c connection
/// @return bytes, or -EINVAL
///
/// # Safety
/// `c` is NULL or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcc_get_buffer_size(c: *mut qb_ipcc_connection_t) -> i32 {
    // SAFETY: the caller's contract.
    match unsafe { open(c) } {
        Some(client) => i32::try_from(client.max_msg_size()).unwrap_or(i32::MAX),
        None => -libc::EINVAL,
    }
}

/// Finds out how large a message the socket transport can carry on this system.
///
/// @param max_msg_size wanted size in bytes
/// @return the largest size not above it that a datagram really has, or -1
#[unsafe(no_mangle)]
pub extern "C" fn qb_ipcc_verify_dgram_max_msg_size(max_msg_size: size_t) -> i32 {
    probe_datagram_size(max_msg_size).ok().and_then(|n| i32::try_from(n).ok()).unwrap_or(-1)
}

// SPDX-License-Identifier: LGPL-2.1-or-later
//! `qb/qbipc_ext.h`: messages in place and in batches. The reference has no such header.

use crate::handle::{BAD_ARG, borrow, count, gather_leading};
use crate::ipcs_bridge::{arc, qb_ipcs_connection_t};
use crate::qbipcc::{open, qb_ipcc_connection_t};
use libc::{c_void, iovec, size_t, ssize_t};
use qb::ipc::{Client, Connection};
use qb::{Error, Result};
use std::ptr::NonNull;

/// Stores where the reserved bytes are and returns their number.
///
/// # Safety
/// `msg` is not NULL and writable.
unsafe fn reserved(place: Result<Option<NonNull<u8>>>, len: usize, msg: *mut *mut c_void) -> ssize_t {
    match place.and_then(|place| place.ok_or(Error::Invalid)) {
        Ok(place) => {
            // SAFETY: the caller's contract.
            unsafe { *msg = place.as_ptr().cast() };
            count(Ok(len))
        }
        Err(e) => count(Err(e)),
    }
}

/// Stores where the message is and returns its length.
///
/// # Safety
/// `msg` is not NULL and writable.
unsafe fn peeked(place: Result<Option<(NonNull<u8>, usize)>>, msg: *mut *const c_void) -> ssize_t {
    match place.and_then(|place| place.ok_or(Error::Invalid)) {
        Ok((place, len)) => {
            // SAFETY: the caller's contract.
            unsafe { *msg = place.as_ptr().cast_const().cast() };
            count(Ok(len))
        }
        Err(e) => count(Err(e)),
    }
}

/// Reserves room for a request, to be written in place. The next request is this one: until it is committed or
/// cancelled, other requests are refused with -EAGAIN.
///
/// @param c   connection
/// @param len most bytes that the request will have
/// @param msg set to the room, aligned to 8 bytes, with undefined contents. It may be written until
///            qb_ipcc_request_commit(), qb_ipcc_request_cancel() or qb_ipcc_disconnect()
/// @return len; -EAGAIN when the queue is full or the server asked to stop, -EMSGSIZE beyond the agreed size, -EBUSY when
///         a request is reserved already, -ENOTCONN, -EINVAL
///
/// # Safety
/// `c` is NULL or open; `msg` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcc_request_reserve(
    c: *mut qb_ipcc_connection_t,
    len: size_t,
    msg: *mut *mut c_void,
) -> ssize_t {
    // SAFETY: the caller's contract.
    let (Some(client), false) = (unsafe { open(c) }, msg.is_null()) else {
        return BAD_ARG;
    };
    let place = client.reserve(len).map(|room| room.detach());
    // SAFETY: not NULL, and writable by the caller's contract.
    unsafe { reserved(place, len, msg) }
}

/// Sends the request that qb_ipcc_request_reserve() made room for.
///
/// @param c   connection
/// @param len bytes that the request has, which begins with a struct qb_ipc_request_header; at most what was reserved
/// @return bytes sent; -EINVAL when nothing is reserved, or less than that; -EAGAIN when the socket is full after all.
///         After -EINVAL and -EAGAIN what was reserved still is. After other errors, as of qb_ipcc_send(), it is gone
///
/// # Safety
/// `c` is NULL or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcc_request_commit(c: *mut qb_ipcc_connection_t, len: size_t) -> ssize_t {
    // SAFETY: the caller's contract.
    unsafe { open(c) }.map_or(BAD_ARG, |client| count(client.commit_reserved(len)))
}

/// Gives back the room that qb_ipcc_request_reserve() made. Nothing happens when there is none.
///
/// @param c connection; NULL is fine
///
/// # Safety
/// `c` is NULL or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcc_request_cancel(c: *mut qb_ipcc_connection_t) {
    // SAFETY: the caller's contract.
    if let Some(client) = unsafe { open(c) } {
        client.cancel_reserved();
    }
}

/// Queues several requests and tells the server once. At most 1024 in one call.
///
/// @param c     connection
/// @param msgs  requests, each as for qb_ipcc_send()
/// @param count number of requests
/// @return number of requests that were queued, from the first one on: at least 1, fewer than count when there is no
///         room for more or the next one cannot be sent; otherwise the error of the first one as of qb_ipcc_send(), and
///         -EINVAL for a count of 0
///
/// # Safety
/// `c` is NULL or open; `msgs` is NULL or an array of `count` readable buffers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcc_send_many(
    c: *mut qb_ipcc_connection_t,
    msgs: *const iovec,
    count: size_t,
) -> ssize_t {
    // SAFETY: the caller's contract.
    let Some(client) = (unsafe { open(c) }) else { return BAD_ARG };
    // SAFETY: the caller's contract; no more is read than there is.
    crate::handle::count(unsafe { gather_leading(msgs, count, |messages| client.send_many(messages)) })
}

/// Waits for the next response and shows it in place. It is the next one until it is released: in the meantime other
/// calls that receive responses return -EAGAIN.
///
/// @param c          connection
/// @param msg        set to the response, aligned to 8 bytes, which may be read until qb_ipcc_response_release() or
///                   qb_ipcc_disconnect()
/// @param ms_timeout milliseconds to wait; negative waits for ever, 0 not at all
/// @return size of the response; -ETIMEDOUT when none came in time, -EBUSY when one is shown already, -ENOTCONN when the
///         server is gone, -EINVAL
///
/// # Safety
/// `c` is NULL or open; `msg` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcc_response_peek(
    c: *mut qb_ipcc_connection_t,
    msg: *mut *const c_void,
    ms_timeout: i32,
) -> ssize_t {
    // SAFETY: the caller's contract.
    let (Some(client), false) = (unsafe { open(c) }, msg.is_null()) else {
        return BAD_ARG;
    };
    let place = client.peek_response(ms_timeout).map(|response| response.detach());
    // SAFETY: not NULL, and writable by the caller's contract.
    unsafe { peeked(place, msg) }
}

/// Takes the response that qb_ipcc_response_peek() has shown. Nothing happens when there is none.
///
/// @param c connection; NULL is fine
///
/// # Safety
/// `c` is NULL or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcc_response_release(c: *mut qb_ipcc_connection_t) {
    // SAFETY: the caller's contract.
    if let Some(client) = unsafe { open(c) } {
        client.release_response();
    }
}

/// Waits for the next event and shows it in place. It is the next one until it is released: in the meantime other calls
/// that receive events return -EAGAIN, and the descriptor of qb_ipcc_fd_get() is readable.
///
/// @param c          connection
/// @param msg        set to the event, aligned to 8 bytes, which may be read until qb_ipcc_event_release() or
///                   qb_ipcc_disconnect()
/// @param ms_timeout milliseconds to wait; negative waits for ever, 0 not at all
/// @return size of the event; -EAGAIN when none came in time, -EBUSY when one is shown already, -ENOTCONN when the server
///         is gone, -EINVAL
///
/// # Safety
/// `c` is NULL or open; `msg` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcc_event_peek(
    c: *mut qb_ipcc_connection_t,
    msg: *mut *const c_void,
    ms_timeout: i32,
) -> ssize_t {
    // SAFETY: the caller's contract.
    let (Some(client), false) = (unsafe { open(c) }, msg.is_null()) else {
        return BAD_ARG;
    };
    let place = client.peek_event(ms_timeout).map(|event| event.detach());
    // SAFETY: not NULL, and writable by the caller's contract.
    unsafe { peeked(place, msg) }
}

/// Takes the event that qb_ipcc_event_peek() has shown. Nothing happens when there is none.
///
/// @param c connection; NULL is fine
///
/// # Safety
/// `c` is NULL or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcc_event_release(c: *mut qb_ipcc_connection_t) {
    // SAFETY: the caller's contract.
    if let Some(client) = unsafe { open(c) } {
        client.release_event();
    }
}

/// Whether messages travel in memory that both ends share and neither can shorten: the transport without copies.
///
/// @param c connection
/// @return QB_TRUE or QB_FALSE
///
/// # Safety
/// `c` is NULL or open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcc_is_sealed(c: *mut qb_ipcc_connection_t) -> i32 {
    // SAFETY: the caller's contract.
    unsafe { open(c) }.is_some_and(Client::is_sealed).into()
}

/// Reserves room for an event, to be written in place. The next event is this one: until it is committed or cancelled,
/// other events are refused with -EAGAIN.
///
/// @param c   connection
/// @param len most bytes that the event will have
/// @param msg set to the room, aligned to 8 bytes, with undefined contents (of this connection's earlier messages). It may
///            be written until qb_ipcs_event_commit() or qb_ipcs_event_cancel(), also when the client has left in the
///            meantime, and until connection_destroyed has returned
/// @return len; -EAGAIN when the queue is full, -EMSGSIZE beyond the agreed size, -EBUSY when an event is reserved already,
///         -ENOTCONN, -EINVAL
///
/// # Safety
/// `c` is NULL or alive; `msg` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcs_event_reserve(
    c: *mut qb_ipcs_connection_t,
    len: size_t,
    msg: *mut *mut c_void,
) -> ssize_t {
    // SAFETY: the caller's contract.
    let (Some(connection), false) = (unsafe { arc(c) }, msg.is_null()) else {
        return BAD_ARG;
    };
    let place = connection.reserve_event(len).map(|room| room.detach());
    // SAFETY: not NULL, and writable by the caller's contract.
    unsafe { reserved(place, len, msg) }
}

/// Sends the event that qb_ipcs_event_reserve() made room for.
///
/// @param c   connection
/// @param len bytes that the event has, which begins with a struct qb_ipc_response_header; at most what was reserved
/// @return bytes sent; -EINVAL when nothing is reserved, or less than that; -EAGAIN when the socket is full after all.
///         After -EINVAL and -EAGAIN what was reserved still is. After other errors, as of qb_ipcs_event_send(), it is
///         gone
///
/// # Safety
/// `c` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcs_event_commit(c: *mut qb_ipcs_connection_t, len: size_t) -> ssize_t {
    // SAFETY: the caller's contract.
    unsafe { arc(c) }.map_or(BAD_ARG, |connection| count(connection.commit_reserved_event(len)))
}

/// Gives back the room that qb_ipcs_event_reserve() made. Nothing happens when there is none.
///
/// @param c connection; NULL is fine
///
/// # Safety
/// `c` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcs_event_cancel(c: *mut qb_ipcs_connection_t) {
    // SAFETY: the caller's contract.
    if let Some(connection) = unsafe { borrow(c) } {
        connection.cancel_reserved_event();
    }
}

/// Sends several events and tells the client once. At most 1024 in one call.
///
/// @param c     connection
/// @param msgs  events, each as for qb_ipcs_event_send()
/// @param count number of events
/// @return number of events that were sent, from the first one on: at least 1, fewer than count when there is no room for
///         more or the next one cannot be sent; otherwise the error of the first one as of qb_ipcs_event_send(), and
///         -EINVAL for a count of 0
///
/// # Safety
/// `c` is NULL or alive; `msgs` is NULL or an array of `count` readable buffers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcs_event_send_many(
    c: *mut qb_ipcs_connection_t,
    msgs: *const iovec,
    count: size_t,
) -> ssize_t {
    // SAFETY: the caller's contract.
    let Some(connection) = (unsafe { arc(c) }) else { return BAD_ARG };
    // SAFETY: the caller's contract; no more is read than there is.
    crate::handle::count(unsafe { gather_leading(msgs, count, |messages| connection.send_events(messages)) })
}

/// Whether messages travel in memory that both ends share and neither can shorten: the transport without copies.
///
/// @param c connection
/// @return QB_TRUE or QB_FALSE; QB_FALSE as long as connection_created was not called
///
/// # Safety
/// `c` is NULL or alive.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qb_ipcs_connection_is_sealed(c: *mut qb_ipcs_connection_t) -> i32 {
    // SAFETY: the caller's contract.
    unsafe { borrow(c) }.is_some_and(Connection::is_sealed).into()
}

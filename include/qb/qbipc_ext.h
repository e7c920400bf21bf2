/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QB_IPC_EXT_H_DEFINED
#define QB_IPC_EXT_H_DEFINED

#include <sys/types.h> /* size_t, ssize_t */
#include <sys/uio.h>   /* struct iovec */

#include <qb/qbdefs.h> /* QB_TRUE, QB_FALSE */
#include <qb/qbipcc.h>
#include <qb/qbipcs.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * @file qbipc_ext.h
 * Messages in place and in batches: what this library offers beyond libqb.
 *
 * A request or an event can be written where its receiver will read it, a
 * response or an event can be looked at where its sender wrote it, and many
 * messages can be sent with one announcement. Programs that use this header need
 * this library; the other end of a connection may use any.
 *
 * Everything works on every connection. Without copies it does on those that
 * qb_ipcc_is_sealed() tells of, which is shared memory between two processes that
 * both use this library; what a server of another user sends is copied once, so
 * that it cannot change while it is looked at. Elsewhere the message is in private
 * memory in the meantime.
 *
 * @code
 * struct qb_ipc_request_header *request;
 * void *room;
 * const void *message;
 *
 * if (qb_ipcc_request_reserve(c, 4096, &room) >= 0) {
 *         request = room;
 *         request->id = 1;
 *         request->size = 100;
 *         ...
 *         if (qb_ipcc_request_commit(c, 100) < 0) {
 *                 qb_ipcc_request_cancel(c);
 *         }
 * }
 * if (qb_ipcc_response_peek(c, &message, 1000) >= 0) {
 *         ...
 *         qb_ipcc_response_release(c);
 * }
 * @endcode
 *
 * At most one message of each kind is open on a connection. In the meantime other
 * calls that send or receive the same kind return -EAGAIN, and a second reserve or
 * peek returns -EBUSY. In a forked child nothing of the parent's connection can be
 * opened or committed (-ENOTCONN), and giving it back changes nothing for the
 * parent.
 */

/**
 * Reserves room for a request, to be written in place. The next request is this
 * one: until it is committed or cancelled, other requests are refused with
 * -EAGAIN.
 *
 * @param c   connection
 * @param len most bytes that the request will have
 * @param msg set to the room, aligned to 8 bytes, with undefined contents. It
 *            may be written until qb_ipcc_request_commit(),
 *            qb_ipcc_request_cancel() or qb_ipcc_disconnect()
 * @return len; -EAGAIN when the queue is full or the server asked to stop,
 *         -EMSGSIZE beyond the agreed size, -EBUSY when a request is reserved
 *         already, -ENOTCONN, -EINVAL
 */
ssize_t qb_ipcc_request_reserve(qb_ipcc_connection_t *c, size_t len,
                                void **msg);

/**
 * Sends the request that qb_ipcc_request_reserve() made room for.
 *
 * @param c   connection
 * @param len bytes that the request has, which begins with a struct
 *            qb_ipc_request_header; at most what was reserved
 * @return bytes sent; -EINVAL when nothing is reserved, or less than that;
 *         -EAGAIN when the socket is full after all. After -EINVAL and -EAGAIN
 *         what was reserved still is. After other errors, as of qb_ipcc_send(),
 *         it is gone
 */
ssize_t qb_ipcc_request_commit(qb_ipcc_connection_t *c, size_t len);

/**
 * Gives back the room that qb_ipcc_request_reserve() made. Nothing happens when
 * there is none.
 *
 * @param c connection; NULL is fine
 */
void qb_ipcc_request_cancel(qb_ipcc_connection_t *c);

/**
 * Queues several requests and tells the server once. At most 1024 in one call.
 *
 * @param c     connection
 * @param msgs  requests, each as for qb_ipcc_send()
 * @param count number of requests
 * @return number of requests that were queued, from the first one on: at least
 *         1, fewer than count when there is no room for more or the next one
 *         cannot be sent; otherwise the error of the first one as of
 *         qb_ipcc_send(), and -EINVAL for a count of 0
 */
ssize_t qb_ipcc_send_many(qb_ipcc_connection_t *c, const struct iovec *msgs,
                          size_t count);

/**
 * Waits for the next response and shows it in place. It is the next one until
 * it is released: in the meantime other calls that receive responses return
 * -EAGAIN.
 *
 * @param c          connection
 * @param msg        set to the response, aligned to 8 bytes, which may be read
 *                   until qb_ipcc_response_release() or qb_ipcc_disconnect()
 * @param ms_timeout milliseconds to wait; negative waits for ever, 0 not at all
 * @return size of the response; -ETIMEDOUT when none came in time, -EBUSY when
 *         one is shown already, -ENOTCONN when the server is gone, -EINVAL
 */
ssize_t qb_ipcc_response_peek(qb_ipcc_connection_t *c, const void **msg,
                              int32_t ms_timeout);

/**
 * Takes the response that qb_ipcc_response_peek() has shown. Nothing happens
 * when there is none.
 *
 * @param c connection; NULL is fine
 */
void qb_ipcc_response_release(qb_ipcc_connection_t *c);

/**
 * Waits for the next event and shows it in place. It is the next one until it
 * is released: in the meantime other calls that receive events return -EAGAIN,
 * and the descriptor of qb_ipcc_fd_get() is readable.
 *
 * @param c          connection
 * @param msg        set to the event, aligned to 8 bytes, which may be read
 *                   until qb_ipcc_event_release() or qb_ipcc_disconnect()
 * @param ms_timeout milliseconds to wait; negative waits for ever, 0 not at all
 * @return size of the event; -EAGAIN when none came in time, -EBUSY when one is
 *         shown already, -ENOTCONN when the server is gone, -EINVAL
 */
ssize_t qb_ipcc_event_peek(qb_ipcc_connection_t *c, const void **msg,
                           int32_t ms_timeout);

/**
 * Takes the event that qb_ipcc_event_peek() has shown. Nothing happens when
 * there is none.
 *
 * @param c connection; NULL is fine
 */
void qb_ipcc_event_release(qb_ipcc_connection_t *c);

/**
 * Whether messages travel in memory that both ends share and neither can
 * shorten: the transport without copies.
 *
 * @param c connection
 * @return QB_TRUE or QB_FALSE
 */
int32_t qb_ipcc_is_sealed(qb_ipcc_connection_t *c);

/**
 * Reserves room for an event, to be written in place. The next event is this
 * one: until it is committed or cancelled, other events are refused with
 * -EAGAIN.
 *
 * @param c   connection
 * @param len most bytes that the event will have
 * @param msg set to the room, aligned to 8 bytes, with undefined contents (of
 *            this connection's earlier messages). It may be written until
 *            qb_ipcs_event_commit() or qb_ipcs_event_cancel(), also when the
 *            client has left in the meantime, and until connection_destroyed
 *            has returned
 * @return len; -EAGAIN when the queue is full, -EMSGSIZE beyond the agreed
 *         size, -EBUSY when an event is reserved already, -ENOTCONN, -EINVAL
 */
ssize_t qb_ipcs_event_reserve(qb_ipcs_connection_t *c, size_t len, void **msg);

/**
 * Sends the event that qb_ipcs_event_reserve() made room for.
 *
 * @param c   connection
 * @param len bytes that the event has, which begins with a struct
 *            qb_ipc_response_header; at most what was reserved
 * @return bytes sent; -EINVAL when nothing is reserved, or less than that;
 *         -EAGAIN when the socket is full after all. After -EINVAL and -EAGAIN
 *         what was reserved still is. After other errors, as of
 *         qb_ipcs_event_send(), it is gone
 */
ssize_t qb_ipcs_event_commit(qb_ipcs_connection_t *c, size_t len);

/**
 * Gives back the room that qb_ipcs_event_reserve() made. Nothing happens when
 * there is none.
 *
 * @param c connection; NULL is fine
 */
void qb_ipcs_event_cancel(qb_ipcs_connection_t *c);

/**
 * Sends several events and tells the client once. At most 1024 in one call.
 *
 * @param c     connection
 * @param msgs  events, each as for qb_ipcs_event_send()
 * @param count number of events
 * @return number of events that were sent, from the first one on: at least 1,
 *         fewer than count when there is no room for more or the next one
 *         cannot be sent; otherwise the error of the first one as of
 *         qb_ipcs_event_send(), and -EINVAL for a count of 0
 */
ssize_t qb_ipcs_event_send_many(qb_ipcs_connection_t *c,
                                const struct iovec *msgs, size_t count);

/**
 * Whether messages travel in memory that both ends share and neither can
 * shorten: the transport without copies.
 *
 * @param c connection
 * @return QB_TRUE or QB_FALSE; QB_FALSE as long as connection_created was not
 *         called
 */
int32_t qb_ipcs_connection_is_sealed(qb_ipcs_connection_t *c);

#ifdef __cplusplus
}
#endif

#endif /* QB_IPC_EXT_H_DEFINED */

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QB_IPCC_H_DEFINED
#define QB_IPCC_H_DEFINED

#include <sys/types.h> /* pid_t, uid_t, gid_t, size_t, ssize_t */
#include <sys/uio.h>   /* struct iovec */

#include <qb/qbipc_common.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * @file qbipcc.h
 * Clients: connections to a service of the same host (see qbipcs.h).
 *
 * A connection has three channels: requests to the service, responses to them,
 * and events that the service sends by itself.
 *
 * @code
 * struct qb_ipc_request_header request = { 1, sizeof(request) };
 * struct iovec iov = { &request, sizeof(request) };
 * char response[8192];
 *
 * qb_ipcc_connection_t *c = qb_ipcc_connect("my-service", sizeof(response));
 * if (c == NULL) {
 *         perror("connect");
 *         return;
 * }
 * if (qb_ipcc_sendv_recv(c, &iov, 1, response, sizeof(response), 1000) < 0) {
 *         ...
 * }
 * qb_ipcc_disconnect(c);
 * @endcode
 *
 * A program with an event loop waits on the descriptor of qb_ipcc_fd_get() and
 * calls qb_ipcc_event_recv() when it is readable.
 *
 * @note Any number of threads may send and receive on one connection, but a
 * response does not say which request it belongs to: threads that wait for
 * answers on the same connection take turns with a lock.
 *
 * @note No call raises SIGPIPE. -EAGAIN, -EBUSY, -ETIMEDOUT, -EMSGSIZE, -ENOBUFS
 * and -EINVAL leave a connection usable (except for the first
 * qb_ipcc_connect_continue(), which frees it); after any other error, disconnect and connect again.
 */

/** A connection to a service; made by qb_ipcc_connect() or its async form. */
typedef struct qb_ipcc_connection qb_ipcc_connection_t;

/**
 * Connects to a service and waits until it has let us in (30 s at most; the
 * environment variable LIBQB_CONNECT_TIMEOUT_MS changes that).
 *
 * @param name         name of the service
 * @param max_msg_size largest message in bytes that this client wants to send
 *                     or receive; at least 12328 is agreed
 * @return connection, to be closed with qb_ipcc_disconnect(); NULL with errno
 *         set otherwise: ECONNREFUSED when nobody listens, ETIMEDOUT when the
 *         service does not answer, EINVAL for a name of more than 235 bytes
 *         (names of files are made from it, which have 255), or the error with
 *         which the service refused
 */
qb_ipcc_connection_t *qb_ipcc_connect(const char *name, size_t max_msg_size);

/**
 * Begins to connect to a service without waiting for its answer.
 *
 * @param name         name of the service
 * @param max_msg_size as for qb_ipcc_connect()
 * @param connect_fd   set to the descriptor to poll for POLLIN; then call
 *                     qb_ipcc_connect_continue()
 * @return unfinished connection, or NULL with errno set
 */
qb_ipcc_connection_t *qb_ipcc_connect_async(const char *name,
                                            size_t max_msg_size,
                                            int *connect_fd);

/**
 * Finishes what qb_ipcc_connect_async() began. To be called only once the
 * descriptor that it gave is readable.
 *
 * A connection that shall not be finished is given to qb_ipcc_disconnect()
 * instead.
 *
 * @param c connection from qb_ipcc_connect_async(); freed by a negative result
 *          of the first call, -EAGAIN too
 * @return 0; -EAGAIN when it is called before the service has answered, or the
 *         negative errno as for qb_ipcc_connect(). A second call, after 0, is
 *         -EINVAL and changes nothing
 */
int qb_ipcc_connect_continue(qb_ipcc_connection_t *c);

/**
 * Closes a connection and frees it, with whatever was not received.
 *
 * The server's connection_closed callback follows. In a child that inherited
 * the connection from its parent this frees memory only; the parent's
 * connection stays.
 *
 * @param c connection, finished or not; NULL is fine
 */
void qb_ipcc_disconnect(qb_ipcc_connection_t *c);

/**
 * The descriptor that is readable (POLLIN) as long as an event is queued, for
 * the application's own poll loop.
 *
 * @param c  connection
 * @param fd set to the descriptor, which stays the connection's
 * @return 0, or -EINVAL
 */
int32_t qb_ipcc_fd_get(qb_ipcc_connection_t *c, int32_t *fd);

/**
 * The server's process, user and group, as the kernel attached them to its
 * answer.
 *
 * @param c   connection
 * @param pid set when not NULL; 0 for a process that is not visible here
 * @param uid set when not NULL
 * @param gid set when not NULL
 * @return 0, or -EINVAL
 */
int32_t qb_ipcc_auth_get(qb_ipcc_connection_t *c, pid_t *pid, uid_t *uid,
                         gid_t *gid);

/**
 * Up to which flow-control state of the server sends are refused with -EAGAIN.
 *
 * @param c   connection
 * @param max 0: never refuse; 1 (the default): refuse in state 1
 *            (QB_IPCS_RATE_OFF); 2: refuse in state 2 too (QB_IPCS_RATE_OFF_2)
 * @return 0, or -EINVAL
 */
int32_t qb_ipcc_fc_enable_max_set(qb_ipcc_connection_t *c, uint32_t max);

/**
 * Queues one request for the server; does not wait for room in the queue.
 *
 * The request is copied: the buffer may be used again at once. Requests of one
 * connection arrive in the order of their sending. That this returns says
 * nothing of the server's having seen the request; qb_ipcc_recv() waits for its
 * response. Where the server has stopped, it may take up to 600 ms to find out
 * that it would not notice another request (-EAGAIN).
 *
 * @param c       connection
 * @param msg_ptr request, starting with a struct qb_ipc_request_header
 * @param msg_len whole length of the request in bytes, as in its header
 * @return bytes sent, or -EINVAL, -EMSGSIZE (more than
 *         qb_ipcc_get_buffer_size() says), -EAGAIN (the queue is full, or the
 *         server has asked to wait: see qb_ipcc_fc_enable_max_set(); nothing
 *         was sent), -ENOTCONN
 */
ssize_t qb_ipcc_send(qb_ipcc_connection_t *c, const void *msg_ptr,
                     size_t msg_len);

/**
 * Queues one request that is gathered from several buffers, as qb_ipcc_send().
 *
 * @param c       connection
 * @param iov     buffers; the first begins with a struct qb_ipc_request_header
 * @param iov_len number of buffers, at most 1024
 * @return bytes sent, or -EINVAL, -EMSGSIZE (more than
 *         qb_ipcc_get_buffer_size() says), -EAGAIN (the queue is full, or the
 *         server has asked to wait; nothing was sent), -ENOTCONN
 */
ssize_t qb_ipcc_sendv(qb_ipcc_connection_t *c, const struct iovec *iov,
                      size_t iov_len);

/**
 * Waits for the next response and copies it.
 *
 * @param c          connection
 * @param msg_ptr    buffer for the response
 * @param msg_len    size of the buffer in bytes
 * @param ms_timeout milliseconds to wait; negative waits for ever, 0 not at all
 * @return size of the response; -ETIMEDOUT when none came in time, -ENOBUFS
 *         when it does not fit (it stays queued), -ENOTCONN when the server is
 *         gone, -EINVAL
 */
ssize_t qb_ipcc_recv(qb_ipcc_connection_t *c, void *msg_ptr, size_t msg_len,
                     int32_t ms_timeout);

/**
 * Sends a request and waits for a response: qb_ipcc_sendv() and qb_ipcc_recv()
 * in one call.
 *
 * When no response comes in time, it may come later, and is then the next one
 * that is received.
 *
 * @param c          connection
 * @param iov        buffers of the request
 * @param iov_len    number of buffers, at most 1024
 * @param msg_ptr    buffer for the response
 * @param msg_len    size of the buffer in bytes
 * @param ms_timeout milliseconds to wait for the response; negative waits for
 *                   ever
 * @return size of the response, or a negative errno of either call: -EAGAIN and
 *         -EMSGSIZE for the request as from qb_ipcc_sendv(), -ETIMEDOUT and
 *         -ENOBUFS for the response as from qb_ipcc_recv(), -ENOTCONN, -EINVAL
 */
ssize_t qb_ipcc_sendv_recv(qb_ipcc_connection_t *c, const struct iovec *iov,
                           uint32_t iov_len, void *msg_ptr, size_t msg_len,
                           int32_t ms_timeout);

/**
 * Waits for the next event and copies it.
 *
 * @param c          connection
 * @param msg_ptr    buffer for the event
 * @param msg_len    size of the buffer in bytes
 * @param ms_timeout milliseconds to wait; negative waits for ever, 0 not at all
 * @return size of the event; -EAGAIN when none came in time or a signal handler
 *         ran meanwhile, -ENOBUFS when it does not fit (it stays queued),
 *         -ENOTCONN when the server is gone, -EINVAL
 */
ssize_t qb_ipcc_event_recv(qb_ipcc_connection_t *c, void *msg_ptr,
                           size_t msg_len, int32_t ms_timeout);

/**
 * Associates a pointer of the application's with a connection.
 *
 * @param c       connection
 * @param context any pointer
 */
void qb_ipcc_context_set(qb_ipcc_connection_t *c, void *context);

/**
 * The pointer that qb_ipcc_context_set() stored.
 *
 * @param c connection
 * @return the pointer, NULL if none was set
 */
void *qb_ipcc_context_get(qb_ipcc_connection_t *c);

/**
 * Whether the server still holds its end.
 *
 * It may go at any time, so this is a hint only; sending and receiving tell.
 *
 * @param c connection
 * @return QB_TRUE or QB_FALSE; QB_FALSE if @a c is NULL
 */
int32_t qb_ipcc_is_connected(qb_ipcc_connection_t *c);

/**
 * The largest message in bytes that was agreed with the server.
 *
 * @param c connection
 * @return bytes, or -EINVAL
 */
int32_t qb_ipcc_get_buffer_size(qb_ipcc_connection_t *c);

/**
 * Finds out how large a message the socket transport can carry on this system.
 *
 * @param max_msg_size wanted size in bytes
 * @return the largest size not above it that a datagram really has, or -1
 */
int32_t qb_ipcc_verify_dgram_max_msg_size(size_t max_msg_size);

#ifdef __cplusplus
}
#endif

#endif /* QB_IPCC_H_DEFINED */

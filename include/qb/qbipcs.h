/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QB_IPCS_H_DEFINED
#define QB_IPCS_H_DEFINED

#include <sys/types.h> /* uid_t, gid_t, mode_t, size_t, ssize_t */
#include <sys/uio.h>   /* struct iovec */

#include <qb/qbipc_common.h> /* enum qb_ipc_type, message headers */
#include <qb/qbloop.h>	     /* enum qb_loop_priority */

#ifdef __cplusplus
extern "C" {
#endif

/**
 * @file qbipcs.h
 * Services: they answer the requests of clients on the same host (qbipcc.h).
 *
 * A service is driven by the event loop of the program, whichever that is. The
 * usual order of calls:
 *
 * - qb_ipcs_create() with the callbacks of struct qb_ipcs_service_handlers
 * - qb_ipcs_poll_handlers_set() with the functions of the event loop
 * - qb_ipcs_run(): from now on clients can connect
 * - the event loop runs and the library calls the callbacks from inside it
 * - qb_ipcs_destroy(): clients are disconnected and the name is free again
 *
 * A connection exists from its connection_accept callback on and is valid until
 * its connection_destroyed callback returns. Whoever keeps a pointer to it for
 * longer than a callback lasts calls qb_ipcs_connection_ref().
 *
 * @note All functions may be called from inside any callback, and from any thread
 * for which the service or connection stays valid meanwhile. What they need of
 * the event loop (struct qb_ipcs_poll_handlers) they call in that thread.
 *
 * @note connection_accept, connection_created and msg_process run in the thread of
 * the event loop, as connection_closed and connection_destroyed do when a client
 * leaves. Otherwise connection_closed runs in the thread that calls
 * qb_ipcs_disconnect() or qb_ipcs_destroy(), and connection_destroyed in that which
 * drops the last reference; once connection_closed has returned non-zero, both come
 * in the loop's thread again. If it is another thread that disconnects,
 * msg_process may be running for the same connection at the same time; a reference
 * that is held in the meantime delays connection_destroyed.
 */

/**
 * How eagerly requests are fetched, see qb_ipcs_request_rate_limit().
 *
 * The first three become priorities of the event loop.
 */
enum qb_ipcs_rate_limit {
	QB_IPCS_RATE_FAST = 0,   /**< QB_LOOP_HIGH */
	QB_IPCS_RATE_NORMAL = 1, /**< QB_LOOP_MED */
	QB_IPCS_RATE_SLOW = 2,   /**< QB_LOOP_LOW */
	QB_IPCS_RATE_OFF = 3,    /**< fetch nothing; clients get -EAGAIN */
	QB_IPCS_RATE_OFF_2 = 4   /**< the same; -EAGAIN for some clients only */
};

/** One client of a service. */
struct qb_ipcs_connection;
typedef struct qb_ipcs_connection qb_ipcs_connection_t;

/** A service. */
struct qb_ipcs_service;
typedef struct qb_ipcs_service qb_ipcs_service_t;

/** Numbers of a service, see qb_ipcs_stats_get(). */
struct qb_ipcs_stats {
	uint32_t active_connections; /**< now */
	uint32_t closed_connections; /**< since the service was created */
};

/** Numbers of a connection, see qb_ipcs_connection_stats_get(). */
struct qb_ipcs_connection_stats {
	int32_t client_pid;	     /**< process that connected */
	uint64_t requests;	     /**< received from the client */
	uint64_t responses;	     /**< sent */
	uint64_t events;	     /**< sent */
	uint64_t send_retries;	     /**< sends refused with -EAGAIN */
	uint64_t recv_retries;	     /**< receives without a message */
	int32_t flow_control_state;  /**< not 0: the client is held back */
	uint64_t flow_control_count; /**< changes of that state */
};

/** The same and the length of the event queue. */
struct qb_ipcs_connection_stats_2 {
	int32_t client_pid;	     /**< process that connected */
	uint64_t requests;	     /**< received from the client */
	uint64_t responses;	     /**< sent */
	uint64_t events;	     /**< sent */
	uint64_t send_retries;	     /**< sends refused with -EAGAIN */
	uint64_t recv_retries;	     /**< receives without a message */
	int32_t flow_control_state;  /**< not 0: the client is held back */
	uint64_t flow_control_count; /**< changes of that state */
	uint32_t event_q_length;     /**< events the client has not fetched */
};

/* ---- The event loop, as the service sees it ---- */

/**
 * Called by the event loop when a descriptor is ready.
 *
 * @param fd      the descriptor
 * @param revents what it is ready for, as poll() reports it
 * @param data    the pointer given to dispatch_add
 * @return 0; negative: the event loop shall forget the descriptor
 */
typedef int32_t (*qb_ipcs_dispatch_fn_t)(int32_t fd, int32_t revents,
					 void *data);

/**
 * Adds a descriptor to the event loop: qb_loop_poll_add() or the like.
 *
 * @param p      how urgent it is, if the event loop knows priorities
 * @param fd     the descriptor
 * @param events what to wait for, as in poll()
 * @param data   pointer for @a fn
 * @param fn     function to call when @a fd is ready
 * @return 0 or a negative errno
 */
typedef int32_t (*qb_ipcs_dispatch_add_fn)(enum qb_loop_priority p, int32_t fd,
					   int32_t events, void *data,
					   qb_ipcs_dispatch_fn_t fn);

/** Changes what was given to qb_ipcs_dispatch_add_fn for the same @a fd. */
typedef int32_t (*qb_ipcs_dispatch_mod_fn)(enum qb_loop_priority p, int32_t fd,
					   int32_t events, void *data,
					   qb_ipcs_dispatch_fn_t fn);

/** Takes a descriptor out of the event loop. @return 0 or a negative errno */
typedef int32_t (*qb_ipcs_dispatch_del_fn)(int32_t fd);

/**
 * Lets the event loop call a function once, soon: qb_loop_job_add() or the like.
 *
 * @param p           how urgent it is, if the event loop knows priorities
 * @param data        pointer for @a dispatch_fn
 * @param dispatch_fn function to call
 * @return 0 or a negative errno
 */
typedef int32_t (*qb_ipcs_job_add_fn)(enum qb_loop_priority p, void *data,
				      qb_loop_job_dispatch_fn dispatch_fn);

/**
 * The functions of an event loop that a service needs.
 *
 * Those of qbloop.h only have to be wrapped, to say which loop; any other event
 * loop (GLib's, plain poll()) does as well, and may ignore the priorities.
 */
struct qb_ipcs_poll_handlers {
	qb_ipcs_job_add_fn job_add; /**< may be NULL */
	qb_ipcs_dispatch_add_fn dispatch_add;
	qb_ipcs_dispatch_mod_fn dispatch_mod;
	qb_ipcs_dispatch_del_fn dispatch_del;
};

/* ---- Callbacks of a service ---- */

/**
 * Asks whether a client may connect.
 *
 * qb_ipcs_connection_auth_set() and qb_ipcs_context_set() may be called in it.
 * After an accepted client vanishes early, only connection_destroyed follows.
 *
 * @param c   the new connection
 * @param uid effective user id of the client, told by the kernel
 * @param gid effective group id of the client, told by the kernel
 * @return 0, or a negative errno that the client gets as its error
 */
typedef int32_t (*qb_ipcs_connection_accept_fn)(qb_ipcs_connection_t *c,
						uid_t uid, gid_t gid);

/**
 * Tells that an accepted client is now connected.
 *
 * @param c the connection; events may be sent from now on
 */
typedef void (*qb_ipcs_connection_created_fn)(qb_ipcs_connection_t *c);

/**
 * Tells that a connection that had been created is closed, by whichever side.
 *
 * @param c the connection; nothing can be sent any more
 * @return 0; anything else: call again later, from a job of the event loop (only
 *         if there is a job_add)
 */
typedef int32_t (*qb_ipcs_connection_closed_fn)(qb_ipcs_connection_t *c);

/**
 * Tells that a connection is about to be freed: its last reference is gone.
 *
 * @param c the connection; not valid any more when this function returns
 */
typedef void (*qb_ipcs_connection_destroyed_fn)(qb_ipcs_connection_t *c);

/**
 * Delivers a request.
 *
 * @param c    the connection that it came from
 * @param data the message, which begins with a struct qb_ipc_request_header;
 *             valid until this function returns
 * @param size length of the message in bytes
 * @return 0; a negative value means "busy": further requests of this connection
 *         are fetched in a later turn of the event loop
 */
typedef int32_t (*qb_ipcs_msg_process_fn)(qb_ipcs_connection_t *c, void *data,
					  size_t size);

/** The callbacks of a service; the structure is copied by qb_ipcs_create(). */
struct qb_ipcs_service_handlers {
	qb_ipcs_connection_accept_fn connection_accept;
	qb_ipcs_connection_created_fn connection_created;
	qb_ipcs_msg_process_fn msg_process;
	qb_ipcs_connection_closed_fn connection_closed;
	qb_ipcs_connection_destroyed_fn connection_destroyed;
};

/**
 * Makes a service, which does not listen before qb_ipcs_run().
 *
 * @param name       name that clients connect to: no '/', at most 235 bytes
 *                   (qb_ipcc_connect() takes no more), of which an abstract
 *                   address carries 106
 * @param service_id a number of the application's, see qb_ipcs_service_id_get()
 * @param type       transport; the message-queue types are not available here,
 *                   qb_ipcs_run() says so
 * @param handlers   functions of the application, copied; msg_process and
 *                   connection_accept are needed
 * @return service with one reference, given up by qb_ipcs_destroy(); NULL with
 *         errno set otherwise
 */
qb_ipcs_service_t *qb_ipcs_create(const char *name, int32_t service_id,
                                  enum qb_ipc_type type,
                                  struct qb_ipcs_service_handlers *handlers);

/**
 * Takes a reference to a service.
 *
 * @param s service
 */
void qb_ipcs_ref(qb_ipcs_service_t *s);

/**
 * Drops a reference to a service; the last one frees it.
 *
 * @param s service
 */
void qb_ipcs_unref(qb_ipcs_service_t *s);

/**
 * Sets the poll loop that the service shall use; to be called before
 * qb_ipcs_run().
 *
 * @param s        service
 * @param handlers functions of the poll loop, copied. job_add may be NULL: a
 *                 connection_closed that returns non-zero is then not called
 *                 again
 */
void qb_ipcs_poll_handlers_set(qb_ipcs_service_t *s,
                               struct qb_ipcs_poll_handlers *handlers);

/**
 * Associates a pointer of the application's with a service.
 *
 * @param s       service
 * @param context any pointer
 */
void qb_ipcs_service_context_set(qb_ipcs_service_t *s, void *context);

/**
 * The pointer that qb_ipcs_service_context_set() stored.
 *
 * @param s service
 * @return the pointer, NULL if none was set
 */
void *qb_ipcs_service_context_get(qb_ipcs_service_t *s);

/**
 * Starts to listen.
 *
 * @param s service; a failure drops its first reference, as qb_ipcs_destroy()
 *          does, and so frees it unless there are more
 * @return 0; -EINVAL without poll functions, -ENOTSUP for a transport that is
 *         not available, -EADDRINUSE when the name is taken, or what else
 *         binding gave
 */
int32_t qb_ipcs_run(qb_ipcs_service_t *s);

/**
 * Disconnects every client, stops listening and drops the service's first
 * reference.
 *
 * @param s service; NULL is fine
 */
void qb_ipcs_destroy(qb_ipcs_service_t *s);

/**
 * Sets how eagerly requests are taken from clients, and whether clients are
 * told to stop sending.
 *
 * @param s  service
 * @param rl FAST: up to 50 requests of a client in a row, high priority; NORMAL
 *           (the default): up to 5, medium; SLOW: one, low; OFF, OFF_2: none,
 *           what is queued stays queued. With OFF clients get -EAGAIN from
 *           their sends, with OFF_2 those that allow it by
 *           qb_ipcc_fc_enable_max_set(); others may send until the queue is
 *           full
 */
void qb_ipcs_request_rate_limit(qb_ipcs_service_t *s,
                                enum qb_ipcs_rate_limit rl);

/**
 * Sends a response to a client.
 *
 * @param c    connection
 * @param data response, starting with a struct qb_ipc_response_header
 * @param size whole length of the response in bytes
 * @return bytes sent, or -EINVAL, -EMSGSIZE (longer than a message can be, or
 *         than the socket carries), -EAGAIN (no room now; in shared memory also
 *         when it is longer than the queue), -ENOTCONN; -ECONNREFUSED when the
 *         client has left and that was not handled yet
 */
ssize_t qb_ipcs_response_send(qb_ipcs_connection_t *c, const void *data,
                              size_t size);

/**
 * Sends a response that is gathered from several buffers, as
 * qb_ipcs_response_send().
 *
 * @param c       connection
 * @param iov     buffers
 * @param iov_len number of buffers, at most 1024
 * @return bytes sent, or a negative errno as for qb_ipcs_response_send()
 */
ssize_t qb_ipcs_response_sendv(qb_ipcs_connection_t *c, const struct iovec *iov,
                               size_t iov_len);

/**
 * Sends an event to a client. Any thread may.
 *
 * @param c    connection
 * @param data event, starting with a struct qb_ipc_response_header
 * @param size whole length of the event in bytes
 * @return bytes sent, or -EINVAL, -EMSGSIZE, -EAGAIN (no room now), -ENOTCONN;
 *         -EPIPE or -ECONNREFUSED when the client has left and that was not
 *         handled yet
 */
ssize_t qb_ipcs_event_send(qb_ipcs_connection_t *c, const void *data,
                           size_t size);

/**
 * Sends an event that is gathered from several buffers, as
 * qb_ipcs_event_send().
 *
 * @param c       connection
 * @param iov     buffers
 * @param iov_len number of buffers, at most 1024
 * @return bytes sent, or a negative errno as for qb_ipcs_event_send()
 */
ssize_t qb_ipcs_event_sendv(qb_ipcs_connection_t *c, const struct iovec *iov,
                            size_t iov_len);

/**
 * Takes a reference to a connection: connection_destroyed waits until it is
 * dropped.
 *
 * @param c connection; NULL is fine
 */
void qb_ipcs_connection_ref(qb_ipcs_connection_t *c);

/**
 * Drops a reference to a connection; with the last one connection_destroyed is
 * called and the connection freed.
 *
 * @param c connection; NULL is fine
 */
void qb_ipcs_connection_unref(qb_ipcs_connection_t *c);

/**
 * Ends a connection; from any callback too. connection_closed is called before
 * this returns. From connection_created it is not called at all, and
 * connection_destroyed follows once that has returned.
 *
 * @param c connection; NULL is fine
 */
void qb_ipcs_disconnect(qb_ipcs_connection_t *c);

/**
 * The service_id given to qb_ipcs_create().
 *
 * @param c connection
 * @return the number, or -EINVAL
 */
int32_t qb_ipcs_service_id_get(qb_ipcs_connection_t *c);

/**
 * Associates a pointer of the application's with a connection.
 *
 * @param c       connection
 * @param context any pointer
 */
void qb_ipcs_context_set(qb_ipcs_connection_t *c, void *context);

/**
 * The pointer that qb_ipcs_context_set() stored.
 *
 * @param c connection
 * @return the pointer, NULL if none was set
 */
void *qb_ipcs_context_get(qb_ipcs_connection_t *c);

/**
 * The pointer that qb_ipcs_service_context_set() stored with the connection's
 * service.
 *
 * @param c connection
 * @return the pointer, NULL if none was set
 */
void *qb_ipcs_connection_service_context_get(qb_ipcs_connection_t *c);

/**
 * Counters of a connection.
 *
 * @param c                connection
 * @param stats            filled in
 * @param clear_after_read non-zero resets the counters; client_pid stays
 * @return 0, or -EINVAL
 */
int32_t qb_ipcs_connection_stats_get(qb_ipcs_connection_t *c,
                                     struct qb_ipcs_connection_stats *stats,
                                     int32_t clear_after_read);

/**
 * Counters of a connection, with the length of its event queue.
 *
 * @param c                connection
 * @param clear_after_read non-zero resets the counters; client_pid stays
 * @return counters for the caller to free(); NULL with errno set otherwise
 */
struct qb_ipcs_connection_stats_2 *qb_ipcs_connection_stats_get_2(qb_ipcs_connection_t *c,
                                                                  int32_t clear_after_read);

/**
 * Counters of a service.
 *
 * @param pt               service
 * @param stats            filled in
 * @param clear_after_read non-zero resets the counters
 * @return 0, or -EINVAL
 */
int32_t qb_ipcs_stats_get(qb_ipcs_service_t *pt, struct qb_ipcs_stats *stats,
                          int32_t clear_after_read);

/**
 * The connection that was made last.
 *
 * @param pt service
 * @return connection with a reference for the caller to drop with
 *         qb_ipcs_connection_unref(); NULL when there is none
 */
qb_ipcs_connection_t *qb_ipcs_connection_first_get(qb_ipcs_service_t *pt);

/**
 * The connection that was made before another.
 *
 * @param pt      service
 * @param current connection of that service; its reference stays the caller's
 * @return connection with a reference for the caller to drop with
 *         qb_ipcs_connection_unref(); NULL when there is none
 */
qb_ipcs_connection_t *qb_ipcs_connection_next_get(qb_ipcs_service_t *pt,
                                                  qb_ipcs_connection_t *current);

/**
 * Sets owner and mode of the shared-memory files that the client gets to open.
 * Takes effect within connection_accept only; without it the client's own user
 * and group and mode 0600 are used.
 *
 * @param conn connection
 * @param uid  owner; (uid_t) -1 keeps the server's
 * @param gid  group; (gid_t) -1 keeps the server's
 * @param mode permission bits
 */
void qb_ipcs_connection_auth_set(qb_ipcs_connection_t *conn, uid_t uid,
                                 gid_t gid, mode_t mode);

/**
 * The largest message in bytes that was agreed with a client.
 *
 * @param connection connection
 * @return bytes, or -EINVAL
 */
int32_t qb_ipcs_connection_get_buffer_size(qb_ipcs_connection_t *connection);

/**
 * Sets a lower bound for the message size of every client to come.
 *
 * @param s             service
 * @param max_buf_size bytes
 */
void qb_ipcs_enforce_buffer_size(qb_ipcs_service_t *s, uint32_t max_buf_size);

#ifdef __cplusplus
}
#endif

#endif /* QB_IPCS_H_DEFINED */

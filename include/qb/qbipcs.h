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
 * longer than a callback lasts calls qb_ipcs_connection_ref(). All functions may
 * be called from inside any callback.
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
	QB_IPCS_RATE_OFF_2 = 4   /**< the same for clients that tolerate OFF */
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



#ifdef __cplusplus
}
#endif

#endif /* QB_IPCS_H_DEFINED */

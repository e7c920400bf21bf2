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
 */

/** A connection to a service; made by qb_ipcc_connect() or its async form. */
typedef struct qb_ipcc_connection qb_ipcc_connection_t;



#ifdef __cplusplus
}
#endif

#endif /* QB_IPCC_H_DEFINED */

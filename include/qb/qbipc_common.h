/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QB_IPC_COMMON_H_DEFINED
#define QB_IPC_COMMON_H_DEFINED

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * @file qbipc_common.h
 * What clients (qbipcc.h) and services (qbipcs.h) have in common.
 *
 * A message is one block of bytes that begins with one of the two headers. The
 * block travels as it is between processes of one host, so that numbers keep the
 * host's byte order and the layout of C structures; each header field has eight
 * bytes of its own, so that 32-bit and 64-bit programs agree.
 */

/** Begins each request of a client: 16 bytes. */
struct qb_ipc_request_header {
	/** Kind of request, chosen by the application: 0 or more. */
	int32_t id __attribute__((aligned(8)));
	/** Length of the whole message in bytes, this header included. */
	int32_t size __attribute__((aligned(8)));
} __attribute__((aligned(8)));

/** Begins each response and each event of a service: 24 bytes. */
struct qb_ipc_response_header {
	/** Kind of message, chosen by the application: 0 or more. */
	int32_t id __attribute__((aligned(8)));
	/** Length of the whole message in bytes, this header included. */
	int32_t size __attribute__((aligned(8)));
	/** For the application; 0 or a negative errno by custom. */
	int32_t error __attribute__((aligned(8)));
} __attribute__((aligned(8)));

/** How messages travel. The service chooses; its clients follow. */
enum qb_ipc_type {
	QB_IPC_SOCKET = 0,   /**< datagram sockets */
	QB_IPC_SHM = 1,      /**< ring buffers in shared memory */
	QB_IPC_POSIX_MQ = 2, /**< not available: -ENOTSUP */
	QB_IPC_SYSV_MQ = 3,  /**< not available: -ENOTSUP */
	QB_IPC_NATIVE = 4    /**< the best of this system: shared memory */
};

/* Values of `id`. The negative ones are messages of the library itself. */
#define QB_IPC_MSG_NEW_MESSAGE 0
#define QB_IPC_MSG_USER_START QB_IPC_MSG_NEW_MESSAGE
#define QB_IPC_MSG_AUTHENTICATE -1
#define QB_IPC_MSG_NEW_EVENT_SOCK -2
#define QB_IPC_MSG_DISCONNECT -3

#ifdef __cplusplus
}
#endif

#endif /* QB_IPC_COMMON_H_DEFINED */

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the echo service and its clients agree on: a name, and the messages.
 *
 * Every message starts with a header whose `size` counts the whole message. Ids below QB_IPC_MSG_USER_START belong to the library.
 * Client and server run on one host, so a message is simply a C structure.
 */
#ifndef ECHO_H
#define ECHO_H

#include <qb/qbipc_common.h>
#include <stdint.h>

#define ECHO_SERVICE "qb-echo"

/* The largest message, both ways; the client asks for it when it connects. */
#define ECHO_MAX_MSG (256 * 1024)

enum echo_request_id {
	ECHO_REQUEST = QB_IPC_MSG_USER_START, /* answered with the same bytes */
	ECHO_TICKS,                           /* answered at once; the ticks follow as events */
};

enum echo_event_id {
	ECHO_TICK = 1,
};

struct echo_request {
	struct qb_ipc_request_header hdr;
	char text[]; /* hdr.size - sizeof hdr bytes */
};

struct echo_response {
	struct qb_ipc_response_header hdr; /* `error` is 0 or a negative errno */
	char text[];
};

struct ticks_request {
	struct qb_ipc_request_header hdr;
	uint32_t count;
};

struct tick_event {
	struct qb_ipc_response_header hdr;
	uint32_t number; /* 1, 2, 3, ... */
};

#endif

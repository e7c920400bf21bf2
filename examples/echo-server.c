/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A service in one page: it echoes requests, and sends events to clients that ask for them.
 *
 *     echo-server [shm|socket] [NAME]
 *
 * It runs until SIGINT or SIGTERM. Build it with
 *
 *     cc -o echo-server echo-server.c $(pkg-config --cflags --libs libqb)
 */
#include <errno.h>
#include <qb/qbipcs.h>
#include <qb/qbloop.h>
#include <qb/qbutil.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "echo.h"

static qb_loop_t *loop;

/* What the service remembers about one client; kept as the connection's context. */
struct client {
	uint32_t ticks_wanted;
	uint32_t ticks_sent;
};

/* ---- The service asks its owner's main loop to watch descriptors. Here that is qb_loop; any other will do. ---- */

static int32_t job_add(enum qb_loop_priority p, void *data, qb_loop_job_dispatch_fn fn)
{
	return qb_loop_job_add(loop, p, data, fn);
}

static int32_t dispatch_add(enum qb_loop_priority p, int32_t fd, int32_t events, void *data, qb_ipcs_dispatch_fn_t fn)
{
	return qb_loop_poll_add(loop, p, fd, events, data, fn);
}

static int32_t dispatch_mod(enum qb_loop_priority p, int32_t fd, int32_t events, void *data, qb_ipcs_dispatch_fn_t fn)
{
	return qb_loop_poll_mod(loop, p, fd, events, data, fn);
}

static int32_t dispatch_del(int32_t fd)
{
	return qb_loop_poll_del(loop, fd);
}

/* ---- Events ---- */

/*
 * Sends the ticks that a client is still owed. An event queue is finite: -EAGAIN means that the client has not caught up, and the rest
 * goes out a little later. A server must never wait for one client inside a callback; all others would wait with it.
 */
static void send_ticks(void *data)
{
	qb_ipcs_connection_t *c = data;
	struct client *client = qb_ipcs_context_get(c);
	ssize_t rc = 0;

	while (rc >= 0 && client->ticks_sent < client->ticks_wanted) {
		struct tick_event tick = {
			.hdr = { .id = ECHO_TICK, .size = sizeof tick },
			.number = client->ticks_sent + 1,
		};

		rc = qb_ipcs_event_send(c, &tick, sizeof tick);
		if (rc >= 0) {
			client->ticks_sent++;
		}
	}
	if (rc == -EAGAIN && qb_loop_timer_add(loop, QB_LOOP_MED, QB_TIME_NS_IN_MSEC, c, send_ticks, NULL) == 0) {
		return; /* the timer keeps our reference */
	}
	qb_ipcs_connection_unref(c);
}

/* ---- The life of a connection: accept, created, any number of messages, closed, destroyed ---- */

/* May this user connect? 0 is yes; a negative errno is what the client's qb_ipcc_connect() reports. */
static int32_t connection_accept(qb_ipcs_connection_t *c, uid_t uid, gid_t gid)
{
	(void)c;
	(void)uid;
	(void)gid;
	return 0;
}

static void connection_created(qb_ipcs_connection_t *c)
{
	qb_ipcs_context_set(c, calloc(1, sizeof(struct client)));
	if (qb_ipcs_context_get(c) == NULL) {
		qb_ipcs_disconnect(c);
	}
}

static int32_t msg_process(qb_ipcs_connection_t *c, void *data, size_t size)
{
	static union {
		struct echo_response response;
		char bytes[ECHO_MAX_MSG];
	} out;
	const struct qb_ipc_request_header *hdr = data;
	struct client *client = qb_ipcs_context_get(c);
	int start_ticks = 0;

	out.response.hdr.id = hdr->id;
	out.response.hdr.error = 0;
	out.response.hdr.size = sizeof out.response;
	if (hdr->id == ECHO_REQUEST) {
		const struct echo_request *request = data;
		size_t text = size - sizeof *request;

		/* The response's header is the larger one: an echo is 8 bytes longer than its request. */
		if (sizeof out.response + text > sizeof out) {
			out.response.hdr.error = -EMSGSIZE;
		} else {
			memcpy(out.response.text, request->text, text);
			out.response.hdr.size = (int32_t)(sizeof out.response + text);
		}
	} else if (hdr->id == ECHO_TICKS && size == sizeof(struct ticks_request)) {
		const struct ticks_request *request = data;

		start_ticks = client->ticks_sent == client->ticks_wanted;
		client->ticks_wanted += request->count;
	} else {
		out.response.hdr.error = -EINVAL;
	}
	if (qb_ipcs_response_send(c, &out, (size_t)out.response.hdr.size) < 0) {
		/* A client that does not take its answers is of no use any more. */
		qb_ipcs_disconnect(c);
	} else if (start_ticks) {
		/* Sending them may outlast this callback, so a reference goes along. */
		qb_ipcs_connection_ref(c);
		send_ticks(c);
	}
	return 0;
}

/* 0: done with it. Anything else: call me again later. */
static int32_t connection_closed(qb_ipcs_connection_t *c)
{
	(void)c;
	return 0;
}

/* The last reference is gone. A connection that never got as far as `created` has no context. */
static void connection_destroyed(qb_ipcs_connection_t *c)
{
	free(qb_ipcs_context_get(c));
}

/* ---- Start and end ---- */

static int32_t stop(int32_t signal_number, void *data)
{
	(void)signal_number;
	(void)data;
	qb_loop_stop(loop);
	return 0;
}

int main(int argc, char **argv)
{
	enum qb_ipc_type type = argc > 1 && strcmp(argv[1], "socket") == 0 ? QB_IPC_SOCKET : QB_IPC_SHM;
	const char *name = argc > 2 ? argv[2] : ECHO_SERVICE;
	struct qb_ipcs_service_handlers handlers = {
		.connection_accept = connection_accept,
		.connection_created = connection_created,
		.msg_process = msg_process,
		.connection_closed = connection_closed,
		.connection_destroyed = connection_destroyed,
	};
	struct qb_ipcs_poll_handlers poll_handlers = {
		.job_add = job_add,
		.dispatch_add = dispatch_add,
		.dispatch_mod = dispatch_mod,
		.dispatch_del = dispatch_del,
	};
	qb_ipcs_service_t *service;
	int32_t rc;

	loop = qb_loop_create();
	if (loop == NULL) {
		perror("qb_loop_create");
		return 1;
	}
	qb_loop_signal_add(loop, QB_LOOP_HIGH, SIGINT, NULL, stop, NULL);
	qb_loop_signal_add(loop, QB_LOOP_HIGH, SIGTERM, NULL, stop, NULL);

	service = qb_ipcs_create(name, 0, type, &handlers);
	if (service == NULL) {
		perror("qb_ipcs_create");
		return 1;
	}
	qb_ipcs_poll_handlers_set(service, &poll_handlers);
	rc = qb_ipcs_run(service);
	if (rc != 0) {
		/* The service has been freed already. */
		fprintf(stderr, "%s: %s\n", name, strerror(-rc));
		return 1;
	}
	printf("%s: ready\n", name);
	fflush(stdout);

	qb_loop_run(loop); /* until stop() */

	qb_ipcs_destroy(service);
	qb_loop_destroy(loop);
	return 0;
}

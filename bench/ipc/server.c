/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The server: echoes, counts, sends events, tells its CPU time and memory. It ends when its standard input does. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "ipc.h"

static qb_loop_t *loop; /* NULL: the program's own loop */
static struct qb_ipcs_poll_handlers poller;
static uint64_t counted;
static char out[MAX_MSG] __attribute__((aligned(8)));

/* The stream of events: an eventfd that is always readable makes every turn of the loop try again. */
static struct {
	qb_ipcs_connection_t *to;
	uint32_t size;
	uint32_t left; /* 0: no end */
	bool last;
	int fd;
} stream = { .fd = -1 };

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

static void stop_loop(void)
{
	if (loop != NULL) {
		qb_loop_stop(loop);
	} else {
		own_loop_stop();
	}
}

static void stream_stop(void)
{
	if (stream.to != NULL) {
		poller.dispatch_del(stream.fd);
		qb_ipcs_connection_unref(stream.to);
		stream.to = NULL;
	}
}

/* Sends until the client's queue is full, then lets the loop turn, as a daemon with a backlog does. */
static int32_t stream_turn(int32_t fd, int32_t revents, void *data)
{
	struct qb_ipc_response_header *h = (struct qb_ipc_response_header *)out;

	(void)fd, (void)revents, (void)data;
	for (int i = 0; i < 64 && stream.to != NULL; i++) {
		bool last = stream.last || stream.left == 1;
		ssize_t rc;

		*h = (struct qb_ipc_response_header){ .id = last ? EVENT_LAST : EVENT_NEXT, .size = (int32_t)stream.size };
		rc = qb_ipcs_event_send(stream.to, out, stream.size);
		if (rc == -EAGAIN || rc == -ENOBUFS) {
			sched_yield();
			break;
		}
		if (rc < 0 || last) {
			stream_stop();
		}
		stream.left -= stream.left > 1;
	}
	return 0;
}

static void stream_start(qb_ipcs_connection_t *c, const struct request *r)
{
	stream_stop();
	qb_ipcs_connection_ref(c);
	stream.to = c;
	stream.size = r->reply_size;
	stream.left = r->count;
	stream.last = false;
	poller.dispatch_add(QB_LOOP_MED, stream.fd, POLLIN, NULL, stream_turn);
}

static void respond(qb_ipcs_connection_t *c, size_t size)
{
	struct qb_ipc_response_header *h = (struct qb_ipc_response_header *)out;
	ssize_t rc;

	*h = (struct qb_ipc_response_header){ .id = REQ_ECHO, .size = (int32_t)size };
	while ((rc = qb_ipcs_response_send(c, out, size)) == -EAGAIN) {
		sched_yield();
	}
	if (rc < 0 && rc != -ENOTCONN && rc != -ECONNRESET && rc != -EPIPE) {
		die("qb_ipcs_response_send", rc);
	}
}

static int32_t msg_process(qb_ipcs_connection_t *c, void *data, size_t size)
{
	const struct request *r = data;
	struct state_reply *s = (struct state_reply *)out;

	(void)size;
	switch (r->hdr.id) {
	case REQ_COUNT:
		counted++;
		break;
	case REQ_ECHO:
		respond(c, r->reply_size <= sizeof out ? r->reply_size : sizeof out);
		break;
	case REQ_STATE:
		s->counted = counted;
		s->pid = getpid();
		usage_read(&s->usage);
		counted = 0;
		respond(c, sizeof *s);
		break;
	case REQ_EVENTS_START:
		stream_start(c, r);
		break;
	case REQ_EVENTS_STOP:
		stream.last = true;
		break;
	default:
		die("unknown request", EINVAL);
	}
	return 0;
}

static int32_t accept_all(qb_ipcs_connection_t *c, uid_t uid, gid_t gid)
{
	(void)c, (void)uid, (void)gid;
	return 0;
}

static void created(qb_ipcs_connection_t *c)
{
	(void)c;
}

static int32_t closed(qb_ipcs_connection_t *c)
{
	if (c == stream.to) {
		stream_stop();
	}
	return 0;
}

static void destroyed(qb_ipcs_connection_t *c)
{
	(void)c;
}

static int32_t parent_gone(int32_t fd, int32_t revents, void *data)
{
	(void)fd, (void)revents, (void)data;
	stop_loop();
	return 0;
}

int server_main(const char *name, enum qb_ipc_type type, enum qb_ipcs_rate_limit rate, int own_loop)
{
	struct qb_ipcs_service_handlers handlers = {
		.connection_accept = accept_all,
		.connection_created = created,
		.msg_process = msg_process,
		.connection_closed = closed,
		.connection_destroyed = destroyed,
	};
	qb_ipcs_service_t *s;
	int32_t rc;

	if (own_loop) {
		own_loop_init(&poller);
	} else {
		loop = qb_loop_create();
		poller = (struct qb_ipcs_poll_handlers){ job_add, dispatch_add, dispatch_mod, dispatch_del };
	}
	stream.fd = eventfd(1, EFD_CLOEXEC);
	s = qb_ipcs_create(name, 0, type, &handlers);
	if (s == NULL || stream.fd < 0) {
		die("qb_ipcs_create", errno);
	}
	qb_ipcs_poll_handlers_set(s, &poller);
	if ((rc = qb_ipcs_run(s)) != 0) {
		die("qb_ipcs_run", rc);
	}
	qb_ipcs_request_rate_limit(s, rate);
	poller.dispatch_add(QB_LOOP_MED, STDIN_FILENO, POLLIN, NULL, parent_gone);
	if (write(STDOUT_FILENO, "ready\n", 6) != 6) {
		return 1;
	}
	if (loop != NULL) {
		qb_loop_run(loop);
	} else {
		own_loop_run();
	}
	stream_stop();
	qb_ipcs_destroy(s);
	if (loop != NULL) {
		qb_loop_destroy(loop);
	}
	return 0;
}

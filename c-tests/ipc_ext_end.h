/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The part of ipc_ext.c about what is open when somebody leaves, forks or starts threads, and what all of its tests use. */
#ifndef IPC_EXT_END_H
#define IPC_EXT_END_H

#include "ipc_scenarios.h"
#include "ipckit_ext.h"

#include <qb/qbipc_ext.h>

#include <pthread.h>
#include <semaphore.h>

/* Whether an address is in memory that was made for a connection. */
static int is_shared(const void *at)
{
	char line[512];
	unsigned long from, to;
	FILE *maps = fopen("/proc/self/maps", "r");
	int found = 0;

	while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
		if (sscanf(line, "%lx-%lx", &from, &to) == 2 && (uintptr_t)at >= from && (uintptr_t)at < to) {
			found = strstr(line, "/memfd:qb") != NULL;
		}
	}
	if (maps != NULL) {
		fclose(maps);
	}
	return found;
}

static int expect_sealed(void)
{
	const char *sealed = getenv("LIBQB_SEALED");

	return T == QB_IPC_SHM && (sealed == NULL || strcmp(sealed, "0") != 0);
}

/* A server answers before it gives back the room of a request: what filled the queue may still be there for a moment. */
static ssize_t reserve_soon(qb_ipcc_connection_t *c, size_t len, void **room)
{
	ssize_t n;

	while ((n = qb_ipcc_request_reserve(c, len, room)) == -EAGAIN) {
		kit_sleep_ms(1);
	}
	return n;
}

static ssize_t reserve_echo(qb_ipcc_connection_t *c, size_t len)
{
	void *room = NULL;
	ssize_t n = reserve_soon(c, len, &room);

	if (n >= 0) {
		struct qb_ipc_request_header *q = room;

		kit_fill(q, len, (unsigned)len);
		q->id = KIT_ECHO;
		q->size = (int32_t)len;
	}
	return n;
}

/* The next response, which has to be the echo of that many bytes. */
static void take_echo(qb_ipcc_connection_t *c, size_t len)
{
	const struct qb_ipc_response_header *p;
	const void *at = NULL;

	CHECK_EQ(qb_ipcc_response_peek(c, &at, -1), len);
	if ((p = at) != NULL) {
		CHECK_EQ((uintptr_t)at % 8, 0);
		CHECK_EQ(p->id, KIT_ECHO);
		CHECK_EQ(p->size, len);
		CHECK(kit_filled(p, len, (unsigned)len));
	}
	qb_ipcc_response_release(c);
}

static void an_event_outlives_its_client(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *c = kit_connect(k, 8192), *other = kit_connect(k, 8192);

	CHECK_EQ(kit_call(c, EXT_KEEP_ROOM, 8000, 0), 8000);
	qb_ipcc_disconnect(c);
	KIT_WAIT(k->closed == 1);
	CHECK_EQ(kit_call(other, EXT_USE_ROOM, 0, 0), 0);
	CHECK_EQ(k->probe[0], -ENOTCONN);
	CHECK_EQ(k->probe[1], -EINVAL);
	CHECK_EQ(k->probe[2], -ENOTCONN);
	CHECK_EQ(k->probe[3], -ENOTCONN);
	KIT_WAIT(k->destroyed == 1);
	qb_ipcc_disconnect(other);
	kit_end(k);
}

static void what_is_open_outlives_the_server(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *c = kit_connect(k, 8192);
	const void *response = NULL, *event = NULL;
	void *room = NULL;

	CHECK_EQ(kit_call(c, KIT_EVENT, 100, 0), 0);
	CHECK_EQ(reserve_echo(c, 500), 500);
	CHECK_EQ(qb_ipcc_request_commit(c, 500), 500);
	CHECK_EQ(qb_ipcc_response_peek(c, &response, -1), 500);
	CHECK_EQ(qb_ipcc_event_peek(c, &event, -1), 100);
	CHECK_EQ(qb_ipcc_request_reserve(c, 1000, &room), 1000);
	kit_kill(k);
	KIT_WAIT(!qb_ipcc_is_connected(c));
	memset(room, 1, 1000);
	CHECK(kit_filled(response, 500, 500));
	CHECK(kit_filled(event, 100, 100));
	CHECK_EQ(qb_ipcc_request_commit(c, 1000), -ENOTCONN);
	CHECK_EQ(qb_ipcc_request_commit(c, 1000), -EINVAL);
	CHECK_EQ(qb_ipcc_request_reserve(c, 8, &room), -ENOTCONN);
	qb_ipcc_response_release(c);
	qb_ipcc_event_release(c);
	CHECK_EQ(qb_ipcc_response_peek(c, &response, 0), -ENOTCONN);
	qb_ipcc_disconnect(c);
	kit_shm_entries(k->server, 1);
}

static void a_connection_may_end_with_everything_open(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *c = kit_connect(k, 8192);
	const void *at;
	void *room;

	CHECK_EQ(kit_call(c, KIT_EVENT, 100, 0), 0);
	CHECK_EQ(kit_send(c, KIT_SLEEP, 0, 0), sizeof(struct kit_request));
	CHECK_EQ(qb_ipcc_response_peek(c, &at, -1), sizeof(struct kit_reply));
	CHECK_EQ(qb_ipcc_event_peek(c, &at, -1), 100);
	CHECK_EQ(qb_ipcc_request_reserve(c, 1000, &room), 1000);
	qb_ipcc_disconnect(c);
	KIT_WAIT(k->destroyed == 1);
	kit_end(k);
}

static void a_forked_child_changes_nothing_for_its_parent(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *c = kit_connect(k, 8192);
	const void *response = NULL, *event = NULL, *at;
	int fd = -1, status = -1;
	void *room;
	pid_t child;

	CHECK_EQ(qb_ipcc_fd_get(c, &fd), 0);
	CHECK_EQ(kit_call(c, KIT_EVENT, 100, 0), 0);
	CHECK_EQ(reserve_echo(c, 500), 500);
	CHECK_EQ(qb_ipcc_request_commit(c, 500), 500);
	CHECK_EQ(qb_ipcc_response_peek(c, &response, -1), 500);
	CHECK_EQ(qb_ipcc_event_peek(c, &event, -1), 100);
	CHECK_EQ(reserve_echo(c, 600), 600);
	fflush(stdout);
	child = fork();
	if (child == 0) {
		CHECK_EQ(qb_ipcc_request_commit(c, 600), -ENOTCONN);
		qb_ipcc_request_cancel(c);
		qb_ipcc_response_release(c);
		qb_ipcc_event_release(c);
		CHECK_EQ(qb_ipcc_request_reserve(c, 8, &room), -ENOTCONN);
		CHECK_EQ(qb_ipcc_response_peek(c, &at, 0), -ENOTCONN);
		CHECK_EQ(qb_ipcc_event_peek(c, &at, 0), -ENOTCONN);
		qb_ipcc_disconnect(c);
		fflush(stdout);
		_exit(check_bad == 0 ? 0 : 1);
	}
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK_EQ(status, 0);
	CHECK_EQ(kit_readable(fd, 0), POLLIN);
	CHECK(kit_filled(response, 500, 500));
	CHECK(kit_filled(event, 100, 100));
	qb_ipcc_event_release(c);
	CHECK_EQ(kit_readable(fd, 0), 0);
	qb_ipcc_response_release(c);
	CHECK_EQ(qb_ipcc_request_commit(c, 600), 600);
	take_echo(c, 600);
	CHECK_EQ(kit_echo(c, 64), 0);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

static sem_t credit;

static void *write_in_place(void *c)
{
	for (int i = 0; i < 400; i++) {
		ssize_t n;

		sem_wait(&credit);
		while ((n = reserve_echo(c, 400)) == -EBUSY) {
			sched_yield();
		}
		CHECK_EQ(n, 400);
		while ((n = qb_ipcc_request_commit(c, 400)) == -EAGAIN) {
			sched_yield();
		}
		CHECK_EQ(n, 400);
	}
	return NULL;
}

static void *write_otherwise(void *c)
{
	char q[400];

	kit_fill(q, sizeof q, sizeof q);
	memcpy(q, &(struct qb_ipc_request_header){.id = KIT_ECHO, .size = sizeof q}, sizeof(struct qb_ipc_request_header));
	for (int i = 0; i < 400; i++) {
		ssize_t n;

		sem_wait(&credit);
		while ((n = qb_ipcc_send(c, q, sizeof q)) == -EAGAIN) {
			sched_yield();
		}
		CHECK_EQ(n, 400);
	}
	return NULL;
}

static void threads_do_not_disturb_what_is_reserved(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *c = kit_connect(k, 8192);
	pthread_t threads[3];

	/* The server does not keep answers for which there is no room. */
	sem_init(&credit, 0, 16);
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(pthread_create(&threads[i], NULL, i == 1 ? write_otherwise : write_in_place, c), 0);
	}
	for (int i = 0; i < 3 * 400; i++) {
		take_echo(c, 400);
		sem_post(&credit);
	}
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(pthread_join(threads[i], NULL), 0);
	}
	qb_ipcc_disconnect(c);
	kit_end(k);
}

#endif

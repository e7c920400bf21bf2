/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Many threads on one connection: some send while others receive, on the client's side and on the server's. Every message
 * arrives once and whole. Also what ThreadSanitizer looks at (`make tsan-ipc`).
 */
#include "../ipckit.h"

#include <pthread.h>
#include <sched.h>

#include <qb/qbloop.h>

#define SENDERS 3
#define RECEIVERS 2

static enum qb_ipc_type T;
static int each; /* messages of a thread; QB_TEST_MESSAGES */

static struct {
	qb_ipcc_connection_t *c;
	_Atomic int sent, received, events, bad;
	int total, window;
} t;

static void *send_echoes(void *arg)
{
	unsigned char msg[1024];

	for (int i = 0; i < each; i++) {
		size_t size = 24 + (size_t)((i * 37 + (int)(intptr_t)arg * 11) % 900);
		struct qb_ipc_request_header *q = (void *)msg;
		ssize_t n;

		/* The server drops answers for which there is no room. */
		while (t.sent - t.received >= t.window) {
			sched_yield();
		}
		t.sent++;
		kit_fill(msg, size, (unsigned)size);
		q->id = KIT_ECHO;
		q->size = (int32_t)size;
		while ((n = qb_ipcc_send(t.c, msg, size)) == -EAGAIN) {
			sched_yield();
		}
		t.bad += n != (ssize_t)size;
	}
	return NULL;
}

static void *receive_echoes(void *unused)
{
	unsigned char msg[1024];

	(void)unused;
	while (t.received < t.total) {
		ssize_t n = qb_ipcc_recv(t.c, msg, sizeof msg, 50);

		if (n > 0) {
			t.bad += !kit_filled(msg, (size_t)n, (unsigned)n) || ((struct qb_ipc_response_header *)(void *)msg)->size != n;
			t.received++;
		} else {
			t.bad += n != -ETIMEDOUT && n != -EAGAIN;
		}
	}
	return NULL;
}

static void *receive_events(void *unused)
{
	struct kit_event e;

	(void)unused;
	while (t.events < t.total) {
		ssize_t n = qb_ipcc_event_recv(t.c, &e, sizeof e, 1000);

		if (n > 0) {
			t.bad += n != sizeof e || e.hdr.id != KIT_EVENT_ID;
			t.events++;
		} else {
			t.bad += n != -EAGAIN && n != -ETIMEDOUT;
		}
	}
	return NULL;
}

static void *ask_about_it(void *unused)
{
	int32_t fd;

	(void)unused;
	while (t.received < t.total) {
		t.bad += qb_ipcc_is_connected(t.c) == 0;
		t.bad += qb_ipcc_fd_get(t.c, &fd) != 0;
		t.bad += qb_ipcc_fc_enable_max_set(t.c, 1) != 0;
		t.bad += qb_ipcc_get_buffer_size(t.c) <= 0;
		sched_yield();
	}
	return NULL;
}

static void threads_send_while_others_receive(void)
{
	pthread_t id[SENDERS + RECEIVERS + 2];
	struct kit *k = kit_new(T);
	struct kit_reply reply;
	int n = 0;

	kit_start(k);
	memset(&t, 0, sizeof t);
	t.total = SENDERS * each;
	t.window = T == QB_IPC_SHM ? 30 : 6;
	t.c = kit_connect(k, KIT_MAX_MSG);
	CHECK(kit_send(t.c, KIT_EVENTS, t.total, sizeof(struct kit_event)) > 0);
	CHECK_EQ(qb_ipcc_recv(t.c, &reply, sizeof reply, -1), sizeof reply);
	pthread_create(&id[n++], NULL, receive_events, NULL);
	pthread_create(&id[n++], NULL, ask_about_it, NULL);
	for (int i = 0; i < RECEIVERS; i++) {
		pthread_create(&id[n++], NULL, receive_echoes, NULL);
	}
	for (int i = 0; i < SENDERS; i++) {
		pthread_create(&id[n++], NULL, send_echoes, (void *)(intptr_t)i);
	}
	while (n > 0) {
		pthread_join(id[--n], NULL);
	}
	CHECK_EQ(t.bad, 0);
	CHECK_EQ(t.received, t.total);
	CHECK_EQ(t.events, t.total);
	qb_ipcc_disconnect(t.c);
	kit_end(k);
}

/* The server's side: a loop in one thread, others that send events on the one connection. */
static struct {
	qb_loop_t *loop;
	qb_ipcs_service_t *service;
	qb_ipcs_connection_t *_Atomic c;
	_Atomic int bad, stop;
} s;

static int32_t s_job(enum qb_loop_priority p, void *data, qb_loop_job_dispatch_fn fn)
{
	return qb_loop_job_add(s.loop, p, data, fn);
}
static int32_t s_add(enum qb_loop_priority p, int32_t fd, int32_t events, void *data, qb_ipcs_dispatch_fn_t fn)
{
	return qb_loop_poll_add(s.loop, p, fd, events, data, fn);
}
static int32_t s_mod(enum qb_loop_priority p, int32_t fd, int32_t events, void *data, qb_ipcs_dispatch_fn_t fn)
{
	return qb_loop_poll_mod(s.loop, p, fd, events, data, fn);
}
static int32_t s_del(int32_t fd)
{
	return qb_loop_poll_del(s.loop, fd);
}

static void s_created(qb_ipcs_connection_t *c)
{
	qb_ipcs_connection_ref(c);
	s.c = c;
}

static int32_t s_message(qb_ipcs_connection_t *c, void *data, size_t size)
{
	struct qb_ipc_response_header r = {.id = 1, .size = sizeof r};

	(void)data;
	s.bad += size < sizeof(struct qb_ipc_request_header);
	s.bad += qb_ipcs_response_send(c, &r, sizeof r) != sizeof r;
	return 0;
}

static int32_t s_closed(qb_ipcs_connection_t *c)
{
	(void)c;
	s.stop = 1;
	qb_loop_stop(s.loop);
	return 0;
}

static void *run_loop(void *unused)
{
	(void)unused;
	qb_loop_run(s.loop);
	return NULL;
}

static void *send_events(void *arg)
{
	struct kit_event e;

	memset(&e, 0, sizeof e);
	e.hdr.id = KIT_EVENT_ID;
	e.hdr.size = sizeof e;
	while (s.c == NULL) {
		sched_yield();
	}
	for (int i = 0; i < each && !s.stop; i++) {
		ssize_t n;

		e.seq = (int64_t)(intptr_t)arg * 1000000 + i;
		while ((n = qb_ipcs_event_send(s.c, &e, sizeof e)) == -EAGAIN && !s.stop) {
			sched_yield();
		}
		s.bad += n != sizeof e && !s.stop;
	}
	return NULL;
}

static void *look_at_it(void *unused)
{
	struct qb_ipcs_connection_stats stats;
	struct qb_ipcs_stats all;

	(void)unused;
	while (!s.stop) {
		if (s.c != NULL) {
			s.bad += qb_ipcs_connection_stats_get(s.c, &stats, 0) != 0;
			s.bad += qb_ipcs_stats_get(s.service, &all, 0) != 0;
			s.bad += qb_ipcs_connection_get_buffer_size(s.c) <= 0;
		}
		sched_yield();
	}
	return NULL;
}

/* The client, a process of its own: all events of all threads, each thread's in order, and answers between them. */
static _Noreturn void take_events(const char *name)
{
	qb_ipcc_connection_t *c = NULL;
	int64_t next[SENDERS] = {0};
	int got = 0;

	check_bad = 0;
	for (int i = 0; i < 5000 && c == NULL; i++) {
		c = qb_ipcc_connect(name, 12328);
		kit_sleep_ms(1);
	}
	CHECK(c != NULL);
	while (c != NULL && got < SENDERS * each && check_bad == 0) {
		struct kit_event e;
		ssize_t n = qb_ipcc_event_recv(c, &e, sizeof e, 10000);
		int from = n == sizeof e ? (int)(e.seq / 1000000) : -1;

		CHECK_EQ(n, sizeof e);
		if (from < 0 || from >= SENDERS) {
			CHECK(!"the event is one of ours");
			break;
		}
		CHECK_EQ(e.seq % 1000000, next[from]++);
		if (got++ % 16 == 0) {
			struct qb_ipc_request_header r = {.id = 1, .size = sizeof r};
			struct qb_ipc_response_header back;
			struct iovec iov = {&r, sizeof r};

			CHECK_EQ(qb_ipcc_sendv_recv(c, &iov, 1, &back, sizeof back, 10000), sizeof back);
		}
	}
	qb_ipcc_disconnect(c);
	fflush(stdout);
	_exit(check_bad != 0);
}

static void threads_of_a_server_send_while_its_loop_serves(void)
{
	struct qb_ipcs_service_handlers h = {NULL, s_created, s_message, s_closed, NULL};
	struct qb_ipcs_poll_handlers poll = {s_job, s_add, s_mod, s_del};
	pthread_t id[SENDERS + 2];
	char name[64];
	int n = 0, status;
	pid_t client;

	snprintf(name, sizeof name, "qbthreads-%d-%d", (int)getpid(), (int)T);
	fflush(stdout);
	client = fork(); /* while there is one thread */
	if (client == 0) {
		take_events(name);
	}
	memset(&s, 0, sizeof s);
	s.loop = qb_loop_create();
	s.service = qb_ipcs_create(name, 0, T, &h);
	qb_ipcs_poll_handlers_set(s.service, &poll);
	CHECK_EQ(qb_ipcs_run(s.service), 0);
	for (int i = 0; i < SENDERS; i++) {
		pthread_create(&id[n++], NULL, send_events, (void *)(intptr_t)i);
	}
	pthread_create(&id[n++], NULL, look_at_it, NULL);
	pthread_create(&id[n++], NULL, run_loop, NULL);
	waitpid(client, &status, 0);
	CHECK_EQ(status, 0);
	while (n > 0) {
		pthread_join(id[--n], NULL);
	}
	CHECK_EQ(s.bad, 0);
	qb_ipcs_connection_unref(s.c);
	qb_ipcs_destroy(s.service);
	qb_loop_destroy(s.loop);
}

int main(int argc, char **argv)
{
	const char *messages = getenv("QB_TEST_MESSAGES");

	kit_main(argc, argv);
	each = messages != NULL ? atoi(messages) : 2000;
	for (int transport = 0; transport < 2; transport++) {
		T = transport == 0 ? QB_IPC_SHM : QB_IPC_SOCKET;
		RUN_FOR(threads_send_while_others_receive, 280);
		RUN_FOR(threads_of_a_server_send_while_its_loop_serves, 280);
	}
	printf("%d passed, %d failed\n", check_passed, check_failed);
	return check_failed != 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qb/qbipcc.h and qb/qbipc_common.h: every scenario of ipc_scenarios.h, then the client's own corners, on both transports. */
#include "ipc_scenarios.h"

#include <stddef.h>

_Static_assert(sizeof(struct qb_ipc_request_header) == 16, "wire layout");
_Static_assert(offsetof(struct qb_ipc_request_header, size) == 8, "wire layout");
_Static_assert(sizeof(struct qb_ipc_response_header) == 24, "wire layout");
_Static_assert(offsetof(struct qb_ipc_response_header, error) == 16, "wire layout");
_Static_assert(_Alignof(struct qb_ipc_response_header) == 8, "wire layout");
_Static_assert(QB_IPC_SOCKET == 0 && QB_IPC_SHM == 1 && QB_IPC_POSIX_MQ == 2, "on the wire");
_Static_assert(QB_IPC_SYSV_MQ == 3 && QB_IPC_NATIVE == 4, "public");
_Static_assert(QB_IPC_MSG_USER_START == 0 && QB_IPC_MSG_AUTHENTICATE == -1, "on the wire");
_Static_assert(QB_IPC_MSG_NEW_EVENT_SOCK == -2 && QB_IPC_MSG_DISCONNECT == -3, "on the wire");

static void nobody_listening_is_connection_refused(void)
{
	int fd = -1;

	errno = 0;
	CHECK(qb_ipcc_connect("qbt-nobody", 8192) == NULL);
	CHECK_EQ(errno, ECONNREFUSED);
	errno = 0;
	CHECK(qb_ipcc_connect("", 8192) == NULL);
	CHECK_EQ(errno, ECONNREFUSED);
	errno = 0;
	CHECK(qb_ipcc_connect_async("qbt-nobody", 8192, &fd) == NULL);
	CHECK_EQ(errno, ECONNREFUSED);
}

static void no_connection_is_an_invalid_argument(void)
{
	char b[64] = {0};
	struct iovec iov = {b, sizeof b};
	int fd;

	qb_ipcc_disconnect(NULL);
	CHECK_EQ(qb_ipcc_fd_get(NULL, &fd), -EINVAL);
	CHECK_EQ(qb_ipcc_auth_get(NULL, NULL, NULL, NULL), -EINVAL);
	CHECK_EQ(qb_ipcc_fc_enable_max_set(NULL, 1), -EINVAL);
	CHECK_EQ(qb_ipcc_send(NULL, b, sizeof b), -EINVAL);
	CHECK_EQ(qb_ipcc_sendv(NULL, &iov, 1), -EINVAL);
	CHECK_EQ(qb_ipcc_recv(NULL, b, sizeof b, 0), -EINVAL);
	CHECK_EQ(qb_ipcc_sendv_recv(NULL, &iov, 1, b, sizeof b, 0), -EINVAL);
	CHECK_EQ(qb_ipcc_event_recv(NULL, b, sizeof b, 0), -EINVAL);
	qb_ipcc_context_set(NULL, b);
	CHECK(qb_ipcc_context_get(NULL) == NULL);
	CHECK_EQ(qb_ipcc_is_connected(NULL), 0);
	CHECK_EQ(qb_ipcc_get_buffer_size(NULL), -EINVAL);
}

static void missing_names_and_buffers_are_invalid_arguments(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *c;
	int fd = -1;

	errno = 0;
	CHECK(qb_ipcc_connect(NULL, 8192) == NULL);
	CHECK_EQ(errno, EINVAL);
	errno = 0;
	CHECK(qb_ipcc_connect_async(NULL, 8192, &fd) == NULL);
	CHECK_EQ(errno, EINVAL);
	errno = 0;
	CHECK(qb_ipcc_connect_async(k->name, 8192, NULL) == NULL);
	CHECK_EQ(errno, EINVAL);
	CHECK_EQ(qb_ipcc_connect_continue(NULL), -EINVAL);
	c = kit_connect(k, 8192);
	CHECK_EQ(qb_ipcc_fd_get(c, NULL), -EINVAL);
	CHECK_EQ(qb_ipcc_send(c, NULL, 16), -EINVAL);
	CHECK_EQ(qb_ipcc_sendv(c, NULL, 1), -EINVAL);
	CHECK_EQ(qb_ipcc_sendv_recv(c, NULL, 1, big, sizeof big, 0), -EINVAL);
	CHECK_EQ(kit_echo(c, 64), 0);
	kit_send(c, KIT_STATS, 0, 0);
	CHECK_EQ(qb_ipcc_recv(c, NULL, 100, 1000), -EINVAL);
	CHECK_EQ(qb_ipcc_recv(c, big, sizeof big, -1), sizeof(struct kit_reply));
	kit_call(c, KIT_EVENT, 100, 0);
	CHECK_EQ(qb_ipcc_event_recv(c, NULL, 100, 1000), -EINVAL);
	CHECK_EQ(qb_ipcc_event_recv(c, big, sizeof big, -1), 100);
	CHECK_EQ(qb_ipcc_is_connected(c), 1);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

static void the_context_is_the_callers(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *c = kit_connect(k, 8192);
	int mine;

	CHECK(qb_ipcc_context_get(c) == NULL);
	qb_ipcc_context_set(c, &mine);
	CHECK(qb_ipcc_context_get(c) == &mine);
	qb_ipcc_context_set(c, NULL);
	CHECK(qb_ipcc_context_get(c) == NULL);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

static void the_largest_datagram_is_what_the_kernel_carries(void)
{
	static const size_t asked[] = {1, 1000, 100000, 1 << 20};

	CHECK_EQ(qb_ipcc_verify_dgram_max_msg_size(0), 0);
	for (int i = 0; i < 4; i++) {
		int32_t can = qb_ipcc_verify_dgram_max_msg_size(asked[i]);

		CHECK(can > 0 && (size_t)can <= asked[i]);
		if (asked[i] <= 100000) {
			CHECK_EQ(can, asked[i]);
		}
	}
}

static void an_absurd_datagram_size_is_cut_down_or_refused(void)
{
	static const size_t asked[] = {10 << 20, (size_t)1 << 31, (size_t)-1};

	for (int i = 0; i < 3; i++) {
		int32_t can = qb_ipcc_verify_dgram_max_msg_size(asked[i]);

		CHECK(can == -1 || (can > 100000 && (size_t)can <= asked[i]));
	}
}

/* On shared memory the message stays for a caller that comes back with more room. */
static void a_buffer_too_small_leaves_the_message(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *c = kit_connect(k, 8192);
	struct {
		char bytes[40];
		char guard[512];
	} small;
	int fd;

	CHECK_EQ(qb_ipcc_fd_get(c, &fd), 0);
	memset(&small, 0x55, sizeof small);
	CHECK_EQ(kit_send(c, KIT_RESPONSE, 500, 0), sizeof(struct kit_request));
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(qb_ipcc_recv(c, small.bytes, sizeof small.bytes, 10000), -ENOBUFS);
	}
	CHECK_EQ(qb_ipcc_recv(c, big, sizeof big, 10000), 500);
	CHECK(kit_filled(big, 500, 500));
	CHECK_EQ(kit_call(c, KIT_EVENT, 400, 0), 0);
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(qb_ipcc_event_recv(c, small.bytes, sizeof small.bytes, 10000), -ENOBUFS);
		CHECK(kit_readable(fd, 0));
	}
	CHECK_EQ(qb_ipcc_event_recv(c, big, sizeof big, 10000), 400);
	CHECK(kit_filled(big, 400, 400));
	for (size_t i = 0; i < sizeof small.guard; i++) {
		CHECK_EQ(small.guard[i], 0x55);
	}
	CHECK_EQ(kit_echo(c, 64), 0);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

static void a_buffer_too_small_does_not_disconnect(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *c = kit_connect(k, 8192);

	CHECK_EQ(kit_send(c, KIT_RESPONSE, 500, 0), sizeof(struct kit_request));
	CHECK_EQ(qb_ipcc_recv(c, big, 40, 10000), -ENOBUFS);
	CHECK_EQ_COMPAT(qb_ipcc_is_connected(c), 0, 1, "ipc-small-buffer-shm");
	CHECK_EQ(qb_ipcc_recv(c, big, sizeof big, 10000), 500);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

/* An endless receive is not endless when there is nobody left to answer. */
static void waiting_for_ever_ends_with_the_server(void)
{
	for (int event = 0; event < 2; event++) {
		struct kit *k = begin();
		qb_ipcc_connection_t *c = kit_connect(k, 8192);
		pid_t killer;
		ssize_t n;

		CHECK_EQ(kit_echo(c, 64), 0);
		killer = fork();
		if (killer == 0) {
			kit_sleep_ms(100);
			kill(k->server, SIGKILL);
			_exit(0);
		}
		n = event ? qb_ipcc_event_recv(c, big, sizeof big, -1) : qb_ipcc_recv(c, big, sizeof big, -1);
		CHECK(is_gone(n));
		CHECK_EQ(qb_ipcc_is_connected(c), 0);
		kit_wait_server(k);
		n = event ? qb_ipcc_event_recv(c, big, sizeof big, -1) : qb_ipcc_recv(c, big, sizeof big, -1);
		CHECK(is_gone(n));
		qb_ipcc_disconnect(c);
		kit_shm_entries(k->server, 1);
		waitpid(killer, NULL, 0);
	}
}

static void *wait_for_an_event(void *connection)
{
	qb_ipcc_event_recv(connection, big, sizeof big, -1);
	return NULL;
}

/* Row ipc-cancelled-receive: whoever left it keeps its turn, unless the library was built to clean up (as with sanitizers). */
static void a_cancelled_receive_hurts_nothing_but_its_kind(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *c = kit_connect(k, 8192);
	pthread_t thread;
	void *end = NULL;
	ssize_t n;

	CHECK_EQ(kit_echo(c, 64), 0);
	CHECK_EQ(pthread_create(&thread, NULL, wait_for_an_event, c), 0);
	kit_sleep_ms(100);
	CHECK_EQ(pthread_cancel(thread), 0);
	CHECK_EQ(pthread_join(thread, &end), 0);
	CHECK(end == PTHREAD_CANCELED);
	CHECK_EQ(kit_call(c, KIT_EVENT, 400, 0), 0);
	n = qb_ipcc_event_recv(c, big, sizeof big, 200);
	CHECK(n == 400 || (!on_reference() && n == -EAGAIN));
	CHECK_EQ(kit_echo(c, 64), 0);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

static void note_signal(int number)
{
	(void)number;
}

/* A signal each 20 ms, so no wait comes to the end of its half second. The watchdog keeps SIGALRM. */
static timer_t interrupt_every_wait(void)
{
	struct sigaction action = {.sa_handler = note_signal}; /* without SA_RESTART */
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
	const struct timespec often = {0, 20000000};
	const struct itimerspec when = {often, often};
	timer_t timer;

	CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
	CHECK_EQ(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
	CHECK_EQ(timer_settime(timer, 0, &when, NULL), 0);
	return timer;
}

/* The reference waits for ever for somebody who is gone ("ipc-endless-receive"), so it has a time limit where that matters. */
static void signals_do_not_hide_the_end_of_the_server(void)
{
	const int32_t wait = on_reference() ? 200 : -1;

	for (int call = 0; call < 3; call++) {
		struct kit *k = begin();
		qb_ipcc_connection_t *c = kit_connect(k, 8192);
		struct kit_request r;
		struct iovec iov = {&r, sizeof r};
		timer_t timer;
		ssize_t n;

		kit_request(&r, KIT_DIE, sizeof r);
		CHECK_EQ(kit_echo(c, 64), 0);
		if (call > 0) {
			kit_kill(k);
		}
		timer = interrupt_every_wait();
		switch (call) {
		case 0:
			n = qb_ipcc_sendv_recv(c, &iov, 1, big, sizeof big, -1);
			break;
		case 1:
			n = qb_ipcc_recv(c, big, sizeof big, wait);
			break;
		default:
			n = qb_ipcc_event_recv(c, big, sizeof big, wait);
		}
		timer_delete(timer);
		if (!is_gone(n)) {
			printf("  call %d: %zd\n", call, n);
			check_bad++;
		}
		CHECK_EQ(qb_ipcc_is_connected(c), 0);
		qb_ipcc_disconnect(c);
		if (call == 0) {
			kit_wait_server(k);
		}
		kit_shm_entries(k->server, 1);
	}
}

/* With a time limit, or inside sendv_recv, every implementation notices. */
static void a_server_that_dies_before_it_answers_is_noticed(void)
{
	for (int endless = 0; endless < 2; endless++) {
		struct kit *k = begin();
		qb_ipcc_connection_t *c = kit_connect(k, 8192);
		struct kit_request r;
		struct iovec iov = {&r, sizeof r};

		kit_request(&r, KIT_DIE, sizeof r);
		CHECK(is_gone(qb_ipcc_sendv_recv(c, &iov, 1, big, sizeof big, endless ? -1 : 30000)));
		CHECK_EQ(qb_ipcc_is_connected(c), 0);
		qb_ipcc_disconnect(c);
		kit_wait_server(k);
		kit_shm_entries(k->server, 1);
	}
}

/* Full means -EAGAIN, and the messages that fitted are neither lost nor damaged. */
static void a_full_request_queue_is_reported_and_drains(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *c = kit_connect(k, 8192);
	struct qb_ipc_request_header *h = (void *)big;
	struct kit_reply reply;
	int sent = 0;
	ssize_t n;

	CHECK_EQ(kit_echo(c, 64), 0);
	kill(k->server, SIGSTOP);
	kit_fill(big, 4000, 4000);
	h->id = KIT_SILENT;
	h->size = 4000;
	while ((n = qb_ipcc_send(c, big, 4000)) == 4000) {
		sent++;
	}
	CHECK_EQ(n, -EAGAIN);
	CHECK(sent >= 2);
	CHECK_EQ(qb_ipcc_is_connected(c), 1);
	CHECK_EQ(qb_ipcc_recv(c, &reply, sizeof reply, 0), -ETIMEDOUT);
	kill(k->server, SIGCONT);
	KIT_WAIT(k->silent == sent);
	CHECK_EQ(k->bad_silent, 0);
	CHECK_EQ(kit_echo(c, 64), 0);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

static void a_refused_asynchronous_connect_leaks_nothing(void)
{
	struct kit *k = kit_new(T);
	int before, fd;

	k->opt.accept_result = -EACCES;
	kit_start(k);
	CHECK(qb_ipcc_connect(k->name, 8192) == NULL); /* first-use allocations */
	before = kit_count_fds();
	for (int i = 0; i < 20; i++) {
		qb_ipcc_connection_t *c = qb_ipcc_connect_async(k->name, 8192, &fd);

		CHECK(c != NULL);
		CHECK(kit_readable(fd, -1) & POLLIN);
		CHECK_EQ(qb_ipcc_connect_continue(c), -EACCES);
		CHECK(qb_ipcc_connect(k->name, 8192) == NULL);
	}
	CHECK_EQ(kit_count_fds(), before);
	kit_end(k);
}

static void long_names_are_cut_or_refused(void)
{
	static const size_t lengths[] = {40, 106, 107, 150, 235, 236, 260};

	for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
		struct kit *k = kit_new(T);
		size_t used = strlen(k->name);
		qb_ipcc_connection_t *c;

		memset(k->name + used, 'n', lengths[i] - used);
		k->name[lengths[i]] = '\0';
		kit_start(k);
		CHECK_EQ(k->run_result, 0);
		errno = 0;
		c = qb_ipcc_connect(k->name, 8192);
		if (lengths[i] <= (T == QB_IPC_SHM ? 235 : 40)) {
			CHECK(c != NULL);
			CHECK_EQ(kit_echo(c, 64), 0);
		} else {
			CHECK(c == NULL);
			CHECK(errno > 0);
			if (T == QB_IPC_SHM) {
				CHECK_EQ(errno, EINVAL);
			}
		}
		qb_ipcc_disconnect(c);
		kit_end(k);
	}
}

static void exhausted_descriptors_fail_the_connect_cleanly(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *c = kit_connect(k, 8192);
	struct rlimit was, limit;
	int before, worked = 0;
	const char *preload = getenv("LD_PRELOAD");
	int emulated = preload != NULL && strstr(preload, "vgpreload") != NULL; /* valgrind keeps limits of its own */

	qb_ipcc_disconnect(c);
	before = kit_count_fds();
	getrlimit(RLIMIT_NOFILE, &was);
	for (int extra = 0; extra < 16; extra++) {
		limit = was;
		limit.rlim_cur = (rlim_t)(before + extra);
		setrlimit(RLIMIT_NOFILE, &limit);
		errno = 0;
		c = qb_ipcc_connect(k->name, 8192);
		setrlimit(RLIMIT_NOFILE, &was);
		if (c == NULL) {
			CHECK_EQ(errno, EMFILE);
		} else {
			worked++;
			CHECK_EQ(kit_echo(c, 64), 0);
			qb_ipcc_disconnect(c);
		}
		CHECK_EQ(kit_count_fds(), before);
	}
	CHECK(emulated || (worked > 0 && worked < 16));
	c = kit_connect(k, 8192);
	CHECK_EQ(kit_echo(c, 64), 0);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

int main(int argc, char **argv)
{
	kit_main(argc, argv);
	RUN(nobody_listening_is_connection_refused);
	RUN(no_connection_is_an_invalid_argument);
	RUN(the_largest_datagram_is_what_the_kernel_carries);
	RUN_OURS(an_absurd_datagram_size_is_cut_down_or_refused, "ipc-verify-dgram-huge");
	for (int transport = 0; transport < 2; transport++) {
		T = transport == 0 ? QB_IPC_SHM : QB_IPC_SOCKET;
		run_scenarios();
		RUN_OURS(missing_names_and_buffers_are_invalid_arguments, "ipc-null-arguments");
		RUN_T(the_context_is_the_callers);
		RUN_OURS(waiting_for_ever_ends_with_the_server, "ipc-endless-receive");
		RUN_T(a_server_that_dies_before_it_answers_is_noticed);
		RUN_T(signals_do_not_hide_the_end_of_the_server);
		RUN_T(a_full_request_queue_is_reported_and_drains);
		RUN_T(a_refused_asynchronous_connect_leaks_nothing);
		RUN_T(long_names_are_cut_or_refused);
		RUN_T(a_cancelled_receive_hurts_nothing_but_its_kind);
		if (T == QB_IPC_SHM) {
			RUN_T(exhausted_descriptors_fail_the_connect_cleanly);
			RUN_T(a_buffer_too_small_leaves_the_message);
			RUN_T(a_buffer_too_small_does_not_disconnect);
		} else {
			RUN_OURS(exhausted_descriptors_fail_the_connect_cleanly, "ipc-descriptors-socket");
			RUN_OURS(a_buffer_too_small_leaves_the_message, "ipc-small-buffer-socket");
		}
	}
	return check_done();
}

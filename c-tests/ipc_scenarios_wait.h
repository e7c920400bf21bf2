/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Waits: what ends them, and what a server that is busy for a while must not miss. Included by ipc_scenarios.h. */

#include <pthread.h>
#include <signal.h>

/* So many events of 64 bytes come. */
static void expect_events(qb_ipcc_connection_t *c, int count)
{
	for (int i = 0; i < count; i++) {
		ssize_t n = qb_ipcc_event_recv(c, big, sizeof big, 10000);

		if (n != 64) {
			CHECK_EQ(n, 64);
			printf("  event %d of %d\n", i, count);
			break;
		}
	}
}

/* More requests than their announcements have room for wait for a server that then takes them one by one. */
static void each_request_to_a_busy_server_is_handled(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *c = kit_connect(k, 65536);
	int sent = 0;

	kit_rate(k, QB_IPCS_RATE_SLOW);
	CHECK_EQ(kit_send(c, KIT_SLEEP, 700, 0), sizeof(struct kit_request));
	kit_sleep_ms(50);
	while (sent < 400 && kit_send(c, KIT_EVENT, 64, 0) == sizeof(struct kit_request)) {
		sent++;
	}
	CHECK(sent > 200);
	expect_events(c, sent);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

/* A server takes the bytes of many requests together, some time after it has answered them, and may answer one several times.
 * Nothing of that may leave it waiting for a byte. */
static void requests_that_follow_many_answers_are_handled(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *c = kit_connect(k, 65536), *other;
	int sent = 0;

	kit_rate(k, QB_IPCS_RATE_FAST);
	for (int i = 0; i < 10; i++) {
		CHECK_EQ(kit_send(c, KIT_ANSWERS, 20, 0), sizeof(struct kit_request));
	}
	CHECK_EQ(kit_send(c, KIT_SLEEP, 700, 0), sizeof(struct kit_request));
	while (sent < 150 && kit_send(c, KIT_EVENT, 64, 0) == sizeof(struct kit_request)) {
		sent++;
	}
	for (int i = 0; i < 200; i++) {
		CHECK_EQ(qb_ipcc_recv(c, big, sizeof big, 10000), sizeof(struct kit_reply));
	}
	while (sent < 700 && kit_send(c, KIT_EVENT, 64, 0) == sizeof(struct kit_request)) {
		sent++;
	}
	CHECK(sent > 200);
	expect_events(c, sent);
	other = kit_connect(k, 8192);
	CHECK_EQ(kit_echo(other, 64), 0); /* nobody has to wait for a byte of `c` */
	qb_ipcc_disconnect(other);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

static void is_interrupted(int number)
{
	(void)number;
}

/* A child that interrupts this process again and again, and lets `stopped` go on after a while: on the reference only when this process
 * has certainly been interrupted first. */
static pid_t interrupter(pid_t stopped)
{
	struct sigaction action = {.sa_handler = is_interrupted};
	pid_t parent = getpid(), child;
	int when = on_reference() ? 500 : 20;

	CHECK_EQ(sigaction(SIGUSR1, &action, NULL), 0);
	child = fork();
	if (child == 0) {
		for (int i = 0; getppid() == parent; i++) {
			kit_sleep_ms(20);
			kill(i == when && stopped > 0 ? stopped : parent, i == when && stopped > 0 ? SIGCONT : SIGUSR1);
		}
		_exit(0);
	}
	return child;
}

static void end_interrupter(pid_t child)
{
	CHECK_EQ(kill(child, SIGKILL), 0);
	while (waitpid(child, NULL, 0) != child && errno == EINTR) {
	}
}

/* So that the program can do what its handler has noted. */
static void a_signal_ends_the_wait_for_an_event(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *c = kit_connect(k, 8192);
	pid_t child = interrupter(0);

	CHECK_EQ(qb_ipcc_event_recv(c, big, sizeof big, -1), -EAGAIN);
	end_interrupter(child);
	CHECK_EQ(kit_call(c, KIT_EVENT, 100, 0), 0);
	CHECK_EQ(qb_ipcc_event_recv(c, big, sizeof big, 20000), 100);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

/* An answer that is given up would be taken for the next one's. */
static void a_signal_does_not_end_the_wait_for_a_response(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *c = kit_connect(k, 8192);
	struct kit_reply reply;
	pid_t child;

	/* Where an interruption shows, it must have come before the answer does. */
	CHECK_EQ(kit_send(c, KIT_SLEEP, on_reference() && T == QB_IPC_SOCKET ? 3000 : 300, 0), sizeof(struct kit_request));
	child = interrupter(0);
	CHECK_EQ_COMPAT(qb_ipcc_recv(c, &reply, sizeof reply, 10000), T == QB_IPC_SHM ? (int)sizeof reply : -ETIMEDOUT, sizeof reply,
			"ipc-interrupted-wait");
	end_interrupter(child);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

static void a_signal_does_not_end_a_connect(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *c;
	pid_t child;

	CHECK_EQ(kill(k->server, SIGSTOP), 0);
	child = interrupter(k->server);
	c = qb_ipcc_connect(k->name, 8192);
	CHECK_EQ_COMPAT(c == NULL ? errno : 0, EAGAIN, 0, "ipc-interrupted-wait");
	end_interrupter(child);
	CHECK_EQ(kill(k->server, SIGCONT), 0);
	qb_ipcc_disconnect(c);
	if (c == NULL) {
		kit_kill(k); /* which has a client that gave up */
	}
	kit_end(k);
}

/* A main loop that calls this too early must not stand still. */
static void a_connect_continued_before_the_answer_is_there_fails(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *c;
	int fd = -1;

	CHECK_EQ(kill(k->server, SIGSTOP), 0);
	c = qb_ipcc_connect_async(k->name, 8192, &fd);
	CHECK(c != NULL);
	CHECK_EQ(qb_ipcc_connect_continue(c), -EAGAIN); /* which has freed c */
	CHECK_EQ(kill(k->server, SIGCONT), 0);
	c = kit_connect(k, 8192);
	CHECK_EQ(kit_echo(c, 64), 0);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

static void *receives_for_a_while(void *c)
{
	static char buffer[8192];

	CHECK_EQ(qb_ipcc_recv(c, buffer, sizeof buffer, 700), -ETIMEDOUT);
	return NULL;
}

/* -EAGAIN would say of qb_ipcc_sendv_recv() that nothing was sent. */
static void a_receive_beside_another_one_times_out_as_always(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *c = kit_connect(k, 8192);
	pthread_t other;

	CHECK_EQ(pthread_create(&other, NULL, receives_for_a_while, c), 0);
	kit_sleep_ms(100);
	CHECK_EQ(qb_ipcc_recv(c, big, sizeof big, 0), -ETIMEDOUT);
	CHECK_EQ(qb_ipcc_recv(c, big, sizeof big, 100), -ETIMEDOUT);
	CHECK_EQ(pthread_join(other, NULL), 0);
	CHECK_EQ(kit_echo(c, 64), 0);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

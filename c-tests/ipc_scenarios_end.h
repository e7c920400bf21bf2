/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The part of ipc_scenarios.h about how connections end: by either side, orderly or not. Included there only. */
#ifndef IPC_SCENARIOS_END_H
#define IPC_SCENARIOS_END_H

static void a_client_that_disconnects_is_closed_and_destroyed(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *c = kit_connect(k, 8192);

	CHECK_EQ(kit_echo(c, 64), 0);
	qb_ipcc_disconnect(c);
	KIT_WAIT(k->destroyed == 1);
	CHECK_STR(k->trace, "accept created closed destroyed");
	KIT_WAIT(kit_shm_entries(k->server, 0) == 0);
	c = kit_connect(k, 8192);
	CHECK_EQ(kit_echo(c, 64), 0);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

/* Forks a client that has used its connection, and returns when it is about to wait for ever (or has exited). */
static qb_ipcc_connection_t *abandoned; /* still reachable, says a leak checker */

static pid_t forked_client(struct kit *k, int and_exit)
{
	pid_t pid = fork();

	if (pid == 0) {
		qb_ipcc_connection_t *c = abandoned = kit_connect(k, 8192);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		CHECK_EQ(kit_echo(c, 64), 0);
		kit_call(c, KIT_EVENT, 100, 0);
		k->probe[7] = 1;
		if (and_exit) {
			_exit(check_bad != 0);
		}
		pause();
	}
	while (k->probe[7] != 1) {
		siginfo_t info = {0};

		/* A child that could not connect has complained already. */
		if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid &&
		    k->probe[7] != 1) {
			check_bad++;
			_exit(1);
		}
		kit_sleep_ms(1);
	}
	return pid;
}

static void a_client_that_dies_is_closed_and_destroyed(void)
{
	for (int exits = 0; exits < 2; exits++) {
		struct kit *k = begin();
		pid_t pid = forked_client(k, exits);
		int status;

		if (!exits) {
			kill(pid, SIGKILL);
		}
		waitpid(pid, &status, 0);
		CHECK_EQ(status, exits ? 0 : SIGKILL);
		KIT_WAIT(k->destroyed == 1);
		CHECK_STR(k->trace, "accept created closed destroyed");
		KIT_WAIT(kit_shm_entries(k->server, 0) == 0);
		qb_ipcc_connection_t *c = kit_connect(k, 8192);
		CHECK_EQ(kit_echo(c, 64), 0);
		qb_ipcc_disconnect(c);
		kit_end(k);
	}
}

static int is_gone(int64_t error)
{
	return error == -ENOTCONN || error == -ECONNRESET || error == -ECONNREFUSED || error == -EPIPE;
}

/* The server's end, seen by one call of each kind as the first that notices. */
static void server_gone(int how)
{
	for (int first = 0; first < 6; first++) {
		struct kit *k = begin();
		qb_ipcc_connection_t *c = kit_connect(k, 8192);
		struct kit_request r;
		ssize_t n = 0;

		kit_request(&r, KIT_SILENT, sizeof r);
		CHECK_EQ(kit_echo(c, 64), 0);
		if (how == 0) {
			kill(k->server, SIGKILL);
		} else {
			/* A server that takes the request before its byte comes may be gone then. */
			n = kit_send(c, how, 0, 0);
			CHECK(n == (ssize_t)sizeof r || is_gone(n));
			n = 0;
		}
		if (how == KIT_DISCONNECT || how == KIT_DESTROY) {
			KIT_WAIT(k->destroyed == 1);
		} else {
			kit_wait_server(k);
		}
		if (!kit_has_files(k, T)) {
			usleep(25000); /* ipc-sealed-end: a send within a clock tick of the server's death may still succeed */
		}
		switch (first) {
		case 0:
			n = qb_ipcc_send(c, &r, sizeof r);
			break;
		case 1:
			n = qb_ipcc_recv(c, big, sizeof big, 0);
			break;
		case 2:
			n = qb_ipcc_recv(c, big, sizeof big, 200);
			break;
		case 3:
			n = qb_ipcc_event_recv(c, big, sizeof big, -1);
			break;
		case 4:
			n = kit_call(c, KIT_STATS, 0, 0);
			break;
		case 5:
			n = qb_ipcc_is_connected(c) ? 0 : -ENOTCONN;
			break;
		}
		if (!is_gone(n)) {
			printf("  call %d after end %d: %zd\n", first, how, n);
			check_bad++;
		}
		CHECK(is_gone(qb_ipcc_send(c, &r, sizeof r)));
		CHECK(is_gone(qb_ipcc_recv(c, big, sizeof big, 100)));
		CHECK(is_gone(qb_ipcc_event_recv(c, big, sizeof big, 0)));
		CHECK_EQ(qb_ipcc_is_connected(c), 0);
		qb_ipcc_disconnect(c);
		if (k->control >= 0) {
			kit_end(k);
		} else {
			kit_shm_entries(k->server, 1);
		}
	}
}

static void an_orderly_end_of_the_server_is_noticed(void)
{
	server_gone(KIT_EXIT);
}

static void an_abrupt_exit_of_the_server_is_noticed(void)
{
	server_gone(KIT_ABRUPT);
}

static void a_killed_server_is_noticed(void)
{
	server_gone(0);
}

static void a_disconnect_in_msg_process_is_noticed(void)
{
	server_gone(KIT_DISCONNECT);
}

static void a_destroyed_service_is_noticed(void)
{
	server_gone(KIT_DESTROY);
}

static void a_refused_client_gets_the_reason(void)
{
	static const int reasons[] = {EACCES, ENOMEM, EPERM};

	for (int i = 0; i < 3; i++) {
		struct kit *k = kit_new(T);

		k->opt.accept_result = -reasons[i];
		kit_start(k);
		errno = 0;
		CHECK(qb_ipcc_connect(k->name, 8192) == NULL);
		CHECK_EQ(errno, reasons[i]);
		KIT_WAIT(k->destroyed == 1);
		CHECK_STR(k->trace, "accept destroyed");
		kit_end(k);
	}
}

/* Whether connect() still succeeds is a race that both outcomes of are right; afterwards the client is out. */
static void a_disconnect_in_created_is_noticed(void)
{
	struct kit *k = kit_new(T);

	k->opt.disconnect_in = KIT_IN_CREATED;
	kit_start(k);
	for (int i = 1; i <= 5; i++) {
		qb_ipcc_connection_t *c = qb_ipcc_connect(k->name, 8192);

		if (c != NULL) {
			KIT_WAIT(k->destroyed == i);
			CHECK(is_gone(kit_echo(c, 64)));
			CHECK_EQ(qb_ipcc_is_connected(c), 0);
			qb_ipcc_disconnect(c);
		}
		KIT_WAIT(k->destroyed == i);
		CHECK_EQ(k->created, i);
		CHECK_EQ(k->closed, 0);
	}
	kit_shm_entries(k->server, 1); /* the client may have lost the race for the last file */
	kit_end(k);
}

#endif

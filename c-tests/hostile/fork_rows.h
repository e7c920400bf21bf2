/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Forks: a child that inherits a service or a connection, and exits, disconnects or destroys, does not hurt its parent. The
 * "hostile" process is here the honest peer of the process that forks, or forks itself.
 */
#ifndef FORK_ROWS_H
#define FORK_ROWS_H

#include "client_rows.h"

/* Everything that the connection is for: answers, an event, and no end of file. */
static void all_works(const struct row *row)
{
	struct wire_msg m = wire_message(V_EVENTS, sizeof m);
	struct pollfd p = {w.stream, 0, 0};
	char in[256];
	long n;

	for (int i = 0; i < 3; i++) {
		echo_once();
	}
	wire_send(&w, &m, sizeof m);
	n = wire_recv(&w, in, sizeof in, 5000);
	if (n == sizeof m) {
		n = row->type == QB_IPC_SHM ? wire_take(&w.ring[R_EVENT], in, sizeof in, 5000) : recv(w.events, in, sizeof in, 0);
	}
	if (n != sizeof m || poll(&p, 1, 0) != 0) {
		fprintf(stderr, "the connection is broken: %ld, revents 0x%x\n", n, (unsigned)p.revents);
		_exit(4);
	}
}

/* a: what the service's child does, b: forked in the middle of a callback (0) or from the main loop (1) */
static void fork_of_service(const struct row *row)
{
	struct wire_msg m = wire_message(V_FORK, sizeof m);
	char in[256];

	enter(WIRE_MAX_MSG);
	m.arg[0] = (int32_t)row->a;
	m.arg[1] = (int32_t)row->b;
	for (int round = 1; round <= 2; round++) {
		wire_send(&w, &m, sizeof m);
		if (wire_recv(&w, in, sizeof in, 5000) != sizeof m) {
			fprintf(stderr, "no answer to the request that forks\n");
			_exit(4);
		}
		while (victim.shared->forked < round) {
			wire_ms(1);
		}
		if (victim.shared->fork_status != 0) {
			fprintf(stderr, "the child ends with status 0x%x\n", (unsigned)victim.shared->fork_status);
			_exit(4);
		}
		all_works(row);
	}
	in_place();
}

enum { C_QUICK, C_EXIT, C_KILLED, C_DISCONNECT, C_STAYS, C_IDLE, C_COUNT };

static pid_t client_child(qb_ipcc_connection_t *c, long what)
{
	int status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (what == C_QUICK) {
			_exit(0);
		} else if (what == C_KILLED) {
			raise(SIGKILL);
		} else if (what == C_DISCONNECT || what == C_STAYS) {
			qb_ipcc_disconnect(c);
		}
		while (what == C_STAYS || what == C_IDLE) {
			pause();
		}
		exit(0);
	}
	if (what == C_STAYS || what == C_IDLE) {
		wire_ms(30);
	} else if (waitpid(pid, &status, 0) != pid || (status != 0 && what != C_KILLED)) {
		fprintf(stderr, "the child ends with status 0x%x\n", (unsigned)status);
		_exit(4);
	}
	return pid;
}

static int client_works(qb_ipcc_connection_t *c)
{
	struct wire_msg m = wire_message(V_EVENTS, sizeof m);
	struct iovec iov = {&m, sizeof m};
	char in[256];

	if (qb_ipcc_sendv_recv(c, &iov, 1, in, sizeof in, 5000) != sizeof m) {
		return 0;
	}
	for (int i = 0; i < 64; i++) {
		if (qb_ipcc_event_recv(c, in, sizeof in, 5000) != sizeof m) {
			return 0;
		}
	}
	return qb_ipcc_is_connected(c) != 0;
}

/* a: what the client's child does, b: forked in the middle of an asynchronous connect */
static void fork_of_client(const struct row *row)
{
	qb_ipcc_connection_t *c;
	int fd, before;

	if (row->b) {
		c = qb_ipcc_connect_async(me.service, WIRE_MAX_MSG, &fd);
		if (c != NULL) {
			client_child(c, row->a);
		}
		if (c == NULL || poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 5000) != 1 || qb_ipcc_connect_continue(c) != 0) {
			fprintf(stderr, "the parent cannot connect: %s\n", strerror(errno));
			_exit(4);
		}
	} else {
		c = qb_ipcc_connect(me.service, WIRE_MAX_MSG);
	}
	for (int round = 0; round < 3; round++) {
		if (c == NULL || !client_works(c)) {
			fprintf(stderr, "the parent's connection does not work in round %d\n", round);
			_exit(4);
		}
		client_child(c, row->a);
	}
	in_place();
	/* The server hears of the parent's disconnect although children may still hold descriptors. */
	before = victim.shared->destroyed;
	qb_ipcc_disconnect(c);
	while (victim.shared->destroyed == before) {
		wire_ms(1);
	}
}

static void fork_rows(void)
{
	static const char *const client_names[] = {"leaves at once", "exits", "is killed", "disconnects and exits",
						   "disconnects and lives on", "only lives on"};

	for (int type = QB_IPC_SOCKET; type <= QB_IPC_SHM; type++) {
		for (int what = 0; what < F_COUNT; what++) {
			for (int variant = 0; variant < 6; variant++) {
				int own = variant % 2, where = variant / 2;

				add(type, (where == 2 ? SELF : 0) | (own ? OWN_LOOP : 0), fork_of_service, what, where == 1, 0,
				    "service's child %s%s%s", fork_names[what],
				    where == 0 ? ", from a callback" : where == 1 ? ", from the loop" : ", from a lent request",
				    own ? ", own loop" : "");
			}
		}
		for (int what = 0; what < C_COUNT; what++) {
			add(type, TIDIES, fork_of_client, what, 0, 0, "client's child %s", client_names[what]);
			add(type, TIDIES, fork_of_client, what, 1, 0, "client's child %s, half connected", client_names[what]);
		}
	}
}

#endif

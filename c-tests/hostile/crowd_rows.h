/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Hostile clients in numbers: thousands of handshakes, several users at once, and a service that has few descriptors. */
#ifndef CROWD_ROWS_H
#define CROWD_ROWS_H

#include "client_rows.h"

#define FIRST_UID 60001

enum { M_SILENT, M_UNFINISHED, M_WHOLE, M_GARBAGE, M_COME_AND_GO, M_AGAIN, M_MIXED };
static const char *const crowd_names[] = {"silent connections", "unfinished handshakes", "clients that never open their channels",
					  "handshakes of garbage", "connections that come and go", "silent connections that come back",
					  "of everything"};

static void raise_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int begin_one(int how)
{
	struct wire_request q = {.id = WIRE_AUTH, .size = 24, .max = WIRE_MAX_MSG};
	char junk[500];
	int fd = wire_stream(me.service);

	memset(junk, 0xa5, sizeof junk);
	if (how == M_UNFINISHED || how == M_WHOLE) {
		wire_say(fd, &q, how == M_WHOLE ? sizeof q : 20);
	} else if (how == M_GARBAGE) {
		wire_say(fd, junk, sizeof junk);
	}
	return fd;
}

/* Keeps n connections of a kind; says when they are there. Returns for kinds that need no further work. */
static void keep_many(int how, long n, int ready_fd)
{
	int *fd = calloc((size_t)n, sizeof *fd);

	for (long i = 0; i < n; i++) {
		fd[i] = begin_one(how);
	}
	(void)!write(ready_fd, "r", 1);
	while (how == M_COME_AND_GO || how == M_AGAIN) {
		for (long i = 0; i < n; i++) {
			struct pollfd p = {fd[i], POLLIN, 0};

			if (how == M_COME_AND_GO || poll(&p, 1, 0) != 0) {
				close(fd[i]);
				fd[i] = begin_one(how);
			}
		}
		wire_ms(how == M_AGAIN ? 1000 : 5);
	}
}

/* a: users, b: connections of each, c: of which kind. Each user is a process. */
static void crowd(const struct row *row)
{
	int ready[2];
	char byte;

	raise_descriptors();
	if (pipe(ready) != 0) {
		_exit(4);
	}
	for (long i = 0; i < row->a; i++) {
		if (fork() != 0) {
			continue;
		}
		if (row->a > 1 && (setgid(FIRST_UID + (gid_t)i) != 0 || setuid(FIRST_UID + (uid_t)i) != 0)) {
			_exit(3);
		}
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		keep_many(row->c == M_MIXED ? (int)(i % M_MIXED) : (int)row->c, row->b, ready[1]);
		for (;;) {
			pause();
		}
	}
	for (long i = 0; i < row->a; i++) {
		if (read(ready[0], &byte, 1) != 1) {
			_exit(4);
		}
	}
	wire_ms(10);
	in_place();
	if (row->flags & BUSY) {
		wire_ms((long)attack_time());
	}
}

/* a: how many clients come while the service is stopped; it finds them all at once. b: bytes that each sends. */
static void knocks(const struct row *row)
{
	struct wire_request q = {.id = WIRE_AUTH, .size = 24, .max = WIRE_MAX_MSG};
	struct sockaddr_un address = wire_address(me.service);
	int waiting = 0;

	raise_descriptors();
	kill(victim.pid, SIGSTOP);
	for (long i = 0; i < row->a; i++) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

		if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) {
			wire_say(fd, &q, (size_t)row->b);
			waiting++;
		}
	}
	kill(victim.pid, SIGCONT);
	if (waiting == 0) {
		_exit(4);
	}
	wire_ms(20);
	in_place();
}

/*
 * The process has lost its descriptors, the one kept for this case included: others wait at the door, a: silent, or with a
 * whole request. It keeps calm, and serves again when it has some.
 */
static void no_descriptor_at_all(const struct row *row)
{
	struct wire_msg m = wire_message(V_LIMIT, sizeof m);
	char in[256];

	enter(WIRE_MAX_MSG);
	for (int round = 0; round < 2; round++) {
		m.arg[0] = 4;
		wire_send(&w, &m, sizeof m);
		wire_recv(&w, in, sizeof in, 5000);
		for (int i = 0; i < 5; i++) {
			begin_one(row->a ? M_WHOLE : M_SILENT);
		}
		echo_once();
		if (round == 0) {
			in_place();
			wire_ms(3500); /* as long as the victim is looked at */
		}
		m.arg[0] = 1024;
		wire_send(&w, &m, sizeof m);
		wire_recv(&w, in, sizeof in, 5000);
		echo_once();
	}
}

static void with_descriptors(int n)
{
	rows[row_count - 1].nofile = n;
}

static void crowd_rows(void)
{
	int root = root_rows(2 * (2 * (M_MIXED + 1) + 3));

	for (int type = QB_IPC_SOCKET; type <= QB_IPC_SHM; type++) {
		add(type, 0, crowd, 1, 2000, M_SILENT, "2,000 silent connections");
		add(type, 0, crowd, 1, 2000, M_UNFINISHED, "2,000 unfinished handshakes");
		add(type, 0, crowd, 1, 2000, M_GARBAGE, "2,000 handshakes of garbage");
		for (int bytes = 0; bytes <= 24; bytes += 12) {
			add(type, SELF, knocks, 2000, bytes, 0, "2,000 clients while the service is stopped, %d bytes each", bytes);
		}
		for (int how = M_SILENT; how <= M_MIXED && root; how++) {
			int busy = how == M_COME_AND_GO || how == M_AGAIN || how == M_MIXED ? BUSY : 0;

			add(type, SELF | busy, crowd, 6, 20, how, "6 users with 20 each: %s", crowd_names[how]);
			add(type, SELF | busy | OWN_LOOP, crowd, 6, 20, how, "6 users with 20 each: %s, own loop", crowd_names[how]);
		}
		if (root) {
			add(type, SELF, crowd, 4, 500, M_UNFINISHED, "2,000 unfinished handshakes of 4 users");
		}
		for (int a = 0; a < 2; a++) {
			/* poll(2) wants more descriptors than epoll. */
			add(type, HOPELESS | TIDIES | OWN_LOOP, no_descriptor_at_all, a, 0, 0, "no descriptor at all, others %s",
			    a ? "want in" : "are silent");
		}
		for (int own = 0; own < 2; own++) {
			const char *loop = own ? ", own loop" : "";
			int flags = STEADY | (own ? OWN_LOOP : 0);

			add(type, flags, crowd, 1, 200, M_SILENT, "64 descriptors, 200 idle attackers%s", loop);
			with_descriptors(64);
			add(type, flags | BUSY, crowd, 1, 200, M_AGAIN, "64 descriptors, 200 idle attackers that come back%s", loop);
			with_descriptors(64);
			if (root) {
				add(type, flags | SELF, crowd, 10, 20, M_UNFINISHED, "64 descriptors, 200 idle attackers of 10 users%s", loop);
				with_descriptors(64);
			}
		}
	}
}

#endif

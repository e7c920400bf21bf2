/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The victim of a hostile server: a client that uses every function, with bounds of its own, and what it is judged by. */
#ifndef CLIENT_VICTIM_H
#define CLIENT_VICTIM_H

#include "server_rows.h"

/* Requests to a server that does not take them, or their bytes: there has to be an end, and it is said. */
static void send_until_refused(qb_ipcc_connection_t *c, int answered)
{
	ssize_t n = 0;

	for (int i = 0; n >= 0 && i < 1000000; i++) {
		struct wire_msg m = wire_message(V_SILENT, sizeof m), back;

		n = qb_ipcc_send(c, &m, sizeof m);
		if (answered && n >= 0) {
			EXPECT(qb_ipcc_recv(c, &back, sizeof back, 5000) == sizeof back, "no answer to request %d, which was sent", i);
			qb_ipcc_event_recv(c, &back, sizeof back, 5000);
		}
	}
	EXPECT(n == -EAGAIN, "a send to a server that takes nothing says %d", (int)n);
}

/* The victim: everything that a client does, with bounds of its own. Exits with 0, 10 when it could not connect. */
static _Noreturn void client_main(const struct row *row)
{
	struct holds before = holds_of(getpid()), after;
	double start = now_ms(), cpu = cpu_ms(getpid()), wall;
	qb_ipcc_connection_t *c = connect_with(row->nofile);
	int wait = row->flags & WORKS ? 5000 : 100; /* an honest server answers in the end, on any machine */
	int connected = c != NULL, answers = 0, events = 0, complaints = 0;
	struct { char room[100], guard[100000]; } *in = malloc(sizeof *in);

	memset(in, 0x77, sizeof *in);
	for (int i = 0; i < 6 && c != NULL; i++) {
		struct wire_msg m = wire_message(V_ECHO, sizeof m);
		struct iovec iov = {&m, sizeof m};
		ssize_t n;
		int32_t fd;

		n = i % 2 ? qb_ipcc_sendv_recv(c, &iov, 1, in->room, sizeof in->room, wait + wait / 2) : qb_ipcc_send(c, &m, sizeof m);
		answers += n > 0;
		complaints += n > (ssize_t)sizeof in->room;
		if (i % 2 == 0) {
			n = qb_ipcc_recv(c, in->room, sizeof in->room, wait);
			complaints += n > (ssize_t)sizeof in->room;
			answers += n > 0;
		}
		n = qb_ipcc_event_recv(c, in->room, sizeof in->room, wait);
		complaints += n > (ssize_t)sizeof in->room;
		events += n > 0;
		if (n > 0 && row->b == B_STRANGER) {
			complaints++;
		}
		qb_ipcc_is_connected(c);
		qb_ipcc_fd_get(c, &fd);
	}
	if (c != NULL && row->c == FILLS && (row->b == B_STOP || row->b == B_SILENT || row->b == B_NO_BYTE)) {
		send_until_refused(c, row->b == B_NO_BYTE);
	}
	for (size_t i = 0; i < sizeof in->guard; i++) {
		complaints += in->guard[i] != 0x77;
	}
	qb_ipcc_disconnect(c);
	wall = now_ms() - start;
	cpu = cpu_ms(getpid()) - cpu;
	after = holds_of(getpid());
	EXPECT(complaints == 0, "%d messages that are longer than the buffer, or a stranger's", complaints);
	EXPECT(before.fds == after.fds && before.maps == after.maps, "left over: %d descriptors, %d mappings",
	       after.fds - before.fds, after.maps - before.maps);
	EXPECT(wall < (row->flags & WORKS ? 30000 : 15000), "the calls took %.0f ms, with 2,000 agreed", wall);
	EXPECT((row->flags & BUSY) || cpu < 300, "%.0f ms of processor time in %.0f ms", cpu, wall);
	EXPECT(!(row->flags & FORBIDDEN) || !connected, "the client is connected to what it must refuse");
	EXPECT(!(row->flags & WORKS) || (connected && answers == 9 && events == 6),
	       "an honest exchange fails: connected %d, answers %d, events %d (%s)", connected, answers, events, strerror(errno));
	fflush(stdout);
	_exit(bad != 0);
}

static void check_client(const struct row *row)
{
	char byte, command[200];
	pid_t server, client;
	int ready, status = 0;

	snprintf(victim.name, sizeof victim.name, "qbhostile-%d", (int)getpid());
	server = start_hostile(row, &ready);
	if (read(ready, &byte, 1) != 1) {
		EXPECT(0, "the hostile server does not listen");
	}
	fflush(stdout);
	client = fork();
	if (client == 0) {
		bad = 0;
		alarm(40);
		client_main(row);
	}
	waitpid(client, &status, 0);
	EXPECT(status == 0, "the client ends with status 0x%x", status);
	kill(server, SIGKILL);
	waitpid(server, &status, 0);
	EXPECT(WIFSIGNALED(status), "the hostile server ended by itself (status 0x%x)", status);
	snprintf(command, sizeof command, "rm -rf /dev/shm/qb-%d-*-abcdef*", (int)server);
	(void)!system(command);
}

#endif

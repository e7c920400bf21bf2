/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Hostile clients: handshakes, limits, and the socket transport, third processes included. */
#ifndef PEER_ROWS_H
#define PEER_ROWS_H

#include "client_rows.h"

/* a: bytes of a proper request that are sent; b: then garbage of that length; c: close afterwards. */
static void handshake_bytes(const struct row *row)
{
	struct wire_request q = {.id = WIRE_AUTH, .size = 24, .max = WIRE_MAX_MSG};
	char junk[5000];

	memset(junk, 0x5a, sizeof junk);
	w.stream = wire_stream(me.service);
	wire_say(w.stream, &q, (size_t)row->a);
	if (row->b > 0) {
		wire_say(w.stream, junk, (size_t)row->b);
	}
	wire_ms(5);
	if (row->c) {
		close(w.stream);
	}
	in_place();
}

/* a: id, b: size */
static void handshake_head(const struct row *row)
{
	struct wire_request q = {.id = (int32_t)row->a, .size = (int32_t)row->b, .max = WIRE_MAX_MSG};

	w.stream = wire_stream(me.service);
	wire_say(w.stream, &q, sizeof q);
	wire_ms(5);
	in_place();
}

static void handshake_slow(const struct row *row)
{
	struct wire_request q = {.id = WIRE_AUTH, .size = 24, .max = WIRE_MAX_MSG};

	(void)row;
	w.stream = wire_stream(me.service);
	for (int i = 0; i < 24; i++) {
		if (i == 12) {
			in_place();
		}
		wire_say(w.stream, (char *)&q + i, 1);
		wire_ms(5);
	}
}

/* A request that one user begins (a = 0: an ordinary one, 1: the server's own) and another ends is nobody's. */
static void handshake_of_two(const struct row *row)
{
	struct wire_request q = {.id = WIRE_AUTH, .size = 24, .max = WIRE_MAX_MSG};
	pid_t child;

	w.stream = wire_stream(me.service);
	if (row->a == 1) {
		wire_say(w.stream, &q, 12);
	}
	child = fork();
	if (child == 0) {
		if (setgid(NOBODY) == 0 && setuid(NOBODY) == 0) {
			wire_say(w.stream, (char *)&q + row->a * 12, 12);
		}
		_exit(0);
	}
	waitpid(child, NULL, 0);
	if (row->a == 0) {
		wire_say(w.stream, (char *)&q + 12, 12);
	}
	if (wire_hear(&w) != -ENOTCONN) {
		_exit(4);
	}
	in_place();
}

/* a: how large a message it wants */
static void handshake_size(const struct row *row)
{
	memset(&w, 0, sizeof w);
	w.stream = wire_stream(me.service);
	wire_ask(&w, (uint32_t)row->a);
	if (wire_hear(&w) == 0 && wire_open(&w) == 0) {
		/* What was agreed is less than an echo needs: any outcome will do. */
		struct wire_msg m = wire_message(V_ECHO, sizeof m);

		wire_send(&w, &m, sizeof m);
		if (row->a >= (long)sizeof m) {
			wire_recv(&w, &m, sizeof m, 5000);
		}
	}
	wire_ms(10);
	in_place();
}

/* a: how many at once, b: bytes that each sends, c: whether they come again and again */
static void many(const struct row *row)
{
	struct wire_request q = {.id = WIRE_AUTH, .size = 24, .max = WIRE_MAX_MSG};
	struct sockaddr_un address = wire_address(me.service);
	int *fd = calloc((size_t)row->a, sizeof *fd);
	double end;

	for (long i = 0; i < row->a; i++) {
		fd[i] = wire_stream(me.service);
		wire_say(fd[i], &q, (size_t)row->b);
	}
	in_place();
	for (end = now_ms() + attack_time(); row->c && now_ms() < end;) {
		for (long i = 0; i < row->a; i++) {
			close(fd[i]);
			fd[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
			(void)!connect(fd[i], (struct sockaddr *)&address, sizeof address);
		}
		wire_ms(1);
	}
}

/* Descriptors are sent along, with the request (a = 0) or as doorbells (a = 1): none may stay in the server. */
static void descriptors_along(const struct row *row)
{
	struct wire_request q = {.id = WIRE_AUTH, .size = 24, .max = WIRE_MAX_MSG};
	union { char raw[CMSG_SPACE(sizeof(int) * 100)]; struct cmsghdr align; } space;
	struct iovec iov = {&q, sizeof q};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = space.raw, .msg_controllen = sizeof space.raw};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	memset(&space, 0, sizeof space);
	c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * 100);
	for (int i = 0; i < 100; i++) {
		memcpy(CMSG_DATA(c) + i * (int)sizeof i, &(int){2}, sizeof i);
	}
	if (row->a == 0) {
		w.stream = wire_stream(me.service);
		(void)!sendmsg(w.stream, &m, MSG_NOSIGNAL);
		wire_hear(&w);
	} else {
		enter(WIRE_MAX_MSG);
		(void)!sendmsg(row->type == QB_IPC_SOCKET ? w.requests : w.stream, &m, MSG_NOSIGNAL);
	}
	wire_ms(10);
	in_place();
}

/* a: word of the control file, c: value */
static void control_word(const struct row *row)
{
	enter(WIRE_MAX_MSG);
	for (int i = 0; i < 3; i++) {
		atomic_store(&w.control[row->a], value_of(row, 24));
		use_rings();
	}
	in_place();
}

static _Atomic uint32_t *pick_control(const struct row *row)
{
	return &w.control[row->a];
}

static void control_flips(const struct row *row)
{
	pthread_t thread;
	double end = now_ms() + attack_time();

	enter(WIRE_MAX_MSG);
	flip.word = pick_control(row);
	flip.words = 24;
	pthread_create(&thread, NULL, flipper, NULL);
	in_place();
	while (now_ms() < end) {
		use_rings();
	}
	atomic_store(&flip.stop, 1);
	pthread_join(thread, NULL);
}

/* a: new length of the control file */
static void control_cut(const struct row *row)
{
	struct wire_msg m = wire_message(V_EVENTS, sizeof m);

	enter(WIRE_MAX_MSG);
	if (ftruncate(w.control_fd, row->a) != 0) {
		_exit(4);
	}
	for (int i = 0; i < 3; i++) {
		(void)!send(w.requests, &m, sizeof m, MSG_NOSIGNAL | MSG_DONTWAIT);
	}
	wire_ms(10);
	in_place();
}

/* Raw datagrams to a socket of the connection; a: length, b: 0 request, 1 event-tx, c: 0 from the client, 1 from nowhere */
static void datagrams(const struct row *row)
{
	char *msg = calloc(1, (size_t)row->a + 1);
	int fd;

	enter(WIRE_MAX_MSG);
	if (row->c == 0) {
		fd = row->b ? w.events : w.requests;
	} else {
		fd = wire_datagram(w.answer.name[1], NULL, row->b ? "event-tx" : "request");
	}
	for (int i = 0; i < 20; i++) {
		(void)!send(fd, msg, (size_t)row->a, MSG_NOSIGNAL | MSG_DONTWAIT);
	}
	wire_ms(10);
	in_place();
}

/*
 * Somebody else's datagrams before the client's first (a = 0), or right behind it while the server is stopped and has not
 * connected its socket (a = 1). The service counts what it handles: none may be handled.
 */
static void stranger(const struct row *row)
{
	struct wire_msg m = wire_message(V_STRANGE, sizeof m), own = wire_message(V_ECHO, sizeof own);
	int fd, rc;
	char back[64];

	memset(&w, 0, sizeof w);
	rc = wire_connect(&w, me.service, WIRE_MAX_MSG);
	fd = wire_datagram(w.answer.name[1], NULL, "request");
	if (rc != 0 || fd < 0) {
		_exit(4);
	}
	kill(victim.pid, SIGSTOP);
	if (row->a == 1) {
		wire_send(&w, &own, sizeof own);
	}
	for (int i = 0; i < 3; i++) {
		(void)!send(fd, &m, sizeof m, MSG_NOSIGNAL | MSG_DONTWAIT);
	}
	if (row->a == 0) {
		wire_send(&w, &own, sizeof own);
	}
	kill(victim.pid, SIGCONT);
	if (recv(w.requests, back, sizeof back, 0) != sizeof own) {
		_exit(4);
	}
	wire_ms(20);
	in_place();
}

/* Asks for events and responses but never makes its sockets. */
static void no_sockets(const struct row *row)
{
	struct wire_msg m = wire_message((int)row->a, sizeof m);
	int fd;

	memset(&w, 0, sizeof w);
	w.stream = wire_stream(me.service);
	wire_ask(&w, WIRE_MAX_MSG);
	if (wire_hear(&w) != 0) {
		_exit(4);
	}
	fd = wire_datagram(w.answer.name[1], row->b ? "response" : NULL, "request");
	for (int i = 0; i < 50; i++) {
		(void)!send(fd, &m, sizeof m, MSG_NOSIGNAL | MSG_DONTWAIT);
	}
	if (row->c) {
		close(fd);
	}
	wire_ms(10);
	in_place();
}

static void peer_rows(void)
{
	static const long sizes[] = {0, 1, 12327, 12328, 12329, 65536, 1 << 20, 64 << 20, (64 << 20) + 1, INT32_MAX,
				     2147483648L, 4294967295L};
	static const char *const values[] = {"0", "1", "24", "23", "25", "2^31", "2^32-1", "2^31-1"};
	static const long lengths[] = {0, 1, 8, 15, 16, 24, 12328, 12329, 60000};

	for (int type = QB_IPC_SOCKET; type <= QB_IPC_SHM; type++) {
		for (int close_it = 0; close_it < 2; close_it++) {
			for (int n = 0; n < 24; n += 4) {
				add(type, 0, handshake_bytes, n, 0, close_it, "handshake of %d bytes%s", n,
				    close_it ? ", closed" : "");
			}
			add(type, 0, handshake_bytes, 23, 0, close_it, "handshake of 23 bytes%s", close_it ? ", closed" : "");
			add(type, 0, handshake_bytes, 24, 5000, close_it, "handshake and garbage%s", close_it ? ", closed" : "");
			add(type, 0, handshake_bytes, 0, 5000, close_it, "garbage%s", close_it ? ", closed" : "");
		}
		add(type, 0, handshake_head, 0, 24, 0, "handshake with id 0");
		add(type, 0, handshake_head, WIRE_DISCONNECT, 24, 0, "handshake with id -2");
		add(type, 0, handshake_head, INT32_MIN, 24, 0, "handshake with the least id");
		add(type, 0, handshake_head, WIRE_AUTH, 0, 0, "handshake says 0 bytes");
		add(type, 0, handshake_head, WIRE_AUTH, -1, 0, "handshake says -1 bytes");
		add(type, 0, handshake_head, WIRE_AUTH, INT32_MAX, 0, "handshake says 2^31-1 bytes");
		for (int first = 0; first < 2 && root_rows(2); first++) {
			add(type, SELF, handshake_of_two, first, 0, 0, "handshake of two users, %s", first ? "own first" : "own last");
		}
		add(type, BUSY, handshake_slow, 0, 0, 0, "handshake byte by byte");
		for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
			add(type, 0, handshake_size, sizes[i], 0, 0, "client wants %ld bytes", sizes[i]);
		}
		add(type, 0, many, 300, 0, 0, "300 silent connections");
		add(type, SELF, many, 300, 0, 0, "300 silent connections, own user");
		add(type, 0, many, 300, 20, 0, "300 handshakes never finished");
		add(type, 0, many, 60, 24, 0, "60 clients that never open their channels");
		add(type, BUSY, many, 50, 0, 1, "connections come and go");
		add(type, 0, many, 200, 0, 0, "200 silent connections, 64 descriptors");
		rows[row_count - 1].nofile = 64;
		add(type, SELF, many, 200, 0, 0, "200 silent connections, 64 descriptors, own user");
		rows[row_count - 1].nofile = 64;
		add(type, 0, many, 200, 20, 0, "200 unfinished handshakes, 64 descriptors");
		rows[row_count - 1].nofile = 64;
		add(type, BUSY, many, 100, 0, 1, "connections come and go, 64 descriptors");
		rows[row_count - 1].nofile = 64;
		add(type, NO_ROOM, many, 60, 24, 0, "60 whole connections, 64 descriptors");
		rows[row_count - 1].nofile = 64;
		add(type, 0, descriptors_along, 0, 0, 0, "descriptors come with the handshake");
		add(type, 0, descriptors_along, 1, 0, 0, "descriptors come later");
	}
	for (int word = 0; word < 6; word++) {
		for (int v = 0; v < 8; v++) {
			add(QB_IPC_SOCKET, 0, control_word, word, 0, v, "control word %d is %s", word, values[v]);
		}
		add(QB_IPC_SOCKET, BUSY, control_flips, word, 0, 0, "control word %d flips", word);
	}
	add(QB_IPC_SOCKET, 0, control_cut, 0, 0, 0, "control file cut to 0");
	add(QB_IPC_SOCKET, 0, control_cut, 8, 0, 0, "control file cut to 8");
	for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		for (int where = 0; where < 4; where++) {
			add(QB_IPC_SOCKET, 0, datagrams, lengths[i], where % 2, where / 2, "datagrams of %ld bytes to %s from %s",
			    lengths[i], where % 2 ? "event-tx" : "request", where / 2 ? "a stranger" : "the client");
		}
	}
	add(QB_IPC_SOCKET, SELF, stranger, 0, 0, 0, "a stranger's datagrams before the client's first");
	add(QB_IPC_SOCKET, SELF, stranger, 1, 0, 0, "a stranger's datagrams right behind the client's first");
	add(QB_IPC_SOCKET, 0, no_sockets, V_EVENTS, 1, 0, "events for a client without an event socket");
	add(QB_IPC_SOCKET, 0, no_sockets, V_EVENTS, 0, 0, "requests of a client without sockets");
	add(QB_IPC_SOCKET, 0, no_sockets, V_ECHO, 1, 1, "the response socket is gone");
}

#endif

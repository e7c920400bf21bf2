/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Hostile servers against a client on our library: answers that lie, files that are not what they should be, shared words
 * and rings that make no sense, and a server that stops at any step.
 */
#ifndef SERVER_ROWS_H
#define SERVER_ROWS_H

#include "campaign.h"
#include "client_rows.h"

enum { /* what is wrong with the answer */
	A_FINE, A_ID, A_SIZE, A_TYPE, A_ERROR_POSITIVE, A_ERROR_LEAST, A_MAX_0, A_MAX_HUGE, A_MAX_MOST, A_MAX_LESS, A_MAX_MORE,
	A_UNTERMINATED, A_EMPTY, A_RELATIVE, A_OUTSIDE, A_DOTS, A_OTHER_PID, A_BYSTANDER, A_SOCKET_BASE, A_SHORT, A_SHORT_STALL,
	A_STALL, A_CLOSE, A_LONG, A_SYMLINKS, A_HARD_LINKS, A_DIR_LINK, A_FILE_SHORT, A_FILE_LONG, A_FILE_EMPTY, A_FIFO, A_FOREIGN,
	A_WORD_SIZE, A_MISSING, A_SLOW, A_NAMES_TAKEN, A_DESCRIPTORS, A_TWO_PROCESSES, A_COUNT
};
static const char *const answer_names[] = {
	"is fine", "has a wrong id", "has a wrong size", "names an unknown transport", "has a positive error", "has the least error",
	"agrees on 0 bytes", "agrees on 2^31-1 bytes", "agrees on 2^32-1 bytes", "agrees on less than the files hold",
	"agrees on more than the files hold", "has unterminated names", "has empty names", "has relative names",
	"names files elsewhere", "names files by way of ..", "names another client's directory", "names a bystander's file",
	"has a base elsewhere", "is cut short", "stops half way", "never comes", "is an end of file", "is followed by more",
	"names symbolic links", "names hard links", "names a link to a directory", "names files that are too short",
	"names files that are too long", "names empty files", "names fifos", "names files of a third user",
	"has a ring of another length", "names files that are not there", "comes in pieces",
	"names sockets that a third process has taken", "comes with descriptors", "comes from two processes"};

enum { /* what is wrong afterwards */
	B_SERVE, B_SILENT, B_STOP, B_EXIT, B_CLOSE, B_WORD, B_FLIP, B_DATA_FLIP, B_COUNTS, B_BIG_CHUNK, B_BAD_SIZE, B_BAD_MAGIC,
	B_BELLS, B_BELL_FLOOD, B_EVENT_NO_BELL, B_CUT_HEADERS, B_CUT_DATA, B_CUT_IN_USE, B_DELETE, B_LINKS, B_LENGTHS, B_STRANGER,
	B_FLOW, B_NO_BYTE, B_DEAF
};

enum { FILLS = 1 }; /* row->c with B_STOP, B_SILENT and B_NO_BYTE: the client sends until it is told to stop */

static char fake_dir[300];

static unsigned char *fake_file(const char *path, size_t len, int *fd)
{
	unsigned char *p;

	*fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (*fd < 0 || ftruncate(*fd, (off_t)len) != 0) {
		_exit(4);
	}
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	return p == MAP_FAILED ? NULL : p;
}

static void fake_rings(void)
{
	static const char *const kinds[] = {"request", "response", "event"};
	size_t len = (WIRE_MAX_MSG + 13 + 4095) / 4096 * 4096;

	for (int i = 0; i < 3; i++) {
		struct wire_ring *r = &w.ring[i];
		char path[4200];

		snprintf(w.answer.name[i], sizeof w.answer.name[i], "%.280s/qb-%s-%s", fake_dir, kinds[i], me.service);
		snprintf(path, sizeof path, "%s-header", w.answer.name[i]);
		r->header = fake_file(path, WIRE_HEADER_LEN, &r->hfd);
		snprintf(path, sizeof path, "%s-data", w.answer.name[i]);
		r->data = fake_file(path, len, &r->dfd);
		r->words = (uint32_t)(len / 4);
		*wire_word(r, W_SIZE) = r->words;
		*wire_word(r, W_REFS) = 1;
		*wire_word(r, W_SEM_PRIVATE) = 128;
		*wire_data(r, 0) = 5;
	}
}

static int fake_bound(const char *end)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un a;
	char name[400];

	snprintf(name, sizeof name, "%.300s-%s", w.answer.name[1], end);
	a = wire_address(name);
	if (bind(fd, (struct sockaddr *)&a, sizeof a) != 0) {
		_exit(4);
	}
	return fd;
}

static void fake_sockets(void)
{
	snprintf(w.answer.name[0], sizeof w.answer.name[0], "%.280s/qb-control-%s", fake_dir, me.service);
	snprintf(w.answer.name[1], sizeof w.answer.name[1], "%.280s/qb-%s", fake_dir, me.service);
	w.control = (void *)fake_file(w.answer.name[0], 24, &w.control_fd);
	w.requests = fake_bound("request");
	w.events = fake_bound("event-tx");
}

/* Does something to every file that the answer names. */
static void each_file(int type, void (*act)(const char *path))
{
	for (int i = 0; i < (type == QB_IPC_SHM ? 6 : 1); i++) {
		char path[4200];

		snprintf(path, sizeof path, "%.4100s%s", w.answer.name[i / 2],
			 type != QB_IPC_SHM ? "" : i % 2 ? "-data" : "-header");
		act(path);
	}
}
static void to_symlink(const char *path)
{
	unlink(path);
	(void)!symlink(me.bystander, path);
}
static void to_hard_link(const char *path)
{
	char other[4300];

	snprintf(other, sizeof other, "%.4100s-second", path);
	(void)!link(path, other);
}
static void to_short(const char *path)
{
	(void)!truncate(path, 20);
}
static void to_long(const char *path)
{
	(void)!truncate(path, 1 << 20);
}
static void to_empty(const char *path)
{
	(void)!truncate(path, 0);
}
static void to_fifo(const char *path)
{
	unlink(path);
	(void)!mkfifo(path, 0666);
}
static void to_foreign(const char *path)
{
	(void)!chown(path, 1234, 1234);
	(void)!chmod(path, 0666);
}
static void to_nothing(const char *path)
{
	unlink(path);
}

static void name_all(int type, const char *name)
{
	for (int i = 0; i < (type == QB_IPC_SHM ? 3 : 2); i++) {
		snprintf(w.answer.name[i], sizeof w.answer.name[i], "%s", name);
	}
}

static size_t spoil_answer(const struct row *row)
{
	struct wire_response *a = &w.answer;
	char text[700];

	switch (row->a) {
	case A_ID: a->id = 7; break;
	case A_SIZE: a->size = -1; break;
	case A_TYPE: a->type = 7; break;
	case A_ERROR_POSITIVE: a->error = 7; break;
	case A_ERROR_LEAST: a->error = INT32_MIN; break;
	case A_MAX_0: a->max = 0; break;
	case A_MAX_HUGE: a->max = INT32_MAX; break;
	case A_MAX_MOST: a->max = UINT32_MAX; break;
	case A_MAX_LESS: a->max = 100; break;
	case A_MAX_MORE: a->max = 100000; break;
	case A_UNTERMINATED: memset(a->name, 'A', sizeof a->name); break;
	case A_EMPTY: memset(a->name, 0, sizeof a->name); break;
	case A_RELATIVE: name_all(row->type, "qb-here"); break;
	case A_OUTSIDE: name_all(row->type, me.outside); break;
	case A_DOTS:
		snprintf(text, sizeof text, "%s/../../../%s", fake_dir, me.bystander);
		name_all(row->type, text);
		break;
	case A_OTHER_PID:
		snprintf(text, sizeof text, "/dev/shm/qb-%d-1-5-abcdef/qb-x", (int)getpid());
		name_all(row->type, text);
		break;
	case A_BYSTANDER: name_all(row->type, me.bystander); break;
	case A_SOCKET_BASE: snprintf(a->name[1], sizeof a->name[1], "/dev/shm/elsewhere/qb"); break;
	case A_SYMLINKS: each_file(row->type, to_symlink); break;
	case A_HARD_LINKS: each_file(row->type, to_hard_link); break;
	case A_FILE_SHORT: each_file(row->type, to_short); break;
	case A_FILE_LONG: each_file(row->type, to_long); break;
	case A_FILE_EMPTY: each_file(row->type, to_empty); break;
	case A_FIFO: each_file(row->type, to_fifo); break;
	case A_FOREIGN: each_file(row->type, to_foreign); break;
	case A_MISSING: each_file(row->type, to_nothing); break;
	case A_NAMES_TAKEN:
		fake_bound("response");
		fake_bound("event");
		break;
	case A_DIR_LINK:
		snprintf(text, sizeof text, "%s-moved", fake_dir);
		(void)!rename(fake_dir, text);
		(void)!symlink(text, fake_dir);
		break;
	case A_WORD_SIZE:
		for (int i = 0; i < 3 && row->type == QB_IPC_SHM; i++) {
			*wire_word(&w.ring[i], W_SIZE) = 100000;
		}
		break;
	case A_SHORT:
	case A_SHORT_STALL: return 5000;
	case A_STALL:
	case A_CLOSE: return 0;
	default: break;
	}
	return sizeof w.answer;
}

/* Sends a response or event of this length, with whatever the chunk should say. */
static void fake_send(const struct row *row, int ring, uint32_t says, size_t len, int bell)
{
	static char msg[200000];
	struct wire_msg m = wire_message(V_ECHO, (int)len);

	memcpy(msg, &m, sizeof m);
	if (row->type == QB_IPC_SHM) {
		struct wire_ring *r = &w.ring[ring];

		wire_alloc(r);
		wire_fill(r, msg, len < (size_t)r->words * 4 - 12 ? len : 100);
		wire_commit(r, says, len < (size_t)r->words * 4 - 12 ? len : 100);
		wire_post(r);
		if (ring == R_EVENT && bell) {
			wire_ring_bell(&w, 1);
		}
	} else {
		char name[400];
		struct sockaddr_un to;

		snprintf(name, sizeof name, "%.300s-%s", w.answer.name[1], ring == R_EVENT ? "event" : "response");
		to = wire_address(name);
		(void)!sendto(ring == R_EVENT ? w.events : w.requests, msg, len, MSG_NOSIGNAL | MSG_DONTWAIT,
			      (struct sockaddr *)&to, sizeof to);
	}
}

static int fake_request(const struct row *row)
{
	char msg[20000], byte;

	if (row->type != QB_IPC_SHM) {
		return recv(w.requests, msg, sizeof msg, MSG_DONTWAIT) > 0;
	}
	if (wire_take(&w.ring[R_REQUEST], msg, sizeof msg, 1) < 0) {
		return 0;
	}
	if (row->b != B_NO_BYTE) {
		(void)!recv(w.stream, &byte, 1, MSG_DONTWAIT);
	}
	return 1;
}

static void start_flip(_Atomic uint32_t *word)
{
	pthread_t thread;

	flip.word = word;
	flip.words = w.ring[0].words ? w.ring[0].words : 24;
	pthread_create(&thread, NULL, flipper, NULL);
}

/* After the answer: what row->b says, until the row ends. */
static void misbehave(const struct row *row)
{
	int shm = row->type == QB_IPC_SHM, served = 0;
	double end = now_ms() + 20000; /* or until the row is over */

	if (row->b == B_FLIP) {
		start_flip(row->c < 0 ? NULL : shm ? wire_word(&w.ring[row->c / 10000], (unsigned)(row->c % 10000)) : &w.control[row->c]);
	} else if (row->b == B_DATA_FLIP) {
		start_flip(wire_data(&w.ring[row->c / 10], (uint32_t)(row->c % 10)));
	}
	while (now_ms() < end) {
		switch (row->b) {
		case B_SILENT: break;
		case B_STOP: raise(SIGSTOP); break;
		case B_CLOSE: shutdown(w.stream, SHUT_RDWR); return;
		case B_DEAF: shutdown(w.stream, SHUT_RD); break;
		case B_EXIT: kill(getpid(), SIGKILL); break;
		case B_WORD:
			if (shm) {
				struct row value = *row;

				value.c = row->c % 10;
				for (int i = 0; i < 3; i++) {
					atomic_store(wire_word(&w.ring[i], (unsigned)(row->c / 10)), value_of(&value, w.ring[i].words));
				}
			} else {
				struct row value = *row;

				value.c = row->c % 10;
				atomic_store(&w.control[row->c / 10], value_of(&value, 24));
			}
			break;
		case B_COUNTS:
			atomic_store(wire_word(&w.ring[R_RESPONSE], W_SEM), (uint32_t)row->c);
			atomic_store(wire_word(&w.ring[R_EVENT], W_SEM), (uint32_t)row->c);
			break;
		case B_BIG_CHUNK:
			fake_send(row, R_RESPONSE, 8000, 8000, 0);
			fake_send(row, R_EVENT, 8000, 8000, 1);
			wire_ms(2000);
			break;
		case B_LENGTHS:
			fake_send(row, R_RESPONSE, (uint32_t)row->c, (size_t)row->c, 0);
			fake_send(row, R_EVENT, (uint32_t)row->c, (size_t)row->c, 1);
			wire_ms(5);
			break;
		case B_BAD_SIZE:
		case B_BAD_MAGIC:
			for (int i = R_RESPONSE; i <= R_EVENT; i++) {
				struct row value = *row;
				uint32_t v = value_of(&value, w.ring[i].words), magic = row->b == B_BAD_MAGIC ? v : WIRE_READY;

				atomic_store(wire_data(&w.ring[i], 0), row->b == B_BAD_MAGIC ? 40 : v);
				atomic_store(wire_data(&w.ring[i], 1), magic);
				wire_post(&w.ring[i]);
			}
			wire_ring_bell(&w, 1);
			wire_ms(500);
			break;
		case B_BELLS:
			wire_ring_bell(&w, 5000);
			wire_ms(3000);
			break;
		case B_BELL_FLOOD: wire_ring_bell(&w, 4096); continue;
		case B_EVENT_NO_BELL:
			fake_send(row, R_EVENT, 40, 40, 0);
			wire_ms(100);
			break;
		case B_CUT_HEADERS:
		case B_CUT_DATA:
			for (int i = 0; i < 3; i++) {
				(void)!ftruncate(row->b == B_CUT_HEADERS ? w.ring[i].hfd : w.ring[i].dfd, row->c);
			}
			if (!shm) {
				(void)!ftruncate(w.control_fd, row->c);
			}
			wire_ms(3000);
			break;
		case B_CUT_IN_USE:
			for (int i = 0; i < 3; i++) {
				(void)!ftruncate(w.ring[i].dfd, 0);
				(void)!ftruncate(w.ring[i].dfd, (off_t)w.ring[i].words * 4);
			}
			continue;
		case B_DELETE: each_file(row->type, to_nothing); break;
		case B_LINKS: each_file(row->type, to_symlink); break;
		case B_STRANGER: {
			/* Not through the server's sockets: the client must not see it. c: from another user. */
			static const char *const ends[] = {"response", "event"};
			struct wire_msg m = wire_message(V_STRANGE, sizeof m);

			if (row->c && geteuid() == 0 && setresuid(1234, 1234, 0) != 0) {
				_exit(4);
			}
			for (int i = 0; i < 2; i++) {
				char name[400];
				struct sockaddr_un to;
				int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

				snprintf(name, sizeof name, "%.300s-%s", w.answer.name[1], ends[i]);
				to = wire_address(name);
				(void)!sendto(fd, &m, sizeof m, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof to);
				close(fd);
			}
			break;
		}
		case B_FLOW: /* the request ring's user data, or the control file's second word */
			atomic_store(shm ? wire_word(&w.ring[R_REQUEST], W_USER) : &w.control[1], (uint32_t)row->c);
			break;
		default: break;
		}
		if (row->b == B_SERVE || row->b == B_FLIP || row->b == B_DATA_FLIP || row->b == B_WORD || row->b == B_FLOW ||
		    row->b == B_NO_BYTE) {
			if (fake_request(row)) {
				fake_send(row, R_RESPONSE, sizeof(struct wire_msg), sizeof(struct wire_msg), 0);
				fake_send(row, R_EVENT, sizeof(struct wire_msg), sizeof(struct wire_msg), 1);
				served++;
				continue;
			}
			sched_yield();
			if (served > 0 && (row->b == B_SERVE || row->b == B_NO_BYTE)) {
				wire_ms(1);
			}
			continue;
		}
		wire_ms(1);
	}
}

/* What was sent; a hundred descriptors come along. */
static size_t say_with_descriptors(const void *data, size_t len)
{
	union { char raw[CMSG_SPACE(sizeof(int) * 100)]; struct cmsghdr align; } space;
	struct iovec iov = {(void *)(uintptr_t)data, len};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = space.raw, .msg_controllen = sizeof space.raw};
	struct cmsghdr *c;
	ssize_t n;

	memset(&space, 0, sizeof space);
	c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int) * 100);
	for (int i = 0; i < 100; i++) {
		memcpy(CMSG_DATA(c) + i * (int)sizeof i, &(int){2}, sizeof i);
	}
	n = sendmsg(w.stream, &m, MSG_NOSIGNAL);
	return n > 0 ? (size_t)n : 0;
}

/* Listens and never accepts; a: its queue is full already. */
static void never_accepts(const struct row *row)
{
	struct sockaddr_un address = wire_address(me.service);
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), fd;

	if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 1) != 0) {
		_exit(4);
	}
	do {
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	} while (row->a && connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
	in_place();
}

/* row->a is wrong with the answer, row->b afterwards, row->c is a detail of that. */
static void fake_server(const struct row *row)
{
	struct sockaddr_un address = wire_address(me.service);
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct ucred peer;
	socklen_t len = sizeof peer;
	char request[24];
	size_t n, sent = 0;

	memset(&w, 0, sizeof w);
	if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 8) != 0) {
		_exit(4);
	}
	in_place();
	w.stream = accept(listener, NULL, NULL);
	if (recv(w.stream, request, sizeof request, MSG_WAITALL) != sizeof request ||
	    getsockopt(w.stream, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0) {
		_exit(4);
	}
	snprintf(fake_dir, sizeof fake_dir, "/dev/shm/qb-%d-%d-%d-abcdef", (int)getpid(), (int)peer.pid, w.stream);
	if (mkdir(fake_dir, 0755) != 0) {
		_exit(4);
	}
	w.answer.id = WIRE_AUTH;
	w.answer.size = sizeof w.answer;
	w.answer.type = row->type;
	w.answer.max = WIRE_MAX_MSG;
	if (row->type == QB_IPC_SHM) {
		fake_rings();
	} else {
		fake_sockets();
	}
	n = spoil_answer(row);
	if (row->a == A_FOREIGN && setresuid(NOBODY, NOBODY, 0) != 0) {
		_exit(4);
	}
	if (row->a == A_DESCRIPTORS) {
		sent = say_with_descriptors(&w.answer, n);
	} else if (row->a == A_TWO_PROCESSES) {
		pid_t child = fork();

		if (child == 0) {
			wire_say(w.stream, &w.answer, 6000);
			_exit(0);
		}
		waitpid(child, NULL, 0);
		sent = 6000;
	}
	while (sent < n) {
		ssize_t part = wire_say(w.stream, (char *)&w.answer + sent, row->a == A_SLOW && n - sent > 1000 ? 1000 : n - sent);

		if (part <= 0) {
			break;
		}
		sent += (size_t)part;
		if (row->a == A_SLOW) {
			wire_ms(2);
		}
	}
	if (row->a == A_SHORT || row->a == A_CLOSE) {
		close(w.stream);
	} else if (row->a == A_LONG) {
		wire_ring_bell(&w, 3000);
	}
	if (row->a == A_SHORT_STALL || row->a == A_STALL || row->a == A_SHORT || row->a == A_CLOSE) {
		wire_ms(3000);
	}
	misbehave(row);
}

static void server_rows(void)
{
	static const unsigned words[] = {W_WRITE, W_READ, W_SIZE, W_HDR_PATH, W_DATA_PATH, W_REFS, W_SEM, W_SLEEPERS, W_SEM_PRIVATE};
	static const char *const names[] = {"write_pt", "read_pt", "word_size", "hdr_path", "data_path", "ref_count", "semaphore",
					    "sleepers", "semaphore's mode"};
	static const char *const values[] = {"0", "1", "length", "length-1", "length+1", "2^31", "2^32-1", "2^31-1"};
	static const char *const stops[] = {"serves", "is silent", "is stopped", "is killed", "closes"};
	static const long lengths[] = {0, 1, 15, 16, 24, 99, 100, 101, 8000, 12328, 12329, 100000};

	for (int type = QB_IPC_SOCKET; type <= QB_IPC_SHM; type++) {
		int shm = type == QB_IPC_SHM;

		for (int a = 0; a < A_COUNT; a++) {
			int fine = a == A_FINE || a == A_SLOW || a == A_DESCRIPTORS;
			/* What the answer counts itself, bytes behind it, and lengths of files that sockets do not have. */
			int tolerated = a == A_SIZE || a == A_LONG ||
					(!shm && (a == A_WORD_SIZE || (a >= A_MAX_0 && a <= A_MAX_MORE && a != A_MAX_MOST)));

			if ((a == A_FOREIGN && !root_rows(1)) || (a == A_NAMES_TAKEN && shm)) {
				continue; /* needs another user's file; needs sockets */
			}
			add(type, REVERSE | (fine ? WORKS : tolerated ? 0 : FORBIDDEN) | (a == A_FOREIGN ? SELF : 0), fake_server, a, B_SERVE, 0, "answer %s",
			    answer_names[a]);
		}
		for (int b = B_SILENT; b <= B_CLOSE; b++) {
			add(type, REVERSE, fake_server, A_FINE, b, 0, "server %s", stops[b]);
		}
		add(type, REVERSE, fake_server, A_FINE, B_STOP, FILLS, "server is stopped, and requests go on");
		add(type, REVERSE, fake_server, A_FINE, B_SILENT, FILLS, "server is silent, and requests go on");
		add(type, REVERSE, never_accepts, 0, 0, 0, "server never accepts");
		add(type, REVERSE, never_accepts, 1, 0, 0, "server never accepts, and its queue is full");
		for (int v = 0; v < 8; v++) {
			for (int i = 0; shm && i < 9; i++) {
				add(type, REVERSE | BUSY, fake_server, A_FINE, B_WORD, (long)words[i] * 10 + v, "every ring's %s is %s",
				    names[i], values[v]);
			}
			for (int i = 0; !shm && i < 6; i++) {
				add(type, REVERSE, fake_server, A_FINE, B_WORD, i * 10 + v, "control word %d is %s", i, values[v]);
			}
			if (shm) {
				add(type, REVERSE, fake_server, A_FINE, B_BAD_SIZE, v, "chunk size is %s", values[v]);
				add(type, REVERSE, fake_server, A_FINE, B_BAD_MAGIC, v, "chunk magic is %s", values[v]);
			}
		}
		for (int i = 0; i < (shm ? 27 : 6); i++) {
			add(type, REVERSE | BUSY, fake_server, A_FINE, B_FLIP, shm ? (i / 9) * 10000L + words[i % 9] : i, "word %d flips", i);
		}
		for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++) {
			add(type, REVERSE, fake_server, A_FINE, B_LENGTHS, lengths[i], "messages of %ld bytes", lengths[i]);
		}
		for (int flow = 0; flow < 4; flow++) {
			add(type, REVERSE, fake_server, A_FINE, B_FLOW, flow == 3 ? -1L : flow, "flow control is %d", flow == 3 ? -1 : flow);
		}
		add(type, REVERSE | BUSY, fake_server, A_FINE, B_FLIP, -1, "all words flip");
		add(type, REVERSE, fake_server, A_FINE, B_BELLS, 0, "5,000 bytes for nothing");
		add(type, REVERSE | BUSY, fake_server, A_FINE, B_BELL_FLOOD, 0, "bytes flood the client");
		add(type, REVERSE, fake_server, A_FINE, B_CUT_HEADERS, 0, "headers cut to 0");
		add(type, REVERSE, fake_server, A_FINE, B_DELETE, 0, "files deleted");
		add(type, REVERSE, fake_server, A_FINE, B_LINKS, 0, "files become links");
	}
	for (int chunk = 0; chunk < 30; chunk++) {
		if (chunk % 10 < 5) {
			add(QB_IPC_SHM, REVERSE | BUSY, fake_server, A_FINE, B_DATA_FLIP, chunk, "ring %d: word %d of the data flips", chunk / 10,
			    chunk % 10);
		}
	}
	add(QB_IPC_SHM, REVERSE, fake_server, A_FINE, B_COUNTS, 1, "counts for nothing");
	add(QB_IPC_SHM, REVERSE, fake_server, A_FINE, B_COUNTS, INT32_MAX, "2^31-1 counts for nothing");
	add(QB_IPC_SHM, REVERSE, fake_server, A_FINE, B_BIG_CHUNK, 0, "messages larger than the buffer");
	add(QB_IPC_SHM, REVERSE | WORKS, fake_server, A_FINE, B_NO_BYTE, FILLS, "server answers, and leaves the bytes of requests where they are");
	add(QB_IPC_SHM, REVERSE, fake_server, A_FINE, B_DEAF, 0, "server takes no more bytes, and stays");
	add(QB_IPC_SHM, REVERSE, fake_server, A_FINE, B_EVENT_NO_BELL, 0, "events without bytes");
	add(QB_IPC_SHM, REVERSE, fake_server, A_FINE, B_CUT_HEADERS, 4096, "headers cut to 4096");
	add(QB_IPC_SHM, REVERSE, fake_server, A_FINE, B_CUT_DATA, 0, "data cut to 0");
	add(QB_IPC_SHM, REVERSE | BUSY, fake_server, A_FINE, B_CUT_IN_USE, 0, "data cut and grown in use");
	add(QB_IPC_SOCKET, REVERSE, fake_server, A_FINE, B_STRANGER, 0, "a stranger's datagrams");
	if (root_rows(1)) {
		add(QB_IPC_SOCKET, REVERSE | SELF, fake_server, A_FINE, B_STRANGER, 1, "another user's datagrams");
	}
}

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Hostile servers that answer with sealed memory: descriptors that are not what they should be, words, records, bells. */
#ifndef SEALED_SERVER_ROWS_H
#define SEALED_SERVER_ROWS_H

#include "sealed_client_rows.h"
#include "server_rows.h"

enum { /* what comes with the answer, and what is wrong with it */
	M_FINE, M_UNSEALED, M_SHRINK_ONLY, M_GROW_ONLY, M_NO_FINAL, M_NO_WRITE, M_NO_FUTURE_WRITE, M_SHORT, M_LONG, M_EMPTY,
	M_PLAIN_FILE, M_TMPFS, M_PIPE, M_DIR, M_NULL, M_SOCKET, M_HUGE, M_SEVERAL, M_MANY, M_NONE, M_LATE, M_PIECES, M_REFUSAL,
	M_CLASSIC, M_SOCKET_TYPE, M_ODD_TYPE, M_UNKNOWN_BITS, M_LATER_VERSION, M_VERSION_0, M_NO_FEATURE, M_MAX_0, M_MAX_HUGE,
	M_MAX_OTHER, M_HALF, M_COUNT
};
static const char *const memory_names[] = {"is fine", "is not sealed", "may grow", "may shrink", "can be sealed further",
	"cannot be written", "cannot be mapped for writing", "is too short", "is too long", "is empty", "is a file", "is a file of a tmpfs",
	"is a pipe", "is a directory", "is /dev/null", "is a socket", "is of huge pages", "comes with two others",
	"comes with nine others", "does not come", "comes after the answer", "comes with an answer in pieces", "comes with a refusal",
	"comes with a classic answer", "comes with the socket transport", "comes with an unknown transport", "has unknown features",
	"has a later version", "has version 0", "has no feature", "is for 0 bytes", "is for 2^32-1 bytes", "is for another size",
	"comes with half an answer"};

enum { /* what is wrong afterwards */
	SC_SERVE, SC_SILENT, SC_STOP, SC_EXIT, SC_CLOSE, SC_WORD, SC_FLIP, SC_STATE, SC_PLACE, SC_LENGTH, SC_BYTES, SC_FLOOD, SC_NO_BYTE, SC_LATE,
	SC_BELL_FLOOD, SC_HOLES, SC_GARBAGE, SC_NOT_TAKEN
};

static int fake_memory(const struct row *row)
{
	static const char *const paths[] = {"/tmp", "/dev/shm"};
	int seals = S_SEALS, fd;

	switch (row->a) {
	case M_PLAIN_FILE:
	case M_TMPFS:
		fd = open(paths[row->a == M_TMPFS], O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
		break;
	case M_DIR: return open("/dev/shm", O_RDONLY | O_CLOEXEC);
	case M_NULL: return open("/dev/null", O_RDWR | O_CLOEXEC);
	case M_SOCKET: return socket(AF_UNIX, SOCK_STREAM, 0);
	case M_PIPE: {
		int ends[2];
		return pipe(ends) == 0 ? ends[0] : -1;
	}
	case M_HUGE:
		fd = memfd_create("qb", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB);
		s.bytes = 4 << 20; /* as long as it has to be for the size that is said below */
		break;
	default: fd = memfd_create("qb", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	}
	if (fd < 0 || ftruncate(fd, row->a == M_EMPTY ? 0 : (off_t)s.bytes + (row->a == M_SHORT ? -4096 : row->a == M_LONG ? 4096 : 0)) != 0) {
		if (row->a != M_HUGE) { /* which a machine may lack; then something else that is no memory has to do */
			_exit(4);
		}
		return open("/dev/null", O_RDWR | O_CLOEXEC);
	}
	seals = row->a == M_UNSEALED ? 0 : row->a == M_SHRINK_ONLY ? F_SEAL_SHRINK | F_SEAL_SEAL
	      : row->a == M_GROW_ONLY ? F_SEAL_GROW | F_SEAL_SEAL : row->a == M_NO_FINAL ? F_SEAL_SHRINK | F_SEAL_GROW
	      : row->a == M_NO_WRITE ? S_SEALS | F_SEAL_WRITE : row->a == M_NO_FUTURE_WRITE ? S_SEALS | 0x10 : S_SEALS;
	(void)!fcntl(fd, F_ADD_SEALS, seals); /* files have none */
	return fd;
}

/* Sends the answer's bytes from..to with this many copies of the descriptor. */
static void fake_answer(size_t from, size_t to, int fd, int copies)
{
	union {
		char room[CMSG_SPACE(10 * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = {(char *)&s.answer + from, to - from};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

	memset(&control, 0, sizeof control);
	if (copies > 0) {
		struct cmsghdr *h;

		m.msg_control = &control;
		m.msg_controllen = CMSG_SPACE((size_t)copies * sizeof fd);
		h = CMSG_FIRSTHDR(&m);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN((size_t)copies * sizeof fd);
		for (int i = 0; i < copies; i++) {
			memcpy(CMSG_DATA(h) + (size_t)i * sizeof fd, &fd, sizeof fd);
		}
	}
	(void)!sendmsg(s.stream, &m, MSG_NOSIGNAL);
}

static void fake_sealed_answer(const struct row *row, int fd)
{
	struct sealed_answer *a = &s.answer;
	int copies = row->a == M_NONE ? 0 : row->a == M_SEVERAL ? 3 : row->a == M_MANY ? 10 : 1;

	*a = (struct sealed_answer){WIRE_AUTH, S_COOKIE, 40, 1, 0, 1, QB_IPC_SHM, WIRE_MAX_MSG, 1};
	switch (row->a) {
	case M_REFUSAL: a->error = -EACCES; break;
	case M_CLASSIC: a->cookie = 0; break;
	case M_SOCKET_TYPE: a->type = QB_IPC_SOCKET; break;
	case M_ODD_TYPE: a->type = 7; break;
	case M_UNKNOWN_BITS: a->features = UINT32_MAX; break;
	case M_LATER_VERSION: a->version = 2; break;
	case M_VERSION_0: a->version = 0; break;
	case M_NO_FEATURE: a->features = 2; break;
	case M_MAX_0: a->max = 0; break;
	case M_MAX_HUGE: a->max = UINT32_MAX; break;
	case M_MAX_OTHER: a->max = 1000000; break;
	case M_HUGE: a->max = 698336; break;
	default: break;
	}
	if (row->a == M_LATE) {
		fake_answer(0, 40, fd, 0);
		wire_ms(20);
		s_byte(1);
		fake_answer(0, 1, fd, 1);
	} else if (row->a == M_PIECES || row->a == M_HALF) {
		fake_answer(0, 17, fd, 1);
		wire_ms(10);
		if (row->a == M_PIECES) {
			fake_answer(17, 40, fd, 0);
		}
	} else {
		fake_answer(0, 40, fd, copies);
	}
	if (row->a == M_CLASSIC) {
		static const char names[3 * 4096];

		wire_say(s.stream, names, sizeof names);
	}
}

static void s_event(const void *msg, size_t len, int byte)
{
	s_put(2, msg, len);
	if (s_take_bell(SW_EVENT_BELL) && byte) {
		s_byte(1);
	}
}

/* Answers what was asked, with an event. */
static int s_serve(void)
{
	struct wire_msg m = wire_message(V_ECHO, sizeof m);
	char in[20000];

	if (s_take(0, in, sizeof in, 1) < 0) {
		atomic_store(s_word(SW_REQUEST_BELL), 1);
		return 0;
	}
	s_respond(&m, sizeof m);
	s_event(&m, sizeof m, 1);
	return 1;
}

/* A record of the response and the event lane whose state is this, and its place. */
static void s_record(uint32_t state, uint32_t place)
{
	for (int lane = 1; lane <= 2; lane++) {
		atomic_store(s_lane(lane, s.at[lane] + 1), place);
		atomic_store(s_lane(lane, s.at[lane]), state);
	}
	if (s_take_bell(SW_RESPONSE_BELL)) {
		syscall(SYS_futex, s_word(SW_RESPONSE_BELL), FUTEX_WAKE, 1, NULL, NULL, 0);
	}
	s_ring(SW_EVENT_BELL);
	wire_ms(500);
}

static void s_misbehave(const struct row *row)
{
	static const uint32_t places[] = {0, 2, 3, 0xfffffc00u, 0x80000000u};
	struct wire_msg m = wire_message(V_ECHO, sizeof m);
	double end = now_ms() + 20000; /* or until the row is over */
	uint32_t seed = 1;
	char big[9000] = {0};

	if (row->b == SC_FLIP) {
		pthread_t thread;

		flip.word = s_word(row->c < 1000 ? (unsigned)row->c : S_PAGE + (unsigned)(row->c / 1000 - 1) * s.lane_words + (unsigned)(row->c % 1000));
		flip.words = s.lane_words;
		pthread_create(&thread, NULL, flipper, NULL);
	}
	while (now_ms() < end) {
		struct row value = *row;

		value.c = row->c % 10;
		switch (row->b) {
		case SC_WORD: atomic_store(s_word((unsigned)row->c / 10), value_of(&value, s.lane_words)); /* fall through */
		case SC_SERVE:
		case SC_FLIP:
			if (!s_serve()) {
				sched_yield();
			}
			continue;
		case SC_STOP: raise(SIGSTOP); break;
		case SC_EXIT: kill(getpid(), SIGKILL); break;
		case SC_CLOSE: shutdown(s.stream, SHUT_RDWR); return;
		case SC_STATE: s_record(value_of(&value, s.lane_words), 0); break;
		case SC_PLACE: s_record(S_SKIP, places[row->c % 5]); break;
		case SC_LENGTH:
			memcpy(big, &m, sizeof m);
			s_respond(big, (size_t)row->c);
			s_event(big, (size_t)row->c, 1);
			wire_ms(5);
			break;
		case SC_BYTES: s_byte(5000); wire_ms(3000); break;
		case SC_FLOOD: s_byte(4096); continue;
		case SC_BELL_FLOOD:
			atomic_store(s_word(SW_EVENT_BELL), 0);
			s_byte(16);
			continue;
		case SC_NO_BYTE:
			s_event(&m, sizeof m, 0);
			wire_ms(100);
			break;
		case SC_LATE:
			s_event(&m, sizeof m, 0);
			wire_ms(30);
			s_byte(1);
			break;
		case SC_HOLES:
			(void)!fallocate(s.memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)s.bytes);
			memset(s.at, 0, sizeof s.at);
			s_serve();
			continue;
		case SC_GARBAGE:
			for (int i = 0; i < 5000; i++) {
				seed = seed * 1664525u + 1013904223u;
				atomic_store(s_lane(1 + i % 2, (seed >> 8) % s.lane_words), seed);
			}
			s_ring(SW_EVENT_BELL);
			break;
		case SC_NOT_TAKEN: /* answers without having been asked, and takes nothing */
			s_respond(&m, sizeof m);
			wire_ms(20);
			break;
		default: break;
		}
		wire_ms(1);
	}
}

/* row->a is wrong with the memory, row->b afterwards, row->c is a detail of that. */
static void sealed_server(const struct row *row)
{
	struct sockaddr_un address = wire_address(me.service);
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char request[24];

	memset(&s, 0, sizeof s);
	if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 8) != 0) {
		_exit(4);
	}
	in_place();
	s.stream = accept(listener, NULL, NULL);
	if (recv(s.stream, request, sizeof request, MSG_WAITALL) != sizeof request) {
		_exit(4);
	}
	s_lengths(WIRE_MAX_MSG);
	s.memfd = fake_memory(row);
	s_map(); /* not everything can be */
	if (s.words != NULL && row->a != M_SHORT && row->a != M_EMPTY && row->a != M_HUGE) {
		atomic_store(s_word(SW_REQUEST_BELL), 1);
		atomic_store(s_word(SW_EVENT_BELL), 1);
	}
	fake_sealed_answer(row, s.memfd);
	if (row->a == M_FINE || row->a == M_SEVERAL || row->a == M_MANY || row->a == M_PIECES || row->a == M_UNKNOWN_BITS ||
	    row->a == M_LATER_VERSION) {
		s_misbehave(row);
	}
}

static void sealed_server_rows(void)
{
	static const char *const values[] = {"0", "1", "length", "length-1", "length+1", "2^31", "2^32-1", "2^31-1"};
	static const char *const places[] = {"its own place", "another", "an odd place", "the page of words", "2^31"};
	static const char *const stops[] = {"serves", "is silent", "is stopped", "is killed", "closes"};
	static const long lengths[] = {0, 1, 15, 16, 24, 99, 100, 101, 8000};
	

	for (int m = 0; m < M_COUNT; m++) {
		int works = m == M_FINE || m == M_SEVERAL || m == M_MANY || m == M_PIECES || m == M_UNKNOWN_BITS || m == M_LATER_VERSION;

		add(QB_IPC_SHM, REVERSE | (works ? WORKS : FORBIDDEN), sealed_server, m, SC_SERVE, 0, "sealed: memory %s", memory_names[m]);
	}
	add(QB_IPC_SHM, REVERSE | FORBIDDEN | PLAIN, sealed_server, M_FINE, SC_SERVE, 0, "sealed: memory that nobody asked for");
	for (int fds = 1; fds < 3; fds++) {
		add(QB_IPC_SHM, REVERSE | (fds < 2 ? FORBIDDEN : WORKS), sealed_server, M_FINE, SC_SERVE, 0, "sealed: %d descriptors left", fds);
		rows[row_count - 1].nofile = fds;
	}
	for (int c = SC_SILENT; c <= SC_CLOSE; c++) {
		add(QB_IPC_SHM, REVERSE, sealed_server, M_FINE, c, 0, "sealed: server %s", stops[c]);
	}
	for (int v = 0; v < 8; v++) {
		for (int i = 0; i < 10; i++) {
			add(QB_IPC_SHM, REVERSE | BUSY, sealed_server, M_FINE, SC_WORD, (long)sealed_words[i] * 10 + v, "sealed: %s is %s",
			    sealed_names[i], values[v]);
		}
		add(QB_IPC_SHM, REVERSE, sealed_server, M_FINE, SC_STATE, v, "sealed: state is %s", values[v]);
	}
	for (int p = 0; p < 5; p++) {
		add(QB_IPC_SHM, REVERSE, sealed_server, M_FINE, SC_PLACE, p, "sealed: SKIP to %s", places[p]);
	}
	for (int i = 0; i < 10; i++) {
		add(QB_IPC_SHM, REVERSE | BUSY, sealed_server, M_FINE, SC_FLIP, sealed_words[i], "sealed: %s flips", sealed_names[i]);
	}
	for (int lane = 1; lane <= 3; lane++) {
		for (int i = 0; i < 5; i++) {
			add(QB_IPC_SHM, REVERSE | BUSY, sealed_server, M_FINE, SC_FLIP, lane * 1000 + i, "sealed: lane %d: word %d flips", lane, i);
		}
	}
	for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		add(QB_IPC_SHM, REVERSE, sealed_server, M_FINE, SC_LENGTH, lengths[i], "sealed: messages of %ld bytes", lengths[i]);
	}
	add(QB_IPC_SHM, REVERSE, sealed_server, M_FINE, SC_BYTES, 0, "sealed: 5,000 bytes for nothing");
	add(QB_IPC_SHM, REVERSE | BUSY, sealed_server, M_FINE, SC_FLOOD, 0, "sealed: bytes flood the client");
	add(QB_IPC_SHM, REVERSE | BUSY, sealed_server, M_FINE, SC_BELL_FLOOD, 0, "sealed: bytes and a taken bell flood the client");
	add(QB_IPC_SHM, REVERSE, sealed_server, M_FINE, SC_NO_BYTE, 0, "sealed: events without bytes");
	add(QB_IPC_SHM, REVERSE, sealed_server, M_FINE, SC_LATE, 0, "sealed: the bytes of events come late");
	add(QB_IPC_SHM, REVERSE | BUSY, sealed_server, M_FINE, SC_HOLES, 0, "sealed: pages are taken away in use");
	add(QB_IPC_SHM, REVERSE, sealed_server, M_FINE, SC_GARBAGE, 0, "sealed: garbage in the lanes");
	add(QB_IPC_SHM, REVERSE, sealed_server, M_FINE, SC_NOT_TAKEN, 0, "sealed: requests are never taken");
}

#endif

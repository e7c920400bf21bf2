/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The classic wire, spoken by hand: every step of a connection is a function of its own and every shared word is in reach,
 * so that a test can stop, lie or break anywhere. Nothing here uses the library.
 */
#ifndef WIRE_H
#define WIRE_H

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define WIRE_AUTH (-1)
#define WIRE_DISCONNECT (-2)
#define WIRE_MAX_MSG 12328u
#define WIRE_HEADER_LEN (8248 + 4)
#define WIRE_ALLOC 0xA110CED0u
#define WIRE_READY 0xA1A1A1A1u

/* Byte offsets of the words of a ring's header. */
enum { W_WRITE = 0, W_READ = 4, W_SIZE = 8, W_HDR_PATH = 12, W_DATA_PATH = 4108, W_REFS = 8204, W_SEM = 8208,
       W_SLEEPERS = 8212, W_SEM_PRIVATE = 8216, W_USER = 8240 };
enum { R_REQUEST, R_RESPONSE, R_EVENT };

struct wire_request {
	int32_t id __attribute__((aligned(8)));
	int32_t size __attribute__((aligned(8)));
	uint32_t max __attribute__((aligned(8)));
} __attribute__((aligned(8)));

struct wire_response {
	int32_t id __attribute__((aligned(8)));
	int32_t size __attribute__((aligned(8)));
	int32_t error __attribute__((aligned(8)));
	int32_t type __attribute__((aligned(8)));
	uint32_t max;
	int64_t token;
	char name[3][4096];
} __attribute__((aligned(8)));

_Static_assert(sizeof(struct wire_request) == 24 && sizeof(struct wire_response) == 12328, "wire layout");

struct wire_ring {
	int hfd, dfd;
	unsigned char *header, *data;
	uint32_t words; /* private length */
	uint32_t at;	/* private index of this side */
};

struct wire {
	int stream, requests, events; /* descriptors; the last two for the socket transport */
	struct wire_response answer;
	struct wire_ring ring[3];
	int control_fd;
	_Atomic uint32_t *control;
};

struct wire_msg {
	int32_t id __attribute__((aligned(8)));
	int32_t size __attribute__((aligned(8)));
	int32_t error __attribute__((aligned(8)));
	int32_t arg[4];
} __attribute__((aligned(8)));

static inline void wire_ms(long ms)
{
	struct timespec t = {ms / 1000, (ms % 1000) * 1000000};

	nanosleep(&t, NULL);
}

static inline struct sockaddr_un wire_address(const char *name)
{
	struct sockaddr_un a;

	memset(&a, 0, sizeof a);
	a.sun_family = AF_UNIX;
	memcpy(a.sun_path + 1, name, strnlen(name, sizeof a.sun_path - 2));
	return a;
}

static inline int wire_stream(const char *service)
{
	struct sockaddr_un a = wire_address(service);
	struct timeval limit = {5, 0};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
	if (connect(fd, (struct sockaddr *)&a, sizeof a) != 0) {
		close(fd);
		return -1;
	}
	setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
	return fd;
}

static inline ssize_t wire_say(int fd, const void *data, size_t len)
{
	return send(fd, data, len, MSG_NOSIGNAL);
}

static inline int wire_ask(struct wire *w, uint32_t max)
{
	struct wire_request r;

	memset(&r, 0, sizeof r);
	r.id = WIRE_AUTH;
	r.size = sizeof r;
	r.max = max;
	return wire_say(w->stream, &r, sizeof r) == sizeof r ? 0 : -1;
}

/* 0 when the answer is whole and says yes; otherwise what it says, or -ENOTCONN. */
static inline int wire_hear(struct wire *w)
{
	size_t got = 0;

	while (got < sizeof w->answer) {
		ssize_t n = recv(w->stream, (char *)&w->answer + got, sizeof w->answer - got, 0);

		if (n <= 0) {
			return -ENOTCONN;
		}
		got += (size_t)n;
	}
	return w->answer.error;
}

static inline void *wire_map(const char *path, int *fd, size_t *len)
{
	struct stat st;
	void *p;

	*fd = open(path, O_RDWR | O_CLOEXEC);
	if (*fd < 0 || fstat(*fd, &st) != 0) {
		return NULL;
	}
	*len = (size_t)st.st_size;
	p = mmap(NULL, *len, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	return p == MAP_FAILED ? NULL : p;
}

static inline _Atomic uint32_t *wire_word(struct wire_ring *r, unsigned offset)
{
	return (_Atomic uint32_t *)(void *)(r->header + offset);
}

static inline _Atomic uint32_t *wire_data(struct wire_ring *r, uint32_t index)
{
	return (_Atomic uint32_t *)(void *)(r->data + (size_t)(index % r->words) * 4);
}

static inline int wire_open_rings(struct wire *w)
{
	for (int i = 0; i < 3; i++) {
		struct wire_ring *r = &w->ring[i];
		char path[4200];
		size_t len;

		snprintf(path, sizeof path, "%s-header", w->answer.name[i]);
		r->header = wire_map(path, &r->hfd, &len);
		snprintf(path, sizeof path, "%s-data", w->answer.name[i]);
		r->data = wire_map(path, &r->dfd, &len);
		if (r->header == NULL || r->data == NULL) {
			return -1;
		}
		r->words = (uint32_t)(len / 4);
		r->at = 0;
		atomic_fetch_add(wire_word(r, W_REFS), 1);
	}
	return 0;
}

static inline int wire_datagram(const char *base, const char *own, const char *peer)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct timeval limit = {5, 0};
	struct sockaddr_un a;
	char name[300];

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	if (own != NULL) {
		snprintf(name, sizeof name, "%.200s-%s", base, own);
		a = wire_address(name);
		if (bind(fd, (struct sockaddr *)&a, sizeof a) != 0) {
			close(fd);
			return -1;
		}
	}
	snprintf(name, sizeof name, "%.200s-%s", base, peer);
	a = wire_address(name);
	if (connect(fd, (struct sockaddr *)&a, sizeof a) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static inline int wire_open_sockets(struct wire *w)
{
	size_t len;

	w->control = wire_map(w->answer.name[0], &w->control_fd, &len);
	w->requests = wire_datagram(w->answer.name[1], "response", "request");
	w->events = wire_datagram(w->answer.name[1], "event", "event-tx");
	return w->control == NULL || w->requests < 0 || w->events < 0 ? -1 : 0;
}

static inline int wire_open(struct wire *w)
{
	return w->answer.type == 1 ? wire_open_rings(w) : wire_open_sockets(w);
}

/* Steps of a message in a ring. */
static inline void wire_alloc(struct wire_ring *r)
{
	atomic_store(wire_data(r, r->at), 0);
	atomic_store(wire_data(r, r->at + 1), WIRE_ALLOC);
}

static inline void wire_fill(struct wire_ring *r, const void *msg, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		r->data[((size_t)r->at * 4 + 8 + i) % ((size_t)r->words * 4)] = ((const unsigned char *)msg)[i];
	}
}

static inline void wire_commit(struct wire_ring *r, uint32_t says, size_t len)
{
	uint32_t at = r->at;

	atomic_store(wire_data(r, at), says);
	r->at = (uint32_t)((at + 2 + (len + 3) / 4) % r->words);
	atomic_store(wire_word(r, W_WRITE), r->at);
	atomic_store(wire_data(r, at + 1), WIRE_READY);
}

static inline void wire_post(struct wire_ring *r)
{
	atomic_fetch_add(wire_word(r, W_SEM), 1);
	syscall(SYS_futex, wire_word(r, W_SEM), FUTEX_WAKE, 1, NULL, NULL, 0);
}

static inline void wire_ring_bell(struct wire *w, size_t n)
{
	static const char zeros[4096];

	while (n > 0) {
		ssize_t sent = send(w->stream, zeros, n < sizeof zeros ? n : sizeof zeros, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent <= 0) {
			return;
		}
		n -= (size_t)sent;
	}
}

static inline void wire_put(struct wire_ring *r, const void *msg, size_t len)
{
	wire_alloc(r);
	wire_fill(r, msg, len);
	wire_commit(r, (uint32_t)len, len);
	wire_post(r);
}

/* Takes the next chunk, honestly; its length, or -1 when none came in about the time given. */
static inline long wire_take(struct wire_ring *r, void *msg, size_t room, int ms)
{
	while (atomic_load(wire_data(r, r->at + 1)) != WIRE_READY || atomic_load(wire_word(r, W_SEM)) == 0) {
		if (ms-- <= 0) {
			return -1;
		}
		wire_ms(1);
	}
	uint32_t len = atomic_load(wire_data(r, r->at));

	for (size_t i = 0; i < len && i < room; i++) {
		((unsigned char *)msg)[i] = r->data[((size_t)r->at * 4 + 8 + i) % ((size_t)r->words * 4)];
	}
	atomic_store(wire_data(r, r->at), 0);
	atomic_store(wire_data(r, r->at + 1), 0xD0D0D0D0u);
	r->at = (uint32_t)((r->at + 2 + (len + 3) / 4) % r->words);
	atomic_store(wire_word(r, W_READ), r->at);
	atomic_fetch_sub(wire_word(r, W_SEM), 1);
	return len;
}

/* One whole request in whatever way the connection has. */
static inline void wire_send(struct wire *w, const void *msg, size_t len)
{
	if (w->answer.type == 1) {
		wire_put(&w->ring[R_REQUEST], msg, len);
		wire_ring_bell(w, 1);
	} else {
		(void)!send(w->requests, msg, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		atomic_fetch_add(&w->control[0], 1);
	}
}

static inline long wire_recv(struct wire *w, void *msg, size_t room, int ms)
{
	if (w->answer.type == 1) {
		return wire_take(&w->ring[R_RESPONSE], msg, room, ms);
	}
	return recv(w->requests, msg, room, 0);
}

static inline struct wire_msg wire_message(int id, int size)
{
	struct wire_msg m;

	memset(&m, 0, sizeof m);
	m.id = id;
	m.size = size;
	return m;
}

/* Connects and opens everything, the way an honest client does. */
static inline int wire_connect(struct wire *w, const char *service, uint32_t max)
{
	int rc;

	memset(w, 0, sizeof *w);
	w->stream = wire_stream(service);
	if (w->stream < 0 || wire_ask(w, max) != 0) {
		return -errno;
	}
	rc = wire_hear(w);
	return rc != 0 ? rc : wire_open(w);
}

/* Gives back everything that wire_connect() opened. */
static inline void wire_close(struct wire *w)
{
	close(w->stream);
	if (w->control != NULL) {
		munmap(w->control, 24);
		close(w->control_fd);
		close(w->requests);
		close(w->events);
	}
	for (int i = 0; i < 3 && w->ring[i].header != NULL; i++) {
		munmap(w->ring[i].header, WIRE_HEADER_LEN);
		munmap(w->ring[i].data, (size_t)w->ring[i].words * 4);
		close(w->ring[i].hfd);
		close(w->ring[i].dfd);
	}
}

#endif

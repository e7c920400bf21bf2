/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The wire of sealed memory, spoken by hand, from either side. Nothing here uses the library. */
#ifndef SEALED_WIRE_H
#define SEALED_WIRE_H

#include "wire.h"

#define S_COOKIE 0x5ea1edb5u
#define S_SKIP 0xffffffffu
#define S_PAGE 1024u /* words */
#define S_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

/* Words of the first page. */
enum { SW_REQUEST_BELL = 0, SW_FLOW = 1, SW_CLOSED = 2, SW_SERVER_CPU = 3, SW_RESPONSE_BELL = 32, SW_EVENT_BELL = 33,
       SW_CLIENT_CPU = 34, SW_TAILS = 64 /* and each 32 further */ };
static const unsigned sealed_words[] = {0, 1, 2, 3, 32, 33, 34, 64, 96, 128};
static const char *const sealed_names[] = {"request bell", "flow control", "closed", "server's processor", "response bell",
					   "event bell", "client's processor", "request tail", "response tail", "event tail"};

struct sealed_answer {
	int32_t id;
	uint32_t cookie;
	int32_t size;
	uint32_t version;
	int32_t error;
	uint32_t features;
	int32_t type;
	uint32_t max;
	int64_t token;
};
_Static_assert(sizeof(struct sealed_answer) == 40, "wire layout");

static struct sealed {
	int stream, memfd;
	struct sealed_answer answer;
	uint32_t *words;
	size_t bytes;
	uint32_t lane_words;
	uint32_t at[3];
} s;

static inline _Atomic uint32_t *s_word(unsigned index)
{
	return (_Atomic uint32_t *)(void *)(s.words + index);
}

static inline _Atomic uint32_t *s_lane(int lane, uint32_t index)
{
	return s_word(S_PAGE + (uint32_t)lane * s.lane_words + index);
}

/* How long the memory is for messages of that size. */
static inline void s_lengths(uint32_t max)
{
	size_t ring = ((size_t)max + 13 + 4095) / 4096 * 4096, most = ring + ring / 7;
	size_t lane = ((most + 7) / 8 * 8 + 32) * 2;

	lane = (lane + 4095) / 4096 * 4096;
	s.lane_words = (uint32_t)(lane / 4);
	s.bytes = 4096 + 3 * lane;
}

static inline int s_map(void)
{
	void *p = mmap(NULL, s.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, s.memfd, 0);

	s.words = p == MAP_FAILED ? NULL : p;
	return s.words == NULL ? -1 : 0;
}

/* A request with an offer: the three words in its padding. */
static inline void s_request(unsigned char raw[24], uint32_t max, uint32_t cookie, uint32_t version, uint32_t features)
{
	int32_t id = WIRE_AUTH, size = 24;

	memcpy(raw, &id, 4);
	memcpy(raw + 4, &cookie, 4);
	memcpy(raw + 8, &size, 4);
	memcpy(raw + 12, &version, 4);
	memcpy(raw + 16, &max, 4);
	memcpy(raw + 20, &features, 4);
}

/* Reads the answer's first 40 bytes and the descriptor that comes along: 0, what the server says, or -ENOTCONN. */
static inline int s_hear(void)
{
	union {
		char room[CMSG_SPACE(12) + CMSG_SPACE(4)];
		struct cmsghdr align;
	} control;
	struct iovec iov = {&s.answer, sizeof s.answer};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};

	s.memfd = -1;
	if (recvmsg(s.stream, &m, MSG_WAITALL | MSG_CMSG_CLOEXEC) != sizeof s.answer) {
		return -ENOTCONN;
	}
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h != NULL; h = CMSG_NXTHDR(&m, h)) {
		if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS) {
			memcpy(&s.memfd, CMSG_DATA(h), sizeof s.memfd);
		}
	}
	return s.answer.error;
}

static inline int s_is_sealed(void)
{
	return s.answer.cookie == S_COOKIE && s.answer.features == 1 && s.memfd >= 0;
}

static inline int s_connect(const char *service, uint32_t max)
{
	unsigned char raw[24];
	int rc;

	memset(&s, 0, sizeof s);
	s.stream = wire_stream(service);
	s_request(raw, max, S_COOKIE, 1, 1);
	if (s.stream < 0 || wire_say(s.stream, raw, sizeof raw) != sizeof raw) {
		return -errno;
	}
	rc = s_hear();
	if (rc != 0) {
		return rc;
	}
	s_lengths(s.answer.max);
	return s_is_sealed() ? s_map() : -EPROTO;
}

/* Everything of the connection, in this process. */
static inline void s_close(void)
{
	if (s.words != NULL) {
		munmap(s.words, s.bytes);
	}
	if (s.memfd >= 0) {
		close(s.memfd);
	}
	close(s.stream);
}

/* Steps of a message. */
static inline uint32_t s_room(int lane, size_t len)
{
	uint32_t at = s.at[lane], need = 2 + 2 * (uint32_t)((len + 7) / 8);

	if (at + need + 2 > s.lane_words) { /* from the start again, whatever is there */
		atomic_store(s_lane(lane, 0), 0);
		atomic_store(s_lane(lane, at + 1), 0);
		atomic_store(s_lane(lane, at), S_SKIP);
		s.at[lane] = 0;
	}
	atomic_store(s_lane(lane, s.at[lane] + need), 0);
	return need;
}

static inline void s_fill(int lane, const void *msg, size_t len)
{
	memcpy((char *)s.words + 4 * (S_PAGE + (size_t)lane * s.lane_words + s.at[lane] + 2), msg, len);
}

static inline void s_publish(int lane, uint32_t state, uint32_t need)
{
	atomic_store(s_lane(lane, s.at[lane]), state);
	s.at[lane] += need;
}

static inline void s_put(int lane, const void *msg, size_t len)
{
	uint32_t need = s_room(lane, len);

	s_fill(lane, msg, len);
	s_publish(lane, (uint32_t)len + 1, need);
}

static inline void s_byte(size_t n)
{
	static const char zeros[4096];

	while (n > 0) {
		ssize_t sent = send(s.stream, zeros, n < sizeof zeros ? n : sizeof zeros, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent <= 0) {
			return;
		}
		n -= (size_t)sent;
	}
}

static inline int s_take_bell(unsigned bell)
{
	return atomic_exchange(s_word(bell), 0) != 0;
}

static inline void s_ring(unsigned bell)
{
	if (s_take_bell(bell)) {
		s_byte(1);
	}
}

static inline void s_send(const void *msg, size_t len)
{
	s_put(0, msg, len);
	s_ring(SW_REQUEST_BELL);
}

static inline void s_respond(const void *msg, size_t len)
{
	s_put(1, msg, len);
	if (s_take_bell(SW_RESPONSE_BELL)) {
		syscall(SYS_futex, s_word(SW_RESPONSE_BELL), FUTEX_WAKE, 1, NULL, NULL, 0);
	}
}

/* Takes the next message, honestly; its length, or -1 when none came in about the time given. */
static inline long s_take(int lane, void *msg, size_t room, int ms)
{
	uint32_t state, at = s.at[lane];

	while ((state = atomic_load(s_lane(lane, at))) == 0) {
		if (ms-- <= 0) {
			return -1;
		}
		wire_ms(1);
	}
	if (state == S_SKIP) {
		at = atomic_load(s_lane(lane, at + 1)) % s.lane_words;
		state = atomic_load(s_lane(lane, at));
	}
	uint32_t len = state - 1;

	if (len > 4 * (s.lane_words - at) - 8) {
		return -1;
	}
	memcpy(msg, (char *)s.words + 4 * (S_PAGE + (size_t)lane * s.lane_words + at + 2), len < room ? len : room);
	s.at[lane] = at + 2 + 2 * ((len + 7) / 8);
	atomic_store(s_word(SW_TAILS + 32 * (unsigned)lane), s.at[lane]);
	return len;
}

#endif

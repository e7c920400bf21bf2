/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the server of ipckit.h does when told: it sends, looks at its own connections, and reports. */
#ifndef IPCKIT_ACTS_H
#define IPCKIT_ACTS_H

#include "check.h"
#include "ipckit_shared.h"
#include "miniloop.h"

#include <dirent.h>

static struct {
	struct kit *k;
	qb_ipcs_service_t *s;
	qb_ipcs_connection_t *kept;
	int back_off;
	int leave;
	struct kit_request held;
	qb_ipcs_connection_t *holder;
	struct {
		qb_ipcs_connection_t *c;
		long left, seq;
		size_t size;
	} stream[64];
} ks;

static inline int kit_count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = -3; /* ., .. and the directory itself */

	while (d != NULL && readdir(d) != NULL) {
		n++;
	}
	if (d != NULL) {
		closedir(d);
	}
	return n;
}

static inline void kit_trace(const char *word)
{
	struct kit *k = ks.k;
	unsigned len = k->trace_len;
	size_t n = strlen(word);

	if (len + n + 2 < sizeof k->trace) {
		if (len > 0) {
			k->trace[len++] = ' ';
		}
		memcpy(k->trace + len, word, n + 1);
		k->trace_len = (unsigned)(len + n);
	}
}

static inline void ks_trace_poll(const char *line)
{
	char word[90];

	snprintf(word, sizeof word, "[%s]", line);
	kit_trace(word);
}

static inline ssize_t ks_reply(qb_ipcs_connection_t *c, int id, int64_t value)
{
	struct kit_reply r;

	memset(&r, 0, sizeof r);
	r.hdr.id = id;
	r.hdr.size = sizeof r;
	r.value = value;
	return qb_ipcs_response_send(c, &r, sizeof r);
}

static inline ssize_t ks_event(qb_ipcs_connection_t *c, long seq, size_t size)
{
	static union {
		struct kit_event e;
		char bytes[4 << 20];
	} u;

	kit_fill(&u, size, (unsigned)seq);
	u.e.hdr.id = KIT_EVENT_ID;
	u.e.hdr.size = (int32_t)size;
	if (size >= sizeof u.e) {
		u.e.seq = seq;
	}
	return qb_ipcs_event_send(c, &u, size);
}

/* Sends what the streams still owe, as far as there is room. */
static inline void ks_pump(void)
{
	for (unsigned i = 0; i < 64; i++) {
		while (ks.stream[i].c != NULL && ks.stream[i].left > 0) {
			ssize_t n = ks_event(ks.stream[i].c, ks.stream[i].seq, ks.stream[i].size);

			if (n != (ssize_t)ks.stream[i].size) {
				ks.k->last_send = n;
				if (n != -EAGAIN) {
					ks.stream[i].left = 0;
				}
				break;
			}
			ks.k->events_sent++;
			ks.stream[i].seq++;
			ks.stream[i].left--;
		}
		if (ks.stream[i].left == 0) {
			ks.stream[i].c = NULL;
		}
	}
}

static inline int ks_owes_events(void)
{
	for (unsigned i = 0; i < 64; i++) {
		if (ks.stream[i].c != NULL) {
			return 1;
		}
	}
	return 0;
}

/* The same bytes in five pieces, the first of which cuts the header in two. */
static inline int ks_pieces(struct iovec *iov, char *msg, size_t size)
{
	size_t cut[6] = {0, 12, 24, 24 + (size - 24) / 3, 24 + (size - 24) / 3, size};

	for (int i = 0; i < 5; i++) {
		iov[i] = (struct iovec){msg + cut[i], cut[i + 1] - cut[i]};
	}
	return 5;
}

static inline int64_t ks_sized(qb_ipcs_connection_t *c, int event, size_t size, int pieces)
{
	struct qb_ipc_response_header *m = calloc(1, size + sizeof *m);
	struct iovec iov[5];
	int64_t n;

	kit_fill(m, size, (unsigned)size);
	m->id = event ? KIT_EVENT_ID : KIT_RESPONSE;
	m->size = (int32_t)size;
	if (pieces) {
		int count = ks_pieces(iov, (char *)m, size);

		n = event ? qb_ipcs_event_sendv(c, iov, (size_t)count)
			  : qb_ipcs_response_sendv(c, iov, (size_t)count);
	} else {
		n = event ? qb_ipcs_event_send(c, m, size) : qb_ipcs_response_send(c, m, size);
	}
	free(m);
	return n;
}

static inline int64_t ks_iterate(void)
{
	qb_ipcs_connection_t *c = qb_ipcs_connection_first_get(ks.s), *next;
	int n = 0;

	while (c != NULL) {
		n++;
		next = qb_ipcs_connection_next_get(ks.s, c);
		qb_ipcs_connection_unref(c);
		c = next;
	}
	return n;
}

static inline void ks_stats(qb_ipcs_connection_t *c, int clear, int clear_service)
{
	struct qb_ipcs_connection_stats_2 *two = qb_ipcs_connection_stats_get_2(c, 0);
	struct kit *k = ks.k;

	if (two != NULL) {
		k->cstats2 = *two;
		free(two);
	}
	k->probe[2] = qb_ipcs_connection_stats_get(c, &k->cstats, clear);
	k->probe[3] = qb_ipcs_stats_get(ks.s, &k->sstats, clear_service);
}

static void ks_answer_held(void *data)
{
	(void)data;
	ks.k->last_send = ks_reply(ks.holder, KIT_HOLD, 0);
	qb_ipcs_connection_unref(ks.holder);
}

static void ks_drop_reference(void *data)
{
	qb_ipcs_connection_unref(data);
}

static inline void ks_echo(qb_ipcs_connection_t *c, const void *data, size_t size)
{
	size_t back = size < sizeof(struct qb_ipc_response_header) ? sizeof(struct qb_ipc_response_header) : size;
	struct qb_ipc_response_header *p = calloc(1, back);

	memcpy(p, data, size);
	memset(p, 0, sizeof *p);
	p->id = KIT_ECHO;
	p->size = (int32_t)back;
	ks.k->last_send = qb_ipcs_response_send(c, p, back);
	free(p);
}

/* Sends in all four ways on the connection kept earlier, and lets go of it. */
static inline void ks_use_kept(void)
{
	volatile int64_t *probe = ks.k->probe;

	probe[0] = ks_reply(ks.kept, 1, 1);
	probe[1] = ks_event(ks.kept, 0, sizeof(struct kit_event));
	probe[2] = ks_sized(ks.kept, 0, 100, 1);
	probe[3] = ks_sized(ks.kept, 1, 100, 1);
	probe[4] = qb_ipcs_service_id_get(ks.kept);
	qb_ipcs_connection_unref(ks.kept);
	ks.kept = NULL;
}

/* The getters and setters, seen from a message. */
static inline void ks_self_check(qb_ipcs_connection_t *c)
{
	qb_ipcs_connection_t *first = qb_ipcs_connection_first_get(ks.s);
	int mine, of_the_service;

	CHECK(first == c); /* the newest comes first, and the test asks with the newest */
	qb_ipcs_connection_unref(first);
	CHECK_EQ(qb_ipcs_service_id_get(c), ks.k->opt.service_id);
	CHECK_EQ(qb_ipcs_connection_get_buffer_size(c), 12328);
	CHECK(qb_ipcs_context_get(c) == NULL);
	qb_ipcs_context_set(c, &mine);
	CHECK(qb_ipcs_context_get(c) == &mine);
	qb_ipcs_context_set(c, NULL);
	CHECK(qb_ipcs_service_context_get(ks.s) == NULL);
	CHECK(qb_ipcs_connection_service_context_get(c) == NULL);
	qb_ipcs_service_context_set(ks.s, &of_the_service);
	CHECK(qb_ipcs_service_context_get(ks.s) == &of_the_service);
	CHECK(qb_ipcs_connection_service_context_get(c) == &of_the_service);
	qb_ipcs_service_context_set(ks.s, NULL);
}

static inline void ks_publish(void)
{
	struct kit *k = ks.k;

	k->misuse = ml.misuse;
	k->adds = ml.adds;
	k->mods = ml.mods;
	k->dels = ml.dels;
	k->job_adds = ml.job_adds;
	k->dropped = ml.dropped;
	k->turns++;
	__atomic_store_n(&k->registered, ml_registered() - 1, __ATOMIC_RELEASE); /* last: tests wait for it */
}

#endif

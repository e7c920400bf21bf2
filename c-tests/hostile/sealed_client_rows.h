/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Hostile clients in sealed memory: offers, words, records, bells, and ends at every step. */
#ifndef SEALED_CLIENT_ROWS_H
#define SEALED_CLIENT_ROWS_H

#include "campaign.h"
#include "client_rows.h"
#include "sealed_wire.h"

#include <linux/falloc.h>
#include <sys/resource.h>

#define CHECK_HOSTILE(cond, what)                                                        \
	do {                                                                             \
		if (!(cond)) {                                                           \
			fprintf(stderr, "the hostile client: " what ": %d\n", (int)(cond)); \
			_exit(4);                                                        \
		}                                                                        \
	} while (0)

static void s_echo_once(void)
{
	struct wire_msg m = wire_message(V_ECHO, sizeof m);
	char back[64];

	s_send(&m, sizeof m);
	CHECK_HOSTILE(s_take(1, back, sizeof back, 5000) == sizeof m, "an honest request gets its answer");
}

static void s_enter(uint32_t max)
{
	CHECK_HOSTILE(s_connect(me.service, max) == 0, "connects");
	s_echo_once();
}

/* Makes the server use every lane. */
static void s_use(void)
{
	struct wire_msg m = wire_message(V_EVENTS, sizeof m);

	for (int i = 0; i < 3; i++) {
		s_send(&m, sizeof m);
		m.id = V_ECHO;
	}
	s_byte(1);
	wire_ms(10);
}

/* a: word, c: value */
static void sealed_word(const struct row *row)
{
	s_enter(WIRE_MAX_MSG);
	for (int i = 0; i < 2; i++) {
		atomic_store(s_word((unsigned)row->a), value_of(row, s.lane_words));
		s_use();
		s_byte(3);
	}
	wire_ms(10);
	in_place();
}

/* a: word of the memory that flips while requests are sent; the connection is made anew when the server has had enough. */
static void sealed_flips(const struct row *row)
{
	double end = now_ms() + attack_time();

	in_place();
	while (now_ms() < end) {
		struct wire_msg m = wire_message(V_EVENTS, sizeof m);
		pthread_t thread;

		if (s_connect(me.service, WIRE_MAX_MSG) != 0) {
			wire_ms(1);
			continue;
		}
		flip.word = s_word(row->b < 0 ? (unsigned)row->a : S_PAGE + (unsigned)row->b * s.lane_words + (unsigned)row->a);
		flip.words = s.lane_words;
		atomic_store(&flip.stop, 0);
		pthread_create(&thread, NULL, flipper, NULL);
		for (int i = 0; i < 400 && now_ms() < end; i++) {
			char byte;

			s_send(&m, sizeof m);
			m.id = 1 + i % 3;
			if (i % 8 == 0) {
				s_byte(1);
			}
			if (recv(s.stream, &byte, 1, MSG_DONTWAIT) == 0) {
				break; /* thrown out, as it should be */
			}
			if (i % 16 == 0) {
				sched_yield();
			}
		}
		atomic_store(&flip.stop, 1);
		pthread_join(thread, NULL);
		s_close();
	}
}

enum { P_SELF, P_CHAIN, P_ODD, P_LAST, P_END, P_BEYOND, P_CONTROL, P_CIRCLE, P_PAIR, P_COUNT };
static const char *const place_names[] = {"SKIP leads to itself", "SKIP leads to SKIP", "SKIP to an odd place",
	"SKIP to the last place", "SKIP to the end", "SKIP beyond the end", "SKIP to the page of words",
	"messages in a circle", "two messages in a circle"};

/* a: where the next record of the requests leads. */
static void sealed_place(const struct row *row)
{
	struct wire_msg m = wire_message(V_SILENT, sizeof m);
	uint32_t at, to;

	s_enter(WIRE_MAX_MSG);
	for (int i = 0; i < (row->a == P_CIRCLE ? 200 : row->a == P_PAIR ? 2 : 0); i++) {
		s_put(0, &m, sizeof m);
	}
	at = s.at[0];
	to = row->a == P_SELF ? at : row->a == P_CHAIN ? at + 2 : row->a == P_ODD ? at + 3 : row->a == P_LAST ? s.lane_words - 2
	   : row->a == P_END ? s.lane_words : row->a == P_BEYOND ? s.lane_words + 2 : row->a == P_CONTROL ? -S_PAGE
	   : at - 24;
	for (uint32_t i = 0; i < 8 && row->a == P_CHAIN; i += 2) {
		atomic_store(s_lane(0, at + i + 1), at + i + 2);
		atomic_store(s_lane(0, at + i), S_SKIP);
	}
	if (row->a == P_LAST) {
		atomic_store(s_lane(0, to), 9);
	}
	atomic_store(s_lane(0, at + 1), to);
	atomic_store(s_lane(0, at), S_SKIP);
	s_ring(SW_REQUEST_BELL);
	wire_ms(10);
	in_place();
}

/* The next request's state is c; a: the lane. In the server's own lanes everything says so before it writes. */
static void sealed_state(const struct row *row)
{
	struct wire_msg m = wire_message(V_ECHO, sizeof m);

	s_enter(WIRE_MAX_MSG);
	if (row->a == 0) {
		uint32_t need = s_room(0, sizeof m);

		s_fill(0, &m, sizeof m);
		s_publish(0, value_of(row, s.lane_words), need);
		s_ring(SW_REQUEST_BELL);
	} else {
		for (uint32_t i = 0; i < s.lane_words; i++) {
			atomic_store(s_lane((int)row->a, i), value_of(row, s.lane_words));
		}
	}
	s_use();
	in_place();
}

/* a: what the header says, b: length of the record, c: id */
static void sealed_size(const struct row *row)
{
	size_t len = (size_t)row->b;
	char *msg = calloc(1, len + sizeof(struct wire_msg));
	struct wire_msg m = wire_message((int)row->c, (int)row->a);

	s_enter(WIRE_MAX_MSG);
	memcpy(msg, &m, len < sizeof m ? len : sizeof m);
	s_send(msg, len);
	s_send(msg, len < 1000 ? len : 1000);
	wire_ms(10);
	in_place();
}

/* a messages, b: take the bell, c bytes */
static void sealed_bells(const struct row *row)
{
	struct wire_msg m = wire_message(V_SILENT, sizeof m);

	s_enter(WIRE_MAX_MSG);
	for (long i = 0; i < row->a; i++) {
		s_put(0, &m, sizeof m);
	}
	if (row->b) {
		s_take_bell(SW_REQUEST_BELL);
	}
	s_byte((size_t)row->c);
	wire_ms(10);
	in_place();
}

/* The byte comes a while after its bell was taken: the messages are handled then, or before. */
static void sealed_late(const struct row *row)
{
	struct wire_msg m = wire_message(V_ECHO, sizeof m);
	char back[64];

	s_enter(WIRE_MAX_MSG);
	for (int round = 0; round < 3; round++) {
		s_put(0, &m, sizeof m);
		while (!s_take_bell(SW_REQUEST_BELL)) { /* the service may linger */
			CHECK_HOSTILE(s_take(1, back, sizeof back, 5000) == sizeof m, "a service that lingers answers");
			s_put(0, &m, sizeof m);
		}
		wire_ms(row->a);
		s_byte(1);
		CHECK_HOSTILE(s_take(1, back, sizeof back, 5000) == sizeof m, "the answer comes with the byte");
		wire_ms(2);
	}
	in_place();
}

static void sealed_flood(const struct row *row)
{
	double end;

	(void)row;
	s_enter(WIRE_MAX_MSG);
	in_place();
	for (end = now_ms() + attack_time(); now_ms() < end;) {
		s_byte(4096);
	}
}

static void sealed_never_reads(const struct row *row)
{
	struct wire_msg m = wire_message((int)row->a, sizeof m);

	s_enter(WIRE_MAX_MSG);
	for (int i = 0; i < 3000; i++) {
		s_send(&m, sizeof m);
		if (i % 100 == 0) {
			wire_ms(1);
		}
	}
	wire_ms(20);
	in_place();
}

/* Pages go away while they are in use; they come back as zeros. */
static void sealed_holes(const struct row *row)
{
	struct wire_msg m = wire_message(V_EVENTS, sizeof m);
	double end = now_ms() + attack_time();

	(void)row;
	in_place();
	while (now_ms() < end) {
		if (s_connect(me.service, WIRE_MAX_MSG) != 0) {
			wire_ms(1);
			continue;
		}
		CHECK_HOSTILE(ftruncate(s.memfd, 0) != 0 && ftruncate(s.memfd, 1 << 24) != 0, "the length stays");
		for (int i = 0; i < 50; i++) {
			s_send(&m, sizeof m);
			s_byte(1);
			(void)!fallocate(s.memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)s.bytes);
		}
		s_close();
	}
}

enum { T_CONNECTED, T_HALF, T_ASKED, T_HEARD, T_OPEN, T_FILLED, T_PUBLISHED, T_TAKEN, T_RUNG, T_ANSWERED, T_STEPS };
static const char *const sealed_steps[] = {"connected", "half a request", "request", "answer read", "mapped", "filled", "published",
					   "bell taken", "byte sent", "answered"};

/* a: the step to go to, b: what to do there. */
static void sealed_until(const struct row *row)
{
	struct wire_msg m = wire_message(V_ECHO, sizeof m);
	unsigned char raw[24];
	uint32_t need;
	char back[64];

	memset(&s, 0, sizeof s);
	s.memfd = -1;
	s.stream = wire_stream(me.service);
	s_request(raw, WIRE_MAX_MSG, S_COOKIE, 1, 1);
	if (row->a >= T_HALF) {
		wire_say(s.stream, raw, 12);
	}
	if (row->a >= T_ASKED) {
		wire_say(s.stream, raw + 12, 12);
	}
	if (row->a >= T_HEARD) {
		CHECK_HOSTILE(s_hear() == 0 && s_is_sealed(), "is let in");
	}
	if (row->a >= T_OPEN) {
		s_lengths(s.answer.max);
		CHECK_HOSTILE(s_map() == 0, "maps");
	}
	if (row->a >= T_FILLED) {
		need = s_room(0, sizeof m);
		s_fill(0, &m, sizeof m);
		if (row->a >= T_PUBLISHED) {
			s_publish(0, sizeof m + 1, need);
		}
	}
	if (row->a >= T_TAKEN) {
		s_take_bell(SW_REQUEST_BELL);
	}
	if (row->a >= T_RUNG) {
		s_byte(1);
	}
	if (row->a >= T_ANSWERED) {
		CHECK_HOSTILE(s_take(1, back, sizeof back, 5000) == sizeof m, "is answered");
	}
	wire_ms(5);
	in_place();
	if (row->b == END_STOP) {
		raise(SIGSTOP);
	} else if (row->b == END_CLOSE) {
		s_close();
	}
}

/* a: cookie, b: version and features, c: 1 when sealed memory has to come of it; a classic connection otherwise. */
static void sealed_offer(const struct row *row)
{
	unsigned char raw[24];

	memset(&s, 0, sizeof s);
	s.stream = wire_stream(me.service);
	s_request(raw, WIRE_MAX_MSG, (uint32_t)row->a, (uint32_t)(row->b >> 32), (uint32_t)row->b);
	wire_say(s.stream, raw, sizeof raw);
	CHECK_HOSTILE(s_hear() == 0 && s_is_sealed() == (int)row->c, "gets the answer that its offer deserves");
	if (row->c) {
		s_lengths(s.answer.max);
		CHECK_HOSTILE(s_map() == 0, "maps");
		s_echo_once();
	} else {
		struct wire_msg m = wire_message(V_ECHO, sizeof m);
		size_t got = sizeof s.answer;

		memset(&w, 0, sizeof w);
		memcpy(&w.answer, &s.answer, got);
		w.stream = s.stream;
		CHECK_HOSTILE(s.answer.cookie == 0 && s.answer.version == 0 && s.answer.features == 0 && s.memfd < 0,
			      "hears nothing of what it did not ask for");
		CHECK_HOSTILE(recv(w.stream, (char *)&w.answer + got, sizeof w.answer - got, MSG_WAITALL) ==
				      (ssize_t)(sizeof w.answer - got) && wire_open(&w) == 0, "opens a classic connection");
		wire_send(&w, &m, sizeof m);
		CHECK_HOSTILE(wire_recv(&w, &m, sizeof m, 5000) == sizeof m, "is answered the classic way");
	}
	in_place();
}

/* a: how large a message it wants */
static void sealed_wants(const struct row *row)
{
	int rc = s_connect(me.service, (uint32_t)row->a);

	CHECK_HOSTILE(rc == (row->a > 64 << 20 ? -EMSGSIZE : 0), "gets what it asked for, within limits");
	if (rc == 0 && row->a >= (long)sizeof(struct wire_msg)) {
		s_echo_once();
	}
	in_place();
}

/* a: how many, b: 0 they hear nothing, 1 they take the descriptor too, 2 they use it. Whoever is refused does not matter. */
static void sealed_many(const struct row *row)
{
	unsigned char raw[24];

	setrlimit(RLIMIT_NOFILE, &(struct rlimit){20000, 20000});
	s_request(raw, WIRE_MAX_MSG, S_COOKIE, 1, 1);
	for (long i = 0; i < row->a; i++) {
		if (row->b == 2) {
			s_enter(WIRE_MAX_MSG);
			close(s.memfd);
			continue;
		}
		memset(&s, 0, sizeof s);
		s.stream = wire_stream(me.service);
		wire_say(s.stream, raw, sizeof raw);
		if (row->b == 1) {
			s_hear();
		}
	}
	wire_ms(20);
	in_place();
}

static void sealed_client_rows(void)
{
	static const char *const values[] = {"0", "1", "length", "length-1", "length+1", "2^31", "2^32-1", "2^31-1"};
	static const char *const lanes[] = {"requests", "responses", "events"};
	static const long sizes[] = {-1, INT32_MIN, 0, 1, 15, 16, 23, 25, 41, WIRE_MAX_MSG, WIRE_MAX_MSG + 1, INT32_MAX};
	static const long lengths[] = {0, 1, 8, 15, 16, 17, 24};
	static const long ids[] = {-3, INT32_MIN, INT32_MAX, -2, -1, 0};
	static const long wants[] = {0, 1, 12328, 65536, 64 << 20, (64 << 20) + 1, INT32_MAX, 4294967295L};
	static const struct { long cookie, version, features; int sealed; } offers[] = {
		{S_COOKIE, 1, 1, 1}, {S_COOKIE, 2, 1, 1}, {S_COOKIE, UINT32_MAX, 1, 1}, {S_COOKIE, 1, UINT32_MAX, 1},
		{S_COOKIE, 0, 1, 0}, {S_COOKIE, 1, 0, 0}, {S_COOKIE, 1, 2, 0}, {0, 1, 1, 0}, {S_COOKIE + 1, 1, 1, 0}, {UINT32_MAX, 1, 1, 0}};

	for (int i = 0; i < 10; i++) {
		for (int v = 0; v < 8; v++) {
			add(QB_IPC_SHM, 0, sealed_word, sealed_words[i], 0, v, "sealed: %s is %s", sealed_names[i], values[v]);
		}
		add(QB_IPC_SHM, BUSY, sealed_flips, sealed_words[i], -1, 0, "sealed: %s flips", sealed_names[i]);
	}
	for (int own = 0; own < 2; own++) {
		const char *who = own ? ", own user" : "";

		for (int lane = 0; lane < 3; lane++) {
			static const char *const parts[] = {"state", "place", "id", "padding", "size"};

			for (int part = 0; part < 5; part++) {
				add(QB_IPC_SHM, BUSY | own, sealed_flips, part, lane, 0, "sealed: %s: first %s flips%s", lanes[lane],
				    parts[part], who);
			}
		}
		for (int p = 0; p < P_COUNT; p++) {
			add(QB_IPC_SHM, own, sealed_place, p, 0, 0, "sealed: %s%s", place_names[p], who);
		}
		for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
			add(QB_IPC_SHM, own, sealed_size, sizes[i], 40, V_ECHO, "sealed: message says %ld bytes%s", sizes[i], who);
		}
		add(QB_IPC_SHM, own, sealed_size, 12400, 12400, V_ECHO, "sealed: message larger than agreed%s", who);
	}
	for (int v = 0; v < 8; v++) {
		for (int lane = 0; lane < 3; lane++) {
			add(QB_IPC_SHM, 0, sealed_state, lane, 0, v, "sealed: %s: state is %s", lanes[lane], values[v]);
		}
		add(QB_IPC_SHM, SELF, sealed_state, 0, 0, v, "sealed: requests: state is %s, own user", values[v]);
	}
	for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++) {
		add(QB_IPC_SHM, 0, sealed_size, 24, lengths[i], V_ECHO, "sealed: message of %ld bytes", lengths[i]);
	}
	for (unsigned i = 0; i < sizeof ids / sizeof *ids; i++) {
		add(QB_IPC_SHM, 0, sealed_size, 40, 40, ids[i], "sealed: message with id %ld", ids[i]);
	}
	add(QB_IPC_SHM, 0, sealed_bells, 10, 0, 0, "sealed: messages without bell and byte");
	add(QB_IPC_SHM, 0, sealed_bells, 10, 1, 0, "sealed: messages, bell taken, no byte");
	add(QB_IPC_SHM, 0, sealed_bells, 0, 1, 0, "sealed: bell taken for nothing, no byte");
	add(QB_IPC_SHM, 0, sealed_bells, 0, 1, 1, "sealed: rung for nothing");
	add(QB_IPC_SHM, 0, sealed_bells, 0, 0, 5, "sealed: bytes without a bell");
	add(QB_IPC_SHM, 0, sealed_bells, 10, 0, 5, "sealed: messages and bytes without a bell");
	add(QB_IPC_SHM, 0, sealed_bells, 0, 0, 100000, "sealed: 100,000 bytes without a bell");
	add(QB_IPC_SHM, 0, sealed_bells, 1, 1, 5000, "sealed: 5,000 bytes for one message");
	add(QB_IPC_SHM, 0, sealed_late, 0, 0, 0, "sealed: the byte comes at once");
	add(QB_IPC_SHM, 0, sealed_late, 50, 0, 0, "sealed: the byte comes late");
	add(QB_IPC_SHM, BUSY, sealed_flood, 0, 0, 0, "sealed: bytes flood");
	add(QB_IPC_SHM, BUSY, sealed_holes, 0, 0, 0, "sealed: pages are taken away in use");
	add(QB_IPC_SHM, BUSY | SELF, sealed_holes, 0, 0, 0, "sealed: pages are taken away in use, own user");
	add(QB_IPC_SHM, 0, sealed_never_reads, V_ECHO, 0, 0, "sealed: responses are never read");
	add(QB_IPC_SHM, 0, sealed_never_reads, V_EVENTS, 0, 0, "sealed: events are never read");
	for (int t = 0; t < T_STEPS; t++) {
		add(QB_IPC_SHM, 0, sealed_until, t, END_STOP, 0, "sealed: client stopped: %s", sealed_steps[t]);
		add(QB_IPC_SHM, 0, sealed_until, t, END_CLOSE, 0, "sealed: client closes: %s", sealed_steps[t]);
		add(QB_IPC_SHM, 0, sealed_until, t, END_STAY, 0, "sealed: client killed: %s", sealed_steps[t]);
	}
	for (unsigned i = 0; i < sizeof offers / sizeof *offers; i++) {
		for (int type = QB_IPC_SOCKET; type <= QB_IPC_SHM; type++) {
			add(type, 0, sealed_offer, offers[i].cookie, offers[i].version << 32 | offers[i].features,
			    offers[i].sealed && type == QB_IPC_SHM && !sealed_is_off(), "offer with cookie %lx, version %lx, features %lx",
			    offers[i].cookie, offers[i].version, offers[i].features);
		}
	}
	for (unsigned i = 0; i < sizeof wants / sizeof *wants; i++) {
		add(QB_IPC_SHM, 0, sealed_wants, wants[i], 0, 0, "sealed: client wants %ld bytes", wants[i]);
	}
	add(QB_IPC_SHM, 0, sealed_many, 60, 0, 0, "sealed: 60 clients that never hear their answer");
	add(QB_IPC_SHM, 0, sealed_many, 60, 1, 0, "sealed: 60 clients that never map");
	add(QB_IPC_SHM, NO_ROOM, sealed_many, 80, 0, 0, "sealed: 80 clients that never hear, 64 descriptors");
	rows[row_count - 1].nofile = 64;
	add(QB_IPC_SHM, NO_ROOM, sealed_many, 80, 1, 0, "sealed: 80 whole connections, 64 descriptors");
	rows[row_count - 1].nofile = 64;
	if (geteuid() == 0) { /* needs more descriptors than a user may have */
		add(QB_IPC_SHM, SELF, sealed_many, 2000, 2, 0, "sealed: 2,000 connections of one client");
		rows[row_count - 1].nofile = 4096;
	}
}

#endif

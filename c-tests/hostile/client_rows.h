/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Hostile clients of the shared-memory transport: shared words, chunks, doorbells, files, and ends at every step. */
#ifndef CLIENT_ROWS_H
#define CLIENT_ROWS_H

#include "campaign.h"

#include <pthread.h>

static struct wire w;

static void echo_once(void)
{
	struct wire_msg m = wire_message(V_ECHO, sizeof m);
	char back[64];

	wire_send(&w, &m, sizeof m);
	if (wire_recv(&w, back, sizeof back, 5000) != sizeof m) {
		fprintf(stderr, "the hostile client got no answer to its honest request\n");
		_exit(4);
	}
}

static void enter(uint32_t max)
{
	int rc = wire_connect(&w, me.service, max);

	if (rc != 0) {
		fprintf(stderr, "the hostile client cannot connect: %d\n", rc);
		_exit(4);
	}
	echo_once();
}

static uint32_t value_of(const struct row *row, uint32_t words)
{
	switch (row->c) {
	case 0: return 0;
	case 1: return 1;
	case 2: return words;
	case 3: return words - 1;
	case 4: return words + 1;
	case 5: return 0x80000000u;
	case 6: return 0xffffffffu;
	default: return 0x7fffffffu;
	}
}

/* Makes the server use every ring. */
static void use_rings(void)
{
	struct wire_msg m = wire_message(V_EVENTS, sizeof m);

	for (int i = 0; i < 3; i++) {
		wire_send(&w, &m, sizeof m);
		m.id = V_ECHO;
	}
	wire_ms(10);
}

/* a: ring, b: offset of the word, c: value. */
static void word_at_rest(const struct row *row)
{
	enter(WIRE_MAX_MSG);
	struct wire_ring *r = &w.ring[row->a];

	atomic_store(wire_word(r, (unsigned)row->b), value_of(row, r->words));
	use_rings();
	atomic_store(wire_word(r, (unsigned)row->b), value_of(row, r->words));
	wire_ring_bell(&w, 3);
	in_place();
}

static struct {
	_Atomic uint32_t *word; /* NULL: any word of any shared file */
	uint32_t words;
	pthread_t thread;
	atomic_int stop;
} flip;

static const unsigned header_words[] = {W_WRITE, W_READ, W_SIZE, W_HDR_PATH, W_DATA_PATH, W_REFS, W_SEM, W_SLEEPERS, W_SEM_PRIVATE, W_USER};

/* A word that means something, most of the time. */
static _Atomic uint32_t *any_word(uint32_t random)
{
	struct wire_ring *r = &w.ring[random % 3];

	if (w.control != NULL) {
		return &w.control[random % 6];
	}
	random /= 3;
	return random % 2 ? wire_word(r, header_words[random / 2 % 10]) : wire_data(r, random / 2 % (random & 0x10000 ? 64 : r->words));
}

static void *flipper(void *unused)
{
	uint32_t seed = (uint32_t)getpid();

	(void)unused;
	while (!atomic_load(&flip.stop)) {
		const uint32_t some[] = {0, 1, flip.words, flip.words - 1, flip.words + 1, 0x80000000u, 0xffffffffu,
					 WIRE_READY, 24, 40, 0x7fffffffu};

		seed = seed * 1664525u + 1013904223u;
		atomic_store(flip.word != NULL ? flip.word : any_word((seed >> 3) * 2654435761u), (seed & 16) ? some[(seed >> 8) % 11] : seed % (flip.words + 3));
	}
	return NULL;
}

/* A connection, unless the time is over first. */
static int connected_before(double end)
{
	while (now_ms() < end) {
		if (wire_connect(&w, me.service, WIRE_MAX_MSG) == 0) {
			return 1;
		}
		wire_ms(1);
	}
	return 0;
}

static void start_beside(void *(*disturb)(void *))
{
	atomic_store(&flip.stop, 0);
	pthread_create(&flip.thread, NULL, disturb, NULL);
}

static void stop_and_close(void)
{
	atomic_store(&flip.stop, 1);
	pthread_join(flip.thread, NULL);
	wire_close(&w);
}

/* Sends requests for a while; connects anew whenever the server has had enough. */
static void keep_using(_Atomic uint32_t *(*pick)(const struct row *), const struct row *row)
{
	double end = now_ms() + attack_time();

	in_place();
	while (connected_before(end)) {
		struct wire_msg m = wire_message(V_EVENTS, sizeof m);

		flip.word = pick(row);
		flip.words = w.ring[0].words != 0 ? w.ring[0].words : 24;
		start_beside(flipper);
		for (int i = 0; i < 400 && now_ms() < end; i++) {
			char byte;

			wire_send(&w, &m, sizeof m);
			m.id = 1 + i % 3;
			if (recv(w.stream, &byte, 1, MSG_DONTWAIT) == 0) {
				break; /* thrown out, as it should be */
			}
			if (i % 16 == 0) {
				sched_yield();
			}
		}
		stop_and_close();
	}
}

static _Atomic uint32_t *pick_header(const struct row *row)
{
	return wire_word(&w.ring[row->a], (unsigned)row->b);
}
static _Atomic uint32_t *pick_data(const struct row *row)
{
	return wire_data(&w.ring[row->a], (uint32_t)row->b);
}
static _Atomic uint32_t *pick_any(const struct row *row)
{
	(void)row;
	return NULL;
}
static void all_flip(const struct row *row)
{
	keep_using(pick_any, row);
}
static void word_flips(const struct row *row)
{
	keep_using(pick_header, row);
}
static void data_flips(const struct row *row)
{
	keep_using(pick_data, row);
}

/* a: 0 size or 1 magic of the next chunk, c: value. */
static void chunk_word(const struct row *row)
{
	struct wire_msg m = wire_message(V_ECHO, sizeof m);
	struct wire_ring *r;
	uint32_t at;

	enter(WIRE_MAX_MSG);
	r = &w.ring[R_REQUEST];
	at = r->at;
	wire_alloc(r);
	wire_fill(r, &m, sizeof m);
	wire_commit(r, sizeof m, sizeof m);
	atomic_store(wire_data(r, at + (uint32_t)row->a), value_of(row, r->words));
	wire_post(r);
	wire_ring_bell(&w, 1);
	wire_ms(10);
	in_place();
}

/* The same in a ring that the server writes: a chunk that says it is there already, before the server writes it. */
static void foreign_chunk_word(const struct row *row)
{
	enter(WIRE_MAX_MSG);
	for (int i = R_RESPONSE; i <= R_EVENT; i++) {
		for (uint32_t at = 0; at < w.ring[i].words; at++) {
			atomic_store(wire_data(&w.ring[i], at), value_of(row, w.ring[i].words));
		}
	}
	use_rings();
	in_place();
}

/* a: what the header says, b: length of the chunk, c: id. Both transports. */
static void message_size(const struct row *row)
{
	size_t len = (size_t)row->b;
	char *msg = calloc(1, len + sizeof(struct wire_msg));
	struct wire_msg m = wire_message((int)row->c, (int)row->a);

	enter(WIRE_MAX_MSG);
	memcpy(msg, &m, len < sizeof m ? len : sizeof m);
	for (int i = 0; i < 3; i++) {
		wire_send(&w, msg, len);
	}
	wire_ms(10);
	in_place();
}

/* Messages that were announced by a (count), b (doorbells) and are there or not (c: how many). */
static void announced(const struct row *row)
{
	struct wire_msg m = wire_message(V_SILENT, sizeof m);
	struct wire_ring *r;

	enter(WIRE_MAX_MSG);
	r = &w.ring[R_REQUEST];
	for (long i = 0; i < row->c; i++) {
		wire_alloc(r);
		wire_fill(r, &m, sizeof m);
		wire_commit(r, sizeof m, sizeof m);
	}
	atomic_fetch_add(wire_word(r, W_SEM), (uint32_t)row->a);
	wire_ring_bell(&w, (size_t)row->b);
	wire_ms(10);
	in_place();
}

static void doorbell_flood(const struct row *row)
{
	double end;

	(void)row;
	enter(WIRE_MAX_MSG);
	in_place();
	for (end = now_ms() + attack_time(); now_ms() < end;) {
		wire_ring_bell(&w, 4096);
	}
}

/* Never reads responses and events, asks for ever more. */
static void never_reads(const struct row *row)
{
	struct wire_msg m = wire_message((int)row->a, sizeof m);

	enter(WIRE_MAX_MSG);
	for (int i = 0; i < 3000; i++) {
		wire_send(&w, &m, sizeof m);
		if (i % 100 == 0) {
			wire_ms(1);
		}
		w.ring[R_REQUEST].at = w.ring[R_REQUEST].at; /* never checks for room: overruns its own ring */
	}
	wire_ms(20);
	in_place();
}

enum { S_CONNECTED, S_HALF_ASKED, S_ASKED, S_HEARD, S_OPEN, S_ALLOC, S_COMMITTED, S_POSTED, S_RUNG, S_ANSWERED, S_STEPS };
enum { END_STOP, END_CLOSE, END_STAY };
static const char *const step_names[] = {"connected", "half a request", "request", "answer read", "opened", "claimed",
					 "committed", "posted", "doorbell", "answered"};

/* a: the step to go to, b: what to do there. Being killed comes afterwards in any case. */
static void until_step(const struct row *row)
{
	struct wire_request q = {.id = WIRE_AUTH, .size = 24, .max = WIRE_MAX_MSG};
	struct wire_msg m = wire_message(V_ECHO, sizeof m);
	struct wire_ring *r = &w.ring[R_REQUEST];
	char back[64];

	memset(&w, 0, sizeof w);
	w.requests = w.events = -1;
	w.stream = wire_stream(me.service);
	if (row->a >= S_HALF_ASKED) {
		wire_say(w.stream, &q, 12);
	}
	if (row->a >= S_ASKED) {
		wire_say(w.stream, (char *)&q + 12, 12);
	}
	if (row->a >= S_HEARD && wire_hear(&w) != 0) {
		_exit(4);
	}
	if (row->a >= S_OPEN && wire_open(&w) != 0) {
		_exit(4);
	}
	if (row->type == QB_IPC_SHM) {
		if (row->a >= S_ALLOC) {
			wire_alloc(r);
			wire_fill(r, &m, sizeof m);
		}
		if (row->a >= S_COMMITTED) {
			wire_commit(r, sizeof m, sizeof m);
		}
		if (row->a >= S_POSTED) {
			wire_post(r);
		}
		if (row->a >= S_RUNG) {
			wire_ring_bell(&w, 1);
		}
	} else if (row->a >= S_RUNG) {
		wire_send(&w, &m, sizeof m);
	}
	if (row->a >= S_ANSWERED) {
		wire_recv(&w, back, sizeof back, 1000);
	}
	wire_ms(5);
	in_place();
	if (row->b == END_STOP) {
		raise(SIGSTOP);
	} else if (row->b == END_CLOSE) {
		shutdown(w.stream, SHUT_RDWR);
		close(w.requests);
		close(w.events);
		close(w.stream);
	}
}

/* a: ring, b: 0 header or 1 data, c: new length; a second time after growing back. */
static void truncated(const struct row *row)
{
	enter(WIRE_MAX_MSG);
	struct wire_ring *r = &w.ring[row->a];
	int fd = row->b ? r->dfd : r->hfd;
	struct wire_msg m = wire_message(V_EVENTS, sizeof m);
	off_t whole = row->b ? (off_t)r->words * 4 : WIRE_HEADER_LEN;

	/* A request is on its way when its ring, or another, loses its pages. */
	wire_put(&w.ring[R_REQUEST], &m, sizeof m);
	if (ftruncate(fd, row->c) != 0) {
		_exit(4);
	}
	wire_ring_bell(&w, 3);
	wire_ms(10);
	in_place();
	if (ftruncate(fd, whole) != 0) {
		_exit(4);
	}
	wire_ring_bell(&w, 3);
}

/* All files cut and grown, over and over, while requests come in. */
static void *cutter(void *unused)
{
	(void)unused;
	while (!atomic_load(&flip.stop)) {
		for (int i = 0; i < 3; i++) {
			(void)!ftruncate(w.ring[i].dfd, 0);
			(void)!ftruncate(w.ring[i].dfd, (off_t)w.ring[i].words * 4);
		}
	}
	return NULL;
}

static void truncated_in_use(const struct row *row)
{
	double end = now_ms() + attack_time();

	(void)row;
	in_place();
	while (connected_before(end)) {
		struct wire_msg m = wire_message(V_EVENTS, sizeof m);

		/* Our own accesses must not fault: the descriptors are enough for the thread. */
		for (int i = 0; i < 20; i++) {
			wire_put(&w.ring[R_REQUEST], &m, sizeof m);
		}
		start_beside(cutter);
		for (int i = 0; i < 20; i++) {
			wire_ring_bell(&w, 1);
			sched_yield();
		}
		wire_ms(2);
		stop_and_close();
	}
}

/* Every file of the connection is replaced, a: 0 deleted, 1 symbolic links, 2 hard links, 3 the directory too, 4 paths in
 * the header only; b: as early as the answer has come, else in use. */
static void replaced(const struct row *row)
{
	static const char *const ends[] = {"-header", "-data"};
	char path[4400], dir[4200];

	if (row->b) {
		memset(&w, 0, sizeof w);
		w.stream = wire_stream(me.service);
		wire_ask(&w, WIRE_MAX_MSG);
		wire_hear(&w);
	} else {
		enter(WIRE_MAX_MSG);
	}
	if (row->a == 4) {
		for (int i = 0; i < 3; i++) {
			memset(w.ring[i].header + W_HDR_PATH, 0, 8192);
			strcpy((char *)w.ring[i].header + W_HDR_PATH, me.bystander);
			strcpy((char *)w.ring[i].header + W_DATA_PATH, me.bystander);
		}
	}
	for (int i = 0; i < 6 && row->a != 4; i++) {
		if (row->type == QB_IPC_SHM) {
			snprintf(path, sizeof path, "%s%s", w.answer.name[i / 2], ends[i % 2]);
		} else {
			snprintf(path, sizeof path, "%s", w.answer.name[0]);
		}
		unlink(path);
		if (row->a == 1) {
			(void)!symlink(me.bystander, path);
		} else if (row->a == 2) {
			(void)!link(me.bystander, path);
		}
	}
	if (row->a == 3) {
		char target[4200];

		snprintf(dir, sizeof dir, "%s", w.answer.name[0]);
		*strrchr(dir, '/') = 0;
		snprintf(target, sizeof target, "%s", me.bystander);
		*strrchr(target, '/') = 0;
		rmdir(dir);
		(void)!symlink(target, dir);
	}
	if (!row->b) {
		struct wire_msg m = wire_message(V_EVENTS, sizeof m);

		wire_send(&w, &m, sizeof m);
	}
	wire_ms(10);
	in_place();
	wire_ms(300);
	/* What was put there goes again with the row; the server cleans up only what it made. */
	shutdown(w.stream, SHUT_RDWR);
	close(w.stream);
	wire_ms(20);
	for (int i = 0; i < 6; i++) {
		snprintf(path, sizeof path, "%s%s", w.answer.name[i / 2], row->type == QB_IPC_SHM ? ends[i % 2] : "");
		unlink(path);
	}
	snprintf(dir, sizeof dir, "%s", w.answer.name[0]);
	if (strrchr(dir, '/') != NULL) {
		*strrchr(dir, '/') = 0;
		unlink(dir);
		rmdir(dir);
	}
}

static void client_rows(void)
{
	static const struct { unsigned offset; const char *name; } words[] = {
		{W_WRITE, "write_pt"}, {W_READ, "read_pt"}, {W_SIZE, "word_size"}, {W_HDR_PATH, "hdr_path"},
		{W_DATA_PATH, "data_path"}, {W_REFS, "ref_count"}, {W_SEM, "semaphore"}, {W_SLEEPERS, "sleepers"},
		{W_SEM_PRIVATE, "semaphore's mode"}, {W_USER, "flow control"}};
	static const char *const rings[] = {"request", "response", "event"};
	static const char *const values[] = {"0", "1", "length", "length-1", "length+1", "2^31", "2^32-1", "2^31-1"};
	static const long sizes[] = {-1, INT32_MIN, 0, 1, 15, 16, 23, 25, 41, WIRE_MAX_MSG, WIRE_MAX_MSG + 1, 1 << 20, INT32_MAX};
	static const long lengths[] = {0, 1, 4, 8, 15, 16, 17, 24};
	static const long ids[] = {-3, INT32_MIN, INT32_MAX, -2, -1, 0};

	for (int r = 0; r < 3; r++) {
		for (unsigned o = 0; o < 10; o++) {
			for (int v = 0; v < 8; v++) {
				add(QB_IPC_SHM, 0, word_at_rest, r, words[o].offset, v, "%s ring: %s is %s", rings[r],
				    words[o].name, values[v]);
			}
			add(QB_IPC_SHM, BUSY, word_flips, r, words[o].offset, 0, "%s ring: %s flips", rings[r], words[o].name);
		}
		for (int o = 0; o < 5; o++) {
			static const char *const chunk[] = {"size", "magic", "id", "padding", "message size"};

			add(QB_IPC_SHM, BUSY, data_flips, r, o, 0, "%s ring: first chunk's %s flips", rings[r], chunk[o]);
			add(QB_IPC_SHM, BUSY | SELF, data_flips, r, o, 0, "%s ring: first chunk's %s flips, own user", rings[r],
			    chunk[o]);
		}
		for (int file = 0; file < 2; file++) {
			for (int len = 0; len <= 4096; len += 4096) {
				add(QB_IPC_SHM, 0, truncated, r, file, len, "%s ring: %s cut to %d", rings[r],
				    file ? "data" : "header", len);
			}
		}
	}
	for (int variant = 0; variant < 8; variant++) {
		add(variant & 1 ? QB_IPC_SOCKET : QB_IPC_SHM, BUSY | (variant & 2 ? SELF : 0) | (variant & 4 ? OWN_LOOP : 0), all_flip, 0, 0, 0,
		    "all words flip%s%s", variant & 2 ? ", own user" : "", variant & 4 ? ", own loop" : "");
	}
	for (int v = 0; v < 8; v++) {
		add(QB_IPC_SHM, 0, chunk_word, 0, 0, v, "chunk size is %s", values[v]);
		add(QB_IPC_SHM, SELF, chunk_word, 0, 0, v, "chunk size is %s, own user", values[v]);
		add(QB_IPC_SHM, 0, chunk_word, 1, 0, v, "chunk magic is %s", values[v]);
		add(QB_IPC_SHM, 0, foreign_chunk_word, 0, 0, v, "the server's rings are full of %s", values[v]);
	}
	for (int type = QB_IPC_SOCKET; type <= QB_IPC_SHM; type++) {
		for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
			add(type, 0, message_size, sizes[i], 40, V_ECHO, "message says %ld bytes", sizes[i]);
			add(type, SELF, message_size, sizes[i], 40, V_ECHO, "message says %ld bytes, own user", sizes[i]);
		}
		for (unsigned i = 0; i < sizeof lengths / sizeof *lengths; i++) {
			add(type, 0, message_size, 24, lengths[i], V_ECHO, "message of %ld bytes", lengths[i]);
		}
		add(type, 0, message_size, WIRE_MAX_MSG + 1, WIRE_MAX_MSG + 1, V_ECHO, "message larger than agreed");
		for (unsigned i = 0; i < sizeof ids / sizeof *ids; i++) {
			add(type, 0, message_size, 40, 40, ids[i], "message with id %ld", ids[i]);
		}
		add(type, 0, never_reads, V_ECHO, 0, 0, "responses are never read");
		add(type, 0, never_reads, V_EVENTS, 0, 0, "events are never read");
		for (int s = 0; s < S_STEPS; s++) {
			add(type, 0, until_step, s, END_STOP, 0, "client stopped: %s", step_names[s]);
			add(type, 0, until_step, s, END_CLOSE, 0, "client closes: %s", step_names[s]);
			add(type, 0, until_step, s, END_STAY, 0, "client killed: %s", step_names[s]);
		}
	}
	add(QB_IPC_SHM, 0, announced, 0, 0, 10, "chunks without counts and doorbells");
	add(QB_IPC_SHM, 0, announced, 10, 0, 10, "chunks without doorbells");
	add(QB_IPC_SHM, 0, announced, 0, 10, 10, "chunks without counts");
	add(QB_IPC_SHM, 0, announced, 1, 1, 10, "one count and one doorbell for ten chunks");
	add(QB_IPC_SHM, 0, announced, 3, 8, 10, "three counts and eight doorbells for ten chunks");
	add(QB_IPC_SHM, 0, announced, 5, 0, 0, "counts without chunks");
	add(QB_IPC_SHM, 0, announced, 5, 5, 0, "counts and doorbells without chunks");
	add(QB_IPC_SHM, 0, announced, INT32_MAX, 1, 1, "2^31-1 counts for one chunk");
	add(QB_IPC_SHM, 0, announced, 0, 100000, 0, "100,000 doorbells for nothing");
	add(QB_IPC_SHM, 0, announced, 1, 5000, 1, "5,000 doorbells for one chunk");
	add(QB_IPC_SHM, BUSY, doorbell_flood, 0, 0, 0, "doorbells flood");
	add(QB_IPC_SOCKET, BUSY, doorbell_flood, 0, 0, 0, "bytes flood the unused stream");
	add(QB_IPC_SHM, BUSY, truncated_in_use, 0, 0, 0, "data files cut and grown in use");
	add(QB_IPC_SHM, BUSY | SELF, truncated_in_use, 0, 0, 0, "data files cut and grown in use, own user");
	for (int early = 0; early < 2; early++) {
		static const char *const how[] = {"deleted", "symbolic links", "hard links", "gone and their directory a link"};

		for (int a = 0; a < 4; a++) {
			add(QB_IPC_SHM, SELF | TIDIES, replaced, a, early, 0, "files are %s%s", how[a], early ? ", early" : "");
			add(QB_IPC_SOCKET, SELF | TIDIES, replaced, a, early, 0, "control file is %s%s", how[a], early ? ", early" : "");
		}
	}
	add(QB_IPC_SHM, TIDIES, replaced, 4, 0, 0, "header's paths name another file");
}

#endif

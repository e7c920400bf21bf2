/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Time and memory of arrays, handle databases and maps of 100, 10,000 and 1,000,000 entries. */
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <qb/qbarray.h>
#include <qb/qbhdb.h>
#include <qb/qbmap.h>

#include "bench.h"

enum { KEY = 24 };

static const char *const kinds[] = {"hashtable", "skiplist", "trie"};
static const char *const names[] = {"put", "get", "iterate", "prefix-iterate", "rm", "memory"};
enum { PUT, GET, ITERATE, PREFIX, RM, MEMORY, CELLS };

static char (*keys)[KEY];
static uint32_t *order;
static size_t sink;

static uint64_t state = 1;

static void shuffle(size_t n)
{
	for (size_t i = n; i > 1; i--) {
		size_t j;
		uint32_t t;

		state = state * 6364136223846793005ull + 1442695040888963407ull;
		j = (size_t)((state >> 33) % i);
		t = order[i - 1];
		order[i - 1] = order[j];
		order[j] = t;
	}
}

static size_t memory(void)
{
	struct mallinfo2 m = mallinfo2();

	return m.uordblks + m.hblkhd;
}

static qb_map_t *create(int kind, size_t n)
{
	return kind == 0 ? qb_hashtable_create(n) : kind == 1 ? qb_skiplist_create() : qb_trie_create();
}

static void fill(qb_map_t *m, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		qb_map_put(m, keys[order[i]], keys[order[i]]);
	}
}

static size_t walk(qb_map_t *m, const char *prefix)
{
	qb_map_iter_t *it = prefix == NULL ? qb_map_iter_create(m) : qb_map_pref_iter_create(m, prefix);
	size_t count = 0;
	void *value;

	while (qb_map_iter_next(it, &value) != NULL) {
		count++;
	}
	qb_map_iter_free(it);
	return count;
}

/* Repeats rounds over all n entries until the time is up, and at least once. */
#define ROUNDS(total, ops, ...)                                                          \
	do {                                                                             \
		const uint64_t limit_ = (uint64_t)(bench_seconds() * 0.2e9), begin_ = bench_now_ns(); \
		(ops) = 0, (total) = 0; (void)(total);                                                  \
		do {                                                                     \
			__VA_ARGS__                                                      \
		} while (bench_now_ns() - begin_ < limit_);                              \
	} while (0)

static void cell(const char *group, int kind, int what, const char *size, double value)
{
	char name[64];

	if (value > 0) {
		snprintf(name, sizeof name, "%s-%s/%s", kinds[kind], names[what], size);
		bench_cell(group, name, what == MEMORY ? "bytes" : "ns", value, LOWER);
	}
}

static void maps(int kind, size_t n, const char *size)
{
	int wanted[CELLS], any = 0;
	uint64_t total, start, ops;
	qb_map_t *m;
	size_t before;

	for (int i = 0; i < CELLS; i++) {
		char name[64];

		snprintf(name, sizeof name, "%s-%s/%s", kinds[kind], names[i], size);
		any |= wanted[i] = bench_wants("map", name) && (i != PREFIX || kind == 2);
	}
	if (!any) {
		return;
	}
	if (bench_size == BENCH_TINY && n > 10000) {
		n = 10000;
	}
	shuffle(n);
	qb_map_destroy(create(kind, n)); /* whatever is allocated once */
	if (wanted[PUT] || wanted[RM]) {
		uint64_t put = 0, rm = 0, removed = 0;

		ROUNDS(total, ops, {
			m = create(kind, n);
			start = bench_now_ns();
			fill(m, n);
			put += bench_now_ns() - start;
			start = bench_now_ns();
			ops += n;
			/* Some maps get very slow here, so not to the end at any price. */
			for (size_t i = 0; i < n; i++) {
				if (i % 64 == 0 && bench_now_ns() - start > 1000000000) {
					break;
				}
				sink += (size_t)qb_map_rm(m, keys[order[n - 1 - i]]);
				removed++;
			}
			rm += bench_now_ns() - start;
			qb_map_destroy(m);
		});
		if (wanted[PUT]) {
			cell("map", kind, PUT, size, (double)put / (double)ops);
		}
		if (wanted[RM]) {
			cell("map", kind, RM, size, (double)rm / (double)removed);
		}
	}
	before = memory();
	m = create(kind, n);
	fill(m, n);
	if (wanted[MEMORY]) {
		cell("map", kind, MEMORY, size, (double)(memory() - before) / (double)n);
	}
	shuffle(n);
	if (wanted[GET]) {
		ROUNDS(total, ops, {
			start = bench_now_ns();
			for (size_t i = 0; i < n; i++) {
				sink += qb_map_get(m, keys[order[i]]) != NULL;
			}
			total += bench_now_ns() - start;
			ops += n;
		});
		cell("map", kind, GET, size, (double)total / (double)ops);
	}
	if (wanted[ITERATE]) {
		ROUNDS(total, ops, {
			start = bench_now_ns();
			ops += walk(m, NULL);
			total += bench_now_ns() - start;
		});
		cell("map", kind, ITERATE, size, (double)total / (double)ops);
	}
	if (wanted[PREFIX]) {
		/* Prefixes of ten keys each. */
		ROUNDS(total, ops, {
			start = bench_now_ns();
			for (size_t i = 0; i < n / 10 && i < 10000; i++) {
				char prefix[KEY];

				memcpy(prefix, keys[order[i]], KEY);
				prefix[strlen(prefix) - 1] = '\0';
				ops += walk(m, prefix);
			}
			total += bench_now_ns() - start;
		});
		cell("map", kind, PREFIX, size, (double)total / (double)ops);
	}
	qb_map_destroy(m);
}

static void arrays(void)
{
	uint64_t total, start, ops;
	qb_array_t *a;
	void *p;

	if (!bench_wants("array", "index")) {
		return;
	}
	a = qb_array_create_2(16, 32, 16);
	for (int i = 0; i < 4096; i++) {
		qb_array_index(a, i, &p);
	}
	ROUNDS(total, ops, {
		start = bench_now_ns();
		for (int i = 0; i < 4096; i++) {
			sink += (size_t)qb_array_index(a, i, &p);
		}
		total += bench_now_ns() - start;
		ops += 4096;
	});
	bench_cell("array", "index", "ns", (double)total / (double)ops, LOWER);
	qb_array_free(a);
}

QB_HDB_DECLARE(db, NULL)

static void handles(int n, const char *size)
{
	static qb_handle_t handle[65536];
	uint64_t total, start, ops;
	char create_name[32], get_name[32];
	void *p;

	snprintf(create_name, sizeof create_name, "create/%s", size);
	snprintf(get_name, sizeof get_name, "get-put/%s", size);
	if (!bench_wants("hdb", create_name) && !bench_wants("hdb", get_name)) {
		return;
	}
	if (bench_size == BENCH_TINY && n > 1000) {
		n = 1000;
	}
	ROUNDS(total, ops, {
		start = bench_now_ns();
		for (int i = 0; i < n; i++) {
			qb_hdb_handle_create(&db, 32, &handle[i]);
		}
		total += bench_now_ns() - start;
		ops += (uint64_t)n;
		for (int i = 0; i < n; i++) {
			qb_hdb_handle_destroy(&db, handle[i]);
		}
	});
	if (bench_wants("hdb", create_name)) {
		bench_cell("hdb", create_name, "ns", (double)total / (double)ops, LOWER);
	}
	for (int i = 0; i < n; i++) {
		qb_hdb_handle_create(&db, 32, &handle[i]);
	}
	ROUNDS(total, ops, {
		start = bench_now_ns();
		for (int i = 0; i < n; i++) {
			sink += (size_t)qb_hdb_handle_get(&db, handle[i], &p);
			sink += (size_t)qb_hdb_handle_put(&db, handle[i]);
		}
		total += bench_now_ns() - start;
		ops += (uint64_t)n;
	});
	if (bench_wants("hdb", get_name)) {
		bench_cell("hdb", get_name, "ns", (double)total / (double)ops, LOWER);
	}
	for (int i = 0; i < n; i++) {
		qb_hdb_handle_destroy(&db, handle[i]);
	}
}

int main(int argc, char **argv)
{
	static const struct { size_t n; const char *name; } sizes[] = {{100, "100"}, {10000, "10000"}, {1000000, "1000000"}};

	bench_args(argc, argv);
	keys = malloc(1000000 * sizeof *keys);
	order = malloc(1000000 * sizeof *order);
	if (keys == NULL || order == NULL) {
		return 1;
	}
	for (uint32_t i = 0; i < 1000000; i++) {
		snprintf(keys[i], KEY, "key-%07u", i);
		order[i] = i;
	}
	arrays();
	handles(100, "100");
	handles(5000, "5000");
	for (int s = 0; s < 3; s++) {
		for (uint32_t i = 0; i < 1000000; i++) {
			order[i] = i;
		}
		for (int kind = 0; kind < 3; kind++) {
			maps(kind, sizes[s].n, sizes[s].name);
		}
	}
	fprintf(stderr, "# %zu\n", sink % 10);
	return 0;
}

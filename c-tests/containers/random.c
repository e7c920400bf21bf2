/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Random operations on one container: `random KIND SEED OPERATIONS [-v]` prints a running hash of every result, every
 * callback with its arguments and what it sees, and the final order. Two libraries agree if their outputs are equal; -v
 * prints each step to stderr, to find the first difference.
 *
 * A small model of the contents keeps away from what is undefined or differs on purpose (see COMPATIBILITY.md).
 */
#include "random/random.h"

#include <stddef.h>

#include <qb/qbarray.h>
#include <qb/qbhdb.h>
#include <qb/qbmap.h>

/* ---- Maps ---- */

enum { KEYS = 400, ITERS = 3, LONGEST = 64, WATCHES = 12 };

enum map_kind { HASH, SKIP, TRIE };

static enum map_kind kind;
static qb_map_t *map;
static char text[KEYS][2][LONGEST]; /* two equal strings, to see which pointer comes back */
static int present[KEYS], held[KEYS];
static int quiet; /* callbacks do not look into the map */

struct position {
	qb_map_iter_t *iter;
	int at; /* key number, -1 before the first */
};
static struct position iters[ITERS];

struct watch {
	int used, key; /* -1: the whole map */
	int events;
	char prefix[LONGEST];
};
static struct watch watches[WATCHES];

/* Key number and copy of a pointer that the library gave us. */
static ptrdiff_t identify(const char *key)
{
	ptrdiff_t offset;

	if (key == NULL) {
		return -1;
	}
	offset = key - &text[0][0][0];
	return offset >= 0 && (size_t)offset < sizeof text ? offset / LONGEST : -2;
}

static void watcher(uint32_t event, char *key, void *old_value, void *value, void *user_data)
{
	if (key == NULL) {
		return;
	}
	note("event", event, identify(key), (intptr_t)user_data);
	note("values", (intptr_t)old_value, (intptr_t)value, 0);
	if (!quiet) {
		note("seen", (intptr_t)qb_map_get(map, key), (int64_t)qb_map_count_get(map), 0);
	}
}

static void make_keys(void)
{
	static const char *const stems[] = {"", "a", "ab", "runtime.connections.", "runtime.", "x\x80", "\xff", "nodelist.node.12.ring0_addr."};

	for (int i = 0; i < KEYS; i++) {
	again:;
		char *t = text[i][0];
		uint32_t n = 1 + rnd(rnd(4) == 0 ? 20 : 4);

		strcpy(t, stems[rnd(sizeof stems / sizeof *stems)]);
		for (size_t len = strlen(t); n-- > 0; len++) {
			t[len] = "abc1\x80\x7f"[rnd(6)];
			t[len + 1] = '\0';
		}
		for (int j = 0; j < i; j++) {
			if (strcmp(text[j][0], t) == 0) {
				goto again;
			}
		}
		strcpy(text[i][1], t);
	}
}

static int any_iterator(void)
{
	for (int i = 0; i < ITERS; i++) {
		if (iters[i].iter != NULL) {
			return 1;
		}
	}
	return 0;
}

static int any_held(void)
{
	for (int i = 0; i < KEYS; i++) {
		if (held[i]) {
			return 1;
		}
	}
	return 0;
}

static int stands_on(int key)
{
	for (int i = 0; i < ITERS; i++) {
		if (iters[i].iter != NULL && iters[i].at == key) {
			return 1;
		}
	}
	return 0;
}

static void leave(int key)
{
	if (key >= 0 && !stands_on(key)) {
		held[key] = 0;
	}
}

static void put(void)
{
	int key = rnd(KEYS), copy = rnd(2);

	if (held[key] || (kind == TRIE && !present[key] && any_iterator())) {
		return;
	}
	qb_map_put(map, text[key][copy], (void *)(intptr_t)(1 + rnd(1000)));
	present[key] = 1;
	note("put", key, copy, (int64_t)qb_map_count_get(map));
}

/* The first key of a skip list, which the iterator-on-a-removed-entry cases leave alone. */
static int is_first(int key)
{
	for (int i = 0; i < KEYS; i++) {
		if (present[i] && strcmp(text[i][0], text[key][0]) < 0) {
			return 0;
		}
	}
	return 1;
}

static void drop_watches(int key)
{
	for (int i = 0; i < WATCHES; i++) {
		if (watches[i].used && watches[i].key == key) {
			watches[i].used = 0;
		}
	}
}

static void rm(void)
{
	int key = rnd(KEYS), result;

	if (rnd(20) == 0) {
		note("rm nothing", qb_map_rm(map, "#nothing"), (int64_t)qb_map_count_get(map), 0);
		return;
	}
	if (!present[key]) {
		if (kind == TRIE || held[key]) {
			return;
		}
	} else if (kind == SKIP && (any_held() || (stands_on(key) && is_first(key)))) {
		return;
	}
	result = qb_map_rm(map, text[key][rnd(2)]);
	if (present[key]) {
		held[key] = stands_on(key);
		present[key] = 0;
		if (kind != TRIE) {
			drop_watches(key);
		}
	}
	note("rm", key, result, (int64_t)qb_map_count_get(map));
}

static void get(void)
{
	int key = rnd(KEYS);

	note("get", key, (intptr_t)qb_map_get(map, text[key][rnd(2)]), 0);
}

/* One step; 0 at the end, where the iterator is freed. */
static int step(struct position *p)
{
	void *value = NULL;
	const char *key = qb_map_iter_next(p->iter, &value);
	int before = p->at;

	/* Row map-held-entry of COMPATIBILITY.md: some libraries show what was removed under another iterator. */
	while (key != NULL && held[identify(key) / 2]) {
		key = qb_map_iter_next(p->iter, &value);
	}

	note("next", identify(key), key == NULL ? 0 : (intptr_t)value, (int64_t)qb_map_count_get(map) * 10 + (p - iters));
	p->at = key == NULL ? -1 : (int)(identify(key) / 2);
	leave(before);
	if (key == NULL) {
		qb_map_iter_free(p->iter);
		p->iter = NULL;
	}
	return key != NULL;
}

static void iterate(void)
{
	struct position *p = &iters[rnd(ITERS)];

	if (p->iter == NULL) {
		if (rnd(4) != 0) {
			return;
		}
		if (kind == TRIE && rnd(2) == 0) {
			static char prefix[ITERS][LONGEST];
			char *t = prefix[p - iters];

			strcpy(t, text[rnd(KEYS)][0]);
			t[1 + rnd((uint32_t)strlen(t))] = '\0';
			p->iter = qb_map_pref_iter_create(map, t);
		} else {
			p->iter = qb_map_iter_create(map);
		}
		p->at = -1;
		note("iterator", p - iters, 0, 0);
		return;
	}
	if (kind == TRIE && rnd(100) == 0) {
		int before = p->at;

		qb_map_iter_free(p->iter);
		p->iter = NULL;
		leave(before);
		note("left", 0, 0, 0);
		return;
	}
	step(p);
}

static int32_t visit(const char *key, void *value, void *user_data)
{
	if (identify(key) >= 0 && !held[identify(key) / 2]) {
		note("visit", identify(key), (intptr_t)value, (intptr_t)user_data);
	}
	return 0;
}

static void drain(void)
{
	for (int i = 0; i < ITERS; i++) {
		while (iters[i].iter != NULL && step(&iters[i])) {
		}
	}
}

static void watch(void)
{
	static const int masks[] = {1, 2, 4, 3, 7, 9, 15, 10, 12};
	int i = rnd(WATCHES);
	struct watch *w = &watches[i];
	int result;

	if (kind == TRIE && any_iterator()) {
		return;
	}
	if (w->used) {
		const char *key = w->key == -1 ? NULL : w->prefix;

		result = rnd(2) ? qb_map_notify_del_2(map, key, watcher, w->events, (void *)(intptr_t)i)
				: qb_map_notify_del(map, key, watcher, w->events);
		note("watch del", i, result, 0);
		for (int j = 0; j < WATCHES; j++) { /* notify_del took the others with the same mask as well */
			struct watch *o = &watches[j];

			if (o->used && j != i && o->events == w->events && (o->key == -1) == (w->key == -1) &&
			    (key == NULL || strcmp(o->prefix, w->prefix) == 0)) {
				o->used = qb_map_notify_del_2(map, key, watcher, o->events, (void *)(intptr_t)j) == -ENOENT ? 0 : 2;
				if (o->used == 2) {
					o->used = 0;
				}
			}
		}
		w->used = 0;
		return;
	}
	w->key = rnd(3) == 0 ? -1 : (int)rnd(KEYS);
	w->events = masks[rnd(sizeof masks / sizeof *masks)];
	if (w->key == -1) {
		w->events |= rnd(3) == 0 ? 16 : 0;
		result = qb_map_notify_add(map, NULL, watcher, w->events, (void *)(intptr_t)i);
	} else {
		if (kind != TRIE && (!present[w->key] || held[w->key])) {
			if (!held[w->key]) {
				note("watch none", qb_map_notify_add(map, text[w->key][0], watcher, 7, NULL), 0, 0);
			}
			return;
		}
		strcpy(w->prefix, text[w->key][0]);
		if (kind == TRIE && rnd(2) == 0) {
			w->prefix[1 + rnd((uint32_t)strlen(w->prefix))] = '\0';
		}
		result = qb_map_notify_add(map, w->prefix, watcher, w->events, (void *)(intptr_t)i);
	}
	w->used = result == 0;
	note("watch add", w->key, w->events, result);
}

static void maps(long operations)
{
	make_keys();
	for (long n = 0; n < operations;) {
		long end = n + 20000 < operations ? n + 20000 : operations;

		map = kind == HASH ? qb_hashtable_create(rnd(2) ? 16 : 256) : kind == SKIP ? qb_skiplist_create() : qb_trie_create();
		memset(present, 0, sizeof present);
		memset(watches, 0, sizeof watches);
		for (; n < end; n++) {
			/* Phases that grow, and phases that shrink. */
			uint32_t growing = n / 2000 % 2 == 0 ? 42 : 22, dice = rnd(100);

			/* Tries get new keys in the phases without iterators only, so these must be long enough. */
			if (n % 500 == 0) {
				drain();
			}
			if (n % 500 < 350 && dice >= 75 && dice < 95) {
				get();
			} else if (dice < growing) {
				put();
			} else if (dice < 60) {
				rm();
			} else if (dice < 75) {
				get();
			} else if (dice < 95) {
				iterate();
			} else if (dice < 98) {
				watch();
			} else if (rnd(20) == 0) {
				qb_map_foreach(map, visit, (void *)7);
			}
		}
		drain();
		printf("%zu entries\n", qb_map_count_get(map));
		qb_map_foreach(map, visit, NULL);
		quiet = 1;
		qb_map_destroy(map);
		quiet = 0;
		printf("%ld %016jx\n", n, (uintmax_t)random_hash);
	}
}

/* ---- Array ---- */

static void new_bin(qb_array_t *a, uint32_t bin)
{
	void *p = NULL;

	note("bin", bin, qb_array_index(a, (int32_t)bin * 16, &p), p != NULL);
}

static void arrays(long operations)
{
	enum { SIZE = 12 };

	for (long n = 0; n < operations;) {
		size_t max = rnd(3000), grow = rnd(3) == 0 ? 1 + rnd(16) : 0;
		qb_array_t *a = qb_array_create_2(max, SIZE, grow);
		uint64_t sum = 0;

		note("create", a != NULL, (int64_t)max, (int64_t)grow);
		qb_array_new_bin_cb_set(a, rnd(2) ? new_bin : NULL);
		for (long end = n + 5000 < operations ? n + 5000 : operations; n < end; n++) {
			int32_t at = (int32_t)rnd(rnd(50) == 0 ? 70000 : 4000) - (rnd(100) == 0 ? 5000 : 0);
			void *p = NULL;
			int result = qb_array_index(a, at, &p);

			note("index", at, result, p != NULL);
			if (result == 0) {
				uint32_t old[3];

				memcpy(old, p, SIZE);
				note("content", old[0], old[1], old[2]);
				old[0] = (uint32_t)n;
				old[2] = (uint32_t)at;
				memcpy(p, old, SIZE);
				sum += old[1];
			}
			if (rnd(300) == 0) {
				max = rnd(rnd(10) == 0 ? 80000 : 5000);
				note("grow", (int64_t)max, qb_array_grow(a, max), (int64_t)qb_array_num_bins_get(a));
			}
		}
		note("end", (int64_t)sum, (int64_t)qb_array_elems_per_bin_get(a), 0);
		qb_array_free(a);
	}
	printf("%ld %016jx\n", operations, (uintmax_t)random_hash);
}

/* ---- Handle database ---- */

enum { HANDLES = 500 };
static struct { qb_handle_t handle; int refs, pending; } model[HANDLES];
static int64_t last_mark;

static void destructor(void *instance)
{
	last_mark = *(int64_t *)instance;
	note("destructor", last_mark, 0, 0);
}
QB_HDB_DECLARE(declared, destructor)

static void handles(long operations)
{
	struct qb_hdb *db = &declared;

	for (long n = 0; n < operations; n++) {
		uint32_t i = rnd(HANDLES), dice = rnd(100);
		qb_handle_t h = model[i].handle;
		int64_t *instance = NULL;
		int result;

		if (model[i].refs == 0) {
			if (dice < 50) {
				result = qb_hdb_handle_create(db, 8 + (int32_t)rnd(100), &h);
				note("create", result, qb_hdb_base_convert(h), (h >> 32) != 0 && (h >> 63) == 0);
				note("references", qb_hdb_handle_refcount_get(db, h), 0, 0);
				model[i].handle = h;
				model[i].refs = 1;
				model[i].pending = 0;
				if (qb_hdb_handle_get(db, h, (void **)&instance) == 0) {
					note("zero", *instance, 0, 0);
					*instance = n;
					qb_hdb_handle_put(db, h);
				}
			} else if (h != 0) {
				note("stale", qb_hdb_handle_get(db, h, (void **)&instance), instance == NULL,
				     qb_hdb_handle_put(db, h));
			}
		} else if (dice < 40) {
			if (rnd(4) == 0) {
				h = qb_hdb_nocheck_convert(qb_hdb_base_convert(h));
			}
			result = qb_hdb_handle_get(db, h, (void **)&instance);
			note("get", result, instance == NULL ? -1 : *instance, qb_hdb_handle_refcount_get(db, h));
			model[i].refs += result == 0;
		} else if (dice < 75) {
			if (model[i].refs > 1 || model[i].pending) {
				note("put", qb_hdb_base_convert(h), qb_hdb_handle_put(db, h), 0);
				model[i].refs--;
			}
		} else if (dice < 90) {
			if (!model[i].pending) {
				note("destroy", qb_hdb_base_convert(h), qb_hdb_handle_destroy(db, h), 0);
				model[i].pending = 1;
				model[i].refs--;
			}
		} else if (dice < 92) {
			qb_hdb_iterator_reset(db);
			while ((result = qb_hdb_iterator_next(db, (void **)&instance, &h)) == 0) {
				note("next", qb_hdb_base_convert(h), *instance, qb_hdb_handle_refcount_get(db, h));
				qb_hdb_handle_put(db, h);
			}
			note("last", result, 0, 0);
		} else {
			note("wrong", qb_hdb_handle_get(db, h ^ (1ull << 40), (void **)&instance),
			     qb_hdb_handle_put(db, h ^ (1ull << 40)), qb_hdb_handle_refcount_get(db, HANDLES + 5));
		}
	}
	for (int i = 0; i < HANDLES; i++) { /* whatever is left, in order */
		if (model[i].refs > 0 && !model[i].pending) {
			qb_hdb_handle_destroy(db, model[i].handle);
			model[i].refs--;
		}
		while (model[i].refs > 0) {
			qb_hdb_handle_put(db, model[i].handle);
			model[i].refs--;
		}
	}
	qb_hdb_destroy(db);
	printf("%ld %016jx\n", operations, (uintmax_t)random_hash);
}

int main(int argc, char **argv)
{
	static const char *const names[] = {"hashtable", "skiplist", "trie"};
	long operations;

	if (argc < 4) {
		fprintf(stderr, "usage: %s hashtable|skiplist|trie|array|hdb SEED OPERATIONS [-v]\n", argv[0]);
		return 2;
	}
	random_state = strtoull(argv[2], NULL, 10) * 0x9e3779b97f4a7c15ull;
	operations = strtol(argv[3], NULL, 10);
	random_verbose = argc > 4;
	for (int k = HASH; k <= TRIE; k++) {
		if (strcmp(argv[1], names[k]) == 0) {
			kind = (enum map_kind)k;
			maps(operations);
			return 0;
		}
	}
	if (strcmp(argv[1], "array") == 0) {
		arrays(operations);
	} else if (strcmp(argv[1], "hdb") == 0) {
		handles(operations);
	} else {
		return 2;
	}
	return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Iterators of qb/qbmap.h that come, go and end in any order: a map keeps the memory of one for the next. */
#include <qb/qbdefs.h>
#include <qb/qbmap.h>

#include "check.h"

enum { HASH, SKIP, TRIE, ENTRIES = 90 };
static int kind;
static qb_map_t *m;
static char keys[ENTRIES][8];

static void fill(void)
{
	m = kind == HASH ? qb_hashtable_create(32) : kind == SKIP ? qb_skiplist_create() : qb_trie_create();
	for (int i = 0; i < ENTRIES; i++) {
		snprintf(keys[i], sizeof keys[i], "k%02d", i);
		qb_map_put(m, keys[i], keys[i]);
	}
}

/* So many steps at most; how many there were. */
static int step(qb_map_iter_t *it, int most)
{
	void *v;
	int n = 0;

	while (n < most && qb_map_iter_next(it, &v) != NULL) {
		n++;
	}
	return n;
}

static int all(const char *prefix)
{
	qb_map_iter_t *it = prefix == NULL ? qb_map_iter_create(m) : qb_map_pref_iter_create(m, prefix);
	int n = step(it, 1000);

	qb_map_iter_free(it);
	return n;
}

static void an_iterator_knows_nothing_of_the_one_before_it(void)
{
	static const int left_after[] = {0, 1, 5, 30, ENTRIES, ENTRIES + 1};
	const int ten = kind == TRIE ? 10 : ENTRIES;

	fill();
	for (size_t i = 0; i < sizeof left_after / sizeof *left_after; i++) {
		qb_map_iter_t *it = i % 2 ? qb_map_pref_iter_create(m, "k3") : qb_map_iter_create(m);

		step(it, left_after[i]);
		if (i % 3 == 1) {
			/* What it has read ahead is closed. */
			qb_map_rm(m, keys[50]);
			qb_map_put(m, keys[50], keys[50]);
		}
		qb_map_iter_free(it);
		CHECK_EQ(all(NULL), ENTRIES);
		CHECK_EQ(all("k3"), ten);
		CHECK_EQ(all(NULL), ENTRIES);
		CHECK_EQ(all("k42"), kind == TRIE ? 1 : ENTRIES);
		CHECK_EQ(all(""), kind == TRIE ? 0 : ENTRIES);
		CHECK_EQ(all("k3"), ten);
	}
	qb_map_destroy(m);
}

static void iterators_at_once_do_not_meet(void)
{
	qb_map_iter_t *a, *b, *c;

	fill();
	a = qb_map_iter_create(m);
	b = qb_map_iter_create(m);
	CHECK(a != b);
	CHECK_EQ(step(a, 40), 40);
	CHECK_EQ(step(b, 1), 1);
	qb_map_iter_free(a);
	c = qb_map_iter_create(m);
	CHECK(c != b);
	CHECK_EQ(step(c, 10), 10);
	CHECK_EQ(step(b, 1000), ENTRIES - 1);
	CHECK_EQ(all(NULL), ENTRIES);
	qb_map_iter_free(b);
	/* There is a spare one already. */
	CHECK_EQ(step(c, 1000), ENTRIES - 10);
	qb_map_iter_free(c);
	a = qb_map_iter_create(m), b = qb_map_iter_create(m), c = qb_map_iter_create(m);
	CHECK(a != b && b != c && a != c);
	CHECK_EQ(step(b, 2) + step(c, 3), 5);
	qb_map_iter_free(c);
	qb_map_iter_free(a);
	CHECK_EQ(step(b, 1000), ENTRIES - 2);
	qb_map_iter_free(b);
	CHECK_EQ(all(NULL), ENTRIES);
	qb_map_destroy(m);
}

static void iterators_may_be_freed_after_their_map(void)
{
	for (int spare = 0; spare < 2; spare++) {
		qb_map_iter_t *fresh, *running, *ended;

		fill();
		fresh = qb_map_iter_create(m), running = qb_map_iter_create(m), ended = qb_map_iter_create(m);
		step(running, 3);
		step(ended, 1000);
		if (spare) {
			all(NULL);
		}
		qb_map_destroy(m);
		CHECK_EQ(step(fresh, 1) + step(running, 1) + step(ended, 1), 0);
		qb_map_iter_free(running);
		CHECK_EQ(step(fresh, 1), 0);
		qb_map_iter_free(fresh);
		qb_map_iter_free(ended);
	}
}

static qb_map_iter_t *to_free, *kept;
static int walked, told, keeping;

/* Frees an iterator, maybe the one that is moving, and uses others. */
static void on_deleted(uint32_t event, char *key, void *old_value, void *value, void *user_data)
{
	qb_map_iter_t *it = to_free;

	(void)event, (void)key, (void)old_value, (void)value, (void)user_data;
	told++;
	to_free = NULL;
	qb_map_iter_free(it);
	walked = all(NULL);
	if (keeping) {
		kept = qb_map_iter_create(m);
		CHECK_EQ(step(kept, 1), 1);
	}
}

/* Another iterator's memory is spare, or not. */
static qb_map_iter_t *create(int spare)
{
	qb_map_iter_t *it = qb_map_iter_create(m);

	if (spare) {
		all(NULL);
	}
	return it;
}

static void watch(qb_map_iter_t *it)
{
	to_free = it, walked = told = 0;
}

static void callbacks_may_free_iterators(void)
{
	for (int spare = 0; spare < 2; spare++) {
		const char *key;
		qb_map_iter_t *it, *other;
		void *v;

		fill();
		qb_map_notify_add(m, NULL, on_deleted, QB_MAP_NOTIFY_DELETED | QB_MAP_NOTIFY_RECURSIVE, NULL);
		other = create(spare);

		/* One that stands elsewhere, or nowhere. */
		it = create(spare);
		watch(it);
		CHECK_EQ(qb_map_rm(m, keys[89]), QB_TRUE);
		CHECK_EQ(told, 1);
		CHECK_EQ(walked, ENTRIES - 1);

		/* The one that moves off the entry. */
		it = create(spare);
		key = qb_map_iter_next(it, &v);
		watch(it);
		CHECK_EQ(qb_map_rm(m, key), QB_TRUE);
		CHECK_EQ(told, 0);
		CHECK(qb_map_iter_next(it, &v) == NULL);
		CHECK_EQ(told, 1);
		CHECK_EQ(walked, ENTRIES - 2);

		/* The same, and its successor is kept, with a step taken. */
		it = create(spare);
		key = qb_map_iter_next(it, &v);
		watch(it);
		keeping = 1;
		CHECK_EQ(qb_map_rm(m, key), QB_TRUE);
		CHECK(qb_map_iter_next(it, &v) == NULL);
		keeping = 0;
		CHECK_EQ(step(kept, 1000), ENTRIES - 4);
		qb_map_iter_free(kept);

		/* Another than the one that is freed. */
		it = create(spare);
		key = qb_map_iter_next(it, &v);
		watch(other);
		CHECK_EQ(qb_map_rm(m, key), QB_TRUE);
		qb_map_iter_free(it);
		CHECK_EQ(told, 1);
		CHECK_EQ(walked, ENTRIES - 4);
		CHECK_EQ(qb_map_count_get(m), ENTRIES - 4);

		/* While the map is destroyed. */
		it = create(spare);
		qb_map_iter_next(it, &v);
		watch(it);
		qb_map_destroy(m);
		CHECK_EQ(told, ENTRIES - 4);
	}
}

int main(void)
{
	for (kind = HASH; kind <= TRIE; kind++) {
		RUN(an_iterator_knows_nothing_of_the_one_before_it);
		RUN(iterators_at_once_do_not_meet);
		RUN_OURS(iterators_may_be_freed_after_their_map, "map-iterator-left");
		RUN_OURS(callbacks_may_free_iterators, "map-callbacks");
	}
	return check_done();
}

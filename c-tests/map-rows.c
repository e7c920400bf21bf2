/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qb/qbmap.h: maps that are large, or change a lot while they are iterated, and rows of COMPATIBILITY.md about that. */
#include <qb/qbdefs.h>
#include <qb/qbmap.h>

#include "check.h"

enum { MANY = 20000 };

static char names[MANY][16];
static qb_map_t *(*const makers[])(void) = { qb_skiplist_create, qb_trie_create };

static void name_all(void)
{
	for (int i = 0; i < MANY; i++) {
		snprintf(names[i], sizeof names[i], "k%05d", i);
	}
}

/* The numbers of the keys that an iterator yields from where it is, in a sum that depends on their order. */
static unsigned long rest(qb_map_iter_t *it, int *count)
{
	unsigned long sum = 0;
	const char *key;
	void *value;

	for (*count = 0; (key = qb_map_iter_next(it, &value)) != NULL; ++*count) {
		CHECK(key == value);
		sum = sum * 31 + (unsigned long)atoi(key + 1);
	}
	return sum;
}

static unsigned long everything(qb_map_t *m, int *count)
{
	qb_map_iter_t *it = qb_map_iter_create(m);
	unsigned long sum = rest(it, count);

	qb_map_iter_free(it);
	return sum;
}

/* Gaps of all sizes, from one entry to thousands, and iterators that cross them. The sums are the reference's. */
static void gaps(qb_map_t *m)
{
	qb_map_iter_t *it;
	unsigned long before;
	const char *first;
	void *value;
	int count;

	for (int i = 0; i < MANY; i++) {
		qb_map_put(m, names[i], names[i]);
	}
	before = everything(m, &count);
	CHECK_EQ(count, MANY);
	CHECK_EQ(everything(m, &count) == before, 1);
	/* One iterator stands on its third entry while nearly all others go. */
	it = qb_map_iter_create(m);
	qb_map_iter_next(it, &value);
	qb_map_iter_next(it, &value);
	first = qb_map_iter_next(it, &value);
	for (int i = 0; i < MANY; i++) {
		if (i % 5000 != 77 && i % 5000 != 78) {
			CHECK_EQ(qb_map_rm(m, names[i]), QB_TRUE);
		}
	}
	CHECK_EQ(qb_map_get(m, "k00077") == names[77], 1);
	rest(it, &count);
	CHECK_EQ(count, 8);
	qb_map_iter_free(it);
	before = everything(m, &count);
	CHECK_EQ(count, 8);
	/* And back, in another order. */
	for (int i = MANY - 1; i >= 0; i--) {
		if (i % 5000 != 77 && i % 5000 != 78) {
			qb_map_put(m, names[i], names[i]);
		}
	}
	everything(m, &count);
	CHECK_EQ(count, MANY);
	it = qb_map_iter_create(m);
	for (int i = 0; i < MANY; i++) {
		const char *key = qb_map_iter_next(it, &value);

		CHECK(key != NULL);
		if (i % 3 == 0) {
			CHECK_EQ(qb_map_rm(m, key), QB_TRUE);
		}
	}
	CHECK(qb_map_iter_next(it, &value) == NULL);
	qb_map_iter_free(it);
	everything(m, &count);
	CHECK_EQ(count, MANY - (MANY + 2) / 3);
	CHECK_EQ(qb_map_count_get(m), count);
	CHECK(first != NULL);
	qb_map_destroy(m);
}

static void iterators_cross_gaps_in_sorted_maps(void)
{
	name_all();
	for (int k = 0; k < 2; k++) {
		gaps(makers[k]());
	}
}

/* Few buckets, and as many as entries. */
static void iterators_cross_gaps_in_hash_tables(void)
{
	name_all();
	gaps(qb_hashtable_create(100));
	gaps(qb_hashtable_create(MANY));
}

/* The same puts and removals, with iterations in between, give the same order as without. */
static void iterating_does_not_change_the_order(void)
{
	int count;

	name_all();
	for (int kind = 0; kind < 3; kind++) {
		qb_map_t *m[2];

		for (int k = 0; k < 2; k++) {
			m[k] = kind == 2 ? qb_hashtable_create(3000) : makers[kind]();
			for (int i = 0; i < MANY; i++) {
				int n = (int)((long)i * 7919 % MANY);

				qb_map_put(m[k], names[n], names[n]);
				if (i % 3 == 2) {
					qb_map_rm(m[k], names[(int)((long)(i / 2) * 7919 % MANY)]);
				}
				if (k == 0 && (i == 300 || i % 4000 == 3999)) {
					everything(m[k], &count);
				}
			}
		}
		CHECK_EQ(everything(m[0], &count) == everything(m[1], &count), 1);
		CHECK(count > MANY / 2);
		qb_map_destroy(m[0]);
		qb_map_destroy(m[1]);
	}
}

static void a_prefix_is_copied(void)
{
	qb_map_t *m = qb_trie_create();
	char prefix[] = "a.";
	qb_map_iter_t *it;
	const char *key;
	void *value;

	qb_map_put(m, "a.1", "1");
	qb_map_put(m, "b.2", "2");
	it = qb_map_pref_iter_create(m, prefix);
	prefix[0] = 'b';
	key = qb_map_iter_next(it, &value);
	CHECK(key != NULL);
	CHECK_EQ_COMPAT(key == NULL ? 0 : key[0], 'b', 'a', "map-prefix-copied");
	qb_map_iter_free(it);
	qb_map_destroy(m);
}

/* Eight buckets. Going along the entries of one bucket for each of these takes many times the watchdog's minute. */
static void a_small_hash_table_finds_many_entries(void)
{
	enum { LOTS = 600000 };
	static char keys[LOTS][12];
	qb_map_t *m = qb_hashtable_create(1);
	int found = 0;

	for (int i = 0; i < LOTS; i++) {
		snprintf(keys[i], sizeof keys[i], "%d", i);
		qb_map_put(m, keys[i], keys[i]);
	}
	for (int i = 0; i < LOTS; i++) {
		found += qb_map_get(m, keys[i]) == keys[i];
	}
	CHECK_EQ(found, LOTS);
	CHECK_EQ(qb_map_count_get(m), LOTS);
	qb_map_destroy(m);
}

int main(void)
{
	RUN_OURS(iterators_cross_gaps_in_sorted_maps, "map-held-entry");
	RUN(iterators_cross_gaps_in_hash_tables);
	RUN(iterating_does_not_change_the_order);
	RUN(a_prefix_is_copied);
	RUN_OURS(a_small_hash_table_finds_many_entries, "map-hash-lookup");
	return check_done();
}

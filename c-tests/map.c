/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qb/qbmap.h: each test runs on all three kinds unless it says otherwise. */
#include <qb/qbdefs.h>
#include <qb/qbmap.h>

#include "check.h"

enum { HASH, SKIP, TRIE };
static int kind;
static qb_map_t *m;

static qb_map_t *make(void)
{
	return kind == HASH ? qb_hashtable_create(32) : kind == SKIP ? qb_skiplist_create() : qb_trie_create();
}

/* What the callbacks were told, as text: "I a -1;" */
static char told[4096];
static int null_keys;

static void tell(uint32_t event, char *key, void *old_value, void *value, void *user_data)
{
	size_t n = strlen(told);

	if (key == NULL) {
		null_keys++;
		return;
	}
	snprintf(told + n, sizeof told - n, "%s%s %s %s>%s;", (const char *)user_data,
		 event == QB_MAP_NOTIFY_DELETED ? "D" : event == QB_MAP_NOTIFY_REPLACED ? "R" :
		 event == QB_MAP_NOTIFY_INSERTED ? "I" : event == QB_MAP_NOTIFY_FREE ? "F" : "?",
		 key, old_value ? (const char *)old_value : "-", value ? (const char *)value : "-");
}

#define ALL (QB_MAP_NOTIFY_DELETED | QB_MAP_NOTIFY_REPLACED | QB_MAP_NOTIFY_INSERTED | QB_MAP_NOTIFY_RECURSIVE)
#define TOLD(text) do { CHECK_STR(told, text); told[0] = '\0'; } while (0)

static void put(const char *key, const char *value) { qb_map_put(m, key, value); }

/* All keys from an iterator, joined. */
static const char *rest(qb_map_iter_t *it)
{
	static char text[4096];
	const char *key;
	void *v;

	text[0] = '\0';
	while ((key = qb_map_iter_next(it, &v)) != NULL) {
		strcat(strcat(text, key), " ");
	}
	return text;
}

static const char *all(const char *prefix)
{
	qb_map_iter_t *it = prefix ? qb_map_pref_iter_create(m, prefix) : qb_map_iter_create(m);
	const char *text = rest(it);

	qb_map_iter_free(it);
	return text;
}

static void entries_are_put_found_replaced_and_removed(void)
{
	static char again[] = "k1";
	qb_map_iter_t *it;
	void *v = NULL;

	m = make();
	put("k1", "one"), put("k12", "two"), put("k34", "three"), put("k3", "four");
	CHECK_EQ(qb_map_count_get(m), 4);
	CHECK_STR(qb_map_get(m, "k1"), "one");
	CHECK_STR(qb_map_get(m, "k3"), "four");
	CHECK(qb_map_get(m, "k") == NULL && qb_map_get(m, "k345") == NULL && qb_map_get(m, "") == NULL);
	put(again, "new");
	CHECK_EQ(qb_map_count_get(m), 4);
	CHECK_STR(qb_map_get(m, "k1"), "new");
	it = qb_map_pref_iter_create(m, "k1");
	for (const char *key; (key = qb_map_iter_next(it, &v)) != NULL;) {
		CHECK(strcmp(key, "k1") != 0 || (key == again && strcmp(v, "new") == 0));
	}
	qb_map_iter_free(it);
	CHECK_EQ(qb_map_rm(m, "k12"), QB_TRUE);
	CHECK_EQ(qb_map_rm(m, "k12"), QB_FALSE);
	CHECK_EQ(qb_map_rm(m, "zz"), QB_FALSE);
	CHECK_EQ(qb_map_rm(m, ""), QB_FALSE);
	CHECK_EQ(qb_map_count_get(m), 3);
	put("k12", "back");
	CHECK_STR(qb_map_get(m, "k12"), "back");
	qb_map_destroy(m);
}

static void the_order_is_that_of_the_kind(void)
{
	m = make();
	put("b", "1"), put("a", "1"), put("ab", "1"), put("\xc3\xa9", "1"), put("Z", "1"), put("aa", "1");
	CHECK_STR(all(NULL), kind == SKIP ? "Z a aa ab b \xc3\xa9 " : kind == TRIE ? "\xc3\xa9 Z a aa ab b " : all(NULL));
	CHECK_STR(all("a"), kind == TRIE ? "a aa ab " : all(NULL));
	if (kind == TRIE) {
		CHECK_STR(all("zz"), "");
		CHECK_STR(all("aa"), "aa ");
		CHECK_STR(all(""), "");
	}
	qb_map_destroy(m);
	/* bucket order: 64 buckets for 32 */
	m = make();
	put("a", "1"), put("b", "1"), put("c", "1"), put("d", "1"), put("e", "1");
	CHECK_STR(all(NULL), kind == HASH ? "a b d c e " : "a b c d e ");
	qb_map_destroy(m);
}

static int32_t stop_at_second(const char *key, void *value, void *user_data)
{
	(void)key, (void)value;
	return ++*(int *)user_data == 2;
}

static void foreach_ends_when_told(void)
{
	int n = 0;

	m = make();
	put("a", "1"), put("b", "1"), put("c", "1");
	qb_map_foreach(m, stop_at_second, &n);
	CHECK_EQ(n, 2);
	qb_map_destroy(m);
}

static void global_notifiers_hear_everything_in_order(void)
{
	static char k2[] = "k";

	m = make();
	CHECK_EQ(qb_map_notify_add(m, NULL, tell, ALL | QB_MAP_NOTIFY_FREE, "f"), 0);
	CHECK_EQ(qb_map_notify_add(m, NULL, tell, ALL, "x"), 0);
	CHECK_EQ(qb_map_notify_add(m, NULL, tell, ALL, "x"), -EEXIST);
	CHECK_EQ(qb_map_notify_add(m, NULL, NULL, ALL | QB_MAP_NOTIFY_FREE, "other"), -EEXIST);
	CHECK_EQ(qb_map_notify_add(m, NULL, tell, ALL, "y"), 0);
	CHECK_EQ(qb_map_notify_add(m, "k", tell, QB_MAP_NOTIFY_FREE, "y"), -EINVAL);
	put("k", "1");
	TOLD("yI k ->1;xI k ->1;fI k ->1;");
	put(k2, "2");
	TOLD("yR k 1>2;xR k 1>2;fR k 1>2;fF k 1>2;");
	CHECK_EQ(qb_map_notify_del_2(m, NULL, tell, ALL, "x"), 0);
	CHECK_EQ(qb_map_notify_del_2(m, NULL, tell, ALL, "x"), -ENOENT);
	qb_map_rm(m, "k");
	TOLD("yD k 2>-;fD k 2>-;fF k 2>-;");
	CHECK_EQ(qb_map_notify_del(m, NULL, tell, ALL), 0);
	CHECK_EQ(qb_map_notify_del(m, NULL, tell, ALL), -ENOENT);
	CHECK_EQ(qb_map_notify_del(m, NULL, tell, ALL | QB_MAP_NOTIFY_FREE), 0);
	put("k", "1");
	TOLD("");
	qb_map_destroy(m);
}

static void key_notifiers_belong_to_entries_or_to_prefixes(void)
{
	m = make();
	CHECK_EQ(qb_map_notify_add(m, "add", tell, ALL, "p"), kind == HASH ? -ENOENT : kind == SKIP ? -EINVAL : 0);
	put("add", "0");
	if (kind != TRIE) {
		CHECK_EQ(qb_map_notify_add(m, "add", tell, ALL, "p"), 0);
	}
	CHECK_EQ(qb_map_notify_add(m, "add", tell, QB_MAP_NOTIFY_DELETED, "own"), 0);
	told[0] = '\0';
	put("adder", "1"), put("adjust", "1"), put("adder", "2"), qb_map_rm(m, "adder");
	TOLD(kind == TRIE ? "pI adder ->1;pR adder 1>2;pD adder 2>-;" : "");
	qb_map_rm(m, "add");
	TOLD(kind == TRIE ? "ownD add 0>-;pD add 0>-;" : "ownD add 0>-;pD add 0>-;");
	put("add", "3");
	TOLD(kind == TRIE ? "pI add ->3;" : "");
	CHECK_EQ(qb_map_notify_del(m, "nothing", tell, ALL), -ENOENT);
	CHECK_EQ(qb_map_notify_del(m, "add", tell, ALL), kind == TRIE ? 0 : -ENOENT);
	told[0] = '\0';
	qb_map_destroy(m);
}

static size_t seen_count;
static void *seen_value;

static void look(uint32_t event, char *key, void *old_value, void *value, void *user_data)
{
	(void)event, (void)old_value, (void)value, (void)user_data;
	if (key != NULL) {
		seen_count = qb_map_count_get(m);
		seen_value = qb_map_get(m, key);
	}
}

static void callbacks_see_the_state_of_their_kind(void)
{
	m = make();
	qb_map_notify_add(m, NULL, look, ALL, NULL);
	put("a", "1");
	CHECK_EQ(seen_count, kind == SKIP ? 0 : 1);
	CHECK_EQ(seen_value != NULL, kind != SKIP);
	put("a", "2");
	CHECK_STR(seen_value, "2");
	qb_map_rm(m, "a");
	CHECK_EQ(seen_count, 1);
	CHECK_EQ(seen_value != NULL, kind != SKIP);
	CHECK_EQ(qb_map_count_get(m), 0);
	qb_map_destroy(m);
}

static void the_current_entry_stays_until_the_iterator_moves(void)
{
	qb_map_iter_t *it;
	const char *key;
	void *v;

	m = make();
	qb_map_notify_add(m, NULL, tell, QB_MAP_NOTIFY_DELETED | QB_MAP_NOTIFY_RECURSIVE, "");
	put("aaaa", "1"), put("bbbb", "2"), put("cccc", "3"), put("dddd", "4");
	it = qb_map_iter_create(m);
	while (strcmp(key = qb_map_iter_next(it, &v), "bbbb") != 0) {
	}
	CHECK_EQ(qb_map_rm(m, "bbbb"), QB_TRUE);
	CHECK_EQ(qb_map_count_get(m), 3);
	CHECK_EQ(qb_map_get(m, "bbbb") != NULL, kind != SKIP);
	TOLD("");
	put("ggggg", "5");
	rest(it);
	TOLD("D bbbb 2>-;");
	qb_map_iter_free(it);
	CHECK_EQ(qb_map_count_get(m), 4);
	CHECK(qb_map_get(m, "bbbb") == NULL);
	qb_map_destroy(m);
	told[0] = '\0';
}

static void a_new_iterator_sees_what_was_put_before_its_first_step(void)
{
	static char keys[62][2];
	static const char order[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
	qb_map_iter_t *it;
	void *v;

	m = make();
	it = qb_map_iter_create(m);
	for (int i = 0; i < 62; i++) {
		keys[i][0] = order[i];
	}
	for (int i = 61; i >= 0; i--) {
		put(keys[i], "1");
	}
	for (int i = 0; i < 62; i++) {
		const char *key = qb_map_iter_next(it, &v);

		CHECK(key != NULL && (kind == HASH || key[0] == order[i]));
	}
	CHECK(qb_map_iter_next(it, &v) == NULL);
	qb_map_iter_free(it);
	qb_map_destroy(m);
}

static void hundred_thousand_entries_are_kept_and_removed(void)
{
	enum { N = 100000 };
	static char keys[N][12];
	qb_map_iter_t *it;
	size_t n = 0;
	void *v;

	m = kind == HASH ? qb_hashtable_create(N) : make();
	for (int i = 0; i < N; i++) {
		snprintf(keys[i], sizeof keys[i], "%x", (unsigned)i * 2654435761u);
		put(keys[i], keys[i]);
	}
	CHECK_EQ(qb_map_count_get(m), N);
	for (int i = 0; i < N; i++) {
		CHECK(qb_map_get(m, keys[i]) == keys[i]);
	}
	it = qb_map_iter_create(m);
	for (const char *key, *last = ""; (key = qb_map_iter_next(it, &v)) != NULL; last = key) {
		CHECK(kind == HASH || strcmp(last, key) < 0);
		n++;
	}
	qb_map_iter_free(it);
	CHECK_EQ(n, N);
	for (int i = N - 1; i >= 0; i--) {
		CHECK_EQ(qb_map_rm(m, keys[i]), QB_TRUE);
	}
	CHECK_EQ(qb_map_count_get(m), 0);
	qb_map_destroy(m);
}

static size_t counts;

static void count_entries(uint32_t event, char *key, void *old_value, void *value, void *user_data)
{
	(void)event, (void)old_value, (void)value, (void)user_data;
	if (key != NULL) {
		counts = counts * 10 + qb_map_count_get(m);
	}
}

static void the_count_during_the_end_is_that_of_the_kind(void)
{
	m = make();
	put("a", "1");
	put("b", "2");
	put("ab", "3");
	qb_map_notify_add(m, NULL, count_entries, QB_MAP_NOTIFY_DELETED | QB_MAP_NOTIFY_RECURSIVE, NULL);
	qb_map_destroy(m);
	CHECK_EQ(counts, kind == HASH ? 321 : 333);
}

/* ---- Corrections: COMPATIBILITY.md ---- */

static void destroying_a_skip_list_tells_of_entries_only(void)
{
	if (kind != SKIP) {
		return;
	}
	m = make();
	qb_map_notify_add(m, NULL, tell, ALL, "");
	put("a", "1");
	qb_map_destroy(m);
	CHECK_EQ_COMPAT(null_keys, 2, 0, "map-null-events");
}

static void creating_a_skip_list_leaves_the_random_numbers_alone(void)
{
	long first;

	srandom(7);
	first = random();
	srandom(7);
	m = make();
	CHECK_EQ_COMPAT(random() == first, kind != SKIP, 1, "map-random");
	qb_map_destroy(m);
}

static void leave_early(void)
{
	qb_map_iter_t *it;
	void *v;

	m = make();
	qb_map_notify_add(m, NULL, tell, QB_MAP_NOTIFY_DELETED | QB_MAP_NOTIFY_RECURSIVE, "");
	put("a", "1");
	it = qb_map_iter_create(m);
	qb_map_iter_next(it, &v);
	qb_map_iter_free(it);
	CHECK_EQ(qb_map_rm(m, "a"), QB_TRUE);
}

static void an_iterator_freed_early_lets_go_of_its_entry(void)
{
	leave_early();
	CHECK_EQ_COMPAT(strcmp(told, "D a 1>-;") == 0, kind == TRIE, 1, "map-iterator-left");
	CHECK_EQ_COMPAT(qb_map_get(m, "a") == NULL, kind != HASH, 1, "map-iterator-left");
}

static void the_end_of_an_iteration_stays_the_end(void)
{
	qb_map_iter_t *it;
	void *v;

	m = make();
	put("a", "1");
	it = qb_map_iter_create(m);
	rest(it);
	CHECK(qb_map_iter_next(it, &v) == NULL);
	CHECK(qb_map_iter_next(it, &v) == NULL);
	qb_map_iter_free(it);
	CHECK_STR(qb_map_get(m, "a"), "1");
	qb_map_destroy(m);
}

static void a_held_entry_is_removed_once(void)
{
	qb_map_iter_t *it;
	void *v;

	m = make();
	qb_map_notify_add(m, NULL, tell, ALL, "");
	put("a", "1"), put("b", "2");
	it = qb_map_iter_create(m);
	CHECK(qb_map_iter_next(it, &v) != NULL);
	const char *key = v == NULL || *(char *)v == '1' ? "a" : "b";
	told[0] = '\0';
	CHECK_EQ(qb_map_rm(m, key), QB_TRUE);
	CHECK_EQ(qb_map_rm(m, key), QB_FALSE);
	CHECK_EQ(qb_map_count_get(m), 1);
	put(key, "3"); /* an entry of its own */
	CHECK_STR(told, key[0] == 'a' ? "I a ->3;" : "I b ->3;");
	CHECK_EQ(qb_map_count_get(m), 2);
	rest(it);
	qb_map_iter_free(it);
	CHECK_STR(qb_map_get(m, key), "3");
	CHECK_EQ(qb_map_count_get(m), 2);
	qb_map_destroy(m);
}

static void only_entries_can_be_removed_from_a_trie(void)
{
	if (kind != TRIE) {
		return;
	}
	m = make();
	put("test1", "1"), put("test2", "2");
	CHECK_EQ_COMPAT(qb_map_rm(m, "test"), QB_TRUE, QB_FALSE, "map-inner-nodes");
	CHECK_EQ_COMPAT(qb_map_count_get(m), 1, 2, "map-inner-nodes");
}

static void notifiers_are_deleted_by_their_own_key(void)
{
	if (kind != TRIE) {
		return;
	}
	m = make();
	CHECK_EQ(qb_map_notify_add(m, "abcdef", tell, ALL, ""), 0);
	CHECK_EQ_COMPAT(qb_map_notify_del(m, "abc", tell, ALL), 0, -ENOENT, "map-notify-del-prefix");
}

static void null_values_are_counted_once(void)
{
	m = make();
	put("a", NULL), put("a", NULL);
	CHECK_EQ_COMPAT(qb_map_count_get(m), kind == TRIE ? 2 : 1, 1, "map-null-values");
	CHECK_STR(all(NULL), kind == TRIE ? "" : "a ");
}

static void splitting_does_not_disturb_iterators(void)
{
	qb_map_iter_t *it;
	void *v;

	m = make();
	put("abc1", "1"), put("b", "2");
	it = qb_map_pref_iter_create(m, "abc");
	while (strcmp(qb_map_iter_next(it, &v), "abc1") != 0) {
	}
	put("ab", "3"), put("abd", "4");
	if (kind == TRIE) {
		CHECK_STR(rest(it), "");
	}
	qb_map_iter_free(it);
	CHECK_EQ(qb_map_rm(m, "abc1"), QB_TRUE);
	CHECK(qb_map_get(m, "abc1") == NULL);
	qb_map_destroy(m);
}

static void predecessors_of_a_held_entry_may_go(void)
{
	qb_map_iter_t *it;
	void *v;

	m = make();
	put("a", "1"), put("b", "1"), put("c", "1"), put("d", "1");
	it = qb_map_iter_create(m);
	while (strcmp(qb_map_iter_next(it, &v), "c") != 0) {
	}
	qb_map_rm(m, "c"), qb_map_rm(m, "b"), qb_map_rm(m, "a");
	if (kind != HASH) {
		CHECK_STR(rest(it), "d ");
	}
	qb_map_iter_free(it);
	CHECK_EQ(qb_map_count_get(m), 1);
	qb_map_destroy(m);
}

static void remove_all(uint32_t event, char *key, void *old_value, void *value, void *user_data)
{
	(void)event, (void)old_value, (void)value;
	CHECK(key != NULL);
	CHECK_EQ(qb_map_notify_del_2(m, NULL, remove_all, ALL, user_data), 0);
	CHECK_EQ(qb_map_notify_del_2(m, NULL, tell, ALL, "other"), 0);
	qb_map_put(m, "from the callback", "1");
}

static void callbacks_may_delete_notifiers_and_put(void)
{
	m = make();
	qb_map_notify_add(m, NULL, tell, ALL, "other");
	qb_map_notify_add(m, NULL, remove_all, ALL, "me");
	put("a", "1");
	TOLD("");
	CHECK_STR(qb_map_get(m, "a"), "1");
	CHECK_STR(qb_map_get(m, "from the callback"), "1");
	CHECK_EQ(qb_map_count_get(m), 2);
	qb_map_destroy(m);
}

static void the_empty_key_is_a_key(void)
{
	m = make();
	put("", "e"), put("a", "1");
	CHECK_STR(qb_map_get(m, ""), "e");
	CHECK_EQ(qb_map_rm(m, ""), QB_TRUE);
	CHECK_EQ(qb_map_rm(m, ""), QB_FALSE);
	CHECK_EQ(qb_map_count_get(m), 1);
	qb_map_destroy(m);
}

static void an_absurd_size_hint_is_taken(void)
{
	m = qb_hashtable_create((size_t)-1);
	CHECK(m != NULL);
	put("a", "1");
	CHECK_STR(qb_map_get(m, "a"), "1");
	qb_map_destroy(m);
}

static void removed_entries_are_hidden_from_other_iterators(void)
{
	qb_map_iter_t *it;
	void *v;

	m = make();
	put("a", "1");
	it = qb_map_iter_create(m);
	qb_map_iter_next(it, &v);
	qb_map_rm(m, "a");
	CHECK_STR(all(NULL), "");
	rest(it);
	qb_map_iter_free(it);
	qb_map_destroy(m);
}

static void a_trie_key_is_not_read_after_put(void)
{
	char key[64] = "a key that is longer than what fits into an entry";

	if (kind != TRIE) {
		return;
	}
	m = make();
	put(key, "1");
	memset(key, 'x', 40);
	CHECK_STR(qb_map_get(m, "a key that is longer than what fits into an entry"), "1");
	CHECK_EQ(qb_map_rm(m, "a key that is longer than what fits into an entry"), QB_TRUE);
	qb_map_destroy(m);
}

static void null_arguments_are_harmless(void)
{
	void *v;

	m = make();
	qb_map_put(m, NULL, "1");
	CHECK(qb_map_get(m, NULL) == NULL && qb_map_get(NULL, "a") == NULL);
	CHECK_EQ(qb_map_rm(m, NULL), QB_FALSE);
	CHECK_EQ(qb_map_count_get(NULL), 0);
	CHECK(qb_map_iter_create(NULL) == NULL && qb_map_iter_next(NULL, &v) == NULL);
	qb_map_foreach(m, NULL, NULL);
	qb_map_iter_free(NULL);
	qb_trie_dump(NULL);
	CHECK_EQ(qb_map_notify_add(NULL, NULL, tell, 1, NULL), -EINVAL);
	qb_map_destroy(m);
	qb_map_destroy(NULL);
}

int main(void)
{
	for (kind = HASH; kind <= TRIE; kind++) {
		RUN(entries_are_put_found_replaced_and_removed);
		RUN(the_order_is_that_of_the_kind);
		RUN(foreach_ends_when_told);
		RUN(global_notifiers_hear_everything_in_order);
		RUN(key_notifiers_belong_to_entries_or_to_prefixes);
		RUN(callbacks_see_the_state_of_their_kind);
		RUN(the_current_entry_stays_until_the_iterator_moves);
		RUN(a_new_iterator_sees_what_was_put_before_its_first_step);
		RUN(the_count_during_the_end_is_that_of_the_kind);
		RUN(destroying_a_skip_list_tells_of_entries_only);
		RUN(creating_a_skip_list_leaves_the_random_numbers_alone);
		RUN(an_iterator_freed_early_lets_go_of_its_entry);
		RUN(only_entries_can_be_removed_from_a_trie);
		RUN(notifiers_are_deleted_by_their_own_key);
		RUN(null_values_are_counted_once);
		RUN(a_trie_key_is_not_read_after_put);
		RUN_OURS(removed_entries_are_hidden_from_other_iterators, "map-held-entry");
		RUN_OURS(hundred_thousand_entries_are_kept_and_removed, "map-skiplist-index");
		RUN_OURS(the_end_of_an_iteration_stays_the_end, "map-iterator-left");
		RUN_OURS(a_held_entry_is_removed_once, "map-held-entry");
		RUN_OURS(splitting_does_not_disturb_iterators, "map-trie-split");
		RUN_OURS(predecessors_of_a_held_entry_may_go, "map-held-entry");
		RUN_OURS(callbacks_may_delete_notifiers_and_put, "map-callbacks");
		RUN_OURS(the_empty_key_is_a_key, "map-empty-key");
		RUN_OURS(null_arguments_are_harmless, "containers-null");
	}
	RUN_OURS(an_absurd_size_hint_is_taken, "map-hash-size");
	return check_done();
}

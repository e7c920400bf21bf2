/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qb/qbhdb.h */
#include <pthread.h>
#include <stddef.h>

#include <qb/qbdefs.h>
#include <qb/qbhdb.h>

#include "check.h"

_Static_assert(sizeof(struct qb_hdb) == 40 && offsetof(struct qb_hdb, first_run) == 32, "layout");
_Static_assert(offsetof(struct qb_hdb, handles) == 8 && offsetof(struct qb_hdb, destructor) == 24, "layout");
_Static_assert(sizeof(struct qb_hdb_handle) == 24 && offsetof(struct qb_hdb_handle, ref_count) == 20, "layout");

static int destroyed;
static void *last;

static void destructor(void *instance)
{
	destroyed++;
	last = instance;
}

QB_HDB_DECLARE(declared, destructor)
QB_HDB_DECLARE(unused, NULL)

static void a_declared_database_works_without_being_created(void)
{
	qb_handle_t h = 0;
	uint64_t *p = NULL;
	void *q;

	CHECK_EQ(declared.first_run, QB_TRUE);
	CHECK_EQ(qb_hdb_handle_create(&declared, 64, &h), 0);
	CHECK_EQ(declared.first_run, 0);
	CHECK_EQ(declared.handle_count, 1);
	CHECK_EQ(qb_hdb_base_convert(h), 0);
	CHECK((h >> 32) != 0 && (h >> 63) == 0);
	CHECK_EQ(qb_hdb_handle_get(&declared, h, (void **)&p), 0);
	CHECK(p != NULL && p[0] == 0 && p[7] == 0);
	CHECK_EQ(qb_hdb_handle_get_always(&declared, h, &q), 0);
	CHECK(q == p);
	CHECK_EQ(qb_hdb_handle_refcount_get(&declared, h), 3);
	CHECK_EQ(qb_hdb_handle_put(&declared, h), 0);
	CHECK_EQ(qb_hdb_handle_put(&declared, h), 0);
	CHECK_EQ(qb_hdb_handle_destroy(&declared, h), 0);
	CHECK(destroyed == 1 && last == p);
	CHECK_EQ(qb_hdb_handle_get(&declared, h, &q), -EBADF);
	CHECK(q == NULL);
	CHECK_EQ(qb_hdb_handle_put(&declared, h), -EBADF);
	CHECK_EQ(qb_hdb_handle_destroy(&declared, h), -EBADF);
	CHECK_EQ(qb_hdb_handle_refcount_get(&declared, h), -EBADF);
}

static void pending_removal_keeps_users_and_refuses_new_ones(void)
{
	qb_handle_t h;
	void *p, *q;

	qb_hdb_handle_create(&declared, 8, &h);
	CHECK_EQ(qb_hdb_handle_get(&declared, h, &p), 0);
	CHECK_EQ(qb_hdb_handle_destroy(&declared, h), 0);
	CHECK_EQ(destroyed, 0);
	CHECK_EQ(qb_hdb_handle_get(&declared, h, &q), -EBADF);
	CHECK_EQ(qb_hdb_handle_refcount_get(&declared, h), 1);
	CHECK_EQ(qb_hdb_handle_put(&declared, h), 0);
	CHECK(destroyed == 1 && last == p);
}

static void the_last_put_destroys_without_destroy(void)
{
	qb_handle_t h;

	qb_hdb_handle_create(&declared, 0, &h);
	CHECK_EQ(qb_hdb_handle_put(&declared, h), 0);
	CHECK_EQ(destroyed, 1);
}

static void checks_are_compared_unless_there_is_none(void)
{
	qb_handle_t h;
	void *p;

	qb_hdb_handle_create(&declared, 8, &h);
	CHECK_EQ(qb_hdb_handle_get(&declared, h ^ (1ull << 35), &p), -EBADF);
	CHECK_EQ(qb_hdb_handle_get(&declared, h + 1, &p), -EBADF);
	CHECK(qb_hdb_nocheck_convert(0) == 0xffffffff00000000ull);
	CHECK(qb_hdb_nocheck_convert(7) == 0xffffffff00000007ull);
	CHECK_EQ(qb_hdb_handle_get(&declared, qb_hdb_nocheck_convert(qb_hdb_base_convert(h)), &p), 0);
	CHECK_EQ(qb_hdb_handle_put(&declared, qb_hdb_nocheck_convert(0)), 0);
	CHECK_EQ(qb_hdb_handle_destroy(&declared, h), 0);
}

/* Row hdb-check: 1 to 2^31 - 1, and not what random() would say. */
static void checks_do_not_follow_the_random_generator(void)
{
	qb_handle_t h;
	int same = 0;

	for (int i = 0; i < 50; i++) {
		uint32_t check;

		srandom(7);
		qb_hdb_handle_create(&declared, 8, &h);
		check = (uint32_t)(h >> 32);
		CHECK(check >= 1 && check <= INT32_MAX);
		srandom(7);
		same += check == (uint32_t)random();
		CHECK_EQ(qb_hdb_handle_destroy(&declared, h), 0);
	}
	CHECK_EQ_COMPAT(same == 50, 1, 0, "hdb-check");
}

/* Row hdb-handles-private: what a program would find that looks into the structure. */
static void the_table_of_a_database_is_its_own(void)
{
	qb_handle_t h;
	void *p;

	qb_hdb_handle_create(&declared, 8, &h);
	CHECK(declared.handles != NULL);
	CHECK_EQ_COMPAT(qb_array_index(declared.handles, 0, &p), 0, -ERANGE, "hdb-handles-private");
	CHECK_EQ(qb_hdb_handle_destroy(&declared, h), 0);
}

static void entries_are_reused_from_the_lowest(void)
{
	qb_handle_t h[100], again;

	for (int i = 0; i < 100; i++) {
		CHECK_EQ(qb_hdb_handle_create(&declared, 4, &h[i]), 0);
		CHECK_EQ(qb_hdb_base_convert(h[i]), i);
	}
	qb_hdb_handle_destroy(&declared, h[70]);
	qb_hdb_handle_destroy(&declared, h[20]);
	qb_hdb_handle_create(&declared, 4, &again);
	CHECK_EQ(qb_hdb_base_convert(again), 20);
	qb_hdb_handle_create(&declared, 4, &again);
	CHECK_EQ(qb_hdb_base_convert(again), 70);
	CHECK_EQ(declared.handle_count, 100);
}

static void iteration_takes_references_in_index_order(void)
{
	qb_handle_t h[4], found;
	void *p;
	int n = 0;

	for (int i = 0; i < 4; i++) {
		qb_hdb_handle_create(&declared, 4, &h[i]);
	}
	qb_hdb_handle_destroy(&declared, h[1]);
	qb_hdb_handle_get(&declared, h[2], &p);
	qb_hdb_handle_destroy(&declared, h[2]); /* pending */
	qb_hdb_iterator_reset(&declared);
	while (qb_hdb_iterator_next(&declared, &p, &found) == 0) {
		CHECK(found == h[n == 0 ? 0 : 3]);
		CHECK_EQ(qb_hdb_handle_refcount_get(&declared, found), 2);
		qb_hdb_handle_put(&declared, found);
		n++;
	}
	CHECK_EQ(n, 2);
	CHECK_EQ(qb_hdb_iterator_next(&declared, &p, &found), -1);
	qb_hdb_handle_put(&declared, h[2]);
	qb_hdb_handle_destroy(&declared, h[3]);
	qb_hdb_iterator_reset(&declared);
	CHECK_EQ(qb_hdb_iterator_next(&declared, &p, &found), 0);
	CHECK_EQ(qb_hdb_iterator_next(&declared, &p, &found), -EBADF);
}

static void a_created_database_can_be_destroyed_and_created_again(void)
{
	struct qb_hdb db;
	qb_handle_t h;
	void *p;

	memset(&db, 0x5a, sizeof db);
	qb_hdb_create(&db);
	CHECK(db.destructor == NULL && db.first_run == 0);
	db.destructor = destructor;
	CHECK_EQ(qb_hdb_iterator_next(&db, &p, &h), -1);
	CHECK_EQ(qb_hdb_handle_create(&db, -1, &h), -ENOMEM);
	CHECK_EQ(qb_hdb_handle_create(&db, 10, &h), 0);
	CHECK_EQ(qb_hdb_handle_destroy(&db, h), 0);
	CHECK_EQ(destroyed, 1);
	qb_hdb_destroy(&db);
	CHECK_EQ(qb_hdb_handle_create(&db, 10, &h), -EINVAL);
	CHECK_EQ(qb_hdb_handle_get(&db, h, &p), -EBADF);
	qb_hdb_create(&db);
	CHECK_EQ(qb_hdb_handle_create(&db, 10, &h), 0);
	qb_hdb_handle_destroy(&db, h);
	qb_hdb_destroy(&db);
}

static void destroying_twice_takes_no_one_elses_reference(void)
{
	qb_handle_t h;
	void *p;

	qb_hdb_handle_create(&declared, 4, &h);
	qb_hdb_handle_get(&declared, h, &p);
	qb_hdb_handle_get(&declared, h, &p);
	CHECK_EQ(qb_hdb_handle_destroy(&declared, h), 0);
	CHECK_EQ_COMPAT(qb_hdb_handle_destroy(&declared, h), 0, -EBADF, "hdb-inactive-handle");
	CHECK_EQ_COMPAT(qb_hdb_handle_refcount_get(&declared, h), 1, 2, "hdb-inactive-handle");
}

static void an_empty_entry_is_a_bad_handle(void)
{
	qb_handle_t h;

	qb_hdb_handle_create(&declared, 4, &h);
	qb_hdb_handle_destroy(&declared, h);
	CHECK_EQ_COMPAT(qb_hdb_handle_put(&declared, qb_hdb_nocheck_convert(0)), 0, -EBADF, "hdb-inactive-handle");
	CHECK_EQ_COMPAT(qb_hdb_handle_destroy(&declared, qb_hdb_nocheck_convert(0)), 0, -EBADF, "hdb-inactive-handle");
}

static void a_database_never_used_can_be_destroyed(void)
{
	qb_hdb_destroy(&unused);
	CHECK_EQ(unused.first_run, 0);
}

static void sixty_five_thousand_handles_are_the_limit(void)
{
	qb_handle_t h, first = 0;

	for (int i = 0; i < 65536; i++) {
		CHECK_EQ(qb_hdb_handle_create(&declared, 0, &h), 0);
		first = i == 0 ? h : first;
	}
	CHECK_EQ(qb_hdb_handle_create(&declared, 0, &h), -EINVAL);
	CHECK_EQ(qb_hdb_handle_destroy(&declared, first), 0);
	CHECK_EQ(qb_hdb_handle_create(&declared, 0, &h), 0);
	CHECK_EQ(qb_hdb_base_convert(h), 0);
}

static int thread_destroyed;

static void count_destroyed(void *instance)
{
	CHECK_EQ(*(int *)instance, 77);
	__atomic_add_fetch(&thread_destroyed, 1, __ATOMIC_RELAXED);
}
QB_HDB_DECLARE(threaded, count_destroyed)

static void *user(void *arg)
{
	(void)arg;
	for (int i = 0; i < 20000; i++) {
		qb_handle_t h;
		int *p, *q;

		CHECK_EQ(qb_hdb_handle_create(&threaded, sizeof *p, &h), 0);
		CHECK_EQ(qb_hdb_handle_get(&threaded, h, (void **)&p), 0);
		__atomic_store_n(p, 77, __ATOMIC_RELAXED);
		if (qb_hdb_handle_get(&threaded, qb_hdb_nocheck_convert((uint32_t)i % 4), (void **)&q) == 0) {
			__atomic_store_n(q, 77, __ATOMIC_RELAXED); /* still valid */
			qb_hdb_handle_put(&threaded, qb_hdb_nocheck_convert((uint32_t)i % 4));
		}
		CHECK_EQ(qb_hdb_handle_destroy(&threaded, h), 0);
		CHECK_EQ(qb_hdb_handle_put(&threaded, h), 0);
	}
	return NULL;
}

static void threads_share_a_database(void)
{
	pthread_t t[4];

	for (int i = 0; i < 4; i++) {
		pthread_create(&t[i], NULL, user, NULL);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], NULL);
	}
	CHECK_EQ(thread_destroyed, 80000);
}

int main(void)
{
	RUN(a_declared_database_works_without_being_created);
	RUN(pending_removal_keeps_users_and_refuses_new_ones);
	RUN(the_last_put_destroys_without_destroy);
	RUN(checks_are_compared_unless_there_is_none);
	RUN(checks_do_not_follow_the_random_generator);
	RUN(the_table_of_a_database_is_its_own);
	RUN(entries_are_reused_from_the_lowest);
	RUN(iteration_takes_references_in_index_order);
	RUN(a_created_database_can_be_destroyed_and_created_again);
	RUN(destroying_twice_takes_no_one_elses_reference);
	RUN(an_empty_entry_is_a_bad_handle);
	RUN_OURS(a_database_never_used_can_be_destroyed, "hdb-unused-destroy");
	RUN_OURS(sixty_five_thousand_handles_are_the_limit, "hdb-many");
	RUN_OURS(threads_share_a_database, "hdb-threads");
	return check_done();
}

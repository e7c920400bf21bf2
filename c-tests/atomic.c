/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qb/qbatomic.h: functions and macros, alone and with several threads. */
#include <pthread.h>

#include <qb/qbatomic.h>

#include "check.h"

static void init_may_be_called_again(void)
{
	qb_atomic_init();
	qb_atomic_init();
}

static void an_addition_tells_the_value_before(void)
{
	int32_t n = 5;

	CHECK_EQ(qb_atomic_int_exchange_and_add(&n, 3), 5);
	CHECK_EQ(qb_atomic_int_exchange_and_add(&n, -10), 8);
	CHECK_EQ(n, -2);
	qb_atomic_int_add(&n, 44);
	CHECK_EQ(n, 42);
}

static void sums_wrap_around(void)
{
	int32_t n = INT32_MAX;

	CHECK_EQ(qb_atomic_int_exchange_and_add(&n, 1), INT32_MAX);
	CHECK_EQ(n, INT32_MIN);
	qb_atomic_int_add(&n, -1);
	CHECK_EQ(n, INT32_MAX);
}

static void an_exchange_needs_the_expected_value(void)
{
	int32_t n = 1;
	int a, b;
	void *p = &a;

	CHECK_EQ(qb_atomic_int_compare_and_exchange(&n, 2, 3), QB_FALSE);
	CHECK_EQ(n, 1);
	CHECK_EQ(qb_atomic_int_compare_and_exchange(&n, 1, -3), QB_TRUE);
	CHECK_EQ(n, -3);
	CHECK_EQ(qb_atomic_pointer_compare_and_exchange((volatile void **)&p, &b, NULL), QB_FALSE);
	CHECK(p == &a);
	CHECK_EQ(qb_atomic_pointer_compare_and_exchange((volatile void **)&p, &a, &b), QB_TRUE);
	CHECK(p == &b);
	CHECK_EQ(qb_atomic_pointer_compare_and_exchange((volatile void **)&p, &b, NULL), QB_TRUE);
	CHECK(p == NULL);
}

static void values_are_read_and_written_by_macros(void)
{
	int32_t n = 0;
	uint32_t u = 0; /* any type of the right size will do */
	const char *text = NULL;

	qb_atomic_int_set(&n, -7);
	CHECK_EQ(n, -7);
	CHECK_EQ(qb_atomic_int_get(&n), -7);
	qb_atomic_int_set(&u, 9);
	CHECK_EQ(qb_atomic_int_get(&u), 9);
	qb_atomic_pointer_set(&text, (void *)(uintptr_t)"text");
	CHECK_STR((const char *)qb_atomic_pointer_get(&text), "text");
}

static void values_are_read_and_written_by_functions(void)
{
	int32_t n = 0;
	void *p = NULL;

	(qb_atomic_int_set)(&n, INT32_MIN);
	CHECK_EQ((qb_atomic_int_get)(&n), INT32_MIN);
	(qb_atomic_pointer_set)((volatile void **)&p, &n);
	CHECK((qb_atomic_pointer_get)((volatile void **)&p) == &n);
}

static void counters_count(void)
{
	int32_t n = 1;

	qb_atomic_int_inc(&n);
	CHECK_EQ(n, 2);
	CHECK_EQ(qb_atomic_int_dec_and_test(&n), 0);
	CHECK_EQ(qb_atomic_int_dec_and_test(&n), 1);
	CHECK_EQ(n, 0);
	CHECK_EQ(qb_atomic_int_dec_and_test(&n), 0);
	CHECK_EQ(n, -1);
}

#define THREADS 4
#define TURNS 50000

static int32_t shared_sum, shared_turns;

static void *add_and_exchange(void *unused)
{
	int i;

	for (i = 0; i < TURNS; i++) {
		int32_t seen;

		qb_atomic_int_inc(&shared_sum);
		do {
			seen = qb_atomic_int_get(&shared_turns);
		} while (!qb_atomic_int_compare_and_exchange(&shared_turns, seen, seen + 1));
	}
	return unused;
}

static void no_count_is_lost_between_threads(void)
{
	pthread_t threads[THREADS];
	int i;

	for (i = 0; i < THREADS; i++) {
		CHECK_EQ(pthread_create(&threads[i], NULL, add_and_exchange, NULL), 0);
	}
	for (i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
	}
	CHECK_EQ(shared_sum, THREADS * TURNS);
	CHECK_EQ(shared_turns, THREADS * TURNS);
}

static int payload;
static void *mailbox;

static void *send_payload(void *unused)
{
	payload = 42;
	qb_atomic_pointer_set(&mailbox, &payload);
	return unused;
}

static void who_sees_a_pointer_sees_what_was_written_before(void)
{
	pthread_t thread;
	int *got;

	CHECK_EQ(pthread_create(&thread, NULL, send_payload, NULL), 0);
	do {
		got = qb_atomic_pointer_get(&mailbox);
	} while (got == NULL);
	CHECK_EQ(*got, 42);
	pthread_join(thread, NULL);
}

static void null_is_ignored(void)
{
	volatile int32_t *no_int = NULL;
	volatile void **no_pointer = NULL;

	CHECK_EQ(qb_atomic_int_exchange_and_add(no_int, 1), 0);
	qb_atomic_int_add(no_int, 1);
	CHECK_EQ(qb_atomic_int_compare_and_exchange(no_int, 0, 1), QB_FALSE);
	CHECK_EQ(qb_atomic_pointer_compare_and_exchange(no_pointer, NULL, NULL), QB_FALSE);
	CHECK_EQ((qb_atomic_int_get)(no_int), 0);
	(qb_atomic_int_set)(no_int, 1);
	CHECK((qb_atomic_pointer_get)(no_pointer) == NULL);
	(qb_atomic_pointer_set)(no_pointer, NULL);
}

int main(void)
{
	RUN(init_may_be_called_again);
	RUN(an_addition_tells_the_value_before);
	RUN(sums_wrap_around);
	RUN(an_exchange_needs_the_expected_value);
	RUN(values_are_read_and_written_by_macros);
	RUN(values_are_read_and_written_by_functions);
	RUN(counters_count);
	RUN(no_count_is_lost_between_threads);
	RUN(who_sees_a_pointer_sees_what_was_written_before);
	RUN_OURS(null_is_ignored, "util-null-arguments");
	return check_done();
}

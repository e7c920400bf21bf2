/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qb/qbutil.h: locks, clocks, error texts, stopwatch, log hook, version. */
#include <pthread.h>
#include <stddef.h>
#include <time.h>

#include <qb/qbutil.h>

#include "check.h"

static void sleep_ms(long ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000 };

	while (nanosleep(&ts, &ts) != 0) {
	}
}

/* ---- Locks ---- */

static void a_held_lock_is_busy(void)
{
	int type;

	for (type = QB_THREAD_LOCK_SHORT; type <= QB_THREAD_LOCK_LONG; type++) {
		qb_thread_lock_t *tl = qb_thread_lock_create((qb_thread_lock_type_t)type);

		CHECK(tl != NULL);
		CHECK_EQ(qb_thread_trylock(tl), 0);
		CHECK_EQ(qb_thread_trylock(tl), -EBUSY);
		CHECK_EQ(qb_thread_unlock(tl), 0);
		CHECK_EQ(qb_thread_lock(tl), 0);
		CHECK_EQ(qb_thread_trylock(tl), -EBUSY);
		CHECK_EQ(qb_thread_unlock(tl), 0);
		CHECK_EQ(qb_thread_lock_destroy(tl), 0);
	}
}

static void an_unknown_kind_is_a_long_lock(void)
{
	qb_thread_lock_t *tl = qb_thread_lock_create((qb_thread_lock_type_t)77);

	CHECK(tl != NULL);
	CHECK_EQ(qb_thread_lock(tl), 0);
	CHECK_EQ(qb_thread_lock_destroy(tl), -EBUSY);
}

static void only_a_long_lock_tells_that_it_was_held(void)
{
	qb_thread_lock_t *tl = qb_thread_lock_create(QB_THREAD_LOCK_SHORT);

	CHECK_EQ(qb_thread_lock(tl), 0);
	CHECK_EQ(qb_thread_lock_destroy(tl), 0);
	tl = qb_thread_lock_create(QB_THREAD_LOCK_LONG);
	CHECK_EQ(qb_thread_lock(tl), 0);
	CHECK_EQ(qb_thread_lock_destroy(tl), -EBUSY);
}

#define THREADS 4
#define TURNS 20000

static qb_thread_lock_t *counter_lock;
static volatile int counter;

static void *count(void *unused)
{
	int i;

	for (i = 0; i < TURNS; i++) {
		qb_thread_lock(counter_lock);
		counter = counter + 1;
		qb_thread_unlock(counter_lock);
	}
	return unused;
}

static void one_thread_at_a_time_holds_a_lock(void)
{
	int type, i;

	for (type = QB_THREAD_LOCK_SHORT; type <= QB_THREAD_LOCK_LONG; type++) {
		pthread_t threads[THREADS];

		counter = 0;
		counter_lock = qb_thread_lock_create((qb_thread_lock_type_t)type);
		for (i = 0; i < THREADS; i++) {
			CHECK_EQ(pthread_create(&threads[i], NULL, count, NULL), 0);
		}
		for (i = 0; i < THREADS; i++) {
			pthread_join(threads[i], NULL);
		}
		CHECK_EQ(counter, THREADS * TURNS);
		CHECK_EQ(qb_thread_lock_destroy(counter_lock), 0);
	}
}

/* ---- Clocks ---- */

static void check_add_ms(long sec, long nsec, int32_t ms, long want_sec, long want_nsec)
{
	struct timespec ts = { sec, nsec };

	qb_timespec_add_ms(&ts, ms);
	CHECK_EQ(ts.tv_sec, want_sec);
	CHECK_EQ(ts.tv_nsec, want_nsec);
}

static void milliseconds_are_added_with_carry(void)
{
	check_add_ms(1, 999999999, 2500, 4, 499999999);
	check_add_ms(0, 0, 0, 0, 0);
	check_add_ms(5, 0, 1, 5, 1000000);
	check_add_ms(5, 999000000, 1, 6, 0);
	check_add_ms(5, 500000000, 999, 6, 499000000);
	check_add_ms(5, 0, INT32_MAX, 5 + 2147483, 647000000);
	check_add_ms(10, 5000000, -4, 10, 1000000);
	check_add_ms(10, 0, -3000, 7, 0);
}

static void negative_milliseconds_leave_a_valid_time(void)
{
	struct timespec ts = { 10, 0 };

	qb_timespec_add_ms(&ts, -1);
	CHECK_EQ_COMPAT(ts.tv_sec, 10, 9, "util-timespec-negative");
	CHECK_EQ_COMPAT(ts.tv_nsec, -1000000, 999000000, "util-timespec-negative");
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * QB_TIME_NS_IN_SEC + (uint64_t)ts.tv_nsec;
}

static void the_current_time_is_the_monotonic_clock(void)
{
	uint64_t before = clock_ns(CLOCK_MONOTONIC);
	uint64_t now = qb_util_nano_current_get();
	uint64_t after = clock_ns(CLOCK_MONOTONIC);

	CHECK(before <= now && now <= after);
	sleep_ms(2);
	CHECK(qb_util_nano_current_get() - now >= 2 * QB_TIME_NS_IN_MSEC);
}

static void the_frequency_is_that_of_the_monotonic_clock(void)
{
	struct timespec step;

	clock_getres(CLOCK_MONOTONIC, &step);
	CHECK_EQ(qb_util_nano_monotonic_hz(), QB_TIME_NS_IN_SEC / (uint64_t)step.tv_nsec);
}

static void the_epoch_time_is_the_wall_clock(void)
{
	/* The reference reads a coarser clock, which may be up to one tick behind. */
	uint64_t before = clock_ns(CLOCK_REALTIME_COARSE);
	uint64_t now = qb_util_nano_from_epoch_get();
	uint64_t after = clock_ns(CLOCK_REALTIME);
	struct timespec ts = { 0, -1 };

	CHECK(before <= now && now <= after);
	qb_util_timespec_from_epoch_get(&ts);
	CHECK(ts.tv_nsec >= 0 && ts.tv_nsec < 1000000000);
	CHECK((uint64_t)ts.tv_sec * QB_TIME_NS_IN_SEC + (uint64_t)ts.tv_nsec >= now);
	CHECK((uint64_t)ts.tv_sec * QB_TIME_NS_IN_SEC + (uint64_t)ts.tv_nsec <= clock_ns(CLOCK_REALTIME));
}

/* How many different times 20 calls in 20 us steps give: the reference's clock ticks every 1 to 10 ms. */
static int epoch_is_fine(void)
{
	int i, changes = 0;
	uint64_t last = qb_util_nano_from_epoch_get();

	for (i = 0; i < 20; i++) {
		uint64_t now, until = clock_ns(CLOCK_MONOTONIC) + 20000;

		while (clock_ns(CLOCK_MONOTONIC) < until) {
		}
		now = qb_util_nano_from_epoch_get();
		changes += now != last;
		last = now;
	}
	return changes >= 19;
}

static void epoch_times_are_fine_grained(void)
{
	CHECK_EQ_COMPAT(epoch_is_fine(), 0, 1, "util-epoch-precise");
}

/* ---- Error texts ---- */

static void known_numbers_give_the_text_of_the_c_library(void)
{
	char buf[64] = "untouched";
	int numbers[] = { 0, EPERM, EAGAIN, ENOTCONN, EHWPOISON };
	size_t i;

	for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		char *text = qb_strerror_r(numbers[i], buf, sizeof(buf));

		CHECK_STR(text, strerror(numbers[i]));
		CHECK(text != buf);
		CHECK_STR(buf, "untouched");
	}
	CHECK_STR(qb_strerror_r(EINVAL, NULL, 0), strerror(EINVAL));
}

static void unknown_numbers_are_written_into_the_buffer(void)
{
	char buf[64];

	memset(buf, 'x', sizeof(buf));
	CHECK(qb_strerror_r(99999, buf, sizeof(buf)) == buf);
	CHECK_STR(buf, "Unknown error 99999");
	CHECK(qb_strerror_r(-5, buf, sizeof(buf)) == buf);
	CHECK_STR(buf, "Unknown error -5");
	memset(buf, 'x', sizeof(buf));
	CHECK(qb_strerror_r(99999, buf, 8) == buf);
	CHECK_STR(buf, "Unknown");
	CHECK_EQ(buf[8], 'x');
}

/* ---- Stopwatch ---- */

static void a_stopwatch_measures_to_its_last_stop(void)
{
	qb_util_stopwatch_t *sw = qb_util_stopwatch_create();
	uint64_t first;
	float seconds;

	CHECK(sw != NULL);
	CHECK_EQ(qb_util_stopwatch_us_elapsed_get(sw), 0);
	qb_util_stopwatch_stop(sw);
	CHECK_EQ(qb_util_stopwatch_us_elapsed_get(sw), 0);
	CHECK(qb_util_stopwatch_sec_elapsed_get(sw) == 0.0f);
	qb_util_stopwatch_start(sw);
	CHECK_EQ(qb_util_stopwatch_us_elapsed_get(sw), 0);
	sleep_ms(10);
	qb_util_stopwatch_stop(sw);
	first = qb_util_stopwatch_us_elapsed_get(sw);
	seconds = qb_util_stopwatch_sec_elapsed_get(sw);
	CHECK(first >= 10000);
	CHECK(seconds > (float)first * 0.99e-6f && seconds < (float)first * 1.01e-6f);
	sleep_ms(5);
	qb_util_stopwatch_stop(sw);
	CHECK(qb_util_stopwatch_us_elapsed_get(sw) >= first + 5000);
	qb_util_stopwatch_start(sw);
	CHECK_EQ(qb_util_stopwatch_us_elapsed_get(sw), 0);
	qb_util_stopwatch_free(sw);
}

static uint64_t split_after(qb_util_stopwatch_t *sw, long ms)
{
	sleep_ms(ms);
	return qb_util_stopwatch_split(sw);
}

static void a_full_stopwatch_takes_no_more_splits(void)
{
	qb_util_stopwatch_t *sw = qb_util_stopwatch_create();

	CHECK_EQ(qb_util_stopwatch_split_ctl(sw, 3, 0), 0);
	qb_util_stopwatch_start(sw);
	CHECK_EQ(qb_util_stopwatch_split_last(sw), 0);
	CHECK(split_after(sw, 33) >= 33000);
	CHECK_EQ(qb_util_stopwatch_split_last(sw), 0);
	CHECK(split_after(sw, 10) >= 10000);
	CHECK(split_after(sw, 20) >= 20000);
	CHECK_EQ(split_after(sw, 1), 0);
	CHECK_EQ(qb_util_stopwatch_split_last(sw), 2);
	CHECK(qb_util_stopwatch_time_split_get(sw, 2, 0) >= 30000);
	CHECK(qb_util_stopwatch_time_split_get(sw, 2, 1) >= 20000);
	CHECK(qb_util_stopwatch_time_split_get(sw, 2, 2) >= 63000);
	CHECK(qb_util_stopwatch_time_split_get(sw, 0, 0) >= 33000);
	CHECK_EQ(qb_util_stopwatch_time_split_get(sw, 3, 2), 0);
	CHECK_EQ(qb_util_stopwatch_time_split_get(sw, 0, 1), 0);
	qb_util_stopwatch_start(sw);
	CHECK_EQ(qb_util_stopwatch_time_split_get(sw, 0, 0), 0);
	CHECK(split_after(sw, 2) >= 2000);
	qb_util_stopwatch_free(sw);
}

static void the_oldest_splits_are_overwritten(void)
{
	qb_util_stopwatch_t *sw = qb_util_stopwatch_create();
	uint32_t last;
	int i;

	CHECK_EQ(qb_util_stopwatch_split_ctl(sw, 5, QB_UTIL_SW_OVERWRITE), 0);
	qb_util_stopwatch_split(sw);
	for (i = 1; i < 5; i++) {
		CHECK(split_after(sw, 2 * i) >= 2000u * (unsigned)i);
	}
	last = qb_util_stopwatch_split_last(sw);
	CHECK_EQ(last, 4);
	CHECK(qb_util_stopwatch_time_split_get(sw, last, last - 4) >= 20000);
	CHECK(split_after(sw, 10) >= 10000);
	last = qb_util_stopwatch_split_last(sw);
	CHECK_EQ(last, 5);
	CHECK(qb_util_stopwatch_time_split_get(sw, last, last - 4) >= 28000);
	CHECK_EQ(qb_util_stopwatch_time_split_get(sw, last, 0), 0);
	CHECK(qb_util_stopwatch_time_split_get(sw, 1, 1) > 0);
	CHECK_EQ(qb_util_stopwatch_time_split_get(sw, 0, 0), 0);
	qb_util_stopwatch_free(sw);
}

static void a_ring_of_splits_can_be_read_before_it_is_full(void)
{
	qb_util_stopwatch_t *sw = qb_util_stopwatch_create();

	qb_util_stopwatch_split_ctl(sw, 5, QB_UTIL_SW_OVERWRITE);
	qb_util_stopwatch_start(sw);
	split_after(sw, 2);
	split_after(sw, 2);
	CHECK_EQ_COMPAT(qb_util_stopwatch_time_split_get(sw, 1, 0) >= 2000, 0, 1, "util-split-ring");
	qb_util_stopwatch_free(sw);
}

static void without_room_there_are_no_splits(void)
{
	qb_util_stopwatch_t *sw = qb_util_stopwatch_create();

	qb_util_stopwatch_start(sw);
	CHECK_EQ(split_after(sw, 1), 0);
	CHECK_EQ(qb_util_stopwatch_split_last(sw), 0);
	CHECK_EQ(qb_util_stopwatch_time_split_get(sw, 0, 0), 0);
	qb_util_stopwatch_free(sw);
}

static void new_room_forgets_old_splits(void)
{
	qb_util_stopwatch_t *sw = qb_util_stopwatch_create();

	qb_util_stopwatch_split_ctl(sw, 2, 0);
	qb_util_stopwatch_start(sw);
	split_after(sw, 1);
	split_after(sw, 1);
	CHECK_EQ(qb_util_stopwatch_split_ctl(sw, 3, 0), 0);
	CHECK_EQ_COMPAT(qb_util_stopwatch_split_last(sw), 1, 0, "util-split-ctl-again");
	qb_util_stopwatch_free(sw);
}

/* ---- Log hook ---- */

static int hook_calls;

static void hook(const char *file_name, int32_t file_line, int32_t severity, const char *msg)
{
	hook_calls += file_name != NULL && msg != NULL && file_line > 0 && severity >= 0;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
static void the_log_hook_can_be_set_and_cleared(void)
{
	qb_util_log_fn_t fn = hook;

	qb_util_set_log_function(fn);
	qb_util_set_log_function(NULL);
	CHECK_EQ(hook_calls, 0);
}
#pragma GCC diagnostic pop

/* ---- Version ---- */

_Static_assert(sizeof(struct qb_version) == 16, "copied into programs");
_Static_assert(offsetof(struct qb_version, minor) == 1, "copied into programs");
_Static_assert(offsetof(struct qb_version, micro) == 2, "copied into programs");
_Static_assert(offsetof(struct qb_version, rest) == 8, "copied into programs");
_Static_assert(sizeof(qb_ver_str) == 8, "copied into programs");

static void the_version_is_told_in_two_ways(void)
{
	char text[64];

	snprintf(text, sizeof(text), "%d.%d.%d%s", qb_ver.major, qb_ver.minor, qb_ver.micro, qb_ver.rest);
	CHECK_STR(qb_ver_str, text);
	CHECK_EQ(qb_ver.major, 2);
	CHECK_EQ(qb_ver.minor, 0);
	CHECK_STR(qb_ver.rest, "");
	if (!on_reference()) {
		CHECK_STR(qb_ver_str, "2.0.10");
	}
}

/* ---- NULL ---- */

static void null_is_refused(void)
{
	CHECK_EQ(qb_thread_lock(NULL), -EINVAL);
	CHECK_EQ(qb_thread_trylock(NULL), -EINVAL);
	CHECK_EQ(qb_thread_unlock(NULL), -EINVAL);
	CHECK_EQ(qb_thread_lock_destroy(NULL), -EINVAL);
	qb_timespec_add_ms(NULL, 1);
	qb_util_timespec_from_epoch_get(NULL);
	CHECK_STR(qb_strerror_r(ENOENT, NULL, 100), strerror(ENOENT));
	qb_util_stopwatch_free(NULL);
	qb_util_stopwatch_start(NULL);
	qb_util_stopwatch_stop(NULL);
	CHECK_EQ(qb_util_stopwatch_us_elapsed_get(NULL), 0);
	CHECK(qb_util_stopwatch_sec_elapsed_get(NULL) == 0.0f);
	CHECK_EQ(qb_util_stopwatch_split_ctl(NULL, 1, 0), -EINVAL);
	CHECK_EQ(qb_util_stopwatch_split(NULL), 0);
	CHECK_EQ(qb_util_stopwatch_split_last(NULL), 0);
	CHECK_EQ(qb_util_stopwatch_time_split_get(NULL, 0, 0), 0);
}

int main(void)
{
	RUN(a_held_lock_is_busy);
	RUN(an_unknown_kind_is_a_long_lock);
	RUN(only_a_long_lock_tells_that_it_was_held);
	RUN(one_thread_at_a_time_holds_a_lock);
	RUN(milliseconds_are_added_with_carry);
	RUN(negative_milliseconds_leave_a_valid_time);
	RUN(the_current_time_is_the_monotonic_clock);
	RUN(the_frequency_is_that_of_the_monotonic_clock);
	RUN(the_epoch_time_is_the_wall_clock);
	RUN(epoch_times_are_fine_grained);
	RUN(known_numbers_give_the_text_of_the_c_library);
	RUN(unknown_numbers_are_written_into_the_buffer);
	RUN(a_stopwatch_measures_to_its_last_stop);
	RUN(a_full_stopwatch_takes_no_more_splits);
	RUN(the_oldest_splits_are_overwritten);
	RUN(a_ring_of_splits_can_be_read_before_it_is_full);
	RUN(without_room_there_are_no_splits);
	RUN(new_room_forgets_old_splits);
	RUN(the_log_hook_can_be_set_and_cleared);
	RUN(the_version_is_told_in_two_ways);
	RUN_OURS(null_is_refused, "util-null-arguments");
	return check_done();
}

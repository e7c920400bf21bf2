/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* <qb/qbloop.h>: timers. */
#define _GNU_SOURCE
#include "loop-help.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/time.h>

static qb_loop_timer_handle handle, other;

static void bad_timer_arguments_are_refused(void)
{
	loop = qb_loop_create();
	CHECK_EQ(qb_loop_timer_add(loop, QB_LOOP_LOW, MS, NULL, NULL, &handle), -EINVAL);
	CHECK_EQ(qb_loop_timer_add(NULL, QB_LOOP_LOW, MS, NULL, NULL, &handle), -EINVAL);
	CHECK_EQ(qb_loop_timer_add(NULL, QB_LOOP_LOW, MS, NULL, note_job, &handle), 0);
	CHECK_EQ(qb_loop_timer_add(loop, QB_LOOP_LOW, MS, NULL, note_job, NULL), 0);
	CHECK_EQ(qb_loop_timer_is_running(NULL, handle), 1);
	qb_loop_destroy(loop);
}

static void check_dead(qb_loop_timer_handle th, int code)
{
	CHECK_EQ(qb_loop_timer_is_running(loop, th), 0);
	CHECK_EQ(qb_loop_timer_expire_time_get(loop, th), 0);
	CHECK_EQ(qb_loop_timer_del(loop, th), code);
}

static void a_dead_handle_has_no_time_left(void)
{
	loop = qb_loop_create();
	CHECK_EQ(qb_loop_timer_expire_time_remaining(loop, 1), 0);
	CHECK_EQ(qb_loop_timer_add(loop, QB_LOOP_MED, SEC, NULL, note_job, &handle), 0);
	CHECK_EQ(qb_loop_timer_expire_time_remaining(loop, handle ^ (1ULL << 40)), 0);
	CHECK_EQ(qb_loop_timer_del(loop, handle), 0);
	CHECK_EQ(qb_loop_timer_expire_time_remaining(loop, handle), 0);
	qb_loop_destroy(loop);
}

static void nonsense_handles_are_refused(void)
{
	loop = qb_loop_create();
	check_dead(0, -EINVAL);
	check_dead(1, -EINVAL);
	check_dead(5ULL << 32, -EINVAL);
	check_dead((5ULL << 32) | 70000, -EINVAL);
	check_dead((5ULL << 32) | 0x7fffffff, -EINVAL);
	check_dead((5ULL << 32) | 0x80000000, -ERANGE);
	check_dead(0xffffffff, -ERANGE);
	check_dead(UINT64_MAX, -ERANGE);
	qb_loop_destroy(loop);
}

static void a_handle_is_never_zero_has_no_top_bit_and_names_one_timer(void)
{
	int i;

	loop = qb_loop_create();
	for (i = 0; i < 100; i++) {
		qb_loop_timer_handle last = handle;

		CHECK_EQ(qb_loop_timer_add(loop, QB_LOOP_MED, SEC, NULL, note_job, &handle), 0);
		CHECK(handle != 0 && handle >> 63 == 0 && handle != last);
		CHECK_EQ(qb_loop_timer_is_running(loop, handle), 1);
		CHECK_EQ(qb_loop_timer_del(loop, handle), 0);
		check_dead(handle, -EINVAL);
		check_dead(last, -EINVAL);
	}
	qb_loop_destroy(loop);
}

static void times_are_absolute_and_remaining(void)
{
	uint64_t before = now_ns(), expiry, remaining;

	loop = qb_loop_create();
	CHECK_EQ(qb_loop_timer_add(loop, QB_LOOP_MED, 500 * SEC, NULL, note_job, &handle), 0);
	expiry = qb_loop_timer_expire_time_get(loop, handle);
	CHECK(expiry >= before + 500 * SEC && expiry <= now_ns() + 500 * SEC);
	remaining = qb_loop_timer_expire_time_remaining(loop, handle);
	CHECK(remaining > 0 && remaining <= 500 * SEC && remaining <= expiry - before);
	CHECK_EQ(qb_loop_timer_add(loop, QB_LOOP_MED, 0, NULL, note_job, &handle), 0);
	sleep_ms(1);
	CHECK_EQ(qb_loop_timer_is_running(loop, handle), 1); /* due, but nobody looked */
	CHECK_EQ(qb_loop_timer_expire_time_remaining(loop, handle), 0);
	CHECK(qb_loop_timer_expire_time_get(loop, handle) != 0);
	qb_loop_destroy(loop);
}

static void renewed(void *data)
{
	check_dead(handle, -EINVAL);
	note('r');
	if (data != NULL) {
		CHECK_EQ(qb_loop_timer_add(loop, QB_LOOP_MED, MS, NULL, renewed, &handle), 0);
		CHECK_EQ(qb_loop_timer_is_running(loop, handle), 1);
	} else {
		qb_loop_stop(loop);
	}
}

static void inside_its_callback_a_handle_is_dead_and_can_be_renewed(void)
{
	loop = qb_loop_create();
	CHECK_EQ(qb_loop_timer_add(loop, QB_LOOP_LOW, MS, &handle, renewed, &handle), 0);
	qb_loop_run(loop);
	CHECK_STR(trace, "rr");
	check_dead(handle, -EINVAL);
	qb_loop_destroy(loop);
}

static void delete_expired(void *data)
{
	(void)data;
	note('h');
	/* Expired in the same iteration, on a run list, not dispatched. */
	CHECK_EQ(qb_loop_timer_is_running(loop, handle), 0);
	CHECK_EQ(qb_loop_timer_expire_time_get(loop, handle), 0);
	if (!on_reference()) { /* COMPATIBILITY.md: loop-dead-timer */
		CHECK_EQ(qb_loop_timer_expire_time_remaining(loop, handle), 0);
	}
	CHECK_EQ(qb_loop_timer_del(loop, handle), 0);
	check_dead(handle, -EINVAL);
	CHECK_EQ(qb_loop_timer_del(loop, other), 0);
}

static void an_expired_timer_can_be_deleted_until_it_is_dispatched(void)
{
	loop = qb_loop_create();
	qb_loop_timer_add(loop, QB_LOOP_HIGH, MS, NULL, delete_expired, NULL);
	qb_loop_timer_add(loop, QB_LOOP_HIGH, MS + 1, LETTER('x'), note_job, &other);
	qb_loop_timer_add(loop, QB_LOOP_LOW, MS + 2, LETTER('x'), note_job, &handle);
	sleep_ms(5);
	run_for(10 * MS);
	CHECK_STR(trace, "h");
	qb_loop_destroy(loop);
}

static void due_timers_run_in_order_of_expiry_after_jobs(void)
{
	uint64_t start;

	/* Again if this process had to wait meanwhile, so that they are not due in the order of the letters. */
	do {
		if (loop != NULL) {
			qb_loop_destroy(loop);
		}
		loop = qb_loop_create();
		start = now_ns();
		qb_loop_timer_add(loop, QB_LOOP_MED, 60 * MS, LETTER('c'), note_job, NULL);
		qb_loop_timer_add(loop, QB_LOOP_MED, 20 * MS, LETTER('a'), note_job, NULL);
		qb_loop_timer_add(loop, QB_LOOP_MED, 40 * MS, LETTER('b'), note_job, NULL);
		qb_loop_timer_add(loop, QB_LOOP_HIGH, 80 * MS, LETTER('H'), note_job, NULL);
	} while (now_ns() - start >= 10 * MS);
	qb_loop_job_add(loop, QB_LOOP_MED, LETTER('j'), note_job);
	sleep_ms(100);
	run_for(10 * MS);
	CHECK_STR(trace, "Hjabc");
	qb_loop_destroy(loop);
}

static void wrapped_around_means_due(void)
{
	loop = qb_loop_create();
	qb_loop_timer_add(loop, QB_LOOP_MED, UINT64_MAX, LETTER('a'), note_job, &handle);
	CHECK_EQ(qb_loop_timer_expire_time_remaining(loop, handle), 0);
	qb_loop_timer_add(loop, QB_LOOP_MED, INT64_MAX, LETTER('x'), note_job, &handle);
	qb_loop_timer_add(loop, QB_LOOP_MED, 0, LETTER('b'), note_job, NULL);
	run_for(10 * MS);
	CHECK_STR(trace, "ab");
	CHECK_EQ(qb_loop_timer_is_running(loop, handle), 1);
	qb_loop_destroy(loop);
}

enum { PRECISE = 12, ROUNDS = 20 };
static struct precise {
	uint64_t duration, start;
	int left;
} precise[PRECISE];
static int precise_left;

static void start_precise(struct precise *p);

static void precise_fired(void *data)
{
	struct precise *p = data;

	CHECK(now_ns() >= p->start + p->duration);
	if (--p->left > 0) {
		start_precise(p);
	} else if (--precise_left == 0) {
		qb_loop_stop(loop);
	}
}

static void start_precise(struct precise *p)
{
	p->start = now_ns();
	CHECK_EQ(qb_loop_timer_add(loop, QB_LOOP_MED, p->duration, p, precise_fired, NULL), 0);
}

static void no_timer_fires_early(void)
{
	int i;

	loop = qb_loop_create();
	precise_left = PRECISE;
	for (i = 0; i < PRECISE; i++) {
		precise[i].duration = i == 11 ? 100 * MS : (unsigned)(1 + 9 * i) * MS + MS / 2;
		precise[i].left = ROUNDS;
		start_precise(&precise[i]);
	}
	qb_loop_run(loop);
	qb_loop_destroy(loop);
}

static int fired;

static void count_timer(void *data)
{
	fired++;
	if (fired == *(int *)data) {
		qb_loop_stop(loop);
	}
}

static void nine_hundred_timers_fire_once_each_ten_times(void)
{
	int round, i, want;

	loop = qb_loop_create();
	for (round = 1; round <= 10; round++) {
		want = 900 * round;
		for (i = 0; i < 900; i++) {
			CHECK_EQ(qb_loop_timer_add(loop, (enum qb_loop_priority)(i % 3),
						   (unsigned)(i / 3) * 100000, &want, count_timer, &handle), 0);
		}
		qb_loop_run(loop);
	}
	want = 0;
	run_for(40 * MS);
	CHECK_EQ(fired, 9000);
	qb_loop_destroy(loop);
}

static void a_hundred_thousand_timers_fit_and_fire(void)
{
	int i, want = 100000;
	qb_loop_timer_handle *far = calloc((size_t)want, sizeof *far);

	loop = qb_loop_create();
	for (i = 0; i < want; i++) {
		CHECK_EQ(qb_loop_timer_add(loop, QB_LOOP_HIGH, SEC * 1000 + (unsigned)(i * 7919 % want), NULL,
					   note_job, &far[i]), 0);
	}
	for (i = 0; i < want; i++) {
		CHECK_EQ(qb_loop_timer_add(loop, QB_LOOP_HIGH, (unsigned)(i * 7919 % want), &want, count_timer,
					   NULL), 0);
	}
	qb_loop_run(loop);
	for (i = 0; i < want; i += 2) {
		CHECK_EQ(qb_loop_timer_del(loop, far[i]), 0);
	}
	CHECK_EQ(qb_loop_timer_is_running(loop, far[0]), 0);
	CHECK_EQ(qb_loop_timer_is_running(loop, far[1]), 1);
	CHECK_EQ(fired, want);
	qb_loop_destroy(loop);
	free(far);
}

static void *add_in_thread(void *data)
{
	CHECK_EQ(qb_loop_timer_add(loop, QB_LOOP_MED, 50 * MS, LETTER('t'), note_job, data), 0);
	CHECK_EQ(qb_loop_timer_is_running(loop, *(qb_loop_timer_handle *)data), 1);
	return NULL;
}

static void another_thread_may_add_a_timer(void)
{
	pthread_t thread;

	loop = qb_loop_create();
	pthread_create(&thread, NULL, add_in_thread, &other);
	CHECK_EQ(qb_loop_timer_add(loop, QB_LOOP_MED, 50 * MS, LETTER('m'), note_job, &handle), 0);
	pthread_join(thread, NULL);
	CHECK_EQ(qb_loop_timer_is_running(loop, other), 1);
	run_for(100 * MS);
	CHECK_EQ(traced, 2);
	qb_loop_destroy(loop);
}

static volatile sig_atomic_t ticks;
static timer_t ticker;

static void on_tick(int sig)
{
	struct itimerspec off = { { 0, 0 }, { 0, 0 } };

	(void)sig;
	if (++ticks == 40) {
		timer_settime(ticker, 0, &off, NULL);
	}
}

/* 40 ticks are 800 ms. In one of several tries: on a busy machine ticks may fall together, or come too late to interrupt. */
static void interrupted_waits_do_not_put_a_timer_off(void)
{
	struct itimerspec on = { { 0, 20 * MS }, { 0, 20 * MS } }, off = { { 0, 0 }, { 0, 0 } };
	struct sigaction sa = { .sa_handler = on_tick };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	int put_off = -1;

	CHECK_EQ(sigaction(SIGUSR1, &sa, NULL), 0);
	CHECK_EQ(timer_create(CLOCK_MONOTONIC, &event, &ticker), 0);
	for (int i = 0; i < 10 && put_off != on_reference(); i++) {
		ticks = 0;
		loop = qb_loop_create();
		qb_loop_timer_add(loop, QB_LOOP_MED, 100 * MS, NULL, stop_job, NULL);
		timer_settime(ticker, 0, &on, NULL);
		qb_loop_run(loop);
		if (ticks > 1) {
			put_off = ticks == 40;
		}
		timer_settime(ticker, 0, &off, NULL);
		qb_loop_destroy(loop);
	}
	CHECK_EQ_COMPAT(put_off, 1, 0, "loop-interrupted");
}

static long switches(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_nvcsw + usage.ru_nivcsw;
}

static int64_t processor_time(void)
{
	struct timespec cpu;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
	return (int64_t)cpu.tv_sec * (int64_t)SEC + cpu.tv_nsec;
}

/*
 * The processor time before 50 timers of 2.5 ms: the reference polls through the last part of each. In one of several tries: on a busy
 * machine that part may be over before this process has its turn.
 */
static void waiting_for_a_timer_takes_no_processor_time(void)
{
	int spins = -1, i, n;

	loop = qb_loop_create();
	for (i = 0; i < 20 && spins != on_reference(); i++) {
		int64_t used = processor_time();
		long before = switches();

		for (n = 0; n < 50; n++) {
			qb_loop_timer_add(loop, QB_LOOP_HIGH, 5 * MS / 2, NULL, stop_job, NULL);
			qb_loop_run(loop);
		}
		spins = processor_time() - used > 8000000;
		CHECK(switches() - before >= 40);
	}
	CHECK_EQ_COMPAT(spins, 1, 0, "loop-spin");
	qb_loop_destroy(loop);
}

int main(void)
{
	RUN(bad_timer_arguments_are_refused);
	RUN(nonsense_handles_are_refused);
	RUN_OURS(a_dead_handle_has_no_time_left, "loop-dead-timer");
	RUN(a_handle_is_never_zero_has_no_top_bit_and_names_one_timer);
	RUN(times_are_absolute_and_remaining);
	RUN(inside_its_callback_a_handle_is_dead_and_can_be_renewed);
	RUN(an_expired_timer_can_be_deleted_until_it_is_dispatched);
	RUN(due_timers_run_in_order_of_expiry_after_jobs);
	RUN(wrapped_around_means_due);
	RUN(no_timer_fires_early);
	RUN(nine_hundred_timers_fire_once_each_ten_times);
	RUN_OURS(a_hundred_thousand_timers_fit_and_fire, "loop-timer-limit");
	RUN(another_thread_may_add_a_timer);
	RUN(interrupted_waits_do_not_put_a_timer_off);
	RUN(waiting_for_a_timer_takes_no_processor_time);
	return check_done();
}

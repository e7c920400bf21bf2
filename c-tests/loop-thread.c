/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* <qb/qbloop.h>: other threads and forked children. */
#define _GNU_SOURCE
#include "loop-help.h"

#include <poll.h>
#include <pthread.h>

static void *add_job_later(void *data)
{
	sleep_ms(20);
	CHECK_EQ(qb_loop_job_add(loop, QB_LOOP_LOW, data, stop_job), 0);
	return NULL;
}

static int ended;

/* More than once: a loop that does not run yet is not stopped. */
static void *stop_later(void *data)
{
	do {
		sleep_ms(20);
		qb_loop_stop(data);
	} while (!__atomic_load_n(&ended, __ATOMIC_ACQUIRE));
	return NULL;
}

static void *add_timer_later(void *data)
{
	sleep_ms(20);
	CHECK_EQ(qb_loop_timer_add(loop, QB_LOOP_LOW, MS, data, stop_job, NULL), 0);
	return NULL;
}

static void jobs_timers_and_stops_of_other_threads_wake_the_loop(void)
{
	void *(*const bodies[])(void *) = { add_job_later, stop_later, add_timer_later };
	pthread_t thread;
	size_t i;

	loop = qb_loop_create();
	qb_loop_timer_add(loop, QB_LOOP_LOW, 1000 * SEC, NULL, note_job, NULL);
	for (i = 0; i < 3; i++) {
		__atomic_store_n(&ended, 0, __ATOMIC_RELEASE);
		pthread_create(&thread, NULL, bodies[i], loop);
		qb_loop_run(loop);
		__atomic_store_n(&ended, 1, __ATOMIC_RELEASE);
		pthread_join(thread, NULL);
	}
	CHECK_STR(trace, "");
	qb_loop_destroy(loop);
}

enum { ADDERS = 4, ADDS = 2000 };
static int counted;

static void count(void *data)
{
	(void)data;
	if (++counted == ADDERS * ADDS * 2) {
		qb_loop_stop(loop);
	}
}

static void *add_many(void *data)
{
	int i;

	for (i = 0; i < ADDS; i++) {
		qb_loop_timer_handle th;

		CHECK_EQ(qb_loop_job_add(loop, (enum qb_loop_priority)(i % 3), data, count), 0);
		CHECK_EQ(qb_loop_timer_add(loop, (enum qb_loop_priority)(i % 3), (unsigned)(i % 7) * 100000,
					   data, count, NULL), 0);
		CHECK_EQ(qb_loop_timer_add(loop, QB_LOOP_HIGH, 1000 * SEC, data, count, &th), 0);
		CHECK_EQ(qb_loop_timer_is_running(loop, th), 1);
		CHECK_EQ(qb_loop_timer_del(loop, th), 0);
	}
	return NULL;
}

static void several_threads_add_while_the_loop_runs(void)
{
	pthread_t threads[ADDERS];
	int i;

	loop = qb_loop_create();
	for (i = 0; i < ADDERS; i++) {
		pthread_create(&threads[i], NULL, add_many, NULL);
	}
	qb_loop_run(loop);
	for (i = 0; i < ADDERS; i++) {
		pthread_join(threads[i], NULL);
	}
	CHECK_EQ(counted, ADDERS * ADDS * 2);
	qb_loop_destroy(loop);
}

static void in_child(void (*body)(int), int fd)
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		alarm(20);
		body(fd);
		_exit(check_bad);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
}

static void use_inherited_loop(int fd)
{
	CHECK_EQ(qb_loop_poll_del(loop, fd), 0);
	qb_loop_job_add(loop, QB_LOOP_LOW, LETTER('c'), note_job);
	run_for(MS);
	CHECK_STR(trace, "c");
	qb_loop_destroy(loop);
}

static void use_own_loop(int fd)
{
	(void)fd;
	loop = qb_loop_create();
	run_for(MS);
	qb_loop_destroy(loop);
}

static void a_forked_child_may_make_a_loop_of_its_own(void)
{
	int ends[2];

	CHECK_EQ(pipe(ends), 0);
	loop = qb_loop_create();
	in_child(use_own_loop, ends[0]);
	run_for(MS);
	qb_loop_destroy(loop);
}

static void continue_inherited_loop(int fd)
{
	CHECK_EQ(write(fd + 1, "x", 1), 1);
	run_for(10 * MS);
	CHECK_STR(trace, "p");
}

static int32_t note_and_read(int32_t fd, int32_t revents, void *data)
{
	char c;

	CHECK_EQ(read(fd, &c, 1), 1);
	(void)revents;
	note_job(data);
	return 0;
}

static void what_a_forked_child_does_does_not_reach_the_parent(void)
{
	int ends[2];

	CHECK_EQ(pipe(ends), 0);
	CHECK_EQ(ends[1], ends[0] + 1);
	loop = qb_loop_create();
	CHECK_EQ(qb_loop_poll_add(loop, QB_LOOP_HIGH, ends[0], POLLIN, LETTER('p'), note_and_read), 0);
	in_child(use_own_loop, ends[0]);
	in_child(continue_inherited_loop, ends[0]);
	in_child(use_inherited_loop, ends[0]);
	CHECK_EQ(write(ends[1], "x", 1), 1);
	run_for(10 * MS);
	CHECK_STR(trace, "p");
	qb_loop_destroy(loop);
}

int main(void)
{
	RUN_OURS(jobs_timers_and_stops_of_other_threads_wake_the_loop, "loop-thread-wake");
	RUN_OURS(several_threads_add_while_the_loop_runs, "loop-thread-wake");
	RUN(a_forked_child_may_make_a_loop_of_its_own);
	RUN_OURS(what_a_forked_child_does_does_not_reach_the_parent, "loop-fork");
	return check_done();
}

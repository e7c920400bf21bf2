/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* <qb/qbloop.h>: the loop's life, jobs, scheduling, stopping. The rest: loop-*.c. */
#define _GNU_SOURCE
#include "loop-help.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>

static int32_t never_fd(int32_t fd, int32_t revents, void *data)
{
	(void)fd;
	(void)revents;
	(void)data;
	CHECK(0);
	return 0;
}

static int32_t never_signal(int32_t sig, void *data)
{
	return never_fd(sig, 0, data);
}

static void without_a_loop_adding_is_refused(void)
{
	qb_loop_timer_handle th;
	qb_loop_signal_handle sh = &th;

	CHECK_EQ(qb_loop_job_add(NULL, QB_LOOP_MED, NULL, note_job), -EINVAL);
	CHECK_EQ(qb_loop_job_del(NULL, QB_LOOP_MED, NULL, note_job), -EINVAL);
	CHECK_EQ(qb_loop_timer_add(NULL, QB_LOOP_MED, MS, NULL, note_job, &th), -EINVAL);
	CHECK_EQ(qb_loop_signal_add(NULL, QB_LOOP_MED, SIGUSR1, NULL, never_signal, &sh), -EINVAL);
	CHECK_EQ(qb_loop_signal_mod(NULL, QB_LOOP_MED, SIGUSR1, NULL, never_signal, sh), -EINVAL);
	CHECK_EQ(qb_loop_signal_del(NULL, sh), -EINVAL);
	qb_loop_stop(NULL);
}

static void without_a_loop_nothing_crashes(void)
{
	CHECK_EQ(qb_loop_poll_add(NULL, QB_LOOP_MED, 0, POLLIN, NULL, never_fd), -EINVAL);
	CHECK_EQ(qb_loop_poll_mod(NULL, QB_LOOP_MED, 0, POLLIN, NULL, never_fd), -EINVAL);
	CHECK_EQ(qb_loop_poll_del(NULL, 0), -EINVAL);
	CHECK_EQ(qb_loop_timer_del(NULL, 1), -EINVAL);
	CHECK_EQ(qb_loop_timer_is_running(NULL, 1), 0);
	CHECK_EQ(qb_loop_timer_expire_time_get(NULL, 1), 0);
	CHECK_EQ(qb_loop_timer_expire_time_remaining(NULL, 1), 0);
	CHECK_EQ(qb_loop_poll_low_fds_event_set(NULL, NULL), -EINVAL);
	qb_loop_run(NULL);
	qb_loop_destroy(NULL);
}

static void null_means_the_first_loop_while_it_lives(void)
{
	qb_loop_t *first = qb_loop_create(), *second = qb_loop_create(), *third;

	CHECK(first != NULL && second != NULL);
	loop = first;
	CHECK_EQ(qb_loop_job_add(NULL, QB_LOOP_HIGH, LETTER('a'), note_job), 0);
	CHECK_EQ(qb_loop_job_del(second, QB_LOOP_HIGH, LETTER('a'), note_job), -ENOENT);
	CHECK_EQ(qb_loop_job_add(first, QB_LOOP_LOW, NULL, stop_job), 0);
	qb_loop_run(NULL);
	CHECK_STR(trace, "a");
	qb_loop_destroy(first);
	CHECK_EQ(qb_loop_job_add(NULL, QB_LOOP_HIGH, LETTER('b'), note_job), -EINVAL);
	third = qb_loop_create();
	CHECK_EQ(qb_loop_job_add(NULL, QB_LOOP_HIGH, LETTER('c'), note_job), 0);
	CHECK_EQ(qb_loop_job_del(third, QB_LOOP_HIGH, LETTER('c'), note_job), 0);
	qb_loop_destroy(second);
	CHECK_EQ(qb_loop_job_add(NULL, QB_LOOP_HIGH, LETTER('d'), note_job), 0);
	CHECK_EQ(qb_loop_job_del(third, QB_LOOP_HIGH, LETTER('d'), note_job), 0);
	qb_loop_destroy(third);
}

static void bad_job_arguments_are_refused(void)
{
	loop = qb_loop_create();
	CHECK_EQ(qb_loop_job_add(loop, (enum qb_loop_priority)89, NULL, note_job), -EINVAL);
	CHECK_EQ(qb_loop_job_add(loop, (enum qb_loop_priority)-1, NULL, note_job), -EINVAL);
	CHECK_EQ(qb_loop_job_add(loop, QB_LOOP_LOW, NULL, NULL), -EINVAL);
	CHECK_EQ(qb_loop_job_del(loop, (enum qb_loop_priority)3, NULL, note_job), -EINVAL);
	CHECK_EQ(qb_loop_job_del(loop, QB_LOOP_LOW, NULL, NULL), -EINVAL);
	CHECK_EQ(qb_loop_job_del(loop, QB_LOOP_LOW, NULL, note_job), -ENOENT);
	qb_loop_destroy(loop);
}

static void bad_priorities_are_refused_everywhere(void)
{
	enum qb_loop_priority bad = (enum qb_loop_priority)3;
	qb_loop_timer_handle th = 7;
	int ends[2];

	loop = qb_loop_create();
	CHECK_EQ(pipe(ends), 0);
	CHECK_EQ(qb_loop_timer_add(loop, bad, MS, NULL, note_job, &th), -EINVAL);
	CHECK_EQ(th, 7);
	CHECK_EQ(qb_loop_poll_add(loop, bad, ends[0], POLLIN, NULL, never_fd), -EINVAL);
	CHECK_EQ(qb_loop_poll_add(loop, QB_LOOP_LOW, ends[0], POLLIN, NULL, NULL), -EINVAL);
	CHECK_EQ(qb_loop_poll_add(loop, QB_LOOP_LOW, ends[0], POLLIN, NULL, never_fd), 0);
	CHECK_EQ(qb_loop_poll_mod(loop, bad, ends[0], POLLIN, NULL, never_fd), -EINVAL);
	CHECK_EQ(qb_loop_poll_mod(loop, QB_LOOP_LOW, ends[0], POLLIN, NULL, NULL), -EINVAL);
	qb_loop_destroy(loop);
}

static void chain_med(void *data);

static void chain_high(void *data)
{
	note('h');
	stop_job(data);
}

static void chain_low(void *data)
{
	note('l');
	CHECK_EQ(qb_loop_job_add(loop, QB_LOOP_MED, data, chain_med), 0);
}

static void chain_med(void *data)
{
	note('m');
	CHECK_EQ(qb_loop_job_add(loop, QB_LOOP_HIGH, data, chain_high), 0);
}

static void a_chain_of_jobs_runs_each_once(void)
{
	loop = qb_loop_create();
	CHECK_EQ(qb_loop_job_add(loop, QB_LOOP_LOW, NULL, chain_low), 0);
	qb_loop_run(loop);
	CHECK_STR(trace, "lmh");
	qb_loop_destroy(loop);
}

static void saturated_levels_share_twelve_to_eight_to_four(void)
{
	int i;

	loop = qb_loop_create();
	for (i = 0; i < 24; i++) {
		qb_loop_job_add(loop, QB_LOOP_LOW, LETTER('l'), note_job);
		qb_loop_job_add(loop, QB_LOOP_MED, LETTER('m'), note_job);
		qb_loop_job_add(loop, QB_LOOP_HIGH, LETTER('h'), note_job);
	}
	qb_loop_job_add(loop, QB_LOOP_LOW, NULL, stop_job);
	qb_loop_run(loop);
	CHECK_STR(trace, "hhhh" "hhhhmmmm" "hhhhmmmmllll" "hhhh" "hhhhmmmm" "hhhhmmmmllll"
			 "mmmm" "mmmmllll" "llll" "llll" "llll");
	qb_loop_destroy(loop);
}

static void add_more(void *data)
{
	int i;

	note_job(data);
	for (i = 0; i < 4; i++) {
		CHECK_EQ(qb_loop_job_add(NULL, QB_LOOP_MED, LETTER('j' + i), note_job), 0);
	}
	CHECK_EQ(qb_loop_job_add(NULL, QB_LOOP_MED, NULL, stop_job), 0);
}

static void jobs_added_by_a_job_run_after_those_already_there(void)
{
	int i;

	loop = qb_loop_create();
	CHECK_EQ(qb_loop_job_add(loop, QB_LOOP_MED, LETTER('a'), add_more), 0);
	for (i = 1; i < 9; i++) {
		CHECK_EQ(qb_loop_job_add(loop, QB_LOOP_MED, LETTER('a' + i), note_job), 0);
	}
	qb_loop_run(loop);
	CHECK_STR(trace, "abcdefghijklm");
	qb_loop_destroy(loop);
}

static int rounds;

static void busy_round(void *data)
{
	int i;

	for (i = 0; i < 8; i++) {
		qb_loop_job_add(loop, QB_LOOP_HIGH, NULL, note_job);
	}
	for (i = 0; i < 4; i++) {
		qb_loop_job_add(loop, QB_LOOP_MED, NULL, note_job);
	}
	for (i = 0; i < 2; i++) {
		qb_loop_job_add(loop, QB_LOOP_LOW, NULL, note_job);
	}
	if (++rounds < 500) {
		qb_loop_job_add(loop, QB_LOOP_LOW, data, busy_round);
	} else {
		qb_loop_stop(loop);
	}
}

static void five_hundred_busy_rounds_complete(void)
{
	loop = qb_loop_create();
	qb_loop_job_add(loop, QB_LOOP_LOW, NULL, busy_round);
	qb_loop_run(loop);
	CHECK_EQ(rounds, 500);
	qb_loop_destroy(loop);
}

static uint64_t renew_until;

static void renew(void *data)
{
	rounds++;
	if (now_ns() < renew_until) {
		qb_loop_job_add(loop, QB_LOOP_MED, data, renew);
	} else {
		qb_loop_stop(loop);
	}
}

static void a_job_that_renews_itself_is_throttled(void)
{
	loop = qb_loop_create();
	renew_until = now_ns() + 3 * SEC;
	qb_loop_job_add(loop, QB_LOOP_MED, NULL, renew);
	qb_loop_run(loop);
	CHECK(rounds < 3 * (1000 / 50) + 10);
	qb_loop_destroy(loop);
}

static int32_t note_fd(int32_t fd, int32_t revents, void *data)
{
	(void)fd;
	(void)revents;
	note_job(data);
	return -1;
}

static void *write_soon(void *fd)
{
	sleep_ms(10);
	CHECK_EQ(write((int)(intptr_t)fd, "x", 1), 1);
	return NULL;
}

/* In one of several tries, so that a busy machine does not matter. */
static void a_lone_job_does_not_wait(void)
{
	int first = 0, i, ends[2];
	pthread_t writer;

	loop = qb_loop_create();
	for (i = 0; i < 10 && first == 0; i++) {
		traced = 0;
		CHECK_EQ(pipe(ends), 0);
		CHECK_EQ(qb_loop_poll_add(loop, QB_LOOP_HIGH, ends[0], POLLIN, LETTER('f'), note_fd), 0);
		CHECK_EQ(qb_loop_job_add(loop, QB_LOOP_HIGH, LETTER('j'), note_job), 0);
		pthread_create(&writer, NULL, write_soon, LETTER(ends[1]));
		run_for(100 * MS);
		pthread_join(writer, NULL);
		close(ends[0]);
		close(ends[1]);
		first = traced == 2 && trace[0] == 'j';
		qb_loop_destroy(loop);
		loop = qb_loop_create();
	}
	CHECK(first);
}

static void delete_other(void *data)
{
	CHECK_EQ(qb_loop_job_del(loop, QB_LOOP_MED, data, note_job), 0);
	CHECK_EQ(qb_loop_job_del(loop, QB_LOOP_MED, data, note_job), -ENOENT);
	CHECK_EQ(qb_loop_job_del(loop, QB_LOOP_HIGH, data, delete_other), -ENOENT);
	note('d');
}

static void deleted_jobs_do_not_run(void)
{
	loop = qb_loop_create();
	CHECK_EQ(qb_loop_job_add(loop, QB_LOOP_LOW, LETTER('x'), note_job), 0);
	CHECK_EQ(qb_loop_job_del(loop, QB_LOOP_MED, LETTER('x'), note_job), -ENOENT);
	CHECK_EQ(qb_loop_job_del(loop, QB_LOOP_LOW, LETTER('y'), note_job), -ENOENT);
	CHECK_EQ(qb_loop_job_del(loop, QB_LOOP_LOW, LETTER('x'), stop_job), -ENOENT);
	CHECK_EQ(qb_loop_job_del(loop, QB_LOOP_LOW, LETTER('x'), note_job), 0);
	CHECK_EQ(qb_loop_job_add(loop, QB_LOOP_MED, LETTER('z'), note_job), 0);
	CHECK_EQ(qb_loop_job_add(loop, QB_LOOP_HIGH, LETTER('z'), delete_other), 0);
	CHECK_EQ(qb_loop_job_add(loop, QB_LOOP_LOW, NULL, stop_job), 0);
	qb_loop_run(loop);
	CHECK_STR(trace, "d");
	qb_loop_destroy(loop);
}

static void one_deletion_takes_the_oldest_of_equal_jobs(void)
{
	loop = qb_loop_create();
	qb_loop_job_add(loop, QB_LOOP_MED, LETTER('a'), note_job);
	qb_loop_job_add(loop, QB_LOOP_MED, LETTER('b'), note_job);
	qb_loop_job_add(loop, QB_LOOP_MED, LETTER('a'), note_job);
	CHECK_EQ(qb_loop_job_del(loop, QB_LOOP_MED, LETTER('a'), note_job), 0);
	qb_loop_job_add(loop, QB_LOOP_LOW, NULL, stop_job);
	qb_loop_run(loop);
	CHECK_STR(trace, "ba");
	qb_loop_destroy(loop);
}

static void a_stop_before_the_run_is_lost(void)
{
	loop = qb_loop_create();
	qb_loop_stop(loop);
	qb_loop_job_add(loop, QB_LOOP_LOW, LETTER('a'), note_job);
	qb_loop_job_add(loop, QB_LOOP_LOW, NULL, stop_job);
	qb_loop_run(loop);
	CHECK_STR(trace, "a");
	qb_loop_destroy(loop);
}

static void a_stop_takes_effect_after_the_callback_and_a_later_run_goes_on(void)
{
	loop = qb_loop_create();
	qb_loop_job_add(loop, QB_LOOP_HIGH, LETTER('a'), note_job);
	qb_loop_job_add(loop, QB_LOOP_HIGH, NULL, stop_job);
	qb_loop_job_add(loop, QB_LOOP_HIGH, LETTER('b'), note_job);
	qb_loop_run(loop);
	CHECK_STR(trace, "a");
	qb_loop_job_add(loop, QB_LOOP_HIGH, NULL, stop_job);
	qb_loop_run(loop);
	CHECK_STR(trace, "ab");
	qb_loop_destroy(loop);
}

static void what_a_stop_left_over_does_not_wait_in_the_next_run(void)
{
	loop = qb_loop_create();
	qb_loop_job_add(loop, QB_LOOP_HIGH, NULL, stop_job);
	qb_loop_job_add(loop, QB_LOOP_HIGH, LETTER('a'), note_job);
	qb_loop_job_add(loop, QB_LOOP_HIGH, NULL, stop_job);
	qb_loop_run(loop);
	CHECK_STR(trace, "");
	qb_loop_run(loop); /* nothing else would wake it */
	CHECK_STR(trace, "a");
	qb_loop_destroy(loop);
}

static void nested(void *data)
{
	note('(');
	qb_loop_job_add(loop, QB_LOOP_LOW, NULL, data);
	qb_loop_run(loop);
	note(')');
}

static void innermost(void *data)
{
	note('i');
	stop_job(data);
}

static void middle(void *data)
{
	(void)data;
	nested((void *)innermost);
}

static void a_nested_run_continues_the_queue_and_one_stop_ends_all(void)
{
	loop = qb_loop_create();
	qb_loop_job_add(loop, QB_LOOP_HIGH, (void *)middle, nested);
	qb_loop_job_add(loop, QB_LOOP_HIGH, LETTER('a'), note_job);
	qb_loop_run(loop);
	CHECK_STR(trace, "(a(i))");
	qb_loop_destroy(loop);
}

static void destroy_job(void *data)
{
	qb_loop_t *l = loop;

	(void)data;
	qb_loop_destroy(l);
	note('d');
}

static void a_loop_destroyed_in_a_callback_ends_its_run(void)
{
	int before = open_fds();

	loop = qb_loop_create();
	qb_loop_job_add(loop, QB_LOOP_HIGH, NULL, destroy_job);
	qb_loop_job_add(loop, QB_LOOP_HIGH, LETTER('x'), note_job);
	qb_loop_run(loop);
	CHECK_STR(trace, "d");
	CHECK_EQ(open_fds(), before);
	CHECK_EQ(qb_loop_job_add(NULL, QB_LOOP_HIGH, NULL, note_job), -EINVAL);
}

static void a_destroyed_loop_leaves_no_descriptor_and_calls_nothing(void)
{
	int before = open_fds(), ends[2], i;

	CHECK_EQ(pipe(ends), 0);
	for (i = 0; i < 3; i++) {
		loop = qb_loop_create();
		qb_loop_job_add(loop, QB_LOOP_LOW, LETTER('x'), note_job);
		qb_loop_timer_add(loop, QB_LOOP_LOW, MS, LETTER('x'), note_job, NULL);
		qb_loop_poll_add(loop, QB_LOOP_LOW, ends[0], POLLIN, NULL, never_fd);
		qb_loop_signal_add(loop, QB_LOOP_LOW, SIGUSR1, NULL, never_signal, NULL);
		qb_loop_destroy(loop);
	}
	CHECK_EQ(open_fds(), before + 2);
	CHECK_EQ(fcntl(ends[0], F_GETFD), 0);
	CHECK_STR(trace, "");
}

static void without_descriptors_create_fails_and_leaks_nothing(void)
{
	struct rlimit limit;
	int spare[8], before, n, i;

	CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = 64;
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
	for (i = 0; i < 8; i++) {
		spare[i] = dup(0);
	}
	while (dup(0) >= 0) {
	}
	before = -1;
	for (n = 0; n < 8; n++) {
		loop = qb_loop_create();
		if (loop != NULL) {
			break;
		}
		CHECK_EQ(errno, EMFILE);
		CHECK_EQ(qb_loop_job_add(NULL, QB_LOOP_LOW, NULL, note_job), -EINVAL);
		for (i = 0; i < n; i++) { /* everything freed before is free again */
			spare[i] = dup(0);
			CHECK(spare[i] >= 0);
		}
		CHECK_EQ(dup(0), -1);
		for (i = 0; i <= n; i++) {
			close(spare[i]);
		}
		before = n;
	}
	CHECK(before >= 0 && n < 8);
	if (loop != NULL) {
		a_stop_before_the_run_is_lost();
	}
}

int main(void)
{
	RUN(without_a_loop_adding_is_refused);
	RUN_OURS(without_a_loop_nothing_crashes, "loop-null");
	RUN(null_means_the_first_loop_while_it_lives);
	RUN(bad_job_arguments_are_refused);
	RUN_OURS(bad_priorities_are_refused_everywhere, "loop-priority");
	RUN(a_chain_of_jobs_runs_each_once);
	RUN(saturated_levels_share_twelve_to_eight_to_four);
	RUN(jobs_added_by_a_job_run_after_those_already_there);
	RUN_FOR(five_hundred_busy_rounds_complete, 280); /* 25 s on a quiet machine */
	RUN(a_job_that_renews_itself_is_throttled);
	RUN_OURS(a_lone_job_does_not_wait, "loop-lone-job");
	RUN(deleted_jobs_do_not_run);
	RUN(one_deletion_takes_the_oldest_of_equal_jobs);
	RUN(a_stop_before_the_run_is_lost);
	RUN(a_stop_takes_effect_after_the_callback_and_a_later_run_goes_on);
	RUN_OURS(what_a_stop_left_over_does_not_wait_in_the_next_run, "loop-left-over");
	RUN(a_nested_run_continues_the_queue_and_one_stop_ends_all);
	RUN_OURS(a_loop_destroyed_in_a_callback_ends_its_run, "loop-destroy-inside");
	RUN(a_destroyed_loop_leaves_no_descriptor_and_calls_nothing);
	RUN_OURS(without_descriptors_create_fails_and_leaks_nothing, "loop-create-fails");
	return check_done();
}

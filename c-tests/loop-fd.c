/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* <qb/qbloop.h>: descriptors. */
#define _GNU_SOURCE
#include "loop-help.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>

static int ends[2], more[2];
static int last_revents;

static void open_pipes(void)
{
	loop = qb_loop_create();
	CHECK_EQ(pipe(ends), 0);
	CHECK_EQ(pipe(more), 0);
}

static void put(int fd)
{
	CHECK_EQ(write(fd, "x", 1), 1);
}

static void get(int fd)
{
	char c;

	CHECK_EQ(read(fd, &c, 1), 1);
}

static int32_t read_one(int32_t fd, int32_t revents, void *data)
{
	note_job(data);
	last_revents = revents;
	get(fd);
	return 0;
}

static int32_t note_end(int32_t fd, int32_t revents, void *data)
{
	(void)fd;
	note_job(data);
	last_revents = revents;
	return -1;
}

static int32_t end_after_delete(int32_t fd, int32_t revents, void *data)
{
	CHECK_EQ(qb_loop_poll_del(loop, fd), 0);
	return note_end(fd, revents, data);
}

static int add(int fd, int events, char c, qb_loop_poll_dispatch_fn fn)
{
	return qb_loop_poll_add(loop, QB_LOOP_MED, fd, events, LETTER(c), fn);
}

static void a_ready_descriptor_is_dispatched_until_it_is_deleted(void)
{
	open_pipes();
	CHECK_EQ(add(ends[0], POLLIN, 'a', read_one), 0);
	put(ends[1]);
	put(ends[1]);
	run_for(10 * MS);
	CHECK_STR(trace, "aa");
	CHECK_EQ(last_revents, POLLIN);
	CHECK_EQ(qb_loop_poll_del(loop, ends[0]), 0);
	put(ends[1]);
	run_for(10 * MS);
	CHECK_STR(trace, "aa");
	qb_loop_destroy(loop);
}

static void hang_up_is_reported_unasked(void)
{
	open_pipes();
	CHECK_EQ(add(ends[0], 0, 'a', end_after_delete), 0);
	put(ends[1]);
	run_for(10 * MS);
	CHECK_STR(trace, "");
	close(ends[1]);
	run_for(10 * MS);
	CHECK_STR(trace, "a");
	CHECK_EQ(last_revents, POLLHUP);
	qb_loop_destroy(loop);
}

static void error_and_writability_are_reported(void)
{
	open_pipes();
	CHECK_EQ(add(ends[1], POLLOUT | POLLNVAL | POLLPRI, 'a', end_after_delete), 0);
	run_for(10 * MS);
	CHECK_STR(trace, "a");
	CHECK_EQ(last_revents, POLLOUT);
	close(ends[0]);
	CHECK_EQ(add(ends[1], POLLNVAL, 'b', end_after_delete), 0);
	run_for(10 * MS);
	CHECK_STR(trace, "ab");
	CHECK_EQ(last_revents, POLLERR);
	qb_loop_destroy(loop);
}

static void unknown_bits_are_dropped(void)
{
	open_pipes();
	put(ends[1]);
	CHECK_EQ(add(ends[0], POLLIN | POLLRDHUP | POLLRDNORM | POLLMSG | 0x40000000, 'a', end_after_delete), 0);
	run_for(10 * MS);
	CHECK_STR(trace, "a");
	CHECK_EQ(last_revents, POLLIN);
	qb_loop_destroy(loop);
}

static void impossible_descriptors_are_refused(void)
{
	int file;

	open_pipes();
	file = open("/proc/self/exe", O_RDONLY);
	CHECK(file >= 0);
	CHECK_EQ(add(file, POLLIN, 'x', read_one), -EPERM);
	close(file);
	CHECK_EQ(add(file, POLLIN, 'x', read_one), -EBADF);
	CHECK_EQ(add(-1, POLLIN, 'x', read_one), -EBADF);
	CHECK_EQ(add(1 << 30, POLLIN, 'x', read_one), -EBADF);
	CHECK_EQ(add(ends[0], POLLIN, 'x', read_one), 0);
	CHECK_EQ(add(ends[0], POLLIN, 'x', read_one), -EEXIST);
	CHECK_EQ(qb_loop_poll_mod(loop, QB_LOOP_LOW, more[0], POLLIN, NULL, read_one), -EBADF);
	CHECK_EQ(qb_loop_poll_mod(loop, QB_LOOP_LOW, 1 << 30, POLLIN, NULL, read_one), -EBADF);
	CHECK_EQ(qb_loop_poll_del(loop, more[0]), -EBADF);
	CHECK_EQ(qb_loop_poll_del(loop, 1 << 30), -EBADF);
	CHECK_EQ(qb_loop_poll_del(loop, INT32_MIN), -EBADF);
	qb_loop_destroy(loop);
}

static void the_second_deletion_says_so(void)
{
	open_pipes();
	CHECK_EQ(add(ends[0], POLLIN, 'x', read_one), 0);
	CHECK_EQ(qb_loop_poll_del(loop, ends[0]), 0);
	CHECK_EQ(qb_loop_poll_del(loop, ends[0]), -EBADF);
	qb_loop_destroy(loop);
}

static void a_deletion_after_the_close_removes_the_registration_all_the_same(void)
{
	open_pipes();
	CHECK_EQ(add(ends[0], POLLIN, 'x', read_one), 0);
	CHECK_EQ(add(more[0], POLLIN, 'x', read_one), 0);
	close(ends[0]);
	CHECK_EQ(qb_loop_poll_del(loop, ends[0]), -EBADF);
	CHECK_EQ(qb_loop_poll_del(loop, ends[0]), -EBADF);
	CHECK_EQ(dup2(ends[1], more[0]), more[0]);
	CHECK_EQ(qb_loop_poll_del(loop, more[0]), -ENOENT);
	CHECK_EQ(qb_loop_poll_del(loop, more[0]), -EBADF);
	qb_loop_destroy(loop);
}

static void a_failed_add_leaves_the_registration_alone(void)
{
	open_pipes();
	CHECK_EQ(add(more[0], POLLIN, 'x', read_one), 0);
	CHECK_EQ(add(ends[0], POLLIN, 'a', read_one), 0);
	CHECK_EQ(qb_loop_poll_del(loop, more[0]), 0);
	run_for(MS);
	CHECK_EQ(add(ends[0], POLLIN, 'x', read_one), -EEXIST);
	CHECK_EQ(qb_loop_poll_mod(loop, QB_LOOP_MED, ends[0], POLLIN | POLLPRI, LETTER('b'), read_one), 0);
	put(ends[1]);
	run_for(10 * MS);
	CHECK_STR(trace, "b");
	CHECK_EQ(qb_loop_poll_del(loop, ends[0]), 0);
	put(ends[1]);
	run_for(10 * MS);
	CHECK_STR(trace, "b");
	qb_loop_destroy(loop);
}

static void a_reused_number_is_a_new_registration(void)
{
	open_pipes();
	CHECK_EQ(add(ends[0], POLLIN, 'x', read_one), 0);
	close(ends[0]);
	CHECK_EQ(dup2(more[0], ends[0]), ends[0]);
	CHECK_EQ(add(ends[0], POLLIN, 'a', read_one), 0);
	put(more[1]);
	run_for(10 * MS);
	CHECK_STR(trace, "a");
	CHECK_EQ(qb_loop_poll_del(loop, ends[0]), 0);
	put(more[1]);
	run_for(10 * MS);
	CHECK_STR(trace, "a");
	CHECK_EQ(qb_loop_poll_del(loop, ends[0]), -EBADF);
	qb_loop_destroy(loop);
}

/* The kernel still reports the closed descriptor, because a duplicate is open. */
static void a_number_closed_with_a_duplicate_open_is_not_dispatched(void)
{
	struct timespec cpu;

	open_pipes();
	CHECK_EQ(add(ends[0], POLLIN, 'x', read_one), 0);
	CHECK(dup(ends[0]) >= 0);
	close(ends[0]);
	CHECK_EQ(qb_loop_poll_del(loop, ends[0]), -EBADF);
	put(ends[1]);
	CHECK_EQ(add(more[0], POLLIN, 'a', read_one), 0);
	put(more[1]);
	run_for(200 * MS);
	CHECK_STR(trace, "a");
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
	CHECK(cpu.tv_sec == 0 && cpu.tv_nsec < 100000000); /* it did not spin */
	qb_loop_destroy(loop);
}

static void change_other(void *data)
{
	(void)data;
	CHECK_EQ(qb_loop_poll_mod(loop, QB_LOOP_LOW, ends[0], POLLIN, LETTER('b'), read_one), 0);
}

static void what_is_queued_goes_to_the_new_callback(void)
{
	open_pipes();
	CHECK_EQ(add(ends[0], POLLIN, 'a', read_one), 0);
	put(ends[1]);
	qb_loop_job_add(loop, QB_LOOP_HIGH, NULL, change_other);
	run_for(10 * MS);
	CHECK_STR(trace, "b");
	qb_loop_destroy(loop);
}

static void changed_events_count(void)
{
	open_pipes();
	CHECK_EQ(add(ends[0], 0, 'x', read_one), 0);
	put(ends[1]);
	run_for(10 * MS);
	CHECK_STR(trace, "");
	CHECK_EQ(qb_loop_poll_mod(loop, QB_LOOP_MED, ends[0], POLLIN, LETTER('a'), read_one), 0);
	run_for(10 * MS);
	CHECK_STR(trace, "a");
	CHECK_EQ(qb_loop_poll_mod(loop, QB_LOOP_MED, ends[0], 0, LETTER('b'), read_one), 0);
	put(ends[1]);
	run_for(10 * MS);
	CHECK_STR(trace, "a");
	qb_loop_destroy(loop);
}

static void a_change_after_the_close_reports_the_kernels_answer(void)
{
	open_pipes();
	CHECK_EQ(add(ends[0], POLLIN, 'a', read_one), 0);
	close(ends[0]);
	CHECK_EQ(qb_loop_poll_mod(loop, QB_LOOP_MED, ends[0], POLLIN, LETTER('b'), read_one), 0);
	CHECK_EQ(qb_loop_poll_mod(loop, QB_LOOP_MED, ends[0], POLLPRI, LETTER('b'), read_one), -EBADF);
	CHECK_EQ(dup2(more[1], ends[0]), ends[0]);
	CHECK_EQ(qb_loop_poll_mod(loop, QB_LOOP_MED, ends[0], POLLIN, LETTER('b'), read_one), -ENOENT);
	qb_loop_destroy(loop);
}

static int32_t delete_the_other(int32_t fd, int32_t revents, void *data)
{
	CHECK_EQ(qb_loop_poll_del(loop, fd == ends[0] ? more[0] : ends[0]), 0);
	return read_one(fd, revents, data);
}

static void a_deletion_by_another_callback_takes_back_what_is_queued(void)
{
	open_pipes();
	CHECK_EQ(add(ends[0], POLLIN, 'a', delete_the_other), 0);
	CHECK_EQ(add(more[0], POLLIN, 'a', delete_the_other), 0);
	put(ends[1]);
	put(more[1]);
	run_for(10 * MS);
	CHECK_STR(trace, "a");
	qb_loop_destroy(loop);
}

static int32_t replace_itself(int32_t fd, int32_t revents, void *data)
{
	CHECK_EQ(qb_loop_poll_del(loop, fd), 0);
	CHECK_EQ(add(fd, POLLIN, 'n', read_one), 0);
	return note_end(fd, revents, data);
}

static void a_registration_added_in_the_old_ones_callback_survives_its_end(void)
{
	open_pipes();
	CHECK_EQ(add(ends[0], POLLIN, 'o', replace_itself), 0);
	put(ends[1]);
	put(ends[1]);
	run_for(10 * MS);
	CHECK_STR(trace, "onn");
	CHECK_EQ(qb_loop_poll_del(loop, ends[0]), 0);
	qb_loop_destroy(loop);
}

static int32_t reopen_itself(int32_t fd, int32_t revents, void *data)
{
	get(fd);
	CHECK_EQ(qb_loop_poll_del(loop, fd), 0);
	close(fd);
	CHECK_EQ(dup2(more[0], fd), fd);
	CHECK_EQ(add(fd, POLLIN, 'n', read_one), 0);
	return note_end(fd, revents, data);
}

static void a_number_reused_in_its_callback_survives_as_well(void)
{
	open_pipes();
	CHECK_EQ(add(ends[0], POLLIN, 'o', reopen_itself), 0);
	put(ends[1]);
	put(more[1]);
	run_for(10 * MS);
	CHECK_STR(trace, "on");
	qb_loop_destroy(loop);
}

static int32_t close_itself(int32_t fd, int32_t revents, void *data)
{
	close(fd);
	return note_end(fd, revents, data);
}

static void a_callback_may_close_its_descriptor_and_end(void)
{
	open_pipes();
	CHECK_EQ(add(ends[0], POLLIN, 'a', close_itself), 0);
	put(ends[1]);
	run_for(10 * MS);
	CHECK_STR(trace, "a");
	CHECK_EQ(qb_loop_poll_del(loop, ends[0]), -EBADF);
	CHECK_EQ(dup2(more[0], ends[0]), ends[0]);
	CHECK_EQ(add(ends[0], POLLIN, 'b', read_one), 0);
	put(more[1]);
	run_for(10 * MS);
	CHECK_STR(trace, "ab");
	qb_loop_destroy(loop);
}

static void a_negative_return_value_ends_the_registration(void)
{
	open_pipes();
	CHECK_EQ(add(ends[0], POLLIN, 'a', note_end), 0);
	put(ends[1]);
	run_for(10 * MS);
	CHECK_STR(trace, "a");
	CHECK_EQ(qb_loop_poll_del(loop, ends[0]), -EBADF);
	CHECK_EQ_COMPAT(add(ends[0], POLLIN, 'b', read_one), -EEXIST, 0, "loop-negative-return");
	qb_loop_destroy(loop);
}

static qb_loop_t *second;

static void one_descriptor_may_be_in_two_loops(void)
{
	open_pipes();
	second = qb_loop_create();
	CHECK_EQ(add(ends[0], POLLIN, 'a', read_one), 0);
	CHECK_EQ(qb_loop_poll_add(second, QB_LOOP_LOW, ends[0], POLLIN, LETTER('b'), read_one), 0);
	put(ends[1]);
	run_for(10 * MS);
	qb_loop_destroy(loop);
	loop = second;
	put(ends[1]);
	run_for(10 * MS);
	CHECK_STR(trace, "ab");
	qb_loop_destroy(loop);
}

static int32_t run_inside(int32_t fd, int32_t revents, void *data)
{
	note('(');
	if (data != NULL) {
		CHECK_EQ(qb_loop_poll_del(loop, fd), 0);
	}
	get(fd);
	qb_loop_job_add(loop, QB_LOOP_LOW, NULL, stop_job);
	qb_loop_run(loop);
	note(')');
	(void)revents;
	return -1;
}

static void a_nested_run_dispatches_other_descriptors(void)
{
	open_pipes();
	CHECK_EQ(qb_loop_poll_add(loop, QB_LOOP_HIGH, ends[0], POLLIN, NULL, run_inside), 0);
	CHECK_EQ(add(more[0], POLLIN, 'a', read_one), 0);
	put(ends[1]);
	put(ends[1]);
	put(more[1]);
	qb_loop_run(loop);
	CHECK_STR(trace, "(a)");
	CHECK_EQ(add(more[0], POLLIN, 'x', read_one), -EEXIST);
	qb_loop_destroy(loop);
}

static void a_nested_run_after_deleting_itself_leaves_others_alone(void)
{
	open_pipes();
	CHECK_EQ(qb_loop_poll_add(loop, QB_LOOP_HIGH, ends[0], POLLIN, loop, run_inside), 0);
	put(ends[1]);
	qb_loop_run(loop);
	CHECK_STR(trace, "()");
	CHECK_EQ(add(more[0], POLLIN, 'a', read_one), 0);
	put(more[1]);
	run_for(10 * MS);
	CHECK_STR(trace, "()a");
	qb_loop_destroy(loop);
}

enum { MANY = 100 };

static void many_ready_descriptors_all_get_their_turn(void)
{
	int pipes[MANY][2], i;

	loop = qb_loop_create();
	for (i = 0; i < MANY; i++) {
		CHECK_EQ(pipe(pipes[i]), 0);
		CHECK_EQ(qb_loop_poll_add(loop, (enum qb_loop_priority)(i % 3), pipes[i][0], POLLIN, LETTER('a'),
					  read_one), 0);
		put(pipes[i][1]);
		put(pipes[i][1]);
	}
	run_for(300 * MS);
	CHECK_EQ(traced, 2 * MANY);
	qb_loop_destroy(loop);
}

static int low_calls, low_state = -1, low_left = -1;

static void on_low_fds(int32_t not_enough, int32_t fds_available)
{
	low_calls++;
	low_state = not_enough;
	low_left = fds_available;
}

static void few_descriptors_are_reported_once_per_change(void)
{
	struct rlimit limit;
	int pipes[5][2], i;

	CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = 50 + 5;
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
	loop = qb_loop_create();
	CHECK_EQ(qb_loop_poll_low_fds_event_set(loop, on_low_fds), 0);
	for (i = 0; i < 5; i++) {
		CHECK_EQ(pipe(pipes[i]), 0);
	}
	for (i = 0; i < 2; i++) {
		CHECK_EQ(add(pipes[i][0], POLLIN, 'x', read_one), 0);
	}
	run_for(MS);
	CHECK_EQ(low_calls, 0);
	CHECK_EQ(add(pipes[2][0], POLLIN, 'x', read_one), 0); /* the loop's own one counts: 5 - 4 are left */
	run_for(MS);
	CHECK_EQ(low_calls, 1);
	CHECK_EQ(low_state, 1);
	CHECK_EQ(low_left, 1);
	CHECK_EQ(qb_loop_poll_del(loop, pipes[2][0]), 0);
	run_for(MS);
	CHECK_EQ(low_calls, 1);
	CHECK_EQ(qb_loop_poll_del(loop, pipes[1][0]), 0);
	run_for(MS);
	CHECK_EQ(low_calls, 2);
	CHECK_EQ(low_state, 0);
	CHECK_EQ(low_left, 3);
	CHECK_EQ(qb_loop_poll_low_fds_event_set(loop, NULL), 0);
	for (i = 1; i < 5; i++) {
		CHECK_EQ(add(pipes[i][0], POLLIN, 'x', read_one), 0);
	}
	run_for(MS);
	CHECK_EQ(low_calls, 2);
	CHECK_EQ(qb_loop_poll_low_fds_event_set(loop, on_low_fds), 0);
	run_for(MS);
	CHECK_EQ(low_calls, 2); /* the change went by while nobody listened */
	for (i = 0; i < 5; i++) {
		CHECK_EQ(qb_loop_poll_del(loop, pipes[i][0]), 0);
	}
	run_for(MS);
	CHECK_EQ(low_calls, 3);
	CHECK_EQ(low_state, 0);
	CHECK_EQ(low_left, 4);
	qb_loop_destroy(loop);
}

static void stop_on_low_fds(int32_t not_enough, int32_t fds_available)
{
	on_low_fds(not_enough, fds_available);
	qb_loop_stop(loop);
}

static void run_nested(void *data)
{
	note('(');
	CHECK_EQ(add(*(int *)data, POLLIN, 'x', read_one), 0);
	qb_loop_run(loop);
	note(')');
}

/* Nothing else would end the wait. */
static void a_stop_by_the_low_fds_function_ends_a_nested_run(void)
{
	struct rlimit limit;
	int ends[2];

	CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = 50 + 3;
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
	CHECK_EQ(pipe(ends), 0);
	loop = qb_loop_create();
	CHECK_EQ(qb_loop_poll_low_fds_event_set(loop, stop_on_low_fds), 0);
	CHECK_EQ(qb_loop_job_add(loop, QB_LOOP_LOW, &ends[0], run_nested), 0);
	qb_loop_run(loop);
	CHECK_STR(trace, "()");
	CHECK_EQ(low_calls, 1);
	qb_loop_destroy(loop);
}

int main(void)
{
	RUN(a_ready_descriptor_is_dispatched_until_it_is_deleted);
	RUN(hang_up_is_reported_unasked);
	RUN(error_and_writability_are_reported);
	RUN(unknown_bits_are_dropped);
	RUN(impossible_descriptors_are_refused);
	RUN(the_second_deletion_says_so);
	RUN(a_deletion_after_the_close_removes_the_registration_all_the_same);
	RUN_OURS(a_failed_add_leaves_the_registration_alone, "loop-failed-add");
	RUN_OURS(a_reused_number_is_a_new_registration, "loop-reused-number");
	RUN_OURS(a_number_closed_with_a_duplicate_open_is_not_dispatched, "loop-closed-duplicate");
	RUN(what_is_queued_goes_to_the_new_callback);
	RUN(changed_events_count);
	RUN(a_change_after_the_close_reports_the_kernels_answer);
	RUN(a_deletion_by_another_callback_takes_back_what_is_queued);
	RUN(a_registration_added_in_the_old_ones_callback_survives_its_end);
	RUN(a_number_reused_in_its_callback_survives_as_well);
	RUN(a_callback_may_close_its_descriptor_and_end);
	RUN(a_negative_return_value_ends_the_registration);
	RUN(one_descriptor_may_be_in_two_loops);
	RUN(a_nested_run_dispatches_other_descriptors);
	RUN(a_nested_run_after_deleting_itself_leaves_others_alone);
	RUN(many_ready_descriptors_all_get_their_turn);
	RUN(few_descriptors_are_reported_once_per_change);
	RUN_OURS(a_stop_by_the_low_fds_function_ends_a_nested_run, "loop-low-fds-stop");
	return check_done();
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* <qb/qbloop.h>: signals. */
#define _GNU_SOURCE
#include "loop-help.h"

#include <pthread.h>
#include <signal.h>

static qb_loop_signal_handle handle;

static int32_t note_signal(int32_t sig, void *data)
{
	(void)sig;
	note_job(data);
	return 0;
}

static int32_t note_last_signal(int32_t sig, void *data)
{
	note_signal(sig, data);
	return 1;
}

static int32_t stop_signal(int32_t sig, void *data)
{
	note_signal(sig, data);
	qb_loop_stop(loop);
	return 0;
}

static int32_t stop_later(int32_t sig, void *data)
{
	note_signal(sig, data);
	CHECK_EQ(qb_loop_job_add(loop, QB_LOOP_LOW, NULL, stop_job), 0);
	return 0;
}

static int add(int sig, char c, qb_loop_signal_dispatch_fn fn)
{
	return qb_loop_signal_add(loop, QB_LOOP_MED, sig, LETTER(c), fn, &handle);
}

static int is_default(int sig)
{
	struct sigaction sa;

	CHECK_EQ(sigaction(sig, NULL, &sa), 0);
	return sa.sa_handler == SIG_DFL;
}

static void bad_signal_arguments_are_refused(void)
{
	loop = qb_loop_create();
	CHECK_EQ(qb_loop_signal_add(loop, (enum qb_loop_priority)3, SIGUSR1, NULL, note_signal, &handle), -EINVAL);
	CHECK_EQ(add(SIGUSR1, 'x', NULL), -EINVAL);
	CHECK_EQ(qb_loop_signal_add(loop, QB_LOOP_LOW, SIGUSR1, NULL, note_signal, NULL), 0);
	CHECK_EQ(add(SIGUSR1, 'x', note_signal), 0);
	CHECK(handle != NULL);
	CHECK_EQ(qb_loop_signal_mod(loop, QB_LOOP_LOW, SIGUSR1, NULL, note_signal, NULL), -EINVAL);
	CHECK_EQ(qb_loop_signal_mod(loop, QB_LOOP_LOW, SIGUSR1, NULL, NULL, handle), -EINVAL);
	CHECK_EQ(qb_loop_signal_mod(loop, (enum qb_loop_priority)4, SIGUSR1, NULL, note_signal, handle), -EINVAL);
	CHECK_EQ(qb_loop_signal_del(loop, NULL), -EINVAL);
	CHECK_EQ(qb_loop_signal_del(loop, handle), 0);
	qb_loop_destroy(loop);
}

static void numbers_that_cannot_be_caught_are_accepted(void)
{
	static const int numbers[] = { 0, -1, 65, 200, SIGKILL, SIGSTOP };
	size_t i;

	loop = qb_loop_create();
	for (i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
		CHECK_EQ(add(numbers[i], 'x', note_signal), 0);
		CHECK_EQ(qb_loop_signal_del(loop, handle), 0);
	}
	qb_loop_destroy(loop);
}

static void a_signal_before_the_run_is_dispatched_in_it(void)
{
	loop = qb_loop_create();
	CHECK_EQ(add(SIGINT, 'i', stop_signal), 0);
	raise(SIGINT);
	CHECK_STR(trace, "");
	qb_loop_run(loop);
	CHECK_STR(trace, "i");
	CHECK_EQ(add(SIGQUIT, 'q', stop_signal), 0);
	raise(SIGQUIT);
	qb_loop_run(loop);
	CHECK_STR(trace, "iq");
	qb_loop_destroy(loop);
}

static void every_occurrence_counts_and_the_order_is_kept(void)
{
	loop = qb_loop_create();
	CHECK_EQ(add(SIGUSR2, '2', note_signal), 0);
	CHECK_EQ(add(SIGUSR1, '1', note_signal), 0);
	CHECK_EQ(add(SIGUSR1, 'i', note_signal), 0);
	raise(SIGUSR2);
	raise(SIGUSR1);
	raise(SIGUSR1);
	raise(SIGUSR2);
	run_for(20 * MS);
	CHECK_STR(trace, "21i1i2");
	qb_loop_destroy(loop);
}

static int32_t note_and_add_job(int32_t sig, void *data)
{
	CHECK_EQ(qb_loop_job_add(loop, QB_LOOP_LOW, LETTER('j'), note_job), 0);
	return note_signal(sig, data);
}

/* An iteration in which LOW has no turn takes a signal as well. */
static void signals_on_low_are_queued_while_it_has_no_turn(void)
{
	loop = qb_loop_create();
	CHECK_EQ(qb_loop_signal_add(loop, QB_LOOP_LOW, SIGUSR1, LETTER('a'), note_and_add_job, NULL), 0);
	CHECK_EQ(qb_loop_signal_add(loop, QB_LOOP_LOW, SIGUSR2, LETTER('b'), note_signal, NULL), 0);
	CHECK_EQ(qb_loop_signal_add(loop, QB_LOOP_LOW, SIGHUP, LETTER('c'), stop_later, NULL), 0);
	raise(SIGUSR1);
	raise(SIGUSR2);
	raise(SIGHUP);
	qb_loop_run(loop);
	CHECK_STR(trace, "abcj");
	qb_loop_destroy(loop);
}

static void with_jobs_queued_one_signal_is_one_call(void)
{
	int i;

	loop = qb_loop_create();
	CHECK_EQ(add(SIGINT, 's', note_signal), 0);
	for (i = 0; i < 6; i++) {
		qb_loop_job_add(loop, QB_LOOP_MED, LETTER('j'), note_job);
	}
	raise(SIGINT);
	run_for(20 * MS);
	CHECK_STR(trace, "jjjjjjs");
	qb_loop_destroy(loop);
}

static volatile sig_atomic_t foreign;

static void on_foreign(int sig)
{
	foreign = sig;
}

static void other_handlers_are_left_alone(void)
{
	loop = qb_loop_create();
	signal(SIGUSR1, on_foreign);
	CHECK_EQ(add(SIGUSR2, '2', note_signal), 0);
	raise(SIGUSR1);
	CHECK_EQ(foreign, SIGUSR1);
	raise(SIGUSR2);
	run_for(10 * MS);
	CHECK_STR(trace, "2");
	CHECK_EQ(qb_loop_signal_del(loop, handle), 0);
	CHECK(!is_default(SIGUSR1));
	qb_loop_destroy(loop);
}

static void a_new_number_installs_all_handlers_again(void)
{
	loop = qb_loop_create();
	CHECK_EQ(add(SIGUSR1, '1', note_signal), 0);
	signal(SIGUSR1, on_foreign);
	CHECK_EQ(add(SIGUSR1, 'i', note_signal), 0);
	raise(SIGUSR1);
	CHECK_EQ(foreign, SIGUSR1);
	CHECK_EQ(add(SIGUSR2, '2', note_signal), 0);
	raise(SIGUSR1);
	run_for(10 * MS);
	CHECK_STR(trace, "1i");
	qb_loop_destroy(loop);
}

static void the_action_interrupts_system_calls_and_blocks_nothing_else(void)
{
	struct sigaction sa;

	loop = qb_loop_create();
	CHECK_EQ(add(SIGUSR1, '1', note_signal), 0);
	CHECK_EQ(sigaction(SIGUSR1, NULL, &sa), 0);
	CHECK_EQ(sa.sa_flags & (SA_RESTART | SA_SIGINFO | SA_RESETHAND | SA_NODEFER | SA_ONSTACK), SA_SIGINFO);
	CHECK_EQ(sigismember(&sa.sa_mask, SIGUSR2), 0);
	qb_loop_destroy(loop);
}

static void a_deleted_registration_gives_the_default_action_back(void)
{
	qb_loop_signal_handle first;

	loop = qb_loop_create();
	signal(SIGUSR1, SIG_IGN);
	CHECK_EQ(add(SIGUSR1, 'x', note_signal), 0);
	first = handle;
	CHECK_EQ(add(SIGUSR1, 'a', note_signal), 0);
	CHECK_EQ(qb_loop_signal_del(loop, first), 0);
	CHECK(!is_default(SIGUSR1));
	raise(SIGUSR1);
	run_for(10 * MS);
	CHECK_STR(trace, "a");
	CHECK_EQ(qb_loop_signal_del(loop, handle), 0);
	CHECK(is_default(SIGUSR1));
	qb_loop_destroy(loop);
}

static void a_return_value_other_than_zero_ends_the_registration(void)
{
	loop = qb_loop_create();
	CHECK_EQ(add(SIGUSR1, '1', note_last_signal), 0);
	raise(SIGUSR1);
	run_for(10 * MS);
	CHECK_STR(trace, "1");
	CHECK(is_default(SIGUSR1));
	qb_loop_destroy(loop);
}

static void change(void *data)
{
	CHECK_EQ(qb_loop_signal_mod(loop, QB_LOOP_LOW, SIGUSR1, data, note_signal, handle), 0);
}

static void a_changed_registration_leaves_queued_calls_as_they_were(void)
{
	loop = qb_loop_create();
	CHECK_EQ(add(SIGUSR1, 'o', note_signal), 0);
	qb_loop_job_add(loop, QB_LOOP_HIGH, LETTER('n'), change);
	raise(SIGUSR1);
	run_for(10 * MS);
	CHECK_STR(trace, "o");
	raise(SIGUSR1);
	run_for(10 * MS);
	CHECK_STR(trace, "on");
	qb_loop_destroy(loop);
}

static void a_changed_number_gives_the_old_one_up(void)
{
	loop = qb_loop_create();
	CHECK_EQ(add(SIGUSR1, 'x', note_signal), 0);
	CHECK_EQ(qb_loop_signal_mod(loop, QB_LOOP_HIGH, SIGUSR2, LETTER('2'), note_signal, handle), 0);
	CHECK(is_default(SIGUSR1));
	raise(SIGUSR2);
	run_for(10 * MS);
	CHECK_STR(trace, "2");
	qb_loop_destroy(loop);
}

static void delete_registration(void *data)
{
	(void)data;
	note('d');
	CHECK_EQ(qb_loop_signal_del(loop, handle), 0);
}

static void a_queued_call_is_taken_back_with_its_registration(void)
{
	loop = qb_loop_create();
	CHECK_EQ(add(SIGUSR1, 'x', note_signal), 0);
	qb_loop_job_add(loop, QB_LOOP_HIGH, NULL, delete_registration);
	raise(SIGUSR1);
	run_for(10 * MS);
	CHECK_STR(trace, "d");
	qb_loop_destroy(loop);
}

static int late_calls;

static int32_t late(int32_t sig, void *data)
{
	(void)sig;
	(void)data;
	late_calls++;
	return 0;
}

/* LOW items wait while three HIGH jobs run, one per iteration; both occurrences are queued by then. */
static void delete_later(void *data)
{
	int n = (int)(intptr_t)data;

	if (n > 0) {
		qb_loop_timer_add(loop, QB_LOOP_HIGH, 0, LETTER(n - 1), delete_later, NULL);
	} else {
		delete_registration(NULL);
	}
}

static void all_queued_calls_are_taken_back(void)
{
	int i;

	loop = qb_loop_create();
	for (i = 0; i < 8; i++) {
		qb_loop_job_add(loop, QB_LOOP_LOW, LETTER('j'), note_job);
	}
	CHECK_EQ(qb_loop_signal_add(loop, QB_LOOP_LOW, SIGUSR1, NULL, late, &handle), 0);
	raise(SIGUSR1);
	raise(SIGUSR1);
	qb_loop_timer_add(loop, QB_LOOP_HIGH, 0, LETTER(2), delete_later, NULL);
	run_for(20 * MS);
	CHECK_EQ_COMPAT(late_calls, 1, 0, "loop-signal-queued-twice");
	qb_loop_destroy(loop);
}

static int32_t delete_itself(int32_t sig, void *data)
{
	note_signal(sig, data);
	CHECK_EQ(qb_loop_signal_del(loop, handle), 0);
	return 1;
}

static void a_callback_may_delete_itself_and_end(void)
{
	loop = qb_loop_create();
	CHECK_EQ(add(SIGUSR1, 'a', delete_itself), 0);
	raise(SIGUSR1);
	raise(SIGUSR1);
	run_for(10 * MS);
	CHECK_STR(trace, "a");
	CHECK_EQ(qb_loop_signal_del(loop, handle), -EINVAL);
	CHECK_EQ(qb_loop_signal_mod(loop, QB_LOOP_LOW, SIGUSR1, NULL, note_signal, handle), -EINVAL);
	qb_loop_destroy(loop);
}

static void the_last_real_time_signal_is_handled(void)
{
	loop = qb_loop_create();
	CHECK_EQ(add(SIGRTMIN, 'm', note_signal), 0);
	CHECK_EQ(add(SIGRTMAX, 'M', note_signal), 0);
	raise(SIGRTMIN);
	raise(SIGRTMAX);
	run_for(10 * MS);
	CHECK_STR(trace, "mM");
	qb_loop_destroy(loop);
}

static void every_loop_gets_its_signals(void)
{
	qb_loop_t *first = qb_loop_create(), *second = qb_loop_create();
	qb_loop_signal_handle a, b;

	CHECK_EQ(qb_loop_signal_add(first, QB_LOOP_LOW, SIGUSR1, LETTER('a'), note_signal, &a), 0);
	CHECK_EQ(qb_loop_signal_add(second, QB_LOOP_LOW, SIGUSR1, LETTER('b'), note_signal, &b), 0);
	CHECK_EQ(qb_loop_signal_add(second, QB_LOOP_LOW, SIGUSR2, LETTER('B'), note_signal, NULL), 0);
	raise(SIGUSR1);
	raise(SIGUSR2);
	loop = first;
	run_for(10 * MS);
	loop = second;
	run_for(10 * MS);
	CHECK_STR(trace, "abB");
	CHECK_EQ(qb_loop_signal_del(first, a), 0);
	CHECK(!is_default(SIGUSR1));
	qb_loop_destroy(first);
	raise(SIGUSR1);
	run_for(10 * MS);
	CHECK_STR(trace, "abBb");
	CHECK_EQ(qb_loop_signal_del(second, b), 0);
	CHECK(is_default(SIGUSR1));
	qb_loop_destroy(second);
}

static int32_t count_signal(int32_t sig, void *data)
{
	(void)sig;
	(void)data;
	late_calls++;
	return 0;
}

static void a_flood_of_signals_does_not_hang(void)
{
	int i;

	loop = qb_loop_create();
	CHECK_EQ(add(SIGUSR1, 'x', count_signal), 0);
	CHECK_EQ(add(SIGUSR2, '2', stop_signal), 0);
	for (i = 0; i < 20000; i++) {
		raise(SIGUSR1);
	}
	raise(SIGUSR2);
	qb_loop_run(loop);
	CHECK(late_calls > 0 && late_calls <= 20000);
	CHECK_STR(trace, "2");
	qb_loop_destroy(loop);
}

static void a_destroyed_loop_swallows_its_signals(void)
{
	loop = qb_loop_create();
	CHECK_EQ(add(SIGUSR1, 'x', note_signal), 0);
	qb_loop_destroy(loop);
	raise(SIGUSR1);
	loop = qb_loop_create();
	CHECK(!is_default(SIGUSR1));
	run_for(10 * MS);
	CHECK_STR(trace, "");
	qb_loop_destroy(loop);
}

static void a_forked_childs_signal_does_not_reach_the_parent(void)
{
	int status = -1;
	pid_t pid;

	loop = qb_loop_create();
	CHECK_EQ(add(SIGUSR1, 'p', note_signal), 0);
	pid = fork();
	if (pid == 0) {
		raise(SIGUSR1);
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	run_for(20 * MS);
	CHECK_EQ_COMPAT(traced, 1, 0, "loop-fork");
	qb_loop_destroy(loop);
}

/* A daemon creates its loop, forks, and goes on in the child. */
static void a_forked_child_that_runs_the_loop_gets_its_own_signals(void)
{
	int status = -1;
	pid_t pid;

	loop = qb_loop_create();
	CHECK_EQ(add(SIGUSR1, 'c', stop_signal), 0);
	pid = fork();
	if (pid == 0) {
		alarm(20);
		raise(SIGUSR1);
		qb_loop_run(loop);
		raise(SIGUSR1);
		qb_loop_run(loop);
		CHECK_STR(trace, "cc");
		_exit(check_bad);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	qb_loop_destroy(loop);
}

static void the_interrupted_code_keeps_its_errno(void)
{
	int i;

	loop = qb_loop_create();
	CHECK_EQ(add(SIGUSR1, 'x', count_signal), 0);
	for (i = 0; i < 20000; i++) { /* more than any queue holds */
		errno = ENOTTY;
		raise(SIGUSR1);
		CHECK_EQ(errno, ENOTTY);
	}
	qb_loop_destroy(loop);
}

static void *kill_process(void *data)
{
	int i;

	for (i = 0; i < 100; i++) {
		kill(getpid(), SIGUSR1);
		sleep_ms(1);
	}
	kill(getpid(), SIGUSR2);
	return data;
}

static void signals_wake_a_waiting_loop(void)
{
	pthread_t thread;

	loop = qb_loop_create();
	CHECK_EQ(add(SIGUSR1, 'x', count_signal), 0);
	CHECK_EQ(add(SIGUSR2, 's', stop_signal), 0);
	pthread_create(&thread, NULL, kill_process, NULL);
	qb_loop_run(loop);
	pthread_join(thread, NULL);
	CHECK(late_calls > 0 && late_calls <= 100);
	CHECK_STR(trace, "s");
	qb_loop_destroy(loop);
}

static void on_stop_signal(int sig)
{
	(void)sig;
	qb_loop_stop(loop);
}

static int ended;

/* More than once: a loop that does not run yet is not stopped. */
static void *kill_later(void *data)
{
	do {
		sleep_ms(20);
		kill(getpid(), SIGUSR1);
	} while (!__atomic_load_n(&ended, __ATOMIC_ACQUIRE));
	return data;
}

static void a_stop_in_a_handler_ends_the_wait(void)
{
	pthread_t thread;

	loop = qb_loop_create();
	signal(SIGUSR1, on_stop_signal);
	pthread_create(&thread, NULL, kill_later, NULL);
	qb_loop_run(loop);
	__atomic_store_n(&ended, 1, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	qb_loop_destroy(loop);
}

int main(void)
{
	RUN(bad_signal_arguments_are_refused);
	RUN(numbers_that_cannot_be_caught_are_accepted);
	RUN(a_signal_before_the_run_is_dispatched_in_it);
	RUN(every_occurrence_counts_and_the_order_is_kept);
	RUN(signals_on_low_are_queued_while_it_has_no_turn);
	RUN(with_jobs_queued_one_signal_is_one_call);
	RUN(other_handlers_are_left_alone);
	RUN(a_new_number_installs_all_handlers_again);
	RUN(the_action_interrupts_system_calls_and_blocks_nothing_else);
	RUN(a_deleted_registration_gives_the_default_action_back);
	RUN(a_return_value_other_than_zero_ends_the_registration);
	RUN(a_changed_registration_leaves_queued_calls_as_they_were);
	RUN(a_changed_number_gives_the_old_one_up);
	RUN(a_queued_call_is_taken_back_with_its_registration);
	RUN(all_queued_calls_are_taken_back);
	RUN_OURS(a_callback_may_delete_itself_and_end, "loop-signal-self-delete");
	RUN_OURS(the_last_real_time_signal_is_handled, "loop-sigrtmax");
	RUN_OURS(every_loop_gets_its_signals, "loop-signal-loops");
	RUN_OURS(a_flood_of_signals_does_not_hang, "loop-signal-flood");
	RUN(a_destroyed_loop_swallows_its_signals);
	RUN(a_forked_childs_signal_does_not_reach_the_parent);
	RUN(a_forked_child_that_runs_the_loop_gets_its_own_signals);
	RUN_OURS(the_interrupted_code_keeps_its_errno, "loop-signal-flood");
	RUN(signals_wake_a_waiting_loop);
	RUN_OURS(a_stop_in_a_handler_ends_the_wait, "loop-thread-wake");
	return check_done();
}

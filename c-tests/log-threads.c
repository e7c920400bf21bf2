/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qb/qblog.h: the logging thread, forks, and targets that come and go; where ours goes further than the reference (COMPATIBILITY.md). */
#define _GNU_SOURCE
#include "log-common.h"

#include <sys/time.h>
#include <time.h>

/* Rows log-thread-restart and log-thread-unstarted. */
static void the_thread_can_be_started_again(void)
{
	int32_t t;

	for (int round = 1; round <= 3; round++) {
		start();
		t = custom();
		qb_log_ctl(t, QB_LOG_CONF_THREADED, QB_TRUE);
		qb_log(LOG_INFO, "queued before the start");
		CHECK_EQ(qb_log_thread_priority_set(SCHED_RR, -1), 0);
		CHECK(qb_log_thread_start() != 0);
		CHECK_EQ(qb_log_thread_priority_set(SCHED_OTHER, 0), 0);
		CHECK_EQ(qb_log_thread_start(), 0);
		qb_log(LOG_INFO, "queued");
		qb_log_fini();
		CHECK_EQ(count, 2 * round);
	}
}

/* Rows log-thread-flush and log-thread-unstarted. */
static void queued_messages_are_written_before_a_change(void)
{
	int32_t t;

	start();
	t = custom();
	qb_log_ctl(t, QB_LOG_CONF_THREADED, QB_TRUE);
	qb_log(LOG_INFO, "no thread yet");
	qb_log_ctl(t, QB_LOG_CONF_THREADED, QB_FALSE);
	CHECK_EQ(count, 1);
	qb_log_thread_start();
	qb_log_ctl(t, QB_LOG_CONF_THREADED, QB_TRUE);
	for (int i = 0; i < 1000; i++) {
		qb_log(LOG_INFO, "x");
	}
	qb_log_ctl(t, QB_LOG_CONF_THREADED, QB_FALSE);
	CHECK_EQ(count, 1001);
	qb_log_ctl(t, QB_LOG_CONF_THREADED, QB_TRUE);
	for (int i = 0; i < 1000; i++) {
		qb_log(LOG_INFO, "x");
	}
	qb_log_custom_close(t);
	CHECK_EQ(count, 2001);
	qb_log_fini();
}

static int direct_count;

static void direct_logger(int32_t t, struct qb_log_callsite *cs, struct timespec *ts, const char *msg)
{
	(void)t, (void)cs, (void)ts, (void)msg;
	__atomic_add_fetch(&direct_count, 1, __ATOMIC_RELAXED);
}

/* Row log-thread-unstarted: a queued message is for the targets that were threaded then, and each gets it once. */
static void a_target_that_is_threaded_later_gets_nothing_twice(void)
{
	int32_t queued, direct;

	start();
	queued = custom();
	direct = wants_all(qb_log_custom_open(direct_logger, NULL, NULL, NULL));
	qb_log_ctl(queued, QB_LOG_CONF_THREADED, QB_TRUE);
	qb_log(LOG_INFO, "to one at once, to the other later");
	CHECK_EQ(count, 0);
	CHECK_EQ(direct_count, 1);
	qb_log_ctl(direct, QB_LOG_CONF_THREADED, QB_TRUE);
	CHECK_EQ(qb_log_thread_start(), 0);
	qb_log_fini();
	CHECK_EQ(count, 1);
	CHECK_EQ(direct_count, 1);
}

/* Row log-thread-unstarted: the end of logging writes what waited for a thread that never came. */
static void messages_for_a_thread_that_never_starts_are_written_at_the_end(void)
{
	start();
	qb_log_ctl(custom(), QB_LOG_CONF_THREADED, QB_TRUE);
	qb_log(LOG_INFO, "waiting");
	CHECK_EQ(count, 0);
	qb_log_fini();
	CHECK_EQ(count, 1);
	CHECK_STR(last, "waiting");
}

static void the_queue_has_a_limit_and_tells(void)
{
	int32_t t;

	start();
	t = custom();
	qb_log_ctl(t, QB_LOG_CONF_THREADED, QB_TRUE);
	for (int i = 0; i < 20000; i++) {
		qb_log(LOG_INFO, "0123456789012345678901234567890123456789012345678901");
	}
	qb_log_thread_start();
	qb_log_fini();
	/* 48 + 53 bytes each, of 512000. */
	CHECK_EQ(count, 512000 / 101 + 1);
	CHECK_STR(last, "14931 messages lost");
}

static void a_forked_child_logs(void)
{
	int status = 0;
	int32_t t;
	pid_t pid;

	start();
	t = custom();
	qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_SIZE, 4096);
	wants_all(QB_LOG_BLACKBOX);
	qb_log_thread_start();
	qb_log_ctl(t, QB_LOG_CONF_THREADED, QB_TRUE);
	pid = fork();
	if (pid == 0) {
		qb_log(LOG_INFO, "written by the child itself");
		CHECK_EQ(count, 1);
		CHECK_EQ(qb_log_thread_start(), 0);
		qb_log(LOG_INFO, "by its thread");
		qb_log_fini();
		CHECK_EQ(count, 2);
		_exit(check_bad);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	CHECK(qb_log_blackbox_write_to_file("/dev/null") > 0);
	{
		char path[100];

		snprintf(path, sizeof path, "/dev/shm/qb-test-log-%d-blackbox-header", (int)getpid());
		CHECK_EQ(access(path, F_OK), 0);
		qb_log_fini();
		CHECK_EQ(access(path, F_OK), -1);
	}
}

static void forks_while_threads_log_do_not_hang(void)
{
	pthread_t id[3];

	start();
	custom();
	wants_all(qb_log_file_open("/dev/null"));
	for (int i = 0; i < 3; i++) {
		pthread_create(&id[i], NULL, log_until_told, NULL);
	}
	for (int i = 0; i < 100; i++) {
		int status = 0;
		pid_t pid = fork();

		if (pid == 0) {
			alarm(10);
			qb_log(LOG_INFO, "child");
			external("new", (uint32_t)i, "child");
			qb_log_ctl(5, QB_LOG_CONF_ENABLED, QB_FALSE);
			_exit(0);
		}
		waitpid(pid, &status, 0);
		CHECK_EQ(status, 0);
	}
	stop_logging = 1;
	for (int i = 0; i < 3; i++) {
		pthread_join(id[i], NULL);
	}
	qb_log_fini();
}

static int from_here, from_there;

/* A target that counts what the thread of the test logs ("meanwhile") and what the others do. */
static void count_deliveries(int32_t t, struct qb_log_callsite *cs, struct timespec *ts, const char *msg)
{
	(void)t;
	(void)cs;
	(void)ts;
	__atomic_add_fetch(strcmp(msg, "meanwhile") == 0 ? &from_here : &from_there, 1, __ATOMIC_RELAXED);
}

static void meanwhile(void)
{
	qb_log(LOG_INFO, "meanwhile");
}

static int32_t counting(void)
{
	return wants_all(qb_log_custom_open(count_deliveries, NULL, NULL, NULL));
}

/* Row log-concurrent: every target that is open receives the message, whatever the threads log meanwhile. */
static void targets_may_come_and_go_while_threads_log(void)
{
	pthread_t id[3];

	start();
	for (int i = 0; i < 3; i++) {
		pthread_create(&id[i], NULL, log_until_told, NULL);
	}
	for (int i = 0; i < 300; i++) {
		int32_t t = i % 2 ? counting() : wants_all(qb_log_file_open("/dev/null"));

		CHECK(t > QB_LOG_BLACKBOX);
		qb_log_format_set(t, i % 3 ? "%p %n %b" : NULL);
		CHECK_EQ(qb_log_ctl(t, QB_LOG_CONF_MAX_LINE_LEN, 100 + i), 0);
		CHECK_EQ(qb_log_file_reopen(t, NULL), i % 2 ? -EBADF : 0);
		meanwhile();
		CHECK_EQ(from_here, (i + 1) / 2);
		qb_log_custom_close(t);
		CHECK_EQ(qb_log_ctl(t, QB_LOG_CONF_MAX_LINE_LEN, 100), -EBADF);
	}
	stop_logging = 1;
	for (int i = 0; i < 3; i++) {
		pthread_join(id[i], NULL);
	}
	qb_log_fini();
}

static void end_logging(int n)
{
	(void)n;
	qb_log_fini();
	_exit(0);
}

/* Row log-handler-ends. */
static void logging_can_be_ended_by_a_signal_handler_whatever_it_interrupted(void)
{
	int hung = 0;

	for (int i = 0; i < 60 && hung == 0; i++) {
		int status = 0;
		pid_t pid = fork();

		if (pid == 0) {
			struct itimerval soon = { .it_value = { 0, 2000 + i * 37 } };
			struct sigaction act = { .sa_handler = end_logging };
			int32_t t;

			start();
			t = qb_log_file_open("/dev/null");
			qb_log_ctl(t, QB_LOG_CONF_THREADED, i % 2);
			qb_log_thread_start();
			wants_all(t);
			sigaction(SIGVTALRM, &act, NULL);
			alarm(10);
			setitimer(ITIMER_VIRTUAL, &soon, NULL);
			log_until_told(NULL);
		}
		waitpid(pid, &status, 0);
		hung += status != 0;
	}
	CHECK_EQ(hung, 0);
}

static void *dump_until_told(void *arg)
{
	(void)arg;
	while (!stop_logging) {
		qb_log_blackbox_write_to_file("/dev/null");
	}
	return NULL;
}

/* Row log-blackbox-fork. */
static void a_child_that_was_forked_during_a_dump_can_end_logging(void)
{
	/* Each fork waits for a turn between two dumps, which on a busy machine takes long. */
	time_t enough = time(NULL) + 10;
	pthread_t id[2];

	start();
	qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_SIZE, 40960);
	wants_all(QB_LOG_BLACKBOX);
	for (int i = 0; i < 2; i++) {
		pthread_create(&id[i], NULL, dump_until_told, NULL);
	}
	for (int i = 0; i < 200 && (i < 20 || time(NULL) < enough); i++) {
		int status = 0;
		pid_t pid = fork();

		if (pid == 0) {
			alarm(10);
			qb_log(LOG_INFO, "child");
			qb_log_fini();
			_exit(0);
		}
		waitpid(pid, &status, 0);
		CHECK_EQ(status, 0);
	}
	stop_logging = 1;
	for (int i = 0; i < 2; i++) {
		pthread_join(id[i], NULL);
	}
	qb_log_fini();
}

static int stopped, go_on;

static void stop_here(int n)
{
	(void)n;
	__atomic_store_n(&stopped, 1, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&go_on, __ATOMIC_ACQUIRE)) {
		usleep(20);
	}
	__atomic_store_n(&stopped, 0, __ATOMIC_RELEASE);
}

static void *log_and_count(void *logged)
{
	while (!stop_logging) {
		qb_log(LOG_INFO, "busy %d", 5);
		__atomic_add_fetch((int *)logged, 1, __ATOMIC_RELEASE);
	}
	return NULL;
}

/* Row log-concurrent: each message of either thread is delivered once, those of this one while the other stands still. */
static void a_thread_that_is_stopped_in_a_log_call_stops_nobody_else(void)
{
	/* Each round waits for its turns of the processor, which on a busy machine takes long. */
	time_t enough = time(NULL) + 10;
	struct sigaction act = { .sa_handler = stop_here };
	int logged = 0;
	pthread_t id;

	start();
	qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_SIZE, 4096);
	wants_all(QB_LOG_BLACKBOX);
	counting();
	sigaction(SIGUSR1, &act, NULL);
	CHECK_EQ(pthread_create(&id, NULL, log_and_count, &logged), 0);
	/* The first message of a callsite makes it known to the configuration, under its lock: that is not what is stopped here. */
	meanwhile();
	while (__atomic_load_n(&logged, __ATOMIC_ACQUIRE) == 0) {
		usleep(20);
	}
	for (int i = 0; i < 300 && (i < 20 || time(NULL) < enough); i++) {
		usleep(100);
		go_on = 0;
		pthread_kill(id, SIGUSR1);
		while (!__atomic_load_n(&stopped, __ATOMIC_ACQUIRE)) {
			usleep(20);
		}
		meanwhile();
		CHECK_EQ(from_here, i + 2);
		__atomic_store_n(&go_on, 1, __ATOMIC_RELEASE);
		while (__atomic_load_n(&stopped, __ATOMIC_ACQUIRE)) {
			usleep(20);
		}
	}
	stop_logging = 1;
	pthread_join(id, NULL);
	CHECK(logged > 0);
	CHECK_EQ(from_there, logged);
	qb_log_fini();
}

static volatile int handled;

static void note(int n)
{
	(void)n;
	handled++;
}

/* Row log-thread-signals. */
static void signals_are_left_to_the_threads_of_the_program(void)
{
	struct sigaction act = { .sa_handler = note };
	sigset_t set, before;

	sigaction(SIGUSR1, &act, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	start();
	CHECK_EQ(qb_log_thread_start(), 0);
	pthread_sigmask(SIG_BLOCK, &set, &before);
	CHECK_EQ(sigismember(&before, SIGUSR1), 0);
	kill(getpid(), SIGUSR1);
	usleep(100000);
	CHECK_EQ(handled, 0);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	CHECK_EQ(handled, 1);
	qb_log_fini();
}

int main(void)
{
	RUN_OURS(the_thread_can_be_started_again, "log-thread-restart");
	RUN_OURS(queued_messages_are_written_before_a_change, "log-thread-flush");
	RUN_OURS(a_target_that_is_threaded_later_gets_nothing_twice, "log-thread-unstarted");
	RUN_OURS(messages_for_a_thread_that_never_starts_are_written_at_the_end, "log-thread-unstarted");
	RUN_OURS(the_queue_has_a_limit_and_tells, "log-thread-lost");
	RUN_OURS(a_forked_child_logs, "log-blackbox-fork");
	RUN_OURS(forks_while_threads_log_do_not_hang, "log-thread-restart");
	RUN_OURS(targets_may_come_and_go_while_threads_log, "log-concurrent");
	RUN_OURS(logging_can_be_ended_by_a_signal_handler_whatever_it_interrupted, "log-handler-ends");
	RUN_OURS(a_child_that_was_forked_during_a_dump_can_end_logging, "log-blackbox-fork");
	RUN_OURS(a_thread_that_is_stopped_in_a_log_call_stops_nobody_else, "log-concurrent");
	RUN_OURS(signals_are_left_to_the_threads_of_the_program, "log-thread-signals");
	return check_done();
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Costs of the main loop, for whatever libqb the program is loaded with. Each line is `name key=value ...`; times are
 * nanoseconds, the median of several rounds.
 *
 * Build: cc -O2 -o loop bench/loop.c -Iinclude -Lbuild/lib -lqb -pthread
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <qb/qbloop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 5, TIMERS = 100000 };

static qb_loop_t *loop;
static long left;

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, int n)
{
	qsort(values, (size_t)n, sizeof *values, by_value);
	return values[n / 2];
}

static void must(int ok, const char *what)
{
	if (!ok) {
		perror(what);
		exit(1);
	}
}

static void no_job(void *data)
{
	(void)data;
}

static void stop_job(void *data)
{
	(void)data;
	qb_loop_stop(loop);
}

static int32_t idle(int32_t fd, int32_t revents, void *data)
{
	(void)fd;
	(void)revents;
	(void)data;
	return 0;
}

/* Always readable: one iteration per call. */
static int32_t again(int32_t fd, int32_t revents, void *data)
{
	(void)fd;
	(void)revents;
	(void)data;
	if (--left == 0) {
		qb_loop_stop(loop);
	}
	return 0;
}

static int32_t echo(int32_t fd, int32_t revents, void *data)
{
	char c;

	(void)revents;
	must(read(fd, &c, 1) == 1, "read");
	must(write((int)(intptr_t)data, &c, 1) == 1, "write");
	if (--left == 0) {
		qb_loop_stop(loop);
	}
	return 0;
}

static double per_call(long n)
{
	double start = now();

	left = n;
	qb_loop_run(loop);
	return (now() - start) / (double)n;
}

static void iteration(enum qb_loop_priority prio, const char *prio_name, long idle_fds)
{
	double ns[ROUNDS];
	int *fds = calloc((size_t)idle_fds, sizeof *fds), ready = eventfd(1, EFD_CLOEXEC), i;
	long calls = 400000 / (idle_fds / 100 + 1) + 2000, n;

	must(fds != NULL && ready >= 0, "setup");
	loop = qb_loop_create();
	for (n = 0; n < idle_fds; n++) {
		fds[n] = eventfd(0, EFD_CLOEXEC);
		must(fds[n] >= 0, "eventfd");
		must(qb_loop_poll_add(loop, QB_LOOP_MED, fds[n], POLLIN, NULL, idle) == 0, "poll_add");
	}
	must(qb_loop_poll_add(loop, prio, ready, POLLIN, NULL, again) == 0, "poll_add");
	per_call(1000);
	for (i = 0; i < ROUNDS; i++) {
		ns[i] = per_call(calls);
	}
	printf("loop-iteration priority=%s idle_fds=%ld ns=%.1f\n", prio_name, idle_fds, median(ns, ROUNDS));
	qb_loop_destroy(loop);
	for (n = 0; n < idle_fds; n++) {
		close(fds[n]);
	}
	close(ready);
	free(fds);
}

static void *echo_back(void *data)
{
	int *fds = data;
	char c;

	while (read(fds[0], &c, 1) == 1 && c != 'q') {
		must(write(fds[1], &c, 1) == 1, "write");
	}
	return NULL;
}

static void ping_pong(enum qb_loop_priority prio, const char *prio_name)
{
	double ns[ROUNDS];
	int there[2], back[2], fds[2], i;
	pthread_t peer;

	must(pipe(there) == 0 && pipe(back) == 0, "pipe");
	fds[0] = there[0];
	fds[1] = back[1];
	loop = qb_loop_create();
	must(qb_loop_poll_add(loop, prio, back[0], POLLIN, (void *)(intptr_t)there[1], echo) == 0, "poll_add");
	must(pthread_create(&peer, NULL, echo_back, fds) == 0, "thread");
	must(write(there[1], "x", 1) == 1, "write");
	for (i = 0; i < ROUNDS; i++) {
		ns[i] = per_call(30000);
	}
	printf("loop-ping-pong priority=%s ns=%.1f\n", prio_name, median(ns, ROUNDS));
	qb_loop_destroy(loop);
	must(write(there[1], "q", 1) == 1, "write");
	pthread_join(peer, NULL);
	close(there[0]);
	close(there[1]);
	close(back[0]);
	close(back[1]);
}

static void fired(void *data)
{
	(void)data;
	if (--left == 0) {
		qb_loop_stop(loop);
	}
}

/* As many as `n` timers of 100 s in scattered order. */
static void timers(long n)
{
	qb_loop_timer_handle *handles = calloc((size_t)n, sizeof *handles);
	double start, add, del, fire;
	long i;

	must(handles != NULL, "calloc");
	loop = qb_loop_create();
	start = now();
	for (i = 0; i < n; i++) {
		must(qb_loop_timer_add(loop, QB_LOOP_HIGH, 100000000000ULL + (uint64_t)(i * 7919 % n) * 1000, NULL, fired,
				       &handles[i]) == 0, "timer_add");
	}
	add = now() - start;
	start = now();
	for (i = 0; i < n; i++) {
		must(qb_loop_timer_del(loop, handles[(i * 104729) % n]) == 0, "timer_del");
	}
	del = now() - start;
	for (i = 0; i < n; i++) {
		must(qb_loop_timer_add(loop, QB_LOOP_HIGH, (uint64_t)(i * 7919 % n), NULL, fired, NULL) == 0, "timer_add");
	}
	start = now();
	left = n;
	qb_loop_run(loop);
	fire = now() - start;
	printf("timers-add n=%ld ns_each=%.1f\n", n, add / (double)n);
	printf("timers-del n=%ld ns_each=%.1f\n", n, del / (double)n);
	printf("timers-fire n=%ld ns_each=%.1f\n", n, fire / (double)n);
	qb_loop_destroy(loop);
	free(handles);
}

/* Processor time for one timer of 2.5 ms. */
static void timer_cpu(void)
{
	struct timespec a, b;
	int i;

	loop = qb_loop_create();
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
	for (i = 0; i < 40; i++) {
		must(qb_loop_timer_add(loop, QB_LOOP_HIGH, 2500000, NULL, stop_job, NULL) == 0, "timer_add");
		qb_loop_run(loop);
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
	printf("timer-cpu ms=2.5 ns=%.1f\n",
	       ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / 40);
	qb_loop_destroy(loop);
}

static void jobs(void)
{
	enum { BATCH = 1000 };
	double ns[ROUNDS], start;
	int round, i;

	loop = qb_loop_create();
	for (round = 0; round < ROUNDS; round++) {
		double sum = 0;
		int rep;

		for (rep = 0; rep < 50; rep++) {
			start = now();
			for (i = 0; i < BATCH; i++) {
				must(qb_loop_job_add(loop, QB_LOOP_HIGH, NULL, no_job) == 0, "job_add");
			}
			sum += now() - start;
			/* A descriptor that is ready keeps the reference from waiting for 50 ms before the batch. */
			must(qb_loop_timer_add(loop, QB_LOOP_HIGH, 0, NULL, stop_job, NULL) == 0, "timer_add");
			start = now();
			qb_loop_run(loop);
			sum += now() - start;
		}
		ns[round] = sum / (50.0 * BATCH);
	}
	printf("job ns=%.1f\n", median(ns, ROUNDS));
	qb_loop_destroy(loop);
}

static void lone_job(void)
{
	double ns[ROUNDS], start;
	int i;

	loop = qb_loop_create();
	for (i = 0; i < ROUNDS; i++) {
		start = now();
		must(qb_loop_job_add(loop, QB_LOOP_MED, NULL, stop_job) == 0, "job_add");
		qb_loop_run(loop);
		ns[i] = now() - start;
	}
	printf("lone-job ns=%.1f\n", median(ns, ROUNDS));
	qb_loop_destroy(loop);
}

static int wanted(int argc, char **argv, const char *part)
{
	int i;

	for (i = 1; i < argc; i++) {
		if (strcmp(argv[i], part) == 0) {
			return 1;
		}
	}
	return argc == 1;
}

/* Arguments choose parts; "timers-full" (100,000 timers) only runs when named: some libraries cannot. */
int main(int argc, char **argv)
{
	struct rlimit limit;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < 10200) {
		limit.rlim_cur = 10200;
		if (limit.rlim_max < limit.rlim_cur) {
			limit.rlim_max = limit.rlim_cur;
		}
		if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
			fprintf(stderr, "cannot raise RLIMIT_NOFILE: 10000 descriptors are left out\n");
		}
	}
	must(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
	if (wanted(argc, argv, "iteration")) {
		iteration(QB_LOOP_HIGH, "high", 1);
		iteration(QB_LOOP_MED, "med", 1);
		iteration(QB_LOOP_LOW, "low", 1);
	}
	if (wanted(argc, argv, "idle")) {
		iteration(QB_LOOP_HIGH, "high", 1000);
		if (limit.rlim_cur >= 10200) {
			iteration(QB_LOOP_HIGH, "high", 10000);
		}
	}
	if (wanted(argc, argv, "ping-pong")) {
		ping_pong(QB_LOOP_HIGH, "high");
		ping_pong(QB_LOOP_MED, "med");
	}
	if (wanted(argc, argv, "job")) {
		jobs();
		lone_job();
	}
	if (wanted(argc, argv, "timers")) {
		timer_cpu();
		timers(1000);
		timers(20000);
	}
	if (argc > 1 && wanted(argc, argv, "timers-full")) {
		timers(TIMERS);
	}
	return 0;
}

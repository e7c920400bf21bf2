/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The main loop: what an iteration, a wakeup through a pipe, a job and a timer cost. `iteration/N-fds-PRIORITY` has N descriptors
 * of which one is ready; timers are added and deleted in scattered order.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <qb/qbloop.h>

/* How long adding the timers of one cell may take: a cost that grows with their number would eat up the whole run. */
#define ADD_SECONDS 4.0
#define ADD_SECONDS_MANY 1.0

enum { BATCHES = 64 };
enum { DONE = 0, TOO_SLOW = 3 };

static qb_loop_t *loop;
static uint64_t left;

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
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

/* Nanoseconds per dispatched event: the median of several batches, as many as fit into the time. */
static double per_call(uint64_t batch)
{
	double ns[BATCHES], limit = bench_seconds() * 1e9;
	uint64_t begin = bench_now_ns(), start, now;
	size_t n = 0;

	do {
		start = bench_now_ns();
		left = batch;
		qb_loop_run(loop);
		now = bench_now_ns();
		ns[n++] = (double)(now - start) / (double)batch;
	} while (n < BATCHES && (double)(now - begin) < limit);
	qsort(ns, n, sizeof *ns, by_value);
	return ns[n / 2];
}

static void iteration(const char *name, enum qb_loop_priority prio, size_t total)
{
	size_t idle_fds = total - 1;
	int *fds, ready;

	if (!bench_wants("loop", name)) {
		return;
	}
	fds = calloc(total, sizeof *fds);
	ready = eventfd(1, EFD_CLOEXEC);
	must(fds != NULL && ready >= 0, "setup");
	loop = qb_loop_create();
	for (size_t i = 0; i < idle_fds; i++) {
		fds[i] = eventfd(0, EFD_CLOEXEC);
		must(fds[i] >= 0, "eventfd");
		must(qb_loop_poll_add(loop, QB_LOOP_MED, fds[i], POLLIN, NULL, idle) == 0, "poll_add");
	}
	must(qb_loop_poll_add(loop, prio, ready, POLLIN, NULL, again) == 0, "poll_add");
	left = bench_scale(1000);
	qb_loop_run(loop);
	bench_cell("loop", name, "ns", per_call(bench_size == BENCH_TINY ? 20 : 1000), LOWER);
	qb_loop_destroy(loop);
	for (size_t i = 0; i < idle_fds; i++) {
		close(fds[i]);
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

static void ping_pong(const char *name, enum qb_loop_priority prio)
{
	int there[2], back[2], fds[2], cpu = sched_getcpu();
	cpu_set_t all, one;
	pthread_t peer;

	if (!bench_wants("loop", name)) {
		return;
	}
	/* Both threads on one CPU: elsewhere the figure is that of an idle CPU waking up. */
	must(cpu >= 0 && sched_getaffinity(0, sizeof all, &all) == 0, "affinity");
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	must(sched_setaffinity(0, sizeof one, &one) == 0, "affinity");
	must(pipe(there) == 0 && pipe(back) == 0, "pipe");
	fds[0] = there[0];
	fds[1] = back[1];
	loop = qb_loop_create();
	must(qb_loop_poll_add(loop, prio, back[0], POLLIN, (void *)(intptr_t)there[1], echo) == 0, "poll_add");
	must(pthread_create(&peer, NULL, echo_back, fds) == 0, "thread");
	must(write(there[1], "x", 1) == 1, "write");
	bench_cell("loop", name, "ns", per_call(bench_size == BENCH_TINY ? 20 : 2000), LOWER);
	qb_loop_destroy(loop);
	must(write(there[1], "q", 1) == 1, "write");
	pthread_join(peer, NULL);
	close(there[0]);
	close(there[1]);
	close(back[0]);
	close(back[1]);
	must(sched_setaffinity(0, sizeof all, &all) == 0, "affinity");
}

static void fired(void *data)
{
	(void)data;
	if (--left == 0) {
		qb_loop_stop(loop);
	}
}

/* Shared with the child; sums of all passes. */
struct timer_costs {
	double add, del, fire;
	uint64_t timers;
};

/* Ends the process when the additions are too slow. */
static void add_timers(uint64_t n, uint64_t base_ns, uint64_t step_ns, qb_loop_timer_handle *handles, double limit_s)
{
	uint64_t begin = bench_now_ns();

	for (uint64_t i = 0; i < n; i++) {
		must(qb_loop_timer_add(loop, QB_LOOP_HIGH, base_ns + i * 7919 % n * step_ns, NULL, fired, &handles[i]) == 0, "timer_add");
		if (i % 256 == 0 && (double)(bench_now_ns() - begin) > limit_s * 1e9) {
			_exit(TOO_SLOW);
		}
	}
}

static void timer_passes(struct timer_costs *costs, uint64_t n, bool del, bool fire, double limit_s)
{
	qb_loop_timer_handle *handles = calloc(n, sizeof *handles);
	uint64_t begin = bench_now_ns(), start, now;

	must(handles != NULL, "calloc");
	do {
		loop = qb_loop_create();
		start = bench_now_ns();
		add_timers(n, 100000000000u, 1000, handles, limit_s);
		costs->add += (double)(bench_now_ns() - start);
		if (del || fire) {
			start = bench_now_ns();
			for (uint64_t i = 0; i < n; i++) {
				must(qb_loop_timer_del(loop, handles[i * 104729 % n]) == 0, "timer_del");
			}
			costs->del += (double)(bench_now_ns() - start);
		}
		if (fire) {
			add_timers(n, 0, 1, handles, limit_s);
			start = bench_now_ns();
			left = n;
			qb_loop_run(loop);
			costs->fire += (double)(bench_now_ns() - start);
		}
		costs->timers += n;
		qb_loop_destroy(loop);
		now = bench_now_ns();
	} while ((double)(now - begin) < bench_seconds() * 1e9);
	free(handles);
}

/* In a child, because a library may give up on so many. */
static void timers(uint64_t n, double limit_s)
{
	static const char *const what[] = { "timer-add", "timer-del", "timer-fire" };
	uint64_t scaled = bench_size == BENCH_TINY ? n / 100 : n;
	struct timer_costs *costs;
	char name[3][32];
	bool wanted[3];
	int status;
	pid_t pid;

	for (int i = 0; i < 3; i++) {
		snprintf(name[i], sizeof name[i], "%s/%lu", what[i], (unsigned long)n);
		wanted[i] = bench_wants("loop", name[i]);
	}
	if (!wanted[0] && !wanted[1] && !wanted[2]) {
		return;
	}
	costs = mmap(NULL, sizeof *costs, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(costs != MAP_FAILED, "mmap");
	fflush(stdout);
	pid = fork();
	must(pid >= 0, "fork");
	if (pid == 0) {
		struct rlimit no_core = { 0, 0 };
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

		/* An abort is an answer here, not an accident. */
		setrlimit(RLIMIT_CORE, &no_core);
		must(null >= 0 && dup2(null, STDERR_FILENO) >= 0, "/dev/null");
		timer_passes(costs, scaled, wanted[1], wanted[2], limit_s);
		_exit(DONE);
	}
	must(waitpid(pid, &status, 0) == pid, "waitpid");
	for (int i = 0; i < 3; i++) {
		double sum = i == 0 ? costs->add : i == 1 ? costs->del : costs->fire;

		if (!wanted[i]) {
			continue;
		}
		if (WIFEXITED(status) && WEXITSTATUS(status) == DONE) {
			bench_cell("loop", name[i], "ns", sum / (double)costs->timers, LOWER);
		} else if (WIFEXITED(status) && WEXITSTATUS(status) == TOO_SLOW) {
			printf("# loop/%s: adding them was given up after %.0f s\n", name[i], limit_s);
		} else if (WIFSIGNALED(status)) {
			printf("# loop/%s: the library ended the process (signal %d)\n", name[i], WTERMSIG(status));
		} else {
			fprintf(stderr, "loop/%s: a call failed\n", name[i]);
			exit(1);
		}
	}
	munmap(costs, sizeof *costs);
}

/* Processor time for one timer of 2.5 ms. */
static void timer_cpu(void)
{
	int n = bench_size == BENCH_FULL ? 60 : bench_size == BENCH_QUICK ? 20 : 2;
	struct timespec a, b;

	if (!bench_wants("loop", "timer-cpu/2.5-ms")) {
		return;
	}
	loop = qb_loop_create();
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
	for (int i = 0; i < n; i++) {
		must(qb_loop_timer_add(loop, QB_LOOP_HIGH, 2500000, NULL, stop_job, NULL) == 0, "timer_add");
		qb_loop_run(loop);
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
	bench_cell("loop", "timer-cpu/2.5-ms", "ns", ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / n, LOWER);
	qb_loop_destroy(loop);
}

/* Jobs in batches; a timer that is due keeps a library from waiting before the batch. */
static void jobs(void)
{
	uint64_t batch = bench_size == BENCH_TINY ? 50 : 1000, begin, start;
	double ns[BATCHES];
	size_t n = 0;

	if (!bench_wants("loop", "job")) {
		return;
	}
	loop = qb_loop_create();
	begin = bench_now_ns();
	do {
		/* The timer is no part of the figure, but its dispatch is, once per batch. */
		start = bench_now_ns();
		for (uint64_t i = 0; i < batch; i++) {
			must(qb_loop_job_add(loop, QB_LOOP_HIGH, NULL, no_job) == 0, "job_add");
		}
		must(qb_loop_timer_add(loop, QB_LOOP_HIGH, 0, NULL, stop_job, NULL) == 0, "timer_add");
		qb_loop_run(loop);
		ns[n++] = (double)(bench_now_ns() - start) / (double)batch;
	} while (n < BATCHES && (double)(bench_now_ns() - begin) < bench_seconds() * 1e9);
	qsort(ns, n, sizeof *ns, by_value);
	bench_cell("loop", "job", "ns", ns[n / 2], LOWER);
	qb_loop_destroy(loop);
}

/* From adding the only job, with nothing else ready, until it has run. */
static void lone_job(void)
{
	size_t n = bench_size == BENCH_FULL ? 5 : bench_size == BENCH_QUICK ? 3 : 1;
	uint64_t start;
	double ns[5];

	if (!bench_wants("loop", "lone-job")) {
		return;
	}
	loop = qb_loop_create();
	for (size_t i = 0; i < n; i++) {
		start = bench_now_ns();
		must(qb_loop_job_add(loop, QB_LOOP_MED, NULL, stop_job) == 0, "job_add");
		qb_loop_run(loop);
		ns[i] = (double)(bench_now_ns() - start);
	}
	qsort(ns, n, sizeof *ns, by_value);
	bench_cell("loop", "lone-job", "ns", ns[n / 2], LOWER);
	qb_loop_destroy(loop);
}

int main(int argc, char **argv)
{
	const rlim_t descriptors = 10200;
	struct rlimit limit;

	bench_args(argc, argv);
	must(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
	if (limit.rlim_cur < descriptors) {
		limit.rlim_cur = descriptors;
		limit.rlim_max = limit.rlim_max < descriptors ? descriptors : limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
		must(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
	}
	iteration("iteration/1-fd", QB_LOOP_HIGH, 1);
	iteration("iteration/1-fd-med", QB_LOOP_MED, 1);
	iteration("iteration/1-fd-low", QB_LOOP_LOW, 1);
	iteration("iteration/1000-fds", QB_LOOP_HIGH, 1000);
	if (limit.rlim_cur >= descriptors) {
		iteration("iteration/10000-fds", QB_LOOP_HIGH, 10000);
	} else if (bench_wants("loop", "iteration/10000-fds")) {
		printf("# loop/iteration/10000-fds: RLIMIT_NOFILE is too low\n");
	}
	ping_pong("ping-pong/high", QB_LOOP_HIGH);
	ping_pong("ping-pong/med", QB_LOOP_MED);
	jobs();
	lone_job();
	timer_cpu();
	timers(1000, ADD_SECONDS);
	timers(20000, ADD_SECONDS);
	timers(100000, ADD_SECONDS_MANY);
	return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Random operations on a main loop, most of them from inside its callbacks: jobs, timers, descriptors and signals are added,
 * changed and deleted, runs are nested and stopped. The order of all callbacks counts.
 *
 * A descriptor that is always readable keeps the loop from waiting, so that nothing depends on the time: timers are due at once, due
 * long ago (durations wrap around), or never. Signals have a priority of their own, because the kernel decides whether they
 * come before or after descriptors. Kept away from: adding a descriptor twice (loop-failed-add), a signal that is raised twice
 * before its function is called (loop-signal-queued-twice), and deleting a descriptor while its function runs in a run around.
 */
#define _GNU_SOURCE
#include "random.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>

#include <qb/qbloop.h>

enum { FDS = 6, TIMERS = 12, SIGNALS = 24, JOBS = 5, DEEPEST = 3 };

static qb_loop_t *loop;
static long left, serial;
static int depth, in_tick, with_signals;
static enum qb_loop_priority signal_prio, poll_prio;

static struct {
	int from, to, full, added, running;
	int hung_up; /* `to` is closed */
} fds[FDS];
static struct {
	qb_loop_timer_handle handle;
	int used;
} timers[TIMERS];
static struct {
	qb_loop_signal_handle handle;
	int used, pending, spent;
} signals[SIGNALS];

static void act(void);

static void *number(int64_t n)
{
	return (void *)(intptr_t)n;
}

static void on_job(void *data)
{
	note("job", (intptr_t)data, 0, 0);
	act();
}

static void on_timer(void *data)
{
	note("timer", (intptr_t)data, 0, 0);
	act();
}

static int32_t on_signal(int32_t sig, void *data)
{
	note("signal", sig - SIGRTMIN, (intptr_t)data, 0);
	signals[sig - SIGRTMIN].pending = 0;
	act();
	return 0;
}

static enum qb_loop_priority random_poll_prio(void)
{
	return with_signals ? poll_prio : (enum qb_loop_priority)rnd(3);
}

static void drain(int i)
{
	char c;

	if (fds[i].full && read(fds[i].from, &c, 1) == 1) {
		fds[i].full = 0;
		note("drain", i, 0, 0);
	}
}

static void open_pipe(int i)
{
	int ends[2] = {-1, -1};

	if (pipe2(ends, O_NONBLOCK) != 0) {
		note("no pipe", i, errno, 0);
	}
	fds[i].from = ends[0];
	fds[i].to = ends[1];
	fds[i].full = fds[i].hung_up = 0;
}

static void close_pipe(int i)
{
	close(fds[i].from);
	if (!fds[i].hung_up) {
		close(fds[i].to);
	}
}

static int32_t on_ready(int32_t fd, int32_t events, void *data);

/* A function ends its registration and perhaps makes a new one for the same number, which may be another file by then. */
static int32_t end_itself(int i)
{
	int how = (int)rnd(3);

	if (how > 0) {
		note("delete itself", qb_loop_poll_del(loop, fds[i].from), i, how);
	}
	if (how < 2) {
		close_pipe(i);
		open_pipe(i);
	}
	fds[i].added = rnd(2) == 0;
	if (fds[i].added) {
		note("add itself", qb_loop_poll_add(loop, random_poll_prio(), fds[i].from, POLLIN,
						    number(++serial * 16 + i), on_ready), i, how);
	}
	return how == 0 || rnd(2) ? -1 : 0;
}

/* `data` is a serial number and the number of the descriptor. */
static int32_t on_ready(int32_t fd, int32_t events, void *data)
{
	int i = (int)((intptr_t)data & 15);

	(void)fd;
	note("ready", i, events, (intptr_t)data >> 4);
	if (rnd(2)) {
		drain(i);
	}
	if (fds[i].running == 0 && depth == 0 && rnd(10) == 0) {
		return end_itself(i);
	}
	fds[i].running++;
	act();
	fds[i].running--;
	return 0;
}

static int32_t on_ready_too(int32_t fd, int32_t events, void *data)
{
	return on_ready(fd, events, data);
}

static int32_t on_tick(int32_t fd, int32_t events, void *data)
{
	(void)fd;
	(void)data;
	note("tick", events, 0, 0);
	in_tick++;
	act();
	in_tick--;
	return 0;
}

static void change_jobs(int add)
{
	int i = (int)rnd(JOBS);
	enum qb_loop_priority prio = (enum qb_loop_priority)rnd(3);

	if (add) {
		note("job_add", qb_loop_job_add(rnd(4) ? loop : NULL, prio, number(i), on_job), i, prio);
	} else {
		note("job_del", qb_loop_job_del(loop, prio, number(i), on_job), i, prio);
	}
}

static void add_timer(void)
{
	static const uint64_t durations[] = {0, 0, (uint64_t)-10000000000, (uint64_t)-20000000000, (uint64_t)-30000000000,
					     3600000000000, INT64_MAX};
	int i = (int)rnd(TIMERS), code;
	enum qb_loop_priority prio = (enum qb_loop_priority)rnd(3);
	uint64_t duration = durations[rnd(sizeof durations / sizeof durations[0])];

	code = qb_loop_timer_add(loop, prio, duration, number(++serial), on_timer, &timers[i].handle);
	note("timer_add", code, serial, prio);
	timers[i].used = 1;
}

static void delete_timer(void)
{
	int i = (int)rnd(TIMERS);

	if (timers[i].used) {
		note("timer", qb_loop_timer_is_running(loop, timers[i].handle),
		     qb_loop_timer_expire_time_get(loop, timers[i].handle) != 0, i);
		note("timer_del", qb_loop_timer_del(loop, timers[i].handle), i, 0);
	}
}

static void change_descriptor(int what)
{
	static const int wanted[] = {POLLIN, POLLIN | POLLPRI, POLLIN | POLLNVAL, 0, POLLIN | 0x2000};
	int i = (int)rnd(FDS), events = wanted[rnd(5)], code;
	qb_loop_poll_dispatch_fn fn = rnd(2) ? on_ready : on_ready_too;
	enum qb_loop_priority prio = random_poll_prio();

	if (fds[i].running > 0) {
		return;
	}
	if (what == 0 && !fds[i].added) {
		code = qb_loop_poll_add(loop, prio, fds[i].from, events, number(++serial * 16 + i), fn);
		note("poll_add", code, i, events);
		fds[i].added = code == 0;
	} else if (what == 1 && fds[i].added) {
		note("poll_mod", qb_loop_poll_mod(loop, prio, fds[i].from, events, number(++serial * 16 + i), fn), i, events);
	} else if (what == 2) {
		note("poll_del", qb_loop_poll_del(loop, fds[i].from), i, 0);
		fds[i].added = 0;
	}
}

/* Closes the other end, or both and makes new ones: deleted before or, as many programs do, afterwards. */
static void close_ends(int i)
{
	int late = (int)rnd(2);

	if (fds[i].running > 0) {
		return;
	}
	if (!fds[i].hung_up && rnd(3)) {
		close(fds[i].to);
		fds[i].hung_up = 1;
		note("hang up", i, 0, 0);
		return;
	}
	if (!late) {
		note("delete", qb_loop_poll_del(loop, fds[i].from), i, 0);
	}
	close_pipe(i);
	if (late) {
		note("delete late", qb_loop_poll_del(loop, fds[i].from), i, 0);
	}
	fds[i].added = 0;
	open_pipe(i);
}

static void change_signal(int i)
{
	if (signals[i].used) {
		note("signal_del", qb_loop_signal_del(loop, signals[i].handle), i, 0);
		signals[i].used = 0;
		signals[i].spent = signals[i].pending; /* an occurrence may be on its way */
	} else if (!signals[i].spent) {
		note("signal_add", qb_loop_signal_add(loop, signal_prio, SIGRTMIN + i, number(++serial), on_signal,
						      &signals[i].handle), i, 0);
		signals[i].used = 1;
	}
}

static void run_nested(void)
{
	depth++;
	note("run", depth, 0, 0);
	qb_loop_run(loop);
	note("ran", depth, 0, 0);
	depth--;
}

static void one_operation(void)
{
	int i;

	switch (rnd(20)) {
	case 0: case 1: case 2:
		change_jobs(1);
		break;
	case 3:
		change_jobs(0);
		break;
	case 4: case 5: case 6:
		add_timer();
		break;
	case 7: case 8:
		delete_timer();
		break;
	case 9: case 10:
		change_descriptor(0);
		break;
	case 11:
		change_descriptor(1);
		break;
	case 12:
		change_descriptor(2);
		break;
	case 13: case 14:
		i = (int)rnd(FDS);
		if (!fds[i].full && !fds[i].hung_up && write(fds[i].to, "x", 1) == 1) {
			fds[i].full = 1;
			note("fill", i, 0, 0);
		}
		break;
	case 15:
		drain((int)rnd(FDS));
		break;
	case 16:
		if (with_signals) {
			change_signal((int)rnd(SIGNALS));
		}
		break;
	case 17:
		i = (int)rnd(SIGNALS);
		if (with_signals && signals[i].used && !signals[i].pending) {
			signals[i].pending = 1;
			note("raise", i, 0, 0);
			raise(SIGRTMIN + i);
		}
		break;
	case 18:
		close_ends((int)rnd(FDS));
		break;
	case 19:
		/* Inside its own function the tick is not dispatched, and a run could wait for ever. */
		if (in_tick == 0 && depth < DEEPEST && rnd(10) == 0) {
			run_nested();
		} else if (rnd(12) == 0) {
			note("stop", 0, 0, 0);
			qb_loop_stop(loop);
		}
		break;
	}
}

static void act(void)
{
	if (left <= 0) {
		qb_loop_stop(loop);
		return;
	}
	for (uint32_t n = rnd(6); n > 0; n--) {
		left--;
		one_operation();
	}
}

static void run(long operations)
{
	enum qb_loop_priority tick_prio = (enum qb_loop_priority)rnd(3);
	int ends[2];

	left = operations;
	loop = qb_loop_create();
	for (int i = 0; i < FDS; i++) {
		open_pipe(i);
	}
	with_signals = (int)rnd(2);
	poll_prio = (enum qb_loop_priority)rnd(3);
	signal_prio = QB_LOOP_LOW;
	while (signal_prio == tick_prio || signal_prio == poll_prio) {
		signal_prio++;
	}
	note("start", with_signals, tick_prio, poll_prio);
	if (pipe(ends) != 0 || write(ends[1], "t", 1) != 1) {
		return;
	}
	qb_loop_poll_add(loop, tick_prio, ends[0], POLLIN, NULL, on_tick);
	while (left > 0) {
		for (int i = 0; i < 3; i++) {
			one_operation();
		}
		qb_loop_run(loop);
		note("returned", 0, 0, 0);
	}
	qb_loop_destroy(loop);
}

int main(int argc, char **argv)
{
	return for_each_seed(argc, argv, run);
}

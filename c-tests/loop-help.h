/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of the main loop share: a trace of single letters, clocks, and callbacks that stop. */
#ifndef LOOP_HELP_H
#define LOOP_HELP_H

#include <qb/qbloop.h>

#include "check.h"

#include <dirent.h>
#include <time.h>

#define MS 1000000ULL
#define SEC (1000 * MS)

static qb_loop_t *loop;
static char trace[4096];
static size_t traced;

static inline void note(char c)
{
	if (traced + 1 < sizeof trace) {
		trace[traced++] = c;
		trace[traced] = '\0';
	}
}

/* A callback's data as a letter. */
#define LETTER(c) ((void *)(intptr_t)(c))

static inline void note_job(void *data)
{
	note((char)(intptr_t)data);
}

static inline void stop_job(void *data)
{
	(void)data;
	qb_loop_stop(loop);
}

static inline uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * SEC + (uint64_t)ts.tv_nsec;
}

static inline void sleep_ms(unsigned ms)
{
	struct timespec ts = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	while (nanosleep(&ts, &ts) != 0) {
	}
}

/* Stops after a few timers on LOW, so that everything else that is ready has had its turns by then. */
static inline void wind_down(void *data)
{
	intptr_t hops = (intptr_t)data;

	if (hops == 0) {
		qb_loop_stop(loop);
	} else {
		CHECK_EQ(qb_loop_timer_add(loop, QB_LOOP_LOW, 0, (void *)(hops - 1), wind_down, NULL), 0);
	}
}

/* Runs the loop for at least so long. */
static inline void run_for(uint64_t ns)
{
	CHECK_EQ(qb_loop_timer_add(loop, QB_LOOP_LOW, ns, (void *)4, wind_down, NULL), 0);
	qb_loop_run(loop);
}

static inline int open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (dir != NULL && readdir(dir) != NULL) {
		n++;
	}
	if (dir != NULL) {
		closedir(dir);
	}
	return n;
}

#endif

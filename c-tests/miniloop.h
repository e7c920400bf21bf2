/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The smallest main loop that can drive a service: poll(2), a job queue and struct qb_ipcs_poll_handlers on top.
 *
 * It exists so that the tests of qb/qbipcs.h need nothing of qb/qbloop.h, and it is strict: a handler call that a real
 * loop would refuse (adding a descriptor twice, changing or deleting one that is not there) is counted in ml.misuse.
 * ml.log, when set, receives one line per handler call: who was added with which priority and events.
 */
#ifndef MINILOOP_H
#define MINILOOP_H

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <qb/qbipcs.h>

#define ML_MAX_FDS 4096
#define ML_MAX_JOBS 256

struct ml_source {
	int fd; /* -1: free */
	int events;
	unsigned generation; /* of this registration, so that a re-used descriptor is not served by an old poll result */
	enum qb_loop_priority priority;
	void *data;
	qb_ipcs_dispatch_fn_t fn;
};

struct ml_job {
	enum qb_loop_priority priority;
	void *data;
	qb_loop_job_dispatch_fn fn;
};

static struct {
	struct ml_source source[ML_MAX_FDS];
	int sources; /* slots in use or used before */
	unsigned generation;
	struct ml_job job[ML_MAX_JOBS];
	int jobs;
	int adds, mods, dels, job_adds; /* calls of the four handlers */
	int dropped;			/* sources removed because their dispatch function returned non-zero */
	int misuse;
	int stop;
	int fail_add; /* when positive: counts down with each dispatch_add, and the one that makes it 0 fails with EMFILE */
	void (*log)(const char *line);
} ml;

static inline void ml_say(const char *what, int priority, int fd, int events)
{
	char line[80];

	if (ml.log != NULL) {
		snprintf(line, sizeof line, "%s p%d fd%d ev0x%x", what, priority, fd, (unsigned)events);
		ml.log(line);
	}
}

static inline struct ml_source *ml_find(int fd)
{
	for (int i = 0; i < ml.sources; i++) {
		if (ml.source[i].fd == fd) {
			return &ml.source[i];
		}
	}
	return NULL;
}

static int32_t ml_dispatch_add(enum qb_loop_priority p, int32_t fd, int32_t events, void *data,
			       qb_ipcs_dispatch_fn_t fn)
{
	struct ml_source *s;

	ml.adds++;
	ml_say("add", p, fd, events);
	if (ml.fail_add > 0 && --ml.fail_add == 0) {
		return -EMFILE;
	}
	if (fd < 0 || fn == NULL || ml_find(fd) != NULL) {
		ml.misuse++;
		return -EEXIST;
	}
	s = ml_find(-1);
	if (s == NULL) {
		if (ml.sources == ML_MAX_FDS) {
			return -ENOMEM;
		}
		s = &ml.source[ml.sources++];
	}
	*s = (struct ml_source){fd, events, ++ml.generation, p, data, fn};
	return 0;
}

static int32_t ml_dispatch_mod(enum qb_loop_priority p, int32_t fd, int32_t events, void *data,
			       qb_ipcs_dispatch_fn_t fn)
{
	struct ml_source *s = fd < 0 ? NULL : ml_find(fd);

	ml.mods++;
	ml_say("mod", p, fd, events);
	if (s == NULL) {
		ml.misuse++;
		return -ENOENT;
	}
	*s = (struct ml_source){fd, events, s->generation, p, data, fn};
	return 0;
}

static int32_t ml_dispatch_del(int32_t fd)
{
	struct ml_source *s = fd < 0 ? NULL : ml_find(fd);

	ml.dels++;
	ml_say("del", -1, fd, 0);
	if (s == NULL) {
		ml.misuse++;
		return -ENOENT;
	}
	s->fd = -1;
	return 0;
}

static int32_t ml_job_add(enum qb_loop_priority p, void *data, qb_loop_job_dispatch_fn fn)
{
	ml.job_adds++;
	ml_say("job", p, 0, 0);
	if (ml.jobs == ML_MAX_JOBS) {
		return -ENOMEM;
	}
	ml.job[ml.jobs++] = (struct ml_job){p, data, fn};
	return 0;
}

static struct qb_ipcs_poll_handlers ml_handlers __attribute__((unused)) = {
	.job_add = ml_job_add,
	.dispatch_add = ml_dispatch_add,
	.dispatch_mod = ml_dispatch_mod,
	.dispatch_del = ml_dispatch_del,
};

static inline int ml_registered(void)
{
	int n = 0;

	for (int i = 0; i < ml.sources; i++) {
		n += ml.source[i].fd >= 0;
	}
	return n;
}

/* One turn: the jobs queued so far, then every ready descriptor, highest priority first. Returns what poll() said. */
static inline int ml_turn(int timeout_ms)
{
	static struct pollfd fds[ML_MAX_FDS];
	static unsigned generation[ML_MAX_FDS];
	struct ml_job due[ML_MAX_JOBS];
	int n = 0, jobs = ml.jobs, ready;

	memcpy(due, ml.job, sizeof due[0] * (size_t)jobs);
	ml.jobs = 0;
	for (int i = 0; i < jobs; i++) {
		due[i].fn(due[i].data);
	}
	for (int p = QB_LOOP_HIGH; p >= QB_LOOP_LOW; p--) {
		for (int i = 0; i < ml.sources; i++) {
			if (ml.source[i].fd >= 0 && ml.source[i].priority == (enum qb_loop_priority)p) {
				generation[n] = ml.source[i].generation;
				fds[n++] = (struct pollfd){ml.source[i].fd, (short)ml.source[i].events, 0};
			}
		}
	}
	ready = poll(fds, (nfds_t)n, ml.jobs > 0 ? 0 : timeout_ms);
	for (int i = 0; ready > 0 && i < n; i++) {
		struct ml_source *s = fds[i].revents == 0 ? NULL : ml_find(fds[i].fd);

		/* An earlier dispatch of this turn may have deleted it, and even opened another one with its number. */
		if (s == NULL || s->generation != generation[i]) {
			continue;
		}
		if (s->fn(fds[i].fd, fds[i].revents, s->data) != 0) {
			s = ml_find(fds[i].fd);
			if (s != NULL && s->generation == generation[i]) {
				ml.dropped++;
				ml_say("drop", -1, fds[i].fd, fds[i].revents);
				s->fd = -1;
			}
		}
	}
	return ready;
}

static inline void ml_run(void)
{
	while (!ml.stop) {
		ml_turn(1000);
	}
}

#endif

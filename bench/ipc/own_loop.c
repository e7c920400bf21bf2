/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The smallest poll implementation that a service can run on: epoll, a table indexed by descriptor, a short list of jobs. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <sys/epoll.h>

#include "ipc.h"

enum { MAX_FD = 20000, MAX_JOBS = 1024, BATCH = 32 };

/* POLLIN, POLLPRI, POLLOUT, POLLERR and POLLHUP have the values of their EPOLL counterparts on Linux; POLLNVAL has none. */
enum { POLL_BITS = EPOLLIN | EPOLLPRI | EPOLLOUT };

static struct entry {
	qb_ipcs_dispatch_fn_t fn;
	void *data;
	unsigned registration;
} entries[MAX_FD];
static struct job {
	qb_loop_job_dispatch_fn fn;
	void *data;
} jobs[MAX_JOBS];
static int job_count, epoll_fd = -1;
static bool stopping;

static int32_t control(int op, int32_t fd, int32_t events, void *data, qb_ipcs_dispatch_fn_t fn)
{
	struct epoll_event e = { .events = (uint32_t)events & POLL_BITS, .data = { .fd = fd } };

	if (fd < 0 || fd >= MAX_FD) {
		return -EMFILE;
	}
	if (epoll_ctl(epoll_fd, op, fd, &e) != 0) {
		return -errno;
	}
	entries[fd] = (struct entry){ fn, data, entries[fd].registration + (op != EPOLL_CTL_MOD) };
	return 0;
}

static int32_t add(enum qb_loop_priority p, int32_t fd, int32_t events, void *data, qb_ipcs_dispatch_fn_t fn)
{
	(void)p;
	return control(EPOLL_CTL_ADD, fd, events, data, fn);
}

static int32_t mod(enum qb_loop_priority p, int32_t fd, int32_t events, void *data, qb_ipcs_dispatch_fn_t fn)
{
	(void)p;
	return control(EPOLL_CTL_MOD, fd, events, data, fn);
}

static int32_t del(int32_t fd)
{
	return control(EPOLL_CTL_DEL, fd, 0, NULL, NULL);
}

static int32_t job(enum qb_loop_priority p, void *data, qb_loop_job_dispatch_fn fn)
{
	(void)p;
	if (job_count == MAX_JOBS) {
		return -ENOMEM;
	}
	jobs[job_count++] = (struct job){ fn, data };
	return 0;
}

void own_loop_init(struct qb_ipcs_poll_handlers *h)
{
	*h = (struct qb_ipcs_poll_handlers){ .job_add = job, .dispatch_add = add, .dispatch_mod = mod, .dispatch_del = del };
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0) {
		die("epoll_create1", errno);
	}
}

void own_loop_run(void)
{
	struct epoll_event ready[BATCH];

	while (!stopping) {
		int n = epoll_wait(epoll_fd, ready, BATCH, job_count > 0 ? 0 : -1);
		int todo = job_count;

		for (int i = 0; i < n; i++) {
			int fd = ready[i].data.fd;
			struct entry e = entries[fd];

			/* The callback may have removed the descriptor and added it again; what it returns is about the old registration. */
			if (e.fn != NULL && e.fn(fd, (int32_t)ready[i].events, e.data) != 0 && entries[fd].registration == e.registration) {
				del(fd);
			}
		}
		for (int i = 0; i < todo; i++) {
			jobs[i].fn(jobs[i].data);
		}
		/* Jobs added by these jobs wait for the next turn. */
		job_count -= todo;
		memmove(jobs, jobs + todo, (size_t)job_count * sizeof *jobs);
	}
}

void own_loop_stop(void)
{
	stopping = true;
}

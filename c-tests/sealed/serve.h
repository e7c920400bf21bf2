/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A service in a process of its own, on the library's loop, for tests that need no more of it than what it does with a request. */
#ifndef SEALED_SERVE_H
#define SEALED_SERVE_H

#include "../check.h"

#include <qb/qbipcs.h>
#include <qb/qbloop.h>
#include <signal.h>
#include <sys/prctl.h>

static qb_ipcs_service_t *service;
static qb_loop_t *loop;

static int32_t may(qb_ipcs_connection_t *c, uid_t uid, gid_t gid)
{
	(void)c, (void)uid, (void)gid;
	return 0;
}

static int32_t l_job(enum qb_loop_priority p, void *data, qb_loop_job_dispatch_fn fn)
{
	return qb_loop_job_add(loop, p, data, fn);
}
static int32_t l_add(enum qb_loop_priority p, int32_t fd, int32_t ev, void *data, qb_ipcs_dispatch_fn_t fn)
{
	return qb_loop_poll_add(loop, p, fd, ev, data, fn);
}
static int32_t l_mod(enum qb_loop_priority p, int32_t fd, int32_t ev, void *data, qb_ipcs_dispatch_fn_t fn)
{
	return qb_loop_poll_mod(loop, p, fd, ev, data, fn);
}
static int32_t l_del(int32_t fd)
{
	return qb_loop_poll_del(loop, fd);
}

/* Returns when the service listens. It ends with its parent, or is killed. */
static pid_t serve(const char *name, enum qb_ipc_type type, qb_ipcs_msg_process_fn handle)
{
	struct qb_ipcs_service_handlers h = {may, NULL, handle, NULL, NULL};
	struct qb_ipcs_poll_handlers p = {l_job, l_add, l_mod, l_del};
	int ready[2];
	char byte;
	pid_t pid;

	CHECK_EQ(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(ready[0]);
		loop = qb_loop_create();
		service = qb_ipcs_create(name, 0, type, &h);
		qb_ipcs_poll_handlers_set(service, &p);
		if (qb_ipcs_run(service) != 0 || write(ready[1], "r", 1) != 1) {
			_exit(3);
		}
		close(ready[1]);
		qb_loop_run(loop);
		_exit(3);
	}
	close(ready[1]);
	CHECK_EQ(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return pid;
}

#endif

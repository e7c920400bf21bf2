/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The victim forks on request, and its child does with what it has inherited what children do. Part of victim.h. */
#ifndef VICTIM_FORK_H
#define VICTIM_FORK_H

enum { F_QUICK, F_EXIT, F_KILLED, F_DISCONNECT, F_DESTROY, F_UNREF, F_ALL, F_IDLE, F_STAYS, F_COUNT };
static const char *const fork_names[] = {
	"leaves at once", "exits", "is killed", "disconnects everybody and exits", "destroys the service and exits",
	"drops its reference and exits", "destroys service and loop and exits", "only lives on", "destroys the service and lives on"};

static _Noreturn void v_child(int what)
{
	static struct shared private;

	/* What the application's functions count in the child is not the victim's. */
	private = *victim.shared;
	victim.shared = &private;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(20);
	switch (what) {
	case F_QUICK: _exit(0);
	case F_KILLED: raise(SIGKILL); break;
	case F_DISCONNECT:
		for (qb_ipcs_connection_t *c = qb_ipcs_connection_first_get(victim.service), *next; c != NULL; c = next) {
			next = qb_ipcs_connection_next_get(victim.service, c);
			qb_ipcs_disconnect(c);
			qb_ipcs_connection_unref(c);
		}
		break;
	case F_UNREF: qb_ipcs_unref(victim.service); break;
	case F_DESTROY:
	case F_STAYS:
	case F_ALL:
		qb_ipcs_destroy(victim.service);
		if (what == F_ALL && victim.loop != NULL) {
			qb_loop_destroy(victim.loop);
		}
		break;
	default: break;
	}
	while (what == F_IDLE || what == F_STAYS) {
		alarm(0);
		pause();
	}
	exit(0);
}

/* Forks; waits for a child that ends. */
static void v_fork(int what)
{
	int status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		v_child(what);
	}
	if (what == F_IDLE || what == F_STAYS) {
		wire_ms(30); /* it has done its part, most likely */
	} else {
		waitpid(pid, &status, 0);
	}
	victim.shared->fork_status = pid < 0 ? -1 : what == F_KILLED && WIFSIGNALED(status) ? 0 : status;
	victim.shared->forked++;
}

static void v_fork_later(void *data)
{
	v_fork((int)(intptr_t)data);
}

#endif

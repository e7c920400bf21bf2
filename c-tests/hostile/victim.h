/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The victims: a service that echoes (id 1), sends events (id 2) and stays silent (id 3), in a process of its own, on the
 * poll loop of the test kit or on the library's; and an honest client.
 */
#ifndef VICTIM_H
#define VICTIM_H

#include "../miniloop.h"

#include <dirent.h>
#include <qb/qbipcc.h>
#include <qb/qbloop.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* The last two are no numbers that random words hit. */
enum { V_ECHO = 1, V_EVENTS, V_SILENT, V_STRANGE, V_FORK = 0x5fff0001, V_LIMIT };

struct shared { /* between the processes of one row; the hostile one gets its copy of the name only */
	volatile int started, unstable, lying, misaligned, misuse, registered;
	volatile int accepted, destroyed, strange; /* strange: requests that only a stranger sends */
	volatile int forked, fork_status, usages;
	volatile double usage; /* processor time of the victim in ms, told at its request */
};

struct victim {
	char name[64];
	pid_t pid;
	int type, own_loop, control;
	struct shared *shared;
	qb_ipcs_service_t *service;
	qb_loop_t *loop;
	int done;
};

static struct victim victim;

#include "victim_fork.h"

static void v_reply(qb_ipcs_connection_t *c, const struct qb_ipc_request_header *r, size_t size)
{
	size_t back = size < sizeof(struct qb_ipc_response_header) ? sizeof(struct qb_ipc_response_header) : size;
	struct qb_ipc_response_header *p = calloc(1, back);

	memcpy(p, r, size);
	p->id = r->id;
	p->size = (int32_t)back;
	p->error = 0;
	qb_ipcs_response_send(c, p, back);
	free(p);
}

static int32_t v_accept(qb_ipcs_connection_t *c, uid_t uid, gid_t gid)
{
	(void)c, (void)uid, (void)gid;
	victim.shared->accepted++;
	return 0;
}

static void v_destroyed(qb_ipcs_connection_t *c)
{
	(void)c;
	victim.shared->destroyed++;
}

static int32_t v_message(qb_ipcs_connection_t *c, void *data, size_t size)
{
	volatile const struct qb_ipc_request_header *hdr = data;
	int32_t id = hdr->id, says = hdr->size;

	victim.shared->misaligned += ((uintptr_t)data & 7) != 0;
	victim.shared->lying += size < sizeof *hdr || (size_t)says > size;
	/* Another user's request holds still, whatever its sender does meanwhile. */
	for (int i = 0; i < 200; i++) {
		if (hdr->id != id || hdr->size != says) {
			victim.shared->unstable++;
			return 0;
		}
	}
	switch (id) {
	case V_EVENTS: {
		struct wire_msg event = wire_message(77, sizeof event);

		for (int i = 0; i < 64; i++) {
			qb_ipcs_event_send(c, &event, sizeof event);
		}
		v_reply(c, data, sizeof event <= size ? sizeof event : size);
		break;
	}
	case V_SILENT:
		break;
	case V_STRANGE:
		victim.shared->strange++;
		break;
	case V_LIMIT: { /* from here on so many descriptors; those above stay open */
		struct wire_msg m = {0};
		struct rlimit limit;

		memcpy(&m, data, size < sizeof m ? size : sizeof m);
		getrlimit(RLIMIT_NOFILE, &limit);
		limit.rlim_cur = (rlim_t)m.arg[0];
		setrlimit(RLIMIT_NOFILE, &limit);
		v_reply(c, data, size);
		break;
	}
	case V_FORK: {
		struct wire_msg m = {0};

		memcpy(&m, data, size < sizeof m ? size : sizeof m);
		if (m.arg[1] == 0) {
			v_fork(m.arg[0]);
		} else if (victim.loop != NULL) {
			qb_loop_job_add(victim.loop, QB_LOOP_LOW, (void *)(intptr_t)m.arg[0], v_fork_later);
		} else {
			ml_job_add(QB_LOOP_LOW, (void *)(intptr_t)m.arg[0], v_fork_later);
		}
		v_reply(c, data, size);
		break;
	}
	default:
		v_reply(c, data, size);
	}
	return 0;
}

static int32_t v_control(int32_t fd, int32_t revents, void *data)
{
	struct rusage u;
	char byte;

	(void)revents, (void)data;
	if (read(fd, &byte, 1) > 0 && byte == 'u') {
		getrusage(RUSAGE_SELF, &u);
		victim.shared->usage = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e3 +
				       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e3;
		victim.shared->usages++;
	} else {
		victim.done = 1;
		if (victim.loop != NULL) {
			qb_loop_stop(victim.loop);
		}
	}
	return 0;
}

static int32_t vl_job(enum qb_loop_priority p, void *data, qb_loop_job_dispatch_fn fn)
{
	return qb_loop_job_add(victim.loop, p, data, fn);
}
static int32_t vl_add(enum qb_loop_priority p, int32_t fd, int32_t ev, void *data, qb_ipcs_dispatch_fn_t fn)
{
	return qb_loop_poll_add(victim.loop, p, fd, ev, data, fn);
}
static int32_t vl_mod(enum qb_loop_priority p, int32_t fd, int32_t ev, void *data, qb_ipcs_dispatch_fn_t fn)
{
	return qb_loop_poll_mod(victim.loop, p, fd, ev, data, fn);
}
static int32_t vl_del(int32_t fd)
{
	return qb_loop_poll_del(victim.loop, fd);
}

static _Noreturn void victim_main(int control, int nofile)
{
	struct qb_ipcs_service_handlers h = {v_accept, NULL, v_message, NULL, v_destroyed};
	struct qb_ipcs_poll_handlers own = {vl_job, vl_add, vl_mod, vl_del};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (nofile > 0) {
		struct rlimit limit = {(rlim_t)nofile, (rlim_t)nofile};

		setrlimit(RLIMIT_NOFILE, &limit);
	}
	victim.loop = victim.own_loop ? qb_loop_create() : NULL;
	victim.service = qb_ipcs_create(victim.name, 0, (enum qb_ipc_type)victim.type, &h);
	qb_ipcs_poll_handlers_set(victim.service, victim.loop != NULL ? &own : &ml_handlers);
	if (qb_ipcs_run(victim.service) != 0) {
		_exit(3);
	}
	if (victim.loop != NULL) {
		qb_loop_poll_add(victim.loop, QB_LOOP_HIGH, control, POLLIN, NULL, v_control);
		victim.shared->started = 1;
		qb_loop_run(victim.loop);
	} else {
		ml_dispatch_add(QB_LOOP_HIGH, control, POLLIN, NULL, v_control);
		victim.shared->started = 1;
		while (!victim.done) {
			ml_turn(1000);
		}
	}
	qb_ipcs_destroy(victim.service);
	victim.shared->misuse = ml.misuse;
	victim.shared->registered = victim.loop != NULL ? 0 : ml_registered() - 1;
	_exit(0);
}

static inline void victim_start(int type, int own_loop, int nofile)
{
	int control[2];

	victim.type = type;
	victim.own_loop = own_loop;
	victim.shared = mmap(NULL, sizeof *victim.shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	snprintf(victim.name, sizeof victim.name, "qbhostile-%d", (int)getpid());
	if (pipe2(control, O_CLOEXEC) != 0) {
		_exit(3);
	}
	victim.pid = fork();
	if (victim.pid == 0) {
		close(control[1]);
		victim_main(control[0], nofile);
	}
	close(control[0]);
	victim.control = control[1];
	while (!victim.shared->started) {
		wire_ms(1);
	}
}

/* What a process holds: descriptors and mappings of rings. */
struct holds {
	int fds, maps, shm;
};

static inline struct holds holds_of(pid_t pid)
{
	struct holds h = {0, 0, 0};
	char path[64], line[5000];
	struct dirent *e;
	FILE *maps;
	DIR *d;

	snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
	d = opendir(path);
	while (d != NULL && (e = readdir(d)) != NULL) {
		h.fds += e->d_name[0] != '.';
	}
	if (d != NULL) {
		closedir(d);
	}
	snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
	maps = fopen(path, "r");
	while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
		h.maps += strstr(line, "/dev/shm/qb-") != NULL || strstr(line, "/memfd:qb") != NULL;
	}
	if (maps != NULL) {
		fclose(maps);
	}
	snprintf(path, sizeof path, "qb-%d-", (int)pid);
	d = opendir("/dev/shm");
	while (d != NULL && (e = readdir(d)) != NULL) {
		h.shm += strncmp(e->d_name, path, strlen(path)) == 0;
	}
	if (d != NULL) {
		closedir(d);
	}
	return h;
}

/* Processor time of a process so far, in ms. */
static inline double cpu_ms(pid_t pid)
{
	struct timespec t = {0, 0};
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0) {
		return 0;
	}
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static inline double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* Connects with no more than so many free descriptors, when that is not 0. */
static inline qb_ipcc_connection_t *connect_with(int free)
{
	struct rlimit whole, limit;
	qb_ipcc_connection_t *c;
	int most = 0;

	getrlimit(RLIMIT_NOFILE, &whole);
	for (limit = whole; free > 0; most++) {
		free -= fcntl(most, F_GETFD) < 0;
	}
	limit.rlim_cur = most > 0 ? (rlim_t)most : whole.rlim_cur;
	setrlimit(RLIMIT_NOFILE, &limit);
	c = qb_ipcc_connect(victim.name, WIRE_MAX_MSG);
	setrlimit(RLIMIT_NOFILE, &whole);
	return c;
}

/* One connection of a client that does nothing wrong: 0, or what failed. */
static inline int honest_client(void)
{
	qb_ipcc_connection_t *c = qb_ipcc_connect(victim.name, WIRE_MAX_MSG);
	char back[256] = {0};
	struct wire_msg m = wire_message(V_ECHO, sizeof m);
	struct iovec iov = {&m, sizeof m};
	ssize_t n;

	if (c == NULL) {
		return -errno;
	}
	m.arg[0] = 4711;
	n = qb_ipcc_sendv_recv(c, &iov, 1, back, sizeof back, 5000);
	if (n == (ssize_t)sizeof m && ((struct wire_msg *)(void *)back)->arg[0] != 4711) {
		n = -EBADMSG;
	}
	qb_ipcc_disconnect(c);
	return n == (ssize_t)sizeof m ? 0 : (n < 0 ? (int)n : -EPROTO);
}

#endif

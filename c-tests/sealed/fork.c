/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A child that inherits a connection or a service by fork() and lets go of it, in whatever way, does not hurt its parent. Both
 * transports of shared memory, and sockets. And descriptors that are under way.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "../ipckit.h"
#include "serve.h"

#include <sys/resource.h>
#include <sys/socket.h>

enum { ECHO = 1, FORK };
enum how { EXITS, RETURNS, DISCONNECTS, DESTROYS, BOTH_ENDS, WAYS };

struct message {
	struct qb_ipc_response_header hdr;
	int32_t how, answer;
};

/* What a child does with what it has inherited. */
static void let_go(qb_ipcs_connection_t *c, enum how how)
{
	if (how == DISCONNECTS || how == BOTH_ENDS) {
		qb_ipcs_disconnect(c);
	}
	if (how == DESTROYS || how == BOTH_ENDS) {
		qb_ipcs_destroy(service);
	}
	if (how == RETURNS) {
		exit(0);
	}
	_exit(0);
}

static int32_t handle(qb_ipcs_connection_t *c, void *data, size_t size)
{
	struct message m;

	memcpy(&m, data, size < sizeof m ? size : sizeof m);
	if (m.hdr.id == FORK) {
		pid_t pid = fork();

		if (pid == 0) {
			let_go(c, (enum how)m.how);
		}
		waitpid(pid, &m.answer, 0);
	}
	qb_ipcs_event_send(c, &m, sizeof m);
	qb_ipcs_response_send(c, &m, sizeof m);
	return 0;
}

/* A request with its answer and its event; afterwards nothing is readable. */
static void converse(qb_ipcc_connection_t *c, int id, int how)
{
	struct message m = {.hdr = {.id = id, .size = sizeof m}, .how = how}, back = {.answer = 77};
	struct iovec iov = {&m, sizeof m};
	int fd = -1;

	CHECK_EQ(qb_ipcc_sendv_recv(c, &iov, 1, &back, sizeof back, 20000), sizeof back);
	CHECK_EQ(back.answer, 0);
	CHECK_EQ(qb_ipcc_fd_get(c, &fd), 0);
	CHECK_EQ(kit_readable(fd, 20000), POLLIN);
	CHECK_EQ(qb_ipcc_event_recv(c, &back, sizeof back, 0), sizeof back);
	CHECK_EQ(kit_readable(fd, 0), 0);
	CHECK(qb_ipcc_is_connected(c));
}

static enum qb_ipc_type T;

static void a_child_of_a_client_hurts_nobody(void)
{
	char name[64];
	pid_t server;

	snprintf(name, sizeof name, "qbfork-%d", (int)getpid());
	server = serve(name, T, handle);
	qb_ipcc_connection_t *c = qb_ipcc_connect(name, 0), *d = qb_ipcc_connect(name, 0);

	CHECK(c != NULL && d != NULL);
	for (int how = EXITS; how <= DISCONNECTS; how++) {
		pid_t pid = fork();
		int status;

		if (pid == 0) {
			if (how == DISCONNECTS) {
				qb_ipcc_disconnect(c);
				qb_ipcc_disconnect(d);
			}
			if (how == RETURNS) {
				exit(0);
			}
			_exit(0);
		}
		converse(c, ECHO, 0);
		CHECK_EQ(waitpid(pid, &status, 0), pid);
		CHECK_EQ(status, 0);
		converse(c, ECHO, 0);
		converse(d, ECHO, 0);
	}
	qb_ipcc_disconnect(c);
	qb_ipcc_disconnect(d);
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	kit_shm_entries(server, 1);
}

static void a_child_of_a_service_hurts_nobody(void)
{
	char name[64];
	pid_t server;

	snprintf(name, sizeof name, "qbfork-%d", (int)getpid());
	server = serve(name, T, handle);
	qb_ipcc_connection_t *c = qb_ipcc_connect(name, 0), *d = qb_ipcc_connect(name, 0);

	CHECK(c != NULL && d != NULL);
	for (int how = EXITS; how < WAYS; how++) {
		qb_ipcc_connection_t *fresh;

		converse(c, FORK, how);
		converse(c, ECHO, 0);
		converse(d, ECHO, 0);
		fresh = qb_ipcc_connect(name, 0);
		CHECK(fresh != NULL);
		if (fresh != NULL) {
			converse(fresh, ECHO, 0);
			qb_ipcc_disconnect(fresh);
		}
	}
	qb_ipcc_disconnect(c);
	qb_ipcc_disconnect(d);
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	kit_shm_entries(server, 1);
}

/* Descriptors that nobody receives are limited per user: over the limit a client gets the transport that needs none. */
static void too_many_descriptors_under_way_leave_the_classic_transport(void)
{
	const uid_t uid = geteuid() == 0 ? 64321 : geteuid();
	const int is_sealed = getenv("LIBQB_SEALED") == NULL || strcmp(getenv("LIBQB_SEALED"), "0") != 0;
	qb_ipcc_connection_t *c, *d;
	char name[64];
	int ends[2], before;
	pid_t server;

	snprintf(name, sizeof name, "qbfork-%d", (int)getpid());
	CHECK_EQ(setresuid(uid, uid, uid), 0);
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &(struct rlimit){40, 40}), 0);
	server = serve(name, QB_IPC_SHM, handle);
	c = qb_ipcc_connect(name, 0);
	CHECK(c != NULL);
	converse(c, ECHO, 0);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
	for (int i = 0; i < 60; i++) {
		union {
			char room[CMSG_SPACE(sizeof(int))];
			struct cmsghdr align;
		} control = {{0}};
		struct iovec iov = {"x", 1};
		struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};

		control.align = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
		memcpy(CMSG_DATA(&control.align), &ends[1], sizeof(int));
		if (sendmsg(ends[0], &m, 0) < 0) {
			CHECK_EQ(errno, ETOOMANYREFS);
			break;
		}
	}
	before = kit_shm_entries(server, 0);
	d = qb_ipcc_connect(name, 0);
	CHECK(d != NULL);
	CHECK_EQ(kit_shm_entries(server, 0), before + 1);
	converse(d, ECHO, 0);
	converse(c, ECHO, 0);
	qb_ipcc_disconnect(d);
	close(ends[0]);
	close(ends[1]);
	for (int i = 0; i < 1000; i++) { /* the kernel takes its time to count them out */
		int sealed;

		d = qb_ipcc_connect(name, 0);
		CHECK(d != NULL);
		converse(d, ECHO, 0);
		sealed = kit_shm_entries(server, 0) == before;
		qb_ipcc_disconnect(d);
		if (sealed == is_sealed) {
			qb_ipcc_disconnect(c);
			kill(server, SIGKILL);
			waitpid(server, NULL, 0);
			kit_shm_entries(server, 1);
			return;
		}
		kit_sleep_ms(5);
	}
	CHECK(!"sealed memory is used again");
}

int main(void)
{
	RUN(too_many_descriptors_under_way_leave_the_classic_transport);

	for (int type = QB_IPC_SOCKET; type <= QB_IPC_SHM; type++) {
		T = (enum qb_ipc_type)type;
		RUN(a_child_of_a_client_hurts_nobody);
		RUN(a_child_of_a_service_hurts_nobody);
	}
	printf("%d passed, %d failed\n", check_passed, check_failed);
	return check_failed != 0;
}

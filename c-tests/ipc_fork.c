/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qb/qbipcc.h: a client that forks. The child uses the connection and leaves, then the parent uses it on. */
#include "ipckit_run.h"

static int still_there(qb_ipcc_connection_t *c, int rounds)
{
	int bad = check_bad;

	for (int i = 0; i < rounds; i++) {
		struct kit_request r;
		struct kit_reply reply;
		struct iovec iov = {&r, sizeof r};

		kit_request(&r, KIT_SLEEP, sizeof r);
		CHECK_EQ(qb_ipcc_sendv_recv(c, &iov, 1, &reply, sizeof reply, 20000), sizeof reply);
		CHECK_EQ(kit_send(c, KIT_RESPONSE, 500 + i, 0), sizeof(struct kit_request));
		CHECK_EQ(qb_ipcc_recv(c, big, sizeof big, 20000), 500 + i);
		CHECK(kit_filled(big, 500 + (size_t)i, 500u + (unsigned)i));
		CHECK_EQ(kit_send(c, KIT_EVENT, 100 + i, 0), sizeof(struct kit_request));
		CHECK_EQ(qb_ipcc_recv(c, &reply, sizeof reply, 20000), sizeof reply);
		CHECK_EQ(qb_ipcc_event_recv(c, big, sizeof big, 20000), 100 + i);
		CHECK_EQ(qb_ipcc_is_connected(c), 1);
		if (check_bad != bad) {
			return 1;
		}
	}
	return 0;
}

/* "ipc-forked-client": messages may be missing or come twice, and that is all. */
static void whatever_comes(qb_ipcc_connection_t *c)
{
	for (int i = 0; i < 20; i++) {
		ssize_t n = kit_send(c, KIT_SLEEP, 0, 0);

		CHECK(n == sizeof(struct kit_request) || n == -EAGAIN || n == -ENOTCONN);
		n = qb_ipcc_recv(c, big, sizeof big, 10);
		CHECK(n == -ETIMEDOUT || n == -ENOTCONN || n == sizeof(struct kit_reply) || (n >= 500 && n < 520));
		n = qb_ipcc_event_recv(c, big, sizeof big, 10);
		CHECK(n == -EAGAIN || n == -ENOTCONN || (n >= 100 && n < 120));
	}
}

/* The child does so many rounds, and then disconnects or not; afterwards the parent goes on. */
static void after_a_child(int rounds, int disconnects)
{
	struct kit *k = kit_new(T);
	qb_ipcc_connection_t *c;
	pid_t child;
	int status = -1;

	kit_start(k);
	c = kit_connect(k, 8192);
	still_there(c, 3);
	child = fork();
	if (child == 0) {
		int failed = still_there(c, rounds);

		if (disconnects) {
			qb_ipcc_disconnect(c);
		}
		fflush(stdout);
		_exit(failed);
	}
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK_EQ(status, 0);
	CHECK_EQ(k->closed, 0);
	if (rounds > 0 && !kit_has_files(k, T)) { /* "ipc-forked-client" */
		whatever_comes(c);
	} else {
		still_there(c, 200);
	}
	qb_ipcc_disconnect(c);
	KIT_WAIT(k->destroyed == 1);
	c = kit_connect(k, 8192);
	CHECK_EQ(still_there(c, 3), 0);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

static void a_child_that_exits_leaves_the_connection(void)
{
	after_a_child(0, 0);
}

static void a_child_that_disconnects_leaves_the_connection(void)
{
	after_a_child(0, 1);
}

static void a_child_that_used_it_and_exits_leaves_the_connection(void)
{
	after_a_child(3, 0);
}

static void a_child_that_used_it_and_disconnects_leaves_the_connection(void)
{
	after_a_child(3, 1);
}

/* Both use it, one after the other, several times round the ring. */
static void parent_and_child_take_turns(void)
{
	struct kit *k = kit_new(T);
	int to_child[2], to_parent[2], status = -1;
	static qb_ipcc_connection_t *c; /* reachable at the child's end as well */
	char byte = 0;
	pid_t child;

	kit_start(k);
	CHECK_EQ(pipe(to_child) | pipe(to_parent), 0);
	c = kit_connect(k, 8192);
	child = fork();
	if (child == 0) {
		int failed = 0;

		close(to_child[1]);
		while (read(to_child[0], &byte, 1) == 1) {
			failed |= still_there(c, 7);
			CHECK_EQ(write(to_parent[1], &byte, 1), 1);
		}
		fflush(stdout);
		_exit(failed);
	}
	close(to_parent[1]);
	for (int i = 0; i < 30 && check_bad == 0; i++) {
		CHECK_EQ(write(to_child[1], &byte, 1), 1);
		CHECK_EQ(read(to_parent[0], &byte, 1), 1);
		still_there(c, 11);
	}
	close(to_child[1]);
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK_EQ(status, 0);
	qb_ipcc_disconnect(c);
	KIT_WAIT(k->destroyed == 1);
	kit_end(k);
}

/* "ipc-forked-client": not over sealed memory. */
static int two_may_use_it(void)
{
	struct kit k = {0};

	return kit_has_files(&k, T);
}

int main(int argc, char **argv)
{
	kit_main(argc, argv);
	for (int transport = 0; transport < 2; transport++) {
		T = transport == 0 ? QB_IPC_SHM : QB_IPC_SOCKET;
		RUN_T(a_child_that_exits_leaves_the_connection);
		RUN_OURS(a_child_that_disconnects_leaves_the_connection, "ipc-child-disconnect");
		RUN_T(a_child_that_used_it_and_exits_leaves_the_connection);
		RUN_OURS(a_child_that_used_it_and_disconnects_leaves_the_connection, "ipc-child-disconnect");
		if (two_may_use_it()) {
			RUN_T(parent_and_child_take_turns);
		}
	}
	return check_done();
}

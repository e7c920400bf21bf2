/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qb/qbipcc.h, qb/qbipcs.h: names and lengths that nobody would choose, on both transports. */
#include "ipckit.h"

static enum qb_ipc_type T;
static char big[2 << 20];

static void run_t(const char *name, void (*test)(void))
{
	char full[200];

	snprintf(full, sizeof full, "%s [%s]", name, T == QB_IPC_SHM ? "shm" : "socket");
	check_run(full, test, 60);
}
#define RUN_T(test) run_t(#test, test)

/* `before` and `after` around a name of our own, so that nobody else has it. */
static struct kit *begin_as(const char *before, const char *after)
{
	struct kit *k = kit_new(T);
	char own[40];

	snprintf(own, sizeof own, "%.30s", k->name);
	snprintf(k->name, sizeof k->name, "%s%s%s", before, own, after);
	kit_start(k);
	CHECK_EQ(k->run_result, 0);
	return k;
}

static void a_name_is_any_bytes(void)
{
	static const char *const odd[] = {"\xe9t\xe9", "\xff\xfe\xc0\x80", "\xed\xa0\x80", " ", "\n", "\x01", "%s%n%d", "a,b=c", ".", "..", "-"};

	for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
		struct kit *k = begin_as(odd[i], odd[i]);
		qb_ipcc_connection_t *c = kit_connect(k, 8192);
		int fd = -1;

		CHECK_EQ(kit_echo(c, 64), 0);
		CHECK_EQ(kit_call(c, KIT_EVENT, 100, 0), 0);
		CHECK_EQ(qb_ipcc_event_recv(c, big, sizeof big, 10000), 100);
		qb_ipcc_disconnect(c);
		c = qb_ipcc_connect_async(k->name, 8192, &fd);
		CHECK(kit_readable(fd, 10000) & POLLIN);
		CHECK_EQ(qb_ipcc_connect_continue(c), 0);
		CHECK_EQ(kit_echo(c, 64), 0);
		qb_ipcc_disconnect(c);
		kit_end(k);
	}
}

/* Names are told apart by each of their bytes. */
static void bytes_are_not_replaced(void)
{
	struct kit *k = begin_as("", "\xe9");

	k->name[strlen(k->name) - 1] = '\xe8';
	errno = 0;
	CHECK(qb_ipcc_connect(k->name, 8192) == NULL);
	CHECK_EQ(errno, ECONNREFUSED);
	kit_end(k);
}

static void a_server_that_dies_leaves_no_file_of_an_odd_name(void)
{
	struct kit *k = begin_as("\xe9", "\xff");
	qb_ipcc_connection_t *c = kit_connect(k, 8192);

	CHECK_EQ(kit_echo(c, 64), 0);
	kit_kill(k);
	qb_ipcc_disconnect(c);
	CHECK_EQ(kit_shm_entries(k->server, 1), 0);
}

/* Nobody else may have it at the same time: another run of this test may. */
static void the_empty_name_is_a_name(void)
{
	struct kit *k = kit_new(T);
	qb_ipcc_connection_t *c;

	for (;;) {
		k->name[0] = '\0';
		kit_start(k);
		if (k->run_result != -EADDRINUSE) {
			break;
		}
		kit_end(k);
		kit_sleep_ms(50);
		k = kit_new(T);
	}
	CHECK_EQ(k->run_result, 0);
	c = kit_connect(k, 8192);
	CHECK_EQ(kit_echo(c, 64), 0);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

/* The service listens, but what would have to be made for a client cannot have such a name. */
static void a_name_with_a_slash_lets_nobody_in(void)
{
	static const char *const before[] = {"a/", "../", "/", "/tmp/", "./"};

	for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
		struct kit *k = begin_as(before[i], "");

		errno = 0;
		CHECK(qb_ipcc_connect(k->name, 8192) == NULL);
		CHECK_EQ(errno, ENOENT);
		KIT_WAIT(k->destroyed == 1);
		CHECK_STR(k->trace, "accept destroyed");
		kit_end(k);
	}
}

static void a_slash_at_the_end_lets_nobody_in(void)
{
	struct kit *k = begin_as("", "/");

	errno = 0;
	CHECK(qb_ipcc_connect(k->name, 8192) == NULL);
	CHECK_EQ_COMPAT(errno, T == QB_IPC_SHM ? ENOENT : EISDIR, ENOENT, "ipc-name-slash-end");
	kit_end(k);
}

int main(int argc, char **argv)
{
	kit_main(argc, argv);
	for (int transport = 0; transport < 2; transport++) {
		T = transport == 0 ? QB_IPC_SHM : QB_IPC_SOCKET;
		RUN_T(a_name_is_any_bytes);
		RUN_T(bytes_are_not_replaced);
		RUN_OURS(a_server_that_dies_leaves_no_file_of_an_odd_name, "ipc-killed-server");
		RUN_T(the_empty_name_is_a_name);
		RUN_T(a_name_with_a_slash_lets_nobody_in);
		RUN_T(a_slash_at_the_end_lets_nobody_in);
	}
	return check_done();
}

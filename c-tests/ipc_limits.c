/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qb/qbipcs.h, qb/qbipcc.h: what our library bounds, and how it keeps a connection's files. */
#include "ipc_scenarios.h"

#include <dirent.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* The directory of the server's first connection. */
static int connection_directory(pid_t server, struct stat *st)
{
	char prefix[64], path[512];
	struct dirent *e;
	DIR *d = opendir("/dev/shm");
	int found = 0;

	snprintf(prefix, sizeof prefix, "qb-%d-", (int)server);
	while (d != NULL && !found && (e = readdir(d)) != NULL) {
		if (strncmp(e->d_name, prefix, strlen(prefix)) == 0) {
			snprintf(path, sizeof path, "/dev/shm/%s", e->d_name);
			found = stat(path, st) == 0;
		}
	}
	if (d != NULL) {
		closedir(d);
	}
	return found;
}

/* A client of another user connects, and waits to be told to go. */
static void the_directory_stays_the_servers(void)
{
	struct kit *k = begin();
	struct stat st = {0};
	int ready[2], go[2];
	char byte = 0;
	pid_t pid;

	CHECK_EQ(pipe(ready) | pipe(go), 0);
	pid = fork();
	if (pid == 0) {
		qb_ipcc_connection_t *c;

		if (setgid(65534) != 0 || setuid(65534) != 0) {
			_exit(2);
		}
		c = qb_ipcc_connect(k->name, 8192);
		byte = c != NULL && kit_echo(c, 64) == 0;
		_exit(write(ready[1], &byte, 1) == 1 && read(go[0], &byte, 1) >= 0 ? 0 : 1);
	}
	CHECK_EQ(read(ready[0], &byte, 1), 1);
	CHECK_EQ(byte, 1);
	if (kit_has_files(k, T)) {
		CHECK(connection_directory(k->server, &st));
		CHECK_EQ_COMPAT(st.st_uid, 65534, 0, "ipc-directory");
		CHECK_EQ(st.st_gid, 65534);
		CHECK_EQ_COMPAT(st.st_mode & 07777, 0770, 0710, "ipc-directory");
	} else {
		CHECK(!connection_directory(k->server, &st)); /* ipc-sealed */
	}
	CHECK_EQ(write(go[1], &byte, 1), 1);
	CHECK_EQ(waitpid(pid, NULL, 0), pid);
	kit_end(k);
}

static void an_absurd_size_is_refused(void)
{
	struct kit *k = begin();
	const size_t sizes[] = {(64u << 20) + 1, 1u << 30, 0xffffffffu, (size_t)1 << 32, SIZE_MAX};

	for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		errno = 0;
		CHECK(qb_ipcc_connect(k->name, sizes[i]) == NULL);
		CHECK_EQ(errno, sizes[i] <= UINT32_MAX ? EMSGSIZE : EINVAL);
	}
	CHECK_EQ(k->accepted, 0);
	kit_end(k);
}

/* Somebody else listens under the name, and says nothing. */
static void a_silent_service_costs_the_time_that_was_set(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "qbt-silent-%d", (int)getpid());
	CHECK_EQ(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	CHECK_EQ(listen(fd, 1), 0);
	setenv("LIBQB_CONNECT_TIMEOUT_MS", "200", 1);
	errno = 0;
	CHECK(qb_ipcc_connect(address.sun_path + 1, 8192) == NULL);
	CHECK_EQ(errno, ETIMEDOUT);
	close(fd);
}

static void a_positive_refusal_is_the_clients_errno(void)
{
	struct kit *k = kit_new(T);

	k->opt.accept_result = 5;
	kit_start(k);
	errno = 0;
	CHECK(qb_ipcc_connect(k->name, 8192) == NULL);
	CHECK_EQ_COMPAT(errno, -5, 5, "ipc-accept-sign");
	kit_end(k);
}

static void requests_wait_quietly_while_the_rate_is_off(void)
{
	struct kit *k = kit_new(T);
	qb_ipcc_connection_t *c;
	struct kit_request r = {.hdr = {.id = KIT_SILENT, .size = sizeof r}};
	int turns;

	k->opt.trace_poll = 1;
	kit_start(k);
	c = kit_connect(k, 8192);
	CHECK_EQ(kit_echo(c, 64), 0);
	CHECK_EQ(qb_ipcc_fc_enable_max_set(c, 0), 0);
	kit_rate(k, QB_IPCS_RATE_OFF);
	CHECK(strstr(k->trace, " ev0x38]") != NULL); /* POLLHUP, POLLERR and POLLNVAL */
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(qb_ipcc_send(c, &r, sizeof r), sizeof r);
	}
	turns = k->turns;
	usleep(200000);
	CHECK_EQ(k->silent, 0);
	CHECK(k->turns - turns < 10); /* no busy loop */
	kit_rate(k, QB_IPCS_RATE_NORMAL);
	KIT_WAIT(k->silent == 3);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

/* What was accepted arrives once the server goes on. */
static void a_stopped_server_holds_nobody_up(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *c = kit_connect(k, 8192);
	struct kit_request r = {.hdr = {.id = KIT_SILENT, .size = sizeof r}};
	int sent = 0;
	ssize_t n;

	CHECK_EQ(kill(k->server, SIGSTOP), 0);
	do {
		n = qb_ipcc_send(c, &r, sizeof r);
		sent += n > 0;
	} while (n > 0);
	CHECK_EQ(n, -EAGAIN);
	CHECK(sent > 0);
	CHECK_EQ(qb_ipcc_recv(c, &r, sizeof r, 50), -ETIMEDOUT);
	CHECK_EQ(qb_ipcc_event_recv(c, &r, sizeof r, 50), -EAGAIN);
	CHECK_EQ(kill(k->server, SIGCONT), 0);
	KIT_WAIT(k->silent == sent);
	CHECK_EQ(kit_echo(c, 64), 0);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

/* The server is not reaped before the client leaves: it looks alive to a mere signal. */
static void a_client_removes_what_a_killed_server_left(void)
{
	for (int reaped = 0; reaped < 2; reaped++) {
		struct kit *k = begin();
		qb_ipcc_connection_t *c = kit_connect(k, 8192);

		CHECK_EQ(kit_echo(c, 64), 0);
		CHECK_EQ(kit_shm_entries(k->server, 0), kit_has_files(k, T));
		CHECK_EQ(kill(k->server, SIGKILL), 0);
		if (reaped) {
			kit_wait_server(k);
		}
		KIT_WAIT(!qb_ipcc_is_connected(c));
		qb_ipcc_disconnect(c);
		CHECK_EQ_COMPAT(kit_shm_entries(k->server, 0), T == QB_IPC_SHM, kit_has_files(k, T) && !reaped, "ipc-killed-server");
		if (!reaped) {
			kit_wait_server(k);
		}
		kit_end(k);
	}
}

/* Whatever it does between the two halves of its connect. */
static void a_client_that_is_late_with_its_sockets_gets_its_events(void)
{
	struct kit *k = kit_new(T);
	qb_ipcc_connection_t *c;
	int fd;

	k->opt.events_in_created = 3;
	kit_start(k);
	c = qb_ipcc_connect_async(k->name, 8192, &fd);
	CHECK(kit_readable(fd, 10000));
	kit_sleep_ms(1500);
	CHECK_EQ(k->closed, 0);
	CHECK_EQ(qb_ipcc_connect_continue(c), 0);
	kit_events_of_created(c, 3);
	CHECK_EQ(kit_echo(c, 64), 0);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

int main(int argc, char **argv)
{
	kit_main(argc, argv);
	for (int transport = 0; transport < 2; transport++) {
		T = transport == 0 ? QB_IPC_SHM : QB_IPC_SOCKET;
		if (geteuid() == 0) {
			RUN_T(the_directory_stays_the_servers);
		} else {
			printf("not root: the_directory_stays_the_servers needs it\n");
		}
		RUN_OURS(an_absurd_size_is_refused, "ipc-largest-message");
		RUN_T(a_client_removes_what_a_killed_server_left);
		RUN_T(a_positive_refusal_is_the_clients_errno);
		RUN_OURS(requests_wait_quietly_while_the_rate_is_off, "ipc-rate-off");
		RUN_OURS(a_stopped_server_holds_nobody_up, "ipc-stopped-server");
		RUN_OURS(a_client_that_is_late_with_its_sockets_gets_its_events, "ipc-late-sockets");
	}
	RUN_OURS(a_silent_service_costs_the_time_that_was_set, "ipc-connect-time");
	return check_done();
}

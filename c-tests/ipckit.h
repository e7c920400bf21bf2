/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A service under remote control, for all IPC tests: the test is the client and says beforehand (struct kit_options) and
 * in its requests (enum kit_command) what the server has to do. What the server saw comes back through shared memory
 * that has nothing to do with the library.
 *
 * The server is a process of its own, forked before the client uses the library. With KIT_SERVER_LIB set it is executed
 * anew with that directory as LD_LIBRARY_PATH: this is how two libraries meet in c-tests/interop.
 */
#ifndef IPCKIT_H
#define IPCKIT_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memfd_create, prlimit: include this file first */
#endif

#include "check.h"
#include "ipckit_shared.h"
#include "ipckit_server.h"

#include <dirent.h>
#include <time.h>

#define KIT_MAX_MSG 65536

static inline void kit_sleep_ms(long ms)
{
	struct timespec t = {ms / 1000, (ms % 1000) * 1000000};

	nanosleep(&t, NULL);
}

/* Waits for a fact that another process brings about; the watchdog of the test bounds it. */
#define KIT_WAIT(cond)                                                                   \
	do {                                                                             \
		while (!(cond)) {                                                        \
			kit_sleep_ms(1);                                                 \
		}                                                                        \
	} while (0)

static inline struct kit *kit_new(enum qb_ipc_type type)
{
	static int serial;
	int fd = memfd_create("kit", 0);
	struct kit *k;

	if (fd < 0 || ftruncate(fd, sizeof *k) != 0) {
		perror("memfd");
		_exit(3);
	}
	k = mmap(NULL, sizeof *k, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (k == MAP_FAILED) {
		perror("mmap");
		_exit(3);
	}
	k->memfd = fd;
	k->type = type;
	snprintf(k->name, sizeof k->name, "qbt%d-%d", (int)getpid(), serial++);
	return k;
}

/* Starts the server and returns when it listens (or has failed: then k->run_result says why). */
static inline void kit_start(struct kit *k)
{
	int control[2];
	pid_t server;
	const char *lib = getenv("KIT_SERVER_LIB");

	if (pipe(control) != 0) {
		perror("pipe");
		_exit(3);
	}
	k->started = 0;
	fflush(stdout);
	server = fork();
	if (server == 0) {
		close(control[1]);
		if (lib != NULL) {
			char mem[16], ctl[16];

			snprintf(mem, sizeof mem, "%d", k->memfd);
			snprintf(ctl, sizeof ctl, "%d", control[0]);
			setenv("LD_LIBRARY_PATH", lib, 1);
			setenv("QB_TEST_LIB", getenv("KIT_SERVER_IS"), 1);
			setenv("LIBQB_SEALED", getenv("KIT_SERVER_SEALED") != NULL ? getenv("KIT_SERVER_SEALED") : "1", 1);
			execl("/proc/self/exe", "kit-server", "--kit-server", mem, ctl, (char *)NULL);
			perror("exec");
			_exit(3);
		}
		close(k->memfd);
		kit_serve(k, control[0]);
	}
	close(control[0]);
	k->server = server; /* shared memory: never written by the child */
	k->control = control[1];
	k->rate_now = -1;
	while (!k->started) {
		int status;

		if (waitpid(k->server, &status, WNOHANG) == k->server) {
			printf("  the server ended before it listened (status 0x%x)\n", status);
			fflush(stdout);
			check_bad++;
			k->server = 0;
			return;
		}
		kit_sleep_ms(1);
	}
}

/* To be called first in main(): takes over when this process is an executed server. */
static inline void kit_main(int argc, char **argv)
{
	if (argc == 4 && strcmp(argv[1], "--kit-server") == 0) {
		struct kit *k = mmap(NULL, sizeof *k, PROT_READ | PROT_WRITE, MAP_SHARED, atoi(argv[2]), 0);

		if (k == MAP_FAILED) {
			_exit(3);
		}
		close(atoi(argv[2]));
		kit_serve(k, atoi(argv[3]));
	}
	/* Tests count descriptors: none may be inherited from whoever started us. */
	for (int fd = 3; fd < 1024; fd++) {
		close(fd);
	}
}

/* One more than the highest descriptor of a process. */
static inline int kit_top_fd(pid_t pid)
{
	char path[40];
	struct dirent *e;
	int top = 0;
	DIR *d;

	snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
	d = opendir(path);
	while (d != NULL && (e = readdir(d)) != NULL) {
		top = atoi(e->d_name) >= top ? atoi(e->d_name) + 1 : top;
	}
	if (d != NULL) {
		closedir(d);
	}
	return top;
}

/* Entries of /dev/shm that belong to this server process. */
/*
 * ipc-sealed: whether a connection of this kind has files in /dev/shm. Between two processes on our library, shared memory has none unless LIBQB_SEALED
 * says so.
 */
static inline int kit_has_files(const struct kit *k, enum qb_ipc_type type)
{
	const char *ours = getenv("LIBQB_SEALED"), *servers = getenv("KIT_SERVER_SEALED");

	return type != QB_IPC_SHM || on_reference() || k->server_is_reference || (ours != NULL && strcmp(ours, "0") == 0) ||
	       (servers != NULL && strcmp(servers, "0") == 0);
}

static inline int kit_shm_entries(pid_t server, int remove_them)
{
	char prefix[32];
	struct dirent *e;
	DIR *d = opendir("/dev/shm");
	int n = 0;

	snprintf(prefix, sizeof prefix, "qb-%d-", (int)server);
	while (d != NULL && (e = readdir(d)) != NULL) {
		if (strncmp(e->d_name, prefix, strlen(prefix)) != 0) {
			continue;
		}
		n++;
		if (remove_them) {
			char command[600];

			snprintf(command, sizeof command, "rm -rf '/dev/shm/%s'", e->d_name);
			if (system(command) != 0) {
				printf("  cannot clean up %s\n", e->d_name);
			}
		}
	}
	if (d != NULL) {
		closedir(d);
	}
	return n;
}

static inline int kit_wait_server(struct kit *k)
{
	int status = 0;

	if (waitpid(k->server, &status, 0) != k->server) {
		return -1;
	}
	close(k->control);
	k->control = -1;
	return status;
}

/* Asks the server to destroy its service and leave; every complaint of its own counts against this test. */
static inline void kit_end(struct kit *k)
{
	if (k->server > 0) {
		if (k->control >= 0) {
			ssize_t ignored = write(k->control, "q", 1);
			int status = kit_wait_server(k);

			(void)ignored;
			if (status != 0) {
				printf("  server status 0x%x, want 0\n", status);
				check_bad++;
			}
			CHECK_EQ(kit_shm_entries(k->server, 0), 0);
			CHECK_EQ(k->registered, 0);
			/* "ipc-socket-priority" and "ipc-failed-run" are the exceptions */
			if (!(k->server_is_reference &&
			      ((k->type == QB_IPC_SOCKET && k->mods > 0) || k->run_result != 0))) {
				CHECK_EQ(k->misuse, 0);
			}
		}
		kit_shm_entries(k->server, 1);
	}
	close(k->memfd);
	munmap(k, sizeof *k);
}

/*
 * Has the server do something from its main loop, outside any callback of the library, and waits until it is done:
 * '0'-'4' rate limit, 'k' keep the newest connection, 'u' send on the kept one and let it go, 'c' disconnect the newest,
 * 'd' destroy the service.
 */
static inline void kit_control(struct kit *k, char byte)
{
	int before = k->controls;

	CHECK_EQ(write(k->control, &byte, 1), 1);
	KIT_WAIT(k->controls > before);
}

/* Changes the rate limit from the server's main loop and returns when it is in force. */
static inline void kit_rate(struct kit *k, enum qb_ipcs_rate_limit rate)
{
	kit_control(k, (char)('0' + rate));
	CHECK_EQ(k->rate_now, rate);
}

/* A server that is expected to be gone, or is made to go, without ceremony. */
static inline void kit_kill(struct kit *k)
{
	kill(k->server, SIGKILL);
	kit_wait_server(k);
}

static inline qb_ipcc_connection_t *kit_connect(struct kit *k, size_t max)
{
	qb_ipcc_connection_t *c = qb_ipcc_connect(k->name, max);

	if (c == NULL) {
		printf("  cannot connect to %s: %s\n", k->name, strerror(errno));
		fflush(stdout);
		_exit(1);
	}
	return c;
}

static inline void kit_request(struct kit_request *r, int id, size_t size)
{
	memset(r, 0, size < sizeof *r ? size : sizeof *r);
	r->hdr.id = id;
	r->hdr.size = (int32_t)size;
}

/* Sends one command with up to two arguments. */
static inline ssize_t kit_send(qb_ipcc_connection_t *c, int id, int32_t a, int32_t b)
{
	struct kit_request r;

	kit_request(&r, id, sizeof r);
	r.arg[0] = a;
	r.arg[1] = b;
	return qb_ipcc_send(c, &r, sizeof r);
}

/* The same and waits for the answer: its value, or the negative errno of the call that failed. */
static inline int64_t kit_call(qb_ipcc_connection_t *c, int id, int32_t a, int32_t b)
{
	struct kit_reply reply;
	struct kit_request r;
	struct iovec iov = {&r, sizeof r};
	ssize_t n;

	kit_request(&r, id, sizeof r);
	r.arg[0] = a;
	r.arg[1] = b;
	n = qb_ipcc_sendv_recv(c, &iov, 1, &reply, sizeof reply, -1);
	if (n < 0) {
		return n;
	}
	CHECK_EQ(n, sizeof reply);
	CHECK_EQ(reply.hdr.id, id);
	CHECK_EQ(reply.hdr.size, sizeof reply);
	return reply.value;
}

/* One echo of `size` bytes (header included), compared byte by byte: 0 or what went wrong. */
static inline int64_t kit_echo(qb_ipcc_connection_t *c, size_t size)
{
	size_t back = size < sizeof(struct qb_ipc_response_header) ? sizeof(struct qb_ipc_response_header) : size;
	struct qb_ipc_request_header *q = malloc(size);
	struct qb_ipc_response_header *p = calloc(1, back);
	struct iovec iov = {q, size};
	int64_t result;

	kit_fill(q, size, (unsigned)size);
	q->id = KIT_ECHO;
	q->size = (int32_t)size;
	result = qb_ipcc_sendv_recv(c, &iov, 1, p, back, -1);
	if (result == (int64_t)back) {
		result = p->id == KIT_ECHO && p->size == (int32_t)back && p->error == 0 &&
				 kit_filled(p, back, (unsigned)size)
			     ? 0
			     : -EBADMSG;
	} else if (result >= 0) {
		result = -EPROTO;
	}
	free(q);
	free(p);
	return result;
}

static inline int kit_readable(int fd, int timeout_ms)
{
	struct pollfd p = {fd, POLLIN, 0};

	return poll(&p, 1, timeout_ms) > 0 ? p.revents : 0;
}

/* The events that a server sent from `created` (kit_options.events_in_created) are there, in order. */
static inline void kit_events_of_created(qb_ipcc_connection_t *c, int n)
{
	static char buffer[KIT_MAX_MSG];

	for (int i = 0; i < n; i++) {
		CHECK_EQ(qb_ipcc_event_recv(c, buffer, sizeof buffer, 10000), sizeof(struct kit_event));
		CHECK_EQ(((struct kit_event *)(void *)buffer)->seq, i);
	}
}

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * `leaks CYCLES KILLS`: connects, talks and disconnects that many times per transport, then lets that many clients be
 * killed at random moments. Afterwards neither side holds a descriptor, a mapping, a file or a byte of heap more.
 */
#include "ipc_scenarios.h"

#include <malloc.h>

static int cycles = 2000, kills = 200;

struct footprint {
	int fds, maps, entries;
	long heap_kb, rss_kb;
};

static long status_kb(pid_t pid, const char *key)
{
	char path[40], line[200];
	long kb = -1;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	f = fopen(path, "r");
	while (f != NULL && fgets(line, sizeof line, f) != NULL) {
		if (strncmp(line, key, strlen(key)) == 0) {
			kb = atol(line + strlen(key));
		}
	}
	if (f != NULL) {
		fclose(f);
	}
	return kb;
}

static int count_lines(const char *path)
{
	FILE *f = fopen(path, "r");
	int c, n = 0;

	while (f != NULL && (c = getc(f)) != EOF) {
		n += c == '\n';
	}
	if (f != NULL) {
		fclose(f);
	}
	return n;
}

static struct footprint take(struct kit *k, pid_t pid)
{
	struct footprint f = {0};
	char path[40];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
	d = opendir(path);
	while (d != NULL && (e = readdir(d)) != NULL) {
		f.fds += e->d_name[0] != '.' && (pid != getpid() || atoi(e->d_name) != dirfd(d));
	}
	if (d != NULL) {
		closedir(d);
	}
	snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
	f.maps = count_lines(path);
	f.entries = kit_shm_entries(k->server, 0);
	f.rss_kb = status_kb(pid, "VmData:");
	f.heap_kb = pid == getpid() ? (long)(mallinfo2().uordblks / 1024) : 0;
	return f;
}

static void compare(const char *who, struct footprint a, struct footprint b)
{
	if (b.fds != a.fds || b.maps > a.maps + 2 || b.entries != a.entries || b.heap_kb > a.heap_kb + 16 ||
	    b.rss_kb > a.rss_kb + 256) {
		check_bad++;
		printf("  %s: fds %d -> %d, maps %d -> %d, files %d -> %d, heap %ld -> %ld KiB, data %ld -> %ld KiB\n", who,
		       a.fds, b.fds, a.maps, b.maps, a.entries, b.entries, a.heap_kb, b.heap_kb, a.rss_kb, b.rss_kb);
	}
}

static void one_cycle(struct kit *k)
{
	qb_ipcc_connection_t *c = kit_connect(k, 8192);

	CHECK_EQ(kit_echo(c, 200), 0);
	qb_ipcc_disconnect(c);
}

static void settle(struct kit *k, int destroyed)
{
	KIT_WAIT(k->destroyed >= destroyed && kit_shm_entries(k->server, 0) == 0);
	kit_sleep_ms(50);
}

static void connecting_and_disconnecting_leaks_nothing(void)
{
	struct kit *k = begin();
	struct footprint server, client;

	for (int i = 0; i < 50; i++) { /* lets allocators and first-use caches come to rest */
		one_cycle(k);
	}
	settle(k, 50);
	server = take(k, k->server);
	client = take(k, getpid());
	for (int i = 0; i < cycles && check_bad == 0; i++) {
		one_cycle(k);
	}
	settle(k, 50 + cycles);
	compare("server", server, take(k, k->server));
	compare("client", client, take(k, getpid()));
	kit_end(k);
}

/* Connects and talks without end until somebody kills it. */
static pid_t victim(struct kit *k)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;) {
			qb_ipcc_connection_t *c = qb_ipcc_connect(k->name, 8192);

			if (c != NULL) {
				send_silent(c, 4000);
				kit_call(c, KIT_EVENT, 100, 0);
				kit_echo(c, 3000);
				qb_ipcc_disconnect(c);
			}
		}
	}
	return pid;
}

static void clients_killed_at_any_moment_leave_nothing(void)
{
	struct kit *k = begin();
	struct footprint server;

	srandom((unsigned)getpid());
	for (int i = 0; i < 20; i++) {
		one_cycle(k);
	}
	settle(k, 20);
	server = take(k, k->server);
	for (int i = 0; i < kills; i++) {
		struct timespec t = {0, random() % 4000000};
		pid_t pid = victim(k);

		nanosleep(&t, NULL);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	one_cycle(k);
	KIT_WAIT(k->registered == 1 && kit_shm_entries(k->server, 0) == 0);
	kit_sleep_ms(50);
	CHECK_EQ(k->created, k->closed);
	CHECK_EQ(k->accepted, k->destroyed);
	compare("server", server, take(k, k->server));
	one_cycle(k);
	kit_end(k);
}

int main(int argc, char **argv)
{
	kit_main(argc, argv);
	cycles = argc > 1 ? atoi(argv[1]) : cycles;
	kills = argc > 2 ? atoi(argv[2]) : kills;
	for (int transport = 0; transport < 2; transport++) {
		T = transport == 0 ? QB_IPC_SHM : QB_IPC_SOCKET;
		RUN_FOR(connecting_and_disconnecting_leaks_nothing, 280);
		RUN_FOR(clients_killed_at_any_moment_leave_nothing, 280);
	}
	return check_done();
}

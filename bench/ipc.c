/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * IPC benchmark: a server process and a client process, which may run on different libraries.
 *
 *   ipc [--quick|--tiny] [--only=PATTERN] [--server-dir=DIR] [--loop=qb|own] [--rate=fast|normal] [--turns=IN,OUT]
 *       every scenario on every transport and placement; the server gets LD_LIBRARY_PATH=DIR, the client is this process;
 *       with --turns only while a byte read from descriptor IN has not been passed on to OUT, see ipc/turns.c
 *   ipc server --name=NAME --type=shm|socket [--loop=] [--rate=] [--cpu=N]
 *       one server; says "ready" and runs until its standard input (a pipe) ends
 *   ipc client --name=NAME --op=rtt|oneway|events|connect --count=N [--size=N] [--think=MICROSECONDS] [--cpu=N]
 *       exactly N operations, for strace and perf
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ipc/ipc.h"

static struct {
	const char *name, *type, *op, *server_dir, *loop, *rate;
	size_t size;
	unsigned think_us;
	uint64_t count;
	int cpu;
} opt = { .name = "qb-bench", .type = "shm", .op = "rtt", .loop = "qb", .rate = "normal", .size = 64, .count = 1000, .cpu = -1 };

static pid_t server_pid;
static int server_stdin = -1;

static const struct {
	const char *name;
	size_t size;
} sizes[] = { { "64", 64 }, { "4k", 4096 }, { "128k", 131072 } };

/* Who runs where: -1 is free. */
static const struct placement {
	const char *name;
	int client, server;
} placements[] = { { "free", -1, -1 }, { "two", 0, 1 }, { "one", 0, 0 } };

static void server_start(const char *name, const char *type, int cpu)
{
	char name_arg[128], type_arg[128], loop_arg[128], rate_arg[128], cpu_arg[128], ready[6];
	int to[2], from[2];

	snprintf(name_arg, sizeof name_arg, "--name=%s", name);
	snprintf(type_arg, sizeof type_arg, "--type=%s", type);
	snprintf(loop_arg, sizeof loop_arg, "--loop=%s", opt.loop);
	snprintf(rate_arg, sizeof rate_arg, "--rate=%s", opt.rate);
	snprintf(cpu_arg, sizeof cpu_arg, "--cpu=%d", cpu);
	if (pipe(to) != 0 || pipe(from) != 0 || (server_pid = fork()) < 0) {
		die("server", errno);
	}
	if (server_pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(to[0], STDIN_FILENO);
		dup2(from[1], STDOUT_FILENO);
		close(to[0]), close(to[1]), close(from[0]), close(from[1]);
		if (opt.server_dir != NULL) {
			setenv("LD_LIBRARY_PATH", opt.server_dir, 1);
		}
		execl("/proc/self/exe", "ipc", "server", name_arg, type_arg, loop_arg, rate_arg, cpu_arg, (char *)NULL);
		_exit(127);
	}
	close(to[0]), close(from[1]);
	server_stdin = to[1];
	if (read(from[0], ready, sizeof ready) != sizeof ready) {
		die("the server did not start", ECHILD);
	}
	close(from[0]);
}

static void server_stop(void)
{
	int status = 0;

	close(server_stdin);
	if (waitpid(server_pid, &status, 0) != server_pid || status != 0) {
		die("the server failed", ECHILD);
	}
}

static const struct pause NO_PAUSE = { .us = 0 };

static void rtt_cells(const char *group, qb_ipcc_connection_t *c, const char *prefix, size_t size, struct pause pause)
{
	char name[4][64];
	struct rtt r;
	bool wanted = false;

	for (int i = 0; i < 4; i++) {
		snprintf(name[i], sizeof name[i], "%s/%s", prefix, (const char *[]){ "p50", "p99", "mean", "cpu" }[i]);
		wanted |= bench_wants(group, name[i]);
	}
	if (!wanted) {
		return;
	}
	/* With a pause of 1 ms a run needs longer to have enough samples. */
	if (pause.us > 0 && turns_on()) {
		client_think_in_turns(c, size, pause, bench_seconds() * 2, &r);
	} else {
		client_rtt(c, size, pause, bench_seconds() * (pause.us > 0 ? 2 : 1), 0, &r);
	}
	bench_cell(group, name[0], "us", r.p50_us, LOWER);
	if (!pause.cold) {
		bench_cell(group, name[1], "us", r.p99_us, LOWER);
	}
	bench_cell(group, name[2], "us", r.mean_us, LOWER);
	if (size == sizes[0].size && pause.us == 0) {
		bench_cell(group, name[3], "cpu-s/1e6", r.cpu_s_per_million, LOWER);
	}
}

static void group_run(const char *group, const char *server)
{
	qb_ipcc_connection_t *c = client_connect(server, MAX_MSG);
	char name[64];
	struct rtt settling;

	/* The scheduler takes a while to settle where two new processes belong. */
	client_rtt(c, 64, NO_PAUSE, bench_seconds(), 0, &settling);
	for (size_t i = 0; i < 3; i++) {
		snprintf(name, sizeof name, "rtt-%s", sizes[i].name);
		rtt_cells(group, c, name, sizes[i].size, NO_PAUSE);
	}
	rtt_cells(group, c, "rtt-64-think-1ms", 64, (struct pause){ .us = 1000 });
	rtt_cells(group, c, "rtt-64-think-1ms-cold", 64, (struct pause){ .us = 1000, .cold = true });
	for (size_t i = 0; i < 3; i++) {
		snprintf(name, sizeof name, "oneway-%s", sizes[i].name);
		if (bench_wants(group, name)) {
			bench_cell(group, name, "per-s", client_oneway(c, sizes[i].size, bench_seconds(), 0), HIGHER);
		}
	}
	for (size_t i = 0; i < 2; i++) {
		snprintf(name, sizeof name, "events-%s", sizes[i].name);
		if (bench_wants(group, name)) {
			bench_cell(group, name, "per-s", client_events(c, sizes[i].size, bench_seconds(), 0), HIGHER);
		}
	}
	qb_ipcc_disconnect(c);
	if (bench_wants(group, "connect")) {
		bench_cell(group, "connect", "per-s", client_connects(server, bench_seconds(), 0), HIGHER);
	}
}

/* A pattern may want nothing of a group; then its server need not start. */
static bool group_wanted(const char *group)
{
	static const char *const cells[] = { "rtt-64/p50", "rtt-64/p99", "rtt-64/mean", "rtt-64/cpu", "rtt-4k/p50", "rtt-4k/p99", "rtt-4k/mean",
		"rtt-128k/p50", "rtt-128k/p99", "rtt-128k/mean", "rtt-64-think-1ms/p50", "rtt-64-think-1ms/p99", "rtt-64-think-1ms/mean",
		"rtt-64-think-1ms-cold/p50", "rtt-64-think-1ms-cold/mean",
		"oneway-64", "oneway-4k", "oneway-128k", "events-64", "events-4k", "connect" };

	for (size_t i = 0; i < sizeof cells / sizeof *cells; i++) {
		if (bench_wants(group, cells[i])) {
			return true;
		}
	}
	return false;
}

/* Each group has a client of its own as well: a fresh process starts without affinity and without the heap of the one before. */
static void in_child(void (*run)(const char *, const char *), const char *group, const char *type, const struct placement *p)
{
	char server[64];
	int status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		alarm(120);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		snprintf(server, sizeof server, "qb-bench-%d", (int)getpid());
		turn_wait();
		server_start(server, type, p->server);
		pin_to(p->client);
		run(group, server);
		server_stop();
		turn_pass();
		exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
		fprintf(stderr, "ipc: %s failed (status %#x)\n", group, (unsigned)status);
		exit(1);
	}
}

static void memory_run(const char *group, const char *server)
{
	unsigned n = bench_size == BENCH_FULL ? 300 : bench_size == BENCH_QUICK ? 100 : 10;

	bench_cell(group, "idle-connection", "KiB", client_idle_kib(server, n), LOWER);
}

static int run_all(void)
{
	static const char *const types[] = { "shm", "socket" };

	for (size_t t = 0; t < 2; t++) {
		char group[64];

		for (size_t p = 0; p < 3; p++) {
			snprintf(group, sizeof group, "ipc-%s-%s", types[t], placements[p].name);
			if (group_wanted(group)) {
				in_child(group_run, group, types[t], &placements[p]);
			}
		}
		snprintf(group, sizeof group, "ipc-%s-memory", types[t]);
		if (bench_wants(group, "idle-connection")) {
			in_child(memory_run, group, types[t], &placements[0]);
		}
	}
	return 0;
}

static int client_main(void)
{
	qb_ipcc_connection_t *c = NULL;
	struct rtt r = { .ops = 0 };
	double rate = 0;

	pin_to(opt.cpu);
	if (strcmp(opt.op, "connect") == 0) {
		rate = client_connects(opt.name, 0, opt.count);
	} else {
		c = client_connect(opt.name, MAX_MSG);
		if (strcmp(opt.op, "oneway") == 0) {
			rate = client_oneway(c, opt.size, 0, opt.count);
		} else if (strcmp(opt.op, "events") == 0) {
			rate = client_events(c, opt.size, 0, opt.count);
		} else {
			client_rtt(c, opt.size, (struct pause){ .us = opt.think_us }, 0, opt.count, &r);
			rate = 1e6 / r.mean_us;
		}
		qb_ipcc_disconnect(c);
	}
	printf("# %s: %.6g per second\n", opt.op, rate);
	return 0;
}

static int option(const char *arg)
{
	static const struct {
		const char *name;
		const char **value;
	} texts[] = { { "--name=", &opt.name }, { "--type=", &opt.type }, { "--op=", &opt.op }, { "--server-dir=", &opt.server_dir },
		{ "--loop=", &opt.loop }, { "--rate=", &opt.rate } };
	const char *number = strchr(arg, '=');

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		if (strncmp(arg, texts[i].name, strlen(texts[i].name)) == 0) {
			*texts[i].value = arg + strlen(texts[i].name);
			return 1;
		}
	}
	if (strncmp(arg, "--turns=", 8) == 0) {
		return turns_set(number + 1);
	}
	if (strncmp(arg, "--size=", 7) == 0) {
		opt.size = strtoul(number + 1, NULL, 10);
	} else if (strncmp(arg, "--think=", 8) == 0) {
		opt.think_us = (unsigned)strtoul(number + 1, NULL, 10);
	} else if (strncmp(arg, "--count=", 8) == 0) {
		opt.count = strtoull(number + 1, NULL, 10);
	} else if (strncmp(arg, "--cpu=", 6) == 0) {
		opt.cpu = atoi(number + 1);
	} else {
		return bench_arg(arg);
	}
	return 1;
}

int main(int argc, char **argv)
{
	bool server = argc > 1 && strcmp(argv[1], "server") == 0, client = argc > 1 && strcmp(argv[1], "client") == 0;

	for (int i = 1 + (server || client); i < argc; i++) {
		if (!option(argv[i])) {
			fprintf(stderr, "ipc: what is %s? (see the head of bench/ipc.c)\n", argv[i]);
			return 2;
		}
	}
	if (server) {
		pin_to(opt.cpu);
		return server_main(opt.name, strcmp(opt.type, "socket") == 0 ? QB_IPC_SOCKET : QB_IPC_SHM,
				   strcmp(opt.rate, "fast") == 0 ? QB_IPCS_RATE_FAST : QB_IPCS_RATE_NORMAL, strcmp(opt.loop, "own") == 0);
	}
	return client ? client_main() : run_all();
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Logging: what a message costs that nobody wants, and one that goes to a file, to a function of the program or to the blackbox;
 * from one thread and from eight; and how the lookup of a callsite depends on their number.
 */
#include "bench.h"

#include <pthread.h>
#include <unistd.h>

#include <qb/qblog.h>

#define THREADS 8

static uint64_t received;

static void logger(int32_t t, struct qb_log_callsite *cs, struct timespec *ts, const char *msg)
{
	(void)t;
	(void)cs;
	(void)ts;
	(void)msg;
	__atomic_add_fetch(&received, 1, __ATOMIC_RELAXED);
}

static void start(void)
{
	qb_log_init("bench-log", LOG_USER, LOG_EMERG);
	qb_log_ctl(QB_LOG_SYSLOG, QB_LOG_CONF_ENABLED, QB_FALSE);
}

static void plain(uint64_t i)
{
	(void)i;
	qb_log(LOG_INFO, "a message without arguments");
}

static void ints(uint64_t i)
{
	qb_log(LOG_INFO, "three numbers %d, %u and %lu", (int)i, (unsigned)i + 1, (unsigned long)i + 2);
}

static void strings(uint64_t i)
{
	(void)i;
	qb_log(LOG_INFO, "three strings %s, %s and %s", "one", "the second", "3");
}

static void debug(uint64_t i)
{
	qb_log(LOG_DEBUG, "a message that nobody wants %d", (int)i);
}

static struct qb_log_callsite *kept;

/* As programs do it that keep the callsite in a static variable. */
static void kept_site(uint64_t i)
{
	qb_log_real_(kept, (int)i);
}

static void external(uint64_t i)
{
	qb_log_from_external_source("function", "external.c", "a message that nobody wants %d", LOG_DEBUG, 77, 0, (int)i);
}

static double per_call(void (*log)(uint64_t))
{
	uint64_t n = 0, begin, now, batch = bench_size == BENCH_TINY ? 100 : 1000;
	double limit = bench_seconds() * 1e9;

	log(0);
	begin = bench_now_ns();
	do {
		for (uint64_t i = 0; i < batch; i++) {
			log(i);
		}
		n += batch;
		now = bench_now_ns();
	} while ((double)(now - begin) < limit);
	return (double)(now - begin) / (double)n;
}

static void cell(const char *name, void (*log)(uint64_t))
{
	if (bench_wants("log", name)) {
		bench_cell("log", name, "ns", per_call(log), LOWER);
	}
}

static uint64_t thread_messages;

static void *thread(void *arg)
{
	(void)arg;
	for (uint64_t i = 0; i < thread_messages; i++) {
		ints(i);
	}
	return NULL;
}

static uint64_t received_by_logger(const char *file)
{
	(void)file;
	return received;
}

static uint64_t lines_in(const char *file)
{
	FILE *f = fopen(file, "r");
	uint64_t lines = 0;
	char line[512];

	while (f != NULL && fgets(line, sizeof line, f) != NULL) {
		lines++;
	}
	if (f != NULL) {
		fclose(f);
	}
	return lines;
}

/*
 * Messages per second that arrive when eight threads log all the time; a message that a library drops does not count. The blackbox has
 * no such cell: it does not tell how many messages it got.
 */
static void threads_cell(const char *name, uint64_t (*arrived)(const char *), const char *file)
{
	pthread_t id[THREADS];
	uint64_t begin, end, before;

	if (!bench_wants("log", name)) {
		return;
	}
	thread_messages = bench_scale(40000);
	ints(0);
	before = arrived(file);
	begin = bench_now_ns();
	for (int i = 0; i < THREADS; i++) {
		pthread_create(&id[i], NULL, thread, NULL);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(id[i], NULL);
	}
	end = bench_now_ns();
	bench_cell("log", name, "per-s", (double)(arrived(file) - before) * 1e9 / (double)(end - begin), HIGHER);
}

static int32_t all_of(int32_t target)
{
	qb_log_filter_ctl(target, QB_LOG_FILTER_ADD, QB_LOG_FILTER_FILE, "*", LOG_INFO);
	qb_log_ctl(target, QB_LOG_CONF_ENABLED, QB_TRUE);
	return target;
}

static void file_cells(void)
{
	char name[] = "/tmp/bench-log-XXXXXX";
	int fd = mkstemp(name);

	start();
	all_of(qb_log_file_open(name));
	cell("file/3-args", ints);
	threads_cell("file/8-threads", lines_in, name);
	qb_log_fini();
	close(fd);
	unlink(name);
}

static void lookup_cell(const char *name, uint32_t sites, uint32_t lines)
{
	char file[32];
	uint64_t n = 0, begin, now;

	if (!bench_wants("log", name)) {
		return;
	}
	start();
	begin = 0;
	/* The first round makes them. */
	for (;;) {
		for (uint32_t i = 0; i < sites; i++) {
			snprintf(file, sizeof file, "file-%u.c", i / lines);
			qb_log_callsite_get("function", file, "format", LOG_DEBUG, 1 + i % lines, 0);
		}
		now = bench_now_ns();
		if (begin == 0) {
			begin = now;
			continue;
		}
		n += sites;
		if ((double)(now - begin) > bench_seconds() * 1e9) {
			break;
		}
	}
	bench_cell("log", name, "ns", (double)(now - begin) / (double)n, LOWER);
	qb_log_fini();
}

int main(int argc, char **argv)
{
	bench_args(argc, argv);

	start();
	kept = qb_log_callsite_get(__func__, __FILE__, "a message that nobody wants %d", LOG_DEBUG, __LINE__, 0);
	cell("disabled/macro", debug);
	cell("disabled/kept-callsite", kept_site);
	cell("disabled/external", external);
	qb_log_fini();

	start();
	all_of(qb_log_custom_open(logger, NULL, NULL, NULL));
	cell("custom/0-args", plain);
	cell("custom/3-args", ints);
	threads_cell("custom/8-threads", received_by_logger, NULL);
	qb_log_fini();

	start();
	qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_SIZE, 128000);
	all_of(QB_LOG_BLACKBOX);
	cell("blackbox/0-args", plain);
	cell("blackbox/3-ints", ints);
	cell("blackbox/3-strings", strings);
	qb_log_fini();

	file_cells();
	lookup_cell("lookup/10000-callsites", 10000, 1000);
	lookup_cell("lookup/100-callsites", 100, 100);
	return 0;
}

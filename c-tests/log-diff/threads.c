/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * threads [MESSAGES]: 8 threads log MESSAGES (100,000) each into a file, a target of the program and the blackbox at once. Every message
 * has to arrive in the first two exactly once, complete, and in the order of its thread; what is left in the blackbox has to be readable.
 */
/* Row log-concurrent. */
#include <pthread.h>
#include <unistd.h>

#include <qb/qbdefs.h>
#include <qb/qblog.h>

#define THREADS 8

static int messages = 100000;
static int next_custom[THREADS];
static int bad;

static void logger(int32_t t, struct qb_log_callsite *cs, struct timespec *ts, const char *msg)
{
	int thread, number;

	(void)t;
	(void)cs;
	(void)ts;
	/* Each thread is in here for its own messages only. */
	if (sscanf(msg, "thread %d message %d of", &thread, &number) != 2 || thread < 0 || thread >= THREADS ||
	    number != next_custom[thread]) {
		__atomic_add_fetch(&bad, 1, __ATOMIC_RELAXED);
		return;
	}
	next_custom[thread]++;
}

static void *run(void *arg)
{
	int thread = (int)(intptr_t)arg;

	for (int i = 0; i < messages; i++) {
		qb_log(LOG_INFO, "thread %d message %d of %s", thread, i, "many, with a text that is not short");
	}
	return NULL;
}

static int check_file(const char *name)
{
	int next[THREADS] = { 0 }, wrong = 0;
	char line[256];
	FILE *f = fopen(name, "r");

	while (f != NULL && fgets(line, sizeof line, f) != NULL) {
		int thread, number, end = 0;

		sscanf(line, "[info] thread %d message %d of many, with a text that is not short\n%n", &thread, &number, &end);
		if (end == 0 || line[end] != '\0' || number != next[thread]++) {
			wrong++;
		}
	}
	if (f != NULL) {
		fclose(f);
	}
	for (int i = 0; i < THREADS; i++) {
		if (next[i] != messages) {
			printf("file: %d of %d messages of thread %d\n", next[i], messages, i);
			wrong++;
		}
	}
	return wrong;
}

int main(int argc, char **argv)
{
	char name[] = "/tmp/log-threads-XXXXXX", dump[] = "/tmp/log-threads-XXXXXX";
	pthread_t id[THREADS];
	int32_t t;

	if (argc > 1) {
		messages = atoi(argv[1]);
	}
	close(mkstemp(name));
	close(mkstemp(dump));
	qb_log_init("log-threads", LOG_USER, LOG_EMERG);
	qb_log_ctl(QB_LOG_SYSLOG, QB_LOG_CONF_ENABLED, QB_FALSE);
	qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_SIZE, 100000);
	t = qb_log_custom_open(logger, NULL, NULL, NULL);
	qb_log_filter_ctl(t, QB_LOG_FILTER_ADD, QB_LOG_FILTER_FILE, "*", LOG_INFO);
	qb_log_ctl(t, QB_LOG_CONF_ENABLED, QB_TRUE);
	t = qb_log_file_open(name);
	qb_log_filter_ctl(t, QB_LOG_FILTER_ADD, QB_LOG_FILTER_FILE, "*", LOG_INFO);
	qb_log_ctl(t, QB_LOG_CONF_ENABLED, QB_TRUE);
	qb_log_filter_ctl(QB_LOG_BLACKBOX, QB_LOG_FILTER_ADD, QB_LOG_FILTER_FILE, "*", LOG_INFO);
	qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_ENABLED, QB_TRUE);
	for (int i = 0; i < THREADS; i++) {
		pthread_create(&id[i], NULL, run, (void *)(intptr_t)i);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(id[i], NULL);
	}
	for (int i = 0; i < THREADS; i++) {
		if (next_custom[i] != messages) {
			printf("custom: %d of %d messages of thread %d\n", next_custom[i], messages, i);
			bad++;
		}
	}
	if (qb_log_blackbox_write_to_file(dump) <= 0 || qb_log_blackbox_print_from_file(dump) != 0) {
		printf("the blackbox is not readable to its end\n");
		bad++;
	}
	qb_log_fini();
	bad += check_file(name);
	unlink(name);
	unlink(dump);
	printf("%d x %d messages, %d wrong\n", THREADS, messages, bad);
	return bad == 0 ? 0 : 1;
}

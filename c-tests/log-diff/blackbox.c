/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* blackbox FILE [crash]: fills a blackbox until it wraps and writes it to FILE, in order or from the handler of a fatal signal. */
#include <signal.h>
#include <unistd.h>

#include <qb/qbdefs.h>
#include <qb/qblog.h>

static const char *file;

static void on_crash(int signal_number)
{
	qb_log_blackbox_write_to_file(file);
	qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_ENABLED, QB_FALSE);
	_exit(signal_number == SIGSEGV ? 0 : 1);
}

static void __attribute__((noinline)) fill(void)
{
	for (int i = 0; i < 2000; i++) {
		qb_log(LOG_INFO, "a message without arguments");
		qb_log(LOG_DEBUG, "number %d, string %s, hex %#x", i, "of characters", i);
		qb_log(LOG_TRACE, "long %ld size %zu char %c ptr %p", (long)i, sizeof i, 'a' + i % 26, (void *)0x1000);
		qb_logt(LOG_WARNING, (uint32_t)i % 4, "%s|%15s|%-15.10s|%*d|%.3f", "plain", "right", "left and cut", 7, i, i / 7.0);
		qb_log_from_external_source("external_function", "e.c", "null %s and extended" QB_XS "part %d\n", LOG_ERR, 77, 5, (char *)NULL, i);
	}
	errno = ENOENT;
	qb_perror(LOG_CRIT, "the end");
}

int main(int argc, char **argv)
{
	ssize_t rc;

	if (argc < 2) {
		return 2;
	}
	file = argv[1];
	qb_log_init("log-diff-bb", LOG_USER, LOG_EMERG);
	qb_log_ctl(QB_LOG_SYSLOG, QB_LOG_CONF_ENABLED, QB_FALSE);
	qb_log_filter_ctl(QB_LOG_BLACKBOX, QB_LOG_FILTER_ADD, QB_LOG_FILTER_FILE, "*", LOG_TRACE);
	qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_SIZE, 20000);
	if (qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_ENABLED, QB_TRUE) != 0) {
		return 3;
	}
	fill();
	if (argc > 2) {
		signal(SIGSEGV, on_crash);
		raise(SIGSEGV);
	}
	rc = qb_log_blackbox_write_to_file(file);
	qb_log_fini();
	return rc > 0 ? 0 : 4;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Prints blackbox files: see qb-blackbox(8). */
#include <stdio.h>
#include <string.h>

#include <qb/qbdefs.h>
#include <qb/qblog.h>

int main(int argc, char **argv)
{
	int i = 1, worst = 0;

	if (argc > 1 && (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0)) {
		puts("usage: qb-blackbox [--] [blackbox-file...]");
		return 0;
	}
	if (argc > 1 && (strcmp(argv[1], "-V") == 0 || strcmp(argv[1], "--version") == 0)) {
		printf("qb-blackbox of libqb %s\n", qb_ver_str);
		return 0;
	}
	if (argc > 1 && strcmp(argv[1], "--") == 0) {
		i++;
	}
	qb_log_init("qb_blackbox", LOG_USER, LOG_TRACE);
	qb_log_ctl(QB_LOG_SYSLOG, QB_LOG_CONF_ENABLED, QB_FALSE);
	qb_log_filter_ctl(QB_LOG_STDERR, QB_LOG_FILTER_ADD, QB_LOG_FILTER_FILE, "*", LOG_TRACE);
	qb_log_ctl(QB_LOG_STDERR, QB_LOG_CONF_ENABLED, QB_TRUE);
	for (; i < argc; i++) {
		printf("Dumping the contents of %s\n", argv[i]);
		/* In this order also when both go to one file. */
		fflush(stdout);
		if (qb_log_blackbox_print_from_file(argv[i]) < 0) {
			worst = 1;
		}
	}
	if (fflush(stdout) != 0) {
		perror("qb-blackbox: stdout");
		worst = 1;
	}
	qb_log_fini();
	return worst;
}

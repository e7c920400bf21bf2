/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What log.c and log-blackbox.c share. */
#ifndef LOG_COMMON_H
#define LOG_COMMON_H

#include "check.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <wchar.h>

#include <qb/qbdefs.h>
#include <qb/qblog.h>

_Static_assert(sizeof(struct qb_log_callsite) == 48, "callsites are shared with programs");
_Static_assert(offsetof(struct qb_log_callsite, priority) == 24, "priority");
_Static_assert(offsetof(struct qb_log_callsite, targets) == 32, "targets");
_Static_assert(offsetof(struct qb_log_callsite, tags) == 36, "tags");
_Static_assert(offsetof(struct qb_log_callsite, message_id) == 40, "message_id");

static int count;
static char last[5000], last_function[100];

static void remember(int32_t t, struct qb_log_callsite *cs, struct timespec *ts, const char *msg)
{
	(void)t;
	CHECK(ts->tv_sec > 1500000000);
	snprintf(last, sizeof last, "%s", msg);
	snprintf(last_function, sizeof last_function, "%s", cs->function);
	__atomic_add_fetch(&count, 1, __ATOMIC_RELAXED);
}

static void start(void)
{
	qb_log_init("test-log", LOG_USER, LOG_EMERG);
	qb_log_ctl(QB_LOG_SYSLOG, QB_LOG_CONF_ENABLED, QB_FALSE);
}

static inline int32_t wants_all(int32_t t)
{
	CHECK_EQ(qb_log_filter_ctl(t, QB_LOG_FILTER_ADD, QB_LOG_FILTER_FILE, "*", LOG_TRACE), 0);
	CHECK_EQ(qb_log_ctl(t, QB_LOG_CONF_ENABLED, QB_TRUE), 0);
	return t;
}

static inline int32_t custom(void)
{
	return wants_all(qb_log_custom_open(remember, NULL, NULL, NULL));
}

static inline void external(const char *function, uint32_t line, const char *text)
{
	qb_log_from_external_source(function, "external.c", "%s", LOG_INFO, line, 0, text);
}

static volatile int stop_logging;

static inline void *log_until_told(void *arg)
{
	(void)arg;
	while (!stop_logging) {
		qb_log(LOG_INFO, "busy %d", 5);
	}
	return NULL;
}

#endif

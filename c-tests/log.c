/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qb/qblog.h: what programs rely on (both libraries), and where ours goes further (COMPATIBILITY.md). */
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

static int32_t wants_all(int32_t t)
{
	CHECK_EQ(qb_log_filter_ctl(t, QB_LOG_FILTER_ADD, QB_LOG_FILTER_FILE, "*", LOG_TRACE), 0);
	CHECK_EQ(qb_log_ctl(t, QB_LOG_CONF_ENABLED, QB_TRUE), 0);
	return t;
}

static int32_t custom(void)
{
	return wants_all(qb_log_custom_open(remember, NULL, NULL, NULL));
}

static void external(const char *function, uint32_t line, const char *text)
{
	qb_log_from_external_source(function, "external.c", "%s", LOG_INFO, line, 0, text);
}

static void a_message_reaches_its_target_once(void)
{
	start();
	custom();
	qb_log(LOG_INFO, "hello %s %d", "world", 42);
	CHECK_EQ(count, 1);
	CHECK_STR(last, "hello world 42");
	qb_log_fini();
	qb_log_fini();
}

static void errno_survives_and_percent_m_shows_it(void)
{
	start();
	custom();
	errno = ENOENT;
	qb_log(LOG_INFO, "%m");
	CHECK_STR(last, "No such file or directory");
	qb_log_fini();
}

static void nested(int32_t t, struct qb_log_callsite *cs, struct timespec *ts, const char *msg)
{
	(void)t, (void)cs, (void)ts, (void)msg;
	if (++count > 50) {
		return;
	}
	qb_log(LOG_INFO, "nested");
	qb_log_blackbox_write_to_file("/dev/null");
	qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_ENABLED, QB_FALSE);
	qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_ENABLED, QB_TRUE);
}

static void a_logger_may_call_the_library(void)
{
	start();
	qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_SIZE, 4096);
	wants_all(QB_LOG_BLACKBOX);
	wants_all(qb_log_custom_open(nested, NULL, NULL, NULL));
	qb_log(LOG_INFO, "outer");
	CHECK_EQ(count, 1);
	qb_log_fini();
}

static void a_logger_that_disables_a_target_cannot_recurse(void)
{
	a_logger_may_call_the_library();
}

static void formats_of_unused_slots_stick(void)
{
	char name[] = "/tmp/test-log-XXXXXX", line[100] = "";
	int fd = mkstemp(name);
	int32_t t;

	start();
	for (int i = 0; i < QB_LOG_TARGET_MAX; i++) {
		qb_log_format_set(i, "slot %b");
	}
	t = wants_all(qb_log_file_open(name));
	CHECK_EQ(t, 4);
	qb_log(LOG_INFO, "x");
	CHECK_EQ(pread(fd, line, sizeof line - 1, 0), 7);
	CHECK_STR(line, "slot x\n");
	qb_log_fini();
	unlink(name);
}

static void a_program_may_write_callsites(void)
{
	struct qb_log_callsite *cs;

	start();
	custom();
	cs = qb_log_callsite_get("f", "own.c", "text %d", LOG_INFO, 5, 0);
	CHECK(cs->targets == 1U << 4);
	CHECK(cs == qb_log_callsite_get("f", "own.c", "text %d", LOG_INFO, 5, 0));
	cs->targets = 0;
	qb_log_real_(cs, 1);
	CHECK_EQ(count, 0);
	cs->targets = 1U << 4;
	cs->priority = LOG_ERR;
	cs->tags = 7;
	qb_log_real_(cs, 1);
	CHECK_EQ(count, 1);
	qb_log_fini();
}

static int closes;

static void closing(int32_t t)
{
	closes++;
	CHECK_EQ(qb_log_ctl(t, QB_LOG_CONF_STATE_GET, 0), QB_LOG_STATE_DISABLED);
	qb_log(LOG_ERR, "dropped");
}

static void close_functions_are_called_on_disable_and_on_close(void)
{
	int32_t t;

	start();
	custom();
	t = qb_log_custom_open(remember, closing, NULL, NULL);
	qb_log_ctl(t, QB_LOG_CONF_ENABLED, QB_TRUE);
	qb_log_ctl(t, QB_LOG_CONF_ENABLED, QB_FALSE);
	CHECK_EQ(closes, 1);
	qb_log_custom_close(t);
	CHECK_EQ(closes, 2);
	CHECK_EQ(count, 0);
	qb_log_fini();
}

static void the_queue_is_written_before_fini_returns(void)
{
	int32_t t;

	start();
	t = custom();
	CHECK_EQ(qb_log_thread_start(), 0);
	qb_log_ctl(t, QB_LOG_CONF_THREADED, QB_TRUE);
	for (int i = 0; i < 10; i++) {
		qb_log(LOG_INFO, "queued");
	}
	qb_log_fini();
	CHECK_EQ(count, 10);
}

static void a_bad_priority_makes_the_start_fail(void)
{
	start();
	CHECK_EQ(qb_log_thread_priority_set(SCHED_RR, -1), 0);
	CHECK(qb_log_thread_start() != 0);
	qb_log_fini();
}

/* From here on: ours. */

static void a_message_before_init_silences_nothing(void)
{
	qb_log(LOG_INFO, "early");
	start();
	custom();
	qb_log(LOG_INFO, "after");
	CHECK_EQ(count, 1);
	qb_log_fini();
}

static void *log_a_lot(void *arg)
{
	(void)arg;
	for (int i = 0; i < 20000; i++) {
		qb_log(LOG_INFO, "one of many %d", i);
	}
	return NULL;
}

static void threads_do_not_drop_each_others_messages(void)
{
	pthread_t id[4];

	start();
	custom();
	for (int i = 0; i < 4; i++) {
		pthread_create(&id[i], NULL, log_a_lot, NULL);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(id[i], NULL);
	}
	CHECK_EQ(count, 80000);
	qb_log_fini();
}

static void lines_and_callsites_have_no_limit(void)
{
	char file[20];

	start();
	custom();
	external("f", 4000000000u, "far down");
	CHECK_STR(last, "far down");
	for (int i = 0; i < 70000; i++) {
		snprintf(file, sizeof file, "%d.c", i);
		CHECK(qb_log_callsite_get("f", file, "x", LOG_DEBUG, 1, 0) != NULL);
	}
	qb_log_fini();
}

static void message_ids_and_functions_make_positions(void)
{
	struct qb_log_callsite *a, *b;

	start();
	custom();
	a = qb_log_callsite_get2(NULL, "f", "a.c", "x", LOG_INFO, 1, 0);
	b = qb_log_callsite_get2("id", "f", "a.c", "x", LOG_INFO, 1, 0);
	CHECK(a != b && a->message_id == NULL);
	CHECK_STR(b->message_id, "id");
	external("first", 9, "x");
	external("second", 9, "x");
	CHECK_STR(last_function, "second");
	qb_log_fini();
}

static void filters_reach_line_zero_and_disabled_targets(void)
{
	int32_t t;

	start();
	t = qb_log_custom_open(remember, NULL, NULL, NULL);
	external("f", 0, "before");
	qb_log_filter_ctl(t, QB_LOG_FILTER_ADD, QB_LOG_FILTER_FILE, "*", LOG_TRACE);
	external("f", 5, "while disabled");
	qb_log_ctl(t, QB_LOG_CONF_ENABLED, QB_TRUE);
	external("f", 0, "after");
	external("f", 5, "after");
	CHECK_EQ(count, 2);
	qb_log_fini();
}

static void a_closed_target_leaves_no_filters(void)
{
	int32_t t;

	start();
	t = custom();
	external("f", 1, "x");
	qb_log_custom_close(t);
	CHECK_EQ(qb_log_custom_open(remember, NULL, NULL, NULL), t);
	qb_log_ctl(t, QB_LOG_CONF_ENABLED, QB_TRUE);
	external("f", 1, "x");
	external("f", 2, "x");
	CHECK_EQ(count, 1);
	CHECK_EQ(qb_log_filter_ctl(t, QB_LOG_FILTER_ADD, QB_LOG_FILTER_FILE, "*", LOG_TRACE), 0);
	qb_log_fini();
}

static void a_removed_filter_takes_only_its_own(void)
{
	int32_t t;

	start();
	t = qb_log_custom_open(remember, NULL, NULL, NULL);
	qb_log_ctl(t, QB_LOG_CONF_ENABLED, QB_TRUE);
	qb_log_filter_ctl(t, QB_LOG_FILTER_ADD, QB_LOG_FILTER_FILE, "external.c", LOG_TRACE);
	qb_log_filter_ctl(t, QB_LOG_FILTER_ADD, QB_LOG_FILTER_FUNCTION, "f", LOG_TRACE);
	external("f", 1, "x");
	external("g", 1, "x");
	qb_log_filter_ctl(t, QB_LOG_FILTER_REMOVE, QB_LOG_FILTER_FILE, "external.c", LOG_TRACE);
	external("f", 1, "x");
	external("g", 1, "x");
	CHECK_EQ(count, 3);
	qb_log_filter_ctl(t, QB_LOG_FILTER_ADD, QB_LOG_FILTER_FUNCTION_REGEX, "^g", LOG_TRACE);
	external("g", 1, "x");
	qb_log_filter_ctl(t, QB_LOG_FILTER_REMOVE, QB_LOG_FILTER_FUNCTION_REGEX, "^g", LOG_TRACE);
	external("g", 1, "x");
	CHECK_EQ(count, 4);
	qb_log_fini();
}

static void callsites_outlive_fini(void)
{
	struct qb_log_callsite *cs;

	start();
	custom();
	cs = qb_log_callsite_get("f", "a.c", "kept", LOG_INFO, 1, 0);
	qb_log_fini();
	qb_log_real_(cs);
	CHECK_EQ(count, 0);
	start();
	custom();
	qb_log_real_(cs);
	CHECK_EQ(count, 1);
	CHECK(cs == qb_log_callsite_get("f", "a.c", "kept", LOG_INFO, 1, 0));
	qb_log_fini();
}

static char formatted[QB_LOG_ABSOLUTE_MAX_LEN];

static void formatting(int32_t t, struct qb_log_callsite *cs, struct timespec *ts, const char *msg)
{
	count++;
	memset(formatted, '#', sizeof formatted - 1);
	qb_log_target_format(t, cs, ts, msg, formatted);
}

static const char *null_text(uint32_t tags)
{
	(void)tags;
	return NULL;
}

static void odd_formats_are_safe(void)
{
	static const char *odd[] = { "", "%b", "%", "%-", "%5", "%-5", "%99999999999999999999b" };
	static char text[1000];
	int32_t t;

	start();
	t = wants_all(qb_log_custom_open(formatting, NULL, NULL, NULL));
	for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
		qb_log_format_set(t, odd[i]);
		external("f", 1, "");
		external("f", 1, "\n");
		external("f", 1, "\a");
		CHECK(i == 6 || formatted[0] == '\0');
	}
	memset(text, 'x', sizeof text - 1);
	qb_log_format_set(t, text);
	external("f", 1, "");
	CHECK_EQ(strlen(formatted), QB_LOG_MAX_LEN - 1);
	qb_log_format_set(t, "%600N|");
	external("f", 1, "");
	CHECK_EQ(strlen(formatted), QB_LOG_MAX_LEN - 1);
	qb_log_tags_stringify_fn_set(null_text);
	qb_log_format_set(t, "%g|%3g|");
	external("f", 1, "");
	CHECK_STR(formatted, "|   |");
	qb_log_fini();
}

static void every_line_length_is_safe(void)
{
	static char text[6000];
	int32_t t;

	memset(text, 'x', sizeof text - 1);
	start();
	t = wants_all(qb_log_custom_open(formatting, NULL, NULL, NULL));
	for (int e = 0; e < 2; e++) {
		qb_log_ctl(t, QB_LOG_CONF_ELLIPSIS, e);
		for (int len = -2; len <= 20; len++) {
			CHECK_EQ(qb_log_ctl(t, QB_LOG_CONF_MAX_LINE_LEN, len), 0);
			qb_log_format_set(t, "%b");
			external("f", 1, text);
			CHECK_EQ(strlen(formatted), len < 0 ? 4095 : len == 0 ? 0 : len - 1);
		}
	}
	CHECK_EQ(count, 46);
	qb_log_fini();
}

static void ids_out_of_range_are_refused(void)
{
	struct timespec ts = { 0, 0 };
	struct qb_log_callsite *cs;

	start();
	cs = qb_log_callsite_get("f", "a.c", "x", LOG_INFO, 1, 0);
	for (int i = 0; i < 4; i++) {
		static const int32_t id[] = { -1, 32, INT32_MAX, INT32_MIN };

		qb_log_format_set(id[i], "%b");
		qb_log_target_format(id[i], cs, &ts, "x", formatted);
		CHECK_EQ(qb_log_file_reopen(id[i], NULL), -EBADF);
	}
	CHECK_EQ(qb_log_file_reopen(QB_LOG_STDERR, NULL), -EBADF);
	CHECK_EQ(qb_log_file_reopen(custom(), NULL), -EBADF);
	CHECK_EQ(qb_log_ctl2(QB_LOG_SYSLOG, QB_LOG_CONF_IDENT, QB_LOG_CTL2_S(NULL)), -EINVAL);
	CHECK_EQ(qb_log_ctl(QB_LOG_SYSLOG, QB_LOG_CONF_IDENT, 5), -EINVAL);
	qb_log_fini();
}

static void an_enabled_file_is_open_and_closes_on_exec(void)
{
	char name[] = "/tmp/test-log-XXXXXX";
	int fd = mkstemp(name);
	struct stat st;
	int32_t t;

	start();
	t = wants_all(qb_log_file_open(name));
	CHECK(fcntl(fileno(qb_log_target_user_data_get(t)), F_GETFD) & FD_CLOEXEC);
	qb_log(LOG_INFO, "1");
	qb_log_ctl(t, QB_LOG_CONF_ENABLED, QB_FALSE);
	qb_log(LOG_INFO, "not");
	qb_log_ctl(t, QB_LOG_CONF_ENABLED, QB_TRUE);
	qb_log(LOG_INFO, "2");
	fstat(fd, &st);
	CHECK_EQ(st.st_size, 2 * strlen("[info] 1\n"));
	qb_log_fini();
	unlink(name);
}

static void filter_that_logs(struct qb_log_callsite *cs)
{
	qb_bit_set(cs->targets, 4);
	qb_log(LOG_INFO, "said by the filter");
}

static void a_filter_function_may_log(void)
{
	start();
	custom();
	CHECK_EQ(qb_log_filter_fn_set(filter_that_logs), 0);
	qb_log(LOG_INFO, "x");
	CHECK(count > 0 && count < 20);
	qb_log_filter_fn_set(NULL);
	qb_log_fini();
}

static int hooked;

static void hook(const char *file, int32_t line, int32_t severity, const char *msg)
{
	CHECK_STR(file, "external.c");
	CHECK_EQ(line, 8);
	CHECK_EQ(severity, LOG_INFO);
	CHECK_STR(msg, "text|and more");
	hooked++;
	qb_log(LOG_ERR, "dropped");
}

static void the_old_hook_gets_library_messages_in_full(void)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
	start();
	qb_util_set_log_function(hook);
	qb_log_from_external_source("f", "external.c", "text\aand %s\n", LOG_INFO, 8, QB_LOG_TAG_LIBQB_MSG, "more");
	qb_log_from_external_source("f", "external.c", "not ours", LOG_INFO, 8, 0);
	qb_util_set_log_function(NULL);
	qb_log_from_external_source("f", "external.c", "text\aand %s\n", LOG_INFO, 8, QB_LOG_TAG_LIBQB_MSG, "more");
	CHECK_EQ(hooked, 1);
	qb_log_fini();
#pragma GCC diagnostic pop
}

static void the_thread_can_be_started_again(void)
{
	int32_t t;

	for (int round = 1; round <= 3; round++) {
		start();
		t = custom();
		qb_log_ctl(t, QB_LOG_CONF_THREADED, QB_TRUE);
		qb_log(LOG_INFO, "queued before the start");
		CHECK_EQ(qb_log_thread_priority_set(SCHED_RR, -1), 0);
		CHECK(qb_log_thread_start() != 0);
		CHECK_EQ(qb_log_thread_priority_set(SCHED_OTHER, 0), 0);
		CHECK_EQ(qb_log_thread_start(), 0);
		qb_log(LOG_INFO, "queued");
		qb_log_fini();
		CHECK_EQ(count, 2 * round);
	}
}

static void queued_messages_are_written_before_a_change(void)
{
	int32_t t;

	start();
	t = custom();
	qb_log_ctl(t, QB_LOG_CONF_THREADED, QB_TRUE);
	qb_log(LOG_INFO, "no thread yet");
	qb_log_ctl(t, QB_LOG_CONF_THREADED, QB_FALSE);
	qb_log_thread_start();
	qb_log_ctl(t, QB_LOG_CONF_THREADED, QB_TRUE);
	for (int i = 0; i < 1000; i++) {
		qb_log(LOG_INFO, "x");
	}
	qb_log_ctl(t, QB_LOG_CONF_THREADED, QB_FALSE);
	CHECK_EQ(count, 1001);
	qb_log_ctl(t, QB_LOG_CONF_THREADED, QB_TRUE);
	for (int i = 0; i < 1000; i++) {
		qb_log(LOG_INFO, "x");
	}
	qb_log_custom_close(t);
	CHECK_EQ(count, 2001);
	qb_log_fini();
}

static void the_queue_has_a_limit_and_tells(void)
{
	int32_t t;

	start();
	t = custom();
	qb_log_ctl(t, QB_LOG_CONF_THREADED, QB_TRUE);
	for (int i = 0; i < 20000; i++) {
		qb_log(LOG_INFO, "0123456789012345678901234567890123456789012345678901");
	}
	qb_log_thread_start();
	qb_log_fini();
	/* 48 + 53 bytes each, of 512000. */
	CHECK_EQ(count, 512000 / 101 + 1);
	CHECK_STR(last, "14931 messages lost");
}

static void a_forked_child_logs(void)
{
	int status = 0;
	int32_t t;
	pid_t pid;

	start();
	t = custom();
	qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_SIZE, 4096);
	wants_all(QB_LOG_BLACKBOX);
	qb_log_thread_start();
	qb_log_ctl(t, QB_LOG_CONF_THREADED, QB_TRUE);
	pid = fork();
	if (pid == 0) {
		qb_log(LOG_INFO, "written by the child itself");
		CHECK_EQ(count, 1);
		CHECK_EQ(qb_log_thread_start(), 0);
		qb_log(LOG_INFO, "by its thread");
		qb_log_fini();
		CHECK_EQ(count, 2);
		_exit(check_bad);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	CHECK(qb_log_blackbox_write_to_file("/dev/null") > 0);
	{
		char path[100];

		snprintf(path, sizeof path, "/dev/shm/qb-test-log-%d-blackbox-header", (int)getpid());
		CHECK_EQ(access(path, F_OK), 0);
		qb_log_fini();
		CHECK_EQ(access(path, F_OK), -1);
	}
}

static volatile int stop_logging;

static void *log_until_told(void *arg)
{
	(void)arg;
	while (!stop_logging) {
		qb_log(LOG_INFO, "busy %d", 5);
	}
	return NULL;
}

static void forks_while_threads_log_do_not_hang(void)
{
	pthread_t id[3];

	start();
	custom();
	wants_all(qb_log_file_open("/dev/null"));
	for (int i = 0; i < 3; i++) {
		pthread_create(&id[i], NULL, log_until_told, NULL);
	}
	for (int i = 0; i < 100; i++) {
		int status = 0;
		pid_t pid = fork();

		if (pid == 0) {
			alarm(10);
			qb_log(LOG_INFO, "child");
			external("new", (uint32_t)i, "child");
			qb_log_ctl(5, QB_LOG_CONF_ENABLED, QB_FALSE);
			_exit(0);
		}
		waitpid(pid, &status, 0);
		CHECK_EQ(status, 0);
	}
	stop_logging = 1;
	for (int i = 0; i < 3; i++) {
		pthread_join(id[i], NULL);
	}
	qb_log_fini();
}

static void targets_may_come_and_go_while_threads_log(void)
{
	pthread_t id[3];

	start();
	for (int i = 0; i < 3; i++) {
		pthread_create(&id[i], NULL, log_until_told, NULL);
	}
	for (int i = 0; i < 300; i++) {
		int32_t t = i % 2 ? custom() : wants_all(qb_log_file_open("/dev/null"));

		qb_log_format_set(t, i % 3 ? "%p %n %b" : NULL);
		qb_log_ctl(t, QB_LOG_CONF_MAX_LINE_LEN, 100 + i);
		qb_log_file_reopen(t, NULL);
		qb_log_custom_close(t);
	}
	stop_logging = 1;
	for (int i = 0; i < 3; i++) {
		pthread_join(id[i], NULL);
	}
	qb_log_fini();
}

/* Text printed by qb_log_blackbox_print_from_file(), of the last line. */
static void last_record(const char *want)
{
	char name[] = "/tmp/test-log-XXXXXX", out[] = "/tmp/test-out-XXXXXX", text[100000];
	int saved = dup(1), fd;
	char *end, *line;
	ssize_t len;

	close(mkstemp(name));
	fd = mkstemp(out);
	CHECK(qb_log_blackbox_write_to_file(name) > 40);
	fflush(stdout);
	dup2(fd, 1);
	CHECK_EQ(qb_log_blackbox_print_from_file(name), 0);
	fflush(stdout);
	dup2(saved, 1);
	len = pread(fd, text, sizeof text - 1, 0);
	text[len > 0 ? len : 0] = '\0';
	end = strrchr(text, '\n');
	if (end != NULL) {
		*end = '\0';
	}
	line = strstr(strrchr(text, '\n') != NULL ? strrchr(text, '\n') : text, "): ");
	line = strrchr(text, '\n') != NULL ? strstr(strrchr(text, '\n'), ":0: ") : NULL;
	CHECK_STR(line != NULL ? line + 4 : text, want);
	unlink(name);
	unlink(out);
	close(fd);
	close(saved);
}

static void blackbox(int size)
{
	start();
	CHECK_EQ(qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_SIZE, size), 0);
	wants_all(QB_LOG_BLACKBOX);
}

static void the_blackbox_shows_what_printf_shows(void)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat"
	blackbox(8192);
	qb_log(LOG_INFO, "%hd %hu %hhd %hhu %s", (short)-1, (unsigned short)65535, (signed char)-1, (unsigned char)255, "end");
	last_record("-1 65535 -1 255 end");
	qb_log(LOG_INFO, "50%% of %s %d%%", "all", 7);
	last_record("50% of all 7%");
	errno = ENOENT;
	qb_log(LOG_INFO, "%m|%s", "next");
	last_record("No such file or directory|next");
	qb_log(LOG_INFO, "%.2f %s %.1f %5d %s", 1.5, "whole string", 2.5, 7, "and another one");
	last_record("1.50 whole string 2.5     7 and another one");
	qb_log(LOG_INFO, "%.*s|%.0s|%.3s|%s", 3, "abcdef", "not", "xyz!", "end");
	last_record("abc||xyz|end");
	qb_log(LOG_INFO, "%2$s %1$s", "second", "first");
	last_record("first second");
	qb_log(LOG_INFO, "%Lf %s", (long double)1.5, "ld");
	last_record("1.500000 ld");
	qb_log(LOG_INFO, "%ls %lc %s", L"wide", (wint_t)L'w', "narrow");
	last_record("wide w narrow");
	qb_log(LOG_INFO, "marker %d\a", 5);
	last_record("marker 5");
	qb_log(LOG_INFO, "%600d and more", 1);
	qb_log(LOG_INFO, "%s", "after");
	last_record("after");
	qb_log_fini();
#pragma GCC diagnostic pop
}

static void the_blackbox_keeps_long_messages_readable(void)
{
	static char text[4000];

	blackbox(8192);
	memset(text, 'x', sizeof text - 1);
	qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_MAX_LINE_LEN, 4096);
	qb_log(LOG_INFO, "%s%s%s%s", text, text, text, text);
	last_record("Log message too long to be stored in the blackbox.  Maximum is QB_LOG_MAX_LEN");
	text[507] = '\0';
	qb_log(LOG_INFO, "%s", text);
	last_record(text);
	qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_MAX_LINE_LEN, 10);
	qb_log(LOG_INFO, "%s", text);
	last_record("Log message too long to be stored in the blackbox.  Maximum is QB_LOG_MAX_LEN");
	qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_THREADED, QB_TRUE);
	qb_log(LOG_INFO, "%d", 5);
	last_record("5");
	qb_log_fini();
}

static void a_dump_leaves_no_file_without_a_blackbox(void)
{
	start();
	CHECK_EQ(qb_log_blackbox_write_to_file("/tmp/test-log-no-such-file"), -ENOENT);
	CHECK_EQ(access("/tmp/test-log-no-such-file", F_OK), -1);
	qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_SIZE, 8192);
	wants_all(QB_LOG_BLACKBOX);
	CHECK_EQ(qb_log_blackbox_write_to_file("/dev/full"), -ENOSPC);
	CHECK_EQ(qb_log_blackbox_write_to_file("/nonexistent/file"), -ENOENT);
	CHECK_EQ(qb_log_blackbox_write_to_file(NULL), -EFAULT);
	qb_log_fini();
}

static int dumped;
static char signal_dump[] = "/tmp/test-log-XXXXXX";

static void on_alarm(int n)
{
	(void)n;
	if (qb_log_blackbox_write_to_file(signal_dump) <= 40) {
		_exit(9);
	}
	qb_log(LOG_ERR, "from the handler");
	__atomic_add_fetch(&dumped, 1, __ATOMIC_RELEASE);
}

static void dumps_from_a_signal_handler_are_complete_whatever_was_interrupted(void)
{
	struct sigaction act = { .sa_handler = on_alarm };
	pthread_t id;

	close(mkstemp(signal_dump));
	blackbox(20000);
	custom();
	sigaction(SIGUSR1, &act, NULL);
	pthread_create(&id, NULL, log_until_told, NULL);
	CHECK(freopen("/dev/null", "w", stdout) != NULL); /* the exit status tells the result */
	for (int i = 0; i < 300; i++) {
		int before = __atomic_load_n(&dumped, __ATOMIC_ACQUIRE);

		pthread_kill(id, SIGUSR1);
		while (__atomic_load_n(&dumped, __ATOMIC_ACQUIRE) == before) {
			usleep(50);
		}
		CHECK_EQ(qb_log_blackbox_print_from_file(signal_dump), 0);
	}
	stop_logging = 1;
	pthread_join(id, NULL);
	unlink(signal_dump);
	qb_log_fini();
}

static void a_second_init_closes_files(void)
{
	int fd;

	start();
	wants_all(qb_log_file_open("/dev/null"));
	fd = fileno(qb_log_target_user_data_get(4));
	start();
	CHECK_EQ(fcntl(fd, F_GETFD), -1);
	CHECK_EQ(qb_log_file_open("/dev/null"), 4);
	qb_log_fini();
}

int main(void)
{
	RUN(a_message_reaches_its_target_once);
	RUN(errno_survives_and_percent_m_shows_it);
	RUN(formats_of_unused_slots_stick);
	RUN(a_program_may_write_callsites);
	RUN(close_functions_are_called_on_disable_and_on_close);
	RUN(the_queue_is_written_before_fini_returns);
	RUN(a_bad_priority_makes_the_start_fail);
	RUN_OURS(a_logger_that_disables_a_target_cannot_recurse, "log-nested-after-ctl");
	RUN_OURS(a_message_before_init_silences_nothing, "log-before-init");
	RUN_OURS(threads_do_not_drop_each_others_messages, "log-concurrent");
	RUN_OURS(lines_and_callsites_have_no_limit, "log-limits");
	RUN_OURS(message_ids_and_functions_make_positions, "log-message-id");
	RUN_OURS(filters_reach_line_zero_and_disabled_targets, "log-filters-of-disabled");
	RUN_OURS(a_closed_target_leaves_no_filters, "log-filters-of-closed");
	RUN_OURS(a_removed_filter_takes_only_its_own, "log-filter-remove");
	RUN_OURS(callsites_outlive_fini, "log-callsite-life");
	RUN_OURS(odd_formats_are_safe, "log-empty-line");
	RUN_OURS(every_line_length_is_safe, "log-line-length");
	RUN_OURS(ids_out_of_range_are_refused, "log-target-range");
	RUN_OURS(an_enabled_file_is_open_and_closes_on_exec, "log-file-enable");
	RUN_OURS(a_filter_function_may_log, "log-filter-fn-logs");
	RUN_OURS(the_old_hook_gets_library_messages_in_full, "log-hook-text");
	RUN_OURS(the_thread_can_be_started_again, "log-thread-restart");
	RUN_OURS(queued_messages_are_written_before_a_change, "log-thread-flush");
	RUN_OURS(the_queue_has_a_limit_and_tells, "log-thread-lost");
	RUN_OURS(a_forked_child_logs, "log-blackbox-fork");
	RUN_OURS(forks_while_threads_log_do_not_hang, "log-thread-restart");
	RUN_OURS(targets_may_come_and_go_while_threads_log, "log-concurrent");
	RUN_OURS(the_blackbox_shows_what_printf_shows, "log-serial-percent");
	RUN_OURS(the_blackbox_keeps_long_messages_readable, "log-blackbox-limit");
	RUN_OURS(a_dump_leaves_no_file_without_a_blackbox, "log-dump-errors");
	RUN_OURS(dumps_from_a_signal_handler_are_complete_whatever_was_interrupted, "log-dump-stdout");
	RUN_OURS(a_second_init_closes_files, "log-reinit");
	return check_done();
}

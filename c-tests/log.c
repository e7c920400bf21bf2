/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qb/qblog.h: what programs rely on (both libraries), and where ours goes further (COMPATIBILITY.md). */
#define _GNU_SOURCE
#include "log-common.h"

#include <dlfcn.h>

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

static pthread_barrier_t all_ready;

static void *make_callsites(void *arg)
{
	char text[30];
	intptr_t changed = 0;

	pthread_barrier_wait(&all_ready);
	for (int i = 0; i < 4000; i++) {
		snprintf(text, sizeof text, "%p %d", arg, i);
		errno = ENOENT;
		qb_log_callsite_get("f", "errno.c", text, LOG_INFO, (uint32_t)i + 1, 0);
		changed += errno != ENOENT;
	}
	return (void *)changed;
}

/* Also where threads wait for each other. */
static void errno_survives_the_making_of_callsites(void)
{
	pthread_t id[8];
	intptr_t changed = 0;

	start();
	pthread_barrier_init(&all_ready, NULL, 8);
	for (intptr_t i = 0; i < 8; i++) {
		pthread_create(&id[i], NULL, make_callsites, (void *)(i + 1));
	}
	for (int i = 0; i < 8; i++) {
		void *result;

		pthread_join(id[i], &result);
		changed += (intptr_t)result;
	}
	CHECK_EQ(changed, 0);
	qb_log_fini();
}

/* printf() fails there; what is in front of it was a message. */
static void a_message_ends_where_it_cannot_be_formatted(void)
{
	static const char *format[][2] = {
		{ "usage at %s%", "usage at 95" }, { "%", "" }, { "a%", "a" }, { "%s\n%", "95\n" }, { "%s before %ls after", "95 before " },
	};

	start();
	custom();
	for (size_t i = 0; i < sizeof format / sizeof *format; i++) {
		memset(last, 'x', 9);
		qb_log_from_external_source("f", "f.c", format[i][0], LOG_INFO, (uint32_t)i + 1, 0, "95", L"\xd800");
		CHECK_EQ(count, i + 1);
		CHECK_STR(last, format[i][1]);
	}
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

/* Rows log-message-id and log-function-key. */
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
	external("first", 9, "x");
	CHECK_STR(last_function, "first");
	qb_log_fini();
}

/* Rows log-filters-of-disabled and log-line-zero. */
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

/* Rows log-empty-line, log-format-long and log-null-tag-text. */
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

/* Rows log-target-range, log-reopen-kind and log-ctl-ident. */
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

/* Rows log-file-enable and log-file-cloexec. */
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

static const char *shown(int32_t t, const char *message)
{
	static char line[600];
	struct qb_log_callsite *cs = qb_log_callsite_get("f", "file.c", "format", LOG_INFO, 5, 0);
	struct timespec now = { 1600000000, 0 };

	qb_log_target_format(t, cs, &now, message, line);
	return line;
}

/* Row log-settings-kept; see log-rows.c as well. */
static void settings_of_slots_stay_across_fini(void)
{
	int32_t t;

	start();
	t = custom();
	CHECK_EQ(qb_log_ctl(t, QB_LOG_CONF_ELLIPSIS, QB_TRUE), 0);
	CHECK_EQ(qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_SIZE, 4096), 0);
	qb_log_fini();
	start();
	CHECK_EQ(custom(), t);
	CHECK_EQ(qb_log_ctl(t, QB_LOG_CONF_MAX_LINE_LEN, 20), 0);
	qb_log_format_set(t, "%b");
	CHECK_STR(shown(t, "longer than a line may be here"), "longer than a li...");
	/* Without a size it could not be enabled. */
	CHECK_EQ(qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_ENABLED, QB_TRUE), 0);
	qb_log_fini();
}

static void only_names_of_headers_are_exported(void)
{
	CHECK_EQ_COMPAT(dlsym(RTLD_DEFAULT, "qb_log_target_alloc") != NULL, 1, 0, "log-internal-symbols");
	CHECK_EQ_COMPAT(dlsym(RTLD_DEFAULT, "qb_log_dcs_get") != NULL, 1, 0, "log-internal-symbols");
	CHECK(dlsym(RTLD_DEFAULT, "qb_vsnprintf_serialize") != NULL);
	CHECK(dlsym(RTLD_DEFAULT, "qb_vsnprintf_deserialize") != NULL);
}

int main(void)
{
	RUN(a_message_reaches_its_target_once);
	RUN(errno_survives_and_percent_m_shows_it);
	RUN(errno_survives_the_making_of_callsites);
	RUN(a_message_ends_where_it_cannot_be_formatted);
	RUN(formats_of_unused_slots_stick);
	RUN(a_program_may_write_callsites);
	RUN(close_functions_are_called_on_disable_and_on_close);
	RUN(the_queue_is_written_before_fini_returns);
	RUN(a_bad_priority_makes_the_start_fail);
	RUN(settings_of_slots_stay_across_fini);
	RUN(only_names_of_headers_are_exported);
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
	RUN_OURS(a_second_init_closes_files, "log-reinit");
	return check_done();
}

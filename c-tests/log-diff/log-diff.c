/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Prints what each kind of target receives, for hundreds of combinations. The same binary runs on the reference and on ours, and the
 * outputs are compared (`c-tests/log-diff/compare`). A line that begins with `~id ` may differ: `id` is a row of COMPATIBILITY.md.
 * Each part runs in a child process, so that none inherits the state of another.
 */
#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wchar.h>

#include <qb/qblog.h>
#include <qb/qbdefs.h>

size_t qb_vsnprintf_serialize(char *serialize, size_t max_len, const char *fmt, va_list ap);
size_t qb_vsnprintf_deserialize(char *string, size_t str_len, const char *buf);

static const char *prefix = "";

static void show(const char *text)
{
	for (; *text != '\0'; text++) {
		if (*text < ' ' || *text > '~') {
			printf("\\x%02x", (unsigned char)*text);
		} else {
			putchar(*text);
		}
	}
}

static void logger(int32_t t, struct qb_log_callsite *cs, struct timespec *ts, const char *msg)
{
	char line[QB_LOG_ABSOLUTE_MAX_LEN];

	memset(line, '#', sizeof line);
	qb_log_target_format(t, cs, ts, msg, line);
	line[sizeof line - 1] = '\0';
	printf("%s  t%d p%u tags %u: [", prefix, t, cs->priority, cs->tags);
	show(msg);
	printf("] -> [");
	show(line);
	printf("]\n");
}

static void closed(int32_t t)
{
	printf("%s  close %d\n", prefix, t);
	qb_log(LOG_ERR, "logged while closing");
}

static int32_t custom(void)
{
	int32_t t = qb_log_custom_open(logger, closed, NULL, NULL);

	qb_log_filter_ctl(t, QB_LOG_FILTER_ADD, QB_LOG_FILTER_FILE, "*", LOG_TRACE);
	qb_log_ctl(t, QB_LOG_CONF_ENABLED, QB_TRUE);
	return t;
}

static void start(void)
{
	qb_log_init("diff", LOG_USER, LOG_INFO);
	qb_log_ctl(QB_LOG_SYSLOG, QB_LOG_CONF_ENABLED, QB_FALSE);
}

static const char *stringify(uint32_t tags)
{
	return tags == 0 ? "none" : tags == 5 ? "five" : "a longer tag";
}

static void formats(void)
{
	static const char *letters = "nflpbgNzq%+. xX*";
	static const char *widths[] = { "", "0", "1", "3", "7", "20", "100", "-", "-1", "-3", "-7", "-20", "-0", "007", "--5", "5-" };
	static const char *whole[] = { "", "%b", "[%p] %b", "%b\n", "%b\n\n", "a%%b%%%%c", "%n %f %l %p %g %N %b", "\t%b", "%7p [%6g] %b",
				       "x", "%b%b%b%b", "%-15f|%15f|%3f", "no directive at all", "%N%N", "%g %p: %b", "%l%l%l" };
	char format[64];
	int32_t t;
	size_t i, j;

	start();
	t = custom();
	qb_log_from_external_source("function", "file.c", "default %d", LOG_ERR, 11, 0, 1);
	for (i = 0; letters[i] != '\0'; i++) {
		for (j = 0; j < sizeof widths / sizeof widths[0]; j++) {
			snprintf(format, sizeof format, "<%%%s%c>", widths[j], letters[i]);
			printf("format %s\n", format);
			qb_log_format_set(t, format);
			qb_log_from_external_source("function", "file.c", "message %d", LOG_WARNING, 12, 0, 42);
		}
	}
	qb_log_tags_stringify_fn_set(stringify);
	for (i = 0; i < sizeof whole / sizeof whole[0]; i++) {
		printf("format ");
		show(whole[i]);
		printf("\n");
		if (whole[i][0] == '\0') {
			continue; /* crashes the reference */
		}
		qb_log_format_set(t, whole[i]);
		qb_log_from_external_source("function", "dir/file.c", "message %d\n", LOG_WARNING, 12, 5, 42);
		qb_log_from_external_source("", "", "two\n\n", LOG_WARNING, 0, 0);
		qb_log_from_external_source(NULL, NULL, "nulls", LOG_WARNING, 13, 9);
	}
	qb_log_format_set(t, NULL);
	for (i = 0; i < 20; i++) {
		qb_log_from_external_source("f", "f.c", "priority", (uint8_t)(i < 10 ? i : i * 20), 14, 0);
	}
	qb_log_fini();
}

static void times(void)
{
	static const char *fmt[] = { "%t|", "%T|", "%20t|", "%-20t|", "%3T|", "%-25T|" };
	static const int64_t sec[] = { 0, 1, 86399, 1700000000, 4102444800, -1, 951782400 };
	static const long nsec[] = { 0, 999999, 1000000, 123456789, 999999999 };
	struct qb_log_callsite *cs;
	char line[QB_LOG_MAX_LEN];
	int32_t t;

	setenv("TZ", "UTC", 1);
	start();
	t = custom();
	cs = qb_log_callsite_get("f", "f.c", "x", LOG_ERR, 1, 0);
	for (size_t i = 0; i < 6; i++) {
		qb_log_format_set(t, fmt[i]);
		for (size_t j = 0; j < 7; j++) {
			for (size_t k = 0; k < 5; k++) {
				struct timespec ts = { sec[j], nsec[k] };

				qb_log_target_format(t, cs, &ts, "x", line);
				printf("%s %jd.%ld: %s\n", fmt[i], (intmax_t)sec[j], nsec[k], line);
			}
		}
	}
	qb_log_fini();
}

static void lengths(void)
{
	static const int max[] = { 5, 6, 7, 8, 9, 10, 15, 16, 17, 31, 32, 33, 64, 100, 256, 510, 511, 512, 513, 514, 800, 1024, 2048, 4095, 4096 };
	static const int msg[] = { 1, 2, 3, 4, 5, 8, 9, 10, 14, 15, 16, 20, 28, 30, 31, 32, 100, 506, 507, 508, 509, 510, 511, 512, 513, 4090, 4095, 4096, 5000 };
	static char text[6000];
	int32_t t;

	start();
	t = custom();
	for (int e = 0; e < 2; e++) {
		/* Row log-ellipsis-exact: lines of every length around the limit. */
		qb_log_ctl(t, QB_LOG_CONF_ELLIPSIS, e);
		for (size_t i = 0; i < sizeof max / sizeof max[0]; i++) {
			printf("max %d ellipsis %d rc %d\n", max[i], e, qb_log_ctl(t, QB_LOG_CONF_MAX_LINE_LEN, max[i]));
			for (size_t j = 0; j < sizeof msg / sizeof msg[0]; j++) {
				for (int nl = 0; nl < 2; nl++) {
					memset(text, 'x', sizeof text);
					text[msg[j] - nl] = '\n';
					text[msg[j]] = '\0';
					if (nl && msg[j] == 1) {
						continue;
					}
					qb_log_format_set(t, j % 2 ? "%b" : "[%p] %b");
					qb_log_from_external_source("f", "f.c", "%s", LOG_INFO, 5, 0, text);
				}
			}
		}
	}
	printf("4097: %d\n", qb_log_ctl(t, QB_LOG_CONF_MAX_LINE_LEN, 4097));
	qb_log_fini();
}

static void extended(void)
{
	static const char *msg[] = { "plain", "a\ab", "a\a", "\ab", "\a", "a\ab\ac", "\a\a", "x\a\n", "x\n\a", "\a\n", "a\a\n\n" };
	int32_t t, u;

	start();
	t = custom();
	u = custom();
	qb_log_ctl(u, QB_LOG_CONF_EXTENDED, 0);
	qb_log_format_set(t, "[%p] %b");
	qb_log_format_set(u, "[%p] %b");
	for (size_t i = 0; i < sizeof msg / sizeof msg[0]; i++) {
		qb_log_from_external_source("f", "f.c", "%s", LOG_INFO, 5, 0, msg[i]);
		printf("as format\n");
		qb_log_from_external_source_va2(NULL, "f", "f.c", msg[i], LOG_INFO, 5, 0, *(va_list *)&(va_list) { { 0 } });
	}
	qb_log_fini();
}

static void emit_all(void)
{
	static const char *file[] = { "a.c", "b.c", "dir/a.c", "", "fakefile.c" }, *function[] = { "alpha", "log_one_please", "beta" },
			  *format[] = { "hello world", "ringbuffer 50", "Hello" };

	for (int i = 0; i < 5; i++) {
		for (int j = 0; j < 3; j++) {
			for (int k = 0; k < 3; k++) {
				qb_log_from_external_source(function[j], file[i], format[k], (uint8_t)(3 + (i + j + k) % 6), (uint32_t)(100 * i + 10 * j + k + 1), 0);
			}
		}
	}
}

static void filters(void)
{
	static const struct {
		enum qb_log_filter_type type;
		const char *text;
		uint8_t high, low;
	} f[] = {
		{ 0, "*", 0, 8 }, { 0, "a.c", 0, 8 }, { 0, "a.c,b.c", 0, 8 }, { 0, "a.c,", 0, 8 }, { 0, ",a.c", 0, 8 }, { 0, "a.c,,b.c", 0, 8 }, { 0, "", 0, 8 },
		{ 0, "a", 0, 8 }, { 0, "dir/a.c", 4, 6 }, { 0, "*,a.c", 0, 8 }, { 0, "a.c", 7, 8 }, { 1, "alpha", 0, 8 }, { 1, "alpha,beta", 0, 5 }, { 1, "*", 4, 4 },
		{ 1, "log_", 0, 8 }, { 2, "hello", 0, 8 }, { 2, "o w", 0, 8 }, { 2, "", 0, 8 }, { 2, "*", 5, 8 }, { 2, "50", 0, 6 }, { 3, "^fakefile*", 0, 8 },
		{ 3, "a\\.c$", 0, 8 }, { 3, "*", 0, 8 }, { 3, "^$", 0, 8 }, { 4, "^log_.*please", 0, 8 }, { 4, "a$", 0, 8 }, { 5, "[0-9]", 0, 8 }, { 5, "^H", 0, 8 },
		{ 5, "h\\|r", 0, 8 }, { 5, "(", 0, 8 }, { 5, "\\(", 0, 8 }, { 0, ",", 0, 8 }, { 0, "b.c,a.c,dir/a.c", 5, 7 },
	};
	int32_t t;

	start();
	qb_log_format_set(4, "%f %n %p %b");
	t = qb_log_custom_open(logger, NULL, NULL, NULL);
	printf("enable %d\n", qb_log_ctl(t, QB_LOG_CONF_ENABLED, QB_TRUE));
	for (size_t i = 0; i < sizeof f / sizeof f[0]; i++) {
		printf("filter %d '%s' %d-%d: %d\n", f[i].type, f[i].text, f[i].high, f[i].low,
		       qb_log_filter_ctl2(t, QB_LOG_FILTER_ADD, f[i].type, f[i].text, f[i].high, f[i].low));
		emit_all();
		printf("again %d\n", qb_log_filter_ctl2(t, QB_LOG_FILTER_ADD, f[i].type, f[i].text, f[i].high, f[i].low));
		printf("clear %d\n", qb_log_filter_ctl(t, QB_LOG_FILTER_CLEAR_ALL, QB_LOG_FILTER_FUNCTION, "*", LOG_TRACE));
		emit_all();
	}
	printf("null %d order %d type %d op %d\n", qb_log_filter_ctl(t, QB_LOG_FILTER_ADD, 0, NULL, 3), qb_log_filter_ctl2(t, QB_LOG_FILTER_ADD, 0, "*", 5, 3),
	       qb_log_filter_ctl(t, QB_LOG_FILTER_ADD, 6, "*", 3), qb_log_filter_ctl(t, 6, 0, "*", 3));
	printf("slots %d %d %d\n", qb_log_filter_ctl(21, QB_LOG_FILTER_ADD, 0, "*", 3), qb_log_filter_ctl(-1, QB_LOG_FILTER_ADD, 0, NULL, 3),
	       qb_log_filter_ctl(32, QB_LOG_FILTER_REMOVE, 0, "*", 3));
	/* Removal of exact rules. */
	qb_log_filter_ctl(t, QB_LOG_FILTER_ADD, 0, "a.c", LOG_TRACE);
	printf("removed %d\n", qb_log_filter_ctl(t, QB_LOG_FILTER_REMOVE, 0, "a.c", LOG_TRACE));
	emit_all();
	printf("not there %d\n", qb_log_filter_ctl(t, QB_LOG_FILTER_REMOVE, 0, "a.c", LOG_TRACE));
	qb_log_filter_ctl(t, QB_LOG_FILTER_ADD, 0, "*", LOG_TRACE);
	printf("narrow %d\n", qb_log_filter_ctl2(t, QB_LOG_FILTER_REMOVE, 0, "*", 7, 8));
	emit_all();
	printf("all %d\n", qb_log_filter_ctl(t, QB_LOG_FILTER_REMOVE, 0, "*", LOG_TRACE));
	emit_all();
	qb_log_fini();
}

static void tags(void)
{
	start();
	qb_log_tags_stringify_fn_set(stringify);
	qb_log_format_set(4, "%g %b");
	custom();
	qb_log_from_external_source("f", "t.c", "zero", LOG_INFO, 1, 0);
	qb_log_from_external_source("f", "t.c", "five", LOG_INFO, 2, 5);
	qb_log_from_external_source("f", "t.c", "five", LOG_INFO, 2, 0);
	printf("set %d\n", qb_log_filter_ctl(7, QB_LOG_TAG_SET, QB_LOG_FILTER_FILE, "t.c", LOG_TRACE));
	printf("twice %d\n", qb_log_filter_ctl(7, QB_LOG_TAG_SET, QB_LOG_FILTER_FILE, "t.c", LOG_TRACE));
	qb_log_from_external_source("f", "t.c", "zero", LOG_INFO, 1, 0);
	qb_log_from_external_source("f", "t.c", "new", LOG_INFO, 3, 0);
	qb_log_from_external_source("f", "t.c", "new with", LOG_INFO, 4, 5);
	printf("set %d\n", qb_log_filter_ctl(5, QB_LOG_TAG_SET, QB_LOG_FILTER_FILE, "t.c", LOG_TRACE));
	qb_log_from_external_source("f", "t.c", "last wins", LOG_INFO, 5, 0);
	printf("clear %d\n", qb_log_filter_ctl(99, QB_LOG_TAG_CLEAR, QB_LOG_FILTER_FILE, "t.c", LOG_TRACE));
	qb_log_from_external_source("f", "t.c", "zero", LOG_INFO, 1, 0);
	qb_log_from_external_source("f", "t.c", "other rule", LOG_INFO, 6, 0);
	printf("negative %d\n", qb_log_filter_ctl(-1, QB_LOG_TAG_SET, QB_LOG_FILTER_FORMAT, "zero", LOG_TRACE));
	qb_log_from_external_source("f", "t.c", "zero", LOG_INFO, 1, 0);
	printf("clear all %d\n", qb_log_filter_ctl(0, QB_LOG_TAG_CLEAR_ALL, QB_LOG_FILTER_FILE, "x", LOG_TRACE));
	qb_log_from_external_source("f", "t.c", "zero", LOG_INFO, 1, 0);
	qb_log_from_external_source("f", "t.c", "after", LOG_INFO, 7, 0);
	qb_log_fini();
}

static void filter_fn(struct qb_log_callsite *cs)
{
	if ((cs->priority > LOG_ALERT && cs->priority < LOG_DEBUG) || cs->tags != 0) {
		qb_bit_set(cs->targets, 4);
	} else {
		qb_bit_clear(cs->targets, 4);
	}
}

static void functions(void)
{
	printf("before init %d\n", qb_log_filter_fn_set(filter_fn));
	start();
	qb_log_custom_open(logger, closed, NULL, NULL);
	qb_log_ctl(4, QB_LOG_CONF_ENABLED, QB_TRUE);
	printf("set %d\n", qb_log_filter_fn_set(filter_fn));
	qb_log(LOG_NOTICE, "one");
	qb_log(LOG_TRACE, "two");
	qb_logt(LOG_TRACE, 3, "three");
	qb_log_from_external_source("f", "x.c", "four", LOG_DEBUG, 3, 44);
	qb_log_from_external_source("f", "x.c", "five", LOG_DEBUG, 3, 0);
	printf("unset %d\n", qb_log_filter_fn_set(NULL));
	qb_enter();
	errno = ENOENT;
	qb_perror(LOG_ERR, "perror %s", "says");
	qb_leave();
	qb_log2("id", LOG_ERR, "with id %m");
	qb_log_fini();
}

static void slots(void)
{
	int32_t ids[40];

	printf("before: open %d ctl %d close\n", qb_log_custom_open(logger, closed, NULL, NULL), qb_log_ctl(1, QB_LOG_CONF_ENABLED, 1));
	qb_log(LOG_ERR, "before init");
	qb_log_fini();
	qb_log_init("diff", LOG_USER, LOG_INFO);
	for (int i = -1; i < 33; i++) {
		printf("%d: state %d\n", i, qb_log_ctl(i, QB_LOG_CONF_STATE_GET, 0));
	}
	qb_log_ctl(QB_LOG_SYSLOG, QB_LOG_CONF_ENABLED, QB_FALSE);
	for (int i = 0; i < 30; i++) {
		ids[i] = qb_log_custom_open(logger, closed, NULL, NULL);
		printf("open %d\n", ids[i]);
	}
	printf("data %d %d %d\n", qb_log_target_user_data_set(7, ids), qb_log_target_user_data_get(7) == ids, qb_log_target_user_data_get(8) == NULL);
	errno = 0;
	printf("bad %d %d %d\n", qb_log_target_user_data_get(40) == NULL, errno, qb_log_target_user_data_set(-1, NULL));
	qb_log_custom_close(9);
	qb_log_custom_close(9);
	qb_log_custom_close(-1);
	qb_log_custom_close(99);
	qb_log_file_close(6);
	printf("again %d %d %d\n", qb_log_custom_open(logger, closed, NULL, NULL), qb_log_custom_open(logger, NULL, NULL, NULL), qb_log_custom_open(logger, NULL, NULL, NULL));
	qb_log_custom_close(QB_LOG_STDOUT);
	printf("static %d\n", qb_log_custom_open(logger, closed, NULL, NULL));
	printf("ctl: enable %d again %d disable %d again %d\n", qb_log_ctl(9, 0, 4), qb_log_ctl(9, 0, 1), qb_log_ctl(9, 0, 0), qb_log_ctl(9, 0, 0));
	printf("ctl: %d %d %d %d %d\n", qb_log_ctl(9, QB_LOG_CONF_DEBUG, 1), qb_log_ctl(9, 67, 1), qb_log_ctl(9, 13, 1), qb_log_ctl(9, QB_LOG_CONF_SIZE, 1), qb_log_ctl(99, 67, 1));
	printf("ctl: %d %d %d %d %d\n", qb_log_ctl(2, QB_LOG_CONF_SIZE, -2000), qb_log_ctl(2, QB_LOG_CONF_SIZE, 0), qb_log_ctl(2, QB_LOG_CONF_ENABLED, 1),
	       qb_log_ctl(2, QB_LOG_CONF_SIZE, 1023), qb_log_ctl(2, QB_LOG_CONF_ENABLED, 1));
	for (int c = 1; c < 12; c++) {
		if (c != QB_LOG_CONF_IDENT && c != QB_LOG_CONF_USE_JOURNAL) {
			printf("conf %d: %d\n", c, qb_log_ctl(9, c, c != QB_LOG_CONF_THREADED));
		}
	}
	printf("ident %d\n", qb_log_ctl2(9, QB_LOG_CONF_IDENT, QB_LOG_CTL2_S("other")));
	printf("file %d %d %d\n", qb_log_file_open("/nonexistent/x"), qb_log_file_open("/"), qb_log_file_open(NULL));
	for (int i = -200; i < 200; i++) {
		const char *s = qb_log_facility2str(i);

		if (s != NULL) {
			printf("facility %d %s %d\n", i, s, qb_log_facility2int(s));
		}
	}
	printf("facility %d %d %d\n", qb_log_facility2int("LOCAL0"), qb_log_facility2int(NULL), qb_log_facility2int(""));
	qb_log_ctl(4, 0, 1);
	qb_log_fini();
	printf("after: ctl %d data %d\n", qb_log_ctl(4, 0, 1), qb_log_target_user_data_set(4, NULL));
	qb_log_custom_close(4);
}

static void cat(const char *path)
{
	char line[8192];
	FILE *f = fopen(path, "r");

	printf("-- %s\n", f != NULL ? "file" : "no file");
	while (f != NULL && fgets(line, sizeof line, f) != NULL) {
		printf("  ");
		show(line);
		printf("\n");
	}
	if (f != NULL) {
		fclose(f);
	}
}

static void files(void)
{
	char a[] = "log-diff-a.tmp", b[] = "log-diff-b.tmp";
	int32_t t, u;
	FILE *f;

	unlink(a);
	unlink(b);
	start();
	t = qb_log_file_open(a);
	printf("open %d state %d\n", t, qb_log_ctl(t, QB_LOG_CONF_STATE_GET, 0));
	qb_log_filter_ctl(t, QB_LOG_FILTER_ADD, QB_LOG_FILTER_FILE, "*", LOG_TRACE);
	qb_log(LOG_INFO, "while disabled");
	qb_log_ctl(t, QB_LOG_CONF_ENABLED, 1);
	qb_log(LOG_INFO, "first");
	f = qb_log_target_user_data_get(t);
	fprintf(f, "by hand\n");
	qb_log(LOG_DEBUG, "second %s", "argument");
	cat(a);
	printf("reopen %d\n", qb_log_file_reopen(t, NULL));
	qb_log(LOG_INFO, "after reopen");
	printf("reopen %d\n", qb_log_file_reopen(t, b));
	qb_log(LOG_INFO, "in the other");
	printf("reopen %d\n", qb_log_file_reopen(t, "/nonexistent/dir"));
	qb_log(LOG_INFO, "still in the other");
	qb_log_ctl(t, QB_LOG_CONF_FILE_SYNC, 1);
	qb_log(LOG_INFO, "synced");
	u = qb_log_file_open(b);
	qb_log_filter_ctl(u, QB_LOG_FILTER_ADD, QB_LOG_FILTER_FILE, "*", LOG_TRACE);
	qb_log_format_set(u, "twice %b");
	qb_log_ctl(u, QB_LOG_CONF_ENABLED, 1);
	qb_log(LOG_INFO, "both");
	qb_log_file_close(u);
	qb_log(LOG_INFO, "one");
	qb_log_ctl(t, QB_LOG_CONF_MAX_LINE_LEN, 20);
	qb_log_ctl(t, QB_LOG_CONF_ELLIPSIS, 1);
	qb_log(LOG_INFO, "a long line that is cut somewhere");
	qb_log_fini();
	cat(a);
	cat(b);
	unlink(a);
	unlink(b);
}

static void streams(void)
{
	start();
	for (int t = QB_LOG_STDERR; t <= QB_LOG_STDOUT; t += 2) {
		qb_log_filter_ctl(t, QB_LOG_FILTER_ADD, QB_LOG_FILTER_FILE, "*", LOG_INFO);
		qb_log_format_set(t, t == QB_LOG_STDERR ? "err %b" : "out %N %b");
		printf("enable %d\n", qb_log_ctl(t, QB_LOG_CONF_ENABLED, 1));
		fflush(stdout);
	}
	for (int i = 0; i < 10; i++) {
		qb_log(LOG_INFO + i % 2, "number %d", i);
		printf("between\n");
		fflush(stdout);
	}
	qb_log_ctl(QB_LOG_STDOUT, QB_LOG_CONF_ENABLED, 0);
	qb_log(LOG_INFO, "err only");
	qb_log_fini();
}

static void threaded(void)
{
	int32_t t;

	start();
	t = custom();
	printf("priority %d\n", qb_log_thread_priority_set(SCHED_OTHER, 17));
	qb_log_ctl(t, QB_LOG_CONF_THREADED, 1);
	printf("start %d again %d\n", qb_log_thread_start(), qb_log_thread_start());
	printf("bad priority %d\n", qb_log_thread_priority_set(SCHED_RR, -1) < 0);
	for (int i = 0; i < 10; i++) {
		qb_log(LOG_INFO, "queued %d", i);
	}
	qb_log_fini();
}

/* The number of stored bytes is printed too where the reference has it right. */
static const char *row = "";

static void round_trip(const char *fmt, ...)
{
	char packed[512], text[512];
	size_t len, shown;
	va_list ap;

	va_start(ap, fmt);
	len = qb_vsnprintf_serialize(packed, sizeof packed, fmt, ap);
	va_end(ap);
	shown = qb_vsnprintf_deserialize(text, sizeof text, packed);
	printf("%sserial '%s': %zu [", row, fmt, len);
	show(text);
	printf("] %zu\n", shown);
}

static void serial(void)
{
	char packed[32], text[32];
	va_list none = { { 0 } };
	int v = 5;

	round_trip("one line");
	round_trip("");
	round_trip("%d %5i %04i %u %o %x %X %#x %+d % d %-6d|", 1, 2, 3, 4u, 8, 255, 255, 255, 5, 6, 7);
	round_trip("%ld %li %lu %lx %lld %llu %zd %zu %jd %td", 1L, -2L, 3UL, 4L, 5LL, 6ULL, (ssize_t)7, (size_t)8, (intmax_t)9, (ptrdiff_t)-10);
	round_trip("%.5f %f %e %g %G %a %.2f %10.3f|%-10.1f|", 1.5, 2.25, 3e10, 4.5, 1e-9, 1.0, 2.345, 3.14159, 2.5);
	round_trip("%c%c%c", 'a', 'b', 'c');
	round_trip("%p %p", (void *)0x1234, (void *)0);
	round_trip("%s|%15s|%.10s|%-15s|", "abc", "def", "0123456789abcdef", "left");
	row = "~log-serial-precision ";
	round_trip("%15.10s|%-15.10s|%.15s", "0123456789abcdef", "0123456789abcdef", "ghi");
	row = "";
	round_trip("%s", (char *)NULL);
	round_trip("%*d %-*d|", 6, v, 6, v);
	round_trip("%.32x %.32x", 5, 6);
	round_trip("%.9s in a sentence %s %s", "0123456789", "short", "ones");
	round_trip("tab\tand\nnewline %s\n", "x");
	round_trip("ext\aended %d", 5);
	round_trip("%s %s %s %s %s %s", "1", "22", "333", "4444", "55555", "666666");
	round_trip("no conversion at the end %d.", INT_MIN);
	row = "~log-serial-percent ";
	round_trip("%lu%%", 5UL);
	printf("limit %zu ", qb_vsnprintf_serialize(packed, 11, "123456789____", none));
	qb_vsnprintf_deserialize(text, sizeof text, packed);
	printf("%s\n", text);
}

static void registered(void)
{
	static struct qb_log_callsite own[3] = {
		{ "own_function", "own.c", "own message %d", LOG_INFO, 1, 0, 0, NULL },
		{ "own_function", "own.c", "empty", LOG_INFO, 0, 0, 0, NULL },
		{ "own_function", "own.c", "another", LOG_DEBUG, 3, 0, 0, NULL },
	};

	printf("register %d %d\n", qb_log_callsites_register(NULL, own), qb_log_callsites_register(own, NULL));
	printf("register %d\n", qb_log_callsites_register(own, own + 3));
	start();
	printf("targets %u %u %u\n", own[0].targets, own[1].targets, own[2].targets);
	printf("twice %d %d\n", qb_log_callsites_register(own, own + 2), qb_log_callsites_register(own + 1, own + 3));
	custom();
	printf("targets %u %u %u\n", own[0].targets, own[1].targets, own[2].targets);
	qb_log_real_(&own[0], 5);
	qb_log_real_(&own[2]);
	qb_log_filter_ctl(9, QB_LOG_TAG_SET, QB_LOG_FILTER_FUNCTION, "own_function", LOG_TRACE);
	printf("tags %u %u %u\n", own[0].tags, own[1].tags, own[2].tags);
	qb_log_fini();
}

static void run(const char *name, void (*part)(void))
{
	int status = 0;
	pid_t pid;

	printf("== %s\n", name);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		alarm(30);
		part();
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	printf("== %s ended with %d\n", name, status);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*part)(void);
	} parts[] = {
		{ "formats", formats }, { "times", times }, { "lengths", lengths }, { "extended", extended }, { "filters", filters }, { "tags", tags },
		{ "functions", functions }, { "slots", slots }, { "files", files }, { "streams", streams }, { "threaded", threaded }, { "serial", serial },
		{ "registered", registered },
	};

	(void)prefix;
	for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
		if (argc < 2 || strcmp(argv[1], parts[i].name) == 0) {
			run(parts[i].name, parts[i].part);
		}
	}
	return 0;
}

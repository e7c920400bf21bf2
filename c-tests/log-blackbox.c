/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qb/qblog.h: the blackbox; mostly where ours goes further than the reference (COMPATIBILITY.md). */
#include "log-common.h"

#include <dirent.h>
#include <sys/resource.h>

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

/* Rows log-serial-percent and log-serial-precision. */
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
	qb_log(LOG_INFO, "%s is at 95%", "one");
	last_record("one is at 95");
	qb_log(LOG_INFO, "%600d and more", 1);
	qb_log(LOG_INFO, "%s", "after");
	last_record("after");
	qb_log_fini();
#pragma GCC diagnostic pop
}

/* Rows log-blackbox-limit and log-thread-blackbox: no thread was started. */
static void the_blackbox_keeps_long_messages_readable(void)
{
	static char text[4000];

	blackbox(8192);
	memset(text, 'x', sizeof text - 1);
	qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_MAX_LINE_LEN, 4096);
	qb_log(LOG_INFO, "%s%s%s%s", text, text, text, text);
	last_record("Log message too long to be stored in the blackbox.  Maximum is QB_LOG_MAX_LEN");
	text[508] = '\0'; /* 512 bytes with the format */
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

static int descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(dir) != NULL) {
		n++;
	}
	closedir(dir);
	return n;
}

/* So a program that closes all descriptors it does not know does no harm, and has its own ones for itself. */
static void the_blackbox_has_no_descriptor(void)
{
	char path[100];
	int before, own[4];

	start();
	CHECK_EQ(qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_SIZE, 8192), 0);
	before = descriptors();
	wants_all(QB_LOG_BLACKBOX);
	qb_log(LOG_INFO, "x");
	CHECK_EQ(descriptors(), before);
	snprintf(path, sizeof path, "/dev/shm/qb-test-log-%d-blackbox-header", (int)getpid());
	CHECK_EQ(access(path, F_OK), 0);
	for (int fd = 3; fd < 100; fd++) {
		close(fd);
	}
	for (int i = 0; i < 4; i++) {
		own[i] = open("/dev/null", O_WRONLY);
	}
	CHECK_EQ(qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_ENABLED, QB_FALSE), 0);
	qb_log(LOG_INFO, "y");
	CHECK_EQ(access(path, F_OK), -1);
	qb_log_fini();
	for (int i = 0; i < 4; i++) {
		CHECK_EQ(write(own[i], "x", 1), 1);
	}
}

/* Row log-blackbox-descriptors. */
static void its_files_go_when_no_descriptor_is_left(void)
{
	struct rlimit few;
	char path[100];

	blackbox(8192);
	snprintf(path, sizeof path, "/dev/shm/qb-test-log-%d-blackbox-header", (int)getpid());
	CHECK_EQ(access(path, F_OK), 0);
	getrlimit(RLIMIT_NOFILE, &few);
	few.rlim_cur = 64;
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
	while (open("/dev/null", O_WRONLY) >= 0) {
	}
	CHECK_EQ(errno, EMFILE);
	qb_log_fini();
	CHECK_EQ(access(path, F_OK), -1);
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
/* Functions have names of any length, and the ring does not. */
static void a_record_that_does_not_fit_is_skipped(void)
{
	static char function[200000];

	memset(function, 'f', sizeof function - 1);
	blackbox(8192);
	external(function, 7, "never stored");
	qb_log(LOG_INFO, "%s", "stored");
	last_record("stored");
	function[1000] = '\0';
	external(function, 8, "with a long name");
	qb_log(LOG_INFO, "%s", "and after it");
	last_record("and after it");
	qb_log_fini();
}

/* A text is made once, as long as the longest of the targets that want it allows; a custom target gets all of it. */
static void a_text_is_as_long_as_its_longest_target_allows(void)
{
	static char text[3000];
	int32_t t;

	memset(text, 'x', sizeof text - 1);
	start();
	t = custom();
	CHECK_EQ(qb_log_ctl(t, QB_LOG_CONF_MAX_LINE_LEN, 300), 0);
	CHECK_EQ(qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_SIZE, 16384), 0);
	CHECK_EQ(qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_MAX_LINE_LEN, 700), 0);
	CHECK_EQ(qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_ENABLED, QB_TRUE), 0);
	qb_log(LOG_INFO, "%s", text);
	CHECK_EQ(strlen(last), 299);
	wants_all(QB_LOG_BLACKBOX);
	qb_log(LOG_INFO, "%s", text);
	CHECK_EQ(strlen(last), 699);
	CHECK_EQ(qb_log_ctl(t, QB_LOG_CONF_MAX_LINE_LEN, 900), 0);
	qb_log(LOG_INFO, "%s", text);
	CHECK_EQ(strlen(last), 899);
	CHECK_EQ(qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_ENABLED, QB_FALSE), 0);
	CHECK_EQ(qb_log_ctl(t, QB_LOG_CONF_MAX_LINE_LEN, 300), 0);
	qb_log(LOG_INFO, "%s", text);
	CHECK_EQ(strlen(last), 299);
	qb_log_fini();
}

int main(void)
{
	RUN(the_blackbox_has_no_descriptor);
	RUN_OURS(its_files_go_when_no_descriptor_is_left, "log-blackbox-descriptors");
	RUN_OURS(the_blackbox_shows_what_printf_shows, "log-serial-percent");
	RUN_OURS(the_blackbox_keeps_long_messages_readable, "log-blackbox-limit");
	RUN_OURS(a_dump_leaves_no_file_without_a_blackbox, "log-dump-errors");
	RUN_OURS(dumps_from_a_signal_handler_are_complete_whatever_was_interrupted, "log-dump-stdout");
	RUN_OURS(a_record_that_does_not_fit_is_skipped, "log-blackbox-oversized");
	RUN(a_text_is_as_long_as_its_longest_target_allows);
	return check_done();
}

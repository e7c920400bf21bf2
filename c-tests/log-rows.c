/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qb/qblog.h: rows of COMPATIBILITY.md that need surroundings of their own: damaged dumps, limits, a journal. */
#define _GNU_SOURCE
#include "log-common.h"

#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

static char dump[] = "/tmp/test-log-XXXXXX";

/* A dump of a few records; its length. */
static ssize_t make_dump(void)
{
	ssize_t length;

	close(mkstemp(dump));
	start();
	CHECK_EQ(qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_SIZE, 8192), 0);
	wants_all(QB_LOG_BLACKBOX);
	for (int i = 0; i < 5; i++) {
		qb_log(LOG_INFO, "record %d", i);
	}
	length = qb_log_blackbox_write_to_file(dump);
	CHECK(length > 40);
	qb_log_fini();
	return length;
}

/* Standard output and standard error into a file, which is returned; `undo` holds the old ones. */
static int capture(int undo[2])
{
	int fd = memfd_create("captured", MFD_CLOEXEC);

	fflush(stdout);
	for (int i = 0; i < 2; i++) {
		undo[i] = dup(1 + i);
		dup2(fd, 1 + i);
	}
	return fd;
}

static void restore(int undo[2])
{
	fflush(stdout);
	for (int i = 0; i < 2; i++) {
		dup2(undo[i], 1 + i);
		close(undo[i]);
	}
}

static int32_t print_quietly(void)
{
	int undo[2], fd = capture(undo);
	int32_t result = qb_log_blackbox_print_from_file(dump);

	restore(undo);
	close(fd);
	return result;
}

/* The file's own head has 20 bytes, that of the ring 20 more. */
static void a_dump_that_ends_inside_its_heads_is_an_error(void)
{
	make_dump();
	CHECK_EQ(print_quietly(), 0);
	for (int length = 39; length >= 0; length--) {
		CHECK_EQ(truncate(dump, length), 0);
		CHECK_EQ(print_quietly(), -EIO);
	}
	unlink(dump);
}

static void an_intact_dump_is_printed_without_a_complaint(void)
{
	char text[20000];
	int undo[2], fd;
	int32_t result;
	ssize_t length;

	make_dump();
	fd = capture(undo);
	fflush(stderr);
	fclose(stdout); /* what follows the records would be on standard error */
	result = qb_log_blackbox_print_from_file(dump);
	fflush(stderr);
	length = pread(fd, text, sizeof text, 0);
	/* The exit status tells the result: standard output is gone. */
	_exit(result == 0 && length == 0 ? 0 : 1);
}

/* Nothing may be written to any file meanwhile, so the ring cannot be made of files. */
static void reading_a_dump_makes_no_files(void)
{
	struct rlimit none = { 0, 0 };
	int null = open("/dev/null", O_WRONLY);
	int32_t result;

	make_dump();
	fflush(stdout);
	dup2(null, 1);
	signal(SIGXFSZ, SIG_IGN);
	CHECK_EQ(setrlimit(RLIMIT_FSIZE, &none), 0);
	result = qb_log_blackbox_print_from_file(dump);
	unlink(dump);
	_exit(result == 0 && check_bad == 0 ? 0 : 1);
}

static pthread_t writer;

static void who_writes(int32_t t, struct qb_log_callsite *cs, struct timespec *ts, const char *msg)
{
	(void)t, (void)cs, (void)ts, (void)msg;
	writer = pthread_self();
}

static void a_threaded_slot_stays_threaded(void)
{
	int32_t t;

	for (int round = 0; round < 2; round++) {
		start();
		t = qb_log_custom_open(who_writes, NULL, NULL, NULL);
		CHECK_EQ(t, 4);
		wants_all(t);
		if (round == 0) {
			CHECK_EQ(qb_log_ctl(t, QB_LOG_CONF_THREADED, QB_TRUE), 0);
		}
		CHECK_EQ(qb_log_thread_start(), 0);
		writer = pthread_self();
		qb_log(LOG_INFO, "x");
		qb_log_fini();
		CHECK(!pthread_equal(writer, pthread_self()));
	}
}

/* A place for the journal's socket that nobody else sees. 0 if this process may not have one. */
static int own_run_directory(void)
{
	if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
		return 0;
	}
	return mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0 && mount("tmpfs", "/run", "tmpfs", 0, NULL) == 0;
}

static void the_journal_gets_what_syslog_would(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/socket" };
	char got[2000] = "";
	int fd;

	if (!own_run_directory()) {
		printf("  no mount namespace for this user: only that a journal may be missing is tested\n");
	}
	start();
	CHECK_EQ(qb_log_ctl(QB_LOG_SYSLOG, QB_LOG_CONF_USE_JOURNAL, QB_TRUE), 0);
	wants_all(QB_LOG_SYSLOG);
	qb_log(LOG_WARNING, "without a journal");
	if (mkdir("/run/systemd", 0755) == 0 && mkdir("/run/systemd/journal", 0755) == 0) {
		fd = socket(AF_UNIX, SOCK_DGRAM, 0);
		CHECK_EQ(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
		qb_log(LOG_WARNING, "for the journal, number %d", 7);
		CHECK(recv(fd, got, sizeof got - 1, MSG_DONTWAIT) > 0);
		CHECK(strstr(got, "PRIORITY=4\n") != NULL);
		CHECK(strstr(got, "MESSAGE=[warning] for the journal, number 7\n") != NULL);
		CHECK(strstr(got, "CODE_FUNC=the_journal_gets_what_syslog_would\n") != NULL);
		CHECK(strstr(got, "SYSLOG_IDENTIFIER=test-log\n") != NULL);
		CHECK_EQ(recv(fd, got, sizeof got, MSG_DONTWAIT), -1);
	}
	qb_log_fini();
}

/* Row log-dump-errors. */
static void a_dump_replaces_the_whole_file_for_its_owner_only(void)
{
	static char junk[100000];
	struct stat st;
	ssize_t length = make_dump();
	int fd = open(dump, O_WRONLY);

	memset(junk, 'j', sizeof junk);
	CHECK_EQ(write(fd, junk, sizeof junk), sizeof junk);
	close(fd);
	start();
	wants_all(QB_LOG_BLACKBOX);
	CHECK(qb_log_blackbox_write_to_file(dump) > 40);
	CHECK_EQ(stat(dump, &st), 0);
	CHECK(st.st_size < (off_t)sizeof junk && st.st_size >= length / 2);
	unlink(dump);
	umask(0);
	CHECK(qb_log_blackbox_write_to_file(dump) > 40);
	CHECK_EQ(stat(dump, &st), 0);
	CHECK_EQ(st.st_mode & 07777, 0600);
	unlink(dump);
	qb_log_fini();
}

/* Row log-blackbox-fork: the ring is shared, its files are the parent's. */
static void a_child_that_ends_its_blackbox_leaves_the_parents(void)
{
	char path[100], text[20000] = "";
	int status = -1, undo[2], fd;
	pid_t pid;

	start();
	CHECK_EQ(qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_SIZE, 8192), 0);
	wants_all(QB_LOG_BLACKBOX);
	snprintf(path, sizeof path, "/dev/shm/qb-test-log-%d-blackbox-header", (int)getpid());
	CHECK_EQ(access(path, F_OK), 0);
	pid = fork();
	if (pid == 0) {
		qb_log(LOG_INFO, "%s", "a record of the child");
		CHECK_EQ(qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_ENABLED, QB_FALSE), 0);
		_exit(check_bad);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	CHECK_EQ(access(path, F_OK), 0);
	qb_log(LOG_INFO, "%s", "a record of the parent");
	close(mkstemp(dump));
	CHECK(qb_log_blackbox_write_to_file(dump) > 40);
	fd = capture(undo);
	CHECK_EQ(qb_log_blackbox_print_from_file(dump), 0);
	restore(undo);
	CHECK(pread(fd, text, sizeof text - 1, 0) > 0);
	CHECK(strstr(text, "a record of the child") != NULL);
	CHECK(strstr(text, "a record of the parent") != NULL);
	unlink(dump);
	qb_log_fini();
	CHECK_EQ(access(path, F_OK), -1);
}

/* Row log-filters-of-closed: what else a slot was told stays. */
static void a_closed_slot_keeps_its_other_settings(void)
{
	struct timespec now = { 1600000000, 0 };
	struct qb_log_callsite *cs;
	char line[600];
	int32_t t;

	start();
	cs = qb_log_callsite_get("f", "file.c", "format", LOG_INFO, 5, 0);
	t = custom();
	CHECK_EQ(qb_log_ctl(t, QB_LOG_CONF_MAX_LINE_LEN, 20), 0);
	CHECK_EQ(qb_log_ctl(t, QB_LOG_CONF_ELLIPSIS, QB_TRUE), 0);
	qb_log_custom_close(t);
	CHECK_EQ(custom(), t);
	qb_log_format_set(t, "%b");
	qb_log_target_format(t, cs, &now, "longer than a line may be here", line);
	CHECK_STR(line, "longer than a li...");
	qb_log_fini();
}

/* Row log-line-zero: in a registered range the line 0 marks what is no callsite. */
static void elements_without_a_line_are_no_callsites(void)
{
	static struct qb_log_callsite range[] = {
		{ .function = "f", .filename = "range.c", .format = "x", .priority = LOG_INFO, .lineno = 0 },
		{ .function = "f", .filename = "range.c", .format = "x", .priority = LOG_INFO, .lineno = 5 },
	};

	start();
	qb_log_callsites_register(range, range + 2);
	custom();
	CHECK_EQ(range[0].targets, 0);
	CHECK(range[1].targets != 0);
	qb_log_fini();
}

int main(void)
{
	RUN_OURS(a_closed_slot_keeps_its_other_settings, "log-filters-of-closed");
	RUN(elements_without_a_line_are_no_callsites);
	RUN_OURS(a_dump_replaces_the_whole_file_for_its_owner_only, "log-dump-errors");
	RUN_OURS(a_child_that_ends_its_blackbox_leaves_the_parents, "log-blackbox-fork");
	RUN_OURS(a_dump_that_ends_inside_its_heads_is_an_error, "log-print-short");
	RUN_OURS(an_intact_dump_is_printed_without_a_complaint, "log-print-end");
	RUN_OURS(reading_a_dump_makes_no_files, "log-print-memory");
	RUN_OURS(a_threaded_slot_stays_threaded, "log-settings-kept");
	RUN_OURS(the_journal_gets_what_syslog_would, "log-journal");
	return check_done();
}

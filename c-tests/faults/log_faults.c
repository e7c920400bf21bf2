/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Makes the n-th system call of logging fail, for each n and each error that such a call may give: into a file, into the
 * blackbox and its dump, into syslog, and through the logging thread. Results are sane, nobody dies or hangs, nothing is
 * leaked, one failure costs one message at most, and the next attempt works.
 *
 * The test traces itself: a child logs, this process is its tracer. *armed says when calls count.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "../check.h"

#include <dirent.h>
#include <fcntl.h>
#include <qb/qblog.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>

#define LINES 6
#define KINDS 5

static volatile int *armed;
static char path[64];

/* The errors that a call of this kind may give, from the likeliest on; 0: there are no more. */
static int error_for(long call, int kind)
{
	static const int reading[] = {EINTR, EAGAIN, EIO}, writing[] = {EINTR, EAGAIN, EIO, ENOSPC}, opening[] = {EMFILE, ENOMEM, ENOSPC, EINTR, EACCES},
			 memory[] = {ENOMEM}, thread[] = {EAGAIN, ENOMEM}, other[] = {EIO, ENOSPC, EINTR, ENOMEM};
	const int *list = other;
	int n = 4;

#define LIST(x) (list = (x), n = (int)(sizeof(x) / sizeof *(x)))
	switch (call) {
	case SYS_mmap:
	case SYS_mremap: LIST(memory); break;
	case SYS_clone:
	case SYS_clone3: LIST(thread); break;
	case SYS_open:
	case SYS_openat:
	case SYS_memfd_create:
	case SYS_socket:
	case SYS_mkdirat: LIST(opening); break;
	case SYS_read:
	case SYS_pread64:
	case SYS_recvfrom:
	case SYS_poll:
	case SYS_ppoll: LIST(reading); break;
	case SYS_write:
	case SYS_writev:
	case SYS_pwrite64:
	case SYS_sendto:
	case SYS_sendmsg:
	case SYS_connect: LIST(writing); break;
	case SYS_ftruncate:
	case SYS_fallocate:
	case SYS_fstat:
	case SYS_fsync:
	case SYS_fdatasync:
	case SYS_fcntl:
	case SYS_fchmod:
	case SYS_fchown:
	case SYS_lseek: break;
	default: return 0;
	}
	return kind < n ? list[kind] : 0;
}

static int worked;

/* A result is what was asked for or an error number; returns it. */
static int32_t sane(int32_t result)
{
	CHECK(result >= 0 || (result > -4096 && result < 0));
	worked = worked && result >= 0;
	return result;
}

static void begin(void)
{
	worked = 1;
	qb_log_init("faults", LOG_USER, LOG_DEBUG);
	qb_log_ctl(QB_LOG_SYSLOG, QB_LOG_CONF_ENABLED, QB_FALSE);
}

static void say_all(void)
{
	for (int i = 0; i < LINES; i++) {
		qb_log(LOG_INFO, "line %d", i);
	}
}

static int32_t open_file(void)
{
	int32_t t = sane(qb_log_file_open(path));

	if (t >= 0) {
		sane(qb_log_filter_ctl(t, QB_LOG_FILTER_ADD, QB_LOG_FILTER_FILE, "*", LOG_DEBUG));
		qb_log_format_set(t, "%b");
		sane(qb_log_ctl(t, QB_LOG_CONF_ENABLED, QB_TRUE));
	}
	return t;
}

static void to_a_file(void)
{
	int32_t t;

	begin();
	t = open_file();
	if (t >= 0) {
		qb_log(LOG_INFO, "line %d", 0);
		qb_log(LOG_INFO, "line %d", 1);
		sane(qb_log_file_reopen(t, NULL));
		for (int i = 2; i < LINES; i++) {
			qb_log(LOG_INFO, "line %d", i);
		}
		qb_log_file_close(t);
	}
	qb_log_fini();
}

static void to_a_synced_file(void)
{
	int32_t t;

	begin();
	t = open_file();
	if (t >= 0) {
		sane(qb_log_ctl(t, QB_LOG_CONF_FILE_SYNC, QB_TRUE));
		say_all();
		qb_log_file_close(t);
	}
	qb_log_fini();
}

static void through_the_thread(void)
{
	int32_t t;

	begin();
	t = open_file();
	if (t >= 0) {
		sane(qb_log_ctl(t, QB_LOG_CONF_THREADED, QB_TRUE));
		sane(qb_log_thread_start());
		say_all();
	}
	qb_log_fini();
}

static void to_syslog(void)
{
	begin();
	qb_log_filter_ctl(QB_LOG_SYSLOG, QB_LOG_FILTER_ADD, QB_LOG_FILTER_FILE, "*", LOG_DEBUG);
	sane(qb_log_ctl(QB_LOG_SYSLOG, QB_LOG_CONF_ENABLED, QB_TRUE));
	say_all();
	qb_log_fini();
}

static void to_the_blackbox(void)
{
	begin();
	sane(qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_SIZE, 8192));
	qb_log_filter_ctl(QB_LOG_BLACKBOX, QB_LOG_FILTER_ADD, QB_LOG_FILTER_FILE, "*", LOG_DEBUG);
	if (sane(qb_log_ctl(QB_LOG_BLACKBOX, QB_LOG_CONF_ENABLED, QB_TRUE)) >= 0) {
		say_all();
		worked = qb_log_blackbox_write_to_file(path) > 0 && worked;
	}
	qb_log_fini();
}

/* Whole lines of the file, or -1 when one is not what was logged. */
static int count_lines(void)
{
	char line[200];
	FILE *f = fopen(path, "r");
	int n = 0;

	while (f != NULL && fgets(line, sizeof line, f) != NULL) {
		n = n < 0 || strncmp(line, "line ", 5) != 0 || strlen(line) != 7 ? -1 : n + 1;
	}
	if (f != NULL) {
		fclose(f);
	}
	return n;
}

static int count_of(const char *what)
{
	char line[400], name[40];
	int n = 0;

	snprintf(name, sizeof name, "/proc/self/%s", what);
	if (strcmp(what, "fd") == 0) {
		DIR *d = opendir(name);

		while (readdir(d) != NULL) {
			n++;
		}
		closedir(d);
	} else {
		FILE *f = fopen(name, "r");

		while (fgets(line, sizeof line, f) != NULL) {
			n++;
		}
		fclose(f);
	}
	return n;
}

struct way {
	const char *name;
	void (*run)(void);
	int lines; /* whether the file has lines */
};

static _Noreturn void log_in_child(const struct way *way, int kind)
{
	int fds, maps;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(100);
	check_bad = 0;
	for (int i = 0; i < 3; i++) {
		unlink(path);
		way->run();
		CHECK(worked);
		CHECK(!way->lines || count_lines() == LINES);
	}
	unlink(path);
	fds = count_of("fd");
	maps = count_of("maps");
	raise(SIGSTOP); /* the tracer takes over here */
	*armed = 1;
	way->run();
	*armed = 0;
	if (way->lines && worked) {
		int n = count_lines();

		/* An interrupted call is no failure; any other loses what it was about. */
		CHECK(n == LINES || (n == LINES - 1 && kind > 0));
	}
	unlink(path);
	CHECK_EQ(count_of("fd"), fds);
	CHECK(count_of("maps") <= maps + 2); /* memory may have grown */
	way->run();
	CHECK(worked);
	CHECK(!way->lines || count_lines() == LINES);
	unlink(path);
	fflush(stdout);
	_exit(check_bad != 0);
}

/* Lets all threads of the child run until it ends; makes the n-th call fail. Returns its wait status. */
static int trace(pid_t child, int n, int kind, long *failed)
{
	int status, seen = 0, error = 0;
	pid_t who = 0, pid;

	while ((pid = waitpid(-1, &status, __WALL)) > 0) {
		int sig = 0;

		if (WIFEXITED(status) || WIFSIGNALED(status)) {
			if (pid == child) {
				return status;
			}
			continue;
		}
		if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
			struct __ptrace_syscall_info info;
			struct user_regs_struct regs;

			ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void *)sizeof info, &info);
			if (info.op == PTRACE_SYSCALL_INFO_ENTRY && *armed && *failed < 0 &&
			    error_for((long)info.entry.nr, kind) != 0 && seen++ == n) {
				*failed = (long)info.entry.nr;
				error = error_for(*failed, kind);
				who = pid;
				ptrace(PTRACE_GETREGS, pid, NULL, &regs);
				regs.orig_rax = (unsigned long)-1;
				ptrace(PTRACE_SETREGS, pid, NULL, &regs);
			} else if (info.op == PTRACE_SYSCALL_INFO_EXIT && pid == who) {
				ptrace(PTRACE_GETREGS, pid, NULL, &regs);
				regs.rax = (unsigned long)-error;
				ptrace(PTRACE_SETREGS, pid, NULL, &regs);
				who = 0;
			}
		} else if (status >> 16 == 0) {
			sig = WSTOPSIG(status);
			sig = sig == SIGSTOP || sig == SIGTRAP ? 0 : sig;
		}
		ptrace(PTRACE_SYSCALL, pid, NULL, sig);
	}
	return -1;
}

static int inject_at(const struct way *way, int n, int kind)
{
	long failed = -1;
	int status;
	pid_t child;

	*armed = 0;
	fflush(stdout);
	child = fork();
	if (child == 0) {
		log_in_child(way, kind);
	}
	waitpid(child, &status, WUNTRACED);
	if (!WIFSTOPPED(status)) {
		CHECK(!"the child is ready");
		return 0;
	}
	CHECK_EQ(ptrace(PTRACE_SEIZE, child, NULL, (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE)), 0);
	ptrace(PTRACE_INTERRUPT, child, NULL, NULL);
	waitpid(child, &status, __WALL);
	ptrace(PTRACE_SYSCALL, child, NULL, NULL);
	kill(child, SIGCONT);
	status = trace(child, n, kind, &failed);
	if (status != 0) {
		printf("  %s, call %d (number %ld), error %d: status 0x%x\n", way->name, n, failed, failed < 0 ? 0 : error_for(failed, kind),
		       (unsigned)status);
		check_bad++;
	}
	return failed >= 0;
}

static const struct way ways[] = {{"file", to_a_file, 1},
				  {"synced file", to_a_synced_file, 1},
				  {"thread", through_the_thread, 1},
				  {"syslog", to_syslog, 0},
				  {"blackbox", to_the_blackbox, 0}};
static const struct way *way;

static void a_failing_call_of_logging_costs_one_message_at_most(void)
{
	int all = 0;

	for (int kind = 0; kind < KINDS; kind++) {
		int n = 0;

		while (check_bad < 20 && inject_at(way, n, kind)) {
			n++;
		}
		all += n;
	}
	printf("  %s: %d failing calls\n", way->name, all);
	CHECK(all > 4);
}

int main(void)
{
	snprintf(path, sizeof path, "/dev/shm/qb-faults-log-%d", (int)getpid());
	armed = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (way = ways; way < ways + sizeof ways / sizeof *ways; way++) {
		RUN_FOR(a_failing_call_of_logging_costs_one_message_at_most, 280);
	}
	unlink(path);
	printf("%d passed, %d failed\n", check_passed, check_failed);
	return check_failed != 0;
}

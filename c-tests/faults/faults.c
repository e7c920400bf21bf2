/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Makes the n-th system call of connect, round trip, event and disconnect fail, for each n, on one side at a time: the
 * caller gets an error or the retry works, nobody dies or hangs, nothing is leaked, and the next attempt works.
 *
 * This process traces the side under test with ptrace(2). k->probe[6], set by the client, says when calls count.
 */
#include "ipc_scenarios.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>

enum side { CLIENT, SERVER };

#define ARMED(k) ((k)->probe[6])

/* The errors that a call of this kind may give; 0: not injected (it cannot fail, or undoes something). */
static int error_for(long call, int kind)
{
	switch (call) {
	case SYS_mmap:
		return kind == 0 ? ENOMEM : 0;
	case SYS_open:
	case SYS_openat:
	case SYS_memfd_create:
	case SYS_socket:
	case SYS_socketpair:
		return kind == 0 ? EMFILE : ENOMEM;
	case SYS_mkdir:
	case SYS_mkdirat:
	case SYS_ftruncate:
	case SYS_fallocate:
		return kind == 0 ? ENOSPC : EACCES;
	case SYS_accept:
	case SYS_accept4:
		return kind == 0 ? EMFILE : EINTR;
	case SYS_connect:
		return kind == 0 ? EAGAIN : ECONNREFUSED;
	case SYS_sendto:
	case SYS_sendmsg:
	case SYS_write:
	case SYS_writev:
	case SYS_read:
	case SYS_recvfrom:
	case SYS_recvmsg:
	case SYS_poll:
	case SYS_ppoll:
		return kind == 0 ? EINTR : call == SYS_poll || call == SYS_ppoll ? 0 : EAGAIN;
	case SYS_bind:
	case SYS_setsockopt:
	case SYS_getsockopt:
	case SYS_fcntl:
	case SYS_fstat:
	case SYS_chmod:
	case SYS_fchmod:
	case SYS_chown:
	case SYS_fchown:
		return kind == 0 ? ENOMEM : EACCES;
	default:
		/* Among them newfstatat: a file that cannot be verified is rightly not removed. */
		return 0;
	}
}

/* The client's part: what it gets may be any error, but it ends, and it leaves nothing behind. */
static int talk(struct kit *k, int armed)
{
	struct kit_request r;
	struct iovec iov = {&r, sizeof r};
	qb_ipcc_connection_t *c;
	int ok = 0, patience = armed ? 300 : 20000; /* ms; only then an answer may be missing */

	kit_request(&r, KIT_EVENT, sizeof r);
	r.arg[0] = 100;
	ARMED(k) = armed;
	errno = 0;
	c = qb_ipcc_connect(k->name, 8192);
	if (c == NULL) {
		CHECK(errno > 0);
	} else {
		ok = qb_ipcc_sendv_recv(c, &iov, 1, big, sizeof big, patience) > 0;
		ok = qb_ipcc_event_recv(c, big, sizeof big, ok ? patience : 0) == 100 && ok;
		qb_ipcc_disconnect(c);
	}
	ARMED(k) = 0;
	return ok;
}

static int count_maps(pid_t pid)
{
	char path[40];
	FILE *f;
	int c, n = 0;

	snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
	f = fopen(path, "r");
	while (f != NULL && (c = getc(f)) != EOF) {
		n += c == '\n';
	}
	if (f != NULL) {
		fclose(f);
	}
	return n;
}

static void client_main(struct kit *k)
{
	int fds, maps;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(100);
	check_bad = 0;
	CHECK(talk(k, 0));
	fds = kit_count_fds();
	maps = count_maps(getpid());
	kill(getpid(), SIGSTOP); /* the tracer takes over here */
	talk(k, 1);
	CHECK_EQ(kit_count_fds(), fds);
	CHECK(count_maps(getpid()) <= maps + 1); /* the heap may have grown by one */
	CHECK(talk(k, 0));
	fflush(stdout);
	_exit(check_bad != 0);
}

/* Runs the traced process until the client has ended; returns the client's wait status. */
static int trace(struct kit *k, pid_t client, pid_t target, int n, int kind, int *failed_call)
{
	int status, result = -1, in_call = 0, inject = 0, seen = 0;

	*failed_call = -1;
	while (result == -1) {
		pid_t pid = waitpid(-1, &status, __WALL);

		if (pid < 0) {
			break;
		}
		if (WIFEXITED(status) || WIFSIGNALED(status)) {
			if (pid == client) {
				result = status;
			} else {
				CHECK(!"the server died");
				k->server = -1;
				kill(client, SIGKILL);
			}
			continue;
		}
		if (pid != target || !WIFSTOPPED(status)) {
			continue;
		}
		if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
			struct user_regs_struct regs;

			ptrace(PTRACE_GETREGS, pid, NULL, &regs);
			in_call = !in_call;
			if (in_call) {
				inject = ARMED(k) && *failed_call < 0 ? error_for((long)regs.orig_rax, kind) : 0;
				if (inject != 0 && seen++ == n) {
					*failed_call = (int)regs.orig_rax;
					regs.orig_rax = (unsigned long)-1;
					ptrace(PTRACE_SETREGS, pid, NULL, &regs);
				} else {
					inject = 0;
				}
			} else if (inject != 0) {
				regs.rax = (unsigned long)-inject;
				ptrace(PTRACE_SETREGS, pid, NULL, &regs);
				inject = 0;
			}
			ptrace(PTRACE_SYSCALL, pid, NULL, NULL);
		} else {
			int sig = WSTOPSIG(status);

			ptrace(PTRACE_SYSCALL, pid, NULL, sig == SIGSTOP || sig == SIGTRAP ? 0 : sig);
		}
	}
	return result;
}

/* One connection with its n-th call failing; 0 when there was no n-th call. */
static int inject_at(struct kit *k, enum side side, int n, int kind)
{
	int status, call = -1;
	pid_t client, target;

	fflush(stdout);
	client = fork();
	if (client == 0) {
		client_main(k);
	}
	waitpid(client, &status, WUNTRACED);
	if (!WIFSTOPPED(status)) {
		CHECK(!"the client is ready");
		return 0;
	}
	target = side == CLIENT ? client : k->server;
	CHECK_EQ(ptrace(PTRACE_SEIZE, target, NULL, (void *)PTRACE_O_TRACESYSGOOD), 0);
	ptrace(PTRACE_INTERRUPT, target, NULL, NULL);
	waitpid(target, &status, __WALL);
	ptrace(PTRACE_SYSCALL, target, NULL, NULL);
	kill(client, SIGCONT);
	status = trace(k, client, target, n, kind, &call);
	if (side == SERVER && k->server > 0) {
		int dummy;

		ptrace(PTRACE_INTERRUPT, target, NULL, NULL);
		waitpid(target, &dummy, __WALL);
		ptrace(PTRACE_DETACH, target, NULL, NULL);
	}
	if (status != 0) {
		printf("  %s, call %d (number %d), error kind %d: client status 0x%x\n",
		       side == CLIENT ? "client" : "server", n, call, kind, status);
		check_bad++;
	}
	for (int i = 0; i < 20000 && kit_shm_entries(k->server, 0) != 0; i++) {
		kit_sleep_ms(1);
	}
	if (kit_shm_entries(k->server, 0) != 0) {
		printf("  %s, call %d (number %d), error %d: files are left\n", side == CLIENT ? "client" : "server", n,
		       call, error_for(call, kind));
		check_bad++;
		kit_shm_entries(k->server, 1);
	}
	return call >= 0;
}

static void each_call(enum side side)
{
	for (int kind = 0; kind < 2; kind++) {
		struct kit *k = begin();
		int fds, maps, n = 0;

		CHECK(talk(k, 0));
		KIT_WAIT(k->destroyed == 1 && kit_shm_entries(k->server, 0) == 0);
		kit_sleep_ms(20);
		fds = kit_top_fd(k->server);
		maps = count_maps(k->server);
		while (check_bad < 20 && k->server > 0 && inject_at(k, side, n, kind)) {
			n++;
		}
		CHECK(n >= (kit_has_files(k, T) ? 11 : 6)); /* otherwise nothing was injected */
		if (k->server > 0) {
			for (int i = 0; i < 20000 && (k->accepted != k->destroyed || k->registered != 1 ||
						     kit_shm_entries(k->server, 0) != 0); i++) {
				kit_sleep_ms(1);
			}
			CHECK_EQ(k->accepted, k->destroyed);
			CHECK_EQ(k->created, k->closed);
			CHECK_EQ(k->registered, 1);
			CHECK_EQ(kit_shm_entries(k->server, 0), 0);
			CHECK_EQ(kit_top_fd(k->server), fds);
			CHECK(count_maps(k->server) <= maps + 2);
			kit_end(k);
		}
	}
}

static void a_failing_call_of_the_client_leaves_nothing(void)
{
	each_call(CLIENT);
}

static void a_failing_call_of_the_server_leaves_nothing(void)
{
	each_call(SERVER);
}

/* A full /dev/shm is ENOSPC for the client that comes too late; those who are in go on. In a mount namespace of its own. */
static void a_full_dev_shm_is_no_space(void)
{
	qb_ipcc_connection_t *c[200];
	struct kit *k;
	int n = 0;

	CHECK_EQ(unshare(CLONE_NEWNS), 0);
	CHECK_EQ(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	CHECK_EQ(mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=600k,mode=1777"), 0);
	k = begin();
	while (n < 200 && (c[n] = qb_ipcc_connect(k->name, 30000)) != NULL) {
		n++;
	}
	CHECK(n > 0 && n < 200);
	CHECK(errno == ENOSPC || errno == ENOMEM);
	CHECK_EQ(kit_shm_entries(k->server, 0), n);
	for (int i = 0; i < n; i++) {
		CHECK_EQ(kit_echo(c[i], 3000), 0);
	}
	qb_ipcc_disconnect(c[--n]);
	KIT_WAIT(kit_shm_entries(k->server, 0) == n);
	c[n] = kit_connect(k, 30000);
	CHECK_EQ(kit_echo(c[n], 3000), 0);
	for (int i = 0; i <= n; i++) {
		qb_ipcc_disconnect(c[i]);
	}
	kit_end(k);
}

int main(int argc, char **argv)
{
	int sealed = getenv("LIBQB_SEALED") == NULL || strcmp(getenv("LIBQB_SEALED"), "0") != 0;

	kit_main(argc, argv);
	for (int transport = 0; transport < 2; transport++) {
		T = transport == 0 ? QB_IPC_SHM : QB_IPC_SOCKET;
		RUN_FOR(a_failing_call_of_the_client_leaves_nothing, 280);
		RUN_FOR(a_failing_call_of_the_server_leaves_nothing, 280);
		if (T == QB_IPC_SHM && !sealed) { /* which needs no room there */
			RUN_T(a_full_dev_shm_is_no_space);
		}
	}
	printf("%d passed, %d failed\n", check_passed, check_failed);
	return check_failed != 0;
}

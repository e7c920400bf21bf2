/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The campaign against our library: one row per attack, each in a process of its own against a fresh victim.
 *
 * Afterwards, and already while the attack is in place, the victim is alive, serves an honest client and uses no processor
 * time; what it held before, and no more, it holds again; files of bystanders are as they were.
 *
 * hostile [--full] [--jobs N] [--own-loop] [--show] [TEXT]   only rows whose name contains TEXT; what they say, failed or not
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include "campaign.h"
#include "client_rows.h"
#include "crowd_rows.h"
#include "fork_rows.h"
#include "peer_rows.h"
#include "stage_rows.h"
#include "sealed_client_rows.h"

#include <grp.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/mount.h>

#include <qb/qbipc_ext.h>

#pragma weak qb_ipcc_event_peek /* NULL on a library that is not ours */

#define ROW_SECONDS 100
#define ANSWER_MS 5000.0 /* the contract says a second; the machine may be busy with other things */

static int own_loop, show, bad;

static void add(int type, int flags, void (*attack)(const struct row *), long a, long b, long c, const char *format, ...)
{
	struct row *row;
	va_list args;
	int n;

	rows = realloc(rows, sizeof *rows * (size_t)(row_count + 1));
	row = &rows[row_count++];
	memset(row, 0, sizeof *row);
	n = snprintf(row->name, sizeof row->name, "%s%s: ", flags & REVERSE ? "server, " : "", type == QB_IPC_SHM ? "shm" : "socket");
	va_start(args, format);
	vsnprintf(row->name + n, sizeof row->name - (size_t)n, format, args);
	va_end(args);
	row->type = type;
	row->flags = flags;
	row->attack = attack;
	row->a = a;
	row->b = b;
	row->c = c;
}

#define EXPECT(cond, ...)                      \
	do {                                   \
		if (!(cond)) {                 \
			bad++;                 \
			printf("    " __VA_ARGS__); \
			printf("\n");          \
			fflush(stdout);        \
		}                              \
	} while (0)

/* Files that no attack may touch: beside the library's own, and in another directory. */
static struct bystander {
	char path[100];
	struct stat before;
} bystanders[2];

static void make_bystander(struct bystander *b, const char *directory)
{
	int fd;

	snprintf(b->path, sizeof b->path, "%s/qbhostile-XXXXXX", directory);
	if (mkdtemp(b->path) == NULL || chmod(b->path, 0755) != 0) {
		_exit(3);
	}
	strcat(b->path, "/bystander");
	fd = open(b->path, O_RDWR | O_CREAT | O_EXCL, 0640);
	if (fd < 0 || write(fd, "precious", 8) != 8 || fstat(fd, &b->before) != 0) {
		_exit(3);
	}
	close(fd);
}

static void make_bystanders(void)
{
	make_bystander(&bystanders[0], "/dev/shm");
	make_bystander(&bystanders[1], "/var/tmp");
}

static void check_bystander(struct bystander *b)
{
	char text[20] = {0};
	struct stat st;
	int fd = open(b->path, O_RDONLY);

	EXPECT(fd >= 0, "the bystander's file is gone");
	if (fd >= 0 && fstat(fd, &st) == 0 && read(fd, text, sizeof text - 1) >= 0) {
		EXPECT(strcmp(text, "precious") == 0, "the bystander's file now says \"%s\"", text);
		EXPECT(st.st_ino == b->before.st_ino && st.st_uid == b->before.st_uid && st.st_gid == b->before.st_gid &&
			   st.st_mode == b->before.st_mode,
		       "owner, group or mode of the bystander's file have changed");
		close(fd);
	}
	unlink(b->path);
	*strrchr(b->path, '/') = 0;
	EXPECT(rmdir(b->path) == 0, "something was put beside the bystander's file");
}

static void check_bystanders(void)
{
	check_bystander(&bystanders[0]);
	check_bystander(&bystanders[1]);
}

static pid_t start_hostile(const struct row *row, int *ready)
{
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) != 0) {
		_exit(3);
	}
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		close(ends[0]);
		me.ready_fd = ends[1];
		me.service = victim.name;
		me.bystander = bystanders[0].path;
		me.outside = bystanders[1].path;
		signal(SIGPIPE, SIG_IGN);
		if (!(row->flags & SELF) && geteuid() == 0 && (setgroups(0, NULL) || setgid(NOBODY) || setuid(NOBODY))) {
			_exit(3);
		}
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* after the change of user, which resets it */
		row->attack(row);
		in_place();
		for (;;) {
			pause();
		}
	}
	close(ends[1]);
	*ready = ends[0];
	return pid;
}

#include "server_rows.h"
#include "client_victim.h"
#include "sealed_server_rows.h"

/* Whether a process uses next to no processor time in some stretch of 200 ms within three seconds. */
static int is_idle(pid_t pid, double *least)
{
	*least = 1e9;
	for (int i = 0; i < 15; i++) {
		double before = cpu_ms(pid), used;

		wire_ms(200);
		used = cpu_ms(pid) - before;
		*least = used < *least ? used : *least;
		if (used < 5) {
			return 1;
		}
	}
	return 0;
}

static void serve_honestly(const char *when, int refused)
{
	double start = now_ms();
	int rc = honest_client();

	EXPECT(rc == 0 || refused, "an honest client fails %s: %s", when, strerror(-rc));
	EXPECT(now_ms() - start < ANSWER_MS, "an honest client waits %.0f ms %s", now_ms() - start, when);
}

static double usage_of_victim(void)
{
	int before = victim.shared->usages;

	(void)!write(victim.control, "u", 1);
	while (victim.shared->usages == before) {
		wire_ms(1);
	}
	return victim.shared->usage;
}

/* Honest clients, ten a second, for some seconds. The bounds are for machines that do other things as well. */
static void serve_steadily(void)
{
	double start = now_ms(), cpu = usage_of_victim(), worst = 0, share;
	int served = 0, failed = 0;

	while (now_ms() - start < (me.full ? 10000 : 3000)) {
		double begun = now_ms(), took;

		failed += honest_client() != 0;
		served++;
		took = now_ms() - begun;
		worst = took > worst ? took : worst;
		wire_ms(100);
	}
	share = 100 * (usage_of_victim() - cpu) / (now_ms() - start);
	printf("    %d honest clients, the slowest served within %.1f ms; the victim used %.2f %% of a processor\n", served, worst, share);
	EXPECT(failed == 0, "%d of %d honest clients failed", failed, served);
	EXPECT(worst < ANSWER_MS, "an honest client waited %.0f ms", worst);
	EXPECT(share < 25, "the victim used %.0f %% of a processor", share);
}

static void check_service(const struct row *row)
{
	/* Requests of the victim's own user are lent where they are: such a sender can change them after they were checked. */
	bool lent = (row->flags & SELF) || geteuid() != 0;
	struct holds before, after = {0, 0, 0};
	int ready, status = 0;
	double least;
	pid_t hostile;
	char byte;

	victim_start(row->type, own_loop || (row->flags & OWN_LOOP), row->nofile);
	serve_honestly("before the attack", 0);
	while (victim.shared->destroyed == 0) {
		wire_ms(1);
	}
	/* The application hears of the end of a connection before its resources are gone. */
	before = holds_of(victim.pid);
	for (int same = 0; same < 3; same++) {
		wire_ms(5);
		after = holds_of(victim.pid);
		same = memcmp(&before, &after, sizeof before) == 0 ? same : -1;
		before = after;
	}
	hostile = start_hostile(row, &ready);
	if (read(ready, &byte, 1) != 1) {
		waitpid(hostile, &status, WNOHANG);
		EXPECT(0, "the attack did not take place (status 0x%x)", status);
	}
	if (!(row->flags & HOPELESS)) {
		serve_honestly("during the attack", row->flags & NO_ROOM);
	}
	if (!(row->flags & BUSY)) {
		EXPECT(is_idle(victim.pid, &least), "the victim uses %.0f ms of 200 during the attack", least);
	}
	if (row->flags & STEADY) {
		serve_steadily();
	}
	if (row->flags & (BUSY | TIDIES)) {
		(void)!read(ready, &byte, 1); /* its end */
	}
	kill(hostile, SIGKILL);
	EXPECT(waitpid(hostile, &status, 0) == hostile && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
	       "the hostile process ended by itself (status 0x%x)", status);
	for (int i = 0; i < 2000; i++) {
		after = holds_of(victim.pid);
		if (memcmp(&before, &after, sizeof before) == 0) {
			break;
		}
		wire_ms(5);
	}
	EXPECT(before.fds == after.fds && before.maps == after.maps && before.shm == after.shm,
	       "left over: %d descriptors, %d mappings, %d directories", after.fds - before.fds, after.maps - before.maps,
	       after.shm - before.shm);
	EXPECT(is_idle(victim.pid, &least), "the victim uses %.0f ms of 200 after the attack", least);
	serve_honestly("after the attack", 0);
	EXPECT(waitpid(victim.pid, &status, WNOHANG) == 0, "the victim died (status 0x%x)", status);
	(void)!write(victim.control, "q", 1);
	waitpid(victim.pid, &status, 0);
	EXPECT(status == 0, "the victim ends with status 0x%x", status);
	EXPECT((lent && row->flags & BUSY) || victim.shared->lying == 0, "requests that are shorter than they say reach the application");
	EXPECT(victim.shared->misaligned == 0, "misaligned requests reach the application");
	EXPECT(victim.shared->strange == 0, "%d requests of a stranger reach the application", victim.shared->strange);
	EXPECT(lent || victim.shared->unstable == 0, "a request changed while it was handled");
	EXPECT(victim.shared->misuse == 0, "the poll loop was misused %d times", victim.shared->misuse);
	EXPECT(victim.shared->registered <= 0, "%d descriptors are still registered", victim.shared->registered);
	EXPECT(victim.shared->accepted == victim.shared->destroyed, "%d connections accepted, %d destroyed",
	       victim.shared->accepted, victim.shared->destroyed);
	EXPECT(holds_of(victim.pid).shm == 0, "files are left over");
}

static void check_row(const struct row *row)
{
	alarm(ROW_SECONDS);
	if ((row->flags & OWN_SHM) && (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
				       mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=2m,mode=1777") != 0)) {
		EXPECT(0, "no /dev/shm of its own: %s", strerror(errno));
		return;
	}
	setenv("LIBQB_CONNECT_TIMEOUT_MS", (row->flags & (REVERSE | WORKS)) == REVERSE ? "400" : "5000", 1);
	if (row->flags & PLAIN) {
		setenv("LIBQB_SEALED", "0", 1);
	}
	make_bystanders();
	if (row->flags & REVERSE) {
		check_client(row);
	} else {
		check_service(row);
	}
	check_bystanders();
}

static int run_all(const char *text, int jobs)
{
	struct running { pid_t pid; int row, out; } running[64];
	int next = 0, active = 0, passed = 0, failed = 0, without = 0;

	while (next < row_count || active > 0) {
		int status;
		pid_t pid;

		while (active < jobs && next < row_count) {
			int row = next++;

			if (text != NULL && strstr(rows[row].name, text) == NULL) {
				continue;
			}
			if (sealed_is_off() && strstr(rows[row].name, "sealed: ") != NULL) {
				without++;
				continue;
			}
			running[active].row = row;
			running[active].out = memfd_create("out", MFD_CLOEXEC);
			fflush(stdout);
			running[active].pid = fork();
			if (running[active].pid == 0) {
				prctl(PR_SET_PDEATHSIG, SIGKILL);
				dup2(running[active].out, 1);
				dup2(running[active].out, 2);
				check_row(&rows[row]);
				fflush(stdout);
				_exit(bad != 0);
			}
			active++;
		}
		if (active == 0) {
			break;
		}
		pid = waitpid(-1, &status, 0);
		for (int i = 0; i < active; i++) {
			char line[4096];
			ssize_t n;

			if (running[i].pid != pid) {
				continue;
			}
			if (status == 0) {
				passed++;
			} else {
				failed++;
			}
			if (status != 0 || show) {
				printf("%s %s (status 0x%x)\n", status == 0 ? "pass" : "FAIL", rows[running[i].row].name, status);
				lseek(running[i].out, 0, SEEK_SET);
				while ((n = read(running[i].out, line, sizeof line)) > 0) {
					fwrite(line, 1, (size_t)n, stdout);
				}
			}
			close(running[i].out);
			running[i] = running[--active];
			break;
		}
	}
	if (without > 0) {
		printf("hostile: %d rows are about sealed memory, which is off, and were left out\n", without);
	}
	if (left_out > 0) {
		printf("hostile: %d rows need root and were left out\n", left_out);
	}
	printf("hostile%s: %d passed, %d failed\n", own_loop ? " (own loop)" : "", passed, failed);
	return failed == 0 && passed > 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
	const char *text = NULL;
	int jobs = 12; /* rows mostly wait */

	if (qb_ipcc_event_peek == NULL) {
		fprintf(stderr, "the campaign says what libqb-rs guarantees, and runs on nothing else\n");
		return 2;
	}
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--full") == 0) {
			me.full = 1;
		} else if (strcmp(argv[i], "--own-loop") == 0) {
			own_loop = 1;
		} else if (strcmp(argv[i], "--show") == 0) {
			show = 1;
		} else if (strcmp(argv[i], "--jobs") == 0 && i + 1 < argc) {
			jobs = atoi(argv[++i]);
		} else {
			text = argv[i];
		}
	}
	jobs = jobs < 1 ? 1 : jobs > 64 ? 64 : jobs;
	client_rows();
	peer_rows();
	fork_rows();
	crowd_rows();
	stage_rows();
	server_rows();
	sealed_client_rows();
	sealed_server_rows();
	return run_all(text, jobs);
}

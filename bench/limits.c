/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the machine itself allows, without any library: the floor under the IPC figures, measured in the same run.
 *
 * The figures cannot depend on the library, so the ratios of these groups also show how noisy the run was.
 */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

enum { LINE = 64, COPY_MAX = 128 * 1024, SOCKET_MAX = 4096 };

static int cpus[2], cpu_count;

/* The word of each side on a cache line of its own: ping counts up, pong follows. */
static struct shared {
	_Alignas(LINE) _Atomic uint32_t ping;
	_Alignas(LINE) _Atomic uint32_t pong;
	_Alignas(LINE) _Atomic uint32_t stop;
} *shared;

static int sockets[2];
static size_t message;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void find_cpus(void)
{
	cpu_set_t may;

	if (sched_getaffinity(0, sizeof may, &may) != 0) {
		fail("sched_getaffinity");
	}
	for (int i = 0; i < CPU_SETSIZE && cpu_count < 2; i++) {
		if (CPU_ISSET(i, &may)) {
			cpus[cpu_count++] = i;
		}
	}
}

static void pin(int cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	if (sched_setaffinity(0, sizeof one, &one) != 0) {
		fail("sched_setaffinity");
	}
}

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#endif
}

static void wait_spinning(_Atomic uint32_t *word, uint32_t wanted)
{
	while (atomic_load_explicit(word, memory_order_acquire) != wanted && !atomic_load_explicit(&shared->stop, memory_order_relaxed)) {
		relax();
	}
}

static void wait_sleeping(_Atomic uint32_t *word, uint32_t wanted)
{
	uint32_t seen;

	while ((seen = atomic_load_explicit(word, memory_order_acquire)) != wanted && !atomic_load(&shared->stop)) {
		syscall(SYS_futex, word, FUTEX_WAIT, seen, NULL, NULL, 0);
	}
}

static void publish(_Atomic uint32_t *word, uint32_t value, int wake)
{
	atomic_store_explicit(word, value, memory_order_release);
	if (wake) {
		syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
	}
}

/* One step of each side; n counts from 1. */
struct pingpong {
	void (*ping)(uint32_t n);
	int (*pong)(uint32_t n); /* 0: over */
};

static void spin_ping(uint32_t n)
{
	publish(&shared->ping, n, 0);
	wait_spinning(&shared->pong, n);
}

static int spin_pong(uint32_t n)
{
	wait_spinning(&shared->ping, n);
	publish(&shared->pong, n, 0);
	return !atomic_load(&shared->stop);
}

static void futex_ping(uint32_t n)
{
	publish(&shared->ping, n, 1);
	wait_sleeping(&shared->pong, n);
}

static int futex_pong(uint32_t n)
{
	wait_sleeping(&shared->ping, n);
	publish(&shared->pong, n, 1);
	return !atomic_load(&shared->stop);
}

static char buffer[2][COPY_MAX];

static void socket_ping(uint32_t n)
{
	(void)n;
	if (send(sockets[0], buffer[0], message, 0) != (ssize_t)message || recv(sockets[0], buffer[1], message, 0) != (ssize_t)message) {
		fail("socketpair");
	}
}

static int socket_pong(uint32_t n)
{
	(void)n;
	return recv(sockets[1], buffer[1], message, 0) == (ssize_t)message && send(sockets[1], buffer[1], message, 0) == (ssize_t)message;
}

/* Mean time of a round trip between this process and a child. */
static double round_trip_us(const struct pingpong *p, int own_cpu, int other_cpu)
{
	uint64_t start, now, end;
	uint32_t n = 0;
	pid_t pid;

	memset(shared, 0, sizeof *shared);
	if (socketpair(AF_UNIX, SOCK_DGRAM, 0, sockets) != 0) {
		fail("socketpair");
	}
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pin(other_cpu);
		close(sockets[0]);
		while (p->pong(++n)) {
		}
		_exit(0);
	}
	if (pid < 0) {
		fail("fork");
	}
	close(sockets[1]);
	pin(own_cpu);
	while (n < 100) {
		p->ping(++n);
	}
	start = bench_now_ns();
	end = start + (uint64_t)(bench_seconds() * 1e9);
	do {
		for (int i = 0; i < 16; i++) {
			p->ping(++n);
		}
		now = bench_now_ns();
	} while (now < end);
	atomic_store(&shared->stop, 1);
	publish(&shared->ping, n + 1, 1); /* whoever sleeps looks at `stop` */
	if (p->ping == socket_ping) {
		send(sockets[0], "", 0, 0); /* an empty datagram ends the other loop */
	}
	waitpid(pid, NULL, 0);
	close(sockets[0]);
	return (double)(now - start) / (n - 100) / 1e3;
}

static void copy_cell(const char *name, size_t size)
{
	uint64_t start, now, end, n = 0;

	if (!bench_wants("limits-memory", name)) {
		return;
	}
	start = bench_now_ns();
	end = start + (uint64_t)(bench_seconds() * 1e9);
	do {
		for (int i = 0; i < 64; i++, n++) {
			buffer[0][n % size]++;
			memcpy(buffer[1], buffer[0], size);
			__asm__ volatile("" : : "r"(buffer[1]) : "memory");
		}
		now = bench_now_ns();
	} while (now < end);
	bench_cell("limits-memory", name, "us", (double)(now - start) / (double)n / 1e3, LOWER);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		struct pingpong p;
		size_t message;
		int needs_two;
	} games[] = {
		{ "shm-spinning", { spin_ping, spin_pong }, 0, 1 },
		{ "shm-futex", { futex_ping, futex_pong }, 0, 0 },
		{ "socketpair-64", { socket_ping, socket_pong }, 64, 0 },
		{ "socketpair-4k", { socket_ping, socket_pong }, SOCKET_MAX, 0 },
	};

	bench_args(argc, argv);
	alarm(120);
	signal(SIGPIPE, SIG_IGN);
	find_cpus();
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED) {
		fail("mmap");
	}
	for (int place = 0; place < 2; place++) {
		const char *group = place == 0 ? "limits-two" : "limits-one";

		for (size_t i = 0; i < sizeof games / sizeof *games; i++) {
			if (!bench_wants(group, games[i].name) || (place == 1 && games[i].needs_two)) {
				continue;
			}
			if (place == 0 && cpu_count < 2) {
				printf("# %s/%s: there is one CPU only\n", group, games[i].name);
				continue;
			}
			message = games[i].message;
			bench_cell(group, games[i].name, "us", round_trip_us(&games[i].p, cpus[0], place == 0 ? cpus[1] : cpus[0]), LOWER);
		}
	}
	copy_cell("memcpy-4k", 4096);
	copy_cell("memcpy-128k", COPY_MAX);
	return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the kernel tells about a process: CPU time, memory, CPUs it may use. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ipc.h"

void die(const char *what, long code)
{
	fprintf(stderr, "ipc: %s: %s (%ld)\n", what, strerror(code < 0 ? (int)-code : (int)code), code);
	exit(1);
}

/* A memfd that is mapped but not touched by us still costs its blocks, which Pss does not show. */
static uint64_t memfd_kib(void)
{
	uint64_t blocks = 0;
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL) {
		char target[64] = "";
		struct stat st;

		if (readlinkat(dirfd(d), e->d_name, target, sizeof target - 1) > 0 && strncmp(target, "/memfd:", 7) == 0 &&
		    fstatat(dirfd(d), e->d_name, &st, 0) == 0) {
			blocks += (uint64_t)st.st_blocks;
		}
	}
	if (d != NULL) {
		closedir(d);
	}
	return blocks / 2;
}

void usage_read(struct usage *u)
{
	struct rusage r;
	char line[128];
	FILE *f = fopen("/proc/self/smaps_rollup", "r");

	memset(u, 0, sizeof *u);
	getrusage(RUSAGE_SELF, &r);
	u->cpu_ns = timeval_ns(r.ru_utime) + timeval_ns(r.ru_stime);
	if (f == NULL) {
		die("/proc/self/smaps_rollup", 2);
	}
	while (fgets(line, sizeof line, f) != NULL) {
		unsigned long kib;

		if (sscanf(line, "Pss: %lu", &kib) == 1) {
			u->pss_kib = kib;
		} else if (sscanf(line, "Pss_Shmem: %lu", &kib) == 1) {
			u->pss_shmem_kib = kib;
		}
	}
	fclose(f);
	u->memfd_kib = memfd_kib();
}

static uint64_t dir_blocks(int at, const char *name)
{
	uint64_t blocks = 0;
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	while (d != NULL && (e = readdir(d)) != NULL) {
		struct stat st;

		if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode)) {
			blocks += (uint64_t)st.st_blocks;
		}
	}
	if (d != NULL) {
		closedir(d);
	}
	return blocks;
}

uint64_t shm_files_kib(pid_t server)
{
	uint64_t blocks = 0;
	char prefix[32];
	DIR *d = opendir("/dev/shm");
	struct dirent *e;

	/* The names that the wire prescribes: one directory per connection, which starts with the server's pid. */
	snprintf(prefix, sizeof prefix, "qb-%d-", (int)server);
	while (d != NULL && (e = readdir(d)) != NULL) {
		if (strncmp(e->d_name, prefix, strlen(prefix)) == 0) {
			blocks += dir_blocks(dirfd(d), e->d_name);
		}
	}
	if (d != NULL) {
		closedir(d);
	}
	return blocks / 2;
}

void pin_to(int nth)
{
	cpu_set_t may, one;

	if (nth < 0 || sched_getaffinity(0, sizeof may, &may) != 0) {
		return;
	}
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (CPU_ISSET(cpu, &may) && nth-- == 0) {
			CPU_ZERO(&one);
			CPU_SET(cpu, &one);
			if (sched_setaffinity(0, sizeof one, &one) != 0) {
				break;
			}
			return;
		}
	}
	die("no CPU to pin to", 22);
}

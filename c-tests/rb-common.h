/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of ring buffers share. */
#ifndef RB_COMMON_H
#define RB_COMMON_H

#include "check.h"

#include <fcntl.h>
#include <qb/qbrb.h>
#include <sys/stat.h>
#include <time.h>

static char buffer[70000];
static char name_[64];

/* A name of this test run; the files are /dev/shm/qb-<name>-header and -data. */
static inline const char *ring_name(void)
{
	snprintf(name_, sizeof name_, "rs-ctest-%d", (int)getpid());
	return name_;
}

static inline const char *file_of(const char *ending)
{
	static char path[128];
	snprintf(path, sizeof path, "/dev/shm/qb-rs-ctest-%d-%s", (int)getpid(), ending);
	return path;
}

static inline qb_ringbuffer_t *make(size_t size, uint32_t flags)
{
	qb_ringbuffer_t *rb = qb_rb_open(ring_name(), size, QB_RB_FLAG_CREATE | flags, 0);
	CHECK(rb != NULL);
	if (rb == NULL) {
		exit(1);
	}
	return rb;
}

static inline off_t length_of(const char *path)
{
	struct stat st;
	return stat(path, &st) == 0 ? st.st_size : -1;
}

static inline long ms_since(const struct timespec *start)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - start->tv_sec) * 1000 + (now.tv_nsec - start->tv_nsec) / 1000000;
}

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What all benchmark programs share: options, the clock, and the one line format that `bench/run` reads (see README.md).
 * Nothing here knows libqb; the programs use its public headers only, so that one binary measures any library.
 */
#ifndef BENCH_H
#define BENCH_H

#include <fnmatch.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum bench_size { BENCH_FULL, BENCH_QUICK, BENCH_TINY };
enum bench_better { LOWER, HIGHER };

static enum bench_size bench_size = BENCH_FULL;
static const char *bench_only[4]; /* a cell must match them all; one that starts with '!' it must not match */

/* Takes one common option; returns 1 when it was one. */
static inline int bench_arg(const char *arg)
{
	if (strcmp(arg, "--quick") == 0) {
		bench_size = BENCH_QUICK;
	} else if (strcmp(arg, "--tiny") == 0) {
		bench_size = BENCH_TINY;
	} else if (strncmp(arg, "--only=", 7) == 0) {
		for (int i = 0; i < 4; i++) {
			if (bench_only[i] == NULL) {
				bench_only[i] = arg + 7;
				return 1;
			}
		}
		return 0;
	} else {
		return 0;
	}
	return 1;
}

/* For programs that have no options of their own. */
static inline void bench_args(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (!bench_arg(argv[i])) {
			fprintf(stderr, "usage: %s [--quick | --tiny] [--only=PATTERN]\n", argv[0]);
			exit(2);
		}
	}
}

/* Is this cell asked for? Ask before the work, so that a subset is quick. */
static inline int bench_wants(const char *group, const char *name)
{
	char cell[256];
	int n = snprintf(cell, sizeof cell, "%s/%s", group, name);

	for (int i = 0; i < 4 && bench_only[i] != NULL; i++) {
		int without = bench_only[i][0] == '!';

		if ((fnmatch(bench_only[i] + without, cell, 0) == 0) == without) {
			return 0;
		}
	}
	return n > 0 && n < (int)sizeof cell;
}

static inline void bench_cell(const char *group, const char *name, const char *unit, double value,
			      enum bench_better better)
{
	if (!bench_wants(group, name)) {
		return;
	}
	printf("cell %s %s %s %.6g %s\n", group, name, unit, value, better == LOWER ? "lower" : "higher");
	fflush(stdout);
}

static inline uint64_t bench_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* A count for the full run, cut down for --quick and --tiny. */
static inline uint64_t bench_scale(uint64_t n)
{
	uint64_t scaled = bench_size == BENCH_FULL ? n : bench_size == BENCH_QUICK ? n / 5 : n / 1000;

	return scaled > 0 ? scaled : 1;
}

/* The time to spend in one cell. */
static inline double bench_seconds(void)
{
	return bench_size == BENCH_FULL ? 0.3 : bench_size == BENCH_QUICK ? 0.08 : 0.004;
}

#endif

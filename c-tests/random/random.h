/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the random drivers share: numbers, and a hash of all results. -v prints each step to stderr, to find the first difference.
 * Those with many short runs are `PROGRAM FIRST LAST OPERATIONS [-v]`: for_each_seed() does the operations of each seed in a child
 * process and prints one line for it.
 */
#ifndef RANDOM_H
#define RANDOM_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t random_state, random_hash = 0xcbf29ce484222325ull;
static int random_verbose;

static inline uint32_t rnd(uint32_t below)
{
	random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)((random_state >> 33) % below);
}

static inline void note(const char *what, int64_t a, int64_t b, int64_t c)
{
	const int64_t words[] = {a, b, c};

	for (const char *p = what; *p != '\0'; p++) {
		random_hash = (random_hash ^ (unsigned char)*p) * 0x100000001b3ull;
	}
	for (int i = 0; i < 3; i++) {
		random_hash = (random_hash ^ (uint64_t)words[i]) * 0x100000001b3ull;
		random_hash ^= random_hash >> 29;
	}
	if (random_verbose) {
		fprintf(stderr, "%s %jd %jd %jd\n", what, (intmax_t)a, (intmax_t)b, (intmax_t)c);
	}
}

static inline int for_each_seed(int argc, char **argv, void (*run)(long operations))
{
	unsigned long first, last;
	long operations;

	if (argc < 4) {
		fprintf(stderr, "usage: %s FIRST LAST OPERATIONS [-v]\n", argv[0]);
		return 2;
	}
	first = strtoul(argv[1], NULL, 10);
	last = strtoul(argv[2], NULL, 10);
	operations = atol(argv[3]);
	random_verbose = argc > 4;
	for (unsigned long seed = first; seed <= last; seed++) {
		pid_t child;
		int status;

		fflush(stdout);
		child = fork();
		if (child == 0) {
			alarm(60);
			random_state = seed;
			run(operations);
			printf("%lu %016jx\n", seed, (uintmax_t)random_hash);
			fflush(stdout);
			_exit(0);
		}
		if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
			printf("%lu ended with %x\n", seed, child < 0 ? 0 : (unsigned)status);
		}
	}
	return 0;
}

#endif

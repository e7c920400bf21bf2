/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The small test harness of c-tests/: public headers only, the same binary runs on the reference and on our library.
 *
 * A test is a `static void name(void)`; its name is the claim. RUN(name) executes it in a child process with a watchdog,
 * so a crash or a hang is a failure of that test alone. Where our library deliberately differs from the reference, say
 * CHECK_EQ_COMPAT(expr, reference_value, our_value, "id"): `id` must be the first cell of a row of COMPATIBILITY.md.
 */
#ifndef CHECK_H
#define CHECK_H

#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

static int check_passed, check_failed;
static int check_bad; /* failures inside the running test (child) */

/* QB_TEST_LIB is set by run-both: "reference" or "ours". */
static inline int on_reference(void)
{
	const char *lib = getenv("QB_TEST_LIB");
	return lib != NULL && strcmp(lib, "reference") == 0;
}

#define CHECK(cond)                                                                      \
	do {                                                                             \
		if (!(cond)) {                                                           \
			check_bad++;                                                     \
			printf("  %s:%d: %s is false\n", __FILE__, __LINE__, #cond);     \
			fflush(stdout);                                                  \
		}                                                                        \
	} while (0)

#define CHECK_EQ(expr, want)                                                             \
	do {                                                                             \
		intmax_t check_got_ = (intmax_t)(expr), check_want_ = (intmax_t)(want);  \
		if (check_got_ != check_want_) {                                         \
			check_bad++;                                                     \
			printf("  %s:%d: %s is %jd, want %jd (%s)\n", __FILE__,          \
			       __LINE__, #expr, check_got_, check_want_, #want);         \
			fflush(stdout);                                                  \
		}                                                                        \
	} while (0)

#define CHECK_STR(expr, want)                                                            \
	do {                                                                             \
		const char *check_got_ = (expr), *check_want_ = (want);                  \
		if (check_got_ == NULL || strcmp(check_got_, check_want_) != 0) {        \
			check_bad++;                                                     \
			printf("  %s:%d: %s is \"%s\", want \"%s\"\n", __FILE__,         \
			       __LINE__, #expr, check_got_ ? check_got_ : "(null)",      \
			       check_want_);                                             \
			fflush(stdout);                                                  \
		}                                                                        \
	} while (0)

/* `id` names the row of COMPATIBILITY.md that explains the difference; run-both looks it up. */
#define CHECK_EQ_COMPAT(expr, ref_value, our_value, id)                                  \
	CHECK_EQ(expr, on_reference() ? (intmax_t)(ref_value) : (intmax_t)(our_value))

/* QB_SKIP names tests, separated by blanks, that the environment cannot run (see valgrind-c); each is said. */
static inline int check_skipped(const char *name)
{
	const char *skip = getenv("QB_SKIP"), *at = skip == NULL ? NULL : strstr(skip, name);

	if (at == NULL || (at != skip && at[-1] != ' ') || (at[strlen(name)] != ' ' && at[strlen(name)] != '\0')) {
		return 0;
	}
	printf("skipped %s\n", name);
	return 1;
}

static inline void check_run(const char *name, void (*test)(void), unsigned seconds)
{
	int status = 0;
	pid_t pid;

	if (check_skipped(name)) {
		return;
	}

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		/* Under valgrind everything takes longer. */
		alarm(getenv("QB_WATCHDOG") != NULL ? (unsigned)atoi(getenv("QB_WATCHDOG")) : seconds);
		test();
		fflush(stdout);
		_exit(check_bad == 0 ? 0 : 1);
	}
	if (pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		check_passed++;
		printf("ok %s\n", name);
		return;
	}
	check_failed++;
	if (pid > 0 && WIFSIGNALED(status)) {
		printf("FAIL %s (signal %d)\n", name, WTERMSIG(status));
	} else {
		printf("FAIL %s\n", name);
	}
}

/* 60 s watchdog each; RUN_FOR gives another one. */
#define RUN(test) check_run(#test, test, 60)
#define RUN_FOR(test, seconds) check_run(#test, test, seconds)

/* A test of something that the reference does not support: run on ours only, and named in COMPATIBILITY.md. */
#define RUN_OURS(test, id)                                                               \
	do {                                                                             \
		if (!on_reference()) {                                                   \
			check_run(#test, test, 60);                                      \
		}                                                                        \
	} while (0)

static inline int check_done(void)
{
	printf("%d passed, %d failed\n", check_passed, check_failed);
	return check_failed == 0 ? 0 : 1;
}

#endif

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Turns: several of these programs measure at the same time, but only one does anything at a time. A byte goes round through pipes from each
 * to the next; who has it has the turn. `bench/turns.py` sets the ring up. Without a ring the turn is always ours.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "ipc.h"

static int from_before = -1, to_next = -1;

int turns_set(const char *descriptors)
{
	/* The server has no part in it. */
	return sscanf(descriptors, "%d,%d", &from_before, &to_next) == 2 && fcntl(from_before, F_SETFD, FD_CLOEXEC) == 0 &&
	       fcntl(to_next, F_SETFD, FD_CLOEXEC) == 0;
}

bool turns_on(void)
{
	return to_next >= 0;
}

void turn_wait(void)
{
	char token;

	if (turns_on() && read(from_before, &token, 1) != 1) {
		die("the turn does not come", EPIPE);
	}
}

void turn_pass(void)
{
	if (turns_on() && write(to_next, "t", 1) != 1) {
		die("the turn cannot be passed on", errno);
	}
}

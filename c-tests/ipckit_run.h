/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tests that run once for each transport: `T` is the one under test, and its name is part of the test's. */
#ifndef IPCKIT_RUN_H
#define IPCKIT_RUN_H

#include "ipckit.h"

static enum qb_ipc_type T;
static char big[2 << 20];

static inline void run_t(const char *name, void (*test)(void), unsigned seconds)
{
	char full[200];

	snprintf(full, sizeof full, "%s [%s]", name, T == QB_IPC_SHM ? "shm" : "socket");
	check_run(full, test, seconds);
}
#define RUN_T(test) run_t(#test, test, 60)
#define RUN_T_FOR(test, seconds) run_t(#test, test, seconds)

#endif

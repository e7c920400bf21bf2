/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One row of the campaign: what it is, what the hostile process knows, and the table that rows are added to. */
#ifndef CAMPAIGN_H
#define CAMPAIGN_H

#include <stdbool.h>

#include "wire.h"
#include "victim.h"

#define NOBODY 65534

enum {
	SELF = 1,     /* the hostile client has the server's own user: it may replace files, and its requests are lent */
	BUSY = 2,     /* the attack goes on while the honest client works: no look at the processor before its end */
	REVERSE = 4,  /* the hostile process is the server, the victim a client */
	WORKS = 8,    /* REVERSE: nothing wrong with this one, the client has to get its answers */
	NO_ROOM = 16, /* the attack takes all there is; others are refused, at once, while it lasts */
	TIDIES = 32,  /* the hostile process removes again what it has put into the victim's directories */
	OWN_LOOP = 64, /* the victim runs on the library's poll loop in any case */
	OWN_SHM = 128, /* /dev/shm is small and of this row alone; needs root */
	FORBIDDEN = 1024, /* REVERSE: the client must not let itself be connected to this */
	HOPELESS = 512, /* nobody can be served while it lasts; only the victim's own calm is looked at */
	STEADY = 256, /* honest clients come all the time while the attack lasts; says what that costs */
	PLAIN = 4096, /* REVERSE: the client does not offer sealed memory */
};

struct row {
	char name[96];
	int type, flags, nofile;
	void (*attack)(const struct row *row);
	long a, b, c;
};

static struct row *rows;
static int row_count, left_out;

/* Sealed memory can be switched off for all processes; then nobody is offered it, and its rows are left out. */
static bool sealed_is_off(void)
{
	const char *value = getenv("LIBQB_SEALED");

	return value != NULL && strcmp(value, "0") == 0;
}

static void add(int type, int flags, void (*attack)(const struct row *), long a, long b, long c, const char *format, ...)
	__attribute__((format(printf, 7, 8)));

/* The hostile process's own knowledge. */
static struct {
	const char *service, *bystander, *outside;
	int ready_fd;
	int full;
	double until; /* when a busy attack of this row is over */
} me;

/* From here on the attack is in place; the honest client may come. */
static inline void in_place(void)
{
	(void)!write(me.ready_fd, "r", 1);
}

/* How long something hostile goes on, in ms. */
static inline double attack_time(void)
{
	return me.full ? 1500 : 150;
}

/* Rows that only root can run are counted, not forgotten: n of them. */
static inline int root_rows(int n)
{
	left_out += geteuid() == 0 ? 0 : n;
	return geteuid() == 0;
}

#endif

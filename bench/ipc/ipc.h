/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The IPC benchmark's own protocol, and what its files share.
 *
 * The server is a process of its own, so that the two ends may run on different libraries. What it knows about itself (CPU time, memory) it
 * tells in a response: the two ends need no other channel.
 */
#ifndef BENCH_IPC_H
#define BENCH_IPC_H

#include <qb/qbipcc.h>
#include <qb/qbipcs.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/time.h>
#include <sys/types.h>

#include "../bench.h"

/* Large enough for 128 KiB messages with several in flight; the size that corosync's clients ask for. */
#define MAX_MSG (1024 * 1024)

enum request_id {
	REQ_ECHO = QB_IPC_MSG_USER_START, /* answered with `reply_size` bytes */
	REQ_COUNT,                        /* one-way: the server only counts it */
	REQ_STATE,                        /* answered with a struct state_reply */
	REQ_EVENTS_START,                 /* one-way: events of `reply_size` bytes, as many as the client takes (or `count`) */
	REQ_EVENTS_STOP,                  /* one-way: stop them; the last one has the id EVENT_LAST */
};

enum event_id { EVENT_NEXT = 1, EVENT_LAST = 2 };

struct request {
	struct qb_ipc_request_header hdr;
	uint32_t reply_size;
	uint32_t count; /* REQ_EVENTS_START: 0 means until stopped */
};

struct usage {
	uint64_t cpu_ns;         /* user and system time of the process so far */
	uint64_t pss_kib;        /* proportional set size */
	uint64_t pss_shmem_kib;  /* the part of it that is shared memory */
	uint64_t memfd_kib;      /* blocks of the memfds that are open here */
};

struct state_reply {
	struct qb_ipc_response_header hdr;
	uint64_t counted; /* REQ_COUNT messages since the last REQ_STATE */
	int64_t pid;
	struct usage usage;
};

static inline uint64_t timeval_ns(struct timeval t)
{
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_usec * 1000u;
}

/* proc.c: what /proc knows. */
void usage_read(struct usage *u);
uint64_t shm_files_kib(pid_t server); /* blocks of the files that this server keeps in /dev/shm */
void pin_to(int nth);                 /* to the nth CPU that we may use; negative: leave as is */
void die(const char *what, long code) __attribute__((noreturn));

/* turns.c */
int turns_set(const char *descriptors); /* "IN,OUT" */
bool turns_on(void);
void turn_wait(void);
void turn_pass(void);

/* server.c */
int server_main(const char *name, enum qb_ipc_type type, enum qb_ipcs_rate_limit rate, int own_loop);

/* own_loop.c: the smallest poll implementation that a service can run on. */
void own_loop_init(struct qb_ipcs_poll_handlers *h);
void own_loop_run(void);
void own_loop_stop(void);

/* client.c: each runs for `seconds`, or for exactly `count` operations when that is not 0. */
struct rtt {
	uint64_t ops;
	double mean_us, p50_us, p99_us, cpu_s_per_million;
};
/* What happens between two round trips. */
struct pause {
	unsigned us; /* sleeps for so many microseconds */
	bool cold;   /* and makes sure that the CPU's caches hold nothing of the last one */
};

qb_ipcc_connection_t *client_connect(const char *name, size_t max_msg);
void client_state(qb_ipcc_connection_t *c, struct state_reply *s);
void client_rtt(qb_ipcc_connection_t *c, size_t size, struct pause pause, double seconds, uint64_t count, struct rtt *r);
void client_think_in_turns(qb_ipcc_connection_t *c, size_t size, struct pause pause, double seconds, struct rtt *r);
double client_oneway(qb_ipcc_connection_t *c, size_t size, double seconds, uint64_t count);
double client_events(qb_ipcc_connection_t *c, size_t size, double seconds, uint64_t count);
double client_connects(const char *name, double seconds, uint64_t count);
double client_idle_kib(const char *name, unsigned connections);

#endif

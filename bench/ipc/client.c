/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The client: one function per scenario. Whatever fails ends the program, so that a printed figure is one of a correct run. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include "ipc.h"

enum { MAX_SAMPLES = 1 << 20 };

/* Round trips of one turn. The first ones are not timed: the others have just had the caches, and the server has slept for long. */
enum { TURN_UNTIMED = 2, TURN_TIMED = 20 };

/* Enough for them, unless others keep the CPUs busy. Then a turn has fewer, and the run an end. */
enum { TURN_NS = 50 * 1000 * 1000 };

static char out[MAX_MSG] __attribute__((aligned(8)));
static char in[MAX_MSG] __attribute__((aligned(8)));
static uint32_t samples[MAX_SAMPLES]; /* nanoseconds */

qb_ipcc_connection_t *client_connect(const char *name, size_t max_msg)
{
	qb_ipcc_connection_t *c = qb_ipcc_connect(name, max_msg);

	if (c == NULL) {
		die("qb_ipcc_connect", errno);
	}
	return c;
}

static struct iovec request(int32_t id, size_t size, size_t reply_size)
{
	struct request *r = (struct request *)out;

	if (size < sizeof *r || size > sizeof out) {
		die("message size", EINVAL);
	}
	*r = (struct request){ .hdr = { .id = id, .size = (int32_t)size }, .reply_size = (uint32_t)reply_size };
	return (struct iovec){ .iov_base = out, .iov_len = size };
}

static void round_trip(qb_ipcc_connection_t *c, const struct iovec *iov, size_t reply_size)
{
	ssize_t rc = qb_ipcc_sendv_recv(c, iov, 1, in, sizeof in, -1);

	if (rc != (ssize_t)reply_size || ((struct qb_ipc_response_header *)in)->id != REQ_ECHO) {
		die("qb_ipcc_sendv_recv", rc);
	}
}

/* A request without an answer. A full queue, or flow control, is -EAGAIN: let the server run, and try again. */
static void send_retrying(qb_ipcc_connection_t *c, const struct iovec *iov)
{
	ssize_t rc;

	while ((rc = qb_ipcc_send(c, iov->iov_base, iov->iov_len)) == -EAGAIN || rc == -ENOBUFS) {
		sched_yield();
	}
	if (rc != (ssize_t)iov->iov_len) {
		die("qb_ipcc_send", rc);
	}
}

void client_state(qb_ipcc_connection_t *c, struct state_reply *s)
{
	struct iovec iov = request(REQ_STATE, sizeof(struct request), 0);

	round_trip(c, &iov, sizeof *s);
	memcpy(s, in, sizeof *s);
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static uint64_t own_cpu_ns(void)
{
	struct rusage r;

	getrusage(RUSAGE_SELF, &r);
	return timeval_ns(r.ru_utime) + timeval_ns(r.ru_stime);
}

/* Walks through more memory than a CPU's own caches hold, so that a round trip finds neither its code nor its data there. */
static void cool_caches(void)
{
	static volatile char memory[4 << 20];

	for (size_t i = 0; i < sizeof memory; i += 64) {
		memory[i]++;
	}
}

static void take_pause(struct pause p)
{
	struct timespec think = { .tv_nsec = (long)p.us * 1000 };

	if (p.us > 0) {
		nanosleep(&think, NULL);
	}
	if (p.cold) {
		cool_caches();
	}
}

/* Of the first n samples, which took `busy` nanoseconds. */
static void summarize(struct rtt *r, uint64_t n, uint64_t busy)
{
	r->ops = n;
	r->mean_us = (double)busy / (double)n / 1e3;
	n = n < MAX_SAMPLES ? n : MAX_SAMPLES;
	qsort(samples, n, sizeof *samples, by_value);
	r->p50_us = samples[n / 2] / 1e3;
	r->p99_us = samples[n * 99 / 100] / 1e3;
}

void client_rtt(qb_ipcc_connection_t *c, size_t size, struct pause pause, double seconds, uint64_t count, struct rtt *r)
{
	uint64_t n = 0, start, end, now, busy = 0, cpu = 0;
	struct state_reply before = { .counted = 0 }, after = before;
	struct iovec iov;

	if (count == 0) {
		client_state(c, &before);
	}
	iov = request(REQ_ECHO, size, size);
	/* Warms up for a tenth of the time. With think time it takes half of it: the scheduler keeps two processes apart for a while that were busy before. */
	end = bench_now_ns() + (uint64_t)(seconds * (pause.us > 0 ? 5e8 : 1e8));
	while (count == 0 && bench_now_ns() < end) {
		take_pause(pause);
		round_trip(c, &iov, size);
	}
	cpu = own_cpu_ns();
	start = now = bench_now_ns();
	end = start + (uint64_t)(seconds * 1e9);
	while (count > 0 ? n < count : now < end || n < 3) {
		uint64_t then = now;

		if (pause.us > 0) {
			take_pause(pause);
			then = bench_now_ns();
		}
		round_trip(c, &iov, size);
		now = bench_now_ns();
		busy += now - then;
		samples[n++ % MAX_SAMPLES] = (uint32_t)(now - then);
	}
	cpu = own_cpu_ns() - cpu;
	if (count == 0) {
		client_state(c, &after);
	}
	r->cpu_s_per_million = (double)(cpu + after.usage.cpu_ns - before.usage.cpu_ns) / (double)n / 1e3;
	summarize(r, n, busy);
}

/*
 * The same with think time, in turns with others. It warms up with as many round trips as above, and times four times as many: turns take
 * care of what disturbs the machine for half a second and more, but single disturbances hit one of us, and few samples have a 99th
 * percentile that is one of them or not. With cold caches nobody asks for that.
 */
void client_think_in_turns(qb_ipcc_connection_t *c, size_t size, struct pause pause, double seconds, struct rtt *r)
{
	struct iovec iov = request(REQ_ECHO, size, size);
	double fit = seconds * 1e6 / pause.us;
	unsigned warm_up = (unsigned)(fit / 2 / TURN_TIMED) + 1, turns = (unsigned)(fit * (pause.cold ? 1 : 4) / TURN_TIMED) + 1;
	uint64_t n = 0, busy = 0;

	for (unsigned turn = 0; turn < warm_up + turns; turn++) {
		uint64_t end;

		turn_pass();
		turn_wait();
		end = bench_now_ns() + TURN_NS;
		for (unsigned i = 0; i < TURN_UNTIMED + TURN_TIMED && (i <= TURN_UNTIMED || bench_now_ns() < end); i++) {
			uint64_t took;

			take_pause(pause);
			took = bench_now_ns();
			round_trip(c, &iov, size);
			took = bench_now_ns() - took;
			if (turn >= warm_up && i >= TURN_UNTIMED) {
				busy += took;
				samples[n++ % MAX_SAMPLES] = (uint32_t)took;
			}
		}
	}
	turn_pass(); /* what follows is no traffic, and must not disturb the last turns of the others */
	turn_wait();
	summarize(r, n, busy);
}

double client_oneway(qb_ipcc_connection_t *c, size_t size, double seconds, uint64_t count)
{
	struct state_reply s;
	struct iovec iov;
	uint64_t n = 0, start, end;

	client_state(c, &s);
	iov = request(REQ_COUNT, size, 0);
	start = bench_now_ns();
	end = start + (uint64_t)(seconds * 1e9);
	while (count > 0 ? n < count : n == 0 || bench_now_ns() < end) {
		for (int i = 0; i < 16 && (count == 0 || n < count); i++, n++) {
			send_retrying(c, &iov);
		}
	}
	/* Order is kept, so the answer says that the server has handled every one of them. */
	iov = request(REQ_STATE, sizeof(struct request), 0);
	send_retrying(c, &iov);
	if (qb_ipcc_recv(c, &s, sizeof s, -1) != sizeof s || s.counted != n) {
		die("requests were lost", EBADMSG);
	}
	return (double)n * 1e9 / (double)(bench_now_ns() - start);
}

double client_events(qb_ipcc_connection_t *c, size_t size, double seconds, uint64_t count)
{
	struct iovec iov = request(REQ_EVENTS_START, sizeof(struct request), size);
	struct qb_ipc_response_header *event = (struct qb_ipc_response_header *)in;
	uint64_t n = 0, start, end;
	bool stopped = count > 0;

	((struct request *)out)->count = (uint32_t)count;
	start = bench_now_ns();
	end = start + (uint64_t)(seconds * 1e9);
	send_retrying(c, &iov);
	do {
		ssize_t rc = qb_ipcc_event_recv(c, in, sizeof in, 10000);

		if (rc != (ssize_t)size) {
			die("qb_ipcc_event_recv", rc);
		}
		n++;
		if (!stopped && n % 16 == 0 && bench_now_ns() >= end) {
			iov = request(REQ_EVENTS_STOP, sizeof(struct request), 0);
			send_retrying(c, &iov);
			stopped = true;
		}
	} while (event->id != EVENT_LAST);
	if (count > 0 && n != count) {
		die("events were lost", EBADMSG);
	}
	return (double)n * 1e9 / (double)(bench_now_ns() - start);
}

double client_connects(const char *name, double seconds, uint64_t count)
{
	uint64_t n = 0, start = bench_now_ns(), now = start, end = start + (uint64_t)(seconds * 1e9);

	while (count > 0 ? n < count : now < end) {
		qb_ipcc_disconnect(client_connect(name, 12400));
		n++;
		now = bench_now_ns();
	}
	return (double)n * 1e9 / (double)(now - start);
}

/* Private memory of both processes, plus shared memory once: what is mapped, or what lies in files, whichever is more. */
static double total_kib(qb_ipcc_connection_t *c)
{
	struct state_reply server;
	struct usage own;
	uint64_t mapped, stored;

	client_state(c, &server);
	usage_read(&own);
	mapped = own.pss_shmem_kib + server.usage.pss_shmem_kib;
	stored = shm_files_kib((pid_t)server.pid) + own.memfd_kib;
	return (double)(own.pss_kib + server.usage.pss_kib) - (double)mapped + (double)(mapped > stored ? mapped : stored);
}

double client_idle_kib(const char *name, unsigned connections)
{
	qb_ipcc_connection_t *c = client_connect(name, MAX_MSG), **idle = calloc(connections, sizeof *idle);
	double before, after;

	if (idle == NULL) {
		die("calloc", ENOMEM);
	}
	(void)total_kib(c); /* touches what stdio and the loop need once */
	before = total_kib(c);
	for (unsigned i = 0; i < connections; i++) {
		idle[i] = client_connect(name, 12400);
	}
	after = total_kib(c);
	for (unsigned i = 0; i < connections; i++) {
		qb_ipcc_disconnect(idle[i]);
	}
	qb_ipcc_disconnect(c);
	free(idle);
	return (after - before) / connections;
}

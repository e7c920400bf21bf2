/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A client of the echo service: measures round trips of a few sizes, then takes some events.
 *
 *     echo-client [NAME] [SECONDS PER SIZE]
 *
 * Every answer is checked; the exit status is 0 only when all were right. Build it with
 *
 *     cc -o echo-client echo-client.c $(pkg-config --cflags --libs libqb)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <qb/qbipcc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>

#include "echo.h"

enum { MAX_SAMPLES = 1000000, TICKS = 10000, WAIT_MS = 5000 };

static char text[ECHO_MAX_MSG];
static union {
	struct echo_response response;
	char bytes[ECHO_MAX_MSG];
} in;
static double samples[MAX_SAMPLES]; /* microseconds */

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Sends `len` bytes of text and expects them back. The parts of a request need not lie together in memory. */
static int round_trip(qb_ipcc_connection_t *c, size_t len)
{
	struct qb_ipc_request_header hdr = { .id = ECHO_REQUEST, .size = (int32_t)(sizeof hdr + len) };
	struct iovec parts[2] = { { &hdr, sizeof hdr }, { text, len } };
	ssize_t got = qb_ipcc_sendv_recv(c, parts, 2, &in, sizeof in, WAIT_MS);

	if (got < 0) {
		fprintf(stderr, "round trip: %s\n", strerror((int)-got));
		return -1;
	}
	if ((size_t)got != sizeof in.response + len || in.response.hdr.error != 0 || memcmp(in.response.text, text, len) != 0) {
		fprintf(stderr, "round trip of %zu bytes: a wrong answer of %zd bytes (error %d)\n", len, got, in.response.hdr.error);
		return -1;
	}
	return 0;
}

/* As many round trips as fit into the time, and one line about them. */
static int measure(qb_ipcc_connection_t *c, size_t len, double seconds)
{
	double start = now_us(), then = start, now = start;
	size_t n = 0;

	while (n < MAX_SAMPLES && (now - start < seconds * 1e6 || n == 0)) {
		text[n % len] = (char)n; /* so that no answer can be an old one */
		if (round_trip(c, len) != 0) {
			return -1;
		}
		now = now_us();
		samples[n++] = now - then;
		then = now;
	}
	qsort(samples, n, sizeof *samples, by_value);
	printf("%9zu %14.0f %10.1f %10.1f %10.1f\n", len, (double)n * 1e6 / (now - start), samples[n / 2], samples[n * 99 / 100],
	       samples[n - 1]);
	return 0;
}

/* Events come without being asked for, once the server has a reason to send them. */
static int take_ticks(qb_ipcc_connection_t *c)
{
	struct ticks_request request = { .hdr = { .id = ECHO_TICKS, .size = sizeof request }, .count = TICKS };
	struct iovec part = { &request, sizeof request };
	double start = now_us();
	ssize_t rc = qb_ipcc_sendv_recv(c, &part, 1, &in, sizeof in, WAIT_MS);

	if (rc < 0 || in.response.hdr.error != 0) {
		fprintf(stderr, "ticks: %s\n", strerror(rc < 0 ? (int)-rc : -in.response.hdr.error));
		return -1;
	}
	for (uint32_t i = 1; i <= TICKS; i++) {
		struct tick_event tick;

		rc = qb_ipcc_event_recv(c, &tick, sizeof tick, WAIT_MS);
		if (rc != sizeof tick || tick.hdr.id != ECHO_TICK || tick.number != i) {
			fprintf(stderr, "event %u: result %zd\n", i, rc);
			return -1;
		}
	}
	printf("%u events in order, %.0f per second\n", TICKS, TICKS * 1e6 / (now_us() - start));
	return 0;
}

int main(int argc, char **argv)
{
	static const size_t sizes[] = { 64, 4096, 131072 };
	const char *name = argc > 1 ? argv[1] : ECHO_SERVICE;
	double seconds = argc > 2 ? atof(argv[2]) : 1.0;
	qb_ipcc_connection_t *c = qb_ipcc_connect(name, ECHO_MAX_MSG);
	int failed = 0;

	if (c == NULL) {
		fprintf(stderr, "%s: %s\n", name, strerror(errno));
		return 1;
	}
	printf("%9s %14s %10s %10s %10s\n", "bytes", "round trips/s", "p50 us", "p99 us", "max us");
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes && !failed; i++) {
		failed = measure(c, sizes[i], seconds) != 0;
	}
	failed = failed || take_ticks(c) != 0;
	qb_ipcc_disconnect(c);
	return failed;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The part of rb.c with two sides: a ring that is opened again, threads, processes, signals and forks. */
#ifndef RB_SHARED_H
#define RB_SHARED_H

#include "rb-common.h"

#include <pthread.h>
#include <signal.h>

static void a_missing_ring_cannot_be_opened(void)
{
	errno = 0;
	CHECK(qb_rb_open(ring_name(), 1000, 0, 0) == NULL);
	CHECK_EQ(errno, ENOENT);
}

static void an_opened_ring_is_the_same_ring(void)
{
	qb_ringbuffer_t *rb = qb_rb_open(ring_name(), 1000, QB_RB_FLAG_CREATE | QB_RB_FLAG_SHARED_PROCESS, 100);
	qb_ringbuffer_t *other;
	char *area, *area2;

	CHECK_EQ(qb_rb_chunk_write(rb, "abc", 3), 3);
	other = qb_rb_open(ring_name(), 1000, QB_RB_FLAG_SHARED_PROCESS, 100);
	CHECK(other != NULL);
	CHECK_EQ(qb_rb_refcount_get(rb), 2);
	CHECK_EQ(qb_rb_refcount_get(other), 2);
	CHECK_EQ(qb_rb_chunks_used(other), 1);
	CHECK_EQ(qb_rb_chunk_read(other, buffer, 10, 0), 3);
	CHECK_EQ(qb_rb_chunk_write(other, "de", 2), 2);
	CHECK_EQ(qb_rb_chunk_read(rb, buffer, 10, 0), 2);
	area = qb_rb_shared_user_data_get(rb);
	area2 = qb_rb_shared_user_data_get(other);
	CHECK(area != NULL && area2 != NULL && area != area2);
	memset(area, 0x5a, 100);
	CHECK_EQ(area2[0], 0x5a);
	CHECK_EQ(area2[99], 0x5a);
	qb_rb_close(other);
	CHECK_EQ(qb_rb_refcount_get(rb), 1);
	CHECK_EQ(access(file_of("header"), F_OK), 0);
	qb_rb_close(rb);
	CHECK_EQ(access(file_of("header"), F_OK), -1);
}

static void opening_for_one_process_empties_the_count(void)
{
	qb_ringbuffer_t *rb = make(1000, 0), *other;

	CHECK_EQ(qb_rb_chunk_write(rb, "abc", 3), 3);
	other = qb_rb_open(ring_name(), 1000, QB_RB_FLAG_NO_SEMAPHORE, 0);
	CHECK_EQ(qb_rb_chunks_used(rb), 1);
	CHECK_EQ(qb_rb_chunks_used(other), -ENOTSUP);
	qb_rb_close(other);
	other = qb_rb_open(ring_name(), 1000, 0, 0);
	CHECK_EQ(qb_rb_chunks_used(rb), 0);
	qb_rb_close(other);
	qb_rb_close(rb);
}

/* The maker's length counts, whatever the other side thinks it is. */
static void a_wrong_size_does_not_resize_the_ring(void)
{
	qb_ringbuffer_t *rb = make(60000, QB_RB_FLAG_SHARED_PROCESS), *other;

	other = qb_rb_open(ring_name(), 100, QB_RB_FLAG_SHARED_PROCESS, 0);
	CHECK(other != NULL);
	CHECK_EQ(length_of(file_of("data")), 61440);
	memset(buffer, 7, 50000);
	CHECK_EQ(qb_rb_chunk_write(rb, buffer, 50000), 50000);
	CHECK_EQ(qb_rb_chunk_read(other, buffer, sizeof buffer, 0), 50000);
	CHECK_EQ(buffer[49999], 7);
	qb_rb_close(other);
	qb_rb_close(rb);
}

struct crossing {
	qb_ringbuffer_t *rb;
	int count;
};

static void send_all(struct crossing *c)
{
	char chunk[600];

	for (int i = 0; i < c->count; i++) {
		size_t len = 4 + i % 500;
		memset(chunk, i, len);
		memcpy(chunk, &i, 4);
		while (qb_rb_chunk_write(c->rb, chunk, len) == -EAGAIN) {
			usleep(50);
		}
	}
}

static void receive_all(struct crossing *c)
{
	char chunk[600];

	for (int i = 0; i < c->count; i++) {
		ssize_t len = qb_rb_chunk_read(c->rb, chunk, sizeof chunk, 10000);
		int got = -1;

		memcpy(&got, chunk, 4);
		if (len != 4 + i % 500 || got != i || (len > 4 && chunk[len - 1] != (char)i)) {
			CHECK_EQ(len, 4 + i % 500);
			CHECK_EQ(got, i);
			return;
		}
	}
	CHECK_EQ(qb_rb_chunks_used(c->rb), 0);
}

static void *sender(void *arg)
{
	send_all(arg);
	return NULL;
}

static void a_thread_hands_chunks_to_another(void)
{
	struct crossing c = { make(4000, QB_RB_FLAG_SHARED_THREAD), 50000 };
	pthread_t thread;

	CHECK_EQ(pthread_create(&thread, NULL, sender, &c), 0);
	receive_all(&c);
	pthread_join(thread, NULL);
	qb_rb_close(c.rb);
}

static void a_process_hands_chunks_to_another(void)
{
	struct crossing c = { make(4000, QB_RB_FLAG_SHARED_PROCESS), 50000 };
	int status;
	pid_t child = fork();

	if (child == 0) {
		snprintf(name_, sizeof name_, "rs-ctest-%d", (int)getppid());
		c.rb = qb_rb_open(name_, 4000, QB_RB_FLAG_SHARED_PROCESS, 0);
		CHECK(c.rb != NULL);
		receive_all(&c);
		qb_rb_close(c.rb);
		fflush(stdout);
		_exit(check_bad != 0);
	}
	send_all(&c);
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK_EQ(status, 0);
	CHECK_EQ(qb_rb_refcount_get(c.rb), 1);
	qb_rb_close(c.rb);
}

static void nothing(int signal)
{
	(void)signal;
}

/* A signal handler that runs meanwhile does not end the wait. */
static void interrupted_waits_go_on(void)
{
	qb_ringbuffer_t *rb = make(1000, 0);
	struct sigaction act = { .sa_handler = nothing };
	struct timespec start;
	pid_t child, parent = getpid();

	sigaction(SIGUSR1, &act, NULL);
	child = fork();
	if (child == 0) {
		for (int i = 0; i < 5; i++) {
			usleep(20000);
			kill(parent, SIGUSR1);
		}
		_exit(0);
	}
	clock_gettime(CLOCK_MONOTONIC, &start);
	CHECK_EQ(qb_rb_chunk_read(rb, buffer, 10, 250), -ETIMEDOUT);
	CHECK(ms_since(&start) >= 240 || on_reference());
	waitpid(child, NULL, 0);
	qb_rb_close(rb);
}

/* A child that closes what it inherited takes nothing from the parent. */
static void a_forked_child_does_not_remove_the_ring(void)
{
	qb_ringbuffer_t *rb = make(1000, QB_RB_FLAG_SHARED_PROCESS);
	pid_t child = fork();

	if (child == 0) {
		qb_rb_close(rb);
		_exit(0);
	}
	waitpid(child, NULL, 0);
	CHECK_EQ(qb_rb_refcount_get(rb), 1);
	CHECK_EQ(access(file_of("header"), F_OK), 0);
	CHECK_EQ(qb_rb_chunk_write(rb, "abc", 3), 3);
	qb_rb_close(rb);
}

#endif

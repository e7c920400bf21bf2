/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Ring buffers: writing and reading, in one process, between threads and between processes. */
#include "rb-common.h"
#include "rb-shared.h"

/* The words of a file of the ring, as another process would see them. */
static uint32_t word_of(const char *ending, off_t index)
{
	uint32_t word = 0xdeadbeef;
	int fd = open(file_of(ending), O_RDONLY);
	CHECK_EQ(pread(fd, &word, sizeof word, index * 4), sizeof word);
	close(fd);
	return word;
}

static void null_arguments_are_refused(void)
{
	void *data = &data;

	CHECK_EQ(qb_rb_chunk_write(NULL, "x", 1), -EINVAL);
	errno = 0;
	CHECK(qb_rb_chunk_alloc(NULL, 1) == NULL);
	CHECK_EQ(errno, EINVAL);
	CHECK_EQ(qb_rb_chunk_commit(NULL, 1), -EINVAL);
	CHECK_EQ(qb_rb_chunk_peek(NULL, &data, 0), -EINVAL);
	CHECK_EQ(qb_rb_chunk_read(NULL, buffer, 1, 0), -EINVAL);
	CHECK_EQ(qb_rb_space_free(NULL), -EINVAL);
	CHECK_EQ(qb_rb_space_used(NULL), -EINVAL);
	CHECK_EQ(qb_rb_chunks_used(NULL), -EINVAL);
	CHECK_EQ(qb_rb_refcount_get(NULL), -EINVAL);
	CHECK_EQ(qb_rb_write_to_file(NULL, 1), -EINVAL);
	CHECK_EQ(qb_rb_chown(NULL, 0, 0), -EINVAL);
	CHECK_EQ(qb_rb_chmod(NULL, 0600), -EINVAL);
	CHECK(qb_rb_name_get(NULL) == NULL);
	CHECK(qb_rb_shared_user_data_get(NULL) == NULL);
	CHECK(qb_rb_create_from_file(-1, 0) == NULL);
	qb_rb_chunk_reclaim(NULL);
	qb_rb_close(NULL);
}

static void null_buffers_and_names_are_refused(void)
{
	qb_ringbuffer_t *rb;

	errno = 0;
	CHECK(qb_rb_open(NULL, 1000, QB_RB_FLAG_CREATE, 0) == NULL);
	CHECK_EQ(errno, EINVAL);
	rb = make(1000, 0);
	CHECK_EQ(qb_rb_chunk_write(rb, NULL, 4), -EINVAL);
	CHECK_EQ(qb_rb_chunk_write(rb, "abcd", 4), 4);
	CHECK_EQ(qb_rb_chunk_peek(rb, NULL, 0), -EINVAL);
	CHECK_EQ(qb_rb_chunk_read(rb, NULL, 4, 0), -EINVAL);
	CHECK_EQ(qb_rb_chunks_used(rb), 1);
	qb_rb_close(rb);
}

static void absurd_lengths_are_refused(void)
{
	qb_ringbuffer_t *rb;

	CHECK(qb_rb_open(ring_name(), (size_t)-1, QB_RB_FLAG_CREATE, 0) == NULL);
	CHECK(qb_rb_open(ring_name(), (size_t)1 << 50, QB_RB_FLAG_CREATE, 0) == NULL);
	CHECK(qb_rb_open(ring_name(), 1000, QB_RB_FLAG_CREATE, (size_t)-1) == NULL);
	CHECK_EQ(access(file_of("header"), F_OK), -1);
	CHECK_EQ(access(file_of("data"), F_OK), -1);
	rb = make(1000, 0);
	errno = 0;
	CHECK(qb_rb_chunk_alloc(rb, (size_t)-1) == NULL);
	CHECK_EQ(errno, EAGAIN);
	CHECK(qb_rb_chunk_alloc(rb, (size_t)-12) == NULL);
	CHECK(qb_rb_chunk_alloc(rb, 10) != NULL);
	CHECK_EQ(qb_rb_chunk_commit(rb, 5000), -EINVAL);
	CHECK_EQ(qb_rb_chunk_commit(rb, (size_t)-1), -EINVAL);
	CHECK_EQ(qb_rb_space_free(rb), 4096);
	CHECK_EQ(qb_rb_chunk_write(rb, "abc", 3), 3);
	CHECK_EQ(qb_rb_chunk_read(rb, buffer, 10, 0), 3);
	qb_rb_close(rb);
}

static void a_new_ring_is_empty_and_has_two_files(void)
{
	qb_ringbuffer_t *rb = make(1000, 0);

	CHECK_STR(qb_rb_name_get(rb), file_of("header"));
	CHECK_EQ(length_of(file_of("header")), 8248);
	CHECK_EQ(length_of(file_of("data")), 4096);
	CHECK_EQ(qb_rb_space_free(rb), 4096);
	CHECK_EQ(qb_rb_space_used(rb), 0);
	CHECK_EQ(qb_rb_chunks_used(rb), 0);
	CHECK_EQ(qb_rb_refcount_get(rb), 1);
	CHECK_EQ(word_of("header", 0), 0);
	CHECK_EQ(word_of("header", 1), 0);
	CHECK_EQ(word_of("header", 2), 1024);
	CHECK_EQ(word_of("data", 0), 5);
	CHECK_EQ(word_of("data", 1), 0);
	qb_rb_close(rb);
	CHECK_EQ(access(file_of("header"), F_OK), -1);
	CHECK_EQ(access(file_of("data"), F_OK), -1);
}

static void sizes_are_rounded_to_pages_with_a_margin(void)
{
	static const struct {
		size_t size;
		off_t length;
	} cases[] = { { 0, 4096 }, { 1, 4096 }, { 4083, 4096 }, { 4084, 8192 }, { 4096, 8192 }, { 65536, 69632 } };

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		qb_ringbuffer_t *rb = qb_rb_open(ring_name(), cases[i].size, QB_RB_FLAG_CREATE, i * 10);
		CHECK(rb != NULL);
		CHECK_EQ(length_of(file_of("data")), cases[i].length);
		CHECK_EQ(length_of(file_of("header")), 8248 + i * 10);
		qb_rb_close(rb);
	}
}

static void chunks_have_the_layout_of_the_wire(void)
{
	qb_ringbuffer_t *rb = make(1000, QB_RB_FLAG_SHARED_PROCESS);

	CHECK_EQ(qb_rb_chunk_write(rb, "abcde", 5), 5);
	CHECK_EQ(word_of("data", 0), 5);
	CHECK_EQ(word_of("data", 1), 0xa1a1a1a1);
	CHECK_EQ(word_of("data", 2), 0x64636261);
	CHECK_EQ(word_of("data", 3) & 0xff, 'e');
	CHECK_EQ(word_of("header", 0), 4);
	CHECK_EQ(word_of("header", 1), 0);
	CHECK_EQ(word_of("header", 8208 / 4), 1);
	CHECK_EQ(word_of("header", 8216 / 4), 128);
	CHECK_EQ(qb_rb_space_used(rb), 16);
	CHECK_EQ(qb_rb_space_free(rb), 4076);
	CHECK_EQ(qb_rb_chunk_read(rb, buffer, sizeof buffer, 0), 5);
	CHECK_EQ(word_of("data", 0), 0);
	CHECK_EQ(word_of("data", 1), 0xd0d0d0d0);
	CHECK_EQ(word_of("header", 1), 4);
	CHECK_EQ(word_of("header", 8208 / 4), 0);
	CHECK(qb_rb_chunk_alloc(rb, 8) != NULL);
	CHECK_EQ(word_of("data", 4), 0);
	CHECK_EQ(word_of("data", 5), 0xa110ced0);
	CHECK_EQ(word_of("header", 0), 4);
	CHECK_EQ(qb_rb_chunk_commit(rb, 8), 0);
	CHECK_EQ(word_of("header", 0), 8);
	qb_rb_close(rb);
	rb = make(1000, 0);
	CHECK_EQ(word_of("header", 8216 / 4), 0);
	qb_rb_close(rb);
}

static void chunks_of_every_length_come_back_in_order(void)
{
	qb_ringbuffer_t *rb = make(60000, 0);

	for (int round = 0; round < 20; round++) {
		for (int len = 0; len < 300; len++) {
			memset(buffer, len + round, len);
			CHECK_EQ(qb_rb_chunk_write(rb, buffer, len), len);
		}
		CHECK_EQ(qb_rb_chunks_used(rb), 300);
		for (int len = 0; len < 300; len++) {
			CHECK_EQ(qb_rb_chunk_read(rb, buffer, sizeof buffer, 0), len);
			for (int i = 0; i < len; i++) {
				if (buffer[i] != (char)(len + round)) {
					CHECK(buffer[i] == (char)(len + round));
					return;
				}
			}
		}
		CHECK_EQ(qb_rb_chunks_used(rb), 0);
	}
	qb_rb_close(rb);
}

static void allocated_chunks_are_linear_and_may_shrink(void)
{
	qb_ringbuffer_t *rb = make(4000, 0);
	void *seen;

	for (int i = 0; i < 500; i++) {
		char *room = qb_rb_chunk_alloc(rb, 3000);
		CHECK(room != NULL);
		memset(room, i, 3000);
		CHECK_EQ(qb_rb_chunk_peek(rb, &seen, 0), 0);
		CHECK_EQ(qb_rb_chunk_commit(rb, 1000 + i % 7), 0);
		seen = NULL;
		CHECK_EQ(qb_rb_chunk_peek(rb, &seen, 0), 1000 + i % 7);
		CHECK(seen != NULL && ((char *)seen)[0] == (char)i && ((char *)seen)[999] == (char)i);
		qb_rb_chunk_reclaim(rb);
	}
	CHECK_EQ(qb_rb_space_used(rb), 0);
	qb_rb_close(rb);
}

static void commit_without_alloc_makes_a_chunk(void)
{
	qb_ringbuffer_t *rb = make(1000, 0);
	void *seen;

	CHECK_EQ(qb_rb_chunk_commit(rb, 4), 0);
	CHECK_EQ(qb_rb_chunks_used(rb), 1);
	CHECK_EQ(qb_rb_chunk_peek(rb, &seen, 0), 4);
	qb_rb_close(rb);
}

static void a_full_ring_says_again_and_keeps_its_chunks(void)
{
	qb_ringbuffer_t *rb = make(1000, 0);
	int sent = 0;

	CHECK_EQ(qb_rb_chunk_write(rb, buffer, 4085), -EAGAIN);
	CHECK_EQ(qb_rb_chunk_write(rb, buffer, 4084), 4084);
	CHECK_EQ(qb_rb_chunk_read(rb, buffer, sizeof buffer, 0), 4084);
	while (qb_rb_chunk_write(rb, buffer, 100) == 100) {
		sent++;
	}
	CHECK_EQ(sent, 37);
	errno = 0;
	CHECK(qb_rb_chunk_alloc(rb, 100) == NULL);
	CHECK_EQ(errno, EAGAIN);
	CHECK_EQ(qb_rb_chunk_write(rb, buffer, 100), -EAGAIN);
	CHECK_EQ(qb_rb_chunks_used(rb), sent);
	while (qb_rb_chunk_read(rb, buffer, sizeof buffer, 0) == 100) {
		sent--;
	}
	CHECK_EQ(sent, 0);
	qb_rb_close(rb);
}

static void a_short_buffer_leaves_the_chunk(void)
{
	qb_ringbuffer_t *rb = make(1000, 0);

	CHECK_EQ(qb_rb_chunk_write(rb, "abcde", 5), 5);
	CHECK_EQ(qb_rb_chunk_read(rb, buffer, 4, 0), -ENOBUFS);
	CHECK_EQ(qb_rb_chunk_read(rb, NULL, 0, 0), -ENOBUFS);
	CHECK_EQ(qb_rb_chunks_used(rb), 1);
	CHECK_EQ(qb_rb_chunk_read(rb, buffer, 5, 0), 5);
	CHECK_EQ(memcmp(buffer, "abcde", 5), 0);
	CHECK_EQ(qb_rb_chunk_write(rb, "fghij", 5), 5);
	CHECK_EQ(qb_rb_chunk_read(rb, buffer, SIZE_MAX, 0), 5); /* any length is long enough */
	CHECK_EQ(memcmp(buffer, "fghij", 5), 0);
	qb_rb_close(rb);
}

/* The reference waits for a wall-clock time, and the wall clock may be set meanwhile. */
static void waits_end_with_the_time(void)
{
	qb_ringbuffer_t *rb = make(1000, 0);
	struct timespec start;
	void *seen;

	CHECK_EQ(qb_rb_chunk_read(rb, buffer, 10, 0), -ETIMEDOUT);
	errno = 0;
	CHECK_EQ(qb_rb_chunk_peek(rb, &seen, 0), 0);
	CHECK_EQ(errno, EAGAIN);
	clock_gettime(CLOCK_MONOTONIC, &start);
	CHECK_EQ(qb_rb_chunk_read(rb, buffer, 10, 60), -ETIMEDOUT);
	CHECK(ms_since(&start) >= 55 || on_reference());
	clock_gettime(CLOCK_MONOTONIC, &start);
	errno = 0;
	CHECK_EQ(qb_rb_chunk_peek(rb, &seen, 60), 0);
	CHECK_EQ(errno, ETIMEDOUT);
	CHECK(ms_since(&start) >= 55 || on_reference());
	qb_rb_close(rb);
}

static void nothing_to_reclaim_sets_errno(void)
{
	qb_ringbuffer_t *rb = make(1000, 0);

	errno = 0;
	qb_rb_chunk_reclaim(rb);
	CHECK_EQ(errno, EINVAL);
	CHECK_EQ(qb_rb_chunk_write(rb, "abc", 3), 3);
	errno = 0;
	qb_rb_chunk_reclaim(rb);
	CHECK_EQ(errno, 0);
	/* The count stays behind: there is nothing to be had for it. */
	CHECK_EQ(qb_rb_chunks_used(rb), 1);
	CHECK_EQ(qb_rb_chunk_read(rb, buffer, 10, 0), -EBADMSG);
	CHECK_EQ(qb_rb_chunks_used(rb), 1);
	CHECK_EQ_COMPAT(qb_rb_space_free(rb), 0, 4096, "rb-leftover-count");
	qb_rb_close(rb);
}

static void a_peeked_chunk_takes_a_count_and_stays(void)
{
	qb_ringbuffer_t *rb = make(1000, 0);
	void *seen;

	CHECK_EQ(qb_rb_chunk_write(rb, "abc", 3), 3);
	CHECK_EQ(qb_rb_chunk_peek(rb, &seen, 0), 3);
	CHECK_EQ(qb_rb_chunks_used(rb), 0);
	CHECK_EQ(qb_rb_chunk_peek(rb, &seen, 0), 0);
	CHECK_EQ(qb_rb_space_used(rb), 12);
	qb_rb_chunk_reclaim(rb);
	CHECK_EQ(qb_rb_space_used(rb), 0);
	qb_rb_close(rb);
}

static void without_a_semaphore_nothing_waits_or_counts(void)
{
	qb_ringbuffer_t *rb = make(1000, QB_RB_FLAG_NO_SEMAPHORE);
	void *seen;

	CHECK_EQ(qb_rb_chunks_used(rb), -ENOTSUP);
	CHECK_EQ(qb_rb_chunk_peek(rb, &seen, -1), -EBADMSG);
	CHECK_EQ(qb_rb_chunk_read(rb, buffer, 10, -1), -ETIMEDOUT);
	CHECK_EQ(qb_rb_chunk_write(rb, "abc", 3), 3);
	CHECK_EQ(qb_rb_chunk_peek(rb, &seen, 0), 3);
	CHECK_EQ(qb_rb_chunk_peek(rb, &seen, 0), 3);
	CHECK_EQ(qb_rb_chunk_read(rb, buffer, 2, 0), -ENOBUFS);
	CHECK_EQ(qb_rb_chunk_read(rb, buffer, 3, 0), 3);
	CHECK_EQ(qb_rb_chunk_read(rb, buffer, 3, 50), -ETIMEDOUT);
	qb_rb_close(rb);
}

static void overwriting_drops_the_oldest(void)
{
	qb_ringbuffer_t *rb = make(1, QB_RB_FLAG_OVERWRITE | QB_RB_FLAG_NO_SEMAPHORE);

	for (int i = 0; i < 400; i++) {
		memset(buffer, i, 200);
		CHECK_EQ(qb_rb_chunk_write(rb, buffer, 200), 200);
	}
	for (int i = 400 - 19; i < 400; i++) {
		CHECK_EQ(qb_rb_chunk_read(rb, buffer, sizeof buffer, 0), 200);
		CHECK_EQ(buffer[0], (char)i);
		CHECK_EQ(buffer[199], (char)i);
	}
	CHECK_EQ(qb_rb_chunk_read(rb, buffer, sizeof buffer, 0), -ETIMEDOUT);
	CHECK_EQ(qb_rb_chunk_write(rb, buffer, 4084), 4084);
	CHECK_EQ(qb_rb_chunk_write(rb, buffer, 4084), 4084);
	errno = 0;
	CHECK(qb_rb_chunk_alloc(rb, 4085) == NULL);
	CHECK_EQ(errno, EINVAL);
	qb_rb_close(rb);
}

static void overwriting_with_a_semaphore_counts_what_is_there(void)
{
	qb_ringbuffer_t *rb = make(1, QB_RB_FLAG_OVERWRITE);

	for (int i = 0; i < 40; i++) {
		memset(buffer, i, 200);
		CHECK_EQ(qb_rb_chunk_write(rb, buffer, 200), 200);
	}
	CHECK_EQ_COMPAT(qb_rb_chunks_used(rb), 40, 19, "rb-overwrite-count");
	for (int i = 21; i < 40; i++) {
		CHECK_EQ(qb_rb_chunk_read(rb, buffer, sizeof buffer, 0), 200);
		CHECK_EQ(buffer[0], i);
	}
	CHECK_EQ_COMPAT(qb_rb_chunk_read(rb, buffer, sizeof buffer, 0), -EBADMSG, -ETIMEDOUT, "rb-overwrite-count");
	CHECK_EQ_COMPAT(qb_rb_chunk_write(rb, buffer, 4084), -EINVAL, 4084, "rb-overwrite-count");
	qb_rb_close(rb);
}

static void a_chunk_that_never_fits_costs_no_other_its_place(void)
{
	qb_ringbuffer_t *rb = make(1000, QB_RB_FLAG_OVERWRITE | QB_RB_FLAG_NO_SEMAPHORE);

	CHECK_EQ(qb_rb_chunk_write(rb, "abcde", 5), 5);
	CHECK_EQ(qb_rb_chunk_write(rb, buffer, 4085), -EINVAL);
	CHECK_EQ_COMPAT(qb_rb_chunk_read(rb, buffer, 10, 0), -ETIMEDOUT, 5, "rb-overwrite-long");
	qb_rb_close(rb);
}

int main(void)
{
	RUN(null_arguments_are_refused);
	RUN_OURS(null_buffers_and_names_are_refused, "rb-null-buffer");
	RUN_OURS(absurd_lengths_are_refused, "rb-absurd-length");
	RUN(a_new_ring_is_empty_and_has_two_files);
	RUN(sizes_are_rounded_to_pages_with_a_margin);
	RUN(chunks_have_the_layout_of_the_wire);
	RUN(chunks_of_every_length_come_back_in_order);
	RUN(allocated_chunks_are_linear_and_may_shrink);
	RUN(commit_without_alloc_makes_a_chunk);
	RUN(a_full_ring_says_again_and_keeps_its_chunks);
	RUN(a_short_buffer_leaves_the_chunk);
	RUN(waits_end_with_the_time);
	RUN(nothing_to_reclaim_sets_errno);
	RUN(a_peeked_chunk_takes_a_count_and_stays);
	RUN(without_a_semaphore_nothing_waits_or_counts);
	RUN(overwriting_drops_the_oldest);
	RUN(overwriting_with_a_semaphore_counts_what_is_there);
	RUN(a_chunk_that_never_fits_costs_no_other_its_place);
	RUN(a_missing_ring_cannot_be_opened);
	RUN(an_opened_ring_is_the_same_ring);
	RUN(opening_for_one_process_empties_the_count);
	RUN_OURS(a_wrong_size_does_not_resize_the_ring, "rb-open-length");
	RUN(a_thread_hands_chunks_to_another);
	RUN(a_process_hands_chunks_to_another);
	RUN(interrupted_waits_go_on);
	RUN_OURS(a_forked_child_does_not_remove_the_ring, "rb-fork-close");
	return check_done();
}

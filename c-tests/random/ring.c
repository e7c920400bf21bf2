/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Random operations on one ring buffer, of every kind, and on copies that went through a file. Kept away from: a chunk that is too
 * long for a ring with OVERWRITE (rb-overwrite-long), OVERWRITE with a semaphore (rb-overwrite-count), reclaiming what was not
 * peeked while there is a semaphore (rb-leftover-count), and data that looks like the mark of a chunk.
 */
#define _GNU_SOURCE
#include "random.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <qb/qbrb.h>

static char buffer[300000];

static int64_t sum(const void *data, ssize_t len)
{
	const unsigned char *at = data;
	uint64_t hash = 5381;

	for (ssize_t i = 0; i < len; i++) {
		hash = hash * 33 + at[i];
	}
	return (int64_t)(hash >> 1);
}

static ssize_t read_one(qb_ringbuffer_t *rb, const char *what, size_t room)
{
	ssize_t len = qb_rb_chunk_read(rb, buffer, room, 0);

	note(what, len, sum(buffer, len), 0);
	return len;
}

/* The library prints a summary on stdout, which is of no interest here. */
static int mute(void)
{
	int out, null;

	fflush(stdout);
	out = dup(1);
	null = open("/dev/null", O_WRONLY);
	dup2(null, 1);
	close(null);
	return out;
}

static void unmute(int out)
{
	fflush(stdout);
	dup2(out, 1);
	close(out);
}

static void save_and_load(qb_ringbuffer_t *rb)
{
	int fd = memfd_create("dump", 0), out = mute();
	ssize_t len = qb_rb_write_to_file(rb, fd);
	char *all = mmap(NULL, (size_t)len, PROT_READ, MAP_SHARED, fd, 0);
	qb_ringbuffer_t *copy;

	note("save", len, all == MAP_FAILED ? -1 : sum(all, len), 0);
	munmap(all, (size_t)len);
	lseek(fd, 0, SEEK_SET);
	copy = qb_rb_create_from_file(fd, 0);
	close(fd);
	unmute(out);
	note("load", copy != NULL, 0, 0);
	if (copy == NULL) {
		return;
	}
	note("loaded", qb_rb_space_free(copy), qb_rb_space_used(copy), qb_rb_chunks_used(copy));
	for (int i = 0; i < 20 && read_one(copy, "loaded read", sizeof buffer) >= 0; i++) {
	}
	note("loaded write", qb_rb_chunk_write(copy, buffer, 10), 0, 0);
	qb_rb_close(copy);
}

struct ring {
	qb_ringbuffer_t *rb;
	uint32_t flags;
	size_t longest; /* bytes of data that ever fit */
	int peeked;
	int room; /* a chunk is allocated and not committed */
	size_t room_len;
};

static size_t random_length(const struct ring *r)
{
	size_t len = rnd(10) == 0 ? rnd((uint32_t)r->longest + 32) : rnd(4) ? rnd(60) : rnd((uint32_t)r->longest / 3);

	return (r->flags & QB_RB_FLAG_OVERWRITE) && len > r->longest ? r->longest : len;
}

static void write_one(struct ring *r, long i)
{
	size_t len = random_length(r);
	ssize_t done;

	memset(buffer, (int)i & 0x7f, len);
	errno = 0;
	done = qb_rb_chunk_write(r->rb, buffer, len);
	note("write", done, (int64_t)len, done < 0 ? errno : 0);
	r->room = r->room && done < 0;
}

static void peek_one(struct ring *r)
{
	void *data = NULL;
	ssize_t len;

	errno = 0;
	len = qb_rb_chunk_peek(r->rb, &data, 0);
	note("peek", len, data != NULL ? sum(data, len) : 0, len == 0 && data == NULL ? errno : 0);
	r->peeked |= data != NULL;
}

static void alloc_one(struct ring *r, long i)
{
	size_t len = random_length(r);
	char *at;

	errno = 0;
	at = qb_rb_chunk_alloc(r->rb, len);
	note("alloc", at != NULL, (int64_t)len, at != NULL ? 0 : errno);
	if (at != NULL) {
		memset(at, (int)(i + 7) & 0x7f, len);
	}
	r->room = at != NULL;
	r->room_len = len;
}

static void one_operation(struct ring *r, long i)
{
	size_t len;

	switch (rnd(14)) {
	case 0: case 1: case 2: case 3:
		write_one(r, i);
		break;
	case 4: case 5: case 6:
		if (read_one(r->rb, "read", rnd(8) ? sizeof buffer : rnd(60)) >= 0) {
			r->peeked = 0;
		}
		break;
	case 7:
		peek_one(r);
		break;
	case 8:
		if (r->peeked || ((r->flags & QB_RB_FLAG_NO_SEMAPHORE) && rnd(20) == 0)) {
			errno = 0;
			qb_rb_chunk_reclaim(r->rb);
			note("reclaim", errno, 0, 0);
			r->peeked = 0;
		}
		break;
	case 9:
		alloc_one(r, i);
		break;
	case 10:
		if (r->room) {
			len = rnd(2) ? r->room_len : rnd((uint32_t)r->room_len + 1);
			note("commit", qb_rb_chunk_commit(r->rb, len), (int64_t)len, 0);
			r->room = 0;
		}
		break;
	case 11:
		note("free", qb_rb_space_free(r->rb), 0, 0);
		break;
	case 12:
		note("used", qb_rb_space_used(r->rb), 0, 0);
		break;
	case 13:
		note("chunks", qb_rb_chunks_used(r->rb), qb_rb_refcount_get(r->rb), 0);
		if (rnd(100) == 0) {
			save_and_load(r->rb);
		}
		break;
	}
}

static void run(long operations)
{
	static const uint32_t kinds[] = {0, QB_RB_FLAG_NO_SEMAPHORE, QB_RB_FLAG_SHARED_PROCESS,
					 QB_RB_FLAG_OVERWRITE | QB_RB_FLAG_NO_SEMAPHORE};
	struct ring r = {.flags = QB_RB_FLAG_CREATE | kinds[rnd(4)]};
	size_t size = rnd(3) ? rnd(5000) : rnd(40000);
	char name[64];

	snprintf(name, sizeof name, "rs-random-%d", (int)getpid());
	r.longest = (size + 13 + 4095) / 4096 * 4096 - 12;
	r.rb = qb_rb_open(name, size, r.flags, rnd(50));
	note("open", r.rb != NULL, (int64_t)size, r.flags);
	for (long i = 0; i < operations && r.rb != NULL; i++) {
		one_operation(&r, i);
	}
	qb_rb_close(r.rb);
}

int main(int argc, char **argv)
{
	return for_each_seed(argc, argv, run);
}

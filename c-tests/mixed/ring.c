/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Two processes on two libraries share rings. Started as `ring make DIR`: makes the rings with the library it was started
 * with, and runs itself as `ring use NAME` with LD_LIBRARY_PATH=DIR. Both sides check what they read.
 */
#include "../check.h"

#include <fcntl.h>
#include <qb/qbrb.h>
#include <signal.h>
#include <sys/stat.h>

#define MESSAGES 30000
#define LONGEST 1500

static unsigned char message[LONGEST], seen[LONGEST + 10];

static size_t fill(int i)
{
	size_t len = 4 + (size_t)(i * 37 % (LONGEST - 4));

	memset(message, i, len);
	memcpy(message, &i, 4);
	return len;
}

static void put(qb_ringbuffer_t *rb, int i)
{
	size_t len = fill(i);
	ssize_t rc;

	while ((rc = qb_rb_chunk_write(rb, message, len)) == -EAGAIN) {
		usleep(20);
	}
	CHECK_EQ(rc, len);
}

static void put_in_place(qb_ringbuffer_t *rb, int i)
{
	size_t len = fill(i);
	void *room;

	while ((room = qb_rb_chunk_alloc(rb, LONGEST)) == NULL) {
		CHECK_EQ(errno, EAGAIN);
		usleep(20);
	}
	memcpy(room, message, len);
	CHECK_EQ(qb_rb_chunk_commit(rb, len), 0);
}

static void get(qb_ringbuffer_t *rb, int i)
{
	size_t len = fill(i);
	void *there = NULL;
	ssize_t rc;

	if (i % 2 == 0) {
		rc = qb_rb_chunk_read(rb, seen, sizeof seen, 20000);
		there = seen;
	} else {
		rc = qb_rb_chunk_peek(rb, &there, 20000);
	}
	if (rc != (ssize_t)len || memcmp(there, message, len) != 0) {
		printf("  message %d: %zd bytes, want %zu, or other bytes\n", i, rc, len);
		fflush(stdout);
		_exit(1);
	}
	if (i % 2 != 0) {
		qb_rb_chunk_reclaim(rb);
	}
}

static qb_ringbuffer_t *ring(const char *name, const char *which, uint32_t flags)
{
	char full[100];
	qb_ringbuffer_t *rb;

	snprintf(full, sizeof full, "%s-%s", name, which);
	rb = qb_rb_open(full, 6000, flags | QB_RB_FLAG_SHARED_PROCESS, 16);
	if (rb == NULL) {
		printf("  cannot open %s: %s\n", full, strerror(errno));
		exit(1);
	}
	return rb;
}

static int conclude(void)
{
	fflush(stdout);
	return check_bad != 0;
}

/* The other side: echoes everything, then takes part in one round trip at a time. */
static int use(const char *name)
{
	qb_ringbuffer_t *there = ring(name, "there", 0), *back = ring(name, "back", 0);
	uint32_t *area = qb_rb_shared_user_data_get(there);
	qb_ringbuffer_t *saved;
	char path[100];
	int fd;

	CHECK_EQ(qb_rb_refcount_get(there), 2);
	CHECK_EQ(area[0], 0x1234);
	CHECK_EQ(area[3], 0x5678);
	area[1] = 0x9abc;
	for (int i = 0; i < MESSAGES; i++) {
		get(there, i);
		if (i % 3 == 0) {
			put_in_place(back, i);
		} else {
			put(back, i);
		}
	}
	for (int i = 0; i < 2000; i++) {
		get(there, i);
		put(back, i);
	}
	snprintf(path, sizeof path, "/tmp/%s-dump", name);
	fd = open(path, O_RDONLY);
	saved = qb_rb_create_from_file(fd, 0);
	CHECK(saved != NULL);
	CHECK_EQ(qb_rb_chunk_read(saved, seen, sizeof seen, 0), 5);
	CHECK_EQ(memcmp(seen, "saved", 5), 0);
	qb_rb_close(saved);
	close(fd);
	qb_rb_close(there);
	qb_rb_close(back);
	return conclude();
}

static int make(const char *self, const char *dir)
{
	char name[60], path[100];
	qb_ringbuffer_t *there, *back, *kept;
	uint32_t *area;
	int status = -1, sent = 0, received = 0, fd;
	struct stat st;
	pid_t child;

	snprintf(name, sizeof name, "rs-mixed-%d", (int)getpid());
	snprintf(path, sizeof path, "/tmp/%s-dump", name);
	kept = ring(name, "kept", QB_RB_FLAG_CREATE);
	CHECK_EQ(qb_rb_chunk_write(kept, "saved", 5), 5);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
	CHECK(qb_rb_write_to_file(kept, fd) > 0);
	close(fd);
	qb_rb_close(kept);
	there = ring(name, "there", QB_RB_FLAG_CREATE);
	back = ring(name, "back", QB_RB_FLAG_CREATE);
	area = qb_rb_shared_user_data_get(there);
	area[0] = 0x1234;
	area[3] = 0x5678;
	fflush(stdout);
	child = fork();
	if (child == 0) {
		setenv("LD_LIBRARY_PATH", dir, 1);
		execl(self, self, "use", name, (char *)NULL);
		_exit(127);
	}
	while (received < MESSAGES) {
		for (int burst = 0; burst < 3 && sent < MESSAGES && qb_rb_space_free(there) > 2 * LONGEST; burst++) {
			put(there, sent++);
		}
		while (received < sent && (sent == MESSAGES || qb_rb_chunks_used(back) > 0)) {
			get(back, received++);
		}
	}
	CHECK_EQ(area[1], 0x9abc);
	CHECK_EQ(qb_rb_chunks_used(there), 0);
	CHECK_EQ(qb_rb_chunks_used(back), 0);
	for (int i = 0; i < 2000; i++) {
		put(there, i);
		get(back, i);
	}
	CHECK_EQ(waitpid(child, &status, 0), child);
	CHECK_EQ(status, 0);
	CHECK_EQ(qb_rb_refcount_get(there), 1);
	qb_rb_close(there);
	qb_rb_close(back);
	unlink(path);
	snprintf(path, sizeof path, "/dev/shm/qb-%s-there-data", name);
	CHECK_EQ(stat(path, &st), -1);
	return conclude();
}

int main(int argc, char **argv)
{
	alarm(100);
	if (argc == 3 && strcmp(argv[1], "make") == 0) {
		return make(argv[0], argv[2]);
	}
	if (argc == 3 && strcmp(argv[1], "use") == 0) {
		return use(argv[2]);
	}
	fprintf(stderr, "usage: ring make DIR-OF-THE-OTHER-LIBRARY\n");
	return 2;
}

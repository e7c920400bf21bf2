/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Ring buffers: their files, saved and loaded rings, and other users of the files who do harm. */
#include "rb-common.h"

static void names_with_a_slash_are_paths(void)
{
	char dir[] = "/tmp/rs-ctest-XXXXXX", path[64], file[96];
	qb_ringbuffer_t *rb;

	CHECK(mkdtemp(dir) != NULL);
	snprintf(path, sizeof path, "%s/ring", dir);
	rb = qb_rb_open(path, 1000, QB_RB_FLAG_CREATE, 0);
	CHECK(rb != NULL);
	snprintf(file, sizeof file, "%s-header", path);
	CHECK_STR(qb_rb_name_get(rb), file);
	CHECK_EQ(length_of(file), 8248);
	qb_rb_close(rb);
	CHECK_EQ(rmdir(dir), 0);
	errno = 0;
	CHECK(qb_rb_open(path, 1000, QB_RB_FLAG_CREATE, 0) == NULL);
	CHECK_EQ(errno, ENOENT);
	CHECK(qb_rb_open(path, 1000, 0, 0) == NULL);
	CHECK_EQ(errno, ENOENT);
	CHECK_EQ(chdir("/tmp"), 0);
	rb = qb_rb_open("./rs-ctest-relative", 1000, QB_RB_FLAG_CREATE, 0);
	CHECK(rb != NULL);
	CHECK_STR(qb_rb_name_get(rb), "./rs-ctest-relative-header");
	CHECK_EQ(length_of("/tmp/rs-ctest-relative-data"), 4096);
	qb_rb_close(rb);
	CHECK_EQ(length_of("/tmp/rs-ctest-relative-data"), -1);
}

/* A name that is taken in /dev/shm goes to the second place; what is there stays untouched. */
static void a_taken_name_is_not_touched(void)
{
	qb_ringbuffer_t *rb = make(1000, 0), *other;

	CHECK_EQ(qb_rb_chunk_write(rb, "abc", 3), 3);
	other = qb_rb_open(ring_name(), 1000, QB_RB_FLAG_CREATE, 0);
	if (other != NULL) {
		CHECK(strcmp(qb_rb_name_get(other), qb_rb_name_get(rb)) != 0);
		CHECK_EQ(qb_rb_chunk_write(other, "xyz", 3), 3);
		CHECK_EQ(qb_rb_chunks_used(other), 1);
		qb_rb_close(other);
	}
	CHECK_EQ(access(file_of("header"), F_OK), 0);
	CHECK_EQ(access(file_of("data"), F_OK), 0);
	CHECK_EQ(qb_rb_chunk_read(rb, buffer, 10, 0), 3);
	qb_rb_close(rb);
}

static void owner_and_mode_apply_to_both_files(void)
{
	qb_ringbuffer_t *rb = make(1000, 0);
	struct stat header, data;

	CHECK_EQ(stat(file_of("header"), &header), 0);
	CHECK_EQ(header.st_mode & 07777, 0600);
	CHECK_EQ(qb_rb_chmod(rb, 0640), 0);
	CHECK_EQ(qb_rb_chown(rb, getuid(), getgid()), 0);
	CHECK_EQ(qb_rb_chown(rb, -1, -1), 0);
	CHECK_EQ(stat(file_of("header"), &header), 0);
	CHECK_EQ(stat(file_of("data"), &data), 0);
	CHECK_EQ(header.st_mode & 07777, 0640);
	CHECK_EQ(data.st_mode & 07777, 0640);
	if (geteuid() == 0) {
		CHECK_EQ(qb_rb_chown(rb, 12, 34), 0);
		CHECK_EQ(stat(file_of("header"), &header), 0);
		CHECK_EQ(stat(file_of("data"), &data), 0);
		CHECK(header.st_uid == 12 && header.st_gid == 34);
		CHECK(data.st_uid == 12 && data.st_gid == 34);
	}
	CHECK_EQ(unlink(file_of("header")), 0);
	CHECK_EQ(unlink(file_of("data")), 0);
	CHECK_EQ(qb_rb_chmod(rb, 0600), -ENOENT);
	CHECK_EQ(qb_rb_chown(rb, getuid(), getgid()), -ENOENT);
	qb_rb_close(rb);
}

/* Not being allowed to give files away is no error. */
static void chown_without_permission_is_no_error(void)
{
	qb_ringbuffer_t *rb;

	if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) {
		CHECK(!"cannot drop privileges");
	}
	rb = make(1000, 0);
	CHECK_EQ(qb_rb_chown(rb, 0, 0), 0);
	qb_rb_close(rb);
}

/* Whoever owns the files may change them, also when they let nobody read. */
static void a_mode_without_reading_can_be_changed(void)
{
	static const mode_t modes[] = { 0200, 0, 0600 };
	qb_ringbuffer_t *rb;
	struct stat header, data;

	if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) {
		CHECK(!"cannot drop privileges");
	}
	rb = make(1000, 0);
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(qb_rb_chmod(rb, modes[i]), 0);
		CHECK_EQ(qb_rb_chown(rb, getuid(), getgid()), 0);
		CHECK_EQ(stat(file_of("header"), &header), 0);
		CHECK_EQ(stat(file_of("data"), &data), 0);
		CHECK_EQ(header.st_mode & 07777, modes[i]);
		CHECK_EQ(data.st_mode & 07777, modes[i]);
	}
	qb_rb_close(rb);
}

static int dump_file(void)
{
	char path[] = "/tmp/rs-ctest-dump-XXXXXX";
	int fd = mkstemp(path);
	unlink(path);
	return fd;
}

/* Runs with stdout in a file and returns what was printed. */
static const char *printed(void (*what)(void *), void *arg)
{
	static char text[2000];
	int fd = dump_file(), saved = dup(1);
	ssize_t n;

	fflush(stdout);
	dup2(fd, 1);
	what(arg);
	fflush(stdout);
	dup2(saved, 1);
	close(saved);
	n = pread(fd, text, sizeof text - 1, 0);
	text[n < 0 ? 0 : n] = 0;
	close(fd);
	return text;
}

struct dump {
	qb_ringbuffer_t *rb;
	int fd;
	ssize_t written;
};

static void save(void *arg)
{
	struct dump *d = arg;
	d->written = qb_rb_write_to_file(d->rb, d->fd);
}

static void load(void *arg)
{
	struct dump *d = arg;
	d->rb = qb_rb_create_from_file(d->fd, 0);
}

#define SUMMARY(kind) \
	"Ringbuffer: \n ->" kind "\n ->write_pt [29]\n ->read_pt [0]\n ->size [1024 words]\n =>free [3976 bytes]\n =>used [116 bytes]\n"

static int saved_ring(uint32_t flags)
{
	struct dump d = { make(1000, flags), dump_file(), 0 };
	struct stat st;

	memset(buffer, 'x', 100);
	CHECK_EQ(qb_rb_chunk_write(d.rb, buffer, 100), 100);
	CHECK_EQ(qb_rb_chunk_write(d.rb, "", 0), 0);
	CHECK_STR(printed(save, &d), flags & QB_RB_FLAG_OVERWRITE ? SUMMARY("OVERWRITE") : SUMMARY("NORMAL"));
	CHECK_EQ(d.written, 4116);
	CHECK_EQ(fstat(d.fd, &st), 0);
	CHECK_EQ(st.st_size, 4116);
	CHECK_EQ(lseek(d.fd, 0, SEEK_CUR), 4116);
	qb_rb_close(d.rb);
	lseek(d.fd, 0, SEEK_SET);
	return d.fd;
}

/* Row rb-dump-private: the name is that of files that are not there. */
static void a_saved_ring_can_be_loaded(void)
{
	struct dump d = { NULL, saved_ring(QB_RB_FLAG_OVERWRITE), 0 };
	uint32_t head[5];
	void *seen;

	CHECK_EQ(pread(d.fd, head, sizeof head, 0), 20);
	CHECK_EQ(head[0], 1024);
	CHECK_EQ(head[1], 29);
	CHECK_EQ(head[2], 0);
	CHECK_EQ(head[3], 1);
	CHECK_EQ(head[4], 1024 + 29 + 1);
	CHECK_STR(printed(load, &d), SUMMARY("NORMAL"));
	CHECK(d.rb != NULL);
	CHECK_EQ(lseek(d.fd, 0, SEEK_CUR), 4116);
	CHECK_STR(qb_rb_name_get(d.rb), "/dev/shm/qb-create_from_file-header");
	CHECK_EQ_COMPAT(access(qb_rb_name_get(d.rb), F_OK), 0, -1, "rb-dump-private");
	CHECK_EQ(qb_rb_refcount_get(d.rb), 1);
	CHECK_EQ(qb_rb_chunks_used(d.rb), -ENOTSUP);
	CHECK_EQ(qb_rb_space_used(d.rb), 116);
	CHECK_EQ(qb_rb_chunk_peek(d.rb, &seen, 0), 100);
	CHECK_EQ(((char *)seen)[99], 'x');
	CHECK_EQ(qb_rb_chunk_read(d.rb, buffer, sizeof buffer, 0), 100);
	CHECK_EQ(qb_rb_chunk_read(d.rb, buffer, sizeof buffer, 0), 0);
	CHECK_EQ(qb_rb_chunk_read(d.rb, buffer, sizeof buffer, 0), -ETIMEDOUT);
	CHECK_EQ(qb_rb_chunk_write(d.rb, "abc", 3), 3);
	CHECK_EQ(qb_rb_chunk_read(d.rb, buffer, sizeof buffer, 0), 3);
	CHECK_EQ(qb_rb_chmod(d.rb, 0600), 0);
	CHECK_EQ(qb_rb_chown(d.rb, -1, -1), 0);
	qb_rb_close(d.rb);
	CHECK_EQ(access("/dev/shm/qb-create_from_file-header", F_OK), -1);
	close(d.fd);
}

static void a_bad_descriptor_is_an_error(void)
{
	qb_ringbuffer_t *rb = make(1000, 0);
	int fd = open("/dev/null", O_RDONLY);

	CHECK_EQ(qb_rb_write_to_file(rb, -1), -EBADF);
	CHECK_EQ(qb_rb_write_to_file(rb, 9999), -EBADF);
	CHECK_EQ(qb_rb_write_to_file(rb, fd), -EBADF);
	qb_rb_close(rb);
}

/* Loads the saved ring with the header changed, or the file cut; says whether a ring came of it. */
static int loads(int fd, const uint32_t head[4], int bad_hash, off_t length)
{
	struct dump d = { NULL, dump_file(), 0 };
	char *all = calloc(1, 4116);
	uint32_t h[5] = { head[0], head[1], head[2], head[3], head[0] + head[1] + head[2] + head[3] + bad_hash };

	CHECK_EQ(pread(fd, all, 4116, 0), 4116);
	memcpy(all, h, sizeof h);
	CHECK_EQ(write(d.fd, all, length), length);
	lseek(d.fd, 0, SEEK_SET);
	printed(load, &d);
	free(all);
	close(d.fd);
	if (d.rb == NULL) {
		return 0;
	}
	qb_rb_close(d.rb);
	return 1;
}

#define HEAD(...) ((const uint32_t[4]){ __VA_ARGS__ })

static void a_damaged_dump_is_refused(void)
{
	int fd = saved_ring(0);

	CHECK_EQ(loads(fd, HEAD(1024, 29, 0, 1), 0, 4116), 1);
	CHECK_EQ(loads(fd, HEAD(1024, 29, 0, 1), 1, 4116), 0);
	CHECK_EQ(loads(fd, HEAD(1024, 29, 0, 2), 0, 4116), 0);
	CHECK_EQ(loads(fd, HEAD(1024, 5000, 0, 1), 0, 4116), 0);
	CHECK_EQ(loads(fd, HEAD(1024, 29, 5000, 1), 0, 4116), 0);
	CHECK_EQ(loads(fd, HEAD(0, 0, 0, 1), 0, 4116), 0);
	CHECK_EQ(loads(fd, HEAD(1025, 29, 0, 1), 0, 4116), 0);
	CHECK_EQ(loads(fd, HEAD(0x40000000, 29, 0, 1), 0, 4116), 0);
	CHECK_EQ(loads(fd, HEAD(0xffffffff, 29, 0, 1), 0, 4116), 0);
	CHECK_EQ_COMPAT(loads(fd, HEAD(1024, 1024, 0, 1), 0, 4116), 1, 0, "rb-dump-bounds");
	CHECK_EQ_COMPAT(loads(fd, HEAD(1024, 29, 1024, 1), 0, 4116), 1, 0, "rb-dump-bounds");
	CHECK_EQ_COMPAT(loads(fd, HEAD(1, 29, 0, 1), 0, 4116), 1, 0, "rb-dump-bounds");
	CHECK_EQ_COMPAT(loads(fd, HEAD(1000, 29, 0, 1), 0, 4116), 1, 0, "rb-dump-bounds");
}

static void a_cut_dump_is_refused(void)
{
	int fd = saved_ring(0);

	for (off_t length = 0; length < 4116; length += length < 24 ? 1 : 371) {
		CHECK_EQ(loads(fd, HEAD(1024, 29, 0, 1), 0, length), 0);
	}
}

/* Another user of the files writes nonsense into them: errors, and nothing else. */
static void nonsense_in_the_files_is_an_error(void)
{
	qb_ringbuffer_t *rb = make(1000, 0);
	const uint32_t nonsense[] = { 0xffffffff, 1024, 0x7fffffff, 5000 };
	void *seen;
	int header = open(file_of("header"), O_RDWR), data = open(file_of("data"), O_RDWR);

	for (size_t i = 0; i < sizeof nonsense / sizeof nonsense[0]; i++) {
		CHECK_EQ(qb_rb_chunk_write(rb, "abc", 3), 3);
		CHECK_EQ(pwrite(data, &nonsense[i], 4, 0), 4);
		if (nonsense[i] > 4084) {
			CHECK_EQ(qb_rb_chunk_peek(rb, &seen, 0), -EBADMSG);
			CHECK_EQ(qb_rb_chunk_read(rb, buffer, sizeof buffer, 0), -EBADMSG);
		}
		CHECK_EQ(pwrite(header, &nonsense[i], 4, 0), 4);
		CHECK_EQ(qb_rb_space_free(rb), -EBADMSG);
		CHECK_EQ(qb_rb_chunk_write(rb, "abc", 3), -EBADMSG);
		CHECK_EQ(pwrite(header, &nonsense[i], 4, 4), 4);
		CHECK_EQ(qb_rb_chunk_peek(rb, &seen, 0), -EBADMSG);
		CHECK_EQ(qb_rb_chunk_commit(rb, 4), -EBADMSG);
		CHECK_EQ(pwrite(header, "\0\0\0\0\0\0\0\0", 8, 0), 8);
		CHECK_EQ(pwrite(header, &nonsense[i], 4, 8), 4);
		CHECK_EQ(qb_rb_space_free(rb), 4096);
	}
	close(header);
	close(data);
	qb_rb_close(rb);
}

static void truncated_files_are_an_error(void)
{
	qb_ringbuffer_t *rb = make(1000, 0);
	void *seen;

	CHECK_EQ(qb_rb_chunk_write(rb, "abc", 3), 3);
	CHECK_EQ(truncate(file_of("data"), 0), 0);
	CHECK_EQ(qb_rb_chunk_peek(rb, &seen, 0), -ENOTCONN);
	CHECK_EQ(qb_rb_chunk_write(rb, "abc", 3), -ENOTCONN);
	CHECK_EQ(truncate(file_of("header"), 0), 0);
	CHECK(qb_rb_chunk_write(rb, "abc", 3) < 0);
	CHECK(qb_rb_chunk_read(rb, buffer, 10, 100) < 0);
	CHECK(qb_rb_chunk_read(rb, buffer, 10, -1) < 0);
	qb_rb_close(rb);
}

int main(void)
{
	RUN(names_with_a_slash_are_paths);
	RUN(a_taken_name_is_not_touched);
	RUN(owner_and_mode_apply_to_both_files);
	RUN(chown_without_permission_is_no_error);
	RUN(a_mode_without_reading_can_be_changed);
	RUN(a_saved_ring_can_be_loaded);
	RUN(a_bad_descriptor_is_an_error);
	RUN(a_damaged_dump_is_refused);
	RUN_OURS(a_cut_dump_is_refused, "rb-dump-short");
	RUN_OURS(nonsense_in_the_files_is_an_error, "rb-checked-words");
	RUN_OURS(truncated_files_are_an_error, "rb-truncated");
	return check_done();
}

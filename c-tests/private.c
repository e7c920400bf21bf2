/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Functions that libqb exports without a header: a program that declares them itself must find them. */
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <qb/qbutil.h>

#include "check.h"

int32_t qb_sys_mmap_file_open(char *path, const char *file, size_t bytes, uint32_t file_flags);
int32_t qb_sys_circular_mmap(int32_t fd, void **buf, size_t bytes);
int32_t qb_sys_fd_nonblock_cloexec_set(int32_t fd);
int32_t qb_sys_unlink_or_truncate(const char *path, int32_t truncate_fallback);
int32_t qb_sys_unlink_or_truncate_at(int32_t dirfd, const char *path, int32_t truncate_fallback);
void qb_sigpipe_ctl(int ctl);
void qb_socket_nosigpipe(int32_t s);
size_t strlcpy(char *dest, const char *src, size_t maxlen);
size_t strlcat(char *dest, const char *src, size_t maxlen);

static char path[4096];

static const char *unique(const char *what)
{
	static char name[128];

	snprintf(name, sizeof(name), "test-private-%d-%s", (int)getpid(), what);
	return name;
}

static off_t size_of(const char *file)
{
	struct stat st;

	return stat(file, &st) == 0 ? st.st_size : -1;
}

static mode_t mode_of(const char *file)
{
	struct stat st;

	return stat(file, &st) == 0 ? st.st_mode & 07777 : 0;
}

/* ---- Shared-memory files ---- */

static void a_plain_name_lands_in_dev_shm(void)
{
	char want[256];
	int fd = qb_sys_mmap_file_open(path, unique("plain"), 8192, O_CREAT | O_RDWR);

	CHECK(fd >= 0);
	snprintf(want, sizeof(want), "/dev/shm/qb-%s", unique("plain"));
	CHECK_STR(path, want);
	CHECK_EQ(size_of(path), 8192);
	CHECK_EQ(mode_of(path), 0600);
	close(fd);
	unlink(path);
}

static void a_path_is_taken_as_it_is(void)
{
	char file[256];
	int fd;

	snprintf(file, sizeof(file), "/dev/shm/%s", unique("path"));
	fd = qb_sys_mmap_file_open(path, file, 100, O_CREAT | O_RDWR | O_EXCL);
	CHECK(fd >= 0);
	CHECK_STR(path, file);
	CHECK_EQ(size_of(file), 100);
	close(fd);
	CHECK_EQ(qb_sys_mmap_file_open(path, file, 100, O_CREAT | O_RDWR | O_EXCL), -EEXIST);
	fd = qb_sys_mmap_file_open(path, file, 300, O_RDWR);
	CHECK(fd >= 0);
	CHECK_EQ(size_of(file), 300);
	close(fd);
	unlink(file);
	CHECK_EQ(qb_sys_mmap_file_open(path, file, 100, O_RDWR), -ENOENT);
}

static void a_template_is_filled_in(void)
{
	char file[256];
	int fd;

	snprintf(file, sizeof(file), "/dev/shm/%s-XXXXXX", unique("template"));
	fd = qb_sys_mmap_file_open(path, file, 100, 0);
	CHECK(fd >= 0);
	CHECK_EQ(strlen(path), strlen(file));
	CHECK(strcmp(path + strlen(path) - 6, "XXXXXX") != 0);
	CHECK_EQ(mode_of(path), 0600);
	close(fd);
	unlink(path);
	snprintf(file, sizeof(file), "/dev/shm/%s-XXXXXX-behind", unique("template"));
	CHECK_EQ(qb_sys_mmap_file_open(path, file, 100, 0), -EINVAL);
}

static void an_empty_area_is_refused_and_leaves_no_file(void)
{
	char file[256];

	snprintf(file, sizeof(file), "/dev/shm/%s", unique("empty"));
	CHECK_EQ(qb_sys_mmap_file_open(path, file, 0, O_CREAT | O_RDWR), -EINVAL);
	CHECK_EQ(size_of(file), -1);
}

static void a_failure_does_not_remove_an_older_file(void)
{
	char file[256];
	int fd;

	snprintf(file, sizeof(file), "/dev/shm/%s", unique("older"));
	fd = open(file, O_CREAT | O_RDWR, 0600);
	CHECK(fd >= 0);
	CHECK_EQ(write(fd, "text", 4), 4);
	close(fd);
	CHECK_EQ(qb_sys_mmap_file_open(path, file, 100, O_RDONLY), -EINVAL);
	CHECK_EQ_COMPAT(size_of(file), -1, 4, "sys-older-file-stays");
	unlink(file);
}

static void an_existing_name_is_an_answer(void)
{
	int fd = qb_sys_mmap_file_open(path, unique("exists"), 100, O_CREAT | O_RDWR | O_EXCL);

	CHECK(fd >= 0);
	close(fd);
	CHECK_EQ(qb_sys_mmap_file_open(path, unique("exists"), 100, O_CREAT | O_RDWR | O_EXCL), -EEXIST);
	snprintf(path, sizeof(path), "/dev/shm/qb-%s", unique("exists"));
	unlink(path);
	CHECK_EQ(symlink("/dev/null", path), 0);
	CHECK(qb_sys_mmap_file_open(path, unique("exists"), 100, O_RDWR) == -ELOOP);
	snprintf(path, sizeof(path), "/dev/shm/qb-%s", unique("exists"));
	unlink(path);
}

static void areas_are_not_inherited_by_programs(void)
{
	int fd = qb_sys_mmap_file_open(path, unique("cloexec"), 100, O_CREAT | O_RDWR);

	CHECK(fd >= 0);
	CHECK_EQ_COMPAT(fcntl(fd, F_GETFD), 0, FD_CLOEXEC, "sys-area-cloexec");
	close(fd);
	unlink(path);
}

static void long_names_and_null_are_refused(void)
{
	static char longest[5000];

	memset(longest, 'n', sizeof(longest) - 1);
	CHECK_EQ(qb_sys_mmap_file_open(path, longest, 100, O_CREAT | O_RDWR), -ENAMETOOLONG);
	longest[0] = '/';
	CHECK_EQ(qb_sys_mmap_file_open(path, longest, 100, O_CREAT | O_RDWR), -ENAMETOOLONG);
	CHECK_EQ(qb_sys_mmap_file_open(NULL, "name", 100, O_CREAT | O_RDWR), -EINVAL);
	CHECK_EQ(qb_sys_mmap_file_open(path, NULL, 100, O_CREAT | O_RDWR), -EINVAL);
	CHECK_EQ(qb_sys_circular_mmap(-1, NULL, 4096), -EBADF);
	CHECK_EQ(qb_sys_unlink_or_truncate(NULL, 1), -EINVAL);
	CHECK_EQ(qb_sys_unlink_or_truncate_at(AT_FDCWD, NULL, 1), -EINVAL);
}

/* ---- Mirrored mappings ---- */

static int new_area(size_t bytes)
{
	int fd = qb_sys_mmap_file_open(path, unique("mirror"), bytes, O_CREAT | O_RDWR);

	unlink(path);
	return fd;
}

static void both_halves_are_the_same_memory(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *buf = NULL;
	int fd = new_area(page * 2);
	volatile char *bytes;

	CHECK_EQ(qb_sys_circular_mmap(fd, &buf, page * 2), 0);
	CHECK_EQ(fcntl(fd, F_GETFD), -1);
	bytes = buf;
	bytes[3] = 'a';
	CHECK_EQ(bytes[page * 2 + 3], 'a');
	bytes[page * 4 - 1] = 'z';
	CHECK_EQ(bytes[page * 2 - 1], 'z');
	CHECK_EQ(munmap(buf, page * 4), 0);
}

static void wrong_mappings_are_refused(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *buf = &buf;
	int fd = new_area(page);

	CHECK_EQ(qb_sys_circular_mmap(fd, &buf, page + 1), -EINVAL);
	CHECK(buf == &buf);
	CHECK_EQ(fcntl(fd, F_GETFD), -1);
	fd = open("/proc/self/exe", O_RDONLY);
	CHECK_EQ(qb_sys_circular_mmap(fd, &buf, page), -EACCES);
	CHECK(buf == &buf);
	fd = new_area(page);
	CHECK_EQ(qb_sys_circular_mmap(fd, &buf, 0), -EINVAL);
	CHECK_EQ_COMPAT(fcntl(fd, F_GETFD) == -1, 0, 1, "sys-mirror-fd-closed");
	CHECK(buf == &buf);
}

/* ---- Descriptors and files ---- */

static void a_descriptor_becomes_non_blocking_and_close_on_exec(void)
{
	int fds[2];

	CHECK_EQ(pipe(fds), 0);
	CHECK_EQ(qb_sys_fd_nonblock_cloexec_set(fds[1]), 0);
	CHECK_EQ(fcntl(fds[1], F_GETFD), FD_CLOEXEC);
	CHECK_EQ(fcntl(fds[1], F_GETFL), O_WRONLY | O_NONBLOCK);
	CHECK_EQ(fcntl(fds[0], F_GETFL), O_RDONLY);
	close(fds[1]);
	CHECK_EQ(qb_sys_fd_nonblock_cloexec_set(fds[1]), -EBADF);
}

static void other_status_flags_stay(void)
{
	int fds[2];

	CHECK_EQ(pipe(fds), 0);
	CHECK_EQ(fcntl(fds[1], F_SETFL, O_APPEND), 0);
	CHECK_EQ(qb_sys_fd_nonblock_cloexec_set(fds[1]), 0);
	CHECK_EQ_COMPAT(fcntl(fds[1], F_GETFL) & O_APPEND, 0, O_APPEND, "sys-flags-stay");
}

static void a_file_is_removed_or_emptied(void)
{
	char file[256], dir[256];
	int fd, dirfd;

	snprintf(file, sizeof(file), "/dev/shm/%s", unique("gone"));
	fd = open(file, O_CREAT | O_RDWR, 0600);
	CHECK_EQ(write(fd, "text", 4), 4);
	close(fd);
	CHECK_EQ(qb_sys_unlink_or_truncate(file, 1), 0);
	CHECK_EQ(qb_sys_unlink_or_truncate(file, 1), -ENOENT);
	CHECK_EQ(qb_sys_unlink_or_truncate(file, 0), -ENOENT);

	dirfd = open("/dev/shm", O_RDONLY | O_DIRECTORY);
	fd = openat(dirfd, unique("at"), O_CREAT | O_RDWR, 0600);
	close(fd);
	CHECK_EQ(qb_sys_unlink_or_truncate_at(dirfd, unique("at"), 1), 0);
	CHECK_EQ(qb_sys_unlink_or_truncate_at(dirfd, unique("at"), 1), -ENOENT);
	CHECK_EQ(qb_sys_unlink_or_truncate_at(-1, unique("at"), 0), -EBADF);
	close(dirfd);

	/* A directory can neither be unlinked nor emptied. */
	snprintf(dir, sizeof(dir), "/dev/shm/%s", unique("dir"));
	CHECK_EQ(mkdir(dir, 0700), 0);
	CHECK_EQ(qb_sys_unlink_or_truncate(dir, 0), -EISDIR);
	CHECK_EQ(qb_sys_unlink_or_truncate(dir, 1), -EISDIR);
	rmdir(dir);
}

static void a_file_that_cannot_be_unlinked_is_emptied(void)
{
	char dir[256], file[300];
	int fd;

	snprintf(dir, sizeof(dir), "/dev/shm/%s", unique("sealed"));
	snprintf(file, sizeof(file), "%s/file", dir);
	CHECK_EQ(mkdir(dir, 0755), 0);
	fd = open(file, O_CREAT | O_RDWR, 0666);
	CHECK_EQ(fchmod(fd, 0666), 0);
	CHECK_EQ(write(fd, "text", 4), 4);
	close(fd);
	if (fork() == 0) {
		/* Somebody who may write the file and not the directory. */
		if (geteuid() == 0) {
			CHECK_EQ(setegid(65534), 0);
			CHECK_EQ(seteuid(65534), 0);
		} else {
			CHECK_EQ(chmod(dir, 0555), 0);
		}
		CHECK(qb_sys_unlink_or_truncate(file, 0) == -EACCES);
		CHECK_EQ(size_of(file), 4);
		CHECK_EQ(qb_sys_unlink_or_truncate(file, 1), 0);
		fflush(stdout);
		_exit(check_bad != 0);
	} else {
		int status = 1;

		wait(&status);
		CHECK_EQ(status, 0);
	}
	CHECK_EQ(size_of(file), 0);
	chmod(dir, 0755);
	unlink(file);
	rmdir(dir);
}

static void sigpipe_helpers_change_nothing(void)
{
	struct sigaction before, after;

	sigaction(SIGPIPE, NULL, &before);
	qb_sigpipe_ctl(0);
	qb_sigpipe_ctl(1);
	qb_socket_nosigpipe(0);
	sigaction(SIGPIPE, NULL, &after);
	CHECK(before.sa_handler == after.sa_handler);
}

/* ---- Strings ---- */

static void copies_are_bounded_and_terminated(void)
{
	char buf[8];

	memset(buf, 'x', sizeof(buf));
	CHECK_EQ(strlcpy(buf, "text", sizeof(buf)), 4);
	CHECK_STR(buf, "text");
	CHECK_EQ(strlcpy(buf, "longer text", 4), 11);
	CHECK_STR(buf, "lon");
	CHECK_EQ(strlcpy(buf, "abc", 0), 3);
	CHECK_STR(buf, "lon");
	CHECK_EQ(strlcpy(buf, "", sizeof(buf)), 0);
	CHECK_STR(buf, "");
	CHECK_EQ(strlcat(buf, "abc", sizeof(buf)), 3);
	CHECK_EQ(strlcat(buf, "defghij", sizeof(buf)), 10);
	CHECK_STR(buf, "abcdefg");
	CHECK_EQ(strlcat(buf, "z", sizeof(buf)), 8);
	CHECK_STR(buf, "abcdefg");
}

static void nothing_is_appended_beyond_the_limit(void)
{
	char buf[16] = "abcdefg";

	CHECK_EQ(strlcat(buf, "hi", 3), 9);
	CHECK_STR(buf, "abcdefg");
}

int main(void)
{
	umask(022);
	RUN(a_plain_name_lands_in_dev_shm);
	RUN(a_path_is_taken_as_it_is);
	RUN(a_template_is_filled_in);
	RUN(an_empty_area_is_refused_and_leaves_no_file);
	RUN(a_failure_does_not_remove_an_older_file);
	RUN_OURS(an_existing_name_is_an_answer, "sys-existing-name");
	RUN(areas_are_not_inherited_by_programs);
	RUN_OURS(long_names_and_null_are_refused, "util-null-arguments");
	RUN(both_halves_are_the_same_memory);
	RUN(wrong_mappings_are_refused);
	RUN(a_descriptor_becomes_non_blocking_and_close_on_exec);
	RUN(other_status_flags_stay);
	RUN(a_file_is_removed_or_emptied);
	RUN(a_file_that_cannot_be_unlinked_is_emptied);
	RUN(sigpipe_helpers_change_nothing);
	RUN(copies_are_bounded_and_terminated);
	RUN_OURS(nothing_is_appended_beyond_the_limit, "sys-strlcat-limit");
	return check_done();
}

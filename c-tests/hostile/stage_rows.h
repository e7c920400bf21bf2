/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files of a connection spoilt at every stage of it, a full /dev/shm, and third processes of other users. The client's own
 * files are its own: it may cut, grow, lock and, as the server's user, replace them.
 */
#ifndef STAGE_ROWS_H
#define STAGE_ROWS_H

#include "client_rows.h"

#include <linux/fs.h>
#include <sys/ioctl.h>

enum { D_CUT, D_PAGE, D_GROW, D_HOLES, D_MODE, D_DELETE, D_SYMLINK, D_HARD_LINK, D_IMMUTABLE, D_COUNT };
static const char *const deed_names[] = {"cut to 0", "cut to a page", "grown", "full of holes", "made unreadable", "deleted",
					 "symbolic links", "hard links", "immutable"};
enum { G_HEARD, G_OPENED, G_CLAIMED, G_COMMITTED, G_POSTED, G_RUNG, G_ANSWERED, G_CLOSING, G_COUNT };
static const char *const stage_names[] = {"before they are opened", "once opened", "with a chunk claimed", "with a chunk committed",
					  "with a chunk announced", "with a request sent", "after an answer", "at the end"};

static int set_immutable(const char *path, int on)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), flags = 0, rc = -1;

	if (fd >= 0 && ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
		flags = on ? flags | FS_IMMUTABLE_FL : flags & ~FS_IMMUTABLE_FL;
		rc = ioctl(fd, FS_IOC_SETFLAGS, &flags);
	}
	close(fd);
	return rc;
}

/* Path of the i-th file of the connection; 0 when there are no more. */
static int file_path(int type, int i, char *path, size_t room)
{
	if (type == QB_IPC_SHM) {
		snprintf(path, room, "%s%s", w.answer.name[i / 2 % 3], i % 2 ? "-data" : "-header");
		return i < 6;
	}
	snprintf(path, room, "%s", w.answer.name[0]);
	return i < 1;
}

static int spoil(int deed, const char *path)
{
	int fd, rc = -1;

	switch (deed) {
	case D_CUT: return truncate(path, 0);
	case D_PAGE: return truncate(path, 4096);
	case D_GROW: return truncate(path, 1 << 20);
	case D_HOLES:
		fd = open(path, O_RDWR | O_CLOEXEC);
		rc = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1 << 20);
		close(fd);
		return rc;
	case D_MODE: return chmod(path, 0);
	case D_DELETE: return unlink(path);
	case D_SYMLINK: return unlink(path) != 0 ? -1 : symlink(me.bystander, path);
	case D_HARD_LINK: return unlink(path) != 0 ? -1 : link(me.bystander, path);
	default: return set_immutable(path, 1);
	}
}

static void spoil_all(const struct row *row, int deed)
{
	char path[4300];

	for (int i = 0; file_path(row->type, i, path, sizeof path); i++) {
		if (spoil(deed, path) != 0) {
			if (i > 0 && errno == ENOENT) {
				break; /* the server has seen what became of the first ones, and removed the rest */
			}
			fprintf(stderr, "%s cannot be %s: %s\n", path, deed_names[deed], strerror(errno));
			_exit(4);
		}
	}
}

/* What was put into the directory, or keeps the server from removing it, goes again once the server has let go. */
static void tidy(const struct row *row)
{
	char path[4300];
	int registered = victim.shared->destroyed;

	shutdown(w.stream, SHUT_RDWR);
	for (int i = 0; i < 1000 && victim.shared->destroyed == registered; i++) {
		wire_ms(1);
	}
	for (int i = 0; file_path(row->type, i, path, sizeof path); i++) {
		set_immutable(path, 0);
		unlink(path);
	}
	*strrchr(path, '/') = 0;
	rmdir(path);
}

/* a: what becomes of the files, b: when */
static void staged(const struct row *row)
{
	struct wire_msg m = wire_message(V_EVENTS, sizeof m);
	struct wire_ring *r = &w.ring[R_REQUEST];
	int shm = row->type == QB_IPC_SHM;

	memset(&w, 0, sizeof w);
	w.stream = wire_stream(me.service);
	wire_ask(&w, WIRE_MAX_MSG);
	if (wire_hear(&w) != 0 || (row->b >= G_OPENED && wire_open(&w) != 0)) {
		_exit(4);
	}
	if (row->b >= G_CLAIMED && row->b <= G_RUNG && shm) {
		wire_alloc(r);
		wire_fill(r, &m, sizeof m);
		if (row->b >= G_COMMITTED) {
			wire_commit(r, sizeof m, sizeof m);
		}
		if (row->b >= G_POSTED) {
			wire_post(r);
		}
		if (row->b >= G_RUNG) {
			wire_ring_bell(&w, 1);
		}
	} else if (row->b == G_RUNG) {
		wire_send(&w, &m, sizeof m);
	} else if (row->b >= G_ANSWERED) {
		echo_once();
	}
	if (row->b == G_CLOSING) {
		shutdown(w.stream, SHUT_RDWR);
		/* It may be too late, then there is nothing to spoil. */
		for (int i = 0; i < 6; i++) {
			char path[4300];

			if (file_path(row->type, i, path, sizeof path)) {
				(void)spoil((int)row->a, path);
			}
		}
	} else {
		spoil_all(row, (int)row->a);
	}
	/* No access to the mappings any more: they may be gone. */
	wire_ring_bell(&w, 3);
	if (!shm && row->b >= G_OPENED) {
		(void)!send(w.requests, &m, sizeof m, MSG_NOSIGNAL | MSG_DONTWAIT);
	}
	wire_ms(10);
	in_place();
	wire_ms(300);
	tidy(row);
}

static int fill_dev_shm(void)
{
	static char block[65536];
	int fd = open("/dev/shm/filler", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	unlink("/dev/shm/filler");
	for (size_t n = sizeof block; n > 0; n /= 2) {
		while (write(fd, block, n) > 0) {
		}
	}
	return fd;
}

/* a: the client's own files have lost their pages before. Who is in goes on, who comes is told that there is no room. */
static void shm_full(const struct row *row)
{
	enter(WIRE_MAX_MSG);
	if (row->a) {
		spoil_all(row, D_HOLES);
	}
	if (fill_dev_shm() < 0) {
		_exit(4);
	}
	if (row->a) {
		wire_ring_bell(&w, 5);
		if (row->type == QB_IPC_SOCKET) {
			struct wire_msg m = wire_message(V_EVENTS, sizeof m);

			(void)!send(w.requests, &m, sizeof m, MSG_NOSIGNAL | MSG_DONTWAIT);
		}
	} else {
		echo_once();
	}
	wire_ms(10);
	in_place();
}

/* Everything that another user can reach of a connection is written to; a: when: before the first request, or in use. */
static void other_user(const struct row *row)
{
	static const char *const ends[] = {"request", "response", "event", "event-tx"};
	struct wire_msg m = wire_message(V_STRANGE, sizeof m);
	struct pollfd p;
	pid_t child;
	int status, got = 0;

	memset(&w, 0, sizeof w);
	if (wire_connect(&w, me.service, WIRE_MAX_MSG) != 0) {
		_exit(4);
	}
	if (row->a) {
		echo_once();
	}
	child = fork();
	if (child == 0) {
		char path[4300];

		if (setgid(FIRST_UID) != 0 || setuid(FIRST_UID) != 0) {
			_exit(3);
		}
		for (int i = 0; row->type == QB_IPC_SOCKET && i < 4; i++) {
			int fd = wire_datagram(w.answer.name[1], NULL, ends[i]);

			for (int n = 0; n < 3 && fd >= 0; n++) {
				(void)!send(fd, &m, sizeof m, MSG_DONTWAIT | MSG_NOSIGNAL);
			}
		}
		for (int i = 0; file_path(row->type, i, path, sizeof path); i++) {
			got += open(path, O_RDONLY) >= 0 || truncate(path, 0) == 0 || unlink(path) == 0 || chmod(path, 0666) == 0;
		}
		_exit(got != 0);
	}
	waitpid(child, &status, 0);
	echo_once();
	if (status != 0) {
		fprintf(stderr, "another user got at the files (status 0x%x)\n", (unsigned)status);
		_exit(4);
	}
	p = (struct pollfd){w.events, POLLIN, 0};
	if (row->type == QB_IPC_SOCKET && poll(&p, 1, 20) != 0) {
		fprintf(stderr, "another user's datagram is an event\n");
		_exit(4);
	}
	in_place();
}

static int can_be_immutable(void)
{
	char path[64];
	int fd, rc;

	snprintf(path, sizeof path, "/dev/shm/qbhostile-probe-%d", (int)getpid());
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	close(fd);
	rc = set_immutable(path, 1);
	set_immutable(path, 0);
	unlink(path);
	return rc == 0;
}

static void stage_rows(void)
{
	int immutable = can_be_immutable();

	if (!immutable) {
		printf("hostile: no file can be made immutable here (%s); those rows are left out\n", strerror(errno));
	}
	for (int type = QB_IPC_SOCKET; type <= QB_IPC_SHM; type++) {
		for (int deed = 0; deed < D_COUNT; deed++) {
			for (int stage = 0; stage < G_COUNT && (deed != D_IMMUTABLE || immutable); stage++) {
				if (type == QB_IPC_SOCKET && stage >= G_CLAIMED && stage <= G_POSTED) {
					continue; /* there are no chunks */
				}
				add(type, TIDIES | (deed >= D_DELETE ? SELF : 0), staged, deed, stage, 0, "files are %s %s", deed_names[deed],
				    stage_names[stage]);
			}
		}
		for (int a = 0; a < 2 && root_rows(a == 0 ? 4 : 0); a++) {
			add(type, OWN_SHM | NO_ROOM, shm_full, a, 0, 0, "/dev/shm is full%s", a ? ", the files have holes" : "");
			add(type, SELF, other_user, a, 0, 0, "another user at a connection's sockets and files, %s", a ? "in use" : "early");
		}
	}
}

#endif

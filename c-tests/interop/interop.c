/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One cell of the interop matrix: `interop shm|socket` runs every scenario of ipc_scenarios.h as the client; the server is
 * this program again, executed with KIT_SERVER_LIB as its library path. See c-tests/interop/run.
 */
#include "ipc_scenarios.h"

#include <dlfcn.h>
#include <limits.h>

/* A matrix that silently loads the same library twice would prove nothing. */
static void check_library(const char *dir)
{
	char want[PATH_MAX], have[PATH_MAX];
	Dl_info info;

	if (dir == NULL || dladdr(dlsym(RTLD_DEFAULT, "qb_ipcs_create"), &info) == 0 ||
	    realpath(dir, want) == NULL || realpath(info.dli_fname, have) == NULL ||
	    strncmp(have, want, strlen(want)) != 0) {
		printf("  wrong library: %s is not in %s\n", info.dli_fname, dir ? dir : "(unset)");
		fflush(stdout);
		_exit(4);
	}
}

static int filesystem_sockets(void)
{
	return access("/etc/libqb/force-filesystem-sockets", F_OK) == 0;
}

static void the_service_listens_where_it_should(void)
{
	struct kit *k = begin();
	char path[400];
	struct stat st;

	snprintf(path, sizeof path, "/var/run/%s", k->name);
	if (filesystem_sockets()) {
		CHECK_EQ(stat(path, &st), 0);
		CHECK(S_ISSOCK(st.st_mode));
		CHECK_EQ(st.st_mode & 07777, 0777);
	} else {
		CHECK_EQ(stat(path, &st), -1);
	}
	kit_end(k);
	CHECK_EQ(stat(path, &st), -1);
}

/* What a killed server left behind does not keep its successor from listening. */
static void an_old_socket_file_is_replaced(void)
{
	struct kit *k = begin(), *next = kit_new(T);
	qb_ipcc_connection_t *c;

	memcpy(next->name, k->name, sizeof k->name);
	kit_kill(k);
	CHECK(qb_ipcc_connect(k->name, 8192) == NULL);
	CHECK_EQ(errno, ECONNREFUSED);
	kit_start(next);
	CHECK_EQ(next->run_result, 0);
	c = kit_connect(next, 8192);
	CHECK_EQ(kit_echo(c, 64), 0);
	qb_ipcc_disconnect(c);
	kit_end(next);
}

/* In a root directory that has nothing but the switch. The server must not be executed anew here: client's library only. */
static void a_missing_socket_directory_fails_the_run(void)
{
	struct kit *k = kit_new(T);

	CHECK_EQ(mkdir("/run/bare", 0755) | mkdir("/run/bare/etc", 0755) | mkdir("/run/bare/etc/libqb", 0755), 0);
	CHECK_EQ(close(open("/run/bare/etc/libqb/force-filesystem-sockets", O_CREAT | O_WRONLY, 0644)), 0);
	CHECK_EQ(chroot("/run/bare"), 0);
	unsetenv("KIT_SERVER_LIB");
	kit_start(k);
	CHECK_EQ(k->run_result, -ENOENT);
	errno = 0;
	CHECK(qb_ipcc_connect(k->name, 8192) == NULL);
	CHECK_EQ(errno, ENOENT);
	kit_end(k);
}

int main(int argc, char **argv)
{
	check_library(getenv("LD_LIBRARY_PATH"));
	kit_main(argc, argv);
	if (argc != 2 || getenv("KIT_SERVER_LIB") == NULL) {
		fprintf(stderr, "usage: KIT_SERVER_LIB=dir KIT_SERVER_IS=reference|ours interop shm|socket\n");
		return 2;
	}
	T = strcmp(argv[1], "shm") == 0 ? QB_IPC_SHM : QB_IPC_SOCKET;
	run_scenarios();
	RUN_T(the_service_listens_where_it_should);
	if (filesystem_sockets()) {
		RUN_T(an_old_socket_file_is_replaced);
		RUN_T(a_missing_socket_directory_fails_the_run);
	}
	return check_done();
}

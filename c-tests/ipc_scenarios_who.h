/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Who the two sides are, and to whom the files of a connection belong. Included by ipc_scenarios.h. */

static void both_sides_know_who_the_other_is(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *c = kit_connect(k, 8192);
	pid_t pid = 0;
	uid_t uid = 7;
	gid_t gid = 7;

	CHECK_EQ(qb_ipcc_auth_get(c, &pid, &uid, &gid), 0);
	CHECK_EQ(pid, k->server);
	CHECK_EQ(uid, geteuid());
	CHECK_EQ(gid, getegid());
	CHECK_EQ(qb_ipcc_auth_get(c, NULL, NULL, NULL), 0);
	CHECK_EQ(k->seen_uid, geteuid());
	CHECK_EQ(k->seen_gid, getegid());
	CHECK_EQ(kit_call(c, KIT_STATS, 0, 0), 0);
	CHECK_EQ(k->cstats.client_pid, getpid());
	qb_ipcc_disconnect(c);
	kit_end(k);
}

/* Needs root, as its caller checks: the client becomes somebody else. */
static void a_client_of_another_user_is_served(void)
{
	struct kit *k = begin();
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		uid_t uid = 77;

		CHECK_EQ(setgroups(0, NULL) | setgid(65533) | setuid(65534), 0);
		qb_ipcc_connection_t *c = kit_connect(k, 8192);
		CHECK_EQ(qb_ipcc_auth_get(c, NULL, &uid, NULL), 0);
		CHECK_EQ(uid, 0);
		CHECK_EQ(echo_patiently(c, 12000), 0);
		CHECK_EQ(kit_call(c, KIT_EVENT, 100, 0), 0);
		CHECK_EQ(qb_ipcc_event_recv(c, big, sizeof big, -1), 100);
		qb_ipcc_disconnect(c);
		_exit(check_bad != 0);
	}
	waitpid(pid, &status, 0);
	CHECK_EQ(status, 0);
	KIT_WAIT(k->destroyed == 1);
	CHECK_EQ(k->seen_uid, 65534);
	CHECK_EQ(k->seen_gid, 65533);
	kit_end(k);
}

/* Calls fn for each file of the server's connection directories. */
static int each_file(struct kit *k, void (*fn)(const char *name, const struct stat *st, void *arg), void *arg)
{
	char prefix[40], path[600];
	DIR *shm = opendir("/dev/shm"), *dir;
	struct dirent *e, *f;
	struct stat st;
	int n = 0;

	snprintf(prefix, sizeof prefix, "qb-%d-", (int)k->server);
	while (shm != NULL && (e = readdir(shm)) != NULL) {
		if (strncmp(e->d_name, prefix, strlen(prefix)) != 0) {
			continue;
		}
		snprintf(path, sizeof path, "/dev/shm/%s", e->d_name);
		dir = opendir(path);
		while (dir != NULL && (f = readdir(dir)) != NULL) {
			snprintf(path, sizeof path, "/dev/shm/%s/%s", e->d_name, f->d_name);
			/* Filesystem sockets may lie beside the files. */
			if (f->d_name[0] != '.' && stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
				n++;
				fn(f->d_name, &st, arg);
			}
		}
		if (dir != NULL) {
			closedir(dir);
		}
	}
	if (shm != NULL) {
		closedir(shm);
	}
	return n;
}

static void check_owner(const char *name, const struct stat *st, void *arg)
{
	const struct kit_options *o = arg;

	CHECK_EQ(st->st_uid, o->uid);
	CHECK_EQ(st->st_gid, o->gid);
	CHECK_EQ(st->st_mode & 07777, o->mode);
	CHECK(strncmp(name, "qb-", 3) == 0);
}

static void auth_set_decides_owner_and_mode(void)
{
	struct kit *k = kit_new(T);
	qb_ipcc_connection_t *c;

	k->opt.auth_set = 1;
	k->opt.uid = 65534;
	k->opt.gid = 65533;
	k->opt.mode = 0660;
	kit_start(k);
	c = kit_connect(k, 8192);
	CHECK_EQ(each_file(k, check_owner, &k->opt), T != QB_IPC_SHM ? 1 : kit_has_files(k, T) ? 6 : 0);
	CHECK_EQ(kit_echo(c, 64), 0);
	qb_ipcc_disconnect(c);
	kit_end(k);

	/* Without it: the client's own ids, and nobody else may look. */
	k = begin();
	k->opt.uid = geteuid();
	k->opt.gid = getegid();
	k->opt.mode = 0600;
	c = kit_connect(k, 8192);
	CHECK_EQ(each_file(k, check_owner, &k->opt), T != QB_IPC_SHM ? 1 : kit_has_files(k, T) ? 6 : 0);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

/* Daemons that gave up root serve it all the same, though they may not give it their files. */
static void a_server_without_privileges_serves_root(void)
{
	struct kit *k = kit_new(T);
	qb_ipcc_connection_t *c;

	k->opt.setuid = 65534;
	kit_start(k);
	c = kit_connect(k, 8192);
	CHECK(c != NULL);
	if (c != NULL) {
		CHECK_EQ(kit_echo(c, 64), 0);
		CHECK_EQ(kit_call(c, KIT_EVENT, 100, 0), 0);
		CHECK_EQ(qb_ipcc_event_recv(c, big, sizeof big, -1), 100);
		qb_ipcc_disconnect(c);
	}
	KIT_WAIT(k->destroyed == 1);
	kit_end(k);
}

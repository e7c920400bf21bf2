/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A service driven by a GLib main loop through qb_ipcs_poll_handlers, the way cluster daemons do it: one GIOChannel watch
 * per descriptor, priorities mapped, jobs as idle sources. The client is a process of its own.
 */
#include "ipc_scenarios.h"

#include <glib.h>

#define G_FDS 1024

static struct gwatch {
	guint id; /* 0: not registered */
	qb_ipcs_dispatch_fn_t fn;
	void *data;
	int fd;
} watches[G_FDS];
static GMainLoop *gloop;

struct gjob {
	qb_loop_job_dispatch_fn fn;
	void *data;
};

static gint g_priority(enum qb_loop_priority p)
{
	return p == QB_LOOP_HIGH ? G_PRIORITY_HIGH : p == QB_LOOP_MED ? G_PRIORITY_DEFAULT : G_PRIORITY_LOW;
}

static gboolean g_ready(GIOChannel *channel, GIOCondition condition, gpointer data)
{
	struct gwatch *w = data;
	guint id = w->id;

	(void)channel;
	if (w->fn(w->fd, (int32_t)condition, w->data) == 0) {
		return TRUE;
	}
	if (w->id == id) { /* not replaced or removed from within */
		w->id = 0;
		return FALSE;
	}
	return FALSE;
}

static int32_t g_watch(enum qb_loop_priority p, int32_t fd, int32_t events, void *data, qb_ipcs_dispatch_fn_t fn)
{
	GIOChannel *channel = g_io_channel_unix_new(fd);

	watches[fd] = (struct gwatch){0, fn, data, fd};
	/* GLib reports what is asked for and nothing else, not even the end. */
	watches[fd].id = g_io_add_watch_full(channel, g_priority(p), (GIOCondition)events, g_ready, &watches[fd], NULL);
	g_io_channel_unref(channel);
	return 0;
}

static int32_t g_add(enum qb_loop_priority p, int32_t fd, int32_t events, void *data, qb_ipcs_dispatch_fn_t fn)
{
	if (fd < 0 || fd >= G_FDS || watches[fd].id != 0) {
		CHECK(!"a descriptor is added once");
		return -EEXIST;
	}
	return g_watch(p, fd, events, data, fn);
}

static int32_t g_del(int32_t fd)
{
	if (fd < 0 || fd >= G_FDS || watches[fd].id == 0) {
		CHECK(!"only what was added is deleted");
		return -ENOENT;
	}
	g_source_remove(watches[fd].id);
	watches[fd].id = 0;
	return 0;
}

static int32_t g_mod(enum qb_loop_priority p, int32_t fd, int32_t events, void *data, qb_ipcs_dispatch_fn_t fn)
{
	if (g_del(fd) != 0) {
		return -ENOENT;
	}
	return g_watch(p, fd, events, data, fn);
}

static gboolean g_run_job(gpointer data)
{
	struct gjob job = *(struct gjob *)data;

	g_free(data);
	job.fn(job.data);
	return FALSE;
}

static int32_t g_job(enum qb_loop_priority p, void *data, qb_loop_job_dispatch_fn fn)
{
	struct gjob *job = g_new(struct gjob, 1);

	*job = (struct gjob){fn, data};
	g_idle_add_full(p == QB_LOOP_LOW ? G_PRIORITY_LOW : G_PRIORITY_DEFAULT_IDLE, g_run_job, job, NULL);
	return 0;
}

/* The streams of events of ipckit_server.h, and the end: when the client's process closes the pipe. */
static gboolean g_tick(gpointer control)
{
	struct pollfd p = {GPOINTER_TO_INT(control), POLLIN, 0};

	ks_pump();
	if (poll(&p, 1, 0) > 0) {
		g_main_loop_quit(gloop);
	}
	return TRUE;
}

static void g_serve(struct kit *k, int control)
{
	struct qb_ipcs_service_handlers h = {ks_accept, ks_created, ks_msg, ks_closed, ks_destroyed};
	struct qb_ipcs_poll_handlers g = {g_job, g_add, g_mod, g_del};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(100);
	check_bad = 0;
	ks.k = k;
	gloop = g_main_loop_new(NULL, FALSE);
	ks.s = qb_ipcs_create(k->name, 1, k->type, &h);
	qb_ipcs_poll_handlers_set(ks.s, &g);
	if (k->opt.rate) { /* before there are connections: "ipc-socket-priority" does not come into it */
		qb_ipcs_request_rate_limit(ks.s, (enum qb_ipcs_rate_limit)(k->opt.rate - 1));
	}
	k->run_result = qb_ipcs_run(ks.s);
	g_timeout_add(2, g_tick, GINT_TO_POINTER(control));
	k->started = 1;
	g_main_loop_run(gloop);
	qb_ipcs_destroy(ks.s);
	for (int fd = 0; fd < G_FDS; fd++) {
		CHECK_EQ(watches[fd].id, 0);
	}
	fflush(stdout);
	_exit(check_bad != 0);
}

static struct kit *g_begin(int rate, int closed_again)
{
	struct kit *k = kit_new(T);
	int control[2];
	pid_t server;

	k->opt.rate = rate;
	k->opt.closed_again = closed_again;
	CHECK_EQ(pipe(control), 0);
	fflush(stdout);
	server = fork();
	if (server == 0) {
		close(control[1]);
		g_serve(k, control[0]);
	}
	close(control[0]);
	k->server = server;
	k->control = control[1];
	KIT_WAIT(k->started);
	CHECK_EQ(k->run_result, 0);
	return k;
}

static void requests_are_answered(void)
{
	for (int rate = 0; rate <= QB_IPCS_RATE_SLOW + 1; rate++) {
		struct kit *k = g_begin(rate, 0);
		qb_ipcc_connection_t *c = kit_connect(k, 8192);

		for (int i = 0; i < 300; i++) {
			CHECK_EQ(echo_patiently(c, (size_t)(16 + i * 40)), 0);
		}
		for (int i = 0; i < 500; i++) {
			CHECK_EQ(send_silent(c, 200), 200);
		}
		KIT_WAIT(k->silent == 500);
		qb_ipcc_disconnect(c);
		KIT_WAIT(k->destroyed == 1);
		kit_end(k);
	}
}

static void events_arrive_while_requests_are_answered(void)
{
	struct kit *k = g_begin(0, 0);
	qb_ipcc_connection_t *c = kit_connect(k, 8192);

	CHECK_EQ(kit_call(c, KIT_EVENTS, 2000, 300), 0);
	for (int i = 0; i < 2000 && check_bad == 0; i++) {
		CHECK_EQ(qb_ipcc_event_recv(c, big, sizeof big, -1), 300);
		CHECK_EQ(((struct kit_event *)big)->seq, i);
		if (i % 100 == 0) {
			CHECK_EQ(kit_echo(c, 100), 0);
		}
	}
	qb_ipcc_disconnect(c);
	KIT_WAIT(k->destroyed == 1);
	kit_end(k);
}

static void a_killed_client_is_cleaned_up_and_closed_is_repeated(void)
{
	for (int again = 0; again < 3; again += 2) {
		struct kit *k = g_begin(0, again);
		pid_t pid = forked_client(k, 0);
		qb_ipcc_connection_t *c;

		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		KIT_WAIT(k->destroyed == 1);
		CHECK_EQ(k->closed, 1 + again);
		KIT_WAIT(kit_shm_entries(k->server, 0) == 0);
		c = kit_connect(k, 8192);
		CHECK_EQ(kit_echo(c, 64), 0);
		qb_ipcc_disconnect(c);
		kit_end(k);
	}
}

/* Nothing but the end is waited for then, and GLib has to be told to report it. */
static void a_client_that_leaves_while_the_rate_is_off_is_noticed(void)
{
	struct kit *k = g_begin(0, 0);
	qb_ipcc_connection_t *c = kit_connect(k, 8192);

	CHECK_EQ(kit_call(c, KIT_RATE, QB_IPCS_RATE_OFF, 0), 0);
	qb_ipcc_disconnect(c);
	KIT_WAIT(k->destroyed == 1);
	kit_end(k);
}

int main(int argc, char **argv)
{
	kit_main(argc, argv);
	for (int transport = 0; transport < 2; transport++) {
		T = transport == 0 ? QB_IPC_SHM : QB_IPC_SOCKET;
		RUN_T(requests_are_answered);
		RUN_T(events_arrive_while_requests_are_answered);
		RUN_T(a_killed_client_is_cleaned_up_and_closed_is_repeated);
		if (!on_reference()) { /* ipc-rate-off */
			RUN_T(a_client_that_leaves_while_the_rate_is_off_is_noticed);
		}
	}
	return check_done();
}

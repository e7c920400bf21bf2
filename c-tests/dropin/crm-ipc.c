/* SPDX-License-Identifier: LGPL-2.1-or-later
 * Every function of Pacemaker's crm/common/ipc.h, as libcrmcommon offers it to other programs, against live daemons.
 * Runs on a node of the drop-in check; with an argument it measures how many times a second the CIB is read over one
 * connection instead. */
#include "check.h"

#include <crm/cib.h>
#include <crm/crm.h>
#include <crm/common/ipc.h>
#include <crm/common/ipc_controld.h>
#include <crm/common/ipc_pacemakerd.h>
#include <crm/common/mainloop.h>
#include <crm/msg_xml.h>
#include <glib.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct {
	int replies, disconnects;
	enum pcmk_pacemakerd_state state;
	GMainLoop *loop;
} seen;

static void on_event(pcmk_ipc_api_t *api, enum pcmk_ipc_event type, crm_exit_t status, void *data, void *user)
{
	(void)api;
	CHECK_EQ(status, type == pcmk_ipc_event_disconnect ? CRM_EX_DISCONNECT : CRM_EX_OK);
	CHECK(user == &seen);
	if (type == pcmk_ipc_event_disconnect) {
		seen.disconnects++;
	} else if (type == pcmk_ipc_event_reply && data != NULL) {
		pcmk_pacemakerd_api_reply_t *reply = data;

		seen.replies++;
		if (reply->reply_type == pcmk_pacemakerd_reply_ping) {
			seen.state = reply->data.ping.state;
		}
		if (seen.loop != NULL) {
			g_main_loop_quit(seen.loop);
		}
	}
}

static pcmk_ipc_api_t *connected(enum pcmk_ipc_dispatch dispatch)
{
	pcmk_ipc_api_t *api = NULL;

	memset(&seen, 0, sizeof seen);
	CHECK_EQ(pcmk_new_ipc_api(&api, pcmk_ipc_pacemakerd), pcmk_rc_ok);
	pcmk_register_ipc_callback(api, on_event, &seen);
	CHECK(!pcmk_ipc_is_connected(api));
	CHECK_EQ(pcmk_connect_ipc(api, dispatch), pcmk_rc_ok);
	CHECK(pcmk_ipc_is_connected(api));
	return api;
}

static void finish(pcmk_ipc_api_t *api)
{
	CHECK(seen.replies > 0);
	CHECK_EQ(seen.state, pcmk_pacemakerd_state_running);
	pcmk_disconnect_ipc(api);
	CHECK(!pcmk_ipc_is_connected(api));
	CHECK_EQ(seen.disconnects, 1);
	pcmk_free_ipc_api(api);
}

static void synchronous_dispatch_waits_for_the_reply(void)
{
	pcmk_ipc_api_t *api = connected(pcmk_ipc_dispatch_sync);

	for (int i = 0; i < 50; i++) {
		CHECK_EQ(pcmk_pacemakerd_api_ping(api, "dropin"), pcmk_rc_ok);
		CHECK_EQ(seen.replies, i + 1);
	}
	finish(api);
}

static void polled_dispatch_delivers_the_reply(void)
{
	pcmk_ipc_api_t *api = connected(pcmk_ipc_dispatch_poll);

	CHECK_EQ(pcmk_poll_ipc(api, 0), EAGAIN);
	for (int i = 0; i < 50; i++) {
		CHECK_EQ(pcmk_pacemakerd_api_ping(api, "dropin"), pcmk_rc_ok);
		for (int tries = 0; seen.replies <= i && tries < 20; tries++) {
			CHECK_EQ(pcmk_poll_ipc(api, 5000), pcmk_rc_ok);
			pcmk_dispatch_ipc(api);
		}
		CHECK_EQ(seen.replies, i + 1);
	}
	finish(api);
}

static gboolean give_up(gpointer loop)
{
	g_main_loop_quit(loop);
	return G_SOURCE_REMOVE;
}

static void main_loop_dispatch_delivers_the_reply(void)
{
	pcmk_ipc_api_t *api = connected(pcmk_ipc_dispatch_main);
	GMainLoop *loop = g_main_loop_new(NULL, FALSE);
	guint timer = g_timeout_add(20000, give_up, loop);

	seen.loop = loop;
	for (int i = 0; i < 20; i++) {
		CHECK_EQ(pcmk_pacemakerd_api_ping(api, "dropin"), pcmk_rc_ok);
		g_main_loop_run(loop);
		CHECK_EQ(seen.replies, i + 1);
	}
	g_source_remove(timer);
	seen.loop = NULL;
	finish(api);
	g_main_loop_unref(loop);
}

static void every_server_has_a_name(void)
{
	static const enum pcmk_ipc_server servers[] = {pcmk_ipc_attrd, pcmk_ipc_controld, pcmk_ipc_pacemakerd, pcmk_ipc_schedulerd};
	static const char *const names[] = {"attribute manager", "controller", "launcher", "scheduler"};

	for (size_t i = 0; i < sizeof servers / sizeof *servers; i++) {
		pcmk_ipc_api_t *api = NULL;

		CHECK_EQ(pcmk_new_ipc_api(&api, servers[i]), pcmk_rc_ok);
		CHECK(strstr(pcmk_ipc_name(api, true), names[i]) != NULL);
		CHECK(pcmk_ipc_name(api, false) != NULL);
		CHECK_EQ(pcmk_connect_ipc(api, pcmk_ipc_dispatch_sync), pcmk_rc_ok);
		CHECK(pcmk_ipc_is_connected(api));
		if (servers[i] == pcmk_ipc_attrd || servers[i] == pcmk_ipc_controld) {
			CHECK_EQ(pcmk_ipc_purge_node(api, "ghost", 99), pcmk_rc_ok);
		}
		pcmk_free_ipc_api(api);
	}
}

static xmlNode *ping(void)
{
	return create_request("ping", NULL, NULL, "pacemakerd", "dropin", NULL);
}

/* Waits for an event and reads it. */
static long read_one(crm_ipc_t *client)
{
	struct pollfd p = {.fd = crm_ipc_get_fd(client), .events = POLLIN};

	CHECK_EQ(poll(&p, 1, 5000), 1);
	CHECK_EQ(crm_ipc_ready(client), 1);
	return crm_ipc_read(client);
}

static void plain_connections_send_and_read(void)
{
	crm_ipc_t *client = crm_ipc_new("pacemakerd", 300000);
	xmlNode *message = ping(), *reply = NULL;
	pid_t pid = 0;
	uid_t uid = 77;
	gid_t gid = 77;

	CHECK(crm_ipc_default_buffer_size() >= 131072);
	CHECK(!crm_ipc_connected(client));
	CHECK(crm_ipc_connect(client));
	CHECK(crm_ipc_connected(client));
	CHECK(strcmp(crm_ipc_name(client), "pacemakerd") == 0);
	CHECK(crm_ipc_get_fd(client) >= 0);
	CHECK_EQ(crm_ipc_ready(client), 0);
	CHECK_EQ(crm_ipc_is_authentic_process(crm_ipc_get_fd(client), 0, 0, &pid, &uid, &gid), 1);
	CHECK(pid > 1);
	CHECK_EQ(uid, 0);
	CHECK_EQ(gid, 0);

	/* With a reply: the acknowledgement comes as the response, the answer as an event. */
	CHECK(crm_ipc_send(client, message, crm_ipc_client_response, 5000, &reply) > 0);
	CHECK(reply != NULL);
	free_xml(reply);
	CHECK(read_one(client) > 0);
	CHECK(strstr(crm_ipc_buffer(client), "pacemakerd_state") != NULL || strstr(crm_ipc_buffer(client), "running") != NULL);
	CHECK_EQ(crm_ipc_buffer_flags(client) & crm_ipc_compressed, 0);

	/* Without one. */
	CHECK(crm_ipc_send(client, message, crm_ipc_flags_none, 5000, NULL) > 0);
	CHECK(read_one(client) > 0);

	/* Large enough to be compressed on the way. */
	char *padding = malloc(200001);
	memset(padding, 'x', 200000);
	padding[200000] = 0;
	crm_xml_add(message, "padding", padding);
	reply = NULL;
	CHECK(crm_ipc_send(client, message, crm_ipc_client_response, 5000, &reply) > 0);
	CHECK(reply != NULL);
	free_xml(reply);
	CHECK(read_one(client) > 0);
	free(padding);
	free_xml(message);

	crm_ipc_close(client);
	CHECK(!crm_ipc_connected(client));
	CHECK(crm_ipc_connect(client));
	crm_ipc_close(client);
	crm_ipc_destroy(client);
}

static void an_unknown_server_is_refused(void)
{
	crm_ipc_t *client = crm_ipc_new("no-such-server", 0);

	CHECK(!crm_ipc_connect(client));
	CHECK(!crm_ipc_connected(client));
	crm_ipc_destroy(client);
}

static void messages_can_be_made(void)
{
	xmlNode *request = ping(), *hello = create_hello_message("uuid", "dropin", "0", "1");
	xmlNode *reply = create_reply(request, NULL);

	CHECK(request != NULL && hello != NULL && reply != NULL);
	free_xml(request);
	free_xml(hello);
	free_xml(reply);
	pcmk_free_ipc_event(NULL);
}

static int measure(int reads)
{
	cib_t *cib = cib_new();
	struct timespec from, to;
	int failed = 0;

	if (cib->cmds->signon(cib, "dropin", cib_query) != pcmk_ok) {
		fprintf(stderr, "no connection to the CIB manager\n");
		return 1;
	}
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (int i = 0; i < reads; i++) {
		xmlNode *out = NULL;

		failed += cib->cmds->query(cib, NULL, &out, cib_scope_local | cib_sync_call) != pcmk_ok || out == NULL;
		free_xml(out);
	}
	clock_gettime(CLOCK_MONOTONIC, &to);
	cib->cmds->signoff(cib);
	cib_delete(cib);
	printf("%.1f\n", reads / ((to.tv_sec - from.tv_sec) + (to.tv_nsec - from.tv_nsec) / 1e9));
	return failed != 0;
}

int main(int argc, char **argv)
{
	crm_log_cli_init("dropin");
	if (argc > 1) {
		return measure(atoi(argv[1]));
	}
	RUN(messages_can_be_made);
	RUN(synchronous_dispatch_waits_for_the_reply);
	RUN(polled_dispatch_delivers_the_reply);
	RUN(main_loop_dispatch_delivers_the_reply);
	RUN(every_server_has_a_name);
	RUN(plain_connections_send_and_read);
	RUN(an_unknown_server_is_refused);
	return check_done();
}

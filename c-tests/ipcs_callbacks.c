/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qb/qbipcs.h: which callbacks come in which order, and what each of them may do to its connection and its service. */
#include "ipc_scenarios.h"

/* One client's life with something special in it; returns what the client's connect and echo gave. */
static struct kit *life(const struct kit_options *o, int *connected)
{
	struct kit *k = kit_new(T);
	qb_ipcc_connection_t *c;

	k->opt = *o;
	kit_start(k);
	CHECK_EQ(k->run_result, 0);
	c = qb_ipcc_connect(k->name, 8192);
	*connected = c != NULL && kit_echo(c, 64) == 0;
	qb_ipcc_disconnect(c);
	KIT_WAIT(k->destroyed > 0);
	return k;
}

static void a_disconnect_in_accept_is_ignored(void)
{
	int ok;
	struct kit *k = life(&(struct kit_options){.disconnect_in = KIT_IN_ACCEPT}, &ok);

	CHECK(ok);
	CHECK_STR(k->trace, "accept <disconnect disconnect> created closed destroyed");
	kit_end(k);
}

static void a_disconnect_in_created_skips_closed(void)
{
	int ok;
	struct kit *k = life(&(struct kit_options){.disconnect_in = KIT_IN_CREATED}, &ok);

	CHECK(!ok);
	CHECK_STR(k->trace, "accept created <disconnect disconnect> destroyed");
	kit_shm_entries(k->server, 1); /* the client may have been too late to see its last file go */
	kit_end(k);
}

static void a_disconnect_in_msg_process_ends_that_connection_only(void)
{
	struct kit *k = kit_new(T);
	qb_ipcc_connection_t *c;

	k->opt.disconnect_in = KIT_IN_MSG;
	kit_start(k);
	for (int i = 1; i <= 5; i++) {
		c = kit_connect(k, 8192);
		kit_echo(c, 64); /* the answer was sent before, and may or may not be read in time */
		KIT_WAIT(k->destroyed == i);
		CHECK_EQ(k->closed, i);
		CHECK(is_gone(kit_echo(c, 64)));
		qb_ipcc_disconnect(c);
	}
	CHECK(strncmp(k->trace, "accept created <disconnect closed", 33) == 0);
	kit_end(k);
}

static void a_disconnect_in_closed_changes_nothing(void)
{
	int ok;
	struct kit *k = life(&(struct kit_options){.disconnect_in = KIT_IN_CLOSED}, &ok);

	CHECK(ok);
	CHECK_STR(k->trace, "accept created closed <disconnect disconnect> destroyed");
	kit_end(k);
}

static void a_disconnect_in_destroyed_changes_nothing(void)
{
	int ok;
	struct kit *k = life(&(struct kit_options){.disconnect_in = KIT_IN_DESTROYED}, &ok);

	CHECK(ok);
	kit_end(k);
}

static void destroying_the_service_in_accept_keeps_the_client(void)
{
	int ok;
	struct kit *k = life(&(struct kit_options){.destroy_in = KIT_IN_ACCEPT}, &ok);

	CHECK(ok);
	CHECK_STR(k->trace, "accept <destroy destroy> created closed destroyed");
	CHECK(qb_ipcc_connect(k->name, 8192) == NULL);
	kit_end(k);
}

static void destroying_the_service_in_created_works(void)
{
	int ok;
	struct kit *k = life(&(struct kit_options){.destroy_in = KIT_IN_CREATED}, &ok);

	CHECK(!ok);
	CHECK_STR(k->trace, "accept created <destroy destroy> destroyed");
	kit_shm_entries(k->server, 1);
	kit_end(k);
}

static void destroying_the_service_in_closed_works(void)
{
	int ok;
	struct kit *k = life(&(struct kit_options){.destroy_in = KIT_IN_CLOSED}, &ok);

	CHECK(ok);
	CHECK_STR(k->trace, "accept created closed <destroy destroy> destroyed");
	kit_end(k);
}

static void destroying_the_service_in_destroyed_works(void)
{
	int ok;
	struct kit *k = life(&(struct kit_options){.destroy_in = KIT_IN_DESTROYED}, &ok);

	CHECK(ok);
	KIT_WAIT(strstr(k->trace, "destroy>") != NULL);
	CHECK_STR(k->trace, "accept created closed destroyed <destroy destroy>");
	CHECK_EQ(k->destroyed, 1);
	kit_end(k);
}

static void destroying_the_service_in_msg_process_works(void)
{
	struct kit *k = kit_new(T);
	qb_ipcc_connection_t *c;

	k->opt.destroy_in = KIT_IN_MSG;
	kit_start(k);
	c = kit_connect(k, 8192);
	kit_echo(c, 64);
	KIT_WAIT(k->destroyed == 1);
	CHECK_EQ(k->closed, 1);
	CHECK(qb_ipcc_connect(k->name, 8192) == NULL);
	CHECK(is_gone(kit_echo(c, 64)));
	qb_ipcc_disconnect(c);
	kit_end(k);
}

static void a_refusal_that_is_not_an_errno_is_a_refusal(void)
{
	struct kit *k = kit_new(T);

	k->opt.accept_result = 5;
	kit_start(k);
	CHECK(qb_ipcc_connect(k->name, 8192) == NULL);
	KIT_WAIT(k->destroyed == 1);
	CHECK_STR(k->trace, "accept destroyed");
	kit_end(k);
}

static void closed_is_repeated_until_it_agrees(void)
{
	int ok;
	struct kit *k = life(&(struct kit_options){.closed_again = 2}, &ok);

	CHECK(ok);
	CHECK_STR(k->trace, "accept created closed closed closed destroyed");
	KIT_WAIT(k->job_adds == 2);
	kit_end(k);
}

static void closed_is_not_repeated_without_a_job_queue(void)
{
	int ok;
	struct kit *k = life(&(struct kit_options){.closed_again = 2, .no_job_add = 1}, &ok);

	CHECK(ok);
	CHECK_STR(k->trace, "accept created closed destroyed");
	kit_end(k);
}

static void references_may_be_taken_and_dropped_in_callbacks(void)
{
	for (int where = KIT_IN_ACCEPT; where <= KIT_IN_CLOSED; where++) {
		int ok;
		struct kit *k = life(&(struct kit_options){.ref_in = where}, &ok);

		CHECK(ok);
		CHECK_STR(k->trace, "accept created closed destroyed");
		kit_end(k);
	}
}

static void references_in_destroyed_change_nothing(void)
{
	int ok;
	struct kit *k = life(&(struct kit_options){.ref_in = KIT_IN_DESTROYED}, &ok);

	CHECK(ok);
	CHECK_EQ(k->destroyed, 1);
	kit_end(k);
}

static void sends_before_and_after_the_connection_fail_cleanly(void)
{
	static const int where[] = {KIT_IN_ACCEPT, KIT_IN_CLOSED};

	for (int i = 0; i < 2; i++) {
		int ok;
		struct kit *k = life(&(struct kit_options){.event_in = where[i], .respond_in = where[i]}, &ok);

		CHECK(ok);
		CHECK(k->probe[1] < 0);
		if (where[i] == KIT_IN_ACCEPT) {
			CHECK(k->probe[0] < 0);
		}
		CHECK_STR(k->trace, "accept created closed destroyed");
		kit_end(k);
	}
}

static void sends_in_destroyed_fail_cleanly(void)
{
	int ok;
	struct kit *k = life(&(struct kit_options){.event_in = KIT_IN_DESTROYED, .respond_in = KIT_IN_DESTROYED}, &ok);

	CHECK(ok);
	KIT_WAIT(k->probe[1] != 0);
	CHECK(k->probe[0] < 0 && k->probe[1] < 0);
	CHECK_EQ(k->destroyed, 1);
	kit_end(k);
}

static void a_response_may_be_sent_from_created(void)
{
	struct kit *k = kit_new(T);
	qb_ipcc_connection_t *c;

	k->opt.respond_in = k->opt.event_in = KIT_IN_CREATED;
	kit_start(k);
	c = kit_connect(k, 8192);
	KIT_WAIT(k->probe[0] != 0);
	if (T == QB_IPC_SHM || k->probe[0] > 0) { /* a slow client has no datagram socket yet, and the server is told */
		CHECK_EQ(k->probe[0], sizeof(struct kit_reply));
		CHECK_EQ(qb_ipcc_recv(c, big, sizeof big, -1), sizeof(struct kit_reply));
	}
	KIT_WAIT(k->probe[1] != 0);
	if (!(T == QB_IPC_SOCKET && k->server_is_reference) || k->probe[1] > 0) { /* the same */
		CHECK_EQ(k->probe[1], sizeof(struct kit_event));
		CHECK_EQ(qb_ipcc_event_recv(c, big, sizeof big, -1), sizeof(struct kit_event));
	}
	CHECK_EQ(kit_echo(c, 64), 0);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

static void handlers_may_be_left_out(void)
{
	struct kit *k = kit_new(T);
	qb_ipcc_connection_t *c;

	k->opt.no_accept = k->opt.no_created = k->opt.no_closed = k->opt.no_destroyed = 1;
	kit_start(k);
	for (int i = 0; i < 3; i++) {
		c = kit_connect(k, 8192);
		CHECK_EQ(kit_echo(c, 64), 0);
		qb_ipcc_disconnect(c);
	}
	KIT_WAIT(kit_shm_entries(k->server, 0) == 0);
	kit_end(k);
}

/* Commands of this program: run the main loop in msg_process; leave a number in the trace. */
enum { NEST = 1000, NOTE };

static int more(qb_ipcs_connection_t *c, const struct kit_request *r)
{
	char word[16];

	(void)c;
	if (r->hdr.id == NEST) {
		kit_trace("<nest");
		ks.k->probe[0] = 0;
		for (int turn = 0; turn < 20; turn++) {
			ks.k->probe[0] += ml_turn(10) > 0;
		}
		kit_trace("nest>");
	} else if (r->hdr.id == NOTE) {
		snprintf(word, sizeof word, "%d", r->arg[0]);
		kit_trace(word);
	}
	return r->hdr.id == NEST || r->hdr.id == NOTE;
}

static void a_main_loop_inside_msg_process_handles_each_request_once(void)
{
	struct kit *k = kit_new(T);
	qb_ipcc_connection_t *c;

	kit_start(k);
	c = kit_connect(k, 8192);
	/* All of them are there when the first is handled. */
	CHECK_EQ(kill(k->server, SIGSTOP), 0);
	CHECK(kit_send(c, NEST, 0, 0) > 0);
	for (int i = 1; i <= 3; i++) {
		CHECK(kit_send(c, NOTE, i, 0) > 0);
	}
	CHECK_EQ(kill(k->server, SIGCONT), 0);
	CHECK_EQ(kit_echo(c, 64), 0);
	KIT_WAIT(strstr(k->trace, "nest>") != NULL);
	/* In shared memory a request stays where it is until msg_process returns, and those behind it wait. */
	CHECK(k->probe[0] <= 5); /* no busy loop, whatever waits */
	CHECK_STR(k->trace, T == QB_IPC_SHM ? "accept created <nest nest> 1 2 3" : "accept created <nest 1 2 3 nest>");
	qb_ipcc_disconnect(c);
	kit_end(k);
}

int main(int argc, char **argv)
{
	ks_more = more;
	kit_main(argc, argv);
	for (int transport = 0; transport < 2; transport++) {
		T = transport == 0 ? QB_IPC_SHM : QB_IPC_SOCKET;
		RUN_T(a_disconnect_in_accept_is_ignored);
		RUN_T(a_disconnect_in_created_skips_closed);
		RUN_OURS(a_disconnect_in_msg_process_ends_that_connection_only, "ipc-disconnect-in-message");
		RUN_OURS(a_disconnect_in_closed_changes_nothing, "ipc-reentrant-end");
		RUN_OURS(a_disconnect_in_destroyed_changes_nothing, "ipc-reentrant-end");
		RUN_T(destroying_the_service_in_accept_keeps_the_client);
		RUN_T(destroying_the_service_in_created_works);
		RUN_OURS(destroying_the_service_in_msg_process_works, "ipc-disconnect-in-message");
		RUN_OURS(destroying_the_service_in_closed_works, "ipc-reentrant-end");
		RUN_T(destroying_the_service_in_destroyed_works);
		RUN_T(a_refusal_that_is_not_an_errno_is_a_refusal);
		RUN_T(closed_is_repeated_until_it_agrees);
		RUN_OURS(closed_is_not_repeated_without_a_job_queue, "ipc-closed-without-jobs");
		RUN_T(references_may_be_taken_and_dropped_in_callbacks);
		RUN_OURS(references_in_destroyed_change_nothing, "ipc-reentrant-end");
		RUN_T(sends_before_and_after_the_connection_fail_cleanly);
		RUN_OURS(sends_in_destroyed_fail_cleanly, "ipc-reentrant-end");
		RUN_T(a_response_may_be_sent_from_created);
		RUN_T(handlers_may_be_left_out);
		RUN_OURS(a_main_loop_inside_msg_process_handles_each_request_once, "ipc-nested-main-loop");
	}
	return check_done();
}

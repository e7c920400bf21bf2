/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qb/qbipcs.h: arguments, references, statistics, poll handlers, limits; on both transports. Callbacks: ipcs_callbacks.c. */
#include "ipc_scenarios.h"
#include "ipcs_leaving.h"

#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

_Static_assert(sizeof(struct qb_ipcs_stats) == 8, "public");
_Static_assert(sizeof(struct qb_ipcs_connection_stats) == 64, "public");
_Static_assert(sizeof(struct qb_ipcs_connection_stats_2) == 72, "public");
_Static_assert(offsetof(struct qb_ipcs_connection_stats_2, event_q_length) == 64, "public");
_Static_assert(sizeof(struct qb_ipcs_poll_handlers) == 4 * sizeof(void *), "public");
_Static_assert(sizeof(struct qb_ipcs_service_handlers) == 5 * sizeof(void *), "public");
_Static_assert(QB_IPCS_RATE_FAST == 0 && QB_IPCS_RATE_OFF_2 == 4, "public");

static struct qb_ipcs_service_handlers handlers = {ks_accept, ks_created, ks_msg, ks_closed, ks_destroyed};

static int32_t run_one(const char *name, int type, int with_poll_handlers)
{
	qb_ipcs_service_t *s = qb_ipcs_create(name, 1, (enum qb_ipc_type)type, &handlers);
	int32_t result;

	CHECK(s != NULL);
	if (with_poll_handlers) {
		qb_ipcs_poll_handlers_set(s, &ml_handlers);
	}
	result = qb_ipcs_run(s);
	if (result == 0) {
		CHECK_EQ(ml_registered(), 1);
		qb_ipcs_destroy(s);
	}
	CHECK_EQ(ml_registered(), 0);
	CHECK_EQ(ml.misuse, 0);
	return result; /* a service that did not run is gone */
}

static void run_says_what_is_wrong(void)
{
	char name[40];

	snprintf(name, sizeof name, "qbt%d-run", (int)getpid());
	CHECK_EQ(run_one(name, QB_IPC_SHM, 1), 0);
	CHECK_EQ(run_one(name, QB_IPC_SOCKET, 1), 0);
	CHECK_EQ(run_one(name, QB_IPC_NATIVE, 1), 0);
	CHECK_EQ(run_one("", QB_IPC_SHM, 1), 0);
	CHECK_EQ(run_one(name, QB_IPC_POSIX_MQ, 1), -ENOTSUP);
	CHECK_EQ(run_one(name, QB_IPC_SYSV_MQ, 1), -ENOTSUP);
	CHECK_EQ(run_one(name, 17, 1), -EINVAL);
	CHECK_EQ(run_one(name, -1, 1), -EINVAL);
	for (int type = QB_IPC_SOCKET; type <= QB_IPC_NATIVE; type++) {
		CHECK_EQ(run_one(name, type, 0), -EINVAL);
	}
}

static void a_name_in_use_is_refused(void)
{
	struct kit *k = begin(), *second = kit_new(T);
	qb_ipcc_connection_t *c = kit_connect(k, 8192);

	memcpy(second->name, k->name, sizeof k->name);
	kit_start(second);
	CHECK_EQ(second->run_result, -EADDRINUSE);
	CHECK_EQ_COMPAT(second->misuse, 1, 0, "ipc-failed-run");
	kit_end(second);
	CHECK_EQ(kit_echo(c, 64), 0);
	qb_ipcc_disconnect(c);
	kit_end(k);

	/* And free again once its owner has gone. */
	second = kit_new(T);
	kit_start(second);
	CHECK_EQ(second->run_result, 0);
	kit_end(second);
}

static void no_handle_is_harmless(void)
{
	struct qb_ipcs_connection_stats cs;
	struct qb_ipcs_stats s;
	char b[32];

	qb_ipcs_destroy(NULL);
	qb_ipcs_enforce_buffer_size(NULL, 1000);
	CHECK_EQ(qb_ipcs_stats_get(NULL, &s, 0), -EINVAL);
	qb_ipcs_connection_ref(NULL);
	qb_ipcs_connection_unref(NULL);
	qb_ipcs_disconnect(NULL);
	qb_ipcs_context_set(NULL, b);
	qb_ipcs_connection_auth_set(NULL, 0, 0, 0600);
	CHECK(qb_ipcs_context_get(NULL) == NULL);
	CHECK(qb_ipcs_connection_service_context_get(NULL) == NULL);
	CHECK(qb_ipcs_connection_next_get(NULL, NULL) == NULL);
	CHECK_EQ(qb_ipcs_service_id_get(NULL), -EINVAL);
	CHECK_EQ(qb_ipcs_connection_stats_get(NULL, &cs, 0), -EINVAL);
	errno = 0;
	CHECK(qb_ipcs_connection_stats_get_2(NULL, 0) == NULL);
	CHECK_EQ(errno, EINVAL);
	CHECK_EQ(qb_ipcs_connection_get_buffer_size(NULL), -EINVAL);
	CHECK_EQ(qb_ipcs_response_send(NULL, b, sizeof b), -EINVAL);
	CHECK_EQ(qb_ipcs_response_sendv(NULL, NULL, 0), -EINVAL);
	CHECK_EQ(qb_ipcs_event_send(NULL, b, sizeof b), -EINVAL);
	CHECK_EQ(qb_ipcs_event_sendv(NULL, NULL, 0), -EINVAL);
}

static void missing_service_arguments_are_refused(void)
{
	qb_ipcs_service_t *s;
	char b[4];

	qb_ipcs_ref(NULL);
	qb_ipcs_unref(NULL);
	qb_ipcs_poll_handlers_set(NULL, &ml_handlers);
	qb_ipcs_service_context_set(NULL, b);
	CHECK(qb_ipcs_service_context_get(NULL) == NULL);
	CHECK_EQ(qb_ipcs_run(NULL), -EINVAL);
	qb_ipcs_request_rate_limit(NULL, QB_IPCS_RATE_FAST);
	CHECK(qb_ipcs_connection_first_get(NULL) == NULL);
	errno = 0;
	CHECK(qb_ipcs_create(NULL, 0, QB_IPC_SHM, &handlers) == NULL);
	CHECK_EQ(errno, EINVAL);
	errno = 0;
	CHECK(qb_ipcs_create("qbt-x", 0, QB_IPC_SHM, NULL) == NULL);
	CHECK_EQ(errno, EINVAL);
	s = qb_ipcs_create("qbt-x", 0, QB_IPC_SHM, &handlers);
	qb_ipcs_poll_handlers_set(s, NULL);
	CHECK_EQ(qb_ipcs_stats_get(s, NULL, 0), -EINVAL);
	CHECK_EQ(qb_ipcs_run(s), -EINVAL);
}

static void the_getters_know_their_connection(void)
{
	struct kit *k = kit_new(T);
	qb_ipcc_connection_t *a, *b;

	k->opt.service_id = 4711;
	kit_start(k);
	a = kit_connect(k, 8192);
	CHECK_EQ(kit_call(a, KIT_SELF_CHECK, 0, 0), 0);
	b = kit_connect(k, 8192);
	CHECK_EQ(kit_call(b, KIT_SELF_CHECK, 0, 0), 0);
	CHECK_EQ(kit_call(a, KIT_ITERATE, 0, 0), 2);
	qb_ipcc_disconnect(b);
	KIT_WAIT(k->destroyed == 1); /* nothing else holds a reference: iterating gave its own back */
	CHECK_EQ(kit_call(a, KIT_ITERATE, 0, 0), 1);
	CHECK_EQ(kit_call(a, KIT_SELF_CHECK, 0, 0), 0);
	qb_ipcc_disconnect(a);
	kit_end(k);
}

static void check_dead_sends(struct kit *k)
{
	for (int i = 0; i < 4; i++) {
		if (k->probe[i] >= 0) {
			printf("  send %d on a dead connection: %jd\n", i, (intmax_t)k->probe[i]);
			check_bad++;
		}
	}
	CHECK_EQ(k->probe[4], k->opt.service_id);
}

static void a_kept_connection_outlives_its_client_and_sends_fail(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *c = kit_connect(k, 8192);

	CHECK_EQ(kit_call(c, KIT_KEEP, 0, 0), 0);
	qb_ipcc_disconnect(c);
	KIT_WAIT(k->closed == 1);
	c = kit_connect(k, 8192);
	CHECK_EQ(k->destroyed, 0);
	CHECK_EQ(kit_call(c, KIT_USE_KEPT, 0, 0), 0);
	KIT_WAIT(k->destroyed == 1);
	if (!on_reference()) {
		check_dead_sends(k);
	}
	CHECK_EQ(kit_echo(c, 64), 0);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

static void a_kept_connection_outlives_its_service_and_sends_fail(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *c = kit_connect(k, 8192);

	CHECK_EQ(kit_echo(c, 64), 0);
	kit_control(k, 'k');
	kit_control(k, 'd');
	CHECK_EQ(k->closed, 1);
	CHECK_EQ(k->destroyed, 0);
	CHECK(is_gone(kit_echo(c, 64)));
	CHECK(qb_ipcc_connect(k->name, 8192) == NULL);
	CHECK_EQ(errno, ECONNREFUSED);
	kit_control(k, 'u');
	CHECK_EQ(k->destroyed, 1);
	if (!on_reference()) {
		check_dead_sends(k);
	}
	qb_ipcc_disconnect(c);
	kit_end(k);
}

static void a_disconnect_from_the_main_loop_works(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *a = kit_connect(k, 8192), *b = kit_connect(k, 8192);

	kit_control(k, 'c');
	KIT_WAIT(k->destroyed == 1);
	CHECK(is_gone(kit_echo(b, 64)));
	CHECK_EQ(kit_echo(a, 64), 0);
	CHECK_STR(k->trace, "accept created accept created closed destroyed");
	qb_ipcc_disconnect(b);
	qb_ipcc_disconnect(a);
	kit_end(k);
}

static void a_message_that_is_refused_is_dropped(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *c = kit_connect(k, 8192);

	CHECK_EQ(kit_send(c, KIT_BACK_OFF, 1, 0), sizeof(struct kit_request));
	KIT_WAIT(k->messages == 1);
	CHECK_EQ(qb_ipcc_recv(c, big, sizeof big, 100), -ETIMEDOUT);
	CHECK_EQ(k->messages, 1);
	CHECK_EQ(kit_send(c, KIT_BACK_OFF, 1, 0), sizeof(struct kit_request));
	CHECK_EQ(qb_ipcc_recv(c, big, sizeof big, -1), sizeof(struct kit_reply));
	CHECK_EQ(k->messages, 2);
	CHECK_EQ(kit_echo(c, 64), 0);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

static void service_statistics_count_connections(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *a = kit_connect(k, 8192), *b = kit_connect(k, 8192);

	CHECK_EQ(kit_call(a, KIT_STATS, 0, 0), 0);
	CHECK_EQ(k->sstats.active_connections, 2);
	CHECK_EQ(k->sstats.closed_connections, 0);
	qb_ipcc_disconnect(b);
	KIT_WAIT(k->destroyed == 1);
	CHECK_EQ(kit_call(a, KIT_STATS, 0, 1), 0);
	CHECK_EQ(k->sstats.active_connections, 1);
	CHECK_EQ(k->sstats.closed_connections, 1);
	CHECK_EQ(kit_call(a, KIT_STATS, 0, 0), 0);
	CHECK_EQ_COMPAT(k->sstats.active_connections, 0, 1, "ipc-stats-clear");
	CHECK_EQ(k->sstats.closed_connections, 0);
	qb_ipcc_disconnect(a);
	kit_end(k);
}

static void flow_control_is_counted(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *c = kit_connect(k, 8192);

	CHECK_EQ(kit_echo(c, 64), 0);
	kit_rate(k, QB_IPCS_RATE_OFF);
	kit_rate(k, QB_IPCS_RATE_OFF);
	kit_rate(k, QB_IPCS_RATE_FAST);
	kit_rate(k, QB_IPCS_RATE_SLOW);
	kit_rate(k, QB_IPCS_RATE_OFF_2);
	kit_rate(k, QB_IPCS_RATE_NORMAL);
	CHECK_EQ(kit_call(c, KIT_STATS, 0, 0), 0);
	CHECK_EQ(k->cstats.flow_control_state, 0);
	CHECK_EQ(k->cstats.flow_control_count, 4);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

/* Deleted before closed(), every registration undone, and on shared memory the priority follows the rate. */
static void the_poll_handlers_are_used_as_documented(void)
{
	struct kit *k = kit_new(T);
	qb_ipcc_connection_t *c;
	const char *trace;
	int all;

	k->opt.trace_poll = 1;
	kit_start(k);
	CHECK(strncmp(k->trace, "[add p1 fd", 10) == 0 && strstr(k->trace, " ev0x23]") != NULL);
	c = kit_connect(k, 8192);
	CHECK_EQ(kit_echo(c, 64), 0);
	kit_rate(k, QB_IPCS_RATE_SLOW);
	kit_rate(k, QB_IPCS_RATE_OFF);
	kit_rate(k, QB_IPCS_RATE_FAST);
	kit_rate(k, QB_IPCS_RATE_NORMAL);
	CHECK_EQ(kit_echo(c, 64), 0);
	if (k->server_is_reference) {
		CHECK_EQ(k->mods, 3); /* SLOW and OFF are the same priority */
	}
	CHECK(k->mods >= 3);
	CHECK_EQ_COMPAT(k->misuse, T == QB_IPC_SHM ? 0 : 3, 0, "ipc-socket-priority");
	trace = strstr(k->trace, "created"); /* what is changed before is the library's business */
	CHECK(trace != NULL && strstr(trace, "[mod p0 ") < strstr(trace, "[mod p2 "));
	CHECK(trace != NULL && strstr(trace, "[mod p2 ") < strstr(trace, "[mod p1 "));
	qb_ipcc_disconnect(c);
	KIT_WAIT(k->destroyed == 1);
	KIT_WAIT(k->registered == 1);
	/* The service, the client's handshake, and its channels: ours watches for a handshake only if it has to wait. */
	all = T == QB_IPC_SHM ? 3 : 4;
	CHECK_EQ_COMPAT(k->adds, all, k->adds == all - 1 ? all - 1 : all, "ipc-handshake-watch");
	CHECK_EQ(k->dels, k->adds - 1);
	CHECK_EQ(k->job_adds, 0);
	CHECK(strstr(k->trace, "] closed destroyed") != NULL); /* the last del comes before closed */
	kit_end(k);
}

/* A main loop that refuses its n-th descriptor costs one client, nothing else. */
static void a_refusing_main_loop_costs_one_client(void)
{
	for (int nth = 1; nth <= 4; nth++) {
		struct kit *k = kit_new(T);
		qb_ipcc_connection_t *c;
		int failed = 0;

		k->opt.fail_add = nth;
		kit_start(k);
		CHECK_EQ(k->run_result, 0);
		for (int i = 0; i < 5; i++) {
			pid_t pid = fork();
			int status = -1;

			if (pid == 0) {
				c = qb_ipcc_connect(k->name, 8192);
				status = c != NULL && kit_echo(c, 64) == 0 ? 0 : 77;
				qb_ipcc_disconnect(c);
				_exit(status);
			}
			waitpid(pid, &status, 0);
			failed += status != 0;
		}
		CHECK_EQ(failed, 1);
		c = kit_connect(k, 8192);
		CHECK_EQ(kit_echo(c, 64), 0);
		KIT_WAIT(kit_call(c, KIT_ITERATE, 0, 0) == 1);
		qb_ipcc_disconnect(c);
		kit_end(k);
	}
}

static void a_service_without_descriptors_lives_on(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *a = kit_connect(k, 8192), *b;
	struct rlimit none = {0, 0}, was;
	int fd = -1;

	CHECK_EQ(kit_echo(a, 64), 0);
	CHECK_EQ(prlimit(k->server, RLIMIT_NOFILE, NULL, &was), 0);
	none.rlim_max = was.rlim_max;
	none.rlim_cur = (rlim_t)kit_top_fd(k->server);
	CHECK_EQ(prlimit(k->server, RLIMIT_NOFILE, &none, NULL), 0);
	/* Left waiting, or refused at once: then perhaps before its request was on its way. */
	b = qb_ipcc_connect_async(k->name, 8192, &fd);
	CHECK(b != NULL || errno > 0); /* a server that refuses is faster than our request, at times */
	for (int i = 0; i < 20; i++) {
		CHECK_EQ(kit_echo(a, 100), 0);
	}
	CHECK_EQ(prlimit(k->server, RLIMIT_NOFILE, &was, NULL), 0);
	if (b != NULL) {
		CHECK(kit_readable(fd, -1) != 0);
		if (qb_ipcc_connect_continue(b) == 0) {
			CHECK_EQ(kit_echo(b, 64), 0);
			qb_ipcc_disconnect(b);
		}
	}
	b = kit_connect(k, 8192);
	CHECK_EQ(kit_echo(b, 64), 0);
	CHECK_EQ(kit_echo(a, 64), 0);
	qb_ipcc_disconnect(b);
	qb_ipcc_disconnect(a);
	kit_end(k);
}

static int raw_connect(struct kit *k)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(a.sun_path + 1, k->name, strlen(k->name));
	CHECK_EQ(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	return fd;
}

/* Whoever connects and does not speak the protocol is put out without an answer, or waits; others are served. */
static void strangers_on_the_socket_do_no_harm(void)
{
	struct kit *k = begin();
	struct {
		struct qb_ipc_request_header hdr;
		uint32_t max __attribute__((aligned(8)));
	} hello;
	qb_ipcc_connection_t *c;
	int silent, half, wrong, gone;
	char b;

	_Static_assert(sizeof hello == 24, "wire layout");
	memset(&hello, 0, sizeof hello); /* the padding too */
	hello.hdr.id = -7;
	hello.hdr.size = sizeof hello;
	hello.max = 100;
	silent = raw_connect(k);
	half = raw_connect(k);
	wrong = raw_connect(k);
	gone = raw_connect(k);
	close(gone);
	gone = raw_connect(k);
	CHECK_EQ(write(gone, &hello, 10), 10);
	close(gone);
	CHECK_EQ(write(half, &hello, 10), 10);
	CHECK_EQ(write(wrong, &hello, sizeof hello), sizeof hello);
	CHECK(read(wrong, &b, 1) <= 0);
	c = kit_connect(k, 8192);
	CHECK_EQ(kit_echo(c, 64), 0);
	CHECK_EQ(k->accepted, 1);
	qb_ipcc_disconnect(c);
	close(silent);
	close(half);
	close(wrong);
	KIT_WAIT(k->destroyed == 1);
	c = kit_connect(k, 8192);
	CHECK_EQ(kit_echo(c, 64), 0);
	KIT_WAIT(k->registered == (T == QB_IPC_SHM ? 2 : 3));
	qb_ipcc_disconnect(c);
	kit_end(k);
}

static void an_oversized_event_in_pieces_is_refused(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *c = kit_connect(k, 8192);

	CHECK_EQ(kit_call(c, KIT_EVENT, 12329, 1), 0);
	CHECK_EQ(k->last_send, -EMSGSIZE);
	CHECK_EQ(qb_ipcc_event_recv(c, big, sizeof big, 50), -EAGAIN);
	CHECK_EQ(kit_call(c, KIT_EVENT, 12328, 1), 0);
	CHECK_EQ(k->last_send, 12328);
	CHECK_EQ(qb_ipcc_event_recv(c, big, sizeof big, -1), 12328);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

/* Either it cannot be sent, or it arrives whole. */
static void an_oversized_response_is_refused_or_arrives(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *c = kit_connect(k, 8192);

	for (int pieces = 0; pieces < 2; pieces++) {
		k->last_send = 0;
		CHECK_EQ(kit_send(c, KIT_RESPONSE, 12400, pieces), sizeof(struct kit_request));
		KIT_WAIT(k->last_send == 12400 || k->last_send < 0); /* the 64 of an echo may still come */
		if (k->last_send == 12400) {
			CHECK_EQ(qb_ipcc_recv(c, big, sizeof big, -1), 12400);
			CHECK(kit_filled(big, 12400, 12400));
		}
		CHECK_EQ(kit_echo(c, 64), 0);
	}
	qb_ipcc_disconnect(c);
	kit_end(k);
}

int main(int argc, char **argv)
{
	ks_more = ipcs_more;
	kit_main(argc, argv);
	RUN(run_says_what_is_wrong);
	RUN(no_handle_is_harmless);
	RUN_OURS(missing_service_arguments_are_refused, "ipc-null-arguments");
	for (int transport = 0; transport < 2; transport++) {
		T = transport == 0 ? QB_IPC_SHM : QB_IPC_SOCKET;
		RUN_T(a_name_in_use_is_refused);
		RUN_T(the_getters_know_their_connection);
		RUN_T(a_kept_connection_outlives_its_client_and_sends_fail);
		RUN_T(a_kept_connection_outlives_its_service_and_sends_fail);
		RUN_T(a_disconnect_from_the_main_loop_works);
		RUN_T(a_message_that_is_refused_is_dropped);
		RUN_T(service_statistics_count_connections);
		RUN_T(flow_control_is_counted);
		RUN_T(the_poll_handlers_are_used_as_documented);
		RUN_T(a_refusing_main_loop_costs_one_client);
		RUN_T(a_service_without_descriptors_lives_on);
		RUN_T(strangers_on_the_socket_do_no_harm);
		RUN_OURS(an_oversized_event_in_pieces_is_refused, "ipc-event-pieces-size");
		RUN_T(an_oversized_response_is_refused_or_arrives);
		RUN_T(a_service_without_memfds_serves);
		RUN_T(a_child_of_the_server_answers);
		RUN_T(a_dead_client_is_noticed_by_who_sends_to_it);
		if (T == QB_IPC_SHM) {
			RUN_T(a_response_may_be_as_long_as_the_ring);
		} else {
			RUN_T(what_a_client_sent_before_it_left_is_handled);
			RUN_T(a_client_that_reads_slowly_stays);
		}
	}
	return check_done();
}

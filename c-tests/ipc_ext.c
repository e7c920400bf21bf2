/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * qb/qbipc_ext.h: messages in place and in batches, on both transports. The reference has no such header ("ipc-ext-header"):
 * run-both runs programs that include it on our library only, in sealed memory and without it.
 */
#include "ipc_ext_end.h"

#include <qb/qbipc_ext.h>

static void both_sides_know_whether_it_is_sealed(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *c = kit_connect(k, 8192);

	CHECK_EQ(qb_ipcc_is_sealed(c), expect_sealed());
	CHECK_EQ(kit_call(c, EXT_SEALED, 0, 0), expect_sealed());
	qb_ipcc_disconnect(c);
	kit_end(k);
}

static void requests_are_written_where_the_server_reads_them(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *c = kit_connect(k, 20000);
	size_t most = (size_t)qb_ipcc_get_buffer_size(c), sizes[] = {24, 25, 100, 4096, most};
	void *room = NULL;

	CHECK_EQ(qb_ipcc_request_reserve(c, most + 1, &room), -EMSGSIZE);
	CHECK(room == NULL);
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		CHECK_EQ(reserve_echo(c, sizes[i]), sizes[i]);
		CHECK_EQ(qb_ipcc_request_commit(c, sizes[i]), sizes[i]);
		take_echo(c, sizes[i]);
	}
	CHECK_EQ(reserve_soon(c, 1000, &room), 1000);
	CHECK_EQ((uintptr_t)room % 8, 0);
	CHECK_EQ(is_shared(room), expect_sealed());
	memset(room, 0xff, 1000);
	CHECK_EQ(qb_ipcc_request_reserve(c, 8, &room), -EBUSY);
	CHECK_EQ(kit_send(c, KIT_SLEEP, 0, 0), -EAGAIN);
	CHECK_EQ(qb_ipcc_request_commit(c, 1001), -EINVAL);
	qb_ipcc_request_cancel(c);
	qb_ipcc_request_cancel(c);
	CHECK_EQ(qb_ipcc_request_commit(c, 8), -EINVAL);
	CHECK_EQ(kit_echo(c, 64), 0);
	CHECK_EQ(reserve_soon(c, most, &room), most);
	kit_request(room, KIT_SLEEP, sizeof(struct kit_request));
	CHECK_EQ(qb_ipcc_request_commit(c, sizeof(struct kit_request)), sizeof(struct kit_request));
	CHECK_EQ(qb_ipcc_recv(c, big, sizeof big, -1), sizeof(struct kit_reply));
	CHECK_EQ(k->messages, 7);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

static void a_server_that_takes_nothing_has_no_room_to_reserve(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *c = kit_connect(k, 8192);
	struct kit_request r;
	void *room;
	long sent = 0;

	CHECK_EQ(kit_echo(c, 64), 0);
	kit_rate(k, QB_IPCS_RATE_OFF);
	CHECK_EQ(qb_ipcc_request_reserve(c, 64, &room), -EAGAIN);
	qb_ipcc_fc_enable_max_set(c, 0);
	kit_request(&r, KIT_SILENT, sizeof r);
	kit_fill(&r, sizeof r, sizeof r);
	r.hdr = (struct qb_ipc_request_header){.id = KIT_SILENT, .size = sizeof r};
	while (qb_ipcc_send(c, &r, sizeof r) == sizeof r) {
		sent++;
	}
	if (T == QB_IPC_SHM) {
		CHECK_EQ(qb_ipcc_request_reserve(c, sizeof r, &room), -EAGAIN);
	} else {
		/* Only the socket itself knows; the request is not lost when it is full. */
		CHECK_EQ(qb_ipcc_request_reserve(c, sizeof r, &room), sizeof r);
		memcpy(room, &r, sizeof r);
		CHECK_EQ(qb_ipcc_request_commit(c, sizeof r), -EAGAIN);
		CHECK_EQ(qb_ipcc_request_reserve(c, sizeof r, &room), -EBUSY);
	}
	kit_rate(k, QB_IPCS_RATE_FAST);
	KIT_WAIT(k->silent == sent);
	if (T == QB_IPC_SHM) {
		CHECK_EQ(qb_ipcc_request_reserve(c, sizeof r, &room), sizeof r);
		memcpy(room, &r, sizeof r);
	}
	CHECK_EQ(qb_ipcc_request_commit(c, sizeof r), sizeof r);
	KIT_WAIT(k->silent == sent + 1);
	CHECK_EQ(k->bad_silent, 0);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

static void a_response_stays_until_it_is_released(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *c = kit_connect(k, 8192);
	const void *at = NULL;

	CHECK_EQ(qb_ipcc_response_peek(c, &at, 0), -ETIMEDOUT);
	CHECK_EQ(qb_ipcc_response_peek(c, &at, 20), -ETIMEDOUT);
	CHECK(at == NULL);
	qb_ipcc_response_release(c);
	CHECK_EQ(reserve_echo(c, 5000), 5000);
	CHECK_EQ(qb_ipcc_request_commit(c, 5000), 5000);
	CHECK_EQ(kit_send(c, KIT_SLEEP, 0, 0), sizeof(struct kit_request));
	CHECK_EQ(qb_ipcc_response_peek(c, &at, -1), 5000);
	CHECK_EQ(is_shared(at), expect_sealed());
	CHECK_EQ(qb_ipcc_response_peek(c, &at, -1), -EBUSY);
	CHECK_EQ(qb_ipcc_recv(c, big, sizeof big, -1), -EAGAIN);
	CHECK(kit_filled(at, 5000, 5000));
	qb_ipcc_response_release(c);
	qb_ipcc_response_release(c);
	CHECK_EQ(qb_ipcc_recv(c, big, sizeof big, -1), sizeof(struct kit_reply));
	CHECK_EQ(qb_ipcc_recv(c, big, sizeof big, 0), -ETIMEDOUT);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

static void an_event_that_is_shown_counts_as_queued(void)
{
	enum { MANY = 3000 };
	struct kit *k = begin();
	qb_ipcc_connection_t *c = kit_connect(k, 8192);
	const struct kit_event *e;
	const void *at;
	int fd = -1;

	CHECK_EQ(qb_ipcc_fd_get(c, &fd), 0);
	CHECK_EQ(qb_ipcc_event_peek(c, &at, 0), -EAGAIN);
	qb_ipcc_event_release(c);
	CHECK_EQ(kit_call(c, KIT_EVENTS, MANY, 200), 0);
	for (int i = 0; i < MANY && check_bad == 0; i++) {
		CHECK_EQ(qb_ipcc_event_peek(c, &at, -1), 200);
		e = at;
		CHECK_EQ(e->seq, i);
		CHECK_EQ(kit_readable(fd, 5000), POLLIN);
		if (i % 100 == 0) {
			CHECK_EQ(is_shared(at), expect_sealed());
			CHECK_EQ(qb_ipcc_event_peek(c, &at, -1), -EBUSY);
			CHECK_EQ(qb_ipcc_event_recv(c, big, sizeof big, -1), -EAGAIN);
			CHECK_EQ(kit_readable(fd, 5000), POLLIN);
		}
		qb_ipcc_event_release(c);
		if (i % 7 == 0 && ++i < MANY) {
			CHECK_EQ(qb_ipcc_event_recv(c, big, sizeof big, -1), 200);
			CHECK_EQ(((struct kit_event *)(void *)big)->seq, i);
		}
	}
	CHECK_EQ(kit_readable(fd, 0), 0);
	for (int i = 0; i < 300 && check_bad == 0; i++) {
		CHECK_EQ(kit_call(c, KIT_EVENT, 64, 0), 0);
		CHECK_EQ(qb_ipcc_event_peek(c, &at, -1), 64);
		CHECK_EQ(kit_readable(fd, 5000), POLLIN);
		qb_ipcc_event_release(c);
		CHECK_EQ(kit_readable(fd, 0), 0);
	}
	qb_ipcc_disconnect(c);
	kit_end(k);
}

static void many_requests_have_one_announcement(void)
{
	enum { MANY = 3000 };
	struct kit *k = begin();
	qb_ipcc_connection_t *c = kit_connect(k, 8192);
	struct kit_request r;
	static struct iovec iov[MANY];
	long sent = 0;

	kit_request(&r, KIT_SILENT, sizeof r);
	kit_fill(&r, sizeof r, sizeof r);
	r.hdr = (struct qb_ipc_request_header){.id = KIT_SILENT, .size = sizeof r};
	for (int i = 0; i < MANY; i++) {
		iov[i] = (struct iovec){&r, sizeof r};
	}
	while (sent < MANY) {
		ssize_t n = qb_ipcc_send_many(c, iov + sent, (size_t)(MANY - sent));

		CHECK(n == -EAGAIN || (n >= 1 && n <= 1024));
		if (n == -EAGAIN) {
			kit_sleep_ms(1);
		} else if (n < 1) {
			break;
		} else {
			sent += n;
		}
	}
	KIT_WAIT(k->silent == sent);
	CHECK_EQ(k->bad_silent, 0);
	iov[1] = (struct iovec){big, 20000};
	CHECK_EQ(qb_ipcc_send_many(c, iov, 3), 1);
	CHECK_EQ(qb_ipcc_send_many(c, iov + 1, 2), -EMSGSIZE);
	CHECK_EQ(qb_ipcc_send_many(c, iov, 0), -EINVAL);
	CHECK_EQ(qb_ipcc_send_many(c, NULL, 1), -EINVAL);
	CHECK_EQ(kit_echo(c, 64), 0);
	CHECK_EQ(k->silent, sent + 1);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

static void events_are_written_where_the_client_reads_them(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *c = kit_connect(k, 8192);
	struct kit_event *e = (void *)big;
	char want[1500];
	int fd = -1, most = qb_ipcc_get_buffer_size(c);

	CHECK_EQ(qb_ipcc_fd_get(c, &fd), 0);
	CHECK_EQ(kit_call(c, EXT_RESERVE, most + 1, 0), -EMSGSIZE);
	CHECK_EQ(kit_call(c, EXT_RESERVE, most, 0), most);
	CHECK_EQ(kit_call(c, EXT_CANCEL, 0, 0), 0);
	CHECK_EQ(kit_call(c, EXT_RESERVE, 2000, 0), 2000);
	CHECK_EQ(kit_readable(fd, 0), 0);
	CHECK_EQ(kit_call(c, EXT_RESERVE, 8, 0), -EBUSY);
	CHECK_EQ(kit_call(c, EXT_SEND, 64, 0), -EAGAIN);
	CHECK_EQ(kit_call(c, EXT_MANY, 3, 64), -EAGAIN);
	CHECK_EQ(kit_call(c, EXT_COMMIT, 2001, 0), -EINVAL);
	CHECK_EQ(kit_call(c, EXT_COMMIT, 1500, 42), 1500);
	CHECK_EQ(kit_call(c, EXT_COMMIT, 1500, 42), -EINVAL);
	CHECK_EQ(qb_ipcc_event_recv(c, big, sizeof big, -1), 1500);
	CHECK_EQ(e->seq, 42);
	kit_fill(want, sizeof want, 42);
	CHECK(memcmp(big + sizeof *e, want + sizeof *e, sizeof want - sizeof *e) == 0);
	CHECK_EQ(kit_readable(fd, 0), 0);
	CHECK_EQ(kit_call(c, EXT_SEND, 64, 0), 64);
	CHECK_EQ(qb_ipcc_event_recv(c, big, sizeof big, -1), 64);
	CHECK_EQ(kit_call(c, EXT_MANY, 5, 64), 5);
	for (int i = 0; i < 5; i++) {
		CHECK_EQ(qb_ipcc_event_recv(c, big, sizeof big, -1), 64);
		CHECK_EQ(e->seq, i);
	}
	CHECK_EQ(kit_readable(fd, 0), 0);
	CHECK_EQ(kit_call(c, EXT_MANY, 2, 20000), -EMSGSIZE);
	CHECK_EQ(kit_call(c, KIT_STATS, 0, 0), 0);
	CHECK_EQ(k->cstats.events, 7);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

static void more_events_than_fit_are_sent_as_far_as_they_do(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *c = kit_connect(k, 8192);
	int64_t n = kit_call(c, EXT_MANY, 1000, 2000);
	int fd = -1;

	CHECK(n >= 1 && n < 1000);
	CHECK_EQ(kit_call(c, EXT_MANY, 10, 2000), -EAGAIN);
	for (int i = 0; i < n; i++) {
		CHECK_EQ(qb_ipcc_event_recv(c, big, sizeof big, -1), 2000);
		CHECK_EQ(((struct kit_event *)(void *)big)->seq, i);
	}
	CHECK_EQ(qb_ipcc_fd_get(c, &fd), 0);
	CHECK_EQ(kit_readable(fd, 0), 0);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

static void odd_arguments_are_refused(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *c = kit_connect(k, 8192);
	struct iovec hole = {NULL, 8};
	const void *at;
	void *room;

	CHECK_EQ(qb_ipcc_request_reserve(NULL, 8, &room), -EINVAL);
	CHECK_EQ(qb_ipcc_request_reserve(c, 8, NULL), -EINVAL);
	CHECK_EQ(qb_ipcc_request_reserve(c, SIZE_MAX, &room), -EMSGSIZE);
	CHECK_EQ(qb_ipcc_request_commit(NULL, 8), -EINVAL);
	CHECK_EQ(qb_ipcc_request_commit(c, 8), -EINVAL);
	qb_ipcc_request_cancel(NULL);
	qb_ipcc_request_cancel(c);
	CHECK_EQ(qb_ipcc_response_peek(NULL, &at, 0), -EINVAL);
	CHECK_EQ(qb_ipcc_response_peek(c, NULL, 0), -EINVAL);
	qb_ipcc_response_release(NULL);
	CHECK_EQ(qb_ipcc_event_peek(NULL, &at, 0), -EINVAL);
	CHECK_EQ(qb_ipcc_event_peek(c, NULL, 0), -EINVAL);
	qb_ipcc_event_release(NULL);
	CHECK_EQ(qb_ipcc_send_many(NULL, &hole, 1), -EINVAL);
	CHECK_EQ(qb_ipcc_send_many(c, &hole, 1), -EINVAL);
	CHECK_EQ(qb_ipcc_is_sealed(NULL), QB_FALSE);
	CHECK_EQ(kit_call(c, EXT_ODD, 0, 0), 0);
	for (int i = 0; i < 8; i++) {
		CHECK_EQ(k->probe[i], -EINVAL);
	}
	CHECK_EQ(kit_echo(c, 64), 0);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

static void what_another_users_server_sends_is_copied(void)
{
	struct kit *k = kit_new(T);
	qb_ipcc_connection_t *c;
	const void *at = NULL;
	void *room = NULL;

	k->opt.setuid = 65534;
	kit_start(k);
	c = kit_connect(k, 8192);
	CHECK_EQ(qb_ipcc_is_sealed(c), expect_sealed());
	CHECK_EQ(qb_ipcc_request_reserve(c, 64, &room), 64);
	CHECK_EQ(is_shared(room), expect_sealed());
	qb_ipcc_request_cancel(c);
	CHECK_EQ(reserve_echo(c, 3000), 3000);
	CHECK_EQ(qb_ipcc_request_commit(c, 3000), 3000);
	CHECK_EQ(qb_ipcc_response_peek(c, &at, -1), 3000);
	CHECK_EQ(is_shared(at), 0);
	CHECK(kit_filled(at, 3000, 3000));
	qb_ipcc_response_release(c);
	CHECK_EQ(kit_call(c, KIT_EVENT, 100, 0), 0);
	CHECK_EQ(qb_ipcc_event_peek(c, &at, -1), 100);
	CHECK_EQ(is_shared(at), 0);
	CHECK(kit_filled(at, 100, 100));
	qb_ipcc_event_release(c);
	CHECK_EQ(kit_echo(c, 64), 0);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

int main(int argc, char **argv)
{
	ks_more = ext_command;
	kit_main(argc, argv);
	for (int transport = 0; transport < 2; transport++) {
		T = transport == 0 ? QB_IPC_SHM : QB_IPC_SOCKET;
		RUN_T(both_sides_know_whether_it_is_sealed);
		RUN_T(requests_are_written_where_the_server_reads_them);
		RUN_T(a_server_that_takes_nothing_has_no_room_to_reserve);
		RUN_T(a_response_stays_until_it_is_released);
		RUN_T(an_event_that_is_shown_counts_as_queued);
		RUN_T(many_requests_have_one_announcement);
		RUN_T(events_are_written_where_the_client_reads_them);
		RUN_T(more_events_than_fit_are_sent_as_far_as_they_do);
		RUN_T(odd_arguments_are_refused);
		RUN_T(an_event_outlives_its_client);
		RUN_T(what_is_open_outlives_the_server);
		RUN_T(a_connection_may_end_with_everything_open);
		RUN_T(a_forked_child_changes_nothing_for_its_parent);
		RUN_T(threads_do_not_disturb_what_is_reserved);
		if (geteuid() == 0) {
			RUN_T(what_another_users_server_sends_is_copied);
		} else {
			printf("not root: what_another_users_server_sends_is_copied needs it\n");
		}
	}
	return check_done();
}

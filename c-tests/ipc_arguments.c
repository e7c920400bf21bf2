/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qb/qbipcc.h, qb/qbipcs.h: names and lengths that nobody would choose, on both transports. */
#include "ipckit_run.h"

#include <limits.h>

/* `before` and `after` around a name of our own, so that nobody else has it. */
static struct kit *begin_as(const char *before, const char *after)
{
	struct kit *k = kit_new(T);
	char own[40];

	snprintf(own, sizeof own, "%.30s", k->name);
	snprintf(k->name, sizeof k->name, "%s%s%s", before, own, after);
	kit_start(k);
	CHECK_EQ(k->run_result, 0);
	return k;
}

static void a_name_is_any_bytes(void)
{
	static const char *const odd[] = {"\xe9t\xe9", "\xff\xfe\xc0\x80", "\xed\xa0\x80", " ", "\n", "\x01", "%s%n%d", "a,b=c", ".", "..", "-"};

	for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
		struct kit *k = begin_as(odd[i], odd[i]);
		qb_ipcc_connection_t *c = kit_connect(k, 8192);
		int fd = -1;

		CHECK_EQ(kit_echo(c, 64), 0);
		CHECK_EQ(kit_call(c, KIT_EVENT, 100, 0), 0);
		CHECK_EQ(qb_ipcc_event_recv(c, big, sizeof big, 10000), 100);
		qb_ipcc_disconnect(c);
		c = qb_ipcc_connect_async(k->name, 8192, &fd);
		CHECK(kit_readable(fd, 10000) & POLLIN);
		CHECK_EQ(qb_ipcc_connect_continue(c), 0);
		CHECK_EQ(kit_echo(c, 64), 0);
		qb_ipcc_disconnect(c);
		kit_end(k);
	}
}

/* Names are told apart by each of their bytes. */
static void bytes_are_not_replaced(void)
{
	struct kit *k = begin_as("", "\xe9");

	k->name[strlen(k->name) - 1] = '\xe8';
	errno = 0;
	CHECK(qb_ipcc_connect(k->name, 8192) == NULL);
	CHECK_EQ(errno, ECONNREFUSED);
	kit_end(k);
}

static void a_server_that_dies_leaves_no_file_of_an_odd_name(void)
{
	struct kit *k = begin_as("\xe9", "\xff");
	qb_ipcc_connection_t *c = kit_connect(k, 8192);

	CHECK_EQ(kit_echo(c, 64), 0);
	kit_kill(k);
	qb_ipcc_disconnect(c);
	CHECK_EQ(kit_shm_entries(k->server, 1), 0);
}

/* Nobody else may have it at the same time: another run of this test may. */
static void the_empty_name_is_a_name(void)
{
	struct kit *k = kit_new(T);
	qb_ipcc_connection_t *c;

	for (;;) {
		k->name[0] = '\0';
		kit_start(k);
		if (k->run_result != -EADDRINUSE) {
			break;
		}
		kit_end(k);
		kit_sleep_ms(50);
		k = kit_new(T);
	}
	CHECK_EQ(k->run_result, 0);
	c = kit_connect(k, 8192);
	CHECK_EQ(kit_echo(c, 64), 0);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

/* The service listens, but what would have to be made for a client cannot have such a name. */
static void a_name_with_a_slash_lets_nobody_in(void)
{
	static const char *const before[] = {"a/", "../", "/", "/tmp/", "./"};

	for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
		struct kit *k = begin_as(before[i], "");

		errno = 0;
		CHECK(qb_ipcc_connect(k->name, 8192) == NULL);
		CHECK_EQ(errno, ENOENT);
		KIT_WAIT(k->destroyed == 1);
		CHECK_STR(k->trace, "accept destroyed");
		kit_end(k);
	}
}

static void a_slash_at_the_end_lets_nobody_in(void)
{
	struct kit *k = begin_as("", "/");

	errno = 0;
	CHECK(qb_ipcc_connect(k->name, 8192) == NULL);
	CHECK_EQ_COMPAT(errno, T == QB_IPC_SHM ? ENOENT : EISDIR, ENOENT, "ipc-name-slash-end");
	kit_end(k);
}

#define BEYOND ((size_t)SSIZE_MAX + 1)
static const size_t absurd[] = {SIZE_MAX, BEYOND, SSIZE_MAX, (size_t)UINT32_MAX + 33};

#define ARG_SEND 3000 /* the server sends with length arg0 of absurd[], or pieces[arg0]; arg1: enum way */
enum way { RESPONSE, EVENT, RESPONSE_PIECES, EVENT_PIECES, WAYS };

/* Each in front of a byte that may be read. The first ones add up to more than a size_t holds, the others to nothing. */
static struct iovec pieces[6][3] = {
	{{big, 64}, {big, SIZE_MAX - 20}},
	{{big, BEYOND}, {big, BEYOND}, {big, 64}},
	{{big, SSIZE_MAX}, {big, SSIZE_MAX}, {big, 66}},
	{{big, 0}, {big, 0}, {big, 0}},
	{{NULL, 0}, {NULL, 0}, {NULL, 0}},
	{{NULL, 0}, {big, 0}},
};
static const size_t counts[6] = {2, 3, 3, 3, 3, 2};

static int send_as_told(qb_ipcs_connection_t *c, const struct kit_request *r)
{
	int which = r->arg[0], event = r->arg[1] % 2;
	int64_t n;

	if (r->hdr.id != ARG_SEND) {
		return 0;
	}
	if (r->arg[1] >= RESPONSE_PIECES) {
		n = event ? qb_ipcs_event_sendv(c, pieces[which], counts[which])
			  : qb_ipcs_response_sendv(c, pieces[which], counts[which]);
	} else {
		size_t len = which < 0 ? 0 : absurd[which];

		n = event ? qb_ipcs_event_send(c, big, len) : qb_ipcs_response_send(c, big, len);
	}
	ks.k->last_send = n;
	ks.k->probe[0]++;
	return 1;
}

/* What the server's send gave. */
static int64_t served(struct kit *k, qb_ipcc_connection_t *c, int which, enum way way)
{
	int64_t before = k->probe[0];

	CHECK_EQ(kit_send(c, ARG_SEND, which, (int)way), sizeof(struct kit_request));
	KIT_WAIT(k->probe[0] > before);
	return k->last_send;
}

static void nothing_came(qb_ipcc_connection_t *c)
{
	CHECK_EQ(qb_ipcc_recv(c, big, sizeof big, 20), -ETIMEDOUT);
	CHECK_EQ(qb_ipcc_event_recv(c, big, sizeof big, 20), -EAGAIN);
	CHECK_EQ(qb_ipcc_is_connected(c), 1);
	CHECK_EQ(kit_echo(c, 64), 0);
}

static void an_absurd_length_is_too_large(void)
{
	struct kit *k = begin_as("", "");
	qb_ipcc_connection_t *c = kit_connect(k, 8192);
	struct kit_request r;

	kit_request(&r, KIT_ECHO, sizeof r);
	for (size_t i = 0; i < sizeof absurd / sizeof *absurd; i++) {
		struct iovec iov = {&r, absurd[i]};

		CHECK_EQ(qb_ipcc_send(c, &r, absurd[i]), -EMSGSIZE);
		CHECK_EQ(served(k, c, (int)i, EVENT), -EMSGSIZE);
		if (absurd[i] == SIZE_MAX || !on_reference()) { /* "ipc-absurd-length" */
			CHECK_EQ(qb_ipcc_sendv(c, &iov, 1), -EMSGSIZE);
			CHECK_EQ(qb_ipcc_sendv_recv(c, &iov, 1, big, sizeof big, 100), -EMSGSIZE);
		}
	}
	nothing_came(c);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

static void an_absurd_response_is_refused(void)
{
	struct kit *k = begin_as("", "");
	qb_ipcc_connection_t *c = kit_connect(k, 8192);

	for (size_t i = 0; i < sizeof absurd / sizeof *absurd; i++) {
		CHECK_EQ(served(k, c, (int)i, RESPONSE), -EMSGSIZE);
	}
	nothing_came(c);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

static void lengths_that_add_up_beyond_everything_are_too_large(void)
{
	struct kit *k = begin_as("", "");
	qb_ipcc_connection_t *c = kit_connect(k, 8192);
	static struct iovec many[1024];

	for (int i = 0; i < 3; i++) {
		CHECK_EQ(qb_ipcc_sendv(c, pieces[i], counts[i]), -EMSGSIZE);
		CHECK_EQ(qb_ipcc_sendv_recv(c, pieces[i], (uint32_t)counts[i], big, sizeof big, 100), -EMSGSIZE);
		CHECK_EQ(served(k, c, i, RESPONSE_PIECES), -EMSGSIZE);
		CHECK_EQ(served(k, c, i, EVENT_PIECES), -EMSGSIZE);
	}
	for (int i = 0; i < 1024; i++) {
		many[i] = (struct iovec){big, (size_t)1 << 54};
	}
	CHECK_EQ(qb_ipcc_sendv(c, many, 1024), -EMSGSIZE);
	nothing_came(c);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

static void as_many_pieces_as_writev_takes(void)
{
	struct kit *k = begin_as("", "");
	qb_ipcc_connection_t *c = kit_connect(k, 8192);
	const ssize_t one_more = T == QB_IPC_SOCKET ? -EINVAL : (ssize_t)sizeof(struct kit_request);
	static struct iovec many[1025];
	struct kit_request r;

	kit_request(&r, KIT_SLEEP, sizeof r);
	for (int i = 0; i < 1025; i++) {
		many[i] = (struct iovec){(char *)&r + sizeof r, 0};
	}
	many[0] = (struct iovec){&r, sizeof r};
	CHECK_EQ(qb_ipcc_sendv_recv(c, many, 1024, big, sizeof big, -1), sizeof(struct kit_reply));
	CHECK_EQ_COMPAT(qb_ipcc_sendv(c, many, 1025), one_more, -EINVAL, "ipc-many-pieces");
	qb_ipcc_disconnect(c);
	kit_end(k);
}

static void any_length_is_long_enough(void)
{
	struct kit *k = begin_as("", "");
	qb_ipcc_connection_t *c = kit_connect(k, 8192);
	struct kit_request r;
	struct iovec iov = {&r, sizeof r};

	kit_request(&r, KIT_SLEEP, sizeof r);
	for (size_t i = 0; i < sizeof absurd / sizeof *absurd; i++) {
		CHECK_EQ(kit_send(c, KIT_RESPONSE, 500, 0), sizeof r);
		CHECK_EQ(qb_ipcc_recv(c, big, absurd[i], 10000), 500);
		CHECK(kit_filled(big, 500, 500));
		CHECK_EQ(kit_call(c, KIT_EVENT, 400, 0), 0);
		CHECK_EQ(qb_ipcc_event_recv(c, big, absurd[i], 10000), 400);
		CHECK(kit_filled(big, 400, 400));
		CHECK_EQ(qb_ipcc_sendv_recv(c, &iov, 1, big, absurd[i], -1), sizeof(struct kit_reply));
		CHECK_EQ(qb_ipcc_recv(c, big, absurd[i], 0), -ETIMEDOUT);
		CHECK_EQ(qb_ipcc_event_recv(c, big, absurd[i], 0), -EAGAIN);
	}
	nothing_came(c);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

static void no_room_leaves_the_message(void)
{
	struct kit *k = begin_as("", "");
	qb_ipcc_connection_t *c = kit_connect(k, 8192);
	struct kit_request r;
	struct iovec iov = {&r, sizeof r};

	kit_request(&r, KIT_SLEEP, sizeof r);
	CHECK_EQ(qb_ipcc_sendv_recv(c, &iov, 1, NULL, 0, -1), -ENOBUFS);
	CHECK_EQ(qb_ipcc_recv(c, big, 0, -1), -ENOBUFS);
	CHECK_EQ(qb_ipcc_recv(c, big, sizeof big, -1), sizeof(struct kit_reply));
	CHECK_EQ(kit_call(c, KIT_EVENT, 400, 0), 0);
	CHECK_EQ(qb_ipcc_event_recv(c, NULL, 0, -1), -ENOBUFS);
	CHECK_EQ(qb_ipcc_event_recv(c, big, sizeof big, -1), 400);
	nothing_came(c);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

static void of_no_pieces_nothing_is_sent(void)
{
	struct kit *k = begin_as("", "");
	qb_ipcc_connection_t *c = kit_connect(k, 8192);

	CHECK_EQ(qb_ipcc_sendv(c, NULL, 0), 0);
	CHECK_EQ(qb_ipcc_sendv(c, pieces[0], 0), 0);
	CHECK_EQ(qb_ipcc_sendv_recv(c, NULL, 0, big, sizeof big, 20), -ETIMEDOUT);
	for (int i = 3; i < 6; i++) {
		CHECK_EQ(qb_ipcc_sendv(c, pieces[i], counts[i]), 0);
		CHECK_EQ(qb_ipcc_sendv_recv(c, pieces[i], (uint32_t)counts[i], big, sizeof big, 20), -ETIMEDOUT);
		CHECK_EQ(served(k, c, i, RESPONSE_PIECES), 0);
		CHECK_EQ(served(k, c, i, EVENT_PIECES), 0);
	}
	nothing_came(c);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

static void an_empty_request_ends_the_connection(void)
{
	for (int null = 0; null < 2; null++) {
		struct kit *k = begin_as("", "");
		qb_ipcc_connection_t *c = kit_connect(k, 8192);

		CHECK_EQ(qb_ipcc_send(c, null ? NULL : big, 0), 0);
		CHECK_EQ(qb_ipcc_recv(c, big, sizeof big, 10000), -ENOTCONN);
		KIT_WAIT(k->destroyed == 1);
		CHECK_EQ(k->messages, 0);
		CHECK_STR(k->trace, "accept created closed destroyed");
		qb_ipcc_disconnect(c);
		kit_end(k);
	}
}

static void an_empty_answer_is_a_message_without_bytes(void)
{
	struct kit *k = begin_as("", "");
	qb_ipcc_connection_t *c = kit_connect(k, 8192);

	CHECK_EQ(served(k, c, -1, RESPONSE), 0);
	CHECK_EQ(qb_ipcc_recv(c, big, sizeof big, 10000), 0);
	if (!on_reference()) { /* "ipc-empty-message" */
		CHECK_EQ(served(k, c, -1, EVENT), 0);
		CHECK_EQ(qb_ipcc_event_recv(c, big, sizeof big, 10000), 0);
	}
	nothing_came(c);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

static const int32_t below_minus_one[] = {-2, -1000, INT_MIN};

static void any_negative_time_is_without_end(void)
{
	struct kit *k = begin_as("", "");
	qb_ipcc_connection_t *c = kit_connect(k, 8192);
	struct kit_request r;
	struct iovec iov = {&r, sizeof r};

	kit_request(&r, KIT_SLEEP, sizeof r);
	r.arg[0] = 50;
	for (size_t i = 0; i < 3; i++) {
		CHECK_EQ(qb_ipcc_sendv_recv(c, &iov, 1, big, sizeof big, below_minus_one[i]), sizeof(struct kit_reply));
		CHECK_EQ(kit_call(c, KIT_EVENT, 100, 0), 0);
		CHECK_EQ(qb_ipcc_event_recv(c, big, sizeof big, below_minus_one[i]), 100);
	}
	nothing_came(c);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

static void a_receive_with_any_negative_time_waits(void)
{
	struct kit *k = begin_as("", "");
	qb_ipcc_connection_t *c = kit_connect(k, 8192);

	for (size_t i = 0; i < 3; i++) {
		CHECK_EQ(kit_send(c, KIT_SLEEP, 50, 0), sizeof(struct kit_request));
		CHECK_EQ(qb_ipcc_recv(c, big, sizeof big, below_minus_one[i]), sizeof(struct kit_reply));
	}
	nothing_came(c);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

int main(int argc, char **argv)
{
	ks_more = send_as_told;
	kit_main(argc, argv);
	for (int transport = 0; transport < 2; transport++) {
		T = transport == 0 ? QB_IPC_SHM : QB_IPC_SOCKET;
		RUN_T(a_name_is_any_bytes);
		RUN_T(bytes_are_not_replaced);
		RUN_OURS(a_server_that_dies_leaves_no_file_of_an_odd_name, "ipc-killed-server");
		RUN_T(the_empty_name_is_a_name);
		RUN_T(a_name_with_a_slash_lets_nobody_in);
		RUN_T(a_slash_at_the_end_lets_nobody_in);
		RUN_T(an_absurd_length_is_too_large);
		RUN_OURS(an_absurd_response_is_refused, "ipc-absurd-length");
		RUN_OURS(lengths_that_add_up_beyond_everything_are_too_large, "ipc-length-sum");
		RUN_T(as_many_pieces_as_writev_takes);
		RUN_T(any_length_is_long_enough);
		RUN_OURS(no_room_leaves_the_message, "ipc-small-buffer-socket");
		RUN_T(any_negative_time_is_without_end);
		if (T == QB_IPC_SOCKET) {
			RUN_T(of_no_pieces_nothing_is_sent);
			RUN_T(an_empty_request_ends_the_connection);
			RUN_OURS(an_empty_answer_is_a_message_without_bytes, "ipc-empty-message");
			RUN_OURS(a_receive_with_any_negative_time_waits, "ipc-negative-timeout");
		} else {
			RUN_OURS(of_no_pieces_nothing_is_sent, "ipc-empty-pieces");
			RUN_OURS(an_empty_request_ends_the_connection, "ipc-empty-message");
			RUN_T(an_empty_answer_is_a_message_without_bytes);
			RUN_T(a_receive_with_any_negative_time_waits);
		}
	}
	return check_done();
}

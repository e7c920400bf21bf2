/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Part of ipcs.c: clients that leave early or read late, responses beyond what was agreed, sandboxes. */
#ifndef IPCS_LEAVING_H
#define IPCS_LEAVING_H

/* On shared memory also more than what was agreed, as long as the ring holds it. */
static void a_response_may_be_as_long_as_the_ring(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), most = (12328 + 13 + page - 1) / page * page - 16;
	struct kit *k = begin();
	qb_ipcc_connection_t *c = kit_connect(k, 8192);

	for (int i = 0; i < 20; i++) {
		CHECK_EQ(kit_send(c, KIT_RESPONSE, (int32_t)most, i % 2), sizeof(struct kit_request));
		KIT_WAIT(k->last_send == (int64_t)most); /* until then it may be that of the echo before */
		CHECK_EQ(qb_ipcc_recv(c, big, sizeof big, -1), most);
		CHECK(kit_filled(big, most, (unsigned)most));
		CHECK_EQ(kit_echo(c, 64 + (size_t)i * 500), 0);
	}
	CHECK_EQ(kit_send(c, KIT_RESPONSE, (int32_t)(3 * most), 0), sizeof(struct kit_request));
	KIT_WAIT(k->last_send == -EAGAIN);
	CHECK_EQ(kit_echo(c, 64), 0);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

/* Sockets: the datagram is in the server's queue, whatever became of its sender. */
static void what_a_client_sent_before_it_left_is_handled(void)
{
	struct kit *k = begin();

	for (int i = 1; i <= 20; i++) {
		qb_ipcc_connection_t *busy = kit_connect(k, 8192), *c = kit_connect(k, 8192);

		CHECK(kit_send(busy, KIT_SLEEP, 20, 0) > 0);
		CHECK(kit_send(c, KIT_SILENT, 0, 0) > 0);
		qb_ipcc_disconnect(c);
		KIT_WAIT(k->destroyed == 2 * i - 1);
		CHECK_EQ(k->silent, i);
		qb_ipcc_disconnect(busy);
		KIT_WAIT(k->destroyed == 2 * i);
	}
	kit_end(k);
}

/* Sockets: events that were sent before the client had any wait for it, and it may take its time to read them. */
static void a_client_that_reads_slowly_stays(void)
{
	struct kit *k = kit_new(T);
	qb_ipcc_connection_t *c;
	int fd, n = 0;

	k->opt.events_in_created = 100;
	k->opt.event_size = 10000;
	kit_start(k);
	c = qb_ipcc_connect_async(k->name, 8192, &fd);
	CHECK(kit_readable(fd, 10000));
	kit_sleep_ms(100);
	CHECK_EQ(qb_ipcc_connect_continue(c), 0);
	kit_sleep_ms(1500);
	CHECK_EQ(k->closed, 0);
	CHECK_EQ(kit_echo(c, 64), 0); /* created() is over: no event comes any more */
	while (n < k->events_sent && qb_ipcc_event_recv(c, big, sizeof big, 20000) == 10000) {
		n++;
	}
	CHECK(n > 0);
	CHECK_EQ(n, k->events_sent);
	CHECK_EQ(qb_ipcc_event_recv(c, big, sizeof big, 0), -EAGAIN);
	CHECK_EQ(kit_echo(c, 64), 0);
	qb_ipcc_disconnect(c);
	kit_end(k);
}

#define IPCS_KILL 1000 /* kills process arg0 and sends it events and responses */
#define IPCS_FORK 1001 /* a child of the server answers */

static int ipcs_more(qb_ipcs_connection_t *c, const struct kit_request *r)
{
	if (r->hdr.id == IPCS_FORK) {
		pid_t child = fork();

		if (child == 0) {
			ks_reply(c, IPCS_FORK, 1);
			_exit(0);
		}
		waitpid(child, NULL, 0);
		return 1;
	}
	if (r->hdr.id != IPCS_KILL) {
		return 0;
	}
	kill(r->arg[0], SIGKILL);
	while (kill(r->arg[0], 0) == 0) {
		kit_sleep_ms(1);
	}
	for (int i = 0; i < 3; i++) {
		ks.k->probe[i] = ks_event(c, 0, sizeof(struct kit_event));
		ks.k->probe[3 + i] = ks_reply(c, IPCS_KILL, 0);
	}
	return 1;
}

static void a_dead_client_is_noticed_by_who_sends_to_it(void)
{
	struct kit *k = begin();
	pid_t client = fork();

	if (client == 0) {
		kit_send(kit_connect(k, 8192), IPCS_KILL, getpid(), 0);
		pause();
	}
	waitpid(client, NULL, 0);
	KIT_WAIT(k->destroyed == 1);
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(k->probe[i], T == QB_IPC_SHM ? -EPIPE : -ECONNREFUSED);
		/* A ring does not tell; a socket does. */
		CHECK_EQ(k->probe[3 + i], T == QB_IPC_SHM ? (int)sizeof(struct kit_reply) : -ECONNREFUSED);
	}
	kit_end(k);
}

static void a_service_without_memfds_serves(void)
{
	struct kit *k = kit_new(T);
	qb_ipcc_connection_t *c;

	k->opt.no_memfd = 1;
	kit_start(k);
	c = kit_connect(k, 8192);
	CHECK_EQ(kit_echo(c, 64), 0);
	CHECK_EQ(kit_echo(c, 8192), 0);
	qb_ipcc_disconnect(c);
	KIT_WAIT(k->destroyed == 1);
	CHECK_EQ(k->accepted, 1);
	kit_end(k);
}

static void a_child_of_the_server_answers(void)
{
	struct kit *k = begin();
	qb_ipcc_connection_t *c = kit_connect(k, 8192);
	int lost = kit_has_files(k, T) ? (int)sizeof(struct kit_reply) : -ETIMEDOUT;
	int patience = !on_reference() && lost < 0 ? 300 : 20000;

	CHECK_EQ(kit_call(c, IPCS_FORK, 0, 0), 1);
	CHECK_EQ(kit_send(c, KIT_SLEEP, 0, 0), sizeof(struct kit_request));
	CHECK_EQ_COMPAT(qb_ipcc_recv(c, big, sizeof big, patience), sizeof(struct kit_reply), lost, "ipc-forked-server");
	qb_ipcc_disconnect(c);
	kit_end(k);
}

#endif

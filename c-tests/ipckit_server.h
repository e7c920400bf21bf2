/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The server's half of ipckit.h: its callbacks, the commands in its requests, and its life. What it does when told is in ipckit_acts.h. */
#ifndef IPCKIT_SERVER_H
#define IPCKIT_SERVER_H

#include "ipckit_acts.h"

#include <fcntl.h>
#include <sys/resource.h>

/* Commands of one program only: true when it knew the command. Set it before kit_main(). */
static int (*ks_more)(qb_ipcs_connection_t *c, const struct kit_request *r);

/* What a callback was told to do, in the order least likely to leave nothing to test. */
static inline void ks_act(qb_ipcs_connection_t *c, enum kit_where where)
{
	const struct kit_options *o = &ks.k->opt;

	if (o->ref_in == (int)where) {
		qb_ipcs_connection_ref(c);
		qb_ipcs_connection_ref(c);
		qb_ipcs_connection_unref(c);
		qb_ipcs_connection_unref(c);
		qb_ipcs_ref(ks.s);
		qb_ipcs_unref(ks.s);
	}
	if (o->respond_in == (int)where) {
		ks.k->probe[0] = ks_reply(c, 99, where);
	}
	if (o->event_in == (int)where) {
		ks.k->probe[1] = ks_event(c, 0, sizeof(struct kit_event));
	}
	if (o->disconnect_in == (int)where) {
		kit_trace("<disconnect");
		qb_ipcs_disconnect(c);
		kit_trace("disconnect>");
	}
	if (o->destroy_in == (int)where && ks.s != NULL) {
		kit_trace("<destroy");
		qb_ipcs_destroy(ks.s);
		ks.s = NULL;
		kit_trace("destroy>");
	}
}

static int32_t ks_accept(qb_ipcs_connection_t *c, uid_t uid, gid_t gid)
{
	struct kit *k = ks.k;

	k->seen_uid = uid;
	k->seen_gid = gid;
	kit_trace("accept");
	k->accepted++;
	if (k->opt.auth_set) {
		qb_ipcs_connection_auth_set(c, k->opt.uid, k->opt.gid, k->opt.mode);
	}
	ks_act(c, KIT_IN_ACCEPT);
	return k->opt.accept_result;
}

static void ks_created(qb_ipcs_connection_t *c)
{
	kit_trace("created");
	ks.k->created++;
	for (int i = 0; i < ks.k->opt.events_in_created; i++) {
		size_t size = ks.k->opt.event_size ? (size_t)ks.k->opt.event_size : sizeof(struct kit_event);

		ks.k->last_send = ks_event(c, i, size);
		ks.k->events_sent += ks.k->last_send == (int64_t)size;
	}
	ks_act(c, KIT_IN_CREATED);
}

static int32_t ks_closed(qb_ipcs_connection_t *c)
{
	kit_trace("closed");
	ks.k->closed++;
	ks_act(c, KIT_IN_CLOSED);
	for (unsigned i = 0; i < 64; i++) {
		if (ks.stream[i].c == c) {
			ks.stream[i].c = NULL;
		}
	}
	return ks.k->opt.closed_again-- > 0 ? 1 : 0;
}

static void ks_destroyed(qb_ipcs_connection_t *c)
{
	kit_trace("destroyed");
	ks.k->destroyed++; /* after the trace: the test waits for this */
	ks_act(c, KIT_IN_DESTROYED);
	ks.leave |= ks.k->opt.leave_on_destroyed;
}

static inline int32_t ks_command(qb_ipcs_connection_t *c, const struct kit_request *r, size_t size)
{
	struct kit *k = ks.k;
	int32_t a = 0, b = 0;

	if (size >= sizeof *r) {
		a = r->arg[0];
		b = r->arg[1];
	}
	switch (r->hdr.id) {
	case KIT_ECHO:
		ks_echo(c, r, size);
		return 0;
	case KIT_SILENT:
		k->silent++;
		k->bad_silent += !kit_filled(r, size, (unsigned)size);
		return 0;
	case KIT_SLEEP:
		usleep((useconds_t)a * 1000);
		break;
	case KIT_ANSWERS:
		for (int i = 1; i < a; i++) {
			ks_reply(c, r->hdr.id, i);
		}
		break;
	case KIT_EVENTS:
		ks_reply(c, r->hdr.id, 0);
		for (unsigned i = 0; i < 64; i++) {
			if (ks.stream[i].c == NULL) {
				ks.stream[i].c = c;
				ks.stream[i].left = a;
				ks.stream[i].seq = 0;
				ks.stream[i].size = (size_t)b;
				break;
			}
		}
		ks_pump();
		return 0;
	case KIT_EVENTS_NOW: {
		int64_t n = 0;

		while (n < a && (k->last_send = ks_event(c, n, (size_t)b)) == b) {
			n++;
		}
		ks_reply(c, r->hdr.id, n);
		return 0;
	}
	case KIT_DISCONNECT:
	case KIT_DESTROY:
		/*
		 * As a careful application does: it keeps the object until the library is out of its call. The reference
		 * on shared memory uses that reference up ("ipc-disconnect-in-message").
		 */
		qb_ipcs_connection_ref(c);
		if (!(on_reference() && k->type == QB_IPC_SHM)) {
			ml_job_add(QB_LOOP_LOW, c, ks_drop_reference);
			ml.job_adds--;
		}
		if (r->hdr.id == KIT_DISCONNECT) {
			kit_trace("<disconnect");
			qb_ipcs_disconnect(c);
			kit_trace("disconnect>");
			return a;
		}
		kit_trace("<destroy");
		qb_ipcs_destroy(ks.s);
		ks.s = NULL;
		kit_trace("destroy>");
		return a;
	case KIT_EXIT:
		ks.leave = 1;
		return 0;
	case KIT_ABRUPT:
		_exit(0);
	case KIT_DIE:
		kill(getpid(), SIGKILL);
		return 0;
	case KIT_RATE:
		qb_ipcs_request_rate_limit(ks.s, (enum qb_ipcs_rate_limit)a);
		break;
	case KIT_BACK_OFF:
		if (ks.back_off == 0) {
			ks.back_off = a + 1;
		}
		if (--ks.back_off > 0) {
			return -ENOBUFS;
		}
		break;
	case KIT_STATS:
		ks_stats(c, a, b);
		break;
	case KIT_RESPONSE:
		k->last_send = ks_sized(c, 0, (size_t)a, b);
		return 0;
	case KIT_EVENT:
		k->last_send = ks_sized(c, 1, (size_t)a, b);
		break;
	case KIT_SEND_NULL:
		k->probe[0] = qb_ipcs_response_send(NULL, r, size);
		k->probe[1] = qb_ipcs_event_send(NULL, r, size);
		k->probe[2] = qb_ipcs_response_sendv(NULL, NULL, 0);
		k->probe[3] = qb_ipcs_event_sendv(NULL, NULL, 0);
		break;
	case KIT_KEEP:
		ks.kept = c;
		qb_ipcs_connection_ref(c);
		break;
	case KIT_USE_KEPT:
		ks_use_kept();
		break;
	case KIT_SELF_CHECK:
		ks_self_check(c);
		break;
	case KIT_ITERATE:
		ks_reply(c, r->hdr.id, ks_iterate());
		return 0;
	case KIT_HOLD:
		ks.holder = c;
		qb_ipcs_connection_ref(c);
		ml_job_add(QB_LOOP_LOW, NULL, ks_answer_held);
		ml.job_adds--;
		return 0;
	default:
		if (ks_more != NULL && ks_more(c, r)) {
			return 0;
		}
		printf("  server: unknown command %d\n", r->hdr.id);
		check_bad++;
	}
	ks_reply(c, r->hdr.id, 0);
	return 0;
}

static int32_t ks_msg(qb_ipcs_connection_t *c, void *data, size_t size)
{
	const struct kit_request *r = data;
	int32_t result;

	ks.k->messages++;
	if (ks.k->opt.trace_messages) {
		kit_trace("msg");
	}
	if (size < sizeof r->hdr || (size_t)r->hdr.size != size) {
		printf("  server: message of %zu bytes says %d\n", size, size < 16 ? -1 : r->hdr.size);
		check_bad++;
		return 0;
	}
	result = ks_command(c, r, size);
	ks_act(c, KIT_IN_MSG);
	return result;
}

static int32_t ks_control(int32_t fd, int32_t revents, void *data)
{
	char byte = 'q';

	(void)revents;
	(void)data;
	if (read(fd, &byte, 1) <= 0 || byte == 'q') {
		ks.leave = 1;
	} else if (byte >= '0' && byte <= '4') {
		qb_ipcs_request_rate_limit(ks.s, (enum qb_ipcs_rate_limit)(byte - '0'));
		ks.k->rate_now = byte - '0';
	} else if (byte == 'k') {
		ks.kept = qb_ipcs_connection_first_get(ks.s);
	} else if (byte == 'u') {
		ks_use_kept();
	} else if (byte == 'c') {
		qb_ipcs_connection_t *c = qb_ipcs_connection_first_get(ks.s);

		qb_ipcs_disconnect(c);
		qb_ipcs_connection_unref(c);
	} else if (byte == 'd') {
		qb_ipcs_destroy(ks.s);
		ks.s = NULL;
	}
	ks_publish();
	ks.k->controls++;
	return 0;
}

static inline void ks_setup(struct kit *k, int control)
{
	const struct kit_options *o = &k->opt;
	struct qb_ipcs_service_handlers h = {ks_accept, ks_created, ks_msg, ks_closed, ks_destroyed};
	struct qb_ipcs_poll_handlers poll_handlers = ml_handlers;

	h.connection_accept = o->no_accept ? NULL : h.connection_accept;
	h.connection_created = o->no_created ? NULL : h.connection_created;
	h.connection_closed = o->no_closed ? NULL : h.connection_closed;
	h.connection_destroyed = o->no_destroyed ? NULL : h.connection_destroyed;
	poll_handlers.job_add = o->no_job_add ? NULL : poll_handlers.job_add;
	ml.log = o->trace_poll ? ks_trace_poll : NULL;
	if (o->setuid && (setgid((gid_t)o->setuid) != 0 || setuid((uid_t)o->setuid) != 0)) {
		_exit(3);
	}
	if (o->no_memfd) {
		ks_forbid_memfd();
	}
	ks.s = qb_ipcs_create(k->name, o->service_id, k->type, &h);
	if (ks.s == NULL) {
		k->run_result = -errno;
		return;
	}
	qb_ipcs_poll_handlers_set(ks.s, &poll_handlers);
	if (o->enforce) {
		qb_ipcs_enforce_buffer_size(ks.s, o->enforce);
	}
	if (o->rate) {
		qb_ipcs_request_rate_limit(ks.s, (enum qb_ipcs_rate_limit)(o->rate - 1));
	}
	k->run_result = qb_ipcs_run(ks.s);
	if (k->run_result != 0) {
		ks.s = NULL;
	}
	ml.log = NULL;
	ml_dispatch_add(QB_LOOP_HIGH, control, POLLIN, NULL, ks_control);
	ml.adds--;
	ml.fail_add = o->fail_add;
	ml.log = o->trace_poll ? ks_trace_poll : NULL;
	if (o->nofile) {
		struct rlimit limit = {(rlim_t)o->nofile, (rlim_t)o->nofile};

		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static inline _Noreturn void kit_serve(struct kit *k, int control)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(300);
	check_bad = 0;
	memset(&ml, 0, sizeof ml);
	memset(&ks, 0, sizeof ks);
	ks.k = k;
	k->server_is_reference = on_reference();
	ks_setup(k, control);
	ks_publish();
	k->started = 1;
	while (!ks.leave) {
		ml_turn(ks_owes_events() ? 1 : 1000);
		ks_pump();
		ks_publish();
	}
	if (ks.s != NULL) {
		qb_ipcs_destroy(ks.s);
	}
	for (int i = 0; i < 20 && ml.jobs > 0; i++) {
		ml_turn(0);
	}
	ks_publish();
	fflush(stdout);
	_exit(check_bad == 0 ? 0 : 1);
}

#endif

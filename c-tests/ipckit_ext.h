/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The server's half of ipc_ext.c: commands beyond those of ipckit_server.h. */
#ifndef IPCKIT_EXT_H
#define IPCKIT_EXT_H

#include "ipckit.h"

#include <qb/qbipc_ext.h>

enum ext_command {
	EXT_SEALED = 1000, /* value: is the connection sealed */
	EXT_RESERVE,	   /* reserves an event of arg0 bytes; value: the result */
	EXT_COMMIT,	   /* fills and commits arg0 bytes, number arg1 */
	EXT_CANCEL,
	EXT_SEND,	   /* an ordinary event of arg0 bytes */
	EXT_MANY,	   /* arg0 events of arg1 bytes at once, numbered from 0 */
	EXT_ODD,	   /* NULL and impossible arguments: kit.probe */
	EXT_KEEP_ROOM,	   /* reserves arg0 bytes for this client and keeps the connection */
	EXT_USE_ROOM,	   /* writes all of it and commits, on the kept connection: kit.probe */
};

static struct {
	void *room;
	size_t len;
	qb_ipcs_connection_t *kept;
} ext;

static int64_t ext_many(qb_ipcs_connection_t *c, size_t count, size_t size)
{
	struct iovec *iov = calloc(count, sizeof *iov);
	char *bytes = malloc(count * size);
	int64_t n;

	for (size_t i = 0; i < count; i++) {
		struct kit_event *e = (void *)(bytes + i * size);

		kit_fill(e, size, (unsigned)i);
		e->hdr.id = KIT_EVENT_ID;
		e->hdr.size = (int32_t)size;
		e->seq = (int64_t)i;
		iov[i] = (struct iovec){e, size};
	}
	n = qb_ipcs_event_send_many(c, iov, count);
	free(bytes);
	free(iov);
	return n;
}

static void ext_odd(qb_ipcs_connection_t *c)
{
	volatile int64_t *probe = ks.k->probe;
	struct iovec hole = {NULL, 8};
	void *room;

	probe[0] = qb_ipcs_event_reserve(NULL, 8, &room);
	probe[1] = qb_ipcs_event_reserve(c, 8, NULL);
	probe[2] = qb_ipcs_event_commit(NULL, 0);
	probe[3] = qb_ipcs_event_commit(c, 0);
	probe[4] = qb_ipcs_event_send_many(NULL, &hole, 1);
	probe[5] = qb_ipcs_event_send_many(c, NULL, 1);
	probe[6] = qb_ipcs_event_send_many(c, &hole, 1);
	probe[7] = qb_ipcs_event_send_many(c, &hole, 0);
	qb_ipcs_event_cancel(NULL);
	qb_ipcs_event_cancel(c);
	CHECK_EQ(qb_ipcs_connection_is_sealed(NULL), QB_FALSE);
}

static int ext_command(qb_ipcs_connection_t *c, const struct kit_request *r)
{
	int32_t a = r->arg[0], b = r->arg[1];
	int64_t value = 0;

	switch (r->hdr.id) {
	case EXT_SEALED:
		value = qb_ipcs_connection_is_sealed(c);
		break;
	case EXT_RESERVE:
		value = qb_ipcs_event_reserve(c, (size_t)a, &ext.room);
		if (value >= 0) {
			CHECK_EQ((uintptr_t)ext.room % 8, 0);
			memset(ext.room, 0xee, (size_t)a);
		}
		break;
	case EXT_COMMIT:
		if (ext.room != NULL && a >= (int32_t)sizeof(struct kit_event) && a <= 4096) {
			struct kit_event *e = ext.room;

			kit_fill(e, (size_t)a, (unsigned)b);
			e->hdr.id = KIT_EVENT_ID;
			e->hdr.size = a;
			e->seq = b;
		}
		value = qb_ipcs_event_commit(c, (size_t)a);
		break;
	case EXT_CANCEL:
		qb_ipcs_event_cancel(c);
		break;
	case EXT_SEND:
		value = ks_event(c, 0, (size_t)a);
		break;
	case EXT_MANY:
		value = ext_many(c, (size_t)a, (size_t)b);
		break;
	case EXT_ODD:
		ext_odd(c);
		break;
	case EXT_KEEP_ROOM:
		qb_ipcs_connection_ref(c);
		ext.kept = c;
		ext.len = (size_t)a;
		value = qb_ipcs_event_reserve(c, ext.len, &ext.room);
		break;
	case EXT_USE_ROOM:
		memset(ext.room, 0x55, ext.len);
		ks.k->probe[0] = qb_ipcs_event_commit(ext.kept, ext.len);
		ks.k->probe[1] = qb_ipcs_event_commit(ext.kept, ext.len);
		ks.k->probe[2] = qb_ipcs_event_reserve(ext.kept, 8, &ext.room);
		ks.k->probe[3] = ext_many(ext.kept, 2, 64);
		qb_ipcs_event_cancel(ext.kept);
		qb_ipcs_connection_unref(ext.kept);
		break;
	default:
		return 0;
	}
	ks_reply(c, r->hdr.id, value);
	return 1;
}

#endif

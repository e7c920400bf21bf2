/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the test and its server share: options, commands, counters, the trace. See ipckit.h. */
#ifndef IPCKIT_SHARED_H
#define IPCKIT_SHARED_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <qb/qbipcc.h>
#include <qb/qbipcs.h>

enum kit_command {
	KIT_ECHO = 1,	    /* answers with the same bytes behind the response header */
	KIT_SILENT,	    /* is counted (kit.silent), no answer */
	KIT_SLEEP,	    /* answers after arg0 ms */
	KIT_EVENTS,	    /* sends arg0 events of arg1 bytes, as room allows; answers first */
	KIT_EVENTS_NOW,	    /* sends events of arg1 bytes until it fails or arg0 are out; value: how many; kit.last_send: the error */
	KIT_DISCONNECT,	    /* qb_ipcs_disconnect() in msg_process, arg0 is what msg_process returns */
	KIT_DESTROY,	    /* qb_ipcs_destroy() in msg_process */
	KIT_EXIT,	    /* destroys the service after this turn of the loop and exits */
	KIT_ABRUPT,	    /* _exit(0) on the spot */
	KIT_DIE,	    /* SIGKILL on the spot */
	KIT_RATE,	    /* qb_ipcs_request_rate_limit(arg0) and answers */
	KIT_BACK_OFF,	    /* msg_process returns -ENOBUFS arg0 times, then answers */
	KIT_STATS,	    /* fills kit.cstats, cstats2, sstats (arg0, arg1: clear the connection's, the service's) and answers */
	KIT_RESPONSE,	    /* a response of arg0 bytes; kit.last_send is the result; arg1: with sendv in five pieces */
	KIT_EVENT,	    /* an event likewise, then an answer with the result */
	KIT_SEND_NULL,	    /* response_send(c, NULL, 0) and friends, results in kit.probe */
	KIT_KEEP,	    /* takes a reference for later */
	KIT_USE_KEPT,	    /* sends on the kept connection: kit.probe[0..3], then drops it */
	KIT_SELF_CHECK,	    /* checks the getters and setters in the server */
	KIT_ITERATE,	    /* value: number of connections that first_get/next_get show; checks the newest is first */
	KIT_ANSWERS,	    /* arg0 answers */
	KIT_HOLD,	    /* no answer now; the answer is sent from a job of the next turn */
};

enum kit_where { KIT_IN_ACCEPT = 1, KIT_IN_CREATED, KIT_IN_MSG, KIT_IN_CLOSED, KIT_IN_DESTROYED };

struct kit_options {
	int accept_result;
	int disconnect_in;	/* enum kit_where */
	int destroy_in;		/* enum kit_where */
	int respond_in;		/* send a response in this callback; result to kit.probe[0] */
	int event_in;		/* send an event in this callback; result to kit.probe[1] */
	int events_in_created;	/* that many */
	int event_size;		/* their size; 0: struct kit_event */
	int ref_in;		/* ref and unref in this callback */
	int closed_again;	/* connection_closed returns 1 that many times */
	uint32_t enforce;
	int auth_set;
	uid_t uid;
	gid_t gid;
	mode_t mode;
	int rate;		/* enum qb_ipcs_rate_limit + 1; 0: leave */
	int trace_poll;		/* write the calls of the poll handlers to the trace */
	int trace_messages;	/* write msg to the trace */
	int no_job_add;
	int fail_add;		/* see miniloop.h */
	int nofile;		/* RLIMIT_NOFILE once the service runs */
	int no_memfd;		/* memfd_create() fails in the server */
	int setuid;		/* drop to this uid before listening */
	int no_accept, no_created, no_closed, no_destroyed; /* leave that handler NULL */
	int service_id;
	int leave_on_destroyed;	/* end the loop with the first destroyed connection */
};

struct kit {
	char name[300];
	enum qb_ipc_type type;
	struct kit_options opt;
	/* The client's. */
	pid_t server;
	int control;
	int memfd;
	/* Written by the server. */
	volatile int started;
	volatile int32_t run_result;
	volatile int accepted, created, closed, destroyed, messages, silent, bad_silent;
	volatile uid_t seen_uid;
	volatile gid_t seen_gid;
	volatile int64_t probe[8];
	volatile int64_t last_send;
	volatile int events_sent;
	volatile int controls; /* control bytes handled, see kit_control() */
	volatile int rate_now; /* set through the control pipe, see kit_rate() */
	volatile int server_is_reference;
	volatile int misuse, registered, adds, mods, dels, job_adds, dropped, turns;
	volatile int fds;
	struct qb_ipcs_connection_stats cstats;
	struct qb_ipcs_connection_stats_2 cstats2;
	struct qb_ipcs_stats sstats;
	volatile unsigned trace_len;
	char trace[16384];
};

struct kit_request {
	struct qb_ipc_request_header hdr;
	int32_t arg[4];
};

struct kit_reply {
	struct qb_ipc_response_header hdr;
	int64_t value;
};

/* An event carries its number, the rest is filler. */
struct kit_event {
	struct qb_ipc_response_header hdr;
	int64_t seq;
};

#define KIT_EVENT_ID 77

/* Fills and checks what follows the response header, so that requests and answers can carry the same bytes. */
static inline void kit_fill(void *msg, size_t size, unsigned seed)
{
	unsigned char *p = msg;

	memset(p, 0, size < 24 ? size : 24);
	for (size_t i = 24; i < size; i++) {
		p[i] = (unsigned char)(seed + i * 7 + (i >> 8));
	}
}

static inline int kit_filled(const void *msg, size_t size, unsigned seed)
{
	const unsigned char *p = msg;

	for (size_t i = 24; i < size; i++) {
		if (p[i] != (unsigned char)(seed + i * 7 + (i >> 8))) {
			return 0;
		}
	}
	return 1;
}

/* As in a sandbox that knows no such call. */
static inline void ks_forbid_memfd(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_memfd_create, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = {sizeof code / sizeof *code, code};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
		_exit(3);
	}
}

#endif

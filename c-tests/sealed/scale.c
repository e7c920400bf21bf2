/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * `scale [CONNECTIONS [MOST]]`: that many sealed connections to one service (10,000), of which 100 are active at random; then as many as
 * there are descriptors for. Says how long a round trip takes with few and with many connections, and fails when a service with
 * idle connections uses the processor, when a connection is refused before descriptors end, or when anything is not answered.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "serve.h"

#include <qb/qbipcc.h>
#include <sys/resource.h>
#include <time.h>

#define ACTIVE 100
#define CLIENTS 3
#define ROUNDS 20000
#define IDLE_MS 1000

struct message {
	struct qb_ipc_response_header hdr;
	int64_t n;
};

static char name[64];
static int connections = 10000, most = 0;

static int32_t echo(qb_ipcs_connection_t *c, void *data, size_t size)
{
	qb_ipcs_response_send(c, data, size);
	return 0;
}

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static double cpu_ms(pid_t pid)
{
	struct timespec t = {0, 0};
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0) {
		return -1;
	}
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* What a client process reports. */
struct report {
	int connected, error, unanswered;
	double median, worst;
};

static struct report use(qb_ipcc_connection_t **c, int count)
{
	struct report r = {.connected = count};
	int active = ACTIVE / CLIENTS < count ? ACTIVE / CLIENTS : count;
	static double took[ROUNDS];
	int chosen[ACTIVE];

	srandom((unsigned)getpid());
	for (int i = 0; i < active; i++) {
		chosen[i] = (int)(random() % count);
	}
	for (int i = 0; i < ROUNDS && active > 0; i++) {
		struct message m = {{.id = 1, .size = sizeof m}, i}, back = {.n = -1};
		struct iovec iov = {&m, sizeof m};
		double start = now_us();
		ssize_t n = qb_ipcc_sendv_recv(c[chosen[random() % active]], &iov, 1, &back, sizeof back, 20000);

		took[i] = now_us() - start;
		r.unanswered += n != sizeof back || back.n != i;
	}
	qsort(took, ROUNDS, sizeof *took, by_value);
	r.median = took[ROUNDS / 2];
	r.worst = took[ROUNDS - 1];
	return r;
}

/* A client process: connects `count` times, reports that, and works when it is told so. */
static _Noreturn void client(int count, int in, int out)
{
	qb_ipcc_connection_t **c = calloc((size_t)count, sizeof *c);
	struct report r = {0};
	char byte;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (r.connected < count) {
		c[r.connected] = qb_ipcc_connect(name, 0);
		if (c[r.connected] == NULL) {
			r.error = errno;
			break;
		}
		r.connected++;
	}
	(void)!write(out, &r, sizeof r);
	while (read(in, &byte, 1) == 1) {
		r = use(c, r.connected);
		(void)!write(out, &r, sizeof r);
	}
	_exit(0);
}

struct crowd {
	pid_t server, pid[CLIENTS];
	int in[CLIENTS], out[CLIENTS], connected, error;
	double median, worst;
};

static void wait_for(struct crowd *crowd, int connecting)
{
	int unanswered = 0;

	crowd->connected = crowd->error = 0;
	crowd->median = crowd->worst = 0;
	for (int i = 0; i < CLIENTS; i++) {
		struct report r;

		CHECK_EQ(read(crowd->out[i], &r, sizeof r), sizeof r);
		crowd->connected += r.connected;
		crowd->error = connecting && r.error != 0 ? r.error : crowd->error;
		unanswered += r.unanswered;
		crowd->median += r.median / CLIENTS;
		crowd->worst = r.worst > crowd->worst ? r.worst : crowd->worst;
	}
	CHECK_EQ(unanswered, 0);
}

static struct crowd gather(int count)
{
	struct crowd crowd;

	crowd.server = serve(name, QB_IPC_SHM, echo);
	for (int i = 0; i < CLIENTS; i++) {
		int in[2], out[2];

		if (pipe(in) != 0 || pipe(out) != 0) {
			_exit(3);
		}
		crowd.pid[i] = fork();
		if (crowd.pid[i] == 0) {
			for (int fd = 3; fd < 64; fd++) {
				if (fd != in[0] && fd != out[1]) {
					close(fd);
				}
			}
			client(count / CLIENTS + (i < count % CLIENTS), in[0], out[1]);
		}
		close(in[0]);
		close(out[1]);
		crowd.in[i] = in[1];
		crowd.out[i] = out[0];
	}
	wait_for(&crowd, 1);
	return crowd;
}

static void work(struct crowd *crowd)
{
	for (int i = 0; i < CLIENTS; i++) {
		CHECK_EQ(write(crowd->in[i], "w", 1), 1);
	}
	wait_for(crowd, 0);
}

static void disperse(struct crowd *crowd)
{
	for (int i = 0; i < CLIENTS; i++) {
		close(crowd->in[i]);
		close(crowd->out[i]);
		waitpid(crowd->pid[i], NULL, 0);
	}
	kill(crowd->server, SIGKILL);
	waitpid(crowd->server, NULL, 0);
}

/* Nobody uses the processor while there is nothing to do. */
static double idle(const struct crowd *crowd)
{
	double used = -cpu_ms(crowd->server);

	for (int i = 0; i < CLIENTS; i++) {
		used -= cpu_ms(crowd->pid[i]);
	}
	usleep(IDLE_MS * 1000);
	used += cpu_ms(crowd->server);
	for (int i = 0; i < CLIENTS; i++) {
		used += cpu_ms(crowd->pid[i]);
	}
	return used;
}

static void many_connections_cost_the_active_ones_little(void)
{
	struct crowd few = gather(ACTIVE), crowd;
	double used;

	CHECK_EQ(few.connected, ACTIVE);
	work(&few);
	disperse(&few);
	crowd = gather(connections);
	CHECK_EQ(crowd.connected, connections);
	used = idle(&crowd);
	CHECK(used < IDLE_MS / 20);
	work(&crowd);
	printf("  round trip, %d of %d active: %.1f us (slowest %.0f us)\n", ACTIVE, ACTIVE, few.median, few.worst);
	printf("  round trip, %d of %d active: %.1f us (slowest %.0f us); %.1f ms of %d used while idle\n", ACTIVE, connections,
	       crowd.median, crowd.worst, used, IDLE_MS);
	disperse(&crowd);
}

/* Until descriptors end; everybody who was let in is served. */
static void a_service_has_as_many_connections_as_descriptors(void)
{
	struct crowd crowd = gather(most + 1000);
	double used;

	printf("  %d connections with %d descriptors (then: %s)\n", crowd.connected, most, strerror(crowd.error));
	CHECK(crowd.connected >= most - 100 && crowd.connected < most);
	CHECK(crowd.error == EMFILE || crowd.error == ENOTCONN || crowd.error == ECONNREFUSED || crowd.error == EPIPE);
	used = idle(&crowd);
	printf("  %.1f ms of %d used while idle\n", used, IDLE_MS);
	CHECK(used < IDLE_MS / 20);
	work(&crowd);
	disperse(&crowd);
}

int main(int argc, char **argv)
{
	struct rlimit limit;

	connections = argc > 1 ? atoi(argv[1]) : connections;
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	if (argc > 2) {
		limit.rlim_cur = limit.rlim_max = (rlim_t)atoi(argv[2]);
	}
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
	most = (int)limit.rlim_cur;
	snprintf(name, sizeof name, "qbscale-%d", (int)getpid());
	if (connections + 200 > most) {
		connections = most - 200;
		printf("  only %d descriptors: %d connections\n", most, connections);
	}
	RUN_FOR(many_connections_cost_the_active_ones_little, 100);
	RUN_FOR(a_service_has_as_many_connections_as_descriptors, 100);
	printf("%d passed, %d failed\n", check_passed, check_failed);
	return check_failed != 0 || check_bad != 0;
}

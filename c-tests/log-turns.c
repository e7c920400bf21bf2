/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qb/qblog.h: targets that are changed while a message is on its way to them: what was done before it is their turn counts. */
#include "log-common.h"

static int32_t first, second;
static int second_count, second_closed, late;
static void (*change)(struct qb_log_callsite *cs);

static void first_logger(int32_t t, struct qb_log_callsite *cs, struct timespec *ts, const char *msg)
{
	remember(t, cs, ts, msg);
	if (change != NULL) {
		change(cs);
		change = NULL;
	}
}

static char second_last[100];

static void second_logger(int32_t t, struct qb_log_callsite *cs, struct timespec *ts, const char *msg)
{
	(void)cs, (void)ts;
	CHECK_EQ(t, second);
	second_count++;
	late += __atomic_load_n(&second_closed, __ATOMIC_ACQUIRE);
	snprintf(second_last, sizeof second_last, "%s", msg);
}

static void closes_second(int32_t t)
{
	CHECK_EQ(t, second);
	__atomic_store_n(&second_closed, 1, __ATOMIC_RELEASE);
}

static void other_logger(int32_t t, struct qb_log_callsite *cs, struct timespec *ts, const char *msg)
{
	CHECK_EQ(t, second);
	remember(t, cs, ts, msg);
}

static void one_message(void)
{
	qb_log(LOG_INFO, "a message" QB_XS "and more");
}

/* Two targets, and one message; then one during which the first target's function makes the change. */
static void start_with(void (*what)(struct qb_log_callsite *cs))
{
	start();
	first = wants_all(qb_log_custom_open(first_logger, NULL, NULL, NULL));
	second = wants_all(qb_log_custom_open(second_logger, closes_second, NULL, NULL));
	CHECK(first < second);
	one_message();
	CHECK_EQ(count, 1);
	CHECK_EQ(second_count, 1);
	CHECK_STR(second_last, "a message|and more");
	change = what;
	one_message();
	CHECK(change == NULL);
	CHECK_EQ(late, 0);
}

static void disable(struct qb_log_callsite *cs)
{
	(void)cs;
	CHECK_EQ(qb_log_ctl(second, QB_LOG_CONF_ENABLED, QB_FALSE), 0);
	CHECK_EQ(second_closed, 1);
}

static void a_target_that_was_disabled_gets_nothing(void)
{
	start_with(disable);
	CHECK_EQ(count, 2);
	CHECK_EQ(second_count, 1);
	qb_log_fini();
}

static void close_it(struct qb_log_callsite *cs)
{
	(void)cs;
	qb_log_custom_close(second);
	CHECK_EQ(second_closed, 1);
}

static void a_target_that_was_closed_gets_nothing(void)
{
	start_with(close_it);
	CHECK_EQ(count, 2);
	CHECK_EQ(second_count, 1);
	qb_log_fini();
}

static void open_another(struct qb_log_callsite *cs)
{
	close_it(cs);
	CHECK_EQ(qb_log_custom_open(other_logger, NULL, NULL, NULL), second);
	qb_log_filter_ctl(second, QB_LOG_FILTER_ADD, QB_LOG_FILTER_FILE, "*", LOG_TRACE); /* -EEXIST: row log-filters-of-closed */
	CHECK_EQ(qb_log_ctl(second, QB_LOG_CONF_ENABLED, QB_TRUE), 0);
}

static void the_new_target_of_a_slot_gets_what_follows(void)
{
	start_with(open_another);
	CHECK_EQ(second_count, 1);
	CHECK_EQ(count, 3);
	qb_log_fini();
}

static void clear_filters(struct qb_log_callsite *cs)
{
	(void)cs;
	CHECK_EQ(qb_log_filter_ctl(second, QB_LOG_FILTER_CLEAR_ALL, QB_LOG_FILTER_FILE, "*", LOG_TRACE), 0);
}

static void a_target_without_filters_gets_nothing(void)
{
	start_with(clear_filters);
	CHECK_EQ(second_count, 1);
	qb_log_fini();
}

static void write_callsite(struct qb_log_callsite *cs)
{
	cs->targets &= ~(1U << second);
}

static void a_target_that_was_taken_out_of_the_callsite_gets_nothing(void)
{
	start_with(write_callsite);
	CHECK_EQ(second_count, 1);
	qb_log_fini();
}

static void shorten(struct qb_log_callsite *cs)
{
	(void)cs;
	CHECK_EQ(qb_log_ctl(second, QB_LOG_CONF_EXTENDED, QB_FALSE), 0);
}

static void a_setting_counts_at_once(void)
{
	start_with(shorten);
	CHECK_EQ(second_count, 2);
	CHECK_STR(second_last, "a message");
	qb_log_fini();
}

static void enable(struct qb_log_callsite *cs)
{
	(void)cs;
	second_closed = 0;
	CHECK_EQ(qb_log_ctl(second, QB_LOG_CONF_ENABLED, QB_TRUE), 0);
}

static void a_target_that_was_enabled_gets_the_message(void)
{
	start_with(disable);
	change = enable;
	one_message();
	CHECK_EQ(count, 3);
	CHECK_EQ(second_count, 2);
	qb_log_fini();
}

static void end_logging(struct qb_log_callsite *cs)
{
	(void)cs;
	qb_log_fini();
}

static void logging_may_end_in_a_logger(void)
{
	start_with(end_logging);
	CHECK_EQ(second_count, 1);
	CHECK_EQ(second_closed, 1);
}

static void the_logging_thread_looks_as_well(void)
{
	start();
	first = wants_all(qb_log_custom_open(first_logger, NULL, NULL, NULL));
	second = wants_all(qb_log_custom_open(second_logger, closes_second, NULL, NULL));
	change = write_callsite;
	CHECK_EQ(qb_log_thread_start(), 0);
	CHECK_EQ(qb_log_ctl(first, QB_LOG_CONF_THREADED, QB_TRUE), 0);
	CHECK_EQ(qb_log_ctl(second, QB_LOG_CONF_THREADED, QB_TRUE), 0);
	one_message();
	qb_log_fini();
	CHECK_EQ(count, 1);
	CHECK_EQ(second_count, 0);
}

static int inside, closed;

/* Longer than anybody waits who closes a target: until that has returned. The target's own function for it is no sign: the
 * reference calls it before the target gets no more messages. */
static void wait_until_closed(struct qb_log_callsite *cs)
{
	(void)cs;
	__atomic_store_n(&inside, 1, __ATOMIC_RELEASE);
	for (int i = 0; i < 20000 && !__atomic_load_n(&closed, __ATOMIC_ACQUIRE); i++) {
		usleep(1000);
	}
}

static void *log_one(void *arg)
{
	(void)arg;
	one_message();
	return NULL;
}

static void a_target_that_another_thread_closed_gets_nothing(void)
{
	pthread_t id;

	start();
	first = wants_all(qb_log_custom_open(first_logger, NULL, NULL, NULL));
	second = wants_all(qb_log_custom_open(second_logger, closes_second, NULL, NULL));
	change = wait_until_closed;
	pthread_create(&id, NULL, log_one, NULL);
	while (!__atomic_load_n(&inside, __ATOMIC_ACQUIRE)) {
		usleep(1000);
	}
	qb_log_custom_close(second);
	__atomic_store_n(&closed, 1, __ATOMIC_RELEASE);
	CHECK_EQ(second_closed, 1);
	pthread_join(id, NULL);
	CHECK_EQ(count, 1);
	CHECK_EQ(second_count, 0);
	qb_log_fini();
}

int main(void)
{
	RUN(a_target_that_was_disabled_gets_nothing);
	RUN(a_target_that_was_closed_gets_nothing);
	RUN(the_new_target_of_a_slot_gets_what_follows);
	RUN(a_target_without_filters_gets_nothing);
	RUN(a_target_that_was_taken_out_of_the_callsite_gets_nothing);
	RUN(a_setting_counts_at_once);
	RUN(a_target_that_was_enabled_gets_the_message);
	RUN(logging_may_end_in_a_logger);
	RUN(the_logging_thread_looks_as_well);
	RUN(a_target_that_another_thread_closed_gets_nothing);
	return check_done();
}

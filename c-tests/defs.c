/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qb/qbdefs.h, qb/qbconfig.h and the types of qb/qbipc_common.h: what the macros yield and where the fields are. */
#include <stddef.h>

#include <qb/qbconfig.h>
#include <qb/qbdefs.h>
#include <qb/qbipc_common.h>

#include "check.h"

/* So that the program needs the library under test, as every other test does. */
#include <qb/qbutil.h>

_Static_assert(sizeof(struct qb_ipc_request_header) == 16, "wire layout");
_Static_assert(_Alignof(struct qb_ipc_request_header) == 8, "wire layout");
_Static_assert(offsetof(struct qb_ipc_request_header, id) == 0, "wire layout");
_Static_assert(offsetof(struct qb_ipc_request_header, size) == 8, "wire layout");
_Static_assert(sizeof(struct qb_ipc_response_header) == 24, "wire layout");
_Static_assert(_Alignof(struct qb_ipc_response_header) == 8, "wire layout");
_Static_assert(offsetof(struct qb_ipc_response_header, id) == 0, "wire layout");
_Static_assert(offsetof(struct qb_ipc_response_header, size) == 8, "wire layout");
_Static_assert(offsetof(struct qb_ipc_response_header, error) == 16, "wire layout");

static void sizes_are_rounded_up(void)
{
	CHECK_EQ(QB_ROUNDUP(0, 8), 0);
	CHECK_EQ(QB_ROUNDUP(1, 8), 8);
	CHECK_EQ(QB_ROUNDUP(8, 8), 8);
	CHECK_EQ(QB_ROUNDUP(9, 8), 16);
	CHECK_EQ(QB_ROUNDUP(10, 3), 12);
	CHECK_EQ(QB_ROUNDUP(2 + 3, 1 + 3), 8);
	CHECK_EQ(2 * QB_ROUNDUP(5, 4), 16);
}

static void arithmetic_macros_take_expressions(void)
{
	CHECK_EQ(QB_ABS(-5), 5);
	CHECK_EQ(QB_ABS(5), 5);
	CHECK_EQ(QB_ABS(2 - 9), 7);
	CHECK_EQ(QB_ABS(0), 0);
	CHECK_EQ(QB_MAX(1, 2), 2);
	CHECK_EQ(QB_MAX(2, 1), 2);
	CHECK_EQ(QB_MIN(1, 2), 1);
	CHECK_EQ(QB_MIN(2, 1), 1);
	CHECK_EQ(QB_MAX(1 + 1, 0) * 10, 20);
	CHECK_EQ(QB_MIN(1 + 1, 5) * 10, 20);
}

static void equal_arguments_give_the_second(void)
{
	/* 0.0 and -0.0 are equal and can be told apart. */
	CHECK(__builtin_signbit(QB_MAX(0.0, -0.0)));
	CHECK(!__builtin_signbit(QB_MAX(-0.0, 0.0)));
	CHECK(__builtin_signbit(QB_MIN(0.0, -0.0)));
	CHECK(!__builtin_signbit(QB_MIN(-0.0, 0.0)));
}

static void truth_values_are_ints(void)
{
	CHECK_EQ(QB_FALSE, 0);
	CHECK_EQ(QB_TRUE, 1);
	CHECK_EQ(sizeof(QB_TRUE), sizeof(int));
}

static void bits_are_set_and_cleared(void)
{
	uint32_t bits = 0;

	CHECK_EQ(qb_bit_value(0), 1);
	CHECK_EQ(qb_bit_value(31), 0x80000000u);
	CHECK_EQ(sizeof(qb_bit_value(0)), sizeof(unsigned int));
	CHECK_EQ(qb_bit_set(bits, 4), 16);
	CHECK_EQ(qb_bit_set(bits, 0), 17);
	CHECK_EQ(bits, 17);
	CHECK_EQ(qb_bit_is_set(bits, 4), 16);
	CHECK_EQ(qb_bit_is_set(bits, 5), 0);
	CHECK_EQ(qb_bit_is_clear(bits, 4), 0);
	CHECK_EQ(qb_bit_is_clear(bits, 5), 1);
	CHECK_EQ(qb_bit_clear(bits, 0), 16);
	CHECK_EQ(qb_bit_clear(bits, 0), 16);
	CHECK_EQ(bits, 16);
	CHECK_EQ(qb_bit_set(bits, 3 + 2), 48);
}

#define FORTY 40
static void tokens_are_joined_and_quoted(void)
{
	int ab = 1, FORTY2 = 2, x402 = 3;

	CHECK_EQ(QB_PP_JOIN_(a, b), 1);
	CHECK_EQ(QB_PP_JOIN_(FORTY, 2), 2);
	CHECK_EQ(QB_PP_JOIN(x, QB_PP_JOIN(FORTY, 2)), 3);
	CHECK_STR(QB_PP_STRINGIFY_(FORTY), "FORTY");
	CHECK_STR(QB_PP_STRINGIFY(FORTY), "40");
	(void)ab, (void)FORTY2, (void)x402;
}

static void time_factors_are_unsigned_long_long(void)
{
	CHECK_EQ(HZ, 100);
	CHECK_EQ(QB_TIME_MS_IN_SEC, 1000);
	CHECK_EQ(QB_TIME_US_IN_SEC, 1000000);
	CHECK_EQ(QB_TIME_NS_IN_SEC, 1000000000);
	CHECK_EQ(QB_TIME_US_IN_MSEC, 1000);
	CHECK_EQ(QB_TIME_NS_IN_MSEC, 1000000);
	CHECK_EQ(QB_TIME_NS_IN_USEC, 1000);
	CHECK_EQ(sizeof(QB_TIME_MS_IN_SEC), 8);
	CHECK(10 * QB_TIME_NS_IN_SEC == 10000000000ULL);
	CHECK(-1 * QB_TIME_US_IN_SEC > 0);
}

QB_GNUC_DEPRECATED int an_old_function(void);
QB_GNUC_DEPRECATED_FOR(a_new_function) int another_old_function(void);
typedef int32_t QB_GNUC_MAY_ALIAS aliasing_int;

static void attributes_can_be_used_in_declarations(void)
{
	float one = 1.0f;

	CHECK_EQ(*(aliasing_int *)&one, 0x3f800000);
}

static void the_version_of_the_headers_is_put_together(void)
{
	char text[32];

	CHECK_EQ(QB_VER_MAJOR, 2);
	CHECK_EQ(QB_VER_MINOR, 0);
	CHECK(QB_VER_MICRO >= 6);
	CHECK_STR(QB_VER_REST, "");
	snprintf(text, sizeof(text), "%d.%d.%d%s", QB_VER_MAJOR, QB_VER_MINOR, QB_VER_MICRO, QB_VER_REST);
	CHECK_STR(QB_VER_STR, text);
	CHECK_EQ(sizeof(QB_VER_STR), strlen(text) + 1);
	CHECK_EQ(QB_ATOMIC_OP_MEMORY_BARRIER_NEEDED, 1);
	CHECK(qb_ver_str != NULL);
}

static void transports_and_message_ids_have_their_numbers(void)
{
	CHECK_EQ(QB_IPC_SOCKET, 0);
	CHECK_EQ(QB_IPC_SHM, 1);
	CHECK_EQ(QB_IPC_POSIX_MQ, 2);
	CHECK_EQ(QB_IPC_SYSV_MQ, 3);
	CHECK_EQ(QB_IPC_NATIVE, 4);
	CHECK_EQ(QB_IPC_MSG_NEW_MESSAGE, 0);
	CHECK_EQ(QB_IPC_MSG_USER_START, 0);
	CHECK_EQ(QB_IPC_MSG_AUTHENTICATE, -1);
	CHECK_EQ(QB_IPC_MSG_NEW_EVENT_SOCK, -2);
	CHECK_EQ(QB_IPC_MSG_DISCONNECT, -3);
}

int main(void)
{
	RUN(sizes_are_rounded_up);
	RUN(arithmetic_macros_take_expressions);
	RUN(equal_arguments_give_the_second);
	RUN(truth_values_are_ints);
	RUN(bits_are_set_and_cleared);
	RUN(tokens_are_joined_and_quoted);
	RUN(time_factors_are_unsigned_long_long);
	RUN(attributes_can_be_used_in_declarations);
	RUN(the_version_of_the_headers_is_put_together);
	RUN(transports_and_message_ids_have_their_numbers);
	return check_done();
}

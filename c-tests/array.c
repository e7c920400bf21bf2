/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qb/qbarray.h */
#include <limits.h>
#include <pthread.h>
#include <stddef.h>

#include <qb/qbarray.h>

#include "check.h"

_Static_assert(QB_ARRAY_MAX_ELEMENTS == 65536 && QB_ARRAY_MAX_INDEX_BITS == 16, "limits");

static void impossible_arrays_are_refused(void)
{
	errno = 0;
	CHECK(qb_array_create(INT_MAX, 16) == NULL);
	CHECK_EQ(errno, EINVAL);
	CHECK(qb_array_create((size_t)-56, 16) == NULL);
	CHECK(qb_array_create(65537, 16) == NULL);
	CHECK(qb_array_create(10, 0) == NULL);
	CHECK(qb_array_create_2(10, 4, 17) == NULL);
	qb_array_free(qb_array_create(0, 4));
	qb_array_free(qb_array_create_2(65536, 4, 16));
}

static void wrong_arguments_and_indexes_are_errors(void)
{
	qb_array_t *a = qb_array_create(10, 4);
	void *p = NULL;

	CHECK_EQ(qb_array_index(a, 10, &p), -ERANGE);
	CHECK_EQ(qb_array_index(a, -10, &p), -ERANGE);
	CHECK_EQ(qb_array_index(NULL, 1, &p), -EINVAL);
	CHECK_EQ(qb_array_index(a, -1, NULL), -EINVAL);
	CHECK(p == NULL);
	CHECK_EQ(qb_array_grow(a, 65537), -EINVAL);
	CHECK_EQ(qb_array_grow(NULL, 5), -EINVAL);
	CHECK_EQ(qb_array_new_bin_cb_set(NULL, NULL), -EINVAL);
	CHECK_EQ(qb_array_num_bins_get(NULL), (size_t)-EINVAL);
	CHECK_EQ(qb_array_elems_per_bin_get(NULL), (size_t)-EINVAL);
	CHECK_EQ(qb_array_elems_per_bin_get(a), 16);
	qb_array_free(a);
}

static void elements_keep_content_and_address_when_the_array_grows(void)
{
	struct item { uint64_t a, b; } *items[112], *item;
	qb_array_t *a = qb_array_create(112, sizeof(struct item));

	for (int i = 0; i < 112; i++) {
		CHECK_EQ(qb_array_index(a, i, (void **)&items[i]), 0);
		CHECK(items[i]->a == 0 && items[i]->b == 0);
		CHECK_EQ((uintptr_t)items[i] % 16, 0);
		items[i]->a = (uint64_t)i;
	}
	CHECK_EQ(qb_array_grow(a, 1453), 0);
	CHECK_EQ(qb_array_grow(a, 3), 0);
	for (int i = 0; i < 112; i++) {
		CHECK_EQ(qb_array_index(a, i, (void **)&item), 0);
		CHECK(item == items[i] && item->a == (uint64_t)i);
	}
	CHECK((char *)items[15] - (char *)items[0] == 15 * (ptrdiff_t)sizeof(struct item));
	CHECK_EQ(qb_array_index(a, 1452, (void **)&item), 0);
	CHECK_EQ(qb_array_index(a, 1453, (void **)&item), -ERANGE);
	qb_array_free(a);
}

static void the_table_of_bins_is_counted_as_ever(void)
{
	qb_array_t *a = qb_array_create(20, 4);

	CHECK_EQ(qb_array_num_bins_get(a), 2);
	qb_array_grow(a, 33);
	CHECK_EQ(qb_array_num_bins_get(a), 4);
	qb_array_grow(a, 100);
	CHECK_EQ(qb_array_num_bins_get(a), 8);
	qb_array_grow(a, 65536);
	CHECK_EQ(qb_array_num_bins_get(a), 4097);
	qb_array_free(a);
	a = qb_array_create(65536, 4);
	CHECK_EQ(qb_array_num_bins_get(a), 4096);
	qb_array_free(a);
}

static int bins, last_bin;

static void new_bin(qb_array_t *a, uint32_t bin)
{
	void *p = NULL;

	bins++;
	last_bin = (int)bin;
	CHECK_EQ(qb_array_index(a, (int32_t)bin * 16, &p), 0);
}

static void growing_by_itself_goes_to_the_index_and_tells_of_new_bins(void)
{
	qb_array_t *a = qb_array_create_2(0, 8, 3);
	void *p;

	CHECK_EQ(qb_array_new_bin_cb_set(a, new_bin), 0);
	CHECK_EQ(qb_array_index(a, 100, &p), 0);
	CHECK(bins == 1 && last_bin == 6);
	CHECK_EQ(qb_array_index(a, 96, &p), 0);
	CHECK_EQ(qb_array_index(a, 0, &p), 0);
	CHECK(bins == 2 && last_bin == 0);
	CHECK_EQ(qb_array_index(a, 65535, &p), 0);
	CHECK_EQ(qb_array_index(a, 65536, &p), -EINVAL);
	CHECK_EQ(qb_array_index(a, INT_MAX, &p), -EINVAL);
	qb_array_new_bin_cb_set(a, NULL);
	CHECK_EQ(qb_array_index(a, 5000, &p), 0);
	CHECK_EQ(bins, 3);
	qb_array_free(a);
}

static void *grower(void *arg)
{
	qb_array_t *a = arg;
	uintptr_t wrong = 0;

	for (int i = 0; i < 40000; i++) {
		int32_t *p = NULL;

		if (qb_array_index(a, i, (void **)&p) != 0 || (__atomic_exchange_n(p, i + 1, __ATOMIC_RELAXED) | (i + 1)) != i + 1) {
			wrong++;
		}
	}
	return (void *)wrong;
}

static void threads_may_index_and_grow_together(void)
{
	qb_array_t *a = qb_array_create_2(0, 4, 16);
	pthread_t t[4];
	void *wrong;

	for (int i = 0; i < 4; i++) {
		pthread_create(&t[i], NULL, grower, a);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(t[i], &wrong);
		CHECK(wrong == NULL);
	}
	qb_array_free(a);
}

static void null_is_freed_without_harm(void)
{
	qb_array_free(NULL);
}

int main(void)
{
	RUN(impossible_arrays_are_refused);
	RUN(wrong_arguments_and_indexes_are_errors);
	RUN(elements_keep_content_and_address_when_the_array_grows);
	RUN(the_table_of_bins_is_counted_as_ever);
	RUN(growing_by_itself_goes_to_the_index_and_tells_of_new_bins);
	RUN_OURS(threads_may_index_and_grow_together, "array-threads");
	RUN_OURS(null_is_freed_without_harm, "containers-null");
	return check_done();
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QB_ARRAY_H_DEFINED
#define QB_ARRAY_H_DEFINED

#include <stdint.h>
#ifndef S_SPLINT_S
#include <unistd.h>
#endif

#include <qb/qbdefs.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * @file qbarray.h
 * An array that grows without moving its elements.
 *
 * All elements up to the maximum exist from the beginning and are zero. The
 * memory of 16 elements, a bin, is taken when one of them is first asked for.
 *
 * @code
 * qb_array_t *a = qb_array_create_2(0, sizeof(struct item), 16);
 * struct item *item;
 *
 * if (qb_array_index(a, 40, (void **)&item) == 0) {
 *         item->used = 1;
 * }
 * qb_array_free(a);
 * @endcode
 *
 * @note Any number of threads may look up elements and grow one array; what is in
 * the elements is theirs to protect. Addresses of elements stay valid until
 * qb_array_free().
 */

/** The number of bits in an index. */
#define QB_ARRAY_MAX_INDEX_BITS 16
/** The largest number of elements. */
#define QB_ARRAY_MAX_ELEMENTS (1 << QB_ARRAY_MAX_INDEX_BITS)

struct qb_array;

/** An array; its content is private. */
typedef struct qb_array qb_array_t;

/** Is told of a new bin, by its number; may use the array. */
typedef void (*qb_array_new_bin_cb_fn)(qb_array_t *a, uint32_t bin);

/**
 * Creates an array of a fixed number of elements; see qb_array_create_2().
 *
 * @param max_elements at most QB_ARRAY_MAX_ELEMENTS
 * @param element_size size of one element in bytes, not 0
 * @return the array, or NULL with errno EINVAL or ENOMEM
 */
qb_array_t *qb_array_create(size_t max_elements, size_t element_size);

/**
 * Creates an array. Its elements are zero-filled, and exist at once.
 *
 * Memory is taken in bins of 16 elements, when one of them is first asked for.
 * The address of an element never changes.
 *
 * @param max_elements      at most QB_ARRAY_MAX_ELEMENTS
 * @param element_size      size of one element in bytes, not 0
 * @param autogrow_elements 0, or 1 to 16 for an array that grows to whatever
 *                          index is asked for
 * @return the array, or NULL with errno EINVAL or ENOMEM
 */
qb_array_t *qb_array_create_2(size_t max_elements, size_t element_size,
                              size_t autogrow_elements);

/**
 * Finds an element. Any number of threads may do so, and grow the array
 * meanwhile.
 *
 * @param a           the array
 * @param idx         its number
 * @param element_out where its address goes
 * @return 0; -EINVAL: NULL argument, or growing beyond QB_ARRAY_MAX_ELEMENTS;
 *         -ERANGE: negative, or not below the maximum of an array that does not
 *         grow by itself; -ENOMEM
 */
int32_t qb_array_index(qb_array_t *a, int32_t idx, void **element_out);

/**
 * Raises the maximum number of elements.
 *
 * @param a            the array
 * @param max_elements the new maximum; nothing happens if it is not larger
 * @return 0; -EINVAL: NULL, or more than QB_ARRAY_MAX_ELEMENTS
 */
int32_t qb_array_grow(qb_array_t *a, size_t max_elements);

/**
 * The size of the table of bins. Bins that were not used yet count as well.
 *
 * @param a the array
 * @return how many bins the table has room for; (size_t)-EINVAL if @a a is NULL
 */
size_t qb_array_num_bins_get(qb_array_t *a);

/**
 * The number of elements in a bin: element i is in bin i / 16.
 *
 * @param a the array
 * @return 16; (size_t)-EINVAL if @a a is NULL
 */
size_t qb_array_elems_per_bin_get(qb_array_t *a);

/**
 * Sets the function that is told of each new bin.
 *
 * It is called by the thread whose qb_array_index() made the bin, before that
 * returns, and may use the array.
 *
 * @param a  the array
 * @param fn the function, NULL for none
 * @return 0; -EINVAL if @a a is NULL
 */
int32_t qb_array_new_bin_cb_set(qb_array_t *a, qb_array_new_bin_cb_fn fn);

/**
 * Frees an array and its elements.
 *
 * @param a the array; nothing happens if it is NULL
 */
void qb_array_free(qb_array_t *a);

#ifdef __cplusplus
}
#endif

#endif /* QB_ARRAY_H_DEFINED */

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QB_ATOMIC_H_DEFINED
#define QB_ATOMIC_H_DEFINED

#include <stdint.h>

#include <qb/qbconfig.h>
#include <qb/qbdefs.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * @file qbatomic.h
 * Atomic operations on 32-bit integers and on pointers.
 *
 * A variable that several threads (or, in shared memory, processes) use through
 * these functions must be reached through them only: a plain assignment beside
 * them is a data race. Each operation is a full memory barrier, so what a thread
 * wrote before it is visible to whoever sees its effect.
 *
 * A reference counter:
 * @code
 * qb_atomic_int_inc(&object->refs);
 * ...
 * if (qb_atomic_int_dec_and_test(&object->refs)) {
 *         free(object);
 * }
 * @endcode
 */

/**
 * Does nothing; kept for programs that call it before the other functions.
 *
 * No function of this header needs it. It may be called any number of times.
 */
void qb_atomic_init(void);

/**
 * Adds to an integer and returns what it was before. The sum wraps around.
 *
 * @param atomic the integer
 * @param val    what to add; may be negative
 * @return the value before the addition; 0 if @a atomic is NULL
 */
int32_t qb_atomic_int_exchange_and_add(volatile int32_t QB_GNUC_MAY_ALIAS *atomic,
                                       int32_t val);

/**
 * Adds to an integer. The sum wraps around.
 *
 * @param atomic the integer; nothing happens if it is NULL
 * @param val    what to add; may be negative
 */
void qb_atomic_int_add(volatile int32_t QB_GNUC_MAY_ALIAS *atomic, int32_t val);

/**
 * Stores a value in an integer if that has the expected value.
 *
 * @param atomic the integer
 * @param oldval what it is expected to be
 * @param newval what it shall become
 * @return QB_TRUE if @a newval was stored, else QB_FALSE (also if @a atomic is
 *         NULL)
 */
int32_t qb_atomic_int_compare_and_exchange(volatile int32_t QB_GNUC_MAY_ALIAS *atomic,
                                           int32_t oldval, int32_t newval);

/**
 * Stores a value in a pointer if that has the expected value.
 *
 * @param atomic address of the pointer
 * @param oldval what it is expected to be
 * @param newval what it shall become
 * @return QB_TRUE if @a newval was stored, else QB_FALSE (also if @a atomic is
 *         NULL)
 */
int32_t qb_atomic_pointer_compare_and_exchange(volatile void *QB_GNUC_MAY_ALIAS *atomic,
                                               void *oldval, void *newval);

/**
 * Reads an integer.
 *
 * @param atomic the integer
 * @return its value; 0 if @a atomic is NULL
 */
int32_t qb_atomic_int_get(volatile int32_t QB_GNUC_MAY_ALIAS *atomic);

/**
 * Writes an integer.
 *
 * @param atomic the integer; nothing happens if it is NULL
 * @param newval its new value
 */
void qb_atomic_int_set(volatile int32_t QB_GNUC_MAY_ALIAS *atomic,
                       int32_t newval);

/**
 * Reads a pointer.
 *
 * @param atomic address of the pointer
 * @return its value; NULL if @a atomic is NULL
 */
void *qb_atomic_pointer_get(volatile void *QB_GNUC_MAY_ALIAS *atomic);

/**
 * Writes a pointer.
 *
 * @param atomic address of the pointer; nothing happens if it is NULL
 * @param newval its new value
 */
void qb_atomic_pointer_set(volatile void *QB_GNUC_MAY_ALIAS *atomic,
                           void *newval);

/*
 * Reads and writes as macros: they refuse an operand of the wrong size when
 * compiled, and take any type of the right size. Put the name in parentheses to
 * reach the function itself.
 */
#ifdef QB_ATOMIC_OP_MEMORY_BARRIER_NEEDED

#define qb_atomic_int_get(atomic)                                             \
	((void)sizeof(char *[sizeof(*(atomic)) == sizeof(int32_t) ? 1 : -1]), \
	 (qb_atomic_int_get)((volatile int32_t QB_GNUC_MAY_ALIAS *)           \
			     (volatile void *)(atomic)))

#define qb_atomic_int_set(atomic, newval)                                     \
	((void)sizeof(char *[sizeof(*(atomic)) == sizeof(int32_t) ? 1 : -1]), \
	 (qb_atomic_int_set)((volatile int32_t QB_GNUC_MAY_ALIAS *)           \
			     (volatile void *)(atomic), (newval)))

#define qb_atomic_pointer_get(atomic)                                         \
	((void)sizeof(char *[sizeof(*(atomic)) == sizeof(void *) ? 1 : -1]),  \
	 (qb_atomic_pointer_get)((volatile void *QB_GNUC_MAY_ALIAS *)         \
				 (volatile void *)(atomic)))

#define qb_atomic_pointer_set(atomic, newval)                                 \
	((void)sizeof(char *[sizeof(*(atomic)) == sizeof(void *) ? 1 : -1]),  \
	 (qb_atomic_pointer_set)((volatile void *QB_GNUC_MAY_ALIAS *)         \
				 (volatile void *)(atomic), (newval)))

#else

#define qb_atomic_int_get(atomic) ((int32_t)*(atomic))
#define qb_atomic_int_set(atomic, newval) ((void)(*(atomic) = (newval)))
#define qb_atomic_pointer_get(atomic) ((void *)*(atomic))
#define qb_atomic_pointer_set(atomic, newval) ((void)(*(atomic) = (newval)))

#endif

/** Adds 1 to the integer that @a atomic points to. */
#define qb_atomic_int_inc(atomic) (qb_atomic_int_add((atomic), 1))

/** Subtracts 1 from the integer that @a atomic points to; true if it became 0. */
#define qb_atomic_int_dec_and_test(atomic) \
	(qb_atomic_int_exchange_and_add((atomic), -1) == 1)

#ifdef __cplusplus
}
#endif

#endif /* QB_ATOMIC_H_DEFINED */

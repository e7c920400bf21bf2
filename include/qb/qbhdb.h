/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QB_HDB_H_DEFINED
#define QB_HDB_H_DEFINED

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <stdlib.h>
#include <stdint.h>
#include <inttypes.h>

#include <qb/qbarray.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * @file qbhdb.h
 * Handle databases: numbers that stand for instances of the program's objects,
 * with a reference count each.
 *
 * The owner makes an instance with qb_hdb_handle_create() and ends it with
 * qb_hdb_handle_destroy(); whoever uses it in between brackets that with
 * qb_hdb_handle_get() and qb_hdb_handle_put(). The instance is destructed and
 * freed when the last of them is done.
 *
 * @code
 * QB_HDB_DECLARE(sessions, session_destructor)
 *
 * qb_hdb_handle_create(&sessions, sizeof(struct session), &handle);
 * if (qb_hdb_handle_get(&sessions, handle, (void **)&session) == 0) {
 *         ...
 *         qb_hdb_handle_put(&sessions, handle);
 * }
 * qb_hdb_handle_destroy(&sessions, handle);
 * @endcode
 *
 * @note Any number of threads may create, use and destroy handles. A handle that is
 * out of use is refused with -EBADF, also after its number was given to
 * another instance.
 */

/** A handle: an index in the lower half, a check in the upper. */
typedef uint64_t qb_handle_t;

/* Formats for printf(). */
#define QB_HDB_D_FORMAT "%" PRIu64
#define QB_HDB_X_FORMAT "%" PRIx64

/** An entry as other implementations lay it out; not used by this one. */
struct qb_hdb_handle {
	int32_t state;
	void *instance;
	int32_t check;
	int32_t ref_count;
};

/** A database. The members are private, except for the destructor. */
struct qb_hdb {
	uint32_t handle_count;
	qb_array_t *handles;
	uint32_t iterator;
	void (*destructor)(void *);
	uint32_t first_run;
};

/** Defines a database of this file, which needs no qb_hdb_create(). */
#define QB_HDB_DECLARE(database_name, destructor_function)                    \
static struct qb_hdb (database_name) = {                                      \
	0, NULL, 0, destructor_function, QB_TRUE                              \
};

/**
 * Initialises a database. What the memory contained before does not matter.
 *
 * @param hdb the database; its destructor is NULL afterwards, set it then
 */
void qb_hdb_create(struct qb_hdb *hdb);

/**
 * Frees the table of a database. Instances that still exist are not freed, and
 * no destructor is called. The database cannot be used until qb_hdb_create().
 *
 * @param hdb the database
 */
void qb_hdb_destroy(struct qb_hdb *hdb);

/**
 * Creates an instance and a handle for it, with one reference.
 *
 * @param hdb           the database
 * @param instance_size size in bytes, 0 or more; the memory is zero-filled
 * @param handle_id_out where the handle goes
 * @return 0, -ENOMEM (also for a negative size), -EINVAL (NULL argument,
 *         destroyed database, or more than 65536 instances)
 */
int32_t qb_hdb_handle_create(struct qb_hdb *hdb, int32_t instance_size,
                             qb_handle_t *handle_id_out);

/**
 * Takes a reference to an instance.
 *
 * @param hdb       the database
 * @param handle_in the handle
 * @param instance  where the instance's address goes, NULL on failure
 * @return 0, -EBADF (no such handle, or its removal is pending), -EINVAL (NULL
 *         argument)
 */
int32_t qb_hdb_handle_get(struct qb_hdb *hdb, qb_handle_t handle_in,
                          void **instance);

/**
 * The same as qb_hdb_handle_get().
 *
 * @param hdb       the database
 * @param handle_in the handle
 * @param instance  where the instance's address goes, NULL on failure
 * @return 0, -EBADF, -EINVAL
 */
int32_t qb_hdb_handle_get_always(struct qb_hdb *hdb, qb_handle_t handle_in,
                                 void **instance);

/**
 * Gives a reference back. After the last one the destructor is called with the
 * instance, which is then freed.
 *
 * @param hdb       the database
 * @param handle_in the handle
 * @return 0, or -EBADF (no such handle)
 */
int32_t qb_hdb_handle_put(struct qb_hdb *hdb, qb_handle_t handle_in);

/**
 * Ends a handle: no more references can be taken, and the owner's is given back
 * as with qb_hdb_handle_put(). Those that others have stay valid.
 *
 * @param hdb       the database
 * @param handle_in the handle
 * @return 0, or -EBADF (no such handle, or it was destroyed already)
 */
int32_t qb_hdb_handle_destroy(struct qb_hdb *hdb, qb_handle_t handle_in);

/**
 * The number of references to an instance.
 *
 * @param hdb       the database
 * @param handle_in the handle
 * @return the number (0 while the destructor runs), or -EBADF
 */
int32_t qb_hdb_handle_refcount_get(struct qb_hdb *hdb, qb_handle_t handle_in);

/**
 * Lets the next qb_hdb_iterator_next() begin with the first handle.
 *
 * @param hdb the database
 */
void qb_hdb_iterator_reset(struct qb_hdb *hdb);

/**
 * Takes a reference to the next instance whose removal is not pending. All
 * users of a database share one position.
 *
 * @param hdb      the database
 * @param instance where the instance's address goes
 * @param handle   where its handle goes; give it back with qb_hdb_handle_put()
 * @return 0, or a negative value at the end
 */
int32_t qb_hdb_iterator_next(struct qb_hdb *hdb, void **instance,
                             qb_handle_t *handle);

/**
 * The index in a handle: its lower 32 bits.
 *
 * @param handle the handle
 * @return the index
 */
uint32_t qb_hdb_base_convert(qb_handle_t handle);

/**
 * A handle from an index alone, which fits whatever instance is there.
 *
 * @param handle the index
 * @return the handle
 */
uint64_t qb_hdb_nocheck_convert(uint32_t handle);

#ifdef __cplusplus
}
#endif

#endif /* QB_HDB_H_DEFINED */

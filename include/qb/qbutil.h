/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QB_UTIL_H_DEFINED
#define QB_UTIL_H_DEFINED

#include <pthread.h>
#include <stdint.h>
#include <time.h>
#include <unistd.h>

#include <qb/qbdefs.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * @file qbutil.h
 * Locks, clocks, a stopwatch, error texts and the version of the library.
 *
 * A stopwatch measures from its start to its last stop, and keeps intermediate
 * times (splits) when it was given room for them:
 * @code
 * qb_util_stopwatch_t *sw = qb_util_stopwatch_create();
 *
 * qb_util_stopwatch_split_ctl(sw, 2, 0);
 * qb_util_stopwatch_start(sw);
 * first_half();
 * qb_util_stopwatch_split(sw);
 * second_half();
 * qb_util_stopwatch_split(sw);
 * qb_util_stopwatch_stop(sw);
 *
 * printf("second half: %" PRIu64 " us of %" PRIu64 " us\n",
 *        qb_util_stopwatch_time_split_get(sw, 1, 0),
 *        qb_util_stopwatch_us_elapsed_get(sw));
 * qb_util_stopwatch_free(sw);
 * @endcode
 *
 * @note All functions are for any thread, but a stopwatch is for one at a time.
 */

/** For how long a lock is usually held; it decides how a thread waits for it. */
typedef enum {
	QB_THREAD_LOCK_SHORT = 0, /**< a few instructions: try for a while first */
	QB_THREAD_LOCK_LONG = 1	  /**< longer: sleep at once */
} qb_thread_lock_type_t;

/** A lock between the threads of a process. Not recursive. */
struct qb_thread_lock_s;
typedef struct qb_thread_lock_s qb_thread_lock_t;

/** A stopwatch. */
typedef struct qb_util_stopwatch qb_util_stopwatch_t;

/** Option of qb_util_stopwatch_split_ctl(): new splits replace the oldest. */
#define QB_UTIL_SW_OVERWRITE 0x01

/**
 * Takes a message of the library itself.
 *
 * @param file_name source file of the library, without directory
 * @param file_line line in that file
 * @param severity  LOG_EMERG to LOG_DEBUG of syslog.h (0 to 7)
 * @param msg       text without a final newline
 */
typedef void (*qb_util_log_fn_t)(const char *file_name, int32_t file_line,
				 int32_t severity, const char *msg);

/** Version of the library that the program runs with: 2.0.10 has micro 10. */
extern const struct qb_version {
	uint8_t major;
	uint8_t minor;
	uint8_t micro;
	const char *rest; /**< what follows the numbers, usually "" */
} qb_ver;

/** The same as one string. */
extern const char *const qb_ver_str;

/**
 * Makes a lock.
 *
 * @param type for how long the lock is usually held
 * @return the lock, not held, and never NULL; free it with
 *         qb_thread_lock_destroy()
 */
qb_thread_lock_t *qb_thread_lock_create(qb_thread_lock_type_t type);

/**
 * Takes a lock, and waits for it as long as another thread holds it.
 *
 * A thread that takes a lock twice waits for itself, forever.
 *
 * @param tl the lock
 * @return 0, or -EINVAL for NULL
 */
int32_t qb_thread_lock(qb_thread_lock_t *tl);

/**
 * Takes a lock if it is free.
 *
 * @param tl the lock
 * @return 0, -EBUSY if it is held (by whichever thread), or -EINVAL for NULL
 */
int32_t qb_thread_trylock(qb_thread_lock_t *tl);

/**
 * Gives a lock back.
 *
 * @param tl the lock
 * @return 0, or -EINVAL for NULL
 */
int32_t qb_thread_unlock(qb_thread_lock_t *tl);

/**
 * Frees a lock; nobody may use it any more, whatever the result.
 *
 * @param tl the lock
 * @return 0, -EBUSY if it was a QB_THREAD_LOCK_LONG that somebody held, or
 *         -EINVAL for NULL
 */
int32_t qb_thread_lock_destroy(qb_thread_lock_t *tl);

/**
 * Sets one function that gets the messages of the library itself, besides the
 * targets of qblog.h.
 *
 * It is called in the thread that has something to say, and messages that the
 * function itself causes are dropped.
 *
 * @param fn the function, or NULL for none
 *
 * @deprecated use qb_log_init() and the targets of qblog.h
 */
QB_GNUC_DEPRECATED
void qb_util_set_log_function(qb_util_log_fn_t fn);

/**
 * Adds milliseconds to a time.
 *
 * @param ts the time; nothing happens if it is NULL
 * @param ms milliseconds to add; may be negative
 */
void qb_timespec_add_ms(struct timespec *ts, int32_t ms);

/**
 * Tells the time since an unspecified start (CLOCK_MONOTONIC). It is never set
 * back.
 *
 * @return nanoseconds
 */
uint64_t qb_util_nano_current_get(void);

/**
 * Tells the frequency of the clock behind qb_util_nano_current_get().
 *
 * @return steps per second
 */
uint64_t qb_util_nano_monotonic_hz(void);

/**
 * Tells the time since the epoch (CLOCK_REALTIME). It jumps when the clock is
 * set.
 *
 * @return nanoseconds
 */
uint64_t qb_util_nano_from_epoch_get(void);

/**
 * Tells the time since the epoch (CLOCK_REALTIME). It jumps when the clock is
 * set.
 *
 * @param ts (out) the time; nothing happens if it is NULL
 */
void qb_util_timespec_from_epoch_get(struct timespec *ts);

/**
 * Tells what an errno means, without the shared buffer of strerror().
 *
 * Use the returned pointer, not @a buf: for a known number it is a text of the
 * C library, and @a buf is not touched.
 *
 * @param errnum the number, positive
 * @param buf    room for the text of an unknown number
 * @param buflen size of @a buf in bytes
 * @return the text
 */
char *qb_strerror_r(int errnum, char *buf, size_t buflen);

/**
 * Makes a stopwatch that has not been started.
 *
 * @return the stopwatch, never NULL; free it with qb_util_stopwatch_free()
 */
qb_util_stopwatch_t *qb_util_stopwatch_create(void);

/**
 * Frees a stopwatch.
 *
 * @param sw the stopwatch, or NULL
 */
void qb_util_stopwatch_free(qb_util_stopwatch_t *sw);

/**
 * Starts a stopwatch, or starts it again: a former stop and all splits are
 * forgotten.
 *
 * @param sw the stopwatch
 */
void qb_util_stopwatch_start(qb_util_stopwatch_t *sw);

/**
 * Records the time since the start. The watch goes on, so it can be stopped
 * again later.
 *
 * @param sw the stopwatch
 */
void qb_util_stopwatch_stop(qb_util_stopwatch_t *sw);

/**
 * Tells how long the watch ran from its start to its last stop.
 *
 * @param sw the stopwatch
 * @return microseconds; 0 if it was not started or not stopped since
 */
uint64_t qb_util_stopwatch_us_elapsed_get(qb_util_stopwatch_t *sw);

/**
 * Tells how long the watch ran from its start to its last stop.
 *
 * @param sw the stopwatch
 * @return seconds; 0 if it was not started or not stopped since
 */
float qb_util_stopwatch_sec_elapsed_get(qb_util_stopwatch_t *sw);

/**
 * Makes room for splits; those recorded before are forgotten.
 *
 * @param sw         the stopwatch
 * @param max_splits how many splits there is room for
 * @param options    0, or QB_UTIL_SW_OVERWRITE: once the room is used up, a new
 *                   split replaces the oldest
 * @return 0, -ENOMEM, or -EINVAL for NULL
 */
int32_t qb_util_stopwatch_split_ctl(qb_util_stopwatch_t *sw,
                                    uint32_t max_splits, uint32_t options);

/**
 * Records a split. A watch that was never started is started by it.
 *
 * @param sw the stopwatch
 * @return microseconds since the previous split, or since the start for the
 *         first one; 0 if there is no room
 */
uint64_t qb_util_stopwatch_split(qb_util_stopwatch_t *sw);

/**
 * Tells the number of the last split.
 *
 * @param sw the stopwatch
 * @return the number, counted from 0; 0 also if there is no split
 */
uint32_t qb_util_stopwatch_split_last(qb_util_stopwatch_t *sw);

/**
 * Tells the time between two splits.
 *
 * If both numbers are the same, it is the time from the start to that split.
 *
 * @param sw      the stopwatch
 * @param receint number of the later split
 * @param older   number of the earlier split
 * @return microseconds; 0 if one of them does not exist or was replaced
 */
uint64_t qb_util_stopwatch_time_split_get(qb_util_stopwatch_t *sw,
                                          uint32_t receint, uint32_t older);

#ifdef __cplusplus
}
#endif

#endif /* QB_UTIL_H_DEFINED */

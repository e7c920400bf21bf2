/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QB_LOOP_H_DEFINED
#define QB_LOOP_H_DEFINED

#include <signal.h>
#include <stdint.h>
#include <poll.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * @file qbloop.h
 * The main loop: jobs, timers, descriptors and signals on three priorities.
 *
 * @note One thread runs a loop; the functions that add and take back may be
 * called from any thread, and from callbacks. A NULL loop means the default loop
 * of the process, see qb_loop_create(). Errors are negative errno numbers.
 */

/**
 * Share of the loop: while all levels are busy, they get turns in the
 * proportion 1 : 2 : 3. A higher priority does not starve a lower one.
 */
enum qb_loop_priority {
	QB_LOOP_LOW = 0,
	QB_LOOP_MED = 1,
	QB_LOOP_HIGH = 2
};

/** A main loop. */
typedef struct qb_loop qb_loop_t;

/** Names a timer; never 0. */
typedef uint64_t qb_loop_timer_handle;

/** Names a signal registration; never NULL, and not to be looked into. */
typedef void *qb_loop_signal_handle;

/** Gets a descriptor and bits of poll(2); a negative value ends the registration. */
typedef int32_t (*qb_loop_poll_dispatch_fn)(int32_t fd, int32_t revents, void *data);

/** Runs a job. */
typedef void (*qb_loop_job_dispatch_fn)(void *data);

/** Runs when a timer has expired. */
typedef void (*qb_loop_timer_dispatch_fn)(void *data);

/** Gets a signal number, in the loop's thread; any value but 0 ends the registration. */
typedef int32_t (*qb_loop_signal_dispatch_fn)(int32_t rsignal, void *data);

/** Gets 1 when descriptors run short and 0 when there are enough again, and how many are left. */
typedef void (*qb_loop_poll_low_fds_event_fn)(int32_t not_enough, int32_t fds_available);

/**
 * Creates a main loop.
 *
 * The first loop created while there is no default loop becomes the default,
 * which is what a NULL loop means in the functions below.
 *
 * @return the loop, to be freed with qb_loop_destroy(), or NULL (no memory, no
 *         descriptors left; see errno)
 */
qb_loop_t *qb_loop_create(void);

/**
 * Frees a loop and everything registered with it; no callback is called and no
 * descriptor of the caller is closed.
 *
 * Signals that the loop handled stay caught, and are ignored from now on. In a
 * callback of the loop, the loop ends as soon as the callback has returned.
 *
 * @param l loop from qb_loop_create(); NULL does nothing
 */
void qb_loop_destroy(struct qb_loop *l);

/**
 * Makes qb_loop_run() return once the current callback has returned.
 *
 * May be called from any thread and from a signal handler. A loop that is not
 * running forgets it.
 *
 * @param l loop, or NULL for the default
 */
void qb_loop_stop(qb_loop_t *l);

/**
 * Runs the loop until qb_loop_stop().
 *
 * May be called from a callback of the same loop; qb_loop_stop() then ends the
 * inner call and those around it.
 *
 * @param l loop, or NULL for the default; without a default it returns at once
 */
void qb_loop_run(qb_loop_t *l);

/**
 * Calls a function once, in one of the next iterations.
 *
 * A job that runs as the last of a chain of jobs that added each other may be
 * delayed by up to 50 ms.
 *
 * @param l           loop, or NULL for the default
 * @param p           priority
 * @param data        passed to the function
 * @param dispatch_fn function to call
 * @return 0, or -EINVAL
 */
int32_t qb_loop_job_add(qb_loop_t *l, enum qb_loop_priority p, void *data,
                        qb_loop_job_dispatch_fn dispatch_fn);

/**
 * Takes back the oldest job with the same priority, function and data that has
 * not started.
 *
 * @param l           loop, or NULL for the default
 * @param p           priority
 * @param data        as given to qb_loop_job_add()
 * @param dispatch_fn as given to qb_loop_job_add()
 * @return 0, -ENOENT if there is no such job, or -EINVAL
 */
int32_t qb_loop_job_del(struct qb_loop *l, enum qb_loop_priority p, void *data,
                        qb_loop_job_dispatch_fn dispatch_fn);

/**
 * Calls a function once, after a time.
 *
 * May be called from any thread.
 *
 * @param l                loop, or NULL for the default
 * @param p                priority
 * @param nsec_duration    nanoseconds that pass before at least
 * @param data             passed to the function
 * @param dispatch_fn      function to call
 * @param timer_handle_out gets the handle; may be NULL
 * @return 0, -EINVAL, or -ENOMEM
 */
int32_t qb_loop_timer_add(qb_loop_t *l, enum qb_loop_priority p,
                          uint64_t nsec_duration, void *data,
                          qb_loop_timer_dispatch_fn dispatch_fn,
                          qb_loop_timer_handle *timer_handle_out);

/**
 * Takes back a timer whose function was not called yet.
 *
 * @param l  loop, or NULL for the default
 * @param th handle from qb_loop_timer_add()
 * @return 0, -EINVAL if there is no such timer (any more), or -ERANGE for an
 *         impossible handle
 */
int32_t qb_loop_timer_del(qb_loop_t *l, qb_loop_timer_handle th);

/**
 * Tells whether a timer is still to expire.
 *
 * @param l  loop, or NULL for the default
 * @param th handle from qb_loop_timer_add(); anything else gives 0
 * @return 1 or 0
 */
int32_t qb_loop_timer_is_running(qb_loop_t *l, qb_loop_timer_handle th);

/**
 * Tells when a timer expires.
 *
 * @param l  loop, or NULL for the default
 * @param th handle from qb_loop_timer_add()
 * @return nanoseconds on CLOCK_MONOTONIC, or 0 if there is no such timer (any
 *         more)
 */
uint64_t qb_loop_timer_expire_time_get(struct qb_loop *l,
                                       qb_loop_timer_handle th);

/**
 * Tells how long it is until a timer expires.
 *
 * @param l  loop, or NULL for the default
 * @param th handle from qb_loop_timer_add()
 * @return nanoseconds, or 0 if it is due or there is no such timer (any more)
 */
uint64_t qb_loop_timer_expire_time_remaining(struct qb_loop *l,
                                             qb_loop_timer_handle th);

/**
 * Sets the function that is told when the descriptors registered with the loop
 * come close to RLIMIT_NOFILE, and when there are enough again.
 *
 * @param l  loop; NULL does not mean the default here
 * @param fn function to call, or NULL for none
 * @return 0, or -EINVAL
 */
int32_t qb_loop_poll_low_fds_event_set(qb_loop_t *l,
                                       qb_loop_poll_low_fds_event_fn fn);

/**
 * Watches a descriptor.
 *
 * A negative return value of the function ends the registration.
 *
 * @param l           loop, or NULL for the default
 * @param p           priority
 * @param fd          descriptor; take it back with qb_loop_poll_del() before
 *                    closing it
 * @param events      bits of poll(2): POLLIN, POLLPRI, POLLOUT; POLLERR and
 *                    POLLHUP are always reported
 * @param data        passed to the function
 * @param dispatch_fn function to call
 * @return 0, -EINVAL, or what epoll_ctl(2) said: -EEXIST, -EPERM (regular
 *         files), -EBADF, -ENOSPC, -ENOMEM
 */
int32_t qb_loop_poll_add(qb_loop_t *l, enum qb_loop_priority p, int32_t fd,
                         int32_t events, void *data,
                         qb_loop_poll_dispatch_fn dispatch_fn);

/**
 * Changes priority, events, data and function of a watched descriptor.
 *
 * @param l           loop, or NULL for the default
 * @param p           priority
 * @param fd          descriptor
 * @param events      as for qb_loop_poll_add()
 * @param data        passed to the function
 * @param dispatch_fn function to call
 * @return 0, -EINVAL, -EBADF if the descriptor is not watched, or what
 *         epoll_ctl(2) said
 */
int32_t qb_loop_poll_mod(qb_loop_t *l, enum qb_loop_priority p, int32_t fd,
                         int32_t events, void *data,
                         qb_loop_poll_dispatch_fn dispatch_fn);

/**
 * Stops watching a descriptor.
 *
 * @param l  loop, or NULL for the default
 * @param fd descriptor
 * @return 0, -EINVAL, -EBADF if the descriptor is not watched, or what
 *         epoll_ctl(2) said about one closed before
 */
int32_t qb_loop_poll_del(qb_loop_t *l, int32_t fd);

/**
 * Calls a function from the loop when a signal arrives.
 *
 * A return value other than 0 ends the registration. Several registrations for
 * the same signal are all called.
 *
 * @param l           loop, or NULL for the default
 * @param p           priority
 * @param sig         signal number
 * @param data        passed to the function
 * @param dispatch_fn function to call
 * @param handle      gets the handle; may be NULL
 * @return 0, or -EINVAL
 */
int32_t qb_loop_signal_add(qb_loop_t *l, enum qb_loop_priority p, int32_t sig,
                           void *data, qb_loop_signal_dispatch_fn dispatch_fn,
                           qb_loop_signal_handle *handle);

/**
 * Changes number, priority, data and function of a signal registration.
 *
 * @param l           loop, or NULL for the default
 * @param p           priority
 * @param sig         signal number
 * @param data        passed to the function
 * @param dispatch_fn function to call
 * @param handle      handle from qb_loop_signal_add()
 * @return 0, or -EINVAL
 */
int32_t qb_loop_signal_mod(qb_loop_t *l, enum qb_loop_priority p, int32_t sig,
                           void *data, qb_loop_signal_dispatch_fn dispatch_fn,
                           qb_loop_signal_handle handle);

/**
 * Ends a signal registration; without another one the signal gets its default
 * action.
 *
 * @param l      loop, or NULL for the default
 * @param handle handle from qb_loop_signal_add()
 * @return 0, or -EINVAL
 */
int32_t qb_loop_signal_del(qb_loop_t *l, qb_loop_signal_handle handle);

#ifdef __cplusplus
}
#endif

#endif /* QB_LOOP_H_DEFINED */

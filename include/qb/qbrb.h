/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QB_RB_H_DEFINED
#define QB_RB_H_DEFINED

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * @file qbrb.h
 * Ring buffers of variable-length chunks, in memory that threads and processes
 * can share.
 *
 * One side writes chunks, the other reads them in the same order. Without further
 * flags a full ring refuses new chunks and a counter lets the reader wait for the
 * next one.
 *
 * Copying:
 * @code
 * qb_ringbuffer_t *rb = qb_rb_open("log", 65536, QB_RB_FLAG_CREATE, 0);
 *
 * qb_rb_chunk_write(rb, text, strlen(text));
 * ...
 * ssize_t len = qb_rb_chunk_read(rb, buffer, sizeof buffer, 1000);
 * @endcode
 *
 * In place:
 * @code
 * struct message *m = qb_rb_chunk_alloc(rb, sizeof *m);
 * if (m != NULL) {
 *         m->id = 7;
 *         qb_rb_chunk_commit(rb, sizeof *m);
 * }
 * ...
 * void *next;
 * ssize_t len = qb_rb_chunk_peek(rb, &next, 1000);
 * if (len > 0) {
 *         handle(next, len);
 *         qb_rb_chunk_reclaim(rb);
 * }
 * @endcode
 *
 * @note At any time at most one thread writes and one reads; who takes turns on
 * one side brings a lock.
 */

/** Make the ring; without it, open one that exists. */
#define QB_RB_FLAG_CREATE 0x01

/** A full ring drops its oldest chunks to make room. */
#define QB_RB_FLAG_OVERWRITE 0x02

/** Threads of one process share the ring. */
#define QB_RB_FLAG_SHARED_THREAD 0x04

/** Processes share the ring, and wait on its counter. */
#define QB_RB_FLAG_SHARED_PROCESS 0x08

/** No counter of chunks: reading never waits, qb_rb_chunks_used() knows nothing. */
#define QB_RB_FLAG_NO_SEMAPHORE 0x10

/** A ring buffer. */
typedef struct qb_ringbuffer_s qb_ringbuffer_t;

/**
 * Opens a ring buffer, or makes one.
 *
 * With QB_RB_FLAG_CREATE two files are made, and their removal is up to
 * qb_rb_close() in this process. A name without a slash means files in
 * /dev/shm, or in the socket directory if that fails; one with a slash is a
 * path.
 *
 * @param name                  name of the ring; not NULL
 * @param size                  length of the longest chunk in bytes; the ring
 *                              is a bit longer, in whole pages
 * @param flags                 QB_RB_FLAG_* or-ed together
 * @param shared_user_data_size bytes for qb_rb_shared_user_data_get()
 * @return the ring buffer, or NULL with errno set: EINVAL for a wrong name or
 *         size, ENOENT (opening) if there is no such ring, EBADMSG if its files
 *         are damaged, ENOMEM, or what open(2), ftruncate(2) or mmap(2) said
 */
qb_ringbuffer_t *qb_rb_open(const char *name, size_t size, uint32_t flags,
                            size_t shared_user_data_size);

/**
 * Closes a ring buffer. The process that made it also removes its files.
 *
 * @param rb the ring buffer; NULL does nothing
 */
void qb_rb_close(qb_ringbuffer_t *rb);

/**
 * Path of the header file.
 *
 * @param rb the ring buffer
 * @return the path, valid until qb_rb_close(), or NULL for NULL
 */
char *qb_rb_name_get(qb_ringbuffer_t *rb);

/**
 * The area of shared_user_data_size bytes that all users of the ring share.
 *
 * @param rb the ring buffer
 * @return its address, or NULL for NULL
 */
void *qb_rb_shared_user_data_get(qb_ringbuffer_t *rb);

/**
 * Writes one chunk.
 *
 * @param rb   the ring buffer
 * @param data the bytes
 * @param len  how many
 * @return len, -EAGAIN while there is no room, -EINVAL or another negative
 *         errno
 */
ssize_t qb_rb_chunk_write(qb_ringbuffer_t *rb, const void *data, size_t len);

/**
 * Makes room for one chunk, to be filled in place and then handed over by
 * qb_rb_chunk_commit().
 *
 * @param rb  the ring buffer
 * @param len bytes wanted
 * @return address of that many bytes, or NULL with errno EAGAIN while there is
 *         no room, EINVAL or another
 */
void *qb_rb_chunk_alloc(qb_ringbuffer_t *rb, size_t len);

/**
 * Hands the chunk from qb_rb_chunk_alloc() to the reader.
 *
 * @param rb  the ring buffer
 * @param len bytes that were filled, at most those asked for
 * @return 0, -EINVAL when the ring has not that much room, or another negative
 *         errno
 */
int32_t qb_rb_chunk_commit(qb_ringbuffer_t *rb, size_t len);

/**
 * Looks at the next chunk without copying it. It stays until
 * qb_rb_chunk_reclaim().
 *
 * @param rb         the ring buffer
 * @param data_out   where the address of the chunk goes
 * @param ms_timeout how long to wait for one in milliseconds; 0 does not wait,
 *                   a negative value waits for ever
 * @return bytes in the chunk, 0 when none came in time, -EBADMSG when the ring
 *         makes no sense, -EINVAL
 */
ssize_t qb_rb_chunk_peek(qb_ringbuffer_t *rb, void **data_out,
                         int32_t ms_timeout);

/**
 * Drops the next chunk, normally the one from qb_rb_chunk_peek(). Sets errno to
 * EINVAL when there is none.
 *
 * @param rb the ring buffer; NULL does nothing
 */
void qb_rb_chunk_reclaim(qb_ringbuffer_t *rb);

/**
 * Copies the next chunk out and drops it.
 *
 * @param rb         the ring buffer
 * @param data_out   where it goes
 * @param len        bytes that fit there
 * @param ms_timeout how long to wait for one in milliseconds; 0 does not wait,
 *                   a negative value waits for ever
 * @return bytes in the chunk, -ETIMEDOUT when none came in time, -ENOBUFS when
 *         it is longer than len (then it stays), -EBADMSG when the ring makes
 *         no sense, -EINVAL
 */
ssize_t qb_rb_chunk_read(qb_ringbuffer_t *rb, void *data_out, size_t len,
                         int32_t ms_timeout);

/**
 * How many users have the ring open.
 *
 * @param rb the ring buffer
 * @return the count, or -EINVAL for NULL
 */
int32_t qb_rb_refcount_get(qb_ringbuffer_t *rb);

/**
 * Bytes that are free, the 12 bytes that a chunk needs beyond its data
 * included.
 *
 * @param rb the ring buffer
 * @return bytes, or a negative errno
 */
ssize_t qb_rb_space_free(qb_ringbuffer_t *rb);

/**
 * Bytes that chunks occupy.
 *
 * @param rb the ring buffer
 * @return bytes, or a negative errno
 */
ssize_t qb_rb_space_used(qb_ringbuffer_t *rb);

/**
 * Chunks that were committed and not read.
 *
 * @param rb the ring buffer
 * @return the number, -ENOTSUP with QB_RB_FLAG_NO_SEMAPHORE, or another
 *         negative errno
 */
ssize_t qb_rb_chunks_used(qb_ringbuffer_t *rb);

/**
 * Saves the ring to a file, and prints a short summary of it on stdout.
 *
 * @param rb the ring buffer
 * @param fd the file, written from its present position
 * @return bytes written, or a negative errno
 */
ssize_t qb_rb_write_to_file(qb_ringbuffer_t *rb, int32_t fd);

/**
 * Loads a ring that qb_rb_write_to_file() saved, and prints a short summary of
 * it on stdout.
 *
 * It has no semaphore and does not overwrite, and it is private to this
 * process.
 *
 * @param fd    the file, read from its present position
 * @param flags ignored
 * @return the ring buffer, or NULL with errno set
 */
qb_ringbuffer_t *qb_rb_create_from_file(int32_t fd, uint32_t flags);

/**
 * Gives the files of the ring to a user and a group. Not being allowed to is no
 * error.
 *
 * @param rb    the ring buffer
 * @param owner user, or -1 to leave it
 * @param group group, or -1 to leave it
 * @return 0 or a negative errno
 */
int32_t qb_rb_chown(qb_ringbuffer_t *rb, uid_t owner, gid_t group);

/**
 * Sets the permission bits of the files of the ring.
 *
 * @param rb   the ring buffer
 * @param mode as for chmod(2)
 * @return 0 or a negative errno
 */
int32_t qb_rb_chmod(qb_ringbuffer_t *rb, mode_t mode);

#ifdef __cplusplus
}
#endif

#endif /* QB_RB_H_DEFINED */

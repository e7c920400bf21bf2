/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QB_MAP_H_DEFINED
#define QB_MAP_H_DEFINED

#include <stdint.h>
#ifndef S_SPLINT_S
#include <unistd.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

/**
 * @file qbmap.h
 * Maps from strings to pointers, in three kinds with one set of functions.
 *
 * - A hash table is the fastest; its order is arbitrary.
 * - A skip list is sorted by strcmp().
 * - A trie is sorted too, and knows notifications and iterators for prefixes.
 *
 * A map stores the pointers to keys and values; it copies and frees neither. A
 * program that allocates them learns from notifications when they are out of use.
 *
 * @code
 * static void free_value(uint32_t event, char *key, void *old_value, void *value,
 *                        void *user_data)
 * {
 *         free(old_value);
 * }
 *
 * qb_map_t *m = qb_trie_create();
 * qb_map_notify_add(m, NULL, free_value, QB_MAP_NOTIFY_FREE, NULL);
 * qb_map_put(m, "config.size", strdup("10"));
 * @endcode
 *
 * Iterating, while entries may come and go:
 * @code
 * qb_map_iter_t *it = qb_map_pref_iter_create(m, "config.");
 * const char *key;
 * void *value;
 *
 * while ((key = qb_map_iter_next(it, &value)) != NULL) {
 *         if (is_obsolete(value)) {
 *                 qb_map_rm(m, key);
 *         }
 * }
 * qb_map_iter_free(it);
 * @endcode
 *
 * @note No map is thread-safe: one thread at a time, iterators included.
 */

struct qb_map;

/** A map; its content is private. */
typedef struct qb_map qb_map_t;

struct qb_map_iter;

/** A position in a map; its content is private. */
typedef struct qb_map_iter qb_map_iter_t;

/** The entry was removed: old value, no new one. */
#define QB_MAP_NOTIFY_DELETED 1
/** The entry has a new key pointer and value: old key, old and new value. */
#define QB_MAP_NOTIFY_REPLACED 2
/** The entry is new: no old value. */
#define QB_MAP_NOTIFY_INSERTED 4
/** Not an event: in a trie, include all keys that start with the key. */
#define QB_MAP_NOTIFY_RECURSIVE 8
/**
 * The old key and value are out of use: called after each deletion and each
 * replacement, with the arguments of that. Without a key only.
 */
#define QB_MAP_NOTIFY_FREE 16

/** Is told of one event (one of the values above) of an entry. */
typedef void (*qb_map_notify_fn)(uint32_t event,
				 char *key,
				 void *old_value,
				 void *value,
				 void *user_data);

/** Is called for an entry; a result other than 0 ends the traversal. */
typedef int32_t (*qb_map_transverse_fn)(const char *key,
					void *value,
					void *user_data);

/**
 * Creates an unordered map.
 *
 * @param max_size expected number of entries. More fit in, without becoming
 *                 slower; the number decides on the order of iteration only
 * @return the map, or NULL with errno ENOMEM
 */
qb_map_t *qb_hashtable_create(size_t max_size);

/**
 * Creates a map that is sorted by strcmp().
 *
 * @return the map, or NULL with errno ENOMEM
 */
qb_map_t *qb_skiplist_create(void);

/**
 * Creates a sorted map with notifications and iterators for key prefixes.
 *
 * The order is that of the characters as signed numbers: the same as in
 * strcmp() for ASCII keys, other characters come first.
 *
 * @return the map, or NULL with errno ENOMEM
 */
qb_map_t *qb_trie_create(void);

/**
 * Prints a trie to stdout, for debugging: a line with the number of entries,
 * then one per entry in order. The format is not fixed.
 *
 * @param m a trie; nothing is printed for NULL and for other maps
 */
void qb_trie_dump(qb_map_t *m);

/**
 * Adds a notification.
 *
 * The callback may use the map in any way except destroying it, and may delete
 * this or other notifications; deleted ones are not called any more.
 *
 * Notifications on one key are called latest first (in a trie the recursive
 * ones after the others and in the order of their addition), those on the map
 * last.
 *
 * @param m         the map
 * @param key       the key (in a trie: or prefix) to watch; NULL for all. The
 *                  string is needed during the call only. In a hash table or
 *                  skip list it must exist, and the notification ends with it
 * @param fn        what to call
 * @param events    sum of QB_MAP_NOTIFY_DELETED, QB_MAP_NOTIFY_REPLACED,
 *                  QB_MAP_NOTIFY_INSERTED, QB_MAP_NOTIFY_RECURSIVE and (only
 *                  with a NULL key) QB_MAP_NOTIFY_FREE. In a trie a NULL key
 *                  needs QB_MAP_NOTIFY_RECURSIVE to be told of anything but
 *                  FREE
 * @param user_data passed on to @a fn
 * @return 0; -EINVAL (wrong arguments; skip list: no such key), -ENOENT (hash
 *         table: no such key), -EEXIST (there is one with the same events,
 *         function and data; with QB_MAP_NOTIFY_FREE: with the same events),
 *         -ENOMEM
 */
int32_t qb_map_notify_add(qb_map_t *m, const char *key, qb_map_notify_fn fn,
                          int32_t events, void *user_data);

/**
 * Deletes all notifications of a key that have this function and these events,
 * whatever their user data.
 *
 * @param m      the map
 * @param key    the key they were added with, or NULL
 * @param fn     their function
 * @param events their events, exactly
 * @return 0, or -ENOENT if there was none; -EINVAL if @a m is NULL
 */
int32_t qb_map_notify_del(qb_map_t *m, const char *key, qb_map_notify_fn fn,
                          int32_t events);

/**
 * Deletes the notification of a key that has this function, these events and
 * this user data.
 *
 * @param m         the map
 * @param key       the key it was added with, or NULL
 * @param fn        its function
 * @param events    its events, exactly
 * @param user_data its data
 * @return 0, or -ENOENT if there is none; -EINVAL if @a m is NULL
 */
int32_t qb_map_notify_del_2(qb_map_t *m, const char *key, qb_map_notify_fn fn,
                            int32_t events, void *user_data);

/**
 * Stores a value. The map keeps both pointers; it copies and frees neither.
 *
 * If the key exists, its value and its key pointer are replaced. Whoever owns
 * the old ones frees them in the notification of the replacement.
 *
 * Without memory the map is unchanged, and errno is ENOMEM.
 *
 * @param map   the map
 * @param key   the key; it must stay valid and unchanged until the entry's
 *              deletion or replacement was notified (QB_MAP_NOTIFY_DELETED,
 *              QB_MAP_NOTIFY_REPLACED or QB_MAP_NOTIFY_FREE)
 * @param value the value; in a trie NULL counts as an entry, but iterators pass
 *              over it
 */
void qb_map_put(qb_map_t *map, const char *key, const void *value);

/**
 * Looks up a value.
 *
 * @param map the map
 * @param key the key
 * @return the value, NULL if there is no such key
 */
void *qb_map_get(qb_map_t *map, const char *key);

/**
 * Removes an entry.
 *
 * If an iterator stands on it, the deletion is notified when the iterator moves
 * on or is freed, and key and value must stay valid until then.
 *
 * @param map the map
 * @param key the key
 * @return QB_TRUE, or QB_FALSE if there is no such key
 */
int32_t qb_map_rm(qb_map_t *map, const char *key);

/**
 * The number of entries.
 *
 * @param map the map
 * @return how many there are; 0 if @a map is NULL
 */
size_t qb_map_count_get(qb_map_t *map);

/**
 * Calls a function for each entry in order, until it returns something else
 * than 0. It may change the map.
 *
 * @param map       the map
 * @param func      called with key, value and @a user_data
 * @param user_data passed on
 */
void qb_map_foreach(qb_map_t *map, qb_map_transverse_fn func, void *user_data);

/**
 * Creates an iterator that stands before the first entry.
 *
 * Entries may be added and removed while it is in use, also the one it stands
 * on. It must be freed with qb_map_iter_free() before the map is destroyed.
 *
 * @param map the map
 * @return the iterator, or NULL
 */
qb_map_iter_t *qb_map_iter_create(qb_map_t *map);

/**
 * Creates an iterator over the keys with a prefix.
 *
 * Only tries know prefixes; in a hash table or skip list it iterates over all.
 *
 * @param map    the map
 * @param prefix the prefix; NULL for all entries, while an empty one matches
 *               none
 * @return the iterator, or NULL
 */
qb_map_iter_t *qb_map_pref_iter_create(qb_map_t *map, const char *prefix);

/**
 * Moves to the next entry.
 *
 * @param i     the iterator
 * @param value where its value goes; may be NULL, and is untouched at the end
 * @return the key pointer that was put in, NULL at the end
 */
const char *qb_map_iter_next(qb_map_iter_t *i, void **value);

/**
 * Frees an iterator. If the entry it stands on was removed, that is notified
 * now.
 *
 * @param i the iterator; nothing happens if it is NULL
 */
void qb_map_iter_free(qb_map_iter_t *i);

/**
 * Destroys a map. All entries are removed in order, with notifications.
 *
 * @param map the map; nothing happens if it is NULL
 */
void qb_map_destroy(qb_map_t *map);

#ifdef __cplusplus
}
#endif

#endif /* QB_MAP_H_DEFINED */

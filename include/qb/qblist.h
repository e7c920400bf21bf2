/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef QB_LIST_H_DEFINED
#define QB_LIST_H_DEFINED

#include <stddef.h>
#include <stdint.h>

#include <qb/qbdefs.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * @file qblist.h
 * A doubly linked list whose links are members of the listed structures.
 *
 * A list is a ring: the head is a struct qb_list_head of its own, linked with the
 * first and the last element; the head of an empty list is linked with itself.
 * Nothing is allocated, nothing is locked, and everything here is inline.
 *
 * @code
 * struct job {
 *         int id;
 *         struct qb_list_head link;
 * };
 * QB_LIST_DECLARE(jobs);
 * struct job *job, *next;
 *
 * qb_list_add_tail(&one_job->link, &jobs);
 * qb_list_for_each_entry_safe(job, next, &jobs, link) {
 *         qb_list_del(&job->link);
 *         free(job);
 * }
 * @endcode
 */

/** Head of a list, or the links of one element. */
struct qb_list_head {
	struct qb_list_head *next; /**< first element, or the next one */
	struct qb_list_head *prev; /**< last element, or the previous one */
};

/** Defines a variable @a name that is the head of an empty list. */
#define QB_LIST_DECLARE(name) struct qb_list_head name = { &(name), &(name) }

/** qb_list_init() as a statement. */
#define QB_INIT_LIST_HEAD(ptr)       \
	do {                         \
		(ptr)->next = (ptr); \
		(ptr)->prev = (ptr); \
	} while (0)

/**
 * Makes a head the head of an empty list.
 *
 * @param head the head; what it was linked with before does not matter
 */
static inline void qb_list_init(struct qb_list_head *head)
{
	QB_INIT_LIST_HEAD(head);
}

/**
 * Inserts an element at the front, right after the head.
 *
 * @param element what to insert; it must not be in a list
 * @param head    head of the list, or the element to insert behind
 */
static inline void qb_list_add(struct qb_list_head *element,
			       struct qb_list_head *head)
{
	struct qb_list_head *after = head->next;

	element->prev = head;
	element->next = after;
	after->prev = element;
	head->next = element;
}

/**
 * Inserts an element at the back, right before the head.
 *
 * @param element what to insert; it must not be in a list
 * @param head    head of the list, or the element to insert in front of
 */
static inline void qb_list_add_tail(struct qb_list_head *element,
				    struct qb_list_head *head)
{
	qb_list_add(element, head->prev);
}

/**
 * Takes an element out of its list.
 *
 * The element's own links stay as they were.
 *
 * @param _remove the element
 */
static inline void qb_list_del(struct qb_list_head *_remove)
{
	struct qb_list_head *before = _remove->prev;
	struct qb_list_head *after = _remove->next;

	before->next = after;
	after->prev = before;
}

/**
 * Puts one element in the place of another.
 *
 * The links of the element that leaves stay as they were.
 *
 * @param old_one the element that leaves, or a head whose list moves
 * @param new_one what takes its place; it must not be in a list
 */
static inline void qb_list_replace(struct qb_list_head *old_one,
				   struct qb_list_head *new_one)
{
	struct qb_list_head *after = old_one->next;
	struct qb_list_head *before;

	new_one->next = after;
	after->prev = new_one;
	/* Read only now: it is new_one if old_one heads an empty list. */
	before = old_one->prev;
	new_one->prev = before;
	before->next = new_one;
}

/**
 * Tells whether an element is the last one.
 *
 * @param list the element
 * @param head head of its list
 * @return 1 if no element follows, else 0
 */
static inline int qb_list_is_last(const struct qb_list_head *list,
				  const struct qb_list_head *head)
{
	return list->next == head;
}

/**
 * Tells whether a list has no elements.
 *
 * @param head head of the list
 * @return 1 if it is empty, else 0
 */
static inline int32_t qb_list_empty(const struct qb_list_head *head)
{
	return head->next == head;
}

/**
 * Moves all elements of one list to the front of another, in their order.
 *
 * @param list head of the list that is emptied. Its own links stay as they were:
 *             call qb_list_init() before it is used again.
 * @param head head of the list that gets the elements
 */
static inline void qb_list_splice(struct qb_list_head *list,
				  struct qb_list_head *head)
{
	struct qb_list_head *after = head->next;

	if (qb_list_empty(list)) {
		return;
	}
	head->next = list->next;
	list->next->prev = head;
	list->prev->next = after;
	after->prev = list->prev;
}

/**
 * Moves all elements of one list to the back of another, in their order.
 *
 * @param list head of the list that is emptied. Its own links stay as they were:
 *             call qb_list_init() before it is used again.
 * @param head head of the list that gets the elements
 */
static inline void qb_list_splice_tail(struct qb_list_head *list,
				       struct qb_list_head *head)
{
	qb_list_splice(list, head->prev);
}

/** Pointer to the @a type whose member @a member is at @a ptr. */
#define qb_list_entry(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))

/** The first element as a @a type; @a ptr is the head of a list with elements. */
#define qb_list_first_entry(ptr, type, member) \
	qb_list_entry((ptr)->next, type, member)

/*
 * Loops. `pos` and `n` are variables of the caller: pointers to struct
 * qb_list_head, or in the _entry forms to the structure whose member `member`
 * links it. The _safe forms keep the successor in `n`, so that the body may take
 * the current element (and no other) out of the list. When an _entry loop ran to
 * its end, `pos` does not point to an element.
 */

/** From the first link to the last. */
#define qb_list_for_each(pos, head) \
	for (pos = (head)->next; pos != (head); pos = pos->next)

/** From the last link to the first. */
#define qb_list_for_each_reverse(pos, head) \
	for (pos = (head)->prev; pos != (head); pos = pos->prev)

/** From the first link to the last; the body may remove @a pos. */
#define qb_list_for_each_safe(pos, n, head)                    \
	for (pos = (head)->next, n = pos->next; pos != (head); \
	     pos = n, n = pos->next)

/** From the first element to the last. */
#define qb_list_for_each_entry(pos, head, member)                     \
	for (pos = qb_list_entry((head)->next, typeof(*pos), member); \
	     &pos->member != (head);                                  \
	     pos = qb_list_entry(pos->member.next, typeof(*pos), member))

/** From the last element to the first. */
#define qb_list_for_each_entry_reverse(pos, head, member)             \
	for (pos = qb_list_entry((head)->prev, typeof(*pos), member); \
	     &pos->member != (head);                                  \
	     pos = qb_list_entry(pos->member.prev, typeof(*pos), member))

/** From the first element to the last; the body may remove @a pos. */
#define qb_list_for_each_entry_safe(pos, n, head, member)              \
	for (pos = qb_list_entry((head)->next, typeof(*pos), member),  \
	     n = qb_list_entry(pos->member.next, typeof(*n), member);  \
	     &pos->member != (head);                                   \
	     pos = n, n = qb_list_entry(n->member.next, typeof(*n), member))

/** From the last element to the first; the body may remove @a pos. */
#define qb_list_for_each_entry_safe_reverse(pos, n, head, member)      \
	for (pos = qb_list_entry((head)->prev, typeof(*pos), member),  \
	     n = qb_list_entry(pos->member.prev, typeof(*n), member);  \
	     &pos->member != (head);                                   \
	     pos = n, n = qb_list_entry(n->member.prev, typeof(*n), member))

/** From @a pos, which is included, to the last element. */
#define qb_list_for_each_entry_from(pos, head, member) \
	for (; &pos->member != (head);                 \
	     pos = qb_list_entry(pos->member.next, typeof(*pos), member))

/**
 * Counts the elements by walking over them.
 *
 * @param head head of the list
 * @return number of elements
 */
static inline int32_t qb_list_length(struct qb_list_head *head)
{
	struct qb_list_head *pos;
	int32_t length = 0;

	qb_list_for_each(pos, head) {
		length++;
	}
	return length;
}

#ifdef __cplusplus
}
#endif

#endif /* QB_LIST_H_DEFINED */

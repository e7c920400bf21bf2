/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* qb/qblist.h: everything is inline, so what is tested is the header that the program was compiled with. */
#include <qb/qblist.h>
#include <qb/qbutil.h> /* so that the program needs the library, as every other test does */

#include "check.h"

_Static_assert(sizeof(struct qb_list_head) == 16, "inlined into programs");
_Static_assert(offsetof(struct qb_list_head, next) == 0, "inlined into programs");
_Static_assert(offsetof(struct qb_list_head, prev) == 8, "inlined into programs");

struct item {
	int before;
	struct qb_list_head link;
	int value;
};

static struct item items[8];

/* The values of a list in order, as text, and checked backwards as well. */
static const char *values(struct qb_list_head *head)
{
	static char text[64];
	struct item *it;
	struct qb_list_head *prev = head;
	size_t used = 0;

	text[0] = '\0';
	qb_list_for_each_entry(it, head, link) {
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%d", it->value);
		CHECK(it->link.prev == prev);
		prev = &it->link;
	}
	CHECK(head->prev == prev);
	return text;
}

static void fill(struct qb_list_head *head, int from, int to)
{
	int i;

	qb_list_init(head);
	for (i = from; i < to; i++) {
		items[i].value = i;
		qb_list_add_tail(&items[i].link, head);
	}
}

static void a_new_list_is_empty(void)
{
	QB_LIST_DECLARE(declared);
	struct qb_list_head by_macro, by_function;

	QB_INIT_LIST_HEAD(&by_macro);
	qb_list_init(&by_function);
	CHECK(declared.next == &declared && declared.prev == &declared);
	CHECK(by_macro.next == &by_macro && by_macro.prev == &by_macro);
	CHECK(by_function.next == &by_function && by_function.prev == &by_function);
	CHECK_EQ(qb_list_empty(&declared), 1);
	CHECK_EQ(qb_list_length(&declared), 0);
}

static void elements_go_to_the_front_or_to_the_back(void)
{
	QB_LIST_DECLARE(head);
	int i;

	for (i = 3; i >= 0; i--) {
		items[i].value = i;
		qb_list_add(&items[i].link, &head);
	}
	for (i = 4; i < 8; i++) {
		items[i].value = i;
		qb_list_add_tail(&items[i].link, &head);
	}
	CHECK_STR(values(&head), "01234567");
	CHECK_EQ(qb_list_length(&head), 8);
	CHECK_EQ(qb_list_empty(&head), 0);
	CHECK(qb_list_first_entry(&head, struct item, link) == &items[0]);
	CHECK(qb_list_entry(&items[3].link, struct item, link) == &items[3]);
	CHECK_EQ(qb_list_is_last(&items[7].link, &head), 1);
	CHECK_EQ(qb_list_is_last(&items[6].link, &head), 0);
}

static void a_removed_element_keeps_its_links(void)
{
	struct qb_list_head head;

	fill(&head, 0, 4);
	qb_list_del(&items[1].link);
	CHECK_STR(values(&head), "023");
	CHECK(items[1].link.next == &items[2].link && items[1].link.prev == &items[0].link);
	qb_list_del(&items[0].link);
	qb_list_del(&items[3].link);
	qb_list_del(&items[2].link);
	CHECK(qb_list_empty(&head));
}

static void an_element_takes_the_place_of_another(void)
{
	struct qb_list_head head;

	fill(&head, 0, 3);
	items[7].value = 7;
	qb_list_replace(&items[0].link, &items[7].link);
	CHECK_STR(values(&head), "712");
	CHECK(qb_list_first_entry(&head, struct item, link) == &items[7]);
	CHECK(items[0].link.next == &items[1].link && items[0].link.prev == &head);
	items[6].value = 6;
	qb_list_replace(&items[2].link, &items[6].link);
	CHECK_STR(values(&head), "716");
}

static void a_head_can_be_replaced_too(void)
{
	struct qb_list_head head, heir;

	fill(&head, 0, 3);
	qb_list_replace(&head, &heir);
	CHECK_STR(values(&heir), "012");
	qb_list_init(&head);
	qb_list_replace(&head, &heir);
	CHECK(heir.next == &heir && heir.prev == &heir);
}

static void joined_lists_keep_their_order(void)
{
	struct qb_list_head head, other;

	fill(&head, 0, 3);
	fill(&other, 3, 6);
	qb_list_splice(&other, &head);
	CHECK_STR(values(&head), "345012");
	CHECK(other.next == &items[3].link && other.prev == &items[5].link);

	fill(&head, 0, 3);
	fill(&other, 3, 6);
	qb_list_splice_tail(&other, &head);
	CHECK_STR(values(&head), "012345");
	CHECK(other.next == &items[3].link && other.prev == &items[5].link);

	qb_list_init(&other);
	qb_list_splice(&other, &head);
	qb_list_splice_tail(&other, &head);
	CHECK_STR(values(&head), "012345");

	qb_list_init(&other);
	qb_list_splice(&head, &other);
	CHECK_STR(values(&other), "012345");
}

static void loops_go_over_links(void)
{
	struct qb_list_head head, *pos, *n;
	int sum = 0, next = 0;

	fill(&head, 0, 5);
	qb_list_for_each(pos, &head) {
		CHECK_EQ(qb_list_entry(pos, struct item, link)->value, next++);
	}
	qb_list_for_each_reverse(pos, &head) {
		CHECK_EQ(qb_list_entry(pos, struct item, link)->value, --next);
	}
	CHECK_EQ(next, 0);
	CHECK(pos == &head);
	qb_list_for_each_safe(pos, n, &head) {
		sum += qb_list_entry(pos, struct item, link)->value;
		qb_list_del(pos);
		memset(pos, 0x5a, sizeof(*pos));
	}
	CHECK_EQ(sum, 10);
	CHECK(qb_list_empty(&head));
}

static void loops_go_over_entries(void)
{
	struct qb_list_head head;
	struct item *it, *n;
	int next = 0;

	fill(&head, 0, 5);
	qb_list_for_each_entry(it, &head, link) {
		CHECK_EQ(it->value, next++);
	}
	CHECK_EQ(next, 5);
	CHECK(&it->link == &head);
	qb_list_for_each_entry_reverse(it, &head, link) {
		CHECK_EQ(it->value, --next);
	}
	CHECK_EQ(next, 0);
	it = &items[2];
	next = 2;
	qb_list_for_each_entry_from(it, &head, link) {
		CHECK_EQ(it->value, next++);
	}
	CHECK_EQ(next, 5);
	qb_list_for_each_entry_safe(it, n, &head, link) {
		if (it->value % 2 == 0) {
			qb_list_del(&it->link);
			memset(it, 0x5a, sizeof(*it));
		}
	}
	CHECK_STR(values(&head), "13");
	qb_list_for_each_entry_safe_reverse(it, n, &head, link) {
		CHECK(it->value == 3 || it->value == 1);
		qb_list_del(&it->link);
		memset(it, 0x5a, sizeof(*it));
	}
	CHECK(qb_list_empty(&head));
}

static void loops_over_an_empty_list_do_nothing(void)
{
	QB_LIST_DECLARE(head);
	struct qb_list_head *pos, *m;
	struct item *it, *n;
	int turns = 0;

	qb_list_for_each(pos, &head) turns++;
	qb_list_for_each_reverse(pos, &head) turns++;
	qb_list_for_each_safe(pos, m, &head) turns++;
	qb_list_for_each_entry(it, &head, link) turns++;
	qb_list_for_each_entry_reverse(it, &head, link) turns++;
	qb_list_for_each_entry_safe(it, n, &head, link) turns++;
	qb_list_for_each_entry_safe_reverse(it, n, &head, link) turns++;
	CHECK_EQ(turns, 0);
}

int main(void)
{
	CHECK(qb_ver_str != NULL);
	RUN(a_new_list_is_empty);
	RUN(elements_go_to_the_front_or_to_the_back);
	RUN(a_removed_element_keeps_its_links);
	RUN(an_element_takes_the_place_of_another);
	RUN(a_head_can_be_replaced_too);
	RUN(joined_lists_keep_their_order);
	RUN(loops_go_over_links);
	RUN(loops_go_over_entries);
	RUN(loops_over_an_empty_list_do_nothing);
	return check_done();
}

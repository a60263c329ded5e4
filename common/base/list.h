/* SPDX-License-Identifier: Apache-2.0 */
/* An intrusive doubly linked list with a head that points at itself when empty. */
#ifndef CORACLE_BASE_LIST_H
#define CORACLE_BASE_LIST_H

#include "common/base/base.h"

struct list {
	struct list *next;
	struct list *prev;
};
#define LIST_INIT(name) {&(name), &(name)}

static inline void list_init(struct list *list) {
	list->next = list->prev = list;
}
static inline bool list_empty(const struct list *list) {
	return list->next == list;
}
static inline void list_insert_between(struct list *item, struct list *prev, struct list *next) {
	item->prev = prev;
	item->next = next;
	prev->next = next->prev = item;
}
static inline void list_push_back(struct list *head, struct list *item) {
	list_insert_between(item, head->prev, head);
}
static inline void list_push_front(struct list *head, struct list *item) {
	list_insert_between(item, head, head->next);
}
/* Leaves the item pointing at itself, so a second removal does no harm. */
static inline void list_remove(struct list *item) {
	item->prev->next = item->next;
	item->next->prev = item->prev;
	list_init(item);
}
/* Moves all items of `from` behind those of `to`. */
static inline void list_splice_back(struct list *to, struct list *from) {
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}
#define list_entry(item, type, member) container_of(item, type, member)
#define list_first(head, type, member) (list_empty(head) ? NULL : list_entry((head)->next, type, member))
/* The current item may be removed inside the loop. */
#define list_for_each(it, head, member)                                                                      \
	for (__typeof__(it) it##_next, it##_loop = list_entry((head)->next, __typeof__(*it), member);            \
	     (it = it##_loop, it##_next = list_entry(it##_loop->member.next, __typeof__(*it), member),           \
	     &it##_loop->member != (head));                                                                      \
	     it##_loop = it##_next)

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Who is asked once more. */
#include "apiserver/admission/admission.h"
#include "common/base/map.h"

struct admission_state *admission_state(struct write *w) {
	if (!w->admission)
		w->admission = arena_new_type(w->arena, struct admission_state);
	return w->admission;
}

static uint64_t digest(const struct write *w) {
	autobuf struct buf json = BUF_INIT(BUF_MAX_DEFAULT);
	if (w->object)
		api_encode(w->object, &json);
	return hash_bytes(json.data ? json.data : "", json.len);
}

static void require_all(struct reinvocation *r) {
	for (size_t i = 0; i < r->len; i++) {
		r->items[i].required |= r->items[i].invoked;
		r->items[i].invoked = false;
	}
}

static struct reinvoked *find(const struct reinvocation *r, const char *key) {
	for (size_t i = 0; i < r->len; i++)
		if (strcmp(r->items[i].key, key) == 0)
			return &r->items[i];
	return NULL;
}

void reinvocation_begin(struct write *w, struct reinvocation *r) {
	if (w->admission->again && r->len && digest(w) != r->output)
		require_all(r);
}

void reinvocation_changed(struct write *w, struct reinvocation *r) {
	require_all(r);
	w->admission->wanted = true;
}

void reinvocation_add(struct write *w, struct reinvocation *r, const char *key) {
	struct reinvoked *item = find(r, key);
	if (!item) {
		if (r->len == r->cap) {
			size_t cap = r->cap ? r->cap * 2 : 8;
			struct reinvoked *items = arena_calloc(w->arena, cap, sizeof(*items));
			if (r->len)
				memcpy(items, r->items, r->len * sizeof(*items));
			r->items = items;
			r->cap = cap;
		}
		item = &r->items[r->len++];
		*item = (struct reinvoked){.key = arena_strdup(w->arena, key)};
	}
	item->invoked = true;
}

bool reinvocation_asks(struct write *w, const struct reinvocation *r, const char *key) {
	const struct reinvoked *item = find(r, key);
	return !w->admission->again || (item && item->required);
}

void reinvocation_end(struct write *w, struct reinvocation *r) {
	if (r->len)
		r->output = digest(w);
}

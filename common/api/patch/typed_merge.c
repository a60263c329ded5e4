/* SPDX-License-Identifier: Apache-2.0 */
/* Merging an applied configuration into what is live, and taking out what was applied before and is no longer. */
#include "common/api/patch/typed.h"

/* The next element of the configuration, from `at` on, that is live too; NULL: none. Freed by the caller. */
static char *next_shared(struct field_schema s, json_t *config, json_t *live_index, size_t *at) {
	while (*at < json_array_size(config)) {
		char *element = field_schema_element(s, json_array_get(config, (*at)++));
		if (element && json_object_get(live_index, element))
			return element;
		free(element);
	}
	return NULL;
}

static json_t *merge_items(struct field_schema s, json_t *live, json_t *config) {
	json_t *out = json_array();
	json_t *live_index = typed_index(s, live), *config_index = typed_index(s, config), *merged = json_object();
	struct field_schema item = field_schema_item(s);
	size_t l = 0, c = 0, shared_at = 0, live_len = json_array_size(live), config_len = json_array_size(config);
	char *shared = next_shared(s, config, live_index, &shared_at);
	/*
	 * Both lists are walked together. What only one side has is taken as it comes, live first; what both have appears where the configuration reaches
	 * it, so that the configuration's order holds among its own items: one of those that stands live before its turn is passed over.
	 */
	while (l < live_len || c < config_len) {
		autofree char *live_element = l < live_len ? field_schema_element(s, json_array_get(live, l)) : NULL;
		autofree char *config_element = c < config_len ? field_schema_element(s, json_array_get(config, c)) : NULL;
		bool alike = live_element && config_element && !strcmp(live_element, config_element);
		bool known = live_element && json_object_get(config_index, live_element);
		if (l < live_len && c < config_len && !alike && known && shared && strcmp(shared, live_element)) {
			l++;
			continue;
		}
		if (l < live_len && !known) {
			json_array_append_new(out, json_deep_copy(json_array_get(live, l++)));
			continue;
		}
		if (l < live_len && !alike && json_object_get(merged, live_element))
			l++;
		if (c >= config_len) {
			l += l < live_len; /* stood in the configuration, which has ended: merged already */
			continue;
		}
		json_t *at = config_element ? json_object_get(live_index, config_element) : NULL;
		json_t *partner = at ? json_array_get(live, (size_t)json_integer_value(at)) : NULL;
		json_array_append_new(out, typed_merge(item, partner, json_array_get(config, c++)));
		if (config_element)
			json_object_set_new(merged, config_element, json_true());
		l += alike;
		if (shared && config_element && !strcmp(shared, config_element)) {
			free(shared);
			shared = next_shared(s, config, live_index, &shared_at);
		}
	}
	free(shared);
	json_decref(live_index);
	json_decref(config_index);
	json_decref(merged);
	return out;
}

static json_t *merge_members(struct field_schema s, json_t *live, json_t *config) {
	json_t *out = json_object(), *value;
	const char *key;
	json_object_foreach(live, key, value) {
		if (!json_object_get(config, key))
			json_object_set_new(out, key, json_deep_copy(value));
	}
	json_object_foreach(config, key, value) {
		struct field_schema inner;
		bool named;
		if (!field_schema_member(s, key, &inner, &named))
			inner = (struct field_schema){.form = FORM_ANY};
		json_object_set_new(out, key, typed_merge(inner, json_object_get(live, key), value));
	}
	return out;
}

json_t *typed_merge(struct field_schema s, json_t *live, json_t *config) {
	enum field_form form = field_schema_form(s, config);
	if (form == FORM_LEAF || !live || field_schema_form(s, live) != form)
		return json_deep_copy(config);
	return form == FORM_STRUCT || form == FORM_MAP ? merge_members(s, live, config) : merge_items(s, live, config);
}

/*
 * True where the element must go: it was claimed, and nobody claims it now. A declared field is claimed with anything in it; an item of a list or an entry of a map
 * only by itself: who owns no more than something in it does not keep it.
 */
static bool is_orphan(json_t *last, json_t *managed, bool named) {
	if (named)
		return last && !managed;
	return last && field_set_has_self(last) && !(managed && field_set_has_self(managed));
}

static void prune_members(struct field_schema s, json_t *value, json_t *last, json_t *managed) {
	const char *key;
	json_t *member;
	void *next;
	json_object_foreach_safe(value, next, key, member) {
		autofree char *element = xprintf("f:%s", key);
		json_t *was = json_object_get(last, element), *is = json_object_get(managed, element);
		struct field_schema inner;
		bool named;
		if (!was || !field_schema_member(s, key, &inner, &named))
			continue;
		size_t held = json_array_size(member) + json_object_size(member);
		/* Of metadata much is nobody's, the name first of all: only what was claimed in it goes. */
		bool orphan = is_orphan(was, is, named) && strcmp(key, "metadata") != 0;
		if (!orphan)
			typed_prune(inner, member, was, is);
		/* What has lost all that was in it goes too, where nobody asks for just that. */
		if (orphan || (held && !json_array_size(member) && !json_object_size(member) && !(is && field_set_has_self(is))))
			json_object_del(value, key);
	}
}

static void prune_items(struct field_schema s, json_t *value, json_t *last, json_t *managed) {
	for (size_t i = json_array_size(value); i-- > 0;) {
		json_t *item = json_array_get(value, i);
		autofree char *element = field_schema_element(s, item);
		json_t *was = element ? json_object_get(last, element) : NULL, *is = element ? json_object_get(managed, element) : NULL;
		if (!was)
			continue;
		if (is_orphan(was, is, false))
			json_array_remove(value, i);
		else
			typed_prune(field_schema_item(s), item, was, is);
	}
}

void typed_prune(struct field_schema s, json_t *value, json_t *last, json_t *managed) {
	switch (field_schema_form(s, value)) {
	case FORM_STRUCT:
	case FORM_MAP:
		prune_members(s, value, last, managed);
		return;
	case FORM_SET:
	case FORM_KEYED:
		prune_items(s, value, last, managed);
		return;
	default:
		return;
	}
}

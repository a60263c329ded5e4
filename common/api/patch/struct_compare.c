/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The difference of two objects of a described type, from their structs: the same that typed_compare() finds in their trees, for the price of
 * what differs. Equal parts are passed over by api_equal's rules, which also hold two spellings of one quantity for the same.
 */
#include "common/api/codec.h"
#include "common/api/patch/typed.h"
#include "common/base/map.h"

#include <errno.h>

/* One side of a field: its presence in JSON, and where its value lies (through the pointer). */
struct side {
	enum api_presence presence;
	const void *value;
};

static int compare_members(const struct api_type *type, const void *old, const void *new, struct typed_difference *d);

static struct typed_difference open_difference(void)
{
	return (struct typed_difference){json_object(), json_object(), json_object()};
}

static void attach(struct typed_difference *d, const char *element, struct typed_difference *take)
{
	field_set_attach(d->added, element, take->added);
	field_set_attach(d->modified, element, take->modified);
	field_set_attach(d->removed, element, take->removed);
	*take = (struct typed_difference){0};
}

static void mark_self(struct typed_difference *d, bool was, bool is)
{
	field_set_add_self(!was ? d->added : !is ? d->removed : d->modified);
}

static struct side side_of(const struct api_field *f, const void *holder)
{
	if (!holder)
		return (struct side){.presence = API_LEFT_OUT};
	struct side side = {.presence = api_field_presence(f, api_field_at_const(f, holder))};
	if (side.presence == API_WRITTEN)
		side.value = api_field_value(f, holder);
	return side;
}

/* ---- lists and maps ---- */

/* A struct in a map or a keyed list, one side may be NULL. */
static int compare_element(const struct api_field *f, const char *element, const void *old, const void *new, struct typed_difference *d)
{
	bool granular = field_element_is_granular(f);
	if (old && new && api_element_equal(f, old, new))
		return 0;
	struct typed_difference inner = open_difference();
	int r = granular ? compare_members(f->type, old, new, &inner) : 0;
	if (!granular || !old || !new)
		mark_self(&inner, old, new);
	attach(d, element, &inner);
	return r;
}

static int compare_maps(const struct api_field *f, const struct api_any_list *old, const struct api_any_list *new, struct typed_difference *d)
{
	uint32_t i = 0, k = 0;
	while (i < (old ? old->len : 0) || k < (new ? new->len : 0)) {
		const char *a = old && i < old->len ? old->items + (size_t)i * f->entry_size : NULL, *b = new && k < new->len ? new->items + (size_t)k * f->entry_size : NULL;
		int order = !a ? 1 : !b ? -1 : strcmp(*(const char *const *)a, *(const char *const *)b);
		autofree char *element = xprintf("f:%s", *(const char *const *)(order <= 0 ? a : b));
		int r = compare_element(f, element, order <= 0 ? a + f->value_offset : NULL, order >= 0 ? b + f->value_offset : NULL, d);
		if (r < 0)
			return r;
		i += order <= 0;
		k += order >= 0;
	}
	return 0;
}

static void index_items(const struct api_field *f, const struct api_any_list *list, struct map *ret)
{
	autobuf struct buf element = BUF_INIT(BUF_MAX_DEFAULT);
	for (uint32_t i = 0; list && i < list->len; i++) {
		void *item = list->items + (size_t)i * f->element_size;
		buf_reset(&element);
		typed_append_element(f, item, &element);
		/* Of several with the same key the first one counts. */
		if (element.len && !map_get(ret, element.data))
			map_set(ret, element.data, item);
	}
}

static int compare_lists(const struct api_field *f, const struct api_any_list *old, const struct api_any_list *new, struct typed_difference *d)
{
	if (f->list_type == API_LIST_MAP && f->kind != API_STRUCT)
		return -ENOTSUP;
	struct map before = {0}, after = {0};
	index_items(f, old, &before);
	index_items(f, new, &after);
	int r = 0;
	struct map_entry *e;
	for (size_t at = 0; r == 0 && (e = map_next(&before, &at));)
		r = compare_element(f, e->key, e->value, map_get(&after, e->key), d);
	for (size_t at = 0; r == 0 && (e = map_next(&after, &at));)
		if (!map_get(&before, e->key))
			r = compare_element(f, e->key, NULL, e->value, d);
	map_done(&before);
	map_done(&after);
	return r;
}

/* ---- structs ---- */

static bool is_hollow(const struct api_field *f, const struct side *side)
{
	if (side->presence != API_WRITTEN)
		return true;
	if (f->shape != API_SINGLE)
		return !((const struct api_any_list *)side->value)->len;
	return false;
}

static bool same(const struct api_field *f, const struct side *old, const struct side *new)
{
	if (old->presence != new->presence)
		return false;
	if (old->presence != API_WRITTEN)
		return true;
	if (f->shape == API_SINGLE)
		return api_element_equal(f, old->value, new->value);
	/* null and [] are told apart here. */
	const struct api_any_list *a = old->value, *b = new->value;
	return !a->items == !b->items && api_items_equal(f, a, b);
}

static int compare_field(const struct api_field *f, const struct side *old, const struct side *new, struct typed_difference *d)
{
	bool was = old->presence != API_LEFT_OUT, is = new->presence != API_LEFT_OUT;
	enum field_form form = field_form_of(f);
	if (field_needs_tree(f))
		return -ENOTSUP;
	if (form == FORM_LEAF || (is_hollow(f, old) && is_hollow(f, new))) {
		mark_self(d, was, is);
		return 0;
	}
	int r;
	if (form == FORM_MAP)
		r = compare_maps(f, old->value, new->value, d);
	else if (form != FORM_STRUCT)
		r = compare_lists(f, old->value, new->value, d);
	else
		r = compare_members(f->type, old->value, new->value, d);
	if (was != is)
		mark_self(d, was, is);
	return r;
}

/* One side may be NULL: then all of the other's members came or went. */
static int compare_members(const struct api_type *type, const void *old, const void *new, struct typed_difference *d)
{
	int r = 0;
	for (size_t i = 0; i < type->field_count && r == 0; i++) {
		const struct api_field *f = &type->fields[i];
		if (f->flags & (API_FIELD_WIRE_ONLY | API_FIELD_NO_JSON))
			continue;
		if (f->flags & API_FIELD_INLINE) {
			r = compare_members(f->type, old ? api_field_at_const(f, old) : NULL, new ? api_field_at_const(f, new) : NULL, d);
			continue;
		}
		struct side before = side_of(f, old), after = side_of(f, new);
		if (same(f, &before, &after))
			continue;
		struct typed_difference inner = open_difference();
		char element[128];
		snprintf(element, sizeof(element), "f:%s", f->name);
		r = compare_field(f, &before, &after, &inner);
		attach(d, element, &inner);
	}
	return r;
}

int typed_compare_structs(const struct api_type *type, const void *old, const void *new, struct typed_difference *ret)
{
	struct typed_difference d = open_difference();
	int r = type->custom_json ? -ENOTSUP : compare_members(type, old, new, &d);
	if (r < 0)
		typed_difference_done(&d);
	else
		*ret = d;
	return r;
}

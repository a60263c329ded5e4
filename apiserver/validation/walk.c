/* SPDX-License-Identifier: Apache-2.0 */
/* The walk over an object: the words of each field's row, then the check of each struct's type. */
#include "apiserver/validation/validation.h"
#include "api/autoscaling_v1.h"
#include "api/autoscaling_v2.h"
#include "common/api/convert.h"

#include <pthread.h>

static const struct checker *const lists[] = {
	checkers_meta, checkers_pod, checkers_container, checkers_podspec, checkers_podplace, checkers_volume, checkers_core, checkers_service, checkers_storage, checkers_node, checkers_apps, checkers_batch,
	checkers_network, checkers_policy, checkers_admission, checkers_flow, checkers_access, checkers_quota, checkers_resource, checkers_custom,
};
static const struct checker *const warning_lists[] = {warnings_pod, warnings_other};

/* What is checked, and what is only warned of. */
static struct table {
	const struct checker *const *lists;
	size_t list_count;
	struct checker *sorted; /* of warnings also the types that only hold such ones, without a check of their own */
	size_t count;
} checks = {.lists = lists, .list_count = array_len(lists)}, warnings = {.lists = warning_lists, .list_count = array_len(warning_lists)};

static int order(const void *a, const void *b) {
	uintptr_t x = (uintptr_t)((const struct checker *)a)->type, y = (uintptr_t)((const struct checker *)b)->type;
	return (x > y) - (x < y);
}

static void add_row(struct table *table, const struct checker *row) {
	table->sorted = xreallocarray(table->sorted, table->count + 1, sizeof(*table->sorted));
	table->sorted[table->count++] = *row;
}

static void sort_table(struct table *table) {
	for (size_t i = 0; i < table->list_count; i++)
		for (const struct checker *row = table->lists[i]; row->type; row++)
			add_row(table, row);
	qsort(table->sorted, table->count, sizeof(*table->sorted), order);
}

static const struct checker *find_row(const struct table *table, const struct api_type *type) {
	struct checker key = {.type = type};
	return bsearch(&key, table->sorted, table->count, sizeof(*table->sorted), order);
}

static bool holds_row(const struct table *table, const struct api_type *type) {
	for (size_t i = 0; i < type->field_count; i++)
		if (type->fields[i].kind == API_STRUCT && find_row(table, type->fields[i].type))
			return true;
	return false;
}

/* Few types are warned of: the walk keeps to those that hold one, however deep. */
static void add_holders(struct table *table) {
	for (size_t before = 0; before != table->count;) {
		before = table->count;
		for (size_t i = 0; i < api_types_count; i++)
			if (!find_row(table, api_types[i]) && holds_row(table, api_types[i])) {
				add_row(table, &(struct checker){.type = api_types[i]});
				qsort(table->sorted, table->count, sizeof(*table->sorted), order);
			}
	}
}

static void sort_checkers(void) {
	sort_table(&checks);
	sort_table(&warnings);
	add_holders(&warnings);
}

static const struct checker *checker_of(const struct check *c, const struct api_type *type) {
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, sort_checkers);
	return find_row(c->warn ? &warnings : &checks, type);
}

static void walk(const struct check *c, const struct api_type *type, const void *value, const void *old, const struct path *at, struct error *err);

static int order_strings(const void *a, const void *b) {
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void closed_set(const char *const *values, bool listed, const char *value, const struct path *path, struct error *err) {
	const char *names[80];
	size_t count = 0;
	for (; values[count] && count + 1 < array_len(names); count++) {
		if (strcmp(value, values[count]) == 0)
			return;
		names[count] = values[count];
	}
	if (!listed)
		qsort(names, count, sizeof(*names), order_strings);
	names[count] = NULL;
	not_supported(err, path, value, names);
}

static void check_bounds(const struct api_check *check, int64_t value, const struct path *path, struct error *err) {
	bool low = check->has_min && value < check->min, high = check->has_max && value > check->max;
	if (!low && !high)
		return;
	if (check->has_min && check->has_max && check->max == 0777)
		invalid_int(err, path, value, "must be a number between 0 and 0777 (octal), both inclusive");
	else if (check->has_min && check->has_max)
		check_range(value, check->min, check->max, path, err);
	else if (low)
		invalid_int(err, path, value, check->min == 1 ? "must be greater than zero" : "must be greater than or equal to %lld", (long long)check->min);
	else
		invalid_int(err, path, value, "must be less than or equal to %lld", (long long)check->max);
}

/* One value of a field that is no struct; `plain`: where 0 stands for absent. */
static void check_scalar(const struct api_field *f, const void *at, bool plain, const struct path *path, struct error *err) {
	const struct api_check *check = f->check;
	switch ((enum api_kind)f->kind) {
	case API_STRING: {
		const char *text = *(const char *const *)at;
		/* Only a pointer can tell an empty string from none. */
		bool pointer = f->flags & API_FIELD_POINTER && !(check && check->blank);
		bool empty = !(check && check->anyway) && (!text || (!*text && f->shape == API_SINGLE && !pointer));
		if (f->enum_values && !empty && !(check && (check->judged || check->one_of)))
			closed_set(f->enum_values, check && check->listed, str_or(text, ""), path, err);
		if (check && check->one_of && !check->judged && !empty)
			closed_set(check->one_of, check->listed, str_or(text, ""), path, err);
		if (!check || empty)
			return;
		/* Of drivers' names the length is looked at first. */
		bool longer = check->max_len && strlen(str_or(text, "")) > check->max_len, first = check->format == format_driver_name;
		if (longer && first)
			too_long(err, path, check->max_len);
		if (check->format)
			check_format(check->format, str_or(text, ""), path, err);
		if (longer && !first)
			too_long(err, path, check->max_len);
		return;
	}
	case API_INT32:
	case API_INT64: {
		int64_t number = f->kind == API_INT32 ? *(const int32_t *)at : *(const int64_t *)at;
		if (check && (number || !plain))
			check_bounds(check, number, path, err);
		return;
	}
	case API_QUANTITY: {
		const struct quantity *q = at;
		if (check && check->has_min && (q->set || !plain) && (check->min > 0 ? q->nano <= 0 : q->nano < 0))
			invalid_quantity(err, path, q, check->min > 0 ? "must be greater than zero" : "must be greater than or equal to 0");
		return;
	}
	default:
		return;
	}
}

static void check_items(const struct check *c, const struct api_field *f, const void *value, const struct path *here, struct error *err) {
	const struct api_any_list *list = api_field_at_const(f, value);
	size_t stride = f->shape == API_MAP ? f->entry_size : f->element_size;
	bool labels = f->check && f->check->labels;
	if (c->warn && f->kind != API_STRUCT)
		return;
	if (labels && !c->warn)
		check_labels((const struct api_string_map *)list, here, err);
	if (f->check && !c->warn && f->check->max_items && list->len > f->check->max_items) {
		too_many(err, here, list->len, f->check->max_items);
		/* Of devices, what is too long is not looked into. */
		if (str_equal(api_type_of(c->object)->group, "resource.k8s.io"))
			return;
	}
	if (f->kind != API_STRUCT && !f->enum_values && (!f->check || labels))
		return;
	for (uint32_t i = 0; i < list->len && err->cause_count < ERROR_MAX_CAUSES; i++) {
		const char *item = list->items + i * stride;
		struct path inner = {.parent = here, .index = f->shape == API_MAP ? -1 : (int)i, .key = f->shape == API_MAP ? *(const char *const *)item : NULL};
		if (f->kind == API_STRUCT)
			walk(c, f->type, item + f->value_offset, NULL, &inner, err);
		else
			check_scalar(f, item + f->value_offset, false, &inner, err);
	}
}

static void check_field(const struct check *c, const struct api_field *f, const void *value, const void *old, const struct path *at, struct error *err) {
	const struct api_check *check = f->check;
	/* What is embedded stands in its parent's place. */
	struct path here = PATH(at, f->flags & (API_FIELD_INLINE | API_FIELD_SELF) ? NULL : f->name);
	bool set = api_field_is_set(f, value);
	if (check && !c->warn && check->need && (!set || (f->kind == API_STRING && f->shape == API_SINGLE && (!(f->flags & API_FIELD_POINTER) || check->blank) && str_empty(*(const char *const *)api_field_at_const(f, value)))))
		required(err, &here, NULL);
	if (check && !c->warn && check->fixed && old && !api_field_same(f, value, old)) {
		autobuf struct buf text = BUF_INIT(1u << 20);
		const void *at_value = api_field_value(f, value);
		if (f->shape == API_SINGLE && f->kind == API_STRUCT && at_value)
			invalid_struct(err, &here, f->type, at_value, IMMUTABLE_TEXT);
		else if (f->shape == API_SINGLE && f->kind == API_STRING)
			invalid(err, &here, *(const char *const *)api_field_at_const(f, value), IMMUTABLE_TEXT);
		else if (f->shape == API_MAP && f->kind == API_STRING)
			invalid_map(err, &here, api_field_at_const(f, value), IMMUTABLE_TEXT);
		else if (f->shape == API_LIST && f->kind == API_STRING)
			invalid_list(err, &here, api_field_at_const(f, value), IMMUTABLE_TEXT);
		else if (f->shape == API_SINGLE && at_value)
			api_encode_json_element(f, at_value, &text), invalid_struct(err, &here, NULL, text.data, IMMUTABLE_TEXT);
		else
			invalid_struct(err, &here, NULL, "null", IMMUTABLE_TEXT);
	}
	if (f->shape != API_SINGLE) {
		check_items(c, f, value, &here, err);
		return;
	}
	const void *inner = api_field_value(f, value), *before = old ? api_field_value(f, old) : NULL;
	if (!inner)
		return;
	if (f->kind == API_STRUCT) {
		/* An empty struct that is not a pointer is the absence of one, unless a check needs to see it. */
		walk(c, f->type, inner, before, &here, err);
	} else if (!c->warn && (check || f->enum_values)) {
		check_scalar(f, inner, !api_field_indirect(f), &here, err);
	}
}

static void walk(const struct check *c, const struct api_type *type, const void *value, const void *old, const struct path *at, struct error *err) {
	struct path here = *at;
	here.type = type;
	here.value = value;
	if (type == &meta_v1_object_meta_type || type == &meta_v1_list_meta_type)
		return;
	const struct checker *row = checker_of(c, type);
	if (c->warn && !row)
		return;
	for (size_t i = 0; i < type->field_count && err->cause_count < ERROR_MAX_CAUSES; i++) {
		const struct api_field *f = &type->fields[i];
		bool status = value == c->object && strcmp(f->name, "status") == 0;
		if (api_field_is_closed(f) || (value == c->object && status != check_is_status(c)))
			continue;
		if (f->kind == API_STRUCT || (!c->warn && (f->check || f->enum_values)))
			check_field(c, f, value, old, &here, err);
	}
	if (row && row->run)
		row->run(c, value, old, &here, err);
}

static bool has_cause(const struct error *err, const struct error_cause *cause) {
	for (size_t i = 0; i < err->cause_count; i++)
		if (strcmp(err->causes[i].field, cause->field) == 0 && strcmp(err->causes[i].message, cause->message) == 0)
			return true;
	return false;
}

/* Causes of an object that the stored one does not have too; `again`: also those that it has. */
static void find_causes(const void *object, const void *old, const char *subresource, bool warn, bool again, struct error *err) {
	struct check c = {.object = object, .old = old, .subresource = str_or(subresource, ""), .warn = warn};
	struct path root = {.index = -1};
	autoerror struct error found = {0}, before = {0};
	walk(&c, api_type_of(object), object, old, &root, &found);
	if (!found.cause_count)
		return;
	if (old && !again) {
		struct check stored = {.object = old, .subresource = c.subresource, .warn = warn};
		walk(&stored, api_type_of(old), old, NULL, &root, &before);
	}
	for (size_t i = 0; i < found.cause_count; i++) {
		struct error_cause *cause = &found.causes[i];
		if (has_cause(&before, cause))
			continue;
		size_t at = err->cause_count;
		error_cause(err, cause->reason, cause->field, "%s", cause->message);
		if (cause->place)
			error_place_causes(err, at, cause->place);
	}
}

/* Autoscalers are judged as the newer version has them, which can hold all that the older one says. Returns false where it cannot be told so. */
static bool as_judged(const void *object, void **ret) {
	return api_convert(object, &autoscaling_v2_horizontal_pod_autoscaler_type, ret, NULL) == 0;
}

void validate_object(const void *object, const void *old, const char *subresource, struct error *err) {
	size_t from = err->cause_count;
	autounref void *newer = NULL, *newer_old = NULL;
	if (api_type_of(object) == &autoscaling_v1_horizontal_pod_autoscaler_type && as_judged(object, &newer) && (!old || as_judged(old, &newer_old))) {
		validate_object(newer, newer_old, subresource, err);
		return;
	}
	find_causes(object, old, subresource, false, false, err);
	order_causes(api_type_of(object), old, str_empty(subresource), from, err);
}

void object_warnings(const void *object, const void *old, bool again, struct error *ret) {
	find_causes(object, old, "", true, again, ret);
}

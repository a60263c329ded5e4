/* SPDX-License-Identifier: Apache-2.0 */
/* metadata.managedFields, and server-side apply over it. */
#include "common/api/patch/apply.h"

#include "api/meta_v1.h"
#include "common/api/codec.h"
#include "common/api/patch/patch.h"
#include "common/api/patch/typed.h"

#include <errno.h>

#define MAX_UPDATE_MANAGERS 10
#define MAX_LAST_APPLIED ((size_t)200 << 10)
#define OP_APPLY "Apply"
#define OP_UPDATE "Update"

/* One entry of managedFields. */
struct owner {
	char *manager, *operation, *api_version, *subresource;
	char *time; /* as written; NULL: none */
	/* What it owns: as a set, or (set NULL) as the text it was read from, which is kept as long as nothing is changed. See set_of(). */
	json_t *set;
	const char *text;
	size_t text_len;
};
struct owners {
	struct owner *items;
	size_t len;
	const char *told_version; /* NULL: each its own */
};

static void owner_done(struct owner *o) {
	free(o->manager);
	free(o->operation);
	free(o->api_version);
	free(o->subresource);
	free(o->time);
	json_decref(o->set);
}

static void owners_done(struct owners *owners) {
	for (size_t i = 0; i < owners->len; i++)
		owner_done(&owners->items[i]);
	free(owners->items);
	*owners = (struct owners){0};
}

static void owners_remove(struct owners *owners, size_t at) {
	owner_done(&owners->items[at]);
	memmove(&owners->items[at], &owners->items[at + 1], (--owners->len - at) * sizeof(*owners->items));
}

static char *string_of(json_t *entry, const char *key) {
	const char *s = json_string_value(json_object_get(entry, key));
	return xstrdup(s ? s : "");
}

/* -EINVAL where an entry is none of ours to read. */
static int owners_read(json_t *object, struct owners *ret) {
	json_t *list = json_object_get(json_object_get(object, "metadata"), "managedFields"), *entry;
	size_t i;
	*ret = (struct owners){0};
	json_array_foreach(list, i, entry) {
		const char *operation = json_string_value(json_object_get(entry, "operation"));
		const char *type = json_string_value(json_object_get(entry, "fieldsType"));
		if (!str_equal(operation, OP_APPLY) && !str_equal(operation, OP_UPDATE))
			return -EINVAL;
		if (!str_empty(type) && strcmp(type, "FieldsV1"))
			return -EINVAL;
		ret->items = xreallocarray(ret->items, ret->len + 1, sizeof(*ret->items));
		struct owner *o = &ret->items[ret->len++];
		*o = (struct owner){
			.manager = string_of(entry, "manager"), .operation = xstrdup(operation), .api_version = string_of(entry, "apiVersion"),
			.subresource = string_of(entry, "subresource"), .set = field_set_read(json_object_get(entry, "fieldsV1")),
		};
		const char *time = json_string_value(json_object_get(entry, "time"));
		o->time = time ? xstrdup(time) : NULL;
	}
	return 0;
}

/* Apply before Update, older first, then by name. */
static int order_owners(const void *a, const void *b) {
	const struct owner *x = a, *y = b;
	int order = strcmp(x->operation, y->operation);
	if (!order)
		order = strcmp(str_or(x->time, ""), str_or(y->time, ""));
	if (!order)
		order = strcmp(x->manager, y->manager);
	if (!order)
		order = strcmp(x->api_version, y->api_version);
	return order ? order : strcmp(x->subresource, y->subresource);
}

static void set_string(json_t *entry, const char *key, const char *value) {
	if (!str_empty(value))
		json_object_set_new(entry, key, json_string(value));
}

static void owners_write(struct owners *owners, json_t *object) {
	json_t *metadata = json_object_get(object, "metadata"), *list = json_array();
	if (owners->len)
		qsort(owners->items, owners->len, sizeof(*owners->items), order_owners);
	for (size_t i = 0; i < owners->len; i++) {
		const struct owner *o = &owners->items[i];
		json_t *entry = json_object();
		set_string(entry, "manager", o->manager);
		set_string(entry, "operation", o->operation);
		set_string(entry, "apiVersion", o->api_version);
		set_string(entry, "time", o->time);
		json_object_set_new(entry, "fieldsType", json_string("FieldsV1"));
		json_object_set_new(entry, "fieldsV1", field_set_write(o->set));
		set_string(entry, "subresource", o->subresource);
		json_array_append_new(list, entry);
	}
	if (json_is_object(metadata) && json_array_size(list))
		json_object_set(metadata, "managedFields", list);
	else if (metadata)
		json_object_del(metadata, "managedFields");
	json_decref(list);
}

static json_t *set_of(struct owner *o) {
	if (!o->set) {
		json_t *fields = o->text ? json_loadb(o->text, o->text_len, JSON_ALLOW_NUL, NULL) : NULL;
		o->set = field_set_read(fields);
		json_decref(fields);
	}
	return o->set;
}

static struct owner *find_owner(struct owners *owners, const struct managed_options *options, const char *operation) {
	for (size_t i = 0; i < owners->len; i++) {
		struct owner *o = &owners->items[i];
		bool same = str_equal(o->manager, options->manager) && str_equal(o->operation, operation) && str_equal(o->subresource, options->subresource);
		/* An applier has one entry whatever version it used last. */
		if (same && (!strcmp(operation, OP_APPLY) || str_equal(o->api_version, options->api_version)))
			return o;
	}
	return NULL;
}

static struct owner *add_owner(struct owners *owners, const struct managed_options *options, const char *operation) {
	owners->items = xreallocarray(owners->items, owners->len + 1, sizeof(*owners->items));
	struct owner *o = &owners->items[owners->len++];
	*o = (struct owner){.manager = xstrdup(str_or(options->manager, "unknown")), .operation = xstrdup(operation), .api_version = xstrdup(str_or(options->api_version, "")),
			    .subresource = xstrdup(str_or(options->subresource, "")), .set = json_object()};
	return o;
}

static void set_time(struct owner *o) {
	/* Kubernetes loses the time on the way from a Scale to what it scales. */
	if (str_equal(o->subresource, "scale"))
		return;
	char text[40];
	time_format_rfc3339(clock_wall(), text);
	free(o->time);
	o->time = xstrdup(text);
}

static void replace_set(struct owner *o, json_t *take_set) {
	json_decref(o->set);
	o->set = take_set;
	o->text = NULL;
}

static void drop_empty(struct owners *owners) {
	for (size_t i = owners->len; i-- > 0;)
		if ((owners->items[i].set || !owners->items[i].text) && field_set_empty(set_of(&owners->items[i])))
			owners_remove(owners, i);
}

/* What a write through this subresource cannot change. In place. */
static void remove_reset_fields(const struct managed_options *options, json_t *set) {
	for (const char *const *reset = options->reset_fields; reset && *reset; reset++) {
		const char *names[8];
		size_t count = 0;
		autofree char *path = xstrdup(*reset);
		char *rest = path;
		for (char *part; count < array_len(names) && (part = strsep(&rest, "./"));)
			names[count++] = str_starts_with(part, "f:") ? part + 2 : part;
		field_set_remove_tree(set, names, count);
	}
}

static void leave_reset_fields(const struct managed_options *options, struct typed_difference *d) {
	remove_reset_fields(options, d->added);
	remove_reset_fields(options, d->modified);
	remove_reset_fields(options, d->removed);
}

/* What the write changes, as far as it will be stored. */
static void compare_writes(const struct managed_options *options, json_t *old, json_t *new, struct typed_difference *ret) {
	typed_compare(field_schema_root(options->type, options->schema), old, new, ret);
	leave_reset_fields(options, ret);
}

/* What identifies an object or is kept by the server is nobody's. */
static json_t *strip(const struct managed_options *options, json_t *take_set) {
	static const char *const paths[][2] = {
		{"apiVersion"}, {"kind"}, {"metadata", "name"}, {"metadata", "namespace"}, {"metadata", "creationTimestamp"}, {"metadata", "selfLink"},
		{"metadata", "uid"}, {"metadata", "clusterName"}, {"metadata", "generation"}, {"metadata", "managedFields"}, {"metadata", "resourceVersion"},
	};
	json_t *metadata = json_object_get(take_set, "f:metadata");
	if (metadata)
		json_object_del(metadata, ".");
	for (size_t i = 0; i < array_len(paths); i++)
		field_set_remove_tree(take_set, paths[i], paths[i][1] ? 2 : 1);
	if (metadata && field_set_empty(json_object_get(take_set, "f:metadata")))
		json_object_del(take_set, "f:metadata");
	remove_reset_fields(options, take_set);
	return take_set;
}

static json_t *without_managed(json_t *object) {
	json_t *copy = json_deep_copy(object);
	json_object_del(json_object_get(copy, "metadata"), "managedFields");
	return copy;
}

/* The same, sharing all but the metadata itself: for what is only read. */
static json_t *view_without_managed(json_t *object) {
	json_t *copy = json_copy(object), *metadata = json_object_get(object, "metadata");
	if (json_is_object(metadata)) {
		json_t *own = json_copy(metadata);
		json_object_del(own, "managedFields");
		json_object_set_new(copy, "metadata", own);
	}
	return copy;
}

/* An empty object of the kind, as the server compares a new one with: Go writes parts that have no pointer even when empty. */
static json_t *empty_of(const struct managed_options *options) {
	if (!options->type)
		return json_pack("{s:{}}", "metadata");
	void *object = api_new_bare(options->type);
	json_t *tree = api_to_json(options->type, object);
	api_unref(object);
	return tree;
}

/* ---- conflicts ---- */

struct conflicts {
	struct error *err;
	const char *by;   /* "conflict with "manager" using v1" */
	char *first;      /* path */
	size_t total;
	struct buf lines;
};

static char *describe(const struct owner *o, const char *told_version) {
	autobuf struct buf text = BUF_INIT(4096);
	buf_printf(&text, "\"%s\"", o->manager);
	if (!str_empty(o->subresource))
		buf_printf(&text, " with subresource \"%s\"", o->subresource);
	if (!strcmp(o->operation, OP_UPDATE))
		buf_printf(&text, " using %s", told_version ? told_version : o->api_version);
	return buf_take(&text);
}

static void add_conflict(const char *path, void *arg) {
	struct conflicts *c = arg;
	if (!c->first)
		c->first = xstrdup(path);
	c->total++;
	buf_printf(&c->lines, "\n- %s", path);
	error_cause(c->err, "FieldManagerConflict", path, "conflict with %s", c->by);
}

/* Managers by name, and one's apply before its updates: the order in which Kubernetes names them. */
static int order_told(const void *a, const void *b, void *arg) {
	const struct owner *items = arg, *x = &items[*(const size_t *)a], *y = &items[*(const size_t *)b];
	int by_name = strcmp(x->manager, y->manager), by_operation = strcmp(x->operation, y->operation);
	return by_name ? by_name : by_operation ? by_operation : strcmp(str_or(x->subresource, ""), str_or(y->subresource, ""));
}

static int refuse_conflicts(const struct owners *owners, json_t *const *sets, struct error *err) {
	autoerror struct error own = {0};
	struct conflicts c = {.err = &own, .lines = BUF_INIT((size_t)1 << 20)};
	autofree char *last_by = NULL;
	autofree size_t *told = xcalloc(owners->len + 1, sizeof(*told));
	for (size_t i = 0; i < owners->len; i++)
		told[i] = i;
	qsort_r(told, owners->len, sizeof(*told), order_told, owners->items);
	for (size_t n = 0; n < owners->len; n++) {
		size_t i = told[n];
		if (!sets[i])
			continue;
		autofree char *by = describe(&owners->items[i], owners->told_version);
		c.by = by;
		buf_printf(&c.lines, "%sconflicts with %s:", c.total ? "\n" : "", by);
		field_set_each(sets[i], add_conflict, &c);
		free(last_by);
		last_by = take_ptr(by);
	}
	autofree char *message = c.total == 1 ? xprintf("Apply failed with 1 conflict: conflict with %s: %s", last_by, c.first)
					      : xprintf("Apply failed with %zu conflicts: %s", c.total, c.lines.data ? c.lines.data : "");
	error_status(err, 409, "Conflict", "%s", message);
	for (size_t i = 0; err && i < own.cause_count; i++)
		error_cause(err, own.causes[i].reason, own.causes[i].field, "%s", own.causes[i].message);
	buf_done(&c.lines);
	free(c.first);
	return err ? -err->errnum : -EAGAIN;
}

/* The conflicts that are not `allowed` (a field set; may be NULL). */
static int refuse_rest(const struct owners *owners, json_t *const *conflicts, json_t *allowed, struct error *err) {
	if (!allowed)
		return refuse_conflicts(owners, conflicts, err);
	autofree json_t **rest = xcalloc(owners->len + 1, sizeof(json_t *));
	bool any = false;
	for (size_t i = 0; i < owners->len; i++) {
		rest[i] = conflicts[i] ? field_set_difference(conflicts[i], allowed) : NULL;
		if (rest[i] && field_set_empty(rest[i])) {
			json_decref(rest[i]);
			rest[i] = NULL;
		}
		any |= rest[i] != NULL;
	}
	int r = any ? refuse_conflicts(owners, rest, err) : 0;
	for (size_t i = 0; i < owners->len; i++)
		json_decref(rest[i]);
	return r;
}

/* True where the owner has nothing of the set, as far as its text tells: none of the set's parts at the root is named in it. */
static bool is_apart(const struct owner *o, json_t *set) {
	const char *key;
	json_t *child;
	if (o->set || !o->text)
		return false;
	json_object_foreach(set, key, child)
		if (memmem(o->text, o->text_len, key, strlen(key)))
			return false;
	return true;
}

/*
 * Takes from all owners but `self` what the change took or removed. Where force is not set, what it took and they own is a
 * conflict, and nothing is changed.
 */
static int yield(struct owners *owners, const struct owner *self, const struct typed_difference *d, bool force, json_t *allowed, struct error *err) {
	if (owners->len == 0)
		return 0;
	json_t *taken = field_set_union(d->added, d->modified);
	autofree json_t **conflicts = xcalloc(owners->len + 1, sizeof(json_t *));
	bool any = false;
	int r = 0;
	for (size_t i = 0; i < owners->len; i++) {
		if (&owners->items[i] == self)
			continue;
		if (is_apart(&owners->items[i], taken))
			continue;
		json_t *both = field_set_intersection(set_of(&owners->items[i]), taken);
		if (field_set_empty(both)) {
			json_decref(both);
			continue;
		}
		conflicts[i] = both;
		any = true;
	}
	if (any && !force)
		r = refuse_rest(owners, conflicts, allowed, err);
	for (size_t i = 0; i < owners->len && !r; i++) {
		struct owner *o = &owners->items[i];
		if (o == self)
			continue;
		if (conflicts[i])
			replace_set(o, field_set_difference(set_of(o), conflicts[i]));
		if (!field_set_empty(d->removed) && !is_apart(o, d->removed))
			replace_set(o, field_set_difference(set_of(o), d->removed));
	}
	for (size_t i = 0; i < owners->len; i++)
		json_decref(conflicts[i]);
	json_decref(taken);
	return r;
}

/* ---- updates ---- */

/* The oldest of too many updaters become one. */
static void cap_updaters(struct owners *owners) {
	size_t count = 0;
	for (size_t i = 0; i < owners->len; i++)
		count += !strcmp(owners->items[i].operation, OP_UPDATE) && str_empty(owners->items[i].subresource);
	if (count <= MAX_UPDATE_MANAGERS)
		return;
	qsort(owners->items, owners->len, sizeof(*owners->items), order_owners);
	while (count > MAX_UPDATE_MANAGERS) {
		struct owner *first = NULL, *second = NULL;
		for (size_t i = 0; i < owners->len && !second; i++) {
			struct owner *o = &owners->items[i];
			if (strcmp(o->operation, OP_UPDATE) || !str_empty(o->subresource))
				continue;
			if (first)
				second = o;
			else
				first = o;
		}
		replace_set(second, field_set_union(set_of(first), set_of(second)));
		free(second->manager);
		second->manager = xstrdup("ancient-changes");
		owners_remove(owners, (size_t)(first - owners->items));
		count--;
	}
}

/* [{}] asks for a clean slate. */
static bool asks_reset(json_t *object) {
	json_t *list = json_object_get(json_object_get(object, "metadata"), "managedFields");
	return json_array_size(list) == 1 && !json_object_size(json_array_get(list, 0));
}

static void read_live_or_new(const struct managed_options *options, json_t *live, json_t *updated, struct owners *ret, bool *ret_reset) {
	*ret_reset = str_empty(options->subresource) && asks_reset(updated);
	*ret = (struct owners){0};
	if (*ret_reset)
		return;
	if (str_empty(options->subresource) && owners_read(updated, ret) == 0 && ret->len)
		return;
	owners_done(ret);
	if (owners_read(live, ret) < 0)
		owners_done(ret);
}

/* Who writes the same fields again owns them already: what is written of him stays as it is. */
static bool owns_all(const struct managed_options *options, struct owner *self, const struct typed_difference *d) {
	if (!field_set_empty(d->removed))
		return false;
	json_t *both = field_set_union(d->added, d->modified), *taken = strip(options, json_deep_copy(both));
	bool all = !is_apart(self, taken) && field_set_covers(set_of(self), taken);
	json_decref(taken);
	json_decref(both);
	return all;
}

/* Gives what changed to the manager. Takes the difference. */
static void record_difference(const struct managed_options *options, struct owners *owners, struct typed_difference *take_d) {
	struct owner *self = find_owner(owners, options, OP_UPDATE);
	bool owned = self && owns_all(options, self, take_d);
	yield(owners, owned ? self : NULL, take_d, true, NULL, NULL);
	json_t *taken = strip(options, field_set_union(take_d->added, take_d->modified));
	if (!field_set_empty(taken)) {
		if (!self)
			self = add_owner(owners, options, OP_UPDATE);
		if (!owned)
			replace_set(self, field_set_union(set_of(self), taken));
		set_time(self);
	}
	json_decref(taken);
	typed_difference_done(take_d);
	drop_empty(owners);
}

static void record_update(const struct managed_options *options, struct owners *owners, json_t *old, json_t *new) {
	struct typed_difference d;
	compare_writes(options, old, new, &d);
	record_difference(options, owners, &d);
}

int managed_update(const struct managed_options *options, json_t *live, json_t *updated, json_t **ret, struct error *err) {
	struct owners owners;
	bool reset;
	if (!json_is_object(updated))
		return error_status(err, 400, "BadRequest", "the object is no JSON object");
	read_live_or_new(options, live, updated, &owners, &reset);
	json_t *new = view_without_managed(updated);
	/* What was never tracked is not tracked from the middle on. */
	if (!reset && (!live || owners.len)) {
		json_t *old = live ? view_without_managed(live) : empty_of(options);
		record_update(options, &owners, old, new);
		cap_updaters(&owners);
		json_decref(old);
	}
	owners_write(&owners, new);
	owners_done(&owners);
	*ret = new;
	return 0;
}

/* ---- updates of structs ---- */

typedef struct meta_v1_managed_fields_entry_array entries;

/* `stored`: as they were written here, in order; those of a client are put in order. They must outlive the owners. */
static int read_entries(const entries *list, bool stored, struct owners *ret) {
	*ret = (struct owners){.items = xcalloc(list->len + 1, sizeof(struct owner))};
	for api_list_each (entry, list) {
		if (!str_equal(entry->operation, OP_APPLY) && !str_equal(entry->operation, OP_UPDATE))
			return -EINVAL;
		if (!str_empty(entry->fields_type) && strcmp(entry->fields_type, "FieldsV1"))
			return -EINVAL;
		struct owner *o = &ret->items[ret->len++];
		*o = (struct owner){.manager = xstrdup(str_or(entry->manager, "")), .operation = xstrdup(entry->operation), .api_version = xstrdup(str_or(entry->api_version, "")),
				    .subresource = xstrdup(str_or(entry->subresource, "")), .text = entry->fields_v1.json, .text_len = entry->fields_v1.len};
		if (entry->time.set) {
			char text[40];
			time_format_rfc3339(entry->time.t, text);
			o->time = xstrdup(text);
		}
		if (!stored) {
			set_of(o);
			o->text = NULL;
		}
	}
	return 0;
}

static void write_entries(struct owners *owners, struct arena *arena, entries *ret) {
	memset(ret, 0, sizeof(*ret));
	if (owners->len)
		qsort(owners->items, owners->len, sizeof(*owners->items), order_owners);
	for (size_t i = 0; i < owners->len; i++) {
		const struct owner *o = &owners->items[i];
		autobuf struct buf fields = BUF_INIT(BUF_MAX_DEFAULT);
		if (o->text)
			buf_append(&fields, o->text, o->text_len);
		else
			field_set_append(o->set, &fields);
		struct meta_v1_managed_fields_entry *entry = api_list_add(arena, ret);
		*entry = (struct meta_v1_managed_fields_entry){
			.manager = arena_strdup(arena, o->manager), .operation = arena_strdup(arena, o->operation), .api_version = arena_strdup(arena, o->api_version),
			.fields_type = "FieldsV1", .fields_v1 = {.json = arena_strndup(arena, fields.data, fields.len), .len = fields.len}, .subresource = arena_strdup(arena, o->subresource),
		};
		if (o->time)
			entry->time.set = time_parse_rfc3339(o->time, strlen(o->time), &entry->time.t) == 0;
	}
}

static bool entry_is_empty(const struct meta_v1_managed_fields_entry *entry) {
	return str_empty(entry->manager) && str_empty(entry->operation) && str_empty(entry->api_version) && !entry->time.set && str_empty(entry->fields_type) && !entry->fields_v1.json;
}

/* What of a difference is anybody's: taken or removed. */
static bool touches_owners(const struct managed_options *options, const struct typed_difference *d) {
	json_t *const sets[] = {d->added, d->modified, d->removed}, *child;
	const char *key;
	for (size_t i = 0; i < array_len(sets); i++)
		json_object_foreach(sets[i], key, child)
			if (strcmp(key, "f:metadata") && strcmp(key, "f:kind") && strcmp(key, "f:apiVersion"))
				return true;
	json_t *all = field_set_union(d->added, d->modified), *with_removed = field_set_union(all, d->removed);
	with_removed = strip(options, with_removed);
	bool any = !field_set_empty(with_removed);
	json_decref(with_removed);
	json_decref(all);
	return any;
}

int managed_update_object(const struct managed_options *options, const void *live, void *object) {
	entries *given = &api_metadata(object)->managed_fields;
	const entries *before = &api_metadata(live)->managed_fields;
	bool main = str_empty(options->subresource), reset = main && given->len == 1 && entry_is_empty(given->items);
	struct owners owners = {0};
	struct typed_difference d;
	int r = typed_compare_structs(options->type, live, object, &d);
	if (r < 0)
		return r;
	leave_reset_fields(options, &d);
	bool theirs = main && given->len && !reset && read_entries(given, false, &owners) == 0;
	if (!theirs)
		owners_done(&owners);
	if (!theirs && !reset && read_entries(before, true, &owners) < 0)
		owners_done(&owners);
	/* What was never tracked is not tracked from the middle on. */
	if (!reset && owners.len && touches_owners(options, &d)) {
		record_difference(options, &owners, &d);
		cap_updaters(&owners);
	} else {
		typed_difference_done(&d);
	}
	write_entries(&owners, api_arena(object), given);
	owners_done(&owners);
	return 0;
}

/* ---- apply ---- */

static int check_config(const struct managed_options *options, struct field_schema schema, json_t *config, struct error *err) {
	json_t *metadata = json_object_get(config, "metadata");
	const char *api_version = json_string_value(json_object_get(config, "apiVersion"));
	const char *kind = json_string_value(json_object_get(config, "kind"));
	if (!json_is_object(config))
		return error_status(err, 400, "BadRequest", "the configuration is no object");
	if (json_array_size(json_object_get(metadata, "managedFields")))
		return error_status(err, 400, "BadRequest", "metadata.managedFields must be nil");
	if (!str_equal(api_version, options->api_version))
		return error_status(err, 400, "BadRequest", "Incorrect version specified in apply patch. Specified patch version: %s, expected: %s", api_version ? api_version : "",
				    str_or(options->api_version, ""));
	autoerror struct error inner = {0};
	if (typed_check(schema, config, &inner) < 0) {
		const char *ns = json_string_value(json_object_get(metadata, "namespace")), *name = json_string_value(json_object_get(metadata, "name"));
		return error_status(err, 500, "", "failed to create typed patch object (%s/%s; %s%s, Kind=%s): %s", ns ? ns : "", name ? name : "", strchr(api_version, '/') ? "" : "/", api_version,
				    kind ? kind : "", inner.message);
	}
	return 0;
}

/* All that anybody owns. */
static json_t *union_of(const struct owners *owners) {
	json_t *all = json_object();
	for (size_t i = 0; i < owners->len; i++) {
		json_t *more = field_set_union(all, owners->items[i].set);
		json_decref(all);
		all = more;
	}
	return all;
}

/* An object that lives without owners had them before apply came: they share one name. */
static void adopt(const struct managed_options *options, struct owners *owners, json_t *live) {
	struct managed_options before = *options;
	before.manager = "before-first-apply";
	before.subresource = "";
	json_t *empty = empty_of(options);
	record_update(&before, owners, empty, live);
	json_decref(empty);
}

static json_t *merge_config(const struct managed_options *options, struct field_schema schema, struct owners *owners, json_t *live, json_t *config, size_t *ret_self) {
	json_t *merged = typed_merge(schema, live, config);
	struct owner *self = find_owner(owners, options, OP_APPLY);
	json_t *last = self ? json_incref(self->set) : NULL;
	if (!self)
		self = add_owner(owners, options, OP_APPLY);
	*ret_self = (size_t)(self - owners->items);
	free(self->api_version);
	self->api_version = xstrdup(str_or(options->api_version, ""));
	replace_set(self, strip(options, typed_field_set(schema, config)));
	if (last) {
		json_t *managed = union_of(owners);
		typed_prune(schema, merged, last, managed);
		json_decref(managed);
		json_decref(last);
	}
	return merged;
}

/* ---- from client-side apply ---- */

#define LAST_APPLIED "kubectl.kubernetes.io/last-applied-configuration"

static const char *last_applied(const struct managed_options *options, json_t *object) {
	/* Whoever calls itself otherwise does not want it. */
	if (!str_equal(options->manager, "kubectl"))
		return NULL;
	const char *text = json_string_value(json_object_get(json_object_get(json_object_get(object, "metadata"), "annotations"), LAST_APPLIED));
	return str_empty(text) ? NULL : text;
}

/* What kubectl applied by itself before, and nobody has changed since, is its own to take. New reference or NULL. */
static json_t *allowed_conflicts(const struct managed_options *options, struct field_schema schema, json_t *live) {
	const char *text = last_applied(options, live);
	json_t *config = text ? json_loads(text, 0, NULL) : NULL;
	struct typed_difference d;
	if (!config || !str_equal(json_string_value(json_object_get(config, "apiVersion")), options->api_version) || typed_check(schema, config, NULL) < 0) {
		json_decref(config);
		return NULL;
	}
	json_t *set = typed_field_set(schema, config);
	typed_compare(schema, config, live, &d);
	json_t *const changed[] = {d.added, d.modified, d.removed};
	for (size_t i = 0; i < array_len(changed); i++) {
		json_t *less = field_set_difference(set, changed[i]);
		json_decref(set);
		set = less;
	}
	typed_difference_done(&d);
	json_decref(config);
	return set;
}

/* A later client-side apply is to find what was applied last, by whatever way. */
static void sync_last_applied(const struct managed_options *options, json_t *object, json_t *config) {
	if (!last_applied(options, object))
		return;
	autobuf struct buf text = BUF_INIT(MAX_LAST_APPLIED);
	json_t *copy = json_deep_copy(config);
	json_object_del(json_object_get(json_object_get(copy, "metadata"), "annotations"), LAST_APPLIED);
	api_append_json_tree(&text, copy, 0);
	buf_append_char(&text, '\n');
	/* Annotations have a bound, and an apply must not fail by this one. */
	json_t *annotations = json_object_get(json_object_get(object, "metadata"), "annotations");
	json_object_set_new(annotations, LAST_APPLIED, json_stringn(buf_failed(&text) ? "" : text.data, buf_failed(&text) ? 0 : text.len));
	json_decref(copy);
}

int managed_apply(const struct managed_options *options, json_t *live, json_t *config, json_t **ret, struct error *err) {
	struct field_schema schema = field_schema_root(options->type, options->schema);
	struct owners owners = {0};
	struct typed_difference d;
	size_t at;
	int r = check_config(options, schema, config, err);
	if (r < 0)
		return r;
	if (live && owners_read(live, &owners) < 0)
		owners_done(&owners);
	owners.told_version = options->told_version;
	json_t *old = live ? without_managed(live) : empty_of(options), *given = without_managed(config);
	if (live && !owners.len)
		adopt(options, &owners, old);
	json_t *merged = merge_config(options, schema, &owners, old, given, &at);
	compare_writes(options, old, merged, &d);
	json_t *allowed = options->force ? NULL : allowed_conflicts(options, schema, old);
	r = yield(&owners, &owners.items[at], &d, options->force, allowed, err);
	json_decref(allowed);
	if (!r) {
		/* Where the object stays as it is, whoever may own what, so does the time. */
		bool same = live && json_equal(old, merged);
		if (!same)
			set_time(&owners.items[at]);
		drop_empty(&owners);
		owners_write(&owners, merged);
		sync_last_applied(options, merged, given);
		*ret = json_incref(merged);
	}
	typed_difference_done(&d);
	json_decref(merged);
	json_decref(given);
	json_decref(old);
	owners_done(&owners);
	return r;
}

/* ---- merging alone ---- */

/* Appends the paths of lists and maps in the value that have no parts of their own. */
static void find_atomics(struct field_schema schema, json_t *value, const char *path, struct buf *out) {
	const char *key;
	json_t *member;
	enum field_form form = field_schema_form(schema, value);
	if (!json_is_object(value) && !json_is_array(value))
		return;
	if (form == FORM_LEAF) {
		buf_printf(out, "%s%s", out->len ? ", " : "", path);
		return;
	}
	json_object_foreach(value, key, member) {
		struct field_schema inner;
		bool named;
		autofree char *below = xprintf("%s.%s", path, key);
		if (field_schema_member(schema, key, &inner, &named))
			find_atomics(inner, member, below, out);
	}
	for (size_t i = 0; form == FORM_KEYED && i < json_array_size(value); i++) {
		autofree char *element = field_schema_element(schema, json_array_get(value, i));
		autofree char *below = xprintf("%s[%s]", path, element ? element : "");
		find_atomics(field_schema_item(schema), json_array_get(value, i), below, out);
	}
}

int managed_merge(const struct managed_options *options, json_t *live, json_t *part, json_t **ret, struct error *err) {
	struct field_schema schema = field_schema_root(options->type, options->schema);
	autobuf struct buf atomics = BUF_INIT(64 << 10);
	if (typed_check(schema, part, err) < 0)
		return error_context(err, "failed to convert patch object to typed object");
	find_atomics(schema, part, "", &atomics);
	if (atomics.len)
		return error_set(err, EINVAL, "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: %s", atomics.data);
	*ret = typed_merge(schema, live, part);
	return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "controller-manager/shared/history.h"

#include "controller-manager/shared/owners.h"
#include "controller-manager/shared/pods.h"

#include <errno.h>

#define LABEL_HASH "controller.kubernetes.io/hash" /* of a StatefulSet's revisions */
#define MAX_TEMPLATE_BYTES ((size_t)4 << 20)

void history_done(struct history *history)
{
	for (size_t i = 0; i < history->len; i++)
		api_unref(history->items[i]);
	free(history->items);
	*history = (struct history){0};
}

const char *revision_hash(const struct apps_v1_controller_revision *revision)
{
	const char *hash = api_map_get(&revision->metadata.labels, LABEL_REVISION_HASH);
	return str_or(hash ? hash : api_map_get(&revision->metadata.labels, LABEL_HASH), "");
}

struct apps_v1_controller_revision *history_find(const struct history *history, const char *name)
{
	for (size_t i = 0; i < history->len; i++)
		if (str_equal(history->items[i]->metadata.name, name))
			return history->items[i];
	return NULL;
}

/* ---- the patch that brings the template back, which `kubectl rollout undo` applies ---- */

/* As Go's encoding/json writes a map: clients look a template's revision up by comparing bytes. */
static void append_text(struct buf *out, const char *text)
{
	autobuf struct buf plain = BUF_INIT(MAX_TEMPLATE_BYTES);
	buf_append_json_string(&plain, text, strlen(text));
	for (size_t i = 0; i < plain.len; i++) {
		unsigned char c = (unsigned char)plain.data[i];
		if (c == '<' || c == '>' || c == '&')
			buf_printf(out, "\\u%04x", c);
		else
			buf_append_char(out, plain.data[i]);
	}
}

static int compare_texts(const void *left, const void *right)
{
	return strcmp(*(const char *const *)left, *(const char *const *)right);
}

static void append_sorted(struct buf *out, json_t *value);

static void append_object(struct buf *out, json_t *object)
{
	size_t count = json_object_size(object), at = 0;
	autofree const char **keys = xcalloc(count, sizeof(*keys));
	const char *key;
	json_t *value;
	json_object_foreach(object, key, value)
		keys[at++] = key;
	if (count)
		qsort(keys, count, sizeof(*keys), compare_texts);
	buf_append_char(out, '{');
	for (size_t i = 0; i < count; i++) {
		if (i)
			buf_append_char(out, ',');
		append_text(out, keys[i]);
		buf_append_char(out, ':');
		append_sorted(out, json_object_get(object, keys[i]));
	}
	buf_append_char(out, '}');
}

static void append_sorted(struct buf *out, json_t *value)
{
	if (json_is_object(value)) {
		append_object(out, value);
	} else if (json_is_array(value)) {
		buf_append_char(out, '[');
		for (size_t i = 0; i < json_array_size(value); i++) {
			if (i)
				buf_append_char(out, ',');
			append_sorted(out, json_array_get(value, i));
		}
		buf_append_char(out, ']');
	} else if (json_is_string(value)) {
		append_text(out, json_string_value(value));
	} else {
		autofree char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
		buf_append_str(out, text);
	}
}

static char *patch_of(const struct core_v1_pod_template_spec *template)
{
	struct buf out = BUF_INIT(MAX_TEMPLATE_BYTES * 2);
	json_t *tree = api_to_json(&core_v1_pod_template_spec_type, template);
	json_object_set_new(tree, "$patch", json_string("replace"));
	buf_append_str(&out, "{\"spec\":{\"template\":");
	append_sorted(&out, tree);
	buf_append_str(&out, "}}");
	json_decref(tree);
	return buf_take(&out);
}

static bool same_data(const struct apps_v1_controller_revision *revision, const char *patch)
{
	if (!revision->data.json)
		return false;
	json_t *a = json_loadb(revision->data.json, revision->data.len, 0, NULL), *b = json_loads(patch, 0, NULL);
	bool same = a && b && json_equal(a, b);
	json_decref(a);
	json_decref(b);
	return same;
}

int history_template(const struct apps_v1_controller_revision *revision, struct arena *arena, struct core_v1_pod_template_spec *ret, struct error *err)
{
	json_t *tree = revision->data.json ? json_loadb(revision->data.json, revision->data.len, 0, NULL) : NULL;
	json_t *template = json_object_get(json_object_get(tree, "spec"), "template");
	if (!template) {
		json_decref(tree);
		return error_set(err, EINVAL, "revision %s holds no template", revision->metadata.name);
	}
	json_object_del(template, "$patch");
	autofree char *text = json_dumps(template, JSON_COMPACT);
	json_decref(tree);
	*ret = (struct core_v1_pod_template_spec){0};
	return api_decode_json_value(&core_v1_pod_template_spec_type, text, strlen(text), ret, arena, err);
}

static int compare_revisions(const void *left, const void *right)
{
	const struct apps_v1_controller_revision *a = *(struct apps_v1_controller_revision *const *)left,
						 *b = *(struct apps_v1_controller_revision *const *)right;
	if (a->revision != b->revision)
		return a->revision < b->revision ? -1 : 1;
	int64_t diff = time_diff_ns(a->metadata.creation_timestamp.t, b->metadata.creation_timestamp.t);
	return diff ? (diff < 0 ? -1 : 1) : strcmp(a->metadata.name, b->metadata.name);
}

static struct apps_v1_controller_revision *make_revision(const void *owner, const struct core_v1_pod_template_spec *template, const char *patch,
	int32_t collisions, int64_t number)
{
	struct apps_v1_controller_revision *revision = api_new_of(apps_v1_controller_revision);
	struct arena *arena = api_arena(revision);
	const struct meta_v1_object_meta *meta = api_metadata(owner);
	char hash[16];
	template_hash(template, collisions ? &collisions : NULL, hash);
	for (uint32_t i = 0; i < template->metadata.labels.len; i++)
		api_map_set(arena, &revision->metadata.labels, template->metadata.labels.items[i].key, template->metadata.labels.items[i].value);
	api_map_set(arena, &revision->metadata.labels, api_type_of(owner) == &apps_v1_daemon_set_type ? LABEL_REVISION_HASH : LABEL_HASH, hash);
	for (uint32_t i = 0; i < meta->annotations.len; i++)
		api_map_set(arena, &revision->metadata.annotations, meta->annotations.items[i].key, meta->annotations.items[i].value);
	revision->metadata.name = arena_printf(arena, "%s-%s", meta->name, hash);
	revision->metadata.namespace = arena_strdup(arena, meta->namespace);
	owner_set_controller(arena, &revision->metadata, owner);
	revision->data.json = arena_strdup(arena, patch);
	revision->data.len = (uint32_t)strlen(patch);
	revision->revision = number;
	return revision;
}

static void history_add(struct history *history, struct apps_v1_controller_revision *take_revision)
{
	history->items = xreallocarray(history->items, history->len + 1, sizeof(take_revision));
	history->items[history->len++] = history->current = take_revision;
}

static int create_revision(struct reconciler *r, const void *owner, const struct core_v1_pod_template_spec *template, const char *patch,
	int32_t *collisions, int64_t number, struct history *history, struct error *err)
{
	autounref struct apps_v1_controller_revision *made = make_revision(owner, template, patch, *collisions, number), *created = NULL;
	autoerror struct error failed = {0};
	/* What is made for an owner that goes is collected at once, and made again, for as long as something holds the owner. */
	if (((const struct meta_v1_object_meta *)api_metadata(owner))->deletion_timestamp.set) {
		history_add(history, take_ptr(made));
		return 0;
	}
	int result = world_create(r->world, CACHED_CONTROLLER_REVISIONS, made, (void **)&created, &failed);
	if (result && error_is(&failed, "AlreadyExists")) {
		result = world_get(r->world, CACHED_CONTROLLER_REVISIONS, made->metadata.namespace, made->metadata.name, (void **)&created, err);
		if (result)
			return result;
		if (!same_data(created, patch)) {
			++*collisions;
			return error_status(err, 409, "Conflict", "name of revision %s is taken", made->metadata.name);
		}
	} else if (result) {
		return error_move(err, &failed);
	}
	history_add(history, created ? take_ptr(created) : take_ptr(made));
	return 0;
}

/* The revision of the present template; the newest of equals, renumbered to be the last. */
static int settle_current(struct reconciler *r, struct history *history, size_t index, int64_t highest, struct error *err)
{
	struct apps_v1_controller_revision *found = history->items[index];
	history->current = found;
	if (found->revision == highest)
		return 0;
	autounref struct apps_v1_controller_revision *copy = api_copy(found);
	struct apps_v1_controller_revision *written = NULL;
	copy->revision = highest + 1;
	int result = world_update(r->world, CACHED_CONTROLLER_REVISIONS, copy, (void **)&written, err);
	if (result)
		return result;
	api_unref(history->items[index]);
	history->items[index] = history->current = written ? written : take_ptr(copy);
	return 0;
}

int history_load(struct reconciler *r, enum cached owner_what, const void *owner, const struct selector *selector,
	const struct core_v1_pod_template_spec *template, int32_t *collisions, struct history *ret, struct error *err)
{
	cleanup(history_done) struct history history = {0};
	struct informer_list list = INFORMER_LIST_INIT;
	int result = owner_claim(r->world, owner_what, owner, CACHED_CONTROLLER_REVISIONS, selector, NULL, NULL, &list, err);
	if (result)
		return result;
	history.items = (struct apps_v1_controller_revision **)list.items;
	history.len = list.len;
	if (history.len)
		qsort(history.items, history.len, sizeof(history.items[0]), compare_revisions);
	autofree char *patch = patch_of(template);
	int64_t highest = history.len ? history.items[history.len - 1]->revision : 0;
	ptrdiff_t found = -1;
	for (size_t i = 0; i < history.len; i++)
		if (same_data(history.items[i], patch))
			found = (ptrdiff_t)i;
	if (found >= 0)
		result = settle_current(r, &history, (size_t)found, highest, err);
	else
		result = create_revision(r, owner, template, patch, collisions, highest + 1, &history, err);
	if (result)
		return result;
	*ret = history;
	history = (struct history){0};
	return 0;
}

int history_truncate(struct reconciler *r, const struct history *history, int32_t limit, bool (*is_live)(const struct apps_v1_controller_revision *revision, void *arg),
	void *arg, struct error *err)
{
	size_t idle = 0;
	for (size_t i = 0; i < history->len; i++)
		idle += history->items[i] != history->current && !is_live(history->items[i], arg);
	size_t surplus = idle > (size_t)max_of(limit, 0) ? idle - (size_t)max_of(limit, 0) : 0;
	for (size_t i = 0; i < history->len && surplus; i++) {
		struct apps_v1_controller_revision *revision = history->items[i];
		if (revision == history->current || is_live(revision, arg))
			continue;
		int result = world_delete(r->world, CACHED_CONTROLLER_REVISIONS, revision, NULL, err);
		if (result)
			return result;
		surplus--;
	}
	return 0;
}

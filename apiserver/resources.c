/* SPDX-License-Identifier: Apache-2.0 */
/* The registry of served resources, and the way between stored bytes and objects. */
#include "apiserver/apiserver.h"
#include "apiserver/custom/custom.h"
#include "apiserver/request/render.h"
#include "apiserver/strategy/strategy.h"
#include "apiserver/webhook/convert.h"
#include "api/meta_v1.h"
#include "common/api/codec.h"
#include "common/api/convert.h"

#include <errno.h>
#include <pthread.h>

struct field_index;
struct registry {
	pthread_rwlock_t lock;
	struct map by_path; /* "group/version/plural" -> struct resource */
	struct resource **all;
	size_t len, cap;
	uint64_t generation;
	struct field_index **indexes; /* owned; what the collections' index functions are given */
	size_t index_count;
	struct apiserver *server;
};

/* ---- selectable fields ---- */

/* Labels whose value stands elsewhere in the stored object, or has a text where the object says nothing. */
static const struct field_source {
	const char *prefix; /* etcd prefix; NULL: any */
	const char *label, *path, *fallback;
} field_sources[] = {
	{"minions", "spec.unschedulable", "spec.unschedulable", "false"},
	{"pods", "spec.hostNetwork", "spec.hostNetwork", "false"},
	{"jobs", "status.successful", "status.succeeded", "0"},
	{"events", "reportingComponent", "reportingComponent", ""},
	{"events", "source", "source.component", NULL},
	{NULL, "status.replicas", "status.replicas", "0"},
};

/* Which values of an object are selectable: found in one pass when its event arrives. */
struct field_index {
	size_t count;
	const char *labels[JSON_TEXT_MAX_PATHS], *paths[JSON_TEXT_MAX_PATHS], *fallbacks[JSON_TEXT_MAX_PATHS];
};

static void field_index_add(struct field_index *index, const char *etcd_prefix, const char *label) {
	const char *path = label, *fallback = NULL;
	for (size_t i = 0; i < array_len(field_sources); i++) {
		const struct field_source *s = &field_sources[i];
		if (strcmp(s->label, label) == 0 && (!s->prefix || strcmp(s->prefix, etcd_prefix) == 0)) {
			path = s->path;
			fallback = s->fallback;
		}
	}
	if (index->count == JSON_TEXT_MAX_PATHS)
		abort(); /* a mistake in the schema */
	index->labels[index->count] = label;
	index->paths[index->count] = path;
	index->fallbacks[index->count++] = fallback;
}

/* Lives as long as the collection. */
static struct field_index *field_index_new(const char *etcd_prefix, const char *const *labels) {
	struct field_index *index = xnew(struct field_index);
	for (const char *const *label = labels; label && *label; label++)
		if (!str_starts_with(*label, "metadata."))
			field_index_add(index, etcd_prefix, *label);
	return index;
}

static void index_fields(const char *json, size_t len, struct arena *arena, struct api_string_map *ret_fields, void *arg) {
	const struct field_index *index = arg;
	struct json_text found[JSON_TEXT_MAX_PATHS];
	if (index->count == 0)
		return;
	json_text_find_all(json, len, index->paths, index->count, found);
	for (size_t i = 0; i < index->count; i++) {
		const char *value = json_text_value(arena, found[i].data, found[i].len);
		if (!value && strcmp(index->labels[i], "source") == 0)
			value = json_text_string(arena, json, len, "reportingComponent");
		value = value ? value : index->fallbacks[i];
		if (value)
			api_map_set(arena, ret_fields, index->labels[i], value);
	}
}

/* ---- the registry ---- */

static char *path_of(const char *group, const char *version, const char *plural) {
	return xprintf("%s/%s/%s", group ? group : "", version, plural);
}

void registry_add(struct registry *registry, struct resource *resource) {
	autofree char *path = path_of(resource->api->group, resource->api->version, resource->api->plural);
	pthread_rwlock_wrlock(&registry->lock);
	struct resource *old = map_get(&registry->by_path, path);
	if (old) {
		__atomic_store_n(&old->removed, true, __ATOMIC_RELEASE);
		for (size_t i = 0; i < registry->len; i++)
			if (registry->all[i] == old)
				registry->all[i] = resource;
	} else {
		if (registry->len == registry->cap) {
			registry->cap = registry->cap ? registry->cap * 2 : 256;
			registry->all = xreallocarray(registry->all, registry->cap, sizeof(*registry->all));
		}
		registry->all[registry->len++] = resource;
	}
	map_set(&registry->by_path, path, resource);
	registry->generation++;
	pthread_rwlock_unlock(&registry->lock);
}

void registry_remove(struct registry *registry, const char *group, const char *version, const char *plural) {
	autofree char *path = path_of(group, version, plural);
	pthread_rwlock_wrlock(&registry->lock);
	struct resource *old = map_take(&registry->by_path, path);
	if (old) {
		__atomic_store_n(&old->removed, true, __ATOMIC_RELEASE);
		size_t kept = 0;
		for (size_t i = 0; i < registry->len; i++)
			if (registry->all[i] != old)
				registry->all[kept++] = registry->all[i];
		registry->len = kept;
		registry->generation++;
	}
	pthread_rwlock_unlock(&registry->lock);
}

const struct resource *registry_find(struct registry *registry, const char *group, const char *version, const char *plural) {
	/* Several times a request: put together by hand. */
	const char *parts[] = {group ? group : "", version, plural};
	char path[600];
	size_t len = 0;
	for (size_t i = 0; i < array_len(parts); i++) {
		size_t part = strlen(parts[i]);
		if (part >= sizeof(path) - len)
			return NULL;
		memcpy(path + len, parts[i], part);
		len += part;
		path[len++] = '/';
	}
	pthread_rwlock_rdlock(&registry->lock);
	const struct resource *found = map_get_len(&registry->by_path, path, len - 1);
	pthread_rwlock_unlock(&registry->lock);
	return found;
}

/* The first for which match() holds, in the order of the tables. */
static const struct resource *find_first(struct registry *registry, bool (*match)(const struct resource *, const char *, const char *, const char *), const char *a, const char *b, const char *c) {
	const struct resource *found = NULL;
	pthread_rwlock_rdlock(&registry->lock);
	for (size_t i = 0; i < registry->len && !found; i++)
		if (match(registry->all[i], a, b, c))
			found = registry->all[i];
	pthread_rwlock_unlock(&registry->lock);
	return found;
}

static bool match_plural(const struct resource *r, const char *group, const char *plural, const char *none) {
	return strcmp(r->api->plural, plural) == 0 && strcmp(resource_group(r), group) == 0;
}

static bool match_kind(const struct resource *r, const char *group, const char *version, const char *kind) {
	return strcmp(r->api->kind, kind) == 0 && strcmp(resource_group(r), group) == 0 && (!version || strcmp(r->api->version, version) == 0);
}

static bool match_group(const struct resource *r, const char *group, const char *version, const char *none) {
	return strcmp(resource_group(r), group) == 0 && (!version || strcmp(r->api->version, version) == 0);
}

const struct resource *registry_find_any(struct registry *registry, const char *group, const char *plural) {
	return find_first(registry, match_plural, group, plural, NULL);
}

const struct resource *registry_by_kind(struct registry *registry, const char *group, const char *version, const char *kind) {
	return find_first(registry, match_kind, group, version, kind);
}

bool registry_has_group(struct registry *registry, const char *group, const char *version) {
	return find_first(registry, match_group, group, version, NULL) != NULL;
}

static bool match_built_in_group(const struct resource *r, const char *group, const char *none, const char *none_either) {
	return !r->custom && strcmp(resource_group(r), group) == 0;
}

bool registry_has_built_in_group(struct registry *registry, const char *group) {
	return find_first(registry, match_built_in_group, group, NULL, NULL) != NULL;
}

uint64_t registry_generation(struct registry *registry) {
	pthread_rwlock_rdlock(&registry->lock);
	uint64_t generation = registry->generation;
	pthread_rwlock_unlock(&registry->lock);
	return generation;
}

void registry_each(struct registry *registry, void (*fn)(const struct resource *resource, void *arg), void *arg) {
	pthread_rwlock_rdlock(&registry->lock);
	size_t len = registry->len;
	struct resource **all = xmemdup(registry->all, len * sizeof(*all));
	pthread_rwlock_unlock(&registry->lock);
	for (size_t i = 0; i < len; i++)
		fn(all[i], arg);
	free(all);
}

/* Stable versions are on, and resource metrics, whose clients know the beta alone; others only where --runtime-config says so. */
static bool version_enabled(const struct apiserver_options *options, const char *group, const char *version) {
	bool stable = version[0] == 'v' && version[1] && strspn(version + 1, "0123456789") == strlen(version + 1);
	bool beta = strstr(version, "beta") != NULL;
	bool on = stable || strcmp(group, "metrics.k8s.io") == 0;
	for (size_t i = 0; i < options->runtime_config.len; i++) {
		const char *item = options->runtime_config.items[i];
		const char *eq = strchr(item, '=');
		size_t len = eq ? (size_t)(eq - item) : strlen(item);
		bool value = !eq || strcmp(eq + 1, "true") == 0;
		char name[300];
		snprintf(name, sizeof(name), "%.*s", (int)min_of(len, sizeof(name) - 1), item);
		char own[300];
		snprintf(own, sizeof(own), "%s%s%s", group, *group ? "/" : "", version);
		if (strcmp(name, "api/all") == 0 || (strcmp(name, "api/ga") == 0 && stable) || (strcmp(name, "api/beta") == 0 && beta) ||
		    (strcmp(name, "api/alpha") == 0 && !stable && !beta) || strcmp(name, own) == 0)
			on = value;
	}
	return on;
}

const struct api_type *resource_storage_type(const struct api_resource *api) {
	if (!api->storage_version)
		return api->type;
	const char *slash = strchr(api->storage_version, '/');
	char group[200] = "";
	if (slash)
		snprintf(group, sizeof(group), "%.*s", (int)(slash - api->storage_version), api->storage_version);
	const struct api_type *type = api_type_by_kind(group, slash ? slash + 1 : api->storage_version, api->kind);
	return type ? type : api->type;
}

static const char *const *storage_labels(const struct api_resource *api, const struct api_type *storage) {
	if (storage == api->type)
		return api->field_selectors;
	const struct api_resource *stored = api_resource_by_kind(storage->group, storage->version, storage->kind);
	return stored ? stored->field_selectors : api->field_selectors;
}

static void add_builtin(struct registry *registry, const struct api_resource *api) {
	struct resource *resource = xnew(struct resource);
	resource->api = api;
	resource->type = api->type;
	resource->storage_type = resource_storage_type(api);
	resource->group_resource = str_empty(api->group) ? xstrdup(api->plural) : xprintf("%s.%s", api->plural, api->group);
	resource->strategy = strategy_find(api->group ? api->group : "", api->plural);
	resource->etcd_prefix = api->etcd_prefix;
	if (api->storage_version && api->etcd_prefix) {
		struct field_index *index = field_index_new(api->etcd_prefix, storage_labels(api, resource->storage_type));
		registry->indexes = xreallocarray(registry->indexes, registry->index_count + 1, sizeof(*registry->indexes));
		registry->indexes[registry->index_count++] = index;
		resource->collection = store_collection(registry->server->store, api->etcd_prefix, api->namespaced, index_fields, index);
		collection_set_names(resource->collection, str_or(api->group, ""), api->plural);
	}
	registry_add(registry, resource);
}

struct registry *registry_new(struct apiserver *server) {
	struct registry *registry = xnew(struct registry);
	pthread_rwlock_init(&registry->lock, NULL);
	registry->by_path = MAP_INIT(NULL);
	registry->server = server;
	for (size_t i = 0; i < api_resource_count; i++)
		if (version_enabled(server->options, api_resources[i].group ? api_resources[i].group : "", api_resources[i].version))
			add_builtin(registry, &api_resources[i]);
	return registry;
}

void registry_free(struct registry *registry) {
	if (!registry)
		return;
	map_done(&registry->by_path);
	/* Custom resources stay: objects may still point at their descriptors. */
	for (size_t i = 0; i < registry->len; i++)
		if (!registry->all[i]->custom) {
			free((char *)registry->all[i]->group_resource);
			free(registry->all[i]);
		}
	for (size_t i = 0; i < registry->index_count; i++)
		free(registry->indexes[i]);
	free(registry->indexes);
	free(registry->all);
	pthread_rwlock_destroy(&registry->lock);
	free(registry);
}

/* ---- objects ---- */

bool resource_is_identity(const struct resource *resource) {
	/* Defaults that a definition got later show on what was stored before. */
	if (resource->custom && (resource->custom->has_defaults || resource->custom->conversion || resource->custom->mixed))
		return false;
	return resource->type == resource->storage_type;
}

/* Versions of a custom resource differ in apiVersion alone (strategy None). */
static int convert_custom(const void *object, const struct api_type *to, void **ret, struct error *err) {
	autobuf struct buf json = BUF_INIT(BUF_MAX_DEFAULT);
	api_encode(object, &json);
	struct api_decode_options options = {.validation = API_IGNORE};
	int rc = api_decode_json(to, json.data, json.len, &options, ret, err);
	if (rc < 0)
		return rc;
	struct { const char *kind, *api_version; } *head = *ret;
	head->kind = to->kind;
	head->api_version = arena_printf(api_arena(*ret), "%s/%s", to->group, to->version);
	return 0;
}

static int convert(const struct resource *resource, const void *object, const struct api_type *to, void **ret, struct error *err) {
	return resource->custom ? convert_custom(object, to, ret, err) : api_convert(object, to, ret, err);
}

/* What a webhook has made of the entry. */
static int decode_converted(const struct resource *resource, const struct entry *entry, void **ret_object, struct error *err) {
	struct api_decode_options options = {.validation = API_IGNORE};
	autobytes struct bytes *json = conversion_get(resource, entry);
	if (!json)
		return error_status(err, 500, "", "conversion webhook for %s, Kind=%s was not asked", resource->api->group, resource->api->kind);
	void *object;
	int rc = api_decode_json(resource->type, json->data, json->len, &options, &object, err);
	if (rc < 0)
		return rc;
	custom_process(NULL, resource, object, NULL);
	*ret_object = object;
	return 0;
}

int resource_decode(const struct resource *resource, const struct entry *entry, void **ret_object, struct error *err) {
	struct api_decode_options options = {.validation = API_IGNORE};
	if (resource->custom && resource->custom->conversion)
		return decode_converted(resource, entry, ret_object, err);
	void *stored;
	int rc = api_decode_json(resource->storage_type, entry->json->data, entry->json->len, &options, &stored, err);
	if (rc < 0)
		return rc;
	if (!resource_is_identity(resource)) {
		void *converted;
		rc = convert(resource, stored, resource->type, &converted, err);
		api_unref(stored);
		if (rc < 0)
			return rc;
		stored = converted;
		if (resource->custom)
			custom_process(NULL, resource, stored, NULL);
	}
	api_default(stored);
	*ret_object = stored;
	return 0;
}

/* Kubernetes stores all but these in protobuf. */
void resource_encode_as_stored(const char *group, bool custom, const void *object, struct buf *out) {
	if (custom || strcmp(group, "apiextensions.k8s.io") == 0 || strcmp(group, "apiregistration.k8s.io") == 0)
		api_encode(object, out);
	else
		api_encode_json_stored(api_type_of(object), object, out);
}

int resource_encode_stored(const struct resource *resource, void *object, struct buf *out, struct error *err) {
	struct meta_v1_object_meta *meta = api_metadata(object);
	const char *version = meta->resource_version;
	meta->resource_version = NULL;
	int rc = 0;
	if (resource_is_identity(resource)) {
		resource_encode_as_stored(resource_group(resource), resource->custom, object, out);
	} else {
		void *stored;
		rc = convert(resource, object, resource->storage_type, &stored, err);
		/* What is kept is judged by the schema of the version that is kept. */
		if (rc == 0 && resource->custom)
			custom_process(NULL, &custom_of_type(resource->storage_type)->resource, stored, NULL);
		if (rc == 0) {
			/* What only the version that is kept has a default for. */
			if (!resource->custom)
				api_default(stored);
			resource_encode_as_stored(resource_group(resource), resource->custom, stored, out);
			api_unref(stored);
		}
	}
	meta->resource_version = version;
	return rc;
}

char *resource_key(struct arena *arena, const struct resource *resource, const char *ns, const char *name) {
	if (!resource->api->namespaced)
		return arena_strdup(arena, name);
	size_t ns_len = strlen(ns), name_len = strlen(name);
	char *key = arena_alloc(arena, ns_len + 1 + name_len + 1);
	memcpy(key, ns, ns_len);
	key[ns_len] = '/';
	memcpy(key + ns_len + 1, name, name_len);
	return key;
}

void *resource_read(const struct resource *resource, const char *ns, const char *name) {
	if (!resource || !resource->collection || str_empty(name))
		return NULL;
	autofree char *key = resource->api->namespaced ? xprintf("%s/%s", ns, name) : xstrdup(name);
	autoentry struct entry *entry = collection_get(resource->collection, key);
	void *object = NULL;
	if (!entry || resource_decode(resource, entry, &object, NULL) < 0)
		return NULL;
	return object;
}

void *registry_read(struct registry *registry, const char *group, const char *plural, const char *ns, const char *name) {
	return resource_read(registry_find_any(registry, group, plural), ns, name);
}

/* ---- fields by name ---- */

void *api_field_address(const struct api_type *type, const void *value, const char *name, const struct api_field **ret_field) {
	for (uint16_t i = 0; i < type->field_count; i++) {
		const struct api_field *field = &type->fields[i];
		if (strcmp(field->name, name) != 0)
			continue;
		if (ret_field)
			*ret_field = field;
		return (char *)value + field->offset;
	}
	return NULL;
}

void api_field_clear(void *object, const char *name) {
	const struct api_field *field;
	if (custom_of_type(api_type_of(object))) {
		custom_member_copy(object, NULL, name);
		return;
	}
	void *at = api_field_address(api_type_of(object), object, name, &field);
	if (at)
		memset(at, 0, api_field_size(field));
}

void api_field_copy(void *dst, const void *src, const char *name) {
	const struct api_field *field;
	if (custom_of_type(api_type_of(dst))) {
		custom_member_copy(dst, src, name);
		return;
	}
	void *to = api_field_address(api_type_of(dst), dst, name, &field);
	if (!to)
		return;
	if (field->kind == API_STRUCT && field->shape == API_SINGLE && !api_field_indirect(field)) {
		memset(to, 0, field->type->size);
		api_copy_value(field->type, to, (const char *)src + field->offset, api_arena(dst));
		return;
	}
	/* A whole deep copy of src that dst's arena then owns: simple, and shares no memory with src. */
	void *copy = api_copy(src);
	arena_defer(api_arena(dst), (void (*)(void *))api_unref, copy);
	memcpy(to, (char *)copy + field->offset, api_field_size(field));
}

bool api_field_equal(const void *a, const void *b, const char *name) {
	const struct api_type *type = api_type_of(a);
	const struct api_field *field;
	void *at = api_field_address(type, a, name, &field);
	if (!at)
		return true;
	/* Compare copies that differ in this field alone. */
	void *left = api_new(type), *right = api_new(type);
	memcpy((char *)left + field->offset, at, api_field_size(field));
	memcpy((char *)right + field->offset, (const char *)b + field->offset, api_field_size(field));
	bool equal = api_equal(type, left, right);
	api_unref(left);
	api_unref(right);
	return equal;
}

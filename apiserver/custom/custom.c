/* SPDX-License-Identifier: Apache-2.0 */
/* From definitions to served resources. */
#include "apiserver/custom/custom.h"
#include "apiserver/aggregator/aggregator.h"
#include "apiserver/custom/rules.h"
#include "apiserver/request/render.h"
#include "apiserver/strategy/strategy.h"
#include "apiserver/webhook/convert.h"
#include "api/autoscaling_v1.h"
#include "api/meta_v1.h"
#include "common/base/log.h"

#include <pthread.h>

#define TYPE_PREFIX "custom/"
#define ALL_VERBS (API_VERB_CREATE | API_VERB_DELETE | API_VERB_DELETECOLLECTION | API_VERB_GET | API_VERB_LIST | API_VERB_PATCH | API_VERB_UPDATE | API_VERB_WATCH)

static const struct strategy custom_strategy = {.any_finalizer = true, .generation = true, .generation_changed = custom_generation_changed, .no_unconditional_update = true, .status_keeps = STATUS_KEEPS_METADATA};
static struct store_watch *definitions_watch;
static struct definitions *definitions;
static struct custom_resource *every_custom; /* changed by the thread that applies definitions alone */

const struct custom_resource *custom_of_type(const struct api_type *type) {
	if (!type->id || !str_starts_with(type->id, TYPE_PREFIX))
		return NULL;
	return container_of(type, struct custom_resource, type);
}

/* ---- descriptors ---- */

static int compare_fields(const void *a, const void *b, void *arg) {
	const struct api_field *fields = arg;
	return strcmp(fields[*(const uint16_t *)a].name, fields[*(const uint16_t *)b].name);
}

static void set_indexes(struct api_type *type, struct api_field *fields, size_t count) {
	uint16_t *by_name = xcalloc(count, sizeof(*by_name)), *by_number = xcalloc(count, sizeof(*by_number));
	for (size_t i = 0; i < count; i++)
		by_name[i] = by_number[i] = (uint16_t)i;
	qsort_r(by_name, count, sizeof(*by_name), compare_fields, fields);
	type->fields = fields;
	type->field_count = (uint16_t)count;
	type->by_name = by_name;
	type->by_number = by_number;
}

static struct api_field plain_field(const char *name, uint8_t kind, uint32_t offset, uint32_t size) {
	return (struct api_field){.name = name, .c_name = name, .name_len = (uint16_t)strlen(name), .kind = kind, .shape = API_SINGLE, .flags = API_FIELD_OMIT_EMPTY, .offset = offset, .element_size = size};
}

static void make_type(struct custom_resource *custom, const char *group, const char *version, const char *kind) {
	struct api_field *fields = xcalloc(4, sizeof(*fields));
	size_t count = 0;
	fields[count++] = plain_field("kind", API_STRING, offsetof(struct custom_object, kind), sizeof(char *));
	fields[count++] = plain_field("apiVersion", API_STRING, offsetof(struct custom_object, api_version), sizeof(char *));
	fields[count] = plain_field("metadata", API_STRUCT, offsetof(struct custom_object, metadata), sizeof(struct meta_v1_object_meta));
	fields[count++].type = &meta_v1_object_meta_type;
	/* All else is the schema's to judge. */
	fields[count++] = (struct api_field){
		.name = "", .c_name = "rest", .kind = API_JSON, .shape = API_MAP, .flags = API_FIELD_OMIT_EMPTY | API_FIELD_REST, .offset = offsetof(struct custom_object, rest),
		.element_size = sizeof(struct api_raw), .entry_size = sizeof(struct custom_entry), .value_offset = offsetof(struct custom_entry, value),
	};
	/* com.example.stable.v1.Widget: the group's labels the other way round */
	autobuf struct buf openapi = BUF_INIT(4096);
	for (size_t end = strlen(group); end;) {
		size_t start = end;
		while (start && group[start - 1] != '.')
			start--;
		buf_printf(&openapi, "%.*s.", (int)(end - start), group + start);
		end = start ? start - 1 : 0;
	}
	custom->type = (struct api_type){
		.id = xprintf(TYPE_PREFIX "%s/%s.%s", group, version, kind), .c_name = "custom", .openapi = xprintf("%s%s.%s", openapi.data, version, kind),
		.size = sizeof(struct custom_object), .is_kind = true, .group = group, .version = version, .kind = kind,
	};
	set_indexes(&custom->type, fields, count);
	custom->list_type = (struct api_type){.id = "customlist", .c_name = "custom_list", .openapi = xprintf("%s%s.%sList", openapi.data, version, kind), .is_kind = true, .is_list = true, .group = group, .version = version, .kind = custom->api.kind};
}

static const char *text(json_t *tree, const char *key) {
	const char *value = json_string_value(json_object_get(tree, key));
	return xstrdup(value ? value : "");
}

static const char *const *text_list(json_t *array) {
	const char **list = xcalloc(json_array_size(array) + 1, sizeof(*list));
	for (size_t i = 0; i < json_array_size(array); i++)
		list[i] = xstrdup(json_string_value(json_array_get(array, i)) ? json_string_value(json_array_get(array, i)) : "");
	return list;
}

static void make_columns(struct custom_resource *custom, json_t *given) {
	size_t count = json_array_size(given), total = count ? count + 1 : 2;
	struct api_column *columns = xcalloc(total, sizeof(*columns));
	custom->column_paths = xcalloc(total, sizeof(char *));
	columns[0] = (struct api_column){.name = "Name", .type = "string", .format = "name", .doc = "Name must be unique within a namespace."};
	for (size_t i = 0; i < count; i++) {
		json_t *c = json_array_get(given, i);
		const char *doc = json_string_value(json_object_get(c, "description"));
		columns[i + 1] = (struct api_column){.name = text(c, "name"), .type = text(c, "type"), .format = text(c, "format"), .priority = (int)json_integer_value(json_object_get(c, "priority"))};
		custom->column_paths[i + 1] = (char *)text(c, "jsonPath");
		columns[i + 1].doc = str_empty(doc) ? xprintf("Custom resource definition column (in JSONPath format): %s", custom->column_paths[i + 1]) : xstrdup(doc);
	}
	if (!count) {
		columns[1] = (struct api_column){.name = "Age", .type = "date", .format = "", .doc = "When the object was created."};
		custom->column_paths[1] = xstrdup(".metadata.creationTimestamp");
	}
	custom->api.columns = columns;
	custom->api.column_count = total;
}

static char *scale_path(json_t *scale, const char *key) {
	const char *path = json_string_value(json_object_get(scale, key));
	return path ? xstrdup(*path == '.' ? path + 1 : path) : NULL;
}

static void make_subresources(struct custom_resource *custom, json_t *given, const char *group, const char *version) {
	struct api_subresource *subs = xcalloc(2, sizeof(*subs));
	size_t count = 0;
	json_t *scale = json_object_get(given, "scale");
	uint32_t verbs = API_VERB_GET | API_VERB_PATCH | API_VERB_UPDATE;
	if (json_object_get(given, "status"))
		subs[count++] = (struct api_subresource){.name = "status", .kind = custom->api.kind, .group = group, .version = version, .type = &custom->type, .verbs = verbs};
	if (scale) {
		custom->scale_spec = scale_path(scale, "specReplicasPath");
		custom->scale_status = scale_path(scale, "statusReplicasPath");
		custom->scale_selector = scale_path(scale, "labelSelectorPath");
		subs[count++] = (struct api_subresource){.name = "scale", .kind = "Scale", .group = "autoscaling", .version = "v1", .type = &autoscaling_v1_scale_type, .verbs = verbs};
	}
	custom->api.subresources = subs;
	custom->api.subresource_count = count;
}

/* ---- selectable fields ---- */

/* What objects of a collection are indexed by. Lives as long as the collection; so do the labels of earlier definitions, which a write may be reading still. */
struct indexed {
	const char *const *labels;
	const char *const **earlier;
	size_t earlier_count;
};

static void index_fields(const char *json, size_t len, struct arena *arena, struct api_string_map *ret_fields, void *arg) {
	const struct indexed *indexed = arg;
	for (const char *const *labels = indexed->labels; labels && *labels; labels++) {
		char *value = json_text_string(arena, json, len, *labels);
		if (value)
			api_map_set(arena, ret_fields, *labels, value);
	}
}

/* What is indexed of an object: all that any version selects by, since the versions share one collection. */
static const char *const *selectable_of_all(struct custom_resource *const *versions, size_t count) {
	size_t cap = 1, len = 0;
	for (size_t i = 0; i < count; i++)
		for (const char *const *label = versions[i]->api.field_selectors; *label; label++)
			cap++;
	const char **labels = xcalloc(cap, sizeof(*labels));
	for (size_t i = 0; i < count; i++)
		for (const char *const *label = versions[i]->api.field_selectors; *label; label++) {
			bool known = false;
			for (size_t n = 0; n < len; n++)
				known |= strcmp(labels[n], *label) == 0;
			if (!known)
				labels[len++] = *label;
		}
	return labels;
}

static const char *const *selectable(json_t *version) {
	json_t *given = json_object_get(version, "selectableFields");
	const char **labels = xcalloc(json_array_size(given) + 3, sizeof(*labels));
	size_t count = 0;
	labels[count++] = "metadata.name";
	labels[count++] = "metadata.namespace";
	for (size_t i = 0; i < json_array_size(given); i++) {
		const char *path = json_string_value(json_object_get(json_array_get(given, i), "jsonPath"));
		if (path)
			labels[count++] = xstrdup(*path == '.' ? path + 1 : path);
	}
	return labels;
}

/* ---- deprecation ---- */

/* What is said to whoever uses a version that goes; NULL: it stays. The newest that does not is what to use. */
static char *deprecation(json_t *spec, json_t *version) {
	json_t *versions = json_object_get(spec, "versions");
	const char *told = json_string_value(json_object_get(version, "deprecationWarning")), *name = json_string_value(json_object_get(version, "name")), *best = NULL;
	const char *group = json_string_value(json_object_get(spec, "group")), *kind = json_string_value(json_path(spec, "names.kind"));
	if (!json_is_true(json_object_get(version, "deprecated")))
		return NULL;
	if (!str_empty(told))
		return xstrdup(told);
	for (size_t i = 0; i < json_array_size(versions); i++) {
		json_t *other = json_array_get(versions, i);
		const char *its = json_string_value(json_object_get(other, "name"));
		if (its && json_is_true(json_object_get(other, "served")) && !json_is_true(json_object_get(other, "deprecated")) && api_version_compare(its, best ? best : name) < 0)
			best = its;
	}
	return best ? xprintf("%s/%s %s is deprecated; use %s/%s %s", group, name, kind, group, best, kind) : xprintf("%s/%s %s is deprecated", group, name, kind);
}

/* ---- registration ---- */

static bool has_older_versions(json_t *crd, const char *storage) {
	size_t i;
	json_t *version;
	json_array_foreach(json_path(crd, "status.storedVersions"), i, version)
		if (!str_equal(json_string_value(version), storage))
			return true;
	return false;
}

static bool has_condition(json_t *status, const char *type) {
	size_t i;
	json_t *condition;
	json_array_foreach(json_object_get(status, "conditions"), i, condition)
		if (str_equal(json_string_value(json_object_get(condition, "type")), type))
			return str_equal(json_string_value(json_object_get(condition, "status")), "True");
	return false;
}

static struct custom_resource *make_custom(json_t *spec, json_t *names, json_t *version, const char *storage_version, struct conversion *conversion) {
	struct custom_resource *custom = xnew(struct custom_resource);
	custom->conversion = conversion;
	/* For good: whoever holds an object may come back to its descriptor. Only a changed definition makes new ones. */
	custom->older = every_custom;
	every_custom = custom;
	const char *group = text(spec, "group"), *name = text(version, "name"), *kind = text(names, "kind");
	json_t *schema = json_path(version, "schema.openAPIV3Schema");
	custom->schema = schema ? json_deep_copy(schema) : NULL;
	custom->has_defaults = schema_has_defaults(custom->schema);
	custom->rules = custom->schema ? rules_new(custom->schema) : NULL;
	custom->api = (struct api_resource){
		.group = group, .version = name, .plural = text(names, "plural"), .singular = text(names, "singular"), .kind = kind,
		.short_names = text_list(json_object_get(names, "shortNames")), .categories = text_list(json_object_get(names, "categories")),
		.namespaced = str_equal(json_string_value(json_object_get(spec, "scope")), "Namespaced"), .verbs = ALL_VERBS,
		.type = &custom->type, .list_type = &custom->list_type, .field_selectors = selectable(version),
		.storage_version = xprintf("%s/%s", group, storage_version),
	};
	make_type(custom, group, name, kind);
	const char *list_kind = json_string_value(json_object_get(names, "listKind"));
	custom->list_type.kind = str_empty(list_kind) ? xprintf("%sList", kind) : xstrdup(list_kind);
	make_columns(custom, json_object_get(version, "additionalPrinterColumns"));
	make_subresources(custom, json_object_get(version, "subresources"), group, name);
	custom->api.etcd_prefix = xprintf("%s/%s", group, custom->api.plural);
	struct strategy *strategy = xnew(struct strategy);
	*strategy = custom_strategy;
	strategy->deprecated = deprecation(spec, version);
	custom->resource = (struct resource){
		.api = &custom->api, .type = &custom->type, .storage_type = &custom->type, .strategy = strategy,
		.group_resource = xprintf("%s.%s", custom->api.plural, group), .etcd_prefix = custom->api.etcd_prefix, .custom = custom,
	};
	return custom;
}

static void index_by(struct indexed *indexed, const char *const *labels) {
	if (indexed->labels) {
		indexed->earlier = xreallocarray(indexed->earlier, indexed->earlier_count + 1, sizeof(*indexed->earlier));
		indexed->earlier[indexed->earlier_count++] = indexed->labels;
	}
	indexed->labels = labels;
}

/* Versions share one collection. */
static struct collection *open_collection(struct apiserver *server, const struct custom_resource *custom, const char *const *labels) {
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static struct map collections; /* etcd prefix -> struct indexed * */
	pthread_mutex_lock(&lock);
	if (!collections.cap)
		collections = MAP_INIT(NULL);
	struct indexed *indexed = map_get(&collections, custom->api.etcd_prefix);
	if (!indexed) {
		indexed = xnew(struct indexed);
		map_set(&collections, custom->api.etcd_prefix, indexed);
	}
	if (indexed->labels != labels)
		index_by(indexed, labels);
	pthread_mutex_unlock(&lock);
	struct collection *collection = store_collection(server->store, custom->api.etcd_prefix, custom->api.namespaced, index_fields, indexed);
	collection_set_names(collection, custom->api.group, custom->api.plural);
	return collection;
}

static void define(struct apiserver *server, json_t *crd) {
	json_t *spec = json_object_get(crd, "spec"), *versions = json_object_get(spec, "versions");
	const char *storage = "";
	json_t *status = json_object_get(crd, "status"), *names = json_object_get(status, "acceptedNames");
	struct conversion *conversion = conversion_new(json_object_get(spec, "conversion"));
	struct custom_resource *made[64];
	size_t count = 0;
	for (size_t i = 0; i < json_array_size(versions); i++)
		if (json_is_true(json_object_get(json_array_get(versions, i), "storage")))
			storage = json_string_value(json_object_get(json_array_get(versions, i), "name"));
	const struct api_type *storage_type = NULL;
	for (size_t i = 0; i < json_array_size(versions) && count < array_len(made); i++) {
		json_t *version = json_array_get(versions, i);
		struct custom_resource *custom = make_custom(spec, names, version, storage ? storage : "", conversion);
		custom->terminating = has_condition(status, "Terminating");
		custom->mixed = has_older_versions(crd, storage);
		if (str_equal(custom->api.version, storage))
			storage_type = &custom->type;
		if (json_is_true(json_object_get(version, "served")))
			made[count++] = custom;
		else
			registry_remove(server->registry, custom->api.group, custom->api.version, custom->api.plural);
	}
	const char *const *labels = count ? selectable_of_all(made, count) : NULL;
	for (size_t i = 0; i < count; i++) {
		if (storage_type)
			made[i]->resource.storage_type = storage_type;
		made[i]->resource.collection = open_collection(server, made[i], labels);
		registry_add(server->registry, &made[i]->resource);
	}
}

struct sweep {
	const char *group, *plural;
	json_t *versions; /* those that stay; NULL: none */
	struct apiserver *server;
	struct collection *collection;
};

static void sweep_one(const struct resource *resource, void *arg) {
	struct sweep *s = arg;
	if (!resource->custom || !str_equal(resource->api->group, s->group) || !str_equal(resource->api->plural, s->plural))
		return;
	s->collection = resource->collection;
	for (size_t i = 0; i < json_array_size(s->versions); i++)
		if (str_equal(json_string_value(json_object_get(json_array_get(s->versions, i), "name")), resource->api->version))
			return;
	registry_remove(s->server->registry, s->group, resource->api->version, s->plural);
}

/* `changed`: what an object is, is not what it was to those who follow: they begin anew. So do those of what is served no more; its objects have gone before. */
static void apply(struct apiserver *server, struct entry *entry, bool deleted, bool changed) {
	json_t *crd = json_loadb(entry->json->data, entry->json->len, 0, NULL);
	if (crd && (deleted || has_condition(json_object_get(crd, "status"), "Established"))) {
		struct sweep s = {.group = json_string_value(json_path(crd, "spec.group")), .plural = json_string_value(json_path(crd, "spec.names.plural")), .versions = deleted ? NULL : json_path(crd, "spec.versions"), .server = server};
		registry_each(server->registry, sweep_one, &s);
		if (!deleted)
			define(server, crd);
		if ((deleted || changed) && s.collection)
			collection_end_watches(s.collection);
	}
	json_decref(crd);
}

static bool same_text(struct entry *a, struct entry *b, const char *path) {
	size_t a_len = 0, b_len = 0;
	const char *x = json_text_find(a->json->data, a->json->len, path, &a_len), *y = json_text_find(b->json->data, b->json->len, path, &b_len);
	return x && y && a_len == b_len && memcmp(x, y, a_len) == 0;
}

static bool same_conditions(struct entry *a, struct entry *b) {
	static const char *const types[] = {"Established", "Terminating"};
	json_t *x = json_loadb(a->json->data, a->json->len, 0, NULL), *y = json_loadb(b->json->data, b->json->len, 0, NULL);
	bool same = true;
	for (size_t i = 0; i < array_len(types); i++)
		same &= has_condition(json_object_get(x, "status"), types[i]) == has_condition(json_object_get(y, "status"), types[i]);
	json_decref(x);
	json_decref(y);
	return same;
}

static bool defines_same(struct entry *a, struct entry *b) {
	return same_text(a, b, "spec") && same_text(a, b, "status.acceptedNames");
}

/* Whether what is served stays as it is. */
static bool serves_same(struct entry *a, struct entry *b) {
	return defines_same(a, b) && (same_text(a, b, "status") || (same_text(a, b, "status.storedVersions") && same_conditions(a, b)));
}

static void on_event(const struct store_event *event, void *arg) {
	if (event->type == STORE_BOOKMARK)
		return;
	if (event->type != STORE_MODIFIED || !event->previous || !serves_same(event->entry, event->previous))
		apply(arg, event->entry, event->type == STORE_DELETED, event->previous && !defines_same(event->entry, event->previous));
	aggregator_note_definitions(((struct apiserver *)arg)->aggregator);
	definitions_note(definitions, event->entry->key);
}

void custom_start(struct apiserver *server) {
	const struct resource *resource = registry_find(server->registry, "apiextensions.k8s.io", "v1", "customresourcedefinitions");
	definitions = definitions_start(server);
	for (;;) {
		autosnapshot struct snapshot *snapshot = collection_snapshot(resource->collection);
		for (size_t i = 0; i < snapshot->len; i++) {
			apply(server, snapshot_entry(snapshot, i), false, false);
			definitions_note(definitions, snapshot_entry(snapshot, i)->key);
		}
		if (collection_watch(resource->collection, snapshot->revision, on_event, server, &definitions_watch) == 0)
			return;
	}
}

void custom_stop(struct apiserver *server) {
	if (definitions_watch)
		store_watch_cancel(definitions_watch);
	definitions_watch = NULL;
	definitions_stop(take_ptr(definitions));
}

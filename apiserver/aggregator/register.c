/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The APIServices of what this server serves itself. Those of what is built in are brought up to date once, when a server starts ("onstart"): who changes or
 * deletes one later has it so until the next start. Those of custom resources follow their definitions ("true").
 */
#include "apiserver/aggregator/internal.h"
#include "api/apiregistration_v1.h"

#include <errno.h>

#define ON_START "onstart"
#define ALWAYS "true"
#define CUSTOM_GROUP_PRIORITY 1000
#define CUSTOM_VERSION_PRIORITY 100
#define OWN_METRICS "metrics.k8s.io"

typedef struct apiregistration_v1_api_service apiservice_t;

struct wish {
	const char *group, *version;
	bool custom;
};
struct wishes {
	struct map by_name; /* struct wish * */
	bool custom;        /* which of both sorts is collected */
};

void aggregator_default_priorities(const char *group, const char *version, bool custom, int32_t *ret_group, int32_t *ret_version) {
	*ret_group = CUSTOM_GROUP_PRIORITY;
	*ret_version = CUSTOM_VERSION_PRIORITY;
	for (size_t i = 0; !custom && i < api_group_count; i++) {
		if (strcmp(str_or(api_groups[i].name, ""), group) != 0)
			continue;
		for (size_t n = 0; api_groups[i].versions[n]; n++)
			if (strcmp(api_groups[i].versions[n], version) == 0) {
				*ret_group = api_groups[i].priority;
				*ret_version = api_groups[i].version_priorities[n];
			}
	}
}

static void collect(const struct resource *resource, void *arg) {
	struct wishes *w = arg;
	const char *group = resource_group(resource);
	/* The registrations themselves need none. */
	if ((resource->custom != NULL) != w->custom || strcmp(group, APISERVICES_GROUP) == 0)
		return;
	autofree char *name = xprintf("%s.%s", resource->api->version, group);
	if (map_has(&w->by_name, name))
		return;
	struct wish *wish = xnew(struct wish);
	/* Names of resources last: what was registered is never freed. */
	*wish = (struct wish){.group = group, .version = resource->api->version, .custom = w->custom};
	map_set(&w->by_name, name, wish);
}

static apiservice_t *make(const char *name, const struct wish *wish) {
	apiservice_t *object = api_new_of(apiregistration_v1_api_service);
	struct arena *arena = api_arena(object);
	object->metadata.name = arena_strdup(arena, name);
	api_map_set(arena, &object->metadata.labels, AUTOMANAGED, wish->custom ? ALWAYS : ON_START);
	object->spec.group = *wish->group ? arena_strdup(arena, wish->group) : NULL;
	object->spec.version = arena_strdup(arena, wish->version);
	aggregator_default_priorities(wish->group, wish->version, wish->custom, &object->spec.group_priority_minimum, &object->spec.version_priority);
	api_default(object);
	return object;
}

/* Lost races are seen as events, and looked at again. */
static int settle(int rc) {
	return rc == -EEXIST || rc == -ENOENT ? 0 : rc;
}

static int create(struct worker *worker, const struct resource *resource, const char *name, const struct wish *wish) {
	autounref apiservice_t *object = make(name, wish);
	worker_fill(resource, object);
	return settle(worker_put_object(worker, resource, object, 0));
}

static int update(struct worker *worker, const struct resource *resource, const struct wish *wish, const apiservice_t *there) {
	autounref apiservice_t *wanted = make(there->metadata.name, wish);
	/* Whoever brings a metrics server of their own keeps it. */
	if (there->spec.service && strcmp(wish->group, OWN_METRICS) == 0)
		return 0;
	if (api_field_equal(wanted, there, "spec"))
		return 0;
	autounref apiservice_t *copy = api_copy(there);
	api_field_copy(copy, wanted, "spec");
	return settle(worker_put_object(worker, resource, copy, worker_revision(there)));
}

static int bring(struct worker *worker, const struct resource *resource, const char *name, const struct wish *wish, const char *sort) {
	autounref apiservice_t *there = resource_read(resource, NULL, name);
	if (!there)
		return create(worker, resource, name, wish);
	return str_equal(api_map_get(&there->metadata.labels, AUTOMANAGED), sort) ? update(worker, resource, wish, there) : 0;
}

/* Those of the sort that nobody wishes for any more. */
static int sweep(struct worker *worker, const struct resource *resource, const struct wishes *w, const char *sort) {
	autosnapshot struct snapshot *snapshot = collection_snapshot(resource->collection);
	int rc = 0;
	for (size_t i = 0; i < snapshot->len && rc == 0; i++) {
		struct entry *entry = snapshot_entry(snapshot, i);
		if (str_equal(api_map_get(&entry->labels, AUTOMANAGED), sort) && !map_has(&w->by_name, entry->name))
			rc = settle(worker_delete(worker, resource->collection, entry->key, entry->resource_version));
	}
	return rc;
}

static int compare_names(const void *a, const void *b) {
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int fulfil(struct worker *worker, bool custom) {
	struct registry *registry = worker_server(worker)->registry;
	const struct resource *resource = registry_find(registry, APISERVICES_GROUP, "v1", "apiservices");
	struct wishes w = {.by_name = MAP_INIT(free), .custom = custom};
	const char *sort = custom ? ALWAYS : ON_START;
	registry_each(registry, collect, &w);
	const char **names = xcalloc(w.by_name.len + 1, sizeof(*names));
	size_t count = 0;
	struct map_entry *e;
	for (size_t i = 0; (e = map_next(&w.by_name, &i));)
		names[count++] = e->key;
	qsort(names, count, sizeof(*names), compare_names);
	int rc = 0;
	for (size_t i = 0; i < count && rc == 0; i++)
		rc = bring(worker, resource, names[i], map_get(&w.by_name, names[i]), sort);
	if (rc == 0)
		rc = sweep(worker, resource, &w, sort);
	free(names);
	map_done(&w.by_name);
	return rc;
}

int aggregator_register(struct worker *worker) {
	return fulfil(worker, false);
}

int register_definitions(struct worker *worker) {
	return fulfil(worker, true);
}

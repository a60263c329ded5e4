/* SPDX-License-Identifier: Apache-2.0 */
/* What the graph learns from caches that other controllers need anyway. */
#include "controller-manager/gc/gc.h"

#include "api/meta_v1.h"

static bool refs_equal(const struct meta_v1_object_meta *a, const struct meta_v1_object_meta *b)
{
	if (a->owner_references.len != b->owner_references.len || a->finalizers.len != b->finalizers.len)
		return false;
	for (uint32_t i = 0; i < a->owner_references.len; i++)
		if (!api_equal(&meta_v1_owner_reference_type, &a->owner_references.items[i], &b->owner_references.items[i]))
			return false;
	for (uint32_t i = 0; i < a->finalizers.len; i++)
		if (!str_equal(a->finalizers.items[i], b->finalizers.items[i]))
			return false;
	return true;
}

/* Of all that changes about an object, ownership changes least. */
static bool matters(const void *old_object, const void *object)
{
	const struct meta_v1_object_meta *a = api_metadata(old_object), *b = api_metadata(object);
	return !str_equal(a->uid, b->uid) || a->deletion_timestamp.set != b->deletion_timestamp.set || !refs_equal(a, b);
}

static const struct fed *fed_of(const struct gc *gc, const void *object)
{
	for (size_t i = 0; i < gc->fed_count; i++)
		if (gc->fed[i].type == api_type_of(object))
			return &gc->fed[i];
	return NULL;
}

static void observe(struct reconciler *r, const void *object)
{
	struct gc *gc = r->state;
	const struct fed *fed = fed_of(gc, object);
	gc->r = r; /* the same at each call; caches tell before the controller is started */
	if (fed)
		graph_observe_object(gc, fed->resource, object);
}

static void forget(struct reconciler *r, const void *object)
{
	struct gc *gc = r->state;
	gc->r = r;
	graph_forget(gc, api_metadata(object)->uid);
}

#define FED(cache) {.what = (cache), .wake = observe, .gone = forget, .matters = matters, .latest_only = true}
const struct controller_watch gc_watches[] = {
	FED(CACHED_PODS), FED(CACHED_NODES), FED(CACHED_SERVICES), FED(CACHED_ENDPOINTS), FED(CACHED_ENDPOINT_SLICES), FED(CACHED_REPLICATION_CONTROLLERS),
	FED(CACHED_SERVICE_ACCOUNTS), FED(CACHED_SECRETS), FED(CACHED_CONFIG_MAPS), FED(CACHED_RESOURCE_QUOTAS), FED(CACHED_PERSISTENT_VOLUMES),
	FED(CACHED_PERSISTENT_VOLUME_CLAIMS), FED(CACHED_DEPLOYMENTS), FED(CACHED_REPLICA_SETS), FED(CACHED_STATEFUL_SETS), FED(CACHED_DAEMON_SETS),
	FED(CACHED_CONTROLLER_REVISIONS), FED(CACHED_JOBS), FED(CACHED_CRON_JOBS), FED(CACHED_LEASES), FED(CACHED_POD_DISRUPTION_BUDGETS),
	{.what = CACHED_NONE},
};

void sources_init(struct gc *gc)
{
	for (const struct controller_watch *watch = gc_watches; watch->what != CACHED_NONE; watch++) {
		const struct api_resource *api = cached_resource(watch->what);
		const struct informer_options *options = cached_options(watch->what);
		const struct discovered resource = {(char *)api->group, (char *)api->version, (char *)api->plural, (char *)api->kind, api->namespaced, api->verbs};
		gc->fed[gc->fed_count++] = (struct fed){gc_keep_resource(gc, &resource), api->type, options ? options->ns : NULL, watch->what};
	}
}

bool sources_feed(const struct gc *gc, const struct discovered *resource, const char **ret_ns)
{
	for (size_t i = 0; i < gc->fed_count; i++)
		if (gc->fed[i].resource == resource) {
			*ret_ns = gc->fed[i].ns;
			return true;
		}
	return false;
}

void *sources_find(struct gc *gc, const struct gc_node *node)
{
	for (size_t i = 0; i < gc->fed_count; i++) {
		if (gc->fed[i].resource != node->resource || (gc->fed[i].ns && !str_equal(gc->fed[i].ns, node->ns)))
			continue;
		autounref void *object = world_find(gc->r->world, gc->fed[i].what, str_empty(node->ns) ? NULL : node->ns, node->name);
		return object && str_equal(api_metadata(object)->uid, node->uid) ? take_ptr(object) : NULL;
	}
	return NULL;
}

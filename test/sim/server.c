/* SPDX-License-Identifier: Apache-2.0 */
/* The API server in memory: what of its behaviour controllers depend on. Writes take effect at once, one after another. */
#include "test/sim/sim.h"

#include "common/api/codec.h"

#include <errno.h>
#include <stdio.h>

#define ORPHAN "orphan"
#define FOREGROUND "foregroundDeletion"
#define KUBERNETES "kubernetes"
#define PVC_PROTECTION "kubernetes.io/pvc-protection"
#define DEFAULT_GRACE_S 30

struct server server;
static uint8_t collection_by_cache[CACHED_COUNT];

struct collection *collection_for(enum cached what)
{
	return &server.collections[collection_by_cache[what]];
}

struct collection *collection_of(const struct api_resource *resource)
{
	for (size_t i = 0; i < server.count; i++)
		if (server.collections[i].resource == resource)
			return &server.collections[i];
	return NULL;
}

void server_start(void)
{
	server = (struct server){.version = 1};
	for (int what = CACHED_NONE + 1; what < CACHED_COUNT; what++) {
		const struct api_resource *resource = cached_resource(what);
		struct collection *c = collection_of(resource);
		if (!c) {
			c = &server.collections[server.count++];
			*c = (struct collection){.resource = resource, .what = what};
		}
		/* Where several caches show parts of one collection, the one without options shows all. */
		if (!cached_options(what))
			c->what = what;
		collection_by_cache[what] = (uint8_t)(c - server.collections);
	}
}

void collection_trim(struct collection *c, size_t before)
{
	size_t drop = before > c->first ? min_of(before - c->first, c->len) : 0;
	if (drop < 256)
		return;
	for (size_t i = 0; i < drop; i++)
		api_unref(c->changes[i].object);
	memmove(c->changes, c->changes + drop, (c->len - drop) * sizeof(c->changes[0]));
	c->first += drop;
	c->len -= drop;
}

void server_done(void)
{
	for (size_t i = 0; i < server.count; i++) {
		struct collection *c = &server.collections[i];
		for (size_t j = 0; j < c->len; j++)
			api_unref(c->changes[j].object);
		free(c->changes);
		table_done(&c->objects);
	}
}

/* ---- parts of objects ---- */

static struct meta_v1_object_meta *meta_of(const void *object)
{
	return api_metadata(object);
}

/* A field of the root that is a struct in place ("spec", "status"); NULL where the kind has none. */
static const struct api_field *part(const void *object, const char *name, void **ret_value)
{
	size_t offset;
	const struct api_field *field = api_field_find(api_type_of(object), name, strlen(name), &offset);
	if (!field || field->kind != API_STRUCT || field->shape != API_SINGLE || (field->flags & API_FIELD_POINTER))
		return NULL;
	*ret_value = (char *)(uintptr_t)object + offset + field->offset;
	return field;
}

static void copy_part(void *to, const void *from, const char *name)
{
	void *dst, *src;
	const struct api_field *field = part(to, name, &dst);
	if (!field || !part(from, name, &src))
		return;
	memset(dst, 0, field->type->size);
	api_copy_value(field->type, dst, src, api_arena(to));
}

static bool same_part(const void *a, const void *b, const char *name)
{
	void *left, *right;
	const struct api_field *field = part(a, name, &left);
	return !field || !part(b, name, &right) || api_equal(field->type, left, right);
}

static void set_finalizer(struct meta_v1_object_meta *meta, struct arena *arena, const char *name, bool wanted)
{
	for (uint32_t i = 0; i < meta->finalizers.len;) {
		if (str_equal(meta->finalizers.items[i], name))
			api_list_remove(&meta->finalizers, i);
		else
			i++;
	}
	if (wanted)
		api_string_list_add(arena, &meta->finalizers, name);
}

/* ---- storing ---- */

static void note_change(struct collection *c, int type, void *take_object)
{
	if (c->len == c->cap) {
		c->cap = max_of(c->cap * 2, (size_t)64);
		c->changes = xreallocarray(c->changes, c->cap, sizeof(c->changes[0]));
	}
	c->changes[c->len++] = (struct change){server.version, type, take_object};
}

static void stamp(void *object)
{
	meta_of(object)->resource_version = arena_printf(api_arena(object), "%llu", (unsigned long long)++server.version);
}

static void put(struct collection *c, void *take_object)
{
	char key[KEY_SIZE];
	key_of(meta_of(take_object)->namespace, meta_of(take_object)->name, key);
	void *held = table_get(&c->objects, key);
	autounref void *old = held ? api_ref(held) : NULL;
	stamp(take_object);
	table_set(&c->objects, key, take_object);
	note_change(c, old ? CHANGE_MODIFIED : CHANGE_ADDED, take_object);
	sim.writes++;
	checks_on_change(c->what, old, take_object);
}

static void drop(struct collection *c, const void *last)
{
	char key[KEY_SIZE];
	key_of(meta_of(last)->namespace, meta_of(last)->name, key);
	void *copy = api_copy(last);
	stamp(copy);
	table_set(&c->objects, key, NULL);
	note_change(c, CHANGE_DELETED, copy);
	sim.writes++;
	checks_on_change(c->what, copy, NULL);
}

static bool is_to_vanish(const void *object)
{
	const struct meta_v1_object_meta *meta = meta_of(object);
	if (!meta->deletion_timestamp.set || meta->finalizers.len || (meta->deletion_grace_period_seconds && *meta->deletion_grace_period_seconds))
		return false;
	return api_type_of(object) != &core_v1_namespace_type || !((const struct core_v1_namespace *)object)->spec.finalizers.len;
}

static int not_found(const struct collection *c, const char *name, struct error *err)
{
	return error_status(err, 404, "NotFound", "%s \"%s\" not found", c->resource->plural, name);
}

static void *find(struct collection *c, const char *ns, const char *name)
{
	char key[KEY_SIZE];
	return table_get(&c->objects, key_of(ns, name, key));
}

void *server_find(enum cached what, const char *ns, const char *name)
{
	return find(collection_for(what), ns, name);
}

int server_get(struct collection *c, const char *ns, const char *name, void **ret, struct error *err)
{
	void *found = find(c, ns, name);
	if (!found)
		return not_found(c, name, err);
	*ret = api_ref(found);
	return 0;
}

/* ---- create ---- */

static int check_namespace(const char *ns, struct error *err)
{
	const struct core_v1_namespace *namespace = server_find(CACHED_NAMESPACES, NULL, ns);
	if (!namespace)
		return error_status(err, 404, "NotFound", "namespaces \"%s\" not found", ns);
	if (!namespace->metadata.deletion_timestamp.set)
		return 0;
	int r = error_status(err, 403, "Forbidden", "namespace %s is being terminated", ns);
	error_cause(err, META_V1_CAUSE_TYPE_NAMESPACE_TERMINATING, "metadata.namespace", "namespace %s is being terminated", ns);
	return r;
}

static void prepare_job(struct batch_v1_job *job)
{
	struct arena *arena = api_arena(job);
	struct api_string_map *labels = &job->spec.template.metadata.labels;
	api_map_set(arena, labels, "batch.kubernetes.io/controller-uid", job->metadata.uid);
	api_map_set(arena, labels, "batch.kubernetes.io/job-name", job->metadata.name);
	if (!job->spec.selector)
		job->spec.selector = arena_new_type(arena, struct meta_v1_label_selector);
	api_map_set(arena, &job->spec.selector->match_labels, "batch.kubernetes.io/controller-uid", job->metadata.uid);
}

/* What a kind's strategy does to an object before it is stored. */
static void prepare(void *object)
{
	const struct api_type *type = api_type_of(object);
	struct arena *arena = api_arena(object);
	struct meta_v1_object_meta *meta = meta_of(object);
	void *status;
	const struct api_field *field = part(object, "status", &status);
	if (field && type != &core_v1_node_type)
		memset(status, 0, field->type->size);
	meta->uid = arena_printf(arena, "%08llu-%s", (unsigned long long)++server.uids, meta->name);
	meta->creation_timestamp = api_time_now();
	meta->deletion_timestamp = (struct api_time){0};
	meta->deletion_grace_period_seconds = NULL;
	void *spec;
	meta->generation = part(object, "spec", &spec) ? 1 : 0;
	if (type == &batch_v1_job_type)
		prepare_job(object);
	if (type == &core_v1_pod_type)
		((struct core_v1_pod *)object)->status.phase = CORE_V1_POD_PHASE_PENDING;
	if (type == &core_v1_persistent_volume_claim_type)
		set_finalizer(meta, arena, PVC_PROTECTION, true);
	if (type == &core_v1_namespace_type) {
		struct core_v1_namespace *namespace = object;
		namespace->spec.finalizers = (struct api_string_list){0};
		api_string_list_add(arena, &namespace->spec.finalizers, KUBERNETES);
		namespace->status.phase = CORE_V1_NAMESPACE_PHASE_ACTIVE;
	}
}

/* Whether one more of this resource counts under this name of a quota. */
static bool counts_as(const struct api_resource *resource, const char *name)
{
	char full[300];
	snprintf(full, sizeof(full), "count/%s%s%s", resource->plural, *resource->group ? "." : "", resource->group);
	return str_equal(name, full) || (!*resource->group && str_equal(name, resource->plural));
}

static int charge_quota(const struct collection *c, const void *object, const struct core_v1_resource_quota *quota, struct error *err)
{
	autounref struct core_v1_resource_quota *charged = api_copy(quota);
	bool counts = false;
	for (uint32_t i = 0; i < quota->spec.hard.len; i++) {
		const char *name = quota->spec.hard.items[i].key;
		if (!counts_as(c->resource, name))
			continue;
		const struct quantity *hard = api_quantity_get(&charged->status.hard, name), *used = api_quantity_get(&charged->status.used, name);
		struct quantity total = quantity_of(1, QUANTITY_DECIMAL_SI);
		if (!hard || !used)
			return error_status(err, 403, "Forbidden", "status unknown for quota: %s, resources: %s", quota->metadata.name, name);
		quantity_add(&total, used);
		if (quantity_compare(&total, hard) > 0)
			return error_status(err, 403, "Forbidden", "exceeded quota: %s", quota->metadata.name);
		api_quantity_set(api_arena(charged), &charged->status.used, name, total);
		counts = true;
	}
	if (counts)
		put(collection_for(CACHED_RESOURCE_QUOTAS), take_ptr(charged));
	return 0;
}

static int charge_quotas(const struct collection *c, const void *object, bool *ret_charged, struct error *err)
{
	const struct table *quotas = &collection_for(CACHED_RESOURCE_QUOTAS)->objects;
	uint64_t before = server.version;
	for (size_t i = 0; i < quotas->len; i++) {
		const struct core_v1_resource_quota *quota = quotas->items[i].object;
		if (!str_equal(quota->metadata.namespace, meta_of(object)->namespace))
			continue;
		int r = charge_quota(c, object, quota, err);
		if (r)
			return r;
	}
	*ret_charged = server.version != before;
	return 0;
}

int server_create(struct collection *c, const char *ns, const void *object, void **ret, struct error *err)
{
	autounref void *copy = api_copy(object);
	struct arena *arena = api_arena(copy);
	struct meta_v1_object_meta *meta = meta_of(copy);
	bool charged = false;
	int r = c->resource->namespaced ? check_namespace(ns, err) : 0;
	if (r)
		return r;
	meta->namespace = c->resource->namespaced ? arena_strdup(arena, ns) : NULL;
	if (str_empty(meta->name))
		meta->name = arena_printf(arena, "%s%05llx", meta->generate_name, (unsigned long long)sim_random(1 << 20));
	if (find(c, ns, meta->name))
		return error_status(err, 409, "AlreadyExists", "%s \"%s\" already exists", c->resource->plural, meta->name);
	api_default(copy);
	prepare(copy);
	r = c->resource->namespaced ? charge_quotas(c, copy, &charged, err) : 0;
	if (!r && charged && server.between && !server.between())
		return error_set(err, ECONNRESET, "the server died");
	r = r ? r : c->resource->namespaced ? check_namespace(ns, err) : 0;
	if (!r && find(c, ns, meta->name))
		r = error_status(err, 409, "AlreadyExists", "%s \"%s\" already exists", c->resource->plural, meta->name);
	if (r)
		return r;
	if (ret)
		*ret = api_ref(copy);
	put(c, take_ptr(copy));
	return 0;
}

/* ---- update ---- */

static void keep_metadata(void *object, const void *live)
{
	struct meta_v1_object_meta *meta = meta_of(object);
	const struct meta_v1_object_meta *old = meta_of(live);
	struct arena *arena = api_arena(object);
	meta->uid = arena_strdup(arena, old->uid);
	meta->resource_version = arena_strdup(arena, old->resource_version);
	meta->namespace = old->namespace ? arena_strdup(arena, old->namespace) : NULL;
	meta->generate_name = old->generate_name ? arena_strdup(arena, old->generate_name) : NULL;
	meta->creation_timestamp = old->creation_timestamp;
	meta->deletion_timestamp = old->deletion_timestamp;
	meta->deletion_grace_period_seconds = old->deletion_grace_period_seconds ? api_int64(arena, *old->deletion_grace_period_seconds) : NULL;
	meta->generation = old->generation;
}

static bool adds_finalizer(const struct meta_v1_object_meta *meta, const struct meta_v1_object_meta *old)
{
	for (uint32_t i = 0; i < meta->finalizers.len; i++)
		if (!api_string_list_has(&old->finalizers, meta->finalizers.items[i]))
			return true;
	return false;
}

/* The object that an update makes of the live one, a new reference. */
static void *merge(const void *live, const void *with, const char *subresource)
{
	void *merged;
	if (str_equal(subresource, "status")) {
		merged = api_copy(live);
		copy_part(merged, with, "status");
		/* As the API server has it, where a Deployment keeps only its labels and spec. */
		if (api_type_of(live) == &apps_v1_deployment_type) {
			const struct api_string_map *from = &api_metadata(with)->annotations;
			meta_of(merged)->annotations = (struct api_string_map){0};
			for (uint32_t i = 0; i < from->len; i++)
				api_map_set(api_arena(merged), &meta_of(merged)->annotations, from->items[i].key, from->items[i].value);
		}
	} else if (str_equal(subresource, "finalize")) {
		merged = api_copy(live);
		copy_part(merged, with, "spec");
	} else {
		merged = api_copy(with);
		copy_part(merged, live, "status");
		keep_metadata(merged, live);
		if (!same_part(merged, live, "spec"))
			meta_of(merged)->generation++;
	}
	return merged;
}

int server_update(struct collection *c, const char *ns, const char *name, const char *subresource, const void *object, void **ret, struct error *err)
{
	const void *live = find(c, ns, name);
	const struct meta_v1_object_meta *meta = meta_of(object);
	void *status;
	if (!live || (str_equal(subresource, "status") && !part(live, "status", &status)))
		return not_found(c, name, err);
	const struct meta_v1_object_meta *old = meta_of(live);
	if (!str_empty(meta->uid) && !str_equal(meta->uid, old->uid))
		return error_status(err, 409, "Conflict", "%s \"%s\": uid mismatch", c->resource->plural, name);
	if (!str_empty(meta->resource_version) && !str_equal(meta->resource_version, old->resource_version))
		return error_status(err, 409, "Conflict", "%s \"%s\" has been modified", c->resource->plural, name);
	autounref void *merged = merge(live, object, subresource);
	if (old->deletion_timestamp.set && adds_finalizer(meta_of(merged), old))
		return error_status(err, 422, "Invalid", "no new finalizers can be added if the object is being deleted");
	if (ret)
		*ret = api_ref(merged);
	if (is_to_vanish(merged))
		drop(c, merged);
	else if (!api_equal(api_type_of(merged), merged, live))
		put(c, take_ptr(merged));
	return 0;
}

static void merge_json(json_t *into, json_t *patch)
{
	const char *key;
	json_t *value;
	json_object_foreach(patch, key, value) {
		if (json_is_null(value))
			json_object_del(into, key);
		else if (json_is_object(value) && json_is_object(json_object_get(into, key)))
			merge_json(json_object_get(into, key), value);
		else
			json_object_set(into, key, value);
	}
}

int server_patch(struct collection *c, const char *ns, const char *name, const char *subresource, json_t *patch, void **ret, struct error *err)
{
	const void *live = find(c, ns, name);
	if (!live)
		return not_found(c, name, err);
	json_t *tree = api_to_json(api_type_of(live), live);
	merge_json(tree, patch);
	autounref void *patched = NULL;
	int r = api_from_json(api_type_of(live), tree, NULL, &patched, err);
	json_decref(tree);
	if (r)
		return r;
	api_default(patched);
	return server_update(c, ns, name, subresource, patched, ret, err);
}

/* ---- delete ---- */

static void set_policy(const struct collection *c, void *object, const char *propagation)
{
	struct meta_v1_object_meta *meta = meta_of(object);
	bool orphan = api_string_list_has(&meta->finalizers, ORPHAN), foreground = api_string_list_has(&meta->finalizers, FOREGROUND);
	if (!str_empty(propagation)) {
		orphan = str_equal(propagation, "Orphan");
		foreground = str_equal(propagation, "Foreground");
	} else if (!orphan && !foreground) {
		orphan = c->what == CACHED_JOBS || c->what == CACHED_REPLICATION_CONTROLLERS;
	}
	set_finalizer(meta, api_arena(object), ORPHAN, orphan);
	set_finalizer(meta, api_arena(object), FOREGROUND, foreground);
}

static int64_t grace_of(const struct core_v1_pod *pod, const struct client_delete_options *options)
{
	if (str_empty(pod->spec.node_name) || pod_is_terminal(pod))
		return 0;
	if (options->grace_period_seconds >= 0)
		return options->grace_period_seconds;
	return pod->spec.termination_grace_period_seconds ? *pod->spec.termination_grace_period_seconds : DEFAULT_GRACE_S;
}

static void mark_deleted(void *object, int64_t grace)
{
	struct meta_v1_object_meta *meta = meta_of(object);
	int64_t *old = meta->deletion_grace_period_seconds;
	if (meta->deletion_timestamp.set && (!old || grace >= *old))
		return;
	if (!meta->deletion_timestamp.set && meta->generation)
		meta->generation++;
	meta->deletion_timestamp = api_time_now();
	meta->deletion_timestamp.t.sec += grace;
	meta->deletion_grace_period_seconds = api_int64(api_arena(object), grace);
}

int server_delete(struct collection *c, const char *ns, const char *name, const struct client_delete_options *options, struct error *err)
{
	const void *live = find(c, ns, name);
	if (!live)
		return not_found(c, name, err);
	if (options->uid && !str_equal(options->uid, meta_of(live)->uid))
		return error_status(err, 409, "Conflict", "the UID in the precondition (%s) does not match", options->uid);
	if (options->resource_version && !str_equal(options->resource_version, meta_of(live)->resource_version))
		return error_status(err, 409, "Conflict", "the resourceVersion in the precondition does not match");
	checks_on_delete_request(c->what, live, options);
	autounref void *copy = api_copy(live);
	set_policy(c, copy, options->propagation);
	mark_deleted(copy, c->what == CACHED_PODS ? grace_of(copy, options) : 0);
	if (c->what == CACHED_NAMESPACES)
		((struct core_v1_namespace *)copy)->status.phase = CORE_V1_NAMESPACE_PHASE_TERMINATING;
	if (is_to_vanish(copy))
		drop(c, copy);
	else if (!api_equal(api_type_of(copy), copy, live))
		put(c, take_ptr(copy));
	return 0;
}

/* ---- eviction ---- */

static bool budget_covers(const struct policy_v1_pod_disruption_budget *pdb, const struct core_v1_pod *pod)
{
	struct selector *selector = NULL;
	bool covers = str_equal(pdb->metadata.namespace, pod->metadata.namespace) && label_selector_from(pdb->spec.selector, &selector, NULL) == 0 &&
		      selector_matches_labels(selector, &pod->metadata.labels);
	selector_free(selector);
	return covers;
}

int server_evict(const char *ns, const char *name, struct error *err)
{
	struct collection *budgets = collection_for(CACHED_POD_DISRUPTION_BUDGETS);
	const struct core_v1_pod *pod = server_find(CACHED_PODS, ns, name);
	struct client_delete_options options = CLIENT_DELETE_OPTIONS_INIT;
	if (!pod)
		return not_found(collection_for(CACHED_PODS), name, err);
	for (size_t i = 0; i < budgets->objects.len; i++) {
		const struct policy_v1_pod_disruption_budget *pdb = budgets->objects.items[i].object;
		if (!budget_covers(pdb, pod) || pod_is_terminal(pod) || !pod_is_ready(pod))
			continue;
		if (pdb->status.observed_generation < pdb->metadata.generation || pdb->status.disruptions_allowed <= 0)
			return error_status(err, 429, "TooManyRequests", "cannot evict pod as it would violate the pod's disruption budget");
		struct policy_v1_pod_disruption_budget *copy = api_copy(pdb);
		copy->status.disruptions_allowed--;
		struct api_time_map_entry *entry = api_map_insert(api_arena(copy), &copy->status.disrupted_pods, sizeof(*entry), name);
		entry->value = api_time_now();
		put(budgets, copy);
		break;
	}
	return server_delete(collection_for(CACHED_PODS), ns, name, &options, err);
}

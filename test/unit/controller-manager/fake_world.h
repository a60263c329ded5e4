/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A world in memory for tests of controllers: an API server with resource versions, generations, conflicts, generated names, finalizers and
 * graceful pods, whose cache may be held back. Included by tests; everything is static.
 */
#ifndef CORACLE_TEST_FAKE_WORLD_H
#define CORACLE_TEST_FAKE_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/random.h"
#include "controller-manager/controller.h"
#include "controller-manager/shared/owners.h"
#include "controller-manager/shared/pods.h"

#include "api/apps_v1.h"
#include "api/batch_v1.h"
#include "api/core_v1.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

struct fake_object {
	enum cached what;
	void *live;   /* what the server holds; NULL: deleted */
	void *seen;   /* what the cache shows; NULL: not there */
};

struct fake_world {
	struct world world; /* first */
	struct settings settings;
	pthread_mutex_t lock;
	struct fake_object objects[20000];
	size_t count;
	uint64_t version, seen_version;
	bool stale;          /* the cache is not brought up to date by writes: fake_catch_up() does */
	bool graceful_pods;  /* deleted pods stay until fake_finish_pods() */
	struct buf log;      /* one line a write or event */
	size_t writes, next_name;
	/* Called before each write; returns non-zero to make it fail. */
	int (*fault)(struct fake_world *w, const struct write *write, struct error *err);
	/* Answers raw requests; NULL: there are none in this world. */
	int (*request)(struct fake_world *w, const struct client_request *request, struct buf *body, struct error *err);
	uint64_t random;     /* state of fake_random */
};

static struct fake_world fake;

unused static uint64_t fake_random(uint64_t bound)
{
	fake.random ^= fake.random << 13;
	fake.random ^= fake.random >> 7;
	fake.random ^= fake.random << 17;
	return fake.random % bound;
}

static struct meta_v1_object_meta *meta_of(const void *object)
{
	return api_metadata(object);
}

static bool same_name(const void *object, const char *ns, const char *name)
{
	return object && str_equal(meta_of(object)->name, name) && str_equal(meta_of(object)->namespace, ns);
}

static enum cached what_of(const struct api_resource *resource)
{
	for (int what = CACHED_NONE + 1; what < CACHED_COUNT; what++)
		if (cached_resource(what) == resource)
			return what;
	return CACHED_NONE;
}

/* Several caches may show parts of one resource: here they are one. */
static enum cached fake_what(enum cached what)
{
	return what_of(cached_resource(what));
}

static struct fake_object *fake_slot(enum cached what, const char *ns, const char *name)
{
	what = fake_what(what);
	for (size_t i = 0; i < fake.count; i++)
		if (fake.objects[i].what == what && same_name(fake.objects[i].live, ns, name))
			return &fake.objects[i];
	return NULL;
}

static void fake_show(struct fake_object *slot)
{
	api_unref(slot->seen);
	slot->seen = slot->live ? api_ref(slot->live) : NULL;
}

unused static void fake_catch_up(void)
{
	for (size_t i = 0; i < fake.count; i++)
		fake_show(&fake.objects[i]);
	fake.seen_version = fake.version;
}

static void *fake_find(struct world *world, enum cached what, const char *ns, const char *name)
{
	void *found = NULL;
	what = fake_what(what);
	pthread_mutex_lock(&fake.lock);
	for (size_t i = 0; i < fake.count && !found; i++)
		if (fake.objects[i].what == what && same_name(fake.objects[i].seen, ns, name))
			found = api_ref(fake.objects[i].seen);
	pthread_mutex_unlock(&fake.lock);
	return found;
}

struct index_match {
	const char *value;
	bool found;
};

static void match_index(const char *value, void *arg)
{
	struct index_match *match = arg;
	match->found |= str_equal(value, match->value);
}

static bool in_index(const void *object, const char *index, const char *value)
{
	struct index_match match = {.value = value};
	if (!index)
		return true;
	if (str_equal(index, INFORMER_INDEX_NAMESPACE))
		return str_equal(meta_of(object)->namespace, value);
	if (str_equal(index, INDEX_OWNER))
		index_owner(object, match_index, &match);
	else if (str_equal(index, INDEX_NODE))
		informer_index_pod_node(object, match_index, &match);
	else if (str_equal(index, INDEX_SERVICE))
		index_service(object, match_index, &match);
	else if (str_equal(index, INDEX_CLAIM))
		index_claims(object, match_index, &match);
	else if (str_equal(index, INDEX_POOL))
		index_pools(object, match_index, &match);
	else
		fail_msg("unknown index %s", index);
	return match.found;
}

static void fake_list(struct world *world, enum cached what, const char *index, const char *value, struct informer_list *ret)
{
	what = fake_what(what);
	pthread_mutex_lock(&fake.lock);
	for (size_t i = 0; i < fake.count; i++)
		if (fake.objects[i].what == what && fake.objects[i].seen && in_index(fake.objects[i].seen, index, value))
			informer_list_add(ret, api_ref(fake.objects[i].seen));
	pthread_mutex_unlock(&fake.lock);
}

static uint64_t fake_version(struct world *world, enum cached what)
{
	return fake.stale ? fake.seen_version : fake.version;
}

static int fake_not_found(const char *name, struct error *err)
{
	return error_status(err, 404, "NotFound", "\"%s\" not found", name);
}

static int fake_get(struct world *world, const struct api_resource *resource, const char *ns, const char *name, void **ret, struct error *err)
{
	pthread_mutex_lock(&fake.lock);
	struct fake_object *slot = fake_slot(what_of(resource), ns, name);
	void *found = slot ? api_ref(slot->live) : NULL;
	pthread_mutex_unlock(&fake.lock);
	if (!found)
		return fake_not_found(name, err);
	*ret = found;
	return 0;
}

/* ---- the server's side of writes ---- */

static void fake_store(struct fake_object *slot, void *take_object)
{
	struct meta_v1_object_meta *meta = meta_of(take_object);
	meta->resource_version = arena_printf(api_arena(take_object), "%llu", (unsigned long long)++fake.version);
	api_unref(slot->live);
	slot->live = take_object;
	if (!fake.stale)
		fake_show(slot);
}

static struct fake_object *fake_new_slot(enum cached what)
{
	assert_true(fake.count < array_len(fake.objects));
	struct fake_object *slot = &fake.objects[fake.count++];
	*slot = (struct fake_object){.what = what};
	return slot;
}

static int fake_create(const struct write *write, void **ret, struct error *err)
{
	enum cached what = what_of(write->resource);
	void *object = api_copy(write->object);
	struct arena *arena = api_arena(object);
	struct meta_v1_object_meta *meta = meta_of(object);
	if (str_empty(meta->name))
		meta->name = arena_printf(arena, "%s%05zu", meta->generate_name, fake.next_name++);
	if (fake_slot(what, meta->namespace, meta->name)) {
		int r = error_status(err, 409, "AlreadyExists", "\"%s\" already exists", meta->name);
		api_unref(object);
		return r;
	}
	meta->uid = arena_printf(arena, "uid-%s-%zu", meta->name, fake.next_name++);
	meta->creation_timestamp = api_time_now();
	meta->generation = 1;
	fake_store(fake_new_slot(what), object);
	if (ret)
		*ret = api_ref(object);
	return 0;
}

static void fake_remove(struct fake_object *slot)
{
	fake.version++;
	api_unref(slot->live);
	slot->live = NULL;
	if (!fake.stale)
		fake_show(slot);
}

/* The parts of `with` that a write of this kind may change, over the live object. */
static void *fake_merge(const void *live, const void *with, bool status, struct error *err)
{
	void *result = NULL;
	json_t *old = api_to_json(api_type_of(live), live), *new = api_to_json(api_type_of(with), with);
	json_t *kept = status ? old : new, *other = status ? new : old;
	bool spec_changed = !status && !json_equal(json_object_get(old, "spec"), json_object_get(new, "spec"));
	if (json_object_get(other, "status"))
		json_object_set(kept, "status", json_object_get(other, "status"));
	else
		json_object_del(kept, "status");
	/* A write of its status may change a Deployment's annotations. */
	if (status && str_equal(json_string_value(json_object_get(old, "kind")), "Deployment")) {
		json_t *annotations = json_object_get(json_object_get(new, "metadata"), "annotations");
		if (annotations)
			json_object_set(json_object_get(kept, "metadata"), "annotations", annotations);
	}
	assert_int_equal(api_from_json(api_type_of(live), kept, NULL, &result, err), 0);
	meta_of(result)->generation = meta_of(live)->generation + spec_changed;
	json_decref(old);
	json_decref(new);
	return result;
}

static int fake_update_with(struct fake_object *slot, const void *with, bool status, void **ret, struct error *err)
{
	const struct meta_v1_object_meta *meta = meta_of(with), *live = meta_of(slot->live);
	if (!str_empty(meta->resource_version) && !str_equal(meta->resource_version, live->resource_version))
		return error_status(err, 409, "Conflict", "the object has been modified");
	void *merged = fake_merge(slot->live, with, status, err);
	if (api_equal(api_type_of(merged), merged, slot->live)) {
		api_unref(merged); /* a write that changes nothing moves nothing */
	} else {
		fake_store(slot, merged);
	}
	if (ret)
		*ret = api_ref(slot->live);
	if (meta_of(slot->live)->deletion_timestamp.set && !meta_of(slot->live)->finalizers.len && slot->what != CACHED_PODS)
		fake_remove(slot);
	return 0;
}

static int fake_update(const struct write *write, void **ret, struct error *err)
{
	struct fake_object *slot = fake_slot(what_of(write->resource), write->ns, write->name);
	if (!slot)
		return fake_not_found(write->name, err);
	return fake_update_with(slot, write->object, str_equal(write->subresource, "status"), ret, err);
}

static void fake_merge_json(json_t *into, json_t *patch)
{
	const char *key;
	json_t *value;
	json_object_foreach(patch, key, value) {
		if (json_is_null(value))
			json_object_del(into, key);
		else if (json_is_object(value) && json_is_object(json_object_get(into, key)))
			fake_merge_json(json_object_get(into, key), value);
		else
			json_object_set(into, key, value);
	}
}

static int fake_patch(const struct write *write, void **ret, struct error *err)
{
	struct fake_object *slot = fake_slot(what_of(write->resource), write->ns, write->name);
	if (!slot)
		return fake_not_found(write->name, err);
	json_t *tree = api_to_json(api_type_of(slot->live), slot->live), *patch = json_loads(write->patch, 0, NULL);
	assert_non_null(patch);
	fake_merge_json(tree, patch);
	void *patched = NULL;
	assert_int_equal(api_from_json(api_type_of(slot->live), tree, NULL, &patched, err), 0);
	json_decref(tree);
	json_decref(patch);
	int r = fake_update_with(slot, patched, str_equal(write->subresource, "status"), ret, err);
	api_unref(patched);
	return r;
}

static int fake_delete(const struct write *write, struct error *err)
{
	struct fake_object *slot = fake_slot(what_of(write->resource), write->ns, write->name);
	if (!slot)
		return fake_not_found(write->name, err);
	const struct meta_v1_object_meta *meta = meta_of(slot->live);
	if (write->delete_options.uid && !str_equal(write->delete_options.uid, meta->uid))
		return error_status(err, 409, "Conflict", "the UID in the precondition does not match");
	bool now = write->delete_options.grace_period_seconds == 0;
	if (meta->finalizers.len || (slot->what == CACHED_PODS && fake.graceful_pods && !now)) {
		if (meta->deletion_timestamp.set)
			return 0;
		void *copy = api_copy(slot->live);
		meta_of(copy)->deletion_timestamp = api_time_now();
		fake_store(slot, copy);
		return 0;
	}
	fake_remove(slot);
	return 0;
}

static int fake_write(struct world *world, const struct write *write, void **ret, struct error *err)
{
	static const char *const verbs[] = {"create", "update", "patch", "delete"};
	pthread_mutex_lock(&fake.lock);
	int r = fake.fault ? fake.fault(&fake, write, err) : 0;
	if (!r) {
		fake.writes++;
		/* A generated name is told by what it was generated from; a name that was only given the like of it (db-0) by itself. */
		const char *generate = write->verb == WRITE_CREATE && write->object ? meta_of(write->object)->generate_name : NULL;
		if (generate && !str_empty(write->name) && strlen(write->name) != strlen(generate) + 5)
			generate = NULL;
		buf_printf(&fake.log, "%s %s%s%s %s%s%s\n", verbs[write->verb], write->resource->plural, write->subresource ? "/" : "",
			str_or(write->subresource, ""), str_or(write->ns, ""), write->ns ? "/" : "",
			str_or(generate, str_or(write->name, "")));
		switch (write->verb) {
		case WRITE_CREATE:
			r = fake_create(write, ret, err);
			break;
		case WRITE_UPDATE:
			r = fake_update(write, ret, err);
			break;
		case WRITE_PATCH:
			r = fake_patch(write, ret, err);
			break;
		case WRITE_DELETE:
			r = fake_delete(write, err);
			break;
		}
	}
	pthread_mutex_unlock(&fake.lock);
	return r;
}

/* A list of one resource in one namespace, "/api/v1/namespaces/x/pods?...", by metadata. */
static int fake_list_metadata(const char *path, struct buf *body)
{
	const char *at = strstr(path, "/namespaces/");
	const char *slash = at ? strchr(at + strlen("/namespaces/"), '/') : NULL;
	if (!slash)
		return -ENOTSUP;
	autofree char *ns = xstrndup(at + strlen("/namespaces/"), (size_t)(slash - at) - strlen("/namespaces/"));
	autofree char *plural = xstrndup(slash + 1, strcspn(slash + 1, "?/"));
	const char *comma = "";
	buf_append_str(body, "{\"metadata\":{},\"items\":[");
	for (size_t i = 0; i < fake.count; i++) {
		const struct fake_object *o = &fake.objects[i];
		if (!o->live || !str_equal(cached_resource(o->what)->plural, plural) || !str_equal(meta_of(o->live)->namespace, ns))
			continue;
		buf_printf(body, "%s{\"metadata\":{\"name\":\"%s\",\"namespace\":\"%s\",\"uid\":\"%s\"}}", comma, meta_of(o->live)->name, ns, meta_of(o->live)->uid);
		comma = ",";
	}
	buf_append_str(body, "]}");
	return 0;
}

static int fake_request(struct world *world, const struct client_request *request, struct buf *body, int *ret_status, struct error *err)
{
	if (fake.request)
		return fake.request(&fake, request, body, err);
	if (str_equal(request->method, "GET") && fake_list_metadata(request->path, body) == 0)
		return 0;
	return error_set(err, ENOTSUP, "no such raw request in this world");
}

static void fake_event(struct world *world, const char *component, const void *object, const char *type, const char *reason, const char *message)
{
	pthread_mutex_lock(&fake.lock);
	buf_printf(&fake.log, "event %s %s %s: %s\n", meta_of(object)->name, type, reason, message);
	pthread_mutex_unlock(&fake.lock);
}

static const struct world_ops fake_ops = {
	.find = fake_find,
	.list = fake_list,
	.version = fake_version,
	.get = fake_get,
	.write = fake_write,
	.request = fake_request,
	.event = fake_event,
};

/* ---- for tests ---- */

static int fake_setup(void **state)
{
	autoerror struct error err = {0};
	char program[] = "test";
	char *argv[] = {program};
	memset(&fake, 0, sizeof(fake));
	fake.world = (struct world){.ops = &fake_ops, .settings = &fake.settings};
	fake.log = BUF_INIT(BUF_MAX_DEFAULT);
	fake.random = 88172645463325252ULL;
	pthread_mutex_init(&fake.lock, NULL);
	clock_set_test((struct wall_time){1800000000, 0});
	assert_int_equal(flags_parse(settings_flags, settings_flag_count, 1, argv, &fake.settings, NULL, &err), 0);
	return 0;
}

static int fake_teardown(void **state)
{
	for (size_t i = 0; i < fake.count; i++) {
		api_unref(fake.objects[i].live);
		api_unref(fake.objects[i].seen);
	}
	buf_done(&fake.log);
	flags_done(settings_flags, settings_flag_count, &fake.settings);
	pthread_mutex_destroy(&fake.lock);
	return 0;
}

/* Creates an object from JSON, defaults set. */
unused static void *fake_add(const char *json)
{
	autoerror struct error err = {0};
	autounref void *object = NULL;
	if (api_decode_json_any(json, strlen(json), NULL, &object, &err) < 0)
		fail_msg("%s", error_message(&err));
	api_default(object);
	const struct api_type *type = api_type_of(object);
	struct write write = {.verb = WRITE_CREATE, .resource = api_resource_by_kind(type->group, NULL, type->kind), .object = object};
	write.ns = meta_of(object)->namespace;
	write.name = meta_of(object)->name;
	void *created = NULL;
	assert_int_equal(fake_write(&fake.world, &write, &created, &err), 0);
	api_unref(created);
	return created; /* the world's own reference keeps it until it is replaced */
}

/* The live object, borrowed until the next write. */
unused static void *fake_live(enum cached what, const char *ns, const char *name)
{
	struct fake_object *slot = fake_slot(what, ns, name);
	return slot ? slot->live : NULL;
}

/* Patches as a user would, bumping the generation. */
unused static void fake_edit(enum cached what, const char *ns, const char *name, const char *subresource, const char *patch)
{
	autoerror struct error err = {0};
	if (world_merge_patch(&fake.world, what, ns, name, subresource, patch, &err) < 0)
		fail_msg("%s", error_message(&err));
}

unused static size_t fake_count(enum cached what)
{
	size_t count = 0;
	what = fake_what(what);
	for (size_t i = 0; i < fake.count; i++)
		count += fake.objects[i].what == what && fake.objects[i].live;
	return count;
}

/* Plays the kubelet for one pod: running, and ready or not. */
unused static void fake_run_pod(struct core_v1_pod *pod, bool ready)
{
	autoerror struct error err = {0};
	autounref struct core_v1_pod *copy = api_copy(pod);
	if (str_empty(copy->spec.node_name)) {
		autounref struct core_v1_pod *bound = NULL;
		copy->spec.node_name = "node-1";
		assert_int_equal(world_update(&fake.world, CACHED_PODS, copy, (void **)&bound, &err), 0);
		api_unref(copy);
		copy = api_copy(bound);
	}
	copy->status.phase = CORE_V1_POD_PHASE_RUNNING;
	if (str_empty(copy->status.pod_ip))
		copy->status.pod_ip = arena_printf(api_arena(copy), "10.0.%d.%d", (int)fake_random(250), (int)fake_random(250) + 1);
	pod_set_condition(api_arena(copy), copy, CORE_V1_POD_CONDITION_TYPE_READY, ready ? "True" : "False", NULL, NULL);
	assert_int_equal(world_update_status(&fake.world, CACHED_PODS, copy, NULL, &err), 0);
}

unused static void fake_run_all_pods(void)
{
	for (size_t i = 0; i < fake.count; i++) {
		struct core_v1_pod *pod = fake.objects[i].live;
		if (fake.objects[i].what == CACHED_PODS && pod && pod_is_active(pod) && !pod_is_ready(pod))
			fake_run_pod(pod, true);
	}
}

/* Pods that are being deleted are gone. */
unused static void fake_finish_pods(void)
{
	for (size_t i = 0; i < fake.count; i++) {
		struct core_v1_pod *pod = fake.objects[i].live;
		if (fake.objects[i].what == CACHED_PODS && pod && pod->metadata.deletion_timestamp.set && !pod->metadata.finalizers.len) {
			fake_remove(&fake.objects[i]);
			fake.writes++;
		}
	}
}

/* One controller in this world, without queue. */
unused static struct reconciler fake_reconciler(const struct controller *controller)
{
	return reconciler_make(controller, &fake.world, NULL);
}

unused static void fake_reconciler_done(struct reconciler *r)
{
	if (r->controller->state_free)
		r->controller->state_free(r->state);
}

/* Reconciles every object of `what` once. Conflicts are as good as another round. Returns the smallest positive answer. */
unused static int fake_reconcile_all(struct reconciler *r, enum cached what)
{
	int soonest = 0;
	autolist struct informer_list list = INFORMER_LIST_INIT;
	fake_list(&fake.world, what, NULL, NULL, &list);
	for (size_t i = 0; i < list.len; i++) {
		autoerror struct error err = {0};
		const struct meta_v1_object_meta *meta = meta_of(list.items[i]);
		int result = r->controller->reconcile(r, meta->namespace, meta->name, &err);
		if (result < 0 && !error_is(&err, "Conflict") && !error_is(&err, "AlreadyExists") && !fake.fault)
			fail_msg("%s %s: %s", r->controller->name, meta->name, error_message(&err));
		if (result > 0 && (!soonest || result < soonest))
			soonest = result;
	}
	return soonest;
}

#endif

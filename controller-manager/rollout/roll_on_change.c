/* SPDX-License-Identifier: Apache-2.0 */
/* Rolls workloads that ask for it (README.md) when a ConfigMap or Secret that their pods use changes: its contents' hash becomes an annotation of the pod template. */
#include "controller-manager/rollout/workload.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <stdio.h>

#define SETTLE_NS NSEC_PER_SEC /* several changed together make one rollout */
#define NAMES_LEN 8               /* of the hash: which objects are used; then a dash, then what is in them */
#define HASH_SIZE (NAMES_LEN + 1 + 24 + 1)

/* A ConfigMap or Secret that a template names. */
struct use {
	bool secret, optional; /* optional: pods start without it */
	const char *name; /* borrowed from the template */
};
struct uses {
	struct use *items;
	size_t len;
};

static void uses_done(struct uses *uses)
{
	free(uses->items);
}

static int compare_uses(const void *left, const void *right)
{
	const struct use *a = left, *b = right;
	return a->secret != b->secret ? (a->secret ? 1 : -1) : strcmp(a->name, b->name);
}

static void use(struct uses *uses, bool secret, const char *name, const bool *optional)
{
	struct use one = {.secret = secret, .optional = optional && *optional, .name = name};
	if (str_empty(name))
		return;
	for (size_t i = 0; i < uses->len; i++)
		if (!compare_uses(&uses->items[i], &one)) {
			uses->items[i].optional &= one.optional;
			return;
		}
	uses->items = xreallocarray(uses->items, uses->len + 1, sizeof(one));
	uses->items[uses->len++] = one;
}

static void use_container(struct uses *uses, const struct core_v1_container *c)
{
	for (uint32_t i = 0; i < c->env.len; i++) {
		const struct core_v1_env_var_source *from = c->env.items[i].value_from;
		if (from && from->config_map_key_ref)
			use(uses, false, from->config_map_key_ref->name, from->config_map_key_ref->optional);
		if (from && from->secret_key_ref)
			use(uses, true, from->secret_key_ref->name, from->secret_key_ref->optional);
	}
	for (uint32_t i = 0; i < c->env_from.len; i++) {
		if (c->env_from.items[i].config_map_ref)
			use(uses, false, c->env_from.items[i].config_map_ref->name, c->env_from.items[i].config_map_ref->optional);
		if (c->env_from.items[i].secret_ref)
			use(uses, true, c->env_from.items[i].secret_ref->name, c->env_from.items[i].secret_ref->optional);
	}
}

static void use_volume(struct uses *uses, const struct core_v1_volume *volume)
{
	if (volume->config_map)
		use(uses, false, volume->config_map->name, volume->config_map->optional);
	if (volume->secret)
		use(uses, true, volume->secret->secret_name, volume->secret->optional);
	for (uint32_t i = 0; volume->projected && i < volume->projected->sources.len; i++) {
		if (volume->projected->sources.items[i].config_map)
			use(uses, false, volume->projected->sources.items[i].config_map->name, volume->projected->sources.items[i].config_map->optional);
		if (volume->projected->sources.items[i].secret)
			use(uses, true, volume->projected->sources.items[i].secret->name, volume->projected->sources.items[i].secret->optional);
	}
}

/* Sorted: the order in the template does not matter. */
static void collect_uses(const struct core_v1_pod_template_spec *template, struct uses *ret)
{
	for (uint32_t i = 0; i < template->spec.volumes.len; i++)
		use_volume(ret, &template->spec.volumes.items[i]);
	for (uint32_t i = 0; i < template->spec.init_containers.len; i++)
		use_container(ret, &template->spec.init_containers.items[i]);
	for (uint32_t i = 0; i < template->spec.containers.len; i++)
		use_container(ret, &template->spec.containers.items[i]);
	if (ret->len)
		qsort(ret->items, ret->len, sizeof(ret->items[0]), compare_uses);
}

/* ---- the hash ---- */

/* Lengths go along, so that no two contents read the same. */
static void hash_bytes_of(gnutls_hash_hd_t hash, const void *data, size_t len)
{
	uint64_t size = len;
	gnutls_hash(hash, &size, sizeof(size));
	if (len)
		gnutls_hash(hash, data, len);
}

static void hash_text(gnutls_hash_hd_t hash, const char *text)
{
	hash_bytes_of(hash, text, strlen(text));
}

static void hash_bytes_map(gnutls_hash_hd_t hash, const struct api_bytes_map *map)
{
	for (uint32_t i = 0; i < map->len; i++) {
		hash_text(hash, map->items[i].key);
		hash_bytes_of(hash, map->items[i].value.data, map->items[i].value.len);
	}
}

static void hash_use(struct world *world, const char *ns, const struct use *u, gnutls_hash_hd_t hash)
{
	hash_text(hash, u->secret ? "Secret" : "ConfigMap");
	hash_text(hash, u->name);
	if (u->secret) {
		autounref struct core_v1_secret *secret = world_find(world, CACHED_SECRETS, ns, u->name);
		hash_text(hash, secret ? "there" : "missing");
		if (!secret)
			return;
		/* Known only to who may read the Secret: without it a short password could be guessed from the hash. */
		hash_text(hash, secret->metadata.uid);
		hash_bytes_map(hash, &secret->data);
		return;
	}
	autounref struct core_v1_config_map *map = world_find(world, CACHED_CONFIG_MAPS, ns, u->name);
	hash_text(hash, map ? "there" : "missing");
	for (uint32_t i = 0; map && i < map->data.len; i++) {
		hash_text(hash, map->data.items[i].key);
		hash_text(hash, map->data.items[i].value);
	}
	if (map)
		hash_bytes_map(hash, &map->binary_data);
}

/* Without it no new pod starts: those that run are better off as they are, and those that wait for it start with it. */
static bool lacks_any(struct world *world, const char *ns, const struct uses *uses)
{
	bool lacks = false;
	for (size_t i = 0; i < uses->len && !lacks; i++) {
		autounref void *found = uses->items[i].optional ? NULL : world_find(world, uses->items[i].secret ? CACHED_SECRETS : CACHED_CONFIG_MAPS, ns, uses->items[i].name);
		lacks = !uses->items[i].optional && !found;
	}
	return lacks;
}

static uint32_t hash_names(const struct uses *uses)
{
	autobuf struct buf names = BUF_INIT(1 << 20);
	for (size_t i = 0; i < uses->len; i++)
		buf_printf(&names, "%c%s/", uses->items[i].secret ? 's' : 'c', uses->items[i].name);
	return hash_fnv32(names.data ? names.data : "", names.len);
}

static bool hash_uses(struct world *world, const char *ns, const struct uses *uses, char out[HASH_SIZE])
{
	gnutls_hash_hd_t hash;
	uint8_t digest[32];
	if (gnutls_hash_init(&hash, GNUTLS_DIG_SHA256) < 0)
		return false;
	for (size_t i = 0; i < uses->len; i++)
		hash_use(world, ns, &uses->items[i], hash);
	gnutls_hash_deinit(hash, digest);
	snprintf(out, HASH_SIZE, "%08x-", hash_names(uses));
	for (size_t at = NAMES_LEN + 1, i = 0; at + 2 < HASH_SIZE; at += 2, i++)
		snprintf(out + at, 3, "%02x", digest[i]);
	return true;
}

/* ---- the controller ---- */

static int write_hash(struct reconciler *r, const struct workload_kind *kind, const void *object, const char *hash, bool roll, struct error *err)
{
	const struct meta_v1_object_meta *meta = api_metadata(object);
	autofree char *template = roll ? xprintf(",\"spec\":{\"template\":{\"metadata\":{\"annotations\":{\"" ANNOTATION_CONFIG_HASH "\":\"%s\"}}}}", hash) : xstrdup("");
	/* The version keeps a hash of what the cache shows from landing on an object that changed meanwhile. */
	autofree char *patch = xprintf("{\"metadata\":{\"uid\":\"%s\",\"resourceVersion\":\"%s\",\"annotations\":{\"" ANNOTATION_CONFIG_HASH "\":\"%s\"}}%s}", meta->uid,
		meta->resource_version, hash, template);
	return world_merge_patch(r->world, kind->what, meta->namespace, meta->name, NULL, patch, err);
}

static int reconcile(struct reconciler *r, const char *ns, const char *key, struct error *err)
{
	const char *name;
	const struct workload_kind *kind = workload_of_key(key, &name);
	autounref void *object = kind ? world_find(r->world, kind->what, ns, name) : NULL;
	cleanup(uses_done) struct uses uses = {0};
	char hash[HASH_SIZE];
	if (!object || api_metadata(object)->deletion_timestamp.set || !workload_asks(object, ANNOTATION_ROLL_ON_CHANGE))
		return 0;
	const struct core_v1_pod_template_spec *template = kind->template(object);
	collect_uses(template, &uses);
	if (lacks_any(r->world, ns, &uses))
		return 0; /* once it is made, that wakes us */
	if (!hash_uses(r->world, ns, &uses, hash))
		return error_set(err, EIO, "cannot hash what %s uses", name);
	const char *known = api_map_get(&api_metadata(object)->annotations, ANNOTATION_CONFIG_HASH);
	if (str_equal(known, hash))
		return 0;
	/*
	 * The first look only takes down what is there. So does a look after the template came to use other objects: the rollout of that change has begun, and
	 * its pods start with what is there now.
	 */
	bool roll = known && strncmp(known, hash, NAMES_LEN + 1) == 0;
	struct rollout_goal goal;
	kind->goal(object, &goal);
	if (roll && !goal.rolls)
		return 0; /* paused, or OnDelete: when it rolls again, what it was started with is still noted */
	int result = write_hash(r, kind, object, hash, roll, err);
	if (!result && roll)
		reconciler_event(r, object, EVENT_NORMAL, "ConfigChanged", "A ConfigMap or Secret that the pods use has changed: rolling out");
	return result;
}

static void wake_by_workload(struct reconciler *r, const void *object)
{
	if (workload_asks(object, ANNOTATION_ROLL_ON_CHANGE))
		workload_add(r, workload_kind_of(object), object, 0);
}

/* Those of the namespace that ask, and use it. */
static void wake_users(struct reconciler *r, const void *object, bool secret)
{
	const struct meta_v1_object_meta *meta = api_metadata(object);
	for (size_t k = 0; k < workload_kind_count; k++) {
		autolist struct informer_list list = INFORMER_LIST_INIT;
		world_list_namespace(r->world, workload_kinds[k].what, meta->namespace, &list);
		for (size_t i = 0; i < list.len; i++) {
			cleanup(uses_done) struct uses uses = {0};
			if (!workload_asks(list.items[i], ANNOTATION_ROLL_ON_CHANGE))
				continue;
			collect_uses(workload_kinds[k].template(list.items[i]), &uses);
			for (size_t u = 0; u < uses.len; u++)
				if (uses.items[u].secret == secret && str_equal(uses.items[u].name, meta->name))
					workload_add(r, &workload_kinds[k], list.items[i], SETTLE_NS);
		}
	}
}

static void wake_by_map(struct reconciler *r, const void *object)
{
	wake_users(r, object, false);
}

static void wake_by_secret(struct reconciler *r, const void *object)
{
	wake_users(r, object, true);
}

static bool map_matters(const void *old_object, const void *object)
{
	const struct core_v1_config_map *old = old_object, *map = object;
	return !api_map_equal(&old->data, &map->data) || old->binary_data.len || map->binary_data.len;
}

const struct controller config_rollout_controller = {
	.name = "config-rollout-controller",
	.account = "config-rollout-controller",
	.workers = 2,
	.watches = (const struct controller_watch[]){{.what = CACHED_DEPLOYMENTS, .wake = wake_by_workload, .matters = workload_matters},
		{.what = CACHED_STATEFUL_SETS, .wake = wake_by_workload, .matters = workload_matters},
		{.what = CACHED_DAEMON_SETS, .wake = wake_by_workload, .matters = workload_matters},
		{.what = CACHED_CONFIG_MAPS, .wake = wake_by_map, .matters = map_matters},
		{.what = CACHED_SECRETS, .wake = wake_by_secret},
		{.what = CACHED_NONE}},
	.reconcile = reconcile,
};

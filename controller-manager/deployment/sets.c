/* SPDX-License-Identifier: Apache-2.0 */
/* The ReplicaSets of a Deployment: finding, making, numbering, sizing, forgetting. */
#include "controller-manager/deployment/deployment.h"

#include "controller-manager/shared/owners.h"
#include "controller-manager/shared/pods.h"
#include "controller-manager/rollout/workload.h"

#include <errno.h>
#include <stdio.h>

#define MAX_HISTORY_ANNOTATION 2000 /* bytes of the revision-history annotation */
#define NO_HISTORY_LIMIT INT32_MAX

int64_t revision_of(const struct meta_v1_object_meta *meta)
{
	int64_t revision = 0;
	str_to_int64(api_map_get(&meta->annotations, ANNOTATION_REVISION), 0, INT64_MAX, &revision);
	return revision;
}

bool templates_equal(const struct core_v1_pod_template_spec *a, const struct core_v1_pod_template_spec *b)
{
	autoarena struct arena *arena = arena_new();
	struct core_v1_pod_template_spec left = *a, right = *b;
	left.metadata.labels = right.metadata.labels = (struct api_string_map){0};
	for (uint32_t i = 0; i < a->metadata.labels.len; i++)
		if (!str_equal(a->metadata.labels.items[i].key, LABEL_TEMPLATE_HASH))
			api_map_set(arena, &left.metadata.labels, a->metadata.labels.items[i].key, a->metadata.labels.items[i].value);
	for (uint32_t i = 0; i < b->metadata.labels.len; i++)
		if (!str_equal(b->metadata.labels.items[i].key, LABEL_TEMPLATE_HASH))
			api_map_set(arena, &right.metadata.labels, b->metadata.labels.items[i].key, b->metadata.labels.items[i].value);
	return api_equal(&core_v1_pod_template_spec_type, &left, &right);
}

static int compare_by_age(const void *left, const void *right)
{
	const struct apps_v1_replica_set *a = *(struct apps_v1_replica_set *const *)left, *b = *(struct apps_v1_replica_set *const *)right;
	int64_t diff = time_diff_ns(a->metadata.creation_timestamp.t, b->metadata.creation_timestamp.t);
	return diff ? (diff < 0 ? -1 : 1) : strcmp(a->metadata.name, b->metadata.name);
}

static void sort_sets(struct rollout *rollout)
{
	qsort(rollout->sets, rollout->count, sizeof(rollout->sets[0]), compare_by_age);
	rollout->fresh = -1;
	for (size_t i = 0; i < rollout->count && rollout->fresh < 0; i++)
		if (templates_equal(&rollout->sets[i]->spec.template, &rollout->d->spec.template))
			rollout->fresh = (ptrdiff_t)i; /* the oldest of equals */
}

int rollout_load(struct rollout *rollout, struct error *err)
{
	struct selector *selector = NULL;
	struct informer_list list = INFORMER_LIST_INIT;
	int r = label_selector_from(rollout->d->spec.selector, &selector, err);
	if (!r)
		r = owner_claim(rollout->r->world, CACHED_DEPLOYMENTS, rollout->cached, CACHED_REPLICA_SETS, selector, NULL, NULL, &list, err);
	selector_free(selector);
	if (r)
		return r;
	rollout->sets = (struct apps_v1_replica_set **)list.items;
	rollout->count = list.len;
	if (rollout->count)
		sort_sets(rollout);
	return 0;
}

void rollout_done(struct rollout *rollout)
{
	for (size_t i = 0; i < rollout->count; i++)
		api_unref(rollout->sets[i]);
	free(rollout->sets);
}

int32_t rollout_total(const struct rollout *rollout, bool with_new)
{
	int32_t total = 0;
	for (size_t i = 0; i < rollout->count; i++)
		if (with_new || (ptrdiff_t)i != rollout->fresh)
			total += set_replicas(rollout->sets[i]);
	return total;
}

/* ---- annotations ---- */

bool deployment_owns_annotation(const char *key)
{
	static const char *const own[] = {"kubectl.kubernetes.io/last-applied-configuration", ANNOTATION_REVISION, ANNOTATION_REVISION_HISTORY,
		ANNOTATION_DESIRED_REPLICAS, ANNOTATION_MAX_REPLICAS, ANNOTATION_ROLLBACK_TO,
		/* What is known of its rollouts now: an undo, which takes the annotations of the set, must not bring back what was known then. */
		ANNOTATION_CONFIG_HASH, ANNOTATION_GOOD, ANNOTATION_BACK_FROM, ANNOTATION_BACK_REASON};
	for (size_t i = 0; i < array_len(own); i++)
		if (str_equal(key, own[i]))
			return true;
	return false;
}

static bool set_annotation(struct arena *arena, struct meta_v1_object_meta *meta, const char *key, const char *value)
{
	const char *old = api_map_get(&meta->annotations, key);
	if (old && str_equal(old, value))
		return false;
	api_map_set(arena, &meta->annotations, key, value);
	return true;
}

static bool set_number(struct arena *arena, struct meta_v1_object_meta *meta, const char *key, int64_t value)
{
	char text[24];
	snprintf(text, sizeof(text), "%lld", (long long)value);
	return set_annotation(arena, meta, key, text);
}

static bool annotate_size(const struct apps_v1_deployment *d, struct apps_v1_replica_set *rs)
{
	int32_t replicas = deployment_replicas(d);
	bool changed = set_number(api_arena(rs), &rs->metadata, ANNOTATION_DESIRED_REPLICAS, replicas);
	changed |= set_number(api_arena(rs), &rs->metadata, ANNOTATION_MAX_REPLICAS, (int64_t)replicas + deployment_max_surge(d));
	return changed;
}

static bool copy_annotations(const struct apps_v1_deployment *d, struct apps_v1_replica_set *rs)
{
	bool changed = false;
	for (uint32_t i = 0; i < d->metadata.annotations.len; i++) {
		const struct api_string_map_entry *entry = &d->metadata.annotations.items[i];
		if (!deployment_owns_annotation(entry->key))
			changed |= set_annotation(api_arena(rs), &rs->metadata, entry->key, entry->value);
	}
	return changed;
}

/* A set that comes back into use (by an undo) gets the newest number; those it had are kept in its history. */
static bool renumber(struct apps_v1_replica_set *rs, int64_t revision)
{
	int64_t old = revision_of(&rs->metadata);
	if (old >= revision)
		return false;
	set_number(api_arena(rs), &rs->metadata, ANNOTATION_REVISION, revision);
	if (!old)
		return true;
	const char *history = str_or(api_map_get(&rs->metadata.annotations, ANNOTATION_REVISION_HISTORY), "");
	autofree char *longer = xprintf("%s%s%lld", history, *history ? "," : "", (long long)old);
	const char *kept = longer;
	while (strlen(kept) > MAX_HISTORY_ANNOTATION && strchr(kept, ','))
		kept = strchr(kept, ',') + 1;
	set_annotation(api_arena(rs), &rs->metadata, ANNOTATION_REVISION_HISTORY, kept);
	return true;
}

/* The deployment itself carries the revision of its newest set; it is written along with the status, which changes no generation. */
static void number_deployment(struct rollout *rollout, const char *revision)
{
	struct apps_v1_deployment *d = rollout->d;
	api_map_set(api_arena(d), &d->metadata.annotations, ANNOTATION_REVISION, revision);
}

/*
 * What was written to a set, and the cache does not show yet, must not be forgotten: with a set missing from the sum, another would be made too
 * large. written NULL: the write failed.
 */
static void expect_set(struct rollout *rollout, const struct apps_v1_replica_set *wanted, const struct apps_v1_replica_set *written, const struct error *failed)
{
	const char *key = api_key(rollout->d);
	if (written)
		expectations_created(rollout->r->state, key, written);
	else if (failed)
		expectations_failed(rollout->r->state, key, wanted, failed);
}

static int write_set(struct rollout *rollout, const struct apps_v1_replica_set *changed, struct apps_v1_replica_set **ret, struct error *err)
{
	autoerror struct error failed = {0};
	int r = world_update(rollout->r->world, CACHED_REPLICA_SETS, changed, (void **)ret, &failed);
	expect_set(rollout, changed, r ? NULL : *ret, &failed);
	return error_move(err, &failed);
}

static void replace_set(struct rollout *rollout, size_t index, struct apps_v1_replica_set *take_set)
{
	api_unref(rollout->sets[index]);
	rollout->sets[index] = take_set;
}

static int64_t highest_old_revision(const struct rollout *rollout)
{
	int64_t highest = 0;
	for (size_t i = 0; i < rollout->count; i++)
		if ((ptrdiff_t)i != rollout->fresh)
			highest = max_of(highest, revision_of(&rollout->sets[i]->metadata));
	return highest;
}

static int refresh_existing(struct rollout *rollout, struct error *err)
{
	struct apps_v1_deployment *d = rollout->d;
	struct apps_v1_replica_set *rs = rollout->sets[rollout->fresh];
	autounref struct apps_v1_replica_set *changed = api_copy(rs);
	bool differs = copy_annotations(d, changed);
	differs |= renumber(changed, highest_old_revision(rollout) + 1);
	differs |= changed->spec.min_ready_seconds != d->spec.min_ready_seconds;
	if (differs) {
		struct apps_v1_replica_set *written = NULL;
		changed->spec.min_ready_seconds = d->spec.min_ready_seconds;
		int r = write_set(rollout, changed, &written, err);
		if (r)
			return r;
		if (written)
			replace_set(rollout, (size_t)rollout->fresh, written);
		rs = rollout->sets[rollout->fresh];
	}
	if (deployment_has_deadline(d) && !deployment_condition(&d->status, PROGRESSING)) {
		autofree char *message = xprintf("Found new replica set \"%s\"", rs->metadata.name);
		deployment_set_condition(api_arena(d), &d->status, PROGRESSING, "True", "FoundNewReplicaSet", message);
	}
	number_deployment(rollout, str_or(api_map_get(&rs->metadata.annotations, ANNOTATION_REVISION), ""));
	return 0;
}

static struct apps_v1_replica_set *make_set(struct rollout *rollout)
{
	const struct apps_v1_deployment *d = rollout->d;
	struct apps_v1_replica_set *rs = api_new_of(apps_v1_replica_set);
	struct arena *arena = api_arena(rs);
	char hash[16];
	template_hash(&d->spec.template, d->status.collision_count, hash);
	rs->metadata.name = arena_printf(arena, "%s-%s", d->metadata.name, hash);
	rs->metadata.namespace = arena_strdup(arena, d->metadata.namespace);
	owner_set_controller(arena, &rs->metadata, d);
	api_copy_value(&core_v1_pod_template_spec_type, &rs->spec.template, &d->spec.template, arena);
	api_map_set(arena, &rs->spec.template.metadata.labels, LABEL_TEMPLATE_HASH, hash);
	for (uint32_t i = 0; i < rs->spec.template.metadata.labels.len; i++)
		api_map_set(arena, &rs->metadata.labels, rs->spec.template.metadata.labels.items[i].key, rs->spec.template.metadata.labels.items[i].value);
	rs->spec.selector = arena_new_type(arena, struct meta_v1_label_selector);
	api_copy_value(&meta_v1_label_selector_type, rs->spec.selector, d->spec.selector, arena);
	api_map_set(arena, &rs->spec.selector->match_labels, LABEL_TEMPLATE_HASH, hash);
	rs->spec.min_ready_seconds = d->spec.min_ready_seconds;
	rs->spec.replicas = api_int32(arena, rolling_new_replicas(d, rollout_total(rollout, true), 0));
	copy_annotations(d, rs);
	renumber(rs, highest_old_revision(rollout) + 1);
	annotate_size(d, rs);
	return rs;
}

/* The name is taken: by the set we made and the cache does not show yet, or by another template with the same hash. */
static int resolve_taken_name(struct rollout *rollout, const struct apps_v1_replica_set *wanted, struct apps_v1_replica_set **ret, struct error *err)
{
	struct apps_v1_deployment *d = rollout->d;
	autounref struct apps_v1_replica_set *other = NULL;
	int r = world_get(rollout->r->world, CACHED_REPLICA_SETS, wanted->metadata.namespace, wanted->metadata.name, (void **)&other, err);
	if (r)
		return r;
	if (owner_is_controller(&other->metadata, d->metadata.uid) && templates_equal(&other->spec.template, &d->spec.template)) {
		*ret = take_ptr(other);
		return 0;
	}
	d->status.collision_count = api_int32(api_arena(d), (d->status.collision_count ? *d->status.collision_count : 0) + 1);
	r = world_update_status(rollout->r->world, CACHED_DEPLOYMENTS, d, NULL, err);
	return r ? r : error_status(err, 409, "Conflict", "hash of the template of deployment %s collides: trying the next", d->metadata.name);
}

static int fail_creation(struct rollout *rollout, const struct apps_v1_replica_set *rs, struct error *failed, struct error *err)
{
	struct apps_v1_deployment *d = rollout->d;
	for (size_t i = 0; i < failed->cause_count; i++)
		if (str_equal(failed->causes[i].reason, META_V1_CAUSE_TYPE_NAMESPACE_TERMINATING))
			return error_move(err, failed);
	autofree char *message = xprintf("Failed to create new replica set \"%s\": %s", rs->metadata.name, error_message(failed));
	if (deployment_has_deadline(d)) {
		deployment_set_condition(api_arena(d), &d->status, PROGRESSING, "False", "ReplicaSetCreateError", message);
		world_update_status(rollout->r->world, CACHED_DEPLOYMENTS, d, NULL, NULL);
	}
	reconciler_event(rollout->r, d, EVENT_WARNING, "ReplicaSetCreateError", "%s", message);
	return error_move(err, failed);
}

/* Says at once which set was made, before anything is counted: whoever watches a rollout sees its beginning. */
static int tell_beginning(struct rollout *rollout, struct error *err)
{
	struct apps_v1_deployment *d = rollout->d;
	autounref struct apps_v1_deployment *written = NULL;
	int r = world_update_status(rollout->r->world, CACHED_DEPLOYMENTS, d, (void **)&written, err);
	if (!r && written)
		d->metadata.resource_version = arena_strdup(api_arena(d), written->metadata.resource_version);
	return r;
}

static int create_set(struct rollout *rollout, struct error *err)
{
	struct apps_v1_deployment *d = rollout->d;
	autounref struct apps_v1_replica_set *rs = make_set(rollout);
	autounref struct apps_v1_replica_set *created = NULL;
	autoerror struct error failed = {0};
	int r = world_create(rollout->r->world, CACHED_REPLICA_SETS, rs, (void **)&created, &failed);
	bool existed = error_is(&failed, "AlreadyExists");
	if (existed)
		r = resolve_taken_name(rollout, rs, &created, err);
	expect_set(rollout, rs, created, existed ? NULL : &failed);
	if (r && !existed)
		return fail_creation(rollout, rs, &failed, err);
	if (r)
		return r;
	if (!existed && set_replicas(rs) > 0)
		reconciler_event(rollout->r, d, EVENT_NORMAL, "ScalingReplicaSet", "Scaled up replica set %s from 0 to %d", rs->metadata.name,
			set_replicas(rs));
	if (deployment_has_deadline(d)) {
		autofree char *message = xprintf("Created new replica set \"%s\"", rs->metadata.name);
		deployment_set_condition(api_arena(d), &d->status, PROGRESSING, "True", "NewReplicaSetCreated", message);
	}
	autofree char *revision = xstrdup(str_or(api_map_get(&rs->metadata.annotations, ANNOTATION_REVISION), "1"));
	rollout->sets = xreallocarray(rollout->sets, rollout->count + 1, sizeof(rollout->sets[0]));
	rollout->sets[rollout->count++] = created ? take_ptr(created) : take_ptr(rs);
	sort_sets(rollout);
	number_deployment(rollout, revision);
	return existed ? 0 : tell_beginning(rollout, err);
}

int rollout_find_new(struct rollout *rollout, bool create, struct error *err)
{
	if (rollout->fresh >= 0)
		return refresh_existing(rollout, err);
	return create ? create_set(rollout, err) : 0;
}

int rollout_scale_set(struct rollout *rollout, size_t index, int32_t replicas, bool *ret_scaled, struct error *err)
{
	struct apps_v1_deployment *d = rollout->d;
	const struct apps_v1_replica_set *rs = rollout->sets[index];
	int32_t before = set_replicas(rs);
	autounref struct apps_v1_replica_set *changed = api_copy(rs);
	bool differs = annotate_size(d, changed);
	if (before == replicas && !differs)
		return 0;
	struct apps_v1_replica_set *written = NULL;
	changed->spec.replicas = api_int32(api_arena(changed), replicas);
	int r = write_set(rollout, changed, &written, err);
	if (r)
		return r;
	if (before != replicas)
		reconciler_event(rollout->r, d, EVENT_NORMAL, "ScalingReplicaSet", "Scaled %s replica set %s from %d to %d",
			before < replicas ? "up" : "down", rs->metadata.name, before, replicas);
	replace_set(rollout, index, written ? written : take_ptr(changed));
	rollout->resized += replicas - before;
	if (ret_scaled)
		*ret_scaled |= before != replicas;
	return 0;
}

static int compare_by_revision(const void *left, const void *right)
{
	const struct apps_v1_replica_set *a = *(struct apps_v1_replica_set *const *)left, *b = *(struct apps_v1_replica_set *const *)right;
	int64_t x = revision_of(&a->metadata), y = revision_of(&b->metadata);
	return x != y ? (x < y ? -1 : 1) : compare_by_age(left, right);
}

int rollout_clean_up(struct rollout *rollout, struct error *err)
{
	const struct apps_v1_deployment *d = rollout->d;
	int32_t limit = d->spec.revision_history_limit ? *d->spec.revision_history_limit : NO_HISTORY_LIMIT;
	autofree struct apps_v1_replica_set **old = xcalloc(rollout->count, sizeof(old[0]));
	size_t count = 0;
	for (size_t i = 0; i < rollout->count; i++)
		if ((ptrdiff_t)i != rollout->fresh && !rollout->sets[i]->metadata.deletion_timestamp.set)
			old[count++] = rollout->sets[i];
	if (limit == NO_HISTORY_LIMIT || count <= (size_t)max_of(limit, 0))
		return 0;
	qsort(old, count, sizeof(old[0]), compare_by_revision);
	for (size_t i = 0; i < count - (size_t)max_of(limit, 0); i++) {
		const struct apps_v1_replica_set *rs = old[i];
		if (rs->status.replicas || set_replicas(rs) || rs->metadata.generation > rs->status.observed_generation)
			continue;
		int r = world_delete(rollout->r->world, CACHED_REPLICA_SETS, rs, NULL, err);
		if (r)
			return r;
	}
	return 0;
}

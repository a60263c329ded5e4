/* SPDX-License-Identifier: Apache-2.0 */
/*
 * StatefulSet: pods with names of their own, name-0, name-1, ..., each with its claims. Made in order and removed in reverse, one at a time unless
 * podManagementPolicy is Parallel; updated from the highest ordinal down to the partition.
 */
#include "controller-manager/controller.h"
#include "controller-manager/rollout/workload.h"
#include "controller-manager/shared/history.h"
#include "controller-manager/shared/owners.h"
#include "controller-manager/shared/pods.h"

#include <errno.h>
#include <stdio.h>

#define LABEL_POD_NAME "statefulset.kubernetes.io/pod-name"
#define LABEL_POD_INDEX "apps.kubernetes.io/pod-index"

#define CLAIMS_MS 100        /* nothing of a claim wakes a set: it looks again */
#define STALE_CLAIM_MS 1000

/* Our own writes that the caches are to show before the next decision. */
struct state {
	struct expectations *pods, *claims;
};

struct sync {
	struct reconciler *r;
	const char *key;
	const struct apps_v1_stateful_set *cached;
	struct apps_v1_stateful_set *set; /* private copy */
	struct history history;
	struct apps_v1_controller_revision *current, *update; /* borrowed from history */
	struct informer_list pods;
	const struct core_v1_pod **members; /* those that have a place, lowest ordinal first: a set may ask for more than memory could list */
	size_t member_count, cursor; /* cursor: after the one that was looked up last */
	int32_t start, count;
	size_t missing_seen; /* members to be made that this round has come to */
	const struct core_v1_pod **condemned; /* highest ordinal first */
	size_t condemned_count;
	bool parallel;
	int after_ms;
};

static struct expectations *pods_of(const struct sync *s)
{
	return ((struct state *)s->r->state)->pods;
}

/* The ordinal of a pod of this set, or -1. */
static int32_t ordinal_of(const struct apps_v1_stateful_set *set, const char *pod_name)
{
	size_t len = strlen(set->metadata.name);
	int64_t ordinal;
	if (strncmp(pod_name, set->metadata.name, len) != 0 || pod_name[len] != '-' || !str_to_int64(pod_name + len + 1, 0, INT32_MAX, &ordinal))
		return -1;
	return (int32_t)ordinal;
}

static bool is_member(const void *pod, void *arg)
{
	return ordinal_of(arg, api_metadata(pod)->name) >= 0;
}

static bool runs_ready(const struct core_v1_pod *pod)
{
	return str_equal(pod->status.phase, CORE_V1_POD_PHASE_RUNNING) && pod_is_ready(pod);
}

static bool is_healthy(const struct core_v1_pod *pod)
{
	return pod && runs_ready(pod) && !pod->metadata.deletion_timestamp.set;
}

static bool is_available(struct sync *s, const struct core_v1_pod *pod)
{
	struct wall_time then;
	if (pod_is_available(pod, s->set->spec.min_ready_seconds, clock_wall()))
		return true;
	if (pod_available_at(pod, s->set->spec.min_ready_seconds, &then)) {
		int wait = milliseconds_until(then);
		s->after_ms = s->after_ms ? min_of(s->after_ms, wait) : wait;
	}
	return false;
}

static bool is_of(const struct core_v1_pod *pod, const struct apps_v1_controller_revision *revision)
{
	return str_equal(api_map_get(&pod->metadata.labels, LABEL_REVISION_HASH), revision->metadata.name);
}

static int32_t partition_of(const struct apps_v1_stateful_set *set)
{
	const struct apps_v1_rolling_update_stateful_set_strategy *rolling = set->spec.update_strategy.rolling_update;
	return rolling && rolling->partition ? *rolling->partition : 0;
}

static int compare_ordinals(const void *a, const void *b, void *set)
{
	int32_t x = ordinal_of(set, (*(const struct core_v1_pod *const *)a)->metadata.name);
	int32_t y = ordinal_of(set, (*(const struct core_v1_pod *const *)b)->metadata.name);
	return x < y ? -1 : x > y;
}

static int compare_condemned(const void *a, const void *b, void *set)
{
	return compare_ordinals(b, a, set);
}

/* The place of a pod in the set: its ordinal less start. May be none of those that are asked for. */
static int64_t place_of(const struct sync *s, const struct core_v1_pod *pod)
{
	return (int64_t)ordinal_of(s->set, pod->metadata.name) - s->start;
}

/* NULL: not there. */
static const struct core_v1_pod *member_at(struct sync *s, int32_t place)
{
	if (s->cursor < s->member_count && place_of(s, s->members[s->cursor]) == place)
		return s->members[s->cursor++];
	size_t low = 0, high = s->member_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int64_t at = place_of(s, s->members[middle]);
		if (at == place) {
			s->cursor = middle + 1;
			return s->members[middle];
		}
		if (at < place)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

static void sort_pods(struct sync *s)
{
	s->start = s->set->spec.ordinals ? s->set->spec.ordinals->start : 0;
	int32_t wanted = max_of(s->set->spec.replicas ? *s->set->spec.replicas : 1, 0);
	s->count = (int32_t)min_of((int64_t)wanted, (int64_t)INT32_MAX - s->start + 1);
	if (s->count < wanted)
		reconciler_event(s->r, s->set, EVENT_WARNING, "FailedCreate", "StatefulSet %s asks for ordinals past %d: there are none", s->set->metadata.name, INT32_MAX);
	s->members = xcalloc(s->pods.len, sizeof(*s->members));
	s->condemned = xcalloc(s->pods.len, sizeof(*s->condemned));
	for (size_t i = 0; i < s->pods.len; i++) {
		const struct core_v1_pod *pod = s->pods.items[i];
		int64_t at = place_of(s, pod);
		if (at >= 0 && at < s->count)
			s->members[s->member_count++] = pod;
		else
			s->condemned[s->condemned_count++] = pod;
	}
	qsort_r(s->members, s->member_count, sizeof(*s->members), compare_ordinals, s->set);
	qsort_r(s->condemned, s->condemned_count, sizeof(*s->condemned), compare_condemned, s->set);
}

/* ---- making ---- */

static char *claim_name(const struct sync *s, const struct core_v1_persistent_volume_claim *template, int32_t ordinal)
{
	return xprintf("%s-%s-%d", template->metadata.name, s->set->metadata.name, ordinal);
}

static bool retains(const char *policy)
{
	return !str_equal(policy, "Delete");
}

static int make_claim(struct sync *s, const struct core_v1_persistent_volume_claim *template, int32_t ordinal, struct error *err)
{
	const struct apps_v1_stateful_set *set = s->set;
	autofree char *name = claim_name(s, template, ordinal);
	autounref void *found = world_find(s->r->world, CACHED_PERSISTENT_VOLUME_CLAIMS, set->metadata.namespace, name);
	if (found)
		return 0;
	autounref struct core_v1_persistent_volume_claim *claim = api_new_of(core_v1_persistent_volume_claim);
	struct arena *arena = api_arena(claim);
	api_copy_value(&core_v1_persistent_volume_claim_spec_type, &claim->spec, &template->spec, arena);
	api_copy_value(&meta_v1_object_meta_type, &claim->metadata, &template->metadata, arena);
	claim->metadata.name = arena_strdup(arena, name);
	claim->metadata.namespace = arena_strdup(arena, set->metadata.namespace);
	for (uint32_t i = 0; i < set->spec.selector->match_labels.len; i++)
		api_map_set(arena, &claim->metadata.labels, set->spec.selector->match_labels.items[i].key, set->spec.selector->match_labels.items[i].value);
	const struct apps_v1_stateful_set_persistent_volume_claim_retention_policy *policy = set->spec.persistent_volume_claim_retention_policy;
	if (policy && !retains(policy->when_deleted))
		owner_set_controller(arena, &claim->metadata, set);
	autoerror struct error failed = {0};
	int r = world_create(s->r->world, CACHED_PERSISTENT_VOLUME_CLAIMS, claim, NULL, &failed);
	if (r && error_is(&failed, "AlreadyExists"))
		return 0;
	reconciler_event(s->r, set, r ? EVENT_WARNING : EVENT_NORMAL, r ? "FailedCreate" : "SuccessfulCreate", "Create Claim %s%s Pod %s-%d in StatefulSet %s %s%s",
		name, r ? " for" : "", set->metadata.name, ordinal, set->metadata.name, r ? "failed error: " : "success", r ? error_message(&failed) : "");
	return error_move(err, &failed);
}

static void mount_claims(struct sync *s, struct core_v1_pod *pod, int32_t ordinal)
{
	struct arena *arena = api_arena(pod);
	for (uint32_t i = 0; i < s->set->spec.volume_claim_templates.len; i++) {
		const struct core_v1_persistent_volume_claim *template = &s->set->spec.volume_claim_templates.items[i];
		autofree char *name = claim_name(s, template, ordinal);
		struct core_v1_volume *volume = NULL;
		for (uint32_t j = 0; j < pod->spec.volumes.len && !volume; j++)
			if (str_equal(pod->spec.volumes.items[j].name, template->metadata.name))
				volume = &pod->spec.volumes.items[j];
		if (!volume)
			volume = api_list_add(arena, &pod->spec.volumes);
		*volume = (struct core_v1_volume){.name = arena_strdup(arena, template->metadata.name)};
		volume->persistent_volume_claim = arena_new_type(arena, struct core_v1_persistent_volume_claim_volume_source);
		volume->persistent_volume_claim->claim_name = arena_strdup(arena, name);
	}
}

/* The revision a pod of this ordinal is to be made of. */
static struct apps_v1_controller_revision *revision_for(const struct sync *s, int32_t ordinal)
{
	if (str_equal(s->set->spec.update_strategy.type, "OnDelete"))
		return s->update;
	const struct apps_v1_rolling_update_stateful_set_strategy *rolling = s->set->spec.update_strategy.rolling_update;
	int64_t place = (int64_t)ordinal - s->start;
	bool old = place < (rolling && rolling->partition ? *rolling->partition : s->cached->status.current_replicas);
	return old ? s->current : s->update;
}

/* The reference by which an earlier set or pod of this name owned the claim: that one is to be left to the garbage collector. */
static bool is_stale_ref(const struct meta_v1_owner_reference *ref, const char *kind, const struct meta_v1_object_meta *meta)
{
	return str_equal(ref->kind, kind) && str_equal(ref->name, meta->name) && !str_equal(ref->uid, meta->uid);
}

/* A claim that goes, or is about to go, with an earlier set or pod of this name: a pod that took it up would lose it, or keep it from going. */
static bool has_stale_claim(const struct sync *s, int32_t ordinal)
{
	autofree char *pod_name = xprintf("%s-%d", s->set->metadata.name, ordinal);
	for api_list_each (template, &s->set->spec.volume_claim_templates) {
		autofree char *name = claim_name(s, template, ordinal);
		autounref struct core_v1_persistent_volume_claim *claim = world_find(s->r->world, CACHED_PERSISTENT_VOLUME_CLAIMS, s->set->metadata.namespace, name);
		if (!claim)
			continue;
		if (claim->metadata.deletion_timestamp.set)
			return true;
		for api_list_each (ref, &claim->metadata.owner_references)
			if (is_stale_ref(ref, "StatefulSet", &s->set->metadata) || (str_equal(ref->kind, "Pod") && str_equal(ref->name, pod_name)))
				return true;
	}
	return false;
}

/* A pod that has to wait for its claims is told of as one that could not be made. */
static int make_claims(struct sync *s, int32_t ordinal, struct error *err)
{
	const struct apps_v1_stateful_set *set = s->set;
	for api_list_each (template, &set->spec.volume_claim_templates) {
		autoerror struct error failed = {0};
		if (make_claim(s, template, ordinal, &failed) == 0)
			continue;
		reconciler_event(s->r, set, EVENT_WARNING, "FailedCreate", "Create Pod %s-%d in StatefulSet %s failed error: failed to create PVC %s-%s-%d: %s", set->metadata.name, ordinal,
			set->metadata.name, template->metadata.name, set->metadata.name, ordinal, error_message(&failed));
		return error_move(err, &failed);
	}
	return 0;
}

static int make_pod(struct sync *s, int32_t ordinal, struct error *err)
{
	const struct apps_v1_stateful_set *set = s->set;
	struct apps_v1_controller_revision *revision = revision_for(s, ordinal);
	autoarena struct arena *scratch = arena_new();
	struct core_v1_pod_template_spec template = set->spec.template;
	int r = revision == s->update ? 0 : history_template(revision, scratch, &template, err);
	if (r)
		return r;
	r = make_claims(s, ordinal, err);
	if (r)
		return r;
	char index[16];
	snprintf(index, sizeof(index), "%d", ordinal);
	autounref struct core_v1_pod *pod = pod_from_template(&template, set, set->metadata.name);
	struct arena *arena = api_arena(pod);
	pod->metadata.name = arena_printf(arena, "%s-%d", set->metadata.name, ordinal);
	pod->spec.hostname = pod->metadata.name;
	pod->spec.subdomain = arena_strdup(arena, set->spec.service_name);
	api_map_set(arena, &pod->metadata.labels, LABEL_POD_NAME, pod->metadata.name);
	api_map_set(arena, &pod->metadata.labels, LABEL_POD_INDEX, index);
	api_map_set(arena, &pod->metadata.labels, LABEL_REVISION_HASH, revision->metadata.name);
	mount_claims(s, pod, ordinal);
	autoerror struct error failed = {0};
	autounref struct core_v1_pod *created = NULL;
	r = world_create(s->r->world, CACHED_PODS, pod, (void **)&created, &failed);
	if (r)
		expectations_failed(pods_of(s), s->key, pod, &failed);
	else if (created)
		expectations_created(pods_of(s), s->key, created);
	if (r && error_is(&failed, "AlreadyExists"))
		return error_move(err, &failed); /* ours, not yet in the cache; or another's: looked at again */
	reconciler_event(s->r, set, r ? EVENT_WARNING : EVENT_NORMAL, r ? "FailedCreate" : "SuccessfulCreate", "Create Pod %s in StatefulSet %s %s%s",
		pod->metadata.name, set->metadata.name, r ? "failed error: " : "successful", r ? error_message(&failed) : "");
	return error_move(err, &failed);
}

static int remove_pod(struct sync *s, const struct core_v1_pod *pod, struct error *err)
{
	autoerror struct error failed = {0};
	expectations_deleted(pods_of(s), s->key, pod);
	int r = world_delete(s->r->world, CACHED_PODS, pod, NULL, &failed);
	if (r)
		expectations_failed(pods_of(s), s->key, pod, &failed);
	reconciler_event(s->r, s->set, r ? EVENT_WARNING : EVENT_NORMAL, r ? "FailedDelete" : "SuccessfulDelete", "Delete Pod %s in StatefulSet %s %s%s",
		pod->metadata.name, s->set->metadata.name, r ? "failed error: " : "successful", r ? error_message(&failed) : "");
	return error_move(err, &failed);
}

/*
 * Who is to own a claim, by its retention policy: the set while the pod has its place, the pod once it goes for good, nobody where claims are kept.
 * A claim that others control, or that stood for a namesake, is left alone. Returns true where the copy was changed.
 */
static bool settle_owner(const struct sync *s, const struct core_v1_pod *pod, bool condemned, struct core_v1_persistent_volume_claim *claim)
{
	const struct apps_v1_stateful_set_persistent_volume_claim_retention_policy *policy = s->set->spec.persistent_volume_claim_retention_policy;
	bool scaled = policy && !retains(policy->when_scaled), deleted = policy && !retains(policy->when_deleted);
	bool by_pod = condemned && scaled, by_set = deleted && !by_pod, foreign = false, has_pod = false, has_set = false;
	struct meta_v1_object_meta *meta = &claim->metadata;
	for api_list_each (ref, &meta->owner_references) {
		bool controls = ref->controller && *ref->controller;
		if (is_stale_ref(ref, "StatefulSet", &s->set->metadata) || is_stale_ref(ref, "Pod", &pod->metadata))
			return false;
		if (str_equal(ref->uid, pod->metadata.uid))
			has_pod = controls;
		else if (str_equal(ref->uid, s->set->metadata.uid))
			has_set = controls;
		else
			foreign |= controls;
	}
	if (foreign && (scaled || deleted))
		by_pod = by_set = false;
	if (has_pod == by_pod && has_set == by_set)
		return false;
	owner_remove(meta, pod->metadata.uid);
	owner_remove(meta, s->set->metadata.uid);
	if (by_pod || by_set)
		owner_set_controller(api_arena(claim), meta, by_pod ? (const void *)pod : s->set);
	return true;
}

static int tend_claims(struct sync *s, const struct core_v1_pod *pod, bool condemned, bool *ret_changed, struct error *err)
{
	int32_t ordinal = ordinal_of(s->set, pod->metadata.name);
	for api_list_each (template, &s->set->spec.volume_claim_templates) {
		autofree char *name = claim_name(s, template, ordinal);
		autounref struct core_v1_persistent_volume_claim *claim = world_find(s->r->world, CACHED_PERSISTENT_VOLUME_CLAIMS, pod->metadata.namespace, name);
		if (!claim) {
			/* A pod that waits for a claim somebody has deleted would wait for ever. */
			bool waits = !condemned && str_equal(pod->status.phase, CORE_V1_POD_PHASE_PENDING);
			int r = waits ? make_claim(s, template, ordinal, err) : 0;
			if (r)
				return r;
			continue;
		}
		autounref struct core_v1_persistent_volume_claim *copy = api_copy(claim);
		if (!settle_owner(s, pod, condemned, copy))
			continue;
		autounref void *written = NULL;
		autoerror struct error failed = {0};
		int r = world_update(s->r->world, CACHED_PERSISTENT_VOLUME_CLAIMS, copy, &written, &failed);
		if (r)
			expectations_failed(((struct state *)s->r->state)->claims, s->key, copy, &failed);
		else if (written)
			expectations_created(((struct state *)s->r->state)->claims, s->key, written);
		if (r)
			return error_move(err, &failed);
		*ret_changed = true;
	}
	return 0;
}

/* The labels by which Services and people find one member. */
static int tend_identity(struct sync *s, const struct core_v1_pod *pod, bool *ret_changed, struct error *err)
{
	if (str_equal(api_map_get(&pod->metadata.labels, LABEL_POD_NAME), pod->metadata.name))
		return 0;
	autofree char *patch = xprintf("{\"metadata\":{\"uid\":\"%s\",\"labels\":{\"" LABEL_POD_NAME "\":\"%s\"}}}", pod->metadata.uid, pod->metadata.name);
	int r = world_merge_patch(s->r->world, CACHED_PODS, pod->metadata.namespace, pod->metadata.name, NULL, patch, err);
	*ret_changed |= !r;
	return r;
}

/* ---- the steps; each returns 1 where the order demands to wait ---- */

static int step_replica(struct sync *s, int32_t i, struct error *err)
{
	const struct core_v1_pod *pod = member_at(s, i);
	int32_t ordinal = s->start + i;
	if (!pod) {
		s->missing_seen++;
		if (has_stale_claim(s, ordinal)) {
			s->after_ms = STALE_CLAIM_MS;
			return !s->parallel;
		}
		int r = make_pod(s, ordinal, err);
		return r ? r : !s->parallel;
	}
	if (pod_is_terminal(pod)) {
		int r = pod->metadata.deletion_timestamp.set ? 0 : remove_pod(s, pod, err);
		return r ? r : !s->parallel;
	}
	if (!pod->metadata.deletion_timestamp.set) {
		bool changed = false;
		int r = tend_claims(s, pod, false, &changed, err);
		r = r ? r : tend_identity(s, pod, &changed, err);
		if (r)
			return r;
		if (changed)
			reconciler_event(s->r, s->set, EVENT_NORMAL, "SuccessfulUpdate", "Update Pod %s in StatefulSet %s successful", pod->metadata.name, s->set->metadata.name);
	}
	if (s->parallel)
		return 0;
	return pod->metadata.deletion_timestamp.set || !runs_ready(pod) || !is_available(s, pod);
}

static int step_condemned(struct sync *s, size_t i, const struct core_v1_pod *first_unhealthy, struct error *err)
{
	const struct core_v1_pod *pod = s->condemned[i];
	if (pod->metadata.deletion_timestamp.set)
		return !s->parallel;
	/* One that has ended will never be ready: Kubernetes waits for it for ever. */
	bool waits = !s->parallel && pod != first_unhealthy && pod_is_active(pod);
	if (waits && (!runs_ready(pod) || !is_available(s, pod)))
		return 1;
	bool changed = false;
	int r = tend_claims(s, pod, true, &changed, err);
	r = r ? r : remove_pod(s, pod, err);
	return r ? r : !s->parallel;
}

/* Lowest ordinal of all that is not healthy: the others wait for it. */
static const struct core_v1_pod *first_unhealthy(const struct sync *s)
{
	for (size_t i = 0; i < s->member_count; i++)
		if (!is_healthy(s->members[i]))
			return s->members[i];
	for (size_t i = s->condemned_count; i--;)
		if (!is_healthy(s->condemned[i]))
			return s->condemned[i];
	return NULL;
}

static int roll(struct sync *s, struct error *err)
{
	const struct apps_v1_rolling_update_stateful_set_strategy *rolling = s->set->spec.update_strategy.rolling_update;
	int limit = 1;
	int64_t unavailable = s->count - (int64_t)s->member_count, next = s->count - 1;
	if (rolling && rolling->max_unavailable && int_or_string_scaled(rolling->max_unavailable, s->count, true, &limit) < 0)
		limit = 1;
	limit = max_of(limit, 1);
	for (size_t i = 0; i < s->member_count; i++)
		unavailable += !is_healthy(s->members[i]) || !is_available(s, s->members[i]);
	for (size_t i = s->member_count; i--; next--) {
		const struct core_v1_pod *pod = s->members[i];
		bool going = pod->metadata.deletion_timestamp.set;
		int64_t place = place_of(s, pod);
		if (place < partition_of(s->set) || (limit == 1 && place != next))
			return 0; /* one above is not there: it is waited for */
		if (!going && !is_of(pod, s->update)) {
			bool idle = !is_healthy(pod) || !is_available(s, pod);
			/* One that serves nobody may always go: a broken revision must not block its own repair, also where it is that of a lower ordinal. */
			if (!idle && unavailable >= limit)
				continue;
			int r = remove_pod(s, pod, err);
			if (r)
				return r;
			unavailable += !idle;
			if (unavailable >= limit)
				return 0;
		} else if (limit == 1 && (going || !is_healthy(pod) || !is_available(s, pod))) {
			return 0; /* wait for it before touching the next */
		}
	}
	return 0;
}

/* Where none waits for another, one that fails holds up no others but by halves: what is refused is not asked for a thousand times. */
static int step_in_batches(struct sync *s, struct error *err)
{
	int failed = 0;
	int64_t size = 1, end = 1;
	for (int32_t i = 0; i < s->count && !(failed && i == end) && s->missing_seen < BURST_REPLICAS; i++) {
		if (i == end)
			end += size *= 2;
		autoerror struct error one = {0};
		int r = step_replica(s, i, &one);
		if (r < 0 && !failed) {
			failed = r;
			error_move(err, &one);
		}
	}
	return failed;
}

static int act(struct sync *s, struct error *err)
{
	int r = s->parallel ? step_in_batches(s, err) : 0;
	for (int32_t i = 0; i < s->count && !r && !s->parallel; i++)
		r = step_replica(s, i, err);
	const struct core_v1_pod *unhealthy = first_unhealthy(s);
	for (size_t i = 0; i < s->condemned_count && !r; i++)
		r = step_condemned(s, i, unhealthy, err);
	if (r)
		return r < 0 ? r : 0;
	return str_equal(s->set->spec.update_strategy.type, "OnDelete") ? 0 : roll(s, err);
}

/* ---- status ---- */

static void compute_status(struct sync *s)
{
	struct apps_v1_stateful_set_status *status = &s->set->status;
	int32_t replicas = 0, ready = 0, available = 0, current = 0, updated = 0;
	for (size_t i = 0; i < s->pods.len; i++) {
		const struct core_v1_pod *pod = s->pods.items[i];
		replicas += !str_empty(pod->status.phase);
		ready += runs_ready(pod);
		available += runs_ready(pod) && is_available(s, pod);
		if (pod->metadata.deletion_timestamp.set || str_empty(pod->status.phase))
			continue;
		current += is_of(pod, s->current);
		updated += is_of(pod, s->update);
	}
	status->observed_generation = s->set->metadata.generation;
	status->replicas = replicas;
	status->ready_replicas = ready;
	status->available_replicas = available;
	status->current_replicas = current;
	status->updated_replicas = updated;
	status->current_revision = s->current->metadata.name;
	status->update_revision = s->update->metadata.name;
	/* The update is through: the new revision is the current one. */
	if (!str_equal(s->set->spec.update_strategy.type, "OnDelete") && updated == replicas && ready == replicas && replicas == s->count) {
		status->current_replicas = updated;
		status->current_revision = status->update_revision;
	}
}

static bool revision_is_live(const struct apps_v1_controller_revision *revision, void *arg)
{
	const struct sync *s = arg;
	if (revision == s->current || revision == s->update)
		return true;
	for (size_t i = 0; i < s->pods.len; i++)
		if (is_of(s->pods.items[i], revision))
			return true;
	return false;
}

static void sync_done(struct sync *s)
{
	history_done(&s->history);
	informer_list_done(&s->pods);
	free(s->members);
	free(s->condemned);
	api_unref(s->set);
}

static int write_status(struct sync *s, struct error *err)
{
	if (api_equal(&apps_v1_stateful_set_status_type, &s->set->status, &s->cached->status))
		return 0;
	return world_update_status(s->r->world, CACHED_STATEFUL_SETS, s->set, NULL, err);
}

/* A status that changes is told anew as a whole: conditions that clients wrote into it do not outlive that, but for our own. */
static void drop_conditions(struct apps_v1_stateful_set_status *status)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < status->conditions.len; i++)
		if (str_equal(status->conditions.items[i].type, ROLLED_BACK))
			status->conditions.items[kept++] = status->conditions.items[i];
	status->conditions.len = kept;
}

static int sync_set(struct sync *s, const struct selector *selector, struct error *err)
{
	struct apps_v1_stateful_set *set = s->set;
	/* The conditions of both kinds have one layout. */
	_Static_assert(sizeof(struct apps_v1_stateful_set_condition) == sizeof(struct apps_v1_daemon_set_condition), "same layout");
	if (selector_mismatches(s->r, set, (struct apps_v1_daemon_set_condition_array *)(void *)&set->status.conditions, selector, &set->spec.template)) {
		set->status.observed_generation = set->metadata.generation;
		return write_status(s, err);
	}
	int32_t collisions = set->status.collision_count ? *set->status.collision_count : 0, before = collisions;
	/* A pod taken down a moment ago may still look healthy: by it the next one would go too early. */
	int may_act = expectations_check(pods_of(s), s->r->world, CACHED_PODS, s->key, err);
	if (may_act < 0)
		return may_act;
	int claims = expectations_check(((struct state *)s->r->state)->claims, s->r->world, CACHED_PERSISTENT_VOLUME_CLAIMS, s->key, err);
	if (claims <= 0)
		return claims ? claims : CLAIMS_MS;
	int r = history_load(s->r, CACHED_STATEFUL_SETS, s->cached, selector, &set->spec.template, &collisions, &s->history, err);
	if (collisions != before || !set->status.collision_count)
		set->status.collision_count = api_int32(api_arena(set), collisions);
	if (r) {
		if (collisions != before)
			world_update_status(s->r->world, CACHED_STATEFUL_SETS, set, NULL, NULL);
		return r;
	}
	r = owner_claim(s->r->world, CACHED_STATEFUL_SETS, s->cached, CACHED_PODS, selector, is_member, set, &s->pods, err);
	if (r)
		return r;
	s->update = s->history.current;
	s->current = history_find(&s->history, set->status.current_revision);
	if (!s->current)
		s->current = s->update;
	s->parallel = str_equal(set->spec.pod_management_policy, "Parallel");
	sort_pods(s);
	autoerror struct error failed = {0};
	if (may_act && !set->metadata.deletion_timestamp.set)
		act(s, &failed);
	compute_status(s);
	if (!api_equal(&apps_v1_stateful_set_status_type, &set->status, &s->cached->status))
		drop_conditions(&set->status);
	r = write_status(s, err);
	if (r)
		return r;
	if (failed.errnum)
		return error_move(err, &failed);
	r = history_truncate(s->r, &s->history, set->spec.revision_history_limit ? *set->spec.revision_history_limit : 10, revision_is_live, s, err);
	if (r)
		return r;
	return s->after_ms || may_act ? s->after_ms : EXPECTATIONS_LOOK_MS;
}

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	autofree char *key = xprintf("%s/%s", ns, name);
	autounref struct apps_v1_stateful_set *cached = world_find(r->world, CACHED_STATEFUL_SETS, ns, name);
	if (!cached) {
		expectations_forget(((struct state *)r->state)->pods, key);
		expectations_forget(((struct state *)r->state)->claims, key);
		return 0;
	}
	struct selector *selector = NULL;
	int result = label_selector_from(cached->spec.selector, &selector, err);
	if (!result) {
		cleanup(sync_done) struct sync s = {.r = r, .key = key, .cached = cached, .set = api_copy(cached)};
		result = sync_set(&s, selector, err);
	}
	selector_free(selector);
	return result;
}

static void wake_by_owned(struct reconciler *r, const void *object)
{
	const struct meta_v1_object_meta *meta = api_metadata(object);
	if (owner_controller(meta)) {
		reconciler_add_owner(r, object, "StatefulSet");
		return;
	}
	/* An orphan is taken in by the set whose name it bears. */
	autofree char *name = xstrdup(meta->name);
	char *dash = strrchr(name, '-');
	if (dash) {
		*dash = '\0';
		autounref void *set = world_find(r->world, CACHED_STATEFUL_SETS, meta->namespace, name);
		if (set)
			reconciler_add(r, meta->namespace, name);
	}
}

static void *state_new(void)
{
	struct state *state = xnew(struct state);
	state->pods = expectations_new();
	state->claims = expectations_new();
	return state;
}

static void state_free(void *arg)
{
	struct state *state = arg;
	expectations_free(state->pods);
	expectations_free(state->claims);
	free(state);
}

const struct controller stateful_set_controller = {
	.name = "statefulset-controller",
	.queue = "statefulset",
	.account = "statefulset-controller",
	.alias = "statefulset",
	.concurrency_flag = "concurrent-statefulset-syncs",
	.workers = 5,
	.watches = (const struct controller_watch[]){{.what = CACHED_STATEFUL_SETS},
		{.what = CACHED_PODS, .wake = wake_by_owned},
		{.what = CACHED_CONTROLLER_REVISIONS, .wake = wake_by_owned},
		{.what = CACHED_PERSISTENT_VOLUME_CLAIMS, .read_only = true},
		{.what = CACHED_NONE}},
	.reconcile = reconcile,
	.state_new = state_new,
	.state_free = state_free,
};

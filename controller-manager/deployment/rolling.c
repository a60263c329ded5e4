/* SPDX-License-Identifier: Apache-2.0 */
/* How a rollout moves: rolling update, recreate, and scaling in proportion. */
#include "controller-manager/deployment/deployment.h"

#include "controller-manager/shared/pods.h"

#include <math.h>

int32_t set_replicas(const struct apps_v1_replica_set *rs)
{
	return rs->spec.replicas ? *rs->spec.replicas : 1;
}

int32_t deployment_replicas(const struct apps_v1_deployment *d)
{
	return d->spec.replicas ? *d->spec.replicas : 1;
}

bool deployment_is_rolling(const struct apps_v1_deployment *d)
{
	return !str_equal(d->spec.strategy.type, "Recreate");
}

void deployment_fenceposts(const struct apps_v1_deployment *d, int32_t *ret_surge, int32_t *ret_unavailable)
{
	const struct apps_v1_rolling_update_deployment *rolling = d->spec.strategy.rolling_update;
	static const struct int_or_string quarter = {.str = "25%"};
	int surge = 0, unavailable = 0, replicas = deployment_replicas(d);
	if (int_or_string_scaled(rolling && rolling->max_surge ? rolling->max_surge : &quarter, replicas, true, &surge) < 0)
		surge = 0;
	if (int_or_string_scaled(rolling && rolling->max_unavailable ? rolling->max_unavailable : &quarter, replicas, false, &unavailable) < 0)
		unavailable = 0;
	if (!surge && !unavailable)
		unavailable = 1; /* or nothing could ever move */
	*ret_surge = surge;
	*ret_unavailable = unavailable;
}

int32_t deployment_max_surge(const struct apps_v1_deployment *d)
{
	int32_t surge, unavailable;
	if (!deployment_is_rolling(d))
		return 0;
	deployment_fenceposts(d, &surge, &unavailable);
	return surge;
}

int32_t deployment_max_unavailable(const struct apps_v1_deployment *d)
{
	int32_t surge, unavailable;
	if (!deployment_is_rolling(d) || !deployment_replicas(d))
		return 0;
	deployment_fenceposts(d, &surge, &unavailable);
	return min_of(unavailable, deployment_replicas(d));
}

int32_t rolling_new_replicas(const struct apps_v1_deployment *d, int32_t total, int32_t current)
{
	int32_t wanted = deployment_replicas(d);
	if (!deployment_is_rolling(d))
		return wanted;
	int64_t room = (int64_t)wanted + deployment_max_surge(d) - total;
	if (room <= 0)
		return current;
	return current + (int32_t)min_of(room, (int64_t)wanted - current);
}

int32_t proportion_of(const struct apps_v1_deployment *d, const struct apps_v1_replica_set *rs, int32_t to_add, int32_t added)
{
	int32_t replicas = set_replicas(rs), allowed = to_add - added;
	if (!replicas || !to_add || !allowed)
		return 0;
	int64_t before = 0;
	if (!str_to_int64(api_map_get(&rs->metadata.annotations, ANNOTATION_MAX_REPLICAS), 1, INT32_MAX, &before))
		before = d->status.replicas;
	int32_t fraction = 0;
	if (!deployment_replicas(d))
		fraction = -replicas;
	else if (before > 0)
		fraction = (int32_t)lround((double)replicas * ((double)deployment_replicas(d) + deployment_max_surge(d)) / (double)before) - replicas;
	/* A set that missed a scaling tells of another size than the others: its share must not go the other way. */
	if (to_add > 0)
		return fraction < 0 ? 0 : min_of(fraction, allowed);
	return fraction > 0 ? 0 : max_of(fraction, allowed);
}

/*
 * Pods of a set that are sure to be available. A set that was made smaller and larger again still tells of pods that have gone, until its status has
 * seen the new size.
 */
static int32_t sure_pods(const struct apps_v1_replica_set *rs)
{
	if (rs->status.observed_generation < rs->metadata.generation)
		return 0;
	return min_of(rs->status.available_replicas, set_replicas(rs));
}

/* Those that may well be available, where the status has not seen the set's new size yet. */
static int32_t likely_pods(const struct apps_v1_replica_set *rs)
{
	return min_of(rs->status.available_replicas, set_replicas(rs));
}

/* How many must stay available, whatever moves. */
static int32_t pods_to_keep(const struct apps_v1_deployment *d)
{
	return deployment_replicas(d) - deployment_max_unavailable(d);
}

/* ---- scaling ---- */

static size_t count_active(const struct rollout *rollout)
{
	size_t count = 0;
	for (size_t i = 0; i < rollout->count; i++)
		count += set_replicas(rollout->sets[i]) > 0;
	return count;
}

bool rollout_is_scaling(const struct rollout *rollout)
{
	/* With several sets in use a Recreate is under way: it sizes them all itself, where scaling could not tell which to size. */
	if (!deployment_is_rolling(rollout->d) && !rollout->d->spec.paused && count_active(rollout) > 1)
		return false;
	for (size_t i = 0; i < rollout->count; i++) {
		int64_t desired;
		const struct apps_v1_replica_set *rs = rollout->sets[i];
		if (set_replicas(rs) && str_to_int64(api_map_get(&rs->metadata.annotations, ANNOTATION_DESIRED_REPLICAS), 0, INT32_MAX, &desired) &&
			desired != deployment_replicas(rollout->d))
			return true;
	}
	return false;
}

/* The one set that may be scaled without regard for others: the only active one, or with none active the newest. -1: several are active. */
static ptrdiff_t only_set(const struct rollout *rollout)
{
	ptrdiff_t found = -1;
	for (size_t i = 0; i < rollout->count; i++) {
		if (!set_replicas(rollout->sets[i]))
			continue;
		if (found >= 0)
			return -1;
		found = (ptrdiff_t)i;
	}
	if (found >= 0)
		return found;
	return rollout->fresh >= 0 ? rollout->fresh : (ptrdiff_t)rollout->count - 1;
}

static bool is_saturated(const struct rollout *rollout)
{
	if (rollout->fresh < 0)
		return false;
	const struct apps_v1_replica_set *rs = rollout->sets[rollout->fresh];
	int32_t wanted = deployment_replicas(rollout->d);
	int64_t desired;
	return set_replicas(rs) == wanted && sure_pods(rs) == wanted &&
	       str_to_int64(api_map_get(&rs->metadata.annotations, ANNOTATION_DESIRED_REPLICAS), 0, INT32_MAX, &desired) && desired == wanted;
}

static int scale_olds_to_zero(struct rollout *rollout, bool *ret_scaled, struct error *err)
{
	for (size_t i = 0; i < rollout->count; i++) {
		if ((ptrdiff_t)i == rollout->fresh || !set_replicas(rollout->sets[i]))
			continue;
		int r = rollout_scale_set(rollout, i, 0, ret_scaled, err);
		if (r)
			return r;
	}
	return 0;
}

struct sized {
	size_t index;
	int32_t replicas, size;
	int64_t created;
};

static int compare_larger_newer(const void *left, const void *right)
{
	const struct sized *a = left, *b = right;
	if (a->replicas != b->replicas)
		return a->replicas > b->replicas ? -1 : 1;
	return a->created > b->created ? -1 : a->created < b->created;
}

static int compare_larger_older(const void *left, const void *right)
{
	const struct sized *a = left, *b = right;
	if (a->replicas != b->replicas)
		return a->replicas > b->replicas ? -1 : 1;
	return a->created < b->created ? -1 : a->created > b->created;
}

/*
 * Shares are by size alone. Where a set that is large and not available would keep its share, and the available pods of a small one go, shares move
 * until as many pods as must be will stay available.
 */
static void keep_available(const struct rollout *rollout, struct sized *sized, size_t count, int32_t (*available)(const struct apps_v1_replica_set *rs))
{
	int32_t had = 0, left = 0;
	for (size_t i = 0; i < count; i++) {
		int32_t here = available(rollout->sets[sized[i].index]);
		had += here;
		left += min_of(sized[i].size, here);
	}
	int32_t missing = min_of(had, pods_to_keep(rollout->d)) - left;
	for (size_t i = 0; i < count && missing > 0; i++) {
		int32_t here = available(rollout->sets[sized[i].index]);
		for (size_t j = 0; j < count && missing > 0 && sized[i].size < here; j++) {
			int32_t spare = sized[j].size - available(rollout->sets[sized[j].index]);
			int32_t moved = min_of(spare, here - sized[i].size);
			moved = min_of(moved, missing);
			if (moved <= 0)
				continue;
			sized[j].size -= moved;
			sized[i].size += moved;
			missing -= moved;
		}
	}
}

static int scale_in_proportion(struct rollout *rollout, struct error *err)
{
	const struct apps_v1_deployment *d = rollout->d;
	autofree struct sized *sized = xcalloc(rollout->count, sizeof(*sized));
	size_t count = 0;
	int32_t total = 0, added = 0, wanted = deployment_replicas(d);
	for (size_t i = 0; i < rollout->count; i++) {
		int32_t replicas = set_replicas(rollout->sets[i]);
		if (replicas)
			sized[count++] = (struct sized){i, replicas, replicas, rollout->sets[i]->metadata.creation_timestamp.t.sec};
		total += replicas;
	}
	int32_t to_add = (wanted > 0 ? wanted + deployment_max_surge(d) : 0) - total;
	qsort(sized, count, sizeof(*sized), to_add >= 0 ? compare_larger_newer : compare_larger_older);
	for (size_t i = 0; i < count; i++) {
		int32_t share = proportion_of(d, rollout->sets[sized[i].index], to_add, added);
		sized[i].size += share;
		added += share;
	}
	/* What rounding left goes to the largest, as far as it can. */
	for (size_t i = 0; i < count && added != to_add; i++) {
		int32_t rest = max_of(to_add - added, -sized[i].size);
		sized[i].size += rest;
		added += rest;
	}
	if (to_add < 0) {
		keep_available(rollout, sized, count, sure_pods);
		keep_available(rollout, sized, count, likely_pods); /* takes none of those that are sure: they are likely too */
	}
	for (size_t i = 0; i < count; i++) {
		int r = rollout_scale_set(rollout, sized[i].index, sized[i].size, NULL, err);
		if (r)
			return r;
	}
	return 0;
}

int rollout_scale(struct rollout *rollout, struct error *err)
{
	ptrdiff_t only = rollout->count ? only_set(rollout) : -1;
	if (!rollout->count)
		return 0;
	if (only >= 0)
		return rollout_scale_set(rollout, (size_t)only, deployment_replicas(rollout->d), NULL, err);
	if (is_saturated(rollout))
		return scale_olds_to_zero(rollout, NULL, err);
	return deployment_is_rolling(rollout->d) ? scale_in_proportion(rollout, err) : 0;
}

/* ---- rolling update ---- */

static int scale_new(struct rollout *rollout, bool *ret_scaled, struct error *err)
{
	int32_t current = set_replicas(rollout->sets[rollout->fresh]), wanted = deployment_replicas(rollout->d);
	int32_t next = current >= wanted ? wanted : rolling_new_replicas(rollout->d, rollout_total(rollout, true), current);
	/* The annotations are brought up to date only together with a change of size, or every old set would be written each round. */
	return next == current ? 0 : rollout_scale_set(rollout, (size_t)rollout->fresh, next, ret_scaled, err);
}

/* Old pods that are not available serve nobody: they go first. */
static int remove_unhealthy(struct rollout *rollout, int32_t max, int32_t *ret_removed, bool *ret_scaled, struct error *err)
{
	int32_t removed = 0;
	for (size_t i = 0; i < rollout->count && removed < max; i++) {
		const struct apps_v1_replica_set *rs = rollout->sets[i];
		int32_t replicas = set_replicas(rs), idle = replicas - rs->status.available_replicas;
		if ((ptrdiff_t)i == rollout->fresh || !replicas || idle <= 0)
			continue;
		int32_t down = min_of(max - removed, idle);
		int r = rollout_scale_set(rollout, i, replicas - down, ret_scaled, err);
		if (r)
			return r;
		removed += down;
	}
	*ret_removed = removed;
	return 0;
}

static int remove_available(struct rollout *rollout, bool *ret_scaled, struct error *err)
{
	int32_t left = -pods_to_keep(rollout->d);
	for (size_t i = 0; i < rollout->count; i++)
		left += sure_pods(rollout->sets[i]);
	for (size_t i = 0; i < rollout->count && left > 0; i++) {
		int32_t replicas = set_replicas(rollout->sets[i]);
		if ((ptrdiff_t)i == rollout->fresh || !replicas)
			continue;
		int32_t down = min_of(replicas, left);
		int r = rollout_scale_set(rollout, i, replicas - down, ret_scaled, err);
		if (r)
			return r;
		left -= down;
	}
	return 0;
}

static int scale_olds(struct rollout *rollout, bool *ret_scaled, struct error *err)
{
	if (!rollout_total(rollout, false))
		return 0;
	const struct apps_v1_replica_set *fresh = rollout->sets[rollout->fresh];
	int32_t coming = set_replicas(fresh) - sure_pods(fresh);
	int32_t may_go = rollout_total(rollout, true) - pods_to_keep(rollout->d) - coming, removed = 0;
	if (may_go <= 0)
		return 0;
	int r = remove_unhealthy(rollout, may_go, &removed, ret_scaled, err);
	return r ? r : remove_available(rollout, ret_scaled, err);
}

static int finish(struct rollout *rollout, struct error *err)
{
	int r = 0;
	if (deployment_is_complete(rollout->d, &rollout->d->status))
		r = rollout_clean_up(rollout, err);
	return r ? r : rollout_update_status(rollout, true, err);
}

int rollout_rolling(struct rollout *rollout, struct error *err)
{
	bool scaled = false;
	int r = rollout_find_new(rollout, true, err);
	r = r ? r : scale_new(rollout, &scaled, err);
	if (!r && !scaled)
		r = scale_olds(rollout, &scaled, err);
	if (r)
		return r;
	return scaled ? rollout_update_status(rollout, true, err) : finish(rollout, err);
}

/* ---- recreate ---- */

static bool old_pods_are_left(struct rollout *rollout)
{
	for (size_t i = 0; i < rollout->count; i++) {
		if ((ptrdiff_t)i == rollout->fresh)
			continue;
		if (rollout->sets[i]->status.replicas > 0)
			return true;
		autolist struct informer_list pods = INFORMER_LIST_INIT;
		world_list_index(rollout->r->world, CACHED_PODS, INDEX_OWNER, rollout->sets[i]->metadata.uid, &pods);
		for (size_t j = 0; j < pods.len; j++)
			if (!pod_is_terminal(pods.items[j]))
				return true; /* one that is being deleted still runs */
	}
	return false;
}

int rollout_recreate(struct rollout *rollout, struct error *err)
{
	bool scaled = false;
	int r = rollout_find_new(rollout, false, err);
	r = r ? r : scale_olds_to_zero(rollout, &scaled, err);
	if (r)
		return r;
	if (scaled || old_pods_are_left(rollout))
		return rollout_update_status(rollout, true, err);
	if (rollout->fresh < 0)
		r = rollout_find_new(rollout, true, err);
	r = r ? r : rollout_scale_set(rollout, (size_t)rollout->fresh, deployment_replicas(rollout->d), NULL, err);
	return r ? r : finish(rollout, err);
}

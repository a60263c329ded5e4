/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the claims of generic ephemeral volumes: one for each such volume of a pod, named <pod>-<volume> and owned by the pod, so that the garbage
 * collector takes it away with it.
 */
#include "controller-manager/controller.h"
#include "controller-manager/shared/owners.h"

#include "api/core_v1.h"

#include <errno.h>

static struct metric metrics[] = {
	{.name = "ephemeral_volume_controller_create_total", .help = "Claims of ephemeral volumes that were asked for.", .kind = METRIC_COUNTER},
	{.name = "ephemeral_volume_controller_create_failures_total", .help = "Claims of ephemeral volumes that were refused.", .kind = METRIC_COUNTER},
};

static bool has_ephemeral(const struct core_v1_pod *pod)
{
	for api_list_each (volume, &pod->spec.volumes)
		if (volume->ephemeral)
			return true;
	return false;
}

static struct core_v1_persistent_volume_claim *make_claim(const struct core_v1_pod *pod, const struct core_v1_volume *volume)
{
	struct core_v1_persistent_volume_claim *claim = api_new_of(core_v1_persistent_volume_claim);
	struct arena *arena = api_arena(claim);
	struct core_v1_persistent_volume_claim_template copy = {0};
	if (volume->ephemeral->volume_claim_template)
		api_copy_value(&core_v1_persistent_volume_claim_template_type, &copy, volume->ephemeral->volume_claim_template, arena);
	claim->spec = copy.spec;
	claim->metadata.labels = copy.metadata.labels;
	claim->metadata.annotations = copy.metadata.annotations;
	claim->metadata.namespace = arena_strdup(arena, pod->metadata.namespace);
	claim->metadata.name = arena_printf(arena, "%s-%s", pod->metadata.name, volume->name);
	owner_set_controller(arena, &claim->metadata, pod);
	return claim;
}

/* A claim of this name that is somebody else's is never used: the pod waits until it is gone. */
static int must_be_for(const struct core_v1_persistent_volume_claim *claim, const struct core_v1_pod *pod, struct error *err)
{
	if (owner_is_controller(&claim->metadata, pod->metadata.uid))
		return 0;
	return error_set(err, EEXIST, "PersistentVolumeClaim \"%s\" is there already and was not made for the pod, which does not own it", claim->metadata.name);
}

static int want_claim(struct reconciler *r, const struct core_v1_pod *pod, const struct core_v1_volume *volume, struct error *err)
{
	autounref struct core_v1_persistent_volume_claim *wanted = make_claim(pod, volume), *claim = NULL;
	claim = world_find(r->world, CACHED_PERSISTENT_VOLUME_CLAIMS, wanted->metadata.namespace, wanted->metadata.name);
	if (claim)
		return must_be_for(claim, pod, err);
	autoerror struct error failed = {0};
	metric_add(metric_label(&metrics[0]), 1);
	int result = world_create(r->world, CACHED_PERSISTENT_VOLUME_CLAIMS, wanted, NULL, &failed);
	/* The cache may not show it yet, or it is our own whose answer was lost. */
	if (result && error_is(&failed, "AlreadyExists") &&
		world_get(r->world, CACHED_PERSISTENT_VOLUME_CLAIMS, wanted->metadata.namespace, wanted->metadata.name, (void **)&claim, NULL) == 0)
		return must_be_for(claim, pod, err);
	if (!result)
		return 0;
	metric_add(metric_label(&metrics[1]), 1);
	error_context(&failed, "create PersistentVolumeClaim \"%s\"", wanted->metadata.name);
	return error_move(err, &failed);
}

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	autounref struct core_v1_pod *pod = world_find(r->world, CACHED_PODS, ns, name);
	if (!pod || pod->metadata.deletion_timestamp.set)
		return 0;
	for api_list_each (volume, &pod->spec.volumes) {
		autoerror struct error failed = {0};
		int result = volume->ephemeral ? want_claim(r, pod, volume, &failed) : 0;
		if (!result)
			continue;
		reconciler_event(r, pod, EVENT_WARNING, "FailedBinding", "ephemeral volume %s: %s", volume->name, error_message(&failed));
		return error_move(err, &failed);
	}
	return 0;
}

/* ---- what wakes it ---- */

static void wake_pod(struct reconciler *r, const void *object)
{
	const struct core_v1_pod *pod = object;
	if (!pod->metadata.deletion_timestamp.set && has_ephemeral(pod))
		reconciler_add(r, pod->metadata.namespace, pod->metadata.name);
}

static void ignore(struct reconciler *r, const void *object)
{
}

/* The volumes of a pod stay as they are made. */
static bool is_another(const void *old_object, const void *object)
{
	return !str_equal(api_metadata(old_object)->uid, api_metadata(object)->uid);
}

/* A claim that went, by mistake or because it was in the way, is made anew for the pod that it belongs to. */
static void wake_owner(struct reconciler *r, const void *object)
{
	const struct meta_v1_object_meta *meta = api_metadata(object);
	reconciler_add_owner(r, object, "Pod");
	/* Who owned it may be none, or not the pod that waits for the name, which ends in that of a volume. */
	for (const char *dash = strchr(meta->name, '-'); dash; dash = strchr(dash + 1, '-')) {
		autofree char *pod = xstrndup(meta->name, (size_t)(dash - meta->name));
		reconciler_add(r, meta->namespace, pod);
	}
}

const struct controller ephemeral_volume_controller = {
	.name = "ephemeral-volume-controller",
	.alias = "ephemeral-volume",
	.queue = "ephemeral_volume",
	.component = "ephemeral_volume",
	.account = "ephemeral-volume-controller",
	.concurrency_flag = "concurrent-ephemeralvolume-syncs",
	.workers = 5,
	.metrics = metrics,
	.metric_count = array_len(metrics),
	.watches = (const struct controller_watch[]){{.what = CACHED_PODS, .wake = wake_pod, .gone = ignore, .matters = is_another},
		{.what = CACHED_PERSISTENT_VOLUME_CLAIMS, .wake = ignore, .gone = wake_owner},
		{.what = CACHED_NONE}},
	.reconcile = reconcile,
};

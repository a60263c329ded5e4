/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lets claims go (finalizer kubernetes.io/pvc-protection) once no pod uses them, volumes once no claim is bound to them, and classes of attributes once neither claim
 * nor volume names them.
 */
#include "controller-manager/controller.h"
#include "controller-manager/shared/pods.h"

#include "api/storage_v1.h"

#define PVC_FINALIZER "kubernetes.io/pvc-protection"
#define PV_FINALIZER "kubernetes.io/pv-protection"
#define VAC_FINALIZER "kubernetes.io/vac-protection"

/* Adds or removes one finalizer where that is needed. */
static int want_finalizer(struct reconciler *r, enum cached what, const void *object, const char *finalizer, bool wanted, struct error *err)
{
	const struct meta_v1_object_meta *meta = api_metadata(object);
	if (api_string_list_has(&meta->finalizers, finalizer) == wanted)
		return 0;
	autounref void *copy = api_copy(object);
	struct meta_v1_object_meta *changed = api_metadata(copy);
	if (wanted)
		api_string_list_add(api_arena(copy), &changed->finalizers, finalizer);
	for (uint32_t i = 0; i < changed->finalizers.len && !wanted;) {
		if (str_equal(changed->finalizers.items[i], finalizer))
			api_list_remove(&changed->finalizers, i);
		else
			i++;
	}
	autoerror struct error failed = {0};
	int result = world_update(r->world, what, copy, NULL, &failed);
	return result && error_is(&failed, "NotFound") ? 0 : error_move(err, &failed);
}

/* Whether a volume of a pod stands for this claim. */
static bool volume_claims(const struct core_v1_pod *pod, const struct core_v1_volume *volume, const char *claim)
{
	if (volume->persistent_volume_claim)
		return str_equal(volume->persistent_volume_claim->claim_name, claim);
	if (!volume->ephemeral)
		return false;
	autofree char *name = xprintf("%s-%s", pod->metadata.name, volume->name);
	return str_equal(name, claim);
}

static bool claim_is_used(struct reconciler *r, const char *ns, const char *name)
{
	autolist struct informer_list pods = INFORMER_LIST_INIT;
	world_list_namespace(r->world, CACHED_PODS, ns, &pods);
	for (size_t i = 0; i < pods.len; i++) {
		const struct core_v1_pod *pod = pods.items[i];
		if (pod_is_terminal(pod) || str_empty(pod->spec.node_name))
			continue;
		for (uint32_t j = 0; j < pod->spec.volumes.len; j++)
			if (volume_claims(pod, &pod->spec.volumes.items[j], name))
				return true;
	}
	return false;
}

static int reconcile_claim(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	autounref struct core_v1_persistent_volume_claim *claim = world_find(r->world, CACHED_PERSISTENT_VOLUME_CLAIMS, ns, name);
	if (!claim)
		return 0;
	if (!claim->metadata.deletion_timestamp.set)
		return want_finalizer(r, CACHED_PERSISTENT_VOLUME_CLAIMS, claim, PVC_FINALIZER, true, err);
	return claim_is_used(r, ns, name) ? 0 : want_finalizer(r, CACHED_PERSISTENT_VOLUME_CLAIMS, claim, PVC_FINALIZER, false, err);
}

/* Only claims that wait to go are woken by pods. */
static void wake_claims(struct reconciler *r, const void *object)
{
	const struct core_v1_pod *pod = object;
	for (uint32_t i = 0; i < pod->spec.volumes.len; i++) {
		const struct core_v1_volume *volume = &pod->spec.volumes.items[i];
		autofree char *name = volume->persistent_volume_claim ? xstrdup(str_or(volume->persistent_volume_claim->claim_name, "")) :
				      volume->ephemeral		      ? xprintf("%s-%s", pod->metadata.name, volume->name) :
									NULL;
		autounref struct core_v1_persistent_volume_claim *claim =
			name ? world_find(r->world, CACHED_PERSISTENT_VOLUME_CLAIMS, pod->metadata.namespace, name) : NULL;
		if (claim && claim->metadata.deletion_timestamp.set)
			reconciler_add(r, pod->metadata.namespace, name);
	}
}

static int reconcile_volume(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	autounref struct core_v1_persistent_volume *volume = world_find(r->world, CACHED_PERSISTENT_VOLUMES, NULL, name);
	if (!volume)
		return 0;
	if (!volume->metadata.deletion_timestamp.set)
		return want_finalizer(r, CACHED_PERSISTENT_VOLUMES, volume, PV_FINALIZER, true, err);
	if (str_equal(volume->status.phase, CORE_V1_PERSISTENT_VOLUME_PHASE_BOUND))
		return 0;
	return want_finalizer(r, CACHED_PERSISTENT_VOLUMES, volume, PV_FINALIZER, false, err);
}

/* ---- classes of attributes ---- */

static bool claim_names(const struct core_v1_persistent_volume_claim *claim, const char *class)
{
	return str_equal(claim->spec.volume_attributes_class_name, class) || str_equal(claim->status.current_volume_attributes_class_name, class) ||
	       (claim->status.modify_volume_status && str_equal(claim->status.modify_volume_status->target_volume_attributes_class_name, class));
}

static bool class_is_used(struct world *world, const char *class)
{
	autolist struct informer_list claims = INFORMER_LIST_INIT, volumes = INFORMER_LIST_INIT;
	world_list_all(world, CACHED_PERSISTENT_VOLUME_CLAIMS, &claims);
	for (size_t i = 0; i < claims.len; i++)
		if (claim_names(claims.items[i], class))
			return true;
	world_list_all(world, CACHED_PERSISTENT_VOLUMES, &volumes);
	for (size_t i = 0; i < volumes.len; i++)
		if (str_equal(((const struct core_v1_persistent_volume *)volumes.items[i])->spec.volume_attributes_class_name, class))
			return true;
	return false;
}

static int reconcile_class(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	autounref struct storage_v1_volume_attributes_class *class = world_find(r->world, CACHED_VOLUME_ATTRIBUTES_CLASSES, NULL, name);
	if (!class)
		return 0;
	if (!class->metadata.deletion_timestamp.set)
		return want_finalizer(r, CACHED_VOLUME_ATTRIBUTES_CLASSES, class, VAC_FINALIZER, true, err);
	return class_is_used(r->world, name) ? 0 : want_finalizer(r, CACHED_VOLUME_ATTRIBUTES_CLASSES, class, VAC_FINALIZER, false, err);
}

static void wake_going_class(struct reconciler *r, const char *name)
{
	autounref struct storage_v1_volume_attributes_class *class = str_empty(name) ? NULL : world_find(r->world, CACHED_VOLUME_ATTRIBUTES_CLASSES, NULL, name);
	if (class && class->metadata.deletion_timestamp.set)
		reconciler_add(r, NULL, name);
}

static void wake_classes_of_claim(struct reconciler *r, const void *object)
{
	const struct core_v1_persistent_volume_claim *claim = object;
	wake_going_class(r, claim->spec.volume_attributes_class_name);
	wake_going_class(r, claim->status.current_volume_attributes_class_name);
	if (claim->status.modify_volume_status)
		wake_going_class(r, claim->status.modify_volume_status->target_volume_attributes_class_name);
}

static void wake_class_of_volume(struct reconciler *r, const void *object)
{
	wake_going_class(r, ((const struct core_v1_persistent_volume *)object)->spec.volume_attributes_class_name);
}

const struct controller vac_protection_controller = {
	.name = "volumeattributesclass-protection-controller",
	.queue = "vacprotection",
	.account = "volumeattributesclass-protection-controller",
	.workers = 1,
	.watches = (const struct controller_watch[]){{.what = CACHED_VOLUME_ATTRIBUTES_CLASSES},
		{.what = CACHED_PERSISTENT_VOLUME_CLAIMS, .wake = wake_classes_of_claim},
		{.what = CACHED_PERSISTENT_VOLUMES, .wake = wake_class_of_volume},
		{.what = CACHED_NONE}},
	.reconcile = reconcile_class,
};

const struct controller pvc_protection_controller = {
	.name = "persistentvolumeclaim-protection-controller",
	.queue = "pvcprotection",
	.account = "pvc-protection-controller",
	.alias = "pvc-protection",
	.workers = 1,
	.watches = (const struct controller_watch[]){{.what = CACHED_PERSISTENT_VOLUME_CLAIMS},
		{.what = CACHED_PODS, .wake = wake_claims},
		{.what = CACHED_NONE}},
	.reconcile = reconcile_claim,
};

const struct controller pv_protection_controller = {
	.name = "persistentvolume-protection-controller",
	.queue = "pvprotection",
	.account = "pv-protection-controller",
	.alias = "pv-protection",
	.workers = 1,
	.watches = (const struct controller_watch[]){{.what = CACHED_PERSISTENT_VOLUMES}, {.what = CACHED_NONE}},
	.reconcile = reconcile_volume,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* DefaultStorageClass, StorageObjectInUseProtection and PersistentVolumeClaimResize. */
#include "apiserver/admission/admission.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "api/storage_v1.h"

#define DEFAULT_ANNOTATION "storageclass.kubernetes.io/is-default-class"
#define DEFAULT_ANNOTATION_BETA "storageclass.beta.kubernetes.io/is-default-class"
#define CLASS_ANNOTATION_BETA "volume.beta.kubernetes.io/storage-class"

char *admission_default_class(struct apiserver *server, const char *group, const char *plural, const char *annotation, const char *other_annotation, struct arena *arena) {
	const struct resource *classes = registry_find(server->registry, group, "v1", plural);
	if (!classes)
		return NULL;
	autosnapshot struct snapshot *snapshot = collection_snapshot(classes->collection);
	char *best = NULL;
	int64_t best_time = 0;
	for (size_t i = 0; i < snapshot->len; i++) {
		void *object;
		if (resource_decode(classes, snapshot_entry(snapshot, i), &object, NULL) < 0)
			continue;
		const struct meta_v1_object_meta *meta = api_metadata(object);
		bool is_default = str_equal(api_map_get(&meta->annotations, annotation), "true") || (other_annotation && str_equal(api_map_get(&meta->annotations, other_annotation), "true"));
		if (is_default && (!best || meta->creation_timestamp.t.sec > best_time)) {
			best = arena_strdup(arena, meta->name);
			best_time = meta->creation_timestamp.t.sec;
		}
		api_unref(object);
	}
	return best;
}

static int admit_class(struct write *w, struct error *err) {
	if (!admission_is(w, "", "persistentvolumeclaims", NULL))
		return 0;
	struct core_v1_persistent_volume_claim *claim = w->object;
	if (claim->spec.storage_class_name || api_map_get(&claim->metadata.annotations, CLASS_ANNOTATION_BETA))
		return 0;
	claim->spec.storage_class_name = admission_default_class(w->r->server, "storage.k8s.io", "storageclasses", DEFAULT_ANNOTATION, DEFAULT_ANNOTATION_BETA, api_arena(claim));
	return 0;
}

const struct admission_plugin admission_default_storage_class = {
	.name = "DefaultStorageClass",
	.operations = WRITE_CREATE,
	.admit = admit_class,
};

static int admit_protection(struct write *w, struct error *err) {
	const char *finalizer = admission_is(w, "", "persistentvolumeclaims", NULL) ? "kubernetes.io/pvc-protection"
				: admission_is(w, "", "persistentvolumes", NULL)    ? "kubernetes.io/pv-protection"
				: admission_is(w, "storage.k8s.io", "volumeattributesclasses", NULL) ? "kubernetes.io/vac-protection"
										    : NULL;
	if (!finalizer)
		return 0;
	struct meta_v1_object_meta *meta = api_metadata(w->object);
	if (!api_string_list_has(&meta->finalizers, finalizer))
		api_string_list_add(api_arena(w->object), &meta->finalizers, finalizer);
	return 0;
}

const struct admission_plugin admission_storage_protection = {
	.name = "StorageObjectInUseProtection",
	.operations = WRITE_CREATE,
	.admit = admit_protection,
};

/* ---- PersistentVolumeClaimResize ---- */

static const char *class_of(const struct core_v1_persistent_volume_claim *claim) {
	const char *old_way = api_map_get(&claim->metadata.annotations, CLASS_ANNOTATION_BETA);
	return old_way ? old_way : str_or(claim->spec.storage_class_name, "");
}

static bool may_grow(struct apiserver *server, const char *class_name) {
	autounref struct storage_v1_storage_class *class = *class_name && !strchr(class_name, '/') ? registry_read(server->registry, "storage.k8s.io", "storageclasses", NULL, class_name) : NULL;
	return class && class->allow_volume_expansion && *class->allow_volume_expansion;
}

static int validate_size(struct write *w, struct error *err) {
	if (!admission_is(w, "", "persistentvolumeclaims", NULL) || !w->old)
		return 0;
	const struct core_v1_persistent_volume_claim *claim = w->object, *old = w->old;
	const struct quantity none = {0}, *size = api_quantity_get(&claim->spec.resources.requests, "storage"), *was = api_quantity_get(&old->spec.resources.requests, "storage");
	if (!size || quantity_compare(size, was ? was : &none) <= 0)
		return 0;
	if (!str_equal(old->status.phase, "Bound"))
		return error_forbidden(err, w->resource, admission_name(w), "Only bound persistent volume claims can be expanded");
	if (!str_equal(class_of(claim), class_of(old)) || !may_grow(w->r->server, class_of(claim)))
		return error_forbidden(err, w->resource, admission_name(w), "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize");
	return 0;
}

const struct admission_plugin admission_claim_resize = {
	.name = "PersistentVolumeClaimResize",
	.operations = WRITE_UPDATE,
	.validate = validate_size,
};

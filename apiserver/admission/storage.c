/* SPDX-License-Identifier: Apache-2.0 */
/* DefaultStorageClass and StorageObjectInUseProtection. */
#include "apiserver/admission/admission.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"

#define DEFAULT_ANNOTATION "storageclass.kubernetes.io/is-default-class"
#define DEFAULT_ANNOTATION_BETA "storageclass.beta.kubernetes.io/is-default-class"

/* The newest class marked as default; by name where the times are equal. */
static char *default_class(struct apiserver *server, struct arena *arena) {
	const struct resource *classes = registry_find(server->registry, "storage.k8s.io", "v1", "storageclasses");
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
		bool is_default = str_equal(api_map_get(&meta->annotations, DEFAULT_ANNOTATION), "true") || str_equal(api_map_get(&meta->annotations, DEFAULT_ANNOTATION_BETA), "true");
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
	if (claim->spec.storage_class_name || api_map_get(&claim->metadata.annotations, "volume.beta.kubernetes.io/storage-class"))
		return 0;
	claim->spec.storage_class_name = default_class(w->r->server, api_arena(claim));
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

/* SPDX-License-Identifier: Apache-2.0 */
/* What holds for the metadata of every kind when it is created or changed. */
#include "apiserver/custom/custom.h"
#include "apiserver/rest/partial.h"
#include "apiserver/rest/write.h"
#include "apiserver/strategy/strategy.h"
#include "apiserver/validation/validation.h"
#include "api/meta_v1.h"
#include "api/storage_v1.h"
#include "common/api/codec.h"
#include "common/base/random.h"

#include <errno.h>

#define MAX_GENERATED_BASE 58 /* what is left of 63 after the five random characters */

static bool has_spec(const struct api_type *type) {
	for (uint16_t i = 0; i < type->field_count; i++)
		if (strcmp(type->fields[i].name, "spec") == 0)
			return true;
	return false;
}

int write_prepare_create(struct write *w, struct error *err) {
	struct meta_v1_object_meta *meta = api_metadata(w->object);
	struct arena *arena = api_arena(w->object);
	if (str_empty(meta->name) && str_empty(meta->generate_name) && w->strategy->names_itself) {
		char name[37];
		random_uuid(name);
		meta->name = arena_strdup(arena, name);
	} else if (str_empty(meta->name) && !str_empty(meta->generate_name)) {
		char suffix[6];
		random_name_suffix(suffix, 5);
		meta->name = arena_printf(arena, "%.*s%s", MAX_GENERATED_BASE, meta->generate_name, suffix);
	}
	if (!w->key || w->operation == WRITE_CREATE)
		w->key = resource_key(w->arena, w->resource, w->ns, str_or(meta->name, ""));
	char uid[37];
	random_uuid(uid);
	meta->uid = arena_strdup(arena, uid);
	meta->creation_timestamp = api_time_now();
	meta->deletion_timestamp = (struct api_time){0};
	meta->deletion_grace_period_seconds = NULL;
	meta->self_link = NULL;
	/* Where nothing counts it, it is the client's. */
	if (w->strategy->generation && !w->strategy->generation_from_zero)
		meta->generation = 1;
	if (!w->strategy->keep_status_on_create && api_resource_subresource(w->resource->api, "status"))
		api_field_clear(w->object, "status");
	if (w->strategy->prepare_create)
		w->strategy->prepare_create(w->r, w->object);
	return 0;
}

/* Metadata that only the server sets. */
static void keep_system_metadata(struct meta_v1_object_meta *meta, const struct meta_v1_object_meta *old, struct arena *arena) {
	meta->generation = old->generation;
	meta->self_link = NULL;
	if (str_empty(meta->uid))
		meta->uid = arena_strdup(arena, old->uid);
	if (old->creation_timestamp.set)
		meta->creation_timestamp = old->creation_timestamp;
	/* Nobody takes a deletion back; that nobody begins one so, validation tells. */
	if (old->deletion_timestamp.set)
		meta->deletion_timestamp = old->deletion_timestamp;
	if (old->deletion_grace_period_seconds && !meta->deletion_grace_period_seconds)
		meta->deletion_grace_period_seconds = api_int64(arena, *old->deletion_grace_period_seconds);
}

/* A status write keeps everything else but metadata, of which it may change what the kind does not keep. */
static void prepare_status(struct write *w) {
	void *object = w->object;
	const struct api_type *type = api_type_of(object);
	if (w->resource->custom) {
		struct custom_object *given = object;
		void *kept = api_copy(w->old);
		custom_member_copy(kept, object, "status");
		given->rest = ((struct custom_object *)kept)->rest;
		arena_defer(api_arena(object), (void (*)(void *))api_unref, kept);
	}
	for (uint16_t i = 0; i < type->field_count; i++) {
		const char *name = type->fields[i].name;
		if (str_empty(name) || (type->fields[i].flags & API_FIELD_INLINE) || strcmp(name, "metadata") == 0 || strcmp(name, "status") == 0 || strcmp(name, "kind") == 0 || strcmp(name, "apiVersion") == 0)
			continue;
		api_field_copy(object, w->old, name);
	}
	struct meta_v1_object_meta *meta = api_metadata(object);
	const struct meta_v1_object_meta *old = api_metadata(w->old);
	struct arena *arena = api_arena(object);
	struct meta_v1_object_meta copy = {0};
	api_copy_value(&meta_v1_object_meta_type, &copy, old, arena);
	unsigned keeps = w->strategy->status_keeps;
	if (keeps & (STATUS_KEEPS_LABELS | STATUS_KEEPS_METADATA))
		meta->labels = copy.labels;
	if (keeps & (STATUS_KEEPS_OWNERS | STATUS_KEEPS_METADATA))
		meta->owner_references = copy.owner_references;
	if (keeps & STATUS_KEEPS_METADATA) {
		meta->annotations = copy.annotations;
		meta->finalizers = copy.finalizers;
	}
}

static bool removes_last_finalizer(const struct write *w) {
	const struct meta_v1_object_meta *meta = api_metadata(w->object);
	if (!meta->deletion_timestamp.set || meta->finalizers.len)
		return false;
	if (meta->deletion_grace_period_seconds && *meta->deletion_grace_period_seconds > 0)
		return false;
	if (strcmp(w->resource->api->plural, "namespaces") == 0 && str_empty(w->resource->api->group))
		return namespace_is_finalized(w->object);
	return true;
}

int write_prepare_update(struct write *w, struct error *err) {
	struct meta_v1_object_meta *meta = api_metadata(w->object);
	const struct meta_v1_object_meta *old = api_metadata(w->old);
	if (w->operation != WRITE_DELETE)
		keep_system_metadata(meta, old, api_arena(w->object));
	autoerror struct error causes = {0};
	if (w->operation == WRITE_UPDATE && write_prepare_partial(w, &causes)) {
		meta = api_metadata(w->object);
		if (error_has_causes(&causes)) {
			error_invalid(&causes, str_empty(w->resource->api->group) ? NULL : w->resource->api->group, w->resource->api->kind, str_or(meta->name, ""));
			return error_move(err, &causes);
		}
		if (w->strategy->generation && !api_field_equal(w->object, w->old, "spec"))
			meta->generation = old->generation + 1;
	} else if (str_equal(w->subresource, "status")) {
		if (w->strategy->prepare_status)
			w->strategy->prepare_status(w->r, w->object, w->old);
		else
			prepare_status(w);
		if (w->strategy->after_status)
			w->strategy->after_status(w->r, w->object, w->old);
	} else if (w->operation != WRITE_DELETE && !w->skip_validation) {
		if (!w->subresource && !w->strategy->keep_status_on_create && api_resource_subresource(w->resource->api, "status"))
			api_field_copy(w->object, w->old, "status");
		if (w->strategy->prepare_update)
			w->strategy->prepare_update(w->r, w->object, w->old);
		if (w->strategy->generation && !str_equal(w->subresource, "status")) {
			bool changed = w->strategy->generation_changed ? w->strategy->generation_changed(w->object, w->old)
				       : has_spec(w->resource->type)   ? !api_field_equal(w->object, w->old, "spec")
								       : false;
			if (changed)
				meta->generation = old->generation + 1;
		}
	}
	w->remove_after_update = w->operation != WRITE_DELETE && removes_last_finalizer(w);
	return 0;
}

/* Of drivers whose tokens have changed. */
static bool asks_other_tokens(const struct write *w) {
	const struct api_type *type = &storage_v1_csi_driver_spec_type;
	size_t offset;
	const struct api_field *tokens = api_field_find(type, "tokenRequests", strlen("tokenRequests"), &offset);
	return api_type_of(w->object) == &storage_v1_csi_driver_type && !w->created &&
	       !api_field_same(tokens, &((const struct storage_v1_csi_driver *)w->object)->spec, &((const struct storage_v1_csi_driver *)w->old)->spec);
}

/* Kinds whose every change is warned of, whether or not it has to do with it: those of the spec where that is counted, or of the template. */
static bool warns_again(const struct write *w) {
	static const struct {
		const char *group, *plural;
		bool always;
	} kinds[] = {
		{"", "services", true}, {"", "persistentvolumes", true}, {"", "persistentvolumeclaims", true}, {"", "replicationcontrollers", false}, {"", "podtemplates", false}, {"apps", "deployments", false},
		{"apps", "daemonsets", false}, {"apps", "replicasets", false}, {"apps", "statefulsets", false}, {"batch", "jobs", false}, {"batch", "cronjobs", false},
		{"resource.k8s.io", "resourceslices", true},
	};
	const struct meta_v1_object_meta *now = api_metadata(w->object), *old = w->created ? NULL : api_metadata(w->old);
	if (asks_other_tokens(w))
		return true;
	const char *plural = w->resource->api->plural, *count = "deprecated.daemonset.template.generation";
	for (size_t i = 0; i < array_len(kinds) && old; i++)
		if (strcmp(kinds[i].plural, plural) == 0 && strcmp(kinds[i].group, resource_group(w->resource)) == 0)
			return kinds[i].always || (strcmp(plural, "daemonsets") == 0 ? !str_equal(api_map_get(&now->annotations, count), api_map_get(&old->annotations, count)) : now->generation != old->generation);
	return false;
}

static void warn_of_object(struct write *w) {
	autoerror struct error found = {0};
	const void *old = w->created ? NULL : w->old;
	/* Of a changed ReplicationController Kubernetes tells what was odd about it before. */
	bool before = old && api_type_of(old) == &core_v1_replication_controller_type;
	bool again = warns_again(w);
	if (!before || again)
		object_warnings(before ? old : w->object, old, again, &found);
	/* What is odd about the name is said first. */
	for (int names = 1; names >= 0; names--)
		for (size_t i = 0; i < found.cause_count; i++)
			if (names == (strcmp(found.causes[i].field, "metadata.name") == 0))
				request_warn(w->r, "%s%s%s", found.causes[i].field, *found.causes[i].field ? ": " : "", found.causes[i].message);
}

int write_validate(struct write *w, struct error *err) {
	/* What a deletion marks is the server's own doing: a second one may add a finalizer of the collector's. */
	if (w->operation == WRITE_DELETE)
		return 0;
	const struct resource *resource = w->resource;
	const struct meta_v1_object_meta *meta = api_metadata(w->object);
	autoerror struct error causes = {0};
	if (w->created && w->strategy->authorize)
		w->strategy->authorize(w, &causes);
	if (w->created && !w->strategy->metadata_last)
		validate_object_meta(meta, w->object, w->strategy, resource->api->namespaced, "metadata", &causes);
	if (!w->created)
		validate_object_meta_update(meta, api_metadata(w->old), w->strategy, "metadata", &causes);
	size_t of_meta = causes.cause_count;
	if (!w->created && w->strategy->checks_name_again && w->strategy->check_name && str_empty(w->subresource))
		w->strategy->check_name(w->object, str_or(meta->name, ""), &(struct path){.parent = &PATH(NULL, "metadata"), .name = "name", .index = -1}, &causes);
	if (!w->created && w->strategy->authorize)
		w->strategy->authorize(w, &causes);
	if (w->operation != WRITE_DELETE && !w->skip_validation) {
		bool status = str_equal(w->subresource, "status");
		validate_object(w->object, w->created ? NULL : w->old, w->subresource, &causes);
		if (!w->created && !resource->custom && str_empty(w->subresource))
			repeat_causes(api_type_of(w->object), 0, of_meta, &causes);
		if (resource->custom)
			custom_validate(w->r, resource, w->object, w->created ? NULL : w->old, status, &causes);
		if (status && w->strategy->validate_status)
			w->strategy->validate_status(w->object, w->old, &causes);
		else if (!status && w->strategy->validate)
			w->strategy->validate(w->object, w->created ? NULL : w->old, &causes);
	}
	if (w->created && !error_has_causes(&causes) && w->strategy->metadata_last)
		validate_object_meta(meta, w->object, w->strategy, resource->api->namespaced, "metadata", &causes);
	/* Whatever a kind allows, a name stands in a URL. */
	if (w->created && !error_has_causes(&causes) && w->strategy->name == NAME_ANY)
		check_format(format_path_segment, meta->name, &(struct path){.parent = &PATH(NULL, "metadata"), .name = "name", .index = -1}, &causes);
	if (!error_has_causes(&causes)) {
		if (!w->skip_validation && !str_equal(w->subresource, "status") && w->strategy->warn)
			w->strategy->warn(w->r, w->object, w->created ? NULL : w->old);
		if (w->operation != WRITE_DELETE && !w->skip_validation && (str_empty(w->subresource) || str_equal(w->subresource, "scale")) && !resource->custom)
			warn_of_object(w);
		/* Empty lists are lost on the way into the store: who only tries a write is answered as if it had been there. */
		if (!resource->custom && w->dry_run)
			api_drop_empty(w->object);
		return 0;
	}
	error_invalid(&causes, str_empty(resource->api->group) ? NULL : resource->api->group, resource->api->kind, str_or(meta->name, ""));
	return error_move(err, &causes);
}

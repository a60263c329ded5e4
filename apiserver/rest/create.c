/* SPDX-License-Identifier: Apache-2.0 */
/* POST of a collection, PUT, and what they share about a body's identity. */
#include "apiserver/custom/custom.h"
#include "apiserver/rest/write.h"
#include "apiserver/rest/input.h"
#include "apiserver/rest/query.h"
#include "apiserver/strategy/strategy.h"
#include "api/meta_v1.h"

#include <errno.h>

int input_check_namespace(const struct resource *resource, const char *ns, struct meta_v1_object_meta *meta, struct error *err) {
	if (!resource->api->namespaced) {
		meta->namespace = NULL; /* said in vain */
		return 0;
	}
	if (!str_empty(meta->namespace) && strcmp(meta->namespace, ns) != 0)
		return error_bad_request(err, "the namespace of the provided object does not match the namespace sent on the request");
	meta->namespace = (char *)ns;
	return 0;
}

int input_check_identity(struct write *w, struct meta_v1_object_meta *meta, struct arena *arena, struct error *err) {
	int rc = input_check_namespace(w->resource, w->ns, meta, err);
	if (rc < 0)
		return rc;
	meta->namespace = w->resource->api->namespaced ? arena_strdup(arena, w->ns) : NULL;
	if (str_empty(meta->name))
		return error_bad_request(err, "the name of the object (%s based on URL) was undeterminable: name must be provided", w->name);
	if (strcmp(meta->name, w->name) != 0)
		return error_bad_request(err, "the name of the object (%s) does not match the name on the URL (%s)", meta->name, w->name);
	return 0;
}

int input_check_version(const struct write *w, const char *given, const struct meta_v1_object_meta *old, struct error *err) {
	uint64_t version;
	if (str_empty(given) || str_equal(given, old->resource_version))
		return 0;
	int rc = error_of_version(given, &version, NULL, err);
	return rc < 0 || !version ? rc : error_conflict(err, w->resource, w->name, CONFLICT_MODIFIED);
}

/* The body as it is to be stored, so far as the path and the kind's defaults say. */
static void complete_input(const struct write *w, void *input) {
	struct meta_v1_object_meta *meta = api_metadata(input);
	meta->resource_version = NULL;
	meta->namespace = w->resource->api->namespaced ? arena_strdup(api_arena(input), w->ns) : NULL;
	api_default(input);
}

/* The first attempt takes the body itself; a further one, which is rare, reads it again. */
static int make_created(struct write *w, struct error *err) {
	if (!w->input) {
		int rc = request_decode_body_again(w->r, w->resource->type, &w->input, err);
		if (rc < 0)
			return rc;
		complete_input(w, w->input);
	}
	w->object = take_ptr(w->input);
	w->created = true;
	w->track_fields = true;
	/* What only the server says of an object is nobody's, even where a client sent it. */
	struct meta_v1_object_meta *meta = api_metadata(w->object);
	meta->deletion_timestamp = (struct api_time){0};
	meta->deletion_grace_period_seconds = NULL;
	return 0;
}

int rest_create(struct request *r, struct error *err) {
	int rc = request_parse_write_options(r, err);
	if (rc < 0)
		return rc;
	void *input;
	rc = request_decode_body(r, r->resource->type, &input, err);
	if (rc < 0)
		return rc;
	struct write *w = write_new(r, WRITE_CREATE);
	w->input = input;
	w->make = make_created;
	struct meta_v1_object_meta *meta = api_metadata(input);
	rc = input_check_namespace(w->resource, w->ns, meta, err);
	uint64_t version;
	if (rc == 0 && !str_empty(meta->resource_version) && error_of_version(meta->resource_version, &version, NULL, NULL) == 0 && version)
		rc = error_status(err, 500, "", "resourceVersion should not be set on objects to be created");
	if (rc < 0) {
		api_unref(input);
		return rc;
	}
	w->name = str_empty(meta->name) ? NULL : arena_strdup(r->arena, meta->name);
	complete_input(w, input);
	w->lease_seconds = strcmp(r->resource->api->plural, "events") == 0 ? r->server->options->event_ttl / NSEC_PER_SEC : 0;
	write_start(w);
	return REQUEST_TAKEN;
}

/* What a PUT replaces; also the check of its preconditions. */
static int make_updated(struct write *w, struct error *err) {
	const struct meta_v1_object_meta *given = api_metadata(w->input);
	if (!w->old) {
		if (!w->strategy->allow_create_on_update || w->subresource)
			return error_not_found(err, w->resource, w->name);
		uint64_t version;
		int rc = str_empty(given->resource_version) ? 0 : error_of_version(given->resource_version, &version, NULL, err);
		if (rc < 0)
			return rc;
		w->object = api_copy(w->input);
		w->created = true;
		w->track_fields = true;
		((struct meta_v1_object_meta *)api_metadata(w->object))->resource_version = NULL;
		return 0;
	}
	const struct meta_v1_object_meta *old = api_metadata(w->old);
	if (!str_empty(given->uid) && strcmp(given->uid, str_or(old->uid, "")) != 0) {
		/* The key is that of the object in etcd; a dry run knows it without its root. */
		autofree char *key = xprintf("%s/%s/%s", w->dry_run ? "" : "/registry", w->resource->etcd_prefix, w->key);
		autofree char *text = xprintf("StorageError: invalid object, Code: 4, Key: %s, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: %s, UID in object meta: %s", key, given->uid, str_or(old->uid, ""));
		return error_conflict(err, w->resource, w->name, text);
	}
	bool unconditional = str_empty(given->resource_version) || strcmp(given->resource_version, "0") == 0;
	if (unconditional && w->strategy->no_unconditional_update && (!w->subresource || strcmp(w->subresource, "status") == 0)) {
		error_cause(err, "FieldValueInvalid", "metadata.resourceVersion", "Invalid value: 0: must be specified for an update");
		return error_invalid(err, str_empty(w->resource->api->group) ? NULL : w->resource->api->group, w->resource->api->plural, w->name);
	}
	int rc = unconditional ? 0 : input_check_version(w, given->resource_version, old, err);
	if (rc < 0)
		return rc;
	w->object = api_copy(w->input);
	if (unconditional)
		api_metadata(w->object)->resource_version = arena_strdup(api_arena(w->object), old->resource_version);
	w->track_fields = true;
	return 0;
}

int rest_update(struct request *r, struct error *err) {
	int rc = request_parse_write_options(r, err);
	if (rc < 0)
		return rc;
	void *input;
	rc = request_decode_body(r, r->resource->type, &input, err);
	if (rc < 0)
		return rc;
	/* Who is strict hears of what nobody knows before anything else. */
	if (r->resource->custom && r->validation == API_STRICT && (rc = custom_process(r, r->resource, input, err)) < 0) {
		api_unref(input);
		return rc;
	}
	struct write *w = write_new(r, WRITE_UPDATE);
	w->input = input;
	w->make = make_updated;
	rc = input_check_identity(w, api_metadata(input), api_arena(input), err);
	if (rc < 0) {
		api_unref(input);
		return rc;
	}
	api_default(input);
	write_start(w);
	return REQUEST_TAKEN;
}

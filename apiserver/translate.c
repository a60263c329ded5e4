/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What another API server has stored, as it is stored here: objects in protobuf, and definitions of custom resources in the version in which Kubernetes keeps them to this
 * day. So the etcd of a cluster that was not ours can be taken over; each object is written in our form the next time it is written at all.
 */
#include "apiserver/apiserver.h"
#include "api/meta_v1.h"
#include "common/api/convert.h"

#include <errno.h>

#define PROTOBUF "k8s" /* and a zero byte */
#define OLD_DEFINITION "{\"kind\":\"CustomResourceDefinition\",\"apiVersion\":\"apiextensions.k8s.io/v1beta1\","

/* ---- definitions of v1beta1: one schema, one list of columns for all versions may stand above them ---- */

static void rename_member(json_t *object, const char *from, const char *to) {
	json_t *value = json_object_get(object, from);
	if (value)
		json_object_set(object, to, value);
	json_object_del(object, from);
}

/* What stands once for all, in each that has none of its own. */
static void share(json_t *spec, const char *from, json_t *version, const char *to) {
	json_t *value = json_object_get(spec, from);
	if (value && !json_object_get(version, to))
		json_object_set_new(version, to, json_deep_copy(value));
}

static void translate_version(json_t *spec, json_t *version) {
	size_t i;
	json_t *column;
	share(spec, "validation", version, "schema");
	share(spec, "subresources", version, "subresources");
	share(spec, "additionalPrinterColumns", version, "additionalPrinterColumns");
	share(spec, "selectableFields", version, "selectableFields");
	json_array_foreach(json_object_get(version, "additionalPrinterColumns"), i, column)
		rename_member(column, "JSONPath", "jsonPath");
}

static void translate_conversion(json_t *conversion) {
	json_t *client = json_object_get(conversion, "webhookClientConfig"), *versions = json_object_get(conversion, "conversionReviewVersions");
	if (client) {
		json_t *webhook = json_object();
		json_object_set(webhook, "clientConfig", client);
		if (versions)
			json_object_set(webhook, "conversionReviewVersions", versions);
		json_object_set_new(conversion, "webhook", webhook);
	}
	json_object_del(conversion, "webhookClientConfig");
	json_object_del(conversion, "conversionReviewVersions");
}

static void translate_definition(json_t *tree) {
	static const char *const gone[] = {"version", "validation", "subresources", "additionalPrinterColumns", "selectableFields"};
	json_t *spec = json_object_get(tree, "spec"), *versions = json_object_get(spec, "versions"), *version;
	size_t i;
	if (!json_array_size(versions)) {
		versions = json_array();
		json_array_append_new(versions, json_pack("{s:s, s:b, s:b}", "name", str_or(json_string_value(json_object_get(spec, "version")), "v1"), "served", 1, "storage", 1));
		json_object_set_new(spec, "versions", versions);
	}
	json_array_foreach(versions, i, version)
		translate_version(spec, version);
	translate_conversion(json_object_get(spec, "conversion"));
	for (i = 0; i < array_len(gone); i++)
		json_object_del(spec, gone[i]);
	json_object_set_new(tree, "apiVersion", json_string("apiextensions.k8s.io/v1"));
}

static int read_definition(const char *value, size_t len, void **ret, struct error *err) {
	const struct api_type *type = api_type_by_kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition");
	json_t *tree = json_loadb(value, len, 0, NULL);
	if (!tree)
		return error_set(err, EINVAL, "the definition is no JSON");
	translate_definition(tree);
	int rc = api_from_json(type, tree, &(struct api_decode_options){.validation = API_IGNORE}, ret, err);
	json_decref(tree);
	return rc;
}

/* ---- any ---- */

static bool begins(const void *value, size_t len, const char *with, size_t with_len) {
	return len >= with_len && memcmp(value, with, with_len) == 0;
}

static int encode(void *object, struct buf *ret, struct error *err) {
	const struct api_type *type = api_type_of(object), *stored;
	const struct api_resource *api = api_resource_by_kind(str_or(type->group, ""), type->version, type->kind);
	if (!api)
		return error_set(err, EINVAL, "objects of the kind %s are not stored here", type->kind);
	stored = resource_storage_type(api);
	void *kept = NULL;
	int rc = api_convert(object, stored, &kept, err);
	if (rc < 0)
		return rc;
	api_default(kept);
	api_metadata(kept)->resource_version = NULL;
	resource_encode_as_stored(stored->group, false, kept, ret);
	api_unref(kept);
	return 1;
}

int resource_translate(const void *value, size_t len, struct buf *ret, struct error *err) {
	void *object = NULL;
	int rc;
	if (begins(value, len, PROTOBUF, sizeof(PROTOBUF)))
		rc = api_decode_protobuf_stored(value, len, &object, err);
	else if (begins(value, len, OLD_DEFINITION, strlen(OLD_DEFINITION)))
		rc = read_definition(value, len, &object, err);
	else
		return 0;
	if (rc == 0)
		rc = encode(object, ret, err);
	api_unref(object);
	return rc;
}

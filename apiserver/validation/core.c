/* SPDX-License-Identifier: Apache-2.0 */
/* The core group's kinds that hold data or configure a namespace. */
#include "apiserver/validation/validation.h"

#define MAX_DATA_BYTES (1u << 20)
#define WHEN_IMMUTABLE "field is immutable when `immutable` is set"

/* ---- ConfigMap and Secret ---- */

static void forbid_changes(const struct api_type *type, const void *object, const void *old, bool was, bool is, const char *const *fields, struct error *err) {
	if (!was)
		return;
	if (!is)
		forbidden(err, &PATH(NULL, "immutable"), WHEN_IMMUTABLE);
	for (; *fields; fields++) {
		size_t offset;
		const struct api_field *f = api_field_find(type, *fields, strlen(*fields), &offset);
		/* An empty map is another than none. */
		const struct api_any_list *is_list = api_field_at_const(f, (const char *)object + offset), *was_list = api_field_at_const(f, (const char *)old + offset);
		if (!api_field_same(f, object, old) || !is_list->items != !was_list->items)
			forbidden(err, &PATH(NULL, *fields), WHEN_IMMUTABLE);
	}
}

CHECK(core_v1_config_map, map) {
	static const char *const fields[] = {"data", "binaryData", NULL};
	size_t total = 0;
	if (old)
		forbid_changes(&core_v1_config_map_type, map, old, old->immutable && *old->immutable, map->immutable && *map->immutable, fields, err);
	for (uint32_t i = 0; i < map->data.len; i++) {
		const char *key = map->data.items[i].key;
		check_format(format_config_key, key, AT_KEY("data", key), err);
		if (api_map_find(&map->binary_data, sizeof(*map->binary_data.items), key))
			invalid(err, AT_KEY("data", key), key, "duplicate of key present in binaryData");
		total += strlen(map->data.items[i].value);
	}
	for (uint32_t i = 0; i < map->binary_data.len; i++) {
		check_format(format_config_key, map->binary_data.items[i].key, AT_KEY("binaryData", map->binary_data.items[i].key), err);
		total += map->binary_data.items[i].value.len;
	}
	if (total > MAX_DATA_BYTES)
		too_long(err, &PATH(at, "[]"), MAX_DATA_BYTES); /* as Kubernetes names the whole */
}

static const struct api_bytes *secret_get(const struct core_v1_secret *secret, const char *key) {
	const __typeof__(*secret->data.items) *entry = api_map_find(&secret->data, sizeof(*secret->data.items), key);
	return entry ? &entry->value : NULL;
}

static void check_docker_config(const struct core_v1_secret *secret, const char *key, const struct path *at, struct error *err) {
	const struct api_bytes *bytes = secret_get(secret, key);
	json_error_t where;
	if (!bytes) {
		required(err, AT_KEY("data", key), NULL);
		return;
	}
	json_t *tree = json_loadb((const char *)bytes->data, bytes->len, JSON_DECODE_ANY, &where);
	if (!tree)
		invalid(err, AT_KEY("data", key), "<secret contents redacted>", "%s", bytes->len ? "invalid JSON" : "unexpected end of JSON input");
	else if (!json_is_object(tree) && !json_is_null(tree))
		invalid(err, AT_KEY("data", key), "<secret contents redacted>", "json: cannot unmarshal value into Go value of type map[string]interface {}");
	json_decref(tree);
}

CHECK(core_v1_secret, secret) {
	static const char *const fields[] = {"data", NULL};
	size_t total = 0;
	if (old) {
		if (!str_equal(secret->type, old->type))
			invalid(err, AT("type"), secret->type, IMMUTABLE_TEXT);
		forbid_changes(&core_v1_secret_type, secret, old, old->immutable && *old->immutable, secret->immutable && *secret->immutable, fields, err);
	}
	for (uint32_t i = 0; i < secret->data.len; i++) {
		check_format(format_config_key, secret->data.items[i].key, AT_KEY("data", secret->data.items[i].key), err);
		total += secret->data.items[i].value.len;
	}
	if (total > MAX_DATA_BYTES)
		too_long(err, AT("data"), MAX_DATA_BYTES);
	const char *type = str_or(secret->type, "");
	if (strcmp(type, "kubernetes.io/service-account-token") == 0) {
		if (str_empty(api_map_get(&secret->metadata.annotations, "kubernetes.io/service-account.name")))
			required(err, &PATH_KEY(AT("metadata"), "annotations", "kubernetes.io/service-account.name"), NULL);
	} else if (strcmp(type, "kubernetes.io/dockercfg") == 0) {
		check_docker_config(secret, ".dockercfg", at, err);
	} else if (strcmp(type, "kubernetes.io/dockerconfigjson") == 0) {
		check_docker_config(secret, ".dockerconfigjson", at, err);
	} else if (strcmp(type, "kubernetes.io/basic-auth") == 0) {
		if (!secret_get(secret, "username") && !secret_get(secret, "password")) {
			required(err, AT_KEY("data", "username"), NULL);
			required(err, AT_KEY("data", "password"), NULL);
		}
	} else if (strcmp(type, "kubernetes.io/ssh-auth") == 0) {
		const struct api_bytes *key = secret_get(secret, "ssh-privatekey");
		if (!key || !key->len)
			required(err, AT_KEY("data", "ssh-privatekey"), NULL);
	} else if (strcmp(type, "kubernetes.io/tls") == 0) {
		if (!secret_get(secret, "tls.crt"))
			required(err, AT_KEY("data", "tls.crt"), NULL);
		if (!secret_get(secret, "tls.key"))
			required(err, AT_KEY("data", "tls.key"), NULL);
	}
}

/* ---- Namespace ---- */

CHECK(core_v1_namespace, ns) {
	struct path finalizers = PATH(&PATH(NULL, "spec"), "finalizers"), status = PATH(NULL, "status");
	bool finalize = strcmp(c->subresource, "finalize") == 0;
	if (check_is_status(c)) {
		bool ends = ns->metadata.deletion_timestamp.set;
		if (!str_equal(ns->status.phase, ends ? "Terminating" : "Active"))
			invalid(err, &PATH(&status, "Phase"), ns->status.phase, "may only be '%s' if `deletionTimestamp` is %sempty", ends ? "Terminating" : "Active", ends ? "not " : "");
		return;
	}
	for (uint32_t i = 0; (!old || finalize) && i < ns->spec.finalizers.len; i++) {
		struct path here = finalize ? PATH_INDEX(&finalizers, NULL, i) : finalizers;
		check_format(format_qualified_name, ns->spec.finalizers.items[i], &here, err);
		check_finalizer_known(ns->spec.finalizers.items[i], &here, err);
	}
}

/* ---- ReplicationController: its template's rules are those of the other workloads ---- */

CHECK(core_v1_replication_controller_spec, spec) {
	static const char *const always[] = {"Always", NULL};
	if (!spec->template)
		return;
	struct path template = PATH(at, "template"), inner = PATH(&template, "spec"), metadata = PATH(&template, "metadata");
	if (spec->selector.len && !api_map_contains(&spec->template->metadata.labels, &spec->selector)) {
		autobuf struct buf text = BUF_INIT(64u << 10);
		buf_append_char(&text, '{');
		for (uint32_t i = 0; i < spec->template->metadata.labels.len; i++)
			buf_printf(&text, "%s\"%s\":\"%s\"", i ? "," : "", spec->template->metadata.labels.items[i].key, spec->template->metadata.labels.items[i].value);
		buf_append_char(&text, '}');
		invalid_struct(err, &PATH(&metadata, "labels"), NULL, text.data, "`selector` does not match template `labels`");
	}
	size_t from = err->cause_count;
	if (!str_equal(spec->template->spec.restart_policy, "Always"))
		not_supported(err, &PATH(&inner, "restartPolicy"), spec->template->spec.restart_policy, always);
	if (spec->template->spec.active_deadline_seconds)
		forbidden(err, &PATH(&inner, "activeDeadlineSeconds"), "activeDeadlineSeconds in ReplicationController is not Supported");
	tell_at(&PATH(&template, "~workload"), from, err);
}

CHECK(core_v1_replication_controller_status, status) {
	const struct { int64_t value, most; const char *field, *text; } bounds[] = {
		{status->fully_labeled_replicas, status->replicas, "fullyLabeledReplicas", "cannot be greater than status.replicas"},
		{status->ready_replicas, status->replicas, "readyReplicas", "cannot be greater than status.replicas"},
		{status->available_replicas, status->replicas, "availableReplicas", "cannot be greater than status.replicas"},
		{status->available_replicas, status->ready_replicas, "availableReplicas", "cannot be greater than readyReplicas"},
	};
	for (size_t i = 0; i < array_len(bounds); i++)
		if (bounds[i].value > bounds[i].most)
			invalid_int(err, AT(bounds[i].field), bounds[i].value, "%s", bounds[i].text);
}

const struct checker checkers_core[] = {
	ROW(core_v1_config_map), ROW(core_v1_secret), ROW(core_v1_namespace), ROW(core_v1_replication_controller_spec), ROW(core_v1_replication_controller_status), {0},
};

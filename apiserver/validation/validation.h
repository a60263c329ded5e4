/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checks that a table cannot say. Every function adds causes to err (error_cause) and goes on, so that a client hears of all
 * mistakes at once. Paths are those of Kubernetes. The rows of strategy/ name the function of each kind.
 */
#ifndef CORACLE_APISERVER_VALIDATION_H
#define CORACLE_APISERVER_VALIDATION_H

#include "apiserver/strategy/strategy.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"

/* A field path being built: `struct path p = path_index(&parent, "containers", i)`. Printed on demand. */
struct path {
	const struct path *parent;
	const char *name;  /* NULL where only an index */
	const char *key;   /* of a map: [key]; NULL: none */
	int index;         /* -1: none */
};
#define PATH(parent_, name_) ((struct path){.parent = (parent_), .name = (name_), .index = -1})
#define PATH_INDEX(parent_, name_, i_) ((struct path){.parent = (parent_), .name = (name_), .index = (int)(i_)})
#define PATH_KEY(parent_, name_, key_) ((struct path){.parent = (parent_), .name = (name_), .key = (key_), .index = -1})

void invalid(struct error *err, const struct path *path, const char *value, const char *fmt, ...) printf_like(4, 5);      /* Invalid value: "value": text */
void invalid_int(struct error *err, const struct path *path, int64_t value, const char *fmt, ...) printf_like(4, 5);       /* Invalid value: 5: text */
void required(struct error *err, const struct path *path, const char *text);      /* Required value[: text] */
void forbidden(struct error *err, const struct path *path, const char *text);     /* Forbidden: text */
void duplicate(struct error *err, const struct path *path, const char *value);    /* Duplicate value: "x" */
void not_supported(struct error *err, const struct path *path, const char *value, const char *const *supported); /* Unsupported value: "x": supported values: ... */
void too_long(struct error *err, const struct path *path, size_t max);
void not_found(struct error *err, const struct path *path, const char *value);
/* `old` and new differ where they must not. */
#define IMMUTABLE_TEXT "field is immutable"

/* ---- names; each returns NULL where good, else the message (static) ---- */
const char *check_dns_label(const char *value);
const char *check_dns_subdomain(const char *value);
const char *check_dns_1035_label(const char *value);
const char *check_path_segment(const char *value);
const char *check_qualified_name(const char *value);
const char *check_label_value(const char *value);
const char *check_config_key(const char *value);
const char *check_port_name(const char *value);
const char *check_env_name(const char *value);
bool is_ip_address(const char *value);
bool is_cidr(const char *value);

/* ---- parts ---- */
void validate_object_meta(const struct meta_v1_object_meta *meta, bool namespaced, enum name_rule rule, const char *path, struct error *err);
void validate_object_meta_update(const struct meta_v1_object_meta *meta, const struct meta_v1_object_meta *old, enum name_rule rule, bool namespaced, const char *path, struct error *err);
void validate_labels(const struct api_string_map *labels, const struct path *path, struct error *err);
void validate_annotations(const struct api_string_map *annotations, const struct path *path, struct error *err);
void validate_label_selector(const struct meta_v1_label_selector *selector, const struct path *path, struct error *err);
void validate_pod_spec(const struct core_v1_pod_spec *spec, const struct path *path, struct error *err);
/* A template whose labels must match the selector of its owner. */
void validate_pod_template(const struct core_v1_pod_template_spec *template, const struct path *path, struct error *err);
void validate_non_negative(int64_t value, const struct path *path, struct error *err);

/* ---- kinds: the validate hooks of strategies ---- */
#define VALIDATOR(name) void name(const void *object, const void *old, struct error *err)
VALIDATOR(validate_pod);
VALIDATOR(validate_config_map);
VALIDATOR(validate_secret);
VALIDATOR(validate_service);
VALIDATOR(validate_namespace);
VALIDATOR(validate_replication_controller);
VALIDATOR(validate_deployment);
VALIDATOR(validate_replica_set);
VALIDATOR(validate_stateful_set);
VALIDATOR(validate_daemon_set);
VALIDATOR(validate_job);
VALIDATOR(validate_cron_job);
VALIDATOR(validate_priority_class);
VALIDATOR(validate_role_binding);
VALIDATOR(validate_lease);
VALIDATOR(validate_runtime_class);
VALIDATOR(validate_persistent_volume_claim);

#endif

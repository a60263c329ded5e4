/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Validation: an object is walked over its schema. At each field the words of its row in the .api file are checked (need,
 * format, min, ...; enums too), at each struct the function that CHECK() made for its type, which says what no row can. Each adds
 * causes to err and goes on, so that a client hears of all mistakes at once. Paths and words are those of Kubernetes.
 */
#ifndef CORACLE_APISERVER_VALIDATION_H
#define CORACLE_APISERVER_VALIDATION_H

#include "apiserver/strategy/strategy.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "common/api/codec.h"
#include "common/api/format.h"
#include "common/base/map.h"

/* A field path being built: `struct path p = PATH_INDEX(&parent, "containers", i)`. Printed on demand. */
struct path {
	const struct path *parent;
	const char *name;  /* NULL where only an index */
	const char *key;   /* of a map: [key]; NULL: none */
	int index;         /* -1: none */
	const struct api_type *type; /* where the walk made the step to a struct: its type and value */
	const void *value;
};
#define PATH(parent_, name_) ((struct path){.parent = (parent_), .name = (name_), .index = -1})
#define PATH_INDEX(parent_, name_, i_) ((struct path){.parent = (parent_), .name = (name_), .index = (int)(i_)})
#define PATH_KEY(parent_, name_, key_) ((struct path){.parent = (parent_), .name = (name_), .key = (key_), .index = -1})
/* Inside a check, from its own `at`. */
#define AT(name_) (&PATH(at, name_))
#define AT_INDEX(name_, i_) (&PATH_INDEX(at, name_, i_))
#define AT_KEY(name_, key_) (&PATH_KEY(at, name_, key_))

/* The nearest value of this type at or above a place; NULL where there is none. */
/* Appends "spec.containers[0].name". */
void path_write(const struct path *path, struct buf *out);
const void *path_above(const struct path *at, const struct api_type *type);

/* ---- causes ---- */

void invalid(struct error *err, const struct path *path, const char *value, const char *fmt, ...) printf_like(4, 5);      /* Invalid value: "value": text */
void invalid_int(struct error *err, const struct path *path, int64_t value, const char *fmt, ...) printf_like(4, 5);       /* Invalid value: 5: text */
void invalid_bool(struct error *err, const struct path *path, bool value, const char *text);
void invalid_quantity(struct error *err, const struct path *path, const struct quantity *value, const char *fmt, ...) printf_like(4, 5);
/* Invalid value: {"json":...}: text */
void invalid_struct(struct error *err, const struct path *path, const struct api_type *type, const void *value, const char *fmt, ...) printf_like(5, 6);
void invalid_map(struct error *err, const struct path *path, const struct api_string_map *map, const char *text);
/* The same of a member of the value, named. */
void invalid_member(struct error *err, const struct path *at, const struct api_type *type, const void *value, const char *field, const char *text);
void invalid_plain(struct error *err, const struct path *path, const char *fmt, ...) printf_like(3, 4); /* Invalid value: text */
void invalid_int_or_string(struct error *err, const struct path *path, const struct int_or_string *value, const char *fmt, ...) printf_like(4, 5);
void invalid_list(struct error *err, const struct path *path, const struct api_string_list *list, const char *fmt, ...) printf_like(4, 5);
void cause_internal(struct error *err, const struct path *path, const char *fmt, ...) printf_like(3, 4); /* Internal error: text */
void required(struct error *err, const struct path *path, const char *text);      /* Required value[: text] */
void forbidden(struct error *err, const struct path *path, const char *fmt, ...) printf_like(3, 4);   /* Forbidden: text */
void duplicate(struct error *err, const struct path *path, const char *value);    /* Duplicate value: "x" */
void duplicate_struct(struct error *err, const struct path *path, const struct api_type *type, const void *value, const char *text); /* Duplicate value: {...}[: text] */
void duplicate_json(struct error *err, const struct path *path, const char *json); /* Duplicate value: 5 */
void not_supported(struct error *err, const struct path *path, const char *value, const char *const *supported); /* Unsupported value: "x": supported values: ... */
void not_supported_json(struct error *err, const struct path *path, const char *json, const char *const *supported);
void too_long(struct error *err, const struct path *path, size_t max);
void too_many(struct error *err, const struct path *path, size_t count, size_t max);
void not_found(struct error *err, const struct path *path, const char *value, const char *fmt, ...) printf_like(4, 5); /* Not found: "x"[: text]; fmt may be NULL */
#define IMMUTABLE_TEXT "field is immutable"

/* ---- checks of a type ---- */

struct check {
	const void *object, *old; /* the whole object; old NULL on create */
	const char *subresource;  /* "" for the object itself */
	bool namespaced;
	bool warn;                /* what is good but wants a word */
};
static inline bool check_is_status(const struct check *c) {
	return strcmp(c->subresource, "status") == 0;
}
typedef void check_function(const struct check *c, const void *value, const void *old, const struct path *at, struct error *err);
struct checker {
	const struct api_type *type;
	check_function *run;
};
/*
 * CHECK(core_v1_probe, probe) { ... } begins the function of a type, which sees c, probe, old (the value that stood at the same place, NULL
 * where there was none or it lies in a list), at and err. ROW(core_v1_probe) is its row in the file's list.
 */
#define CHECK(type_, name_) \
	static void check_##type_(const struct check *c, const struct type_ *name_, const struct type_ *old, const struct path *at, struct error *err); \
	static void run_##type_(const struct check *c, const void *value, const void *old, const struct path *at, struct error *err) { \
		check_##type_(c, value, old, at, err); \
	} \
	static void check_##type_(const struct check *c, const struct type_ *name_, const struct type_ *old, const struct path *at, struct error *err)
#define ROW(type_) {&type_##_type, run_##type_}

/* Lists of rows, each ended by one without type; walk.c names them all. */
extern const struct checker checkers_meta[], checkers_pod[], checkers_container[], checkers_podspec[], checkers_podplace[], checkers_volume[], checkers_core[], checkers_service[], checkers_storage[], checkers_node[],
	checkers_apps[], checkers_batch[], checkers_network[], checkers_policy[], checkers_admission[], checkers_flow[], checkers_access[], checkers_quota[], checkers_resource[], checkers_custom[];

/* Of what is odd but taken: becomes a Warning header, "path: text" (the text alone for a path of nothing). */
extern const struct checker warnings_pod[], warnings_other[];
void warn(struct error *err, const struct path *path, const char *fmt, ...) printf_like(3, 4);
/* Of a name that pods or hosts get: "this is used in <use>, ...". */
void warn_of_name(const struct meta_v1_object_meta *meta, const char *use, struct error *err);
/* Labels of nodes that were renamed; `values`: also values that none can have. */
void warn_of_node_term(const struct core_v1_node_selector_term *term, bool values, const struct path *at, struct error *err);
void warn_of_claim(const struct core_v1_persistent_volume_claim_spec *spec, const struct path *at, struct error *err);
/* Like validate_object: the causes are warnings. Those that the stored object has had are said `again` or not. */
void object_warnings(const void *object, const void *old, bool again, struct error *ret);

/* ---- parts that checks share ---- */

void check_format(format_check *format, const char *text, const struct path *path, struct error *err);
/* As the words of a field: a text that must be there, and its syntax. */
void check_needed(format_check *format, const char *text, const struct path *path, struct error *err);
/* A value that must be one of a list; absent is Required. */
void check_enum(const char *value, const char *const *supported, const struct path *path, struct error *err);
void check_non_negative(int64_t value, const struct path *path, struct error *err);
void check_range(int64_t value, int64_t min, int64_t max, const struct path *path, struct error *err);
void check_port_number(int64_t port, const struct path *path, struct error *err);
void check_port(const struct int_or_string *port, const struct path *path, struct error *err);
/* One member of a union, and the names that Kubernetes has for it: where it is one too many, and above what is wrong in it; NULL: its own. */
struct union_member {
	const char *field, *surplus, *inside;
	bool beside; /* may stand beside others */
};
/* Members of a union: "may not specify more than 1 <what>", "must specify a <what>". The first of the list (ended by one without field; NULL: as in the type) counts. */
void check_union(const struct api_type *type, const void *value, const struct union_member *members, const char *what, const struct path *at, struct error *err);
/* Forgets what is wrong beneath a place that is not to be judged after all. */
void drop_beneath(const struct path *path, struct error *err);
/* The same, and what is wrong with the place itself. */
void drop_judgement(const struct path *path, struct error *err);
/* Tells the causes from the one of that index on as if they were of another place, such as "~once" (order.c). */
void tell_at(const struct path *place, size_t from, struct error *err);
/* The same of what is wrong at a field, and beneath it. */
void tell_field_at(const struct path *field, const struct path *place, struct error *err);
/* Tells what is wrong at a place, and beneath it, of another one. */
void move_causes(const struct path *from, const struct path *to, struct error *err);
/* Labels and annotations, all that the metadata of a template may have. */
void check_template_meta(const struct meta_v1_object_meta *meta, const struct path *at, struct error *err);
/* Of the fields of a struct that are set, forbids those named (or, where `except`, all others). */
void forbid_fields(const struct api_type *type, const void *value, const char *const *names, bool except, const char *text, const struct path *at, struct error *err);
/* "field is immutable" where the named field differs. */
void check_fixed(const struct api_type *type, const void *value, const void *old, const char *field, const struct path *at, struct error *err);
/* True where the key was asked for before: for finding what stands twice, however many there are. */
bool seen_before(struct map *seen, const char *key);
/* Adds what is wrong twice in a list of texts: Duplicate at [i]. */
void check_distinct(const struct api_string_list *list, const char *name, const struct path *at, struct error *err);
/* Names of resources in quantities, and their values. */
bool resource_is_native(const char *name);
/* Of some vendor, such as example.com/device. */
bool resource_is_extended(const char *name);
bool resource_is_hugepages(const char *name);
bool resource_may_overcommit(const char *name);
bool resource_is_standard(const char *name, bool quota);
/* Requests and limits of a container, or of a whole pod; `spec` for the claims they name (NULL: not looked at). */
void check_resources(const struct core_v1_resource_requirements *r, const struct core_v1_pod_spec *spec, bool pod, const struct path *at, struct error *err);
void check_resource_name(const char *name, const struct path *path, struct error *err);
void check_container_resource_name(const char *name, const struct path *path, struct error *err);
void check_resource_value(const char *name, const struct quantity *value, const struct path *path, struct error *err);
void check_node_selector_requirement(const struct core_v1_node_selector_requirement *r, bool any_value, const struct path *at, struct error *err);
void check_labels(const struct api_string_map *labels, const struct path *path, struct error *err);
void check_annotations(const struct api_string_map *annotations, const struct path *path, struct error *err);
/* A finalizer without a domain must be one of Kubernetes' own. */
void check_finalizer_known(const char *name, const struct path *path, struct error *err);
/* A Service's addresses, their families and its policy, as far as they can be judged before any are given. */
/* old NULL: a new one. */
void check_service_addresses(const struct core_v1_service_spec *spec, const struct core_v1_service_spec *old, struct error *err);
/* Addresses that an endpoint may not have: unspecified, loopback, link local. */
void check_endpoint_ip(const char *ip, const struct path *path, struct error *err);
/* host.domain/path of a signer. */
void check_signer_name(const char *name, const struct path *path, struct error *err);
/* Whether pods may evict others. */
void check_preemption(const char *policy, const struct path *path, struct error *err);
/* Where a webhook listens. */
void check_webhook_url(const char *url, const struct path *at, struct error *err);
void check_webhook_service(const char *ns, const char *name, const char *path, int64_t port, const struct path *at, struct error *err);
/* Expressions of webhooks and policies (expression.c); at is what holds them. What is blank is told elsewhere. */
struct admissionregistration_v1_match_condition_array;
struct admissionregistration_v1_validating_admission_policy_spec;
struct admissionregistration_v1_mutating_admission_policy_spec;
#define MAX_AUDIT_EXPRESSION 5120u
void check_match_expressions(const struct admissionregistration_v1_match_condition_array *conditions, bool params, const struct path *at, struct error *err);
void check_validating_expressions(const struct admissionregistration_v1_validating_admission_policy_spec *spec, const struct path *at, struct error *err);
void check_mutating_expressions(const struct admissionregistration_v1_mutating_admission_policy_spec *spec, const struct path *at, struct error *err);
/* Why text cannot be read as a JSONPath, between the braces it lacks (jsonpath.c); NULL: it can. */
#define MAX_JSONPATH (64u << 10)
const char *jsonpath_error(const char *text);
/* Adds what is wrong with two conditions of one type. */
struct meta_v1_condition_array;
void check_condition_types(const struct meta_v1_condition_array *conditions, const struct path *at, struct error *err);
/* A whole selector that must not be empty and must match labels of a template, as the workloads have it. */
/* `text`: what a selector that cannot be read is called; it takes the template with it, and false is returned. NULL: that is told elsewhere. */
bool check_workload_selector(const struct meta_v1_label_selector *selector, const struct core_v1_pod_template_spec *template, const char *kind, const char *text, const struct path *spec, struct error *err);
bool label_selector_is_good(const struct meta_v1_label_selector *selector);
bool selects_everything(const struct meta_v1_label_selector *selector);
/* A number or a percentage (NULL is good); `cap`: of at most 100%. */
void check_amount(const struct int_or_string *value, bool cap, const struct path *path, struct error *err);

/* ---- entry points ---- */

/* The strategy tells the rule of names, and where Kubernetes is lenient. */
/* object: what has this metadata, for rules of names that the rest of it makes; NULL: there are none. */
void validate_object_meta(const struct meta_v1_object_meta *meta, const void *object, const struct strategy *strategy, bool namespaced, const char *path, struct error *err);
void validate_object_meta_update(const struct meta_v1_object_meta *meta, const struct meta_v1_object_meta *old, const struct strategy *strategy, const char *path, struct error *err);
/*
 * All of an object but its own metadata. old NULL on create; subresource "" or the one it is written through. A mistake that
 * the stored object has too, in the same words at the same place, is let pass: what was accepted stays usable.
 */
void validate_object(const void *object, const void *old, const char *subresource, struct error *err);

/* Puts the causes behind the first `from` in the order in which Kubernetes tells them (order.c). whole: the object itself is written, no subresource. */
void order_causes(const struct api_type *type, bool update, bool whole, size_t from, struct error *err);
/* Tells those of the metadata as often as Kubernetes does on an update. They stand first. */
void repeat_causes(const struct api_type *type, size_t from, size_t meta, struct error *err);

#endif

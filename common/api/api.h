/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Kubernetes API as tables. apigen compiles common/api/\*.api into C structs ("api/core_v1.h", ...) and into the
 * constant descriptors below; everything generic about the API is written once, over these.
 *
 * How a type looks in C: type id core/v1.PodSpec is `struct core_v1_pod_spec`, described by `core_v1_pod_spec_type`. A
 * field has the JSON name in snake case (podIPs -> pod_ips, clusterIP -> cluster_ip, hostPID -> host_pid); a C keyword gets a
 * trailing underscore (default_, continue_, enum_).
 *
 *	string            const char *     NULL is "", or absent where Go has a pointer
 *	bool, int32, int64, double, intOrString, duration, struct
 *	                  by value; where Go has a pointer: a pointer, NULL = absent
 *	quantity, time    by value, also where Go has a pointer: absent = `set` is false
 *	bytes, rawExtension, fieldsV1, json
 *	                  by value, also where Go has a pointer: absent = data or json is NULL
 *	list<T>           struct core_v1_container_array { T *items; uint32_t len, cap; } (list<string>: struct api_string_list, ...)
 *	map<string>       struct api_string_map; map<quantity>: struct api_quantity_map
 *	map<T>            struct T_map { struct T_map_entry { const char *key; T value; } *items; uint32_t len, cap; }
 *	an embedded type  both probe->probe_handler.http_get and probe->http_get
 *
 * A kind's struct begins with: const char *kind; const char *api_version; struct meta_v1_object_meta metadata.
 * Enum values are string constants; for comparing there are macros of the values: CORE_V1_POD_PHASE_RUNNING "Running".
 *
 * Objects ("root objects") come from api_new, api_decode_*, api_copy: they have a hidden header with their type, arena and
 * reference count in front, so a plain `struct core_v1_pod *` is all one carries. All that an object points at lies in its
 * own arena. An object is mutable until it is shared; then it is read only and counted.
 */
#ifndef CORACLE_API_API_H
#define CORACLE_API_API_H

#include "common/api/scalar.h"

#include <jansson.h>

enum api_kind {
	API_STRING, API_BOOL, API_INT32, API_INT64, API_DOUBLE, API_BYTES,
	API_QUANTITY, API_INT_OR_STRING, API_TIME, API_MICRO_TIME, API_DURATION,
	API_RAW_EXTENSION, API_FIELDS_V1, API_JSON, /* any JSON value */
	API_STRUCT,
};
enum api_shape { API_SINGLE, API_LIST, API_MAP };
enum api_list_type { API_LIST_NONE, API_LIST_ATOMIC, API_LIST_SET, API_LIST_MAP };

#define API_FIELD_POINTER     (1u << 0)  /* can be absent: see "where Go has a pointer" above */
#define API_FIELD_OMIT_EMPTY  (1u << 1)
#define API_FIELD_OMIT_ZERO   (1u << 2)
#define API_FIELD_REQUIRED    (1u << 3)  /* in OpenAPI's required list */
#define API_FIELD_INLINE      (1u << 4)  /* embedded: JSON fields stand in the parent */
#define API_FIELD_MAP_ATOMIC  (1u << 5)
#define API_FIELD_MERGE       (1u << 6)  /* patchStrategy merge */
#define API_FIELD_RETAIN_KEYS (1u << 7)  /* patchStrategy retainKeys */
#define API_FIELD_REPLACE     (1u << 8)  /* patchStrategy replace */
#define API_FIELD_SELF        (1u << 9)  /* wrapper type: JSON is the bare list or map */
#define API_FIELD_WIRE_ONLY   (1u << 10) /* on the protobuf wire only */
#define API_FIELD_NO_JSON     (1u << 11)
#define API_FIELD_REST        (1u << 12) /* map<json>, the last field: holds the members that no other field names, and writes them into the parent */
#define API_FIELD_MAP_GRANULAR (1u << 13) /* its members have managers of their own, though its type is atomic elsewhere */
#define API_MAX_REST 4096                /* of such members */

struct api_type;

/* What validation demands of a field's value; see the words of README.md. */
struct format_messages;
struct api_check {
	void (*format)(const char *text, struct format_messages *out); /* of each non-empty text (format.h); NULL: any */
	const char *const *one_of; /* values that are taken, NULL terminated, where OpenAPI does not tell them; NULL: any */
	int64_t min, max;     /* of a number (0 that stands for absent is not judged) or of whole quantities */
	uint32_t max_len, max_items; /* 0: none */
	bool has_min, has_max;
	bool need;            /* must be there and not empty */
	bool fixed;           /* an update keeps it */
	bool labels;          /* a map of labels */
	bool judged;          /* its enum is left to the check of the type that holds it */
	bool blank;           /* of a pointer to a string: one that is empty is no more looked at than none */
	bool listed;          /* its values are told in the order of the row, not of the alphabet */
	bool anyway;          /* of a string: an empty one is looked at like any other */
};

struct api_field {
	const char *name;          /* JSON name */
	const char *c_name;
	uint16_t name_len;
	uint16_t number;           /* protobuf field number; 0: not on the wire */
	uint8_t kind;              /* enum api_kind, of the element where shape is list or map */
	uint8_t shape;             /* enum api_shape */
	uint8_t list_type;         /* enum api_list_type */
	uint32_t flags;
	uint32_t offset;           /* in the C struct */
	uint32_t element_size;     /* of one value: the list's element, the map's value, what a pointer points at */
	uint32_t entry_size;       /* of a map's entry */
	uint16_t value_offset;     /* of the value in a map's entry */
	const struct api_type *type; /* of API_STRUCT */
	const char *const *list_keys;  /* NULL terminated; list_type map */
	const char *merge_key;     /* patchMergeKey */
	const char *const *enum_values; /* NULL terminated: closed set; NULL: open */
	const char *default_json;  /* the schema's own default (OpenAPI `default`); NULL: none */
	const char *go_type;       /* v1.PodPhase: named Go type of a string, for messages; NULL: string */
	const char *fill_json;     /* what defaulting puts where the field is absent, empty or zero; NULL: none */
	const char *doc;           /* one line of our own; NULL: none */
	const struct api_check *check; /* NULL: anything goes */
	const char *gate;          /* feature gate that guards it, which Kubernetes 1.36 leaves off; here gates.c says so. The field is dropped where it is closed; NULL: none */
};

/*
 * Gates of features that are built stand open until they are closed, all others are closed for good. An API server closes those that Kubernetes leaves closed
 * (api_gates_set_defaults) and that its operator did not open; other daemons read what it lets through. Set before threads start.
 */
bool api_gate_is_open(const char *gate);
/* As Kubernetes 1.36 has them. */
void api_gates_set_defaults(void);
/* False where there is no such gate to be set. */
bool api_gate_set(const char *gate, bool open);
/* Once, by a daemon that has them as flags: they are told among its metrics. */
void api_gates_measure(void);
/* True for a field that is not there: behind a closed gate. */
#define api_field_is_closed(f) ((f)->gate && !api_gate_is_open((f)->gate))

struct api_type {
	const char *id;       /* core/v1.PodSpec */
	const char *c_name;   /* core_v1_pod_spec */
	const char *openapi;  /* io.k8s.api.core.v1.PodSpec */
	const char *proto;    /* k8s.io.api.core.v1.PodSpec */
	const char *doc;
	const struct api_field *fields; /* JSON order */
	const uint16_t *by_name;   /* indexes of fields, sorted by JSON name, inlined structs' fields not included */
	const uint16_t *by_number; /* the same by protobuf number */
	uint16_t field_count;
	uint16_t custom_json;  /* enum in codec.h: types with a JSON form of their own (JSONSchemaPropsOrBool, ...); 0: none */
	uint32_t size;         /* of the C struct */
	bool map_atomic;       /* x-kubernetes-map-type: atomic */
	bool is_kind;          /* begins with kind, apiVersion, metadata */
	bool is_list;          /* a list kind: items is list<...> */
	const char *group, *version, *kind; /* where it is a registered kind; group "" is core */
	void (*defaults)(void *value, struct arena *arena, const void *root); /* rules no table row can say; NULL: none */
};

/* ---- root objects ---- */

/* A new object with its own arena, kind and apiVersion set, reference count 1. */
void *api_new(const struct api_type *type);
#define api_new_of(c_name) ((struct c_name *)api_new(&c_name##_type))
/* Thread safe. The last unref frees all. unref takes NULL. */
void *api_ref(const void *object);
void api_unref(const void *object);
static inline void cleanup_api_unref(void *object) {
	api_unref(*(void **)object);
}
#define autounref cleanup(cleanup_api_unref)
struct arena *api_arena(const void *object);
const struct api_type *api_type_of(const void *object);
struct meta_v1_object_meta;
/* The metadata of any kind that has ObjectMeta; NULL for others. */
struct meta_v1_object_meta *api_metadata(const void *object);
/* A deep copy in a fresh arena, count 1: mutable. */
void *api_copy(const void *object);
/* The same in one block of about its size: for what stays long, since an arena grows by doubling. */
void *api_copy_compact(const void *object);
/* "namespace/name" or "name", in the object's own arena. */
const char *api_key(const void *object);

/* ---- values of any described type ---- */

/* Deep copies *src into *dst, all memory from `arena`. */
/* Makes lists and maps without items absent. */
void api_drop_empty(void *object);
void api_copy_value(const struct api_type *type, void *dst, const void *src, struct arena *arena);
/* Semantic equality: nil and empty lists and maps are equal, quantities and times by value. */
bool api_equal(const struct api_type *type, const void *a, const void *b);
/* Depends on the value only: stable over processes and releases (revisions are named by it). */
uint64_t api_hash(const struct api_type *type, const void *value);
/* Appends one zeroed element to a generated list field and returns it: api_list_add(arena, &spec->containers). */
#define api_list_add(arena, list) \
	((__typeof__((list)->items))api_list_grow((arena), (list), sizeof(*(list)->items)))
void *api_list_grow(struct arena *arena, void *list, size_t element_size);
/* Memory for exactly `count` elements of a list, or entries of a map, that has none yet. */
void api_list_reserve(struct arena *arena, void *list, size_t element_size, uint32_t count);
#define api_list_each(it, list) (__typeof__((list)->items + 0) it = (list)->items; it && it < (list)->items + (list)->len; it++)
/* for api_list_each (container, &pod->spec.containers) { ... } */
/* Drops element `index` in place. */
#define api_list_remove(list, index) \
	(memmove(&(list)->items[(index)], &(list)->items[(index) + 1], ((list)->len - (index) - 1) * sizeof(*(list)->items)), (list)->len--)
/* Pointers to scalars in the arena: spec->replicas = api_int32(arena, 3). */
int32_t *api_int32(struct arena *arena, int32_t value);
int64_t *api_int64(struct arena *arena, int64_t value);
bool *api_bool(struct arena *arena, bool value);

/* ---- JSON ---- */

enum api_validation { API_IGNORE, API_WARN, API_STRICT };
struct api_warning_list {
	char **items; /* `unknown field "spec.x"`, `duplicate field "spec.y"` */
	size_t len;
};
void api_warning_list_done(struct api_warning_list *list);
struct api_decode_options {
	enum api_validation validation; /* Strict: -EINVAL "strict decoding error: unknown field ..., duplicate field ..." */
	struct api_warning_list *warnings; /* Warn: what was found is added; may be NULL */
	uint32_t max_depth;             /* 0: 10000 as encoding/json; */
	const struct api_field *const *skip; /* fields left out wherever they stand (api_field_find gives them), NULL terminated; NULL: none */
	struct api_warning_list *found; /* what an earlier reading of the text found: told first; taken. May be NULL */
	const char *source;             /* the text as it was sent, where that was no JSON; errors quote it */
	size_t source_len;
	bool bare;                      /* errors do not say what was read */
};
/* Decodes one root object. Errors are 400 BadRequest naming the field, as the Go server words them where clients match. options may be NULL. */
int api_decode_json(const struct api_type *type, const char *json, size_t len, const struct api_decode_options *options, void **ret_object, struct error *err);
/* The type is found by the text's apiVersion and kind. -ENOENT where unknown ("no kind ... is registered for version ..."). */
int api_decode_json_any(const char *json, size_t len, const struct api_decode_options *options, void **ret_object, struct error *err);
/* As encoding/json writes the Go struct: field order, omitempty, sorted maps, no white space. */
void api_encode_json(const struct api_type *type, const void *value, struct buf *out);
/* As what protobuf has carried looks: required lists and maps without anything in them are null. */
void api_encode_json_stored(const struct api_type *type, const void *value, struct buf *out);
#define api_encode(object, out) api_encode_json(api_type_of(object), (object), (out))
/* Decodes a part (not a root) into *value, zeroed by the caller; memory from `arena`. */
int api_decode_json_value(const struct api_type *type, const char *json, size_t len, void *value, struct arena *arena, struct error *err);
/* Through a jansson tree, for patches. json_t results are new references. */
json_t *api_to_json(const struct api_type *type, const void *value);
int api_from_json(const struct api_type *type, json_t *tree, const struct api_decode_options *options, void **ret_object, struct error *err);

/* ---- protobuf: k8s\0 envelope (runtime.Unknown) around the object ---- */

int api_decode_protobuf(const void *data, size_t len, void **ret_object, struct error *err);
/* As etcd has kept it: of a version that is not in the tables, it is taken for one of the version that is (fields keep their numbers as a kind matures). */
int api_decode_protobuf_stored(const void *data, size_t len, void **ret_object, struct error *err);
void api_encode_protobuf(const struct api_type *type, const void *value, struct buf *out);
/* The bare message, without envelope. */
int api_decode_protobuf_message(const struct api_type *type, const void *data, size_t len, void **ret_object, struct error *err);
void api_encode_protobuf_message(const struct api_type *type, const void *value, struct buf *out);

/* ---- defaults ---- */

/* Sets the defaults of Kubernetes 1.36 in all parts of a root object. */
void api_default(void *object);

/* ---- resources ---- */

#define API_VERB_CREATE (1u << 0)
#define API_VERB_DELETE (1u << 1)
#define API_VERB_DELETECOLLECTION (1u << 2)
#define API_VERB_GET (1u << 3)
#define API_VERB_LIST (1u << 4)
#define API_VERB_PATCH (1u << 5)
#define API_VERB_UPDATE (1u << 6)
#define API_VERB_WATCH (1u << 7)

struct api_subresource {
	const char *name;  /* status, scale, log, ... */
	const char *kind, *group, *version; /* of request and answer */
	const struct api_type *type;
	uint32_t verbs;
};
struct api_column {
	const char *name, *type, *format, *doc;
	int priority;
};
struct api_resource {
	const char *group, *version, *plural, *singular, *kind;
	const char *const *short_names; /* NULL terminated */
	const char *const *categories;
	bool namespaced;
	uint32_t verbs;
	const struct api_type *type;
	const struct api_type *list_type; /* NULL: none */
	const struct api_subresource *subresources;
	size_t subresource_count;
	const struct api_column *columns; /* of Table */
	size_t column_count;
	const char *const *field_selectors; /* NULL terminated: accepted labels, metadata.name and metadata.namespace included */
	const char *storage_version;  /* "group/version" or "v1" that etcd holds; NULL: not stored */
	const char *etcd_prefix;      /* under /registry, e.g. "pods", "services/specs", "apiregistration.k8s.io/apiservices" */
};
struct api_group {
	const char *name;
	const char *const *versions; /* preferred first; NULL terminated */
	int priority;                /* the group's place among others: higher first */
	const int *version_priorities; /* of each version, within the group */
};
extern const struct api_group api_groups[];
extern const size_t api_group_count;
/* Each has a name too: api_pods, api_deployments, ... (in the generated header of its group; rule in README.md). */
extern const struct api_resource api_resources[];
extern const size_t api_resource_count;

/* NULL where there is none. version NULL: the preferred one. */
const struct api_resource *api_resource_find(const char *group, const char *version, const char *plural);
const struct api_resource *api_resource_by_kind(const char *group, const char *version, const char *kind);
/* By plural, singular or short name, case folded, any group: what a cli takes ("deploy", "deployments.apps"). */
const struct api_resource *api_resource_match(const char *name);
const struct api_type *api_type_by_kind(const char *group, const char *version, const char *kind);
const struct api_type *api_type_by_id(const char *id);
const struct api_subresource *api_resource_subresource(const struct api_resource *resource, const char *name);
/* Splits "apps/v1" or "v1". Pointers into static or arena memory. */
void api_split_group_version(struct arena *arena, const char *api_version, const char **ret_group, const char **ret_version);

/* Kubernetes' order of preference, as strcmp: v2, v1, v1beta2, v1beta1, v1alpha1, then what is no such version, by name. */
int api_version_compare(const char *a, const char *b);

#endif

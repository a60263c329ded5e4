/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The schema as apigen holds it between reading the .api files and writing C. A build tool that lives for a moment:
 * it needs nothing but libc, frees nothing, and exits at the first run of errors.
 */
#ifndef CORACLE_API_APIGEN_SCHEMA_H
#define CORACLE_API_APIGEN_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#define lengthof(a) (sizeof(a) / sizeof((a)[0]))

struct words {
	char **items;
	size_t len;
};

enum scalar {
	SCALAR_STRING, SCALAR_BOOL, SCALAR_INT32, SCALAR_INT64, SCALAR_DOUBLE, SCALAR_BYTES,
	SCALAR_QUANTITY, SCALAR_INT_OR_STRING, SCALAR_TIME, SCALAR_MICRO_TIME, SCALAR_DURATION,
	SCALAR_RAW_EXTENSION, SCALAR_FIELDS_V1, SCALAR_JSON, SCALAR_STRUCT,
};
struct scalar_row {
	const char *name;   /* in the .api file */
	const char *symbol; /* of enum api_kind */
	const char *c_type;
	const char *list;   /* C type of a list, of a map; NULL: generated per type */
	const char *map;
	bool indirect;      /* a Go pointer to it is a C pointer (others tell absence by value) */
};
extern const struct scalar_row scalars[];

enum shape { SHAPE_SINGLE, SHAPE_LIST, SHAPE_MAP };

struct type;
struct package;

struct enum_values {
	char *name;
	char *prefix; /* of the macros */
	struct words values;
};

struct field {
	int line;
	char *name;      /* JSON; "" where inline */
	char *c_name;
	int number;
	enum scalar scalar;
	enum shape shape;
	bool pointer;
	char *type_name; /* as written; resolved into type */
	struct type *type;
	char *alias;
	bool inlined, self, wire, closed;
	bool omit_empty, omit_zero, required, map_atomic, map_granular, merge, retain_keys, replace;
	const char *list_type; /* symbol of enum api_list_type */
	struct words keys, values;
	char *merge_key, *default_json, *fill_json, *gate, *doc;
	/* what validation demands: the words of README.md */
	bool need, fixed, labels, one_of, judged, blank, listed, anyway;
	struct words one_of_values;
	char *format, *min, *max, *max_len, *max_items;
};

struct type {
	struct package *package;
	int line;
	char *name, *id, *c_name, *doc;
	char *custom;    /* NULL: plain struct */
	char *group, *version; /* where it is registered as a kind */
	bool object, registered, atomic, internal, hook;
	struct field *fields;
	size_t field_count;
	int mark;        /* of the walk that orders structs */
};

struct column {
	char *name, *type, *format, *doc, *doc_ref;
	int priority, line;
};
struct subresource {
	char *name, *type_name;
	struct type *type;
	struct words verbs;
	int line;
};
struct resource {
	struct package *package;
	int line;
	char *plural, *type_name, *singular, *storage, *etcd;
	struct type *type, *list_type;
	bool namespaced;
	struct words shorts, categories, verbs, selectors;
	struct subresource *subs;
	size_t sub_count;
	struct column *columns;
	size_t column_count;
};

struct package {
	char *file;      /* path of the .api file */
	char *stem;      /* core_v1 */
	char *name;      /* core/v1 */
	char *group, *version, *openapi, *proto;
	int group_priority, version_priority; /* 0 and 0: not served */
	bool served;
	struct enum_values *enums;
	size_t enum_count;
	struct type **types;
	size_t type_count;
	struct resource **resources;
	size_t resource_count;
};

struct schema {
	struct package **packages;
	size_t count;
};

/* parse.c: reads one file, reporting each mistake as file:line. */
void schema_parse(struct schema *schema, const char *path);
/* resolve.c: ties names to types; reports what dangles. */
void schema_resolve(struct schema *schema);
struct type *schema_type(const struct schema *schema, const struct package *home, const char *name);
const struct enum_values *schema_enum(const struct schema *schema, const struct package *home, const char *name);
extern int schema_errors;
void complain(const char *file, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* emit_*.c */
void emit_header(FILE *out, const struct schema *schema, const struct package *package);
void emit_source(FILE *out, const struct schema *schema, const struct package *package);
void emit_tables(FILE *out, const struct schema *schema);
/* The package's place in the one order all tables share: core first, then by group priority. */
struct package **schema_served(const struct schema *schema, size_t *ret_count);
size_t resource_index(const struct schema *schema, const struct resource *resource);

/* names.c */
char *format(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
char *name_snake(const char *name);
char *name_macro(const char *name);
char *name_field(const char *json_name);
void words_add(struct words *words, const char *word);
bool words_has(const struct words *words, const char *word);
void *grow(void *items, size_t count, size_t size);
/* Writes `s` as a C string literal, NULL as NULL. */
void emit_string(FILE *out, const char *s);

#endif

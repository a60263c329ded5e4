/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Common Expression Language as the Kubernetes API uses it: https://github.com/google/cel-spec with the libraries that Kubernetes 1.36 offers
 * at its compatibility version (strings, lists, sets, regex, optionals, two-variable comprehensions, url, ip, cidr, quantity, semver, format,
 * authorizer). README.md says what each file does.
 *
 * An environment says which variables there are, and of what type. An expression is compiled in it, which parses and checks it, into a program, which is
 * immutable: any number of threads may evaluate it. Evaluations of one request share a run: it owns all values that come of them, and counts what they cost.
 *
 * Expressions come from API clients and are bounded everywhere: CEL_MAX_EXPRESSION characters, nesting, nodes, and per evaluation cost and memory. Time is
 * linear in what is counted. Regular expressions are those of common/base/regex.h.
 */
#ifndef CORACLE_CEL_CEL_H
#define CORACLE_CEL_CEL_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/error.h"

#include <jansson.h>

#define CEL_MAX_EXPRESSION 100000u                /* code points */
#define CEL_CALL_BUDGET 1000000u                  /* cost of one evaluation, as in Kubernetes */
#define CEL_REQUEST_BUDGET 10000000u              /* of all expressions of a policy or custom resource */
#define CEL_MATCH_CONDITIONS_BUDGET 2500000u      /* of a webhook's or policy's match conditions */
#define CEL_MAX_MEMORY ((size_t)64 << 20)         /* of one run */
#define CEL_MAX_MESSAGE ((size_t)5 << 10)         /* of what a messageExpression may say */

/* ---- types ---- */

enum cel_kind {
	CEL_ERROR, CEL_DYN, CEL_NULL, CEL_BOOL, CEL_INT, CEL_UINT, CEL_DOUBLE, CEL_STRING, CEL_BYTES, CEL_LIST, CEL_MAP, CEL_TIMESTAMP, CEL_DURATION,
	CEL_TYPE, CEL_OPTIONAL, CEL_OBJECT, CEL_OPAQUE, /* of types: a struct with fields; one without. Of values: a built object; what a library has */
	CEL_PARAM,       /* of types: a type variable */
};

/* How a list of a Kubernetes schema compares and adds. */
enum cel_list_type { CEL_LIST_PLAIN, CEL_LIST_SET, CEL_LIST_MAP };

struct cel_field {
	const char *name;  /* as it stands in an expression */
	const char *key;   /* as it stands in JSON */
	const struct cel_type *type;
};
/* Immutable once a program was compiled with it. Belongs to an arena or is static. */
struct cel_type {
	enum cel_kind kind;
	const char *name;                    /* of an object or opaque type */
	const struct cel_type *params[2];    /* of list, map, optional, type */
	unsigned param_count;
	uint32_t var;                        /* of a type variable that the checker made */
	uint32_t weight;                     /* types it is made of */
	struct cel_field *fields;            /* of an object, sorted by name */
	unsigned field_count;
	bool any_field;                      /* of an object: has whatever field is asked for, of type dyn; of a map: what is selected by name is as large as any value */
	enum cel_list_type list_type;
	const char *const *list_keys;        /* NULL terminated, JSON names; CEL_LIST_MAP */
	bool date_only;                      /* of a timestamp: JSON has "2006-01-02" */
	uint64_t max_size, min_json;         /* for estimates of cost: most elements, entries or bytes of text; fewest bytes of its JSON */
};

extern const struct cel_type cel_dyn, cel_null, cel_bool, cel_int, cel_uint, cel_double, cel_string, cel_bytes, cel_timestamp, cel_duration, cel_authorizer_type,
	cel_resource_check_type;

struct cel_type *cel_list_of(struct arena *arena, const struct cel_type *element);
struct cel_type *cel_map_of(struct arena *arena, const struct cel_type *key, const struct cel_type *value);
struct cel_type *cel_optional_of(struct arena *arena, const struct cel_type *inner);
/* An object type takes `count` fields, copied, in any order. */
struct cel_type *cel_object_of(struct arena *arena, const char *name, const struct cel_field *fields, size_t count);
/* True where both are the same type, whatever its bounds. */
bool cel_type_same(const struct cel_type *a, const struct cel_type *b);
/* "list(string)", as error messages name it. */
void cel_type_append(const struct cel_type *type, struct buf *out);
/* The same with the names that types have in an expression: google.protobuf.Timestamp. */
void cel_type_append_full(const struct cel_type *type, struct buf *out);

/* ---- environments ---- */

struct cel_env;
struct cel_env *cel_env_new(void);
struct cel_env *cel_env_free(struct cel_env *env);
/* For types that live as long as the environment. */
struct arena *cel_env_arena(struct cel_env *env);
/* Name and type are borrowed. The name may be dotted. A second of the same name replaces the first. */
void cel_env_add(struct cel_env *env, const char *name, const struct cel_type *type);
/* Object{...}, JSONPatch{...} and jsonpatch.escapeKey(), for mutations. */
void cel_env_allow_patches(struct cel_env *env);

/* cel.bind(name, value, expression). */
void cel_env_allow_bindings(struct cel_env *env);

/* All variables are of this type (or an optional of it), whose max_size say how large values may get: programs are to tell cel_program_max_cost(). */
void cel_env_estimate(struct cel_env *env, const struct cel_type *type);

/* ---- programs ---- */

struct cel_program;
/*
 * -EINVAL where the text is none or its types do not fit: "compilation failed: " and each mistake as "ERROR: <input>:line:column: text" with the line it stands in;
 * or "program instantiation failed: ..." where a constant cannot be converted.
 */
int cel_compile(const struct cel_env *env, const char *expression, struct cel_program **ret, struct error *err);
/* Parses and checks only: the program tells its type, and is not to be evaluated. -EINVAL with each mistake as above, and nothing before them. */
int cel_check_expression(const struct cel_env *env, const char *expression, struct cel_program **ret, struct error *err);
struct cel_program *cel_program_free(struct cel_program *program);
/* What it evaluates to. Lives as long as the program. */
const struct cel_type *cel_program_type(const struct cel_program *program);
/* What it may cost at most, as Kubernetes estimates it; 0 where the environment did not ask. */
uint64_t cel_program_max_cost(const struct cel_program *program);
/* True where it speaks of the variable, or of something in it. */
bool cel_program_uses(const struct cel_program *program, const char *variable);

static inline void cleanup_cel_program(struct cel_program **program) {
	*program = cel_program_free(*program);
}
#define autocel cleanup(cleanup_cel_program)
static inline void cleanup_cel_env(struct cel_env **env) {
	*env = cel_env_free(*env);
}

/* ---- values ---- */

struct cel_run;
struct cel_list;
struct cel_map;
struct cel_opaque;

struct cel_value {
	enum cel_kind kind;
	union {
		bool b;
		int64_t i;               /* int; nanoseconds of a duration */
		uint64_t u;
		double d;
		struct {
			const char *s;   /* UTF-8 of a string; not NUL terminated */
			size_t len;
		};
		struct {
			int64_t sec;     /* since 1970 */
			int32_t nsec;
		};
		const struct cel_list *list;
		const struct cel_map *map;       /* of an object too */
		const struct cel_type *type;
		const struct cel_value *some;    /* of an optional; NULL: none */
		const struct cel_opaque *opaque;
		const char *message;             /* of an error */
	};
};

/* A JSON value, as the type says (NULL: as it is). Borrowed for as long as the run lives. */
struct cel_value cel_from_json(struct cel_run *run, json_t *json, const struct cel_type *type);
/* A new reference; NULL where the value is, or holds, what JSON cannot. */
json_t *cel_to_json(const struct cel_value *value);
struct cel_value cel_from_string(struct cel_run *run, const char *text, size_t len);

/* inner NULL: none. */
struct cel_value cel_optional(struct cel_run *run, const struct cel_value *inner);

/* An object whose fields are found when they are asked for; `get` returns false where there is none. An error is a value. */
typedef bool cel_lazy_get(struct cel_run *run, void *arg, const char *field, struct cel_value *ret);
struct cel_value cel_lazy(struct cel_run *run, cel_lazy_get *get, void *arg);

/* What `authorizer` asks: 0 allowed, 1 not; reason may be set (malloc), and error where it could not be told (malloc). */
struct cel_access {
	const char *user_namespace, *user_name; /* of a service account to ask for; NULL: whose request it is */
	const char *path;                       /* not NULL: no resource */
	const char *group, *resource, *subresource, *namespace, *name, *field_selector, *label_selector;
	const char *verb;
};
typedef bool cel_authorize(void *arg, const struct cel_access *access, char **ret_reason, char **ret_error);
struct cel_value cel_authorizer(struct cel_run *run, cel_authorize *authorize, void *arg);
/* `authorizer.requestResource`: the access to be asked for, but for the verb; borrowed texts. */
struct cel_value cel_resource_check(struct cel_run *run, cel_authorize *authorize, void *arg, const struct cel_access *access);

/* ---- evaluation ---- */

struct cel_binding {
	const char *name;
	struct cel_value value;
};
/* A run is used by one thread at a time. `budget` is what all its evaluations together may cost. */
struct cel_run *cel_run_new(uint64_t budget);
struct cel_run *cel_run_free(struct cel_run *run);
static inline void cleanup_cel_run(struct cel_run **run) {
	*run = cel_run_free(*run);
}
#define autorun cleanup(cleanup_cel_run)
/* What is left of the budget. */
uint64_t cel_run_left(const struct cel_run *run);
/* What the last evaluation cost. */
uint64_t cel_run_last(const struct cel_run *run);
/*
 * Evaluates. *ret belongs to the run. -EINVAL: it came to an error, in the words of the message; -EDQUOT: it cost more than CEL_CALL_BUDGET, or than was left of
 * the run's budget. A lazy field's getter may evaluate in the same run.
 */
int cel_evaluate(const struct cel_program *program, struct cel_run *run, const struct cel_binding *bindings, size_t count, struct cel_value *ret, struct error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share. */
#ifndef CORACLE_CEL_INTERNAL_H
#define CORACLE_CEL_INTERNAL_H

#include "common/api/scalar.h"
#include "common/base/regex.h"
#include "common/cel/cel.h"

#define MAX_NESTING 250u       /* of what stands in brackets, and of chains of one operator */
#define MAX_DEPTH 1500u        /* of the tree */
#define MAX_NODES 200000u      /* copies that macros make count */
#define MAX_ISSUES 100u
#define MAX_STRING ((size_t)16 << 20)
#define MAX_ELEMENTS ((size_t)1 << 20)
#define MAX_EVALUATION_DEPTH 2500u /* over all programs that call each other through lazy fields */

/* ---- syntax tree ---- */

enum node_kind { NODE_LITERAL, NODE_IDENT, NODE_SELECT, NODE_CALL, NODE_LIST, NODE_MAP, NODE_STRUCT, NODE_FOLD };

struct function;
struct overload;
struct node;

struct entry {
	const char *field;   /* of a struct */
	struct node *key;    /* of a map */
	struct node *value;
	uint32_t at;
	bool optional;
};

struct node {
	enum node_kind kind;
	uint32_t at;              /* code points before it */
	uint32_t depth;
	uint32_t steps;           /* of those, what cel-go counts: selections, calls of members, operators */
	const struct cel_type *type;
	bool constant;            /* holds nothing but constants: costs nothing */
	union {
		struct cel_value literal; /* also a type */
		struct {
			const char *name;
			int slot;         /* of a variable of a macro; -1: of the environment */
			unsigned variable;
		} ident;
		struct {
			struct node *operand;
			const char *field;
			bool test;        /* has() */
		} select;
		struct {
			const char *name;
			struct node **args; /* the target first */
			uint32_t count;
			bool member;
			const struct function *function;
			const struct overload *overload; /* NULL: known when it runs */
			struct regex *regex; /* of a pattern that is constant */
		} call;
		struct {
			struct node **items;
			bool *optional;   /* NULL: none is */
			uint32_t count;
		} list;
		struct {
			const char *name; /* of a struct */
			struct entry *items;
			uint32_t count;
		} map;
		struct {
			struct node *range, *init, *condition, *step, *result;
			const char *var, *var2, *accu; /* var2 NULL: one variable */
			int slot;         /* accu; var and var2 follow */
		} fold;
	};
};

/* Mistakes found; told together, sorted by place. */
struct issue {
	uint32_t at;
	bool nowhere;
	char *text;
};
struct source {
	struct arena *arena;
	const char *text;        /* valid UTF-8 */
	size_t len;
	uint32_t length;         /* in code points */
	struct issue issues[MAX_ISSUES];
	unsigned count;
	uint32_t nodes;
	bool bindings; /* cel.bind() is there */
};
#define NOWHERE UINT32_MAX
void issue_add(struct source *source, uint32_t at, const char *fmt, ...) printf_like(3, 4);
int issues_report(struct source *source, struct error *err);

struct node *node_new(struct source *source, enum node_kind kind, uint32_t at);
/* Depth from its children; adds an issue where it is too deep. */
void node_deepen(struct source *source, struct node *node, const struct node *child);
struct node *node_literal(struct source *source, uint32_t at, struct cel_value value);
struct node *node_ident(struct source *source, uint32_t at, const char *name);
struct node *node_call(struct source *source, uint32_t at, const char *name, bool member, unsigned count, struct node *const *args);
struct node *node_list(struct source *source, uint32_t at, unsigned count, struct node *const *items);
struct node *node_copy(struct source *source, const struct node *node);

/* parse.c: NULL with issues. macro.c: false where the call is no macro; else *ret, NULL with an issue where its arguments are wrong. */
struct node *cel_parse(struct source *source);
bool macro_expand(struct source *source, uint32_t at, const char *name, bool member, unsigned count, struct node **args, struct node **ret);

/* lex.c */
enum token_kind {
	TOKEN_END, TOKEN_IDENT, TOKEN_QUOTED_IDENT, TOKEN_INT, TOKEN_UINT, TOKEN_DOUBLE, TOKEN_STRING, TOKEN_BYTES, TOKEN_SYMBOL, TOKEN_TRUE, TOKEN_FALSE, TOKEN_NULL, TOKEN_IN,
};
struct token {
	enum token_kind kind;
	const char *text;
	size_t len;
	uint32_t at;
	char symbol[3];
};
struct lexer {
	struct source *source;
	const char *p, *end;
	uint32_t at;
};
/* Skips what is no token, with an issue for each. */
struct token lex_next(struct lexer *lexer);
/* The value of a string or bytes token; false with an issue. */
bool lex_unescape(struct source *source, const struct token *token, struct cel_value *ret);

/* ---- functions ---- */

struct call_context;
typedef struct cel_value implementation(struct cel_run *run, const struct cel_value *args, unsigned count);

/* How the cost of a call follows from its arguments. */
enum cost {
	COST_ONE, COST_SIZE, COST_SIZE_TWICE, COST_RESULT_TWICE, COST_COMPARE, COST_ADD, COST_CONVERT, COST_REGEX, COST_CONTAINS, COST_IN, COST_TRAVERSE,
	COST_INDEX_OF, COST_AUTHORIZE, COST_SELECTOR, COST_CIDR_IP, COST_CIDR_CIDR, COST_IP, COST_VALIDATE, COST_RANGE, COST_FLATTEN, COST_COMPARE_SELF,
	COST_COMPARE_KEYS, COST_SETS, COST_SETS_TWICE, COST_EQUAL, COST_NONE,
};
/* A row: a function, and its overloads as "id=target.(args):result", parted by spaces. */
struct function_row {
	const char *name;
	implementation *run;
	enum cost cost;
	const char *overloads;
};
extern const struct function_row functions_standard[], functions_strings[], functions_lists[], functions_time[], functions_network[], functions_kubernetes[];

struct overload {
	const char *id;
	bool member;
	unsigned count;
	const struct cel_type *args[4], *result;
	enum cost cost;
	implementation *run;
};
struct function {
	const char *name;
	struct overload *overloads;
	unsigned count;
	bool patches; /* only where patches are allowed */
};
const struct function *function_find(const char *name);
/* The type that a name stands for: int, google.protobuf.Timestamp, net.IP; NULL. */
const struct cel_type *type_named(const char *name);
extern const struct cel_type type_type, type_quantity, type_semver, type_url, type_ip, type_cidr, type_format, type_path_check, type_group_check, type_decision,
	type_json_patch, type_list_dyn, type_map_dyn, type_error;
struct cel_type *type_of_type(struct arena *arena, const struct cel_type *inner);

struct variable {
	const char *name;
	const struct cel_type *type;
};
struct cel_env {
	struct arena *arena;
	struct variable *variables;
	unsigned count, cap;
	bool patches, bindings;
	const struct cel_type *estimated; /* NULL: what programs may cost is not asked for */
};

struct cel_program {
	struct arena *arena;
	struct node *root;
	const char **variables; /* names, by ident.variable */
	unsigned variable_count;
	unsigned slots;
	uint64_t max_cost;
	struct cel_run *constants; /* holds their values; NULL: none */
};
/* check.c: types all nodes; issues tell what is wrong. */
void cel_check(struct source *source, const struct cel_env *env, struct cel_program *program);
/* A word of the language's own: a property of that name is __name__ in an expression. */
bool is_keyword(const char *word);
const struct cel_type *field_of(const struct cel_type *object, const char *name, const struct cel_field **ret_field);

/* ---- values ---- */

struct list_store {
	struct cel_value *items;
	size_t used, cap;
};
struct cel_list {
	size_t len;
	struct list_store *store; /* of built lists: shared by those that begin alike; NULL: JSON */
	json_t *json;
	const struct cel_type *type; /* of JSON: of the list, may be NULL */
};
struct map_store {
	struct cel_value *keys, *values;
	uint32_t *index; /* hash slots: position + 1 */
	size_t used, cap, index_cap;
};
struct cel_map {
	size_t len;
	struct map_store *store;
	json_t *json;
	const struct cel_type *type; /* of JSON, or of a built object; may be NULL */
	cel_lazy_get *get;
	void *arg;
};

enum opaque_kind { OPAQUE_QUANTITY, OPAQUE_SEMVER, OPAQUE_URL, OPAQUE_IP, OPAQUE_CIDR, OPAQUE_FORMAT, OPAQUE_AUTHORIZER, OPAQUE_PATH, OPAQUE_GROUP, OPAQUE_RESOURCE, OPAQUE_DECISION };
struct semver {
	uint64_t part[3];
	const char *pre; /* "" : none */
};
struct url {
	const char *text, *scheme, *host, *path, *query; /* path as it is escaped */
};
struct ip {
	uint8_t bytes[16];
	uint8_t len;  /* 4 or 16 */
	uint8_t bits; /* of a CIDR */
};
struct cel_opaque {
	enum opaque_kind kind;
	union {
		struct quantity quantity;
		struct semver semver;
		struct url url;
		struct ip ip;
		const struct format_row *format;
		struct {
			cel_authorize *authorize;
			void *arg;
			struct cel_access access;
		} auth;
		struct {
			bool allowed;
			const char *reason, *error;
		} decision;
	};
};

struct cel_run {
	struct arena *arena;
	size_t taken;       /* memory, about */
	uint64_t budget;    /* left, of all evaluations */
	uint64_t cost;      /* of the one under way */
	uint64_t limit;     /* of it */
	uint64_t last;      /* cost of the one before */
	bool exceeded, over_memory;
	unsigned depth;
	const struct regex *regex; /* of the call under way, where its pattern is constant */
	unsigned ticks;
	int64_t deadline;   /* on the monotonic clock: for what takes long and costs little */
};
#define MAX_NANOSECONDS (2 * NSEC_PER_SEC)
/* False where the evaluation has to end; to be asked at each step of what may take long. */
bool run_goes_on(struct cel_run *run);

/* Memory of a run. Past its maximum the evaluation is ended: small sizes are given nevertheless, large ones refused with NULL. */
void *run_alloc(struct cel_run *run, size_t size);
bool run_reserve(struct cel_run *run, size_t size);
struct cel_value cel_fail(struct cel_run *run, const char *fmt, ...) printf_like(2, 3);
struct cel_value no_overload(void);
struct cel_value exceeded(struct cel_run *run);

#define VALUE_NULL ((struct cel_value){.kind = CEL_NULL})
#define VALUE_BOOL(b_) ((struct cel_value){.kind = CEL_BOOL, .b = (b_)})
#define VALUE_INT(i_) ((struct cel_value){.kind = CEL_INT, .i = (i_)})
#define VALUE_UINT(u_) ((struct cel_value){.kind = CEL_UINT, .u = (u_)})
#define VALUE_DOUBLE(d_) ((struct cel_value){.kind = CEL_DOUBLE, .d = (d_)})
#define VALUE_STRING(s_, len_) ((struct cel_value){.kind = CEL_STRING, .s = (s_), .len = (len_)})
#define VALUE_TYPE(t_) ((struct cel_value){.kind = CEL_TYPE, .type = (t_)})
#define VALUE_DURATION(ns_) ((struct cel_value){.kind = CEL_DURATION, .i = (ns_)})
#define VALUE_NONE ((struct cel_value){.kind = CEL_OPTIONAL, .some = NULL})

struct cel_value value_some(struct cel_run *run, struct cel_value inner);
struct cel_value value_text(struct cel_run *run, const char *text); /* copied */
struct cel_value value_opaque(struct cel_run *run, const struct cel_opaque *opaque);
bool is_opaque(const struct cel_value *v, enum opaque_kind kind);
const char *value_cstr(struct cel_run *run, const struct cel_value *string);

struct cel_value list_new(struct cel_run *run, size_t cap);
/* Of a list that was made by list_new and not yet shown to anyone. */
void list_push(struct cel_run *run, struct cel_value *list, struct cel_value item);
struct cel_value list_get(struct cel_run *run, const struct cel_list *list, size_t i);
struct cel_value list_concat(struct cel_run *run, const struct cel_value *a, const struct cel_value *b);
struct cel_value map_new(struct cel_run *run);
/* Into a map that was made by map_new and not yet shown to anyone; takes the place of what has the key. False: no key. */
bool map_put(struct cel_run *run, struct cel_value *map, struct cel_value key, struct cel_value value);
/* A map that has one entry more; an error where the key is there or is none. */
struct cel_value map_with(struct cel_run *run, const struct cel_value *map, struct cel_value key, struct cel_value value);
bool map_find(struct cel_run *run, const struct cel_map *map, const struct cel_value *key, struct cel_value *ret);
/* All keys, as a list. */
struct cel_value map_keys(struct cel_run *run, const struct cel_map *map);
size_t map_size(const struct cel_map *map);

bool value_equal(struct cel_run *run, const struct cel_value *a, const struct cel_value *b);
/* -1, 0, 1; false where they have no order, with an error in *why. */
bool value_compare(struct cel_run *run, const struct cel_value *a, const struct cel_value *b, int *ret, struct cel_value *why);
bool value_is_zero(const struct cel_value *v);
const struct cel_type *value_type(const struct cel_value *v);
/* True where a value may stand where the type is asked for. */
bool value_fits(const struct cel_value *v, const struct cel_type *type);
uint64_t value_size(const struct cel_value *v);
/* As error messages show it. */
void value_append(struct cel_run *run, const struct cel_value *v, struct buf *out);
struct cel_value value_to_string(struct cel_run *run, const struct cel_value *v);
/* Length of the sequence at s; 0 where it is none. */
size_t utf8_valid(const char *s, size_t left);
size_t utf8_count(const char *s, size_t len);
/* Bytes that the first `count` code points take. */
size_t utf8_offset(const char *s, size_t len, size_t count);
void append_go_double(struct buf *out, double d, bool fixed);
void append_go_quoted(struct buf *out, const char *s, size_t len);
bool parse_go_double(const char *s, size_t len, double *ret);

/* Fails where the text of a constant argument is none: what is told when compiling. */
bool time_parse(const char *s, size_t len, struct cel_value *ret);
struct cel_value format_string(struct cel_run *run, const struct cel_value *args, unsigned count);
/* What is wrong with a constant format and its arguments, as issues. */
void format_check_call(struct source *source, const struct node *call);
unsigned format_regex_size(const struct cel_opaque *format);
/* Of a tree that is checked but in which nothing was worked out yet. */
uint64_t cel_estimate(const struct node *root, const struct cel_type *variable);
uint64_t call_cost(const struct node *call, const struct cel_value *args, unsigned count, const struct cel_value *result);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include "common/cel/expression.h"

#include <errno.h>
#include <pthread.h>

/* ---- types that are always the same ---- */

static const struct cel_type *request_type, *namespace_type;

static const struct cel_type *object(struct arena *arena, const char *name, const struct cel_field *fields, size_t count) {
	return cel_object_of(arena, name, fields, count);
}
#define OBJECT(arena_, name_, ...) object(arena_, name_, (const struct cel_field[]){__VA_ARGS__}, array_len(((const struct cel_field[]){__VA_ARGS__})))
#define FIELD(name_, type_) {.name = (name_), .key = (name_), .type = (type_)}

static void make_request(struct arena *arena, const struct cel_type *strings) {
	const struct cel_type *kind = OBJECT(arena, "kubernetes.GroupVersionKind", FIELD("group", &cel_string), FIELD("version", &cel_string), FIELD("kind", &cel_string));
	const struct cel_type *resource = OBJECT(arena, "kubernetes.GroupVersionResource", FIELD("group", &cel_string), FIELD("version", &cel_string), FIELD("resource", &cel_string));
	const struct cel_type *user = OBJECT(arena, "kubernetes.UserInfo", FIELD("username", &cel_string), FIELD("uid", &cel_string), FIELD("groups", strings), FIELD("extra", cel_map_of(arena, &cel_string, strings)));
	request_type = OBJECT(arena, "kubernetes.AdmissionRequest", FIELD("kind", kind), FIELD("resource", resource), FIELD("subResource", &cel_string), FIELD("requestKind", kind), FIELD("requestResource", resource),
		FIELD("requestSubResource", &cel_string), FIELD("name", &cel_string), FIELD("namespace", &cel_string), FIELD("operation", &cel_string), FIELD("userInfo", user), FIELD("dryRun", &cel_bool), FIELD("options", &cel_dyn));
}

static void make_namespace(struct arena *arena, const struct cel_type *strings) {
	const struct cel_type *text_map = cel_map_of(arena, &cel_string, &cel_string);
	const struct cel_type *spec = OBJECT(arena, "kubernetes.NamespaceSpec", FIELD("finalizers", strings));
	const struct cel_type *condition = OBJECT(arena, "kubernetes.NamespaceCondition", FIELD("status", &cel_string), FIELD("type", &cel_string), FIELD("lastTransitionTime", &cel_timestamp), FIELD("message", &cel_string), FIELD("reason", &cel_string));
	const struct cel_type *status = OBJECT(arena, "kubernetes.NamespaceStatus", FIELD("conditions", cel_list_of(arena, condition)), FIELD("phase", &cel_string));
	const struct cel_type *metadata = OBJECT(arena, "kubernetes.NamespaceMetadata", FIELD("name", &cel_string), FIELD("generateName", &cel_string), FIELD("namespace", &cel_string), FIELD("labels", text_map), FIELD("annotations", text_map),
		FIELD("UID", &cel_string), FIELD("creationTimestamp", &cel_timestamp), FIELD("deletionGracePeriodSeconds", &cel_int), FIELD("deletionTimestamp", &cel_timestamp), FIELD("generation", &cel_int),
		FIELD("resourceVersion", &cel_string), FIELD("finalizers", strings));
	namespace_type = OBJECT(arena, "kubernetes.Namespace", FIELD("metadata", metadata), FIELD("spec", spec), FIELD("status", status));
}

/* For good. */
static void make_types(void) {
	static struct arena *arena;
	arena = arena_new();
	const struct cel_type *strings = cel_list_of(arena, &cel_string);
	make_request(arena, strings);
	make_namespace(arena, strings);
}

/* ---- scopes ---- */

struct expression_scope {
	struct cel_env *plain, *message, *patch; /* message: without authorizer; patch: with the types of mutations; both NULL where only types are looked at */
	struct cel_field *variables;
	size_t count, cap;
};

static struct cel_env *typed_environment(bool params, const struct cel_type *object, const struct cel_type *params_type) {
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, make_types);
	struct cel_env *env = cel_env_new();
	cel_env_add(env, "object", object ? object : &cel_dyn);
	cel_env_add(env, "oldObject", object ? object : &cel_dyn);
	cel_env_add(env, "namespaceObject", namespace_type);
	cel_env_add(env, "request", request_type);
	if (params)
		cel_env_add(env, "params", params_type ? params_type : &cel_dyn);
	return env;
}

static struct cel_env *environment(bool params, bool authorizer) {
	struct cel_env *env = typed_environment(params, NULL, NULL);
	if (authorizer) {
		cel_env_add(env, "authorizer", &cel_authorizer_type);
		cel_env_add(env, "authorizer.requestResource", &cel_resource_check_type);
	}
	return env;
}

/* The type of `variables` grows; programs hold on to what they were compiled with as long as the scope lives. */
static void declare_variables(struct expression_scope *scope) {
	struct cel_env *envs[] = {scope->plain, scope->message, scope->patch};
	for (size_t i = 0; i < array_len(envs) && envs[i]; i++) /* the first is always there */
		cel_env_add(envs[i], "variables", cel_object_of(cel_env_arena(envs[i]), "kubernetes.variables", scope->variables, scope->count));
}

struct expression_scope *expression_scope_new(bool params, bool variables) {
	struct expression_scope *scope = xnew(struct expression_scope);
	scope->plain = environment(params, true);
	scope->message = environment(params, false);
	scope->patch = environment(params, true);
	cel_env_allow_patches(scope->patch);
	if (variables)
		declare_variables(scope);
	return scope;
}

struct expression_scope *expression_scope_new_typed(bool params, const struct cel_type *object, const struct cel_type *params_type) {
	struct expression_scope *scope = xnew(struct expression_scope);
	scope->plain = typed_environment(params, object, params_type);
	cel_env_add(scope->plain, "authorizer", &cel_authorizer_type);
	declare_variables(scope);
	return scope;
}

struct expression_scope *expression_scope_free(struct expression_scope *scope) {
	if (scope) {
		cel_env_free(scope->plain);
		cel_env_free(scope->message);
		cel_env_free(scope->patch);
		free(scope->variables);
		free(scope);
	}
	return NULL;
}

/* What a variable's type is to others: simple ones and lists and maps of them stay, all else is dyn. */
static const struct cel_type *type_of_variable(struct arena *arena, const struct cel_type *type) {
	switch (type ? type->kind : CEL_DYN) {
	case CEL_BOOL:
		return &cel_bool;
	case CEL_BYTES:
		return &cel_bytes;
	case CEL_DOUBLE:
		return &cel_double;
	case CEL_DURATION:
		return &cel_duration;
	case CEL_INT:
		return &cel_int;
	case CEL_NULL:
		return &cel_null;
	case CEL_STRING:
		return &cel_string;
	case CEL_TIMESTAMP:
		return &cel_timestamp;
	case CEL_UINT:
		return &cel_uint;
	case CEL_LIST:
		return cel_list_of(arena, type_of_variable(arena, type->params[0]));
	case CEL_MAP:
		return cel_map_of(arena, type_of_variable(arena, type->params[0]), type_of_variable(arena, type->params[1]));
	default:
		return &cel_dyn;
	}
}

void expression_scope_add(struct expression_scope *scope, const char *name, const struct cel_type *type) {
	struct arena *arena = cel_env_arena(scope->plain);
	struct cel_field field = {.name = arena_strdup(arena, name), .type = type_of_variable(arena, type)};
	field.key = field.name;
	size_t i = 0;
	while (i < scope->count && strcmp(scope->variables[i].name, name) != 0)
		i++;
	if (i == scope->cap) {
		scope->cap = scope->cap ? scope->cap * 2 : 8;
		scope->variables = xreallocarray(scope->variables, scope->cap, sizeof(*scope->variables));
	}
	scope->variables[i] = field;
	scope->count = max_of(scope->count, i + 1);
	declare_variables(scope);
}

/* ---- what they come to ---- */

static int check_type(enum expression_kind kind, const struct cel_type *type, struct error *err) {
	bool fits = true;
	const char *wanted = "";
	switch (kind) {
	case EXPRESSION_CONDITION:
		fits = type->kind == CEL_BOOL;
		wanted = "bool";
		break;
	case EXPRESSION_MESSAGE:
		fits = type->kind == CEL_STRING;
		wanted = "string";
		break;
	case EXPRESSION_AUDIT:
		fits = type->kind == CEL_STRING || type->kind == CEL_NULL;
		wanted = "one of [string null_type]";
		break;
	case EXPRESSION_APPLY:
		fits = type->kind == CEL_OBJECT && str_equal(type->name, "Object");
		wanted = "Object";
		break;
	case EXPRESSION_JSON_PATCH:
		fits = type->kind == CEL_LIST && type->params[0]->kind == CEL_OBJECT && str_equal(type->params[0]->name, "JSONPatch");
		wanted = "list(JSONPatch)";
		break;
	case EXPRESSION_VARIABLE:
		break;
	}
	if (fits)
		return 0;
	autobuf struct buf name = BUF_INIT(BUF_MAX_DEFAULT);
	cel_type_append_full(type, &name);
	return error_set(err, EINVAL, "must evaluate to %s but got %s", wanted, name.data);
}

int expression_compile(struct expression_scope *scope, enum expression_kind kind, const char *text, struct cel_program **ret, struct error *err) {
	autocel struct cel_program *program = NULL;
	bool patch = kind == EXPRESSION_APPLY || kind == EXPRESSION_JSON_PATCH;
	int r = cel_compile(patch ? scope->patch : kind == EXPRESSION_MESSAGE ? scope->message : scope->plain, text, &program, err);
	if (r == 0)
		r = check_type(kind, cel_program_type(program), err);
	if (r == 0)
		*ret = take_ptr(program);
	return r;
}

int expression_check(struct expression_scope *scope, const char *text, const struct cel_type **ret_type, struct error *err) {
	autocel struct cel_program *program = NULL;
	int r = cel_check_expression(scope->plain, text, &program, err);
	if (r == 0 && ret_type)
		*ret_type = type_of_variable(cel_env_arena(scope->plain), cel_program_type(program));
	return r;
}

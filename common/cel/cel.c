/* SPDX-License-Identifier: Apache-2.0 */
/* Environments, programs and runs: what cel.h offers. */
#include "common/cel/internal.h"
#include "common/api/codec.h"
#include "common/base/clock.h"

#include <errno.h>

struct cel_env *cel_env_new(void) {
	struct cel_env *env = xnew(struct cel_env);
	env->arena = arena_new();
	return env;
}

struct cel_env *cel_env_free(struct cel_env *env) {
	if (env) {
		arena_free(env->arena);
		free(env->variables);
		free(env);
	}
	return NULL;
}

struct arena *cel_env_arena(struct cel_env *env) {
	return env->arena;
}

void cel_env_add(struct cel_env *env, const char *name, const struct cel_type *type) {
	for (unsigned i = 0; i < env->count; i++)
		if (strcmp(env->variables[i].name, name) == 0) {
			env->variables[i].type = type;
			return;
		}
	if (env->count == env->cap) {
		env->cap = env->cap ? env->cap * 2 : 8;
		env->variables = xreallocarray(env->variables, env->cap, sizeof(*env->variables));
	}
	env->variables[env->count++] = (struct variable){name, type};
}

void cel_env_allow_patches(struct cel_env *env) {
	env->patches = true;
}

void cel_env_allow_bindings(struct cel_env *env) {
	env->bindings = true;
}

void cel_env_estimate(struct cel_env *env, const struct cel_type *type) {
	env->estimated = type;
}

size_t utf8_valid(const char *s, size_t left) {
	return api_utf8_length((const unsigned char *)s, left);
}

/* The text with U+FFFD for what is no UTF-8. */
static void read_source(struct source *source, const char *expression) {
	autobuf struct buf text = BUF_INIT(BUF_MAX_DEFAULT);
	size_t len = strlen(expression);
	for (size_t i = 0; i < len && source->length <= CEL_MAX_EXPRESSION; source->length++) {
		size_t n = utf8_valid(expression + i, len - i);
		if (n)
			buf_append(&text, expression + i, n);
		else
			buf_append_str(&text, "\ufffd");
		i += n ? n : 1;
	}
	source->text = arena_strndup(source->arena, text.data ? text.data : "", text.len);
	source->len = text.len;
	if (source->length > CEL_MAX_EXPRESSION)
		source->length = (uint32_t)utf8_count(expression, len);
}

/* ---- constants ---- */

static int fold(struct cel_program *program, struct node *node, struct error *err);

static int fold_entries(struct cel_program *program, struct node *node, struct error *err) {
	int r = 0;
	for (uint32_t i = 0; i < node->map.count && !r; i++) {
		if (node->map.items[i].key)
			r = fold(program, node->map.items[i].key, err);
		if (!r)
			r = fold(program, node->map.items[i].value, err);
	}
	return r;
}

static int fold_children(struct cel_program *program, struct node *node, struct error *err) {
	int r = 0;
	switch (node->kind) {
	case NODE_SELECT:
		return fold(program, node->select.operand, err);
	case NODE_CALL:
		for (uint32_t i = 0; i < node->call.count && !r; i++)
			r = fold(program, node->call.args[i], err);
		return r;
	case NODE_LIST:
		for (uint32_t i = 0; i < node->list.count && !r; i++)
			r = fold(program, node->list.items[i], err);
		return r;
	case NODE_MAP:
	case NODE_STRUCT:
		return fold_entries(program, node, err);
	case NODE_FOLD:
		r = fold(program, node->fold.range, err);
		r = r ? r : fold(program, node->fold.init, err);
		r = r ? r : fold(program, node->fold.step, err);
		return r ? r : fold(program, node->fold.result, err);
	default:
		return 0;
	}
}

/* A store that threads share must not grow: it looks as if another had gone on in it. */
static void freeze(const struct cel_value *value) {
	if (value->kind == CEL_LIST && value->list->store)
		value->list->store->used = SIZE_MAX;
	if (value->kind == CEL_MAP && value->map->store)
		value->map->store->used = SIZE_MAX;
}

/* What is constant is worked out once; a conversion that fails is a mistake of the text. */
static int fold(struct cel_program *program, struct node *node, struct error *err) {
	int r = fold_children(program, node, err);
	if (r < 0 || !node->constant || node->kind == NODE_LITERAL)
		return r;
	struct cel_program part = *program;
	struct cel_value value;
	part.root = node;
	if (!program->constants)
		program->constants = cel_run_new(UINT64_MAX);
	r = cel_evaluate(&part, program->constants, NULL, 0, &value, err);
	if (r < 0)
		return r;
	freeze(&value);
	node->kind = NODE_LITERAL;
	node->literal = value;
	return 0;
}

int cel_check_expression(const struct cel_env *env, const char *expression, struct cel_program **ret, struct error *err) {
	autofree struct source *source = xnew(struct source);
	autocel struct cel_program *program = xnew(struct cel_program);
	source->arena = program->arena = arena_new();
	source->bindings = env->bindings;
	read_source(source, expression);
	program->root = cel_parse(source);
	if (program->root)
		cel_check(source, env, program);
	int r = issues_report(source, err);
	if (r == 0)
		*ret = take_ptr(program);
	return r;
}

int cel_compile(const struct cel_env *env, const char *expression, struct cel_program **ret, struct error *err) {
	autocel struct cel_program *program = NULL;
	int r = cel_check_expression(env, expression, &program, err);
	if (r < 0) {
		error_context(err, "compilation failed");
		return r;
	}
	if (env->estimated)
		program->max_cost = cel_estimate(program->root, env->estimated);
	r = fold(program, program->root, err);
	if (r < 0) {
		error_context(err, "program instantiation failed");
		return r;
	}
	*ret = take_ptr(program);
	return 0;
}

struct cel_program *cel_program_free(struct cel_program *program) {
	if (program) {
		cel_run_free(program->constants);
		arena_free(program->arena);
		free(program);
	}
	return NULL;
}

const struct cel_type *cel_program_type(const struct cel_program *program) {
	return program->root->type;
}

uint64_t cel_program_max_cost(const struct cel_program *program) {
	return program->max_cost;
}

bool cel_program_uses(const struct cel_program *program, const char *variable) {
	for (unsigned i = 0; i < program->variable_count; i++)
		if (strcmp(program->variables[i], variable) == 0)
			return true;
	return false;
}

struct cel_run *cel_run_new(uint64_t budget) {
	struct cel_run *run = xnew(struct cel_run);
	run->arena = arena_new();
	run->budget = budget;
	return run;
}

struct cel_run *cel_run_free(struct cel_run *run) {
	if (run) {
		arena_free(run->arena);
		free(run);
	}
	return NULL;
}

uint64_t cel_run_left(const struct cel_run *run) {
	return run->budget;
}

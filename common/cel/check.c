/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The type checker: every node gets a type, every name what it stands for, every call its function and, where there can be but one, its overload.
 * Types are unified with type variables, as cel-go does it: an attempt that fails leaves no trace.
 */
#include "common/cel/internal.h"

#define MAX_TYPE_WEIGHT 2000u   /* of one type: what is made of itself twice over and over grows fast */
#define MAX_STEPS 2000000u      /* of unification */

struct scope {
	const char *name;
	const struct cel_type *type;
};
struct checker {
	struct source *source;
	const struct cel_env *env;
	struct cel_program *program;
	const struct cel_type **bindings; /* of type variables, by number */
	uint32_t vars, vars_cap;
	struct {
		uint32_t var;
		const struct cel_type *old;
	} *trail; /* what an attempt has bound */
	uint32_t trail_len, trail_cap;
	struct scope *scopes;
	unsigned scope_count, scope_cap;
	unsigned steps;
	bool stopped;
};

static void *grow(struct checker *c, void *items, uint32_t count, uint32_t *cap, size_t size) {
	if (count < *cap)
		return items;
	uint32_t more = *cap ? *cap * 2 : 16;
	char *grown = arena_calloc(c->source->arena, more, size);
	if (count)
		memcpy(grown, items, count * size);
	*cap = more;
	return grown;
}

/* ---- types ---- */

static const struct cel_type *composed(struct checker *c, const struct cel_type *type) {
	if (type->weight <= MAX_TYPE_WEIGHT)
		return type;
	if (!c->stopped)
		issue_add(c->source, NOWHERE, "type is too large");
	c->stopped = true;
	return &cel_dyn;
}

static const struct cel_type *list_of(struct checker *c, const struct cel_type *element) {
	return composed(c, cel_list_of(c->source->arena, element));
}

static const struct cel_type *map_of(struct checker *c, const struct cel_type *key, const struct cel_type *value) {
	return composed(c, cel_map_of(c->source->arena, key, value));
}

static const struct cel_type *optional(struct checker *c, const struct cel_type *inner) {
	return composed(c, cel_optional_of(c->source->arena, inner));
}

static const struct cel_type *new_var(struct checker *c) {
	struct cel_type *type = arena_new_type(c->source->arena, struct cel_type);
	type->kind = CEL_PARAM;
	type->var = c->vars;
	c->bindings = grow(c, c->bindings, c->vars, &c->vars_cap, sizeof(*c->bindings));
	c->bindings[c->vars++] = NULL;
	return type;
}

static bool is_var(const struct cel_type *t) {
	return t->kind == CEL_PARAM;
}

static void bind(struct checker *c, const struct cel_type *var, const struct cel_type *to) {
	c->trail = grow(c, c->trail, c->trail_len, &c->trail_cap, sizeof(*c->trail));
	c->trail[c->trail_len].var = var->var;
	c->trail[c->trail_len++].old = c->bindings[var->var];
	c->bindings[var->var] = to;
}

static void undo(struct checker *c, uint32_t mark) {
	while (c->trail_len > mark) {
		c->trail_len--;
		c->bindings[c->trail[c->trail_len].var] = c->trail[c->trail_len].old;
	}
}

/* The type with its variables replaced; those that stand for nothing stay, or become dyn. */
static const struct cel_type *substitute(struct checker *c, const struct cel_type *t, bool to_dyn) {
	while (is_var(t) && c->bindings[t->var])
		t = c->bindings[t->var];
	if (is_var(t))
		return to_dyn ? &cel_dyn : t;
	if (!t->param_count || c->stopped)
		return t;
	const struct cel_type *a = substitute(c, t->params[0], to_dyn), *b = t->param_count > 1 ? substitute(c, t->params[1], to_dyn) : NULL;
	if (a == t->params[0] && b == t->params[1])
		return t;
	struct cel_type *copy = arena_memdup(c->source->arena, t, sizeof(*t));
	copy->params[0] = a;
	copy->params[1] = b;
	copy->weight = 1 + max_of(a->weight, 1u) + (b ? max_of(b->weight, 1u) : 0);
	return composed(c, copy);
}

/* Named parameters of a signature become variables of their own. */
static const struct cel_type *instantiate(struct checker *c, const struct cel_type *t, const struct cel_type **params) {
	if (is_var(t)) {
		unsigned i = *t->name == 'B';
		if (!params[i])
			params[i] = new_var(c);
		return params[i];
	}
	if (!t->param_count)
		return t;
	struct cel_type *copy = arena_memdup(c->source->arena, t, sizeof(*t));
	for (unsigned i = 0; i < t->param_count; i++)
		copy->params[i] = instantiate(c, t->params[i], params);
	return copy;
}

static bool less_specific(const struct cel_type *a, const struct cel_type *b) {
	if (a->kind == CEL_DYN || is_var(a))
		return true;
	if (b->kind == CEL_DYN || is_var(b) || a->kind != b->kind)
		return false;
	if (a->kind == CEL_TYPE)
		return true;
	if (!a->param_count)
		return cel_type_same(a, b);
	for (unsigned i = 0; i < a->param_count; i++)
		if (!less_specific(a->params[i], b->params[i]))
			return false;
	return true;
}

static const struct cel_type *most_general(const struct cel_type *a, const struct cel_type *b) {
	return less_specific(a, b) ? a : b;
}

/* True where the variable does not occur within the type. */
static bool absent(struct checker *c, const struct cel_type *var, const struct cel_type *within) {
	if (++c->steps > MAX_STEPS)
		return false;
	if (cel_type_same(var, within))
		return false;
	if (is_var(within))
		return !c->bindings[within->var] || absent(c, var, c->bindings[within->var]);
	for (unsigned i = 0; i < within->param_count; i++)
		if (!absent(c, var, within->params[i]))
			return false;
	return true;
}

static bool fits(struct checker *c, const struct cel_type *a, const struct cel_type *b);

static bool fits_var(struct checker *c, const struct cel_type *t, const struct cel_type *var, bool *ret_bound) {
	const struct cel_type *now = c->bindings[var->var];
	*ret_bound = true;
	if (cel_type_same(t, var))
		return true;
	if (now) {
		if (cel_type_same(t, now))
			return true;
		if (!fits(c, t, now))
			return false;
		const struct cel_type *general = most_general(t, now);
		if (absent(c, var, general))
			bind(c, var, general);
		return true;
	}
	*ret_bound = false;
	if (!absent(c, var, t))
		return false;
	bind(c, var, t);
	return true;
}

static bool nullable(const struct cel_type *t) {
	return t->kind == CEL_OBJECT || t->kind == CEL_OPAQUE || t->kind == CEL_OPTIONAL || t->kind == CEL_TIMESTAMP || t->kind == CEL_DURATION || t->kind == CEL_NULL;
}

static bool fits(struct checker *c, const struct cel_type *a, const struct cel_type *b) {
	bool bound;
	if (++c->steps > MAX_STEPS)
		return false;
	if (is_var(b)) {
		if (fits_var(c, a, b, &bound))
			return true;
		if (bound)
			return false;
	}
	if (is_var(a))
		return fits_var(c, b, a, &bound);
	if (a->kind == CEL_DYN || a->kind == CEL_ERROR || b->kind == CEL_DYN || b->kind == CEL_ERROR)
		return true;
	if (a->kind == CEL_NULL)
		return nullable(b);
	if (b->kind == CEL_NULL)
		return nullable(a);
	if (a->kind != b->kind)
		return false;
	if (a->kind == CEL_TYPE)
		return true;
	if (!str_equal(a->name, b->name) || a->param_count != b->param_count)
		return false;
	for (unsigned i = 0; i < a->param_count; i++)
		if (!fits(c, a->params[i], b->params[i]))
			return false;
	return true;
}

static bool assignable(struct checker *c, const struct cel_type *a, const struct cel_type *b) {
	uint32_t mark = c->trail_len;
	bool ok = fits(c, a, b);
	if (!ok)
		undo(c, mark);
	return ok;
}

static const char *name_of(struct checker *c, const struct cel_type *t) {
	autobuf struct buf text = BUF_INIT(BUF_MAX_DEFAULT);
	cel_type_append(t, &text);
	return arena_strndup(c->source->arena, text.data ? text.data : "", text.len);
}

static void mismatch(struct checker *c, uint32_t at, const struct cel_type *expected, const struct cel_type *found) {
	issue_add(c->source, at, "expected type '%s' but found '%s'", name_of(c, expected), name_of(c, found));
}

static const struct cel_type *unwrap(const struct cel_type *t, bool *ret_optional) {
	*ret_optional = t->kind == CEL_OPTIONAL;
	return *ret_optional ? t->params[0] : t;
}

static const struct cel_type *join(struct checker *c, const struct cel_type *before, const struct cel_type *now) {
	if (!before)
		return now;
	if (assignable(c, before, now))
		return most_general(before, now);
	return &cel_dyn; /* check_uniform tells */
}

/* ---- names ---- */

static unsigned variable_index(struct checker *c, const char *name) {
	struct cel_program *p = c->program;
	for (unsigned i = 0; i < p->variable_count; i++)
		if (strcmp(p->variables[i], name) == 0)
			return i;
	p->variables[p->variable_count] = arena_strdup(p->arena, name);
	return p->variable_count++;
}

static const struct variable *variable_find(const struct cel_env *env, const char *name) {
	for (unsigned i = 0; i < env->count; i++)
		if (strcmp(env->variables[i].name, name) == 0)
			return &env->variables[i];
	return NULL;
}

/* Object and its parts, which mutations build. */
static const struct cel_type *patch_type(struct checker *c, const char *name) {
	if (!c->env->patches)
		return NULL;
	if (strcmp(name, "JSONPatch") == 0)
		return &type_json_patch;
	if (strcmp(name, "Object") != 0 && !str_starts_with(name, "Object."))
		return NULL;
	struct cel_type *type = arena_new_type(c->source->arena, struct cel_type);
	type->kind = CEL_OBJECT;
	type->name = name;
	type->any_field = true;
	return type;
}

/* Makes the node what the name stands for: a variable or a type. */
static bool resolve(struct checker *c, struct node *node, const char *name) {
	name += *name == '.';
	for (unsigned i = c->scope_count; i--;)
		if (strcmp(c->scopes[i].name, name) == 0) {
			node->kind = NODE_IDENT;
			node->ident.name = name;
			node->ident.slot = (int)i;
			node->type = c->scopes[i].type;
			return true;
		}
	const struct variable *variable = variable_find(c->env, name);
	if (variable) {
		node->kind = NODE_IDENT;
		node->ident.name = name;
		node->ident.slot = -1;
		node->ident.variable = variable_index(c, name);
		node->type = variable->type;
		return true;
	}
	const struct cel_type *type = type_named(name);
	if (!type)
		type = patch_type(c, name);
	if (!type)
		return false;
	node->kind = NODE_LITERAL;
	node->literal = VALUE_TYPE(type);
	node->type = type_of_type(c->source->arena, type);
	return true;
}

/* "a.b.c" of selections from a name; NULL where it is something else. */
static const char *qualified(struct checker *c, const struct node *node) {
	if (node->kind == NODE_IDENT)
		return node->ident.name;
	if (node->kind != NODE_SELECT || node->select.test)
		return NULL;
	const char *operand = qualified(c, node->select.operand);
	return operand ? arena_printf(c->source->arena, "%s.%s", operand, node->select.field) : NULL;
}

/* True where some name that is known begins with what stands before the node's first dot: else there is no need to look. */
static bool may_be_name(struct checker *c, const struct node *node) {
	while (node->kind == NODE_SELECT)
		node = node->select.operand;
	if (node->kind != NODE_IDENT)
		return false;
	const char *first = node->ident.name + (*node->ident.name == '.');
	size_t len = strlen(first);
	for (unsigned i = 0; i < c->env->count; i++)
		if (strncmp(c->env->variables[i].name, first, len) == 0 && c->env->variables[i].name[len] == '.')
			return true;
	return strcmp(first, "google") == 0 || strcmp(first, "net") == 0 || (c->env->patches && strcmp(first, "Object") == 0);
}

/* ---- nodes ---- */

static void check(struct checker *c, struct node *node);

static void undeclared(struct checker *c, struct node *node, const char *name) {
	issue_add(c->source, node->at, "undeclared reference to '%s' (in container '')", name);
	node->type = &type_error;
}

static const struct cel_type *check_field(struct checker *c, struct node *node, struct node *operand, const char *field, bool is_optional) {
	check(c, operand);
	bool was;
	const struct cel_type *target = unwrap(substitute(c, operand->type, false), &was), *result = &type_error;
	switch (target->kind) {
	case CEL_MAP:
		result = target->params[1];
		break;
	case CEL_OBJECT:
		result = field_of(target, field, NULL);
		if (!result) {
			/* Types of a library are names alone. */
			if (str_starts_with(target->name, "kubernetes.authorization."))
				issue_add(c->source, node->at, "unexpected failed resolution of '%s'", target->name);
			else
				issue_add(c->source, node->at, "undefined field '%s'", field);
			result = &type_error;
		}
		break;
	case CEL_PARAM:
		assignable(c, &cel_dyn, target);
		result = &cel_dyn;
		break;
	default:
		if (target->kind != CEL_DYN && target->kind != CEL_ERROR)
			issue_add(c->source, node->at, "type '%s' does not support field selection", name_of(c, target));
		result = &cel_dyn;
	}
	return was || is_optional ? optional(c, result) : result;
}

static void check_select(struct checker *c, struct node *node) {
	if (!node->select.test && may_be_name(c, node)) {
		const char *name = qualified(c, node);
		if (name && resolve(c, node, name))
			return;
	}
	const struct cel_type *result = check_field(c, node, node->select.operand, node->select.field, false);
	node->type = node->select.test ? &cel_bool : substitute(c, result, false);
}

/* Overloads that a call may mean: its type follows from them. */
static void check_overloads(struct checker *c, struct node *node, const struct function *f) {
	const struct cel_type *result = NULL;
	unsigned found = 0;
	node->call.function = f;
	for (unsigned i = 0; i < f->count; i++) {
		const struct overload *o = &f->overloads[i];
		if (o->member != node->call.member || o->count != node->call.count)
			continue;
		const struct cel_type *params[2] = {NULL, NULL};
		uint32_t mark = c->trail_len;
		bool ok = true;
		for (unsigned k = 0; k < o->count && ok; k++)
			ok = fits(c, node->call.args[k]->type, instantiate(c, o->args[k], params));
		if (!ok) {
			undo(c, mark);
			continue;
		}
		node->call.overload = found++ ? NULL : o;
		const struct cel_type *type = substitute(c, instantiate(c, o->result, params), false);
		if (!result)
			result = type;
		else if (result->kind != CEL_DYN && !cel_type_same(type, result))
			result = &cel_dyn;
	}
	node->type = result;
	if (result)
		return;
	node->type = &type_error;
	autobuf struct buf text = BUF_INIT(BUF_MAX_DEFAULT);
	uint32_t first = node->call.member;
	if (first) {
		cel_type_append(substitute(c, node->call.args[0]->type, true), &text);
		buf_append_char(&text, '.');
	}
	for (uint32_t i = first; i < node->call.count; i++) {
		buf_append_str(&text, i > first ? ", " : "(");
		cel_type_append(substitute(c, node->call.args[i]->type, true), &text);
	}
	buf_append_str(&text, node->call.count == first ? "()" : ")");
	issue_add(c->source, node->at, "found no matching overload for '%s' applied to '%s'", f->name, text.data);
}

static void check_logic(struct checker *c, struct node *node) {
	node->type = &cel_bool;
	for (uint32_t i = 0; i < node->call.count; i++)
		if (!assignable(c, node->call.args[i]->type, &cel_bool)) {
			mismatch(c, node->call.args[i]->at, &cel_bool, substitute(c, node->call.args[i]->type, false));
			node->type = &type_error;
		}
}

static const struct function *find(struct checker *c, const char *name) {
	const struct function *f = function_find(name + (*name == '.'));
	return f && (!f->patches || c->env->patches) ? f : NULL;
}

static void check_call(struct checker *c, struct node *node) {
	uint32_t first = node->call.member;
	const char *name = node->call.name;
	if (strcmp(name, "_?._") == 0) {
		node->type = substitute(c, check_field(c, node, node->call.args[0], node->call.args[1]->literal.s, true), false);
		node->call.args[1]->type = &cel_string;
		return;
	}
	for (uint32_t i = first; i < node->call.count; i++)
		check(c, node->call.args[i]);
	if (strcmp(name, "_&&_") == 0 || strcmp(name, "_||_") == 0) {
		check_logic(c, node);
		return;
	}
	if (first) {
		/* The target may be the first part of the function's name: lists.range(2). */
		const char *prefix = node->call.args[0]->kind == NODE_IDENT ? node->call.args[0]->ident.name : NULL;
		const char *whole = prefix ? arena_printf(c->source->arena, "%s.%s", prefix, name) : NULL;
		const struct function *f = whole ? find(c, whole) : NULL;
		if (f) {
			node->call.member = false;
			node->call.args++;
			node->call.count--;
			check_overloads(c, node, f);
			return;
		}
		check(c, node->call.args[0]);
	}
	const struct function *f = find(c, name);
	if (!f) {
		undeclared(c, node, name);
		return;
	}
	check_overloads(c, node, f);
}

static const struct cel_type *check_optional_value(struct checker *c, const struct node *value, bool is_optional) {
	bool was = false;
	const struct cel_type *type = value->type;
	if (!is_optional)
		return type;
	type = unwrap(substitute(c, type, false), &was);
	if (!was && type->kind != CEL_DYN)
		mismatch(c, value->at, optional(c, type), type);
	return type;
}

static void check_list(struct checker *c, struct node *node) {
	const struct cel_type *element = NULL;
	for (uint32_t i = 0; i < node->list.count; i++) {
		struct node *item = node->list.items[i];
		check(c, item);
		element = join(c, element, check_optional_value(c, item, node->list.optional && node->list.optional[i]));
	}
	node->type = list_of(c, element ? element : new_var(c));
}

static void check_map(struct checker *c, struct node *node) {
	const struct cel_type *key = NULL, *value = NULL;
	for (uint32_t i = 0; i < node->map.count; i++) {
		struct entry *entry = &node->map.items[i];
		check(c, entry->key);
		key = join(c, key, entry->key->type);
		check(c, entry->value);
		value = join(c, value, check_optional_value(c, entry->value, entry->optional));
	}
	if (!key) {
		key = new_var(c);
		value = new_var(c);
	}
	node->type = map_of(c, key, value);
}

static void check_struct(struct checker *c, struct node *node) {
	struct node name = {.at = node->at};
	const struct cel_type *type = &type_error;
	if (!resolve(c, &name, node->map.name)) {
		undeclared(c, node, node->map.name);
		return;
	}
	if (name.type->kind != CEL_TYPE) {
		issue_add(c->source, node->at, "'%s' is not a type", name_of(c, name.type));
	} else {
		type = name.type->params[0];
		if (type->kind != CEL_OBJECT) {
			issue_add(c->source, node->at, "'%s' is not a message type", name_of(c, type));
			type = &type_error;
		}
	}
	node->type = type;
	for (uint32_t i = 0; i < node->map.count; i++) {
		struct entry *entry = &node->map.items[i];
		check(c, entry->value);
		const struct cel_type *field = type->kind == CEL_OBJECT ? field_of(type, entry->field, NULL) : &type_error;
		if (!field) {
			issue_add(c->source, entry->at, "undefined field '%s'", entry->field);
			field = &type_error;
		}
		const struct cel_type *value = check_optional_value(c, entry->value, entry->optional);
		if (!assignable(c, field, value))
			issue_add(c->source, entry->at, "expected type of field '%s' is '%s' but provided type is '%s'", entry->field, name_of(c, field), name_of(c, value));
	}
}

static void push_scope(struct checker *c, const char *name, const struct cel_type *type) {
	c->scopes = grow(c, c->scopes, c->scope_count, &c->scope_cap, sizeof(*c->scopes));
	c->scopes[c->scope_count++] = (struct scope){name, type};
	c->program->slots = max_of(c->program->slots, c->scope_count);
}

static void check_fold(struct checker *c, struct node *node) {
	check(c, node->fold.range);
	check(c, node->fold.init);
	const struct cel_type *range = substitute(c, node->fold.range->type, false), *accu = node->fold.init->type, *first, *second = &type_error;
	unsigned scopes = c->scope_count;
	node->fold.slot = (int)scopes;
	push_scope(c, node->fold.accu, accu);
	switch (range->kind) {
	case CEL_LIST:
		first = node->fold.var2 ? &cel_int : range->params[0];
		second = range->params[0];
		break;
	case CEL_MAP:
		first = range->params[0];
		second = range->params[1];
		break;
	case CEL_DYN:
	case CEL_ERROR:
	case CEL_PARAM:
		assignable(c, &cel_dyn, range);
		first = second = &cel_dyn;
		break;
	default:
		issue_add(c->source, node->fold.range->at, "expression of type '%s' cannot be range of a comprehension (must be list, map, or dynamic)", name_of(c, range));
		first = &type_error;
	}
	push_scope(c, node->fold.var, first);
	if (node->fold.var2)
		push_scope(c, node->fold.var2, second);
	check(c, node->fold.condition);
	if (!assignable(c, &cel_bool, node->fold.condition->type))
		mismatch(c, node->fold.condition->at, &cel_bool, node->fold.condition->type);
	check(c, node->fold.step);
	if (!assignable(c, accu, node->fold.step->type))
		mismatch(c, node->fold.step->at, accu, node->fold.step->type);
	c->scope_count = scopes + 1;
	check(c, node->fold.result);
	c->scope_count = scopes;
	node->type = substitute(c, node->fold.result->type, false);
}

static const struct cel_type *literal_type(const struct node *node) {
	return value_type(&node->literal);
}

static void check(struct checker *c, struct node *node) {
	node->type = &type_error;
	if (c->stopped)
		return;
	switch (node->kind) {
	case NODE_LITERAL:
		node->type = literal_type(node);
		break;
	case NODE_IDENT:
		if (!resolve(c, node, node->ident.name))
			undeclared(c, node, node->ident.name);
		break;
	case NODE_SELECT:
		check_select(c, node);
		break;
	case NODE_CALL:
		check_call(c, node);
		break;
	case NODE_LIST:
		check_list(c, node);
		break;
	case NODE_MAP:
		check_map(c, node);
		break;
	case NODE_STRUCT:
		check_struct(c, node);
		break;
	case NODE_FOLD:
		check_fold(c, node);
		break;
	}
	if (c->steps > MAX_STEPS && !c->stopped) {
		issue_add(c->source, NOWHERE, "types are too complex");
		c->stopped = true;
	}
}

/* ---- afterwards ---- */

static const struct cel_type *settled(const struct cel_type *t, bool is_optional) {
	return is_optional && t->kind == CEL_OPTIONAL ? t->params[0] : t;
}

/* Lists and maps written out must hold values of one type, but for the arguments of format(). */
static void check_uniform(struct checker *c, const struct node *node) {
	const struct cel_type *first = NULL, *key = NULL;
	for (uint32_t i = 0; node->kind == NODE_LIST && i < node->list.count; i++) {
		const struct cel_type *type = settled(node->list.items[i]->type, node->list.optional && node->list.optional[i]);
		if (!first)
			first = type;
		else if (!cel_type_same(first, type)) {
			mismatch(c, node->list.items[i]->at, first, type);
			break;
		}
	}
	for (uint32_t i = 0; node->kind == NODE_MAP && i < node->map.count; i++) {
		const struct entry *entry = &node->map.items[i];
		const struct cel_type *type = settled(entry->value->type, entry->optional);
		if (!key) {
			key = entry->key->type;
			first = type;
			continue;
		}
		if (!cel_type_same(key, entry->key->type))
			mismatch(c, entry->key->at, key, entry->key->type);
		if (!cel_type_same(first, type))
			mismatch(c, entry->value->at, first, type);
	}
}

static bool is_literal(const struct node *node, enum cel_kind kind) {
	return node->kind == NODE_LITERAL && node->literal.kind == kind;
}

/* Constant arguments that can be seen to be wrong, and patterns that can be made ready. */
static void check_constants(struct checker *c, struct node *node) {
	const char *name = node->call.function ? node->call.function->name : "";
	if (!node->call.count)
		return;
	struct node *first = node->call.args[0];
	struct cel_value value;
	if (strcmp(name, "duration") == 0 && is_literal(first, CEL_STRING)) {
		int64_t ns;
		if (duration_parse(first->literal.s, first->literal.len, &ns) < 0)
			issue_add(c->source, first->at, "invalid duration argument");
	} else if (strcmp(name, "timestamp") == 0 && is_literal(first, CEL_STRING)) {
		if (!time_parse(first->literal.s, first->literal.len, &value))
			issue_add(c->source, first->at, "invalid timestamp argument");
	} else if ((strcmp(name, "matches") == 0 || strcmp(name, "find") == 0 || strcmp(name, "findAll") == 0) && node->call.count > 1 && is_literal(node->call.args[1], CEL_STRING)) {
		const struct cel_value *pattern = &node->call.args[1]->literal;
		autofree char *text = xstrndup(pattern->s, pattern->len), *why = NULL;
		node->call.regex = memchr(pattern->s, 0, pattern->len) ? NULL : regex_new(text, &why);
		if (node->call.regex)
			arena_defer(c->program->arena, (void (*)(void *))regex_free, node->call.regex);
		else
			issue_add(c->source, node->call.args[1]->at, "invalid %s argument", name);
	} else if (strcmp(name, "format") == 0 && is_literal(first, CEL_STRING) && node->call.args[1]->kind == NODE_LIST) {
		format_check_call(c->source, node);
	}
}

/* A conversion of what is constant is constant. */
static bool is_conversion(const char *name) {
	static const char *const names[] = {"bool", "bytes", "double", "duration", "dyn", "int", "string", "timestamp", "type", "uint"};
	for (size_t i = 0; i < array_len(names); i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

/* Settles types, tells what is constant, and looks at constants. */
static void finish(struct checker *c, struct node *node, bool mixed) {
	node->type = substitute(c, node->type, true);
	switch (node->kind) {
	case NODE_LITERAL:
		node->constant = true;
		break;
	case NODE_IDENT:
		break;
	case NODE_SELECT:
		finish(c, node->select.operand, mixed);
		break;
	case NODE_CALL:
		mixed |= node->call.function && strcmp(node->call.function->name, "format") == 0;
		for (uint32_t i = 0; i < node->call.count; i++)
			finish(c, node->call.args[i], mixed);
		node->constant = node->call.count == 1 && node->call.function && is_conversion(node->call.function->name) && node->call.args[0]->constant;
		check_constants(c, node);
		break;
	case NODE_LIST:
		node->constant = !node->list.optional;
		for (uint32_t i = 0; i < node->list.count; i++) {
			finish(c, node->list.items[i], mixed);
			node->constant &= node->list.items[i]->constant;
		}
		if (!mixed)
			check_uniform(c, node);
		break;
	case NODE_MAP:
	case NODE_STRUCT:
		node->constant = node->kind == NODE_MAP;
		for (uint32_t i = 0; i < node->map.count; i++) {
			struct entry *entry = &node->map.items[i];
			if (entry->key) {
				finish(c, entry->key, mixed);
				node->constant &= entry->key->constant;
			}
			finish(c, entry->value, mixed);
			node->constant &= entry->value->constant && !entry->optional;
		}
		if (!mixed)
			check_uniform(c, node);
		break;
	case NODE_FOLD:
		finish(c, node->fold.range, mixed);
		finish(c, node->fold.init, mixed);
		finish(c, node->fold.condition, mixed);
		finish(c, node->fold.step, mixed);
		finish(c, node->fold.result, mixed);
		break;
	}
}

void cel_check(struct source *source, const struct cel_env *env, struct cel_program *program) {
	struct checker c = {.source = source, .env = env, .program = program};
	program->variables = arena_calloc(program->arena, env->count + 1, sizeof(*program->variables));
	check(&c, program->root);
	if (!source->count)
		finish(&c, program->root, false);
}

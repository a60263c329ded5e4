/* SPDX-License-Identifier: Apache-2.0 */
/* Macros: calls that stand for a fold over a list or map, a row each. Nodes they make stand where the call's bracket stands. */
#include "common/cel/internal.h"

#define ACCU "@result"

struct expansion {
	struct source *source;
	uint32_t at;
	struct node **args; /* the target first, where it has one */
	unsigned count;
};

static struct node *call(struct expansion *e, const char *name, unsigned count, struct node *const *args) {
	return node_call(e->source, e->at, name, false, count, args);
}

static struct node *call1(struct expansion *e, const char *name, struct node *a) {
	return call(e, name, 1, &a);
}

static struct node *call2(struct expansion *e, const char *name, struct node *a, struct node *b) {
	return call(e, name, 2, (struct node *[]){a, b});
}

static struct node *call3(struct expansion *e, const char *name, struct node *a, struct node *b, struct node *c) {
	return call(e, name, 3, (struct node *[]){a, b, c});
}

static struct node *literal(struct expansion *e, struct cel_value value) {
	return node_literal(e->source, e->at, value);
}

static struct node *ident(struct expansion *e, const char *name) {
	return node_ident(e->source, e->at, name);
}

static struct node *accu(struct expansion *e) {
	return ident(e, ACCU);
}

static struct node *list1(struct expansion *e, struct node *item) {
	return node_list(e->source, e->at, item ? 1 : 0, &item);
}

struct loop {
	struct node *range, *init, *condition, *step, *result;
	const char *var, *var2, *accu;
};

static struct node *fold(struct expansion *e, const struct loop *loop) {
	struct node *node = node_new(e->source, NODE_FOLD, e->at);
	node->fold.range = loop->range;
	node->fold.init = loop->init;
	node->fold.condition = loop->condition ? loop->condition : literal(e, VALUE_BOOL(true));
	node->fold.step = loop->step;
	node->fold.result = loop->result ? loop->result : accu(e);
	node->fold.var = loop->var;
	node->fold.var2 = loop->var2;
	node->fold.accu = loop->accu ? loop->accu : ACCU;
	struct node *children[] = {node->fold.range, node->fold.init, node->fold.condition, node->fold.step, node->fold.result};
	for (size_t i = 0; i < array_len(children); i++)
		node_deepen(e->source, node, children[i]);
	return node;
}

/* ---- variables ---- */

static const char *variable(struct expansion *e, struct node *arg, const char *complaint) {
	if (arg->kind != NODE_IDENT) {
		issue_add(e->source, arg->at, "%s", complaint);
		return NULL;
	}
	if (strcmp(arg->ident.name, ACCU) == 0 || strcmp(arg->ident.name, "__result__") == 0) {
		issue_add(e->source, arg->at, "iteration variable overwrites accumulator variable");
		return NULL;
	}
	return arg->ident.name;
}

/* One variable, or two where `two`; fills what the loop runs over. */
static bool start(struct expansion *e, struct loop *loop, bool two, const char *complaint) {
	loop->range = e->args[0];
	if (!(loop->var = variable(e, e->args[1], complaint)))
		return false;
	if (!two)
		return true;
	if (!(loop->var2 = variable(e, e->args[2], complaint)))
		return false;
	if (strcmp(loop->var, loop->var2) == 0) {
		issue_add(e->source, e->args[2]->at, "duplicate variable name: %s", loop->var);
		return false;
	}
	return true;
}

#define SIMPLE_NAME "argument must be a simple name"
#define NO_IDENT "argument is not an identifier"

/* ---- expansions ---- */

static struct node *expand_has(struct expansion *e) {
	struct node *arg = e->args[0];
	if (arg->kind != NODE_SELECT || arg->select.test) {
		issue_add(e->source, arg->at, "invalid argument to has() macro");
		return NULL;
	}
	struct node *node = node_new(e->source, NODE_SELECT, e->at);
	node->select = arg->select;
	node->select.test = true;
	node_deepen(e->source, node, arg->select.operand);
	return node;
}

static struct node *expand_all(struct expansion *e) {
	struct loop loop = {.init = literal(e, VALUE_BOOL(true))};
	if (!start(e, &loop, e->count == 4, SIMPLE_NAME))
		return NULL;
	loop.condition = call1(e, "@not_strictly_false", accu(e));
	loop.step = call2(e, "_&&_", accu(e), e->args[e->count - 1]);
	return fold(e, &loop);
}

static struct node *expand_exists(struct expansion *e) {
	struct loop loop = {.init = literal(e, VALUE_BOOL(false))};
	if (!start(e, &loop, e->count == 4, SIMPLE_NAME))
		return NULL;
	loop.condition = call1(e, "@not_strictly_false", call1(e, "!_", accu(e)));
	loop.step = call2(e, "_||_", accu(e), e->args[e->count - 1]);
	return fold(e, &loop);
}

static struct node *expand_exists_one(struct expansion *e) {
	struct loop loop = {.init = literal(e, VALUE_INT(0))};
	if (!start(e, &loop, e->count == 4, SIMPLE_NAME))
		return NULL;
	loop.step = call3(e, "_?_:_", e->args[e->count - 1], call2(e, "_+_", accu(e), literal(e, VALUE_INT(1))), accu(e));
	loop.result = call2(e, "_==_", accu(e), literal(e, VALUE_INT(1)));
	return fold(e, &loop);
}

/* What is taken into the result only where the filter, if there is one, says so. */
static struct node *filtered(struct expansion *e, struct node *filter, struct node *step) {
	return filter ? call3(e, "_?_:_", filter, step, accu(e)) : step;
}

static struct node *expand_map(struct expansion *e) {
	struct loop loop = {.init = list1(e, NULL)};
	if (!start(e, &loop, false, NO_IDENT))
		return NULL;
	loop.step = filtered(e, e->count == 4 ? e->args[2] : NULL, call2(e, "_+_", accu(e), list1(e, e->args[e->count - 1])));
	return fold(e, &loop);
}

static struct node *expand_filter(struct expansion *e) {
	struct loop loop = {.init = list1(e, NULL)};
	if (!start(e, &loop, false, NO_IDENT))
		return NULL;
	loop.step = filtered(e, e->args[2], call2(e, "_+_", accu(e), list1(e, e->args[1])));
	return fold(e, &loop);
}

static struct node *expand_transform_list(struct expansion *e) {
	struct loop loop = {.init = list1(e, NULL)};
	if (!start(e, &loop, true, SIMPLE_NAME))
		return NULL;
	loop.step = filtered(e, e->count == 5 ? e->args[3] : NULL, call2(e, "_+_", accu(e), list1(e, e->args[e->count - 1])));
	return fold(e, &loop);
}

static struct node *expand_transform_map(struct expansion *e) {
	struct loop loop = {.init = node_new(e->source, NODE_MAP, e->at)};
	if (!start(e, &loop, true, SIMPLE_NAME))
		return NULL;
	loop.step = filtered(e, e->count == 5 ? e->args[3] : NULL, call3(e, "cel.@mapInsert", accu(e), ident(e, loop.var), e->args[e->count - 1]));
	return fold(e, &loop);
}

static struct node *expand_transform_map_entry(struct expansion *e) {
	struct loop loop = {.init = node_new(e->source, NODE_MAP, e->at)};
	if (!start(e, &loop, true, SIMPLE_NAME))
		return NULL;
	loop.step = filtered(e, e->count == 5 ? e->args[3] : NULL, call2(e, "cel.@mapInsert", accu(e), e->args[e->count - 1]));
	return fold(e, &loop);
}

/* A value by a name: a fold over nothing. */
static struct node *bind(struct expansion *e, const char *name, struct node *value, struct node *result) {
	const struct loop loop = {.range = list1(e, NULL), .var = "#unused", .accu = name, .init = value, .condition = literal(e, VALUE_BOOL(false)), .step = ident(e, name), .result = result};
	return fold(e, &loop);
}

static struct node *expand_bind(struct expansion *e) {
	if (e->args[1]->kind != NODE_IDENT) {
		issue_add(e->source, e->args[1]->at, "cel.bind() variable names must be simple identifiers");
		return NULL;
	}
	return bind(e, e->args[1]->ident.name, e->args[2], e->args[3]);
}

static struct node *optional_map(struct expansion *e, bool flat) {
	struct node *target = e->args[0];
	if (e->args[1]->kind != NODE_IDENT) {
		issue_add(e->source, e->args[1]->at, "%s() variable name must be a simple identifier", flat ? "optFlatMap" : "optMap");
		return NULL;
	}
	struct node *copy = node_copy(e->source, target);
	struct node *bound = bind(e, e->args[1]->ident.name, node_call(e->source, e->at, "value", true, 1, &copy), e->args[2]);
	return call3(e, "_?_:_", node_call(e->source, e->at, "hasValue", true, 1, &target), flat ? bound : call1(e, "optional.of", bound), call(e, "optional.none", 0, NULL));
}

static struct node *expand_opt_map(struct expansion *e) {
	return optional_map(e, false);
}

static struct node *expand_opt_flat_map(struct expansion *e) {
	return optional_map(e, true);
}

static struct node *expand_sort_by(struct expansion *e) {
	struct node *target = e->args[0];
	const char *input = "@__sortBy_input__";
	if (target->kind == NODE_LITERAL || target->kind == NODE_MAP || target->kind == NODE_STRUCT) {
		issue_add(e->source, target->at, "sortBy can only be applied to a list, identifier, comprehension, call or select expression");
		return NULL;
	}
	struct node *args[] = {ident(e, input), e->args[1], e->args[2]};
	struct expansion inner = {e->source, e->at, args, 3};
	struct node *keys = expand_map(&inner);
	if (!keys)
		return NULL;
	struct node *sort[] = {ident(e, input), keys};
	return bind(e, input, target, node_call(e->source, e->at, "@sortByAssociatedKeys", true, 2, sort));
}

/* Counts of arguments, the target among them. */
static const struct macro {
	const char *name;
	unsigned count;
	struct node *(*expand)(struct expansion *e);
} macros[] = {
	{"all", 3, expand_all},
	{"all", 4, expand_all},
	{"exists", 3, expand_exists},
	{"exists", 4, expand_exists},
	{"exists_one", 3, expand_exists_one},
	{"exists_one", 4, expand_exists_one},
	{"existsOne", 4, expand_exists_one},
	{"map", 3, expand_map},
	{"map", 4, expand_map},
	{"filter", 3, expand_filter},
	{"transformList", 4, expand_transform_list},
	{"transformList", 5, expand_transform_list},
	{"transformMap", 4, expand_transform_map},
	{"transformMap", 5, expand_transform_map},
	{"transformMapEntry", 4, expand_transform_map_entry},
	{"transformMapEntry", 5, expand_transform_map_entry},
	{"optMap", 3, expand_opt_map},
	{"optFlatMap", 3, expand_opt_flat_map},
	{"sortBy", 3, expand_sort_by},
};

bool macro_expand(struct source *source, uint32_t at, const char *name, bool member, unsigned count, struct node **args, struct node **ret) {
	struct expansion e = {source, at, args, count};
	if (!member && count == 1 && strcmp(name, "has") == 0) {
		*ret = expand_has(&e);
		return true;
	}
	if (source->bindings && member && count == 4 && strcmp(name, "bind") == 0 && args[0]->kind == NODE_IDENT && strcmp(args[0]->ident.name, "cel") == 0) {
		*ret = expand_bind(&e);
		return true;
	}
	for (size_t i = 0; member && i < array_len(macros); i++)
		if (macros[i].count == count && strcmp(macros[i].name, name) == 0) {
			*ret = macros[i].expand(&e);
			return true;
		}
	return false;
}

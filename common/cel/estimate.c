/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an expression may cost at most, told from its text and from how large the types of its variables let their values be. Kubernetes refuses rules by this
 * number, so it is worked out as cel-go does it, step by step: from a path into the variable, or from how a value was made.
 */
#include "common/cel/internal.h"

#include <math.h>

struct range {
	uint64_t min, max;
};
struct size {
	bool known;
	struct range range;
};
/* Of the keys and values in a list or map. */
struct inside {
	bool known, list;
	struct range key, value;
};
/* Where in the variable a value stands. */
struct place {
	unsigned steps;              /* from the variable on; 0: nowhere that is known */
	const struct cel_type *type; /* NULL: nothing is there */
};
struct guess {
	uint64_t cost;
	struct place place;
	struct size size;
	struct inside inside;
};
struct local {
	const char *name;
	struct guess guess;
	struct local *outer;
};
struct estimator {
	const struct cel_type *root;
	struct local *locals;
};
#define UNKNOWN ((struct range){0, UINT64_MAX})
#define FIXED(n_) ((struct range){(n_), (n_)})
#define LIST_COST 10u
#define MAP_COST 30u
#define STRUCT_COST 40u

static uint64_t plus(uint64_t a, uint64_t b) {
	uint64_t sum;
	return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

static uint64_t times(uint64_t a, uint64_t b) {
	uint64_t product;
	return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

static uint64_t scale(uint64_t n, double factor) {
	double product = ceil((double)n * factor);
	return product >= 0x1p64 ? UINT64_MAX : (uint64_t)product;
}

static uint64_t tenth(uint64_t n) {
	return scale(n, 0.1);
}

static struct range add(struct range a, struct range b) {
	return (struct range){plus(a.min, b.min), plus(a.max, b.max)};
}

static struct range multiply(struct range a, struct range b) {
	return (struct range){times(a.min, b.min), times(a.max, b.max)};
}

static struct range either(struct range a, struct range b) {
	return (struct range){min_of(a.min, b.min), max_of(a.max, b.max)};
}

static struct inside either_inside(const struct inside *a, const struct inside *b) {
	if (!a->known || !b->known)
		return (struct inside){0};
	return (struct inside){true, a->list, either(a->key, b->key), either(a->value, b->value)};
}

/* ---- places and sizes ---- */

static bool is_text(const struct cel_type *t) {
	return t && (t->kind == CEL_STRING || t->kind == CEL_BYTES);
}

static bool is_scalar(const struct cel_type *t) {
	switch (t->kind) {
	case CEL_BOOL:
	case CEL_DOUBLE:
	case CEL_DURATION:
	case CEL_INT:
	case CEL_TIMESTAMP:
	case CEL_UINT:
		return true;
	case CEL_OPTIONAL:
		return is_scalar(t->params[0]);
	default:
		return false;
	}
}

/* The first step is the variable, whatever its name is. */
static struct place step(const struct estimator *e, struct place from, const struct cel_type *type) {
	return (struct place){from.steps + 1, from.steps ? type : e->root};
}

static struct place place_field(const struct estimator *e, struct place from, const char *name) {
	bool object = from.type && from.type->kind == CEL_OBJECT && !from.type->any_field;
	bool any = from.type && from.type->kind == CEL_MAP && from.type->any_field;
	return step(e, from, object ? field_of(from.type, name, NULL) : any ? from.type->params[1] : NULL);
}

static struct place place_key(const struct estimator *e, struct place from) {
	return step(e, from, from.type && from.type->kind == CEL_MAP ? from.type->params[0] : NULL);
}

static struct place place_value(const struct estimator *e, struct place from) {
	bool list = from.type && from.type->kind == CEL_LIST, map = from.type && from.type->kind == CEL_MAP;
	return step(e, from, list ? from.type->params[0] : map ? from.type->params[1] : NULL);
}

static struct size size_fixed(uint64_t n) {
	return (struct size){true, FIXED(n)};
}

static struct size size_of_place(struct place place) {
	return place.steps && place.type ? (struct size){true, {0, place.type->max_size}} : (struct size){0};
}

/* Of what no call and no literal tells: from where it stands, else from its type. */
static struct size size_told(struct place place, const struct cel_type *type) {
	struct size size = size_of_place(place);
	return size.known || !is_scalar(type) ? size : size_fixed(1);
}

static struct range size_or_unknown(const struct guess *guess) {
	return guess->size.known ? guess->size.range : UNKNOWN;
}

/* ---- calls ---- */

struct parts {
	const struct node *node;
	const struct overload *overload;
	const struct guess *target, *args; /* target NULL: no member */
	const struct node *const *nodes;   /* of args */
	unsigned count;
};
/* What a call adds to its arguments. */
struct bill {
	uint64_t cost;
	struct size result;
};

static struct bill bill_of(uint64_t cost) {
	return (struct bill){.cost = cost};
}

static struct bill bill_with(uint64_t cost, struct range result) {
	return (struct bill){cost, {true, result}};
}

static struct range arg_size(const struct parts *p, unsigned i) {
	return i < p->count ? size_or_unknown(&p->args[i]) : FIXED(0);
}

static struct range target_size(const struct parts *p) {
	return p->target ? size_or_unknown(p->target) : UNKNOWN;
}

static struct bill cost_authorize(const struct estimator *e, const struct parts *p) {
	(void)e, (void)p;
	return bill_of(350000);
}

static struct bill cost_selector(const struct estimator *e, const struct parts *p) {
	uint64_t len = arg_size(p, 0).max;
	(void)e;
	return bill_of(plus(plus(LIST_COST, tenth(len)), scale(scale(len, 0.5), 50)));
}

/* What the elements of the target are like; false: it is no list. */
static bool element(const struct estimator *e, const struct parts *p, const struct cel_type **ret_type, struct range *ret_size) {
	const struct cel_type *type = p->node->call.args[0]->type;
	if (!type->param_count)
		return false;
	struct size size = p->target->place.steps ? size_of_place(place_value(e, p->target->place)) : (struct size){0};
	*ret_type = type->params[0];
	*ret_size = size.known ? size.range : UNKNOWN;
	return true;
}

static struct bill cost_traverse(const struct estimator *e, const struct parts *p) {
	const struct cel_type *type;
	struct range size;
	if (!p->target)
		return bill_of(1);
	if (!element(e, p, &type, &size))
		return bill_of(tenth(target_size(p).max));
	return bill_of(times(target_size(p).max, is_text(type) ? plus(1, tenth(size.max)) : 1));
}

static struct bill cost_arg(const struct estimator *e, const struct parts *p) {
	(void)e;
	return bill_of(tenth(arg_size(p, 0).max));
}

static struct bill cost_arg_kept(const struct estimator *e, const struct parts *p) {
	(void)e;
	return bill_with(tenth(arg_size(p, 0).max), arg_size(p, 0));
}

static struct bill cost_target_kept(const struct estimator *e, const struct parts *p) {
	(void)e;
	return bill_with(tenth(target_size(p).max), target_size(p));
}

static struct bill cost_arg_twice(const struct estimator *e, const struct parts *p) {
	(void)e;
	return bill_of(scale(arg_size(p, 0).max, 0.2));
}

static uint64_t parts_of(uint64_t whole, uint64_t part) {
	double count = ceil((double)whole / (double)part);
	return count >= 0x1p64 ? UINT64_MAX : (uint64_t)count;
}

static struct bill cost_replace(const struct estimator *e, const struct parts *p) {
	struct range size = target_size(p), from = arg_size(p, 0), to = arg_size(p, 1), count = {0}, kept = {0};
	(void)e;
	if (from.min == 0) { /* stands around each character */
		count.max = plus(size.max, 1);
		kept.max = size.max;
	} else if (to.max <= from.min) {
		kept.max = size.max;
	} else {
		count.max = parts_of(size.max, from.min);
	}
	if (from.max == 0) {
		count.min = plus(size.min, 1);
		kept.min = size.min;
	} else if (from.max <= to.min) {
		kept.min = size.min;
	} else {
		count.min = parts_of(size.min, from.max);
	}
	return bill_with(scale(size.max, 0.2), add(multiply(count, to), kept));
}

/* The integer that an argument is, where it stands in the text. */
static uint64_t literal_int(const struct parts *p, unsigned i, uint64_t otherwise) {
	const struct node *node = i < p->count ? p->nodes[i] : NULL;
	return node && node->kind == NODE_LITERAL && node->literal.kind == CEL_INT ? (uint64_t)node->literal.i : otherwise;
}

/* The same, where what is negative counts for nothing. */
static uint64_t literal_count(const struct parts *p, unsigned i, uint64_t otherwise) {
	uint64_t n = literal_int(p, i, otherwise);
	return n == otherwise || (int64_t)n >= 0 ? n : 0;
}

static struct bill cost_split(const struct estimator *e, const struct parts *p) {
	struct range size = target_size(p);
	(void)e;
	return bill_with(scale(size.max, 0.2), (struct range){0, literal_int(p, 1, size.max)});
}

static struct bill cost_join(const struct estimator *e, const struct parts *p) {
	const struct cel_type *type;
	struct range count = target_size(p), item, size = {0};
	if (p->target && element(e, p, &type, &item))
		size = multiply(count, item);
	if (p->count)
		size = add(size, multiply(arg_size(p, 0), (struct range){count.min - (count.min > 0), count.max - (count.max > 0)}));
	return bill_with(tenth(size.max), size);
}

static uint64_t regex_cost(uint64_t subject, uint64_t pattern) {
	return times(tenth(plus(subject, 1)), scale(pattern, 0.25));
}

static struct bill cost_find(const struct estimator *e, const struct parts *p) {
	uint64_t len = target_size(p).max;
	(void)e;
	return bill_with(regex_cost(len, arg_size(p, 0).max), (struct range){0, len});
}

static struct bill cost_matches(const struct estimator *e, const struct parts *p) {
	(void)e;
	return bill_of(p->target ? regex_cost(target_size(p).max, arg_size(p, 0).max) : 1);
}

static struct bill cost_ip(const struct estimator *e, const struct parts *p) {
	return p->target ? bill_of(1) : cost_arg(e, p);
}

#define MAX_ADDRESS 16u /* bytes */

static struct bill cost_contains_address(const struct estimator *e, const struct parts *p) {
	(void)e;
	return bill_of(plus(tenth(2 * MAX_ADDRESS), is_text(p->overload->args[1]) ? tenth(arg_size(p, 0).max) : 0));
}

static struct bill cost_contains_cidr(const struct estimator *e, const struct parts *p) {
	struct bill bill = cost_contains_address(e, p);
	bill.cost = plus(bill.cost, tenth(MAX_ADDRESS) + 1);
	return bill;
}

static struct bill cost_validate(const struct estimator *e, const struct parts *p) {
	(void)e;
	return bill_of(scale(tenth(arg_size(p, 0).max), 128 * 0.25));
}

static uint64_t smaller(const struct parts *p) {
	return tenth(min_of(arg_size(p, 0).max, arg_size(p, 1).max));
}

static struct bill cost_compare(const struct estimator *e, const struct parts *p) {
	bool anything = p->overload->args[0]->kind == CEL_PARAM;
	(void)e;
	return bill_of(anything || is_text(p->overload->args[0]) ? smaller(p) : 1);
}

static struct bill cost_equal(const struct estimator *e, const struct parts *p) {
	static const struct cel_type *const constant[] = {&type_quantity, &type_semver, &type_ip, &type_cidr, &cel_authorizer_type, &cel_resource_check_type, &type_path_check, &type_group_check, &type_decision};
	const struct cel_type *type = p->nodes[0]->type;
	if (!cel_type_same(type, p->nodes[1]->type))
		return cost_compare(e, p);
	if (cel_type_same(type, &type_format))
		return bill_of(tenth(64));
	if (cel_type_same(type, &type_url))
		return bill_of(tenth(p->args[1].size.known ? p->args[1].size.range.max : 1));
	for (size_t i = 0; i < array_len(constant); i++)
		if (cel_type_same(type, constant[i]))
			return bill_of(1);
	return cost_compare(e, p);
}

static struct bill cost_add(const struct estimator *e, const struct parts *p) {
	const struct cel_type *type = p->overload->args[0];
	struct range size = add(arg_size(p, 0), arg_size(p, 1));
	(void)e;
	if (is_text(type))
		return bill_with(tenth(size.max), size);
	return type->kind == CEL_LIST ? bill_with(1, size) : bill_of(1);
}

/* A character takes four bytes at most. */
static struct bill cost_to_bytes(const struct estimator *e, const struct parts *p) {
	struct range size = arg_size(p, 0);
	(void)e;
	return p->overload->args[0]->kind == CEL_STRING ? bill_with(tenth(size.max), (struct range){size.min, size.max * 4}) : bill_of(1);
}

static struct bill cost_to_string(const struct estimator *e, const struct parts *p) {
	struct range size = arg_size(p, 0);
	(void)e;
	return p->overload->args[0]->kind == CEL_BYTES ? bill_with(tenth(size.max), (struct range){size.min / 4, size.max}) : bill_of(1);
}

static struct bill cost_quote(const struct estimator *e, const struct parts *p) {
	struct range size = arg_size(p, 0);
	(void)e;
	return bill_with(tenth(size.max), (struct range){size.min + 2, size.max * 2 + 2});
}

static struct bill cost_format(const struct estimator *e, const struct parts *p) {
	(void)e;
	return bill_of(tenth(target_size(p).max));
}

static struct bill cost_in(const struct estimator *e, const struct parts *p) {
	(void)e;
	return bill_of(p->overload->args[1]->kind == CEL_LIST ? arg_size(p, 1).max : 1);
}

static struct bill cost_contains(const struct estimator *e, const struct parts *p) {
	(void)e;
	return bill_of(times(tenth(target_size(p).max), tenth(arg_size(p, 0).max)));
}

static struct bill list_bill(double factor, struct range size) {
	return bill_with(plus(scale(size.max, factor), 1 + LIST_COST), size);
}

static struct bill cost_slice(const struct estimator *e, const struct parts *p) {
	(void)e;
	return list_bill(1, FIXED(literal_count(p, 1, target_size(p).max) - literal_count(p, 0, 0)));
}

static struct bill cost_lists_range(const struct estimator *e, const struct parts *p) {
	(void)e;
	return list_bill(1, FIXED(literal_count(p, 0, UINT64_MAX)));
}

static struct bill cost_reverse(const struct estimator *e, const struct parts *p) {
	(void)e;
	return list_bill(1, target_size(p));
}

static struct bill cost_flatten(const struct estimator *e, const struct parts *p) {
	(void)e;
	return list_bill(p->count ? (double)literal_count(p, 0, UINT64_MAX) : 1, target_size(p));
}

static struct bill cost_distinct(const struct estimator *e, const struct parts *p) {
	(void)e;
	return list_bill(2, multiply(target_size(p), target_size(p)));
}

static struct bill sort_bill(struct range size, const struct cel_type *list) {
	return list_bill(is_text(list->params[0]) ? 2.1 : 2, multiply(size, size));
}

static struct bill cost_sort(const struct estimator *e, const struct parts *p) {
	(void)e;
	return sort_bill(target_size(p), p->overload->args[0]);
}

static struct bill cost_sort_by(const struct estimator *e, const struct parts *p) {
	(void)e;
	return sort_bill(arg_size(p, 0), p->overload->args[1]);
}

static struct bill cost_sets(const struct estimator *e, const struct parts *p) {
	(void)e;
	return bill_of(plus(scale(times(arg_size(p, 0).max, arg_size(p, 1).max), 1), 1));
}

static struct bill cost_sets_twice(const struct estimator *e, const struct parts *p) {
	(void)e;
	return bill_of(plus(scale(times(arg_size(p, 0).max, arg_size(p, 1).max), 2), 1));
}

/* All that does not cost one; sorted by name. */
static const struct row {
	const char *name;
	struct bill (*cost)(const struct estimator *e, const struct parts *parts);
} rows[] = {
	{"@in", cost_in},
	{"@sortByAssociatedKeys", cost_sort_by},
	{"_!=_", cost_compare},
	{"_+_", cost_add},
	{"_<=_", cost_compare},
	{"_<_", cost_compare},
	{"_==_", cost_equal},
	{"_>=_", cost_compare},
	{"_>_", cost_compare},
	{"bytes", cost_to_bytes},
	{"check", cost_authorize},
	{"cidr", cost_arg},
	{"contains", cost_contains},
	{"containsCIDR", cost_contains_cidr},
	{"containsIP", cost_contains_address},
	{"distinct", cost_distinct},
	{"endsWith", cost_arg},
	{"fieldSelector", cost_selector},
	{"find", cost_find},
	{"findAll", cost_find},
	{"flatten", cost_flatten},
	{"format", cost_format},
	{"indexOf", cost_traverse},
	{"ip", cost_ip},
	{"ip.isCanonical", cost_arg_twice},
	{"isCIDR", cost_arg},
	{"isIP", cost_arg},
	{"isQuantity", cost_arg},
	{"isSemver", cost_arg},
	{"isSorted", cost_traverse},
	{"join", cost_join},
	{"jsonpatch.escapeKey", cost_arg_kept},
	{"labelSelector", cost_selector},
	{"lastIndexOf", cost_traverse},
	{"lists.range", cost_lists_range},
	{"lowerAscii", cost_target_kept},
	{"matches", cost_matches},
	{"max", cost_traverse},
	{"min", cost_traverse},
	{"quantity", cost_arg},
	{"replace", cost_replace},
	{"reverse", cost_reverse},
	{"semver", cost_arg},
	{"sets.contains", cost_sets},
	{"sets.equivalent", cost_sets_twice},
	{"sets.intersects", cost_sets},
	{"slice", cost_slice},
	{"sort", cost_sort},
	{"split", cost_split},
	{"startsWith", cost_arg},
	{"string", cost_to_string},
	{"strings.quote", cost_quote},
	{"substring", cost_target_kept},
	{"sum", cost_traverse},
	{"trim", cost_target_kept},
	{"upperAscii", cost_target_kept},
	{"url", cost_arg_kept},
	{"validate", cost_validate},
};

static int compare_row(const void *name, const void *row) {
	return strcmp(name, ((const struct row *)row)->name);
}

/* Where its types are not known before it runs, any overload that could be meant. */
static bool may_be(const struct node *call, const struct overload *o) {
	if (call->call.overload)
		return call->call.overload == o;
	bool same = o->member == call->call.member && o->count == call->call.count;
	for (unsigned i = 0; same && i < o->count; i++) {
		enum cel_kind wants = o->args[i]->kind, has = call->call.args[i]->type->kind;
		same = wants == has || wants == CEL_DYN || wants == CEL_PARAM || has == CEL_DYN || has == CEL_PARAM;
	}
	return same;
}

static struct bill call_bill(const struct estimator *e, const struct parts *given) {
	const struct function *function = given->node->call.function;
	const struct row *row = bsearch(function->name, rows, array_len(rows), sizeof(*rows), compare_row);
	struct bill bill = {0};
	for (unsigned i = 0; i < function->count; i++) {
		struct parts parts = *given;
		parts.overload = &function->overloads[i];
		if (!may_be(given->node, parts.overload))
			continue;
		struct bill one = row ? row->cost(e, &parts) : bill_of(1);
		bill.cost = max_of(bill.cost, one.cost);
		if (one.result.known)
			bill.result = bill.result.known ? (struct size){true, either(bill.result.range, one.result.range)} : one.result;
	}
	return bill;
}

/* ---- nodes ---- */

static struct guess guess_node(struct estimator *e, const struct node *node);

static struct guess guess_conditional(const struct guess *args) {
	struct guess guess = {.cost = plus(args[0].cost, max_of(args[1].cost, args[2].cost))};
	guess.size = (struct size){true, either(size_or_unknown(&args[1]), size_or_unknown(&args[2]))};
	guess.inside = either_inside(&args[1].inside, &args[2].inside);
	return guess;
}

static struct guess guess_index(const struct estimator *e, const struct node *node, const struct guess *args) {
	struct guess guess = {.cost = plus(1, plus(args[0].cost, args[1].cost))};
	enum cel_kind kind = node->call.args[0]->type->kind;
	if (kind != CEL_OPTIONAL)
		guess.place = place_value(e, args[0].place);
	guess.size = args[0].inside.known && kind != CEL_OPTIONAL ? (struct size){true, args[0].inside.value} : size_told(guess.place, node->type);
	return guess;
}

#define MAX_ARGS 4u

static struct guess guess_call(struct estimator *e, const struct node *node) {
	const struct function *function = node->call.function; /* NULL: && and ||, and ?. */
	const char *name = function ? function->name : "";
	struct guess args[MAX_ARGS] = {0};
	struct guess guess = {.cost = strcmp(node->call.name, "_?._") == 0};
	for (uint32_t i = 0; i < node->call.count; i++) {
		struct guess arg = guess_node(e, node->call.args[i]);
		guess.cost = plus(guess.cost, arg.cost);
		if (i < MAX_ARGS)
			args[i] = arg;
	}
	if (strcmp(name, "_?_:_") == 0)
		return guess_conditional(args);
	if (strcmp(name, "_[_]") == 0)
		return guess_index(e, node, args);
	if (strcmp(name, "dyn") == 0) {
		guess.cost = plus(guess.cost, 1);
		guess.size = args[0].size;
		guess.inside = args[0].inside;
		return guess;
	}
	if (function) {
		bool member = node->call.member;
		const struct parts parts = {node, NULL, member ? &args[0] : NULL, args + member, (const struct node *const *)node->call.args + member, node->call.count - member};
		struct bill bill = call_bill(e, &parts);
		guess.cost = plus(guess.cost, bill.cost);
		guess.size = bill.result;
		if (strcmp(name, "_+_") == 0)
			guess.inside = either_inside(&args[0].inside, &args[1].inside);
	}
	if (!guess.size.known)
		guess.size = size_told(guess.place, node->type);
	return guess;
}

static struct guess guess_ident(const struct estimator *e, const struct node *node) {
	for (const struct local *local = e->locals; local; local = local->outer)
		if (strcmp(local->name, node->ident.name) == 0) {
			struct guess guess = local->guess;
			struct size size = size_told(guess.place, node->type);
			guess.cost = 1;
			guess.size = size.known ? size : guess.size;
			return guess;
		}
	struct guess guess = {.cost = 1, .place = {true, e->root}};
	guess.size = size_told(guess.place, node->type);
	return guess;
}

static struct guess guess_literal(const struct estimator *e, const struct node *node) {
	const struct cel_value *v = &node->literal;
	if (v->kind == CEL_TYPE)
		return (struct guess){.cost = 1, .place = {true, e->root}, .size = size_of_place((struct place){1, e->root})};
	return (struct guess){.size = size_fixed(v->kind == CEL_STRING ? utf8_count(v->s, v->len) : v->kind == CEL_BYTES ? v->len : 1)};
}

static struct guess guess_select(struct estimator *e, const struct node *node) {
	struct guess operand = guess_node(e, node->select.operand), guess = {.cost = operand.cost};
	if (!node->select.test) {
		enum cel_kind kind = node->select.operand->type->kind;
		guess.cost = plus(guess.cost, kind == CEL_MAP || kind == CEL_OBJECT);
		guess.place = place_field(e, operand.place, node->select.field);
	}
	guess.size = size_told(guess.place, node->type);
	return guess;
}

static struct guess guess_list(struct estimator *e, const struct node *node) {
	struct range item = {node->list.count ? UINT64_MAX : 0, 0};
	struct guess guess = {.cost = LIST_COST, .size = size_fixed(node->list.count)};
	for (uint32_t i = 0; i < node->list.count; i++) {
		struct guess one = guess_node(e, node->list.items[i]);
		guess.cost = plus(guess.cost, one.cost);
		item = either(item, size_or_unknown(&one));
	}
	guess.inside = (struct inside){true, true, FIXED(1), item};
	return guess;
}

static struct guess guess_map(struct estimator *e, const struct node *node) {
	struct range keys = {node->map.count ? UINT64_MAX : 0, 0}, values = keys;
	struct guess guess = {.cost = node->kind == NODE_MAP ? MAP_COST : STRUCT_COST, .size = size_fixed(node->map.count)};
	for (uint32_t i = 0; i < node->map.count; i++) {
		const struct entry *entry = &node->map.items[i];
		struct guess key = entry->key ? guess_node(e, entry->key) : (struct guess){0}, value = guess_node(e, entry->value);
		guess.cost = plus(guess.cost, plus(key.cost, value.cost));
		keys = either(keys, size_or_unknown(&key));
		values = either(values, size_or_unknown(&value));
	}
	if (node->kind == NODE_MAP)
		guess.inside = (struct inside){true, false, keys, values};
	else
		guess.size = (struct size){0};
	return guess;
}

static struct local local_of(const char *name, struct place place, const struct inside *inside, bool key) {
	return (struct local){.name = name, .guess = {.place = place, .size = {inside->known, key ? inside->key : inside->value}}};
}

static bool is_bind(const struct node *node) {
	const struct node *range = node->fold.range, *condition = node->fold.condition;
	return range->kind == NODE_LIST && !range->list.count && condition->kind == NODE_LITERAL && condition->literal.kind == CEL_BOOL && !condition->literal.b;
}

static struct guess guess_fold(struct estimator *e, const struct node *node) {
	struct local *outer = e->locals;
	struct guess range = guess_node(e, node->fold.range), init = guess_node(e, node->fold.init);
	struct local accu = {node->fold.accu, init, outer};
	uint64_t sum = plus(range.cost, init.cost);
	if (is_bind(node)) {
		e->locals = &accu;
		struct guess result = guess_node(e, node->fold.result);
		e->locals = outer;
		return (struct guess){.cost = plus(sum, result.cost), .size = result.size, .inside = result.inside};
	}
	bool list = range.inside.known ? range.inside.list : node->fold.range->type->kind == CEL_LIST, two = node->fold.var2;
	struct place key = list ? step(e, range.place, NULL) : place_key(e, range.place), value = place_value(e, range.place);
	bool by_key = two || !list;
	if (two && (range.place.steps & (range.place.steps - 1)))
		key = value; /* cel-go keeps both in one array where it has room for one more */
	struct local first = local_of(node->fold.var, by_key ? key : value, &range.inside, by_key), second = local_of(two ? node->fold.var2 : "", value, &range.inside, false);
	first.outer = &accu;
	second.outer = &first;
	e->locals = two ? &second : &first;
	struct guess condition = guess_node(e, node->fold.condition), turn = guess_node(e, node->fold.step);
	e->locals = &accu;
	struct guess result = guess_node(e, node->fold.result);
	e->locals = outer;
	struct range count = size_or_unknown(&range);
	struct guess guess = {.cost = plus(plus(sum, result.cost), times(count.max, plus(condition.cost, turn.cost)))};
	if (node->fold.init->kind == NODE_LITERAL) {
		guess.size = init.size;
	} else if (node->fold.init->kind == NODE_LIST || node->fold.init->kind == NODE_MAP) {
		guess.size = (struct size){true, count};
		guess.inside = turn.inside;
	} else {
		guess.size = size_told(guess.place, node->type);
	}
	return guess;
}

static struct guess guess_node(struct estimator *e, const struct node *node) {
	switch (node->kind) {
	case NODE_LITERAL:
		return guess_literal(e, node);
	case NODE_IDENT:
		return guess_ident(e, node);
	case NODE_SELECT:
		return guess_select(e, node);
	case NODE_CALL:
		return guess_call(e, node);
	case NODE_LIST:
		return guess_list(e, node);
	case NODE_MAP:
	case NODE_STRUCT:
		return guess_map(e, node);
	default:
		return guess_fold(e, node);
	}
}

uint64_t cel_estimate(const struct node *root, const struct cel_type *variable) {
	struct estimator e = {.root = variable};
	return guess_node(&e, root).cost;
}

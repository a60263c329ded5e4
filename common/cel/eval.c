/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The evaluator walks the checked tree. Errors are values: they come out of whatever is strict, and && || ?: may leave them behind. What is counted, and where,
 * follows cel-go's planner: a chain of selections from a name is one attribute, whose name costs one, as does each selection in it.
 */
#include "common/cel/internal.h"
#include "common/base/clock.h"

#include <errno.h>
#include <math.h>

struct evaluation {
	struct cel_run *run;
	const struct cel_program *program;
	const struct cel_binding *bindings;
	size_t count;
	struct cel_value *slots;
};

static struct cel_value eval(struct evaluation *e, const struct node *n);

static bool charge(struct evaluation *e, uint64_t cost) {
	struct cel_run *run = e->run;
	run->cost += min_of(cost, UINT64_MAX - run->cost);
	if (run->cost > run->limit)
		run->exceeded = true;
	return !run->exceeded;
}

static bool is_error(const struct cel_value *v) {
	return v->kind == CEL_ERROR;
}

/* ---- attributes ---- */

static bool is_call(const struct node *n, const char *name) {
	return n->kind == NODE_CALL && strcmp(n->call.name, name) == 0;
}

static bool is_index(const struct node *n) {
	return is_call(n, "_[_]") || is_call(n, "_[?_]") || is_call(n, "_?._");
}

static bool is_attribute(const struct node *n) {
	return n->kind == NODE_IDENT || n->kind == NODE_SELECT || is_index(n) || is_call(n, "_?:_") || is_call(n, "_?_:_");
}

/* What an attribute has come to. Once it met an optional, it is one. */
struct attribute {
	struct cel_value value;
	bool optional, none;
};

static struct attribute attribute(struct evaluation *e, const struct node *n);

static struct cel_value settle(struct evaluation *e, const struct attribute *a) {
	if (is_error(&a->value))
		return a->value;
	if (a->none)
		return VALUE_NONE;
	return a->optional ? value_some(e->run, a->value) : a->value;
}

static struct cel_value ident(struct evaluation *e, const struct node *n) {
	if (n->ident.slot >= 0)
		return e->slots[n->ident.slot];
	for (size_t i = 0; i < e->count; i++)
		if (strcmp(e->bindings[i].name, n->ident.name) == 0)
			return e->bindings[i].value;
	return cel_fail(e->run, "no such attribute(s): %s", n->ident.name);
}

static struct cel_value missing(struct evaluation *e, const char *what, const struct cel_value *key) {
	autobuf struct buf text = BUF_INIT(BUF_MAX_DEFAULT);
	value_append(e->run, key, &text);
	return cel_fail(e->run, "%s: %s", what, text.data ? text.data : "");
}

static bool index_of(const struct cel_value *key, int64_t *ret) {
	if (key->kind == CEL_INT)
		*ret = key->i;
	else if (key->kind == CEL_UINT && key->u <= INT64_MAX)
		*ret = (int64_t)key->u;
	else if (key->kind == CEL_DOUBLE && fabs(key->d) < 0x1p63 && floor(key->d) == key->d)
		*ret = (int64_t)key->d;
	else
		return false;
	return true;
}

/* True where the value has such a member; *ret is it, or an error. */
static bool member(struct evaluation *e, const struct cel_value *v, const struct cel_value *key, struct cel_value *ret) {
	int64_t i;
	autobuf struct buf text = BUF_INIT(BUF_MAX_DEFAULT);
	switch (v->kind) {
	case CEL_MAP:
	case CEL_OBJECT:
		if (map_find(e->run, v->map, key, ret))
			return true;
		break;
	case CEL_LIST:
		if (!index_of(key, &i)) {
			if (key->kind == CEL_UINT || key->kind == CEL_DOUBLE)
				value_append(e->run, key, &text);
			else
				cel_type_append(value_type(key), &text);
			*ret = key->kind == CEL_UINT || key->kind == CEL_DOUBLE ? cel_fail(e->run, "unsupported index value %s in list", text.data) : cel_fail(e->run, "unsupported index type '%s' in list", text.data);
			return true;
		}
		if (i >= 0 && (size_t)i < v->list->len) {
			*ret = list_get(e->run, v->list, (size_t)i);
			return true;
		}
		*ret = missing(e, "index out of bounds", key);
		return false;
	default:
		break;
	}
	*ret = missing(e, "no such key", key);
	return false;
}

/* Goes one step down. */
static void qualify(struct evaluation *e, struct attribute *a, const struct cel_value *key, bool optional) {
	struct cel_value found;
	if (is_error(&a->value) || a->none)
		return;
	if (key->kind != CEL_STRING && key->kind != CEL_BOOL && key->kind != CEL_INT && key->kind != CEL_UINT && key->kind != CEL_DOUBLE) {
		autobuf struct buf name = BUF_INIT(BUF_MAX_DEFAULT);
		cel_type_append(value_type(key), &name);
		a->value = cel_fail(e->run, "invalid qualifier type: %s", name.data);
		return;
	}
	a->optional |= optional;
	bool has = member(e, &a->value, key, &found);
	if (has || !a->optional)
		charge(e, 1);
	if (!has && a->optional)
		a->none = true;
	else
		a->value = found;
}

/* The operand of a selection; an optional at its root is looked into. */
static struct attribute operand(struct evaluation *e, const struct node *n) {
	struct attribute a = {0};
	bool chain = n->kind == NODE_SELECT || is_index(n);
	if (is_attribute(n)) {
		a = attribute(e, n);
	} else {
		a.value = eval(e, n);
	}
	if (!chain && a.value.kind == CEL_OPTIONAL) {
		a.optional = true;
		if (!a.value.some)
			a.none = true;
		else
			a.value = *a.value.some;
	}
	return a;
}

/* An index: where it is an attribute, its own name costs nothing. */
static struct cel_value index_value(struct evaluation *e, const struct node *n) {
	if (n->kind == NODE_LITERAL)
		return n->literal;
	if (!is_attribute(n))
		return eval(e, n);
	struct attribute a = attribute(e, n);
	return settle(e, &a);
}

static struct cel_value branch(struct evaluation *e, const struct node *n) {
	return index_value(e, n);
}

static struct cel_value conditional(struct evaluation *e, const struct node *n) {
	struct cel_value condition = eval(e, n->call.args[0]);
	if (is_error(&condition))
		return condition;
	if (condition.kind != CEL_BOOL)
		return no_overload();
	return branch(e, n->call.args[condition.b ? 1 : 2]);
}

static struct attribute attribute(struct evaluation *e, const struct node *n) {
	struct attribute a = {0};
	struct cel_value key;
	if (n->kind == NODE_IDENT) {
		a.value = ident(e, n);
		return a;
	}
	if (n->kind == NODE_CALL && !is_index(n)) {
		a.value = conditional(e, n);
		return a;
	}
	if (n->kind == NODE_SELECT) {
		a = operand(e, n->select.operand);
		key = VALUE_STRING(n->select.field, strlen(n->select.field));
		if (!n->select.test) {
			qualify(e, &a, &key, false);
		} else if (!is_error(&a.value)) {
			struct cel_value found = VALUE_NULL;
			bool has = !a.none && member(e, &a.value, &key, &found);
			charge(e, 1);
			a = (struct attribute){.value = has && is_error(&found) ? found : VALUE_BOOL(has)};
		}
		return a;
	}
	a = operand(e, n->call.args[0]);
	if (is_error(&a.value) || a.none)
		return a;
	key = index_value(e, n->call.args[1]);
	if (is_error(&key)) {
		a.value = key;
		return a;
	}
	qualify(e, &a, &key, n->call.name[1] == '?' || n->call.name[2] == '?');
	return a;
}

/* The root of the chain is a condition, which itself costs nothing; or it asks only whether something is there. */
static bool costs(const struct node *n) {
	if (n->kind == NODE_SELECT && n->select.test)
		return false;
	while (n->kind == NODE_SELECT || is_index(n))
		n = n->kind == NODE_SELECT ? n->select.operand : n->call.args[0];
	return !is_call(n, "_?_:_");
}

/* ---- calls ---- */

static struct cel_value logic(struct evaluation *e, const struct node *n, bool stop) {
	struct cel_value error = VALUE_NULL;
	for (uint32_t i = 0; i < n->call.count; i++) {
		struct cel_value v = eval(e, n->call.args[i]);
		if (v.kind == CEL_BOOL && v.b == stop)
			return v;
		if (v.kind != CEL_BOOL && error.kind == CEL_NULL)
			error = is_error(&v) ? v : no_overload();
	}
	return is_error(&error) ? error : VALUE_BOOL(!stop);
}

static bool has_signature(const struct overload *o, const struct node *n, const struct cel_value *args) {
	if (o->member != n->call.member || o->count != n->call.count)
		return false;
	for (unsigned i = 0; i < o->count; i++)
		if (!value_fits(&args[i], o->args[i]))
			return false;
	return true;
}

/* What an operator can be asked for at all; of other kinds the error names it. */
static bool has_trait(const char *name, enum cel_kind kind) {
	bool number = kind == CEL_INT || kind == CEL_UINT || kind == CEL_DOUBLE, text = kind == CEL_STRING || kind == CEL_BYTES, time = kind == CEL_TIMESTAMP || kind == CEL_DURATION;
	switch (name[1]) {
	case '+':
		return number || text || time || kind == CEL_LIST;
	case '<':
	case '>':
		return number || text || time || kind == CEL_BOOL;
	case '-':
		return number || time;
	case '*':
	case '/':
		return number;
	case '%':
		return kind == CEL_INT || kind == CEL_UINT;
	default:
		return number || kind == CEL_DURATION;
	}
}

/* In cel-go's words, which depend on how the function is bound there. */
static struct cel_value unbound(struct evaluation *e, const struct node *n, const struct cel_value *args) {
	static const char *const plain[] = {"contains", "startsWith", "endsWith", "@in", "!_"};
	const char *name = n->call.function->name;
	for (size_t i = 0; i < array_len(plain); i++)
		if (strcmp(plain[i], name) == 0)
			return no_overload();
	if (strcmp(name, "size") == 0 || strcmp(name, "matches") == 0)
		return cel_fail(e->run, "no such overload: %s", name);
	if (*name == '_' || *name == '-')
		return has_trait(name, args[0].kind) ? no_overload() : cel_fail(e->run, "no such overload: %s", name);
	autobuf struct buf text = BUF_INIT(BUF_MAX_DEFAULT);
	for (uint32_t i = 0; i < n->call.count; i++) {
		const struct cel_type *type = value_type(&args[i]);
		buf_append_str(&text, i ? ", " : "");
		if (type->kind == CEL_LIST || type->kind == CEL_MAP || type->kind == CEL_OPTIONAL)
			buf_append_str(&text, type->kind == CEL_LIST ? "list" : type->kind == CEL_MAP ? "map" : "optional_type");
		else
			cel_type_append_full(type, &text);
	}
	return cel_fail(e->run, "no such overload: %s(%s)", name, text.data ? text.data : "");
}

static struct cel_value dispatch(struct evaluation *e, const struct node *n, const struct cel_value *args) {
	const struct function *f = n->call.function;
	const struct overload *o = n->call.overload;
	if (o && has_signature(o, n, args))
		return o->run(e->run, args, n->call.count);
	for (unsigned i = 0; !o && i < f->count; i++)
		if (has_signature(&f->overloads[i], n, args))
			return f->overloads[i].run(e->run, args, n->call.count);
	return unbound(e, n, args);
}

/* "x in [constants]" is a look-up that costs nothing; of an empty list x is not even asked for. */
static bool is_membership(const struct node *n) {
	if (!n->call.overload || strcmp(n->call.name, "@in") != 0 || n->call.args[1]->kind != NODE_LITERAL || n->call.args[1]->literal.kind != CEL_LIST)
		return false;
	const struct cel_list *list = n->call.args[1]->literal.list;
	for (size_t i = 0; i < list->len; i++) {
		enum cel_kind kind = list->store->items[i].kind;
		if (kind != CEL_STRING && kind != CEL_BOOL && kind != CEL_INT && kind != CEL_UINT && kind != CEL_DOUBLE)
			return false;
	}
	return true;
}

static struct cel_value or_else(struct evaluation *e, const struct node *n, bool value) {
	struct cel_value v = eval(e, n->call.args[0]);
	if (v.kind != CEL_OPTIONAL)
		return v;
	if (!v.some)
		return eval(e, n->call.args[1]);
	return value ? *v.some : v;
}

#define MAX_ARGS 4u

static struct cel_value call(struct evaluation *e, const struct node *n) {
	struct cel_value args[MAX_ARGS], *bad = NULL;
	const char *name = n->call.name;
	if (strcmp(name, "_&&_") == 0)
		return logic(e, n, false);
	if (strcmp(name, "_||_") == 0)
		return logic(e, n, true);
	const struct overload *o = n->call.overload;
	if (o && strcmp(o->id, "optional_or_optional") == 0)
		return or_else(e, n, false);
	if (o && strcmp(o->id, "optional_orValue_value") == 0)
		return or_else(e, n, true);
	bool membership = is_membership(n);
	if (membership && !n->call.args[1]->literal.list->len)
		return VALUE_BOOL(false);
	for (uint32_t i = 0; i < n->call.count; i++) {
		args[i] = eval(e, n->call.args[i]);
		if (is_error(&args[i]) && !bad)
			bad = &args[i];
	}
	if (e->run->exceeded)
		return exceeded(e->run);
	struct cel_value result;
	if (strcmp(name, "@not_strictly_false") == 0) {
		result = args[0].kind == CEL_BOOL ? args[0] : VALUE_BOOL(true);
	} else if (bad) {
		result = *bad;
	} else {
		e->run->regex = n->call.regex;
		result = dispatch(e, n, args);
	}
	if (!membership)
		charge(e, call_cost(n, args, n->call.count, &result));
	return result;
}

/* ---- lists, maps, folds ---- */

/* False where an optional is none; *ret is an error where it is no optional. */
static bool unwrap(struct evaluation *e, struct cel_value *v, const char *what) {
	if (is_error(v))
		return true;
	if (v->kind != CEL_OPTIONAL) {
		autobuf struct buf text = BUF_INIT(BUF_MAX_DEFAULT);
		value_append(e->run, v, &text);
		*v = cel_fail(e->run, "cannot initialize optional %s from non-optional value %s", what, text.data ? text.data : "");
		return true;
	}
	if (!v->some)
		return false;
	*v = *v->some;
	return true;
}

static struct cel_value make_list(struct evaluation *e, const struct node *n) {
	struct cel_value list = list_new(e->run, n->list.count);
	for (uint32_t i = 0; i < n->list.count; i++) {
		struct cel_value item = eval(e, n->list.items[i]);
		if (n->list.optional && n->list.optional[i] && !unwrap(e, &item, "list element"))
			continue;
		if (is_error(&item))
			return item;
		list_push(e->run, &list, item);
	}
	charge(e, n->constant ? 0 : 10);
	return list;
}

static struct cel_value make_map(struct evaluation *e, const struct node *n) {
	struct cel_value map = map_new(e->run);
	for (uint32_t i = 0; i < n->map.count; i++) {
		const struct entry *entry = &n->map.items[i];
		struct cel_value key = entry->key ? eval(e, entry->key) : VALUE_STRING(entry->field, strlen(entry->field));
		if (is_error(&key))
			return key;
		struct cel_value value = eval(e, entry->value);
		if (entry->optional && !unwrap(e, &value, "entry"))
			continue;
		if (is_error(&value))
			return value;
		if (n->kind == NODE_STRUCT && value.kind == CEL_OBJECT && value.map->type && value.map->type->any_field) {
			/* A part of an Object says in its name where it belongs. */
			const char *expected = arena_printf(e->run->arena, "%s.%s", n->type->name, entry->field);
			if (n->type->any_field && strcmp(value.map->type->name, expected) != 0)
				return cel_fail(e->run, "unexpected type name \"%s\", expected \"%s\", which matches field name path from root Object type", value.map->type->name, expected);
		}
		if (!map_put(e->run, &map, key, value))
			return cel_fail(e->run, "unsupported key type");
	}
	charge(e, n->kind == NODE_STRUCT ? 40 : n->constant ? 0 : 30);
	if (n->kind == NODE_STRUCT) {
		((struct cel_map *)map.map)->type = n->type;
		map.kind = CEL_OBJECT;
	}
	return map;
}

static bool is_true(const struct node *n) {
	return n->kind == NODE_LITERAL && n->literal.kind == CEL_BOOL && n->literal.b;
}

/* One turn of a fold; false where it ends. */
static bool turn(struct evaluation *e, const struct node *n) {
	struct cel_value *accu = &e->slots[n->fold.slot];
	if (!is_true(n->fold.condition)) {
		struct cel_value condition = eval(e, n->fold.condition);
		if (condition.kind == CEL_BOOL && !condition.b)
			return false;
	}
	struct cel_value step = eval(e, n->fold.step);
	*accu = step;
	return run_goes_on(e->run);
}

static struct cel_value fold(struct evaluation *e, const struct node *n) {
	struct cel_value range = eval(e, n->fold.range);
	if (is_error(&range))
		return range;
	struct cel_value *slots = &e->slots[n->fold.slot];
	struct cel_value init = eval(e, n->fold.init);
	slots[0] = init;
	if (range.kind == CEL_LIST) {
		for (size_t i = 0, len = range.list->len; i < len; i++) {
			struct cel_value item = list_get(e->run, range.list, i);
			slots[1] = n->fold.var2 ? VALUE_INT((int64_t)i) : item;
			if (n->fold.var2)
				slots[2] = item;
			if (!turn(e, n))
				break;
		}
	} else if ((range.kind == CEL_MAP || range.kind == CEL_OBJECT) && !range.map->get) {
		struct cel_value keys = map_keys(e->run, range.map);
		for (size_t i = 0, len = keys.list->len; i < len; i++) {
			slots[1] = list_get(e->run, keys.list, i);
			if (n->fold.var2 && !map_find(e->run, range.map, &slots[1], &slots[2]))
				continue;
			if (!turn(e, n))
				break;
		}
	} else {
		static const char *const names[] = {[CEL_NULL] = "types.Null", [CEL_BOOL] = "types.Bool", [CEL_INT] = "types.Int", [CEL_UINT] = "types.Uint", [CEL_DOUBLE] = "types.Double", [CEL_STRING] = "types.String", [CEL_BYTES] = "types.Bytes",
						    [CEL_TIMESTAMP] = "types.Timestamp", [CEL_DURATION] = "types.Duration", [CEL_TYPE] = "*types.Type", [CEL_OPTIONAL] = "*types.Optional"};
		const char *name = range.kind < array_len(names) && names[range.kind] ? names[range.kind] : "a value";
		return cel_fail(e->run, n->fold.var2 ? "unsupported comprehension range type: %s" : "got '%s', expected iterable type", name);
	}
	return eval(e, n->fold.result);
}

static struct cel_value eval_node(struct evaluation *e, const struct node *n) {
	if (is_attribute(n)) {
		struct attribute a = attribute(e, n);
		if (costs(n))
			charge(e, 1);
		return settle(e, &a);
	}
	switch (n->kind) {
	case NODE_LITERAL:
		return n->literal;
	case NODE_CALL:
		return call(e, n);
	case NODE_LIST:
		return make_list(e, n);
	case NODE_MAP:
	case NODE_STRUCT:
		return make_map(e, n);
	default:
		return fold(e, n);
	}
}

static struct cel_value eval(struct evaluation *e, const struct node *n) {
	struct cel_run *run = e->run;
	if (run->exceeded || run->over_memory)
		return exceeded(run);
	if (run->depth == MAX_EVALUATION_DEPTH)
		return cel_fail(run, "evaluation is nested too deeply");
	run->depth++;
	struct cel_value value = eval_node(e, n);
	run->depth--;
	return value;
}

int cel_evaluate(const struct cel_program *program, struct cel_run *run, const struct cel_binding *bindings, size_t count, struct cel_value *ret, struct error *err) {
	struct evaluation e = {run, program, bindings, count, run_alloc(run, (program->slots + 2) * sizeof(struct cel_value))};
	/* A lazy field may come here while another evaluation is under way. */
	uint64_t cost = run->cost, limit = run->limit;
	if (!e.slots || run->exceeded)
		return error_set(err, EDQUOT, "operation cancelled: actual cost limit exceeded");
	if (!run->depth)
		run->deadline = clock_monotonic_ns() + MAX_NANOSECONDS;
	run->cost = 0;
	run->limit = min_of(run->budget, (uint64_t)CEL_CALL_BUDGET);
	struct cel_value value = eval(&e, program->root);
	uint64_t used = min_of(run->cost, run->budget);
	run->budget -= used;
	run->last = used;
	run->cost = cost;
	run->limit = min_of(limit, run->budget + cost);
	if (run->exceeded || run->over_memory) {
		if (!run->depth)
			run->exceeded = false;
		return error_set(err, EDQUOT, "operation cancelled: actual cost limit exceeded");
	}
	if (is_error(&value))
		return error_set(err, EINVAL, "%s", value.message);
	*ret = value;
	return 0;
}

uint64_t cel_run_last(const struct cel_run *run) {
	return run->last;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What a call costs, as Kubernetes counts it: about one for what takes constant time, a tenth for each character that is looked at. */
#include "common/cel/internal.h"

#include <math.h>

static uint64_t tenth(uint64_t n) {
	return n / 10 + (n % 10 != 0);
}

static uint64_t times(uint64_t a, uint64_t b) {
	uint64_t product;
	return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX / 2 : product;
}

static uint64_t traversal(const struct cel_value *v, unsigned depth) {
	uint64_t cost = 0;
	if (depth > 100)
		return CEL_CALL_BUDGET;
	switch (v->kind) {
	case CEL_STRING:
	case CEL_BYTES:
		return v->len / 10;
	case CEL_LIST:
		if (!v->list->store)
			return json_array_size(v->list->json);
		for (size_t i = 0; i < v->list->len; i++)
			cost += traversal(&v->list->store->items[i], depth + 1);
		return cost;
	default:
		return 1;
	}
}

/* Of JSON the elements are looked at as they are. */
static uint64_t json_traversal(const struct cel_value *v) {
	uint64_t cost = 0;
	if (v->kind != CEL_LIST || v->list->store)
		return traversal(v, 0);
	for (size_t i = 0; i < v->list->len; i++) {
		json_t *item = json_array_get(v->list->json, i);
		cost += json_is_string(item) ? json_string_length(item) / 10 : 1;
	}
	return cost;
}

#define REGEX_FACTOR 0.25

static uint64_t regex_cost(uint64_t subject, uint64_t pattern) {
	return times(tenth(subject + 1), (uint64_t)ceil((double)pattern * REGEX_FACTOR));
}

#define LIST_COST 10u

/* A call that makes a list of `size` items. */
static uint64_t list_cost(double factor, uint64_t size) {
	double cost = (double)size * factor;
	return (cost >= 1e18 ? (uint64_t)1e18 : (uint64_t)cost) + 1 + LIST_COST;
}

static uint64_t compare_cost(const struct cel_value *list) {
	double factor = 2;
	if (list->kind == CEL_LIST && list->list->len) {
		const struct cel_list *l = list->list;
		bool text = l->store ? l->store->items[0].kind == CEL_STRING || l->store->items[0].kind == CEL_BYTES : json_is_string(json_array_get(l->json, 0));
		factor += text ? 0.1 : 0;
	}
	return list_cost(factor, times(value_size(list), value_size(list)));
}

/* Needs text arguments that are known when the expression is checked. */
static bool is_text(const struct node *call, unsigned i) {
	const struct overload *o = call->call.overload;
	return o && (o->args[i]->kind == CEL_STRING || o->args[i]->kind == CEL_BYTES);
}

static bool by_function(enum cost cost) {
	switch (cost) {
	case COST_COMPARE:
	case COST_ADD:
	case COST_CONVERT:
	case COST_CONTAINS:
	case COST_IN:
	case COST_RANGE:
	case COST_FLATTEN:
	case COST_COMPARE_SELF:
	case COST_COMPARE_KEYS:
	case COST_SETS:
	case COST_SETS_TWICE:
		return false;
	default:
		return true;
	}
}

/* Parsing, and two objects for each of about half as many requirements as there are characters. */
static uint64_t selector_cost(uint64_t len) {
	return LIST_COST + tenth(len) + (uint64_t)ceil(ceil((double)len * 0.5) * 50);
}

uint64_t call_cost(const struct node *call, const struct cel_value *args, unsigned count, const struct cel_value *result) {
	const struct overload *o = call->call.overload ? call->call.overload : &call->call.function->overloads[0];
	uint64_t a = count > 0 ? value_size(&args[0]) : 0, b = count > 1 ? value_size(&args[1]) : 0;
	if (!call->call.overload && !by_function(o->cost))
		return 1;
	switch (o->cost) {
	case COST_NONE:
		return 0;
	case COST_SIZE:
		return tenth(a);
	case COST_SIZE_TWICE:
		return (uint64_t)ceil((double)a * 2 * 0.1);
	case COST_RESULT_TWICE:
		return (uint64_t)ceil((double)value_size(result) * 2 * 0.1);
	case COST_EQUAL:
		return args[0].kind == CEL_OPAQUE ? 1 : tenth(min_of(a, b));
	case COST_COMPARE:
		return is_text(call, 0) ? tenth(min_of(a, b)) : 1;
	case COST_ADD:
		return is_text(call, 0) ? tenth(a + b) : 1;
	case COST_CONVERT:
		return is_text(call, 0) && o->result->kind != o->args[0]->kind && (o->result->kind == CEL_STRING || o->result->kind == CEL_BYTES) ? tenth(a) : 1;
	case COST_REGEX:
		return regex_cost(a, b);
	case COST_CONTAINS:
		return times(tenth(a), tenth(b));
	case COST_IN:
		return o->args[1]->kind == CEL_LIST ? b : 1;
	case COST_TRAVERSE:
		return json_traversal(&args[0]);
	case COST_AUTHORIZE:
		return 350000;
	case COST_SELECTOR:
		return selector_cost(b);
	case COST_CIDR_IP:
		return tenth(2 * a) + (args[1].kind == CEL_STRING ? tenth(b) : 0);
	case COST_CIDR_CIDR:
		return tenth(2 * a) + tenth(a) + 1 + (args[1].kind == CEL_STRING ? tenth(b) : 0);
	case COST_IP:
		return o->member ? 1 : tenth(a);
	case COST_VALIDATE:
		return args[0].kind == CEL_OPAQUE && args[0].opaque->kind == OPAQUE_FORMAT ? regex_cost(b, format_regex_size(args[0].opaque)) : 1;
	case COST_RANGE:
		return list_cost(1, value_size(result));
	case COST_FLATTEN:
		return list_cost(count == 2 && args[1].kind == CEL_INT ? (double)args[1].i : 1, a);
	case COST_COMPARE_SELF:
		return compare_cost(&args[0]);
	case COST_COMPARE_KEYS:
		return compare_cost(&args[1]);
	case COST_SETS:
		return 1 + times(a, b);
	case COST_SETS_TWICE:
		return 1 + times(2, times(a, b));
	default:
		return 1;
	}
}

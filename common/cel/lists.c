/* SPDX-License-Identifier: Apache-2.0 */
/* Functions of lists, and of lists as sets. */
#include "common/cel/internal.h"

static struct cel_value fn_is_sorted(struct cel_run *run, const struct cel_value *args, unsigned count) {
	struct cel_value before, why;
	for (size_t i = 0; i < args[0].list->len; i++) {
		struct cel_value item = list_get(run, args[0].list, i);
		int order = 0;
		if (item.kind == CEL_NULL || item.kind == CEL_LIST || item.kind == CEL_MAP)
			return no_overload();
		if (i && value_compare(run, &before, &item, &order, &why) && order > 0)
			return VALUE_BOOL(false);
		before = item;
	}
	return VALUE_BOOL(true);
}

static bool is_summable(enum cel_kind kind) {
	return kind == CEL_INT || kind == CEL_UINT || kind == CEL_DOUBLE || kind == CEL_DURATION;
}

/* Of nothing it is a zero of the type that the overload has. */
static struct cel_value sum(struct cel_run *run, const struct cel_value *list, struct cel_value total) {
	for (size_t i = 0; i < list->list->len; i++) {
		struct cel_value item = list_get(run, list->list, i);
		bool over = false;
		if (item.kind != total.kind || !is_summable(item.kind))
			return no_overload();
		if (item.kind == CEL_DOUBLE)
			total.d += item.d;
		else if (item.kind == CEL_UINT)
			over = __builtin_add_overflow(total.u, item.u, &total.u);
		else
			over = __builtin_add_overflow(total.i, item.i, &total.i);
		if (over)
			return cel_fail(run, "%s overflow", item.kind == CEL_INT ? "integer" : item.kind == CEL_UINT ? "unsigned integer" : "duration");
	}
	return total;
}

static struct cel_value fn_sum_int(struct cel_run *run, const struct cel_value *args, unsigned count) {
	/* A list of unknown type takes the type of what it holds. */
	struct cel_value first = args[0].list->len ? list_get(run, args[0].list, 0) : VALUE_INT(0);
	return sum(run, &args[0], (struct cel_value){.kind = first.kind, .i = 0});
}

#define SUM(name_, zero_) \
	static struct cel_value name_(struct cel_run *run, const struct cel_value *args, unsigned count) { \
		return sum(run, &args[0], zero_); \
	}
SUM(fn_sum_uint, VALUE_UINT(0))
SUM(fn_sum_double, VALUE_DOUBLE(0))
SUM(fn_sum_duration, VALUE_DURATION(0))

static struct cel_value extreme(struct cel_run *run, const struct cel_value *list, const char *name, int prefer) {
	struct cel_value best, why;
	if (!list->list->len)
		return cel_fail(run, "%s called on empty list", name);
	for (size_t i = 0; i < list->list->len; i++) {
		struct cel_value item = list_get(run, list->list, i);
		int order = 0;
		if (item.kind == CEL_NULL || item.kind == CEL_LIST || item.kind == CEL_MAP)
			return no_overload();
		if (!i || (value_compare(run, &best, &item, &order, &why) && order == prefer))
			best = item;
	}
	return best;
}

static struct cel_value fn_min(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return extreme(run, &args[0], "min", 1);
}

static struct cel_value fn_max(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return extreme(run, &args[0], "max", -1);
}

static struct cel_value fn_index_of(struct cel_run *run, const struct cel_value *args, unsigned count) {
	for (size_t i = 0; i < args[0].list->len; i++) {
		struct cel_value item = list_get(run, args[0].list, i);
		if (value_equal(run, &item, &args[1]))
			return VALUE_INT((int64_t)i);
	}
	return VALUE_INT(-1);
}

static struct cel_value fn_last_index_of(struct cel_run *run, const struct cel_value *args, unsigned count) {
	for (size_t i = args[0].list->len; i--;) {
		struct cel_value item = list_get(run, args[0].list, i);
		if (value_equal(run, &item, &args[1]))
			return VALUE_INT((int64_t)i);
	}
	return VALUE_INT(-1);
}

static struct cel_value fn_first(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return args[0].list->len ? value_some(run, list_get(run, args[0].list, 0)) : VALUE_NONE;
}

static struct cel_value fn_last(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return args[0].list->len ? value_some(run, list_get(run, args[0].list, args[0].list->len - 1)) : VALUE_NONE;
}

static struct cel_value fn_slice(struct cel_run *run, const struct cel_value *args, unsigned count) {
	long long start = args[1].i, end = args[2].i;
	if (start < 0 || end < 0)
		return cel_fail(run, "cannot slice(%lld, %lld), negative indexes not supported", start, end);
	if (start > end)
		return cel_fail(run, "cannot slice(%lld, %lld), start index must be less than or equal to end index", start, end);
	if ((uint64_t)end > args[0].list->len)
		return cel_fail(run, "cannot slice(%lld, %lld), list is length %zu", start, end, args[0].list->len);
	struct cel_value list = list_new(run, (size_t)(end - start));
	for (long long i = start; i < end; i++)
		list_push(run, &list, list_get(run, args[0].list, (size_t)i));
	return list;
}

#define MAX_FLATTEN 500

static void flatten(struct cel_run *run, const struct cel_list *from, int64_t depth, struct cel_value *to) {
	for (size_t i = 0; i < from->len && run_goes_on(run); i++) {
		struct cel_value item = list_get(run, from, i);
		if (item.kind == CEL_LIST && depth > 0)
			flatten(run, item.list, depth - 1, to);
		else
			list_push(run, to, item);
	}
}

static struct cel_value fn_flatten(struct cel_run *run, const struct cel_value *args, unsigned count) {
	int64_t depth = count > 1 ? args[1].i : 1;
	if (depth < 0)
		return cel_fail(run, "level must be non-negative");
	struct cel_value list = list_new(run, 0);
	flatten(run, args[0].list, min_of(depth, (int64_t)MAX_FLATTEN), &list);
	return list;
}

static struct cel_value fn_range(struct cel_run *run, const struct cel_value *args, unsigned count) {
	/* What it would cost is seen before. */
	if (args[0].i > 0 && ((uint64_t)args[0].i > run->limit - min_of(run->cost, run->limit) || (uint64_t)args[0].i > MAX_ELEMENTS))
		return exceeded(run);
	struct cel_value list = list_new(run, args[0].i > 0 ? (size_t)args[0].i : 0);
	for (int64_t i = 0; i < args[0].i; i++)
		list_push(run, &list, VALUE_INT(i));
	return list;
}

static struct cel_value fn_reverse(struct cel_run *run, const struct cel_value *args, unsigned count) {
	struct cel_value list = list_new(run, args[0].list->len);
	for (size_t i = args[0].list->len; i--;)
		list_push(run, &list, list_get(run, args[0].list, i));
	return list;
}

/* What compares all with all is not begun where it would cost more than there is. */
static bool affordable(struct cel_run *run, uint64_t a, uint64_t b) {
	uint64_t left = run->limit - min_of(run->cost, run->limit);
	return !b || a <= left / b;
}

static struct cel_value fn_distinct(struct cel_run *run, const struct cel_value *args, unsigned count) {
	size_t len = args[0].list->len;
	struct cel_value list = list_new(run, 0);
	if (!affordable(run, len, len))
		return exceeded(run);
	for (size_t i = 0; i < len; i++) {
		struct cel_value item = list_get(run, args[0].list, i);
		bool seen = false;
		for (size_t k = 0; k < list.list->len && !seen; k++)
			seen = value_equal(run, &item, &list.list->store->items[k]);
		if (!seen)
			list_push(run, &list, item);
	}
	return list;
}

/* ---- sorting ---- */

struct sorting {
	struct cel_run *run;
	const struct cel_value *keys;
	bool mixed;
};

static int compare_at(const void *a, const void *b, void *arg) {
	struct sorting *s = arg;
	struct cel_value why;
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	int order = 0;
	if (s->keys[x].kind != s->keys[y].kind)
		s->mixed = true;
	else if (!value_compare(s->run, &s->keys[x], &s->keys[y], &order, &why))
		order = 0;
	return order ? order : x < y ? -1 : x > y;
}

static struct cel_value sort_by(struct cel_run *run, const struct cel_value *list, const struct cel_value *keys) {
	size_t len = list->list->len;
	if (len != keys->list->len)
		return cel_fail(run, "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got %zu and %zu elements respectively", len, keys->list->len);
	if (!len)
		return *list;
	if (!affordable(run, len, len))
		return exceeded(run);
	struct cel_value *values = run_alloc(run, len * sizeof(*values));
	uint32_t *order = run_alloc(run, len * sizeof(*order));
	if (!values || !order)
		return exceeded(run);
	for (size_t i = 0; i < len; i++) {
		values[i] = list_get(run, keys->list, i);
		order[i] = (uint32_t)i;
		if (values[i].kind == CEL_NULL || values[i].kind == CEL_LIST || values[i].kind == CEL_MAP)
			return cel_fail(run, "list elements must be comparable");
	}
	struct sorting s = {run, values, false};
	qsort_r(order, len, sizeof(*order), compare_at, &s);
	if (s.mixed)
		return cel_fail(run, "list elements must have the same type");
	struct cel_value ret = list_new(run, len);
	for (size_t i = 0; i < len; i++)
		list_push(run, &ret, list_get(run, list->list, order[i]));
	return ret;
}

static struct cel_value fn_sort(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return sort_by(run, &args[0], &args[0]);
}

static struct cel_value fn_sort_by(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return sort_by(run, &args[0], &args[1]);
}

/* ---- sets ---- */

static bool has(struct cel_run *run, const struct cel_list *list, const struct cel_value *item) {
	for (size_t i = 0; i < list->len; i++) {
		struct cel_value other = list_get(run, list, i);
		if (value_equal(run, item, &other))
			return true;
	}
	return false;
}

static bool contains_all(struct cel_run *run, const struct cel_list *list, const struct cel_list *sub) {
	for (size_t i = 0; i < sub->len && run_goes_on(run); i++) {
		struct cel_value item = list_get(run, sub, i);
		if (!has(run, list, &item))
			return false;
	}
	return true;
}

static struct cel_value fn_sets_contains(struct cel_run *run, const struct cel_value *args, unsigned count) {
	if (!affordable(run, args[0].list->len, args[1].list->len))
		return exceeded(run);
	return VALUE_BOOL(contains_all(run, args[0].list, args[1].list));
}

static struct cel_value fn_sets_equivalent(struct cel_run *run, const struct cel_value *args, unsigned count) {
	if (!affordable(run, args[0].list->len, args[1].list->len))
		return exceeded(run);
	return VALUE_BOOL(contains_all(run, args[0].list, args[1].list) && contains_all(run, args[1].list, args[0].list));
}

static struct cel_value fn_sets_intersects(struct cel_run *run, const struct cel_value *args, unsigned count) {
	if (!affordable(run, args[0].list->len, args[1].list->len))
		return exceeded(run);
	for (size_t i = 0; i < args[0].list->len && run_goes_on(run); i++) {
		struct cel_value item = list_get(run, args[0].list, i);
		if (has(run, args[1].list, &item))
			return VALUE_BOOL(true);
	}
	return VALUE_BOOL(false);
}

#define EACH(before_, middle_, after_) \
	before_ "int" middle_ "int" after_ " " before_ "uint" middle_ "uint" after_ " " before_ "double" middle_ "double" after_ " " before_ "bool" middle_ "bool" after_ " " before_ "duration" middle_ "duration" after_ " " before_ \
	"timestamp" middle_ "timestamp" after_ " " before_ "string" middle_ "string" after_ " " before_ "bytes" middle_ "bytes" after_
#define EXTREME(type_, name_) "list_" type_ "_" name_ "_" type_ "=.(list<" type_ ">):" type_ " "
#define EXTREMES(name_) \
	EXTREME("int", name_) EXTREME("uint", name_) EXTREME("double", name_) EXTREME("bool", name_) EXTREME("duration", name_) EXTREME("timestamp", name_) EXTREME("string", name_) EXTREME("bytes", name_)
#define SORT(type_) "list_" type_ "_sort=.(list<" type_ ">):list<" type_ "> "

const struct function_row functions_lists[] = {
	{"isSorted", fn_is_sorted, COST_TRAVERSE, EACH("list_", "_is_sorted_bool=.(list<", ">):bool")},
	{"sum", fn_sum_int, COST_TRAVERSE, "list_int_sum_int=.(list<int>):int"},
	{"sum", fn_sum_uint, COST_TRAVERSE, "list_uint_sum_uint=.(list<uint>):uint"},
	{"sum", fn_sum_double, COST_TRAVERSE, "list_double_sum_double=.(list<double>):double"},
	{"sum", fn_sum_duration, COST_TRAVERSE, "list_duration_sum_duration=.(list<duration>):duration"},
	{"max", fn_max, COST_TRAVERSE, EXTREMES("max")},
	{"min", fn_min, COST_TRAVERSE, EXTREMES("min")},
	{"indexOf", fn_index_of, COST_TRAVERSE, "list_a_index_of_int=.(list<A>,A):int"},
	{"lastIndexOf", fn_last_index_of, COST_TRAVERSE, "list_a_last_index_of_int=.(list<A>,A):int"},
	{"first", fn_first, COST_ONE, "list_first=.(list<A>):optional<A>"},
	{"last", fn_last, COST_ONE, "list_last=.(list<A>):optional<A>"},
	{"slice", fn_slice, COST_RANGE, "list_slice=.(list<A>,int,int):list<A>"},
	{"flatten", fn_flatten, COST_FLATTEN, "list_flatten=.(list<list<A>>):list<A> list_flatten_int=.(list<dyn>,int):list<dyn>"},
	{"lists.range", fn_range, COST_RANGE, "lists_range=(int):list<int>"},
	{"reverse", fn_reverse, COST_RANGE, "list_reverse=.(list<A>):list<A>"},
	{"distinct", fn_distinct, COST_COMPARE_SELF, "list_distinct=.(list<A>):list<A>"},
	{"sort", fn_sort, COST_COMPARE_SELF, SORT("int") SORT("uint") SORT("double") SORT("bool") SORT("duration") SORT("timestamp") SORT("string") SORT("bytes")},
	{"@sortByAssociatedKeys", fn_sort_by, COST_COMPARE_KEYS, EACH("list_", "_sortByAssociatedKeys=.(list<A>,list<", ">):list<A>")},
	{"sets.contains", fn_sets_contains, COST_SETS, "list_sets_contains_list=(list<A>,list<A>):bool"},
	{"sets.equivalent", fn_sets_equivalent, COST_SETS_TWICE, "list_sets_equivalent_list=(list<A>,list<A>):bool"},
	{"sets.intersects", fn_sets_intersects, COST_SETS, "list_sets_intersects_list=(list<A>,list<A>):bool"},
	{0},
};

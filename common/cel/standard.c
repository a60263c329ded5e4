/* SPDX-License-Identifier: Apache-2.0 */
/* Operators and functions that the language itself has, and those of optionals. */
#include "common/cel/internal.h"
#include "common/base/clock.h"

#include <errno.h>
#include <math.h>

/* ---- arithmetic ---- */

static struct cel_value overflow(struct cel_run *run, enum cel_kind kind) {
	return cel_fail(run, "%s", kind == CEL_INT ? "integer overflow" : kind == CEL_UINT ? "unsigned integer overflow" : kind == CEL_DURATION ? "duration overflow" : "timestamp overflow");
}

#define MIN_TIME (-62135596800)
#define MAX_TIME 253402300799

/* A time with nanoseconds added. */
static struct cel_value time_plus(struct cel_run *run, const struct cel_value *t, int64_t ns) {
	struct cel_value ret = *t;
	int64_t nsec = t->nsec + ns % NSEC_PER_SEC;
	ret.sec += ns / NSEC_PER_SEC + (nsec < 0 ? -1 : nsec / NSEC_PER_SEC);
	ret.nsec = (int32_t)((nsec % NSEC_PER_SEC + NSEC_PER_SEC) % NSEC_PER_SEC);
	return ret.sec < MIN_TIME || ret.sec > MAX_TIME ? overflow(run, CEL_TIMESTAMP) : ret;
}

static struct cel_value concat(struct cel_run *run, const struct cel_value *a, const struct cel_value *b) {
	struct cel_value ret = *a;
	if (a->len + b->len > MAX_STRING)
		return exceeded(run);
	char *text = run_alloc(run, a->len + b->len + 1);
	if (!text)
		return exceeded(run);
	memcpy(text, a->s, a->len);
	memcpy(text + a->len, b->s, b->len);
	ret.s = text;
	ret.len = a->len + b->len;
	return ret;
}

static struct cel_value fn_add(struct cel_run *run, const struct cel_value *args, unsigned count) {
	const struct cel_value *a = &args[0], *b = &args[1];
	struct cel_value ret = *a;
	if (a->kind == CEL_DURATION && b->kind == CEL_TIMESTAMP)
		return time_plus(run, b, a->i);
	switch (a->kind) {
	case CEL_INT:
	case CEL_DURATION:
		return __builtin_add_overflow(a->i, b->i, &ret.i) ? overflow(run, a->kind) : ret;
	case CEL_UINT:
		return __builtin_add_overflow(a->u, b->u, &ret.u) ? overflow(run, CEL_UINT) : ret;
	case CEL_DOUBLE:
		return VALUE_DOUBLE(a->d + b->d);
	case CEL_TIMESTAMP:
		return time_plus(run, a, b->i);
	case CEL_LIST:
		return list_concat(run, a, b);
	default:
		return concat(run, a, b);
	}
}

static struct cel_value time_minus(struct cel_run *run, const struct cel_value *a, const struct cel_value *b) {
	__int128 ns = (__int128)(a->sec - b->sec) * NSEC_PER_SEC + (a->nsec - b->nsec);
	return ns > INT64_MAX || ns < INT64_MIN ? overflow(run, CEL_DURATION) : VALUE_DURATION((int64_t)ns);
}

static struct cel_value fn_subtract(struct cel_run *run, const struct cel_value *args, unsigned count) {
	const struct cel_value *a = &args[0], *b = &args[1];
	struct cel_value ret = *a;
	switch (a->kind) {
	case CEL_INT:
	case CEL_DURATION:
		return __builtin_sub_overflow(a->i, b->i, &ret.i) ? overflow(run, a->kind) : ret;
	case CEL_UINT:
		return __builtin_sub_overflow(a->u, b->u, &ret.u) ? overflow(run, CEL_UINT) : ret;
	case CEL_DOUBLE:
		return VALUE_DOUBLE(a->d - b->d);
	default:
		if (b->kind == CEL_TIMESTAMP)
			return time_minus(run, a, b);
		return b->i == INT64_MIN ? overflow(run, CEL_DURATION) : time_plus(run, a, -b->i);
	}
}

static struct cel_value fn_multiply(struct cel_run *run, const struct cel_value *args, unsigned count) {
	struct cel_value ret = args[0];
	if (ret.kind == CEL_DOUBLE)
		return VALUE_DOUBLE(args[0].d * args[1].d);
	if (ret.kind == CEL_UINT)
		return __builtin_mul_overflow(args[0].u, args[1].u, &ret.u) ? overflow(run, CEL_UINT) : ret;
	return __builtin_mul_overflow(args[0].i, args[1].i, &ret.i) ? overflow(run, CEL_INT) : ret;
}

static struct cel_value fn_divide(struct cel_run *run, const struct cel_value *args, unsigned count) {
	if (args[0].kind == CEL_DOUBLE)
		return VALUE_DOUBLE(args[0].d / args[1].d);
	if (!args[1].u)
		return cel_fail(run, "division by zero");
	if (args[0].kind == CEL_UINT)
		return VALUE_UINT(args[0].u / args[1].u);
	return args[0].i == INT64_MIN && args[1].i == -1 ? overflow(run, CEL_INT) : VALUE_INT(args[0].i / args[1].i);
}

static struct cel_value fn_modulo(struct cel_run *run, const struct cel_value *args, unsigned count) {
	if (!args[1].u)
		return cel_fail(run, "modulus by zero");
	if (args[0].kind == CEL_UINT)
		return VALUE_UINT(args[0].u % args[1].u);
	return args[0].i == INT64_MIN && args[1].i == -1 ? overflow(run, CEL_INT) : VALUE_INT(args[0].i % args[1].i);
}

static struct cel_value fn_negate(struct cel_run *run, const struct cel_value *args, unsigned count) {
	if (args[0].kind == CEL_DOUBLE)
		return VALUE_DOUBLE(-args[0].d);
	return args[0].i == INT64_MIN ? overflow(run, CEL_INT) : VALUE_INT(-args[0].i);
}

/* ---- comparison ---- */

static struct cel_value fn_equal(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return VALUE_BOOL(value_equal(run, &args[0], &args[1]));
}

static struct cel_value fn_not_equal(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return VALUE_BOOL(!value_equal(run, &args[0], &args[1]));
}

#define ORDER(name_, test_) \
	static struct cel_value name_(struct cel_run *run, const struct cel_value *args, unsigned count) { \
		struct cel_value why; \
		int order; \
		return value_compare(run, &args[0], &args[1], &order, &why) ? VALUE_BOOL(order test_ 0) : why; \
	}
ORDER(fn_less, <)
ORDER(fn_less_equal, <=)
ORDER(fn_greater, >)
ORDER(fn_greater_equal, >=)

static struct cel_value fn_not(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return VALUE_BOOL(!args[0].b);
}

/* The evaluator sees to those that are not strict, and to members. */
static struct cel_value fn_evaluator(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return no_overload();
}

static struct cel_value fn_in(struct cel_run *run, const struct cel_value *args, unsigned count) {
	struct cel_value found;
	if (args[1].kind == CEL_MAP)
		return VALUE_BOOL(map_find(run, args[1].map, &args[0], &found));
	for (size_t i = 0; i < args[1].list->len; i++) {
		struct cel_value item = list_get(run, args[1].list, i);
		if (value_equal(run, &args[0], &item))
			return VALUE_BOOL(true);
	}
	return VALUE_BOOL(false);
}

static struct cel_value fn_size(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return VALUE_INT((int64_t)value_size(&args[0]));
}

/* ---- conversions ---- */

static struct cel_value fn_type(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return VALUE_TYPE(value_type(&args[0]));
}

static struct cel_value fn_dyn(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return args[0];
}

static struct cel_value cannot_convert(struct cel_run *run, const struct cel_value *v, const struct cel_type *to) {
	autobuf struct buf from = BUF_INIT(4096), name = BUF_INIT(4096);
	cel_type_append(value_type(v), &from);
	cel_type_append(to, &name);
	return cel_fail(run, "type conversion error from '%s' to '%s'", from.data, to->kind == CEL_TIMESTAMP ? "google.protobuf.Timestamp" : to->kind == CEL_DURATION ? "google.protobuf.Duration" : name.data);
}

/* Text of a number, without what strtol would skip. */
static bool number_text(const struct cel_value *v, char *text, size_t size, bool sign) {
	if (!v->len || v->len >= size || memchr(v->s, 0, v->len))
		return false;
	memcpy(text, v->s, v->len);
	text[v->len] = '\0';
	const char *p = text + (sign && (*text == '-' || *text == '+'));
	return *p >= '0' && *p <= '9';
}

static struct cel_value fn_int(struct cel_run *run, const struct cel_value *args, unsigned count) {
	const struct cel_value *v = &args[0];
	char text[64], *end;
	int64_t i;
	switch (v->kind) {
	case CEL_UINT:
		return v->u > INT64_MAX ? overflow(run, CEL_INT) : VALUE_INT((int64_t)v->u);
	case CEL_DOUBLE:
		return isnan(v->d) || v->d <= -0x1p63 || v->d >= 0x1p63 ? overflow(run, CEL_INT) : VALUE_INT((int64_t)v->d);
	case CEL_DURATION:
		return VALUE_INT(v->i);
	case CEL_TIMESTAMP:
		return VALUE_INT(v->sec);
	case CEL_STRING:
		errno = 0;
		if (!number_text(v, text, sizeof(text), true))
			return cannot_convert(run, v, &cel_int);
		i = strtoll(text, &end, 10);
		return errno || *end ? cannot_convert(run, v, &cel_int) : VALUE_INT(i);
	default:
		return *v;
	}
}

static struct cel_value fn_uint(struct cel_run *run, const struct cel_value *args, unsigned count) {
	const struct cel_value *v = &args[0];
	char text[64], *end;
	uint64_t u;
	switch (v->kind) {
	case CEL_INT:
		return v->i < 0 ? overflow(run, CEL_UINT) : VALUE_UINT((uint64_t)v->i);
	case CEL_DOUBLE:
		return isnan(v->d) || v->d < 0 || v->d >= 0x1p64 ? overflow(run, CEL_UINT) : VALUE_UINT((uint64_t)v->d);
	case CEL_STRING:
		errno = 0;
		if (!number_text(v, text, sizeof(text), false))
			return cannot_convert(run, v, &cel_uint);
		u = strtoull(text, &end, 10);
		return errno || *end ? cannot_convert(run, v, &cel_uint) : VALUE_UINT(u);
	default:
		return *v;
	}
}

static struct cel_value fn_double(struct cel_run *run, const struct cel_value *args, unsigned count) {
	const struct cel_value *v = &args[0];
	double d;
	switch (v->kind) {
	case CEL_INT:
		return VALUE_DOUBLE((double)v->i);
	case CEL_UINT:
		return VALUE_DOUBLE((double)v->u);
	case CEL_STRING:
		return parse_go_double(v->s, v->len, &d) ? VALUE_DOUBLE(d) : cannot_convert(run, v, &cel_double);
	default:
		return *v;
	}
}

static struct cel_value fn_bool(struct cel_run *run, const struct cel_value *args, unsigned count) {
	static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True"}, *const no[] = {"0", "f", "F", "FALSE", "false", "False"};
	const struct cel_value *v = &args[0];
	if (v->kind == CEL_BOOL)
		return *v;
	for (size_t i = 0; i < array_len(yes); i++) {
		if (strlen(yes[i]) == v->len && memcmp(yes[i], v->s, v->len) == 0)
			return VALUE_BOOL(true);
		if (strlen(no[i]) == v->len && memcmp(no[i], v->s, v->len) == 0)
			return VALUE_BOOL(false);
	}
	return cannot_convert(run, v, &cel_bool);
}

static struct cel_value fn_bytes(struct cel_run *run, const struct cel_value *args, unsigned count) {
	struct cel_value ret = args[0];
	ret.kind = CEL_BYTES;
	return ret;
}

static struct cel_value fn_string(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return value_to_string(run, &args[0]);
}

static struct cel_value fn_duration(struct cel_run *run, const struct cel_value *args, unsigned count) {
	const struct cel_value *v = &args[0];
	int64_t ns;
	if (v->kind == CEL_STRING)
		return duration_parse(v->s, v->len, &ns) == 0 ? VALUE_DURATION(ns) : cannot_convert(run, v, &cel_duration);
	/* A number is no duration, though it type-checks: as in cel-go. */
	return v->kind == CEL_DURATION ? *v : cannot_convert(run, v, &cel_duration);
}

/* RFC 3339 as Go reads it; the value keeps no zone. */
bool time_parse(const char *s, size_t len, struct cel_value *ret) {
	struct wall_time t;
	if (time_parse_rfc3339(s, len, &t) < 0 || t.sec < MIN_TIME || t.sec > MAX_TIME)
		return false;
	*ret = (struct cel_value){.kind = CEL_TIMESTAMP, .sec = t.sec, .nsec = t.nsec};
	return true;
}

static struct cel_value fn_timestamp(struct cel_run *run, const struct cel_value *args, unsigned count) {
	const struct cel_value *v = &args[0];
	struct cel_value ret;
	if (v->kind == CEL_STRING)
		return time_parse(v->s, v->len, &ret) ? ret : cannot_convert(run, v, &cel_timestamp);
	if (v->kind == CEL_INT)
		return v->i < MIN_TIME || v->i > MAX_TIME ? overflow(run, CEL_TIMESTAMP) : (struct cel_value){.kind = CEL_TIMESTAMP, .sec = v->i};
	return *v;
}

/* ---- texts ---- */

static struct cel_value fn_contains(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return VALUE_BOOL(!args[1].len || memmem(args[0].s, args[0].len, args[1].s, args[1].len));
}

static struct cel_value fn_starts_with(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return VALUE_BOOL(args[0].len >= args[1].len && memcmp(args[0].s, args[1].s, args[1].len) == 0);
}

static struct cel_value fn_ends_with(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return VALUE_BOOL(args[0].len >= args[1].len && memcmp(args[0].s + args[0].len - args[1].len, args[1].s, args[1].len) == 0);
}

static struct cel_value fn_matches(struct cel_run *run, const struct cel_value *args, unsigned count) {
	if (run->regex)
		return VALUE_BOOL(regex_search(run->regex, args[0].s, args[0].len));
	autofree char *pattern = xstrndup(args[1].s, args[1].len), *why = NULL;
	struct regex *regex = memchr(args[1].s, 0, args[1].len) ? NULL : regex_new(pattern, &why);
	if (!regex)
		return cel_fail(run, "error parsing regexp: %s: `%s`", why ? why : "invalid UTF-8", pattern);
	bool found = regex_search(regex, args[0].s, args[0].len);
	regex_free(regex);
	return VALUE_BOOL(found);
}

/* ---- optionals ---- */

static struct cel_value fn_optional_of(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return value_some(run, args[0]);
}

static struct cel_value fn_optional_non_zero(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return value_is_zero(&args[0]) ? VALUE_NONE : value_some(run, args[0]);
}

static struct cel_value fn_optional_none(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return VALUE_NONE;
}

static struct cel_value fn_optional_value(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return args[0].some ? *args[0].some : cel_fail(run, "optional.none() dereference");
}

static struct cel_value fn_optional_has(struct cel_run *run, const struct cel_value *args, unsigned count) {
	return VALUE_BOOL(args[0].some != NULL);
}

static struct cel_value fn_optional_unwrap(struct cel_run *run, const struct cel_value *args, unsigned count) {
	struct cel_value ret = list_new(run, args[0].list->len);
	for (size_t i = 0; i < args[0].list->len; i++) {
		struct cel_value item = list_get(run, args[0].list, i);
		if (item.kind != CEL_OPTIONAL)
			return cel_fail(run, "value is not optional");
		if (item.some)
			list_push(run, &ret, *item.some);
	}
	return ret;
}

static struct cel_value fn_map_insert(struct cel_run *run, const struct cel_value *args, unsigned count) {
	if (count == 3)
		return map_with(run, &args[0], args[1], args[2]);
	struct cel_value ret = args[0], keys = map_keys(run, args[1].map), value;
	for (size_t i = 0; i < keys.list->len && ret.kind == CEL_MAP; i++) {
		struct cel_value key = list_get(run, keys.list, i);
		map_find(run, args[1].map, &key, &value);
		ret = map_with(run, &ret, key, value);
	}
	return ret;
}

#define ORDERED(op_) \
	op_ "_bool=(bool,bool):bool " op_ "_int64=(int,int):bool " op_ "_int64_double=(int,double):bool " op_ "_int64_uint64=(int,uint):bool " op_ "_uint64=(uint,uint):bool " op_ \
	"_uint64_double=(uint,double):bool " op_ "_uint64_int64=(uint,int):bool " op_ "_double=(double,double):bool " op_ "_double_int64=(double,int):bool " op_ \
	"_double_uint64=(double,uint):bool " op_ "_string=(string,string):bool " op_ "_bytes=(bytes,bytes):bool " op_ "_timestamp=(timestamp,timestamp):bool " op_ \
	"_duration=(duration,duration):bool"

const struct function_row functions_standard[] = {
	{"_?_:_", fn_evaluator, COST_NONE, "conditional=(bool,A,A):A"},
	{"_&&_", fn_evaluator, COST_NONE, "logical_and=(bool,bool):bool"},
	{"_||_", fn_evaluator, COST_NONE, "logical_or=(bool,bool):bool"},
	{"!_", fn_not, COST_ONE, "logical_not=(bool):bool"},
	{"@not_strictly_false", fn_evaluator, COST_ONE, "not_strictly_false=(bool):bool"},
	{"_==_", fn_equal, COST_EQUAL, "equals=(A,A):bool"},
	{"_!=_", fn_not_equal, COST_EQUAL, "not_equals=(A,A):bool"},
	{"_+_", fn_add, COST_ADD, "add_bytes=(bytes,bytes):bytes add_double=(double,double):double add_duration_duration=(duration,duration):duration add_duration_timestamp=(duration,timestamp):timestamp add_timestamp_duration=(timestamp,duration):timestamp "
		"add_int64=(int,int):int add_list=(list<A>,list<A>):list<A> add_string=(string,string):string add_uint64=(uint,uint):uint"},
	{"_/_", fn_divide, COST_ONE, "divide_double=(double,double):double divide_int64=(int,int):int divide_uint64=(uint,uint):uint"},
	{"_%_", fn_modulo, COST_ONE, "modulo_int64=(int,int):int modulo_uint64=(uint,uint):uint"},
	{"_*_", fn_multiply, COST_ONE, "multiply_double=(double,double):double multiply_int64=(int,int):int multiply_uint64=(uint,uint):uint"},
	{"-_", fn_negate, COST_ONE, "negate_double=(double):double negate_int64=(int):int"},
	{"_-_", fn_subtract, COST_ONE, "subtract_double=(double,double):double subtract_duration_duration=(duration,duration):duration subtract_int64=(int,int):int subtract_timestamp_duration=(timestamp,duration):timestamp "
		"subtract_timestamp_timestamp=(timestamp,timestamp):duration subtract_uint64=(uint,uint):uint"},
	{"_<_", fn_less, COST_COMPARE, ORDERED("less")},
	{"_<=_", fn_less_equal, COST_COMPARE, ORDERED("less_equals")},
	{"_>_", fn_greater, COST_COMPARE, ORDERED("greater")},
	{"_>=_", fn_greater_equal, COST_COMPARE, ORDERED("greater_equals")},
	{"_[_]", fn_evaluator, COST_NONE, "index_list=(list<A>,int):A index_map=(map<A,B>,A):B optional_list_index_int=(optional<list<A>>,int):optional<A> optional_map_index_value=(optional<map<A,B>>,A):optional<B>"},
	{"_[?_]", fn_evaluator, COST_NONE, "list_optindex_optional_int=(list<A>,int):optional<A> optional_list_optindex_optional_int=(optional<list<A>>,int):optional<A> map_optindex_optional_value=(map<A,B>,A):optional<B> "
		"optional_map_optindex_optional_value=(optional<map<A,B>>,A):optional<B>"},
	{"_?._", fn_evaluator, COST_NONE, "select_optional_field=(dyn,string):optional<A>"},
	{"@in", fn_in, COST_IN, "in_list=(A,list<A>):bool in_map=(A,map<A,B>):bool"},
	{"size", fn_size, COST_ONE, "size_bytes=(bytes):int bytes_size=.(bytes):int size_list=(list<A>):int list_size=.(list<A>):int size_map=(map<A,B>):int map_size=.(map<A,B>):int size_string=(string):int string_size=.(string):int"},
	{"type", fn_type, COST_ONE, "type=(A):type<A>"},
	{"dyn", fn_dyn, COST_ONE, "to_dyn=(A):dyn"},
	{"bool", fn_bool, COST_ONE, "bool_to_bool=(bool):bool string_to_bool=(string):bool"},
	{"bytes", fn_bytes, COST_CONVERT, "bytes_to_bytes=(bytes):bytes string_to_bytes=(string):bytes"},
	{"double", fn_double, COST_ONE, "double_to_double=(double):double int64_to_double=(int):double string_to_double=(string):double uint64_to_double=(uint):double"},
	{"duration", fn_duration, COST_ONE, "duration_to_duration=(duration):duration int64_to_duration=(int):duration string_to_duration=(string):duration"},
	{"int", fn_int, COST_ONE, "int64_to_int64=(int):int double_to_int64=(double):int duration_to_int64=(duration):int string_to_int64=(string):int timestamp_to_int64=(timestamp):int uint64_to_int64=(uint):int"},
	{"string", fn_string, COST_CONVERT, "string_to_string=(string):string bool_to_string=(bool):string bytes_to_string=(bytes):string double_to_string=(double):string duration_to_string=(duration):string int64_to_string=(int):string "
		"timestamp_to_string=(timestamp):string uint64_to_string=(uint):string ip_to_string=(ip):string cidr_to_string=(cidr):string"},
	{"timestamp", fn_timestamp, COST_ONE, "timestamp_to_timestamp=(timestamp):timestamp int64_to_timestamp=(int):timestamp string_to_timestamp=(string):timestamp"},
	{"uint", fn_uint, COST_ONE, "uint64_to_uint64=(uint):uint double_to_uint64=(double):uint int64_to_uint64=(int):uint string_to_uint64=(string):uint"},
	{"contains", fn_contains, COST_CONTAINS, "contains_string=.(string,string):bool"},
	{"startsWith", fn_starts_with, COST_SIZE, "starts_with_string=.(string,string):bool"},
	{"endsWith", fn_ends_with, COST_SIZE, "ends_with_string=.(string,string):bool"},
	{"matches", fn_matches, COST_ONE, "matches=(string,string):bool"},
	{"matches", fn_matches, COST_REGEX, "matches_string=.(string,string):bool"},
	{"optional.of", fn_optional_of, COST_ONE, "optional_of=(A):optional<A>"},
	{"optional.ofNonZeroValue", fn_optional_non_zero, COST_ONE, "optional_ofNonZeroValue=(A):optional<A>"},
	{"optional.none", fn_optional_none, COST_ONE, "optional_none=():optional<A>"},
	{"value", fn_optional_value, COST_ONE, "optional_value=.(optional<A>):A"},
	{"hasValue", fn_optional_has, COST_ONE, "optional_hasValue=.(optional<A>):bool"},
	{"or", fn_evaluator, COST_NONE, "optional_or_optional=.(optional<A>,optional<A>):optional<A>"},
	{"orValue", fn_evaluator, COST_NONE, "optional_orValue_value=.(optional<A>,A):A"},
	{"optional.unwrap", fn_optional_unwrap, COST_ONE, "optional_unwrap=(list<optional<A>>):list<A>"},
	{"unwrapOpt", fn_optional_unwrap, COST_ONE, "optional_unwrapOpt=.(list<optional<A>>):list<A>"},
	{"cel.@mapInsert", fn_map_insert, COST_ONE, "@mapInsert_map_key_value=(map<A,B>,A,B):map<A,B> @mapInsert_map_map=(map<A,B>,map<A,B>):map<A,B>"},
	{0},
};

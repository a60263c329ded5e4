/* SPDX-License-Identifier: Apache-2.0 */
#include "common/cel/device.h"
#include "common/cel/internal.h"
#include "test/unit/common/cel/cases.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* ---- showing values ---- */

static void show(struct cel_run *run, const struct cel_value *v, struct buf *out);

static int compare_texts(const void *a, const void *b) {
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void show_map(struct cel_run *run, const struct cel_value *v, struct buf *out) {
	struct cel_value keys = map_keys(run, v->map);
	char **entries = xcalloc(keys.list->len + 1, sizeof(*entries));
	for (size_t i = 0; i < keys.list->len; i++) {
		struct buf text = BUF_INIT(1 << 20);
		struct cel_value key = list_get(run, keys.list, i), value;
		assert_true(map_find(run, v->map, &key, &value));
		show(run, &key, &text);
		buf_append_str(&text, ": ");
		show(run, &value, &text);
		entries[i] = buf_take(&text);
	}
	qsort(entries, keys.list->len, sizeof(*entries), compare_texts);
	buf_append_char(out, '{');
	for (size_t i = 0; i < keys.list->len; i++) {
		buf_printf(out, "%s%s", i ? ", " : "", entries[i]);
		free(entries[i]);
	}
	free(entries);
	buf_append_char(out, '}');
}

static void show(struct cel_run *run, const struct cel_value *v, struct buf *out) {
	switch (v->kind) {
	case CEL_STRING: {
		json_t *text = json_stringn(v->s, v->len);
		autofree char *quoted = text ? json_dumps(text, JSON_ENCODE_ANY) : NULL;
		buf_printf(out, "string %s", quoted ? quoted : "?");
		json_decref(text);
		break;
	}
	case CEL_BYTES:
		buf_append_str(out, "bytes ");
		for (size_t i = 0; i < v->len; i++)
			buf_printf(out, "%02x", (unsigned char)v->s[i]);
		break;
	case CEL_BOOL:
		buf_printf(out, "bool %s", v->b ? "true" : "false");
		break;
	case CEL_INT:
		buf_printf(out, "int %lld", (long long)v->i);
		break;
	case CEL_UINT:
		buf_printf(out, "uint %llu", (unsigned long long)v->u);
		break;
	case CEL_DOUBLE:
		buf_printf(out, "double %.17g", v->d);
		break;
	case CEL_NULL:
		buf_append_str(out, "null");
		break;
	case CEL_DURATION:
		buf_printf(out, "duration %lld", (long long)v->i);
		break;
	case CEL_TIMESTAMP:
		buf_printf(out, "timestamp %lld.%09d", (long long)v->sec, v->nsec);
		break;
	case CEL_OPTIONAL:
		buf_append_str(out, v->some ? "some(" : "none");
		if (v->some) {
			show(run, v->some, out);
			buf_append_char(out, ')');
		}
		break;
	case CEL_TYPE:
		buf_append_str(out, "type ");
		if (v->type->kind == CEL_LIST || v->type->kind == CEL_MAP || v->type->kind == CEL_OPTIONAL)
			buf_append_str(out, v->type->kind == CEL_LIST ? "list" : v->type->kind == CEL_MAP ? "map" : "optional_type");
		else
			cel_type_append_full(v->type, out);
		break;
	case CEL_LIST:
		buf_append_char(out, '[');
		for (size_t i = 0; i < v->list->len; i++) {
			struct cel_value item = list_get(run, v->list, i);
			buf_append_str(out, i ? ", " : "");
			show(run, &item, out);
		}
		buf_append_char(out, ']');
		break;
	case CEL_MAP:
	case CEL_OBJECT:
		show_map(run, v, out);
		break;
	default:
		cel_type_append(value_type(v), out);
		buf_append_char(out, ' ');
		value_append(run, v, out);
	}
}

/* ---- the table ---- */

struct world {
	struct cel_env *env;
	json_t *json;
};

static json_t *part(const struct world *w, const char *name) {
	return json_object_get(w->json, name);
}

static struct world world_new(void) {
	struct world w = {.env = cel_env_new()};
	struct arena *arena = cel_env_arena(w.env);
	cel_env_add(w.env, "object", &cel_dyn);
	cel_env_add(w.env, "s", &cel_string);
	cel_env_add(w.env, "i", &cel_int);
	cel_env_add(w.env, "l", cel_list_of(arena, &cel_int));
	cel_env_add(w.env, "m", cel_map_of(arena, &cel_string, &cel_string));
	cel_env_add(w.env, "d", &cel_dyn);
	cel_env_add(w.env, "b", &cel_bool);
	cel_env_add(w.env, "ls", cel_list_of(arena, &cel_string));
	cel_env_add(w.env, "x.y", &cel_int);
	w.json = json_loads("{\"object\": {\"metadata\": {\"name\": \"web\", \"labels\": {\"app\": \"x\", \"tier\": \"y\"}}, \"n\": null, \"list\": [\"a\", \"b\", \"c\"], \"deep\": {\"a\": {\"b\": {\"c\": true}}},"
			    "\"spec\": {\"replicas\": 3, \"ratio\": 1.5, \"containers\": [{\"name\": \"a\", \"image\": \"i:1\"}, {\"name\": \"b\", \"image\": \"i:2\", \"ports\": [80, 443]}]}},"
			    "\"l\": [3, 1, 2], \"m\": {\"k\": \"v\", \"a-b\": \"w\"}, \"ls\": [\"x\", \"y\", \"zz\"]}",
			    0, NULL);
	assert_non_null(w.json);
	return w;
}

static void world_done(struct world *w) {
	json_decref(w->json);
	cel_env_free(w->env);
}

/* What an expression comes to, as the table has it; malloc. */
static char *result_of(const struct world *w, const char *expression, uint64_t *ret_cost) {
	autocel struct cel_program *program = NULL;
	autoerror struct error err = {0};
	*ret_cost = 0;
	if (cel_compile(w->env, expression, &program, &err) < 0) {
		static const char compiled[] = "compilation failed: ERROR: <input>:", made[] = "program instantiation failed: ";
		const char *text = error_message(&err);
		bool mistake = str_starts_with(text, compiled);
		assert_true(mistake || str_starts_with(text, made));
		text = strchr(text, ':') + 2;
		text += mistake ? strlen("ERROR: <input>:") : 0;
		return xprintf("%c %.*s", mistake ? '?' : '!', (int)strcspn(text, "\n"), text);
	}
	autorun struct cel_run *run = cel_run_new(CEL_REQUEST_BUDGET);
	const struct cel_binding bindings[] = {
		{"object", cel_from_json(run, part(w, "object"), NULL)}, {"s", cel_from_string(run, "h\303\251llo w\303\266rld", 13)}, {"i", VALUE_INT(42)}, {"l", cel_from_json(run, part(w, "l"), NULL)}, {"m", cel_from_json(run, part(w, "m"), NULL)},
		{"d", VALUE_INT(7)}, {"b", VALUE_BOOL(true)}, {"ls", cel_from_json(run, part(w, "ls"), NULL)}, {"x.y", VALUE_INT(5)},
	};
	struct cel_value value;
	int r = cel_evaluate(program, run, bindings, array_len(bindings), &value, &err);
	*ret_cost = cel_run_last(run);
	if (r < 0)
		return xprintf("# %s", error_message(&err));
	struct buf text = BUF_INIT(1 << 20);
	show(run, &value, &text);
	return text.data ? buf_take(&text) : xstrdup("");
}

static void test_cases(void **state) {
	struct world w = world_new();
	unsigned wrong = 0;
	for (size_t i = 0; i < array_len(cases); i++) {
		uint64_t cost;
		autofree char *result = result_of(&w, cases[i].expression, &cost);
		if (strcmp(result, cases[i].result) == 0 && cost == cases[i].cost)
			continue;
		print_error("%s\n  is    %s (%llu)\n  wants %s (%u)\n", cases[i].expression, result, (unsigned long long)cost, cases[i].result, cases[i].cost);
		wrong++;
	}
	world_done(&w);
	assert_int_equal(wrong, 0);
}

/* ---- bounds ---- */

static char *repeat(const char *text, unsigned count) {
	struct buf out = BUF_INIT(1 << 24);
	for (unsigned i = 0; i < count; i++)
		buf_append_str(&out, text);
	return buf_take(&out);
}

static int evaluate(const struct world *w, const char *expression, uint64_t budget, struct error *err) {
	autocel struct cel_program *program = NULL;
	int r = cel_compile(w->env, expression, &program, err);
	if (r < 0)
		return r;
	autorun struct cel_run *run = cel_run_new(budget);
	struct cel_value value;
	return cel_evaluate(program, run, NULL, 0, &value, err);
}

static void test_nesting(void **state) {
	static const struct {
		const char *before, *after;
	} rows[] = {{"(", ")"}, {"[", "]"}, {"size(", ")"}, {"!(", ")"}, {"-(", ")"}, {"[1].map(x, ", ")"}, {"optional.of(1).optMap(x, ", ")"}, {"1+(", ")"}, {"true?(", "):1"}, {"{1:", "}"}};
	struct world w = world_new();
	for (size_t i = 0; i < array_len(rows); i++)
		for (unsigned count = 10; count < 40000; count *= 15) {
			autofree char *before = repeat(rows[i].before, count), *after = repeat(rows[i].after, count), *text = xprintf("%s1%s", before, after);
			autoerror struct error err = {0};
			int r = evaluate(&w, text, CEL_REQUEST_BUDGET, &err);
			if (count > 300)
				assert_int_equal(r, -EINVAL);
		}
	static const char *const chains[] = {"+1", ".a", "[0]", "&&true", "==1", "?.x", ".size()", "? 1 : 2", ".map(x, x)", ".optMap(x, x)"};
	for (size_t i = 0; i < array_len(chains); i++)
		for (unsigned count = 10; count < 20000; count *= 11) {
			autofree char *tail = repeat(chains[i], count), *text = xprintf("[1]%s", tail);
			autoerror struct error err = {0};
			evaluate(&w, text, CEL_REQUEST_BUDGET, &err);
		}
	world_done(&w);
}

static void test_length(void **state) {
	struct world w = world_new();
	autofree char *spaces = repeat(" ", CEL_MAX_EXPRESSION - 1), *good = xprintf("%s1", spaces), *bad = xprintf("%s11", spaces);
	autoerror struct error err = {0};
	assert_int_equal(evaluate(&w, good, 100, &err), 0);
	assert_int_equal(evaluate(&w, bad, 100, &err), -EINVAL);
	assert_string_equal(error_message(&err), "compilation failed: ERROR: <input>:-1:0: expression code point size exceeds limit: size: 100001, limit 100000");
	world_done(&w);
}

static void test_budget(void **state) {
	static const char *const costly[] = {
		"lists.range(1000).map(x, lists.range(1000).map(y, x * y)).size() > 0", "lists.range(9223372036854775807).size() > 0", "lists.range(1000000).map(x, 'aaaaaaaaaaaaaaaaaaaaaaaaa' + 'b').join().size() > 0",
		"lists.range(2000).distinct().size() > 0", "'a'.replace('', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaa').replace('', 'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb').replace('', 'cccccccccccccccccccccccccccccccccccccccccccccccc').replace('', 'ddddddddddddddddddddddddddddddddddddddddddddddddddddddddd').replace('', 'eeeeeeeeeeeeeeeeeeeeeeeeeeeeeee').size() > 0",
	};
	struct world w = world_new();
	for (size_t i = 0; i < array_len(costly); i++) {
		autoerror struct error err = {0};
		int r = evaluate(&w, costly[i], CEL_REQUEST_BUDGET, &err);
		assert_int_equal(r, -EDQUOT);
		assert_string_equal(error_message(&err), "operation cancelled: actual cost limit exceeded");
	}
	/* What is left of a run's budget binds too. */
	autoerror struct error err = {0};
	assert_int_equal(evaluate(&w, "lists.range(100).size() == 100", 200, &err), 0);
	assert_int_equal(evaluate(&w, "lists.range(100).size() == 100", 100, &err), -EDQUOT);
	world_done(&w);
}

/* ---- declared types, lazy fields, the authorizer ---- */

static void test_objects(void **state) {
	autoarena struct arena *arena = arena_new();
	struct cel_env *env = cel_env_new();
	const struct cel_field inner_fields[] = {{"when", "when", &cel_timestamp}, {"data", "data", &cel_bytes}, {"ratio", "ratio", &cel_double}};
	struct cel_type *set = cel_list_of(arena, &cel_string);
	set->list_type = CEL_LIST_SET;
	const struct cel_field fields[] = {{"inner", "inner", cel_object_of(arena, "Inner", inner_fields, array_len(inner_fields))}, {"a__dash__b", "a-b", &cel_int}, {"set", "set", set}};
	cel_env_add(env, "self", cel_object_of(arena, "Outer", fields, array_len(fields)));
	json_t *json = json_loads("{\"inner\": {\"when\": \"2024-01-02T03:04:05Z\", \"data\": \"aGk=\", \"ratio\": 2}, \"a-b\": 7, \"set\": [\"x\", \"y\"]}", 0, NULL);
	static const struct {
		const char *expression;
		bool good;
	} rows[] = {
		{"self.inner.when.getFullYear() == 2024", true}, {"self.inner.data == b'hi'", true}, {"self.inner.ratio == 2.0", true}, {"self.a__dash__b == 7", true}, {"has(self.a__dash__b)", true}, {"self.set == ['y', 'x']", true},
		{"self.set + ['x', 'z'] == ['x', 'y', 'z']", true}, {"self.nope == 1", false}, {"self.inner.when == 'x'", false}, {"self.a__dash__b == 'x'", false}, {"self.set.exists(x, x == 1)", false},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		autocel struct cel_program *program = NULL;
		autoerror struct error err = {0};
		assert_int_equal(cel_compile(env, rows[i].expression, &program, &err), rows[i].good ? 0 : -EINVAL);
		if (!rows[i].good)
			continue;
		autorun struct cel_run *run = cel_run_new(CEL_REQUEST_BUDGET);
		const struct cel_binding binding = {"self", cel_from_json(run, json, env->variables[0].type)};
		struct cel_value value;
		assert_int_equal(cel_evaluate(program, run, &binding, 1, &value, &err), 0);
		if (value.kind != CEL_BOOL || !value.b)
			fail_msg("%s", rows[i].expression);
	}
	json_decref(json);
	cel_env_free(env);
}

static bool lazy_get(struct cel_run *run, void *arg, const char *field, struct cel_value *ret) {
	unsigned *asked = arg;
	if (strcmp(field, "answer") != 0)
		return false;
	(*asked)++;
	*ret = VALUE_INT(42);
	return true;
}

static void test_lazy(void **state) {
	struct cel_env *env = cel_env_new();
	struct arena *arena = cel_env_arena(env);
	const struct cel_field fields[] = {{"answer", "answer", &cel_int}};
	cel_env_add(env, "variables", cel_object_of(arena, "kubernetes.variables", fields, 1));
	autocel struct cel_program *program = NULL;
	assert_int_equal(cel_compile(env, "true || variables.answer == 1", &program, NULL), 0);
	assert_true(cel_program_uses(program, "variables"));
	assert_false(cel_program_uses(program, "object"));
	autorun struct cel_run *run = cel_run_new(1000);
	unsigned asked = 0;
	const struct cel_binding binding = {"variables", cel_lazy(run, lazy_get, &asked)};
	struct cel_value value;
	assert_int_equal(cel_evaluate(program, run, &binding, 1, &value, NULL), 0);
	assert_int_equal(asked, 0);
	program = cel_program_free(program);
	assert_int_equal(cel_compile(env, "variables.answer == 42", &program, NULL), 0);
	assert_int_equal(cel_evaluate(program, run, &binding, 1, &value, NULL), 0);
	assert_true(value.b);
	assert_int_equal(asked, 1);
	cel_env_free(env);
}

static bool authorize(void *arg, const struct cel_access *access, char **ret_reason, char **ret_error) {
	*ret_reason = xprintf("%s %s %s/%s %s", access->verb, str_or(access->path, str_or(access->group, "core")), str_or(access->resource, ""), str_or(access->name, ""), str_or(access->user_name, "me"));
	return strcmp(access->verb, "get") == 0;
}

static void test_authorizer(void **state) {
	static const char *const rows[] = {
		"authorizer.group('apps').resource('deployments').name('x').check('get').allowed()", "!authorizer.path('/healthz').check('post').allowed()", "authorizer.path('/healthz').check('get').reason() == 'get /healthz / me'",
		"authorizer.serviceAccount('ns', 'sa').group('').resource('pods').check('get').reason() == 'get core pods/ sa'", "authorizer.requestResource.check('get').reason() == 'get apps deployments/web me'", "!authorizer.requestResource.check('get').errored()",
	};
	struct cel_env *env = cel_env_new();
	cel_env_add(env, "authorizer", &cel_authorizer_type);
	cel_env_add(env, "authorizer.requestResource", &cel_resource_check_type);
	for (size_t i = 0; i < array_len(rows); i++) {
		autocel struct cel_program *program = NULL;
		autoerror struct error err = {0};
		assert_int_equal(cel_compile(env, rows[i], &program, &err), 0);
		autorun struct cel_run *run = cel_run_new(CEL_REQUEST_BUDGET);
		const struct cel_access access = {.group = "apps", .resource = "deployments", .name = "web"};
		const struct cel_binding bindings[] = {{"authorizer", cel_authorizer(run, authorize, NULL)}, {"authorizer.requestResource", cel_resource_check(run, authorize, NULL, &access)}};
		struct cel_value value;
		assert_int_equal(cel_evaluate(program, run, bindings, array_len(bindings), &value, &err), 0);
		if (value.kind != CEL_BOOL || !value.b)
			fail_msg("%s", rows[i]);
		assert_true(cel_run_last(run) >= 350000);
	}
	cel_env_free(env);
}

/* Numbers are those of Kubernetes' estimator for the same types. */
static void test_estimates(void **state) {
	static const struct {
		const char *expression;
		uint64_t cost;
	} rows[] = {
		{"true", 0U},
		{"self.n > 1", 3U},
		{"self.s == 'abc'", 3U},
		{"self.s == self.u", 6U},
		{"self.s + self.s == self.u", 14U},
		{"self.u.startsWith(self.s)", 6U},
		{"self.u.contains(self.s)", 629150U},
		{"self.s.matches('^[a-z]+$')", 8U},
		{"'a' in self.l", 6U},
		{"'a' in self.m", 3U},
		{"has(self.s) && self.s.size() > 2 || self.n == 1", 7U},
		{"self.n > 0 ? self.s == self.s : self.u == self.u", 314580U},
		{"self.l.all(x, x == 'ab')", 23U},
		{"self.l.all(x, self.l.exists(y, x == y))", 139U},
		{"self.l.filter(x, x != 'a').size() == 1", 75U},
		{"self.l.map(x, x + x).all(x, x.startsWith(x))", 98U},
		{"self.m.all(k, k.startsWith(k))", 18U},
		{"self.m.all(k, v, v.startsWith(k))", 18U},
		{"self.o.all(e, e.x.all(i, i > 0))", 360U},
		{"self.o[0].x.sum() == self.o[1].x.size()", 19U},
		{"self.l.join(',') == self.s", 10U},
		{"self.s.split('').size() == self.l.size()", 11U},
		{"self.u.replace('a', 'bcd').size() > 1", 629150U},
		{"self.u.replace('', 'bcd') == self.u", 943723U},
		{"sets.contains(self.l, ['a', 'b'])", 21U},
		{"self.l.distinct() == self.l", 48U},
		{"self.l.sort() == self.l.reverse()", 65U},
		{"lists.range(20).all(i, i >= 0)", 132U},
		{"self.?s.orValue('x') == 'y'", 4U},
		{"self.?s.optMap(v, v + v).hasValue()", 1844674407370955284U},
		{"isQuantity(self.s) && quantity(self.s).isGreaterThan(quantity('1'))", 10U},
		{"quantity('1') == quantity('2')", 3U},
		{"url(self.s) == url(self.u)", 629152U},
		{"cidr('10.0.0.0/8').containsIP(self.s)", 9U},
		{"format.dns1123Label().validate(self.s).hasValue()", 68U},
		{"string(bytes(self.s)) == self.s", 16U},
		{"dyn(self.n) == 1.0", 3U},
		{"[self.s, self.u][self.n] == 'a'", 18U},
		{"self.l.transformMap(i, v, v + 'x').size() == 2", 55U},
		{"{'a': self.s}.all(k, v, v == k)", 38U},
		{"self.l.max() == self.l[0]", 14U},
		{"[1, 2].exists_one(x, x == self.n)", 22U},
		{"self.s.find('[0-9]+') == ''", 8U},
	};
	(void)state;
	struct cel_env *env = cel_env_new();
	struct arena *arena = cel_env_arena(env);
	struct cel_type text = cel_string, any_text = cel_string, short_text = cel_string, letter = cel_string, *list = cel_list_of(arena, &short_text), *map = cel_map_of(arena, &cel_string, &letter);
	struct cel_type *numbers = cel_list_of(arena, &cel_int);
	const struct cel_field inner = {"x", "x", numbers};
	struct cel_type *objects = cel_list_of(arena, cel_object_of(arena, "self.o", &inner, 1));
	text.max_size = 20;
	any_text.max_size = (3 << 20) - 2;
	short_text.max_size = 8;
	letter.max_size = 4;
	list->max_size = 4;
	map->max_size = 3;
	objects->max_size = 7;
	numbers->max_size = 9;
	const struct cel_field fields[] = {{"s", "s", &text}, {"u", "u", &any_text}, {"l", "l", list}, {"m", "m", map}, {"n", "n", &cel_int}, {"o", "o", objects}};
	const struct cel_type *self = cel_object_of(arena, "self", fields, array_len(fields));
	cel_env_add(env, "self", self);
	cel_env_estimate(env, self);
	for (size_t i = 0; i < array_len(rows); i++) {
		autocel struct cel_program *program = NULL;
		autoerror struct error err = {0};
		if (cel_compile(env, rows[i].expression, &program, &err) < 0)
			fail_msg("%s: %s", rows[i].expression, error_message(&err));
		else if (cel_program_max_cost(program) != rows[i].cost)
			fail_msg("%s: %llu", rows[i].expression, (unsigned long long)cel_program_max_cost(program));
	}
	cel_env_free(env);
}

/* What may be said of devices, what it costs at most and what it comes to. */
static void test_devices(void **state) {
	static const struct {
		const char *expression;
		uint64_t cost;
		const char *mistake;
	} rows[] = {
		{"true", 0, NULL},
		{"1", 0, "must evaluate to bool or the unknown type, not int"},
		{"dyn(true)", 0, "must evaluate to bool or the unknown type, not dyn"},
		{"?!", 0, "compilation failed: ERROR: <input>:1:1: Syntax error"},
		{"", 0, "compilation failed: ERROR: <input>:1:0: Syntax error"},
		{"device.nothing == 1", 0, "compilation failed: ERROR: <input>:1:7: undefined field 'nothing'"},
		{"device.capacity[\"a\"].b", 0, "must evaluate to bool or the unknown type, not kubernetes.Quantity"},
		{"cel.bind(1, 2, true)", 0, "cel.bind() variable names must be simple identifiers"},
		{"device.attributes[\"no\"].no.isGreaterThan(quantity(\"0\"))", 6, NULL},
		{"\"no\" in device.attributes", 3, NULL},
		{"device.driver == \"\"", 2, NULL},
		{"device.driver == \"dra.example.com\"", 4, NULL},
		{"device.attributes[\"dra.example.com\"].name", 4, NULL},
		{"device.attributes[\"dra.example.com\"][\"name\"]", 4, NULL},
		{"cel.bind(dra, device.attributes[\"dra.example.com\"], dra.name)", 15, NULL},
		{"device.attributes[\"dra.example.com\"].name > 0", 5, NULL},
		{"device.attributes[\"dra.example.com\"].name == \"fish\"", 5, NULL},
		{"device.attributes[\"dra.example.com\"].name.isGreaterThan(semver(\"0.0.1\"))", 6, NULL},
		{"device.attributes[\"dra.example.com\"].name.isGreaterThan(semver(\"v0.0.1\", true)) && isSemver(\"v1.0.0\", true)", 7, NULL},
		{"device.capacity[\"dra.example.com\"].name.isGreaterThan(quantity(\"1Ki\"))", 6, NULL},
		{"\"name\" in device.capacity[\"dra.example.com\"] && device.capacity[\"dra.example.com\"].name.isGreaterThan(quantity(\"1Ki\"))", 10, NULL},
		{"device.attributes[\"d.e\"].a && device.attributes[\"d.e\"].b && device.attributes[\"d.e\"].c", 12, NULL},
		{"device.attributes.exists_one(x, x == \"dra.example.com\")", 164, NULL},
		{"device.attributes[\"dra.example.com\"].exists_one(x, x == \"services\")", 133, NULL},
		{"device.attributes[\"dra.example.com\"].services.split(\"example\").size() >= 2", 19, NULL},
		{"device.attributes[\"dra.example.com\"].services.matches(\"[^a]?sym\")", 18, NULL},
		{"device.capacity.exists_one(x, x == \"dra.example.com\")", 164, NULL},
		{"device.allowMultipleAllocations == true", 3, NULL},
		{"[1, 2, 3, 4, 5, 6, 7, 8, 9, 10].all(x, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].all(y, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].all(z, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].all(z2, [1, 2, 3, 4, 5, 6, 7, 8, 9, "
		 "10].all(z3, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].all(z4, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10].all(z5, int('1'.find('[0-9]*')) < 100)))))))", 85555551, NULL},
	};
	(void)state;
	for (size_t i = 0; i < array_len(rows); i++) {
		autocel struct cel_program *program = NULL;
		autoerror struct error err = {0};
		int r = device_expression_compile(rows[i].expression, &program, &err);
		if (rows[i].mistake) {
			assert_true(r < 0);
			if (!strstr(error_message(&err), rows[i].mistake))
				fail_msg("%s: %s", rows[i].expression, error_message(&err));
		} else if (r < 0) {
			fail_msg("%s: %s", rows[i].expression, error_message(&err));
		} else if (cel_program_max_cost(program) != rows[i].cost) {
			fail_msg("%s: %llu", rows[i].expression, (unsigned long long)cel_program_max_cost(program));
		}
	}
}

/* A name given to a value: what it stands for, where it is not seen, and where it cannot be. */
static void test_bindings(void **state) {
	static const struct {
		const char *expression, *json;
	} rows[] = {
		{"cel.bind(a, 'hello', cel.bind(b, 'world', a + b + b + a))", "\"helloworldworldhello\""},
		{"cel.bind(a, 1, a + 1) + cel.bind(a, 10, a)", "12"},
		{"cel.bind(a, 1, cel.bind(a, a + 1, a))", "2"},
		{"cel.bind(v, [1, 2], [2, 3].exists(e, e in v))", "true"},
		{"[1, 2].map(x, cel.bind(y, x * 2, y + x))", "[3,6]"},
		{"cel.bind(m, {'a': 1}, m.a)", "1"},
	};
	(void)state;
	struct cel_env *env = cel_env_new(), *without = cel_env_new();
	cel_env_allow_bindings(env);
	for (size_t i = 0; i < array_len(rows); i++) {
		autocel struct cel_program *program = NULL;
		autorun struct cel_run *run = cel_run_new(CEL_REQUEST_BUDGET);
		autoerror struct error err = {0};
		struct cel_value value;
		if (cel_compile(env, rows[i].expression, &program, &err) < 0 || cel_evaluate(program, run, NULL, 0, &value, &err) < 0)
			fail_msg("%s: %s", rows[i].expression, error_message(&err));
		json_t *json = cel_to_json(&value);
		autofree char *text = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);
		assert_string_equal(text, rows[i].json);
		json_decref(json);
	}
	autocel struct cel_program *program = NULL;
	autoerror struct error err = {0};
	assert_true(cel_compile(env, "cel.bind(a, 1, true) && a == 1", &program, &err) < 0);
	assert_non_null(strstr(error_message(&err), "undeclared reference to 'a'"));
	assert_true(cel_compile(without, "cel.bind(a, 1, true)", &program, &err) < 0);
	assert_non_null(strstr(error_message(&err), "undeclared reference to 'cel'"));
	cel_env_free(env);
	cel_env_free(without);
}

static void test_patches(void **state) {
	static const struct {
		const char *expression, *json;
	} rows[] = {
		{"Object{spec: Object.spec{replicas: 3, template: Object.spec.template{x: [1]}}}", "{\"spec\":{\"replicas\":3,\"template\":{\"x\":[1]}}}"},
		{"[JSONPatch{op: 'add', path: '/a/' + jsonpatch.escapeKey('x/y~z'), value: {'b': 1}}]", "[{\"op\":\"add\",\"path\":\"/a/x~1y~0z\",\"value\":{\"b\":1}}]"},
		{"Object{spec: Object.spec{?replicas: optional.none()}}", "{\"spec\":{}}"},
		{"JSONPatch{op: 1}", NULL},
		{"JSONPatch{nope: 'x'}", NULL},
		{"Objects{}", NULL},
	};
	struct cel_env *env = cel_env_new();
	cel_env_allow_patches(env);
	for (size_t i = 0; i < array_len(rows); i++) {
		autocel struct cel_program *program = NULL;
		autoerror struct error err = {0};
		int r = cel_compile(env, rows[i].expression, &program, &err);
		if (!rows[i].json) {
			assert_int_equal(r, -EINVAL);
			continue;
		}
		if (r < 0)
			fail_msg("%s", error_message(&err));
		autorun struct cel_run *run = cel_run_new(CEL_REQUEST_BUDGET);
		struct cel_value value;
		assert_int_equal(cel_evaluate(program, run, NULL, 0, &value, &err), 0);
		json_t *json = cel_to_json(&value);
		autofree char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
		assert_string_equal(text, rows[i].json);
		json_decref(json);
	}
	cel_env_free(env);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases), cmocka_unit_test(test_nesting), cmocka_unit_test(test_length), cmocka_unit_test(test_budget), cmocka_unit_test(test_objects), cmocka_unit_test(test_lazy), cmocka_unit_test(test_authorizer), cmocka_unit_test(test_estimates), cmocka_unit_test(test_devices), cmocka_unit_test(test_bindings), cmocka_unit_test(test_patches),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

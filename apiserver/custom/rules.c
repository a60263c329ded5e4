/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/custom/rules.h"
#include "common/base/map.h"
#include "common/cel/schema.h"

#include <ctype.h>
#include <errno.h>

static const char *text(json_t *object, const char *key) {
	const char *s = json_string_value(json_object_get(object, key));
	return s ? s : "";
}

static bool flag(json_t *object, const char *key) {
	return json_is_true(json_object_get(object, key));
}

/* ---- one rule ---- */

struct rule_scope {
	const struct cel_type *type;
	struct cel_env *plain, *optional; /* by what oldSelf is */
};

struct rule_scope *rule_scope_new(json_t *schema, bool root) {
	struct rule_scope *scope = xnew(struct rule_scope);
	scope->plain = cel_env_new();
	scope->optional = cel_env_new();
	struct arena *arena = cel_env_arena(scope->plain);
	scope->type = cel_type_of_schema(arena, schema, NULL, "selfType", root);
	if (!scope->type)
		return rule_scope_free(scope);
	cel_env_estimate(scope->plain, scope->type);
	cel_env_estimate(scope->optional, scope->type);
	cel_env_add(scope->plain, "self", scope->type);
	cel_env_add(scope->plain, "oldSelf", scope->type);
	cel_env_add(scope->optional, "self", scope->type);
	cel_env_add(scope->optional, "oldSelf", cel_optional_of(arena, scope->type));
	return scope;
}

struct rule_scope *rule_scope_free(struct rule_scope *scope) {
	if (scope) {
		cel_env_free(scope->plain);
		cel_env_free(scope->optional);
		free(scope);
	}
	return NULL;
}

const struct cel_type *rule_scope_type(const struct rule_scope *scope) {
	return scope->type;
}

int rule_compile(const struct rule_scope *scope, enum rule_part part, bool optional_old_self, const char *expression, struct cel_program **ret, struct error *err) {
	static const char instantiation[] = "program instantiation failed";
	autocel struct cel_program *program = NULL;
	autoerror struct error why = {0};
	bool message = part == RULE_MESSAGE;
	if (cel_compile(optional_old_self ? scope->optional : scope->plain, expression, &program, &why) < 0) {
		const char *told = error_message(&why);
		if (!message)
			return error_move(err, &why);
		return error_set(err, EINVAL, "messageExpression %s", str_starts_with(told, instantiation) ? told + strlen("program ") : told);
	}
	enum cel_kind kind = cel_program_type(program)->kind;
	if (kind != (message ? CEL_STRING : CEL_BOOL))
		return error_set(err, EINVAL, "%s", message ? "messageExpression must evaluate to a string" : "cel expression must evaluate to a bool");
	*ret = take_ptr(program);
	return 0;
}

bool rule_uses_old(const struct cel_program *program) {
	return cel_program_uses(program, "oldSelf");
}

/* The text between single quotes, without its escapes; p behind the first. NULL where it does not end. */
static const char *read_quoted(const char *p, struct buf *out) {
	static const char letters[] = "abfnrtv'\\", values[] = "\a\b\f\n\r\t\v'\\";
	for (; *p && *p != '\''; p++) {
		const char *letter = *p == '\\' && p[1] ? strchr(letters, p[1]) : NULL;
		if (*p == '\\' && !letter)
			return NULL;
		buf_append_char(out, letter ? values[letter - letters] : *p);
		p += letter != NULL;
	}
	return *p ? p + 1 : NULL;
}

char *rule_field_path(json_t *schema, const char *path) {
	struct buf out = BUF_INIT(64 << 10);
	const char *p = path;
	bool good = *p;
	while (good && *p) {
		autobuf struct buf name = BUF_INIT(64 << 10);
		if (*p == '[') {
			p = p[1] == '\'' ? read_quoted(p + 2, &name) : NULL;
			good = p && *p++ == ']';
		} else if (*p == '.') {
			size_t len = strcspn(++p, ".[]");
			buf_append(&name, p, len);
			p += len;
			good = len > 0;
		} else {
			good = false;
		}
		json_t *properties = json_object_get(schema, "properties"), *more = json_object_get(schema, "additionalProperties");
		const char *key = name.data ? name.data : "";
		schema = json_is_object(properties) ? json_object_get(properties, key) : json_is_object(more) ? more : NULL;
		good = good && schema;
		if (json_is_object(properties))
			buf_printf(&out, "%s%s", out.len ? "." : "", key);
		else
			buf_printf(&out, "[%s]", key);
	}
	if (good)
		return buf_take(&out);
	buf_done(&out);
	return NULL;
}

/* ---- all rules of a schema ---- */

struct rule {
	json_t *json;
	struct cel_program *program, *message;
	char *error; /* why it could not be compiled */
	char *path;  /* of the field it is about; NULL: the value itself */
	bool uses_old, optional_old;
};
struct rules {
	json_t *schema;
	struct rule_scope *scope;
	struct rule *rules;
	size_t count;
	struct map fields; /* struct rules */
	struct rules *items, *more;
	bool root;
};

static void free_rules(void *rules) {
	rules_free(rules);
}

void rules_free(struct rules *rules) {
	if (!rules)
		return;
	for (size_t i = 0; i < rules->count; i++) {
		cel_program_free(rules->rules[i].program);
		cel_program_free(rules->rules[i].message);
		free(rules->rules[i].error);
		free(rules->rules[i].path);
	}
	free(rules->rules);
	rule_scope_free(rules->scope);
	map_done(&rules->fields);
	rules_free(rules->items);
	rules_free(rules->more);
	free(rules);
}

static struct rule compile(const struct rules *rules, json_t *json) {
	struct rule rule = {.json = json, .optional_old = flag(json, "optionalOldSelf")};
	autoerror struct error err = {0};
	const char *message = text(json, "messageExpression"), *path = text(json, "fieldPath");
	if (!rules->scope) {
		rule.error = xstrdup("failed to convert to declType for CEL validation rules");
	} else if (rule_compile(rules->scope, RULE_ITSELF, rule.optional_old, text(json, "rule"), &rule.program, &err) < 0) {
		rule.error = xstrdup(error_message(&err));
	} else {
		rule.uses_old = rule_uses_old(rule.program);
		if (*message)
			rule_compile(rules->scope, RULE_MESSAGE, rule.optional_old, message, &rule.message, NULL);
	}
	rule.path = *path ? rule_field_path(rules->schema, path) : NULL;
	return rule;
}

static struct rules *build(json_t *schema, bool root) {
	json_t *given = json_object_get(schema, "x-kubernetes-validations"), *items = json_object_get(schema, "items"), *more = json_object_get(schema, "additionalProperties"), *inner;
	const char *key;
	struct rules *rules = xnew(struct rules);
	rules->schema = schema;
	rules->root = root;
	rules->fields = MAP_INIT(free_rules);
	json_object_foreach(json_object_get(schema, "properties"), key, inner) {
		struct rules *below = json_is_object(inner) ? build(inner, flag(inner, "x-kubernetes-embedded-resource")) : NULL;
		if (below)
			map_set(&rules->fields, key, below);
	}
	if (json_is_object(items))
		rules->items = build(items, flag(items, "x-kubernetes-embedded-resource"));
	if (json_is_object(more))
		rules->more = build(more, flag(more, "x-kubernetes-embedded-resource"));
	if (json_array_size(given)) {
		rules->scope = rule_scope_new(schema, root);
		rules->rules = xcalloc(json_array_size(given), sizeof(*rules->rules));
		for (; rules->count < json_array_size(given); rules->count++)
			rules->rules[rules->count] = compile(rules, json_array_get(given, rules->count));
	}
	if (rules->count || rules->fields.len || rules->items || rules->more)
		return rules;
	rules_free(rules);
	return NULL;
}

struct rules *rules_new(json_t *schema) {
	return json_is_object(schema) ? build(schema, true) : NULL;
}

/* ---- checking ---- */

struct checking {
	struct error *causes;
	void (*warn)(const char *text, void *arg);
	void *arg;
	uint64_t budget;
	bool stopped;
};
/* A value, what stood there before, and the nearest pair above it of which both are known. */
struct spot {
	json_t *now, *old, *near_now, *near_old;
	const char *path; /* "": the root */
};

static bool unchanged(const struct spot *spot) {
	if (spot->old)
		return json_equal(spot->now, spot->old);
	return spot->near_old && json_equal(spot->near_now, spot->near_old);
}

static const char *rule_text(json_t *rule, struct buf *out) {
	const char *s = *text(rule, "message") ? text(rule, "message") : text(rule, "rule");
	s += strspn(s, " \t\r\n");
	size_t len = strlen(s);
	while (len && strchr(" \t\r\n", s[len - 1]))
		len--;
	buf_append(out, s, len);
	return out->data ? out->data : "";
}

static const char *shown_path(const struct spot *spot) {
	return *spot->path ? spot->path : "<nil>";
}

static void complain(struct checking *c, const struct spot *spot, const char *type, const char *fmt, ...) printf_like(4, 5);
static void complain(struct checking *c, const struct spot *spot, const char *type, const char *fmt, ...) {
	struct buf message = BUF_INIT(64 << 10);
	va_list args;
	va_start(args, fmt);
	buf_vprintf(&message, fmt, args);
	va_end(args);
	error_cause(c->causes, "FieldValueInvalid", shown_path(spot), "Invalid value: \"%s\": %s", type, message.data ? message.data : "");
	buf_done(&message);
}

/* What the messageExpression says, within bounds; malloc, NULL: nothing that can be used. */
static char *message_of(const struct rule *rule, struct cel_run *run, const struct cel_binding *bindings) {
	struct cel_value value;
	if (!rule->message || cel_evaluate(rule->message, run, bindings, 2, &value, NULL) < 0 || value.kind != CEL_STRING)
		return NULL;
	while (value.len && strchr(" \t\r\n\v\f", *value.s)) {
		value.s++;
		value.len--;
	}
	while (value.len && strchr(" \t\r\n\v\f", value.s[value.len - 1]))
		value.len--;
	if (!value.len || value.len > CEL_MAX_MESSAGE || memchr(value.s, '\n', value.len))
		return NULL;
	return xstrndup(value.s, value.len);
}

static void refuse(struct checking *c, const struct spot *spot, const struct rule *rule, const char *detail) {
	const char *reason = *text(rule->json, "reason") ? text(rule->json, "reason") : "FieldValueInvalid";
	bool whole = json_is_object(spot->now) || json_is_array(spot->now);
	autofree char *value = whole ? NULL : json_dumps(spot->now, JSON_ENCODE_ANY | JSON_COMPACT), *message = NULL;
	autofree char *path = !rule->path ? xstrdup(shown_path(spot)) : *spot->path ? xprintf("%s%s%s", spot->path, *rule->path == '[' ? "" : ".", rule->path) : xstrdup(rule->path);
	if (strcmp(reason, "FieldValueForbidden") == 0)
		message = xprintf("Forbidden: %s", detail);
	else if (strcmp(reason, "FieldValueRequired") == 0)
		message = xprintf("Required value: %s", detail);
	else if (strcmp(reason, "FieldValueDuplicate") == 0)
		message = xprintf("Duplicate value%s%s", value ? ": " : "", value ? value : "");
	else
		message = value ? xprintf("Invalid value: %s: %s", value, detail) : xprintf("Invalid value: %s", detail);
	if (rule->uses_old || !unchanged(spot)) {
		error_cause(c->causes, reason, path, "%s", message);
		return;
	}
	autofree char *warning = xprintf("%s: %s", path, message);
	c->warn(warning, c->arg);
}

#define OUT_OF_BUDGET "validation failed due to running out of cost budget, no further validation rules will be run"

/* False where no more rules may run. */
static bool run_rule(struct checking *c, const struct spot *spot, const struct rule *rule, struct cel_run *run, const struct cel_binding *bindings, const char *type) {
	autoerror struct error err = {0};
	autobuf struct buf told = BUF_INIT(64 << 10);
	struct cel_value value;
	int r = cel_evaluate(rule->program, run, bindings, 2, &value, &err);
	const char *why = error_message(&err);
	if (r == -EDQUOT) {
		if (cel_run_left(run))
			complain(c, spot, type, "'%s': no further validation rules will be run due to call cost exceeds limit for rule: %s", why, rule_text(rule->json, &told));
		else
			complain(c, spot, type, OUT_OF_BUDGET);
		return false;
	}
	if (r < 0 && str_starts_with(why, "no such overload"))
		complain(c, spot, type, "'%s': call arguments did not match a supported operator, function or macro signature for rule: %s", why, rule_text(rule->json, &told));
	else if (r < 0)
		complain(c, spot, type, "%s evaluating rule: %s", why, rule_text(rule->json, &told));
	if (r < 0 || (value.kind == CEL_BOOL && value.b))
		return true;
	autofree char *message = message_of(rule, run, bindings), *usual = NULL;
	if (!message) {
		const char *shown = rule_text(rule->json, &told);
		usual = *text(rule->json, "message") ? xstrdup(shown) : xprintf("failed rule: %s", shown);
	}
	refuse(c, spot, rule, message ? message : usual);
	return true;
}

static void run_rules(struct checking *c, const struct rules *rules, const struct spot *spot) {
	const char *type = text(rules->schema, "type");
	if (!rules->count)
		return;
	if (!c->budget) {
		complain(c, spot, type, OUT_OF_BUDGET);
		c->stopped = true;
		return;
	}
	autorun struct cel_run *run = cel_run_new(c->budget);
	const struct cel_type *declared = rules->scope ? rule_scope_type(rules->scope) : NULL;
	struct cel_value self = cel_from_json(run, spot->now, declared), old = cel_from_json(run, spot->old, declared);
	const struct cel_binding plain[] = {{"self", self}, {"oldSelf", old}}, optional[] = {{"self", self}, {"oldSelf", cel_optional(run, spot->old ? &old : NULL)}};
	for (size_t i = 0; i < rules->count && !c->stopped; i++) {
		const struct rule *rule = &rules->rules[i];
		if (!rule->program)
			complain(c, spot, type, "rule compile error: %s", rule->error);
		else if (!rule->uses_old || spot->old || rule->optional_old)
			c->stopped = !run_rule(c, spot, rule, run, rule->optional_old ? optional : plain, type);
	}
	c->budget = cel_run_left(run);
}

static void check(struct checking *c, const struct rules *rules, const struct spot *spot);

static void check_below(struct checking *c, const struct rules *below, const struct spot *above, json_t *now, json_t *old, char *take_path) {
	struct spot spot = {.now = now, .old = old, .near_now = above->near_now, .near_old = above->near_old, .path = take_path};
	if (above->old) {
		spot.near_now = above->now;
		spot.near_old = above->old;
	}
	check(c, below, &spot);
	free(take_path);
}

/* The item of the old list that has the same keys; NULL where lists cannot be told apart so, or there is none. */
static json_t *same_item(json_t *schema, json_t *old, json_t *item) {
	json_t *keys = json_object_get(schema, "x-kubernetes-list-map-keys");
	if (strcmp(text(schema, "x-kubernetes-list-type"), "map") != 0 || !json_is_object(item))
		return NULL;
	for (size_t i = 0; i < json_array_size(old); i++) {
		json_t *other = json_array_get(old, i);
		bool same = json_is_object(other);
		for (size_t k = 0; same && k < json_array_size(keys); k++) {
			const char *key = json_string_value(json_array_get(keys, k));
			json_t *a = json_object_get(item, key ? key : ""), *b = json_object_get(other, key ? key : "");
			same = a && b ? json_equal(a, b) : a == b;
		}
		if (same)
			return other;
	}
	return NULL;
}

static void check(struct checking *c, const struct rules *rules, const struct spot *spot) {
	if (!spot->now || json_is_null(spot->now) || c->stopped)
		return;
	run_rules(c, rules, spot);
	bool atomic = strcmp(text(rules->schema, "x-kubernetes-map-type"), "atomic") == 0;
	if (json_is_array(spot->now) && rules->items)
		for (size_t i = 0; i < json_array_size(spot->now) && !c->stopped; i++) {
			json_t *item = json_array_get(spot->now, i);
			check_below(c, rules->items, spot, item, same_item(rules->schema, spot->old, item), xprintf("%s[%zu]", spot->path, i));
		}
	const char *key;
	json_t *member;
	if (!json_is_object(spot->now))
		return;
	json_object_foreach(spot->now, key, member) {
		const struct rules *field = map_get(&rules->fields, key);
		json_t *old = atomic ? NULL : json_object_get(spot->old, key);
		if (c->stopped)
			return;
		if (field)
			check_below(c, field, spot, member, old, *spot->path ? xprintf("%s.%s", spot->path, key) : xstrdup(key));
		else if (rules->more)
			check_below(c, rules->more, spot, member, old, xprintf("%s[%s]", spot->path, key));
	}
}

void rules_check(const struct rules *rules, json_t *object, json_t *old, struct error *causes, void (*warn)(const char *text, void *arg), void *arg) {
	struct checking c = {causes, warn, arg, CEL_REQUEST_BUDGET, false};
	const struct spot spot = {.now = object, .old = old, .path = ""};
	check(&c, rules, &spot);
}

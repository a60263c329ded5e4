/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/validation/rules.h"
#include "apiserver/custom/rules.h"
#include "common/api/codec.h"

typedef struct apiextensions_v1_json_schema_props schema_t;

static bool is_blank(const char *text) {
	return text[strspn(text, " \t\r\n")] == '\0';
}

static json_t *tree_of(const schema_t *s) {
	autobuf struct buf text = BUF_INIT(BUF_MAX_DEFAULT);
	api_encode_json(&apiextensions_v1_json_schema_props_type, s, &text);
	return json_loadb(text.data, text.len, 0, NULL);
}

/* `tree` is that of the schema, made where it is wanted first. */
static void check_field_path(const schema_t *s, json_t **tree, const char *field, const struct path *at, struct error *err) {
	if (!*tree)
		*tree = tree_of(s);
	autofree char *found = rule_field_path(*tree, field);
	if (!found)
		invalid(err, AT("fieldPath"), field, "must be a valid path");
}

void check_rules(const schema_t *s, const struct path *at, struct error *err) {
	static const char *const reasons[] = {"FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired", NULL};
	json_t *tree = NULL;
	for (uint32_t i = 0; i < s->x_kubernetes_validations.len; i++) {
		const struct apiextensions_v1_validation_rule *rule = &s->x_kubernetes_validations.items[i];
		const char *text = str_or(rule->rule, ""), *message = str_or(rule->message, ""), *field = str_or(rule->field_path, "");
		struct path here = PATH_INDEX(at, "x-kubernetes-validations", i);
		/* A line break at either end does not count. */
		const char *start = text + strspn(text, " \t\r\n"), *break_in = strpbrk(start, "\r\n"), *message_start = message + strspn(message, " \t\r\n"), *message_break = strpbrk(message_start, "\r\n");
		bool lines = break_in && !is_blank(break_in);
		if (is_blank(text))
			required(err, &PATH(&here, "rule"), "rule is not specified");
		else if (*message && is_blank(message))
			invalid(err, &PATH(&here, "message"), message, "must be non-empty if specified");
		else if (message_break && !is_blank(message_break))
			invalid(err, &PATH(&here, "message"), message, "must not contain line breaks");
		else if (lines && is_blank(message))
			required(err, &PATH(&here, "message"), "message must be specified if rule contains line breaks");
		if (!str_empty(rule->message_expression) && is_blank(rule->message_expression))
			required(err, &PATH(&here, "messageExpression"), "messageExpression must be non-empty if specified");
		if (rule->reason)
			check_enum(rule->reason, reasons, &PATH(&here, "reason"), err);
		if (*field && is_blank(field))
			invalid(err, &PATH(&here, "fieldPath"), field, "must be non-empty if specified");
		if (strpbrk(field, "\r\n"))
			invalid(err, &PATH(&here, "fieldPath"), field, "must not contain line breaks");
		if (*field)
			check_field_path(s, &tree, field, &here, err);
	}
	json_decref(tree);
}

/* ---- what they may cost ---- */

#define RULE_LIMIT 10000000u
#define SCHEMA_LIMIT 100000000u
#define REQUEST_SIZE (3u << 20)
#define LIMITS_HINT "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"

struct cardinality cardinality_below(struct cardinality here, const schema_t *s) {
	bool map = str_equal(s->type, "object") && s->additional_properties, list = str_equal(s->type, "array");
	const int64_t *most = map ? s->max_properties : list ? s->max_items : NULL;
	struct cardinality below = here;
	if (!here.bounded || !(map || list))
		return below;
	if (!most)
		return (struct cardinality){0};
	if (__builtin_mul_overflow(here.most, (uint64_t)max_of(*most, (int64_t)0), &below.most))
		below.most = UINT64_MAX;
	return below;
}

static void over_budget(struct error *err, const struct path *at, const char *what, uint64_t cost, uint64_t limit) {
	double factor = (double)cost / (double)limit;
	if (factor > 100)
		forbidden(err, at, "%s exceeds budget by factor of more than 100x " LIMITS_HINT, what);
	else
		forbidden(err, at, "%s exceeds budget by factor of %.*fx " LIMITS_HINT, what, factor < 1.5 ? 6 : 1, factor);
}

static void bill(struct rule_check *check, const struct path *at, const char *what, uint64_t cost) {
	if (!check->unchanged && cost > RULE_LIMIT)
		over_budget(&check->err, at, what, cost, RULE_LIMIT);
	if (__builtin_add_overflow(check->total, cost, &check->total))
		check->total = UINT64_MAX;
	if (cost < SCHEMA_LIMIT / 100)
		return;
	unsigned i = array_len(check->dearest) - 1;
	if (check->dearest[i].path && check->dearest[i].cost >= cost)
		return;
	free(check->dearest[i].path);
	for (; i && (!check->dearest[i - 1].path || check->dearest[i - 1].cost < cost); i--)
		check->dearest[i] = check->dearest[i - 1];
	autobuf struct buf place = BUF_INIT(64 << 10);
	path_write(at, &place);
	check->dearest[i] = (struct dear_rule){cost, buf_take(&place)};
}

void rule_check_done(struct rule_check *check, const struct path *at, struct error *err) {
	for (size_t i = 0; i < check->err.cause_count; i++)
		error_cause(err, check->err.causes[i].reason, check->err.causes[i].field, "%s", check->err.causes[i].message);
	for (size_t i = 0; i < array_len(check->dearest); i++) {
		if (check->dearest[i].path && check->total > SCHEMA_LIMIT)
			error_cause(err, "FieldValueForbidden", check->dearest[i].path, "Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema");
		free(check->dearest[i].path);
	}
	if (check->total > SCHEMA_LIMIT)
		over_budget(err, at, "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema", check->total, SCHEMA_LIMIT);
	error_done(&check->err);
}

/* ---- what they say ---- */

/* As the whole rule is shown. */
static void invalid_rule(struct error *err, const struct path *at, const struct apiextensions_v1_validation_rule *rule, const char *why) {
	const char *texts[][2] = {{"Rule", rule->rule}, {"Message", rule->message}, {"MessageExpression", rule->message_expression}, {"Reason", rule->reason}, {"FieldPath", rule->field_path}};
	autobuf struct buf shown = BUF_INIT(1 << 20), place = BUF_INIT(64 << 10);
	for (size_t i = 0; i < array_len(texts); i++) {
		buf_printf(&shown, "%s\"%s\":", i ? "," : "{", texts[i][0]);
		if (!texts[i][1] && strcmp(texts[i][0], "Reason") == 0)
			buf_append_str(&shown, "null");
		else
			api_append_json_string(&shown, str_or(texts[i][1], ""), strlen(str_or(texts[i][1], "")));
	}
	buf_printf(&shown, ",\"OptionalOldSelf\":%s}", !rule->optional_old_self ? "null" : *rule->optional_old_self ? "true" : "false");
	path_write(at, &place);
	error_cause(err, "FieldValueInvalid", place.data, "Invalid value: %s: %s", shown.data, why);
}

static uint64_t all_times(const struct cel_program *program, const struct rule_scope *scope, struct cardinality cardinality) {
	uint64_t cost = cel_program_max_cost(program), product;
	uint64_t most = cardinality.bounded ? cardinality.most : REQUEST_SIZE / (rule_scope_type(scope)->min_json + 1);
	return __builtin_mul_overflow(cost, most, &product) ? UINT64_MAX : product;
}

static void compile_rule(const struct rule_scope *scope, const struct apiextensions_v1_validation_rule *rule, const struct rule_place *place, const struct path *at, struct rule_check *check) {
	autocel struct cel_program *program = NULL, *message = NULL;
	autoerror struct error why = {0}, message_why = {0};
	struct error *err = &check->err;
	bool optional = rule->optional_old_self && *rule->optional_old_self;
	if (is_blank(str_or(rule->rule, "")))
		return;
	if (rule_compile(scope, RULE_ITSELF, optional, rule->rule, &program, &why) < 0) {
		invalid_rule(err, AT("rule"), rule, error_message(&why));
		if (rule->optional_old_self)
			invalid_bool(err, AT("optionalOldSelf"), optional, "may not be set if oldSelf is not used in rule");
		return;
	}
	bill(check, AT("rule"), "estimated rule cost", all_times(program, scope, place->cardinality));
	if (!str_empty(rule->message_expression) && rule_compile(scope, RULE_MESSAGE, optional, rule->message_expression, &message, &message_why) < 0)
		invalid_rule(err, AT("messageExpression"), rule, error_message(&message_why));
	if (message)
		bill(check, AT("messageExpression"), "estimated messageExpression cost", cel_program_max_cost(message));
	if (rule_uses_old(program) && place->uncorrelatable) {
		autobuf struct buf path = BUF_INIT(64 << 10);
		path_write(place->uncorrelatable, &path);
		invalid(err, AT("rule"), rule->rule, "oldSelf cannot be used on the uncorrelatable portion of the schema within %s", path.data);
	} else if (!rule_uses_old(program) && rule->optional_old_self) {
		invalid_bool(err, AT("optionalOldSelf"), optional, "may not be set if oldSelf is not used in rule");
	}
}

/* What their schema knows is what rules may speak of. */
void compile_rules(const schema_t *s, const struct rule_place *place, const struct path *at, struct rule_check *check) {
	if (!s->x_kubernetes_validations.len)
		return;
	json_t *tree = tree_of(s);
	struct rule_scope *scope = rule_scope_new(tree, place->whole);
	json_decref(tree);
	for (uint32_t i = 0; scope && i < s->x_kubernetes_validations.len; i++)
		compile_rule(scope, &s->x_kubernetes_validations.items[i], place, AT_INDEX("x-kubernetes-validations", i), check);
	rule_scope_free(scope);
}

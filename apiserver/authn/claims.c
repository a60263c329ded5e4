/* SPDX-License-Identifier: Apache-2.0 */
/* From the claims of a token to a user: by the names of claims, or by expressions. */
#include "apiserver/authn/jwt.h"
#include "common/token/jwt.h"

#include <errno.h>
#include <math.h>

#define NOT_BEFORE_LEEWAY 300 /* seconds */
#define MAX_LIST 10000        /* groups, or values of an extra */

/* ---- the token's own ---- */

static bool moment(const json_t *claims, const char *name, double *ret) {
	const json_t *value = json_object_get(claims, name);
	if (!json_is_number(value))
		return false;
	*ret = json_number_value(value);
	return isfinite(*ret);
}

static int check_own(const struct apiserver_v1_issuer *issuer, const json_t *claims, int64_t now, struct error *err) {
	double expires, begins;
	bool ours = false;
	for (uint32_t i = 0; i < issuer->audiences.len; i++)
		ours |= jwt_is_for(claims, issuer->audiences.items[i]);
	if (!ours)
		return error_set(err, EACCES, "oidc: verify token: the token is for none of the audiences that are expected");
	if (!moment(claims, "exp", &expires) || expires <= (double)now)
		return error_set(err, EACCES, "oidc: verify token: token is expired");
	if (moment(claims, "nbf", &begins) && begins > (double)(now + NOT_BEFORE_LEEWAY))
		return error_set(err, EACCES, "oidc: verify token: token is not valid yet");
	return 0;
}

/* ---- by names ---- */

static int claim_text(const json_t *claims, const char *name, const char *what, const char **ret, struct error *err) {
	const json_t *value = json_object_get(claims, name);
	if (!value)
		return error_set(err, EACCES, "oidc: parse %s \"%s\": claim not present", what, name);
	if (!json_is_string(value) && !json_is_null(value))
		return error_set(err, EACCES, "oidc: parse %s \"%s\": it is no string", what, name);
	*ret = str_or(json_string_value(value), "");
	return 0;
}

static const char *prefixed(struct arena *arena, const char *prefix, const char *text) {
	return arena_printf(arena, "%s%s", str_or(prefix, ""), text);
}

static int username_by_claim(const struct apiserver_v1_prefixed_claim_or_expression *mapping, const json_t *claims, struct arena *arena, struct user *user, struct error *err) {
	const char *name;
	int rc = claim_text(claims, mapping->claim, "username claims", &name, err);
	if (rc < 0)
		return rc;
	const json_t *verified = str_equal(mapping->claim, "email") ? json_object_get(claims, "email_verified") : NULL;
	if (verified && !json_is_boolean(verified))
		return error_set(err, EACCES, "oidc: parse 'email_verified' claim: it is no boolean");
	if (verified && !json_is_true(verified))
		return error_set(err, EACCES, "oidc: email not verified");
	user->name = prefixed(arena, mapping->prefix, name);
	return 0;
}

static int groups_by_claim(const struct apiserver_v1_prefixed_claim_or_expression *mapping, const json_t *claims, struct arena *arena, struct user *user, struct error *err) {
	const json_t *value = json_object_get(claims, mapping->claim);
	if (!value || json_is_null(value))
		return 0;
	bool one = json_is_string(value);
	size_t count = one ? 1 : json_array_size(value);
	if ((!one && !json_is_array(value)) || count > MAX_LIST)
		return error_set(err, EACCES, "oidc: parse groups claim \"%s\": it is no string or list of strings", mapping->claim);
	const char **groups = arena_calloc(arena, count + 1, sizeof(*groups));
	for (size_t i = 0; i < count; i++) {
		const json_t *item = one ? value : json_array_get(value, i);
		if (!json_is_string(item))
			return error_set(err, EACCES, "oidc: parse groups claim \"%s\": it is no string or list of strings", mapping->claim);
		groups[i] = prefixed(arena, mapping->prefix, json_string_value(item));
	}
	user->groups = groups;
	return 0;
}

/* ---- by expressions ---- */

struct evaluation {
	struct cel_run *run;
	struct cel_binding binding;
};

static int evaluate(struct evaluation *e, const struct cel_program *program, const char *what, struct cel_value *ret, struct error *err) {
	int rc = cel_evaluate(program, e->run, &e->binding, 1, ret, err);
	return rc < 0 ? error_context(err, "oidc: error evaluating %s", what) : 0;
}

static int text_of(struct evaluation *e, const struct cel_program *program, const char *what, struct arena *arena, const char **ret, struct error *err) {
	struct cel_value value;
	int rc = evaluate(e, program, what, &value, err);
	if (rc < 0)
		return rc;
	if (value.kind != CEL_STRING)
		return error_set(err, EACCES, "oidc: error evaluating %s: it must return a string", what);
	*ret = arena_strndup(arena, value.s, value.len);
	return 0;
}

/* A string or a list of strings; empty ones do not count. *ret NULL where none is left. */
static int list_of(struct evaluation *e, const struct cel_program *program, const char *what, struct arena *arena, const char *const **ret, struct error *err) {
	struct cel_value value;
	int rc = evaluate(e, program, what, &value, err);
	if (rc < 0)
		return rc;
	json_t *json = cel_to_json(&value);
	bool one = json_is_string(json), good = one || json_is_array(json) || json_is_null(json);
	size_t count = one ? 1 : json_array_size(json), len = 0;
	good = good && count <= MAX_LIST;
	const char **list = good ? arena_calloc(arena, count + 1, sizeof(*list)) : NULL;
	for (size_t i = 0; good && i < count; i++) {
		const json_t *item = one ? json : json_array_get(json, i);
		good = json_is_string(item);
		if (good && json_string_length(item))
			list[len++] = arena_strdup(arena, json_string_value(item));
	}
	json_decref(json);
	if (!good)
		return error_set(err, EACCES, "oidc: error evaluating %s: expression must return a string or a list of strings", what);
	*ret = len ? list : NULL;
	return 0;
}

static int check_rules(struct evaluation *e, const struct authn_rules *rules, const char *what, struct error *err) {
	for (size_t i = 0; i < rules->count; i++) {
		struct cel_value value;
		int rc = evaluate(e, rules->items[i].program, what, &value, err);
		if (rc < 0)
			return rc;
		if (value.kind != CEL_BOOL || !value.b)
			return error_set(err, EACCES, "oidc: error evaluating %s: validation expression '%s' failed: %s", what, rules->items[i].text, rules->items[i].message);
	}
	return 0;
}

/* Numbers of claims are doubles to expressions, whole ones too. A new reference. */
static json_t *with_doubles(json_t *value) {
	const char *key;
	json_t *item, *copy;
	size_t i;
	switch (json_typeof(value)) {
	case JSON_INTEGER:
		return json_real((double)json_integer_value(value));
	case JSON_ARRAY:
		copy = json_array();
		json_array_foreach(value, i, item)
			json_array_append_new(copy, with_doubles(item));
		return copy;
	case JSON_OBJECT:
		copy = json_object();
		json_object_foreach(value, key, item)
			json_object_set_new(copy, key, with_doubles(item));
		return copy;
	default:
		return json_incref(value);
	}
}

static void add_extra(struct user *user, const char *key, const char *const *values) {
	if (values)
		user->extra[user->extra_count++] = (struct user_extra){.key = key, .values = values};
}

static int map_claims(const struct authn_issuer *issuer, struct evaluation *e, const json_t *claims, struct arena *arena, struct user *user, struct error *err) {
	const struct apiserver_v1_claim_mappings *m = &issuer->spec->claim_mappings;
	int rc = issuer->username ? text_of(e, issuer->username, "username claim expression", arena, &user->name, err) : username_by_claim(&m->username, claims, arena, user, err);
	if (rc == 0 && issuer->username && !*user->name)
		rc = error_set(err, EACCES, "oidc: empty username via CEL expression is not allowed");
	if (rc == 0 && !str_empty(m->groups.claim))
		rc = groups_by_claim(&m->groups, claims, arena, user, err);
	else if (rc == 0 && issuer->groups)
		rc = list_of(e, issuer->groups, "group claim expression", arena, &user->groups, err);
	if (rc == 0 && !str_empty(m->uid.claim))
		rc = claim_text(claims, m->uid.claim, "uid claim", &user->uid, err);
	else if (rc == 0 && issuer->uid)
		rc = text_of(e, issuer->uid, "uid claim expression", arena, &user->uid, err);
	if (rc == 0 && user->uid)
		user->uid = arena_strdup(arena, user->uid);
	user->extra = arena_calloc(arena, issuer->extra.count + 1, sizeof(*user->extra));
	const char *jti = json_string_value(json_object_get(claims, "jti"));
	if (!str_empty(jti)) {
		const char **values = arena_calloc(arena, 2, sizeof(*values));
		values[0] = arena_printf(arena, "JTI=%s", jti);
		add_extra(user, "authentication.kubernetes.io/credential-id", values);
	}
	for (size_t i = 0; rc == 0 && i < issuer->extra.count; i++) {
		const char *const *values = NULL;
		rc = list_of(e, issuer->extra.items[i].program, "extra claim expression", arena, &values, err);
		add_extra(user, arena_strdup(arena, issuer->extra.items[i].message), values);
	}
	return rc;
}

static int check_required(const struct authn_issuer *issuer, const json_t *claims, struct error *err) {
	const struct apiserver_v1_claim_validation_rule_array *rules = &issuer->spec->claim_validation_rules;
	for (uint32_t i = 0; i < rules->len; i++) {
		const char *name = rules->items[i].claim;
		if (str_empty(name))
			continue;
		const json_t *value = json_object_get(claims, name);
		if (!value)
			return error_set(err, EACCES, "oidc: required claim %s not present in ID token", name);
		if (!json_is_string(value) || !str_equal(json_string_value(value), rules->items[i].required_value))
			return error_set(err, EACCES, "oidc: required claim %s value does not match", name);
	}
	return 0;
}

static json_t *texts(const char *const *list) {
	json_t *array = json_array();
	for (; list && *list; list++)
		json_array_append_new(array, json_string(*list));
	return array;
}

/* Rules about the user that came of it. */
static int check_user(const struct authn_config *config, const struct authn_issuer *issuer, const struct user *user, struct error *err) {
	if (!issuer->users.count)
		return 0;
	json_t *extra = json_object(), *tree = json_pack("{s:s, s:s, s:o, s:o}", "username", user->name, "uid", str_or(user->uid, ""), "groups", texts(user->groups), "extra", extra);
	for (size_t i = 0; tree && i < user->extra_count; i++)
		json_object_set_new(extra, user->extra[i].key, texts(user->extra[i].values));
	if (!tree)
		return error_set(err, EACCES, "oidc: the user's name is no good text");
	autorun struct cel_run *run = cel_run_new(CEL_REQUEST_BUDGET);
	struct evaluation e = {.run = run, .binding = {"user", cel_from_json(run, tree, config->user_type)}};
	int rc = check_rules(&e, &issuer->users, "user info validation rule", err);
	json_decref(tree);
	return rc;
}

int claims_user(const struct authn_config *config, const struct authn_issuer *issuer, json_t *claims, int64_t now, struct arena *arena, struct user **ret, struct error *err) {
	struct user *user = arena_new_type(arena, struct user);
	int rc = check_own(&issuer->spec->issuer, claims, now, err);
	if (rc < 0)
		return rc;
	json_t *doubles = with_doubles(claims);
	autorun struct cel_run *run = cel_run_new(CEL_REQUEST_BUDGET);
	struct evaluation e = {.run = run, .binding = {"claims", cel_from_json(run, doubles, NULL)}};
	rc = map_claims(issuer, &e, claims, arena, user, err);
	if (rc == 0)
		rc = check_required(issuer, claims, err);
	if (rc == 0)
		rc = check_rules(&e, &issuer->claims, "claim validation expression", err);
	if (rc == 0)
		rc = check_user(config, issuer, user, err);
	json_decref(doubles);
	if (rc < 0)
		return -EACCES;
	*ret = user;
	return 1;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The mode ABAC: --authorization-policy-file, a Policy of abac.authorization.kubernetes.io/v1beta1 a line, or the older form without a version. */
#include "apiserver/authz/modes.h"
#include "common/base/file.h"
#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>

#define MAX_FILE ((size_t)4 << 20)
#define VERSION "abac.authorization.kubernetes.io/v1beta1"

struct rule {
	const char *user, *group, *ns, *resource, *api_group, *path; /* "": none */
	bool readonly;
};
struct abac {
	struct arena *arena;
	struct rule *rules;
	size_t count;
};

void abac_free(struct abac *abac) {
	if (!abac)
		return;
	arena_free(abac->arena);
	free(abac->rules);
	free(abac);
}

static const char *text_of(struct abac *abac, const json_t *spec, const char *key) {
	const char *text = json_string_value(json_object_get(spec, key));
	return str_empty(text) ? "" : arena_strdup(abac->arena, text);
}

/* Every user means those who are known. */
static void every_user(struct rule *rule) {
	if (strcmp(rule->user, "*") != 0 && strcmp(rule->group, "*") != 0)
		return;
	rule->user = "";
	rule->group = "system:authenticated";
}

/* Without a version: whoever names nobody means all users, and what is not said is any. */
static struct rule old_rule(struct abac *abac, const json_t *line) {
	struct rule rule = {.user = text_of(abac, line, "user"), .group = text_of(abac, line, "group"), .ns = text_of(abac, line, "namespace"), .resource = text_of(abac, line, "resource"), .api_group = "*", .path = ""};
	rule.readonly = json_is_true(json_object_get(line, "readonly"));
	if (!*rule.user && !*rule.group)
		rule.group = "system:authenticated";
	every_user(&rule);
	bool anything = !*rule.ns && !*rule.resource;
	if (anything)
		rule.path = "*";
	rule.ns = str_or(rule.ns, "*");
	rule.resource = str_or(rule.resource, "*");
	return rule;
}

static struct rule new_rule(struct abac *abac, const json_t *spec) {
	struct rule rule = {.user = text_of(abac, spec, "user"), .group = text_of(abac, spec, "group"), .ns = text_of(abac, spec, "namespace"), .resource = text_of(abac, spec, "resource"), .api_group = text_of(abac, spec, "apiGroup"),
		.path = text_of(abac, spec, "nonResourcePath"), .readonly = json_is_true(json_object_get(spec, "readonly"))};
	every_user(&rule);
	return rule;
}

static int add_line(struct abac *abac, const char *line, size_t len, unsigned number, bool *ret_old, struct error *err) {
	json_error_t where;
	json_t *tree = json_loadb(line, len, JSON_REJECT_DUPLICATES, &where);
	const char *version = json_string_value(json_object_get(tree, "apiVersion")), *kind = json_string_value(json_object_get(tree, "kind"));
	int rc = 0;
	if (!json_is_object(tree))
		rc = error_set(err, EINVAL, "line %u: %s", number, tree ? "it is no object" : where.text);
	else if ((version || kind) && (!str_equal(version, VERSION) || !str_equal(kind, "Policy")))
		rc = error_set(err, EINVAL, "line %u: it is no Policy of " VERSION, number);
	if (rc == 0) {
		abac->rules = xreallocarray(abac->rules, abac->count + 1, sizeof(*abac->rules));
		abac->rules[abac->count++] = version ? new_rule(abac, json_object_get(tree, "spec")) : old_rule(abac, tree);
		*ret_old |= !version;
	}
	json_decref(tree);
	return rc;
}

int abac_parse(const char *text, size_t len, struct abac **ret, struct error *err) {
	struct abac *abac = xnew(struct abac);
	bool old = false;
	int rc = 0;
	abac->arena = arena_new();
	unsigned number = 0;
	for (const char *p = text, *end = text + len; rc == 0 && p < end;) {
		const char *next = memchr(p, '\n', (size_t)(end - p));
		size_t n = next ? (size_t)(next - p) : (size_t)(end - p), blank = 0;
		number++;
		while (blank < n && strchr(" \t\r", p[blank]) && p[blank])
			blank++;
		if (blank < n && p[blank] != '#')
			rc = add_line(abac, p + blank, n - blank, number, &old, err);
		p += n + 1;
	}
	if (rc < 0) {
		abac_free(abac);
		return rc;
	}
	if (old)
		log_warning("the ABAC policy file has rules without a version");
	*ret = abac;
	return 0;
}

static bool is_subject(const struct rule *rule, const struct user *user) {
	if (*rule->user && strcmp(rule->user, user->name) != 0)
		return false;
	if (*rule->group && !user_in_group(user, rule->group))
		return false;
	return *rule->user || *rule->group;
}

static bool reads(const char *verb) {
	return strcmp(verb, "get") == 0 || strcmp(verb, "list") == 0 || strcmp(verb, "watch") == 0;
}

static bool either(const char *said, const char *is) {
	return strcmp(said, "*") == 0 || str_equal(said, is);
}

static bool is_path(const char *said, const char *path) {
	size_t len = strlen(said);
	bool beneath = len && said[len - 1] == '*';
	while (len && said[len - 1] == '*')
		len--;
	return beneath ? strncmp(path, said, len) == 0 : strcmp(path, said) == 0;
}

static bool covers(const struct rule *rule, const struct authz_attributes *a) {
	if (!is_subject(rule, a->user) || (rule->readonly && !reads(a->verb)))
		return false;
	if (!a->is_resource)
		return *rule->path && is_path(rule->path, str_or(a->path, ""));
	return either(rule->ns, a->ns) && either(rule->resource, a->resource) && either(rule->api_group, a->group);
}

static int abac_open(struct apiserver *server, const struct apiserver_v1_authorizer_configuration *config, void **ret, struct error *err) {
	autofree char *text = NULL;
	size_t len;
	struct abac *abac;
	int rc = file_read(AT_FDCWD, str_or(server->options->authorization_policy_file, ""), MAX_FILE, &text, &len, err);
	if (rc == 0)
		rc = abac_parse(text, len, &abac, err);
	if (rc < 0)
		return error_context(err, "--authorization-policy-file");
	*ret = abac;
	return 0;
}

static void abac_close(void *state) {
	abac_free(state);
}

static enum authz_decision abac_decide(void *state, const struct authz_attributes *a, struct asks *asks, struct arena *arena, const char **ret_reason) {
	const struct abac *abac = state;
	for (size_t i = 0; i < abac->count; i++)
		if (covers(&abac->rules[i], a))
			return AUTHZ_ALLOW;
	*ret_reason = "No policy matched.";
	return AUTHZ_NO_OPINION;
}

static const char *abac_rules(void *state, const struct user *user, const char *ns, authz_rule_fn *fn, void *arg) {
	static const char *const all[] = {"*"}, *const reading[] = {"get", "list", "watch"};
	const struct abac *abac = state;
	for (size_t i = 0; i < abac->count; i++) {
		const struct rule *rule = &abac->rules[i];
		if (!is_subject(rule, user) || !either(rule->ns, ns))
			continue;
		struct rbac_v1_policy_rule as = {.verbs = {.items = (const char **)(rule->readonly ? reading : all), .len = rule->readonly ? 3 : 1}}, path = as;
		const char *group = rule->api_group, *resource = rule->resource, *url = rule->path;
		as.api_groups = (struct api_string_list){.items = &group, .len = 1};
		as.resources = (struct api_string_list){.items = &resource, .len = 1};
		path.non_resource_urls = (struct api_string_list){.items = &url, .len = 1};
		if (*resource)
			fn(&as, arg);
		if (*url)
			fn(&path, arg);
	}
	return NULL;
}

const struct authz_mode authz_mode_abac = {.type = "ABAC", .lasts = true, .open = abac_open, .close = abac_close, .decide = abac_decide, .rules = abac_rules};

/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/flow/match.h"

#define ACCOUNT_PREFIX "system:serviceaccount:"

/* "*" stands alone in its list. */
static bool list_matches(const struct api_string_list *list, const char *value) {
	return (list->len == 1 && strcmp(list->items[0], "*") == 0) || api_string_list_has(list, value);
}

static bool account_matches(const struct flowcontrol_v1_service_account_subject *account, const char *user) {
	size_t len = strlen(account->namespace);
	if (!str_starts_with(user, ACCOUNT_PREFIX))
		return false;
	user += strlen(ACCOUNT_PREFIX);
	if (strncmp(user, account->namespace, len) != 0 || user[len] != ':')
		return false;
	return str_equal(account->name, "*") || str_equal(user + len + 1, account->name);
}

static bool subject_matches(const struct flowcontrol_v1_subject *subject, const struct user *user) {
	if (str_equal(subject->kind, "User"))
		return subject->user && (str_equal(subject->user->name, "*") || str_equal(subject->user->name, user->name));
	if (str_equal(subject->kind, "Group"))
		return subject->group && (str_equal(subject->group->name, "*") || user_in_group(user, subject->group->name));
	if (str_equal(subject->kind, "ServiceAccount"))
		return subject->service_account && subject->service_account->namespace && account_matches(subject->service_account, user->name);
	return false;
}

static bool resource_matches(const struct api_string_list *resources, const struct request *r) {
	if (!r->subresource)
		return list_matches(resources, str_or(r->plural, ""));
	if (resources->len == 1 && strcmp(resources->items[0], "*") == 0)
		return true;
	size_t len = strlen(str_or(r->plural, ""));
	for (uint32_t i = 0; i < resources->len; i++)
		if (strncmp(resources->items[i], str_or(r->plural, ""), len) == 0 && resources->items[i][len] == '/' && strcmp(resources->items[i] + len + 1, r->subresource) == 0)
			return true;
	return false;
}

static bool resource_rule_matches(const struct flowcontrol_v1_resource_policy_rule *rule, const struct request *r) {
	if (!list_matches(&rule->verbs, r->verb) || !resource_matches(&rule->resources, r) || !list_matches(&rule->api_groups, str_or(r->group, "")))
		return false;
	return str_empty(r->ns) ? rule->cluster_scope : list_matches(&rule->namespaces, r->ns);
}

static bool path_matches(const char *pattern, const char *path) {
	if (strcmp(pattern, "*") == 0 || strcmp(pattern, path) == 0)
		return true;
	/* "/a/" and "/a*" hold what is below them alike. */
	size_t len = strlen(pattern);
	if (len && pattern[len - 1] == '*')
		len--;
	if (strncmp(path, pattern, len) != 0)
		return false;
	return (len && pattern[len - 1] == '/') || path[len] == '/';
}

static bool path_rule_matches(const struct flowcontrol_v1_non_resource_policy_rule *rule, const struct request *r) {
	if (!list_matches(&rule->verbs, r->verb))
		return false;
	for (uint32_t i = 0; i < rule->non_resource_urls.len; i++)
		if (path_matches(rule->non_resource_urls.items[i], r->path))
			return true;
	return false;
}

static bool rule_matches(const struct flowcontrol_v1_policy_rules_with_subjects *rule, const struct request *r) {
	bool found = false;
	for (uint32_t i = 0; i < rule->subjects.len && !found; i++)
		found = subject_matches(&rule->subjects.items[i], r->user);
	if (!found)
		return false;
	if (r->is_resource) {
		for (uint32_t i = 0; i < rule->resource_rules.len; i++)
			if (resource_rule_matches(&rule->resource_rules.items[i], r))
				return true;
		return false;
	}
	for (uint32_t i = 0; i < rule->non_resource_rules.len; i++)
		if (path_rule_matches(&rule->non_resource_rules.items[i], r))
			return true;
	return false;
}

bool flow_schema_matches(const struct flowcontrol_v1_flow_schema *schema, const struct request *r) {
	for (uint32_t i = 0; i < schema->spec.rules.len; i++)
		if (rule_matches(&schema->spec.rules.items[i], r))
			return true;
	return false;
}

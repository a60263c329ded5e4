/* SPDX-License-Identifier: Apache-2.0 */
/* Which requests are told of, and how much: --audit-policy-file. */
#include "apiserver/audit/audit.h"
#include "api/audit_v1.h"
#include "common/api/yaml.h"
#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>

#define MAX_POLICY (4u << 20)

struct audit_policy {
	struct audit_v1_policy *object;
};

static const char *const levels[] = {"None", "Metadata", "Request", "RequestResponse"};
static const struct {
	const char *name;
	enum audit_stage stage;
} stages[] = {{"RequestReceived", AUDIT_RECEIVED}, {"ResponseStarted", AUDIT_STARTED}, {"ResponseComplete", AUDIT_COMPLETE}};

const char *audit_level_name(enum audit_level level) {
	return levels[level];
}

static bool level_of(const char *name, enum audit_level *ret) {
	for (size_t i = 0; i < array_len(levels); i++)
		if (str_equal(levels[i], name)) {
			*ret = (enum audit_level)i;
			return true;
		}
	return false;
}

static unsigned stages_of(const struct api_string_list *list) {
	unsigned found = 0;
	for (uint32_t i = 0; i < list->len; i++)
		for (size_t s = 0; s < array_len(stages); s++)
			if (strcmp(stages[s].name, list->items[i]) == 0)
				found |= stages[s].stage;
	return found;
}

void audit_policy_free(struct audit_policy *policy) {
	if (!policy)
		return;
	api_unref(policy->object);
	free(policy);
}

int audit_policy_read(const char *path, struct audit_policy **ret, struct error *err) {
	autofree char *text = NULL;
	autobuf struct buf json = BUF_INIT(MAX_POLICY * 2);
	size_t len;
	void *object;
	int r = file_read(AT_FDCWD, path, MAX_POLICY, &text, &len, err);
	if (r == 0)
		r = yaml_to_json_one(text, len, &json, err);
	if (r == 0)
		r = api_decode_json(&audit_v1_policy_type, json.data, json.len, NULL, &object, err);
	if (r < 0)
		return error_context(err, "audit policy %s", path);
	struct audit_policy *policy = xnew(struct audit_policy);
	policy->object = object;
	enum audit_level ignored;
	if (!str_equal(policy->object->api_version, "audit.k8s.io/v1") || !str_equal(policy->object->kind, "Policy"))
		r = error_set(err, EINVAL, "audit policy %s: it is no Policy of audit.k8s.io/v1", path);
	else if (!policy->object->rules.len)
		r = error_set(err, EINVAL, "audit policy %s: loaded illegal policy with 0 rules", path);
	for (uint32_t i = 0; r == 0 && i < policy->object->rules.len; i++)
		if (!level_of(policy->object->rules.items[i].level, &ignored))
			r = error_set(err, EINVAL, "audit policy %s: rules[%u].level: \"%s\" is no level", path, i, str_or(policy->object->rules.items[i].level, ""));
	if (r < 0) {
		audit_policy_free(policy);
		return r;
	}
	*ret = policy;
	return 0;
}

/* ---- rules ---- */

static bool in_groups(const struct api_string_list *list, const struct user *user) {
	for (uint32_t i = 0; i < list->len; i++)
		if (user_in_group(user, list->items[i]))
			return true;
	return false;
}

/* "*", "/healthz*", "/version" */
static bool path_matches(const struct api_string_list *list, const char *path) {
	for (uint32_t i = 0; i < list->len; i++) {
		const char *spec = list->items[i];
		size_t len = strlen(spec);
		if (strcmp(spec, "*") == 0 || strcmp(spec, path) == 0 || (len && spec[len - 1] == '*' && strncmp(spec, path, len - 1) == 0))
			return true;
	}
	return false;
}

/* A resource, resource/subresource, a resource with all of its subresources by a star behind the slash, a subresource of any by one before it, or a star. */
static bool resource_matches(const char *spec, const char *plural, const char *subresource) {
	if (strcmp(spec, "*") == 0)
		return true;
	const char *slash = strchr(spec, '/');
	if (!slash)
		return strcmp(spec, plural) == 0 && !*subresource;
	size_t len = (size_t)(slash - spec);
	if (len == 1 && *spec == '*' && *subresource && strcmp(slash + 1, subresource) == 0)
		return true;
	return strlen(plural) == len && strncmp(spec, plural, len) == 0 && (strcmp(slash + 1, "*") == 0 || strcmp(slash + 1, subresource) == 0);
}

static bool resources_match(const struct audit_v1_policy_rule *rule, const struct request *r) {
	const char *name = str_or(r->name, ""), *subresource = str_or(r->subresource, "");
	for (uint32_t i = 0; i < rule->resources.len; i++) {
		const struct audit_v1_group_resources *g = &rule->resources.items[i];
		if (!str_equal(g->group, "*") && strcmp(str_or(g->group, ""), str_or(r->group, "")) != 0)
			continue;
		if (!g->resources.len)
			return true;
		for (uint32_t k = 0; k < g->resources.len; k++)
			if (resource_matches(g->resources.items[k], str_or(r->plural, ""), subresource) && (!g->resource_names.len || api_string_list_has(&g->resource_names, name)))
				return true;
	}
	return false;
}

static bool rule_matches(const struct audit_v1_policy_rule *rule, const struct request *r) {
	if (rule->users.len && !(r->user && api_string_list_has(&rule->users, r->user->name)))
		return false;
	if (rule->user_groups.len && !(r->user && in_groups(&rule->user_groups, r->user)))
		return false;
	if (rule->verbs.len && !api_string_list_has(&rule->verbs, r->verb))
		return false;
	if (!rule->namespaces.len && !rule->resources.len)
		return !rule->non_resource_urls.len || (!r->is_resource && path_matches(&rule->non_resource_urls, r->path));
	if (!r->is_resource)
		return false;
	/* "" is what is in no namespace. */
	if (rule->namespaces.len && !api_string_list_has(&rule->namespaces, str_or(r->ns, "")))
		return false;
	return !rule->resources.len || resources_match(rule, r);
}

enum audit_level audit_policy_judge(const struct audit_policy *policy, const struct request *r, unsigned *ret_omit, bool *ret_omit_managed) {
	const struct audit_v1_policy *p = policy->object;
	*ret_omit = stages_of(&p->omit_stages);
	*ret_omit_managed = p->omit_managed_fields;
	for (uint32_t i = 0; i < p->rules.len; i++) {
		const struct audit_v1_policy_rule *rule = &p->rules.items[i];
		enum audit_level level;
		if (!rule_matches(rule, r) || !level_of(rule->level, &level))
			continue;
		*ret_omit |= stages_of(&rule->omit_stages);
		if (rule->omit_managed_fields)
			*ret_omit_managed = *rule->omit_managed_fields;
		return level;
	}
	return AUDIT_NONE;
}

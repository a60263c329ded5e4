/* SPDX-License-Identifier: Apache-2.0 */
/* Webhook configurations and admission policies; what their expressions must be is in expression.c. */
#include "apiserver/validation/validation.h"
#include "api/admissionregistration_v1.h"

#include <ctype.h>

static bool has_star(const struct api_string_list *list) {
	return api_string_list_has(list, "*");
}

static bool blank(const char *text) {
	return !text || strspn(text, " \t\r\n\v\f") == strlen(text);
}

/* ---- rules ---- */

static void check_list(const struct api_string_list *list, const char *field, const char *what, bool each, const struct path *at, struct error *err) {
	if (!list->len)
		required(err, AT(field), NULL);
	if (list->len > 1 && has_star(list))
		invalid_list(err, AT(field), list, "if '*' is present, must not specify other %s", what);
	for (uint32_t i = 0; each && i < list->len; i++)
		if (!*list->items[i])
			required(err, AT_INDEX(field, i), NULL);
}

static void check_resources_of_rule(const struct api_string_list *list, const struct path *at, struct error *err) {
	automap struct map all_subs = MAP_INIT(NULL), all_resources = MAP_INIT(NULL);
	bool star = false, plain = false;
	if (!list->len)
		required(err, AT("resources"), NULL);
	for (uint32_t i = 0; i < list->len; i++) {
		const char *text = list->items[i], *slash = strchr(text, '/');
		if (!*text) {
			required(err, AT_INDEX("resources", i), NULL);
			continue;
		}
		star |= strcmp(text, "*") == 0;
		if (!slash) {
			plain = strcmp(text, "*") != 0;
			continue;
		}
		autofree char *resource = xstrndup(text, (size_t)(slash - text));
		const char *sub = slash + 1;
		if (map_has(&all_subs, resource))
			invalid(err, AT_INDEX("resources", i), text, "if '%s/*' is present, must not specify %s", resource, text);
		if (map_has(&all_resources, sub))
			invalid(err, AT_INDEX("resources", i), text, "if '*/%s' is present, must not specify %s", sub, text);
		if (strcmp(sub, "*") == 0)
			set_add(&all_subs, resource);
		if (strcmp(resource, "*") == 0)
			set_add(&all_resources, sub);
	}
	if (list->len > 1 && api_string_list_has(list, "*/*"))
		invalid_list(err, AT("resources"), list, "if '*/*' is present, must not specify other resources");
	if (star && plain)
		invalid_list(err, AT("resources"), list, "if '*' is present, must not specify other resources without subresources");
}

CHECK(admissionregistration_v1_rule_with_operations, rule) {
	check_list(&rule->operations, "operations", "operations", false, at, err);
	check_list(&rule->api_groups, "apiGroups", "API groups", false, at, err);
	check_list(&rule->api_versions, "apiVersions", "API versions", true, at, err);
	check_resources_of_rule(&rule->resources, at, err);
}

CHECK(admissionregistration_v1_named_rule_with_operations, rule) {
	check_distinct(&rule->resource_names, "resourceNames", at, err);
}

static void check_conditions(const struct admissionregistration_v1_match_condition_array *conditions, const struct path *at, struct error *err) {
	automap struct map seen = MAP_INIT(NULL);
	if (conditions->len > 64)
		too_many(err, AT("matchConditions"), conditions->len, 64);
	for (uint32_t i = 0; i < conditions->len; i++) {
		if (blank(conditions->items[i].expression))
			required(err, &PATH(AT_INDEX("matchConditions", i), "expression"), NULL);
		if (!str_empty(conditions->items[i].name) && seen_before(&seen, conditions->items[i].name))
			duplicate(err, &PATH(AT_INDEX("matchConditions", i), "name"), conditions->items[i].name);
	}
}

/* ---- webhooks ---- */

#define URL_FORM "; desired format: https://host[/path]"

void check_webhook_url(const char *url, const struct path *at, struct error *err) {
	const char *colon = strstr(url, "://"), *host = colon ? colon + 3 : "";
	size_t len = strcspn(host, "/?#");
	autofree char *scheme = xstrndup(url, colon ? (size_t)(colon - url) : 0), *authority = xstrndup(host, len);
	char *user = strrchr(authority, '@');
	if (strcmp(scheme, "https") != 0)
		invalid(err, at, scheme, "'https' is the only allowed URL scheme" URL_FORM);
	if (!*(user ? user + 1 : authority))
		invalid(err, at, "", "host must be specified" URL_FORM);
	if (user) {
		*user = 0;
		invalid(err, at, authority, "user information is not permitted in the URL");
	}
	const char *fragment = strchr(url, '#'), *query = strchr(url, '?');
	if (fragment && fragment[1])
		invalid(err, at, fragment + 1, "fragments are not permitted in the URL");
	if (query && query[1] && (!fragment || query < fragment)) {
		autofree char *text = xstrndup(query + 1, strcspn(query + 1, "#"));
		invalid(err, at, text, "query parameters are not permitted in the URL");
	}
}

void check_webhook_service(const char *ns, const char *name, const char *path, int64_t port, const struct path *at, struct error *err) {
	if (str_empty(name))
		required(err, AT("name"), NULL);
	if (str_empty(ns))
		required(err, AT("namespace"), NULL);
	if (port < 1 || port > 65535)
		invalid_int(err, AT("port"), port, "port is not valid: must be between 1 and 65535, inclusive");
	if (str_empty(path) || strcmp(path, "/") == 0)
		return;
	if (strcmp(path, "//") == 0) {
		invalid(err, AT("path"), path, "segment[0] may not be empty");
		return;
	}
	if (*path != '/')
		invalid(err, AT("path"), path, "must start with a '/'");
	size_t total = strlen(path + 1);
	autofree char *steps = xstrndup(path + 1, total && path[total] == '/' ? total - 1 : total);
	unsigned i = 0;
	for (char *p = steps; p; i++) {
		char *next = strchr(p, '/');
		if (next)
			*next++ = 0;
		const char *text = *p ? format_error(format_dns_subdomain, p) : NULL;
		if (!*p)
			invalid(err, AT("path"), path, "segment[%u] may not be empty", i);
		else if (text)
			invalid(err, AT("path"), path, "segment[%u]: %s", i, text);
		p = next;
	}
}

CHECK(admissionregistration_v1_webhook_client_config, config) {
	if (!config->url == !config->service)
		required(err, at, "exactly one of url or service is required");
	else if (config->url)
		check_webhook_url(config->url, AT("url"), err);
	else /* Kubernetes mixes up the two names here, and so which of them is said to be missing. */
		check_webhook_service(config->service->name, config->service->namespace, config->service->path, config->service->port ? *config->service->port : 443, AT("service"), err);
}

/* What both sorts of webhook have. */
struct hook {
	const char *name, *side_effects;
	const int32_t *timeout;
	const struct api_string_list *versions;
	const struct admissionregistration_v1_match_condition_array *conditions;
};

static void check_hook(const struct hook *hook, const struct path *at, struct error *err) {
	static const char *const harmless[] = {"None", "NoneOnDryRun", NULL};
	const char *name = str_or(hook->name, ""), *text = format_error(format_dns_subdomain, name);
	if (!*name)
		required(err, AT("name"), NULL);
	else if (text)
		invalid(err, AT("name"), name, "%s", text);
	else if (!strchr(name, '.') || !strchr(strchr(name, '.') + 1, '.'))
		invalid(err, AT("name"), name, "should be a domain with at least three segments separated by dots");
	if (!hook->side_effects)
		required(err, AT("sideEffects"), "must specify one of None, NoneOnDryRun");
	else if (strcmp(hook->side_effects, "None") != 0 && strcmp(hook->side_effects, "NoneOnDryRun") != 0)
		not_supported(err, AT("sideEffects"), hook->side_effects, harmless);
	if (hook->timeout && (*hook->timeout < 1 || *hook->timeout > 30))
		invalid_int(err, AT("timeoutSeconds"), *hook->timeout, "the timeout value must be between 1 and 30 seconds");
	check_conditions(hook->conditions, at, err);
	check_match_expressions(hook->conditions, false, at, err);
	automap struct map seen = MAP_INIT(NULL);
	if (!hook->versions->len)
		required(err, AT("admissionReviewVersions"), "must specify one of v1, v1beta1");
	for (uint32_t i = 0; i < hook->versions->len; i++)
		if (seen_before(&seen, hook->versions->items[i]))
			invalid(err, AT_INDEX("admissionReviewVersions", i), hook->versions->items[i], "duplicate version");
		else
			check_format(format_dns_1035_label, hook->versions->items[i], AT_INDEX("admissionReviewVersions", i), err);
	if (hook->versions->len && !map_has(&seen, "v1") && !map_has(&seen, "v1beta1"))
		invalid_list(err, AT("admissionReviewVersions"), hook->versions, "must include at least one of v1, v1beta1");
}

CHECK(admissionregistration_v1_validating_webhook, w) {
	const struct hook hook = {w->name, w->side_effects, w->timeout_seconds, &w->admission_review_versions, &w->match_conditions};
	check_hook(&hook, at, err);
}

CHECK(admissionregistration_v1_mutating_webhook, w) {
	const struct hook hook = {w->name, w->side_effects, w->timeout_seconds, &w->admission_review_versions, &w->match_conditions};
	check_hook(&hook, at, err);
}

#define STATIC_SUFFIX ".static.k8s.io"

static void check_static(const char *name, const struct path *at, struct error *err) {
	if (str_ends_with(str_or(name, ""), STATIC_SUFFIX))
		invalid(err, &PATH(AT("metadata"), "name"), name, "names ending with \"" STATIC_SUFFIX "\" are reserved for static manifest-based configurations and cannot be managed via the API");
}

#define CHECK_HOOK_NAMES(config_) \
	do { \
		automap struct map seen = MAP_INIT(NULL); \
		for (uint32_t i = 0; i < (config_)->webhooks.len; i++) \
			if (!str_empty((config_)->webhooks.items[i].name) && seen_before(&seen, (config_)->webhooks.items[i].name)) \
				duplicate(err, &PATH(AT_INDEX("webhooks", i), "name"), (config_)->webhooks.items[i].name); \
	} while (0)

CHECK(admissionregistration_v1_validating_webhook_configuration, config) {
	CHECK_HOOK_NAMES(config);
}

CHECK(admissionregistration_v1_mutating_webhook_configuration, config) {
	CHECK_HOOK_NAMES(config);
}

/* ---- policies ---- */

CHECK(admissionregistration_v1_param_kind, kind) {
	const char *version = str_or(kind->api_version, ""), *slash = strchr(version, '/'), *text;
	if (!*version) {
		required(err, AT("apiVersion"), NULL);
	} else if (slash && strchr(slash + 1, '/')) {
		invalid(err, AT("apiVersion"), version, "unexpected GroupVersion string: %s", version);
	} else {
		autofree char *group = xstrndup(version, slash ? (size_t)(slash - version) : 0);
		const char *v = slash ? slash + 1 : version;
		if (*group && (text = format_error(format_dns_subdomain, group)))
			invalid(err, AT("apiVersion"), group, "%s", text);
		if (!*v)
			invalid(err, AT("apiVersion"), version, "version must be specified");
		else if ((text = format_error(format_dns_1035_label, v)))
			invalid(err, AT("apiVersion"), v, "%s", text);
	}
	autofree char *lower = xstrdup(str_or(kind->kind, ""));
	for (char *p = lower; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	if (!*lower)
		required(err, AT("kind"), NULL);
	else if ((text = format_error(format_dns_1035_label, lower)))
		invalid(err, AT("kind"), kind->kind, "may have mixed case, but should otherwise match: %s", text);
}

CHECK(admissionregistration_v1_param_ref, ref) {
	static const char *const actions[] = {"Deny", "Allow", NULL};
	if (!str_empty(ref->name))
		check_format(format_path_segment, ref->name, AT("name"), err);
	if (!str_empty(ref->name) && ref->selector) {
		forbidden(err, AT("name"), "name and selector are mutually exclusive");
		forbidden(err, AT("selector"), "name and selector are mutually exclusive");
	}
	if (str_empty(ref->name) && !ref->selector)
		required(err, at, "one of name or selector must be specified");
	check_enum(ref->parameter_not_found_action, actions, AT("parameterNotFoundAction"), err);
}

CHECK(admissionregistration_v1_variable, variable) {
	static const char *const reserved[] = {
		"true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let", "loop", "package", "namespace", "return", "var", "void", "while",
	};
	if (blank(variable->name)) {
		required(err, AT("name"), "name is not specified");
	} else {
		bool bad = format_error(format_c_identifier, variable->name) != NULL;
		for (size_t i = 0; i < array_len(reserved); i++)
			bad |= strcmp(variable->name, reserved[i]) == 0;
		if (bad)
			invalid(err, AT("name"), variable->name, "must be a valid CEL identifier");
	}
	if (blank(variable->expression))
		required(err, AT("expression"), "expression is not specified");
}

CHECK(admissionregistration_v1_validation, validation) {
	static const char *const reasons[] = {"Forbidden", "Invalid", "RequestEntityTooLarge", NULL};
	if (blank(validation->expression))
		required(err, AT("expression"), "expression is not specified");
	if (!str_empty(validation->message_expression) && blank(validation->message_expression))
		invalid(err, AT("messageExpression"), validation->message_expression, "must be non-empty if specified");
	if (!str_empty(validation->message) && blank(validation->message))
		invalid(err, AT("message"), validation->message, "must be non-empty if specified");
	else if (!str_empty(validation->message)) {
		const char *begin = validation->message + strspn(validation->message, " \t\r\n"), *end = begin + strlen(begin);
		while (end > begin && strchr(" \t\r\n", end[-1]))
			end--;
		if (memchr(begin, '\n', (size_t)(end - begin)) || memchr(begin, '\r', (size_t)(end - begin)))
			invalid(err, AT("message"), validation->message, "must not contain line breaks");
	}
	if (validation->reason) {
		bool known = false;
		for (size_t i = 0; reasons[i]; i++)
			known |= strcmp(validation->reason, reasons[i]) == 0;
		if (!known)
			not_supported(err, AT("reason"), validation->reason, reasons);
	}
}

static void check_constraints(const struct admissionregistration_v1_match_resources *match, const struct path *at, struct error *err) {
	if (!match)
		required(err, AT("matchConstraints"), NULL);
	else if (!match->resource_rules.len)
		required(err, &PATH(AT("matchConstraints"), "resourceRules"), NULL);
}

CHECK(admissionregistration_v1_expression_warning, warning) {
	static const char space[] = " \t\r\n\v\f";
	const char *ref = str_or(warning->field_ref, "") + strspn(str_or(warning->field_ref, ""), space), *end = ref + strlen(ref);
	while (end > ref && strchr(space, end[-1]))
		end--;
	autofree char *text = xstrndup(ref, (size_t)(end - ref));
	const char *wrong = *text ? jsonpath_error(text) : NULL;
	if (str_empty(warning->warning))
		required(err, AT("warning"), NULL);
	if (!*text)
		required(err, AT("fieldRef"), NULL);
	else if (wrong)
		invalid(err, AT("fieldRef"), text, "invalid JSONPath: %s", wrong);
}

CHECK(admissionregistration_v1_validating_admission_policy_status, status) {
	check_condition_types(&status->conditions, at, err);
}

CHECK(admissionregistration_v1_validating_admission_policy, policy) {
	if (check_is_status(c))
		return;
	struct path spec = PATH(at, "spec");
	check_static(policy->metadata.name, at, err);
	at = &spec;
	check_constraints(policy->spec.match_constraints, at, err);
	check_conditions(&policy->spec.match_conditions, at, err);
	if (!policy->spec.validations.len && !policy->spec.audit_annotations.len) {
		required(err, AT("validations"), "validations or auditAnnotations must contain at least one item");
		required(err, AT("auditAnnotations"), "validations or auditAnnotations must contain at least one item");
	}
	if (policy->spec.audit_annotations.len > 20)
		invalid_plain(err, AT("auditAnnotations"), "must not have more than 20 auditAnnotations");
	automap struct map seen = MAP_INIT(NULL);
	for (uint32_t i = 0; i < policy->spec.audit_annotations.len; i++) {
		const struct admissionregistration_v1_audit_annotation *annotation = &policy->spec.audit_annotations.items[i];
		struct path here = PATH_INDEX(at, "auditAnnotations", i);
		autofree char *key = xprintf("%s/%s", str_or(policy->metadata.name, ""), str_or(annotation->key, ""));
		check_format(format_qualified_name, key, &PATH(&here, "key"), err);
		if (blank(annotation->value_expression))
			required(err, &PATH(&here, "valueExpression"), "valueExpression is not specified");
		else if (strlen(annotation->value_expression) > MAX_AUDIT_EXPRESSION)
			required(err, &PATH(&here, "valueExpression"), "must not exceed 5120 bytes in length");
		if (seen_before(&seen, annotation->key))
			duplicate(err, &PATH(&here, "key"), annotation->key);
	}
	check_validating_expressions(&policy->spec, at, err);
}

static void check_mutating_operations(const struct admissionregistration_v1_match_resources *match, const struct path *parent, struct error *err) {
	static const char *const operations[] = {"*", "CONNECT", "CREATE", "UPDATE", NULL};
	struct path rules = PATH(parent, "resourceRules");
	for (uint32_t i = 0; match && i < match->resource_rules.len; i++) {
		const struct api_string_list *list = &match->resource_rules.items[i].operations;
		for (uint32_t k = 0; k < list->len; k++) {
			size_t n = 0;
			while (operations[n] && strcmp(operations[n], list->items[k]) != 0)
				n++;
			if (!operations[n])
				not_supported(err, &PATH(&rules, "operations"), list->items[k], operations);
		}
	}
}

CHECK(admissionregistration_v1_mutating_admission_policy, policy) {
	struct path spec = PATH(at, "spec");
	check_static(policy->metadata.name, at, err);
	at = &spec;
	check_constraints(policy->spec.match_constraints, at, err);
	check_mutating_operations(policy->spec.match_constraints, AT("matchConstraints"), err);
	check_conditions(&policy->spec.match_conditions, at, err);
	if (!policy->spec.mutations.len)
		required(err, AT("mutations"), "mutations must contain at least one item");
	check_mutating_expressions(&policy->spec, at, err);
}

CHECK(admissionregistration_v1_mutation, mutation) {
	bool json = str_equal(mutation->patch_type, "JSONPatch"), apply = str_equal(mutation->patch_type, "ApplyConfiguration");
	if (json && !mutation->json_patch)
		required(err, AT("jsonPatch"), "must be specified when patchType is JSONPatch");
	if (json && mutation->apply_configuration)
		invalid(err, AT("applyConfiguration"), "{applyConfiguration}", "must not be specified when patchType is JSONPatch");
	if (apply && !mutation->apply_configuration)
		required(err, AT("applyConfiguration"), "must be specified when patchType is ApplyConfiguration");
	if (apply && mutation->json_patch)
		invalid(err, AT("jsonPatch"), "{jsonPatch}", "must not be specified when patchType is ApplyConfiguration");
	if (json && mutation->json_patch && blank(mutation->json_patch->expression))
		required(err, &PATH(AT("jsonPatch"), "expression"), NULL);
	if (apply && mutation->apply_configuration && blank(mutation->apply_configuration->expression))
		required(err, &PATH(AT("applyConfiguration"), "expression"), NULL);
}

CHECK(admissionregistration_v1_validating_admission_policy_binding_spec, spec) {
	check_distinct(&spec->validation_actions, "validationActions", at, err);
	if (!spec->validation_actions.len)
		required(err, AT("validationActions"), "at least one validation action is required");
	if (api_string_list_has(&spec->validation_actions, "Deny") && api_string_list_has(&spec->validation_actions, "Warn"))
		invalid_list(err, AT("validationActions"), &spec->validation_actions,
			     "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)");
}

CHECK(admissionregistration_v1_mutating_admission_policy_binding_spec, spec) {
	check_mutating_operations(spec->match_resources, AT("matchResources"), err);
}

const struct checker checkers_admission[] = {
	ROW(admissionregistration_v1_rule_with_operations), ROW(admissionregistration_v1_named_rule_with_operations), ROW(admissionregistration_v1_webhook_client_config),
	ROW(admissionregistration_v1_validating_webhook), ROW(admissionregistration_v1_mutating_webhook), ROW(admissionregistration_v1_validating_webhook_configuration),
	ROW(admissionregistration_v1_mutating_webhook_configuration), ROW(admissionregistration_v1_param_kind), ROW(admissionregistration_v1_param_ref),
	ROW(admissionregistration_v1_expression_warning), ROW(admissionregistration_v1_validating_admission_policy_status),
	ROW(admissionregistration_v1_variable), ROW(admissionregistration_v1_validation), ROW(admissionregistration_v1_validating_admission_policy),
	ROW(admissionregistration_v1_mutating_admission_policy), ROW(admissionregistration_v1_mutation), ROW(admissionregistration_v1_validating_admission_policy_binding_spec),
	ROW(admissionregistration_v1_mutating_admission_policy_binding_spec), {0},
};

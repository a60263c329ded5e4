/* SPDX-License-Identifier: Apache-2.0 */
/* FlowSchema and PriorityLevelConfiguration. */
#include "apiserver/validation/validation.h"
#include "api/flowcontrol_v1.h"

#include <math.h>

static void check_verbs(const struct api_string_list *verbs, const struct path *at, struct error *err) {
	static const char *const known[] = {"create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch", NULL};
	if (!verbs->len) {
		required(err, AT("verbs"), "verbs must contain at least one value");
		return;
	}
	if (api_string_list_has(verbs, "*")) {
		if (verbs->len > 1)
			invalid_list(err, AT("verbs"), verbs, "if '*' is present, must not specify other verbs");
		return;
	}
	for (uint32_t i = 0; i < verbs->len; i++) {
		bool found = false;
		for (size_t n = 0; known[n]; n++)
			found |= strcmp(known[n], verbs->items[i]) == 0;
		if (found)
			continue;
		autobuf struct buf json = BUF_INIT(64u << 10);
		buf_append_char(&json, '[');
		for (uint32_t n = 0; n < verbs->len; n++) {
			buf_append_str(&json, n ? "," : "");
			buf_append_json_string(&json, verbs->items[n], strlen(verbs->items[n]));
		}
		buf_append_char(&json, ']');
		not_supported_json(err, AT("verbs"), json.data, known);
		return;
	}
}

static void check_star(const struct api_string_list *list, const char *field, const char *needed, const char *what, const struct path *at, struct error *err) {
	if (!list->len)
		required(err, AT(field), needed);
	else if (list->len > 1 && api_string_list_has(list, "*"))
		invalid_list(err, AT(field), list, "if '*' is present, must not specify other %s", what);
}

static const char *url_error(const char *url) {
	const char *star = strchr(url, '*');
	if (!*url)
		return "must not be empty";
	if (strcmp(url, "/") == 0)
		return NULL;
	if (*url != '/')
		return "must start with slash";
	if (strchr(url, ' '))
		return "must not contain white-space";
	if (strstr(url, "//"))
		return "must not contain double slash";
	return star && (star[1] || star[-1] != '/') ? "wildcard can only do suffix matching" : NULL;
}

CHECK(flowcontrol_v1_non_resource_policy_rule, rule) {
	check_verbs(&rule->verbs, at, err);
	check_star(&rule->non_resource_urls, "nonResourceURLs", "nonResourceURLs must contain at least one value", "non-resource URLs", at, err);
	for (uint32_t i = 0; !api_string_list_has(&rule->non_resource_urls, "*") && i < rule->non_resource_urls.len; i++) {
		const char *text = url_error(rule->non_resource_urls.items[i]);
		if (text)
			invalid(err, AT_INDEX("nonResourceURLs", i), rule->non_resource_urls.items[i], "%s", text);
	}
}

CHECK(flowcontrol_v1_resource_policy_rule, rule) {
	check_verbs(&rule->verbs, at, err);
	check_star(&rule->api_groups, "apiGroups", "resource rules must supply at least one api group", "api groups", at, err);
	check_star(&rule->resources, "resources", "resource rules must supply at least one resource", "resources", at, err);
	if (!rule->namespaces.len && !rule->cluster_scope)
		required(err, AT("namespaces"), "resource rules that are not cluster scoped must supply at least one namespace");
	else if (rule->namespaces.len)
		check_star(&rule->namespaces, "namespaces", NULL, "namespaces", at, err);
	for (uint32_t i = 0; !api_string_list_has(&rule->namespaces, "*") && i < rule->namespaces.len; i++) {
		const char *text = format_error(format_dns_label, rule->namespaces.items[i]);
		if (text)
			invalid(err, AT_INDEX("namespaces", i), rule->namespaces.items[i], "each member of this list must be '*' or a DNS-1123 label; %s", text);
	}
}

CHECK(flowcontrol_v1_policy_rules_with_subjects, rule) {
	if (!rule->subjects.len)
		required(err, AT("subjects"), "subjects must contain at least one value");
	if (!rule->resource_rules.len && !rule->non_resource_rules.len)
		required(err, at, "at least one of resourceRules and nonResourceRules has to be non-empty");
}

CHECK(flowcontrol_v1_subject, subject) {
	static const char *const sorted[] = {"Group", "ServiceAccount", "User", NULL};
	const struct { const char *kind, *field; bool set; } members[] = {
		{"ServiceAccount", "serviceAccount", subject->service_account}, {"User", "user", subject->user}, {"Group", "group", subject->group},
	};
	bool known = false;
	for (size_t i = 0; i < array_len(members); i++)
		known |= str_equal(subject->kind, members[i].kind);
	if (!known)
		not_supported(err, AT("kind"), subject->kind, sorted);
	for (size_t i = 0; i < array_len(members); i++) {
		bool wanted = str_equal(subject->kind, members[i].kind);
		if (!wanted)
			drop_judgement(AT(members[i].field), err);
		if (!known)
			continue;
		if (wanted && !members[i].set) {
			autofree char *text = xprintf("%s is required when subject kind is '%s'", members[i].field, members[i].kind);
			required(err, AT(members[i].field), text);
		} else if (!wanted && members[i].set) {
			forbidden(err, AT(members[i].field), "%s is forbidden when subject kind is not '%s'", members[i].field, members[i].kind);
		}
	}
}

CHECK(flowcontrol_v1_service_account_subject, account) {
	if (str_empty(account->name))
		required(err, AT("name"), NULL);
	else if (strcmp(account->name, "*") != 0)
		check_format(format_dns_subdomain, account->name, AT("name"), err);
	if (str_empty(account->namespace))
		required(err, AT("namespace"), "must specify namespace for service account");
	else
		check_format(format_dns_label, account->namespace, AT("namespace"), err);
}

CHECK(flowcontrol_v1_flow_schema, schema) {
	static const char *const methods[] = {"ByNamespace", "ByUser", NULL};
	const struct flowcontrol_v1_flow_schema_spec *spec = &schema->spec;
	struct path path = PATH(NULL, "spec"), reference = PATH(&path, "priorityLevelConfiguration");
	if (check_is_status(c))
		return;
	at = &path;
	if (spec->matching_precedence <= 0)
		invalid_int(err, AT("matchingPrecedence"), spec->matching_precedence, "must be a positive value");
	if (spec->matching_precedence > 10000)
		invalid_int(err, AT("matchingPrecedence"), spec->matching_precedence, "must not be greater than 10000");
	if (spec->matching_precedence == 1 && !str_equal(schema->metadata.name, "exempt"))
		invalid_int(err, AT("matchingPrecedence"), 1, "only the schema named 'exempt' may have matchingPrecedence 1");
	if (spec->distinguisher_method && !str_equal(spec->distinguisher_method->type, "ByNamespace") && !str_equal(spec->distinguisher_method->type, "ByUser"))
		not_supported(err, &PATH(AT("distinguisherMethod"), "type"), spec->distinguisher_method->type, methods);
	if (str_empty(spec->priority_level_configuration.name))
		required(err, &PATH(&reference, "name"), "must reference a priority level");
	else
		check_format(format_dns_subdomain, spec->priority_level_configuration.name, &PATH(&reference, "name"), err);
}

/* ---- PriorityLevelConfiguration ---- */

CHECK(flowcontrol_v1_queuing_configuration, q) {
	if (q->queue_length_limit <= 0)
		invalid_int(err, AT("queueLengthLimit"), q->queue_length_limit, "must be positive");
	if (q->queues <= 0)
		invalid_int(err, AT("queues"), q->queues, "must be positive");
	else if (q->queues > 10000000)
		invalid_int(err, AT("queues"), q->queues, "must not be greater than 10000000");
	if (q->hand_size <= 0) {
		invalid_int(err, AT("handSize"), q->hand_size, "must be positive");
	} else if (q->hand_size > q->queues) {
		invalid_int(err, AT("handSize"), q->hand_size, "should not be greater than queues (%d)", q->queues);
	} else {
		/* A hand is dealt from one 60-bit hash: as many bits as the permutations need. */
		double permutations = 1;
		for (int i = 0; i < q->hand_size && permutations < 1e30; i++)
			permutations *= (double)(q->queues - i);
		if (ceil(log2(permutations)) > 60)
			invalid_int(err, AT("handSize"), q->hand_size, "required entropy bits of deckSize %d and handSize %d should not be greater than 60", q->queues, q->hand_size);
	}
}

CHECK(flowcontrol_v1_limit_response, response) {
	static const char *const types[] = {"Queue", "Reject", NULL};
	if (str_equal(response->type, "Reject")) {
		if (response->queuing)
			forbidden(err, AT("queuing"), "must be nil if limited.limitResponse.type is not Limited");
		drop_beneath(AT("queuing"), err);
	} else if (!str_equal(response->type, "Queue")) {
		drop_beneath(AT("queuing"), err);
		not_supported(err, AT("type"), response->type, types);
	} else if (!response->queuing) {
		required(err, AT("queuing"), "must not be empty if limited.limitResponse.type is Limited");
	}
}

static void check_shares(const int32_t *shares, const int32_t *lendable, const struct path *at, struct error *err) {
	if (shares && *shares < 0)
		invalid_int(err, AT("nominalConcurrencyShares"), *shares, "must be a non-negative integer");
	if (lendable && (*lendable < 0 || *lendable > 100))
		invalid_int(err, AT("lendablePercent"), *lendable, "must be between 0 and 100, inclusive");
}

CHECK(flowcontrol_v1_limited_priority_level_configuration, limited) {
	check_shares(limited->nominal_concurrency_shares, limited->lendable_percent, at, err);
	if (limited->borrowing_limit_percent && *limited->borrowing_limit_percent < 0)
		invalid_int(err, AT("borrowingLimitPercent"), *limited->borrowing_limit_percent, "if specified, must be a non-negative integer");
}

CHECK(flowcontrol_v1_exempt_priority_level_configuration, exempt) {
	check_shares(exempt->nominal_concurrency_shares, exempt->lendable_percent, at, err);
}

CHECK(flowcontrol_v1_priority_level_configuration, level) {
	static const char *const types[] = {"Exempt", "Limited", NULL};
	const struct flowcontrol_v1_priority_level_configuration_spec *spec = &level->spec;
	struct path path = PATH(NULL, "spec");
	if (check_is_status(c))
		return;
	at = &path;
	bool exempt = str_equal(spec->type, "Exempt");
	if (str_equal(level->metadata.name, "exempt") != exempt)
		invalid(err, AT("type"), spec->type, "must be 'Exempt' if and only if `name` is 'exempt'");
	/* Only what goes with the type is judged. */
	if (!exempt)
		drop_beneath(AT("exempt"), err);
	if (!str_equal(spec->type, "Limited"))
		drop_beneath(AT("limited"), err);
	if (exempt) {
		if (spec->limited)
			forbidden(err, AT("limited"), "must be nil if the type is not Limited");
	} else if (!str_equal(spec->type, "Limited")) {
		not_supported(err, AT("type"), spec->type, types);
	} else {
		if (spec->exempt)
			forbidden(err, AT("exempt"), "must be nil if the type is Limited");
		if (!spec->limited)
			required(err, AT("limited"), "must not be empty when type is Limited");
	}
}

#define CHECK_CONDITIONS(status_) \
	do { \
		automap struct map seen = MAP_INIT(NULL); \
		for (uint32_t i = 0; i < (status_)->conditions.len; i++) { \
			if (seen_before(&seen, str_or((status_)->conditions.items[i].type, ""))) \
				duplicate(err, &PATH(AT_INDEX("conditions", i), "type"), (status_)->conditions.items[i].type); \
			check_needed(NULL, (status_)->conditions.items[i].type, &PATH(AT_INDEX("conditions", i), "type"), err); \
		} \
	} while (0)

CHECK(flowcontrol_v1_flow_schema_status, status) {
	CHECK_CONDITIONS(status);
}

CHECK(flowcontrol_v1_priority_level_configuration_status, status) {
	CHECK_CONDITIONS(status);
}

const struct checker checkers_flow[] = {
	ROW(flowcontrol_v1_non_resource_policy_rule), ROW(flowcontrol_v1_resource_policy_rule), ROW(flowcontrol_v1_policy_rules_with_subjects), ROW(flowcontrol_v1_subject),
	ROW(flowcontrol_v1_service_account_subject), ROW(flowcontrol_v1_flow_schema), ROW(flowcontrol_v1_queuing_configuration), ROW(flowcontrol_v1_limit_response),
	ROW(flowcontrol_v1_limited_priority_level_configuration), ROW(flowcontrol_v1_exempt_priority_level_configuration), ROW(flowcontrol_v1_priority_level_configuration),
	ROW(flowcontrol_v1_flow_schema_status), ROW(flowcontrol_v1_priority_level_configuration_status), {0},
};

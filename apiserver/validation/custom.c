/* SPDX-License-Identifier: Apache-2.0 */
/* CustomResourceDefinition, whose schemas are judged by schema.c, and APIService. */
#include "apiserver/validation/schema.h"
#include "common/api/codec.h"
#include "api/apiextensions_v1.h"
#include "api/apiregistration_v1.h"

#include <ctype.h>

typedef struct apiextensions_v1_json_schema_props schema_t;

/* ---- the definition ---- */

static void check_joined(format_check *format, const char *text, const char *before, const struct path *at, struct error *err) {
	autofree char *lower = xstrdup(text);
	for (char *p = lower; *before && *p; p++)
		*p = (char)tolower((unsigned char)*p);
	if (format_error(format, lower))
		invalid(err, at, text, "%s%s", before, format_error(format, lower));
}

CHECK(apiextensions_v1_custom_resource_definition_names, names) {
	const char *mixed = "may have mixed case, but should otherwise match: ";
	if (!str_empty(names->plural))
		check_joined(format_dns_1035_label, names->plural, "", AT("plural"), err);
	if (!str_empty(names->singular))
		check_joined(format_dns_1035_label, names->singular, "", AT("singular"), err);
	if (!str_empty(names->kind))
		check_joined(format_dns_1035_label, names->kind, mixed, AT("kind"), err);
	if (!str_empty(names->list_kind))
		check_joined(format_dns_1035_label, names->list_kind, mixed, AT("listKind"), err);
	for (uint32_t i = 0; i < names->short_names.len; i++)
		check_joined(format_dns_1035_label, names->short_names.items[i], "", AT_INDEX("shortNames", i), err);
	for (uint32_t i = 0; i < names->categories.len; i++)
		check_joined(format_dns_1035_label, names->categories.items[i], "", AT_INDEX("categories", i), err);
	if (!str_empty(names->kind) && str_equal(names->kind, names->list_kind))
		invalid(err, AT("listKind"), names->list_kind, "kind and listKind may not be the same");
}

static void check_path(const char *text, const char *const *roots, const char *under, const struct path *at, struct error *err) {
	bool good = !roots;
	if (*text != '.') {
		invalid(err, at, text, "must be a simple json path starting with .");
		return;
	}
	for (size_t i = 0; roots && roots[i]; i++)
		good |= str_starts_with(text, roots[i]);
	if (!good)
		invalid(err, at, text, "should be a json path under %s", under);
}

static void check_column(const struct apiextensions_v1_custom_resource_column_definition *column, const struct path *at, struct error *err) {
	const char *text = "must be one of boolean,date,integer,number,string";
	static const char *const types[] = {"boolean", "date", "integer", "number", "string"}, *const formats[] = {"byte", "date", "date-time", "double", "float", "int32", "int64", "password"};
	bool type = false, format = str_empty(column->format);
	for (size_t i = 0; i < array_len(types); i++)
		type |= str_equal(column->type, types[i]);
	for (size_t i = 0; i < array_len(formats); i++)
		format |= str_equal(column->format, formats[i]);
	if (str_empty(column->name))
		required(err, AT("name"), NULL);
	if (str_empty(column->type))
		required(err, AT("type"), text);
	else if (!type)
		invalid(err, AT("type"), column->type, "%s", text);
	if (!format)
		invalid(err, AT("format"), column->format, "must be one of byte,date,date-time,double,float,int32,int64,password");
	if (str_empty(column->json_path))
		required(err, AT("JSONPath"), NULL);
	else
		check_path(column->json_path, NULL, NULL, AT("JSONPath"), err);
}

static void check_subresources(const struct apiextensions_v1_custom_resource_subresources *subs, const struct path *at, struct error *err) {
	static const char *const spec[] = {".spec.", NULL}, *const status[] = {".status.", NULL}, *const both[] = {".spec.", ".status.", NULL};
	const struct apiextensions_v1_custom_resource_subresource_scale *scale = subs ? subs->scale : NULL;
	if (!scale)
		return;
	if (str_empty(scale->spec_replicas_path))
		required(err, AT("scale.specReplicasPath"), NULL);
	else
		check_path(scale->spec_replicas_path, spec, ".spec", AT("scale.specReplicasPath"), err);
	if (str_empty(scale->status_replicas_path))
		required(err, AT("scale.statusReplicasPath"), NULL);
	else
		check_path(scale->status_replicas_path, status, ".status", AT("scale.statusReplicasPath"), err);
	if (!str_empty(scale->label_selector_path))
		check_path(scale->label_selector_path, both, "either .spec or .status", AT("scale.labelSelectorPath"), err);
}

static bool has_default(const schema_t *s);

static bool any_has_default(const struct apiextensions_v1_json_schema_props_array *list) {
	bool found = false;
	for (uint32_t i = 0; !found && i < list->len; i++)
		found = has_default(&list->items[i]);
	return found;
}

static bool has_default(const schema_t *s) {
	if (!s)
		return false;
	bool found = s->default_.len || has_default(s->not) || (s->items && (has_default(s->items->schema) || any_has_default(&s->items->json_schemas))) ||
		     (s->additional_properties && has_default(s->additional_properties->schema)) || (s->additional_items && has_default(s->additional_items->schema)) || any_has_default(&s->all_of) ||
		     any_has_default(&s->any_of) || any_has_default(&s->one_of);
	const struct apiextensions_v1_json_schema_props_map *const maps[] = {&s->properties, &s->pattern_properties, &s->definitions};
	for (size_t m = 0; m < array_len(maps); m++)
		for (uint32_t i = 0; !found && i < maps[m]->len; i++)
			found = has_default(&maps[m]->items[i].value);
	for (uint32_t i = 0; !found && i < s->dependencies.len; i++)
		found = has_default(s->dependencies.items[i].value.schema);
	return found;
}

/* Fields in a list's items cannot be chosen by, nor any of metadata. */
static void check_selectable(const struct apiextensions_v1_custom_resource_definition_version *version, const schema_t *schema, const struct path *at, struct error *err) {
	automap struct map seen = MAP_INIT(NULL);
	for (uint32_t i = 0; i < version->selectable_fields.len; i++) {
		const char *text = str_or(version->selectable_fields.items[i].json_path, "");
		struct path row = {.parent = at, .index = (int)i}, here = PATH(&row, "jsonPath");
		const schema_t *found = schema;
		if (!*text) {
			required(err, &here, NULL);
			continue;
		}
		autofree char *copy = xstrdup(text);
		char *rest = copy + (*copy == '.');
		for (char *step; found && (step = strsep(&rest, "."));)
			found = schema_property(found, step);
		if (!found || *text != '.') {
			invalid(err, &here, text, "is an invalid path: %s", strchr(text, '[') ? "array notation is not allowed" : "does not refer to a valid field");
			continue;
		}
		if (strcmp(text, ".metadata") == 0 || str_starts_with(text, ".metadata."))
			invalid(err, &here, text, "must not point to fields in metadata");
		if (!str_equal(found->type, "string") && !str_equal(found->type, "boolean") && !str_equal(found->type, "integer"))
			invalid(err, &here, text, "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.");
		if (seen_before(&seen, text))
			duplicate(err, &here, text);
	}
	if (seen.len > 8)
		too_many(err, at, seen.len, 8);
}

static bool same_for_all(const struct apiextensions_v1_custom_resource_definition_spec *spec, const char *field) {
	const struct api_type *type = &apiextensions_v1_custom_resource_definition_version_type;
	size_t offset;
	const struct api_field *f = api_field_find(type, field, strlen(field), &offset);
	bool same = f && spec->versions.len;
	for (uint32_t i = 0; same && i < spec->versions.len; i++)
		same = api_field_is_set(f, &spec->versions.items[i]) && api_field_same(f, &spec->versions.items[i], &spec->versions.items[0]);
	return same;
}

static bool same_schema(const struct apiextensions_v1_custom_resource_definition_spec *old, const struct apiextensions_v1_custom_resource_definition_version *version) {
	for (uint32_t i = 0; old && i < old->versions.len; i++) {
		const struct apiextensions_v1_custom_resource_definition_version *before = &old->versions.items[i];
		if (str_equal(before->name, version->name))
			return before->schema && version->schema && api_equal(&apiextensions_v1_custom_resource_validation_type, before->schema, version->schema);
	}
	return false;
}

static void check_deprecation(const struct apiextensions_v1_custom_resource_definition_version *version, const struct path *at, struct error *err) {
	const char *warning = version->deprecation_warning;
	if (!warning)
		return;
	if (!version->deprecated) {
		invalid(err, at, warning, "can only be set for deprecated versions");
		return;
	}
	if (strlen(warning) > 256)
		invalid(err, at, warning, "must be <= 256 characters long");
	if (!*warning)
		invalid(err, at, warning, "must not be an empty string");
	for (const char *p = warning; *p; p++)
		if (iscntrl((unsigned char)*p)) {
			invalid(err, at, warning, "must only contain printable UTF-8 characters; non-printable character found at index %d", (int)(p - warning));
			break;
		}
}

static bool has_status(const struct apiextensions_v1_custom_resource_definition_version *version) {
	return version->subresources && version->subresources->status;
}

static bool any_has_status(const struct apiextensions_v1_custom_resource_definition_spec *spec) {
	bool found = false;
	for (uint32_t i = 0; i < spec->versions.len; i++)
		found |= has_status(&spec->versions.items[i]);
	return found;
}

/* What all versions have alike is told once, at the place where it stood when there was but one. */
static void check_version(const struct apiextensions_v1_custom_resource_definition_spec *spec, const struct apiextensions_v1_custom_resource_definition_spec *old, uint32_t i, const struct path *at, struct error *err) {
	const struct apiextensions_v1_custom_resource_definition_version *version = &spec->versions.items[i];
	struct path here = PATH_INDEX(at, "versions", i);
	bool schemas = same_for_all(spec, "schema"), subs = same_for_all(spec, "subresources"), columns = same_for_all(spec, "additionalPrinterColumns"), fields = same_for_all(spec, "selectableFields");
	const schema_t *schema = version->schema ? version->schema->open_apiv3_schema : NULL;
	check_joined(format_dns_1035_label, str_or(version->name, ""), "", &PATH(&here, "name"), err);
	check_deprecation(version, &PATH(&here, "deprecationWarning"), err);
	if (!schema)
		required(err, &PATH(&PATH(&here, "schema"), "openAPIV3Schema"), NULL);
	else if (!schemas || i == 0)
		check_definition_schema(schema, schemas ? any_has_status(spec) : has_status(version), same_schema(old, version), schemas ? AT("validation") : &PATH(&here, "schema"), err);
	if (!subs || i == 0)
		check_subresources(version->subresources, &PATH(subs ? at : &here, "subresources"), err);
	for (uint32_t k = 0; (!columns || i == 0) && k < version->additional_printer_columns.len; k++)
		check_column(&version->additional_printer_columns.items[k], &PATH_INDEX(columns ? at : &here, "additionalPrinterColumns", k), err);
	if (!version->selectable_fields.len || (fields && i > 0))
		return;
	/* They are looked up in the schema that stands beside them. */
	const struct path *place = &PATH(fields ? at : &here, "selectableFields");
	if (fields && !schemas)
		invalid(err, place, "", "may only be set when validations.schema is included");
	else if (!fields && (schemas || !schema))
		invalid(err, place, "", "may only be set when `version.schema.openAPIV3Schema` is not included");
	else
		check_selectable(version, schema, place, err);
}

static void check_conversion(const struct apiextensions_v1_custom_resource_conversion *conversion, bool keeps, const struct path *at, struct error *err) {
	static const char *const strategies[] = {"None", "Webhook", NULL};
	if (!conversion)
		return;
	const struct apiextensions_v1_webhook_conversion *hook = conversion->webhook;
	const struct apiextensions_v1_webhook_client_config *config = hook ? hook->client_config : NULL;
	const struct path client = PATH(at, "webhookClientConfig"), reviews = PATH(at, "conversionReviewVersions");
	if (keeps && !str_equal(conversion->strategy, "None"))
		invalid(err, AT("strategy"), conversion->strategy, "must be None if spec.preserveUnknownFields is true");
	check_enum(conversion->strategy, strategies, AT("strategy"), err);
	if (!str_equal(conversion->strategy, "Webhook")) {
		if (config)
			forbidden(err, &client, "should not be set when strategy is not set to Webhook");
		if (hook && hook->conversion_review_versions.len)
			forbidden(err, &reviews, "should not be set when strategy is not set to Webhook");
		return;
	}
	if (!config)
		required(err, &client, "required when strategy is set to Webhook");
	else if (!config->url == !config->service)
		required(err, &client, "exactly one of url or service is required");
	else if (config->url)
		check_webhook_url(config->url, &PATH(&client, "url"), err);
	else
		check_webhook_service(config->service->name, config->service->namespace, config->service->path, config->service->port ? *config->service->port : 443, &PATH(&client, "service"), err);
	if (!hook || !hook->conversion_review_versions.len) {
		required(err, &reviews, NULL);
		return;
	}
	automap struct map seen = MAP_INIT(NULL);
	const struct api_string_list *versions = &hook->conversion_review_versions;
	for (uint32_t i = 0; i < versions->len; i++) {
		if (seen_before(&seen, versions->items[i]))
			invalid(err, AT_INDEX("conversionReviewVersions", i), versions->items[i], "duplicate version");
		else
			check_format(format_dns_1035_label, versions->items[i], AT_INDEX("conversionReviewVersions", i), err);
	}
	if (!api_string_list_has(versions, "v1") && !api_string_list_has(versions, "v1beta1"))
		invalid_list(err, &reviews, versions, "must include at least one of v1, v1beta1");
}

CHECK(apiextensions_v1_custom_resource_definition_spec, spec) {
	static const char *const scopes[] = {"Cluster", "Namespaced", NULL};
	const struct apiextensions_v1_custom_resource_definition *before = c->old;
	const struct path *names = AT("names");
	if (str_empty(spec->group))
		required(err, AT("group"), NULL);
	else if (format_error(format_dns_subdomain, spec->group))
		check_joined(format_dns_subdomain, spec->group, "", AT("group"), err);
	else if (!strchr(spec->group, '.'))
		invalid(err, AT("group"), spec->group, "should be a domain with at least one dot");
	check_enum(spec->scope, scopes, AT("scope"), err);
	if (str_empty(spec->names.plural))
		required(err, &PATH(names, "plural"), NULL);
	if (str_empty(spec->names.singular))
		required(err, &PATH(names, "singular"), NULL);
	if (str_empty(spec->names.kind))
		required(err, &PATH(names, "kind"), NULL);
	if (str_empty(spec->names.list_kind))
		required(err, &PATH(names, "listKind"), NULL);
	if (spec->preserve_unknown_fields && !(before && before->spec.preserve_unknown_fields))
		invalid_bool(err, AT("preserveUnknownFields"), true, "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead");
	for (uint32_t i = 0; spec->preserve_unknown_fields && i < spec->versions.len; i++)
		if (spec->versions.items[i].schema && has_default(spec->versions.items[i].schema->open_apiv3_schema)) {
			invalid_bool(err, AT("preserveUnknownFields"), true, "must be false in order to use defaults in the schema");
			break;
		}
	unsigned storage = 0;
	automap struct map seen = MAP_INIT(NULL);
	bool unique = true;
	for (uint32_t i = 0; i < spec->versions.len; i++) {
		storage += spec->versions.items[i].storage;
		unique &= !seen_before(&seen, str_or(spec->versions.items[i].name, ""));
		check_version(spec, old, i, at, err);
	}
	if (!unique)
		invalid_member(err, at, &apiextensions_v1_custom_resource_definition_spec_type, spec, "versions", "must contain unique version names");
	if (storage != 1)
		invalid_member(err, at, &apiextensions_v1_custom_resource_definition_spec_type, spec, "versions", "must have exactly one version marked as storage version");
	/* The first version's name stood alone once, and is still looked at there too. */
	if (spec->versions.len && !str_empty(spec->versions.items[0].name))
		check_joined(format_dns_1035_label, spec->versions.items[0].name, "", AT("version"), err);
	check_conversion(spec->conversion, spec->preserve_unknown_fields, AT("conversion"), err);
	if (!old)
		return;
	bool established = false;
	for (uint32_t i = 0; before && i < before->status.conditions.len; i++)
		established |= str_equal(before->status.conditions.items[i].type, "Established") && str_equal(before->status.conditions.items[i].status, "True");
	if (established) {
		check_fixed(&apiextensions_v1_custom_resource_definition_spec_type, spec, old, "scope", at, err);
		check_fixed(&apiextensions_v1_custom_resource_definition_names_type, &spec->names, &old->names, "kind", names, err);
	}
	check_fixed(&apiextensions_v1_custom_resource_definition_spec_type, spec, old, "group", at, err);
	check_fixed(&apiextensions_v1_custom_resource_definition_names_type, &spec->names, &old->names, "plural", names, err);
}

/* Each version that is kept must be among those that ever were, which they are once. */
static void check_stored(const struct apiextensions_v1_custom_resource_definition *crd, const struct path *at, struct error *err) {
	const struct api_string_list *stored = &crd->status.stored_versions;
	automap struct map seen = MAP_INIT(NULL);
	if (!stored->len)
		invalid_list(err, AT("storedVersions"), stored, "must have at least one stored version");
	for (uint32_t i = 0; stored->len && i < crd->spec.versions.len; i++) {
		const char *name = str_or(crd->spec.versions.items[i].name, "");
		bool known = api_string_list_has(stored, name) && !seen_before(&seen, name);
		if (crd->spec.versions.items[i].storage && !known)
			invalid_list(err, AT("storedVersions"), stored, "must have the storage version %s", name);
	}
}

#define APPROVED "api-approved.kubernetes.io"

/* Groups of Kubernetes itself want to know who agreed. */
static const char *approval(const struct apiextensions_v1_custom_resource_definition *crd) {
	const char *text = str_or(api_map_get(&crd->metadata.annotations, APPROVED), ""), *host = strstr(text, "://");
	return !*text ? "missing" : str_starts_with(text, "unapproved") ? "bypassed" : host && host > text && host[3] && host[3] != '/' ? "approved" : "invalid";
}

CHECK(apiextensions_v1_custom_resource_definition, crd) {
	if (check_is_status(c))
		return;
	const struct path metadata = PATH(at, "metadata");
	const struct api_string_list *stored = &crd->status.stored_versions;
	check_stored(crd, AT("status"), err);
	for (uint32_t i = 0; i < stored->len; i++) {
		const char *version = stored->items[i];
		bool found = false;
		for (uint32_t k = 0; k < crd->spec.versions.len; k++)
			found |= str_equal(crd->spec.versions.items[k].name, version);
		if (!found)
			invalid(err, &PATH_INDEX(AT("status"), "storedVersions", i), version, "missing from spec.versions; %s was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in %s and removes %s from status.storedVersions", version, version,
				version);
	}
	const char *group = str_or(crd->spec.group, "");
	if (!str_equal(group, "k8s.io") && !str_equal(group, "kubernetes.io") && !str_ends_with(group, ".k8s.io") && !str_ends_with(group, ".kubernetes.io"))
		return;
	const char *state = approval(crd);
	struct path here = PATH_KEY(&metadata, "annotations", APPROVED);
	if (old && str_equal(state, approval(old)))
		return;
	if (str_equal(state, "missing"))
		required(err, &here, "protected groups must have approval annotation \"" APPROVED "\", see https://github.com/kubernetes/enhancements/pull/1111");
	else if (str_equal(state, "invalid"))
		invalid(err, &here, api_map_get(&crd->metadata.annotations, APPROVED),
			"protected groups must have approval annotation \"" APPROVED "\" with either a URL or a reason starting with \"unapproved\", see https://github.com/kubernetes/enhancements/pull/1111");
}

/* ---- APIService ---- */

CHECK(apiregistration_v1_api_service_condition, condition) {
	static const char *const statuses[] = {"True", "False", "Unknown", NULL};
	const char *status = str_or(condition->status, "");
	if (strcmp(status, "True") != 0 && strcmp(status, "False") != 0 && strcmp(status, "Unknown") != 0)
		not_supported(err, AT("status"), status, statuses);
}

CHECK(apiregistration_v1_api_service_spec, spec) {
	const char *group = str_or(spec->group, ""), *version = str_or(spec->version, "");
	if (!*group && strcmp(version, "v1") != 0)
		required(err, AT("group"), "only v1 may have an empty group and it better be legacy kube");
	if (*group)
		check_format(format_dns_subdomain, group, AT("group"), err);
	check_format(format_dns_1035_label, version, AT("version"), err);
	if (spec->group_priority_minimum <= 0 || spec->group_priority_minimum > 20000)
		invalid_int(err, AT("groupPriorityMinimum"), spec->group_priority_minimum, "must be positive and less than 20000");
	if (spec->version_priority <= 0 || spec->version_priority > 1000)
		invalid_int(err, AT("versionPriority"), spec->version_priority, "must be positive and less than 1000");
	if (!spec->service) {
		autofree char *size = xprintf("%u bytes", (unsigned)spec->ca_bundle.len);
		if (spec->ca_bundle.len)
			invalid(err, AT("caBundle"), size, "local APIServices may not have a caBundle");
		if (spec->insecure_skip_tls_verify)
			invalid_bool(err, AT("insecureSkipTLSVerify"), true, "local APIServices may not have insecureSkipTLSVerify");
		return;
	}
	const struct path *service = AT("service");
	int64_t port = spec->service->port ? *spec->service->port : 443;
	if (str_empty(spec->service->namespace))
		required(err, &PATH(service, "namespace"), NULL);
	if (str_empty(spec->service->name))
		required(err, &PATH(service, "name"), NULL);
	if (port < 1 || port > 65535)
		invalid_int(err, &PATH(service, "port"), port, "port is not valid: must be between 1 and 65535, inclusive");
	if (spec->insecure_skip_tls_verify && spec->ca_bundle.len)
		invalid_bool(err, AT("insecureSkipTLSVerify"), true, "may not be true if caBundle is present");
}

const struct checker checkers_custom[] = {
	ROW(apiextensions_v1_custom_resource_definition),
	ROW(apiextensions_v1_custom_resource_definition_names),
	ROW(apiextensions_v1_custom_resource_definition_spec),
	ROW(apiregistration_v1_api_service_condition), ROW(apiregistration_v1_api_service_spec),
	{0},
};

/* SPDX-License-Identifier: Apache-2.0 */
/* ObjectMeta, labels and selectors of every kind. */
#include "apiserver/validation/validation.h"
#include "api/admissionregistration_v1.h"
#include "api/policy_v1.h"
#include "api/resource_v1.h"

#define MAX_ANNOTATION_BYTES (256u << 10)

void check_labels(const struct api_string_map *labels, const struct path *path, struct error *err) {
	for (uint32_t i = 0; i < labels->len; i++) {
		check_format(format_qualified_name, labels->items[i].key, path, err);
		check_format(format_label_value, labels->items[i].value, path, err);
	}
}

void check_annotations(const struct api_string_map *annotations, const struct path *path, struct error *err) {
	size_t total = 0;
	for (uint32_t i = 0; i < annotations->len; i++) {
		check_format(format_annotation_key, annotations->items[i].key, path, err);
		total += strlen(annotations->items[i].key) + strlen(annotations->items[i].value);
	}
	if (total > MAX_ANNOTATION_BYTES)
		too_long(err, path, MAX_ANNOTATION_BYTES);
}

static void check_name(enum name_rule rule, const char *name, bool prefix, const struct path *path, struct error *err) {
	static format_check *const formats[] = {
		[NAME_DNS_SUBDOMAIN] = format_dns_subdomain, [NAME_DNS_LABEL] = format_dns_label, [NAME_DNS_1035_LABEL] = format_dns_1035_label,
		[NAME_PATH_SEGMENT] = format_path_segment, [NAME_IP_ADDRESS] = format_ip_canonical, [NAME_ANY] = NULL,
	};
	if (!formats[rule])
		return;
	/* What is generated onto a prefix makes up for a hyphen at its end. */
	autofree char *text = xstrdup(name);
	size_t len = strlen(text);
	if (prefix && rule != NAME_PATH_SEGMENT && len > 1 && text[len - 1] == '-')
		text[len - 1] = 'a';
	struct format_messages messages = {0};
	if (prefix && rule == NAME_PATH_SEGMENT && (strcmp(name, ".") == 0 || strcmp(name, "..") == 0))
		return;
	formats[rule](text, &messages);
	for (unsigned i = 0; i < messages.len; i++)
		invalid(err, path, name, "%s", messages.items[i]);
}

/* The whole list as JSON. */
static const char *owners_text(const struct meta_v1_object_meta *meta, struct buf *text) {
	buf_reset(text);
	for (uint32_t i = 0; i < meta->owner_references.len; i++) {
		buf_append_char(text, i ? ',' : '[');
		api_encode_json(&meta_v1_owner_reference_type, &meta->owner_references.items[i], text);
	}
	buf_append_char(text, ']');
	return text->data;
}

static void check_owners(const struct meta_v1_object_meta *meta, const struct path *parent, struct error *err) {
	autobuf struct buf text = BUF_INIT(1u << 20);
	const struct meta_v1_owner_reference *controller = NULL;
	struct path path = PATH(parent, "ownerReferences"), *at = &path;
	for (uint32_t i = 0; i < meta->owner_references.len; i++) {
		const struct meta_v1_owner_reference *ref = &meta->owner_references.items[i];
		const char *slash = strchr(str_or(ref->api_version, ""), '/');
		if (str_empty(ref->api_version) || (slash && (!slash[1] || strchr(slash + 1, '/'))))
			invalid(err, AT("apiVersion"), str_or(ref->api_version, ""), "version must not be empty");
		const struct { const char *value, *field, *text; } needed[] = {
			{ref->kind, "kind", "must not be empty"},
			{ref->name, "name", "must not be empty"}, {ref->uid, "uid", "must not be empty"},
		};
		for (size_t n = 0; n < array_len(needed); n++)
			if (str_empty(needed[n].value))
				invalid(err, AT(needed[n].field), "", "%s", needed[n].text);
		if (str_equal(ref->api_version, "v1") && str_equal(ref->kind, "Event"))
			invalid_struct(err, at, &meta_v1_owner_reference_type, ref, "/v1, Kind=Event is disallowed from being an owner");
		if (!ref->controller || !*ref->controller)
			continue;
		if (controller)
			invalid_struct(err, at, NULL, owners_text(meta, &text), "Only one reference can have Controller set to true. Found \"true\" in references for %s/%s and %s/%s", str_or(controller->kind, ""), str_or(controller->name, ""), str_or(ref->kind, ""), str_or(ref->name, ""));
		else
			controller = ref;
	}
}

void check_finalizer_known(const char *name, const struct path *path, struct error *err) {
	static const char *const standard[] = {"orphan", "foregroundDeletion", "kubernetes"};
	bool good = strchr(name, '/') != NULL;
	for (size_t i = 0; i < array_len(standard); i++)
		good |= strcmp(name, standard[i]) == 0;
	if (!good)
		invalid(err, path, name, "name is neither a standard finalizer name nor is it fully qualified");
}

static void check_finalizers(const struct meta_v1_object_meta *meta, const struct path *parent, bool any, struct error *err) {
	struct path at = PATH(parent, "finalizers");
	for (uint32_t i = 0; i < meta->finalizers.len; i++) {
		check_format(format_qualified_name, meta->finalizers.items[i], &at, err);
		if (!any)
			check_finalizer_known(meta->finalizers.items[i], &PATH_INDEX(parent, "finalizers", i), err);
	}
	if (api_string_list_has(&meta->finalizers, "orphan") && api_string_list_has(&meta->finalizers, "foregroundDeletion"))
		invalid_list(err, &at, &meta->finalizers, "finalizer orphan and foregroundDeletion cannot be both set");
}

static void check_managed(const struct meta_v1_object_meta *meta, const struct path *parent, struct error *err) {
	for (uint32_t i = 0; i < meta->managed_fields.len; i++) {
		const struct meta_v1_managed_fields_entry *entry = &meta->managed_fields.items[i];
		struct path path = PATH_INDEX(parent, "managedFields", i), *at = &path;
		if (!str_equal(entry->operation, "Apply") && !str_equal(entry->operation, "Update"))
			invalid(err, AT("operation"), entry->operation, "must be `Apply` or `Update`");
		if (!str_empty(entry->fields_type) && strcmp(entry->fields_type, "FieldsV1") != 0)
			invalid(err, AT("fieldsType"), entry->fields_type, "must be `FieldsV1`");
		if (strlen(str_or(entry->manager, "")) > 128)
			too_long(err, AT("manager"), 128);
		if (strlen(str_or(entry->subresource, "")) > 256)
			too_long(err, AT("subresource"), 256);
	}
}

static void check_common(const struct meta_v1_object_meta *meta, const struct path *root, bool any_finalizer, struct error *err) {
	check_labels(&meta->labels, &PATH(root, "labels"), err);
	check_annotations(&meta->annotations, &PATH(root, "annotations"), err);
	check_owners(meta, root, err);
	check_finalizers(meta, root, any_finalizer, err);
	check_managed(meta, root, err);
}

void validate_object_meta(const struct meta_v1_object_meta *meta, const void *object, const struct strategy *strategy, bool namespaced, const char *path, struct error *err) {
	struct path root = PATH(NULL, path);
	if (!str_empty(meta->generate_name)) {
		check_name(strategy->prefix_unchecked ? NAME_PATH_SEGMENT : strategy->name, meta->generate_name, true, &PATH(&root, "generateName"), err);
		if (object && strategy->check_name)
			strategy->check_name(object, meta->generate_name, &PATH(&root, "generateName"), err);
	}
	if (str_empty(meta->name)) {
		required(err, &PATH(&root, "name"), "name or generateName is required");
	} else {
		check_name(strategy->name, meta->name, false, &PATH(&root, "name"), err);
		if (object && strategy->check_name)
			strategy->check_name(object, meta->name, &PATH(&root, "name"), err);
	}
	if (namespaced)
		check_needed(format_dns_label, meta->namespace, &PATH(&root, "namespace"), err);
	else if (!str_empty(meta->namespace))
		forbidden(err, &PATH(&root, "namespace"), "not allowed on this type");
	check_non_negative(meta->generation, &PATH(&root, "generation"), err);
	check_common(meta, &root, strategy->any_finalizer, err);
}

void check_template_meta(const struct meta_v1_object_meta *meta, const struct path *at, struct error *err) {
	static const char *const kept[] = {"labels", "annotations", NULL};
	check_annotations(&meta->annotations, AT("annotations"), err);
	check_labels(&meta->labels, AT("labels"), err);
	forbid_fields(&meta_v1_object_meta_type, meta, kept, true, "cannot be set", at, err);
	/* Kubernetes tells this one by another name. */
	move_causes(AT("uid"), AT("uID"), err);
}

static bool same_time(const struct api_time *a, const struct api_time *b) {
	return a->set == b->set && (!a->set || (a->t.sec == b->t.sec && a->t.nsec == b->t.nsec));
}

void validate_object_meta_update(const struct meta_v1_object_meta *meta, const struct meta_v1_object_meta *old, const struct strategy *strategy, const char *path, struct error *err) {
	struct path root = PATH(NULL, path);
	if (!str_empty(meta->generate_name))
		check_name(strategy->free_prefix ? NAME_PATH_SEGMENT : strategy->name, meta->generate_name, true, &PATH(&root, "generateName"), err);
	const struct { const char *field, *now, *before; } kept[] = {{"name", meta->name, old->name}, {"namespace", meta->namespace, old->namespace}, {"uid", meta->uid, old->uid}};
	for (size_t i = 0; i < array_len(kept); i++)
		if (!str_equal(kept[i].now, kept[i].before))
			invalid(err, &PATH(&root, kept[i].field), kept[i].now, IMMUTABLE_TEXT);
	const struct { const char *field; const struct api_time *now, *before; } times[] = {
		{"creationTimestamp", &meta->creation_timestamp, &old->creation_timestamp}, {"deletionTimestamp", &meta->deletion_timestamp, &old->deletion_timestamp}};
	for (size_t i = 0; i < array_len(times); i++) {
		char text[40] = "";
		if (same_time(times[i].now, times[i].before))
			continue;
		if (times[i].now->set)
			time_format_rfc3339(times[i].now->t, text);
		invalid(err, &PATH(&root, times[i].field), text, IMMUTABLE_TEXT);
	}
	const int64_t *grace = meta->deletion_grace_period_seconds, *kept_grace = old->deletion_grace_period_seconds;
	if (grace && (!kept_grace || *grace != *kept_grace))
		invalid_int(err, &PATH(&root, "deletionGracePeriodSeconds"), *grace, IMMUTABLE_TEXT);
	autobuf struct buf fresh = BUF_INIT(64u << 10);
	for (uint32_t i = 0; old->deletion_timestamp.set && i < meta->finalizers.len; i++)
		if (!api_string_list_has(&old->finalizers, meta->finalizers.items[i]))
			buf_printf(&fresh, "%s\"%s\"", fresh.len ? ", " : "", meta->finalizers.items[i]);
	if (fresh.len)
		forbidden(err, &PATH(&root, "finalizers"), "no new finalizers can be added if the object is being deleted, found new finalizers []string{%s}", fresh.data);
	autoerror struct error found = {0}, before = {0};
	check_common(meta, &root, strategy->any_finalizer, &found);
	if (found.cause_count)
		check_common(old, &root, strategy->any_finalizer, &before);
	for (size_t i = 0; i < found.cause_count; i++) {
		bool stood = false;
		for (size_t n = 0; n < before.cause_count; n++)
			stood |= strcmp(before.causes[n].field, found.causes[i].field) == 0 && strcmp(before.causes[n].message, found.causes[i].message) == 0;
		if (!stood)
			error_cause(err, found.causes[i].reason, found.causes[i].field, "%s", found.causes[i].message);
	}
}

/* ---- types of meta/v1 that stand in many kinds ---- */

bool selects_everything(const struct meta_v1_label_selector *selector) {
	return !selector->match_labels.len && !selector->match_expressions.len;
}

CHECK(meta_v1_label_selector_requirement, r) {
	const char *op = str_or(r->operator, "");
	bool with_values = strcmp(op, "In") == 0 || strcmp(op, "NotIn") == 0, without = strcmp(op, "Exists") == 0 || strcmp(op, "DoesNotExist") == 0;
	size_t from = err->cause_count;
	if (with_values && !r->values.len)
		required(err, AT("values"), "must be specified when `operator` is 'In' or 'NotIn'");
	else if (without && r->values.len)
		forbidden(err, AT("values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
	else if (!with_values && !without)
		invalid(err, AT("operator"), op, "not a valid selector operator");
	tell_at(AT("~operator"), from, err);
	check_format(format_qualified_name, r->key, AT("key"), err);
	for (uint32_t i = 0; i < r->values.len; i++)
		check_format(format_label_value, r->values.items[i], AT_INDEX("values", i), err);
}

bool label_selector_is_good(const struct meta_v1_label_selector *selector) {
	autoerror struct error found = {0};
	struct check c = {.subresource = ""};
	struct path at = {.index = -1};
	check_labels(&selector->match_labels, &at, &found);
	for (uint32_t i = 0; i < selector->match_expressions.len; i++)
		run_meta_v1_label_selector_requirement(&c, &selector->match_expressions.items[i], NULL, &at, &found);
	return !found.cause_count;
}

CHECK(meta_v1_condition, condition) {
	static const char *const statuses[] = {"False", "True", "Unknown", NULL};
	/* Kubernetes looks at the conditions of few kinds; others may hold what they like. */
	const struct api_type *kind = api_type_of(c->object);
	if (kind != &policy_v1_pod_disruption_budget_type && kind != &resource_v1_resource_claim_type && kind != &admissionregistration_v1_validating_admission_policy_type)
		return;
	check_format(format_qualified_name, condition->type, AT("type"), err);
	bool known = false;
	for (size_t i = 0; statuses[i]; i++)
		known |= str_equal(condition->status, statuses[i]);
	if (!known)
		not_supported(err, AT("status"), condition->status, statuses);
	if (condition->observed_generation < 0)
		invalid_int(err, AT("observedGeneration"), condition->observed_generation, "must be greater than or equal to zero");
	if (!condition->last_transition_time.set)
		required(err, AT("lastTransitionTime"), NULL);
	check_needed(format_condition_reason, condition->reason, AT("reason"), err);
	if (strlen(str_or(condition->reason, "")) > 1024)
		too_long(err, AT("reason"), 1024);
	if (strlen(str_or(condition->message, "")) > 32768)
		too_long(err, AT("message"), 32768);
}

void check_condition_types(const struct meta_v1_condition_array *conditions, const struct path *at, struct error *err) {
	automap struct map seen = MAP_INIT(NULL);
	for (uint32_t i = 0; i < conditions->len; i++)
		if (seen_before(&seen, str_or(conditions->items[i].type, "")))
			duplicate(err, &PATH(AT_INDEX("conditions", i), "type"), conditions->items[i].type);
}

const struct checker checkers_meta[] = {ROW(meta_v1_label_selector_requirement), ROW(meta_v1_condition), {0}};

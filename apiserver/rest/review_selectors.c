/* SPDX-License-Identifier: Apache-2.0 */
/* What an access review says is selected: checked as Kubernetes does, which lets operators pass that it does not know. */
#include "apiserver/rest/review.h"
#include "apiserver/validation/validation.h"
#include "api/authorization_v1.h"
#include "common/api/selector.h"

#define VALUES_NEEDED "must be specified when `operator` is 'In' or 'NotIn'"
#define VALUES_FORBIDDEN "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"

static void check_values(const char *operator, const struct api_string_list *values, const struct path *at, struct error *err) {
	bool among = str_equal(operator, "In") || str_equal(operator, "NotIn"), there = str_equal(operator, "Exists") || str_equal(operator, "DoesNotExist");
	if (among && !values->len)
		required(err, AT("values"), VALUES_NEEDED);
	else if (there && values->len)
		forbidden(err, AT("values"), VALUES_FORBIDDEN);
}

static void check_either(const char *raw, uint32_t count, const struct path *at, struct error *err) {
	if (!str_empty(raw) && count)
		invalid(err, AT("rawSelector"), raw, "may not specified at the same time as requirements");
	if (!str_empty(raw) || count)
		return;
	autobuf struct buf where = BUF_INIT(4096);
	path_write(at, &where);
	autofree char *text = xprintf("when %s is specified, requirements or rawSelector is required", str_or(where.data, ""));
	required(err, AT("requirements"), text);
}

static void check_fields(const struct authorization_v1_field_selector_attributes *s, const struct path *above, struct error *err) {
	check_either(s->raw_selector, s->requirements.len, above, err);
	for (uint32_t i = 0; i < s->requirements.len; i++) {
		const struct meta_v1_field_selector_requirement *r = &s->requirements.items[i];
		const struct path here = PATH_INDEX(above, "requirements", i), *at = &here;
		if (str_empty(r->key))
			required(err, AT("key"), "must be specified");
		check_values(r->operator, &r->values, at, err);
	}
}

static void check_label_requirements(const struct authorization_v1_label_selector_attributes *s, const struct path *above, struct error *err) {
	check_either(s->raw_selector, s->requirements.len, above, err);
	for (uint32_t i = 0; i < s->requirements.len; i++) {
		const struct meta_v1_label_selector_requirement *r = &s->requirements.items[i];
		const struct path here = PATH_INDEX(above, "requirements", i), *at = &here;
		check_values(r->operator, &r->values, at, err);
		check_format(format_qualified_name, str_or(r->key, ""), AT("key"), err);
		for (uint32_t n = 0; n < r->values.len; n++)
			check_format(format_label_value, str_or(r->values.items[n], ""), AT_INDEX("values", n), err);
	}
}

void review_check_selectors(const struct authorization_v1_resource_attributes *attributes, struct error *err) {
	const struct path spec = PATH(NULL, "spec"), resource = PATH(&spec, "resourceAttributes"), *at = &resource;
	if (attributes && attributes->field_selector)
		check_fields(attributes->field_selector, AT("fieldSelector"), err);
	if (attributes && attributes->label_selector)
		check_label_requirements(attributes->label_selector, AT("labelSelector"), err);
}

/* ---- what is let pass and yet cannot be looked at ---- */

/* Fields are held against one value. */
static bool is_good_field(const struct meta_v1_field_selector_requirement *r) {
	return r->values.len == 1 && (str_equal(r->operator, "In") || str_equal(r->operator, "NotIn"));
}

static bool is_good_label(const struct meta_v1_label_selector_requirement *r) {
	return str_equal(r->operator, "In") || str_equal(r->operator, "NotIn") || str_equal(r->operator, "Exists") || str_equal(r->operator, "DoesNotExist");
}

static bool is_readable(const char *raw, bool labels) {
	struct selector *selector = NULL;
	bool good = (labels ? label_selector_parse : field_selector_parse)(raw, &selector, NULL) == 0;
	selector_free(selector);
	return good;
}

static const char *ignored(const char *before, const char *field, uint32_t count, uint32_t good, bool unreadable, struct arena *arena) {
	if (good == count && !unreadable)
		return before;
	return arena_printf(arena, "%s%sspec.resourceAttributes.%s %signored due to parse error", str_or(before, ""), before ? "; " : "", field, good ? "partially " : "");
}

const char *review_ignored_selectors(const struct authorization_v1_resource_attributes *attributes, struct arena *arena) {
	const char *text = NULL;
	if (attributes->field_selector) {
		const struct authorization_v1_field_selector_attributes *s = attributes->field_selector;
		uint32_t good = 0;
		for (uint32_t i = 0; i < s->requirements.len; i++)
			good += is_good_field(&s->requirements.items[i]);
		text = ignored(text, "fieldSelector", s->requirements.len, good, !str_empty(s->raw_selector) && !is_readable(s->raw_selector, false), arena);
	}
	if (attributes->label_selector) {
		const struct authorization_v1_label_selector_attributes *s = attributes->label_selector;
		uint32_t good = 0;
		for (uint32_t i = 0; i < s->requirements.len; i++)
			good += is_good_label(&s->requirements.items[i]);
		text = ignored(text, "labelSelector", s->requirements.len, good, !str_empty(s->raw_selector) && !is_readable(s->raw_selector, true), arena);
	}
	return text;
}

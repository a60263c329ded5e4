/* SPDX-License-Identifier: Apache-2.0 */
/* What an access review says is selected: checked as Kubernetes does, which lets operators pass that it does not know. */
#include "apiserver/rest/review.h"
#include "apiserver/validation/validation.h"
#include "api/authorization_v1.h"

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

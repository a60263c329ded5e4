/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conversions, over trees: most of an object is the same in both versions, and what differs is a table of names or a
 * function of one part.
 */
#include "common/api/convert.h"
#include "common/api/convert_autoscaling.h"

#include "api/autoscaling_v1.h"
#include "api/autoscaling_v2.h"
#include "api/core_v1.h"
#include "api/events_v1.h"

#include <errno.h>
#include <stdio.h>

static void rename_key(json_t *object, const char *from, const char *to) {
	json_t *value = json_object_get(object, from);
	if (!value)
		return;
	json_object_set(object, to, value);
	json_object_del(object, from);
}

/* ---- events ---- */

static const struct {
	const char *core, *events;
} event_names[] = {
	{"involvedObject", "regarding"}, {"message", "note"}, {"source", "deprecatedSource"}, {"firstTimestamp", "deprecatedFirstTimestamp"},
	{"lastTimestamp", "deprecatedLastTimestamp"}, {"count", "deprecatedCount"}, {"reportingComponent", "reportingController"},
};

static void event_to_events(json_t *tree) {
	for (size_t i = 0; i < array_len(event_names); i++)
		rename_key(tree, event_names[i].core, event_names[i].events);
}

static void event_to_core(json_t *tree) {
	for (size_t i = 0; i < array_len(event_names); i++)
		rename_key(tree, event_names[i].events, event_names[i].core);
}

/* ---- the table ---- */

static const struct conversion {
	const struct api_type *from, *to;
	void (*convert)(json_t *tree);
} conversions[] = {
	{&core_v1_event_type, &events_v1_event_type, event_to_events},
	{&events_v1_event_type, &core_v1_event_type, event_to_core},
	{&autoscaling_v1_horizontal_pod_autoscaler_type, &autoscaling_v2_horizontal_pod_autoscaler_type, convert_autoscaler_to_v2},
	{&autoscaling_v2_horizontal_pod_autoscaler_type, &autoscaling_v1_horizontal_pod_autoscaler_type, convert_autoscaler_to_v1},
};

static const struct conversion *find_conversion(const struct api_type *from, const struct api_type *to) {
	for (size_t i = 0; i < array_len(conversions); i++)
		if (conversions[i].from == from && conversions[i].to == to)
			return &conversions[i];
	return NULL;
}

bool api_convertible(const struct api_type *from, const struct api_type *to) {
	return from == to || find_conversion(from, to);
}

int api_convert(const void *object, const struct api_type *target, void **ret, struct error *err) {
	const struct api_type *from = api_type_of(object);
	if (from == target) {
		*ret = api_ref(object);
		return 0;
	}
	const struct conversion *conversion = find_conversion(from, target);
	if (!conversion)
		return error_set(err, ENOTSUP, "no conversion from %s to %s", from->id, target->id);
	json_t *tree = api_to_json(from, object);
	if (!tree)
		return error_set(err, EINVAL, "%s cannot be converted", from->id);
	conversion->convert(tree);
	bool core = str_empty(target->group);
	json_object_set_new(tree, "apiVersion", json_sprintf("%s%s%s", core ? "" : target->group, core ? "" : "/", target->version));
	int r = api_from_json(target, tree, NULL, ret, err);
	json_decref(tree);
	return r;
}

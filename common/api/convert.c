/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Conversions, over trees: most of an object is the same in both versions, and what differs is a table of names or a
 * function of one part.
 */
#include "common/api/convert.h"

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

/* ---- horizontal pod autoscalers: v1 keeps what it has no fields for in annotations ---- */

#define METRICS_ANNOTATION "autoscaling.alpha.kubernetes.io/metrics"
#define STATUSES_ANNOTATION "autoscaling.alpha.kubernetes.io/current-metrics"
#define CONDITIONS_ANNOTATION "autoscaling.alpha.kubernetes.io/conditions"
#define BEHAVIOR_ANNOTATION "autoscaling.alpha.kubernetes.io/behavior"

/* A source of a metric in v1's spelling and in v2's: v1 has it flat, v2 groups metric, target or current. */
static const struct {
	const char *v1, *group, *v2;
} source_names[] = {
	{"metricName", "metric", "name"}, {"selector", "metric", "selector"}, {"metricSelector", "metric", "selector"},
	{"targetValue", "target", "value"}, {"averageValue", "target", "averageValue"}, {"targetAverageValue", "target", "averageValue"},
	{"targetAverageUtilization", "target", "averageUtilization"}, {"currentValue", "current", "value"},
	{"currentAverageValue", "current", "averageValue"}, {"currentAverageUtilization", "current", "averageUtilization"},
};
static const struct {
	const char *type, *key;
} metric_types[] = {
	{"Object", "object"}, {"Pods", "pods"}, {"Resource", "resource"}, {"ContainerResource", "containerResource"}, {"External", "external"},
};

static json_t *metric_source(json_t *metric) {
	for (size_t i = 0; i < array_len(metric_types); i++) {
		json_t *source = json_object_get(metric, metric_types[i].key);
		if (json_is_object(source))
			return source;
	}
	return NULL;
}

static json_t *child(json_t *object, const char *key) {
	json_t *value = json_object_get(object, key);
	if (!json_is_object(value)) {
		value = json_object();
		json_object_set_new(object, key, value);
	}
	return value;
}

static void source_to_v2(json_t *source, bool object_source) {
	/* An object's own reference is called target in v1. */
	if (object_source)
		rename_key(source, "target", "describedObject");
	for (size_t i = 0; i < array_len(source_names); i++) {
		json_t *value = json_object_get(source, source_names[i].v1);
		if (!value)
			continue;
		json_t *group = child(source, source_names[i].group);
		json_object_set(group, source_names[i].v2, value);
		json_object_del(source, source_names[i].v1);
	}
	json_t *target = json_object_get(source, "target");
	if (target)
		json_object_set_new(target, "type", json_string(json_object_get(target, "averageUtilization") ? "Utilization" : json_object_get(target, "averageValue") ? "AverageValue" : "Value"));
}

static const char *v1_name(const char *type_key, const char *group, const char *v2) {
	bool object = !strcmp(type_key, "object"), external = !strcmp(type_key, "external");
	if (!strcmp(v2, "selector"))
		return external ? "metricSelector" : "selector";
	if (!strcmp(v2, "averageValue") && object)
		return "averageValue";
	for (size_t i = 0; i < array_len(source_names); i++)
		if (!strcmp(source_names[i].group, group) && !strcmp(source_names[i].v2, v2) && strcmp(source_names[i].v1, "averageValue"))
			return source_names[i].v1;
	return NULL;
}

static void source_to_v1(json_t *source, const char *type_key) {
	static const char *const groups[] = {"metric", "target", "current"};
	json_t *described = json_object_get(source, "describedObject");
	json_incref(described);
	for (size_t g = 0; g < array_len(groups); g++) {
		json_t *group = json_object_get(source, groups[g]), *value;
		const char *key;
		if (!json_is_object(group))
			continue;
		json_incref(group);
		json_object_del(source, groups[g]);
		json_object_foreach(group, key, value) {
			const char *name = strcmp(key, "type") ? v1_name(type_key, groups[g], key) : NULL;
			if (name)
				json_object_set(source, name, value);
		}
		json_decref(group);
	}
	if (described) {
		json_object_del(source, "describedObject");
		json_object_set_new(source, "target", described);
	}
}

/* The text of a list of metrics for an annotation, in v1's form. Takes `list`. */
static void store_metrics(json_t *annotations, const char *name, json_t *list) {
	size_t i;
	json_t *metric;
	if (json_array_size(list)) {
		json_array_foreach(list, i, metric) {
			for (size_t t = 0; t < array_len(metric_types); t++) {
				json_t *source = json_object_get(metric, metric_types[t].key);
				if (json_is_object(source))
					source_to_v1(source, metric_types[t].key);
			}
		}
		autofree char *text = json_dumps(list, JSON_COMPACT);
		if (text)
			json_object_set_new(annotations, name, json_string(text));
	}
	json_decref(list);
}

/* The list that an annotation holds, taken out of it; NULL where there is none. */
static json_t *take_annotation(json_t *annotations, const char *name) {
	const char *text = json_string_value(json_object_get(annotations, name));
	json_t *value = text ? json_loads(text, 0, NULL) : NULL;
	json_object_del(annotations, name);
	return value;
}

static json_t *load_metrics(json_t *annotations, const char *name) {
	json_t *list = take_annotation(annotations, name), *metric;
	size_t i;
	if (!json_is_array(list)) {
		json_decref(list);
		return json_array();
	}
	json_array_foreach(list, i, metric) {
		json_t *source = metric_source(metric);
		if (source)
			source_to_v2(source, json_is_object(json_object_get(metric, "object")));
	}
	return list;
}

static bool is_cpu(json_t *metric, const char *value_group) {
	json_t *resource = json_object_get(metric, "resource");
	const char *name = json_string_value(json_object_get(resource, "name"));
	return name && !strcmp(name, "cpu") && json_object_get(json_object_get(resource, value_group), "averageUtilization");
}

static json_t *take_key(json_t *object, const char *key) {
	json_t *value = json_object_get(object, key);
	json_incref(value);
	json_object_del(object, key);
	return value;
}

/* Takes a cpu metric of utilization out of `list` and returns the percentage; the rest stays. */
static json_t *take_cpu(json_t *list, const char *group) {
	size_t i;
	json_t *metric;
	json_array_foreach(list, i, metric) {
		if (!is_cpu(metric, group))
			continue;
		json_t *percent = json_object_get(json_object_get(json_object_get(metric, "resource"), group), "averageUtilization");
		json_incref(percent);
		/* The status keeps its average value too, which v1 has no field for. */
		if (strcmp(group, "current"))
			json_array_remove(list, i);
		return percent;
	}
	return NULL;
}

static void hpa_to_v1(json_t *tree) {
	json_t *spec = child(tree, "spec"), *status = child(tree, "status");
	json_t *annotations = json_object();
	json_t *metrics = take_key(spec, "metrics"), *current = take_key(status, "currentMetrics");
	json_t *percent = take_cpu(metrics, "target"), *current_percent = take_cpu(current, "current");
	json_t *behavior = take_key(spec, "behavior"), *conditions = take_key(status, "conditions");
	if (percent)
		json_object_set_new(spec, "targetCPUUtilizationPercentage", percent);
	if (current_percent)
		json_object_set_new(status, "currentCPUUtilizationPercentage", current_percent);
	store_metrics(annotations, METRICS_ANNOTATION, metrics);
	store_metrics(annotations, STATUSES_ANNOTATION, current);
	autofree char *behavior_text = behavior ? json_dumps(behavior, JSON_COMPACT) : NULL;
	autofree char *conditions_text = json_array_size(conditions) ? json_dumps(conditions, JSON_COMPACT) : NULL;
	if (behavior_text)
		json_object_set_new(annotations, BEHAVIOR_ANNOTATION, json_string(behavior_text));
	if (conditions_text)
		json_object_set_new(annotations, CONDITIONS_ANNOTATION, json_string(conditions_text));
	json_decref(behavior);
	json_decref(conditions);
	if (json_object_size(annotations))
		json_object_update(child(child(tree, "metadata"), "annotations"), annotations);
	json_decref(annotations);
	if (!json_object_get(status, "currentReplicas"))
		json_object_set_new(status, "currentReplicas", json_integer(0));
}

static void hpa_to_v2(json_t *tree) {
	json_t *spec = child(tree, "spec"), *status = child(tree, "status");
	json_t *annotations = json_object_get(child(tree, "metadata"), "annotations");
	json_t *metrics = load_metrics(annotations, METRICS_ANNOTATION);
	json_t *current = load_metrics(annotations, STATUSES_ANNOTATION);
	json_t *percent = take_key(spec, "targetCPUUtilizationPercentage"), *current_percent = take_key(status, "currentCPUUtilizationPercentage");
	if (percent) {
		json_t *cpu = json_pack("{s:s,s:{s:s,s:{s:s,s:o}}}", "type", "Resource", "resource", "name", "cpu", "target", "type", "Utilization", "averageUtilization", percent);
		json_array_insert_new(metrics, 0, cpu);
	}
	if (current_percent && !json_array_size(current))
		json_array_append_new(current, json_pack("{s:s,s:{s:s,s:{s:O}}}", "type", "Resource", "resource", "name", "cpu", "current", "averageUtilization", current_percent));
	json_decref(current_percent);
	if (json_array_size(metrics))
		json_object_set(spec, "metrics", metrics);
	json_object_set(status, "currentMetrics", json_array_size(current) ? current : json_null());
	json_t *behavior = take_annotation(annotations, BEHAVIOR_ANNOTATION), *conditions = take_annotation(annotations, CONDITIONS_ANNOTATION);
	if (behavior)
		json_object_set_new(spec, "behavior", behavior);
	if (conditions)
		json_object_set_new(status, "conditions", conditions);
	json_decref(metrics);
	json_decref(current);
}

/* ---- the table ---- */

static const struct conversion {
	const struct api_type *from, *to;
	void (*convert)(json_t *tree);
} conversions[] = {
	{&core_v1_event_type, &events_v1_event_type, event_to_events},
	{&events_v1_event_type, &core_v1_event_type, event_to_core},
	{&autoscaling_v1_horizontal_pod_autoscaler_type, &autoscaling_v2_horizontal_pod_autoscaler_type, hpa_to_v2},
	{&autoscaling_v2_horizontal_pod_autoscaler_type, &autoscaling_v1_horizontal_pod_autoscaler_type, hpa_to_v1},
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

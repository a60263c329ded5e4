/* SPDX-License-Identifier: Apache-2.0 */
#include "common/api/convert_autoscaling.h"

#include "api/autoscaling_v2.h"
#include "common/api/api.h"

#include <ctype.h>
#include <string.h>

/* ---- metrics: v1 has them flat, v2 groups the metric, and its target or what it is now ---- */

static const struct source {
	const char *type, *key;
} sources[] = {{"Object", "object"}, {"Pods", "pods"}, {"Resource", "resource"}, {"ContainerResource", "containerResource"}, {"External", "external"}};

#define FLAT NULL
#define VALUE "target" /* "current" in a status */

/* In the order in which v1 shows them. */
static const struct part {
	const char *source;
	const char *wanted, *seen; /* v1's names in a spec and in a status */
	const char *group, *name;  /* v2's */
	bool always_wanted, always_seen; /* v1 has no way to leave it out */
} parts[] = {
	{"object", "target", "target", FLAT, "describedObject", false, false},
	{"object", "metricName", "metricName", "metric", "name", false, false},
	{"object", "targetValue", "currentValue", VALUE, "value", true, true},
	{"object", "selector", "selector", "metric", "selector", false, false},
	{"object", "averageValue", "averageValue", VALUE, "averageValue", false, false},
	{"pods", "metricName", "metricName", "metric", "name", false, false},
	{"pods", "targetAverageValue", "currentAverageValue", VALUE, "averageValue", true, true},
	{"pods", "selector", "selector", "metric", "selector", false, false},
	{"resource", "name", "name", FLAT, "name", false, false},
	{"resource", "targetAverageUtilization", "currentAverageUtilization", VALUE, "averageUtilization", false, false},
	{"resource", "targetAverageValue", "currentAverageValue", VALUE, "averageValue", false, true},
	{"containerResource", "name", "name", FLAT, "name", false, false},
	{"containerResource", "targetAverageUtilization", "currentAverageUtilization", VALUE, "averageUtilization", false, false},
	{"containerResource", "targetAverageValue", "currentAverageValue", VALUE, "averageValue", false, true},
	{"containerResource", "container", "container", FLAT, "container", false, false},
	{"external", "metricName", "metricName", "metric", "name", false, false},
	{"external", "metricSelector", "metricSelector", "metric", "selector", false, false},
	{"external", "targetValue", "currentValue", VALUE, "value", false, true},
	{"external", "targetAverageValue", "currentAverageValue", VALUE, "averageValue", false, false},
};

static const char *group_of(const struct part *part, bool status) {
	return part->group && status && strcmp(part->group, VALUE) == 0 ? "current" : part->group;
}

static json_t *child(json_t *object, const char *key) {
	json_t *value = json_object_get(object, key);
	if (!json_is_object(value)) {
		value = json_object();
		json_object_set_new(object, key, value);
	}
	return value;
}

/* NULL too where it is null. */
static json_t *given(json_t *object, const char *key) {
	json_t *value = json_object_get(object, key);
	return json_is_null(value) ? NULL : value;
}

static bool is_text(json_t *value, const char *text) {
	return json_is_string(value) && strcmp(json_string_value(value), text) == 0;
}

static bool is_zero(json_t *value) {
	struct quantity q;
	if (json_is_string(value))
		return quantity_parse(json_string_value(value), json_string_length(value), &q) == 0 && q.nano == 0;
	return json_is_number(value) && json_number_value(value) == 0;
}

static json_t *source_to_v1(json_t *source, const char *key, bool status) {
	json_t *flat = json_object();
	for (size_t i = 0; i < array_len(parts); i++) {
		const struct part *part = &parts[i];
		const char *group = group_of(part, status), *name = status ? part->seen : part->wanted;
		if (strcmp(part->source, key) != 0)
			continue;
		json_t *value = given(group ? json_object_get(source, group) : source, part->name);
		if (value)
			json_object_set(flat, name, value);
		else if (status ? part->always_seen : part->always_wanted)
			json_object_set_new(flat, name, json_string("0"));
	}
	return flat;
}

static const char *target_type(const char *key, json_t *target) {
	bool resource = strcmp(key, "resource") == 0 || strcmp(key, "containerResource") == 0;
	if (resource)
		return json_object_get(target, "averageUtilization") ? "Utilization" : "AverageValue";
	if (strcmp(key, "object") == 0)
		return json_object_get(target, "averageValue") ? "AverageValue" : "Value";
	return json_object_get(target, "value") ? "Value" : "AverageValue";
}

static json_t *source_to_v2(json_t *flat, const char *key, bool status) {
	json_t *source = json_object(), *target = child(source, status ? "current" : VALUE);
	for (size_t i = 0; i < array_len(parts); i++) {
		const struct part *part = &parts[i];
		const char *group = group_of(part, status);
		if (strcmp(part->source, key) != 0)
			continue;
		json_t *value = given(flat, status ? part->seen : part->wanted), *into = group ? child(source, group) : source;
		if (value)
			json_object_set(into, part->name, value);
		else if (status ? part->always_seen : part->always_wanted)
			json_object_set_new(into, part->name, json_string("0"));
	}
	if (status)
		return source;
	/* v1 cannot leave out an object's value; beside an average, nothing is none. */
	if (strcmp(key, "object") == 0 && json_object_get(target, "averageValue") && is_zero(json_object_get(target, "value")))
		json_object_del(target, "value");
	json_object_set_new(target, "type", json_string(target_type(key, target)));
	return source;
}

static bool are_objects(json_t *list) {
	size_t i;
	json_t *item;
	json_array_foreach(list, i, item)
		if (!json_is_object(item) && !json_is_null(item))
			return false;
	return json_is_array(list);
}

/* Each metric of a list in the other version, those of v1 in the order of its fields. */
static json_t *convert_metrics(json_t *list, bool status, json_t *(*convert)(json_t *source, const char *key, bool status)) {
	json_t *all = json_array(), *metric;
	size_t i;
	json_array_foreach(list, i, metric) {
		json_t *one = json_object(), *type = given(metric, "type");
		json_object_set_new(one, "type", type ? json_incref(type) : json_string(""));
		for (size_t k = 0; k < array_len(sources); k++) {
			json_t *source = given(metric, sources[k].key);
			if (source)
				json_object_set_new(one, sources[k].key, convert(source, sources[k].key, status));
		}
		json_array_append_new(all, one);
	}
	return all;
}

/* The percentage that v1 has a field for; NULL: it is another metric. */
static json_t *cpu_percent(json_t *metric, bool status) {
	json_t *resource = json_object_get(metric, "resource");
	bool is_cpu = is_text(json_object_get(metric, "type"), "Resource") && is_text(json_object_get(resource, "name"), "cpu");
	return is_cpu ? given(json_object_get(resource, status ? "current" : VALUE), "averageUtilization") : NULL;
}

/* ---- behavior: its annotation spells names with a capital, and says what is not there ---- */

static json_t *capital(json_t *object, const char *key) {
	json_t *value = json_object_get(object, key);
	return value ? json_incref(value) : json_null();
}

static json_t *rules_to_v1(json_t *rules) {
	if (!json_is_object(rules))
		return json_null();
	json_t *policies = json_object_get(rules, "policies"), *list = json_is_array(policies) ? json_array() : json_null(), *policy;
	size_t i;
	json_array_foreach(policies, i, policy)
		json_array_append_new(list, json_pack("{s:o,s:o,s:o}", "Type", capital(policy, "type"), "Value", capital(policy, "value"), "PeriodSeconds", capital(policy, "periodSeconds")));
	return json_pack("{s:o,s:o,s:o,s:o}", "StabilizationWindowSeconds", capital(rules, "stabilizationWindowSeconds"), "SelectPolicy", capital(rules, "selectPolicy"), "Policies", list, "Tolerance", capital(rules, "tolerance"));
}

/* A copy whose keys begin small; those of a selector's labels stay. */
static json_t *with_small_keys(json_t *value) {
	if (json_is_array(value)) {
		json_t *list = json_array(), *item;
		size_t i;
		json_array_foreach(value, i, item)
			json_array_append_new(list, with_small_keys(item));
		return list;
	}
	if (!json_is_object(value))
		return json_incref(value);
	json_t *object = json_object(), *member;
	const char *key;
	json_object_foreach(value, key, member) {
		autofree char *small = xstrdup(key);
		*small = (char)tolower((unsigned char)*small);
		json_object_set_new(object, small, strcmp(small, "matchLabels") == 0 ? json_incref(member) : with_small_keys(member));
	}
	return object;
}

/* ---- annotations ---- */

static void put_annotation(json_t *annotations, const char *name, json_t *value) {
	autofree char *text = json_dumps(value, JSON_COMPACT);
	if (text)
		json_object_set_new(annotations, name, json_string(text));
}

/* Whether v2 can have it as this part (spec or status) of an autoscaler. Takes the part. */
static bool is_readable(const char *name, json_t *part) {
	void *object = NULL;
	json_t *tree = json_pack("{s:s,s:s,s:o}", "apiVersion", "autoscaling/v2", "kind", "HorizontalPodAutoscaler", name, part);
	bool readable = api_from_json(&autoscaling_v2_horizontal_pod_autoscaler_type, tree, &(struct api_decode_options){.validation = API_IGNORE}, &object, NULL) == 0;
	json_decref(tree);
	api_unref(object);
	return readable;
}

/* What an annotation says, by v2's names; NULL where there is none or it is no JSON. */
static json_t *read_annotation(json_t *annotations, const char *name) {
	const char *text = json_string_value(json_object_get(annotations, name));
	json_t *value = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL, *small = value ? with_small_keys(value) : NULL;
	json_decref(value);
	return small;
}

/* The list that it holds, in v2's form if it is one of metrics; NULL where it holds none. */
static json_t *read_list(json_t *annotations, const char *name, const char *part, const char *field) {
	json_t *list = read_annotation(annotations, name);
	if (json_is_null(list)) {
		json_decref(list);
		return json_array();
	}
	if (list && strcmp(field, "conditions") != 0) {
		json_t *converted = are_objects(list) ? convert_metrics(list, strcmp(part, "status") == 0, source_to_v2) : NULL;
		json_decref(list);
		list = converted;
	}
	if (list && json_is_array(list) && is_readable(part, json_pack("{s:O}", field, list)))
		return list;
	json_decref(list);
	return NULL;
}

static void drop_annotations(json_t *metadata) {
	static const char *const names[] = {
		AUTOSCALER_METRICS, AUTOSCALER_CURRENT, AUTOSCALER_CONDITIONS, AUTOSCALER_BEHAVIOR,
		"autoscaling.alpha.kubernetes.io/scale-down-tolerance", "autoscaling.alpha.kubernetes.io/scale-up-tolerance",
	};
	for (size_t i = 0; i < array_len(names); i++)
		json_object_del(json_object_get(metadata, "annotations"), names[i]);
}

static json_t *take_key(json_t *object, const char *key) {
	json_t *value = json_object_get(object, key);
	json_incref(value);
	json_object_del(object, key);
	return value;
}

void convert_autoscaler_to_v1(json_t *tree) {
	json_t *spec = child(tree, "spec"), *status = child(tree, "status"), *metadata = child(tree, "metadata"), *annotations = json_object(), *metric;
	json_t *metrics = take_key(spec, "metrics"), *current = take_key(status, "currentMetrics"), *behavior = take_key(spec, "behavior"), *conditions = take_key(status, "conditions");
	json_t *others = json_array();
	size_t i;
	json_array_foreach(metrics, i, metric) {
		json_t *percent = cpu_percent(metric, false);
		if (!percent)
			json_array_append(others, metric);
		else if (!json_object_get(spec, "targetCPUUtilizationPercentage"))
			json_object_set(spec, "targetCPUUtilizationPercentage", percent);
	}
	/* The status keeps its average value too, which v1 has no field for. */
	json_array_foreach(current, i, metric)
		if (cpu_percent(metric, true))
			json_object_set(status, "currentCPUUtilizationPercentage", cpu_percent(metric, true));
	json_t *other_list = convert_metrics(others, false, source_to_v1), *current_list = convert_metrics(current, true, source_to_v1);
	drop_annotations(metadata);
	if (json_array_size(other_list))
		put_annotation(annotations, AUTOSCALER_METRICS, other_list);
	if (json_array_size(current_list))
		put_annotation(annotations, AUTOSCALER_CURRENT, current_list);
	if (json_is_object(behavior)) {
		json_t *capitals = json_pack("{s:o,s:o}", "ScaleUp", rules_to_v1(json_object_get(behavior, "scaleUp")), "ScaleDown", rules_to_v1(json_object_get(behavior, "scaleDown")));
		put_annotation(annotations, AUTOSCALER_BEHAVIOR, capitals);
		json_decref(capitals);
	}
	if (json_array_size(conditions))
		put_annotation(annotations, AUTOSCALER_CONDITIONS, conditions);
	if (json_object_size(annotations))
		json_object_update(child(metadata, "annotations"), annotations);
	if (!json_object_get(status, "currentReplicas"))
		json_object_set_new(status, "currentReplicas", json_integer(0));
	json_t *const done[] = {metrics, current, behavior, conditions, others, other_list, current_list, annotations};
	for (i = 0; i < array_len(done); i++)
		json_decref(done[i]);
}

static json_t *metric_of_cpu(const char *group, json_t *value) {
	return json_pack("{s:s,s:{s:s,s:o}}", "type", "Resource", "resource", "name", "cpu", group, value);
}

void convert_autoscaler_to_v2(json_t *tree) {
	json_t *spec = child(tree, "spec"), *status = child(tree, "status"), *metadata = child(tree, "metadata"), *annotations = json_object_get(metadata, "annotations");
	json_t *metrics = read_list(annotations, AUTOSCALER_METRICS, "spec", "metrics"), *current = read_list(annotations, AUTOSCALER_CURRENT, "status", "currentMetrics");
	json_t *conditions = read_list(annotations, AUTOSCALER_CONDITIONS, "status", "conditions"), *behavior = read_annotation(annotations, AUTOSCALER_BEHAVIOR);
	json_t *percent = take_key(spec, "targetCPUUtilizationPercentage"), *current_percent = take_key(status, "currentCPUUtilizationPercentage");
	if (!metrics)
		metrics = json_array();
	if (percent)
		json_array_append_new(metrics, metric_of_cpu(VALUE, json_pack("{s:s,s:O}", "type", "Utilization", "averageUtilization", percent)));
	/* v1's own default, given here because only here it is known that there is nothing else. */
	if (!json_array_size(metrics))
		json_array_append_new(metrics, metric_of_cpu(VALUE, json_pack("{s:s,s:i}", "type", "Utilization", "averageUtilization", 80)));
	json_object_set(spec, "metrics", metrics);
	if (!current && current_percent)
		current = json_pack("[o]", metric_of_cpu("current", json_pack("{s:O}", "averageUtilization", current_percent)));
	json_object_set(status, "currentMetrics", current ? current : json_null());
	if (conditions)
		json_object_set(status, "conditions", conditions);
	bool behaves = given(behavior, "scaleUp") || given(behavior, "scaleDown");
	if (behaves && is_readable("spec", json_pack("{s:O}", "behavior", behavior)))
		json_object_set(spec, "behavior", behavior);
	drop_annotations(metadata);
	json_t *const done[] = {metrics, current, conditions, behavior, percent, current_percent};
	for (size_t i = 0; i < array_len(done); i++)
		json_decref(done[i]);
}

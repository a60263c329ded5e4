/* SPDX-License-Identifier: Apache-2.0 */
/* Small kinds that say how others behave: PodDisruptionBudget, HorizontalPodAutoscaler, PriorityClass, Lease, Event. */
#include "apiserver/validation/validation.h"
#include "api/autoscaling_v2.h"
#include "api/coordination_v1.h"
#include "api/events_v1.h"
#include "api/policy_v1.h"
#include "api/scheduling_v1.h"

/* ---- PodDisruptionBudget ---- */

CHECK(policy_v1_pod_disruption_budget_spec, spec) {
	if (spec->min_available && spec->max_unavailable)
		invalid_struct(err, at, &policy_v1_pod_disruption_budget_spec_type, spec, "minAvailable and maxUnavailable cannot be both set");
	check_amount(spec->min_available, true, AT("minAvailable"), err);
	check_amount(spec->max_unavailable, true, AT("maxUnavailable"), err);
}

CHECK(policy_v1_pod_disruption_budget_status, status) {
	check_condition_types(&status->conditions, at, err);
}

/* ---- HorizontalPodAutoscaler ---- */

static void check_target_ref(const char *kind, const char *name, const char *version, bool core, const struct path *at, struct error *err) {
	check_needed(format_path_segment, kind, AT("kind"), err);
	check_needed(format_path_segment, name, AT("name"), err);
	const char *slash = strchr(str_or(version, ""), '/');
	if (slash && strchr(slash + 1, '/'))
		invalid(err, AT("apiVersion"), version, "unexpected GroupVersion string: %s", version);
	else if (!core && (!slash || slash == version))
		invalid(err, AT("apiVersion"), version, "apiVersion must specify API group");
}

static void check_replicas(const int32_t *min, int32_t max, const struct path *at, struct error *err) {
	if (min && *min < 1)
		invalid_int(err, AT("minReplicas"), *min, "must be greater than or equal to 1");
	if (!max)
		required(err, AT("maxReplicas"), "must be set and greater than 0");
	else if (max < 0)
		invalid_int(err, AT("maxReplicas"), max, "must be greater than or equal to 1");
	if (min && max < *min)
		invalid_int(err, AT("maxReplicas"), max, "must be greater than or equal to `minReplicas`");
}

/* A version is looked at where it or the kind is new; only one kind of the core can be scaled. */
static void check_scale_target(const char *kind, const char *name, const char *version, bool same, const struct path *at, struct error *err) {
	check_target_ref(kind, name, same ? "a/b" : version, str_equal(kind, "ReplicationController"), at, err);
}

static void check_zero_replicas(const int32_t *min, bool object_or_external, const struct path *at, struct error *err) {
	if (min && *min == 0 && !object_or_external)
		forbidden(err, AT("metrics"), "must specify at least one Object or External metric to support scaling to zero replicas");
}

CHECK(autoscaling_v2_horizontal_pod_autoscaler_spec, spec) {
	bool same = old && str_equal(spec->scale_target_ref.kind, old->scale_target_ref.kind) && str_equal(spec->scale_target_ref.api_version, old->scale_target_ref.api_version), other = false;
	for (uint32_t i = 0; i < spec->metrics.len; i++)
		other |= str_equal(spec->metrics.items[i].type, "Object") || str_equal(spec->metrics.items[i].type, "External");
	check_replicas(spec->min_replicas, spec->max_replicas, at, err);
	check_zero_replicas(spec->min_replicas, other, at, err);
	check_scale_target(spec->scale_target_ref.kind, spec->scale_target_ref.name, spec->scale_target_ref.api_version, same, AT("scaleTargetRef"), err);
}

CHECK(autoscaling_v2_hpa_scaling_rules, rules) {
	const int32_t *window = rules->stabilization_window_seconds;
	if (window && *window < 0)
		invalid_int(err, AT("stabilizationWindowSeconds"), *window, "must be greater than or equal to zero");
	if (window && *window > 3600)
		invalid_int(err, AT("stabilizationWindowSeconds"), *window, "must be less than or equal to 3600");
	if (!rules->policies.len)
		required(err, AT("policies"), "must specify at least one Policy");
}

CHECK(autoscaling_v2_hpa_scaling_policy, policy) {
	static const char *const types[] = {"Percent", "Pods", NULL};
	if (!str_equal(policy->type, "Pods") && !str_equal(policy->type, "Percent"))
		not_supported(err, AT("type"), policy->type, types);
	if (policy->value <= 0)
		invalid_int(err, AT("value"), policy->value, "must be greater than zero");
	if (policy->period_seconds <= 0)
		invalid_int(err, AT("periodSeconds"), policy->period_seconds, "must be greater than zero");
	if (policy->period_seconds > 1800)
		invalid_int(err, AT("periodSeconds"), policy->period_seconds, "must be less than or equal to 1800");
}

CHECK(autoscaling_v2_metric_spec, metric) {
	static const char *const sorted[] = {"ContainerResource", "External", "Object", "Pods", "Resource", NULL};
	const struct { const char *type, *field; bool set; } sources[] = {
		{"Object", "object", metric->object}, {"External", "external", metric->external}, {"Pods", "pods", metric->pods}, {"Resource", "resource", metric->resource},
		{"ContainerResource", "containerResource", metric->container_resource},
	};
	const char *type = str_or(metric->type, "");
	size_t count = 0;
	bool known = false;
	for (size_t i = 0; i < array_len(sources); i++) {
		/* Only the first is judged. */
		if (sources[i].set && count++)
			drop_judgement(AT(sources[i].field), err);
		known |= strcmp(type, sources[i].type) == 0;
		if (strcmp(type, sources[i].type) == 0 && !sources[i].set)
			required(err, AT(sources[i].field), "must populate information for the given metric source");
	}
	if (!*type)
		required(err, AT("type"), "must specify a metric source type");
	if (!known) {
		/* Told by who judges the type, and by who would judge its source. */
		not_supported(err, AT("type"), type, sorted);
		not_supported(err, AT("type"), type, sorted);
	}
	for (size_t i = 0; count != 1 && i < array_len(sources); i++)
		if (sources[i].set && strcmp(type, sources[i].type) != 0)
			forbidden(err, AT(sources[i].field), "must populate the given metric source only");
}

CHECK(autoscaling_v2_metric_target, target) {
	if (str_empty(target->type))
		required(err, AT("type"), "must specify a metric target type");
	if (!str_equal(target->type, "Utilization") && !str_equal(target->type, "Value") && !str_equal(target->type, "AverageValue"))
		invalid(err, AT("type"), target->type, "must be either Utilization, Value, or AverageValue");
	if (target->value.set && target->value.nano <= 0)
		invalid_quantity(err, AT("value"), &target->value, "must be positive");
	if (target->average_value.set && target->average_value.nano <= 0)
		invalid_quantity(err, AT("averageValue"), &target->average_value, "must be positive");
	if (target->average_utilization && *target->average_utilization < 1)
		invalid_int(err, AT("averageUtilization"), *target->average_utilization, "must be greater than 0");
}

CHECK(autoscaling_v2_metric_identifier, metric) {
	/* Whoever serves the metric judges how it is selected. */
	drop_judgement(AT("selector"), err);
	if (check_is_status(c))
		return; /* what was measured */
	if (str_empty(metric->name))
		required(err, AT("name"), "must specify a metric name");
	else
		check_format(format_path_segment, metric->name, AT("name"), err);
}

CHECK(autoscaling_v2_object_metric_source, source) {
	const struct autoscaling_v2_cross_version_object_reference *ref = &source->described_object;
	check_target_ref(ref->kind, ref->name, ref->api_version, true, AT("describedObject"), err);
	if (!source->target.value.set && !source->target.average_value.set)
		required(err, &PATH(AT("target"), "averageValue"), "must set either a target value or averageValue");
}

CHECK(autoscaling_v2_external_metric_source, source) {
	if (!source->target.value.set && !source->target.average_value.set)
		required(err, &PATH(AT("target"), "averageValue"), "must set either a target value for metric or a per-pod target");
	if (source->target.value.set && source->target.average_value.set)
		forbidden(err, &PATH(AT("target"), "value"), "may not set both a target value for metric and a per-pod target");
}

CHECK(autoscaling_v2_pods_metric_source, source) {
	if (!source->target.average_value.set)
		required(err, &PATH(AT("target"), "averageValue"), "must specify a positive target averageValue");
}

static void check_resource_source(const char *name, const struct autoscaling_v2_metric_target *target, const struct path *at, struct error *err) {
	if (str_empty(name))
		required(err, AT("name"), "must specify a resource name");
	if (!target->average_utilization && !target->average_value.set)
		required(err, &PATH(AT("target"), "averageUtilization"), "must set either a target raw value or a target utilization");
	if (target->average_utilization && target->average_value.set)
		forbidden(err, &PATH(AT("target"), "averageValue"), "may not set both a target raw value and a target utilization");
}

CHECK(autoscaling_v2_resource_metric_source, source) {
	check_resource_source(source->name, &source->target, at, err);
}

CHECK(autoscaling_v2_container_resource_metric_source, source) {
	check_resource_source(source->name, &source->target, at, err);
	if (!str_empty(source->name))
		check_container_resource_name(source->name, AT("name"), err);
	if (str_empty(source->container))
		required(err, AT("container"), "must specify a container");
	else
		check_format(format_dns_label, source->container, AT("container"), err);
}

/* ---- PriorityClass ---- */

CHECK(scheduling_v1_priority_class, class) {
	static const struct { const char *name; int32_t value; } system[] = {{"system-node-critical", 2000001000}, {"system-cluster-critical", 2000000000}};
	const char *name = str_or(class->metadata.name, "");
	if (!old && class->preemption_policy)
		check_preemption(class->preemption_policy, AT("preemptionPolicy"), err);
	if (str_starts_with(name, "system-") && !old) {
		autofree char *why = xprintf("%s is not a known system priority class", name);
		for (size_t i = 0; i < array_len(system); i++) {
			if (strcmp(name, system[i].name) != 0)
				continue;
			free(why);
			why = class->value != system[i].value ? xprintf("value of %s PriorityClass must be %d", name, system[i].value)
			      : class->global_default	      ? xprintf("globalDefault of %s PriorityClass must be false", name)
							      : NULL;
		}
		if (why)
			forbidden(err, &PATH(AT("metadata"), "name"), "priority class names with 'system-' prefix are reserved for system use only. error: %s", why);
	} else if (!old && class->value > 1000000000) {
		forbidden(err, AT("value"), "maximum allowed value of a user defined priority is 1000000000");
	}
	if (old && class->value != old->value)
		forbidden(err, AT("value"), "may not be changed in an update.");
}

/* ---- Lease ---- */

CHECK(coordination_v1_lease_spec, spec) {
	if (spec->lease_duration_seconds && *spec->lease_duration_seconds <= 0)
		invalid_int(err, AT("leaseDurationSeconds"), *spec->lease_duration_seconds, "must be greater than 0");
}

/* ---- Event ---- */

/* What both versions of the kind have, under the names of the core one. */
struct event {
	const char *ns, *object_ns, *reporter, *instance, *action, *reason, *message, *reporter_field;
	bool has_time;
};

static void check_text(const char *text, const char *field, size_t most, const struct path *at, struct error *err) {
	if (most != 1024 && str_empty(text))
		required(err, AT(field), NULL);
	if (strlen(str_or(text, "")) > most)
		invalid(err, AT(field), "", "can have at most %zu characters", most);
}

static void check_event(const struct event *e, struct error *err) {
	struct path root = {.index = -1}, *at = &root, involved = PATH(NULL, "involvedObject");
	const char *ns = str_or(e->ns, ""), *object = str_or(e->object_ns, "");
	bool is_default = strcmp(ns, "default") == 0;
	bool good = e->has_time ? *object || is_default || strcmp(ns, "kube-system") == 0 : *object ? strcmp(ns, object) == 0 : !*ns || is_default;
	if (!good)
		invalid(err, &PATH(&involved, "namespace"), object, "does not match event.namespace");
	if (!e->has_time)
		return;
	if (str_empty(e->reporter))
		required(err, AT(e->reporter_field), NULL);
	check_format(format_qualified_name, e->reporter, AT(e->reporter_field), err);
	check_text(e->instance, "reportingInstance", 128, at, err);
	check_text(e->action, "action", 128, at, err);
	check_text(e->reason, "reason", 128, at, err);
	check_text(e->message, "message", 1024, at, err);
}

CHECK(core_v1_event, event) {
	const struct event e = {
		.ns = event->metadata.namespace, .object_ns = event->involved_object.namespace, .reporter = event->reporting_component, .instance = event->reporting_instance,
		.action = event->action, .reason = event->reason, .message = event->message, .reporter_field = "reportingComponent", .has_time = event->event_time.set,
	};
	check_event(&e, err);
}

static bool same_series(const struct events_v1_event_series *a, const struct events_v1_event_series *b) {
	return !a || !b ? a == b : api_equal(&events_v1_event_series_type, a, b);
}

CHECK(events_v1_event, event) {
	const struct event e = {
		.ns = event->metadata.namespace, .object_ns = event->regarding.namespace, .reporter = event->reporting_controller, .instance = event->reporting_instance,
		.action = event->action, .reason = event->reason, .message = event->note, .reporter_field = "reportingController", .has_time = event->event_time.set,
	};
	check_event(&e, err);
	if (event->series && (!old || !same_series(event->series, old->series))) {
		if (event->series->count < 2)
			invalid(err, AT("series.count"), "", "should be at least 2");
		if (!event->series->last_observed_time.set)
			required(err, AT("series.lastObservedTime"), NULL);
	}
	if (old) {
		/* The reason is looked at twice there. */
		static const struct { const char *field, *shown; } fixed[] = {
			{"regarding", "involvedObject"}, {"reason", "reason"}, {"note", "message"}, {"deprecatedSource", "source"}, {"deprecatedFirstTimestamp", "firstTimestamp"},
			{"deprecatedLastTimestamp", "lastTimestamp"}, {"deprecatedCount", "count"}, {"reason", "reason"}, {"type", "type"}, {"eventTime", "eventTime"}, {"action", "action"},
			{"related", "related"}, {"reportingController", "reportingController"}, {"reportingInstance", "reportingInstance"},
		};
		for (size_t i = 0; i < array_len(fixed); i++) {
			size_t offset;
			const struct api_field *f = api_field_find(&events_v1_event_type, fixed[i].field, strlen(fixed[i].field), &offset);
			autobuf struct buf json = BUF_INIT(1u << 20);
			const void *now = api_field_value(f, event);
			if (api_field_same(f, event, old))
				continue;
			if (now)
				api_encode_json_element(f, now, &json);
			invalid_struct(err, AT(fixed[i].shown), NULL, json.data, IMMUTABLE_TEXT);
		}
		return;
	}
	if (!event->event_time.set)
		required(err, AT("eventTime"), NULL);
	if (!str_equal(event->type, "Normal") && !str_equal(event->type, "Warning"))
		invalid(err, AT("type"), "", "has invalid value: %s", str_or(event->type, ""));
	const struct { bool set; const char *name; } unset[] = {
		{event->deprecated_first_timestamp.set, "firstTimestamp"}, {event->deprecated_last_timestamp.set, "lastTimestamp"}, {event->deprecated_count != 0, "count"},
		{!str_empty(event->deprecated_source.component) || !str_empty(event->deprecated_source.host), "source"},
	};
	for (size_t i = 0; i < array_len(unset); i++)
		if (unset[i].set)
			invalid(err, AT(unset[i].name), "", "needs to be unset");
}

const struct checker checkers_policy[] = {
	ROW(policy_v1_pod_disruption_budget_spec), ROW(policy_v1_pod_disruption_budget_status), ROW(autoscaling_v2_horizontal_pod_autoscaler_spec),
	ROW(autoscaling_v2_hpa_scaling_rules), ROW(autoscaling_v2_hpa_scaling_policy), ROW(autoscaling_v2_metric_spec), ROW(autoscaling_v2_metric_target),
	ROW(autoscaling_v2_metric_identifier), ROW(autoscaling_v2_object_metric_source), ROW(autoscaling_v2_external_metric_source), ROW(autoscaling_v2_pods_metric_source),
	ROW(autoscaling_v2_resource_metric_source), ROW(autoscaling_v2_container_resource_metric_source), ROW(scheduling_v1_priority_class), ROW(coordination_v1_lease_spec),
	ROW(core_v1_event), ROW(events_v1_event), {0},
};

/* SPDX-License-Identifier: Apache-2.0 */
/* HorizontalPodAutoscaler: as many replicas as bring each metric to its target, the most of all metrics, no faster than its behavior allows. */
#include "controller-manager/autoscaling/behavior.h"
#include "controller-manager/autoscaling/replicas.h"
#include "controller-manager/autoscaling/scale.h"
#include "controller-manager/controller.h"
#include "controller-manager/shared/owners.h"

#include "api/autoscaling_v2.h"
#include "api/core_v1.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

typedef struct autoscaling_v2_horizontal_pod_autoscaler hpa_t;
typedef struct autoscaling_v2_metric_spec metric_spec;
typedef struct autoscaling_v2_metric_status metric_status;

struct state {
	pthread_mutex_t lock;
	struct map histories; /* struct behavior_history by "ns/name"; each used by the worker of its key alone */
	struct map selectors; /* text of the target's selector by "ns/name" */
	struct map looked;    /* hash of the spec that was last looked at, uint64_t by "ns/name" */
};

static void *state_new(void)
{
	struct state *state = xnew(struct state);
	pthread_mutex_init(&state->lock, NULL);
	state->histories = MAP_INIT(behavior_history_free);
	state->selectors = MAP_INIT(free);
	state->looked = MAP_INIT(free);
	return state;
}

static void state_free(void *arg)
{
	struct state *state = arg;
	map_done(&state->histories);
	map_done(&state->selectors);
	map_done(&state->looked);
	pthread_mutex_destroy(&state->lock);
	free(state);
}

static struct behavior_history *history_of(struct state *state, const char *key)
{
	pthread_mutex_lock(&state->lock);
	struct behavior_history *history = map_get(&state->histories, key);
	if (!history) {
		history = xnew(struct behavior_history);
		map_set(&state->histories, key, history);
	}
	pthread_mutex_unlock(&state->lock);
	return history;
}

static void forget(struct state *state, const char *key)
{
	pthread_mutex_lock(&state->lock);
	map_remove(&state->histories, key);
	map_remove(&state->selectors, key);
	map_remove(&state->looked, key);
	pthread_mutex_unlock(&state->lock);
}

static uint64_t spec_hash(const hpa_t *hpa)
{
	return api_hash(&autoscaling_v2_horizontal_pod_autoscaler_spec_type, &hpa->spec);
}

/* Remembers which spec is being looked at. */
static void note_spec(struct state *state, const char *key, const hpa_t *hpa)
{
	uint64_t hash = spec_hash(hpa);
	pthread_mutex_lock(&state->lock);
	map_set(&state->looked, key, xmemdup(&hash, sizeof(hash)));
	pthread_mutex_unlock(&state->lock);
}

/* ---- conditions ---- */

#define ABLE "AbleToScale"
#define ACTIVE "ScalingActive"
#define LIMITED "ScalingLimited"

static void set_condition(hpa_t *hpa, const char *type, bool status, const char *reason, const char *message)
{
	struct arena *arena = api_arena(hpa);
	struct autoscaling_v2_horizontal_pod_autoscaler_condition *condition = NULL;
	for (uint32_t i = 0; i < hpa->status.conditions.len && !condition; i++)
		if (str_equal(hpa->status.conditions.items[i].type, type))
			condition = &hpa->status.conditions.items[i];
	if (!condition)
		condition = api_list_add(arena, &hpa->status.conditions);
	const char *text = status ? "True" : "False";
	if (!str_equal(condition->status, text))
		condition->last_transition_time = api_time_now();
	condition->type = type;
	condition->status = text;
	condition->reason = reason;
	condition->message = arena_strdup(arena, message);
}

/* ---- one metric ---- */

struct looked_at {
	struct reconciler *r;
	hpa_t *hpa;
	const struct scale *scale;
	struct informer_list pods;
	struct replicas_of of;
};

/* What one metric says. */
struct proposal {
	int32_t replicas;
	const char *metric;  /* its name for reasons; in the hpa's arena */
	metric_status status;
};

static struct tolerance tolerance_of(const struct looked_at *l)
{
	double fallback = l->r->world->settings->hpa_tolerance;
	struct tolerance t = {fallback, fallback};
	const struct autoscaling_v2_horizontal_pod_autoscaler_behavior *behavior = l->hpa->spec.behavior;
	if (behavior && behavior->scale_up && behavior->scale_up->tolerance.set)
		t.up = (double)behavior->scale_up->tolerance.nano / 1e9;
	if (behavior && behavior->scale_down && behavior->scale_down->tolerance.set)
		t.down = (double)behavior->scale_down->tolerance.nano / 1e9;
	return t;
}

static struct quantity milli(int64_t value, const char *resource)
{
	/* Memory in whole bytes reads as people write it. */
	if (str_equal(resource, "memory") && value % 1000 == 0)
		return quantity_of(value / 1000, QUANTITY_BINARY_SI);
	return quantity_of_milli(value, QUANTITY_DECIMAL_SI);
}

static int resource_proposal(struct looked_at *l, const char *name, const char *container, const struct autoscaling_v2_metric_target *target,
	struct autoscaling_v2_metric_value_status *current, struct proposal *ret, struct error *err)
{
	struct arena *arena = api_arena(l->hpa);
	autovalues struct metric_values values = {0};
	struct replicas_of of = l->of;
	int64_t average;
	int32_t percent;
	of.resource = name;
	of.container = container;
	bool by_average = target->average_value.set;
	if (!by_average && !target->average_utilization)
		return error_set(err, EINVAL, "invalid resource metric source: neither an average utilization target nor an average value (usage) target was set");
	int r = metric_of_resource(l->r->world, l->hpa->metadata.namespace, l->scale->selector, name, container, &values, err);
	if (r) {
		error_context(err, "failed to get %s %s: unable to get metrics for resource %s", name, by_average ? "usage" : "utilization", name);
		return r;
	}
	if (by_average) {
		r = replicas_by_average(&of, &values, quantity_milli_value(&target->average_value), &ret->replicas, &average, err);
		ret->metric = arena_printf(arena, "%s resource", name);
	} else {
		r = replicas_by_utilization(&of, &values, *target->average_utilization, &ret->replicas, &percent, &average, err);
		ret->metric = arena_printf(arena, "%s %sresource utilization (percentage of request)", name, container ? "container " : "");
		if (!r)
			current->average_utilization = api_int32(arena, percent);
	}
	if (r) {
		error_context(err, "failed to get %s %s", name, by_average ? "usage" : "utilization");
		return r;
	}
	current->average_value = milli(average, name);
	return 0;
}

static int of_resource(struct looked_at *l, const metric_spec *spec, struct proposal *ret, struct error *err)
{
	struct autoscaling_v2_resource_metric_status *status = arena_new_type(api_arena(l->hpa), struct autoscaling_v2_resource_metric_status);
	status->name = spec->resource->name;
	ret->status.resource = status;
	return resource_proposal(l, spec->resource->name, NULL, &spec->resource->target, &status->current, ret, err);
}

static int of_container(struct looked_at *l, const metric_spec *spec, struct proposal *ret, struct error *err)
{
	struct autoscaling_v2_container_resource_metric_status *status = arena_new_type(api_arena(l->hpa), struct autoscaling_v2_container_resource_metric_status);
	const struct autoscaling_v2_container_resource_metric_source *source = spec->container_resource;
	status->name = source->name;
	status->container = source->container;
	ret->status.container_resource = status;
	return resource_proposal(l, source->name, source->container, &source->target, &status->current, ret, err);
}

static int of_pods(struct looked_at *l, const metric_spec *spec, struct proposal *ret, struct error *err)
{
	struct autoscaling_v2_pods_metric_status *status = arena_new_type(api_arena(l->hpa), struct autoscaling_v2_pods_metric_status);
	autovalues struct metric_values values = {0};
	int64_t average;
	status->metric = spec->pods->metric;
	ret->status.pods = status;
	ret->metric = arena_printf(api_arena(l->hpa), "pods metric %s", spec->pods->metric.name);
	int r = metric_of_pods(l->r->world, l->hpa->metadata.namespace, l->scale->selector, &spec->pods->metric, &values, err);
	if (r) {
		error_context(err, "unable to get metric %s", spec->pods->metric.name);
		return r;
	}
	r = replicas_by_average(&l->of, &values, quantity_milli_value(&spec->pods->target.average_value), &ret->replicas, &average, err);
	if (!r)
		status->current.average_value = milli(average, NULL);
	return r;
}

/* Objects and external metrics: one value against a whole target, or against one for each pod. */
static int of_value(struct looked_at *l, const struct autoscaling_v2_metric_target *target, int64_t value, struct autoscaling_v2_metric_value_status *current, struct proposal *ret,
	struct error *err)
{
	if (target->value.set) {
		current->value = milli(value, NULL);
		return replicas_by_value(&l->of, value, quantity_milli_value(&target->value), &ret->replicas, err);
	}
	if (!target->average_value.set)
		return error_set(err, EINVAL, "neither a value target nor an average value target was set");
	int64_t average;
	ret->replicas = replicas_by_share(l->scale->current, l->of.tolerance, value, quantity_milli_value(&target->average_value), &average);
	current->average_value = milli(average, NULL);
	return 0;
}

static int of_object(struct looked_at *l, const metric_spec *spec, struct proposal *ret, struct error *err)
{
	struct arena *arena = api_arena(l->hpa);
	struct autoscaling_v2_object_metric_status *status = arena_new_type(arena, struct autoscaling_v2_object_metric_status);
	const struct autoscaling_v2_object_metric_source *source = spec->object;
	const struct autoscaling_v2_cross_version_object_reference *object = &source->described_object;
	autofree char *path = NULL, *group_resource = NULL;
	int64_t value;
	status->metric = source->metric;
	status->described_object = *object;
	ret->status.object = status;
	ret->metric = arena_printf(arena, "%s metric %s", object->kind, source->metric.name);
	int r = scale_find_resource(l->r->world, l->hpa->metadata.namespace, object->api_version, object->kind, &path, &group_resource, err);
	r = r ? r : metric_of_object(l->r->world, l->hpa->metadata.namespace, group_resource, object->name, &source->metric, &value, err);
	if (r) {
		autofree char *why = xstrdup(error_message(err));
		return error_set(err, err ? err->errnum : EIO, "unable to get metric %s: %s on %s %s/%s", source->metric.name, object->kind, l->hpa->metadata.namespace, object->name, why);
	}
	return of_value(l, &source->target, value, &status->current, ret, err);
}

/* As Kubernetes writes one in its messages. The caller frees. */
static char *show_selector(const struct meta_v1_label_selector *selector)
{
	struct buf out = BUF_INIT(64 << 10);
	if (!selector)
		return xstrdup("nil");
	buf_append_str(&out, "&LabelSelector{MatchLabels:map[string]string{");
	for (uint32_t i = 0; i < selector->match_labels.len; i++)
		buf_printf(&out, "%s: %s,", selector->match_labels.items[i].key, selector->match_labels.items[i].value);
	buf_append_str(&out, "},MatchExpressions:[]LabelSelectorRequirement{");
	for (uint32_t i = 0; i < selector->match_expressions.len; i++) {
		const struct meta_v1_label_selector_requirement *e = &selector->match_expressions.items[i];
		buf_printf(&out, "LabelSelectorRequirement{Key:%s,Operator:%s,Values:[", e->key, e->operator);
		for (uint32_t n = 0; n < e->values.len; n++)
			buf_printf(&out, "%s%s", n ? " " : "", e->values.items[n]);
		buf_append_str(&out, "],},");
	}
	buf_append_str(&out, "},}");
	return buf_take(&out);
}

static int of_external(struct looked_at *l, const metric_spec *spec, struct proposal *ret, struct error *err)
{
	struct arena *arena = api_arena(l->hpa);
	struct autoscaling_v2_external_metric_status *status = arena_new_type(arena, struct autoscaling_v2_external_metric_status);
	autovalues struct metric_values values = {0};
	int64_t sum = 0;
	status->metric = spec->external->metric;
	ret->status.external = status;
	ret->metric = arena_printf(arena, "external metric %s", spec->external->metric.name);
	int r = metric_external(l->r->world, l->hpa->metadata.namespace, &spec->external->metric, &values, err);
	if (r) {
		autofree char *selector = show_selector(spec->external->metric.selector);
		error_context(err, "unable to get external metric %s/%s/%s", l->hpa->metadata.namespace, spec->external->metric.name, selector);
		return r;
	}
	for (size_t i = 0; i < values.len; i++)
		sum += values.items[i].milli;
	return of_value(l, &spec->external->target, sum, &status->current, ret, err);
}

/* A row for each type of metric; `part` is where its source stands. */
static const struct metric_type {
	const char *type, *failed_reason;
	size_t part;
	int (*propose)(struct looked_at *l, const metric_spec *spec, struct proposal *ret, struct error *err);
} metric_types[] = {
	{"Resource", "FailedGetResourceMetric", offsetof(metric_spec, resource), of_resource},
	{"ContainerResource", "FailedGetContainerResourceMetric", offsetof(metric_spec, container_resource), of_container},
	{"Pods", "FailedGetPodsMetric", offsetof(metric_spec, pods), of_pods},
	{"Object", "FailedGetObjectMetric", offsetof(metric_spec, object), of_object},
	{"External", "FailedGetExternalMetric", offsetof(metric_spec, external), of_external},
};

static int propose(struct looked_at *l, const metric_spec *spec, struct proposal *ret, const char **ret_reason, struct error *err)
{
	for (size_t i = 0; i < array_len(metric_types); i++) {
		const struct metric_type *type = &metric_types[i];
		if (!str_equal(type->type, spec->type) || !*(void *const *)((const char *)spec + type->part))
			continue;
		*ret_reason = type->failed_reason;
		ret->status.type = spec->type;
		return type->propose(l, spec, ret, err);
	}
	*ret_reason = "InvalidMetricSourceType";
	return error_set(err, EINVAL, "unknown metric source type \"%s\"", str_or(spec->type, ""));
}

/* What an Event calls the metric that could not be read. */
static const char *name_of_value(struct arena *arena, const metric_spec *spec)
{
	if (spec->resource)
		return arena_printf(arena, "%s resource", spec->resource->name);
	if (spec->container_resource)
		return arena_printf(arena, "%s container", spec->container_resource->container);
	if (spec->external)
		return arena_printf(arena, "%s external", spec->external->metric.name);
	return spec->pods ? "pods" : "object";
}

/* The most that any metric asks for. Where some cannot be read, only more than there are now is believed. */
static int propose_all(struct looked_at *l, int32_t *ret, const char **ret_metric, struct error *err)
{
	hpa_t *hpa = l->hpa;
	struct arena *arena = api_arena(hpa);
	size_t invalid = 0, count = hpa->spec.metrics.len;
	const char *first_reason = NULL, *first_name = NULL, *metric = "";
	autoerror struct error first = {0};
	int32_t most = -1;
	hpa->status.current_metrics.len = 0;
	for (size_t i = 0; i < count; i++) {
		struct proposal proposal = {0};
		autoerror struct error failed = {0};
		const char *reason;
		/* One that cannot be read has its place too: whoever shows them goes by the order of the specification. */
		metric_status *status = api_list_add(arena, &hpa->status.current_metrics);
		status->type = "";
		if (propose(l, &hpa->spec.metrics.items[i], &proposal, &reason, &failed) < 0) {
			reconciler_event(l->r, hpa, EVENT_WARNING, reason, "%s", error_message(&failed));
			if (!invalid++) {
				first_reason = reason;
				first_name = name_of_value(arena, &hpa->spec.metrics.items[i]);
				error_move(&first, &failed);
			}
			continue;
		}
		*status = proposal.status;
		if (proposal.replicas > most) {
			most = proposal.replicas;
			metric = proposal.metric;
		}
	}
	if (invalid == count || (invalid && most < l->scale->replicas)) {
		char *message = arena_printf(arena, "the HPA was unable to compute the replica count: %s", error_message(&first));
		set_condition(hpa, ACTIVE, false, str_or(first_reason, "InvalidMetricSourceType"), message);
		return error_set(err, ENODATA, "invalid metrics (%zu invalid out of %zu), first error is: failed to get %s metric value: %s", invalid, count, first_name, error_message(&first));
	}
	set_condition(hpa, ACTIVE, true, "ValidMetricFound", arena_printf(arena, "the HPA was able to successfully calculate a replica count from %s", metric));
	*ret = most;
	*ret_metric = metric;
	return 0;
}

/* ---- whose pods they are ---- */

static bool selects_any(const char *text, const struct informer_list *pods)
{
	struct selector *selector = NULL;
	bool any = false;
	if (label_selector_parse(text, &selector, NULL) < 0)
		return false;
	for (size_t i = 0; i < pods->len && !any; i++)
		any = selector_matches_labels(selector, &api_metadata(pods->items[i])->labels);
	selector_free(selector);
	return any;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Names of all autoscalers of the namespace whose targets have some of these pods, where this is not the only one; else NULL. In the arena of the autoscaler. */
static const char *rivals(struct looked_at *l)
{
	struct state *state = l->r->state;
	const char *ns = l->hpa->metadata.namespace;
	autofree const char **names = NULL;
	size_t count = 0;
	struct map_entry *entry;
	pthread_mutex_lock(&state->lock);
	names = xcalloc(max_of(state->selectors.len, (size_t)1), sizeof(*names));
	for (size_t i = 0; (entry = map_next(&state->selectors, &i));) {
		size_t len = strlen(ns);
		if (strncmp(entry->key, ns, len) == 0 && entry->key[len] == '/' && selects_any(entry->value, &l->pods))
			names[count++] = entry->key;
	}
	qsort(names, count, sizeof(*names), compare_names);
	const char *found = count > 1 ? names[0] : NULL; /* this one is always among them */
	for (size_t i = 1; i < count; i++)
		found = arena_printf(api_arena(l->hpa), "%s %s", found, names[i]);
	pthread_mutex_unlock(&state->lock);
	return found;
}

/* Fills l->pods; an error with its condition where the selector is of no use. */
static int find_pods(struct looked_at *l, const char *key, struct error *err)
{
	struct state *state = l->r->state;
	struct selector *selector = NULL;
	hpa_t *hpa = l->hpa;
	if (!*l->scale->selector) {
		reconciler_event(l->r, hpa, EVENT_WARNING, "SelectorRequired", "selector is required");
		set_condition(hpa, ACTIVE, false, "InvalidSelector", "the HPA target's scale is missing a selector");
		return error_set(err, EINVAL, "selector is required");
	}
	if (label_selector_parse(l->scale->selector, &selector, err) < 0) {
		const char *text = arena_printf(api_arena(hpa), "couldn't convert selector into a corresponding internal selector object: %s", error_message(err));
		reconciler_event(l->r, hpa, EVENT_WARNING, "InvalidSelector", "%s", text);
		set_condition(hpa, ACTIVE, false, "InvalidSelector", text);
		return -EINVAL;
	}
	autolist struct informer_list all = INFORMER_LIST_INIT;
	world_list_namespace(l->r->world, CACHED_PODS, hpa->metadata.namespace, &all);
	for (size_t i = 0; i < all.len; i++)
		if (selector_matches_labels(selector, &api_metadata(all.items[i])->labels))
			informer_list_add(&l->pods, api_ref(all.items[i]));
	selector_free(selector);
	pthread_mutex_lock(&state->lock);
	map_set(&state->selectors, key, xstrdup(l->scale->selector));
	pthread_mutex_unlock(&state->lock);
	const char *others = rivals(l);
	if (!others)
		return 0;
	const char *text = arena_printf(api_arena(hpa), "pods by selector %s are controlled by multiple HPAs: [%s]", l->scale->selector, others);
	reconciler_event(l->r, hpa, EVENT_WARNING, "AmbiguousSelector", "%s", text);
	set_condition(hpa, ACTIVE, false, "AmbiguousSelector", text);
	return error_set(err, EINVAL, "%s", text);
}

/* ---- the whole ---- */

static int32_t minimum(const hpa_t *hpa)
{
	return hpa->spec.min_replicas ? *hpa->spec.min_replicas : 1;
}

/* By the metrics, at the speed allowed. */
static int decide_by_metrics(struct looked_at *l, const char *key, int32_t *ret, const char **ret_reason, struct error *err)
{
	hpa_t *hpa = l->hpa;
	struct behavior_history *history = history_of(l->r->state, key);
	const char *metric = NULL;
	int32_t wanted = 0, current = l->scale->replicas;
	int r = find_pods(l, key, err);
	if (r)
		return r;
	l->of.pods = &l->pods;
	r = propose_all(l, &wanted, &metric, err);
	if (r) {
		reconciler_event(l->r, hpa, EVENT_WARNING, "FailedComputeMetricsReplicas", "%s", error_message(err));
		return r;
	}
	if (wanted > current)
		*ret_reason = arena_printf(api_arena(hpa), "%s above target", metric);
	else if (wanted < current)
		*ret_reason = "All metrics below target";
	struct behavior_input input = {.behavior = hpa->spec.behavior,
		.downscale_stabilization_ns = l->r->world->settings->hpa_downscale_stabilization,
		.current = current,
		.wanted = wanted,
		.min = minimum(hpa),
		.max = hpa->spec.max_replicas};
	struct behavior_answer answer;
	behavior_begin(history, current);
	behavior_decide(history, &input, &answer);
	set_condition(hpa, ABLE, true, answer.able_reason, answer.able_message);
	set_condition(hpa, LIMITED, answer.limited, answer.limited_reason, answer.limited_message);
	*ret = answer.replicas;
	return 0;
}

static int rescale(struct looked_at *l, const char *key, int32_t wanted, const char *reason, struct error *err)
{
	hpa_t *hpa = l->hpa;
	struct arena *arena = api_arena(hpa);
	int r = scale_write(l->r->world, l->scale, wanted, err);
	if (r) {
		reconciler_event(l->r, hpa, EVENT_WARNING, "FailedRescale", "New size: %d; reason: %s; error: %s", wanted, reason, error_message(err));
		set_condition(hpa, ABLE, false, "FailedUpdateScale", arena_printf(arena, "the HPA controller was unable to update the target scale: %s", error_message(err)));
		return r;
	}
	set_condition(hpa, ABLE, true, "SucceededRescale", arena_printf(arena, "the HPA controller was able to update the target scale to %d", wanted));
	reconciler_event(l->r, hpa, EVENT_NORMAL, "SuccessfulRescale", "New size: %d; reason: %s", wanted, reason);
	behavior_changed(history_of(l->r->state, key), hpa->spec.behavior, l->scale->replicas, wanted);
	hpa->status.last_scale_time = api_time_now();
	return 0;
}

/* Everything but the writing of the status. */
static int look(struct looked_at *l, const char *key, struct error *err)
{
	hpa_t *hpa = l->hpa;
	int32_t current = l->scale->replicas, wanted = current;
	const char *reason = "";
	int r = 0;
	set_condition(hpa, ABLE, true, "SucceededGetScale", "the HPA controller was able to get the target's current scale");
	hpa->status.current_replicas = current;
	if (!current && minimum(hpa)) {
		wanted = 0;
		set_condition(hpa, ACTIVE, false, "ScalingDisabled", "scaling is disabled since the replica count of the target is zero");
	} else if (current > hpa->spec.max_replicas) {
		wanted = hpa->spec.max_replicas;
		reason = "Current number of replicas above Spec.MaxReplicas";
	} else if (current < minimum(hpa)) {
		wanted = minimum(hpa);
		reason = "Current number of replicas below Spec.MinReplicas";
	} else {
		r = decide_by_metrics(l, key, &wanted, &reason, err);
	}
	if (!r && wanted != current)
		r = rescale(l, key, wanted, reason, err);
	if (!r)
		hpa->status.desired_replicas = wanted;
	return r;
}

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	const struct settings *settings = r->world->settings;
	autounref hpa_t *cached = world_find(r->world, CACHED_HORIZONTAL_POD_AUTOSCALERS, ns, name);
	autofree char *key = xprintf("%s/%s", ns, name);
	if (!cached || cached->metadata.deletion_timestamp.set) {
		forget(r->state, key);
		return 0;
	}
	note_spec(r->state, key, cached);
	autounref hpa_t *hpa = api_copy(cached);
	const struct autoscaling_v2_cross_version_object_reference *target = &hpa->spec.scale_target_ref;
	autoscale struct scale scale = {0};
	autoerror struct error failed = {0};
	int result = scale_read(r->world, ns, target->api_version, target->kind, target->name, &scale, &failed);
	if (result) {
		reconciler_event(r, cached, EVENT_WARNING, "FailedGetScale", "%s", error_message(&failed));
		set_condition(hpa, ABLE, false, "FailedGetScale",
			arena_printf(api_arena(hpa), "the HPA controller was unable to get the target's current scale: %s", error_message(&failed)));
	} else {
		struct looked_at l = {.r = r, .hpa = hpa, .scale = &scale, .pods = INFORMER_LIST_INIT};
		l.of = (struct replicas_of){.current = scale.replicas,
			.tolerance = tolerance_of(&l),
			.cpu_initialization_ns = settings->hpa_cpu_initialization_period,
			.initial_readiness_ns = settings->hpa_initial_readiness_delay};
		result = look(&l, key, &failed);
		informer_list_done(&l.pods);
	}
	/* A lost race is worth another look at once; whatever else failed stands in the conditions, and is tried again with the next look. */
	if (error_is(&failed, "Conflict"))
		return error_move(err, &failed);
	if (!api_equal(&autoscaling_v2_horizontal_pod_autoscaler_status_type, &hpa->status, &cached->status)) {
		result = world_update_status(r->world, CACHED_HORIZONTAL_POD_AUTOSCALERS, hpa, NULL, err);
		if (result)
			return result;
	}
	return (int)(settings->hpa_sync_period / NSEC_PER_MSEC);
}

/* Its own writes of status are no reason to look again: only what is declared is. (The kind has no generation that moves.) */
static void wake(struct reconciler *r, const void *object)
{
	const hpa_t *hpa = object;
	struct state *state = r->state;
	autofree char *key = xprintf("%s/%s", hpa->metadata.namespace, hpa->metadata.name);
	pthread_mutex_lock(&state->lock);
	const uint64_t *looked = map_get(&state->looked, key);
	bool same = looked && *looked == spec_hash(hpa);
	pthread_mutex_unlock(&state->lock);
	if (!same)
		reconciler_add(r, hpa->metadata.namespace, hpa->metadata.name);
}

static void on_gone(struct reconciler *r, const void *object)
{
	const struct meta_v1_object_meta *meta = api_metadata(object);
	reconciler_add(r, meta->namespace, meta->name);
}

static struct metric metrics[] = {
	{.name = "horizontal_pod_autoscaler_controller_num_horizontal_pod_autoscalers", .help = "HorizontalPodAutoscalers there are.", .kind = METRIC_GAUGE},
};

static void collect(void *arg)
{
	struct reconciler *r = arg;
	autolist struct informer_list all = INFORMER_LIST_INIT;
	world_list_all(r->world, CACHED_HORIZONTAL_POD_AUTOSCALERS, &all);
	metric_set(metric_label(&metrics[0]), (double)all.len);
}

const struct controller horizontal_pod_autoscaler_controller = {
	.name = "horizontal-pod-autoscaler-controller",
	.queue = "horizontalpodautoscaler",
	.alias = "horizontalpodautoscaling",
	.component = "horizontal-pod-autoscaler",
	.account = "horizontal-pod-autoscaler",
	.concurrency_flag = "concurrent-horizontal-pod-autoscaler-syncs",
	.workers = 5,
	.metrics = metrics,
	.metric_count = array_len(metrics),
	.collect = collect,
	.watches = (const struct controller_watch[]){{.what = CACHED_HORIZONTAL_POD_AUTOSCALERS, .wake = wake, .gone = on_gone},
		{.what = CACHED_PODS, .read_only = true},
		{.what = CACHED_NONE}},
	.reconcile = reconcile,
	.state_new = state_new,
	.state_free = state_free,
};

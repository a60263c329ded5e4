/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules for pods that say nothing, or nothing yet. Pods that are going or failed do not count. A pod that starts (its cpu says nothing of its
 * load) counts as using nothing when it would go up, and not at all when it would go down. A pod without a value counts as using its whole target
 * when it would go down, nothing when it would go up. So what is not known can only make the step smaller, never larger, and where it
 * turns the direction there is no step.
 */
#include "controller-manager/autoscaling/replicas.h"

#include "controller-manager/shared/pods.h"

#include <errno.h>
#include <math.h>

/* Names of pods by what is known of them; borrowed from the pods. */
struct groups {
	size_t ready;
	const char **unready, **missing, **ignored;
	size_t unready_count, missing_count, ignored_count;
};

static void groups_done(struct groups *groups)
{
	free(groups->unready);
	free(groups->missing);
	free(groups->ignored);
}

/* Whether the cpu of this pod was measured while it only started. */
static bool is_starting(const struct replicas_of *of, const struct core_v1_pod *pod, const struct metric_value *value)
{
	const struct core_v1_pod_condition *ready = pod_condition(pod, CORE_V1_POD_CONDITION_TYPE_READY);
	if (!ready || !pod->status.start_time.set)
		return true;
	bool not_ready = str_equal(ready->status, "False");
	int64_t age = time_diff_ns(clock_wall(), pod->status.start_time.t);
	int64_t turned = time_diff_ns(ready->last_transition_time.t, pod->status.start_time.t);
	if (age < of->cpu_initialization_ns) /* not a whole window was measured since it turned ready */
		return not_ready || time_diff_ns(value->at, ready->last_transition_time.t) < value->window_ns;
	return not_ready && turned < of->initial_readiness_ns;
}

static void group_pods(const struct replicas_of *of, const struct metric_values *values, struct groups *ret)
{
	struct groups groups = {0};
	size_t count = of->pods->len;
	groups.unready = xcalloc(count, sizeof(char *));
	groups.missing = xcalloc(count, sizeof(char *));
	groups.ignored = xcalloc(count, sizeof(char *));
	for (size_t i = 0; i < count; i++) {
		const struct core_v1_pod *pod = of->pods->items[i];
		const char *name = pod->metadata.name;
		const struct metric_value *value = metric_values_find(values, name);
		if (pod->metadata.deletion_timestamp.set || str_equal(pod->status.phase, CORE_V1_POD_PHASE_FAILED))
			groups.ignored[groups.ignored_count++] = name;
		else if (str_equal(pod->status.phase, CORE_V1_POD_PHASE_PENDING))
			groups.unready[groups.unready_count++] = name;
		else if (!value)
			groups.missing[groups.missing_count++] = name;
		else if (str_equal(of->resource, "cpu") && is_starting(of, pod, value))
			groups.unready[groups.unready_count++] = name;
		else
			groups.ready++;
	}
	*ret = groups;
}

static bool within(struct tolerance tolerance, double ratio)
{
	return 1 - tolerance.down <= ratio && ratio <= 1 + tolerance.up;
}

static int32_t round_up(double replicas)
{
	return replicas >= INT32_MAX ? INT32_MAX : (int32_t)ceil(replicas);
}

/* Use against target of the values there are. */
struct measure {
	double ratio;
	int32_t percent;
	int64_t average;
};
typedef int (*measure_fn)(const struct metric_values *values, const void *target, struct measure *ret, struct error *err);

/* The one shape of both calculations: `fallback` is the value of a pod that says nothing, when it would go down. */
static int calculate(const struct replicas_of *of, struct metric_values *values, measure_fn measure, int64_t (*fallback)(const char *pod, const void *target), const void *target,
	int32_t *ret, struct measure *ret_measure, struct error *err)
{
	cleanup(groups_done) struct groups groups = {0};
	struct measure first, second;
	if (!of->pods->len)
		return error_set(err, ENODATA, "no pods returned by selector while calculating replica count");
	group_pods(of, values, &groups);
	for (size_t i = 0; i < groups.ignored_count; i++)
		metric_values_remove(values, groups.ignored[i]);
	for (size_t i = 0; i < groups.unready_count; i++)
		metric_values_remove(values, groups.unready[i]);
	if (!values->len)
		return error_set(err, ENODATA, "did not receive metrics for targeted pods (pods might be unready)");
	int r = measure(values, target, &first, err);
	if (r)
		return r;
	*ret_measure = first;
	bool counts_unready = groups.unready_count && first.ratio > 1;
	if (!counts_unready && !groups.missing_count) {
		*ret = within(of->tolerance, first.ratio) ? of->current : round_up(first.ratio * (double)groups.ready);
		return 0;
	}
	for (size_t i = 0; i < groups.missing_count && first.ratio != 1; i++)
		metric_values_set(values, groups.missing[i], first.ratio < 1 ? fallback(groups.missing[i], target) : 0);
	for (size_t i = 0; i < groups.unready_count && counts_unready; i++)
		metric_values_set(values, groups.unready[i], 0);
	r = measure(values, target, &second, err);
	if (r)
		return r;
	int32_t wanted = round_up(second.ratio * (double)values->len);
	bool turned = (first.ratio < 1 && second.ratio > 1) || (first.ratio > 1 && second.ratio < 1);
	bool against = (second.ratio < 1 && wanted > of->current) || (second.ratio > 1 && wanted < of->current);
	*ret = within(of->tolerance, second.ratio) || turned || against ? of->current : wanted;
	return 0;
}

/* ---- utilization ---- */

struct requests {
	struct map by_pod; /* int64_t milli by pod */
	int32_t target;
};

static int64_t request_of(const struct requests *requests, const char *pod)
{
	const int64_t *milli = map_get(&requests->by_pod, pod);
	return milli ? *milli : 0;
}

static int measure_utilization(const struct metric_values *values, const void *target, struct measure *ret, struct error *err)
{
	const struct requests *requests = target;
	int64_t used = 0, requested = 0;
	size_t count = 0;
	for (size_t i = 0; i < values->len; i++) {
		/* A pod that was measured and is not among the target's any more does not count. */
		int64_t request = request_of(requests, values->items[i].pod);
		if (!map_has(&requests->by_pod, values->items[i].pod))
			continue;
		used += values->items[i].milli;
		requested += request;
		count++;
	}
	if (!requested)
		return error_set(err, ENODATA, "no metrics returned matched known pods");
	int64_t percent = used / requested > INT32_MAX / 100 ? INT32_MAX : used * 100 / requested;
	*ret = (struct measure){.ratio = (double)percent / requests->target, .percent = (int32_t)percent, .average = used / (int64_t)count};
	return 0;
}

static int64_t whole_request(const char *pod, const void *target)
{
	const struct requests *requests = target;
	return request_of(requests, pod) * max_of(100, requests->target) / 100;
}

/* What the containers of a pod ask for; init containers that go on running count as well. */
static int add_requests(const struct replicas_of *of, const struct core_v1_pod *pod, const struct core_v1_container_array *containers, bool init, bool *found, int64_t *sum, struct error *err)
{
	for (uint32_t i = 0; i < containers->len; i++) {
		const struct core_v1_container *c = &containers->items[i];
		if ((init && !str_equal(c->restart_policy, "Always")) || (of->container && !str_equal(of->container, c->name)))
			continue;
		const struct quantity *request = api_quantity_get(&c->resources.requests, of->resource);
		if (!request)
			return error_set(err, EINVAL, "missing request for %s in container %s of Pod %s", of->resource, c->name, pod->metadata.name);
		*sum += quantity_milli_value(request);
		*found = true;
	}
	return 0;
}

static int collect_requests(const struct replicas_of *of, struct requests *requests, struct error *err)
{
	for (size_t i = 0; i < of->pods->len; i++) {
		const struct core_v1_pod *pod = of->pods->items[i];
		int64_t sum = 0;
		bool found = false;
		/* A request for the whole pod stands above those of its containers. */
		const struct quantity *whole = pod->spec.resources && !of->container ? api_quantity_get(&pod->spec.resources->requests, of->resource) : NULL;
		int r = 0;
		if (whole) {
			sum = quantity_milli_value(whole);
		} else {
			r = add_requests(of, pod, &pod->spec.containers, false, &found, &sum, err);
			r = r ? r : add_requests(of, pod, &pod->spec.init_containers, true, &found, &sum, err);
			if (!r && !found && of->container)
				r = error_set(err, EINVAL, "container %s not found in Pod %s", of->container, pod->metadata.name);
		}
		if (r)
			return r;
		map_set(&requests->by_pod, pod->metadata.name, xmemdup(&sum, sizeof(sum)));
	}
	return 0;
}

int replicas_by_utilization(const struct replicas_of *of, struct metric_values *values, int32_t target_percent, int32_t *ret, int32_t *ret_percent, int64_t *ret_average, struct error *err)
{
	struct requests requests = {.by_pod = MAP_INIT(free), .target = max_of(target_percent, 1)};
	struct measure measure;
	int r = collect_requests(of, &requests, err);
	r = r ? r : calculate(of, values, measure_utilization, whole_request, &requests, ret, &measure, err);
	if (!r) {
		*ret_percent = measure.percent;
		*ret_average = measure.average;
	}
	map_done(&requests.by_pod);
	return r;
}

/* ---- average values ---- */

static int measure_average(const struct metric_values *values, const void *target, struct measure *ret, struct error *err)
{
	double sum = 0;
	for (size_t i = 0; i < values->len; i++)
		sum += (double)values->items[i].milli;
	int64_t average = (int64_t)(sum / (double)values->len);
	*ret = (struct measure){.ratio = (double)average / (double)*(const int64_t *)target, .average = average};
	return 0;
}

static int64_t whole_target(const char *pod, const void *target)
{
	return *(const int64_t *)target;
}

int replicas_by_average(const struct replicas_of *of, struct metric_values *values, int64_t target, int32_t *ret, int64_t *ret_average, struct error *err)
{
	struct measure measure;
	target = max_of(target, (int64_t)1);
	int r = calculate(of, values, measure_average, whole_target, &target, ret, &measure, err);
	if (!r)
		*ret_average = measure.average;
	return r;
}

/* ---- one value ---- */

int replicas_by_value(const struct replicas_of *of, int64_t value, int64_t target, int32_t *ret, struct error *err)
{
	double ratio = (double)value / (double)max_of(target, (int64_t)1);
	size_t ready = 0;
	if (!of->current) {
		*ret = round_up(ratio);
		return 0;
	}
	if (within(of->tolerance, ratio)) {
		*ret = of->current;
		return 0;
	}
	if (!of->pods->len)
		return error_set(err, ENODATA, "no pods returned by selector while calculating replica count");
	for (size_t i = 0; i < of->pods->len; i++) {
		const struct core_v1_pod *pod = of->pods->items[i];
		ready += str_equal(pod->status.phase, CORE_V1_POD_PHASE_RUNNING) && pod_is_ready(pod);
	}
	*ret = round_up(ratio * (double)ready);
	return 0;
}

int32_t replicas_by_share(int32_t running, struct tolerance tolerance, int64_t value, int64_t target, int64_t *ret_average)
{
	double goal = (double)max_of(target, (int64_t)1);
	double ratio = running ? (double)value / (goal * running) : HUGE_VAL;
	*ret_average = running ? (int64_t)ceil((double)value / running) : value;
	return within(tolerance, ratio) ? running : round_up((double)value / goal);
}

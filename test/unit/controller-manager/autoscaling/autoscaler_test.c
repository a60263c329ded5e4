/* SPDX-License-Identifier: Apache-2.0 */
/* Autoscalers whole: a Deployment's scale and the three metrics APIs are played by the world's request hook. */
#include "../fake_world.h"

#include "common/http/http.h"
#include "controller-manager/controller.h"

#include "api/autoscaling_v2.h"

#include <jansson.h>

extern const struct controller horizontal_pod_autoscaler_controller;
typedef struct autoscaling_v2_horizontal_pod_autoscaler hpa_t;

#define MAX_PODS 32

/* What the servers would say. */
static struct play {
	int32_t replicas;
	const char *selector;
	int64_t use[MAX_PODS]; /* milli; negative: not known */
	const char *resource;
	int64_t custom, external; /* negative: not served */
	int scale_code, metrics_code;
	size_t puts;
	char last_path[1024];
} play;

static int answer_scale(const struct client_request *request, struct buf *body, struct error *err)
{
	if (play.scale_code)
		return error_status(err, play.scale_code, play.scale_code == 409 ? "Conflict" : "NotFound", "no scale");
	if (str_equal(request->method, "PUT")) {
		json_t *tree = json_loadb(request->body, request->body_len, 0, NULL);
		play.replicas = (int32_t)json_integer_value(json_object_get(json_object_get(tree, "spec"), "replicas"));
		json_decref(tree);
		play.puts++;
	}
	buf_printf(body, "{\"kind\":\"Scale\",\"apiVersion\":\"autoscaling/v1\",\"metadata\":{\"name\":\"web\",\"resourceVersion\":\"7\"},\"spec\":{\"replicas\":%d},\"status\":{\"replicas\":%d,\"selector\":\"%s\"}}",
		play.replicas, play.replicas, play.selector);
	return 0;
}

static int answer_resource(struct buf *body)
{
	bool first = true;
	buf_append_str(body, "{\"items\":[");
	for (size_t i = 0; i < MAX_PODS; i++) {
		if (play.use[i] < 0)
			continue;
		char now[40];
		time_format_rfc3339(clock_wall(), now);
		buf_printf(body,
			"%s{\"metadata\":{\"name\":\"p%zu\"},\"timestamp\":\"%s\",\"window\":\"15s\",\"containers\":[{\"name\":\"main\",\"usage\":{\"%s\":\"%lldm\"}},{\"name\":\"side\",\"usage\":{\"%s\":\"0\"}}]}",
			first ? "" : ",", i, now, play.resource, (long long)play.use[i], play.resource);
		first = false;
	}
	buf_append_str(body, "]}");
	return 0;
}

static int answer_custom(const struct client_request *request, struct buf *body)
{
	bool of_pods = strstr(request->path, "/pods/") != NULL;
	buf_append_str(body, "{\"items\":[");
	for (size_t i = 0; i < (of_pods ? (size_t)play.replicas : 1); i++)
		buf_printf(body, "%s{\"describedObject\":{\"name\":\"p%zu\"},\"value\":\"%lldm\"}", i ? "," : "", i, (long long)play.custom);
	buf_append_str(body, "]}");
	return 0;
}

static int answer(struct fake_world *w, const struct client_request *request, struct buf *body, struct error *err)
{
	if (str_ends_with(request->path, "/deployments/web/scale"))
		return answer_scale(request, body, err);
	snprintf(play.last_path, sizeof(play.last_path), "%s", request->path);
	if (play.metrics_code)
		return error_status(err, play.metrics_code, "ServiceUnavailable", "not now");
	if (str_starts_with(request->path, "/apis/metrics.k8s.io/v1beta1/namespaces/n/pods?labelSelector=app%3Dweb"))
		return answer_resource(body);
	/* This adapter is an old one. */
	if (str_starts_with(request->path, "/apis/custom.metrics.k8s.io/v1beta1/") && play.custom >= 0)
		return answer_custom(request, body);
	if (str_starts_with(request->path, "/apis/external.metrics.k8s.io/v1beta1/namespaces/n/") && play.external >= 0) {
		buf_printf(body, "{\"items\":[{\"value\":\"%lldm\"},{\"value\":\"500m\"}]}", (long long)play.external - 500);
		return 0;
	}
	return error_status(err, 404, "NotFound", "the server could not find the requested resource");
}

static int setup(void **state)
{
	fake_setup(state);
	play = (struct play){.replicas = 4, .selector = "app=web", .resource = "cpu", .custom = -1, .external = -1};
	for (size_t i = 0; i < MAX_PODS; i++)
		play.use[i] = -1;
	fake.request = answer;
	return 0;
}

/* `count` running pods that ask for 100m and have been ready for long. */
static void add_pods(size_t count)
{
	for (size_t i = 0; i < count; i++) {
		char json[1024];
		snprintf(json, sizeof(json),
			"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p%zu\",\"namespace\":\"n\",\"labels\":{\"app\":\"web\"}},\"spec\":{\"containers\":[{\"name\":\"main\",\"image\":\"i\",\"resources\":{\"requests\":{\"cpu\":\"100m\",\"memory\":\"100\"}}},{\"name\":\"side\",\"image\":\"i\",\"resources\":{\"requests\":{\"cpu\":\"0\",\"memory\":\"0\"}}}]},"
			"\"status\":{\"phase\":\"Running\",\"startTime\":\"2020-01-01T00:00:00Z\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\",\"lastTransitionTime\":\"2020-01-01T00:01:00Z\"}]}}",
			i);
		fake_add(json);
	}
}

static void add_hpa(const char *name, const char *spec)
{
	autofree char *json = xprintf(
		"{\"apiVersion\":\"autoscaling/v2\",\"kind\":\"HorizontalPodAutoscaler\",\"metadata\":{\"name\":\"%s\",\"namespace\":\"n\"},\"spec\":{\"scaleTargetRef\":{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"name\":\"web\"},\"minReplicas\":1,\"maxReplicas\":20%s}}",
		name, spec);
	fake_add(json);
}

static const char *condition(const char *name, const char *type)
{
	static char text[200];
	const hpa_t *hpa = fake_live(CACHED_HORIZONTAL_POD_AUTOSCALERS, "n", name);
	for (uint32_t i = 0; i < hpa->status.conditions.len; i++)
		if (str_equal(hpa->status.conditions.items[i].type, type)) {
			snprintf(text, sizeof(text), "%s %s", hpa->status.conditions.items[i].status, hpa->status.conditions.items[i].reason);
			return text;
		}
	return "";
}

static void use_all(size_t count, int64_t milli)
{
	for (size_t i = 0; i < count; i++)
		play.use[i] = milli;
}

#define CPU50 ",\"metrics\":[{\"type\":\"Resource\",\"resource\":{\"name\":\"cpu\",\"target\":{\"type\":\"Utilization\",\"averageUtilization\":50}}}]"

static void test_utilization(void **state)
{
	static const struct {
		int32_t replicas;
		int64_t use;
		int32_t wanted;
		const char *limited;
	} rows[] = {
		{4, 50, 4, "False DesiredWithinRange"},
		{4, 54, 4, "False DesiredWithinRange"}, /* within a tenth: worth no change */
		{4, 46, 4, "False DesiredWithinRange"},
		{4, 60, 5, "False DesiredWithinRange"},
		{4, 100, 8, "False DesiredWithinRange"},
		{4, 140, 8, "True ScaleUpLimit"},   /* no more than twice at once */
		{12, 100, 20, "True TooManyReplicas"},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		fake_teardown(state);
		setup(state);
		struct reconciler r = fake_reconciler(&horizontal_pod_autoscaler_controller);
		play.replicas = rows[i].replicas;
		add_pods((size_t)rows[i].replicas);
		use_all((size_t)rows[i].replicas, rows[i].use);
		add_hpa("h", CPU50);
		assert_int_equal(fake_reconcile_all(&r, CACHED_HORIZONTAL_POD_AUTOSCALERS), 15000);
		assert_int_equal(play.replicas, rows[i].wanted);
		assert_int_equal(play.puts, rows[i].wanted != rows[i].replicas);
		assert_string_equal(condition("h", "ScalingActive"), "True ValidMetricFound");
		assert_string_equal(condition("h", "ScalingLimited"), rows[i].limited);
		const hpa_t *hpa = fake_live(CACHED_HORIZONTAL_POD_AUTOSCALERS, "n", "h");
		assert_int_equal(*hpa->status.current_metrics.items[0].resource->current.average_utilization, rows[i].use);
		assert_int_equal(hpa->status.desired_replicas, rows[i].wanted);
		fake_reconciler_done(&r);
	}
}

/* Down only to the highest of the last five minutes. */
static void test_down_waits(void **state)
{
	struct reconciler r = fake_reconciler(&horizontal_pod_autoscaler_controller);
	add_pods(4);
	use_all(4, 10);
	add_hpa("h", CPU50);
	fake_reconcile_all(&r, CACHED_HORIZONTAL_POD_AUTOSCALERS);
	assert_int_equal(play.replicas, 4);
	assert_string_equal(condition("h", "AbleToScale"), "True ScaleDownStabilized");
	clock_advance_test(200 * NSEC_PER_SEC);
	fake_reconcile_all(&r, CACHED_HORIZONTAL_POD_AUTOSCALERS);
	assert_int_equal(play.replicas, 4);
	clock_advance_test(101 * NSEC_PER_SEC);
	fake_reconcile_all(&r, CACHED_HORIZONTAL_POD_AUTOSCALERS);
	assert_int_equal(play.replicas, 1);
	assert_non_null(strstr(fake.log.data, "SuccessfulRescale: New size: 1; reason: All metrics below target"));
	/* Nothing changes any more: nothing is written. */
	size_t writes = fake.writes;
	fake_reconcile_all(&r, CACHED_HORIZONTAL_POD_AUTOSCALERS);
	fake_reconcile_all(&r, CACHED_HORIZONTAL_POD_AUTOSCALERS);
	assert_in_range(fake.writes - writes, 0, 1); /* the status follows once */
	fake_reconciler_done(&r);
}

static void test_pods_without_values(void **state)
{
	struct reconciler r = fake_reconciler(&horizontal_pod_autoscaler_controller);
	add_pods(4);
	play.use[0] = play.use[1] = play.use[2] = 100;
	add_hpa("h", CPU50);
	/* 3 use 300m, the fourth counts as nothing: 300 / 200 = 1.5 x 4. */
	fake_reconcile_all(&r, CACHED_HORIZONTAL_POD_AUTOSCALERS);
	assert_int_equal(play.replicas, 6);
	fake_reconciler_done(&r);
}

static void test_pods_that_start(void **state)
{
	struct reconciler r = fake_reconciler(&horizontal_pod_autoscaler_controller);
	add_pods(4);
	use_all(4, 100);
	/* Two are not ready since they started a minute ago: what they burn is no load. */
	for (int i = 2; i < 4; i++) {
		char name[16], patch[400], started[40], turned[40];
		snprintf(name, sizeof(name), "p%d", i);
		struct wall_time t = clock_wall();
		t.sec -= 60;
		time_format_rfc3339(t, started);
		time_format_rfc3339(t, turned);
		snprintf(patch, sizeof(patch), "{\"status\":{\"startTime\":\"%s\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\",\"lastTransitionTime\":\"%s\"}]}}", started, turned);
		fake_edit(CACHED_PODS, "n", name, "status", patch);
	}
	add_hpa("h", CPU50);
	/* The two ready ones would want 4; with the two others at nothing the ratio is 1. */
	fake_reconcile_all(&r, CACHED_HORIZONTAL_POD_AUTOSCALERS);
	assert_int_equal(play.replicas, 4);
	fake_reconciler_done(&r);
}

static void test_kinds_of_metric(void **state)
{
	static const struct {
		const char *metrics, *path;
		int64_t custom, external;
		int32_t wanted;
	} rows[] = {
		{",\"metrics\":[{\"type\":\"ContainerResource\",\"containerResource\":{\"name\":\"cpu\",\"container\":\"main\",\"target\":{\"type\":\"Utilization\",\"averageUtilization\":50}}}]", "metrics.k8s.io", -1, -1, 6},
		{",\"metrics\":[{\"type\":\"Resource\",\"resource\":{\"name\":\"cpu\",\"target\":{\"type\":\"AverageValue\",\"averageValue\":\"25m\"}}}]", "metrics.k8s.io", -1, -1, 8},
		{",\"metrics\":[{\"type\":\"Pods\",\"pods\":{\"metric\":{\"name\":\"rps\",\"selector\":{\"matchLabels\":{\"verb\":\"GET\"}}},\"target\":{\"type\":\"AverageValue\",\"averageValue\":\"10\"}}}]",
			"custom.metrics.k8s.io/v1beta1/namespaces/n/pods/%2A/rps?labelSelector=app%3Dweb&metricLabelSelector=verb%3DGET", 15000, -1, 6},
		{",\"metrics\":[{\"type\":\"Object\",\"object\":{\"metric\":{\"name\":\"hits\"},\"describedObject\":{\"apiVersion\":\"networking.k8s.io/v1\",\"kind\":\"Ingress\",\"name\":\"front\"},\"target\":{\"type\":\"Value\",\"value\":\"10\"}}}]",
			"/ingresses.networking.k8s.io/front/hits", 15000, -1, 6},
		{",\"metrics\":[{\"type\":\"Object\",\"object\":{\"metric\":{\"name\":\"hits\"},\"describedObject\":{\"kind\":\"Service\",\"apiVersion\":\"v1\",\"name\":\"s\"},\"target\":{\"type\":\"AverageValue\",\"averageValue\":\"10\"}}}]",
			"/namespaces/n/services/s/hits", 70000, -1, 7},
		{",\"metrics\":[{\"type\":\"External\",\"external\":{\"metric\":{\"name\":\"queue\"},\"target\":{\"type\":\"AverageValue\",\"averageValue\":\"10\"}}}]", "/namespaces/n/queue", -1, 65000, 7},
		{",\"metrics\":[{\"type\":\"External\",\"external\":{\"metric\":{\"name\":\"queue\"},\"target\":{\"type\":\"Value\",\"value\":\"10\"}}}]", "/namespaces/n/queue", -1, 15000, 6},
		/* The most of several. */
		{",\"metrics\":[{\"type\":\"External\",\"external\":{\"metric\":{\"name\":\"queue\"},\"target\":{\"type\":\"AverageValue\",\"averageValue\":\"10\"}}},{\"type\":\"Resource\",\"resource\":{\"name\":\"cpu\",\"target\":{\"type\":\"Utilization\",\"averageUtilization\":75}}}]",
			"", -1, 55000, 6},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		fake_teardown(state);
		setup(state);
		struct reconciler r = fake_reconciler(&horizontal_pod_autoscaler_controller);
		add_pods(4);
		use_all(4, i == 1 ? 50 : 75);
		play.custom = rows[i].custom;
		play.external = rows[i].external;
		add_hpa("h", rows[i].metrics);
		fake_reconcile_all(&r, CACHED_HORIZONTAL_POD_AUTOSCALERS);
		assert_non_null(strstr(play.last_path, rows[i].path));
		assert_int_equal(play.replicas, rows[i].wanted);
		fake_reconciler_done(&r);
	}
}

static void test_what_cannot_be_read(void **state)
{
	struct reconciler r = fake_reconciler(&horizontal_pod_autoscaler_controller);
	add_pods(4);
	add_hpa("h", CPU50);
	play.metrics_code = 503;
	assert_int_equal(fake_reconcile_all(&r, CACHED_HORIZONTAL_POD_AUTOSCALERS), 15000);
	assert_string_equal(condition("h", "ScalingActive"), "False FailedGetResourceMetric");
	assert_string_equal(condition("h", "AbleToScale"), "True SucceededGetScale");
	assert_non_null(strstr(fake.log.data, "Warning FailedComputeMetricsReplicas"));
	assert_int_equal(play.puts, 0);
	play.metrics_code = 0;
	play.scale_code = 404;
	fake_reconcile_all(&r, CACHED_HORIZONTAL_POD_AUTOSCALERS);
	assert_string_equal(condition("h", "AbleToScale"), "False FailedGetScale");
	play.scale_code = 0;
	play.selector = "";
	fake_reconcile_all(&r, CACHED_HORIZONTAL_POD_AUTOSCALERS);
	assert_string_equal(condition("h", "ScalingActive"), "False InvalidSelector");
	/* One metric fails, the other wants more: that is believed. Less is not. */
	fake_edit(CACHED_HORIZONTAL_POD_AUTOSCALERS, "n", "h", NULL,
		"{\"spec\":{\"metrics\":[{\"type\":\"External\",\"external\":{\"metric\":{\"name\":\"q\"},\"target\":{\"type\":\"AverageValue\",\"averageValue\":\"10\"}}},{\"type\":\"Resource\",\"resource\":{\"name\":\"cpu\",\"target\":{\"type\":\"Utilization\",\"averageUtilization\":50}}}]}}");
	play.selector = "app=web";
	use_all(4, 10);
	fake_reconcile_all(&r, CACHED_HORIZONTAL_POD_AUTOSCALERS);
	assert_int_equal(play.puts, 0);
	assert_string_equal(condition("h", "ScalingActive"), "False FailedGetExternalMetric");
	use_all(4, 75);
	fake_reconcile_all(&r, CACHED_HORIZONTAL_POD_AUTOSCALERS);
	assert_int_equal(play.replicas, 6);
	fake_reconciler_done(&r);
}

static void test_bounds_and_zero(void **state)
{
	struct reconciler r = fake_reconciler(&horizontal_pod_autoscaler_controller);
	add_hpa("h", CPU50);
	play.replicas = 0;
	fake_reconcile_all(&r, CACHED_HORIZONTAL_POD_AUTOSCALERS);
	assert_string_equal(condition("h", "ScalingActive"), "False ScalingDisabled");
	assert_int_equal(play.puts, 0);
	play.replicas = 30;
	fake_reconcile_all(&r, CACHED_HORIZONTAL_POD_AUTOSCALERS);
	assert_int_equal(play.replicas, 20);
	fake_edit(CACHED_HORIZONTAL_POD_AUTOSCALERS, "n", "h", NULL, "{\"spec\":{\"minReplicas\":3}}");
	play.replicas = 2;
	fake_reconcile_all(&r, CACHED_HORIZONTAL_POD_AUTOSCALERS);
	assert_int_equal(play.replicas, 3);
	fake_reconciler_done(&r);
}

#define UP(rules) CPU50 ",\"behavior\":{\"scaleUp\":{" rules "}}"
#define DOWN(rules) CPU50 ",\"behavior\":{\"scaleDown\":{\"stabilizationWindowSeconds\":0," rules "}}"
#define POLICIES(list) "\"policies\":[" list "]"
#define BY(type, value) "{\"type\":\"" type "\",\"value\":" value ",\"periodSeconds\":60}"
#define UNREADABLE "{\"type\":\"External\",\"external\":{\"metric\":{\"name\":\"q\"},\"target\":{\"type\":\"Value\",\"value\":\"1\"}}}"
#define RESTING "True ReadyForNewScale"
#define SCALED "True SucceededRescale"
#define FREE "False DesiredWithinRange"
#define VALID "True ValidMetricFound"

/* One look at four pods that ask for 100m each, of which a half is the target; use: -1: not known. */
static void test_one_look(void **state)
{
	static const struct {
		const char *name, *spec;
		int32_t replicas;
		int64_t use[4];
		int32_t wanted;
		const char *able, *limited, *active, *event;
	} rows[] = {
		{"on target", CPU50, 4, {50, 50, 50, 50}, 4, RESTING, FREE, VALID, NULL},
		{"the mean counts", CPU50, 4, {100, 100, 0, 0}, 4, RESTING, FREE, VALID, NULL},
		{"up", CPU50, 4, {70, 70, 70, 70}, 6, SCALED, FREE, VALID, "SuccessfulRescale: New size: 6; reason: cpu resource utilization (percentage of request) above target"},
		{"up by pods", UP(POLICIES(BY("Pods", "1"))), 4, {100, 100, 100, 100}, 5, SCALED, "True ScaleUpLimit", VALID, NULL},
		{"up by per cent", UP(POLICIES(BY("Percent", "50"))), 4, {100, 100, 100, 100}, 6, SCALED, "True ScaleUpLimit", VALID, NULL},
		{"a part of a pod is one", UP(POLICIES(BY("Percent", "10"))), 4, {100, 100, 100, 100}, 5, SCALED, "True ScaleUpLimit", VALID, NULL},
		{"the boldest policy", UP(POLICIES(BY("Pods", "1") "," BY("Percent", "50"))), 4, {100, 100, 100, 100}, 6, SCALED, "True ScaleUpLimit", VALID, NULL},
		{"or the most careful", UP("\"selectPolicy\":\"Min\"," POLICIES(BY("Pods", "1") "," BY("Percent", "50"))), 4, {100, 100, 100, 100}, 5, SCALED, "True ScaleUpLimit", VALID, NULL},
		{"up is forbidden", UP("\"selectPolicy\":\"Disabled\""), 4, {100, 100, 100, 100}, 4, RESTING, "True ScaleUpLimit", VALID, NULL},
		{"down", DOWN(POLICIES(BY("Percent", "100"))), 4, {20, 20, 20, 20}, 2, SCALED, FREE, VALID, "SuccessfulRescale: New size: 2; reason: All metrics below target"},
		{"down by pods", DOWN(POLICIES(BY("Pods", "1"))), 4, {20, 20, 20, 20}, 3, SCALED, "True ScaleDownLimit", VALID, NULL},
		{"down is forbidden", DOWN("\"selectPolicy\":\"Disabled\""), 4, {20, 20, 20, 20}, 4, RESTING, "True ScaleDownLimit", VALID, NULL},
		{"down waits as ever", CPU50, 4, {20, 20, 20, 20}, 4, "True ScaleDownStabilized", FREE, VALID, NULL},
		{"not below the least", DOWN(POLICIES(BY("Percent", "100"))) ",\"minReplicas\":3", 4, {10, 10, 10, 10}, 3, SCALED, "True TooFewReplicas", VALID, NULL},
		{"a tolerance of its own", UP("\"tolerance\":\"500m\""), 4, {70, 70, 70, 70}, 4, RESTING, FREE, VALID, NULL},
		{"of nothing", UP("\"tolerance\":\"0\""), 4, {51, 51, 51, 51}, 5, SCALED, FREE, VALID, NULL},
		{"downwards", DOWN("\"tolerance\":\"500m\""), 4, {30, 30, 30, 30}, 4, RESTING, FREE, VALID, NULL},
		{"who says nothing used all it asks for, when it would go down", DOWN(POLICIES(BY("Percent", "100"))), 4, {10, 10, 10, -1}, 3, SCALED, FREE, VALID, NULL},
		{"and nothing, when it would go up", CPU50, 4, {90, 90, 90, -1}, 6, SCALED, FREE, VALID, NULL},
		{"too little is known to turn", CPU50, 4, {60, -1, -1, -1}, 4, RESTING, FREE, VALID, NULL},
		{"nothing is known", CPU50, 4, {-1, -1, -1, -1}, 4, "True SucceededGetScale", "", "False FailedGetResourceMetric", "Warning FailedGetResourceMetric: failed to get cpu utilization"},
		{"what can be read asks for more", ",\"metrics\":[" UNREADABLE ",{\"type\":\"Resource\",\"resource\":{\"name\":\"cpu\",\"target\":{\"type\":\"Utilization\",\"averageUtilization\":50}}}]", 4, {100, 100, 100, 100}, 8, SCALED, FREE, VALID,
			"Warning FailedGetExternalMetric"},
		{"or less, which is not believed", ",\"metrics\":[" UNREADABLE ",{\"type\":\"Resource\",\"resource\":{\"name\":\"cpu\",\"target\":{\"type\":\"Utilization\",\"averageUtilization\":50}}}]", 4, {10, 10, 10, 10}, 4, "True SucceededGetScale", "",
			"False FailedGetExternalMetric", "Warning FailedComputeMetricsReplicas: invalid metrics (1 invalid out of 2), first error is:"},
		{"a target that asks for nothing", ",\"metrics\":[{\"type\":\"Resource\",\"resource\":{\"name\":\"cpu\",\"target\":{\"type\":\"Utilization\"}}}]", 4, {50, 50, 50, 50}, 4, "True SucceededGetScale", "", "False FailedGetResourceMetric", NULL},
		{"above the most, whatever they use", CPU50, 30, {50, 50, 50, 50}, 20, SCALED, "", "", "reason: Current number of replicas above Spec.MaxReplicas"},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		fake_teardown(state);
		setup(state);
		print_message("  %s\n", rows[i].name);
		struct reconciler r = fake_reconciler(&horizontal_pod_autoscaler_controller);
		play.replicas = rows[i].replicas;
		add_pods(4);
		memcpy(play.use, rows[i].use, sizeof(rows[i].use));
		add_hpa("h", rows[i].spec);
		fake_reconcile_all(&r, CACHED_HORIZONTAL_POD_AUTOSCALERS);
		const hpa_t *hpa = fake_live(CACHED_HORIZONTAL_POD_AUTOSCALERS, "n", "h");
		assert_int_equal(play.replicas, rows[i].wanted);
		assert_string_equal(condition("h", "AbleToScale"), rows[i].able);
		assert_string_equal(condition("h", "ScalingLimited"), rows[i].limited);
		assert_string_equal(condition("h", "ScalingActive"), rows[i].active);
		assert_int_equal(hpa->status.current_replicas, rows[i].replicas);
		/* Each metric has its place, also one that could not be read. */
		assert_int_equal(hpa->status.current_metrics.len, *rows[i].active ? hpa->spec.metrics.len : 0);
		if (rows[i].event && !strstr(fake.log.data, rows[i].event))
			fail_msg("%s", fake.log.data);
		fake_reconciler_done(&r);
	}
}

/* Two autoscalers pull at the same pods: neither moves them once both are known. */
static void test_ambiguous(void **state)
{
	struct reconciler r = fake_reconciler(&horizontal_pod_autoscaler_controller);
	add_pods(4);
	use_all(4, 50);
	add_hpa("h", CPU50);
	add_hpa("other", CPU50);
	fake_reconcile_all(&r, CACHED_HORIZONTAL_POD_AUTOSCALERS);
	use_all(4, 100);
	fake_reconcile_all(&r, CACHED_HORIZONTAL_POD_AUTOSCALERS);
	assert_string_equal(condition("h", "ScalingActive"), "False AmbiguousSelector");
	assert_string_equal(condition("other", "ScalingActive"), "False AmbiguousSelector");
	assert_int_equal(play.puts, 0);
	fake_edit(CACHED_HORIZONTAL_POD_AUTOSCALERS, "n", "other", NULL, "{\"metadata\":{\"finalizers\":null}}");
	autoerror struct error err = {0};
	assert_int_equal(world_delete(&fake.world, CACHED_HORIZONTAL_POD_AUTOSCALERS, fake_live(CACHED_HORIZONTAL_POD_AUTOSCALERS, "n", "other"), NULL, &err), 0);
	assert_int_equal(horizontal_pod_autoscaler_controller.reconcile(&r, "n", "other", &err), 0);
	fake_reconcile_all(&r, CACHED_HORIZONTAL_POD_AUTOSCALERS);
	assert_int_equal(play.replicas, 8);
	fake_reconciler_done(&r);
}

/* Somebody else scaled meanwhile: looked at again at once, with nothing said. */
static void test_lost_race(void **state)
{
	struct reconciler r = fake_reconciler(&horizontal_pod_autoscaler_controller);
	autoerror struct error err = {0};
	add_hpa("h", CPU50);
	play.scale_code = 409;
	assert_true(horizontal_pod_autoscaler_controller.reconcile(&r, "n", "h", &err) < 0);
	assert_true(error_is(&err, "Conflict"));
	fake_reconciler_done(&r);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_utilization),
		TEST(test_down_waits),
		TEST(test_pods_without_values),
		TEST(test_pods_that_start),
		TEST(test_kinds_of_metric),
		TEST(test_what_cannot_be_read),
		TEST(test_bounds_and_zero),
		TEST(test_one_look),
		TEST(test_ambiguous),
		TEST(test_lost_race),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

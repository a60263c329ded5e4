/* SPDX-License-Identifier: Apache-2.0 */
/* Defaults, form and conversions, as rows: what is sent, and what a real 1.36 server makes of it. */
#include "api/autoscaling_v1.h"
#include "api/autoscaling_v2.h"
#include "api/core_v1.h"
#include "api/events_v1.h"
#include "common/api/convert.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void *decoded(const char *json) {
	autoerror struct error err = {0};
	void *object = NULL;
	struct api_decode_options strict = {.validation = API_STRICT};
	if (api_decode_json_any(json, strlen(json), &strict, &object, &err) < 0)
		fail_msg("%s", error_message(&err));
	return object;
}

static void check(const void *object, const char *want) {
	autobuf struct buf out = BUF_INIT(BUF_MAX_DEFAULT);
	api_encode(object, &out);
	assert_string_equal(out.data, want);
}

#define CONTAINER_DEFAULTS "\"terminationMessagePath\":\"/dev/termination-log\",\"terminationMessagePolicy\":\"File\""
#define POD_DEFAULTS                                                                                                          \
	"\"restartPolicy\":\"Always\",\"terminationGracePeriodSeconds\":30,\"dnsPolicy\":\"ClusterFirst\",\"securityContext\":{}," \
	"\"schedulerName\":\"default-scheduler\""

static void test_defaults(void **state) {
	static const struct {
		const char *sent, *want;
	} rows[] = {
		{"{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"nginx\",\"ports\":[{\"containerPort\":80}],\"resources\":{"
		 "\"limits\":{\"cpu\":\"1\"}}},{\"name\":\"d\",\"image\":\"r.io:5000/a/b:1.2\",\"livenessProbe\":{\"httpGet\":{\"port\":80}},\"resources\":{}}]},\"status\":{}}",
		 "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"nginx\",\"ports\":[{\"containerPort\":80,\"protocol\":"
		 "\"TCP\"}],\"resources\":{\"limits\":{\"cpu\":\"1\"},\"requests\":{\"cpu\":\"1\"}}," CONTAINER_DEFAULTS ",\"imagePullPolicy\":\"Always\"},{\"name\":\"d\",\"image\":"
		 "\"r.io:5000/a/b:1.2\",\"resources\":{},\"livenessProbe\":{\"httpGet\":{\"path\":\"/\",\"port\":80,\"scheme\":\"HTTP\"},\"timeoutSeconds\":1,\"periodSeconds\":10,"
		 "\"successThreshold\":1,\"failureThreshold\":3}," CONTAINER_DEFAULTS ",\"imagePullPolicy\":\"IfNotPresent\"}],\"restartPolicy\":\"Always\","
		 "\"terminationGracePeriodSeconds\":30,\"dnsPolicy\":\"ClusterFirst\",\"securityContext\":{},\"schedulerName\":\"default-scheduler\",\"enableServiceLinks\":true},"
		 "\"status\":{}}"},
		{"{\"kind\":\"Deployment\",\"apiVersion\":\"apps/v1\",\"metadata\":{},\"spec\":{\"selector\":null,\"template\":{\"metadata\":{},\"spec\":{\"containers\":null}}}}",
		 "{\"kind\":\"Deployment\",\"apiVersion\":\"apps/v1\",\"metadata\":{},\"spec\":{\"replicas\":1,\"selector\":null,\"template\":{\"metadata\":{},\"spec\":{\"containers\":null," POD_DEFAULTS
		 "}},\"strategy\":{\"type\":\"RollingUpdate\",\"rollingUpdate\":{\"maxUnavailable\":\"25%\",\"maxSurge\":\"25%\"}},\"revisionHistoryLimit\":10,"
		 "\"progressDeadlineSeconds\":600},\"status\":{}}"},
		{"{\"kind\":\"Service\",\"apiVersion\":\"v1\",\"metadata\":{},\"spec\":{\"type\":\"NodePort\",\"ports\":[{\"port\":80}],\"sessionAffinity\":\"ClientIP\"}}",
		 "{\"kind\":\"Service\",\"apiVersion\":\"v1\",\"metadata\":{},\"spec\":{\"ports\":[{\"protocol\":\"TCP\",\"port\":80,\"targetPort\":80}],\"type\":\"NodePort\",\"sessionAffinity\":"
		 "\"ClientIP\",\"externalTrafficPolicy\":\"Cluster\",\"sessionAffinityConfig\":{\"clientIP\":{\"timeoutSeconds\":10800}},\"internalTrafficPolicy\":\"Cluster\"},\"status\":"
		 "{\"loadBalancer\":{}}}"},
		{"{\"kind\":\"PersistentVolumeClaim\",\"apiVersion\":\"v1\",\"metadata\":{},\"spec\":{\"resources\":{\"requests\":{\"storage\":\"1.0000001\"}}}}",
		 "{\"kind\":\"PersistentVolumeClaim\",\"apiVersion\":\"v1\",\"metadata\":{},\"spec\":{\"resources\":{\"requests\":{\"storage\":\"1001m\"}},\"volumeMode\":\"Filesystem\"},\"status\":{"
		 "\"phase\":\"Pending\"}}"},
		{"{\"kind\":\"RoleBinding\",\"apiVersion\":\"rbac.authorization.k8s.io/v1\",\"metadata\":{},\"subjects\":[{\"kind\":\"User\",\"name\":\"u\"},{\"kind\":\"ServiceAccount\",\"name\":\"s\"}],"
		 "\"roleRef\":{\"kind\":\"Role\",\"name\":\"r\"}}",
		 "{\"kind\":\"RoleBinding\",\"apiVersion\":\"rbac.authorization.k8s.io/v1\",\"metadata\":{},\"subjects\":[{\"kind\":\"User\",\"apiGroup\":\"rbac.authorization.k8s.io\",\"name\":\"u\"},"
		 "{\"kind\":\"ServiceAccount\",\"name\":\"s\"}],\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"Role\",\"name\":\"r\"}}"},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		autounref void *object = decoded(rows[i].sent);
		api_default(object);
		check(object, rows[i].want);
		api_default(object);
		check(object, rows[i].want);
	}
}

static void test_job_defaults(void **state) {
	autounref void *job = decoded("{\"kind\":\"Job\",\"apiVersion\":\"batch/v1\",\"metadata\":{},\"spec\":{\"backoffLimitPerIndex\":1,\"parallelism\":2,\"template\":{\"metadata\":{\"labels\":{"
				      "\"a\":\"b\"}},\"spec\":{\"containers\":null}}}}");
	api_default(job);
	check(job, "{\"kind\":\"Job\",\"apiVersion\":\"batch/v1\",\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"parallelism\":2,\"backoffLimit\":2147483647,\"backoffLimitPerIndex\":1,"
		   "\"manualSelector\":false,\"template\":{\"metadata\":{\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":null," POD_DEFAULTS "}},\"completionMode\":\"NonIndexed\","
		   "\"suspend\":false,\"podReplacementPolicy\":\"TerminatingOrFailed\"},\"status\":{}}");
}

static void test_conversions(void **state) {
	static const char event[] =
		"{\"kind\":\"Event\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"e\"},\"involvedObject\":{\"kind\":\"Pod\",\"name\":\"p\"},\"reason\":\"R\",\"message\":\"m\",\"source\":{"
		"\"component\":\"k\"},\"firstTimestamp\":\"2026-01-02T03:04:05Z\",\"lastTimestamp\":null,\"count\":2,\"type\":\"Normal\",\"eventTime\":null,\"reportingComponent\":\"c\","
		"\"reportingInstance\":\"\"}";
	autounref void *core = decoded(event), *other = NULL, *back = NULL;
	assert_int_equal(api_convert(core, &events_v1_event_type, &other, NULL), 0);
	const struct events_v1_event *converted = other;
	assert_string_equal(converted->note, "m");
	assert_string_equal(converted->regarding.name, "p");
	assert_string_equal(converted->reporting_controller, "c");
	assert_int_equal(converted->deprecated_count, 2);
	assert_int_equal(api_convert(other, &core_v1_event_type, &back, NULL), 0);
	check(back, event);

	static const char hpa[] =
		"{\"kind\":\"HorizontalPodAutoscaler\",\"apiVersion\":\"autoscaling/v2\",\"metadata\":{\"name\":\"h\"},\"spec\":{\"scaleTargetRef\":{\"kind\":\"Deployment\",\"name\":\"d\"},"
		"\"maxReplicas\":5,\"metrics\":[{\"type\":\"Pods\",\"pods\":{\"metric\":{\"name\":\"q\"},\"target\":{\"type\":\"AverageValue\",\"averageValue\":\"10\"}}},{\"type\":\"Resource\","
		"\"resource\":{\"name\":\"cpu\",\"target\":{\"type\":\"Utilization\",\"averageUtilization\":50}}}]},\"status\":{\"desiredReplicas\":0,\"currentMetrics\":null}}";
	autounref void *v2 = decoded(hpa), *v1 = NULL, *again = NULL;
	assert_int_equal(api_convert(v2, &autoscaling_v1_horizontal_pod_autoscaler_type, &v1, NULL), 0);
	const struct autoscaling_v1_horizontal_pod_autoscaler *old = v1;
	assert_int_equal(*old->spec.target_cpu_utilization_percentage, 50);
	assert_string_equal(api_map_get(&old->metadata.annotations, "autoscaling.alpha.kubernetes.io/metrics"),
			    "[{\"type\":\"Pods\",\"pods\":{\"metricName\":\"q\",\"targetAverageValue\":\"10\"}}]");
	assert_int_equal(api_convert(v1, &autoscaling_v2_horizontal_pod_autoscaler_type, &again, NULL), 0);
	check(again, hpa);

	/* All that v1 has no fields for, as annotations hold it: sources flat, with "0" for what cannot be left out, and behavior by the names that Go has. */
#define HEAD(version_) "{\"kind\":\"HorizontalPodAutoscaler\",\"apiVersion\":\"autoscaling/" version_ "\",\"metadata\":{\"name\":\"h\""
#define REF "\"scaleTargetRef\":{\"kind\":\"Deployment\",\"name\":\"d\"}"
	static const char whole[] =
		HEAD("v2") "},\"spec\":{" REF ",\"maxReplicas\":5,\"metrics\":["
		"{\"type\":\"Object\",\"object\":{\"describedObject\":{\"kind\":\"K\",\"name\":\"n\"},\"target\":{\"type\":\"AverageValue\",\"averageValue\":\"3\"},\"metric\":{\"name\":\"m\",\"selector\":{\"matchLabels\":{\"A\":\"b\"}}}}},"
		"{\"type\":\"External\",\"external\":{\"metric\":{\"name\":\"m\"},\"target\":{\"type\":\"Value\",\"value\":\"3\"}}},"
		"{\"type\":\"ContainerResource\",\"containerResource\":{\"name\":\"cpu\",\"target\":{\"type\":\"Utilization\",\"averageUtilization\":3},\"container\":\"c\"}},"
		"{\"type\":\"Resource\",\"resource\":{\"name\":\"cpu\",\"target\":{\"type\":\"Utilization\",\"averageUtilization\":50}}}],"
		"\"behavior\":{\"scaleUp\":{\"selectPolicy\":\"Min\",\"policies\":[{\"type\":\"Pods\",\"value\":1,\"periodSeconds\":5}],\"tolerance\":\"100m\"}}},"
		"\"status\":{\"desiredReplicas\":0,\"currentMetrics\":[{\"type\":\"Pods\",\"pods\":{\"metric\":{\"name\":\"m\"},\"current\":{\"averageValue\":\"0\"}}}]}}";
	static const char flat[] =
		HEAD("v1") ",\"annotations\":{\"autoscaling.alpha.kubernetes.io/behavior\":\"{\\\"ScaleUp\\\":{\\\"StabilizationWindowSeconds\\\":null,\\\"SelectPolicy\\\":\\\"Min\\\",\\\"Policies\\\":[{\\\"Type\\\":\\\"Pods\\\",\\\"Value\\\":1,"
		"\\\"PeriodSeconds\\\":5}],\\\"Tolerance\\\":\\\"100m\\\"},\\\"ScaleDown\\\":null}\","
		"\"autoscaling.alpha.kubernetes.io/current-metrics\":\"[{\\\"type\\\":\\\"Pods\\\",\\\"pods\\\":{\\\"metricName\\\":\\\"m\\\",\\\"currentAverageValue\\\":\\\"0\\\"}}]\","
		"\"autoscaling.alpha.kubernetes.io/metrics\":\"[{\\\"type\\\":\\\"Object\\\",\\\"object\\\":{\\\"target\\\":{\\\"kind\\\":\\\"K\\\",\\\"name\\\":\\\"n\\\"},\\\"metricName\\\":\\\"m\\\",\\\"targetValue\\\":\\\"0\\\","
		"\\\"selector\\\":{\\\"matchLabels\\\":{\\\"A\\\":\\\"b\\\"}},\\\"averageValue\\\":\\\"3\\\"}},{\\\"type\\\":\\\"External\\\",\\\"external\\\":{\\\"metricName\\\":\\\"m\\\",\\\"targetValue\\\":\\\"3\\\"}},"
		"{\\\"type\\\":\\\"ContainerResource\\\",\\\"containerResource\\\":{\\\"name\\\":\\\"cpu\\\",\\\"targetAverageUtilization\\\":3,\\\"container\\\":\\\"c\\\"}}]\"}},"
		"\"spec\":{" REF ",\"maxReplicas\":5,\"targetCPUUtilizationPercentage\":50},\"status\":{\"currentReplicas\":0,\"desiredReplicas\":0}}";
	autounref void *newer = decoded(whole), *older = NULL, *round = NULL;
	assert_int_equal(api_convert(newer, &autoscaling_v1_horizontal_pod_autoscaler_type, &older, NULL), 0);
	check(older, flat);
	assert_int_equal(api_convert(older, &autoscaling_v2_horizontal_pod_autoscaler_type, &round, NULL), 0);
	/* A status that was 0 is written now. */
	assert_true(api_equal(&autoscaling_v2_horizontal_pod_autoscaler_spec_type, &((struct autoscaling_v2_horizontal_pod_autoscaler *)round)->spec, &((struct autoscaling_v2_horizontal_pod_autoscaler *)newer)->spec));
	void *none = NULL;
	assert_true(api_convert(core, &core_v1_pod_type, &none, NULL) < 0);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults), cmocka_unit_test(test_job_defaults), cmocka_unit_test(test_conversions),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

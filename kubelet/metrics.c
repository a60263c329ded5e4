/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/metrics.h"

#include "common/base/metrics.h"
#include "kubelet/container/build.h"
#include "kubelet/pod/manager.h"

#include <stdio.h>

static const char *const by_operation[] = {"operation_type", NULL}, *const by_type[] = {"container_type", NULL}, *const by_type_and_code[] = {"container_type", "code", NULL};
static const char *const by_end[] = {"container_type", "exit_code", "reason", NULL};
static const char *const by_state[] = {"container_state", NULL}, *const by_node[] = {"node", NULL}, *const by_static[] = {"static", NULL}, *const by_signal[] = {"preemption_signal", NULL};
static const char *const by_request[] = {"long_running", "method", "path", "server_type", NULL};
static const double start_buckets[] = {0.05, 0.1, 0.2, 0.5, 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, 45, 60, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800, 2700, 3600, 0};

enum {
	NODE_NAME, RUNNING_PODS, RUNNING_CONTAINERS, ACTIVE_PODS, STARTED_PODS, STARTED_PODS_ERRORS, STARTED_CONTAINERS, STARTED_CONTAINERS_ERRORS, TERMINATED_CONTAINERS, STARTED_USER_NAMESPACED, STARTED_USER_NAMESPACED_ERRORS, POD_START, WORKER_DURATION, OPERATIONS,
	OPERATIONS_ERRORS, OPERATIONS_DURATION, SANDBOX_DURATION, REQUESTS, PREEMPTIONS,
};
static struct metric rows[] = {
	[NODE_NAME] = {"kubelet_node_name", "The node's name. The count is always 1.", METRIC_GAUGE, by_node, NULL, NULL},
	[RUNNING_PODS] = {"kubelet_running_pods", "Number of pods that have a running pod sandbox", METRIC_GAUGE, NULL, NULL, NULL},
	[RUNNING_CONTAINERS] = {"kubelet_running_containers", "Number of containers currently running", METRIC_GAUGE, by_state, NULL, NULL},
	[ACTIVE_PODS] = {"kubelet_active_pods", "The number of pods the kubelet considers active and which are being considered when admitting new pods.", METRIC_GAUGE, by_static, NULL, NULL},
	[STARTED_PODS] = {"kubelet_started_pods_total", "Cumulative number of pods started", METRIC_COUNTER, NULL, NULL, NULL},
	[STARTED_PODS_ERRORS] = {"kubelet_started_pods_errors_total", "Cumulative number of errors when starting pods", METRIC_COUNTER, NULL, NULL, NULL},
	[STARTED_CONTAINERS] = {"kubelet_started_containers_total", "Cumulative number of containers started", METRIC_COUNTER, by_type, NULL, NULL},
	[STARTED_CONTAINERS_ERRORS] = {"kubelet_started_containers_errors_total", "Cumulative number of errors when starting containers", METRIC_COUNTER, by_type_and_code, NULL, NULL},
	[TERMINATED_CONTAINERS] = {"kubelet_terminated_containers_total", "Cumulative number of container terminations.", METRIC_COUNTER, by_end, NULL, NULL},
	[STARTED_USER_NAMESPACED] = {"kubelet_started_user_namespaced_pods_total", "Cumulative number of pods with user namespaces started.", METRIC_COUNTER, NULL, NULL, NULL},
	[STARTED_USER_NAMESPACED_ERRORS] = {"kubelet_started_user_namespaced_pods_errors_total", "Cumulative number of errors when starting pods with user namespaces.", METRIC_COUNTER, NULL, NULL, NULL},
	[POD_START] = {"kubelet_pod_start_duration_seconds", "Duration in seconds from kubelet seeing a pod for the first time to the pod starting to run", METRIC_HISTOGRAM, NULL, start_buckets, NULL},
	[WORKER_DURATION] = {"kubelet_pod_worker_duration_seconds", "Duration in seconds to sync a single pod. Broken down by operation type: create, update, or sync", METRIC_HISTOGRAM, by_operation, NULL, NULL},
	[OPERATIONS] = {"kubelet_runtime_operations_total", "Cumulative number of runtime operations by operation type.", METRIC_COUNTER, by_operation, NULL, NULL},
	[OPERATIONS_ERRORS] = {"kubelet_runtime_operations_errors_total", "Cumulative number of runtime operation errors by operation type.", METRIC_COUNTER, by_operation, NULL, NULL},
	[OPERATIONS_DURATION] = {"kubelet_runtime_operations_duration_seconds", "Duration in seconds of runtime operations. Broken down by operation type.", METRIC_HISTOGRAM, by_operation, NULL, NULL},
	[SANDBOX_DURATION] = {"kubelet_run_podsandbox_duration_seconds", "Duration in seconds of the run_podsandbox operations.", METRIC_HISTOGRAM, NULL, NULL, NULL},
	[PREEMPTIONS] = {"kubelet_preemptions", "Cumulative number of pod preemptions by preemption resource", METRIC_COUNTER, by_signal, NULL, NULL},
	[REQUESTS] = {"kubelet_http_requests_total", "Number of the http requests received since the server started", METRIC_COUNTER, by_request, NULL, NULL},
};

static double seconds(int64_t ns) {
	return (double)ns / NSEC_PER_SEC;
}

static void count_active(struct kubelet *kubelet) {
	autolist struct informer_list list = INFORMER_LIST_INIT;
	size_t of[2] = {0, 0};
	pod_manager_list(kubelet->pods, &list);
	for (size_t i = 0; i < list.len; i++) {
		const struct core_v1_pod *pod = list.items[i];
		const char *source = api_map_get(&pod->metadata.annotations, "kubernetes.io/config.source");
		if (!str_equal(pod->status.phase, CORE_V1_POD_PHASE_SUCCEEDED) && !str_equal(pod->status.phase, CORE_V1_POD_PHASE_FAILED))
			of[source && !str_equal(source, "api")]++;
	}
	metric_set(metric_label(&rows[ACTIVE_PODS], ""), (double)of[0]);
	metric_set(metric_label(&rows[ACTIVE_PODS], "true"), (double)of[1]);
}

static void collect(void *arg) {
	struct kubelet *kubelet = arg;
	static const char *const states[] = {[CONTAINER_CREATED] = "created", [CONTAINER_RUNNING] = "running", [CONTAINER_EXITED] = "exited"};
	struct sandbox_status **sandboxes = NULL;
	struct container_status **containers = NULL;
	size_t sandbox_count = 0, container_count = 0, ready = 0, of[array_len(states)] = {0};
	if (!kubelet->pods || !kubelet->runtime)
		return;
	runtime_sandbox_list(kubelet->runtime, NULL, &sandboxes, &sandbox_count, NULL);
	runtime_container_list(kubelet->runtime, NULL, NULL, &containers, &container_count, NULL);
	for (size_t i = 0; i < sandbox_count; i++) {
		ready += sandboxes[i]->state == SANDBOX_READY;
		sandbox_status_free(sandboxes[i]);
	}
	for (size_t i = 0; i < container_count; i++) {
		of[containers[i]->state]++;
		container_status_free(containers[i]);
	}
	free(sandboxes);
	free(containers);
	metric_set(metric_label(&rows[RUNNING_PODS]), (double)ready);
	for (size_t i = 0; i < array_len(states); i++)
		metric_set(metric_label(&rows[RUNNING_CONTAINERS], states[i]), (double)of[i]);
	count_active(kubelet);
}

void kubelet_metrics_init(struct kubelet *kubelet) {
	metrics_register(rows, array_len(rows));
	metric_set(metric_label(&rows[NODE_NAME], kubelet->node_name), 1);
	metric_add(metric_label(&rows[STARTED_PODS]), 0);
	metric_add(metric_label(&rows[STARTED_PODS_ERRORS]), 0);
	metric_add(metric_label(&rows[STARTED_USER_NAMESPACED]), 0);
	metric_add(metric_label(&rows[STARTED_USER_NAMESPACED_ERRORS]), 0);
	metrics_on_collect(collect, kubelet);
}

void kubelet_metrics_operation(const char *operation, int64_t ns, bool failed) {
	metric_add(metric_label(&rows[OPERATIONS], operation), 1);
	metric_observe(metric_label(&rows[OPERATIONS_DURATION], operation), seconds(ns));
	if (failed)
		metric_add(metric_label(&rows[OPERATIONS_ERRORS], operation), 1);
	if (str_equal(operation, "run_podsandbox"))
		metric_observe(metric_label(&rows[SANDBOX_DURATION]), seconds(ns));
}

void kubelet_metrics_container(const char *kind, const char *failure) {
	metric_add(metric_label(&rows[STARTED_CONTAINERS], kind), 1);
	if (failure)
		metric_add(metric_label(&rows[STARTED_CONTAINERS_ERRORS], kind, failure), 1);
}

void kubelet_metrics_ended(const struct container_status *status) {
	static const char *const kinds[][2] = {{"main", "container"}, {"init", "init_container"}, {"sidecar", "init_container"}, {"ephemeral", "ephemeral_container"}};
	const char *kind = runtime_label_get(&status->labels, LABEL_KIND), *type = "container";
	char code[16];
	for (size_t i = 0; i < array_len(kinds); i++)
		if (str_equal(kind, kinds[i][0]))
			type = kinds[i][1];
	snprintf(code, sizeof(code), "%d", status->exit_code);
	metric_add(metric_label(&rows[TERMINATED_CONTAINERS], type, code, str_or(status->reason, "Error")), 1);
}

void kubelet_metrics_sandbox(bool failed, bool user_namespace) {
	metric_add(metric_label(&rows[STARTED_PODS]), 1);
	if (failed)
		metric_add(metric_label(&rows[STARTED_PODS_ERRORS]), 1);
	if (user_namespace)
		metric_add(metric_label(&rows[STARTED_USER_NAMESPACED]), 1);
	if (user_namespace && failed)
		metric_add(metric_label(&rows[STARTED_USER_NAMESPACED_ERRORS]), 1);
}

void kubelet_metrics_user_namespace_failed(void) {
	metric_add(metric_label(&rows[STARTED_USER_NAMESPACED_ERRORS]), 1);
}

void kubelet_metrics_look(const char *kind, int64_t ns) {
	metric_observe(metric_label(&rows[WORKER_DURATION], kind), seconds(ns));
}

void kubelet_metrics_pod_started(int64_t ns) {
	metric_observe(metric_label(&rows[POD_START]), seconds(ns));
}

void kubelet_metrics_preempted(const char *resource) {
	metric_add(metric_label(&rows[PREEMPTIONS], resource), 1);
}

void kubelet_metrics_request(const char *method, const char *path, bool long_running) {
	static const char *const methods[] = {"GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"};
	const char *known = "other";
	for (size_t i = 0; i < array_len(methods); i++)
		if (str_equal(method, methods[i]))
			known = methods[i];
	metric_add(metric_label(&rows[REQUESTS], long_running ? "true" : "false", known, path, "readwrite"), 1);
}

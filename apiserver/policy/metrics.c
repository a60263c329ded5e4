/* SPDX-License-Identifier: Apache-2.0 */
/* What policies have judged, under Kubernetes' names. */
#include "apiserver/policy/policy.h"
#include "common/base/clock.h"
#include "common/base/metrics.h"

#include <errno.h>

static const double check_buckets[] = {0.0000005, 0.001, 0.01, 0.1, 1.0, 0};
static const char *const validating_labels[] = {"policy", "policy_binding", "error_type", "enforcement_action", NULL}, *const mutating_labels[] = {"policy", "policy_binding", "error_type", NULL};

enum { CHECKS, SECONDS, MUTATING_CHECKS, MUTATING_SECONDS, COMPILED, EVALUATED };
static struct metric metrics[] = {
	[CHECKS] = {.name = "apiserver_validating_admission_policy_check_total", .help = "Validation admission policy check total, labeled by policy and further identified by binding and enforcement action taken.", .kind = METRIC_COUNTER, .labels = validating_labels},
	[SECONDS] = {.name = "apiserver_validating_admission_policy_check_duration_seconds", .help = "Validation admission latency for individual validation expressions in seconds, labeled by policy and further including binding and enforcement action taken.", .kind = METRIC_HISTOGRAM, .labels = validating_labels, .buckets = check_buckets},
	[MUTATING_CHECKS] = {.name = "apiserver_mutating_admission_policy_check_total", .help = "Mutation admission policy check total, labeled by policy and further identified by binding.", .kind = METRIC_COUNTER, .labels = mutating_labels},
	[MUTATING_SECONDS] = {.name = "apiserver_mutating_admission_policy_check_duration_seconds", .help = "Mutation admission latency for individual mutation expressions in seconds, labeled by policy and binding.", .kind = METRIC_HISTOGRAM, .labels = mutating_labels, .buckets = check_buckets},
	[COMPILED] = {.name = "apiserver_cel_compilation_duration_seconds", .help = "CEL compilation time in seconds.", .kind = METRIC_HISTOGRAM},
	[EVALUATED] = {.name = "apiserver_cel_evaluation_duration_seconds", .help = "CEL evaluation time in seconds.", .kind = METRIC_HISTOGRAM},
};

__attribute__((constructor)) static void register_metrics(void) {
	metrics_register(metrics, array_len(metrics));
}

static double since(int64_t began_ns) {
	return (double)(clock_monotonic_ns() - began_ns) / NSEC_PER_SEC;
}

void policy_measure(bool mutating, const struct policy *policy, const struct policy_binding *binding, const char *action, const struct error *wrong, int64_t began_ns) {
	bool held = strcmp(action, "allow") == 0 && !wrong;
	const char *type = held ? "no_error" : wrong && wrong->errnum == EDQUOT ? "out_of_budget" : wrong && strstr(error_message(wrong), "compilation error") ? "compile_error" : "invalid_error";
	const char *labels[] = {policy->name, binding ? binding->name : "", type, mutating ? NULL : action, NULL};
	metric_add(metric_with(&metrics[mutating ? MUTATING_CHECKS : CHECKS], labels), 1);
	metric_observe(metric_with(&metrics[mutating ? MUTATING_SECONDS : SECONDS], labels), since(began_ns));
}

void policy_measure_cel(bool compiled, int64_t began_ns) {
	metric_observe(metric_label(&metrics[compiled ? COMPILED : EVALUATED]), since(began_ns));
}

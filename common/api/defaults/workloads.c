/* SPDX-License-Identifier: Apache-2.0 */
/* Defaults of apps, batch and autoscaling that depend on other fields. */
#include "api/apps_v1.h"
#include "api/autoscaling_v1.h"
#include "api/autoscaling_v2.h"
#include "api/batch_v1.h"

static struct int_or_string *new_int_or_string(struct arena *arena, const char *str, int32_t num) {
	return arena_memdup(arena, &(struct int_or_string){.str = str, .num = num}, sizeof(struct int_or_string));
}

void apps_v1_deployment_strategy_defaults(void *value, struct arena *arena, const void *root) {
	struct apps_v1_deployment_strategy *strategy = value;
	if (!str_equal(strategy->type, APPS_V1_DEPLOYMENT_STRATEGY_TYPE_ROLLING_UPDATE))
		return;
	if (!strategy->rolling_update)
		strategy->rolling_update = arena_new_type(arena, struct apps_v1_rolling_update_deployment);
	if (!strategy->rolling_update->max_unavailable)
		strategy->rolling_update->max_unavailable = new_int_or_string(arena, "25%", 0);
	if (!strategy->rolling_update->max_surge)
		strategy->rolling_update->max_surge = new_int_or_string(arena, "25%", 0);
}

void apps_v1_daemon_set_update_strategy_defaults(void *value, struct arena *arena, const void *root) {
	struct apps_v1_daemon_set_update_strategy *strategy = value;
	if (!str_equal(strategy->type, APPS_V1_DAEMON_SET_UPDATE_STRATEGY_TYPE_ROLLING_UPDATE))
		return;
	if (!strategy->rolling_update)
		strategy->rolling_update = arena_new_type(arena, struct apps_v1_rolling_update_daemon_set);
	if (!strategy->rolling_update->max_unavailable)
		strategy->rolling_update->max_unavailable = new_int_or_string(arena, NULL, 1);
	if (!strategy->rolling_update->max_surge)
		strategy->rolling_update->max_surge = new_int_or_string(arena, NULL, 0);
}

/* Templates of claims say what they are, as clients have always seen them. */
void apps_v1_stateful_set_spec_defaults(void *value, struct arena *arena, const void *root) {
	struct apps_v1_stateful_set_spec *spec = value;
	for (uint32_t i = 0; i < spec->volume_claim_templates.len; i++) {
		spec->volume_claim_templates.items[i].kind = "PersistentVolumeClaim";
		spec->volume_claim_templates.items[i].api_version = "v1";
	}
}

void apps_v1_stateful_set_update_strategy_defaults(void *value, struct arena *arena, const void *root) {
	struct apps_v1_stateful_set_update_strategy *strategy = value;
	if (str_empty(strategy->type)) {
		strategy->type = APPS_V1_STATEFUL_SET_UPDATE_STRATEGY_TYPE_ROLLING_UPDATE;
		if (!strategy->rolling_update)
			strategy->rolling_update = arena_new_type(arena, struct apps_v1_rolling_update_stateful_set_strategy);
	}
	if (str_equal(strategy->type, APPS_V1_STATEFUL_SET_UPDATE_STRATEGY_TYPE_ROLLING_UPDATE) && strategy->rolling_update && !strategy->rolling_update->partition)
		strategy->rolling_update->partition = api_int32(arena, 0);
}

void batch_v1_job_defaults(void *value, struct arena *arena, const void *root) {
	struct batch_v1_job *job = value;
	struct batch_v1_job_spec *spec = &job->spec;
	if (!spec->completions && !spec->parallelism)
		spec->completions = api_int32(arena, 1);
	if (!spec->parallelism)
		spec->parallelism = api_int32(arena, 1);
	if (!spec->backoff_limit)
		spec->backoff_limit = api_int32(arena, spec->backoff_limit_per_index ? INT32_MAX : 6);
	if (!job->metadata.labels.len)
		api_copy_string_map(arena, &job->metadata.labels, &spec->template.metadata.labels);
	if (!spec->completion_mode)
		spec->completion_mode = BATCH_V1_COMPLETION_MODE_NON_INDEXED;
	if (!spec->suspend)
		spec->suspend = api_bool(arena, false);
	if (!spec->pod_replacement_policy)
		spec->pod_replacement_policy = spec->pod_failure_policy ? BATCH_V1_POD_REPLACEMENT_POLICY_FAILED : BATCH_V1_POD_REPLACEMENT_POLICY_TERMINATING_OR_FAILED;
	if (!spec->manual_selector)
		spec->manual_selector = api_bool(arena, false);
}

void autoscaling_v1_horizontal_pod_autoscaler_defaults(void *value, struct arena *arena, const void *root) {
	struct autoscaling_v1_horizontal_pod_autoscaler *hpa = value;
	if (!hpa->spec.target_cpu_utilization_percentage && !api_map_get(&hpa->metadata.annotations, "autoscaling.alpha.kubernetes.io/metrics"))
		hpa->spec.target_cpu_utilization_percentage = api_int32(arena, 80);
}

static struct autoscaling_v2_hpa_scaling_rules *default_rules(struct arena *arena, struct autoscaling_v2_hpa_scaling_rules *rules, bool up) {
	if (!rules)
		rules = arena_new_type(arena, struct autoscaling_v2_hpa_scaling_rules);
	if (up && !rules->stabilization_window_seconds)
		rules->stabilization_window_seconds = api_int32(arena, 0);
	if (!rules->select_policy)
		rules->select_policy = AUTOSCALING_V2_SCALING_POLICY_SELECT_MAX;
	if (rules->policies.items)
		return rules;
	if (up)
		*api_list_add(arena, &rules->policies) =
			(struct autoscaling_v2_hpa_scaling_policy){.type = AUTOSCALING_V2_HPA_SCALING_POLICY_TYPE_PODS, .value = 4, .period_seconds = 15};
	*api_list_add(arena, &rules->policies) =
		(struct autoscaling_v2_hpa_scaling_policy){.type = AUTOSCALING_V2_HPA_SCALING_POLICY_TYPE_PERCENT, .value = 100, .period_seconds = 15};
	return rules;
}

void autoscaling_v2_horizontal_pod_autoscaler_behavior_defaults(void *value, struct arena *arena, const void *root) {
	struct autoscaling_v2_horizontal_pod_autoscaler_behavior *behavior = value;
	behavior->scale_up = default_rules(arena, behavior->scale_up, true);
	behavior->scale_down = default_rules(arena, behavior->scale_down, false);
}

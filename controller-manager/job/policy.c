/* SPDX-License-Identifier: Apache-2.0 */
/* podFailurePolicy and successPolicy. */
#include "controller-manager/job/job.h"

static const struct core_v1_container_status *failed_container(const struct core_v1_container_status_array *list,
	const struct batch_v1_pod_failure_policy_on_exit_codes_requirement *want)
{
	for (uint32_t i = 0; i < list->len; i++) {
		const struct core_v1_container_status *status = &list->items[i];
		const struct core_v1_container_state_terminated *end = status->state.terminated;
		if (!end || !end->exit_code || (!str_empty(want->container_name) && !str_equal(want->container_name, status->name)))
			continue;
		bool found = false;
		for (uint32_t j = 0; j < want->values.len; j++)
			found |= want->values.items[j] == end->exit_code;
		if (found == str_equal(want->operator, "In"))
			return status;
	}
	return NULL;
}

static const struct core_v1_pod_condition *matching_condition(const struct core_v1_pod *pod, const struct batch_v1_pod_failure_policy_rule *rule)
{
	for (uint32_t j = 0; j < pod->status.conditions.len; j++)
		for (uint32_t i = 0; i < rule->on_pod_conditions.len; i++)
			if (str_equal(pod->status.conditions.items[j].type, rule->on_pod_conditions.items[i].type) &&
				str_equal(pod->status.conditions.items[j].status, str_or(rule->on_pod_conditions.items[i].status, "True")))
				return &pod->status.conditions.items[j];
	return NULL;
}

/* Whether the rule holds; *ret_message says why. */
static bool rule_holds(const struct batch_v1_pod_failure_policy_rule *rule, uint32_t index, const struct core_v1_pod *pod, char **ret_message)
{
	const struct core_v1_container_status *container = NULL;
	if (rule->on_exit_codes) {
		container = failed_container(&pod->status.container_statuses, rule->on_exit_codes);
		if (!container)
			container = failed_container(&pod->status.init_container_statuses, rule->on_exit_codes);
	}
	if (container) {
		*ret_message = xprintf("Container %s for pod %s/%s failed with exit code %d matching %s rule at index %u", container->name,
			pod->metadata.namespace, pod->metadata.name, container->state.terminated->exit_code, rule->action, index);
		return true;
	}
	const struct core_v1_pod_condition *condition = matching_condition(pod, rule);
	if (!condition)
		return false;
	*ret_message = xprintf("Pod %s/%s has condition %s matching %s rule at index %u", pod->metadata.namespace, pod->metadata.name, condition->type,
		rule->action, index);
	return true;
}

enum failure_action job_failure_action(const struct batch_v1_job *job, const struct core_v1_pod *pod, char **ret_message)
{
	const struct batch_v1_pod_failure_policy *policy = job->spec.pod_failure_policy;
	for (uint32_t i = 0; policy && i < policy->rules.len; i++) {
		const struct batch_v1_pod_failure_policy_rule *rule = &policy->rules.items[i];
		autofree char *message = NULL;
		if (!rule_holds(rule, i, pod, &message))
			continue;
		if (str_equal(rule->action, "Ignore"))
			return FAILURE_IGNORE;
		if (str_equal(rule->action, "FailIndex"))
			return FAILURE_FAIL_INDEX;
		if (str_equal(rule->action, "FailJob")) {
			*ret_message = take_ptr(message);
			return FAILURE_FAIL_JOB;
		}
		return FAILURE_COUNT;
	}
	return FAILURE_COUNT;
}

char *job_success_policy(const struct batch_v1_job *job, const struct index_set *succeeded)
{
	const struct batch_v1_success_policy *policy = job->spec.success_policy;
	for (uint32_t i = 0; policy && succeeded->count && i < policy->rules.len; i++) {
		const struct batch_v1_success_policy_rule *rule = &policy->rules.items[i];
		int32_t wanted = succeeded->size, have = succeeded->count;
		if (!str_empty(rule->succeeded_indexes)) {
			struct index_set named;
			index_set_init(&named, succeeded->size);
			index_set_parse(&named, rule->succeeded_indexes);
			wanted = named.count ? named.count : INT32_MAX; /* one that names no index of this job never holds */
			have = 0;
			for (int32_t n = 0; n < named.size; n++)
				have += index_set_has(&named, n) && index_set_has(succeeded, n);
			index_set_done(&named);
		}
		if (rule->succeeded_count && wanted != INT32_MAX)
			wanted = *rule->succeeded_count;
		if (have >= wanted)
			return xprintf("Matched rules at index %u", i);
	}
	return NULL;
}

bool job_is_indexed(const struct batch_v1_job *job)
{
	return str_equal(job->spec.completion_mode, "Indexed");
}

struct batch_v1_job_condition *job_condition(const struct batch_v1_job *job, const char *type)
{
	for (uint32_t i = 0; i < job->status.conditions.len; i++)
		if (str_equal(job->status.conditions.items[i].type, type))
			return &job->status.conditions.items[i];
	return NULL;
}

bool job_is_finished(const struct batch_v1_job *job)
{
	const struct batch_v1_job_condition *complete = job_condition(job, "Complete"), *failed = job_condition(job, "Failed");
	return (complete && str_equal(complete->status, "True")) || (failed && str_equal(failed->status, "True"));
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "controller-manager/autoscaling/behavior.h"

#include <math.h>

#define SCALE_UP_FACTOR 2
#define SCALE_UP_MINIMUM 4
#define MAX_RECORDS 1000

void behavior_history_free(void *arg)
{
	struct behavior_history *history = arg;
	if (!history)
		return;
	free(history->recommendations);
	free(history->changes);
	free(history);
}

/* Drops what is older than `age`, then adds. */
static void record(struct behavior_record **records, size_t *count, int64_t age, int32_t value)
{
	int64_t now = clock_monotonic_ns();
	size_t kept = 0;
	for (size_t i = 0; i < *count; i++)
		if ((*records)[i].at + age > now)
			(*records)[kept++] = (*records)[i];
	if (kept == MAX_RECORDS)
		memmove(*records, *records + 1, --kept * sizeof(**records));
	*records = xreallocarray(*records, kept + 1, sizeof(**records));
	(*records)[kept++] = (struct behavior_record){now, value};
	*count = kept;
}

void behavior_begin(struct behavior_history *history, int32_t current)
{
	if (!history->recommendation_count)
		record(&history->recommendations, &history->recommendation_count, 0, current);
}

static int64_t window_ns(const struct autoscaling_v2_hpa_scaling_rules *rules, int64_t fallback)
{
	return rules && rules->stabilization_window_seconds ? *rules->stabilization_window_seconds * NSEC_PER_SEC : fallback;
}

/* Up to the lowest recommendation of the one window, down to the highest of the other; between the two it stays. */
static int32_t stabilize(const struct behavior_history *history, const struct behavior_input *in, int64_t up_window, int64_t down_window)
{
	int64_t now = clock_monotonic_ns();
	int32_t lowest = in->wanted, highest = in->wanted;
	for (size_t i = 0; i < history->recommendation_count; i++) {
		const struct behavior_record *r = &history->recommendations[i];
		if (r->at + up_window > now)
			lowest = min_of(lowest, r->value);
		if (r->at + down_window > now)
			highest = max_of(highest, r->value);
	}
	return in->current < lowest ? lowest : in->current > highest ? highest : in->current;
}

/* ---- policies ---- */

static int32_t changed_within(const struct behavior_history *history, int32_t seconds, bool added)
{
	int64_t now = clock_monotonic_ns(), sum = 0;
	for (size_t i = 0; i < history->change_count; i++) {
		const struct behavior_record *r = &history->changes[i];
		if (r->at + seconds * NSEC_PER_SEC > now && (r->value > 0) == added)
			sum += r->value > 0 ? r->value : -r->value;
	}
	return (int32_t)min_of(sum, (int64_t)INT32_MAX);
}

static int32_t clamp(double replicas)
{
	return replicas <= INT32_MIN ? INT32_MIN : replicas >= INT32_MAX ? INT32_MAX : (int32_t)replicas;
}

/* Where one policy would stop. */
static int32_t policy_limit(const struct behavior_history *history, const struct autoscaling_v2_hpa_scaling_policy *policy, int32_t current, bool up)
{
	double start = (double)current - changed_within(history, policy->period_seconds, true) + changed_within(history, policy->period_seconds, false);
	if (str_equal(policy->type, AUTOSCALING_V2_HPA_SCALING_POLICY_TYPE_PODS))
		return clamp(up ? start + policy->value : start - policy->value);
	return clamp(up ? ceil(start * (1 + policy->value / 100.0)) : trunc(start * (1 - policy->value / 100.0)));
}

static int32_t rules_limit(const struct behavior_history *history, const struct autoscaling_v2_hpa_scaling_rules *rules, int32_t current, bool up)
{
	const char *select = rules->select_policy ? rules->select_policy : AUTOSCALING_V2_SCALING_POLICY_SELECT_MAX;
	if (str_equal(select, AUTOSCALING_V2_SCALING_POLICY_SELECT_DISABLED))
		return current;
	bool boldest = !str_equal(select, AUTOSCALING_V2_SCALING_POLICY_SELECT_MIN);
	int32_t limit = 0;
	for (uint32_t i = 0; i < rules->policies.len; i++) {
		int32_t one = policy_limit(history, &rules->policies.items[i], current, up);
		if (!i)
			limit = one;
		else
			limit = boldest == up ? max_of(limit, one) : min_of(limit, one);
	}
	/* What happened lately may have used the allowance up, never more than that. */
	return up ? max_of(limit, current) : min_of(limit, current);
}

/* ---- the decision ---- */

static void limited(struct behavior_answer *answer, int32_t replicas, const char *reason, const char *message)
{
	answer->replicas = replicas;
	answer->limited = true;
	answer->limited_reason = reason;
	answer->limited_message = message;
}

static void limit_up(struct behavior_answer *answer, const struct behavior_input *in, int32_t rate)
{
	int32_t allowed = min_of(in->max, rate);
	if (answer->replicas <= allowed)
		return;
	if (rate < in->max)
		limited(answer, allowed, "ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate");
	else
		limited(answer, allowed, "TooManyReplicas", "the desired replica count is more than the maximum replica count");
}

static void limit_down(struct behavior_answer *answer, const struct behavior_input *in, int32_t rate)
{
	int32_t allowed = max_of(in->min, rate);
	if (answer->replicas >= allowed)
		return;
	if (rate > in->min)
		limited(answer, allowed, "ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate");
	else
		limited(answer, allowed, "TooFewReplicas", "the desired replica count is less than the minimum replica count");
}

static void say_stabilized(struct behavior_answer *answer, const struct behavior_input *in)
{
	if (answer->replicas == in->wanted) {
		answer->able_reason = "ReadyForNewScale";
		answer->able_message = "recommended size matches current size";
	} else if (in->behavior && in->wanted >= in->current) {
		answer->able_reason = "ScaleUpStabilized";
		answer->able_message = "recent recommendations were lower than current one, applying the lowest recent recommendation";
	} else {
		answer->able_reason = "ScaleDownStabilized";
		answer->able_message = "recent recommendations were higher than current one, applying the highest recent recommendation";
	}
}

void behavior_decide(struct behavior_history *history, const struct behavior_input *in, struct behavior_answer *ret)
{
	const struct autoscaling_v2_hpa_scaling_rules *up = in->behavior ? in->behavior->scale_up : NULL, *down = in->behavior ? in->behavior->scale_down : NULL;
	int64_t up_window = window_ns(up, 0), down_window = window_ns(down, in->downscale_stabilization_ns);
	struct behavior_answer answer = {.limited_reason = "DesiredWithinRange", .limited_message = "the desired count is within the acceptable range"};
	if (in->behavior) {
		answer.replicas = stabilize(history, in, up_window, down_window);
	} else {
		/* The old rules know no window upwards, and do not mind what is there now. */
		struct behavior_input old = *in;
		old.current = INT32_MAX;
		answer.replicas = stabilize(history, &old, 0, down_window);
	}
	record(&history->recommendations, &history->recommendation_count, max_of(up_window, down_window), in->wanted);
	say_stabilized(&answer, in);
	int32_t free_rate = (int32_t)min_of((int64_t)INT32_MAX, max_of((int64_t)in->current * SCALE_UP_FACTOR, (int64_t)SCALE_UP_MINIMUM));
	if (!in->behavior) {
		limit_up(&answer, in, free_rate);
		limit_down(&answer, in, INT32_MIN);
	} else if (answer.replicas > in->current) {
		limit_up(&answer, in, up ? rules_limit(history, up, in->current, true) : free_rate);
	} else if (answer.replicas < in->current) {
		limit_down(&answer, in, down ? rules_limit(history, down, in->current, false) : INT32_MIN);
	}
	*ret = answer;
}

static int64_t longest_period(const struct autoscaling_v2_hpa_scaling_rules *rules)
{
	int64_t longest = 0;
	for (uint32_t i = 0; rules && i < rules->policies.len; i++)
		longest = max_of(longest, (int64_t)rules->policies.items[i].period_seconds);
	return longest * NSEC_PER_SEC;
}

void behavior_changed(struct behavior_history *history, const struct autoscaling_v2_horizontal_pod_autoscaler_behavior *behavior, int32_t from, int32_t to)
{
	if (behavior && from != to)
		record(&history->changes, &history->change_count, max_of(longest_period(behavior->scale_up), longest_period(behavior->scale_down)), to - from);
}

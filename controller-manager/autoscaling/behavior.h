/* SPDX-License-Identifier: Apache-2.0 */
/* How fast an autoscaler may go: what was recommended and done lately, against its windows and policies. */
#ifndef CORACLE_CONTROLLER_MANAGER_BEHAVIOR_H
#define CORACLE_CONTROLLER_MANAGER_BEHAVIOR_H

#include "common/base/clock.h"

#include "api/autoscaling_v2.h"

/* Of one autoscaler, in memory. Times are monotonic. */
struct behavior_record {
	int64_t at;
	int32_t value; /* replicas recommended; replicas added (positive) or removed (negative) */
};
struct behavior_history {
	struct behavior_record *recommendations, *changes;
	size_t recommendation_count, change_count;
};
void behavior_history_free(void *history);

/* What the conditions say of a decision. */
struct behavior_answer {
	int32_t replicas;
	const char *able_reason, *able_message;
	bool limited;
	const char *limited_reason, *limited_message;
};
struct behavior_input {
	const struct autoscaling_v2_horizontal_pod_autoscaler_behavior *behavior; /* NULL: the rules of v1 */
	int64_t downscale_stabilization_ns;
	int32_t current, wanted, min, max;
};
/* Decides, and remembers the recommendation. */
void behavior_decide(struct behavior_history *history, const struct behavior_input *input, struct behavior_answer *ret);
/* Remembers what was there before the first look: a new leader must not scale down at once. */
void behavior_begin(struct behavior_history *history, int32_t current);
/* Remembers what was done. */
void behavior_changed(struct behavior_history *history, const struct autoscaling_v2_horizontal_pod_autoscaler_behavior *behavior, int32_t from, int32_t to);

#endif

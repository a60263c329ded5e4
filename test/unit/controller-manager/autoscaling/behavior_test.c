/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "controller-manager/autoscaling/behavior.h"

#include "common/api/api.h"

/* A step: so many seconds later this is wanted, this must come out. */
struct step {
	int32_t after, wanted, given;
	const char *limited; /* NULL: not */
};
struct story {
	const char *name, *behavior; /* NULL: none */
	int32_t start, min, max;
	struct step steps[8];
};

#define UP(policies, more) "{\"scaleUp\":{\"policies\":[" policies "]" more "},\"scaleDown\":{\"stabilizationWindowSeconds\":0,\"policies\":[{\"type\":\"Percent\",\"value\":100,\"periodSeconds\":15}]}}"
#define DOWN(policies, more) "{\"scaleUp\":{\"policies\":[{\"type\":\"Percent\",\"value\":1000,\"periodSeconds\":15}]},\"scaleDown\":{\"policies\":[" policies "]" more "}}"

static const struct story stories[] = {
	{"twice at most without rules", NULL, 4, 1, 100, {{0, 50, 8, "ScaleUpLimit"}, {15, 50, 16, "ScaleUpLimit"}, {15, 20, 32, "ScaleUpLimit"}, {301, 20, 20, NULL}}},
	{"from one to four at once", NULL, 1, 1, 100, {{0, 50, 4, "ScaleUpLimit"}}},
	{"down after five minutes", NULL, 10, 1, 100, {{0, 2, 10, NULL}, {299, 2, 10, NULL}, {2, 2, 2, NULL}}},
	{"not above max", NULL, 4, 1, 6, {{0, 50, 6, "TooManyReplicas"}}},
	{"not below min", DOWN("{\"type\":\"Percent\",\"value\":100,\"periodSeconds\":15}", ",\"stabilizationWindowSeconds\":0"), 4, 3, 6, {{1, 1, 3, "TooFewReplicas"}}},
	{"pods in a period", UP("{\"type\":\"Pods\",\"value\":2,\"periodSeconds\":60}", ""), 4, 1, 100, {{0, 50, 6, "ScaleUpLimit"}, {30, 50, 6, "ScaleUpLimit"}, {31, 50, 8, "ScaleUpLimit"}}},
	{"the boldest policy", UP("{\"type\":\"Pods\",\"value\":2,\"periodSeconds\":60},{\"type\":\"Percent\",\"value\":100,\"periodSeconds\":60}", ""), 10, 1, 100, {{0, 50, 20, "ScaleUpLimit"}}},
	{"the most timid policy", UP("{\"type\":\"Pods\",\"value\":2,\"periodSeconds\":60},{\"type\":\"Percent\",\"value\":100,\"periodSeconds\":60}", ",\"selectPolicy\":\"Min\""), 10, 1, 100,
		{{0, 50, 12, "ScaleUpLimit"}}},
	{"not up at all", UP("", ",\"selectPolicy\":\"Disabled\""), 10, 1, 100, {{0, 50, 10, "ScaleUpLimit"}, {15, 5, 5, NULL}}},
	{"up only when it lasts", UP("{\"type\":\"Pods\",\"value\":100,\"periodSeconds\":15}", ",\"stabilizationWindowSeconds\":60"), 10, 1, 100,
		{{0, 50, 10, NULL}, {30, 40, 10, NULL}, {31, 45, 40, NULL}, {0, 45, 40, NULL}}},
	{"down by pods", DOWN("{\"type\":\"Pods\",\"value\":3,\"periodSeconds\":60}", ",\"stabilizationWindowSeconds\":0"), 10, 1, 100,
		{{1, 1, 7, "ScaleDownLimit"}, {30, 1, 7, "ScaleDownLimit"}, {31, 1, 4, "ScaleDownLimit"}}},
	{"down by per cent", DOWN("{\"type\":\"Percent\",\"value\":10,\"periodSeconds\":15}", ",\"stabilizationWindowSeconds\":0"), 100, 1, 100,
		{{1, 1, 90, "ScaleDownLimit"}, {16, 1, 81, "ScaleDownLimit"}}},
	{"down by the most timid", DOWN("{\"type\":\"Percent\",\"value\":50,\"periodSeconds\":15},{\"type\":\"Pods\",\"value\":4,\"periodSeconds\":15}", ",\"stabilizationWindowSeconds\":0,\"selectPolicy\":\"Min\""), 100, 1, 100,
		{{1, 1, 96, "ScaleDownLimit"}}},
	{"not down at all", DOWN("", ",\"stabilizationWindowSeconds\":0,\"selectPolicy\":\"Disabled\""), 10, 1, 100, {{1, 1, 10, "ScaleDownLimit"}}},
	{"the window of the flag where the rules have none", DOWN("{\"type\":\"Percent\",\"value\":100,\"periodSeconds\":15}", ""), 10, 1, 100, {{0, 3, 10, NULL}, {301, 3, 3, NULL}}},
	{"huge numbers", UP("{\"type\":\"Percent\",\"value\":2147483647,\"periodSeconds\":1}", ""), 2000000000, 1, 2147483647, {{0, 2147483647, 2147483647, NULL}}},
};

static void tell(const struct story *story)
{
	clock_set_test((struct wall_time){1800000000, 0});
	autoerror struct error err = {0};
	autounref struct autoscaling_v2_horizontal_pod_autoscaler *hpa = NULL;
	autofree char *json = xprintf(
		"{\"apiVersion\":\"autoscaling/v2\",\"kind\":\"HorizontalPodAutoscaler\",\"metadata\":{\"name\":\"h\"},\"spec\":{\"scaleTargetRef\":{\"kind\":\"a\",\"name\":\"b\"},\"maxReplicas\":1%s%s}}",
		story->behavior ? ",\"behavior\":" : "", story->behavior ? story->behavior : "");
	if (api_decode_json(&autoscaling_v2_horizontal_pod_autoscaler_type, json, strlen(json), NULL, (void **)&hpa, &err) < 0)
		fail_msg("%s: %s", story->name, error_message(&err));
	struct behavior_history *history = xnew(struct behavior_history);
	int32_t current = story->start;
	behavior_begin(history, current);
	for (const struct step *step = story->steps; step->wanted; step++) {
		clock_advance_test(step->after * NSEC_PER_SEC);
		struct behavior_input in = {.behavior = hpa->spec.behavior,
			.downscale_stabilization_ns = 300 * NSEC_PER_SEC,
			.current = current,
			.wanted = step->wanted,
			.min = story->min,
			.max = story->max};
		struct behavior_answer answer;
		behavior_decide(history, &in, &answer);
		if (answer.replicas != step->given || answer.limited != (step->limited != NULL) || (step->limited && strcmp(step->limited, answer.limited_reason) != 0))
			fail_msg("%s: step %d: %d %s", story->name, (int)(step - story->steps), answer.replicas, answer.limited_reason);
		behavior_changed(history, hpa->spec.behavior, current, answer.replicas);
		current = answer.replicas;
	}
	behavior_history_free(history);
}

static void test_stories(void **state)
{
	for (size_t i = 0; i < array_len(stories); i++)
		tell(&stories[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_stories)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/pod/preempt.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct row {
	enum cgroup_qos class;
	const char *cpu, *memory;
};

/* Which of the rows are chosen, as a text of their numbers; "-": there is no choice. */
static void check(const struct row *rows, size_t count, const struct preempt_want *wants, size_t want_count, const char *expected) {
	autoarena struct arena *arena = arena_new();
	struct preempt_pod pods[8] = {0};
	char chosen[64] = "", *end = chosen;
	for (size_t i = 0; i < count; i++) {
		const char *const texts[][2] = {{"cpu", rows[i].cpu}, {"memory", rows[i].memory}};
		pods[i].class = rows[i].class;
		for (size_t k = 0; k < array_len(texts); k++) {
			struct quantity q;
			if (texts[k][1] && quantity_parse(texts[k][1], strlen(texts[k][1]), &q) == 0)
				api_quantity_set(arena, &pods[i].requests, texts[k][0], q);
		}
	}
	if (!preempt_choose(pods, count, wants, want_count)) {
		for (size_t i = 0; i < count; i++)
			assert_false(pods[i].chosen);
		assert_string_equal(expected, "-");
		return;
	}
	for (size_t i = 0; i < count; i++)
		if (pods[i].chosen)
			*end++ = (char)('0' + i);
	assert_string_equal(chosen, expected);
}

static void test_choice(void **state) {
	static const struct row mixed[] = {
		{CGROUP_BESTEFFORT, NULL, NULL}, {CGROUP_BURSTABLE, "100m", "100Mi"}, {CGROUP_BURSTABLE, "500m", "50Mi"}, {CGROUP_GUARANTEED, "100m", "100Mi"}, {CGROUP_GUARANTEED, "1", "1Gi"},
	};
	static const struct {
		struct preempt_want wants[2];
		size_t count;
		const char *expected;
	} rows[] = {
		{{{"pods", 1}}, 1, "0"},                                 /* the least is enough */
		{{{"pods", 2}}, 1, "02"},                                /* then the smaller, by memory first */
		{{{"cpu", 90}}, 1, "2"},
		{{{"cpu", 550}}, 1, "12"},
		{{{"cpu", 700}}, 1, "123"},                              /* the classes below do not suffice: of the best as little as can be */
		{{{"cpu", 800}}, 1, "4"},                                /* it covers all, and spares what stands below it */
		{{{"cpu", 100}, {"memory", 100 << 20}}, 2, "1"},
		{{{"cpu", 500}, {"memory", 100 << 20}}, 2, "12"},
		{{{"memory", (int64_t)2 << 30}}, 1, "-"},
		{{{"cpu", 10}, {"example.com/device", 1}}, 2, "-"},
	};
	for (size_t i = 0; i < array_len(rows); i++)
		check(mixed, array_len(mixed), rows[i].wants, rows[i].count, rows[i].expected);
	check(NULL, 0, rows[0].wants, 1, "-");
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_choice)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}

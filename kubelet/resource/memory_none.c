/* SPDX-License-Identifier: Apache-2.0 */
/* Memory is given wherever the kernel finds it. */
#include "kubelet/resource/memory.h"

static int init(struct memory_manager *memory, struct error *err) {
	return 0;
}

static int check(struct memory_manager *memory, struct error *err) {
	return 0;
}

static bool wants(const struct memory_manager *memory, const struct core_v1_pod *pod) {
	return false;
}

static void hints(const struct memory_manager *memory, const struct core_v1_pod *pod, const struct core_v1_container *container, struct arena *arena, struct hint_set *set) {
}

static int allocate(struct memory_manager *memory, const struct core_v1_pod *pod, const struct core_v1_container *container, const struct hint *hint, struct error *err) {
	return 0;
}

const struct memory_policy memory_policy_none = {.name = "None", .init = init, .check = check, .wants = wants, .hints = hints, .allocate = allocate};

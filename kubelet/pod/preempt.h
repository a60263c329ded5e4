/* SPDX-License-Identifier: Apache-2.0 */
/* Ends pods so that one that the node cannot do without has room. */
#ifndef CORACLE_KUBELET_POD_PREEMPT_H
#define CORACLE_KUBELET_POD_PREEMPT_H

#include "kubelet/kubelet.h"

#define PREEMPT_MAX_WANTS 16

/* What is short: thousandths of cpu, numbers of pods, else units. */
struct preempt_want {
	const char *resource;
	int64_t amount;
};
/*
 * Chooses pods among those of less worth, tells of it, ends them by their own grace and waits for that. -ENOSPC where all of them together would not do; nothing
 * happens then.
 */
int preempt_for(struct kubelet *kubelet, const struct core_v1_pod *pod, const struct preempt_want *wants, size_t count, struct error *err);

/* ---- the choice, for tests ---- */
struct preempt_pod {
	void *pod;
	enum cgroup_qos class;
	struct api_quantity_map requests;
	bool chosen;
};
bool preempt_choose(struct preempt_pod *pods, size_t pod_count, const struct preempt_want *wants, size_t count);
/* A request in the units of preempt_want. */
int64_t preempt_request(const struct api_quantity_map *requests, const char *resource);

#endif

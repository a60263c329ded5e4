/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room for a pod that the node cannot do without: others are ended for it, by what they ask for. Which, is Kubernetes' choice: those of the best class are spared
 * where those of lower ones suffice; within a class whoever comes nearest to what is short, the smaller of two that come as near.
 */
#include "kubelet/pod/preempt.h"

#include "common/base/log.h"
#include "common/pod/resources.h"
#include "kubelet/container/resources.h"
#include "kubelet/metrics.h"
#include "kubelet/node/eviction.h"
#include "kubelet/pod/pod.h"

#include <errno.h>

#define REASON "Preempting"
#define MESSAGE "Preempted in order to admit critical pod"
#define CONDITION_MESSAGE "Pod was preempted by Kubelet to accommodate a critical pod."
#define GRACE_DEFAULT 30
#define END_MORE_NS (10 * NSEC_PER_SEC) /* beyond their grace, for the slowest of those that are ended to be gone */

/* ---- what pods ask for ---- */

int64_t preempt_request(const struct api_quantity_map *requests, const char *resource) {
	if (str_equal(resource, "pods"))
		return 1;
	const struct quantity *q = api_quantity_get(requests, resource);
	return !q ? 0 : str_equal(resource, "cpu") ? quantity_milli_value(q) : quantity_value(q);
}

static bool is_covered(const struct preempt_want *wants, size_t count) {
	for (size_t i = 0; i < count; i++)
		if (wants[i].amount > 0)
			return false;
	return true;
}

static void take_off(struct preempt_want *wants, size_t count, const struct preempt_pod *pod) {
	for (size_t i = 0; i < count; i++)
		wants[i].amount -= preempt_request(&pod->requests, wants[i].resource);
}

/* How much of what is short it leaves so, each resource weighing as much as any other. */
static double distance(const struct preempt_want *wants, size_t count, const struct preempt_pod *pod) {
	double sum = 0;
	for (size_t i = 0; i < count; i++) {
		double left = (double)(wants[i].amount - preempt_request(&pod->requests, wants[i].resource));
		if (wants[i].amount > 0 && left > 0)
			sum += left / (double)wants[i].amount * (left / (double)wants[i].amount);
	}
	return sum;
}

static bool is_smaller(const struct preempt_pod *a, const struct preempt_pod *b) {
	int64_t x = preempt_request(&a->requests, "memory"), y = preempt_request(&b->requests, "memory");
	return x != y ? x < y : preempt_request(&a->requests, "cpu") < preempt_request(&b->requests, "cpu");
}

/* Of one class, as many as are needed for what is left once all of the classes below have gone, and of those above what was chosen. */
static void choose_of(struct preempt_pod *pods, size_t pod_count, enum cgroup_qos class, const struct preempt_want *wants, size_t count) {
	struct preempt_want left[PREEMPT_MAX_WANTS];
	memcpy(left, wants, count * sizeof(*wants));
	for (size_t i = 0; i < pod_count; i++)
		if (pods[i].class > class || (pods[i].class < class && pods[i].chosen))
			take_off(left, count, &pods[i]);
	while (!is_covered(left, count)) {
		struct preempt_pod *best = NULL;
		double nearest = 0;
		for (size_t i = 0; i < pod_count; i++) {
			if (pods[i].class != class || pods[i].chosen)
				continue;
			double d = distance(left, count, &pods[i]);
			if (!best || d < nearest || (d == nearest && is_smaller(&pods[i], best))) {
				best = &pods[i];
				nearest = d;
			}
		}
		if (!best)
			return;
		best->chosen = true;
		take_off(left, count, best);
	}
}

bool preempt_choose(struct preempt_pod *pods, size_t pod_count, const struct preempt_want *wants, size_t count) {
	struct preempt_want left[PREEMPT_MAX_WANTS];
	memcpy(left, wants, count * sizeof(*wants));
	for (size_t i = 0; i < pod_count; i++)
		take_off(left, count, &pods[i]);
	if (!is_covered(left, count))
		return false;
	for (enum cgroup_qos class = CGROUP_GUARANTEED; class <= CGROUP_BESTEFFORT; class++)
		choose_of(pods, pod_count, class, wants, count);
	return true;
}

/* ---- doing it ---- */

struct candidates {
	const struct core_v1_pod *for_pod;
	struct arena *arena;
	struct preempt_pod *items;
	size_t len;
};

static bool may_go(const struct core_v1_pod *for_pod, const struct core_v1_pod *pod) {
	if (eviction_is_critical(for_pod) && !eviction_is_critical(pod))
		return true;
	return for_pod->spec.priority && pod->spec.priority && *for_pod->spec.priority > *pod->spec.priority;
}

static void collect(struct pod *pod, const struct core_v1_pod *object, void *arg) {
	struct candidates *c = arg;
	if (str_equal(object->metadata.uid, c->for_pod->metadata.uid) || !may_go(c->for_pod, object))
		return;
	c->items = xreallocarray(c->items, c->len + 1, sizeof(*c->items));
	struct preempt_pod *item = &c->items[c->len++];
	*item = (struct preempt_pod){.pod = api_ref((void *)object), .class = resources_qos(object)};
	pod_requests(object, c->arena, &item->requests);
}

static int cannot(const struct preempt_want *wants, size_t count, struct error *err) {
	autobuf struct buf text = BUF_INIT(4096);
	for (size_t i = 0; i < count; i++)
		buf_printf(&text, "(res: %s, q: %lld), ", wants[i].resource, (long long)wants[i].amount);
	return error_set(err, ENOSPC, "preemption: error finding a set of pods to preempt: no set of running pods found to reclaim resources: [%s]", text.data);
}

static void end_chosen(struct kubelet *kubelet, const struct candidates *c, const char *resource) {
	const char **uids = xcalloc(c->len + 1, sizeof(*uids));
	int64_t longest = 0;
	size_t ended = 0;
	for (size_t i = 0; i < c->len; i++) {
		const struct core_v1_pod *pod = c->items[i].pod;
		if (!c->items[i].chosen)
			continue;
		log_warning("ends a pod to make room for a critical one", LOG_STR("pod", pod->metadata.name), LOG_STR("namespace", pod->metadata.namespace), LOG_STR("for", c->for_pod->metadata.name));
		kubelet_event(kubelet, pod, NULL, "Warning", REASON, MESSAGE);
		pod_manager_evict(kubelet->pods, pod->metadata.uid, REASON, MESSAGE, -1, CONDITION_MESSAGE);
		kubelet_metrics_preempted(resource);
		longest = max_of(longest, pod->spec.termination_grace_period_seconds ? *pod->spec.termination_grace_period_seconds : GRACE_DEFAULT);
		uids[ended++] = pod->metadata.uid;
	}
	if (!pod_manager_wait_ended(kubelet->pods, uids, ended, clock_monotonic_ns() + longest * NSEC_PER_SEC + END_MORE_NS))
		log_warning("pods that make room for a critical one do not end", LOG_STR("for", c->for_pod->metadata.name));
	free(uids);
}

int preempt_for(struct kubelet *kubelet, const struct core_v1_pod *pod, const struct preempt_want *wants, size_t count, struct error *err) {
	autoarena struct arena *arena = arena_new();
	struct candidates c = {.for_pod = pod, .arena = arena};
	pod_manager_each_active(kubelet->pods, collect, &c);
	int r = preempt_choose(c.items, c.len, wants, count) ? 0 : cannot(wants, count, err);
	if (r == 0)
		end_chosen(kubelet, &c, wants[0].resource);
	for (size_t i = 0; i < c.len; i++)
		api_unref(c.items[i].pod);
	free(c.items);
	return r;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A pod's volumes, and what is told of those that fail: each at the pace of its tries, and now and then what the pod waits for as a whole. */
#include "common/base/log.h"
#include "kubelet/container/build.h"
#include "kubelet/container/resources.h"
#include "kubelet/pod/pod.h"
#include "kubelet/volume/volume.h"

#define TELL_FIRST (500 * NSEC_PER_MSEC)
#define TELL_MAX (122 * NSEC_PER_SEC)
#define SUM_UP_AFTER (123 * NSEC_PER_SEC)
#define MAX_TOLD (1u << 20)

struct failures {
	struct buf messages; /* one a line */
	char **texts;
	size_t count;
};

static void note_failure(const struct core_v1_volume *volume, const struct error *err, void *arg) {
	struct failures *failures = arg;
	buf_printf(&failures->messages, "%s\n", error_message(err));
	failures->texts[failures->count++] = xstrdup(error_message(err));
}

/* What fails is tried at every look, and there are many reasons to look: it is told when it changes, and again ever more seldom. */
static void tell_failures(struct pod *pod, const struct core_v1_pod *object, const struct failures *failures) {
	int64_t now = clock_monotonic_ns();
	bool same = str_equal(pod->mounts.told, failures->messages.data);
	if (same && now < pod->mounts.told_at + pod->mounts.told_wait)
		return;
	for (size_t i = 0; i < failures->count; i++) {
		if (!same)
			log_warning("volume cannot be set up", LOG_STR("pod", pod->name), LOG_STR("namespace", pod->ns), LOG_STR("error", failures->texts[i]));
		kubelet_event(pod->kubelet, object, NULL, "Warning", "FailedMount", "%s", failures->texts[i]);
	}
	pod->mounts.told_wait = same ? min_of(pod->mounts.told_wait * 2, TELL_MAX) : TELL_FIRST;
	pod->mounts.told_at = now;
	free(pod->mounts.told);
	pod->mounts.told = xstrdup(str_or(failures->messages.data, ""));
}

static void sum_up(struct pod *pod, const struct core_v1_pod *object) {
	int64_t now = clock_monotonic_ns();
	if (!pod->mounts.waits_since)
		pod->mounts.waits_since = now;
	if (now < pod->mounts.waits_since + SUM_UP_AFTER)
		return;
	autobuf struct buf names = BUF_INIT(MAX_TOLD);
	for api_list_each (volume, &object->spec.volumes)
		if (!map_has(&pod->volume_paths, volume->name))
			buf_printf(&names, "%s%s", names.len ? " " : "", volume->name);
	kubelet_event(pod->kubelet, object, NULL, "Warning", "FailedMount", "Unable to attach or mount volumes: unmounted volumes=[%s], unattached volumes=[], failed to process volumes=[]: context deadline exceeded", str_or(names.data, ""));
	pod->mounts.waits_since = now;
}

int pod_set_volumes(struct pod *pod, const struct core_v1_pod *object, int64_t *ret_again) {
	autoerror struct error err = {0};
	autoarena struct arena *arena = arena_new();
	autofree char *dir = build_pod_dir(pod->kubelet, pod->uid);
	struct failures failures = {.messages = BUF_INIT(MAX_TOLD), .texts = arena_calloc(arena, object->spec.volumes.len + 1, sizeof(char *))};
	struct api_quantity_map limits;
	struct pod_facts facts;
	pod_facts_get(pod, &facts);
	autounref struct core_v1_node *node = pod->kubelet->node_informer ? informer_find(pod->kubelet->node_informer, NULL, pod->kubelet->node_name) : NULL;
	facts.allocatable = node ? &node->status.allocatable : NULL;
	resources_pod_limits(object, arena, &limits);
	const struct quantity *memory = api_quantity_get(&limits, "memory");
	struct volume_pod volume_pod = {
		.pod = object,
		.pod_dir = dir,
		.facts = &facts,
		.objects = pod->kubelet->objects,
		.tokens = pod->kubelet->tokens,
		.memory_limit = memory ? quantity_value(memory) : 0,
		.failed = note_failure,
		.failed_arg = &failures,
	};
	int r = volumes_setup(&volume_pod, &pod->volume_paths, &err);
	if (failures.count) {
		tell_failures(pod, object, &failures);
		volume_refresh_after(&volume_pod, max_of(pod->mounts.told_at + pod->mounts.told_wait - clock_monotonic_ns(), (int64_t)1));
	} else {
		free(take_ptr(pod->mounts.told));
	}
	if (r < 0)
		sum_up(pod, object);
	else
		pod->mounts.waits_since = 0;
	buf_done(&failures.messages);
	for (size_t i = 0; i < failures.count; i++)
		free(failures.texts[i]);
	*ret_again = volume_pod.refresh_after_ns;
	return r;
}

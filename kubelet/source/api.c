/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/log.h"
#include "kubelet/pod/manager.h"
#include "kubelet/pod/status_manager.h"
#include "kubelet/source/source.h"

static void set(struct kubelet *kubelet, struct core_v1_pod *pod) {
	if (mirror_is(pod)) {
		/* Its status comes from the static pod, whose uid is in the annotation. */
		const char *uid = api_map_get(&pod->metadata.annotations, "kubernetes.io/config.hash");
		if (uid)
			status_manager_wake(kubelet->status, uid);
		pod_manager_wake_static(kubelet->pods, pod->metadata.namespace, pod->metadata.name);
		return;
	}
	autoerror struct error err = {0};
	if (source_check_names(pod, &err) < 0) {
		log_error("pod of the API server is not taken", LOG_ERR(&err));
		return;
	}
	pod_manager_set(kubelet->pods, pod, "api");
}

static void on_add(void *object, bool is_initial, void *arg) {
	set(arg, object);
}

static void on_update(void *old_object, void *object, void *arg) {
	struct kubelet *kubelet = arg;
	const struct core_v1_pod *old = old_object, *pod = object;
	/* Deleted and made again between two lists: another pod. */
	if (!str_equal(old->metadata.uid, pod->metadata.uid) && !mirror_is(old))
		pod_manager_remove(kubelet->pods, old->metadata.uid);
	/* What only the status says came from us. */
	bool same = old->metadata.generation == pod->metadata.generation && pod->metadata.generation && old->metadata.deletion_timestamp.set == pod->metadata.deletion_timestamp.set &&
		    api_map_equal(&old->metadata.labels, &pod->metadata.labels) && api_map_equal(&old->metadata.annotations, &pod->metadata.annotations) &&
		    str_equal(old->status.phase, pod->status.phase) && old->status.conditions.len == pod->status.conditions.len;
	if (same && !mirror_is(pod) && !pod->spec.readiness_gates.len)
		pod_manager_refresh(kubelet->pods, object);
	else
		set(kubelet, object);
	status_manager_wake(kubelet->status, pod->metadata.uid);
}

static void on_delete(void *object, void *arg) {
	struct kubelet *kubelet = arg;
	const struct core_v1_pod *pod = object;
	if (!mirror_is(pod))
		pod_manager_remove(kubelet->pods, pod->metadata.uid);
	/* Whoever had the name, it is free for the mirror of the static pod that waits for it. */
	pod_manager_wake_static(kubelet->pods, pod->metadata.namespace, pod->metadata.name);
}

void source_api_start(struct kubelet *kubelet) {
	const struct informer_handler handler = {.on_add = on_add, .on_update = on_update, .on_delete = on_delete, .arg = kubelet};
	informer_add_handler(kubelet->pod_informer, &handler);
}

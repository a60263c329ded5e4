/* SPDX-License-Identifier: Apache-2.0 */
/* /pods and /runningpods, and finding the container that a path names. */
#include "kubelet/container/fieldref.h"
#include "kubelet/pod/manager.h"
#include "kubelet/server/server.h"

#include <errno.h>

#define MAX_BODY (512u << 20)

void route_pods(struct route_request *r) {
	autolist struct informer_list list = INFORMER_LIST_INIT;
	autobuf struct buf body = BUF_INIT(MAX_BODY);
	pod_manager_list(r->kubelet->pods, &list);
	buf_append_str(&body, "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{},\"items\":[");
	for (size_t i = 0; i < list.len; i++) {
		if (i)
			buf_append_char(&body, ',');
		api_encode(list.items[i], &body);
	}
	buf_append_str(&body, "]}\n");
	route_answer(r, "application/json", &body);
}

static void write_running(struct buf *body, struct container_status *const *containers, size_t count, const char *pod_uid) {
	bool first = true;
	for (size_t i = 0; i < count; i++) {
		const struct container_status *c = containers[i];
		if (c->state != CONTAINER_RUNNING || !str_equal(c->pod_uid, pod_uid))
			continue;
		buf_append_str(body, first ? "{\"name\":" : ",{\"name\":");
		buf_append_json_string(body, c->name, strlen(c->name));
		buf_append_str(body, ",\"image\":");
		buf_append_json_string(body, c->image_id, strlen(c->image_id));
		buf_append_str(body, ",\"resources\":{}}");
		first = false;
	}
}

void route_running_pods(struct route_request *r) {
	struct sandbox_status **sandboxes = NULL;
	struct container_status **containers = NULL;
	size_t sandbox_count = 0, container_count = 0;
	autobuf struct buf body = BUF_INIT(MAX_BODY);
	runtime_sandbox_list(r->kubelet->runtime, NULL, &sandboxes, &sandbox_count, NULL);
	runtime_container_list(r->kubelet->runtime, NULL, NULL, &containers, &container_count, NULL);
	buf_append_str(&body, "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{},\"items\":[");
	bool first = true;
	for (size_t i = 0; i < sandbox_count; i++) {
		const struct sandbox_status *s = sandboxes[i];
		if (s->state == SANDBOX_READY) {
			buf_printf(&body, "%s{\"metadata\":{\"name\":\"%s\",\"namespace\":\"%s\",\"uid\":\"%s\"},\"spec\":{\"containers\":[", first ? "" : ",", s->pod_name, s->pod_namespace, s->pod_uid);
			write_running(&body, containers, container_count, s->pod_uid);
			buf_append_str(&body, "]},\"status\":{}}");
			first = false;
		}
		sandbox_status_free(sandboxes[i]);
	}
	for (size_t i = 0; i < container_count; i++)
		container_status_free(containers[i]);
	free(sandboxes);
	free(containers);
	buf_append_str(&body, "]}\n");
	route_answer(r, "application/json", &body);
}

/* Why it has no instance: what its status says it waits for. */
static const char *waiting_reason(const struct core_v1_pod *pod, const char *name) {
	const struct core_v1_container_status_array *lists[] = {&pod->status.container_statuses, &pod->status.init_container_statuses, &pod->status.ephemeral_container_statuses};
	for (size_t i = 0; i < array_len(lists); i++)
		for api_list_each (status, lists[i])
			if (str_equal(status->name, name) && status->state.waiting)
				return str_or(status->state.waiting->reason, "ContainerCreating");
	return NULL;
}

static bool has_container(const struct core_v1_pod *pod, const char *name) {
	for api_list_each (c, &pod->spec.ephemeral_containers)
		if (str_equal(c->name, name))
			return true;
	return fieldref_container(pod, name);
}

int route_container(struct route_request *r, bool previous, struct container_status **ret) {
	const char *ns = r->parts[0], *pod_name = r->parts[1], *name = r->parts[r->part_count - 1];
	autounref struct core_v1_pod *pod = pod_manager_find(r->kubelet->pods, ns, pod_name);
	struct container_status **list = NULL, *found = NULL;
	size_t count = 0, ended = 0;
	if (!pod) {
		route_text(r, 404, "pod \"%s\" not found", pod_name);
		return -ENOENT;
	}
	if (!has_container(pod, name)) {
		route_text(r, 404, "container \"%s\" not found in pod \"%s\"", name, pod_name);
		return -ENOENT;
	}
	runtime_container_list(r->kubelet->runtime, NULL, pod->metadata.uid, &list, &count, NULL);
	/* Newest first. Where the newest one ended, it is itself no "previous" unless another is on its way. */
	for (size_t i = 0; i < count; i++) {
		struct container_status *c = list[i];
		bool mine = str_equal(c->name, name) && c->state != CONTAINER_CREATED;
		bool wanted = mine && !found && (!previous || ended > 0);
		ended += mine;
		if (wanted)
			found = c;
		else
			container_status_free(c);
	}
	free(list);
	if (found) {
		*ret = found;
		return 0;
	}
	const char *reason = waiting_reason(pod, name);
	if (previous)
		route_text(r, 400, "previous terminated container \"%s\" in pod \"%s\" not found", name, pod_name);
	else
		route_text(r, 400, "container \"%s\" in pod \"%s\" is waiting to start: %s", name, pod_name, reason ? reason : "ContainerCreating");
	return -EINVAL;
}

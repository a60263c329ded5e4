/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/walk.h"
#include "kubelet/container/build.h"
#include "kubelet/container/resources.h"
#include "kubelet/node/node.h"
#include "kubelet/pod/pod.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

struct measured {
	int64_t bytes, inodes;
};

static int measure(int fd, const struct stat *st, void *arg, struct error *err) {
	struct measured *m = arg;
	m->bytes += st->st_blocks * 512;
	m->inodes++;
	return 0;
}

void node_storage_folder(const char *path, int64_t *bytes, int64_t *inodes) {
	struct measured m = {0};
	walk_tree(path, false, measure, &m, NULL);
	*bytes += m.bytes;
	*inodes += m.inodes;
}

static void add_volume(struct kubelet *kubelet, const struct core_v1_pod *pod, const char *volume, int64_t *bytes, int64_t *inodes) {
	autofree char *pod_dir = build_pod_dir(kubelet, pod->metadata.uid), *path = path_join(pod_dir, "volumes", "kubernetes.io~empty-dir", volume, NULL);
	node_storage_folder(path, bytes, inodes);
}

static int64_t volume_usage(struct kubelet *kubelet, const struct core_v1_pod *pod, const char *volume) {
	int64_t bytes = 0, inodes = 0;
	add_volume(kubelet, pod, volume, &bytes, &inodes);
	return bytes;
}

void node_storage_volumes(struct kubelet *kubelet, const struct core_v1_pod *pod, int64_t *bytes, int64_t *inodes) {
	for api_list_each (volume, &pod->spec.volumes)
		if (volume->empty_dir && str_empty(volume->empty_dir->medium))
			add_volume(kubelet, pod, volume->name, bytes, inodes);
}

static void evict(struct kubelet *kubelet, const struct core_v1_pod *pod, const char *message) {
	log_warning("pod takes too much local storage", LOG_STR("pod", pod->metadata.name), LOG_STR("namespace", pod->metadata.namespace), LOG_STR("message", message));
	kubelet_event(kubelet, pod, NULL, "Warning", "Evicted", "%s", message);
	pod_manager_evict(kubelet->pods, pod->metadata.uid, "Evicted", message, 1, message);
}

static const struct quantity *storage_limit(const struct core_v1_container *container) {
	const struct quantity *limit = api_quantity_get(&container->resources.limits, "ephemeral-storage");
	return limit && limit->nano > 0 ? limit : NULL;
}

static int64_t written_by(struct kubelet *kubelet, const struct core_v1_pod *pod, const char *name) {
	struct container_status **list = NULL;
	size_t count = 0;
	int64_t bytes = 0;
	runtime_container_list(kubelet->runtime, NULL, pod->metadata.uid, &list, &count, NULL);
	for (size_t i = 0; i < count; i++) {
		struct container_usage usage = {0};
		if (list[i]->state == CONTAINER_RUNNING && str_equal(list[i]->name, name) && runtime_container_usage(kubelet->runtime, list[i]->id, CONTAINER_USAGE_DISK, &usage, NULL) == 0)
			bytes += (int64_t)(usage.rootfs_bytes + usage.log_bytes);
		container_status_free(list[i]);
	}
	free(list);
	return bytes;
}

/* True where it was evicted. */
static bool check_volumes(struct kubelet *kubelet, const struct core_v1_pod *pod) {
	for api_list_each (volume, &pod->spec.volumes) {
		const struct core_v1_empty_dir_volume_source *source = volume->empty_dir;
		char limit[64];
		if (!source || !source->size_limit.set || source->size_limit.nano <= 0 || !str_empty(source->medium) || volume_usage(kubelet, pod, volume->name) <= quantity_value(&source->size_limit))
			continue;
		quantity_format(&source->size_limit, limit);
		autofree char *message = xprintf("Usage of EmptyDir volume \"%s\" exceeds the limit \"%s\". ", volume->name, limit);
		evict(kubelet, pod, message);
		return true;
	}
	return false;
}

static void check_containers(struct kubelet *kubelet, const struct core_v1_pod *pod) {
	for api_list_each (container, &pod->spec.containers) {
		const struct quantity *limit = storage_limit(container);
		char text[64];
		if (!limit || written_by(kubelet, pod, container->name) <= quantity_value(limit))
			continue;
		quantity_format(limit, text);
		autofree char *message = xprintf("Container %s exceeded its local ephemeral storage limit \"%s\". ", container->name, text);
		evict(kubelet, pod, message);
		return;
	}
}

static bool has_limits(const struct core_v1_pod *pod) {
	for api_list_each (volume, &pod->spec.volumes)
		if (volume->empty_dir && volume->empty_dir->size_limit.set)
			return true;
	for api_list_each (container, &pod->spec.containers)
		if (storage_limit(container))
			return true;
	return false;
}

static void collect(struct pod *pod, const struct core_v1_pod *object, void *arg) {
	struct informer_list *list = arg;
	if (!has_limits(object) || object->metadata.deletion_timestamp.set)
		return;
	list->items = xreallocarray(list->items, list->len + 1, sizeof(void *));
	list->items[list->len++] = api_ref((void *)object);
}

void node_storage_limited(struct kubelet *kubelet, struct informer_list *ret) {
	*ret = (struct informer_list)INFORMER_LIST_INIT;
	pod_manager_each_active(kubelet->pods, collect, ret);
}

void node_storage_enforce(struct kubelet *kubelet, const struct informer_list *limited) {
	for (size_t i = 0; i < limited->len; i++)
		if (!check_volumes(kubelet, limited->items[i]))
			check_containers(kubelet, limited->items[i]);
}

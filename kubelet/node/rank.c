/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of eviction: pods that use more than they asked for first, then those of lower priority, then those whose use is furthest
 * beyond their request. Processes are not requested: priority, then their number.
 */
#include "kubelet/container/build.h"
#include "kubelet/container/fieldref.h"
#include "kubelet/container/resources.h"
#include "kubelet/node/eviction.h"
#include "kubelet/node/node.h"

#include <stdlib.h>
#include <sys/stat.h>

static bool same_device(const char *a, const char *b) {
	struct stat x, y;
	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev;
}

static void add_containers(struct kubelet *kubelet, const struct core_v1_pod *pod, bool rootfs, bool logs, struct rank_usage *ret) {
	struct container_status **list = NULL;
	size_t count = 0;
	if (runtime_container_list(kubelet->runtime, NULL, pod->metadata.uid, &list, &count, NULL) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		struct container_usage usage = {0};
		if (runtime_container_usage(kubelet->runtime, list[i]->id, CONTAINER_USAGE_DISK, &usage, NULL) == 0) {
			ret->disk += (int64_t)((rootfs ? usage.rootfs_bytes : 0) + (logs ? usage.log_bytes : 0));
			ret->inodes += (int64_t)((rootfs ? usage.rootfs_inodes : 0) + (logs ? usage.log_inodes : 0));
		}
		container_status_free(list[i]);
	}
	free(list);
}

void rank_usage_of(struct kubelet *kubelet, const struct core_v1_pod *pod, enum signal_kind signal, struct rank_usage *ret) {
	const struct kubelet_options *o = &kubelet->options;
	*ret = (struct rank_usage){0};
	if (signal_rows[signal].pressure != PRESSURE_DISK) {
		struct cgroup_stats stats;
		autofree char *path = cgroup_pod_path(kubelet->cgroups, resources_qos(pod), pod->metadata.uid);
		if (cgroup_stats_read(kubelet->cgroups, path, &stats, NULL) < 0)
			return;
		ret->memory = (int64_t)stats.memory_working_set;
		ret->pids = (int64_t)stats.pids;
		return;
	}
	/* What lies on the file system that is short. */
	const char *root = signal == SIGNAL_IMAGEFS || signal == SIGNAL_IMAGEFS_INODES ? o->image_root : o->root_dir;
	add_containers(kubelet, pod, same_device(root, o->runtime_root), same_device(root, o->pod_log_dir), ret);
	if (same_device(root, o->root_dir))
		node_storage_volumes(kubelet, pod, &ret->disk, &ret->inodes);
}

/* ---- the order ---- */

struct candidate {
	const struct core_v1_pod *pod;
	struct rank_usage usage;
	size_t place;
	bool exceeds, ranks_by_request;
	int64_t priority, beyond;
};

static int by_order(const void *a, const void *b) {
	const struct candidate *x = a, *y = b;
	if (x->exceeds != y->exceeds)
		return x->exceeds ? -1 : 1;
	if (x->priority != y->priority)
		return x->priority < y->priority ? -1 : 1;
	if (x->beyond != y->beyond)
		return x->beyond > y->beyond ? -1 : 1;
	return x->place < y->place ? -1 : 1;
}

static void measure(struct candidate *c, enum signal_kind signal) {
	autoarena struct arena *arena = arena_new();
	struct api_quantity_map requests;
	const char *resource = signal_rows[signal].resource;
	c->priority = c->pod->spec.priority ? *c->pod->spec.priority : 0;
	if (signal == SIGNAL_PIDS) {
		c->beyond = c->usage.pids;
		return;
	}
	pod_requests(c->pod, arena, &requests);
	const struct quantity *request = api_quantity_get(&requests, resource);
	int64_t used = signal_rows[signal].pressure == PRESSURE_MEMORY ? c->usage.memory : signal == SIGNAL_NODEFS || signal == SIGNAL_IMAGEFS ? c->usage.disk : c->usage.inodes;
	c->beyond = used - (request ? quantity_value(request) : 0);
	c->exceeds = c->beyond > 0;
}

void rank_pods(const struct core_v1_pod **pods, struct rank_usage *usage, size_t count, enum signal_kind signal) {
	struct candidate *all = xcalloc(count + 1, sizeof(*all));
	for (size_t i = 0; i < count; i++) {
		all[i] = (struct candidate){.pod = pods[i], .usage = usage[i], .place = i};
		measure(&all[i], signal);
	}
	qsort(all, count, sizeof(*all), by_order);
	for (size_t i = 0; i < count; i++) {
		pods[i] = all[i].pod;
		usage[i] = all[i].usage;
	}
	free(all);
}

/* ---- the blame ---- */

static void blame_one(struct buf *out, const struct core_v1_container *spec, int64_t used, const char *resource) {
	const struct quantity *request = api_quantity_get(&spec->resources.requests, resource);
	struct quantity usage = quantity_of(used, QUANTITY_BINARY_SI);
	char used_text[64], request_text[64] = "0";
	if (used <= (request ? quantity_value(request) : 0))
		return;
	quantity_format(&usage, used_text);
	if (request)
		quantity_format(request, request_text);
	buf_printf(out, "Container %s was using %s, request is %s, has larger consumption of %s. ", spec->name, used_text, request_text, resource);
}

char *rank_blame(struct kubelet *kubelet, const struct core_v1_pod *pod, const char *resource) {
	autobuf struct buf out = BUF_INIT(1 << 16);
	struct container_status **list = NULL;
	size_t count = 0;
	bool memory = str_equal(resource, "memory");
	if ((memory || str_equal(resource, "ephemeral-storage")) && runtime_container_list(kubelet->runtime, NULL, pod->metadata.uid, &list, &count, NULL) < 0)
		count = 0;
	for (size_t i = 0; i < count; i++) {
		struct container_usage usage = {0};
		const struct core_v1_container *spec = fieldref_container(pod, list[i]->name);
		if (spec && list[i]->state == CONTAINER_RUNNING && runtime_container_usage(kubelet->runtime, list[i]->id, memory ? CONTAINER_USAGE_CGROUP : CONTAINER_USAGE_DISK, &usage, NULL) == 0)
			blame_one(&out, spec, (int64_t)(memory ? usage.cgroup.memory_working_set : usage.rootfs_bytes + usage.log_bytes), resource);
		container_status_free(list[i]);
	}
	free(list);
	return out.len ? buf_take(&out) : xstrdup("");
}

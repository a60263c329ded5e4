/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/device/pod_resources.h"

#include "kubelet/device/device.h"
#include "kubelet/grpc/message.h"
#include "kubelet/pod/manager.h"
#include "kubelet/resource/managers.h"

#include <errno.h>

/* Fields of the messages, by number. */
#define LIST_POD 1
#define ALLOCATABLE_DEVICES 1
#define ALLOCATABLE_CPUS 2
#define ALLOCATABLE_MEMORY 3
#define POD_NAME 1
#define POD_NAMESPACE 2
#define POD_CONTAINERS 3
#define CONTAINER_NAME 1
#define CONTAINER_DEVICES 2
#define CONTAINER_CPUS 3
#define CONTAINER_MEMORY 4

struct writer {
	struct buf *out;
	uint32_t field;
};

static void put_node(struct buf *topology, uint64_t id) {
	autobuf struct buf node = BUF_INIT(64);
	proto_put_number(&node, 1, id);
	proto_put_bytes(topology, 1, node.data, node.len);
}

static void put_device(const struct device_seen *seen, void *arg) {
	struct writer *w = arg;
	autobuf struct buf device = BUF_INIT(65536), topology = BUF_INIT(4096);
	proto_put_text(&device, 1, seen->resource);
	proto_put_bytes(&device, 2, seen->id, strlen(seen->id));
	for (size_t i = 0; i < seen->node_count; i++)
		put_node(&topology, (uint64_t)seen->nodes[i]);
	if (topology.len)
		proto_put_bytes(&device, 3, topology.data, topology.len);
	proto_put_bytes(w->out, w->field, device.data, device.len);
}

/* Numbers of a list go in one field. */
static void put_cpus(struct buf *out, uint32_t field, const struct cpuset *cpus) {
	autobuf struct buf list = BUF_INIT(CPUSET_MAX * 2);
	for cpuset_each (cpu, cpus)
		proto_put_varint(&list, (uint64_t)cpu);
	if (list.len)
		proto_put_bytes(out, field, list.data, list.len);
}

static void put_memory(const struct memory_seen *seen, void *arg) {
	struct writer *w = arg;
	autobuf struct buf memory = BUF_INIT(65536), topology = BUF_INIT(4096);
	proto_put_text(&memory, 1, seen->type);
	proto_put_number(&memory, 2, seen->size);
	for (uint64_t rest = seen->nodes; rest; rest &= rest - 1)
		put_node(&topology, (uint64_t)__builtin_ctzll(rest));
	proto_put_bytes(&memory, 3, topology.data, topology.len);
	proto_put_bytes(w->out, w->field, memory.data, memory.len);
}

static void put_container(struct kubelet *kubelet, const struct core_v1_pod *pod, const struct core_v1_container *container, struct buf *out) {
	autobuf struct buf one = BUF_INIT(GRPC_MAX_MESSAGE);
	struct writer writer = {&one, CONTAINER_DEVICES};
	proto_put_text(&one, CONTAINER_NAME, container->name);
	device_manager_each(kubelet->devices, pod->metadata.uid, container->name, put_device, &writer);
	struct cpuset cpus = resource_managers_cpus(kubelet->managers, pod->metadata.uid, container->name);
	put_cpus(&one, CONTAINER_CPUS, &cpus);
	writer.field = CONTAINER_MEMORY;
	resource_managers_each_memory(kubelet->managers, pod->metadata.uid, container->name, put_memory, &writer);
	proto_put_bytes(out, POD_CONTAINERS, one.data, one.len);
}

static void put_pod(struct kubelet *kubelet, const struct core_v1_pod *pod, struct buf *out) {
	autobuf struct buf one = BUF_INIT(GRPC_MAX_MESSAGE);
	proto_put_text(&one, POD_NAME, pod->metadata.name);
	proto_put_text(&one, POD_NAMESPACE, pod->metadata.namespace);
	for api_list_each (c, &pod->spec.init_containers)
		if (str_equal(c->restart_policy, CORE_V1_RESTART_POLICY_ALWAYS))
			put_container(kubelet, pod, c, &one);
	for api_list_each (c, &pod->spec.containers)
		put_container(kubelet, pod, c, &one);
	proto_put_bytes(out, LIST_POD, one.data, one.len);
}

static enum grpc_code list(struct kubelet *kubelet, struct cursor request, struct buf *ret, struct error *err) {
	autolist struct informer_list pods = INFORMER_LIST_INIT;
	pod_manager_list(kubelet->pods, &pods);
	for (size_t i = 0; i < pods.len; i++) {
		const struct core_v1_pod *pod = pods.items[i];
		if (!str_equal(pod->status.phase, CORE_V1_POD_PHASE_FAILED) && !str_equal(pod->status.phase, CORE_V1_POD_PHASE_SUCCEEDED))
			put_pod(kubelet, pod, ret);
	}
	return GRPC_OK;
}

static enum grpc_code get(struct kubelet *kubelet, struct cursor request, struct buf *ret, struct error *err) {
	autofree char *name = NULL, *ns = NULL;
	struct proto_field f;
	while (proto_next(&request, &f)) {
		char **at = f.number == 1 ? &name : f.number == 2 ? &ns : NULL;
		if (at) {
			free(*at);
			*at = proto_text(&f);
		}
	}
	autounref struct core_v1_pod *pod = name && ns && !request.failed ? pod_manager_find(kubelet->pods, ns, name) : NULL;
	if (!pod) {
		error_set(err, ENOENT, "pod %s in namespace %s not found", str_or(name, ""), str_or(ns, ""));
		return GRPC_UNKNOWN;
	}
	put_pod(kubelet, pod, ret);
	return GRPC_OK;
}

static enum grpc_code allocatable(struct kubelet *kubelet, struct cursor request, struct buf *ret, struct error *err) {
	struct writer writer = {ret, ALLOCATABLE_DEVICES};
	struct cpuset cpus = resource_managers_allocatable_cpus(kubelet->managers);
	device_manager_each(kubelet->devices, NULL, NULL, put_device, &writer);
	put_cpus(ret, ALLOCATABLE_CPUS, &cpus);
	writer.field = ALLOCATABLE_MEMORY;
	resource_managers_each_memory(kubelet->managers, NULL, NULL, put_memory, &writer);
	return GRPC_OK;
}

enum grpc_code pod_resources_call(const char *method, const void *request, size_t len, struct buf *ret, void *arg, struct error *err) {
	static const struct {
		const char *method;
		enum grpc_code (*call)(struct kubelet *kubelet, struct cursor request, struct buf *ret, struct error *err);
	} rows[] = {{"/v1.PodResourcesLister/List", list}, {"/v1.PodResourcesLister/Get", get}, {"/v1.PodResourcesLister/GetAllocatableResources", allocatable}};
	for (size_t i = 0; i < array_len(rows); i++)
		if (str_equal(method, rows[i].method))
			return rows[i].call(arg, cursor_of(request, len), ret, err);
	error_set(err, ENOSYS, "unknown method %s", method);
	return GRPC_UNIMPLEMENTED;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* A resize that the pod's node could never grant is refused at once, instead of waiting there for ever. */
#include "apiserver/admission/admission.h"
#include "common/pod/resources.h"
#include "api/core_v1.h"

#include <errno.h>

static int refuse(struct write *w, const char *message, const char *cause, struct error *err) {
	int rc = error_forbidden(err, w->resource, w->name, "%s", message);
	error_cause(err, cause, NULL, "%s", "");
	return rc;
}

static void exceed(struct buf *out, const char *name, int64_t requested, int64_t allocatable) {
	if (requested > allocatable)
		buf_printf(out, "%s%s, requested: %lld, allocatable: %lld", out->len ? "; " : "", name, (long long)requested, (long long)allocatable);
}

static int check_node(struct write *w, const struct core_v1_pod *pod, const struct core_v1_node *node, struct error *err) {
	static const struct quantity zero;
	const char *os = api_map_get(&node->metadata.labels, "kubernetes.io/os");
	autobuf struct buf why = BUF_INIT(1024);
	struct api_quantity_map requests;
	if (os && strcmp(os, "linux") != 0) {
		buf_printf(&why, "pod resize is only supported on linux nodes, node \"%.253s\" is \"%.63s\"", node->metadata.name, os);
		return refuse(w, why.data, "UnsupportedPlatform", err);
	}
	pod_requests(pod, w->arena, &requests);
	const struct quantity *cpu = api_quantity_get(&requests, "cpu"), *memory = api_quantity_get(&requests, "memory");
	const struct quantity *all_cpu = api_quantity_get(&node->status.allocatable, "cpu"), *all_memory = api_quantity_get(&node->status.allocatable, "memory");
	exceed(&why, "cpu", quantity_milli_value(cpu ? cpu : &zero), quantity_milli_value(all_cpu ? all_cpu : &zero));
	exceed(&why, "memory", quantity_value(memory ? memory : &zero), quantity_value(all_memory ? all_memory : &zero));
	if (!why.len)
		return 0;
	autofree char *message = xprintf("node didn't have enough allocatable resources: %s", why.data);
	return refuse(w, message, "NodeCapacity", err);
}

static int validate(struct write *w, struct error *err) {
	if (!admission_is(w, "", "pods", "resize"))
		return 0;
	const struct core_v1_pod *pod = w->object, *old = w->old;
	/* Only a change of the spec moves the generation. */
	if (str_empty(pod->spec.node_name) || !old || old->metadata.generation == pod->metadata.generation)
		return 0;
	struct core_v1_node *node = registry_read(w->r->server->registry, "", "nodes", NULL, pod->spec.node_name);
	if (!node)
		return error_forbidden(err, w->resource, w->name, "node \"%s\" not found", pod->spec.node_name);
	int rc = check_node(w, pod, node, err);
	api_unref(node);
	return rc;
}

const struct admission_plugin admission_pod_resize = {
	.name = "PodResizeValidator",
	.operations = WRITE_UPDATE,
	.validate = validate,
};

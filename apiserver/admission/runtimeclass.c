/* SPDX-License-Identifier: Apache-2.0 */
/* RuntimeClass: the class a pod names must be there; it brings overhead, a node selector and tolerations. */
#include "apiserver/admission/admission.h"
#include "api/core_v1.h"
#include "api/node_v1.h"

#include <errno.h>

static int merge_scheduling(struct write *w, struct core_v1_pod *pod, const struct node_v1_scheduling *scheduling, struct error *err) {
	struct arena *arena = api_arena(pod);
	for (uint32_t i = 0; i < scheduling->node_selector.len; i++) {
		const struct api_string_map_entry *e = &scheduling->node_selector.items[i];
		const char *there = api_map_get(&pod->spec.node_selector, e->key);
		if (there && strcmp(there, e->value) != 0)
			return error_forbidden(err, w->resource, admission_name(w), "conflict: runtimeClass.scheduling.nodeSelector[%s] = %s; pod.spec.nodeSelector[%s] = %s", e->key, e->value, e->key, there);
		api_map_set(arena, &pod->spec.node_selector, e->key, e->value);
	}
	for (uint32_t i = 0; i < scheduling->tolerations.len; i++) {
		bool there = false;
		for (uint32_t n = 0; n < pod->spec.tolerations.len; n++)
			there |= api_equal(&core_v1_toleration_type, &pod->spec.tolerations.items[n], &scheduling->tolerations.items[i]);
		if (!there)
			api_copy_value(&core_v1_toleration_type, api_list_add(arena, &pod->spec.tolerations), &scheduling->tolerations.items[i], arena);
	}
	return 0;
}

static int admit(struct write *w, struct error *err) {
	if (!admission_is(w, "", "pods", NULL))
		return 0;
	struct core_v1_pod *pod = w->object;
	if (str_empty(pod->spec.runtime_class_name))
		return 0;
	if (strchr(pod->spec.runtime_class_name, '/'))
		return error_status(err, 500, "", "invalid resource name \"%s\": [may not contain '/']", pod->spec.runtime_class_name);
	struct node_v1_runtime_class *class = registry_read(w->r->server->registry, "node.k8s.io", "runtimeclasses", NULL, pod->spec.runtime_class_name);
	if (!class)
		return error_forbidden(err, w->resource, admission_name(w), "pod rejected: RuntimeClass \"%s\" not found", pod->spec.runtime_class_name);
	int rc = 0;
	struct arena *arena = api_arena(pod);
	if (class->overhead && class->overhead->pod_fixed.len && !pod->spec.overhead.len)
		for (uint32_t i = 0; i < class->overhead->pod_fixed.len; i++)
			api_quantity_set(arena, &pod->spec.overhead, class->overhead->pod_fixed.items[i].key, class->overhead->pod_fixed.items[i].value);
	if (class->scheduling)
		rc = merge_scheduling(w, pod, class->scheduling, err);
	api_unref(class);
	return rc;
}

/* Looked at once the pod itself was found good. */
static int validate(struct write *w, struct error *err) {
	if (!admission_is(w, "", "pods", NULL))
		return 0;
	const struct core_v1_pod *pod = w->object;
	if (str_empty(pod->spec.runtime_class_name) && pod->spec.overhead.items)
		return error_forbidden(err, w->resource, admission_name(w), "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead");
	return 0;
}

const struct admission_plugin admission_runtime_class = {
	.name = "RuntimeClass",
	.operations = WRITE_CREATE,
	.admit = admit,
	.validate = validate,
};

/* SPDX-License-Identifier: Apache-2.0 */
/* PodTopologyLabels: a pod bears the zone and the region of the node it is bound to, so that what runs in it can read them (KEP 4742). */
#include "apiserver/admission/admission.h"
#include "api/core_v1.h"

static const char *const copied[] = {"topology.kubernetes.io/zone", "topology.kubernetes.io/region"};

static int admit(struct write *w, struct error *err) {
	struct core_v1_pod *pod = w->object;
	bool bound = admission_is(w, "", "pods", "binding");
	if (bound ? !str_equal(((const struct core_v1_binding *)w->input)->target.kind, "Node") : w->operation != WRITE_CREATE || !admission_is(w, "", "pods", NULL))
		return 0;
	const struct resource *nodes = str_empty(pod->spec.node_name) ? NULL : registry_find(w->r->server->registry, "", "v1", "nodes");
	/* Of a node that is not there nothing is known: that is for others to refuse. */
	autoentry struct entry *node = nodes ? collection_get(nodes->collection, pod->spec.node_name) : NULL;
	for (size_t i = 0; node && i < array_len(copied); i++) {
		const char *value = api_map_get(&node->labels, copied[i]);
		if (value)
			api_map_set(api_arena(pod), &pod->metadata.labels, copied[i], value);
	}
	return 0;
}

const struct admission_plugin admission_pod_topology_labels = {
	.name = "PodTopologyLabels",
	.operations = WRITE_CREATE | WRITE_UPDATE,
	.admit = admit,
};

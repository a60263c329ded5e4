/* SPDX-License-Identifier: Apache-2.0 */
/* NodeRestriction: a kubelet changes its own node, lease and the pods bound to it, and nothing else. */
#include "apiserver/admission/admission.h"
#include "api/core_v1.h"

#include <errno.h>

#define NODE_PREFIX "system:node:"
#define MIRROR_ANNOTATION "kubernetes.io/config.mirror"

/* The node that asks, or NULL where it is no kubelet. */
static const char *asking_node(const struct write *w) {
	const struct user *user = w->r->user;
	if (!user || !str_starts_with(user->name, NODE_PREFIX) || !user_in_group(user, "system:nodes"))
		return NULL;
	return user->name + strlen(NODE_PREFIX);
}

static int check_pod(struct write *w, const char *node, struct error *err) {
	const struct core_v1_pod *pod = w->operation == WRITE_CREATE ? w->object : w->old;
	if (w->operation == WRITE_CREATE) {
		if (!api_map_get(&pod->metadata.annotations, MIRROR_ANNOTATION))
			return error_forbidden(err, w->resource, admission_name(w), "pod does not have \"%s\" annotation, node \"%s\" can only create mirror pods", MIRROR_ANNOTATION, node);
		if (!str_equal(pod->spec.node_name, node))
			return error_forbidden(err, w->resource, admission_name(w), "node \"%s\" can only create pods with spec.nodeName set to itself", node);
		return 0;
	}
	if (pod && !str_equal(pod->spec.node_name, node))
		return error_forbidden(err, w->resource, admission_name(w), "node \"%s\" can only %s pods with spec.nodeName set to itself", node, w->operation == WRITE_DELETE ? "delete" : "update status for");
	return 0;
}

static bool forbidden_label(const char *key) {
	/* Labels of the kubernetes.io namespaces are for admins, but for those that kubelets are known to set. */
	static const char *const allowed[] = {
		"kubernetes.io/hostname", "kubernetes.io/arch", "kubernetes.io/os", "beta.kubernetes.io/arch", "beta.kubernetes.io/os", "beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type",
		"failure-domain.beta.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/region", "topology.kubernetes.io/zone",
	};
	for (size_t i = 0; i < array_len(allowed); i++)
		if (strcmp(allowed[i], key) == 0)
			return false;
	return strstr(key, "node-restriction.kubernetes.io/") || str_starts_with(key, "node-role.kubernetes.io/");
}

static int check_node(struct write *w, const char *node, struct error *err) {
	const char *name = w->operation == WRITE_CREATE ? api_metadata(w->object)->name : w->name;
	if (!str_equal(name, node))
		return error_forbidden(err, w->resource, name, "node \"%s\" is not allowed to modify node \"%s\"", node, str_or(name, ""));
	if (w->operation == WRITE_DELETE || !w->object)
		return 0;
	const struct core_v1_node *now = w->object, *old = w->created ? NULL : w->old;
	for (uint32_t i = 0; i < now->metadata.labels.len; i++) {
		const char *key = now->metadata.labels.items[i].key;
		const char *before = old ? api_map_get(&old->metadata.labels, key) : NULL;
		if (forbidden_label(key) && !(before && strcmp(before, now->metadata.labels.items[i].value) == 0))
			return error_forbidden(err, w->resource, name, "is not allowed to modify labels: %s", key);
	}
	if (old && !w->subresource && !api_field_equal(w->object, w->old, "spec") && now->spec.taints.len != old->spec.taints.len)
		return error_forbidden(err, w->resource, name, "node \"%s\" is not allowed to modify taints", node);
	return 0;
}

static int admit(struct write *w, struct error *err) {
	const char *node = asking_node(w);
	if (!node)
		return 0;
	const char *plural = w->resource->api->plural;
	if (strcmp(plural, "pods") == 0)
		return check_pod(w, node, err);
	if (strcmp(plural, "nodes") == 0)
		return check_node(w, node, err);
	bool lease = strcmp(plural, "leases") == 0, csi = strcmp(plural, "csinodes") == 0;
	const char *name = w->operation == WRITE_CREATE ? api_metadata(w->object)->name : w->name;
	if (lease && strcmp(w->ns, "kube-node-lease") != 0)
		return error_forbidden(err, w->resource, name, "can only access leases in the \"kube-node-lease\" system namespace");
	if ((lease || csi) && !str_equal(name, node))
		return error_forbidden(err, w->resource, name, lease ? "can only access node lease with the same name as the requesting node" : "can only access CSINode with the same name as the requesting node");
	return 0;
}

const struct admission_plugin admission_node_restriction = {
	.name = "NodeRestriction",
	.operations = WRITE_CREATE | WRITE_UPDATE | WRITE_DELETE,
	.admit = admit,
};

/* SPDX-License-Identifier: Apache-2.0 */
#include "api/coordination_v1.h"
#include "kubelet/node/node.h"

#define LEASE_NAMESPACE "kube-node-lease"

static void fill(struct kubelet *kubelet, struct coordination_v1_lease *lease) {
	struct arena *arena = api_arena(lease);
	lease->spec.holder_identity = arena_strdup(arena, kubelet->node_name);
	if (!lease->spec.lease_duration_seconds)
		lease->spec.lease_duration_seconds = api_int32(arena, 0);
	*lease->spec.lease_duration_seconds = (int32_t)kubelet->options.lease_duration_seconds;
	lease->spec.renew_time = api_time_now_micro();
	autounref struct core_v1_node *node = informer_find(kubelet->node_informer, NULL, kubelet->node_name);
	if (!node || lease->metadata.owner_references.len)
		return;
	/* The lease goes when its node goes. */
	struct meta_v1_owner_reference *owner = api_list_add(arena, &lease->metadata.owner_references);
	*owner = (struct meta_v1_owner_reference){.api_version = "v1", .kind = "Node", .name = arena_strdup(arena, node->metadata.name), .uid = arena_strdup(arena, node->metadata.uid)};
}

int node_lease_renew(struct kubelet *kubelet, struct error *err) {
	autounref struct coordination_v1_lease *lease = NULL;
	int r = client_get(kubelet->client, &api_leases, LEASE_NAMESPACE, kubelet->node_name, (void **)&lease, err);
	if (r == 0) {
		fill(kubelet, lease);
		return client_update(kubelet->client, &api_leases, LEASE_NAMESPACE, lease, NULL, NULL, err);
	}
	if (!err || err->http_code != 404)
		return r;
	error_done(err);
	lease = api_new_of(coordination_v1_lease);
	lease->metadata.name = arena_strdup(api_arena(lease), kubelet->node_name);
	lease->metadata.namespace = LEASE_NAMESPACE;
	fill(kubelet, lease);
	return client_create(kubelet->client, &api_leases, LEASE_NAMESPACE, lease, NULL, err);
}

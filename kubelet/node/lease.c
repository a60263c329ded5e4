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

/* Takes the lease that is written, and gives the one that came of it. */
static int write_lease(struct kubelet *kubelet, struct coordination_v1_lease **lease, bool create, struct error *err) {
	struct coordination_v1_lease *written = NULL;
	fill(kubelet, *lease);
	int r = create ? client_create(kubelet->client, &api_leases, LEASE_NAMESPACE, *lease, (void **)&written, err)
		       : client_update(kubelet->client, &api_leases, LEASE_NAMESPACE, *lease, NULL, (void **)&written, err);
	api_unref(*lease);
	*lease = written;
	return r;
}

static bool is_status(const struct error *err, int code) {
	return err && err->http_code == code;
}

int node_lease_renew(struct kubelet *kubelet, struct coordination_v1_lease **last, struct error *err) {
	int r;
	if (*last) {
		r = write_lease(kubelet, last, false, err);
		if (r == 0 || (!is_status(err, 404) && !is_status(err, 409)))
			return r;
		/* Somebody else has written it, or removed it. */
		error_done(err);
		*err = (struct error){0};
	}
	r = client_get(kubelet->client, &api_leases, LEASE_NAMESPACE, kubelet->node_name, (void **)last, err);
	if (r == 0)
		return write_lease(kubelet, last, false, err);
	if (!is_status(err, 404))
		return r;
	error_done(err);
	*err = (struct error){0};
	*last = api_new_of(coordination_v1_lease);
	(*last)->metadata.name = arena_strdup(api_arena(*last), kubelet->node_name);
	(*last)->metadata.namespace = LEASE_NAMESPACE;
	return write_lease(kubelet, last, true, err);
}

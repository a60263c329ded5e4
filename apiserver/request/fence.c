/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client that leads by a Lease may say so with each write: "Coracle-Fence: namespace/name/identity". The write is refused where that Lease names another
 * holder. So a leader that was stopped in the middle of a write, and goes on after another has taken over, writes nothing: no check of its own could see to that.
 * Nor can one that is made before the write is on its way to etcd, for it may be long on that way: so the write's transaction names the revision of the Lease
 * that was looked at.
 */
#include "apiserver/request/steps.h"
#include "api/coordination_v1.h"

#define FENCE_HEADER "Coracle-Fence"

int step_fence(struct request *r, struct error *err) {
	const char *fence = http_header(r->http, FENCE_HEADER);
	if (str_empty(fence) || strcmp(r->method, "GET") == 0 || strcmp(r->method, "HEAD") == 0)
		return 0;
	const char *name = strchr(fence, '/'), *identity = name ? strchr(name + 1, '/') : NULL;
	if (!identity)
		return error_bad_request(err, FENCE_HEADER ": must be namespace/name/identity of a Lease");
	r->fence_lease = arena_printf(r->arena, "%.*s", (int)(identity - fence), fence);
	r->fence_holder = identity + 1;
	struct store_guard unused_guard;
	int rc = fence_look(r, &unused_guard, err);
	return rc < 0 ? rc : 0;
}

int fence_look(struct request *r, struct store_guard *ret_guard, struct error *err) {
	if (!r->fence_lease)
		return 0;
	const struct resource *leases = registry_find_any(r->server->registry, "coordination.k8s.io", "leases");
	autoentry struct entry *entry = collection_get(leases->collection, r->fence_lease);
	autounref struct coordination_v1_lease *lease = NULL;
	if (!entry || resource_decode(leases, entry, (void **)&lease, NULL) < 0 || !str_equal(lease->spec.holder_identity, r->fence_holder))
		return error_status(err, 409, "Conflict", "the lease %s is not held by %s: what its holder may write, it may not", r->fence_lease, r->fence_holder);
	*ret_guard = (struct store_guard){leases->collection, r->fence_lease, entry->resource_version};
	return 1;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client that leads by a Lease may say so with each write: "Coracle-Fence: namespace/name/identity". The write is refused where that Lease names another
 * holder. So a leader that was stopped in the middle of a write, and goes on after another has taken over, writes nothing: no check of its own could see to that. Whoever
 * claimed the Lease did so through this server or wrote after its cache had reached the claim, so the cache knows of it.
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
	const char *ns = arena_strndup(r->arena, fence, (size_t)(name - fence));
	name = arena_strndup(r->arena, name + 1, (size_t)(identity - name - 1));
	autounref struct coordination_v1_lease *lease = registry_read(r->server->registry, "coordination.k8s.io", "leases", ns, name);
	if (lease && str_equal(lease->spec.holder_identity, identity + 1))
		return 0;
	return error_status(err, 409, "Conflict", "the lease %s/%s is not held by %s: what its holder may write, it may not", ns, name, identity + 1);
}

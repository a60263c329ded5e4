/* SPDX-License-Identifier: Apache-2.0 */
/* From a Service and its EndpointSlices to the elements that the table needs: a pure function, so it is tested without a kernel. */
#ifndef CORACLE_PROXY_MODEL_H
#define CORACLE_PROXY_MODEL_H

#include "proxy/ruleset.h"

#include "api/core_v1.h"
#include "api/discovery_v1.h"

struct model_config {
	const char *node_name;
	const char *zone; /* of this node; NULL: unknown, topology hints are not followed */
};

struct model_rules {
	struct element *items;
	size_t len, cap;
	/* Node-local ready endpoints, for health checks of load balancers. */
	unsigned local_endpoints;
};
void model_rules_done(struct model_rules *rules);

/*
 * Appends to *ret the elements of one Service: nothing for headless and ExternalName ones, nor for those with the label
 * service.kubernetes.io/service-proxy-name. Slices of both families may be given in any order; addresses that do not parse are left out.
 */
void model_build(const struct model_config *config, const struct core_v1_service *service, const struct discovery_v1_endpoint_slice *const *slices, size_t slice_count,
	struct model_rules *ret);

#endif

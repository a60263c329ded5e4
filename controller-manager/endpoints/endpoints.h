/* SPDX-License-Identifier: Apache-2.0 */
/* What the EndpointSlice and the Endpoints controller share: which pods stand behind a service, on which ports. */
#ifndef CORACLE_CONTROLLER_MANAGER_ENDPOINTS_H
#define CORACLE_CONTROLLER_MANAGER_ENDPOINTS_H

#include "controller-manager/controller.h"

#include "api/core_v1.h"

/* Pods of the namespace the service selects; references. */
void service_pods(struct world *world, const struct core_v1_service *service, struct informer_list *ret);
/* True where the pod has an address and has not ended; one that is being deleted counts where `with_terminating`. */
bool pod_serves(const struct core_v1_pod *pod, bool with_terminating);
/* The pod's address of this family ("IPv4", "IPv6"), or NULL. */
const char *pod_address(const struct core_v1_pod *pod, const char *family);
/* The number behind a service port for this pod; 0 where its containers name no such port. */
int32_t pod_port(const struct core_v1_pod *pod, const struct core_v1_service_port *port);
/* The hostname DNS gives it under a headless service, or NULL. */
const char *pod_hostname(const struct core_v1_pod *pod, const struct core_v1_service *service);
bool service_is_headless(const struct core_v1_service *service);
/* Queues every service that selects the pod. */
void wake_services_of_pod(struct reconciler *r, const void *pod);

/* ---- hints by zone (topology.c) ---- */
struct discovery_v1_endpoint;
bool topology_is_wanted(const struct core_v1_service *service);
/* Gives each ready endpoint the zone it is to serve. Returns why there are no hints, or NULL. Memory from the arena. */
const char *topology_assign(struct discovery_v1_endpoint *endpoints, size_t len, const struct informer_list *nodes, struct arena *arena);
/* Whether a change of a node moves shares. */
bool topology_node_matters(const void *old_object, const void *object);

#endif

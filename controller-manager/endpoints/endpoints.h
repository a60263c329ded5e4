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

/* ---- what set off a change (trigger.c) ---- */
#define ANNOTATION_LAST_CHANGE_TRIGGER_TIME "endpoints.kubernetes.io/last-change-trigger-time"
#define TRIGGER_TEXT 64
/* When each service and its pods were last seen to change: whoever programs a network tells by it how late it is. Thread safe; one worker a key. */
struct triggers;
struct triggers *triggers_new(void);
void triggers_free(struct triggers *triggers);
/* The earliest change since the last look at this key; of a key never looked at, when the service was made. False: none, and nothing in ret. */
bool triggers_look(struct triggers *triggers, const char *key, const struct core_v1_service *service, const struct informer_list *pods, char ret[TRIGGER_TEXT]);
void triggers_forget(struct triggers *triggers, const char *key);
/* text NULL: none. */
void trigger_annotate(struct arena *arena, struct meta_v1_object_meta *meta, const char *text);

/* ---- hints by zone (topology.c) ---- */
struct discovery_v1_endpoint;
bool topology_is_wanted(const struct core_v1_service *service);
/* Gives each ready endpoint the zone it is to serve. Returns why there are no hints, or NULL. Memory from the arena. */
const char *topology_assign(struct discovery_v1_endpoint *endpoints, size_t len, const struct informer_list *nodes, struct arena *arena);
/* Whether a change of a node moves shares. */
bool topology_node_matters(const void *old_object, const void *object);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a pod needs as a whole (KEP-753, KEP-2837): its containers and sidecars together, or an init container with the sidecars before it where that
 * is more; what the pod asks for as a whole stands instead of that sum; then the overhead. Memory from `arena`. Any thread.
 */
#ifndef CORACLE_POD_RESOURCES_H
#define CORACLE_POD_RESOURCES_H

#include "api/core_v1.h"

/* An init container that goes on running beside the others. */
bool pod_is_sidecar(const struct core_v1_container *init_container);
void pod_requests(const struct core_v1_pod *pod, struct arena *arena, struct api_quantity_map *ret);
/* Overhead is added to what is limited at all. */
void pod_limits(const struct core_v1_pod *pod, struct arena *arena, struct api_quantity_map *ret);
/* "Guaranteed", "Burstable" or "BestEffort", by cpu and memory. */
const char *pod_qos_class(const struct core_v1_pod_spec *spec);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* What the controllers ask of nodes: do taints and affinity let this pod run there? */
#ifndef CORACLE_CONTROLLER_MANAGER_NODES_H
#define CORACLE_CONTROLLER_MANAGER_NODES_H

#include "controller-manager/world.h"

#include "api/core_v1.h"

bool toleration_tolerates(const struct core_v1_toleration *toleration, const struct core_v1_taint *taint);
/* True where every taint with one of the effects is tolerated. NULL ends the list of effects. */
bool tolerates_node(const struct core_v1_toleration_array *tolerations, const struct core_v1_node *node, const char *const *effects);
/* nodeSelector and the required part of nodeAffinity. */
bool pod_spec_fits_node(const struct core_v1_pod_spec *spec, const struct core_v1_node *node);

/* What a DaemonSet asks of a node has changed: its labels or taints. For controller_watch.matters. */
bool node_placement_changed(const void *old_node, const void *node);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The rows of table.c: each is the end of the file of its name. */
#ifndef CORACLE_SCHEDULER_PLUGINS_H
#define CORACLE_SCHEDULER_PLUGINS_H

#include "scheduler/framework.h"

extern const struct plugin node_unschedulable_plugin, node_name_plugin, taint_toleration_plugin, node_affinity_plugin, node_ports_plugin,
	node_resources_fit_plugin, node_resources_balanced_allocation_plugin, pod_topology_spread_plugin, inter_pod_affinity_plugin, image_locality_plugin;

#endif

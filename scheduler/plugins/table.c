/* SPDX-License-Identifier: Apache-2.0 */
/* The plugins, in the order they run: cheap and decisive ones first. */
#include "scheduler/plugins/plugins.h"

const struct plugin *const plugins[] = {
	&node_unschedulable_plugin,
	&node_name_plugin,
	&taint_toleration_plugin,
	&node_affinity_plugin,
	&node_ports_plugin,
	&node_resources_fit_plugin,
	&pod_topology_spread_plugin,
	&inter_pod_affinity_plugin,
	&node_resources_balanced_allocation_plugin,
	&image_locality_plugin,
};
const unsigned plugin_count = array_len(plugins);
_Static_assert(array_len(plugins) <= 32, "attempt.rejected_by has 32 bits");

/* SPDX-License-Identifier: Apache-2.0 */
/* The topology manager's judgement: of all places for all resources of a container (or a pod) the best, and whether that is good enough. */
#ifndef CORACLE_KUBELET_TOPOLOGY_H
#define CORACLE_KUBELET_TOPOLOGY_H

#include "common/base/flags.h"
#include "kubelet/resource/hints.h"

#define TOPOLOGY_MAX_NODES 16 /* all their sets are gone through */

/* A policy is a row of topology.c. */
struct topology_policy {
	const char *name;
	bool looks;  /* hints are asked for at all */
	bool strict; /* what is not preferred is refused */
	bool single; /* one NUMA node, or none is wished for */
};
struct topology {
	const struct topology_policy *policy;
	const struct machine *machine;
	bool of_pod;  /* scope: containers of a pod lie together */
	bool closest; /* of sets of as many nodes that with the least distances */
};

/* options: "name=value". -EINVAL where a name is not known, or the machine has too many NUMA nodes. */
int topology_init(const struct machine *machine, const char *policy, const char *scope, const struct flag_list *options, struct topology *ret, struct error *err);
/* False where the policy refuses. */
bool topology_merge(const struct topology *topology, const struct hint_set *hints, struct hint *ret);
/* "true", "1", "f", ...: as Kubernetes reads options of policies. */
bool option_bool(const char *text, bool *ret);

#endif

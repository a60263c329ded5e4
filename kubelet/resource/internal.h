/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share of the managers. */
#ifndef CORACLE_KUBELET_RESOURCE_INTERNAL_H
#define CORACLE_KUBELET_RESOURCE_INTERNAL_H

#include "common/base/map.h"
#include "kubelet/resource/cpu.h"
#include "kubelet/resource/managers.h"
#include "kubelet/resource/memory.h"
#include "kubelet/resource/topology.h"

#include <pthread.h>

struct resource_managers {
	struct kubelet *kubelet; /* NULL: in a test of admission alone */
	struct machine machine;
	struct topology topology;
	bool keeps_quota; /* of containers with cpus of their own */
	pthread_mutex_t admitting; /* one pod at a time; taken before the lock */
	pthread_mutex_t lock;      /* of the two below */
	struct cpu_manager cpu;
	struct memory_manager memory;

	/* reconcile.c */
	pthread_t thread;
	bool runs, stops, dirty; /* under its lock, as is all that follows */
	pthread_mutex_t reconcile_lock;
	pthread_cond_t changed;
	struct map told; /* container id -> text of the cpus it was told */
};

/* All but the kubelet and its devices, for tests. Owned by the caller until resource_managers_free(). */
struct resource_options {
	const char *sys; /* "/sys" */
	struct machine *take_machine; /* instead of what is read there; NULL: read it */
	const char *topology_policy, *topology_scope;
	const struct flag_list *topology_options;
	struct cpu_options cpu;
	struct memory_options memory;
};
int resource_managers_new(const struct resource_options *options, struct resource_managers **ret, struct error *err);

/* Somebody's cpus are others. */
void reconcile_wake(struct resource_managers *managers);

/* metrics.c */
enum resource_count { COUNT_CPU_PINNED, COUNT_CPU_ERROR, COUNT_MEMORY_PINNED, COUNT_MEMORY_ERROR, COUNT_TOPOLOGY_REQUEST, COUNT_TOPOLOGY_ERROR, RESOURCE_COUNTS };
void resource_metrics_init(struct resource_managers *managers);
void resource_metrics_done(void); /* no managers any more */
void resource_metrics_count(enum resource_count which);
/* scope: "container" or "pod"; boundary: "physical_cpu", "numa_node", "uncore_cache". */
void resource_metrics_aligned(const char *scope, const char *boundary, bool aligned);
void resource_metrics_admission(int64_t ns);

#endif

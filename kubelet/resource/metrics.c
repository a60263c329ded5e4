/* SPDX-License-Identifier: Apache-2.0 */
/* What the managers count, under the names Kubernetes' kubelet gives. */
#include "common/base/clock.h"
#include "common/base/metrics.h"
#include "kubelet/resource/internal.h"

static const char *const by_boundary[] = {"scope", "boundary", NULL}, *const by_node[] = {"numa_node", NULL};
static const double admission_buckets[] = {0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 102.4, 204.8, 409.6, 819.2, 0};

enum { SHARED = RESOURCE_COUNTS, EXCLUSIVE, PER_NODE, ALIGNED, NOT_ALIGNED, ADMISSION };
static struct metric rows[] = {
	[COUNT_CPU_PINNED] = {"kubelet_cpu_manager_pinning_requests_total", "The number of cpu core allocations which required pinning.", METRIC_COUNTER, NULL, NULL, NULL},
	[COUNT_CPU_ERROR] = {"kubelet_cpu_manager_pinning_errors_total", "The number of cpu core allocations which required pinning failed.", METRIC_COUNTER, NULL, NULL, NULL},
	[COUNT_MEMORY_PINNED] = {"kubelet_memory_manager_pinning_requests_total", "The number of memory pages allocations which required pinning.", METRIC_COUNTER, NULL, NULL, NULL},
	[COUNT_MEMORY_ERROR] = {"kubelet_memory_manager_pinning_errors_total", "The number of memory pages allocations which required pinning that failed.", METRIC_COUNTER, NULL, NULL, NULL},
	[COUNT_TOPOLOGY_REQUEST] = {"kubelet_topology_manager_admission_requests_total", "The number of admission requests where resources have to be aligned.", METRIC_COUNTER, NULL, NULL, NULL},
	[COUNT_TOPOLOGY_ERROR] = {"kubelet_topology_manager_admission_errors_total", "The number of admission request failures where resources could not be aligned.", METRIC_COUNTER, NULL, NULL, NULL},
	[SHARED] = {"kubelet_cpu_manager_shared_pool_size_millicores", "The size of the shared CPU pool for non-guaranteed QoS pods, in millicores.", METRIC_GAUGE, NULL, NULL, NULL},
	[EXCLUSIVE] = {"kubelet_cpu_manager_exclusive_cpu_allocation_count", "The total number of CPUs exclusively allocated to containers running on this node", METRIC_GAUGE, NULL, NULL, NULL},
	[PER_NODE] = {"kubelet_cpu_manager_allocation_per_numa", "Number of CPUs allocated per NUMA node", METRIC_GAUGE, by_node, NULL, NULL},
	[ALIGNED] = {"kubelet_container_aligned_compute_resources_count", "Cumulative number of aligned compute resources allocated to containers by alignment type.", METRIC_COUNTER, by_boundary, NULL, NULL},
	[NOT_ALIGNED] = {"kubelet_container_aligned_compute_resources_failure_count", "Cumulative number of failures to allocate aligned compute resources to containers by alignment type.", METRIC_COUNTER, by_boundary, NULL, NULL},
	[ADMISSION] = {"kubelet_topology_manager_admission_duration_ms", "Duration in milliseconds to serve a pod admission request.", METRIC_HISTOGRAM, NULL, admission_buckets, NULL},
};

static struct resource_managers *_Atomic shown;

static void collect(void *arg) {
	struct resource_managers *m = shown;
	if (!m || m->cpu.policy != &cpu_policy_static)
		return;
	pthread_mutex_lock(&m->lock);
	struct cpuset held = cpu_manager_exclusive(&m->cpu), shared = cpuset_minus(&m->cpu.shared, &m->cpu.reserved);
	pthread_mutex_unlock(&m->lock);
	metric_set(metric_label(&rows[SHARED]), (double)cpuset_count(&shared) * 1000);
	metric_set(metric_label(&rows[EXCLUSIVE]), (double)cpuset_count(&held));
	for (size_t i = 0; i < m->machine.node_count; i++) {
		struct cpuset of = machine_cpus(&m->machine, MACHINE_NODE, m->machine.nodes[i].id), held_there = cpuset_and(&of, &held);
		autofree char *node = xprintf("%d", m->machine.nodes[i].id);
		metric_set(metric_label(&rows[PER_NODE], node), (double)cpuset_count(&held_there));
	}
}

void resource_metrics_init(struct resource_managers *managers) {
	static bool registered;
	static const char *const scopes[] = {"container", "pod"};
	shown = managers;
	if (!registered) {
		metrics_register(rows, array_len(rows));
		metrics_on_collect(collect, NULL);
	}
	registered = true;
	for (enum resource_count i = 0; i < RESOURCE_COUNTS; i++)
		metric_add(metric_label(&rows[i]), 0);
	for (size_t i = 0; managers->topology.policy->looks && i < array_len(scopes); i++) {
		metric_add(metric_label(&rows[ALIGNED], scopes[i], "numa_node"), 0);
		metric_add(metric_label(&rows[NOT_ALIGNED], scopes[i], "numa_node"), 0);
	}
	if (managers->cpu.policy == &cpu_policy_static) {
		metric_add(metric_label(&rows[ALIGNED], "container", "physical_cpu"), 0);
		metric_add(metric_label(&rows[NOT_ALIGNED], "container", "physical_cpu"), 0);
		metric_add(metric_label(&rows[ALIGNED], "container", "uncore_cache"), 0);
	}
}

void resource_metrics_done(void) {
	shown = NULL;
}

void resource_metrics_count(enum resource_count which) {
	metric_add(metric_label(&rows[which]), 1);
}

void resource_metrics_aligned(const char *scope, const char *boundary, bool aligned) {
	metric_add(metric_label(&rows[aligned ? ALIGNED : NOT_ALIGNED], scope, boundary), 1);
}

void resource_metrics_admission(int64_t ns) {
	metric_observe(metric_label(&rows[ADMISSION]), (double)ns / NSEC_PER_MSEC);
}

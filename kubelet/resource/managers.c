/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/resource/managers.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "kubelet/device/device.h"
#include "kubelet/pod/pod.h"
#include "kubelet/resource/internal.h"

#include <errno.h>

#define UNEXPECTED "UnexpectedAdmissionError"

static struct device_manager *devices_of(struct resource_managers *m) {
	return m->kubelet ? m->kubelet->devices : NULL;
}

/* ---- those who give, in the order in which they are asked ---- */

struct admission {
	struct resource_managers *managers;
	const struct core_v1_pod *pod;
	bool changed[3]; /* by the providers' order */
};

struct provider {
	void (*hints)(const struct admission *a, const struct core_v1_container *container, struct arena *arena, struct hint_set *set);
	int (*allocate)(struct admission *a, const struct core_v1_container *container, const struct hint *hint, bool *changed, struct error *err);
	int (*keep)(struct resource_managers *m, struct error *err);
};

static void device_hints(const struct admission *a, const struct core_v1_container *container, struct arena *arena, struct hint_set *set) {
	device_manager_hints(devices_of(a->managers), a->pod, container, machine_all_nodes(&a->managers->machine), arena, set);
}

static int device_allocate(struct admission *a, const struct core_v1_container *container, const struct hint *hint, bool *changed, struct error *err) {
	return device_manager_allocate(devices_of(a->managers), a->pod, container, resource_is_lender(a->pod, container), hint->nodes, changed, err);
}

static int device_keep(struct resource_managers *m, struct error *err) {
	return device_manager_keep(devices_of(m), err);
}

static void cpu_hints(const struct admission *a, const struct core_v1_container *container, struct arena *arena, struct hint_set *set) {
	const struct cpu_manager *cpu = &a->managers->cpu;
	cpu->policy->hints(cpu, a->pod, container, arena, set);
}

static void count_alignment(const struct cpu_manager *cpu, const struct cpu_holding *holding) {
	int cache = -1;
	bool same = true;
	for cpuset_each (id, &holding->cpus) {
		int of = machine_cpu(cpu->machine, id)->of[MACHINE_CACHE];
		same = same && (cache < 0 || cache == of);
		cache = of;
	}
	if (same)
		resource_metrics_aligned("container", "uncore_cache", true);
}

static int cpu_allocate(struct admission *a, const struct core_v1_container *container, const struct hint *hint, bool *changed, struct error *err) {
	struct cpu_manager *cpu = &a->managers->cpu;
	size_t before = cpu->holding_count;
	if (!cpu->policy->wants(cpu, a->pod, container))
		return 0;
	resource_metrics_count(COUNT_CPU_PINNED);
	int r = cpu->policy->allocate(cpu, a->pod, container, hint->nodes, err);
	if (r < 0)
		resource_metrics_count(COUNT_CPU_ERROR);
	if (cpu->whole_cores)
		resource_metrics_aligned("container", "physical_cpu", r == 0);
	if (cpu->holding_count != before) {
		*changed = true;
		count_alignment(cpu, &cpu->holdings[cpu->holding_count - 1]);
	}
	return r;
}

static int cpu_keep(struct resource_managers *m, struct error *err) {
	return cpu_manager_save(&m->cpu, err);
}

static void memory_hints(const struct admission *a, const struct core_v1_container *container, struct arena *arena, struct hint_set *set) {
	const struct memory_manager *memory = &a->managers->memory;
	memory->policy->hints(memory, a->pod, container, arena, set);
}

static int memory_allocate(struct admission *a, const struct core_v1_container *container, const struct hint *hint, bool *changed, struct error *err) {
	struct memory_manager *memory = &a->managers->memory;
	size_t before = memory->holding_count;
	if (!memory->policy->wants(memory, a->pod))
		return 0;
	resource_metrics_count(COUNT_MEMORY_PINNED);
	int r = memory->policy->allocate(memory, a->pod, container, hint, err);
	if (r < 0)
		resource_metrics_count(COUNT_MEMORY_ERROR);
	*changed = *changed || memory->holding_count != before;
	return r;
}

static int memory_keep(struct resource_managers *m, struct error *err) {
	return memory_manager_save(&m->memory, err);
}

static const struct provider providers[] = {
	{device_hints, device_allocate, device_keep},
	{cpu_hints, cpu_allocate, cpu_keep},
	{memory_hints, memory_allocate, memory_keep},
};
#define DEVICES 0 /* the one that may take its time, and has its own lock */

/* ---- admission ---- */

static void enter(struct resource_managers *m, size_t provider) {
	if (provider != DEVICES)
		pthread_mutex_lock(&m->lock);
}

static void leave(struct resource_managers *m, size_t provider) {
	if (provider != DEVICES)
		pthread_mutex_unlock(&m->lock);
}

/* Where the container (NULL: the whole pod) is to lie. */
static int judge(struct admission *a, const struct core_v1_container *container, struct hint *ret, struct error *err) {
	struct resource_managers *m = a->managers;
	autoarena struct arena *arena = arena_new();
	struct hint_set hints = {0};
	for (size_t i = 0; i < array_len(providers); i++) {
		enter(m, i);
		providers[i].hints(a, container, arena, &hints);
		leave(m, i);
	}
	bool fits = topology_merge(&m->topology, &hints, ret);
	if (m->topology.policy->single && (!fits || !container))
		resource_metrics_aligned(container ? "container" : "pod", "numa_node", fits);
	if (fits)
		return 0;
	error_set(err, EPERM, "Resources cannot be allocated with Topology locality");
	if (err) {
		free(err->reason);
		err->reason = xstrdup("TopologyAffinityError");
	}
	return -EPERM;
}

static int give(struct admission *a, const struct core_v1_container *container, const struct hint *hint, bool with_devices, struct error *err) {
	int r = 0;
	for (size_t i = with_devices ? 0 : DEVICES + 1; r == 0 && i < array_len(providers); i++) {
		enter(a->managers, i);
		r = providers[i].allocate(a, container, hint, &a->changed[i], err);
		leave(a->managers, i);
	}
	return r;
}

static int give_container(struct admission *a, const struct core_v1_container *container, const struct hint *of_pod, bool with_devices, struct error *err) {
	const struct topology *t = &a->managers->topology;
	struct hint hint = *of_pod;
	int r = t->policy->looks && !t->of_pod ? judge(a, container, &hint, err) : 0;
	if (r == 0)
		r = give(a, container, &hint, with_devices, err);
	if (r == 0 && t->policy->single && !t->of_pod)
		resource_metrics_aligned("container", "numa_node", true);
	return r;
}

static int give_pod(struct admission *a, bool with_devices, struct error *err) {
	const struct core_v1_pod *pod = a->pod;
	const struct topology *t = &a->managers->topology;
	struct hint hint = {0};
	int r = t->policy->looks && t->of_pod ? judge(a, NULL, &hint, err) : 0;
	for (uint32_t i = 0; r == 0 && i < pod->spec.init_containers.len; i++)
		r = give_container(a, &pod->spec.init_containers.items[i], &hint, with_devices, err);
	for (uint32_t i = 0; r == 0 && i < pod->spec.containers.len; i++)
		r = give_container(a, &pod->spec.containers.items[i], &hint, with_devices, err);
	return r;
}

static int keep(struct admission *a, struct error *err) {
	int r = 0;
	for (size_t i = 0; r == 0 && i < array_len(providers); i++) {
		if (!a->changed[i])
			continue;
		enter(a->managers, i);
		r = providers[i].keep(a->managers, err);
		leave(a->managers, i);
	}
	return r;
}

static void drop(struct resource_managers *m, const char *pod_uid) {
	autoerror struct error err = {0};
	device_manager_release(devices_of(m), pod_uid);
	pthread_mutex_lock(&m->lock);
	bool cpus = cpu_manager_release(&m->cpu, pod_uid);
	if (cpus && cpu_manager_save(&m->cpu, &err) < 0)
		log_warning("cpus that were given back cannot be kept in mind", LOG_ERR(&err));
	error_done(&err);
	if (memory_manager_release(&m->memory, pod_uid, NULL) && memory_manager_save(&m->memory, &err) < 0)
		log_warning("memory that was given back cannot be kept in mind", LOG_ERR(&err));
	pthread_mutex_unlock(&m->lock);
	if (cpus)
		reconcile_wake(m);
}

/* Errors without a reason of their own are unexpected, as Kubernetes says it. */
static int rejected(struct error *err, struct error *problem) {
	if (problem->reason)
		return error_move(err, problem);
	error_set(err, EPERM, "Allocate failed due to %s, which is unexpected", error_message(problem));
	if (err) {
		free(err->reason);
		err->reason = xstrdup(UNEXPECTED);
	}
	return -EPERM;
}

int resource_managers_admit(struct resource_managers *m, const struct core_v1_pod *pod, struct error *err) {
	autoerror struct error problem = {0};
	struct admission a = {.managers = m, .pod = pod};
	if (!m)
		return 0;
	bool looks = m->topology.policy->looks;
	int64_t began = clock_monotonic_ns();
	pthread_mutex_lock(&m->admitting);
	int r = give_pod(&a, true, &problem);
	/* Before a container sees any of it. */
	if (r == 0)
		r = keep(&a, &problem);
	if (r < 0)
		drop(m, pod->metadata.uid);
	pthread_mutex_unlock(&m->admitting);
	resource_metrics_count(COUNT_TOPOLOGY_REQUEST);
	resource_metrics_admission(clock_monotonic_ns() - began);
	if (r < 0 && looks)
		resource_metrics_count(COUNT_TOPOLOGY_ERROR);
	if (r == 0 && a.changed[1])
		reconcile_wake(m);
	return r < 0 ? rejected(err, &problem) : 0;
}

void resource_managers_adopt(struct resource_managers *m, const struct core_v1_pod *pod) {
	autoerror struct error err = {0};
	struct admission a = {.managers = m, .pod = pod};
	if (!m)
		return;
	pthread_mutex_lock(&m->admitting);
	int r = give_pod(&a, false, &err);
	if (r < 0)
		log_warning("a pod that runs cannot be given what it asks for", LOG_STR("pod", pod->metadata.name), LOG_STR("namespace", pod->metadata.namespace), LOG_ERR(&err));
	error_done(&err);
	if (keep(&a, &err) < 0)
		log_warning("what a pod was given cannot be kept in mind", LOG_STR("pod", pod->metadata.name), LOG_ERR(&err));
	pthread_mutex_unlock(&m->admitting);
	if (a.changed[1])
		reconcile_wake(m);
}

void resource_managers_release(struct resource_managers *m, const char *pod_uid) {
	if (m)
		drop(m, pod_uid);
}

/* One pod that has something and is not known; the caller frees; NULL: none. */
static char *find_unknown(struct resource_managers *m) {
	struct pod_manager *pods = m->kubelet->pods;
	char *found = NULL;
	pthread_mutex_lock(&m->lock);
	for (size_t i = 0; !found && i < m->cpu.holding_count; i++)
		if (!pod_manager_knows(pods, m->cpu.holdings[i].pod_uid))
			found = xstrdup(m->cpu.holdings[i].pod_uid);
	for (size_t i = 0; !found && i < m->memory.holding_count; i++)
		if (!pod_manager_knows(pods, m->memory.holdings[i].pod_uid))
			found = xstrdup(m->memory.holdings[i].pod_uid);
	pthread_mutex_unlock(&m->lock);
	return found;
}

void resource_managers_tidy(struct resource_managers *m) {
	if (!m)
		return;
	device_manager_tidy(devices_of(m));
	for (char *uid; (uid = find_unknown(m)); free(uid))
		drop(m, uid);
}

/* ---- what a container is given ---- */

static bool is_exclusive(const struct resource_managers *m, const struct core_v1_pod *pod, const struct core_v1_container *container) {
	if (container)
		return cpu_manager_find(&m->cpu, pod->metadata.uid, container->name);
	for (size_t i = 0; i < m->cpu.holding_count; i++)
		if (str_equal(m->cpu.holdings[i].pod_uid, pod->metadata.uid))
			return true;
	return false;
}

void resource_managers_unlimit(struct resource_managers *m, const struct core_v1_pod *pod, const struct core_v1_container *container, struct cgroup_resources *ret) {
	if (!m || m->keeps_quota)
		return;
	pthread_mutex_lock(&m->lock);
	if (is_exclusive(m, pod, container))
		ret->cpu_quota_us = -1;
	pthread_mutex_unlock(&m->lock);
}

static char *nodes_text(uint64_t nodes) {
	struct cpuset set = {{nodes}};
	return cpuset_format(&set);
}

void resource_managers_fill(struct resource_managers *m, const struct core_v1_pod *pod, const struct core_v1_container *container, struct arena *arena, struct cgroup_resources *ret) {
	if (!m)
		return;
	resource_managers_unlimit(m, pod, container, ret);
	if (!container)
		return;
	pthread_mutex_lock(&m->lock);
	const struct cpu_holding *holding = cpu_manager_find(&m->cpu, pod->metadata.uid, container->name);
	autofree char *cpus = cpuset_format(holding ? &holding->cpus : &m->cpu.shared), *nodes = nodes_text(memory_manager_nodes(&m->memory, pod->metadata.uid, container->name));
	pthread_mutex_unlock(&m->lock);
	if (*cpus)
		ret->cpuset_cpus = arena_strdup(arena, cpus);
	if (*nodes)
		ret->cpuset_mems = arena_strdup(arena, nodes);
}

/* Init containers before this one have ended: what they had and lent to nobody is free. */
static void release_lenders(struct resource_managers *m, const struct core_v1_pod *pod, const struct core_v1_container *container) {
	autoerror struct error err = {0};
	bool any = false;
	for api_list_each (c, &pod->spec.init_containers) {
		if (str_equal(c->name, container->name))
			break;
		if (resource_is_lender(pod, c))
			any = memory_manager_release(&m->memory, pod->metadata.uid, c->name) || any;
	}
	if (any && memory_manager_save(&m->memory, &err) < 0)
		log_warning("memory that was given back cannot be kept in mind", LOG_ERR(&err));
}

void resource_managers_started(struct resource_managers *m, const struct core_v1_pod *pod, const struct core_v1_container *container, const char *cpus) {
	if (!m)
		return;
	pthread_mutex_lock(&m->lock);
	if (m->memory.holding_count)
		release_lenders(m, pod, container);
	const struct cpu_holding *holding = cpu_manager_find(&m->cpu, pod->metadata.uid, container->name);
	autofree char *now = cpuset_format(holding ? &holding->cpus : &m->cpu.shared);
	pthread_mutex_unlock(&m->lock);
	if (*now && !str_equal(now, cpus))
		reconcile_wake(m);
}

const char *resource_managers_binds(struct resource_managers *m, const char *resource) {
	if (m && str_equal(resource, "cpu") && m->cpu.policy == &cpu_policy_static)
		return m->cpu.policy->name;
	return m && str_equal(resource, "memory") && m->memory.policy == &memory_policy_static ? m->memory.policy->name : NULL;
}

/* ---- for monitors ---- */

struct cpuset resource_managers_cpus(struct resource_managers *m, const char *pod_uid, const char *container) {
	struct cpuset out = {{0}};
	if (!m)
		return out;
	pthread_mutex_lock(&m->lock);
	const struct cpu_holding *holding = cpu_manager_find(&m->cpu, pod_uid, container);
	if (holding)
		out = holding->cpus;
	pthread_mutex_unlock(&m->lock);
	return out;
}

struct cpuset resource_managers_allocatable_cpus(struct resource_managers *m) {
	return m ? m->cpu.policy->allocatable(&m->cpu) : (struct cpuset){{0}};
}

void resource_managers_each_memory(struct resource_managers *m, const char *pod_uid, const char *container, void (*fn)(const struct memory_seen *seen, void *arg), void *arg) {
	if (!m)
		return;
	pthread_mutex_lock(&m->lock);
	const struct memory_holding *holding = pod_uid ? memory_manager_find(&m->memory, pod_uid, container) : NULL;
	for (size_t i = 0; holding && i < holding->count; i++)
		fn(&(struct memory_seen){holding->blocks[i].type, holding->blocks[i].size, holding->blocks[i].nodes}, arg);
	for (size_t i = 0; !pod_uid && i < m->memory.node_count; i++) {
		const struct memory_node *node = &m->memory.nodes[i];
		for (size_t k = 0; k < node->table_count; k++)
			if (node->tables[k].allocatable)
				fn(&(struct memory_seen){node->tables[k].type, node->tables[k].allocatable, (uint64_t)1 << node->id}, arg);
	}
	pthread_mutex_unlock(&m->lock);
}

/* ---- their life ---- */

int resource_managers_new(const struct resource_options *options, struct resource_managers **ret, struct error *err) {
	struct resource_managers *m = xnew(struct resource_managers);
	pthread_mutex_init(&m->admitting, NULL);
	pthread_mutex_init(&m->lock, NULL);
	pthread_mutex_init(&m->reconcile_lock, NULL);
	pthread_condattr_t monotonic;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&m->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	m->told = MAP_INIT(free);
	autoerror struct error problem = {0};
	int r = options->take_machine ? 0 : machine_read(options->sys, &m->machine, &problem);
	if (options->take_machine)
		m->machine = *options->take_machine;
	/* Who does not look at the machine need not know it. */
	bool blind = str_equal(options->topology_policy, "none") && str_equal(options->cpu.policy, cpu_policy_none.name) && str_equal(options->memory.policy, memory_policy_none.name);
	if (r < 0 && blind)
		log_warning("the machine's topology is not known", LOG_ERR(&problem));
	else if (r < 0)
		error_move(err, &problem);
	r = blind ? 0 : r;
	if (r == 0)
		r = topology_init(&m->machine, options->topology_policy, options->topology_scope, options->topology_options, &m->topology, err);
	if (r == 0)
		r = cpu_manager_init(&m->cpu, &m->machine, &options->cpu, err);
	if (r == 0)
		r = memory_manager_init(&m->memory, &m->machine, &options->memory, err);
	if (r < 0) {
		resource_managers_free(m);
		return r;
	}
	resource_metrics_init(m);
	*ret = m;
	return 0;
}

void resource_managers_free(struct resource_managers *m) {
	if (!m)
		return;
	resource_metrics_done();
	cpu_manager_done(&m->cpu);
	memory_manager_done(&m->memory);
	machine_done(&m->machine);
	map_done(&m->told);
	pthread_cond_destroy(&m->changed);
	pthread_mutex_destroy(&m->reconcile_lock);
	pthread_mutex_destroy(&m->lock);
	pthread_mutex_destroy(&m->admitting);
	free(m);
}

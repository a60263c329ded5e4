/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Containers of Guaranteed pods that ask for whole cpus get cpus of their own, for as long as the pod lives; all others share the rest. What is
 * reserved for the system is shared too, or with strict-cpu-reservation nobody's here, and never given.
 */
#include "kubelet/container/resources.h"
#include "kubelet/resource/cpu.h"
#include "kubelet/resource/topology.h"

#include <errno.h>

/* ---- options ---- */

enum age { STABLE, BETA, ALPHA };

static int refuse_age(const struct cpu_options *options, enum age age, const char *name, struct error *err) {
	if (age == ALPHA && !options->alpha)
		return error_set(err, EINVAL, "CPU Manager Policy Alpha-level Options not enabled, but option \"%s\" provided", name);
	if (age == BETA && !options->beta)
		return error_set(err, EINVAL, "CPU Manager Policy Beta-level Options not enabled, but option \"%s\" provided", name);
	return 0;
}

static int read_option(struct cpu_manager *cpu, const char *option, struct error *err) {
	const struct {
		const char *name;
		enum age age;
		bool *to;
	} rows[] = {
		{"full-pcpus-only", STABLE, &cpu->whole_cores},
		{"strict-cpu-reservation", STABLE, &cpu->strict_reservation},
		{"prefer-align-cpus-by-uncorecache", STABLE, &cpu->assign.by_cache},
		{"distribute-cpus-across-numa", BETA, &cpu->assign.across_nodes},
		{"align-by-socket", ALPHA, &cpu->by_socket},
		{"distribute-cpus-across-cores", ALPHA, &cpu->assign.across_cores},
	};
	size_t len = strcspn(option, "=");
	const char *value = option[len] ? option + len + 1 : "";
	autofree char *name = xstrndup(option, len);
	for (size_t i = 0; i < array_len(rows); i++) {
		if (!str_equal(rows[i].name, name))
			continue;
		int r = refuse_age(cpu->options, rows[i].age, name, err);
		return r < 0 || option_bool(value, rows[i].to) ? r : error_set(err, EINVAL, "bad value for option \"%s\": \"%s\"", name, value);
	}
	return error_set(err, EINVAL, "unknown CPU Manager Policy option: \"%s\"", name);
}

static int check_options(const struct cpu_manager *cpu, struct error *err) {
	const struct {
		bool both;
		const char *a, *b;
	} pairs[] = {
		{cpu->whole_cores && cpu->assign.across_cores, "full-pcpus-only", "distribute-cpus-across-cores"},
		{cpu->assign.across_nodes && cpu->assign.across_cores, "distribute-cpus-across-numa", "distribute-cpus-across-cores"},
		{cpu->assign.by_cache && cpu->assign.across_cores, "prefer-align-cpus-by-uncorecache", "distribute-cpus-across-cores"},
		{cpu->assign.by_cache && cpu->assign.across_nodes, "prefer-align-cpus-by-uncorecache", "distribute-cpus-across-numa"},
	};
	for (size_t i = 0; i < array_len(pairs); i++)
		if (pairs[i].both)
			return error_set(err, EINVAL, "static policy options %s and %s can not be used at the same time", pairs[i].a, pairs[i].b);
	if (cpu->by_socket && str_equal(cpu->options->topology_policy, "single-numa-node"))
		return error_set(err, EINVAL, "the topology manager's policy single-numa-node does not go with the CPU manager's option align-by-socket");
	if (cpu->by_socket && cpu->machine->counts[MACHINE_SOCKET] > cpu->machine->counts[MACHINE_NODE])
		return error_set(err, EINVAL, "align-by-socket does not go with a machine of more sockets than NUMA nodes");
	return 0;
}

/* ---- what is reserved ---- */

static int reserve(struct cpu_manager *cpu, struct error *err) {
	const char *text = cpu->options->reserved_cpus;
	size_t count = (size_t)((max_of(cpu->options->reserved_milli, (int64_t)0) + 999) / 1000);
	int r = 0;
	if (!str_empty(text)) {
		r = cpuset_parse(text, &cpu->reserved, err);
		struct cpuset absent = cpuset_minus(&cpu->reserved, &cpu->machine->all);
		autofree char *online = cpuset_format(&cpu->machine->all);
		if (r == 0 && !cpuset_is_empty(&absent))
			return error_set(err, EINVAL, "reserved-cpus: %s is not a subset of online-cpus: %s", text, online);
	} else if (!count) {
		return error_set(err, EINVAL, "the cpu manager's static policy requires systemreserved.cpu + kubereserved.cpu to be greater than zero");
	} else if (cpu_assign(cpu->machine, &cpu->machine->all, count, &cpu->assign, &cpu->reserved, NULL) < 0) {
		return error_set(err, EINVAL, "unable to reserve the required amount of CPUs: there are no %zu", count);
	}
	for cpuset_each (id, &cpu->reserved) {
		struct cpuset core = machine_cpus(cpu->machine, MACHINE_CORE, machine_cpu(cpu->machine, id)->of[MACHINE_CORE]);
		cpu->reserved_cores = cpuset_or(&cpu->reserved_cores, &core);
	}
	return r;
}

static int init(struct cpu_manager *cpu, const struct flag_list *options, struct error *err) {
	int r = 0;
	for (size_t i = 0; r == 0 && i < options->len; i++)
		r = read_option(cpu, options->items[i], err);
	if (r == 0)
		r = check_options(cpu, err);
	cpu->assign.group = cpu->whole_cores ? machine_cpus_each(cpu->machine, MACHINE_CORE) : 1;
	return r < 0 ? r : reserve(cpu, err);
}

static struct cpuset allocatable(const struct cpu_manager *cpu) {
	return cpuset_minus(&cpu->machine->all, &cpu->reserved);
}

static int check(struct cpu_manager *cpu, struct error *err) {
	struct cpuset common = cpuset_and(&cpu->reserved, &cpu->shared), known = cpu_manager_exclusive(cpu);
	autofree char *reserved = cpuset_format(&cpu->reserved), *shared = cpuset_format(&cpu->shared);
	if (cpuset_is_empty(&cpu->shared)) {
		if (cpu->holding_count)
			return error_set(err, EBADMSG, "default cpuset cannot be empty");
		cpu->shared = cpu->strict_reservation ? allocatable(cpu) : cpu->machine->all;
		return 0;
	}
	if (cpu->strict_reservation && !cpuset_is_empty(&common))
		return error_set(err, EBADMSG, "some of strictly reserved cpus: \"%s\" are present in defaultCpuSet: \"%s\"", reserved, shared);
	if (!cpu->strict_reservation && !cpuset_equal(&common, &cpu->reserved))
		return error_set(err, EBADMSG, "not all reserved cpus: \"%s\" are present in defaultCpuSet: \"%s\"", reserved, shared);
	for (size_t i = 0; i < cpu->holding_count; i++)
		if (cpuset_meet(&cpu->shared, &cpu->holdings[i].cpus))
			return error_set(err, EBADMSG, "pod: %s, container: %s: its cpus overlap with default cpuset \"%s\"", cpu->holdings[i].pod_uid, cpu->holdings[i].container, shared);
	known = cpuset_or(&known, &cpu->shared);
	/* What is strictly reserved stands nowhere in the file. */
	if (cpu->strict_reservation)
		known = cpuset_or(&known, &cpu->reserved);
	if (cpuset_equal(&known, &cpu->machine->all))
		return 0;
	autofree char *have = cpuset_format(&cpu->machine->all), *of_state = cpuset_format(&known);
	return error_set(err, EBADMSG, "current set of available CPUs \"%s\" doesn't match with CPUs in state \"%s\"", have, of_state);
}

/* ---- who wants how many ---- */

static size_t container_wants(const struct core_v1_container *container) {
	const struct quantity *cpus = api_quantity_get(&container->resources.requests, "cpu");
	if (!cpus || quantity_value(cpus) <= 0 || quantity_value(cpus) > CPUSET_MAX || quantity_value(cpus) * 1000 != quantity_milli_value(cpus))
		return 0;
	return (size_t)quantity_value(cpus);
}

/* Init containers one after the other, each beside the sidecars before it; then all the others together. */
static size_t pod_wants(const struct core_v1_pod *pod) {
	size_t sidecars = 0, most = 0, others = 0;
	for api_list_each (c, &pod->spec.init_containers) {
		if (str_equal(c->restart_policy, CORE_V1_RESTART_POLICY_ALWAYS))
			sidecars += container_wants(c);
		else
			most = max_of(most, sidecars + container_wants(c));
	}
	for api_list_each (c, &pod->spec.containers)
		others += container_wants(c);
	return max_of(most, sidecars + others);
}

static size_t wants(const struct cpu_manager *cpu, const struct core_v1_pod *pod, const struct core_v1_container *container) {
	if (resources_qos(pod) != CGROUP_GUARANTEED || resource_is_of_pod(pod))
		return 0;
	return container ? container_wants(container) : pod_wants(pod);
}

/* ---- where they could lie ---- */

static struct cpuset available(const struct cpu_manager *cpu) {
	return cpuset_minus(&cpu->shared, &cpu->reserved);
}

static struct cpuset lent_to(const struct cpu_manager *cpu, const struct core_v1_pod *pod) {
	return str_equal(cpu->lent.pod_uid, pod->metadata.uid) ? cpu->lent.cpus : (struct cpuset){{0}};
}

static size_t sockets_of(const struct machine *machine, uint64_t nodes) {
	size_t count = 0;
	for (size_t i = 0; i < machine->cpu_count; i++) {
		const struct machine_cpu *cpu = &machine->cpus[i];
		bool first = nodes >> cpu->of[MACHINE_NODE] & 1;
		for (size_t k = 0; first && k < i; k++)
			first = machine->cpus[k].of[MACHINE_SOCKET] != cpu->of[MACHINE_SOCKET] || !(nodes >> machine->cpus[k].of[MACHINE_NODE] & 1);
		count += first;
	}
	return count;
}

/* With align-by-socket all is well that spans no more sockets than it must. */
static void prefer_by_socket(const struct machine *machine, struct hint_list *list, size_t least) {
	size_t each = machine->counts[MACHINE_SOCKET] ? machine->counts[MACHINE_NODE] / machine->counts[MACHINE_SOCKET] : 0;
	for (size_t i = 0; each && i < list->len; i++)
		if (sockets_of(machine, list->items[i].nodes) == (least + each - 1) / each)
			list->items[i].preferred = true;
}

/* reused: cpus that must be among them. */
static void add_hints(const struct cpu_manager *cpu, const struct cpuset *free_cpus, const struct cpuset *reused, size_t count, struct arena *arena, struct hint_list *list) {
	uint64_t all = machine_cpu_nodes(cpu->machine);
	size_t least = hint_count(all);
	for (uint64_t nodes = hint_next(all, 0); nodes; nodes = hint_next(all, nodes)) {
		struct cpuset of = machine_cpus_of_nodes(cpu->machine, nodes), free_there = cpuset_and(&of, free_cpus), reused_elsewhere = cpuset_minus(reused, &of);
		if (cpuset_count(&of) >= count)
			least = min_of(least, hint_count(nodes));
		if (cpuset_is_empty(&reused_elsewhere) && cpuset_count(&free_there) + cpuset_count(reused) >= count)
			hint_list_add(list, arena, nodes, false);
	}
	hint_list_prefer(list, least);
	if (cpu->by_socket)
		prefer_by_socket(cpu->machine, list, least);
}

/* False where what it has is not what it asks for. */
static bool note_held(const struct cpu_manager *cpu, const struct core_v1_pod *pod, const struct core_v1_container *container, struct cpuset *held) {
	const struct cpu_holding *holding = cpu_manager_find(cpu, pod->metadata.uid, container->name);
	if (!holding)
		return true;
	*held = cpuset_or(held, &holding->cpus);
	return cpuset_count(&holding->cpus) == container_wants(container);
}

static void hints(const struct cpu_manager *cpu, const struct core_v1_pod *pod, const struct core_v1_container *container, struct arena *arena, struct hint_set *set) {
	static const struct cpuset none;
	size_t count = wants(cpu, pod, container);
	struct cpuset held = {{0}}, reused = lent_to(cpu, pod), free_cpus = available(cpu);
	bool fits = true;
	if (!count)
		return;
	struct hint_list *list = hint_set_add(set, arena);
	if (container)
		fits = note_held(cpu, pod, container, &held);
	for (uint32_t i = 0; !container && fits && i < pod->spec.init_containers.len; i++)
		fits = note_held(cpu, pod, &pod->spec.init_containers.items[i], &held);
	for (uint32_t i = 0; !container && fits && i < pod->spec.containers.len; i++)
		fits = note_held(cpu, pod, &pod->spec.containers.items[i], &held);
	if (!fits)
		return;
	if (cpuset_count(&held) == count) {
		add_hints(cpu, &held, &none, count, arena, list);
		return;
	}
	reused = cpuset_or(&reused, &held);
	add_hints(cpu, &free_cpus, &reused, count, arena, list);
}

/* ---- giving ---- */

static int refuse_smt(struct error *err, const char *fmt, ...) printf_like(2, 3);
static int refuse_smt(struct error *err, const char *fmt, ...) {
	va_list args;
	va_start(args, fmt);
	autobuf struct buf text = BUF_INIT(1024);
	buf_vprintf(&text, fmt, args);
	va_end(args);
	error_set(err, EPERM, "SMT Alignment Error: %s", text.data);
	if (err) {
		free(err->reason);
		err->reason = xstrdup("SMTAlignmentError");
	}
	return -EPERM;
}

static int check_cores(const struct cpu_manager *cpu, size_t count, struct error *err) {
	size_t per_core = machine_cpus_each(cpu->machine, MACHINE_CORE);
	if (!cpu->whole_cores || !per_core)
		return 0;
	if (count % per_core)
		return refuse_smt(err, "requested %zu cpus not multiple cpus per core = %zu", count, per_core);
	struct cpuset usable = cpuset_minus(&cpu->shared, &cpu->reserved_cores);
	if (count > cpuset_count(&usable))
		return refuse_smt(err, "not enough free physical CPUs: available physical CPUs = %zu, requested CPUs = %zu, CPUs per core = %zu", cpuset_count(&usable), count, per_core);
	return 0;
}

static struct cpuset aligned(const struct cpu_manager *cpu, uint64_t nodes, const struct cpuset *usable) {
	struct cpuset of = machine_cpus_of_nodes(cpu->machine, nodes), out = {{0}};
	if (!cpu->by_socket)
		return cpuset_and(&of, usable);
	for cpuset_each (id, &of) {
		struct cpuset socket = machine_cpus(cpu->machine, MACHINE_SOCKET, machine_cpu(cpu->machine, id)->of[MACHINE_SOCKET]);
		out = cpuset_or(&out, &socket);
	}
	return cpuset_and(&out, usable);
}

/* As many as can be where they should lie, the rest anywhere. */
static int choose(const struct cpu_manager *cpu, size_t count, uint64_t nodes, const struct cpuset *lent, struct cpuset *ret, struct error *err) {
	struct cpuset usable = available(cpu), near = {{0}}, far;
	usable = cpuset_or(&usable, lent);
	if (nodes) {
		struct cpuset there = aligned(cpu, nodes, &usable);
		int r = cpu_assign(cpu->machine, &there, min_of(count, cpuset_count(&there)), &cpu->assign, &near, err);
		if (r < 0)
			return r;
	}
	usable = cpuset_minus(&usable, &near);
	int r = cpu_assign(cpu->machine, &usable, count - cpuset_count(&near), &cpu->assign, &far, err);
	if (r == 0)
		*ret = cpuset_or(&near, &far);
	return r;
}

/* What an init container has is lent to those after it; what another takes is lent no more. */
static void note_lent(struct cpu_manager *cpu, const struct core_v1_pod *pod, const struct core_v1_container *container, const struct cpuset *cpus) {
	struct cpuset lent = lent_to(cpu, pod);
	if (!str_equal(cpu->lent.pod_uid, pod->metadata.uid)) {
		free(cpu->lent.pod_uid);
		cpu->lent.pod_uid = xstrdup(pod->metadata.uid);
	}
	cpu->lent.cpus = resource_is_lender(pod, container) ? cpuset_or(&lent, cpus) : cpuset_minus(&lent, cpus);
}

static int allocate(struct cpu_manager *cpu, const struct core_v1_pod *pod, const struct core_v1_container *container, uint64_t nodes, struct error *err) {
	size_t count = wants(cpu, pod, container);
	int r = count ? check_cores(cpu, count, err) : 0;
	if (r < 0 || !count)
		return r;
	const struct cpu_holding *holding = cpu_manager_find(cpu, pod->metadata.uid, container->name);
	struct cpuset cpus = holding ? holding->cpus : (struct cpuset){{0}}, lent = lent_to(cpu, pod);
	if (!holding) {
		r = choose(cpu, count, nodes, &lent, &cpus, err);
		if (r < 0)
			return r;
		cpu->shared = cpuset_minus(&cpu->shared, &cpus);
		cpu_manager_hold(cpu, pod->metadata.uid, container->name, &cpus);
	}
	note_lent(cpu, pod, container, &cpus);
	return 0;
}

const struct cpu_policy cpu_policy_static = {.name = "static", .init = init, .check = check, .wants = wants, .hints = hints, .allocate = allocate, .allocatable = allocatable};

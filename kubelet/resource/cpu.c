/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/resource/cpu.h"

#include "common/base/map.h"
#include "kubelet/resource/checkpoint.h"

#include <errno.h>

static const struct cpu_policy *const policies[] = {&cpu_policy_none, &cpu_policy_static};

/* ---- who has what ---- */

const struct cpu_holding *cpu_manager_find(const struct cpu_manager *cpu, const char *pod_uid, const char *container) {
	for (size_t i = 0; i < cpu->holding_count; i++)
		if (str_equal(cpu->holdings[i].pod_uid, pod_uid) && str_equal(cpu->holdings[i].container, container))
			return &cpu->holdings[i];
	return NULL;
}

void cpu_manager_hold(struct cpu_manager *cpu, const char *pod_uid, const char *container, const struct cpuset *cpus) {
	cpu->holdings = xreallocarray(cpu->holdings, cpu->holding_count + 1, sizeof(*cpu->holdings));
	cpu->holdings[cpu->holding_count++] = (struct cpu_holding){.pod_uid = xstrdup(pod_uid), .container = xstrdup(container), .cpus = *cpus};
}

static void holding_done(struct cpu_holding *holding) {
	free(holding->pod_uid);
	free(holding->container);
}

bool cpu_manager_release(struct cpu_manager *cpu, const char *pod_uid) {
	size_t kept = 0, before = cpu->holding_count;
	for (size_t i = 0; i < before; i++) {
		struct cpu_holding *holding = &cpu->holdings[i];
		if (!str_equal(holding->pod_uid, pod_uid)) {
			cpu->holdings[kept++] = *holding;
			continue;
		}
		cpu->shared = cpuset_or(&cpu->shared, &holding->cpus);
		holding_done(holding);
	}
	cpu->holding_count = kept;
	if (str_equal(cpu->lent.pod_uid, pod_uid))
		free(take_ptr(cpu->lent.pod_uid));
	return kept != before;
}

struct cpuset cpu_manager_exclusive(const struct cpu_manager *cpu) {
	struct cpuset all = {{0}};
	for (size_t i = 0; i < cpu->holding_count; i++)
		all = cpuset_or(&all, &cpu->holdings[i].cpus);
	return all;
}

bool resource_is_lender(const struct core_v1_pod *pod, const struct core_v1_container *container) {
	for api_list_each (c, &pod->spec.init_containers)
		if (str_equal(c->name, container->name))
			return !str_equal(c->restart_policy, CORE_V1_RESTART_POLICY_ALWAYS);
	return false;
}

bool resource_is_of_pod(const struct core_v1_pod *pod) {
	return pod->spec.resources && (pod->spec.resources->requests.len || pod->spec.resources->limits.len);
}

/* ---- what is kept ---- */

static json_t *entries_json(const struct cpu_manager *cpu) {
	json_t *entries = json_object();
	for (size_t i = 0; i < cpu->holding_count; i++) {
		const struct cpu_holding *holding = &cpu->holdings[i];
		autofree char *cpus = cpuset_format(&holding->cpus);
		if (!json_object_get(entries, holding->pod_uid))
			json_object_set_new(entries, holding->pod_uid, json_object());
		json_object_set_new(json_object_get(entries, holding->pod_uid), holding->container, json_string(cpus));
	}
	return entries;
}

/* The state as the text that the sum is of. */
static uint32_t sum_of(const char *policy, const char *shared, const json_t *entries) {
	autobuf struct buf text = BUF_INIT(CHECKPOINT_MAX);
	autofree const char **pods = checkpoint_names(entries);
	buf_printf(&text, "(*state.CPUManagerCheckpoint){PolicyName:(string)%s DefaultCPUSet:(string)%s Entries:(map[string]map[string]string)map[", policy, shared);
	for (size_t i = 0; pods[i]; i++) {
		const json_t *pod = json_object_get(entries, pods[i]);
		autofree const char **containers = checkpoint_names(pod);
		buf_printf(&text, "%s%s:map[", i ? " " : "", pods[i]);
		for (size_t k = 0; containers[k]; k++)
			buf_printf(&text, "%s%s:%s", k ? " " : "", containers[k], str_or(json_string_value(json_object_get(pod, containers[k])), ""));
		buf_append_char(&text, ']');
	}
	buf_append_str(&text, "] Checksum:(checksum.Checksum)0}");
	return hash_fnv32(text.data, text.len);
}

int cpu_manager_save(const struct cpu_manager *cpu, struct error *err) {
	autofree char *shared = cpuset_format(&cpu->shared);
	json_t *entries = entries_json(cpu), *state = json_pack("{s:s,s:s}", "policyName", cpu->policy->name, "defaultCpuSet", shared);
	uint32_t sum = sum_of(cpu->policy->name, shared, entries);
	if (json_object_size(entries))
		json_object_set(state, "entries", entries);
	json_object_set_new(state, "checksum", json_integer(sum));
	int r = checkpoint_write(cpu->state_path, state, err);
	json_decref(entries);
	json_decref(state);
	return r;
}

static int load_entries(struct cpu_manager *cpu, const json_t *entries, struct error *err) {
	const char *pod, *container;
	json_t *of_pod, *cpus;
	json_object_foreach((json_t *)entries, pod, of_pod)
		json_object_foreach(of_pod, container, cpus) {
			struct cpuset set;
			if (!json_is_string(cpus) || cpuset_parse(json_string_value(cpus), &set, NULL) < 0)
				return error_set(err, EBADMSG, "could not parse cpuset for container \"%s\" in pod \"%s\"", container, pod);
			cpu_manager_hold(cpu, pod, container, &set);
		}
	return 0;
}

static int load_state(struct cpu_manager *cpu, const json_t *state, struct error *err) {
	const char *shared = json_string_value(json_object_get(state, "defaultCpuSet"));
	const json_t *entries = json_object_get(state, "entries");
	if (!shared || (entries && !json_is_object(entries)))
		return error_set(err, EBADMSG, "it is damaged");
	if (!checkpoint_check(state, sum_of(cpu->policy->name, shared, entries)))
		return error_set(err, EBADMSG, "checkpoint is corrupted");
	if (cpuset_parse(shared, &cpu->shared, NULL) < 0)
		return error_set(err, EBADMSG, "could not parse default cpu set \"%s\"", shared);
	return load_entries(cpu, entries, err);
}

static int load(struct cpu_manager *cpu, struct error *err) {
	autoerror struct error problem = {0};
	json_t *state = NULL;
	int r = checkpoint_read(cpu->state_path, cpu->policy->name, &state, &problem);
	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = load_state(cpu, state, &problem);
	json_decref(state);
	if (r < 0) {
		checkpoint_refuse(cpu->state_path, "CPU", &problem);
		return error_move(err, &problem);
	}
	return 0;
}

/* ---- its life ---- */

int cpu_manager_init(struct cpu_manager *cpu, const struct machine *machine, const struct cpu_options *options, struct error *err) {
	*cpu = (struct cpu_manager){.machine = machine, .options = options, .state_path = xstrdup(options->state_path)};
	for (size_t i = 0; i < array_len(policies); i++)
		if (str_equal(policies[i]->name, options->policy))
			cpu->policy = policies[i];
	int r = cpu->policy ? 0 : error_set(err, EINVAL, "cpu-manager-policy: there is no \"%s\"", options->policy);
	if (r == 0)
		r = cpu->policy->init(cpu, options->policy_options, err);
	if (r == 0)
		r = load(cpu, err);
	if (r == 0 && (r = cpu->policy->check(cpu, err)) < 0)
		error_context(err, "the cpu manager's state %s does not fit: drain the node and remove the file", cpu->state_path);
	if (r == 0)
		r = cpu_manager_save(cpu, err);
	cpu->options = NULL;
	if (r < 0)
		cpu_manager_done(cpu);
	return r;
}

void cpu_manager_done(struct cpu_manager *cpu) {
	for (size_t i = 0; i < cpu->holding_count; i++)
		holding_done(&cpu->holdings[i]);
	free(cpu->holdings);
	free(cpu->lent.pod_uid);
	free(cpu->state_path);
	*cpu = (struct cpu_manager){0};
}

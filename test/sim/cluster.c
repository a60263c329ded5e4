/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes, their kubelets, and the scheduler: pods start, become ready, fail, finish and go. */
#include "test/sim/sim.h"

#include "controller-manager/shared/nodes.h"

#include "api/coordination_v1.h"

#include <stdio.h>

#define NODES 5
#define RENEW_NS (10 * NSEC_PER_SEC)
#define LEASES "kube-node-lease"

static struct machine {
	char name[16];
	bool there, up;
	int64_t renewed_ns;
} machines[NODES];

/* A pod's processes on a machine: they outlive the pod's object until the kubelet has ended them. */
static struct process {
	char *uid, *ns, *name;
	struct machine *machine;
} *processes;
static size_t process_count;

static struct machine *machine_named(const char *name)
{
	for (size_t i = 0; i < NODES; i++)
		if (machines[i].there && str_equal(machines[i].name, name))
			return &machines[i];
	return NULL;
}

/* ---- writes ---- */

static bool write_status(struct core_v1_pod *take_pod)
{
	autoerror struct error err = {0};
	autounref struct core_v1_pod *pod = take_pod;
	server.actor = ACTOR_KUBELET;
	int r = server_update(collection_for(CACHED_PODS), pod->metadata.namespace, pod->metadata.name, "status", pod, NULL, &err);
	server.actor = ACTOR_USER;
	if (r)
		sim_fail("a kubelet cannot write the status of pod %s: %s", pod->metadata.name, error_message(&err));
	return true;
}

static void add_node(struct machine *m)
{
	autounref struct core_v1_node *node = api_new_of(core_v1_node);
	autounref struct coordination_v1_lease *lease = api_new_of(coordination_v1_lease);
	struct arena *arena = api_arena(node);
	autoerror struct error err = {0};
	node->metadata.name = lease->metadata.name = m->name;
	api_map_set(arena, &node->metadata.labels, "kubernetes.io/hostname", m->name);
	api_map_set(arena, &node->metadata.labels, "disk", (m - machines) % 2 ? "ssd" : "hdd");
	struct core_v1_node_condition *ready = api_list_add(arena, &node->status.conditions);
	ready->type = "Ready";
	ready->status = "True";
	ready->last_heartbeat_time = ready->last_transition_time = api_time_now();
	lease->spec.renew_time = api_time_now_micro();
	server_create(collection_for(CACHED_NODES), NULL, node, NULL, &err);
	server_create(collection_for(CACHED_LEASES), LEASES, lease, NULL, NULL);
	m->there = m->up = true;
	m->renewed_ns = clock_monotonic_ns();
	sim_log("node %s joins", m->name);
}

static void end_process(size_t i, bool tell)
{
	struct process *p = &processes[i];
	if (tell) {
		autounref struct core_v1_pod *pod = api_new_of(core_v1_pod);
		pod->metadata.namespace = p->ns;
		pod->metadata.name = p->name;
		pod->metadata.uid = p->uid;
		checks_on_process(pod, false);
	}
	free(p->uid);
	free(p->ns);
	free(p->name);
	processes[i] = processes[--process_count];
}

static void end_process_of(const struct core_v1_pod *pod)
{
	for (size_t i = 0; i < process_count; i++)
		if (str_equal(processes[i].uid, pod->metadata.uid))
			end_process(i--, true);
}

static void start_process(const struct core_v1_pod *pod, struct machine *machine)
{
	processes = xreallocarray(processes, process_count + 1, sizeof(processes[0]));
	processes[process_count++] = (struct process){xstrdup(pod->metadata.uid), xstrdup(pod->metadata.namespace), xstrdup(pod->metadata.name), machine};
	checks_on_process(pod, true);
}

/* ---- nodes ---- */

void cluster_start(void)
{
	for (size_t i = 0; i < NODES; i++) {
		snprintf(machines[i].name, sizeof(machines[i].name), "node-%zu", i);
		machines[i].there = false;
		add_node(&machines[i]);
	}
}

void cluster_done(void)
{
	while (process_count)
		end_process(process_count - 1, false);
	free(processes);
	processes = NULL;
}

void nodes_tick(void)
{
	for (size_t i = 0; i < NODES; i++) {
		struct machine *m = &machines[i];
		struct coordination_v1_lease *live = server_find(CACHED_LEASES, LEASES, m->name);
		if (!m->there || !m->up || !live || clock_monotonic_ns() - m->renewed_ns < RENEW_NS)
			continue;
		autounref struct coordination_v1_lease *lease = api_copy(live);
		lease->spec.renew_time = api_time_now_micro();
		m->renewed_ns = clock_monotonic_ns();
		server_update(collection_for(CACHED_LEASES), LEASES, m->name, NULL, lease, NULL, NULL);
	}
}

/* The kubelet of a node that is back says so. */
static bool report_ready(struct machine *m)
{
	const struct core_v1_node *live = server_find(CACHED_NODES, NULL, m->name);
	for (uint32_t i = 0; live && i < live->status.conditions.len; i++) {
		if (!str_equal(live->status.conditions.items[i].status, "Unknown"))
			continue;
		autounref struct core_v1_node *node = api_copy(live);
		for (uint32_t j = 0; j < node->status.conditions.len; j++) {
			struct core_v1_node_condition *c = &node->status.conditions.items[j];
			c->status = str_equal(c->type, "Ready") ? "True" : "False";
			c->last_heartbeat_time = c->last_transition_time = api_time_now();
		}
		server_update(collection_for(CACHED_NODES), NULL, m->name, "status", node, NULL, NULL);
		sim_log("node %s reports ready", m->name);
		return true;
	}
	return false;
}

static void lose_machine(struct machine *m)
{
	struct client_delete_options options = CLIENT_DELETE_OPTIONS_INIT;
	m->there = m->up = false;
	sim_log("node %s is gone for good", m->name);
	for (size_t i = 0; i < process_count;) {
		if (processes[i].machine == m)
			end_process(i, true);
		else
			i++;
	}
	server_delete(collection_for(CACHED_NODES), NULL, m->name, &options, NULL);
	server_delete(collection_for(CACHED_LEASES), LEASES, m->name, &options, NULL);
}

void nodes_revive(void)
{
	for (size_t i = 0; i < NODES; i++) {
		struct machine *m = &machines[i];
		if (!m->there)
			add_node(m);
		m->up = true;
		json_t *patch = json_pack("{s:{s:n}}", "spec", "unschedulable");
		server_patch(collection_for(CACHED_NODES), NULL, m->name, NULL, patch, NULL, NULL);
		json_decref(patch);
	}
	nodes_tick();
}

static void node_fate(void)
{
	struct machine *m = &machines[sim_random(NODES)];
	if (!m->there) {
		add_node(m);
	} else if (!m->up) {
		if (sim_chance(300)) {
			lose_machine(m);
		} else {
			m->up = true;
			sim_log("node %s is heard of again", m->name);
		}
	} else if (sim_chance(500)) {
		m->up = false;
		sim_log("node %s falls silent", m->name);
	} else {
		const struct core_v1_node *node = server_find(CACHED_NODES, NULL, m->name);
		json_t *patch = json_pack("{s:{s:b}}", "spec", "unschedulable", !(node && node->spec.unschedulable));
		server_patch(collection_for(CACHED_NODES), NULL, m->name, NULL, patch, NULL, NULL);
		json_decref(patch);
	}
}

/* ---- pods ---- */

static void set_phase(struct core_v1_pod *pod, const char *phase, int exit_code)
{
	struct arena *arena = api_arena(pod);
	pod->status.phase = phase;
	pod_set_condition(arena, pod, "Ready", "False", "PodCompleted", NULL);
	for (uint32_t i = 0; i < pod->status.container_statuses.len; i++) {
		struct core_v1_container_status *status = &pod->status.container_statuses.items[i];
		status->ready = false;
		status->state.running = NULL;
		status->state.terminated = arena_new_type(arena, struct core_v1_container_state_terminated);
		status->state.terminated->exit_code = exit_code;
		status->state.terminated->finished_at = api_time_now();
	}
}

static bool is_broken(const struct core_v1_pod *pod)
{
	return pod->spec.containers.len && str_equal(pod->spec.containers.items[0].image, "broken");
}

static bool start_pod(const struct core_v1_pod *live, struct machine *m)
{
	struct core_v1_pod *pod = api_copy(live);
	struct arena *arena = api_arena(pod);
	pod->status.phase = CORE_V1_POD_PHASE_RUNNING;
	pod->status.pod_ip = arena_printf(arena, "10.%u.%u.%u", (unsigned)(m - machines), (unsigned)sim_random(250), 1 + (unsigned)sim_random(250));
	struct core_v1_pod_ip *ip = api_list_add(arena, &pod->status.pod_ips);
	ip->ip = pod->status.pod_ip;
	pod->status.start_time = api_time_now();
	struct core_v1_container_status *status = api_list_add(arena, &pod->status.container_statuses);
	status->name = "c";
	bool ready = !is_broken(pod) && sim_chance(300);
	pod_set_condition(arena, pod, "Ready", ready ? "True" : "False", NULL, NULL);
	start_process(pod, m);
	return write_status(pod);
}

static bool end_deleted(const struct core_v1_pod *live)
{
	/* A kubelet tells how a pod has ended before it lets go of it. */
	if (!pod_is_terminal(live)) {
		struct core_v1_pod *pod = api_copy(live);
		bool good = live->status.container_statuses.len && sim_chance(200);
		end_process_of(pod); /* what is told to have ended has */
		set_phase(pod, good ? CORE_V1_POD_PHASE_SUCCEEDED : CORE_V1_POD_PHASE_FAILED, good ? 0 : 143);
		return write_status(pod);
	}
	autounref struct core_v1_pod *held = api_ref(live);
	struct client_delete_options options = {.grace_period_seconds = 0, .uid = held->metadata.uid};
	end_process_of(held);
	if (held->metadata.finalizers.len && held->metadata.deletion_grace_period_seconds && !*held->metadata.deletion_grace_period_seconds)
		return false; /* all that a kubelet has to do is done */
	server.actor = ACTOR_KUBELET;
	server_delete(collection_for(CACHED_PODS), held->metadata.namespace, held->metadata.name, &options, NULL);
	server.actor = ACTOR_USER;
	return true;
}

static bool run_pod(const struct core_v1_pod *live)
{
	bool ready = pod_is_ready(live), forever = str_equal(live->spec.restart_policy, "Always");
	autounref struct core_v1_pod *pod = api_copy(live);
	struct arena *arena = api_arena(pod);
	if (!ready && is_broken(live)) {
		if (sim.settling || !sim_chance(50))
			return false;
		pod->status.container_statuses.items[0].restart_count++;
		return write_status(take_ptr(pod));
	}
	if (!ready) {
		pod_set_condition(arena, pod, "Ready", "True", NULL, NULL);
		return write_status(take_ptr(pod));
	}
	if (!forever) {
		bool fails = !sim.settling && sim_chance(200);
		if (fails && str_equal(live->spec.restart_policy, "OnFailure")) {
			pod->status.container_statuses.items[0].restart_count++;
		} else {
			end_process_of(pod);
			set_phase(pod, fails ? CORE_V1_POD_PHASE_FAILED : CORE_V1_POD_PHASE_SUCCEEDED, fails ? 1 + (int)sim_random(3) : 0);
		}
		return write_status(take_ptr(pod));
	}
	if (sim.steady || sim.settling || !sim_chance(30))
		return false;
	switch (sim_random(3)) {
	case 0:
		pod_set_condition(arena, pod, "Ready", "False", NULL, NULL);
		break;
	case 1:
		pod->status.container_statuses.items[0].restart_count++;
		pod_set_condition(arena, pod, "Ready", "False", NULL, NULL);
		break;
	default:
		end_process_of(pod);
		set_phase(pod, CORE_V1_POD_PHASE_FAILED, 137);
		pod->status.reason = "Evicted";
		pod_set_condition(arena, pod, CORE_V1_POD_CONDITION_TYPE_DISRUPTION_TARGET, "True", "TerminationByKubelet", NULL);
		break;
	}
	return write_status(take_ptr(pod));
}

static bool sync_pod(const struct core_v1_pod *pod, struct machine *m)
{
	if (pod->metadata.deletion_timestamp.set)
		return end_deleted(pod);
	if (pod_is_terminal(pod)) {
		end_process_of(pod);
		return false;
	}
	return str_equal(pod->status.phase, CORE_V1_POD_PHASE_RUNNING) ? run_pod(pod) : start_pod(pod, m);
}

/* Processes whose pod is no longer there. */
static bool reap(void)
{
	for (size_t i = 0; i < process_count; i++) {
		const struct core_v1_pod *pod = server_find(CACHED_PODS, processes[i].ns, processes[i].name);
		if (processes[i].machine->up && (!pod || !str_equal(pod->metadata.uid, processes[i].uid)) && sim_chance(300)) {
			end_process(i, true);
			return true;
		}
	}
	return false;
}

bool kubelets_act(void)
{
	if (!sim.steady && !sim.settling && sim_chance(4)) {
		node_fate();
		return true;
	}
	struct machine *m = &machines[sim_random(NODES)];
	if (reap() || (m->there && m->up && report_ready(m)))
		return true;
	const struct table *pods = &collection_for(CACHED_PODS)->objects;
	size_t start = pods->len ? sim_random(pods->len) : 0, tries = sim.settling ? pods->len : min_of(pods->len, (size_t)12);
	for (size_t i = 0; i < tries; i++) {
		const struct core_v1_pod *pod = pods->items[(start + i) % pods->len].object;
		struct machine *its = machine_named(pod->spec.node_name);
		if (its && its->up && sync_pod(pod, its))
			return true;
	}
	return false;
}

/* ---- scheduler ---- */

static bool fits(const struct core_v1_pod *pod, const struct core_v1_node *node)
{
	static const char *const effects[] = {"NoSchedule", "NoExecute", NULL};
	bool ready = false;
	for (uint32_t i = 0; i < node->status.conditions.len; i++)
		ready |= str_equal(node->status.conditions.items[i].type, "Ready") && str_equal(node->status.conditions.items[i].status, "True");
	bool daemon = owner_controller(&pod->metadata) && str_equal(owner_controller(&pod->metadata)->kind, "DaemonSet");
	return (ready || daemon) && (daemon || !node->spec.unschedulable) && !node->metadata.deletion_timestamp.set &&
	       tolerates_node(&pod->spec.tolerations, node, effects) && pod_spec_fits_node(&pod->spec, node);
}

bool scheduler_act(void)
{
	const struct table *pods = &collection_for(CACHED_PODS)->objects, *nodes = &collection_for(CACHED_NODES)->objects;
	size_t start = pods->len ? sim_random(pods->len) : 0;
	for (size_t i = 0; i < pods->len; i++) {
		const struct core_v1_pod *pod = pods->items[(start + i) % pods->len].object;
		if (!str_empty(pod->spec.node_name) || pod->metadata.deletion_timestamp.set || pod_is_terminal(pod))
			continue;
		size_t first = nodes->len ? sim_random(nodes->len) : 0;
		for (size_t n = 0; n < nodes->len; n++) {
			const struct core_v1_node *node = nodes->items[(first + n) % nodes->len].object;
			if (!fits(pod, node))
				continue;
			autounref struct core_v1_pod *bound = api_copy(pod);
			bound->spec.node_name = arena_strdup(api_arena(bound), node->metadata.name);
			server.actor = ACTOR_SCHEDULER;
			server_update(collection_for(CACHED_PODS), bound->metadata.namespace, bound->metadata.name, NULL, bound, NULL, NULL);
			server.actor = ACTOR_USER;
			return true;
		}
	}
	return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/log.h"
#include "common/base/map.h"
#include "common/base/random.h"
#include "common/client/workqueue.h"
#include "test/hollow/hollow.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>

#include "api/coordination_v1.h"
#include "api/meta_v1.h"

#define LEASE_NAMESPACE "kube-node-lease"
#define LEASE_SECONDS 40
#define WORKERS 4
#define REGISTER_RETRY_MS 500
#define NODE_ADDRESS_FIRST 0x0ac80000u /* 10.200.0.0: nobody reaches them */

struct nodes {
	struct client *client;
	const struct hollow_options *options;
	struct hollow_node *items;
	size_t count;
	struct map by_name;
	struct workqueue *queue;
	struct workers *workers;
	int64_t begun_ns;
	bool stopping; /* atomic */
};

/* ---- the node object ---- */

static void set_resource(struct arena *arena, struct core_v1_node_status *status, const char *name, const char *text)
{
	struct quantity q;
	if (quantity_parse(text, strlen(text), &q))
		return;
	api_quantity_set(arena, &status->capacity, name, q);
	api_quantity_set(arena, &status->allocatable, name, q);
}

static const struct {
	const char *type, *status, *reason, *message;
} conditions[] = {
	{"MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"},
	{"DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"},
	{"PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"},
	{"Ready", "True", "KubeletReady", "kubelet is posting ready status"},
};

static struct core_v1_node *make_node(const struct nodes *nodes, const struct hollow_node *node)
{
	const struct hollow_options *o = nodes->options;
	struct core_v1_node *object = api_new_of(core_v1_node);
	struct arena *arena = api_arena(object);
	struct core_v1_node_status *status = &object->status;
	object->metadata.name = node->name;
	api_map_set(arena, &object->metadata.labels, "kubernetes.io/hostname", node->name);
	api_map_set(arena, &object->metadata.labels, "kubernetes.io/os", "linux");
	api_map_set(arena, &object->metadata.labels, "kubernetes.io/arch", "amd64");
	if (o->zones)
		api_map_set(arena, &object->metadata.labels, "topology.kubernetes.io/zone", arena_printf(arena, "zone-%lld", (long long)(node->index % o->zones)));
	set_resource(arena, status, "cpu", o->cpu);
	set_resource(arena, status, "memory", o->memory);
	set_resource(arena, status, "pods", o->pods);
	set_resource(arena, status, "ephemeral-storage", o->storage);
	*(struct core_v1_node_address *)api_list_add(arena, &status->addresses) = (struct core_v1_node_address){CORE_V1_NODE_ADDRESS_TYPE_INTERNAL_IP, node->address};
	*(struct core_v1_node_address *)api_list_add(arena, &status->addresses) = (struct core_v1_node_address){CORE_V1_NODE_ADDRESS_TYPE_HOSTNAME, node->name};
	status->daemon_endpoints.kubelet_endpoint.port = 10250;
	status->node_info = (struct core_v1_node_system_info){.machine_id = node->name, .system_uuid = node->name, .boot_id = node->name, .kernel_version = "hollow",
		.os_image = "hollow", .container_runtime_version = "hollow://1", .kubelet_version = "v1.36.0", .operating_system = "linux", .architecture = "amd64"};
	struct api_time now = api_time_now();
	for (size_t i = 0; i < array_len(conditions); i++) {
		struct core_v1_node_condition *c = api_list_add(arena, &status->conditions);
		*c = (struct core_v1_node_condition){.type = conditions[i].type, .status = conditions[i].status, .reason = conditions[i].reason, .message = conditions[i].message,
			.last_heartbeat_time = now, .last_transition_time = now};
	}
	return object;
}

/* A node that has been there before is told to be Ready again by the heartbeat. */
static int register_node(struct nodes *nodes, struct hollow_node *node, struct error *err)
{
	autounref struct core_v1_node *object = make_node(nodes, node);
	int rc = client_create(nodes->client, &api_nodes, NULL, object, NULL, err);
	if (rc && err->http_code == 409) {
		error_done(err);
		*err = (struct error){0};
		rc = 0;
	}
	if (!rc)
		__atomic_store_n(&node->registered, true, __ATOMIC_RELEASE);
	return rc;
}

static int heartbeat(struct nodes *nodes, struct hollow_node *node, struct error *err)
{
	char now[32];
	time_format_rfc3339(clock_wall(), now);
	autobuf struct buf patch = BUF_INIT(8192);
	buf_append_str(&patch, "{\"status\":{\"conditions\":[");
	for (size_t i = 0; i < array_len(conditions); i++)
		buf_printf(&patch, "%s{\"type\":\"%s\",\"status\":\"%s\",\"reason\":\"%s\",\"message\":\"%s\",\"lastHeartbeatTime\":\"%s\"}", i ? "," : "", conditions[i].type,
			conditions[i].status, conditions[i].reason, conditions[i].message, now);
	buf_append_str(&patch, "]}}");
	int rc = client_patch(nodes->client, &api_nodes, NULL, node->name, "status", "application/strategic-merge-patch+json", patch.data, NULL, err);
	if (!rc) {
		node->heard = true;
		node->heartbeat_ns = clock_monotonic_ns();
	}
	return rc;
}

/* ---- leases ---- */

static int create_lease(struct nodes *nodes, struct hollow_node *node, struct error *err)
{
	autounref struct core_v1_node *object = NULL;
	int rc = client_get(nodes->client, &api_nodes, NULL, node->name, (void **)&object, err);
	if (rc)
		return rc;
	autounref struct coordination_v1_lease *lease = api_new_of(coordination_v1_lease);
	struct arena *arena = api_arena(lease);
	lease->metadata.name = node->name;
	lease->metadata.namespace = LEASE_NAMESPACE;
	lease->spec.holder_identity = node->name;
	lease->spec.lease_duration_seconds = api_int32(arena, LEASE_SECONDS);
	lease->spec.renew_time = api_time_now_micro();
	struct meta_v1_owner_reference *owner = api_list_add(arena, &lease->metadata.owner_references);
	*owner = (struct meta_v1_owner_reference){.api_version = "v1", .kind = "Node", .name = node->name, .uid = object->metadata.uid};
	return client_create(nodes->client, &api_leases, LEASE_NAMESPACE, lease, NULL, err);
}

static int renew_lease(struct nodes *nodes, struct hollow_node *node, struct error *err)
{
	char now[40], patch[128];
	time_format_rfc3339_micro(clock_wall(), now);
	snprintf(patch, sizeof(patch), "{\"spec\":{\"renewTime\":\"%s\"}}", now);
	int rc = client_patch(nodes->client, &api_leases, LEASE_NAMESPACE, node->name, NULL, "application/merge-patch+json", patch, NULL, err);
	if (!rc || err->http_code != 404)
		return rc;
	error_done(err);
	*err = (struct error){0};
	return create_lease(nodes, node, err);
}

static bool is_silent(const struct nodes *nodes, const struct hollow_node *node)
{
	return node->index < nodes->options->silent_nodes && clock_monotonic_ns() - nodes->begun_ns >= nodes->options->silent_after_ns;
}

/* A node that somebody has deleted stays away, as a kubelet's does until it is started again. */
static int keep_alive(const char *key, void *arg, struct error *err)
{
	struct nodes *nodes = arg;
	struct hollow_node *node = nodes_find(nodes, key);
	int interval_ms = (int)(nodes->options->lease_interval_ns / NSEC_PER_MSEC);
	if (__atomic_load_n(&nodes->stopping, __ATOMIC_RELAXED))
		return 0;
	if (!__atomic_load_n(&node->registered, __ATOMIC_ACQUIRE)) {
		int rc = register_node(nodes, node, err);
		return rc ? rc : 1;
	}
	if (is_silent(nodes, node))
		return 0;
	autoerror struct error failed = {0};
	int rc = renew_lease(nodes, node, &failed);
	int64_t now = clock_monotonic_ns();
	/* One that was silent for too long may be Unknown by now, which a kubelet sees and mends at once. */
	bool first = !node->heard, was_silent = now - node->renewed_ns >= LEASE_SECONDS * NSEC_PER_SEC;
	if (!rc)
		node->renewed_ns = now;
	if (!rc && (first || was_silent || now - node->heartbeat_ns >= nodes->options->heartbeat_interval_ns))
		rc = heartbeat(nodes, node, &failed);
	if (rc && failed.http_code != 404)
		return error_move(err, &failed);
	/* As a kubelet does; and as kubelets were not all started in the same second, the first time is any. */
	return (first ? 1 + (int)random_below((uint64_t)interval_ms) : interval_ms) + (int)random_below((uint64_t)interval_ms / 25 + 1);
}

/* ---- life ---- */

static bool all_registered(const struct nodes *nodes)
{
	for (size_t i = 0; i < nodes->count; i++)
		if (!__atomic_load_n(&nodes->items[i].registered, __ATOMIC_ACQUIRE))
			return false;
	return true;
}

int nodes_start(struct client *client, const struct hollow_options *options, int cancel_fd, struct nodes **ret, struct error *err)
{
	struct nodes *nodes = xnew(struct nodes);
	nodes->client = client;
	nodes->options = options;
	nodes->count = (size_t)options->node_count;
	nodes->items = xcalloc(nodes->count, sizeof(struct hollow_node));
	nodes->by_name = MAP_INIT(NULL);
	nodes->begun_ns = clock_monotonic_ns();
	nodes->queue = workqueue_new(&(struct workqueue_options){.name = "nodes", .base_delay_ns = 100 * NSEC_PER_MSEC, .max_delay_ns = 5 * NSEC_PER_SEC});
	for (size_t i = 0; i < nodes->count; i++) {
		struct hollow_node *node = &nodes->items[i];
		uint32_t address = NODE_ADDRESS_FIRST + (uint32_t)i + 1;
		node->index = (uint32_t)i;
		node->name = xprintf("%s%zu", options->node_prefix, i);
		snprintf(node->address, sizeof(node->address), "%u.%u.%u.%u", address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255);
		map_set(&nodes->by_name, node->name, node);
		workqueue_add(nodes->queue, node->name);
	}
	nodes->workers = workers_start(nodes->queue, WORKERS, keep_alive, nodes);
	struct pollfd stop = {.fd = cancel_fd, .events = POLLIN};
	while (!all_registered(nodes))
		if (poll(&stop, 1, REGISTER_RETRY_MS / 10) > 0) {
			nodes_free(nodes);
			return error_set(err, ECANCELED, "stopped before all nodes were registered");
		}
	*ret = nodes;
	return 0;
}

void nodes_free(struct nodes *nodes)
{
	if (!nodes)
		return;
	__atomic_store_n(&nodes->stopping, true, __ATOMIC_RELAXED);
	workers_stop(nodes->workers);
	workqueue_free(nodes->queue);
	map_done(&nodes->by_name);
	for (size_t i = 0; i < nodes->count; i++)
		free(nodes->items[i].name);
	free(nodes->items);
	free(nodes);
}

struct hollow_node *nodes_find(struct nodes *nodes, const char *name)
{
	return map_get(&nodes->by_name, name);
}

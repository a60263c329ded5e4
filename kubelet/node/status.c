/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/device/device.h"
#include "kubelet/node/eviction.h"
#include "kubelet/node/node.h"

#include <stdio.h>

static const struct core_v1_node_condition *find(const struct core_v1_node *node, const char *type) {
	for (uint32_t i = 0; node && i < node->status.conditions.len; i++)
		if (str_equal(node->status.conditions.items[i].type, type))
			return &node->status.conditions.items[i];
	return NULL;
}

static void set_condition(struct core_v1_node *node, const struct core_v1_node *old, const char *type, bool value, const char *reason, const char *message) {
	struct arena *arena = api_arena(node);
	const struct core_v1_node_condition *before = find(old, type);
	const char *text = value ? CORE_V1_CONDITION_STATUS_TRUE : CORE_V1_CONDITION_STATUS_FALSE;
	struct core_v1_node_condition *c = api_list_add(arena, &node->status.conditions);
	*c = (struct core_v1_node_condition){.type = type, .status = text, .reason = reason, .message = arena_strdup(arena, message), .last_heartbeat_time = api_time_now()};
	c->last_transition_time = before && str_equal(before->status, text) && before->last_transition_time.set ? before->last_transition_time : c->last_heartbeat_time;
}

static void set_conditions(struct kubelet *kubelet, struct core_v1_node *node, const struct core_v1_node *old) {
	const struct {
		bool memory, disk, pid;
	} p = {eviction_pressure(kubelet->eviction, PRESSURE_MEMORY), eviction_pressure(kubelet->eviction, PRESSURE_DISK), eviction_pressure(kubelet->eviction, PRESSURE_PIDS)};
	autoerror struct error err = {0};
	set_condition(node, old, "MemoryPressure", p.memory, p.memory ? "KubeletHasInsufficientMemory" : "KubeletHasSufficientMemory", p.memory ? "kubelet has insufficient memory available" : "kubelet has sufficient memory available");
	set_condition(node, old, "DiskPressure", p.disk, p.disk ? "KubeletHasDiskPressure" : "KubeletHasNoDiskPressure", p.disk ? "kubelet has disk pressure" : "kubelet has no disk pressure");
	set_condition(node, old, "PIDPressure", p.pid, p.pid ? "KubeletHasInsufficientPID" : "KubeletHasSufficientPID", p.pid ? "kubelet has insufficient PID available" : "kubelet has sufficient PID available");
	if (node_shuts_down(kubelet))
		set_condition(node, old, "Ready", false, "KubeletNotReady", "node is shutting down");
	else if (network_ready(kubelet->network, &err) == 0)
		set_condition(node, old, "Ready", true, "KubeletReady", "kubelet is posting ready status");
	else
		set_condition(node, old, "Ready", false, "KubeletNotReady", error_message(&err));
}

struct core_v1_node *node_status_make(struct kubelet *kubelet, const struct core_v1_node *old) {
	struct core_v1_node *node = api_new_of(core_v1_node);
	struct arena *arena = api_arena(node);
	struct core_v1_node_status *status = &node->status;
	node->metadata.name = arena_strdup(arena, kubelet->node_name);
	node_info_capacity(kubelet, arena, &status->capacity);
	node_info_allocatable(kubelet, &status->capacity, arena, &status->allocatable);
	device_manager_capacity(kubelet->devices, arena, &status->capacity, &status->allocatable);
	for (size_t i = 0; i < kubelet->node_ip_count; i++)
		*(struct core_v1_node_address *)api_list_add(arena, &status->addresses) = (struct core_v1_node_address){CORE_V1_NODE_ADDRESS_TYPE_INTERNAL_IP, kubelet->node_ips[i]};
	*(struct core_v1_node_address *)api_list_add(arena, &status->addresses) = (struct core_v1_node_address){CORE_V1_NODE_ADDRESS_TYPE_HOSTNAME, kubelet->node_name};
	status->daemon_endpoints.kubelet_endpoint.port = (int32_t)kubelet->options.port;
	node_info_system(kubelet, arena, &status->node_info);
	status->node_info.container_runtime_version = arena_printf(arena, RUNTIME_NAME "://%s", runtime_version(kubelet->runtime));
	for (char *p = (char *)status->node_info.container_runtime_version; *p; p++)
		if (*p == ' ')
			*p = '-';
	node_info_images(kubelet, arena, &status->images);
	set_conditions(kubelet, node, old);
	/* The first is what pods without a RuntimeClass get. */
	static const char *const handlers[] = {"", RUNTIME_HANDLER};
	for (size_t i = 0; i < array_len(handlers); i++) {
		struct core_v1_node_runtime_handler *handler = api_list_add(arena, &status->runtime_handlers);
		handler->name = handlers[i];
		handler->features = arena_new_type(arena, struct core_v1_node_runtime_handler_features);
		handler->features->recursive_read_only_mounts = api_bool(arena, true);
		handler->features->user_namespaces = api_bool(arena, true);
	}
	/* Of all that a control plane may ask nodes for by name, what is done here; by name, as the API wants it. */
	static const char *const declared[] = {"ExtendWebSocketsToKubelet", "InPlacePodLevelResourcesVerticalScaling", "InPlacePodVerticalScalingInitContainers", "RestartAllContainersOnContainerExits"};
	for (size_t i = 0; i < array_len(declared); i++)
		api_string_list_add(arena, &status->declared_features, declared[i]);
	status->features = arena_new_type(arena, struct core_v1_node_features);
	status->features->supplemental_groups_policy = api_bool(arena, true);
	return node;
}

/* Without the heartbeats: what is worth telling at once. */
static json_t *without_heartbeats(json_t *conditions) {
	json_t *copy = json_deep_copy(conditions), *item;
	size_t i;
	json_array_foreach(copy, i, item)
		json_object_del(item, "lastHeartbeatTime");
	return copy;
}

static json_t *ours_among(json_t *have, json_t *want) {
	json_t *out = json_array(), *w, *h;
	size_t i, j;
	json_array_foreach(want, i, w)
		json_array_foreach(have, j, h)
			if (json_equal(json_object_get(h, "type"), json_object_get(w, "type")))
				json_array_append(out, h);
	return out;
}

static bool conditions_equal(json_t *have, json_t *want) {
	json_t *mine = ours_among(have, want), *a = without_heartbeats(mine), *b = without_heartbeats(want);
	bool equal = json_equal(a, b);
	json_decref(mine);
	json_decref(a);
	json_decref(b);
	return equal;
}

/* Resources by name: those that others added stay. */
static json_t *map_patch(json_t *have, json_t *want) {
	json_t *out = json_object(), *value;
	const char *key;
	json_object_foreach(want, key, value)
		if (!json_equal(json_object_get(have, key), value))
			json_object_set(out, key, value);
	if (json_object_size(out))
		return out;
	json_decref(out);
	return NULL;
}

char *node_status_patch(const struct core_v1_node *have_node, const struct core_v1_node *want_node, bool force) {
	json_t *have = api_to_json(&core_v1_node_status_type, &have_node->status), *want = api_to_json(&core_v1_node_status_type, &want_node->status);
	json_t *patch = json_object(), *value;
	const char *name;
	char *text = NULL;
	json_object_foreach(want, name, value) {
		json_t *old = json_object_get(have, name), *field = NULL;
		if (str_equal(name, "capacity") || str_equal(name, "allocatable"))
			field = map_patch(old, value);
		else if (str_equal(name, "conditions"))
			field = force || !conditions_equal(old, value) ? json_incref(value) : NULL;
		else if (!old || !json_equal(old, value))
			field = json_incref(value);
		if (field && old && str_equal(name, "addresses")) {
			/* Merged by type otherwise: two addresses of one type would become one. */
			json_t *copy = json_copy(field);
			json_array_insert_new(copy, 0, json_pack("{s:s}", "$patch", "replace"));
			json_decref(field);
			field = copy;
		}
		if (field)
			json_object_set_new(patch, name, field);
	}
	if (json_object_size(patch)) {
		json_t *whole = json_pack("{s:O}", "status", patch);
		text = json_dumps(whole, JSON_COMPACT);
		json_decref(whole);
	}
	json_decref(patch);
	json_decref(have);
	json_decref(want);
	return text;
}

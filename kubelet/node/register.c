/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/log.h"
#include "kubelet/node/node.h"

#include <poll.h>

#define RETRY_FIRST_MS 200
#define RETRY_MAX_MS 7000

static void set_label(struct core_v1_node *node, const char *key, const char *value) {
	api_map_set(api_arena(node), &node->metadata.labels, key, value);
}

/* "key=value:Effect" or "key:Effect" */
static void add_taint(struct core_v1_node *node, const char *text) {
	const char *colon = strrchr(text, ':'), *equal = strchr(text, '=');
	struct arena *arena = api_arena(node);
	if (!colon)
		return;
	struct core_v1_taint *taint = api_list_add(arena, &node->spec.taints);
	bool has_value = equal && equal < colon;
	taint->key = arena_strndup(arena, text, (size_t)((has_value ? equal : colon) - text));
	taint->value = has_value ? arena_strndup(arena, equal + 1, (size_t)(colon - equal - 1)) : NULL;
	taint->effect = arena_strdup(arena, colon + 1);
}

static struct core_v1_node *make(struct kubelet *kubelet) {
	struct core_v1_node *node = node_status_make(kubelet, NULL);
	struct arena *arena = api_arena(node);
	const char *arch = node->status.node_info.architecture;
	set_label(node, "kubernetes.io/hostname", kubelet->node_name);
	set_label(node, "kubernetes.io/os", "linux");
	set_label(node, "kubernetes.io/arch", arch);
	set_label(node, "beta.kubernetes.io/os", "linux");
	set_label(node, "beta.kubernetes.io/arch", arch);
	for (size_t i = 0; i < kubelet->options.node_labels.len; i++) {
		const char *text = kubelet->options.node_labels.items[i], *equal = strchr(text, '=');
		set_label(node, equal ? arena_strndup(arena, text, (size_t)(equal - text)) : text, equal ? equal + 1 : "");
	}
	for (size_t i = 0; i < kubelet->options.register_with_taints.len; i++)
		add_taint(node, kubelet->options.register_with_taints.items[i]);
	api_map_set(arena, &node->metadata.annotations, "volumes.kubernetes.io/controller-managed-attach-detach", "true");
	if (!str_empty(kubelet->options.node_ip))
		api_map_set(arena, &node->metadata.annotations, "alpha.kubernetes.io/provided-node-ip", kubelet->options.node_ip);
	node->spec.provider_id = str_empty(kubelet->options.provider_id) ? NULL : kubelet->options.provider_id;
	return node;
}

/* A node that is there already keeps what it has; our own labels are put right. */
static int complete(struct kubelet *kubelet, const struct core_v1_node *want, struct error *err) {
	autounref struct core_v1_node *have = NULL;
	int r = client_get(kubelet->client, &api_nodes, NULL, kubelet->node_name, (void **)&have, err);
	if (r < 0)
		return r;
	json_t *labels = json_object();
	for api_list_each (e, &want->metadata.labels)
		if (!str_equal(api_map_get(&have->metadata.labels, e->key), e->value))
			json_object_set_new(labels, e->key, json_string(e->value));
	if (json_object_size(labels)) {
		json_t *patch = json_pack("{s:{s:O}}", "metadata", "labels", labels);
		autofree char *text = json_dumps(patch, JSON_COMPACT);
		r = client_patch(kubelet->client, &api_nodes, NULL, kubelet->node_name, NULL, "application/merge-patch+json", text, NULL, err);
		json_decref(patch);
	}
	json_decref(labels);
	return r;
}

static int try_register(struct kubelet *kubelet, bool *ret_made, struct error *err) {
	autounref struct core_v1_node *node = make(kubelet);
	int r = client_create(kubelet->client, &api_nodes, NULL, node, NULL, err);
	if (r < 0 && err->http_code == 409) {
		error_done(err);
		return complete(kubelet, node, err);
	}
	*ret_made = r == 0;
	return r;
}

bool node_register(struct kubelet *kubelet, int stop_fd, bool *ret_made) {
	int wait_ms = RETRY_FIRST_MS;
	for (;;) {
		autoerror struct error err = {0};
		if (!kubelet->options.register_node || try_register(kubelet, ret_made, &err) == 0) {
			log_info("node is registered", LOG_STR("node", kubelet->node_name));
			return true;
		}
		log_warning("node cannot be registered yet", LOG_STR("node", kubelet->node_name), LOG_ERR(&err));
		struct pollfd stop = {.fd = stop_fd, .events = POLLIN};
		if (poll(&stop, 1, wait_ms) > 0)
			return false;
		wait_ms = min_of(wait_ms * 2, RETRY_MAX_MS);
	}
}

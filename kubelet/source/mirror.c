/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/log.h"
#include "kubelet/source/source.h"

#define MIRROR "kubernetes.io/config.mirror"
#define HASH "kubernetes.io/config.hash"

bool mirror_is(const struct core_v1_pod *pod) {
	return api_map_get(&pod->metadata.annotations, MIRROR);
}

void mirror_delete(struct kubelet *kubelet, const char *ns, const char *name, const char *uid) {
	autoerror struct error err = {0};
	const struct client_delete_options options = {.grace_period_seconds = 0, .uid = uid};
	if (kubelet->client && client_delete(kubelet->client, &api_pods, ns, name, &options, &err) < 0 && err.http_code != 404 && err.http_code != 409)
		log_warning("mirror pod stays", LOG_STR("pod", name), LOG_STR("namespace", ns), LOG_ERR(&err));
}

static struct core_v1_pod *make(struct kubelet *kubelet, const struct core_v1_pod *pod) {
	struct core_v1_pod *mirror = api_copy(pod);
	struct arena *arena = api_arena(mirror);
	api_map_set(arena, &mirror->metadata.annotations, MIRROR, str_or(api_map_get(&pod->metadata.annotations, HASH), pod->metadata.uid));
	mirror->metadata.uid = NULL;
	mirror->metadata.resource_version = NULL;
	mirror->status = (struct core_v1_pod_status){0};
	autounref struct core_v1_node *node = informer_find(kubelet->node_informer, NULL, kubelet->node_name);
	if (node) {
		struct meta_v1_owner_reference *owner = api_list_add(arena, &mirror->metadata.owner_references);
		*owner = (struct meta_v1_owner_reference){.api_version = "v1", .kind = "Node", .name = arena_strdup(arena, node->metadata.name), .uid = arena_strdup(arena, node->metadata.uid), .controller = api_bool(arena, true)};
	}
	return mirror;
}

void mirror_ensure(struct kubelet *kubelet, const struct core_v1_pod *pod) {
	autoerror struct error err = {0};
	if (!kubelet->client || !informer_synced(kubelet->pod_informer))
		return;
	autounref struct core_v1_pod *have = informer_find(kubelet->pod_informer, pod->metadata.namespace, pod->metadata.name);
	const char *hash = have ? api_map_get(&have->metadata.annotations, MIRROR) : NULL;
	if (hash && str_equal(hash, api_map_get(&pod->metadata.annotations, HASH)) && !have->metadata.deletion_timestamp.set)
		return;
	/* An outdated or deleted mirror goes first; its deletion wakes the pod, which comes here again. */
	if (hash) {
		mirror_delete(kubelet, have->metadata.namespace, have->metadata.name, have->metadata.uid);
		return;
	}
	if (have)
		return; /* a real pod has the name */
	autounref struct core_v1_pod *mirror = make(kubelet, pod);
	if (client_create(kubelet->client, &api_pods, pod->metadata.namespace, mirror, NULL, &err) < 0 && err.http_code != 409)
		log_warning("mirror pod cannot be made", LOG_STR("pod", pod->metadata.name), LOG_STR("namespace", pod->metadata.namespace), LOG_ERR(&err));
}

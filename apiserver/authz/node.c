/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Node authorizer: a kubelet may read the nodes' common resources, write its own node, lease and pods' status, and read only those
 * secrets, config maps, claims and volumes that a pod bound to it uses.
 */
#include "apiserver/authz/authz.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"

#define NODE_PREFIX "system:node:"

/* What every node may do; group, resource, subresource ("*": any), verbs. */
static const struct node_rule {
	const char *group, *resource, *subresource, *verbs;
} node_rules[] = {
	{"authentication.k8s.io", "tokenreviews", "", "create"},
	{"authorization.k8s.io", "subjectaccessreviews", "", "create"},
	{"authorization.k8s.io", "localsubjectaccessreviews", "", "create"},
	{"authorization.k8s.io", "selfsubjectaccessreviews", "", "create"},
	{"authentication.k8s.io", "selfsubjectreviews", "", "create"},
	{"", "services", "", "get,list,watch"},
	{"", "nodes", "", "create,get,list,watch,update,patch"},
	{"", "nodes", "status", "update,patch,get"},
	{"", "events", "", "create,update,patch"},
	{"events.k8s.io", "events", "", "create,update,patch"},
	{"", "pods", "", "get,list,watch,create,delete"},
	{"", "pods", "status", "update,patch,get"},
	{"", "pods", "eviction", "create"},
	{"", "persistentvolumeclaims", "status", "get,update,patch"},
	{"storage.k8s.io", "volumeattachments", "", "get"},
	{"certificates.k8s.io", "certificatesigningrequests", "", "create,get,list,watch"},
	{"certificates.k8s.io", "certificatesigningrequests", "selfnodeclient", "create"},
	{"coordination.k8s.io", "leases", "", "get,create,update,patch,delete"},
	{"storage.k8s.io", "csinodes", "", "get,create,update,patch,delete"},
	{"storage.k8s.io", "csidrivers", "", "get,list,watch"},
	{"node.k8s.io", "runtimeclasses", "", "get,list,watch"},
	{"discovery.k8s.io", "endpointslices", "", "get,list,watch"},
	{"", "endpoints", "", "get"},
	{"resource.k8s.io", "resourceslices", "", "get,list,watch,create,update,patch,delete,deletecollection"},
	{"policy", "poddisruptionbudgets", "", "get"},
};

static bool word_in(const char *list, const char *word) {
	size_t len = strlen(word);
	for (const char *p = list; *p;) {
		size_t n = strcspn(p, ",");
		if (n == len && strncmp(p, word, n) == 0)
			return true;
		p += n;
		if (*p)
			p++;
	}
	return false;
}

/* ---- the graph: what the pods on a node refer to ---- */

/* The claim that a volume is filled by; that of an ephemeral volume is named after pod and volume. NULL: none. */
static const char *claim_of(const struct core_v1_pod *pod, const struct core_v1_volume *v, char *out, size_t size) {
	if (v->persistent_volume_claim)
		return v->persistent_volume_claim->claim_name;
	if (!v->ephemeral)
		return NULL;
	snprintf(out, size, "%s-%s", str_or(pod->metadata.name, ""), str_or(v->name, ""));
	return out;
}

static bool is_secret(const struct core_v1_local_object_reference *ref, const char *name) {
	return ref && str_equal(ref->name, name);
}

static bool volume_uses_secret(const struct core_v1_volume *v, const char *name) {
	if (v->secret && str_equal(v->secret->secret_name, name))
		return true;
	if (v->azure_file && str_equal(v->azure_file->secret_name, name))
		return true;
	return (v->cephfs && is_secret(v->cephfs->secret_ref, name)) || (v->cinder && is_secret(v->cinder->secret_ref, name)) || (v->flex_volume && is_secret(v->flex_volume->secret_ref, name)) ||
		(v->rbd && is_secret(v->rbd->secret_ref, name)) || (v->scale_io && is_secret(v->scale_io->secret_ref, name)) || (v->iscsi && is_secret(v->iscsi->secret_ref, name)) ||
		(v->storageos && is_secret(v->storageos->secret_ref, name)) || (v->csi && is_secret(v->csi->node_publish_secret_ref, name));
}

static bool volume_refers(const struct core_v1_pod *pod, const struct core_v1_volume *v, const char *plural, const char *name) {
	char claim[1024];
	if (strcmp(plural, "persistentvolumeclaims") == 0)
		return str_equal(claim_of(pod, v, claim, sizeof(claim)), name);
	bool secrets = strcmp(plural, "secrets") == 0;
	if (secrets ? volume_uses_secret(v, name) : strcmp(plural, "configmaps") == 0 && v->config_map && str_equal(v->config_map->name, name))
		return true;
	for (uint32_t i = 0; v->projected && i < v->projected->sources.len; i++) {
		const struct core_v1_volume_projection *s = &v->projected->sources.items[i];
		if (s->secret && secrets && str_equal(s->secret->name, name))
			return true;
		if (s->config_map && strcmp(plural, "configmaps") == 0 && str_equal(s->config_map->name, name))
			return true;
	}
	return false;
}

static bool container_refers(const struct core_v1_env_var_array *env, const struct core_v1_env_from_source_array *env_from, const char *plural, const char *name) {
	bool secret = strcmp(plural, "secrets") == 0;
	if (!secret && strcmp(plural, "configmaps") != 0)
		return false;
	for (uint32_t i = 0; i < env->len; i++) {
		const struct core_v1_env_var_source *from = env->items[i].value_from;
		if (!from)
			continue;
		if (secret && from->secret_key_ref && str_equal(from->secret_key_ref->name, name))
			return true;
		if (!secret && from->config_map_key_ref && str_equal(from->config_map_key_ref->name, name))
			return true;
	}
	for (uint32_t i = 0; i < env_from->len; i++) {
		const struct core_v1_env_from_source *from = &env_from->items[i];
		if (secret && from->secret_ref && str_equal(from->secret_ref->name, name))
			return true;
		if (!secret && from->config_map_ref && str_equal(from->config_map_ref->name, name))
			return true;
	}
	return false;
}

static bool pod_refers(const struct core_v1_pod *pod, const char *plural, const char *name) {
	const struct core_v1_pod_spec *spec = &pod->spec;
	if (strcmp(plural, "serviceaccounts") == 0)
		return str_equal(spec->service_account_name, name);
	if (strcmp(plural, "resourceclaims") == 0)
		return true; /* names are generated: the namespace is the bound */
	if (strcmp(plural, "secrets") == 0)
		for (uint32_t i = 0; i < spec->image_pull_secrets.len; i++)
			if (str_equal(spec->image_pull_secrets.items[i].name, name))
				return true;
	for (uint32_t i = 0; i < spec->volumes.len; i++)
		if (volume_refers(pod, &spec->volumes.items[i], plural, name))
			return true;
#define ANY_REFERS(list_) \
	for api_list_each (c, &(list_)) \
		if (container_refers(&c->env, &c->env_from, plural, name)) \
			return true
	ANY_REFERS(spec->containers);
	ANY_REFERS(spec->init_containers);
	ANY_REFERS(spec->ephemeral_containers);
#undef ANY_REFERS
	return false;
}

/* Calls fn for the pods of a namespace ("" : all) on a node until it returns true. */
static bool any_pod_on(struct apiserver *server, const char *ns, const char *node, bool (*fn)(struct apiserver *, const struct core_v1_pod *, const char *, const char *), const char *plural, const char *name) {
	const struct resource *pods = registry_find(server->registry, "", "v1", "pods");
	autosnapshot struct snapshot *snapshot = collection_snapshot(pods->collection);
	size_t first = 0, end = snapshot->len;
	if (!str_empty(ns)) {
		autofree char *prefix = xprintf("%s/", ns);
		snapshot_range(snapshot, prefix, &first, &end);
	}
	for (size_t i = first; i < end; i++) {
		struct entry *entry = snapshot_entry(snapshot, i);
		if (!str_equal(api_map_get(&entry->fields, "spec.nodeName"), node))
			continue;
		void *pod;
		if (resource_decode(pods, entry, &pod, NULL) < 0)
			continue;
		bool found = fn(server, pod, plural, name);
		api_unref(pod);
		if (found)
			return true;
	}
	return false;
}

static bool refers(struct apiserver *server, const struct core_v1_pod *pod, const char *plural, const char *name) {
	return pod_refers(pod, plural, name);
}

static bool claims_volume(struct apiserver *server, const struct core_v1_pod *pod, const char *plural, const char *name) {
	for (uint32_t i = 0; i < pod->spec.volumes.len; i++) {
		const struct core_v1_volume *v = &pod->spec.volumes.items[i];
		char text[1024];
		const char *claim_name = claim_of(pod, v, text, sizeof(text));
		if (str_empty(claim_name))
			continue;
		struct core_v1_persistent_volume_claim *claim = registry_read(server->registry, "", "persistentvolumeclaims", pod->metadata.namespace, claim_name);
		bool found = claim && str_equal(claim->spec.volume_name, name);
		api_unref(claim);
		if (found)
			return true;
	}
	return false;
}

static const char *const graph_kinds[] = {"secrets", "configmaps", "persistentvolumeclaims", "serviceaccounts", "resourceclaims"};

bool node_is_user(const struct user *user) {
	return str_starts_with(user->name, NODE_PREFIX) && user_in_group(user, "system:nodes");
}

enum authz_decision node_decide(struct apiserver *server, const struct authz_attributes *a, struct arena *arena, const char **ret_reason) {
	if (!node_is_user(a->user))
		return AUTHZ_NO_OPINION;
	const char *node = a->user->name + strlen(NODE_PREFIX);
	if (!a->is_resource)
		return AUTHZ_NO_OPINION;
	const char *sub = str_or(a->subresource, "");
	bool read = word_in("get,list,watch", a->verb);
	for (size_t i = 0; i < array_len(graph_kinds); i++) {
		if (strcmp(graph_kinds[i], a->resource) != 0)
			continue;
		bool token = strcmp(a->resource, "serviceaccounts") == 0 && strcmp(sub, "token") == 0 && strcmp(a->verb, "create") == 0;
		if (token || (read && !*sub && !str_empty(a->name))) {
			if (any_pod_on(server, str_or(a->ns, ""), node, refers, a->resource, str_or(a->name, "")))
				return AUTHZ_ALLOW;
			*ret_reason = arena_printf(arena, "no relationship found between node '%s' and this object", node);
			return AUTHZ_NO_OPINION;
		}
	}
	if (strcmp(a->resource, "persistentvolumes") == 0 && strcmp(a->verb, "get") == 0 && !*sub) {
		if (any_pod_on(server, "", node, claims_volume, NULL, str_or(a->name, "")))
			return AUTHZ_ALLOW;
		*ret_reason = arena_printf(arena, "no relationship found between node '%s' and this object", node);
		return AUTHZ_NO_OPINION;
	}
	for (size_t i = 0; i < array_len(node_rules); i++) {
		const struct node_rule *rule = &node_rules[i];
		if (strcmp(rule->group, str_or(a->group, "")) == 0 && strcmp(rule->resource, a->resource) == 0 && strcmp(rule->subresource, sub) == 0 && word_in(rule->verbs, a->verb))
			return AUTHZ_ALLOW;
	}
	return AUTHZ_NO_OPINION;
}

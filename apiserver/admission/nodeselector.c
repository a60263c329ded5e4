/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PodNodeSelector: the pods of a namespace go to the nodes that its annotation selects, or else to those that the cluster's default does; what a pod selects itself stays
 * within what the operator has listed for the namespace.
 */
#include "apiserver/admission/settings.h"
#include "apiserver/admission/admission.h"
#include "common/api/format.h"
#include "common/api/yaml.h"
#include "api/core_v1.h"

#include <errno.h>
#include <jansson.h>

#define ANNOTATION "scheduler.alpha.kubernetes.io/node-selector"
#define CLUSTER_DEFAULT "clusterDefaultNodeSelector"

int nodeselector_read(struct admission_settings *settings, const char *text, size_t len, struct error *err) {
	autobuf struct buf json = BUF_INIT((size_t)2 << 20);
	const char *key;
	json_t *value;
	int rc = yaml_to_json_one(text, len, &json, err);
	if (rc < 0)
		return rc;
	json_t *tree = json_loadb(json.data ? json.data : "", json.len, 0, NULL), *selectors = json_object_get(tree, "podNodeSelectorPluginConfig");
	if (!json_is_object(tree) || (selectors && !json_is_object(selectors)))
		rc = error_set(err, EINVAL, "podNodeSelectorPluginConfig: must be a map of namespaces to selectors");
	json_object_foreach(selectors, key, value) {
		if (json_is_string(value))
			map_set(&settings->node_selectors, key, xstrdup(json_string_value(value)));
		else if (rc == 0)
			rc = error_set(err, EINVAL, "podNodeSelectorPluginConfig[%s]: must be a string", key);
	}
	json_decref(tree);
	return rc;
}

static char *trim(char *text) {
	text += strspn(text, " \t\r\n");
	size_t len = strlen(text);
	while (len && strchr(" \t\r\n", text[len - 1]))
		text[--len] = '\0';
	return text;
}

/* "a=b,c=d" */
static int parse(const char *text, struct arena *arena, struct api_string_map *ret, struct error *err) {
	char *rest = arena_strdup(arena, str_or(text, "")), *part;
	if (!*rest)
		return 0;
	while ((part = strsep(&rest, ","))) {
		char *value = strchr(part, '=');
		if (!value || strchr(value + 1, '='))
			return error_status(err, 500, "", "invalid selector: [%s]", part);
		*value++ = '\0';
		part = trim(part);
		value = trim(value);
		const char *wrong = format_error(format_qualified_name, part);
		if (!wrong)
			wrong = format_error(format_label_value, value);
		if (wrong)
			return error_status(err, 500, "", "invalid selector: [%s %s]: %s", part, value, wrong);
		api_map_set(arena, ret, part, value);
	}
	return 0;
}

static const char *listed(struct write *w, const char *ns) {
	return map_get(&w->r->server->admission->node_selectors, ns);
}

static int of_namespace(struct write *w, struct api_string_map *ret, struct error *err) {
	autounref struct core_v1_namespace *ns = registry_read(w->r->server->registry, "", "namespaces", NULL, w->ns);
	if (!ns)
		return error_not_found(err, registry_find(w->r->server->registry, "", "v1", "namespaces"), w->ns);
	const char *said = api_map_get(&ns->metadata.annotations, ANNOTATION);
	return parse(said ? said : listed(w, CLUSTER_DEFAULT), w->arena, ret, err);
}

/* What the pod must have is in `ret`; refused where it asks for something else. */
static int check(struct write *w, struct api_string_map *ret, struct error *err) {
	const struct core_v1_pod *pod = w->object;
	int rc = of_namespace(w, ret, err);
	for (uint32_t i = 0; rc == 0 && i < ret->len; i++) {
		const char *own = api_map_get(&pod->spec.node_selector, ret->items[i].key);
		if (own && !str_equal(own, ret->items[i].value))
			rc = error_forbidden(err, w->resource, pod->metadata.name, "pod node label selector conflicts with its namespace node label selector");
	}
	return rc;
}

static int admit(struct write *w, struct error *err) {
	struct api_string_map wanted = {0};
	if (!admission_is(w, "", "pods", NULL))
		return 0;
	int rc = check(w, &wanted, err);
	struct core_v1_pod *pod = w->object;
	for (uint32_t i = 0; rc == 0 && i < wanted.len; i++)
		api_map_set(api_arena(pod), &pod->spec.node_selector, wanted.items[i].key, wanted.items[i].value);
	return rc;
}

static int validate(struct write *w, struct error *err) {
	struct api_string_map wanted = {0}, allowed = {0};
	if (!admission_is(w, "", "pods", NULL))
		return 0;
	int rc = check(w, &wanted, err);
	if (rc == 0)
		rc = parse(listed(w, w->ns), w->arena, &allowed, err);
	const struct core_v1_pod *pod = w->object;
	for (uint32_t i = 0; rc == 0 && allowed.len && i < pod->spec.node_selector.len; i++) {
		const struct api_string_map_entry *own = &pod->spec.node_selector.items[i];
		if (!str_equal(api_map_get(&allowed, own->key), own->value))
			rc = error_forbidden(err, w->resource, pod->metadata.name, "pod node label selector labels conflict with its namespace whitelist");
	}
	return rc;
}

const struct admission_plugin admission_pod_node_selector = {
	.name = "PodNodeSelector",
	.operations = WRITE_CREATE,
	.off_by_default = true,
	.admit = admit,
	.validate = validate,
};

/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/container/env.h"

#include "kubelet/container/env_file.h"
#include "kubelet/container/expand.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

static struct env_item *find(const struct env_list *list, const char *name) {
	for (size_t i = 0; i < list->len; i++)
		if (str_equal(list->items[i].name, name))
			return &list->items[i];
	return NULL;
}

void env_set(struct env_list *list, const char *name, const char *value) {
	struct env_item *item = find(list, name);
	if (!item) {
		if (list->len == ENV_MAX_VARIABLES)
			return;
		if (list->len == list->cap) {
			size_t cap = list->cap ? list->cap * 2 : 32;
			struct env_item *items = arena_calloc(list->arena, cap, sizeof(*items));
			if (list->len)
				memcpy(items, list->items, list->len * sizeof(*items));
			list->items = items;
			list->cap = cap;
		}
		item = &list->items[list->len++];
		item->name = arena_strdup(list->arena, name);
	}
	item->value = arena_strdup(list->arena, value ? value : "");
}

const char *env_get(const struct env_list *list, const char *name) {
	struct env_item *item = find(list, name);
	return item ? item->value : NULL;
}

const char *env_lookup(const char *name, void *list) {
	return env_get(list, name);
}

const char *const *env_strings(const struct env_list *list) {
	const char **out = arena_calloc(list->arena, list->len + 1, sizeof(*out));
	for (size_t i = 0; i < list->len; i++)
		out[i] = arena_printf(list->arena, "%s=%s", list->items[i].name, list->items[i].value);
	return out;
}

/* "my-svc" -> "MY_SVC" */
static char *variable_name(struct arena *arena, const char *name) {
	char *out = arena_strdup(arena, name);
	for (char *p = out; *p; p++)
		*p = *p == '-' ? '_' : (char)toupper((unsigned char)*p);
	return out;
}

static const char *url_host(struct arena *arena, const char *ip) {
	return strchr(ip, ':') ? arena_printf(arena, "[%s]", ip) : ip;
}

static void add_service(struct env_list *list, const struct core_v1_service *service) {
	struct arena *a = list->arena;
	const char *ip = service->spec.cluster_ip, *name = variable_name(a, service->metadata.name);
	if (str_empty(ip) || str_equal(ip, "None") || !service->spec.ports.len)
		return;
	env_set(list, arena_printf(a, "%s_SERVICE_HOST", name), ip);
	env_set(list, arena_printf(a, "%s_SERVICE_PORT", name), arena_printf(a, "%d", service->spec.ports.items[0].port));
	for api_list_each (port, &service->spec.ports)
		if (!str_empty(port->name))
			env_set(list, arena_printf(a, "%s_SERVICE_PORT_%s", name, variable_name(a, port->name)), arena_printf(a, "%d", port->port));
	for api_list_each (port, &service->spec.ports) {
		const char *upper = str_or(port->protocol, "TCP");
		char *lower = arena_strdup(a, upper);
		for (char *p = lower; *p; p++)
			*p = (char)tolower((unsigned char)*p);
		const char *url = arena_printf(a, "%s://%s:%d", lower, url_host(a, ip), port->port);
		const char *prefix = arena_printf(a, "%s_PORT_%d_%s", name, port->port, upper);
		if (port == service->spec.ports.items)
			env_set(list, arena_printf(a, "%s_PORT", name), url);
		env_set(list, prefix, url);
		env_set(list, arena_printf(a, "%s_PROTO", prefix), lower);
		env_set(list, arena_printf(a, "%s_PORT", prefix), arena_printf(a, "%d", port->port));
		env_set(list, arena_printf(a, "%s_ADDR", prefix), ip);
	}
}

void env_add_services(struct env_list *list, const struct informer_list *services, bool only_kubernetes) {
	for (size_t i = 0; i < services->len; i++) {
		const struct core_v1_service *service = services->items[i];
		if (!only_kubernetes || str_equal(service->metadata.name, "kubernetes"))
			add_service(list, service);
	}
}

static void build_services(const struct core_v1_pod *pod, struct object_source *objects, struct env_list *ret) {
	const char *ns = str_or(pod->metadata.namespace, "default");
	bool links = !pod->spec.enable_service_links || *pod->spec.enable_service_links;
	autolist struct informer_list master = INFORMER_LIST_INIT, own = INFORMER_LIST_INIT;
	objects->services(objects, "default", &master);
	env_add_services(ret, &master, true);
	if (!links)
		return;
	objects->services(objects, ns, &own);
	env_add_services(ret, &own, false);
}

static bool is_optional(const bool *optional) {
	return optional && *optional;
}

static bool name_usable(const char *name) {
	return !str_empty(name) && !strchr(name, '=');
}

static void set_bytes(struct env_list *list, const char *name, const struct api_bytes *bytes) {
	/* A NUL would end the variable; what stands before it is all a process can see. */
	env_set(list, name, bytes->len ? arena_strndup(list->arena, (const char *)bytes->data, strnlen((const char *)bytes->data, bytes->len)) : "");
}

static int add_env_from(const struct core_v1_pod *pod, const struct core_v1_env_from_source *from, struct object_source *objects, struct env_list *list, struct error *err) {
	const char *prefix = from->prefix ? from->prefix : "";
	if (from->config_map_ref) {
		autounref struct core_v1_config_map *map = NULL;
		int r = objects->get(objects, &api_configmaps, pod->metadata.namespace, from->config_map_ref->name, (void **)&map, err);
		if (r < 0)
			return r == -ENOENT && is_optional(from->config_map_ref->optional) ? 0 : r;
		for api_list_each (e, &map->data)
			if (name_usable(e->key))
				env_set(list, arena_printf(list->arena, "%s%s", prefix, e->key), e->value);
	}
	if (from->secret_ref) {
		autounref struct core_v1_secret *secret = NULL;
		int r = objects->get(objects, &api_secrets, pod->metadata.namespace, from->secret_ref->name, (void **)&secret, err);
		if (r < 0)
			return r == -ENOENT && is_optional(from->secret_ref->optional) ? 0 : r;
		for api_list_each (e, &secret->data)
			if (name_usable(e->key))
				set_bytes(list, arena_printf(list->arena, "%s%s", prefix, e->key), &e->value);
	}
	return 0;
}

static int from_config_map(const struct core_v1_pod *pod, const char *name, const struct core_v1_config_map_key_selector *ref, struct object_source *objects, struct env_list *list, struct error *err) {
	autounref struct core_v1_config_map *map = NULL;
	int r = objects->get(objects, &api_configmaps, pod->metadata.namespace, ref->name, (void **)&map, err);
	if (r < 0)
		return r == -ENOENT && is_optional(ref->optional) ? 0 : r;
	const char *value = api_map_get(&map->data, ref->key);
	if (!value)
		return is_optional(ref->optional) ? 0 : error_set(err, ENOENT, "couldn't find key %s in ConfigMap %s/%s", ref->key, pod->metadata.namespace, ref->name);
	env_set(list, name, value);
	return 0;
}

static int from_secret(const struct core_v1_pod *pod, const char *name, const struct core_v1_secret_key_selector *ref, struct object_source *objects, struct env_list *list, struct error *err) {
	autounref struct core_v1_secret *secret = NULL;
	int r = objects->get(objects, &api_secrets, pod->metadata.namespace, ref->name, (void **)&secret, err);
	if (r < 0)
		return r == -ENOENT && is_optional(ref->optional) ? 0 : r;
	for api_list_each (e, &secret->data) {
		if (str_equal(e->key, ref->key)) {
			set_bytes(list, name, &e->value);
			return 0;
		}
	}
	return is_optional(ref->optional) ? 0 : error_set(err, ENOENT, "couldn't find key %s in Secret %s/%s", ref->key, pod->metadata.namespace, ref->name);
}

static int from_file(const char *name, const struct core_v1_file_key_selector *ref, const struct pod_facts *facts, struct env_list *list, struct error *err) {
	const char *folder = facts->volume_paths ? map_get(facts->volume_paths, ref->volume_name) : NULL, *value;
	if (str_empty(folder))
		return error_set(err, ENOENT, "cannot find the volume \"%s\" referenced by FileKeyRef", ref->volume_name);
	int r = env_file_read(folder, ref->path, ref->key, list->arena, &value, err);
	if (r < 0)
		return r == -ENOENT && is_optional(ref->optional) ? 0 : r;
	if (!value)
		return is_optional(ref->optional) ? 0 : error_set(err, ENOENT, "environment variable key \"%s\" not found in file \"%s\"", ref->key, ref->path);
	env_set(list, name, value);
	return 0;
}

static int add_env(const struct core_v1_pod *pod, const struct core_v1_container *container, const struct core_v1_env_var *var, const struct pod_facts *facts, struct object_source *objects, struct env_list *list, struct error *err) {
	autobuf struct buf out = BUF_INIT(ENV_MAX_VALUE);
	int r = 0;
	if (!var->value_from || !str_empty(var->value)) {
		expand_variables(&out, var->value ? var->value : "", env_lookup, list);
	} else if (var->value_from->config_map_key_ref) {
		return from_config_map(pod, var->name, var->value_from->config_map_key_ref, objects, list, err);
	} else if (var->value_from->secret_key_ref) {
		return from_secret(pod, var->name, var->value_from->secret_key_ref, objects, list, err);
	} else if (var->value_from->file_key_ref) {
		return from_file(var->name, var->value_from->file_key_ref, facts, list, err);
	} else if (var->value_from->field_ref) {
		r = fieldref_value(pod, facts, var->value_from->field_ref->field_path, &out, err);
	} else if (var->value_from->resource_field_ref) {
		r = fieldref_resource(pod, facts, container, var->value_from->resource_field_ref, &out, err);
	}
	if (r < 0)
		return r;
	if (buf_failed(&out))
		return error_set(err, E2BIG, "value of environment variable %s is too long", var->name);
	env_set(list, var->name, out.data ? out.data : "");
	return 0;
}

int env_build(const struct core_v1_pod *pod, const struct core_v1_container *container, const struct pod_facts *facts, struct object_source *objects, struct arena *arena, struct env_list *ret, struct error *err) {
	struct env_list list = {.arena = arena};
	int r = 0;
	build_services(pod, objects, &list);
	for api_list_each (from, &container->env_from)
		if ((r = add_env_from(pod, from, objects, &list, err)) < 0)
			return r;
	for api_list_each (var, &container->env)
		if ((r = add_env(pod, container, var, facts, objects, &list, err)) < 0)
			return r;
	*ret = list;
	return 0;
}

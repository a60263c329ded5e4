/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/container/fieldref.h"

#include <ctype.h>
#include <errno.h>

void fieldref_quote(struct buf *out, const char *text) {
	static const char escapes[] = "\aa\bb\ff\nn\rr\tt\vv\\\\\"\"";
	buf_append_char(out, '"');
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		const char *hit = NULL;
		for (size_t i = 0; i + 2 < sizeof(escapes); i += 2)
			if ((unsigned char)escapes[i] == *p)
				hit = &escapes[i + 1];
		if (hit)
			buf_printf(out, "\\%c", *hit);
		else if (*p < 0x20 || *p == 0x7f)
			buf_printf(out, "\\x%02x", *p);
		else
			buf_append_char(out, (char)*p);
	}
	buf_append_char(out, '"');
}

static void write_map(const struct api_string_map *map, struct buf *out) {
	for api_list_each (e, map) {
		if (e != map->items)
			buf_append_char(out, '\n');
		buf_printf(out, "%s=", e->key);
		fieldref_quote(out, e->value ? e->value : "");
	}
}

/* "metadata.labels['key']": true, with the map and the key; the key is the caller's to free. */
static bool split_subscript(const struct core_v1_pod *pod, const char *path, const struct api_string_map **ret_map, char **ret_key) {
	size_t len = strlen(path);
	const char *open = strstr(path, "['");
	if (!open || len < 4 || !str_equal(path + len - 2, "']") || open + 2 > path + len - 2)
		return false;
	size_t field = (size_t)(open - path);
	if (field == strlen("metadata.labels") && strncmp(path, "metadata.labels", field) == 0)
		*ret_map = &pod->metadata.labels;
	else if (field == strlen("metadata.annotations") && strncmp(path, "metadata.annotations", field) == 0)
		*ret_map = &pod->metadata.annotations;
	else
		return false;
	*ret_key = xstrndup(open + 2, (size_t)(path + len - 2 - (open + 2)));
	return true;
}

static void write_list(const char *const *list, size_t count, struct buf *out) {
	for (size_t i = 0; i < count; i++) {
		if (i)
			buf_append_char(out, ',');
		buf_append_str(out, list[i]);
	}
}

int fieldref_value(const struct core_v1_pod *pod, const struct pod_facts *facts, const char *path, struct buf *out, struct error *err) {
	const struct {
		const char *path, *value;
	} rows[] = {
		{"metadata.name", pod->metadata.name},
		{"metadata.namespace", pod->metadata.namespace},
		{"metadata.uid", pod->metadata.uid},
		{"spec.nodeName", str_or(pod->spec.node_name, facts->node_name)},
		{"spec.serviceAccountName", pod->spec.service_account_name},
		{"status.hostIP", facts->host_ip_count ? facts->host_ips[0] : ""},
		{"status.podIP", facts->pod_ip_count ? facts->pod_ips[0] : ""},
	};
	const struct api_string_map *map;
	autofree char *key = NULL;
	if (split_subscript(pod, path, &map, &key)) {
		const char *value = api_map_get(map, key);
		buf_append_str(out, value ? value : "");
		return 0;
	}
	for (size_t i = 0; i < array_len(rows); i++) {
		if (str_equal(path, rows[i].path)) {
			buf_append_str(out, rows[i].value ? rows[i].value : "");
			return 0;
		}
	}
	if (str_equal(path, "metadata.labels"))
		write_map(&pod->metadata.labels, out);
	else if (str_equal(path, "metadata.annotations"))
		write_map(&pod->metadata.annotations, out);
	else if (str_equal(path, "status.hostIPs"))
		write_list(facts->host_ips, facts->host_ip_count, out);
	else if (str_equal(path, "status.podIPs"))
		write_list(facts->pod_ips, facts->pod_ip_count, out);
	else
		return error_set(err, EINVAL, "unsupported fieldPath: %s", path);
	return 0;
}

const struct core_v1_container *fieldref_container(const struct core_v1_pod *pod, const char *name) {
	for api_list_each (c, &pod->spec.containers)
		if (str_equal(c->name, name))
			return c;
	for api_list_each (c, &pod->spec.init_containers)
		if (str_equal(c->name, name))
			return c;
	return NULL;
}

int fieldref_resource(const struct core_v1_pod *pod, const struct pod_facts *facts, const struct core_v1_container *container, const struct core_v1_resource_field_selector *selector, struct buf *out, struct error *err) {
	if (!str_empty(selector->container_name)) {
		container = fieldref_container(pod, selector->container_name);
		if (!container)
			return error_set(err, ENOENT, "container %s not found", selector->container_name);
	}
	if (!container)
		return error_set(err, EINVAL, "resourceFieldRef names no container");
	const char *dot = selector->resource ? strchr(selector->resource, '.') : NULL;
	bool limits = dot && strncmp(selector->resource, "limits.", 7) == 0;
	if (!limits && !(dot && strncmp(selector->resource, "requests.", 9) == 0))
		return error_set(err, EINVAL, "unsupported container resource : %s", selector->resource ? selector->resource : "");
	const char *name = dot + 1;
	const struct quantity *value = api_quantity_get(limits ? &container->resources.limits : &container->resources.requests, name);
	/* A container without a limit may use what its pod may, or the whole node. */
	if ((!value || quantity_is_zero(value)) && limits) {
		const struct quantity *of_pod = pod->spec.resources ? api_quantity_get(&pod->spec.resources->limits, name) : NULL;
		const struct quantity *of_node = facts->allocatable ? api_quantity_get(facts->allocatable, name) : NULL;
		value = of_pod && !quantity_is_zero(of_pod) && (!of_node || quantity_compare(of_pod, of_node) < 0) ? of_pod : of_node ? of_node : value;
	}
	__int128 nano = value ? value->nano : 0;
	__int128 divisor = selector->divisor.set && selector->divisor.nano > 0 ? selector->divisor.nano : 1000000000;
	buf_append_int(out, (int64_t)((nano + divisor - 1) / divisor));
	return 0;
}

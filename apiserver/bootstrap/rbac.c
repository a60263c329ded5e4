/* SPDX-License-Identifier: Apache-2.0 */
/* From the rows of rbac_table.c to objects. */
#include "apiserver/bootstrap/rbac.h"

#define API "\"apiVersion\":\"rbac.authorization.k8s.io/v1\""
#define BOOT_LABEL "\"kubernetes.io/bootstrapping\":\"rbac-defaults\""
#define BOOT_ANNOTATION "\"annotations\":{\"rbac.authorization.kubernetes.io/autoupdate\":\"true\"}"

/* "a,b" -> ["a","b"]; stops at '|' or the end. Returns where it stopped. */
static const char *words(const char *p, struct buf *out) {
	buf_append_char(out, '[');
	bool first = true;
	while (*p && *p != '|') {
		size_t len = strcspn(p, ",|");
		if (!first)
			buf_append_char(out, ',');
		first = false;
		bool core = len == 4 && strncmp(p, "core", 4) == 0;
		buf_append_json_string(out, core ? "" : p, core ? 0 : len);
		p += len;
		if (*p == ',')
			p++;
	}
	buf_append_char(out, ']');
	return *p ? p + 1 : p;
}

static void rule_json(const char *rule, struct buf *out) {
	buf_append_str(out, "{\"verbs\":");
	const char *p = words(rule, out);
	if (*p == '|') {
		buf_append_str(out, ",\"nonResourceURLs\":");
		words(p + 2, out); /* past "|=" */
	} else {
		buf_append_str(out, ",\"apiGroups\":");
		p = words(p, out);
		buf_append_str(out, ",\"resources\":");
		p = words(p, out);
		if (*p) {
			buf_append_str(out, ",\"resourceNames\":");
			words(p, out);
		}
	}
	buf_append_char(out, '}');
}

static void metadata_json(const char *ns, const char *name, const char *aggregate_to, struct buf *out) {
	buf_printf(out, "\"metadata\":{\"name\":\"%s\"", name);
	if (ns)
		buf_printf(out, ",\"namespace\":\"%s\"", ns);
	buf_append_str(out, ",\"labels\":{" BOOT_LABEL);
	for (const char *p = aggregate_to; p && *p;) {
		size_t len = strcspn(p, ",");
		buf_printf(out, ",\"rbac.authorization.k8s.io/aggregate-to-%.*s\":\"true\"", (int)len, p);
		p += len + (p[len] == ',');
	}
	buf_append_str(out, "}," BOOT_ANNOTATION "}");
}

void bootstrap_role_json(const struct bootstrap_role *role, struct buf *out) {
	buf_printf(out, "{" API ",\"kind\":\"%s\",", role->ns ? "Role" : "ClusterRole");
	metadata_json(role->ns, role->name, role->aggregate_to, out);
	if (role->aggregates) {
		buf_append_str(out, ",\"aggregationRule\":{\"clusterRoleSelectors\":[");
		for (const char *p = role->aggregates; *p;) {
			size_t len = strcspn(p, ",");
			buf_printf(out, "%s{\"matchLabels\":{\"rbac.authorization.k8s.io/aggregate-to-%.*s\":\"true\"}}", p == role->aggregates ? "" : ",", (int)len, p);
			p += len + (p[len] == ',');
		}
		buf_append_str(out, "]}");
	}
	buf_append_str(out, ",\"rules\":[");
	for (const char *const *rule = role->rules; *rule; rule++) {
		if (rule != role->rules)
			buf_append_char(out, ',');
		rule_json(*rule, out);
	}
	buf_append_str(out, "]}");
}

void bootstrap_binding_json(const struct bootstrap_binding *binding, struct buf *out) {
	buf_printf(out, "{" API ",\"kind\":\"%s\",", binding->ns ? "RoleBinding" : "ClusterRoleBinding");
	metadata_json(binding->ns, binding->name, NULL, out);
	buf_printf(out, ",\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"%s\",\"name\":\"%s\"},\"subjects\":[", binding->role_kind, binding->role);
	for (const char *p = binding->subjects; *p;) {
		size_t len = strcspn(p, ",");
		const char *name = p + 2;
		int name_len = (int)len - 2;
		buf_append_str(out, p == binding->subjects ? "{" : ",{");
		if (*p == 's') {
			int ns_len = (int)strcspn(name, "/");
			buf_printf(out, "\"kind\":\"ServiceAccount\",\"namespace\":\"%.*s\",\"name\":\"%.*s\"}", ns_len, name, name_len - ns_len - 1, name + ns_len + 1);
		} else {
			buf_printf(out, "\"kind\":\"%s\",\"apiGroup\":\"rbac.authorization.k8s.io\",\"name\":\"%.*s\"}", *p == 'u' ? "User" : "Group", name_len, name);
		}
		p += len + (p[len] == ',');
	}
	buf_append_str(out, "]}");
}

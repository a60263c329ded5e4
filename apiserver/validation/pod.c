/* SPDX-License-Identifier: Apache-2.0 */
/* Pods and pod specs. */
#include "apiserver/resources.h"
#include "apiserver/validation/validation.h"
#include "api/core_v1.h"

/* ---- containers ---- */

static void check_ports(const struct core_v1_container *c, const struct path *at, struct error *err) {
	for (uint32_t i = 0; i < c->ports.len; i++) {
		const struct core_v1_container_port *port = &c->ports.items[i];
		struct path p = PATH_INDEX(at, "ports", i);
		if (!str_empty(port->name)) {
			const char *text = check_port_name(port->name);
			if (text)
				invalid(err, &PATH(&p, "name"), port->name, "%s", text);
			for (uint32_t n = 0; n < i; n++)
				if (str_equal(c->ports.items[n].name, port->name))
					duplicate(err, &PATH(&p, "name"), port->name);
		}
		if (port->container_port == 0)
			required(err, &PATH(&p, "containerPort"), NULL);
		else if (port->container_port < 1 || port->container_port > 65535)
			invalid_int(err, &PATH(&p, "containerPort"), port->container_port, "must be between 1 and 65535, inclusive");
		if (port->host_port < 0 || port->host_port > 65535)
			invalid_int(err, &PATH(&p, "hostPort"), port->host_port, "must be between 1 and 65535, inclusive");
	}
}

static void check_env(const struct core_v1_container *c, const struct path *at, struct error *err) {
	for (uint32_t i = 0; i < c->env.len; i++) {
		const struct core_v1_env_var *env = &c->env.items[i];
		struct path p = PATH_INDEX(at, "env", i);
		if (str_empty(env->name))
			required(err, &PATH(&p, "name"), NULL);
		else if (check_env_name(env->name))
			invalid(err, &PATH(&p, "name"), env->name, "%s", check_env_name(env->name));
		if (env->value_from && !str_empty(env->value))
			invalid(err, &PATH(&p, "valueFrom"), "", "may not be specified when `value` is not empty");
	}
}

static bool has_volume(const struct core_v1_pod_spec *spec, const char *name) {
	for (uint32_t i = 0; i < spec->volumes.len; i++)
		if (str_equal(spec->volumes.items[i].name, name))
			return true;
	return false;
}

static void check_mounts(const struct core_v1_pod_spec *spec, const struct core_v1_container *c, const struct path *at, struct error *err) {
	for (uint32_t i = 0; i < c->volume_mounts.len; i++) {
		const struct core_v1_volume_mount *mount = &c->volume_mounts.items[i];
		struct path p = PATH_INDEX(at, "volumeMounts", i);
		if (str_empty(mount->name))
			required(err, &PATH(&p, "name"), NULL);
		else if (!has_volume(spec, mount->name))
			not_found(err, &PATH(&p, "name"), mount->name);
		if (str_empty(mount->mount_path))
			required(err, &PATH(&p, "mountPath"), NULL);
		for (uint32_t n = 0; n < i; n++)
			if (str_equal(c->volume_mounts.items[n].mount_path, mount->mount_path))
				invalid(err, &PATH(&p, "mountPath"), mount->mount_path, "must be unique");
		if (!str_empty(mount->sub_path) && (*mount->sub_path == '/' || strstr(mount->sub_path, "..")))
			invalid(err, &PATH(&p, "subPath"), mount->sub_path, *mount->sub_path == '/' ? "must be a relative path" : "must not contain '..'");
		if (!str_empty(mount->sub_path) && !str_empty(mount->sub_path_expr))
			invalid(err, &PATH(&p, "subPathExpr"), mount->sub_path_expr, "subPathExpr and subPath are mutually exclusive");
	}
}

static void check_resources(const struct core_v1_resource_requirements *r, const struct path *at, struct error *err) {
	struct path p = PATH(at, "resources");
	for (uint32_t i = 0; i < r->limits.len; i++) {
		char text[64];
		quantity_format(&r->limits.items[i].value, text);
		if (r->limits.items[i].value.nano < 0)
			invalid(err, &PATH_KEY(&p, "limits", r->limits.items[i].key), text, "must be greater than or equal to 0");
	}
	for (uint32_t i = 0; i < r->requests.len; i++) {
		const char *name = r->requests.items[i].key;
		const struct quantity *limit = api_quantity_get(&r->limits, name), *request = &r->requests.items[i].value;
		char text[64], limit_text[64];
		quantity_format(request, text);
		if (request->nano < 0)
			invalid(err, &PATH_KEY(&p, "requests", name), text, "must be greater than or equal to 0");
		if (limit && quantity_compare(request, limit) > 0) {
			quantity_format(limit, limit_text);
			invalid(err, &PATH(&p, "requests"), text, "must be less than or equal to %s limit of %s", name, limit_text);
		}
	}
}

static void check_container(const struct core_v1_pod_spec *spec, const struct core_v1_container *c, const struct path *at, struct error *err) {
	static const char *const policies[] = {"Always", "IfNotPresent", "Never", NULL};
	if (str_empty(c->name))
		required(err, &PATH(at, "name"), NULL);
	else if (check_dns_label(c->name))
		invalid(err, &PATH(at, "name"), c->name, "%s", check_dns_label(c->name));
	if (str_empty(c->image))
		required(err, &PATH(at, "image"), NULL);
	else if (*c->image == ' ' || c->image[strlen(c->image) - 1] == ' ')
		invalid(err, &PATH(at, "image"), c->image, "must not have leading or trailing whitespace");
	if (!str_empty(c->image_pull_policy) && strcmp(c->image_pull_policy, "Always") != 0 && strcmp(c->image_pull_policy, "IfNotPresent") != 0 && strcmp(c->image_pull_policy, "Never") != 0)
		not_supported(err, &PATH(at, "imagePullPolicy"), c->image_pull_policy, policies);
	check_ports(c, at, err);
	check_env(c, at, err);
	check_mounts(spec, c, at, err);
	check_resources(&c->resources, at, err);
}

/* ---- the rest of the spec ---- */

static void check_volumes(const struct core_v1_pod_spec *spec, const struct path *at, struct error *err) {
	for (uint32_t i = 0; i < spec->volumes.len; i++) {
		const struct core_v1_volume *v = &spec->volumes.items[i];
		struct path p = PATH_INDEX(at, "volumes", i);
		if (str_empty(v->name))
			required(err, &PATH(&p, "name"), NULL);
		else if (check_dns_label(v->name))
			invalid(err, &PATH(&p, "name"), v->name, "%s", check_dns_label(v->name));
		for (uint32_t n = 0; n < i; n++)
			if (!str_empty(v->name) && str_equal(spec->volumes.items[n].name, v->name))
				duplicate(err, &PATH(&p, "name"), v->name);
	}
}

static bool sysctl_name(const char *name) {
	size_t len = strlen(name);
	if (!len || len > 253)
		return false;
	for (const char *p = name; *p;) {
		size_t part = strcspn(p, "./");
		if (!part || strchr("-_", p[0]) || strchr("-_", p[part - 1]))
			return false;
		for (size_t i = 0; i < part; i++)
			if (!((p[i] >= 'a' && p[i] <= 'z') || (p[i] >= '0' && p[i] <= '9') || p[i] == '-' || p[i] == '_'))
				return false;
		p += part;
		if (*p && !*++p)
			return false;
	}
	return true;
}

static void check_sysctls(const struct core_v1_pod_spec *spec, const struct path *at, struct error *err) {
	if (!spec->security_context)
		return;
	struct path sc = PATH(at, "securityContext");
	for (uint32_t i = 0; i < spec->security_context->sysctls.len; i++) {
		const char *name = spec->security_context->sysctls.items[i].name;
		struct path p = PATH_INDEX(&sc, "sysctls", i);
		if (str_empty(name))
			required(err, &PATH(&p, "name"), NULL);
		else if (!sysctl_name(name))
			invalid(err, &PATH(&p, "name"), name, "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$");
	}
}

static void check_names(const struct core_v1_pod_spec *spec, const struct path *at, struct error *err) {
	for (uint32_t i = 0; i < spec->containers.len; i++)
		for (uint32_t n = 0; n < i; n++)
			if (!str_empty(spec->containers.items[i].name) && str_equal(spec->containers.items[i].name, spec->containers.items[n].name)) {
				struct path p = PATH_INDEX(at, "containers", i);
				duplicate(err, &PATH(&p, "name"), spec->containers.items[i].name);
			}
	for (uint32_t i = 0; i < spec->init_containers.len; i++) {
		struct path p = PATH_INDEX(at, "initContainers", i);
		const char *name = spec->init_containers.items[i].name;
		bool again = false;
		for (uint32_t n = 0; n < i; n++)
			again |= str_equal(name, spec->init_containers.items[n].name);
		for (uint32_t n = 0; n < spec->containers.len; n++)
			again |= str_equal(name, spec->containers.items[n].name);
		if (again && !str_empty(name))
			duplicate(err, &PATH(&p, "name"), name);
	}
}

static void check_tolerations(const struct core_v1_pod_spec *spec, const struct path *at, struct error *err) {
	for (uint32_t i = 0; i < spec->tolerations.len; i++) {
		const struct core_v1_toleration *t = &spec->tolerations.items[i];
		struct path p = PATH_INDEX(at, "tolerations", i);
		if (!str_empty(t->key) && check_qualified_name(t->key))
			invalid(err, &PATH(&p, "key"), t->key, "%s", check_qualified_name(t->key));
		if (str_empty(t->key) && !str_equal(t->operator, "Exists"))
			invalid(err, &PATH(&p, "operator"), t->operator, "operator must be Exists when `key` is empty, which means \"match all values and all keys\"");
		if (t->toleration_seconds && !str_equal(t->effect, "NoExecute"))
			invalid(err, &PATH(&p, "effect"), t->effect, "effect must be 'NoExecute' when `tolerationSeconds` is set");
		if (str_equal(t->operator, "Exists") && !str_empty(t->value))
			invalid(err, &PATH(&p, "operator"), t->value, "value must be empty when `operator` is 'Exists'");
	}
}

void validate_pod_spec(const struct core_v1_pod_spec *spec, const struct path *at, struct error *err) {
	static const char *const restarts[] = {"Always", "OnFailure", "Never", NULL};
	static const char *const dns[] = {"ClusterFirst", "ClusterFirstWithHostNet", "Default", "None", NULL};
	check_volumes(spec, at, err);
	if (!spec->containers.len)
		required(err, &PATH(at, "containers"), NULL);
	for (uint32_t i = 0; i < spec->containers.len; i++)
		check_container(spec, &spec->containers.items[i], &PATH_INDEX(at, "containers", i), err);
	for (uint32_t i = 0; i < spec->init_containers.len; i++)
		check_container(spec, &spec->init_containers.items[i], &PATH_INDEX(at, "initContainers", i), err);
	check_names(spec, at, err);
	bool restart = false;
	for (size_t i = 0; restarts[i]; i++)
		restart |= str_equal(spec->restart_policy, restarts[i]);
	if (!restart)
		not_supported(err, &PATH(at, "restartPolicy"), spec->restart_policy, restarts);
	bool policy = false;
	for (size_t i = 0; dns[i]; i++)
		policy |= str_equal(spec->dns_policy, dns[i]);
	if (!policy)
		not_supported(err, &PATH(at, "dnsPolicy"), spec->dns_policy, dns);
	validate_labels(&spec->node_selector, &PATH(at, "nodeSelector"), err);
	check_sysctls(spec, at, err);
	check_tolerations(spec, at, err);
	if (spec->termination_grace_period_seconds && *spec->termination_grace_period_seconds < 0)
		invalid_int(err, &PATH(at, "terminationGracePeriodSeconds"), *spec->termination_grace_period_seconds, "must be greater than or equal to 0");
	if (spec->active_deadline_seconds && *spec->active_deadline_seconds < 1)
		invalid_int(err, &PATH(at, "activeDeadlineSeconds"), *spec->active_deadline_seconds, "must be between 1 and 2147483647, inclusive");
	if (!str_empty(spec->hostname) && check_dns_label(spec->hostname))
		invalid(err, &PATH(at, "hostname"), spec->hostname, "%s", check_dns_label(spec->hostname));
	if (!str_empty(spec->subdomain) && check_dns_label(spec->subdomain))
		invalid(err, &PATH(at, "subdomain"), spec->subdomain, "%s", check_dns_label(spec->subdomain));
}

/* ---- updates: almost all of a pod's spec stays ---- */

#define MAY_CHANGE "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"

/* `object` with what may change put back as it was. */
static bool changed_beyond(const struct core_v1_pod *pod, const struct core_v1_pod *old) {
	struct core_v1_pod *copy = api_copy(pod);
	struct core_v1_pod_spec *a = &copy->spec;
	const struct core_v1_pod_spec *b = &old->spec;
	if (a->containers.len != b->containers.len || a->init_containers.len != b->init_containers.len) {
		api_unref(copy);
		return true;
	}
	for (uint32_t i = 0; i < a->containers.len; i++)
		a->containers.items[i].image = b->containers.items[i].image;
	for (uint32_t i = 0; i < a->init_containers.len; i++)
		a->init_containers.items[i].image = b->init_containers.items[i].image;
	a->active_deadline_seconds = b->active_deadline_seconds;
	a->tolerations = b->tolerations;
	a->termination_grace_period_seconds = b->termination_grace_period_seconds;
	a->scheduling_gates = b->scheduling_gates;
	if (b->scheduling_gates.len) {
		a->node_selector = b->node_selector;
		a->affinity = b->affinity;
	}
	bool different = !api_equal(&core_v1_pod_spec_type, a, b);
	api_unref(copy);
	return different;
}

void validate_pod(const void *object, const void *old, struct error *err) {
	const struct core_v1_pod *pod = object;
	struct path at = PATH(NULL, "spec");
	validate_pod_spec(&pod->spec, &at, err);
	if (!str_empty(pod->spec.service_account_name) && check_dns_subdomain(pod->spec.service_account_name))
		invalid(err, &PATH(&at, "serviceAccountName"), pod->spec.service_account_name, "%s", check_dns_subdomain(pod->spec.service_account_name));
	if (old && changed_beyond(pod, old))
		forbidden(err, &at, MAY_CHANGE);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* PodSpec as it stands in pods and in the templates of workloads: what its parts demand of each other. */
#include "apiserver/validation/validation.h"
#include "api/apps_v1.h"

enum { CONTAINER, INIT, EPHEMERAL };

/* An ephemeral container is a container by layout: one set of rules serves both. */
_Static_assert(sizeof(struct core_v1_container) == sizeof(struct core_v1_ephemeral_container_common), "containers have one layout");
typedef struct core_v1_container container_t;

/* A pod's spec, those of its volumes with nothing wrong, and where it is the template of a StatefulSet, the claims that become volumes of its pods. */
struct scope {
	const struct core_v1_pod_spec *spec;
	const bool *good_volumes;
	const struct core_v1_persistent_volume_claim_array *claims;
};
typedef void visit(const struct scope *scope, const container_t *container, int kind, const struct path *at, struct error *err);

static void each_container(const struct scope *scope, const struct path *at, visit *run, struct error *err) {
	const struct core_v1_pod_spec *spec = scope->spec;
	for (uint32_t i = 0; i < spec->init_containers.len; i++)
		run(scope, &spec->init_containers.items[i], INIT, AT_INDEX("initContainers", i), err);
	for (uint32_t i = 0; i < spec->containers.len; i++)
		run(scope, &spec->containers.items[i], CONTAINER, AT_INDEX("containers", i), err);
	for (uint32_t i = 0; i < spec->ephemeral_containers.len; i++)
		run(scope, (const container_t *)(const void *)&spec->ephemeral_containers.items[i].ephemeral_container_common, EPHEMERAL, AT_INDEX("ephemeralContainers", i), err);
}

/* ---- containers and the pod's volumes ---- */

static bool is_claim_template(const struct scope *scope, const char *name) {
	for (uint32_t i = 0; scope->claims && i < scope->claims->len; i++)
		if (str_equal(scope->claims->items[i].metadata.name, name))
			return true;
	return false;
}

/* NULL where there is none, or a claim template takes its place. A volume that is wrong counts for none. */
static const struct core_v1_volume *volume_of(const struct scope *scope, const char *name) {
	for (uint32_t i = 0; i < scope->spec->volumes.len; i++)
		if (scope->good_volumes[i] && str_equal(scope->spec->volumes.items[i].name, name))
			return &scope->spec->volumes.items[i];
	return NULL;
}

static bool is_privileged(const container_t *container) {
	return container->security_context && container->security_context->privileged && *container->security_context->privileged;
}

static bool is_among(const char *const *choices, const char *value) {
	while (*choices && strcmp(*choices, value) != 0)
		choices++;
	return *choices;
}

static bool is_last_device(const container_t *container, uint32_t i) {
	for (uint32_t n = i + 1; n < container->volume_devices.len; n++)
		if (str_equal(container->volume_devices.items[n].name, container->volume_devices.items[i].name))
			return false;
	return true;
}

static bool is_last_mount(const container_t *container, uint32_t i) {
	for (uint32_t n = i + 1; n < container->volume_mounts.len; n++)
		if (str_equal(container->volume_mounts.items[n].name, container->volume_mounts.items[i].name))
			return false;
	return true;
}

static void check_propagation(const container_t *container, const struct core_v1_volume_mount *mount, const struct path *at, struct error *err) {
	static const char *const propagations[] = {"Bidirectional", "HostToContainer", "None", NULL}, *const recursions[] = {"Disabled", "Enabled", "IfPossible", NULL};
	if (mount->mount_propagation && !is_among(propagations, mount->mount_propagation))
		not_supported(err, AT("mountPropagation"), mount->mount_propagation, propagations);
	if (str_equal(mount->mount_propagation, "Bidirectional") && !is_privileged(container))
		forbidden(err, AT("mountPropagation"), "Bidirectional mount propagation is available only to privileged containers");
	if (!mount->recursive_read_only || strcmp(mount->recursive_read_only, "Disabled") == 0)
		return;
	if (!is_among(recursions, mount->recursive_read_only)) {
		not_supported(err, AT("recursiveReadOnly"), mount->recursive_read_only, recursions);
		return;
	}
	if (!mount->read_only)
		forbidden(err, AT("recursiveReadOnly"), "may only be specified when readOnly is true");
	if (mount->mount_propagation && strcmp(mount->mount_propagation, "None") != 0)
		forbidden(err, AT("recursiveReadOnly"), "may only be specified when mountPropagation is None or not specified");
}

static void check_mounts(const struct scope *scope, const container_t *container, const struct path *parent, struct error *err) {
	automap struct map paths = MAP_INIT(NULL);
	struct path all = PATH(parent, "volumeMounts");
	for (uint32_t i = 0; i < container->volume_mounts.len; i++) {
		const struct core_v1_volume_mount *mount = &container->volume_mounts.items[i];
		struct path path = PATH_INDEX(parent, "volumeMounts", i), *at = &path;
		if (!volume_of(scope, mount->name) && !is_claim_template(scope, mount->name))
			not_found(err, AT("name"), mount->name, NULL);
		if (seen_before(&paths, mount->mount_path))
			invalid(err, AT("mountPath"), mount->mount_path, "must be unique");
		size_t rest = err->cause_count;
		bool name_taken = false, path_taken = false;
		for (uint32_t n = 0; n < container->volume_devices.len; n++) {
			const struct core_v1_volume_device *device = &container->volume_devices.items[n];
			name_taken |= str_equal(device->name, mount->name);
			/* Of devices of one name only the last one's path counts. */
			path_taken |= is_last_device(container, n) && str_equal(str_or(device->device_path, ""), str_or(mount->mount_path, ""));
		}
		if (name_taken)
			invalid(err, AT("name"), mount->name, "must not already exist in volumeDevices");
		if (path_taken)
			invalid(err, AT("mountPath"), mount->mount_path, "must not already exist as a path in volumeDevices");
		if (!str_empty(mount->sub_path))
			check_format(format_relative_path, mount->sub_path, &PATH(&all, "subPath"), err);
		if (!str_empty(mount->sub_path) && !str_empty(mount->sub_path_expr))
			invalid(err, AT("subPathExpr"), mount->sub_path_expr, "subPathExpr and subPath are mutually exclusive");
		if (!str_empty(mount->sub_path_expr))
			check_format(format_relative_path, mount->sub_path_expr, &PATH(&all, "subPathExpr"), err);
		check_propagation(container, mount, &all, err);
		tell_at(AT("~rest"), rest, err);
	}
}

static void check_devices(const struct scope *scope, const container_t *container, const struct path *parent, struct error *err) {
	automap struct map names = MAP_INIT(NULL), paths = MAP_INIT(NULL);
	for (uint32_t i = 0; i < container->volume_devices.len; i++) {
		const struct core_v1_volume_device *device = &container->volume_devices.items[i];
		const struct core_v1_volume *volume = volume_of(scope, device->name);
		struct path path = PATH_INDEX(parent, "volumeDevices", i), *at = &path;
		if (!str_empty(device->name) && seen_before(&names, device->name))
			invalid(err, AT("name"), device->name, "must be unique");
		if (is_claim_template(scope, device->name))
			;
		else if (!volume)
			not_found(err, AT("name"), device->name, NULL);
		else if (!volume->persistent_volume_claim && !volume->ephemeral)
			invalid(err, AT("name"), device->name, "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode");
		if (map_has(&paths, str_or(device->device_path, "")))
			invalid(err, AT("devicePath"), device->device_path, "must be unique");
		if (format_error(format_no_backsteps, str_or(device->device_path, "")))
			invalid(err, AT("devicePath"), device->device_path, "can not contain backsteps ('..')");
		else
			set_add(&paths, str_or(device->device_path, ""));
		size_t rest = err->cause_count;
		bool name_taken = false, path_taken = false;
		for (uint32_t n = 0; n < container->volume_mounts.len; n++) {
			const struct core_v1_volume_mount *mount = &container->volume_mounts.items[n];
			name_taken |= str_equal(mount->name, device->name);
			path_taken |= is_last_mount(container, n) && str_equal(str_or(mount->mount_path, ""), str_or(device->device_path, ""));
		}
		if (name_taken)
			invalid(err, AT("name"), device->name, "must not already exist in volumeMounts");
		if (path_taken)
			invalid(err, AT("devicePath"), device->device_path, "must not already exist as a path in volumeMounts");
		tell_at(AT("~rest"), rest, err);
	}
}

static void check_file_keys(const struct scope *scope, const container_t *container, int kind, const struct path *parent, struct error *err) {
	for (uint32_t i = 0; i < container->env.len; i++) {
		const struct core_v1_env_var_source *from = container->env.items[i].value_from;
		if (!from || !from->file_key_ref)
			continue;
		struct path env = PATH_INDEX(parent, "env", i), source = PATH(&env, "valueFrom"), ref = PATH(&source, "fileKeyRef"), name = PATH(&ref, "volumeName");
		/* Here a volume counts that something is wrong with. */
		const struct core_v1_volume *volume = NULL;
		for (uint32_t n = 0; n < scope->spec->volumes.len; n++)
			if (str_equal(str_or(scope->spec->volumes.items[n].name, ""), str_or(from->file_key_ref->volume_name, "")))
				volume = &scope->spec->volumes.items[n];
		if (!volume)
			not_found(err, &name, from->file_key_ref->volume_name, NULL);
		else if (!volume->empty_dir)
			invalid(err, &name, from->file_key_ref->volume_name, "referenced volume must be of type emptyDir");
	}
}

/* ---- rules by the kind of container ---- */

static void check_ports(const container_t *container, const struct path *parent, struct error *err) {
	automap struct map names = MAP_INIT(NULL);
	for (uint32_t i = 0; i < container->ports.len; i++) {
		const struct core_v1_container_port *port = &container->ports.items[i];
		if (!str_empty(port->name) && !format_error(format_port_name, port->name) && seen_before(&names, port->name))
			duplicate(err, &PATH(&PATH_INDEX(parent, "ports", i), "name"), port->name);
	}
}

static void check_restart_rules(const container_t *container, const struct path *at, struct error *err) {
	if (!container->restart_policy && container->restart_policy_rules.len)
		required(err, AT("restartPolicy"), "must specify restartPolicy when restart rules are used");
	for (uint32_t i = 0; i < container->restart_policy_rules.len; i++)
		if (!container->restart_policy_rules.items[i].exit_codes)
			required(err, &PATH(AT_INDEX("restartPolicyRules", i), "exitCodes"), "must be specified");
}

/* Needed, and one of these. */
static void check_choice(const char *value, const char *const *choices, const struct path *at, struct error *err) {
	if (str_empty(value)) {
		required(err, at, NULL);
		return;
	}
	if (!is_among(choices, value))
		not_supported(err, at, value, choices);
}

static void check_resize_policy(const struct core_v1_pod_spec *spec, const container_t *container, const struct path *at, struct error *err) {
	automap struct map seen = MAP_INIT(NULL);
	bool sidecar = str_equal(container->restart_policy, "Always");
	for (uint32_t i = 0; i < container->resize_policy.len; i++) {
		static const char *const resources[] = {"cpu", "memory", NULL}, *const policies[] = {"NotRequired", "RestartContainer", NULL};
		const struct core_v1_container_resize_policy *policy = &container->resize_policy.items[i];
		size_t own = err->cause_count;
		if (seen_before(&seen, policy->resource_name))
			duplicate(err, AT_INDEX("resizePolicy", i), policy->resource_name);
		check_choice(policy->resource_name, resources, AT("resizePolicy"), err);
		check_choice(policy->restart_policy, policies, AT("resizePolicy"), err);
		if (str_equal(spec->restart_policy, "Never") && !str_equal(policy->restart_policy, "NotRequired"))
			invalid(err, AT("resizePolicy"), policy->restart_policy, "must be 'NotRequired' when pod `restartPolicy` is 'Never'");
		tell_at(AT_INDEX("resizePolicy", i), own, err);
		own = err->cause_count;
		if (strcmp(str_or(at->name, ""), "initContainers") == 0 && !sidecar && str_equal(policy->restart_policy, "RestartContainer"))
			invalid(err, &PATH(AT_INDEX("resizePolicy", i), "restartPolicy"), policy->restart_policy, "must not be set to 'RestartContainer' for non-sidecar initContainers");
		tell_at(AT("~barred"), own, err);
	}
}

/* What must not be there at all is not judged as well. */
static void drop_unjudged(const char *const *names, const struct path *at, struct error *err) {
	for (; *names; names++)
		drop_judgement(AT(*names), err);
}

static void check_init(const container_t *container, const struct path *at, struct error *err) {
	static const char *const probes[] = {"lifecycle", "livenessProbe", "readinessProbe", "startupProbe", NULL};
	if (!container->restart_policy)
		drop_beneath(AT("restartPolicyRules"), err);
	tell_field_at(AT("restartPolicy"), AT("~restart"), err);
	tell_field_at(AT("restartPolicyRules"), AT("~restart"), err);
	if (!str_equal(container->restart_policy, "Always"))
		drop_unjudged(probes, at, err), forbid_fields(&core_v1_container_type, container, probes, false, "may not be set for init containers without restartPolicy=Always", at, err);
}

static void check_ephemeral(const container_t *container, const struct path *at, struct error *err) {
	static const char *const allowed[] = {
		"name", "image", "command", "args", "workingDir", "envFrom", "env", "volumeMounts", "volumeDevices", "terminationMessagePath", "terminationMessagePolicy",
		"imagePullPolicy", "securityContext", "stdin", "stdinOnce", "tty", NULL,
	};
	static const char *const unjudged[] = {"lifecycle", "livenessProbe", "readinessProbe", "startupProbe", "restartPolicyRules", NULL};
	drop_unjudged(unjudged, at, err);
	size_t from = err->cause_count;
	forbid_fields(&core_v1_container_type, container, allowed, true, "cannot be set for an Ephemeral Container", at, err);
	for (uint32_t i = 0; i < container->volume_mounts.len; i++) {
		const struct core_v1_volume_mount *mount = &container->volume_mounts.items[i];
		if (!str_empty(mount->sub_path))
			forbidden(err, &PATH(AT_INDEX("volumeMounts", i), "subPath"), "cannot be set for an Ephemeral Container");
		if (!str_empty(mount->sub_path_expr))
			forbidden(err, &PATH(AT_INDEX("volumeMounts", i), "subPathExpr"), "cannot be set for an Ephemeral Container");
	}
	tell_at(AT("~barred"), from, err);
}

static void check_container(const struct scope *scope, const container_t *container, int kind, const struct path *at, struct error *err) {
	const struct core_v1_pod_spec *spec = scope->spec;
	check_ports(container, at, err);
	check_mounts(scope, container, at, err);
	check_devices(scope, container, at, err);
	check_resources(&container->resources, spec, false, AT("resources"), err);
	check_resize_policy(spec, container, at, err);
	if (kind != EPHEMERAL)
		check_restart_rules(container, at, err);
	if (kind == INIT)
		check_init(container, at, err);
	if (kind == EPHEMERAL)
		check_ephemeral(container, at, err);
}

/* Causes of a user namespace of its own. */
static void check_own_users(const struct scope *scope, const container_t *container, int kind, const struct path *at, struct error *err) {
	if (container->volume_devices.len)
		forbidden(err, AT("volumeDevices"), "when `hostUsers` is false");
}

/* The ports of the host that one container wants, against those before. */
static void check_host_ports(struct map *taken, const container_t *container, const struct path *at, struct error *err) {
	for (uint32_t n = 0; n < container->ports.len; n++) {
		const struct core_v1_container_port *port = &container->ports.items[n];
		if (!port->host_port)
			continue;
		autofree char *key = xprintf("%s/%s/%d", str_or(port->protocol, ""), str_or(port->host_ip, ""), port->host_port);
		if (seen_before(taken, key))
			duplicate(err, &PATH(AT_INDEX("ports", n), "hostPort"), key);
	}
}

/* In a template hostPort is not filled in yet. */
static void check_host_network(const struct core_v1_pod_spec *spec, bool pod, const struct path *at, struct error *err) {
	size_t from = err->cause_count;
	for (uint32_t i = 0; spec->host_network && i < spec->containers.len; i++)
		for (uint32_t n = 0; n < spec->containers.items[i].ports.len; n++) {
			const struct core_v1_container_port *port = &spec->containers.items[i].ports.items[n];
			if ((pod || port->host_port) && port->host_port != port->container_port)
				invalid_int(err, &PATH(&PATH_INDEX(AT_INDEX("containers", i), "ports", n), "hostPort"), port->host_port, "must match `containerPort` when `hostNetwork` is true");
		}
	tell_at(AT("~hostPorts"), from, err);
}

static void check_names(const struct core_v1_pod_spec *spec, const struct path *at, struct error *err) {
	automap struct map names = MAP_INIT(NULL), ports = MAP_INIT(NULL);
	for (uint32_t i = 0; i < spec->containers.len; i++) {
		const container_t *container = &spec->containers.items[i];
		size_t from = err->cause_count;
		if (seen_before(&names, container->name))
			duplicate(err, &PATH(AT_INDEX("containers", i), "name"), container->name);
		tell_at(&PATH(AT_INDEX("containers", i), "~name"), from, err);
		from = err->cause_count;
		check_host_ports(&ports, container, AT_INDEX("containers", i), err);
		tell_at(&PATH(AT("containers"), "~ports"), from, err);
	}
	for (uint32_t i = 0; i < spec->init_containers.len; i++) {
		const char *name = str_or(spec->init_containers.items[i].name, "");
		automap struct map own = MAP_INIT(NULL);
		size_t from = err->cause_count;
		if (*name ? seen_before(&names, name) : map_has(&names, name))
			duplicate(err, &PATH(AT_INDEX("initContainers", i), "name"), name);
		tell_at(&PATH(AT_INDEX("initContainers", i), "~name"), from, err);
		from = err->cause_count;
		/* They run one by one; Kubernetes tells each as if it were the first. */
		check_host_ports(&own, &spec->init_containers.items[i], AT_INDEX("initContainers", 0), err);
		tell_at(&PATH(AT_INDEX("initContainers", i), "~ports"), from, err);
	}
	automap struct map targets = MAP_INIT(NULL);
	if (!spec->ephemeral_containers.len)
		return;
	for (uint32_t i = 0; i < spec->containers.len; i++)
		set_add(&targets, str_or(spec->containers.items[i].name, ""));
	for (uint32_t i = 0; i < spec->init_containers.len; i++)
		set_add(&targets, str_or(spec->init_containers.items[i].name, ""));
	for (uint32_t i = 0; i < spec->ephemeral_containers.len; i++) {
		const struct core_v1_ephemeral_container *e = &spec->ephemeral_containers.items[i];
		size_t from = err->cause_count;
		if (seen_before(&names, e->name))
			duplicate(err, &PATH(AT_INDEX("ephemeralContainers", i), "name"), e->name);
		tell_at(&PATH(AT_INDEX("ephemeralContainers", i), "~name"), from, err);
		if (!str_empty(e->target_container_name) && !map_has(&targets, e->target_container_name))
			not_found(err, &PATH(AT_INDEX("ephemeralContainers", i), "targetContainerName"), e->target_container_name, NULL);
	}
}

static bool has_cause(const struct path *path, const struct error *err) {
	autobuf struct buf text = BUF_INIT(64u << 10);
	path_write(path, &text);
	for (size_t i = 0; i < err->cause_count; i++)
		if (strncmp(err->causes[i].field, text.data, text.len) == 0)
			return true;
	return false;
}

static void check_volumes(const struct core_v1_pod_spec *spec, const char *pod_name, const struct path *at, struct error *err) {
	automap struct map names = MAP_INIT(NULL), made = MAP_INIT(NULL);
	for (uint32_t i = 0; i < spec->volumes.len && !str_empty(pod_name); i++)
		if (spec->volumes.items[i].ephemeral) {
			autofree char *claim = xprintf("%s-%s", pod_name, str_or(spec->volumes.items[i].name, ""));
			set_add(&made, claim);
		}
	for (uint32_t i = 0; i < spec->volumes.len; i++) {
		const struct core_v1_volume *volume = &spec->volumes.items[i];
		/* Of one that is wrong the name is free. */
		if (map_has(&names, str_or(volume->name, "")))
			duplicate(err, &PATH(AT_INDEX("volumes", i), "name"), volume->name);
		else if (!has_cause(AT_INDEX("volumes", i), err))
			set_add(&names, str_or(volume->name, ""));
		size_t from = err->cause_count;
		if (volume->persistent_volume_claim && map_has(&made, str_or(volume->persistent_volume_claim->claim_name, "")))
			invalid(err, &PATH(&PATH(AT_INDEX("volumes", i), "persistentVolumeClaim"), "claimName"), volume->persistent_volume_claim->claim_name,
				"must not reference a PVC that gets created for an ephemeral volume");
		tell_at(&PATH(AT_INDEX("volumes", i), "~made"), from, err);
	}
}

/* Which volumes have nothing wrong; to be freed. */
static bool *good_volumes(const struct core_v1_pod_spec *spec, const struct path *at, const struct error *err) {
	bool *good = xcalloc(spec->volumes.len + 1, sizeof(*good));
	for (uint32_t i = 0; i < spec->volumes.len; i++)
		good[i] = !err->cause_count || !has_cause(AT_INDEX("volumes", i), err);
	return good;
}

static void check_pod_claims(const struct core_v1_pod_spec *spec, const struct path *at, struct error *err) {
	automap struct map names = MAP_INIT(NULL);
	for (uint32_t i = 0; i < spec->resource_claims.len; i++) {
		const struct core_v1_pod_resource_claim *claim = &spec->resource_claims.items[i];
		if (!str_empty(claim->name) && seen_before(&names, claim->name))
			duplicate(err, &PATH(AT_INDEX("resourceClaims", i), "name"), claim->name);
		if (claim->resource_claim_name && claim->resource_claim_template_name)
			invalid_struct(err, AT_INDEX("resourceClaims", i), &core_v1_pod_resource_claim_type, claim, "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified");
		if (!claim->resource_claim_name && !claim->resource_claim_template_name)
			invalid_struct(err, AT_INDEX("resourceClaims", i), &core_v1_pod_resource_claim_type, claim, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`");
	}
}

/* ---- resources of the pod as a whole ---- */

static void add_up(struct api_quantity_map *sum, struct arena *arena, const struct api_quantity_map *list, bool most) {
	for (uint32_t i = 0; i < list->len; i++) {
		struct quantity *have = api_quantity_get(sum, list->items[i].key), value = list->items[i].value;
		if (have && most)
			value = quantity_compare(have, &value) > 0 ? *have : value;
		else if (have)
			quantity_add(&value, have);
		api_quantity_set(arena, sum, list->items[i].key, value);
	}
}

/* What the containers ask for together: the larger of what runs at the end and of what each init container needs beside the sidecars before it. */
static void aggregate(const struct core_v1_pod_spec *spec, struct arena *arena, bool limits, struct api_quantity_map *ret) {
#define LIST(container_) (limits ? &(container_)->resources.limits : &(container_)->resources.requests)
	struct api_quantity_map total = {0}, sidecars = {0}, peak = {0};
	for (uint32_t i = 0; i < spec->containers.len; i++)
		add_up(&total, arena, LIST(&spec->containers.items[i]), false);
	for (uint32_t i = 0; i < spec->init_containers.len; i++) {
		const container_t *container = &spec->init_containers.items[i];
		struct api_quantity_map now = {0};
		if (str_equal(container->restart_policy, "Always")) {
			add_up(&total, arena, LIST(container), false);
			add_up(&sidecars, arena, LIST(container), false);
			add_up(&now, arena, &sidecars, false);
		} else {
			add_up(&now, arena, &sidecars, false);
			add_up(&now, arena, LIST(container), false);
		}
		add_up(&peak, arena, &now, true);
	}
	add_up(&total, arena, &peak, true);
	*ret = total;
#undef LIST
}

static void check_aggregate(const struct api_quantity_map *own, const struct api_quantity_map *sum, const char *what, bool hugepages, const struct path *at, struct error *err) {
	for (uint32_t i = 0; i < sum->len; i++) {
		const struct quantity *have = api_quantity_get(own, sum->items[i].key);
		if (!have || (hugepages && !resource_is_hugepages(sum->items[i].key)) || quantity_compare(&sum->items[i].value, have) <= 0)
			continue;
		char text[64];
		quantity_format(&sum->items[i].value, text);
		invalid_quantity(err, AT_KEY(what, sum->items[i].key), have, "must be greater than or equal to aggregate container %s of %s", what, text);
	}
}

static void check_pod_resources(const struct core_v1_pod_spec *spec, const struct path *parent, struct error *err) {
	const struct core_v1_resource_requirements *r = spec->resources;
	struct path path = PATH(parent, "resources"), *at = &path;
	if (!r)
		return;
	if (spec->os && str_equal(spec->os->name, "windows")) {
		forbidden(err, at, "may not be set for a windows pod");
		return;
	}
	size_t from = err->cause_count;
	if (r->claims.items)
		forbidden(err, AT("claims"), "claims may not be set for Resources at pod-level");
	tell_at(AT("~claims"), from, err);
	check_resources(r, spec, true, at, err);
	autoarena struct arena *arena = arena_new();
	struct api_quantity_map sum;
	aggregate(spec, arena, false, &sum);
	check_aggregate(&r->requests, &sum, "requests", false, at, err);
	aggregate(spec, arena, true, &sum);
	check_aggregate(&r->limits, &sum, "limits", true, at, err);
	for (uint32_t i = 0; i < spec->containers.len; i++) {
		const struct api_quantity_map *limits = &spec->containers.items[i].resources.limits;
		for (uint32_t n = 0; n < limits->len; n++) {
			const struct quantity *most = api_quantity_get(&r->limits, limits->items[n].key);
			char text[64];
			if (!most || quantity_compare(&limits->items[n].value, most) <= 0)
				continue;
			quantity_format(most, text);
			invalid_quantity(err, &PATH(&PATH_KEY(AT_INDEX("containers", i), NULL, limits->items[n].key), "limits"), &limits->items[n].value, "must be less than or equal to pod limits of %s", text);
		}
	}
}

/* ---- operating systems ---- */

static void forbid_windows(const struct scope *scope, const container_t *container, int kind, const struct path *at, struct error *err) {
	if (container->security_context && container->security_context->windows_options)
		forbidden(err, &PATH(AT("securityContext"), "windowsOptions"), "windows options cannot be set for a linux pod");
}

static void forbid_linux(const struct scope *scope, const container_t *container, int kind, const struct path *at, struct error *err) {
	static const char *const names[] = {
		"appArmorProfile", "seLinuxOptions", "seccompProfile", "capabilities", "readOnlyRootFilesystem", "privileged", "allowPrivilegeEscalation", "procMount", "runAsUser", "runAsGroup", NULL,
	};
	if (container->security_context)
		forbid_fields(&core_v1_security_context_type, container->security_context, names, false, "cannot be set for a windows pod", AT("securityContext"), err);
}

struct host_process {
	const bool *pod;
	unsigned containers, hosted;
};

static void count_hosted(struct host_process *h, const struct core_v1_security_context *sc, const struct path *at, struct error *err) {
	const bool *own = sc && sc->windows_options ? sc->windows_options->host_process : NULL;
	h->containers++;
	if (h->pod && own && *h->pod != *own)
		invalid_struct(err, &PATH(&PATH(AT("securityContext"), "windowsOptions"), "hostProcess"), NULL, *own ? "true" : "false",
			       "pod hostProcess value must be identical if both are specified, was %s", *h->pod ? "true" : "false");
	h->hosted += own ? *own : h->pod && *h->pod;
}

static void check_host_process(const struct core_v1_pod_spec *spec, const struct path *at, struct error *err) {
	const struct core_v1_pod_security_context *sc = spec->security_context;
	struct host_process h = {.pod = sc && sc->windows_options ? sc->windows_options->host_process : NULL};
	for (uint32_t i = 0; i < spec->init_containers.len; i++)
		count_hosted(&h, spec->init_containers.items[i].security_context, AT_INDEX("initContainers", i), err);
	for (uint32_t i = 0; i < spec->containers.len; i++)
		count_hosted(&h, spec->containers.items[i].security_context, AT_INDEX("containers", i), err);
	for (uint32_t i = 0; i < spec->ephemeral_containers.len; i++)
		count_hosted(&h, spec->ephemeral_containers.items[i].security_context, AT_INDEX("ephemeralContainers", i), err);
	if (!h.hosted)
		return;
	if (h.hosted != h.containers)
		invalid(err, at, "", "If pod contains any hostProcess containers then all containers must be HostProcess containers");
	if (!spec->host_network)
		invalid_bool(err, AT("hostNetwork"), false, "hostNetwork must be true if pod contains any hostProcess containers");
}

static void check_os(const struct scope *scope, const struct path *at, struct error *err) {
	const struct core_v1_pod_spec *spec = scope->spec;
	static const char *const first[] = {"appArmorProfile", "seLinuxOptions", NULL}, *const of_hosts[] = {"hostUsers", "hostPID", "hostIPC", NULL};
	static const char *const second[] = {"seccompProfile", "fsGroup", "fsGroupChangePolicy", "sysctls", NULL}, *const shared[] = {"shareProcessNamespace", NULL};
	static const char *const third[] = {"runAsUser", "runAsGroup", "supplementalGroups", "supplementalGroupsPolicy", "seLinuxChangePolicy", NULL};
	static const struct { const char *const *names; bool context; } barred[] = {{first, true}, {of_hosts, false}, {second, true}, {shared, false}, {third, true}};
	const struct core_v1_pod_security_context *sc = spec->security_context;
	size_t from = err->cause_count;
	if (spec->os && str_equal(spec->os->name, "linux")) {
		if (sc && sc->windows_options)
			forbidden(err, &PATH(AT("securityContext"), "windowsOptions"), "windows options cannot be set for a linux pod");
		each_container(scope, at, forbid_windows, err);
	} else if (spec->os && str_equal(spec->os->name, "windows")) {
		for (size_t i = 0; sc && i < array_len(barred); i++)
			if (barred[i].context)
				forbid_fields(&core_v1_pod_security_context_type, sc, barred[i].names, false, "cannot be set for a windows pod", AT("securityContext"), err);
			else
				forbid_fields(&core_v1_pod_spec_type, spec, barred[i].names, false, "cannot be set for a windows pod", at, err);
		each_container(scope, at, forbid_linux, err);
	}
	tell_at(AT("~os"), from, err);
	from = err->cause_count;
	check_host_process(spec, at, err);
	tell_at(AT("~hostProcess"), from, err);
}

/* ---- sysctls, DNS, gates, spread ---- */

static bool is_sysctl(const char *name) {
	if (strlen(name) > 253)
		return false;
	for (const char *p = name;;) {
		size_t part = strcspn(p, "./");
		if (!part || strchr("-_", p[0]) || strchr("-_", p[part - 1]))
			return false;
		for (size_t i = 0; i < part; i++)
			if (!((p[i] >= 'a' && p[i] <= 'z') || (p[i] >= '0' && p[i] <= '9') || p[i] == '-' || p[i] == '_'))
				return false;
		p += part;
		if (!*p)
			return true;
		p++;
	}
}

static void check_sysctls(const struct core_v1_pod_spec *spec, const struct path *parent, struct error *err) {
	static const char *const ipc[] = {"kernel.sem", "kernel.shmall", "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced", "kernel.shm", "kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.msg"};
	automap struct map seen = MAP_INIT(NULL);
	struct path path = PATH(parent, "securityContext"), *at = &path;
	for (uint32_t i = 0; spec->security_context && i < spec->security_context->sysctls.len; i++) {
		const char *name = str_or(spec->security_context->sysctls.items[i].name, "");
		struct path here = PATH(AT_INDEX("sysctls", i), "name");
		if (!*name)
			required(err, &here, NULL);
		else if (!is_sysctl(name))
			invalid(err, &here, name, "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$");
		else if (seen_before(&seen, name))
			duplicate(err, &here, name);
		/* Either separator may be used, the other is then a plain character. */
		autofree char *dotted = xstrdup(name);
		char *first = strpbrk(dotted, "./");
		for (char *p = first && *first == '/' ? dotted : NULL; p && *p; p++)
			*p = *p == '/' ? '.' : *p == '.' ? '/' : *p;
		bool in_ipc = str_starts_with(dotted, "fs.mqueue.");
		for (size_t n = 0; n < array_len(ipc); n++)
			in_ipc |= strcmp(dotted, ipc[n]) == 0;
		if (spec->host_network && str_starts_with(dotted, "net."))
			invalid(err, &here, name, "may not be specified when 'hostNetwork' is true");
		if (spec->host_ipc && in_ipc)
			invalid(err, &here, name, "may not be specified when 'hostIPC' is true");
	}
}

static void check_dns(const struct core_v1_pod_spec *spec, const struct path *parent, struct error *err) {
	const struct core_v1_pod_dns_config *dns = spec->dns_config;
	struct path path = PATH(parent, "dnsConfig"), *at = &path;
	if (str_equal(spec->dns_policy, "None") && !dns)
		required(err, at, "must provide `dnsConfig` when `dnsPolicy` is None");
	else if (str_equal(spec->dns_policy, "None") && !dns->nameservers.len)
		required(err, AT("nameservers"), "must provide at least one DNS nameserver when `dnsPolicy` is None");
	if (!dns)
		return;
	if (dns->nameservers.len > 3)
		invalid_list(err, AT("nameservers"), &dns->nameservers, "must not have more than 3 nameservers");
	if (dns->searches.len > 32)
		invalid_list(err, AT("searches"), &dns->searches, "must not have more than 32 search paths");
	size_t total = dns->searches.len ? dns->searches.len - 1 : 0;
	for (uint32_t i = 0; i < dns->searches.len; i++)
		total += strlen(dns->searches.items[i]);
	if (total > 2048)
		invalid_list(err, AT("searches"), &dns->searches, "must not have more than 2048 characters (including spaces) in the search list");
	for (uint32_t i = 0; i < dns->options.len; i++)
		if (str_empty(dns->options.items[i].name))
			required(err, AT_INDEX("options", i), "must not be empty");
}

static void check_gates(const struct core_v1_pod_spec *spec, const struct path *at, struct error *err) {
	automap struct map seen = MAP_INIT(NULL);
	for (uint32_t i = 0; i < spec->scheduling_gates.len; i++) {
		check_format(format_qualified_name, spec->scheduling_gates.items[i].name, AT_INDEX("schedulingGates", i), err);
		if (seen_before(&seen, spec->scheduling_gates.items[i].name))
			duplicate(err, AT_INDEX("schedulingGates", i), spec->scheduling_gates.items[i].name);
	}
}

static void check_spread(const struct core_v1_pod_spec *spec, const struct path *at, struct error *err) {
	automap struct map seen = MAP_INIT(NULL);
	for (uint32_t i = spec->topology_spread_constraints.len; i-- > 0;) {
		const struct core_v1_topology_spread_constraint *spread = &spec->topology_spread_constraints.items[i];
		autofree char *key = xprintf("{%s, %s}", str_or(spread->topology_key, ""), str_or(spread->when_unsatisfiable, ""));
		size_t from = err->cause_count;
		if (seen_before(&seen, key))
			duplicate(err, &PATH(AT_INDEX("topologySpreadConstraints", i), "{topologyKey, whenUnsatisfiable}"), key);
		tell_at(&PATH(AT_INDEX("topologySpreadConstraints", i), "~twice"), from, err);
	}
}

void check_preemption(const char *policy, const struct path *path, struct error *err) {
	static const char *const policies[] = {"PreemptLowerPriority", "Never", NULL};
	check_enum(policy, policies, path, err);
}

/* ---- the whole ---- */

CHECK(core_v1_pod_spec, spec) {
	const struct core_v1_pod *pod = api_type_of(c->object) == &core_v1_pod_type ? c->object : NULL;
	const struct apps_v1_stateful_set *set = api_type_of(c->object) == &apps_v1_stateful_set_type ? c->object : NULL;
	struct scope scope = {.spec = spec, .claims = set ? &set->spec.volume_claim_templates : NULL};
	bool own_users = spec->host_users && !*spec->host_users;
	static const char *const systems[] = {"linux", "windows", NULL};
	for (uint32_t i = 0; i < spec->host_aliases.len; i++)
		if (str_empty(spec->host_aliases.items[i].ip))
			check_format(format_ip, "", &PATH(AT_INDEX("hostAliases", i), "ip"), err);
	if (spec->os && !str_empty(spec->os->name) && !is_among(systems, spec->os->name))
		not_supported(err, AT("os"), spec->os->name, systems);
	if (!set && !str_empty(spec->hostname))
		check_format(format_dns_label, spec->hostname, AT("hostname"), err);
	if (!set && !str_empty(spec->subdomain))
		check_format(format_dns_label, spec->subdomain, AT("subdomain"), err);
	if (spec->preemption_policy)
		check_preemption(spec->preemption_policy, AT("preemptionPolicy"), err);
	check_volumes(spec, pod ? pod->metadata.name : NULL, at, err);
	autofree bool *good = good_volumes(spec, at, err);
	scope.good_volumes = good;
	check_pod_claims(spec, at, err);
	each_container(&scope, at, check_container, err);
	check_names(spec, at, err);
	check_pod_resources(spec, at, err);
	check_host_network(spec, pod, at, err);
	check_sysctls(spec, at, err);
	check_dns(spec, at, err);
	check_gates(spec, at, err);
	check_spread(spec, at, err);
	check_os(&scope, at, err);
	if (spec->security_context && spec->share_process_namespace && *spec->share_process_namespace && spec->host_pid)
		invalid_bool(err, &PATH(AT("securityContext"), "shareProcessNamespace"), true, "ShareProcessNamespace and HostPID cannot both be enabled");
	size_t from = err->cause_count;
	if (own_users && spec->host_network)
		forbidden(err, AT("hostNetwork"), "when `hostUsers` is false");
	if (own_users && spec->host_pid)
		forbidden(err, AT("HostPID"), "when `hostUsers` is false");
	if (own_users && spec->host_ipc)
		forbidden(err, AT("HostIPC"), "when `hostUsers` is false");
	if (own_users)
		each_container(&scope, at, check_own_users, err);
	tell_at(AT("~hostUsers"), from, err);
	from = err->cause_count;
	each_container(&scope, at, check_file_keys, err);
	tell_at(AT("~files"), from, err);
	from = err->cause_count;
	if (spec->hostname_override && spec->set_hostname_as_fqdn && *spec->set_hostname_as_fqdn)
		forbidden(err, AT("hostnameOverride"), "may not be specified when setHostnameAsFQDN is true");
	if (spec->hostname_override && spec->host_network)
		forbidden(err, AT("hostnameOverride"), "may not be specified when hostNetwork is true");
	tell_at(AT("~hostname"), from, err);
	struct core_v1_resource_requirements overhead = {.limits = spec->overhead};
	check_resources(&overhead, NULL, false, AT("overhead"), err);
}

const struct checker checkers_podspec[] = {ROW(core_v1_pod_spec), {0}};
